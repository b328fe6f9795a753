//! Where the time of one node goes, per record and part: the network's own work, run through the parts of one node with
//! a real store and without a network. Every figure is CPU of one thread.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mingzhang_consensus::{Build, Draft};
use mingzhang_genesis::Genesis;
use mingzhang_ledger::batch::{LanePosition, Reference};
use mingzhang_ledger::certificate::{FinalCert, Signers};
use mingzhang_ledger::crypto::{PublicKey, Signature, verify_batch};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::records::registry::OfficerKey;
use mingzhang_ledger::state::execute::{self, BlockContext, Candidate};
use mingzhang_ledger::state::{Overlay, key, tree};
use mingzhang_ledger::transaction::Transaction;
use mingzhang_node::executor::{Executor, HeldBatch};
use mingzhang_node::store::{Foundation, Settings, Store};
use serde_json::{Value, json};

use mingzhang_tests::work::{Officers, Signed};

/// Payments of a block at each of their three steps, as in a network at 4,000 records a second.
const STEPS_PER_BLOCK: u64 = 130;
/// Blocks between two steps of a payment, as many as pass in a network: what a record needs has left the processor's cache.
const STEP_BLOCKS: u64 = 15;
/// Blocks of one measurement; the first begins after as many as a store keeps for proofs below the tip: from then on it gives
/// old ones back.
const BLOCKS: u64 = 100;
const WARM_BLOCKS: u64 = 70;
/// Records of the preparation in one block.
const PREPARED_PER_BLOCK: usize = 250;
const BLOCK_INTERVAL_MS: u64 = 100;

/// How often may be measured: all payments are made before the first block.
pub fn times() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=50)
}

/// Microseconds per record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts {
    pub records: usize,
    /// In the state, at the end.
    pub state_leaves: u64,
    pub decode_us: f64,
    pub verify_us: f64,
    pub execute_us: f64,
    pub tree_us: f64,
    pub commit_us: f64,
    pub leaves_per_record: f64,
}

impl Parts {
    pub fn json(&self) -> Value {
        let tenth = |number: f64| (number * 10.0).round() / 10.0;
        json!({
            "records": self.records, "state_leaves": self.state_leaves,
            "decode_us": tenth(self.decode_us), "verify_us": tenth(self.verify_us),
            "execute_us": tenth(self.execute_us), "tree_us": tenth(self.tree_us), "commit_us": tenth(self.commit_us),
            "state_leaves_per_record": tenth(self.leaves_per_record),
        })
    }
}

/// One node without a network.
struct Lone {
    store: Arc<Store>,
    executor: Executor,
    members: u16,
    time_ms: u64,
    sum: Parts,
}

/// Measures over a store of its own in `folder`, founded like the network of `genesis`: so many times, while the state grows.
pub fn measure(
    folder: &Path,
    (genesis, officers): (&Genesis, &Officers),
    now_ms: u64,
    times: u64,
) -> Result<Vec<Parts>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let foundation = Foundation::of(&genesis.founding).map_err(|error| text(&error))?;
    let store = Arc::new(Store::open(folder, &foundation, &Settings::default()).map_err(|error| text(&error))?);
    let executor = Executor::new(Arc::clone(&store), genesis.founding.network.clone());
    let members = u16::try_from(genesis.set.members.len()).unwrap_or(u16::MAX);
    let mut lone = Lone { store, executor, members, time_ms: now_ms, sum: Parts::default() };
    for step in officers.preparation() {
        for chunk in step.chunks(PREPARED_PER_BLOCK) {
            lone.block(chunk)?;
        }
    }
    let total = times * BLOCKS + WARM_BLOCKS;
    let payments: Vec<[Signed; 3]> = (0..total * STEPS_PER_BLOCK).map(|n| officers.payment("X", n)).collect();
    let group = |block: Option<u64>, step: usize| {
        let range = block.map(|block| block * STEPS_PER_BLOCK..(block + 1) * STEPS_PER_BLOCK).unwrap_or(0..0);
        let payments = range.filter_map(|n| payments.get(usize::try_from(n).ok()?));
        payments.map(move |steps| steps[step].clone()).collect::<Vec<_>>()
    };
    let mut measured = Vec::new();
    for block in 0..total {
        if block == WARM_BLOCKS {
            lone.sum = Parts::default();
        }
        let requests = group(Some(block), 0);
        let approvals = group(block.checked_sub(STEP_BLOCKS), 1);
        let confirmations = group(block.checked_sub(2 * STEP_BLOCKS), 2);
        lone.block(&[requests, approvals, confirmations].concat())?;
        if block >= WARM_BLOCKS && (block - WARM_BLOCKS + 1).is_multiple_of(BLOCKS) {
            measured.push(lone.average());
            lone.sum = Parts::default();
        }
    }
    lone.store.close().map_err(|error| text(&error))?;
    Ok(measured)
}

impl Lone {
    fn average(&self) -> Parts {
        let per_record = |seconds: f64| seconds * 1e6 / self.sum.records.max(1) as f64;
        Parts {
            records: self.sum.records,
            state_leaves: self.store.tip().state_size,
            decode_us: per_record(self.sum.decode_us),
            verify_us: per_record(self.sum.verify_us),
            execute_us: per_record(self.sum.execute_us),
            tree_us: per_record(self.sum.tree_us),
            commit_us: per_record(self.sum.commit_us),
            leaves_per_record: self.sum.leaves_per_record / self.sum.records.max(1) as f64,
        }
    }

