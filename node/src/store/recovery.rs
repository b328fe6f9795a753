//! What to trust after a stop. The numbers that every write carries decide, not RocksDB's recovery mode, which drops
//! without a word what lies behind a damaged page. A first, tolerant, read-only opening shows which numbers are there
//! and all votes that can still be read; then the strict opening keeps the part before the damage.

use std::collections::BTreeSet;
use std::path::Path;

use rocksdb::{DB, DBRecoveryMode, IteratorMode};

use super::fault::StoreFault;
use super::open::open_fault;
use super::schema::{self, Column, Memory, meta};
use super::view::Pair;
use crate::mutants;

/// How the last stop looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The directory held no database.
    New,
    /// Closed in good order.
    Clean,
    /// Killed or cut off from power; no write is missing, except perhaps at the very end. Nothing is signed before a
    /// quorum's status has shown no own vote that is missing here.
    Unclean,
    /// Writes are missing that were never known to be synced: votes are kept, the ledger continues from before the
    /// gap and the rest comes from peers.
    LedgerBehind,
    /// A write is missing that was synced, now or at an earlier opening: the disk lost it; or this is a restored copy.
    /// Nothing may be signed with this key until the operator has recovered it by rule.
    Doubted,
}

impl Recovery {
    /// Whether the consensus key may be used at all.
    pub fn may_sign(&self) -> bool {
        !matches!(self, Self::Doubted)
    }

    /// Whether the core must first hear from a quorum.
    pub fn is_unclean(&self) -> bool {
        // A new one may stand beside a used key.
        !matches!(self, Self::Clean)
    }
}

/// What the tolerant reading found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    existed: bool,
    numbers: BTreeSet<u64>,
    /// The highest mark: everything up to it was synced.
    mark: u64,
    clean: u64,
    doubted: bool,
    /// The highest number in use.
    pub highest: u64,
    /// Every vote record that could be read.
    pub votes: Vec<Pair>,
}

/// Reads the database without changing it, past whatever is damaged in the write-ahead log.
pub(super) fn inspect(path: &Path, memory: &Memory) -> Result<Findings, StoreFault> {
    let mut options = schema::database_options(memory);
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
    // A store of the layout before has not every column yet.
    let there = DB::list_cf(&options, path).map_err(|error| open_fault(path, &error))?;
    let columns = schema::columns(memory).into_iter().filter(|column| there.iter().any(|name| name == column.name()));
    let db = DB::open_cf_descriptors_read_only(&options, path, columns, false);
    let db = db.map_err(|error| open_fault(path, &error))?;
    let column = |column: Column| {
        db.cf_handle(column.name()).ok_or_else(|| StoreFault::corrupt(format!("column {}", column.name()), "missing"))
    };
    let mut findings = Findings { existed: true, ..Findings::default() };
    for item in db.iterator_cf(column(Column::Counters)?, IteratorMode::Start) {
        let (number, mark) = item?;
        findings.numbers.insert(integer(&number)?);
        findings.mark = findings.mark.max(integer(&mark)?);
    }
    if let Some(clean) = db.get_cf(column(Column::Meta)?, meta::CLEAN)? {
        findings.clean = integer(&clean)?;
    }
    findings.doubted = db.get_cf(column(Column::Meta)?, meta::DOUBTED)?.is_some();
    findings.highest = findings.numbers.last().copied().unwrap_or(0).max(findings.clean).max(findings.mark);
    for item in db.iterator_cf(column(Column::Votes)?, IteratorMode::Start) {
        findings.votes.push(item?);
    }
    Ok(findings)
}

impl Findings {
    pub fn decide(&self) -> Recovery {
        if !self.existed {
            return Recovery::New;
        }
        if mutants::RECOVERY_BY_MODE.on() {
            return Recovery::Unclean;
        }
        let (Some(first), Some(last)) = (self.numbers.first(), self.numbers.last()) else { return Recovery::Doubted };
        if self.doubted || self.mark > *last {
            return Recovery::Doubted;
        }
        let missing = (*first..=*last).find(|number| !self.numbers.contains(number));
        match missing {
            Some(number) if number <= self.mark => Recovery::Doubted,
            Some(_) => Recovery::LedgerBehind,
            None if self.clean == *last => Recovery::Clean,
            None => Recovery::Unclean,
        }
    }
}

fn integer(bytes: &[u8]) -> Result<u64, StoreFault> {
    let bytes = bytes.try_into().map_err(|_| StoreFault::corrupt("a write's number", "it is not 8 bytes long"))?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(numbers: impl IntoIterator<Item = u64>, mark: u64, clean: u64) -> Recovery {
        Findings { existed: true, numbers: numbers.into_iter().collect(), mark, clean, ..Findings::default() }.decide()
    }

    #[test]
    fn the_numbers_decide() {
        assert_eq!(Findings::default().decide(), Recovery::New);
        assert_eq!(decide(5..=9, 7, 9), Recovery::Clean);
        assert_eq!(decide(5..=9, 7, 4), Recovery::Unclean);
        assert_eq!(decide([5, 6, 8, 9], 7, 0), Recovery::Doubted);
        assert_eq!(decide([5, 6, 8, 9], 6, 0), Recovery::LedgerBehind);
        assert_eq!(decide(5..=9, 10, 0), Recovery::Doubted);
        assert_eq!(decide([], 0, 0), Recovery::Doubted);
        let doubted = Findings { existed: true, numbers: [1].into(), clean: 1, doubted: true, ..Findings::default() };
        assert_eq!(doubted.decide(), Recovery::Doubted, "doubt stays until the operator ends it");
        assert!(!Recovery::Doubted.may_sign() && Recovery::LedgerBehind.may_sign());
        assert!(Recovery::Unclean.is_unclean() && !Recovery::Clean.is_unclean());
    }
}
