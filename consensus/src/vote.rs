//! Proposals and votes as they come in, and what this node says about a block once it knows enough. Every rule looks
//! at the present state only, so it may be asked again after every step, and nothing that arrives late is lost.

use std::sync::Arc;

use mingzhang_ledger::certificate::FinalCert;

use crate::chain::Status;
use crate::effect::{Alarm, Effect};
use crate::evidence::Evidence;
use crate::justification::{EndorseCert, Just, Parent, SkipCert};
use crate::message::Proposal;
use crate::mutants;
use crate::safety::{Endorsed, SafetyRecord};
use crate::statement::{Kind, Statement, Vote};
use crate::tally::Seen;
use crate::{Peer, Turn, Turns, window};

impl Turns {
    pub(crate) fn on_proposal(&mut self, from: Peer, mut proposal: Proposal) {
        let turn = proposal.turn();
        if turn <= self.last_final.turn {
            if self.may_answer(from) {
                self.send_where_we_are(from);
            }
            return;
        }
        if turn > self.cur.saturating_add(self.window()) {
            return;
        }
        self.share(&mut proposal.just);
        // Before the vote is counted: it may complete the certificate that moves this node on.
        let (timely, vote) = (self.is_timely(proposal.header.time_ms, turn), proposal.vote(&self.setup.epoch));
        let Statement::Endorse { block, just: just_hash, .. } = vote.statement else { return };
        self.note_signer(&vote);
        self.tally(vote, from);
        let state = self.turns.entry(turn).or_default();
        let certified = state.endorse_cert.as_ref();
        let is_certified = certified.is_some_and(|certificate| certificate.block == block);
        let is_its_just = certified.is_some_and(|certificate| certificate.just == just_hash);
        if turn < self.cur && !is_certified {
            self.answer_with_just(from);
            return;
        }
        // Nobody else hands it on: the references beside it are not signed, so only its author may speak for them.
        let is_its_author = from == self.setup.epoch.proposer(turn);
        let first = is_its_author && state.proposal.is_none() && turn > self.last_final.turn;
        let is_spoilt = is_certified && state.spoilt;
        if first {
            state.proposal = Some(Seen { block, just_hash, timely });
            self.flow.begin(turn, self.steady_ms);
        }
        if first || is_its_just {
            state.justs.insert(just_hash, proposal.just.clone());
        }
        if is_its_author && (first || is_certified) && !is_spoilt {
            self.blocks.insert(proposal.header, proposal.references);
        }
        self.note_seen(from, turn);
        self.learn_just(proposal.just);
    }

    pub(crate) fn on_vote(&mut self, from: Peer, vote: Vote) {
        let turn = vote.statement.turn();
        if vote.statement.kind() == Kind::Skip && turn < self.cur && Some(from) != self.setup.me {
            self.answer_with_just(from);
        }
        // Also of a turn that is final already: whoever confirmed it last needs no justification of the next.
        self.note_signer(&vote);
        if turn > self.last_final.turn && turn <= self.cur.saturating_add(self.window()) {
            self.tally(vote, from);
        } else {
            self.check_own(&vote);
        }
    }

    /// What a verified vote shows of where its signer stands.
    fn note_signer(&mut self, vote: &Vote) {
        let (turn, kind) = (vote.statement.turn(), vote.statement.kind());
        let beyond = turn > self.cur.saturating_add(self.window());
        // What is far ahead would count for ever, and what was said before shows nothing new.
        let Some(peer) = self.peer(vote.signer).filter(|_| !beyond) else { return };
        let seen = if kind == Kind::Confirm { turn.saturating_add(1) } else { turn };
        peer.seen = peer.seen.max(seen);
        if turn > peer.signed {
            (peer.signed, peer.strikes) = (turn, 0);
        }
    }

    /// Counts a vote; a quorum of equal statements is a certificate, a contradiction is evidence.
    fn tally(&mut self, vote: Vote, from: Peer) {
        self.check_own(&vote);
        let (turn, statement) = (vote.statement.turn(), vote.statement);
        let quorum = self.setup.epoch.set.quorum();
        let state = self.turns.entry(turn).or_default();
        let tallied = state.record(&vote);
        let mut signers = state.signers(&statement);
        let mut weight = state.weight(&statement, &signers);
        if mutants::CONFIRM_WITHOUT_TURN.on() && statement.kind() == Kind::Confirm {
            signers = self.confirmers(&statement);
            weight = signers.len();
        }
        if let Some(first) = tallied.contradicts {
            self.effects.push(Effect::Report { evidence: Evidence::TwoVotes { first, second: vote } });
        }
        if !tallied.counted && !mutants::DUPLICATE_SIGNER.on() {
            return;
        }
        self.accuse_late_signer(vote);
        if statement.kind() == Kind::Skip && vote.signer == self.setup.epoch.proposer(turn) {
            self.cast_skip(turn);
        }
        if weight < quorum {
            return;
        }
        match statement {
            Statement::Endorse { epoch, turn, height, block, just } => {
                self.on_endorse_cert(EndorseCert { epoch, turn, height, block, just, signers });
            }
            Statement::Skip { epoch, turn } => self.on_skip_cert(Arc::new(SkipCert { epoch, turn, signers }), from),
            Statement::Confirm { epoch, turn, height, block } => {
                self.on_final_cert(FinalCert { epoch, turn, height, block, signers });
            }
        }
    }

    pub(crate) fn on_justify(&mut self, from: Peer, mut just: Just) {
        self.share(&mut just);
        self.note_seen(from, just.turn);
        if just.turn < self.cur && self.may_answer(from) {
            self.send_where_we_are(from);
        }
        self.learn_just(just);
    }

