//! Limits, order, fairness and idempotence of the mempool.

use std::sync::Arc;

use mingzhang_consensus::{Epoch, Opening};
use mingzhang_ledger::authority::Parameters;
use mingzhang_ledger::batch::{Batch, LanePosition};
use mingzhang_ledger::certificate::admit_bytes;
use mingzhang_ledger::crypto::{Hash, Signature};
use mingzhang_ledger::entry;
use mingzhang_ledger::outcome::peers;
use mingzhang_ledger::state::execute::Candidate;

use super::lane::{BATCH_COST_BYTES, Front, Held, Holding, Lanes};
use super::own::{Own, Pending, record_key};
use super::*;
use crate::testing::{KeyOf, anchor, genesis, key};

const LANE_BYTES: usize = 20_000;

fn held(author: u16, run: u64, seq: u64, size: usize) -> Held {
    let mut payload = vec![0; size];
    payload[..4].copy_from_slice(&u32::try_from(size - 4).expect("small").to_be_bytes());
    payload[4] = u8::try_from(author).expect("small");
    payload[5] = u8::try_from(seq % 251).expect("small");
    let batch = Batch { epoch: 0, author, run, seq, payload, signature: Signature([0; 64]) };
    let transaction = Arc::new(anchor(&genesis(), 0, 1, 1));
    let candidates = [Candidate { transaction, verified_with: None }].into();
    let (reference, batch) = (batch.reference(10), Arc::new(batch));
    Held::new(batch, reference, candidates)
}

fn lanes(authors: usize) -> Lanes {
    Lanes::new(0, &vec![LanePosition::default(); authors], LANE_BYTES)
}

#[test]
fn lanes_get_equal_shares_in_the_order_of_the_height() {
    let mut lanes = lanes(3);
    for seq in 0..4 {
        assert_eq!(lanes.hold(held(0, 5, seq, 100), false), Holding::Held);
    }
    assert_eq!(lanes.hold(held(2, 1, 0, 100), false), Holding::Held);
    let start = vec![LanePosition::default(); 3];
    let places = |height, max_bytes| -> Vec<(u16, u64)> {
        lanes.select(&start, height, 100, max_bytes).iter().map(|r| (r.author, r.seq)).collect()
    };
    // At height 1 author 1 comes first, then 2, then 0.
    assert_eq!(places(1, 300), [(2, 0), (0, 0), (0, 1)]);
    assert_eq!(places(3, 200), [(0, 0), (2, 0)]);
    assert_eq!(places(3, 199), [(0, 0)]);
    assert_eq!(places(3, 99), [(0, 0)], "one batch fits always");
    assert!(places(3, 0).is_empty());
    assert_eq!(places(3, 10_000).len(), 5);
}

#[test]
fn what_rides_on_a_proposal_is_small_as_it_is_encoded() {
    let limit = mingzhang_consensus::message::MAX_ATTACHED_BYTES;
    let overhead = held(0, 1, 0, 100).batch.encode().len() - 100;
    for (payloads, rides) in [([limit / 2 - overhead; 2], 2), ([limit / 2 - overhead, limit / 2 - overhead + 1], 0)] {
        let mut lanes = Lanes::new(0, &[LanePosition::default()], 1 << 20);
        let batches = [0, 1].map(|seq| held(0, 1, seq as u64, payloads[seq]));
        batches.iter().for_each(|held| assert_eq!(lanes.hold(held.clone(), false), Holding::Held));
        let attached = lanes.attached(&batches.map(|held| held.reference));
        assert_eq!(attached.len(), rides, "{payloads:?} bytes of payload");
    }
}

#[test]
fn a_gap_ends_a_lane_and_a_later_run_goes_on() {
    let mut lanes = lanes(1);
    for (run, seq) in [(5, 0), (5, 2), (9, 0), (9, 1)] {
        lanes.hold(held(0, run, seq, 50), false);
    }
    let chosen = lanes.select(&[LanePosition::default()], 1, 100, 10_000);
    let places: Vec<_> = chosen.iter().map(|r| (r.run, r.seq)).collect();
    assert_eq!(places, [(5, 0), (9, 0), (9, 1)]);
}

