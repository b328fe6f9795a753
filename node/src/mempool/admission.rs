//! From a submitted transaction to one that this node answers for: idempotent, through the door, signature checked with
//! many others, stored with one synced write for all that came meanwhile, then answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mingzhang_ledger::crypto::{Hash, PublicKey};
use mingzhang_ledger::door;
use mingzhang_ledger::outcome::Refusal;
use mingzhang_ledger::records::governance;
use mingzhang_ledger::records::object::RecordLeaf;
use mingzhang_ledger::records::registry::OfficerKey;
use mingzhang_ledger::state::execute::{Candidate, Network};
use mingzhang_ledger::state::{Overlay, Snapshot, StateFault, key};
use mingzhang_ledger::transaction::Transaction;
use tokio::sync::oneshot;

use super::own::{Pending, RecordKey, record_key};
use super::{
    Admitted, BAD_SIGNATURE, Mempool, NOT_READY, SUBMISSION_QUEUE_LENGTH, Submission, Submissions, TAKEN, TOO_MANY,
};
use crate::store::{Admission, StoreFault, View};

/// Transactions that are checked and stored together, and what came with the last of them.
const MAX_GROUP: usize = 1_024;
/// In an entry of the log, the transaction stands behind type and outcome.
const RECORD_HEAD_BYTES: usize = 3;

/// The answer to a submission that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    Admitted(Admitted),
    /// The same record is final already: nothing happens, its entry is the answer.
    Recorded {
        transaction_id: Hash,
        index: u64,
    },
}

/// What one group of submissions brings.
#[derive(Default)]
struct Fresh {
    time_ms: u64,
    all: Vec<Pending>,
    places: HashMap<RecordKey, usize>,
    bytes: usize,
}

impl Mempool {
    /// Checks and stores one transaction, for which this node answers from then on. Waits only for its turn in a bounded queue.
    pub async fn submit(&self, transaction: impl Into<Arc<Transaction>>) -> Result<Submitted, Refusal> {
        self.submit_all(vec![transaction.into()]).await.pop().unwrap_or_else(|| Err(not_checked()))
    }

