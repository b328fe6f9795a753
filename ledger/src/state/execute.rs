//! Runs the records of a block and says what changed.

use crate::crypto::Hash;

/// What execution must know about the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Name of the network and the first 16 hex digits of its genesis hash.
    pub origin: String,
    /// The genesis hash.
    pub chain: Hash,
    pub utc_offset_minutes: i32,
    /// Test keys and relaxed numbers of agencies.
    pub development: bool,
}

/// The block in which records run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockContext {
    pub height: u64,
    pub epoch: u64,
    pub time_ms: u64,
    /// Log index of the block's first record.
    pub first_index: u64,
}
