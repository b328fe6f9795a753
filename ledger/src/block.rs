//! A block's header from its parent, its turn and what execution produced. Which references a block may hold and who
//! may propose it is the consensus crate's matter.

use crate::crypto::Hash;
use crate::header::Header;
use crate::merkle::Frontier;
use crate::mutants;
use crate::state::execute::Execution;
use crate::state::tree::TreeUpdate;

/// What the protocol fixes about a block before it is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    pub height: u64,
    pub epoch: u64,
    /// The turn at which the block was first proposed.
    pub turn: u64,
    pub parent_turn: u64,
    pub proposer: u16,
    pub time_ms: u64,
    /// Log index of the block's first record: the size of the log before it.
    pub first_index: u64,
    pub parent: Hash,
    pub batches: Hash,
    pub set_hash: Hash,
    pub next_set_hash: Hash,
}

/// The header of an executed block, and the log's frontier after the header's own leaf. `log` is the frontier after the
/// parent's header; its size is `first_index`.
pub fn header(frame: &Frame, execution: &Execution, log: &Frontier, tree: &TreeUpdate) -> (Header, Frontier) {
    let mut log = log.clone();
    let shifted = mutants::LOG_ROOT_SHIFTED.on().then(|| log.root());
    for hash in &execution.entry_hashes {
        log.append(*hash);
    }
    let header = Header {
        height: frame.height,
        epoch: frame.epoch,
        turn: frame.turn,
        parent_turn: frame.parent_turn,
        proposer: frame.proposer,
        time_ms: frame.time_ms,
        first_index: frame.first_index,
        // A block holds far fewer records than a u32 counts: its bytes are limited.
        entry_count: u32::try_from(execution.entries.len()).unwrap_or(u32::MAX),
        log_root: shifted.unwrap_or_else(|| log.root()),
        state_root: tree.root,
        parent: frame.parent,
        batches: frame.batches,
        set_hash: frame.set_hash,
        next_set_hash: frame.next_set_hash,
        state_size: tree.size,
    };
    log.append(header.id());
    (header, log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;

    #[test]
    fn the_log_root_covers_everything_before_the_header_and_the_frontier_the_header_too() {
        let frame = Frame {
            height: 2,
            epoch: 0,
            turn: 3,
            parent_turn: 1,
            proposer: 2,
            time_ms: 9,
            first_index: 2,
            parent: [1; 32],
            batches: [2; 32],
            set_hash: [3; 32],
            next_set_hash: [3; 32],
        };
        let leaves = [[4; 32], [5; 32]];
        let entries = vec![vec![1, 0, 0, 7], vec![1, 0, 0, 8]];
        let entry_hashes = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let execution = Execution { entries, entry_hashes, ..Execution::default() };
        let tree = TreeUpdate { size: 11, root: [6; 32], ..TreeUpdate::default() };
        let (header, log) = header(&frame, &execution, &Frontier::of(leaves), &tree);
        let records = execution.entries.iter().map(|entry| leaf_hash(entry));
        assert_eq!(header.log_root, Frontier::of(leaves.into_iter().chain(records)).root());
        assert_eq!((header.entry_count, header.state_size, header.state_root), (2, 11, [6; 32]));
        assert_eq!(log.size(), header.tree_size());
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }
}
