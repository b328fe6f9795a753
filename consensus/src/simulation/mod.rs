//! Real cores in a pretended world: virtual time, a seeded scheduler, a network that loses, delays, doubles and
//! reorders, disks that forget what was not synced, and oracles that watch every step. Messages are really encoded,
//! decoded and checked; signatures only bind key and words. Driven by the tests here, and by the example `simulate`.

#![allow(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects, clippy::float_arithmetic)]

#[cfg(test)]
mod bounds;
mod byzantine;
mod disk;
mod door;
mod engine;
#[cfg(test)]
mod epochs;
mod ledger;
mod lifecycle;
mod oracle;
#[cfg(test)]
mod patience;
pub mod plan;
#[cfg(test)]
mod puppet;
mod random;
#[cfg(test)]
mod rules;
pub mod run;
#[cfg(test)]
mod seeds;
pub mod stories;
pub mod traffic;
#[cfg(test)]
mod wild;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mingzhang_ledger::authority::{AuthoritySet, Member, Parameters};
use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::crypto::{Hash, PublicKey, sha256};

use self::byzantine::Behaviour;
use self::disk::{Disk, Entry};
use self::door::{Frame, Opened};
use self::engine::Job;
use self::ledger::{Contents, Executed, Executor};
use self::oracle::Oracle;
use self::random::Random;
use crate::message::Message;
use crate::safety::VoteBook;
use crate::{Effect, Epoch, Input, Opening, Peer, Turns};

pub const START_MS: u64 = 1_800_000_000_000;

/// A place where a core runs: the authorities first, in order, then second instances of some of their keys.
pub type Place = u16;

/// How bad the network is.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub loss_percent: u64,
    pub twice_percent: u64,
    pub delay_min_ms: u64,
    pub delay_max_ms: u64,
    pub sync_max_ms: u64,
    pub execute_max_ms: u64,
}

impl Weather {
    pub const FAIR: Self = Self {
        loss_percent: 0,
        twice_percent: 0,
        delay_min_ms: 5,
        delay_max_ms: 15,
        sync_max_ms: 4,
        execute_max_ms: 5,
    };
    pub const FOUL: Self = Self {
        loss_percent: 15,
        twice_percent: 10,
        delay_min_ms: 1,
        delay_max_ms: 300,
        sync_max_ms: 20,
        execute_max_ms: 60,
    };
}

/// One running place, or one that is down.
pub struct Node {
    /// Whose key it holds.
    pub key: Peer,
    pub core: Option<Turns>,
    pub epoch: Epoch,
    /// Counts restarts: what was under way in an earlier life is lost.
    pub life: u32,
    pub disk: Disk,
    pub executor: Executor,
    signer: VoteBook,
    run: u64,
    next_seq: u64,
    tick_at: Option<u64>,
    synced_at: u64,
    pub clock_offset_ms: i64,
    pub clock_drift_ppm: i64,
    /// What reaches it earlier waits until then.
    pub paused_until: u64,
    /// Added to every build and execution.
    pub slow_ms: u64,
    /// Its disk is in doubt: it follows and signs nothing.
    pub doubted: bool,
    /// A client here waits for proof that its transaction expired.
    pub expiry_waits: bool,
    /// The next sync fails, and with it the process.
    pub sync_fails: bool,
    /// The process dies after so many more effects.
    pub effects_left: Option<u64>,
    catching_up: bool,
}

#[derive(Debug, Clone)]
pub enum Event {
    Deliver { to: Place, from: Place, frame: Frame },
    Gossip { to: Place, from: Place, epoch: u64, reference: Reference },
    Job { node: Place, life: u32, job: Job },
}

pub struct World {
    /// The first epoch; every other follows from it.
    pub genesis: Epoch,
    pub now: u64,
    pub weather: Weather,
    pub random: Random,
    pub nodes: Vec<Node>,
    pub blocked: BTreeSet<(Place, Place)>,
    pub behaviours: BTreeMap<Peer, Behaviour>,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    contents: Contents,
    next_number: u64,
    pub oracle: Oracle,
}

pub fn test_epoch(members: u16) -> Epoch {
    let member = |index: u16| Member {
        agency: format!("agency-{index}"),
        consensus_key: PublicKey([index as u8; 32]),
        sealing_key: PublicKey([index as u8; 32]),
        peer_key: PublicKey([index as u8; 32]),
        url: String::new(),
    };
    let set = AuthoritySet { epoch: 0, parameters: Parameters::default(), members: (0..members).map(member).collect() };
    Epoch { chain: [7; 32], set: Arc::new(set), opening: Opening::Genesis { block: [9; 32] } }
}

impl World {
    pub fn new(members: u16, seed: u64, weather: Weather) -> Self {
        Self::with_twins(members, &[], seed, weather)
    }

    /// Every key named in `twins` runs once more, at a place behind the authorities.
    pub fn with_twins(members: u16, twins: &[Peer], seed: u64, weather: Weather) -> Self {
        Self::of(test_epoch(members), twins, seed, weather)
    }

