//! Every byte that is signed, sent or stored by the core: fixed vectors, strict decoding, and no panic on anything.
//! Changing a vector is a decision about the protocol.

use std::sync::Arc;

use mingzhang_consensus::evidence::{Evidence, SignedBatch};
use mingzhang_consensus::justification::{EndorseCert, Just, Parent, SkipCert};
use mingzhang_consensus::message::{Ask, Message, Proposal, Status, Waiting};
use mingzhang_consensus::safety::{Endorsed, Entered, SafetyRecord};
use mingzhang_consensus::statement::{Statement, Vote};
use mingzhang_consensus::{Epoch, Opening};
use mingzhang_ledger::authority::{AuthoritySet, Member, Parameters};
use mingzhang_ledger::batch::{Batch, Reference};
use mingzhang_ledger::certificate::{FinalCert, Signers};
use mingzhang_ledger::crypto::{PublicKey, Signature};
use mingzhang_ledger::header::Header;
use proptest::prelude::*;

const VECTORS: &str = include_str!("vectors/bytes.txt");

fn epoch() -> Epoch {
    let member = |index: u8| Member {
        agency: format!("agency-{index}"),
        consensus_key: PublicKey([index; 32]),
        sealing_key: PublicKey([index; 32]),
        peer_key: PublicKey([index; 32]),
        url: String::new(),
    };
    let set = AuthoritySet { epoch: 2, parameters: Parameters::default(), members: (0..4).map(member).collect() };
    let previous = AuthoritySet { epoch: 1, ..set.clone() };
    let certificate = FinalCert { epoch: 1, turn: 90, height: 80, block: [0x0b; 32], signers: signers(&[0, 1, 2]) };
    let opening = Opening::Boundary { certificate, previous: Arc::new(previous) };
    Epoch { chain: [0xc4; 32], set: Arc::new(set), opening }
}

fn signature(byte: u8) -> Signature {
    Signature([byte; 64])
}

fn signers(members: &[u16]) -> Signers {
    Signers::new(members.iter().map(|index| (*index, signature(0xa0 + *index as u8))))
}

fn header() -> Header {
    Header {
        height: 82,
        epoch: 2,
        turn: 5,
        parent_turn: 2,
        proposer: 0,
        time_ms: 1_800_000_000_000,
        first_index: 1_000,
        entry_count: 3,
        log_root: [1; 32],
        state_root: [2; 32],
        parent: [3; 32],
        batches: [4; 32],
        set_hash: [5; 32],
        next_set_hash: [5; 32],
        state_size: 77,
    }
}

fn reference() -> Reference {
    Reference { author: 1, run: 1_700_000_000_000, seq: 6, records: 3, bytes: 900, hash: [6; 32] }
}

fn endorse_cert() -> EndorseCert {
    EndorseCert { epoch: 2, turn: 2, height: 81, block: [3; 32], just: [7; 32], signers: signers(&[0, 2, 3]) }
}

fn final_cert() -> FinalCert {
    FinalCert { epoch: 2, turn: 5, height: 82, block: header().id(), signers: signers(&[1, 2, 3]) }
}

fn just() -> Just {
    let skip = |turn| Arc::new(SkipCert { epoch: 2, turn, signers: signers(&[0, 1, 2]) });
    Just { epoch: 2, turn: 5, parent: Parent::Endorsed(endorse_cert()), skips: vec![skip(3), skip(4)] }
}