#[test]
fn quotas_hold_at_the_limit_and_one_beyond_unless_a_block_needs_the_batch() {
    let mut lanes = lanes(2);
    assert_eq!(lanes.hold(held(0, 1, 0, LANE_BYTES - 50 - 2 * BATCH_COST_BYTES), false), Holding::Held);
    assert_eq!(lanes.hold(held(0, 1, 1, 51), false), Holding::LaneFull);
    assert_eq!(lanes.hold(held(0, 1, 1, 50), false), Holding::Held);
    assert_eq!(lanes.hold(held(0, 1, 2, 50), false), Holding::LaneFull);
    assert_eq!(lanes.hold(held(0, 1, 2, 50), true), Holding::Held);
    assert_eq!(lanes.hold(held(1, 1, 0, 50), false), Holding::Held, "another author has room");
    assert_eq!(lanes.hold(held(1, 1, 0, 50), false), Holding::Known);
    assert_eq!(lanes.hold(held(2, 1, 0, 50), false), Holding::Useless, "no such author");
}

#[test]
fn small_batches_fill_a_lane_as_large_ones_do_and_so_do_runs() {
    let mut lanes = lanes(1);
    let most = u64::try_from(LANE_BYTES / (BATCH_COST_BYTES + 6)).expect("small");
    for run in 1..=most {
        assert_eq!(lanes.hold(held(0, run, run % 2, 6), false), Holding::Held);
    }
    assert_eq!(lanes.hold(held(0, most + 1, 0, 6), false), Holding::LaneFull);
}

#[test]
fn a_proposal_brings_batches_past_the_quota_once_a_turn_and_only_where_it_counts() {
    let mut lanes = lanes(4);
    lanes.reach(10);
    let window = mingzhang_consensus::window(4);
    let expected: Vec<bool> =
        [9, 10, 10, 10 + window, 10 + window, 11 + window].into_iter().map(|turn| lanes.expects(turn)).collect();
    assert_eq!(expected, [false, true, false, true, false, false]);
}

#[test]
fn what_only_dead_blocks_needed_goes_from_the_far_end_of_a_lane_over_its_quota() {
    let mut lanes = lanes(1);
    let size = LANE_BYTES / 4;
    lanes.reach(1);
    for seq in 0..4 {
        lanes.hold(held(0, 1, seq, size), true);
    }
    let window = mingzhang_consensus::window(1);
    let start = [LanePosition::default()];
    assert!(lanes.advance(&start, window).is_empty(), "a block of such a turn may still name them");
    lanes.reach(window + 1);
    lanes.need(&held(0, 1, 3, size).reference);
    let dropped: Vec<u64> = lanes.advance(&start, window + 1).iter().map(|held| held.reference.seq).collect();
    assert_eq!(dropped, [2], "the last one is needed again, and with the others the lane is within its quota");
    assert_eq!(lanes.bytes(), 3 * (size + BATCH_COST_BYTES));
    assert!(lanes.advance(&start, 100 * window).is_empty());
}

#[test]
fn a_second_batch_under_one_number_is_kept_and_named() {
    let mut lanes = lanes(1);
    let first = held(0, 1, 0, 50);
    lanes.hold(first.clone(), false);
    assert_eq!(lanes.hold(held(0, 1, 0, 60), false), Holding::Second { first: first.reference });
    assert!(lanes.get(&held(0, 1, 0, 60).reference).is_some());
}

