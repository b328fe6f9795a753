//! The core itself as the actors: three [`Turns`] that keep the rules, and a fourth authority, first on turn, that says
//! whatever it likes to whom it likes. What anybody said may arrive at any time, in any order, again, or never; timers end
//! at any moment, and a node may stop and start again from what it had stored. What `safety` assumes of the code is tried
//! on it here.
//!
//! What a node does next depends on itself alone and on what it hears, so every way of a node is gone once and remembered;
//! the world is the product of three of them.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, RwLock};

use mingzhang_ledger::authority::{AuthoritySet, Parameters};
use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::crypto::Signature;
use mingzhang_ledger::header::Header;
use stateright::{Model, Property};

use super::safety::first_epoch;
use crate::justification::Just;
use crate::message::{Message, Proposal};
use crate::safety::{Endorsed, Entered, SafetyRecord};
use crate::statement::{Statement, Vote};
use crate::verify::Verified;
use crate::{Build, Draft, Effect, Epoch, Input, Millis, Peer, Restored, Setup, Tip, Turn, Turns, Verdict, Work};

const MEMBERS: usize = 4;
/// Wall time at which the world begins.
const START_MS: Millis = 1_700_000_000_000;
/// Longer than any world lasts: what is said again is heard from who said it.
const NEVER_MS: Millis = 1_000_000_000;

/// How much may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Turns in which blocks are proposed and given up.
    pub turns: Turn,
    /// Timers that end, by node.
    pub timers: u8,
    /// Stops and starts, by node.
    pub restarts: u8,
}

/// One honest authority with its disk, at one moment.
#[derive(Debug, Clone)]
struct Node {
    me: Peer,
    core: Turns,
    journal: Vec<SafetyRecord>,
    entered: Option<Entered>,
    finals: Vec<(Header, FinalCert)>,
    timers: u8,
    restarts: u8,
    /// An alarm, or evidence against who kept the rules.
    fault: Option<String>,
    /// Of everything above: nodes of one print are one.
    print: u64,
    /// What others may hear of it, and what the faulty authority may say because of it.
    says: Vec<Said>,
    tempts: Vec<Said>,
}

/// A message, and its print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    print: u64,
    from: Peer,
    message: Arc<Message>,
}

/// The prints of the three; what they stand for is in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State([u64; MEMBERS - 1]);

/// Which node goes on, and to which of its moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    place: usize,
    to: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Event {
    /// All that these honest authorities have said so far, and one vote of the faulty one. What changes nothing that is
    /// stored or said is no event: it may as well have come together with what does.
    Hears {
        others: [Option<u64>; 2],
        lie: Option<Said>,
    },
    IsProposed(Said),
    /// Its next timer ends.
    Timer,
    Restarts,
}

