//! Where a record stands, in the words of the command line: pending, final with its outcome, what it still waits for.

use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::object::RecordLeaf;
use mingzhang_ledger::records::view::{Lens, WaitsFor, standing};
use mingzhang_ledger::state::{Snapshot as _, key};
use mingzhang_ledger::transaction::Transaction;
use serde::Serialize;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::Problem;
use super::answer::{hash_text, time_text};
use super::proofs::record_at;
use crate::store::View;

/// The status of a record that is final at a log index.
pub fn at_index(view: &View<'_>, utc_offset_minutes: i32, index: u64) -> Result<Value, Problem> {
    let (outcome, transaction) = record_at(view, index)?;
    let height = view.height_of(index)?;
    let header = height.map(|height| view.header(height)).transpose()?.flatten();
    let leaf = leaf_of(view, &transaction)?;
    let standing = leaf.as_ref().map(|leaf| Ok::<_, Problem>(standing(leaf, &lens(view, utc_offset_minutes, leaf)?)));
    let standing = standing.transpose()?;
    let flags = leaf.as_ref().map(|leaf| leaf.flags.as_slice()).unwrap_or_default();
    let flags: Vec<String> = flags.iter().map(|code| Code(*code).to_string()).collect();
    let mut status = pending(&transaction);
    status["status"] = json!("final");
    status["outcome"] = json!(if outcome == 0 { "applied" } else { "rejected" });
    status["code"] = if outcome == 0 { Value::Null } else { json!(Code(outcome).to_string()) };
    if let Some(standing) = standing {
        status["effect"] = json!(standing.effect);
        status["waits_for"] = standing.waits_for.iter().map(WaitsFor::view).collect();
        status["valid_until"] = standing.valid_until.map_or(Value::Null, time_text);
    }
    status["detail"] = json!(view.detail(index)?);
    status["flags"] = json!(flags);
    status["height"] = json!(height);
    status["index"] = json!(index);
    status["block_time"] = header.map_or(Value::Null, |header| time_text(header.time_ms));
    Ok(status)
}

/// The status of a record that was admitted this moment. Thousands a second are told: written without a tree in between.
#[derive(Debug, Serialize)]
pub struct Pending {
    tx_id: String,
    record_type: SmolStr,
    agency_id: SmolStr,
    record_id: String,
    status: &'static str,
    outcome: Option<()>,
    code: Option<()>,
    detail: Option<()>,
    effect: Option<()>,
    waits_for: [(); 0],
    valid_until: Option<()>,
    flags: [(); 0],
    height: Option<()>,
    index: Option<()>,
    block_time: Option<()>,
    expires_at: Value,
    repeated: bool,
}

impl Pending {
    pub fn of(transaction: &Transaction) -> Self {
        let payload = transaction.payload();
        Self {
            tx_id: hash_text(&transaction.id()),
            record_type: payload.record_type.clone(),
            agency_id: payload.agency.clone(),
            record_id: key::id_text(&payload.record_id),
            status: "pending",
            outcome: None,
            code: None,
            detail: None,
            effect: None,
            waits_for: [],
            valid_until: None,
            flags: [],
            height: None,
            index: None,
            block_time: None,
            expires_at: time_text(payload.expires_at),
            repeated: false,
        }
    }
}

/// The status of a record that is not final.
pub fn pending(transaction: &Transaction) -> Value {
    json!(Pending::of(transaction))
}

pub fn leaf_of(view: &View<'_>, transaction: &Transaction) -> Result<Option<RecordLeaf>, Problem> {
    let payload = transaction.payload();
    let Some(stored) = view.read(&key::record(&payload.agency, &payload.record_id))? else { return Ok(None) };
    Ok(read_leaf(&stored.current))
}

/// The leaf of a record from its stored value.
pub fn read_leaf(current: &[u8]) -> Option<RecordLeaf> {
    minicbor::decode(current).ok()
}

/// Currency and bank of the programme that a record belongs to, for showing it.
pub fn lens(view: &View<'_>, utc_offset_minutes: i32, leaf: &RecordLeaf) -> Result<Lens, Problem> {
    Ok(Lens::of(view, utc_offset_minutes, leaf)?)
}
