//! Batches of other authors: each is taken in once, with its author's signature and those of its transactions checked
//! together, stored before it counts as held. Blocks; called on threads beside the engine.

use std::collections::HashMap;
use std::sync::Arc;

use mingzhang_consensus::evidence::{Evidence, SignedBatch};
use mingzhang_ledger::batch::{Batch, Reference, transactions};
use mingzhang_ledger::crypto::{KeyId, PublicKey};
use mingzhang_ledger::records::registry::OfficerKey;
use mingzhang_ledger::state::execute::Candidate;
use mingzhang_ledger::state::{Overlay, key};
use mingzhang_ledger::transaction::Transaction;

use super::Mempool;
use super::check::{Item, verify_all};
use super::lane::{Held, Holding};
use crate::store::{StoreFault, View};

/// A batch that came in.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub batch: Batch,
    /// A block names it: quotas do not count.
    pub needed: bool,
    /// Its author's signature was checked already.
    pub author_verified: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Held now or before.
    Held,
    /// Held, and it proves that its author signed two batches under one number.
    Twice(Box<Evidence>),
    /// Of no use now: old, far ahead, of another epoch, or beyond its author's quota.
    Ignored,
    /// The author's signature does not hold, or the batch is empty or over its limits: its sender lies.
    Invalid,
}

/// Of each place whether its author's signature holds, and the batches whose does, with place and need.
type Verified = (Vec<(usize, bool)>, Vec<(usize, bool, Held)>);

/// An arrival on its way through the checks.
struct Checked {
    place: usize,
    batch: Arc<Batch>,
    needed: bool,
    reference: Reference,
    transactions: Vec<(Arc<Transaction>, Option<PublicKey>)>,
    author: Option<(PublicKey, Vec<u8>)>,
}

/// Registered keys at the tip, each looked up once. Whether the rest of the door lets a transaction pass is asked when
/// it matters.
struct Keys<'a> {
    view: View<'a>,
    known: HashMap<KeyId, Option<PublicKey>>,
}

impl<'a> Keys<'a> {
    fn new(mempool: &'a Mempool) -> Result<Self, StoreFault> {
        Ok(Self { view: mempool.parts.store.view()?, known: HashMap::new() })
    }

    fn of(&mut self, transaction: &Transaction) -> Result<Option<PublicKey>, StoreFault> {
        let key_id = transaction.key_id();
        if let Some(known) = self.known.get(&key_id) {
            return Ok(*known);
        }
        let registered: Option<OfficerKey> = Overlay::new(&self.view).get(&key::officer_key(&key_id))?;
        let key = registered.map(|registered| PublicKey(registered.key));
        self.known.insert(key_id, key);
        Ok(key)
    }
}

impl Mempool {
    /// Takes batches in. One answer for each, in order.
    pub fn take_in(&self, arrivals: Vec<Arrival>) -> Result<Vec<Taken>, StoreFault> {
        let mut answers = vec![Taken::Ignored; arrivals.len()];
        let mut checked = Vec::new();
        let mut keys = Keys::new(self)?;
        for (place, arrival) in arrivals.into_iter().enumerate() {
            match self.prepare(place, arrival) {
                Ok(mut one) => {
                    for (transaction, key) in &mut one.transactions {
                        *key = keys.of(transaction)?.filter(|key| transaction.names_as_signer(key));
                    }
                    checked.push(one);
                }
                Err(answer) => {
                    if let Some(slot) = answers.get_mut(place) {
                        *slot = answer;
                    }
                }
            }
        }
        let (authors_hold, held) = self.verify(checked);
        for (place, holds) in authors_hold {
            if let (false, Some(slot)) = (holds, answers.get_mut(place)) {
                *slot = Taken::Invalid;
            }
        }
        if held.is_empty() {
            return Ok(answers);
        }
        for (place, taken) in self.keep(held)? {
            if let Some(slot) = answers.get_mut(place) {
                *slot = taken;
            }
        }
        self.changed.notify_one();
        Ok(answers)
    }

