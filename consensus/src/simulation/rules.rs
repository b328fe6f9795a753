//! Every rule by its violation, at one core on strings.

use super::ledger::Executed;
use super::puppet::{Puppet, records, skip, skip_cert, statements};
use crate::justification::{Just, Parent};
use crate::message::{Ask, Message, Status};
use crate::safety::SafetyRecord;
use crate::statement::{Kind, Statement};
use crate::{Alarm, Effect, Found, Input, Verdict, Want};

pub fn kinds(effects: &[Effect]) -> Vec<Kind> {
    statements(effects).iter().map(Statement::kind).collect()
}

pub fn alarms(effects: &[Effect]) -> Vec<&Alarm> {
    effects.iter().filter_map(|effect| if let Effect::Alarm(alarm) = effect { Some(alarm) } else { None }).collect()
}

fn reports(effects: &[Effect]) -> Vec<u8> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Report { evidence } = effect { Some(evidence.code()) } else { None })
        .collect()
}

/// Core 3 of 4, and the first block of agency 0 with one record.
pub fn first_block() -> (Puppet, Executed, Just) {
    let mut puppet = Puppet::new(4, 3);
    let reference = puppet.batch(0, 0);
    let block = puppet.block(&puppet.genesis, 0, 1, &[reference]);
    let just = Just::opening(&puppet.epoch);
    (puppet, block, just)
}

#[test]
fn a_valid_proposal_is_endorsed_then_certified_then_confirmed_then_committed() {
    let (mut puppet, block, just) = first_block();
    let effects = puppet.propose(&block, &just);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Execute { block: id, .. } if *id == block.id)));
    let effects = puppet.valid(&block);
    assert_eq!(statements(&effects), [puppet.endorse(&block, &just)]);
    // Two others and the proposal make no quorum of three without the own vote's copy: proposer, 1, and not yet me.
    let others = puppet.vote(1, puppet.endorse(&block, &just));
    assert_eq!((kinds(&others), puppet.core.turn()), (vec![], 1));
    let effects = puppet.loop_back(&effects);
    assert_eq!((kinds(&effects), puppet.core.turn()), (vec![Kind::Confirm], 2));
    let confirm = statements(&effects)[0];
    puppet.loop_back(&effects);
    let effects = puppet.votes(&[0, 1], confirm);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Commit { blocks, .. } if *blocks == [block.id])));
    puppet.step(Input::Committed { height: 1 });
    assert_eq!((puppet.core.tip().height, puppet.core.final_point()), (1, (1, 1)));
    // An applied block that is delivered again changes nothing.
    assert_eq!(puppet.step(Input::Committed { height: 1 }), []);
    assert_eq!(kinds(&puppet.propose(&block, &just)), []);
}

#[test]
fn an_endorsement_certificate_after_the_own_skip_is_not_confirmed() {
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    let effects = puppet.wait(1_700);
    assert_eq!(statements(&effects), [skip(1)]);
    puppet.loop_back(&effects);
    assert_eq!(kinds(&puppet.valid(&block)), [], "no endorsement after the skip");
    let effects = puppet.votes(&[1, 2], puppet.endorse(&block, &just));
    assert_eq!((kinds(&effects), puppet.core.turn()), (vec![], 2));
    assert_eq!(kinds(&puppet.wait(100)), []);
    assert!(puppet.core.is_signing(), "not even tried");
}

#[test]
fn an_endorsement_may_be_followed_by_a_skip_but_a_confirmation_never() {
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    let endorsed = puppet.valid(&block);
    puppet.loop_back(&endorsed);
    assert_eq!(statements(&puppet.wait(1_700)), [skip(1)]);

    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    let effects = puppet.valid(&block);
    puppet.loop_back(&effects);
    assert_eq!(kinds(&puppet.vote(1, puppet.endorse(&block, &just))), [Kind::Confirm]);
    for signer in [0, 1, 2] {
        assert_eq!(kinds(&puppet.vote(signer, skip(1))), [], "not even when everybody else skips");
    }
}

