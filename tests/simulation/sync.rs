//! Fetching and catching up, with the node's own questions, answers and checks: nothing that a peer says is believed.

use std::sync::Arc;

use mingzhang_consensus::{Found, Input, Want};
use mingzhang_ledger::batch::Reference;
use mingzhang_node::engine::inbound::claimed_epoch;
use mingzhang_node::store::Finality;
use mingzhang_node::sync::catch_up::{closing, prove};
use mingzhang_node::sync::fetch::{checked_batches, checked_block};
use mingzhang_node::sync::wire::{MAX_ASKED_BATCHES, Segment};
use mingzhang_node::sync::{Lie, SyncFault, Trust, serve};

use crate::engine::Job;
use crate::world::{Frame, World};

/// How often a node without a seat asks whether there is more.
const FOLLOW_MS: u64 = 1_000;

impl World {
    /// Of the peers that consensus names, the first that can be reached.
    pub fn fetch(&mut self, place: usize, want: Want, from: &[u16]) {
        let peers: Vec<usize> = from.iter().filter_map(|seat| self.place_of(*seat, place)).collect();
        let Some(peer) = peers.into_iter().find(|peer| self.both_reach(place, *peer)) else { return };
        match want {
            Want::Block { id } => {
                let Some(theirs) = &self.places[peer].running else { return };
                let answer =
                    serve::block(&theirs.blocks.store, &theirs.blocks.executor, &id).expect("a store that reads");
                if answer.is_empty() {
                    return;
                }
                match checked_block(&id, &answer) {
                    Ok(found) => self.step(place, Input::Fetched { found }),
                    Err(fault) => self.lied(peer, &fault),
                }
            }
            Want::Batches { block, references } => {
                if self.fetch_batches(place, peer, &references, true) {
                    self.step(place, Input::Fetched { found: Found::Batches { block } });
                }
            }
            Want::Announced { references } => {
                self.fetch_batches(place, peer, &references, false);
            }
            Want::Range { .. } => self.catch_up(place, peer),
        }
    }

    fn lied(&mut self, peer: usize, fault: &SyncFault) {
        assert!(!self.is_honest(peer), "oracle sync: an honest answer is refused: {fault}");
    }

    /// True if none of them is missing any more.
    fn fetch_batches(&mut self, place: usize, peer: usize, references: &[Reference], needed: bool) -> bool {
        let (Some(ours), Some(theirs)) = (&self.places[place].running, &self.places[peer].running) else {
            return false;
        };
        let mempool = Arc::clone(&ours.blocks.mempool);
        let lacking: Vec<Reference> =
            references.iter().filter(|r| mempool.lacks(r)).take(MAX_ASKED_BATCHES).copied().collect();
        if !lacking.is_empty() {
            let (store, their_mempool) = (&theirs.blocks.store, &theirs.blocks.mempool);
            let answer =
                serve::batches(store, their_mempool, ours.epoch.number(), &lacking).expect("a store that reads");
            match checked_batches(&lacking, &answer) {
                Ok(batches) => self.take_in(place, batches, needed),
                Err(fault) => self.lied(peer, &fault),
            }
        }
        self.is_up(place) && !references.iter().any(|reference| mempool.lacks(reference))
    }

