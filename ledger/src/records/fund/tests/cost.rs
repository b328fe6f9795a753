//! How much state the three records of a payment read and write: every node pays for each of them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::records::testing::{Memory, signing_key};
use crate::state::execute::{BlockContext, Candidate, execute};
use crate::state::key::Key;
use crate::state::{Snapshot, StateFault};
use crate::transaction::Transaction;

/// Counts the reads that reach the store below a block.
struct Counted<'a> {
    below: &'a Memory,
    reads: RefCell<Vec<Key>>,
}

impl Snapshot for Counted<'_> {
    fn read(&self, key: &Key) -> Result<Option<Stored>, StateFault> {
        self.reads.borrow_mut().push(*key);
        self.below.read(key)
    }
}

/// What one record of a payment may cost: keys read, each once, and keys written.
struct Limits {
    reads: usize,
    writes: usize,
}

fn assert_cheap(stage: &mut Stage, limits: Limits, transaction: Transaction) {
    let name = transaction.payload().record_type.clone();
    let counted = Counted { below: &stage.state, reads: RefCell::default() };
    let block = BlockContext { height: 1, epoch: 0, time_ms: stage.time_ms, first_index: stage.next_index };
    let candidate = Candidate { transaction: Arc::new(transaction.clone()), verified_with: None };
    let execution = execute(&counted, &stage.network, &block, &[candidate]).expect("the state can be read");
    let reads = counted.reads.into_inner();
    let distinct: BTreeSet<&Key> = reads.iter().collect();
    assert_eq!(reads.len(), distinct.len(), "{name} reads a key of the store twice");
    assert!(reads.len() <= limits.reads, "{name} reads {} keys", reads.len());
    assert!(execution.changes.len() <= limits.writes, "{name} writes {} keys", execution.changes.len());
    let kept = stage.block(vec![transaction]);
    assert_eq!(kept.records[0].outcome, 0, "{name}: {}", kept.records[0].detail);
}

#[test]
fn a_payment_reads_and_writes_little() {
    let mut stage = funded();
    let request = stage.sign("civil/1", "payment_request", "PAY", payment("G", 1, 10));
    assert_cheap(&mut stage, Limits { reads: 17, writes: 10 }, request);
    let approval = stage.sign("finance/1", "approve", "AP", stage.digest_of("civil/PAY"));
    assert_cheap(&mut stage, Limits { reads: 15, writes: 7 }, approval);
    let confirmation = stage.sign("bank/1", "payment_confirm", "PC", confirmation("civil/PAY", "B-1"));
    assert_cheap(&mut stage, Limits { reads: 15, writes: 11 }, confirmation);
}

#[test]
fn what_several_records_of_a_block_name_is_read_once() {
    let stage = funded();
    let requests = ["PAY-1", "PAY-2"].map(|id| stage.sign("civil/1", "payment_request", id, payment("G", 1, 10)));
    let counted = Counted { below: &stage.state, reads: RefCell::default() };
    let block = BlockContext { height: 1, epoch: 0, time_ms: stage.time_ms, first_index: stage.next_index };
    let candidates = requests.map(|request| Candidate {
        transaction: Arc::new(request),
        verified_with: Some(signing_key("civil/1").public()),
    });
    let execution = execute(&counted, &stage.network, &block, &candidates).expect("the state can be read");
    let reads = counted.reads.into_inner();
    assert_eq!(reads.len(), reads.iter().collect::<BTreeSet<&Key>>().len());
    let outcomes: Vec<u16> = execution.records.iter().map(|record| record.outcome).collect();
    assert_eq!(outcomes, [0, 0], "both wait for approval");
}

#[test]
fn of_what_nobody_is_known_to_have_signed_nothing_is_looked_for() {
    let stage = funded();
    let request = Arc::new(stage.sign("civil/1", "payment_request", "PAY", payment("G", 1, 10)));
    let counted = Counted { below: &stage.state, reads: RefCell::default() };
    // Long expired: the door refuses it before it reads anything.
    let block = BlockContext { height: 1, epoch: 0, time_ms: u64::MAX / 2, first_index: stage.next_index };
    let candidates = [Candidate { transaction: request, verified_with: None }];
    let execution = execute(&counted, &stage.network, &block, &candidates).expect("the state can be read");
    assert_eq!(execution.left_out.len(), 1);
    let named = ["PAY", "G"].map(|id| key::record("civil", &key::parse_id(id).expect("an id")));
    assert!(!counted.reads.into_inner().iter().any(|read| named.contains(read)));
}