#[test]
fn the_late_path_confirms_without_endorsing() {
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    // The others are quicker: the certificate comes before this node has executed.
    puppet.votes(&[1, 2], puppet.endorse(&block, &just));
    assert_eq!(puppet.core.turn(), 2);
    let effects = puppet.valid(&block);
    let [SafetyRecord::Confirmed { late: Some(late), .. }] = &records(&effects)[..] else {
        panic!("one confirmation with its late endorsement, not {effects:?}")
    };
    assert_eq!(late.statement(), puppet.endorse(&block, &just));
}

#[test]
fn the_late_path_fetches_block_and_justification_by_certificate() {
    let (mut puppet, block, just) = first_block();
    puppet.votes(&[0, 1, 2], puppet.endorse(&block, &just));
    let effects = puppet.wait(100);
    let wants_block =
        |effect: &Effect| matches!(effect, Effect::Fetch { want: Want::Block { id }, .. } if *id == block.id);
    let hash = just.hash(&puppet.epoch);
    let ask = Ask { epoch: 0, turn: 1, just: Some(hash) };
    assert!(effects.iter().any(wants_block));
    assert!(effects.iter().any(|e| matches!(e, Effect::Send { message: Message::Ask(asked), .. } if *asked == ask)));
    // Again a second later, and the answers lead to the confirmation.
    assert!(puppet.wait(1_000).iter().any(wants_block));
    let (header, references) = (block.header.expect("not genesis"), block.references.clone());
    let wrong = Found::Block { header, positions: Vec::new(), references: references.clone() };
    assert!(!puppet.step(Input::Fetched { found: wrong }).iter().any(|e| matches!(e, Effect::Execute { .. })));
    let found = Found::Block { header, positions: block.positions.clone(), references };
    assert!(puppet.step(Input::Fetched { found }).iter().any(|e| matches!(e, Effect::Execute { .. })));
    assert_eq!(kinds(&puppet.valid(&block)), []);
    assert_eq!(kinds(&puppet.hear(1, Message::Justify(just))), [Kind::Confirm]);
}

#[test]
fn missing_batches_are_fetched_and_the_block_is_executed_again() {
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    let effects = puppet.executed(&block, Verdict::MissingBatches { references: block.references.clone() });
    let Some(Effect::Fetch { want: Want::Batches { block: id, .. }, from }) = effects.first() else {
        panic!("the batches are fetched, not {effects:?}")
    };
    assert_eq!((*id, from[0]), (block.id, 0));
    let effects = puppet.step(Input::Fetched { found: Found::Batches { block: block.id } });
    assert!(matches!(effects.first(), Some(Effect::Execute { .. })));
    assert_eq!(kinds(&puppet.valid(&block)), [Kind::Endorse]);
}

#[test]
fn references_that_were_spoilt_on_the_way_say_nothing_of_the_block() {
    let executes = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Execute { .. }));
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    let effects = puppet.executed(&block, Verdict::OtherReferences);
    assert_eq!((kinds(&effects), reports(&effects)), (vec![], vec![]), "neither a vote nor an accusation");
    // The proposal as it was meant comes after all.
    puppet.propose(&block, &just);
    assert_eq!(kinds(&puppet.valid(&block)), [Kind::Endorse]);

    // Or a quorum saw it as it was meant: it is fetched, and confirmed late.
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    puppet.executed(&block, Verdict::OtherReferences);
    puppet.votes(&[0, 1, 2], puppet.endorse(&block, &just));
    let wants = |effect: &Effect| matches!(effect, Effect::Fetch { want: Want::Block { id }, .. } if *id == block.id);
    let effects = puppet.wait(100);
    assert!(effects.iter().any(wants), "{effects:?}");
    let (header, references) = (block.header.expect("not genesis"), block.references.clone());
    let found = Found::Block { header, positions: block.positions.clone(), references };
    assert!(executes(&puppet.step(Input::Fetched { found })));
    let (mut divergent, alarms) = (puppet.core.clone(), |effect: &Effect| matches!(effect, Effect::Alarm(_)));
    assert!(!puppet.valid(&block).iter().any(alarms));
    // What was checked against the header and still does not fit is the header's own fault.
    let verdict = Verdict::OtherReferences;
    let effects = divergent.step(puppet.now, Input::Executed { block: block.id, verdict });
    assert!(effects.iter().any(alarms), "{effects:?}");
}