    /// One segment of final blocks: asked for, proved, executed, committed; then the next.
    pub fn catch_up(&mut self, place: usize, peer: usize) {
        if let Some(running) = &mut self.places[place].running {
            running.catching_up = false;
        }
        if !self.both_reach(place, peer) {
            return;
        }
        let (Some(ours), Some(theirs)) = (&self.places[place].running, &self.places[peer].running) else { return };
        let (tip, set) = (ours.blocks.store.tip(), ours.blocks.store.set());
        let answer = serve::segment(&theirs.blocks.store, tip.height, set.epoch).expect("a store that reads");
        if answer.is_empty() {
            return;
        }
        let segment = match Segment::decode(&answer, set.members.len()) {
            Ok(segment) => segment,
            Err(fault) => return self.lied(peer, &SyncFault::Lie(fault.into())),
        };
        let epoch = ours.blocks.store.epoch().expect("a store that reads");
        let proven = prove(&segment, (tip.height, tip.id), &epoch, &Trust::of(&self.network.genesis));
        let (certified, certificate, by) = match proven {
            Ok((header, Finality::Certificate(certificate))) => {
                (header, certificate.clone(), Finality::Certificate(certificate))
            }
            // Nobody writes a manifest in this world.
            Ok((_, Finality::Recovery(_))) => {
                return self.lied(peer, &SyncFault::Lie(Lie::other("a recovery manifest")));
            }
            Err(fault) => return self.lied(peer, &fault),
        };
        self.report_own(place, &segment);
        let Some(ours) = &self.places[place].running else { return };
        let replayed =
            ours.blocks.replay(&segment.blocks, &by).unwrap_or_else(|fault| panic!("oracle replay: {fault}"));
        let committed = match replayed {
            Ok(committed) => committed,
            Err(reason) => return self.lied(peer, &SyncFault::Lie(Lie::other(reason))),
        };
        self.oracle.fault("range caught up");
        self.note_final(place, &committed, &certificate);
        let height = self.places[place].running.as_ref().map_or(0, |running| running.blocks.store.tip().height);
        if height == certified.height {
            let found = Found::Range { header: certified, certificate };
            self.step(place, Input::Fetched { found });
        }
        self.after_commit(place);
        self.start_catching_up(place, peer);
    }

    /// Blocks that this node proposed itself: consensus knows whether it remembers them.
    fn report_own(&mut self, place: usize, segment: &Segment) {
        let Some(me) = self.places[place].running.as_ref().and_then(|running| running.me) else { return };
        for header in segment.blocks.iter().map(|block| &block.header).chain(&segment.above) {
            if header.proposer == me {
                let found = Found::OwnBlock { epoch: header.epoch, turn: header.turn, time_ms: header.time_ms };
                self.step(place, Input::Fetched { found });
            }
        }
    }

    /// Goes on while the peer has more.
    pub fn start_catching_up(&mut self, place: usize, peer: usize) {
        let (Some(ours), Some(theirs)) = (&self.places[place].running, &self.places[peer].running) else { return };
        let behind = ours.blocks.store.tip().height < theirs.blocks.store.tip().height;
        if behind && !ours.catching_up {
            if let Some(ours) = &mut self.places[place].running {
                ours.catching_up = true;
            }
            let delay = 2 * self.delay();
            self.schedule_job(place, delay, Job::CatchUp { from: peer });
        }
    }

    /// Frames of other epochs and of peers without a seat: who is behind gets the certificate that closed its epoch, who
    /// is ahead is asked.
    pub fn stray(&mut self, from: usize, to: usize, frame: &Frame) {
        let Some(running) = &self.places[to].running else { return };
        let Some(claimed) = claimed_epoch(&frame.bytes) else { return };
        if claimed > running.epoch.number() {
            return self.start_catching_up(to, from);
        }
        if claimed < running.epoch.number()
            && let Some((message, old)) = closing(&running.blocks.store, claimed)
        {
            let frame = Frame { bytes: message.encode(&old).into() };
            self.post(to, from, &frame, 0);
        }
    }

    /// As the node's own: members are asked, for who has no seat either is no nearer to the votes. Anybody, where no
    /// member of the own epoch is left.
    pub fn follow(&mut self, place: usize) {
        let seatless = self.places[place].running.as_ref().is_some_and(|running| running.me.is_none());
        if seatless {
            let reached: Vec<usize> = (0..self.places.len()).filter(|peer| self.both_reach(place, *peer)).collect();
            let members: Vec<usize> =
                reached.iter().copied().filter(|peer| self.seat_of(*peer, place).is_some()).collect();
            let asked = if members.is_empty() { reached } else { members };
            if !asked.is_empty() {
                let peer = asked[self.random.pick(asked.len())];
                self.start_catching_up(place, peer);
            }
        }
        self.schedule_job(place, FOLLOW_MS, Job::Follow);
    }
}
