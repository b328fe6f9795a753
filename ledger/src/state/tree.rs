//! The indexed Merkle tree over the state's leaves: an RFC 6962 tree whose leaves stand in order of creation, may
//! change, and name the next greater key, so that absence is as cheap to prove as presence. Computes what a block
//! changes; where leaves, links and nodes are kept is the store's matter.

use std::collections::BTreeMap;

use super::key::Key;
use super::{Snapshot, StateFault, Stored};
use crate::crypto::{Hash, sha256};
use crate::merkle::{Frontier, node_hash};

/// Key of leaf 0, whose value is empty. As a `next` it means that no key is greater.
pub const SENTINEL: Key = [0; 32];

/// A leaf's place in the tree and in the sorted list of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    pub key: Key,
    pub index: u64,
    pub next: Key,
}

/// A leaf's index and the next greater key, or [`SENTINEL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub index: u64,
    pub next: Key,
}

/// Reads a tree that exists. One implementation is the store's, the other is [`super::memory::MemoryState`].
pub trait TreeView: Snapshot {
    /// The leaf with exactly this key.
    fn position(&self, key: &Key) -> Result<Option<Neighbour>, StateFault>;
    /// The leaf with the greatest key strictly below; the sentinel makes it total for every other key.
    fn predecessor(&self, key: &Key) -> Result<Neighbour, StateFault>;
    /// The root of the subtree of 2^level leaves from `index << level`. Asked only for complete subtrees.
    fn node(&self, level: u32, index: u64) -> Result<Hash, StateFault>;

    // What a block asks for is known before it asks: a store answers many questions together sooner than one by one. Each
    // comes in ascending order.

    /// [`Self::position`] of many keys.
    fn positions(&self, keys: &[&Key]) -> Result<Vec<Option<Neighbour>>, StateFault> {
        keys.iter().map(|key| self.position(key)).collect()
    }

    /// [`Self::predecessor`] of many keys.
    fn predecessors(&self, keys: &[&Key]) -> Result<Vec<Neighbour>, StateFault> {
        keys.iter().map(|key| self.predecessor(key)).collect()
    }

    /// [`Self::node`] of many subtrees of one level.
    fn nodes(&self, level: u32, indices: &[u64]) -> Result<Vec<Hash>, StateFault> {
        indices.iter().map(|index| self.node(level, *index)).collect()
    }
}

/// A node by (level, index), and its hash.
pub type PlacedNode = ((u32, u64), Hash);

/// What a block does to the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreeUpdate {
    /// Leaves after the block.
    pub size: u64,
    pub root: Hash,
    /// New leaves, and old ones whose `next` changed.
    pub links: BTreeMap<Key, Link>,
    /// All changed complete nodes, in order of (level, index); level 0 holds leaf hashes.
    pub nodes: Vec<PlacedNode>,
}

impl TreeUpdate {
    /// A changed node.
    pub fn node(&self, level: u32, index: u64) -> Option<&Hash> {
        find(&self.nodes, (level, index))
    }

    /// The changed nodes of a level and all above.
    pub fn from_level(&self, level: u32) -> &[PlacedNode] {
        let first = self.nodes.partition_point(|(place, _)| *place < (level, 0));
        self.nodes.get(first..).unwrap_or_default()
    }

    /// The changed nodes of a level, in order of their index.
    pub fn of_level(&self, level: u32) -> &[PlacedNode] {
        let from = self.from_level(level);
        let end = from.partition_point(|((at, _), _)| *at == level);
        from.get(..end).unwrap_or_default()
    }

    /// The changed leaf hashes by index.
    pub fn leaf_hashes(&self) -> impl Iterator<Item = (u64, Hash)> {
        self.nodes.iter().take_while(|((level, _), _)| *level == 0).map(|((_, index), hash)| (*index, *hash))
    }
}

fn find(nodes: &[PlacedNode], place: (u32, u64)) -> Option<&Hash> {
    let at = nodes.binary_search_by_key(&place, |(place, _)| *place).ok()?;
    nodes.get(at).map(|(_, hash)| hash)
}

