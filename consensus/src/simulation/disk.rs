//! A pretended disk: a journal of which a crash may cut off whatever was not synced.

use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::certificate::FinalCert;

use super::ledger::Executed;
use crate::safety::{Entered, SafetyRecord};
use crate::{Epoch, Restored, Tip};

#[derive(Debug, Clone)]
pub enum Entry {
    Record(SafetyRecord),
    Entered(Entered),
    Batch(Reference),
    /// Final blocks, with the certificate of the last; prunes vote records.
    Commit(Vec<Executed>, FinalCert),
    /// A transaction that this node admitted.
    Admitted(u64),
}

#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub journal: Vec<Entry>,
    pub synced: usize,
}

impl Disk {
    pub fn sync(&mut self, up_to: usize) {
        self.synced = self.synced.max(up_to);
    }

    /// Keeps the synced part and `more` entries behind it.
    pub fn crash(&mut self, more: usize) {
        self.journal.truncate(self.synced + more);
        self.synced = self.journal.len();
    }

    pub fn unsynced(&self) -> usize {
        self.journal.len() - self.synced
    }

    pub fn chain(&self) -> impl DoubleEndedIterator<Item = &Executed> {
        self.journal.iter().flat_map(|entry| match entry {
            Entry::Commit(blocks, _) => blocks.as_slice(),
            Entry::Record(_) | Entry::Entered(_) | Entry::Batch(_) | Entry::Admitted(_) => &[],
        })
    }

    pub fn last_certificate(&self) -> Option<&FinalCert> {
        self.journal.iter().rev().find_map(|entry| match entry {
            Entry::Commit(_, certificate) => Some(certificate),
            Entry::Record(_) | Entry::Entered(_) | Entry::Batch(_) | Entry::Admitted(_) => None,
        })
    }

    pub fn batches(&self) -> impl Iterator<Item = Reference> {
        self.journal
            .iter()
            .filter_map(|entry| if let Entry::Batch(reference) = entry { Some(*reference) } else { None })
    }

    pub fn restored(&self, epoch: &Epoch, genesis_ms: u64, unclean: bool) -> Restored {
        let mut restored = Restored::fresh(epoch, genesis_ms);
        restored.unclean = unclean;
        let certificate = self.last_certificate();
        if let (Some(certificate), Some(last)) = (certificate, self.chain().last()) {
            let header = last.header.expect("only genesis has none");
            restored.tip = Tip { height: last.height, block: last.id, turn: certificate.turn, time_ms: last.time_ms };
            restored.certificate = Some((header, certificate.clone()));
        }
        let final_turn = certificate.map_or(0, |certificate| certificate.turn);
        for entry in &self.journal {
            match entry {
                Entry::Record(record) if record.turn() > final_turn => restored.records.push(record.clone()),
                Entry::Entered(entered) => restored.entered = Some(entered.clone()),
                Entry::Record(_) | Entry::Batch(_) | Entry::Commit(..) | Entry::Admitted(_) => {}
            }
        }
        restored
    }
}
