//! When something happens: entering turns, how long a turn may take, whether anybody needs a block at all, and saying
//! again what may have been lost. Without demand there is no timer and no message.

use std::collections::BTreeSet;

use crate::chain::Status;
use crate::effect::{Alarm, Audience, Effect};
use crate::justification::Just;
use crate::message::{MAX_WAITING, Message, Waiting};
use crate::mutants;
use crate::peers::SUSPECT_AFTER_MS;
use crate::safety::{Entered, SafetyRecord};
use crate::statement::Kind;
use crate::{BlockId, Millis, Peer, Signing, Turn, Turns};

/// A tip of this age lets one empty block be made for a single node's sake.
const OLD_TIP_MS: Millis = 60_000;
/// How often nodes with demand tell where they stand.
const STATUS_MS: Millis = 5_000;
/// Own confirmations that are sent again at once.
const CONFIRMS_AGAIN: usize = 4;
/// How long after the end of its connection an authority is given up that is on turn: what it sent before may still wait
/// to be verified.
const GONE_MS: Millis = 50;
/// Caps of the time rule, whatever the backoff.
const PRECISION_CAP_MS: Millis = 10_000;
const DELAY_CAP_MS: Millis = 60_000;
/// Above this many blocks, those that nothing speaks of are dropped.
const BLOCKS_KEPT: usize = 64;
/// After so many turns without finality, and so many again, the executed blocks of failed turns are given up.
const TURNS_EXECUTED: Turn = 64;

impl Turns {
    /// Enters the turn that a verified justification starts. False if it is not a later one.
    pub(crate) fn enter(&mut self, just: Just) -> bool {
        if just.turn <= self.cur {
            return false;
        }
        if let Err(fault) = just.check_complete() {
            self.halt(Alarm::Invariant { rule: format!("justification {fault}") });
            return false;
        }
        self.cur = just.turn;
        self.just = just.clone();
        self.armed_ms = None;
        self.relayed = 0;
        if !mutants::RESULT_NOT_RECHECKED.on() {
            self.building = None;
        }
        self.propose_not_before_ms = 0;
        self.entered_ms = self.steady_ms;
        self.entered_wall_ms = self.wall_ms;
        self.progress_ms = self.steady_ms;
        self.forget_old_turns();
        self.give_up_executed();
        self.effects.push(Effect::Note { entered: Entered { just } });
        true
    }

    /// Memory stays bounded however long finality takes.
    pub(crate) fn forget_old_turns(&mut self) {
        let old = self.cur.saturating_sub(self.window());
        for state in self.turns.range_mut(..old).map(|(_, state)| state) {
            if state.skip_cert.is_some() {
                state.keep_certificates();
            }
        }
        if self.blocks.len() <= BLOCKS_KEPT {
            return;
        }
        let mut roots: Vec<BlockId> = vec![self.last_final.block, self.just.parent.block(&self.setup.epoch)];
        for state in self.turns.values() {
            roots.extend(state.proposal.as_ref().map(|seen| seen.block));
            roots.extend(state.endorse_cert.as_ref().map(|certificate| certificate.block));
        }
        roots.extend(self.book.turns().filter_map(|turn| self.book.entry(turn)?.endorsed.as_ref()).map(|e| e.block()));
        let keep: BTreeSet<BlockId> = roots.iter().flat_map(|root| self.walk(root).known).collect();
        self.blocks.retain(|id| keep.contains(id));
    }

    /// What is executed stays with the executor until a block of its height is final: while turns fail, each would leave
    /// one there for good. Only what is certified or of the current turn is built on or becomes final as things are;
    /// what is certified late is executed again.
    fn give_up_executed(&mut self) {
        if self.cur < self.kept.max(self.last_final.turn).saturating_add(TURNS_EXECUTED) {
            return;
        }
        self.kept = self.cur;
        let mut roots: Vec<BlockId> = vec![self.last_final.block, self.just.parent.block(&self.setup.epoch)];
        roots.extend(self.turns.values().filter_map(|state| state.endorse_cert.as_ref()).map(|cert| cert.block));
        roots.extend(self.blocks.in_work(self.cur));
        let kept: BTreeSet<BlockId> = roots.iter().flat_map(|root| self.walk(root).known).collect();
        self.blocks.unexecute(|id| !kept.contains(id));
        self.effects.push(Effect::Keep { blocks: kept.into_iter().collect(), from: self.cur });
    }

