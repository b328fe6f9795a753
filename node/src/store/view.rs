//! The store as it was at one height: a database snapshot and, behind the tip, what later blocks overwrote. All reads
//! for execution, proofs and the API go through a view. Which questions the API asks is in `query`.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::merkle::{Frontier, Nodes};
use mingzhang_ledger::state::key::{Key, KeyHashing};
use mingzhang_ledger::state::tree::{Neighbour, SENTINEL, TreeView};
use mingzhang_ledger::state::{Snapshot, StateFault, Stored};
use rocksdb::{DB, DBRawIteratorWithThreadMode, ReadOptions, SnapshotWithThreadMode};

use super::Store;
use super::fault::StoreFault;
use super::leaf::Leaf;
use super::leaf_hashes;
use super::links::Known;
use super::log::Log;
use super::schema::{Column, GROUP, GROUP_LEVEL, meta};
use super::tip::Tip;
use super::upper::Undo;

/// Groups of leaf hashes that a view remembers.
const REMEMBERED_GROUPS: usize = 4_096;

/// Absent keys that a view remembers.
const REMEMBERED_ABSENT: usize = 16_384;

/// A consistent view of ledger and state. Cheap to take; hold it for one answer or one block, not longer, since it
/// keeps old data from being compacted away.
pub struct View<'a> {
    // The iterator goes before the snapshot that it reads.
    cursor: RefCell<Option<Cursor<'a>>>,
    snapshot: SnapshotWithThreadMode<'a, DB>,
    store: &'a Store,
    height: u64,
    /// The newest block in the snapshot.
    tip: Tip,
    /// What the blocks above `height` and up to the tip overwrote, oldest first.
    undo: Vec<Arc<Undo>>,
    groups: RefCell<HashMap<u64, Arc<Vec<Hash>>>>,
    /// Keys that were looked for and are not there: a new record's key is asked for more than once.
    absent: RefCell<HashSet<Key, KeyHashing>>,
    /// All leaf hashes of a small state in the snapshot, once they were asked for.
    scanned: OnceCell<Vec<Hash>>,
}

impl Store {
    /// A view of the last final block.
    pub fn view(&self) -> Result<View<'_>, StoreFault> {
        self.view_from(None)
    }

    /// A view of a recent height, for proofs against a sealed header. `NotKept` if it is too old or not reached.
    pub fn view_at(&self, height: u64) -> Result<View<'_>, StoreFault> {
        self.view_from(Some(height))
    }

    fn view_from(&self, height: Option<u64>) -> Result<View<'_>, StoreFault> {
        let snapshot = self.db.snapshot();
        let bytes = snapshot.get_cf(self.column(Column::Meta), meta::TIP)?;
        let bytes = bytes.ok_or_else(|| StoreFault::corrupt("the tip", "it is missing"))?;
        let tip = Tip::decode(&bytes).map_err(|error| StoreFault::corrupt("the tip", error))?;
        let height = height.unwrap_or(tip.height);
        let upper = self.upper.read().expect("no holder of this lock panics");
        let kept = if height <= tip.height { upper.since(height, tip.height) } else { None };
        let undo = kept.ok_or(StoreFault::NotKept { height, oldest: upper.oldest(tip.height), newest: tip.height })?;
        drop(upper);
        let (cursor, groups, absent) = (RefCell::default(), RefCell::default(), RefCell::default());
        Ok(View { cursor, snapshot, store: self, height, tip, undo, groups, absent, scanned: OnceCell::new() })
    }
}

impl<'a> View<'a> {
    /// The height that this view shows.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// The newest final block when the view was taken; its height is the view's unless the view looks back.
    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    /// The log's nodes, for inclusion and consistency proofs.
    pub fn log(&self) -> Log<'_, 'a> {
        Log(self)
    }

    /// Leaves of the state tree at the view's height.
    pub fn state_size(&self) -> Result<u64, StoreFault> {
        if self.height == self.tip.height {
            return Ok(self.tip.state_size);
        }
        self.header(self.height)?.map(|header| header.state_size).ok_or(StoreFault::NotKept {
            height: self.height,
            oldest: 1,
            newest: self.tip.height,
        })
    }

