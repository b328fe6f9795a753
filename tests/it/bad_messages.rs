//! What one node sends another, whole and well formed, but false or out of place: signed for another network or by another
//! member, of another epoch or turn, sent again. Each is refused by its code, and what is good is taken afterwards. Bytes
//! that are spoilt are in `bad_bytes`.

use std::fmt::Write as _;
use std::sync::Arc;

use mingzhang_consensus::justification::Just;
use mingzhang_consensus::message::{Message, Proposal, Status};
use mingzhang_consensus::statement::{Statement, Vote};
use mingzhang_consensus::{Epoch, Opening};
use mingzhang_ledger::batch::{Batch, LanePosition};
use mingzhang_ledger::certificate::{FinalCert, Signers};
use mingzhang_ledger::crypto::{Hash, SigningKey};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::outcome::{Code, peers};
use mingzhang_ledger::records::registry::founding::found;
use mingzhang_ledger::seal::Seal;
use mingzhang_node::clock::Clock;
use mingzhang_node::executor::LoggedBlock;
use mingzhang_node::mempool::{Arrival, Limits, Mempool, Parts, Taken};
use mingzhang_node::store::{Foundation, Settings, Store};
use mingzhang_node::sync::catch_up::prove;
use mingzhang_node::sync::fetch::{checked_batches, checked_block};
use mingzhang_node::sync::wire::{Proof, Segment};
use mingzhang_node::sync::{SyncFault, Trust};
use mingzhang_tests::assured;
use mingzhang_tests::chain::{Chain, secret};

use crate::bad_bytes::{Nodes, take};

/// The genesis hash of nobody.
const ELSEWHERE: Hash = [9; 32];

/// What was tried, and what came of it that should not have.
#[derive(Default)]
struct Table {
    rows: usize,
    wrong: String,
}

impl Table {
    fn row(&mut self, what: &str, wanted: Code, found: Result<(), Code>) {
        self.rows += 1;
        if found != Err(wanted) {
            writeln!(self.wrong, "{what}: wanted {wanted}, got {found:?}").expect("writing to a string cannot fail");
        }
    }

    fn taken(&mut self, what: &str, found: Result<(), Code>) {
        if found != Ok(()) {
            writeln!(self.wrong, "{what}: good, and refused by {found:?}").expect("writing to a string cannot fail");
        }
    }
}

#[test]
fn whole_messages_that_are_false_or_out_of_place_are_refused_by_their_code() {
    let chain = Chain::sample();
    let nodes = Nodes::of(&chain);
    let mut table = Table::default();
    votes(&nodes, &mut table);
    proposals(&nodes, &mut table);
    final_blocks(&nodes, &mut table);
    batches(&nodes, &mut table);
    seals(&nodes, &mut table);
    segments(&nodes, &mut table);
    answers(&nodes, &mut table);
    println!("{} false messages, each refused with its code", table.rows);
    assured::count("bad_inputs", "false messages between nodes, each refused with its code", table.rows);
    assert!(table.wrong.is_empty(), "{}", table.wrong);
}

/// As of a node that is in this epoch.
fn sent(message: &Message, nodes: &Nodes<'_>) -> Result<(), Code> {
    take(&message.encode(&nodes.epoch), &nodes.epoch)
}

/// The same message, heard by a node that is in the epoch after.
fn replayed(message: &Message, nodes: &Nodes<'_>) -> Result<(), Code> {
    let chain = nodes.chain;
    let boundary = (1..=chain.height()).map(|height| chain.header(height)).find(Header::is_boundary);
    let certificate = nodes.certificate(&boundary.expect("two epochs"));
    let opening = Opening::Boundary { certificate, previous: Arc::clone(&nodes.epoch.set) };
    let next = Epoch { chain: nodes.epoch.chain, set: Arc::new(chain.sets[1].clone()), opening };
    take(&message.encode(&nodes.epoch), &next)
}

fn signed_elsewhere(key: &SigningKey, statement: &Statement) -> mingzhang_ledger::crypto::Signature {
    key.sign(&statement.signed_bytes(&ELSEWHERE))
}

