//! The coded answers: rejections that go on the log, refusals at the door, and the catalogue that explains every code
//! in both languages. Decides nothing.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

/// A stable number; shown as `MZ-nnnn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MZ-{:04}", self.0)
    }
}

/// Why a node does not take what another node sent.
pub mod peers {
    use super::Code;

    /// The sender, or whom a message names as its signer, is no member.
    pub const STRANGER: Code = Code(2001);
    pub const OTHER_NETWORK: Code = Code(2002);
    pub const MALFORMED: Code = Code(2003);
    pub const OVER_LIMIT: Code = Code(2004);
    /// A signature does not hold, or there are too few. What was signed for another network looks the same.
    pub const NOT_SIGNED: Code = Code(2017);
    /// Of another epoch, turn or block, sent again, or not what was asked for.
    pub const OUT_OF_PLACE: Code = Code(2018);
}

/// A record was executed and a rule rejected it. Deterministic: the code is its outcome on the log.
/// `detail` names the values that disagree; it is for people and is not hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub code: Code,
    pub detail: String,
}

impl Rejection {
    pub fn new(code: u16, detail: impl Into<String>) -> Self {
        Self { code: Code(code), detail: detail.into() }
    }
}

/// A transaction was refused before the log: nothing was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub detail: String,
    /// Of another record under the same id: the first field that is not the same (1015).
    pub differs: Option<&'static str>,
}

impl Refusal {
    pub fn new(code: u16, detail: impl Into<String>) -> Self {
        Self { code: Code(code), detail: detail.into(), differs: None }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Refusal {}

/// Title, explanation and fix of a code in one language.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub title: String,
    pub explain: String,
    pub fix: String,
}

/// One entry of the catalogue.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueEntry {
    /// Stable name in snake case.
    pub name: String,
    /// refusal, rejection, verdict or fault.
    pub family: String,
    /// HTTP status of the API's answer.
    pub http: u16,
    /// Exit status of the command line.
    pub exit: u8,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Whether the answer is final: nothing was or will be recorded otherwise.
    pub definite: bool,
    /// Version that introduced the code.
    pub since: String,
    /// Names of the values that a message shows.
    pub fields: Vec<String>,
    pub zh: Text,
    pub en: Text,
}

/// The catalogue, by code. Its only source is errors.toml.
pub fn catalogue() -> &'static BTreeMap<Code, CatalogueEntry> {
    static CATALOGUE: OnceLock<BTreeMap<Code, CatalogueEntry>> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        let raw: BTreeMap<String, CatalogueEntry> = toml::from_str(include_str!("../errors.toml")).unwrap_or_default();
        raw.into_iter().filter_map(|(key, entry)| Some((Code(key.strip_prefix("MZ-")?.parse().ok()?), entry))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_in_both_languages() {
        let raw: BTreeMap<String, CatalogueEntry> =
            toml::from_str(include_str!("../errors.toml")).expect("errors.toml is a catalogue");
        assert_eq!(raw.len(), catalogue().len(), "every key is MZ- and a number");
        for (code, entry) in catalogue() {
            let (family, exits): (&str, &[u8]) = match code.0 / 1000 {
                1 | 2 => ("refusal", &[2, 4, 5, 6, 7]),
                3 => ("rejection", &[3]),
                4 => ("verdict", &[0, 8, 9]),
                5 => ("fault", &[1, 2, 4, 7]),
                other => panic!("{code}: no family {other}"),
            };
            assert_eq!(entry.family, family, "{code}");
            assert!(exits.contains(&entry.exit), "{code}: exit {}", entry.exit);
            assert!((100..600).contains(&entry.http), "{code}: http {}", entry.http);
            for text in [&entry.zh, &entry.en] {
                assert!(![&text.title, &text.explain, &text.fix].iter().any(|part| part.is_empty()), "{code}");
            }
            let han = |text: &str| text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
            assert!(han(&entry.zh.explain) && !han(&entry.en.explain), "{code}: languages mixed up");
        }
    }
}
