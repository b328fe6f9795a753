//! What a source claims: one claim per row or grant, with its money, its date and what was missing. Formats make
//! claims; how they become records is the planners' matter.

use std::collections::{BTreeMap, BTreeSet};

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::records::calendar::Day;

use super::identity::Secret;

/// The kind of an item in reports and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Grant,
    Disbursement,
    Payment,
    Donation,
    Permit,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Disbursement => "disbursement",
            Self::Payment => "payment",
            Self::Donation => "donation",
            Self::Permit => "permit",
        }
    }
}

/// Why an item makes no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    Empty,
    ZeroAmount,
    AmountInvalid,
    NotMapped,
    /// Of a disbursement: the grant that it belongs to makes no record.
    WithoutGrant,
}

impl Skip {
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::ZeroAmount => "zero_amount",
            Self::AmountInvalid => "amount_invalid",
            Self::NotMapped => "not_mapped",
            Self::WithoutGrant => "without_grant",
        }
    }
}

/// What the importer supplied because the source does not state it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    IdSynthesised,
    CurrencyInherited,
    DateInherited,
    /// A date is there, but it is none that can be read.
    DateUnreadable,
    /// What was disbursed is there, but it is no amount: only the grant is recorded.
    DisbursementUnreadable,
}

impl Note {
    pub fn name(self) -> &'static str {
        match self {
            Self::IdSynthesised => "id_synthesised",
            Self::CurrencyInherited => "currency_inherited",
            Self::DateInherited => "date_inherited",
            Self::DateUnreadable => "date_unreadable",
            Self::DisbursementUnreadable => "disbursement_unreadable",
        }
    }
}

/// What is wrong with a value that the source states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    Date,
    Currency,
    Amount,
    /// An amount, but more minor units than a record holds.
    TooLarge,
    /// Below zero, and nothing earlier that it could return.
    Negative,
}

/// A value of the source that was not taken, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub column: &'static str,
    pub text: String,
    pub wrong: Wrong,
}

impl Fault {
    pub fn new(column: &'static str, text: &str, wrong: Wrong) -> Self {
        Self { column, text: text.to_owned(), wrong }
    }
}

/// An amount as the source states it, in minor units of its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    pub currency: String,
    pub minor: i128,
}

/// Why a claim is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    Skipped(Skip),
    /// Refused here with the door's code.
    Refused(u16),
}

/// The door's code for an amount that no record holds.
const AMOUNT_IMPOSSIBLE: u16 = 1011;
/// The door's code for a date that is none.
const DATE_IMPOSSIBLE: u16 = 1012;

/// One row or element of a source.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The source's own id, or the one made for it.
    pub item: String,
    /// Where the source states no id: digest of what the claim is known by instead.
    pub known_by: Option<Hash>,
    /// What makes the record ids: unique within the source and batch.
    pub key: String,
    pub line: u64,
    pub batch: String,
    /// None: missing or impossible.
    pub date: Option<Day>,
    pub money: Option<Money>,
    pub notes: Vec<Note>,
    pub faults: Vec<Fault>,
    /// Digest of the mapped values alone: no file name, no row number.
    pub digest: Hash,
    pub unsent: Option<Unsent>,
    /// The same id stands earlier in the batch; this one adds nothing.
    pub repeats: bool,
    /// A return under the id of the payment that it takes back.
    pub names_payment: bool,
    /// Fields of which a later claim of the same id states another value.
    pub conflicts: Vec<&'static str>,
    pub content: Content,
}

/// Where a permit stands in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing more is known.
    Open,
    Refused,
    Cancelled,
    Expired,
}

/// What a claim says besides money and date.
#[derive(Debug, Clone)]
pub enum Content {
    Grant {
        programme: String,
        /// An organisation's id.
        party: Option<String>,
        /// Without one, an organisation's name or whatever a person is known by: to be made a pseudonym.
        person: Option<String>,
        until: Option<Day>,
        disbursed: Option<i128>,
    },
    Payment {
        programme: String,
        payee: String,
        contract: String,
        purpose: String,
        /// Empty: the id stands for it.
        bank_ref: String,
    },
    Donation {
        programme: String,
        donor: String,
        channel: String,
        earmarked: bool,
    },
    Permit {
        matter: String,
        clock_days: Option<u64>,
        applicant: String,
        decided: Option<Day>,
        issued: Option<Day>,
        closed: Option<Day>,
        ending: Ending,
    },
    /// A row without any value.
    Nothing,
}

impl Claim {
    pub fn kind(&self, of: super::Format) -> Kind {
        match of {
            super::Format::Grants => Kind::Grant,
            super::Format::Payments => Kind::Payment,
            super::Format::Donations => Kind::Donation,
            super::Format::Permits => Kind::Permit,
        }
    }

    /// A date that cannot be read is not a missing one, and an amount that is too large is one: strict imports refuse
    /// the row, historical ones say so.
    pub fn judge(&mut self, strict: bool) {
        if strict && self.money.is_none() && self.faults.iter().any(|fault| fault.wrong == Wrong::TooLarge) {
            self.unsent = Some(Unsent::Refused(AMOUNT_IMPOSSIBLE));
        }
        if self.unsent.is_some() || !self.faults.iter().any(|fault| fault.wrong == Wrong::Date) {
            return;
        }
        if strict {
            self.unsent = Some(Unsent::Refused(DATE_IMPOSSIBLE));
        } else {
            self.notes.push(Note::DateUnreadable);
        }
    }

