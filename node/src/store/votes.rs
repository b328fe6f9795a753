//! Vote records: on disk before the vote leaves, written once, found again at start. Which records may be made is the
//! consensus crate's matter; this file only refuses to replace one by another.

use std::sync::Arc;

use mingzhang_consensus::safety::{Entered, SafetyRecord};
use mingzhang_consensus::{Epoch, Opening, Restored};
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::codec::Reader;
use mingzhang_ledger::entry;
use mingzhang_ledger::header::Header;
use rocksdb::{Direction, IteratorMode, WriteBatch};

use super::Store;
use super::durable::Durable;
use super::fault::StoreFault;
use super::schema::{self, Column, meta};

/// Most records of one epoch that are read at start: three for every turn since the last final block.
const MAX_RECORDS: usize = 1 << 20;

fn kind(record: &SafetyRecord) -> u8 {
    match record {
        SafetyRecord::Endorsed(_) => 1,
        SafetyRecord::Skipped { .. } => 2,
        SafetyRecord::Confirmed { .. } => 3,
    }
}

/// How many blocks are looked through for the last one of a member: it may have been absent for long.
const LOOKED_BACK: u64 = 10_000;

impl Store {
    /// Writes the records of one engine cycle in one synced batch; the sync covers every earlier write. A record that
    /// is stored already is not written again; one that says something else under the same epoch, turn and kind is
    /// refused, and then nothing is written.
    pub fn persist(&self, epoch: &Epoch, records: Vec<SafetyRecord>) -> Result<Durable<Vec<SafetyRecord>>, StoreFault> {
        let column = self.column(Column::Votes);
        let mut batch = WriteBatch::default();
        for record in &records {
            let key = schema::vote(record.epoch(), record.turn(), kind(record));
            match self.get(Column::Votes, &key)? {
                None => batch.put_cf(column, key, record.encode(epoch)),
                Some(bytes) => {
                    let stored = decode(&bytes, epoch)?;
                    if stored.statement() != record.statement() {
                        return Err(StoreFault::Contradiction { epoch: record.epoch(), turn: record.turn() });
                    }
                }
            }
        }
        if batch.is_empty() {
            self.sync()?
        } else {
            self.write_synced(batch)?
        }
        Ok(Durable::after_sync(records))
    }

    /// Notes the turn that was entered, unsynced, in place of the one before.
    pub fn note(&self, epoch: &Epoch, entered: &Entered) -> Result<(), StoreFault> {
        let mut batch = WriteBatch::default();
        let mut value = epoch.number().to_be_bytes().to_vec();
        value.extend_from_slice(&entered.encode(epoch));
        batch.put_cf(self.column(Column::Meta), meta::ENTERED, value);
        self.write(batch).map(drop)
    }

    /// The epoch that decides the next block, as the consensus core wants it.
    pub fn epoch(&self) -> Result<Epoch, StoreFault> {
        let set = self.set();
        if let Some(opening) = self.recovered_opening(set.epoch)? {
            return Ok(Epoch { chain: self.genesis_hash(), set, opening });
        }
        let opening = match self.stored_epoch(set.epoch)? {
            None => return Err(StoreFault::corrupt(format!("epoch {}", set.epoch), "its set document is missing")),
            Some(stored) if stored.opening_height == 0 => {
                Opening::Genesis { block: entry::genesis_id(&self.genesis_hash()) }
            }
            Some(stored) => {
                let missing = || StoreFault::corrupt(format!("epoch {}", set.epoch), "what opened it is missing");
                let certificate = self.certificate(stored.opening_height)?.ok_or_else(missing)?;
                let previous = self.stored_epoch(certificate.epoch)?.ok_or_else(missing)?.set;
                Opening::Boundary { certificate, previous: Arc::new(previous) }
            }
        };
        Ok(Epoch { chain: self.genesis_hash(), set, opening })
    }

    /// What the consensus core starts from.
    pub fn restored(&self, epoch: &Epoch) -> Result<Restored, StoreFault> {
        let tip = self.tip();
        let opened_here = tip.height == epoch.opening_height();
        let certificate = if opened_here { None } else { self.tip_certificate(tip.height)? };
        let entered = self.entered(epoch)?;
        Ok(Restored {
            tip: mingzhang_consensus::Tip { height: tip.height, block: tip.id, turn: tip.turn, time_ms: tip.time_ms },
            certificate,
            records: self.records_above(epoch, tip.turn)?,
            entered,
            unclean: self.recovery().is_unclean(),
            may_sign: !self.is_doubted(),
            lost_at_ms: None,
            used_ms: None,
        })
    }

