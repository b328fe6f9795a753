//! What happens in one run, and when: drawn from a seed, printed for people, cut down to what matters by `shrunk`. At most
//! one agency is faulty in one plan: by its will, by its disk, or by staying away.

use crate::byzantine::{ALL, Behaviour};
use crate::founding::{AGENCIES, FOUNDERS};
use crate::place::Damage;
use crate::random::Random;

/// One seed in so many is a long one, in which the authority set goes round.
const ROUNDS: u64 = 10;
/// Acts of a long one; every third proposes the next change, unless one is under way.
const ROUND_ACTS: u64 = 75;

/// One thing that happens; numbers are places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Request, approval and confirmation, each at a node of its own.
    Pay([usize; 3]),
    Anchor(usize),
    /// One record handed to two nodes.
    TwoDoors(usize, usize),
    /// Two records under one id, each handed to a node of its own.
    Rivals(usize, usize),
    /// A record that was recorded long ago, or was not, handed in again.
    Again(usize),
    /// The next change of the authority set is proposed.
    Change,
    Crash(usize),
    CrashAfter(usize, u64),
    /// Its next sync fails.
    SyncFails(usize),
    /// Its disk is full until everything heals.
    FullDisk(usize),
    Stop(usize),
    Start(usize),
    LoseDisk(usize),
    /// It crashes, and comes back with a damaged disk.
    Damage(usize, Damage),
    CutOff(usize),
    CutOneWay(usize, bool),
    /// Bit i says on which side place i stands.
    Split(u64),
    Heal,
    Pause(usize, u64),
    ClockJump(usize, i64),
    ClockDrift(usize, i64),
    Slow(usize, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub after_ms: u64,
    pub act: Act,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub behaviour: Option<(usize, Behaviour)>,
    /// Does not come back at the end.
    pub away: Option<usize>,
    pub foul: bool,
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let mut plan = Self { seed, behaviour: None, away: None, foul: random.percent(60), steps: Vec::new() };
        let faulty = random.pick(FOUNDERS);
        let mut doubted = None;
        match random.between(0, 9) {
            0..=4 => plan.behaviour = Some((faulty, ALL[random.pick(ALL.len())])),
            5 => plan.away = Some(faulty),
            6 | 7 => doubted = Some(faulty),
            _ => {}
        }
        let (round, changes) = (seed % ROUNDS == ROUNDS - 1, random.percent(50));
        let mut draw = Draw { random, changes };
        let acts = if round { ROUND_ACTS } else { draw.random.between(8, 16) };
        for number in 0..acts {
            let mut acts = draw.acts();
            if round && number % 3 == 0 {
                acts.push(draw.step(Act::Change));
            }
            plan.steps.extend(acts);
        }
        if let Some(place) = doubted {
            let act = draw.disk_fault(place);
            let step = draw.step(act);
            plan.steps.insert(draw.random.pick(plan.steps.len()), step);
        }
        plan
    }

    /// Every plan that lacks one part of this one, the larger parts first.
    fn smaller(&self) -> Vec<Self> {
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
        if self.behaviour.is_some() {
            plans.push(Self { behaviour: None, ..self.clone() });
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
    changes: bool,
}

impl Draw {
    fn place(&mut self) -> usize {
        self.random.pick(AGENCIES.len())
    }

    fn founder(&mut self) -> usize {
        self.random.pick(FOUNDERS)
    }

    fn step(&mut self, act: Act) -> Step {
        let after_ms = match self.random.between(0, 3) {
            0 => self.random.between(0, 20),
            1 => self.random.between(0, 300),
            _ => self.random.between(0, 2_500),
        };
        Step { after_ms, act }
    }

    /// Work, and mostly a fault beside it.
    fn acts(&mut self) -> Vec<Step> {
        let mut acts = vec![self.work()];
        let place = self.place();
        match self.random.between(0, 20) {
            0..=2 => acts.push(if self.changes { Act::Change } else { Act::Heal }),
            3 | 4 => acts.push(Act::Crash(place)),
            5 | 6 => acts.push(Act::CrashAfter(place, self.random.between(0, 12))),
            7 => acts.push(Act::Stop(place)),
            8..=10 => acts.push(Act::Start(place)),
            11 => acts.push(Act::CutOff(place)),
            12 => acts.push(Act::CutOneWay(place, self.random.percent(50))),
            13 => acts.push(Act::Split(self.random.next())),
            14 => acts.push(Act::Pause(place, self.random.between(100, 6_000))),
            15 => acts.push(Act::ClockJump(place, self.random.between(0, 3_000) as i64 - 1_500)),
            16 => acts.push(Act::ClockDrift(place, self.random.between(0, 40_000) as i64 - 20_000)),
            17 => acts.push(Act::Slow(place, self.random.between(100, 1_500))),
            18 => acts.push(Act::SyncFails(place)),
            19 => acts.push(Act::FullDisk(place)),
            _ => {
                acts.extend((0..AGENCIES.len()).map(Act::Crash));
                acts.extend((0..AGENCIES.len()).map(Act::Start));
            }
        }
        acts.into_iter().map(|act| self.step(act)).collect()
    }

    fn disk_fault(&mut self, place: usize) -> Act {
        match self.random.between(0, 3) {
            0 => Act::LoseDisk(place),
            1 => Act::Damage(place, Damage::FlippedBit),
            _ => Act::Damage(place, Damage::ZeroedPage),
        }
    }

    fn work(&mut self) -> Act {
        let (one, other, third) = (self.founder(), self.founder(), self.founder());
        match self.random.between(0, 9) {
            0..=4 => Act::Pay([one, other, third]),
            5 => Act::Anchor(self.place()),
            6 | 7 => Act::TwoDoors(one, other),
            8 => Act::Rivals(one, (one + 1) % FOUNDERS),
            _ => Act::Again(one),
        }
    }
}
