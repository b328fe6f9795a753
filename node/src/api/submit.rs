//! Submitting signed transactions and asking where they stand. A wait follows the final height; nothing polls.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mingzhang_ledger::batch::transactions;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::{record_type, view as words};
use mingzhang_ledger::state::execute::{BlockContext, simulate as dry_run};
use mingzhang_ledger::state::{Snapshot as _, key};
use mingzhang_ledger::transaction::{Transaction, TransactionFault};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, hash_text, parse_hash, read};
use super::proofs::record_at;
use super::{MAX_BATCH_TRANSACTIONS, MAX_WAIT_S, Node, Problem, status};
use crate::mempool::Submitted;

/// Refusals of bytes that are no transaction.
const NOT_CANONICAL: Code = Code(1001);
const TOO_LARGE: Code = Code(1002);
const FIELD: Code = Code(1004);
const EXPIRED: Code = Code(1008);

/// Runs a wait, for so many seconds at most; how it ends shows in what is read next.
pub async fn wait_until<F: Future>(wait_s: u64, wait: F) {
    if wait_s > 0 {
        drop(tokio::time::timeout(Duration::from_secs(wait_s), wait).await);
    }
}

/// `Prefer: wait=SECONDS` (RFC 7240).
fn preferred_wait_s(headers: &HeaderMap) -> u64 {
    let prefer = headers.get("prefer").and_then(|value| value.to_str().ok()).unwrap_or("");
    let wait = prefer.split([',', ';']).find_map(|part| part.trim().strip_prefix("wait=")?.parse::<u64>().ok());
    wait.unwrap_or(0).min(MAX_WAIT_S)
}

fn decode(bytes: &[u8]) -> Result<Transaction, Problem> {
    Transaction::decode(bytes).map_err(|fault| {
        let code = match &fault {
            TransactionFault::TooLarge { .. } => TOO_LARGE,
            TransactionFault::Codec(_)
            | TransactionFault::Field(
                "COSE_Sign1 envelope" | "unprotected header" | "protected header" | "signature",
            ) => NOT_CANONICAL,
            TransactionFault::Field(_) => FIELD,
        };
        Problem::new(code, fault.to_string())
    })
}

