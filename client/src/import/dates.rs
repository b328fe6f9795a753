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
                let day = text.get(..10)?;
                let rest = text.get(10..)?;
                (rest.is_empty() || rest.starts_with('T') || rest.starts_with(' ')).then(|| Day::parse(day)).flatten()
            }
            Self::DayMonthYear => {
                let (day, month, year) = slashed(text)?;
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
