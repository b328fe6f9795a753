//! What lies where in the database: column families, the layout of every key, and how RocksDB is tuned for a small
//! machine. All integers in keys are big-endian, so that order of bytes is order of numbers. What the values mean is
//! said beside each column; who writes them is in `commit`, `votes`, `pool` and `seals`.

use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::state::key::Key;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options as RocksOptions,
};

use super::evidence::Offence;
use super::leaf_hashes;

/// Version of the layout below; a database of the one before is brought up (`documents`), of any other refused.
pub const VERSION: u32 = 4;
/// Hashes that lie together in one record of [`Column::LogHashes`] and [`Column::LeafHashes`].
pub const GROUP: u64 = 16;
/// Into so many pieces the memory of writes is divided.
const ARENA_PIECES: usize = 256;
/// log2 of [`GROUP`]: nodes below this level are computed from a group.
pub const GROUP_LEVEL: u32 = 4;
/// Preimages of `batches` are kept for this many heights, for joiners that need the tip's lane positions.
pub const KEPT_PREIMAGES: u64 = 1_024;

/// A column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// Single values under the names in [`meta`].
    Meta,
    /// height u64 → header, 256 bytes.
    Headers,
    /// Log index of a header's own leaf u64 → its height u64.
    HeaderAt,
    /// Log index u64 → entry, headers included.
    Entries,
    /// level u8 (0, 8, 16, 24 …) ‖ group u64 → up to 16 node hashes of the log.
    LogHashes,
    /// height u64 → number of members u16 ‖ FinalCert.
    Certificates,
    /// height u64 → preimage of the header's `batches`, for the last [`KEPT_PREIMAGES`] heights.
    Preimages,
    /// epoch u64 → height of the block that opened it u64 ‖ set document.
    Epochs,
    /// transaction id → log index u64 ‖ height u64.
    Transactions,
    /// digest of a document ‖ log index u64 of a record that cites it → nothing.
    Documents,
    /// state key → leaf: index u64 ‖ trail frontier ‖ current value. The next key is that of the record behind it, the
    /// predecessor a reverse seek.
    Leaves,
    /// group u64 → (slot u8 ‖ hash)*: up to 16 leaf hashes of a large state's tree; see `leaf_hashes`.
    LeafHashes,
    /// state key of the subject ‖ last position u64 → log indices u64 that a block appended, the last at that position.
    /// The entry hashes are the log's.
    Trails,
    /// epoch u64 ‖ author u16 ‖ run u64 ‖ seq u64 ‖ hash → batch with its author's signature.
    Batches,
    /// epoch u64 ‖ turn u64 ‖ kind u8 → safety record.
    Votes,
    /// transaction id → time of admission in ms u64 ‖ COSE_Sign1 bytes: admitted here and not yet final.
    Admitted,
    /// checkpoint size u64 ‖ agency → seal line.
    Seals,
    /// epoch u64 ‖ member u16 ‖ rule u8 → evidence.
    Evidence,
    /// Log index u64 → figures of a rejection, for people; no part of the ledger.
    Details,
    /// counter u64 → mark u64: the highest counter known to be synced when this write was made.
    Counters,
}

/// Names of the single values in [`Column::Meta`].
pub mod meta {
    /// Layout version u32.
    pub const VERSION: &[u8] = b"version";
    /// Genesis hash.
    pub const GENESIS: &[u8] = b"genesis";
    /// The last final block, see `tip`.
    pub const TIP: &[u8] = b"tip";
    /// The justification of the turn that was entered last.
    pub const ENTERED: &[u8] = b"entered";
    /// Run of this node's lane u64.
    pub const RUN: &[u8] = b"run";
    /// Size of the newest checkpoint with a quorum of seals u64.
    pub const SEALED: &[u8] = b"sealed";
    /// Counter of the write that closed the database in good order u64.
    pub const CLEAN: &[u8] = b"clean";
    /// Which store this is, 16 random bytes, and how often a node with a consensus key was started on it u64.
    pub const IDENTITY: &[u8] = b"identity";
    pub const STARTS: &[u8] = b"starts";
    /// Present while the disk is in doubt: a synced write was found missing, this is a restored copy, or a vote by the own
    /// key is not in it. The consensus key that is doubted, or one byte while it is not known.
    pub const DOUBTED: &[u8] = b"doubted";
    /// Height from which on this node holds the log u64; absent if it holds all of it.
    pub const BASE: &[u8] = b"base";
    /// How far the taking of a peer's state is, and under which manifest; absent otherwise.
    pub const JOINING: &[u8] = b"joining";
    pub const MANIFEST: &[u8] = b"manifest";
    /// Log index u64 of the next entry for the index of documents, while it is built from the log; absent otherwise.
    pub const INDEXED: &[u8] = b"indexed";
    /// Prefix ‖ sealing public key → last sealed size u64 ‖ root.
    pub const SEALING: &[u8] = b"sealing/";
    /// Prefix ‖ epoch u64 → the signed manifest that opened it.
    pub const RECOVERY: &[u8] = b"recovery/";
}