fn votes(nodes: &Nodes<'_>, table: &mut Table) {
    let statement = nodes.confirm(&nodes.chain.header(1));
    let vote = |signer: u16, seat: u16| Vote { statement, signer, signature: nodes.sign(seat, &statement) };
    let foreign = Vote { signature: signed_elsewhere(&nodes.key(3), &statement), ..vote(3, 3) };
    let later = Statement::Skip { epoch: 1, turn: 2 };
    let later = Vote { statement: later, signer: 3, signature: nodes.sign(3, &later) };
    let other_turn = Statement::Skip { epoch: 0, turn: 9 };
    let moved = Vote { statement: other_turn, ..vote(3, 3) };
    let status = |epoch, vote| Status {
        epoch,
        final_height: 1,
        final_block: nodes.chain.header(1).id(),
        turn: 2,
        waits: false,
        asks: false,
        last_vote: Some(vote),
    };
    table.row("a vote for another network", peers::NOT_SIGNED, sent(&Message::Vote(foreign), nodes));
    table.row("a vote by another member's key", peers::NOT_SIGNED, sent(&Message::Vote(vote(3, 2)), nodes));
    table.row("a vote moved to another turn", peers::NOT_SIGNED, sent(&Message::Vote(moved), nodes));
    table.row("a vote of nobody's seat", peers::STRANGER, sent(&Message::Vote(vote(9, 3)), nodes));
    table.row("a vote of the epoch to come", peers::OUT_OF_PLACE, sent(&Message::Vote(later), nodes));
    table.row("a vote of the epoch before, again", peers::OUT_OF_PLACE, replayed(&Message::Vote(vote(3, 3)), nodes));
    table.row("a foreign vote in a status", peers::NOT_SIGNED, sent(&Message::Status(status(0, foreign)), nodes));
    table.row("a later vote in a status", peers::OUT_OF_PLACE, sent(&Message::Status(status(0, later)), nodes));
    let old = Message::Status(status(0, vote(3, 3)));
    table.row("a status of the epoch before, again", peers::OUT_OF_PLACE, replayed(&old, nodes));
    table.taken("the vote", sent(&Message::Vote(vote(3, 3)), nodes));
}

fn proposals(nodes: &Nodes<'_>, table: &mut Table) {
    let message = |proposal: Proposal| Message::Proposal(Box::new(proposal));
    let good = nodes.proposal();
    let seat = nodes.epoch.proposer(good.turn());
    let signed_by = |seat: u16, proposal: Proposal| {
        let signature = nodes.sign(seat, &proposal.statement(&nodes.epoch));
        Proposal { signature, ..proposal }
    };
    let signature = signed_elsewhere(&nodes.key(seat), &good.statement(&nodes.epoch));
    let foreign = Proposal { signature, ..good.clone() };
    table.row("a proposal for another network", peers::NOT_SIGNED, sent(&message(foreign), nodes));
    let stolen = signed_by((seat + 1) % 4, good.clone());
    table.row("a proposal by another member's key", peers::NOT_SIGNED, sent(&message(stolen), nodes));
    let just = Just { turn: 3, ..good.just.clone() };
    let early = Proposal { just, ..good.clone() };
    let of_turn = nodes.epoch.proposer(3);
    table.row("a proposal in another's turn", peers::NOT_SIGNED, sent(&message(signed_by(seat, early.clone())), nodes));
    let unproven = message(signed_by(of_turn, early));
    table.row("a proposal for a turn that nothing opens", peers::NOT_SIGNED, sent(&unproven, nodes));
    let mut forged = nodes.batch();
    forged.signature = nodes.key(1).sign(&forged.signed_bytes(&nodes.epoch.chain));
    let brought = signed_by(seat, Proposal { batches: vec![forged], ..good.clone() });
    table.row("a proposal with a batch by another's key", peers::NOT_SIGNED, sent(&message(brought), nodes));
    let stranger = Batch { author: 9, ..nodes.batch() };
    let brought = signed_by(seat, Proposal { batches: vec![stranger], ..good.clone() });
    table.row("a proposal with a batch of nobody's seat", peers::STRANGER, sent(&message(brought), nodes));
    let again = replayed(&message(good.clone()), nodes);
    table.row("a proposal of the epoch before, again", peers::OUT_OF_PLACE, again);
    table.taken("the proposal", sent(&message(good), nodes));
}

fn final_blocks(nodes: &Nodes<'_>, table: &mut Table) {
    let header = nodes.chain.header(1);
    let good = nodes.certificate(&header);
    let message = |certificate: &FinalCert| Message::Final { header, certificate: certificate.clone() };
    for (what, wanted, certificate) in false_certificates(nodes, &header, &nodes.chain.header(2)) {
        table.row(&format!("a final block: {what}"), wanted, sent(&message(&certificate), nodes));
    }
    let other = FinalCert { epoch: 1, ..good.clone() };
    table.row("a final block of the epoch to come", peers::OUT_OF_PLACE, sent(&message(&other), nodes));
    table.row("a final block of the epoch before, again", peers::OUT_OF_PLACE, replayed(&message(&good), nodes));
    table.taken("the final block", sent(&message(&good), nodes));
}

