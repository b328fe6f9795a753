//! A pretended disk: a journal of which a crash may cut off whatever was not synced, folded from time to time into what
//! a store would hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::certificate::FinalCert;

use super::ledger::{Executed, set_of};
use crate::safety::{Entered, SafetyRecord};
use crate::{Epoch, Height, Opening, Restored, Tip};

#[derive(Debug, Clone)]
pub enum Entry {
    Record(SafetyRecord),
    Entered(Entered),
    /// A batch and the epoch that it belongs to.
    Batch(u64, Reference),
    /// Final blocks, with the certificate of the last; prunes vote records.
    Commit(Vec<Executed>, FinalCert),
    /// A transaction that this node admitted.
    Admitted(u64),
    /// The own lane's current run.
    Run(u64),
}

/// What a store holds once the journal is applied.
#[derive(Debug, Clone, Default)]
pub struct Store {
    pub chain: Vec<Executed>,
    /// By height, of the last block of each commit.
    pub certificates: BTreeMap<Height, FinalCert>,
    pub records: Vec<SafetyRecord>,
    pub entered: Option<Entered>,
    pub batches: Vec<(u64, Reference)>,
    pub admitted: BTreeSet<u64>,
    pub run: u64,
}

/// The journal is folded once this many entries are synced.
const FOLD_AT: usize = 128;

#[derive(Debug, Clone, Default)]
pub struct Disk {
    base: Store,
    pub journal: Vec<Entry>,
    pub synced: usize,
    /// Entries folded so far: places in the journal are counted from the beginning of time.
    folded: usize,
}

impl Store {
    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Record(record) => self.records.push(record),
            Entry::Entered(entered) => self.entered = Some(entered),
            Entry::Batch(epoch, reference) => self.batches.push((epoch, reference)),
            Entry::Admitted(number) => {
                self.admitted.insert(number);
            }
            Entry::Run(run) => self.run = run,
            Entry::Commit(blocks, certificate) => {
                let (epoch, turn) = (certificate.epoch, certificate.turn);
                self.records.retain(|record| record.epoch() > epoch || record.turn() > turn);
                self.certificates.insert(certificate.height, certificate);
                self.chain.extend(blocks);
                if let Some(tip) = self.chain.last() {
                    let applied = |r: &Reference| {
                        let position = tip.positions[usize::from(r.author)];
                        (r.run, r.seq) < (position.run, position.next_seq)
                    };
                    self.batches.retain(|(of, reference)| *of > epoch || (*of == epoch && !applied(reference)));
                    self.admitted.retain(|number| !tip.spent.contains(number));
                }
            }
        }
    }

    /// The epoch that the tip's boundary opened, or the one that it stands in.
    pub fn epoch(&self, genesis: &Epoch) -> Epoch {
        let boundary = self.chain.iter().rev().find(|block| block.is_boundary());
        let Some(block) = boundary else { return genesis.clone() };
        let header = block.header.expect("a boundary block is not genesis");
        let certificate = self.certificates[&block.height].clone();
        let previous = Arc::new(set_of(genesis, header.epoch));
        Epoch {
            chain: genesis.chain,
            set: Arc::new(set_of(genesis, header.epoch + 1)),
            opening: Opening::Boundary { certificate, previous },
        }
    }

    pub fn restored(&self, genesis: &Epoch, genesis_ms: u64) -> Restored {
        let epoch = self.epoch(genesis);
        let last = self.chain.last();
        let mut restored = Restored::fresh(&epoch, last.map_or(genesis_ms, |block| block.time_ms));
        if let Some(last) = last.filter(|block| !block.is_boundary()) {
            let header = last.header.expect("only genesis has none");
            let certificate = self.certificates[&last.height].clone();
            restored.tip = Tip { height: last.height, block: last.id, turn: certificate.turn, time_ms: last.time_ms };
            restored.certificate = Some((header, certificate));
        }
        restored.records = self.records.clone();
        restored.entered = self.entered.clone().filter(|entered| entered.just.epoch == epoch.number());
        restored
    }
}

impl Disk {
    /// Place of the journal's end.
    pub fn end(&self) -> usize {
        self.folded + self.journal.len()
    }

    pub fn sync(&mut self, up_to: usize) {
        self.synced = self.synced.max(up_to.saturating_sub(self.folded));
        if self.synced >= FOLD_AT {
            for entry in self.journal.drain(..self.synced) {
                self.base.apply(entry);
            }
            self.folded += self.synced;
            self.synced = 0;
        }
    }

    /// Keeps the synced part and `more` entries behind it.
    pub fn crash(&mut self, more: usize) {
        self.journal.truncate(self.synced + more);
        self.synced = self.journal.len();
    }

    pub fn unsynced(&self) -> usize {
        self.journal.len() - self.synced
    }

    /// Whether a record would survive a crash now.
    pub fn is_durable(&self, record: &SafetyRecord) -> bool {
        let recent = self.journal[..self.synced].iter().rev();
        recent.into_iter().any(|entry| matches!(entry, Entry::Record(stored) if stored == record))
            || self.base.records.contains(record)
    }

    /// What a start finds.
    pub fn view(&self) -> Store {
        let mut store = self.base.clone();
        for entry in &self.journal {
            store.apply(entry.clone());
        }
        store
    }

    pub fn chain(&self) -> impl DoubleEndedIterator<Item = &Executed> {
        self.base.chain.iter().chain(self.journal.iter().flat_map(|entry| match entry {
            Entry::Commit(blocks, _) => blocks.as_slice(),
            Entry::Record(_) | Entry::Entered(_) | Entry::Batch(..) | Entry::Admitted(_) | Entry::Run(_) => &[],
        }))
    }

    /// The highest certificate of an epoch, if the epoch has one here.
    pub fn certificate_in(&self, epoch: u64) -> Option<&FinalCert> {
        let recent = self.journal.iter().rev().filter_map(|entry| match entry {
            Entry::Commit(_, certificate) => Some(certificate),
            Entry::Record(_) | Entry::Entered(_) | Entry::Batch(..) | Entry::Admitted(_) | Entry::Run(_) => None,
        });
        recent.chain(self.base.certificates.values().rev()).find(|certificate| certificate.epoch == epoch)
    }
}
