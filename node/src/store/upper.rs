//! The upper levels of the state tree, in memory: one hash per [`GROUP`] leaves and all above, and while the state is
//! small the levels below too. Rebuilt at start: those of a small state from its leaves, others from the groups on disk.
//! And for the last blocks what they overwrote, so that proofs can be made against a sealed header behind the tip.
//!
//! [`GROUP`]: super::schema::GROUP

use std::collections::VecDeque;
use std::sync::Arc;

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::merkle::node_hash;
use mingzhang_ledger::state::StateFault;
use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::state::tree::{PlacedNode, TreeUpdate};

use super::leaf::Leaf;
use super::schema::GROUP_LEVEL;

/// Most blocks behind the tip for which the overwritten parts are kept.
const KEPT_BLOCKS: usize = 64;
/// Blocks that are kept however large they are: more than pass between a block and its quorum of seals.
const ALWAYS_KEPT_BLOCKS: usize = 4;
/// Most bytes of overwritten parts.
const KEPT_BYTES: usize = 96 << 20;

/// What one block overwrote in the state.
#[derive(Debug, Default)]
pub(super) struct Undo {
    /// The block that overwrote it.
    pub height: u64,
    /// Leaves before the block, in the order of their keys; none for keys that it created.
    leaves: Vec<(Key, Option<Arc<Leaf>>)>,
    /// Index of each leaf that was there before, and its place in `leaves`; in their order once the block is applied.
    places: Vec<(u64, usize)>,
    /// Nodes at and above [`GROUP_LEVEL`] before the block, in order of (level, index).
    pub nodes: Vec<PlacedNode>,
}

impl Undo {
    /// With room for so many leaves.
    pub fn of(height: u64, leaves: usize) -> Self {
        let (places, nodes) = (Vec::with_capacity(leaves), Vec::new());
        Self { height, leaves: Vec::with_capacity(leaves), places, nodes }
    }

    /// Notes a leaf as it was before the block; none if the block creates it. Leaves come in the order of their keys.
    pub fn remember(&mut self, key: &Key, before: Option<Arc<Leaf>>) {
        debug_assert!(self.leaves.last().is_none_or(|(last, _)| last < key), "leaves come in their order");
        if let Some(leaf) = &before {
            self.places.push((leaf.index, self.leaves.len()));
        }
        self.leaves.push((*key, before));
    }

    /// What stood under a key before the block, if the block changed it.
    pub fn before(&self, key: &Key) -> Option<&Option<Arc<Leaf>>> {
        let at = self.leaves.binary_search_by_key(&key, |(known, _)| known).ok()?;
        self.leaves.get(at).map(|(_, before)| before)
    }

    /// The hash of a leaf before the block, if the block changed it.
    pub fn leaf_hash(&self, index: u64) -> Option<Hash> {
        let at = self.places.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        let (_, before) = self.leaves.get(self.places.get(at)?.1)?;
        before.as_ref().map(|leaf| leaf.hash())
    }

    fn bytes(&self) -> usize {
        let values =
            self.leaves.iter().map(|(_, leaf)| leaf.as_ref().map_or(0, |leaf| leaf.stored.current.len() + 200));
        values.sum::<usize>() + self.leaves.len() * 40 + self.places.len() * 16 + self.nodes.len() * 72
    }
}

/// Complete nodes at and above [`GROUP_LEVEL`], and the undo ring.
#[derive(Debug, Default)]
pub(super) struct Upper {
    /// `levels[0]` is the lowest level that is kept: 0 while the state is small, else [`GROUP_LEVEL`].
    levels: Vec<Vec<Hash>>,
    lowest: u32,
    /// Largest state that is small.
    small_leaves: u64,
    /// The newest block that was applied.
    height: u64,
    ring: VecDeque<(usize, Arc<Undo>)>,
    ring_bytes: usize,
}

impl Upper {
    /// Builds all levels above from the hashes of one level: leaves, or the roots of the complete groups.
    pub fn build(height: u64, (lowest, small_leaves): (u32, u64), hashes: Vec<Hash>) -> Self {
        let mut levels = vec![hashes];
        while let Some(below) = levels.last().filter(|below| below.len() > 1) {
            let above = below.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
            levels.push(above);
        }
        Self { levels, lowest, small_leaves, height, ..Self::default() }
    }

