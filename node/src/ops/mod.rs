//! What operators watch: /metrics for Prometheus, /livez and /readyz. A listener of its own, on loopback.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::listener::{self, Limits};
use crate::node::{EVENT_STREAMS, NodeHandle, NodeState};

/// Connections at the same time: a few watchers, on this machine.
const MAX_CONNECTIONS: usize = 64;

/// All routes of the operators' listener.
fn router(node: Arc<NodeHandle>) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(node)
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, node: Arc<NodeHandle>) {
    listener::serve(listener, router(node), Limits::of(MAX_CONNECTIONS)).await;
}

/// The process answers.
async fn live() -> &'static str {
    "ok\n"
}

/// The node takes part at the tip.
async fn ready(State(node): State<Arc<NodeHandle>>) -> (StatusCode, String) {
    let status = node.status();
    let code = if status.state == NodeState::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{} height {}\n", status.state.name(), status.height))
}

/// One gauge or counter in the text format of Prometheus.
fn put(text: &mut String, name: &str, (kind, help): (&str, &str), samples: &[(String, u64)]) {
    // Writing to a String cannot fail.
    let mut line = |arguments: std::fmt::Arguments<'_>| text.write_fmt(arguments).unwrap_or(());
    line(format_args!("# HELP mingzhang_{name} {help}\n# TYPE mingzhang_{name} {kind}\n"));
    for (labels, value) in samples {
        line(format_args!("mingzhang_{name}{labels} {value}\n"));
    }
}

async fn metrics(State(node): State<Arc<NodeHandle>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text(&node))
}

/// All metrics.
pub(crate) fn text(node: &NodeHandle) -> String {
    let (status, fill) = (node.status(), node.fill());
    let plain = |value: u64| vec![(String::new(), value)];
    let count = |value: usize| plain(u64::try_from(value).unwrap_or(u64::MAX));
    let mut text = String::new();
    put(&mut text, "height", ("gauge", "height of the last final block"), &plain(status.height));
    put(&mut text, "tree_size", ("gauge", "leaves of the log"), &plain(status.tree_size));
    put(
        &mut text,
        "sealed_size",
        ("gauge", "leaves under the newest sealed checkpoint"),
        &plain(node.store.sealed_size()),
    );
    put(&mut text, "block_time_ms", ("gauge", "time of the last final block"), &plain(status.time_ms));
    put(&mut text, "epoch", ("gauge", "epoch of the authority set"), &plain(status.epoch));
    put(&mut text, "turn", ("counter", "turn of the epoch"), &plain(status.turn));
    put(&mut text, "peers_connected", ("gauge", "registered peers that are connected"), &count(status.peers_connected));
    put(
        &mut text,
        "mempool_transactions",
        ("gauge", "admitted transactions that are not final"),
        &count(fill.own_transactions),
    );
    put(&mut text, "mempool_bytes", ("gauge", "bytes of batches and transactions that wait"), &count(fill.bytes));
    let streams = EVENT_STREAMS.saturating_sub(node.event_streams.available_permits());
    put(&mut text, "event_streams", ("gauge", "open streams of events"), &count(streams));
    let help = "how far another member's clock is ahead of this node's at least";
    put(&mut text, "clock_ahead_ms", ("gauge", help), &plain(node.clock_ahead_ms()));
    if let Some(space) = node.disk() {
        put(&mut text, "disk_free_bytes", ("gauge", "room on the disk of the store"), &plain(space.free_bytes));
        put(&mut text, "disk_total_bytes", ("gauge", "size of the disk of the store"), &plain(space.total_bytes));
    }
    let help = "1 while seeds.toml cannot be used, names a replaced key or lacks a member";
    put(&mut text, "addresses_faulty", ("gauge", help), &plain(u64::from(!node.addresses_are_good())));
    put(&mut text, "alarms", ("gauge", "alarms of now: what stands in status"), &count(status.alarms.len()));
    put(
        &mut text,
        "evidence",
        ("gauge", "faults of members that are proven here"),
        &count(node.store.offences().len()),
    );
    let ready = u64::from(status.state == NodeState::Ready);
    put(&mut text, "ready", ("gauge", "1 if the node takes part at the tip"), &plain(ready));
    let verified: Vec<_> = node
        .verified()
        .by_size()
        .map(|(size, signatures)| (format!("{{batch_up_to=\"{size}\"}}"), signatures))
        .collect();
    let help = "signatures of transactions that were verified, by the size of the batch they were in";
    put(&mut text, "signatures_verified", ("counter", help), &verified);
    let missed: Vec<_> = status
        .members
        .iter()
        .map(|member| (format!("{{agency=\"{}\"}}", member.agency), member.missed_turns))
        .collect();
    put(&mut text, "missed_turns", ("counter", "turns that passed without a block of the agency"), &missed);
    text
}
