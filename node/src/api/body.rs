//! Bodies of requests, whole before a handler sees them. One over the limit is refused with words that arrive: whoever still
//! sends when its connection ends reads no answer, so what follows is read and thrown away, up to as much again.

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;

use super::MAX_BATCH_BYTES;

/// Reads a body, at most as long as a batch of transactions.
pub async fn limit(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let mut stream = body.into_data_stream();
    let (mut whole, mut length) = (Vec::new(), 0usize);
    while let Some(part) = stream.next().await {
        // The sender is gone, or its framing is wrong: nobody reads an answer.
        let Ok(part) = part else { return StatusCode::BAD_REQUEST.into_response() };
        length = length.saturating_add(part.len());
        if length <= MAX_BATCH_BYTES {
            whole.extend_from_slice(&part);
        } else if length > 2 * MAX_BATCH_BYTES {
            break;
        } else {
            whole = Vec::new();
        }
    }
    if length > MAX_BATCH_BYTES {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    next.run(Request::from_parts(head, Body::from(whole))).await
}
