//! The auditor's own reckoning: folds the records of one programme's trail, in order, into the balances of its accounts.
//! It reads nothing but records and their outcomes and shares no code with execution but the four sums, so that it is a
//! second opinion on the state. Comparing its balances with the proven ones is the caller's matter.

mod figures;
mod posting;

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

pub use figures::Figures;

use super::account::AccountKind;
use super::movement::{MovementKind, MovementState, Posting};
use super::programme::TREASURY;
use super::sums::{Side, Step, Sums};
use crate::codec::Value;
use crate::records::body::{FromValue, find};
use crate::records::object::Ref;
use crate::transaction::Payload;

/// Why a trail cannot be folded: it is not the whole trail of a programme, or this program is too old for it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FoldFault {
    #[error("record {record} has no readable field {field}")]
    Field { record: Ref, field: &'static str },
    #[error("record {record} names account {account}, which the trail did not open")]
    Account { record: Ref, account: Ref },
    #[error("record {record} moves money between accounts that the trail did not open")]
    Place { record: Ref },
    #[error("record {record} names movement {movement}, which the trail did not make")]
    Movement { record: Ref, movement: Ref },
    #[error("record {record} moves {amount} beyond what sums hold")]
    Sums { record: Ref, amount: u64 },
}

/// An account as the trail adds it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    pub kind: AccountKind,
    pub agency: String,
    pub year: u64,
    pub earmark: Option<String>,
    pub award: Option<Ref>,
    pub parent: Option<Ref>,
    pub closed: bool,
    pub sums: Sums,
}

/// A movement as the trail tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub kind: MovementKind,
    pub state: MovementState,
    pub postings: Vec<Posting>,
    at_bank: bool,
    earmark: Option<String>,
    held_in: Option<Ref>,
}

/// Balances and flows of one programme, as its trail adds them up.
#[derive(Debug, Clone)]
pub struct Fold {
    programme: Ref,
    currency: String,
    historical: bool,
    years: Vec<u64>,
    closed_years: BTreeSet<u64>,
    sources: Vec<(String, Ref)>,
    accounts: BTreeMap<Ref, Folded>,
    movements: BTreeMap<Ref, Moved>,
    /// Records that wait for approval, with their bodies.
    waiting: BTreeMap<Ref, (String, Value)>,
    /// Waiting records whose approval was rejected by a rule that may have ended them.
    doubtful: BTreeSet<Ref>,
    orders: BTreeMap<Ref, Ref>,
    /// Records of other programmes: a programme that excludes this one brings all of its own to this trail.
    foreign: BTreeSet<Ref>,
    flows: figures::Flows,
    records: u64,
    rejected: u64,
}

/// A record under the fold's eyes.
struct Seen<'a> {
    reference: Ref,
    record_type: &'a str,
    body: &'a Value,
}

impl Seen<'_> {
    fn need<T: FromValue>(&self, field: &'static str) -> Result<T, FoldFault> {
        self.find(field).ok_or_else(|| FoldFault::Field { record: self.reference.clone(), field })
    }

    fn find<T: FromValue>(&self, field: &str) -> Option<T> {
        find(self.body, field)
    }
}

impl Fold {
    /// Nothing folded yet.
    pub fn new(programme: Ref) -> Self {
        Self {
            programme,
            currency: String::new(),
            historical: false,
            years: Vec::new(),
            closed_years: BTreeSet::new(),
            sources: Vec::new(),
            accounts: BTreeMap::new(),
            movements: BTreeMap::new(),
            waiting: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            orders: BTreeMap::new(),
            foreign: BTreeSet::new(),
            flows: figures::Flows::default(),
            records: 0,
            rejected: 0,
        }
    }

    /// Takes the next record of the trail with its outcome.
    pub fn apply(&mut self, outcome: u16, payload: &Payload) -> Result<(), FoldFault> {
        let reference = Ref::new(&payload.agency, &payload.record_id);
        let seen = Seen { reference, record_type: &payload.record_type, body: &payload.body };
        self.records = self.records.saturating_add(1);
        if outcome != 0 {
            self.rejected = self.rejected.saturating_add(1);
            return self.failed(&seen, outcome);
        }
        if self.is_foreign(&seen) {
            self.foreign.insert(seen.reference);
            return Ok(());
        }
        match seen.record_type {
            "approve" => self.approved(&seen),
            "reject" => self.ended(&seen, "waiting"),
            "movement_expire" => self.ended(&seen, "movement"),
            _ if waits(&seen) => self.proposed(&seen),
            _ => self.effect(&seen),
        }
    }

    pub fn programme(&self) -> &Ref {
        &self.programme
    }