#[test]
fn what_a_final_block_passed_is_dropped_and_never_taken_again() {
    let mut lanes = lanes(1);
    for seq in 0..3 {
        lanes.hold(held(0, 1, seq, 50), false);
    }
    let dropped = lanes.advance(&[LanePosition { run: 1, next_seq: 2 }], 1);
    assert_eq!(dropped.len(), 2);
    assert_eq!(lanes.bytes(), 50 + BATCH_COST_BYTES);
    assert_eq!(lanes.hold(held(0, 1, 1, 50), true), Holding::Useless);
}

#[test]
fn only_batches_up_to_the_last_viable_one_of_a_lane_wait() {
    let mut lanes = lanes(2);
    for seq in 0..3 {
        lanes.hold(held(0, 1, seq, 50), false);
    }
    lanes.hold(held(1, 1, 0, 50), false);
    let dead = |front: Front, dead: bool| Front { viable_from: usize::from(dead), ..front };
    let fronts = lanes.fronts(Some(1), 7);
    assert_eq!(fronts[0].reference.author, 1, "own batches first");
    let looked_at: Vec<Front> = fronts
        .into_iter()
        .map(|front| {
            let is_dead = front.reference.seq != 1;
            dead(front, is_dead)
        })
        .collect();
    let waiting: Vec<_> = lanes.waiting(&looked_at, 7).iter().map(|r| (r.author, r.seq)).collect();
    assert_eq!(waiting, [(0, 0), (0, 1)]);
    assert!(lanes.fronts(None, 7).iter().all(|front| front.passes), "looked at once for each tip");
    assert!(lanes.fronts(None, 8).iter().all(|front| !front.passes));
}

#[test]
fn dead_batches_never_hide_a_live_one_behind_them() {
    let mut lanes = Lanes::new(0, &[LanePosition::default()], 1 << 20);
    let count = u64::try_from(mingzhang_consensus::message::MAX_WAITING).expect("small") + 1;
    for seq in 0..count {
        lanes.hold(held(0, 1, seq, 50), false);
    }
    let dead = |front: Front| Front { viable_from: 1, ..front };
    let first: Vec<Front> = lanes.fronts(None, 7).into_iter().map(dead).collect();
    assert_eq!(first.len(), mingzhang_consensus::message::MAX_WAITING);
    assert!(lanes.waiting(&first, 7).is_empty());
    let second = lanes.fronts(None, 7);
    assert_eq!(second.last().map(|front| front.reference.seq), Some(count - 1));
    assert!(!lanes.waiting(&second, 7).is_empty());
}

fn pending(number: u32) -> Pending {
    let transaction = Arc::new(anchor(&genesis(), 1, number, 1_000));
    let admitted = Admitted { transaction_id: transaction.id(), time_ms: 5, repeated: false };
    Pending::new(transaction, key(1, KeyOf::Officer).public(), admitted)
}

#[test]
fn a_batch_is_due_after_its_linger_or_when_it_is_full() {
    let parameters = Parameters { max_batch_records: 3, ..Parameters::default() };
    let mut own = Own::default();
    assert_eq!(own.due_ms(&parameters, 50), None);
    assert!(own.admit(pending(1), 100));
    assert!(!own.admit(pending(1), 100), "one record once");
    assert!(own.admit(pending(2), 120));
    assert_eq!(own.due_ms(&parameters, 50), Some(100), "nothing went out lately: at once");
    own.admit(pending(3), 130);
    own.admit(pending(4), 130);
    assert_eq!(own.due_ms(&parameters, 50), Some(0));
    assert_eq!(own.take(&parameters, (7, 0), 200).len(), 3);
    assert_eq!(own.queued(), 1);
    assert_eq!(own.due_ms(&parameters, 50), Some(250), "a linger after the last batch");
    assert_eq!(own.take(&parameters, (7, 1), 200).len(), 1);
    assert_eq!((own.queued(), own.queued_bytes(), own.count()), (0, 0, 4));
}

