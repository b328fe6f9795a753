//! Runs ledger execution above the last final block: builds and validates proposals, replays the log, and hands final
//! blocks to the store. Executed blocks wait here as layers until one per height is final, or consensus gives them up. A
//! failure of this machine is never a verdict on a block. Which batches a block names, who may propose it and when are
//! decided elsewhere.

mod layered;
mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use mingzhang_consensus::{BlockId, Build, Draft, Verdict, lanes};
use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::batch::{LanePosition, Reference, batches_digest};
use mingzhang_ledger::block::{self, Frame};
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::merkle::Frontier;
use mingzhang_ledger::outcome::Refusal;
use mingzhang_ledger::state::execute::{self, BlockContext, Candidate, Execution, Network, RecordOutcome};
use mingzhang_ledger::state::key::{self, Key};
use mingzhang_ledger::state::tree;
use mingzhang_ledger::state::{StateFault, Stored};
use thiserror::Error;

use crate::mutants;
use crate::store::{
    Cited, Committed, ExecutedBlock, FinalBlock, Finality, Store, StoreFault, Tip, View, Written, cited,
};
pub use layered::Layered;
pub use replay::LoggedBlock;

/// Heights below the tip at which a block is looked for that a repeated commit names.
const RECENT_HEIGHTS: usize = 4_096;

/// A batch that this node holds: what it really contains, and its transactions in order.
#[derive(Debug, Clone)]
pub struct HeldBatch {
    /// As computed from the payload here, not as somebody claims it.
    pub reference: Reference,
    /// What could not be decoded is not among them.
    pub candidates: Arc<[Candidate]>,
}

/// A block that waits to become final.
#[derive(Debug)]
pub struct Pending {
    pub executed: Arc<ExecutedBlock>,
    /// It executes a voted action.
    pub acted: bool,
    pub outcomes: Vec<RecordOutcome>,
    /// Transactions of its batches that the door inside the block refused.
    pub left_out: Vec<(Hash, Refusal)>,
}

/// What a commit wrote, in height order, for those who wait for it.
#[derive(Debug, Clone)]
pub struct CommittedBlock {
    pub block: Arc<Pending>,
    /// None if the store had it already.
    pub written: Option<Written>,
}

/// This node could not execute. Never a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExecutorFault {
    #[error(transparent)]
    Store(#[from] StoreFault),
    #[error("execution: {0}")]
    State(#[from] StateFault),
    #[error("parent {} is not held here", hex::encode(.0))]
    MissingParent(BlockId),
    #[error("block {} was not executed here", hex::encode(.0))]
    NotExecuted(BlockId),
    #[error("lane positions after the last final block are not known yet")]
    LanesUnknown,
}

/// What a child needs to know of its parent.
struct Parent {
    id: BlockId,
    height: u64,
    time_ms: u64,
    /// 0 at an epoch's start.
    turn: u64,
    log: Frontier,
    lanes: Vec<LanePosition>,
    state_size: u64,
    epoch: u64,
    is_boundary: bool,
}

impl Parent {
    fn pending(executed: &ExecutedBlock) -> Self {
        let header = &executed.header;
        Self {
            id: header.id(),
            height: header.height,
            time_ms: header.time_ms,
            turn: header.turn,
            log: executed.log.clone(),
            lanes: executed.positions.clone(),
            state_size: header.state_size,
            epoch: header.epoch,
            is_boundary: header.is_boundary(),
        }
    }

    fn tip(tip: &Tip) -> Self {
        Self {
            id: tip.id,
            height: tip.height,
            time_ms: tip.time_ms,
            turn: tip.turn,
            log: tip.log.clone(),
            lanes: tip.lanes.clone(),
            state_size: tip.state_size,
            epoch: tip.epoch,
            is_boundary: false,
        }
    }
}

/// The words that a proposer chooses; all else follows.
struct Words<'w> {
    turn: u64,
    proposer: u16,
    time_ms: u64,
    references: &'w [Reference],
    /// Lane positions after the block, and what the header says about them and the references.
    positions: Vec<LanePosition>,
    batches: Hash,
}

pub struct Executor {
    store: Arc<Store>,
    network: Network,
    pending: Mutex<BTreeMap<BlockId, Arc<Pending>>>,
}

