//! What handlers share: reading the store off the async threads, ids in paths, JSON forms of times and hashes.

use axum::Json;
use mingzhang_ledger::crypto::Hash;
use serde_json::Value;

use super::problem::INTERNAL;
use super::{Node, Problem};
use crate::store::View;

/// The usual answer.
pub type Answer = Result<Json<Value>, Problem>;

/// Runs a read at the tip beside the async threads.
pub async fn read<T: Send + 'static>(
    node: &Node,
    question: impl FnOnce(&Node, &View<'_>) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let node = Node::clone(node);
    if node.store.is_joining() {
        return Err(Problem::new(mingzhang_ledger::outcome::Code(1014), "this node is taking over a peer's state"));
    }
    tokio::task::spawn_blocking(move || {
        let view = node.store.view()?;
        question(&node, &view)
    })
    .await
    .unwrap_or_else(|_| Err(Problem::new(INTERNAL, "a read was interrupted")))
}

/// Reads `sha256:<64 hex digits>`, with or without its prefix.
pub fn parse_hash(text: &str) -> Result<Hash, Problem> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    hex::decode(digits)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Problem::malformed(format!("{text} is not a hash of 64 hex digits")))
}

pub fn hash_text(hash: &Hash) -> String {
    format!("sha256:{}", hex::encode(hash))
}

/// RFC 3339 in UTC.
pub fn time_text(time_ms: u64) -> Value {
    let instant = i64::try_from(time_ms).ok().and_then(|time_ms| jiff::Timestamp::from_millisecond(time_ms).ok());
    instant.map_or(Value::Null, |instant| Value::String(instant.to_string()))
}

/// Which state an answer shows.
pub fn as_of(view: &View<'_>) -> Value {
    let tip = view.tip();
    serde_json::json!({ "height": tip.height, "time": time_text(tip.time_ms), "tree_size": tip.tree_size() })
}