    /// Stores and holds what was checked, and drops from the store what is not held after all.
    fn keep(&self, held: Vec<(usize, bool, Held)>) -> Result<Vec<(usize, Taken)>, StoreFault> {
        let _one_at_a_time = self.storing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Stored first: what is held may be endorsed, and the vote's sync covers this write.
        let batches: Vec<Arc<Batch>> = held.iter().map(|(_, _, held)| Arc::clone(&held.batch)).collect();
        self.parts.store.put_batches(&batches)?;
        let (mut answers, mut refused) = (Vec::with_capacity(held.len()), Vec::new());
        let mut state = self.lock();
        for (place, needed, held) in held {
            let (batch, reference) = (Arc::clone(&held.batch), held.reference);
            let taken = match state.lanes.hold(held, needed) {
                Holding::Held | Holding::Known => Taken::Held,
                Holding::Useless | Holding::LaneFull => {
                    refused.push((batch.epoch, reference));
                    Taken::Ignored
                }
                Holding::Second { first } => match state.lanes.get(&first) {
                    Some(earlier) => Taken::Twice(Box::new(Evidence::TwoBatches {
                        first: SignedBatch::from(earlier.batch.as_ref()),
                        second: SignedBatch::from(batch.as_ref()),
                    })),
                    None => Taken::Held,
                },
            };
            answers.push((place, taken));
        }
        drop(state);
        for (epoch, reference) in refused {
            self.parts.store.drop_batches(epoch, &[reference])?;
        }
        Ok(answers)
    }

    /// Whether it is worth a check, and its decoded transactions.
    fn prepare(&self, place: usize, arrival: Arrival) -> Result<Checked, Taken> {
        let Arrival { batch, needed, author_verified } = arrival;
        let (max_records, author_key) = {
            let state = self.lock();
            let max_bytes = usize::try_from(state.parameters.max_batch_bytes).unwrap_or(usize::MAX);
            if batch.epoch != state.lanes.epoch() {
                return Err(Taken::Ignored);
            }
            if batch.payload.is_empty() || batch.payload.len() > max_bytes {
                return Err(Taken::Invalid);
            }
            let max_records = usize::try_from(state.parameters.max_batch_records).unwrap_or(usize::MAX);
            (max_records, state.author_key(batch.author))
        };
        let Some(author_key) = author_key else { return Err(Taken::Invalid) };
        let reference = batch.reference(max_records);
        match self.lock().lanes.judge(batch.epoch, &reference, needed) {
            Holding::Known => return Err(Taken::Held),
            Holding::Useless | Holding::LaneFull => return Err(Taken::Ignored),
            Holding::Held | Holding::Second { .. } => {}
        }
        let decoded = transactions(&batch.payload, max_records).filter_map(|bytes| Transaction::decode(bytes).ok());
        let transactions = decoded.map(|transaction| (Arc::new(transaction), None)).collect();
        let author = (!author_verified).then(|| (author_key, batch.signed_bytes(&self.parts.network.chain)));
        Ok(Checked { place, batch: Arc::new(batch), needed, reference, transactions, author })
    }

    /// All signatures of all arrivals in one go. Says of each place whether its author's signature holds, and returns
    /// those whose does.
    fn verify(&self, checked: Vec<Checked>) -> Verified {
        let mut items: Vec<Item<'_>> = Vec::new();
        for one in &checked {
            if let Some((key, message)) = &one.author {
                items.push((*key, message, one.batch.signature));
            }
            for (transaction, key) in &one.transactions {
                if let Some(key) = key {
                    items.push((*key, transaction.signed_bytes(), transaction.signature()));
                }
            }
        }
        let mut verdicts = verify_all(&self.parts.pool, &items).into_iter();
        drop(items);
        let (mut authors, mut held) = (Vec::new(), Vec::new());
        for one in checked {
            let holds = one.author.is_none() || verdicts.next() == Some(true);
            authors.push((one.place, holds));
            let candidates: Arc<[Candidate]> = one
                .transactions
                .into_iter()
                .map(|(transaction, key)| {
                    let verified_with = key.filter(|_| verdicts.next() == Some(true));
                    Candidate { transaction, verified_with }
                })
                .collect();
            if holds {
                let held_one = Held {
                    batch: one.batch,
                    reference: one.reference,
                    candidates,
                    viable_from: 0,
                    passed_at: None,
                    needed_until: 0,
                };
                held.push((one.place, one.needed, held_one));
            }
        }
        (authors, held)
    }
}