impl Executor {
    pub fn new(store: Arc<Store>, network: Network) -> Self {
        Self { store, network, pending: Mutex::new(BTreeMap::new()) }
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Builds a block of these batches, in the order of the references that consensus chose, and keeps it.
    pub fn build(&self, build: &Build, batches: &[HeldBatch]) -> Result<Draft, ExecutorFault> {
        let (parent, view) = self.stand_on(&build.parent)?;
        let set = self.store.set();
        let references: Vec<Reference> = batches.iter().map(|batch| batch.reference).collect();
        let next = parent.height.saturating_add(1);
        let checked = lanes::check_references(&parent.lanes, &references, next, &set.parameters);
        // The mempool chose what does not continue the lanes: a fault of this node.
        let positions = checked.map_err(|_| StateFault::Invariant("the batches chosen do not continue their lanes"))?;
        let batches_digest = batches_digest(&positions, &references);
        let words = Words {
            turn: build.turn,
            proposer: build.proposer,
            time_ms: build.time_ms,
            references: &references,
            positions,
            batches: batches_digest,
        };
        let pending = self.execute(&view, &parent, words, &candidates_of(batches))?;
        let header = pending.executed.header;
        let acted = pending.acted;
        self.keep(pending);
        Ok(Draft { header, references, acted })
    }

    /// Whether a header commits to these references, in this order after its parent's lanes. Nobody signs references but
    /// through the header: others than its own are spoilt, by whoever handed them on, and say nothing of the block.
    pub fn commits_to(&self, header: &Header, references: &[Reference]) -> Result<bool, ExecutorFault> {
        let before = self.positions(&header.parent).ok_or(ExecutorFault::MissingParent(header.parent))?;
        if before.is_empty() {
            return Err(ExecutorFault::LanesUnknown);
        }
        let after = lanes::check_references(&before, references, header.height, &self.store.set().parameters);
        Ok(after.is_ok_and(|positions| batches_digest(&positions, references) == header.batches))
    }

    /// Recomputes a proposed header. `batches` are what this node holds for `references`, in their order; the caller
    /// has found all of them.
    pub fn validate(&self, header: &Header, references: &[Reference], batches: &[HeldBatch]) -> Verdict {
        match self.judge(header, references, batches) {
            Ok(Ok(acted)) => Verdict::Valid { acted },
            Ok(Err(reason)) => Verdict::Invalid { reason },
            Err(ExecutorFault::MissingParent(_)) => Verdict::MissingParent,
            Err(fault) => Verdict::Failed { reason: fault.to_string() },
        }
    }

    fn judge(
        &self,
        header: &Header,
        references: &[Reference],
        batches: &[HeldBatch],
    ) -> Result<Result<bool, String>, ExecutorFault> {
        if let Some(known) = self.pending(&header.id()) {
            return Ok(Ok(known.acted));
        }
        let (parent, view) = self.stand_on(&header.parent)?;
        let set = self.store.set();
        if parent.is_boundary {
            return Ok(Err("a child of a boundary block in its epoch".into()));
        }
        if header.time_ms <= parent.time_ms && parent.height > 0 {
            return Ok(Err(format!("time {} is not after the parent's {}", header.time_ms, parent.time_ms)));
        }
        if let Some(claimed) = differing_reference(references, batches) {
            return Ok(Err(format!("batch {} holds something else", hex::encode(claimed.hash))));
        }
        let next = parent.height.saturating_add(1);
        let positions = match lanes::check_references(&parent.lanes, references, next, &set.parameters) {
            Ok(positions) => positions,
            Err(fault) => return Ok(Err(fault.to_string())),
        };
        let words = Words {
            turn: header.turn,
            proposer: self.proposer(&set, header.turn)?,
            time_ms: header.time_ms,
            references,
            batches: batches_digest(&positions, references),
            positions,
        };
        let pending = self.execute(&view, &parent, words, &candidates_of(batches))?;
        if pending.executed.header != *header {
            let what = first_difference(header, &pending.executed.header);
            return Ok(Err(format!("{what} differs from what execution gives")));
        }
        let acted = pending.acted;
        self.keep(pending);
        Ok(Ok(acted))
    }

    /// Writes final blocks in height order with the certificate of the last. Blocks that are final already are
    /// skipped. What is not final and can no longer become it is dropped.
    pub fn commit(&self, blocks: &[BlockId], certificate: &FinalCert) -> Result<Vec<CommittedBlock>, ExecutorFault> {
        self.commit_by(blocks, &Finality::Certificate(certificate.clone()))
    }

    /// As [`Self::commit`], by a certificate or a recovery manifest.
    pub fn commit_by(&self, blocks: &[BlockId], by: &Finality) -> Result<Vec<CommittedBlock>, ExecutorFault> {
        let mut committed = Vec::with_capacity(blocks.len());
        for id in blocks {
            let Some(block) = self.pending(id) else {
                if self.is_final(id)? {
                    continue;
                }
                return Err(ExecutorFault::NotExecuted(*id));
            };
            // First, because whoever sees the block asks for them; without it they mean nothing.
            let rejected = block.outcomes.iter().filter(|record| record.outcome != 0);
            self.store.keep_details(rejected.map(|record| (record.index, record.detail.as_str())))?;
            let done = self.store.commit(&FinalBlock { executed: block.executed.clone(), by: by.clone() })?;
            let written = match done {
                Committed::Now(written) => Some(written),
                Committed::Before => None,
            };
            committed.push(CommittedBlock { block, written });
        }
        let tip = self.store.tip();
        self.lock().retain(|_, pending| pending.executed.header.height > tip.height);
        Ok(committed)
    }

    /// Drops what waits here but these blocks and those of this turn or later: consensus has given the others up, and
    /// has them executed again should they be needed after all.
    pub fn keep_only(&self, blocks: &BTreeSet<BlockId>, from: u64) {
        self.lock().retain(|id, pending| blocks.contains(id) || pending.executed.header.turn >= from);
    }

    /// A block that waits here.
    pub fn pending(&self, id: &BlockId) -> Option<Arc<Pending>> {
        self.lock().get(id).cloned()
    }

    /// Header, lane positions and references of a block that waits here, for peers who ask for it by id.
    pub fn block(&self, id: &BlockId) -> Option<(Header, Vec<LanePosition>, Vec<Reference>)> {
        let executed = self.pending(id)?.executed.clone();
        Some((executed.header, executed.positions.clone(), executed.references.clone()))
    }

    /// Lane positions after a block that is the tip or waits here: where the mempool continues.
    pub fn positions(&self, id: &BlockId) -> Option<Vec<LanePosition>> {
        let tip = self.store.tip();
        if tip.id == *id { Some(tip.lanes.clone()) } else { self.pending(id).map(|p| p.executed.positions.clone()) }
    }

    /// Executed blocks that wait.
    pub fn pending_count(&self) -> usize {
        self.lock().len()
    }

    /// The state after a block that is the tip or waits here.
    pub fn view(&self, id: &BlockId) -> Result<Layered<'_>, ExecutorFault> {
        let base = self.store.view()?;
        let layers = self.layers(id, &base)?;
        Ok(Layered::new(base, layers))
    }

