//! Transactions between their admission and their block: own ones, durable and promised, and the signed batches of all
//! authors. Bounded in every direction. What a block finally holds is decided by execution, what is proposed when by
//! consensus.

mod admission;
mod backlog;
mod check;
mod intake;
pub mod lane;
pub mod own;
mod packing;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use mingzhang_consensus::{Epoch, Work};
use mingzhang_ledger::authority::Parameters;
use mingzhang_ledger::batch::{Batch, LanePosition, Reference};
use mingzhang_ledger::crypto::{Hash, PublicKey, Signature};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::outcome::Refusal;
use mingzhang_ledger::state::execute::{Candidate, Network};
use mingzhang_ledger::transaction::Transaction;
use rayon::ThreadPool;
use tokio::sync::{Notify, mpsc, oneshot};

use admission::Standing;
pub use admission::Submitted;
pub use check::{Verified, verify_all};
pub use intake::{Arrival, Taken};

use crate::clock::Clock;
use crate::executor::HeldBatch;
use crate::mutants;
use crate::signer::Seat;
use crate::store::{ExecutedBlock, Store, StoreFault, Tip};
use backlog::Backlog;
use lane::Lanes;
use own::{Own, RecordKey};

/// Transactions that may wait for their check; more are refused at once.
pub const SUBMISSION_QUEUE_LENGTH: usize = 4_096;
/// What a refused submitter is told to wait.
pub const RETRY_AFTER_SECONDS: u64 = 1;
/// Refusal: too many requests.
pub const TOO_MANY: u16 = 1013;
/// Refusal: this node does not take transactions now.
pub const NOT_READY: u16 = 1014;
/// Refusal: the signature does not hold.
pub const BAD_SIGNATURE: u16 = 1006;
pub const TAKEN: u16 = 1015;

/// A transaction that was taken in and stored: this node answers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    pub transaction_id: Hash,
    pub time_ms: u64,
    /// The record was admitted before; the id is that of the first transaction.
    pub repeated: bool,
}

/// The signed promise to record an admitted transaction within the merge delay. Not a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    pub transaction_id: Hash,
    pub epoch: u64,
    pub author: u16,
    /// When the transaction was admitted.
    pub time_ms: u64,
    pub signature: Signature,
}

/// What the status page says about the mempool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fill {
    pub own_transactions: usize,
    pub own_queued: usize,
    pub own_bytes: usize,
    pub bytes: usize,
}

/// Local limits of the mempool; none of them can change a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a transaction waits for others to share a batch with.
    pub linger_ms: u64,
    /// Bytes of all transactions that wait here, own and others'.
    pub mempool_bytes: usize,
    /// Bytes of one author that are not final.
    pub lane_bytes: usize,
}

/// What the mempool works with.
pub struct Parts {
    pub network: Network,
    pub store: Arc<Store>,
    pub clock: Arc<Clock>,
    pub pool: Arc<ThreadPool>,
    pub limits: Limits,
}

#[derive(Debug)]
struct State {
    lanes: Lanes,
    own: Own,
    seat: Option<Seat>,
    parameters: Parameters,
    author_keys: Vec<PublicKey>,
    run: u64,
    next_seq: u64,
    /// Positions after the newest block that was executed here: what is beyond them is not on its way.
    head: (u64, Vec<LanePosition>),
    last_expiry_ms: u64,
    backlog: Backlog,
}

/// The mempool. Its lock is held for memory only, never over a write.
pub struct Mempool {
    parts: Parts,
    state: Mutex<State>,
    /// Held while batches are stored and then held: what is refused is dropped from the store before anybody else holds it.
    storing: Mutex<()>,
    submissions: mpsc::Sender<Submission>,
    /// Transactions in all of them.
    submitted: AtomicUsize,
    /// Something may have to be packed.
    packing: Notify,
    /// What waits may have changed.
    changed: Notify,
    /// Whether new transactions are taken: not while the disk is nearly full.
    accepting: AtomicBool,
    /// Clients that wait for proof that their transaction expired.
    expiry_waits: AtomicUsize,
    verified: Verified,
}

/// Held while a client waits for a block whose time proves that its transaction expired: that is demand for one.
pub struct ExpiryWait<'a>(&'a Mempool);

