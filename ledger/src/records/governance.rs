//! Governance: proposals and votes of the member agencies.

use minicbor::{Decode, Encode};

use super::schema::RecordType;

/// A proposed action and its votes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Proposal {
    #[n(0)]
    pub action: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub action_body: Vec<u8>,
    /// Block time in ms from which the action holds.
    #[n(2)]
    pub from_time: u64,
    #[n(3)]
    pub votes_for: Vec<String>,
    #[n(4)]
    pub votes_against: Vec<String>,
    #[n(5)]
    pub passed: bool,
}

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[];
