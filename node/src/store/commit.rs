//! The write of one final block: entries, log nodes, transaction index, state, trails, header, certificate and all
//! pruning in one atomic, unsynced batch, idempotent by height. Its batches were stored with the votes and go in the
//! same write, so a tail that a crash loses is executed and written again. Executing is the executor's matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::batch::{LanePosition, Reference, batches_digest, batches_preimage};
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::merkle::Frontier;
use mingzhang_ledger::recovery::Recovered;
use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::state::tree::{Link, SENTINEL, TreeUpdate};
use mingzhang_ledger::state::{Stored, TrailAppend};
use rocksdb::WriteBatch;

use super::Store;
use super::documents::Cited;
use super::fault::StoreFault;
use super::leaf::Leaf;
use super::leaf_hashes;
use super::log::LogWriter;
use super::query::Preimage;
use super::schema::{self, Column, KEPT_PREIMAGES, meta};
use super::tip::Tip;
use super::upper::Undo;
use super::write::Written;

/// What execution made of one block: all that its commit writes, except the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutedBlock {
    pub header: Header,
    /// Lane positions after the block, one per authority of the block's own epoch; none where the
    /// log was replayed without the preimage of `batches`; then no child can be proposed.
    pub positions: Vec<LanePosition>,
    pub references: Vec<Reference>,
    /// Record entries in order, without the header.
    pub entries: Vec<Vec<u8>>,
    /// Their hashes as leaves of the log.
    pub entry_hashes: Vec<Hash>,
    /// Transaction ids, one per entry.
    pub transactions: Vec<Hash>,
    /// The documents that the entries cite.
    pub documents: Vec<Cited>,
    pub changes: BTreeMap<Key, Stored>,
    pub appends: Vec<TrailAppend>,
    pub tree: TreeUpdate,
    /// Right edge of the log after the header's own leaf.
    pub log: Frontier,
    /// The set that decides the next block, in a boundary block only.
    pub next_set: Option<Arc<AuthoritySet>>,
}

/// What makes blocks final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finality {
    /// The block's own certificate, or that of a descendant.
    Certificate(FinalCert),
    /// A manifest whose base is the block or a descendant; on the base the next epoch begins.
    Recovery(Arc<Recovered>),
}

/// An executed block and what makes it final.
#[derive(Debug, Clone)]
pub struct FinalBlock {
    pub executed: Arc<ExecutedBlock>,
    pub by: Finality,
}

impl FinalBlock {
    /// The set that decides from here on, if this block ends its epoch.
    fn opens(&self) -> Option<Arc<AuthoritySet>> {
        match self.by.opens_on(&self.executed.header.id()) {
            Some(recovered) => Some(Arc::new(recovered.set().clone())),
            None => self.executed.next_set.clone(),
        }
    }
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The block was written by this call; [`Store::sync_through`] waits for the disk.
    Now(Written),
    /// It was there already.
    Before,
}

impl Store {
    /// Writes a final block. Heights come in order; one that is written already is compared and left alone.
    pub fn commit(&self, block: &FinalBlock) -> Result<Committed, StoreFault> {
        let _one_at_a_time = self.committing.lock().expect("no holder of this lock panics");
        let (header, executed) = (&block.executed.header, &block.executed);
        let tip = self.tip();
        if header.height <= tip.height {
            let stored = self.get(Column::Headers, &header.height.to_be_bytes())?;
            return match stored.as_deref() == Some(&header.encode()[..]) {
                true => Ok(Committed::Before),
                false => Err(StoreFault::OtherBlock { height: header.height, what: "the header of that height" }),
            };
        }
        check_continues(&tip, executed)?;
        let stands = block.by.opens_on(&header.id()).is_some() || matches!(block.by, Finality::Certificate(_));
        if executed.next_set.is_some() && !stands {
            return Err(StoreFault::OtherBlock { height: header.height, what: "its place below the base" });
        }
        let next = Self::next_tip(block);

        let mut batch = WriteBatch::with_capacity_bytes(likely_bytes(executed));
        self.write_log(executed, &mut batch)?;
        self.write_documents(executed, &mut batch);
        let undo = self.write_state(header.height, &executed.changes, &executed.tree, &mut batch)?;
        self.write_trails(&executed.appends, &mut batch);
        self.write_block(block, &tip, &mut batch);
        self.prune(block, &mut batch)?;
        batch.put_cf(self.column(Column::Meta), meta::TIP, next.encode());

        // Memory goes first: whoever sees the new block on disk finds what it overwrote.
        self.adopt(header.height, &executed.tree, undo)?;
        let written = self.write(batch)?;
        self.forget_transactions(&executed.transactions);
        if let Some(set) = block.opens() {
            *self.set.write().expect("no holder of this lock panics") = set;
            self.settle_votes(0);
        } else if let Some(certificate) = block.by.own_certificate(&header.id()) {
            self.settle_votes(certificate.turn);
        }
        *self.tip.write().expect("no holder of this lock panics") = Arc::new(next);
        self.final_height.send_replace(header.height);
        if (tip.state_size..header.state_size).contains(&self.small_leaves) {
            self.merge_leaves_sooner()?;
        }
        self.flush_when_due(written)?;
        Ok(Committed::Now(written))
    }

