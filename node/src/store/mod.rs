//! RocksDB, the only store. One atomic batch per final block (`commit`), vote records that are on disk before the vote
//! leaves (`votes`, [`Durable`]), views at one height for execution, proofs and the API (`view`, `query`), and what
//! waits to become final (`pool`, `seals`); `discontinuity` holds recovery manifests. Layout in `schema`; opening and founding in `open`; what to trust after an
//! unclean stop in `recovery`; `check` computes everything again. Rules are the ledger's, times are given by callers.

mod backup;
mod check;
mod commit;
mod details;
mod discontinuity;
pub mod disk;
mod documents;
mod doubt;
mod durable;
mod evidence;
mod fault;
mod leaf;
mod leaf_hashes;
mod links;
mod log;
mod open;
mod pool;
mod query;
mod recovery;
pub mod schema;
mod seals;
mod snapshot;
mod tip;
mod upper;
mod view;
mod votes;
mod write;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::state::key::Key;
use rocksdb::{ColumnFamily, DB};
use tokio::sync::watch;

pub use check::Checked;
pub use commit::{Committed, ExecutedBlock, FinalBlock, Finality};
pub use discontinuity::{AboveFinal, Certified};
pub use documents::{Cited, cited};
pub use durable::Durable;
pub use evidence::{Accused, Offence};
pub use fault::StoreFault;
pub use leaf::{Leaf, received, sent};
pub use log::Log;
pub use open::{Foundation, Settings};
pub use pool::Admission;
pub use query::{Location, Preimage, StoredEpoch};
pub use recovery::Recovery;
pub use schema::{Column, Memory};
pub use seals::{Seal, SealPosition};
pub use snapshot::{ExpectedLeaves, PastEpoch, Progress, Taken, edge_frontier};
pub use tip::Tip;
pub use view::View;
pub use write::Written;

/// The database of one node. Shared by reference; every method may be called from any thread, none from an async task
/// that must not block.
pub struct Store {
    db: DB,
    /// Given up after the database is closed.
    _lock: File,
    path: PathBuf,
    genesis_hash: Hash,
    order: write::Order,
    /// Held by the one commit at a time.
    committing: Mutex<()>,
    tip: RwLock<Arc<Tip>>,
    /// The set that decides the next block.
    set: RwLock<Arc<AuthoritySet>>,
    upper: RwLock<upper::Upper>,
    links: RwLock<links::Links>,
    /// See [`Memory::small_state_leaves`].
    small_leaves: u64,
    leaves: Mutex<leaf::LeafCache>,
    /// Turn of the current epoch through which the vote records are dropped.
    settled_turn: Mutex<u64>,
    /// Ids in [`Column::Admitted`].
    admitted: Mutex<BTreeSet<Hash>>,
    /// What [`Column::Evidence`] proves.
    offences: Mutex<evidence::Offences>,
    final_height: watch::Sender<u64>,
    sealed_size: watch::Sender<u64>,
    recovery: Recovery,
    /// Nothing may be signed with the consensus key of this node.
    doubted: AtomicBool,
    joining: AtomicBool,
    base: AtomicU64,
}

impl Store {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Genesis hash: `chain` in every vote.
    pub fn genesis_hash(&self) -> Hash {
        self.genesis_hash
    }

    /// The last final block.
    pub fn tip(&self) -> Arc<Tip> {
        self.tip.read().expect("no holder of this lock panics").clone()
    }

    /// The authority set that decides the next block.
    pub fn set(&self) -> Arc<AuthoritySet> {
        self.set.read().expect("no holder of this lock panics").clone()
    }

    /// The height of the last final block, and a wake-up whenever it grows.
    pub fn watch_height(&self) -> watch::Receiver<u64> {
        self.final_height.subscribe()
    }

    /// The size of the newest checkpoint with a quorum of seals, 0 if there is none, and a wake-up whenever it grows.
    pub fn watch_sealed(&self) -> watch::Receiver<u64> {
        self.sealed_size.subscribe()
    }

    /// What the opening found out about the last stop.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    pub(crate) fn column(&self, column: Column) -> &ColumnFamily {
        self.db.cf_handle(column.name()).expect("every column is made at opening")
    }

    /// The newest value under a key. Views read their own snapshots instead.
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Ok(self.db.get_cf(self.column(column), key)?)
    }

    /// From here on the state is large.
    fn merge_leaves_sooner(&self) -> Result<(), StoreFault> {
        Ok(self.db.set_options_cf(self.column(Column::Leaves), &[schema::MERGE_SOON])?)
    }

    /// The leaf as the last final block, of this height, left it on disk.
    fn stored_leaf(&self, key: &Key, height: u64) -> Result<Option<Arc<Leaf>>, StoreFault> {
        let Some(bytes) = self.db.get_pinned_cf(self.column(Column::Leaves), key)? else { return Ok(None) };
        let links = self.links.read().expect("no holder of this lock panics");
        let known = links.at(height).and_then(|known| known.position(key));
        drop(links);
        let next = match known {
            Some(place) => place.next,
            None => view::key_behind(
                &mut self.db.raw_iterator_cf_opt(self.column(Column::Leaves), view::whole_order()),
                key,
            )?,
        };
        view::decode(key, &next, &bytes).map(|leaf| Some(Arc::new(leaf)))
    }

    fn cached_leaf(&self, key: &Key, height: u64) -> Option<Arc<Leaf>> {
        self.leaves.lock().expect("no holder of this lock panics").get(key, height)
    }

    fn fill_leaf(&self, height: u64, leaf: &Arc<Leaf>) {
        self.leaves.lock().expect("no holder of this lock panics").fill(height, leaf);
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("path", &self.path).field("height", &self.tip().height).finish()
    }
}

#[cfg(test)]
mod tests;
