//! The store on real disks: commit and reopen, views of older heights, lost tails and damaged pages, refusals, check.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mingzhang_consensus::justification::EndorseCert;
use mingzhang_consensus::safety::SafetyRecord;
use mingzhang_ledger::authority::{AuthoritySet, Member, Parameters};
use mingzhang_ledger::batch::{Batch, LanePosition, Reference, batches_digest};
use mingzhang_ledger::certificate::{FinalCert, Signers};
use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::{Hash, PublicKey, Signature, SigningKey, sha256};
use mingzhang_ledger::entry::record_entry;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::merkle::{self, leaf_hash};
use mingzhang_ledger::prove;
use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::state::memory::MemoryState;
use mingzhang_ledger::state::tree::{self, TreeView};
use mingzhang_ledger::state::{Overlay, Snapshot, Stored};
use mingzhang_ledger::transaction::{Payload, Transaction};
use tempfile::TempDir;

use super::*;

mod crash;
mod discontinuity;
mod documents;
mod growth;

fn member(name: &str, byte: u8) -> Member {
    let key = |offset| PublicKey([byte + offset; 32]);
    Member {
        agency: name.into(),
        consensus_key: key(0),
        sealing_key: key(1),
        peer_key: key(2),
        url: format!("https://{name}.example/"),
    }
}

fn set() -> AuthoritySet {
    let members = ["civil", "finance", "audit", "rural"].iter().zip([10, 20, 30, 40]);
    AuthoritySet {
        epoch: 0,
        parameters: Parameters::default(),
        members: members.map(|(name, byte)| member(name, byte)).collect(),
    }
}

fn key_of(number: u64) -> Key {
    sha256(&[b"key", &number.to_be_bytes()])
}

fn foundation() -> Foundation {
    let state = (0..5).map(|number| (key_of(number), Stored { current: vec![0x01].into(), trail: None })).collect();
    Foundation { genesis_hash: [7; 32], set: set(), state, appends: Vec::new() }
}

fn open(path: &Path) -> Store {
    Store::open(path, &foundation(), &Settings::default()).expect("the store opens")
}

fn reference(height: u64) -> Reference {
    Reference { author: 1, run: 1, seq: height, records: 1, bytes: 9, hash: batch(height).hash() }
}

fn batch(height: u64) -> Batch {
    // Large enough that a page of the write-ahead log lies within one batch.
    let payload = height.to_be_bytes().repeat(1_500);
    Batch { epoch: 0, author: 1, run: 1, seq: height, payload, signature: Signature([9; 64]) }
}

fn transaction(number: u64) -> Transaction {
    let payload = Payload {
        origin: "test-00".into(),
        record_type: "document_anchor".into(),
        record_id: u128::from(number).to_be_bytes(),
        agency: "civil".into(),
        expires_at: 1,
        body: Value::Map(vec![(Value::text("root"), Value::bytes(&key_of(number % 3)))]),
    };
    Transaction::sign(&payload, &SigningKey::from_seed(&[1; 32])).expect("signs")
}

/// Some changes to old and new keys, two of them with trails, and the entries of a block.
fn executed(store: &Store, height: u64) -> ExecutedBlock {
    let view = store.view().expect("view");
    let tip = view.tip().clone();
    let signed: Vec<Transaction> = (0..7).map(|number| transaction(height * 10 + number)).collect();
    let entries: Vec<Vec<u8>> = signed.iter().map(|transaction| record_entry(0, transaction.bytes())).collect();
    let mut overlay = Overlay::new(&view);
    for step in 0..9 {
        overlay.put(key_of((height * 31 + step * 7) % 900), &(height * 100 + step)).expect("put");
    }
    let mut log = tip.log.clone();
    let entry_hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    for (index, hash) in (tip.tree_size()..).zip(&entry_hashes) {
        overlay.append_to_trail(key_of(0), index, hash).expect("trail");
        log.append(*hash);
    }
    let (changes, appends) = overlay.into_parts().sorted().expect("encodes");
    let tree = tree::update(&view, tip.state_size, &changes).expect("update");
    let (positions, references) = (vec![LanePosition { run: height, next_seq: 1 }; 4], vec![reference(height)]);
    let header = Header {
        height,
        epoch: 0,
        turn: height,
        parent_turn: height - 1,
        proposer: 0,
        time_ms: height * 1_000,
        first_index: tip.tree_size(),
        entry_count: 7,
        log_root: log.root(),
        state_root: tree.root,
        parent: tip.id,
        batches: batches_digest(&positions, &references),
        set_hash: set().hash(),
        next_set_hash: set().hash(),
        state_size: tree.size,
    };
    log.append(header.id());
    let transactions = signed.iter().map(Transaction::id).collect();
    let documents = (header.first_index..).zip(&signed).flat_map(|(index, one)| cited(one, index)).collect();
    ExecutedBlock {
        header,
        positions,
        references,
        entries,
        entry_hashes,
        transactions,
        documents,
        changes,
        appends,
        tree,
        log,
        next_set: None,
    }
}