/// POST /transactions: 202 at once, or 200 when final.
pub async fn transaction(State(node): State<Node>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let wait_s = preferred_wait_s(&headers);
    let outcome = match decode(&body) {
        Ok(transaction) => one(&node, transaction, wait_s).await,
        Err(problem) => Err(problem),
    };
    let status = outcome.map_err(|problem| problem.in_language(&headers))?;
    let done = status.get("status").and_then(Value::as_str) != Some("pending");
    let code = if done { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = format!("/api/v1/transactions/{}", status.get("tx_id").and_then(Value::as_str).unwrap_or(""));
    Ok((code, [(header::LOCATION, location)], Json(status)).into_response())
}

/// POST /batches: (length u32 ‖ COSE)*, one answer for each.
pub async fn batch(State(node): State<Node>, headers: HeaderMap, body: Bytes) -> Answer {
    let wait_s = preferred_wait_s(&headers);
    let framed: Vec<Vec<u8>> = transactions(&body, MAX_BATCH_TRANSACTIONS + 1).map(<[u8]>::to_vec).collect();
    if framed.len() > MAX_BATCH_TRANSACTIONS {
        return Err(Problem::over_limit(format!("more than {MAX_BATCH_TRANSACTIONS} transactions in one batch")));
    }
    let whole = framed.iter().map(|bytes| bytes.len() + 4).sum::<usize>();
    if whole != body.len() {
        return Err(Problem::malformed(format!("framing is wrong at byte {whole} of {}", body.len())));
    }
    // All are handed in together: they share one check, one synced write and one wait.
    let answers: Vec<_> = framed
        .into_iter()
        .map(|bytes| {
            let (node, headers) = (Node::clone(&node), headers.clone());
            tokio::spawn(async move {
                let answer = match decode(&bytes) {
                    Ok(transaction) => one(&node, transaction, wait_s).await,
                    Err(problem) => Err(problem),
                };
                answer.unwrap_or_else(|problem| problem.in_language(&headers).json())
            })
        })
        .collect();
    let mut items = Vec::with_capacity(answers.len());
    for answer in answers {
        items.push(answer.await.unwrap_or_default());
    }
    Ok(Json(json!({ "items": items })))
}

/// Submits one transaction, waits if asked to, and says where it stands.
async fn one(node: &Node, transaction: Transaction, wait_s: u64) -> Result<Value, Problem> {
    let tx_id = hash_text(&transaction.id());
    let kept = transaction.clone();
    let submitted = node.submit(transaction).await;
    let (id, repeated) = match submitted.map_err(|refusal| Problem::from(refusal).about(tx_id))? {
        Submitted::Admitted(admitted) => (admitted.transaction_id, admitted.repeated),
        Submitted::Recorded { transaction_id, .. } => (transaction_id, true),
    };
    // What was admitted this moment cannot be final yet: without a wait, nothing needs to be read.
    if wait_s == 0 && !repeated {
        return Ok(status::pending(&kept));
    }
    let mut answer = await_final(node, id, kept, wait_s).await?;
    if repeated {
        answer["repeated"] = json!(true);
    }
    Ok(answer)
}

/// Follows the final height until the transaction is final, provably expired, or the wait is over.
async fn await_final(node: &Node, id: Hash, transaction: Transaction, wait_s: u64) -> Result<Value, Problem> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(wait_s);
    let mut heights = node.store.watch_height();
    loop {
        heights.mark_unchanged();
        let asked = transaction.clone();
        let standing = read(node, move |node, view| {
            if let Some(location) = view.location(&id)? {
                return status::at_index(view, node.ledger.utc_offset_minutes, location.index).map(Some);
            }
            let payload = asked.payload();
            let absent = view.read(&key::record(&payload.agency, &payload.record_id))?.is_none();
            Ok((absent && view.tip().time_ms >= payload.expires_at).then(|| {
                let mut expired = status::pending(&asked);
                expired["status"] = json!("expired");
                expired["code"] = json!(EXPIRED.to_string());
                expired
            }))
        })
        .await?;
        if let Some(standing) = standing {
            return Ok(standing);
        }
        // Past its expiry, the client waits for a block that proves it, and an idle network must make one.
        let left_ms = transaction.payload().expires_at.saturating_sub(node.now_ms());
        let expires = tokio::time::Instant::now() + Duration::from_millis(left_ms.min(1_000 * MAX_WAIT_S));
        let _waits = (left_ms == 0).then(|| node.wait_for_expiry());
        let until = if left_ms == 0 { deadline } else { deadline.min(expires) };
        match tokio::time::timeout_at(until, heights.changed()).await {
            Ok(Ok(())) => {}
            Err(_) if until < deadline => {}
            Ok(Err(_)) | Err(_) => return Ok(status::pending(&transaction)),
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct Wait {
    wait: Option<u64>,
}

/// GET /transactions/{id}/status
pub async fn status(State(node): State<Node>, Path(id): Path<String>, Query(query): Query<Wait>) -> Answer {
    let id = parse_hash(&id)?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(query.wait.unwrap_or(0).min(MAX_WAIT_S));
    let mut heights = node.store.watch_height();
    loop {
        heights.mark_unchanged();
        let found = read(&node, move |node, view| match view.location(&id)? {
            Some(location) => status::at_index(view, node.ledger.utc_offset_minutes, location.index).map(Some),
            None => Ok(None),
        })
        .await?;
        if let Some(found) = found {
            return Ok(Json(found));
        }
        match tokio::time::timeout_at(deadline, heights.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let status = if node.is_pending(&id) { "pending" } else { "unknown" };
    Ok(Json(json!({
        "tx_id": hash_text(&id), "record_type": null, "agency_id": null, "record_id": null, "status": status,
        "outcome": null, "code": null, "effect": null, "waits_for": [], "valid_until": null, "flags": [],
        "height": null, "index": null, "block_time": null, "expires_at": null, "repeated": false,
    })))
}

async fn find(node: &Node, id: &str) -> Result<(u64, u16, Transaction), Problem> {
    let hash = parse_hash(id)?;
    read(node, move |_, view| {
        let location = view.location(&hash)?;
        let index = location
            .ok_or_else(|| Problem::not_found(format!("transaction {} is not final here", hash_text(&hash))))?
            .index;
        let (outcome, transaction) = record_at(view, index)?;
        Ok((index, outcome, transaction))
    })
    .await
}

/// GET /transactions/{id}: the record in words, with its status.
pub async fn view(State(node): State<Node>, Path(id): Path<String>) -> Answer {
    let (index, _, transaction) = find(&node, &id).await?;
    let status = read(&node, move |node, view| {
        let utc_offset_minutes = node.ledger.utc_offset_minutes;
        let mut status = status::at_index(view, utc_offset_minutes, index)?;
        let lens = match status::leaf_of(view, &transaction)? {
            Some(leaf) => status::lens(view, utc_offset_minutes, &leaf)?,
            None => words::Lens::new(utc_offset_minutes),
        };
        let payload = transaction.payload();
        status["signer"] = json!(hex::encode(transaction.key_id()));
        status["body"] =
            record_type(&payload.record_type).map_or(Value::Null, |kind| words::body(kind, &payload.body, &lens));
        Ok(status)
    })
    .await?;
    Ok(Json(status))
}

/// GET /transactions/{id}/raw: the signed bytes.
pub async fn raw(State(node): State<Node>, Path(id): Path<String>) -> Result<impl IntoResponse, Problem> {
    let (_, _, transaction) = find(&node, &id).await?;
    Ok(([(header::CONTENT_TYPE, "application/cose")], transaction.bytes().to_vec()))
}

/// POST /simulate: what the transaction would do at the tip; nothing is submitted.
pub async fn simulate(State(node): State<Node>, headers: HeaderMap, body: Bytes) -> Answer {
    let transaction = decode(&body).map_err(|problem| problem.in_language(&headers))?;
    let now_ms = node.now_ms();
    read(&node, move |node, view| {
        let tip = view.tip();
        let block = BlockContext {
            height: tip.height.saturating_add(1),
            epoch: node.store.set().epoch,
            time_ms: now_ms.max(tip.time_ms),
            first_index: tip.tree_size(),
        };
        let (outcome, effects) = dry_run(view, &node.ledger, &block, &transaction)?;
        let effects = words::effects(view, node.ledger.utc_offset_minutes, &effects)?;
        Ok(Json(json!({
            "tx_id": hash_text(&transaction.id()), "record_type": outcome.record_type,
            "record_id": key::id_text(&outcome.record_id), "agency_id": outcome.agency,
            "outcome": if outcome.outcome == 0 { "applied" } else { "rejected" },
            "code": (outcome.outcome != 0).then(|| Code(outcome.outcome).to_string()), "detail": outcome.detail,
            "flags": outcome.flags.iter().map(|code| Code(*code).to_string()).collect::<Vec<_>>(),
            "effects": effects, "as_of": super::answer::as_of(view),
        })))
    })
    .await
    .map_err(|problem| problem.in_language(&headers))
}
