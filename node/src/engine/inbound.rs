//! From frames to verified inputs, beside the engine: what waits is decoded together, its signatures are checked in one
//! batch, and each message is concluded. A peer that sends something verifiably bad is disconnected for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use mingzhang_consensus::known::Known;
use mingzhang_consensus::message::{Ask, Message, Proposal};
use mingzhang_consensus::verify::{Check, Refusal, SignedItem};
use mingzhang_consensus::{Epoch, Input};
use mingzhang_ledger::outcome::{Code, peers};
use rayon::ThreadPool;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

#[cfg(test)]
mod tests;
mod waiting;

use super::EpochWatch;
use crate::clock::Clock;
use crate::mempool::{Arrival, Mempool, Taken, verify_all};
use crate::network::{self, Channel, Inbound, Remote};
use crate::node::Clocks;
use crate::store::{Store, StoreFault};
use waiting::Waiting;

/// What the check works with.
#[derive(Clone)]
pub struct Parts {
    pub epoch: EpochWatch,
    pub clock: Arc<Clock>,
    pub clocks: Arc<Clocks>,
    pub pool: Arc<ThreadPool>,
    pub mempool: Arc<Mempool>,
    pub store: Arc<Store>,
    pub network: network::Handle,
}

/// A frame that consensus does not judge.
#[derive(Debug)]
pub struct OtherFrame {
    pub from: Remote,
    pub body: Vec<u8>,
    /// Given back to its sender when this is done with.
    _room: Option<OwnedSemaphorePermit>,
}

impl OtherFrame {
    /// What a peer sent because it was asked.
    pub fn answered(from: Remote, body: Vec<u8>) -> Self {
        Self { from, body, _room: None }
    }
}

/// Where checked frames go.
pub struct Outlets {
    pub inputs: mpsc::Sender<Input>,
    pub seals: mpsc::Sender<OtherFrame>,
    /// Messages of other epochs, and of peers without a seat: answered by `sync`.
    pub strays: mpsc::Sender<OtherFrame>,
}

