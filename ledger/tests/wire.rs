//! A vector for every wire type of this crate: fixed inputs, and the bytes that were decided once. Changing one is a
//! decision: MINGZHANG_WRITE_VECTORS=1 writes the file anew.

// Tests read and write files; the crate does not.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::Path;

use mingzhang_ledger::authority::{AuthoritySet, Member, Parameters};
use mingzhang_ledger::batch::{Batch, LanePosition, batch_bytes, batches_digest, batches_preimage};
use mingzhang_ledger::certificate::{FinalCert, KeyRole, Signers, admit_bytes, confirm_bytes, possess_bytes};
use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::{Hash, Signature, SigningKey};
use mingzhang_ledger::entry::{genesis_entry, genesis_id, record_entry};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::merkle::{Frontier, empty_root, leaf_hash};
use mingzhang_ledger::proof::{Consistency, Passage, RecoveryProof};
use mingzhang_ledger::recovery::{EndedEpoch, RecoveryKeys, RecoveryManifest, SignedManifest};
use mingzhang_ledger::seal::{Checkpoint, Note, Seal, log_key_text, log_line, policy, prove_possession, seal_key_text};
use mingzhang_ledger::state::memory::MemoryState;
use mingzhang_ledger::state::tree::{SENTINEL, leaf_bytes};
use mingzhang_ledger::state::{Stored, key, trail_entry};
use mingzhang_ledger::transaction::{Payload, Transaction};

const ORIGIN: &str = "ledger.example.gov/main-2077b1fc4e5bd311";

type Vectors = BTreeMap<String, String>;

