//! What the API and the operator's pages see of a running node: submit, status, peers, and the store to read from.
//! Everything here may be called from any task; only the store blocks.

use std::sync::Arc;

use mingzhang_genesis::Genesis;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::outcome::Refusal;
use mingzhang_ledger::state::execute::Network as LedgerNetwork;
use mingzhang_ledger::transaction::Transaction;
use tokio::sync::{Semaphore, watch};

use super::Shared;
use super::addresses::Addresses;
use super::alarms;
use super::clocks::Clocks;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine;
use crate::mempool::{ExpiryWait, Fill, Mempool, Promise, Submitted, Verified};
use crate::network::{self, PeerStatus};
use crate::store::disk::{Limits, Space};
use crate::store::{Store, StoreFault};
use crate::sync::followed::Followed;

/// Readers of event streams at the same time.
pub const EVENT_STREAMS: usize = 200;
/// Reads of the store for events at the same time: a crowd that replays the log leaves threads for everybody else.
const EVENT_READS: usize = 4;

/// A running node.
pub struct NodeHandle {
    pub genesis: Arc<Genesis>,
    pub config: Arc<Config>,
    pub store: Arc<Store>,
    /// What execution knows of the network, for dry runs.
    pub ledger: LedgerNetwork,
    /// The places of those who read a stream of events.
    pub event_streams: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
    /// Turns of reading for them, in the order of asking.
    pub event_reads: Semaphore,
    clock: Arc<Clock>,
    mempool: Arc<Mempool>,
    network: network::Handle,
    watched: Watched,
}

/// What other parts of the node keep up to date.
pub(super) struct Watched {
    pub status: watch::Receiver<engine::Status>,
    pub clocks: Arc<Clocks>,
    pub addresses: Arc<Addresses>,
    /// Members had nothing newer.
    pub followed: Arc<Followed>,
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Takes part at the tip, or follows there without a seat: a member had nothing newer, and an observer has seen a
    /// sealed note, if anything is recorded.
    Ready,
    /// Knows of final blocks that it does not hold yet.
    CatchingUp,
    /// Connected to fewer members than a quorum needs: nothing can become final. As an observer: to none.
    Isolated,
    /// A member that signs nothing before it has heard what its key signed.
    Following,
    /// An alarm stopped the signing.
    Halted,
}

impl NodeState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::CatchingUp => "catching_up",
            Self::Isolated => "isolated",
            Self::Following => "following",
            Self::Halted => "halted",
        }
    }
}

/// One member of the authority set, seen from this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    pub agency: String,
    pub seat: u16,
    /// This node itself counts as connected while it signs.
    pub connected: bool,
    /// Turns that passed without its block since this node started.
    pub missed_turns: u64,
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    pub agency: String,
    /// Its seat in the authority set; none for an observer.
    pub seat: Option<u16>,
    pub state: NodeState,
    pub epoch: u64,
    pub turn: u64,
    pub height: u64,
    /// Block time of the last final block; 0 before the first.
    pub time_ms: u64,
    /// Size of the log.
    pub tree_size: u64,
    pub members: Vec<MemberStatus>,
    pub quorum: usize,
    /// Faulty members that the set tolerates.
    pub tolerates: usize,
    /// Registered peers that are connected, observers too.
    pub peers_connected: usize,
    /// Newest first, then the faults of others that are proven here.
    pub alarms: Vec<String>,
}

impl NodeHandle {
    pub(super) fn new(shared: &Shared, genesis: Genesis, config: Config, watched: Watched) -> Self {
        Self {
            genesis: Arc::new(genesis),
            config: Arc::new(config),
            store: Arc::clone(&shared.store),
            ledger: shared.ledger.clone(),
            event_streams: Arc::new(Semaphore::new(EVENT_STREAMS)),
            stopping: watch::Sender::new(false),
            event_reads: Semaphore::new(EVENT_READS),
            clock: Arc::clone(&shared.clock),
            mempool: Arc::clone(&shared.mempool),
            network: shared.network.clone(),
            watched,
        }
    }

    /// Answers that have no end of their own end now.
    pub(super) fn end_streams(&self) {
        self.stopping.send_replace(true);
    }

    /// True once the node stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Admits a transaction: refused, or stored and answered for, or known. Answers as soon as it is stored. Wait for its
    /// outcome with [`Store::watch_height`] and [`Store::location`].
    pub async fn submit(&self, transaction: impl Into<Arc<Transaction>>) -> Result<Submitted, Refusal> {
        self.mempool.submit(transaction).await
    }

