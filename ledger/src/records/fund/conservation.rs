//! Asserted after every record, in every node: what its accounts lost, others gained, and no account gave what it had not.
//! The rules decide before; here stands only what they must have led to, computed from the accounts as they were and are.
//! A node in which it does not hold stops, rather than sign.

use super::account::Account;
use super::sums::Sums;
use crate::records::object::Mode;
use crate::records::scene::Totals;
use crate::state::StateFault;

/// What all accounts that one record changed gained and lost, and what its currencies' totals did.
#[derive(Debug, Default)]
pub struct Conservation {
    posted: Sides,
    pending: Sides,
}

/// Changes of debits and of credits: of the accounts, less those of the totals.
#[derive(Debug, Default)]
struct Sides {
    debits: i128,
    credits: i128,
    /// Debits less credits of the accounts alone.
    balance: i128,
}

impl Sides {
    fn account(&mut self, [debits_were, credits_were]: [u64; 2], [debits, credits]: [u64; 2]) {
        let (debits, credits) =
            (change(debits_were.into(), debits.into()), change(credits_were.into(), credits.into()));
        self.debits = self.debits.saturating_add(debits);
        self.credits = self.credits.saturating_add(credits);
        self.balance = self.balance.saturating_add(debits).saturating_sub(credits);
    }

    fn total(&mut self, [debits_were, credits_were]: [u128; 2], [debits, credits]: [u128; 2]) {
        self.debits = self.debits.saturating_sub(change(debits_were, debits));
        self.credits = self.credits.saturating_sub(change(credits_were, credits));
    }
}

fn change(was: u128, is: u128) -> i128 {
    let size = i128::try_from(was.abs_diff(is)).unwrap_or(i128::MAX);
    if is < was { size.saturating_neg() } else { size }
}

impl Conservation {
    /// Counts an account, as it was before the record, if it was, and as it is after it.
    pub fn count(&mut self, before: Option<&Account>, after: &Account, mode: Mode) -> Result<(), StateFault> {
        let (was, is) = (before.map_or_else(Sums::default, |account| account.sums), after.sums);
        let may_fall_short = match mode {
            Mode::Live => false,
            // Of a budget that its source does not state nothing can be asked.
            Mode::Strict => after.assumed,
            Mode::Historical => true,
        };
        if is.debits() > was.debits() && after.kind.is_limited() && !may_fall_short && is.shortfall() > 0 {
            return Err(StateFault::Invariant("an account is overspent"));
        }
        self.posted.account([was.debits_posted, was.credits_posted], [is.debits_posted, is.credits_posted]);
        self.pending.account([was.debits_pending, was.credits_pending], [is.debits_pending, is.credits_pending]);
        Ok(())
    }

    /// Counts the totals of a currency.
    pub fn total(&mut self, was: &Totals, is: &Totals) {
        self.posted.total([was.debits_posted, was.credits_posted], [is.debits_posted, is.credits_posted]);
        self.pending.total([was.debits_pending, was.credits_pending], [is.debits_pending, is.credits_pending]);
    }