    /// Takes in the preimage of the last block's `batches`, where the log was replayed without it. False if another block
    /// is the last one by now, or this is not its preimage.
    pub fn learn_lanes(&self, block: &Hash, (positions, references): &Preimage) -> Result<bool, StoreFault> {
        let _one_at_a_time = self.committing.lock().expect("no holder of this lock panics");
        let tip = self.tip();
        let header = self.header(tip.height)?.filter(|header| header.id() == *block);
        if header.is_none_or(|header| batches_digest(positions, references) != header.batches) {
            return Ok(false);
        }
        let mut batch = WriteBatch::default();
        let preimage = batches_preimage(positions, references);
        batch.put_cf(self.column(Column::Preimages), tip.height.to_be_bytes(), preimage);
        if tip.lanes.is_empty() {
            let next = Tip { lanes: positions.clone(), ..tip.as_ref().clone() };
            batch.put_cf(self.column(Column::Meta), meta::TIP, next.encode());
            self.write(batch)?;
            *self.tip.write().expect("no holder of this lock panics") = Arc::new(next);
        }
        Ok(true)
    }

    /// As if the last block had been caught up without its preimage.
    #[cfg(test)]
    pub fn forget_lanes(&self) -> Result<(), StoreFault> {
        let tip = self.tip();
        let next = Tip { lanes: Vec::new(), ..tip.as_ref().clone() };
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.column(Column::Preimages), tip.height.to_be_bytes());
        batch.put_cf(self.column(Column::Meta), meta::TIP, next.encode());
        self.write(batch)?;
        *self.tip.write().expect("no holder of this lock panics") = Arc::new(next);
        Ok(())
    }

    fn next_tip(block: &FinalBlock) -> Tip {
        let (header, executed) = (&block.executed.header, &block.executed);
        let own = block.by.own_certificate(&header.id()).map(|certificate| certificate.turn);
        let (epoch, turn, lanes) = match block.opens() {
            Some(set) => (set.epoch, 0, vec![LanePosition::default(); set.members.len()]),
            None => (header.epoch, own.unwrap_or(header.turn), executed.positions.clone()),
        };
        Tip {
            height: header.height,
            id: header.id(),
            time_ms: header.time_ms,
            epoch,
            turn,
            state_size: header.state_size,
            state_root: header.state_root,
            log: executed.log.clone(),
            lanes,
        }
    }

    fn write_log(&self, executed: &ExecutedBlock, batch: &mut WriteBatch) -> Result<(), StoreFault> {
        let header = &executed.header;
        let (entries, transactions) = (self.column(Column::Entries), self.column(Column::Transactions));
        let mut log = LogWriter::new(self);
        let (bytes, id) = (header.encode(), header.id());
        let all = executed.entries.iter().map(Vec::as_slice).chain([&bytes[..]]);
        let hashes = executed.entry_hashes.iter().chain([&id]);
        for (index, (entry, hash)) in (header.first_index..).zip(all.zip(hashes)) {
            batch.put_cf(entries, index.to_be_bytes(), entry);
            log.append(index, *hash)?;
        }
        // In the order of their keys, which is the cheapest for the database.
        let mut places: Vec<(&Hash, u64)> = executed.transactions.iter().zip(header.first_index..).collect();
        places.sort_unstable();
        for (id, index) in places {
            batch.put_cf(transactions, id, [index.to_be_bytes(), header.height.to_be_bytes()].concat());
        }
        log.write(batch)
    }

    /// Leaves, into memory too, and the leaf hashes of a large state. Returns what the leaves overwrite. Views of the height
    /// below do not take the new leaves from memory: those say since when they hold.
    pub(super) fn write_state(
        &self,
        height: u64,
        changes: &BTreeMap<Key, Stored>,
        tree: &TreeUpdate,
        batch: &mut WriteBatch,
    ) -> Result<Undo, StoreFault> {
        let mut undo = Undo::of(height, changes.len() * 2);
        let column = self.column(Column::Leaves);
        let size = self.tip().state_size;
        let dirty: Vec<Dirty<'_>> = dirty_leaves(changes, &tree.links).collect();
        let befores = self.leaves_before(&dirty, size)?;
        let (mut afters, mut bytes) = (Vec::with_capacity(dirty.len()), Vec::new());
        for (Dirty { key, value, link }, before) in dirty.iter().zip(befores) {
            let after = changed_leaf(key, before.as_deref(), *value, *link)?;
            // Of a leaf that only has another one behind it, nothing that lies on disk changes.
            if before.is_none() || value.is_some() {
                bytes.clear();
                after.encode_into(&mut bytes);
                batch.put_cf(column, key, &bytes);
            }
            afters.push(Arc::new(after));
            undo.remember(key, before);
        }
        self.leaves.lock().expect("no holder of this lock panics").put(height, afters);
        let column = self.column(Column::LeafHashes);
        if size > self.small_leaves {
            leaf_hashes::write(tree, size, column, batch);
        } else if tree.size > self.small_leaves {
            let hashes = self.upper.read().expect("no holder of this lock panics").leaf_hashes_after(tree)?;
            leaf_hashes::write_all(&hashes, column, batch);
        }
        Ok(undo)
    }

    /// What the last final block left of leaves that the next one, of a state that had `size` leaves, changes; none of those
    /// that it creates.
    fn leaves_before(&self, dirty: &[Dirty<'_>], size: u64) -> Result<Vec<Option<Arc<Leaf>>>, StoreFault> {
        let below = self.tip().height;
        let mut leaves = self.leaves.lock().expect("no holder of this lock panics");
        let mut befores: Vec<Option<Arc<Leaf>>> = dirty.iter().map(|dirty| leaves.get(dirty.key, below)).collect();
        drop(leaves);
        for (Dirty { key, link, .. }, before) in dirty.iter().zip(&mut befores) {
            let is_new = link.is_some_and(|link| link.index >= size);
            if before.is_none() && !is_new {
                *before = self.stored_leaf(key, below)?;
            }
        }
        Ok(befores)
    }

    /// One record for all that a trail gets in the block, under its last position: a reader who seeks any of them finds it.
    pub(super) fn write_trails(&self, appends: &[TrailAppend], batch: &mut WriteBatch) {
        let column = self.column(Column::Trails);
        let mut appends: Vec<&TrailAppend> = appends.iter().collect();
        // Those of a trail stay in their order.
        appends.sort_by_key(|append| &append.trail);
        let mut indices = Vec::new();
        for of_trail in appends.chunk_by(|one, next| one.trail == next.trail) {
            indices.clear();
            // The entry hash is the log's: only the index is kept.
            of_trail.iter().for_each(|append| indices.extend_from_slice(&append.entry[..8]));
            if let Some(last) = of_trail.last() {
                batch.put_cf(column, schema::trail(&last.trail, last.position), &indices);
            }
        }
    }

    fn write_block(&self, block: &FinalBlock, tip: &Tip, batch: &mut WriteBatch) {
        let (header, executed) = (&block.executed.header, &block.executed);
        let height = header.height.to_be_bytes();
        batch.put_cf(self.column(Column::Headers), height, header.encode());
        batch.put_cf(self.column(Column::HeaderAt), header.own_index().to_be_bytes(), height);
        match &block.by {
            Finality::Certificate(certificate) => {
                let members = self.set().members.len();
                let mut bytes = u16::try_from(members).expect("at most MAX_MEMBERS").to_be_bytes().to_vec();
                bytes.extend_from_slice(&certificate.encode(members));
                batch.put_cf(self.column(Column::Certificates), certificate.height.to_be_bytes(), bytes);
            }
            Finality::Recovery(recovered) if recovered.base().id() == header.id() => {
                self.write_recovered(recovered, batch);
            }
            Finality::Recovery(_) => {}
        }
        if !executed.positions.is_empty() {
            let preimage = batches_preimage(&executed.positions, &executed.references);
            batch.put_cf(self.column(Column::Preimages), height, preimage);
        }
        if let Some(old) = tip.height.checked_sub(KEPT_PREIMAGES) {
            batch.delete_cf(self.column(Column::Preimages), old.to_be_bytes());
        }
        if let Some(set) = block.opens() {
            self.write_epoch(header.height, &set, batch);
        }
    }

    /// Drops the batches of the block, its admitted transactions, and the vote records that finality has settled.
    fn prune(&self, block: &FinalBlock, batch: &mut WriteBatch) -> Result<(), StoreFault> {
        let (header, executed) = (&block.executed.header, &block.executed);
        for reference in &executed.references {
            batch.delete_cf(self.column(Column::Batches), schema::batch(header.epoch, reference));
        }
        for id in self.admitted_among(&executed.transactions) {
            batch.delete_cf(self.column(Column::Admitted), id);
        }
        if block.opens().is_some() {
            self.prune_epochs_to(header.epoch, batch);
        } else if let Some(certificate) = block.by.own_certificate(&header.id()) {
            // Few and short-lived: single deletes are cheaper to read past than a range over them.
            for key in self.settled_votes(header.epoch, certificate.turn)? {
                batch.delete_cf(self.column(Column::Votes), key);
            }
        }
        Ok(())
    }

    /// Takes over into memory what is about to be on disk, beside the leaves.
    pub(super) fn adopt(&self, height: u64, tree: &TreeUpdate, undo: Undo) -> Result<(), StoreFault> {
        self.upper.write().expect("no holder of this lock panics").apply(tree, undo)?;
        self.links.write().expect("no holder of this lock panics").apply(height, tree);
        Ok(())
    }
}