    /// As [`Self::submit`], of many that share one check and one synced write: an answer for each, in order.
    pub async fn submit_all(&self, transactions: Vec<Arc<Transaction>>) -> Vec<Result<Submitted, Refusal>> {
        self.mempool.submit_all(transactions).await
    }

    /// What a submission would be refused for; nothing is submitted. Reads the store and checks a signature: not for an
    /// async thread.
    pub fn would_refuse(&self, transaction: &Transaction) -> Result<Option<Refusal>, StoreFault> {
        self.mempool.would_refuse(transaction)
    }

    /// The signed promise for a transaction that was admitted here and is not final yet.
    pub fn promise(&self, transaction_id: &Hash) -> Option<Promise> {
        self.mempool.promise(transaction_id)
    }

    /// Whether a transaction was admitted here and is not final yet.
    pub fn is_pending(&self, transaction_id: &Hash) -> bool {
        self.mempool.is_pending(transaction_id)
    }

    /// Held while a client waits, past its transaction's expiry, for a block whose time proves it.
    pub fn wait_for_expiry(&self) -> ExpiryWait<'_> {
        self.mempool.wait_for_expiry()
    }

    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    pub fn peers(&self) -> Vec<PeerStatus> {
        self.network.peers()
    }

    /// How full the mempool is.
    pub fn fill(&self) -> Fill {
        self.mempool.fill()
    }

    /// The signatures of transactions that were verified here.
    pub fn verified(&self) -> &Verified {
        self.mempool.verified()
    }

    /// How far another member's clock is ahead of this node's at least, in milliseconds.
    pub fn clock_ahead_ms(&self) -> u64 {
        self.watched.clocks.ahead_ms()
    }

    /// Room on the disk that holds the store, if the system says.
    pub fn disk(&self) -> Option<Space> {
        Space::of(&self.config.data_directory).ok()
    }

    /// Whether the list of addresses can be used as it stands now.
    pub fn addresses_are_good(&self) -> bool {
        self.watched.addresses.alarm().is_none()
    }

    /// Addresses on which peers reach this node.
    pub fn peer_addresses(&self) -> &[libp2p::Multiaddr] {
        self.network.addresses()
    }

    /// Whether a node without a seat has what is there: nobody tells it of blocks that it does not know of.
    fn has_followed(&self, height: u64) -> bool {
        let proves = !self.config.observer || height == 0 || self.store.sealed_size() > 0;
        self.watched.followed.is() && proves
    }

    pub fn status(&self) -> NodeStatus {
        let engine = self.watched.status.borrow().clone();
        let (tip, set, peers) = (self.store.tip(), self.store.set(), self.peers());
        let connected = |seat: u16| peers.iter().any(|peer| peer.connected && peer.seat == Some(seat));
        let members: Vec<MemberStatus> = (0u16..)
            .zip(&set.members)
            .map(|(seat, member)| MemberStatus {
                agency: member.agency.clone(),
                seat,
                connected: if engine.seat == Some(seat) { !engine.halted } else { connected(seat) },
                missed_turns: engine.missed_turns.get(usize::from(seat)).copied().unwrap_or(0),
            })
            .collect();
        let reachable = members.iter().filter(|member| member.connected).count();
        let state = if engine.halted {
            NodeState::Halted
        } else if reachable < if engine.seat.is_some() { set.quorum() } else { 1 } {
            NodeState::Isolated
        } else if engine.catching_up || (engine.seat.is_none() && !self.has_followed(tip.height)) {
            NodeState::CatchingUp
        } else if engine.seat.is_some() && !engine.signing {
            NodeState::Following
        } else {
            NodeState::Ready
        };
        let final_turn = if tip.epoch == engine.epoch { tip.turn } else { engine.turn };
        NodeStatus {
            agency: self.config.agency.clone(),
            seat: engine.seat,
            state,
            epoch: set.epoch,
            turn: engine.turn,
            height: tip.height,
            time_ms: tip.time_ms,
            tree_size: tip.tree_size(),
            members,
            quorum: set.quorum(),
            tolerates: set.tolerated_faults(),
            peers_connected: peers.iter().filter(|peer| peer.connected).count(),
            alarms: self
                .watched
                .clocks
                .alarm()
                .into_iter()
                .chain(alarms::set_back(self.clock.ahead_of_system_ms(), set.parameters.time_precision_ms))
                .chain(alarms::twins(&peers))
                .chain(alarms::failing(engine.turn, final_turn, set.members.len()))
                .chain(alarms::disk(self.disk().as_ref(), &Limits::default()))
                .chain(self.watched.addresses.alarm())
                .chain(engine.alarms)
                .chain(self.store.offence_alarms())
                .collect(),
        }
    }
}
