//! Real cores in a pretended world: virtual time, a seeded scheduler, a network that loses, delays, doubles and
//! reorders, disks that forget what was not synced, and oracles that watch every step. Signatures are names here;
//! verification is tested by itself.

mod byzantine;
mod disk;
mod engine;
mod epochs;
mod ledger;
mod patience;
mod puppet;
mod random;
mod rules;
mod scenarios;
mod wild;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mingzhang_ledger::authority::{AuthoritySet, Member, Parameters};
use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::crypto::{Hash, PublicKey, Signature, sha256};

use self::byzantine::Behaviour;
use self::disk::{Disk, Entry};
use self::engine::Job;
use self::ledger::{Contents, Executed, Executor};
use self::random::Random;
use crate::evidence::{Evidence, conflict};
use crate::message::Message;
use crate::safety::VoteBook;
use crate::statement::{Statement, Vote};
use crate::verify::Verified;
use crate::{Alarm, BlockId, Effect, Epoch, Height, Input, Opening, Peer, Setup, Turn, Turns};

pub const START_MS: u64 = 1_800_000_000_000;

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

pub struct Node {
    pub core: Option<Turns>,
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
}

#[derive(Debug, Clone)]
pub enum Event {
    Deliver { to: Peer, from: Peer, message: Box<Message> },
    Gossip { to: Peer, reference: Reference },
    Job { node: Peer, life: u32, job: Job },
}

pub struct World {
    pub epoch: Epoch,
    pub now: u64,
    pub weather: Weather,
    pub random: Random,
    pub nodes: Vec<Node>,
    pub blocked: BTreeSet<(Peer, Peer)>,
    pub behaviours: BTreeMap<Peer, Behaviour>,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    contents: Contents,
    next_number: u64,
    // What the oracles know.
    pub agreed: BTreeMap<Height, BlockId>,
    /// Height of the last final block that holds records.
    pub agreed_work: Height,
    signed: BTreeMap<(Peer, Turn), Vec<Statement>>,
    pub evidence: Vec<Evidence>,
    pub alarms: Vec<(Peer, Alarm)>,
    pub messages: u64,
    pub expected: BTreeSet<u64>,
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

/// The pretended signature of an authority.
pub fn name_of(signer: Peer) -> Signature {
    Signature([signer as u8; 64])
}

impl World {
    pub fn new(members: u16, seed: u64, weather: Weather) -> Self {
        let epoch = test_epoch(members);
        let mut world = Self {
            now: START_MS,
            weather,
            random: Random::new(seed),
            nodes: Vec::new(),
            blocked: BTreeSet::new(),
            behaviours: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            contents: BTreeMap::new(),
            next_number: 0,
            agreed: BTreeMap::new(),
            agreed_work: 0,
            signed: BTreeMap::new(),
            evidence: Vec::new(),
            alarms: Vec::new(),
            messages: 0,
            expected: BTreeSet::new(),
            epoch: epoch.clone(),
        };
        for _ in 0..members {
            world.nodes.push(Node {
                core: None,
                life: 0,
                disk: Disk::default(),
                executor: Executor::new(Executed::genesis(&epoch, START_MS)),
                signer: VoteBook::new(&epoch, 0),
                run: 0,
                next_seq: 0,
                tick_at: None,
                synced_at: 0,
                clock_offset_ms: 0,
            });
        }
        for node in 0..members {
            world.start(node, false);
        }
        world
    }

    pub fn members(&self) -> u16 {
        self.nodes.len() as u16
    }

    pub fn is_up(&self, node: Peer) -> bool {
        self.nodes[usize::from(node)].core.is_some()
    }

    pub fn core(&self, node: Peer) -> &Turns {
        self.nodes[usize::from(node)].core.as_ref().expect("the node is up")
    }