/// A leaf that a block changes: its new value, its new link, or both.
struct Dirty<'a> {
    key: &'a Key,
    value: Option<&'a Stored>,
    link: Option<&'a Link>,
}

/// In the order of their keys, which is the cheapest for the database too.
fn dirty_leaves<'a>(
    changes: &'a BTreeMap<Key, Stored>,
    links: &'a BTreeMap<Key, Link>,
) -> impl Iterator<Item = Dirty<'a>> {
    let (mut changes, mut links) = (changes.iter().peekable(), links.iter().peekable());
    std::iter::from_fn(move || {
        let key = match (changes.peek(), links.peek()) {
            (Some((changed, _)), Some((linked, _))) => *changed.min(linked),
            (Some((key, _)), None) | (None, Some((key, _))) => *key,
            (None, None) => return None,
        };
        let value = changes.next_if(|(changed, _)| *changed == key).map(|(_, stored)| stored);
        let link = links.next_if(|(linked, _)| *linked == key).map(|(_, link)| link);
        Some(Dirty { key, value, link })
    })
}

/// The leaf after the block, from what it was, its new value and its new link.
fn changed_leaf(
    key: &Key,
    before: Option<&Leaf>,
    value: Option<&Stored>,
    link: Option<&Link>,
) -> Result<Leaf, StoreFault> {
    let place = link.map(|link| (link.index, link.next)).or(before.map(|leaf| (leaf.index, leaf.next)));
    let value = value.or(before.map(|leaf| &leaf.stored));
    let sentinel = Stored::default();
    let value = value.or((*key == SENTINEL).then_some(&sentinel));
    match (place, value) {
        (Some((index, next)), Some(stored)) => Ok(Leaf { key: *key, index, next, stored: stored.clone() }),
        (None, _) | (_, None) => Err(StoreFault::corrupt(format!("state leaf {}", hex::encode(key)), "it is missing")),
    }
}

