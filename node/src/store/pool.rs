//! What waits to become final: batches that this node holds, transactions that it admitted, and the run of its
//! own lane. What is packed, gossiped or dropped, and when, is the mempool's matter.

use std::borrow::Borrow;

use mingzhang_ledger::batch::{Batch, Reference};
use mingzhang_ledger::codec::Reader;
use mingzhang_ledger::crypto::Hash;
use rocksdb::{Direction, IteratorMode, WriteBatch};

use super::Store;
use super::durable::Durable;
use super::fault::StoreFault;
use super::schema::{self, Column, meta};

/// Longest batch payload that is read back; parameters allow less.
const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// A transaction that this node promised to bring to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    pub transaction_id: Hash,
    pub time_ms: u64,
    /// The exact COSE_Sign1 bytes.
    pub transaction: Vec<u8>,
}

impl Store {
    /// Stores batches whose authors' signatures were checked, each under what names it, so that nothing is hashed again.
    /// Unsynced: the vote that follows syncs them.
    pub fn put_batches<B: Borrow<Batch>>(&self, batches: &[(Reference, B)]) -> Result<(), StoreFault> {
        let mut write = WriteBatch::default();
        for (reference, batch) in batches {
            let batch = batch.borrow();
            write.put_cf(self.column(Column::Batches), schema::batch(batch.epoch, reference), batch.encode());
        }
        self.write(write).map(drop)
    }

    /// The batch that a reference of this epoch names, if it is held. Once its block is final it is gone.
    pub fn batch(&self, epoch: u64, reference: &Reference) -> Result<Option<Batch>, StoreFault> {
        let bytes = self.get(Column::Batches, &schema::batch(epoch, reference))?;
        bytes.map(|bytes| decode_batch(&bytes)).transpose()
    }

    /// Whether a batch is held, without reading it.
    pub fn holds_batch(&self, epoch: u64, reference: &Reference) -> Result<bool, StoreFault> {
        let key = schema::batch(epoch, reference);
        Ok(self.db.get_pinned_cf(self.column(Column::Batches), key)?.is_some())
    }

    /// Every batch of an epoch that is held, by author, run and seq: for the start of a node.
    pub fn batches(&self, epoch: u64) -> Result<Vec<Batch>, StoreFault> {
        let prefix = epoch.to_be_bytes();
        let mode = IteratorMode::From(&prefix, Direction::Forward);
        let mut batches = Vec::new();
        for item in self.db.iterator_cf(self.column(Column::Batches), mode) {
            let (key, bytes) = item?;
            if !key.starts_with(&prefix) {
                break;
            }
            batches.push(decode_batch(&bytes)?);
        }
        Ok(batches)
    }

    /// Forgets batches that no block can name any more, because their lanes went past them.
    pub fn drop_batches(&self, epoch: u64, references: &[Reference]) -> Result<(), StoreFault> {
        let mut write = WriteBatch::default();
        for reference in references {
            write.delete_cf(self.column(Column::Batches), schema::batch(epoch, reference));
        }
        self.write(write).map(drop)
    }

    /// Stores admitted transactions with one sync. Callers that wait together share it.
    pub fn admit(&self, admissions: Vec<Admission>) -> Result<Durable<Vec<Admission>>, StoreFault> {
        let mut write = WriteBatch::default();
        for admission in &admissions {
            let mut value = admission.time_ms.to_be_bytes().to_vec();
            value.extend_from_slice(&admission.transaction);
            write.put_cf(self.column(Column::Admitted), admission.transaction_id, value);
        }
        // Noted before the write: a commit in between deletes one key too many rather than one too few.
        let ids = admissions.iter().map(|admission| admission.transaction_id);
        self.admitted.lock().expect("no holder of this lock panics").extend(ids);
        self.write_synced(write)?;
        Ok(Durable::after_sync(admissions))
    }

    /// Admitted transactions that are not final, oldest first.
    pub fn admitted(&self) -> Result<Vec<Admission>, StoreFault> {
        let mut admissions = Vec::new();
        for item in self.db.iterator_cf(self.column(Column::Admitted), IteratorMode::Start) {
            let (key, bytes) = item?;
            let corrupt = |error| StoreFault::corrupt("an admitted transaction", error);
            let mut reader = Reader::new(&bytes);
            let time_ms = reader.u64().map_err(corrupt)?;
            let transaction = reader.take(reader.remaining()).map_err(corrupt)?.to_vec();
            let transaction_id =
                key[..].try_into().map_err(|_| StoreFault::corrupt("an admitted transaction", "its key"))?;
            admissions.push(Admission { transaction_id, time_ms, transaction });
        }
        admissions.sort_by_key(|admission| admission.time_ms);
        Ok(admissions)
    }

    /// Whether a transaction was admitted here and is not final.
    pub fn is_admitted(&self, id: &Hash) -> bool {
        self.admitted.lock().expect("no holder of this lock panics").contains(id)
    }

    /// Forgets transactions that can never enter any more: expired, or another entry took their id.
    pub fn drop_admitted(&self, ids: &[Hash]) -> Result<(), StoreFault> {
        let mut write = WriteBatch::default();
        for id in self.admitted_among(ids) {
            write.delete_cf(self.column(Column::Admitted), id);
        }
        self.write(write)?;
        self.forget_transactions(ids);
        Ok(())
    }

    pub(super) fn admitted_among(&self, ids: &[Hash]) -> Vec<Hash> {
        let admitted = self.admitted.lock().expect("no holder of this lock panics");
        ids.iter().filter(|id| admitted.contains(*id)).copied().collect()
    }

    pub(super) fn forget_transactions(&self, ids: &[Hash]) {
        let mut admitted = self.admitted.lock().expect("no holder of this lock panics");
        for id in ids {
            admitted.remove(id);
        }
    }

    /// Opens a new run of this node's lane, durably before its first batch leaves: max(now, last run + 1, lane's + 1).
    pub fn open_run(&self, now_ms: u64, lane_run: u64) -> Result<Durable<u64>, StoreFault> {
        let last = self.get_u64(meta::RUN)?.unwrap_or(0);
        let run = now_ms.max(last.saturating_add(1)).max(lane_run.saturating_add(1));
        let mut write = WriteBatch::default();
        write.put_cf(self.column(Column::Meta), meta::RUN, run.to_be_bytes());
        self.write_synced(write)?;
        Ok(Durable::after_sync(run))
    }

    pub(super) fn get_u64(&self, name: &[u8]) -> Result<Option<u64>, StoreFault> {
        let Some(bytes) = self.get(Column::Meta, name)? else { return Ok(None) };
        let bytes: [u8; 8] = bytes.try_into().map_err(|_| {
            StoreFault::corrupt(format!("the stored {}", String::from_utf8_lossy(name)), "it is not 8 bytes long")
        })?;
        Ok(Some(u64::from_be_bytes(bytes)))
    }
}

fn decode_batch(bytes: &[u8]) -> Result<Batch, StoreFault> {
    Batch::decode(bytes, MAX_PAYLOAD_BYTES).map_err(|error| StoreFault::corrupt("a batch", error))
}
