//! Real keys and signatures: what passes verification, what is refused, and which refusal convicts whom.

use std::sync::Arc;

use mingzhang_consensus::evidence::{Evidence, EvidenceFault};
use mingzhang_consensus::justification::{EndorseCert, Just, JustFault, Parent, SkipCert};
use mingzhang_consensus::known::Known;
use mingzhang_consensus::message::{Message, Proposal, Status};
use mingzhang_consensus::statement::{Statement, Vote};
use mingzhang_consensus::verify::{Check, Refusal, verdicts, verify};
use mingzhang_consensus::{Epoch, Opening};
use mingzhang_ledger::authority::{AuthoritySet, Member, Parameters};
use mingzhang_ledger::batch::Batch;
use mingzhang_ledger::certificate::{FinalCert, Signers};
use mingzhang_ledger::crypto::{Signature, SigningKey};
use mingzhang_ledger::header::Header;

struct Network {
    keys: Vec<SigningKey>,
    epoch: Epoch,
}

fn network(members: u8) -> Network {
    let keys: Vec<SigningKey> = (0..members).map(|index| SigningKey::from_seed(&[index; 32])).collect();
    let members = keys
        .iter()
        .map(|key| Member {
            agency: format!("{:?}", key.public()),
            consensus_key: key.public(),
            sealing_key: key.public(),
            peer_key: key.public(),
            url: String::new(),
        })
        .collect();
    let set = AuthoritySet { epoch: 0, parameters: Parameters::default(), members };
    let epoch = Epoch { chain: [1; 32], set: Arc::new(set), opening: Opening::Genesis { block: [2; 32] } };
    Network { keys, epoch }
}

impl Network {
    fn sign(&self, signer: u16, statement: &Statement) -> Signature {
        self.keys[usize::from(signer)].sign(&statement.signed_bytes(&self.epoch.chain))
    }

    fn vote(&self, signer: u16, statement: Statement) -> Vote {
        Vote { statement, signer, signature: self.sign(signer, &statement) }
    }

    fn signers(&self, signers: &[u16], statement: &Statement) -> Signers {
        Signers::new(signers.iter().map(|signer| (*signer, self.sign(*signer, statement))))
    }

    fn skip_cert(&self, turn: u64, signers: &[u16]) -> Arc<SkipCert> {
        Arc::new(SkipCert { epoch: 0, turn, signers: self.signers(signers, &Statement::Skip { epoch: 0, turn }) })
    }

    fn endorse_cert(&self, signers: &[u16]) -> EndorseCert {
        let statement = Statement::Endorse { epoch: 0, turn: 1, height: 1, block: [3; 32], just: [4; 32] };
        EndorseCert {
            epoch: 0,
            turn: 1,
            height: 1,
            block: [3; 32],
            just: [4; 32],
            signers: self.signers(signers, &statement),
        }
    }

    /// With signatures that are those of another turn.
    fn forged_skip(&self, turn: u64) -> Arc<SkipCert> {
        Arc::new(SkipCert { signers: self.skip_cert(9, &[1, 2, 3]).signers.clone(), epoch: 0, turn })
    }

    fn header(&self) -> Header {
        Header {
            height: 2,
            epoch: 0,
            turn: 3,
            parent_turn: 1,
            proposer: self.epoch.proposer(3),
            time_ms: 5,
            first_index: 2,
            entry_count: 0,
            log_root: [5; 32],
            state_root: [5; 32],
            parent: [3; 32],
            batches: [5; 32],
            set_hash: self.epoch.set.hash(),
            next_set_hash: self.epoch.set.hash(),
            state_size: 1,
        }
    }

    fn just(&self) -> Just {
        Just {
            epoch: 0,
            turn: 3,
            parent: Parent::Endorsed(self.endorse_cert(&[0, 1, 2])),
            skips: vec![self.skip_cert(2, &[1, 2, 3])],
        }
    }

    fn proposal(&self, just: Just) -> Proposal {
        let mut proposal = Proposal {
            header: self.header(),
            references: vec![],
            batches: vec![],
            just,
            signature: Signature([0; 64]),
        };
        let statement = proposal.statement(&self.epoch);
        proposal.signature = self.sign(self.epoch.proposer(proposal.turn()), &statement);
        proposal
    }

    fn refusal(&self, message: Message) -> Refusal {
        verify(message, &self.epoch).expect_err("it must be refused")
    }
}

