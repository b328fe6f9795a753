//! The four sums of an account and the arithmetic of one balanced posting. Knows no account kinds, no records and no
//! state; whether money may move is decided by `account` and the record types.

use minicbor::{Decode, Encode};

/// What an account, or a currency's totals, stores: never a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Sums {
    #[n(0)]
    pub debits_posted: u64,
    #[n(1)]
    pub credits_posted: u64,
    #[n(2)]
    pub debits_pending: u64,
    #[n(3)]
    pub credits_pending: u64,
}

/// What happens to an amount: a reservation is made, turned into money, or undone; or money moves at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Reserve,
    Post,
    PostAtOnce,
    Void,
}

/// Which side of a posting an account stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Debit,
    Credit,
}

impl Sums {
    /// The sums after one step on one side; None where a sum would pass the limit of 64 bits or fall below zero.
    pub fn after(mut self, step: Step, side: Side, amount: u64) -> Option<Sums> {
        let (posted, pending) = match side {
            Side::Debit => (&mut self.debits_posted, &mut self.debits_pending),
            Side::Credit => (&mut self.credits_posted, &mut self.credits_pending),
        };
        match step {
            Step::Reserve => *pending = pending.checked_add(amount)?,
            Step::Post => {
                *pending = pending.checked_sub(amount)?;
                *posted = posted.checked_add(amount)?;
            }
            Step::PostAtOnce => *posted = posted.checked_add(amount)?,
            Step::Void => *pending = pending.checked_sub(amount)?,
        }
        posted.checked_add(*pending)?;
        Some(self)
    }

    /// Posted and reserved debits; fits, because [`Sums::after`] keeps it below the limit.
    pub fn debits(&self) -> u64 {
        self.debits_posted.saturating_add(self.debits_pending)
    }

    /// Posted and reserved credits.
    pub fn credits(&self) -> u64 {
        self.credits_posted.saturating_add(self.credits_pending)
    }

    /// What may be spent, in minor units; zero for an account below zero. Pending credits cannot be spent.
    pub fn available(&self) -> u64 {
        self.credits_posted.saturating_sub(self.debits())
    }

    /// How far a historical account stands below zero.
    pub fn shortfall(&self) -> u64 {
        self.debits().saturating_sub(self.credits_posted)
    }

    /// Whether the account holds nothing and reserves nothing.
    pub fn is_settled(&self) -> bool {
        self.debits_pending == 0 && self.credits_pending == 0 && self.debits_posted == self.credits_posted
    }

    /// Whether anything is reserved on either side.
    pub fn has_reservation(&self) -> bool {
        self.debits_pending != 0 || self.credits_pending != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sum_reaches_its_limit_and_not_one_beyond() {
        let full = Sums { debits_posted: u64::MAX - 5, ..Sums::default() };
        assert!(full.after(Step::PostAtOnce, Side::Debit, 5).is_some());
        assert!(full.after(Step::PostAtOnce, Side::Debit, 6).is_none());
        let held = full.after(Step::Reserve, Side::Debit, 5).expect("exactly at the limit");
        assert!(held.after(Step::Reserve, Side::Debit, 1).is_none());
        assert!(held.after(Step::Void, Side::Debit, 6).is_none());
        assert!(held.after(Step::Post, Side::Debit, 6).is_none());
    }

    #[test]
    fn pending_credits_cannot_be_spent() {
        let sums = Sums { credits_posted: 10, credits_pending: 90, debits_pending: 3, debits_posted: 2 };
        assert_eq!(sums.available(), 5);
        assert_eq!(sums.shortfall(), 0);
        let below = Sums { credits_posted: 10, debits_posted: 12, ..Sums::default() };
        assert_eq!((below.available(), below.shortfall()), (0, 2));
    }

    proptest! {
        /// Random movements between three accounts conserve money at every step, and a reservation that is checked
        /// against `available` never lets an account fall below zero.
        #[test]
        fn random_sequences_conserve_and_never_overspend(
            steps in prop::collection::vec((0usize..3, 0usize..3, 1u64..1000, 0u8..3), 1..200)
        ) {
            let mut accounts = [Sums { credits_posted: 5000, ..Sums::default() }, Sums::default(), Sums::default()];
            let mut held: Vec<(usize, usize, u64)> = Vec::new();
            for (from, to, amount, choice) in steps {
                let (step, from, to, amount) = match (choice, held.pop()) {
                    (0, Some((from, to, amount))) => (Step::Post, from, to, amount),
                    (1, Some((from, to, amount))) => (Step::Void, from, to, amount),
                    (_, last) => {
                        held.extend(last);
                        if from == to || accounts[from].available() < amount {
                            continue;
                        }
                        held.push((from, to, amount));
                        (Step::Reserve, from, to, amount)
                    }
                };
                accounts[from] = accounts[from].after(step, Side::Debit, amount).expect("far from the limit");
                accounts[to] = accounts[to].after(step, Side::Credit, amount).expect("far from the limit");
                let sum = |part: fn(&Sums) -> u64| accounts.iter().map(part).sum::<u64>();
                prop_assert_eq!(sum(|s| s.debits_posted) + 5000, sum(|s| s.credits_posted));
                prop_assert_eq!(sum(|s| s.debits_pending), sum(|s| s.credits_pending));
                prop_assert!(accounts.iter().all(|sums| sums.shortfall() == 0));
            }
        }
    }
}
