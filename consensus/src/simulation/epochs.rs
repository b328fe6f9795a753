//! From one epoch to the next, at one core on strings: what opens it, and that words of another one change nothing.

use std::sync::Arc;

use super::START_MS;
use super::ledger::Executed;
use super::puppet::{Puppet, skip, statements};
use super::rules::{alarms, first_block, kinds};
use crate::justification::{Just, Parent};
use crate::message::{Message, Status};
use crate::statement::{Kind, Statement, Vote};
use crate::{Alarm, Draft, Epoch, Found, Input, Opening, Restored, Setup, Turns};

/// Core 3 of 4 in epoch 1, whose members are those of epoch 0, on the boundary block that closed it.
fn opened() -> (Puppet, Executed) {
    opened_by(false)
}

/// The same, or on an ordinary block that a recovery manifest names.
fn opened_by(manifest: bool) -> (Puppet, Executed) {
    let (puppet, block, _) = first_block();
    let mut set = puppet.epoch.set.as_ref().clone();
    set.epoch = 1;
    let mut header = block.header.expect("not genesis");
    if !manifest {
        header.next_set_hash = set.hash();
    }
    let boundary = block.with_header(header);
    let certificate = puppet.final_cert(&boundary, 2, &[0, 1, 2]);
    let opening = match manifest {
        true => Opening::Recovered { height: header.height, block: header.id() },
        false => Opening::Boundary { certificate, previous: Arc::clone(&puppet.epoch.set) },
    };
    let epoch = Epoch { chain: puppet.epoch.chain, set: Arc::new(set), opening };
    let setup = Setup { epoch: epoch.clone(), me: Some(3), relay_delay_ms: 100, retransmit_ms: 1_000 };
    let now = header.time_ms + 1_000;
    let (core, _) = Turns::restore(now, setup, Restored::fresh(&epoch, header.time_ms));
    let mut puppet = Puppet { core, now, epoch, genesis: boundary.clone(), ..puppet };
    for peer in 0..3 {
        puppet.step(Input::Connected { peer });
    }
    (puppet, boundary)
}

fn in_epoch_1(statement: Statement) -> Statement {
    match statement {
        Statement::Endorse { turn, height, block, just, .. } => {
            Statement::Endorse { epoch: 1, turn, height, block, just }
        }
        Statement::Confirm { turn, height, block, .. } => Statement::Confirm { epoch: 1, turn, height, block },
        Statement::Skip { turn, .. } => Statement::Skip { epoch: 1, turn },
    }
}

#[test]
fn an_epoch_starts_at_turn_one_on_the_certificate_that_closed_the_one_before() {
    starts_at_turn_one(opened());
}

#[test]
fn an_epoch_that_a_manifest_opened_starts_on_the_block_that_it_names() {
    let (puppet, base) = opened_by(true);
    let just = Just::opening(&puppet.epoch);
    assert_eq!(just.parent, Parent::Start(None));
    assert_eq!(Just::decode(&just.encode(&puppet.epoch), &puppet.epoch), Ok(just));
    let header = base.header.expect("not genesis");
    assert_eq!(just_block(&puppet), header.id());
    assert!(!header.is_boundary(), "any block may be the last that stands");
    starts_at_turn_one((puppet, base));
}

fn just_block(puppet: &Puppet) -> crate::BlockId {
    Just::opening(&puppet.epoch).parent.block(&puppet.epoch)
}

fn starts_at_turn_one((mut puppet, boundary): (Puppet, Executed)) {
    assert_eq!((puppet.core.turn(), puppet.core.final_point()), (1, (1, 0)));
    let just = Just::opening(&puppet.epoch);
    let reference = puppet.batch(0, 0);
    let block = puppet.block(&boundary, 0, 1, &[reference]);
    let header = block.header.expect("not genesis");
    assert_eq!((header.epoch, header.parent_turn, header.proposer), (1, 0, 1), "turns start where the height stands");
    puppet.propose(&block, &just);
    let endorsed = puppet.valid(&block);
    assert_eq!(statements(&endorsed), [in_epoch_1(puppet.endorse(&block, &just))]);
    puppet.loop_back(&endorsed);
    let effects = puppet.votes(&[0], in_epoch_1(puppet.endorse(&block, &just)));
    assert_eq!((kinds(&effects), puppet.core.turn()), (vec![Kind::Confirm], 2));
}

