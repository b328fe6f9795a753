//! Submitting signed transactions and asking where they stand. A wait follows the final height; nothing polls.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mingzhang_ledger::batch::transactions;
use mingzhang_ledger::outcome::{Code, Refusal};
use mingzhang_ledger::records::view::WaitsFor;
use mingzhang_ledger::records::{record_type, view as words};
use mingzhang_ledger::state::execute::{BlockContext, Simulated, simulate as dry_run};
use mingzhang_ledger::state::key;
use mingzhang_ledger::transaction::{Transaction, TransactionFault};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, hash_text, parse_hash, read};
use super::problem::INTERNAL;
use super::proofs::record_at;
use super::status::Pending;
use super::wait::{Asked, await_final};
use super::{MAX_BATCH_TRANSACTIONS, MAX_WAIT_S, Node, Problem, status};
use crate::mempool::Submitted;

/// Refusals of bytes that are no transaction.
const NOT_CANONICAL: Code = Code(1001);
const TOO_LARGE: Code = Code(1002);
const FIELD: Code = Code(1004);
/// Transactions of a batch that are decoded before others get their turn.
const DECODED_AT_ONCE: usize = 32;

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
    let status = outcome?;
    let done = status.get("status").and_then(Value::as_str) != Some("pending");
    let code = if done { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = format!("/api/v1/transactions/{}", status.get("tx_id").and_then(Value::as_str).unwrap_or(""));
    Ok((code, [(header::LOCATION, location)], Json(status)).into_response())
}

/// POST /batches: (length u32 ‖ COSE)*, one answer for each.
pub async fn batch(State(node): State<Node>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let wait_s = preferred_wait_s(&headers);
    let framed: Vec<&[u8]> = transactions(&body, MAX_BATCH_TRANSACTIONS + 1).collect();
    if framed.len() > MAX_BATCH_TRANSACTIONS {
        return Err(Problem::over_limit(format!("more than {MAX_BATCH_TRANSACTIONS} transactions in one batch")));
    }
    let whole = framed.iter().map(|bytes| bytes.len() + 4).sum::<usize>();
    if whole != body.len() {
        return Err(Problem::malformed(format!("framing is wrong at byte {whole} of {}", body.len())));
    }
    let mut decoded = Vec::with_capacity(framed.len());
    for some in framed.chunks(DECODED_AT_ONCE) {
        decoded.extend(some.iter().map(|bytes| decode(bytes).map(Arc::new)));
        tokio::task::yield_now().await;
    }
    // All are handed in together: they share one check and one synced write.
    let sound: Vec<Arc<Transaction>> = decoded.iter().flatten().cloned().collect();
    let mut submitted = node.submit_all(sound).await.into_iter();
    let (mut items, mut asked, mut places) = (Vec::with_capacity(decoded.len()), Vec::new(), Vec::new());
    for transaction in decoded {
        let interrupted = || Err(Problem::new(INTERNAL, "a submission was interrupted"));
        let step = transaction.and_then(|transaction| {
            submitted.next().map_or_else(interrupted, |answer| next_step(transaction, answer, wait_s))
        });
        items.push(match step {
            Ok(Step::Admitted(pending)) => Item::Pending(pending),
            Ok(Step::Open(open)) => {
                asked.push(*open);
                places.push(items.len());
                Item::Said(Value::Null)
            }
            Err(problem) => Item::Said(problem.in_language(&headers).json()),
        });
    }
    // Nor is each watched alone: after a block, one look finds all that became final.
    let standings = await_final(&node, asked, wait_s).await?;
    for (place, standing) in places.into_iter().zip(standings) {
        if let Some(item) = items.get_mut(place) {
            *item = Item::Said(standing);
        }
    }
    Ok(Json(Items { items }).into_response())
}

/// One answer of a batch.
#[derive(Serialize)]
#[serde(untagged)]
enum Item {
    Pending(Box<Pending>),
    Said(Value),
}

#[derive(Serialize)]
struct Items {
    items: Vec<Item>,
}

