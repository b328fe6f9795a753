//! The state as a new node takes it over from a peer: parts that it writes as they come and prove themselves, where it
//! stands if it is interrupted, and the one write that makes the taken state its own. Until then the node is at genesis
//! and answers nothing. What is proved how is `sync::snapshot`'s matter.

use std::sync::Arc;

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::codec::{CodecFault, Reader};
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::merkle::{Frontier, subtree_root};
use mingzhang_ledger::state::key::Key;
use rocksdb::{IteratorMode, WriteBatch};

use super::fault::StoreFault;
use super::leaf::LeafCache;
use super::log::LogWriter;
use super::query::Preimage;
use super::schema::{self, Column, GROUP, meta};
use super::tip::Tip;
use super::view::{View, key_at, state_key};
use super::{Finality, Store, leaf_hashes};

/// The end of an epoch of the past: what a node needs to know of the epochs before its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastEpoch {
    /// Of the block that ended it.
    pub height: u64,
    pub by: Finality,
    /// Size of the set that decided it.
    pub members: usize,
    /// The set that decided next.
    pub set: Arc<AuthoritySet>,
}

/// The block whose state was taken, with all that its child needs besides the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub header: Header,
    pub certificate: FinalCert,
    pub set: Arc<AuthoritySet>,
    pub past: Vec<PastEpoch>,
    pub preimage: Option<Preimage>,
    /// Of each stored level, from 0 on, the hashes of the tile that is not full, before the header's own leaf.
    pub tiles: Vec<Vec<Hash>>,
}

/// So many hashes of a state that is being taken are kept in memory, 32 bytes each, and each leaf is compared at once; those
/// of a larger state are read as they are needed.
const HASHES_IN_MEMORY: u64 = 1 << 22;

/// The hashes that the leaves of a state must have.
#[derive(Debug)]
pub struct ExpectedLeaves {
    store: Arc<Store>,
    hashes: Option<Vec<Hash>>,
}

impl ExpectedLeaves {
    /// By the leaves' indices. None for a leaf that is not known of.
    pub fn of(&self, indices: &[u64]) -> Result<Vec<Option<Hash>>, StoreFault> {
        match &self.hashes {
            Some(hashes) => {
                let find = |index: &u64| usize::try_from(*index).ok().and_then(|index| hashes.get(index).copied());
                Ok(indices.iter().map(find).collect())
            }
            None => self.read(indices),
        }
    }

    /// Each group is read once.
    fn read(&self, indices: &[u64]) -> Result<Vec<Option<Hash>>, StoreFault> {
        let mut order: Vec<usize> = (0..indices.len()).collect();
        order.sort_unstable_by_key(|at| indices[*at]);
        let mut groups: Vec<[u8; 8]> = order.iter().map(|at| (indices[*at] / GROUP).to_be_bytes()).collect();
        groups.dedup();
        let found = self.store.db.batched_multi_get_cf(self.store.column(Column::LeafHashes), &groups, true);
        let mut found = groups.into_iter().zip(found).peekable();
        let mut hashes = vec![None; indices.len()];
        for at in order {
            let group = (indices[at] / GROUP).to_be_bytes();
            while found.next_if(|(key, _)| *key < group).is_some() {}
            if let Some((_, bytes)) = found.peek() {
                let slot = u8::try_from(indices[at] % GROUP).expect("below GROUP");
                let bytes = bytes.as_ref().map_err(|error| StoreFault::from(error.clone()))?;
                hashes[at] = bytes.as_ref().and_then(|items| leaf_hashes::find(items, slot));
            }
        }
        Ok(hashes)
    }
}

/// How far the taking is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The next part of leaf hashes.
    Hashes(u64),
    /// The next leaf.
    Leaves(Key),
}

