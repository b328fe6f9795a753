//! Hashes of the log on disk: levels 0, 8, 16, 24 … in groups of [`GROUP`]. Levels between are computed. Entries are
//! another column; roots of proofs are formed by the ledger.

use std::collections::BTreeMap;

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::merkle::{Frontier, Nodes};
use rocksdb::WriteBatch;

use super::Store;
use super::fault::StoreFault;
use super::schema::{self, Column, GROUP};
use super::view::View;

/// Levels that are stored are multiples of this one.
const STORED_EVERY: u32 = 8;
/// Hashes under one stored node on the stored level below.
const TILE: u64 = 1 << STORED_EVERY;

/// The log's nodes as a proof wants them.
pub struct Log<'v, 'a>(pub(super) &'v View<'a>);

impl Nodes for Log<'_, '_> {
    type Error = StoreFault;

    fn node(&self, level: u32, index: u64) -> Result<Hash, StoreFault> {
        let above = level % STORED_EVERY;
        let width = 1u64 << above;
        let first = index.checked_mul(width).ok_or_else(|| missing(level, index))?;
        if above == 0 {
            return self.hashes(level, first, 1).map(|hashes| hashes[0]);
        }
        Ok(Frontier::of(self.hashes(level - above, first, width)?).root())
    }
}

impl Log<'_, '_> {
    /// A node that took over a peer's state holds no older part of the log.
    fn missing(&self, level: u32, index: u64) -> StoreFault {
        match self.0.store().base() {
            0 => missing(level, index),
            oldest => StoreFault::NotKept { height: 0, oldest, newest: self.0.tip().height },
        }
    }

    /// `count` hashes of a stored level from `first`: a tile is one such range.
    pub fn hashes(&self, level: u32, first: u64, count: u64) -> Result<Vec<Hash>, StoreFault> {
        let stored_level = u8::try_from(level).map_err(|_| missing(level, first))?;
        let mut found = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(1 << 16));
        let mut next = first;
        let end = first.checked_add(count).ok_or_else(|| missing(level, first))?;
        while next < end {
            let group = self.0.get(Column::LogHashes, &schema::log_group(stored_level, next / GROUP))?;
            let group = group.ok_or_else(|| self.missing(level, next))?;
            let group = hashes_of(&group)?;
            let take = group.iter().skip(position(next)).take(usize::try_from(end - next).unwrap_or(usize::MAX));
            let before = found.len();
            found.extend(take.copied());
            if found.len() == before {
                return Err(missing(level, next));
            }
            next += (found.len() - before) as u64;
        }
        Ok(found)
    }
}

fn missing(level: u32, index: u64) -> StoreFault {
    StoreFault::corrupt(format!("log node {index} of level {level}"), "it is not stored")
}

fn position(index: u64) -> usize {
    usize::try_from(index % GROUP).expect("below GROUP")
}

/// Splits a stored group into its hashes.
fn hashes_of(bytes: &[u8]) -> Result<Vec<Hash>, StoreFault> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.is_empty() || hashes.len() as u64 > GROUP {
        return Err(StoreFault::corrupt("a group of hashes", format!("it has {} bytes", bytes.len())));
    }
    Ok(hashes.to_vec())
}

/// Groups of the log that one block touches, gathered before they are written.
pub(super) struct LogWriter<'s> {
    store: &'s Store,
    groups: BTreeMap<(u32, u64), Vec<Hash>>,
}

impl<'s> LogWriter<'s> {
    pub fn new(store: &'s Store) -> Self {
        Self { store, groups: BTreeMap::new() }
    }

    /// Adds leaf `index`, and every stored node above that it completes.
    pub fn append(&mut self, index: u64, leaf: Hash) -> Result<(), StoreFault> {
        let (mut level, mut index, mut hash) = (0, index, leaf);
        loop {
            self.put(level, index, hash)?;
            if !(index + 1).is_multiple_of(TILE) {
                return Ok(());
            }
            let first = index + 1 - TILE;
            let mut frontier = Frontier::default();
            for group in (first / GROUP)..=(index / GROUP) {
                for hash in self.group(level, group)? {
                    frontier.append(*hash);
                }
            }
            (level, index, hash) = (level + STORED_EVERY, index / TILE, frontier.root());
        }
    }

    fn put(&mut self, level: u32, index: u64, hash: Hash) -> Result<(), StoreFault> {
        let place = position(index);
        let group = self.group(level, index / GROUP)?;
        if group.len() != place {
            return Err(missing(level, index));
        }
        group.push(hash);
        Ok(())
    }

    fn group(&mut self, level: u32, group: u64) -> Result<&mut Vec<Hash>, StoreFault> {
        if !self.groups.contains_key(&(level, group)) {
            let key = schema::log_group(u8::try_from(level).map_err(|_| missing(level, group))?, group);
            let stored = self.store.get(Column::LogHashes, &key)?;
            let hashes = stored.map_or(Ok(Vec::new()), |bytes| hashes_of(&bytes))?;
            self.groups.insert((level, group), hashes);
        }
        Ok(self.groups.entry((level, group)).or_default())
    }

    pub fn write(self, batch: &mut WriteBatch) -> Result<(), StoreFault> {
        let column = self.store.column(Column::LogHashes);
        for ((level, group), hashes) in self.groups {
            let key = schema::log_group(u8::try_from(level).map_err(|_| missing(level, group))?, group);
            batch.put_cf(column, key, hashes.concat());
        }
        Ok(())
    }
}
