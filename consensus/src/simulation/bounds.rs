//! Boundary blocks, finality from afar, demand and limits: each rule by its violation, at one core on strings.

use super::puppet::{Puppet, records, skip, skip_cert, statements};
use super::rules::{first_block, kinds};
use crate::justification::Just;
use crate::message::{Message, Status};
use crate::safety::SafetyRecord;
use crate::statement::{Kind, Statement};
use crate::{Effect, Found, Input, Verdict, Want};

#[test]
fn after_a_boundary_block_only_the_block_itself_may_follow() {
    let (mut puppet, block, just) = first_block();
    let mut header = block.header.expect("not genesis");
    header.next_set_hash = [0xbb; 32];
    let boundary = block.with_header(header);
    puppet.propose(&boundary, &just);
    puppet.valid(&boundary);
    puppet.votes(&[1, 2], puppet.endorse(&boundary, &just));
    assert_eq!(puppet.core.turn(), 2);
    let next = Just::after_endorsed(puppet.endorse_cert(&boundary, &just, &[0, 1, 2]));
    // A child is refused, the block itself is endorsed, whatever its time.
    let child = puppet.block(&boundary, 1, 2, &[]);
    assert_eq!(kinds(&puppet.propose(&child, &next)), [Kind::Skip]);

    let (mut puppet, ..) = first_block();
    puppet.propose(&boundary, &just);
    puppet.valid(&boundary);
    puppet.votes(&[1, 2], puppet.endorse(&boundary, &just));
    puppet.now += 1_000_000;
    let message = puppet.proposal(header, &boundary.references, &next);
    assert!(statements(&puppet.hear(1, message)).contains(&puppet.endorse(&boundary, &next)));
    puppet.votes(&[0, 2], puppet.endorse(&boundary, &next));
    assert_eq!(puppet.core.turn(), 3);
    // Its finality closes the epoch: nothing is signed any more.
    let certificate = puppet.final_cert(&boundary, 2, &[0, 1, 2]);
    puppet.hear(0, Message::Final { header, certificate });
    assert!(puppet.core.closed());
    assert_eq!(kinds(&puppet.votes(&[0, 1, 2], skip(3))), []);
}

#[test]
fn the_agency_on_turn_proposes_a_boundary_block_again() {
    let mut puppet = Puppet::new(4, 1);
    let just = Just::opening(&puppet.epoch);
    let reference = puppet.batch(0, 0);
    let mut header = puppet.block(&puppet.genesis, 0, 1, &[reference]).header.expect("not genesis");
    header.next_set_hash = [0xbb; 32];
    let block = puppet.block(&puppet.genesis, 0, 1, &[reference]);
    let boundary = block.with_header(header);
    puppet.propose(&boundary, &just);
    puppet.valid(&boundary);
    puppet.votes(&[2, 3], puppet.endorse(&boundary, &just));
    let effects = puppet.wait(1_000);
    let again = records(&effects).into_iter().find(|record| record.is_proposal(1, &puppet.epoch));
    let Some(SafetyRecord::Endorsed(endorsed)) = again else { panic!("proposed again, not {effects:?}") };
    assert_eq!((endorsed.turn, endorsed.header), (2, header));
}

#[test]
fn finality_and_timeout_in_one_moment_do_not_contradict() {
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    let endorsed = puppet.valid(&block);
    puppet.loop_back(&endorsed);
    puppet.now += 1_700;
    let certificate = puppet.final_cert(&block, 1, &[0, 1, 2]);
    let effects = puppet.hear(0, Message::Final { header: block.header.expect("not genesis"), certificate });
    assert_eq!(kinds(&effects), [], "neither a skip of a final turn nor a confirmation below it");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Commit { .. })));
}

