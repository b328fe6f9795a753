//! Money as people read it, in the reasons of rejections and in every answer.

use super::book;
use crate::records::object::{Mode, Ref};
use crate::records::scene::{Scene, Verdict};

/// Digits between two separators.
const GROUP: usize = 3;

/// An amount in the currency of a programme. Where rules flag, the reason is part of the state that all histories so far
/// were proven with: there the figures stay minor units.
pub fn money(scene: &mut Scene<'_>, programme: &Ref, minor: u64) -> Verdict<String> {
    if scene.mode == Mode::Historical {
        return Ok(minor.to_string());
    }
    let programme = book::programme(scene, programme)?;
    Ok(money_text(minor, &programme.currency))
}

/// `1,234.50 CNY`, with the currency's decimals.
pub fn money_text(minor: impl Into<i128>, currency: &str) -> String {
    let minor = minor.into();
    let exponent = iso_currency::Currency::from_code(currency).and_then(|currency| currency.exponent());
    let exponent = exponent.map_or(0, usize::from);
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = exponent.saturating_add(1));
    let Some((whole, part)) = digits.split_at_checked(digits.len().saturating_sub(exponent)) else { return digits };
    let mut grouped = String::from(if minor < 0 { "-" } else { "" });
    for (at, digit) in whole.char_indices() {
        if at > 0 && whole.len().saturating_sub(at).is_multiple_of(GROUP) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if part.is_empty() { format!("{grouped} {currency}") } else { format!("{grouped}.{part} {currency}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_grouped_and_has_its_decimals() {
        for (minor, currency, text) in [
            (100_000, "CNY", "1,000.00 CNY"),
            (5, "CNY", "0.05 CNY"),
            (0, "CNY", "0.00 CNY"),
            (1_234_567, "PYG", "1,234,567 PYG"),
            (i128::from(u64::MAX), "CNY", "184,467,440,737,095,516.15 CNY"),
            (-5, "CNY", "-0.05 CNY"),
            (-123_456, "CNY", "-1,234.56 CNY"),
            (12, "XYZ", "12 XYZ"),
        ] {
            assert_eq!(money_text(minor, currency), text);
        }
    }
}
