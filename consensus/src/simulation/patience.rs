//! Timers, demand, restarts, and what peers are told: each rule by its violation, at one core on strings.

use super::puppet::{Puppet, by, skip, skip_cert, statements};
use super::rules::{alarms, kinds};
use crate::justification::{Just, Parent};
use crate::message::{Message, Status};
use crate::safety::{Endorsed, Entered, SafetyRecord};
use crate::statement::Kind;
use crate::{Alarm, Audience, Effect, Input, Peer, Restored, Setup, Turns, Work};

#[test]
fn the_timer_runs_only_on_demand_and_f_plus_one_skips_are_demand() {
    let mut puppet = Puppet::new(4, 3);
    assert_eq!(kinds(&puppet.wait(30_000)), []);
    puppet.vote(1, skip(1));
    assert_eq!(kinds(&puppet.wait(5_000)), []);
    puppet.vote(2, skip(1));
    assert_eq!(kinds(&puppet.wait(1_699)), []);
    assert_eq!(statements(&puppet.wait(1)), [skip(1)]);
}

#[test]
fn one_skip_is_demand_once_the_tip_is_a_minute_old() {
    let mut puppet = Puppet::new(4, 3);
    puppet.vote(1, skip(1));
    assert_eq!(kinds(&puppet.wait(58_999)), []);
    assert_eq!(kinds(&puppet.wait(1)), [], "now the timer starts");
    assert_eq!(kinds(&puppet.wait(1_699)), []);
    assert_eq!(kinds(&puppet.wait(1)), [Kind::Skip]);
}

#[test]
fn a_suspected_agency_is_skipped_at_once_and_others_are_given_time() {
    let mut puppet = Puppet::new(4, 3);
    puppet.step(Input::Disconnected { peer: 2 });
    puppet.wait(6_000);
    // A vote for a turn that nobody will see is no sign of life in all that come before it.
    puppet.vote(2, skip(1 << 63));
    // Turns 1 to 6 pass, and agency 2 signs nothing in them.
    let justified = |turn, parent_turn| Just {
        epoch: 0,
        turn,
        parent: Parent::Final(mingzhang_ledger::certificate::FinalCert {
            epoch: 0,
            turn: parent_turn,
            height: parent_turn,
            block: [1; 32],
            signers: by(&[0, 1, 3]),
        }),
        skips: Vec::new(),
    };
    // An observer, so that certificates in its name do not alarm it.
    puppet.core.setup.me = None;
    puppet.hear(0, Message::Justify(justified(3, 2)));
    assert_eq!((puppet.core.epoch().proposer(3), puppet.core.timeout_ms()), (2, 1_700));
    puppet.hear(0, Message::Justify(justified(7, 6)));
    assert_eq!((puppet.core.epoch().proposer(7), puppet.core.timeout_ms()), (2, 0));
    // Nor does one count that it said before.
    if let Some(peer) = puppet.core.peers.get_mut(&2) {
        (peer.signed, peer.strikes) = (5, 1);
    }
    puppet.vote(2, skip(5));
    assert_eq!(puppet.core.peers.get(&2).map(|peer| (peer.signed, peer.strikes)), Some((5, 1)));
    puppet.vote(2, skip(6));
    assert_eq!(puppet.core.peers.get(&2).map(|peer| (peer.signed, peer.strikes)), Some((6, 0)));
    if let Some(peer) = puppet.core.peers.get_mut(&2) {
        peer.signed = 0;
    }
    puppet.step(Input::Connected { peer: 2 });
    assert_eq!(puppet.core.timeout_ms(), 1_700);
}