    /// The leaf under a key, with its place in the tree.
    pub fn leaf(&self, key: &Key) -> Result<Option<Arc<Leaf>>, StoreFault> {
        if let Some(before) = self.before(key) {
            return Ok(before.clone());
        }
        if self.links(|known| known.holds(key)).is_some_and(|holds| !holds) || self.absent.borrow().contains(key) {
            return Ok(None);
        }
        if let Some(leaf) = self.store.cached_leaf(key, self.tip.height) {
            return Ok(Some(leaf));
        }
        match self.snapshot.get_pinned_cf(self.store.column(Column::Leaves), key)? {
            Some(bytes) => self.fill(key, &self.next_of(key)?, &bytes).map(Some),
            None => {
                let mut absent = self.absent.borrow_mut();
                if absent.len() < REMEMBERED_ABSENT {
                    absent.insert(*key);
                }
                Ok(None)
            }
        }
    }

    /// Asks the links in memory, if they are those of this view.
    fn links<T>(&self, ask: impl FnOnce(Known<'_>) -> T) -> Option<T> {
        let links = self.store.links.read().expect("no holder of this lock panics");
        links.at(self.height).map(ask)
    }

    /// What later blocks than the view's found under the key when they overwrote it first.
    fn before(&self, key: &Key) -> Option<&Option<Arc<Leaf>>> {
        self.undo.iter().find_map(|undo| undo.before(key))
    }

    /// Which key is behind one that is in the snapshot.
    fn next_of(&self, key: &Key) -> Result<Key, StoreFault> {
        let links = self.store.links.read().expect("no holder of this lock panics");
        let known = links.at(self.tip.height).and_then(|known| known.position(key));
        drop(links);
        match known {
            Some(place) => Ok(place.next),
            None => self.with_cursor(|cursor| key_behind(cursor, key)),
        }
    }

    /// A leaf that was read from the snapshot.
    fn fill(&self, key: &Key, next: &Key, bytes: &[u8]) -> Result<Arc<Leaf>, StoreFault> {
        let leaf = Arc::new(decode(key, next, bytes)?);
        self.store.fill_leaf(self.tip.height, &leaf);
        Ok(leaf)
    }

    /// Works with the view's own cursor over the leaves of the snapshot.
    fn with_cursor<T>(&self, work: impl FnOnce(&mut Cursor<'a>) -> T) -> T {
        let mut cursor = self.cursor.borrow_mut();
        work(cursor.get_or_insert_with(|| {
            let mut options = whole_order();
            options.set_snapshot(&self.snapshot);
            self.store.db.raw_iterator_cf_opt(self.store.column(Column::Leaves), options)
        }))
    }

    /// The greatest leaf strictly below `key` that exists at this height.
    fn below(&self, key: &Key) -> Result<Neighbour, StoreFault> {
        if let Some(Some(neighbour)) = self.links(|known| known.below(key)) {
            return Ok(neighbour);
        }
        let found = self.with_cursor(|cursor| {
            cursor.seek_for_prev(key);
            while let Some((found, bytes)) = cursor.item() {
                let found = state_key(found)?;
                // What was created later than this view is not there yet.
                if found < *key && self.before(&found).is_none_or(|before| before.is_some()) {
                    let bytes = bytes.to_vec();
                    cursor.next();
                    return Ok((found, bytes, key_at(cursor)?));
                }
                cursor.prev();
            }
            cursor.status()?;
            Err(StoreFault::corrupt("the state tree", "no leaf is below the key"))
        });
        let (found, bytes, next) = found?;
        match self.before(&found) {
            Some(Some(leaf)) => Ok(leaf.neighbour()),
            Some(None) | None => self.fill(&found, &next, &bytes).map(|leaf| leaf.neighbour()),
        }
    }

    /// Leaf hashes of one group at this height; the last may be partial.
    fn group(&self, group: u64) -> Result<Arc<Vec<Hash>>, StoreFault> {
        if let Some(hashes) = self.groups.borrow().get(&group) {
            return Ok(hashes.clone());
        }
        let (mut hashes, later) = match self.group_in_memory(group)? {
            Some(found) => found,
            None => (self.stored_group(group)?, self.undo.clone()),
        };
        for undo in later.iter().rev() {
            for (index, hash) in (group * GROUP..).zip(hashes.iter_mut()) {
                if let Some(before) = undo.leaf_hash(index) {
                    *hash = before;
                }
            }
        }
        let hashes = Arc::new(hashes);
        let mut groups = self.groups.borrow_mut();
        if groups.len() < REMEMBERED_GROUPS {
            groups.insert(group, hashes.clone());
        }
        Ok(hashes)
    }

    fn stored_group(&self, group: u64) -> Result<Vec<Hash>, StoreFault> {
        let bytes = self.snapshot.get_pinned_cf(self.store.column(Column::LeafHashes), group.to_be_bytes())?;
        let bytes = bytes.ok_or_else(|| StoreFault::corrupt(format!("leaf hash group {group}"), "it is missing"))?;
        leaf_hashes::decode(group, &bytes)
    }

    /// A group of a small state as the newest block left it, and what the blocks above the view overwrote.
    fn group_in_memory(&self, group: u64) -> Result<Option<LaterGroup>, StoreFault> {
        let upper = self.store.upper.read().expect("no holder of this lock panics");
        let Some(hashes) = upper.low_leaves(group * GROUP, GROUP) else { return Ok(None) };
        let newest = upper.height();
        let later = upper.since(self.height, newest);
        let not_kept = || StoreFault::NotKept { height: self.height, oldest: upper.oldest(newest), newest };
        Ok(Some((hashes, later.ok_or_else(not_kept)?)))
    }

    /// All leaf hashes of a small state in the snapshot, from its leaves: it may be older than what memory keeps.
    pub(super) fn scanned_leaf_hashes(&self) -> Result<&[Hash], StoreFault> {
        if let Some(hashes) = self.scanned.get() {
            return Ok(hashes);
        }
        let leaves = self.scan(Column::Leaves, &SENTINEL);
        let hashes = super::open::hash_leaves(in_order(leaves), self.tip.state_size)?.0;
        Ok(self.scanned.get_or_init(|| hashes))
    }

    pub(super) fn state_node(&self, level: u32, index: u64) -> Result<Hash, StateFault> {
        if level >= GROUP_LEVEL {
            return self.store.upper.read().expect("no holder of this lock panics").node(level, index, self.height);
        }
        let upper = self.store.upper.read().expect("no holder of this lock panics");
        if let Some(hash) = upper.low_node(level, index, self.height) {
            return Ok(hash);
        }
        drop(upper);
        let first = index << level;
        let group = self.group(first / GROUP)?;
        let start = usize::try_from(first % GROUP).expect("below GROUP");
        let leaves = group.get(start..start + (1 << level));
        let leaves = leaves.ok_or(StateFault::Invariant("a node was asked for that is not complete"))?;
        Ok(Frontier::of(leaves.iter().copied()).root())
    }

    /// A value as the snapshot has it. Ledger columns only grow, so they are right for every view.
    pub(super) fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Ok(self.snapshot.get_cf(self.store.column(column), key)?)
    }

    /// Pairs of a column from `from` on, in order, as the snapshot has them.
    pub(super) fn scan(&self, column: Column, from: &[u8]) -> impl Iterator<Item = Result<Pair, StoreFault>> + '_ {
        let mode = rocksdb::IteratorMode::From(from, rocksdb::Direction::Forward);
        self.snapshot.iterator_cf(self.store.column(column), mode).map(|item| item.map_err(StoreFault::from))
    }