    /// As [`Self::submit`], of many that share one check and one synced write: an answer for each, in order.
    pub async fn submit_all(&self, transactions: Vec<Arc<Transaction>>) -> Vec<Result<Submitted, Refusal>> {
        let logged = if tracing::enabled!(tracing::Level::DEBUG) { transactions.clone() } else { Vec::new() };
        let known = transactions.iter().map(|transaction| self.known(transaction));
        let mut answers: Vec<Option<Result<Submitted, Refusal>>> = known.collect();
        let unknown = |(transaction, answer): (Arc<Transaction>, &Option<_>)| answer.is_none().then_some(transaction);
        let open: Vec<Arc<Transaction>> = transactions.into_iter().zip(&answers).filter_map(unknown).collect();
        let checked = if open.is_empty() { Vec::new() } else { self.checked(open).await };
        for (place, answer) in answers.iter_mut().filter(|answer| answer.is_none()).zip(checked) {
            *place = Some(answer);
        }
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(not_checked()))).collect();
        logged.iter().zip(&answers).for_each(|(transaction, answer)| log(transaction, answer));
        answers
    }

    /// Hands transactions to whoever admits them; as many as find no room are refused.
    async fn checked(&self, mut transactions: Vec<Arc<Transaction>>) -> Vec<Result<Submitted, Refusal>> {
        let asked = transactions.len();
        let before = self.submitted.fetch_add(asked, Ordering::AcqRel);
        let taken = asked.min(SUBMISSION_QUEUE_LENGTH.saturating_sub(before));
        self.submitted.fetch_sub(asked - taken, Ordering::AcqRel);
        transactions.truncate(taken);
        let mut answers = Vec::new();
        if taken > 0 {
            let (reply, answer) = oneshot::channel();
            if self.submissions.try_send(Submission { transactions, reply }).is_ok() {
                answers = answer.await.unwrap_or_default();
            } else {
                self.submitted.fetch_sub(taken, Ordering::AcqRel);
            }
        }
        let refused = || match answers.is_empty() && taken > 0 {
            true => not_checked(),
            false => Refusal::new(TOO_MANY, "the queue of submissions is full"),
        };
        let missing: Vec<_> = (answers.len()..asked).map(|_| Err(refused())).collect();
        answers.extend(missing);
        answers
    }

    /// The answer that needs no check: refused for room or role, or pending already.
    fn known(&self, transaction: &Transaction) -> Option<Result<Submitted, Refusal>> {
        let state = self.lock();
        if let Some(pending) = state.own.by_record(&record_key(transaction)) {
            return repeat_of(pending, transaction);
        }
        if state.seat.is_none() {
            let text = "this node has no seat in the authority set; submit to a member";
            return Some(Err(Refusal::new(NOT_READY, text)));
        }
        if !self.accepting.load(Ordering::Acquire) {
            return Some(Err(Refusal::new(NOT_READY, "the disk of this node is nearly full")));
        }
        if !state.has_room((1, transaction.bytes().len()), &self.parts.limits) {
            return Some(Err(Refusal::new(TOO_MANY, "too many transactions wait here")));
        }
        None
    }

    /// What a submission would be refused for, its signature and an id that is taken among it, but not its time; nothing is
    /// submitted.
    pub fn would_refuse(&self, transaction: &Transaction) -> Result<Option<Refusal>, StoreFault> {
        let taken = || Refusal::new(TAKEN, "this record is on the log already: nothing would happen");
        Ok(match self.door()?.judge_by(door::check_dry_run, transaction)? {
            Judged::Passes(key) | Judged::Repeats(key, _) if !transaction.is_signed_by(&key) => Some(bad_signature()),
            Judged::Passes(_) => None,
            Judged::Repeats(..) => Some(taken()),
            Judged::Answer(answer) => Some(answer.map_or_else(|refusal| refusal, |_| taken())),
        })
    }

    /// Serves submissions until the mempool is dropped. Blocks on signatures and disk; runs on a thread of its own.
    pub async fn admit_all(&self, submissions: &mut Submissions) -> Result<(), StoreFault> {
        while let Some(first) = submissions.0.recv().await {
            let (mut count, mut group) = (first.transactions.len(), vec![first]);
            while count < MAX_GROUP
                && let Ok(next) = submissions.0.try_recv()
            {
                count += next.transactions.len();
                group.push(next);
            }
            self.submitted.fetch_sub(count, Ordering::AcqRel);
            self.admit_group(group)?;
        }
        Ok(())
    }

    fn admit_group(&self, group: Vec<Submission>) -> Result<(), StoreFault> {
        let door = self.door()?;
        let (mut work, mut answers) = (Vec::new(), Vec::new());
        for transaction in group.iter().flat_map(|submission| &submission.transactions) {
            let (key, answer) = match self.known(transaction) {
                Some(answer) => (None, Some(answer)),
                None => match door.judge(transaction)? {
                    Judged::Passes(key) => (Some(key), None),
                    Judged::Repeats(key, first) => (Some(key), Some(Ok(first))),
                    Judged::Answer(answer) => (None, Some(answer)),
                },
            };
            work.push((Arc::clone(transaction), key));
            answers.push(answer);
        }
        let verdicts = super::check::verify_transactions(&self.parts.pool, &work, &self.verified);
        let now_ms = self.parts.clock.now_ms();
        let mut fresh = Fresh { time_ms: now_ms, ..Fresh::default() };
        for (((transaction, key), valid), answer) in work.into_iter().zip(verdicts).zip(&mut answers) {
            let Some(key) = key else { continue };
            if !valid {
                *answer = Some(Err(bad_signature()));
                continue;
            }
            if answer.is_none() {
                *answer = Some(self.place(transaction, key, &mut fresh));
            }
        }
        if !fresh.all.is_empty() {
            self.parts.store.admit(fresh.all.iter().map(admission_of).collect())?;
            let mut state = self.lock();
            for pending in fresh.all {
                state.own.admit(pending, now_ms);
            }
            drop(state);
            self.packing.notify_one();
        }
        let mut answers = answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(not_checked())));
        for Submission { transactions, reply } in group {
            if reply.send(answers.by_ref().take(transactions.len()).collect()).is_err() {
                tracing::trace!("a submitter went away before its answer");
            }
        }
        Ok(())
    }

    /// Finds room for a sound transaction. Of two for one record the first counts, within one group too.
    fn place(&self, transaction: Arc<Transaction>, key: PublicKey, fresh: &mut Fresh) -> Result<Submitted, Refusal> {
        let record = record_key(&transaction);
        if let Some(first) = fresh.places.get(&record).and_then(|place| fresh.all.get(*place)) {
            return first_answer(first, &transaction);
        }
        let size = transaction.bytes().len();
        let (taken, bytes) = (fresh.all.len() + 1, fresh.bytes.saturating_add(size));
        {
            let state = self.lock();
            if let Some(first) = state.own.by_record(&record) {
                return first_answer(first, &transaction);
            }
            if !state.has_room((taken, bytes), &self.parts.limits) {
                return Err(Refusal::new(TOO_MANY, "too many transactions wait here"));
            }
            if state.seat.is_none() {
                return Err(Refusal::new(NOT_READY, "the node lost its seat"));
            }
        }
        let admitted = Admitted { transaction_id: transaction.id(), time_ms: fresh.time_ms, repeated: false };
        fresh.bytes = bytes;
        fresh.places.insert(record, fresh.all.len());
        fresh.all.push(Pending::new(transaction, key, admitted));
        Ok(Submitted::Admitted(admitted))
    }

    /// Takes in again what was admitted before the restart and is not final. What can never be recorded any more by the
    /// tip's time is forgotten: this node's clock may be wrong, and its promises stand.
    pub(super) fn restore_own(&self) -> Result<(), StoreFault> {
        let door = self.door()?;
        let now_ms = self.parts.clock.now_ms();
        let mut hopeless = Vec::new();
        for Admission { transaction_id, time_ms, transaction } in self.parts.store.admitted()? {
            let Ok(transaction) = Transaction::decode(&transaction) else {
                hopeless.push(transaction_id);
                continue;
            };
            let over = transaction.payload().expires_at <= self.parts.store.tip().time_ms;
            if over || door.recorded(&transaction)?.is_some() {
                hopeless.push(transaction_id);
                continue;
            }
            // A ledger that is being built again may not know the key yet.
            let Some(key) = door.key_of(&transaction)? else { continue };
            let mut state = self.lock();
            if state.seat.is_none() {
                continue;
            }
            let admitted = Admitted { transaction_id, time_ms, repeated: false };
            state.own.admit(Pending::new(Arc::new(transaction), key, admitted), now_ms);
        }
        if hopeless.is_empty() { Ok(()) } else { self.parts.store.drop_admitted(&hopeless) }
    }

    pub(super) fn door(&self) -> Result<Door<'_>, StoreFault> {
        Ok(Door { view: self.parts.store.view()?, network: &self.parts.network, now_ms: self.parts.clock.now_ms() })
    }
}

