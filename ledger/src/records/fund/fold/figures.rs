//! The figures of the money's identity, from folded balances and flows.

use std::collections::BTreeMap;

use super::{Fold, Folded, Moved};
use crate::records::fund::account::AccountKind;
use crate::records::fund::movement::MovementKind;
use crate::records::fund::sums::Sums;
use crate::records::object::Ref;

/// What came from each SOURCE and how, and what was passed down.
#[derive(Debug, Clone, Default)]
pub(super) struct Flows {
    appropriated: BTreeMap<Ref, i128>,
    income: BTreeMap<Ref, i128>,
    allotted: i128,
}

/// The figures of one programme in minor units. Historical accounts may stand below zero, so all are signed; 128 bits
/// hold any sum of 64-bit sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// From the treasury, net of what went back.
    pub appropriated: i128,
    /// Donations and other income, net of what went back, settled deposits included.
    pub income: i128,
    /// Passed down from APPROPRIATION; it only informs.
    pub allotted: i128,
    pub committed: i128,
    /// Reserved, not posted.
    pub in_flight: i128,
    pub settled: i128,
    pub returned: i128,
    pub returned_held: i128,
    pub lapsed: i128,
    pub carried: i128,
    pub available: i128,
    pub deposits_open: i128,
    /// Whether the identity holds, and debits equal credits, posted and pending apart.
    pub balanced: bool,
}

impl Fold {
    /// The identity at this point of the trail.
    pub fn figures(&self) -> Figures {
        let sum = |fits: fn(AccountKind) -> bool, part: fn(&Sums) -> i128| -> i128 {
            self.accounts.values().filter(|account| fits(account.kind)).map(|account| part(&account.sums)).fold(0, plus)
        };
        let figures = Figures {
            appropriated: self.flows.appropriated.values().copied().fold(0, plus),
            income: self.flows.income.values().copied().fold(0, plus),
            allotted: self.flows.allotted,
            committed: sum(|kind| kind == AccountKind::Commitment, available),
            in_flight: sum(is_spendable, |sums| i128::from(sums.debits_pending)),
            settled: sum(|kind| kind == AccountKind::Paid, |sums| i128::from(sums.credits_posted)),
            returned: sum(|kind| kind == AccountKind::Paid, |sums| i128::from(sums.debits_posted)),
            returned_held: sum(|kind| kind == AccountKind::Returned, available),
            lapsed: sum(|kind| kind == AccountKind::Lapsed, held),
            carried: sum(|kind| kind == AccountKind::Carried, held),
            available: sum(|kind| matches!(kind, AccountKind::Appropriation | AccountKind::Allotment), available),
            deposits_open: sum(|kind| kind == AccountKind::Deposit, held),
            balanced: false,
        };
        let posted = sum(|_| true, |sums| minus(i128::from(sums.credits_posted), sums.debits_posted));
        let pending = sum(|_| true, |sums| minus(i128::from(sums.credits_pending), sums.debits_pending));
        Figures { balanced: figures.identity() && posted == 0 && pending == 0, ..figures }
    }

    pub(super) fn flow(&mut self, moved: &Moved) {
        for posting in &moved.postings {
            let amount = i128::from(posting.amount);
            let kind = |name: &Ref| self.accounts.get(name).map(|account: &Folded| account.kind);
            let (from, to) = (kind(&posting.debit), kind(&posting.credit));
            match (from, to) {
                (Some(AccountKind::Source), _) if moved.kind == MovementKind::Income => {
                    add(&mut self.flows.income, &posting.debit, amount);
                }
                (Some(AccountKind::Source), _) if moved.kind == MovementKind::Appropriation => {
                    add(&mut self.flows.appropriated, &posting.debit, amount);
                }
                (_, Some(AccountKind::Source)) if moved.kind != MovementKind::DepositSettlement => {
                    self.went_back(&posting.credit, amount);
                }
                (Some(AccountKind::Appropriation), Some(AccountKind::Allotment)) => {
                    self.flows.allotted = self.flows.allotted.saturating_add(amount);
                }
                (Some(AccountKind::Allotment), Some(AccountKind::Appropriation)) => {
                    self.flows.allotted = self.flows.allotted.saturating_sub(amount);
                }
                (Some(AccountKind::Deposit), _) if to.is_some_and(|kind| kind != AccountKind::Source) => {
                    add(&mut self.flows.income, &posting.debit, amount);
                }
                _ => {}
            }
        }
    }

    /// Money that goes back to a SOURCE counts against what it appropriated, beyond that against its income.
    fn went_back(&mut self, source: &Ref, amount: i128) {
        let appropriated = self.flows.appropriated.get(source).copied().unwrap_or(0);
        let first = amount.min(appropriated);
        add(&mut self.flows.appropriated, source, first.saturating_neg());
        add(&mut self.flows.income, source, first.saturating_sub(amount));
    }
}

impl Figures {
    /// appropriated + income = available + committed + in_flight + (settled − returned) + returned_held + lapsed + carried
    fn identity(&self) -> bool {
        let paid = self.settled.saturating_sub(self.returned);
        let parts =
            [self.available, self.committed, self.in_flight, paid, self.returned_held, self.lapsed, self.carried];
        self.appropriated.saturating_add(self.income) == parts.into_iter().fold(0, plus)
    }
}

fn is_spendable(kind: AccountKind) -> bool {
    match kind {
        AccountKind::Appropriation | AccountKind::Allotment | AccountKind::Commitment | AccountKind::Returned => true,
        AccountKind::Source | AccountKind::Paid | AccountKind::Deposit | AccountKind::Carried | AccountKind::Lapsed => {
            false
        }
    }
}

fn available(sums: &Sums) -> i128 {
    minus(minus(i128::from(sums.credits_posted), sums.debits_posted), sums.debits_pending)
}

fn held(sums: &Sums) -> i128 {
    minus(i128::from(sums.credits_posted), sums.debits_posted)
}

fn minus(sum: i128, part: u64) -> i128 {
    sum.saturating_sub(i128::from(part))
}

fn plus(sum: i128, part: i128) -> i128 {
    sum.saturating_add(part)
}

fn add(flows: &mut BTreeMap<Ref, i128>, source: &Ref, amount: i128) {
    let flow = flows.entry(source.clone()).or_insert(0);
    *flow = flow.saturating_add(amount);
}
