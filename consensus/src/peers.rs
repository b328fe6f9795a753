//! What this node knows of each other authority: connection, progress, strikes; and the status messages in which
//! nodes tell each other where they stand. Hints only: nothing here can hurt safety.

use std::collections::BTreeMap;

use mingzhang_ledger::certificate::Signers;

use crate::effect::{Alarm, Audience, Effect};
use crate::message::{Ask, Message, Status};
use crate::mutants;
use crate::statement::{Statement, Vote};
use crate::{Millis, Peer, Signing, Turn, Turns};

/// A `waits` older than this is forgotten.
const WAITS_MS: Millis = 10_000;
/// Without a connection for this long, an authority may be suspected.
pub(crate) const SUSPECT_AFTER_MS: Millis = 5_000;
/// Answers to one peer in a second.
const ANSWERS_PER_SECOND: u8 = 5;

#[derive(Debug, Clone, Default)]
pub(crate) struct PeerState {
    pub(crate) connected: bool,
    /// When that changed last, by the steady clock.
    pub(crate) changed_at: Millis,
    /// A connection that stood has ended, and none has stood since.
    pub(crate) lost: bool,
    /// The highest turn that it is known to have entered.
    pub(crate) seen: Turn,
    /// The highest turn of anything signed by it.
    pub(crate) signed: Turn,
    /// Its consecutive turns that ended in SKIP while it was connected.
    pub(crate) strikes: u32,
    waits_at: Option<Millis>,
    answers_from: Millis,
    answers: u8,
}

impl PeerState {
    /// Everybody is in turn 1 without being told.
    pub(crate) fn new() -> Self {
        Self { seen: 1, ..Self::default() }
    }
}

pub(crate) type Peers = BTreeMap<Peer, PeerState>;

impl Turns {
    pub(crate) fn peer(&mut self, peer: Peer) -> Option<&mut PeerState> {
        self.peers.get_mut(&peer)
    }

