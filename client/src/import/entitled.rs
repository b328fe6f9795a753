//! Money on its way to an entitled payee: a budget that the source does not state, the grant, its commitment, and what
//! was paid under it. Grants and bare payments share this.

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::records::calendar::Day;

use super::fund::{Account, Desk, year_of};
use super::item::{Claim, Note};
use super::plan::{Draft, Planner, Under, When, key_in_batch};
use super::words;

/// Who is entitled.
#[derive(Debug, Clone)]
pub enum Payee {
    /// The id of an organisation.
    Party(String),
    /// A name or id of a person: it becomes a pseudonym.
    Person(String),
    Unknown,
}

impl Payee {
    fn fields(&self, planner: &Planner<'_>, draft: Draft) -> Draft {
        match self {
            Self::Party(id) => draft.with("party", planner.secret.party(id)),
            Self::Person(who) => draft.with("recipient", Value::bytes(&planner.secret.pseudonym(who))),
            Self::Unknown => draft,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Party(name) | Self::Person(name) => name,
            Self::Unknown => "",
        }
    }
}

/// What a claim is entitled to.
pub struct Entitled<'a> {
    pub claim: &'a Claim,
    pub payee: Payee,
    pub money: (String, u64),
    pub purpose: Value,
    /// Fields of the grant that the importer filled.
    pub filled: Vec<&'static str>,
    /// None: the end of the year.
    pub until: Option<Day>,
}

/// A planned grant with its commitment.
pub struct Committed {
    pub award: Value,
    pub account: Value,
    pub year: u64,
    pub records: Vec<usize>,
}

/// Appropriates, allots, grants and commits the claim's own amount. The budget limits nothing: the source states none.
pub fn commit(planner: &mut Planner<'_>, desk: &mut Desk<'_>, under: &Under, entitled: &Entitled<'_>) -> Committed {
    let (claim, money) = (entitled.claim, &entitled.money);
    let (when, key) = (under.when(claim.date), key_in_batch(claim));
    let year = year_of(when.day);
    let source = desk.account(planner, under, Account::Source);
    let appropriation = desk.account(planner, under, Account::Appropriation { year, earmarked: false });
    let allotment = desk.account(planner, under, Account::Allotment { year });
    let place = desk.place();
    let draft = |record_type, stage| Draft::new(record_type, key.clone(), stage).of(place);
    let legal_ref = planner.plan.programmes.get(place).map_or_else(|| words::text(""), |info| words::text(&info.name));
    let appropriate = draft("appropriate", 2)
        .posting(money)
        .with("from", source)
        .with("to", appropriation.clone())
        .with("legal_ref", legal_ref)
        .filled("amount");
    let allot =
        draft("allot", 3).posting(money).with("from", appropriation).with("to", allotment.clone()).filled("amount");
    let until = entitled.until.unwrap_or_else(|| end_of_year(when.day));
    let mut grant = entitled
        .payee
        .fields(planner, draft("award_grant", 1))
        .with("subject", desk.reference())
        .with("value", Value::Uint(money.1))
        .with("purpose", entitled.purpose.clone())
        .with("until", Value::text(&until.to_string()))
        .filled_if(entitled.until.is_none(), "until")
        .filled_if(claim.notes.contains(&Note::CurrencyInherited), "currency");
    for field in &entitled.filled {
        grant = grant.filled(field);
    }
    let award = planner.first(under, when, (claim, grant));
    let opening = draft("account_open", 2)
        .with("account_kind", Value::text("COMMITMENT"))
        .with("programme", desk.reference())
        .with("agency", Value::text(planner.agency))
        .with("year", Value::Uint(year))
        .with("award", award.reference.clone());
    let account = planner.add(under, when, opening);
    let first = planner.add(under, when, appropriate);
    let second = planner.add(under, when, allot);
    let commit = draft("commit", 4).posting(money).with("from", allotment).with("award", award.reference.clone());
    let commit = planner.add(under, when, commit);
    Committed {
        award: award.reference,
        account: account.reference,
        year,
        records: vec![award.at, account.at, first.at, second.at, commit.at],
    }
}

fn end_of_year(day: Day) -> Day {
    Day::parse(&format!("{:04}-12-31", day.year())).unwrap_or(day)
}

/// What is paid under a commitment, and where it is known by.
pub struct Paid<'a> {
    pub payee: &'a Payee,
    pub money: (String, u64),
    pub reference: &'a str,
    pub when: When,
    pub filled: Vec<&'static str>,
}

/// A payment under a commitment, posted at once.
pub fn pay(
    planner: &mut Planner<'_>,
    desk: &mut Desk<'_>,
    under: &Under,
    (claim, committed, paid): (&Claim, &Committed, Paid<'_>),
) -> super::plan::Entry {
    desk.account(planner, under, Account::Paid { year: committed.year });
    let key = key_in_batch(claim);
    let account = planner.secret.payee_account(paid.payee.name());
    let mut draft = paid
        .payee
        .fields(planner, Draft::new("payment_request", key, 5).of(desk.place()))
        .posting(&paid.money)
        .with("from", committed.account.clone())
        .with("payee_account", Value::bytes(&account))
        .with("entitlement", committed.award.clone())
        .with("bank_ref", planner.secret.reference(paid.reference));
    for field in paid.filled {
        draft = draft.filled(field);
    }
    planner.add(under, paid.when, draft)
}
