//! One run: a plan is carried out, everything heals, and what then must hold is checked. What comes out is numbers.

use std::collections::BTreeMap;

use super::disk::Disk;
use super::plan::{Act, Plan};
use super::{Place, START_MS, Weather, World};
use crate::Input;

/// Fair weather lasts at most this long before everything must be final everywhere.
const PATIENCE_MS: u64 = 900_000;

/// What one run, or many, added up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    pub runs: u64,
    pub virtual_ms: u64,
    pub blocks: u64,
    pub records: u64,
    pub epochs: u64,
    pub messages: u64,
    pub bytes: u64,
    pub checks: u64,
    pub evidence: u64,
    pub faults: BTreeMap<&'static str, u64>,
    /// Folds every event, so that two runs of one seed can be compared.
    pub history: u64,
}

impl Sums {
    pub fn of(world: &World) -> Self {
        let oracle = &world.oracle;
        Self {
            runs: 1,
            virtual_ms: world.now - START_MS,
            blocks: oracle.agreed.len() as u64,
            records: oracle.records,
            epochs: oracle.epochs,
            messages: oracle.messages,
            bytes: oracle.bytes,
            checks: oracle.checks,
            evidence: oracle.evidence.len() as u64,
            faults: oracle.faults.clone(),
            history: oracle.history,
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.virtual_ms += other.virtual_ms;
        self.blocks += other.blocks;
        self.records += other.records;
        self.epochs += other.epochs;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.checks += other.checks;
        self.evidence += other.evidence;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.history = self.history.rotate_left(7) ^ other.history;
    }

    /// Names of sums that are zero: a run that proves nothing of them.
    pub fn zeros(&self) -> Vec<&'static str> {
        let sums = [
            ("virtual time", self.virtual_ms),
            ("blocks", self.blocks),
            ("records", self.records),
            ("epochs", self.epochs),
            ("messages", self.messages),
            ("checks", self.checks),
            ("evidence", self.evidence),
        ];
        let sums = sums.into_iter().filter(|(_, sum)| *sum == 0).map(|(name, _)| name);
        sums.chain(FAULTS.into_iter().filter(|kind| !self.faults.contains_key(kind))).collect()
    }
}

/// Every kind of fault that a long run must have met.
const FAULTS: [&str; 24] = [
    "byzantine message",
    "change of authorities",
    "clock drift",
    "clock jump",
    "crash",
    "crash between two effects",
    "disk lost",
    "disk rolled back",
    "everybody healed",
    "message delayed and overtaken",
    "message doubled",
    "message lost",
    "node cut off",
    "one-way cut",
    "pause",
    "range caught up",
    "restart",
    "restart after an unclean stop",
    "same block under two justifications",
    "slow execution",
    "split",
    "sync failed, process stopped",
    "twin instance",
    "unsynced writes lost",
];

/// Carries out a plan. Panics where an oracle is violated.
pub fn run(plan: &Plan) -> Sums {
    let mut world = World::with_twins(plan.members, &plan.twins, plan.seed, plan.weather());
    world.behaviours.extend(plan.behaviours.iter().copied());
    let mut copies = BTreeMap::new();
    for _ in &plan.twins {
        world.oracle.fault("twin instance");
    }
    world.split_twins();
    for step in &plan.steps {
        world.run_for(step.after_ms);
        world.act(step.act, &mut copies);
    }
    world.run_for(2_000);
    world.settle(&plan.away);
    Sums::of(&world)
}

impl World {
    /// Each twin speaks to one half of the others, so that both are believed for a while.
    pub fn split_twins(&mut self) {
        let members = self.members();
        for twin in members..self.places().end {
            let key = self.node(twin).key;
            for other in (0..members).filter(|other| *other != key) {
                let silent = if other % 2 == 0 { twin } else { key };
                self.cut(&[silent], &[other]);
            }
        }
    }

