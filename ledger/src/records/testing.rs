//! A small network in memory for the tests of rules: agencies, officers, a clock; submit a record as an officer, look at
//! the outcome and at what changed.
//!
//! ```ignore
//! let mut stage = Stage::found();
//! let sent = stage.submit("finance/1", "document_anchor", "DOC-1", vec![("root", hash(1)), ("kind", text("minutes"))]);
//! assert_eq!(sent.outcome, 0, "{}", sent.detail);
//! stage.approve("finance/2", "civil/P-1");            // names the digest of exactly that record
//! stage.expect(3003, "audit/1", "approve", "A-1", vec![…]);   // asserts the code and that only id and trails changed
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use super::body::ref_value;
use super::object::{Object, RecordLeaf, Ref};
use super::registry::Agency;
use super::registry::founding::{Founding, FoundingAgency, FoundingOfficer, FoundingRole, found};
use super::role::Role;
use crate::authority::{AuthoritySet, Member, Parameters};
use crate::codec::Value;
use crate::crypto::{PublicKey, SigningKey, sha256};
use crate::outcome::Refusal;
use crate::rules::{History, Setting};
use crate::state::execute::{BlockContext, Candidate, Execution, Network, RecordOutcome, execute};
use crate::state::key::{self, Key};
use crate::state::{Overlay, Snapshot, StateFault, Stored, TrailAppend};
use crate::transaction::{Payload, Transaction};

/// 2026-06-01 08:00 in Fujian.
pub const START_MS: u64 = 1_780_272_000_000;
pub const DAY_MS: u64 = 86_400_000;

