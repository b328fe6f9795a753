//! Stories over many seeds, each with its oracles: weather, crashes, cuts, and faulty authorities.

use super::byzantine::Behaviour;
use super::{Weather, World};
use crate::{Alarm, Peer};

/// Everything heals, and within a minute of fair weather all is on every honest log.
fn settle(world: &mut World) {
    world.weather = Weather::FAIR;
    world.heal();
    for node in 0..world.members() {
        if !world.is_up(node) {
            world.start(node, false);
        }
    }
    world.run_for(60_000);
    world.check_complete();
}

/// A few seconds of crashes, restarts, cuts and work.
fn trouble(world: &mut World, rounds: u64) {
    let members = world.members();
    for _ in 0..rounds {
        let node = world.random.between(0, u64::from(members) - 1) as Peer;
        match world.random.between(0, 5) {
            0 if world.is_up(node) => world.crash(node),
            1 if !world.is_up(node) => {
                let unclean = world.random.percent(50);
                world.start(node, unclean);
            }
            2 => {
                let others: Vec<Peer> = (0..members).filter(|other| *other != node).collect();
                world.cut(&[node], &others);
            }
            3 => world.heal(),
            _ if world.is_up(node) => world.submit(node, 3),
            _ => {}
        }
        let span = world.random.between(50, 3_000);
        world.run_for(span);
    }
}

#[test]
fn fair_weather_makes_blocks_and_then_silence() {
    for members in [1, 4, 5, 7] {
        let mut world = World::new(members, 1, Weather::FAIR);
        for round in 0..20u64 {
            world.submit((round % u64::from(members)) as Peer, 10);
            world.run_for(200);
        }
        world.run_for(5_000);
        world.check_complete();
        world.check_quiet();
        assert!(world.agreed.len() >= 10, "blocks with work are made at once: {}", world.agreed.len());
        let before = (world.messages, world.agreed.len());
        world.run_for(600_000);
        assert_eq!((world.messages, world.agreed.len()), before, "an idle network is silent");
    }
}

#[test]
fn an_idle_network_makes_one_block_an_hour() {
    let mut world = World::new(4, 1, Weather::FAIR);
    world.submit(0, 1);
    world.run_for(3_700_000);
    assert_eq!(world.heights(), [2; 4]);
    world.check_quiet();
}

#[test]
fn foul_weather_with_crashes_and_cuts_never_diverges_and_heals() {
    for seed in 0..80 {
        let members = [4, 5, 6, 7][(seed % 4) as usize];
        let mut world = World::new(members, seed, Weather::FOUL);
        trouble(&mut world, 12);
        settle(&mut world);
        world.check_quiet();
    }
}

/// Up to f authorities behave in one of the ways of `byzantine`, in foul weather, with crashes.
fn with_faulty(behaviour: impl Fn(Peer) -> Behaviour, seeds: std::ops::Range<u64>, members: &[u16]) -> usize {
    let mut accused = 0;
    for seed in seeds {
        let members = members[(seed as usize) % members.len()];
        let mut world = World::new(members, seed, Weather::FOUL);
        let faults = world.epoch.set.tolerated_faults() as u16;
        for faulty in 0..faults {
            let index = (seed as u16 + faulty) % members;
            world.behaviours.insert(index, behaviour(index));
        }
        trouble(&mut world, 8);
        world.expected.clear();
        settle(&mut world);
        // What an honest node admits from now on is on every honest log.
        for node in 0..members {
            if !world.behaviours.contains_key(&node) {
                world.submit(node, 2);
            }
        }
        world.run_for(60_000);
        world.check_complete();
        world.alarms.retain(|(node, _)| !world.behaviours.contains_key(node));
        world.check_quiet();
        accused += world.evidence.len();
    }
    accused
}

#[test]
fn twin_proposals_neither_diverge_nor_stop_the_chain() {
    assert!(with_faulty(|_| Behaviour::TwinProposals, 0..24, &[4, 5, 6, 7, 8, 9]) > 0);
}