    /// ISO 4217; empty before the programme is open.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    pub fn is_historical(&self) -> bool {
        self.historical
    }

    pub fn accounts(&self) -> &BTreeMap<Ref, Folded> {
        &self.accounts
    }

    pub fn movements(&self) -> &BTreeMap<Ref, Moved> {
        &self.movements
    }

    /// Records of the trail so far, rejected ones included.
    pub fn records(&self) -> u64 {
        self.records
    }

    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Accounts whose proven sums differ from the folded ones. A reservation that a failed approval may or may not have
    /// ended is settled first, in favour of what is proven.
    pub fn differences(&mut self, proven: &BTreeMap<Ref, Sums>) -> Result<Vec<Ref>, FoldFault> {
        for reference in std::mem::take(&mut self.doubtful) {
            let held = self.movements.get(&reference).filter(|moved| moved.state == MovementState::Proposed);
            let Some(posting) = held.and_then(|moved| moved.postings.first()) else { continue };
            let folded = self.accounts.get(&posting.debit).map(|account| account.sums.debits_pending);
            if proven.get(&posting.debit).map(|sums| sums.debits_pending) < folded {
                self.void(&reference)?;
            }
        }
        let names: BTreeSet<&Ref> = self.accounts.keys().chain(proven.keys()).collect();
        let differs = |name: &&Ref| self.accounts.get(*name).map(|account| account.sums) != proven.get(*name).copied();
        Ok(names.into_iter().filter(differs).cloned().collect())
    }

    /// Whether a record concerns another programme's money alone: it names that programme, a record of its, or its
    /// accounts. An account that this trail fails to open shows when the proven ones are compared.
    fn is_foreign(&self, seen: &Seen<'_>) -> bool {
        let named = |field| seen.find::<Ref>(field);
        if named("programme").is_some_and(|programme| programme != self.programme) {
            return true;
        }
        let earlier = ["movement", "payment", "order", "waiting"].into_iter().filter_map(named);
        if earlier.into_iter().any(|record| self.foreign.contains(&record)) {
            return true;
        }
        let parts: Vec<Value> = seen.find("parts").unwrap_or_default();
        let mut accounts = ["from", "to"].into_iter().filter_map(named).collect::<Vec<Ref>>();
        accounts.extend(parts.iter().filter_map(|part| find::<Ref>(part, "to")));
        !accounts.is_empty() && !accounts.iter().any(|account| self.accounts.contains_key(account))
    }

    // ---- the life of a waiting record ----

    fn proposed(&mut self, seen: &Seen<'_>) -> Result<(), FoldFault> {
        self.waiting.insert(seen.reference.clone(), (seen.record_type.to_owned(), seen.body.clone()));
        if let Some(moved) = self.planned(seen)? {
            self.hang(&moved);
            self.step(&seen.reference, &moved.postings, Step::Reserve)?;
            self.movements.insert(seen.reference.clone(), moved);
        }
        Ok(())
    }

    /// The approval that takes a waiting record into effect. A payment's first approval may not be its last, but no sum
    /// changes before the bank confirms.
    fn approved(&mut self, seen: &Seen<'_>) -> Result<(), FoldFault> {
        let reference: Ref = seen.need("waiting")?;
        self.doubtful.remove(&reference);
        let Some((record_type, body)) = self.waiting.remove(&reference) else { return Ok(()) };
        match self.movements.get(&reference).map(|moved| moved.at_bank) {
            Some(true) => {
                if let Some(moved) = self.movements.get_mut(&reference) {
                    moved.state = MovementState::Released;
                }
                Ok(())
            }
            Some(false) => self.post(&reference),
            None => self.effect(&Seen { reference, record_type: &record_type, body: &body }),
        }
    }

    fn ended(&mut self, seen: &Seen<'_>, field: &'static str) -> Result<(), FoldFault> {
        let reference: Ref = seen.need(field)?;
        self.waiting.remove(&reference);
        self.void(&reference)
    }

    /// A rejected approval ends the waiting record if a rule over that record rejected it: always for the rules of money,
    /// perhaps for general ones, never for those that only concern the approval.
    fn failed(&mut self, seen: &Seen<'_>, outcome: u16) -> Result<(), FoldFault> {
        if seen.record_type != "approve" {
            return Ok(());
        }
        let Some(reference) = seen.find::<Ref>("waiting") else { return Ok(()) };
        match outcome {
            3004 | 3013 | 3204 | 3205 => {}
            3200..=3299 => {
                self.waiting.remove(&reference);
                self.void(&reference)?;
            }
            _ => {
                self.doubtful.insert(reference);
            }
        }
        Ok(())
    }

    fn void(&mut self, reference: &Ref) -> Result<(), FoldFault> {
        let Some(moved) = self.movements.get(reference).cloned() else { return Ok(()) };
        let state = match moved.state {
            MovementState::Proposed => MovementState::Ended,
            MovementState::Released => MovementState::Failed,
            MovementState::Posted | MovementState::Failed | MovementState::Ended => return Ok(()),
        };
        self.step(reference, &moved.postings, Step::Void)?;
        self.movements.insert(reference.clone(), Moved { state, ..moved });
        Ok(())
    }

    fn post(&mut self, reference: &Ref) -> Result<(), FoldFault> {
        let Some(moved) = self.movements.get(reference).cloned() else { return Ok(()) };
        self.step(reference, &moved.postings, Step::Post)?;
        self.flow(&moved);
        self.movements.insert(reference.clone(), Moved { state: MovementState::Posted, ..moved });
        Ok(())
    }

    fn post_at_once(&mut self, reference: &Ref, moved: Moved) -> Result<(), FoldFault> {
        self.hang(&moved);
        self.step(reference, &moved.postings, Step::PostAtOnce)?;
        self.flow(&moved);
        self.movements.insert(reference.clone(), Moved { state: MovementState::Posted, ..moved });
        Ok(())
    }

    /// A COMMITMENT hangs from the ALLOTMENT that first committed to it.
    fn hang(&mut self, moved: &Moved) {
        let Some(posting) = moved.postings.first() else { return };
        if let (MovementKind::Commitment, Some(account)) = (moved.kind, self.accounts.get_mut(&posting.credit)) {
            account.parent.get_or_insert_with(|| posting.debit.clone());
        }
    }

    fn step(&mut self, record: &Ref, postings: &[Posting], step: Step) -> Result<(), FoldFault> {
        for posting in postings {
            for (name, side) in [(&posting.debit, Side::Debit), (&posting.credit, Side::Credit)] {
                let account = self
                    .accounts
                    .get_mut(name)
                    .ok_or_else(|| FoldFault::Account { record: record.clone(), account: name.clone() })?;
                let fault = || FoldFault::Sums { record: record.clone(), amount: posting.amount };
                account.sums = account.sums.after(step, side, posting.amount).ok_or_else(fault)?;
            }
        }
        Ok(())
    }

    // ---- what records do ----

    /// A record takes effect.
    fn effect(&mut self, seen: &Seen<'_>) -> Result<(), FoldFault> {
        match seen.record_type {
            "programme_open" if seen.reference == self.programme => self.open_programme(seen),
            "account_open" if seen.find::<Ref>("programme").as_ref() == Some(&self.programme) => {
                self.open_account(seen)
            }
            "payment_confirm" | "income_confirm" => {
                let movement: Ref = seen.need("movement")?;
                self.known(seen, &movement)?;
                self.post(&movement)
            }
            "payment_fail" | "movement_cancel" => {
                let movement: Ref = seen.need("movement")?;
                self.waiting.remove(&movement);
                self.void(&movement)
            }
            "recovery_order" => {
                self.orders.insert(seen.reference.clone(), seen.need("payment")?);
                Ok(())
            }
            "payment_return" => {
                let payment: Ref = seen.need("payment")?;
                self.take_back(seen, &payment, MovementKind::Return)
            }
            "recovery_receipt" => {
                let order: Ref = seen.need("order")?;
                match self.orders.get(&order).cloned() {
                    Some(payment) => self.take_back(seen, &payment, MovementKind::Recovery),
                    None => Err(FoldFault::Movement { record: seen.reference.clone(), movement: order }),
                }
            }
            "year_close" => self.close_year(seen),
            _ => match self.planned(seen)? {
                Some(moved) => self.post_at_once(&seen.reference, moved),
                None => Ok(()),
            },
        }
    }

    fn known(&self, seen: &Seen<'_>, movement: &Ref) -> Result<&Moved, FoldFault> {
        let fault = || FoldFault::Movement { record: seen.reference.clone(), movement: movement.clone() };
        self.movements.get(movement).ok_or_else(fault)
    }

    fn open_programme(&mut self, seen: &Seen<'_>) -> Result<(), FoldFault> {
        self.currency = seen.need("currency")?;
        self.historical = seen.need::<String>("mode")? == "historical";
        self.years = seen.need("years")?;
        self.years.sort_unstable();
        Ok(())
    }

    fn open_account(&mut self, seen: &Seen<'_>) -> Result<(), FoldFault> {
        let code: String = seen.need("account_kind")?;
        let fault = || FoldFault::Field { record: seen.reference.clone(), field: "account_kind" };
        let kind = AccountKind::from_code(&code).ok_or_else(fault)?;
        let earmark: Option<String> = seen.find("earmark");
        if kind == AccountKind::Source {
            let origin = earmark.clone().unwrap_or_else(|| TREASURY.to_owned());
            self.sources.push((origin, seen.reference.clone()));
        }
        let account = Folded {
            kind,
            agency: seen.need("agency")?,
            year: seen.need("year")?,
            earmark,
            award: seen.find("award"),
            parent: seen.find("parent"),
            closed: false,
            sums: Sums::default(),
        };
        self.accounts.insert(seen.reference.clone(), account);
        Ok(())
    }
}

/// Whether an applied record of this type waits for approval. Nothing waits in an import.
fn waits(seen: &Seen<'_>) -> bool {
    let waiting = matches!(
        seen.record_type,
        "programme_open"
            | "account_open"
            | "appropriate"
            | "income_record"
            | "allot"
            | "recall"
            | "award_grant"
            | "commit"
            | "decommit"
            | "list_strike"
            | "payment_request"
            | "payment_reissue"
            | "movement_cancel"
            | "refund"
            | "reconcile"
            | "year_close"
            | "programme_close"
    );
    waiting && seen.find::<Ref>("import").is_none()
}
