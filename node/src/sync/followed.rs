//! Whether a node without a seat has what is there: members of whom not all may be lying had nothing after its tip.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use mingzhang_ledger::crypto::PublicKey;

/// Who had nothing more since the last reset, and whether these were enough.
#[derive(Debug, Default)]
pub struct Followed(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    by: BTreeSet<PublicKey>,
    enough: bool,
}

impl Followed {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn is(&self) -> bool {
        self.lock().enough
    }

    /// Nobody is connected who could tell, or much more came than was said to be there.
    pub fn reset(&self) {
        *self.lock() = Said::default();
    }

    /// A connected member had nothing after this height. Where fewer are connected than may lie, all of them must say so;
    /// before the first block, where nothing proves that a quorum was ever there, more must than may lie.
    pub fn confirm(&self, by: PublicKey, height: u64, seated: &[PublicKey], tolerated: usize) {
        let mut said = self.lock();
        said.by.insert(by);
        said.by.retain(|key| seated.contains(key));
        let more = tolerated.saturating_add(1);
        let needed = if height == 0 { more } else { more.min(seated.len()) };
        said.enough |= said.by.len() >= needed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_is_not_believed_and_nothing_holds_once_nobody_is_connected() {
        let keys: Vec<PublicKey> = (1..=4).map(|byte| PublicKey([byte; 32])).collect();
        let followed = Followed::default();
        followed.confirm(keys[0], 5, &keys, 1);
        followed.confirm(keys[0], 6, &keys, 1);
        assert!(!followed.is(), "it may lie");
        followed.confirm(keys[1], 6, &keys, 1);
        assert!(followed.is());
        followed.reset();
        assert!(!followed.is());
        followed.confirm(keys[0], 0, &keys[..1], 1);
        assert!(!followed.is(), "nothing is proven before the first block");
        followed.confirm(keys[0], 1, &keys[..1], 1);
        assert!(followed.is(), "the only one that lets it in");
    }
}
