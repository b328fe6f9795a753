//! Batches of other authors: each is taken in once, with its author's signature and those of its transactions checked
//! together, stored before it counts as held. Blocks; called on threads beside the engine.

use std::collections::HashMap;
use std::sync::Arc;

use mingzhang_consensus::evidence::{Evidence, SignedBatch};
use mingzhang_ledger::batch::{Batch, Reference, batch_bytes, transactions};
use mingzhang_ledger::crypto::{KeyId, PublicKey};
use mingzhang_ledger::outcome::{Code, peers};
use mingzhang_ledger::records::registry::OfficerKey;
use mingzhang_ledger::state::execute::Candidate;
use mingzhang_ledger::state::{Overlay, key};
use mingzhang_ledger::transaction::Transaction;

use super::Mempool;
use super::check::{Item, verify_all, verify_counted};
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
    Ignored(Code),
    /// The author's signature does not hold, or the batch is empty or over its limits: its sender lies.
    Invalid(Code),
}

/// A transaction, and the registered key under which its signature is to be verified.
type Signed = (Arc<Transaction>, Option<PublicKey>);

/// An arrival on its way through the checks.
struct Checked {
    place: usize,
    batch: Arc<Batch>,
    needed: bool,
    reference: Reference,
    max_records: usize,
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
        let mut answers = vec![Taken::Ignored(peers::OUT_OF_PLACE); arrivals.len()];
        let mut refuse = |place: usize, answer| {
            if let Some(slot) = answers.get_mut(place) {
                *slot = answer;
            }
        };
        let mut prepared = Vec::new();
        for (place, arrival) in arrivals.into_iter().enumerate() {
            match self.prepare(place, arrival) {
                Ok(one) => prepared.push(one),
                Err(answer) => refuse(place, answer),
            }
        }
        // The authors first: what anybody made up is not worth a look at its transactions.
        let holds = self.authors_hold(&prepared);
        let mut signed = Vec::new();
        for (one, holds) in prepared.into_iter().zip(holds) {
            if holds { signed.push(one) } else { refuse(one.place, Taken::Invalid(peers::NOT_SIGNED)) }
        }
        let held = self.verify(signed)?;
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
        let batches: Vec<_> = held.iter().map(|(_, _, held)| (held.reference, Arc::clone(&held.batch))).collect();
        self.parts.store.put_batches(&batches)?;
        let (mut answers, mut refused) = (Vec::with_capacity(held.len()), Vec::new());
        let mut state = self.lock();
        for (place, needed, held) in held {
            let (batch, reference) = (Arc::clone(&held.batch), held.reference);
            let taken = match state.lanes.hold(held, needed) {
                Holding::Held | Holding::Known => Taken::Held,
                holding @ (Holding::Useless | Holding::LaneFull) => {
                    refused.push((batch.epoch, reference));
                    ignored(&holding)
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

    /// Whether it is worth a check.
    fn prepare(&self, place: usize, arrival: Arrival) -> Result<Checked, Taken> {
        let Arrival { batch, needed, author_verified } = arrival;
        let (max_records, author_key) = {
            let state = self.lock();
            let max_bytes = usize::try_from(state.parameters.max_batch_bytes).unwrap_or(usize::MAX);
            if batch.epoch != state.lanes.epoch() {
                return Err(Taken::Ignored(peers::OUT_OF_PLACE));
            }
            if batch.payload.is_empty() {
                return Err(Taken::Invalid(peers::MALFORMED));
            }
            if batch.payload.len() > max_bytes {
                return Err(Taken::Invalid(peers::OVER_LIMIT));
            }
            let max_records = usize::try_from(state.parameters.max_batch_records).unwrap_or(usize::MAX);
            (max_records, state.author_key(batch.author))
        };
        let Some(author_key) = author_key else { return Err(Taken::Invalid(peers::STRANGER)) };
        let reference = batch.reference(max_records);
        let holding = self.lock().lanes.judge(batch.epoch, &reference, needed);
        match holding {
            // Under another signature it is not what was checked, and nothing to pass on.
            Holding::Known if self.holds_as_signed(&reference, &batch) => return Err(Taken::Held),
            Holding::Known | Holding::Useless | Holding::LaneFull => return Err(ignored(&holding)),
            Holding::Held | Holding::Second { .. } => {}
        }
        let Reference { author, run, seq, hash, .. } = &reference;
        let signed = || batch_bytes(&self.parts.network.chain, batch.epoch, *author, (*run, *seq), hash);
        let author = (!author_verified).then(|| (author_key, signed()));
        Ok(Checked { place, batch: Arc::new(batch), needed, reference, max_records, author })
    }

    fn holds_as_signed(&self, reference: &Reference, batch: &Batch) -> bool {
        self.lock().lanes.get(reference).is_some_and(|held| held.batch.signature == batch.signature)
    }

    /// Of each whether its author's signature holds.
    fn authors_hold(&self, prepared: &[Checked]) -> Vec<bool> {
        let unchecked = |one: &Checked| one.author.is_some();
        let items: Vec<Item<'_>> = prepared
            .iter()
            .filter_map(|one| one.author.as_ref().map(|(key, message)| (*key, message.as_slice(), one.batch.signature)))
            .collect();
        let mut verdicts = verify_all(&self.parts.pool, &items).into_iter();
        prepared.iter().map(|one| !unchecked(one) || verdicts.next() == Some(true)).collect()
    }

    /// The transactions' signatures of all in one go.
    fn verify(&self, signed: Vec<Checked>) -> Result<Vec<(usize, bool, Held)>, StoreFault> {
        let mut keys = Keys::new(self)?;
        let mut decoded: Vec<Vec<Signed>> = Vec::with_capacity(signed.len());
        for one in &signed {
            let well_formed = transactions(&one.batch.payload, one.max_records);
            let mut with_keys = Vec::new();
            for transaction in well_formed.filter_map(|bytes| Transaction::decode(bytes).ok()) {
                let key = keys.of(&transaction)?.filter(|key| transaction.names_as_signer(key));
                with_keys.push((Arc::new(transaction), key));
            }
            decoded.push(with_keys);
        }
        let known = decoded.iter().flatten().filter_map(|(transaction, key)| Some((transaction, (*key)?)));
        let items: Vec<Item<'_>> =
            known.map(|(transaction, key)| (key, transaction.signed_bytes(), transaction.signature())).collect();
        let mut verdicts = verify_counted(&self.parts.pool, &items, &self.verified).into_iter();
        drop(items);
        let mut held = Vec::with_capacity(signed.len());
        for (one, transactions) in signed.into_iter().zip(decoded) {
            let candidate = |(transaction, key): Signed| {
                let verified_with = key.filter(|_| verdicts.next() == Some(true));
                Candidate { transaction, verified_with }
            };
            let candidates = transactions.into_iter().map(candidate).collect();
            held.push((one.place, one.needed, Held::new(one.batch, one.reference, candidates)));
        }
        Ok(held)
    }
}

fn ignored(holding: &Holding) -> Taken {
    Taken::Ignored(if matches!(holding, Holding::LaneFull) { peers::OVER_LIMIT } else { peers::OUT_OF_PLACE })
}

#[cfg(test)]
mod tests;
