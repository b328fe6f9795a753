//! Two nodes that execute the same proposals, branches that wait, headers that lie, and the log replayed from nothing.

use std::collections::BTreeMap;

use mingzhang_ledger::authority::{Member, Parameters};
use mingzhang_ledger::certificate::Signers;
use mingzhang_ledger::codec::{Value, put_counted};
use mingzhang_ledger::crypto::{PublicKey, Signature, SigningKey};
use mingzhang_ledger::merkle::subtree_root;
use mingzhang_ledger::records::registry::{Founding, FoundingAgency, FoundingOfficer};
use mingzhang_ledger::recovery::{EndedEpoch, Recovered, RecoveryKeys, RecoveryManifest, SignedManifest};
use mingzhang_ledger::state::Snapshot;
use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::state::tree::TreeView;
use mingzhang_ledger::transaction::{Payload, Transaction};
use tempfile::TempDir;

use super::*;
use crate::store::{Foundation, Settings};
use crate::testing::with_another_r;

const START_MS: u64 = 1_780_272_000_000;

fn officer() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn network() -> Network {
    Network { origin: "test-0707070707070707".into(), chain: [7; 32], utc_offset_minutes: 480, development: true }
}

fn founding() -> Founding {
    let agency = |id: &str, officers: Vec<FoundingOfficer>| FoundingAgency {
        id: id.into(),
        name: id.into(),
        kind: "government".into(),
        roles: Vec::new(),
        admin_keys: Vec::new(),
        officers,
    };
    let clerk = FoundingOfficer { person: [5; 16], key: officer().public(), roles: Vec::new() };
    let member = |byte: u8| Member {
        agency: format!("agency{byte}"),
        consensus_key: PublicKey([byte; 32]),
        sealing_key: PublicKey([byte + 1; 32]),
        peer_key: PublicKey([byte + 2; 32]),
        url: "https://node.example/".into(),
    };
    let set = AuthoritySet {
        epoch: 0,
        parameters: Parameters::default(),
        members: [10, 20, 30, 40].into_iter().map(member).collect(),
    };
    Founding { network: network(), agencies: vec![agency("civil", vec![clerk])], parameters: BTreeMap::new(), set }
}

