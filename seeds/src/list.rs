//! The list itself: one file per network, written by hand or by `genesis seal`.

use std::collections::BTreeSet;

use mingzhang_ledger::authority::{AuthoritySet, Member};
use mingzhang_ledger::crypto::{Hash, PublicKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::{Address, AddressFault};

/// Largest seeds file that is read.
pub const MAX_SEEDS_BYTES: usize = 1024 * 1024;
/// Most addresses of one peer.
pub const MAX_ADDRESSES: usize = 16;

/// A list of peers whose form was checked; [`Seeds::check`] ties it to a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds {
    pub genesis_hash: Hash,
    pub peers: Vec<Peer>,
}

/// An agency's node and where it may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub agency: String,
    /// Ed25519 key of the libp2p identity.
    pub peer_key: PublicKey,
    pub addresses: Vec<Address>,
    /// Follows without a seat; `agency` is then only what it is called.
    pub observer: bool,
}

/// Why a list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SeedsFault {
    #[error("seeds file has {0} bytes, at most {MAX_SEEDS_BYTES} are read")]
    TooLarge(usize),
    #[error("line {line}, column {column}: {reason}")]
    Toml { line: usize, column: usize, reason: String },
    #[error("genesis_hash \"{0}\" is not sha256: and 64 lowercase hexadecimal digits")]
    GenesisHash(String),
    #[error("peer_key \"{key}\" of {agency} is not 64 lowercase hexadecimal digits")]
    PeerKey { agency: String, key: String },
    #[error("{agency}: {fault}")]
    Address { agency: String, fault: AddressFault },
    #[error("{agency} has {count} addresses, 1 to {MAX_ADDRESSES} are allowed")]
    Addresses { agency: String, count: usize },
    #[error("{what} \"{value}\" appears twice")]
    Twice { what: &'static str, value: String },
    #[error("seeds are for the network with genesis {seeds}, this one has {genesis}")]
    OtherNetwork { seeds: String, genesis: String },
    #[error("{0} is no member of the authority set")]
    NoMember(String),
    #[error("{0} is an observer in the seeds and a member of the authority set")]
    ObserverIsMember(String),
    #[error("peer_key of {agency} is {seeds}, the authority set has {set}")]
    OtherKey { agency: String, seeds: String, set: String },
    #[error("the list has no address of {0}, a member of the authority set")]
    NoAddress(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    genesis_hash: String,
    #[serde(default)]
    peers: Vec<WrittenPeer>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPeer {
    agency: String,
    peer_key: String,
    addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    observer: bool,
}

impl Seeds {
    /// Reads a list and checks its form.
    pub fn parse(text: &str) -> Result<Self, SeedsFault> {
        if text.len() > MAX_SEEDS_BYTES {
            return Err(SeedsFault::TooLarge(text.len()));
        }
        let written: Written = toml::from_str(text).map_err(|error| toml_fault(text, &error))?;
        let genesis_hash = written
            .genesis_hash
            .strip_prefix("sha256:")
            .and_then(parse_hex)
            .ok_or_else(|| SeedsFault::GenesisHash(written.genesis_hash.clone()))?;
        let peers = written.peers.into_iter().map(read_peer).collect::<Result<Vec<_>, _>>()?;
        let (mut agencies, mut keys, mut addresses) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for peer in &peers {
            if !agencies.insert(&peer.agency) {
                return Err(SeedsFault::Twice { what: "agency", value: peer.agency.clone() });
            }
            if !keys.insert(peer.peer_key) {
                return Err(SeedsFault::Twice { what: "peer_key", value: hex::encode(peer.peer_key.0) });
            }
            for address in &peer.addresses {
                if !addresses.insert(address) {
                    return Err(SeedsFault::Twice { what: "address", value: address.to_string() });
                }
            }
        }
        Ok(Self { genesis_hash, peers })
    }

    /// The file, as [`Seeds::parse`] reads it.
    pub fn to_text(&self) -> String {
        let peers = self.peers.iter().map(|peer| WrittenPeer {
            agency: peer.agency.clone(),
            peer_key: hex::encode(peer.peer_key.0),
            addresses: peer.addresses.iter().map(ToString::to_string).collect(),
            observer: peer.observer,
        });
        let written =
            Written { genesis_hash: format!("sha256:{}", hex::encode(self.genesis_hash)), peers: peers.collect() };
        // Strings and lists of strings always have a TOML form.
        toml::to_string(&written).unwrap_or_default()
    }

    /// Whether the list belongs to this network.
    pub fn check_network(&self, genesis_hash: &Hash) -> Result<(), SeedsFault> {
        if self.genesis_hash != *genesis_hash {
            let (seeds, genesis) = (hex::encode(self.genesis_hash), hex::encode(genesis_hash));
            return Err(SeedsFault::OtherNetwork { seeds, genesis });
        }
        Ok(())
    }

    /// The first agency under whose name the list has a key that none of these members has any more: its address is of no
    /// use. Then the first member without an address. Whoever has left, and observers, may stand in it.
    pub fn outdated(&self, members: &[Member]) -> Option<SeedsFault> {
        let replaced = self.peers.iter().find_map(|peer| {
            let mut known = members.iter().filter(|member| member.agency == peer.agency);
            let newest = known.clone().next_back()?;
            known.all(|member| member.peer_key != peer.peer_key).then(|| SeedsFault::OtherKey {
                agency: peer.agency.clone(),
                seeds: hex::encode(peer.peer_key.0),
                set: hex::encode(newest.peer_key.0),
            })
        });
        let is_named =
            |member: &&Member| self.peers.iter().any(|peer| peer.agency == member.agency && !peer.addresses.is_empty());
        let absent = || members.iter().find(|member| !is_named(member));
        replaced.or_else(|| absent().map(|member| SeedsFault::NoAddress(member.agency.clone())))
    }

    /// Whether the list belongs to this network and names the keys of this authority set.
    pub fn check(&self, genesis_hash: &Hash, set: &AuthoritySet) -> Result<(), SeedsFault> {
        self.check_network(genesis_hash)?;
        for peer in &self.peers {
            let member = set.members.iter().find(|member| member.agency == peer.agency);
            let member = match (member, peer.observer) {
                (Some(member), false) => member,
                (Some(_), true) => return Err(SeedsFault::ObserverIsMember(peer.agency.clone())),
                (None, false) => return Err(SeedsFault::NoMember(peer.agency.clone())),
                (None, true) => continue,
            };
            if member.peer_key != peer.peer_key {
                return Err(SeedsFault::OtherKey {
                    agency: peer.agency.clone(),
                    seeds: hex::encode(peer.peer_key.0),
                    set: hex::encode(member.peer_key.0),
                });
            }
        }
        Ok(())
    }
}

/// One sentence without the excerpt that a parser draws over several lines.
fn toml_fault(text: &str, error: &toml::de::Error) -> SeedsFault {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
    SeedsFault::Toml {
        line: before.matches('\n').count().saturating_add(1),
        column: before.get(start..).map_or(0, |line| line.chars().count()).saturating_add(1),
        reason: error.message().split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

fn read_peer(written: WrittenPeer) -> Result<Peer, SeedsFault> {
    let WrittenPeer { agency, peer_key, addresses, observer } = written;
    let key = parse_hex(&peer_key).ok_or_else(|| SeedsFault::PeerKey { agency: agency.clone(), key: peer_key })?;
    // An observer may be one that only dials.
    if (addresses.is_empty() && !observer) || addresses.len() > MAX_ADDRESSES {
        return Err(SeedsFault::Addresses { agency, count: addresses.len() });
    }
    let addresses = addresses
        .iter()
        .map(|text| text.parse().map_err(|fault| SeedsFault::Address { agency: agency.clone(), fault }))
        .collect::<Result<_, _>>()?;
    Ok(Peer { agency, peer_key: PublicKey(key), addresses, observer })
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    hex::decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mingzhang_ledger::authority::Parameters;

    fn text() -> String {
        let peer = |agency: &str, byte: u8| {
            format!(
                "[[peers]]\nagency = \"{agency}\"\npeer_key = \"{}\"\naddresses = [\"/ip4/192.0.2.{byte}/tcp/8442\"]\n",
                hex::encode([byte; 32])
            )
        };
        format!("genesis_hash = \"sha256:{}\"\n{}{}", hex::encode([7; 32]), peer("finance", 1), peer("civil", 2))
    }

    fn set() -> AuthoritySet {
        let member = |agency: &str, byte: u8| Member {
            agency: agency.into(),
            consensus_key: PublicKey([byte + 100; 32]),
            sealing_key: PublicKey([byte + 200; 32]),
            peer_key: PublicKey([byte; 32]),
            url: "https://example.gov/".into(),
        };
        AuthoritySet {
            epoch: 0,
            parameters: Parameters::default(),
            members: vec![member("civil", 2), member("finance", 1)],
        }
    }

    fn refused(from: &str, to: &str, expected: &str) {
        assert!(text().contains(from), "{from}");
        let checked = Seeds::parse(&text().replacen(from, to, 1)).and_then(|seeds| seeds.check(&[7; 32], &set()));
        let fault = checked.expect_err(expected).to_string();
        assert!(fault.contains(expected), "{fault}");
    }

    #[test]
    fn reads_what_it_writes() {
        let seeds = Seeds::parse(&text()).unwrap();
        assert_eq!(seeds.check(&[7; 32], &set()), Ok(()));
        assert_eq!(Seeds::parse(&seeds.to_text()), Ok(seeds));
        let observer = format!(
            "[[peers]]\nagency = \"press\"\nobserver = true\naddresses = []\npeer_key = \"{}\"\n",
            "09".repeat(32)
        );
        let seeds = Seeds::parse(&(text() + &observer)).unwrap();
        assert_eq!(seeds.check(&[7; 32], &set()), Ok(()));
        assert_eq!(Seeds::parse(&seeds.to_text()), Ok(seeds));
    }

    #[test]
    fn a_key_that_was_replaced_is_outdated_once_no_set_names_it() {
        let seeds = Seeds::parse(&text()).unwrap();
        assert_eq!(seeds.outdated(&set().members), None);
        let mut next = set().members;
        next[0].peer_key = PublicKey([9; 32]);
        let both = [set().members, next.clone()].concat();
        assert_eq!(seeds.outdated(&both), None, "agreed, and not yet so");
        let fault = seeds.outdated(&next).expect("outdated").to_string();
        assert!(fault.contains("peer_key of civil is 02") && fault.contains("the authority set has 09"), "{fault}");
        assert_eq!(seeds.outdated(&next[1..]), None, "civil has left");
        let fewer = Seeds { peers: seeds.peers[1..].to_vec(), ..seeds.clone() };
        assert_eq!(fewer.outdated(&set().members), Some(SeedsFault::NoAddress("finance".into())));
        assert!(Seeds { peers: Vec::new(), ..seeds }.outdated(&set().members).is_some(), "it names nobody");
    }

    #[test]
    fn refuses_what_does_not_fit() {
        refused("genesis_hash", "hash = 1\ngenesis_hash", "line 1, column 1: unknown field `hash`");
        refused("peer_key = ", "peer_key 3", "line 4, column 10: ");
        refused("sha256:", "", "is not sha256:");
        refused("sha256:07", "sha256:08", "seeds are for the network with genesis 08");
        refused("agency = \"civil\"", "agency = \"finance\"", "agency \"finance\" appears twice");
        refused("agency = \"civil\"", "agency = \"bank\"", "bank is no member");
        refused(
            "agency = \"civil\"",
            "agency = \"civil\"\nobserver = true",
            "civil is an observer in the seeds and a member",
        );
        refused("peer_key = \"01", "peer_key = \"02", "peer_key of finance is 02");
        refused("peer_key = \"01", "peer_key = \"", "is not 64 lowercase");
        refused("[\"/ip4/192.0.2.1/tcp/8442\"]", "[]", "finance has 0 addresses");
        refused("192.0.2.1/", "192.0.2.2/", "address \"/ip4/192.0.2.2/tcp/8442\" appears twice");
        refused("/tcp/8442", ":8442", "is not an address like");
        let twice = hex::encode([1; 32]);
        refused(&hex::encode([2; 32]), &twice, &format!("peer_key \"{twice}\" appears twice"));
    }
}
