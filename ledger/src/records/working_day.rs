//! Working days: Monday to Friday, unless the calendar of the year, set by vote, says otherwise. Deadlines are counted
//! here; which matter has how many days is the mechanisms' matter.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::calendar::Day;
use crate::state::key::{self, Key};
use crate::state::{Overlay, StateFault};

/// Most working days of any deadline.
pub const MAX_CLOCK_DAYS: u64 = 3_660;
/// Most calendar days that a count walks through: it ends even under a calendar without working days.
const MAX_SPAN_DAYS: u64 = 36_600;
/// Number of Saturday among weekdays that begin with Monday as 0.
const SATURDAY: i32 = 5;

/// The exceptions of one year, valid from a block time on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct YearCalendar {
    /// Block time in ms.
    #[n(0)]
    pub from_time: u64,
    /// Days of rest although they fall on Monday to Friday.
    #[n(1)]
    pub rest_days: Vec<Day>,
    /// Working days although they fall on a weekend.
    #[n(2)]
    pub work_days: Vec<Day>,
}

/// Under this key stands the list of [`YearCalendar`]s of a year, in the order of the votes. In force is the one with the
/// latest beginning, of equal ones the last agreed.
pub fn calendar_key(year: i32) -> Key {
    key::rule(&format!("calendar.{year}"))
}

/// Counts working days by the calendars in force at a block's time.
pub struct WorkingDays<'a, 'b> {
    state: &'a Overlay<'b>,
    time_ms: u64,
    years: BTreeMap<i32, YearCalendar>,
}

impl<'a, 'b> WorkingDays<'a, 'b> {
    pub fn new(state: &'a Overlay<'b>, time_ms: u64) -> Self {
        Self { state, time_ms, years: BTreeMap::new() }
    }

    /// Whether offices are open on a day.
    pub fn is_working(&mut self, day: Day) -> Result<bool, StateFault> {
        let year = day.year();
        if !self.years.contains_key(&year) {
            let known: Vec<YearCalendar> = self.state.get(&calendar_key(year))?.unwrap_or_default();
            let begun = known.into_iter().filter(|calendar| calendar.from_time <= self.time_ms);
            let in_force = begun.max_by_key(|calendar| calendar.from_time);
            self.years.insert(year, in_force.unwrap_or_default());
        }
        let Some(calendar) = self.years.get(&year) else { return Ok(day.weekday() < SATURDAY) };
        Ok(calendar.work_days.contains(&day) || (day.weekday() < SATURDAY && !calendar.rest_days.contains(&day)))
    }

    /// The last day on which something is in time that may take `allowed` working days, the first of them after
    /// `start`. Days of rest that follow the last working day are still in time.
    pub fn deadline(&mut self, start: Day, allowed: u64) -> Result<Day, StateFault> {
        let mut day = start;
        let mut left = allowed.min(MAX_CLOCK_DAYS);
        for _ in 0..MAX_SPAN_DAYS {
            let next = day.plus(1);
            if self.is_working(next)? {
                if left == 0 {
                    return Ok(day);
                }
                left = left.saturating_sub(1);
            }
            day = next;
        }
        Ok(day)
    }

    /// Working days after `from`, up to and with `to`.
    pub fn between(&mut self, from: Day, to: Day) -> Result<u64, StateFault> {
        let mut count: u64 = 0;
        let mut day = from;
        for _ in 0..MAX_SPAN_DAYS {
            if day >= to {
                break;
            }
            day = day.plus(1);
            if self.is_working(day)? {
                count = count.saturating_add(1);
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Nothing;

    fn day(text: &str) -> Day {
        Day::parse(text).expect("a day")
    }

    fn check(start: &str, allowed: u64, expected: &str) {
        let state = Overlay::new(&Nothing);
        let mut days = WorkingDays::new(&state, 0);
        let deadline = days.deadline(day(start), allowed).expect("counts");
        assert_eq!(deadline.to_string(), expected, "{allowed} working days after {start}");
        assert_eq!(days.between(day(start), deadline).expect("counts"), allowed);
        assert_eq!(days.between(day(start), deadline.plus(1)).expect("counts"), allowed + 1);
    }

    #[test]
    fn a_deadline_lasts_until_the_next_working_day_begins() {
        check("2026-11-23", 1, "2026-11-24");
        check("2026-11-23", 4, "2026-11-29");
        check("2026-11-23", 5, "2026-11-30");
        check("2026-11-27", 1, "2026-11-30");
        check("2026-11-28", 0, "2026-11-29");
        check("2026-11-02", 20, "2026-11-30");
    }

    #[test]
    fn a_calendar_moves_deadlines_from_its_time_on() {
        let mut state = Overlay::new(&Nothing);
        let golden_week = YearCalendar {
            from_time: 1_000,
            rest_days: ["2026-10-01", "2026-10-02", "2026-10-05", "2026-10-06", "2026-10-07"].map(day).to_vec(),
            work_days: ["2026-10-10"].map(day).to_vec(),
        };
        state.put(calendar_key(2026), &vec![golden_week]).expect("encodes");
        let deadline = |time_ms| WorkingDays::new(&state, time_ms).deadline(day("2026-09-30"), 3).expect("counts");
        assert_eq!(deadline(999).to_string(), "2026-10-05");
        assert_eq!(deadline(1_000).to_string(), "2026-10-11", "8, 9 and the Saturday that works; Sunday rests");
    }

    #[test]
    fn a_calendar_without_working_days_still_ends() {
        let mut state = Overlay::new(&Nothing);
        for year in 2026..2030 {
            let first = Day::parse(&format!("{year}-01-01")).expect("a day");
            let rest_days = (0..366).map(|number| first.plus(number)).collect();
            let calendar = YearCalendar { from_time: 0, rest_days, work_days: Vec::new() };
            state.put(calendar_key(year), &vec![calendar]).expect("encodes");
        }
        let deadline = WorkingDays::new(&state, 0).deadline(day("2026-01-01"), 1).expect("counts");
        assert_eq!(deadline.to_string(), "2030-01-01");
    }
}
