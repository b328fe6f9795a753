//! What is missing here and whom to ask: blocks that are certified, their batches and justifications, and whole ranges
//! of final blocks. Also hands blocks to execution in order. No claimed height is trusted, only certificates.

use std::collections::{BTreeMap, BTreeSet};

use mingzhang_ledger::batch::{LanePosition, Reference, batches_digest};
use mingzhang_ledger::certificate::Signers;
use mingzhang_ledger::header::Header;

use crate::chain::{Status, WalkEnd};
use crate::effect::{Alarm, Effect, Want};
use crate::evidence::Evidence;
use crate::input::{Found, Verdict};
use crate::justification::Parent;
use crate::message::{Ask, Message};
use crate::mutants;
use crate::safety::Entry;
use crate::statement::{Kind, Vote};
use crate::{Audience, BlockId, Height, Millis, Peer, Signing, Turn, Turns};

/// After so many vain questions for a range of final blocks, they are asked for by id as well,
const RANGE_TRIES: usize = 2;
/// if so many at most are missing.
const BLOCKS_BY_ID: u64 = 64;

/// Something missing, as a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    Block(BlockId),
    Batches(BlockId),
    Just(Turn),
    Range,
}

/// How a need is being met; times of the steady clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetching {
    due_ms: Millis,
    tries: usize,
}

pub(crate) type Fetches = BTreeMap<Need, Fetching>;

/// A block that this node wants validated, and who certified it or a descendant of it.
struct Wanted {
    block: BlockId,
    height: Height,
    holders: Vec<Peer>,
}

impl Turns {
    /// Executes what can be executed and asks for what is missing.
    pub(crate) fn pursue(&mut self) {
        let needs = self.execute_and_collect();
        self.fetches.retain(|need, _| needs.contains_key(need));
        for (need, from) in needs {
            // A proposal or a batch that is merely overtaken by votes needs no fetching.
            let patience = if matches!(need, Need::Batches(_)) { 0 } else { self.setup.relay_delay_ms };
            let first = self.steady_ms.saturating_add(patience);
            let fetching = self.fetches.entry(need).or_insert(Fetching { due_ms: first, tries: 0 });
            if self.steady_ms >= fetching.due_ms {
                let tries = fetching.tries;
                fetching.tries = tries.saturating_add(1);
                fetching.due_ms = self.steady_ms.saturating_add(self.setup.retransmit_ms.max(1));
                self.ask_for(need, self.rotated(from, tries));
            }
        }
    }

    pub(crate) fn next_fetch_ms(&self) -> Option<Millis> {
        self.fetches.values().map(|fetching| fetching.due_ms).min()
    }

    fn execute_and_collect(&mut self) -> BTreeMap<Need, Vec<Peer>> {
        let mut needs = BTreeMap::new();
        for wanted in self.wanted() {
            let walk = self.walk(&wanted.block);
            match walk.end {
                WalkEnd::Fork => continue,
                WalkEnd::Tip => {}
                WalkEnd::Unknown(id) => {
                    let steps = u64::try_from(walk.known.len()).unwrap_or(u64::MAX);
                    let is_final = wanted.height.saturating_sub(steps) <= self.last_final.height;
                    if is_final {
                        needs.insert(Need::Range, self.final_signers());
                    }
                    if !is_final || self.range_is_unserved() {
                        needs.insert(Need::Block(id), wanted.holders);
                    }
                    continue;
                }
            }
            // From the tip upwards, so that a parent comes before its child.
            for id in walk.known.iter().rev() {
                needs.extend(self.execute_or_need(id, &wanted.holders));
            }
        }
        self.collect_justs(&mut needs);
        needs
    }

    /// Nobody hands out the final blocks that are missing here. Perhaps nobody else knows that they are final: those
    /// who certified them hold them still, one by one.
    fn range_is_unserved(&self) -> bool {
        self.fetches.get(&Need::Range).is_some_and(|fetching| fetching.tries >= RANGE_TRIES)
            && self.last_final.height.saturating_sub(self.tip.height) <= BLOCKS_BY_ID
    }

    fn execute_or_need(&mut self, id: &BlockId, holders: &[Peer]) -> Vec<(Need, Vec<Peer>)> {
        let Some(block) = self.blocks.get(id) else { return Vec::new() };
        // What fails here and is final is had from those who applied it, however often it fails.
        let failed = block.failed && block.header.height <= self.last_final.height;
        let range = failed.then(|| (Need::Range, self.final_signers())).into_iter().collect();
        match &block.status {
            Status::Known if self.is_ready(&block.header.parent) && block.retry_at <= self.steady_ms => {
                let (header, references) = (block.header, block.references.clone());
                if let Some(block) = self.blocks.get_mut(id) {
                    block.status = Status::Executing;
                }
                self.effects.push(Effect::Execute { block: *id, parent: header.parent, header, references });
                range
            }
            Status::Missing(references) => {
                let mut from: Vec<Peer> = references.iter().map(|reference| reference.author).collect();
                from.push(block.header.proposer);
                from.extend_from_slice(holders);
                let batches = (Need::Batches(*id), from);
                if block.header.height > self.last_final.height {
                    return vec![batches];
                }
                // Batches of final blocks are pruned by those who applied them; the entries are not.
                let mut needs = vec![(Need::Range, self.final_signers())];
                needs.extend(self.range_is_unserved().then_some(batches));
                needs
            }
            Status::Known | Status::Executing | Status::Valid { .. } | Status::Invalid { .. } => range,
        }
    }