#[test]
fn what_is_well_signed_passes() {
    let network = network(4);
    let header = network.header();
    let statement = Statement::Confirm { epoch: 0, turn: 3, height: 2, block: header.id() };
    let signers = network.signers(&[0, 1, 3], &statement);
    let certificate = FinalCert { epoch: 0, turn: 3, height: 2, block: header.id(), signers };
    for message in [
        Message::Proposal(Box::new(network.proposal(network.just()))),
        Message::Justify(network.just()),
        Message::Justify(Just::opening(&network.epoch)),
        Message::Final { header, certificate },
        Message::Vote(network.vote(2, statement)),
    ] {
        assert_eq!(verify(message.clone(), &network.epoch).map(|verified| verified.into_inner()), Ok(message));
    }
}

#[test]
fn a_forged_vote_after_a_good_one_is_refused() {
    let network = network(4);
    let good = network.vote(2, Statement::Skip { epoch: 0, turn: 9 });
    assert!(verify(Message::Vote(good), &network.epoch).is_ok());
    let other_turn = Vote { statement: Statement::Skip { epoch: 0, turn: 10 }, ..good };
    let other_signer = Vote { signer: 1, ..good };
    for forged in [other_turn, other_signer] {
        assert_eq!(network.refusal(Message::Vote(forged)), Refusal::Signature);
    }
    assert_eq!(network.refusal(Message::Vote(Vote { signer: 4, ..good })), Refusal::UnknownSigner(4));
    let other_epoch = network.vote(2, Statement::Skip { epoch: 1, turn: 9 });
    assert_eq!(network.refusal(Message::Vote(other_epoch)), Refusal::OtherEpoch { have: 1, want: 0 });
}

#[test]
fn a_confirmation_of_another_turn_does_not_add_up() {
    let network = network(4);
    let header = network.header();
    let of = |turn| Statement::Confirm { epoch: 0, turn, height: 2, block: header.id() };
    let mixed = [(0u16, of(3)), (1, of(3)), (2, of(4))];
    let signers = Signers::new(mixed.map(|(signer, statement)| (signer, network.sign(signer, &statement))));
    let certificate = FinalCert { epoch: 0, turn: 3, height: 2, block: header.id(), signers };
    assert_eq!(network.refusal(Message::Final { header, certificate }), Refusal::Signature);
}

#[test]
fn a_final_certificate_must_be_for_its_header_and_turn() {
    let network = network(4);
    let header = network.header();
    let certified = |turn: u64, height: u64, header: Header| {
        let block = header.id();
        let statement = Statement::Confirm { epoch: 0, turn, height, block };
        let signers = network.signers(&[0, 1, 3], &statement);
        Message::Final { header, certificate: FinalCert { epoch: 0, turn, height, block, signers } }
    };
    assert_eq!(network.refusal(certified(3, 9, header)), Refusal::OtherBlock);
    assert_eq!(network.refusal(certified(4, 2, header)), Refusal::OtherBlock);
    // Only a boundary block is certified at a later turn than its own.
    let boundary = Header { next_set_hash: [9; 32], ..header };
    assert!(verify(certified(4, 2, boundary), &network.epoch).is_ok());
    assert_eq!(network.refusal(certified(2, 2, boundary)), Refusal::OtherBlock);
}

#[test]
fn incomplete_justifications_are_refused() {
    let network = network(4);
    let good = network.just();
    let cases = [
        (Just { skips: vec![], ..good.clone() }, JustFault::Incomplete { have: 0, want: 1 }),
        (Just { turn: 4, ..good.clone() }, JustFault::Incomplete { have: 1, want: 2 }),
        (Just { turn: 1, skips: vec![], ..good.clone() }, JustFault::Turn { turn: 1, parent: 1 }),
        (Just { skips: vec![network.skip_cert(3, &[1, 2, 3])], ..good.clone() }, JustFault::Gap { have: 3, want: 2 }),
        (Just { skips: vec![network.skip_cert(2, &[1, 2])], ..good.clone() }, JustFault::NoQuorum { have: 2, need: 3 }),
        (
            Just { parent: Parent::Endorsed(network.endorse_cert(&[0])), ..good.clone() },
            JustFault::NoQuorum { have: 1, need: 3 },
        ),
        (
            Just {
                parent: Parent::Start(Some(FinalCert {
                    epoch: 0,
                    turn: 1,
                    height: 1,
                    block: [2; 32],
                    signers: Signers::default(),
                })),
                ..good.clone()
            },
            JustFault::Incomplete { have: 1, want: 2 },
        ),
    ];
    for (just, fault) in cases {
        assert_eq!(network.refusal(Message::Justify(just)), Refusal::Just(fault));
    }
    let mut forged = good;
    forged.skips = vec![network.forged_skip(2)];
    assert_eq!(network.refusal(Message::Justify(forged)), Refusal::Signature);
}

