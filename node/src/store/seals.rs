//! Seals of checkpoints as they arrive, the newest size that a quorum sealed, and the last position of this node's own
//! sealing key, which never goes back. How a seal is made and checked is the ledger's, when it is due the engine's.

use mingzhang_ledger::codec::Reader;
use mingzhang_ledger::crypto::{Hash, PublicKey};
use rocksdb::{Direction, IteratorMode, WriteBatch};

use super::Store;
use super::durable::Durable;
use super::fault::StoreFault;
use super::schema::{self, Column, meta};

/// A checked seal line of one agency on one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Log size of the checkpoint.
    pub size: u64,
    pub agency: String,
    /// As it stands in the note, or in whatever form the caller keeps it.
    pub line: Vec<u8>,
}

/// What this node sealed last with one sealing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealPosition {
    pub size: u64,
    pub root: Hash,
}

impl Store {
    /// Keeps a seal whose signature was checked, in place of an earlier one of the same agency and size. Says whether
    /// the checkpoint now has `quorum` seals; the first time, and if it is the newest, watchers of
    /// [`Store::watch_sealed`] are woken.
    pub fn put_seal(&self, seal: &Seal, quorum: usize) -> Result<bool, StoreFault> {
        let mut write = WriteBatch::default();
        write.put_cf(self.column(Column::Seals), schema::seal(seal.size, &seal.agency), &seal.line);
        self.write(write)?;
        let complete = self.seals(seal.size)?.len() >= quorum;
        if complete && seal.size > *self.sealed_size.borrow() {
            let mut write = WriteBatch::default();
            write.put_cf(self.column(Column::Meta), meta::SEALED, seal.size.to_be_bytes());
            self.write(write)?;
            self.sealed_size.send_if_modified(|newest| {
                let newer = seal.size > *newest;
                *newest = seal.size.max(*newest);
                newer
            });
        }
        Ok(complete)
    }

    /// The seals on one checkpoint, by agency.
    pub fn seals(&self, size: u64) -> Result<Vec<Seal>, StoreFault> {
        let prefix = size.to_be_bytes();
        let mode = IteratorMode::From(&prefix, Direction::Forward);
        let mut seals = Vec::new();
        for item in self.db.iterator_cf(self.column(Column::Seals), mode) {
            let (key, line) = item?;
            let Some(agency) = key.strip_prefix(&prefix) else { break };
            let agency = std::str::from_utf8(agency).map_err(|error| StoreFault::corrupt("a seal", error))?;
            seals.push(Seal { size, agency: agency.to_owned(), line: line.to_vec() });
        }
        Ok(seals)
    }

    /// Size of the newest checkpoint with a quorum of seals; 0 if there is none.
    pub fn sealed_size(&self) -> u64 {
        *self.sealed_size.borrow()
    }

    /// Sizes that hold a seal, newest first, from `below` down: to find an older checkpoint with a quorum.
    pub fn sealed_sizes_below(&self, below: u64, limit: usize) -> Result<Vec<u64>, StoreFault> {
        let mut sizes = Vec::new();
        let mut end = below;
        while sizes.len() < limit {
            let bound = end.to_be_bytes();
            let mode = IteratorMode::From(&bound, Direction::Reverse);
            let mut rows = self.db.iterator_cf(self.column(Column::Seals), mode);
            let Some(row) = rows.next() else { break };
            let (key, _) = row?;
            let size = key.first_chunk::<8>().map(|size| u64::from_be_bytes(*size));
            let size = size.ok_or_else(|| StoreFault::corrupt("a seal", "its key is short"))?;
            sizes.push(size);
            end = size;
        }
        Ok(sizes)
    }

    /// What a sealing key sealed last.
    pub fn seal_position(&self, key: &PublicKey) -> Result<Option<SealPosition>, StoreFault> {
        let Some(bytes) = self.get(Column::Meta, &position_name(key))? else { return Ok(None) };
        let corrupt = |error| StoreFault::corrupt("the sealing position", error);
        let mut reader = Reader::new(&bytes);
        let (size, root) = (reader.u64().map_err(corrupt)?, reader.array().map_err(corrupt)?);
        Ok(Some(SealPosition { size, root }))
    }

    /// Moves a sealing key forward, synced, together with everything written before: the block that it seals is then
    /// durable too. A smaller size, or another root at the same size, is refused.
    pub fn advance_seal(&self, key: &PublicKey, to: SealPosition) -> Result<Durable<SealPosition>, StoreFault> {
        if let Some(last) = self.seal_position(key)?
            && (to.size < last.size || (to.size == last.size && to.root != last.root))
        {
            return Err(StoreFault::SealBehind { size: to.size, last: last.size });
        }
        let mut write = WriteBatch::default();
        let value = [&to.size.to_be_bytes()[..], &to.root].concat();
        write.put_cf(self.column(Column::Meta), position_name(key), value);
        self.write_synced(write)?;
        Ok(Durable::after_sync(to))
    }
}

fn position_name(key: &PublicKey) -> Vec<u8> {
    [meta::SEALING, &key.0].concat()
}
