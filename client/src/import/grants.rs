//! 360Giving: grants with their commitment, and what the funder says it disbursed. Names never leave this file.

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::records::calendar::Day;
use serde_json::Value as Json;

use super::amount;
use super::broken::Broken;
use super::dates::DateFormat;
use super::entitled::{self, Entitled, Paid, Payee};
use super::fund::Book;
use super::item::{Claim, Content, Fault, Money, Note, Skip, Unsent, Wrong};
use super::plan::{Planner, Under};
use super::row::{self, Currencies, Reading, Stated};
use super::{unique, words};
use crate::output::exponent_of;

/// The grants of a file, in its order.
pub fn read(bytes: &[u8], reading: &Reading<'_>) -> Result<Vec<Claim>, Broken> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let package: Json = serde_json::from_slice(text).map_err(|error| {
        let line = u64::try_from(error.line()).unwrap_or(0);
        Broken::at(line, Broken::new(format!("not JSON: {error}")))
    })?;
    unique::keys(text)?;
    let grants = package.get("grants").or(Some(&package)).and_then(Json::as_array);
    let grants = grants.ok_or_else(|| Broken::at(1, Broken::new("no list \"grants\": not 360Giving data")))?;
    let dates = DateFormat::of_column(None, grants.iter().map(|grant| text_of(grant, "awardDate")));
    let currencies = Currencies::of(grants.iter().map(|grant| text_of(grant, "currency")));
    Ok((1..).zip(grants).map(|(ordinal, grant)| claim(ordinal, grant, (&dates, &currencies, reading))).collect())
}

fn claim(ordinal: u64, grant: &Json, (dates, currencies, reading): (&DateFormat, &Currencies, &Reading<'_>)) -> Claim {
    let stated = number_of(grant, "amountAwarded");
    let pair = (stated.as_str(), text_of(grant, "currency"));
    let Stated { money, mut notes, mut faults, unsent } = currencies.money(pair, &reading.map.notation);
    let negative = money.as_ref().is_some_and(|money| money.minor < 0);
    let mut id = id_of(grant, "id");
    let has_id = !id.is_empty();
    if !has_id {
        notes.push(Note::IdSynthesised);
        id = format!("grant {ordinal}");
    }
    let text = number_of(grant, "amountDisbursed");
    // Of a grant without money only that there is something disbursed is known.
    let exponent = money.as_ref().and_then(|money| exponent_of(&money.currency)).unwrap_or(amount::MOST_DECIMALS);
    let disbursed = amount::minor(&text, &reading.map.notation, exponent).filter(|minor| u64::try_from(*minor).is_ok());
    if disbursed.is_none() && !text.trim().is_empty() {
        notes.push(Note::DisbursementUnreadable);
        faults.push(Fault::new("amountDisbursed", &text, Wrong::Amount));
    }
    let awarded = text_of(grant, "awardDate");
    let date = dates.read(awarded);
    if date.is_none() && !awarded.is_empty() {
        faults.push(Fault::new("awardDate", awarded, Wrong::Date));
    }
    let planned = first_of(grant, "plannedDates");
    let until = planned.and_then(|dates| DateFormat::Iso.read(text_of(dates, "endDate")));
    let organisation = first_of(grant, "recipientOrganization");
    let person = first_of(grant, "recipientIndividual");
    let stated_of = |party: Option<&Json>, field| Some(id_of(party?, field)).filter(|text| !text.is_empty());
    // Only an id may be written; by a name, whosever it is, a recipient is known under a pseudonym.
    let party = stated_of(organisation, "id");
    let named =
        || stated_of(organisation, "name").or_else(|| stated_of(person, "id")).or_else(|| stated_of(person, "name"));
    let person = if party.is_none() { named() } else { None };
    let payee = [party.as_deref().unwrap_or_default(), person.as_deref().unwrap_or_default()];
    let (known_by, digest) =
        digests(grant, (&stated, payee), (money.as_ref(), date.filter(|_| *dates == DateFormat::Iso)));
    let content = Content::Grant {
        programme: programme(grant, reading.name),
        party,
        person,
        until,
        disbursed: disbursed.filter(|minor| *minor != 0),
    };
    let mut claim = Claim {
        key: id.clone(),
        item: id,
        known_by: (!has_id).then_some(known_by),
        line: ordinal,
        batch: String::new(),
        date,
        money,
        notes,
        faults,
        digest,
        unsent: if grant.as_object().is_none_or(serde_json::Map::is_empty) {
            Some(Unsent::Skipped(Skip::Empty))
        } else {
            unsent
        },
        repeats: false,
        names_payment: false,
        conflicts: Vec::new(),
        content,
    };
    if negative {
        claim.refuse_negative("amountAwarded", &stated);
    }
    claim.judge(reading.strict);
    claim
}

/// Over what a grant without an id is known by, and over all values that are mapped. Who is paid is among both: they go
/// nowhere but under the importer's key.
fn digests(
    grant: &Json,
    (stated, [party, person]): (&str, [&str; 2]),
    (money, day): (Option<&Money>, Option<Day>),
) -> (Hash, Hash) {
    let (id, disbursed, programme) = (id_of(grant, "id"), number_of(grant, "amountDisbursed"), programme(grant, ""));
    let until = first_of(grant, "plannedDates").map_or("", |dates| text_of(dates, "endDate"));
    let written = (stated, text_of(grant, "currency"), text_of(grant, "awardDate"));
    let values = |(amount, currency, date)| {
        [
            ("amount", amount),
            ("currency", currency),
            ("date", date),
            ("programme", programme.as_str()),
            ("party", party),
            ("person", person),
        ]
    };
    let (minor, day) = (money.map(|money| money.minor.to_string()), day.map(|day| day.to_string()));
    // As read where it can be read, so that another spelling is the same grant.
    let amount = minor.as_deref().unwrap_or(stated);
    let currency = money.map_or(written.1, |money| money.currency.as_str());
    let known_by = values((amount, currency, day.as_deref().unwrap_or(written.2)));
    let more = [("id", id.as_str()), ("disbursed", disbursed.as_str()), ("until", until)];
    (row::digest(known_by.into_iter()), row::digest(values(written).into_iter().chain(more)))
}

/// A grant programme by title, else by code, else the funder.
fn programme(grant: &Json, name: &str) -> String {
    let programme = first_of(grant, "grantProgramme");
    let funder = first_of(grant, "fundingOrganization");
    let named = [(programme, "title"), (programme, "code"), (funder, "name"), (funder, "id")];
    let found = named.into_iter().filter_map(|(object, key)| Some(id_of(object?, key))).find(|text| !text.is_empty());
    found.unwrap_or_else(|| name.to_owned())
}

fn text_of<'a>(object: &'a Json, key: &str) -> &'a str {
    object.get(key).and_then(Json::as_str).unwrap_or("").trim()
}