/// Room for what most blocks write: entries with their indices, and for each changed leaf itself, its predecessor and trails.
fn likely_bytes(executed: &ExecutedBlock) -> usize {
    let entries: usize = executed.entries.iter().map(|entry| entry.len() + 80).sum();
    let leaves: usize = executed.changes.values().map(|stored| stored.current.len() + 512).sum();
    entries + leaves + executed.appends.len() * 64 + 4_096
}

/// Asserted before the write, as the header was compared after execution: the block continues the tip in every respect.
fn check_continues(tip: &Tip, executed: &ExecutedBlock) -> Result<(), StoreFault> {
    let header = &executed.header;
    if Some(header.height) != tip.height.checked_add(1) {
        return Err(StoreFault::Height { height: header.height, tip: tip.height });
    }
    let agreements = [
        (header.parent == tip.id, "parent"),
        (header.first_index == tip.tree_size(), "first_index"),
        (header.epoch == tip.epoch, "epoch"),
        (usize::try_from(header.entry_count) == Ok(executed.entries.len()), "entry_count"),
        (executed.entry_hashes.len() == executed.entries.len(), "hashes of the entries"),
        (executed.transactions.len() == executed.entries.len(), "transaction ids"),
        (header.tree_size() == executed.log.size(), "log size"),
        (header.state_size == executed.tree.size, "state_size"),
        (header.state_root == executed.tree.root, "state_root"),
        (header.is_boundary() == executed.next_set.is_some(), "next set"),
        (executed.next_set.as_ref().is_none_or(|set| set.hash() == header.next_set_hash), "next_set_hash"),
    ];
    match agreements.iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(StoreFault::OtherBlock { height: header.height, what }),
        None => Ok(()),
    }
}
