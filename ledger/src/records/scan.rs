//! The scan for personal data in clear (1010): ID numbers, mobile numbers, card numbers, e-mail addresses. A net, not a
//! guarantee; the same answer everywhere.

use super::calendar::Day;
use crate::outcome::Refusal;

/// A kind that one long number in ten looks like by chance.
pub const CARD_NUMBER: &str = "a card number";

/// Refuses a text that holds personal data, naming its kind and never the value.
pub fn check(field: &str, text: &str) -> Result<(), Refusal> {
    match personal_data(text) {
        None => Ok(()),
        Some(kind) => Err(Refusal::new(1010, format!("{field}: holds what looks like {kind}"))),
    }
}

/// The kind of personal data that a text holds, if any.
pub fn personal_data(text: &str) -> Option<&'static str> {
    let folded: Vec<char> = text.chars().map(fold).collect();
    let joined: Vec<char> = folded.iter().copied().filter(|char| !is_gap(*char)).collect();
    if holds_email(&folded, false) || holds_email(&joined, true) {
        return Some("an e-mail address");
    }
    [folded.as_slice(), joined.as_slice()].into_iter().find_map(numbers)
}

/// Full-width forms as the ASCII characters that they stand for.
fn fold(char: char) -> char {
    match char {
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => u32::from(char).checked_sub(0xfee0).and_then(char::from_u32).unwrap_or(char),
        _ => char,
    }
}

/// Spaces and hyphens, with which numbers are written in groups.
fn is_gap(char: char) -> bool {
    char.is_whitespace() || matches!(char, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn numbers(chars: &[char]) -> Option<&'static str> {
    if chars.windows(18).any(is_id_number) {
        return Some("an ID number");
    }
    for run in chars.split(|char| !char.is_ascii_digit()).filter(|run| !run.is_empty()) {
        let digits: Vec<u32> = run.iter().filter_map(|char| char.to_digit(10)).collect();
        match digits.as_slice() {
            [1, 3..=9, ..] if digits.len() == 11 => return Some("a mobile number"),
            [8, 6, 1, 3..=9, ..] if digits.len() == 13 => return Some("a mobile number"),
            _ if (13..=19).contains(&digits.len()) && passes_luhn(&digits) => return Some(CARD_NUMBER),
            _ => {}
        }
    }
    None
}

/// GB 11643: six digits of place, a date of birth, three of sequence, and the check character of ISO 7064 MOD 11-2.
fn is_id_number(window: &[char]) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let Some((last, head)) = window.split_last() else { return false };
    let digits: Vec<u32> = head.iter().filter_map(|char| char.to_digit(10)).collect();
    if digits.len() != WEIGHTS.len() || digits.first() == Some(&0) || !holds_birthday(head) {
        return false;
    }
    let sum =
        digits.iter().zip(WEIGHTS).fold(0u32, |sum, (digit, weight)| sum.saturating_add(digit.saturating_mul(weight)));
    let wanted = 12u32.saturating_sub(sum.rem_euclid(11)).rem_euclid(11);
    match last {
        'X' | 'x' => wanted == 10,
        _ => last.to_digit(10) == Some(wanted),
    }
}

fn holds_birthday(head: &[char]) -> bool {
    let date: String = head.iter().skip(6).take(8).collect();
    let (year, month, day) = (date.get(0..4), date.get(4..6), date.get(6..8));
    match (year, month, day) {
        (Some(year), Some(month), Some(day)) if ("1800".."2200").contains(&year) => {
            Day::parse(&format!("{year}-{month}-{day}")).is_some()
        }
        _ => false,
    }
}

fn passes_luhn(digits: &[u32]) -> bool {
    let sum = digits.iter().rev().enumerate().fold(0u32, |sum, (position, digit)| {
        let value = match (position.rem_euclid(2), digit.saturating_mul(2)) {
            (0, _) => *digit,
            (_, double) if double > 9 => double.saturating_sub(9),
            (_, double) => double,
        };
        sum.saturating_add(value)
    });
    sum.rem_euclid(10) == 0 && digits.iter().any(|digit| *digit != 0)
}

/// Where gaps were removed, `worded` wants a domain whose later part begins with a letter: "12 @ 3.50" is a price.
fn holds_email(chars: &[char], worded: bool) -> bool {
    let part_of_name = |char: &char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '%' | '+' | '-');
    chars.iter().enumerate().filter(|(_, char)| **char == '@').any(|(at, _)| {
        let before = at.checked_sub(1).and_then(|at| chars.get(at)).is_some_and(part_of_name);
        let domain: String = chars.iter().skip(at.saturating_add(1)).take_while(|char| part_of_name(char)).collect();
        let fits =
            |rest: &str| rest.len() >= 2 && (!worded || rest.starts_with(|char: char| char.is_ascii_alphabetic()));
        let dotted = domain.split_once('.').is_some_and(|(host, rest)| !host.is_empty() && fits(rest));
        before && dotted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, expected: Option<&'static str>) {
        assert_eq!(personal_data(text), expected, "{text}");
    }

    #[test]
    fn each_kind_is_found_in_every_dress() {
        found("证件 11010519491231002X", Some("an ID number"));
        found("证件11010519491231002x号", Some("an ID number"));
        found("１１０１０５１９４９１２３１００２Ｘ", Some("an ID number"));
        found("110105 19491231 002X", Some("an ID number"));
        found("2026110105-19491231-002X", Some("an ID number"));
        found("电话13800138000", Some("a mobile number"));
        found("138-0013-8000", Some("a mobile number"));
        found("+8613800138000", Some("a mobile number"));
        found("13800138000 2026", Some("a mobile number"));
        found("4111 1111 1111 1111", Some("a card number"));
        found("clerk@example.gov.cn", Some("an e-mail address"));
        found("clerk＠example．com", Some("an e-mail address"));
        found("clerk @example.com", Some("an e-mail address"));
        found("clerk @ example . gov . cn", Some("an e-mail address"));
    }

    #[test]
    fn one_off_is_not_found() {
        found("110105194912310021", None); // wrong check character
        found("11010519491331002X", None); // month 13
        found("12800138000", None);
        found("4111111111111112", None);
        found("at @ noon", None);
        found("12 boxes @ 3.50", None);
        found("PAY-2026-0381", None);
        found("道路改造二期工程 2026-06-30", None);
    }
}
