//! What only time creates: idle money (3902), returned money that is not paid again (3903), reservations past their end
//! (3908). Never written: pure functions of proven state and a date, for whoever asks.

use super::account::{Account, AccountKind};
use super::movement::MovementState;
use crate::outcome::Code;
use crate::records::calendar::Day;
use crate::records::object::{Object, RecordLeaf};

/// 3902 or 3903 if money has lain in the account for longer than `idle_days` on a day.
pub fn idle(account: &Account, day: Day, idle_days: u64) -> Option<Code> {
    let since = account.last_moved?;
    if account.sums.available() == 0 || day <= since.plus(idle_days) {
        return None;
    }
    match account.kind {
        AccountKind::Appropriation | AccountKind::Allotment | AccountKind::Commitment | AccountKind::Carried => {
            Some(Code(3902))
        }
        AccountKind::Returned => Some(Code(3903)),
        AccountKind::Source | AccountKind::Paid | AccountKind::Deposit | AccountKind::Lapsed => None,
    }
}

/// 3908 if a movement is still reserved after the time until which it could be approved.
pub fn held_too_long(leaf: &RecordLeaf, time_ms: u64) -> Option<Code> {
    let Some(Object::Movement(movement)) = &leaf.object else { return None };
    let waiting = leaf.waiting.as_ref()?;
    let overdue = movement.state == MovementState::Proposed && waiting.is_open() && time_ms > waiting.valid_until;
    overdue.then_some(Code(3908))
}