impl Column {
    pub const ALL: [Column; 20] = [
        Self::Meta,
        Self::Headers,
        Self::HeaderAt,
        Self::Entries,
        Self::LogHashes,
        Self::Certificates,
        Self::Preimages,
        Self::Epochs,
        Self::Transactions,
        Self::Documents,
        Self::Leaves,
        Self::LeafHashes,
        Self::Trails,
        Self::Batches,
        Self::Votes,
        Self::Admitted,
        Self::Seals,
        Self::Evidence,
        Self::Details,
        Self::Counters,
    ];

    /// The name in the database. Never changed: it is part of the layout.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Headers => "headers",
            Self::HeaderAt => "header_at",
            Self::Entries => "entries",
            Self::LogHashes => "log_hashes",
            Self::Certificates => "certificates",
            Self::Preimages => "preimages",
            Self::Epochs => "epochs",
            Self::Transactions => "transactions",
            Self::Documents => "documents",
            Self::Leaves => "leaves",
            Self::LeafHashes => "leaf_hashes",
            Self::Trails => "trails",
            Self::Batches => "batches",
            Self::Votes => "votes",
            Self::Admitted => "admitted",
            Self::Seals => "seals",
            Self::Evidence => "evidence",
            Self::Details => "details",
            Self::Counters => "counters",
        }
    }

    /// Hashes and random keys do not compress.
    fn compresses(self) -> bool {
        !matches!(self, Self::LogHashes | Self::LeafHashes | Self::Transactions | Self::Documents | Self::Counters)
    }

    /// Columns whose new records lie anywhere among the old ones.
    fn scatters(self) -> bool {
        matches!(self, Self::Transactions | Self::Documents | Self::Leaves | Self::Trails)
    }

    /// Columns that are asked for keys which may be absent or lie anywhere.
    fn has_filter(self) -> bool {
        matches!(self, Self::Transactions | Self::Leaves | Self::LeafHashes | Self::Batches | Self::Admitted)
    }
}

pub fn log_group(level: u8, group: u64) -> [u8; 9] {
    let mut key = [level; 9];
    key[1..].copy_from_slice(&group.to_be_bytes());
    key
}

pub fn document(digest: &Hash, index: u64) -> [u8; 40] {
    trail(digest, index)
}

pub fn trail(subject: &Key, position: u64) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(subject);
    key[32..].copy_from_slice(&position.to_be_bytes());
    key
}

pub fn batch(epoch: u64, reference: &Reference) -> Vec<u8> {
    let mut key = epoch.to_be_bytes().to_vec();
    key.extend_from_slice(&reference.author.to_be_bytes());
    key.extend_from_slice(&reference.run.to_be_bytes());
    key.extend_from_slice(&reference.seq.to_be_bytes());
    key.extend_from_slice(&reference.hash);
    key
}

/// `kind` is 1 for Endorsed, 2 for Skipped, 3 for Confirmed.
pub fn vote(epoch: u64, turn: u64, kind: u8) -> [u8; 17] {
    let mut key = [kind; 17];
    key[..8].copy_from_slice(&epoch.to_be_bytes());
    key[8..16].copy_from_slice(&turn.to_be_bytes());
    key
}

pub fn evidence(offence: &Offence) -> [u8; 11] {
    let mut key = [offence.rule; 11];
    key[..8].copy_from_slice(&offence.epoch.to_be_bytes());
    key[8..10].copy_from_slice(&offence.accused.to_be_bytes());
    key
}

pub fn offence(key: &[u8]) -> Option<Offence> {
    let [epoch @ .., high, low, rule] = <[u8; 11]>::try_from(key).ok()?;
    let epoch = u64::from_be_bytes(*epoch.first_chunk()?);
    Some(Offence { epoch, accused: u16::from_be_bytes([high, low]), rule })
}

/// In [`Column::Meta`].
pub fn recovery(epoch: u64) -> Vec<u8> {
    [meta::RECOVERY, &epoch.to_be_bytes()].concat()
}

pub fn seal(size: u64, agency: &str) -> Vec<u8> {
    let mut key = size.to_be_bytes().to_vec();
    key.extend_from_slice(agency.as_bytes());
    key
}

/// How much memory the database may take. The defaults suit a machine that runs four nodes on 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Blocks of data, indexes and filters read from disk.
    pub cache_bytes: usize,
    /// Writes that are not yet in table files, over all columns.
    pub write_buffer_bytes: usize,
    /// Largest state of which every leaf's hash and link is kept in memory: about 150 bytes each.
    pub small_state_leaves: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { cache_bytes: 96 << 20, write_buffer_bytes: 64 << 20, small_state_leaves: 1 << 20 }
    }
}