/// Applies the changes of one block to a tree of `size` leaves: keys new in the block are appended in ascending order,
/// dirty leaves are hashed first, then each level's dirty nodes once. Size 0 is the tree before genesis: the sentinel
/// is created too.
pub fn update(view: &dyn TreeView, size: u64, changes: &BTreeMap<Key, Stored>) -> Result<TreeUpdate, StateFault> {
    if changes.contains_key(&SENTINEL) {
        return Err(StateFault::Invariant("the sentinel has no value"));
    }
    let placement = place(view, size, changes)?;
    let Placement { size, touched } = placement;
    let mut dirty: Vec<(u64, Hash)> = Vec::with_capacity(touched.len());
    // Both ascend, and every changed key is touched.
    let mut changed = changes.keys().peekable();
    let unchanged = touched.iter().map(|touched| &touched.key);
    let unchanged = unchanged.filter(|key| changed.next_if_eq(key).is_none() && **key != SENTINEL);
    let mut unchanged = view.read_all(&unchanged.collect::<Vec<_>>())?.into_iter();
    let mut changed = changes.iter().peekable();
    for Touched { key, link, .. } in &touched {
        let hash = match changed.next_if(|(changed, _)| *changed == key) {
            Some((_, stored)) => stored.leaf_hash(key, &link.next),
            None if *key == SENTINEL => leaf_hash(key, &link.next, &[]),
            None => {
                let stored = unchanged.next().flatten();
                let stored = stored.ok_or(StateFault::Invariant("a linked leaf has no value"))?;
                stored.leaf_hash(key, &link.next)
            }
        };
        dirty.push((link.index, hash));
    }
    if changed.next().is_some() {
        return Err(StateFault::Invariant("a changed key was not placed"));
    }
    dirty.sort_unstable_by_key(|(index, _)| *index);
    let nodes = climb(view, size, dirty)?;
    let root = root(view, size, &nodes)?;
    let links = touched.into_iter().filter(|touched| touched.linked).map(|Touched { key, link, .. }| (key, link));
    Ok(TreeUpdate { size, root, links: links.collect(), nodes })
}

/// The bytes of a state leaf: key ‖ next ‖ value.
pub fn leaf_bytes(key: &Key, next: &Key, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len().saturating_add(64));
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(next);
    bytes.extend_from_slice(value);
    bytes
}

/// SHA-256(0x00 ‖ key ‖ next ‖ value).
pub fn leaf_hash(key: &Key, next: &Key, value: &[u8]) -> Hash {
    sha256(&[&[0], key, next, value])
}

/// A dirty leaf, with its link after the block.
struct Touched {
    key: Key,
    link: Link,
    /// The leaf is new, or its `next` changed.
    linked: bool,
}

/// Where every leaf that the block touches stands.
struct Placement {
    size: u64,
    /// Ascending.
    touched: Vec<Touched>,
}

/// Finds the changed leaves and links the new ones into the sorted list. Ascending order makes the newest key the only
/// new one that can be a predecessor; and it makes whatever precedes a new key either the leaf that was touched last or one
/// above it.
fn place(view: &dyn TreeView, size: u64, changes: &BTreeMap<Key, Stored>) -> Result<Placement, StateFault> {
    let mut placement = Placement { size, touched: Vec::with_capacity(changes.len().saturating_mul(2)) };
    let mut newest: Option<Neighbour> = None;
    if size == 0 {
        let sentinel = Neighbour { key: SENTINEL, index: 0, next: SENTINEL };
        placement.touch(&sentinel, true)?;
        placement.size = 1;
        newest = Some(sentinel);
    }
    let keys: Vec<&Key> = changes.keys().collect();
    let found = if size == 0 { vec![None; keys.len()] } else { view.positions(&keys)? };
    let new = keys.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(key, _)| *key);
    let new: Vec<&Key> = if size == 0 { Vec::new() } else { new.collect() };
    let mut predecessors = view.predecessors(&new)?.into_iter();
    for (key, found) in keys.into_iter().zip(found) {
        if let Some(old) = found {
            placement.touch(&old, false)?;
            continue;
        }
        let below = predecessors.next();
        let before = match newest {
            Some(newest) if newest.next == SENTINEL || newest.next > *key => newest,
            _ => below.ok_or(StateFault::Invariant("a new key has no predecessor"))?,
        };
        if before.key >= *key || (before.next != SENTINEL && before.next <= *key) {
            return Err(StateFault::Invariant("the predecessor does not enclose the new key"));
        }
        placement.touch(&Neighbour { next: *key, ..before }, true)?;
        let leaf = Neighbour { key: *key, index: placement.size, next: before.next };
        placement.touch(&leaf, true)?;
        placement.size = placement.size.checked_add(1).ok_or(StateFault::Invariant("the tree is full"))?;
        newest = Some(leaf);
    }
    Ok(placement)
}

