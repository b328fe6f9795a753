//! A small network for the tests of this crate: four agencies with known keys, their genesis, and signed records.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use curve25519_dalek::scalar::{Scalar, clamp_integer};
use mingzhang_genesis::Genesis;
use mingzhang_genesis::document::{
    Admin, Agency, Document, FORMAT, Key, Node, Numbers, Officer, Person, Recovery, Role,
};
use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::SigningKey;
use mingzhang_ledger::transaction::{Payload, Transaction};
use mingzhang_seeds::{Address, Host, Peer, Seeds};
use sha2::{Digest as _, Sha512};

use crate::config::Config;
use crate::keyring::Keyring;
use crate::keys::NodeKeys;

/// Ids of the agencies, in turn order.
pub const AGENCIES: [&str; 4] = ["finance", "civil", "audit", "rural"];

/// What a private key of an agency is for; the discriminant is part of its seed.
#[derive(Debug, Clone, Copy)]
pub enum KeyOf {
    Admin1 = 1,
    Admin2 = 2,
    Officer = 3,
    Consensus = 4,
    Sealing = 5,
    Peer = 6,
}

pub fn key(agency: usize, of: KeyOf) -> SigningKey {
    let mut seed = [of as u8; 32];
    seed[0] = u8::try_from(agency).expect("few agencies");
    SigningKey::from_seed(&seed)
}

fn public(agency: usize, of: KeyOf) -> Key {
    Key(key(agency, of).public())
}

fn person(agency: usize, number: u8) -> Person {
    let mut person = [number; 16];
    person[0] = u8::try_from(agency).expect("few agencies");
    Person(person)
}

fn agency(index: usize, roles: &[&str]) -> Agency {
    let role = |role: &&str| Role { role: (*role).to_owned(), max_minor: None };
    Agency {
        id: AGENCIES[index].to_owned(),
        name: format!("{} 局", AGENCIES[index]),
        kind: "bureau".to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        admin_keys: vec![
            Admin { person: person(index, 1), key: public(index, KeyOf::Admin1) },
            Admin { person: person(index, 2), key: public(index, KeyOf::Admin2) },
        ],
        officers: vec![Officer {
            person: person(index, 3),
            key: public(index, KeyOf::Officer),
            roles: roles.iter().map(role).collect(),
        }],
        node: Some(Node {
            consensus_key: public(index, KeyOf::Consensus),
            sealing_key: public(index, KeyOf::Sealing),
            peer_key: public(index, KeyOf::Peer),
            url: format!("https://{}.example.gov/", AGENCIES[index]),
        }),
    }
}

pub fn genesis() -> Genesis {
    let document = Document {
        format: FORMAT.to_owned(),
        name: "ledger.example.gov/test".to_owned(),
        suite: 1,
        development: true,
        test_keys: true,
        utc_offset_minutes: 480,
        currencies: vec!["CNY".to_owned()],
        consensus: Numbers::default(),
        rules: Numbers::default(),
        agencies: vec![
            agency(0, &["finance"]),
            agency(1, &["programme_owner", "window"]),
            agency(2, &["auditor"]),
            agency(3, &["supervisor"]),
        ],
        recovery: Recovery::default(),
        log_keys: Vec::new(),
    };
    Genesis::parse(&document.to_bytes().expect("a document is JSON")).expect("a valid genesis")
}

pub fn keys(agency: usize) -> NodeKeys {
    NodeKeys {
        consensus: Some(key(agency, KeyOf::Consensus)),
        sealing: Keyring::of(key(agency, KeyOf::Sealing)),
        peer: key(agency, KeyOf::Peer),
    }
}

/// A record of the agency's officer that anchors a document.
pub fn anchor(genesis: &Genesis, agency: usize, number: u32, expires_at: u64) -> Transaction {
    let mut record_id = [0; 16];
    record_id[..4].copy_from_slice(b"DOC-");
    record_id[4..8].copy_from_slice(format!("{number:04}").as_bytes().get(..4).expect("four digits"));
    let mut root = [0; 32];
    root[..4].copy_from_slice(&number.to_be_bytes());
    let payload = Payload {
        origin: genesis.origin.as_str().into(),
        record_type: "document_anchor".into(),
        record_id,
        agency: AGENCIES[agency].into(),
        expires_at,
        body: Value::text_map([("kind", Value::text("minutes")), ("root", Value::bytes(&root))]),
    };
    Transaction::sign(&payload, &key(agency, KeyOf::Officer)).expect("a small record")
}

/// The same record with another signature of this key whose equation holds, though its R is not encoded canonically: the
/// neutral element as y = p + 1.
pub fn with_another_r(record: &Transaction, key: &SigningKey) -> Transaction {
    let r = [&[0xee], [0xff; 30].as_slice(), &[0x7f]].concat();
    let expanded: [u8; 64] = Sha512::digest(key.seed()).into();
    let secret = clamp_integer(*expanded.first_chunk().expect("64 bytes"));
    let challenge = Sha512::new().chain_update(&r).chain_update(key.public().0).chain_update(record.signed_bytes());
    let s = Scalar::from_bytes_mod_order_wide(&challenge.finalize().into()) * Scalar::from_bytes_mod_order(secret);
    let mut bytes = record.bytes().to_vec();
    bytes.truncate(bytes.len() - 64);
    bytes.extend(r);
    bytes.extend(s.to_bytes());
    Transaction::decode(&bytes).expect("still well formed")
}

/// Loopback ports that were free a moment ago.
pub fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    let listeners: Vec<TcpListener> = (0..count).map(bind).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("a bound address").port()).collect()
}

/// Seeds that name the four agencies at these ports.
pub fn seeds(genesis: &Genesis, ports: &[u16]) -> Seeds {
    let peer = |(index, port): (usize, &u16)| Peer {
        agency: AGENCIES[index].to_owned(),
        peer_key: key(index, KeyOf::Peer).public(),
        addresses: vec![Address { host: Host::Ip4([127, 0, 0, 1].into()), port: *port, quic: false }],
        observer: false,
    };
    Seeds { genesis_hash: genesis.hash, peers: ports.iter().take(AGENCIES.len()).enumerate().map(peer).collect() }
}

pub fn config(agency: &str, data: &Path, port: u16) -> Config {
    Config {
        agency: agency.to_owned(),
        data_directory: data.to_owned(),
        peer_listen: SocketAddr::from(([127, 0, 0, 1], port)),
        ..Config::default()
    }
}
