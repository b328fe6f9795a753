//! Seals on checkpoints: which ones are due, made once they are durable, and collected from the other agencies until a
//! quorum forms a note. A boundary is sealed, and its seal repeated, until its hand-off stands; then the keys of the epoch
//! before are destroyed. The form of a seal is the ledger's, the refusal to go back the store's.

mod answers;
mod boundary;
mod later;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use answers::Answers;
use boundary::Boundaries;
use later::Unknown;
use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::crypto::{Hash, PublicKey, SigningKey};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::merkle::{Nodes as _, empty_root, node_hash};
use mingzhang_ledger::outcome::{Code, peers};
use mingzhang_ledger::seal::{self, Checkpoint, is_sealed_by_rule};
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::engine::inbound::OtherFrame;
use crate::keyring::Keyring;
use crate::network::{Channel, Frame, Handle, Remote};
use crate::store::{Log, Seal, SealPosition, Store, StoreFault};

/// Peers refuse a seal whose time is further ahead than this.
const MAX_AHEAD_S: u64 = 30;
/// Seals of one member that wait for their block.
const MAX_EARLY_SEALS: usize = 16;
/// A node that fell behind seals only from here on.
const MAX_BLOCKS_AT_ONCE: u64 = 64;
/// Pauses after which a seal without a quorum is sent again double up to this.
const LONGEST_REPEAT_MS: u64 = 60_000;

/// How often a sealer looks who has come to follow without a seat.
const LOOK: Duration = Duration::from_secs(2);

/// What the sealer works with.
pub struct Parts {
    pub store: Arc<Store>,
    pub network: Handle,
    pub clock: Arc<Clock>,
    pub origin: String,
    /// Whose node this is; empty for an observer.
    pub agency: String,
    /// Holds no key at a node that seals nothing.
    pub keys: Arc<Keyring>,
}

/// The own seal on the newest checkpoint that was sealed here.
#[derive(Debug, Clone)]
struct Own {
    seal: seal::Seal,
    repeat_at_ms: u64,
    pause_ms: u64,
}

pub struct Sealer {
    parts: Parts,
    /// Height up to which it was decided what is sealed.
    decided: u64,
    parent_time_ms: u64,
    /// When the newest block became final here, until its checkpoint is sealed.
    unsealed_since_ms: Option<u64>,
    last_time_s: u64,
    own: Option<Own>,
    boundaries: Boundaries,
    answers: Answers,
    early: BTreeMap<u16, VecDeque<(seal::Seal, Arc<AuthoritySet>)>>,
    /// Of later epochs than the one that was reached here: whoever follows is given the newest note before it knows its set.
    unknown: Unknown,
    /// Peers without a seat that are connected.
    observers: BTreeSet<[u8; 32]>,
}

impl Sealer {
    pub fn new(parts: Parts) -> Self {
        let tip = parts.store.tip();
        Self {
            boundaries: Boundaries::default(),
            answers: Answers::default(),
            decided: tip.height,
            parent_time_ms: tip.time_ms,
            unsealed_since_ms: (tip.height > 0).then_some(0),
            last_time_s: 0,
            own: None,
            early: BTreeMap::new(),
            unknown: Unknown::default(),
            observers: BTreeSet::new(),
            parts,
        }
    }

