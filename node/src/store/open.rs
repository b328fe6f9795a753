//! Opening and founding: an empty directory gets the genesis state; another genesis, another layout, a second process
//! and damage are refused with one sentence. What an unclean stop means is decided in `recovery`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::batch::LanePosition;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::entry;
use mingzhang_ledger::merkle::{Frontier, leaf_hash, subtree_root};
use mingzhang_ledger::records::registry::{self, Founding};
use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::state::memory::MemoryState;
use mingzhang_ledger::state::tree::Link;
use mingzhang_ledger::state::{Stored, TrailAppend};
use rayon::prelude::*;
use rocksdb::{DB, IteratorMode, WriteBatch};
use tokio::sync::watch;

use super::Store;
use super::documents;
use super::fault::StoreFault;
use super::leaf::LeafCache;
use super::leaf_hashes;
use super::links::Links;
use super::log::LogWriter;
use super::recovery::{self, Findings, Recovery};
use super::schema::{self, Column, GROUP, GROUP_LEVEL, Memory, meta};
use super::tip::Tip;
use super::upper::Upper;
use super::view::{Pair, Placed, decode, in_order};
use super::write::Order;
use crate::mutants;

/// Leaves or groups that are hashed together when the levels above are rebuilt.
const REBUILD_PART: usize = 16_384;
/// Locked by the process that holds the directory, and holds its number.
const PROCESS_FILE: &str = "PROCESS";

/// Local settings of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    pub memory: Memory,
}

/// What a network begins with: height 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foundation {
    pub genesis_hash: Hash,
    pub set: AuthoritySet,
    pub state: BTreeMap<Key, Stored>,
    /// Trail entries that name the genesis entry.
    pub appends: Vec<TrailAppend>,
}

impl Foundation {
    /// The state that the founding of a network leads to.
    pub fn of(founding: &Founding) -> Result<Self, StoreFault> {
        let (state, appends) =
            registry::found(founding).map_err(|error| StoreFault::Genesis { reason: error.to_string() })?;
        Ok(Self { genesis_hash: founding.network.chain, set: founding.set.clone(), state, appends })
    }
}

impl Store {
    /// Opens the database in `path`, or founds it there if the directory holds none.
    pub fn open(path: &Path, foundation: &Foundation, settings: &Settings) -> Result<Self, StoreFault> {
        let not_opened = |reason: String| StoreFault::NotOpened { path: path.to_owned(), reason };
        std::fs::create_dir_all(path).map_err(|error| not_opened(error.to_string()))?;
        // Before anything is read: a database that another process is writing cannot be judged.
        let lock = take_lock(path)?;
        let options = schema::database_options(&settings.memory);
        let exists =
            DB::list_cf(&options, path).is_ok_and(|names| names.iter().any(|name| name == Column::Meta.name()));
        let findings = if exists { recovery::inspect(path, &settings.memory)? } else { Findings::default() };
        let db = DB::open_cf_descriptors(&options, path, schema::columns(&settings.memory));
        let db = db.map_err(|error| open_fault(path, &error))?;
        let store = Self {
            small_leaves: settings.memory.small_state_leaves,
            ..Self::empty((db, lock), path, foundation, &findings)
        };
        match store.get(Column::Meta, meta::GENESIS)? {
            None => store.found(foundation)?,
            Some(genesis) => store.check_identity(&genesis, foundation)?,
        }
        store.restore_votes(&findings)?;
        store.start_numbers()?;
        if store.version()? == documents::WITHOUT_INDEX {
            store.build_documents()?;
        }
        store.load()
    }

    /// Whether a store was made there. What else lies in the folder, as a disk's `lost+found`, is no data.
    pub fn lies_in(path: &Path) -> bool {
        path.join("CURRENT").exists()
    }

    /// Nobody holds the directory now. Changes nothing; [`Store::open`] is what takes it.
    pub fn require_free(path: &Path) -> Result<(), StoreFault> {
        let Ok(file) = File::open(path.join(PROCESS_FILE)) else { return Ok(()) };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Err(in_use(path)),
            // Whatever else is wrong, opening says it.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        }
    }

