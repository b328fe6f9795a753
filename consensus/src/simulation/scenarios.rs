//! Stories, each with its oracles, over many seeds.

use super::byzantine::Behaviour;
use super::{Weather, World};
use crate::Peer;

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
fn foul_weather_with_crashes_and_cuts_never_diverges_and_heals() {
    for seed in 0..200 {
        let members = [4, 5, 6, 7][(seed % 4) as usize];
        let mut world = World::new(members, seed, Weather::FOUL);
        for _ in 0..12 {
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
        settle(&mut world);
        world.check_quiet();
    }
}