#[test]
fn five_members_need_four_signers() {
    // With 2f + 1 = 3 of 5 two certificates could exclude each other.
    let network = network(5);
    let just = |signers: &[u16]| Just {
        epoch: 0,
        turn: 2,
        parent: Parent::Start(None),
        skips: vec![network.skip_cert(1, signers)],
    };
    assert!(verify(Message::Justify(just(&[0, 1, 2, 3])), &network.epoch).is_ok());
    let refusal = network.refusal(Message::Justify(just(&[0, 1, 2])));
    assert_eq!(refusal, Refusal::Just(JustFault::NoQuorum { have: 3, need: 4 }));
}

#[test]
fn an_invalid_justification_convicts_its_proposer_and_a_forged_proposal_nobody() {
    let network = network(4);
    let bad = Just { skips: vec![], ..network.just() };
    let refusal = network.refusal(Message::Proposal(Box::new(network.proposal(bad.clone()))));
    let Refusal::Convicted(evidence) = refusal else { panic!("convicted, not {refusal:?}") };
    assert_eq!((evidence.code(), evidence.accused()), (5, network.epoch.proposer(3)));
    assert_eq!(evidence.check(&network.epoch), Ok(()));
    let bytes = evidence.encode(&network.epoch);
    assert_eq!(Evidence::decode(&bytes, &network.epoch).as_ref(), Ok(evidence.as_ref()));

    // A signature inside that does not hold convicts as well.
    let mut forged = network.just();
    forged.skips = vec![network.forged_skip(2)];
    let refusal = network.refusal(Message::Proposal(Box::new(network.proposal(forged))));
    assert!(matches!(refusal, Refusal::Convicted(evidence) if evidence.check(&network.epoch).is_ok()));

    // But not somebody whose signature is not under it, nor for a batch that somebody else attached.
    let mut unsigned = network.proposal(bad);
    unsigned.signature = Signature([7; 64]);
    assert_eq!(network.refusal(Message::Proposal(Box::new(unsigned))), Refusal::Signature);
    let mut attached = network.proposal(network.just());
    attached.batches =
        vec![Batch { epoch: 0, author: 1, run: 1, seq: 0, payload: vec![], signature: Signature([7; 64]) }];
    assert_eq!(network.refusal(Message::Proposal(Box::new(attached))), Refusal::Signature);
}

#[test]
fn evidence_holds_only_for_real_conflicts_with_real_signatures() {
    let network = network(4);
    let endorse = |block| Statement::Endorse { epoch: 0, turn: 3, height: 2, block, just: [1; 32] };
    let confirm = |block| Statement::Confirm { epoch: 0, turn: 3, height: 2, block };
    let skip = Statement::Skip { epoch: 0, turn: 3 };
    let pair = |first, second| Evidence::TwoVotes { first: network.vote(1, first), second: network.vote(1, second) };
    for (evidence, code) in [
        (pair(endorse([1; 32]), endorse([2; 32])), 1),
        (pair(confirm([1; 32]), confirm([2; 32])), 2),
        (pair(confirm([1; 32]), endorse([2; 32])), 3),
        (pair(skip, confirm([1; 32])), 4),
    ] {
        assert_eq!((evidence.check(&network.epoch), evidence.code()), (Ok(()), code));
    }
    for (first, second) in [
        (endorse([1; 32]), skip),
        (endorse([1; 32]), confirm([1; 32])),
        (skip, skip),
        (skip, Statement::Confirm { epoch: 0, turn: 4, height: 2, block: [1; 32] }),
    ] {
        assert_eq!(pair(first, second).check(&network.epoch), Err(EvidenceFault::NoConflict));
    }
    let mut forged = network.vote(1, skip);
    forged.signature = Signature([1; 64]);
    let evidence = Evidence::TwoVotes { first: network.vote(1, confirm([1; 32])), second: forged };
    assert_eq!(evidence.check(&network.epoch), Err(EvidenceFault::Signature));
    let other = Evidence::TwoVotes { first: network.vote(1, confirm([1; 32])), second: network.vote(2, skip) };
    assert_eq!(other.check(&network.epoch), Err(EvidenceFault::NoConflict));
    // Nobody is convicted of endorsing a good justification.
    let proposal = network.proposal(network.just());
    let evidence = Evidence::InvalidJust { vote: proposal.vote(&network.epoch), just: network.just() };
    assert_eq!(evidence.check(&network.epoch), Err(EvidenceFault::NoFault));
}

