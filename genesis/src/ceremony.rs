//! How several agencies make one genesis: each contributes its public keys, one assembles, each checks and approves.
//! Approvals are proofs over the finished genesis (`possession`); reading and writing files is the caller's matter.

use std::collections::BTreeSet;

use mingzhang_ledger::crypto::{Hash, sha256};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::check::{check_agency, check_held, check_keys, check_name};
use crate::document::{Agency, Document, HeldKey, Key, KeyUse, PlacedKey};
use crate::genesis::GenesisFault;
use crate::possession::{self, PossessionFault, Proof, Scope};

/// The one format that this program reads.
pub const FORMAT: &str = "mingzhang/contribution/v1";
/// Largest contribution that is read.
pub const MAX_CONTRIBUTION_BYTES: usize = 1024 * 1024;

/// What one agency sends to the one who assembles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contribution {
    pub format: String,
    /// Name of the network to be founded.
    pub network: String,
    pub agency: Agency,
    /// Where the node will listen for the others; goes to the seeds file, not into the genesis.
    #[serde(default)]
    pub addresses: Vec<String>,
    #[serde(default)]
    pub recovery_keys: Vec<Key>,
    #[serde(default)]
    pub log_keys: Vec<Key>,
    /// The node's keys prove themselves for the name of the network, before its hash exists.
    pub proofs: Vec<Proof>,
}

