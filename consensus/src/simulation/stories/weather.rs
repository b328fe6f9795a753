//! Weather, disks and clocks: nobody is faulty.

use super::{Story, complete_within, trouble};
use crate::simulation::{Weather, World};

pub const STORIES: &[Story] = &[
    Story { name: "fair_weather_then_silence", seeds: 4, tell: fair_weather_then_silence },
    Story { name: "idle_makes_one_block_an_hour", seeds: 1, tell: idle_makes_one_block_an_hour },
    Story { name: "delays_of_a_second", seeds: 3, tell: delays_of_a_second },
    Story { name: "waits_ends_in_silence", seeds: 3, tell: waits_ends_in_silence },
    Story { name: "one_holder_and_a_silent_proposer", seeds: 4, tell: one_holder_and_a_silent_proposer },
    Story { name: "a_build_that_outlives_its_turn", seeds: 8, tell: a_build_that_outlives_its_turn },
    Story { name: "foul_weather", seeds: 60, tell: foul_weather },
    Story { name: "everybody_crashes_again_and_again", seeds: 30, tell: everybody_crashes_again_and_again },
    Story { name: "away_for_long_and_back_by_range", seeds: 1, tell: away_for_long_and_back_by_range },
    Story { name: "clocks_apart", seeds: 1, tell: clocks_apart },
    Story { name: "a_clock_far_ahead", seeds: 1, tell: a_clock_far_ahead },
    Story { name: "hundreds_of_turns_fail", seeds: 2, tell: hundreds_of_turns_fail },
    Story { name: "slow_execution_everywhere", seeds: 1, tell: slow_execution_everywhere },
    Story { name: "authorities_change_in_foul_weather", seeds: 20, tell: authorities_change_in_foul_weather },
];

fn fair_weather_then_silence(seed: u64) {
    let members = [1, 4, 5, 7][(seed % 4) as usize];
    let mut world = World::new(members, seed, Weather::FAIR);
    for round in 0..20u64 {
        world.submit((round % u64::from(members)) as u16, 10);
        world.run_for(200);
    }
    complete_within(&mut world, 5_000);
    assert!(world.oracle.agreed.len() >= 10, "blocks with work are made at once: {}", world.oracle.agreed.len());
    let before = (world.oracle.messages, world.oracle.agreed.len());
    world.run_for(600_000);
    assert_eq!((world.oracle.messages, world.oracle.agreed.len()), before, "oracle silence: an idle network speaks");
}

fn idle_makes_one_block_an_hour(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.submit(0, 1);
    world.run_for(3_700_000);
    assert_eq!(world.oracle.agreed.len(), 2, "oracle heartbeat");
    world.check_quiet();
}

/// A block needs three delays, longer than the shortest timeout: the timeout must grow until finality, not only
/// until endorsement.
fn delays_of_a_second(seed: u64) {
    let weather = Weather { delay_min_ms: 950, delay_max_ms: 1_050, ..Weather::FAIR };
    let mut world = World::new(4, seed, weather);
    for node in 0..4 {
        world.submit(node, 1);
    }
    complete_within(&mut world, 300_000);
}

/// A client's wait for an empty block is shown, served, and forgotten.
fn waits_ends_in_silence(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.submit(0, 1);
    world.run_for(70_000);
    world.node_mut(1).expiry_waits = true;
    world.tell_work(1);
    world.run_for(150_000);
    let agreed = world.oracle.agreed.len();
    assert!(agreed >= 2, "oracle progress: no empty block for whoever waits");
    assert!(agreed <= 4, "oracle idleness: {agreed} blocks in 220 s, more than one a minute for whoever waits");
    world.node_mut(1).expiry_waits = false;
    world.tell_work(1);
    complete_within(&mut world, 130_000);
    let before = world.oracle.messages;
    world.run_for(600_000);
    assert_eq!(world.oracle.messages, before, "oracle silence: nobody waits any more");
}

/// The batch is lost on its way to all others, and the agency on turn is dead.
fn one_holder_and_a_silent_proposer(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.submit(0, 1);
    world.run_for(5_000);
    let turn = world.node(0).core.as_ref().map_or(1, crate::Turns::turn);
    let silent = world.genesis.proposer(turn);
    world.crash(silent);
    let holder = (silent + 1 + (seed % 3) as u16) % 4;
    world.weather.loss_percent = 100;
    world.submit(holder, 1);
    world.weather.loss_percent = 0;
    complete_within(&mut world, 90_000);
}

