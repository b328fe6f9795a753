//! What is checked of a batch before it is held, and what is left for later.

use mingzhang_ledger::codec::put_counted;
use mingzhang_ledger::crypto::Signature;

use super::super::tests::{LIMITS, mempool, seat, signed, submit_all};
use super::*;
use crate::store::Admission;
use crate::testing::{KeyOf, anchor, genesis, key, with_another_r};

fn payload(transactions: &[Transaction]) -> Vec<u8> {
    let mut payload = Vec::new();
    transactions.iter().for_each(|transaction| put_counted(&mut payload, transaction.bytes()));
    payload
}

fn arrival(batch: Batch) -> Arrival {
    Arrival { batch, needed: false, author_verified: false }
}

#[tokio::test]
async fn a_signature_of_another_form_counts_as_no_signature_from_the_beginning() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mempool, _submissions, _store) = mempool(folder.path(), LIMITS);
    let expires_at = mempool.parts.clock.now_ms() + 60_000;
    let good = anchor(&genesis(), 1, 1, expires_at);
    let other = with_another_r(&anchor(&genesis(), 1, 2, expires_at), &key(1, KeyOf::Officer));
    let batch = signed(9, 0, payload(&[other, good]));
    let reference = batch.reference(10);
    assert_eq!(mempool.take_in(vec![arrival(batch)]).expect("the store works"), [Taken::Held]);
    let held = mempool.held(&[reference]).expect("held");
    let verified: Vec<bool> = held[0].candidates.iter().map(|one| one.verified_with.is_some()).collect();
    assert_eq!(verified, [false, true]);
}

#[tokio::test]
async fn what_is_held_under_another_signature_is_not_passed_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mempool, _submissions, _store) = mempool(folder.path(), LIMITS);
    let batch = signed(9, 0, payload(&[anchor(&genesis(), 1, 1, mempool.parts.clock.now_ms() + 60_000)]));
    let mut forged = batch.clone();
    forged.signature = Signature([7; 64]);
    let take = |batch: &Batch| mempool.take_in(vec![arrival(batch.clone())]).expect("the store works").remove(0);
    assert_eq!(take(&forged), Taken::Invalid(peers::NOT_SIGNED));
    let ignored = Taken::Ignored(peers::OUT_OF_PLACE);
    assert_eq!([take(&batch), take(&batch), take(&forged)], [Taken::Held, Taken::Held, ignored]);
}

#[tokio::test]
async fn a_record_of_a_key_that_is_not_registered_yet_is_looked_at_again_with_the_next_tip() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mempool, _submissions, _store) = mempool(folder.path(), LIMITS);
    let expires_at = mempool.parts.clock.now_ms() + 60_000;
    let known = anchor(&genesis(), 1, 1, expires_at);
    let batch = signed(9, 0, payload(&[known]));
    let reference = batch.reference(10);
    mempool.take_in(vec![arrival(batch)]).expect("the store works");
    // As if the key had not been known when the batch came, nor at the tip before.
    let forget = |passed_at| {
        let mut state = mempool.lock();
        let held = state.lanes.get_mut(&reference).expect("held");
        let transaction = Arc::clone(&held.candidates[0].transaction);
        held.candidates = [Candidate { transaction, verified_with: None }].into();
        (held.viable_from, held.later_from, held.passed_at) = (1, Some(0), passed_at);
    };
    forget(Some(0));
    assert!(mempool.work().expect("the store reads").waiting.is_empty(), "looked at at this tip");
    forget(None);
    assert_eq!(mempool.work().expect("the store reads").waiting, [reference]);
    // One of a stranger waits for no block, and hides nothing that stands behind it.
    let stranger = anchor(&genesis(), 1, 2, expires_at);
    let stranger = Transaction::sign(stranger.payload(), &key(3, KeyOf::Peer)).expect("signs");
    let batches =
        [signed(10, 0, payload(&[stranger])), signed(10, 1, payload(&[anchor(&genesis(), 1, 3, expires_at)]))];
    let references = [0, 1].map(|place: usize| batches[place].reference(10));
    let last = references[1];
    mempool.take_in(batches.map(arrival).to_vec()).expect("the store works");
    let state = |place: usize| {
        let state = mempool.lock();
        state.lanes.get(&references[place]).map(|held| (held.viable_from, held.later_from))
    };
    assert_eq!(mempool.work().expect("the store reads").waiting.last(), Some(&last));
    assert_eq!(state(0), Some((1, Some(0))));
    assert_eq!(state(1), Some((0, None)));
}

#[tokio::test]
async fn a_clock_that_is_ahead_at_the_start_breaks_no_promise() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, mut submissions, store) = mempool(folder.path(), LIMITS);
    let record = anchor(&genesis(), 1, 1, first.parts.clock.now_ms() + 60_000);
    assert!(submit_all(&first, &mut submissions, vec![record.clone()]).await[0].is_ok());
    // The same promise, of a record that has expired by this node's clock but by no block's time.
    let late = anchor(&genesis(), 1, 2, 1_000);
    let admission = Admission { transaction_id: late.id(), time_ms: 5, transaction: late.bytes().to_vec() };
    store.admit(vec![admission]).expect("stored");
    drop((first, submissions, store));
    let (again, _submissions, store) = mempool(folder.path(), LIMITS);
    assert!(seat().is_some() && store.is_admitted(&late.id()) && store.is_admitted(&record.id()));
    assert_eq!(again.fill().own_transactions, 2);
}
