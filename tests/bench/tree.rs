//! Leaf updates of the state tree per second on one core, the store included: blocks of changed leaves are put through
//! the tree and committed to a real store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mingzhang_ledger::authority::{AuthoritySet, Member, Parameters};
use mingzhang_ledger::certificate::{FinalCert, Signers};
use mingzhang_ledger::crypto::{Hash, PublicKey, Signature, sha256};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::state::{Stored, tree};
use mingzhang_node::store::{ExecutedBlock, FinalBlock, Finality, Foundation, Settings, Store};

/// Blocks measured, leaves changed in each, and how many of these are new.
const BLOCKS: u64 = 60;
const CHANGED: u64 = 4_000;
const NEW: u64 = 1_500;

/// Leaf updates per second of wall time with one thread at work.
pub fn updates_per_second(folder: &Path) -> Result<f64, String> {
    let member = |byte: u8| Member {
        agency: format!("agency-{byte}"),
        consensus_key: PublicKey([byte; 32]),
        sealing_key: PublicKey([byte + 1; 32]),
        peer_key: PublicKey([byte + 2; 32]),
        url: "http://localhost/".into(),
    };
    let members = [1, 5, 9, 13].map(member).to_vec();
    let set = AuthoritySet { epoch: 0, parameters: Parameters::default(), members };
    let state = (0..CHANGED).map(|number| (key(number), value(number, 0))).collect();
    let foundation = Foundation { genesis_hash: [7; 32], set: set.clone(), state, appends: Vec::new() };
    let store = Store::open(folder, &foundation, &Settings::default()).map_err(|fault| fault.to_string())?;
    let mut spent = Duration::ZERO;
    for height in 1..=BLOCKS {
        // What execution hands over.
        let changes = changes(height);
        let start = Instant::now();
        commit(&store, set.hash(), height, changes)?;
        spent += start.elapsed();
    }
    let rate = (BLOCKS * CHANGED) as f64 / spent.as_secs_f64();
    store.close().map_err(|fault| fault.to_string())?;
    Ok(rate)
}

fn changes(height: u64) -> BTreeMap<Key, Stored> {
    let fresh = CHANGED + (height - 1) * NEW;
    let old = (0..CHANGED - NEW).map(|number| key((number * 7_919 + height) % fresh));
    old.chain((fresh..fresh + NEW).map(key)).map(|key| (key, value(height, height))).collect()
}

fn commit(store: &Store, set_hash: Hash, height: u64, changes: BTreeMap<Key, Stored>) -> Result<(), String> {
    let view = store.view().map_err(|fault| fault.to_string())?;
    let tip = view.tip().clone();
    let tree = tree::update(&view, tip.state_size, &changes).map_err(|fault| fault.to_string())?;
    let mut log = tip.log.clone();
    let header = Header {
        height,
        epoch: 0,
        turn: height,
        parent_turn: height - 1,
        proposer: 0,
        time_ms: height,
        first_index: tip.tree_size(),
        entry_count: 0,
        log_root: log.root(),
        state_root: tree.root,
        parent: tip.id,
        batches: [0; 32],
        set_hash,
        next_set_hash: set_hash,
        state_size: tree.size,
    };
    log.append(header.id());
    let executed = ExecutedBlock {
        header,
        positions: tip.lanes.clone(),
        references: Vec::new(),
        entries: Vec::new(),
        entry_hashes: Vec::new(),
        transactions: Vec::new(),
        documents: Vec::new(),
        changes,
        appends: Vec::new(),
        tree,
        log,
        next_set: None,
    };
    drop(view);
    let signers = Signers::new((0..3).map(|seat| (seat, Signature([1; 64]))));
    let certificate = FinalCert { epoch: 0, turn: height, height, block: header.id(), signers };
    let block = FinalBlock { executed: Arc::new(executed), by: Finality::Certificate(certificate) };
    store.commit(&block).map(drop).map_err(|fault| fault.to_string())
}

fn key(number: u64) -> Key {
    sha256(&[b"leaf", &number.to_be_bytes()])
}

/// A CBOR byte string of the size of an account.
fn value(number: u64, height: u64) -> Stored {
    let mut current = vec![0x58, 120];
    current.extend_from_slice(&number.to_be_bytes());
    current.extend_from_slice(&height.to_be_bytes());
    current.resize(122, 7);
    Stored { current: current.into(), trail: None }
}