    /// A world whose first epoch is this one.
    pub fn of(epoch: Epoch, twins: &[Peer], seed: u64, weather: Weather) -> Self {
        let members = epoch.members() as u16;
        let mut world = Self {
            now: START_MS,
            weather,
            random: Random::new(seed),
            nodes: Vec::new(),
            blocked: BTreeSet::new(),
            behaviours: twins.iter().map(|key| (*key, Behaviour::Twin)).collect(),
            events: BTreeMap::new(),
            sequence: 0,
            contents: BTreeMap::new(),
            next_number: 0,
            oracle: Oracle::default(),
            genesis: epoch.clone(),
        };
        for key in (0..members).chain(twins.iter().copied()) {
            world.nodes.push(Node {
                key,
                core: None,
                epoch: epoch.clone(),
                life: 0,
                disk: Disk::default(),
                executor: Executor::new(Executed::genesis(&epoch, START_MS), 0),
                signer: VoteBook::new(&epoch, 0),
                run: 0,
                next_seq: 0,
                tick_at: None,
                synced_at: 0,
                clock_offset_ms: 0,
                clock_drift_ppm: 0,
                paused_until: 0,
                slow_ms: 0,
                doubted: false,
                expiry_waits: false,
                sync_fails: false,
                effects_left: None,
                catching_up: false,
            });
        }
        for place in world.places() {
            world.start(place, false);
        }
        world
    }

    pub fn members(&self) -> u16 {
        self.genesis.members() as u16
    }

    pub fn places(&self) -> std::ops::Range<Place> {
        0..self.nodes.len() as u16
    }

    pub fn node(&self, place: Place) -> &Node {
        &self.nodes[usize::from(place)]
    }

    pub fn node_mut(&mut self, place: Place) -> &mut Node {
        &mut self.nodes[usize::from(place)]
    }

    pub fn is_up(&self, place: Place) -> bool {
        self.node(place).core.is_some()
    }

    /// Whether the key of a place follows the rules; a disk in doubt is not a fault of character.
    pub fn is_honest(&self, place: Place) -> bool {
        !self.behaviours.contains_key(&self.node(place).key)
    }

    #[cfg(test)]
    pub fn core(&self, place: Place) -> &Turns {
        self.node(place).core.as_ref().expect("the node is up")
    }

