//! Seals of epochs that were not reached here. Nobody can verify them yet, so each sender has a share, and none has the
//! place of another.

use std::collections::BTreeMap;

use mingzhang_ledger::authority::MAX_MEMBERS;

use crate::network::Remote;

/// Seals kept of one sender: a note of the largest set.
const MOST_OF_ONE: usize = MAX_MEMBERS;
/// Seals kept in all. Beyond, whoever has most gives way.
const MOST: usize = 8 * MOST_OF_ONE;

/// A seal as it came, with its epoch.
#[derive(Debug)]
struct Later {
    epoch: u64,
    from: Remote,
    body: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Unknown(BTreeMap<[u8; 32], Vec<Later>>);

impl Unknown {
    /// Keeps a seal. Who sends more than its share loses its own of the furthest epoch.
    pub fn keep(&mut self, from: &Remote, epoch: u64, body: &[u8]) {
        let own = self.0.entry(from.key.0).or_default();
        if own.iter().any(|kept| kept.body == body) {
            return;
        }
        own.push(Later { epoch, from: *from, body: body.to_vec() });
        if own.len() > MOST_OF_ONE {
            drop_furthest(own);
        }
        if self.0.values().map(Vec::len).sum::<usize>() > MOST
            && let Some(most) = self.0.values_mut().max_by_key(|kept| kept.len())
        {
            drop_furthest(most);
        }
    }

    /// Takes out those whose epoch is reached.
    pub fn reached(&mut self, epoch: u64) -> Vec<(Remote, Vec<u8>)> {
        let mut ripe = Vec::new();
        for kept in self.0.values_mut() {
            let (now, later): (Vec<Later>, Vec<Later>) =
                std::mem::take(kept).into_iter().partition(|seal| seal.epoch <= epoch);
            *kept = later;
            ripe.extend(now.into_iter().map(|seal| (seal.from, seal.body)));
        }
        self.0.retain(|_, kept| !kept.is_empty());
        ripe
    }
}

fn drop_furthest(kept: &mut Vec<Later>) {
    if let Some((place, _)) = kept.iter().enumerate().max_by_key(|(_, seal)| seal.epoch) {
        kept.swap_remove(place);
    }
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::crypto::PublicKey;

    use super::*;

    fn remote(number: u8) -> Remote {
        Remote { key: PublicKey([number; 32]), seat: Some(u16::from(number)) }
    }

    fn body(number: usize) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    #[test]
    fn senders_of_far_epochs_take_no_places_of_others() {
        let mut unknown = Unknown::default();
        for liar in 10..30 {
            (0..MOST_OF_ONE + 9).for_each(|number| unknown.keep(&remote(liar), u64::MAX, &body(number)));
        }
        assert_eq!(unknown.0.values().map(Vec::len).sum::<usize>(), MOST);
        unknown.keep(&remote(1), 1, b"one");
        unknown.keep(&remote(10), 1, b"two");
        unknown.keep(&remote(1), 2, b"three");
        let bodies: Vec<Vec<u8>> = unknown.reached(1).into_iter().map(|(_, body)| body).collect();
        assert_eq!(bodies, [b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(unknown.reached(2).len(), 1);
    }

    #[test]
    fn a_seal_that_is_said_again_is_kept_once() {
        let mut unknown = Unknown::default();
        (0..9).for_each(|_| unknown.keep(&remote(1), 3, b"one"));
        assert_eq!(unknown.reached(3).len(), 1);
        assert!(unknown.0.is_empty());
    }
}
