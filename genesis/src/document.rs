//! The genesis file as it is written: strict JSON, unknown and repeated keys refused. What a document must fulfil
//! beyond its form is in `check`.

use std::collections::BTreeMap;
use std::fmt;

use mingzhang_ledger::crypto::PublicKey;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The one format that this program reads.
pub const FORMAT: &str = "mingzhang/genesis/v1";

/// Everything that the founders agree on. Its exact bytes are hashed; the hash is the network's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub format: String,
    /// Host and path, for instance `ledger.example.gov/main`.
    pub name: String,
    /// Cryptographic suite; 1 is Ed25519 with SHA-256.
    pub suite: u64,
    /// Permits fewer than four authorities and organisations without the roles that money needs.
    #[serde(default)]
    pub development: bool,
    /// The private keys are public knowledge or lie in clear: the network is good for tests only.
    #[serde(default)]
    pub test_keys: bool,
    /// Where calendar days begin: minutes east of UTC.
    pub utc_offset_minutes: i64,
    /// ISO 4217 codes that programmes may use.
    pub currencies: Vec<String>,
    /// Consensus parameters that differ from their defaults.
    #[serde(default)]
    pub consensus: Numbers,
    /// Rule parameters that differ from their defaults.
    #[serde(default)]
    pub rules: Numbers,
    /// The founders. Those with a node are the authorities of epoch 0, in this order.
    pub agencies: Vec<Agency>,
    /// Who may found a new epoch after more than a third of the authorities are lost for good.
    #[serde(default)]
    pub recovery: Recovery,
    /// Keys of publishing gateways; they carry no trust in our verifiers.
    #[serde(default)]
    pub log_keys: Vec<HeldKey>,
}

/// A registered organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agency {
    /// Short name: lowercase letters, digits and hyphens.
    pub id: String,
    pub name: String,
    pub kind: String,
    /// All roles that its officers may ever hold.
    pub roles: Vec<String>,
    /// The two persons who register its officers.
    pub admin_keys: Vec<Admin>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub officers: Vec<Officer>,
    /// Absent for an organisation that is registered and runs no node, for instance a bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
}

/// One of the two administrators of an agency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    pub person: Person,
    pub key: Key,
}

/// An officer who may act from the first block on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Officer {
    pub person: Person,
    pub key: Key,
    pub roles: Vec<Role>,
}

/// A role and the largest amount that it covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    pub role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_minor: Option<u64>,
}

/// The seat of an authority. Addresses change and stand in the seeds file instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub consensus_key: Key,
    pub sealing_key: Key,
    /// Ed25519 key of the libp2p identity.
    pub peer_key: Key,
    /// Where the agency's API is published.
    pub url: String,
}

/// `threshold` of these keys sign a recovery manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    pub threshold: u64,
    pub keys: Vec<HeldKey>,
}

/// A key and the agency that proves to hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldKey {
    pub agency: String,
    pub key: Key,
}

/// What a key of the document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    Admin,
    Officer,
    Consensus,
    Sealing,
    Peer,
    Recovery,
    Log,
}

impl KeyUse {
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Officer => "officer",
            Self::Consensus => "consensus",
            Self::Sealing => "sealing",
            Self::Peer => "peer",
            Self::Recovery => "recovery",
            Self::Log => "log",
        }
    }
}

/// A key of the document, who holds it and what for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlacedKey {
    pub agency: String,
    pub use_of_key: KeyUse,
    pub key: PublicKey,
}

impl Document {
    /// All keys, agency by agency in the order of the document, then recovery and log keys.
    pub fn keys(&self) -> Vec<PlacedKey> {
        let mut keys: Vec<PlacedKey> = self.agencies.iter().flat_map(Agency::keys).collect();
        for (use_of_key, held) in [(KeyUse::Recovery, &self.recovery.keys), (KeyUse::Log, &self.log_keys)] {
            let place = |held: &HeldKey| PlacedKey { agency: held.agency.clone(), use_of_key, key: held.key.0 };
            keys.extend(held.iter().map(place));
        }
        keys
    }

    /// The keys that stand in the name of one agency, recovery and log keys too.
    pub fn keys_of(&self, agency: &str) -> Vec<PlacedKey> {
        self.keys().into_iter().filter(|place| place.agency == agency).collect()
    }

    /// The file that `genesis assemble` writes. Whoever formats it otherwise founds another network.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

impl Agency {
    /// The keys of its administrators, officers and node.
    pub fn keys(&self) -> Vec<PlacedKey> {
        let place = |use_of_key, key: Key| PlacedKey { agency: self.id.clone(), use_of_key, key: key.0 };
        let mut keys: Vec<PlacedKey> = self.admin_keys.iter().map(|admin| place(KeyUse::Admin, admin.key)).collect();
        keys.extend(self.officers.iter().map(|officer| place(KeyUse::Officer, officer.key)));
        if let Some(node) = &self.node {
            keys.push(place(KeyUse::Consensus, node.consensus_key));
            keys.push(place(KeyUse::Sealing, node.sealing_key));
            keys.push(place(KeyUse::Peer, node.peer_key));
        }
        keys
    }
}

/// A public key, written as 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub PublicKey);

/// A person's pseudonym, written as 32 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Person(pub [u8; 16]);

/// Reads exactly `N` bytes of lowercase hexadecimal, so that one value has one spelling.
pub(crate) fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    hex::decode(text).ok()?.try_into().ok()
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0.0))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = parse_hex(&text)
            .ok_or_else(|| D::Error::custom(format!("\"{text}\" is not a key of 64 lowercase hexadecimal digits")))?;
        Ok(Self(PublicKey(bytes)))
    }
}

impl Serialize for Person {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Person {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_hex(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("\"{text}\" is not a person of 32 lowercase hexadecimal digits")))
    }
}

/// Named numbers, each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Numbers(pub BTreeMap<String, u64>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NumbersVisitor).map(Self)
    }
}

struct NumbersVisitor;

impl<'de> Visitor<'de> for NumbersVisitor {
    type Value = BTreeMap<String, u64>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("names with whole numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut numbers = BTreeMap::new();
        while let Some((name, value)) = access.next_entry::<String, u64>()? {
            if numbers.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format!("\"{name}\" is named twice")));
            }
        }
        Ok(numbers)
    }
}
