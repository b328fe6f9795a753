//! Why a file cannot be read, in both languages. Nothing of it was sent yet.

use std::fmt::Display;

use mingzhang_ledger::outcome::Code;

use crate::output::{Failure, Language, plain};

/// A file that is not of the expected form.
const UNREADABLE: Code = Code(2011);
/// Most faults that a refusal names.
const MAX_NAMED: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub chinese: String,
    pub english: String,
}

impl Broken {
    pub fn new(chinese: impl Into<String>, english: impl Into<String>) -> Self {
        Self { chinese: chinese.into(), english: english.into() }
    }

    /// The words of somebody else's code, which has but one language.
    pub fn foreign(reason: impl Display) -> Self {
        let reason = plain(reason);
        Self::new(reason.trim_end(), reason.trim_end())
    }

    pub fn at(line: u64, fault: Self) -> Self {
        Self::new(format!("第 {line} 行: {}", fault.chinese), format!("line {line}: {}", fault.english))
    }

    /// The first faults of a file, and how many more there are.
    pub fn listed(faults: &[Self]) -> Self {
        let named = faults.iter().take(MAX_NAMED);
        let (chinese, english): (Vec<&str>, Vec<&str>) =
            named.map(|fault| (fault.chinese.as_str(), fault.english.as_str())).unzip();
        let whole = Self::new(chinese.join("; "), english.join("; "));
        match faults.len().saturating_sub(MAX_NAMED) {
            0 => whole,
            more => Self::new(
                format!("{}; 另有 {more} 行", whole.chinese),
                format!("{}; and {more} more lines", whole.english),
            ),
        }
    }

    pub fn failure(&self, file: &str, language: Language) -> Failure {
        let detail = match language {
            Language::Chinese => format!("{file}: {}; 没有发送任何内容", self.chinese),
            Language::English => format!("{file}: {}; nothing was sent", self.english),
        };
        Failure::coded(UNREADABLE, detail)
    }
}
