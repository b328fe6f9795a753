//! Donations: each row one income, posted at once. The donor becomes a pseudonym here; the remark stays off the ledger.

use mingzhang_ledger::codec::Value;

use super::broken::Broken;
use super::fund::{Account, Book, year_of};
use super::item::{Claim, Content, Note};
use super::plan::{Draft, Planner, Under, key_in_batch};
use super::row::{self, Reading};
use super::table::{Columns, Table};
use super::words;

pub const COLUMNS: Columns = Columns {
    known: &["id", "date", "donor", "amount", "currency", "channel", "programme", "earmark", "batch"],
    required: &["amount", "currency"],
};

pub fn read(bytes: &[u8], reading: &Reading<'_>) -> Result<Vec<Claim>, Broken> {
    let table = Table::read(bytes, reading.map, &COLUMNS)?;
    let (dates, currencies) = (table.dates(reading.map, "date"), row::currencies(&table));
    let notation = table.notation(reading.map, "amount");
    // A file without ids has none to miss: its rows are known by what they say.
    let has_ids = table.has("id");
    let claim = |row: &super::table::Row| {
        let pair = (row.get("amount"), row.get("currency"));
        let mut stated = currencies.money(pair, &notation);
        let negative = stated.money.as_ref().is_some_and(|money| money.minor < 0);
        if has_ids && row.get("id").is_empty() {
            stated.notes.push(Note::IdSynthesised);
        }
        let content = Content::Donation {
            programme: row::programme_of(row, reading.name),
            donor: row.get("donor").to_owned(),
            channel: row::word(row, reading.map, "channel"),
            earmarked: !row.get("earmark").is_empty(),
        };
        let mut claim = row::claim(row, (&dates, reading.strict), stated, content);
        if negative {
            claim.refuse_negative("amount", row.get("amount"));
        }
        claim
    };
    Ok(table.rows.iter().map(claim).collect())
}

/// The records of a donation and the shared ones that it needs.
pub fn plan(
    planner: &mut Planner<'_>,
    book: &mut Book,
    under: &Under,
    (claim, money): (&Claim, &(String, u64)),
) -> (Vec<usize>, Vec<usize>) {
    let Content::Donation { programme, donor, channel, earmarked } = &claim.content else {
        return (Vec::new(), Vec::new());
    };
    let when = under.when(claim.date);
    let mut desk = book.programme(planner, under, (programme, &money.0));
    desk.account(planner, under, Account::Source);
    let to = Account::Appropriation { year: year_of(when.day), earmarked: *earmarked };
    let to = desk.account(planner, under, to);
    let part = Value::text_map([("to", to), ("amount", Value::Uint(money.1))]);
    let donor = (!donor.is_empty()).then(|| Value::bytes(&planner.secret.pseudonym(donor)));
    let draft = Draft::new("income_record", key_in_batch(claim), 3)
        .of(desk.place())
        .posts(money)
        .with("parts", Value::Array(vec![part]))
        .with("external_ref", planner.secret.reference(&claim.item))
        .with("channel", words::code(channel, "unstated"))
        .maybe("donor", donor)
        .filled_if(channel.is_empty(), "channel")
        .filled_if(claim.notes.contains(&Note::IdSynthesised), "external_ref")
        .filled_if(claim.notes.contains(&Note::CurrencyInherited), "currency");
    let entry = planner.first(under, when, (claim, draft));
    (vec![entry.at], desk.needs)
}