/// Why contributions do not make a genesis.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CeremonyFault {
    #[error("contribution has {0} bytes, at most {MAX_CONTRIBUTION_BYTES} are read")]
    TooLarge(usize),
    #[error("contribution cannot be read: {0}")]
    Json(String),
    #[error("format is \"{0}\", this program reads \"{FORMAT}\"")]
    Format(String),
    #[error("the contribution of {agency} is for the network {found}, this one is {wanted}")]
    OtherNetwork { agency: String, found: String, wanted: String },
    #[error("the genesis does not hold what {agency} contributed: its {what} differ")]
    Differs { agency: String, what: &'static str },
    #[error("the contribution of {agency} has a proof of a {role} key that is not its own, or has it twice")]
    StrayProof { agency: String, role: &'static str },
    #[error("the contribution of {agency} proves no {role} key")]
    Unproven { agency: String, role: &'static str },
    #[error(transparent)]
    Document(#[from] GenesisFault),
    #[error(transparent)]
    Possession(#[from] PossessionFault),
    #[error("the template already names agencies, recovery keys or log keys; they come from the contributions")]
    Template,
}

/// What the proofs of a contribution are bound to.
fn scope_chain(network: &str) -> Hash {
    sha256(&[b"mingzhang/contribution/v1\0", network.as_bytes()])
}

/// Proves a node's key for the name of a network.
pub fn prove(network: &str, agency: &str, role: KeyUse, key: &mingzhang_ledger::crypto::SigningKey) -> Proof {
    possession::prove(Scope { chain: &scope_chain(network), origin: network }, agency, role, key, 0)
}

impl Contribution {
    pub fn parse(bytes: &[u8]) -> Result<Self, CeremonyFault> {
        if bytes.len() > MAX_CONTRIBUTION_BYTES {
            return Err(CeremonyFault::TooLarge(bytes.len()));
        }
        let contribution: Self =
            serde_json::from_slice(bytes).map_err(|error| CeremonyFault::Json(error.to_string()))?;
        if contribution.format != FORMAT {
            return Err(CeremonyFault::Format(contribution.format));
        }
        Ok(contribution)
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// What the founding document demands of one agency: whoever contributes hears it, not who assembles.
    pub fn check_form(&self) -> Result<(), CeremonyFault> {
        check_name(&self.network)?;
        check_agency(&self.agency)?;
        check_held("recovery keys", self.recovery_keys.len())?;
        check_held("log keys", self.log_keys.len())?;
        Ok(check_keys(self.keys())?)
    }

    /// All keys that it brings, as [`Document::keys_of`] gives them once it stands in a genesis.
    pub fn keys(&self) -> Vec<PlacedKey> {
        let mut keys = self.agency.keys();
        for (use_of_key, held) in [(KeyUse::Recovery, &self.recovery_keys), (KeyUse::Log, &self.log_keys)] {
            let place = |key: &Key| PlacedKey { agency: self.agency.id.clone(), use_of_key, key: key.0 };
            keys.extend(held.iter().map(place));
        }
        keys
    }

    /// The document holds of this agency what it contributed, and nothing else: whoever assembles adds no officer and no
    /// key in its name.
    pub fn check_stands_in(&self, document: &Document) -> Result<(), CeremonyFault> {
        let agency = &self.agency.id;
        if self.network != document.name {
            let (found, wanted) = (self.network.clone(), document.name.clone());
            return Err(CeremonyFault::OtherNetwork { agency: agency.clone(), found, wanted });
        }
        let held = |keys: &[HeldKey]| -> Vec<Key> {
            keys.iter().filter(|held| held.agency == *agency).map(|held| held.key).collect()
        };
        let here = document.agencies.iter().find(|other| other.id == *agency);
        let what = match here {
            None => Some("entries (it is not there)"),
            Some(here) if here.officers != self.agency.officers => Some("officers"),
            Some(here) if here.roles != self.agency.roles => Some("roles"),
            Some(here) if here.admin_keys != self.agency.admin_keys => Some("administrators"),
            Some(here) if here.node != self.agency.node => Some("node's keys or url"),
            Some(here) if *here != self.agency => Some("name or kind"),
            Some(_) if held(&document.recovery.keys) != self.recovery_keys => Some("recovery keys"),
            Some(_) if held(&document.log_keys) != self.log_keys => Some("log keys"),
            Some(_) => None,
        };
        what.map_or(Ok(()), |what| Err(CeremonyFault::Differs { agency: agency.clone(), what }))
    }

    /// Its form is right, each key of the node is proven, and every proof given holds.
    pub fn check(&self, network: &str) -> Result<(), CeremonyFault> {
        let agency = &self.agency.id;
        if self.network != network {
            return Err(CeremonyFault::OtherNetwork {
                agency: agency.clone(),
                found: self.network.clone(),
                wanted: network.to_owned(),
            });
        }
        self.check_form()?;
        let scope = Scope { chain: &scope_chain(network), origin: network };
        let mut unproven: BTreeSet<PlacedKey> = self.keys().into_iter().collect();
        for proof in &self.proofs {
            let place = PlacedKey { agency: proof.agency.clone(), use_of_key: proof.role, key: proof.key.0 };
            if !unproven.remove(&place) {
                return Err(CeremonyFault::StrayProof { agency: agency.clone(), role: proof.role.name() });
            }
            possession::check(scope, proof)?;
        }
        // Persons prove theirs when they approve.
        let of_node =
            |place: &&PlacedKey| matches!(place.use_of_key, KeyUse::Consensus | KeyUse::Sealing | KeyUse::Peer);
        let missing = self.agency.keys().into_iter().find(|place| unproven.contains(place) && of_node(&place));
        missing.map_or(Ok(()), |place| {
            Err(CeremonyFault::Unproven { agency: agency.clone(), role: place.use_of_key.name() })
        })
    }
}

/// Puts contributions into a template, in the order given: it is the turn order.
pub fn assemble(template: &Document, contributions: &[Contribution]) -> Result<Document, CeremonyFault> {
    let mut document = template.clone();
    if !document.agencies.is_empty() || !document.recovery.keys.is_empty() || !document.log_keys.is_empty() {
        return Err(CeremonyFault::Template);
    }
    for contribution in contributions {
        contribution.check(&document.name)?;
        let held = |key: &Key| HeldKey { agency: contribution.agency.id.clone(), key: *key };
        document.recovery.keys.extend(contribution.recovery_keys.iter().map(held));
        document.log_keys.extend(contribution.log_keys.iter().map(held));
        document.agencies.push(contribution.agency.clone());
    }
    Ok(document)
}

/// A digest to be read out by phone: the first 40 hexadecimal digits, in groups of four.
pub fn fingerprint(bytes: &[u8]) -> String {
    grouped(&sha256(&[bytes]))
}

/// The first 40 hexadecimal digits in groups of four.
pub fn grouped(hash: &Hash) -> String {
    let digits = hex::encode(hash);
    let groups: Vec<&str> =
        (0..10usize).filter_map(|group| digits.get(group.saturating_mul(4)..).and_then(|rest| rest.get(..4))).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Genesis;
    use crate::document::{Officer, Person, Recovery};
    use crate::sample::{document, key};

    fn contributions() -> (Document, Vec<Contribution>) {
        let mut template = document();
        let agencies = std::mem::take(&mut template.agencies);
        template.recovery = Recovery { threshold: 1, keys: Vec::new() };
        let contribution = |(position, agency): (usize, Agency)| {
            let first = u8::try_from(position + 1).unwrap() * 10;
            let roles = [(3, KeyUse::Consensus), (4, KeyUse::Sealing), (5, KeyUse::Peer)];
            let proofs = roles.map(|(number, role)| prove(&template.name, &agency.id, role, &key(first + number)));
            Contribution {
                format: FORMAT.into(),
                network: template.name.clone(),
                recovery_keys: if position == 0 { vec![Key(key(99).public())] } else { Vec::new() },
                log_keys: Vec::new(),
                addresses: Vec::new(),
                proofs: if agency.node.is_some() { proofs.to_vec() } else { Vec::new() },
                agency,
            }
        };
        let all = agencies.into_iter().enumerate().map(contribution).collect();
        (template, all)
    }

    fn refused(change: impl FnOnce(&mut Vec<Contribution>), expected: &str) {
        let (template, mut all) = contributions();
        change(&mut all);
        let fault = assemble(&template, &all).expect_err(expected).to_string();
        assert!(fault.contains(expected), "{fault}");
    }

    #[test]
    fn contributions_make_a_genesis() {
        let (template, all) = contributions();
        let written: Vec<Contribution> =
            all.iter().map(|one| Contribution::parse(&one.to_bytes().unwrap()).unwrap()).collect();
        assert_eq!(written, all);
        let assembled = assemble(&template, &all).unwrap();
        assert_eq!(assembled.agencies, document().agencies);
        let genesis = Genesis::parse(&assembled.to_bytes().unwrap()).unwrap();
        assert_eq!(genesis.document.recovery.keys.len(), 1);
        assert_eq!(fingerprint(b"abc"), "ba78 16bf 8f01 cfea 4141 40de 5dae 2223 b003 61a3");
    }

    #[test]
    fn what_was_added_or_changed_in_a_name_is_seen() {
        let (template, all) = contributions();
        let assembled = assemble(&template, &all).unwrap();
        for one in &all {
            assert_eq!(one.check_stands_in(&assembled), Ok(()));
            let keys = crate::minutes::fingerprint_of(&one.keys());
            assert_eq!(keys, crate::minutes::agency_fingerprint(&assembled, &one.agency));
        }
        let changed = |change: fn(&mut Document), expected: &str| {
            let mut document = assembled.clone();
            change(&mut document);
            let fault = all[0].check_stands_in(&document).expect_err(expected).to_string();
            assert!(fault.contains(expected), "{fault}");
        };
        let attacker = |document: &mut Document| {
            let officer = Officer { person: Person([9; 16]), key: Key(key(99).public()), roles: Vec::new() };
            document.agencies[0].officers.push(officer);
        };
        changed(attacker, "its officers differ");
        changed(
            |d| d.recovery.keys.push(HeldKey { agency: "finance".into(), key: Key(key(99).public()) }),
            "recovery keys differ",
        );
        changed(|d| d.agencies[0].roles.clear(), "roles differ");
        changed(|d| d.agencies[0].node.as_mut().unwrap().url = "https://x/".into(), "url differ");
        changed(|d| drop(d.agencies.remove(0)), "not there");
    }

    #[test]
    fn wrong_contributions_are_named() {
        refused(
            |all| all[1].network = "other.example.gov/main".into(),
            "civil is for the network other.example.gov/main",
        );
        refused(|all| drop(all[0].proofs.remove(1)), "finance proves no sealing key");
        refused(
            |all| {
                let other = all[1].proofs.pop();
                all[0].proofs.extend(other);
            },
            "finance has a proof of a peer key that is not its own",
        );
        refused(|all| all[0].proofs[0].proof = all[0].proofs[2].proof.clone(), "finance's consensus key");
        refused(|all| all[2].agency.id = "police".into(), "police has a proof of a consensus key that is not its own");
        assert_eq!(assemble(&document(), &[]), Err(CeremonyFault::Template));
        assert!(matches!(Contribution::parse(b"{\"format\":1}"), Err(CeremonyFault::Json(_))));
    }

    #[test]
    fn a_contribution_meets_the_checks_of_the_document_for_one_agency() {
        let wrong = |change: fn(&mut Contribution), expected: &str| {
            let (_, mut all) = contributions();
            change(&mut all[0]);
            let fault = all[0].check_form().expect_err(expected).to_string();
            assert!(fault.contains(expected), "{fault}");
        };
        for contribution in contributions().1 {
            assert_eq!(contribution.check_form(), Ok(()));
        }
        wrong(|one| one.network = "nowhere".into(), "name \"nowhere\" is not host/path");
        wrong(|one| one.agency.id = "Civil Affairs".into(), "agency id \"Civil Affairs\" is not");
        wrong(|one| one.agency.roles[0] = "nonsense".into(), "no role \"nonsense\"; the roles are reviewer, decider,");
        wrong(|one| one.agency.admin_keys.truncate(1), "1 administrators");
        wrong(|one| one.agency.admin_keys[1].key = one.agency.admin_keys[0].key, "one key stands in two places");
        wrong(
            |one| one.agency.admin_keys[0].key = one.agency.node.as_ref().unwrap().consensus_key,
            "finance, admin key; finance, consensus key",
        );
        wrong(|one| one.recovery_keys = vec![one.agency.admin_keys[0].key], "finance, recovery key");
        wrong(|one| one.agency.node.as_mut().unwrap().url = "foo".into(), "url \"foo\" of agency finance");
    }
}