fn statements() -> [(&'static str, Statement); 3] {
    [
        ("endorse", Statement::Endorse { epoch: 2, turn: 5, height: 82, block: [8; 32], just: [9; 32] }),
        ("confirm", Statement::Confirm { epoch: 2, turn: 5, height: 82, block: [8; 32] }),
        ("skip", Statement::Skip { epoch: 2, turn: 5 }),
    ]
}

fn vote(statement: Statement) -> Vote {
    Vote { statement, signer: 3, signature: signature(0xa3) }
}

fn messages() -> Vec<(&'static str, Message)> {
    let batch = Batch {
        epoch: 2,
        author: 1,
        run: 1_700_000_000_000,
        seq: 6,
        payload: vec![0, 0, 0, 1, 0xff],
        signature: signature(0xa1),
    };
    let status = Status {
        epoch: 2,
        final_height: 81,
        final_block: [3; 32],
        turn: 5,
        waits: true,
        asks: true,
        last_vote: Some(vote(Statement::Skip { epoch: 2, turn: 4 })),
    };
    let proposal = Proposal {
        header: header(),
        references: vec![reference()],
        batches: vec![batch],
        just: just(),
        signature: signature(0xa0),
    };
    let opening = Just::opening(&epoch());
    let after_final = Just::after_final(final_cert());
    let mut named: Vec<(&'static str, Message)> = vec![
        ("proposal", Message::Proposal(Box::new(proposal))),
        ("justify-opening", Message::Justify(opening)),
        ("justify-endorsed", Message::Justify(just())),
        ("justify-final", Message::Justify(after_final)),
        ("final", Message::Final { header: header(), certificate: final_cert() }),
        ("status", Message::Status(status.clone())),
        ("status-bare", Message::Status(Status { waits: false, asks: false, last_vote: None, ..status })),
        ("ask", Message::Ask(Ask { epoch: 2, turn: 5, just: Some([9; 32]) })),
        ("ask-any", Message::Ask(Ask { epoch: 2, turn: 5, just: None })),
        ("waiting", Message::Waiting(Waiting { epoch: 2, references: vec![reference()] })),
    ];
    named.extend(statements().map(|(name, statement)| (name, Message::Vote(vote(statement)))));
    named
}

fn endorsed() -> Endorsed {
    Endorsed {
        turn: 5,
        header: header(),
        references: vec![reference()],
        just_hash: just().hash(&epoch()),
        just: just(),
    }
}

fn records() -> Vec<(&'static str, SafetyRecord)> {
    let certificate = EndorseCert { turn: 5, block: header().id(), ..endorse_cert() };
    vec![
        ("record-endorsed", SafetyRecord::Endorsed(Box::new(endorsed()))),
        ("record-skipped", SafetyRecord::Skipped { epoch: 2, turn: 5 }),
        ("record-confirmed", SafetyRecord::Confirmed { certificate: certificate.clone(), late: None }),
        ("record-late", SafetyRecord::Confirmed { certificate, late: Some(Box::new(endorsed())) }),
    ]
}

fn evidence() -> Vec<(&'static str, Evidence)> {
    let [(_, endorse), (_, confirm), (_, skip)] = statements();
    let batch =
        |byte| SignedBatch { epoch: 2, author: 1, run: 3, seq: 4, hash: [byte; 32], signature: signature(byte) };
    vec![
        ("evidence-two-votes", Evidence::TwoVotes { first: vote(confirm), second: vote(skip) }),
        ("evidence-invalid-just", Evidence::InvalidJust { vote: vote(endorse), just: just() }),
        ("evidence-contradicted", Evidence::Contradicted { vote: vote(endorse), header: header() }),
        ("evidence-two-batches", Evidence::TwoBatches { first: batch(1), second: batch(2) }),
    ]
}

/// Everything, by name.
fn all() -> Vec<(String, Vec<u8>)> {
    let epoch = epoch();
    let mut all = Vec::new();
    for (name, statement) in statements() {
        all.push((format!("signed/{name}"), statement.signed_bytes(&epoch.chain)));
    }
    for (name, message) in messages() {
        all.push((format!("message/{name}"), message.encode(&epoch)));
    }
    for (name, record) in records() {
        all.push((format!("store/{name}"), record.encode(&epoch)));
    }
    all.push(("store/entered".into(), Entered { just: just() }.encode(&epoch)));
    for (name, evidence) in evidence() {
        all.push((format!("evidence/{name}"), evidence.encode(&epoch)));
    }
    all.push(("hash/just".into(), just().hash(&epoch).to_vec()));
    all
}

#[test]
fn bytes_are_the_documented_ones() {
    let lines: Vec<String> = all().into_iter().map(|(name, bytes)| format!("{name} {}", hex(&bytes))).collect();
    let known: Vec<&str> = VECTORS.lines().collect();
    assert_eq!(lines, known, "the vectors that would fit:\n{}\n", lines.join("\n"));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn votes_have_the_documented_lengths() {
    let lengths: Vec<usize> = statements().map(|(_, statement)| vote(statement).encode().len()).to_vec();
    assert_eq!(lengths, [155, 123, 83]);
}

#[test]
fn no_signed_bytes_are_valid_in_two_domains() {
    let chain = [0xc4; 32];
    let signed: Vec<Vec<u8>> = statements().map(|(_, statement)| statement.signed_bytes(&chain)).to_vec();
    for (index, one) in signed.iter().enumerate() {
        let prefix = one.iter().position(|byte| *byte == 0).expect("every prefix ends in NUL");
        for other in signed.iter().skip(index + 1) {
            assert!(!other.starts_with(&one[..=prefix]));
        }
    }
}

/// Whatever decodes, encodes to the same bytes.
fn check_strict(bytes: &[u8]) {
    let epoch = epoch();
    if let Ok(message) = Message::decode(bytes, &epoch) {
        assert_eq!(message.encode(&epoch), bytes);
    }
    if let Ok(record) = SafetyRecord::decode(bytes, &epoch) {
        assert_eq!(record.encode(&epoch), bytes);
    }
    if let Ok(entered) = Entered::decode(bytes, &epoch) {
        assert_eq!(entered.encode(&epoch), bytes);
    }
    if let Ok(evidence) = Evidence::decode(bytes, &epoch) {
        assert_eq!(evidence.encode(&epoch), bytes);
    }
    if let Ok(vote) = Vote::decode(bytes) {
        assert_eq!(vote.encode(), bytes);
    }
}

#[test]
fn everything_round_trips_and_nothing_shorter_or_longer_does() {
    let epoch = epoch();
    for (name, message) in messages() {
        let bytes = message.encode(&epoch);
        assert_eq!(Message::decode(&bytes, &epoch), Ok(message), "{name}");
        for length in 0..bytes.len() {
            assert!(Message::decode(&bytes[..length], &epoch).is_err(), "{name} cut to {length}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(Message::decode(&longer, &epoch).is_err(), "{name} with a byte more");
    }
    for (name, record) in records() {
        assert_eq!(SafetyRecord::decode(&record.encode(&epoch), &epoch), Ok(record), "{name}");
    }
    for (name, evidence) in evidence() {
        assert_eq!(Evidence::decode(&evidence.encode(&epoch), &epoch), Ok(evidence), "{name}");
    }
}

#[test]
fn padded_bitmaps_and_unknown_flags_are_refused() {
    let epoch = epoch();
    let mut bytes = Message::Final { header: header(), certificate: final_cert() }.encode(&epoch);
    let bitmap = 1 + 256 + 24 + 32;
    assert_eq!(bytes[bitmap], 0b1110);
    bytes[bitmap] |= 0x10;
    assert!(Message::decode(&bytes, &epoch).is_err());
    let (_, status) = messages().remove(6);
    let mut bytes = status.encode(&epoch);
    *bytes.last_mut().expect("not empty") |= 8;
    assert!(Message::decode(&bytes, &epoch).is_err());
}

#[test]
fn counts_beyond_their_limit_are_refused_before_anything_is_reserved() {
    let epoch = epoch();
    let references = vec![reference(); 65];
    let bytes = Message::Waiting(Waiting { epoch: 2, references }).encode(&epoch);
    assert!(Message::decode(&bytes, &epoch).is_err());
    let references = vec![reference(); 64];
    let bytes = Message::Waiting(Waiting { epoch: 2, references }).encode(&epoch);
    assert!(Message::decode(&bytes, &epoch).is_ok());
    let huge = [&[7u8][..], &2u64.to_be_bytes(), &u32::MAX.to_be_bytes()].concat();
    assert!(Message::decode(&huge, &epoch).is_err());
    let mut many = Just::opening(&epoch).encode(&epoch);
    let length = many.len();
    many[length - 4..].copy_from_slice(&5_000u32.to_be_bytes());
    assert!(Just::decode(&many, &epoch).is_err());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(kind in 0u8..12, bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        check_strict(&[&[kind], bytes.as_slice()].concat());
    }

    #[test]
    fn changed_bytes_decode_to_what_they_say_or_not_at_all(
        which in 0usize..25, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let all = all();
        let mut bytes = all[which % all.len()].1.clone();
        let position = at.index(bytes.len());
        bytes[position] = byte;
        check_strict(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        check_strict(&bytes);
    }

    #[test]
    fn votes_round_trip(
        kind in 0u8..3, numbers in any::<[u64; 3]>(), block in any::<[u8; 32]>(), just in any::<[u8; 32]>(), signer in any::<u16>(),
    ) {
        let [epoch, turn, height] = numbers;
        let statement = match kind {
            0 => Statement::Endorse { epoch, turn, height, block, just },
            1 => Statement::Confirm { epoch, turn, height, block },
            _ => Statement::Skip { epoch, turn },
        };
        let vote = Vote { statement, signer, signature: signature(kind) };
        prop_assert_eq!(Vote::decode(&vote.encode()), Ok(vote));
    }
}