    /// The late path needs the justification that the certificate names.
    fn collect_justs(&self, needs: &mut BTreeMap<Need, Vec<Peer>>) {
        let endorsed = |entry: &Entry| entry.endorsed.is_some() && !mutants::ENDORSED_OVERWRITTEN.on();
        for (turn, state) in &self.turns {
            let Some(certificate) = &state.endorse_cert else { continue };
            let said = self
                .book
                .entry(*turn)
                .is_some_and(|entry| entry.skipped || entry.confirmed.is_some() || endorsed(entry));
            if !said && !state.justs.contains_key(&certificate.just) && self.setup.me.is_some() {
                needs.insert(Need::Just(*turn), indices(&certificate.signers));
            }
        }
    }

    fn wanted(&self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        let mut want = |block, height, holders| wanted.push(Wanted { block, height, holders });
        if self.last_final.height > self.tip.height {
            want(self.last_final.block, self.last_final.height, self.final_signers());
        }
        let epoch = &self.setup.epoch;
        if let Parent::Endorsed(certificate) = &self.just.parent {
            want(certificate.block, certificate.height, indices(&certificate.signers));
        }
        for certificate in self.turns.values().filter_map(|state| state.endorse_cert.as_ref()) {
            want(certificate.block, certificate.height, indices(&certificate.signers));
        }
        let proposal = self.turns.get(&self.cur).and_then(|state| state.proposal.as_ref());
        if let Some(block) = proposal.and_then(|seen| self.blocks.get(&seen.block)) {
            want(block.header.id(), block.header.height, vec![epoch.proposer(self.cur)]);
        }
        wanted.retain(|wanted| wanted.height > self.tip.height);
        wanted
    }

    fn final_signers(&self) -> Vec<Peer> {
        self.last_final.certificate.as_ref().map(|certificate| indices(&certificate.signers)).unwrap_or_default()
    }

    /// Every peer once, connected ones first, those named before the others, and another one in front at each try.
    fn rotated(&self, named: Vec<Peer>, tries: usize) -> Vec<Peer> {
        let mut seen = BTreeSet::new();
        let everybody = named.into_iter().chain(self.setup.epoch.peers());
        let mut peers: Vec<Peer> =
            everybody.filter(|peer| Some(*peer) != self.setup.me && seen.insert(*peer)).collect();
        let connected = |peer: &Peer| self.peers.get(peer).is_some_and(|state| state.connected);
        peers.sort_by_key(|peer| !connected(peer));
        let reachable = peers.iter().filter(|peer| connected(peer)).count().max(1);
        if let Some(front) = peers.get_mut(..reachable) {
            front.rotate_left(tries.checked_rem(reachable).unwrap_or(0));
        }
        peers
    }

    fn ask_for(&mut self, need: Need, from: Vec<Peer>) {
        let want = match need {
            Need::Block(id) => Want::Block { id },
            Need::Batches(block) => {
                let Some(Status::Missing(references)) = self.blocks.get(&block).map(|block| block.status.clone())
                else {
                    return;
                };
                Want::Batches { block, references }
            }
            Need::Range => Want::Range {
                after: self.tip.height,
                height: self.last_final.height,
                turn: self.last_final.turn,
                block: self.last_final.block,
            },
            Need::Just(turn) => {
                let just = self.turns.get(&turn).and_then(|state| state.endorse_cert.as_ref()).map(|c| c.just);
                let message = Message::Ask(Ask { epoch: self.setup.epoch.number(), turn, just });
                self.effects.push(Effect::Send { message, to: Audience::Peers(from.into_iter().take(2).collect()) });
                return;
            }
        };
        self.effects.push(Effect::Fetch { want, from });
    }

    pub(crate) fn on_found(&mut self, found: Found) {
        match found {
            Found::Block { header, positions, references } => self.on_found_block(header, &positions, references),
            Found::Batches { block } => {
                if let Some(known) = self.blocks.get_mut(&block)
                    && matches!(known.status, Status::Missing(_))
                {
                    known.status = Status::Known;
                }
            }
            Found::OwnBlock { epoch, turn, time_ms } => self.on_own_block(epoch, turn, time_ms),
            Found::Range { header, certificate } => self.on_range(&header, certificate),
            Found::EpochEnded => {}
        }
    }

