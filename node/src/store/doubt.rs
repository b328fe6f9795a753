//! Doubt about the disk: kept with the key that it concerns, until the operator recovers by rule. And what the guard beside
//! the key compares: which store this is, and how often it was started on.

use std::sync::atomic::Ordering;

use mingzhang_ledger::crypto::PublicKey;
use rocksdb::WriteBatch;

use super::Store;
use super::fault::StoreFault;
use super::schema::{Column, meta};

impl Store {
    /// Whether nothing may be signed.
    pub fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Acquire)
    }

    /// From now on, also after a restart, nothing is signed with this key.
    pub fn doubt(&self, key: &PublicKey) -> Result<(), StoreFault> {
        self.doubted.store(true, Ordering::Release);
        let mut batch = WriteBatch::default();
        batch.put_cf(self.column(Column::Meta), meta::DOUBTED, key.0);
        self.write_synced(batch)
    }

    /// A doubt concerns the key that was in use; a new one, which signed nothing yet, is free of it.
    pub fn settle_doubt(&self, key: &PublicKey) -> Result<(), StoreFault> {
        match self.get(Column::Meta, meta::DOUBTED)? {
            Some(doubted) if doubted.len() == 32 && doubted[..] != key.0 => self.end_doubt(),
            Some(doubted) if doubted.len() != 32 => self.doubt(key),
            Some(_) | None => Ok(()),
        }
    }

    /// Ends the doubt, when the operator has recovered by rule: a new key, or a known last use of the old one.
    pub fn end_doubt(&self) -> Result<(), StoreFault> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.column(Column::Meta), meta::DOUBTED);
        self.write_synced(batch)?;
        self.doubted.store(false, Ordering::Release);
        Ok(())
    }

    /// Which store this is, once it was started on.
    pub fn identity(&self) -> Result<Option<[u8; 16]>, StoreFault> {
        let bytes = self.get(Column::Meta, meta::IDENTITY)?;
        let fixed = |bytes: Vec<u8>| bytes.try_into().map_err(|_| StoreFault::corrupt("its identity", "not 16 bytes"));
        bytes.map(fixed).transpose()
    }

    /// How often a node with a consensus key was started on it.
    pub fn starts(&self) -> Result<u64, StoreFault> {
        Ok(self.get_u64(meta::STARTS)?.unwrap_or(0))
    }

    pub fn note_start(&self, identity: &[u8; 16], starts: u64) -> Result<(), StoreFault> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.column(Column::Meta), meta::IDENTITY, identity);
        batch.put_cf(self.column(Column::Meta), meta::STARTS, starts.to_be_bytes());
        self.write_synced(batch)
    }
}
