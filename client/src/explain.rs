//! Explains codes in words, from the catalogue alone; needs no network.

use mingzhang_ledger::outcome::{CatalogueEntry, Code, catalogue};

/// Reads `MZ-3201`, `mz3201` or `3201`.
pub fn parse_code(text: &str) -> Option<Code> {
    let upper = text.to_ascii_uppercase();
    let digits = upper.strip_prefix("MZ").unwrap_or(&upper).trim_start_matches('-');
    digits.parse().ok().map(Code)
}

pub fn find(code: Code) -> Option<&'static CatalogueEntry> {
    catalogue().get(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_in_every_spelling() {
        for text in ["MZ-3201", "mz-3201", "MZ3201", "3201"] {
            assert_eq!(parse_code(text), Some(Code(3201)), "{text}");
        }
        assert_eq!(parse_code("x"), None);
    }
}
