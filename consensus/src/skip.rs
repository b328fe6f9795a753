//! Giving a turn up: when this node says SKIP, and what a quorum of it brings.

use std::sync::Arc;

use crate::justification::SkipCert;
use crate::message::{Ask, Message};
use crate::mutants;
use crate::safety::SafetyRecord;
use crate::{Peer, Turn, Turns};

impl Turns {
    /// Allowed after ENDORSE in the same turn; never after CONFIRM, and never twice.
    pub(crate) fn cast_skip(&mut self, turn: Turn) {
        let free = self
            .book
            .entry(turn)
            .is_none_or(|entry| !entry.skipped && (entry.confirmed.is_none() || mutants::SKIP_AFTER_CONFIRM.on()));
        if (turn == self.cur || mutants::SKIP_AFTER_CONFIRM.on()) && free {
            self.emit_vote(SafetyRecord::Skipped { epoch: self.setup.epoch.number(), turn });
        }
    }

    /// `from` is whoever sent the last piece of it.
    pub(crate) fn on_skip_cert(&mut self, certificate: Arc<SkipCert>, from: Peer) {
        let turn = certificate.turn;
        if turn <= self.last_final.turn {
            return;
        }
        self.store_skip_cert(certificate);
        if turn == self.cur {
            self.enter_after_skips();
        } else if turn > self.cur && Some(from) != self.setup.me {
            let ask = Ask { epoch: self.setup.epoch.number(), turn: turn.saturating_add(1), just: None };
            self.send(Message::Ask(ask), from);
        }
    }

    /// Keeps the first certificate of a turn; counts it against the proposer while it is connected.
    pub(crate) fn store_skip_cert(&mut self, certificate: Arc<SkipCert>) {
        let turn = certificate.turn;
        let state = self.turns.entry(turn).or_default();
        if state.skip_cert.is_some() {
            return;
        }
        state.skip_cert = Some(Arc::clone(&certificate));
        self.check_own_part(certificate.statement(), &certificate.signers);
        self.flow.failed(turn);
        let proposer = self.setup.epoch.proposer(turn);
        if let Some(peer) = self.peer(proposer)
            && peer.connected
        {
            peer.strikes = peer.strikes.saturating_add(1);
        }
    }

    /// Goes on through every turn that is skipped already.
    pub(crate) fn enter_after_skips(&mut self) {
        while let Some(certificate) = self.turns.get(&self.cur).and_then(|state| state.skip_cert.clone()) {
            let mut just = self.just.clone();
            just.skips.push(certificate);
            just.turn = self.cur.saturating_add(1);
            if !self.enter(just) {
                return;
            }
        }
    }
}