impl Placement {
    /// Notes a leaf: the one that was touched last, again, or one above it.
    fn touch(&mut self, leaf: &Neighbour, linked: bool) -> Result<(), StateFault> {
        let link = Link { index: leaf.index, next: leaf.next };
        match self.touched.last_mut() {
            Some(last) if last.key > leaf.key => Err(StateFault::Invariant("leaves are not placed in their order")),
            Some(last) if last.key == leaf.key && last.link.index != leaf.index => {
                Err(StateFault::Invariant("a leaf has two indices"))
            }
            Some(last) if last.key == leaf.key => {
                (last.link, last.linked) = (link, last.linked || linked);
                Ok(())
            }
            _ => {
                self.touched.push(Touched { key: leaf.key, link, linked });
                Ok(())
            }
        }
    }
}

/// The siblings of dirty nodes that are not dirty themselves. Dirty nodes come in order.
fn lone_siblings(dirty: &[(u64, Hash)]) -> Vec<u64> {
    let mut lone = Vec::with_capacity(dirty.len());
    let mut rest = dirty.iter().map(|(index, _)| *index).peekable();
    while let Some(index) = rest.next() {
        if index & 1 == 1 {
            lone.push(index.saturating_sub(1));
        } else if rest.next_if_eq(&index.saturating_add(1)).is_none() {
            lone.push(index.saturating_add(1));
        }
    }
    lone
}

/// Hashes the dirty nodes level by level, each once, and returns all of them with the dirty leaves.
fn climb(view: &dyn TreeView, size: u64, leaves: Vec<(u64, Hash)>) -> Result<Vec<PlacedNode>, StateFault> {
    let mut all: Vec<PlacedNode> = Vec::with_capacity(leaves.len().saturating_mul(4));
    let mut dirty = leaves;
    let mut level = 0u32;
    while !dirty.is_empty() {
        all.extend(dirty.iter().map(|(index, hash)| ((level, *index), *hash)));
        // Complete parents on the next level: those whose leaves all exist.
        let complete = size.checked_shr(level.saturating_add(1)).unwrap_or(0);
        let whole = dirty.partition_point(|(index, _)| index >> 1 < complete);
        let (whole, _) = dirty.split_at(whole);
        let mut siblings = view.nodes(level, &lone_siblings(whole))?.into_iter();
        let mut sibling = || siblings.next().ok_or(StateFault::Invariant("a sibling was not asked for"));
        let mut parents = Vec::with_capacity(whole.len());
        let mut rest = whole.iter().peekable();
        while let Some((index, hash)) = rest.next() {
            let hash = if index & 1 == 1 {
                node_hash(&sibling()?, hash)
            } else {
                match rest.next_if(|(next, _)| *next == index.saturating_add(1)) {
                    Some((_, right)) => node_hash(hash, right),
                    None => node_hash(hash, &sibling()?),
                }
            };
            parents.push((index >> 1, hash));
        }
        dirty = parents;
        level = level.saturating_add(1);
    }
    Ok(all)
}

