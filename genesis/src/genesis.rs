//! The checked genesis: its hash, the network's origin, the authority set of epoch 0. Only [`Genesis::parse`] makes one.

use mingzhang_ledger::authority::{AuthoritySet, Member, ParameterFault, Parameters};
use mingzhang_ledger::crypto::{Hash, KeyFault, sha256};
use mingzhang_ledger::records::registry::founding::{Founding, FoundingAgency, FoundingOfficer, FoundingRole};
use mingzhang_ledger::recovery::RecoveryKeys;
use mingzhang_ledger::state::execute::Network;
use thiserror::Error;

use crate::check::{MIN_AUTHORITIES, agency_roles, check};
use crate::document::{Agency, Document, Officer, Role};

/// Largest genesis file that is read.
pub const MAX_GENESIS_BYTES: usize = 8 * 1024 * 1024;

/// A genesis document that passed every check, with the bytes that its hash stands for.
#[derive(Debug, Clone)]
pub struct Genesis {
    /// The exact file, for serving and hashing.
    pub bytes: Vec<u8>,
    /// SHA-256 of the exact file: the network's identity, `chain` in every vote.
    pub hash: Hash,
    /// Name, hyphen, first 16 hexadecimal digits of the hash: only tells networks apart.
    pub origin: String,
    /// Authority set of epoch 0, members in the order of the document.
    pub set: AuthoritySet,
    /// What enters the state at height 0.
    pub founding: Founding,
    pub document: Document,
}