    pub fn schedule(&mut self, delay_ms: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay_ms, self.sequence), event);
    }

    pub fn schedule_job(&mut self, node: Place, delay_ms: u64, job: Job) {
        let life = self.node(node).life;
        self.schedule(delay_ms, Event::Job { node, life, job });
    }

    fn can_reach(&self, from: Place, to: Place) -> bool {
        self.is_up(to)
            && self.is_up(from)
            && !self.blocked.contains(&(from, to))
            && self.node(from).key != self.node(to).key
    }

    /// Into the network: lost, doubled or delayed as the weather has it.
    pub fn post(&mut self, from: Place, to: Place, frame: &Frame) {
        self.oracle.messages += 1;
        let length = frame.bytes.len() as u64;
        self.oracle.bytes += length;
        let sent = self.oracle.sent.entry(frame.bytes[0]).or_default();
        *sent = (sent.0 + 1, sent.1 + length);
        if !self.can_reach(from, to) {
            return;
        }
        if self.random.percent(self.weather.loss_percent) {
            return self.oracle.fault("message lost");
        }
        let twice = self.random.percent(self.weather.twice_percent);
        if twice {
            self.oracle.fault("message doubled");
        }
        for _ in 0..=u8::from(twice) {
            let delay = self.random.between(self.weather.delay_min_ms, self.weather.delay_max_ms);
            if delay > 100 {
                self.oracle.fault("message delayed and overtaken");
            }
            self.schedule(delay, Event::Deliver { to, from, frame: frame.clone() });
        }
    }

    /// A client hands transactions to a node, which answers once they are durable.
    pub fn submit(&mut self, node: Place, count: u64) {
        let numbers: Vec<u64> = (self.next_number..self.next_number + count).collect();
        self.next_number += count;
        self.admit(node, numbers);
    }

    /// A transaction that changes the authority set.
    pub fn submit_change(&mut self, node: Place) {
        let number = self.next_number | ledger::CHANGES_SET;
        self.next_number += 1;
        self.admit(node, vec![number]);
    }

    fn admit(&mut self, node: Place, numbers: Vec<u64>) {
        if self.is_honest(node) {
            self.oracle.expected.extend(&numbers);
        }
        let disk = &mut self.node_mut(node).disk;
        disk.journal.extend(numbers.iter().map(|number| Entry::Admitted(*number)));
        disk.sync(disk.end());
        self.batch(node, numbers);
    }

    /// Packs transactions into the next batch of a node's lane and gossips it.
    fn batch(&mut self, node: Place, numbers: Vec<u64>) {
        let place = self.node_mut(node);
        let (key, epoch) = (place.key, place.epoch.number());
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        let hash: Hash = sha256(&[&bytes, &node.to_be_bytes(), &place.run.to_be_bytes()]);
        let reference = Reference {
            author: key,
            run: place.run,
            seq: place.next_seq,
            records: numbers.len() as u32,
            bytes: bytes.len() as u32,
            hash,
        };
        place.next_seq += 1;
        self.contents.insert(hash, numbers);
        self.hold(node, epoch, reference);
        for to in self.places() {
            if to != node && self.can_reach(node, to) && !self.random.percent(self.weather.loss_percent) {
                let delay = self.random.between(self.weather.delay_min_ms, self.weather.delay_max_ms);
                self.schedule(delay, Event::Gossip { to, from: node, epoch, reference });
            }
        }
    }

    /// Keeps a batch of the current epoch that is not applied already.
    fn hold(&mut self, node: Place, epoch: u64, reference: Reference) {
        let place = self.node_mut(node);
        let key = ledger::batch_key(&reference);
        let position = place.executor.tip().positions_in(place.epoch.number())[usize::from(reference.author)];
        let applied = (reference.run, reference.seq) < (position.run, position.next_seq);
        if epoch != place.epoch.number() || applied || place.executor.held.contains_key(&key) {
            return;
        }
        place.executor.held.insert(key, reference);
        place.disk.journal.push(Entry::Batch(epoch, reference));
        self.tell_work(node);
    }

    fn tell_work(&mut self, node: Place) {
        let place = self.node(node);
        let mut work = place.executor.work(place.key, &self.contents);
        work.expiry_waits = place.expiry_waits;
        self.step(node, Input::Work(work));
    }

    pub fn run_for(&mut self, span_ms: u64) {
        let end = self.now + span_ms;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, sequence), event) = entry.remove_entry();
            self.now = at;
            self.handle(sequence, event);
        }
        self.now = end;
    }

    fn handle(&mut self, sequence: u64, event: Event) {
        let (Event::Deliver { to, .. } | Event::Gossip { to, .. } | Event::Job { node: to, .. }) = &event;
        let to = *to;
        if self.node(to).paused_until > self.now {
            // In the old order: a paused engine overtakes nothing when it goes on.
            self.events.insert((self.node(to).paused_until, sequence), event);
            return;
        }
        match event {
            Event::Deliver { from, frame, .. } => {
                if self.can_reach(from, to) {
                    self.oracle.note(&[1, u64::from(to), u64::from(from), frame.bytes.len() as u64, self.now]);
                    self.deliver(from, to, &frame);
                }
            }
            Event::Gossip { from, epoch, reference, .. } => {
                if self.can_reach(from, to) {
                    self.hold(to, epoch, reference);
                }
            }
            Event::Job { life, job, .. } => {
                if self.is_up(to) && self.node(to).life == life {
                    self.oracle.note(&[2, u64::from(to), job.code(), self.now]);
                    self.perform(to, job);
                }
            }
        }
    }

    /// Through the receiver's door; what is of another epoch is answered or starts catching up.
    fn deliver(&mut self, from: Place, to: Place, frame: &Frame) {
        let here = self.node(to).epoch.clone();
        if frame.epoch < here.number() && !crate::mutants::OLD_EPOCH_VOTES.on() {
            return self.answer_with_closing(to, from, frame.epoch);
        }
        if frame.epoch > here.number() {
            return self.start_catching_up(to, from);
        }
        let sender = self.node(from).key;
        match frame.open(&here) {
            Opened::Message(message) => self.step(to, Input::Message { from: sender, message: *message }),
            Opened::Convicted(evidence) => self.oracle.evidence.push(*evidence),
            Opened::Refused => assert!(!self.is_honest(from), "oracle door: an honest message is refused"),
        }
    }

    pub fn local_ms(&self, node: Place) -> u64 {
        let place = self.node(node);
        let passed = (self.now - START_MS) as i64;
        self.now.saturating_add_signed(place.clock_offset_ms + passed * place.clock_drift_ppm / 1_000_000)
    }

    pub fn step(&mut self, node: Place, input: Input) {
        let local = self.local_ms(node);
        let honest = self.is_honest(node);
        let Some(core) = self.node_mut(node).core.as_mut() else { return };
        if !honest && core.signing == crate::Signing::Halted {
            core.signing = crate::Signing::Allowed;
        }
        let effects = core.step(local, input);
        self.after_step(node, effects);
    }

    fn after_step(&mut self, node: Place, effects: Vec<Effect>) {
        self.apply(node, effects);
        self.check_memory(node);
        let local = self.local_ms(node);
        let place = self.node_mut(node);
        let Some(deadline) = place.core.as_ref().and_then(Turns::deadline) else { return };
        assert!(deadline > local, "oracle deadline: it lies ahead, or the engine would spin");
        if place.tick_at.is_none_or(|at| deadline < at) {
            place.tick_at = Some(deadline);
            self.schedule_job(node, deadline - local, Job::Tick { at: deadline });
        }
    }

    /// Every place of a key.
    fn places_of(&self, key: Peer) -> Vec<Place> {
        self.places().filter(|place| self.node(*place).key == key).collect()
    }

    pub fn send_message(&mut self, from: Place, to: Place, message: &Message) {
        let frame = Frame::new(message, &self.node(from).epoch);
        self.post(from, to, &frame);
    }
}
