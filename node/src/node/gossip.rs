//! What comes by gossip: batches go to the mempool, final headers to consensus. Each message is judged here; only a
//! true one is passed on. Blocks on signatures; runs on a thread of its own.

use std::sync::Arc;

use mingzhang_consensus::message::Message;
use mingzhang_consensus::{Input, verify};
use mingzhang_ledger::batch::Batch;
use tokio::sync::mpsc;

use crate::engine::EpochWatch;
use crate::mempool::{Arrival, Mempool, Taken};
use crate::network::MAX_GOSSIP_BYTES;
use crate::network::{self, Gossip, GossipTicket, Topic, Worth};
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
                    Err(error) => {
                        tracing::warn!(seat = from.seat, %error, "peer is disconnected for gossip that is no batch");
                        parts.network.disconnect(&from.key);
                        parts.network.judge(ticket, Worth::False);
                    }
                },
                Topic::Finals => {
                    if let Some(input) = take_final(&body, from.seat, ticket, &parts)
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
                Taken::Ignored => Worth::Known,
                Taken::Held if told_all => Worth::Known,
                Taken::Held => Worth::Spread,
                Taken::Twice(evidence) => {
                    let epoch = parts.epoch.borrow().clone();
                    parts.store.put_evidence(&evidence, &epoch)?;
                    Worth::Spread
                }
                Taken::Invalid => {
                    tracing::warn!(seat = from.seat, "peer is disconnected for a batch that its author did not sign");
                    parts.network.disconnect(&from.key);
                    Worth::False
                }
            };
            parts.network.judge(ticket, worth);
        }
    }
    Ok(())
}

/// A final header with its certificate. One that this node has, or that speaks of another epoch, changes nothing here.
fn take_final(body: &[u8], seat: Option<u16>, ticket: GossipTicket, parts: &Parts) -> Option<Input> {
    let epoch = parts.epoch.borrow().clone();
    // Members learn of finality by votes; a header is passed on for observers, and around a broken connection.
    let settled = parts.network.sees_all_members() && !parts.network.has_observers();
    let worth = if settled { Worth::Known } else { Worth::Spread };
    let message = Message::decode(body, &epoch).ok();
    let Some(Message::Final { header, certificate }) = message.filter(|message| message.epoch() == epoch.number())
    else {
        parts.network.judge(ticket, worth);
        return None;
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
            tracing::warn!(seat, %error, "a false final header was dropped");
            parts.network.judge(ticket, Worth::False);
            None
        }
    }
}
