//! Periods that a list is for. Each has one spelling and a first and last day: whether two are of the same time is
//! asked of the calendar, not of how somebody wrote them.

use crate::records::calendar::Day;

/// The spellings, for a message.
pub const FORMS: &str = "a year, half-year, quarter, month or day: 2026, 2026H2, 2026Q3, 2026-07 or 2026-07-15";

/// The first and the last day; None for another spelling.
pub fn days(period: &str) -> Option<(Day, Day)> {
    if let Some(day) = Day::parse(period) {
        return Some((day, day));
    }
    let year = period.get(..4).filter(|year| year.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (first, last) = match period.get(4..)? {
        "" => ("01", "12"),
        "H1" => ("01", "06"),
        "H2" => ("07", "12"),
        "Q1" => ("01", "03"),
        "Q2" => ("04", "06"),
        "Q3" => ("07", "09"),
        "Q4" => ("10", "12"),
        month => month.strip_prefix('-').map(|month| (month, month))?,
    };
    let first = Day::parse(&format!("{year}-{first}-01"))?;
    let ends = ["31", "30", "29", "28"].into_iter();
    let last = ends.filter_map(|day| Day::parse(&format!("{year}-{last}-{day}"))).next()?;
    Some((first, last))
}

/// Whether two periods share a day. One that no calendar knows shares a day with every other.
pub fn overlap(one: &str, other: &str) -> bool {
    match (days(one), days(other)) {
        (Some((from, to)), Some((begin, end))) => from <= end && begin <= to,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_one_spelling_and_its_days() {
        for (period, first, last) in [
            ("2026", "2026-01-01", "2026-12-31"),
            ("2026H2", "2026-07-01", "2026-12-31"),
            ("2026Q1", "2026-01-01", "2026-03-31"),
            ("2024-02", "2024-02-01", "2024-02-29"),
            ("2026-02", "2026-02-01", "2026-02-28"),
            ("2026-07-15", "2026-07-15", "2026-07-15"),
        ] {
            let (from, to) = days(period).expect(period);
            assert_eq!((from.to_string(), to.to_string()), (first.to_owned(), last.to_owned()));
        }
        for other in
            ["2026h2", "2026-H2", "2026H3", "2026-13", "2026-7", "26", "0000", "2026H2 ", " 2026", "spring", ""]
        {
            assert_eq!(days(other), None, "{other}");
        }
    }

    #[test]
    fn periods_meet_by_their_days() {
        for (one, other, meet) in [
            ("2026", "2026-07", true),
            ("2026H2", "2026Q3", true),
            ("2026Q3", "2026Q4", false),
            ("2026-07", "2026-07-31", true),
            ("2026H1", "2026H2", false),
            ("2026H1", "unknown", true),
        ] {
            assert_eq!(overlap(one, other), meet, "{one} {other}");
            assert_eq!(overlap(other, one), meet, "{other} {one}");
        }
    }
}
