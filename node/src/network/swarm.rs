//! The libp2p swarm and its task: transport, allow-list, gossip, dialling and keep-alive. Direct streams are `link`'s
//! matter; what messages mean is nobody's here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::allow_block_list::{self, AllowedPeers, NotAllowed};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, MessageId, PublishError, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ListenError, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, identify, memory_connection_limits, noise, ping, tcp, yamux};
use libp2p_stream::Control;
use mingzhang_ledger::crypto::{Hash, sha256};
use mingzhang_ledger::outcome::peers;
use tokio::sync::{mpsc, watch};

use super::directory::{AllowedPeer, Directory};
use super::request::Pending;
use super::twins::Twins;
use super::{Gossip, NetworkFault, SwarmCommand, Topic, Worth, link, pending};

/// Largest gossip message: a full batch under any agreed parameter, or a final header with its certificate.
pub const MAX_GOSSIP_BYTES: usize = 1024 * 1024;
/// What gossip itself adds to a message: its topic and lengths.
const GOSSIP_FRAMING_BYTES: usize = 1024;
/// Gossip messages that may wait for one slow peer; beyond it they are dropped, and fetched by hash later.
const GOSSIP_QUEUE_MESSAGES: usize = 256;
/// What a handshake may take, a dial included: also on a machine that is busy, for whoever is not let in cannot vote.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ESTABLISHED: u32 = 4_096;
/// Both sides may dial each other at once; and a second process with one identity gets in, so that it is noticed.
const MAX_ESTABLISHED_PER_PEER: u32 = 4;
/// Memory of the process above which no new connection is taken.
const MAX_PROCESS_BYTES: usize = 4 * 1024 * 1024 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle networks stay connected.
const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3_600);
/// How often missing peers are looked at.
pub const DIAL_TICK: Duration = Duration::from_millis(250);
/// Addresses of one name that are dialled.
const MAX_RESOLVED: usize = 4;
/// Pause between two warnings of strangers: a minute.
const STRANGER_PAUSE_TICKS: u64 = 240;
/// Longest pause between two dials of one peer, in ticks.
const MAX_DIAL_PAUSE_TICKS: u64 = 40;

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub allowed: allow_block_list::Behaviour<AllowedPeers>,
    pending: pending::Behaviour,
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    gossip: gossipsub::Behaviour,
    pub streams: libp2p_stream::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// The gossip topic's name: it holds the genesis hash, so two networks never mix.
fn topic_name(chain: &Hash, topic: Topic) -> IdentTopic {
    let name = match topic {
        Topic::Batches => "batches",
        Topic::Finals => "finals",
    };
    IdentTopic::new(format!("mingzhang/{}/{name}/1", hex::encode(chain)))
}

fn gossip_behaviour(chain: &Hash) -> Result<gossipsub::Behaviour, NetworkFault> {
    // Batches carry their author's signature and finals a certificate, so gossip itself signs nothing; and nothing is
    // passed on before it was verified.
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| MessageId::from(sha256(&[&message.data]).to_vec()))
        .max_transmit_size(MAX_GOSSIP_BYTES + GOSSIP_FRAMING_BYTES)
        .connection_handler_queue_len(GOSSIP_QUEUE_MESSAGES)
        // Members are few and tell each other directly: "do not send me this" would be one more message for each.
        .idontwant_message_size_threshold(usize::MAX)
        .heartbeat_initial_delay(Duration::from_millis(500))
        .build()
        .map_err(|error| NetworkFault::Setup(error.to_string()))?;
    let setup = |error: &dyn std::fmt::Display| NetworkFault::Setup(error.to_string());
    let mut gossip =
        gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config).map_err(|error| setup(&error))?;
    for topic in [Topic::Batches, Topic::Finals] {
        gossip.subscribe(&topic_name(chain, topic)).map_err(|error| setup(&error))?;
    }
    Ok(gossip)
}