    /// b: how many times f + 1 turns in a row have failed. Falls only on finality.
    pub(crate) fn backoff(&self) -> u64 {
        self.backoff_in(self.cur)
    }

    fn backoff_in(&self, turn: Turn) -> u64 {
        let faults = u64::try_from(self.setup.epoch.set.tolerated_faults()).unwrap_or(u64::MAX);
        let from = if mutants::BACKOFF_RESET_EARLY.on() { self.just.parent.turn() } else { self.last_final.turn };
        let failed = turn.saturating_sub(from).saturating_sub(3);
        failed.checked_div(faults.saturating_add(1)).unwrap_or(0)
    }

    /// T, how long this node gives the current turn once there is demand.
    pub(crate) fn timeout_ms(&self) -> Millis {
        let (parameters, backoff) = (self.parameters(), self.backoff());
        let proposer = self.setup.epoch.proposer(self.cur);
        let base = if self.is_suspected(proposer) {
            if backoff == 0 { 0 } else { parameters.turn_timeout_min_ms }
        } else {
            let strikes = self.peers.get(&proposer).map_or(0, |peer| peer.strikes.min(2));
            (parameters.turn_timeout_ms >> strikes).max(parameters.turn_timeout_min_ms)
        };
        doubled(base, backoff.min(10)).min(parameters.turn_timeout_max_ms)
    }

    /// When this node gives the current turn up, whose timer was armed then: after T, or, while turns go well, soon after
    /// the proposer has gone.
    fn skip_due_ms(&self, armed_ms: Millis) -> Millis {
        let due = armed_ms.saturating_add(self.timeout_ms());
        match self.gone_since(self.setup.epoch.proposer(self.cur)) {
            Some(gone_ms) if self.backoff() == 0 => due.min(armed_ms.max(gone_ms.saturating_add(GONE_MS))),
            Some(_) | None => due,
        }
    }

    /// Whether the time of a fresh proposal of this turn fits this node's clock now.
    pub(crate) fn is_timely(&self, time_ms: Millis, turn: Turn) -> bool {
        let backoff = self.backoff_in(turn);
        let precision = doubled(self.parameters().time_precision_ms, backoff).min(PRECISION_CAP_MS);
        let delay = doubled(self.parameters().time_delay_ms, backoff).min(DELAY_CAP_MS);
        time_ms.saturating_sub(precision) <= self.wall_ms
            && self.wall_ms <= time_ms.saturating_add(delay).saturating_add(precision)
    }

    /// Time of the block that the current turn builds on, as far as it is known here.
    fn parent_time_ms(&self) -> Millis {
        self.base(&self.just.parent).map_or(self.tip.time_ms, |base| base.time_ms)
    }

    /// Somebody here needs an empty block, and the tip is old enough to grant it.
    pub(crate) fn waits(&self) -> bool {
        let own = self.work.expiry_waits || matches!(self.signing, Signing::Lost { .. });
        (own || (mutants::WAITS_PASSED_ON.on() && self.peers_wait()))
            && self.wall_ms >= self.parent_time_ms().saturating_add(OLD_TIP_MS)
    }

    pub(crate) fn has_demand(&self) -> bool {
        self.demand_from_ms().is_some_and(|from| from <= self.wall_ms)
    }

    /// The wall time from which a block is needed, if nothing else happens. The past means now.
    fn demand_from_ms(&self) -> Option<Millis> {
        if self.closed() || self.setup.me.is_none() {
            return None;
        }
        let mut from = self.parent_time_ms().saturating_add(self.parameters().heartbeat_ms);
        let state = self.turns.get(&self.cur);
        let skips = state.map_or(0, |state| state.count(Kind::Skip));
        let seen = state.is_some_and(|state| state.proposal.is_some());
        let faults = self.setup.epoch.set.tolerated_faults();
        if self.work.action_due || seen || skips > faults {
            return Some(0);
        }
        let shown = (skips > 0 || self.peers_wait()) && !mutants::DEMAND_NOT_SHOWN.on();
        if self.work.expiry_waits || matches!(self.signing, Signing::Lost { .. }) || shown {
            from = from.min(self.parent_time_ms().saturating_add(OLD_TIP_MS));
        }
        let walk = self.walk(&self.just.parent.block(&self.setup.epoch));
        let mut named = BTreeSet::new();
        for id in &walk.known {
            let Some(block) = self.blocks.get(id) else { continue };
            named.extend(block.references.iter().map(|reference| (reference.author, reference.run, reference.seq)));
            let acted = block.status == Status::Valid { acted: true };
            let matters = block.header.entry_count > 0 || block.header.is_boundary() || acted;
            if matters && block.header.height > self.last_final.height {
                from = from.min(block.header.time_ms.saturating_add(self.parameters().confirm_wait_ms));
            }
        }
        let unknown = matches!(walk.end, crate::chain::WalkEnd::Unknown(_));
        if unknown && self.just.parent.height(&self.setup.epoch) > self.last_final.height {
            from = from.min(self.entered_wall_ms.saturating_add(self.parameters().confirm_wait_ms));
        }
        let is_new = |reference: &&mingzhang_ledger::batch::Reference| {
            !named.contains(&(reference.author, reference.run, reference.seq))
        };
        if self.work.waiting.iter().any(|reference| is_new(&reference)) { Some(0) } else { Some(from) }
    }