#[test]
fn a_spoilt_proposal_said_again_and_again_keeps_nobody_from_fetching_the_certified_block() {
    let (mut puppet, block, just) = first_block();
    let wants = |effect: &Effect| matches!(effect, Effect::Fetch { want: Want::Block { id }, .. } if *id == block.id);
    let executes = |effect: &Effect| matches!(effect, Effect::Execute { .. });
    let mut spoilt = 0;
    let mut copy = |puppet: &mut Puppet| {
        let mut effects = puppet.propose(&block, &just);
        if effects.iter().any(executes) {
            spoilt += 1;
            effects = puppet.executed(&block, Verdict::OtherReferences);
        }
        effects
    };
    copy(&mut puppet);
    puppet.votes(&[0, 1, 2], puppet.endorse(&block, &just));
    let mut fetched = false;
    for _ in 0..10 {
        fetched |= copy(&mut puppet).iter().any(wants);
        fetched |= puppet.wait(50).iter().any(wants);
    }
    assert!(fetched, "half a second, and five times the patience");
    let (header, references) = (block.header.expect("not genesis"), block.references.clone());
    let found = Found::Block { header, positions: block.positions.clone(), references };
    assert!(puppet.step(Input::Fetched { found }).iter().any(executes));
    assert_eq!(kinds(&puppet.valid(&block)), [Kind::Confirm]);
    assert_eq!(spoilt, 2, "before it was certified, and once after it");
}

#[test]
fn only_its_author_hands_on_a_proposal() {
    let (mut puppet, block, just) = first_block();
    let message = puppet.proposal(block.header.expect("not genesis"), &block.references[..0], &just);
    let effects = puppet.hear(1, message);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Execute { .. })), "{effects:?}");
    assert!(puppet.propose(&block, &just).iter().any(|effect| matches!(effect, Effect::Execute { .. })));
    assert_eq!(kinds(&puppet.valid(&block)), [Kind::Endorse]);
}

#[test]
fn what_is_invalid_untimely_or_empty_too_soon_is_skipped() {
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    let effects = puppet.executed(&block, Verdict::Invalid { reason: "header".into() });
    assert_eq!((kinds(&effects), reports(&effects)), (vec![Kind::Skip], vec![6]));
    assert_eq!(reports(&puppet.vote(1, puppet.endorse(&block, &just))), [6], "whoever endorses it as well");
    let confirm = |turn| Statement::Confirm { epoch: 0, turn, height: 1, block: block.id };
    assert_eq!(reports(&puppet.vote(1, confirm(1))), [6], "or confirms it");
    assert_eq!(reports(&puppet.vote(2, confirm(2))), [6], "in whatever turn");
    assert!(reports(&puppet.vote(2, confirm(2))).is_empty(), "once");

    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    puppet.vote(1, Statement::Confirm { epoch: 0, turn: 3, height: 1, block: block.id });
    let effects = puppet.executed(&block, Verdict::Invalid { reason: "header".into() });
    assert_eq!(reports(&effects), [6, 6], "the proposer, and who spoke before the verdict");

    for (shift, expected) in [(-2_501, vec![Kind::Skip]), (-2_400, vec![]), (500, vec![]), (501, vec![Kind::Skip])] {
        let (mut puppet, _, just) = first_block();
        puppet.now += 60_000;
        let reference = puppet.batch(0, 0);
        let words = (1, 0, 0, puppet.now.saturating_add_signed(shift));
        let block = puppet.genesis.child(&puppet.epoch, words, &[reference], &puppet.contents).expect("valid");
        assert_eq!(kinds(&puppet.propose(&block, &just)), expected, "{shift} ms off");
    }

    for (age_ms, expected) in [(999, Kind::Skip), (1_000, Kind::Endorse)] {
        let (mut puppet, _, just) = first_block();
        let words = (1, 0, 0, super::START_MS + age_ms);
        let block = puppet.genesis.child(&puppet.epoch, words, &[], &puppet.contents).expect("valid");
        let mut effects = puppet.propose(&block, &just);
        effects.extend(puppet.valid(&block));
        assert_eq!(kinds(&effects), [expected], "an empty block {age_ms} ms after its parent");
    }
}