impl Progress {
    fn encode(self) -> Vec<u8> {
        match self {
            Self::Hashes(part) => [&[1][..], &part.to_be_bytes()].concat(),
            Self::Leaves(key) => [&[2][..], &key].concat(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let progress = match reader.u8()? {
            1 => Self::Hashes(reader.u64()?),
            2 => Self::Leaves(reader.array()?),
            _ => return Err(CodecFault::Invalid("progress")),
        };
        reader.finish()?;
        Ok(progress)
    }
}

impl Store {
    /// Whether a state is being taken: what is stored is then no state that anybody may be told of.
    pub fn is_joining(&self) -> bool {
        self.joining.load(std::sync::atomic::Ordering::Acquire)
    }

    /// The manifest under which a state is being taken, and how far it is.
    pub fn joining(&self) -> Result<Option<(Vec<u8>, Progress)>, StoreFault> {
        let Some(progress) = self.get(Column::Meta, meta::JOINING)? else { return Ok(None) };
        let progress = Progress::decode(&progress).map_err(|error| StoreFault::corrupt("the progress", error))?;
        let manifest = self.get(Column::Meta, meta::MANIFEST)?;
        Ok(Some((manifest.ok_or_else(|| StoreFault::corrupt("the manifest", "it is missing"))?, progress)))
    }

    /// Begins to take a state, or begins again under another manifest: of what was taken before nothing is left, for its
    /// keys may be more.
    pub fn begin_joining(&self, manifest: &[u8]) -> Result<(), StoreFault> {
        let mut batch = WriteBatch::default();
        if self.is_joining() {
            batch.delete_range_cf(self.column(Column::Leaves), &[0u8; 32][..], &[0xff; 33][..]);
            self.drop_leaf_hashes(&mut batch);
        }
        batch.put_cf(self.column(Column::Meta), meta::MANIFEST, manifest);
        batch.put_cf(self.column(Column::Meta), meta::JOINING, Progress::Hashes(0).encode());
        self.joining.store(true, std::sync::atomic::Ordering::Release);
        self.write_synced(batch)
    }

    /// Leaves come in the order of their keys and are written once: to compact them as they come would only write them again.
    pub fn rest_compactions(&self, resting: bool) -> Result<(), StoreFault> {
        let option = ("disable_auto_compactions", if resting { "true" } else { "false" });
        Ok(self.db.set_options_cf(self.column(Column::Leaves), &[option])?)
    }

    /// Keeps a part of the leaf hashes that begins at leaf `first`, a multiple of [`GROUP`].
    pub fn put_leaf_hashes(&self, first: u64, hashes: &[Hash], then: Progress) -> Result<(), StoreFault> {
        let mut batch = WriteBatch::default();
        for (group, hashes) in (first / GROUP..).zip(hashes.chunks(usize::try_from(GROUP).expect("small"))) {
            batch.put_cf(self.column(Column::LeafHashes), group.to_be_bytes(), leaf_hashes::encode(hashes));
        }
        self.step(batch, then)
    }

    /// What the leaves of a state of this size must be, once all their hashes are stored.
    pub fn expected_leaves(self: &Arc<Self>, size: u64) -> Result<ExpectedLeaves, StoreFault> {
        let hashes = if size <= HASHES_IN_MEMORY { Some(self.view()?.stored_leaf_hashes(0, size)?) } else { None };
        Ok(ExpectedLeaves { store: Arc::clone(self), hashes })
    }

    /// Keeps leaves, as they lie on disk, that were compared with their hashes.
    pub fn put_leaves(&self, leaves: &[(Key, Vec<u8>)], then: Progress) -> Result<(), StoreFault> {
        let mut batch = WriteBatch::default();
        for (key, leaf) in leaves {
            batch.put_cf(self.column(Column::Leaves), key, leaf);
        }
        self.step(batch, then)
    }

    fn step(&self, mut batch: WriteBatch, then: Progress) -> Result<(), StoreFault> {
        batch.put_cf(self.column(Column::Meta), meta::JOINING, then.encode());
        let written = self.write(batch)?;
        self.flush_when_due(written)
    }

    /// Makes the taken state the node's own, in one synced write, after its root was computed once more.
    pub fn finish_joining(&self, taken: &Taken) -> Result<(), StoreFault> {
        let _one_at_a_time = self.committing.lock().expect("no holder of this lock panics");
        let header = &taken.header;
        let mut batch = WriteBatch::default();
        self.write_taken_log(taken, &mut batch)?;
        let tip = taken_tip(taken)?;
        self.write_taken_block(taken, &tip, &mut batch);
        let (upper, links) = self.rebuild(&tip)?;
        if tip.state_size <= self.small_leaves {
            self.drop_leaf_hashes(&mut batch);
        }
        *self.upper.write().expect("no holder of this lock panics") = upper;
        *self.links.write().expect("no holder of this lock panics") = links;
        *self.leaves.lock().expect("no holder of this lock panics") = LeafCache::default();
        self.leaves.lock().expect("no holder of this lock panics").advance(header.height);
        self.write_synced(batch)?;
        let view = self.view()?;
        if subtree_root(&view, 0, header.state_size)? != header.state_root {
            return Err(StoreFault::corrupt("the state that was taken", "it does not lead to the header's root"));
        }
        if subtree_root(&view.log(), 0, tip.tree_size())? != tip.tree_root() {
            return Err(StoreFault::corrupt("the log's edge that was taken", "it does not lead to the header's root"));
        }
        drop(view);
        *self.set.write().expect("no holder of this lock panics") = Arc::clone(&taken.set);
        *self.tip.write().expect("no holder of this lock panics") = Arc::new(tip);
        self.base.store(header.height, std::sync::atomic::Ordering::Release);
        self.joining.store(false, std::sync::atomic::Ordering::Release);
        self.final_height.send_replace(header.height);
        if header.state_size > self.small_leaves {
            self.merge_leaves_sooner()?;
        }
        self.rest_compactions(false)
    }

    /// The edge of the log, and the header as its last leaf.
    fn write_taken_log(&self, taken: &Taken, batch: &mut WriteBatch) -> Result<(), StoreFault> {
        let (header, size) = (&taken.header, taken.header.own_index());
        let mut edge = WriteBatch::default();
        for (level, hashes) in (0u32..).step_by(8).zip(&taken.tiles) {
            let first = (size >> level) / 256 * (256 / GROUP);
            for (group, hashes) in (first..).zip(hashes.chunks(usize::try_from(GROUP).expect("small"))) {
                let level = u8::try_from(level).unwrap_or(u8::MAX);
                edge.put_cf(self.column(Column::LogHashes), schema::log_group(level, group), hashes.concat());
            }
        }
        // Written first, for the writer reads what it appends to; it means nothing until the tip says so.
        self.write(edge)?;
        let mut log = LogWriter::new(self);
        log.append(size, header.id())?;
        log.write(batch)
    }

    fn write_taken_block(&self, taken: &Taken, tip: &Tip, batch: &mut WriteBatch) {
        let (header, height) = (&taken.header, taken.header.height.to_be_bytes());
        batch.put_cf(self.column(Column::Headers), height, header.encode());
        batch.put_cf(self.column(Column::HeaderAt), header.own_index().to_be_bytes(), height);
        batch.put_cf(self.column(Column::Entries), header.own_index().to_be_bytes(), header.encode());
        let mut certified = |height: u64, members: usize, certificate: &FinalCert| {
            let mut bytes = u16::try_from(members).expect("at most MAX_MEMBERS").to_be_bytes().to_vec();
            bytes.extend_from_slice(&certificate.encode(members));
            batch.put_cf(self.column(Column::Certificates), height.to_be_bytes(), bytes);
        };
        certified(header.height, taken.set.members.len(), &taken.certificate);
        for past in &taken.past {
            if let Finality::Certificate(certificate) = &past.by {
                certified(past.height, past.members, certificate);
            }
        }
        for past in &taken.past {
            self.write_epoch(past.height, &past.set, batch);
            if let Finality::Recovery(recovered) = &past.by {
                self.write_recovered(recovered, batch);
            }
        }
        if let Some((positions, references)) = &taken.preimage {
            let preimage = mingzhang_ledger::batch::batches_preimage(positions, references);
            batch.put_cf(self.column(Column::Preimages), height, preimage);
        }
        // Trails of genesis would stand where later ones are missing.
        batch.delete_range_cf(self.column(Column::Trails), &[0u8; 40][..], &[0xff; 41][..]);
        let meta_column = self.column(Column::Meta);
        batch.put_cf(meta_column, meta::TIP, tip.encode());
        batch.put_cf(meta_column, meta::BASE, height);
        batch.delete_cf(meta_column, meta::JOINING);
        batch.delete_cf(meta_column, meta::MANIFEST);
    }

    /// Height from which on this node holds the log; 0 if it holds all of it.
    pub fn base(&self) -> u64 {
        self.base.load(std::sync::atomic::Ordering::Acquire)
    }
}

fn taken_tip(taken: &Taken) -> Result<Tip, StoreFault> {
    let header = &taken.header;
    let mut log = edge_frontier(header.own_index(), &taken.tiles)
        .ok_or_else(|| StoreFault::corrupt("the log's edge that was taken", "it has another size"))?;
    log.append(header.id());
    Ok(Tip {
        height: header.height,
        id: header.id(),
        time_ms: header.time_ms,
        epoch: header.epoch,
        turn: taken.certificate.turn,
        state_size: header.state_size,
        state_root: header.state_root,
        log,
        lanes: taken.preimage.as_ref().map(|(positions, _)| positions.clone()).unwrap_or_default(),
    })
}

/// The frontier of a log of `size` leaves, from the hashes of its tiles that are not full. None if their numbers are not
/// those of that size.
pub fn edge_frontier(size: u64, tiles: &[Vec<Hash>]) -> Option<Frontier> {
    let mut peaks = Vec::new();
    let levels = (0u32..64).step_by(8);
    let above: u64 = levels.clone().skip(tiles.len()).map(|level| (size >> level) % 256).sum();
    if above != 0 {
        return None;
    }
    for (level, hashes) in levels.zip(tiles).collect::<Vec<_>>().into_iter().rev() {
        if u64::try_from(hashes.len()).ok()? != (size >> level) % 256 {
            return None;
        }
        peaks.extend_from_slice(Frontier::of(hashes.iter().copied()).peaks());
    }
    Frontier::from_parts(size, peaks)
}

/// What a node that gives its state away reads, from one view.
impl View<'_> {
    /// All leaf hashes from leaf `first` on, at most `count`.
    pub fn leaf_hashes(&self, first: u64, count: u64) -> Result<Vec<Hash>, StoreFault> {
        let end = first.saturating_add(count);
        if self.tip().state_size <= self.store().small_leaves {
            let hashes = self.scanned_leaf_hashes()?;
            let place = |index: u64| usize::try_from(index).map_or(hashes.len(), |index| index.min(hashes.len()));
            return Ok(hashes[place(first)..place(end)].to_vec());
        }
        self.stored_leaf_hashes(first, count)
    }

    /// As they lie on disk, from a multiple of [`GROUP`] on.
    fn stored_leaf_hashes(&self, first: u64, count: u64) -> Result<Vec<Hash>, StoreFault> {
        let (mut found, end) = (Vec::new(), first.saturating_add(count));
        let groups = first / GROUP..end.div_ceil(GROUP);
        for (group, item) in groups.zip(self.scan(Column::LeafHashes, &(first / GROUP).to_be_bytes())) {
            let (key, bytes) = item?;
            if key[..] != group.to_be_bytes() {
                return Err(StoreFault::corrupt(format!("leaf hash group {group}"), "it is missing"));
            }
            found.extend(leaf_hashes::decode(group, &bytes)?);
        }
        found.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        Ok(found)
    }

    /// Leaves in the order of their keys from `from` on, as they lie on disk, each with the key behind it, for as long as
    /// `take` wants more.
    pub fn leaves_from(&self, from: &Key, mut take: impl FnMut(&Key, &[u8], &Key) -> bool) -> Result<(), StoreFault> {
        let mut leaves = self.raw_scan(Column::Leaves);
        leaves.seek(from);
        let mut leaf = Vec::new();
        while let Some((found, bytes)) = leaves.item() {
            let key = state_key(found)?;
            leaf.clear();
            leaf.extend_from_slice(bytes);
            leaves.next();
            if !take(&key, &leaf, &key_at(&leaves)?) {
                break;
            }
        }
        Ok(leaves.status()?)
    }

    /// Of each stored level of the log, the hashes of the tile that is not full at this size.
    pub fn log_edge(&self, size: u64) -> Result<Vec<Vec<Hash>>, StoreFault> {
        let levels = (0u32..64).step_by(8).take_while(|level| size >> level > 0);
        levels
            .map(|level| {
                let count = size >> level;
                self.log().hashes(level, count / 256 * 256, count % 256)
            })
            .collect()
    }
}

impl Store {
    /// Whether the store holds nothing but genesis.
    pub fn is_fresh(&self) -> bool {
        self.tip().height == 0 && self.db.iterator_cf(self.column(Column::Votes), IteratorMode::Start).next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::crypto::sha256;

    use super::*;
    use crate::testing::genesis;

    #[test]
    fn expected_leaves_are_the_same_from_memory_and_from_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(crate::node::open_store(folder.path(), &genesis()).expect("opens"));
        let size = GROUP * 2 + 5;
        let hashes: Vec<Hash> = (0..size).map(|number| sha256(&[&number.to_be_bytes()])).collect();
        store.put_leaf_hashes(0, &hashes, Progress::Hashes(1)).expect("the store writes");
        let in_memory = store.expected_leaves(size).expect("the store reads");
        let on_disk = ExpectedLeaves { store, hashes: None };
        // In no order, one twice, and the last, one beyond it in its group, and one far beyond.
        let indices = [20, 3, size - 1, 16, 3, 0, 15, size, u64::MAX];
        let wanted: Vec<Option<Hash>> =
            indices.iter().map(|index| usize::try_from(*index).ok().and_then(|at| hashes.get(at).copied())).collect();
        assert_eq!(in_memory.of(&indices).expect("known"), wanted);
        assert_eq!(on_disk.of(&indices).expect("the store reads"), wanted);
        assert_eq!(on_disk.of(&[]).expect("nothing is asked"), Vec::new());
    }
}