/// The root from the right edge: changed peaks from `nodes`, the others from the view.
fn root(view: &dyn TreeView, size: u64, nodes: &[PlacedNode]) -> Result<Hash, StateFault> {
    let mut peaks = Vec::new();
    for level in (0..u64::BITS).rev().filter(|level| (size >> level) & 1 == 1) {
        // The perfect subtree of this one bit begins where the higher bits of the size end.
        let index = (size >> level).saturating_sub(1);
        peaks.push(match find(nodes, (level, index)) {
            Some(hash) => *hash,
            None => view.node(level, index)?,
        });
    }
    let frontier = Frontier::from_parts(size, peaks).ok_or(StateFault::Invariant("one peak for each one bit"))?;
    Ok(frontier.root())
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryState;
    use super::*;
    use crate::merkle::{inclusion_path, verify_inclusion};
    use proptest::prelude::*;

    fn stored(text: &[u8]) -> Stored {
        Stored { current: crate::codec::Value::bytes(text).encode().into(), trail: None }
    }

    fn key_of(byte: u8) -> Key {
        [byte; 32]
    }

    /// Every insertion and update one by one, everything hashed again: the definition, word for word.
    #[derive(Default)]
    struct Naive {
        leaves: Vec<(Key, Key, Vec<u8>)>,
    }

    impl Naive {
        fn apply(&mut self, changes: &BTreeMap<Key, Stored>) {
            if self.leaves.is_empty() {
                self.leaves.push((SENTINEL, SENTINEL, Vec::new()));
            }
            for (key, stored) in changes {
                if let Some(leaf) = self.leaves.iter_mut().find(|leaf| leaf.0 == *key) {
                    leaf.2 = stored.leaf_value();
                    continue;
                }
                let before = self.leaves.iter_mut().filter(|leaf| leaf.0 < *key).max_by_key(|leaf| leaf.0);
                let before = before.expect("the sentinel is below every key");
                let next = std::mem::replace(&mut before.1, *key);
                self.leaves.push((*key, next, stored.leaf_value()));
            }
        }

        fn root(&self) -> Hash {
            Frontier::of(self.leaves.iter().map(|(key, next, value)| leaf_hash(key, next, value))).root()
        }
    }

    fn check(blocks: &[BTreeMap<Key, Stored>]) {
        let mut naive = Naive::default();
        let mut state = MemoryState::default();
        for changes in blocks {
            let before = state.clone();
            let update = state.apply(changes).expect("changes apply");
            naive.apply(changes);
            assert_eq!(update.root, naive.root());
            assert_eq!(usize::try_from(update.size), Ok(naive.leaves.len()));
            assert_eq!(state.root(), update.root);
            for (key, link) in &update.links {
                let old = before.position(key).expect("memory");
                assert!(old.is_none_or(|old| old.next != link.next), "only changed links are reported");
            }
            for (index, (key, next, value)) in naive.leaves.iter().enumerate() {
                let leaf = state.position(key).expect("memory").expect("present");
                assert_eq!((leaf.index, leaf.next), (index as u64, *next));
                let path = inclusion_path(&state, leaf.index, state.size()).expect("path");
                let hash = leaf_hash(key, next, value);
                assert_eq!(verify_inclusion(hash, leaf.index, state.size(), &path, &state.root()), Ok(()));
            }
        }
    }

    #[test]
    fn every_key_is_present_and_every_gap_absent_in_small_trees() {
        for count in 0..12u8 {
            // Even bytes, in an order that is not ascending over the blocks.
            let blocks: Vec<_> =
                (0..count).map(|i| BTreeMap::from([(key_of(2 + 2 * ((i * 5) % 12)), stored(&[i]))])).collect();
            check(&blocks);
            let mut state = MemoryState::default();
            state.apply(&BTreeMap::new()).expect("genesis");
            for block in &blocks {
                state.apply(block).expect("changes apply");
            }
            for byte in (1..30).step_by(2) {
                let gap = key_of(byte);
                assert_eq!(state.position(&gap), Ok(None));
                let before = state.predecessor(&gap).expect("total");
                assert!(before.key < gap && (before.next == SENTINEL || gap < before.next));
            }
        }
    }

    #[test]
    fn new_keys_that_share_a_predecessor_or_follow_a_changed_one() {
        check(&[
            BTreeMap::from([(key_of(10), stored(b"a")), (key_of(50), stored(b"b"))]),
            BTreeMap::from([
                (key_of(10), stored(b"changed")),
                (key_of(11), stored(b"after a changed one")),
                (key_of(12), stored(b"after a new one")),
                (key_of(49), stored(b"same gap")),
                (key_of(60), stored(b"at the end")),
                (key_of(61), stored(b"and beyond")),
            ]),
            BTreeMap::from([(key_of(1), stored(b"after the sentinel")), (key_of(61), stored(b"again"))]),
        ]);
    }

    #[test]
    fn the_sentinel_takes_no_value() {
        let changes = BTreeMap::from([(SENTINEL, stored(b"x"))]);
        assert!(matches!(MemoryState::default().apply(&changes), Err(StateFault::Invariant(_))));
    }

    #[test]
    fn the_empty_tree_at_genesis_has_only_the_sentinel() {
        let mut state = MemoryState::default();
        let update = state.apply(&BTreeMap::new()).expect("genesis");
        assert_eq!((update.size, update.root), (1, leaf_hash(&SENTINEL, &SENTINEL, &[])));
        assert_eq!(state.apply(&BTreeMap::new()).expect("idle block").root, update.root);
    }

    proptest! {
        #[test]
        fn agrees_with_full_recomputation(
            blocks in prop::collection::vec(
                prop::collection::btree_map(1u8..60, prop::collection::vec(any::<u8>(), 0..3), 0..12), 1..14)
        ) {
            let blocks: Vec<_> = blocks
                .iter()
                .map(|block| block.iter().map(|(byte, value)| (key_of(*byte), stored(value))).collect())
                .collect();
            check(&blocks);
        }
    }
}
