//! Tests of the fund rules: a scenario that is half played, and small helpers to play on.

mod budget_rules;
mod charity;
mod claims;
mod cost;
mod history;
mod life;
mod list_rules;
mod origins;
mod payment_rules;
mod random;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::account::Account;
use super::fold::{Figures, Fold};
use super::list_proof::ListProof;
use super::movement::{Movement, MovementState};
use super::programme::Programme;
use super::sums::Sums;
use crate::codec::Value;
use crate::crypto::Hash;
use crate::entry::Entry;
use crate::merkle::{Frontier, inclusion_path};
use crate::records::object::{Object, RecordLeaf, Ref};
use crate::records::scene::Totals;
use crate::records::testing::{Stage, hash, reference, text, to};
use crate::state::{Stored, key};

/// The salted account commitment that is registered for a test person.
pub fn account_of(person: u8) -> Hash {
    [person; 32]
}

pub fn uint(number: u64) -> Value {
    Value::Uint(number)
}

pub fn person_value(person: u8) -> Value {
    Value::bytes(&[person; 16])
}

/// A programme of civil, paid by finance through bank, with its accounts of 2026 and nothing in them.
pub fn opened() -> Stage {
    let mut stage = Stage::found();
    open_programme(&mut stage, "P", "CNY");
    for kind in ["SOURCE", "APPROPRIATION", "ALLOTMENT", "PAID", "RETURNED", "CARRIED", "LAPSED"] {
        open_account(&mut stage, "P", kind, vec![]);
    }
    for person in 1..=4 {
        register(&mut stage, person);
    }
    stage
}

/// 10,000 appropriated, 8,000 allotted, a grant G of 5,000 to person 1 with 5,000 committed.
pub fn funded() -> Stage {
    let mut stage = opened();
    stage.apply_with(FINANCE, "appropriate", "AP-1", appropriation(10_000));
    stage.apply_with(FINANCE, "allot", "AL-1", allotment(8_000));
    grant(&mut stage, "G", 1, 5_000);
    stage.apply_with(OWNER, "commit", "CM-1", commitment("G", 5_000));
    stage
}

pub const FINANCE: [&str; 2] = ["finance/1", "finance/2"];
pub const OWNER: [&str; 2] = ["civil/1", "finance/1"];

pub fn programme_fields(currency: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("mode", text("live")),
        ("currency", text(currency)),
        ("purpose", text("support")),
        ("years", Value::Array(vec![uint(2026), uint(2027)])),
        ("legal_ref", text("budget 2026")),
        ("owner", text("civil")),
        ("finance", text("finance")),
        ("bank", text("bank")),
        ("supervisor", text("super")),
        ("scope", text("scope")),
    ]
}

pub fn open_programme(stage: &mut Stage, id: &str, currency: &str) {
    stage.apply_with(OWNER, "programme_open", id, programme_fields(currency));
}

/// Opens `finance/<programme>-<KIND>` of 2026.
pub fn open_account(stage: &mut Stage, programme: &str, kind: &str, more: Vec<(&'static str, Value)>) {
    let id = format!("{programme}-{}", &kind[..3]);
    open_account_as(stage, &id, programme, kind, more);
}

pub fn open_account_as(stage: &mut Stage, id: &str, programme: &str, kind: &str, more: Vec<(&'static str, Value)>) {
    let mut fields = account_fields(programme, kind);
    fields.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    fields.extend(more);
    stage.apply_with(FINANCE, "account_open", id, fields);
}

pub fn account_fields(programme: &str, kind: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("account_kind", text(kind)),
        ("programme", to(&format!("civil/{programme}"))),
        ("agency", text("civil")),
        ("year", uint(2026)),
    ]
}

pub fn appropriation(minor: u64) -> Vec<(&'static str, Value)> {
    vec![
        ("amount", uint(minor)),
        ("from", to("finance/P-SOU")),
        ("to", to("finance/P-APP")),
        ("legal_ref", text("budget 2026")),
    ]
}

pub fn allotment(minor: u64) -> Vec<(&'static str, Value)> {
    vec![("amount", uint(minor)), ("from", to("finance/P-APP")), ("to", to("finance/P-ALL"))]
}

pub fn grant_fields(person: u8, value: u64) -> Vec<(&'static str, Value)> {
    vec![
        ("subject", to("civil/P")),
        ("recipient", person_value(person)),
        ("value", uint(value)),
        ("purpose", text("support")),
        ("until", text("2026-12-31")),
    ]
}

/// A grant `civil/<id>` and its COMMITMENT `finance/C-<id>`.
pub fn grant(stage: &mut Stage, id: &str, person: u8, value: u64) {
    stage.apply_with(OWNER, "award_grant", id, grant_fields(person, value));
    let award = to(&format!("civil/{id}"));
    open_account_as(stage, &format!("C-{id}"), "P", "COMMITMENT", vec![("award", award)]);
}

pub fn commitment(award: &str, minor: u64) -> Vec<(&'static str, Value)> {
    vec![("amount", uint(minor)), ("from", to("finance/P-ALL")), ("award", to(&format!("civil/{award}")))]
}

pub fn payment(award: &str, person: u8, minor: u64) -> Vec<(&'static str, Value)> {
    vec![
        ("amount", uint(minor)),
        ("from", to(&format!("finance/C-{award}"))),
        ("recipient", person_value(person)),
        ("payee_account", Value::bytes(&account_of(person))),
        ("entitlement", to(&format!("civil/{award}"))),
    ]
}

pub fn confirmation(movement: &str, bank_ref: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("movement", to(movement)),
        ("bank_ref", text(bank_ref)),
        ("booked", text("2026-06-01")),
        ("statement", hash(9)),
    ]
}