    /// Timer, proposal and relay of the current turn.
    pub(crate) fn pace(&mut self) {
        if self.setup.me.is_none() || self.closed() {
            return;
        }
        if self.has_demand() {
            if self.armed_ms.is_none() {
                self.armed_ms = Some(self.steady_ms);
            }
            self.propose_if_due();
        }
        if self.armed_ms.is_some_and(|armed| self.steady_ms >= self.skip_due_ms(armed)) {
            self.cast_skip(self.cur);
        }
        self.relay();
    }

    /// Who was not seen in this turn is sent its justification: after R by f + 1 relayers each, after 2R by all.
    fn relay(&mut self) {
        let after = |times: Millis| self.entered_ms.saturating_add(self.setup.relay_delay_ms.saturating_mul(times));
        let stage = if self.steady_ms >= after(2) {
            2
        } else if self.steady_ms >= after(1) {
            1
        } else {
            0
        };
        if stage <= self.relayed {
            return;
        }
        self.relayed = stage;
        if mutants::CERTIFICATES_NOT_RELAYED.on() {
            return;
        }
        for peer in self.unseen() {
            if stage == 2 || self.is_relayer_for(peer) {
                let just = self.just.clone();
                self.send(Message::Justify(just), peer);
            }
        }
    }

    fn unseen(&self) -> Vec<Peer> {
        let unseen = self.peers.iter().filter(|(_, state)| state.connected && state.seen < self.cur);
        unseen.map(|(peer, _)| *peer).collect()
    }

    /// Relayer i serves peer p in turn t if (i − p + t) mod n ≤ f.
    fn is_relayer_for(&self, peer: Peer) -> bool {
        let members = u64::try_from(self.setup.epoch.members()).unwrap_or(1).max(1);
        let faults = u64::try_from(self.setup.epoch.set.tolerated_faults()).unwrap_or(0);
        let me = u64::from(self.setup.me.unwrap_or(0));
        let turn = self.cur.checked_rem(members).unwrap_or(0);
        let sum = me.saturating_add(members).saturating_sub(u64::from(peer)).saturating_add(turn);
        sum.checked_rem(members).is_some_and(|distance| distance <= faults)
    }

    /// Says again, once a second while there is demand and no progress, what may have been lost: of constant size.
    pub(crate) fn retransmit_if_due(&mut self) {
        self.ask_for_status_if_due();
        if self.setup.me.is_none() || self.closed() || !self.has_demand() || self.steady_ms < self.retransmit_due_ms() {
            return;
        }
        self.retransmitted_ms = self.steady_ms;
        if let Some(message) = self.final_message() {
            self.effects.push(Effect::Send { message, to: Audience::Everybody });
        }
        if self.cur > 1 && !mutants::CERTIFICATES_NOT_RELAYED.on() {
            let message = Message::Justify(self.just.clone());
            self.effects.push(Effect::Send { message, to: Audience::Everybody });
        }
        for record in self.votes_to_say_again() {
            self.say_again(record);
        }
        let mut references = self.work.waiting.clone();
        references.truncate(MAX_WAITING);
        if !references.is_empty() && !mutants::DEMAND_NOT_SHOWN.on() {
            let message = Message::Waiting(Waiting { epoch: self.setup.epoch.number(), references });
            self.effects.push(Effect::Send { message, to: Audience::Everybody });
        }
        if self.status_ms.is_none_or(|at| self.steady_ms.saturating_sub(at) >= STATUS_MS) {
            self.status_ms = Some(self.steady_ms);
            for peer in self.connected_peers() {
                self.send_status(peer, false);
            }
        }
    }

