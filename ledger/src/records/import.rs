//! Historical import: `import_open`, `import_close`, and what an import stands for. Which rules an import silences is in
//! `judge` and in the mechanisms.

use minicbor::{Decode, Encode};

use super::calendar::Day;
use super::schema::RecordType;

/// One batch of a source, loaded under one pair of signatures.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Import {
    /// R/F rules reject, as in live subjects.
    #[n(0)]
    pub strict: bool,
    /// Last day that the source covers (3705).
    #[n(1)]
    pub period_end: Day,
    #[n(2)]
    pub closed: bool,
}

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[];
