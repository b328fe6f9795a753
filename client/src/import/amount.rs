//! Decimals as text into minor units, exactly: no float anywhere, more decimals than the currency has are no amount.

/// How a source writes decimals.
#[derive(Debug, Clone)]
pub struct Notation {
    pub decimal: char,
    pub thousands: Option<char>,
    /// What one unit of the source is in units of the currency, for instance 10000 for 万元.
    pub scale: u64,
}

impl Default for Notation {
    fn default() -> Self {
        Self { decimal: '.', thousands: None, scale: 1 }
    }
}

/// Digits before the point with which an amount is beyond every currency's largest sum in 64 bits.
const BEYOND_DIGITS: usize = 21;

/// Minor units of an amount, at most those of the type; None if the text is no amount of a currency with so many decimals.
pub fn minor(text: &str, notation: &Notation, exponent: u32) -> Option<i128> {
    let text: String = text.trim().chars().filter(|char| Some(*char) != notation.thousands).collect();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let (whole, part) = digits.split_once(notation.decimal).unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(part) {
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
        let german = Notation { decimal: ',', thousands: Some('.'), scale: 1 };
        assert_eq!(minor("1.234,50", &german, 2), Some(123_450));
        let wan = Notation { decimal: '.', thousands: Some(','), scale: 10_000 };
        assert_eq!(minor("26,764.4612", &wan, 2), Some(26_764_461_200));
        assert_eq!(minor("0.0000001", &wan, 2), None, "a tenth of a fen");
    }
}