#[test]
fn a_status_shows_only_votes_that_were_really_signed() {
    let network = network(4);
    let status = |last_vote| {
        Message::Status(Status {
            epoch: 0,
            final_height: 0,
            final_block: [2; 32],
            turn: 1,
            waits: false,
            asks: false,
            last_vote,
        })
    };
    let vote = network.vote(1, Statement::Skip { epoch: 0, turn: 1 });
    assert!(verify(status(Some(vote)), &network.epoch).is_ok());
    let forged = Vote { signer: 2, ..vote };
    assert_eq!(network.refusal(status(Some(forged))), Refusal::Signature);
}

#[test]
fn many_messages_are_checked_in_one_batch() {
    let network = network(4);
    let mut forged = network.vote(2, Statement::Skip { epoch: 0, turn: 9 });
    forged.signer = 3;
    let checks: Vec<Check> = [
        Message::Justify(network.just()),
        Message::Vote(forged),
        Message::Proposal(Box::new(network.proposal(network.just()))),
    ]
    .into_iter()
    .map(|message| Check::new(message, &network.epoch, &Known::default()).expect("the form is right"))
    .collect();
    let items: Vec<_> = checks.iter().flat_map(|check| check.items().to_vec()).collect();
    let mut all = verdicts(&items).into_iter();
    let passed: Vec<bool> = checks
        .into_iter()
        .map(|check| {
            let own: Vec<bool> = all.by_ref().take(check.items().len()).collect();
            check.conclude(&own, &network.epoch).is_ok()
        })
        .collect();
    assert_eq!(passed, [true, false, true]);
}

/// Every justification of a longer and longer time without agreement shows the same certificates.
#[test]
fn a_certificate_is_checked_once_and_a_forged_one_is_never_known() {
    let network = network(4);
    let mut known = Known::default();
    let long = |turns: u64| Just {
        epoch: 0,
        turn: turns + 1,
        parent: Parent::Start(None),
        skips: (1..=turns).map(|turn| network.skip_cert(turn, &[1, 2, 3])).collect(),
    };
    let check = |message: &Message, known: &Known| Check::new(message.clone(), &network.epoch, known).expect("in form");
    let first = Message::Justify(long(50));
    let verdicts = verdicts(check(&first, &known).items());
    assert_eq!(verdicts.len(), 150);
    known.note(&check(&first, &known).conclude(&verdicts, &network.epoch).expect("holds"), &network.epoch);
    assert_eq!(check(&first, &known).items().len(), 0);
    let longer = Message::Justify(long(52));
    assert_eq!(check(&longer, &known).items().len(), 6, "two more turns");
    let mut forged = long(50);
    forged.skips[7] = network.forged_skip(8);
    let forged = check(&Message::Justify(forged), &known);
    assert_eq!(forged.items().len(), 3);
    assert_eq!(forged.conclude(&[true, true, false], &network.epoch), Err(Refusal::Signature));
    // Under the votes of others the turn is another certificate, and of another epoch nothing is known.
    let mut others = long(50);
    others.skips[7] = network.skip_cert(8, &[0, 1, 2]);
    assert_eq!(check(&Message::Justify(others), &known).items().len(), 3);
    let next = Epoch {
        set: Arc::new(AuthoritySet { epoch: 1, ..network.epoch.set.as_ref().clone() }),
        ..network.epoch.clone()
    };
    let mut next_just = long(1);
    next_just.epoch = 1;
    next_just.skips = vec![Arc::new(SkipCert { epoch: 1, ..network.skip_cert(1, &[1, 2, 3]).as_ref().clone() })];
    let unknown = Check::new(Message::Justify(next_just), &next, &known).expect("in form");
    assert_eq!(unknown.items().len(), 3);
}

/// Five days of turns of 30 s, and a week.
#[test]
fn a_justification_is_as_long_as_a_message_may_be() {
    let network = network(4);
    let signed = network.skip_cert(1, &[1, 2, 3]);
    let skip = |turn| Arc::new(SkipCert { turn, ..signed.as_ref().clone() });
    for turns in [16_384, 20_160] {
        let just =
            Just { epoch: 0, turn: turns + 1, parent: Parent::Start(None), skips: (1..=turns).map(skip).collect() };
        let message = Message::Justify(just);
        let bytes = message.encode(&network.epoch);
        assert_eq!(Message::decode(&bytes, &network.epoch), Ok(message));
    }
}
