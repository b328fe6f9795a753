//! Whatever passes the door is executed: records of every type, filled at random from the schema, are applied or
//! rejected, and never stop a node. The asserts inside `execute` (trails, totals) are on all the while.

use std::collections::{BTreeMap, BTreeSet};

use crate::certificate::{KeyRole, possess_bytes};
use crate::codec::Value;
use crate::records::body::ref_value;
use crate::records::fund::tests::{OWNER, funded, programme_fields};
use crate::records::governance::ACTIONS;
use crate::records::object::{Kind, Ref};
use crate::records::registry::Officer;
use crate::records::role::Role;
use crate::records::schema::{Area, COMMON, Field, FieldKind, RecordType};
use crate::records::testing::{DAY_MS, Stage, hash, person, reference, signing_key, text, to};
use crate::state::key::{self, id_text};
use crate::transaction::Transaction;

const BLOCKS: u64 = 60;
const RECORDS_PER_BLOCK: u64 = 25;

/// xorshift64*: the same records for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.roll(items.len() as u64) as usize].clone()
    }
}

/// The records made so far, by the kind of their object; those that wait are under None too.
struct Pool {
    all: Vec<Ref>,
    by_kind: BTreeMap<Kind, Vec<Ref>>,
    waiting: Vec<Ref>,
}

impl Pool {
    fn of(stage: &Stage, names: &[Ref]) -> Self {
        let mut pool = Self { all: names.to_vec(), by_kind: BTreeMap::new(), waiting: Vec::new() };
        for name in names {
            let Some(leaf) = stage.leaf(&name.to_string()) else { continue };
            if let Some(object) = &leaf.object {
                pool.by_kind.entry(object.kind()).or_default().push(name.clone());
            }
            if leaf.waiting.is_some_and(|waiting| waiting.is_open()) {
                pool.waiting.push(name.clone());
            }
        }
        pool
    }

    fn any(&self, dice: &mut Dice, kinds: &[Kind]) -> Ref {
        let fitting = if kinds.is_empty() { None } else { self.by_kind.get(&dice.pick(kinds)) };
        match fitting {
            Some(fitting) if dice.roll(10) > 0 => dice.pick(fitting),
            _ => dice.pick(&self.all),
        }
    }
}

struct Author<'a> {
    stage: &'a Stage,
    pool: &'a Pool,
    dice: &'a mut Dice,
    agency: String,
}