    /// That nothing came from nowhere and nothing went there, and that the totals say so.
    pub fn check(&self) -> Result<(), StateFault> {
        let sides = [&self.posted, &self.pending];
        if sides.iter().any(|sides| sides.balance != 0) {
            return Err(StateFault::Invariant("debits differ from credits"));
        }
        match sides.iter().all(|sides| sides.debits == 0 && sides.credits == 0) {
            true => Ok(()),
            false => Err(StateFault::Invariant("totals differ from the accounts")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::account::AccountKind;
    use super::super::tests::funded;
    use super::*;
    use crate::records::body::{Body, Known, Record};
    use crate::records::calendar::Day;
    use crate::records::object::{Object, Ref};
    use crate::records::record_type;
    use crate::records::scene::{Cast, Scene};
    use crate::records::signer::Signer;
    use crate::records::testing::{hash, reference};
    use crate::state::Overlay;
    use crate::state::execute::BlockContext;

    fn account(
        kind: AccountKind,
        [debits_posted, credits_posted, debits_pending, credits_pending]: [u64; 4],
    ) -> Account {
        Account {
            kind,
            programme: Ref::new("civil", &[1; 16]),
            parent: None,
            agency: "civil".into(),
            year: 2026,
            earmark: None,
            award: None,
            sums: Sums { debits_posted, credits_posted, debits_pending, credits_pending },
            passed_down: 0,
            budget: 0,
            closed: false,
            assumed: false,
            last_moved: None,
        }
    }

    fn counted(changes: &[(Option<Account>, Account)], mode: Mode) -> Result<(), StateFault> {
        let mut conservation = Conservation::default();
        for (before, after) in changes {
            conservation.count(before.as_ref(), after, mode)?;
            let was = before.as_ref().map(|account| account.sums).unwrap_or_default();
            let debits = |sums: Sums| (u128::from(sums.debits_posted), u128::from(sums.debits_pending));
            let (was, is) = (debits(was), debits(after.sums));
            // As the book keeps them, from the debits.
            let totals = |(posted, pending): (u128, u128)| Totals {
                debits_posted: posted,
                credits_posted: posted,
                debits_pending: pending,
                credits_pending: pending,
            };
            conservation.total(&totals(was), &totals(is));
        }
        conservation.check()
    }

    #[test]
    fn what_one_account_gives_another_gets() {
        let grant = |sums| account(AccountKind::Commitment, sums);
        let paid = |sums| account(AccountKind::Paid, sums);
        let posted = [(Some(grant([0, 100, 40, 0])), grant([40, 100, 0, 0])), (None, paid([0, 40, 0, 0]))];
        assert!(counted(&posted, Mode::Live).is_err(), "a reservation is on both sides");
        let reserved = [(Some(grant([0, 100, 0, 0])), grant([0, 100, 40, 0])), (None, paid([0, 0, 0, 40]))];
        assert_eq!(counted(&reserved, Mode::Live), Ok(()));
        let [(Some(before), _), _] = posted else { unreachable!("made above") };
        let one_more =
            [(Some(before.clone()), grant([40, 100, 0, 0])), (Some(paid([0, 0, 0, 40])), paid([0, 41, 0, 0]))];
        assert_eq!(counted(&one_more, Mode::Live), Err(StateFault::Invariant("debits differ from credits")));
        let held_too_long = [(Some(before), grant([40, 100, 40, 0])), (Some(paid([0, 0, 0, 40])), paid([0, 40, 0, 0]))];
        assert!(counted(&held_too_long, Mode::Live).is_err());
        assert_eq!(counted(&[], Mode::Live), Ok(()));
        let mut forgotten = Conservation::default();
        forgotten.total(&Totals::default(), &Totals { debits_posted: 1, credits_posted: 1, ..Totals::default() });
        assert_eq!(forgotten.check(), Err(StateFault::Invariant("totals differ from the accounts")));
    }

    #[test]
    fn no_account_gives_what_it_has_not_but_a_source() {
        for kind in AccountKind::ALL {
            let pair = || {
                [
                    (Some(account(kind, [0, 10, 0, 0])), account(kind, [11, 10, 0, 0])),
                    (None, account(AccountKind::Paid, [0, 11, 0, 0])),
                ]
            };
            assert_eq!(counted(&pair(), Mode::Live).is_err(), kind.is_limited(), "{kind:?}");
            assert_eq!(counted(&pair(), Mode::Strict).is_err(), kind.is_limited(), "{kind:?}");
            assert_eq!(counted(&pair(), Mode::Historical), Ok(()), "{kind:?}");
        }
        let short = account(AccountKind::Allotment, [20, 10, 0, 0]);
        let filled = account(AccountKind::Allotment, [20, 15, 0, 0]);
        let source = (None, account(AccountKind::Source, [5, 0, 0, 0]));
        assert_eq!(counted(&[(Some(short), filled), source], Mode::Live), Ok(()), "what comes in is no spending");
    }

    /// Whatever a rule did to an account: what the scene of a record leaves behind is counted.
    #[test]
    fn no_record_ends_whose_accounts_do_not_add_up() {
        let stage = funded();
        let base = Overlay::new(&stage.state);
        let transaction = stage.sign("civil/1", "document_anchor", "A", vec![("digest", hash(1))]);
        let block = BlockContext { height: 99, epoch: 0, time_ms: stage.time_ms, first_index: 999 };
        let ended = |change: &dyn Fn(&mut Sums)| {
            let record = Record {
                kind: record_type("document_anchor").expect("a type"),
                reference: reference("civil/A"),
                transaction_id: transaction.id(),
                key_id: transaction.key_id(),
                body: Body::Submitted(&transaction.payload().body),
                recorded: Day(0),
                effective: Day(0),
                known: Known::default(),
            };
            let signer = Signer::of(&base, &record, stage.time_ms).expect("the state reads").expect("registered");
            let cast = Cast { index: 999, record, signer, mode: Mode::Live };
            let mut scene = Scene::new(&base, &stage.network, &block, cast);
            let place = reference("finance/P-ALL");
            let Some(Object::Account(mut account)) = scene.object(&place).expect("the state reads") else {
                panic!("an account")
            };
            change(&mut Arc::make_mut(&mut account).sums);
            scene.put(&place, Object::Account(account)).expect("put");
            scene.finish().map(|_| ())
        };
        assert_eq!(ended(&|_| ()), Ok(()));
        let differs = Err(StateFault::Invariant("debits differ from credits"));
        assert_eq!(ended(&|sums| sums.credits_posted += 1), differs);
        assert_eq!(ended(&|sums| sums.debits_pending += 1), differs);
        let overspent = Err(StateFault::Invariant("an account is overspent"));
        assert_eq!(ended(&|sums| sums.debits_posted += 1_000_000), overspent);
    }
}
