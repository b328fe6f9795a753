//! Two processes with one identity: each says when it connects which process it is, by a number drawn at its start. Two
//! numbers behind one identity are twins once both have answered after both were known: what a process that has died left
//! open does not answer any more.

use std::collections::BTreeMap;

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

/// Longest part of a peer's name for its process that is kept.
const MAX_PROCESS_BYTES: usize = 64;

/// Which process is behind a connection, and when it showed that it is alive, in the order of what was heard.
#[derive(Debug)]
struct Seen {
    process: String,
    known_at: u64,
    answered_at: u64,
}

/// Connections of registered peers whose process is known: at most as many as the swarm holds.
#[derive(Debug, Default)]
pub struct Twins {
    peers: BTreeMap<PeerId, BTreeMap<ConnectionId, Seen>>,
    heard: u64,
}

impl Twins {
    /// A peer has said which process it is.
    pub fn known(&mut self, peer: PeerId, connection: ConnectionId, process: &str) {
        self.heard += 1;
        let process = process.chars().take(MAX_PROCESS_BYTES).collect();
        let (known_at, answered_at) = (self.heard, 0);
        let connections = self.peers.entry(peer).or_default();
        // What is told again without change, as the protocol does from time to time, is nothing new.
        if connections.get(&connection).is_none_or(|seen| seen.process != process) {
            connections.insert(connection, Seen { process, known_at, answered_at });
        }
    }

    /// A connection answered.
    pub fn answered(&mut self, peer: &PeerId, connection: ConnectionId) {
        self.heard += 1;
        if let Some(seen) = self.peers.get_mut(peer).and_then(|connections| connections.get_mut(&connection)) {
            seen.answered_at = self.heard;
        }
    }

    pub fn closed(&mut self, peer: &PeerId, connection: ConnectionId) {
        if let Some(connections) = self.peers.get_mut(peer) {
            connections.remove(&connection);
            if connections.is_empty() {
                self.peers.remove(peer);
            }
        }
    }

    /// Whether two processes answer for this peer.
    pub fn are(&self, peer: &PeerId) -> bool {
        let Some(connections) = self.peers.get(peer) else { return false };
        let alive_beside = |one: &Seen, other: &Seen| one.answered_at > other.known_at;
        connections.values().any(|one| {
            connections
                .values()
                .any(|other| one.process != other.process && alive_beside(one, other) && alive_beside(other, one))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn two_processes_that_both_answer_are_twins_until_one_is_gone() {
        let (mut twins, peer) = (Twins::default(), PeerId::random());
        twins.known(peer, connection(1), "node 1");
        twins.answered(&peer, connection(1));
        twins.known(peer, connection(2), "node 2");
        twins.answered(&peer, connection(2));
        assert!(!twins.are(&peer), "the first may have died before the second started");
        twins.answered(&peer, connection(1));
        assert!(twins.are(&peer));
        twins.closed(&peer, connection(1));
        assert!(!twins.are(&peer));
    }

    #[test]
    fn two_connections_of_one_process_are_none() {
        let (mut twins, peer) = (Twins::default(), PeerId::random());
        for number in [1, 2, 1, 2] {
            twins.known(peer, connection(number), "node 1");
        }
        for number in [1, 2, 1, 2] {
            twins.answered(&peer, connection(number));
        }
        assert!(!twins.are(&peer));
    }

    #[test]
    fn a_connection_left_open_by_a_restart_answers_no_more() {
        let (mut twins, peer) = (Twins::default(), PeerId::random());
        twins.known(peer, connection(1), "node 1");
        twins.answered(&peer, connection(1));
        twins.known(peer, connection(2), "node 2");
        for _ in 0..5 {
            twins.answered(&peer, connection(2));
            assert!(!twins.are(&peer));
        }
        twins.known(peer, connection(1), "node 1");
        assert!(!twins.are(&peer));
    }
}
