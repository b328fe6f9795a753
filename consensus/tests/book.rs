//! The book of votes: every record that it must refuse, and that a record made twice stays one.

use std::sync::Arc;

use mingzhang_consensus::justification::{EndorseCert, Just};
use mingzhang_consensus::safety::{Endorsed, SafetyFault, SafetyRecord, VoteBook};
use mingzhang_consensus::statement::Statement;
use mingzhang_consensus::{Epoch, Opening};
use mingzhang_ledger::authority::{AuthoritySet, Member, Parameters};
use mingzhang_ledger::certificate::Signers;
use mingzhang_ledger::crypto::{PublicKey, Signature};
use mingzhang_ledger::header::Header;

fn epoch() -> Epoch {
    let member = |index: u8| Member {
        agency: format!("agency-{index}"),
        consensus_key: PublicKey([index; 32]),
        sealing_key: PublicKey([index; 32]),
        peer_key: PublicKey([index; 32]),
        url: String::new(),
    };
    let set = AuthoritySet { epoch: 0, parameters: Parameters::default(), members: (0..4).map(member).collect() };
    Epoch { chain: [1; 32], set: Arc::new(set), opening: Opening::Genesis { block: [2; 32] } }
}

fn endorsed(turn: u64, block: u8) -> Endorsed {
    let header = Header {
        height: 1,
        epoch: 0,
        turn,
        parent_turn: 0,
        proposer: 0,
        time_ms: 1,
        first_index: 1,
        entry_count: 1,
        log_root: [block; 32],
        state_root: [block; 32],
        parent: [2; 32],
        batches: [0; 32],
        set_hash: [3; 32],
        next_set_hash: [3; 32],
        state_size: 1,
    };
    let just = Just { turn, ..Just::opening(&epoch()) };
    Endorsed { turn, header, references: Vec::new(), just_hash: just.hash(&epoch()), just }
}

fn endorse(turn: u64, block: u8) -> SafetyRecord {
    SafetyRecord::Endorsed(Box::new(endorsed(turn, block)))
}

fn skip(turn: u64) -> SafetyRecord {
    SafetyRecord::Skipped { epoch: 0, turn }
}

fn certificate(turn: u64, block: u8, signers: u16) -> EndorseCert {
    let endorsed = endorsed(turn, block);
    EndorseCert {
        epoch: 0,
        turn,
        height: 1,
        block: endorsed.block(),
        just: endorsed.just_hash,
        signers: Signers::new((0..signers).map(|signer| (signer, Signature([0; 64])))),
    }
}

fn confirm(turn: u64, block: u8) -> SafetyRecord {
    SafetyRecord::Confirmed { certificate: certificate(turn, block, 3), late: None }
}

fn late(turn: u64, block: u8) -> SafetyRecord {
    SafetyRecord::Confirmed { certificate: certificate(turn, block, 3), late: Some(Box::new(endorsed(turn, block))) }
}

/// What the book says to the last record, after it took the ones before.
fn last(records: &[SafetyRecord]) -> Result<(), SafetyFault> {
    let mut book = VoteBook::new(&epoch(), 0);
    let (last, before) = records.split_last().expect("there is one");
    for record in before {
        assert_eq!(book.admit(record), Ok(()));
    }
    let checked = book.check(last);
    assert_eq!(book.admit(last), checked);
    assert_eq!(book.holds(&last.statement()), checked.is_ok());
    checked
}

#[test]
fn records_that_agree_are_admitted_and_may_be_repeated() {
    for records in [
        vec![endorse(1, 1), endorse(1, 1)],
        vec![endorse(1, 1), skip(1)],
        vec![endorse(1, 1), skip(1), skip(1)],
        vec![endorse(1, 1), confirm(1, 1), endorse(1, 1)],
        vec![endorse(1, 1), confirm(1, 1), confirm(1, 1)],
        vec![late(1, 1), late(1, 1)],
        vec![endorse(2, 1), endorse(1, 2)],
        vec![skip(2), endorse(1, 2), confirm(1, 2)],
    ] {
        assert_eq!(last(&records), Ok(()));
    }
}

#[test]
fn records_that_contradict_an_earlier_one_are_refused() {
    let turn = 1;
    let other_just = || {
        let mut other = endorsed(1, 1);
        other.just_hash = [9; 32];
        SafetyRecord::Endorsed(Box::new(other))
    };
    let few = SafetyRecord::Confirmed { certificate: certificate(1, 1, 2), late: None };
    for (records, fault) in [
        (vec![endorse(1, 1), endorse(1, 2)], SafetyFault::SecondEndorsement { turn }),
        (vec![endorse(1, 1), other_just()], SafetyFault::SecondEndorsement { turn }),
        (vec![late(1, 1), endorse(1, 1)], SafetyFault::SecondEndorsement { turn }),
        (vec![skip(1), endorse(1, 1)], SafetyFault::Skipped { turn }),
        (vec![endorse(1, 1), skip(1), confirm(1, 1)], SafetyFault::Skipped { turn }),
        (vec![skip(1), late(1, 1)], SafetyFault::Skipped { turn }),
        (vec![endorse(1, 1), confirm(1, 1), skip(1)], SafetyFault::Confirmed { turn }),
        (vec![late(1, 1), skip(1)], SafetyFault::Confirmed { turn }),
        (vec![confirm(1, 1)], SafetyFault::NotEndorsed { turn }),
        (vec![endorse(1, 1), confirm(1, 2)], SafetyFault::NotEndorsed { turn }),
        (vec![endorse(1, 1), late(1, 2)], SafetyFault::NotEndorsed { turn }),
        (vec![late(1, 1), late(1, 2)], SafetyFault::SecondConfirmation { turn }),
        (vec![endorse(1, 1), few], SafetyFault::NoQuorum { turn, have: 2, need: 3 }),
        (vec![SafetyRecord::Skipped { epoch: 1, turn }], SafetyFault::Epoch { have: 1, want: 0 }),
        (vec![skip(0)], SafetyFault::Final { turn: 0, final_turn: 0 }),
    ] {
        assert_eq!(last(&records), Err(fault));
    }
}

#[test]
fn nothing_is_signed_at_or_below_the_final_turn() {
    let mut book = VoteBook::new(&epoch(), 3);
    assert_eq!(book.admit(&endorse(4, 1)), Ok(()));
    assert_eq!(book.admit(&endorse(5, 2)), Ok(()));
    book.finalise(4);
    book.finalise(2);
    assert_eq!(book.final_turn(), 4);
    assert_eq!(book.check(&endorse(4, 1)), Err(SafetyFault::Final { turn: 4, final_turn: 4 }));
    assert_eq!(book.turns().collect::<Vec<_>>(), [5]);
    assert_eq!(book.records(5), [endorse(5, 2)]);
}

#[test]
fn a_late_endorsement_was_never_signed() {
    let mut book = VoteBook::new(&epoch(), 0);
    assert_eq!(book.admit(&late(1, 1)), Ok(()));
    let certificate = certificate(1, 1, 3);
    assert!(!book.holds(&certificate.statement()));
    assert!(book.holds(&Statement::Confirm { epoch: 0, turn: 1, height: 1, block: certificate.block }));
    assert_eq!(book.records(1), [late(1, 1)]);
}
