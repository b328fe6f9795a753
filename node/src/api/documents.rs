//! Which records cite a document, by its digest: what the store's index names, and of each record what lists of records
//! show anyway. The index knows no other hash than a document's: `ledger/records/schema` says which are.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::citation::citing;
use mingzhang_ledger::state::key::id_text;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, as_of, hash_text, parse_hash, read, time_text};
use super::proofs::record_at;
use super::{MAX_LIST_ITEMS, Node, Problem};
use crate::store::View;

/// Most digests of one lookup.
pub const MAX_DIGESTS: usize = 500;
/// Records shown for each digest of a lookup; the rest is asked for digest by digest.
const SHOWN_OF_EACH: usize = 20;
/// Records shown in one lookup, over all its digests, beside one of each.
const SHOWN_OF_ALL: usize = MAX_LIST_ITEMS;

#[derive(Debug, Deserialize)]
pub struct Page {
    /// Log index from which on records are listed.
    cursor: Option<u64>,
    limit: Option<usize>,
}

/// GET /documents/{digest}: the records that cite it, in the order of the log. None is an answer, not an error: it is
/// said of the log from `since_index` on.
pub async fn one(State(node): State<Node>, Path(digest): Path<String>, Query(page): Query<Page>) -> Answer {
    let digest = parse_hash(&digest)?;
    read(&node, move |_, view| {
        let limit = page.limit.unwrap_or(50).clamp(1, MAX_LIST_ITEMS);
        let mut told = listed(view, &digest, page.cursor.unwrap_or(0), limit)?;
        told["since_index"] = json!(view.documents_since()?);
        told["as_of"] = as_of(view);
        Ok(Json(told))
    })
    .await
}

#[derive(Debug, Deserialize)]
struct Lookup {
    digests: Vec<String>,
}

/// POST /documents/lookup: the same for many digests, of each the first records.
pub async fn lookup(State(node): State<Node>, body: Bytes) -> Answer {
    let asked: Lookup = serde_json::from_slice(&body)
        .map_err(|error| Problem::malformed(format!("{{\"digests\":[…]}} is wanted: {error}")))?;
    if asked.digests.len() > MAX_DIGESTS {
        return Err(Problem::over_limit(format!("{} digests, at most {MAX_DIGESTS}", asked.digests.len())));
    }
    let digests = asked.digests.iter().map(|digest| parse_hash(digest)).collect::<Result<Vec<Hash>, _>>()?;
    read(&node, move |_, view| {
        let mut left = SHOWN_OF_ALL;
        let mut items = Vec::with_capacity(digests.len());
        for digest in &digests {
            // Of each at least whether there is one.
            let told = listed(view, digest, 0, left.clamp(1, SHOWN_OF_EACH))?;
            left = left.saturating_sub(told["items"].as_array().map_or(0, Vec::len));
            items.push(told);
        }
        let since = view.documents_since()?;
        Ok(Json(json!({ "items": items, "next_cursor": null, "since_index": since, "as_of": as_of(view) })))
    })
    .await
}

/// The records from a log index on that cite a digest, at most so many, and where the next page begins.
fn listed(view: &View<'_>, digest: &Hash, from: u64, limit: usize) -> Result<Value, Problem> {
    let mut indices = view.citing(digest, from, limit.saturating_add(1))?;
    let next = (indices.len() > limit).then(|| indices.pop()).flatten();
    let items = indices.into_iter().map(|index| record(view, index, digest)).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "digest": hash_text(digest), "items": items, "next_cursor": next }))
}

/// What is shown of a record that cites the digest.
fn record(view: &View<'_>, index: u64, digest: &Hash) -> Result<Value, Problem> {
    let (outcome, transaction) = record_at(view, index)?;
    let height = view.height_of(index)?;
    let header = height.map(|height| view.header(height)).transpose()?.flatten();
    let payload = transaction.payload();
    let cited = citing(payload, digest);
    let cited = cited.iter().map(|citation| json!({ "field": citation.field, "kind": citation.kind }));
    Ok(json!({
        "index": index, "height": height, "block_time": header.map(|header| time_text(header.time_ms)),
        "tx_id": hash_text(&transaction.id()), "record_type": payload.record_type, "agency_id": payload.agency,
        "record_id": id_text(&payload.record_id), "outcome": if outcome == 0 { "applied" } else { "rejected" },
        "code": (outcome != 0).then(|| Code(outcome).to_string()), "cited_as": cited.collect::<Vec<_>>(),
    }))
}
