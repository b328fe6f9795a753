//! `verify.py` on honest and changed evidence, both of a chain made now and of the checked-in one. Skipped by name where
//! Python or its module `cryptography` is missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use mingzhang_ledger::proof::{EvidenceBundle, SubjectKind};
use mingzhang_ledger::state::key;
use mingzhang_tests::assured;
use mingzhang_tests::chain::{Chain, secret};

const VERIFIED: i32 = 0;
const FAILED: i32 = 1;
const INCONCLUSIVE: i32 = 2;
const SKIPPED: i32 = 77;
/// Verdicts of `verify.py` so far.
static JUDGED: Mutex<usize> = Mutex::new(0);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn python(arguments: &[&Path]) -> i32 {
    let run = Command::new("python3").arg(root().join("verifiers/verify.py")).args(arguments).output();
    let verdict = run.map_or(SKIPPED, |output| output.status.code().expect("an exit status"));
    if verdict != SKIPPED {
        let mut judged = JUDGED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *judged += 1;
        assured::count("verifiers", "verify.py, written from the protocol page alone, verdicts", *judged);
    }
    verdict
}

/// Whether Python and its module are here; says so by name if not.
fn available(test: &str) -> bool {
    let probe = Command::new("python3").args(["-c", "import cryptography"]).output();
    let here = probe.is_ok_and(|output| output.status.success());
    if !here {
        eprintln!("skipped: {test} (python3 with the module cryptography is not installed)");
    }
    here
}

struct Files {
    folder: tempfile::TempDir,
    chain: Chain,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder"), chain: Chain::sample() };
        files.write("genesis.json", &files.chain.genesis.bytes);
        files.write("handoffs.json", &serde_json::to_vec(&files.chain.handoffs()).expect("JSON"));
        files
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    fn receipt(&self, text: &str, handoffs: bool) -> i32 {
        let file = self.write("receipt", text.as_bytes());
        let genesis = self.folder.path().join("genesis.json");
        let led = self.folder.path().join("handoffs.json");
        let arguments = [genesis.as_path(), Path::new("receipt"), file.as_path(), led.as_path()];
        python(if handoffs { &arguments } else { &arguments[..3] })
    }

    fn bundle(&self, change: impl FnOnce(&mut EvidenceBundle)) -> i32 {
        let mut bundle = self.chain.bundle(1, "civil");
        change(&mut bundle);
        let file = self.write("bundle.json", &serde_json::to_vec(&bundle).expect("JSON"));
        python(&[&self.folder.path().join("genesis.json"), Path::new("bundle"), &file])
    }
}

#[test]
fn receipts() {
    if !available("receipts") {
        return;
    }
    let files = Files::new();
    let height = files.chain.height();
    let text = files.chain.receipt(1, height);
    assert_eq!(files.receipt(&text, true), VERIFIED);
    assert_eq!(files.receipt(&text, false), INCONCLUSIVE);
    assert_eq!(files.receipt(&files.chain.receipt(1, 1), false), VERIFIED);
    let lines: Vec<&str> = text.split('\n').collect();
    for at in 0..lines.len() - 1 {
        let without: Vec<&str> = lines.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, line)| *line).collect();
        // The log key's line carries no trust.
        let expected =
            if lines[at].starts_with(&format!("\u{2014} {}", files.chain.origin())) { VERIFIED } else { FAILED };
        assert_eq!(files.receipt(&without.join("\n"), true), expected, "without line {at}: {}", lines[at]);
    }
    assert_eq!(files.receipt(&text.replacen("index 1\n", "index 2\n", 1), true), FAILED);
}

#[test]
fn bundles() {
    if !available("bundles") {
        return;
    }
    let files = Files::new();
    assert_eq!(files.bundle(|_| ()), VERIFIED);
    assert_eq!(files.bundle(|bundle| drop(bundle.handoffs.pop())), INCONCLUSIVE);
    assert_eq!(files.bundle(|bundle| bundle.genesis_hash[0] ^= 1), FAILED);
    assert_eq!(files.bundle(|bundle| bundle.origin.push('0')), FAILED);
    assert_eq!(files.bundle(|bundle| bundle.entry.as_mut().expect("entry").outcome.code = 3201), FAILED);
    let log = |change: fn(&mut mingzhang_ledger::proof::Consistency)| {
        files.bundle(|bundle| change(bundle.consistency.as_mut().expect("consistency")))
    };
    assert_eq!(log(|proof| proof.from_root[0] ^= 1), FAILED);
    assert_eq!(log(|proof| proof.from += 1), FAILED);
    assert_eq!(log(|proof| proof.to += 1), INCONCLUSIVE);
    let trail = |change: fn(&mut mingzhang_ledger::proof::BundledTrail)| {
        files.bundle(|bundle| change(bundle.trail.as_mut().expect("trail")))
    };
    assert_eq!(trail(|trail| drop(trail.trail.entries.remove(1))), FAILED);
    assert_eq!(trail(|trail| trail.trail.entries.swap(1, 2)), FAILED);
    assert_eq!(trail(|trail| trail.trail.entries[1].entry[2] ^= 1), FAILED);
    assert_eq!(trail(|trail| trail.trail.entries[1].index += 1), FAILED);
    assert_eq!(trail(|trail| trail.trail.count -= 1), FAILED);
    assert_eq!(trail(|trail| trail.sealed.header[40] ^= 1), FAILED);
    assert_eq!(trail(|trail| trail.trail.state.path[0][0] ^= 1), FAILED);
    assert_eq!(trail(|trail| trail.leaves.clear()), INCONCLUSIVE);
    let rural = hex::encode(secret("rural/officer").public().key_id());
    let other = files.chain.trail(files.chain.height(), SubjectKind::Officer, &rural);
    assert_eq!(files.bundle(|bundle| bundle.trail.as_mut().expect("trail").trail = other), INCONCLUSIVE);
    let absent = files.chain.state_proof(files.chain.height(), &key::record("civil", &[1; 16]));
    assert_eq!(files.bundle(|bundle| bundle.key.as_mut().expect("key").state_proof = absent), FAILED);
}

#[test]
fn checked_in_evidence() {
    if !available("checked_in_evidence") {
        return;
    }
    let vectors = root().join("vectors/proofs");
    let genesis = vectors.join("genesis.json");
    let handoffs = vectors.join("handoffs.json");
    for name in ["receipt.tlog-proof", "rejected.tlog-proof"] {
        assert_eq!(python(&[&genesis, Path::new("receipt"), &vectors.join(name), &handoffs]), VERIFIED, "{name}");
    }
    assert_eq!(python(&[&genesis, Path::new("bundle"), &vectors.join("evidence.json")]), VERIFIED);
}