/// Serves the inbound queue until it or the engine is gone. Blocks on signatures: it runs on a thread of its own.
pub async fn verify_inbound(
    mut frames: mpsc::Receiver<Inbound>,
    parts: Parts,
    outlets: Outlets,
) -> Result<(), StoreFault> {
    let mut reader = Reader { parts, outlets, waiting: Waiting::default(), known: Known::default() };
    loop {
        if reader.waiting.is_empty() {
            let Some(frame) = frames.recv().await else { return Ok(()) };
            reader.waiting.push(frame);
        }
        while let Ok(frame) = frames.try_recv() {
            reader.waiting.push(frame);
        }
        for input in reader.check_group()? {
            if reader.outlets.inputs.send(input).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// What was decoded, with its sender's seat.
struct Decoded {
    seat: u16,
    check: Check,
    /// Given back once the frame is concluded.
    _room: Option<OwnedSemaphorePermit>,
}

struct Reader {
    parts: Parts,
    outlets: Outlets,
    waiting: Waiting,
    known: Known,
}

impl Reader {
    /// Checks what is next, and returns what consensus is told.
    fn check_group(&mut self) -> Result<Vec<Input>, StoreFault> {
        let epoch = self.parts.epoch.borrow().clone();
        let mut decoded: Vec<Decoded> = Vec::new();
        for frame in self.waiting.take() {
            // What waits of a peer that was dropped for something bad is not worth a check.
            if self.parts.network.is_barred(&frame.from.key) {
                continue;
            }
            match frame.channel {
                Channel::Consensus => decoded.extend(self.sort(frame, &epoch)),
                Channel::Seal => pass(&self.outlets.seals, frame),
                // The network answers these itself.
                Channel::Request | Channel::Answer => {}
            }
        }
        self.conclude(decoded, &epoch)
    }

    /// Decodes, and puts aside what another epoch or a peer without a seat sent.
    fn sort(&mut self, frame: Inbound, epoch: &Epoch) -> Option<Decoded> {
        // By the key, not by the connection's seat: that may still be the one of the epoch before.
        let seat = epoch.set.members.iter().position(|member| member.peer_key == frame.from.key);
        let Some(seat) = seat.and_then(|seat| u16::try_from(seat).ok()) else {
            pass(&self.outlets.strays, frame);
            return None;
        };
        // Bitmaps have the length that the own epoch gives them, so a frame of another epoch may not even decode.
        let checked = match Message::decode(&frame.body, epoch) {
            Ok(Message::Proposal(proposal)) if !names_what_it_brings(&proposal) => {
                let reason = "a proposal brings batches that it does not name";
                refuse(&self.parts, &frame.from, peers::OUT_OF_PLACE, &reason);
                return None;
            }
            Ok(message) => Check::new(unless_stale(message, self.final_turn(epoch)), epoch, &self.known),
            Err(_) if claimed_epoch(&frame.body).is_some_and(|claimed| claimed != epoch.number()) => {
                pass(&self.outlets.strays, frame);
                return None;
            }
            Err(error) => {
                refuse(&self.parts, &frame.from, peers::MALFORMED, &error);
                return None;
            }
        };
        match checked {
            Ok(check) => Some(Decoded { seat, check, _room: frame.room }),
            Err(refusal @ Refusal::OtherEpoch { .. }) => {
                tracing::debug!(seat = frame.from.seat, code = %refusal.peer_code(), %refusal, "a message is not taken");
                pass(&self.outlets.strays, frame);
                None
            }
            Err(refusal) => {
                refuse(&self.parts, &frame.from, refusal.peer_code(), &refusal);
                None
            }
        }
    }

    /// 0 until a block of this epoch is final here.
    fn final_turn(&self, epoch: &Epoch) -> u64 {
        let tip = self.parts.store.tip();
        if tip.epoch == epoch.number() { tip.turn } else { 0 }
    }

    /// All signatures in one batch, then one verdict per message, in the order of arrival.
    fn conclude(&mut self, decoded: Vec<Decoded>, epoch: &Epoch) -> Result<Vec<Input>, StoreFault> {
        let items: Vec<_> = decoded
            .iter()
            .flat_map(|one| one.check.items())
            .map(|SignedItem { key, message, signature }| (*key, message.as_slice(), *signature))
            .collect();
        let verdicts = verify_all(&self.parts.pool, &items);
        drop(items);
        let mut rest = verdicts.as_slice();
        let mut inputs = Vec::with_capacity(decoded.len());
        for Decoded { seat: from, check, .. } in decoded {
            let (own, others) = rest.split_at(check.items().len().min(rest.len()));
            rest = others;
            match check.conclude(own, epoch) {
                Ok(message) => {
                    if let Message::Proposal(proposal) = message.get() {
                        hold_attached(from, proposal, epoch, &self.parts)?;
                        inputs.extend(compare_clocks(from, proposal.header.time_ms, epoch, &self.parts));
                    }
                    self.known.note(&message, epoch);
                    inputs.push(Input::Message { from, message });
                }
                Err(reason) => {
                    if let Refusal::Convicted(evidence) = &reason {
                        self.parts.store.put_evidence(evidence, epoch)?;
                    }
                    if let Some(member) = epoch.set.member(from) {
                        let code = reason.peer_code();
                        tracing::warn!(seat = from, %code, %reason, "peer is disconnected for a bad message");
                        self.parts.network.disconnect(&member.peer_key);
                    }
                }
            }
        }
        Ok(inputs)
    }
}

/// All certificates in a justification of a final turn are of turns before it: nothing is learned from them. It only shows
/// that its sender is behind, and counts as the question that such a sender would ask.
fn unless_stale(message: Message, final_turn: u64) -> Message {
    match message {
        Message::Justify(just) if just.turn <= final_turn => {
            Message::Ask(Ask { epoch: just.epoch, turn: just.turn, just: None })
        }
        message => message,
    }
}

fn pass(outlet: &mpsc::Sender<OtherFrame>, frame: Inbound) {
    if outlet.try_send(OtherFrame { from: frame.from, body: frame.body, _room: frame.room }).is_err() {
        tracing::debug!("a frame found its queue full");
    }
}

/// The epoch that a message's first bytes name, whatever follows.
pub fn claimed_epoch(body: &[u8]) -> Option<u64> {
    let at = match body.first()? {
        // Behind a header's type, version and height.
        1 | 4 => 11,
        // Behind the kind of vote.
        2 => 2,
        _ => 1,
    };
    body.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

fn refuse(parts: &Parts, from: &Remote, code: Code, reason: &dyn std::fmt::Display) {
    tracing::warn!(seat = from.seat, %code, %reason, "peer is disconnected for a bad message");
    parts.network.disconnect(&from.key);
}

/// Where the time of a proposal shows that this node's own clock has become unfit, or fit again, consensus is told.
fn compare_clocks(from: u16, time_ms: u64, epoch: &Epoch, parts: &Parts) -> Option<Input> {
    let agency = epoch.set.member(from).map_or("", |member| member.agency.as_str());
    let ahead_ms = time_ms.saturating_sub(parts.clock.now_ms());
    parts.clocks.see(agency, ahead_ms, epoch.set.tolerated_faults()).map(|ok| Input::Health { ok })
}

/// Whether every batch that came with a proposal stands in its references.
fn names_what_it_brings(proposal: &Proposal) -> bool {
    let named: BTreeSet<_> = proposal.references.iter().map(|r| (r.author, r.run, r.seq, r.hash)).collect();
    proposal.batches.iter().all(|batch| named.contains(&(batch.author, batch.run, batch.seq, batch.hash())))
}

/// Batches that came with a proposal are held before consensus hears of it; their authors' signatures were checked. Those
/// of a proposal that consensus takes up are held in any case, of others as if they had come by gossip.
fn hold_attached(from: u16, proposal: &Proposal, epoch: &Epoch, parts: &Parts) -> Result<(), StoreFault> {
    let lacking: Vec<_> = proposal.batches.iter().filter(|batch| !parts.mempool.holds(batch)).cloned().collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let turn = proposal.turn();
    let needed = from == epoch.proposer(turn) && parts.mempool.expects(epoch.number(), turn);
    let arrival = |batch| Arrival { batch, needed, author_verified: true };
    for taken in parts.mempool.take_in(lacking.into_iter().map(arrival).collect())? {
        match taken {
            Taken::Twice(evidence) => drop(parts.store.put_evidence(&evidence, epoch)?),
            Taken::Held | Taken::Ignored(_) | Taken::Invalid(_) => {}
        }
    }
    Ok(())
}
