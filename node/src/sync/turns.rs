//! Whose turn it is to help with catching up. A peer that does not answer costs the whole wait for it, so it is passed over
//! while another one gives.

use std::collections::BTreeSet;

use mingzhang_ledger::crypto::PublicKey;

/// Answers after which peers that failed are tried again: one that gives slowly must not be the only one for long.
const FORGIVEN_AFTER: u64 = 32;

/// Kept from one run to the next, so that the next does not begin with those who just failed.
#[derive(Debug, Default)]
pub struct Turns {
    failed: BTreeSet<PublicKey>,
    turn: usize,
    given: u64,
}

impl Turns {
    /// Who is asked next: in turn, of those who did not fail; of all, once all did.
    pub fn next(&mut self, peers: &[PublicKey]) -> Option<PublicKey> {
        if peers.iter().all(|peer| self.failed.contains(peer)) {
            self.failed.clear();
        }
        let fit: Vec<&PublicKey> = peers.iter().filter(|peer| !self.failed.contains(*peer)).collect();
        let next = fit.get(self.turn.checked_rem(fit.len())?).map(|peer| **peer);
        self.turn = self.turn.wrapping_add(1);
        next
    }

    /// All of them, those that failed last.
    pub fn vain_last(&self, peers: &[PublicKey]) -> Vec<PublicKey> {
        let (vain, fit): (Vec<PublicKey>, Vec<PublicKey>) = peers.iter().partition(|peer| self.failed.contains(peer));
        fit.into_iter().chain(vain).collect()
    }

    /// For whom something may be given up: those who did not fail, or all once all did.
    pub fn not_in_vain(&self, peers: &[PublicKey]) -> Vec<PublicKey> {
        let fit: Vec<PublicKey> = peers.iter().filter(|peer| !self.failed.contains(*peer)).copied().collect();
        if fit.is_empty() { peers.to_vec() } else { fit }
    }

    /// A new run: it begins with the first of those who did not fail.
    pub fn begin(&mut self) {
        self.turn = 0;
    }

    pub fn gave(&mut self) {
        self.given = self.given.wrapping_add(1);
        if self.given.is_multiple_of(FORGIVEN_AFTER) {
            self.failed.clear();
        }
    }

    pub fn failed(&mut self, peer: PublicKey) {
        self.failed.insert(peer);
        // The next of those who are left stands where this one stood.
        self.turn = self.turn.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::crypto::SigningKey;

    use super::*;

    fn peers(count: u8) -> Vec<PublicKey> {
        (1..=count).map(|seed| SigningKey::from_seed(&[seed; 32]).public()).collect()
    }

    #[test]
    fn a_peer_that_does_not_answer_is_passed_over_while_others_give() {
        let (mut turns, peers) = (Turns::default(), peers(4));
        let mut silent = 0;
        let mut asked = BTreeSet::new();
        for _ in 0..30 {
            let peer = turns.next(&peers).expect("somebody");
            asked.insert(peer);
            if peer == peers[0] {
                silent += 1;
                turns.failed(peer);
            } else {
                turns.gave();
            }
        }
        assert_eq!((silent, asked.len()), (1, 4), "the others take turns");
    }

    #[test]
    fn the_next_run_begins_with_others_than_failed() {
        let (mut turns, peers) = (Turns::default(), peers(5));
        for expected in [[0, 1], [2, 3], [4, 0]] {
            turns.begin();
            for index in expected {
                assert_eq!(turns.next(&peers), Some(peers[index]));
                turns.failed(peers[index]);
            }
        }
    }

    #[test]
    fn who_failed_is_tried_again_in_time_and_where_nobody_is_left() {
        let (mut turns, peers) = (Turns::default(), peers(2));
        turns.failed(peers[0]);
        let asked = (0..=FORGIVEN_AFTER).filter_map(|_| {
            turns.gave();
            turns.next(&peers)
        });
        assert!(asked.collect::<Vec<_>>().contains(&peers[0]));
        assert_eq!(turns.next(&[]), None);
        turns.failed(peers[0]);
        turns.failed(peers[1]);
        assert!(turns.next(&peers).is_some());
    }

    #[test]
    fn nothing_is_given_up_for_who_failed_while_anybody_did_not() {
        let (peers, mut turns) = (peers(3), Turns::default());
        turns.failed(peers[0]);
        assert_eq!(turns.not_in_vain(&peers), peers[1..]);
        turns.failed(peers[1]);
        turns.failed(peers[2]);
        assert_eq!(turns.not_in_vain(&peers), peers);
    }
}