fn finalised(executed: ExecutedBlock) -> FinalBlock {
    let header = executed.header;
    let certificate = FinalCert {
        epoch: header.epoch,
        turn: header.turn,
        height: header.height,
        block: header.id(),
        signers: Signers::new((0..3).map(|signer| (signer, Signature([signer as u8; 64])))),
    };
    FinalBlock { executed: Arc::new(executed), by: Finality::Certificate(certificate) }
}

fn grow(store: &Store, blocks: u64) {
    for _ in 0..blocks {
        let block = finalised(executed(store, store.tip().height + 1));
        assert!(matches!(store.commit(&block), Ok(Committed::Now(_))));
    }
}

fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().expect("temp dir");
    let store = open(directory.path());
    (directory, store)
}

#[test]
fn what_is_committed_is_there_after_reopening() {
    let (directory, store) = store();
    assert_eq!((store.tip().height, store.recovery()), (0, &Recovery::New));
    let watch = store.watch_height();
    let mut memory = MemoryState::default();
    memory.apply(&foundation().state).expect("genesis");
    for height in 1..=90 {
        let block = finalised(executed(&store, height));
        let update = memory.apply(&block.executed.changes).expect("applies");
        assert_eq!(update.root, block.executed.header.state_root, "height {height}");
        store.commit(&block).expect("commits");
        assert_eq!(store.commit(&block), Ok(Committed::Before));
    }
    assert_eq!(*watch.borrow(), 90);
    let (tip, checked) = (store.tip(), store.check().expect("nothing is wrong"));
    assert_eq!((checked.height, checked.entries, checked.leaves), (90, 721, memory.size()));
    assert_eq!((checked.trails, checked.trail_entries), (1, 630));
    store.close().expect("closes");
    drop(store);

    let store = open(directory.path());
    assert_eq!((store.tip(), store.recovery()), (tip.clone(), &Recovery::Clean));
    assert_eq!(store.check(), Ok(checked));
    let view = store.view().expect("view");
    for (key, stored) in memory.values() {
        assert_eq!(view.read(key).as_ref(), Ok(&Some(stored.clone())));
        assert_eq!(view.position(key), memory.position(key));
    }
    assert_ledger_answers(&view, &tip);
    grow(&store, 3);
    assert_eq!(store.tip().height, 93);
}

fn assert_ledger_answers(view: &View<'_>, tip: &Tip) {
    let log = view.log();
    for index in (0..tip.tree_size()).step_by(13) {
        let entry = view.entry(index).expect("read").expect("present");
        let path = merkle::inclusion_path(&log, index, tip.tree_size()).expect("path");
        let inclusion = merkle::verify_inclusion(leaf_hash(&entry), index, tip.tree_size(), &path, &tip.tree_root());
        assert_eq!(inclusion, Ok(()));
    }
    let consistency = merkle::consistency_proof(&log, 300, tip.tree_size()).expect("proof");
    let old = merkle::subtree_root(&log, 0, 300).expect("root");
    assert_eq!(merkle::verify_consistency(300, tip.tree_size(), &old, &tip.tree_root(), &consistency), Ok(()));
    let header = view.header(40).expect("read").expect("present");
    assert_eq!(view.height_of(header.first_index), Ok(Some(40)));
    assert_eq!(view.height_of(header.own_index()), Ok(Some(40)));
    assert_eq!(view.height_of_size(header.tree_size()), Ok(Some(40)));
    assert_eq!(view.height_of_size(header.tree_size() - 1), Ok(None));
    assert_eq!(view.height_of(tip.tree_size()), Ok(None));
    let entries = view.entries(header.first_index, header.own_index()).expect("read");
    assert_eq!(entries.len(), 7);
    let location = Location { index: header.first_index + 2, height: 40 };
    assert_eq!(view.location(&sha256(&[&entries[2][3..]])), Ok(Some(location)));
    assert_eq!(view.location(&[0; 32]), Ok(None));
    let trail = view.trail(&key_of(0), 630 - 7, 100).expect("trail");
    assert_eq!(trail.len(), 7);
    assert_eq!(view.certificate(40).expect("read").map(|certificate| certificate.block), Some(header.id()));
    assert_eq!(view.preimage(40), Ok(Some((vec![LanePosition { run: 40, next_seq: 1 }; 4], vec![reference(40)]))));
}

