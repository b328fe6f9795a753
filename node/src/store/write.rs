//! Every write goes through here: numbered, in one order, and stopped for good after the first failure. A sync is
//! shared by all who wait for one. What the numbers tell after an unclean stop is in `recovery`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rocksdb::WriteBatch;

use super::Store;
use super::fault::StoreFault;
use super::schema::Column;

/// Writes between two flushes. At fifty writes a second that is twenty minutes.
const MAX_NUMBERED_WRITES: u64 = 65_536;

/// Number of the write that a batch was, in the order of the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written(pub(super) u64);

/// The order of writes and how far they are synced.
#[derive(Debug)]
pub(super) struct Order {
    last: Mutex<u64>,
    syncing: Mutex<()>,
    synced: AtomicU64,
    /// Everything up to this write is in table files, and its number is dropped.
    flushed: AtomicU64,
    stopped: AtomicBool,
}

impl Order {
    /// Continues after what a reopened database holds, all of which is synced.
    pub fn after(last: u64) -> Self {
        Self {
            last: Mutex::new(last),
            syncing: Mutex::new(()),
            synced: last.into(),
            flushed: last.into(),
            stopped: false.into(),
        }
    }

    fn stop_on<T>(&self, result: Result<T, rocksdb::Error>) -> Result<T, StoreFault> {
        result.map_err(|error| {
            self.stopped.store(true, Ordering::SeqCst);
            StoreFault::from(error)
        })
    }
}

impl Store {
    /// Writes a batch without waiting for the disk.
    pub(super) fn write(&self, mut batch: WriteBatch) -> Result<Written, StoreFault> {
        if self.order.stopped.load(Ordering::SeqCst) {
            return Err(StoreFault::Stopped);
        }
        let mut last = self.order.last.lock().expect("no holder of this lock panics");
        let number = *last + 1;
        let mark = self.order.synced.load(Ordering::SeqCst);
        batch.put_cf(self.column(Column::Counters), number.to_be_bytes(), mark.to_be_bytes());
        self.order.stop_on(self.db.write(batch))?;
        *last = number;
        Ok(Written(number))
    }

    /// Writes a batch and returns once it is on disk.
    pub(super) fn write_synced(&self, batch: WriteBatch) -> Result<(), StoreFault> {
        let written = self.write(batch)?;
        self.sync_through(written)
    }

    /// Returns once everything written so far is on disk. A failed sync stops the store.
    pub fn sync(&self) -> Result<(), StoreFault> {
        let last = *self.order.last.lock().expect("no holder of this lock panics");
        self.sync_through(Written(last))
    }

    /// Returns once this write, and with it every earlier one, is on disk.
    pub fn sync_through(&self, written: Written) -> Result<(), StoreFault> {
        if self.is_synced(written) {
            return Ok(());
        }
        let _turn = self.order.syncing.lock().expect("no holder of this lock panics");
        if self.is_synced(written) {
            return Ok(());
        }
        if self.order.stopped.load(Ordering::SeqCst) {
            return Err(StoreFault::Stopped);
        }
        let last = *self.order.last.lock().expect("no holder of this lock panics");
        self.order.stop_on(self.db.flush_wal(true))?;
        self.order.synced.store(last, Ordering::SeqCst);
        Ok(())
    }

    /// The number that the next write will have, if nobody else writes before.
    pub(super) fn next_number(&self) -> u64 {
        *self.order.last.lock().expect("no holder of this lock panics") + 1
    }

    pub fn is_synced(&self, written: Written) -> bool {
        self.order.synced.load(Ordering::SeqCst) >= written.0
    }

    /// Whether a write or sync failed. Nothing is written any more.
    pub fn is_stopped(&self) -> bool {
        self.order.stopped.load(Ordering::SeqCst)
    }

    /// Flushes if so many writes have gathered that their numbers would be a burden at the next start.
    pub(super) fn flush_when_due(&self, written: Written) -> Result<(), StoreFault> {
        let due = written.0.saturating_sub(self.order.flushed.load(Ordering::SeqCst)) >= MAX_NUMBERED_WRITES;
        if due { self.flush() } else { Ok(()) }
    }

    /// Moves everything from the write-ahead log into table files and drops the numbers that only the log needed.
    pub fn flush(&self) -> Result<(), StoreFault> {
        let last = *self.order.last.lock().expect("no holder of this lock panics");
        let columns: Vec<_> = Column::ALL.into_iter().map(|column| self.column(column)).collect();
        self.order.stop_on(self.db.flush_cfs_opt(&columns, &rocksdb::FlushOptions::default()))?;
        self.order.flushed.store(last, Ordering::SeqCst);
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.column(Column::Counters), 0u64.to_be_bytes(), last.to_be_bytes());
        self.write(batch).map(drop)
    }
}
