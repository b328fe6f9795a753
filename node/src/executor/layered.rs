//! The state after a block that is not final: the changes of its branch over the store. Layers are never changed once
//! they are made.

use std::sync::Arc;

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::merkle::Nodes;
use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::state::tree::{Neighbour, TreeView};
use mingzhang_ledger::state::{Snapshot, StateFault, Stored};

use super::Pending;
use crate::store::View;

/// A branch of executed blocks over a view of the last final one.
pub struct Layered<'a> {
    /// Newest first.
    layers: Vec<Arc<Pending>>,
    base: View<'a>,
}

impl<'a> Layered<'a> {
    pub(super) fn new(base: View<'a>, layers: Vec<Arc<Pending>>) -> Self {
        Self { layers, base }
    }

    /// The block whose state this is; none if it is the final one below.
    pub fn newest(&self) -> Option<&Arc<Pending>> {
        self.layers.first()
    }

    pub fn base(&self) -> &View<'a> {
        &self.base
    }

    fn linked(&self, key: &Key) -> Option<Neighbour> {
        let link = self.layers.iter().find_map(|layer| layer.executed.tree.links.get(key))?;
        Some(Neighbour { key: *key, index: link.index, next: link.next })
    }

    fn tree_node(&self, level: u32, index: u64) -> Result<Hash, StateFault> {
        match self.layers.iter().find_map(|layer| layer.executed.tree.node(level, index)) {
            Some(hash) => Ok(*hash),
            None => TreeView::node(&self.base, level, index),
        }
    }
}

impl Snapshot for Layered<'_> {
    fn read(&self, key: &Key) -> Result<Option<Stored>, StateFault> {
        match self.layers.iter().find_map(|layer| layer.executed.changes.get(key)) {
            Some(stored) => Ok(Some(stored.clone())),
            None => self.base.read(key),
        }
    }
}

impl TreeView for Layered<'_> {
    fn position(&self, key: &Key) -> Result<Option<Neighbour>, StateFault> {
        match self.linked(key) {
            Some(neighbour) => Ok(Some(neighbour)),
            None => self.base.position(key),
        }
    }

    fn predecessor(&self, key: &Key) -> Result<Neighbour, StateFault> {
        let below = self.base.predecessor(key)?;
        let in_layers = self.layers.iter().filter_map(|layer| layer.executed.tree.links.range(..*key).next_back());
        let nearest = in_layers.map(|(key, _)| *key).max().map_or(below.key, |found| found.max(below.key));
        // The newest link of the nearest key, wherever it was written last.
        Ok(self.linked(&nearest).unwrap_or(below))
    }

    fn node(&self, level: u32, index: u64) -> Result<Hash, StateFault> {
        self.tree_node(level, index)
    }
}

impl Nodes for Layered<'_> {
    type Error = StateFault;

    fn node(&self, level: u32, index: u64) -> Result<Hash, StateFault> {
        self.tree_node(level, index)
    }
}