#[test]
fn predecessors_are_those_of_a_sorted_list() {
    let (_directory, store) = store();
    grow(&store, 20);
    let view = store.view().expect("view");
    let mut keys: Vec<Key> = (0..900).map(key_of).filter(|key| view.read(key).expect("read").is_some()).collect();
    keys.push(tree::SENTINEL);
    keys.sort_unstable();
    for number in 0..2_000 {
        let key = sha256(&[b"probe", &u64::to_be_bytes(number)]);
        let at = keys.partition_point(|known| *known < key);
        let found = view.predecessor(&key).expect("total");
        assert_eq!(found.key, keys[at - 1]);
        assert_eq!(found.next, keys.get(at).copied().unwrap_or(tree::SENTINEL));
    }
    for pair in keys.windows(2) {
        assert_eq!(view.predecessor(&pair[1]).map(|found| found.key), Ok(pair[0]), "strictly below");
    }
}

#[test]
fn proofs_hold_against_headers_behind_the_tip() {
    let (_directory, store) = store();
    let mut states: BTreeMap<u64, BTreeMap<Key, Stored>> = BTreeMap::new();
    let mut state = foundation().state;
    for height in 1..=40 {
        let block = finalised(executed(&store, height));
        state.extend(block.executed.changes.clone());
        states.insert(height, state.clone());
        store.commit(&block).expect("commits");
    }
    for height in [1, 14, 25, 38, 39, 40] {
        let view = store.view_at(height).expect("kept");
        let header = view.header(height).expect("read").expect("present");
        assert_eq!(view.state_size(), Ok(header.state_size));
        for number in 0..900 {
            let key = key_of(number);
            assert_eq!(view.read(&key), Ok(states[&height].get(&key).cloned()), "height {height}, key {number}");
            let proof = prove::state(&view, header.state_size, &key).expect("proof");
            let hash = leaf_hash(&proof.leaf);
            let held = merkle::verify_inclusion(hash, proof.index, header.state_size, &proof.path, &header.state_root);
            assert_eq!(held, Ok(()), "height {height}, key {number}");
            let present = proof.leaf[..32] == key;
            assert_eq!(present, states[&height].contains_key(&key));
            let next = &proof.leaf[32..64];
            assert!(present || (proof.leaf[..32] < key[..] && (next > &key[..] || next == [0; 32])));
        }
    }
    assert!(matches!(store.view_at(41), Err(StoreFault::NotKept { height: 41, newest: 40, .. })));
    let looking_back = store.view_at(38).expect("kept");
    let root = merkle::subtree_root(&looking_back, 0, looking_back.state_size().expect("size"));
    grow(&store, 5);
    assert_eq!(merkle::subtree_root(&looking_back, 0, looking_back.state_size().expect("size")), root);
}

#[test]
fn older_heights_are_refused_once_they_are_overwritten() {
    let (_directory, store) = store();
    grow(&store, 70);
    assert!(matches!(store.view_at(2), Err(StoreFault::NotKept { height: 2, oldest: 6, newest: 70 })));
    assert!(store.view_at(46).is_ok());
}

