//! Who may connect, and the queues that lead to those who are connected. Which identities are registered is decided
//! by the ledger; this file only keeps what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use libp2p::identity::{PublicKey as IdentityKey, ed25519};
use libp2p::{Multiaddr, PeerId};
use mingzhang_ledger::crypto::PublicKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::frame::{Class, Frame, MAX_BULK_FRAME_BYTES, MAX_LARGE_FRAME_BYTES, MAX_VOTE_FRAME_BYTES};

/// Frames that may wait for one peer on its vote stream.
pub const VOTE_QUEUE_FRAMES: usize = 1_024;
/// Frames that may wait for one peer on its bulk stream.
pub const BULK_QUEUE_FRAMES: usize = 64;
/// Large messages that may wait for one peer. What finds no place is said again in a newer form.
pub const LARGE_QUEUE_FRAMES: usize = 2;
/// Bytes of one peer's frames on vote streams that are read or wait for the engine. It sends more as they are done with.
pub const PEER_INBOUND_BYTES: usize = 2 * MAX_VOTE_FRAME_BYTES;
/// What a frame counts at least.
const LEAST_FRAME_BYTES: usize = 2 * 1024;
/// Questions of one peer that wait for their answer. It asks further as they are answered.
pub const PEER_QUESTIONS: usize = 16;
/// Most peers that may be registered: a full authority set and as many observers.
pub const MAX_PEERS: usize = 2_048;

/// A registered peer identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedPeer {
    pub key: PublicKey,
    /// Index in the authority set; None for an observer.
    pub seat: Option<u16>,
    /// Agency id, or what an observer is called.
    pub name: String,
    /// Where to dial it; empty if it only dials us.
    pub addresses: Vec<Multiaddr>,
}

/// The authenticated sender of something that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    pub key: PublicKey,
    pub seat: Option<u16>,
}

/// What the status page says about a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    pub key: PublicKey,
    pub seat: Option<u16>,
    pub name: String,
    pub connected: bool,
    /// Round trip of the last ping in milliseconds.
    pub round_trip_ms: Option<u64>,
    /// Two processes answer with this peer's identity.
    pub twins: bool,
    /// Frames that found this peer's queue full and were dropped.
    pub dropped_frames: u64,
}

/// The queues that lead to a connected peer.
#[derive(Debug, Clone)]
pub struct Queues {
    pub votes: mpsc::Sender<Frame>,
    pub bulk: mpsc::Sender<Frame>,
    pub large: mpsc::Sender<Frame>,
}

#[derive(Debug)]
struct Entry {
    peer: AllowedPeer,
    queues: Option<Queues>,
    round_trip_ms: Option<u64>,
    twins: bool,
    dropped_frames: u64,
    rooms: Rooms,
}

/// What may be read of one peer, or wait for the engine, on all its streams of a class.
#[derive(Debug)]
struct Rooms {
    votes: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
    large: Arc<Semaphore>,
    questions: Arc<Semaphore>,
}

impl Rooms {
    fn new() -> Self {
        let room = |bytes: usize| Arc::new(Semaphore::new(bytes));
        Self {
            votes: room(PEER_INBOUND_BYTES),
            bulk: room(MAX_BULK_FRAME_BYTES),
            large: room(MAX_LARGE_FRAME_BYTES),
            questions: room(PEER_QUESTIONS),
        }
    }

    fn of(&self, class: Class) -> Arc<Semaphore> {
        Arc::clone(match class {
            Class::Votes => &self.votes,
            Class::Bulk => &self.bulk,
            Class::Large => &self.large,
        })
    }
}

/// Registered peers, shared by the swarm task and everybody who sends. Locks are held for a map access only.
#[derive(Debug)]
pub struct Directory {
    entries: Mutex<BTreeMap<PeerId, Entry>>,
    /// Who sent something bad and has not connected since. Asked for every frame, so by key.
    barred: Mutex<BTreeSet<[u8; 32]>>,
    connected: watch::Sender<BTreeSet<u16>>,
}

/// The libp2p name of an Ed25519 key; None if the key is no valid point.
pub fn peer_id(key: &PublicKey) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&key.0).ok()?;
    Some(IdentityKey::from(key).to_peer_id())
}