    pub(super) fn empty((db, lock): (DB, File), path: &Path, foundation: &Foundation, findings: &Findings) -> Self {
        let tip = genesis_tip(foundation, 0, [0; 32]);
        Self {
            db,
            _lock: lock,
            path: path.to_owned(),
            genesis_hash: foundation.genesis_hash,
            order: Order::after(findings.highest),
            committing: Mutex::new(()),
            tip: RwLock::new(Arc::new(tip)),
            set: RwLock::new(Arc::new(foundation.set.clone())),
            upper: RwLock::default(),
            links: RwLock::default(),
            small_leaves: 0,
            leaves: Mutex::new(LeafCache::default()),
            settled_turn: Mutex::new(0),
            admitted: Mutex::new(BTreeSet::new()),
            offences: Mutex::default(),
            final_height: watch::Sender::new(0),
            sealed_size: watch::Sender::new(0),
            recovery: findings.decide(),
            doubted: AtomicBool::new(!findings.decide().may_sign()),
            joining: AtomicBool::new(false),
            base: AtomicU64::new(0),
        }
    }

    /// Writes height 0 in one synced batch.
    fn found(&self, foundation: &Foundation) -> Result<(), StoreFault> {
        let genesis = |error: &dyn std::fmt::Display| StoreFault::Genesis { reason: error.to_string() };
        let tree = MemoryState::default().apply(&foundation.state).map_err(|error| genesis(&error))?;
        let leaf = entry::genesis_entry(&foundation.genesis_hash);
        let mut batch = WriteBatch::default();
        batch.put_cf(self.column(Column::Entries), 0u64.to_be_bytes(), &leaf);
        let mut log = LogWriter::new(self);
        log.append(0, leaf_hash(&leaf))?;
        log.write(&mut batch)?;
        // Dropped, not adopted: loading reads it back from disk like any other state.
        drop(self.write_state(0, &foundation.state, &tree, &mut batch)?);
        self.write_trails(&foundation.appends, &mut batch);
        let epoch = [&0u64.to_be_bytes()[..], &foundation.set.encode()].concat();
        batch.put_cf(self.column(Column::Epochs), foundation.set.epoch.to_be_bytes(), epoch);
        let tip = genesis_tip(foundation, tree.size, tree.root);
        let meta = self.column(Column::Meta);
        batch.put_cf(meta, meta::TIP, tip.encode());
        batch.put_cf(meta, meta::GENESIS, foundation.genesis_hash);
        batch.put_cf(meta, meta::VERSION, schema::VERSION.to_be_bytes());
        self.write_synced(batch)
    }

    fn version(&self) -> Result<u32, StoreFault> {
        let version = self.get(Column::Meta, meta::VERSION)?.unwrap_or_default();
        Ok(version.try_into().map_or(0, u32::from_be_bytes))
    }

    fn check_identity(&self, genesis: &[u8], foundation: &Foundation) -> Result<(), StoreFault> {
        let version = self.version()?;
        if !matches!(version, schema::VERSION | documents::WITHOUT_INDEX) {
            return Err(StoreFault::Version { version, supported: schema::VERSION });
        }
        let stored: Hash =
            genesis.try_into().map_err(|_| StoreFault::corrupt("the genesis hash", "it is not 32 bytes long"))?;
        if stored != foundation.genesis_hash {
            return Err(StoreFault::OtherGenesis { store: stored, genesis: foundation.genesis_hash });
        }
        Ok(())
    }

    /// Votes that the tolerant reading showed and the strict opening lost are written again before anything is signed.
    fn restore_votes(&self, findings: &Findings) -> Result<(), StoreFault> {
        let mut batch = WriteBatch::default();
        for (key, value) in &findings.votes {
            if self.get(Column::Votes, key)?.is_none() && !mutants::RECOVERY_BY_MODE.on() {
                batch.put_cf(self.column(Column::Votes), key, value);
            }
        }
        if batch.is_empty() { Ok(()) } else { self.write_synced(batch) }
    }

    /// What was found is in table files from now on, and its numbers have served. A doubt is kept.
    fn start_numbers(&self) -> Result<(), StoreFault> {
        if self.recovery == Recovery::Doubted {
            let mut batch = WriteBatch::default();
            batch.put_cf(self.column(Column::Meta), meta::DOUBTED, [1]);
            self.write_synced(batch)?;
        }
        self.flush()
    }

