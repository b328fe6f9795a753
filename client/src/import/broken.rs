//! Why a file cannot be read, in English; `ledger/phrases.toml` has the Chinese. Nothing of it was sent yet.

use std::fmt::Display;

use mingzhang_ledger::outcome::Code;

use crate::output::{Failure, plain};

/// A file that is not of the expected form.
const UNREADABLE: Code = Code(2011);
/// Most faults that a refusal names.
const MAX_NAMED: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub String);

impl Broken {
    pub fn new(fault: impl Into<String>) -> Self {
        Self(fault.into())
    }

    /// The words of somebody else's code.
    pub fn foreign(reason: impl Display) -> Self {
        Self::new(plain(reason).trim_end())
    }

    pub fn at(line: u64, fault: Self) -> Self {
        Self(format!("line {line}: {}", fault.0))
    }

    /// The first faults of a file, and how many more there are.
    pub fn listed(faults: &[Self]) -> Self {
        let named: Vec<&str> = faults.iter().take(MAX_NAMED).map(|fault| fault.0.as_str()).collect();
        let whole = named.join("; ");
        match faults.len().saturating_sub(MAX_NAMED) {
            0 => Self(whole),
            more => Self(format!("{whole}; and {more} more lines")),
        }
    }

    pub fn failure(&self, file: &str) -> Failure {
        Failure::coded(UNREADABLE, format!("{file}: {}; nothing was sent", self.0))
    }
}
