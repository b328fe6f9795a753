//! Decoders of what travels and what is stored. What is decoded and encoded again is the same bytes, or it was refused: there
//! are no two spellings of one thing.

use std::sync::{Arc, OnceLock};

use mingzhang_consensus::evidence::Evidence;
use mingzhang_consensus::justification::{EndorseCert, Just};
use mingzhang_consensus::message::{Ask, Message, Proposal, Status, Waiting};
use mingzhang_consensus::safety::{Endorsed, Entered, SafetyRecord};
use mingzhang_consensus::statement::{Statement, Vote};
use mingzhang_consensus::verify::verify;
use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::batch::{Batch, batches_preimage, decode_batches_preimage};
use mingzhang_ledger::certificate::Signers;
use mingzhang_ledger::codec::{Value, put_counted};
use mingzhang_ledger::crypto::Signature;
use mingzhang_ledger::door;
use mingzhang_ledger::entry::Entry;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::recovery::RecoveryKeys;
use mingzhang_ledger::transaction::{Payload, Transaction};
use mingzhang_node::engine::inbound::claimed_epoch;
use mingzhang_node::executor::LoggedBlock;
use mingzhang_node::sync::Trust;
use mingzhang_node::sync::wire::{self, Proof, Question, Segment};

use super::fixture;
use crate::chain::START_MS;

/// Largest payload of a batch that is fuzzed.
const MAX_PAYLOAD: usize = 64 * 1024;

pub fn transaction(bytes: &[u8]) {
    let Ok(transaction) = Transaction::decode(bytes) else { return };
    assert_eq!(transaction.bytes(), bytes, "a transaction keeps the bytes that were signed");
    let chain = &fixture().chain;
    let judged = door::check(&chain.state, &chain.genesis.founding.network, START_MS, &transaction);
    if let Ok(key) = judged.expect("the state can be read") {
        // Whether the signature holds is no matter here, that it can be asked is.
        let holds = transaction.is_signed_by(&key);
        assert_eq!(holds, transaction.is_signed_by(&key), "one verdict");
    }
}

pub fn transactions() -> Vec<Vec<u8>> {
    record_entries().iter().map(|entry| entry[3..].to_vec()).collect()
}

/// Entries of records: type, outcome, transaction.
fn record_entries() -> Vec<Vec<u8>> {
    fixture().chain.entries.iter().filter(|entry| entry.first() == Some(&1)).cloned().collect()
}

pub fn value(bytes: &[u8]) {
    if let Ok(value) = Value::decode(bytes) {
        assert_eq!(value.encode(), bytes, "a value has one spelling");
    }
    if let Ok(payload) = Payload::decode(bytes) {
        assert_eq!(payload.encode(), bytes, "a payload has one spelling");
    }
}

pub fn values() -> Vec<Vec<u8>> {
    let payloads = transactions();
    payloads.iter().map(|bytes| Transaction::decode(bytes).expect("it is on the log").payload().encode()).collect()
}

pub fn batch(bytes: &[u8]) {
    if let Ok(batch) = Batch::decode(bytes, MAX_PAYLOAD) {
        assert_eq!(batch.encode(), bytes, "a batch has one spelling");
    }
    if let Ok((positions, references)) = decode_batches_preimage(bytes) {
        assert_eq!(batches_preimage(&positions, &references), bytes, "a preimage has one spelling");
    }
    if let Ok(batches) = wire::decode_batches(bytes) {
        assert_eq!(wire::encode_batches(&batches), bytes, "an answer has one spelling");
    }
}

fn good_batch() -> Batch {
    let fixture = fixture();
    let mut payload = Vec::new();
    put_counted(&mut payload, &fixture.chain.entries[1][3..]);
    let mut batch = Batch { epoch: 0, author: 2, run: 1, seq: 0, payload, signature: Signature([0; 64]) };
    batch.signature = fixture.key(2).sign(&batch.signed_bytes(&fixture.epoch.chain));
    batch
}

pub fn batches() -> Vec<Vec<u8>> {
    let batch = good_batch();
    vec![
        batch.encode(),
        batches_preimage(&[Default::default(); 4], &[batch.reference(1)]),
        wire::encode_batches([&batch, &batch]),
    ]
}

