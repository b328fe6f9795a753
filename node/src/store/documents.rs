//! The index of documents: which records of the log cite a digest. It is made of what `ledger`'s citations say, with the
//! block that logs a record, whatever its outcome; a store that was written before there was an index gets one when it
//! is opened, piece by piece, and says so by its version only when the last piece is there.

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::entry::Entry;
use mingzhang_ledger::records::citation::citations;
use mingzhang_ledger::transaction::Transaction;
use rocksdb::{Direction, IteratorMode, WriteBatch};

use super::Store;
use super::commit::ExecutedBlock;
use super::fault::StoreFault;
use super::schema::{self, Column, meta};
use super::view::View;

/// The layout before there was an index.
pub(super) const WITHOUT_INDEX: u32 = 3;
/// Entries that are read, and bytes that are written, in one piece of an index that is built from the log.
const PIECE_ENTRIES: usize = 4_096;
const PIECE_BYTES: usize = 1 << 20;

/// A record that cites a document: the digest, and where the log has the record.
pub type Cited = (Hash, u64);

/// The digests that the record at a log index cites, each once.
pub fn cited(transaction: &Transaction, index: u64) -> Vec<Cited> {
    let mut found: Vec<Cited> = citations(transaction.payload()).map(|citation| (citation.digest, index)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

impl Store {
    /// In the order of their keys, which is the cheapest for the database.
    pub(super) fn write_documents(&self, executed: &ExecutedBlock, batch: &mut WriteBatch) {
        let column = self.column(Column::Documents);
        let mut cited: Vec<&Cited> = executed.documents.iter().collect();
        cited.sort_unstable();
        for (digest, index) in cited {
            batch.put_cf(column, schema::document(digest, *index), []);
        }
    }

    /// Brings a store of the layout before up to this one.
    pub(super) fn build_documents(&self) -> Result<(), StoreFault> {
        tracing::info!(version = WITHOUT_INDEX, "data of an earlier version: indexing the documents of the log");
        while self.build_piece(PIECE_ENTRIES)? {}
        tracing::info!(version = schema::VERSION, "the documents of the log are indexed");
        let mut batch = WriteBatch::default();
        let meta = self.column(Column::Meta);
        batch.put_cf(meta, meta::VERSION, schema::VERSION.to_be_bytes());
        batch.delete_cf(meta, meta::INDEXED);
        self.write_synced(batch)
    }

    /// Indexes the next entries of the log and keeps how far it is, in one write. False if none was left.
    pub(super) fn build_piece(&self, entries: usize) -> Result<bool, StoreFault> {
        let from = self.get_u64(meta::INDEXED)?.unwrap_or(0);
        let (mut batch, mut next) = (WriteBatch::default(), from);
        let start = IteratorMode::From(&from.to_be_bytes(), Direction::Forward);
        for item in self.db.iterator_cf(self.column(Column::Entries), start).take(entries) {
            let (key, bytes) = item?;
            let index = log_index(&key)?;
            for (digest, index) in cited_by(index, &bytes)? {
                batch.put_cf(self.column(Column::Documents), schema::document(&digest, index), []);
            }
            next = index.saturating_add(1);
            if batch.size_in_bytes() >= PIECE_BYTES {
                break;
            }
        }
        if next == from {
            return Ok(false);
        }
        batch.put_cf(self.column(Column::Meta), meta::INDEXED, next.to_be_bytes());
        let written = self.write(batch)?;
        self.flush_when_due(written)?;
        Ok(true)
    }
}

impl View<'_> {
    /// Log indices, from one on, of the records that cite a document, at most `limit`.
    pub fn citing(&self, digest: &Hash, from: u64, limit: usize) -> Result<Vec<u64>, StoreFault> {
        let mut found = Vec::new();
        for item in self.scan(Column::Documents, &schema::document(digest, from)).take(limit) {
            let (key, _) = item?;
            match key.strip_prefix(&digest[..]) {
                Some(index) => found.push(log_index(index)?),
                None => break,
            }
        }
        Ok(found)
    }

    /// Log index from which on the index of documents knows every record: 0, or where the log begins that this node
    /// holds.
    pub fn documents_since(&self) -> Result<u64, StoreFault> {
        let base = self.store().base();
        if base == 0 {
            return Ok(0);
        }
        let header = self.header(base)?;
        header.map(|header| header.own_index()).ok_or_else(|| StoreFault::corrupt("the base's header", "it is missing"))
    }

    /// Every citation of the log stands in the index, and nothing else does. How many there are.
    pub(super) fn check_documents(&self) -> Result<u64, StoreFault> {
        let mut known = 0u64;
        for item in self.scan(Column::Documents, &[]) {
            let (key, _) = item?;
            let wrong =
                || StoreFault::corrupt(format!("index of document {}", hex::encode(&key)), "no record cites it");
            let (digest, index) = key.split_first_chunk::<32>().ok_or_else(wrong)?;
            let index = log_index(index)?;
            let entry = self.entry(index)?.ok_or_else(wrong)?;
            if !cited_by(index, &entry)?.contains(&(*digest, index)) {
                return Err(wrong());
            }
            known += 1;
        }
        Ok(known)
    }
}

/// The citations of a log entry; headers and the genesis entry have none.
pub(super) fn cited_by(index: u64, entry: &[u8]) -> Result<Vec<Cited>, StoreFault> {
    let decoded = Entry::decode(entry);
    match decoded.map_err(|error| StoreFault::corrupt(format!("log entry {index}"), error))? {
        Entry::Record { transaction, .. } => Ok(cited(&transaction, index)),
        Entry::Genesis { .. } | Entry::Header(_) => Ok(Vec::new()),
    }
}

fn log_index(bytes: &[u8]) -> Result<u64, StoreFault> {
    let index = bytes.try_into().map_err(|_| StoreFault::corrupt("a log index", "it is not 8 bytes long"))?;
    Ok(u64::from_be_bytes(index))
}