impl Default for Directory {
    fn default() -> Self {
        Self { entries: Mutex::default(), barred: Mutex::default(), connected: watch::channel(BTreeSet::new()).0 }
    }
}

impl Directory {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, Entry>> {
        self.entries.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn barred(&self) -> MutexGuard<'_, BTreeSet<[u8; 32]>> {
        self.barred.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Replaces the list of registered peers. Returns those newly allowed and those no longer allowed.
    pub fn replace(&self, peers: Vec<AllowedPeer>, own: &PeerId) -> (Vec<PeerId>, Vec<PeerId>) {
        let mut wanted: BTreeMap<PeerId, AllowedPeer> = BTreeMap::new();
        for peer in peers.into_iter().take(MAX_PEERS) {
            match peer_id(&peer.key) {
                Some(id) if id != *own => {
                    wanted.insert(id, peer);
                }
                Some(_) => {}
                None => tracing::warn!(peer = %peer.name, "registered peer key is not a valid key"),
            }
        }
        let mut entries = self.lock();
        let removed: Vec<PeerId> = entries.keys().filter(|id| !wanted.contains_key(*id)).copied().collect();
        for entry in removed.iter().filter_map(|id| entries.remove(id)) {
            self.barred().remove(&entry.peer.key.0);
        }
        let mut added = Vec::new();
        for (id, peer) in wanted {
            match entries.get_mut(&id) {
                Some(entry) => entry.peer = peer,
                None => {
                    added.push(id);
                    entries.insert(id, Entry::new(peer));
                }
            }
        }
        self.announce(&entries);
        (added, removed)
    }

    /// Moves peers that are registered already to their new seats, before anything of a new epoch is sent. Whoever is not
    /// listed any more gets nothing from now on.
    pub fn reseat(&self, peers: &[AllowedPeer]) {
        let seats: BTreeMap<PeerId, Option<u16>> =
            peers.iter().filter_map(|peer| Some((peer_id(&peer.key)?, peer.seat))).collect();
        let mut entries = self.lock();
        for (id, entry) in entries.iter_mut() {
            match seats.get(id) {
                Some(seat) => entry.peer.seat = *seat,
                None => (entry.peer.seat, entry.queues) = (None, None),
            }
        }
        self.announce(&entries);
    }

    /// Seats that are connected now; changes are seen by every receiver.
    pub fn connected(&self) -> watch::Receiver<BTreeSet<u16>> {
        self.connected.subscribe()
    }

    fn announce(&self, entries: &BTreeMap<PeerId, Entry>) {
        let seats: BTreeSet<u16> =
            entries.values().filter(|entry| entry.queues.is_some()).filter_map(|entry| entry.peer.seat).collect();
        self.connected.send_if_modified(|current| {
            let changed = *current != seats;
            *current = seats;
            changed
        });
    }

    /// Whether every registered member is connected; the own entry is not among them.
    pub fn sees_all_members(&self) -> bool {
        self.lock().values().filter(|entry| entry.peer.seat.is_some()).all(|entry| entry.queues.is_some())
    }

    /// Whether a peer without a seat is connected.
    pub fn has_observers(&self) -> bool {
        self.lock().values().any(|entry| entry.peer.seat.is_none() && entry.queues.is_some())
    }

    pub fn remote(&self, id: &PeerId) -> Option<Remote> {
        self.lock().get(id).map(|entry| Remote { key: entry.peer.key, seat: entry.peer.seat })
    }

    /// Waits until a frame of this length of this peer may be read. None if the peer is gone.
    pub async fn room(&self, id: &PeerId, class: Class, length: usize) -> Option<OwnedSemaphorePermit> {
        let (key, room) = self.lock().get(id).map(|entry| (entry.peer.key, entry.rooms.of(class)))?;
        if self.is_barred(&key) {
            return None;
        }
        let bytes = u32::try_from(length.clamp(LEAST_FRAME_BYTES, class.max_frame_bytes())).ok()?;
        room.acquire_many_owned(bytes).await.ok()
    }