pub fn block(bytes: &[u8]) {
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(header.encode().as_slice(), bytes, "a header has one spelling");
        assert!(header.own_index() >= header.first_index, "sizes do not wrap");
    }
    if let Ok(entry) = Entry::decode(bytes) {
        assert_eq!(entry.encode(), bytes, "an entry has one spelling");
    }
    if let Ok((header, preimage)) = wire::decode_block(bytes) {
        assert_eq!(wire::encode_block(&header, preimage), bytes, "a block has one spelling");
    }
}

pub fn blocks() -> Vec<Vec<u8>> {
    let chain = &fixture().chain;
    let mut seeds = chain.entries.clone();
    seeds.push(wire::encode_block(&chain.header(1), &batches()[1]));
    seeds
}

pub fn authority_set(bytes: &[u8]) {
    let Ok(set) = AuthoritySet::decode(bytes) else { return };
    assert_eq!(set.encode(), bytes, "a set has one spelling");
    assert!(set.quorum() * 3 >= set.members.len() * 2, "two thirds");
    // A set with numbers that nobody may agree on is decoded, and refused whenever it is asked about.
    assert_eq!(set.parameters.check(), set.parameters.check(), "one verdict");
}

pub fn authority_sets() -> Vec<Vec<u8>> {
    fixture().chain.sets.iter().map(AuthoritySet::encode).collect()
}

pub fn message(bytes: &[u8]) {
    let epoch = &fixture().epoch;
    claimed_epoch(bytes);
    let Ok(message) = Message::decode(bytes, epoch) else { return };
    assert_eq!(message.encode(epoch), bytes, "a message has one spelling");
    // A header's own epoch stands before that of its certificate or justification; that both agree is checked later.
    if !matches!(message, Message::Proposal(_) | Message::Final { .. }) {
        assert_eq!(claimed_epoch(bytes), Some(message.epoch()), "the epoch stands where it is looked for");
    }
    drop(verify(message, epoch));
}

fn vote(statement: Statement, signer: u16) -> Vote {
    let fixture = fixture();
    Vote { statement, signer, signature: fixture.key(signer).sign(&statement.signed_bytes(&fixture.epoch.chain)) }
}

fn endorsement() -> Statement {
    let (fixture, header) = (fixture(), fixture().chain.header(1));
    let just = Just::opening(&fixture.epoch).hash(&fixture.epoch);
    Statement::Endorse { epoch: 0, turn: 1, height: 1, block: header.id(), just }
}

/// Three of four endorse the first block.
fn endorse_certificate() -> EndorseCert {
    let Statement::Endorse { epoch, turn, height, block, just } = endorsement() else { unreachable!("see above") };
    let signers = Signers::new([0, 1, 3].map(|seat| (seat, vote(endorsement(), seat).signature)));
    EndorseCert { epoch, turn, height, block, just, signers }
}

/// Everything that authorities say to each other, signed once.
pub(super) fn good_messages() -> &'static [Message] {
    static MESSAGES: OnceLock<Vec<Message>> = OnceLock::new();
    MESSAGES.get_or_init(sign_messages)
}

fn sign_messages() -> Vec<Message> {
    let fixture = fixture();
    let header = fixture.chain.header(1);
    let confirm = Statement::Confirm { epoch: 0, turn: 1, height: 1, block: header.id() };
    let mut proposal = Proposal {
        header,
        references: vec![good_batch().reference(1)],
        batches: vec![good_batch()],
        just: Just::opening(&fixture.epoch),
        signature: Signature([0; 64]),
    };
    proposal.signature = vote(proposal.statement(&fixture.epoch), fixture.epoch.proposer(1)).signature;
    let status = Status {
        epoch: 0,
        final_height: 1,
        final_block: header.id(),
        turn: 2,
        waits: true,
        asks: true,
        last_vote: Some(vote(confirm, 3)),
    };
    vec![
        Message::Proposal(Box::new(proposal)),
        Message::Vote(vote(endorsement(), 2)),
        Message::Vote(vote(confirm, 3)),
        Message::Vote(vote(Statement::Skip { epoch: 0, turn: 1 }, 1)),
        Message::Justify(Just::after_endorsed(endorse_certificate())),
        Message::Justify(Just::after_final(fixture.certificate(1))),
        Message::Final { header, certificate: fixture.certificate(1) },
        Message::Status(status),
        Message::Ask(Ask { epoch: 0, turn: 3, just: Some([7; 32]) }),
        Message::Waiting(Waiting { epoch: 0, references: vec![good_batch().reference(1)] }),
    ]
}

