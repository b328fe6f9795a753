//! `ct-merkle` and `tlog_tiles`: byte-equal roots and inclusion proofs of log, trails and state, and consistency of the
//! log.

use std::collections::BTreeMap;

use ct_merkle::InclusionProof;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::merkle::{Frontier, consistency_proof, inclusion_path};
use mingzhang_ledger::proof::SubjectKind;
use mingzhang_ledger::seal::Checkpoint;
use mingzhang_ledger::state::trail_entry;
use mingzhang_ledger::state::tree::{SENTINEL, TreeView, leaf_bytes};
use mingzhang_tests::assured;
use mingzhang_tests::chain::{Chain, secret};
use sha2::Sha256;
use tlog_tiles::tlog;

/// Both libraries build the tree from the leaves' bytes and must agree with ours in root and every path.
fn check(leaves: &[Vec<u8>], root: Hash, path: impl Fn(u64) -> Vec<Hash>) -> usize {
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    leaves.iter().for_each(|leaf| theirs.push(leaf.clone()));
    assert_eq!(theirs.root().as_bytes().as_slice(), root);
    for (index, leaf) in leaves.iter().enumerate() {
        let ours: Vec<u8> = path(index as u64).concat();
        assert_eq!(theirs.prove_inclusion(index).as_bytes(), ours, "path of leaf {index}");
        let proof = InclusionProof::<Sha256>::from_bytes(ours.clone());
        theirs.root().verify_inclusion(leaf, index as u64, &proof).expect("ct-merkle accepts our path");
        let hashes = ours.chunks(32).map(|hash| tlog::Hash(hash.try_into().expect("a hash"))).collect();
        let size = leaves.len() as u64;
        tlog::check_record(&hashes, size, tlog::Hash(root), index as u64, tlog::record_hash(leaf))
            .expect("tlog_tiles accepts our path");
    }
    leaves.len()
}

#[test]
fn log() {
    let chain = Chain::sample();
    let mut paths = 0;
    for size in 1..=chain.log.len() {
        let root = Frontier::of(chain.log[..size].iter().copied()).root();
        paths += check(&chain.entries[..size], root, |index| {
            inclusion_path(chain.log.as_slice(), index, size as u64).expect("in memory")
        });
    }
    assured::count("verifiers", "ct-merkle and tlog_tiles, paths in the log", paths);
}

#[test]
fn consistency_of_the_log() {
    let chain = Chain::sample();
    let root = |size: usize| tlog::Hash(Frontier::of(chain.log[..size].iter().copied()).root());
    let size = chain.log.len();
    for old in 1..size {
        let ours = consistency_proof(chain.log.as_slice(), old as u64, size as u64).expect("in memory");
        let hashes = ours.into_iter().map(tlog::Hash).collect();
        tlog::check_tree(&hashes, size as u64, root(size), old as u64, root(old)).expect("tlog_tiles accepts it");
    }
    assured::count("verifiers", "tlog_tiles, consistency proofs of the log", size - 1);
}

#[test]
fn trails() {
    let chain = Chain::sample();
    let id = hex::encode(secret("civil/officer").public().key_id());
    let trail = chain.trail(chain.height(), SubjectKind::Officer, &id);
    let leaves: Vec<Vec<u8>> =
        trail.entries.iter().map(|item| trail_entry(item.index, &chain.log[item.index as usize]).to_vec()).collect();
    assert!(leaves.len() > 5);
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| mingzhang_ledger::merkle::leaf_hash(leaf)).collect();
    let paths = check(&leaves, trail.root, |index| {
        inclusion_path(hashes.as_slice(), index, leaves.len() as u64).expect("in memory")
    });
    assured::count("verifiers", "ct-merkle and tlog_tiles, paths in a trail", paths);
}

#[test]
fn state() {
    let chain = Chain::sample();
    let mut paths = 0;
    for (height, state) in chain.states.iter().enumerate().skip(1) {
        let header = chain.header(height);
        let mut leaves: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let sentinel = state.position(&SENTINEL).expect("in memory").expect("the sentinel");
        leaves.insert(0, leaf_bytes(&SENTINEL, &sentinel.next, &[]));
        for (key, stored) in state.values() {
            let place = state.position(key).expect("in memory").expect("present");
            leaves.insert(place.index, leaf_bytes(key, &place.next, &stored.leaf_value()));
        }
        let leaves: Vec<Vec<u8>> = leaves.into_values().collect();
        assert_eq!(leaves.len() as u64, header.state_size);
        paths += check(&leaves, header.state_root, |index| {
            inclusion_path(state, index, header.state_size).expect("in memory")
        });
    }
    assured::count("verifiers", "ct-merkle and tlog_tiles, paths in the state tree", paths);
}

#[test]
fn checkpoint_text() {
    let chain = Chain::sample();
    let ours: Checkpoint = chain.note(chain.height()).checkpoint;
    let theirs = tlog_tiles::Checkpoint::from_bytes(ours.text().as_bytes()).expect("tlog_tiles reads it");
    assert_eq!((theirs.origin(), theirs.size(), theirs.hash().0), (ours.origin.as_str(), ours.size, ours.root));
    assert_eq!(theirs.to_bytes(), ours.text().into_bytes());
}