    /// The highest turn of this epoch that was entered, voted in, or became final here.
    pub fn last_turn(&self, epoch: &Epoch) -> Result<u64, StoreFault> {
        let restored = self.restored(epoch)?;
        let entered = restored.entered.map(|entered| entered.just.turn);
        let voted = restored.records.iter().map(SafetyRecord::turn);
        Ok(voted.chain(entered).fold(restored.tip.turn, u64::max))
    }

    /// Time of the newest final block of this epoch, among the last [`LOOKED_BACK`], that this seat proposed.
    pub fn last_proposed_ms(&self, epoch: u64, seat: u16) -> Result<Option<u64>, StoreFault> {
        let view = self.view()?;
        let lowest = view.height().saturating_sub(LOOKED_BACK).max(self.base());
        for height in (lowest.saturating_add(1)..=view.height()).rev() {
            let Some(header) = view.header(height)?.filter(|header| header.epoch == epoch) else { break };
            if header.proposer == seat {
                return Ok(Some(header.time_ms));
            }
        }
        Ok(None)
    }

    /// The turn of this epoch that was entered last.
    pub(super) fn entered(&self, epoch: &Epoch) -> Result<Option<Entered>, StoreFault> {
        match self.get(Column::Meta, meta::ENTERED)? {
            Some(bytes) => decode_entered(&bytes, epoch),
            None => Ok(None),
        }
    }

    fn tip_certificate(&self, height: u64) -> Result<Option<(Header, FinalCert)>, StoreFault> {
        let header = self.header(height)?;
        Ok(header.zip(self.certificate(height)?))
    }

    /// Every stored record of the epoch above a turn.
    pub fn records_above(&self, epoch: &Epoch, turn: u64) -> Result<Vec<SafetyRecord>, StoreFault> {
        let from = schema::vote(epoch.number(), turn.saturating_add(1), 0);
        let mode = IteratorMode::From(&from, Direction::Forward);
        let mut records = Vec::new();
        for item in self.db.iterator_cf(self.column(Column::Votes), mode).take(MAX_RECORDS) {
            let (key, bytes) = item?;
            if !key.starts_with(&epoch.number().to_be_bytes()) {
                break;
            }
            records.push(decode(&bytes, epoch)?);
        }
        Ok(records)
    }

    /// Keys of the records of an epoch up to and including a turn that were not dropped yet.
    pub(super) fn settled_votes(&self, epoch: u64, turn: u64) -> Result<Vec<Box<[u8]>>, StoreFault> {
        let settled = *self.settled_turn.lock().expect("no holder of this lock panics");
        let from = schema::vote(epoch, settled, 0);
        let end = schema::vote(epoch, turn.saturating_add(1), 0);
        let mode = IteratorMode::From(&from, Direction::Forward);
        let mut keys = Vec::new();
        for item in self.db.iterator_cf(self.column(Column::Votes), mode).take(MAX_RECORDS) {
            let (key, _) = item?;
            if key[..] >= end[..] {
                break;
            }
            keys.push(key);
        }
        Ok(keys)
    }

    pub(super) fn settle_votes(&self, turn: u64) {
        *self.settled_turn.lock().expect("no holder of this lock panics") = turn;
    }
}

fn decode(bytes: &[u8], epoch: &Epoch) -> Result<SafetyRecord, StoreFault> {
    SafetyRecord::decode(bytes, epoch).map_err(|error| StoreFault::corrupt("a vote record", error))
}

/// One of an earlier epoch says nothing any more.
fn decode_entered(bytes: &[u8], epoch: &Epoch) -> Result<Option<Entered>, StoreFault> {
    let corrupt = |error| StoreFault::corrupt("the entered turn", error);
    let mut reader = Reader::new(bytes);
    if reader.u64().map_err(corrupt)? != epoch.number() {
        return Ok(None);
    }
    let rest = reader.take(reader.remaining()).map_err(corrupt)?;
    Entered::decode(rest, epoch).map(Some).map_err(corrupt)
}
