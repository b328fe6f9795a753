//! One turn, exactly a quorum of honest authorities that stay, and f that vote once for whom they like and fall silent.
//! Whatever crashes and losses come first: once everything that is said again has arrived, everybody has left the turn,
//! and a block that nobody skipped is final.

use mingzhang_ledger::authority::{quorum, tolerated_faults};
use stateright::{Model, Property};

use crate::mutants;

/// One honest authority. Sets of authorities are bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Node {
    // Durable.
    endorsed: bool,
    skipped: bool,
    confirmed: bool,
    // Known until the next crash.
    endorsers: u8,
    skippers: u8,
    certified: bool,
    given_up: bool,
    demand: bool,
    validated: bool,
    crashed: bool,
    /// Its own SKIP is in its tally and is said again.
    recounts: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    nodes: Vec<Node>,
    /// How many votes the faulty ones still cast.
    faulty_left: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Validate(usize),
    Endorse(usize),
    TimeOut(usize),
    Confirm(usize),
    /// A vote that is said again reaches somebody.
    Hear {
        from: usize,
        to: usize,
    },
    /// A certificate is relayed.
    Relay {
        from: usize,
        to: usize,
    },
    ShowDemand {
        from: usize,
        to: usize,
    },
    Crash(usize),
    FaultyEndorses {
        to: usize,
    },
    FaultySkips {
        to: usize,
    },
}

pub struct Leaving {
    members: usize,
    /// With crashes and demand everywhere; else without crashes, and one authority alone knows of work.
    crashes: bool,
    /// Every order of the honest authorities that leaves the first in its place.
    orders: Vec<Vec<usize>>,
}

impl Node {
    fn left(&self) -> bool {
        self.certified || self.given_up
    }
}

impl Leaving {
    pub fn new(members: usize, crashes: bool) -> Self {
        let honest = members - tolerated_faults(members);
        let mut orders = vec![vec![0]];
        for next in 1..honest {
            // The next one at every place behind the first.
            orders = orders
                .iter()
                .flat_map(|order| (1..=order.len()).map(|at| [&order[..at], &[next], &order[at..]].concat()))
                .collect();
        }
        Self { members, crashes, orders }
    }

    fn honest(&self) -> usize {
        self.members - tolerated_faults(self.members)
    }

    fn is_quorum(&self, set: u8) -> bool {
        set.count_ones() as usize >= quorum(self.members)
    }

    fn settle(&self, node: &mut Node) {
        node.certified |= self.is_quorum(node.endorsers);
        node.given_up |= self.is_quorum(node.skippers);
        if node.left() {
            // Who left counts no more votes of this turn.
            (node.endorsers, node.skippers) = (0, 0);
        }
    }

    /// What happens in the end, because it is tried again and again.
    fn fair(&self, state: &State) -> Vec<Step> {
        let mut steps = Vec::new();
        let nodes = &state.nodes;
        for (from, node) in nodes.iter().enumerate() {
            // Without work nobody proposes; in the world of one holder the proposer is silent.
            if self.crashes && !node.validated {
                steps.push(Step::Validate(from));
            }
            if node.validated && !node.endorsed && !node.skipped && !node.left() {
                steps.push(Step::Endorse(from));
            }
            if node.demand && !node.skipped && !node.confirmed && !node.left() {
                steps.push(Step::TimeOut(from));
            }
            let may_confirm = node.endorsed || (node.validated && !mutants::NO_LATE_PATH.on());
            if node.certified && may_confirm && !node.skipped && !node.confirmed {
                steps.push(Step::Confirm(from));
            }
            for to in (0..nodes.len()).filter(|to| *to != from) {
                let (bit, other) = (1u8 << from, &nodes[to]);
                let news = (node.endorsed && other.endorsers & bit == 0)
                    || (node.skipped && node.recounts && other.skippers & bit == 0);
                if !node.left() && !other.left() && news {
                    steps.push(Step::Hear { from, to });
                }
                let learns = (node.certified && !other.certified) || (node.given_up && !other.given_up);
                if learns && !mutants::CERTIFICATES_NOT_RELAYED.on() {
                    steps.push(Step::Relay { from, to });
                }
                if node.demand && !other.demand && !mutants::DEMAND_NOT_SHOWN.on() {
                    steps.push(Step::ShowDemand { from, to });
                }
            }
        }
        steps
    }