    /// Certificates that are kept already are kept once.
    fn share(&self, just: &mut Just) {
        for skip in &mut just.skips {
            let known = self.turns.get(&skip.turn).and_then(|state| state.skip_cert.as_ref());
            if let Some(known) = known.filter(|known| *known == skip) {
                *skip = Arc::clone(known);
            }
        }
    }

    /// Takes in a verified justification: its certificates, and the turn that it starts.
    fn learn_just(&mut self, just: Just) {
        for skip in just.skips.iter().filter(|skip| skip.turn > self.last_final.turn).cloned().collect::<Vec<_>>() {
            self.store_skip_cert(skip);
        }
        if let Some(state) = self.turns.get_mut(&just.turn) {
            let hash = just.hash(&self.setup.epoch);
            if state.endorse_cert.as_ref().is_some_and(|certificate| certificate.just == hash) {
                state.justs.insert(hash, just.clone());
            }
        }
        let parent = just.parent.clone();
        if just.turn > self.cur {
            self.enter(just);
        }
        match parent {
            Parent::Start(_) => {}
            Parent::Endorsed(certificate) => self.on_endorse_cert(certificate),
            Parent::Final(certificate) => self.on_final_cert(certificate),
        }
        self.enter_after_skips();
    }

    /// Says what is to be said about every turn above the final one.
    pub(crate) fn review(&mut self) {
        let certified = self.turns.iter().filter(|(_, state)| state.endorse_cert.is_some());
        for turn in certified.map(|(turn, _)| *turn).collect::<Vec<_>>() {
            self.review_certified(turn);
        }
        self.review_passed();
        self.review_proposal();
    }

    /// Whoever is on turn may have passed it before this node entered it.
    fn review_passed(&mut self) {
        let proposer = self.setup.epoch.proposer(self.cur);
        if self.turns.get(&self.cur).is_some_and(|state| state.vote_of(Kind::Skip, proposer).is_some()) {
            self.cast_skip(self.cur);
        }
    }

    /// Endorses the proposal of the current turn, or gives the turn up.
    fn review_proposal(&mut self) {
        let turn = self.cur;
        let Some(state) = self.turns.get(&turn) else { return };
        let Some(seen) = state.proposal.clone() else { return };
        if self.book.entry(turn).is_some_and(|entry| entry.endorsed.is_some() || entry.skipped) {
            return;
        }
        let Some(just) = state.justs.get(&seen.just_hash) else { return };
        let Some(block) = self.blocks.get(&seen.block) else { return };
        let header = block.header;
        let verdict = match block.status {
            Status::Valid { .. } => Some(true),
            Status::Invalid { .. } => Some(false),
            Status::Known | Status::Executing | Status::Missing(_) => None,
        };
        let Some(words) = self.check_header(&header, just) else { return };
        let reproposal = header.turn != turn;
        if words.is_err() || verdict == Some(false) || !(seen.timely || reproposal) {
            self.cast_skip(turn);
        } else if verdict == Some(true) {
            let (just, references) = (just.clone(), block.references.clone());
            let endorsed = Endorsed { turn, header, references, just, just_hash: seen.just_hash };
            self.emit_vote(SafetyRecord::Endorsed(Box::new(endorsed)));
        }
    }

    /// Confirms a certified block: at once if it was endorsed here, else, by the late path, as soon as it is
    /// validated. Without the late path f members could deny finality for ever.
    fn review_certified(&mut self, turn: Turn) {
        let Some(state) = self.turns.get(&turn) else { return };
        let Some(certificate) = &state.endorse_cert else { return };
        let block = self.blocks.get(&certificate.block);
        if let Some(Status::Invalid { reason }) = block.map(|block| &block.status) {
            let (block, reason) = (certificate.block, reason.clone());
            return self.halt(Alarm::QuorumAgainstMe { turn, block, reason });
        }
        if let Some(entry) = self.book.entry(turn) {
            if (entry.skipped && !mutants::CONFIRM_AFTER_SKIP.on()) || entry.confirmed.is_some() {
                return;
            }
            let overwrite = mutants::ENDORSED_OVERWRITTEN.on()
                && entry.endorsed.as_ref().is_some_and(|own| own.just_hash != certificate.just);
            if let Some(endorsed) = entry.endorsed.as_ref().filter(|_| !overwrite) {
                if endorsed.block() == certificate.block {
                    let certificate = certificate.clone();
                    self.emit_vote(SafetyRecord::Confirmed { certificate, late: None });
                }
                return;
            }
        }
        if mutants::NO_LATE_PATH.on() {
            return;
        }
        let Some(block) = block.filter(|block| matches!(block.status, Status::Valid { .. })) else { return };
        let Some(just) = state.justs.get(&certificate.just) else { return };
        match self.check_header(&block.header, just) {
            None => {}
            Some(Err(reason)) => {
                let block = certificate.block;
                self.halt(Alarm::QuorumAgainstMe { turn, block, reason: reason.to_owned() });
            }
            Some(Ok(())) => {
                let (header, references) = (block.header, block.references.clone());
                let late = Endorsed { turn, header, references, just_hash: certificate.just, just: just.clone() };
                let certificate = certificate.clone();
                self.emit_vote(SafetyRecord::Confirmed { certificate, late: Some(Box::new(late)) });
            }
        }
    }

    /// Who confirmed this block in any turn.
    fn confirmers(&self, statement: &Statement) -> mingzhang_ledger::certificate::Signers {
        let votes = self.turns.values().flat_map(|state| state.of_kind(Kind::Confirm));
        let same = votes.filter(|vote| vote.statement.block() == statement.block());
        mingzhang_ledger::certificate::Signers::new(same.map(|vote| (vote.signer, vote.signature)))
    }

    /// Turns ahead of the current one of which anything is kept.
    pub(crate) fn window(&self) -> Turn {
        window(self.setup.epoch.members())
    }
}