/// Options of the database as a whole. All columns are flushed together, so that the counters tell what the other
/// columns hold.
pub(super) fn database_options(memory: &Memory) -> RocksOptions {
    let mut options = RocksOptions::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_recycle_log_file_num(0);
    options.set_atomic_flush(true);
    options.set_db_write_buffer_size(memory.write_buffer_bytes);
    options.set_max_total_wal_size(4 * memory.write_buffer_bytes as u64);
    options.set_max_background_jobs(2);
    // All writes come one after another under the lock that numbers them.
    options.set_allow_concurrent_memtable_write(false);
    options.set_max_open_files(512);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 << 20);
    options.set_bytes_per_sync(1 << 20);
    options.set_stats_dump_period_sec(0);
    options
}

/// Every column with its options over one shared cache.
pub(super) fn columns(memory: &Memory) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(memory.cache_bytes);
    let descriptor =
        |column: Column| ColumnFamilyDescriptor::new(column.name(), column_options(column, &cache, memory));
    let mut all: Vec<_> = Column::ALL.into_iter().map(descriptor).collect();
    all.push(ColumnFamilyDescriptor::new(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, RocksOptions::default()));
    all
}

/// Flushed tables that gather in a column that scatters, before they are merged with those below: a merge writes all of the
/// column again however little is new, and takes a third of two processors for it, in all nodes of a network at once. The
/// database's own number, 4, is meant for tables of which a merge changes a part.
const GATHERED_TABLES: i32 = 12;

/// Leaves of a large state: their predecessors are searched in every table, so few may gather.
pub(super) const MERGE_SOON: (&str, &str) = ("level0_file_num_compaction_trigger", "4");

/// Part of the memory of writes that each column's filter over it takes: twelve bits for a key when leaves fill that memory.
/// It is cleared whenever the memory is flushed, and every write touches six places of it, so it is better small.
const FILTER_OF_WRITES: f64 = 0.005;

/// A block's keys come in their order: each is looked for from where the last one was put, not from the top.
const INSERT_FROM_LAST: &str = "memtable_insert_with_hint_prefix_extractor=rocksdb.CappedPrefix.0";

fn column_options(column: Column, cache: &Cache, memory: &Memory) -> RocksOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(6);
    table.set_block_size(8 << 10);
    if column.has_filter() {
        table.set_bloom_filter(10.0, false);
        table.set_optimize_filters_for_memory(true);
    }
    // Only a text sets this option.
    let options = RocksOptions::default().get_options_from_string(INSERT_FROM_LAST);
    let mut options = options.expect("a constant that a test reads");
    if column.has_filter() {
        // What is not there is asked for often: in memory too it is answered without a search.
        options.set_memtable_prefix_bloom_ratio(FILTER_OF_WRITES);
        options.set_memtable_whole_key_filtering(true);
    }
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(memory.write_buffer_bytes);
    // A column takes memory in such pieces, and there are many columns: large ones would fill the bound with nothing.
    options.set_arena_block_size((memory.write_buffer_bytes / ARENA_PIECES).max(4 << 10));
    options.set_max_write_buffer_number(3);
    options.set_target_file_size_base(32 << 20);
    options.set_level_compaction_dynamic_level_bytes(true);
    if column.scatters() {
        options.set_level_zero_file_num_compaction_trigger(GATHERED_TABLES);
    }
    if column == Column::LeafHashes {
        leaf_hashes::configure(&mut options);
    }
    // What is flushed is written again soon, and compressed then: a flush takes processors from the blocks.
    let lower = if column.compresses() { DBCompressionType::Lz4 } else { DBCompressionType::None };
    options.set_compression_per_level(&[DBCompressionType::None, lower]);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_numbers_do() {
        assert!(log_group(0, 255) < log_group(0, 256));
        assert!(log_group(0, u64::MAX) < log_group(8, 0));
        assert!(vote(1, 255, 3) < vote(1, 256, 1));
        assert!(vote(0, u64::MAX, 3) < vote(1, 0, 1));
        assert!(trail(&[1; 32], u64::MAX) < trail(&[2; 32], 0));
        assert!(seal(9, "z") < seal(10, "a"));
        let reference = |run, seq| Reference { author: 1, run, seq, records: 0, bytes: 0, hash: [9; 32] };
        assert!(batch(0, &reference(1, u64::MAX)) < batch(0, &reference(2, 0)));
        assert_eq!(batch(0, &reference(1, 1)).len(), 58);
    }

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Column::ALL.into_iter().map(Column::name).collect();
        assert_eq!(names.len(), Column::ALL.len());
    }
}
