//! Many nodes in one thread under virtual time: a seeded scheduler, and a network that loses, delays, doubles and
//! reorders. What a node does with what arrives is in `engine` and `sync`, what must hold is in `oracle`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use mingzhang_consensus::{Input, Turns};
use mingzhang_ledger::batch::Batch;
use mingzhang_node::mempool::{Arrival, Submitted, Taken};
use rayon::ThreadPool;

use crate::byzantine::Behaviour;
use crate::clerk::{Clerk, Record};
use crate::council::{Generations, Motion};
use crate::engine::Job;
use crate::founding::{AGENCIES, Network, START_MS};
use crate::oracle::Oracle;
use crate::place::Place;
use crate::random::Random;

/// How bad the network is.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub loss_percent: u64,
    pub twice_percent: u64,
    pub delay_min_ms: u64,
    pub delay_max_ms: u64,
    pub sync_max_ms: u64,
    pub execute_max_ms: u64,
}

impl Weather {
    pub const FAIR: Self = Self {
        loss_percent: 0,
        twice_percent: 0,
        delay_min_ms: 5,
        delay_max_ms: 15,
        sync_max_ms: 4,
        execute_max_ms: 5,
    };
    pub const FOUL: Self = Self {
        loss_percent: 12,
        twice_percent: 8,
        delay_min_ms: 1,
        delay_max_ms: 300,
        sync_max_ms: 20,
        execute_max_ms: 60,
    };
}

/// A message on its way.
#[derive(Debug, Clone)]
pub struct Frame {
    pub bytes: Rc<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub enum Event {
    Deliver { to: usize, from: usize, frame: Frame },
    Gossip { to: usize, from: usize, batch: Rc<Batch> },
    Job { place: usize, life: u32, job: Job },
}

pub struct World {
    pub network: Rc<Network>,
    pub pool: Arc<ThreadPool>,
    pub now: u64,
    pub weather: Weather,
    pub random: Random,
    pub places: Vec<Place>,
    pub blocked: BTreeSet<(usize, usize)>,
    pub behaviours: BTreeMap<usize, Behaviour>,
    pub clerk: Clerk,
    pub motion: Option<Motion>,
    /// When the motion is looked at next.
    pub motion_at: u64,
    pub generations: Generations,
    pub oracle: Oracle,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
}

impl World {
    /// One node for every agency, all running.
    pub fn new(network: &Rc<Network>, pool: &Arc<ThreadPool>, seed: u64, weather: Weather) -> Self {
        let mut world = Self {
            network: Rc::clone(network),
            pool: Arc::clone(pool),
            now: START_MS,
            weather,
            random: Random::new(seed),
            places: (0..AGENCIES.len()).map(|agency| Place::new(agency, START_MS)).collect(),
            blocked: BTreeSet::new(),
            behaviours: BTreeMap::new(),
            clerk: Clerk::new(&network.genesis.origin),
            motion: None,
            motion_at: 0,
            generations: [0; AGENCIES.len()],
            oracle: Oracle::new(network),
            events: BTreeMap::new(),
            sequence: 0,
        };
        for place in 0..world.places.len() {
            world.start(place);
        }
        world
    }

    pub fn is_up(&self, place: usize) -> bool {
        self.places[place].running.is_some()
    }

    /// Whether its agency follows the rules; a lost disk is no fault of character.
    pub fn is_honest(&self, place: usize) -> bool {
        !self.behaviours.contains_key(&place)
    }

