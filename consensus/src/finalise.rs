//! From a quorum of endorsements to a final block: what an endorsement certificate and a final certificate bring, and
//! handing final blocks to the store in height order.

use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::header::Header;

use crate::chain::{Status, WalkEnd};
use crate::effect::{Alarm, Effect};
use crate::justification::{EndorseCert, Just, Parent};
use crate::message::Message;
use crate::safety::{Entered, SafetyRecord};
use crate::statement::Statement;
use crate::{BlockId, Height, Signing, Tip, Turn, Turns};

/// The highest block known to be final, applied or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastFinal {
    pub(crate) turn: Turn,
    pub(crate) height: Height,
    pub(crate) block: BlockId,
    /// None for the block that opened the epoch.
    pub(crate) certificate: Option<FinalCert>,
    /// None until the block is known here.
    pub(crate) header: Option<Header>,
}

impl Turns {
    pub(crate) fn on_endorse_cert(&mut self, certificate: EndorseCert) {
        let turn = certificate.turn;
        if turn <= self.last_final.turn {
            if turn == self.last_final.turn && certificate.block != self.last_final.block {
                self.halt(Alarm::Divergence { turn });
            }
            return;
        }
        let state = self.turns.entry(turn).or_default();
        if let Some(known) = &state.endorse_cert {
            if (known.block, known.just) != (certificate.block, certificate.just) {
                self.halt(Alarm::Divergence { turn });
            }
            return;
        }
        state.endorse_cert = Some(certificate.clone());
        self.check_own_part(certificate.statement(), &certificate.signers);
        let records = self.blocks.get(&certificate.block).map_or(0, |block| u64::from(block.header.entry_count));
        self.flow.endorsed(turn, records, self.steady_ms);
        let proposer = self.setup.epoch.proposer(turn);
        if let Some(peer) = self.peer(proposer) {
            peer.strikes = 0;
        }
        if turn >= self.cur {
            self.enter(Just::after_endorsed(certificate));
            self.enter_after_skips();
        } else if turn > self.just.parent.turn() {
            self.shorten(certificate);
        }
    }

    /// The current turn now builds on a higher parent, so its justification needs fewer skips.
    fn shorten(&mut self, certificate: EndorseCert) {
        let above = certificate.turn;
        let just = Just {
            epoch: self.just.epoch,
            turn: self.cur,
            skips: self.just.skips.iter().filter(|skip| skip.turn > above).cloned().collect(),
            parent: Parent::Endorsed(certificate),
        };
        match just.check_complete() {
            Ok(()) => {
                self.just = just.clone();
                self.effects.push(Effect::Note { entered: Entered { just } });
            }
            Err(fault) => self.halt(Alarm::Invariant { rule: format!("shortened justification {fault}") }),
        }
    }

    pub(crate) fn on_final_cert(&mut self, certificate: FinalCert) {
        let turn = certificate.turn;
        if turn <= self.last_final.turn {
            if turn == self.last_final.turn && certificate.block != self.last_final.block {
                self.halt(Alarm::Divergence { turn });
            }
            return;
        }
        if let Some(state) = self.turns.get(&turn) {
            let other = state.endorse_cert.as_ref().is_some_and(|known| known.block != certificate.block);
            if other || state.skip_cert.is_some() {
                self.halt(Alarm::Divergence { turn });
            }
        }
        let (epoch, height, block) = (certificate.epoch, certificate.height, certificate.block);
        self.check_own_part(Statement::Confirm { epoch, turn, height, block }, &certificate.signers);
        self.last_final = LastFinal {
            turn,
            height: certificate.height,
            block: certificate.block,
            header: self.blocks.get(&certificate.block).map(|block| block.header),
            certificate: Some(certificate.clone()),
        };
        self.book.finalise(turn);
        self.turns = self.turns.split_off(&turn.saturating_add(1));
        self.progress_ms = self.steady_ms;
        if turn >= self.cur {
            self.enter(Just::after_final(certificate));
            self.enter_after_skips();
        } else {
            self.forget_old_turns();
            if turn > self.just.parent.turn() {
                // The current turn's justification skips a turn that is final.
                self.halt(Alarm::Divergence { turn });
            }
        }
    }

    pub(crate) fn on_final(&mut self, from: crate::Peer, header: Header, certificate: FinalCert) {
        self.note_seen(from, certificate.turn.saturating_add(1));
        if certificate.turn < self.last_final.turn {
            if self.may_answer(from) {
                self.send_where_we_are(from);
            }
            return;
        }
        self.on_final_cert(certificate);
        self.note_final_header(&header);
    }

