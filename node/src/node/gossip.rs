//! What comes by gossip: batches go to the mempool, final headers to consensus. Each message is judged here; only a
//! true one is passed on. Blocks on signatures; runs on a thread of its own.

use std::sync::Arc;

use mingzhang_consensus::message::Message;
use mingzhang_consensus::{Input, verify};
use mingzhang_ledger::batch::Batch;
use mingzhang_ledger::outcome::{Code, peers};
use tokio::sync::mpsc;

use crate::engine::EpochWatch;
use crate::engine::inbound::claimed_epoch;
use crate::mempool::{Arrival, Mempool, Taken};
use crate::network::MAX_GOSSIP_BYTES;
use crate::network::{self, Gossip, GossipTicket, Remote, Topic, Worth};
use crate::signer::Identity;
use crate::store::{Store, StoreFault};

/// Messages that are checked together.
const MAX_GROUP: usize = 64;

/// What the check works with.
pub struct Parts {
    pub epoch: EpochWatch,
    pub mempool: Arc<Mempool>,
    pub store: Arc<Store>,
    pub network: network::Handle,
    pub identity: Arc<Identity>,
    pub inputs: mpsc::Sender<Input>,
}

/// Serves gossip until the network or the engine is gone.
pub async fn take_in(mut gossip: mpsc::Receiver<Gossip>, parts: Parts) -> Result<(), StoreFault> {
    let mut group = Vec::with_capacity(MAX_GROUP);
    while gossip.recv_many(&mut group, MAX_GROUP).await > 0 {
        let (mut arrivals, mut tickets) = (Vec::new(), Vec::new());
        for message in group.drain(..) {
            let (from, topic, body, ticket) = message.into_parts();
            match topic {
                Topic::Batches => match Batch::decode(&body, MAX_GOSSIP_BYTES) {
                    Ok(batch) => {
                        let told_all = from.seat == Some(batch.author) && parts.network.sees_all_members();
                        arrivals.push(Arrival { batch, needed: false, author_verified: false });
                        tickets.push((ticket, from, told_all));
                    }
                    Err(error) => refuse(&parts, &from, ticket, peers::MALFORMED, &error),
                },
                Topic::Finals => {
                    if let Some(input) = take_final(&body, &from, ticket, &parts)
                        && parts.inputs.send(input).await.is_err()
                    {
                        return Ok(());
                    }
                }
            }
        }
        if arrivals.is_empty() {
            continue;
        }
        let taken = parts.mempool.take_in(arrivals)?;
        for ((ticket, from, told_all), taken) in tickets.into_iter().zip(taken) {
            let worth = match taken {
                // What was not checked is not passed on: whoever passes something on answers for it.
                Taken::Ignored(code) => {
                    tracing::debug!(seat = from.seat, %code, "a batch is not taken");
                    Worth::Known
                }
                Taken::Held if told_all => Worth::Known,
                Taken::Held => Worth::Spread,
                Taken::Twice(evidence) => {
                    let epoch = parts.epoch.borrow().clone();
                    parts.store.put_evidence(&evidence, &epoch)?;
                    Worth::Spread
                }
                Taken::Invalid(code) => {
                    refuse(&parts, &from, ticket, code, &"a batch that its author did not sign, or not like this");
                    continue;
                }
            };
            parts.network.judge(ticket, worth);
        }
    }
    Ok(())
}

/// Whoever passes something on answers for it.
fn refuse(parts: &Parts, from: &Remote, ticket: GossipTicket, code: Code, reason: &dyn std::fmt::Display) {
    tracing::warn!(seat = from.seat, %code, %reason, "peer is disconnected for bad gossip");
    parts.network.disconnect(&from.key);
    parts.network.judge(ticket, Worth::False);
}

/// A final header with its certificate. One that this node has, or that speaks of another epoch, changes nothing here.
fn take_final(body: &[u8], from: &Remote, ticket: GossipTicket, parts: &Parts) -> Option<Input> {
    let epoch = parts.epoch.borrow().clone();
    // Members learn of finality by votes; a header is passed on for observers, and around a broken connection.
    let settled = parts.network.sees_all_members() && !parts.network.has_observers();
    let worth = if settled { Worth::Known } else { Worth::Spread };
    // Bitmaps have the length that the own epoch gives them, so what is of another epoch may not even decode.
    if claimed_epoch(body).is_some_and(|claimed| claimed != epoch.number()) {
        parts.network.judge(ticket, worth);
        return None;
    }
    let (header, certificate) = match Message::decode(body, &epoch) {
        Ok(Message::Final { header, certificate }) => (header, certificate),
        Ok(_) => {
            refuse(parts, from, ticket, peers::MALFORMED, &"no final header where one is due");
            return None;
        }
        Err(error) => {
            refuse(parts, from, ticket, peers::MALFORMED, &error);
            return None;
        }
    };
    if header.height <= parts.store.tip().height {
        parts.network.judge(ticket, worth);
        return None;
    }
    let (turn, message) = (header.turn, Message::Final { header, certificate });
    match verify::verify(message, &epoch) {
        Ok(message) => {
            parts.network.judge(ticket, worth);
            // Who passed it on need not be where it came from, so this node itself stands for it.
            let own = parts.identity.seat(&epoch).map(|seat| seat.index);
            let from = own.unwrap_or_else(|| epoch.proposer(turn));
            Some(Input::Message { from, message })
        }
        Err(error) => {
            tracing::warn!(seat = from.seat, code = %error.peer_code(), %error, "a false final header was dropped");
            parts.network.judge(ticket, Worth::False);
            None
        }
    }
}
