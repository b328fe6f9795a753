//! The simulated network's founders: seven agencies with their officers and keys, four of which have a seat at first.

use mingzhang_genesis::Genesis;
use mingzhang_genesis::document::{
    Admin, Agency, Document, FORMAT, Key, Node, Numbers, Officer, Person, Recovery, Role,
};
use mingzhang_ledger::crypto::{SigningKey, sha256};
use mingzhang_node::store::Foundation;

/// Ids of the agencies; one node of each takes part, with a seat or without.
pub const AGENCIES: [&str; 7] = ["finance", "civil", "bank", "super", "town", "audit", "rural"];
/// The first so many have a seat at genesis.
pub const FOUNDERS: usize = 4;
/// Virtual time at which everything begins, milliseconds since 1970.
pub const START_MS: u64 = 1_780_272_000_000;
/// Longest wait between a vote that passes and its effect.
pub const NOTICE_MS: u64 = 2_000;
const ROLES: [&[&str]; 7] = [
    &["finance"],
    &["programme_owner", "window"],
    &["agent_bank"],
    &["supervisor"],
    &["window"],
    &["auditor"],
    &["window"],
];

/// What every node of the network starts from.
pub struct Network {
    pub genesis: Genesis,
    pub foundation: Foundation,
}

/// The private key of that name: `civil/officer1`, `civil/admin1`, `civil/consensus/0`, `civil/sealing/2`.
pub fn secret(name: &str) -> SigningKey {
    SigningKey::from_seed(&sha256(&[b"simulated ", name.as_bytes()]))
}

/// A node's keys change when its agency comes back to a seat: those of an earlier epoch never return.
pub fn consensus_key(agency: &str, generation: u64) -> SigningKey {
    secret(&format!("{agency}/consensus/{generation}"))
}

pub fn peer_key(agency: &str, generation: u64) -> SigningKey {
    secret(&format!("{agency}/peer/{generation}"))
}

pub fn sealing_key(agency: &str, epoch: u64) -> SigningKey {
    secret(&format!("{agency}/sealing/{epoch}"))
}

fn public(name: &str) -> Key {
    Key(secret(name).public())
}

fn person(name: &str) -> Person {
    let digest = sha256(&[b"person ", name.as_bytes()]);
    Person(*digest.first_chunk().expect("a digest is longer"))
}

fn agency(index: usize) -> Agency {
    let (id, roles) = (AGENCIES[index], ROLES[index]);
    let admin = |label: &str| Admin { person: person(&format!("{id}/{label}")), key: public(&format!("{id}/{label}")) };
    let officer = |label: &str| Officer {
        person: person(&format!("{id}/{label}")),
        key: public(&format!("{id}/{label}")),
        roles: roles.iter().map(|role| Role { role: (*role).to_owned(), max_minor: None }).collect(),
    };
    Agency {
        id: id.to_owned(),
        name: format!("{id} 局"),
        kind: "bureau".to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        admin_keys: vec![admin("admin1"), admin("admin2")],
        officers: vec![officer("officer1"), officer("officer2")],
        node: (index < FOUNDERS).then(|| Node {
            consensus_key: Key(consensus_key(id, 0).public()),
            sealing_key: Key(sealing_key(id, 0).public()),
            peer_key: Key(peer_key(id, 0).public()),
            url: format!("https://{id}.example.gov/"),
        }),
    }
}

impl Network {
    pub fn found() -> Self {
        let rules = [("parameter_notice".to_owned(), NOTICE_MS)];
        let document = Document {
            format: FORMAT.to_owned(),
            name: "ledger.example.gov/simulated".to_owned(),
            suite: 1,
            development: true,
            test_keys: true,
            utc_offset_minutes: 480,
            currencies: vec!["CNY".to_owned()],
            consensus: Numbers::default(),
            rules: Numbers(rules.into()),
            agencies: (0..AGENCIES.len()).map(agency).collect(),
            recovery: Recovery::default(),
            log_keys: Vec::new(),
        };
        let genesis = Genesis::parse(&document.to_bytes().expect("a document is JSON")).expect("a valid genesis");
        let foundation = Foundation::of(&genesis.founding).expect("the genesis founds a state");
        Self { genesis, foundation }
    }
}
