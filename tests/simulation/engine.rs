//! The engine of a simulated node: performs effects under the engine's contract, with the real store and signer; work
//! beside the engine is done in order, a while later. Starting, stopping and links are here too.

use std::collections::BTreeSet;

use mingzhang_consensus::known::Known;
use mingzhang_consensus::message::Message;
use mingzhang_consensus::safety::{SafetyFault, SafetyRecord};
use mingzhang_consensus::verify::{Check, Refusal, Verified, verdicts};
use mingzhang_consensus::{Alarm, Audience, BlockId, Build, Effect, Epoch, Input, Want};
use mingzhang_ledger::batch::{Batch, Reference};
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::header::Header;
use mingzhang_node::engine::inbound::claimed_epoch;
use mingzhang_node::executor::CommittedBlock;
use mingzhang_node::signer::SignerFault;
use mingzhang_node::store::Durable;

use crate::founding::consensus_key;
use crate::place::Running;
use crate::world::{Frame, World};

#[derive(Debug, Clone)]
pub enum Job {
    Tick {
        at: u64,
    },
    Build(Build),
    Execute {
        block: BlockId,
        header: Box<Header>,
        references: Vec<Reference>,
    },
    Commit {
        blocks: Vec<BlockId>,
        certificate: FinalCert,
    },
    Keep {
        blocks: BTreeSet<BlockId>,
        from: u64,
    },
    Fetch {
        want: Want,
        from: Vec<u16>,
    },
    CatchUp {
        from: usize,
    },
    /// A node without a seat hears no votes: it asks whether there is more.
    Follow,
}

impl Job {
    /// For the history.
    pub fn code(&self) -> u64 {
        match self {
            Self::Tick { .. } => 1,
            Self::Build(_) => 2,
            Self::Execute { .. } => 3,
            Self::Commit { .. } => 4,
            Self::Fetch { .. } => 5,
            Self::CatchUp { .. } => 6,
            Self::Follow => 7,
            Self::Keep { .. } => 8,
        }
    }
}

impl World {
    /// Starts a node on what its disk holds.
    pub fn start(&mut self, place: usize) {
        self.set_clock(place);
        let (network, pool) = (self.network.clone(), self.pool.clone());
        let first = self.places[place].start(&network, &pool);
        let first =
            first.unwrap_or_else(|fault| panic!("oracle store: {} does not start: {fault}", self.places[place].name()));
        self.perform(place, first);
        self.connect_all(place);
        self.gossip(place);
        self.set_timer(place);
        self.schedule_job(place, 500, Job::Follow);
    }

    /// Consensus at both ends hears of every link that stands.
    pub fn connect_all(&mut self, place: usize) {
        for other in 0..self.places.len() {
            if self.both_reach(place, other) {
                self.tell_link(place, other, true);
                self.tell_link(other, place, true);
            }
        }
    }

    /// Tells the node at `place` whether it is connected to `other`, if that one has a seat in its epoch.
    pub fn tell_link(&mut self, place: usize, other: usize, connected: bool) {
        let Some(peer) = self.seat_of(other, place) else { return };
        let input = if connected { Input::Connected { peer } } else { Input::Disconnected { peer } };
        self.step(place, input);
    }

    /// The seat that `other` has in the epoch of the node at `place`.
    pub fn seat_of(&self, other: usize, place: usize) -> Option<u16> {
        let epoch = &self.places[place].running.as_ref()?.epoch;
        let key = self.places[other].peer_key();
        let seat = epoch.set.members.iter().position(|member| member.peer_key == key)?;
        u16::try_from(seat).ok()
    }

    /// Where the member of a seat runs, as the node at `place` sees the set.
    pub fn place_of(&self, seat: u16, place: usize) -> Option<usize> {
        let epoch = &self.places[place].running.as_ref()?.epoch;
        let key = epoch.set.member(seat)?.peer_key;
        (0..self.places.len()).find(|other| self.places[*other].peer_key() == key)
    }

