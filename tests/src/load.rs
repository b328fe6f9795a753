//! A steady load on a network that is being hurt, and what must hold of its answers afterwards: every record that was answered
//! is where the answer said, once, in the same blocks of every node, and an auditor finds it. What hurts the network is the
//! tests' matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use mingzhang_ledger::crypto::sha256;

use crate::world::{Officer, Seat, World};

/// Submitters at the same time, each with one record under way.
const SUBMITTERS: u64 = 4;
/// Who signs them.
const OFFICER: &str = "civil-window-1";
/// Records that become final between two blows.
pub const BETWEEN_BLOWS: usize = 6;
/// Longest silence of a network that has its quorum, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a submission waits at one node before another is asked.
const WAIT_S: u64 = 10;
/// Refusals after which the same bytes may be handed in again: too many, not ready.
pub const RETRY: [&str; 2] = ["MZ-1013", "MZ-1014"];

/// A number from the environment.
pub fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// Numbers that the seed alone decides.
pub struct Dice {
    pub seed: u64,
    pub throws: u64,
}

impl Dice {
    pub fn below(&mut self, limit: usize) -> usize {
        self.throws += 1;
        let digest = sha256(&[&self.seed.to_be_bytes(), &self.throws.to_be_bytes()]);
        usize::from(u16::from_be_bytes([digest[0], digest[1]])) % limit
    }

    /// The same things in another order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for at in (1..things.len()).rev() {
            things.swap(at, self.below(at + 1));
        }
    }
}

/// A record that a node said is final.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    pub agency: String,
    pub record_id: String,
    pub tx_id: String,
    pub place: (u64, u64),
}

/// The officer who signs the records of the load.
pub fn officer(world: &World) -> Officer {
    world.officer(OFFICER)
}

/// Hands in records while `hurt` runs, and tells what was answered; `hurt` hears of every answer.
pub fn under_load(world: &World, seed: u64, hurt: impl FnOnce(&Receiver<()>)) -> Vec<Acknowledged> {
    let load = Load {
        world,
        officer: officer(world),
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        answered: Mutex::new(Vec::new()),
    };
    std::thread::scope(|scope| {
        let end = EndOfLoad(&load.stop);
        let (sender, progress) = channel();
        for submitter in 1..=SUBMITTERS {
            let dice = Dice { seed: seed.wrapping_add(submitter), throws: 0 };
            let (load, sender) = (&load, sender.clone());
            scope.spawn(move || load.submit(dice, &sender));
        }
        drop(sender);
        hurt(&progress);
        drop(end);
    });
    load.answered.into_inner().expect("no submitter panicked")
}

struct Load<'a> {
    world: &'a World,
    officer: Officer,
    next: AtomicU64,
    stop: AtomicBool,
    answered: Mutex<Vec<Acknowledged>>,
}

impl Load<'_> {
    /// Files one record after the other, each until it is final, at whichever node answers.
    fn submit(&self, mut dice: Dice, progress: &Sender<()>) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let record_id = format!("LOAD-{number}");
            let root = u8::try_from(number % 251).expect("below 251");
            let transaction = self.officer.anchor(&self.world.origin, &record_id, root);
            let tx_id = hex::encode(transaction.id());
            let place = loop {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                let seat = &self.world.seats[dice.below(self.world.seats.len())];
                if let Some(place) = self.offer(seat, transaction.bytes()) {
                    break place;
                }
            };
            let agency = self.officer.agency.clone();
            let record = Acknowledged { agency, record_id, tx_id, place };
            self.answered.lock().expect("no submitter panicked").push(record);
            if progress.send(()).is_err() {
                return;
            }
        }
    }

    /// Height and index, once final; none if this node cannot say.
    fn offer(&self, seat: &Seat, bytes: &[u8]) -> Option<(u64, u64)> {
        let (status, answer) = self.world.post(seat, "/transactions", bytes, WAIT_S)?;
        let again = answer["code"].as_str().is_some_and(|code| RETRY.contains(&code));
        assert!(status < 300 || again, "{}: {status} {answer}", seat.agency);
        if answer["status"] != "final" {
            return None;
        }
        assert_eq!(answer["outcome"], "applied", "{answer}");
        Some((answer["height"].as_u64()?, answer["index"].as_u64()?))
    }
}

pub fn wait_for(progress: &Receiver<()>, records: usize) {
    for _ in 0..records {
        progress.recv_timeout(PATIENCE).expect("a network with its quorum makes records final");
    }
}

/// Tells the submitters to end, also when the test fails.
pub struct EndOfLoad<'a>(pub &'a AtomicBool);

impl Drop for EndOfLoad<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Every answered record is where the answer said, once, in the same blocks of every node.
pub fn one_place_everywhere(world: &World, answered: &[Acknowledged]) {
    let newest = answered.iter().max_by_key(|record| record.place).expect("records were answered");
    for seat in &world.seats {
        world.place(seat, &newest.tx_id);
    }
    let tip = newest.place.0;
    world.assert_one_chain(tip);
    for seat in &world.seats {
        let mut found: BTreeMap<(String, String), Vec<(u64, u64)>> = BTreeMap::new();
        for height in 1..=tip {
            let path = format!("/blocks/{height}/transactions");
            let (_, block) = world.get(seat, &path).expect("the node answers");
            for item in block["items"].as_array().expect("a list") {
                let text = |name: &str| item[name].as_str().expect("a text").to_owned();
                let place = (height, item["index"].as_u64().expect("an index"));
                found.entry((text("agency_id"), text("record_id"))).or_default().push(place);
            }
        }
        for record in answered {
            let name = (record.agency.clone(), record.record_id.clone());
            let places = found.get(&name).map_or(&[][..], Vec::as_slice);
            assert_eq!(places, [record.place], "{name:?} on {}", seat.agency);
        }
        let twice = found.iter().find(|(_, places)| places.len() > 1);
        assert_eq!(twice, None, "a record stands twice on {}", seat.agency);
    }
}

/// The trail of the officer's key, verified from genesis, holds every answered record exactly once.
pub fn auditor_agrees(world: &World, officer: &Officer, answered: &[Acknowledged]) {
    let newest = answered.iter().max_by_key(|record| record.place).expect("records were answered");
    world.sealed(&world.seats[0], &newest.tx_id);
    let told = world.client(&["audit", "trail", "officer", &officer.key_id()]);
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    assert_eq!(told.data()["proof"]["verdict"], "verified");
    let entries = told.data()["entries"].as_array().expect("the trail's entries");
    let ids: Vec<&str> = entries.iter().filter_map(|entry| entry["record_id"].as_str()).collect();
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), distinct.len(), "a record stands twice in the trail");
    for record in answered {
        assert!(distinct.contains(record.record_id.as_str()), "{} is not in the trail", record.record_id);
    }
}