/// Why a file founds no network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GenesisFault {
    #[error("genesis has {0} bytes, at most {MAX_GENESIS_BYTES} are read")]
    TooLarge(usize),
    #[error("genesis cannot be read: {0}")]
    Json(String),
    #[error("format is \"{0}\", this program reads \"mingzhang/genesis/v1\"")]
    Format(String),
    #[error("suite is {0}, this program knows 1 (Ed25519, SHA-256)")]
    Suite(u64),
    #[error("test_keys is set, but development is not: test keys are no keys for a network in use")]
    TestKeys,
    #[error("name \"{0}\" is not host/path in lowercase letters, digits, hyphens and dots")]
    Name(String),
    #[error("utc_offset_minutes is {0}, allowed are -720 to 840")]
    UtcOffset(i64),
    #[error("currencies is empty")]
    NoCurrency,
    #[error("currency \"{0}\" is not in ISO 4217")]
    Currency(String),
    #[error("{what} \"{value}\" appears twice")]
    Twice { what: &'static str, value: String },
    #[error("there is no parameter \"{0}\"")]
    UnknownParameter(String),
    #[error(transparent)]
    Parameter(#[from] ParameterFault),
    #[error("rule parameter {name} is {value}, allowed are {least} to {most}")]
    Rule { name: &'static str, value: u64, least: u64, most: u64 },
    #[error("{count} {what}, at most {most} are allowed")]
    TooMany { what: &'static str, count: usize, most: usize },
    #[error("{have} agencies have a node, at least {need} are needed (fewer only with \"development\": true, from 1)")]
    TooFewAuthorities { have: usize, need: usize },
    #[error("agency id \"{0}\" is not 1 to 32 lowercase letters, digits and inner hyphens")]
    AgencyId(String),
    #[error("{what} of agency {agency} is empty, too long, or has outer spaces or characters that are not seen: \"{}\"", text.escape_debug())]
    AgencyText { agency: String, what: &'static str, text: String },
    #[error("agency {agency}: there is no role \"{role}\"; the roles are {}", agency_roles().collect::<Vec<_>>().join(", "))]
    UnknownRole { agency: String, role: String },
    #[error("agency {agency} has {have} administrators' keys, it must have two")]
    Admins { agency: String, have: usize },
    #[error("an officer of agency {agency} has the role \"{role}\", which the agency does not hold")]
    RoleNotHeld { agency: String, role: String },
    #[error("url \"{url}\" of agency {agency} is not http:// or https:// with a host")]
    Url { agency: String, url: String },
    #[error("{place}: {fault}")]
    Key { place: String, fault: KeyFault },
    #[error("one key stands in two places: {first}; {second}")]
    KeyTwice { first: String, second: String },
    #[error("the holder \"{0}\" of a recovery or log key is not an agency of this genesis")]
    UnknownHolder(String),
    #[error("recovery threshold {threshold} of {keys} keys is not a majority of them")]
    RecoveryThreshold { threshold: u64, keys: usize },
    #[error("no agency has the role \"{0}\": money needs owner, finance, bank and supervisor")]
    MissingRole(&'static str),
    #[error("owner, finance, bank and supervisor cannot be four different agencies")]
    RolesNotApart,
}

impl Genesis {
    /// Reads and checks a genesis file. The hash covers `bytes` exactly as given.
    pub fn parse(bytes: &[u8]) -> Result<Self, GenesisFault> {
        if bytes.len() > MAX_GENESIS_BYTES {
            return Err(GenesisFault::TooLarge(bytes.len()));
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| GenesisFault::Json(error.to_string()))?;
        let parameters = check(&document)?;
        let hash = sha256(&[bytes]);
        let origin = origin(&document.name, &hash);
        let utc_offset_minutes = i32::try_from(document.utc_offset_minutes)
            .map_err(|_| GenesisFault::UtcOffset(document.utc_offset_minutes))?;
        let network =
            Network { origin: origin.clone(), chain: hash, utc_offset_minutes, development: document.development };
        let set = authority_set(&document, parameters);
        let founding = Founding {
            network,
            agencies: document.agencies.iter().map(founding_agency).collect(),
            parameters: document.rules.0.clone(),
            set: set.clone(),
        };
        Ok(Self { bytes: bytes.to_vec(), hash, origin, set, founding, document })
    }

    /// Whether key files in clear are tolerated.
    pub fn test_keys(&self) -> bool {
        self.document.test_keys
    }

    pub fn development(&self) -> bool {
        self.document.development
    }

    /// Who may sign a recovery manifest, and how many members a set that it names must have.
    pub fn recovery_keys(&self) -> RecoveryKeys {
        RecoveryKeys {
            threshold: self.document.recovery.threshold,
            keys: self.document.recovery.keys.iter().map(|held| held.key.0).collect(),
            least_members: if self.development() { 1 } else { MIN_AUTHORITIES },
        }
    }

    /// Host part of the name: sealing keys are named `<agency>.<host>/e<epoch>`.
    pub fn host(&self) -> &str {
        self.document.name.split_once('/').map_or(self.document.name.as_str(), |(host, _)| host)
    }
}

/// Name, hyphen, first 16 hexadecimal digits of the genesis hash.
pub fn origin(name: &str, hash: &Hash) -> String {
    let (head, _) = hash.split_at(8);
    format!("{name}-{}", hex::encode(head))
}

fn authority_set(document: &Document, parameters: Parameters) -> AuthoritySet {
    let members = document
        .agencies
        .iter()
        .filter_map(|agency| {
            let node = agency.node.as_ref()?;
            Some(Member {
                agency: agency.id.clone(),
                consensus_key: node.consensus_key.0,
                sealing_key: node.sealing_key.0,
                peer_key: node.peer_key.0,
                url: node.url.clone(),
            })
        })
        .collect();
    AuthoritySet { epoch: 0, parameters, members }
}

fn founding_agency(agency: &Agency) -> FoundingAgency {
    let role = |role: &Role| FoundingRole { role: role.role.clone(), scope: None, max_minor: role.max_minor };
    let officer = |officer: &Officer| FoundingOfficer {
        person: officer.person.0,
        key: officer.key.0,
        roles: officer.roles.iter().map(role).collect(),
    };
    FoundingAgency {
        id: agency.id.clone(),
        name: agency.name.clone(),
        kind: agency.kind.clone(),
        roles: agency.roles.clone(),
        admin_keys: agency.admin_keys.iter().map(|admin| (admin.person.0, admin.key.0)).collect(),
        officers: agency.officers.iter().map(officer).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{HeldKey, Key, Recovery};
    use crate::sample::{document, key};
    use mingzhang_ledger::crypto::PublicKey;
    use mingzhang_ledger::records::registry::founding::found;

    fn refused(change: impl FnOnce(&mut Document), expected: &str) {
        let mut document = document();
        change(&mut document);
        let fault = Genesis::parse(&document.to_bytes().unwrap()).expect_err(expected);
        assert!(fault.to_string().contains(expected), "{fault}");
    }

    fn refused_text(from: &str, to: &str, expected: &str) {
        let text = String::from_utf8(document().to_bytes().unwrap()).unwrap();
        assert!(text.contains(from), "{from}");
        let fault = Genesis::parse(text.replacen(from, to, 1).as_bytes()).expect_err(expected);
        assert!(fault.to_string().contains(expected), "{fault}");
    }

    #[test]
    fn a_valid_document_becomes_the_set_of_epoch_0_and_every_byte_counts() {
        let bytes = document().to_bytes().unwrap();
        let genesis = Genesis::parse(&bytes).unwrap();
        assert_eq!(genesis.hash, sha256(&[&bytes]));
        let digits = hex::encode(genesis.hash);
        assert_eq!(genesis.origin, format!("ledger.example.gov/main-{}", digits.split_at(16).0));
        assert_eq!(genesis.host(), "ledger.example.gov");
        let agencies: Vec<_> = genesis.set.members.iter().map(|member| member.agency.as_str()).collect();
        assert_eq!(agencies, ["finance", "civil", "audit", "rural"]);
        assert_eq!(AuthoritySet::decode(&genesis.set.encode()).unwrap(), genesis.set);
        assert!(found(&genesis.founding).unwrap().0.len() > genesis.set.members.len());
        let mut longer = bytes.clone();
        longer.push(b' ');
        assert_ne!(Genesis::parse(&longer).unwrap().hash, genesis.hash);
    }

    #[test]
    fn form_is_strict() {
        refused_text("\"suite\": 1,", "\"suite\": 1, \"colour\": 1,", "unknown field `colour`");
        refused_text("\"suite\": 1,", "\"suite\": 1, \"suite\": 1,", "duplicate field `suite`");
        refused_text("\"suite\": 1,", "", "missing field `suite`");
        refused_text("\"suite\": 1,", "\"suite\": 1.0,", "invalid type");
        refused_text("\"suite\": 1,", "\"suite\": -1,", "invalid");
        refused_text("\"rules\": {}", "\"rules\": {\"speed\": 1}", "no parameter \"speed\"");
        refused_text("\"rules\": {}", "\"rules\": {\"min_bids\": 0}", "min_bids is 0, allowed are 1 to 100");
        refused_text("\"consensus\": {}", "\"consensus\": {\"heartbeat\": 10000, \"heartbeat\": 10000}", "twice");
        refused_text("\"person\": \"0b", "\"person\": \"0B", "32 lowercase");
        refused_text("\"key\": \"", "\"key\": \"00", "64 lowercase");
        refused_text("\"url\": \"https", "\"address\": \"https", "unknown field `address`");
        let mut bytes = document().to_bytes().unwrap();
        bytes.push(b'}');
        assert!(matches!(Genesis::parse(&bytes), Err(GenesisFault::Json(_))));
        assert!(matches!(Genesis::parse(&vec![b' '; MAX_GENESIS_BYTES + 1]), Err(GenesisFault::TooLarge(_))));
    }

    #[test]
    fn head_is_checked() {
        refused(|d| d.format = "mingzhang/genesis/v2".into(), "format is");
        refused(|d| d.suite = 2, "suite is 2");
        refused(|d| d.test_keys = true, "test_keys is set");
        for name in ["main", "a/", "/a", "a b/c", "a+b/c", "A.gov/main", "a..b/c", "-a/b", "a/b/"] {
            refused(|d| d.name = name.into(), "is not host/path");
        }
        refused(|d| d.utc_offset_minutes = 841, "utc_offset_minutes is 841");
        refused(|d| d.utc_offset_minutes = -721, "utc_offset_minutes is -721");
        refused(|d| d.currencies.clear(), "currencies is empty");
        refused(|d| d.currencies.push("CNY".into()), "currency \"CNY\" appears twice");
        refused(|d| d.currencies.push("MNX".into()), "\"MNX\" is not in ISO 4217");
        refused(
            |d| {
                d.consensus.0.insert("speed".into(), 1);
            },
            "no parameter \"speed\"",
        );
        refused(
            |d| {
                d.consensus.0.insert("heartbeat".into(), 1);
            },
            "heartbeat is 1",
        );
        refused(
            |d| {
                d.consensus.0.insert("turn_timeout".into(), 100);
            },
            "turn_timeout_min is greater",
        );
    }

    #[test]
    fn agencies_are_checked() {
        refused(|d| drop(d.agencies.remove(0)), "3 agencies have a node, at least 4");
        refused(|d| d.agencies[1].id = "finance".into(), "agency id \"finance\" appears twice");
        refused(|d| d.agencies[1].name = d.agencies[0].name.clone(), "agency name");
        for id in ["", "Finance", "a.b", "a/b", "-a", "财政", "a23456789012345678901234567890123"] {
            refused(|d| d.agencies[0].id = id.into(), "agency id");
        }
        refused(|d| d.agencies[0].name = " 财政局".into(), "name of agency finance");
        for hidden in ["财政\u{200b}局", "\u{202e}局政财", "财政局\u{2069}", "财政\n局"] {
            refused(|d| d.agencies[0].name = hidden.into(), "name of agency finance");
        }
        refused(|d| d.agencies[0].kind = "bureau\u{feff}".into(), "kind of agency finance");
        refused(|d| d.agencies[0].kind = String::new(), "kind of agency finance");
        refused(|d| d.agencies[0].roles.push("king".into()), "there is no role \"king\"");
        refused(|d| d.agencies[0].roles.push("admin".into()), "there is no role \"admin\"");
        refused(|d| d.agencies[0].roles.push("finance".into()), "role of an agency");
        refused(|d| d.agencies[0].admin_keys.truncate(1), "has 1 administrators");
        refused(|d| d.agencies[0].admin_keys[1].person = d.agencies[0].admin_keys[0].person, "person of an agency");
        for url in ["", "ftp://a/", "https://", "https:///x", "https://a b/", "https://a/\""] {
            refused(|d| d.agencies[0].node.as_mut().unwrap().url = url.into(), "is not http");
        }
        refused(
            |d| {
                let admin = d.agencies[0].admin_keys[0].clone();
                let role = Role { role: "auditor".into(), max_minor: None };
                d.agencies[0].officers.push(crate::document::Officer {
                    person: admin.person,
                    key: admin.key,
                    roles: vec![role],
                });
            },
            "which the agency does not hold",
        );
    }

    #[test]
    fn keys_are_registrable_and_stand_once() {
        let consensus = |d: &mut Document, key| d.agencies[0].node.as_mut().unwrap().consensus_key = key;
        refused(|d| consensus(d, Key(key(14).public())), "one key stands in two places");
        refused(|d| consensus(d, d.agencies[2].admin_keys[0].key), "one key stands in two places");
        let mut identity = [0; 32];
        identity[0] = 1;
        refused(|d| consensus(d, Key(PublicKey(identity))), "finance, consensus key: public key has a torsion");
        refused(|d| consensus(d, Key(PublicKey([0xff; 32]))), "not the canonical encoding");
        refused(|d| d.log_keys.push(HeldKey { agency: "nobody".into(), key: Key(key(99).public()) }), "nobody");
        let recovery = |threshold, count: u8| Recovery {
            threshold,
            keys: (0..count).map(|n| HeldKey { agency: "audit".into(), key: Key(key(200 + n).public()) }).collect(),
        };
        refused(|d| d.recovery = recovery(2, 4), "threshold 2 of 4");
        refused(|d| d.recovery = recovery(4, 3), "threshold 4 of 3");
        refused(|d| d.recovery = recovery(1, 0), "threshold 1 of 0");
        let mut document = document();
        document.recovery = recovery(2, 3);
        assert!(Genesis::parse(&document.to_bytes().unwrap()).is_ok());
    }

    #[test]
    fn money_needs_four_organisations() {
        refused(|d| d.agencies[4].roles.clear(), "no agency has the role \"agent_bank\"");
        refused(
            |d| {
                d.agencies[0].roles = vec!["finance".into(), "agent_bank".into()];
                d.agencies[4].roles.clear();
            },
            "cannot be four different agencies",
        );
    }

    #[test]
    fn development_needs_one_authority_and_no_money_roles() {
        let mut document = document();
        document.development = true;
        document.test_keys = true;
        document.agencies.truncate(1);
        assert_eq!(Genesis::parse(&document.to_bytes().unwrap()).unwrap().set.members.len(), 1);
        document.agencies[0].node = None;
        let fault = Genesis::parse(&document.to_bytes().unwrap()).expect_err("no authority");
        assert_eq!(fault, GenesisFault::TooFewAuthorities { have: 0, need: 1 });
    }
}