#[test]
fn a_far_final_certificate_is_caught_up_by_range() {
    let mut puppet = Puppet::new(4, 3);
    let (mut tip, mut blocks) = (puppet.genesis.clone(), Vec::new());
    for turn in 1..=5 {
        let reference = puppet.batch(0, turn - 1);
        tip = puppet.block(&tip, turn - 1, turn, &[reference]);
        puppet.now += 100;
        blocks.push(tip.clone());
    }
    let header = tip.header.expect("not genesis");
    let certificate = puppet.final_cert(&tip, 5, &[0, 1, 2]);
    puppet.hear(0, Message::Final { header, certificate: certificate.clone() });
    let effects = puppet.wait(100);
    let range = Want::Range { after: 0, height: 5, turn: 5, block: tip.id };
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Fetch { want, .. } if *want == range)));
    puppet.step(Input::Fetched { found: Found::Range { header, certificate } });
    assert_eq!((puppet.core.tip().height, puppet.core.turn()), (5, 6));
    let still = puppet.wait(1_000).iter().any(|effect| matches!(effect, Effect::Fetch { .. }));
    assert!(!still, "nothing more is missing");
}

#[test]
fn a_final_block_that_nobody_else_knows_to_be_final_is_fetched_by_id() {
    // Its confirmations met here only; those who made them hold the block, and cannot hand it out as final.
    let (mut puppet, block, _) = first_block();
    puppet.votes(&[0, 1, 2], Statement::Confirm { epoch: 0, turn: 1, height: 1, block: block.id });
    let wants = |effects: &[Effect], wanted: &Want| {
        effects.iter().any(|effect| matches!(effect, Effect::Fetch { want, .. } if want == wanted))
    };
    let range = Want::Range { after: 0, height: 1, turn: 1, block: block.id };
    let by_id = Want::Block { id: block.id };
    let effects = puppet.wait(100);
    assert!(wants(&effects, &range) && !wants(&effects, &by_id), "first from whoever applied it");
    let mut effects = puppet.wait(1_000);
    effects.extend(puppet.wait(1_000));
    assert!(wants(&effects, &by_id), "then from whoever endorsed it");
    let (header, references) = (block.header.expect("not genesis"), block.references.clone());
    let found = Found::Block { header, positions: block.positions.clone(), references: references.clone() };
    assert!(puppet.step(Input::Fetched { found }).iter().any(|e| matches!(e, Effect::Execute { .. })));
    let effects = puppet.executed(&block, Verdict::MissingBatches { references: references.clone() });
    assert!(!wants(&effects, &range), "asked again, a moment later");
    let effects: Vec<Effect> = [100, 1_000, 1_000].into_iter().flat_map(|span| puppet.wait(span)).collect();
    assert!(wants(&effects, &Want::Batches { block: block.id, references }));
    puppet.step(Input::Fetched { found: Found::Batches { block: block.id } });
    let effects = puppet.valid(&block);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Commit { blocks, .. } if *blocks == [block.id])));
    puppet.step(Input::Committed { height: 1 });
    // And now the others are told.
    let status =
        Status { epoch: 0, final_height: 0, final_block: [9; 32], turn: 1, waits: false, asks: false, last_vote: None };
    let told = puppet.hear(0, Message::Status(status));
    assert!(told.iter().any(|e| matches!(e, Effect::Send { message: Message::Final { .. }, .. })));
}

#[test]
fn a_final_block_that_cannot_be_executed_here_is_had_from_those_who_applied_it() {
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    let header = block.header.expect("not genesis");
    let certificate = puppet.final_cert(&block, 1, &[0, 1, 2]);
    puppet.hear(0, Message::Final { header, certificate: certificate.clone() });
    let range = Want::Range { after: 0, height: 1, turn: 1, block: block.id };
    let mut asked = 0;
    for _ in 0..6 {
        let mut effects = puppet.executed(&block, Verdict::Failed { reason: "its parent's lanes are unknown".into() });
        for _ in 0..5 {
            effects.extend(puppet.wait(250));
        }
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Execute { .. })), "and tried again");
        asked += effects.iter().filter(|e| matches!(e, Effect::Fetch { want, .. } if *want == range)).count();
    }
    assert!(asked >= 5, "asked {asked} times, of other peers each time");
    puppet.step(Input::Fetched { found: Found::Range { header, certificate } });
    assert_eq!(puppet.core.tip().height, 1);
}

