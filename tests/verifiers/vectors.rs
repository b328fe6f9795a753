//! Checked-in evidence of a chain that once was: whatever changes in rules and state, it must verify for ever. Written
//! anew only by MINGZHANG_WRITE_VECTORS=1, which is a decision.

use std::path::{Path, PathBuf};

use mingzhang_genesis::Genesis;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::proof::{EvidenceBundle, Handoff, SealedState, SubjectKind, TrailProof};
use mingzhang_ledger::state::key;
use mingzhang_ledger::transaction::Transaction;
use mingzhang_ledger::verify::{self, Authorities, Verdict};
use mingzhang_tests::chain::{Chain, secret};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/proofs")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).expect("a checked-in file")
}

fn text(name: &str) -> String {
    String::from_utf8(read(name)).expect("UTF-8")
}

fn json<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&read(name)).expect("JSON of its type")
}

/// Before anything is read, and once: the tests of this file run side by side.
fn write_when_asked() {
    static WRITTEN: std::sync::Once = std::sync::Once::new();
    if std::env::var_os("MINGZHANG_WRITE_VECTORS").is_some() {
        WRITTEN.call_once(write);
    }
}

fn write() {
    let chain = Chain::sample();
    let height = chain.height();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder().join(name), bytes).expect("a file");
    let pretty = |value: serde_json::Value| {
        let mut bytes = serde_json::to_vec_pretty(&value).expect("JSON");
        bytes.push(b'\n');
        bytes
    };
    let view = |value: Result<serde_json::Value, serde_json::Error>| pretty(value.expect("JSON"));
    let rejected = chain.header(4).first_index;
    let officer = hex::encode(secret("civil/officer").public().key_id());
    let late = chain.transaction("civil", "document_anchor", "NEVER", vec![]);
    let absent = key::record("civil", &late.payload().record_id);
    let trail = TrailProof {
        sealed: chain.sealed(height),
        trail: chain.trail(height, SubjectKind::Officer, &officer),
        next_cursor: None,
    };
    write("genesis.json", &chain.genesis.bytes);
    write("handoffs.json", &view(serde_json::to_value(chain.handoffs())));
    write("receipt.tlog-proof", chain.receipt(1, height).as_bytes());
    write("rejected.tlog-proof", chain.receipt(rejected, height).as_bytes());
    write("checkpoint.txt", chain.note(height).text().as_bytes());
    write("policy.txt", chain.policy(1).as_bytes());
    write("evidence.json", &view(serde_json::to_value(chain.bundle(1, "civil"))));
    write("trail.json", &view(serde_json::to_value(trail)));
    write("absence.json", &view(serde_json::to_value(chain.sealed_state(height, &absent))));
    write("expired.cose", late.bytes());
}

fn led() -> Authorities {
    let genesis = Genesis::parse(&read("genesis.json")).expect("the checked-in genesis");
    let mut authorities = Authorities::new(&genesis.origin, genesis.hash, genesis.set);
    for handoff in json::<Vec<Handoff>>("handoffs.json") {
        authorities.pass(&handoff).expect("a checked-in hand-off");
    }
    authorities
}

#[test]
fn evidence_verifies_for_ever() {
    write_when_asked();
    let led = led();
    assert_eq!(led.newest().epoch, 1);
    let applied = verify::receipt(&led, &text("receipt.tlog-proof"), None);
    assert_eq!((applied.report.verdict, applied.facts.map(|facts| facts.outcome)), (Verdict::Verified, Some(0)));
    let rejected = verify::receipt(&led, &text("rejected.tlog-proof"), None);
    assert_eq!(rejected.report.verdict, Verdict::Verified);
    assert_ne!(rejected.facts.map(|facts| facts.outcome), Some(0));
    assert_eq!(led.checkpoint(&text("checkpoint.txt")).map(|sealed| sealed.seals.len()), Ok(3));
    let genesis = Genesis::parse(&read("genesis.json")).expect("the checked-in genesis");
    let log_keys = genesis.document.log_keys.iter().map(|held| held.key.0).collect();
    let unled = Authorities::new(&genesis.origin, genesis.hash, genesis.set).with_log_keys(log_keys);
    let bundle: EvidenceBundle = json("evidence.json");
    assert_eq!(verify::bundle(&unled, &bundle).report.verdict, Verdict::Verified);
    let missing = verify::receipt(&unled, &text("receipt.tlog-proof"), None).report.verdict;
    assert!(matches!(missing, Verdict::Inconclusive { code: Code(4107), .. }));
}

#[test]
fn the_trail_is_complete_and_the_absence_proved() {
    write_when_asked();
    let led = led();
    let proof: TrailProof = json("trail.json");
    let header = verify::sealed_header(&led, &proof.sealed).expect("sealed");
    let bundle: EvidenceBundle = json("evidence.json");
    let leaves = verify::leaves(&header, &bundle.trail.expect("trail").leaves).expect("leaves");
    let trail = verify::trail(&led, &header, &proof.trail, &verify::registered_keys(&leaves)).expect("complete");
    assert_eq!(trail.entries.len() as u64, proof.trail.count);
    let absence: SealedState = json("absence.json");
    let header = verify::sealed_header(&led, &absence.sealed).expect("sealed");
    let late = Transaction::decode(&read("expired.cose")).expect("a transaction");
    assert_eq!(verify::expired(&header, &absence.state, &late), Ok(()));
}
