//! Who this network is and what it sealed: status, genesis, checkpoints, hand-offs, authority sets.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::merkle::subtree_root;
use mingzhang_ledger::proof::{Passage, RecoveryProof};
use mingzhang_ledger::recovery::SignedManifest;
use mingzhang_ledger::{authority, prove, transaction};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, hash_text, read, time_text};
use super::documents::MAX_DIGESTS;
use super::{MAX_BATCH_BYTES, MAX_BATCH_TRANSACTIONS, MAX_LIST_ITEMS, MAX_WAIT_S, Node, Problem, proofs};
use crate::node::EVENT_STREAMS;

pub async fn status(State(node): State<Node>) -> Answer {
    let status = node.status();
    let members: Vec<_> = status
        .members
        .iter()
        .map(|member| {
            json!({ "agency_id": member.agency, "seat": member.seat, "connected": member.connected,
                    "missed_turns": member.missed_turns })
        })
        .collect();
    let recoveries = read(&node, |_, view| Ok(view.recoveries()?)).await?;
    let discontinuities: Vec<_> = recoveries.iter().map(told).collect();
    let connected = status.members.iter().filter(|member| member.connected).count();
    // Whom a node without a seat reaches says nothing of whom the members reach.
    let as_a_member = |count: usize| status.seat.map(|_| count);
    Ok(Json(json!({
        "origin": node.ledger.origin,
        "genesis_hash": hash_text(&node.ledger.chain),
        "agency_id": status.agency,
        "seat": status.seat,
        "state": status.state.name(),
        "height": status.height,
        "time": time_text(status.time_ms),
        "tree_size": status.tree_size,
        "sealed_size": node.store.sealed_size(),
        "epoch": status.epoch,
        "turn": status.turn,
        "members": members,
        "quorum": status.quorum,
        "tolerates": status.tolerates,
        "members_connected": connected,
        "survives_more_failures": as_a_member(connected.saturating_sub(status.quorum)),
        "missing_for_quorum": as_a_member(status.quorum.saturating_sub(connected)),
        "peers_connected": status.peers_connected,
        "alarms": status.alarms,
        "test_network": node.genesis.test_keys(),
        "discontinuities": discontinuities,
    })))
}

/// A recovery manifest, for people and programs: nothing to be passed over in silence.
fn told(signed: &SignedManifest) -> Value {
    let manifest = signed.manifest();
    json!({ "epoch": manifest.set.epoch, "after_height": manifest.base.height, "tree_size": manifest.base.tree_size(),
            "reason": manifest.reason, "signed_by": signed.signers().collect::<Vec<_>>(),
            "manifest_hash": hash_text(&manifest.hash()) })
}

pub async fn genesis(State(node): State<Node>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], node.genesis.bytes.clone())
}

pub async fn version() -> Answer {
    Ok(Json(json!({ "version": env!("CARGO_PKG_VERSION"), "api": "v1" })))
}

pub async fn limits(State(node): State<Node>) -> Answer {
    let set = node.store.set();
    Ok(Json(json!({
        "transaction_bytes": transaction::MAX_TRANSACTION_BYTES,
        "batch_transactions": MAX_BATCH_TRANSACTIONS,
        "batch_bytes": MAX_BATCH_BYTES,
        "list_items": MAX_LIST_ITEMS,
        "lookup_digests": MAX_DIGESTS,
        "wait_seconds": MAX_WAIT_S,
        "event_streams": EVENT_STREAMS,
        "lane_bytes": node.config.lane_quota_bytes,
        "reads_per_second": node.config.api_reads_per_s,
        "authority_members": authority::MAX_MEMBERS,
        "block_records": set.parameters.max_block_records,
        "block_bytes": set.parameters.max_block_bytes,
    })))
}

/// The newest sealed checkpoint.
pub async fn checkpoint(State(node): State<Node>) -> Result<String, Problem> {
    read(&node, |node, view| Ok(proofs::newest_note(node, view)?.text())).await
}

#[derive(Debug, Deserialize)]
pub struct Range {
    from: u64,
    to: u64,
}

pub async fn consistency(State(node): State<Node>, Query(range): Query<Range>) -> Answer {
    read(&node, move |_, view| {
        let size = view.tip().tree_size();
        if range.from == 0 || range.from > range.to || range.to > size {
            return Err(Problem::malformed(format!(
                "0 < from ≤ to ≤ {size} is wanted, not {} and {}",
                range.from, range.to
            )));
        }
        let proof = prove::consistency(&view.log(), range.from, range.to)?;
        let root: Hash = subtree_root(&view.log(), 0, range.to)?;
        let mut json = serde_json::to_value(proof).unwrap_or_default();
        if let Some(members) = json.as_object_mut() {
            members.insert("to_root".into(), json!(hash_text(&root)));
        }
        Ok(Json(json))
    })
    .await
}

/// How trust passes to an epoch: its boundary block, sealed by the set before; or the recovery manifest that opened it.
pub async fn handoff(State(node): State<Node>, Path(epoch): Path<u64>) -> Answer {
    read(&node, move |node, view| {
        let current = view.tip().epoch;
        let none = || Problem::not_found(format!("no hand-off to epoch {epoch}: the network is in epoch {current}"));
        if let Some(recovery) = view.recovery_of(epoch)? {
            let passage = Passage::Recovery(RecoveryProof { recovery });
            return Ok(Json(serde_json::to_value(passage).unwrap_or_default()));
        }
        let opened = view.stored_epoch(epoch)?.filter(|opened| opened.opening_height > 0).ok_or_else(none)?;
        let header = view.header(opened.opening_height)?.ok_or_else(none)?;
        let before = view.stored_epoch(header.epoch)?.ok_or_else(none)?;
        let note = proofs::note_at(node, view, header.own_index().saturating_add(1))?;
        if note.lines.len() < before.set.quorum() {
            return Err(proofs::not_sealed(header.own_index().saturating_add(1)));
        }
        let handoff = prove::handoff(&view.log(), &note, &header, &opened.set)?;
        Ok(Json(serde_json::to_value(handoff).unwrap_or_default()))
    })
    .await
}

pub async fn authority_set(State(node): State<Node>, Path(epoch): Path<u64>) -> Answer {
    read(&node, move |_, view| {
        let stored = view.stored_epoch(epoch)?.ok_or_else(|| Problem::not_found(format!("no epoch {epoch}")))?;
        let members: Vec<_> = stored
            .set
            .members
            .iter()
            .map(|member| {
                json!({ "agency_id": member.agency, "consensus_key": hex::encode(member.consensus_key.0),
                        "sealing_key": hex::encode(member.sealing_key.0), "peer_key": hex::encode(member.peer_key.0),
                        "url": member.url })
            })
            .collect();
        Ok(Json(json!({
            "epoch": epoch, "opening_height": stored.opening_height, "set_hash": hash_text(&stored.set.hash()),
            "members": members, "quorum": stored.set.quorum(), "tolerates": stored.set.tolerated_faults(),
            "document": hex::encode(stored.set.encode()),
        })))
    })
    .await
}
