//! Signatures of transactions, many at once, on the pool beside the engine: each is verified once per node. Whether a
//! transaction passes the door is decided by the ledger.

use std::sync::Arc;

use mingzhang_ledger::crypto::{PublicKey, Signature, verify_batch};
use mingzhang_ledger::transaction::Transaction;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Signatures in one batch equation. Larger ones gain little and split badly over cores.
const BATCH_SIGNATURES: usize = 256;

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

/// Whether a transaction is signed by the key that the door named; `None` where the door refused it.
pub fn verify_transactions(pool: &ThreadPool, work: &[(Arc<Transaction>, Option<PublicKey>)]) -> Vec<bool> {
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
    for (place, verdict) in places.into_iter().zip(verify_all(pool, &items)) {
        if let Some(slot) = verdicts.get_mut(place) {
            *slot = verdict;
        }
    }
    verdicts
}
