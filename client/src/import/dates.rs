//! Dates of a column. ISO 8601 by itself; day/month/year only where the whole column proves it; anything else by the
//! map's format. What is no calendar date is no date: never repaired.

use mingzhang_ledger::records::calendar::Day;

/// How the dates of one column are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DateFormat {
    Iso,
    DayMonthYear,
    /// In the letters of strptime.
    Stated(String),
}

impl DateFormat {
    /// The format of a column: the stated one, else day/month/year if every value has that form and one of them cannot
    /// be month/day/year, else ISO.
    pub fn of_column<'a>(stated: Option<&str>, values: impl Iterator<Item = &'a str>) -> Self {
        if let Some(stated) = stated {
            return Self::Stated(stated.to_owned());
        }
        let mut proven = false;
        for value in values.map(str::trim).filter(|value| !value.is_empty()) {
            match slashed(value) {
                Some((first, second, _)) if second <= 12 && first <= 31 => proven |= first > 12,
                Some(_) | None => return Self::Iso,
            }
        }
        if proven { Self::DayMonthYear } else { Self::Iso }
    }

    pub fn read(&self, text: &str) -> Option<Day> {
        let text = text.trim();
        match self {
            Self::Iso => {
                let (day, rest) = (text.get(..10)?, text.get(10..)?);
                let time = rest.strip_prefix(['T', ' ']);
                (rest.is_empty() || time.is_some_and(is_time)).then(|| Day::parse(day)).flatten()
            }
            Self::DayMonthYear => {
                let time = text.split_once(' ').map(|(_, time)| time);
                let (day, month, year) = slashed(text).filter(|_| time.is_none_or(is_time))?;
                Day::parse(&format!("{year:04}-{month:02}-{day:02}"))
            }
            Self::Stated(format) => {
                let date = jiff::civil::Date::strptime(format, text).ok()?;
                Day::parse(&date.to_string())
            }
        }
    }
}

/// Three numbers between slashes, the last of four digits; a time may follow.
fn slashed(text: &str) -> Option<(u32, u32, u32)> {
    let date = text.split(' ').next()?;
    let mut parts = date.split('/');
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || third.len() != 4 || ![first, second, third].into_iter().all(digits) {
        return None;
    }
    Some((first.parse().ok()?, second.parse().ok()?, third.parse().ok()?))
}

/// Hours and minutes, seconds if there are any, and whose clock it is: `08:00`, `8:00:05.5 PM`, `00:00Z`, `08:00 +08:00`.
fn is_time(text: &str) -> bool {
    let text = text.trim();
    let halves = ["AM", "PM", "am", "pm"].into_iter().find_map(|half| text.strip_suffix(half));
    let zones = ["Z", "z", "UTC", "GMT"].into_iter().find_map(|zone| text.strip_suffix(zone));
    let clock = match text.rsplit_once(['+', '-']) {
        Some((_, offset)) if !is_offset(offset) => return false,
        Some((clock, _)) => clock,
        None => halves.or(zones).unwrap_or(text),
    };
    let (clock, fraction) = clock.trim_end().split_once('.').unwrap_or((clock.trim_end(), "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let below = |text: &str, end: u32| (1..=2).contains(&text.len()) && number(text).is_some_and(|found| found < end);
    let is_clock = match parts.as_slice() {
        [hour, minute] => below(hour, 25) && below(minute, 60) && fraction == "0",
        // A day may have a 61st second in its last minute.
        [hour, minute, second] => below(hour, 25) && below(minute, 60) && below(second, 61),
        _ => false,
    };
    is_clock && number(fraction).is_some()
}

fn is_offset(text: &str) -> bool {
    let digits: String = text.chars().filter(|char| *char != ':').collect();
    matches!(digits.len(), 2 | 4) && number(&digits).is_some() && text.find(':').is_none_or(|at| at == 2)
}

/// Digits alone: no sign.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.get(..9).unwrap_or(text).parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stated: Option<&str>, column: &[&str], text: &str) -> Option<String> {
        let format = DateFormat::of_column(stated, column.iter().copied());
        format.read(text).map(|day| day.to_string())
    }

    #[test]
    fn iso_with_or_without_a_time() {
        for text in ["2015-06-10", "2015-06-10T00:00:00+00:00", "2015-06-10 08:00"] {
            assert_eq!(read(None, &[text], text).as_deref(), Some("2015-06-10"), "{text}");
        }
        for text in ["2023-31-01", "in service", "", "2015-06-100", "2015-02-29"] {
            assert_eq!(read(None, &[text], text), None, "{text}");
        }
    }

    #[test]
    fn what_follows_a_date_is_a_time() {
        for text in ["", "T00:00:00Z", " 8:05:09.123456789123 PM", "T23:59:60+0800", " 08:00 -05:00", " 10:00 UTC"] {
            let text = format!("2014-01-02{text}");
            assert_eq!(read(None, &[&text], &text).as_deref(), Some("2014-01-02"), "{text}");
        }
        for text in
            [" or later", "Tbanana", "T", "T08", "T25:00", " 08:60", "T08:00+banana", " 08:00 in spring", "T1:2:3:4"]
        {
            let text = format!("2014-01-02{text}");
            assert_eq!(read(None, &[&text], &text), None, "{text}");
        }
        let column = ["13/06/2014 00:00", "14/06/2014 or later"];
        assert_eq!(read(None, &column, column[0]).as_deref(), Some("2014-06-13"));
        assert_eq!(read(None, &column, column[1]), None);
    }

    #[test]
    fn day_month_year_only_if_the_whole_column_proves_it() {
        assert_eq!(read(None, &["05/06/2014", "13/06/2014"], "05/06/2014").as_deref(), Some("2014-06-05"));
        assert_eq!(read(None, &["05/06/2014", "12/06/2014"], "05/06/2014"), None, "nothing proves it");
        assert_eq!(read(None, &["13/06/2014", "06/13/2014"], "13/06/2014"), None, "the column contradicts itself");
        assert_eq!(read(None, &["13/06/2014", "2014-06-13"], "13/06/2014"), None, "two forms in one column");
        assert_eq!(read(None, &["31/02/2014"], "31/02/2014"), None, "no such day");
    }

    #[test]
    fn a_stated_format() {
        assert_eq!(read(Some("%Y.%m.%d"), &[], "2020.01.22").as_deref(), Some("2020-01-22"));
        assert_eq!(read(Some("%Y.%m.%d"), &[], "2020-01-22"), None);
    }
}