#[test]
fn words_of_another_epoch_change_nothing() {
    let (mut puppet, boundary) = opened();
    // They were verified before the epoch opened: whoever has these indices now never said them.
    assert_eq!(puppet.votes(&[0, 1, 2], skip(1)), []);
    let header = boundary.header.expect("not genesis");
    let certificate = puppet.final_cert(&boundary, 5, &[0, 1, 2]);
    puppet.hear(0, Message::Final { header, certificate: certificate.clone() });
    puppet.step(Input::Fetched { found: Found::Range { header, certificate } });
    let draft = Draft { header, references: Vec::new(), acted: true };
    puppet.step(Input::Built { turn: 1, draft });
    assert_eq!((puppet.core.turn(), puppet.core.final_point()), (1, (1, 0)));
    puppet.votes(&[0, 1, 2], in_epoch_1(skip(1)));
    assert_eq!(puppet.core.turn(), 2, "those of this epoch do count");
}

#[test]
fn a_lost_disk_signs_again_above_a_block_that_is_later_than_the_loss() {
    let epoch = super::test_epoch(4);
    let lost_at_ms = Some(START_MS + 1_000);
    let restored = Restored { may_sign: false, lost_at_ms, ..Restored::fresh(&epoch, START_MS) };
    let (mut puppet, _) = Puppet::restored(4, 3, restored);
    // What the key said before the loss is shown by others, and alarms nobody.
    let vote = Vote { statement: skip(1), signer: 3, signature: super::puppet::name_of(3) };
    let last_vote = Some(vote);
    let (epoch, final_height, final_block, turn) = (0, 0, puppet.genesis.id, 2);
    let status = Status { epoch, final_height, final_block, turn, waits: false, asks: false, last_vote };
    assert_eq!(alarms(&puppet.hear(0, Message::Status(status))), Vec::<&Alarm>::new());
    let mut parent = (puppet.genesis.clone(), 0);
    for (turn, time_ms, signs) in [(1, START_MS + 31_000, false), (2, START_MS + 31_001, true)] {
        puppet.now = time_ms;
        let reference = puppet.batch(0, turn - 1);
        let block = puppet.block(&parent.0, parent.1, turn, &[reference]);
        let (header, certificate) = (block.header.expect("built"), puppet.final_cert(&block, turn, &[0, 1, 2]));
        assert_eq!(header.time_ms, time_ms);
        puppet.step(Input::Fetched { found: Found::Range { header, certificate } });
        assert_eq!(puppet.core.is_signing(), signs, "turn {turn}");
        parent = (block, turn);
    }
    assert!(puppet.core.waits() || puppet.core.is_signing());
}

#[test]
fn a_loss_before_an_own_block_is_not_believed() {
    let epoch = super::test_epoch(4);
    let lost = |used_ms| Restored {
        may_sign: false,
        lost_at_ms: Some(START_MS),
        used_ms,
        ..Restored::fresh(&epoch, START_MS)
    };
    let own = |time_ms| Input::Fetched { found: Found::OwnBlock { epoch: 0, turn: 1, time_ms } };
    let (mut puppet, _) = Puppet::restored(4, 3, lost(None));
    assert_eq!(alarms(&puppet.step(own(START_MS + 30_000))), Vec::<&Alarm>::new(), "clocks differ");
    let effects = puppet.step(own(START_MS + 30_001));
    assert!(matches!(alarms(&effects)[..], [Alarm::UsedAfterLoss { .. }]));
    // What the log here held already counts too.
    assert!(matches!(
        alarms(&Puppet::restored(4, 3, lost(Some(START_MS + 30_001))).1)[..],
        [Alarm::UsedAfterLoss { .. }]
    ));
    assert_eq!(alarms(&Puppet::restored(4, 3, lost(Some(START_MS + 30_000))).1), Vec::<&Alarm>::new());
}

#[test]
fn an_own_block_that_is_not_remembered_means_that_the_key_runs_twice() {
    let mut puppet = Puppet::new(4, 0);
    let effects = puppet.step(Input::Fetched { found: Found::OwnBlock { epoch: 1, turn: 1, time_ms: START_MS } });
    assert_eq!(alarms(&effects), Vec::<&Alarm>::new(), "of another epoch");
    let effects = puppet.step(Input::Fetched { found: Found::OwnBlock { epoch: 0, turn: 1, time_ms: START_MS } });
    assert!(matches!(alarms(&effects)[..], [Alarm::SecondInstance { turn: 1 }]));
    assert!(!puppet.core.is_signing());
}