    /// One block of these records, through every part; times are added up in seconds.
    fn block(&mut self, records: &[Signed]) -> Result<(), String> {
        let start = cpu_time();
        let transactions: Vec<Arc<Transaction>> = records
            .iter()
            .map(|signed| Transaction::decode(&signed.bytes).map(Arc::new).map_err(|error| format!("{error:?}")))
            .collect::<Result<_, _>>()?;
        self.sum.decode_us += (cpu_time() - start).as_secs_f64();
        let candidates = self.verified(transactions)?;
        let tip = self.store.tip();
        let (height, turn) = (tip.height + 1, tip.turn + 1);
        self.time_ms += BLOCK_INTERVAL_MS;
        let author = u16::try_from(height % u64::from(self.members)).unwrap_or(0);
        let position = tip.lanes.get(usize::from(author)).copied().unwrap_or_default();
        let reference = next_reference(author, position, height, records);
        let set = self.store.set();
        let epoch = self.store.stored_epoch(set.epoch).map_err(|error| error.to_string())?;
        let proposer = set.proposer(turn, epoch.map_or(0, |epoch| epoch.opening_height));
        self.alone(&candidates, &tip.id, height, tip.tree_size())?;
        let build = Build {
            turn,
            parent: tip.id,
            height,
            parent_turn: tip.turn,
            proposer,
            time_ms: self.time_ms,
            max_records: 100_000,
            max_bytes: 1 << 24,
        };
        let batch = HeldBatch { reference, candidates: candidates.into() };
        let draft = self.executor.build(&build, &[batch]).map_err(|error| error.to_string())?;
        self.commit(&draft)?;
        self.sum.records += records.len();
        Ok(())
    }

    fn verified(&mut self, transactions: Vec<Arc<Transaction>>) -> Result<Vec<Candidate>, String> {
        let view = self.store.view().map_err(|error| error.to_string())?;
        let state = Overlay::new(&view);
        let key = |transaction: &Arc<Transaction>| -> Result<Option<PublicKey>, String> {
            let key: Option<OfficerKey> =
                state.get(&key::officer_key(&transaction.key_id())).map_err(|error| error.to_string())?;
            Ok(key.map(|key| PublicKey(key.key)))
        };
        let keys: Vec<Option<PublicKey>> = transactions.iter().map(key).collect::<Result<_, _>>()?;
        let start = cpu_time();
        let items: Vec<(PublicKey, &[u8], Signature)> = transactions
            .iter()
            .zip(&keys)
            .filter_map(|(transaction, key)| Some(((*key)?, transaction.signed_bytes(), transaction.signature())))
            .collect();
        if items.len() != transactions.len() || !verify_batch(&items).iter().all(|holds| *holds) {
            return Err("a record of the bench is not signed by a registered key".into());
        }
        self.sum.verify_us += (cpu_time() - start).as_secs_f64();
        let pairs = transactions.iter().zip(keys);
        Ok(pairs
            .map(|(transaction, key)| Candidate { transaction: Arc::clone(transaction), verified_with: key })
            .collect())
    }

    /// Execution and tree, each for itself, thrown away.
    fn alone(&mut self, candidates: &[Candidate], parent: &[u8; 32], height: u64, index: u64) -> Result<(), String> {
        let view = self.executor.view(parent).map_err(|error| error.to_string())?;
        let context = BlockContext { height, epoch: 0, time_ms: self.time_ms, first_index: index };
        let start = cpu_time();
        let execution = execute::execute(&view, self.executor.network(), &context, candidates);
        let execution = execution.map_err(|error| error.to_string())?;
        let executed = cpu_time();
        let tree = tree::update(&view, view.base().tip().state_size, &execution.changes);
        let tree = tree.map_err(|error| error.to_string())?;
        self.sum.tree_us += (cpu_time() - executed).as_secs_f64();
        self.sum.execute_us += (executed - start).as_secs_f64();
        self.sum.leaves_per_record +=
            (tree.size - view.base().tip().state_size) as f64 + execution.changes.len() as f64;
        Ok(())
    }

    fn commit(&mut self, draft: &Draft) -> Result<(), String> {
        let header: Header = draft.header;
        let signers = Signers::new((0..3).map(|seat| (seat, Signature([1; 64]))));
        let certificate = FinalCert { epoch: 0, turn: header.turn, height: header.height, block: header.id(), signers };
        let start = cpu_time();
        self.executor.commit(&[header.id()], &certificate).map_err(|error| error.to_string())?;
        self.sum.commit_us += (cpu_time() - start).as_secs_f64();
        Ok(())
    }
}

fn next_reference(author: u16, position: LanePosition, height: u64, records: &[Signed]) -> Reference {
    let bytes = records.iter().map(|signed| signed.bytes.len() + 4).sum::<usize>();
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&height.to_be_bytes());
    Reference {
        author,
        run: position.run,
        seq: position.next_seq,
        records: u32::try_from(records.len()).unwrap_or(u32::MAX),
        bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        hash,
    }
}

/// What this thread has used of a core: it does not grow while others run.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