/// For an operator whom a clerk asks: which record it was and what became of it, never what it says.
fn log(transaction: &Transaction, answer: &Result<Submitted, Refusal>) {
    let (payload, tx_id) = (transaction.payload(), hash_text(&transaction.id()));
    let (record_type, record) =
        (&payload.record_type, format!("{}/{}", payload.agency, key::id_text(&payload.record_id)));
    match answer {
        Ok(Submitted::Admitted(Admitted { repeated: false, .. })) => {
            tracing::debug!(tx_id, %record_type, record, "record is admitted");
        }
        Ok(Submitted::Admitted(first)) => {
            let first = hash_text(&first.transaction_id);
            tracing::debug!(tx_id, %record_type, record, first, "record was admitted before");
        }
        Ok(Submitted::Recorded { transaction_id, index }) => {
            let first = hash_text(transaction_id);
            tracing::debug!(tx_id, %record_type, record, first, index, "record is final already");
        }
        Err(refusal) => tracing::debug!(tx_id, %record_type, record, code = %refusal.code, "record is refused"),
    }
}

fn hash_text(hash: &Hash) -> String {
    format!("sha256:{}", hex::encode(hash))
}

fn bad_signature() -> Refusal {
    Refusal::new(BAD_SIGNATURE, "the signature does not hold under the named key")
}

/// The node ends before it looked at a transaction.
fn not_checked() -> Refusal {
    Refusal::new(NOT_READY, "the node is stopping")
}

fn admission_of(pending: &Pending) -> Admission {
    Admission {
        transaction_id: pending.transaction.id(),
        time_ms: pending.admitted.time_ms,
        transaction: pending.transaction.bytes().to_vec(),
    }
}

/// The same record again is answered like the first time; another one under its id is refused.
/// What is said at once of a transaction whose record waits here. None of the same record in other bytes: whether it is
/// signed is asked first, at the door.
fn repeat_of(pending: &Pending, transaction: &Transaction) -> Option<Result<Submitted, Refusal>> {
    let answer = first_answer(pending, transaction);
    let same_bytes = pending.transaction.id() == transaction.id();
    (same_bytes || answer.is_err()).then_some(answer)
}

/// The answer of the first transaction of a record, to one that says the same.
fn first_answer(first: &Pending, transaction: &Transaction) -> Result<Submitted, Refusal> {
    match door::repeat(&first.transaction, transaction) {
        None => Ok(Submitted::Admitted(Admitted { repeated: true, ..first.admitted })),
        Some(refusal) => Err(refusal),
    }
}

/// What the door says at the tip.
pub(super) enum Judged {
    /// It passes if the signature holds under this key.
    Passes(PublicKey),
    /// The same record is on the log, in other bytes: this is the answer if the signature holds under this key.
    Repeats(PublicKey, Submitted),
    Answer(Result<Submitted, Refusal>),
}