fn behaviour(keypair: &Keypair, chain: &Hash) -> Result<Behaviour, NetworkFault> {
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(u32::try_from(pending::MAX_PENDING).ok())
        .with_max_established(Some(MAX_ESTABLISHED))
        .with_max_established_per_peer(Some(MAX_ESTABLISHED_PER_PEER));
    let identify = identify::Config::new("mingzhang/1".to_owned(), keypair.public()).with_agent_version(format!(
        "mingzhang-node/{} {}",
        env!("CARGO_PKG_VERSION"),
        process_number()?
    ));
    Ok(Behaviour {
        allowed: allow_block_list::Behaviour::default(),
        pending: pending::Behaviour::default(),
        limits: connection_limits::Behaviour::new(limits),
        memory: memory_connection_limits::Behaviour::with_max_bytes(MAX_PROCESS_BYTES),
        gossip: gossip_behaviour(chain)?,
        streams: libp2p_stream::Behaviour::new(),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT)),
    })
}

/// Tells this process from another one with the same keys.
fn process_number() -> Result<String, NetworkFault> {
    let mut number = [0; 8];
    getrandom::fill(&mut number).map_err(|error| NetworkFault::Setup(error.to_string()))?;
    Ok(hex::encode(number))
}

/// TCP with Noise and yamux; with the feature `quic` also QUIC.
pub fn build(keypair: Keypair, chain: &Hash) -> Result<Swarm<Behaviour>, NetworkFault> {
    let behaviour = behaviour(&keypair, chain)?;
    let builder = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|error| NetworkFault::Setup(error.to_string()))?;
    #[cfg(feature = "quic")]
    let builder = builder.with_quic();
    let swarm = builder
        .with_behaviour(|_| behaviour)
        .map_err(|error| NetworkFault::Setup(error.to_string()))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
        .with_connection_timeout(HANDSHAKE_TIMEOUT)
        .build();
    Ok(swarm)
}

/// When to dial a peer again, in ticks.
#[derive(Debug, Clone, Copy)]
struct Backoff {
    next_tick: u64,
    pause_ticks: u64,
}

/// What the swarm's task is told, and where it puts gossip.
pub struct Queues {
    pub commands: mpsc::Receiver<SwarmCommand>,
    /// For tasks that the swarm starts; it must not keep itself alive.
    pub own_commands: mpsc::WeakSender<SwarmCommand>,
    pub registrations: watch::Receiver<Vec<AllowedPeer>>,
    pub gossip: mpsc::Sender<Gossip>,
}

/// The task that owns the swarm.
pub struct Driver {
    pub swarm: Swarm<Behaviour>,
    pub chain: Hash,
    pub control: Control,
    pub directory: Arc<Directory>,
    pub pending: Arc<Pending>,
    queues: Queues,
    backoffs: BTreeMap<PeerId, Backoff>,
    /// Registered peers that sent something bad, and until which tick they are kept out.
    banned: BTreeMap<PeerId, u64>,
    twins: Twins,
    ticks: u64,
    /// Until which tick another stranger is not worth a warning.
    quiet_until: u64,
    topics: [(Topic, gossipsub::TopicHash); 2],
}

impl Driver {
    pub fn new(
        swarm: Swarm<Behaviour>,
        chain: Hash,
        directory: Arc<Directory>,
        pending: Arc<Pending>,
        queues: Queues,
    ) -> Self {
        let control = swarm.behaviour().streams.new_control();
        let topics = [Topic::Batches, Topic::Finals].map(|topic| (topic, topic_name(&chain, topic).hash()));
        let (backoffs, banned, twins) = (BTreeMap::new(), BTreeMap::new(), Twins::default());
        let (ticks, quiet_until) = (0, 0);
        Self { swarm, chain, control, directory, pending, queues, backoffs, banned, twins, ticks, quiet_until, topics }
    }

