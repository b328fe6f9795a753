//! The peer-to-peer network: a libp2p swarm in its own task, bounded queues in both directions, and one door for each
//! kind of traffic. Direct streams carry votes and, apart from them, requests with answers and large messages; gossip carries batches
//! and final headers. What messages mean, and whether they are true, is decided elsewhere.

pub mod directory;
pub mod frame;
mod link;
mod pending;
mod request;
mod swarm;
#[cfg(test)]
mod tests;
mod twins;
mod votes;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt as _;
use libp2p::gossipsub::MessageId;
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId};
use mingzhang_ledger::crypto::{Hash, PublicKey, SigningKey};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use zeroize::Zeroizing;

pub use directory::{AllowedPeer, PeerStatus, Remote};
pub use frame::{Channel, Frame};
pub use request::{Request, RequestFault};
pub use swarm::MAX_GOSSIP_BYTES;

use directory::Directory;
use frame::Class;
use request::Pending;

/// Frames from direct streams that may wait for the engine.
pub const INBOUND_QUEUE_FRAMES: usize = 4_096;
/// Gossip messages that may wait for their check; more are dropped, and fetched by hash when they are needed.
pub const GOSSIP_QUEUE_MESSAGES: usize = 256;
/// Requests of peers that may wait for an answer, a quarter of them of one peer; one that asks faster waits.
pub const REQUEST_QUEUE_LENGTH: usize = 64;
const COMMAND_QUEUE_LENGTH: usize = 1_024;

/// A fault of this node's own network.
#[derive(Debug, Error)]
pub enum NetworkFault {
    #[error("network cannot be set up: {0}")]
    Setup(String),
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: Multiaddr, reason: String },
}

/// What the network needs to start.
#[derive(Debug)]
pub struct Config {
    /// The peer identity.
    pub key: SigningKey,
    /// Genesis hash: part of every protocol and topic name.
    pub chain: Hash,
    pub listen: Vec<Multiaddr>,
    pub peers: Vec<AllowedPeer>,
}

/// What gossip is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    Batches,
    Finals,
}

/// A frame from a direct stream.
#[derive(Debug)]
pub struct Inbound {
    pub from: Remote,
    pub channel: Channel,
    pub body: Vec<u8>,
    /// Its part of what may wait of this peer, given back when the frame is done with.
    pub room: Option<OwnedSemaphorePermit>,
}

/// A gossip message. It is passed on only after it was judged valid.
#[derive(Debug)]
pub struct Gossip {
    /// Who passed it on; it need not be its author.
    pub from: Remote,
    pub topic: Topic,
    pub body: Vec<u8>,
    id: MessageId,
    source: PeerId,
}

/// What comes in, each kind in a queue of its own.
#[derive(Debug)]
pub struct Inbox {
    pub inbound: mpsc::Receiver<Inbound>,
    pub gossip: mpsc::Receiver<Gossip>,
    pub requests: mpsc::Receiver<Request>,
    /// Seats of the authority set that are connected.
    pub connected: watch::Receiver<BTreeSet<u16>>,
}

/// What the swarm's task is told.
#[derive(Debug)]
pub(crate) enum SwarmCommand {
    Publish(Topic, Vec<u8>),
    Judge { id: MessageId, source: PeerId, worth: Worth },
    Dial(PeerId, Vec<Multiaddr>),
    Disconnect(PeerId),
    DisconnectKey(PublicKey),
}

/// Sends; never waits. When the last handle is dropped the network stops.
#[derive(Debug, Clone)]
pub struct Handle {
    directory: Arc<Directory>,
    pending: Arc<Pending>,
    commands: mpsc::Sender<SwarmCommand>,
    /// Only the newest list counts, so it needs no queue.
    registrations: Arc<watch::Sender<Vec<AllowedPeer>>>,
    addresses: Arc<[Multiaddr]>,
}

/// Starts listening and dialling. Returns once every listen address is bound.
pub async fn start(config: Config) -> Result<(Handle, Inbox), NetworkFault> {
    let mut swarm = swarm::build(keypair(&config.key)?, &config.chain)?;
    let addresses = listen(&mut swarm, config.listen).await?;
    let directory = Arc::new(Directory::default());
    let pending = Arc::new(Pending::default());
    let (command_sender, commands) = mpsc::channel(COMMAND_QUEUE_LENGTH);
    let (gossip_sender, gossip) = mpsc::channel(GOSSIP_QUEUE_MESSAGES);
    let (inbound_sender, inbound) = mpsc::channel(INBOUND_QUEUE_FRAMES);
    let (request_sender, requests) = mpsc::channel(REQUEST_QUEUE_LENGTH);
    let (registration_sender, registrations) = watch::channel(config.peers.clone());
    let queues =
        swarm::Queues { commands, own_commands: command_sender.downgrade(), registrations, gossip: gossip_sender };
    let mut driver = swarm::Driver::new(swarm, config.chain, Arc::clone(&directory), Arc::clone(&pending), queues);
    driver.register(config.peers);
    let sinks = link::Sinks {
        directory: Arc::clone(&directory),
        inbound: inbound_sender,
        requests: request_sender,
        pending: Arc::clone(&pending),
        // Readers must not keep a stopped network alive.
        commands: command_sender.downgrade(),
    };
    for class in [Class::Votes, Class::Bulk, Class::Large] {
        let incoming = driver
            .control
            .accept(link::protocol(&config.chain, class))
            .map_err(|error| NetworkFault::Setup(error.to_string()))?;
        tokio::spawn(link::accept(incoming, class, sinks.clone()));
    }
    let connected = directory.connected();
    tokio::spawn(driver.run());
    let registrations = Arc::new(registration_sender);
    let handle = Handle { directory, pending, commands: command_sender, registrations, addresses: addresses.into() };
    Ok((handle, Inbox { inbound, gossip, requests, connected }))
}

