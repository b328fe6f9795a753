//! A place where an agency's node runs: the real store on a disk of its own, executor, mempool, signer and consensus, put
//! together as the node does it, without threads and sockets. A crash leaves what was synced, and by chance a part of
//! what was not. What a running node does with effects is in `engine`.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use mingzhang_consensus::{Effect, Epoch, Peer, Setup, Turns};
use mingzhang_ledger::batch::Batch;
use mingzhang_ledger::outcome::Refusal;
use mingzhang_ledger::transaction::Transaction;
use mingzhang_node::clock::Clock;
use mingzhang_node::engine::blocks::Blocks;
use mingzhang_node::executor::Executor;
use mingzhang_node::mempool::{self, Mempool, Submitted};
use mingzhang_node::signer::{Seat, VoteSigner};
use mingzhang_node::store::{Memory, Settings, Store, StoreFault};
use rayon::ThreadPool;
use tempfile::TempDir;

use crate::founding::{AGENCIES, Network, consensus_key, peer_key};
use crate::random::Random;

/// A memory of which a test machine holds many.
const MEMORY: Memory = Memory { cache_bytes: 1 << 20, write_buffer_bytes: 1 << 20, small_state_leaves: 1 << 20 };
/// R and the interval of retransmission, as in a node's default configuration.
const RELAY_DELAY_MS: u64 = 100;
const RETRANSMIT_MS: u64 = 1_000;

type Loop = Pin<Box<dyn Future<Output = Result<(), StoreFault>>>>;

/// The parts of a running node.
pub struct Running {
    pub blocks: Blocks,
    pub turns: Turns,
    pub signer: VoteSigner,
    pub epoch: Arc<Epoch>,
    pub me: Option<Peer>,
    pub catching_up: bool,
    /// The mempool's own loops, polled whenever something may have come for them.
    admitting: Loop,
    packing: Loop,
    packed: Rc<RefCell<Vec<Batch>>>,
}

/// One agency's node, running or down.
pub struct Place {
    pub agency: usize,
    /// Which of its agency's keys it has.
    pub generation: u64,
    pub running: Option<Running>,
    /// Counts restarts: what was under way in an earlier life is lost.
    pub life: u32,
    pub clock_offset_ms: i64,
    pub clock_drift_ppm: i64,
    pub paused_until: u64,
    pub slow_ms: u64,
    /// The process dies after so many more effects.
    pub effects_left: Option<u64>,
    /// Its next sync fails, and with it the process.
    pub sync_fails: bool,
    /// Its disk is nearly full: nothing new is taken.
    full: bool,
    pub tick_at: Option<u64>,
    /// When the work that was given to it so far is done.
    pub busy_until: u64,
    /// Its disk was lost: it follows and signs nothing.
    pub doubted: bool,
    folder: TempDir,
    clock: Arc<AtomicU64>,
    /// Virtual time at which the clock was told the time last.
    told_at: u64,
    /// Length of the write-ahead log that is known to be on disk, and what it was at the sync before.
    synced: u64,
    synced_before: u64,
    /// What it signed last may be gone from its disk.
    pub damaged: bool,
    /// Synced writes are damaged, and later ones say that they were synced: the store has to notice.
    tells_of_loss: bool,
}

/// What happens to a page of the write-ahead log while the process is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Four kilobytes of zeros, which RocksDB passes over without an error.
    ZeroedPage,
    FlippedBit,
}

impl Damage {
    pub fn name(self) -> &'static str {
        match self {
            Self::ZeroedPage => "page of the disk zeroed",
            Self::FlippedBit => "bit of the disk flipped",
        }
    }
}

const PAGE: u64 = 4_096;
/// Behind a damaged record the reader goes on with the next block of the log.
const LOG_BLOCK: u64 = 32_768;

/// In memory where the machine has a place for that: what counts as synced is this file's matter.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a temporary folder")
}

fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

impl Place {
    pub fn new(agency: usize, now_ms: u64) -> Self {
        Self {
            agency,
            generation: 0,
            running: None,
            life: 0,
            clock_offset_ms: 0,
            clock_drift_ppm: 0,
            paused_until: 0,
            slow_ms: 0,
            effects_left: None,
            sync_fails: false,
            full: false,
            tick_at: None,
            busy_until: 0,
            doubted: false,
            folder: folder(),
            clock: Arc::new(AtomicU64::new(now_ms)),
            told_at: now_ms,
            synced: 0,
            synced_before: 0,
            damaged: false,
            tells_of_loss: false,
        }
    }