#[test]
fn an_agency_on_turn_that_goes_is_given_up_soon_and_one_that_comes_back_is_not() {
    let waiting = || {
        let mut puppet = Puppet::new(4, 3);
        let reference = puppet.batch(1, 0);
        puppet.have_work(vec![reference]);
        assert_eq!(kinds(&puppet.wait(200)), [], "agency 0 is on turn");
        puppet
    };
    let mut puppet = waiting();
    puppet.step(Input::Disconnected { peer: 1 });
    assert_eq!(kinds(&puppet.wait(1_000)), [], "it is not its turn");
    let mut puppet = waiting();
    puppet.step(Input::Disconnected { peer: 0 });
    assert_eq!(kinds(&puppet.wait(49)), [], "what it sent may still come");
    assert_eq!(statements(&puppet.wait(1)), [skip(1)]);
    let mut puppet = waiting();
    puppet.step(Input::Disconnected { peer: 0 });
    puppet.wait(30);
    puppet.step(Input::Connected { peer: 0 });
    assert_eq!(kinds(&puppet.wait(1_469)), []);
    assert_eq!(statements(&puppet.wait(1)), [skip(1)], "its whole time has passed");
    let mut puppet = waiting();
    let reference = puppet.batch(1, 0);
    let block = puppet.block(&puppet.genesis, 0, 1, &[reference]);
    let just = Just::opening(&puppet.epoch);
    puppet.propose(&block, &just);
    puppet.step(Input::Disconnected { peer: 0 });
    assert_eq!(kinds(&puppet.wait(200)), [], "its proposal is here");
}

#[test]
fn the_timeout_doubles_with_failures_and_is_capped() {
    let mut puppet = Puppet::new(4, 3);
    for (turn, expected) in [(1, 1_700), (4, 1_700), (5, 3_400), (6, 3_400), (7, 6_800), (u64::MAX, 30_000)] {
        puppet.core.cur = turn;
        assert_eq!(puppet.core.timeout_ms(), expected, "turn {turn}");
    }
    assert!(puppet.core.is_timely(puppet.now + 1_000, 5), "twice the half second after one failed round");
    assert!(!puppet.core.is_timely(puppet.now + 1_001, 5));
    assert!(puppet.core.is_timely(puppet.now + 10_000, u64::MAX), "capped at ten seconds");
    assert!(!puppet.core.is_timely(puppet.now + 10_001, u64::MAX));
    assert!(puppet.core.is_timely(puppet.now - 70_000, u64::MAX));
    assert!(!puppet.core.is_timely(puppet.now - 70_001, u64::MAX));
}

#[test]
fn a_foreign_vote_by_the_own_key_stops_signing() {
    let mut puppet = Puppet::new(4, 3);
    let effects = puppet.vote(3, skip(1));
    assert!(matches!(alarms(&effects)[..], [Alarm::SecondInstance { .. }]));
    assert!(!puppet.core.is_signing());
    // The same inside a certificate.
    let mut puppet = Puppet::new(4, 3);
    let just = Just { epoch: 0, turn: 2, parent: Parent::Start(None), skips: vec![skip_cert(1, &[0, 1, 3])] };
    assert!(matches!(alarms(&puppet.hear(0, Message::Justify(just)))[..], [Alarm::SecondInstance { .. }]));
}

#[test]
fn after_an_unclean_stop_a_quorum_must_have_spoken_first() {
    let epoch = super::test_epoch(4);
    let restored = Restored { unclean: true, ..Restored::fresh(&epoch, super::START_MS) };
    let (mut puppet, effects) = Puppet::restored(4, 3, restored);
    assert_eq!(kinds(&effects), []);
    let reference = puppet.batch(0, 0);
    let block = puppet.block(&puppet.genesis, 0, 1, &[reference]);
    let just = Just::opening(&puppet.epoch);
    puppet.propose(&block, &just);
    assert_eq!(kinds(&puppet.valid(&block)), []);
    let asked = puppet.wait(1_000);
    assert_eq!(
        asked.iter().filter(|e| matches!(e, Effect::Send { message: Message::Status(s), .. } if s.asks)).count(),
        3
    );
    let status =
        Status { epoch: 0, final_height: 0, final_block: [9; 32], turn: 1, waits: false, asks: false, last_vote: None };
    assert_eq!(kinds(&puppet.hear(0, Message::Status(status.clone()))), []);
    assert_eq!(kinds(&puppet.hear(0, Message::Status(status.clone()))), [], "one peer counts once");
    assert_eq!(kinds(&puppet.hear(1, Message::Status(status))), [Kind::Endorse]);
}

