//! The founders' proofs that they hold the keys of the genesis. They sign its hash, so they are made when it is known
//! and stand in a file of their own; whoever proves every key of an agency approves the genesis for it.

use std::collections::{BTreeMap, BTreeSet};

use mingzhang_ledger::certificate::{KeyRole, possess_bytes};
use mingzhang_ledger::crypto::{Hash, PublicKey, Signature, SigningKey};
use mingzhang_ledger::seal;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::document::{Key, KeyUse, PlacedKey, parse_hex};
use crate::genesis::Genesis;

/// The one format that this program reads.
pub const FORMAT: &str = "mingzhang/genesis-proofs/v1";
/// Largest proofs file that is read.
pub const MAX_PROOFS_BYTES: usize = 16 * 1024 * 1024;

/// Most agencies that one sentence names.
const MAX_NAMED: usize = 12;

/// What a proof is bound to: the network that is founded, or the name that it will have.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub chain: &'a Hash,
    pub origin: &'a str,
}

/// One key's proof of possession.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    pub agency: String,
    pub role: KeyUse,
    pub key: Key,
    /// Hexadecimal: a signature; for a sealing key time and signature of a size-0 cosignature.
    pub proof: String,
}

/// Proofs of some or all keys of one genesis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proofs {
    pub format: String,
    pub genesis_hash: String,
    pub proofs: Vec<Proof>,
}

