//! The engine of a pretended node: performs effects under the contract, with a synced journal, a signer of its own,
//! and fetches from whoever is asked.

use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::header::Header;

use super::disk::Entry;
use super::door::Frame;
use super::ledger::Executed;
use super::{Place, World};
use crate::message::Message;
use crate::mutants;
use crate::safety::{SafetyFault, SafetyRecord};
use crate::verify::Verified;
use crate::{Audience, BlockId, Build, Draft, Effect, Found, Height, Input, Want};

#[derive(Debug, Clone)]
pub enum Job {
    Tick { at: u64 },
    Synced { up_to: usize, records: Vec<(SafetyRecord, Audience)> },
    Build(Build),
    Execute { block: BlockId, header: Box<Header>, references: Vec<Reference> },
    Committed { height: Height },
    Fetch { want: Want, from: Vec<u16> },
    CatchUp { from: Place },
}

impl Job {
    /// For the history.
    pub fn code(&self) -> u64 {
        match self {
            Self::Tick { .. } => 1,
            Self::Synced { .. } => 2,
            Self::Build(_) => 3,
            Self::Execute { .. } => 4,
            Self::Committed { .. } => 5,
            Self::Fetch { .. } => 6,
            Self::CatchUp { .. } => 7,
        }
    }
}

impl World {
    pub fn apply(&mut self, node: Place, effects: Vec<Effect>) {
        let mut votes = Vec::new();
        for effect in effects {
            if self.dies_before_effect(node) {
                return;
            }
            match effect {
                Effect::Vote { record, to } => {
                    let place = self.node_mut(node);
                    if !place.signer.holds(&record.statement()) {
                        place.disk.journal.push(Entry::Record(record.clone()));
                    }
                    votes.push((record, to));
                }
                Effect::Note { entered } => self.node_mut(node).disk.journal.push(Entry::Entered(entered)),
                Effect::Send { message, to } => self.send(node, &message, &to),
                Effect::Build(build) => {
                    let delay = self.execution_ms(node);
                    self.schedule_job(node, delay, Job::Build(build));
                }
                Effect::Execute { block, header, references, .. } => {
                    let delay = self.execution_ms(node);
                    self.schedule_job(node, delay, Job::Execute { block, header: Box::new(header), references });
                }
                Effect::Fetch { want, from } => {
                    let delay = self.random.between(self.weather.delay_min_ms, self.weather.delay_max_ms);
                    self.schedule_job(node, 2 * delay, Job::Fetch { want, from });
                }
                Effect::Commit { blocks, certificate } => {
                    let executed: Vec<Executed> =
                        blocks.iter().map(|id| self.node(node).executor.executed[id].clone()).collect();
                    self.commit(node, executed, certificate);
                    let height = self.node(node).executor.tip().height;
                    self.schedule_job(node, 1, Job::Committed { height });
                }
                Effect::Keep { blocks, from } => self.node_mut(node).executor.keep(&blocks, from),
                Effect::Report { evidence } => self.oracle.evidence.push(evidence),
                Effect::Alarm(alarm) => self.oracle.alarms.push((node, alarm)),
            }
        }
        self.sync_then_sign(node, votes);
    }