impl Author<'_> {
    fn value(&mut self, kind: FieldKind) -> Value {
        let small = [0, 1, 2, 10, 2026, u64::MAX];
        match kind {
            FieldKind::Id => Value::bytes(&[1; 16]),
            FieldKind::Ref(kinds) => ref_value(&self.pool.any(self.dice, kinds)),
            FieldKind::Waiting => {
                let waiting = self.pool.waiting.clone();
                let named = if waiting.is_empty() { self.pool.any(self.dice, &[]) } else { self.dice.pick(&waiting) };
                ref_value(&named)
            }
            FieldKind::Hash => hash(self.dice.roll(9) as u8 + 1),
            FieldKind::Date => {
                text(self.dice.pick(&["2025-01-01", "2026-06-01", "2026-06-01", "2026-12-31", "2105-01-01"]))
            }
            FieldKind::Time => Value::Uint(self.stage.time_ms + self.dice.roll(4) * DAY_MS),
            FieldKind::Minor | FieldKind::Count => Value::Uint(self.dice.pick(&small)),
            FieldKind::Amount => Value::Uint(self.dice.pick(&small[1..])),
            FieldKind::Currency => text(self.dice.pick(&["CNY", "CNY", "USD", "PYG"])),
            FieldKind::Code | FieldKind::Declared => text(self.dice.pick(&["a", "b", "support", "2026", "granted"])),
            FieldKind::OneOf(codes) => text(self.dice.pick(codes)),
            FieldKind::Text => text("文"),
            FieldKind::Person => {
                let officers = self.stage.officers();
                Value::bytes(&person(&self.dice.pick(&officers)))
            }
            FieldKind::Recipient => Value::bytes(&[self.dice.roll(9) as u8 + 1; 16]),
            FieldKind::Role => text(self.dice.pick(&Role::ALL).code()),
            FieldKind::Agency => {
                text(self.dice.pick(&["finance", "civil", "bank", "super", "redcross", "town", "water"]))
            }
            FieldKind::PublicKey => Value::bytes(&self.key().public().0),
            FieldKind::Possession => Value::bytes(&[0; 64]),
            FieldKind::Bytes(_) => Value::bytes(&[7; 5]),
            FieldKind::Bool => Value::Bool(self.dice.roll(3) > 0),
            FieldKind::List(item) => {
                let count = self.dice.roll(3);
                Value::Array((0..count).map(|_| self.value(*item)).collect())
            }
            FieldKind::Map(fields) => self.map(fields),
        }
    }

    fn key(&mut self) -> crate::crypto::SigningKey {
        let fresh = format!("{}/fresh {}", self.agency, self.dice.roll(1_000));
        let known = signing_key(self.dice.pick(&["civil/2", "finance/3", "town/1"]));
        if self.dice.roll(4) > 0 { signing_key(&fresh) } else { known }
    }

    fn map(&mut self, fields: &'static [Field]) -> Value {
        let chosen: Vec<_> = fields.iter().filter(|field| field.required || self.dice.roll(3) == 0).collect();
        Value::text_map(chosen.into_iter().map(|field| (field.name, self.value(field.kind))))
    }

    fn body(&mut self, kind: &RecordType) -> Value {
        let Value::Map(mut pairs) = self.map(kind.fields) else { return Value::Null };
        for field in COMMON {
            let own = kind.fields.iter().any(|other| other.name == field.name);
            let rare = matches!(field.name, "import" | "defaults" | "stated_date" | "conflicts" | "on_behalf_of");
            if !own && self.dice.roll(if rare { 40 } else { 20 }) == 0 {
                pairs.push((text(field.name), self.value(field.kind)));
            }
        }
        let mut body: BTreeMap<Value, Value> = pairs.into_iter().collect();
        self.make_fitting(kind, &mut body);
        Value::map(body.into_iter().collect())
    }

    /// What a random value would hardly ever hit: digests, proofs of possession, bodies of actions, an open import.
    fn make_fitting(&mut self, kind: &RecordType, body: &mut BTreeMap<Value, Value>) {
        if let Some(waiting) = body.get(&text("waiting")).and_then(<Ref as crate::records::body::FromValue>::from_value)
            && let Some(leaf) = self.stage.leaf(&waiting.to_string())
            && body.contains_key(&text("digest"))
        {
            body.insert(text("digest"), Value::bytes(&leaf.transaction_id));
        }
        if body.contains_key(&text("possession")) {
            let key = self.key();
            let proof = possess_bytes(&self.stage.network.chain, &self.agency, KeyRole::Officer, &key.public());
            body.insert(text("key"), Value::bytes(&key.public().0));
            body.insert(text("possession"), Value::bytes(&key.sign(&proof).0));
        }
        if kind.name == "proposal" {
            let (action, fields) = self.dice.pick(ACTIONS);
            let mut action_body = self.map(fields);
            if action == "parameter_set" {
                let name = self.dice.pick(crate::rules::PARAMETERS).name;
                action_body = Value::text_map([("name", text(name)), ("value", Value::Uint(self.dice.roll(400)))]);
            }
            body.insert(text("action"), text(action));
            body.insert(text("action_body"), Value::bytes(&action_body.encode()));
        }
        if self.agency == "archive" && kind.name != "import_open" {
            body.insert(text("import"), to("archive/IN"));
            body.insert(text("effective_date"), text("2025-06-01"));
            if kind.name == "programme_open" {
                body.insert(text("mode"), text("historical"));
            }
        }
    }
}

fn kinds() -> Vec<&'static RecordType> {
    // Few of what ends everything: officers without roles and closed programmes make a dull network.
    let weight = |kind: &RecordType| match kind.name {
        "role_revoke" | "key_revoke" | "programme_close" | "year_close" | "import_close" => 1,
        "approve" | "payment_confirm" | "vote" => 10,
        _ => 4,
    };
    crate::records::all().flat_map(|kind| std::iter::repeat_n(kind, weight(kind))).collect()
}

