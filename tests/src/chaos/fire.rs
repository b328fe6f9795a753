//! The load under fire: unique documents, and payments each of which is asked for, approved and confirmed. Everything is handed
//! in again, at another node, until it has its answer.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use mingzhang_ledger::codec::put_counted;
use serde_json::Value;

use crate::load::{Acknowledged, Dice, RETRY};
use crate::work::{Officers, Scale, Signed, amount_minor, asks_too_much};
use crate::world::{Officer, Seat, World};

pub const SCALE: Scale = Scale { programmes: 2, grants: 4 };
/// How long a submission waits at one node, and how long this one waits for the node's answer.
const WAIT_S: u64 = 3;
const ANSWER: Duration = Duration::from_secs(5);
/// Documents that are handed in together, in a flood.
const FLOOD_DOCUMENTS: usize = 100;
/// Longest time until a record has its answer, whatever happens to the nodes.
const PATIENCE: Duration = Duration::from_secs(240);

/// What is submitted, and what was answered.
pub struct Fire<'a> {
    world: &'a World,
    pub officer: Officer,
    work: Officers,
    http: reqwest::blocking::Client,
    next: AtomicU64,
    next_payment: AtomicU64,
    pub stop: AtomicBool,
    pub answered: Mutex<Vec<Acknowledged>>,
    /// Minor units paid, by programme.
    pub settled: Mutex<Vec<u64>>,
    pub payments: AtomicUsize,
    pub rejected: AtomicUsize,
}

impl<'a> Fire<'a> {
    /// Opens the accounts, everything final.
    pub fn prepare(world: &'a World) -> Self {
        let folder: &Path = &world.path();
        let now_ms = mingzhang_client::submit::now_ms();
        let work = Officers::open(folder, &world.origin, now_ms, SCALE).expect("the devnet wrote its officers' keys");
        let tls = mingzhang_client::tls::settings(&[]).expect("no roots are needed");
        let builder = reqwest::blocking::Client::builder().tls_backend_preconfigured(tls).no_proxy();
        let http = builder.timeout(ANSWER).build();
        let fire = Self {
            world,
            officer: world.officer("civil-window-1"),
            work,
            http: http.expect("a client without TLS"),
            next: AtomicU64::new(0),
            next_payment: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            answered: Mutex::new(Vec::new()),
            settled: Mutex::new(vec![0; usize::try_from(SCALE.programmes).expect("a few")]),
            payments: AtomicUsize::new(0),
            rejected: AtomicUsize::new(0),
        };
        for (number, step) in fire.work.preparation().into_iter().enumerate() {
            std::thread::scope(|scope| {
                for (place, signed) in step.iter().enumerate() {
                    let (fire, mut dice) = (&fire, Dice { seed: (number * 1_000 + place) as u64, throws: 0 });
                    scope.spawn(move || fire.file(signed, true, &mut dice));
                }
            });
        }
        fire
    }

    /// One document after the other, until told to stop.
    pub fn documents(&self, mut dice: Dice, progress: &Sender<()>) {
        while !self.stop.load(Ordering::Relaxed) {
            let (record_id, signed) = self.document();
            self.answer(&signed, (&self.officer.agency, record_id), true, &mut dice);
            if progress.send(()).is_err() {
                return;
            }
        }
    }