    pub fn schedule(&mut self, delay_ms: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay_ms, self.sequence), event);
    }

    pub fn schedule_job(&mut self, node: Peer, delay_ms: u64, job: Job) {
        let life = self.nodes[usize::from(node)].life;
        self.schedule(delay_ms, Event::Job { node, life, job });
    }

    fn can_reach(&self, from: Peer, to: Peer) -> bool {
        self.is_up(to) && self.is_up(from) && !self.blocked.contains(&(from, to))
    }

    /// Into the network: lost, doubled or delayed as the weather has it.
    pub fn post(&mut self, from: Peer, to: Peer, message: Message) {
        self.messages += 1;
        if !self.can_reach(from, to) || self.random.percent(self.weather.loss_percent) {
            return;
        }
        let copies = if self.random.percent(self.weather.twice_percent) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.random.between(self.weather.delay_min_ms, self.weather.delay_max_ms);
            self.schedule(delay, Event::Deliver { to, from, message: Box::new(message.clone()) });
        }
    }

    /// A client hands transactions to a node.
    pub fn submit(&mut self, node: Peer, count: u64) {
        let numbers: Vec<u64> = (self.next_number..self.next_number + count).collect();
        self.next_number += count;
        self.expected.extend(&numbers);
        for number in &numbers {
            self.nodes[usize::from(node)].disk.journal.push(Entry::Admitted(*number));
        }
        let length = self.nodes[usize::from(node)].disk.journal.len();
        self.nodes[usize::from(node)].disk.sync(length);
        self.batch(node, numbers);
    }

    /// Packs transactions into the next batch of a node's lane and gossips it.
    fn batch(&mut self, node: Peer, numbers: Vec<u64>) {
        let place = &mut self.nodes[usize::from(node)];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        let hash: Hash = sha256(&[&bytes, &node.to_be_bytes(), &place.run.to_be_bytes()]);
        let reference = Reference {
            author: node,
            run: place.run,
            seq: place.next_seq,
            records: numbers.len() as u32,
            bytes: bytes.len() as u32,
            hash,
        };
        place.next_seq += 1;
        self.contents.insert(hash, numbers);
        self.hold(node, reference);
        for to in 0..self.members() {
            if to != node && self.can_reach(node, to) && !self.random.percent(self.weather.loss_percent) {
                let delay = self.random.between(self.weather.delay_min_ms, self.weather.delay_max_ms);
                self.schedule(delay, Event::Gossip { to, reference });
            }
        }
    }

    fn hold(&mut self, node: Peer, reference: Reference) {
        let place = &mut self.nodes[usize::from(node)];
        place.executor.held.insert((reference.author, reference.run, reference.seq), reference);
        place.disk.journal.push(Entry::Batch(reference));
        self.tell_work(node);
    }

    fn tell_work(&mut self, node: Peer) {
        let work = self.nodes[usize::from(node)].executor.work(node, &self.contents);
        self.step(node, Input::Work(work));
    }

    pub fn run_for(&mut self, span_ms: u64) {
        let end = self.now + span_ms;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.handle(event);
        }
        self.now = end;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { to, from, message } => {
                if self.can_reach(from, to) {
                    // What a faulty node sends may be nonsense; its form is checked at the door.
                    let trusted = !self.behaviours.contains_key(&from);
                    if trusted || crate::verify::Check::new(message.as_ref().clone(), &self.epoch).is_ok() {
                        self.step(to, Input::Message { from, message: Verified::unchecked(*message) });
                    }
                }
            }
            Event::Gossip { to, reference } => {
                if self.is_up(to) {
                    self.hold(to, reference);
                }
            }
            Event::Job { node, life, job } => {
                if self.is_up(node) && self.nodes[usize::from(node)].life == life {
                    self.perform(node, job);
                }
            }
        }
    }

    pub fn local_ms(&self, node: Peer) -> u64 {
        self.now.saturating_add_signed(self.nodes[usize::from(node)].clock_offset_ms)
    }

    pub fn step(&mut self, node: Peer, input: Input) {
        let local = self.local_ms(node);
        let Some(core) = self.nodes[usize::from(node)].core.as_mut() else { return };
        let effects = core.step(local, input);
        self.after_step(node, effects);
    }

    fn after_step(&mut self, node: Peer, effects: Vec<Effect>) {
        self.apply(node, effects);
        let local = self.local_ms(node);
        let place = &mut self.nodes[usize::from(node)];
        let Some(deadline) = place.core.as_ref().and_then(Turns::deadline) else { return };
        assert!(deadline > local, "a deadline lies ahead, or the engine would spin");
        if place.tick_at.is_none_or(|at| deadline < at) {
            place.tick_at = Some(deadline);
            self.schedule_job(node, deadline - local, Job::Tick { at: deadline });
        }
    }

    pub fn start(&mut self, node: Peer, unclean: bool) {
        let local = self.local_ms(node);
        let setup = Setup { epoch: self.epoch.clone(), me: Some(node), relay_delay_ms: 100, retransmit_ms: 1_000 };
        let epoch = self.epoch.clone();
        let place = &mut self.nodes[usize::from(node)];
        let restored = place.disk.restored(&epoch, START_MS, unclean);
        let base = place.disk.chain().last().cloned().unwrap_or_else(|| Executed::genesis(&epoch, START_MS));
        place.signer = VoteBook::new(&epoch, restored.tip.turn);
        for record in &restored.records {
            place.signer.admit(record).expect("the disk holds no contradiction");
        }
        place.executor = Executor::new(base);
        place.executor.held = place.disk.batches().map(|r| ((r.author, r.run, r.seq), r)).collect();
        place.life += 1;
        place.tick_at = None;
        place.run = (place.run + 1).max(self.now);
        place.next_seq = 0;
        let (core, effects) = Turns::restore(local, setup, restored);
        place.core = Some(core);
        self.after_step(node, effects);
        for other in 0..self.members() {
            if other != node && self.can_reach(node, other) && self.can_reach(other, node) {
                self.step(node, Input::Connected { peer: other });
                self.step(other, Input::Connected { peer: node });
            }
        }
        self.rebatch(node);
        self.tell_work(node);
    }

    /// What was admitted and is not yet on the log goes into the new run.
    fn rebatch(&mut self, node: Peer) {
        let place = &self.nodes[usize::from(node)];
        let spent = place.executor.tip().spent.clone();
        let numbers: Vec<u64> = place
            .disk
            .journal
            .iter()
            .filter_map(|entry| if let Entry::Admitted(number) = entry { Some(*number) } else { None })
            .filter(|number| !spent.contains(number))
            .collect();
        if !numbers.is_empty() {
            self.batch(node, numbers);
        }
    }

    pub fn crash(&mut self, node: Peer) {
        let unsynced = self.nodes[usize::from(node)].disk.unsynced() as u64;
        let kept = self.random.between(0, unsynced) as usize;
        let place = &mut self.nodes[usize::from(node)];
        place.core = None;
        place.disk.crash(kept);
        for other in 0..self.members() {
            self.step(other, Input::Disconnected { peer: node });
        }
    }

    /// Cuts every link between the two sides.
    pub fn cut(&mut self, one: &[Peer], other: &[Peer]) {
        for a in one {
            for b in other {
                for (from, to) in [(*a, *b), (*b, *a)] {
                    if self.blocked.insert((from, to)) {
                        self.step(from, Input::Disconnected { peer: to });
                    }
                }
            }
        }
    }

    pub fn heal(&mut self) {
        for (from, to) in std::mem::take(&mut self.blocked) {
            if self.is_up(from) && self.is_up(to) {
                self.step(from, Input::Connected { peer: to });
            }
        }
    }

    /// Oracle: no honest authority ever signs two statements that exclude each other.
    pub fn note_signed(&mut self, vote: &Vote) {
        if self.behaviours.contains_key(&vote.signer) {
            return;
        }
        let statements = self.signed.entry((vote.signer, vote.statement.turn())).or_default();
        for earlier in statements.iter() {
            assert_eq!(conflict(earlier, &vote.statement), None, "{earlier:?} and {:?}", vote.statement);
        }
        statements.push(vote.statement);
    }

    /// Oracle: one block per height.
    pub fn note_final(&mut self, blocks: &[Executed]) {
        for block in blocks {
            let agreed = self.agreed.entry(block.height).or_insert(block.id);
            assert_eq!(*agreed, block.id, "two final blocks of height {}", block.height);
        }
        let filled = blocks.iter().filter(|block| block.header.is_some_and(|header| header.entry_count > 0));
        self.agreed_work = filled.map(|block| block.height).max().unwrap_or(0).max(self.agreed_work);
    }

    /// Oracle: evidence accuses nobody honest, and nobody honest is alarmed.
    pub fn check_quiet(&self) {
        for evidence in &self.evidence {
            assert!(self.behaviours.contains_key(&evidence.accused()), "honest node accused: {evidence:?}");
        }
        assert!(self.alarms.is_empty(), "alarms: {:?}", self.alarms);
    }

    pub fn heights(&self) -> Vec<Height> {
        self.nodes.iter().map(|node| node.executor.tip().height).collect()
    }

    /// Oracle: every honest node is up to date, and everything that was submitted to one is on its log. Nobody needs
    /// the finality of an empty block, so a node may lack that.
    pub fn check_complete(&self) {
        for node in 0..self.members() {
            if self.behaviours.contains_key(&node) || !self.is_up(node) {
                continue;
            }
            let tip = self.nodes[usize::from(node)].executor.tip();
            assert!(tip.height >= self.agreed_work, "node {node} is behind: {:?}", self.heights());
            let missing: Vec<&u64> = self.expected.difference(&tip.spent).collect();
            assert!(missing.is_empty(), "not on the log of node {node}: {missing:?}");
        }
    }
}
