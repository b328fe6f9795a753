//! Small worlds, explored completely: every order of events among a few authorities, of which f say whatever hurts most.
//! What a node may sign is asked of the crate's own book of votes, what starts a turn of its own justifications.
//! `safety` shows that nothing diverges, `leaving` that no turn holds a node for ever.

#![allow(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects)]

mod leaving;
mod safety;

use stateright::{Checker, Model};

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
    let checker = model.checker().threads(THREADS).spawn_bfs().join();
    let violated = checker.discoveries().into_iter().map(|(name, path)| (name.to_owned(), path.into_actions().len()));
    Explored { name, states: checker.unique_state_count(), violated: violated.collect() }
}

/// The worlds that take seconds, each told when it is explored.
pub fn small(tell: &mut dyn FnMut(Explored)) {
    tell(explore("n=4, 1 turn, two justifications", Safety::new(4, 1, Kind::TwoJusts)));
    tell(explore("n=4, boundary proposed again, 2 turns", Safety::new(4, 2, Kind::Boundary)));
    tell(explore("n=4, two epochs of 1 turn", Safety::new(4, 1, Kind::TwoEpochs)));
    tell(explore("n=5, 1 turn, two blocks", Safety::new(5, 1, Kind::Plain)));
    tell(explore("n=4, leaving a turn with crashes", Leaving::new(4, true)));
    tell(explore("n=4, leaving a turn, one holder of demand", Leaving::new(4, false)));
}

/// And those that take minutes: all of them a quarter of an hour at most on two processors.
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
