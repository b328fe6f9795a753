//! Records and the things that have trails: lists from the registry trails, the object in words, its trail.

use axum::Json;
use axum::extract::{Path, Query, State};
use mingzhang_ledger::proof::{SubjectKind, TrailProof};
use mingzhang_ledger::records::object::{Object, Ref};
use mingzhang_ledger::records::registry::{Agency, Roster};
use mingzhang_ledger::records::view as words;
use mingzhang_ledger::records::waiting::registered_by;
use mingzhang_ledger::state::{Overlay, Snapshot as _, key};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, as_of, read};
use super::proofs::{TrailQuery, record_at, trail_of};
use super::{MAX_LIST_ITEMS, Node, Problem, status};

/// The subjects that are records: plural in paths, and their kind.
fn kind_of(subjects: &str) -> Result<SubjectKind, Problem> {
    match subjects {
        "programmes" => Ok(SubjectKind::Programme),
        "accounts" => Ok(SubjectKind::Account),
        "cases" => Ok(SubjectKind::Case),
        other => Err(Problem::not_found(format!("there is no list of {other}"))),
    }
}

/// GET /records/{agency}/{id}: the leaf of one record in words, whatever it made.
pub async fn record(State(node): State<Node>, Path((agency, id)): Path<(String, String)>) -> Answer {
    let record_id = key::parse_id(&id).ok_or_else(|| Problem::malformed(format!("{id} is not a record id")))?;
    read(&node, move |node, view| {
        let stored = view
            .read(&key::record(&agency, &record_id))?
            .ok_or_else(|| Problem::not_found(format!("nothing is recorded under {agency}/{id}")))?;
        let leaf = status::read_leaf(&stored.current).ok_or_else(|| Problem::not_found("the record"))?;
        let utc_offset_minutes = node.ledger.utc_offset_minutes;
        let lens = status::lens(view, utc_offset_minutes, &leaf)?;
        let mut answer = status::at_index(view, utc_offset_minutes, leaf.index)?;
        answer["leaf"] = words::leaf(&Ref::new(&agency, &record_id), &leaf, &lens);
        if let Some(Object::Objection(objection)) = &leaf.object {
            // One that was settled with all others says so nowhere but in its list.
            let list = view.read(&objection.list.key())?.and_then(|stored| status::read_leaf(&stored.current));
            let list = list.and_then(|list| list.object);
            let is_open = |object| matches!(object, Object::List(list) if objection.is_open(leaf.index, &list));
            answer["leaf"]["object"]["open"] = json!(list.is_some_and(is_open));
        }
        answer["trail_count"] = json!(stored.trail.map(|trail| trail.size()));
        answer["as_of"] = as_of(view);
        Ok(Json(answer))
    })
    .await
}

#[derive(Debug, Deserialize)]
pub struct Page {
    /// Position in the registry trail after which items are listed.
    cursor: Option<u64>,
    limit: Option<usize>,
}

/// GET /{subjects}: what the registry trail lists, in order of registration.
pub async fn list(State(node): State<Node>, Path(subjects): Path<String>, Query(page): Query<Page>) -> Answer {
    if subjects == "agencies" {
        return agencies(&node, page).await;
    }
    // Proposals have a registry but no trails of their own.
    if subjects != "proposals" {
        kind_of(&subjects)?;
    }
    read(&node, move |node, view| {
        let from = page.cursor.unwrap_or(0);
        let limit = page.limit.unwrap_or(50).clamp(1, MAX_LIST_ITEMS);
        let registry = key::registry(&subjects);
        let indices = view.trail_indices(&registry, from, limit)?;
        let items = indices
            .iter()
            .map(|index| {
                let (outcome, transaction) = record_at(view, *index)?;
                let named = registered_by(transaction.payload());
                let leaf = view.read(&named.key())?.and_then(|stored| status::read_leaf(&stored.current));
                let object = match &leaf {
                    Some(leaf) => {
                        let lens = status::lens(view, node.ledger.utc_offset_minutes, leaf)?;
                        words::leaf(&named, leaf, &lens)
                    }
                    None => Value::Null,
                };
                Ok(json!({
                    "id": named.to_string(), "record_type": leaf.map(|leaf| leaf.record_type), "outcome": outcome,
                    "index": index, "object": object,
                }))
            })
            .collect::<Result<Vec<_>, Problem>>()?;
        let end = from.saturating_add(u64::try_from(items.len()).unwrap_or(0));
        let count = view.read(&registry)?.and_then(|stored| stored.trail).map_or(0, |trail| trail.size());
        let next = (end < count).then_some(end);
        Ok(Json(json!({ "items": items, "next_cursor": next, "as_of": as_of(view) })))
    })
    .await
}

/// GET /agencies: as the roster names them, which votes change; their registry's trail names votes.
async fn agencies(node: &Node, page: Page) -> Answer {
    read(node, move |node, view| {
        let from = page.cursor.unwrap_or(0);
        let limit = page.limit.unwrap_or(50).clamp(1, MAX_LIST_ITEMS);
        let all = Roster::load(&Overlay::new(view))?.agencies;
        let skipped = usize::try_from(from).unwrap_or(usize::MAX);
        let (now_ms, offset) = (view.tip().time_ms, node.ledger.utc_offset_minutes);
        let items = all
            .iter()
            .skip(skipped)
            .take(limit)
            .map(|id| {
                let stored = view.read(&key::agency(id))?;
                let agency: Option<Agency> = stored.and_then(|stored| minicbor::decode(&stored.current).ok());
                Ok(json!({ "id": id, "object": agency.map(|agency| words::agency(id, &agency, now_ms, offset)) }))
            })
            .collect::<Result<Vec<_>, Problem>>()?;
        let end = skipped.saturating_add(items.len());
        Ok(Json(json!({ "items": items, "next_cursor": (end < all.len()).then_some(end), "as_of": as_of(view) })))
    })
    .await
}

/// GET /{subjects}/{agency}/{id}: the record that makes one, rejected ones too; of a record that makes another kind of
/// thing, only that it does.
pub async fn one(node: State<Node>, Path((subjects, agency, id)): Path<(String, String, String)>) -> Answer {
    let kind = kind_of(&subjects)?;
    let name = format!("{agency}/{id}");
    let answer = record(node, Path((agency, id))).await?;
    match answer.pointer("/leaf/record_type").and_then(Value::as_str) {
        Some(told) if !kind.made_by().contains(&told) => {
            Err(Problem::not_found(format!("{name} is of type {told}, which makes no {}", kind.name())))
        }
        _ => Ok(answer),
    }
}

/// GET /{subjects}/{agency}/{id}/trail
pub async fn trail(
    State(node): State<Node>,
    Path((subjects, agency, id)): Path<(String, String, String)>,
    Query(query): Query<TrailQuery>,
) -> Result<Json<TrailProof>, Problem> {
    trail_of(&node, kind_of(&subjects)?, format!("{agency}/{id}"), query).await.map(Json)
}