/// Certificates that do not prove this header, each with the code that says why.
fn false_certificates(nodes: &Nodes<'_>, header: &Header, other: &Header) -> Vec<(&'static str, Code, FinalCert)> {
    let good = nodes.certificate(header);
    let statement = nodes.confirm(header);
    let by = |signers: &[(u16, u16)]| {
        let signed = signers.iter().map(|(seat, key)| (*seat, nodes.sign(*key, &statement)));
        FinalCert { signers: Signers::new(signed), ..good.clone() }
    };
    let foreign = [0, 1, 3].map(|seat| (seat, signed_elsewhere(&nodes.key(seat), &statement)));
    vec![
        (
            "a certificate of another network",
            peers::NOT_SIGNED,
            FinalCert { signers: Signers::new(foreign), ..good.clone() },
        ),
        ("one of its signers by another's key", peers::NOT_SIGNED, by(&[(0, 0), (1, 1), (3, 2)])),
        ("too few signers", peers::NOT_SIGNED, by(&[(0, 0), (1, 1)])),
        ("a certificate of another block", peers::OUT_OF_PLACE, nodes.certificate(other)),
        ("a certificate of another height", peers::OUT_OF_PLACE, FinalCert { height: 9, ..good.clone() }),
        ("a certificate of another turn", peers::OUT_OF_PLACE, FinalCert { turn: header.turn + 1, ..good.clone() }),
    ]
}

/// A mempool with a store, of a node to which batches of member 2 up to the fifth of its second run are final.
fn mempool(nodes: &Nodes<'_>, folder: &std::path::Path) -> Arc<Mempool> {
    let genesis = &nodes.chain.genesis;
    let (state, appends) = found(&genesis.founding).expect("the test genesis founds a state");
    let foundation = Foundation { genesis_hash: genesis.hash, set: genesis.set.clone(), state, appends };
    let store = Arc::new(Store::open(folder, &foundation, &Settings::default()).expect("the store opens"));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let limits = Limits { linger_ms: 0, mempool_bytes: 1 << 20, lane_bytes: 1 << 20 };
    let network = genesis.founding.network.clone();
    let parts = Parts { network, store, clock: Arc::new(Clock::default()), pool: Arc::new(pool), limits };
    let mut positions = vec![LanePosition::default(); 4];
    positions[2] = LanePosition { run: 2, next_seq: 5 };
    Mempool::open(parts, &nodes.epoch, None, &positions).expect("the store reads").0
}

fn batches(nodes: &Nodes<'_>, table: &mut Table) {
    let folder = tempfile::tempdir().expect("a folder");
    let mempool = mempool(nodes, folder.path());
    let good = Batch { run: 2, seq: 5, ..nodes.batch() };
    let signed_by = |seat: u16, chain: &Hash, batch: Batch| {
        let signature = nodes.key(seat).sign(&batch.signed_bytes(chain));
        Batch { signature, ..batch }
    };
    let own = &nodes.epoch.chain;
    let arrive = |batch: Batch| {
        let arrival = Arrival { batch, needed: false, author_verified: false };
        match mempool.take_in(vec![arrival]).expect("the store works").remove(0) {
            Taken::Held | Taken::Twice(_) => Ok(()),
            Taken::Ignored(code) | Taken::Invalid(code) => Err(code),
        }
    };
    let large = vec![0; 8 << 20];
    let rows = [
        ("for another network", peers::NOT_SIGNED, signed_by(2, &ELSEWHERE, good.clone())),
        ("by another member's key", peers::NOT_SIGNED, signed_by(1, own, good.clone())),
        ("of nobody's seat", peers::STRANGER, signed_by(2, own, Batch { author: 9, ..good.clone() })),
        ("of the epoch to come", peers::OUT_OF_PLACE, signed_by(2, own, Batch { epoch: 1, ..good.clone() })),
        ("that is final, again", peers::OUT_OF_PLACE, signed_by(2, own, Batch { seq: 4, ..good.clone() })),
        ("of an earlier run, again", peers::OUT_OF_PLACE, nodes.batch()),
        ("far ahead", peers::OUT_OF_PLACE, signed_by(2, own, Batch { seq: 1 << 40, ..good.clone() })),
        ("without a record", peers::MALFORMED, signed_by(2, own, Batch { payload: Vec::new(), ..good.clone() })),
        ("over the agreed size", peers::OVER_LIMIT, signed_by(2, own, Batch { payload: large, ..good.clone() })),
    ];
    for (what, wanted, batch) in rows {
        table.row(&format!("a batch {what}"), wanted, arrive(batch));
    }
    table.taken("the batch", arrive(signed_by(2, own, good.clone())));
    table.row("a batch that is held, with another signature", peers::OUT_OF_PLACE, arrive(good));
}

