//! Files that people write: genesis and its proofs, seeds, and the tables that are imported.

use mingzhang_client::import::map::Map;
use mingzhang_client::import::row::Reading;
use mingzhang_client::import::{donations, grants, payments, permits};
use mingzhang_genesis::Genesis;
use mingzhang_genesis::possession::Proofs;
use mingzhang_ledger::crypto::sha256;
use mingzhang_seeds::{Address, Host, Peer, Seeds};

use super::fixture;

pub fn genesis(bytes: &[u8]) {
    if let Ok(genesis) = Genesis::parse(bytes) {
        assert_eq!(genesis.hash, sha256(&[bytes]), "a network is named by the bytes of its genesis");
        assert!(genesis.set.quorum() > 0, "somebody decides");
    }
    if let Ok(proofs) = Proofs::parse(bytes) {
        drop(proofs.check_complete(&fixture().chain.genesis));
    }
}

pub fn genesis_files() -> Vec<Vec<u8>> {
    let genesis = &fixture().chain.genesis;
    let proofs = Proofs::new(genesis, Vec::new()).to_bytes().expect("proofs have a JSON form");
    vec![genesis.bytes.clone(), proofs]
}

pub fn seeds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(seeds) = Seeds::parse(text) {
        assert_eq!(Seeds::parse(&seeds.to_text()).as_ref(), Ok(&seeds), "what is written is what was read");
    }
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string(), text, "an address has one spelling");
    }
}

pub fn seeds_files() -> Vec<Vec<u8>> {
    let genesis = &fixture().chain.genesis;
    let peers = genesis.set.members.iter().zip(8_442..).map(|(member, port)| Peer {
        agency: member.agency.clone(),
        peer_key: member.peer_key,
        addresses: vec![Address {
            host: Host::Dns(format!("{}.example.gov", member.agency)),
            port,
            quic: port % 2 == 0,
        }],
        observer: false,
    });
    let seeds = Seeds { genesis_hash: genesis.hash, peers: peers.collect() };
    vec![seeds.to_text().into_bytes(), b"/ip4/192.0.2.1/tcp/8442".to_vec(), b"/ip6/2001:db8::1/udp/1/quic-v1".to_vec()]
}

/// The first byte chooses format and mode, the rest is the file.
pub fn importers(bytes: &[u8]) {
    let Some((choice, file)) = bytes.split_first() else { return };
    let map = Map::default();
    let reading = Reading { name: "file", map: &map, strict: choice & 4 != 0 };
    let claims = match choice & 3 {
        0 => grants::read(file, &reading),
        1 => payments::read(file, &reading),
        2 => donations::read(file, &reading),
        _ => permits::read(file, &reading),
    };
    // One claim a row or grant at most: nothing is made up.
    let most = file.iter().filter(|byte| matches!(byte, b'\n' | b'\r' | b'{')).count();
    assert!(claims.map_or(0, |claims| claims.len()) <= most, "more claims than rows");
}

pub fn imports() -> Vec<Vec<u8>> {
    let grants = br#"{"grants":[{"id":"360G-x-1","title":"Roof","currency":"GBP","amountAwarded":1200.5,"awardDate":"2020-01-31",
        "fundingOrganization":[{"id":"GB-1","name":"Fund"}],"recipientOrganization":[{"id":"GB-2","name":"Hall"}]}]}"#;
    let payments = "id,date,payer,payee,amount,currency,contract\nP1,2020-01-31,Works,Hall,\"1,200.50\",GBP,C1\nP2,2020-02-01,Works,Hall,-200.50,GBP,C1\n";
    let donations = "id,date,amount,currency,donor,campaign\nD1,31/01/2020,10.00,CNY,someone,flood\n";
    let permits = "id,matter,applied,decided,issued,status\nB1,building,2020-01-01,2020-02-01,2020-02-03,issued\n";
    [(0u8, &grants[..]), (1, payments.as_bytes()), (2, donations.as_bytes()), (3, permits.as_bytes())]
        .iter()
        .flat_map(|(format, file)| [[&[*format][..], file].concat(), [&[*format | 4][..], file].concat()])
        .collect()
}
