//! Builds the parts of a node, starts and stops them, and holds what the API sees of a running node. How the parts
//! work is said in each; reading keys and configuration is done before.

mod addresses;
mod alarms;
mod clocks;
mod gossip;
mod handle;
mod health;
#[cfg(test)]
mod tests;
mod threads;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use mingzhang_consensus::{Epoch, Input, Work};
use mingzhang_genesis::Genesis;
use mingzhang_ledger::authority::Member;
use mingzhang_ledger::batch::Batch;
use mingzhang_ledger::crypto::PublicKey;
use mingzhang_ledger::records::registry::founding::found;
use mingzhang_ledger::state::StateFault;
use mingzhang_ledger::state::execute::Network as LedgerNetwork;
use mingzhang_seeds::{Address, Host, Seeds};
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use addresses::Addresses;
pub use clocks::Clocks;
use handle::Watched;
pub use handle::{EVENT_STREAMS, MemberStatus, NodeHandle, NodeState, NodeStatus};
use threads::Threads;

use crate::clock::Clock;
use crate::config::Config;
use crate::engine::blocks::Blocks;
use crate::engine::{self, Engine, EngineFault, EpochWatch, inbound, worker};
use crate::executor::{Executor, ExecutorFault};
use crate::guard::{self, Finding, GuardFault};
use crate::keys::NodeKeys;
use crate::mempool::{self, Mempool};
use crate::network::{self, AllowedPeer, NetworkFault, Topic};
use crate::sealer::{self, Sealer};
use crate::signer::Identity;
use crate::store::disk::Limits;
use crate::store::{Foundation, Settings, Store, StoreFault};
use crate::sync;

/// Seals and strays that may wait for their turn.
const SIDE_QUEUE_LENGTH: usize = 1_024;
/// How long more of what waits already may go unsaid.
const MORE_WORK_PAUSE: Duration = Duration::from_millis(10);
/// How often it is looked whether an agreed action is due.
const DUE_INTERVAL: Duration = Duration::from_secs(1);
/// Fetches that may wait to begin.
const FETCH_QUEUE_LENGTH: usize = 256;

/// Whether this build speaks QUIC.
pub(crate) const QUIC: bool = cfg!(feature = "quic");

const NOT_THE_KEY_OF_THE_SEAT: &str = "the set has another consensus key for this agency than the one in the key file; this node follows without a \
     vote until a vote of the agencies gives its key the seat, or until it has caught up with the one that did";

