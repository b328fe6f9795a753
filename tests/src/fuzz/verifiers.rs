//! What an outsider runs on evidence: any bytes get a verdict. A good verdict is given to nothing but what the chain holds.

use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::merkle::leaf_hash;
use mingzhang_ledger::proof::{EvidenceBundle, Handoff, SealedState, SubjectKind, TrailProof};
use mingzhang_ledger::receipt::Receipt;
use mingzhang_ledger::seal::{Checkpoint, Note, Seal};
use mingzhang_ledger::state::key::{self, Key};
use mingzhang_ledger::verify::{self, Authorities, Verdict};
use serde::Serialize;

use super::fixture;
use crate::chain::secret;

/// Parts of one input that stand behind each other.
const BREAK: &[u8] = b"\n====\n";

pub fn certificate(bytes: &[u8]) {
    let fixture = fixture();
    let Ok(certificate) = FinalCert::decode(bytes, fixture.members()) else { return };
    assert_eq!(certificate.encode(fixture.members()), bytes, "a certificate has one spelling");
    let (header, set) = (fixture.chain.header(1), fixture.set());
    if certificate.verify(&fixture.epoch.chain, &header, set).is_ok() {
        assert_eq!((certificate.height, certificate.block), (1, header.id()), "a certificate of the first block");
        assert!(certificate.signers.len() >= set.quorum(), "a quorum");
    }
}

pub fn certificates() -> Vec<Vec<u8>> {
    [1, 2].map(|height| fixture().certificate(height).encode(fixture().members())).to_vec()
}

fn is_on_the_log(entry: &[u8], index: u64) -> bool {
    let stored = usize::try_from(index).ok().and_then(|index| fixture().chain.log.get(index));
    stored == Some(&leaf_hash(entry))
}

pub fn receipt(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(receipt) = Receipt::parse(text) else { return };
    assert_eq!(receipt.text(), text, "a receipt has one spelling");
    if verify::receipt(&fixture().authorities, text, None).report.verdict == Verdict::Verified {
        assert!(is_on_the_log(&receipt.entry, receipt.index), "a verified receipt is of a record on the log");
    }
}

pub fn receipts() -> Vec<Vec<u8>> {
    let chain = &fixture().chain;
    [(1, 2), (1, 7), (2, 4)].map(|(index, height)| chain.receipt(index, height).into_bytes()).to_vec()
}

pub fn checkpoint(bytes: &[u8]) {
    if let Ok(seal) = Seal::decode(bytes) {
        assert_eq!(seal.encode(), bytes, "a seal has one spelling");
        drop(seal.verify(fixture().chain.origin(), fixture().set()));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.text(), text, "a checkpoint has one spelling");
    }
    if Note::parse(text).is_ok()
        && let Ok(sealed) = fixture().authorities.checkpoint(text)
    {
        assert!(sealed.checkpoint.size <= fixture().chain.log.len() as u64, "nothing larger was ever sealed");
    }
}

pub fn checkpoints() -> Vec<Vec<u8>> {
    let chain = &fixture().chain;
    let note = chain.note(2);
    let seal = Seal::sign(&note.checkpoint, 0, 1, 1_780_272_001, &secret("civil/sealing/0"));
    vec![note.text().into_bytes(), note.checkpoint.text().into_bytes(), seal.encode()]
}

pub fn bundle(bytes: &[u8]) {
    let Ok(bundle) = serde_json::from_slice::<EvidenceBundle>(bytes) else { return };
    let chain = &fixture().chain;
    let genesis = chain.founding();
    let report = verify::bundle(&genesis, &bundle);
    if let (Verdict::Verified, Some(entry)) = (&report.report.verdict, &bundle.entry) {
        assert!(entry.index < chain.log.len() as u64, "a verified bundle is of a record on the log");
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("evidence has a JSON form")
}

pub fn bundles() -> Vec<Vec<u8>> {
    vec![json(&fixture().chain.bundle(1, "civil"))]
}

/// Proofs about the state: presence, absence, a whole trail, an omission, and what leads from one set to the next.
pub fn proofs(bytes: &[u8]) {
    let (chain, known) = (&fixture().chain, &fixture().authorities);
    if let Ok(handoff) = serde_json::from_slice::<Handoff>(bytes) {
        let mut led = Authorities::new(chain.origin(), chain.genesis.hash, chain.sets[0].clone());
        if led.pass(&handoff).is_ok() {
            assert_eq!(led.newest().hash(), chain.sets[1].hash(), "one hand-off is good");
        }
    }
    if let Ok(proof) = serde_json::from_slice::<TrailProof>(bytes) {
        trail(&proof);
    }
    if let Ok(proof) = serde_json::from_slice::<SealedState>(bytes)
        && let Ok(proven) = verify::sealed_header(known, &proof.sealed)
    {
        let (there, nowhere) = state_keys();
        assert!(verify::presence(&proven, &proof.state, &nowhere).is_err(), "nothing stands there");
        assert!(verify::absence(&proven, &proof.state, &there).is_err(), "something stands there");
    }
    let cut = bytes.windows(BREAK.len()).position(|window| window == BREAK);
    let Some((receipt, rest)) = cut.map(|at| bytes.split_at(at)) else { return };
    if let (Ok(receipt), Ok(proof)) = (std::str::from_utf8(receipt), serde_json::from_slice(&rest[BREAK.len()..])) {
        assert_ne!(verify::omission(known, receipt, &proof), Ok(true), "the chain omitted nothing");
    }
}

fn trail(proof: &TrailProof) {
    let known = &fixture().authorities;
    let Ok(proven) = verify::sealed_header(known, &proof.sealed) else { return };
    let Ok(trail) = verify::trail(known, &proven, &proof.trail, &Default::default()) else { return };
    let whole = trail.entries.len() as u64 == proof.trail.count;
    assert!(whole, "a proven trail is whole");
    assert!(proof.trail.entries.iter().all(|item| is_on_the_log(&item.entry, item.index)), "all of it is on the log");
}

/// A key that stands in every state, and one that stands in none.
fn state_keys() -> (Key, Key) {
    let never = key::parse_id("NEVER").expect("a record id");
    (key::agency("civil"), key::record("civil", &never))
}

pub fn good_proofs() -> Vec<Vec<u8>> {
    let chain = &fixture().chain;
    let height = chain.height();
    let officer = hex::encode(secret("civil/officer").public().key_id());
    let trail = TrailProof {
        sealed: chain.sealed(height),
        trail: chain.trail(height, SubjectKind::Officer, &officer),
        next_cursor: None,
    };
    let (there, nowhere) = state_keys();
    let states = [there, nowhere].map(|key| json(&chain.sealed_state(height, &key)));
    let omission = [chain.receipt(1, height).as_bytes(), BREAK, &json(&trail)].concat();
    let handoffs = chain.handoffs();
    let mut seeds = vec![json(&trail), omission];
    seeds.extend(states);
    seeds.extend(handoffs.iter().map(json));
    seeds
}
