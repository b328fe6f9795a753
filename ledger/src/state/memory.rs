//! A whole state in memory: what replay, simulation and tests execute against. Nodes keep theirs in a store.

use std::collections::BTreeMap;

use super::key::Key;
use super::tree::{self, Link, Neighbour, TreeUpdate, TreeView};
use super::{Snapshot, StateFault, Stored};
use crate::crypto::Hash;
use crate::merkle::Nodes;

/// Values, links and nodes of a state tree. The default is the state before genesis.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryState {
    values: BTreeMap<Key, Stored>,
    links: BTreeMap<Key, Link>,
    /// Complete nodes by level, each level in order of index.
    levels: Vec<Vec<Hash>>,
    size: u64,
    root: Hash,
}

impl MemoryState {
    /// Leaves of the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn root(&self) -> Hash {
        self.root
    }

    /// All values in order of their keys.
    pub fn values(&self) -> &BTreeMap<Key, Stored> {
        &self.values
    }

    /// Applies the changes of one block, or of genesis as the first.
    pub fn apply(&mut self, changes: &BTreeMap<Key, Stored>) -> Result<TreeUpdate, StateFault> {
        let update = tree::update(self, self.size, changes)?;
        for (key, stored) in changes {
            self.values.insert(*key, stored.clone());
        }
        self.adopt(&update)?;
        Ok(update)
    }

    fn adopt(&mut self, update: &TreeUpdate) -> Result<(), StateFault> {
        self.links.extend(update.links.iter().map(|(key, link)| (*key, *link)));
        for ((level, index), hash) in &update.nodes {
            let depth = usize::try_from(*level).unwrap_or(usize::MAX);
            while self.levels.len() <= depth {
                self.levels.push(Vec::new());
            }
            let level = self.levels.get_mut(depth).ok_or(StateFault::Invariant("level"))?;
            let index = usize::try_from(*index).map_err(|_| StateFault::Invariant("index"))?;
            let length = level.len();
            match level.get_mut(index) {
                Some(node) => *node = *hash,
                None if index == length => level.push(*hash),
                None => return Err(StateFault::Invariant("a level has a gap")),
            }
        }
        (self.size, self.root) = (update.size, update.root);
        Ok(())
    }

    fn neighbour(key: &Key, link: &Link) -> Neighbour {
        Neighbour { key: *key, index: link.index, next: link.next }
    }
}

impl Snapshot for MemoryState {
    fn read(&self, key: &Key) -> Result<Option<Stored>, StateFault> {
        Ok(self.values.get(key).cloned())
    }
}

impl TreeView for MemoryState {
    fn position(&self, key: &Key) -> Result<Option<Neighbour>, StateFault> {
        Ok(self.links.get(key).map(|link| Self::neighbour(key, link)))
    }

    fn predecessor(&self, key: &Key) -> Result<Neighbour, StateFault> {
        let below = self.links.range(..*key).next_back();
        below.map(|(key, link)| Self::neighbour(key, link)).ok_or(StateFault::Invariant("no key is below the sentinel"))
    }

    fn node(&self, level: u32, index: u64) -> Result<Hash, StateFault> {
        let level = usize::try_from(level).ok().and_then(|level| self.levels.get(level));
        let node = usize::try_from(index).ok().and_then(|index| level?.get(index));
        node.copied().ok_or(StateFault::Invariant("a node was asked for that is not complete"))
    }
}

impl Nodes for MemoryState {
    type Error = StateFault;
    fn node(&self, level: u32, index: u64) -> Result<Hash, StateFault> {
        TreeView::node(self, level, index)
    }
}
