//! What must hold in the end: every store computed again from its own entries, one place for every record on all nodes,
//! receipts that verify from the genesis file alone, the auditor's identity of every programme, proofs of expiry, and
//! nobody honest accused or alarmed.

use std::collections::BTreeSet;

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::merkle::Frontier;
use mingzhang_ledger::prove;
use mingzhang_ledger::seal::{Checkpoint, Note, Seal};
use mingzhang_ledger::state::key;
use mingzhang_ledger::verify::{Authorities, Verdict, expired, receipt, sealed_header};
use mingzhang_node::store::Location;

use crate::clerk::{PROGRAMMES, Record, accounts, programme};
use crate::founding::{AGENCIES, sealing_key};
use crate::oracle::Oracle;
use crate::place::{Place, Running};
use crate::world::World;

/// Receipts of one run that are verified.
const RECEIPTS: usize = 3;

impl Oracle {
    /// The checkpoint that ends with a height's header, sealed by every member of the set that decided it.
    pub fn note_at(&self, height: u64) -> Note {
        let header = self.headers[usize::try_from(height).expect("a small height") - 1];
        let set = self.set_of(header.epoch);
        let size = header.tree_size();
        let root = Frontier::of(self.leaves[..usize::try_from(size).expect("a small log")].iter().copied()).root();
        let checkpoint = Checkpoint { origin: self.origin().to_owned(), size, root };
        let mut seals = Vec::new();
        for (signer, member) in (0u16..).zip(&set.members) {
            let mut keys = (0..=set.epoch).rev().map(|epoch| sealing_key(&member.agency, epoch));
            if let Some(key) = keys.find(|key| key.public() == member.sealing_key) {
                seals.push(Seal::sign(&checkpoint, set.epoch, signer, header.time_ms.div_ceil(1_000), &key));
            }
        }
        Note::of(checkpoint, set, &[], &seals)
    }

    fn set_of(&self, epoch: u64) -> &AuthoritySet {
        self.sets.iter().find(|set| set.epoch == epoch).expect("every epoch has its set")
    }

    /// As an outsider comes to it: from genesis, over every boundary.
    fn authorities(&self) -> Authorities {
        let mut authorities = Authorities::new(self.origin(), *self.chain(), self.sets[0].clone());
        let boundaries = self.headers.iter().filter(|header| header.is_boundary());
        for (header, next) in boundaries.zip(&self.sets[1..]) {
            let note = self.note_at(header.height);
            let handoff = prove::handoff(self.leaves.as_slice(), &note, header, next).expect("a path");
            let passed = authorities.pass(&handoff);
            assert!(passed.is_ok(), "oracle hand-off: {passed:?}");
        }
        authorities
    }

    /// Whether the newest final header proves that a record's transaction can never be recorded.
    fn proves_expiry(&self, record: &Record) -> bool {
        let Some(header) = self.headers.last() else { return false };
        let payload = record.payload();
        let state_key = key::record(&payload.agency, &payload.record_id);
        let proof = prove::state(&self.state, header.state_size, &state_key).expect("a state in memory");
        let sealed =
            prove::sealed_header(self.leaves.as_slice(), &self.note_at(header.height), header).expect("a path");
        let proven = sealed_header(&self.authorities(), &sealed).expect("oracle expiry: a sealed header");
        expired(&proven, &proof, record).is_ok()
    }
}

impl World {
    /// Oracle: no header from before a transaction's expiry proves that it will never be recorded.
    pub fn check_not_yet_expired(&mut self, record: &Record) {
        let newest = self.oracle.headers.last().map_or(0, |header| header.time_ms);
        let soon = record.payload().expires_at < self.now + 10_000;
        if soon && newest < record.payload().expires_at {
            assert!(!self.oracle.proves_expiry(record), "oracle expiry: proven under a header before it");
            self.oracle.sums.checks += 1;
        }
    }

    /// What is missing while some honest node that is up lacks a block with records, or a promise is not kept.
    pub fn incomplete(&self) -> Option<String> {
        let work = self.oracle.headers.iter().rev().find(|header| header.entry_count > 0 || header.is_boundary());
        let work = work.map_or(0, |header| header.height);
        for place in (0..self.places.len()).filter(|place| self.is_honest(*place) && self.is_up(*place)) {
            let tip = self.places[place].running.as_ref().map_or(0, |running| running.blocks.store.tip().height);
            if tip < work {
                return Some(format!("{} stands at {tip}, work at {work}", AGENCIES[place]));
            }
        }
        let newest = self.oracle.headers.last().map_or(0, |header| header.time_ms);
        for (reference, promises) in &self.oracle.promised {
            let open = promises.iter().any(|promise| promise.record.payload().expires_at > newest.max(self.now));
            if open && !self.oracle.recorded.contains_key(reference) {
                return Some(format!("{reference} was answered for and is not on the log"));
            }
        }
        None
    }

    /// Where every node stands, for people.
    pub fn situation(&self) -> String {
        let one = |place: usize| match &self.places[place].running {
            None => format!("{}: down", AGENCIES[place]),
            Some(running) => format!(
                "{}: epoch {}, seat {:?}, turn {}, final {:?}, tip {}, signing {}",
                AGENCIES[place],
                running.epoch.number(),
                running.me,
                running.turns.turn(),
                running.turns.final_point(),
                running.blocks.store.tip().height,
                running.turns.is_signing()
            ),
        };
        (0..self.places.len()).map(one).collect::<Vec<_>>().join(" | ")
    }