/// Whether a transaction of a batch can be recorded by the next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Passes,
    /// Its key may be registered by a block that is on its way.
    Later,
    Never,
}

/// How the door judges what is not on the log.
type Check = fn(&dyn Snapshot, &Network, u64, &Transaction) -> Result<Result<PublicKey, Refusal>, StateFault>;

/// The door at the tip and the present moment.
pub(super) struct Door<'a> {
    view: View<'a>,
    network: &'a Network,
    now_ms: u64,
}

impl Door<'_> {
    pub(super) fn judge(&self, transaction: &Transaction) -> Result<Judged, StoreFault> {
        self.judge_by(door::check, transaction)
    }

    fn judge_by(&self, check: Check, transaction: &Transaction) -> Result<Judged, StoreFault> {
        if let Some(leaf) = self.recorded(transaction)? {
            let first = match self.answer_of(&leaf, transaction)? {
                Ok(first) if leaf.transaction_id != transaction.id() => first,
                answer => return Ok(Judged::Answer(answer)),
            };
            return Ok(match check(&self.view, self.network, self.now_ms, transaction)? {
                Ok(key) => Judged::Repeats(key, first),
                Err(refusal) => Judged::Answer(Err(refusal)),
            });
        }
        Ok(match check(&self.view, self.network, self.now_ms, transaction)? {
            Ok(key) => Judged::Passes(key),
            Err(refusal) => Judged::Answer(Err(refusal)),
        })
    }

    /// Whether a transaction could still be recorded by the next block, its signature aside.
    pub(super) fn passes(&self, transaction: &Transaction) -> Result<bool, StoreFault> {
        let expired = transaction.payload().expires_at <= self.now_ms;
        Ok(!expired
            && self.recorded(transaction)?.is_none()
            && door::check(&self.view, self.network, self.now_ms, transaction)?.is_ok())
    }

    /// The registered key that a transaction names.
    fn key_of(&self, transaction: &Transaction) -> Result<Option<PublicKey>, StoreFault> {
        let registered: Option<OfficerKey> = Overlay::new(&self.view).get(&key::officer_key(&transaction.key_id()))?;
        Ok(registered.map(|registered| PublicKey(registered.key)))
    }

    /// Where a transaction of a batch stands whose signature may not have been checked, for want of its key.
    pub(super) fn stands(&self, candidate: &Candidate) -> Result<Standing, StoreFault> {
        let transaction = &candidate.transaction;
        if candidate.verified_with.is_none() {
            match self.key_of(transaction)? {
                None if transaction.payload().expires_at > self.now_ms => return Ok(Standing::Later),
                Some(key) if transaction.is_signed_by(&key) => {}
                Some(_) | None => return Ok(Standing::Never),
            }
        }
        Ok(if self.passes(transaction)? { Standing::Passes } else { Standing::Never })
    }

    /// Whether a block made now would carry out an agreed change of the authority set.
    pub(super) fn action_is_due(&self) -> Result<bool, StoreFault> {
        Ok(governance::is_due(&Overlay::new(&self.view), self.now_ms)?)
    }

    /// Height of the tip that this door stands at.
    pub(super) fn height(&self) -> u64 {
        self.view.height()
    }

    fn recorded(&self, transaction: &Transaction) -> Result<Option<RecordLeaf>, StoreFault> {
        let payload = transaction.payload();
        Ok(Overlay::new(&self.view).get(&key::record(&payload.agency, &payload.record_id))?)
    }

    /// The first answer, if the record on the log is the same.
    fn answer_of(&self, leaf: &RecordLeaf, later: &Transaction) -> Result<Result<Submitted, Refusal>, StoreFault> {
        let corrupt = |reason: String| StateFault::Value(reason);
        let index = leaf.index;
        let Some(entry) = self.view.entry(index)? else {
            // A node that took over a peer's state holds no older entries: it knows the same bytes again, nothing else.
            return Ok(match leaf.transaction_id == later.id() {
                true => Ok(Submitted::Recorded { transaction_id: later.id(), index }),
                false => {
                    Err(Refusal::new(NOT_READY, "this record is older than the log that this node holds; ask another"))
                }
            });
        };
        let earlier = entry.get(RECORD_HEAD_BYTES..).unwrap_or_default();
        let earlier = Transaction::decode(earlier).map_err(|error| corrupt(error.to_string()))?;
        Ok(match door::repeat(&earlier, later) {
            None => Ok(Submitted::Recorded { transaction_id: earlier.id(), index }),
            Some(refusal) => Err(refusal),
        })
    }
}