    fn current(&self, level: u32, index: u64) -> Option<Hash> {
        let level = usize::try_from(level.checked_sub(self.lowest)?).ok()?;
        self.levels.get(level)?.get(usize::try_from(index).ok()?).copied()
    }

    /// A node below [`GROUP_LEVEL`] at the newest height, if such nodes are kept.
    pub fn low_node(&self, level: u32, index: u64, height: u64) -> Option<Hash> {
        if height == self.height { self.current(level, index) } else { None }
    }

    /// The height that the nodes stand at.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// Hashes of the leaves from `first` on at the newest height, at most `count`; none if the state is not small.
    pub fn low_leaves(&self, first: u64, count: u64) -> Option<Vec<Hash>> {
        let leaves = self.levels.first().filter(|_| self.lowest == 0)?;
        let place = |index: u64| usize::try_from(index).map_or(leaves.len(), |index| index.min(leaves.len()));
        Some(leaves[place(first)..place(first.saturating_add(count))].to_vec())
    }

    /// All leaf hashes of a small state as `update` leaves them.
    pub fn leaf_hashes_after(&self, update: &TreeUpdate) -> Result<Vec<Hash>, StateFault> {
        let mut hashes = self.low_leaves(0, u64::MAX).unwrap_or_default();
        for (index, hash) in update.leaf_hashes() {
            let place = usize::try_from(index).map_err(|_| StateFault::Invariant("index"))?;
            if place == hashes.len() {
                hashes.push(hash);
            } else {
                *hashes.get_mut(place).ok_or(StateFault::Invariant("a level of the state tree has a gap"))? = hash;
            }
        }
        Ok(hashes)
    }

    /// The node as it was at `height`, which must be kept.
    pub fn node(&self, level: u32, index: u64, height: u64) -> Result<Hash, StateFault> {
        if self.ring.back().is_some_and(|(_, newest)| newest.height > height) {
            let oldest = self.ring.front().map_or(0, |(_, oldest)| oldest.height);
            if oldest > height + 1 {
                return Err(StateFault::Store(format!("height {height} is not kept any more")));
            }
            let later = self.ring.iter().filter(|(_, undo)| undo.height > height);
            for (_, undo) in later {
                if let Ok(at) = undo.nodes.binary_search_by_key(&(level, index), |(place, _)| *place) {
                    return Ok(undo.nodes[at].1);
                }
            }
        }
        self.current(level, index).ok_or(StateFault::Invariant("a node was asked for that is not complete"))
    }

    /// Fills in the nodes that `update` overwrites, then applies it and keeps `undo`.
    pub fn apply(&mut self, update: &TreeUpdate, mut undo: Undo) -> Result<(), StateFault> {
        if self.lowest < GROUP_LEVEL && update.size > self.small_leaves {
            let low = usize::try_from(GROUP_LEVEL - self.lowest).expect("few levels").min(self.levels.len());
            self.levels.drain(..low);
            self.lowest = GROUP_LEVEL;
        }
        for ((level, index), hash) in update.from_level(self.lowest) {
            if *level >= GROUP_LEVEL
                && let Some(before) = self.current(*level, *index)
            {
                undo.nodes.push(((*level, *index), before));
            }
            let depth = usize::try_from(level - self.lowest).expect("a tree of u64 leaves has at most 64 levels");
            if self.levels.len() <= depth {
                self.levels.resize(depth + 1, Vec::new());
            }
            let nodes = &mut self.levels[depth];
            let position = usize::try_from(*index).map_err(|_| StateFault::Invariant("index"))?;
            let length = nodes.len();
            match nodes.get_mut(position) {
                Some(node) => *node = *hash,
                None if position == length => nodes.push(*hash),
                None => return Err(StateFault::Invariant("a level of the state tree has a gap")),
            }
        }
        undo.places.sort_unstable();
        self.height = undo.height;
        self.keep(undo);
        Ok(())
    }

