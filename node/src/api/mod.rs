//! The HTTP API of a node: submit, status, records, trails, blocks, proofs. Only final state is served. No login: the
//! signature of a record authorises it, and every read is public. What the answers mean is the ledger's matter.

mod answer;
mod blocks;
mod body;
mod catalogue;
mod documents;
mod events;
mod evidence;
mod openapi;
mod pace;
mod problem;
mod proofs;
mod search;
mod status;
mod subjects;
mod submit;
mod trust;
mod wait;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;

use crate::listener::{self, Limits};
use crate::node::NodeHandle;
pub use problem::Problem;

/// Transactions in one POST /batches, and their bytes.
pub const MAX_BATCH_TRANSACTIONS: usize = 1_000;
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Longest `wait` that a request may ask for, in seconds.
pub const MAX_WAIT_S: u64 = 60;
/// Most items of one list.
pub const MAX_LIST_ITEMS: usize = 200;

/// What every handler works with.
pub type Node = Arc<NodeHandle>;

/// All routes of the public listener.
pub(crate) fn router(node: Node) -> Router {
    let pace = Arc::new(pace::Pace::new(node.config.api_reads_per_s));
    let v1 = Router::new()
        .route("/status", get(trust::status))
        .route("/genesis", get(trust::genesis))
        .route("/version", get(trust::version))
        .route("/limits", get(trust::limits))
        .route("/checkpoint", get(trust::checkpoint))
        .route("/consistency", get(trust::consistency))
        .route("/handoffs/{epoch}", get(trust::handoff))
        .route("/authority-sets/{epoch}", get(trust::authority_set))
        .route("/evidence", get(evidence::list))
        .route("/transactions", post(submit::transaction))
        .route("/batches", post(submit::batch))
        .route("/simulate", post(submit::simulate))
        .route("/transactions/{id}", get(submit::view))
        .route("/transactions/{id}/status", get(submit::status))
        .route("/transactions/{id}/admission", get(submit::admission))
        .route("/transactions/{id}/raw", get(submit::raw))
        .route("/transactions/{id}/receipt", get(proofs::receipt))
        .route("/blocks", get(blocks::list))
        .route("/blocks/{height}", get(blocks::one))
        .route("/blocks/{height}/transactions", get(blocks::transactions))
        .route("/blocks/{height}/certificate", get(blocks::certificate))
        .route("/blocks/{height}/proof", get(blocks::proof))
        .route("/blocks/{height}/raw", get(blocks::raw))
        .route("/headers", get(blocks::holding))
        .route("/state/{key}", get(proofs::state))
        .route("/state", get(proofs::states))
        .route("/records/{agency}/{id}", get(subjects::record))
        .route("/documents/lookup", post(documents::lookup))
        .route("/documents/{digest}", get(documents::one))
        .route("/search", get(search::search))
        .route("/trails/{kind}/{*id}", get(proofs::trail))
        .route("/events", get(events::stream))
        .route("/events/poll", get(events::poll))
        .route("/{subjects}", get(subjects::list))
        .route("/{subjects}/{agency}/{id}", get(subjects::one))
        .route("/{subjects}/{agency}/{id}/trail", get(subjects::trail))
        .route("/errors", get(catalogue::list))
        .route("/errors/{code}", get(catalogue::one))
        .route("/openapi.json", get(openapi::newest))
        .route("/openapi-3.0.json", get(openapi::older));
    Router::new()
        .nest("/api/v1", v1)
        .fallback(problem::no_such_path)
        .layer(DefaultBodyLimit::max(MAX_BATCH_BYTES))
        .layer(from_fn_with_state(body::Room::default(), body::limit))
        .layer(from_fn_with_state(pace, pace::limit_reads))
        .layer(from_fn(problem::in_time))
        .layer(from_fn_with_state(Arc::clone(&node), name_network))
        .layer(CatchPanicLayer::custom(problem::after_panic))
        .with_state(node)
}

/// Every answer says which network it is from and how far this node is, and a problem speaks the reader's language.
async fn name_network(
    axum::extract::State(node): axum::extract::State<Node>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let chinese = problem::accepts_chinese(request.headers());
    let mut response = problem::translate(problem::of_rejection(next.run(request).await).await, chinese);
    let headers = response.headers_mut();
    if let Ok(origin) = HeaderValue::from_str(&node.ledger.origin) {
        headers.insert(HeaderName::from_static("mingzhang-network"), origin);
    }
    headers.insert(HeaderName::from_static("mingzhang-height"), HeaderValue::from(node.store.tip().height));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

/// Serves until the task is dropped, so many connections at the same time.
pub async fn serve(listener: TcpListener, node: Node, connections: usize) {
    let of_one = usize::try_from(node.config.api_connections_per_address).unwrap_or(usize::MAX);
    listener::serve(listener, router(node), Limits::of(connections).with_of_one(of_one)).await;
}