#[test]
fn every_word_of_a_header_is_checked_against_its_justification() {
    let changes: [fn(&mut mingzhang_ledger::header::Header); 8] = [
        |header| header.epoch += 1,
        |header| header.turn += 1,
        |header| header.parent_turn += 1,
        |header| header.parent = [1; 32],
        |header| header.height += 1,
        |header| header.proposer = 1,
        |header| header.set_hash = [1; 32],
        |header| header.time_ms = super::START_MS,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let (mut puppet, block, just) = first_block();
        let mut header = block.header.expect("not genesis");
        change(&mut header);
        let message = puppet.proposal(header, &block.references, &just);
        let effects = puppet.hear(0, message);
        let skipped = effects.iter().any(|e| matches!(e, Effect::Vote { record: SafetyRecord::Skipped { .. }, .. }));
        assert!(skipped, "change {index}");
    }
}

#[test]
fn an_own_failure_is_no_verdict() {
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    let effects = puppet.executed(&block, Verdict::Failed { reason: "disk".into() });
    assert_eq!(kinds(&effects), []);
    assert!(matches!(alarms(&effects)[..], [Alarm::ExecutionFailed { .. }]));
    assert!(puppet.core.is_signing());
    let again = puppet.wait(1_000);
    assert!(again.iter().any(|effect| matches!(effect, Effect::Execute { .. })));
    assert_eq!(kinds(&puppet.valid(&block)), [Kind::Endorse]);
}

#[test]
fn a_quorum_for_an_invalid_block_stops_signing() {
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    puppet.executed(&block, Verdict::Invalid { reason: "header".into() });
    let effects = puppet.votes(&[1, 2], puppet.endorse(&block, &just));
    assert!(matches!(alarms(&effects)[..], [Alarm::QuorumAgainstMe { turn: 1, .. }]));
    assert!(!puppet.core.is_signing());
    assert_eq!(kinds(&puppet.wait(60_000)), []);
}

#[test]
fn a_verdict_that_nobody_asked_for_changes_nothing() {
    let (mut puppet, block, just) = first_block();
    assert_eq!(puppet.valid(&block), []);
    puppet.propose(&block, &just);
    puppet.executed(&block, Verdict::Invalid { reason: "first".into() });
    assert_eq!(kinds(&puppet.valid(&block)), [], "the first verdict stands");
}

#[test]
fn ten_thousand_proposals_in_a_turn_are_one_accusation_and_no_memory() {
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    let mut codes = Vec::new();
    for number in 0..10_000u64 {
        let mut header = block.header.expect("not genesis");
        header.state_size = number + 100;
        let message = puppet.proposal(header, &block.references, &just);
        codes.extend(reports(&puppet.hear(0, message)));
    }
    assert_eq!(codes, [1]);
    assert_eq!(puppet.core.blocks.len(), 1);
}

#[test]
fn claims_without_certificates_move_nothing() {
    let mut puppet = Puppet::new(4, 3);
    let status = Status {
        epoch: 0,
        final_height: 1_000_000_000,
        final_block: [1; 32],
        turn: u64::MAX,
        waits: false,
        asks: false,
        last_vote: None,
    };
    assert_eq!(puppet.hear(1, Message::Status(status)), []);
    for turn in [26, u64::MAX] {
        puppet.votes(&[0, 1, 2], skip(turn));
    }
    assert!(puppet.core.turns.is_empty(), "votes beyond the window are not kept");
    puppet.votes(&[0, 1], skip(25));
    assert_eq!((puppet.core.turns.len(), puppet.core.turn()), (1, 1));
}