/// Submits one transaction, waits if asked to, and says where it stands.
async fn one(node: &Node, transaction: Transaction, wait_s: u64) -> Result<Value, Problem> {
    let transaction = Arc::new(transaction);
    let submitted = node.submit(Arc::clone(&transaction)).await;
    match next_step(transaction, submitted, wait_s)? {
        Step::Admitted(pending) => Ok(json!(pending)),
        Step::Open(asked) => Ok(await_final(node, vec![*asked], wait_s).await?.pop().unwrap_or_default()),
    }
}

/// What follows on a submission.
enum Step {
    Admitted(Box<Pending>),
    Open(Box<Asked>),
}

fn next_step(
    transaction: Arc<Transaction>,
    submitted: Result<Submitted, Refusal>,
    wait_s: u64,
) -> Result<Step, Problem> {
    let about = |refusal| Problem::from(refusal).about(hash_text(&transaction.id()));
    let (id, repeated) = match submitted.map_err(about)? {
        Submitted::Admitted(admitted) => (admitted.transaction_id, admitted.repeated),
        Submitted::Recorded { transaction_id, .. } => (transaction_id, true),
    };
    // What was admitted this moment cannot be final yet: without a wait, nothing needs to be read.
    if wait_s == 0 && !repeated {
        return Ok(Step::Admitted(Box::new(Pending::of(&transaction))));
    }
    Ok(Step::Open(Box::new(Asked { id, transaction, repeated })))
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
        "outcome": null, "code": null, "detail": null, "effect": null, "waits_for": [], "valid_until": null, "flags": [],
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

/// GET /transactions/{id}/admission: this node's signed promise to record it, while it waits here.
pub async fn admission(State(node): State<Node>, Path(id): Path<String>) -> Answer {
    let hash = parse_hash(&id)?;
    let waits_not = || Problem::not_found(format!("transaction {} does not wait here", hash_text(&hash)));
    let promise = node.promise(&hash).ok_or_else(waits_not)?;
    Ok(Json(json!({
        "tx_id": hash_text(&hash), "epoch": promise.epoch, "author": promise.author, "time_ms": promise.time_ms,
        "signature": hex::encode(promise.signature.0),
    })))
}

/// GET /transactions/{id}/raw: the signed bytes.
pub async fn raw(State(node): State<Node>, Path(id): Path<String>) -> Result<impl IntoResponse, Problem> {
    let (_, _, transaction) = find(&node, &id).await?;
    Ok(([(header::CONTENT_TYPE, "application/cose")], transaction.bytes().to_vec()))
}

/// POST /simulate: what the transaction would do at the tip; nothing is submitted.
pub async fn simulate(State(node): State<Node>, body: Bytes) -> Answer {
    let transaction = decode(&body)?;
    let now_ms = node.now_ms();
    read(&node, move |node, view| {
        // The rules judge only what the door lets in.
        if let Some(refusal) = node.would_refuse(&transaction)? {
            return Err(Problem::from(refusal).about(hash_text(&transaction.id())));
        }
        let tip = view.tip();
        let block = BlockContext {
            height: tip.height.saturating_add(1),
            epoch: node.store.set().epoch,
            time_ms: now_ms.max(tip.time_ms),
            first_index: tip.tree_size(),
        };
        let Simulated { record: outcome, leaf, effects } = dry_run(view, &node.ledger, &block, &transaction)?;
        let utc_offset_minutes = node.ledger.utc_offset_minutes;
        let standing = match &leaf {
            Some(leaf) => Some(words::standing(leaf, &status::lens(view, utc_offset_minutes, leaf)?)),
            None => None,
        };
        let effects = words::effects(view, utc_offset_minutes, &effects)?;
        Ok(Json(json!({
            "tx_id": hash_text(&transaction.id()), "record_type": outcome.record_type,
            "record_id": key::id_text(&outcome.record_id), "agency_id": outcome.agency,
            "outcome": if outcome.outcome == 0 { "applied" } else { "rejected" },
            "code": (outcome.outcome != 0).then(|| Code(outcome.outcome).to_string()), "detail": outcome.detail,
            "flags": outcome.flags.iter().map(|code| Code(*code).to_string()).collect::<Vec<_>>(),
            "effect": standing.as_ref().and_then(|standing| standing.effect),
            "waits_for": standing.iter().flat_map(|standing| &standing.waits_for).map(WaitsFor::view).collect::<Vec<_>>(),
            "effects": effects, "as_of": super::answer::as_of(view),
        })))
    })
    .await
}