#[test]
fn what_was_left_out_is_queued_again_and_what_is_final_is_forgotten() {
    let parameters = Parameters::default();
    let mut own = Own::default();
    for number in 1..=3 {
        own.admit(pending(number), 0);
    }
    let batch = own.take(&parameters, (7, 0), 200);
    own.forget_id(&pending(2).transaction.id());
    let left_out = own.left_out(7, 0, &batch);
    assert_eq!(left_out.len(), 2);
    assert!(own.left_out(8, 0, &batch).is_empty(), "they are in no other batch");
    own.requeue(&record_key(&left_out[0].transaction), 40);
    assert_eq!((own.queued(), own.count()), (1, 2));
    own.requeue_all(50);
    assert_eq!(own.queued(), 2);
    assert_eq!(own.expired(999), Vec::new());
    for record in own.expired(1_000) {
        own.forget(&record);
    }
    assert_eq!((own.count(), own.bytes()), (0, 0));
    assert!(own.take(&parameters, (7, 1), 200).is_empty());
}

fn first_epoch() -> Epoch {
    let genesis = genesis();
    let opening = Opening::Genesis { block: entry::genesis_id(&genesis.hash) };
    Epoch { chain: genesis.hash, set: Arc::new(genesis.set.clone()), opening }
}

/// The seat of agency 1.
pub(super) fn seat() -> Option<Seat> {
    Seat::find(&first_epoch(), &key(1, KeyOf::Consensus))
}

/// A mempool of agency 1 over a new store.
pub(super) fn mempool(folder: &std::path::Path, limits: Limits) -> (Arc<Mempool>, Submissions, Arc<Store>) {
    mempool_at(folder, limits, seat())
}

fn mempool_at(folder: &std::path::Path, limits: Limits, seat: Option<Seat>) -> (Arc<Mempool>, Submissions, Arc<Store>) {
    let (genesis, epoch) = (genesis(), first_epoch());
    let store = Arc::new(crate::node::open_store(folder, &genesis).expect("opens"));
    let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread"));
    let parts = Parts {
        network: genesis.founding.network.clone(),
        store: Arc::clone(&store),
        clock: Arc::new(Clock::default()),
        pool,
        limits,
    };
    let positions = store.tip().lanes.clone();
    let (mempool, submissions) = Mempool::open(parts, &epoch, seat, &positions).expect("opens");
    (mempool, submissions, store)
}

pub(super) const LIMITS: Limits = Limits { linger_ms: 0, mempool_bytes: 1 << 20, lane_bytes: 1 << 20 };

/// Submits, and serves the submissions until all are answered.
pub(super) async fn submit_all(
    mempool: &Mempool,
    submissions: &mut Submissions,
    transactions: Vec<Transaction>,
) -> Vec<Result<Submitted, Refusal>> {
    let answers = futures::future::join_all(transactions.into_iter().map(|transaction| mempool.submit(transaction)));
    tokio::select! {
        answers = answers => answers,
        served = mempool.admit_all(submissions) => panic!("the mempool stopped: {served:?}"),
    }
}

#[tokio::test]
async fn what_is_handed_in_together_is_refused_from_the_first_that_finds_no_place_in_the_queue() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mempool, mut submissions, _store) = mempool(folder.path(), LIMITS);
    let (genesis, expires_at) = (genesis(), mempool.parts.clock.now_ms() + 60_000);
    let beyond = u32::try_from(SUBMISSION_QUEUE_LENGTH).expect("small");
    let all: Vec<_> = (0..=beyond).map(|number| Arc::new(anchor(&genesis, 1, number, expires_at))).collect();
    let answers = tokio::select! {
        answers = mempool.submit_all(all) => answers,
        served = mempool.admit_all(&mut submissions) => panic!("the mempool stopped: {served:?}"),
    };
    assert_eq!(answers.len(), SUBMISSION_QUEUE_LENGTH + 1);
    let full = |answer: &&Result<Submitted, Refusal>| matches!(answer, Err(refusal) if refusal.detail == "the queue of submissions is full");
    assert_eq!(answers.iter().filter(full).count(), 1);
    assert!(answers.last().is_some_and(|last| full(&last)));
    assert!(answers[0].is_ok());
    assert_eq!(mempool.submitted.load(Ordering::Acquire), 0, "the queue is empty again");
}