fn author_block(stage: &Stage, dice: &mut Dice, names: &[Ref], height: u64) -> Vec<Transaction> {
    let (kinds, officers, pool) = (kinds(), officers(stage), Pool::of(stage, names));
    let mut transactions = Vec::new();
    for number in 0..RECORDS_PER_BLOCK {
        let kind = dice.pick(&kinds);
        let history = matches!(kind.area, Area::Fund | Area::Case) && dice.roll(3) == 0;
        let may =
            |roles: &[Role]| kind.submitters.is_empty() || kind.submitters.iter().any(|role| roles.contains(role));
        let fitting: Vec<_> = officers
            .iter()
            .filter(
                |(_, roles)| if history { roles.contains(&Role::Importer) } else { may(roles) || dice.roll(8) == 0 },
            )
            .collect();
        if fitting.is_empty() {
            continue;
        }
        let (officer, _) = dice.pick(&fitting);
        let agency = officer.split('/').next().unwrap_or_default().to_owned();
        let body = Author { stage, pool: &pool, dice, agency }.body(kind);
        let Value::Map(pairs) = body else { continue };
        let fields: Vec<(&str, Value)> =
            pairs.iter().filter_map(|(name, value)| Some((name.as_text()?, value.clone()))).collect();
        transactions.push(stage.sign(officer, kind.name, &format!("R-{height}-{number}"), fields));
    }
    transactions
}

/// Who can sign, and the roles of each.
fn officers(stage: &Stage) -> Vec<(String, Vec<Role>)> {
    let with_roles = |name: String| {
        let (agency, _) = name.split_once('/').expect("agency/label");
        let officer: Option<Officer> = stage.get(&key::officer(agency, &person(&name)));
        let roles = officer.map(|officer| officer.grants.iter().map(|grant| grant.role).collect());
        (name, roles.unwrap_or_default())
    };
    stage.officers().into_iter().map(with_roles).collect()
}

fn play(seed: u64) -> BTreeSet<String> {
    let mut stage = funded();
    let open = vec![
        ("source", text("open data")),
        ("rows_root", hash(1)),
        ("licence", text("OGL")),
        ("format", text("payments")),
        ("strict", Value::Bool(seed.is_multiple_of(2))),
        ("period_end", text("2025-12-31")),
    ];
    stage.apply_with(["archive/1", "super/1"], "import_open", "IN", open);
    let mut own = programme_fields("CNY");
    own.retain(|(name, _)| *name != "owner");
    own.push(("owner", text("redcross")));
    stage.apply_with(["redcross/1", OWNER[1]], "programme_open", "CH", own);
    let mut names: Vec<Ref> = ["civil/P", "civil/G", "finance/C-G", "finance/CM-1", "archive/IN", "redcross/CH"]
        .into_iter()
        .chain(["finance/P-SOU", "finance/P-APP", "finance/P-ALL", "finance/P-PAI", "finance/P-RET"])
        .map(reference)
        .collect();
    let mut dice = Dice(seed);
    let mut applied = BTreeSet::new();
    for height in 0..BLOCKS {
        let transactions = author_block(&stage, &mut dice, &names, height);
        // A fault of execution panics here, with the seed above in the message of the test.
        let execution = stage.block(transactions);
        for record in &execution.records {
            let name = Ref::new(&record.agency, &record.record_id);
            assert!(stage.leaf(&name.to_string()).is_some(), "{}/{}", record.agency, id_text(&record.record_id));
            if record.outcome == 0 {
                applied.insert(record.record_type.to_string());
                names.push(name);
            }
        }
    }
    applied
}

#[test]
fn nothing_that_passes_the_door_stops_a_node() {
    let mut applied = BTreeSet::new();
    for seed in 1..=4 {
        println!("seed {seed}");
        applied.extend(play(seed));
    }
    assert!(applied.len() >= 25, "only {} record types were ever applied: {applied:?}", applied.len());
}