    /// Waits until another question of this peer may wait for its answer. None if the peer is gone.
    pub async fn question(&self, id: &PeerId) -> Option<OwnedSemaphorePermit> {
        let questions = self.lock().get(id).map(|entry| Arc::clone(&entry.rooms.questions))?;
        questions.acquire_owned().await.ok()
    }

    pub fn bar(&self, key: &PublicKey) {
        let mut barred = self.barred();
        if barred.len() < MAX_PEERS {
            barred.insert(key.0);
        }
    }

    pub fn is_barred(&self, key: &PublicKey) -> bool {
        self.barred().contains(&key.0)
    }

    pub fn set_queues(&self, id: &PeerId, queues: Option<Queues>) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(id) {
            if queues.is_some() {
                self.barred().remove(&entry.peer.key.0);
            }
            entry.queues = queues;
        }
        self.announce(&entries);
    }

    pub fn is_linked(&self, id: &PeerId) -> bool {
        self.lock().get(id).is_some_and(|entry| entry.queues.is_some())
    }

    pub fn set_round_trip(&self, id: &PeerId, round_trip_ms: u64) {
        if let Some(entry) = self.lock().get_mut(id) {
            entry.round_trip_ms = Some(round_trip_ms);
        }
    }

    /// Whether two processes use this peer's identity; the log says when it begins and ends.
    pub fn set_twins(&self, id: &PeerId, twins: bool) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(id).filter(|entry| entry.twins != twins) else { return };
        entry.twins = twins;
        if twins {
            tracing::error!(peer = %entry.peer.name, "MZ-5028: two processes answer with the keys of this peer");
        } else {
            tracing::info!(peer = %entry.peer.name, "one process answers with the keys of this peer again");
        }
    }

    /// Peers to dial: not connected, and with an address.
    pub fn missing(&self) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let entries = self.lock();
        let missing = entries.iter().filter(|(_, entry)| entry.queues.is_none() && !entry.peer.addresses.is_empty());
        missing.map(|(id, entry)| (*id, entry.peer.addresses.clone())).collect()
    }

    pub fn status(&self) -> Vec<PeerStatus> {
        let status = |entry: &Entry| PeerStatus {
            key: entry.peer.key,
            seat: entry.peer.seat,
            name: entry.peer.name.clone(),
            connected: entry.queues.is_some(),
            round_trip_ms: entry.round_trip_ms.filter(|_| entry.queues.is_some()),
            twins: entry.twins,
            dropped_frames: entry.dropped_frames,
        };
        self.lock().values().map(status).collect()
    }

    /// Queues a frame for one peer. False if it is not connected or its queue is full: whatever is sent, the protocol
    /// repeats.
    pub fn send(&self, id: &PeerId, frame: &Frame) -> bool {
        self.lock().get_mut(id).is_some_and(|entry| entry.push(frame))
    }

    pub fn send_to_seat(&self, seat: u16, frame: &Frame) -> bool {
        self.lock().values_mut().find(|entry| entry.peer.seat == Some(seat)).is_some_and(|entry| entry.push(frame))
    }

    /// Queues a frame for every connected member of the authority set.
    pub fn send_to_seats(&self, frame: &Frame) {
        for entry in self.lock().values_mut().filter(|entry| entry.peer.seat.is_some()) {
            entry.push(frame);
        }
    }

    /// Queues a frame for every connected peer, observers too.
    pub fn send_to_all(&self, frame: &Frame) {
        for entry in self.lock().values_mut() {
            entry.push(frame);
        }
    }
}

impl Entry {
    fn new(peer: AllowedPeer) -> Self {
        let rooms = Rooms::new();
        Self { peer, queues: None, round_trip_ms: None, twins: false, dropped_frames: 0, rooms }
    }

    fn push(&mut self, frame: &Frame) -> bool {
        let Some(queues) = &self.queues else { return false };
        let queue = match frame.class() {
            Class::Votes => &queues.votes,
            Class::Bulk => &queues.bulk,
            Class::Large => &queues.large,
        };
        let queued = queue.try_send(frame.clone()).is_ok();
        if !queued {
            self.dropped_frames = self.dropped_frames.saturating_add(1);
        }
        queued
    }
}
