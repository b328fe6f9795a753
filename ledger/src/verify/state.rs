//! Presence and absence of a state key under a proven header; officer keys; «expired for ever».

use std::collections::BTreeMap;

use minicbor::Decoder;

use super::{Problem, ProvenHeader, StepName};
use crate::crypto::{Hash, KeyId, PublicKey};
use crate::merkle::{leaf_hash, verify_inclusion};
use crate::mutants;
use crate::proof::StateProof;
use crate::records::registry::OfficerKey;
use crate::state::key::{self, Key};
use crate::state::tree::SENTINEL;
use crate::transaction::Transaction;

/// The value of a state leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafValue {
    /// Deterministic CBOR of the current value.
    pub current: Vec<u8>,
    /// Count and root of the trail, if the key has one.
    pub trail: Option<(u64, Hash)>,
}

impl LeafValue {
    /// Reads {1: current} or {1: current, 2: count, 3: root}, in its only encoding.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let fields = decoder.map().ok()??;
        if decoder.u8().ok()? != 1 {
            return None;
        }
        let start = decoder.position();
        decoder.skip().ok()?;
        let current = bytes.get(start..decoder.position())?.to_vec();
        let trail = match fields {
            1 => None,
            3 => {
                let count = (decoder.u8().ok()? == 2).then(|| decoder.u64().ok())??;
                let root = (decoder.u8().ok()? == 3).then(|| decoder.bytes().ok())??;
                Some((count, root.try_into().ok()?))
            }
            _ => return None,
        };
        let value = Self { current, trail };
        (value.encode() == bytes).then_some(value)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![if self.trail.is_some() { 0xa3 } else { 0xa1 }, 0x01];
        bytes.extend_from_slice(&self.current);
        if let Some((count, root)) = &self.trail {
            bytes.push(0x02);
            bytes.extend_from_slice(&crate::codec::Value::Uint(*count).encode());
            bytes.extend_from_slice(&[0x03, 0x58, 0x20]);
            bytes.extend_from_slice(root);
        }
        bytes
    }
}

/// A leaf that stands in the proven header's state.
struct Leaf<'a> {
    key: Key,
    next: Key,
    value: &'a [u8],
}

fn leaf<'a>(proven: &ProvenHeader, proof: &'a StateProof) -> Result<Leaf<'a>, Problem> {
    let broken = |detail: String| Problem::failed(4109, StepName::Inclusion, detail);
    let short = || broken("a state leaf has at least 64 bytes".into());
    let (key, rest) = proof.leaf.split_first_chunk::<32>().ok_or_else(short)?;
    let (next, value) = rest.split_first_chunk::<32>().ok_or_else(short)?;
    let header = &proven.header;
    verify_inclusion(leaf_hash(&proof.leaf), proof.index, header.state_size, &proof.path, &header.state_root)
        .map_err(|fault| broken(fault.to_string()))?;
    Ok(Leaf { key: *key, next: *next, value })
}

fn value(leaf: &Leaf<'_>) -> Result<LeafValue, Problem> {
    LeafValue::decode(leaf.value)
        .ok_or_else(|| Problem::failed(4109, StepName::Encoding, "the value of the leaf is not canonical"))
}

/// The value under a key.
pub fn presence(proven: &ProvenHeader, proof: &StateProof, key: &Key) -> Result<LeafValue, Problem> {
    let leaf = leaf(proven, proof)?;
    if leaf.key != *key || leaf.key == SENTINEL {
        let detail = format!("leaf of {}, wanted {}", hex::encode(leaf.key), hex::encode(key));
        return Err(Problem::failed(4109, StepName::Inclusion, detail));
    }
    value(&leaf)
}

/// That nothing stands under a key.
pub fn absence(proven: &ProvenHeader, proof: &StateProof, key: &Key) -> Result<(), Problem> {
    let leaf = leaf(proven, proof)?;
    if leaf.key < *key && (*key < leaf.next || leaf.next == SENTINEL) {
        return Ok(());
    }
    let detail = if leaf.key == *key {
        "the leaf shows that the key is present".to_owned()
    } else {
        format!("{} is not between the leaf's key and the next", hex::encode(key))
    };
    Err(Problem::failed(4119, StepName::Inclusion, detail))
}

/// Proven leaves by their keys. The sentinel, which has no value, may be among them to prove an absence.
pub fn leaves(proven: &ProvenHeader, proofs: &[StateProof]) -> Result<BTreeMap<Key, LeafValue>, Problem> {
    let mut found = BTreeMap::new();
    for proof in proofs {
        let leaf = leaf(proven, proof)?;
        if leaf.key != SENTINEL {
            found.insert(leaf.key, value(&leaf)?);
        }
    }
    Ok(found)
}

/// A key that the registry knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredKey {
    pub agency: String,
    pub key: PublicKey,
}

impl RegisteredKey {
    /// Whether it signed this transaction for its own agency.
    pub fn check(&self, transaction: &Transaction) -> Result<(), Problem> {
        let agency = &transaction.payload().agency;
        if *agency != self.agency {
            let detail = format!("the key belongs to {}, the record to {agency}", self.agency);
            return Err(Problem::failed(4111, StepName::Signature, detail));
        }
        if transaction.is_signed_by(&self.key) {
            return Ok(());
        }
        let detail = format!("transaction {}", hex::encode(transaction.id()));
        Err(Problem::failed(4111, StepName::Signature, detail))
    }
}

/// The officer keys among proven leaves. A leaf is one if its value names a key whose id leads to the leaf.
pub fn registered_keys(leaves: &BTreeMap<Key, LeafValue>) -> BTreeMap<KeyId, RegisteredKey> {
    leaves
        .iter()
        .filter_map(|(at, value)| {
            let officer: OfficerKey = minicbor::decode(&value.current).ok()?;
            let key = PublicKey(officer.key);
            let id = key.key_id();
            (key::officer_key(&id) == *at).then_some((id, RegisteredKey { agency: officer.agency, key }))
        })
        .collect()
}

/// That a transaction can never be recorded: its record's leaf is absent under a header whose time is not before
/// `expires_at`. Another transaction with a later `expires_at` may still bring the record.
pub fn expired(proven: &ProvenHeader, proof: &StateProof, transaction: &Transaction) -> Result<(), Problem> {
    let payload = transaction.payload();
    if proven.sealed.checkpoint.origin != payload.origin {
        return Err(Problem::failed(4001, StepName::Encoding, payload.origin.clone()));
    }
    absence(proven, proof, &key::record(&payload.agency, &payload.record_id))?;
    let time_ms = proven.header.time_ms;
    if time_ms >= payload.expires_at || mutants::EXPIRY_TOO_EARLY.on() {
        return Ok(());
    }
    let detail =
        format!("the header's time is {time_ms} ms, the transaction may be recorded until {}", payload.expires_at);
    Err(Problem::failed(4120, StepName::Document, detail))
}