#[test]
fn references_that_my_chain_holds_already_are_no_demand() {
    let (mut puppet, block, just) = first_block();
    puppet.propose(&block, &just);
    puppet.valid(&block);
    puppet.votes(&[1, 2], puppet.endorse(&block, &just));
    assert_eq!(puppet.core.turn(), 2);
    puppet.have_work(block.references.clone());
    assert!(!puppet.core.has_demand());
    puppet.wait(1_000);
    assert!(puppet.core.has_demand(), "until the block has waited too long for its finality");
}

#[test]
fn a_parent_that_cannot_be_had_is_given_up_for_the_next_lower_vertex() {
    // Turn 1 was endorsed and, by the same f + 1 who keep its block to themselves, skipped as well.
    let mut puppet = Puppet::new(4, 1);
    let reference = puppet.batch(0, 0);
    let hidden = puppet.block(&puppet.genesis, 0, 1, &[reference]);
    let just = Just::opening(&puppet.epoch);
    puppet.votes(&[0, 2, 3], puppet.endorse(&hidden, &just));
    puppet.votes(&[0, 2, 3], skip(1));
    assert_eq!(puppet.core.turn(), 2);
    let own = puppet.batch(1, 0);
    assert!(!puppet.have_work(vec![own]).iter().any(|effect| matches!(effect, Effect::Build(_))));
    let effects = puppet.wait(1_700 / 4);
    let build = effects.iter().find_map(|e| if let Effect::Build(build) = e { Some(build) } else { None });
    let build = build.expect("built on what is held");
    assert_eq!((build.parent, build.height, build.parent_turn), (puppet.genesis.id, 1, 0));
    let block = puppet.block(&puppet.genesis, 0, 2, &[own]);
    let draft = crate::Draft { header: block.header.expect("built"), references: vec![own], acted: false };
    let effects = puppet.step(Input::Built { turn: 2, draft });
    let [SafetyRecord::Endorsed(endorsed)] = &records(&effects)[..] else { panic!("proposed, not {effects:?}") };
    assert_eq!(endorsed.just.check_complete(), Ok(()));
    assert_eq!(endorsed.just.skips, [skip_cert(1, &[0, 2, 3])]);
}

#[test]
fn above_the_limit_of_unfinal_blocks_only_empty_ones_are_built() {
    for (depth, expected) in [(15, (true, true)), (16, (false, false))] {
        // So many members that this node's first turn is the one that is looked at.
        let me = depth as u16;
        let mut puppet = Puppet::new(20, me);
        let (mut parent, mut just) = (puppet.genesis.clone(), Just::opening(&puppet.epoch));
        for turn in 1..=depth {
            let reference = puppet.batch(1, turn - 1);
            puppet.now += 1_000;
            let block = puppet.block(&parent, turn - 1, turn, &[reference]);
            let others: Vec<u16> = (0..20).filter(|peer| *peer != me).collect();
            let certificate = puppet.endorse_cert(&block, &just, &others);
            puppet.propose(&block, &just);
            puppet.valid(&block);
            just = Just::after_endorsed(certificate);
            puppet.hear(others[0], Message::Justify(just.clone()));
            parent = block;
        }
        assert_eq!((puppet.core.turn(), puppet.core.final_point()), (depth + 1, (0, 0)));
        let reference = puppet.batch(1, depth);
        let mut effects = puppet.have_work(vec![reference]);
        effects.extend(puppet.wait(1_000));
        let build = effects.iter().find_map(|e| if let Effect::Build(build) = e { Some(build) } else { None });
        assert_eq!(build.map(|build| (build.max_records > 0, build.max_bytes > 0)), Some(expected), "{depth}");
    }
}