fn seals(nodes: &Nodes<'_>, table: &mut Table) {
    let (chain, set) = (nodes.chain, nodes.set());
    let checkpoint = chain.note(1).checkpoint;
    let agency = |seat: u16| set.member(seat).expect("a member").agency.clone();
    let sealed = |epoch: u64, signer: u16, seat: u16| {
        Seal::sign(&checkpoint, epoch, signer, 1_780_272_001, &secret(&format!("{}/sealing/0", agency(seat))))
    };
    let judged = |seal: &Seal, origin: &str| seal.verify(origin, set).map_err(|fault| fault.peer_code());
    let own = chain.origin();
    table.row("a seal of another network", peers::NOT_SIGNED, judged(&sealed(0, 1, 1), "other.example/main-00"));
    table.row("a seal by another member's key", peers::NOT_SIGNED, judged(&sealed(0, 1, 2), own));
    table.row("a seal of nobody's seat", peers::STRANGER, judged(&sealed(0, 9, 1), own));
    table.row("a seal of another epoch", peers::OUT_OF_PLACE, judged(&sealed(1, 1, 1), own));
    table.taken("the seal", judged(&sealed(0, 1, 1), own));
}

/// The blocks of these heights, and what proves the last.
fn segment(nodes: &Nodes<'_>, heights: std::ops::RangeInclusive<usize>, certificate: FinalCert) -> Segment {
    let block = |height| {
        let header = nodes.chain.header(height);
        let first = usize::try_from(header.first_index).expect("a small log");
        let own = usize::try_from(header.own_index()).expect("a small log");
        LoggedBlock { header, entries: nodes.chain.entries[first..own].to_vec(), preimage: None }
    };
    Segment { blocks: heights.map(block).collect(), above: Vec::new(), proof: Proof::Certificate(certificate) }
}

fn segments(nodes: &Nodes<'_>, table: &mut Table) {
    let (chain, trust) = (nodes.chain, Trust::of(&nodes.chain.genesis));
    let start = (0, nodes.epoch.opening_block());
    let proven = |segment: &Segment, tip: (u64, Hash), trust: &Trust| {
        let bytes = segment.encode(4);
        let segment = Segment::decode(&bytes, 4).map_err(|_| peers::MALFORMED)?;
        prove(&segment, tip, &nodes.epoch, trust).map(drop).map_err(|fault| code_of(&fault))
    };
    let last = chain.header(2);
    let good = segment(nodes, 1..=2, nodes.certificate(&last));
    for (what, wanted, certificate) in false_certificates(nodes, &last, &chain.header(1)) {
        table.row(&format!("blocks: {what}"), wanted, proven(&segment(nodes, 1..=2, certificate), start, &trust));
    }
    let foreign = Trust { chain: ELSEWHERE, ..trust.clone() };
    table.row("blocks of another network", peers::NOT_SIGNED, proven(&good, start, &foreign));
    let tip = (2, last.id());
    table.row("blocks that are final here, again", peers::OUT_OF_PLACE, proven(&good, tip, &trust));
    let gap = segment(nodes, 2..=2, nodes.certificate(&last));
    table.row("blocks with a gap before them", peers::OUT_OF_PLACE, proven(&gap, start, &trust));
    let later = segment(nodes, 5..=5, nodes.certificate(&chain.header(5)));
    let boundary = (4, chain.header(4).id());
    table.row("blocks of the epoch to come", peers::OUT_OF_PLACE, proven(&later, boundary, &trust));
    table.taken("the blocks", proven(&good, start, &trust));
}

fn answers(nodes: &Nodes<'_>, table: &mut Table) {
    let lied = |found: Result<(), SyncFault>| found.map_err(|fault| code_of(&fault));
    let id = nodes.chain.header(1).id();
    table.row("half a block", peers::MALFORMED, lied(checked_block(&id, &[1; 99]).map(drop)));
    let batch = nodes.batch();
    let body = mingzhang_node::sync::wire::encode_batches(std::slice::from_ref(&batch));
    table.row("a batch that was not asked for", peers::OUT_OF_PLACE, lied(checked_batches(&[], &body).map(drop)));
    table.row("half a batch", peers::MALFORMED, lied(checked_batches(&[], &body[..body.len() - 1]).map(drop)));
    table.taken("the batch that was asked for", lied(checked_batches(&[batch.reference(9)], &body).map(drop)));
}

/// 0 of what is no lie.
fn code_of(fault: &SyncFault) -> Code {
    if let SyncFault::Lie(lie) = fault { lie.code } else { Code(1) }
}