    /// What runs at a place whose agency follows the rules.
    fn honest(&self, place: usize) -> Option<&Running> {
        self.places[place].running.as_ref().filter(|_| self.is_honest(place))
    }

    pub fn audit(&mut self) {
        self.check_quiet();
        self.check_stores();
        self.check_receipts();
        self.check_books();
        self.check_expired();
    }

    fn check_quiet(&mut self) {
        // A disk that loses what it called synced, with nothing behind it, cannot be told from one that lost its tail: what
        // its node signed there it may sign otherwise, and then its agency is the faulty one.
        let damaged = self.places.iter().filter(|place| place.damaged).map(Place::name);
        let guilty: BTreeSet<&str> = self.behaviours.keys().map(|place| AGENCIES[*place]).chain(damaged).collect();
        let innocent = self.oracle.accused.iter().find(|(agency, _)| !guilty.contains(agency.as_str()));
        assert!(innocent.is_none(), "oracle evidence: an honest authority is accused: {innocent:?}");
        let loud = self.oracle.alarms.iter().find(|(place, _)| self.is_honest(*place) && !self.places[*place].doubted);
        assert!(loud.is_none(), "oracle alarm: {loud:?}");
        self.oracle.sums.checks += 2;
    }

    /// Every node has the same log, and what it has on disk follows from its entries.
    fn check_stores(&mut self) {
        for place in 0..self.places.len() {
            let Some(running) = self.honest(place) else { continue };
            let store = &running.blocks.store;
            let checked = store.check();
            assert!(checked.is_ok(), "oracle store: {}: {checked:?}", self.places[place].name());
            let tip = store.tip();
            let leaves = &self.oracle.leaves[..usize::try_from(tip.tree_size()).expect("a small log")];
            let root = Frontier::of(leaves.iter().copied()).root();
            assert_eq!(tip.tree_root(), root, "oracle log: {} has another", self.places[place].name());
            for (reference, known) in &self.oracle.recorded {
                let stored = store.location(&known.transaction.id()).expect("a store that reads");
                let expected = Location { index: known.index, height: known.height };
                let there = known.height <= tip.height;
                assert_eq!(
                    stored,
                    there.then_some(expected),
                    "oracle place: {reference} at {}",
                    self.places[place].name()
                );
            }
            self.oracle.sums.checks += self.oracle.recorded.len() as u64;
            self.oracle.sums.stores += 1;
        }
    }

    /// A receipt made from any node's log verifies from the genesis file alone.
    fn check_receipts(&mut self) {
        let authorities = self.oracle.authorities();
        let all: Vec<_> = self.oracle.recorded.values().cloned().collect();
        let places: Vec<usize> = (0..self.places.len()).filter(|at| self.is_honest(*at) && self.is_up(*at)).collect();
        for _ in 0..RECEIPTS {
            let (known, place) = (all[self.random.pick(all.len())].clone(), places[self.random.pick(places.len())]);
            let Some(running) = &self.places[place].running else { continue };
            let view = running.blocks.store.view().expect("a store that reads");
            if view.height() < known.height {
                continue;
            }
            let entry =
                view.entry(known.index).expect("a store that reads").expect("oracle receipt: the entry is there");
            let note = self.oracle.note_at(view.height());
            let text = prove::receipt(&view.log(), &note, known.index, &entry).expect("a path").text();
            let verdict = receipt(&authorities, &text, None).report.verdict;
            assert!(matches!(verdict, Verdict::Verified), "oracle receipt: {verdict:?} for entry {}", known.index);
            self.oracle.sums.receipts += 1;
        }
    }

    /// Folding a programme's records gives the sums that its accounts have; its trail on disk is the one that the log has.
    fn check_books(&mut self) {
        for number in 0..PROGRAMMES {
            let proven = accounts(number).into_iter().filter_map(|account| {
                let (_, money) = self.oracle.money_of(&account)?;
                Some((account, money))
            });
            let proven = proven.collect();
            let at = usize::try_from(number).expect("a small number");
            let differences = self.oracle.folds[at].differences(&proven);
            assert_eq!(differences, Ok(Vec::new()), "oracle fold: programme {number}");
            for place in 0..self.places.len() {
                let Some(running) = self.places[place].running.as_ref().filter(|_| self.is_honest(place)) else {
                    continue;
                };
                let (view, height) = (running.blocks.store.view().expect("a store"), running.blocks.store.tip().height);
                let end = self.oracle.headers[usize::try_from(height).expect("a small height") - 1].own_index();
                let log = self.oracle.concerned.get(&number).cloned().unwrap_or_default();
                let log: Vec<u64> = log.into_iter().filter(|index| *index < end).collect();
                let trail = view.trail_indices(&programme(number).key(), 0, log.len() + 1).expect("a store that reads");
                assert_eq!(trail, log, "oracle trail: of programme {number} at {}", self.places[place].name());
                self.oracle.sums.checks += 1;
            }
        }
    }

    /// What was answered for and expired unrecorded is proven never to come.
    fn check_expired(&mut self) {
        let newest = self.oracle.headers.last().map_or(0, |header| header.time_ms);
        let promised = self.oracle.promised.clone();
        for (reference, promises) in promised {
            if self.oracle.recorded.contains_key(&reference) {
                continue;
            }
            for promise in promises.iter().filter(|promise| promise.record.payload().expires_at <= newest) {
                assert!(self.oracle.proves_expiry(&promise.record), "oracle expiry: {reference} cannot be proven");
                self.oracle.sums.expired += 1;
            }
        }
    }
}