#[test]
fn twin_votes_neither_diverge_nor_stop_the_chain() {
    assert!(with_faulty(|_| Behaviour::TwinVotes, 100..118, &[4, 5, 7]) > 0);
}

#[test]
fn endorsers_that_never_confirm_cannot_deny_finality() {
    assert_eq!(with_faulty(|_| Behaviour::NeverConfirms, 200..215, &[4, 7, 8]), 0);
}

#[test]
fn wrong_headers_are_refused_and_convict() {
    assert!(with_faulty(|_| Behaviour::WrongHeaders, 300..312, &[4, 5, 7]) > 0);
}

#[test]
fn one_victim_is_shown_everything_and_nobody_else_anything() {
    with_faulty(|me| Behaviour::OneVictim((me + 1) % 4), 400..415, &[4]);
}

#[test]
fn a_mixture_of_faults_at_seven_members() {
    let behaviours = [Behaviour::TwinProposals, Behaviour::TwinVotes, Behaviour::NeverConfirms];
    with_faulty(|me| behaviours[usize::from(me) % 3], 500..515, &[7]);
}

#[test]
fn without_a_quorum_nothing_is_final_and_nothing_is_lost() {
    // Twin proposers and an even cut: the fate of clones of Aura and Clique.
    for seed in 0..10 {
        let mut world = World::new(4, seed, Weather::FAIR);
        world.behaviours.insert(0, Behaviour::TwinProposals);
        world.cut(&[0, 1], &[2, 3]);
        for node in 0..4 {
            world.submit(node, 1);
        }
        world.run_for(60_000);
        assert!(world.agreed.is_empty(), "two of four decide nothing");
        world.heal();
        world.run_for(60_000);
        world.check_complete();
    }
}

#[test]
fn two_of_four_down_for_an_hour_then_final_within_ten_seconds() {
    let mut world = World::new(4, 3, Weather::FAIR);
    world.submit(0, 1);
    world.run_for(1_000);
    world.crash(2);
    world.crash(3);
    world.submit(0, 5);
    world.run_for(3_600_000);
    let before = world.agreed.len();
    world.start(2, true);
    world.start(3, true);
    world.run_for(10_000);
    assert!(world.agreed.len() > before);
    world.check_complete();
    world.check_quiet();
}

#[test]
fn a_dead_agency_on_turn_costs_an_idle_network_little() {
    // Idle; the agency on turn dies; work arrives at another.
    for dead in 0..4u16 {
        let mut world = World::new(4, u64::from(dead), Weather::FAIR);
        world.submit(1, 1);
        world.run_for(10_000);
        world.crash(dead);
        world.run_for(10_000);
        let alive = (dead + 1) % 4;
        world.submit(alive, 1);
        world.run_for(3_000);
        let tip = world.nodes[usize::from(alive)].executor.tip();
        assert_eq!(tip.spent.len(), 2, "skipped after at most one timeout");
    }
}

#[test]
fn exactly_a_quorum_alive_all_persist_a_skip_and_all_crash() {
    let mut world = World::new(4, 11, Weather::FAIR);
    world.crash(1);
    for node in [0, 2, 3] {
        world.submit(node, 1);
    }
    // Turn 1 belongs to agency 0, turn 2 to the dead one. Crash everybody in the middle of skipping it.
    world.run_for(1_720);
    for node in [0, 2, 3] {
        world.crash(node);
    }
    world.run_for(1_000);
    for node in [0, 2, 3] {
        world.start(node, true);
    }
    world.run_for(60_000);
    world.start(1, false);
    world.run_for(60_000);
    world.check_complete();
    world.check_quiet();
}

#[test]
fn everybody_crashes_again_and_again_at_any_moment() {
    for seed in 0..30 {
        let mut world = World::new(4, seed, Weather::FAIR);
        for round in 0..6u64 {
            for node in 0..4 {
                if world.is_up(node) {
                    world.submit(node, 1);
                }
            }
            let span = world.random.between(1, 400);
            world.run_for(span);
            for node in 0..4 {
                if world.is_up(node) {
                    world.crash(node);
                }
            }
            for node in 0..4 {
                world.start(node, round % 2 == 0);
            }
        }
        settle(&mut world);
        world.check_quiet();
    }
}

