//! What only time creates (3902, 3903, 3908): no record of it is ever written, so it is reckoned here, from proven leaves and
//! the day of the proven header. In live programmes; nothing waits in imported history.

use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::proof::BundledTrail;
use mingzhang_ledger::records::calendar::Day;
use mingzhang_ledger::records::fund::account::Account;
use mingzhang_ledger::records::fund::fold::Fold;
use mingzhang_ledger::records::fund::movement::MovementState;
use mingzhang_ledger::records::fund::standing::{held_too_long, idle};
use mingzhang_ledger::records::object::{Object, RecordLeaf, Ref};
use mingzhang_ledger::rules::{self, History};
use mingzhang_ledger::state::key::{self, Key};
use mingzhang_ledger::verify::{ProvenBundle, absence};
use serde_json::{Value, json};

/// The parameter that says how long money may lie.
const IDLE_DAYS: &str = "idle_days";

/// A rule that time alone has broken.
#[derive(Debug, PartialEq)]
pub struct Standing {
    pub code: Code,
    /// The account or movement.
    pub record: Ref,
    pub amount_minor: u64,
    pub parameters: Value,
}

/// The leaves that it takes besides those of the accounts.
pub fn keys(fold: &Fold) -> impl Iterator<Item = Key> + '_ {
    let all = std::iter::once(key::rule(IDLE_DAYS)).chain(proposed(fold).map(Ref::key));
    all.filter(|_| !fold.is_historical())
}

fn proposed(fold: &Fold) -> impl Iterator<Item = &Ref> {
    fold.movements().iter().filter(|(_, moved)| moved.state == MovementState::Proposed).map(|(record, _)| record)
}

/// Everything of a programme as of the proven header. A leaf that is not at hand is named: what it shows would pass in
/// silence.
pub fn of(
    (bundled, proven, fold): (&BundledTrail, &ProvenBundle, &Fold),
    utc_offset_minutes: i32,
) -> Result<Vec<Standing>, String> {
    if fold.is_historical() {
        return Ok(Vec::new());
    }
    let time_ms = proven.header.header.time_ms;
    let (day, idle_days) = (Day::at(time_ms, utc_offset_minutes), idle_days(bundled, proven, time_ms)?);
    let mut found = Vec::new();
    for name in fold.accounts().keys() {
        if let Some(Object::Account(account)) = leaf(proven, name)?.object {
            found.extend(of_account((name, &account), day, idle_days));
        }
    }
    for name in proposed(fold) {
        found.extend(of_movement((name, &leaf(proven, name)?), time_ms));
    }
    Ok(found)
}

fn of_account((name, account): (&Ref, &Account), day: Day, idle_days: u64) -> Option<Standing> {
    let code = idle(account, day, idle_days)?;
    let since = account.last_moved.map(|since| since.to_string());
    let parameters = json!({ IDLE_DAYS: idle_days, "since": since });
    Some(Standing { code, record: name.clone(), amount_minor: account.sums.available(), parameters })
}

fn of_movement((name, leaf): (&Ref, &RecordLeaf), time_ms: u64) -> Option<Standing> {
    let code = held_too_long(leaf, time_ms)?;
    let Some(Object::Movement(movement)) = &leaf.object else { return None };
    let until = leaf.waiting.as_ref().map(|waiting| waiting.valid_until);
    let parameters = json!({ "valid_until_ms": until });
    Some(Standing { code, record: name.clone(), amount_minor: movement.amount(), parameters })
}

fn leaf(proven: &ProvenBundle, record: &Ref) -> Result<RecordLeaf, String> {
    let leaf = proven.leaves.get(&record.key()).and_then(|leaf| minicbor::decode(&leaf.current).ok());
    leaf.ok_or_else(|| format!("the leaf of {record}, which says since when"))
}

fn idle_days(bundled: &BundledTrail, proven: &ProvenBundle, time_ms: u64) -> Result<u64, String> {
    let wanted = key::rule(IDLE_DAYS);
    let default = rules::find(IDLE_DAYS).map_or(0, |parameter| parameter.default);
    if let Some(leaf) = proven.leaves.get(&wanted) {
        let history: History = minicbor::decode(&leaf.current).map_err(|_| format!("a readable {IDLE_DAYS}"))?;
        return Ok(history.at(time_ms).unwrap_or(default));
    }
    let is_absent = bundled.leaves.iter().any(|leaf| absence(&proven.header, leaf, &wanted).is_ok());
    if is_absent {
        Ok(default)
    } else {
        Err(format!("the parameter {IDLE_DAYS}, or the proof that it was never voted on"))
    }
}
