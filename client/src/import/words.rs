//! Values of a source as the ledger takes them: texts of 200 bytes, codes of 64 characters, nothing that looks like
//! personal data.

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::records::scan;
use mingzhang_ledger::records::schema::MAX_TEXT_BYTES;
use mingzhang_ledger::records::validate::is_code;
use mingzhang_ledger::transaction::RecordId;

/// A text without control characters, cut to what fits; what the scan would refuse is withheld.
pub fn text(source: &str) -> Value {
    let mut plain = String::new();
    for word in source.split(|char: char| char.is_whitespace() || char.is_control()).filter(|word| !word.is_empty()) {
        let gap = if plain.is_empty() { "" } else { " " };
        if plain.len() + gap.len() + word.len() > MAX_TEXT_BYTES {
            break;
        }
        plain.push_str(gap);
        plain.push_str(word);
    }
    if plain.is_empty() || scan::check("text", &plain).is_err() {
        plain = "withheld".to_owned();
    }
    Value::text(&plain)
}

/// A scanned code, or the other one where the source's is none.
pub fn code(source: &str, otherwise: &str) -> Value {
    Value::text(if is_plain(source) { source } else { otherwise })
}

/// Whether an identifier of the source may be written as it stands: a code, and nothing that looks like personal data.
/// The door does not scan such fields, so it is done here.
pub fn is_plain(source: &str) -> bool {
    is_code(source) && scan::check("code", source).is_ok()
}

/// As `is_plain`, for a number of the source's that is no person's: receipts have as many digits as cards, and one in ten
/// would pass for one.
pub fn is_plain_reference(source: &str) -> bool {
    is_code(source) && scan::personal_data(source).is_none_or(|kind| kind == scan::CARD_NUMBER)
}

/// A reference to an own record.
pub fn reference(agency: &str, id: &RecordId) -> Value {
    Value::Array(vec![Value::text(agency), Value::bytes(id)])
}

pub fn list(names: &[&'static str]) -> Value {
    Value::Array(names.iter().map(|name| Value::text(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_replaced_or_withheld() {
        assert_eq!(text(" a\n b "), Value::text("a b"));
        assert_eq!(text("电话13800138000"), Value::text("withheld"));
        assert!(text(&"字 ".repeat(200)).as_text().is_some_and(|text| text.len() <= MAX_TEXT_BYTES));
        assert_eq!(code("works", "x"), Value::text("works"));
        assert_eq!(code("工程", "x"), Value::text("x"));
        assert!(is_plain("GB-CHC-1") && !is_plain("工程") && !is_plain("shop 138-0013-8000"));
        assert!(!is_plain("4111111111111111") && is_plain_reference("4111111111111111"));
        assert!(!is_plain_reference("13800138000") && !is_plain_reference("11010519491231002X"));
    }
}
