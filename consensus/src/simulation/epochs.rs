//! From one epoch to the next, at one core on strings: what opens it, and that words of another one change nothing.

use std::sync::Arc;

use super::ledger::Executed;
use super::puppet::{Puppet, skip, statements};
use super::rules::{first_block, kinds};
use crate::justification::Just;
use crate::message::Message;
use crate::statement::{Kind, Statement};
use crate::{Draft, Epoch, Found, Input, Opening, Restored, Setup, Turns};

/// Core 3 of 4 in epoch 1, whose members are those of epoch 0, on the boundary block that closed it.
fn opened() -> (Puppet, Executed) {
    let (puppet, block, _) = first_block();
    let mut set = puppet.epoch.set.as_ref().clone();
    set.epoch = 1;
    let mut header = block.header.expect("not genesis");
    header.next_set_hash = set.hash();
    let boundary = block.with_header(header);
    let certificate = puppet.final_cert(&boundary, 2, &[0, 1, 2]);
    let opening = Opening::Boundary { certificate, previous: Arc::clone(&puppet.epoch.set) };
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
    let (mut puppet, boundary) = opened();
    assert_eq!((puppet.core.turn(), puppet.core.final_point()), (1, (1, 0)));
    let just = Just::opening(&puppet.epoch);
    let reference = puppet.batch(0, 1);
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
