//! From frames to verified inputs, beside the engine: what waits is decoded together, its signatures are checked in one
//! batch, and each message is concluded. A peer that sends something verifiably bad is disconnected for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use mingzhang_consensus::message::{Message, Proposal};
use mingzhang_consensus::verify::{Check, Refusal, SignedItem};
use mingzhang_consensus::{Epoch, Input};
use rayon::ThreadPool;
use tokio::sync::mpsc;

use super::EpochWatch;
use crate::clock::Clock;
use crate::mempool::{Arrival, Mempool, Taken, verify_all};
use crate::network::{self, Channel, Inbound, Remote};
use crate::node::Clocks;
use crate::store::{Store, StoreFault};

/// Frames that are checked together.
const MAX_GROUP: usize = 512;

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
    let mut group = Vec::with_capacity(MAX_GROUP);
    while frames.recv_many(&mut group, MAX_GROUP).await > 0 {
        let epoch = parts.epoch.borrow().clone();
        let mut checks: Vec<(u16, Check)> = Vec::with_capacity(group.len());
        for frame in group.drain(..) {
            match frame.channel {
                Channel::Consensus => sort(frame, &epoch, &parts, &outlets, &mut checks),
                Channel::Seal => pass(&outlets.seals, frame),
                // The network answers these itself.
                Channel::Request | Channel::Answer => {}
            }
        }
        for input in conclude(checks, &epoch, &parts)? {
            if outlets.inputs.send(input).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn pass(outlet: &mpsc::Sender<OtherFrame>, frame: Inbound) {
    if outlet.try_send(OtherFrame { from: frame.from, body: frame.body }).is_err() {
        tracing::debug!("a frame found its queue full");
    }
}

/// Decodes, and puts aside what another epoch or a peer without a seat sent.
fn sort(frame: Inbound, epoch: &Epoch, parts: &Parts, outlets: &Outlets, checks: &mut Vec<(u16, Check)>) {
    // By the key, not by the connection's seat: that may still be the one of the epoch before.
    let seat = epoch.set.members.iter().position(|member| member.peer_key == frame.from.key);
    let Some(seat) = seat.and_then(|seat| u16::try_from(seat).ok()) else { return pass(&outlets.strays, frame) };
    // Bitmaps have the length that the own epoch gives them, so a frame of another epoch may not even decode.
    let check = match Message::decode(&frame.body, epoch) {
        Ok(Message::Proposal(proposal)) if !names_what_it_brings(&proposal) => {
            return refuse(parts, &frame.from, &"a proposal brings batches that it does not name");
        }
        Ok(message) => Check::new(message, epoch),
        Err(_) if claimed_epoch(&frame.body).is_some_and(|claimed| claimed != epoch.number()) => {
            return pass(&outlets.strays, frame);
        }
        Err(error) => return refuse(parts, &frame.from, &error),
    };
    match check {
        Ok(check) => checks.push((seat, check)),
        Err(Refusal::OtherEpoch { .. }) => pass(&outlets.strays, frame),
        Err(refusal) => refuse(parts, &frame.from, &refusal),
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

fn refuse(parts: &Parts, from: &Remote, reason: &dyn std::fmt::Display) {
    tracing::warn!(seat = from.seat, %reason, "peer is disconnected for a bad message");
    parts.network.disconnect(&from.key);
}

/// All signatures in one batch, then one verdict per message, in the order of arrival.
fn conclude(checks: Vec<(u16, Check)>, epoch: &Epoch, parts: &Parts) -> Result<Vec<Input>, StoreFault> {
    let items: Vec<_> = checks
        .iter()
        .flat_map(|(_, check)| check.items())
        .map(|SignedItem { key, message, signature }| (*key, message.as_slice(), *signature))
        .collect();
    let verdicts = verify_all(&parts.pool, &items);
    drop(items);
    let mut rest = verdicts.as_slice();
    let mut inputs = Vec::with_capacity(checks.len());
    for (from, check) in checks {
        let (own, others) = rest.split_at(check.items().len().min(rest.len()));
        rest = others;
        match check.conclude(own, epoch) {
            Ok(message) => {
                if let Message::Proposal(proposal) = message.get() {
                    hold_attached(from, proposal, epoch, parts)?;
                    inputs.extend(compare_clocks(from, proposal.header.time_ms, epoch, parts));
                }
                inputs.push(Input::Message { from, message });
            }
            Err(reason) => {
                if let Refusal::Convicted(evidence) = &reason {
                    parts.store.put_evidence(evidence, epoch)?;
                }
                if let Some(member) = epoch.set.member(from) {
                    tracing::warn!(seat = from, %reason, "peer is disconnected for a bad message");
                    parts.network.disconnect(&member.peer_key);
                }
            }
        }
    }
    Ok(inputs)
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
            Taken::Held | Taken::Ignored | Taken::Invalid => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
