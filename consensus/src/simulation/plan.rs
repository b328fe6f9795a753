//! What goes wrong in one run, and when: drawn from a seed, printed for people, and cut down to what matters by
//! `shrunk`. At most f authorities are faulty in one plan: by their will, by their disk, or by staying away.

use super::byzantine::Behaviour;
use super::random::Random;
use super::{Place, Weather};
use crate::Peer;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Submit {
        node: Place,
        count: u64,
    },
    ChangeSet {
        node: Place,
    },
    Crash {
        node: Place,
    },
    /// The process dies in the middle of what it is about to do.
    CrashAfter {
        node: Place,
        effects: u64,
    },
    SyncFails {
        node: Place,
    },
    Start {
        node: Place,
        unclean: bool,
    },
    /// The disk is lost or an old copy comes back; the operator says so, and the node signs nothing any more.
    LoseDisk {
        node: Place,
    },
    CopyDisk {
        node: Place,
    },
    RollBack {
        node: Place,
    },
    CutOff {
        node: Place,
    },
    /// Nothing arrives at it, or nothing that it says arrives.
    CutOneWay {
        node: Place,
        deaf: bool,
    },
    /// Bit i says on which side place i stands.
    Split {
        sides: u64,
    },
    Heal,
    Pause {
        node: Place,
        span_ms: u64,
    },
    ClockJump {
        node: Place,
        by_ms: i64,
    },
    ClockDrift {
        node: Place,
        ppm: i64,
    },
    Slow {
        node: Place,
        by_ms: u64,
    },
    ExpiryWaits {
        node: Place,
        waits: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub after_ms: u64,
    pub act: Act,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub members: u16,
    pub twins: Vec<Peer>,
    pub behaviours: Vec<(Peer, Behaviour)>,
    /// Stay away at the end: exactly a quorum may be left.
    pub away: Vec<Place>,
    pub foul: bool,
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn weather(&self) -> Weather {
        if self.foul { Weather::FOUL } else { Weather::FAIR }
    }

    /// The plan of a seed: a handful of acts within some ten seconds of virtual time.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let members = [4, 4, 4, 4, 5, 6, 7][random.between(0, 6) as usize];
        let mut plan = Self {
            seed,
            members,
            twins: Vec::new(),
            behaviours: Vec::new(),
            away: Vec::new(),
            foul: random.percent(70),
            steps: Vec::new(),
        };
        let mut doubted = Vec::new();
        let first = random.between(0, u64::from(members) - 1) as Peer;
        let budget = mingzhang_ledger::authority::tolerated_faults(usize::from(members)) as u16;
        for faulty in (0..budget).map(|step| (first + step) % members) {
            match random.between(0, 9) {
                0..=4 => plan.add_byzantine(faulty, &mut random),
                5 => plan.away.push(faulty),
                6 => doubted.push(faulty),
                _ => {}
            }
        }
        let mut draw = Draw { random, members, doubted };
        for _ in 0..draw.random.between(6, 14) {
            let acts = draw.acts();
            plan.steps.extend(acts);
        }
        plan
    }

    fn add_byzantine(&mut self, key: Peer, random: &mut Random) {
        let victim = random.between(0, u64::from(self.members) - 1) as Peer;
        let behaviour = match random.between(0, 15) {
            0..=2 => {
                self.twins.push(key);
                return;
            }
            3 => Behaviour::TwinProposals,
            4 => Behaviour::TwinJusts,
            5 => Behaviour::TwinVotes,
            6 => Behaviour::NeverConfirms,
            7 => Behaviour::WrongHeaders,
            8 => Behaviour::HidesSkips,
            9 => Behaviour::Usurper,
            10 => Behaviour::OneVictim(victim),
            11 => Behaviour::Mutates,
            12 => Behaviour::Pads,
            13 => Behaviour::Replays,
            14 => Behaviour::Boasts,
            _ => Behaviour::Mute,
        };
        self.behaviours.push((key, behaviour));
    }

    /// Every plan that lacks one part of this one, the larger parts first.
    pub fn smaller(&self) -> Vec<Self> {
        let mut plans = Vec::new();
        let mut length = self.steps.len();
        while length > 0 {
            for at in (0..self.steps.len()).step_by(length) {
                let mut plan = self.clone();
                plan.steps.drain(at..(at + length).min(self.steps.len()));
                plans.push(plan);
            }
            length /= 2;
        }
        for at in 0..self.behaviours.len() {
            let mut plan = self.clone();
            plan.behaviours.remove(at);
            plans.push(plan);
        }
        for at in 0..self.twins.len() {
            let mut plan = self.clone();
            plan.twins.remove(at);
            plans.push(plan);
        }
        if self.foul {
            plans.push(Self { foul: false, ..self.clone() });
        }
        plans
    }

    /// The smallest plan that is found to fail as well, within a number of tries.
    pub fn shrunk(self, fails: impl Fn(&Self) -> bool, mut tries: usize) -> Self {
        let mut plan = self;
        'smaller: while tries > 0 {
            for candidate in plan.smaller() {
                tries = tries.saturating_sub(1);
                if fails(&candidate) {
                    plan = candidate;
                    continue 'smaller;
                }
                if tries == 0 {
                    break;
                }
            }
            break;
        }
        plan
    }
}

