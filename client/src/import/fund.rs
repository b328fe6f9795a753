//! Programmes and accounts of imported money: opened with the first batch that needs them, one programme per name and
//! currency.

use std::collections::BTreeMap;

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::records::calendar::Day;
use mingzhang_ledger::state::key::id_text;

use super::plan::{Draft, Entry, Planner, ProgrammeInfo, Under};
use super::words;

/// The earmark of money whose purpose the giver stated; what it is stays off the ledger.
const EARMARK: &str = "stated";

/// The years in which the programmes of a source have records, by name and currency.
pub type Years = BTreeMap<(String, String), Vec<u64>>;

/// Years that one programme of the ledger covers, and what makes its record ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Term {
    pub key: String,
    /// Ascending.
    pub years: Vec<u64>,
}

/// The programmes of the ledger that stand for one of the source.
pub type Terms = BTreeMap<(String, String), Vec<Term>>;

/// Which account of a programme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    Source,
    Appropriation { year: u64, earmarked: bool },
    Allotment { year: u64 },
    Paid { year: u64 },
    Returned { year: u64 },
}

impl Account {
    fn kind(self) -> &'static str {
        match self {
            Self::Source => "SOURCE",
            Self::Appropriation { .. } => "APPROPRIATION",
            Self::Allotment { .. } => "ALLOTMENT",
            Self::Paid { .. } => "PAID",
            Self::Returned { .. } => "RETURNED",
        }
    }
}

struct Programme {
    place: usize,
    entry: Entry,
    key: String,
    first_year: u64,
    accounts: BTreeMap<Account, Entry>,
}

/// The programmes of one source that were planned so far.
#[derive(Default)]
pub struct Book {
    terms: Terms,
    /// The year of the claim that is planned.
    year: u64,
    /// By the keys of their terms.
    programmes: BTreeMap<String, Programme>,
}

/// A programme and an account in it, with the shared records that they need.
pub struct Desk<'b> {
    programme: &'b mut Programme,
    pub needs: Vec<usize>,
}

impl Book {
    pub fn new(terms: Terms) -> Self {
        Self { terms, year: 0, programmes: BTreeMap::new() }
    }

    /// What is planned next is of this year.
    pub fn turn_to(&mut self, year: u64) {
        self.year = year;
    }

    /// The programme of that name and currency for the year, opened if this is the first record in it.
    pub fn programme(&mut self, planner: &mut Planner<'_>, under: &Under, (name, currency): (&str, &str)) -> Desk<'_> {
        let terms = self.terms.get(&(name.to_owned(), currency.to_owned())).map_or(&[][..], Vec::as_slice);
        let term = terms.iter().find(|term| term.years.contains(&self.year)).cloned().unwrap_or_default();
        let mut needs = Vec::new();
        // Whose the first is, theirs are those of further years: one that another memory began is not gone on with.
        if let Some(first) = terms.first().filter(|first| first.key != term.key).cloned() {
            let known = self.programmes.entry(first.key.clone());
            needs.push(known.or_insert_with(|| open(planner, under, (name, currency, first))).entry.at);
        }
        let known = self.programmes.entry(term.key.clone());
        let programme = known.or_insert_with(|| open(planner, under, (name, currency, term)));
        needs.push(programme.entry.at);
        Desk { programme, needs }
    }
}

fn open(planner: &mut Planner<'_>, under: &Under, (name, currency, term): (&str, &str, Term)) -> Programme {
    let place = planner.plan.programmes.len();
    let own = || Value::text(planner.agency);
    let draft = Draft::new("programme_open", term.key.clone(), 0)
        .shared()
        .of(place)
        .with("mode", Value::text("historical"))
        .with("currency", Value::text(currency))
        .with("purpose", Value::text("import"))
        .with("years", Value::Array(term.years.iter().map(|year| Value::Uint(*year)).collect()))
        .with("legal_ref", words::text(name))
        .with("owner", own())
        .with("finance", own())
        .with("bank", own())
        .with("supervisor", own())
        .with("scope", Value::text(&planner.secret.scope()));
    let entry = planner.add(under, under.when(Some(under.period_end)), draft);
    let id = planner.identity.record_id("programme_open", &term.key);
    planner.plan.programmes.push(ProgrammeInfo {
        id: format!("{}/{}", planner.agency, id_text(&id)),
        name: name.to_owned(),
        currency: currency.to_owned(),
    });
    let first_year = term.years.first().copied().unwrap_or(1);
    Programme { place, entry, key: term.key, first_year, accounts: BTreeMap::new() }
}

impl Desk<'_> {
    pub fn place(&self) -> usize {
        self.programme.place
    }

    pub fn reference(&self) -> Value {
        self.programme.entry.reference.clone()
    }

    /// An account of the programme, opened if this is the first record in it.
    pub fn account(&mut self, planner: &mut Planner<'_>, under: &Under, account: Account) -> Value {
        let entry = match self.programme.accounts.get(&account) {
            Some(entry) => entry.clone(),
            None => self.open_account(planner, under, account),
        };
        if !self.needs.contains(&entry.at) {
            self.needs.push(entry.at);
        }
        entry.reference
    }

    fn open_account(&mut self, planner: &mut Planner<'_>, under: &Under, account: Account) -> Entry {
        let (year, earmarked, stage) = match account {
            Account::Source => (self.programme.first_year, false, 1),
            Account::Appropriation { year, earmarked } => (year, earmarked, 1),
            Account::Allotment { year } => (year, false, 2),
            Account::Paid { year } | Account::Returned { year } => (year, false, 1),
        };
        let parent = match account {
            Account::Allotment { year } => {
                Some(self.account(planner, under, Account::Appropriation { year, earmarked: false }))
            }
            Account::Source | Account::Appropriation { .. } | Account::Paid { .. } | Account::Returned { .. } => None,
        };
        let key = format!("{}/{}/{year}/{earmarked}", self.programme.key, account.kind());
        let draft = Draft::new("account_open", key, stage)
            .shared()
            .of(self.programme.place)
            .with("account_kind", Value::text(account.kind()))
            .with("programme", self.reference())
            .with("agency", Value::text(planner.agency))
            .with("year", Value::Uint(year))
            .maybe("parent", parent)
            .maybe("earmark", earmarked.then(|| Value::text(EARMARK)));
        let entry = planner.add(under, under.when(Some(under.period_end)), draft);
        self.programme.accounts.insert(account, entry.clone());
        entry
    }
}

/// The calendar year of a day.
pub fn year_of(day: Day) -> u64 {
    u64::try_from(day.year()).unwrap_or(1)
}
