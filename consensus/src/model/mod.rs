//! Small worlds, explored completely: every order of events among a few authorities, of which f say whatever hurts most.
//! What a node may sign is asked of the crate's own book of votes, what starts a turn of its own justifications.
//! `safety` shows that nothing diverges, `leaving` that no turn holds a node for ever; in `cores` the core itself takes
//! part, in every order of so many events.

#![allow(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects)]

mod cores;
mod leaving;
mod safety;

use stateright::{Checker, Expectation, Model};

use self::cores::{Bounds, Cores};
use self::leaving::Leaving;
use self::safety::{Kind, Safety};

/// What a small machine has.
const THREADS: usize = 2;

/// What one exploration came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explored {
    pub name: &'static str,
    pub states: usize,
    /// Names of the properties that do not hold, and in how many steps.
    pub violated: Vec<(String, usize)>,
}

fn explore<M>(name: &'static str, model: M) -> Explored
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + std::fmt::Debug + std::hash::Hash + PartialEq + Send + Sync,
    M::Action: Clone + std::fmt::Debug + PartialEq + Send + Sync,
{
    judged(name, model.checker().threads(THREADS).spawn_bfs().join())
}

/// Everything that so many events lead to. One thread: several would not go level by level.
fn explore_to(name: &'static str, events: usize, model: Cores) -> Explored {
    judged(name, model.checker().threads(1).target_max_depth(events + 1).spawn_bfs().join())
}

fn judged<M>(name: &'static str, checker: impl Checker<M>) -> Explored
where
    M: Model,
    M::State: Clone + PartialEq,
    M::Action: Clone + PartialEq,
{
    let mut found = checker.discoveries();
    let mut violated = Vec::new();
    for property in checker.model().properties() {
        let steps = found.remove(property.name).map(|path| path.into_actions().len());
        match (property.expectation, steps) {
            (Expectation::Sometimes, None) => violated.push((property.name.to_owned(), 0)),
            (Expectation::Sometimes, Some(_)) | (_, None) => {}
            (_, Some(steps)) => violated.push((property.name.to_owned(), steps)),
        }
    }
    Explored { name, states: checker.unique_state_count(), violated }
}

/// What may happen around the core itself.
const ONE_TURN: Bounds = Bounds { turns: 1, timers: 1, restarts: 1 };
const TWO_TURNS: Bounds = Bounds { turns: 2, ..ONE_TURN };

/// The worlds that take seconds, each told when it is explored.
pub fn small(tell: &mut dyn FnMut(Explored)) {
    tell(explore("n=4, 1 turn, two justifications", Safety::new(4, 1, Kind::TwoJusts)));
    tell(explore("n=4, boundary proposed again, 2 turns", Safety::new(4, 2, Kind::Boundary)));
    tell(explore("n=4, two epochs of 1 turn", Safety::new(4, 1, Kind::TwoEpochs)));
    tell(explore("n=5, 1 turn, two blocks", Safety::new(5, 1, Kind::Plain)));
    tell(explore_to("n=4, the core itself, 1 turn, 4 events", 4, Cores::new(ONE_TURN)));
    tell(explore("n=4, leaving a turn with crashes", Leaving::new(4, true)));
    tell(explore("n=4, leaving a turn, one holder of demand", Leaving::new(4, false)));
}

/// And those that take minutes: all of them half an hour at most on two processors, most of it for the last.
pub fn all(tell: &mut dyn FnMut(Explored)) {
    small(tell);
    tell(explore("n=4, 2 turns", Safety::new(4, 2, Kind::Plain)));
    tell(explore("n=4, 2 turns, two justifications", Safety::new(4, 2, Kind::TwoJusts)));
    tell(explore("n=5, 2 turns", Safety::new(5, 2, Kind::Plain)));
    tell(explore("n=5, two epochs of 1 turn", Safety::new(5, 1, Kind::TwoEpochs)));
    tell(explore("n=7, two epochs of 1 turn", Safety::new(7, 1, Kind::TwoEpochs)));
    tell(explore("n=6, 2 turns", Safety::new(6, 2, Kind::Plain)));
    tell(explore("n=7, 2 turns", Safety::new(7, 2, Kind::Plain)));
    tell(explore("n=4, boundary proposed again, 3 turns", Safety::new(4, 3, Kind::Boundary)));
    tell(explore("n=4, 3 turns", Safety::new(4, 3, Kind::Plain)));
    tell(explore_to("n=4, the core itself, 1 turn, 6 events", 6, Cores::new(ONE_TURN)));
    tell(explore_to("n=4, the core itself, 2 turns, 5 events", 5, Cores::new(TWO_TURNS)));
    tell(explore("n=5, leaving a turn with crashes", Leaving::new(5, true)));
    tell(explore("n=5, 3 turns", Safety::new(5, 3, Kind::Plain)));
}

#[cfg(test)]
mod tests {
    #[test]
    fn small_worlds_hold_every_property() {
        super::small(&mut |explored| {
            println!("{}: {} states", explored.name, explored.states);
            assert!(explored.states > 20, "{} explores next to nothing", explored.name);
            assert_eq!(explored.violated, Vec::new(), "{}", explored.name);
        });
    }
}