#[test]
fn a_block_that_does_not_continue_the_tip_is_refused_before_anything_is_written() {
    let (_directory, store) = store();
    grow(&store, 2);
    let good = executed(&store, 3);
    let changes: [fn(&mut ExecutedBlock); 8] = [
        |block| block.header.height = 4,
        |block| block.header.parent = [1; 32],
        |block| block.header.first_index += 1,
        |block| block.header.epoch = 1,
        |block| block.header.state_root = [1; 32],
        |block| block.header.next_set_hash = [1; 32],
        |block| drop(block.entries.pop()),
        |block| block.entry_hashes.clear(),
    ];
    for change in changes {
        let mut wrong = good.clone();
        change(&mut wrong);
        let refused = store.commit(&finalised(wrong));
        assert!(matches!(refused, Err(StoreFault::Height { .. } | StoreFault::OtherBlock { .. })), "{refused:?}");
    }
    let mut other = executed(&store, 3);
    store.commit(&finalised(good)).expect("the unchanged block commits");
    other.header.time_ms += 1;
    assert!(matches!(store.commit(&finalised(other)), Err(StoreFault::OtherBlock { height: 3, .. })));
    assert!(store.check().is_ok());
}

#[test]
fn another_genesis_and_a_second_process_are_refused_in_one_sentence() {
    let (directory, store) = store();
    let second = Store::open(directory.path(), &foundation(), &Settings::default()).expect_err("it is in use");
    assert!(second.to_string().starts_with("MZ-5015"), "{second}");
    drop(store);
    let other = Foundation { genesis_hash: [8; 32], ..foundation() };
    let refused = Store::open(directory.path(), &other, &Settings::default()).expect_err("another genesis");
    assert_eq!(refused, StoreFault::OtherGenesis { store: [7; 32], genesis: [8; 32] });
    assert!(refused.to_string().starts_with("MZ-5004"));
}

#[test]
fn a_trail_is_read_from_any_position_as_far_as_asked() {
    let (_directory, store) = store();
    grow(&store, 4);
    let view = store.view().expect("view");
    let whole = view.trail_indices(&key_of(0), 0, usize::MAX).expect("read");
    assert_eq!(whole.len(), 4 * 7);
    assert!(whole.is_sorted_by(|one, next| one < next));
    for from in 0..=whole.len() {
        for limit in [0, 1, 6, 7, 8, 100] {
            let found = view.trail_indices(&key_of(0), from as u64, limit).expect("read");
            assert_eq!(found, whole[from..(from + limit).min(whole.len())], "from {from}, {limit}");
        }
    }
    let second = schema::trail(&key_of(0), 13);
    store.db.delete_cf(store.column(Column::Trails), second).expect("damage");
    let gap = store.view().expect("view").trail_indices(&key_of(0), 0, usize::MAX);
    assert!(matches!(gap, Err(StoreFault::NotKept { .. })), "{gap:?}");
}

#[test]
fn check_names_what_differs() {
    let leaf = key_of(0);
    let cases: [(Column, Vec<u8>, &str); 5] = [
        (Column::Entries, 9u64.to_be_bytes().to_vec(), "log entry 9"),
        (Column::LogHashes, schema::log_group(0, 1).to_vec(), "log entry 31"),
        (Column::Leaves, leaf.to_vec(), "state leaf"),
        (Column::LeafHashes, 0u64.to_be_bytes().to_vec(), "state leaf"),
        (Column::Trails, schema::trail(&leaf, 6).to_vec(), "trail of"),
    ];
    for (column, key, expected) in cases {
        // Leaf hashes are on disk where the state is not small.
        let small_state_leaves = if column == Column::LeafHashes { 0 } else { Memory::default().small_state_leaves };
        let settings = Settings { memory: Memory { small_state_leaves, ..Memory::default() } };
        let directory = TempDir::new().expect("a temporary folder");
        let store = Store::open(directory.path(), &foundation(), &settings).expect("opens");
        grow(&store, 6);
        let mut value = store.get(column, &key).expect("read").expect("present");
        let last = value.len() - 1;
        value[last] ^= 1;
        store.db.put_cf(store.column(column), &key, value).expect("damage");
        let found = store.check().expect_err("the flipped bit shows").to_string();
        assert!(found.starts_with("MZ-5011") && found.contains(expected), "{column:?}: {found}");
    }
}

fn skipped(turn: u64) -> SafetyRecord {
    SafetyRecord::Skipped { epoch: 0, turn }
}

fn confirmed(turn: u64, block: Hash) -> SafetyRecord {
    let signers = Signers::new((0..3).map(|signer| (signer, Signature([1; 64]))));
    let certificate = EndorseCert { epoch: 0, turn, height: 1, block, just: [4; 32], signers };
    SafetyRecord::Confirmed { certificate, late: None }
}