fn secret(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn put(vectors: &mut Vectors, name: &str, bytes: impl AsRef<[u8]>) {
    assert!(vectors.insert(name.to_owned(), hex::encode(bytes)).is_none(), "{name} twice");
}

fn set() -> AuthoritySet {
    let member = |(number, agency): (u8, &str)| Member {
        agency: agency.to_owned(),
        consensus_key: secret(number).public(),
        sealing_key: secret(number + 10).public(),
        peer_key: secret(number + 20).public(),
        url: format!("https://{agency}.ledger.example.gov/"),
    };
    let members = (1..).zip(["finance", "civil", "audit", "rural"]).map(member).collect();
    AuthoritySet { epoch: 3, parameters: Parameters::default(), members }
}

fn transaction() -> Transaction {
    let payload = Payload {
        origin: ORIGIN.into(),
        record_type: "document_anchor".into(),
        record_id: key::parse_id("DOC-2026-0381").expect("a name"),
        agency: "civil".into(),
        expires_at: 1_780_272_000_000,
        body: Value::text_map([
            ("kind", Value::text("minutes")),
            ("root", Value::bytes(&[7; 32])),
            ("evidence", Value::Array(vec![Value::Null, Value::Bool(true), Value::Int(-5), Value::Uint(1 << 33)])),
        ]),
    };
    Transaction::sign(&payload, &secret(40)).expect("a transaction")
}

fn header(set: &AuthoritySet) -> Header {
    Header {
        height: 18_204,
        epoch: 3,
        turn: 9_000,
        parent_turn: 8_998,
        proposer: 2,
        time_ms: 1_780_272_000_123,
        first_index: 181,
        entry_count: 1,
        log_root: [1; 32],
        state_root: [2; 32],
        parent: [3; 32],
        batches: [4; 32],
        set_hash: set.hash(),
        next_set_hash: set.hash(),
        state_size: 977,
    }
}

fn entries(vectors: &mut Vectors, chain: &Hash) {
    let transaction = transaction();
    let header = header(&set());
    put(vectors, "transaction", transaction.bytes());
    put(vectors, "transaction.payload", transaction.payload().encode());
    put(vectors, "transaction.signed", transaction.signed_bytes());
    put(vectors, "transaction.id", transaction.id());
    put(vectors, "transaction.key_id", transaction.key_id());
    put(vectors, "entry.genesis", genesis_entry(chain));
    put(vectors, "entry.genesis.hash", genesis_id(chain));
    put(vectors, "entry.record", record_entry(3201, transaction.bytes()));
    put(vectors, "entry.record.hash", leaf_hash(&record_entry(3201, transaction.bytes())));
    put(vectors, "header", header.encode());
    put(vectors, "header.id", header.id());
}

fn batches(vectors: &mut Vectors, chain: &Hash) {
    let transaction = transaction();
    let mut payload = u32::try_from(transaction.bytes().len()).expect("small").to_be_bytes().to_vec();
    payload.extend_from_slice(transaction.bytes());
    let mut batch = Batch { epoch: 3, author: 1, run: 2, seq: 5, payload, signature: Signature([0; 64]) };
    batch.signature = secret(1).sign(&batch.signed_bytes(chain));
    let reference = batch.reference(10);
    let mut encoded = Vec::new();
    reference.encode_into(&mut encoded);
    let positions = [LanePosition { run: 2, next_seq: 6 }, LanePosition::default()];
    put(vectors, "batch", batch.encode());
    put(vectors, "batch.signed", batch_bytes(chain, 3, 1, (2, 5), &batch.hash()));
    put(vectors, "batch.reference", encoded);
    put(vectors, "batches.preimage", batches_preimage(&positions, &[reference]));
    put(vectors, "batches", batches_digest(&positions, &[reference]));
}

fn certificates(vectors: &mut Vectors, chain: &Hash) {
    let set = set();
    let block = header(&set).id();
    let message = confirm_bytes(chain, 3, 9_000, 18_204, &block);
    let signers = Signers::new([0, 1, 3].map(|index: u8| (u16::from(index), secret(index + 1).sign(&message))));
    let certificate = FinalCert { epoch: 3, turn: 9_000, height: 18_204, block, signers };
    assert_eq!(certificate.verify(chain, &header(&set), &set), Ok(()));
    put(vectors, "set", set.encode());
    put(vectors, "set.hash", set.hash());
    put(vectors, "confirm.signed", &message);
    put(vectors, "certificate.final", certificate.encode(4));
    put(vectors, "possess.signed", possess_bytes(chain, "civil", KeyRole::Officer, &secret(40).public()));
    put(vectors, "admit.signed", admit_bytes(chain, 3, 1, &transaction().id(), 1_780_272_000_000));
}

fn recovery(vectors: &mut Vectors, chain: &Hash) {
    let before = set();
    let mut next = AuthoritySet { epoch: 4, ..before.clone() };
    for (number, member) in (60..).zip(&mut next.members) {
        member.sealing_key = secret(number).public();
    }
    let base = header(&before);
    let base = Header { next_set_hash: base.set_hash, ..base };
    let manifest = RecoveryManifest { chain: *chain, base, set: next, reason: "two machine rooms burnt down".into() };
    let keys = RecoveryKeys {
        threshold: 2,
        keys: [70, 71, 72].map(|number| secret(number).public()).to_vec(),
        least_members: 4,
    };
    put(vectors, "recovery.manifest", manifest.encode());
    put(vectors, "recovery.signed", manifest.signed_bytes());
    let mut signed = SignedManifest::new(manifest);
    assert_eq!([70, 72].map(|number| signed.sign(&keys, &secret(number))), [Some(0), Some(2)]);
    let ended = EndedEpoch { set: &before, opened_by: &[0; 32] };
    assert!(signed.verify(&keys, chain, &ended).is_ok());
    put(vectors, "recovery", signed.encode());
    let passage = Passage::Recovery(RecoveryProof { recovery: signed.encode() });
    put(vectors, "recovery.proof", serde_json::to_vec(&passage).expect("JSON"));
}

fn trees(vectors: &mut Vectors) {
    put(vectors, "tree.0", empty_root());
    let leaves: Vec<Hash> = (0u8..9).map(|number| leaf_hash(&[number])).collect();
    for size in 1..=leaves.len() {
        put(vectors, &format!("tree.{size}"), Frontier::of(leaves.iter().take(size).copied()).root());
    }
    let trail = Frontier::of([leaf_hash(&trail_entry(181, &[5; 32])), leaf_hash(&trail_entry(190, &[6; 32]))]);
    put(vectors, "trail.entry", trail_entry(181, &[5; 32]));
    put(vectors, "trail.root", trail.root());
    let programme = key::record("civil", &key::parse_id("P-1").expect("a name"));
    let current = Value::map(vec![(Value::Uint(0), Value::Uint(181))]).encode();
    let stored = Stored { current: current.clone().into(), trail: Some(trail.into()) };
    put(vectors, "state.key", programme);
    put(vectors, "state.value", stored.leaf_value());
    put(vectors, "state.leaf", leaf_bytes(&programme, &SENTINEL, &stored.leaf_value()));
    let mut state = MemoryState::default();
    put(vectors, "state.root.genesis", state.apply(&BTreeMap::new()).expect("genesis").root);
    state.apply(&BTreeMap::from([(programme, stored)])).expect("one key");
    put(vectors, "state.root.one", state.root());
    let more = [key::agency("civil"), key::set_current(), key::rule("hold_expiry")];
    let more = more.map(|key| (key, Stored { current: current.clone().into(), trail: None }));
    state.apply(&BTreeMap::from(more)).expect("three keys");
    put(vectors, "state.root.four", state.root());
    let consistency = Consistency { from: 5, from_root: [1; 32], to: 9, path: vec![[2; 32], [3; 32]] };
    put(vectors, "consistency", serde_json::to_vec(&consistency).expect("JSON"));
}

fn seals(vectors: &mut Vectors) {
    let set = set();
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: 183, root: [9; 32] };
    let seal = |signer: u8| Seal::sign(&checkpoint, 3, u16::from(signer), 1_780_272_001, &secret(signer + 11));
    let log = secret(50);
    let note = Note::of(checkpoint.clone(), &set, &[log_line(&checkpoint, &log)], &[seal(0), seal(1), seal(3)]);
    assert!(note.check_quorum(ORIGIN, &set).is_ok());
    put(vectors, "checkpoint", checkpoint.text());
    put(vectors, "note", note.text());
    put(vectors, "seal", seal(0).encode());
    put(vectors, "seal.possession", prove_possession(ORIGIN, 1_780_272_001, &secret(11)));
    put(vectors, "key.log", log_key_text(ORIGIN, &log.public()));
    put(vectors, "key.seal", seal_key_text(ORIGIN, "finance", 3, &secret(11).public()));
    put(vectors, "policy", policy(ORIGIN, &[log.public()], &set, None));
}

#[test]
fn every_wire_type_has_the_bytes_that_were_decided() {
    let chain = [0x20; 32];
    let mut now = Vectors::new();
    entries(&mut now, &chain);
    batches(&mut now, &chain);
    certificates(&mut now, &chain);
    recovery(&mut now, &chain);
    trees(&mut now);
    seals(&mut now);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/wire.json");
    if std::env::var_os("MINGZHANG_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&now).expect("JSON") + "\n";
        std::fs::write(&file, text).expect("the vectors are written");
    }
    let decided: Vectors =
        serde_json::from_slice(&std::fs::read(&file).expect("tests/vectors/wire.json")).expect("JSON");
    for (name, bytes) in &now {
        assert_eq!(Some(bytes), decided.get(name), "{name}");
    }
    assert_eq!(now.len(), decided.len(), "vectors without a type");
}
