//! Proofs over HTTP: receipts, state leaves, trails, all under the newest checkpoint that a quorum sealed and whose
//! state this node still holds. They are made by the ledger crate; nothing here is trusted by whoever checks them.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::entry::Entry;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::proof::{
    MAX_PAGE_ENTRIES, SealedHeader, SealedState, SubjectKind, TrailItem, TrailProof, subject_key,
};
use mingzhang_ledger::prove;
use mingzhang_ledger::seal::{Checkpoint, Note, Seal};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, parse_hash, read};
use super::submit::wait_until;
use super::{MAX_LIST_ITEMS, MAX_WAIT_S, Node, Problem};
use crate::store::View;

/// How many sealed sizes are tried for one whose state is still held.
const MAX_LOOK_BACK: usize = 32;

/// The note over the log of `size` leaves.
pub fn note_at(node: &Node, view: &View<'_>, size: u64) -> Result<Note, Problem> {
    let height = view.height_of_size(size)?.ok_or_else(|| not_sealed(size))?;
    let header = view.header(height)?.ok_or_else(|| not_sealed(size))?;
    let root: Hash = mingzhang_ledger::merkle::subtree_root(&view.log(), 0, size)?;
    let checkpoint = Checkpoint { origin: node.ledger.origin.clone(), size, root };
    let set = view.stored_epoch(header.epoch)?.ok_or_else(|| not_sealed(size))?.set;
    let seals: Vec<Seal> = node.store.seals(size)?.iter().filter_map(|seal| Seal::decode(&seal.line).ok()).collect();
    Ok(Note::of(checkpoint, &set, &[], &seals))
}

pub fn not_sealed(size: u64) -> Problem {
    Problem::not_found(format!("no sealed checkpoint of size {size}; seals follow finality by about half a second"))
}

/// The newest checkpoint with a quorum of seals.
pub fn newest_note(node: &Node, view: &View<'_>) -> Result<Note, Problem> {
    match node.store.sealed_size() {
        0 => Err(not_sealed(0)),
        size => note_at(node, view, size),
    }
}

/// A note, its header, and the view of the state as it was then.
struct Sealed<'a> {
    note: Note,
    header: Header,
    state: View<'a>,
}

/// The newest sealed state that this node can still prove from.
fn newest_sealed(node: &Node) -> Result<Sealed<'_>, Problem> {
    let newest = node.store.sealed_size();
    let older = node.store.sealed_sizes_below(newest, MAX_LOOK_BACK)?;
    let mut problem = not_sealed(newest);
    for size in std::iter::once(newest).filter(|size| *size > 0).chain(older) {
        let view = node.store.view()?;
        let Some(height) = view.height_of_size(size)? else { continue };
        let (note, header) = (note_at(node, &view, size)?, view.header(height)?);
        let decided = header.as_ref().map(|header| view.stored_epoch(header.epoch)).transpose()?.flatten();
        let quorum = decided.map_or(usize::MAX, |epoch| epoch.set.quorum());
        if note.lines.len() < quorum {
            continue;
        }
        match (node.store.view_at(height), header) {
            (Ok(state), Some(header)) => return Ok(Sealed { note, header, state }),
            (Err(fault), _) => problem = fault.into(),
            (Ok(_), None) => {}
        }
    }
    Err(problem)
}

fn sealed_header(sealed: &Sealed<'_>) -> Result<SealedHeader, Problem> {
    Ok(prove::sealed_header(&sealed.state.log(), &sealed.note, &sealed.header)?)
}

#[derive(Debug, Deserialize)]
pub struct Wait {
    wait: Option<u64>,
}

/// The receipt of a transaction, as text; `wait` seconds for the seals.
pub async fn receipt(
    State(node): State<Node>,
    Path(id): Path<String>,
    Query(query): Query<Wait>,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_hash(&id)?;
    let wait_s = query.wait.unwrap_or(0).min(MAX_WAIT_S);
    let location = read(&node, move |_, view| Ok(view.location(&id)?)).await?;
    let location = location
        .ok_or_else(|| Problem::not_found(format!("transaction sha256:{} is not final here", hex::encode(id))))?;
    let mut sealed = node.store.watch_sealed();
    wait_until(wait_s, sealed.wait_for(|size| *size > location.index)).await;
    let text = read(&node, move |node, view| {
        let note = newest_note(node, view)?;
        if note.checkpoint.size <= location.index {
            return Err(not_sealed(location.index.saturating_add(1)));
        }
        let entry = view.entry(location.index)?.ok_or_else(|| Problem::not_found("the entry"))?;
        Ok(prove::receipt(&view.log(), &note, location.index, &entry)?.text())
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text))
}

/// What a sealed state is to show before it is given, for `wait` seconds at most.
#[derive(Debug, Deserialize)]
pub struct Awaited {
    wait: Option<u64>,
    /// A log index that it covers.
    entry: Option<u64>,
    /// Milliseconds since 1970 that its header's time has reached: an idle network then makes a block.
    past: Option<u64>,
}

/// Presence or absence of one key, hex of its hash, under the newest sealed header.
pub async fn state(
    State(node): State<Node>,
    Path(key): Path<String>,
    Query(awaited): Query<Awaited>,
) -> Result<Json<SealedState>, Problem> {
    let key = parse_hash(&key)?;
    let wait_s = awaited.wait.unwrap_or(0).min(MAX_WAIT_S);
    wait_until(wait_s, sealed_enough(&node, &awaited)).await;
    read(&node, move |node, _| {
        let sealed = newest_sealed(node)?;
        let state = prove::state(&sealed.state, sealed.header.state_size, &key)?;
        Ok(Json(SealedState { sealed: sealed_header(&sealed)?, state }))
    })
    .await
}