    /// Runs until every handle is gone.
    pub async fn run(mut self) {
        let mut dial = tokio::time::interval(DIAL_TICK);
        dial.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.queues.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
                Ok(()) = self.queues.registrations.changed() => {
                    let peers = self.queues.registrations.borrow_and_update().clone();
                    self.register(peers);
                }
                _ = dial.tick() => self.dial_missing(),
            }
        }
    }

    pub fn register(&mut self, peers: Vec<AllowedPeer>) {
        let own = *self.swarm.local_peer_id();
        let (added, removed) = self.directory.replace(peers, &own);
        for peer in added {
            self.swarm.behaviour_mut().allowed.allow_peer(peer);
        }
        for peer in removed {
            self.swarm.behaviour_mut().allowed.disallow_peer(peer);
            self.swarm.behaviour_mut().pending.forget(&peer);
            self.backoffs.remove(&peer);
            self.banned.remove(&peer);
            self.pending.forget(&peer);
        }
    }

    fn on_command(&mut self, command: SwarmCommand) {
        match command {
            SwarmCommand::Publish(topic, body) => self.publish(topic, body),
            SwarmCommand::Judge { id, source, worth } => {
                let acceptance = match worth {
                    Worth::Spread => MessageAcceptance::Accept,
                    Worth::Known => MessageAcceptance::Ignore,
                    Worth::False => MessageAcceptance::Reject,
                };
                self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &source, acceptance);
            }
            SwarmCommand::Dial(peer, addresses) => self.dial(peer, addresses),
            SwarmCommand::Disconnect(peer) => {
                // Kept out for the longest pause only: a faulty peer may have been repaired.
                if self.swarm.behaviour_mut().allowed.disallow_peer(peer) {
                    self.banned.insert(peer, self.ticks + MAX_DIAL_PAUSE_TICKS);
                }
                self.pause(peer, MAX_DIAL_PAUSE_TICKS);
            }
            SwarmCommand::DisconnectKey(key) => {
                if let Some(peer) = super::directory::peer_id(&key) {
                    self.on_command(SwarmCommand::Disconnect(peer));
                }
            }
        }
    }

    fn publish(&mut self, topic: Topic, body: Vec<u8>) {
        let name = topic_name(&self.chain, topic);
        match self.swarm.behaviour_mut().gossip.publish(name, body) {
            Ok(_) => {}
            // Nobody is there to hear it, or everybody has heard it: what matters is sent again on request.
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
            Err(error) => tracing::debug!(%error, "gossip was not published"),
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, .. } if !self.directory.is_linked(&peer_id) => {
                let queues = link::open(&self.control, peer_id, &self.chain);
                self.directory.set_queues(&peer_id, Some(queues));
                tracing::info!(peer = %peer_id, "peer connected");
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.twins.closed(&peer_id, connection_id);
                self.directory.set_twins(&peer_id, self.twins.are(&peer_id));
                if num_established > 0 {
                    return;
                }
                self.directory.set_queues(&peer_id, None);
                self.pending.forget(&peer_id);
                self.backoffs.entry(peer_id).or_insert(Backoff { next_tick: self.ticks + 1, pause_ticks: 1 });
                tracing::info!(peer = %peer_id, "peer disconnected");
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                tracing::debug!(%peer, %error, "dial failed");
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                self.on_refused(&send_back_addr, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => tracing::info!(%address, "listening for peers"),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                self.on_gossip(propagation_source, message_id, message);
            }
            BehaviourEvent::Ping(ping::Event { peer, connection, result }) => match result {
                Ok(round_trip) => {
                    let round_trip_ms = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
                    self.directory.set_round_trip(&peer, round_trip_ms);
                    self.twins.answered(&peer, connection);
                    self.directory.set_twins(&peer, self.twins.are(&peer));
                }
                Err(error) => {
                    tracing::info!(%peer, %error, "peer does not answer, closing the connection");
                    self.swarm.close_connection(connection);
                }
            },
            BehaviourEvent::Identify(identify::Event::Received { connection_id, peer_id, info }) => {
                if link::is_of_another_network(&info.protocols, &self.chain) {
                    let code = peers::OTHER_NETWORK;
                    tracing::warn!(peer = %peer_id, %code, "peer is disconnected: it is of another network");
                    self.on_command(SwarmCommand::Disconnect(peer_id));
                }
                self.twins.known(peer_id, connection_id, &info.agent_version);
            }
            _ => {}
        }
    }

    /// Of strangers, who may come as often as they like, one is told of in a while.
    fn on_refused(&mut self, address: &Multiaddr, error: &ListenError) {
        let stranger = match error {
            ListenError::Denied { cause } => cause.downcast_ref::<NotAllowed>(),
            _ => None,
        };
        match stranger {
            Some(stranger) if self.quiet_until <= self.ticks => {
                self.quiet_until = self.ticks + STRANGER_PAUSE_TICKS;
                let code = peers::STRANGER;
                tracing::warn!(%address, %code, reason = %stranger, "incoming connection refused");
            }
            Some(stranger) => {
                tracing::debug!(%address, code = %peers::STRANGER, reason = %stranger, "incoming connection refused");
            }
            None => tracing::debug!(%address, %error, "incoming connection refused"),
        }
    }

    fn on_gossip(&mut self, source: PeerId, id: MessageId, message: gossipsub::Message) {
        let topic = self.topics.iter().find(|(_, hash)| *hash == message.topic).map(|(topic, _)| *topic);
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let (Some(topic), Some(from)) = (topic, self.directory.remote(&source)) else {
            gossip.report_message_validation_result(&id, &source, MessageAcceptance::Ignore);
            return;
        };
        let received = Gossip { from, topic, body: message.data, id: id.clone(), source };
        if self.queues.gossip.try_send(received).is_err() {
            gossip.report_message_validation_result(&id, &source, MessageAcceptance::Ignore);
        }
    }

    fn pause(&mut self, peer: PeerId, pause_ticks: u64) {
        self.backoffs.insert(peer, Backoff { next_tick: self.ticks + pause_ticks, pause_ticks });
    }

    fn dial_missing(&mut self) {
        self.ticks += 1;
        let over: Vec<PeerId> =
            self.banned.iter().filter(|(_, until)| **until <= self.ticks).map(|(peer, _)| *peer).collect();
        for peer in over {
            self.banned.remove(&peer);
            self.swarm.behaviour_mut().allowed.allow_peer(peer);
        }
        for (peer, addresses) in self.directory.missing() {
            if self.banned.contains_key(&peer) {
                continue;
            }
            let pause_ticks = match self.backoffs.get(&peer) {
                Some(backoff) if backoff.next_tick > self.ticks => continue,
                Some(backoff) => (backoff.pause_ticks * 2).min(MAX_DIAL_PAUSE_TICKS),
                None => 1,
            };
            self.pause(peer, pause_ticks);
            if addresses.iter().any(|address| host_name(address).is_some()) {
                self.resolve(peer, addresses);
            } else {
                self.dial(peer, addresses);
            }
        }
        self.backoffs.retain(|peer, _| !self.directory.is_linked(peer));
    }

    /// Names are resolved anew for each dial, beside the swarm.
    fn resolve(&self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let Some(commands) = self.queues.own_commands.upgrade() else { return };
        tokio::spawn(async move {
            let mut resolved = Vec::new();
            for address in addresses {
                resolved.extend(resolve(address).await);
            }
            if !resolved.is_empty() && commands.send(SwarmCommand::Dial(peer, resolved)).await.is_err() {
                tracing::trace!("network has stopped");
            }
        });
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let options =
            DialOpts::peer_id(peer).addresses(addresses).condition(PeerCondition::DisconnectedAndNotDialing).build();
        if let Err(error) = self.swarm.dial(options) {
            tracing::trace!(%peer, %error, "not dialled");
        }
    }
}

fn host_name(address: &Multiaddr) -> Option<String> {
    match address.iter().next() {
        Some(Protocol::Dns(name)) => Some(name.into_owned()),
        _ => None,
    }
}

/// The addresses behind a name, at most a few; an address without a name is itself.
async fn resolve(address: Multiaddr) -> Vec<Multiaddr> {
    let Some(name) = host_name(&address) else { return vec![address] };
    let rest: Vec<Protocol<'_>> = address.iter().skip(1).collect();
    match tokio::net::lookup_host((name.as_str(), 0)).await {
        Ok(found) => found
            .take(MAX_RESOLVED)
            .map(|socket| rest.iter().cloned().fold(Multiaddr::from(socket.ip()), Multiaddr::with))
            .collect(),
        Err(error) => {
            tracing::debug!(name, %error, "a peer's name was not resolved");
            Vec::new()
        }
    }
}