impl Event {
    fn print(&self) -> u64 {
        match self {
            Self::Hears { others: [x, y], lie } => {
                [*x, *y, lie.as_ref().map(|lie| lie.print)].into_iter().fold(3, |sum: u64, print| {
                    (sum ^ print.unwrap_or(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
                })
            }
            Self::IsProposed(said) => said.print,
            Self::Timer => 1,
            Self::Restarts => 2,
        }
    }
}

/// Text goes into the hash, not into memory.
struct Printer(DefaultHasher);

impl Write for Printer {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

fn print_of(value: &impl std::fmt::Debug) -> u64 {
    let mut printer = Printer(DefaultHasher::new());
    write!(printer, "{value:?}").expect("a hash takes every text");
    printer.0.finish()
}

fn said(from: Peer, message: Message) -> Said {
    Said { print: print_of(&(from, &message)), from, message: Arc::new(message) }
}

fn signature(signer: Peer) -> Signature {
    Signature([signer as u8; 64])
}

fn lie(faulty: Peer, statement: Statement) -> Said {
    said(faulty, Message::Vote(Vote { statement, signer: faulty, signature: signature(faulty) }))
}

/// The block that follows from the words; `variant` tells two of one proposer apart.
fn block(epoch: &Epoch, build: &Build, variant: u64) -> Header {
    Header {
        height: build.height,
        epoch: epoch.number(),
        turn: build.turn,
        parent_turn: build.parent_turn,
        proposer: build.proposer,
        time_ms: build.time_ms,
        first_index: build.height,
        entry_count: 1,
        log_root: [0; 32],
        state_root: [0; 32],
        parent: build.parent,
        batches: [0; 32],
        set_hash: epoch.set.hash(),
        next_set_hash: epoch.set.hash(),
        state_size: variant,
    }
}

/// One of the two blocks that the first agency on turn proposes.
fn proposal(epoch: &Epoch, variant: u64) -> Message {
    let (proposer, parent) = (epoch.proposer(1), epoch.opening_block());
    let (time_ms, max_records, max_bytes) = (START_MS, 1, 1);
    let build = Build { turn: 1, parent, height: 1, parent_turn: 0, proposer, time_ms, max_records, max_bytes };
    Message::Proposal(Box::new(Proposal {
        header: block(epoch, &build, variant),
        references: Vec::new(),
        batches: Vec::new(),
        just: Just::opening(epoch),
        signature: signature(proposer),
    }))
}

impl Node {
    fn print(&self) -> u64 {
        let Turns {
            // The same for ever, or in so few turns.
            setup: _,
            set_hash: _,
            kept: _,
            wall_ms,
            steady_ms,
            signing,
            book,
            tip,
            committing,
            last_final,
            proposed,
            cur,
            just,
            entered_ms,
            entered_wall_ms,
            armed_ms,
            relayed,
            building,
            propose_not_before_ms,
            turns,
            blocks,
            fetches,
            peers,
            work,
            flow,
            healthy,
            progress_ms,
            retransmitted_ms,
            status_ms,
            asked_ms,
            effects,
        } = &self.core;
        // How often questions were answered has no bearing here: nobody asks.
        let peers: Vec<_> = peers.iter().map(|(peer, state)| (peer, state.seen, state.signed, state.strikes)).collect();
        let clocks = (wall_ms, steady_ms, entered_ms, entered_wall_ms, armed_ms, propose_not_before_ms, progress_ms);
        let timers = (retransmitted_ms, status_ms, asked_ms, relayed, building, fetches, flow, healthy);
        let votes = (signing, book, tip, committing, last_final, proposed, cur, just);
        let known = (turns, blocks, peers, work, effects);
        let disk = (self.me, &self.journal, &self.entered, &self.finals, self.timers, self.restarts, &self.fault);
        print_of(&(clocks, timers, votes, known, disk))
    }

    fn step(&mut self, world: &Cores, now_ms: Millis, input: Input) {
        let effects = self.core.step(now_ms, input);
        self.perform(world, effects);
    }

    /// What others may learn, and what is stored.
    fn visible(&self) -> u64 {
        let core = &self.core;
        print_of(&(&self.journal, core.cur, core.tip, core.last_final.turn, &self.fault))
    }

    fn hear(&mut self, world: &Cores, now_ms: Millis, said: &Said) {
        let message = Verified::unchecked(Message::clone(&said.message));
        self.step(world, now_ms, Input::Message { from: said.from, message });
    }

    /// Disk, executor and signer answer at once, in order.
    fn perform(&mut self, world: &Cores, mut effects: Vec<Effect>) {
        let mut answers: VecDeque<Input> = VecDeque::new();
        loop {
            for effect in effects {
                answers.extend(self.answer(world, effect));
            }
            let Some(input) = answers.pop_front() else { return };
            effects = self.core.step(self.core.wall_ms, input);
        }
    }

    fn answer(&mut self, world: &Cores, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Vote { record, .. } => {
                let message = Verified::own(record.vote(self.me, signature(self.me)));
                if !self.journal.contains(&record) {
                    self.journal.push(record);
                }
                return Some(Input::Message { from: self.me, message });
            }
            Effect::Note { entered } => self.entered = Some(entered),
            Effect::Build(build) if build.turn <= world.bounds.turns => {
                let draft = Draft { header: block(&world.epoch, &build, 0), references: Vec::new(), acted: false };
                return Some(Input::Built { turn: build.turn, draft });
            }
            Effect::Execute { block, .. } => {
                return Some(Input::Executed { block, verdict: Verdict::Valid { acted: false } });
            }
            Effect::Commit { blocks, certificate } => {
                let headers = blocks.iter().filter_map(|id| self.core.blocks.get(id)).map(|block| block.header);
                self.finals.extend(headers.map(|header| (header, certificate.clone())));
                return Some(Input::Committed { height: certificate.height });
            }
            Effect::Report { evidence } if evidence.accused() == world.faulty => {}
            Effect::Report { evidence } => self.fault = Some(format!("{evidence:?}")),
            Effect::Alarm(alarm) => self.fault = Some(format!("{alarm:?}")),
            // Not built, and not fetched: the block is nowhere to be had. What is sent is what it says, and nothing is
            // given up in so few turns.
            Effect::Build(_) | Effect::Fetch { .. } | Effect::Send { .. } | Effect::Keep { .. } => {}
        }
        None
    }

    /// Stops, and starts from its disk.
    fn restart(&mut self, world: &Cores) {
        let fresh = Restored::fresh(&world.epoch, START_MS - 1);
        let last = self.finals.last();
        let tip = last.map_or(fresh.tip, |(header, certificate)| Tip {
            height: header.height,
            block: header.id(),
            turn: certificate.turn,
            time_ms: header.time_ms,
        });
        let (certificate, records, entered) = (last.cloned(), self.journal.clone(), self.entered.clone());
        let restored = Restored { tip, certificate, records, entered, ..fresh };
        self.restarts += 1;
        self.start(world, self.core.wall_ms, restored);
    }

    fn start(&mut self, world: &Cores, now_ms: Millis, restored: Restored) {
        let (core, effects) = Turns::restore(now_ms, world.setup(self.me), restored);
        self.core = core;
        self.perform(world, effects);
        // Work that waits for ever.
        let waiting = vec![Reference { author: 0, run: 1, seq: 1, hash: [1; 32], bytes: 1, records: 1 }];
        self.step(world, now_ms, Input::Work(Work { waiting, ..Work::default() }));
    }

    /// Its votes and proposals, why it is in its turn, and what it knows final.
    fn speech(&self, epoch: &Epoch) -> Vec<Said> {
        let outgoing = |record: &SafetyRecord| record.outgoing(self.me, signature(self.me), Vec::new(), epoch);
        let mut messages: Vec<Message> = self.journal.iter().map(outgoing).collect();
        messages.push(Message::Justify(self.core.just.clone()));
        messages.extend(self.core.final_message());
        messages.into_iter().map(|message| said(self.me, message)).collect()
    }

    /// A second of the faulty authority to every endorsement, and a confirmation.
    fn temptations(&self, world: &Cores) -> Vec<Said> {
        let endorsed = self.journal.iter().filter_map(|record| match record {
            SafetyRecord::Endorsed(one) | SafetyRecord::Confirmed { late: Some(one), .. } => Some(&**one),
            SafetyRecord::Skipped { .. } | SafetyRecord::Confirmed { late: None, .. } => None,
        });
        let statements = endorsed.flat_map(|one: &Endorsed| {
            let (epoch, turn, height, block) = (one.just.epoch, one.turn, one.header.height, one.block());
            let seconds = (turn > 1).then(|| one.statement());
            seconds.into_iter().chain([Statement::Confirm { epoch, turn, height, block }])
        });
        statements.map(|statement| lie(world.faulty, statement)).collect()
    }
}

pub struct Cores {
    epoch: Epoch,
    faulty: Peer,
    bounds: Bounds,
    /// What the faulty authority can say from the start: two blocks, and that it skips.
    proposals: [Said; 2],
    skips: Vec<Said>,
    nodes: RwLock<BTreeMap<u64, Arc<Node>>>,
    /// Where an event leads a node; itself, where it changes nothing.
    ways: RwLock<BTreeMap<(u64, u64), u64>>,
}

impl Cores {
    pub fn new(bounds: Bounds) -> Self {
        let plain = first_epoch(MEMBERS);
        let parameters = Parameters { min_block_interval_ms: 0, ..Parameters::default() };
        let set = Arc::new(AuthoritySet { parameters, ..AuthoritySet::clone(&plain.set) });
        let epoch = Epoch { set, ..plain };
        let faulty = epoch.proposer(1);
        let proposals = [1, 2].map(|variant| said(faulty, proposal(&epoch, variant)));
        let skip = |turn| lie(faulty, Statement::Skip { epoch: epoch.number(), turn });
        let skips = (1..=bounds.turns).map(skip).collect();
        Self { epoch, faulty, bounds, proposals, skips, nodes: RwLock::default(), ways: RwLock::default() }
    }

    fn honest(&self) -> impl Iterator<Item = Peer> + '_ {
        self.epoch.peers().filter(|peer| *peer != self.faulty)
    }

    fn setup(&self, me: Peer) -> Setup {
        Setup { epoch: self.epoch.clone(), me: Some(me), relay_delay_ms: NEVER_MS, retransmit_ms: NEVER_MS }
    }

    /// Remembers a moment of a node.
    fn keep(&self, mut node: Node) -> u64 {
        let print = node.print();
        if !self.nodes.read().expect("no holder panics").contains_key(&print) {
            (node.says, node.tempts) = (node.speech(&self.epoch), node.temptations(self));
            node.print = print;
            self.nodes.write().expect("no holder panics").insert(print, Arc::new(node));
        }
        print
    }

    fn node(&self, print: u64) -> Arc<Node> {
        Arc::clone(&self.nodes.read().expect("no holder panics")[&print])
    }

    fn nodes(&self, state: &State) -> [Arc<Node>; MEMBERS - 1] {
        state.0.map(|print| self.node(print))
    }

    /// Where an event leads a node.
    fn way(&self, from: u64, event: &Event) -> u64 {
        let key = (from, event.print());
        if let Some(known) = self.ways.read().expect("no holder panics").get(&key) {
            return *known;
        }
        let mut node = Node::clone(&self.node(from));
        let now_ms = node.core.wall_ms;
        match event {
            Event::Hears { others, lie } => {
                let before = node.visible();
                let heard = others.iter().flatten().flat_map(|other| self.node(*other).says.clone());
                for said in heard.chain(lie.clone()) {
                    node.hear(self, now_ms, &said);
                }
                if node.visible() == before {
                    node = Node::clone(&self.node(from));
                }
            }
            Event::IsProposed(said) => node.hear(self, now_ms, said),
            Event::Timer => {
                if let Some(due_ms) = node.core.deadline() {
                    node.timers += 1;
                    node.step(self, due_ms, Input::Tick);
                }
            }
            Event::Restarts => node.restart(self),
        }
        let to = self.keep(node);
        self.ways.write().expect("no holder panics").insert(key, to);
        to
    }
}

impl Model for Cores {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let fresh = || Restored::fresh(&self.epoch, START_MS - 1);
        let prints = self.honest().map(|me| {
            let core = Turns::restore(START_MS, self.setup(me), fresh()).0;
            let (journal, finals, says, tempts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            let (entered, fault) = (None, None);
            let mut node =
                Node { me, core, journal, entered, finals, timers: 0, restarts: 0, fault, print: 0, says, tempts };
            node.start(self, START_MS, fresh());
            self.keep(node)
        });
        let prints: Vec<u64> = prints.collect();
        vec![State(prints.try_into().expect("as many as are honest"))]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        let nodes = self.nodes(state);
        for (place, node) in nodes.iter().enumerate() {
            let [x, y] = [1, 2].map(|step| Some(nodes[(place + step) % nodes.len()].print));
            let tempted = nodes.iter().flat_map(|other| other.tempts.iter());
            let lies: Vec<Option<&Said>> = std::iter::once(None).chain(tempted.chain(&self.skips).map(Some)).collect();
            let mut events: Vec<Event> = self.proposals.iter().map(|said| Event::IsProposed(said.clone())).collect();
            for others in [[None, None], [x, None], [None, y], [x, y]] {
                events.extend(lies.iter().map(|lie| Event::Hears { others, lie: lie.cloned() }));
            }
            let going = node.core.turn() <= self.bounds.turns;
            if going && node.timers < self.bounds.timers {
                events.push(Event::Timer);
            }
            if going && node.restarts < self.bounds.restarts {
                events.push(Event::Restarts);
            }
            let ways: BTreeSet<u64> = events.iter().map(|event| self.way(node.print, event)).collect();
            let ways = ways.into_iter().filter(|to| *to != node.print);
            actions.extend(ways.map(|to| Step { place, to }));
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = *state;
        next.0[step.place] = step.to;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn finals(nodes: &[Arc<Node>]) -> impl Iterator<Item = &Header> {
            nodes.iter().flat_map(|node| node.finals.iter().map(|(header, _)| header))
        }
        vec![
            Property::always("one block per height", |model: &Self, state: &State| {
                let nodes = model.nodes(state);
                finals(&nodes).all(|a| finals(&nodes).all(|b| a.height != b.height || a.id() == b.id()))
            }),
            Property::always("nobody confirms what he skips", |model: &Self, state: &State| {
                model.nodes(state).iter().all(|node| {
                    let skips = |turn| node.journal.contains(&SafetyRecord::Skipped { epoch: 0, turn });
                    let both = |record: &SafetyRecord| {
                        matches!(record, SafetyRecord::Confirmed { certificate, .. } if skips(certificate.turn))
                    };
                    !node.journal.iter().any(both)
                })
            }),
            Property::always("no alarm, and no evidence against who kept the rules", |model: &Self, state: &State| {
                model.nodes(state).iter().all(|node| node.fault.is_none())
            }),
            Property::sometimes("somebody confirms a block of the faulty authority", |model: &Self, state: &State| {
                let confirms = |record: &SafetyRecord| matches!(record, SafetyRecord::Confirmed { certificate, .. } if certificate.turn == 1);
                model.nodes(state).iter().any(|node| node.journal.iter().any(confirms))
            }),
        ]
    }
}