    /// Brings the parts into memory that are kept there, and asserts that they agree with the tip.
    fn load(self) -> Result<Self, StoreFault> {
        if self.joining()?.is_some() {
            // A state is half taken: the node stands at genesis until it is whole.
            self.joining.store(true, Ordering::Release);
            return Ok(self);
        }
        self.base.store(self.get_u64(meta::BASE)?.unwrap_or(0), Ordering::Release);
        let bytes =
            self.get(Column::Meta, meta::TIP)?.ok_or_else(|| StoreFault::corrupt("the tip", "it is missing"))?;
        let tip = Tip::decode(&bytes).map_err(|error| StoreFault::corrupt("the tip", error))?;
        self.agree_on_leaf_hashes(&tip)?;
        let (upper, links) = self.rebuild(&tip)?;
        *self.upper.write().expect("no holder of this lock panics") = upper;
        *self.links.write().expect("no holder of this lock panics") = links;
        self.leaves.lock().expect("no holder of this lock panics").advance(tip.height);
        if tip.state_size > self.small_leaves {
            self.merge_leaves_sooner()?;
        }
        let ids = self.admitted()?.into_iter().map(|admission| admission.transaction_id).collect();
        *self.admitted.lock().expect("no holder of this lock panics") = ids;
        self.load_offences()?;
        self.final_height.send_replace(tip.height);
        self.sealed_size.send_replace(self.get_u64(meta::SEALED)?.unwrap_or(0));

        let view = self.view()?;
        let epoch = view.stored_epoch(tip.epoch)?;
        let epoch = epoch.ok_or_else(|| StoreFault::corrupt(format!("epoch {}", tip.epoch), "it is missing"))?;
        if subtree_root(&view.log(), 0, tip.tree_size())? != tip.tree_root() {
            return Err(StoreFault::corrupt("the log", "its hashes do not lead to the tip's root"));
        }
        if subtree_root(&view, 0, tip.state_size)? != tip.state_root {
            return Err(StoreFault::corrupt("the state tree", "its hashes do not lead to the tip's root"));
        }
        drop(view);
        *self.set.write().expect("no holder of this lock panics") = Arc::new(epoch.set);
        *self.tip.write().expect("no holder of this lock panics") = Arc::new(tip);
        Ok(self)
    }

    /// Leaf hashes are on disk where, and only where, the state is not small: the limit may be another than before.
    fn agree_on_leaf_hashes(&self, tip: &Tip) -> Result<(), StoreFault> {
        let stored = self.get(Column::LeafHashes, &0u64.to_be_bytes())?.is_some();
        let mut batch = WriteBatch::default();
        match (stored, tip.state_size <= self.small_leaves) {
            (true, true) => self.drop_leaf_hashes(&mut batch),
            (false, false) => {
                let leaves = self.db.iterator_cf(self.column(Column::Leaves), IteratorMode::Start);
                let (hashes, _) =
                    hash_leaves(in_order(leaves.map(|item| item.map_err(StoreFault::from))), tip.state_size)?;
                leaf_hashes::write_all(&hashes, self.column(Column::LeafHashes), &mut batch);
            }
            (true, false) | (false, true) => return Ok(()),
        }
        self.write_synced(batch)
    }

    /// The state is small: its leaf hashes would grow stale on disk.
    pub(super) fn drop_leaf_hashes(&self, batch: &mut WriteBatch) {
        batch.delete_range_cf(self.column(Column::LeafHashes), &[0u8; 8][..], &[0xff; 9][..]);
    }

    /// What is kept in memory of the state tree, from what is stored.
    pub(super) fn rebuild(&self, tip: &Tip) -> Result<(Upper, Links), StoreFault> {
        if tip.state_size > self.small_leaves {
            let upper = Upper::build(tip.height, (GROUP_LEVEL, self.small_leaves), self.group_roots()?);
            return Ok((upper, Links::new(tip.height, self.small_leaves, None)));
        }
        let leaves = self.db.iterator_cf(self.column(Column::Leaves), IteratorMode::Start);
        let (hashes, links) = hash_leaves(in_order(leaves.map(|item| item.map_err(StoreFault::from))), tip.state_size)?;
        let upper = Upper::build(tip.height, (0, self.small_leaves), hashes);
        Ok((upper, Links::new(tip.height, self.small_leaves, Some(links))))
    }

    /// Roots of all complete groups of leaf hashes.
    fn group_roots(&self) -> Result<Vec<Hash>, StoreFault> {
        let mut roots = Vec::new();
        let groups = self.db.iterator_cf(self.column(Column::LeafHashes), IteratorMode::Start);
        in_parts(groups.map(|item| item.map_err(StoreFault::from)), complete_root, |root| roots.extend(root))?;
        Ok(roots)
    }