    /// Below zero, and to be sent if there is a payment that it takes back.
    pub fn is_return(&self) -> bool {
        self.unsent.is_none() && self.money.as_ref().is_some_and(|money| money.minor < 0)
    }

    pub fn is_negative(&self) -> bool {
        self.faults.iter().any(|fault| fault.wrong == Wrong::Negative)
    }

    /// Takes back a negative amount that returns nothing.
    pub fn refuse_negative(&mut self, column: &'static str, text: &str) {
        self.unsent = Some(Unsent::Skipped(Skip::AmountInvalid));
        self.faults.push(Fault::new(column, text, Wrong::Negative));
    }

    /// All days that the claim states: the newest of a batch is where its period ends.
    pub fn days(&self) -> impl Iterator<Item = Day> {
        let more = match &self.content {
            Content::Permit { decided, issued, closed, .. } => [*decided, *issued, *closed],
            Content::Grant { .. } | Content::Payment { .. } | Content::Donation { .. } | Content::Nothing => [None; 3],
        };
        self.date.into_iter().chain(more.into_iter().flatten())
    }

    pub fn programme(&self) -> Option<&str> {
        match &self.content {
            Content::Grant { programme, .. }
            | Content::Payment { programme, .. }
            | Content::Donation { programme, .. } => Some(programme),
            Content::Permit { .. } | Content::Nothing => None,
        }
    }
}

/// A file that was read whole.
#[derive(Debug, Clone)]
pub struct Source {
    /// As given on the command line.
    pub file: String,
    /// File name without folder and extension: what tells one source from another.
    pub name: String,
    pub claims: Vec<Claim>,
    /// Columns that rows without an id are known by; none where every row has one.
    pub known_by: Vec<String>,
}

impl Source {
    /// Gives the claims without an id one made from day, money, programme and who: under the source's key, since that may
    /// name people, and with an ordinal among equal ones of the batch. A file that gains rows keeps the ids of those that it
    /// had, and what else a map takes from it changes none.
    pub fn name_rows(&mut self, secret: &Secret) {
        let mut equal: BTreeMap<(String, Hash), u64> = BTreeMap::new();
        for claim in &mut self.claims {
            let Some(known_by) = claim.known_by else { continue };
            let ordinal = equal.entry((claim.batch.clone(), known_by)).or_default();
            *ordinal += 1;
            claim.item = secret.row_id(&known_by, *ordinal);
            claim.key.clone_from(&claim.item);
        }
    }

    /// Claims of one id within a batch: the first stated stands, equal ones add nothing, unequal ones are named.
    pub fn merge(&mut self) {
        self.key_returns();
        let mut first: BTreeMap<(String, String), usize> = BTreeMap::new();
        for at in 0..self.claims.len() {
            let Some(claim) = self.claims.get(at) else { continue };
            if claim.unsent.is_some() || claim.known_by.is_some() {
                continue;
            }
            let key = (claim.batch.clone(), claim.key.clone());
            let Some(earlier) = first.get(&key).copied() else {
                first.insert(key, at);
                continue;
            };
            let (digest, money, date) = (claim.digest, claim.money.clone(), claim.date);
            if let Some(claim) = self.claims.get_mut(at) {
                claim.repeats = true;
            }
            let Some(stands) = self.claims.get_mut(earlier) else { continue };
            if stands.digest == digest {
                continue;
            }
            let differ = [("amount", stands.money != money), ("effective_date", stands.date != date)];
            let mut named: Vec<_> = differ.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
            if named.is_empty() {
                named.push("content");
            }
            named.retain(|name| !stands.conflicts.contains(name));
            stands.conflicts.extend(named);
        }
    }

    /// A negative row under the id of a payment is no second body of it but its return, with a key of its own; one that
    /// stands twice stays one.
    fn key_returns(&mut self) {
        let sent = |claim: &&Claim| claim.unsent.is_none() && claim.known_by.is_none();
        let payments = self.claims.iter().filter(sent).filter(|claim| !claim.is_return());
        let payments: BTreeSet<_> = payments.map(|claim| (claim.batch.clone(), claim.key.clone())).collect();
        let mut returns: BTreeMap<(String, String), Vec<Hash>> = BTreeMap::new();
        for claim in self.claims.iter_mut().filter(|claim| claim.is_return() && claim.known_by.is_none()) {
            let id = (claim.batch.clone(), claim.key.clone());
            if !payments.contains(&id) {
                continue;
            }
            let earlier = returns.entry(id).or_default();
            let known = earlier.iter().position(|digest| *digest == claim.digest);
            let place = known.unwrap_or(earlier.len());
            if known.is_none() {
                earlier.push(claim.digest);
            }
            claim.key.push_str("/return");
            if place > 0 {
                claim.key.push_str(&format!("/{}", place + 1));
            }
            claim.names_payment = true;
        }
    }
}