#[tokio::test]
async fn admissions_are_idempotent_checked_and_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mempool, mut submissions, store) = mempool(folder.path(), LIMITS);
    let expires_at = mempool.parts.clock.now_ms() + 60_000;
    let genesis = genesis();
    let good = anchor(&genesis, 1, 1, expires_at);
    let mut forged = good.bytes().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let forged = Transaction::decode(&forged).expect("still well formed");
    let expired = anchor(&genesis, 1, 2, 1);
    let answers = submit_all(
        &mempool,
        &mut submissions,
        vec![good.clone(), good.clone(), expired, anchor(&genesis, 1, 3, expires_at)],
    )
    .await;
    let repeated: Vec<Option<bool>> = answers
        .iter()
        .map(|answer| match answer {
            Ok(Submitted::Admitted(admitted)) => Some(admitted.repeated),
            _ => None,
        })
        .collect();
    assert_eq!(repeated, [Some(false), Some(true), None, Some(false)]);
    // Both have the id of a record that is pending: its answer is for who signed it again.
    let later = submit_all(&mempool, &mut submissions, vec![forged, anchor(&genesis, 1, 1, expires_at + 1)]).await;
    assert!(matches!(&later[0], Err(refusal) if refusal.code.0 == BAD_SIGNATURE), "{later:?}");
    assert!(matches!(&later[1], Ok(Submitted::Admitted(first)) if first.repeated && first.transaction_id == good.id()));
    assert!(store.is_admitted(&good.id()));
    let promise = mempool.promise(&good.id()).expect("it waits here");
    let promised = admit_bytes(&genesis.hash, promise.epoch, promise.author, &good.id(), promise.time_ms);
    let member = genesis.set.member(promise.author).expect("a member");
    assert!(member.consensus_key.verify(&promised, &promise.signature));
    assert_eq!(mempool.promise(&[7; 32]), None, "nothing is promised for what was not admitted");
    assert_eq!(mempool.fill().own_transactions, 2);
    drop((mempool, submissions, store));
    let (mempool, _submissions, _store) = self::mempool(folder.path(), LIMITS);
    assert_eq!(mempool.fill().own_transactions, 2);
}

#[tokio::test]
async fn what_was_answered_for_waits_for_the_seat_to_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mempool, mut submissions, store) = mempool(folder.path(), LIMITS);
    let record = anchor(&genesis(), 1, 1, mempool.parts.clock.now_ms() + 60_000);
    assert!(submit_all(&mempool, &mut submissions, vec![record]).await[0].is_ok());
    drop((mempool, submissions, store));
    // It lost its seat, was started again meanwhile, and has one again.
    let (mempool, _submissions, _store) = mempool_at(folder.path(), LIMITS, None);
    assert_eq!(mempool.fill().own_transactions, 0);
    mempool.open_epoch(&first_epoch(), seat()).expect("an epoch opens");
    assert_eq!((mempool.fill().own_transactions, mempool.fill().own_queued), (1, 1));
}

#[tokio::test]
async fn one_more_than_may_wait_is_told_to_come_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mempool, mut submissions, _store) = mempool(folder.path(), LIMITS);
    let (genesis, expires_at) = (genesis(), mempool.parts.clock.now_ms() + 60_000);
    let many = |range: std::ops::RangeInclusive<u32>| range.map(|n| anchor(&genesis, 1, n, expires_at)).collect();
    let answers = submit_all(&mempool, &mut submissions, many(1..=1_001)).await;
    let refused: Vec<_> =
        answers.iter().filter_map(|answer| answer.as_ref().err()).map(|refusal| refusal.code.0).collect();
    assert_eq!((refused, mempool.fill().own_transactions), (vec![TOO_MANY], 1_000));
    // What waits is answered as before, and the one that was refused left nothing behind.
    let again = submit_all(&mempool, &mut submissions, many(1_000..=1_001)).await;
    assert_eq!(again.iter().filter(|answer| answer.is_ok()).count(), 1);
}