#[test]
fn conflicting_votes_are_reported_once_per_signer_and_turn() {
    let (puppet, block, just) = first_block();
    let endorse = puppet.endorse(&block, &just);
    let confirm = |id| Statement::Confirm { epoch: 0, turn: 1, height: 1, block: id };
    let other = Statement::Endorse { epoch: 0, turn: 1, height: 1, block: [5; 32], just: [6; 32] };
    let cases: [(Statement, Statement, Vec<u8>); 7] = [
        (endorse, other, vec![1]),
        (confirm([1; 32]), confirm([2; 32]), vec![2]),
        (endorse, confirm([2; 32]), vec![3]),
        (confirm([1; 32]), skip(1), vec![4]),
        (endorse, skip(1), vec![]),
        (endorse, endorse, vec![]),
        (endorse, confirm(block.id), vec![]),
    ];
    for (first, second, expected) in cases {
        let mut puppet = Puppet::new(4, 3);
        assert_eq!(reports(&puppet.vote(1, first)), Vec::<u8>::new());
        assert_eq!(reports(&puppet.vote(1, second)), expected);
        assert_eq!(reports(&puppet.vote(1, second)).len(), 0, "one accusation is enough");
    }
}

#[test]
fn a_quorum_of_skips_enters_the_next_turn_and_the_proposer_passes_for_all() {
    let mut puppet = Puppet::new(4, 3);
    assert_eq!(statements(&puppet.vote(0, skip(1))), [skip(1)], "the proposer gave its own turn up");
    assert_eq!(kinds(&puppet.vote(1, skip(2))), [], "the next one did so as well, in a turn to come");
    let effects = puppet.votes(&[1, 3], skip(1));
    assert_eq!((statements(&effects), puppet.core.turn()), (vec![skip(2)], 2), "heard before the turn was entered");
    // A later turn's quorum alone does not tell why it may start: its justification is asked for.
    puppet.votes(&[0, 1], skip(4));
    let effects = puppet.vote(2, skip(4));
    let asked = Ask { epoch: 0, turn: 5, just: None };
    assert!(effects.iter().any(|e| matches!(e, Effect::Send { message: Message::Ask(ask), .. } if *ask == asked)));
    let just = Just {
        epoch: 0,
        turn: 5,
        parent: Parent::Start(None),
        skips: (1..5).map(|turn| skip_cert(turn, &[0, 1, 2])).collect(),
    };
    puppet.hear(2, Message::Justify(just));
    assert_eq!(puppet.core.turn(), 5);
}

#[test]
fn the_agency_on_turn_builds_when_there_is_work_and_passes_when_unfit() {
    let mut puppet = Puppet::new(4, 0);
    let reference = puppet.batch(2, 0);
    let effects = puppet.have_work(vec![reference]);
    let Some(Effect::Build(build)) = effects.first() else { panic!("a block is built, not {effects:?}") };
    assert_eq!((build.turn, build.height, build.parent, build.max_records), (1, 1, puppet.genesis.id, 5_000));
    let block = puppet.block(&puppet.genesis, 0, 1, &[reference]);
    let draft =
        crate::Draft { header: block.header.expect("built"), references: block.references.clone(), acted: false };
    let effects = puppet.step(Input::Built { turn: 1, draft: draft.clone() });
    let [record] = &records(&effects)[..] else { panic!("a proposal, not {effects:?}") };
    assert!(record.is_proposal(0, &puppet.epoch));
    assert_eq!(records(&puppet.step(Input::Built { turn: 1, draft })), [], "once in a turn");

    let mut puppet = Puppet::new(4, 0);
    puppet.step(Input::Health { ok: false });
    let reference = puppet.batch(2, 0);
    assert_eq!(statements(&puppet.have_work(vec![reference])), [skip(1)]);

    let mut puppet = Puppet::new(4, 0);
    puppet.have_work(vec![reference]);
    assert_eq!(statements(&puppet.step(Input::BuildFailed { turn: 1 })), [skip(1)]);
}

#[test]
fn a_draft_without_records_waits_until_an_empty_block_is_allowed() {
    let mut puppet = Puppet::new(4, 0);
    puppet.now = super::START_MS + 500;
    puppet.step(Input::Tick);
    let reference = puppet.batch(2, 0);
    puppet.have_work(vec![reference]);
    let empty = puppet.block(&puppet.genesis, 0, 1, &[]);
    let draft = crate::Draft { header: empty.header.expect("built"), references: Vec::new(), acted: false };
    assert_eq!(records(&puppet.step(Input::Built { turn: 1, draft })), []);
    assert!(!puppet.wait(499).iter().any(|effect| matches!(effect, Effect::Build(_))));
    assert!(puppet.wait(1).iter().any(|effect| matches!(effect, Effect::Build(_))));
}