    /// A peer is known to have entered a turn.
    pub(crate) fn note_seen(&mut self, peer: Peer, turn: Turn) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.seen = state.seen.max(turn);
        }
    }

    pub(crate) fn on_connected(&mut self, peer: Peer, connected: bool) {
        let now = self.steady_ms;
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if state.connected != connected {
            state.lost = !connected;
            state.connected = connected;
            state.changed_at = now;
        }
        if connected {
            let asks = self.asks_for_status();
            self.send_status(peer, asks);
        }
    }

    /// Silent and unconnected: its turn is given up at once.
    pub(crate) fn is_suspected(&self, peer: Peer) -> bool {
        let members = u64::try_from(self.setup.epoch.members()).unwrap_or(u64::MAX);
        self.peers.get(&peer).is_some_and(|state| {
            !state.connected
                && self.steady_ms.saturating_sub(state.changed_at) >= SUSPECT_AFTER_MS
                && self.cur.saturating_sub(state.signed) > members
        })
    }

    /// When the connection of an authority ended of which nothing was heard in the current turn. A process that dies closes
    /// its connections at once; one that has only lost its way to this node costs this node its vote in that turn.
    pub(crate) fn gone_since(&self, peer: Peer) -> Option<Millis> {
        let seen = self.turns.get(&self.cur).is_some_and(|turn| turn.proposal.is_some());
        let state = self.peers.get(&peer)?;
        (state.lost && state.signed < self.cur && !seen).then_some(state.changed_at)
    }

    /// At most five answers a second to one peer; the sixth is not given.
    pub(crate) fn may_answer(&mut self, peer: Peer) -> bool {
        let now = self.steady_ms;
        let Some(state) = self.peers.get_mut(&peer) else { return false };
        if now.saturating_sub(state.answers_from) >= 1_000 {
            state.answers_from = now;
            state.answers = 0;
        }
        if state.answers >= ANSWERS_PER_SECOND {
            return false;
        }
        state.answers = state.answers.saturating_add(1);
        true
    }

    pub(crate) fn peers_wait(&self) -> bool {
        let fresh = |at: Millis| self.steady_ms.saturating_sub(at) < WAITS_MS || mutants::WAITS_PASSED_ON.on();
        self.peers.values().any(|state| state.waits_at.is_some_and(fresh))
    }

    fn status_for(&self, peer: Peer, asks: bool) -> Status {
        Status {
            epoch: self.setup.epoch.number(),
            final_height: self.last_final.height,
            final_block: self.last_final.block,
            turn: self.cur,
            waits: self.waits(),
            asks,
            last_vote: self.turns.values().rev().find_map(|state| state.last_vote_of(peer)),
        }
    }

    pub(crate) fn send_status(&mut self, peer: Peer, asks: bool) {
        let status = self.status_for(peer, asks);
        self.send(Message::Status(status), peer);
    }

    pub(crate) fn connected_peers(&self) -> Vec<Peer> {
        self.peers.iter().filter(|(_, state)| state.connected).map(|(peer, _)| *peer).collect()
    }

    pub(crate) fn on_status(&mut self, from: Peer, status: Status) {
        let now = self.steady_ms;
        if let Some(state) = self.peers.get_mut(&from) {
            state.waits_at = if status.waits { Some(now) } else { None };
        }
        self.note_seen(from, status.turn);
        if let Some(vote) = &status.last_vote {
            self.check_own(vote);
        }
        self.heard_from(from);
        let behind = status.turn < self.cur || status.final_height < self.last_final.height;
        if (behind || status.asks) && self.may_answer(from) {
            if status.asks {
                self.send_status(from, false);
            }
            if behind {
                self.send_where_we_are(from);
            }
        }
    }

    /// To one whose words are of a turn that is over.
    pub(crate) fn answer_with_just(&mut self, to: Peer) {
        if self.may_answer(to) && !mutants::CERTIFICATES_NOT_RELAYED.on() {
            let just = self.just.clone();
            self.send(Message::Justify(just), to);
        }
    }

    /// Last final block and justification, to one who is behind.
    pub(crate) fn send_where_we_are(&mut self, to: Peer) {
        if let Some(message) = self.final_message() {
            self.send(message, to);
        }
        if mutants::CERTIFICATES_NOT_RELAYED.on() {
            return;
        }
        let just = self.just.clone();
        self.send(Message::Justify(just), to);
    }

    /// A vote by this node's own key must be in its book, or the key is used elsewhere or the disk lost it.
    pub(crate) fn check_own(&mut self, vote: &Vote) {
        // What the key said before its disk was lost is not to be found here.
        let mine = Some(vote.signer) == self.setup.me && !matches!(self.signing, Signing::Lost { .. });
        let current = vote.statement.turn() > self.last_final.turn;
        if mine && current && !self.book.holds(&vote.statement) {
            self.halt(Alarm::SecondInstance { turn: vote.statement.turn() });
        }
    }

    /// The same for a certificate that counts this node among its signers.
    pub(crate) fn check_own_part(&mut self, statement: Statement, signers: &Signers) {
        let Some(me) = self.setup.me else { return };
        let own = signers.iter().find(|(signer, _)| *signer == me);
        if let Some((signer, signature)) = own {
            self.check_own(&Vote { statement, signer, signature });
        }
    }

    /// After an unclean stop: a quorum, this node counted, has shown no vote that it lacks.
    fn heard_from(&mut self, from: Peer) {
        let quorum = self.setup.epoch.set.quorum();
        let Signing::Unproven { heard } = &mut self.signing else { return };
        heard.insert(from);
        if heard.len().saturating_add(1) >= quorum {
            self.signing = Signing::Allowed;
            self.send_votes_again();
        }
    }

    /// Whom this node still has to hear before it may sign.
    pub(crate) fn unheard(&self) -> Vec<Peer> {
        let Signing::Unproven { heard } = &self.signing else { return Vec::new() };
        self.connected_peers().into_iter().filter(|peer| !heard.contains(peer)).collect()
    }

    pub(crate) fn asks_for_status(&self) -> bool {
        matches!(self.signing, Signing::Unproven { .. })
    }

    pub(crate) fn on_ask(&mut self, from: Peer, ask: Ask) {
        if !self.may_answer(from) {
            return;
        }
        let found = match ask.just {
            None => (ask.turn <= self.cur).then(|| self.just.clone()),
            Some(hash) => {
                let told = self.turns.get(&ask.turn).and_then(|state| state.justs.get(&hash)).cloned();
                let stored = self.book.entry(ask.turn).and_then(|entry| entry.endorsed.as_ref());
                told.or_else(|| stored.filter(|own| own.just_hash == hash).map(|own| own.just.clone()))
            }
        };
        match found {
            Some(just) if !mutants::CERTIFICATES_NOT_RELAYED.on() => self.send(Message::Justify(just), from),
            None if ask.turn <= self.last_final.turn => self.send_where_we_are(from),
            Some(_) | None => {}
        }
    }

    pub(crate) fn send(&mut self, message: Message, to: Peer) {
        self.effects.push(Effect::Send { message, to: Audience::Peers(vec![to]) });
    }
}
