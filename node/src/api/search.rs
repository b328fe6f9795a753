//! What stands under exactly these words: an id, a hash, a height, an agency, an officer's key, a code that is unique.
//! There is no index of words, and recipients, persons and accounts are looked for nowhere.

use axum::Json;
use axum::extract::{Query, State};
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::records::object::Ref;
use mingzhang_ledger::records::registry::{Agency, OfficerKey, Roster};
use mingzhang_ledger::records::{lookup, view as words};
use mingzhang_ledger::state::{Overlay, Snapshot as _, key};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, as_of, hash_text, read};
use super::proofs::record_at;
use super::{Node, Problem, status};
use crate::store::View;

/// Longest text that is looked for, in bytes: no id, hash or code is longer.
const MAX_BYTES: usize = 128;
/// Most records of one kind that are named; of a document there may be more, which its own address lists.
const MAX_FOUND: usize = 50;
/// What is looked through.
const THROUGH: [&str; 7] = ["transaction", "document", "block", "record", "agency", "officer", "code"];

#[derive(Debug, Deserialize)]
pub struct Asked {
    q: String,
}

/// GET /search?q=: everything of that name, with its kind and where it is told of.
pub async fn search(State(node): State<Node>, Query(asked): Query<Asked>) -> Answer {
    let text = asked.q.trim().to_owned();
    if text.is_empty() {
        return Err(Problem::malformed("q is empty"));
    }
    if text.len() > MAX_BYTES {
        return Err(Problem::over_limit(format!("{} bytes to look for, at most {MAX_BYTES}", text.len())));
    }
    read(&node, move |node, view| {
        let items = found(view, node.ledger.utc_offset_minutes, &text)?;
        if items.is_empty() {
            let through = THROUGH.join(", ");
            return Err(Problem::not_found(format!("nothing is called {text}; looked through: {through}")));
        }
        let since = view.documents_since()?;
        Ok(Json(json!({
            "q": text, "items": items, "looked_through": THROUGH, "codes": lookup::kinds().collect::<Vec<_>>(),
            "since_index": since, "as_of": as_of(view),
        })))
    })
    .await
}

fn found(view: &View<'_>, utc_offset_minutes: i32, text: &str) -> Result<Vec<Value>, Problem> {
    let agencies = Roster::load(&Overlay::new(view))?.agencies;
    let mut items = Vec::new();
    if let Some(hash) = digits::<32>(text.strip_prefix("sha256:").unwrap_or(text)) {
        by_hash(view, &hash, &mut items)?;
    }
    if let Some(header) = text.parse().ok().map(|height| view.header(height)).transpose()?.flatten() {
        let block = json!({ "kind": "block", "id": header.height.to_string(), "height": header.height });
        items.push(block);
    }
    let named = match text.split_once('/') {
        Some((agency, id)) => key::parse_id(id).map(|id| vec![Ref::new(agency, &id)]),
        None => key::parse_id(text).map(|id| agencies.iter().map(|agency| Ref::new(agency, &id)).collect()),
    };
    for name in named.into_iter().flatten() {
        items.extend(record(view, &name, ("record", None))?);
    }
    let now_ms = view.tip().time_ms;
    if let Some(agency) = leaf::<Agency>(view, &key::agency(text))? {
        let shown = words::agency(text, &agency, now_ms, utc_offset_minutes);
        items.push(json!({ "kind": "agency", "id": text, "status": shown["status"] }));
    }
    if let Some(id) = digits::<16>(text)
        && let Some(officer) = leaf::<OfficerKey>(view, &key::officer_key(&id))?
    {
        let shown = words::officer_key(&officer, now_ms, utc_offset_minutes);
        items.push(json!({ "kind": "officer", "id": hex::encode(id), "agency_id": officer.agency,
                           "status": shown["status"] }));
    }
    for (kind, holder) in lookup::holders(view, &agencies, text)? {
        items.extend(record(view, &holder, ("code", Some(kind)))?);
    }
    Ok(items)
}

/// A transaction of that id, and the records that cite a document of that digest.
fn by_hash(view: &View<'_>, hash: &Hash, items: &mut Vec<Value>) -> Result<(), Problem> {
    if let Some(location) = view.location(hash)? {
        let (outcome, transaction) = record_at(view, location.index)?;
        let payload = transaction.payload();
        items.push(json!({
            "kind": "transaction", "id": hash_text(hash), "record_type": payload.record_type, "height": location.height,
            "name": Ref::new(&payload.agency, &payload.record_id).to_string(), "outcome": outcome_name(outcome),
        }));
    }
    let citing = view.citing(hash, 0, MAX_FOUND.saturating_add(1))?;
    if !citing.is_empty() {
        let (count, more) = (citing.len().min(MAX_FOUND), citing.len() > MAX_FOUND);
        items.push(json!({ "kind": "document", "id": hash_text(hash), "records": count, "more": more }));
    }
    Ok(())
}

/// A record by its name, as whatever it was found.
fn record(view: &View<'_>, name: &Ref, (kind, code): (&str, Option<&str>)) -> Result<Option<Value>, Problem> {
    let Some(leaf) = view.read(&name.key())?.and_then(|stored| status::read_leaf(&stored.current)) else {
        return Ok(None);
    };
    let mut item = json!({
        "kind": kind, "id": name.to_string(), "record_type": leaf.record_type, "height": view.height_of(leaf.index)?,
        "outcome": outcome_name(leaf.outcome),
    });
    if let Some(code) = code {
        item["code_of"] = json!(code);
    }
    Ok(Some(item))
}

fn outcome_name(outcome: u16) -> &'static str {
    if outcome == 0 { "applied" } else { "rejected" }
}

fn leaf<T: for<'b> minicbor::Decode<'b, ()>>(view: &View<'_>, key: &key::Key) -> Result<Option<T>, Problem> {
    let stored = view.read(key)?;
    Ok(stored.and_then(|stored| minicbor::decode(&stored.current).ok()))
}

/// So many bytes in hexadecimal.
fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    hex::decode(text).ok()?.try_into().ok()
}
