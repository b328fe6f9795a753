//! How a network goes on after more members were lost for good than it tolerates: a manifest, signed by recovery keys of
//! the genesis, names the last block that stands and a new set. Form, bytes and check; everybody who verifies sees the
//! discontinuity. Which block stands, and what a node does with a manifest, is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::authority::{AuthoritySet, MAX_MEMBERS, ParameterFault};
use crate::codec::{CodecFault, Value};
use crate::crypto::{Hash, PublicKey, Signature, SigningKey, sha256, verify_batch};
use crate::header::Header;
use crate::outcome::{Code, peers};

/// Most bytes of the reason that a manifest states.
pub const MAX_REASON_BYTES: usize = 1_000;
/// Most bytes of a signed manifest: the largest set with its addresses, and the signatures.
pub const MAX_MANIFEST_BYTES: usize = 1024 * 1024;

const PREFIX: &[u8] = b"mingzhang/recovery/v1\0";

/// Who may sign a manifest, as the genesis says: `threshold` of these keys, for a set of so many members at least.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryKeys {
    pub threshold: u64,
    pub keys: Vec<PublicKey>,
    pub least_members: usize,
}

/// The last block that stands, and who decides from there on. The epoch is that of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryManifest {
    /// Genesis hash.
    pub chain: Hash,
    pub base: Header,
    pub set: AuthoritySet,
    pub reason: String,
}

/// A manifest in the bytes that were signed, with the signatures by index of the key in the genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    manifest: RecoveryManifest,
    signed: Vec<u8>,
    signatures: BTreeMap<u16, Signature>,
}

/// A manifest that enough recovery keys signed and that continues the epoch before it. Made by [`SignedManifest::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    manifest: RecoveryManifest,
    bytes: Vec<u8>,
    signers: Vec<u16>,
}

/// What a reader of the ledger is told of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discontinuity {
    /// The epoch that it opened.
    pub epoch: u64,
    /// The last block before it, and the size of the log with that block.
    pub height: u64,
    pub tree_size: u64,
    pub reason: String,
    /// Indices of the recovery keys that signed, and how many had to.
    pub signers: Vec<u16>,
    pub threshold: u64,
}

impl std::fmt::Display for Discontinuity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { epoch, height, tree_size, reason, signers, threshold } = self;
        let signed = signers.len();
        write!(
            f,
            "discontinuity: epoch {epoch} was opened after height {height} (log of {tree_size} entries) by a manifest of \
             {signed} recovery keys, {threshold} are needed, and not by its members: {reason}"
        )
    }
}

/// The epoch that a manifest ends: its set, and the id of the block that opened it.
#[derive(Debug, Clone, Copy)]
pub struct EndedEpoch<'a> {
    pub set: &'a AuthoritySet,
    pub opened_by: &'a Hash,
}

