//! Frames that wait for their check, peer by peer: every peer has its share of each group, and large frames, of which one
//! may hold thousands of signatures, are checked one at a time between the groups of small ones. So who floods waits longest.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use crate::network::Inbound;

/// Frames that are checked together.
const MAX_GROUP_FRAMES: usize = 512;
/// A larger frame is checked by itself. A proposal with all that may ride on it is smaller.
pub const LARGE_FRAME_BYTES: usize = 128 * 1024;
/// What one peer has in a group, at most one frame more.
const SHARE_BYTES: usize = 64 * 1024;

type Key = [u8; 32];

/// Frames in the order of their arrival, by sender. How much may wait here the network bounds, for each peer.
#[derive(Debug, Default)]
pub struct Waiting {
    queues: BTreeMap<Key, VecDeque<Inbound>>,
    /// Whose turn was last, with small frames and with a large one.
    last_small: Key,
    last_large: Key,
    /// A group of small frames was taken last.
    large_is_due: bool,
}

fn is_large(frame: &Inbound) -> bool {
    frame.body.len() > LARGE_FRAME_BYTES
}

impl Waiting {
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub fn push(&mut self, frame: Inbound) {
        self.queues.entry(frame.from.key.0).or_default().push_back(frame);
    }

    /// What is checked next; nothing only if nothing waits.
    pub fn take(&mut self) -> Vec<Inbound> {
        let mut group = Vec::new();
        if !self.large_is_due {
            group = self.small();
        }
        if group.is_empty() {
            group.extend(self.large());
        }
        if group.is_empty() {
            group = self.small();
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        self.large_is_due = group.iter().any(|frame| !is_large(frame));
        group
    }

    /// Every peer, from the one behind `last` on.
    fn peers_behind(&self, last: Key) -> Vec<Key> {
        let behind = self.queues.range((Bound::Excluded(last), Bound::Unbounded));
        behind.chain(self.queues.range(..=last)).map(|(key, _)| *key).collect()
    }

    fn small(&mut self) -> Vec<Inbound> {
        let mut group = Vec::new();
        for key in self.peers_behind(self.last_small) {
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            let mut bytes = 0;
            while bytes < SHARE_BYTES && group.len() < MAX_GROUP_FRAMES {
                let Some(frame) = queue.pop_front_if(|frame| !is_large(frame)) else { break };
                bytes += frame.body.len();
                group.push(frame);
                self.last_small = key;
            }
        }
        group
    }

    fn large(&mut self) -> Option<Inbound> {
        let peers = self.peers_behind(self.last_large);
        let first_is_large = |key: &Key| self.queues.get(key).and_then(VecDeque::front).is_some_and(is_large);
        let key = peers.into_iter().find(first_is_large)?;
        self.last_large = key;
        self.queues.get_mut(&key)?.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::crypto::PublicKey;

    use super::*;
    use crate::network::{Channel, Remote};

    fn frame(peer: u8, number: u8, size: usize) -> Inbound {
        let mut body = vec![0; size];
        body[0] = number;
        let from = Remote { key: PublicKey([peer; 32]), seat: None };
        Inbound { from, channel: Channel::Consensus, body, room: None }
    }

    fn taken(waiting: &mut Waiting) -> Vec<(u8, u8)> {
        waiting.take().iter().map(|frame| (frame.from.key.0[0], frame.body[0])).collect()
    }

    #[test]
    fn a_flood_of_one_peer_lets_the_votes_of_others_by() {
        let mut waiting = Waiting::default();
        for number in 0..3 {
            waiting.push(frame(1, number, LARGE_FRAME_BYTES + 1));
            waiting.push(frame(2, number, LARGE_FRAME_BYTES + 1));
        }
        waiting.push(frame(3, 0, 150));
        assert_eq!(taken(&mut waiting), [(3, 0)]);
        waiting.push(frame(3, 1, 150));
        assert_eq!(taken(&mut waiting), [(1, 0)], "one large frame, then small ones again");
        assert_eq!(taken(&mut waiting), [(3, 1)]);
        assert_eq!(taken(&mut waiting), [(2, 0)], "the next peer's");
        let rest: Vec<_> = (0..4).flat_map(|_| taken(&mut waiting)).collect();
        assert_eq!(rest, [(1, 1), (2, 1), (1, 2), (2, 2)]);
        assert!(waiting.is_empty() && waiting.take().is_empty());
    }

    #[test]
    fn each_peer_has_its_share_of_a_group_in_its_own_order() {
        let mut waiting = Waiting::default();
        for number in 0..4 {
            waiting.push(frame(1, number, SHARE_BYTES / 2));
        }
        waiting.push(frame(2, 0, LARGE_FRAME_BYTES));
        waiting.push(frame(2, 1, 150));
        waiting.push(frame(3, 0, 150));
        assert_eq!(taken(&mut waiting), [(1, 0), (1, 1), (2, 0), (3, 0)]);
        assert_eq!(taken(&mut waiting), [(1, 2), (1, 3), (2, 1)]);
        for number in 0..=255 {
            for peer in 1..=3 {
                waiting.push(frame(peer, number, 1));
            }
        }
        assert_eq!(waiting.take().len(), MAX_GROUP_FRAMES);
        assert_eq!(waiting.take().len(), 3 * 256 - MAX_GROUP_FRAMES);
    }
}