#[test]
fn a_copied_disk_stops_signing_before_it_contradicts_itself() {
    for seed in 0..20 {
        let mut world = World::new(4, seed, Weather::FAIR);
        world.submit(0, 1);
        world.run_for(3_000);
        let copy = world.nodes[3].disk.clone();
        // One authority is away, so that nothing more becomes final and the votes stay unfinal.
        world.crash(1);
        world.crash(2);
        world.submit(3, 1);
        world.run_for(5_000);
        world.crash(3);
        world.nodes[3].disk = copy;
        let length = world.nodes[3].disk.journal.len();
        world.nodes[3].disk.sync(length);
        world.start(2, false);
        world.start(3, true);
        world.run_for(10_000);
        let alarmed =
            world.alarms.iter().any(|(node, alarm)| *node == 3 && matches!(alarm, Alarm::SecondInstance { .. }));
        assert!(alarmed, "the peers show a vote that the disk lacks");
        assert!(!world.core(3).is_signing());
    }
}

#[test]
fn a_node_that_was_away_for_long_catches_up_by_range() {
    let mut world = World::new(4, 5, Weather::FAIR);
    world.crash(2);
    for _ in 0..100 {
        world.submit(0, 2);
        world.run_for(500);
    }
    assert!(world.agreed.len() > 50);
    world.start(2, false);
    world.run_for(10_000);
    world.check_complete();
    world.check_quiet();
}

#[test]
fn a_certificate_known_to_one_node_that_crashes_and_returns() {
    for seed in 0..20 {
        let mut world = World::new(4, seed, Weather::FAIR);
        for node in 0..4 {
            world.submit(node, 1);
        }
        // Cut one node off at a moment when it may be the only one that saw a quorum.
        let moment = world.random.between(5, 60);
        world.run_for(moment);
        world.cut(&[0], &[1, 2, 3]);
        world.run_for(40);
        world.crash(0);
        world.run_for(20_000);
        world.heal();
        world.start(0, false);
        world.run_for(30_000);
        world.check_complete();
        world.check_quiet();
    }
}

#[test]
fn isolated_while_turns_are_skipped() {
    let mut world = World::new(4, 8, Weather::FAIR);
    world.submit(1, 1);
    world.run_for(2_000);
    world.cut(&[3], &[0, 1, 2]);
    world.crash(0);
    world.submit(1, 1);
    world.submit(3, 1);
    world.run_for(120_000);
    world.heal();
    world.run_for(60_000);
    world.check_complete();
    world.check_quiet();
}

#[test]
fn clocks_some_hundred_milliseconds_apart_do_not_matter() {
    let mut world = World::new(4, 8, Weather::FAIR);
    for (node, offset) in [(0, -200), (1, 200), (2, 0), (3, 150)] {
        world.nodes[node].clock_offset_ms = offset;
    }
    for round in 0..40 {
        world.submit(round % 4, 3);
        world.run_for(300);
    }
    world.run_for(10_000);
    world.check_complete();
    world.check_quiet();
}

#[test]
fn a_clock_far_ahead_costs_its_owner_only_its_turns() {
    let mut world = World::new(4, 8, Weather::FAIR);
    world.nodes[2].clock_offset_ms = 3_600_000;
    for round in 0..20 {
        world.submit(round % 4, 3);
        world.run_for(1_000);
    }
    world.run_for(30_000);
    world.check_complete();
    world.check_quiet();
}

#[test]
fn hundreds_of_blocks_with_slow_execution_go_by_the_late_path() {
    let mut weather = Weather::FAIR;
    weather.execute_max_ms = 400;
    let mut world = World::new(7, 21, weather);
    for round in 0..60 {
        world.submit(round % 7, 2);
        world.run_for(250);
    }
    world.run_for(20_000);
    world.check_complete();
    world.check_quiet();
}