/// Why a node does not start, or stopped.
#[derive(Debug, Error)]
pub enum Fault {
    #[error(transparent)]
    Store(#[from] StoreFault),
    #[error(transparent)]
    Network(#[from] NetworkFault),
    #[error(transparent)]
    Engine(#[from] EngineFault),
    #[error("the genesis state cannot be made: {0}")]
    Founding(#[from] StateFault),
    #[error(transparent)]
    Executor(#[from] ExecutorFault),
    #[error(transparent)]
    Guard(#[from] GuardFault),
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    #[error("{part} ended unexpectedly")]
    Ended { part: &'static str },
}

/// What a node is started with: configuration, the checked genesis, where its peers are, and its keys.
pub struct Start {
    pub config: Config,
    pub genesis: Genesis,
    pub seeds: Seeds,
    pub keys: NodeKeys,
    /// The disk was lost; the consensus key was used for the last time before this.
    pub lost_at_ms: Option<u64>,
    /// How wrong this node's clock shall be; zero outside of trials.
    pub clock_offset_ms: i64,
}

/// A running node.
pub struct Node {
    handle: Arc<NodeHandle>,
    threads: Threads,
}

impl Node {
    /// What the API works with.
    pub fn handle(&self) -> &Arc<NodeHandle> {
        &self.handle
    }

    /// Resolves when a part failed; a healthy node never resolves.
    pub async fn failed(&mut self) -> Fault {
        self.threads.failed().await
    }

    /// Ends like a process that is killed: the store is not closed in good order.
    #[cfg(test)]
    async fn abandon(self) {
        drop(self.handle);
        self.threads.stop().await;
    }

    /// Stops every part, and closes the store in good order once nothing writes any more.
    pub async fn stop(self) -> Result<(), Fault> {
        let store = Arc::clone(&self.handle.store);
        self.handle.end_streams();
        drop(self.handle);
        self.threads.stop().await;
        tokio::task::spawn_blocking(move || store.close()).await.map_err(|_| Fault::Ended { part: "closing" })??;
        Ok(())
    }
}

/// Starts a node. Returns once it listens for peers.
pub async fn start(start: Start) -> Result<Node, Fault> {
    let Start { config, genesis, seeds, keys, lost_at_ms, clock_offset_ms } = start;
    health::require_room(&config.data_directory, &Limits::default())?;
    let store = Arc::new(open_store(&config.data_directory, &genesis)?);
    let ledger = genesis.founding.network.clone();
    let epoch = Arc::new(store.epoch()?);
    let identity = Arc::new(Identity::new(keys));
    if identity.seat(&epoch).is_none() && epoch.set.index_of(&config.agency).is_some() {
        tracing::error!(agency = config.agency, epoch = epoch.number(), "{}", NOT_THE_KEY_OF_THE_SEAT);
    }
    guard_key(&store, &config, &identity)?;
    let peers = allowed_peers(&epoch, &[], &seeds, &replaced(&store, &epoch)?);
    let network_config =
        network::Config { key: identity.peer.clone(), chain: genesis.hash, listen: listen_addresses(&config), peers };
    let (network, inbox) = network::start(network_config).await?;
    let agency = if config.observer { "observer" } else { config.agency.as_str() };
    let height = store.tip().height;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, agency, network = ledger.origin, epoch = epoch.number(), height, "node starts");
    let (api, ops, peers) = (config.api_listen, config.ops_listen, network.addresses());
    tracing::info!(%api, %ops, ?peers, "node listens");
    let clock = Arc::new(Clock::wrong_by(clock_offset_ms));
    let mut shared = Shared::open(&config, (store, clock), ledger, (&epoch, identity), network)?;
    shared.lost_at_ms = lost_at_ms;
    shared.run(inbox, Founded { config, genesis, seeds, epoch })
}

/// Nothing is signed with a key whose earlier votes may not be in the store.
fn guard_key(store: &Store, config: &Config, identity: &Identity) -> Result<(), Fault> {
    let Some(key) = identity.consensus() else { return Ok(()) };
    store.settle_doubt(&key)?;
    match guard::check(store, &config.keys_directory, &key)? {
        Finding::Same => {}
        finding @ (Finding::OtherStore | Finding::RolledBack) => {
            tracing::error!(?finding, "the data is not what this consensus key signed with last");
            store.doubt(&key)?;
        }
    }
    Ok(())
}

pub(crate) fn open_store(path: &Path, genesis: &Genesis) -> Result<Store, Fault> {
    let (state, appends) = found(&genesis.founding)?;
    let foundation = Foundation { genesis_hash: genesis.hash, set: genesis.set.clone(), state, appends };
    Ok(Store::open(path, &foundation, &Settings::default())?)
}

/// TCP, and in a build with QUIC the same port of UDP.
fn listen_addresses(config: &Config) -> Vec<Multiaddr> {
    let (ip, port) = (config.peer_listen.ip(), config.peer_listen.port());
    let tcp = Multiaddr::from(ip).with(Protocol::Tcp(port));
    let quic = QUIC.then(|| Multiaddr::from(ip).with(Protocol::Udp(port)).with(Protocol::QuicV1));
    std::iter::once(tcp).chain(quic).collect()
}

/// Peer keys that an agency of the set had in an earlier one and has no more: whoever holds one need not be the agency.
fn replaced(store: &Store, epoch: &Epoch) -> Result<BTreeSet<PublicKey>, StoreFault> {
    let mut keys = BTreeSet::new();
    for number in 0..epoch.number() {
        let Some(earlier) = store.stored_epoch(number)? else { continue };
        let stays = |member: &&Member| epoch.set.index_of(&member.agency).is_some();
        keys.extend(earlier.set.members.iter().filter(stays).map(|member| member.peer_key));
    }
    for member in &epoch.set.members {
        keys.remove(&member.peer_key);
    }
    Ok(keys)
}

/// Members of the set, with their addresses from the seeds, and without a seat those who are about to join, former
/// members and observers that the seeds name, except by a key that was replaced.
pub(crate) fn allowed_peers(
    epoch: &Epoch,
    joining: &[Member],
    seeds: &Seeds,
    replaced: &BTreeSet<PublicKey>,
) -> Vec<AllowedPeer> {
    let addresses = |key| {
        let known = seeds.peers.iter().filter(|peer| peer.peer_key == key);
        known.flat_map(|peer| &peer.addresses).filter(|address| can_dial(address)).map(multiaddr).collect()
    };
    let members: Vec<AllowedPeer> = (0u16..)
        .zip(&epoch.set.members)
        .map(|(seat, member)| AllowedPeer {
            key: member.peer_key,
            seat: Some(seat),
            name: member.agency.clone(),
            addresses: addresses(member.peer_key),
        })
        .collect();
    let mut keys: BTreeSet<_> = members.iter().map(|member| member.key).collect();
    let seeded = seeds.peers.iter().map(|peer| (peer.peer_key, &peer.agency));
    let seeded = seeded.filter(|(key, _)| !replaced.contains(key));
    let seatless = joining.iter().map(|member| (member.peer_key, &member.agency)).chain(seeded);
    let mut peers = members;
    for (key, name) in seatless {
        if keys.insert(key) {
            peers.push(AllowedPeer { key, seat: None, name: name.clone(), addresses: addresses(key) });
        }
    }
    peers
}

/// An address of QUIC says nothing to a build without it, which is said once.
fn can_dial(address: &Address) -> bool {
    static TOLD: Once = Once::new();
    let can = QUIC || !address.quic;
    if !can {
        TOLD.call_once(|| tracing::warn!(%address, "addresses of QUIC are not dialled: this build has none"));
    }
    can
}

fn multiaddr(address: &Address) -> Multiaddr {
    let host = match &address.host {
        Host::Ip4(ip) => Protocol::Ip4(*ip),
        Host::Ip6(ip) => Protocol::Ip6(*ip),
        Host::Dns(name) => Protocol::Dns(name.clone().into()),
    };
    let base = Multiaddr::empty().with(host);
    if address.quic {
        base.with(Protocol::Udp(address.port)).with(Protocol::QuicV1)
    } else {
        base.with(Protocol::Tcp(address.port))
    }
}

/// What a node was founded with.
struct Founded {
    config: Config,
    genesis: Genesis,
    seeds: Seeds,
    epoch: Arc<Epoch>,
}

/// What the parts of a node share.
struct Shared {
    store: Arc<Store>,
    ledger: LedgerNetwork,
    clock: Arc<Clock>,
    pool: Arc<rayon::ThreadPool>,
    identity: Arc<Identity>,
    mempool: Arc<Mempool>,
    submissions: mempool::Submissions,
    executor: Arc<Executor>,
    network: network::Handle,
    lost_at_ms: Option<u64>,
}

impl Shared {
    fn open(
        config: &Config,
        (store, clock): (Arc<Store>, Arc<Clock>),
        ledger: LedgerNetwork,
        (epoch, identity): (&Epoch, Arc<Identity>),
        network: network::Handle,
    ) -> Result<Self, Fault> {
        let pool = rayon::ThreadPoolBuilder::new().thread_name(|index| format!("verify-{index}")).build();
        let pool = Arc::new(pool.map_err(|error| std::io::Error::other(error.to_string()))?);
        let parts = mempool::Parts {
            network: ledger.clone(),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            pool: Arc::clone(&pool),
            limits: mempool::Limits {
                linger_ms: config.batch_linger_ms,
                mempool_bytes: usize::try_from(config.mempool_bytes).unwrap_or(usize::MAX),
                lane_bytes: usize::try_from(config.lane_quota_bytes).unwrap_or(usize::MAX),
            },
        };
        let positions = store.tip().lanes.clone();
        let (mempool, submissions) = Mempool::open(parts, epoch, identity.seat(epoch), &positions)?;
        let executor = Arc::new(Executor::new(Arc::clone(&store), ledger.clone()));
        Ok(Self { store, ledger, clock, pool, identity, mempool, submissions, executor, network, lost_at_ms: None })
    }

    /// Starts every part on its thread, in the order in which values flow.
    fn run(self, inbox: network::Inbox, founded: Founded) -> Result<Node, Fault> {
        let Founded { config, genesis, seeds, epoch } = founded;
        let (input_sender, inputs) = mpsc::channel(engine::INPUT_QUEUE_LENGTH);
        let (job_sender, jobs) = mpsc::channel(worker::JOB_QUEUE_LENGTH);
        let (fetch_sender, fetches) = mpsc::channel(FETCH_QUEUE_LENGTH);
        let (seal_sender, seals) = mpsc::channel(SIDE_QUEUE_LENGTH);
        let (stray_sender, strays) = mpsc::channel(SIDE_QUEUE_LENGTH);
        let (epoch_sender, epoch_watch) = watch::channel(epoch);
        let (status_sender, status) = watch::channel(engine::Status::default());

        let addresses = Arc::new(Addresses::new(config.seeds_file.clone(), seeds, &epoch_watch.borrow().set));
        let connected = inbox.connected.clone();
        let queues = engine::Queues {
            inputs,
            connected: inbox.connected,
            listed: addresses.changes(),
            jobs: job_sender.clone(),
            fetches: fetch_sender,
            epoch: epoch_sender,
            status: status_sender,
        };
        let engine = Engine::open(self.engine_parts(&config, &addresses), queues)?;
        let sync_parts = Arc::new(sync::Parts {
            store: Arc::clone(&self.store),
            executor: Arc::clone(&self.executor),
            mempool: Arc::clone(&self.mempool),
            network: self.network.clone(),
            epoch: epoch_watch.clone(),
            inputs: input_sender.clone(),
            jobs: job_sender,
            giver: sync::snapshot::Giver::default(),
            consensus_key: self.identity.consensus(),
            trust: Arc::new(sync::Trust::of(&genesis)),
            snapshot_from_blocks: Some(config.snapshot_from_blocks).filter(|blocks| *blocks > 0),
        });
        let catch_up = sync::CatchUp::new(Arc::clone(&sync_parts));

        let data_directory = config.data_directory.clone();
        let clocks = Arc::new(Clocks::default());
        let (followed, known) = (catch_up.followed(), Arc::clone(&addresses));
        let watched = Watched { status, clocks: Arc::clone(&clocks), addresses: known, followed };
        let handle = Arc::new(NodeHandle::new(&self, genesis, config, watched));
        let mut threads = Threads::new();
        threads.run("engine", async move { Ok(engine.run().await?) })?;
        let worker_parts = self.worker_parts(epoch_watch.clone(), input_sender.clone());
        threads.run("worker", async move { Ok(worker::work(jobs, &worker_parts).await?) })?;
        let verify = self.inbound_parts(epoch_watch.clone(), clocks);
        let note_sender = seal_sender.clone();
        let outlets = inbound::Outlets { inputs: input_sender.clone(), seals: seal_sender, strays: stray_sender };
        threads.run("inbound", async move { Ok(inbound::verify_inbound(inbox.inbound, verify, outlets).await?) })?;
        let sealer = Sealer::new(self.sealer_parts(&handle.config));
        let heights = self.store.watch_height();
        threads.run("sealer", async move { Ok(sealer.run(seals, heights).await?) })?;
        threads.spawn(sync::serve(inbox.requests, Arc::clone(&sync_parts)));
        threads.spawn(sync::fetch_all(fetches, Arc::clone(&sync_parts), catch_up.clone()));
        threads.spawn(catch_up.clone().follow(connected, Arc::clone(&self.identity)));
        threads.spawn(sync::note::ask_again(Arc::clone(&sync_parts), note_sender));
        threads.spawn(sync::strays(strays, sync_parts, catch_up));
        let gossip = gossip::Parts {
            epoch: epoch_watch,
            mempool: Arc::clone(&self.mempool),
            store: Arc::clone(&self.store),
            network: self.network.clone(),
            identity: Arc::clone(&self.identity),
            inputs: input_sender.clone(),
        };
        threads.run("gossip", async move { Ok(gossip::take_in(inbox.gossip, gossip).await?) })?;
        let mempool = Arc::clone(&self.mempool);
        let health = health::Parts { data_directory, mempool, addresses, limits: Limits::default() };
        threads.run("health", async move { Ok(health::watch(health).await?) })?;
        self.run_mempool(&mut threads, input_sender)?;
        Ok(Node { handle, threads })
    }

    fn run_mempool(self, threads: &mut Threads, inputs: mpsc::Sender<Input>) -> Result<(), Fault> {
        let Self { mempool, mut submissions, network, .. } = self;
        let admitting = Arc::clone(&mempool);
        threads.run("admission", async move { Ok(admitting.admit_all(&mut submissions).await?) })?;
        let packing = Arc::clone(&mempool);
        threads.run("packing", async move {
            let publish = |batch: &Batch| {
                if !network.publish(Topic::Batches, batch.encode()) {
                    tracing::debug!("a batch was not gossiped: it will be asked for");
                }
            };
            Ok(packing.pack_all(publish).await?)
        })?;
        threads.run("work", async move { Ok(tell_work(&mempool, &inputs).await?) })
    }

    fn engine_parts(&self, config: &Config, addresses: &Arc<Addresses>) -> engine::Parts {
        let (addresses, store) = (Arc::clone(addresses), Arc::clone(&self.store));
        engine::Parts {
            store: Arc::clone(&self.store),
            mempool: Arc::clone(&self.mempool),
            network: self.network.clone(),
            clock: Arc::clone(&self.clock),
            identity: Arc::clone(&self.identity),
            peers: Box::new(move |epoch, joining| {
                // Addresses of those who come later are added to the file while the node runs.
                addresses.expect(epoch.set.members.iter().chain(joining).cloned().collect());
                Ok(allowed_peers(epoch, joining, &addresses.read(), &replaced(&store, epoch)?))
            }),
            relay_delay_ms: config.relay_delay_ms,
            retransmit_ms: config.retransmission_ms,
            lost_at_ms: self.lost_at_ms,
        }
    }

    fn worker_parts(&self, epoch: EpochWatch, inputs: mpsc::Sender<Input>) -> worker::Parts {
        let blocks = Blocks {
            store: Arc::clone(&self.store),
            executor: Arc::clone(&self.executor),
            mempool: Arc::clone(&self.mempool),
        };
        worker::Parts { blocks, network: self.network.clone(), epoch, identity: Arc::clone(&self.identity), inputs }
    }

    fn inbound_parts(&self, epoch: EpochWatch, clocks: Arc<Clocks>) -> inbound::Parts {
        inbound::Parts {
            epoch,
            clock: Arc::clone(&self.clock),
            clocks,
            pool: Arc::clone(&self.pool),
            mempool: Arc::clone(&self.mempool),
            store: Arc::clone(&self.store),
            network: self.network.clone(),
        }
    }

    fn sealer_parts(&self, config: &Config) -> sealer::Parts {
        sealer::Parts {
            store: Arc::clone(&self.store),
            network: self.network.clone(),
            clock: Arc::clone(&self.clock),
            origin: self.ledger.origin.clone(),
            agency: config.agency.clone(),
            keys: Arc::clone(self.identity.sealing()),
        }
    }
}

/// Tells consensus what waits, whenever it changed.
async fn tell_work(mempool: &Mempool, inputs: &mpsc::Sender<Input>) -> Result<(), StoreFault> {
    let mut last = Work::default();
    loop {
        let work = mempool.work()?;
        let more_of_it = !last.waiting.is_empty() && !work.waiting.is_empty();
        if work != last {
            last = work.clone();
            if inputs.send(Input::Work(work)).await.is_err() {
                return Ok(());
            }
        }
        // That something waits is said at once. Under load every batch would be news, and each look costs as much as
        // a few records.
        if more_of_it {
            tokio::time::sleep(MORE_WORK_PAUSE).await;
        }
        // The time of an agreed change comes without anything else changing.
        tokio::select! {
            () = mempool.changed() => {}
            () = tokio::time::sleep(DUE_INTERVAL) => {}
        }
    }
}