    pub fn act(&mut self, act: Act, copies: &mut BTreeMap<Place, Disk>) {
        match act {
            Act::Submit { node, count } if self.is_up(node) => self.submit(node, count),
            Act::ChangeSet { node } if self.is_up(node) => {
                self.oracle.fault("change of authorities");
                self.submit_change(node);
            }
            Act::Crash { node } if self.is_up(node) => {
                self.oracle.fault("crash");
                self.crash(node);
            }
            Act::CrashAfter { node, effects } if self.is_up(node) => self.node_mut(node).effects_left = Some(effects),
            Act::SyncFails { node } if self.is_up(node) => self.node_mut(node).sync_fails = true,
            Act::Start { node, unclean } if !self.is_up(node) => {
                let kind = if unclean { "restart after an unclean stop" } else { "restart" };
                self.oracle.fault(kind);
                self.start(node, unclean);
            }
            Act::CopyDisk { node } => {
                let mut disk = self.node(node).disk.clone();
                disk.sync(disk.end());
                copies.insert(node, disk);
            }
            Act::LoseDisk { node } => self.replace_disk(node, Disk::default(), "disk lost"),
            Act::RollBack { node } => {
                let disk = copies.remove(&node).unwrap_or_default();
                self.replace_disk(node, disk, "disk rolled back");
            }
            Act::CutOff { .. } | Act::CutOneWay { .. } | Act::Split { .. } | Act::Heal => self.act_on_links(act),
            Act::Pause { node, span_ms } => {
                self.oracle.fault("pause");
                let until = self.now + span_ms;
                let place = self.node_mut(node);
                place.paused_until = place.paused_until.max(until);
            }
            Act::ClockJump { node, by_ms } => {
                self.oracle.fault("clock jump");
                self.node_mut(node).clock_offset_ms += by_ms;
                self.step(node, Input::Tick);
            }
            Act::ClockDrift { node, ppm } => {
                self.oracle.fault("clock drift");
                self.node_mut(node).clock_drift_ppm = ppm;
            }
            Act::Slow { node, by_ms } => {
                self.oracle.fault("slow execution");
                self.node_mut(node).slow_ms = by_ms;
            }
            Act::ExpiryWaits { node, waits } if self.is_up(node) => {
                self.node_mut(node).expiry_waits = waits;
                self.tell_work(node);
            }
            Act::Submit { .. }
            | Act::ChangeSet { .. }
            | Act::Crash { .. }
            | Act::CrashAfter { .. }
            | Act::SyncFails { .. }
            | Act::Start { .. }
            | Act::ExpiryWaits { .. } => {}
        }
    }

    fn act_on_links(&mut self, act: Act) {
        match act {
            Act::CutOff { node } => {
                self.oracle.fault("node cut off");
                let others: Vec<Place> = self.places().filter(|other| *other != node).collect();
                self.cut(&[node], &others);
            }
            Act::CutOneWay { node, deaf } => {
                self.oracle.fault("one-way cut");
                let others: Vec<Place> = self.places().filter(|other| *other != node).collect();
                if deaf {
                    self.cut_one_way(&others, &[node]);
                } else {
                    self.cut_one_way(&[node], &others);
                }
            }
            Act::Split { sides } => {
                self.oracle.fault("split");
                let (one, other): (Vec<Place>, Vec<Place>) =
                    self.places().partition(|place| (sides >> (place % 64)) & 1 == 1);
                self.cut(&one, &other);
            }
            _ => {
                self.oracle.fault("everybody healed");
                self.heal();
                self.split_twins();
            }
        }
    }

    /// What it answered for and nobody else has, is lost with the disk.
    fn replace_disk(&mut self, node: Place, disk: Disk, kind: &'static str) {
        self.oracle.fault(kind);
        if self.is_up(node) {
            self.crash(node);
        }
        for number in self.node(node).disk.view().admitted {
            self.oracle.expected.remove(&number);
        }
        let place = self.node_mut(node);
        place.disk = disk;
        place.doubted = true;
        self.start(node, true);
    }

    /// Everything heals but who stays away; then all that was answered is final everywhere, new work is final soon,
    /// and without work there is silence.
    pub fn settle(&mut self, away: &[Place]) {
        self.weather = Weather::FAIR;
        self.heal();
        self.split_twins();
        for node in self.places() {
            let passed = self.local_ms(node) as i64 - self.now as i64;
            let place = self.node_mut(node);
            (place.clock_drift_ppm, place.clock_offset_ms, place.slow_ms) = (0, 0, 0);
            (place.effects_left, place.sync_fails, place.expiry_waits) = (None, false, false);
            if passed != 0 {
                self.step(node, Input::Tick);
            }
            if away.contains(&node) {
                self.send_away(node);
            } else if self.is_up(node) {
                self.tell_work(node);
            } else {
                self.start(node, true);
            }
        }
        self.run_until_complete();
        for node in self.places() {
            if self.is_honest(node) && self.is_up(node) && !self.node(node).doubted {
                self.submit(node, 1);
            }
        }
        self.run_until_complete();
        self.check_quiet();
        if self.behaviours.is_empty() {
            self.check_silence();
        }
    }

    /// What only it answered for comes when it comes back.
    fn send_away(&mut self, node: Place) {
        for number in self.node(node).disk.view().admitted {
            self.oracle.expected.remove(&number);
        }
        if self.is_up(node) {
            self.crash(node);
        }
    }

    fn run_until_complete(&mut self) {
        let end = self.now + PATIENCE_MS;
        self.run_for(1_000);
        while self.incomplete().is_some() && self.now < end {
            self.run_for(5_000);
        }
        self.check_complete();
    }

    /// Oracle: after two minutes without work, ten minutes without a message.
    fn check_silence(&mut self) {
        self.run_for(130_000);
        let before = self.oracle.messages;
        self.run_for(600_000);
        let said = self.oracle.messages - before;
        assert_eq!(said, 0, "oracle silence: {said} messages of an idle network within ten minutes");
        self.oracle.checks += 1;
    }
}