/// Ends once the newest sealed state covers the entry and the time, or can no longer be read.
async fn sealed_enough(node: &Node, awaited: &Awaited) {
    let (entry, past) = (awaited.entry.unwrap_or(0), awaited.past.unwrap_or(0));
    let _demand = (past > 0 && past <= node.now_ms()).then(|| node.wait_for_expiry());
    let mut sealed = node.store.watch_sealed();
    loop {
        let size = *sealed.borrow_and_update();
        let time = read(node, move |_, view| {
            let height = view.height_of_size(size)?;
            Ok(height.map(|height| view.header(height)).transpose()?.flatten().map_or(0, |header| header.time_ms))
        });
        let Ok(time_ms) = time.await else { return };
        if (size > entry && time_ms >= past) || sealed.changed().await.is_err() {
            return;
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct Keys {
    /// Hex of key hashes, separated by commas.
    keys: String,
    /// Size of the sealed checkpoint under which they are wanted; the newest if not given.
    size: Option<u64>,
}

/// Several keys under one sealed header.
pub async fn states(State(node): State<Node>, Query(query): Query<Keys>) -> Answer {
    let keys = query.keys.split(',').map(parse_hash).collect::<Result<Vec<_>, _>>()?;
    if keys.len() > MAX_LIST_ITEMS {
        return Err(Problem::over_limit(format!("{} keys, at most {MAX_LIST_ITEMS}", keys.len())));
    }
    read(&node, move |node, _| {
        let sealed = sealed_at(node, query.size)?;
        let leaves = keys
            .iter()
            .map(|key| Ok(prove::state(&sealed.state, sealed.header.state_size, key)?))
            .collect::<Result<Vec<_>, Problem>>()?;
        Ok(Json(json!({ "sealed": sealed_header(&sealed)?, "leaves": leaves })))
    })
    .await
}

fn sealed_at(node: &Node, size: Option<u64>) -> Result<Sealed<'_>, Problem> {
    let Some(size) = size else { return newest_sealed(node) };
    let view = node.store.view()?;
    let height = view.height_of_size(size)?.ok_or_else(|| not_sealed(size))?;
    let header = view.header(height)?.ok_or_else(|| not_sealed(size))?;
    Ok(Sealed { note: note_at(node, &view, size)?, header, state: node.store.view_at(height)? })
}

#[derive(Debug, Default, Deserialize)]
pub struct TrailQuery {
    /// Entries before this position are left out.
    after: Option<u64>,
    limit: Option<usize>,
    /// Size of the sealed checkpoint that the first page named, so that all pages speak of one state.
    size: Option<u64>,
}

/// A trail of any kind, with its proof.
pub async fn trail(
    State(node): State<Node>,
    Path((kind, id)): Path<(String, String)>,
    Query(query): Query<TrailQuery>,
) -> Result<Json<TrailProof>, Problem> {
    let kind: SubjectKind = serde_json::from_value(Value::String(kind.clone()))
        .map_err(|_| Problem::not_found(format!("there are no trails of {kind}")))?;
    trail_of(&node, kind, id, query).await.map(Json)
}

/// A page of the trail of one subject.
pub async fn trail_of(node: &Node, kind: SubjectKind, id: String, query: TrailQuery) -> Result<TrailProof, Problem> {
    let key = subject_key(kind, &id).ok_or_else(|| Problem::malformed(format!("{id} is not an id of that kind")))?;
    read(node, move |node, _| {
        let sealed = sealed_at(node, query.size)?;
        let after = query.after.unwrap_or(0);
        let limit = query.limit.unwrap_or(MAX_PAGE_ENTRIES).clamp(1, MAX_PAGE_ENTRIES);
        let mut page = prove::trail(&sealed.state, sealed.header.state_size, kind, &id, Vec::new())
            .map_err(|fault| Problem::not_found(fault.to_string()))?;
        let room = usize::try_from(page.count.saturating_sub(after)).unwrap_or(usize::MAX).min(limit);
        page.entries = entries(&sealed.state, &sealed.state.trail_indices(&key, after, room)?)?;
        let end = after.saturating_add(u64::try_from(page.entries.len()).unwrap_or(0));
        let next_cursor = (end < page.count).then_some(end);
        Ok(TrailProof { sealed: sealed_header(&sealed)?, trail: page, next_cursor })
    })
    .await
}

fn entries(view: &View<'_>, indices: &[u64]) -> Result<Vec<TrailItem>, Problem> {
    indices
        .iter()
        .map(|index| {
            let entry = view.entry(*index)?.ok_or_else(|| Problem::not_found(format!("entry {index}")))?;
            Ok(TrailItem { index: *index, entry })
        })
        .collect()
}

/// The transaction in a record entry, with its outcome.
pub fn record_at(view: &View<'_>, index: u64) -> Result<(u16, mingzhang_ledger::transaction::Transaction), Problem> {
    let bytes = view.entry(index)?.ok_or_else(|| Problem::not_found(format!("entry {index}")))?;
    match Entry::decode(&bytes) {
        Ok(Entry::Record { outcome, transaction }) => Ok((outcome, transaction)),
        _ => Err(Problem::not_found(format!("entry {index} is no record"))),
    }
}