/// A change to a truth, and how the refusal begins.
type Lie<T> = (fn(&mut T), &'static str);

struct Node {
    executor: Executor,
    store: Arc<Store>,
    _directory: TempDir,
}

fn node() -> Node {
    let directory = tempfile::tempdir().expect("temp dir");
    let foundation = Foundation::of(&founding()).expect("founds");
    let store = Store::open(directory.path(), &foundation, &Settings::default()).expect("opens");
    let store = Arc::new(store);
    Node { executor: Executor::new(store.clone(), network()), store, _directory: directory }
}

fn transaction(number: u64) -> Transaction {
    let payload = Payload {
        origin: network().origin.into(),
        record_type: "document_anchor".into(),
        record_id: u128::from(number).to_be_bytes(),
        agency: "civil".into(),
        expires_at: START_MS + 3_600_000,
        body: Value::text_map([("root", Value::bytes(&[3; 32])), ("kind", Value::text("minutes"))]),
    };
    Transaction::sign(&payload, &officer()).expect("signs")
}

/// A batch of lane 0 with these records.
fn held(seq: u64, records: std::ops::Range<u64>) -> HeldBatch {
    let transactions: Vec<_> = records.map(transaction).collect();
    let mut payload = Vec::new();
    transactions.iter().for_each(|transaction| put_counted(&mut payload, transaction.bytes()));
    let batch =
        mingzhang_ledger::batch::Batch { epoch: 0, author: 0, run: 1, seq, payload, signature: Signature([0; 64]) };
    let candidate = |transaction| Candidate { transaction: Arc::new(transaction), verified_with: None };
    let candidates: Vec<_> = transactions.into_iter().map(candidate).collect();
    HeldBatch { reference: batch.reference(candidates.len()), candidates: candidates.into() }
}

/// The proposal of `turn` on `parent`, executed by the node.
fn propose(node: &Node, parent: BlockId, turn: u64, batches: &[HeldBatch]) -> Header {
    let height = node.executor.block(&parent).map_or(node.store.tip().height, |(header, ..)| header.height) + 1;
    let opening = 0;
    let build = Build {
        turn,
        parent,
        height,
        parent_turn: 0,
        proposer: founding().set.proposer(turn, opening),
        time_ms: START_MS + turn * 1_000,
        max_records: 100,
        max_bytes: 1 << 20,
    };
    node.executor.build(&build, batches).expect("builds").header
}

fn references(batches: &[HeldBatch]) -> Vec<Reference> {
    batches.iter().map(|batch| batch.reference).collect()
}

fn validate(node: &Node, header: &Header, batches: &[HeldBatch]) -> Verdict {
    node.executor.validate(header, &references(batches), batches)
}

fn certificate(header: &Header) -> FinalCert {
    let signers = Signers::new((0..3).map(|signer| (signer, Signature([1; 64]))));
    FinalCert { epoch: 0, turn: header.turn, height: header.height, block: header.id(), signers }
}

/// A node that knew the key when the batch came in checked its equation then; one that did not know it checks now.
#[test]
fn a_record_whose_r_is_not_canonical_is_left_out_by_everybody_and_the_log_is_replayed() {
    let (one, two, reader) = (node(), node(), node());
    let records = [transaction(1), with_another_r(&transaction(2), &officer()), transaction(3)];
    assert!(officer().public().verify(records[1].signed_bytes(), &records[1].signature()), "its equation holds");
    let batch = |verified_with| {
        let mut held = held(0, 1..4);
        let candidate = |record: &Transaction| Candidate { transaction: Arc::new(record.clone()), verified_with };
        held.candidates = records.iter().map(candidate).collect();
        [held]
    };
    let header = propose(&one, one.store.tip().id, 1, &batch(Some(officer().public())));
    assert_eq!(header.entry_count, 2);
    assert_eq!(validate(&two, &header, &batch(None)), Verdict::Valid { acted: false });
    one.executor.commit(&[header.id()], &certificate(&header)).expect("commits");
    let entries = one.store.entries(header.first_index, header.own_index()).expect("read");
    let replayed = reader.executor.replay(&LoggedBlock { header, entries, preimage: None }).expect("executes");
    assert_eq!(replayed, Ok(header.id()));
}

#[test]
fn every_node_gives_the_same_header_and_the_same_state() {
    let (one, two) = (node(), node());
    let mut parent = one.store.tip().id;
    let mut ids = Vec::new();
    let mut last = None;
    for turn in 1..=4 {
        let batches = [held(2 * turn - 2, turn * 10..turn * 10 + 3), held(2 * turn - 1, turn * 10 + 2..turn * 10 + 6)];
        let header = propose(&one, parent, turn, &batches);
        assert_eq!(header.entry_count, 6, "the repeated record is left out");
        let pending = one.executor.pending(&header.id()).expect("waits");
        assert_eq!(pending.left_out.len(), 1);
        assert!(pending.outcomes.iter().all(|record| record.outcome == 0), "{:?}", pending.outcomes);
        assert_eq!(validate(&two, &header, &batches), Verdict::Valid { acted: false });
        assert_eq!(validate(&two, &header, &batches), Verdict::Valid { acted: false }, "asked again");
        parent = header.id();
        ids.push(parent);
        last = Some(header);
    }
    let last = last.expect("four blocks");
    for node in [&one, &two] {
        assert_eq!(node.executor.pending_count(), 4);
        let committed = node.executor.commit(&ids, &certificate(&last)).expect("commits");
        assert_eq!(committed.len(), 4);
        assert_eq!((node.executor.pending_count(), node.store.tip().id), (0, last.id()));
        assert_eq!(node.executor.commit(&ids, &certificate(&last)).map(|again| again.len()), Ok(0));
        assert!(node.store.check().is_ok());
    }
    assert_eq!(one.store.tip(), two.store.tip());
    assert_eq!(one.executor.positions(&last.id()).map(|lanes| lanes[0].next_seq), Some(8));
}

#[test]
fn a_branch_sees_its_own_blocks_and_the_loser_is_dropped() {
    let node = node();
    let root = node.store.tip().id;
    let first = propose(&node, root, 1, &[held(0, 0..3)]);
    let left = propose(&node, first.id(), 2, &[held(1, 3..6)]);
    let right = propose(&node, first.id(), 3, &[held(1, 6..8)]);
    let key = |number: u64| key::record("civil", &u128::from(number).to_be_bytes());
    let exists =
        |block: &Header, number| node.executor.view(&block.id()).expect("view").read(&key(number)).map(|v| v.is_some());
    assert_eq!((exists(&left, 1), exists(&left, 4), exists(&left, 7)), (Ok(true), Ok(true), Ok(false)));
    assert_eq!((exists(&right, 1), exists(&right, 4), exists(&right, 7)), (Ok(true), Ok(false), Ok(true)));
    for header in [&first, &left, &right] {
        let view = node.executor.view(&header.id()).expect("view");
        assert_eq!(subtree_root(&view, 0, header.state_size), Ok(header.state_root));
    }
    node.executor.commit(&[first.id(), right.id()], &certificate(&right)).expect("commits");
    assert_eq!(node.executor.pending_count(), 0);
    let lost = propose_error(&node, left.id());
    assert_eq!(lost, ExecutorFault::MissingParent(left.id()));
    assert!(node.store.check().is_ok());
}

/// Each failed turn leaves a block of the same height. However many wait, the next is built, validated and replayed; what
/// consensus gives up is dropped, and executed again when it is needed after all.
#[test]
fn blocks_of_failed_turns_stop_nothing() {
    let (one, two) = (node(), node());
    let root = one.store.tip().id;
    let first = [held(0, 0..3)];
    let forks: Vec<Header> = (1..=400).map(|turn| propose(&one, root, turn, &first)).collect();
    for fork in &forks {
        assert_eq!(validate(&two, fork, &first), Verdict::Valid { acted: false });
    }
    let (kept, last) = (forks[7], forks[399]);
    let child = propose(&one, kept.id(), 401, &[held(1, 3..6)]);
    for node in [&one, &two] {
        node.executor.keep_only(&BTreeSet::from([kept.id()]), 400);
        let left = [last.id(), child.id()].map(|id| node.executor.pending(&id).is_some());
        assert_eq!(left, [true, std::ptr::eq(node, &one)], "of this turn and later");
        assert!(node.executor.pending(&kept.id()).is_some());
        assert!(node.executor.pending_count() <= 3);
    }
    assert_eq!(validate(&two, &child, &[held(1, 3..6)]), Verdict::Valid { acted: false });
    let given_up = propose(&one, root, 402, &first);
    two.executor.keep_only(&BTreeSet::new(), 402);
    assert_eq!(validate(&two, &child, &[held(1, 3..6)]), Verdict::MissingParent);
    for header in [kept, given_up] {
        assert_eq!(validate(&two, &header, &first), Verdict::Valid { acted: false }, "executed again");
    }
    assert_eq!(validate(&two, &child, &[held(1, 3..6)]), Verdict::Valid { acted: false });
    let ids = [kept.id(), child.id()];
    two.executor.commit(&ids, &certificate(&child)).expect("commits");
    assert_eq!((two.executor.pending_count(), two.store.tip().id), (0, child.id()));
}

/// What is asked together is answered as if it were asked one by one: over the tip, and over blocks above it.
#[test]
fn questions_asked_together_have_the_same_answers() {
    let node = node();
    let first = propose(&node, node.store.tip().id, 1, &[held(0, 0..40)]);
    node.executor.commit(&[first.id()], &certificate(&first)).expect("commits");
    let second = propose(&node, first.id(), 2, &[held(1, 40..45)]);
    let third = propose(&node, second.id(), 3, &[held(2, 45..70)]);
    let fourth = propose(&node, third.id(), 4, &[held(3, 70..72)]);
    let mut keys: Vec<Key> = (0..140u128).map(|number| key::record("civil", &number.to_be_bytes())).collect();
    keys.sort_unstable();
    let keys: Vec<&Key> = keys.iter().collect();
    for (header, records) in [(&first, 40), (&second, 45), (&third, 70), (&fourth, 72)] {
        let view = node.executor.view(&header.id()).expect("view");
        let view: &dyn TreeView = &view;
        let positions = view.positions(&keys).expect("reads");
        assert_eq!(Ok(positions.clone()), keys.iter().map(|key| view.position(key)).collect());
        assert_eq!(positions.iter().flatten().count(), records);
        let predecessors = keys.iter().map(|key| view.predecessor(key)).collect();
        assert_eq!(view.predecessors(&keys), predecessors);
        assert_eq!(view.read_all(&keys), keys.iter().map(|key| view.read(key)).collect());
        for level in 0..6 {
            let indices: Vec<u64> = (0..header.state_size >> level).collect();
            let nodes = indices.iter().map(|index| TreeView::node(view, level, *index)).collect();
            assert_eq!(view.nodes(level, &indices), nodes);
        }
    }
}

fn propose_error(node: &Node, parent: BlockId) -> ExecutorFault {
    node.executor.view(&parent).map(|_| ()).expect_err("the parent is gone")
}

#[test]
fn every_lie_of_a_proposer_is_named() {
    let (honest, judge) = (node(), node());
    let batches = [held(0, 0..4)];
    let good = propose(&honest, honest.store.tip().id, 1, &batches);
    let lies: [Lie<Header>; 12] = [
        (|header| header.height += 1, "height"),
        (|header| header.epoch += 1, "epoch"),
        (|header| header.turn += 1, "proposer"),
        (|header| header.parent_turn += 1, "parent_turn"),
        (|header| header.proposer += 1, "proposer"),
        (|header| header.first_index += 1, "first_index"),
        (|header| header.entry_count -= 1, "entry_count"),
        (|header| header.log_root[0] ^= 1, "log_root"),
        (|header| header.state_root[0] ^= 1, "state_root"),
        (|header| header.batches[0] ^= 1, "batches"),
        (|header| header.next_set_hash[0] ^= 1, "next_set_hash"),
        (|header| header.state_size += 1, "state_size"),
    ];
    for (lie, expected) in lies {
        let mut header = good;
        lie(&mut header);
        match validate(&judge, &header, &batches) {
            Verdict::Invalid { reason } => assert!(reason.starts_with(expected), "{expected}: {reason}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert_eq!(judge.executor.pending_count(), 0);
    let mut claimed = references(&batches);
    assert_eq!(judge.executor.commits_to(&good, &claimed), Ok(true));
    assert_eq!(judge.executor.commits_to(&good, &claimed[1..]), Ok(false));
    claimed[0].records += 1;
    assert_eq!(judge.executor.commits_to(&good, &claimed), Ok(false), "spoilt on the way");
    let oversold = judge.executor.validate(&good, &claimed, &batches);
    assert!(matches!(oversold, Verdict::Invalid { reason } if reason.starts_with("batch")));
    let gap = [held(1, 0..4)];
    assert!(matches!(validate(&judge, &good, &gap), Verdict::Invalid { reason } if reason.starts_with("lane")));
    let mut orphan = good;
    orphan.parent = [9; 32];
    assert_eq!(validate(&judge, &orphan, &batches), Verdict::MissingParent);
    assert_eq!(validate(&judge, &good, &batches), Verdict::Valid { acted: false });
}

#[test]
fn the_log_alone_gives_the_same_state() {
    let (writer, reader) = (node(), node());
    let mut logged = Vec::new();
    for turn in 1..=3 {
        let batches = [held(turn - 1, turn * 10..turn * 10 + 5)];
        let header = propose(&writer, writer.store.tip().id, turn, &batches);
        writer.executor.commit(&[header.id()], &certificate(&header)).expect("commits");
        let entries = writer.store.entries(header.first_index, header.own_index()).expect("read");
        let preimage = writer.store.view().expect("view").preimage(header.height).expect("read");
        // Only the last block of a stretch comes with its preimage.
        logged.push(LoggedBlock { header, entries, preimage: preimage.filter(|_| turn == 3) });
    }
    assert_lies_in_the_log_are_found(&reader, &logged[0]);
    for block in &logged {
        let id = reader.executor.replay(block).expect("executes").expect("is as logged");
        reader.executor.commit(&[id], &certificate(&block.header)).expect("commits");
        let lanes_known = block.preimage.is_some();
        assert_eq!(!reader.store.tip().lanes.is_empty(), lanes_known);
    }
    assert_eq!(reader.store.tip(), writer.store.tip());
    assert!(reader.store.check().is_ok());
    let batches = [held(3, 50..52)];
    let next = propose(&writer, writer.store.tip().id, 4, &batches);
    assert_eq!(validate(&reader, &next, &batches), Verdict::Valid { acted: false });
}

#[test]
fn lanes_that_a_peer_left_out_are_learned_from_the_block_itself() {
    let (writer, reader) = (node(), node());
    let first = [held(0, 0..3)];
    let header = propose(&writer, writer.store.tip().id, 1, &first);
    writer.executor.commit(&[header.id()], &certificate(&header)).expect("commits");
    let entries = writer.store.entries(header.first_index, header.own_index()).expect("read");
    let id = reader.executor.replay(&LoggedBlock { header, entries, preimage: None }).expect("executes");
    reader.executor.commit(&[id.expect("is as logged")], &certificate(&header)).expect("commits");
    let second = [held(1, 10..12)];
    let child = propose(&writer, header.id(), 2, &second);
    assert!(matches!(validate(&reader, &child, &second), Verdict::Failed { .. }));
    let answer = crate::sync::serve::block(&reader.store, &reader.executor, &header.id());
    assert_eq!(answer, Ok(Vec::new()), "who does not know them hands nothing on");
    let (positions, references) = preimage_of(&writer, header.height).expect("held");
    let spoilt = (positions[1..].to_vec(), references.clone());
    assert_eq!(reader.store.learn_lanes(&header.id(), &spoilt), Ok(false));
    let preimage = (positions, references);
    assert_eq!(reader.store.learn_lanes(&[9; 32], &preimage), Ok(false));
    assert_eq!(reader.store.learn_lanes(&header.id(), &preimage), Ok(true));
    assert_eq!(reader.store.tip(), writer.store.tip());
    assert_eq!(preimage_of(&reader, header.height), Some(preimage));
    assert_eq!(validate(&reader, &child, &second), Verdict::Valid { acted: false });
}

fn preimage_of(node: &Node, height: u64) -> Option<crate::store::Preimage> {
    node.store.view().expect("a view").preimage(height).expect("read")
}

fn assert_lies_in_the_log_are_found(reader: &Node, block: &LoggedBlock) {
    let lies: [Lie<LoggedBlock>; 6] = [
        (|block| block.entries[1][2] = 9, "the outcome of record 1"),
        (|block| drop(block.entries.pop()), "entry_count"),
        (|block| block.entries.swap(0, 1), "log_root"),
        (|block| block.entries[0] = vec![0; 33], "an entry inside a block is no record"),
        (|block| block.entries.push(block.entries[0].clone()), "a logged transaction does not pass the door"),
        (|block| block.preimage = Some((Vec::new(), Vec::new())), "the preimage"),
    ];
    for (lie, expected) in lies {
        let mut wrong = block.clone();
        lie(&mut wrong);
        let reason = reader.executor.replay(&wrong).expect("executes").expect_err("is a lie");
        assert!(reason.starts_with(expected), "{expected}: {reason}");
    }
    let forged = block.entries[0].len() - 1;
    let mut wrong = block.clone();
    wrong.entries[0][forged] ^= 1;
    let reason = reader.executor.replay(&wrong).expect("executes").expect_err("is forged");
    assert!(reason.starts_with("a logged transaction does not pass the door: MZ-1006"), "{reason}");
    assert_eq!(reader.executor.pending_count(), 0);
}

/// The manifest of one recovery key, on this base.
fn recovered(base: &Header) -> Recovered {
    let holder = SigningKey::from_seed(&[77; 32]);
    let keys = RecoveryKeys { threshold: 1, keys: vec![holder.public()], least_members: 1 };
    let mut set = founding().set;
    set.epoch = 1;
    for (byte, member) in (100..).step_by(3).zip(&mut set.members) {
        member.consensus_key = PublicKey([byte; 32]);
        member.sealing_key = PublicKey([byte + 1; 32]);
        member.peer_key = PublicKey([byte + 2; 32]);
    }
    let reason = "flood".to_owned();
    let mut signed = SignedManifest::new(RecoveryManifest { chain: network().chain, base: *base, set, reason });
    assert_eq!(signed.sign(&keys, &holder), Some(0));
    let ended = EndedEpoch { set: &founding().set, opened_by: &[0; 32] };
    signed.verify(&keys, &network().chain, &ended).expect("a manifest that holds")
}

#[test]
fn the_first_block_after_a_recovery_manifest_puts_its_set_into_the_state() {
    let (writer, reader) = (node(), node());
    let first = [held(0, 0..3)];
    let base = propose(&writer, writer.store.tip().id, 1, &first);
    let manifest = recovered(&base);
    writer.executor.commit(&[base.id()], &certificate(&base)).expect("commits");
    writer.store.open_recovered(&manifest).expect("opens");
    let before = AuthoritySet::decode(&current_set(&writer)).expect("a set");
    assert_eq!(before.epoch, 0, "the base's state is of the past");
    let second = [held(0, 10..13)];
    let header = propose_in_epoch_1(&writer, &base, &second);
    assert_eq!((header.epoch, header.parent_turn, header.set_hash), (1, 0, manifest.set().hash()));
    assert!(!header.is_boundary());
    let last = FinalCert { epoch: 1, ..certificate(&header) };
    writer.executor.commit(&[header.id()], &last).expect("commits");
    assert_eq!(current_set(&writer), manifest.set().encode());
    let view = writer.store.view().expect("a view");
    let used = view.read(&key::node_key(&before.members[0].consensus_key)).expect("read");
    assert!(used.is_some(), "the keys of the lost set are never registered again");
    // Whoever replays the log needs the manifest at the same place, and comes to the same state.
    let logged = |header: &Header| {
        let entries = writer.store.entries(header.first_index, header.own_index()).expect("read");
        LoggedBlock { header: *header, entries, preimage: None }
    };
    let by = Finality::Recovery(Arc::new(manifest));
    let id = reader.executor.replay(&logged(&base)).expect("executes").expect("is as logged");
    reader.executor.commit_by(&[id], &by).expect("commits");
    assert_eq!((reader.store.tip().epoch, reader.store.tip().id), (1, base.id()));
    let id = reader.executor.replay(&logged(&header)).expect("executes").expect("is as logged");
    reader.executor.commit(&[id], &last).expect("commits");
    assert_eq!(current_set(&reader), current_set(&writer));
    assert!(reader.store.check().is_ok() && writer.store.check().is_ok());
}

fn current_set(node: &Node) -> Vec<u8> {
    let stored = node.store.view().expect("a view").read(&key::set_current()).expect("read");
    stored.expect("there is a set").current.to_vec()
}

fn propose_in_epoch_1(node: &Node, base: &Header, batches: &[HeldBatch]) -> Header {
    let build = Build {
        turn: 1,
        parent: base.id(),
        height: base.height + 1,
        parent_turn: 0,
        proposer: founding().set.proposer(1, base.height),
        time_ms: base.time_ms + 1_000,
        max_records: 100,
        max_bytes: 1 << 20,
    };
    node.executor.build(&build, batches).expect("builds").header
}