    pub fn name(&self) -> &'static str {
        AGENCIES[self.agency]
    }

    /// Sets its clock; the node's parts see the same. As the node's own does, it goes on at half speed where the time is
    /// set back.
    pub fn tell_time(&mut self, now_ms: u64, local_ms: u64) {
        let least = self.local_ms() + (now_ms - self.told_at) / 2;
        self.clock.store(least.max(local_ms), Ordering::Relaxed);
        self.told_at = now_ms;
    }

    pub fn local_ms(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    pub fn peer_key(&self) -> mingzhang_ledger::crypto::PublicKey {
        peer_key(self.name(), self.generation).public()
    }

    /// Its index in an epoch's set.
    pub fn seat_in(&self, epoch: &Epoch) -> Option<Seat> {
        Seat::find(epoch, &consensus_key(self.name(), self.generation))
    }

    /// Opens the store and starts consensus on what it holds. Returns the first effects.
    pub fn start(&mut self, network: &Network, pool: &Arc<ThreadPool>) -> Result<Vec<Effect>, StoreFault> {
        let settings = Settings { memory: MEMORY };
        let store = Arc::new(Store::open(&self.folder.path().join("store"), &network.foundation, &settings)?);
        assert!(
            !self.tells_of_loss || store.is_doubted(),
            "oracle disk: synced writes are gone, and the store signs on"
        );
        self.tells_of_loss = false;
        let key = consensus_key(self.name(), self.generation).public();
        if self.doubted {
            store.doubt(&key)?
        } else {
            store.settle_doubt(&key)?
        }
        self.doubted = store.is_doubted();
        let epoch = Arc::new(store.epoch()?);
        let ledger = network.genesis.founding.network.clone();
        let executor = Arc::new(Executor::new(Arc::clone(&store), ledger.clone()));
        let limits = mempool::Limits { linger_ms: 0, mempool_bytes: 64 << 20, lane_bytes: 8 << 20 };
        let clock = Arc::new(Clock::told(Arc::clone(&self.clock)));
        let parts =
            mempool::Parts { network: ledger, store: Arc::clone(&store), clock, pool: Arc::clone(pool), limits };
        let (mempool, mut submissions) = Mempool::open(parts, &epoch, self.seat_in(&epoch), &store.tip().lanes)?;
        let packed: Rc<RefCell<Vec<Batch>>> = Rc::default();
        let (admitter, packer, outbox) = (Arc::clone(&mempool), Arc::clone(&mempool), Rc::clone(&packed));
        let admitting: Loop = Box::pin(async move { admitter.admit_all(&mut submissions).await });
        let packing: Loop =
            Box::pin(async move { packer.pack_all(|batch| outbox.borrow_mut().push(batch.clone())).await });
        let (turns, signer, me, first) = self.core(&store, &epoch)?;
        mempool.accept(!self.full);
        let blocks = Blocks { store, executor, mempool };
        self.running =
            Some(Running { blocks, turns, signer, epoch, me, catching_up: false, admitting, packing, packed });
        self.life += 1;
        self.tick_at = None;
        self.busy_until = 0;
        self.note_synced();
        Ok(first)
    }

    /// Fills its disk or makes room on it, as the node's own look at its disk finds.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
        if let Some(running) = &self.running {
            running.blocks.mempool.accept(!full);
        }
    }

    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Consensus and signer as the store has them; as in the engine.
    fn core(
        &self,
        store: &Store,
        epoch: &Arc<Epoch>,
    ) -> Result<(Turns, VoteSigner, Option<Peer>, Vec<Effect>), StoreFault> {
        let restored = store.restored(epoch)?;
        let seat = self.seat_in(epoch);
        let me = seat.as_ref().map(|seat| seat.index);
        let signer = VoteSigner::new(epoch, seat, restored.tip.turn, &restored.records);
        let contradiction = signer.contradiction().filter(|_| !self.damaged);
        assert!(contradiction.is_none(), "oracle disk: a contradiction is stored: {contradiction:?}");
        let epoch = Epoch::clone(epoch);
        let setup = Setup { epoch, me, relay_delay_ms: RELAY_DELAY_MS, retransmit_ms: RETRANSMIT_MS };
        let (turns, first) = Turns::restore(self.local_ms(), setup, restored);
        Ok((turns, signer, me, first))
    }

    /// If a boundary block became final: everything starts anew on the set that it named.
    pub fn open_next_epoch(&mut self) -> Result<Option<Vec<Effect>>, StoreFault> {
        let Some(running) = &self.running else { return Ok(None) };
        let store = Arc::clone(&running.blocks.store);
        if store.tip().epoch == running.turns.epoch().number() {
            return Ok(None);
        }
        let epoch = Arc::new(store.epoch()?);
        running.blocks.mempool.open_epoch(&epoch, self.seat_in(&epoch))?;
        let (turns, signer, me, first) = self.core(&store, &epoch)?;
        if let Some(running) = &mut self.running {
            (running.turns, running.signer, running.me, running.epoch) = (turns, signer, me, epoch);
        }
        self.tick_at = None;
        self.note_synced();
        Ok(Some(first))
    }

    /// Lets the mempool admit and pack whatever waits. Returns the batches to be gossiped.
    pub fn pump(&mut self) -> Vec<Batch> {
        let Some(running) = &mut self.running else { return Vec::new() };
        for work in [&mut running.admitting, &mut running.packing] {
            if let Poll::Ready(ended) = poll_once(work) {
                panic!("oracle mempool: {ended:?}");
            }
        }
        running.packed.take()
    }

    /// A client hands in a record and gets the node's answer.
    pub fn submit(&mut self, record: &Transaction) -> Result<Submitted, Refusal> {
        let running = self.running.as_mut().expect("the node is up");
        let mempool = Arc::clone(&running.blocks.mempool);
        let record = record.clone();
        let mut answer: Pin<Box<dyn Future<Output = _>>> = Box::pin(async move { mempool.submit(record).await });
        if let Poll::Ready(known) = poll_once(&mut answer) {
            return known;
        }
        if let Poll::Ready(ended) = poll_once(&mut running.admitting) {
            panic!("oracle mempool: {ended:?}");
        }
        let Poll::Ready(answer) = poll_once(&mut answer) else { panic!("oracle mempool: a submission has no answer") };
        self.note_synced();
        answer
    }

    fn newest_log(&self) -> Option<PathBuf> {
        let files = std::fs::read_dir(self.folder.path().join("store")).ok()?.flatten().map(|entry| entry.path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max()
    }

    /// Everything written so far is on disk.
    pub fn note_synced(&mut self) {
        let length = self.newest_log().and_then(|log| log.metadata().ok()).map_or(0, |metadata| metadata.len());
        if length != self.synced {
            // A shorter one is a new log.
            self.synced_before = if length > self.synced { self.synced } else { 0 };
            self.synced = length;
        }
    }

    /// The process is gone; of what was not synced, the disk keeps a part by chance. True if something was lost.
    pub fn crash(&mut self, random: &mut Random) -> bool {
        self.running = None;
        (self.effects_left, self.sync_fails) = (None, false);
        let Some(log) = self.newest_log() else { return false };
        let written = log.metadata().expect("the log is there").len();
        let kept = random.between(self.synced.min(written), written);
        let file = std::fs::File::options().write(true).open(&log).expect("the log can be opened");
        file.set_len(kept).expect("the log can be cut");
        kept < written
    }

    /// Damages a page of the log of a process that is gone. True if there was one.
    pub fn damage(&mut self, damage: Damage, random: &mut Random) -> bool {
        let Some(log) = self.newest_log() else { return false };
        let mut bytes = std::fs::read(&log).expect("the log can be read");
        let pages = bytes.len() as u64 / PAGE;
        if pages == 0 {
            return false;
        }
        let start = random.between(0, pages - 1) * PAGE;
        let page = &mut bytes[start as usize..(start + PAGE) as usize];
        let whole = page.iter().any(|byte| *byte != 0);
        match damage {
            Damage::ZeroedPage => page.fill(0),
            Damage::FlippedBit => page[random.between(0, PAGE - 1) as usize] ^= 1 << random.between(0, 7),
        }
        // What was written after a sync says what was synced; it can be read if it begins behind the damaged block.
        let readable_again = (start / LOG_BLOCK + 1) * LOG_BLOCK;
        self.tells_of_loss = whole && self.synced_before >= readable_again && self.synced > self.synced_before;
        std::fs::write(&log, bytes).expect("the log can be written");
        self.damaged = true;
        true
    }

    /// Closes the store in good order.
    pub fn stop(&mut self) -> Result<(), StoreFault> {
        if let Some(running) = self.running.take() {
            running.blocks.store.close()?;
        }
        Ok(())
    }

    pub fn lose_disk(&mut self) {
        self.folder = folder();
        self.doubted = true;
        (self.synced, self.synced_before) = (0, 0);
    }
}