/// An id or name as text; a whole number is one as well, by its digits.
fn id_of(object: &Json, key: &str) -> String {
    match object.get(key) {
        Some(Json::Number(number)) => {
            let text = number.to_string();
            let whole = text.strip_prefix('-').unwrap_or(&text).bytes().all(|byte| byte.is_ascii_digit());
            if whole { text } else { String::new() }
        }
        _ => text_of(object, key).to_owned(),
    }
}

/// A number as its digits stand in the file.
fn number_of(object: &Json, key: &str) -> String {
    match object.get(key) {
        Some(Json::Number(number)) => number.to_string(),
        Some(Json::String(text)) => text.clone(),
        _ => String::new(),
    }
}

/// The first element of a list, or the object itself.
fn first_of<'a>(object: &'a Json, key: &str) -> Option<&'a Json> {
    match object.get(key)? {
        Json::Array(items) => items.first(),
        other => Some(other),
    }
}

/// Records of a grant and of its disbursement, and the shared ones that both need.
pub struct Records {
    pub grant: Vec<usize>,
    pub disbursement: Vec<usize>,
    pub needs: Vec<usize>,
}

pub fn plan(
    planner: &mut Planner<'_>,
    book: &mut Book,
    under: &Under,
    (claim, money): (&Claim, &(String, u64)),
) -> Records {
    let Content::Grant { programme, party, person, until, disbursed } = &claim.content else {
        return Records { grant: Vec::new(), disbursement: Vec::new(), needs: Vec::new() };
    };
    let payee = match (party, person) {
        (Some(id), _) => Payee::Party(id.clone()),
        (None, Some(who)) => Payee::Person(who.clone()),
        (None, None) => Payee::Unknown,
    };
    let mut desk = book.programme(planner, under, (programme, &money.0));
    let entitled = Entitled {
        claim,
        payee: payee.clone(),
        money: money.clone(),
        purpose: words::code("grant", "grant"),
        filled: Vec::new(),
        until: *until,
    };
    let committed = entitled::commit(planner, &mut desk, under, &entitled);
    let mut disbursement = Vec::new();
    if let Some(minor) = disbursed.and_then(|minor| u64::try_from(minor).ok()) {
        let paid = Paid {
            payee: &payee,
            money: (money.0.clone(), minor),
            reference: &claim.item,
            when: under.when(claim.date),
            filled: Vec::new(),
        };
        disbursement.push(entitled::pay(planner, &mut desk, under, (claim, &committed, paid)).at);
    }
    Records { grant: committed.records, disbursement, needs: desk.needs }
}
