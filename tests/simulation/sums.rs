//! What runs added up to: zero of anything that a long run must have met is a failure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    pub runs: u64,
    pub virtual_ms: u64,
    pub blocks: u64,
    pub records: u64,
    pub submitted: u64,
    pub refused: u64,
    pub epochs: u64,
    pub messages: u64,
    pub bytes: u64,
    pub refused_messages: u64,
    pub evidence: u64,
    pub receipts: u64,
    pub expired: u64,
    pub stores: u64,
    pub checks: u64,
    /// How often each outcome stands on the logs; 0 is applied.
    pub outcomes: BTreeMap<u16, u64>,
    pub faults: BTreeMap<&'static str, u64>,
    /// Folds every event, so that two runs of one seed can be compared.
    pub history: u64,
}

/// Every kind of fault, and every set of authorities, that a long run must have met.
const FAULTS: [&str; 29] = [
    "bit of the disk flipped",
    "byzantine message",
    "change of authorities",
    "clock drift",
    "clock jump",
    "crash",
    "crash between two effects",
    "disk full",
    "disk in doubt",
    "disk lost",
    "everybody healed",
    "five members decide",
    "four members decide again",
    "message delayed and overtaken",
    "message doubled",
    "message lost",
    "node cut off",
    "one-way cut",
    "page of the disk zeroed",
    "pause",
    "range caught up",
    "restart",
    "seven members decide",
    "six members decide",
    "slow execution",
    "split",
    "stop in good order",
    "sync failed, process stopped",
    "unsynced writes lost",
];

impl Sums {
    fn numbers(&self) -> [(&'static str, u64); 15] {
        [
            ("virtual_ms", self.virtual_ms),
            ("blocks", self.blocks),
            ("records", self.records),
            ("records_rejected", self.rejected()),
            ("submissions", self.submitted),
            ("submissions_refused", self.refused),
            ("epochs", self.epochs),
            ("messages", self.messages),
            ("bytes", self.bytes),
            ("messages_refused", self.refused_messages),
            ("evidence", self.evidence),
            ("receipts_verified", self.receipts),
            ("expiries_proven", self.expired),
            ("stores_computed_again", self.stores),
            ("checks", self.checks),
        ]
    }

    pub fn rejected(&self) -> u64 {
        self.outcomes.iter().filter(|(outcome, _)| **outcome != 0).map(|(_, count)| count).sum()
    }

    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.virtual_ms += other.virtual_ms;
        self.blocks += other.blocks;
        self.records += other.records;
        self.submitted += other.submitted;
        self.refused += other.refused;
        self.epochs += other.epochs;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.refused_messages += other.refused_messages;
        self.evidence += other.evidence;
        self.receipts += other.receipts;
        self.expired += other.expired;
        self.stores += other.stores;
        self.checks += other.checks;
        for (outcome, count) in &other.outcomes {
            *self.outcomes.entry(*outcome).or_default() += count;
        }
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.history = self.history.rotate_left(7) ^ other.history;
    }

    /// Names of what never happened.
    pub fn zeros(&self) -> Vec<&'static str> {
        let numbers = self.numbers().into_iter().filter(|(_, sum)| *sum == 0).map(|(name, _)| name);
        numbers.chain(FAULTS.into_iter().filter(|kind| !self.faults.contains_key(kind))).collect()
    }

    pub fn print(&self, seconds: f64) {
        println!("seeds {}, simulated hours {:.1}, in {seconds:.1} s", self.runs, self.hours());
        for (name, sum) in self.numbers() {
            println!("  {}: {sum}", name.replace('_', " "));
        }
        let outcomes = self.outcomes.iter().map(|(outcome, count)| format!("{outcome}: {count}"));
        println!("  outcomes: {}", outcomes.collect::<Vec<_>>().join(", "));
        for (kind, count) in &self.faults {
            println!("  fault {kind}: {count}");
        }
        println!("  history {:016x}", self.history);
    }

    fn hours(&self) -> f64 {
        self.virtual_ms as f64 / 3_600_000.0
    }

    pub fn json(&self, first: u64, seconds: f64) -> Value {
        let mut value = json!({
            "first_seed": first,
            "seeds": self.runs,
            "seconds": seconds,
            "simulated_hours": self.hours(),
        });
        for (name, sum) in self.numbers().into_iter().filter(|(name, _)| *name != "virtual_ms") {
            value[name] = json!(sum);
        }
        value["outcomes"] = json!(self.outcomes.iter().map(|(o, c)| (o.to_string(), *c)).collect::<BTreeMap<_, _>>());
        value["faults"] = json!(self.faults);
        value["history"] = json!(format!("{:016x}", self.history));
        value
    }
}
