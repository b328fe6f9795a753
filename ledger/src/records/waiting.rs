//! Two persons, two records: a record that waits for approval, and the pair `approve`, `reject` that ends the waiting.
//! What then takes effect is the mechanism's matter.

use minicbor::{Decode, Encode};

use super::object::Person;
use super::role::Role;
use super::schema::RecordType;
use crate::crypto::KeyId;

/// One approval that a record needs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Need {
    /// The agency that must approve; None: any other than the proposer's.
    #[n(0)]
    pub agency: Option<String>,
    /// The role that the approver must hold.
    #[n(1)]
    pub role: Role,
}

/// One approval given.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Approval {
    /// Position in `needs`.
    #[n(0)]
    pub need: u32,
    #[n(1)]
    pub agency: String,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub key_id: KeyId,
    #[n(3)]
    pub persons: Vec<Person>,
}

/// Where a record that needs approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Stage {
    #[n(0)]
    Waiting,
    /// The last approval came: it took effect.
    #[n(1)]
    Effective,
    /// Rejected, failed at its approval, cancelled or expired.
    #[n(2)]
    Void,
}

/// The waiting of a record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Waiting {
    #[n(0)]
    pub stage: Stage,
    /// Block time in ms after which no approval counts (3205).
    #[n(1)]
    pub valid_until: u64,
    #[n(2)]
    pub needs: Vec<Need>,
    #[n(3)]
    pub approvals: Vec<Approval>,
    /// The body, kept while the record waits because all rules run again at its approval; then empty.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub body: Vec<u8>,
}

impl Waiting {
    pub fn is_effective(&self) -> bool {
        self.stage == Stage::Effective
    }

    pub fn is_open(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// The approvals still to come.
    pub fn outstanding(&self) -> impl Iterator<Item = (u32, &Need)> {
        (0u32..).zip(&self.needs).filter(|(number, _)| self.approvals.iter().all(|given| given.need != *number))
    }
}

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[];
