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

    fn oldest_first(&self) -> impl Iterator<Item = &Arc<Pending>> {
        self.layers.iter().rev()
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

    fn read_all(&self, keys: &[&Key]) -> Result<Vec<Option<Stored>>, StateFault> {
        let layered = |key| self.layers.iter().find_map(|layer| layer.executed.changes.get(key)).cloned();
        let mut found: Vec<Option<Stored>> = keys.iter().map(|key| layered(*key)).collect();
        let below: Vec<&Key> =
            keys.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(key, _)| *key).collect();
        let below = self.base.read_all(&below)?;
        found.iter_mut().filter(|found| found.is_none()).zip(below).for_each(|(found, below)| *found = below);
        Ok(found)
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

    fn positions(&self, keys: &[&Key]) -> Result<Vec<Option<Neighbour>>, StateFault> {
        let mut found = self.base.positions(keys)?;
        for layer in self.oldest_first() {
            let mut links = layer.executed.tree.links.iter().peekable();
            for (key, found) in keys.iter().zip(&mut found) {
                while links.next_if(|(linked, _)| linked < key).is_some() {}
                if let Some((key, link)) = links.next_if(|(linked, _)| linked == key) {
                    *found = Some(Neighbour { key: *key, index: link.index, next: link.next });
                }
            }
        }
        Ok(found)
    }

    fn predecessors(&self, keys: &[&Key]) -> Result<Vec<Neighbour>, StateFault> {
        let mut found = self.base.predecessors(keys)?;
        for layer in self.oldest_first() {
            let mut links = layer.executed.tree.links.iter().peekable();
            let mut last = None;
            for (key, found) in keys.iter().zip(&mut found) {
                while let Some(below) = links.next_if(|(linked, _)| linked < key) {
                    last = Some(below);
                }
                // A nearer key, or a newer link of the same one.
                if let Some((key, link)) = last.filter(|(key, _)| **key >= found.key) {
                    *found = Neighbour { key: *key, index: link.index, next: link.next };
                }
            }
        }
        Ok(found)
    }

    fn nodes(&self, level: u32, indices: &[u64]) -> Result<Vec<Hash>, StateFault> {
        if self.layers.is_empty() {
            return self.base.nodes(level, indices);
        }
        let mut found: Vec<Option<Hash>> = vec![None; indices.len()];
        for layer in self.oldest_first() {
            let mut nodes = layer.executed.tree.of_level(level).iter().peekable();
            for (index, found) in indices.iter().zip(&mut found) {
                while nodes.next_if(|((_, changed), _)| changed < index).is_some() {}
                if let Some((_, hash)) = nodes.next_if(|((_, changed), _)| changed == index) {
                    *found = Some(*hash);
                }
            }
        }
        let below = indices.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(index, _)| *index);
        let mut below = self.base.nodes(level, &below.collect::<Vec<u64>>())?.into_iter();
        let all = found.into_iter().map(|found| found.or_else(|| below.next()));
        all.collect::<Option<_>>().ok_or(StateFault::Invariant("fewer nodes than were asked for"))
    }
}

impl Nodes for Layered<'_> {
    type Error = StateFault;

    fn node(&self, level: u32, index: u64) -> Result<Hash, StateFault> {
        self.tree_node(level, index)
    }
}