#[test]
fn votes_are_written_once_and_dropped_when_settled() {
    let (directory, store) = store();
    let epoch = store.epoch().expect("epoch");
    assert_eq!(store.persist(&epoch, vec![skipped(1), confirmed(2, [5; 32])]).expect("persists").len(), 2);
    assert!(store.persist(&epoch, vec![confirmed(2, [5; 32])]).is_ok(), "the same again");
    let contradiction = store.persist(&epoch, vec![skipped(9), confirmed(2, [6; 32])]);
    assert_eq!(contradiction, Err(StoreFault::Contradiction { epoch: 0, turn: 2 }));
    drop(store);
    let store = open(directory.path());
    let restored = store.restored(&epoch).expect("restores");
    assert_eq!(restored.records, [skipped(1), confirmed(2, [5; 32])], "the refused batch left nothing");
    assert!(restored.unclean && restored.may_sign);
    store.persist(&epoch, vec![skipped(3)]).expect("persists");
    grow(&store, 2);
    let restored = store.restored(&epoch).expect("restores");
    assert_eq!((restored.records, restored.tip.turn), (vec![skipped(3)], 2));
    assert_eq!(store.records_above(&epoch, 0), Ok(vec![skipped(3)]));
}

#[test]
fn admitted_transactions_stay_until_they_are_final() {
    let (directory, store) = store();
    let block = executed(&store, 1);
    let admission = |transaction_id, time_ms| Admission { transaction_id, time_ms, transaction: vec![1, 2, 3] };
    store.admit(vec![admission([9; 32], 20), admission(block.transactions[0], 10)]).expect("admits");
    drop(store);
    let store = open(directory.path());
    let admitted = store.admitted().expect("reads");
    assert_eq!(admitted, [admission(block.transactions[0], 10), admission([9; 32], 20)]);
    store.commit(&finalised(block)).expect("commits");
    assert!(!store.is_admitted(&admitted[0].transaction_id) && store.is_admitted(&[9; 32]));
    assert_eq!(store.admitted().expect("reads"), [admission([9; 32], 20)]);
    store.drop_admitted(&[[9; 32]]).expect("drops");
    assert_eq!(store.admitted(), Ok(Vec::new()));
}

#[test]
fn seals_gather_to_a_quorum_and_a_sealing_key_never_goes_back() {
    let (directory, store) = store();
    let seal = |size, agency: &str| Seal { size, agency: agency.into(), line: agency.as_bytes().to_vec() };
    assert_eq!(store.put_seal(&seal(9, "civil"), 2), Ok(false));
    assert_eq!(store.put_seal(&seal(9, "civil"), 2), Ok(false), "one agency counts once");
    assert_eq!(store.put_seal(&seal(9, "finance"), 2), Ok(true));
    assert_eq!(store.put_seal(&seal(5, "civil"), 1), Ok(true));
    assert_eq!((store.sealed_size(), *store.watch_sealed().borrow()), (9, 9));
    assert_eq!(store.sealed_sizes_below(u64::MAX, 9), Ok(vec![9, 5]));
    assert_eq!(store.sealed_sizes_below(9, 9), Ok(vec![5]));
    let key = PublicKey([3; 32]);
    let position = |size, byte| SealPosition { size, root: [byte; 32] };
    assert!(store.advance_seal(&key, position(9, 1)).is_ok());
    assert!(store.advance_seal(&key, position(9, 1)).is_ok(), "the same checkpoint again, fresh");
    for wrong in [position(8, 1), position(9, 2)] {
        let refused = store.advance_seal(&key, wrong);
        assert_eq!(refused, Err(StoreFault::SealBehind { size: wrong.size, last: 9 }));
    }
    drop(store);
    let store = open(directory.path());
    assert_eq!((store.sealed_size(), store.seal_position(&key)), (9, Ok(Some(position(9, 1)))));
}

#[test]
fn a_lane_run_never_repeats() {
    let (directory, store) = store();
    assert_eq!(store.open_run(100, 0).map(Durable::into_inner), Ok(100));
    assert_eq!(store.open_run(50, 0).map(Durable::into_inner), Ok(101), "the clock went back");
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.open_run(50, 500).map(Durable::into_inner), Ok(501));
}