    pub fn crash(&mut self, place: usize) {
        if self.places[place].crash(&mut self.random) {
            self.oracle.fault("unsynced writes lost");
        }
        for other in 0..self.places.len() {
            if other != place && self.is_up(other) {
                self.tell_link(other, place, false);
            }
        }
    }

    /// A damaged disk shows, in what the others have of it or in itself: nothing is signed with the key any more.
    fn hear_alarm(&mut self, place: usize, alarm: Alarm) {
        let here = &mut self.places[place];
        let shows = matches!(alarm, Alarm::SecondInstance { .. } | Alarm::Invariant { .. });
        if let (true, true, Some(running)) = (shows, here.damaged, &here.running) {
            let key = consensus_key(here.name(), here.generation).public();
            running.blocks.store.doubt(&key).unwrap_or_else(|fault| panic!("oracle store: {fault}"));
            here.doubted = true;
            self.oracle.fault("disk in doubt");
        }
        self.oracle.alarms.push((place, alarm));
    }

    /// One sync for all records, then everything in order, then what the own votes caused.
    pub fn perform(&mut self, place: usize, effects: Vec<Effect>) {
        let mut effects = effects;
        while !effects.is_empty() {
            effects = self.perform_once(place, effects);
        }
    }

    fn perform_once(&mut self, place: usize, effects: Vec<Effect>) -> Vec<Effect> {
        let here = &mut self.places[place];
        let Some(running) = &mut here.running else { return Vec::new() };
        running.signer.finalise(running.turns.final_point().1);
        let store = &running.blocks.store;
        let mut records: Vec<SafetyRecord> = Vec::new();
        for effect in &effects {
            match effect {
                Effect::Note { entered } => {
                    running.blocks.mempool.reach(entered.just.turn);
                    store.note(&running.epoch, entered).unwrap_or_else(|fault| panic!("oracle store: {fault}"));
                }
                Effect::Vote { record, .. } => records.push(record.clone()),
                _ => {}
            }
        }
        let mut durable = Vec::new();
        if !records.is_empty() {
            let stored = store.persist(&running.epoch, records);
            durable.extend(stored.unwrap_or_else(|fault| panic!("oracle store: {fault}")).each());
            if std::mem::take(&mut here.sync_fails) {
                // Some of it may be on disk, and nothing is signed.
                self.oracle.fault("sync failed, process stopped");
                self.crash(place);
                return Vec::new();
            }
            here.note_synced();
        }
        let sync_ms = self.random.between(1, self.weather.sync_max_ms.max(1));
        let mut durable = durable.into_iter();
        let mut following = Vec::new();
        for effect in effects {
            if self.dies_before_effect(place) {
                return Vec::new();
            }
            if let Effect::Vote { to, .. } = &effect
                && let Some(record) = durable.next()
            {
                following.extend(self.vote(place, record, to, sync_ms));
            } else {
                self.perform_one(place, effect);
            }
        }
        following
    }