#[test]
fn stored_votes_are_said_again_and_count_again() {
    // A skip that was persisted before the crash is recounted afterwards: else exactly a quorum would be stuck.
    let epoch = super::test_epoch(4);
    let restored = Restored {
        records: vec![SafetyRecord::Skipped { epoch: 0, turn: 1 }],
        ..Restored::fresh(&epoch, super::START_MS)
    };
    let (mut puppet, effects) = Puppet::restored(4, 3, restored);
    assert_eq!(statements(&effects), [skip(1)]);
    puppet.loop_back(&effects);
    puppet.votes(&[1, 2], skip(1));
    assert_eq!(puppet.core.turn(), 2);
}

#[test]
fn who_has_no_seat_asks_nobody_what_it_signed() {
    let epoch = super::test_epoch(4);
    let setup = Setup { epoch: epoch.clone(), me: None, relay_delay_ms: 100, retransmit_ms: 1_000 };
    let restored = Restored { unclean: true, ..Restored::fresh(&epoch, super::START_MS) };
    let (mut core, _) = Turns::restore(super::START_MS, setup, restored);
    for peer in 0..4 {
        core.step(super::START_MS, Input::Connected { peer });
    }
    assert_eq!(core.step(super::START_MS + 60_000, Input::Tick), []);
    assert_eq!(core.deadline(), None);
}

#[test]
fn a_doubted_disk_signs_nothing() {
    let epoch = super::test_epoch(4);
    let restored = Restored { may_sign: false, ..Restored::fresh(&epoch, super::START_MS) };
    let (mut puppet, _) = Puppet::restored(4, 0, restored);
    let reference = puppet.batch(0, 0);
    assert_eq!(puppet.have_work(vec![reference]), []);
    assert_eq!(kinds(&puppet.wait(60_000)), []);
}

#[test]
fn waits_is_shown_for_own_clients_and_never_passed_on() {
    let waits = |effects: &[Effect]| {
        effects.iter().any(|e| matches!(e, Effect::Send { message: Message::Status(s), .. } if s.waits))
    };
    let mut puppet = Puppet::new(4, 3);
    let status =
        Status { epoch: 0, final_height: 0, final_block: [9; 32], turn: 1, waits: true, asks: true, last_vote: None };
    puppet.wait(70_000);
    assert!(!waits(&puppet.hear(0, Message::Status(status.clone()))));
    // It is demand here: the timer runs, for an old tip.
    assert_eq!(kinds(&puppet.wait(1_700)), [Kind::Skip]);
    puppet.step(Input::Work(Work { expiry_waits: true, ..Work::default() }));
    assert!(waits(&puppet.hear(1, Message::Status(status))));
}

#[test]
fn answers_to_one_peer_are_few() {
    let mut puppet = Puppet::new(4, 3);
    puppet.votes(&[0, 1, 2], skip(1));
    let answers: usize = (0..100).map(|_| puppet.vote(2, skip(1)).len()).sum();
    assert!((1..=5).contains(&answers), "{answers} answers within a second");
}

#[test]
fn who_was_not_seen_in_a_turn_is_sent_its_justification() {
    let justified = |effects: &[Effect]| -> Vec<Peer> {
        let peers = effects.iter().filter_map(|effect| match effect {
            Effect::Send { message: Message::Justify(just), to: Audience::Peers(peers) } if just.turn == 2 => {
                Some(peers.clone())
            }
            _ => None,
        });
        peers.flatten().collect()
    };
    let nobody: Vec<Peer> = Vec::new();
    // Turn 1 is skipped by 0, 1 and 3. Core 3 serves first those p with (3 - p + 2) mod 4 <= 1.
    let mut puppet = Puppet::new(4, 3);
    let own = puppet.vote(0, skip(1));
    puppet.loop_back(&own);
    assert_eq!(justified(&puppet.vote(1, skip(1))), nobody);
    assert_eq!(puppet.core.turn(), 2);
    assert_eq!(justified(&puppet.wait(99)), nobody);
    assert_eq!(justified(&puppet.wait(1)), [0, 1]);
    // Peer 1 shows itself in turn 2; after twice the delay everybody else is served by everybody.
    puppet.vote(1, skip(2));
    assert_eq!(justified(&puppet.wait(100)), [0, 2]);
    assert_eq!(justified(&puppet.wait(100)), nobody);
}