pub fn messages() -> Vec<Vec<u8>> {
    good_messages().iter().map(|message| message.encode(&fixture().epoch)).collect()
}

/// What a node keeps of its own votes, and what it keeps against others.
pub fn record(bytes: &[u8]) {
    let epoch = &fixture().epoch;
    if let Ok(record) = SafetyRecord::decode(bytes, epoch) {
        assert_eq!(record.encode(epoch), bytes, "a record has one spelling");
    }
    if let Ok(entered) = Entered::decode(bytes, epoch) {
        assert_eq!(entered.encode(epoch), bytes, "a note has one spelling");
    }
    if let Ok(evidence) = Evidence::decode(bytes, epoch) {
        assert_eq!(evidence.encode(epoch), bytes, "evidence has one spelling");
        assert_eq!(evidence.check(epoch), evidence.check(epoch), "one verdict");
    }
}

pub fn records() -> Vec<Vec<u8>> {
    let fixture = fixture();
    let just = Just::opening(&fixture.epoch);
    let endorsed = Endorsed {
        turn: 1,
        header: fixture.chain.header(1),
        references: vec![good_batch().reference(1)],
        just_hash: just.hash(&fixture.epoch),
        just: just.clone(),
    };
    let skip = Statement::Skip { epoch: 0, turn: 1 };
    let confirm = Statement::Confirm { epoch: 0, turn: 1, height: 1, block: fixture.chain.header(1).id() };
    let records = [
        SafetyRecord::Endorsed(Box::new(endorsed.clone())),
        SafetyRecord::Skipped { epoch: 0, turn: 1 },
        SafetyRecord::Confirmed { certificate: endorse_certificate(), late: Some(Box::new(endorsed)) },
    ];
    let mut seeds: Vec<Vec<u8>> = records.iter().map(|record| record.encode(&fixture.epoch)).collect();
    seeds.push(Entered { just }.encode(&fixture.epoch));
    let evidence = Evidence::TwoVotes { first: vote(skip, 1), second: vote(confirm, 1) };
    seeds.push(evidence.encode(&fixture.epoch));
    seeds
}

pub fn question(bytes: &[u8]) {
    if let Ok(question) = Question::decode(bytes) {
        assert_eq!(question.encode(), bytes, "a question has one spelling");
    }
}

pub fn questions() -> Vec<Vec<u8>> {
    let questions = [
        Question::Segment { after: 7, epoch: 1 },
        Question::Block { id: [7; 32] },
        Question::Batches { epoch: 0, references: vec![good_batch().reference(1)] },
        Question::Manifest,
        Question::LeafHashes { height: 7, part: 1 },
        Question::Leaves { height: 7, from: [7; 32] },
        Question::Note { above: 7 },
    ];
    questions.iter().map(Question::encode).collect()
}

pub fn segment(bytes: &[u8]) {
    let fixture = fixture();
    if let Ok(segment) = Segment::decode(bytes, fixture.members()) {
        assert_eq!(segment.encode(fixture.members()), bytes, "a segment has one spelling");
    }
    let trust = Trust {
        chain: fixture.epoch.chain,
        founding: Arc::clone(&fixture.epoch.set),
        recovery: RecoveryKeys::default(),
    };
    drop(mingzhang_node::sync::snapshot::Manifest::check(bytes, &trust));
}

pub fn segments() -> Vec<Vec<u8>> {
    let fixture = fixture();
    let header = fixture.chain.header(1);
    let entries = fixture.chain.entries[1..=usize::try_from(header.entry_count).expect("a few")].to_vec();
    let block = LoggedBlock { header, entries, preimage: None };
    let above = vec![fixture.chain.header(2)];
    let segment = Segment { blocks: vec![block], above, proof: Proof::Certificate(fixture.certificate(2)) };
    vec![segment.encode(fixture.members())]
}
