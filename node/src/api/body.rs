//! Bodies of requests, whole before a handler sees them, and all of them together bounded. One over the limit is refused with
//! words that arrive: whoever still sends when its connection ends reads no answer, so what follows is read and thrown away,
//! up to as much again.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::transaction::MAX_TRANSACTION_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{MAX_BATCH_BYTES, Problem};

/// Bytes of all bodies that are read or worked on, beside what each may hold in any case: as many as 32 full batches.
const ROOM_BYTES: usize = 32 * MAX_BATCH_BYTES;
/// What every body may hold, however full the room is: a single transaction is never kept out by batches.
const FREE_BYTES: usize = MAX_TRANSACTION_BYTES;
const FULL: Code = Code(1013);

/// Room for the bodies of all connections.
#[derive(Clone)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self::of(ROOM_BYTES)
    }
}

impl Room {
    fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Makes what is held enough for a body that is so long by now. False if there is no room.
    fn extend(&self, held: &mut Option<OwnedSemaphorePermit>, length: usize) -> bool {
        let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let lacks = length.saturating_sub(FREE_BYTES).saturating_sub(has);
        let Some(more) =
            u32::try_from(lacks).ok().and_then(|lacks| Arc::clone(&self.0).try_acquire_many_owned(lacks).ok())
        else {
            return false;
        };
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        true
    }
}

/// Reads a body, at most as long as a batch of transactions. Its room is given back when the request is answered.
pub async fn limit(State(room): State<Room>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let mut stream = body.into_data_stream();
    let (mut whole, mut length) = (Vec::new(), 0usize);
    let (mut held, mut has_room) = (None, true);
    while let Some(part) = stream.next().await {
        // The sender is gone, or its framing is wrong: nobody reads an answer.
        let Ok(part) = part else { return StatusCode::BAD_REQUEST.into_response() };
        length = length.saturating_add(part.len());
        has_room = has_room && (length > MAX_BATCH_BYTES || room.extend(&mut held, length));
        if length <= MAX_BATCH_BYTES && has_room {
            whole.extend_from_slice(&part);
        } else if length > 2 * MAX_BATCH_BYTES {
            break;
        } else {
            (whole, held) = (Vec::new(), None);
        }
    }
    if length > MAX_BATCH_BYTES {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    if !has_room {
        let told = format!("bodies longer than {FREE_BYTES} bytes have no room at the moment");
        return Problem::new(FULL, told).into_response();
    }
    let response = next.run(Request::from_parts(head, Body::from(whole))).await;
    drop(held);
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use tokio::sync::mpsc;
    use tower_service::Service as _;

    use super::*;

    #[tokio::test]
    async fn bodies_have_so_much_room_together_and_a_transaction_its_own() {
        let room = Room::of(3 * FREE_BYTES);
        let (arrived, mut arrivals) = mpsc::channel(1);
        let gate = Arc::new(Semaphore::new(0));
        let (handled, opened) = (arrived, Arc::clone(&gate));
        let handler = move |body: axum::body::Bytes| async move {
            handled.send(body.len()).await.expect("the test waits");
            opened.acquire().await.expect("open for ever").forget();
        };
        let router = Router::new().route("/", post(handler)).layer(from_fn_with_state(room.clone(), limit));
        let ask = |bytes: usize| {
            let parts = (0..bytes).step_by(FREE_BYTES / 2).map(|_| Ok::<_, std::io::Error>(vec![7; FREE_BYTES / 2]));
            let body = Body::from_stream(futures::stream::iter(parts.collect::<Vec<_>>()));
            let request = Request::post("/").body(body).expect("a request");
            let mut router = router.clone();
            tokio::spawn(async move { router.call(request).await.expect("infallible") })
        };
        let first = ask(3 * FREE_BYTES);
        assert_eq!(arrivals.recv().await, Some(3 * FREE_BYTES));
        // A third of the room is left: too little for as much again, and none of it is kept by who is refused.
        for _ in 0..2 {
            let refused = ask(3 * FREE_BYTES).await.expect("no panic");
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
            assert!(refused.headers().contains_key("retry-after"));
        }
        let second = ask(2 * FREE_BYTES);
        assert_eq!(arrivals.recv().await, Some(2 * FREE_BYTES));
        assert_eq!(room.0.available_permits(), 0);
        let small = ask(FREE_BYTES);
        assert_eq!(arrivals.recv().await, Some(FREE_BYTES), "one transaction always finds room");
        gate.add_permits(3);
        for answered in [first, second, small] {
            assert_eq!(answered.await.expect("no panic").status(), StatusCode::OK);
        }
        assert_eq!(room.0.available_permits(), 3 * FREE_BYTES, "given back");
        gate.add_permits(1);
        let again = ask(4 * FREE_BYTES);
        assert_eq!(arrivals.recv().await, Some(4 * FREE_BYTES));
        assert_eq!(again.await.expect("no panic").status(), StatusCode::OK);
    }
}