#[test]
fn a_restart_goes_on_from_the_highest_turn_that_the_disk_justifies() {
    let (puppet, block, just) = super::rules::first_block();
    let endorsed = Endorsed {
        turn: 1,
        header: block.header.expect("not genesis"),
        references: block.references.clone(),
        just_hash: just.hash(&puppet.epoch),
        just: just.clone(),
    };
    let certificate = puppet.endorse_cert(&block, &just, &[0, 1, 3]);
    let confirmed = SafetyRecord::Confirmed { certificate, late: None };
    let endorsed = SafetyRecord::Endorsed(Box::new(endorsed));
    let entered = |turn| Just {
        epoch: 0,
        turn,
        parent: Parent::Start(None),
        skips: (1..turn).map(|skipped| skip_cert(skipped, &[0, 1, 2])).collect(),
    };
    let fresh = || Restored::fresh(&puppet.epoch, super::START_MS);
    let with = |records: &[SafetyRecord], entered: Option<Just>| Restored {
        records: records.to_vec(),
        entered: entered.map(|just| Entered { just }),
        ..fresh()
    };
    for (restored, turn) in [
        (fresh(), 1),
        (with(std::slice::from_ref(&endorsed), None), 1),
        // The certificate in the record alone starts turn 2: perhaps no other node has it.
        (with(&[confirmed.clone(), endorsed.clone()], None), 2),
        (with(std::slice::from_ref(&endorsed), Some(entered(5))), 5),
        (with(&[endorsed.clone(), confirmed.clone()], Some(entered(1))), 2),
    ] {
        let votes = restored.records.len();
        let (puppet, effects) = Puppet::restored(4, 3, restored);
        assert_eq!((puppet.core.turn(), statements(&effects).len()), (turn, votes));
        assert!(puppet.core.is_signing());
    }
    // A certified block is executed again, and a disk that contradicts itself is not signed on.
    let (_, effects) = Puppet::restored(4, 3, with(&[endorsed.clone(), confirmed.clone()], None));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Execute { block: id, .. } if *id == block.id)));
    let skipped = SafetyRecord::Skipped { epoch: 0, turn: 1 };
    let (puppet, effects) = Puppet::restored(4, 3, with(&[endorsed, skipped, confirmed], None));
    assert!(matches!(alarms(&effects)[..], [Alarm::Invariant { .. }]));
    assert!(!puppet.core.is_signing());
}

#[test]
fn once_a_second_without_progress_everything_is_said_again_while_there_is_demand() {
    let mut puppet = Puppet::new(4, 3);
    let reference = puppet.batch(3, 0);
    puppet.have_work(vec![reference]);
    let said = |effects: &[Effect]| {
        let waiting = effects.iter().any(|effect| match effect {
            Effect::Send { message: Message::Waiting(waiting), to: Audience::Everybody } => {
                waiting.references == [reference]
            }
            _ => false,
        });
        let statuses = effects.iter().filter(|e| matches!(e, Effect::Send { message: Message::Status(_), .. })).count();
        (waiting, statuses, statements(effects))
    };
    assert_eq!(said(&puppet.wait(999)), (false, 0, vec![]));
    // The batch that only this node may hold, and where it stands, to each peer.
    assert_eq!(said(&puppet.wait(1)), (true, 3, vec![]));
    assert_eq!(said(&puppet.wait(699)), (false, 0, vec![]));
    assert_eq!(said(&puppet.wait(1)), (false, 0, vec![skip(1)]));
    assert_eq!(said(&puppet.wait(1_000)), (true, 0, vec![skip(1)]));
    assert_eq!(said(&puppet.wait(4_000)), (true, 3, vec![skip(1)]));
    puppet.have_work(Vec::new());
    assert_eq!(said(&puppet.wait(1_000)), (false, 0, vec![]));
}

#[test]
fn who_connects_is_told_where_this_node_stands_and_the_last_vote_it_holds() {
    let mut puppet = Puppet::new(4, 3);
    puppet.vote(1, skip(1));
    puppet.vote(1, skip(2));
    for (peer, last) in [(1, Some(skip(2))), (2, None)] {
        let effects = puppet.step(Input::Connected { peer });
        let [Effect::Send { message: Message::Status(status), to: Audience::Peers(to) }] = &effects[..] else {
            panic!("a status, not {effects:?}")
        };
        assert_eq!((status.turn, status.last_vote.map(|vote| vote.statement)), (1, last));
        assert_eq!(*to, [peer]);
    }
}
