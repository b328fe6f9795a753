//! Waiting until what was submitted is final. Follows the final height: after each block, one look at the store finds all
//! transactions of a request that the block settled.

use std::sync::Arc;
use std::time::Duration;

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::state::{Snapshot as _, key};
use mingzhang_ledger::transaction::Transaction;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::answer::read;
use super::{MAX_WAIT_S, Node, Problem, status};
use crate::store::View;

const EXPIRED: Code = Code(1008);

/// An admitted or recorded transaction whose standing is asked for.
pub struct Asked {
    /// Of the transaction that is on the log or on its way there, which an earlier envelope may have brought.
    pub id: Hash,
    pub transaction: Arc<Transaction>,
    pub repeated: bool,
}

/// The standings in the order of the question: each final, provably expired, or pending when the wait is over.
pub async fn await_final(node: &Node, asked: Vec<Asked>, wait_s: u64) -> Result<Vec<Value>, Problem> {
    let asked = Arc::new(asked);
    let deadline = Instant::now() + Duration::from_secs(wait_s);
    let mut answers: Vec<Option<Value>> = vec![None; asked.len()];
    let mut heights = node.store.watch_height();
    loop {
        heights.mark_unchanged();
        let open: Vec<usize> = (0..).zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(at, _)| at).collect();
        for (at, answer) in settled(node, &asked, open).await? {
            if let Some(place) = answers.get_mut(at) {
                *place = Some(answer);
            }
        }
        let open = || asked.iter().zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(asked, _)| asked);
        if open().next().is_none() {
            break;
        }
        // Past its expiry, the client waits for a block that proves it, and an idle network must make one.
        let now_ms = node.now_ms();
        let left_ms = |asked: &Asked| asked.transaction.payload().expires_at.saturating_sub(now_ms);
        let _waits = open().any(|asked| left_ms(asked) == 0).then(|| node.wait_for_expiry());
        let next_ms = open().map(left_ms).filter(|left_ms| *left_ms > 0).min().unwrap_or(u64::MAX);
        let until = deadline.min(Instant::now() + Duration::from_millis(next_ms.min(1_000 * MAX_WAIT_S)));
        match timeout_at(until, heights.changed()).await {
            Ok(Ok(())) => {}
            Err(_) if until < deadline => {}
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let answer = |(asked, answer): (&Asked, Option<Value>)| {
        let mut answer = answer.unwrap_or_else(|| status::pending(&asked.transaction));
        if asked.repeated {
            answer["repeated"] = json!(true);
        }
        answer
    };
    Ok(asked.iter().zip(answers).map(answer).collect())
}

/// Those of the open questions that have a definite answer now, by their places.
async fn settled(node: &Node, asked: &Arc<Vec<Asked>>, open: Vec<usize>) -> Result<Vec<(usize, Value)>, Problem> {
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let asked = Arc::clone(asked);
    read(node, move |node, view| {
        let mut answers = Vec::new();
        for at in open {
            let Some(asked) = asked.get(at) else { continue };
            if let Some(answer) = standing(view, node.ledger.utc_offset_minutes, asked)? {
                answers.push((at, answer));
            }
        }
        Ok(answers)
    })
    .await
}

fn standing(view: &View<'_>, utc_offset_minutes: i32, asked: &Asked) -> Result<Option<Value>, Problem> {
    if let Some(location) = view.location(&asked.id)? {
        return status::at_index(view, utc_offset_minutes, location.index).map(Some);
    }
    let payload = asked.transaction.payload();
    if view.tip().time_ms < payload.expires_at
        || view.read(&key::record(&payload.agency, &payload.record_id))?.is_some()
    {
        return Ok(None);
    }
    let mut expired = status::pending(&asked.transaction);
    expired["status"] = json!("expired");
    expired["code"] = json!(EXPIRED.to_string());
    Ok(Some(expired))
}
