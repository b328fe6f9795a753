//! One run: the books are opened, a plan is carried out, everything heals, and what then must hold is checked.

use std::rc::Rc;
use std::sync::Arc;

use mingzhang_ledger::records::governance::NextSet;
use mingzhang_ledger::state::{Overlay, key};
use rayon::ThreadPool;

use crate::clerk::Record;
use crate::council::{Change, Motion, ready};
use crate::founding::{Network, START_MS, consensus_key};
use crate::place::Damage;
use crate::plan::{Act, Plan};
use crate::sums::Sums;
use crate::world::{Weather, World};

/// Fair weather lasts at most this long before everything must be final everywhere.
const PATIENCE_MS: u64 = 900_000;
/// How often what a change of the authority set still lacks is said again.
const MOTION_INTERVAL_MS: u64 = 3_000;

/// Who joins and leaves, in turn: four, five, seven, six, four, and again.
fn changes() -> [Change; 4] {
    let change = |join: &[usize], leave: &[usize]| Change { join: join.to_vec(), leave: leave.to_vec() };
    [change(&[4], &[]), change(&[5, 6], &[]), change(&[], &[1]), change(&[], &[0, 4])]
}

/// Carries out a plan. Panics where an oracle is violated.
pub fn run(network: &Rc<Network>, pool: &Arc<ThreadPool>, plan: &Plan) -> Sums {
    let mut world = World::new(network, pool, plan.seed, Weather::FAIR);
    world.open_books();
    world.behaviours.extend(plan.behaviour);
    if plan.foul {
        world.weather = Weather::FOUL;
    }
    for step in &plan.steps {
        world.run_for(step.after_ms);
        world.act(step.act);
        world.pursue_motion();
    }
    world.run_for(2_000);
    world.settle(plan.away);
    let mut sums = world.oracle.sums.clone();
    sums.virtual_ms = world.now - START_MS;
    sums
}

impl World {
    /// Programmes, accounts and grants, before anything goes wrong.
    fn open_books(&mut self) {
        self.run_for(3_000);
        for record in self.clerk.preparation() {
            self.submit(0, &record);
        }
        self.run_for(4_000);
        assert_eq!(self.incomplete(), None, "oracle progress: the books are open");
        assert_eq!(self.oracle.sums.rejected(), 0, "every record of the opening is applied");
    }

    fn act(&mut self, act: Act) {
        let now = self.now;
        match act {
            Act::Pay(places) => {
                let records = self.clerk.payment(&mut self.random, now);
                for (place, record) in places.into_iter().zip(records) {
                    self.hand_in(place, &record);
                }
            }
            Act::Anchor(place) => {
                let record = self.clerk.anchor(&mut self.random, now);
                self.hand_in(place, &record);
            }
            Act::TwoDoors(one, other) => {
                let record = self.clerk.anchor(&mut self.random, now);
                self.hand_in(one, &record);
                self.hand_in(other, &record);
            }
            Act::Rivals(one, other) => {
                let [first, second] = self.clerk.rivals(&mut self.random, now);
                self.hand_in(one, &first);
                self.hand_in(other, &second);
            }
            Act::Again(place) => {
                let known: Vec<Record> =
                    self.oracle.promised.values().flatten().map(|promise| promise.record.clone()).collect();
                if !known.is_empty() {
                    let record = known[self.random.pick(known.len())].clone();
                    self.hand_in(place, &record);
                }
            }
            Act::Change => self.propose_change(),
            _ => self.act_on_place(act),
        }
    }

    fn act_on_place(&mut self, act: Act) {
        match act {
            Act::Crash(place) if self.is_up(place) => {
                self.oracle.fault("crash");
                self.crash(place);
            }
            Act::CrashAfter(place, effects) if self.is_up(place) => self.places[place].effects_left = Some(effects),
            Act::SyncFails(place) => self.places[place].sync_fails = true,
            Act::FullDisk(place) => {
                self.oracle.fault("disk full");
                self.places[place].set_full(true);
            }
            Act::Stop(place) if self.is_up(place) => {
                self.oracle.fault("stop in good order");
                self.places[place].stop().unwrap_or_else(|fault| panic!("oracle store: {fault}"));
                self.tell_gone(place);
            }
            Act::Start(place) if !self.is_up(place) => {
                self.oracle.fault("restart");
                self.start(place);
            }
            Act::LoseDisk(place) => self.lose_disk(place),
            Act::Damage(place, damage) => self.damage_disk(place, damage),
            Act::Pause(place, span_ms) => {
                self.oracle.fault("pause");
                let until = self.now + span_ms;
                // A pause within a pause: what the longer one holds back is not overtaken.
                self.places[place].paused_until = self.places[place].paused_until.max(until);
            }
            Act::ClockJump(place, by_ms) => {
                self.oracle.fault("clock jump");
                self.places[place].clock_offset_ms += by_ms;
                self.step(place, mingzhang_consensus::Input::Tick);
            }
            Act::ClockDrift(place, ppm) => {
                self.oracle.fault("clock drift");
                self.places[place].clock_drift_ppm = ppm;
            }
            Act::Slow(place, by_ms) => {
                self.oracle.fault("slow execution");
                self.places[place].slow_ms = by_ms;
            }
            _ => self.act_on_links(act),
        }
    }

