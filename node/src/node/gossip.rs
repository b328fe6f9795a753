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
use crate::network::{self, Gossip, GossipTicket, Topic};
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
                        arrivals.push(Arrival { batch, needed: false, author_verified: false });
                        tickets.push((ticket, from));
                    }
                    Err(error) => {
                        tracing::warn!(seat = from.seat, %error, "gossip that is no batch was dropped");
                        parts.network.judge(ticket, false);
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
        for ((ticket, from), taken) in tickets.into_iter().zip(taken) {
            let valid = match taken {
                Taken::Held | Taken::Ignored => true,
                Taken::Twice(evidence) => {
                    let epoch = parts.epoch.borrow().clone();
                    tracing::error!(accused = evidence.accused(), "evidence of a broken rule was stored");
                    parts.store.put_evidence(&evidence.encode(&epoch))?;
                    true
                }
                Taken::Invalid => {
                    tracing::warn!(seat = from.seat, "gossip with a bad signature was dropped");
                    false
                }
            };
            parts.network.judge(ticket, valid);
        }
    }
    Ok(())
}

/// A final header with its certificate. One that this node has, or that speaks of another epoch, changes nothing here.
fn take_final(body: &[u8], seat: Option<u16>, ticket: GossipTicket, parts: &Parts) -> Option<Input> {
    let epoch = parts.epoch.borrow().clone();
    let message = Message::decode(body, &epoch).ok();
    let Some(Message::Final { header, certificate }) = message.filter(|message| message.epoch() == epoch.number())
    else {
        parts.network.judge(ticket, true);
        return None;
    };
    if header.height <= parts.store.tip().height {
        parts.network.judge(ticket, true);
        return None;
    }
    let (turn, message) = (header.turn, Message::Final { header, certificate });
    match verify::verify(message, &epoch) {
        Ok(message) => {
            parts.network.judge(ticket, true);
            // Who passed it on need not be where it came from, so this node itself stands for it.
            let own = parts.identity.seat(&epoch).map(|seat| seat.index);
            let from = own.unwrap_or_else(|| epoch.proposer(turn));
            Some(Input::Message { from, message })
        }
        Err(error) => {
            tracing::warn!(seat, %error, "a false final header was dropped");
            parts.network.judge(ticket, false);
            None
        }
    }
}
