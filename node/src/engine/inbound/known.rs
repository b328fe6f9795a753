//! Justifications that were checked a moment ago. Every peer tells them again as long as somebody may lack them, and each
//! may hold thousands of signatures: the same bytes are not checked twice.

use std::collections::VecDeque;

use mingzhang_consensus::message::Message;
use mingzhang_consensus::verify::Verified;
use mingzhang_ledger::crypto::Hash;

/// Their number, and their bytes in all.
const MAX_KNOWN: usize = 64;
const MAX_KNOWN_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug)]
struct One {
    hash: Hash,
    bytes: usize,
    message: Verified<Message>,
}

/// The last of them, of one epoch.
#[derive(Debug, Default)]
pub struct Known {
    epoch: u64,
    newest_first: VecDeque<One>,
    bytes: usize,
}

impl Known {
    /// What these bytes were found to be.
    pub fn get(&mut self, epoch: u64, hash: &Hash) -> Option<Verified<Message>> {
        if self.epoch != epoch {
            *self = Self { epoch, ..Self::default() };
        }
        self.newest_first.iter().find(|one| one.hash == *hash).map(|one| one.message.clone())
    }

    /// `bytes` is the length of what was hashed.
    pub fn note(&mut self, hash: Hash, bytes: usize, message: Verified<Message>) {
        if bytes > MAX_KNOWN_BYTES || self.newest_first.iter().any(|one| one.hash == hash) {
            return;
        }
        self.bytes += bytes;
        self.newest_first.push_front(One { hash, bytes, message });
        while self.newest_first.len() > MAX_KNOWN || self.bytes > MAX_KNOWN_BYTES {
            let Some(oldest) = self.newest_first.pop_back() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use mingzhang_consensus::message::Ask;
    use mingzhang_consensus::{Epoch, Opening};

    use super::*;

    /// Any message that holds no signature.
    fn verified() -> Verified<Message> {
        let genesis = crate::testing::genesis();
        let set = std::sync::Arc::new(genesis.set.clone());
        let epoch = Epoch { chain: genesis.hash, set, opening: Opening::Genesis { block: [0; 32] } };
        let ask = Message::Ask(Ask { epoch: 0, turn: 1, just: None });
        mingzhang_consensus::verify::verify(ask, &epoch).expect("nothing to check")
    }

    #[test]
    fn the_last_are_known_within_number_and_bytes_and_of_one_epoch() {
        let mut known = Known::default();
        let count = u8::try_from(MAX_KNOWN).expect("small");
        for number in 0..=count {
            known.note([number; 32], 1, verified());
            known.note([number; 32], 1, verified());
        }
        assert!(known.get(0, &[0; 32]).is_none() && known.get(0, &[1; 32]).is_some());
        known.note([200; 32], MAX_KNOWN_BYTES - 1, verified());
        assert!(known.get(0, &[count - 1; 32]).is_none() && known.get(0, &[count; 32]).is_some());
        known.note([201; 32], MAX_KNOWN_BYTES + 1, verified());
        assert!(known.get(0, &[201; 32]).is_none() && known.get(0, &[200; 32]).is_some());
        assert!(known.get(1, &[200; 32]).is_none());
    }
}
