//! Stories with a point: each sets up one danger, lets it happen in many variations, and asks the oracles. Those of
//! `published` bear the numbers of bugs that other systems had. `hunt` tells them all to a build with a deliberate fault.

pub mod faulty;
pub mod published;
pub mod weather;

use super::{Place, World};
use crate::Peer;

/// One danger, in so many variations.
#[derive(Clone, Copy)]
pub struct Story {
    pub name: &'static str,
    pub seeds: u64,
    /// Panics where an oracle is violated.
    pub tell: fn(u64),
}

/// Every story, the quickest to find a fault first.
pub fn all() -> Vec<Story> {
    [weather::STORIES, faulty::STORIES, published::STORIES].concat()
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
                let others: Vec<Place> = (0..members).filter(|other| *other != node).collect();
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

/// A quarter of an hour is never needed where a minute is promised.
fn complete_within(world: &mut World, span_ms: u64) {
    world.run_for(span_ms);
    world.check_complete();
    world.check_quiet();
}

#[cfg(test)]
mod told {
    //! Every story is a test of its own name.

    use super::{Story, all};

    fn tell(name: &str) {
        let story = all().into_iter().find(|story| story.name == name).expect("the story exists");
        let Story { seeds, tell, .. } = story;
        for seed in 0..seeds {
            tell(seed);
        }
    }

    mod names;
}
