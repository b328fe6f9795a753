//! Transactions that this node admitted and that are not final yet: idempotent by record and by id, waiting to be
//! packed or already in a batch. Pure; storing them and signing batches is done by others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use mingzhang_ledger::authority::Parameters;
use mingzhang_ledger::crypto::{Hash, PublicKey};
use mingzhang_ledger::state::execute::Candidate;
use mingzhang_ledger::transaction::{RecordId, Transaction};
use smol_str::SmolStr;

use super::Admitted;

/// Bytes by which a payload grows with each transaction, beside the transaction.
const FRAMING_BYTES: usize = 4;

/// Records of one own batch: small enough that a slow network's blocks can hold one, and travel attached.
const MAX_OWN_BATCH_RECORDS: u64 = 256;

/// What names a record: agency and record id.
pub type RecordKey = (SmolStr, RecordId);

pub fn record_key(transaction: &Transaction) -> RecordKey {
    let payload = transaction.payload();
    (payload.agency.clone(), payload.record_id)
}

/// An admitted transaction.
#[derive(Debug, Clone)]
pub struct Pending {
    pub transaction: Arc<Transaction>,
    /// The registered key under which its signature was verified.
    pub key: PublicKey,
    pub admitted: Admitted,
    /// Run and sequence number of the own batch that holds it.
    batched: Option<(u64, u64)>,
}

impl Pending {
    pub fn new(transaction: Arc<Transaction>, key: PublicKey, admitted: Admitted) -> Self {
        Self { transaction, key, admitted, batched: None }
    }

    fn size(&self) -> usize {
        self.transaction.bytes().len() + FRAMING_BYTES
    }
}

/// The own part of the mempool.
#[derive(Debug, Default)]
pub struct Own {
    by_record: HashMap<RecordKey, Pending>,
    records: HashMap<Hash, RecordKey>,
    queue: VecDeque<RecordKey>,
    queued_bytes: usize,
    bytes: usize,
    /// When the oldest queued transaction was queued.
    queued_since_ms: Option<u64>,
    /// When the last batch was taken.
    taken_ms: u64,
}

fn most_records(parameters: &Parameters) -> u64 {
    parameters.max_batch_records.min(MAX_OWN_BATCH_RECORDS)
}

impl Own {
    pub fn by_record(&self, key: &RecordKey) -> Option<&Pending> {
        self.by_record.get(key)
    }

    pub fn by_id(&self, id: &Hash) -> Option<&Pending> {
        self.by_record.get(self.records.get(id)?)
    }

    /// Transactions that are not final.
    pub fn count(&self) -> usize {
        self.by_record.len()
    }

    /// Bytes that are not final, queued or in batches.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Queues an admitted transaction. False if its record is pending already.
    pub fn admit(&mut self, pending: Pending, now_ms: u64) -> bool {
        let key = record_key(&pending.transaction);
        if self.by_record.contains_key(&key) {
            return false;
        }
        self.bytes += pending.size();
        self.records.insert(pending.transaction.id(), key.clone());
        self.enqueue(key.clone(), pending.size(), now_ms);
        self.by_record.insert(key, pending);
        true
    }

    fn enqueue(&mut self, key: RecordKey, size: usize, now_ms: u64) {
        self.queued_bytes += size;
        self.queued_since_ms.get_or_insert(now_ms);
        self.queue.push_back(key);
    }

    /// When the next batch is due: at once if one is full or none was taken for a linger, else when the linger that
    /// follows the last one is over. So who comes alone does not wait, and who comes with many shares a batch.
    pub fn due_ms(&self, parameters: &Parameters, linger_ms: u64) -> Option<u64> {
        let since = self.queued_since_ms?;
        let full = u64::try_from(self.queue.len()).unwrap_or(u64::MAX) >= most_records(parameters)
            || u64::try_from(self.queued_bytes).unwrap_or(u64::MAX) >= parameters.max_batch_bytes;
        Some(if full { 0 } else { since.max(self.taken_ms.saturating_add(linger_ms)) })
    }

    /// Takes the oldest queued transactions, as many as fit into a batch.
    pub fn take(&mut self, parameters: &Parameters, (run, seq): (u64, u64), now_ms: u64) -> Vec<Candidate> {
        self.taken_ms = now_ms;
        let max_bytes = usize::try_from(parameters.max_batch_bytes).unwrap_or(usize::MAX);
        let max_records = usize::try_from(most_records(parameters)).unwrap_or(usize::MAX);
        let (mut taken, mut bytes) = (Vec::new(), 0usize);
        while taken.len() < max_records {
            let Some(key) = self.queue.front() else { break };
            let Some(pending) = self.by_record.get_mut(key) else {
                self.queue.pop_front();
                continue;
            };
            if bytes + pending.size() > max_bytes && !taken.is_empty() {
                break;
            }
            bytes += pending.size();
            pending.batched = Some((run, seq));
            taken.push(Candidate { transaction: Arc::clone(&pending.transaction), verified_with: Some(pending.key) });
            self.queue.pop_front();
        }
        self.queued_bytes = self.queued_bytes.saturating_sub(bytes);
        if self.queue.is_empty() {
            (self.queued_since_ms, self.queued_bytes) = (None, 0);
        }
        taken
    }

    /// Forgets a record that is final, by whichever transaction, or that can no longer pass. Returns the id of the
    /// pending transaction.
    pub fn forget(&mut self, key: &RecordKey) -> Option<Hash> {
        let pending = self.by_record.remove(key)?;
        self.bytes = self.bytes.saturating_sub(pending.size());
        if pending.batched.is_none() {
            self.queued_bytes = self.queued_bytes.saturating_sub(pending.size());
        }
        let id = pending.transaction.id();
        self.records.remove(&id);
        Some(id)
    }

    /// Forgets a transaction that is final.
    pub fn forget_id(&mut self, id: &Hash) {
        if let Some(key) = self.records.get(id).cloned() {
            self.forget(&key);
        }
    }

    /// Transactions of an own batch that left the lane, and that no block recorded.
    pub fn left_out(&self, run: u64, seq: u64, candidates: &[Candidate]) -> Vec<Pending> {
        let still_pending = |candidate: &Candidate| {
            let pending = self.by_record.get(&record_key(&candidate.transaction))?;
            (pending.batched == Some((run, seq))).then(|| pending.clone())
        };
        candidates.iter().filter_map(still_pending).collect()
    }

    /// Queues again what was left out and can still pass.
    pub fn requeue(&mut self, key: &RecordKey, now_ms: u64) {
        let Some(pending) = self.by_record.get_mut(key) else { return };
        if pending.batched.take().is_some() {
            let size = pending.size();
            self.enqueue(key.clone(), size, now_ms);
        }
    }

    /// Queues everything again: a new epoch, or a new run.
    pub fn requeue_all(&mut self, now_ms: u64) {
        let mut batched: Vec<(u64, u64, RecordKey)> = Vec::new();
        for (key, pending) in &self.by_record {
            if let Some((run, seq)) = pending.batched {
                batched.push((run, seq, key.clone()));
            }
        }
        batched.sort();
        for (_, _, key) in batched {
            self.requeue(&key, now_ms);
        }
    }

    /// Records whose transactions expired by the time of a block.
    pub fn expired(&self, block_time_ms: u64) -> Vec<RecordKey> {
        let expired = |pending: &Pending| pending.transaction.payload().expires_at <= block_time_ms;
        self.by_record.iter().filter(|(_, pending)| expired(pending)).map(|(key, _)| key.clone()).collect()
    }
}