    /// Whether a block of the log has this id. Asked for blocks that a repeated commit names.
    fn is_final(&self, id: &BlockId) -> Result<bool, ExecutorFault> {
        let view = self.store.view()?;
        let recent = (1..=view.height()).rev().take(RECENT_HEIGHTS);
        for height in recent {
            if view.header(height)?.is_some_and(|header| header.id() == *id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<BlockId, Arc<Pending>>> {
        self.pending.lock().expect("no holder of this lock panics")
    }

    /// However many wait already: refusing one more would stop this node for as long as none becomes final. How many
    /// there can be is consensus' matter.
    fn keep(&self, pending: Pending) {
        self.lock().insert(pending.executed.header.id(), Arc::new(pending));
    }

    /// The layers from `id` down to the block that `base` shows, newest first.
    fn layers(&self, id: &BlockId, base: &View<'_>) -> Result<Vec<Arc<Pending>>, ExecutorFault> {
        let all = self.lock();
        let mut layers: Vec<Arc<Pending>> = Vec::new();
        let mut next = *id;
        while next != base.tip().id {
            let above = layers.last().is_none_or(|layer| layer.executed.header.height > base.height() + 1);
            let layer = all.get(&next).filter(|_| above).ok_or(ExecutorFault::MissingParent(*id))?;
            next = layer.executed.header.parent;
            layers.push(layer.clone());
        }
        Ok(layers)
    }

    /// Parent and state for a proposal, whose references need the parent's lane positions.
    fn stand_on(&self, id: &BlockId) -> Result<(Parent, Layered<'_>), ExecutorFault> {
        let (parent, view) = self.stand_without_lanes(id)?;
        if parent.lanes.is_empty() { Err(ExecutorFault::LanesUnknown) } else { Ok((parent, view)) }
    }

    fn stand_without_lanes(&self, id: &BlockId) -> Result<(Parent, Layered<'_>), ExecutorFault> {
        let view = self.view(id)?;
        let parent = match view.newest() {
            Some(pending) => Parent::pending(&pending.executed),
            None => Parent::tip(view.base().tip()),
        };
        Ok((parent, view))
    }

    fn proposer(&self, set: &AuthoritySet, turn: u64) -> Result<u16, ExecutorFault> {
        let epoch = self.store.stored_epoch(set.epoch)?;
        let epoch = epoch.ok_or(StateFault::Invariant("the current epoch is not stored"))?;
        Ok(set.proposer(turn, epoch.opening_height))
    }

    /// Runs the records, changes the tree, forms the header.
    fn execute(
        &self,
        view: &Layered<'_>,
        parent: &Parent,
        words: Words<'_>,
        candidates: &[Candidate],
    ) -> Result<Pending, ExecutorFault> {
        let height = parent.height.checked_add(1).ok_or(StateFault::Invariant("height"))?;
        let first_index = parent.log.size();
        let context = BlockContext { height, epoch: parent.epoch, time_ms: words.time_ms, first_index };
        // Only what opened an epoch has no turn of its own.
        let recovered = match parent.turn {
            0 => self.store.recovered_set(parent.epoch, parent.height)?,
            _ => None,
        };
        let mut execution = execute::execute_after(view, &self.network, &context, candidates, recovered.as_ref())?;
        if mutants::LANES_IN_STATE.on() {
            let lanes = batches_digest(&words.positions, &[]).to_vec();
            execution.changes.insert(key::registry("lanes"), Stored { current: lanes.into(), trail: None });
        }
        let tree = tree::update(view, parent.state_size, &execution.changes)?;
        let set_hash = self.store.set().hash();
        let next_set = next_set(&execution.changes, &set_hash)?;
        let frame = Frame {
            height,
            epoch: parent.epoch,
            turn: words.turn,
            parent_turn: parent.turn,
            proposer: words.proposer,
            time_ms: words.time_ms,
            first_index,
            parent: parent.id,
            batches: words.batches,
            set_hash,
            next_set_hash: next_set.as_ref().map_or(set_hash, |set| set.hash()),
        };
        let (header, log) = block::header(&frame, &execution, &parent.log, &tree);
        let documents = documents(&execution, candidates, first_index);
        let left_out = left_out(&mut execution, candidates);
        let transactions = execution.records.iter().map(|record| record.transaction_id).collect();
        let executed = ExecutedBlock {
            header,
            positions: words.positions,
            references: words.references.to_vec(),
            entries: execution.entries,
            entry_hashes: execution.entry_hashes,
            transactions,
            documents,
            changes: execution.changes,
            appends: execution.appends,
            tree,
            log,
            next_set,
        };
        let acted = executed.next_set.is_some();
        Ok(Pending { executed: Arc::new(executed), acted, outcomes: execution.records, left_out })
    }
}

fn candidates_of(batches: &[HeldBatch]) -> Vec<Candidate> {
    batches.iter().flat_map(|batch| batch.candidates.iter().cloned()).collect()
}

/// The first reference that is not what the batch held under it really is.
fn differing_reference<'r>(references: &'r [Reference], batches: &[HeldBatch]) -> Option<&'r Reference> {
    let held = |position: usize| batches.get(position).map(|batch| batch.reference);
    references.iter().enumerate().find(|(position, claimed)| held(*position) != Some(**claimed)).map(|(_, c)| c)
}

/// The set that decides the next block, if this block changed it.
fn next_set(changes: &BTreeMap<Key, Stored>, current: &Hash) -> Result<Option<Arc<AuthoritySet>>, StateFault> {
    let Some(stored) = changes.get(&key::set_current()) else { return Ok(None) };
    let set = AuthoritySet::decode(&stored.current).map_err(|error| StateFault::Value(error.to_string()))?;
    Ok((set.hash() != *current).then(|| Arc::new(set)))
}

/// What the records cite that were logged from this index on: all candidates but those that the door refused.
fn documents(execution: &Execution, candidates: &[Candidate], first_index: u64) -> Vec<Cited> {
    let mut refused = execution.left_out.iter().map(|(position, _)| *position).peekable();
    let logged = (0..).zip(candidates).filter(|(position, _)| refused.next_if_eq(position).is_none());
    logged.zip(first_index..).flat_map(|((_, candidate), index)| cited(&candidate.transaction, index)).collect()
}

fn left_out(execution: &mut Execution, candidates: &[Candidate]) -> Vec<(Hash, Refusal)> {
    let positions = std::mem::take(&mut execution.left_out).into_iter();
    positions.filter_map(|(at, refusal)| Some((candidates.get(at)?.transaction.id(), refusal))).collect()
}

/// Names the first field in which two headers differ.
pub(super) fn first_difference(claimed: &Header, computed: &Header) -> &'static str {
    let fields = [
        (claimed.height == computed.height, "height"),
        (claimed.epoch == computed.epoch, "epoch"),
        (claimed.parent_turn == computed.parent_turn, "parent_turn"),
        (claimed.proposer == computed.proposer, "proposer"),
        (claimed.first_index == computed.first_index, "first_index"),
        (claimed.batches == computed.batches, "batches"),
        (claimed.set_hash == computed.set_hash, "set_hash"),
        (claimed.entry_count == computed.entry_count, "entry_count"),
        (claimed.log_root == computed.log_root, "log_root"),
        (claimed.state_size == computed.state_size, "state_size"),
        (claimed.state_root == computed.state_root, "state_root"),
    ];
    fields.iter().find(|(equal, _)| !equal).map_or("next_set_hash", |(_, name)| *name)
}

#[cfg(test)]
mod tests;