impl Drop for ExpiryWait<'_> {
    fn drop(&mut self) {
        self.0.expiry_waits.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

/// What was handed in together, and where its answers go, one for each in order.
struct Submission {
    transactions: Vec<Arc<Transaction>>,
    reply: oneshot::Sender<Vec<Result<Submitted, Refusal>>>,
}

/// Submissions on their way to [`Mempool::admit_all`].
pub struct Submissions(mpsc::Receiver<Submission>);

impl Mempool {
    /// `positions` are the tip's. The run of the own lane is opened durably before anything is packed.
    pub fn open(
        parts: Parts,
        epoch: &Epoch,
        seat: Option<Seat>,
        positions: &[LanePosition],
    ) -> Result<(Arc<Self>, Submissions), StoreFault> {
        let (submissions, receiver) = mpsc::channel(SUBMISSION_QUEUE_LENGTH);
        // Unknown while a joiner replays the log: then they start from nothing until a block tells them.
        let mut positions = positions.to_vec();
        positions.resize(epoch.members(), LanePosition::default());
        let state = State {
            lanes: Lanes::new(epoch.number(), &positions, parts.limits.lane_bytes),
            own: Own::default(),
            seat,
            parameters: epoch.set.parameters.clone(),
            author_keys: author_keys(epoch),
            run: 0,
            next_seq: 0,
            head: (0, positions),
            last_expiry_ms: 0,
            backlog: Backlog::default(),
        };
        let (packing, changed) = (Notify::new(), Notify::new());
        let (accepting, submitted, expiry_waits) = (AtomicBool::new(true), AtomicUsize::new(0), AtomicUsize::new(0));
        let state = Mutex::new(state);
        let storing = Mutex::new(());
        let verified = Verified::default();
        let mempool =
            Self { parts, state, storing, submissions, submitted, packing, changed, accepting, expiry_waits, verified };
        mempool.open_run()?;
        mempool.restore(epoch)?;
        Ok((Arc::new(mempool), Submissions(receiver)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A new run of the own lane, later than any before: no sequence number is ever signed twice.
    fn open_run(&self) -> Result<(), StoreFault> {
        let lane_run = {
            let state = self.lock();
            let Some(seat) = &state.seat else { return Ok(()) };
            state.lanes.position(seat.index).run
        };
        let run = self.parts.store.open_run(self.parts.clock.now_ms(), lane_run)?.into_inner();
        let mut state = self.lock();
        (state.run, state.next_seq) = (run, 0);
        Ok(())
    }

    /// Takes in again what the store kept: batches of this epoch, and own transactions that are not final.
    fn restore(&self, epoch: &Epoch) -> Result<(), StoreFault> {
        let turn = self.parts.store.last_turn(epoch)?;
        self.reach(turn);
        let batches = self.parts.store.batches(epoch.number())?;
        let arrivals = batches.into_iter().map(|batch| Arrival { batch, needed: true, author_verified: true });
        self.take_in(arrivals.collect())?;
        self.restore_own()
    }

    /// Whether a transaction was admitted here and is not final yet.
    pub fn is_pending(&self, transaction_id: &Hash) -> bool {
        self.lock().own.by_id(transaction_id).is_some()
    }

    /// The promise for a transaction that was admitted here and is not final yet, signed for who asks.
    pub fn promise(&self, transaction_id: &Hash) -> Option<Promise> {
        let (time_ms, seat) = {
            let state = self.lock();
            (state.own.by_id(transaction_id)?.admitted.time_ms, state.seat.clone()?)
        };
        let signature = seat.sign_admission(transaction_id, time_ms);
        let (epoch, author) = (seat.epoch, seat.index);
        Some(Promise { transaction_id: *transaction_id, epoch, author, time_ms, signature })
    }

    /// The signatures of transactions that were verified here.
    pub fn verified(&self) -> &Verified {
        &self.verified
    }

    pub fn fill(&self) -> Fill {
        let state = self.lock();
        Fill {
            own_transactions: state.own.count(),
            own_queued: state.own.queued(),
            own_bytes: state.own.bytes(),
            bytes: state.lanes.bytes(),
        }
    }

    /// What this node holds for the references of a block, in their order; or those that it lacks.
    pub fn held(&self, references: &[Reference]) -> Result<Vec<HeldBatch>, Vec<Reference>> {
        let mut state = self.lock();
        references.iter().for_each(|reference| state.lanes.need(reference));
        let (mut held, mut missing) = (Vec::with_capacity(references.len()), Vec::new());
        for reference in references {
            match state.lanes.get(reference) {
                Some(batch) => {
                    let candidates = match mutants::LOCAL_CLOCK.on() {
                        true => self.in_time_here(&batch.candidates),
                        false => Arc::clone(&batch.candidates),
                    };
                    held.push(HeldBatch { reference: batch.reference, candidates });
                }
                None => missing.push(*reference),
            }
        }
        if missing.is_empty() { Ok(held) } else { Err(missing) }
    }

    fn in_time_here(&self, candidates: &[Candidate]) -> Arc<[Candidate]> {
        let now_ms = self.parts.clock.now_ms();
        let in_time = |candidate: &&Candidate| candidate.transaction.payload().expires_at > now_ms;
        candidates.iter().filter(in_time).cloned().collect()
    }

    /// A turn has begun here.
    pub fn reach(&self, turn: u64) {
        self.lock().lanes.reach(turn);
    }

    /// Whether the batches of a proposal of this turn are needed; see [`Lanes::expects`].
    pub fn expects(&self, epoch: u64, turn: u64) -> bool {
        let mut state = self.lock();
        state.lanes.epoch() == epoch && state.lanes.expects(turn)
    }

    pub fn batch(&self, reference: &Reference) -> Option<Arc<Batch>> {
        self.lock().lanes.get(reference).map(|held| Arc::clone(&held.batch))
    }

    /// The batches of an own proposal, to ride on it.
    pub fn attached(&self, references: &[Reference]) -> Vec<Batch> {
        self.lock().lanes.attached(references)
    }

    /// Whether a batch with this author, place and content is held.
    pub fn holds(&self, batch: &Batch) -> bool {
        let hash = batch.hash();
        let (author, run, seq) = (batch.author, batch.run, batch.seq);
        self.lock().lanes.get(&Reference { author, run, seq, records: 0, bytes: 0, hash }).is_some()
    }

    /// Whether the mempool lacks this batch and could hold it.
    pub fn lacks(&self, reference: &Reference) -> bool {
        let state = self.lock();
        let holding = state.lanes.judge(state.lanes.epoch(), reference, true);
        matches!(holding, lane::Holding::Held | lane::Holding::Second { .. })
    }

    /// References for a block on a parent with these lane positions.
    pub fn select(&self, positions: &[LanePosition], height: u64, max_records: u64, max_bytes: u64) -> Vec<Reference> {
        self.lock().lanes.select(positions, height, max_records, max_bytes)
    }

    /// A block of this height was executed here and leaves the lanes at these positions.
    pub fn executed(&self, header: &Header, positions: Vec<LanePosition>) {
        let mut state = self.lock();
        if header.epoch == state.lanes.epoch() && header.height >= state.head.0 {
            state.head = (header.height, positions);
        }
    }

    /// Whether new transactions are taken from now on.
    pub fn accept(&self, accepting: bool) {
        self.accepting.store(accepting, Ordering::Release);
    }

    /// Says, for as long as the guard lives, that a client waits for proof of expiry.
    pub fn wait_for_expiry(&self) -> ExpiryWait<'_> {
        self.expiry_waits.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
        ExpiryWait(self)
    }

    /// Resolves when what waits may have changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What waits for a block, judged at the tip.
    pub fn work(&self) -> Result<Work, StoreFault> {
        let door = self.door()?;
        let height = door.height();
        let (mut fronts, full) = {
            let state = self.lock();
            let own = state.seat.as_ref().map(|seat| seat.index);
            (state.lanes.fronts(own, height), state.lanes.fills_block(&state.head.1, &state.parameters))
        };
        for front in fronts.iter_mut().filter(|front| !front.passes && front.viable_from < front.candidates.len()) {
            front.later_from = None;
            for candidate in front.candidates.iter().skip(front.viable_from) {
                match door.stands(candidate)? {
                    Standing::Passes => break,
                    Standing::Later => drop(front.later_from.get_or_insert(front.viable_from)),
                    Standing::Never => {}
                }
                front.viable_from += 1;
            }
            // One that is dead now made room for a look at what stands behind it.
            if front.viable_from == front.candidates.len() {
                self.changed.notify_one();
            }
        }
        let waiting = self.lock().lanes.waiting(&fronts, height);
        let expiry_waits = self.expiry_waits.load(Ordering::Acquire) > 0;
        let action_due = door.action_is_due()?;
        Ok(Work { full: full && !waiting.is_empty(), waiting, action_due, expiry_waits })
    }

    /// A block became final. Drops what is settled, queues again what was left out and can still pass. The store forgot
    /// what the block recorded with the same write.
    pub fn committed(&self, block: &ExecutedBlock) -> Result<(), StoreFault> {
        let (now_ms, block_time_ms) = (self.parts.clock.now_ms(), block.header.time_ms);
        let (epoch, dropped, left_out) = {
            let mut state = self.lock();
            let before = state.own.count();
            block.transactions.iter().for_each(|id| state.own.forget_id(id));
            let taken = before - state.own.count();
            state.backlog.note(now_ms, taken);
            let own = state.seat.as_ref().map(|seat| seat.index);
            // A node that catches up may be an epoch ahead of its lanes: these are opened at the tip.
            let ours = block.header.epoch == state.lanes.epoch();
            let dropped = if ours { state.lanes.advance(&block.positions, block.header.turn) } else { Vec::new() };
            let own_dropped = dropped.iter().filter(|held| Some(held.reference.author) == own);
            let left_out: Vec<own::Pending> = own_dropped
                .flat_map(|held| state.own.left_out(held.reference.run, held.reference.seq, &held.candidates))
                .collect();
            (state.lanes.epoch(), dropped, left_out)
        };
        // Those that the block names went with it.
        let unnamed: Vec<Reference> =
            dropped.iter().map(|held| held.reference).filter(|held| !block.references.contains(held)).collect();
        if !unnamed.is_empty() {
            self.parts.store.drop_batches(epoch, &unnamed)?;
        }
        let door = self.door()?;
        let mut again = Vec::new();
        let mut hopeless = self.expired(now_ms, block_time_ms);
        for pending in left_out {
            let key = own::record_key(&pending.transaction);
            if door.passes(&pending.transaction)? { again.push(key) } else { hopeless.push(key) }
        }
        let settled: Vec<Hash> = {
            let mut state = self.lock();
            again.iter().for_each(|key| state.own.requeue(key, now_ms));
            hopeless.iter().filter_map(|key| state.own.forget(key)).collect()
        };
        if !settled.is_empty() {
            self.parts.store.drop_admitted(&settled)?;
        }
        self.packing.notify_one();
        self.changed.notify_one();
        Ok(())
    }

    /// Own records that can no longer be recorded. Looked for once a second.
    fn expired(&self, now_ms: u64, block_time_ms: u64) -> Vec<RecordKey> {
        let mut state = self.lock();
        if now_ms.saturating_sub(state.last_expiry_ms) < 1_000 {
            return Vec::new();
        }
        state.last_expiry_ms = now_ms;
        state.own.expired(block_time_ms)
    }

    /// The node took over a peer's state: its lanes go on from there, unless an epoch is to be opened first.
    pub fn jump(&self, tip: &Tip) {
        let mut state = self.lock();
        if tip.epoch == state.lanes.epoch() {
            state.lanes.advance(&tip.lanes, tip.turn);
            state.head = (tip.height, tip.lanes.clone());
        }
        drop(state);
        self.changed.notify_one();
    }

    /// A boundary block became final: lanes start anew, and own transactions are batched again under a new run. Who has
    /// a seat again finds in the store what it answered for before.
    pub fn open_epoch(&self, epoch: &Epoch, seat: Option<Seat>) -> Result<(), StoreFault> {
        let returns = {
            let mut state = self.lock();
            let returns = state.seat.is_none() && seat.is_some();
            // Read under the lock: what is committed after it advances these lanes.
            let tip = self.parts.store.tip();
            let mut positions = if tip.epoch == epoch.number() { tip.lanes.clone() } else { Vec::new() };
            positions.resize(epoch.members(), LanePosition::default());
            state.lanes = Lanes::new(epoch.number(), &positions, self.parts.limits.lane_bytes);
            state.parameters = epoch.set.parameters.clone();
            state.author_keys = author_keys(epoch);
            state.head = (tip.height, positions);
            state.seat = seat;
            returns
        };
        self.open_run()?;
        if returns {
            self.restore_own()?;
        }
        let now_ms = self.parts.clock.now_ms();
        self.lock().own.requeue_all(now_ms);
        self.packing.notify_one();
        Ok(())
    }
}

fn author_keys(epoch: &Epoch) -> Vec<PublicKey> {
    epoch.set.members.iter().map(|member| member.consensus_key).collect()
}

impl State {
    /// Whether `count` more transactions of `size` bytes find room: own in number and bytes, and in all.
    fn has_room(&self, (count, size): (usize, usize), limits: &Limits) -> bool {
        self.own.count().saturating_add(count) <= self.backlog.allowed()
            && self.own.bytes().saturating_add(size) <= limits.lane_bytes
            && self.lanes.bytes().saturating_add(self.own.queued_bytes()).saturating_add(size) <= limits.mempool_bytes
    }

    /// The consensus key of an author.
    fn author_key(&self, author: u16) -> Option<PublicKey> {
        self.author_keys.get(usize::from(author)).copied()
    }
}