    /// One payment after the other; each that was begun is carried through.
    pub fn pay(&self, mut dice: Dice, progress: &Sender<()>) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next_payment.fetch_add(1, Ordering::Relaxed);
            let [request, approval, confirmation] = self.work.payment("F", number);
            let refused = asks_too_much(number);
            self.answer(&request, ("civil", format!("F{number}")), !refused, &mut dice);
            if refused {
                self.rejected.fetch_add(1, Ordering::Relaxed);
            } else {
                self.file(&approval, true, &mut dice);
                self.answer(&confirmation, ("bank", format!("F{number}")), true, &mut dice);
                let programme = usize::try_from(number % SCALE.programmes).expect("a few");
                self.settled.lock().expect("nobody panicked")[programme] += amount_minor(number);
                self.payments.fetch_add(1, Ordering::Relaxed);
            }
            if progress.send(()).is_err() {
                return;
            }
        }
    }

    /// Many documents together, so often, each with its answer: whoever is slow falls behind.
    pub fn flood(&self, seats: &[&Seat], times: usize) {
        std::thread::scope(|scope| {
            for seat in seats {
                scope.spawn(move || (0..times).for_each(|_| self.hand_in_together(seat)));
            }
        });
    }

    fn hand_in_together(&self, seat: &Seat) {
        let (mut body, mut names) = (Vec::new(), Vec::new());
        for _ in 0..FLOOD_DOCUMENTS {
            let (record_id, signed) = self.document();
            put_counted(&mut body, &signed.bytes);
            names.push((record_id, signed.id));
        }
        let began = Instant::now();
        let places = loop {
            let items = self.post(seat, "batches", &body).and_then(|(_, answer)| answer["items"].as_array().cloned());
            let place = |item: &Value| Some((item["height"].as_u64()?, item["index"].as_u64()?));
            let places: Option<Vec<_>> = items.unwrap_or_default().iter().map(place).collect();
            if let Some(places) = places.filter(|places| places.len() == FLOOD_DOCUMENTS) {
                break places;
            }
            assert!(began.elapsed() < PATIENCE, "documents have no answer after {PATIENCE:?}");
        };
        let mut answered = self.answered.lock().expect("no submitter panicked");
        answered.extend(names.into_iter().zip(places).map(|((record_id, id), place)| Acknowledged {
            agency: self.officer.agency.clone(),
            record_id,
            tx_id: hex::encode(id),
            place,
        }));
    }

    /// A document that nobody filed yet.
    fn document(&self) -> (String, Signed) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let record_id = format!("FIRE-{number}");
        let root = u8::try_from(number % 251).expect("below 251");
        let transaction = self.officer.anchor(&self.world.origin, &record_id, root);
        let signed = Signed { id: transaction.id(), bytes: transaction.bytes().to_vec() };
        (record_id, signed)
    }

    fn answer(&self, signed: &Signed, (agency, record_id): (&str, String), applied: bool, dice: &mut Dice) {
        let place = self.file(signed, applied, dice);
        let record = Acknowledged { agency: agency.to_owned(), record_id, tx_id: hex::encode(signed.id), place };
        self.answered.lock().expect("no submitter panicked").push(record);
    }

    /// Hands a record in until it is final: height and index.
    fn file(&self, signed: &Signed, applied: bool, dice: &mut Dice) -> (u64, u64) {
        let began = Instant::now();
        loop {
            let seat = &self.world.seats[dice.below(self.world.seats.len())];
            if let Some(place) = self.offer(seat, &signed.bytes, applied) {
                return place;
            }
            assert!(began.elapsed() < PATIENCE, "a record has no answer after {PATIENCE:?}");
        }
    }

    /// None if this node cannot say now.
    fn offer(&self, seat: &Seat, bytes: &[u8], applied: bool) -> Option<(u64, u64)> {
        let (status, answer) = self.post(seat, "transactions", bytes)?;
        let again = answer["code"].as_str().is_some_and(|code| RETRY.contains(&code));
        assert!(status < 300 || again, "{}: {status} {answer}", seat.agency);
        if answer["status"] != "final" {
            return None;
        }
        assert_eq!(answer["outcome"], if applied { "applied" } else { "rejected" }, "{answer}");
        Some((answer["height"].as_u64()?, answer["index"].as_u64()?))
    }

    fn post(&self, seat: &Seat, what: &str, bytes: &[u8]) -> Option<(u16, Value)> {
        let request = self.http.post(format!("{}/api/v1/{what}", seat.url));
        let request = request.header("prefer", format!("wait={WAIT_S}")).header("content-type", "application/cose");
        let reply = request.body(bytes.to_vec()).send().ok()?;
        let status = reply.status().as_u16();
        Some((status, serde_json::from_str(&reply.text().ok()?).ok()?))
    }
}
