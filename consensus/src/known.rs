//! Certificates whose signatures were found to hold. Everybody shows them again as long as somebody may lack them, and after
//! days without agreement a justification holds thousands: each is checked once.

use std::collections::{BTreeSet, VecDeque};

use mingzhang_ledger::crypto::{Hash, sha256};

use crate::epoch::Epoch;
use crate::justification::{Just, Parent, SkipCert};
use crate::message::Message;
use crate::verify::Verified;

/// More than the longest justification has: one that is read from its beginning again would find nothing else.
const MAX_KNOWN: usize = 1 << 17;

/// The last of them, of one epoch, by the hash of their bytes, signatures included.
#[derive(Debug, Clone, Default)]
pub struct Known {
    epoch: u64,
    marks: BTreeSet<Hash>,
    oldest_first: VecDeque<Hash>,
}

impl Known {
    pub(crate) fn has_parent(&self, parent: &Parent, epoch: &Epoch) -> bool {
        self.has(epoch, || parent_mark(parent, epoch))
    }

    pub(crate) fn has_skip(&self, skip: &SkipCert, epoch: &Epoch) -> bool {
        self.has(epoch, || skip_mark(skip, epoch))
    }

    fn has(&self, epoch: &Epoch, mark: impl FnOnce() -> Hash) -> bool {
        self.epoch == epoch.number() && !self.marks.is_empty() && self.marks.contains(&mark())
    }

    /// Learns the certificates of a message that was checked in this epoch.
    pub fn note(&mut self, message: &Verified<Message>, epoch: &Epoch) {
        match message.get() {
            Message::Proposal(proposal) => self.note_just(&proposal.just, epoch),
            Message::Justify(just) => self.note_just(just, epoch),
            Message::Vote(_) | Message::Final { .. } | Message::Status(_) | Message::Ask(_) | Message::Waiting(_) => {}
        }
    }

    fn note_just(&mut self, just: &Just, epoch: &Epoch) {
        if self.epoch != epoch.number() {
            *self = Self { epoch: epoch.number(), ..Self::default() };
        }
        for skip in &just.skips {
            self.insert(skip_mark(skip, epoch));
        }
        self.insert(parent_mark(&just.parent, epoch));
    }

    fn insert(&mut self, mark: Hash) {
        if !self.marks.insert(mark) {
            return;
        }
        self.oldest_first.push_back(mark);
        if self.oldest_first.len() > MAX_KNOWN
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.marks.remove(&oldest);
        }
    }
}

fn skip_mark(skip: &SkipCert, epoch: &Epoch) -> Hash {
    let mut bytes = Vec::new();
    skip.encode_into(&mut bytes, epoch.members());
    sha256(&[b"skip", &bytes])
}

fn parent_mark(parent: &Parent, epoch: &Epoch) -> Hash {
    let mut bytes = Vec::new();
    parent.encode_into(&mut bytes, epoch);
    sha256(&[b"parent", &bytes])
}