/// Why proofs do not show what they should.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PossessionFault {
    #[error("proofs file has {0} bytes, at most {MAX_PROOFS_BYTES} are read")]
    TooLarge(usize),
    #[error("proofs file cannot be read: {0}")]
    Json(String),
    #[error("format is \"{0}\", this program reads \"{FORMAT}\"")]
    Format(String),
    #[error("proofs are for genesis {found}, this one is {wanted}")]
    OtherGenesis { found: String, wanted: String },
    #[error("{agency} has no {role} key {key}")]
    UnknownKey { agency: String, role: &'static str, key: String },
    #[error("the proof of {agency}'s {role} key {key} does not hold")]
    Invalid { agency: String, role: &'static str, key: String },
    #[error("{count} keys are not proven: {agencies}")]
    Missing { count: usize, agencies: String },
}

/// Proves one key. `time_s` enters a sealing key's proof only.
pub fn prove(scope: Scope<'_>, agency: &str, role: KeyUse, key: &SigningKey, time_s: u64) -> Proof {
    let proof = match signed_role(role) {
        None => seal::prove_possession(scope.origin, time_s, key).to_vec(),
        Some(signed) => key.sign(&possess_bytes(scope.chain, agency, signed, &key.public())).0.to_vec(),
    };
    Proof { agency: agency.to_owned(), role, key: Key(key.public()), proof: hex::encode(proof) }
}

/// Strict verification of one proof.
pub fn check(scope: Scope<'_>, proof: &Proof) -> Result<(), PossessionFault> {
    let key = proof.key.0;
    let holds = match signed_role(proof.role) {
        None => hex::decode(&proof.proof).is_ok_and(|bytes| seal::possession_holds(scope.origin, &key, &bytes)),
        Some(signed) => parse_hex(&proof.proof).is_some_and(|bytes| {
            key.verify_strict(&possess_bytes(scope.chain, &proof.agency, signed, &key), &Signature(bytes))
        }),
    };
    if holds {
        Ok(())
    } else {
        Err(fault_of(proof, |agency, role, key| PossessionFault::Invalid { agency, role, key }))
    }
}

/// None for a sealing key, which signs nothing but cosignatures.
fn signed_role(role: KeyUse) -> Option<KeyRole> {
    match role {
        KeyUse::Admin | KeyUse::Officer => Some(KeyRole::Officer),
        KeyUse::Consensus => Some(KeyRole::Consensus),
        KeyUse::Peer => Some(KeyRole::Peer),
        KeyUse::Recovery => Some(KeyRole::Recovery),
        KeyUse::Log => Some(KeyRole::Log),
        KeyUse::Sealing => None,
    }
}

fn fault_of(proof: &Proof, make: impl FnOnce(String, &'static str, String) -> PossessionFault) -> PossessionFault {
    make(proof.agency.clone(), proof.role.name(), hex::encode(proof.key.0.0))
}

impl Genesis {
    /// What the proofs of this network are bound to.
    pub fn scope(&self) -> Scope<'_> {
        Scope { chain: &self.hash, origin: &self.origin }
    }
}

impl Proofs {
    pub fn new(genesis: &Genesis, proofs: Vec<Proof>) -> Self {
        Self { format: FORMAT.to_owned(), genesis_hash: hash_text(&genesis.hash), proofs }
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, PossessionFault> {
        if bytes.len() > MAX_PROOFS_BYTES {
            return Err(PossessionFault::TooLarge(bytes.len()));
        }
        let proofs: Self = serde_json::from_slice(bytes).map_err(|error| PossessionFault::Json(error.to_string()))?;
        if proofs.format == FORMAT { Ok(proofs) } else { Err(PossessionFault::Format(proofs.format)) }
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Every proof is for a key of this genesis and holds. Keys may be missing.
    pub fn check(&self, genesis: &Genesis) -> Result<(), PossessionFault> {
        let wanted = hash_text(&genesis.hash);
        if self.genesis_hash != wanted {
            return Err(PossessionFault::OtherGenesis { found: self.genesis_hash.clone(), wanted });
        }
        let known: BTreeSet<PlacedKey> = genesis.document.keys().into_iter().collect();
        for proof in &self.proofs {
            if !known.contains(&place(proof)) {
                return Err(fault_of(proof, |agency, role, key| PossessionFault::UnknownKey { agency, role, key }));
            }
            check(genesis.scope(), proof)?;
        }
        Ok(())
    }

    /// As [`Proofs::check`], and no key is missing: what a node demands before it starts.
    pub fn check_complete(&self, genesis: &Genesis) -> Result<(), PossessionFault> {
        self.check(genesis)?;
        let missing = self.missing(genesis);
        if missing.is_empty() {
            return Ok(());
        }
        Err(PossessionFault::Missing { count: missing.len(), agencies: by_agency(&missing) })
    }

    /// Keys of the genesis without a proof here.
    pub fn missing(&self, genesis: &Genesis) -> Vec<PlacedKey> {
        let proven: BTreeSet<PlacedKey> = self.proofs.iter().map(place).collect();
        genesis.document.keys().into_iter().filter(|key| !proven.contains(key)).collect()
    }

    /// All approvals in one file, in the order of the document, each key once.
    pub fn merge(genesis: &Genesis, approvals: &[Proofs]) -> Result<Self, PossessionFault> {
        let mut proven: BTreeMap<PublicKey, Proof> = BTreeMap::new();
        for approval in approvals {
            approval.check(genesis)?;
            for proof in &approval.proofs {
                proven.entry(proof.key.0).or_insert_with(|| proof.clone());
            }
        }
        let proofs = genesis.document.keys().iter().filter_map(|key| proven.remove(&key.key)).collect();
        Ok(Self::new(genesis, proofs))
    }
}

/// Every agency with the number and the uses of its keys; of very many agencies the first.
fn by_agency(keys: &[PlacedKey]) -> String {
    let mut agencies: BTreeMap<&str, (usize, BTreeSet<KeyUse>)> = BTreeMap::new();
    for key in keys {
        let (count, uses) = agencies.entry(&key.agency).or_default();
        *count = count.saturating_add(1);
        uses.insert(key.use_of_key);
    }
    let more = agencies.len().saturating_sub(MAX_NAMED);
    let named = |(agency, (count, uses)): (&&str, &(usize, BTreeSet<KeyUse>))| {
        let uses: Vec<&str> = uses.iter().map(|use_of_key| use_of_key.name()).collect();
        format!("{agency} {count} ({})", uses.join(", "))
    };
    let text = agencies.iter().take(MAX_NAMED).map(named).collect::<Vec<_>>().join("; ");
    if more == 0 { text } else { format!("{text}; and those of {more} more agencies") }
}

fn place(proof: &Proof) -> PlacedKey {
    PlacedKey { agency: proof.agency.clone(), use_of_key: proof.role, key: proof.key.0 }
}

fn hash_text(hash: &Hash) -> String {
    format!("sha256:{}", hex::encode(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{document, key};

    fn sealed() -> (Genesis, Proofs) {
        let genesis = Genesis::parse(&document().to_bytes().unwrap()).unwrap();
        let secrets: BTreeMap<PublicKey, SigningKey> = (0..=255).map(|n| (key(n).public(), key(n))).collect();
        let proofs =
            genesis.document.keys().into_iter().map(|place| {
                prove(genesis.scope(), &place.agency, place.use_of_key, &secrets[&place.key], 1_760_000_000)
            });
        let proofs = Proofs::new(&genesis, proofs.collect());
        (genesis, proofs)
    }

    fn refused(change: impl FnOnce(&mut Proofs), expected: &str) {
        let (genesis, mut proofs) = sealed();
        change(&mut proofs);
        let fault = proofs.check_complete(&genesis).expect_err(expected).to_string();
        assert!(fault.contains(expected), "{fault}");
    }

    #[test]
    fn complete_proofs_hold_and_can_be_gathered_agency_by_agency() {
        let (genesis, proofs) = sealed();
        assert_eq!(proofs.check_complete(&genesis), Ok(()));
        assert_eq!(Proofs::parse(&proofs.to_bytes().unwrap()), Ok(proofs.clone()));
        let of = |agency: &str| {
            Proofs::new(&genesis, proofs.proofs.iter().filter(|proof| proof.agency == agency).cloned().collect())
        };
        let approvals: Vec<Proofs> =
            ["rural", "bank", "audit", "civil", "finance", "civil"].into_iter().map(of).collect();
        assert_eq!(Proofs::merge(&genesis, &approvals), Ok(proofs));
        let partial = Proofs::merge(&genesis, &approvals[..2]).unwrap();
        assert_eq!(partial.missing(&genesis).len(), 15);
    }

    #[test]
    fn every_kind_of_wrong_proof_is_refused() {
        refused(|p| drop(p.proofs.pop()), "1 keys are not proven: bank 1 (admin)");
        refused(
            |p| p.proofs.retain(|proof| proof.role != KeyUse::Admin),
            "10 keys are not proven: audit 2 (admin); bank 2 (admin); civil 2 (admin); finance 2",
        );
        refused(|p| p.genesis_hash.replace_range(7..9, "zz"), "proofs are for genesis sha256:zz");
        refused(|p| p.proofs[0].agency = "civil".into(), "civil has no admin key");
        refused(|p| p.proofs[0].role = KeyUse::Peer, "finance has no peer key");
        refused(|p| p.proofs[0].proof = p.proofs[1].proof.clone(), "finance's admin key");
        refused(|p| p.proofs[3].proof = p.proofs[2].proof.clone(), "finance's sealing key");
        refused(|p| p.proofs[3].proof.replace_range(0..2, "01"), "finance's sealing key");
        refused(|p| p.proofs[2].proof.truncate(126), "finance's consensus key");
        assert_eq!(
            Proofs::parse(b"{}").expect_err("empty").to_string().split(':').next(),
            Some("proofs file cannot be read")
        );
    }

    #[test]
    fn a_proof_for_another_genesis_does_not_count() {
        let (_, proofs) = sealed();
        let mut other = document();
        other.utc_offset_minutes = 0;
        let other = Genesis::parse(&other.to_bytes().unwrap()).unwrap();
        assert!(matches!(proofs.check(&other), Err(PossessionFault::OtherGenesis { .. })));
        let relabelled = Proofs::new(&other, proofs.proofs);
        assert!(matches!(relabelled.check(&other), Err(PossessionFault::Invalid { .. })));
    }
}