#[tokio::test]
async fn a_bad_signature_is_refused_beside_good_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mempool, mut submissions, _store) = mempool(folder.path(), LIMITS);
    let expires_at = mempool.parts.clock.now_ms() + 60_000;
    let genesis = genesis();
    let mut forged = anchor(&genesis, 1, 2, expires_at).bytes().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let forged = Transaction::decode(&forged).expect("still well formed");
    let transactions = vec![anchor(&genesis, 1, 1, expires_at), forged, anchor(&genesis, 1, 3, expires_at)];
    let answers = submit_all(&mempool, &mut submissions, transactions).await;
    let codes: Vec<u16> =
        answers.iter().map(|answer| answer.as_ref().err().map_or(0, |refusal| refusal.code.0)).collect();
    assert_eq!(codes, [0, BAD_SIGNATURE, 0]);
}

#[tokio::test]
async fn a_full_mempool_refuses_before_memory_grows() {
    let folder = tempfile::tempdir().expect("a folder");
    let size = anchor(&genesis(), 1, 1, 1_000_000_000_000).bytes().len();
    let limits = Limits { lane_bytes: 3 * (size + 4), ..LIMITS };
    let (mempool, mut submissions, _store) = mempool(folder.path(), limits);
    let expires_at = mempool.parts.clock.now_ms() + 60_000;
    let genesis = genesis();
    let transactions = (0..5).map(|number| anchor(&genesis, 1, number, expires_at)).collect();
    let answers = submit_all(&mempool, &mut submissions, transactions).await;
    let codes: Vec<u16> =
        answers.iter().map(|answer| answer.as_ref().err().map_or(0, |refusal| refusal.code.0)).collect();
    assert_eq!(codes, [0, 0, 0, TOO_MANY, TOO_MANY]);
    assert_eq!(mempool.fill().own_transactions, 3);
}

#[tokio::test]
async fn packed_batches_are_signed_stored_and_wait_for_a_block() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mempool, mut submissions, store) = mempool(folder.path(), LIMITS);
    let expires_at = mempool.parts.clock.now_ms() + 60_000;
    let genesis = genesis();
    let transactions = (0..3).map(|number| anchor(&genesis, 1, number, expires_at)).collect();
    submit_all(&mempool, &mut submissions, transactions).await;
    let (sender, mut receiver) = mpsc::channel(8);
    let publish = |batch: &Batch| sender.try_send(batch.clone()).expect("room");
    let batch = tokio::select! {
        packed = mempool.pack_all(publish) => panic!("packing stopped: {packed:?}"),
        batch = receiver.recv() => batch.expect("a batch"),
    };
    let member = genesis.set.member(1).expect("a member");
    assert!(member.consensus_key.verify(&batch.signed_bytes(&genesis.hash), &batch.signature));
    let work = mempool.work().expect("the store reads");
    assert_eq!(work.waiting, [batch.reference(1_024)]);
    assert!(store.holds_batch(0, &work.waiting[0]).expect("the store reads"));
    let positions = vec![LanePosition::default(); 4];
    let chosen = mempool.select(&positions, 1, 100, 1 << 20);
    assert_eq!(chosen, work.waiting);
    assert_eq!(mempool.held(&chosen).expect("held")[0].candidates.len(), 3);
    let unknown = Reference { hash: [9; 32], ..chosen[0] };
    assert_eq!(mempool.held(&[unknown]).expect_err("not held"), [unknown]);
    // Another node takes the same batch in by gossip, once; a changed one is refused.
    let other_folder = tempfile::tempdir().expect("a folder");
    let (other, _other_submissions, _other_store) = self::mempool(other_folder.path(), LIMITS);
    let arrival = |batch: Batch| Arrival { batch, needed: false, author_verified: false };
    let mut changed = batch.clone();
    changed.seq += 1;
    let taken = other.take_in(vec![arrival(batch.clone()), arrival(changed), arrival(batch)]).expect("the store works");
    assert_eq!(taken, [Taken::Held, Taken::Invalid(peers::NOT_SIGNED), Taken::Held]);
    assert!(other.held(&chosen).expect("held")[0].candidates.iter().all(|one| one.verified_with.is_some()));
}