    /// As [`Self::scan`], without a copy of every pair.
    pub(super) fn raw_scan(&self, column: Column) -> DBRawIteratorWithThreadMode<'_, DB> {
        self.snapshot.raw_iterator_cf(self.store.column(column))
    }

    pub(super) fn store(&self) -> &'a Store {
        self.store
    }
}

/// Leaf hashes of a group at a height, and what was overwritten on the way there from the view's.
type LaterGroup = (Vec<Hash>, Vec<Arc<Undo>>);

/// Key and value.
pub(super) type Pair = (Box<[u8]>, Box<[u8]>);

/// A key, the one behind it, and what lies under it.
pub(super) type Placed = (Key, Key, Box<[u8]>);

pub(super) type Cursor<'a> = DBRawIteratorWithThreadMode<'a, DB>;

/// For a cursor that goes from key to key, and is asked for no prefix.
pub(super) fn whole_order() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_total_order_seek(true);
    options
}

pub(super) fn state_key(bytes: &[u8]) -> Result<Key, StoreFault> {
    bytes.try_into().map_err(|_| StoreFault::corrupt("a state key", "it is not 32 bytes long"))
}

/// Where the cursor stands, or the sentinel behind the last key.
pub(super) fn key_at(cursor: &Cursor<'_>) -> Result<Key, StoreFault> {
    match cursor.key() {
        Some(key) => state_key(key),
        None => cursor.status().map(|()| SENTINEL).map_err(StoreFault::from),
    }
}

/// The key behind one that is there.
pub(super) fn key_behind(cursor: &mut Cursor<'_>, key: &Key) -> Result<Key, StoreFault> {
    cursor.seek(key);
    if cursor.valid() {
        cursor.next();
    }
    key_at(cursor)
}