    /// What this node proposed above its tip, it did in this run or before the restart: else the key runs twice, or the
    /// disk is an old one.
    fn on_own_block(&mut self, epoch: u64, turn: Turn, time_ms: Millis) {
        if matches!(self.signing, Signing::Lost { .. }) {
            return self.check_loss(time_ms);
        }
        let known = turn <= self.tip.turn || self.proposed.contains(&turn);
        if epoch == self.setup.epoch.number() && self.setup.me.is_some() && !known {
            self.halt(Alarm::SecondInstance { turn });
        }
    }

    /// Nobody endorsed a block so much later than the last use of its proposer's key: that time is wrong, and whatever
    /// was signed after it is unknown.
    pub(crate) fn check_loss(&mut self, used_ms: Millis) {
        if let Signing::Lost { until_ms } = self.signing
            && used_ms > until_ms
        {
            self.halt(Alarm::UsedAfterLoss { used_ms });
        }
    }

    fn on_found_block(&mut self, header: Header, positions: &[LanePosition], references: Vec<Reference>) {
        let asked = self.fetches.contains_key(&Need::Block(header.id()));
        if asked && batches_digest(positions, &references) == header.batches {
            self.blocks.insert(header, references);
            if let Some(block) = self.blocks.get_mut(&header.id()) {
                block.vouched = true;
            }
        }
    }

    pub(crate) fn on_executed(&mut self, id: BlockId, verdict: Verdict) {
        let retry_at = self.steady_ms.saturating_add(self.setup.retransmit_ms.max(1));
        let Some(block) = self.blocks.get_mut(&id) else { return };
        if block.status != Status::Executing {
            return;
        }
        let header = block.header;
        block.failed = matches!(verdict, Verdict::Failed { .. });
        match verdict {
            Verdict::Valid { acted } => block.status = Status::Valid { acted },
            Verdict::Invalid { reason } => {
                block.status = Status::Invalid { reason };
                self.accuse_signers(&header);
            }
            // The header itself commits to what breaks the rules of lanes.
            Verdict::OtherReferences if block.vouched => {
                block.status = Status::Invalid { reason: "its batches do not continue their lanes".to_owned() };
                self.accuse_signers(&header);
            }
            Verdict::OtherReferences => self.forget_proposed(&id),
            Verdict::MissingBatches { references } => block.status = Status::Missing(references),
            Verdict::MissingParent => {
                block.status = Status::Known;
                match self.blocks.get_mut(&header.parent) {
                    Some(parent) if matches!(parent.status, Status::Valid { .. }) => parent.status = Status::Known,
                    Some(_) | None => {
                        if let Some(block) = self.blocks.get_mut(&id) {
                            block.retry_at = retry_at;
                        }
                    }
                }
            }
            Verdict::Failed { reason } => {
                block.status = Status::Known;
                block.retry_at = retry_at;
                self.effects.push(Effect::Alarm(Alarm::ExecutionFailed { block: id, reason }));
            }
        }
    }

    /// Nobody signs a block's references but through its header: what came with it says nothing of the block. Once it is
    /// certified, its proposer could put off the fetching for ever, by saying the same again and again.
    fn forget_proposed(&mut self, id: &BlockId) {
        self.blocks.remove(id);
        for state in self.turns.values_mut() {
            state.proposal.take_if(|seen| seen.block == *id);
            state.spoilt |= state.endorse_cert.as_ref().is_some_and(|certificate| certificate.block == *id);
        }
    }

    /// Whoever endorsed or confirmed what execution contradicts has signed it, in whatever turn.
    fn accuse_signers(&mut self, header: &Header) {
        let block = Some(header.id());
        let votes =
            self.turns.values().flat_map(|state| [Kind::Endorse, Kind::Confirm].map(|kind| state.of_kind(kind)));
        let votes: Vec<Vote> = votes.flatten().filter(|vote| vote.statement.block() == block).copied().collect();
        for vote in votes {
            self.accuse(vote, *header);
        }
    }

    /// The same for a vote that comes when the verdict is known.
    pub(crate) fn accuse_late_signer(&mut self, vote: Vote) {
        let block = vote.statement.block().and_then(|block| self.blocks.get(&block));
        let invalid = block.filter(|block| matches!(block.status, Status::Invalid { .. }));
        if let Some(header) = invalid.map(|block| block.header) {
            self.accuse(vote, header);
        }
    }

    fn accuse(&mut self, vote: Vote, header: Header) {
        if Some(vote.signer) != self.setup.me {
            self.effects.push(Effect::Report { evidence: Evidence::Contradicted { vote, header } });
        }
    }
}

fn indices(signers: &Signers) -> Vec<Peer> {
    signers.iter().map(|(index, _)| index).collect()
}
