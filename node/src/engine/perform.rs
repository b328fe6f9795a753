//! Performing effects: notes and records to disk with one sync, then votes, messages, work and fetches in the order
//! in which consensus asked for them.

use mingzhang_consensus::safety::{SafetyFault, SafetyRecord};
use mingzhang_consensus::verify::Verified;
use mingzhang_consensus::{Audience, Effect, Input, Want};
use mingzhang_ledger::batch::Batch;

use super::worker::Job;
use super::{Engine, EngineFault, Fetch};
use crate::signer::{SignedVote, SignerFault};
use crate::store::Durable;

impl Engine {
    /// Performs effects and all that follow from the own votes among them.
    pub(super) fn perform(&mut self, effects: Vec<Effect>) -> Result<(), EngineFault> {
        let mut effects = effects;
        loop {
            // However finality became known, also by catching up: nothing at or below it is signed any more.
            self.signer.finalise(self.turns.final_point().1);
            if effects.is_empty() {
                return Ok(());
            }
            effects = self.perform_once(effects)?;
        }
    }

    /// One sync for all records, then everything in order. Returns what the own votes caused.
    fn perform_once(&mut self, effects: Vec<Effect>) -> Result<Vec<Effect>, EngineFault> {
        let mut records: Vec<SafetyRecord> = Vec::new();
        for effect in &effects {
            match effect {
                Effect::Note { entered } => {
                    self.parts.store.note(self.turns.epoch(), entered)?;
                    self.parts.mempool.reach(entered.just.turn);
                    self.queues.status.send_modify(|status| status.turn = entered.just.turn);
                }
                Effect::Vote { record, .. } => records.push(record.clone()),
                _ => {}
            }
        }
        let durable = match records.is_empty() {
            true => None,
            false => Some(self.parts.store.persist(self.turns.epoch(), records)?.each()),
        };
        let mut durable = durable.into_iter().flatten();
        let mut following = Vec::new();
        for effect in effects {
            if let Effect::Vote { to, .. } = &effect
                && let Some(record) = durable.next()
            {
                following.extend(self.vote(record, to)?);
            } else {
                self.perform_one(effect)?;
            }
        }
        Ok(following)
    }

    /// Signs, sends, and hands the copy back to consensus, which counts it only then. A vote for a turn that has become
    /// final meanwhile is of no use; any other refusal stops the process.
    fn vote(&mut self, record: Durable<SafetyRecord>, to: &Audience) -> Result<Vec<Effect>, EngineFault> {
        let vote: Durable<SignedVote> = match self.signer.sign(record) {
            Ok(vote) => vote,
            Err(SignerFault::Contradiction(SafetyFault::Final { .. })) => return Ok(Vec::new()),
            Err(fault) => return Err(fault.into()),
        };
        let attached = self.attached(&vote.record);
        self.parts.network.vote(&vote, attached, to, self.turns.epoch());
        let Some(me) = self.me else { return Ok(Vec::new()) };
        let copy = Input::Message { from: me, message: Verified::own(vote.vote) };
        Ok(self.turns.step(self.parts.clock.now_ms(), copy))
    }

    /// The batches of a proposal, for those whom gossip has not reached yet.
    fn attached(&self, record: &SafetyRecord) -> Vec<Batch> {
        let SafetyRecord::Endorsed(endorsed) = record else { return Vec::new() };
        if !self.me.is_some_and(|me| record.is_proposal(me, self.turns.epoch())) {
            return Vec::new();
        }
        self.parts.mempool.attached(&endorsed.references)
    }

    fn perform_one(&mut self, effect: Effect) -> Result<(), EngineFault> {
        match effect {
            Effect::Note { .. } | Effect::Vote { .. } => {}
            Effect::Send { message, to } => self.parts.network.relay(&message, &to, self.turns.epoch()),
            Effect::Build(build) => self.assign(Job::Build(build))?,
            Effect::Execute { block, parent: _, header, references } => {
                self.assign(Job::Execute { block, header: Box::new(header), references })?;
            }
            Effect::Commit { blocks, certificate } => self.assign(Job::Commit { blocks, certificate })?,
            Effect::Keep { blocks, from } => self.assign(Job::Keep { blocks: blocks.into_iter().collect(), from })?,
            Effect::Fetch { want, from } => self.fetch(want, from),
            Effect::Report { evidence } => {
                self.parts.store.put_evidence(&evidence, self.turns.epoch())?;
            }
            Effect::Alarm(alarm) => self.show_alarm(&alarm),
        }
        Ok(())
    }

    /// Consensus has a bounded number of jobs out at a time, fewer than the queue holds.
    fn assign(&mut self, job: Job) -> Result<(), EngineFault> {
        self.queues.jobs.try_send(job).map_err(|_| EngineFault::ExecutorGone)
    }

    /// A fetch that finds the queue full is asked for again within a second.
    fn fetch(&mut self, want: Want, from: Vec<u16>) {
        let catching_up = matches!(want, Want::Range { .. });
        if catching_up {
            self.queues.status.send_modify(|status| status.catching_up = true);
        }
        if self.queues.fetches.try_send(Fetch { want, from }).is_err() {
            tracing::debug!("a fetch found its queue full");
        }
    }
}