pub(super) fn decode(key: &Key, next: &Key, bytes: &[u8]) -> Result<Leaf, StoreFault> {
    Leaf::decode(key, next, bytes)
        .map_err(|error| StoreFault::corrupt(format!("state leaf {}", hex::encode(key)), error))
}

/// Leaves that come in the order of their keys, each with the key behind it.
pub(super) fn in_order(
    leaves: impl Iterator<Item = Result<Pair, StoreFault>>,
) -> impl Iterator<Item = Result<Placed, StoreFault>> {
    let mut leaves = leaves.map(|leaf| leaf.and_then(|(key, bytes)| Ok((state_key(&key)?, bytes)))).peekable();
    std::iter::from_fn(move || {
        let leaf = leaves.next()?;
        let next = match leaves.peek() {
            Some(Ok((next, _))) => *next,
            // The fault itself comes next.
            Some(Err(_)) | None => SENTINEL,
        };
        Some(leaf.map(|(key, bytes)| (key, next, bytes)))
    })
}

impl Snapshot for View<'_> {
    fn read(&self, key: &Key) -> Result<Option<Stored>, StateFault> {
        // The sentinel has a leaf, but no value.
        let leaf = if *key == SENTINEL { None } else { self.leaf(key)? };
        Ok(leaf.map(|leaf| leaf.stored.clone()))
    }

    fn read_all(&self, keys: &[&Key]) -> Result<Vec<Option<Stored>>, StateFault> {
        let mut values = vec![None; keys.len()];
        // The links of a small state know what is not there.
        let there = self.links(|known| {
            known.fetch(keys);
            (0..keys.len()).filter(|at| known.holds(keys[*at])).collect()
        });
        let there: Vec<usize> = there.unwrap_or_else(|| (0..keys.len()).collect());
        if self.undo.is_empty() {
            let mut leaves = self.store.leaves.lock().expect("no holder of this lock panics");
            leaves.fetch(there.iter().map(|at| keys[*at]));
            for at in &there {
                values[*at] = leaves.get(keys[*at], self.tip.height).map(|leaf| leaf.stored.clone());
            }
        }
        for at in there {
            if values[at].is_none() {
                values[at] = self.read(keys[at])?;
            }
        }
        Ok(values)
    }
}

impl TreeView for View<'_> {
    fn position(&self, key: &Key) -> Result<Option<Neighbour>, StateFault> {
        if let Some(position) = self.links(|known| known.position(key)) {
            return Ok(position);
        }
        Ok(self.leaf(key)?.map(|leaf| leaf.neighbour()))
    }

    fn predecessor(&self, key: &Key) -> Result<Neighbour, StateFault> {
        Ok(self.below(key)?)
    }

    fn node(&self, level: u32, index: u64) -> Result<Hash, StateFault> {
        self.state_node(level, index)
    }

    // Under one lock, and in one go: while one answer comes from memory the processor asks for the next.

    fn positions(&self, keys: &[&Key]) -> Result<Vec<Option<Neighbour>>, StateFault> {
        let positions = self.links(|known| {
            known.fetch(keys);
            keys.iter().map(|key| known.position(key)).collect()
        });
        match positions {
            Some(positions) => Ok(positions),
            None => keys.iter().map(|key| self.position(key)).collect(),
        }
    }

    fn predecessors(&self, keys: &[&Key]) -> Result<Vec<Neighbour>, StateFault> {
        match self.links(|known| keys.iter().map(|key| known.below(key)).collect()) {
            Some(Some(predecessors)) => Ok(predecessors),
            Some(None) | None => keys.iter().map(|key| self.predecessor(key)).collect(),
        }
    }

    fn nodes(&self, level: u32, indices: &[u64]) -> Result<Vec<Hash>, StateFault> {
        let upper = self.store.upper.read().expect("no holder of this lock panics");
        if level >= GROUP_LEVEL {
            return indices.iter().map(|index| upper.node(level, *index, self.height)).collect();
        }
        let known: Option<Vec<Hash>> = indices.iter().map(|index| upper.low_node(level, *index, self.height)).collect();
        drop(upper);
        match known {
            Some(nodes) => Ok(nodes),
            None => indices.iter().map(|index| self.state_node(level, *index)).collect(),
        }
    }
}

impl Nodes for View<'_> {
    type Error = StateFault;

    fn node(&self, level: u32, index: u64) -> Result<Hash, StateFault> {
        self.state_node(level, index)
    }
}