/// A payment `civil/<id>` under grant G, confirmed by the bank.
pub fn pay(stage: &mut Stage, id: &str, minor: u64) {
    stage.apply_with(OWNER, "payment_request", id, payment("G", 1, minor));
    let fields = confirmation(&format!("civil/{id}"), &format!("B-{id}"));
    stage.apply("bank/1", "payment_confirm", &format!("PC-{id}"), fields);
}

pub fn payment_return(payment: &str, minor: u64, bank_ref: &str) -> Vec<(&'static str, Value)> {
    vec![("payment", to(payment)), ("amount", uint(minor)), ("bank_ref", text(bank_ref))]
}

/// Registers a person's account under the programme's scope, confirmed by the bank.
pub fn register(stage: &mut Stage, person: u8) {
    register_as(stage, "civil/1", person);
}

/// As `register`, by an officer of another owner.
pub fn register_as(stage: &mut Stage, officer: &str, person: u8) {
    let fields = vec![
        ("recipient", person_value(person)),
        ("scope", text("scope")),
        ("account_commitment", Value::bytes(&account_of(person))),
    ];
    stage.apply_with([officer, "bank/1"], "payee_register", &format!("PR-{person}"), fields);
}

/// A list of four lines, of persons 1 to 4 with one unit of 1,000 each.
pub struct Lines(Vec<(ListProof, Option<&'static str>)>);

impl Lines {
    pub fn of(persons: &[u8]) -> Self {
        Self::made(persons.iter().map(|person| (*person, None)))
    }

    /// Lines for assets of persons.
    pub fn of_assets(assets: &[(u8, &'static str)]) -> Self {
        Self::made(assets.iter().map(|(person, asset)| (*person, Some(*asset))))
    }

    fn made(lines: impl Iterator<Item = (u8, Option<&'static str>)>) -> Self {
        let line = |(index, (person, asset)): (u64, (u8, Option<&'static str>))| {
            let proof = ListProof {
                leaf_index: index,
                salt: [person; 32],
                recipient: [person; 16],
                payee_account: account_of(person),
                units: 1,
                amount: 1_000,
                path: Vec::new(),
            };
            (proof, asset)
        };
        Self((0u64..).zip(lines).map(line).collect())
    }

    fn leaves(&self) -> Vec<Hash> {
        self.0.iter().map(|(line, asset)| line.leaf(*asset)).collect()
    }

    pub fn proof(&self, index: u64) -> ListProof {
        let path = inclusion_path(self.leaves().as_slice(), index, self.0.len() as u64).expect("path");
        ListProof { path, ..self.0[index as usize].0.clone() }
    }

    /// The `payment_request` of a line, with its asset.
    pub fn payment(&self, list: &str, index: u64) -> Vec<(&'static str, Value)> {
        let mut fields = list_payment(list, &self.proof(index));
        fields.extend(self.0[index as usize].1.map(|asset| ("asset", text(asset))));
        fields
    }

    pub fn publish_fields(&self, period: &str) -> Vec<(&'static str, Value)> {
        vec![
            ("subject", to("civil/P")),
            ("root", Value::bytes(&Frontier::of(self.leaves()).root())),
            ("count", uint(self.0.len() as u64)),
            ("total", uint(1_000 * self.0.len() as u64)),
            ("standard_minor", uint(1_000)),
            ("period", text(period)),
            ("days", uint(7)),
        ]
    }
}

/// A confirmed list `town/<id>` with its COMMITMENT `finance/C-<id>`, and all its money committed.
pub fn confirmed_list(stage: &mut Stage, id: &str, lines: &Lines, period: &str) {
    let list = format!("town/{id}");
    stage.apply("town/1", "list_publish", id, lines.publish_fields(period));
    stage.pass_days(7);
    stage.apply("civil/1", "list_confirm", &format!("LC-{id}"), vec![("list", to(&list))]);
    open_account_as(stage, &format!("C-{id}"), "P", "COMMITMENT", vec![("award", to(&list))]);
    let total = 1_000 * lines.0.len() as u64;
    let fields = vec![("amount", uint(total)), ("from", to("finance/P-ALL")), ("award", to(&list))];
    stage.apply_with(OWNER, "commit", &format!("CM-{id}"), fields);
}

pub fn list_payment(list: &str, proof: &ListProof) -> Vec<(&'static str, Value)> {
    vec![
        ("amount", uint(proof.amount)),
        ("from", to(&format!("finance/C-{list}"))),
        ("recipient", Value::bytes(&proof.recipient)),
        ("payee_account", Value::bytes(&proof.payee_account)),
        ("entitlement", to(&format!("town/{list}"))),
        ("list_proof", proof.to_value()),
    ]
}

/// The same fields with one replaced.
pub fn with(mut fields: Vec<(&'static str, Value)>, name: &'static str, value: Value) -> Vec<(&'static str, Value)> {
    fields.retain(|(other, _)| *other != name);
    fields.push((name, value));
    fields
}

pub fn account(stage: &Stage, name: &str) -> Arc<Account> {
    match stage.object(name) {
        Some(Object::Account(account)) => account,
        other => panic!("{name}: {other:?}"),
    }
}

pub fn programme(stage: &Stage) -> Arc<Programme> {
    match stage.object("civil/P") {
        Some(Object::Programme(programme)) => programme,
        other => panic!("{other:?}"),
    }
}

pub fn movement(stage: &Stage, name: &str) -> Movement {
    match stage.object(name) {
        Some(Object::Movement(movement)) => std::sync::Arc::unwrap_or_clone(movement),
        other => panic!("{name}: {other:?}"),
    }
}

pub fn state_of(stage: &Stage, name: &str) -> MovementState {
    movement(stage, name).state
}

pub fn available(stage: &Stage, name: &str) -> u64 {
    account(stage, name).sums.available()
}

/// The trail of `civil/P`, folded from its entries alone.
pub fn folded(stage: &Stage, programme: &str) -> Fold {
    let programme = reference(programme);
    let mut fold = Fold::new(programme.clone());
    for append in stage.appends.iter().filter(|append| append.trail == programme.key()) {
        let index = u64::from_be_bytes(append.entry[..8].try_into().expect("8 bytes"));
        let Ok(Entry::Record { outcome, transaction }) = Entry::decode(&stage.entries[&index]) else {
            panic!("entry {index} is no record");
        };
        fold.apply(outcome, transaction.payload()).expect("the trail folds");
    }
    fold
}

/// The fold of a programme's trail agrees with the state, and the money's identity holds.
pub fn assert_folds(stage: &Stage, programme: &str) -> Figures {
    let mut fold = folded(stage, programme);
    let mut proven = BTreeMap::new();
    for stored in stage.state.0.values() {
        if let Ok(RecordLeaf { object: Some(Object::Account(account)), .. }) = minicbor::decode(&stored.current)
            && account.programme == reference(programme)
        {
            proven.insert(stored.current.to_vec(), account.sums);
        }
    }
    let named: BTreeMap<Ref, Sums> =
        fold.accounts().keys().map(|name| (name.clone(), account_at(stage, name).sums)).collect();
    assert_eq!(named.len(), proven.len(), "the trail opens every account");
    assert_eq!(fold.differences(&named).expect("the trail folds"), Vec::new());
    assert_eq!(fold.currency(), currency_of(stage, programme), "the trail begins with the opening");
    let figures = fold.figures();
    assert!(figures.balanced, "{figures:?}");
    figures
}

fn currency_of(stage: &Stage, name: &str) -> String {
    match stage.object(name) {
        Some(Object::Programme(programme)) => programme.currency.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

fn account_at(stage: &Stage, name: &Ref) -> Arc<Account> {
    account(stage, &name.to_string())
}

/// Σ debits = Σ credits over all accounts, equal to the totals; what the programme holds is what its accounts hold.
pub fn assert_balanced(stage: &Stage, mode: &str) {
    let mut accounts = Vec::new();
    for stored in stage.state.0.values() {
        if let Ok(RecordLeaf { object: Some(Object::Account(account)), .. }) = minicbor::decode(&stored.current) {
            accounts.push(account);
        }
    }
    let sum = |part: fn(&Account) -> u64| accounts.iter().map(|account| u128::from(part(account))).sum::<u128>();
    assert_eq!(sum(|account| account.sums.debits_posted), sum(|account| account.sums.credits_posted));
    assert_eq!(sum(|account| account.sums.debits_pending), sum(|account| account.sums.credits_pending));
    let totals: Totals = stage.get(&key::totals(mode, "CNY")).unwrap_or_default();
    assert_eq!(totals.debits_posted, sum(|account| account.sums.debits_posted));
    assert_eq!(totals.debits_pending, sum(|account| account.sums.debits_pending));
    if mode == "live" {
        assert_folds(stage, "civil/P");
    }
    for account in &accounts {
        assert!(!account.kind.is_limited() || mode != "live" || account.sums.shortfall() == 0);
    }
}