/// Draws acts.
struct Draw {
    random: Random,
    members: u16,
    /// Places whose disk may be lost.
    doubted: Vec<Place>,
}

impl Draw {
    fn node(&mut self) -> Place {
        self.random.between(0, u64::from(self.members) - 1) as Place
    }

    fn step(&mut self, act: Act) -> Step {
        let after_ms = match self.random.between(0, 3) {
            0 => self.random.between(0, 20),
            1 => self.random.between(0, 300),
            _ => self.random.between(0, 3_000),
        };
        Step { after_ms, act }
    }

    /// An act, with work beside it, or a few that belong together.
    fn acts(&mut self) -> Vec<Step> {
        let node = self.node();
        let mut acts = vec![Act::Submit { node: self.node(), count: self.random.between(1, 4) }];
        match self.random.between(0, 22) {
            0 => acts.push(Act::ChangeSet { node }),
            1..=3 => acts.push(Act::Crash { node }),
            4 | 5 => acts.push(Act::CrashAfter { node, effects: self.random.between(0, 12) }),
            6 => acts.push(Act::SyncFails { node }),
            7..=9 => acts.push(Act::Start { node, unclean: self.random.percent(50) }),
            10 => acts.push(Act::CutOff { node }),
            11 => acts.push(Act::CutOneWay { node, deaf: self.random.percent(50) }),
            12 => acts.push(Act::Split { sides: self.random.next() }),
            13 | 14 => acts.push(Act::Heal),
            15 => {
                for _ in 0..4 {
                    acts.extend([Act::CutOff { node }, Act::Heal]);
                }
            }
            16 => acts.push(Act::Pause { node, span_ms: self.random.between(100, 8_000) }),
            17 => acts.push(Act::ClockJump { node, by_ms: self.random.between(0, 8_000) as i64 - 4_000 }),
            18 => acts.push(Act::ClockDrift { node, ppm: self.random.between(0, 40_000) as i64 - 20_000 }),
            19 => acts.push(Act::Slow { node, by_ms: self.random.between(100, 2_500) }),
            20 => {
                acts.extend([Act::ExpiryWaits { node, waits: true }, Act::ExpiryWaits { node, waits: false }]);
            }
            21 => {
                // Everybody at once.
                acts.extend((0..self.members).map(|node| Act::Crash { node }));
                acts.extend((0..self.members).map(|node| Act::Start { node, unclean: true }));
            }
            _ => self.lose(&mut acts),
        }
        acts.into_iter().map(|act| self.step(act)).collect()
    }

    fn lose(&mut self, acts: &mut Vec<Act>) {
        let Some(node) = self.doubted.pop() else { return };
        if self.random.percent(50) {
            acts.push(Act::LoseDisk { node });
        } else {
            acts.extend([Act::CopyDisk { node }, Act::Submit { node, count: 1 }, Act::RollBack { node }]);
        }
    }
}
