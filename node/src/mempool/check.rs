//! Signatures of transactions, many at once, on the pool beside the engine: each is verified once per node. Whether a
//! transaction passes the door is decided by the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mingzhang_ledger::crypto::{PublicKey, Signature, verify_batch};
use mingzhang_ledger::transaction::Transaction;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Signatures in one batch equation. Larger ones gain little and split badly over cores.
const BATCH_SIGNATURES: usize = 256;
/// Sizes of batches up to which signatures are counted apart: powers of two, the last for full ones.
const SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, BATCH_SIGNATURES];

/// How many transactions' signatures were verified here, by the size of the batch they were in: what one costs depends on it.
#[derive(Debug, Default)]
pub struct Verified([AtomicU64; SIZES.len()]);

impl Verified {
    /// Signatures that are verified in one go, in full batches and a rest.
    fn count(&self, signatures: usize) {
        let rest = signatures % BATCH_SIGNATURES;
        for part in [signatures - rest, rest] {
            let counter = SIZES.iter().position(|size| part <= *size).and_then(|place| self.0.get(place));
            let counter = counter.or(self.0.last()).filter(|_| part > 0);
            if let Some(counter) = counter {
                counter.fetch_add(u64::try_from(part).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        }
    }

    /// Signatures in batches of up to so many.
    pub fn by_size(&self) -> impl Iterator<Item = (usize, u64)> {
        SIZES.into_iter().zip(self.0.iter().map(|counter| counter.load(Ordering::Relaxed)))
    }
}

/// One signature over some bytes.
pub type Item<'a> = (PublicKey, &'a [u8], Signature);

/// One verdict per signature.
pub fn verify_all(pool: &ThreadPool, items: &[Item<'_>]) -> Vec<bool> {
    if items.len() <= BATCH_SIGNATURES {
        return verify_batch(items);
    }
    let verify = || items.par_chunks(BATCH_SIGNATURES).flat_map_iter(verify_batch).collect();
    pool.install(verify)
}

/// As [`verify_all`], of transactions.
pub fn verify_counted(pool: &ThreadPool, items: &[Item<'_>], verified: &Verified) -> Vec<bool> {
    verified.count(items.len());
    verify_all(pool, items)
}

/// Whether a transaction is signed by the key that the door named; `None` where the door refused it.
pub fn verify_transactions(
    pool: &ThreadPool,
    work: &[(Arc<Transaction>, Option<PublicKey>)],
    verified: &Verified,
) -> Vec<bool> {
    let mut verdicts = vec![false; work.len()];
    let (mut places, mut items): (Vec<usize>, Vec<Item<'_>>) = (Vec::new(), Vec::new());
    for (place, (transaction, key)) in work.iter().enumerate() {
        let Some(key) = key else { continue };
        let signature = transaction.signature();
        if transaction.names_as_signer(key) {
            places.push(place);
            items.push((*key, transaction.signed_bytes(), signature));
        }
    }
    for (place, verdict) in places.into_iter().zip(verify_counted(pool, &items, verified)) {
        if let Some(slot) = verdicts.get_mut(place) {
            *slot = verdict;
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_counted_by_the_size_of_their_batch() {
        let verified = Verified::default();
        [0, 1, 3, 50, 64, 256, 600].into_iter().for_each(|signatures| verified.count(signatures));
        let counted: Vec<_> = verified.by_size().filter(|(_, signatures)| *signatures > 0).collect();
        assert_eq!(counted, [(1, 1), (4, 3), (64, 114), (128, 88), (256, 768)]);
    }
}