    fn keep(&mut self, undo: Undo) {
        let bytes = undo.bytes();
        self.ring_bytes += bytes;
        self.ring.push_back((bytes, Arc::new(undo)));
        while self.ring.len() > KEPT_BLOCKS || (self.ring.len() > ALWAYS_KEPT_BLOCKS && self.ring_bytes > KEPT_BYTES) {
            let Some((bytes, _)) = self.ring.pop_front() else { break };
            self.ring_bytes -= bytes;
        }
    }

    /// What the blocks in (height, newest] overwrote, oldest first; none if some of it is not kept any more.
    pub fn since(&self, height: u64, newest: u64) -> Option<Vec<Arc<Undo>>> {
        let wanted = (height + 1)..=newest;
        let found: Vec<_> =
            self.ring.iter().filter(|(_, undo)| wanted.contains(&undo.height)).map(|(_, undo)| undo.clone()).collect();
        (found.len() as u64 == newest.saturating_sub(height)).then_some(found)
    }

    /// The lowest height at which a view can be taken when the newest is `tip`.
    pub fn oldest(&self, tip: u64) -> u64 {
        self.ring.front().map_or(tip, |(_, undo)| undo.height.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::state::Stored;

    use super::*;

    fn update(nodes: &[((u32, u64), u8)]) -> TreeUpdate {
        let nodes = nodes.iter().map(|(place, byte)| (*place, [*byte; 32])).collect();
        TreeUpdate { nodes, size: 1, ..TreeUpdate::default() }
    }

    fn undo(height: u64) -> Undo {
        Undo { height, ..Undo::default() }
    }

    #[test]
    fn older_heights_see_the_older_node() {
        let mut upper = Upper::default();
        upper.apply(&update(&[((4, 0), 1)]), undo(1)).expect("first");
        upper.apply(&update(&[((4, 0), 2), ((4, 1), 3), ((5, 0), 4)]), undo(2)).expect("second");
        upper.apply(&update(&[((4, 1), 5)]), undo(3)).expect("third");
        let at = |level, index, height| upper.node(level, index, height).map(|hash| hash[0]);
        assert_eq!((at(4, 0, 1), at(4, 0, 2), at(4, 1, 2), at(4, 1, 3)), (Ok(1), Ok(2), Ok(3), Ok(5)));
        assert_eq!(upper.since(1, 3).map(|kept| kept.len()), Some(2));
        assert_eq!(upper.since(3, 3).map(|kept| kept.len()), Some(0));
    }

    #[test]
    fn what_a_block_overwrote_is_found_by_key_and_by_index() {
        let leaf = |key: u8, index| Arc::new(Leaf { key: [key; 32], index, next: [9; 32], stored: Stored::default() });
        let mut undo = Undo::of(1, 3);
        for (key, before) in [(1, Some(leaf(1, 7))), (3, None), (5, Some(leaf(5, 2)))] {
            undo.remember(&[key; 32], before);
        }
        let mut upper = Upper::default();
        upper.apply(&update(&[((4, 0), 1)]), undo).expect("applies");
        let undo = &upper.since(0, 1).expect("kept")[0];
        let index = |key: u8| undo.before(&[key; 32]).map(|before| before.as_ref().map(|leaf| leaf.index));
        assert_eq!((index(1), index(3), index(5)), (Some(Some(7)), Some(None), Some(Some(2))));
        assert_eq!((index(0), index(2), index(6)), (None, None, None));
        let hash = |key, index| Some(leaf(key, index).hash());
        assert_eq!((undo.leaf_hash(7), undo.leaf_hash(2), undo.leaf_hash(3)), (hash(1, 7), hash(5, 2), None));
    }

    #[test]
    fn the_ring_is_bounded_and_says_what_it_lacks() {
        let mut upper = Upper::default();
        for height in 1..=(KEPT_BLOCKS as u64 + 10) {
            upper.apply(&update(&[((4, 0), 1)]), undo(height)).expect("applies");
        }
        let tip = KEPT_BLOCKS as u64 + 10;
        assert_eq!(upper.oldest(tip), 10);
        assert!(upper.since(10, tip).is_some());
        assert!(upper.since(9, tip).is_none());
        assert!(upper.node(4, 0, 9).is_err());
    }

    #[test]
    fn a_gap_is_an_invariant_broken() {
        assert!(Upper::default().apply(&update(&[((4, 1), 1)]), undo(1)).is_err());
    }
}
