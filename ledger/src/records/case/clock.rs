//! The days of a case: when its clock runs out, what a pause does to it, and which day counts.

use super::object::{Case, Matter};
use crate::records::calendar::Day;
use crate::records::object::Mode;
use crate::records::scene::Scene;
use crate::records::working_day::WorkingDays;
use crate::state::StateFault;

/// The day on which a record counts against a deadline. In live cases the day of its block, so that no earlier
/// effective date can cure lateness or shorten an applicant's time; in imports the effective date, because nothing else is known.
pub fn counted_day(scene: &Scene<'_>) -> Day {
    match scene.mode {
        Mode::Live => scene.record.recorded,
        Mode::Historical | Mode::Strict => scene.record.effective,
    }
}

fn days<'a, 'b>(scene: &'a Scene<'b>) -> WorkingDays<'a, 'b> {
    WorkingDays::new(&scene.draft, scene.block.time_ms)
}

/// The clock begins: the matter's days are counted from the record's effective date.
pub fn start(scene: &Scene<'_>, case: &mut Case, matter: &Matter, stated: bool) -> Result<(), StateFault> {
    case.deadline = Some(days(scene).deadline(scene.record.effective, matter.clock_days)?);
    case.clock_stated = stated;
    Ok(())
}

/// The clock goes on after a pause with the days that were left when it began.
pub fn resume(scene: &Scene<'_>, case: &mut Case) -> Result<(), StateFault> {
    let (Some(paused), Some(deadline)) = (case.paused.take(), case.deadline) else { return Ok(()) };
    let mut days = days(scene);
    let left = days.between(paused, deadline)?;
    if paused <= deadline {
        case.deadline = Some(days.deadline(counted_day(scene), left)?);
    }
    Ok(())
}

/// The deadline moves by working days.
pub fn extend(scene: &Scene<'_>, case: &mut Case, by_days: u64) -> Result<(), StateFault> {
    if let Some(deadline) = case.deadline {
        case.deadline = Some(days(scene).deadline(deadline, by_days)?);
    }
    Ok(())
}

/// Whether a time that began on a day and may take so many working days is over on the day that counts.
pub fn is_over(scene: &Scene<'_>, began: Day, allowed: u64) -> Result<bool, StateFault> {
    Ok(counted_day(scene) > days(scene).deadline(began, allowed)?)
}