    /// Runs until the engine or the network is gone. Blocks on the disk; runs on a thread of its own.
    pub async fn run(
        mut self,
        mut frames: mpsc::Receiver<OtherFrame>,
        mut heights: watch::Receiver<u64>,
    ) -> Result<(), StoreFault> {
        self.on_boundaries()?;
        loop {
            self.greet_observers()?;
            let wait = self.until_due().min(LOOK);
            tokio::select! {
                changed = heights.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.on_blocks()?;
                }
                frame = frames.recv() => match frame {
                    Some(frame) => self.on_frame(&frame.from, &frame.body)?,
                    None => return Ok(()),
                },
                () = tokio::time::sleep(wait) => self.on_time()?,
            }
        }
    }

    /// Whoever has come without a seat gets the newest note: members whom it is not connected to send it none of theirs.
    fn greet_observers(&mut self) -> Result<(), StoreFault> {
        if self.observers.is_empty() && !self.parts.network.has_observers() {
            return Ok(());
        }
        let peers = self.parts.network.peers().into_iter().filter(|peer| peer.seat.is_none() && peer.connected);
        let now: BTreeSet<[u8; 32]> = peers.map(|peer| peer.key.0).collect();
        let new: Vec<[u8; 32]> = now.difference(&self.observers).copied().collect();
        self.observers = now;
        if new.is_empty() { Ok(()) } else { self.hand_on(self.parts.store.sealed_size(), &new) }
    }

    /// Sends all seals on one checkpoint.
    fn hand_on(&self, size: u64, to: &[[u8; 32]]) -> Result<(), StoreFault> {
        for kept in self.parts.store.seals(size)? {
            let Some(frame) = Frame::new(Channel::Seal, &[&kept.line]) else { continue };
            for key in to {
                self.parts.network.send(&PublicKey(*key), &frame);
            }
        }
        Ok(())
    }

    fn until_due(&self) -> Duration {
        let interval_ms = self.parts.store.set().parameters.seal_interval_ms;
        let tip = self.unsealed_since_ms.map(|since_ms| since_ms.saturating_add(interval_ms));
        let repeat = self.own.as_ref().map(|own| own.repeat_at_ms);
        let due_ms = tip.into_iter().chain(repeat).chain(self.boundaries.next_due_ms()).min();
        let now_ms = self.parts.clock.now_ms();
        due_ms.map_or(Duration::from_secs(3_600), |due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms)))
    }

    /// Seals the blocks that every agency seals, in order.
    fn on_blocks(&mut self) -> Result<(), StoreFault> {
        let tip = self.parts.store.tip();
        if tip.height.saturating_sub(self.decided) > MAX_BLOCKS_AT_ONCE {
            self.decided = tip.height.saturating_sub(1);
            self.parent_time_ms = self.parts.store.header(self.decided)?.map_or(0, |header| header.time_ms);
        }
        while self.decided < tip.height {
            let Some(header) = self.parts.store.header(self.decided.saturating_add(1))? else { break };
            let set = self.set_of(header.epoch)?;
            let due = set
                .as_ref()
                .is_some_and(|set| is_sealed_by_rule(self.parent_time_ms, &header, set.parameters.seal_interval_ms));
            (self.decided, self.parent_time_ms) = (header.height, header.time_ms);
            match set.filter(|_| due) {
                Some(set) => self.seal(&header, &set)?,
                None => self.unsealed_since_ms = Some(self.parts.clock.now_ms()),
            }
        }
        self.on_unknown()?;
        self.on_early()?;
        self.on_boundaries()
    }

    /// Seals a tip that was left unsealed for an interval, and repeats a seal that no quorum has joined yet.
    fn on_time(&mut self) -> Result<(), StoreFault> {
        let now_ms = self.parts.clock.now_ms();
        let interval_ms = self.parts.store.set().parameters.seal_interval_ms;
        if self.unsealed_since_ms.is_some_and(|since_ms| since_ms.saturating_add(interval_ms) <= now_ms) {
            self.unsealed_since_ms = None;
            let tip = self.parts.store.tip();
            if let Some(header) = self.parts.store.header(tip.height)?
                && let Some(set) = self.set_of(header.epoch)?
            {
                self.seal(&header, &set)?;
            }
        }
        let sealed = self.parts.store.sealed_size();
        if let Some(own) = self.own.as_mut().filter(|own| own.repeat_at_ms <= now_ms) {
            if own.seal.size <= sealed {
                self.own = None;
            } else {
                own.pause_ms = own.pause_ms.saturating_mul(2).min(LONGEST_REPEAT_MS);
                own.repeat_at_ms = now_ms.saturating_add(own.pause_ms);
                let seal = own.seal;
                self.send(&seal);
            }
        }
        self.on_boundaries()
    }

    /// The set that decided a block, and seals it.
    fn set_of(&self, epoch: u64) -> Result<Option<Arc<AuthoritySet>>, StoreFault> {
        let current = self.parts.store.set();
        if current.epoch == epoch {
            return Ok(Some(current));
        }
        Ok(self.parts.store.stored_epoch(epoch)?.map(|stored| Arc::new(stored.set)))
    }

    /// Makes the own seal on a final block's checkpoint: after a sync that covers the block, never going back.
    fn seal(&mut self, header: &Header, set: &AuthoritySet) -> Result<(), StoreFault> {
        self.unsealed_since_ms = None;
        let size = header.own_index().saturating_add(1);
        let root = self.root_at(size)?;
        let Some((signer, key)) = self.key_in(set) else { return Ok(()) };
        let public = key.public();
        if self.parts.store.seal_position(&public)?.is_some_and(|last| last.size >= size) {
            return Ok(());
        }
        self.parts.store.advance_seal(&public, SealPosition { size, root })?;
        let now_ms = self.parts.clock.now_ms();
        self.last_time_s = self.last_time_s.max(now_ms.div_euclid(1_000)).max(header.time_ms.div_ceil(1_000));
        let checkpoint = Checkpoint { origin: self.parts.origin.clone(), size, root };
        let seal = seal::Seal::sign(&checkpoint, set.epoch, signer, self.last_time_s, &key);
        self.keep(&seal, set)?;
        let pause_ms = set.parameters.seal_interval_ms.saturating_mul(2);
        self.own = Some(Own { seal, repeat_at_ms: now_ms.saturating_add(pause_ms), pause_ms });
        self.send(&seal);
        Ok(())
    }

    /// The own seat among those who seal in this set, with its key.
    fn key_in(&self, set: &AuthoritySet) -> Option<(u16, SigningKey)> {
        let seat = set.index_of(&self.parts.agency)?;
        Some((seat, self.parts.keys.find(&set.member(seat)?.sealing_key)?))
    }

    fn root_at(&self, size: u64) -> Result<Hash, StoreFault> {
        let tip = self.parts.store.tip();
        if tip.tree_size() == size { Ok(tip.tree_root()) } else { log_root(&self.parts.store.view()?.log(), size) }
    }

    fn send(&self, seal: &seal::Seal) {
        if let Some(frame) = Frame::new(Channel::Seal, &[&seal.encode()]) {
            self.parts.network.send_to_all(&frame);
        }
    }

    fn on_frame(&mut self, from: &Remote, body: &[u8]) -> Result<(), StoreFault> {
        let network = self.parts.network.clone();
        let refuse = |code: Code, reason: &dyn std::fmt::Display| {
            tracing::warn!(seat = from.seat, %code, %reason, "peer is disconnected for a bad seal");
            network.disconnect(&from.key);
        };
        let seal = match seal::Seal::decode(body) {
            Ok(seal) => seal,
            Err(error) => {
                refuse(peers::MALFORMED, &error);
                return Ok(());
            }
        };
        let now_s = self.parts.clock.now_ms().div_euclid(1_000);
        let Some(set) = self.set_of(seal.epoch)? else {
            if seal.epoch > self.parts.store.set().epoch {
                self.unknown.keep(from, seal.epoch, body);
            }
            return Ok(());
        };
        if seal.time_s > now_s.saturating_add(MAX_AHEAD_S) {
            let (code, signer) = (peers::OUT_OF_PLACE, seal.signer);
            tracing::warn!(signer, %code, "a seal from the future was dropped: compare the clocks");
            return Ok(());
        }
        if let Err(error) = seal.verify(&self.parts.origin, &set) {
            refuse(error.peer_code(), &error);
            return Ok(());
        }
        self.answer_repeat(&seal, from)?;
        if seal.size > self.parts.store.tip().tree_size() {
            let early = self.early.entry(seal.signer).or_default();
            early.push_back((seal, set));
            if early.len() > MAX_EARLY_SEALS {
                early.pop_front();
            }
            return Ok(());
        }
        self.accept(&seal, &set)
    }

    /// A member that repeats its seal lacks a quorum: it gets the own one again, however long ago the others had theirs.
    fn answer_repeat(&mut self, seal: &seal::Seal, from: &Remote) -> Result<(), StoreFault> {
        let set = self.set_of(seal.epoch)?;
        let Some(asking) = set.as_ref().and_then(|set| set.member(seal.signer)) else { return Ok(()) };
        let kept = self.parts.store.seals(seal.size)?;
        let is_repeated = kept.iter().any(|kept| kept.agency == asking.agency);
        let own = kept.iter().find(|kept| kept.agency == self.parts.agency && kept.agency != asking.agency);
        let now_ms = self.parts.clock.now_ms();
        if let Some(own) = own.filter(|_| is_repeated)
            && self.answers.give((seal.signer, seal.size), now_ms)
            && let Some(frame) = Frame::new(Channel::Seal, &[&own.line])
        {
            self.parts.network.send(&from.key, &frame);
        }
        Ok(())
    }

    /// Looks again at seals whose epoch may be known by now.
    fn on_unknown(&mut self) -> Result<(), StoreFault> {
        let epoch = self.parts.store.set().epoch;
        for (from, body) in self.unknown.reached(epoch) {
            self.on_frame(&from, &body)?;
        }
        Ok(())
    }

    fn on_early(&mut self) -> Result<(), StoreFault> {
        let size = self.parts.store.tip().tree_size();
        let mut ripe = Vec::new();
        for queue in self.early.values_mut() {
            let (now, later): (VecDeque<_>, VecDeque<_>) = queue.drain(..).partition(|(seal, _)| seal.size <= size);
            *queue = later;
            ripe.extend(now);
        }
        for (seal, set) in ripe {
            self.accept(&seal, &set)?;
        }
        Ok(())
    }

    /// Keeps a seal on a checkpoint of the own log. One that contradicts the log is somebody's second history.
    fn accept(&mut self, seal: &seal::Seal, set: &AuthoritySet) -> Result<(), StoreFault> {
        if self.parts.store.view()?.height_of_size(seal.size)?.is_none() {
            return Ok(());
        }
        if self.root_at(seal.size)? != seal.root {
            tracing::error!(
                signer = seal.signer,
                size = seal.size,
                "an agency sealed another history than this node's"
            );
            return Ok(());
        }
        self.keep(seal, set)
    }

    fn keep(&self, seal: &seal::Seal, set: &AuthoritySet) -> Result<(), StoreFault> {
        let Some(member) = set.member(seal.signer) else { return Ok(()) };
        let kept = Seal { size: seal.size, agency: member.agency.clone(), line: seal.encode() };
        let before = self.parts.store.sealed_size();
        let is_note = self.parts.store.put_seal(&kept, set.quorum())? && seal.size > before;
        let observers: Vec<[u8; 32]> = self.observers.iter().copied().collect();
        if is_note { self.hand_on(seal.size, &observers) } else { Ok(()) }
    }
}

/// The root of the first `size` leaves, from the complete subtrees that they consist of, largest first.
fn log_root(log: &Log<'_, '_>, size: u64) -> Result<Hash, StoreFault> {
    let mut peaks = Vec::new();
    let mut first = 0u64;
    for level in (0..u64::BITS).rev() {
        if size & (1 << level) != 0 {
            peaks.push(log.node(level, first >> level)?);
            first += 1 << level;
        }
    }
    let mut peaks = peaks.into_iter().rev();
    let last = peaks.next().unwrap_or_else(empty_root);
    Ok(peaks.fold(last, |right, left| node_hash(&left, &right)))
}