    /// The header of the last final block, from wherever it came.
    pub(crate) fn note_final_header(&mut self, header: &Header) {
        if self.last_final.header.is_none() && header.id() == self.last_final.block {
            self.last_final.header = Some(*header);
        }
    }

    pub(crate) fn final_message(&self) -> Option<Message> {
        let certificate = self.last_final.certificate.clone()?;
        Some(Message::Final { header: self.last_final.header?, certificate })
    }

    /// Whether a final boundary block closed this epoch: nothing is proposed or signed in it any more.
    pub(crate) fn closed(&self) -> bool {
        self.last_final.certificate.is_some() && self.last_final.header.is_some_and(|header| header.is_boundary())
    }

    /// Hands over what is final, executed and not yet applied.
    pub(crate) fn commit_final(&mut self) {
        if self.last_final.height <= self.tip.height || self.committing.is_some() {
            return;
        }
        let Some(certificate) = self.last_final.certificate.clone() else { return };
        let walk = self.walk(&certificate.block);
        match walk.end {
            WalkEnd::Unknown(_) => return,
            WalkEnd::Fork => return self.halt(Alarm::Divergence { turn: certificate.turn }),
            WalkEnd::Tip => {}
        }
        for id in &walk.known {
            match self.blocks.get(id).map(|block| block.status.clone()) {
                Some(Status::Valid { .. }) => {}
                Some(Status::Invalid { reason }) => {
                    return self.halt(Alarm::QuorumAgainstMe { turn: certificate.turn, block: *id, reason });
                }
                Some(Status::Known | Status::Executing | Status::Missing(_)) | None => return,
            }
        }
        let Some(header) = self.blocks.get(&certificate.block).map(|block| block.header) else { return };
        self.note_final_header(&header);
        self.committing = Some(Tip {
            height: header.height,
            block: certificate.block,
            turn: certificate.turn,
            time_ms: header.time_ms,
        });
        let blocks = walk.known.into_iter().rev().collect();
        self.effects.push(Effect::Commit { blocks, certificate });
    }

    pub(crate) fn on_committed(&mut self, height: Height) {
        if let Some(tip) = self.committing.filter(|tip| tip.height <= height) {
            self.committing = None;
            self.move_tip(tip);
        }
    }

    /// A range that the engine fetched, executed and committed.
    pub(crate) fn on_range(&mut self, header: &Header, certificate: FinalCert) {
        let (block, turn) = (header.id(), certificate.turn);
        let ours = certificate.epoch == self.setup.epoch.number() && header.epoch == certificate.epoch;
        if !ours || certificate.block != block || certificate.height != header.height {
            return;
        }
        self.on_final_cert(certificate);
        self.note_final_header(header);
        self.move_tip(Tip { height: header.height, block, turn, time_ms: header.time_ms });
    }

    fn move_tip(&mut self, tip: Tip) {
        if tip.height <= self.tip.height {
            return;
        }
        self.tip = tip;
        self.proposed = self.proposed.split_off(&tip.turn.saturating_add(1));
        self.blocks.prune(tip.height);
        if self.committing.is_some_and(|committing| committing.height <= tip.height) {
            self.committing = None;
        }
    }

    pub(crate) fn note_proposal(&mut self, record: &SafetyRecord) {
        if self.setup.me.is_some_and(|me| record.is_proposal(me, &self.setup.epoch)) {
            self.proposed.insert(record.turn());
        }
    }

    /// The only place where a vote is made. The book is asked first: what it refuses would have broken an invariant.
    pub(crate) fn emit_vote(&mut self, record: SafetyRecord) {
        let allowed = self.signing == Signing::Allowed && self.setup.me.is_some() && !self.closed();
        if !allowed || record.turn() <= self.last_final.turn {
            return;
        }
        match self.book.admit(&record) {
            Ok(()) => {
                self.note_proposal(&record);
                // Said just now: said again a full interval later.
                self.retransmitted_ms = self.steady_ms;
                self.effects.push(Effect::Vote { record, to: crate::Audience::Everybody });
            }
            Err(fault) => self.halt(Alarm::Invariant { rule: fault.to_string() }),
        }
    }

    /// Signs nothing any more, and tells the operator once.
    pub(crate) fn halt(&mut self, alarm: Alarm) {
        if self.signing != Signing::Halted {
            self.signing = Signing::Halted;
            self.effects.push(Effect::Alarm(alarm));
        }
    }
}
