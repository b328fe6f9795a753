//! Blocks: headers, their transactions, who confirmed them, and the raw entries.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use mingzhang_ledger::entry::Entry;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::merkle::inclusion_path;
use mingzhang_ledger::proof::HeaderProof;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, as_of, hash_text, read, time_text};
use super::{MAX_LIST_ITEMS, Node, Problem};
use crate::store::View;

#[derive(Debug, Deserialize)]
pub struct Page {
    /// Blocks below this height; the newest if not given.
    cursor: Option<u64>,
    limit: Option<usize>,
}

fn header_json(header: &Header) -> Value {
    json!({
        "height": header.height, "id": hash_text(&header.id()), "epoch": header.epoch, "turn": header.turn,
        "parent_turn": header.parent_turn, "proposer": header.proposer, "time": time_text(header.time_ms),
        "first_index": header.first_index, "entry_count": header.entry_count, "tree_size": header.tree_size(),
        "log_root": hash_text(&header.log_root), "state_root": hash_text(&header.state_root),
        "state_size": header.state_size, "parent": hash_text(&header.parent), "set_hash": hash_text(&header.set_hash),
        "missed_turns": header.turn.saturating_sub(header.parent_turn).saturating_sub(1),
    })
}

fn header_at(view: &View<'_>, height: u64) -> Result<Header, Problem> {
    view.header(height)?.ok_or_else(|| Problem::not_found(format!("no final block at height {height}")))
}

pub async fn list(State(node): State<Node>, Query(page): Query<Page>) -> Answer {
    read(&node, move |_, view| {
        let limit = page.limit.unwrap_or(20).clamp(1, MAX_LIST_ITEMS);
        let above = page.cursor.unwrap_or(u64::MAX).min(view.height().saturating_add(1));
        let mut items = Vec::new();
        let mut height = above.saturating_sub(1);
        while height > 0 && items.len() < limit {
            items.push(header_json(&header_at(view, height)?));
            height = height.saturating_sub(1);
        }
        let next = (height > 0).then_some(height.saturating_add(1));
        Ok(Json(json!({ "items": items, "next_cursor": next, "as_of": as_of(view) })))
    })
    .await
}

pub async fn one(State(node): State<Node>, Path(height): Path<u64>) -> Answer {
    read(&node, move |_, view| Ok(Json(header_json(&header_at(view, height)?)))).await
}

pub async fn transactions(State(node): State<Node>, Path(height): Path<u64>) -> Answer {
    read(&node, move |_, view| {
        let header = header_at(view, height)?;
        let items: Vec<Value> = view
            .entries(header.first_index, header.own_index())?
            .iter()
            .zip(header.first_index..)
            .filter_map(|(bytes, index)| match Entry::decode(bytes) {
                Ok(Entry::Record { outcome, transaction }) => Some(json!({
                    "index": index, "tx_id": hash_text(&transaction.id()), "outcome": outcome,
                    "record_type": transaction.payload().record_type, "agency_id": transaction.payload().agency,
                    "record_id": mingzhang_ledger::state::key::id_text(&transaction.payload().record_id),
                })),
                _ => None,
            })
            .collect();
        Ok(Json(json!({ "items": items, "next_cursor": null, "as_of": as_of(view) })))
    })
    .await
}

pub async fn certificate(State(node): State<Node>, Path(height): Path<u64>) -> Answer {
    read(&node, move |node, view| {
        let epoch = header_at(view, height)?.epoch;
        let certificate =
            view.certificate_from(height)?.filter(|certificate| certificate.epoch == epoch).ok_or_else(|| {
                Problem::not_found(format!("no certificate of epoch {epoch} at or above height {height}"))
            })?;
        let set = match view.stored_epoch(epoch)? {
            Some(stored) => Arc::new(stored.set),
            None => node.store.set(),
        };
        let signers: Vec<_> = certificate
            .signers
            .iter()
            .map(|(seat, signature)| {
                json!({ "seat": seat, "agency_id": set.member(seat).map(|member| member.agency.as_str()),
                        "signature": hex::encode(signature.0) })
            })
            .collect();
        Ok(Json(json!({
            "epoch": certificate.epoch, "turn": certificate.turn, "height": certificate.height,
            "block": hash_text(&certificate.block), "signers": signers, "quorum": set.quorum(),
        })))
    })
    .await
}

#[derive(Debug, Deserialize)]
pub struct Under {
    /// Size of the checkpoint; the newest sealed one if not given.
    size: Option<u64>,
}

/// The header with its path in the log, under a checkpoint that the reader holds.
pub async fn proof(
    State(node): State<Node>,
    Path(height): Path<u64>,
    Query(under): Query<Under>,
) -> Result<Json<HeaderProof>, Problem> {
    read(&node, move |node, view| {
        let size = under.size.unwrap_or_else(|| node.store.sealed_size());
        header_proof(view, height, size).map(Json)
    })
    .await
}

fn header_proof(view: &View<'_>, height: u64, size: u64) -> Result<HeaderProof, Problem> {
    let header = header_at(view, height)?;
    if size < header.tree_size() || size > view.tip().tree_size() {
        let log = view.tip().tree_size();
        return Err(Problem::not_found(format!("size {size} does not cover height {height} of a log of {log}")));
    }
    let path = inclusion_path(&view.log(), header.own_index(), size)?;
    Ok(HeaderProof { header: header.encode().to_vec(), path })
}

#[derive(Debug, Deserialize)]
pub struct Holding {
    /// Indices of log entries, separated by commas.
    entries: String,
    /// Size of the checkpoint; the newest sealed one if not given.
    size: Option<u64>,
}

/// The headers of the blocks that hold these entries, each once, with their paths under one checkpoint.
pub async fn holding(State(node): State<Node>, Query(query): Query<Holding>) -> Answer {
    let index = |text: &str| text.parse().map_err(|_| Problem::malformed(format!("{text} is not an index")));
    let indices = query.entries.split(',').map(index).collect::<Result<Vec<u64>, _>>()?;
    if indices.len() > MAX_LIST_ITEMS {
        return Err(Problem::over_limit(format!("{} entries, at most {MAX_LIST_ITEMS}", indices.len())));
    }
    read(&node, move |node, view| {
        let size = query.size.unwrap_or_else(|| node.store.sealed_size());
        let mut heights = BTreeSet::new();
        for index in indices {
            let height = view.height_of(index)?.ok_or_else(|| Problem::not_found(format!("entry {index}")))?;
            heights.insert(height);
        }
        let headers = heights.into_iter().map(|height| header_proof(view, height, size));
        Ok(Json(json!({ "headers": headers.collect::<Result<Vec<_>, _>>()? })))
    })
    .await
}

/// Header and entries, each behind its length in two bytes, as in the log's entry tiles.
pub async fn raw(State(node): State<Node>, Path(height): Path<u64>) -> Result<impl IntoResponse, Problem> {
    let bytes = read(&node, move |_, view| {
        let header = header_at(view, height)?;
        let mut bytes = Vec::new();
        for entry in view.entries(header.first_index, header.tree_size())? {
            bytes.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend_from_slice(&entry);
        }
        Ok(bytes)
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes))
}
