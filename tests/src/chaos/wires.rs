//! The network between the nodes of one machine: a relay of TCP for every pair, so that a link can be cut, one way or both,
//! delayed, made to stall as loss makes TCP stall, or torn. What is done to which link is decided elsewhere.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::load::Dice;

/// Bytes that are read, delayed or lost together: about what travels in one packet train.
const PIECE_BYTES: usize = 16 * 1024;
/// Pieces under way in one direction; beyond it the sender waits, as behind a full window.
const PIECES_UNDER_WAY: usize = 64;
/// What TCP waits at least before it sends a lost piece again.
const SEND_AGAIN_MS: usize = 200;

/// A pair of nodes by their places, the lower first.
pub type Pair = (usize, usize);

/// How a link is at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Nothing arrives that the lower, or the higher, of the two sends; it waits, as for a peer that cannot be reached.
    pub cut: [bool; 2],
    pub delay_ms: u64,
    /// Up to so much more, for each piece another.
    pub jitter_ms: usize,
    /// So many pieces of a thousand are lost and sent again.
    pub loss_per_mille: usize,
    /// Connections that stood before the number changed are torn.
    pub torn: u64,
}

/// What the weather did to pieces.
#[derive(Debug, Default)]
pub struct Met {
    pub delayed: AtomicU64,
    pub lost: AtomicU64,
    pub held: AtomicU64,
    pub torn: AtomicU64,
}

/// All links of a network.
pub struct Wires {
    links: BTreeMap<Pair, watch::Sender<Weather>>,
    pub met: Arc<Met>,
    /// Where node i finds node j.
    doors: BTreeMap<(usize, usize), SocketAddr>,
    _runtime: Runtime,
}

/// One direction of one connection.
#[derive(Clone)]
struct Way {
    weather: watch::Receiver<Weather>,
    met: Arc<Met>,
    /// Which of the two cuts concerns it.
    sender: usize,
    seed: u64,
}

impl Wires {
    /// Opens a relay for every ordered pair of nodes that listen at these addresses.
    pub fn between(nodes: &[SocketAddr], seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime for the relays");
        let (mut links, mut doors, met) = (BTreeMap::new(), BTreeMap::new(), Arc::new(Met::default()));
        for (from, _) in nodes.iter().enumerate() {
            for (to, target) in nodes.iter().enumerate().filter(|(to, _)| *to != from) {
                let link =
                    links.entry((from.min(to), from.max(to))).or_insert_with(|| watch::Sender::new(Weather::default()));
                let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
                doors.insert((from, to), listener.local_addr().expect("it is bound"));
                let seed = seed.wrapping_add((from * nodes.len() + to) as u64);
                let way =
                    Way { weather: link.subscribe(), met: Arc::clone(&met), sender: usize::from(from > to), seed };
                runtime.spawn(relay(listener, *target, way));
            }
        }
        Self { links, met, doors, _runtime: runtime }
    }

    /// The address under which node `from` knows node `to`.
    pub fn door(&self, from: usize, to: usize) -> SocketAddr {
        *self.doors.get(&(from, to)).expect("two different nodes")
    }

    pub fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        self.links.keys().copied()
    }

    /// Changes the weather of a link.
    pub fn set(&self, pair: Pair, change: impl FnOnce(&mut Weather)) {
        self.links.get(&pair).expect("a link between two nodes").send_modify(change);
    }

    /// Good weather everywhere; torn connections stay torn.
    pub fn heal(&self) {
        for link in self.links.values() {
            link.send_modify(|weather| *weather = Weather { torn: weather.torn, ..Weather::default() });
        }
    }
}

/// Accepts for ever; each connection leads to the target, or is dropped if nobody is there.
async fn relay(listener: TcpListener, target: SocketAddr, way: Way) {
    let mut connections = 0u64;
    while let Ok((near, _)) = listener.accept().await {
        connections += 1;
        let (way, seed) = (way.clone(), way.seed.wrapping_add(connections << 16));
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect(target).await else { return };
            carry(near, far, Way { seed, ..way }).await;
        });
    }
}

/// Until both directions have ended, or the connection is torn.
async fn carry(near: TcpStream, far: TcpStream, way: Way) {
    for stream in [&near, &far] {
        if stream.set_nodelay(true).is_err() {
            return;
        }
    }
    let mut weather = way.weather.clone();
    let torn = weather.borrow().torn;
    let ((near_reads, near_writes), (far_reads, far_writes)) = (near.into_split(), far.into_split());
    let back = Way { sender: 1 - way.sender, seed: !way.seed, ..way.clone() };
    let met = Arc::clone(&way.met);
    tokio::select! {
        _ = async { tokio::join!(pass(near_reads, far_writes, way), pass(far_reads, near_writes, back)) } => {}
        _ = weather.wait_for(|weather| weather.torn != torn) => { met.torn.fetch_add(1, Ordering::Relaxed); }
    }
}

/// One direction: pieces leave in their order, each when it is due and nothing is cut.
async fn pass(reads: OwnedReadHalf, mut writes: OwnedWriteHalf, way: Way) {
    let (sender, mut pieces) = mpsc::channel(PIECES_UNDER_WAY);
    let mut weather = way.weather.clone();
    let (from, met) = (way.sender, Arc::clone(&way.met));
    let take = take(reads, sender, way);
    let give = async {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            if weather.borrow().cut[from] {
                met.held.fetch_add(1, Ordering::Relaxed);
                if weather.wait_for(|weather| !weather.cut[from]).await.is_err() {
                    return;
                }
            }
            let piece: Vec<u8> = piece;
            if writes.write_all(&piece).await.is_err() {
                return;
            }
        }
        // The end travels like everything else: a peer behind a cut does not learn of it.
        drop(weather.wait_for(|weather| !weather.cut[from]).await);
        drop(writes.shutdown().await);
    };
    // Once nothing can be given any more, nothing need be taken.
    tokio::select! {
        () = give => {}
        () = async { take.await; std::future::pending().await } => {}
    }
}

async fn take(mut reads: OwnedReadHalf, sender: mpsc::Sender<(Instant, Vec<u8>)>, way: Way) {
    let mut dice = Dice { seed: way.seed, throws: 0 };
    let (mut buffer, mut last) = (vec![0; PIECE_BYTES], Instant::now());
    while let Ok(length @ 1..) = reads.read(&mut buffer).await {
        let weather = *way.weather.borrow();
        let mut late_ms = weather.delay_ms;
        if weather.jitter_ms > 0 {
            late_ms += dice.below(weather.jitter_ms) as u64;
        }
        if late_ms > 0 {
            way.met.delayed.fetch_add(1, Ordering::Relaxed);
        }
        if weather.loss_per_mille > 0 && dice.below(1_000) < weather.loss_per_mille {
            way.met.lost.fetch_add(1, Ordering::Relaxed);
            late_ms += (SEND_AGAIN_MS + dice.below(SEND_AGAIN_MS)) as u64;
        }
        // What follows a lost piece waits behind it.
        last = last.max(Instant::now() + Duration::from_millis(late_ms));
        if sender.send((last, buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}