    fn act_on_links(&mut self, act: Act) {
        let others = |world: &Self, place: usize| -> Vec<usize> {
            (0..world.places.len()).filter(|other| *other != place).collect()
        };
        match act {
            Act::CutOff(place) => {
                self.oracle.fault("node cut off");
                let others = others(self, place);
                self.cut(&[place], &others);
            }
            Act::CutOneWay(place, deaf) => {
                self.oracle.fault("one-way cut");
                let others = others(self, place);
                if deaf {
                    self.cut_one_way(&others, &[place]);
                } else {
                    self.cut_one_way(&[place], &others);
                }
            }
            Act::Split(sides) => {
                self.oracle.fault("split");
                let (one, other): (Vec<usize>, Vec<usize>) =
                    (0..self.places.len()).partition(|place| (sides >> place) & 1 == 1);
                self.cut(&one, &other);
            }
            Act::Heal => {
                self.oracle.fault("everybody healed");
                self.heal();
                self.places.iter_mut().for_each(|place| place.set_full(false));
            }
            _ => {}
        }
    }

    fn tell_gone(&mut self, place: usize) {
        for other in 0..self.places.len() {
            if other != place && self.is_up(other) {
                self.tell_link(other, place, false);
            }
        }
    }

    /// To a node that is up; before it is a record's expiry, nobody can prove that it will never be recorded.
    fn hand_in(&mut self, place: usize, record: &Record) {
        if self.is_up(place) {
            self.check_not_yet_expired(record);
            self.submit(place, record);
        }
    }

    /// What it answered for and nobody else has, is lost with the disk.
    fn lose_disk(&mut self, place: usize) {
        self.oracle.fault("disk lost");
        if self.is_up(place) {
            self.crash(place);
        }
        self.forget_promises(place);
        self.places[place].lose_disk();
        self.start(place);
    }

    /// What it answered for may be among what is damaged.
    fn damage_disk(&mut self, place: usize, damage: Damage) {
        if !self.is_up(place) {
            return;
        }
        self.crash(place);
        if self.places[place].damage(damage, &mut self.random) {
            self.oracle.fault(damage.name());
            self.forget_promises(place);
        }
        self.start(place);
        if self.places[place].doubted {
            self.oracle.fault("disk in doubt");
        }
    }

    fn forget_promises(&mut self, place: usize) {
        for promises in self.oracle.promised.values_mut() {
            promises.retain(|promise| promise.place != place);
        }
        self.oracle.promised.retain(|_, promises| !promises.is_empty());
    }

    /// Places with a seat in the newest epoch, in turn order.
    pub fn members(&self) -> Vec<usize> {
        let set = self.oracle.sets.last().expect("the founding set");
        let place = |agency: &str| self.places.iter().position(|place| place.name() == agency).expect("an agency");
        set.members.iter().map(|member| place(&member.agency)).collect()
    }

    fn propose_change(&mut self) {
        if self.motion.is_some() {
            return;
        }
        self.oracle.fault("change of authorities");
        let epoch = self.oracle.sets.last().expect("the founding set").epoch + 1;
        let members = self.members();
        let change = changes().into_iter().cycle().nth(epoch as usize - 1).expect("an endless row");
        // Who left in an earlier round comes back, and the seats of others are free.
        let outside = (0..self.places.len()).rev().filter(|place| !members.contains(place)).collect::<Vec<_>>();
        let join: Vec<usize> = outside.into_iter().take(change.join.len()).collect();
        let leave: Vec<usize> = members.iter().rev().take(change.leave.len()).copied().collect();
        for place in &join {
            self.generations[*place] += 1;
            self.renew_keys(*place);
        }
        self.motion = Some(Motion { change: Change { join, leave }, epoch, tries: 0 });
        self.motion_at = 0;
    }

