//! A small valid genesis for the tests of this crate.

use mingzhang_ledger::crypto::SigningKey;

use crate::document::{Admin, Agency, Document, FORMAT, Key, Node, Numbers, Person, Recovery};

/// The private key with that number.
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn public(number: u8) -> Key {
    Key(key(number).public())
}

fn agency(position: u8, id: &str, roles: &[&str]) -> Agency {
    let first = position * 10;
    Agency {
        id: id.to_owned(),
        name: format!("{id} 局"),
        kind: "bureau".to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        admin_keys: (1..=2).map(|n| Admin { person: Person([first + n; 16]), key: public(first + n) }).collect(),
        officers: Vec::new(),
        node: Some(Node {
            consensus_key: public(first + 3),
            sealing_key: public(first + 4),
            peer_key: public(first + 5),
            url: format!("https://{id}.example.gov/"),
        }),
    }
}

/// Four authorities and a bank without a node.
pub fn document() -> Document {
    let mut bank = agency(5, "bank", &["agent_bank"]);
    bank.node = None;
    Document {
        format: FORMAT.to_owned(),
        name: "ledger.example.gov/main".to_owned(),
        suite: 1,
        development: false,
        test_keys: false,
        utc_offset_minutes: 480,
        currencies: vec!["CNY".to_owned()],
        consensus: Numbers::default(),
        rules: Numbers::default(),
        agencies: vec![
            agency(1, "finance", &["finance"]),
            agency(2, "civil", &["programme_owner", "window"]),
            agency(3, "audit", &["auditor"]),
            agency(4, "rural", &["supervisor", "programme_owner"]),
            bank,
        ],
        recovery: Recovery::default(),
        log_keys: Vec::new(),
    }
}

/// The sample file of this repository: a network with public test keys.
#[test]
fn the_sample_network_is_the_document_above() {
    let mut sample = document();
    sample.development = true;
    sample.test_keys = true;
    assert_eq!(include_bytes!("../networks/sample.json").as_slice(), sample.to_bytes().unwrap());
}