/// An agency, the roles that it may hold, and its officers with the roles of each.
type Cast = (&'static str, &'static [&'static str], &'static [(&'static str, &'static [&'static str])]);

/// Agencies, the roles that they may hold, and their officers with the roles of each. Every agency also has the admins
/// `admin1` and `admin2`. The first four are the authority set.
const CAST: &[Cast] = &[
    ("finance", &["finance"], &[("1", &["finance"]), ("2", &["finance"]), ("3", &["finance"])]),
    (
        "civil",
        &["programme_owner", "reviewer", "decider", "head", "window", "buyer", "data_owner"],
        &[
            ("1", &["programme_owner", "buyer", "data_owner"]),
            ("2", &["programme_owner", "buyer"]),
            ("reviewer", &["reviewer"]),
            ("decider", &["decider"]),
            ("head", &["head"]),
            ("head2", &["head"]),
            ("window", &["window"]),
            ("plain", &[]),
        ],
    ),
    ("bank", &["agent_bank"], &[("1", &["agent_bank"]), ("2", &["agent_bank"])]),
    ("super", &["supervisor"], &[("1", &["supervisor"]), ("2", &["supervisor"])]),
    ("audit", &["auditor"], &[("1", &["auditor"])]),
    ("archive", &["importer"], &[("1", &["importer"]), ("plain", &[])]),
    ("redcross", &["charity", "trustee"], &[("1", &["charity"]), ("2", &["charity"]), ("trustee", &["trustee"])]),
    (
        "centre",
        &["trading_centre", "evaluator"],
        &[("1", &["trading_centre"]), ("2", &["trading_centre"]), ("expert", &["evaluator"])],
    ),
    (
        "town",
        &["window", "programme_owner", "finance"],
        &[("1", &["window", "programme_owner"]), ("finance", &["finance"]), ("finance2", &["finance"])],
    ),
];

/// The state of the test network.
#[derive(Debug, Clone, Default)]
pub struct Memory(pub BTreeMap<Key, Stored>);

impl Snapshot for Memory {
    fn read(&self, key: &Key) -> Result<Option<Stored>, StateFault> {
        Ok(self.0.get(key).cloned())
    }
}

/// A network on which records are played.
pub struct Stage {
    pub state: Memory,
    pub network: Network,
    pub time_ms: u64,
    pub height: u64,
    pub next_index: u64,
    pub appends: Vec<TrailAppend>,
    /// The log's record entries by index.
    pub entries: BTreeMap<u64, Vec<u8>>,
    keys: BTreeMap<String, SigningKey>,
    counter: u64,
}

/// The key of an officer `agency/label`.
pub fn signing_key(officer: &str) -> SigningKey {
    SigningKey::from_seed(&sha256(&[b"test key ", officer.as_bytes()]))
}

/// The pseudonym of an officer `agency/label`.
pub fn person(officer: &str) -> [u8; 16] {
    let digest = sha256(&[b"test person ", officer.as_bytes()]);
    let mut person = [0; 16];
    person.copy_from_slice(&digest[..16]);
    person
}

pub fn text(text: &str) -> Value {
    Value::text(text)
}

pub fn hash(byte: u8) -> Value {
    Value::bytes(&[byte; 32])
}

/// A reference written `agency/id`.
pub fn reference(text: &str) -> Ref {
    let (agency, id) = text.split_once('/').expect("agency/id");
    Ref::new(agency, &key::parse_id(id).expect("an id"))
}

pub fn to(text: &str) -> Value {
    ref_value(&reference(text))
}

impl Stage {
    pub fn found() -> Self {
        let network = Network {
            origin: "test-0102030405060708".into(),
            chain: [7; 32],
            utc_offset_minutes: 480,
            development: true,
        };
        let mut keys = BTreeMap::new();
        let mut enter = |name: String| -> ([u8; 16], PublicKey) {
            let key = signing_key(&name);
            let public = key.public();
            let person = person(&name);
            keys.insert(name, key);
            (person, public)
        };
        let mut agencies = Vec::new();
        for (id, roles, officers) in CAST {
            let admin_keys = ["admin1", "admin2"].map(|label| enter(format!("{id}/{label}"))).to_vec();
            let officers = officers.iter().map(|(label, roles)| {
                let (person, key) = enter(format!("{id}/{label}"));
                let grant = |role: &&str| FoundingRole { role: (*role).to_owned(), scope: None, max_minor: None };
                FoundingOfficer { person, key, roles: roles.iter().map(grant).collect() }
            });
            let officers = officers.collect();
            let roles = roles.iter().map(|role| (*role).to_owned()).collect();
            let name = (*id).to_owned();
            agencies.push(FoundingAgency {
                id: name.clone(),
                name,
                kind: "government".into(),
                roles,
                admin_keys,
                officers,
            });
        }
        let member = |(id, ..): &Cast| Member {
            agency: (*id).to_owned(),
            consensus_key: signing_key(&format!("{id} consensus")).public(),
            sealing_key: signing_key(&format!("{id} sealing")).public(),
            peer_key: signing_key(&format!("{id} peer")).public(),
            url: format!("https://{id}.example/"),
        };
        let set = AuthoritySet {
            epoch: 0,
            parameters: Parameters::default(),
            members: CAST[..4].iter().map(member).collect(),
        };
        let founding = Founding { network: network.clone(), agencies, parameters: BTreeMap::new(), set };
        let (state, appends) = found(&founding).expect("the test network can be founded");
        Self {
            state: Memory(state),
            network,
            time_ms: START_MS,
            height: 1,
            next_index: 1,
            appends,
            entries: BTreeMap::new(),
            keys,
            counter: 0,
        }
    }

    /// A key that an officer signs with from now on, for instance a second one of the same person.
    pub fn add_key(&mut self, officer: &str, key: SigningKey) {
        self.keys.insert(officer.to_owned(), key);
    }

    /// Every officer that can sign, `agency/label`.
    pub fn officers(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }

    /// An agency may hold a role from now on.
    pub fn let_hold(&mut self, agency: &str, role: Role) {
        let place = key::agency(agency);
        let mut held: Agency = self.get(&place).expect("an agency");
        held.roles.push(role);
        self.state.0.get_mut(&place).expect("an agency").current = minicbor::to_vec(&held).expect("encodes").into();
    }

    /// A parameter has another value from now on.
    pub fn agree_on(&mut self, name: &str, value: u64) {
        let history = History { settings: vec![Setting { from_time: 0, value }] };
        let current = minicbor::to_vec(&history).expect("encodes").into();
        self.state.0.insert(key::rule(name), Stored { current, trail: None });
    }

    pub fn pass_days(&mut self, days: u64) {
        self.time_ms += days * DAY_MS;
    }

    /// A signed transaction that expires in ten minutes.
    pub fn sign(&self, officer: &str, record_type: &str, id: &str, fields: Vec<(&str, Value)>) -> Transaction {
        let (agency, _) = officer.split_once('/').expect("agency/label");
        let payload = Payload {
            origin: self.network.origin.as_str().into(),
            record_type: record_type.into(),
            record_id: key::parse_id(id).expect("an id"),
            agency: agency.into(),
            expires_at: self.time_ms + 600_000,
            body: Value::text_map(fields),
        };
        Transaction::sign(&payload, &self.keys[officer]).expect("a transaction")
    }

    /// Runs transactions as one block and keeps its changes.
    pub fn block(&mut self, transactions: Vec<Transaction>) -> Execution {
        let candidates: Vec<Candidate> = transactions
            .into_iter()
            .map(|transaction| Candidate { transaction: Arc::new(transaction), verified_with: None })
            .collect();
        let block = BlockContext { height: self.height, epoch: 0, time_ms: self.time_ms, first_index: self.next_index };
        let execution = execute(&self.state, &self.network, &block, &candidates).expect("the state can be read");
        self.state.0.extend(execution.changes.clone());
        self.appends.extend(execution.appends.iter().copied());
        self.entries.extend((self.next_index..).zip(execution.entries.iter().cloned()));
        self.height += 1;
        self.next_index += execution.entries.len() as u64 + 1;
        self.time_ms += 1_000;
        execution
    }

    /// Submits one record in a block of its own. Panics if the door leaves it out.
    pub fn submit(&mut self, officer: &str, record_type: &str, id: &str, fields: Vec<(&str, Value)>) -> RecordOutcome {
        match self.offer(officer, record_type, id, fields) {
            Ok(outcome) => outcome,
            Err(refusal) => panic!("{record_type} {id} was left out: {refusal}"),
        }
    }

    /// As `submit`, with the door's answer.
    pub fn offer(
        &mut self,
        officer: &str,
        record_type: &str,
        id: &str,
        fields: Vec<(&str, Value)>,
    ) -> Result<RecordOutcome, Refusal> {
        let transaction = self.sign(officer, record_type, id, fields);
        let mut execution = self.block(vec![transaction]);
        match execution.records.pop() {
            Some(outcome) => Ok(outcome),
            None => Err(execution.left_out.remove(0).1),
        }
    }

    /// Submits and insists that the record is applied.
    pub fn apply(&mut self, officer: &str, record_type: &str, id: &str, fields: Vec<(&str, Value)>) -> RecordOutcome {
        let outcome = self.submit(officer, record_type, id, fields);
        assert_eq!(outcome.outcome, 0, "{record_type} {id}: {}", outcome.detail);
        outcome
    }

    /// Submits and insists on a rejection by this rule that changes nothing but its own leaf and trails.
    #[expect(clippy::too_many_arguments, reason = "the code, and then exactly what `submit` takes")]
    pub fn expect(&mut self, code: u16, officer: &str, record_type: &str, id: &str, fields: Vec<(&str, Value)>) {
        let before = self.state.clone();
        let outcome = self.submit(officer, record_type, id, fields);
        assert_eq!(outcome.outcome, code, "{record_type} {id}: {}", outcome.detail);
        let (agency, _) = officer.split_once('/').expect("agency/label");
        self.assert_only_trails_changed(&before, &reference(&format!("{agency}/{id}")));
    }

    /// Only the leaf of `own` is new; every other change is a longer trail around the same value.
    pub fn assert_only_trails_changed(&self, before: &Memory, own: &Ref) {
        for (key, stored) in &self.state.0 {
            match before.0.get(key) {
                None => assert_eq!(*key, own.key(), "a rejected record made a key"),
                Some(old) => assert_eq!(old.current, stored.current, "a rejected record changed a value"),
            }
        }
    }

    /// The fields of an `approve` or `reject` of exactly the record named `agency/id`.
    pub fn digest_of(&self, waiting: &str) -> Vec<(&'static str, Value)> {
        let leaf = self.leaf(waiting).expect("the waiting record");
        vec![("waiting", to(waiting)), ("digest", Value::bytes(&leaf.transaction_id))]
    }

    /// Submits an `approve` of the record named `agency/id`, whatever becomes of it.
    pub fn approve(&mut self, officer: &str, waiting: &str) -> RecordOutcome {
        self.counter += 1;
        let (fields, id) = (self.digest_of(waiting), format!("approve-{}", self.counter));
        self.submit(officer, "approve", &id, fields)
    }

    /// As `apply`, then approved by a second officer.
    pub fn apply_with(&mut self, officers: [&str; 2], record_type: &str, id: &str, fields: Vec<(&str, Value)>) {
        let [first, second] = officers;
        self.apply(first, record_type, id, fields);
        let (agency, _) = first.split_once('/').expect("agency/label");
        let outcome = self.approve(second, &format!("{agency}/{id}"));
        assert_eq!(outcome.outcome, 0, "approval of {record_type} {id}: {}", outcome.detail);
    }

    pub fn get<T: crate::state::Typed>(&self, key: &Key) -> Option<T> {
        Overlay::new(&self.state).get(key).expect("the value decodes")
    }

    /// The leaf of the record named `agency/id`.
    pub fn leaf(&self, name: &str) -> Option<RecordLeaf> {
        self.get(&reference(name).key())
    }

    /// The object that the record named `agency/id` made.
    pub fn object(&self, name: &str) -> Option<Object> {
        self.leaf(name)?.object
    }

    /// How many entries the trail under a key has.
    pub fn trail_length(&self, key: &Key) -> u64 {
        self.state.0.get(key).and_then(|stored| stored.trail.as_ref()).map_or(0, |trail| trail.size())
    }
}