/// Building takes longer than the turn; meanwhile others give the turn up.
fn a_build_that_outlives_its_turn(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.node_mut((seed % 4) as u16).slow_ms = 2_500 + 300 * (seed / 4);
    for round in 0..8 {
        world.submit(round % 4, 1);
        world.run_for(900);
    }
    complete_within(&mut world, 120_000);
}

fn foul_weather(seed: u64) {
    let members = [4, 5, 6, 7][(seed % 4) as usize];
    let mut world = World::new(members, seed, Weather::FOUL);
    trouble(&mut world, 12);
    world.settle(&[]);
}

fn everybody_crashes_again_and_again(seed: u64) {
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
    world.settle(&[]);
}

fn away_for_long_and_back_by_range(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.crash(2);
    for _ in 0..100 {
        world.submit(0, 2);
        world.run_for(500);
    }
    assert!(world.oracle.agreed.len() > 50);
    world.start(2, false);
    complete_within(&mut world, 10_000);
}

fn clocks_apart(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    for (node, offset) in [(0, -200), (1, 200), (2, 0), (3, 150)] {
        world.node_mut(node).clock_offset_ms = offset;
    }
    for round in 0..40 {
        world.submit(round % 4, 3);
        world.run_for(300);
    }
    complete_within(&mut world, 10_000);
}

/// It costs its owner its turns, and nobody else anything.
fn a_clock_far_ahead(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.node_mut(2).clock_offset_ms = 3_600_000;
    for round in 0..20 {
        world.submit(round % 4, 3);
        world.run_for(1_000);
    }
    complete_within(&mut world, 30_000);
}

/// One is dead and one clock is far ahead: two endorse every block of their own turns, and none becomes final. The
/// blocks of those turns fill no memory, and when both are repaired, or when only those vote that were there all along,
/// the next turns go well.
fn hundreds_of_turns_fail(seed: u64) {
    let mut epoch = super::super::test_epoch(4);
    let mut set = mingzhang_ledger::authority::AuthoritySet::clone(&epoch.set);
    let times = &mut set.parameters;
    (times.turn_timeout_ms, times.turn_timeout_min_ms, times.turn_timeout_max_ms) = (100, 100, 400);
    epoch.set = std::sync::Arc::new(set);
    let mut world = World::of(epoch, &[], seed, Weather::FAIR);
    world.submit(0, 1);
    world.run_for(5_000);
    world.crash(3);
    world.node_mut(2).clock_offset_ms = 200_000;
    world.submit(0, 3);
    world.run_for(200_000);
    let core = world.node(0).core.as_ref().expect("is up");
    let (failed, blocks) = (core.turn() - core.final_point().1, core.blocks.len());
    assert!(failed > 400 && blocks > 128, "the turns failed, and left blocks: {failed}, {blocks}");
    for node in [0, 1] {
        let held = world.node(node).executor.executed.len();
        assert!(held < 256, "oracle memory: {held} executed blocks of failed turns");
    }
    world.node_mut(2).clock_offset_ms = 0;
    if seed == 0 {
        world.start(3, false);
    }
    complete_within(&mut world, 30_000);
}

/// Hundreds of blocks go by the late path.
fn slow_execution_everywhere(seed: u64) {
    let weather = Weather { execute_max_ms: 400, ..Weather::FAIR };
    let mut world = World::new(7, seed, weather);
    for round in 0..60 {
        world.submit(round % 7, 2);
        world.run_for(250);
    }
    complete_within(&mut world, 20_000);
}

fn authorities_change_in_foul_weather(seed: u64) {
    let mut world = World::new(4, seed, Weather::FOUL);
    for _ in 0..3 {
        let node = world.random.between(0, 3) as u16;
        if world.is_up(node) {
            world.submit_change(node);
        }
        trouble(&mut world, 4);
    }
    world.settle(&[]);
    assert!(world.oracle.epochs >= 1, "a change was answered, so an epoch was opened");
}
