//! This node's own turn: when it proposes, on which parent, and what.

use std::sync::Arc;

use crate::chain::Base;
use crate::effect::{Alarm, Build, Effect};
use crate::input::Draft;
use crate::justification::{Just, Parent, SkipCert};
use crate::message::MAX_REFERENCES;
use crate::mutants;
use crate::safety::{Endorsed, SafetyRecord};
use crate::{BlockId, Millis, Signing, Turn, Turns};

/// A block that the engine is building.
#[derive(Debug, Clone)]
pub(crate) struct Building {
    turn: Turn,
    just: Just,
}

impl Turns {
    /// Whether this node may still propose in the current turn.
    pub(crate) fn is_my_turn(&self) -> bool {
        let untouched = self.book.entry(self.cur).is_none_or(|entry| entry.endorsed.is_none() && !entry.skipped);
        self.setup.me == Some(self.setup.epoch.proposer(self.cur))
            && self.signing == Signing::Allowed
            && self.building.is_none()
            && untouched
            && !self.closed()
    }

    pub(crate) fn propose_if_due(&mut self) {
        if !self.is_my_turn() {
            return;
        }
        if !self.healthy {
            return self.cast_skip(self.cur);
        }
        let Some(just) = self.proposal_just() else { return };
        let Some(base) = self.base(&just.parent) else { return };
        if self.wall_ms < self.propose_time(base) {
            return;
        }
        let parent = just.parent.block(&self.setup.epoch);
        if base.boundary && !mutants::CHILD_OF_BOUNDARY.on() {
            return self.propose_again(parent, just);
        }
        let (max_records, max_bytes) = self.block_limits(&just);
        let build = Build {
            turn: self.cur,
            parent,
            height: just.parent.height(&self.setup.epoch).saturating_add(1),
            parent_turn: just.parent.turn(),
            proposer: self.setup.epoch.proposer(self.cur),
            time_ms: self.wall_ms.max(base.time_ms.saturating_add(1)),
            max_records,
            max_bytes,
        };
        self.building = Some(Building { turn: self.cur, just });
        self.flow.begin(self.cur, self.steady_ms);
        self.effects.push(Effect::Build(build));
    }

    /// The earliest wall time at which a child of this parent is proposed.
    pub(crate) fn propose_time(&self, base: Base) -> Millis {
        let interval = if self.work.full || base.boundary { 0 } else { self.parameters().min_block_interval_ms };
        base.time_ms.saturating_add(interval).max(self.propose_not_before_ms)
    }

    /// The justification to propose under: the current one, or, if its parent's block cannot be had in time and its
    /// turn was skipped too, that of the next lower certified vertex.
    pub(crate) fn proposal_just(&self) -> Option<Just> {
        if self.is_ready(&self.just.parent.block(&self.setup.epoch)) {
            return Some(self.just.clone());
        }
        if self.steady_ms < self.give_up_parent_ms() {
            return None;
        }
        let mut skips: Vec<Arc<SkipCert>> = self.just.skips.clone();
        let mut at = self.just.parent.turn();
        while at > self.last_final.turn {
            let state = self.turns.get(&at)?;
            skips.insert(0, state.skip_cert.clone()?);
            at = at.saturating_sub(1);
            let parent = if at == self.last_final.turn {
                match &self.last_final.certificate {
                    Some(certificate) => Some(Parent::Final(certificate.clone())),
                    None => Some(Just::opening(&self.setup.epoch).parent),
                }
            } else {
                self.turns.get(&at).and_then(|state| state.endorse_cert.clone()).map(Parent::Endorsed)
            };
            let ready = parent.filter(|parent| self.is_ready(&parent.block(&self.setup.epoch)));
            if let Some(parent) = ready {
                return Some(Just { epoch: self.just.epoch, turn: self.cur, parent, skips });
            }
        }
        None
    }

    /// When a lower parent is good enough: a quarter of the turn.
    pub(crate) fn give_up_parent_ms(&self) -> Millis {
        self.entered_ms.saturating_add(self.timeout_ms() >> 2)
    }

    /// Empty above `max_unfinal` blocks without finality, as small as the network's pace asks for, and smaller while
    /// turns keep failing.
    fn block_limits(&self, just: &Just) -> (u64, u64) {
        let parameters = self.parameters();
        let depth = just.parent.height(&self.setup.epoch).saturating_sub(self.last_final.height);
        if depth >= parameters.max_unfinal {
            return (0, 0);
        }
        let (most, most_bytes) = (parameters.max_block_records, parameters.max_block_bytes);
        let shift = u32::try_from(self.backoff().min(6)).unwrap_or(6);
        let records = (self.flow.limit(most, self.execution_target_ms()) >> shift).max(1);
        let bytes = most_bytes.saturating_mul(records).checked_div(most).unwrap_or(most_bytes);
        (records, bytes.max(1))
    }

    /// How long a block shall take from its proposal to its certificate: a small part of a turn, so that a slower
    /// moment does not fail it, and short enough for those who wait.
    pub(crate) fn execution_target_ms(&self) -> Millis {
        self.parameters().turn_timeout_ms >> 3
    }

    /// After a boundary block only the block itself may follow in its epoch.
    fn propose_again(&mut self, block: BlockId, just: Just) {
        let Some(block) = self.blocks.get(&block) else { return };
        let endorsed = Endorsed {
            turn: self.cur,
            header: block.header,
            references: block.references.clone(),
            just_hash: just.hash(&self.setup.epoch),
            just,
        };
        self.emit_vote(SafetyRecord::Endorsed(Box::new(endorsed)));
    }

    pub(crate) fn on_built(&mut self, turn: Turn, draft: Draft) {
        let Some(building) = self.building.take_if(|building| building.turn == turn) else { return };
        if (turn != self.cur || !self.is_my_turn()) && !mutants::RESULT_NOT_RECHECKED.on() {
            return;
        }
        let Some(base) = self.base(&building.just.parent) else { return };
        let empty_from = base.time_ms.saturating_add(self.parameters().min_empty_interval_ms);
        if draft.header.entry_count == 0 && draft.header.time_ms < empty_from {
            self.propose_not_before_ms = empty_from;
            return;
        }
        let block = draft.header.id();
        let words = self.check_header(&draft.header, &building.just);
        if words != Some(Ok(())) || draft.references.len() > MAX_REFERENCES {
            let reason = "the block that was built is not the one that was asked for".to_owned();
            self.effects.push(Effect::Alarm(Alarm::ExecutionFailed { block, reason }));
            return self.cast_skip(turn);
        }
        self.blocks.insert(draft.header, draft.references.clone());
        if let Some(known) = self.blocks.get_mut(&block) {
            known.status = crate::chain::Status::Valid { acted: draft.acted };
        }
        let just_hash = building.just.hash(&self.setup.epoch);
        self.turns.entry(turn).or_default().justs.insert(just_hash, building.just.clone());
        let endorsed =
            Endorsed { turn, header: draft.header, references: draft.references, just: building.just, just_hash };
        self.emit_vote(SafetyRecord::Endorsed(Box::new(endorsed)));
    }

    pub(crate) fn on_build_failed(&mut self, turn: Turn) {
        if self.building.take_if(|building| building.turn == turn).is_some() {
            self.cast_skip(turn);
        }
    }
}