/// Why a manifest opens no epoch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecoveryFault {
    #[error("recovery manifest: {0}")]
    Form(#[from] CodecFault),
    #[error("recovery manifest of another network: {}", hex::encode(.0))]
    OtherNetwork(Hash),
    #[error("recovery manifest opens epoch {have}, epoch {want} follows")]
    Epoch { have: u64, want: u64 },
    #[error("base of height {height} is no block of epoch {epoch}")]
    Base { height: u64, epoch: u64 },
    #[error("reason has {bytes} bytes or control characters, wanted are 1 to {MAX_REASON_BYTES} bytes of text")]
    Reason { bytes: usize },
    #[error("{members} members would decide, allowed are {least} to {MAX_MEMBERS}")]
    Members { members: usize, least: usize },
    #[error("{0} has two seats")]
    TwoSeats(String),
    #[error("key {0:?} stands twice, or sealed in the epoch before")]
    KeyTwice(PublicKey),
    #[error(transparent)]
    Parameter(#[from] ParameterFault),
    #[error("genesis names no recovery keys")]
    NoKeys,
    #[error("recovery key {0} is not in the genesis")]
    UnknownKey(u16),
    #[error("signature by recovery key {0} does not hold")]
    Signature(u16),
    #[error("signed by {have} recovery keys, {need} are needed")]
    TooFew { have: usize, need: u64 },
}

impl RecoveryFault {
    /// By which a node refuses it of a peer.
    pub fn peer_code(&self) -> Code {
        match self {
            Self::OtherNetwork(_) => peers::OTHER_NETWORK,
            Self::Epoch { .. } | Self::Base { .. } => peers::OUT_OF_PLACE,
            Self::NoKeys | Self::UnknownKey(_) | Self::Signature(_) | Self::TooFew { .. } => peers::NOT_SIGNED,
            Self::Form(_)
            | Self::Reason { .. }
            | Self::Members { .. }
            | Self::TwoSeats(_)
            | Self::KeyTwice(_)
            | Self::Parameter(_) => peers::MALFORMED,
        }
    }
}

impl RecoveryManifest {
    pub fn encode(&self) -> Vec<u8> {
        Value::map(vec![
            (Value::Uint(1), Value::bytes(&self.chain)),
            (Value::Uint(2), Value::Uint(self.set.epoch)),
            (Value::Uint(3), Value::bytes(&self.base.encode())),
            (Value::Uint(4), Value::bytes(&self.set.encode())),
            (Value::Uint(5), Value::text(&self.reason)),
        ])
        .encode()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let value = Value::decode(bytes)?;
        let invalid = CodecFault::Invalid;
        let part = |number| value.at(number).and_then(Value::as_bytes);
        let chain = part(1).and_then(|chain| chain.try_into().ok()).ok_or(invalid("chain"))?;
        let base = Header::decode(part(3).ok_or(invalid("base header"))?)?;
        let set = AuthoritySet::decode(part(4).ok_or(invalid("set document"))?)?;
        let reason = value.at(5).and_then(Value::as_text).ok_or(invalid("reason"))?.to_owned();
        let manifest = Self { chain, base, set, reason };
        if manifest.encode() == bytes { Ok(manifest) } else { Err(CodecFault::NotCanonical) }
    }

    /// What a recovery key signs.
    pub fn signed_bytes(&self) -> Vec<u8> {
        signed_bytes(&self.chain, &self.encode())
    }

    /// SHA-256 of its bytes, to be compared by phone.
    pub fn hash(&self) -> Hash {
        sha256(&[&self.encode()])
    }

    /// All but the signatures: the network, that it continues the epoch before, and a set that can decide.
    pub fn check(&self, keys: &RecoveryKeys, chain: &Hash, ended: &EndedEpoch<'_>) -> Result<(), RecoveryFault> {
        if self.chain != *chain {
            return Err(RecoveryFault::OtherNetwork(self.chain));
        }
        let want = ended.set.epoch.saturating_add(1);
        if self.set.epoch != want {
            return Err(RecoveryFault::Epoch { have: self.set.epoch, want });
        }
        let decided = self.base.epoch == ended.set.epoch && self.base.set_hash == ended.set.hash();
        if !decided && self.base.id() != *ended.opened_by {
            return Err(RecoveryFault::Base { height: self.base.height, epoch: ended.set.epoch });
        }
        let bytes = self.reason.len();
        if !(1..=MAX_REASON_BYTES).contains(&bytes) || self.reason.chars().any(char::is_control) {
            return Err(RecoveryFault::Reason { bytes });
        }
        self.check_set(keys.least_members, ended.set)
    }

    /// As many members as the network needs, no agency twice, no key twice, no sealing key of the epoch before.
    fn check_set(&self, least: usize, before: &AuthoritySet) -> Result<(), RecoveryFault> {
        let members = self.set.members.len();
        if !(least.max(1)..=MAX_MEMBERS).contains(&members) {
            return Err(RecoveryFault::Members { members, least });
        }
        let mut agencies = BTreeSet::new();
        let mut keys: BTreeSet<[u8; 32]> = before.members.iter().map(|member| member.sealing_key.0).collect();
        for member in &self.set.members {
            if !agencies.insert(&member.agency) {
                return Err(RecoveryFault::TwoSeats(member.agency.clone()));
            }
            for key in [member.consensus_key, member.sealing_key, member.peer_key] {
                if !keys.insert(key.0) {
                    return Err(RecoveryFault::KeyTwice(key));
                }
            }
        }
        Ok(self.set.parameters.check()?)
    }
}

fn signed_bytes(chain: &Hash, manifest: &[u8]) -> Vec<u8> {
    [PREFIX, chain, &sha256(&[manifest])].concat()
}

impl SignedManifest {
    /// A manifest that nobody has signed yet.
    pub fn new(manifest: RecoveryManifest) -> Self {
        Self { signed: manifest.encode(), manifest, signatures: BTreeMap::new() }
    }

    pub fn manifest(&self) -> &RecoveryManifest {
        &self.manifest
    }

    /// Indices of the keys whose signatures are there, checked or not.
    pub fn signers(&self) -> impl Iterator<Item = u16> {
        self.signatures.keys().copied()
    }

    /// Adds the signature of a key of the genesis; None if the key is not among them.
    pub fn sign(&mut self, keys: &RecoveryKeys, key: &SigningKey) -> Option<u16> {
        let index = keys.keys.iter().position(|known| *known == key.public());
        let index = index.and_then(|index| u16::try_from(index).ok())?;
        self.signatures.insert(index, key.sign(&self.manifest.signed_bytes()));
        Some(index)
    }

    /// Takes over the signatures of another copy; false if that one is of another manifest.
    pub fn merge(&mut self, other: &Self) -> bool {
        let same = self.signed == other.signed;
        if same {
            self.signatures.extend(other.signatures.iter().map(|(index, signature)| (*index, *signature)));
        }
        same
    }

    pub fn encode(&self) -> Vec<u8> {
        let signature = |(index, signature): (&u16, &Signature)| {
            Value::Array(vec![Value::Uint(u64::from(*index)), Value::bytes(&signature.0)])
        };
        Value::map(vec![
            (Value::Uint(1), Value::bytes(&self.signed)),
            (Value::Uint(2), Value::Array(self.signatures.iter().map(signature).collect())),
        ])
        .encode()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let invalid = CodecFault::Invalid;
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(invalid("size of the recovery manifest"));
        }
        let value = Value::decode(bytes)?;
        let signed = value.at(1).and_then(Value::as_bytes).ok_or(invalid("manifest"))?.to_vec();
        let manifest = RecoveryManifest::decode(&signed)?;
        let mut signatures = BTreeMap::new();
        for item in value.at(2).and_then(Value::as_array).ok_or(invalid("signatures"))? {
            let Some([index, signature]) = item.as_array() else { return Err(invalid("signature")) };
            let index = index.as_uint().and_then(|index| u16::try_from(index).ok()).ok_or(invalid("recovery key"))?;
            let signature = signature.as_bytes().and_then(|bytes| bytes.try_into().ok()).ok_or(invalid("signature"))?;
            signatures.insert(index, Signature(signature));
        }
        let decoded = Self { manifest, signed, signatures };
        if decoded.encode() == bytes { Ok(decoded) } else { Err(CodecFault::NotCanonical) }
    }

    /// The whole check: what [`RecoveryManifest::check`] asks, every signature holds, and they are enough.
    pub fn verify(
        &self,
        keys: &RecoveryKeys,
        chain: &Hash,
        ended: &EndedEpoch<'_>,
    ) -> Result<Recovered, RecoveryFault> {
        self.manifest.check(keys, chain, ended)?;
        if keys.threshold == 0 || keys.keys.is_empty() {
            return Err(RecoveryFault::NoKeys);
        }
        let message = signed_bytes(chain, &self.signed);
        let known = |(index, signature): (&u16, &Signature)| {
            let key = keys.keys.get(usize::from(*index)).ok_or(RecoveryFault::UnknownKey(*index))?;
            Ok((*key, message.as_slice(), *signature))
        };
        let items = self.signatures.iter().map(known).collect::<Result<Vec<_>, RecoveryFault>>()?;
        if let Some((index, _)) = self.signatures.keys().zip(verify_batch(&items)).find(|(_, holds)| !holds) {
            return Err(RecoveryFault::Signature(*index));
        }
        if u64::try_from(items.len()).unwrap_or(u64::MAX) < keys.threshold {
            return Err(RecoveryFault::TooFew { have: items.len(), need: keys.threshold });
        }
        Ok(Recovered { manifest: self.manifest.clone(), bytes: self.encode(), signers: self.signers().collect() })
    }
}

impl Recovered {
    pub fn manifest(&self) -> &RecoveryManifest {
        &self.manifest
    }

    /// The epoch that it opens.
    pub fn epoch(&self) -> u64 {
        self.manifest.set.epoch
    }

    pub fn set(&self) -> &AuthoritySet {
        &self.manifest.set
    }

    /// The last block that stands.
    pub fn base(&self) -> &Header {
        &self.manifest.base
    }

    /// The signed manifest, as it is stored and handed on.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn discontinuity(&self, keys: &RecoveryKeys) -> Discontinuity {
        Discontinuity {
            epoch: self.epoch(),
            height: self.base().height,
            tree_size: self.base().tree_size(),
            reason: self.manifest.reason.clone(),
            signers: self.signers.clone(),
            threshold: keys.threshold,
        }
    }
}

#[cfg(test)]
mod tests;
