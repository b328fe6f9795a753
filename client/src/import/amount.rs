//! Decimals as text into minor units, exactly: no float anywhere, more decimals than the currency has are no amount.

/// How a source writes decimals.
#[derive(Debug, Clone)]
pub struct Notation {
    pub decimal: char,
    pub thousands: Option<char>,
    /// Digits of a group: three, or four where a column groups by 万.
    pub group: usize,
    /// What one unit of the source is in units of the currency, for instance 10000 for 万元.
    pub scale: u64,
}

impl Default for Notation {
    fn default() -> Self {
        Self { decimal: '.', thousands: None, group: 3, scale: 1 }
    }
}

impl Notation {
    /// As a column writes its amounts: groups of four only where none is of three.
    #[must_use]
    pub fn of_column<'a>(&self, values: impl Iterator<Item = &'a str> + Clone) -> Self {
        let grouped = |group| {
            let notation = Self { group, ..self.clone() };
            let separated = |text: &str| self.thousands.is_some_and(|sign| text.contains(sign));
            values.clone().any(|text| separated(text) && minor(text, &notation, MOST_DECIMALS).is_some())
        };
        Self { group: if grouped(4) && !grouped(3) { 4 } else { 3 }, ..self.clone() }
    }

    /// The digits of a whole part; none where a separator stands elsewhere than between its groups.
    fn ungrouped(&self, whole: &str) -> Option<String> {
        let Some(sign) = self.thousands.filter(|sign| whole.contains(*sign)) else { return Some(whole.to_owned()) };
        let mut groups = whole.split(sign);
        let first = groups.next().is_some_and(|first| (1..=self.group).contains(&first.len()));
        (first && groups.all(|group| group.len() == self.group)).then(|| whole.replace(sign, ""))
    }
}

/// As many decimals as any currency has; scales of a column's values that differ do not matter for its groups.
pub const MOST_DECIMALS: u32 = 4;

/// Digits before the point with which an amount is beyond every currency's largest sum in 64 bits.
const BEYOND_DIGITS: usize = 21;

/// Minor units of an amount, at most those of the type; None if the text is no amount of a currency with so many decimals.
pub fn minor(text: &str, notation: &Notation, exponent: u32) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once(notation.decimal).unwrap_or((digits, ""));
    let whole = notation.ungrouped(whole)?;
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(&whole) || !all_digits(part) {
        return None;
    }
    if whole.trim_start_matches('0').len() >= BEYOND_DIGITS {
        return Some(if negative { -i128::MAX } else { i128::MAX });
    }
    let part = part.trim_end_matches('0');
    let mantissa: i128 = format!("{whole}{part}").parse().ok()?;
    let decimals = u32::try_from(part.len()).ok()?;
    let scaled = mantissa.checked_mul(i128::from(notation.scale))?.checked_mul(10i128.checked_pow(exponent)?)?;
    let divisor = 10i128.checked_pow(decimals)?;
    if scaled % divisor != 0 {
        return None;
    }
    let minor = scaled / divisor;
    Some(if negative { -minor } else { minor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_scaled_exactly_or_not_at_all() {
        let plain = Notation::default();
        for (text, exponent, expected) in [
            ("15000", 2, Some(1_500_000)),
            ("40000.0", 2, Some(4_000_000)),
            ("35907.8", 2, Some(3_590_780)),
            ("-0.05", 2, Some(-5)),
            (" 1.2300 ", 2, Some(123)),
            ("1.234", 2, None),
            ("7.0", 0, Some(7)),
            ("7.5", 0, None),
            ("1e5", 2, None),
            ("1,000", 2, None),
            ("", 2, None),
            (".", 2, None),
            ("0.1", 2, Some(10)),
            ("1000000000000000000000000000000000000000000", 2, Some(i128::MAX)),
            ("-1000000000000000000000.00", 2, Some(-i128::MAX)),
            ("0000000000000000000000001", 2, Some(100)),
        ] {
            assert_eq!(minor(text, &plain, exponent), expected, "{text}");
        }
    }

    #[test]
    fn other_notations() {
        let german = Notation { decimal: ',', thousands: Some('.'), ..Notation::default() };
        assert_eq!(minor("1.234,50", &german, 2), Some(123_450));
        let wan = Notation { decimal: '.', thousands: Some(','), scale: 10_000, ..Notation::default() };
        assert_eq!(minor("26,764.4612", &wan, 2), Some(26_764_461_200));
        assert_eq!(minor("0.0000001", &wan, 2), None, "a tenth of a fen");
    }

    #[test]
    fn separators_stand_between_groups_alone() {
        let english = Notation { thousands: Some(','), ..Notation::default() };
        for (text, expected) in [
            ("1,234,567.80", Some(123_456_780)),
            ("-1,234.50", Some(-123_450)),
            ("1234.50", Some(123_450)),
            ("12,50", None),
            ("1,2345", None),
            ("1234,567", None),
            ("1,234,56", None),
            (",123", None),
            ("1,,234", None),
            ("1.234,5", None),
            ("-,123", None),
        ] {
            assert_eq!(minor(text, &english, 2), expected, "{text}");
        }
        let column = |values: &[&str]| english.of_column(values.iter().copied()).group;
        assert_eq!(column(&["1,2345", "6.00", "n/a", "1,0000,0000.5"]), 4);
        assert_eq!(column(&["1,2345", "1,234"]), 3, "one column has one form");
        assert_eq!(column(&["6.00"]), 3);
        assert_eq!(minor("1,2345", &english.of_column(["1,2345"].into_iter()), 2), Some(1_234_500));
    }
}