    /// Ends in good order: what was written is in table files, and the next opening knows that nothing is missing.
    pub fn close(&self) -> Result<(), StoreFault> {
        self.flush()?;
        let mut batch = WriteBatch::default();
        let number = self.next_number();
        batch.put_cf(self.column(Column::Meta), meta::CLEAN, number.to_be_bytes());
        self.write_synced(batch)
    }
}

/// One process at a time. The file names it, for the sentence that refuses a second one.
fn take_lock(path: &Path) -> Result<File, StoreFault> {
    let not_opened = |error: std::io::Error| StoreFault::NotOpened { path: path.to_owned(), reason: error.to_string() };
    let name = path.join(PROCESS_FILE);
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(&name).map_err(not_opened)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(path)),
        Err(TryLockError::Error(error)) => return Err(not_opened(error)),
    }
    file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes())).map_err(not_opened)?;
    Ok(file)
}

fn in_use(path: &Path) -> StoreFault {
    let pid = std::fs::read_to_string(path.join(PROCESS_FILE)).unwrap_or_else(|_| "unknown".into());
    StoreFault::InUse { path: path.to_owned(), pid }
}

/// Hashes of all leaves by their index, and where each stands, in the order of their keys.
pub(super) type Hashed = (Vec<Hash>, Vec<(Key, Link)>);

/// Hashes the leaves of a state of this size.
pub(super) fn hash_leaves(
    leaves: impl Iterator<Item = Result<Placed, StoreFault>>,
    size: u64,
) -> Result<Hashed, StoreFault> {
    let (mut hashes, mut links) = (BTreeMap::new(), Vec::new());
    in_parts(leaves, hashed_leaf, |(key, link, hash)| {
        hashes.insert(link.index, hash);
        links.push((key, link));
    })?;
    let whole = hashes.len() as u64 == size && hashes.keys().next_back().is_none_or(|last| last + 1 == size);
    if whole && links.len() as u64 == size {
        Ok((hashes.into_values().collect(), links))
    } else {
        Err(StoreFault::corrupt("the state tree", format!("{} of {size} leaves are there", hashes.len())))
    }
}

fn hashed_leaf((key, next, bytes): Placed) -> Result<(Key, Link, Hash), StoreFault> {
    let leaf = decode(&key, &next, &bytes)?;
    Ok((key, Link { index: leaf.index, next }, leaf.hash()))
}

/// Works on what is stored with all processors, a bounded number of items in memory at a time, and takes the results in order.
fn in_parts<I: Send, T: Send>(
    mut items: impl Iterator<Item = Result<I, StoreFault>>,
    work: impl Fn(I) -> Result<T, StoreFault> + Sync,
    mut take: impl FnMut(T),
) -> Result<(), StoreFault> {
    loop {
        let part: Vec<I> = items.by_ref().take(REBUILD_PART).collect::<Result<_, _>>()?;
        if part.is_empty() {
            return Ok(());
        }
        let done: Vec<T> = part.into_par_iter().map(&work).collect::<Result<_, _>>()?;
        done.into_iter().for_each(&mut take);
    }
}

/// Root of a group, if it is complete.
fn complete_root((group, bytes): Pair) -> Result<Option<Hash>, StoreFault> {
    let group =
        group[..].try_into().map_err(|_| StoreFault::corrupt("a leaf hash group", "its key is not 8 bytes long"))?;
    let hashes = leaf_hashes::decode(u64::from_be_bytes(group), &bytes)?;
    Ok((hashes.len() as u64 == GROUP).then(|| Frontier::of(hashes).root()))
}

fn genesis_tip(foundation: &Foundation, state_size: u64, state_root: Hash) -> Tip {
    let id = entry::genesis_id(&foundation.genesis_hash);
    Tip {
        height: 0,
        id,
        time_ms: 0,
        epoch: foundation.set.epoch,
        turn: 0,
        state_size,
        state_root,
        log: Frontier::of([id]),
        lanes: vec![LanePosition::default(); foundation.set.members.len()],
    }
}

/// Says in one sentence why RocksDB did not open the directory.
pub(super) fn open_fault(path: &Path, error: &rocksdb::Error) -> StoreFault {
    let text = error.to_string();
    match error.kind() {
        rocksdb::ErrorKind::Corruption => StoreFault::corrupt(format!("data directory {}", path.display()), text),
        _ if text.contains("No space left") => StoreFault::DiskFull { path: path.to_owned(), free_per_mille: 0 },
        _ => StoreFault::NotOpened { path: path.to_owned(), reason: text },
    }
}