fn keypair(key: &SigningKey) -> Result<Keypair, NetworkFault> {
    let seed = Zeroizing::new(key.seed());
    Keypair::ed25519_from_bytes(*seed).map_err(|error| NetworkFault::Setup(error.to_string()))
}

/// The innermost sentence: transports wrap what the system says, some in words that are empty.
fn reason_of(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), reason_of)
}

async fn listen(
    swarm: &mut libp2p::Swarm<swarm::Behaviour>,
    listen: Vec<Multiaddr>,
) -> Result<Vec<Multiaddr>, NetworkFault> {
    let mut bound = Vec::new();
    for wanted in listen {
        let fault = |reason: String| NetworkFault::Listen { address: wanted.clone(), reason };
        let id = swarm.listen_on(wanted.clone()).map_err(|error| fault(reason_of(&error)))?;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } if listener_id == id => {
                    bound.push(address);
                    break;
                }
                SwarmEvent::ListenerError { listener_id, error } if listener_id == id => {
                    return Err(fault(reason_of(&error)));
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. } if listener_id == id => {
                    let reason = reason.err().map(|error| reason_of(&error));
                    return Err(fault(reason.unwrap_or_else(|| "the listener closed".to_owned())));
                }
                _ => {}
            }
        }
    }
    Ok(bound)
}

impl Handle {
    /// Queues a frame for one peer; false if it is not connected or slow.
    pub fn send(&self, to: &PublicKey, frame: &Frame) -> bool {
        directory::peer_id(to).is_some_and(|peer| self.directory.send(&peer, frame))
    }

    pub fn send_to_seat(&self, seat: u16, frame: &Frame) -> bool {
        self.directory.send_to_seat(seat, frame)
    }

    /// To every connected member of the authority set.
    pub fn send_to_seats(&self, frame: &Frame) {
        self.directory.send_to_seats(frame);
    }

    /// To every connected peer, observers too.
    pub fn send_to_all(&self, frame: &Frame) {
        self.directory.send_to_all(frame);
    }

    /// Gossips a message. False if the network is overloaded; the protocol repeats what matters.
    pub fn publish(&self, topic: Topic, body: Vec<u8>) -> bool {
        self.commands.try_send(SwarmCommand::Publish(topic, body)).is_ok()
    }

    /// Says what a gossip message is worth: only what is true and not known to everybody is passed on.
    pub fn judge(&self, ticket: GossipTicket, worth: Worth) {
        let GossipTicket { id, source } = ticket;
        if self.commands.try_send(SwarmCommand::Judge { id, source, worth }).is_err() {
            tracing::debug!("gossip message was not passed on: network is overloaded");
        }
    }

    /// Whether every other member of the authority set is connected here, so that what one of them tells all need not be
    /// passed on. A member that lacks only the author fetches what a block names.
    pub fn sees_all_members(&self) -> bool {
        self.directory.sees_all_members()
    }

    /// Whether an observer is connected here.
    pub fn has_observers(&self) -> bool {
        self.directory.has_observers()
    }

    /// Asks a peer and waits for its answer.
    pub async fn ask(&self, peer: &PublicKey, body: &[u8]) -> Result<Vec<u8>, RequestFault> {
        let peer = directory::peer_id(peer).ok_or(RequestFault::Unreachable)?;
        self.pending.ask(&self.directory, peer, body).await
    }

    /// Replaces the registered peers: a new authority set, or a changed list of observers.
    pub fn register(&self, peers: Vec<AllowedPeer>) {
        self.directory.reseat(&peers);
        self.registrations.send_replace(peers);
    }

    /// Drops a peer that sent something verifiably bad, and what waits of it. A slow one is never dropped for it.
    pub fn disconnect(&self, peer: &PublicKey) {
        if self.commands.try_send(SwarmCommand::DisconnectKey(*peer)).is_ok() {
            self.directory.bar(peer);
        } else {
            tracing::debug!("peer was not disconnected: network is overloaded");
        }
    }

    /// Whether a peer is dropped, and has not connected again.
    pub fn is_barred(&self, peer: &PublicKey) -> bool {
        self.directory.is_barred(peer)
    }

    /// What a registered peer is called.
    pub fn name_of(&self, key: &PublicKey) -> String {
        let known = self.directory.status().into_iter().find(|peer| peer.key == *key);
        known.map_or_else(|| hex::encode(key.0), |peer| peer.name)
    }

    pub fn peers(&self) -> Vec<PeerStatus> {
        self.directory.status()
    }

    /// Addresses that this node listens on.
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }
}

/// What a gossip message is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// True; others may not have it.
    Spread,
    /// True, and its author told everybody already.
    Known,
    False,
}

/// What gossip needs to know again when a message was judged.
#[derive(Debug)]
pub struct GossipTicket {
    id: MessageId,
    source: PeerId,
}

impl Gossip {
    /// Splits the message from what is needed to judge it.
    pub fn into_parts(self) -> (Remote, Topic, Vec<u8>, GossipTicket) {
        (self.from, self.topic, self.body, GossipTicket { id: self.id, source: self.source })
    }
}