    fn crashed(node: &Node) -> Node {
        let kept = node.confirmed && !mutants::CONFIRMED_WITHOUT_CERTIFICATE.on();
        Node {
            endorsed: node.endorsed,
            skipped: node.skipped,
            confirmed: node.confirmed,
            certified: kept,
            demand: node.demand,
            crashed: true,
            recounts: !mutants::SKIP_NOT_RECOUNTED.on(),
            ..Node::default()
        }
    }

    /// Authorities other than the first are alike: of all the orders of them, the smallest stands for the state.
    fn alike(&self, state: &State) -> State {
        let honest = state.nodes.len();
        let ordered = self.orders.iter().map(|order| {
            let moved = |set: u8| {
                let faulty = set >> honest << honest;
                (0..honest).filter(|place| set & (1 << order[*place]) != 0).fold(faulty, |sum, place| sum | 1 << place)
            };
            let nodes = order.iter().map(|from| {
                let node = state.nodes[*from];
                Node { endorsers: moved(node.endorsers), skippers: moved(node.skippers), ..node }
            });
            nodes.collect::<Vec<Node>>()
        });
        State { nodes: ordered.min().unwrap_or_default(), faulty_left: state.faulty_left }
    }

    /// Own stored votes are in the own tally.
    fn recount(node: &mut Node, bit: u8) {
        if node.endorsed {
            node.endorsers |= bit;
        }
        if node.skipped && node.recounts {
            node.skippers |= bit;
        }
    }
}

impl Model for Leaving {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let fresh = Node { demand: self.crashes, recounts: true, ..Node::default() };
        let mut nodes = vec![fresh; self.honest()];
        nodes[0].demand = true;
        let faulty_left = if self.crashes { tolerated_faults(self.members) } else { 0 };
        vec![State { nodes, faulty_left }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        actions.extend(self.fair(state));
        if !self.crashes {
            return;
        }
        // Authorities are alike: the first is the one that crashes, once, and that the faulty ones choose to serve.
        if !state.nodes[0].crashed {
            actions.push(Step::Crash(0));
        }
        if state.faulty_left > 0 {
            actions.extend([Step::FaultyEndorses { to: 0 }, Step::FaultySkips { to: 0 }]);
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        let faulty = 1u8 << (self.honest() + state.faulty_left.saturating_sub(1));
        match step {
            Step::Validate(at) => next.nodes[at].validated = true,
            Step::Endorse(at) => next.nodes[at].endorsed = true,
            Step::TimeOut(at) => next.nodes[at].skipped = true,
            Step::Confirm(at) => next.nodes[at].confirmed = true,
            Step::Hear { from, to } => {
                let bit = 1u8 << from;
                if state.nodes[from].endorsed {
                    next.nodes[to].endorsers |= bit;
                }
                if state.nodes[from].skipped && state.nodes[from].recounts {
                    next.nodes[to].skippers |= bit;
                }
            }
            Step::Relay { from, to } => {
                next.nodes[to].certified |= state.nodes[from].certified;
                next.nodes[to].given_up |= state.nodes[from].given_up;
            }
            Step::ShowDemand { to, .. } => next.nodes[to].demand = true,
            Step::Crash(at) => next.nodes[at] = Self::crashed(&state.nodes[at]),
            Step::FaultyEndorses { to } => {
                next.faulty_left -= 1;
                next.nodes[to].endorsers |= faulty;
            }
            Step::FaultySkips { to } => {
                next.faulty_left -= 1;
                next.nodes[to].skippers |= faulty;
            }
        }
        for at in 0..next.nodes.len() {
            Self::recount(&mut next.nodes[at], 1 << at);
            let mut node = next.nodes[at];
            self.settle(&mut node);
            next.nodes[at] = node;
        }
        Some(self.alike(&next))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("everybody leaves the turn", |model: &Self, state: &State| {
                !model.fair(state).is_empty() || state.nodes.iter().all(Node::left)
            }),
            Property::always("what nobody skipped is final", |model: &Self, state: &State| {
                let certified = state.nodes.iter().any(|node| node.certified);
                let skipped = state.nodes.iter().any(|node| node.skipped);
                let everybody = state.nodes.iter().all(|node| node.confirmed);
                !model.fair(state).is_empty() || !certified || skipped || everybody
            }),
        ]
    }
}