    /// A node that is to join takes its new keys, as its operator would start it with them.
    fn renew_keys(&mut self, place: usize) {
        self.places[place].generation = self.generations[place];
        let key = consensus_key(self.places[place].name(), self.generations[place]).public();
        if let Some(running) = &self.places[place].running {
            running.blocks.store.settle_doubt(&key).unwrap_or_else(|fault| panic!("oracle store: {fault}"));
        }
        (self.places[place].doubted, self.places[place].damaged) = (false, false);
    }

    /// Does what the change of the authority set still lacks.
    pub fn pursue_motion(&mut self) {
        let Some(mut motion) = self.motion.clone() else { return };
        if self.oracle.sets.last().is_some_and(|set| set.epoch >= motion.epoch) {
            self.motion = None;
            return;
        }
        if self.now < self.motion_at {
            return;
        }
        self.motion_at = self.now + MOTION_INTERVAL_MS;
        motion.tries += 1;
        let members = self.members();
        let next: Option<NextSet> = Overlay::new(&self.oracle.state).get(&key::set_next()).expect("a state in memory");
        let agreed = next.is_some_and(|next| next.change.is_some());
        let network = self.network.clone();
        let records = if agreed {
            let ready_of = |world: &Self, place: usize| {
                let height = world.places[place].running.as_ref()?.blocks.store.tip().height;
                Some(ready(&world.clerk, &network, place, (motion.epoch, height, motion.tries), world.now))
            };
            let staying = members.iter().filter(|place| !motion.change.leave.contains(place));
            staying.chain(&motion.change.join).filter_map(|place| ready_of(self, *place)).collect()
        } else {
            motion.records(&self.clerk, &network, (&members, &self.generations), self.now)
        };
        let up: Vec<usize> = members.into_iter().filter(|place| self.is_up(*place) && self.is_honest(*place)).collect();
        self.motion = Some(motion);
        if !up.is_empty() {
            let place = up[self.random.pick(up.len())];
            for record in records {
                // It may die of the one before.
                if self.is_up(place) {
                    self.submit(place, &record);
                }
            }
        }
    }

    /// Everything heals but who stays away; then all that was answered is final everywhere, and new work is final soon.
    fn settle(&mut self, away: Option<usize>) {
        self.weather = Weather::FAIR;
        self.heal();
        if let Some(place) = away {
            self.forget_promises(place);
            if self.is_up(place) {
                self.crash(place);
            }
        }
        for place in 0..self.places.len() {
            let here = &mut self.places[place];
            (here.clock_drift_ppm, here.clock_offset_ms, here.slow_ms) = (0, 0, 0);
            (here.effects_left, here.sync_fails, here.paused_until) = (None, false, 0);
            here.set_full(false);
            if self.is_up(place) {
                self.step(place, mingzhang_consensus::Input::Tick);
                self.tell_work(place);
            } else if Some(place) != away {
                self.start(place);
            }
        }
        self.run_until_complete();
        for place in self.members() {
            if self.is_honest(place) && self.is_up(place) && !self.places[place].doubted {
                let record = self.clerk.lasting(self.now);
                self.submit(place, &record);
            }
        }
        self.run_until_complete();
        self.audit();
    }

    fn run_until_complete(&mut self) {
        let end = self.now + PATIENCE_MS;
        self.run_for(1_000);
        while (self.incomplete().is_some() || self.motion.is_some()) && self.now < end {
            self.hand_in_again();
            self.pursue_motion();
            self.run_for(MOTION_INTERVAL_MS);
        }
        let fault = self.incomplete();
        assert!(fault.is_none(), "oracle progress: {}; {}", fault.unwrap_or_default(), self.situation());
        assert!(self.motion.is_none(), "oracle progress: the change of the set never came: {:?}", self.motion);
        self.oracle.sums.checks += 2;
    }

    /// A node without a seat can keep no promise: its clients go to another.
    fn hand_in_again(&mut self) {
        let members = self.members();
        let lost = |world: &Self| -> Vec<Record> {
            let unrecorded =
                world.oracle.promised.iter().filter(|(reference, _)| !world.oracle.recorded.contains_key(reference));
            let stranded = unrecorded.filter(|(_, all)| all.iter().all(|promise| !members.contains(&promise.place)));
            stranded.map(|(_, all)| all[0].record.clone()).collect()
        };
        for record in lost(self) {
            let mut up = members.iter().copied().filter(|place| self.is_up(*place) && self.is_honest(*place));
            if let Some(place) = up.next_back() {
                self.submit(place, &record);
            }
        }
    }
}