/// A batch of agency 1, signed.
pub(super) fn signed(run: u64, seq: u64, payload: Vec<u8>) -> Batch {
    seat().expect("a seat").sign_batch(run, seq, payload)
}

#[tokio::test]
async fn empty_batches_are_refused_and_what_finds_its_lane_full_leaves_nothing_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits { lane_bytes: 2 * (BATCH_COST_BYTES + 5), ..LIMITS };
    let (mempool, _submissions, store) = mempool(folder.path(), limits);
    let batches: Vec<Batch> = (0..4).map(|seq| signed(9, seq, vec![0, 0, 0, 1, 7])).collect();
    let arrival = |batch: &Batch| Arrival { batch: batch.clone(), needed: false, author_verified: false };
    let mut arrivals: Vec<Arrival> = batches.iter().map(arrival).collect();
    arrivals.push(arrival(&signed(10, 0, Vec::new())));
    let taken = mempool.take_in(arrivals).expect("the store works");
    let full = || Taken::Ignored(peers::OVER_LIMIT);
    assert_eq!(taken, [Taken::Held, Taken::Held, full(), full(), Taken::Invalid(peers::MALFORMED)]);
    assert_eq!(store.batches(0).expect("the store reads"), batches[..2]);
    let needed = Arrival { needed: true, ..arrival(&batches[2]) };
    assert_eq!(mempool.take_in(vec![needed]).expect("the store works"), [Taken::Held]);
    assert_eq!(store.batches(0).expect("the store reads"), batches[..3]);
}

#[test]
fn the_same_payload_under_two_runs_is_two_batches() {
    let mut lanes = lanes(1);
    let first = held(0, 1, 0, 50);
    let mut again = held(0, 2, 0, 50);
    again.reference.hash = first.reference.hash;
    assert_eq!(lanes.hold(first.clone(), false), Holding::Held);
    assert_eq!(lanes.hold(again.clone(), false), Holding::Held);
    let hash: Hash = first.reference.hash;
    assert_eq!(lanes.get(&first.reference).map(|held| held.reference.hash), Some(hash));
    assert_eq!(lanes.get(&again.reference).map(|held| held.reference.run), Some(2));
}

#[tokio::test]
async fn nothing_new_is_taken_while_the_disk_is_nearly_full_and_an_expiry_wait_is_demand() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mempool, mut submissions, _store) = mempool(folder.path(), LIMITS);
    let expires_at = mempool.parts.clock.now_ms() + 60_000;
    mempool.accept(false);
    let refused = submit_all(&mempool, &mut submissions, vec![anchor(&genesis(), 1, 1, expires_at)]).await;
    assert_eq!(refused[0].as_ref().expect_err("refused").code.0, NOT_READY);
    mempool.accept(true);
    let taken = submit_all(&mempool, &mut submissions, vec![anchor(&genesis(), 1, 1, expires_at)]).await;
    assert!(taken[0].is_ok());
    assert!(!mempool.work().expect("the store reads").expiry_waits);
    let wait = mempool.wait_for_expiry();
    assert!(mempool.work().expect("the store reads").expiry_waits);
    drop(wait);
    assert!(!mempool.work().expect("the store reads").expiry_waits);
}
