//! The engine of a pretended node: performs effects under the contract, with a synced journal, a signer of its own,
//! and fetches from whoever is asked.

use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::header::Header;

use super::disk::Entry;
use super::ledger::Executed;
use super::{World, name_of};
use crate::message::Message;
use crate::safety::{SafetyFault, SafetyRecord};
use crate::verify::Verified;
use crate::{Audience, BlockId, Build, Draft, Effect, Found, Height, Input, Peer, Want};

#[derive(Debug, Clone)]
pub enum Job {
    Tick { at: u64 },
    Synced { up_to: usize, records: Vec<(SafetyRecord, Audience)> },
    Build(Build),
    Execute { block: BlockId, header: Box<Header>, references: Vec<Reference> },
    Committed { height: Height },
    Fetch { want: Want, from: Vec<Peer> },
}

impl World {
    pub fn apply(&mut self, node: Peer, effects: Vec<Effect>) {
        let mut votes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Vote { record, to } => {
                    let place = &mut self.nodes[usize::from(node)];
                    if !place.signer.holds(&record.statement()) {
                        place.disk.journal.push(Entry::Record(record.clone()));
                    }
                    votes.push((record, to));
                }
                Effect::Note { entered } => self.nodes[usize::from(node)].disk.journal.push(Entry::Entered(entered)),
                Effect::Send { message, to } => self.send(node, &message, &to),
                Effect::Build(build) => {
                    let delay = self.random.between(0, self.weather.execute_max_ms);
                    self.schedule_job(node, delay, Job::Build(build));
                }
                Effect::Execute { block, header, references, .. } => {
                    let delay = self.random.between(0, self.weather.execute_max_ms);
                    self.schedule_job(node, delay, Job::Execute { block, header: Box::new(header), references });
                }
                Effect::Fetch { want, from } => {
                    let delay = self.random.between(self.weather.delay_min_ms, self.weather.delay_max_ms);
                    self.schedule_job(node, 2 * delay, Job::Fetch { want, from });
                }
                Effect::Commit { blocks, certificate } => {
                    let executed: Vec<Executed> =
                        blocks.iter().map(|id| self.nodes[usize::from(node)].executor.executed[id].clone()).collect();
                    self.commit(node, executed, certificate);
                    let height = self.nodes[usize::from(node)].executor.tip().height;
                    self.schedule_job(node, 1, Job::Committed { height });
                }
                Effect::Report { evidence } => self.evidence.push(evidence),
                Effect::Alarm(alarm) => self.alarms.push((node, alarm)),
            }
        }
        if !votes.is_empty() {
            let up_to = self.nodes[usize::from(node)].disk.journal.len();
            // One disk, one queue: a later sync never ends before an earlier one.
            let done = self.now + self.random.between(1, self.weather.sync_max_ms.max(1));
            let place = &mut self.nodes[usize::from(node)];
            place.synced_at = place.synced_at.max(done);
            let delay = place.synced_at - self.now;
            self.schedule_job(node, delay, Job::Synced { up_to, records: votes });
        }
    }

    fn commit(&mut self, node: Peer, blocks: Vec<Executed>, certificate: mingzhang_ledger::certificate::FinalCert) {
        self.note_final(&blocks);
        let place = &mut self.nodes[usize::from(node)];
        for block in &blocks {
            assert_eq!(block.height, place.executor.tip().height + 1, "blocks are committed in height order");
            place.executor.executed.insert(block.id, block.clone());
            place.executor.apply(block.id);
        }
        place.signer.finalise(certificate.turn);
        place.disk.journal.push(Entry::Commit(blocks, certificate));
    }

    pub fn send(&mut self, from: Peer, message: &Message, to: &Audience) {
        let peers: Vec<Peer> = match to {
            Audience::Everybody => (0..self.members()).filter(|peer| *peer != from).collect(),
            Audience::Peers(peers) => peers.clone(),
        };
        for to in peers {
            assert_ne!(to, from, "nothing is sent to oneself");
            if self.can_reach(from, to) {
                self.send_as(from, to, message.clone());
            }
        }
    }

    pub fn perform(&mut self, node: Peer, job: Job) {
        match job {
            Job::Tick { at } => {
                let place = &mut self.nodes[usize::from(node)];
                if place.tick_at == Some(at) {
                    place.tick_at = None;
                }
                self.step(node, Input::Tick);
            }
            Job::Synced { up_to, records } => {
                self.nodes[usize::from(node)].disk.sync(up_to);
                for (record, to) in records {
                    self.sign(node, &record, &to);
                }
            }
            Job::Build(build) => {
                let epoch = self.epoch.clone();
                let place = &mut self.nodes[usize::from(node)];
                let input = match place.executor.build(&build, &epoch, &self.contents) {
                    Some(block) => {
                        let header = block.header.expect("a built block has a header");
                        Input::Built {
                            turn: build.turn,
                            draft: Draft { header, references: block.references, acted: false },
                        }
                    }
                    None => Input::BuildFailed { turn: build.turn },
                };
                self.step(node, input);
            }
            Job::Execute { block, header, references } => {
                let epoch = self.epoch.clone();
                let place = &mut self.nodes[usize::from(node)];
                let verdict = place.executor.execute(&header, &references, &epoch, &self.contents);
                self.step(node, Input::Executed { block, verdict });
            }
            Job::Committed { height } => {
                self.step(node, Input::Committed { height });
                self.tell_work(node);
            }
            Job::Fetch { want, from } => {
                let reachable =
                    from.into_iter().find(|peer| self.can_reach(node, *peer) && self.can_reach(*peer, node));
                if let Some(peer) = reachable {
                    self.fetch(node, want, peer);
                }
            }
        }
    }

    /// Signs what is durable, under the signer's own book.
    fn sign(&mut self, node: Peer, record: &SafetyRecord, to: &Audience) {
        let place = &mut self.nodes[usize::from(node)];
        let signed_before = place.signer.holds(&record.statement());
        let durable = signed_before
            || place.disk.journal.iter().take(place.disk.synced).rev().any(|entry| match entry {
                Entry::Record(stored) => stored == record,
                Entry::Entered(_) | Entry::Batch(_) | Entry::Commit(..) | Entry::Admitted(_) => false,
            });
        assert!(durable, "a vote leaves before its record is durable");
        match place.signer.admit(record) {
            Ok(()) => {}
            Err(SafetyFault::Final { .. }) => return,
            Err(fault) => panic!("the signer refuses what the core allowed: {fault}"),
        }
        let vote = record.vote(node, name_of(node));
        self.note_signed(&vote);
        let message = record.outgoing(node, name_of(node), Vec::new(), &self.epoch);
        self.send(node, &message, to);
        self.step(node, Input::Message { from: node, message: Verified::own(vote) });
    }

    fn fetch(&mut self, node: Peer, want: Want, peer: Peer) {
        match want {
            Want::Block { id } => {
                let place = &self.nodes[usize::from(peer)];
                let found = place.executor.executed.get(&id).or_else(|| place.disk.chain().find(|b| b.id == id));
                if let Some((header, block)) = found.and_then(|block| Some((block.header?, block.clone()))) {
                    let found = Found::Block { header, positions: block.positions, references: block.references };
                    self.step(node, Input::Fetched { found });
                }
            }
            Want::Batches { block, references } => {
                self.fetch_batches(node, &references, peer);
                if references.iter().all(|r| self.nodes[usize::from(node)].executor.holds(r)) {
                    self.step(node, Input::Fetched { found: Found::Batches { block } });
                }
            }
            Want::Announced { references } => self.fetch_batches(node, &references, peer),
            Want::Range { .. } => {
                let height = self.nodes[usize::from(node)].executor.tip().height;
                let theirs = &self.nodes[usize::from(peer)].disk;
                let blocks: Vec<Executed> = theirs.chain().filter(|block| block.height > height).cloned().collect();
                let certificate = theirs.last_certificate().cloned();
                if let (Some(last), Some(certificate)) = (blocks.last().cloned(), certificate) {
                    let header = last.header.expect("only genesis has none");
                    self.commit(node, blocks, certificate.clone());
                    self.step(node, Input::Fetched { found: Found::Range { header, certificate } });
                    self.tell_work(node);
                }
            }
        }
    }

    fn fetch_batches(&mut self, node: Peer, references: &[Reference], peer: Peer) {
        for reference in references {
            let theirs = self.nodes[usize::from(peer)].executor.holds(reference);
            if theirs && !self.nodes[usize::from(node)].executor.holds(reference) {
                self.hold(node, *reference);
            }
        }
    }
}
