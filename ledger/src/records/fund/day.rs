//! What each programme took in and paid on each effective day: the counters that disclosures must equal (3703).

use minicbor::{Decode, Encode};

use super::movement::{Movement, MovementKind};
use crate::records::calendar::Day;
use crate::records::object::Ref;
use crate::records::scene::{Scene, Verdict, reject};
use crate::state::{StateFault, key};

/// Longest span of days that one disclosure may cover: ten years.
pub const MAX_DAYS: u64 = 3_660;

/// The counters of one programme and day, or of a span of days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct DayCount {
    /// Minor units of income that was posted.
    #[n(0)]
    pub income: u64,
    /// Minor units that were paid, before anything came back.
    #[n(1)]
    pub paid: u64,
    /// Number of incomes and payments.
    #[n(2)]
    pub count: u64,
}

impl DayCount {
    fn plus(self, other: DayCount) -> Option<DayCount> {
        Some(DayCount {
            income: self.income.checked_add(other.income)?,
            paid: self.paid.checked_add(other.paid)?,
            count: self.count.checked_add(other.count)?,
        })
    }
}

/// A posted movement counts on the effective day of the record that posts it.
pub fn count(scene: &mut Scene<'_>, movement: &Movement) -> Verdict {
    let amount = movement.amount();
    let added = match movement.kind {
        MovementKind::Income => DayCount { income: amount, paid: 0, count: 1 },
        MovementKind::Payment | MovementKind::Reissue => DayCount { income: 0, paid: amount, count: 1 },
        MovementKind::Appropriation
        | MovementKind::Allotment
        | MovementKind::Recall
        | MovementKind::Commitment
        | MovementKind::Decommitment
        | MovementKind::Return
        | MovementKind::Recovery
        | MovementKind::Refund
        | MovementKind::YearClose
        | MovementKind::Deposit
        | MovementKind::DepositSettlement => return Ok(()),
    };
    let key = key_of(&movement.programme, scene.record.effective);
    let before: DayCount = scene.draft.get(&key)?.unwrap_or_default();
    match before.plus(added) {
        Some(after) => Ok(scene.draft.put(key, &after)?),
        None => reject(3222, format!("the day's sum would pass the limit of 64 bits by {amount}")),
    }
}

/// The counters of a programme from one day to another, both included; None where the span is longer than
/// [`MAX_DAYS`] or ends before it begins.
pub fn between(scene: &Scene<'_>, programme: &Ref, from: Day, to: Day) -> Result<Option<DayCount>, StateFault> {
    if to < from || to.since(from) >= MAX_DAYS {
        return Ok(None);
    }
    let mut sum = DayCount::default();
    for number in from.0..=to.0 {
        if let Some(day) = scene.draft.get::<DayCount>(&key_of(programme, Day(number)))? {
            let Some(after) = sum.plus(day) else { return Ok(None) };
            sum = after;
        }
    }
    Ok(Some(sum))
}

fn key_of(programme: &Ref, day: Day) -> key::Key {
    key::day(&programme.key_part(), &day.to_string())
}