    fn retransmit_due_ms(&self) -> Millis {
        self.progress_ms.max(self.retransmitted_ms).saturating_add(self.setup.retransmit_ms)
    }

    /// What was said in the current turn, and the last confirmations above the final turn.
    fn votes_to_say_again(&self) -> Vec<SafetyRecord> {
        let confirms = self.book.turns().rev().flat_map(|turn| self.book.records(turn));
        let confirms = confirms.filter(|record| matches!(record, SafetyRecord::Confirmed { .. }));
        let mut records: Vec<SafetyRecord> = confirms.take(CONFIRMS_AGAIN).collect();
        records.extend(
            self.book.records(self.cur).into_iter().filter(|record| !matches!(record, SafetyRecord::Confirmed { .. })),
        );
        records
    }

    fn say_again(&mut self, record: SafetyRecord) {
        let lost = mutants::SKIP_NOT_RECOUNTED.on() && matches!(record, SafetyRecord::Skipped { .. });
        if self.signing == crate::Signing::Allowed && !lost {
            self.effects.push(Effect::Vote { record, to: Audience::Everybody });
        }
    }

    /// After a restart every stored vote is said again and returns to the tally.
    pub(crate) fn send_votes_again(&mut self) {
        let turns: Vec<Turn> = self.book.turns().collect();
        for record in turns.into_iter().flat_map(|turn| self.book.records(turn)).collect::<Vec<_>>() {
            self.say_again(record);
        }
    }

    fn ask_for_status_if_due(&mut self) {
        let unheard = self.unheard();
        if unheard.is_empty() || self.steady_ms < self.asked_ms.saturating_add(self.setup.retransmit_ms) {
            return;
        }
        self.asked_ms = self.steady_ms;
        for peer in unheard {
            self.send_status(peer, true);
        }
    }

    /// The next moment at which something is due, by the wall clock.
    pub(crate) fn next_due_ms(&self) -> Option<Millis> {
        let wall = |steady: Millis| self.wall_ms.saturating_add(steady.saturating_sub(self.steady_ms));
        let mut due: Vec<Millis> = Vec::new();
        due.extend(self.next_fetch_ms().map(wall));
        due.extend(self.blocks.next_retry_ms().map(wall));
        if !self.unheard().is_empty() {
            due.push(wall(self.asked_ms.saturating_add(self.setup.retransmit_ms)));
        }
        if self.setup.me.is_some() && !self.closed() {
            self.collect_turn_dues(&mut due, &wall);
        }
        due.into_iter().filter(|at| *at > self.wall_ms).min()
    }

    fn collect_turn_dues(&self, due: &mut Vec<Millis>, wall: &impl Fn(Millis) -> Millis) {
        due.extend(self.demand_from_ms());
        if self.relayed < 2 && !self.unseen().is_empty() {
            let times = u64::from(self.relayed).saturating_add(1);
            due.push(wall(self.entered_ms.saturating_add(self.setup.relay_delay_ms.saturating_mul(times))));
        }
        if let Some(armed) = self.armed_ms {
            due.push(wall(self.skip_due_ms(armed)));
            if let Some(peer) = self.peers.get(&self.setup.epoch.proposer(self.cur))
                && !peer.connected
            {
                due.push(wall(peer.changed_at.saturating_add(SUSPECT_AFTER_MS)));
            }
        }
        if !self.has_demand() {
            return;
        }
        due.push(wall(self.retransmit_due_ms()));
        if self.is_my_turn() {
            due.push(wall(self.give_up_parent_ms()));
            let base = self.proposal_just().and_then(|just| self.base(&just.parent));
            due.extend(base.map(|base| self.propose_time(base)));
        }
    }
}

/// base · 2^times, saturating.
fn doubled(base: Millis, times: u64) -> Millis {
    let factor = u32::try_from(times).ok().and_then(|times| 1u64.checked_shl(times)).unwrap_or(u64::MAX);
    base.saturating_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::doubled;

    #[test]
    fn timer_arithmetic_saturates() {
        assert_eq!(doubled(1_700, 0), 1_700);
        assert_eq!(doubled(1_700, 10), 1_740_800);
        assert_eq!(doubled(500, 63), u64::MAX);
        assert_eq!(doubled(500, 64), u64::MAX);
        assert_eq!(doubled(500, 1_000_000), u64::MAX);
        assert_eq!(doubled(0, 1_000_000), 0);
    }
}