    pub fn schedule(&mut self, delay_ms: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay_ms, self.sequence), event);
    }

    pub fn schedule_job(&mut self, place: usize, delay_ms: u64, job: Job) {
        let life = self.places[place].life;
        self.schedule(delay_ms, Event::Job { place, life, job });
    }

    pub fn can_reach(&self, from: usize, to: usize) -> bool {
        from != to && self.is_up(from) && self.is_up(to) && !self.blocked.contains(&(from, to))
    }

    pub fn both_reach(&self, one: usize, other: usize) -> bool {
        self.can_reach(one, other) && self.can_reach(other, one)
    }

    pub fn delay(&mut self) -> u64 {
        self.random.between(self.weather.delay_min_ms, self.weather.delay_max_ms)
    }

    /// Into the network, `after_ms` from now: lost, doubled or delayed as the weather has it.
    pub fn post(&mut self, from: usize, to: usize, frame: &Frame, after_ms: u64) {
        self.oracle.sums.messages += 1;
        self.oracle.sums.bytes += frame.bytes.len() as u64;
        if !self.can_reach(from, to) {
            return;
        }
        if self.random.percent(self.weather.loss_percent) {
            return self.oracle.fault("message lost");
        }
        let twice = self.random.percent(self.weather.twice_percent);
        if twice {
            self.oracle.fault("message doubled");
        }
        for _ in 0..=u8::from(twice) {
            let delay = self.delay();
            if delay > 100 {
                self.oracle.fault("message delayed and overtaken");
            }
            self.schedule(after_ms + delay, Event::Deliver { to, from, frame: frame.clone() });
        }
    }

    pub fn run_for(&mut self, span_ms: u64) {
        let end = self.now + span_ms;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, sequence), event) = entry.remove_entry();
            self.now = at;
            self.handle(sequence, event);
        }
        self.now = end;
    }

    fn handle(&mut self, sequence: u64, event: Event) {
        let (Event::Deliver { to, .. } | Event::Gossip { to, .. } | Event::Job { place: to, .. }) = &event;
        let to = *to;
        if self.places[to].paused_until > self.now {
            // In the old order: a paused process overtakes nothing when it goes on.
            self.events.insert((self.places[to].paused_until, sequence), event);
            return;
        }
        self.set_clock(to);
        match event {
            Event::Deliver { from, frame, .. } => {
                if self.can_reach(from, to) {
                    self.oracle.note(&[1, to as u64, from as u64, frame.bytes.len() as u64, self.now]);
                    self.deliver(from, to, &frame);
                }
            }
            Event::Gossip { from, batch, .. } => {
                if self.can_reach(from, to) {
                    self.take_in(to, vec![(*batch).clone()], false);
                }
            }
            Event::Job { life, job, .. } => {
                if self.is_up(to) && self.places[to].life == life {
                    self.oracle.note(&[2, to as u64, job.code(), self.now]);
                    self.perform_job(to, job);
                }
            }
        }
    }

    /// What its own clock shows now.
    pub fn set_clock(&mut self, place: usize) {
        let here = &mut self.places[place];
        let passed = (self.now - START_MS) as i64;
        let local = self.now.saturating_add_signed(here.clock_offset_ms + passed * here.clock_drift_ppm / 1_000_000);
        here.tell_time(self.now, local);
    }

    /// Steps consensus and does what follows.
    pub fn step(&mut self, place: usize, input: Input) {
        self.set_clock(place);
        let local = self.places[place].local_ms();
        let Some(running) = &mut self.places[place].running else { return };
        let effects = running.turns.step(local, input);
        self.perform(place, effects);
        self.set_timer(place);
    }

    pub fn set_timer(&mut self, place: usize) {
        let local = self.places[place].local_ms();
        let here = &mut self.places[place];
        let Some(deadline) = here.running.as_ref().and_then(|running| Turns::deadline(&running.turns)) else { return };
        assert!(deadline > local, "oracle deadline: it lies ahead, or the engine would spin");
        if here.tick_at.is_none_or(|at| deadline < at) {
            here.tick_at = Some(deadline);
            self.schedule_job(place, deadline - local, Job::Tick { at: deadline });
        }
    }

    /// A client hands a record to a node. What an honest node answers for must be final in the end.
    pub fn submit(&mut self, place: usize, record: &Record) {
        self.set_clock(place);
        let answer = self.places[place].submit(record);
        self.oracle.sums.submitted += 1;
        match answer {
            Ok(_) if !self.is_honest(place) => {}
            Ok(Submitted::Admitted(admitted)) => {
                let fresh = !admitted.repeated;
                assert!(!(fresh && self.places[place].is_full()), "oracle disk: a full one takes something new");
                self.oracle.expect(place, record);
            }
            Ok(Submitted::Recorded { transaction_id, index }) => {
                self.oracle.check_recorded(record, &transaction_id, index);
            }
            Err(_) => self.oracle.sums.refused += 1,
        }
        self.gossip(place);
    }

    /// What the mempool packed goes to everybody, and consensus hears what waits.
    pub fn gossip(&mut self, place: usize) {
        let mut batches = self.places[place].pump();
        if self.behaviours.get(&place) == Some(&Behaviour::Withholds) {
            batches.clear();
        }
        for batch in batches {
            let batch = Rc::new(batch);
            for to in 0..self.places.len() {
                if self.can_reach(place, to) && !self.random.percent(self.weather.loss_percent) {
                    let delay = self.delay();
                    self.schedule(delay, Event::Gossip { to, from: place, batch: Rc::clone(&batch) });
                }
            }
        }
        self.tell_work(place);
    }

    pub fn tell_work(&mut self, place: usize) {
        let Some(running) = &self.places[place].running else { return };
        let work = running.blocks.mempool.work().unwrap_or_else(|fault| panic!("oracle store: {fault}"));
        self.step(place, Input::Work(work));
    }

    /// Batches that came from somewhere.
    pub fn take_in(&mut self, place: usize, batches: Vec<Batch>, needed: bool) {
        let Some(running) = &self.places[place].running else { return };
        let arrivals = batches.into_iter().map(|batch| Arrival { batch, needed, author_verified: false }).collect();
        let taken = running.blocks.mempool.take_in(arrivals).unwrap_or_else(|fault| panic!("oracle store: {fault}"));
        for taken in taken {
            match taken {
                Taken::Held | Taken::Ignored(_) => {}
                Taken::Twice(evidence) => self.oracle.accuse(&running.epoch, *evidence),
                Taken::Invalid(code) => panic!("oracle door: a batch is invalid, {code}"),
            }
        }
        self.tell_work(place);
    }
}