    fn dies_before_effect(&mut self, node: Place) -> bool {
        match &mut self.node_mut(node).effects_left {
            None => false,
            Some(0) => {
                self.oracle.fault("crash between two effects");
                self.crash(node);
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }

    fn execution_ms(&mut self, node: Place) -> u64 {
        self.node(node).slow_ms + self.random.between(0, self.weather.execute_max_ms)
    }

    fn sync_then_sign(&mut self, node: Place, records: Vec<(SafetyRecord, Audience)>) {
        if records.is_empty() {
            return;
        }
        // One disk, one queue: a later sync never ends before an earlier one.
        let done = self.now + self.random.between(1, self.weather.sync_max_ms.max(1));
        let place = self.node_mut(node);
        let up_to = place.disk.end();
        place.synced_at = place.synced_at.max(done);
        let delay = place.synced_at - self.now;
        if mutants::SEND_BEFORE_SYNC.on() {
            for (record, to) in &records {
                self.sign_and_send(node, record, to);
            }
        }
        self.schedule_job(node, delay, Job::Synced { up_to, records });
    }

    fn commit(&mut self, node: Place, blocks: Vec<Executed>, certificate: FinalCert) {
        let epoch = self.node(node).epoch.clone();
        if self.is_honest(node) {
            self.note_final(&blocks, &certificate, &epoch);
        }
        let place = self.node_mut(node);
        for block in &blocks {
            assert_eq!(block.height, place.executor.tip().height + 1, "oracle order: commits in height order");
            place.executor.executed.insert(block.id, block.clone());
            place.executor.apply(block.id);
        }
        place.signer.finalise(certificate.turn);
        place.disk.journal.push(Entry::Commit(blocks, certificate));
    }

    pub fn send(&mut self, from: Place, message: &Message, to: &Audience) {
        let (key, epoch) = (self.node(from).key, self.node(from).epoch.clone());
        let frame = Frame::new(message, &epoch);
        let peers: Vec<u16> = match to {
            Audience::Everybody => epoch.peers().filter(|peer| *peer != key).collect(),
            Audience::Peers(peers) => peers.clone(),
        };
        for peer in peers {
            assert_ne!(peer, key, "oracle audience: nothing is sent to oneself");
            for to in self.places_of(peer) {
                if self.can_reach(from, to) {
                    self.send_as(from, to, message, &frame);
                }
            }
        }
    }

    pub fn perform(&mut self, node: Place, job: Job) {
        match job {
            Job::Tick { at } => {
                let place = self.node_mut(node);
                if place.tick_at == Some(at) {
                    place.tick_at = None;
                }
                self.step(node, Input::Tick);
            }
            Job::Synced { up_to, records } => {
                if std::mem::take(&mut self.node_mut(node).sync_fails) {
                    self.oracle.fault("sync failed, process stopped");
                    return self.crash(node);
                }
                self.node_mut(node).disk.sync(up_to);
                let life = self.node(node).life;
                for (record, to) in records {
                    if self.is_up(node) && self.node(node).life == life {
                        self.sign_and_send(node, &record, &to);
                    }
                }
            }
            Job::Build(build) => {
                let (epoch, contents) = (self.node(node).epoch.clone(), std::mem::take(&mut self.contents));
                let input = match self.node_mut(node).executor.build(&build, &epoch, &contents) {
                    Some(block) => {
                        let header = block.header.expect("a built block has a header");
                        let draft = Draft { header, references: block.references, acted: false };
                        Input::Built { turn: build.turn, draft }
                    }
                    None => Input::BuildFailed { turn: build.turn },
                };
                self.contents = contents;
                self.step(node, input);
            }
            Job::Execute { block, header, references } => {
                let (epoch, contents) = (self.node(node).epoch.clone(), std::mem::take(&mut self.contents));
                let verdict = self.node_mut(node).executor.execute(&header, &references, &epoch, &contents);
                self.contents = contents;
                self.step(node, Input::Executed { block, verdict });
            }
            Job::Committed { height } => {
                self.step(node, Input::Committed { height });
                self.after_commit(node);
            }
            Job::Fetch { want, from } => {
                let peers = from.into_iter().flat_map(|peer| self.places_of(peer)).collect::<Vec<_>>();
                let reachable =
                    peers.into_iter().find(|peer| self.can_reach(node, *peer) && self.can_reach(*peer, node));
                if let Some(peer) = reachable {
                    self.fetch(node, want, peer);
                }
            }
            Job::CatchUp { from } => {
                self.node_mut(node).catching_up = false;
                if self.can_reach(from, node) && self.can_reach(node, from) {
                    self.fetch_range(node, from);
                }
            }
        }
    }

    fn after_commit(&mut self, node: Place) {
        if self.is_up(node) {
            self.tell_work(node);
        }
        if self.is_up(node) {
            self.open_next_epoch(node);
        }
    }

    /// Signs what is durable, under the signer's own book.
    fn sign_and_send(&mut self, node: Place, record: &SafetyRecord, to: &Audience) {
        let honest = self.is_honest(node);
        let place = self.node_mut(node);
        let durable = place.signer.holds(&record.statement()) || place.disk.is_durable(record);
        assert!(
            durable || mutants::SEND_BEFORE_SYNC.on(),
            "oracle durable: a vote leaves before its record is durable"
        );
        match place.signer.admit(record) {
            Ok(()) => {}
            Err(SafetyFault::Final { .. }) => return,
            Err(fault) => {
                assert!(!honest, "oracle signer: refuses what the core allowed: {fault}");
                return;
            }
        }
        let (key, epoch) = (place.key, place.epoch.clone());
        let vote = self.signed_vote(key, record.statement(), &epoch);
        self.note_signed(&vote);
        self.check_endorsed_once(node, &vote.statement);
        let message = record.outgoing(key, vote.signature, Vec::new(), &epoch);
        self.send(node, &message, to);
        self.step(node, Input::Message { from: key, message: Verified::own(vote) });
    }

    fn fetch(&mut self, node: Place, want: Want, peer: Place) {
        match want {
            Want::Block { id } => {
                let place = self.node(peer);
                let found = place.executor.executed.get(&id).or_else(|| place.disk.chain().find(|b| b.id == id));
                if let Some((header, block)) = found.and_then(|block| Some((block.header?, block.clone()))) {
                    let found = Found::Block { header, positions: block.positions, references: block.references };
                    self.step(node, Input::Fetched { found });
                }
            }
            Want::Batches { block, references } => {
                self.fetch_batches(node, &references, peer);
                if references.iter().all(|r| self.node(node).executor.holds(r)) {
                    self.step(node, Input::Fetched { found: Found::Batches { block } });
                }
            }
            Want::Announced { references } => self.fetch_batches(node, &references, peer),
            Want::Range { .. } => self.fetch_range(node, peer),
        }
    }

    /// Everything final above the own tip, up to where the own epoch ends.
    fn fetch_range(&mut self, node: Place, peer: Place) {
        let (tip, epoch) = (self.node(node).executor.tip().height, self.node(node).epoch.number());
        let theirs = &self.node(peer).disk;
        let Some(certificate) = theirs.certificate_in(epoch).cloned() else { return };
        let wanted = tip + 1..=certificate.height;
        let blocks: Vec<Executed> = theirs.chain().filter(|block| wanted.contains(&block.height)).cloned().collect();
        let Some(last) = blocks.last().cloned() else { return };
        self.oracle.fault("range caught up");
        let header = last.header.expect("only genesis has none");
        self.commit(node, blocks, certificate.clone());
        self.step(node, Input::Fetched { found: Found::Range { header, certificate } });
        self.after_commit(node);
    }

    fn fetch_batches(&mut self, node: Place, references: &[Reference], peer: Place) {
        let epoch = self.node(peer).epoch.number();
        for reference in references {
            let theirs = self.node(peer).executor.holds(reference);
            if theirs && !self.node(node).executor.holds(reference) {
                self.hold(node, epoch, *reference);
            }
        }
    }
}
