//! Calendar days as numbers, and how they are written. Which days are working days is agreed by vote.

use minicbor::{Decode, Encode};

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// 29 February, written mmdd.
const LEAP_DAY: u64 = 229;

/// A calendar day: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Day(#[n(0)] pub i32);

impl Day {
    /// The local day at a time, `utc_offset_minutes` east of UTC.
    pub fn at(time_ms: u64, utc_offset_minutes: i32) -> Self {
        let offset_ms = i64::from(utc_offset_minutes).saturating_mul(60_000);
        let local_ms = i64::try_from(time_ms).unwrap_or(i64::MAX).saturating_add(offset_ms);
        let day_ms = i64::try_from(DAY_MS).unwrap_or(i64::MAX);
        Self(i32::try_from(local_ms.div_euclid(day_ms)).unwrap_or(i32::MAX))
    }

    /// Reads `YYYY-MM-DD`; None for another form or a day that no calendar has.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| -> Option<i32> {
            let part = text.get(range)?;
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()
        };
        if bytes.len() != 10 || bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
            return None;
        }
        let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
        if year == 0 || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        Some(Self::from_civil(year, month, day))
    }

    /// The day of a year that is written mmdd, as a number; 0229 is 28 February in common years. None for no date.
    pub fn of_year(year: u64, month_day: u64) -> Option<Self> {
        let (month, day) = (month_day.checked_div(100)?, month_day.checked_rem(100)?);
        let written = |day: u64| Self::parse(&format!("{year:04}-{month:02}-{day:02}"));
        written(day).or_else(|| (month_day == LEAP_DAY).then(|| written(28)).flatten())
    }

    pub fn plus(self, days: u64) -> Self {
        Self(self.0.saturating_add(i32::try_from(days).unwrap_or(i32::MAX)))
    }

    pub fn minus(self, days: u64) -> Self {
        Self(self.0.saturating_sub(i32::try_from(days).unwrap_or(i32::MAX)))
    }

    /// Whole days from `earlier` to this day; 0 if it is not earlier.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// 0 for Monday to 6 for Sunday.
    pub fn weekday(self) -> i32 {
        self.0.saturating_add(3).rem_euclid(7)
    }

    pub fn year(self) -> i32 {
        self.civil().0
    }

    /// Howard Hinnant's days_from_civil: March is the first month, so that the leap day is the last of a year.
    fn from_civil(year: i32, month: i32, day: i32) -> Self {
        let year = if month <= 2 { year.saturating_sub(1) } else { year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted = month.saturating_add(9).rem_euclid(12);
        let day_of_year =
            shifted.saturating_mul(153).saturating_add(2).div_euclid(5).saturating_add(day).saturating_sub(1);
        let day_of_era = year_of_era
            .saturating_mul(365)
            .saturating_add(year_of_era.div_euclid(4))
            .saturating_sub(year_of_era.div_euclid(100))
            .saturating_add(day_of_year);
        Self(era.saturating_mul(146_097).saturating_add(day_of_era).saturating_sub(719_468))
    }

    fn civil(self) -> (i32, i32, i32) {
        let days = self.0.saturating_add(719_468);
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = day_of_era
            .saturating_sub(day_of_era.div_euclid(1_460))
            .saturating_add(day_of_era.div_euclid(36_524))
            .saturating_sub(day_of_era.div_euclid(146_096))
            .div_euclid(365);
        let start = year_of_era
            .saturating_mul(365)
            .saturating_add(year_of_era.div_euclid(4))
            .saturating_sub(year_of_era.div_euclid(100));
        let day_of_year = day_of_era.saturating_sub(start);
        let shifted = day_of_year.saturating_mul(5).saturating_add(2).div_euclid(153);
        let day = day_of_year.saturating_sub(shifted.saturating_mul(153).saturating_add(2).div_euclid(5));
        let month = if shifted < 10 { shifted.saturating_add(3) } else { shifted.saturating_sub(9) };
        let year = era.saturating_mul(400).saturating_add(year_of_era);
        let year = if month <= 2 { year.saturating_add(1) } else { year };
        (year, month, day.saturating_add(1))
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

fn days_in_month(year: i32, month: i32) -> i32 {
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_six_centuries_is_written_and_read_back() {
        let first = Day::parse("1800-01-01").expect("a day");
        let last = Day::parse("2400-12-31").expect("a day");
        for number in first.0..=last.0 {
            assert_eq!(Day::parse(&Day(number).to_string()), Some(Day(number)));
        }
        assert_eq!(Day::parse("1970-01-01"), Some(Day(0)));
        assert_eq!(Day(0).weekday(), 3, "a Thursday");
        assert_eq!(Day::parse("2000-02-29").map(Day::year), Some(2000));
    }

    #[test]
    fn impossible_days_are_none() {
        for text in [
            "2023-02-29",
            "2023-13-01",
            "2023-00-10",
            "2023-01-32",
            "0000-01-01",
            "2023-1-01",
            "20230101",
            "2023/01/01",
            "+023-01-01",
        ] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_of_the_year_is_on_the_calendar() {
        let written = |year, month_day| Day::of_year(year, month_day).map(|day| day.to_string());
        assert_eq!(written(2026, 1_130).as_deref(), Some("2026-11-30"));
        assert_eq!(written(2028, 229).as_deref(), Some("2028-02-29"));
        assert_eq!(written(2026, 229).as_deref(), Some("2026-02-28"));
        for impossible in [0, 100, 230, 431, 1_032, 1_099, 1_301, 10_101] {
            assert_eq!(written(2028, impossible), None, "{impossible}");
        }
    }

    #[test]
    fn a_local_day_begins_at_local_midnight() {
        let midnight_in_fujian = 16 * 3_600_000;
        assert_eq!(Day::at(midnight_in_fujian, 480), Day(1));
        assert_eq!(Day::at(midnight_in_fujian - 1, 480), Day(0));
        assert_eq!(Day::at(0, -60), Day(-1));
    }
}
