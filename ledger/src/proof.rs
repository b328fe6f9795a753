//! Proofs as they travel in the API and in evidence bundles: JSON with base64 for bytes. Form only; `prove` makes them,
//! `verify` judges them, and the receipt, which is text, is in `receipt`.

pub mod bytes;
mod subject;

pub use subject::{SubjectKind, subject_key};

use serde::{Deserialize, Serialize};

use crate::crypto::Hash;
use crate::state::key::Key;

/// The format name of an evidence bundle.
pub const BUNDLE_FORMAT: &str = "mingzhang/evidence/v1";
/// Most entries of a trail that one page carries.
pub const MAX_PAGE_ENTRIES: usize = 1_000;

/// A state leaf and its place under (state_size, state_root) of a header. It proves the presence of its own key, and
/// the absence of every key between its own and the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateProof {
    /// key ‖ next ‖ value.
    #[serde(with = "bytes::base64")]
    pub leaf: Vec<u8>,
    pub index: u64,
    #[serde(with = "bytes::base64_list")]
    pub path: Vec<Hash>,
}

/// A header with its path in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderProof {
    #[serde(with = "bytes::base64")]
    pub header: Vec<u8>,
    #[serde(with = "bytes::base64_list")]
    pub path: Vec<Hash>,
}

/// A sealed checkpoint and the header that is its last leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedHeader {
    /// The signed note.
    pub checkpoint: String,
    #[serde(with = "bytes::base64")]
    pub header: Vec<u8>,
    #[serde(with = "bytes::base64_list")]
    pub header_path: Vec<Hash>,
}

/// Presence or absence of a key under a sealed header: the answer of `/state/{key}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedState {
    pub sealed: SealedHeader,
    pub state: StateProof,
}

/// One entry of a trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrailItem {
    /// Log index.
    pub index: u64,
    /// The log entry.
    #[serde(with = "bytes::base64")]
    pub entry: Vec<u8>,
}

/// The trail of a subject, whole or a page of it. Count and root are those of the state leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trail {
    pub kind: SubjectKind,
    /// `agency/id` for records, else what stands after the kind in the state key.
    pub id: String,
    pub count: u64,
    #[serde(with = "bytes::base64")]
    pub root: Hash,
    pub state: StateProof,
    pub entries: Vec<TrailItem>,
}

impl Trail {
    /// The state key under which the trail's count and root stand.
    pub fn key(&self) -> Option<Key> {
        subject_key(self.kind, &self.id)
    }
}

/// A page of a trail with its proof. Pages after the first are wanted for their entries only: the first page's count
/// and root decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrailProof {
    pub sealed: SealedHeader,
    pub trail: Trail,
    /// The value of `after` for the next page; none on the last.
    pub next_cursor: Option<u64>,
}

impl TrailProof {
    /// Takes over the entries of the next page, as far as this page's count reaches: what came later belongs to a later
    /// header.
    pub fn extend(&mut self, page: TrailProof) {
        let have = u64::try_from(self.trail.entries.len()).unwrap_or(u64::MAX);
        let room = usize::try_from(self.trail.count.saturating_sub(have)).unwrap_or(usize::MAX);
        self.trail.entries.extend(page.trail.entries.into_iter().take(room));
        let have = u64::try_from(self.trail.entries.len()).unwrap_or(u64::MAX);
        self.next_cursor = page.next_cursor.filter(|_| have < self.trail.count);
    }
}

/// How trust passes from one epoch's authorities to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handoff {
    /// The boundary block's header.
    #[serde(with = "bytes::base64")]
    pub header: Vec<u8>,
    #[serde(with = "bytes::base64_list")]
    pub path: Vec<Hash>,
    /// The boundary's checkpoint, sealed by the old set.
    pub checkpoint: String,
    /// The next epoch's set document.
    #[serde(with = "bytes::base64")]
    pub set: Vec<u8>,
}

/// How an epoch was opened after too many members were lost: a manifest that recovery keys of the genesis signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoveryProof {
    /// The signed manifest.
    #[serde(with = "bytes::base64")]
    pub recovery: Vec<u8>,
}

/// What leads from one epoch's authorities to the next, in the order of epochs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Passage {
    Handoff(Handoff),
    Recovery(RecoveryProof),
}

impl From<Handoff> for Passage {
    fn from(handoff: Handoff) -> Self {
        Self::Handoff(handoff)
    }
}

/// That the log of `to` leaves extends the log of `from` leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consistency {
    pub from: u64,
    #[serde(with = "bytes::base64")]
    pub from_root: Hash,
    pub to: u64,
    #[serde(with = "bytes::base64_list")]
    pub path: Vec<Hash>,
}

/// Outcome of an entry, with its name for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeView {
    pub code: u16,
    pub name: String,
}

/// What the receipt's entry says, in words for people. All of it is checked against the receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryView {
    pub index: u64,
    pub outcome: OutcomeView,
    #[serde(with = "bytes::hex")]
    pub transaction_id: Hash,
    pub decoded: serde_json::Value,
}

/// That the signing key of the receipt's entry is registered for its agency, under the receipt's own checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyProof {
    /// The key in words, for people: checked as well.
    pub registration: serde_json::Value,
    pub state_proof: StateProof,
    #[serde(with = "bytes::base64")]
    pub header: Vec<u8>,
    #[serde(with = "bytes::base64_list")]
    pub header_path: Vec<Hash>,
}

/// Everything that somebody with nothing but the genesis file needs. A view: it is never hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceBundle {
    pub format: String,
    pub origin: String,
    #[serde(with = "bytes::hex")]
    pub genesis_hash: Hash,
    pub handoffs: Vec<Passage>,
    /// The receipt's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// The policy file of the set that decides the checkpoint, for verifiers that others wrote.
    pub policy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyProof>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trail: Option<BundledTrail>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,
}

/// A complete trail and what folding it needs, all under one sealed header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledTrail {
    pub sealed: SealedHeader,
    pub trail: Trail,
    /// Further complete trails: the registry of a programme's accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<Trail>,
    /// Leaves of accounts and of the officer keys that signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaves: Vec<StateProof>,
}