    fn dies_before_effect(&mut self, place: usize) -> bool {
        match &mut self.places[place].effects_left {
            None => !self.is_up(place),
            Some(0) => {
                self.oracle.fault("crash between two effects");
                self.crash(place);
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }

    /// Signs, sends, and hands the copy back to consensus, which counts it only then.
    fn vote(&mut self, place: usize, record: Durable<SafetyRecord>, to: &Audience, sync_ms: u64) -> Vec<Effect> {
        let local = self.places[place].local_ms();
        let Some(running) = &mut self.places[place].running else { return Vec::new() };
        let vote = match running.signer.sign(record) {
            Ok(vote) => vote,
            Err(SignerFault::Contradiction(SafetyFault::Final { .. })) => return Vec::new(),
            Err(fault) => panic!("oracle signer: refuses what the core allowed: {fault}"),
        };
        let attached = running.attached(&vote.record);
        let message = vote.message(attached, &running.epoch);
        let copy = Input::Message { from: vote.vote.signer, message: Verified::own(vote.into_inner().vote) };
        self.send(place, &message, to, sync_ms);
        let Some(running) = &mut self.places[place].running else { return Vec::new() };
        running.turns.step(local, copy)
    }

    fn perform_one(&mut self, place: usize, effect: Effect) {
        match effect {
            Effect::Note { .. } | Effect::Vote { .. } => {}
            Effect::Send { message, to } => self.send(place, &message, &to, 0),
            Effect::Build(build) => self.assign(place, Job::Build(build)),
            Effect::Execute { block, parent: _, header, references } => {
                self.assign(place, Job::Execute { block, header: Box::new(header), references });
            }
            Effect::Commit { blocks, certificate } => {
                self.assign(place, Job::Commit { blocks, certificate });
            }
            Effect::Keep { blocks, from } => {
                self.assign(place, Job::Keep { blocks: blocks.into_iter().collect(), from });
            }
            Effect::Fetch { want, from } => {
                let delay = 2 * self.delay();
                self.schedule_job(place, delay, Job::Fetch { want, from });
            }
            Effect::Report { evidence } => {
                if let Some(running) = &self.places[place].running {
                    self.oracle.accuse(&running.epoch, evidence);
                }
            }
            Effect::Alarm(alarm) => self.hear_alarm(place, alarm),
        }
    }

    /// Beside the engine, one job at a time and in order.
    fn assign(&mut self, place: usize, job: Job) {
        let took = self.places[place].slow_ms + self.random.between(0, self.weather.execute_max_ms);
        let done = self.places[place].busy_until.max(self.now) + took;
        self.places[place].busy_until = done;
        let delay = done - self.now;
        self.schedule_job(place, delay, job);
    }

    pub fn send(&mut self, from: usize, message: &Message, to: &Audience, after_ms: u64) {
        let Some(running) = &self.places[from].running else { return };
        let (me, epoch) = (running.me, running.epoch.clone());
        let peers: Vec<u16> = match to {
            Audience::Everybody => epoch.peers().filter(|peer| Some(*peer) != me).collect(),
            Audience::Peers(peers) => peers.clone(),
        };
        let frame = Frame { bytes: message.encode(&epoch).into() };
        for peer in peers {
            assert_ne!(Some(peer), me, "oracle audience: nothing is sent to oneself");
            if let Some(to) = self.place_of(peer, from) {
                self.send_as(from, to, (message, &epoch), (&frame, after_ms));
            }
        }
    }

    /// Through the receiver's door, as the node's own does it.
    pub fn deliver(&mut self, from: usize, to: usize, frame: &Frame) {
        let Some(running) = &self.places[to].running else { return };
        let epoch = running.epoch.clone();
        let Some(seat) = self.seat_of(from, to) else { return self.stray(from, to, frame) };
        let check = match Message::decode(&frame.bytes, &epoch) {
            Ok(message) => {
                assert!(message.encode(&epoch) == *frame.bytes, "oracle canonical: one message has two encodings");
                Check::new(message, &epoch, &Known::default())
            }
            Err(_) if claimed_epoch(&frame.bytes).is_some_and(|claimed| claimed != epoch.number()) => {
                return self.stray(from, to, frame);
            }
            Err(error) => return self.refuse(from, &error.to_string()),
        };
        match check {
            Ok(check) => {
                let verdicts = verdicts(check.items());
                self.conclude((from, to, seat), check, &verdicts, &epoch);
            }
            Err(Refusal::OtherEpoch { .. }) => self.stray(from, to, frame),
            Err(refusal) => self.refuse(from, &refusal.to_string()),
        }
    }

    fn conclude(&mut self, (from, to, seat): (usize, usize, u16), check: Check, verdicts: &[bool], epoch: &Epoch) {
        match check.conclude(verdicts, epoch) {
            Ok(message) => {
                if let Message::Proposal(proposal) = message.get() {
                    let turn = proposal.turn();
                    let expects = |running: &Running| running.blocks.mempool.expects(epoch.number(), turn);
                    let needed = seat == epoch.proposer(turn) && self.places[to].running.as_ref().is_some_and(expects);
                    self.take_in(to, proposal.batches.clone(), needed);
                }
                self.step(to, Input::Message { from: seat, message });
            }
            Err(Refusal::Convicted(evidence)) => self.oracle.accuse(epoch, *evidence),
            Err(reason) => self.refuse(from, &reason.to_string()),
        }
    }

    fn refuse(&mut self, from: usize, reason: &str) {
        assert!(!self.is_honest(from), "oracle door: an honest message is refused: {reason}");
        self.oracle.sums.refused_messages += 1;
    }

    pub fn perform_job(&mut self, place: usize, job: Job) {
        let Some(running) = &mut self.places[place].running else { return };
        match job {
            Job::Tick { at } => {
                if self.places[place].tick_at == Some(at) {
                    self.places[place].tick_at = None;
                }
                self.step(place, Input::Tick);
            }
            Job::Build(build) => {
                let input = running.blocks.build(&build);
                self.step(place, input);
            }
            Job::Execute { block, header, references } => {
                let verdict = running.blocks.execute(&header, &references);
                self.step(place, Input::Executed { block, verdict });
            }
            Job::Commit { blocks, certificate } => {
                let committed = running.blocks.commit(&blocks, &certificate);
                let committed = committed.unwrap_or_else(|fault| panic!("oracle commit: {fault}"));
                self.note_final(place, &committed, &certificate);
                self.step(place, Input::Committed { height: certificate.height });
                self.after_commit(place);
            }
            Job::Keep { blocks, from } => running.blocks.executor.keep_only(&blocks, from),
            Job::Fetch { want, from } => self.fetch(place, want, &from),
            Job::CatchUp { from } => self.catch_up(place, from),
            Job::Follow => self.follow(place),
        }
    }

    /// The first honest node to make a block final shows it to the oracles.
    pub fn note_final(&mut self, place: usize, committed: &[CommittedBlock], certificate: &FinalCert) {
        if !self.is_honest(place) {
            return;
        }
        for CommittedBlock { block, .. } in committed {
            self.oracle.note_final(block, certificate);
        }
    }

    pub fn after_commit(&mut self, place: usize) {
        let first = self.places[place].open_next_epoch().unwrap_or_else(|fault| panic!("oracle store: {fault}"));
        if let Some(first) = first {
            if let Some(running) = &self.places[place].running {
                self.oracle.sums.epochs = self.oracle.sums.epochs.max(running.epoch.number());
            }
            self.perform(place, first);
            for other in 0..self.places.len() {
                if self.both_reach(place, other) {
                    self.tell_link(place, other, true);
                }
            }
            self.set_timer(place);
        }
        self.gossip(place);
    }

    /// Cuts every link between the two sides.
    pub fn cut(&mut self, one: &[usize], other: &[usize]) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Nothing more arrives from the first at the second; both notice that the link is gone.
    pub fn cut_one_way(&mut self, one: &[usize], other: &[usize]) {
        for from in one {
            for to in other {
                if from != to && self.blocked.insert((*from, *to)) {
                    self.tell_link(*to, *from, false);
                    self.tell_link(*from, *to, false);
                }
            }
        }
    }

    pub fn heal(&mut self) {
        for (from, to) in std::mem::take(&mut self.blocked) {
            if self.is_up(from) && self.is_up(to) {
                self.tell_link(from, to, true);
                self.tell_link(to, from, true);
            }
        }
    }
}

impl crate::place::Running {
    /// The batches of a proposal, for those whom gossip has not reached yet.
    fn attached(&self, record: &SafetyRecord) -> Vec<Batch> {
        let SafetyRecord::Endorsed(endorsed) = record else { return Vec::new() };
        if !self.me.is_some_and(|me| record.is_proposal(me, &self.epoch)) {
            return Vec::new();
        }
        self.blocks.mempool.attached(&endorsed.references)
    }
}
