//! One reader of a stream of server-sent events. Nothing is read ahead of it: the next page is read when its connection has
//! taken the last one, and the listener ends a connection that takes nothing.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};

use super::super::{MAX_LIST_ITEMS, Node, Problem};
use super::Cursor;
use super::page::Page;
use super::place::Place;

/// So long nothing is sent at most, that whoever stands between does not take the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A reader, and its place among the streams, which it gives back when it goes.
pub struct Follower {
    node: Node,
    _place: OwnedSemaphorePermit,
    cursor: Cursor,
    heights: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// Where it began, and what was read from there before the answer did.
    first: Option<(Place, Page)>,
    greeted: bool,
    ended: bool,
    speaks: HeaderMap,
}

impl Follower {
    pub fn new(
        (node, place): (Node, OwnedSemaphorePermit),
        cursor: Cursor,
        first: (Place, Page),
        headers: &HeaderMap,
    ) -> Self {
        let mut speaks = HeaderMap::new();
        if let Some(language) = headers.get(header::ACCEPT_LANGUAGE) {
            speaks.insert(header::ACCEPT_LANGUAGE, language.clone());
        }
        let (heights, stopping) = (node.store.watch_height(), node.stopping());
        Self {
            node,
            _place: place,
            cursor,
            heights,
            stopping,
            first: Some(first),
            greeted: false,
            ended: false,
            speaks,
        }
    }

    /// What is sent next; none at the end.
    async fn next(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        if !self.greeted {
            self.greeted = true;
            let from = self.first.as_ref().map_or(self.cursor.after, |(from, _)| *from);
            return Some(comment("events", from));
        }
        let silent_until = Instant::now() + KEEP_ALIVE;
        while !*self.stopping.borrow() {
            // A block that comes while the store is read is one to read again for.
            self.heights.mark_unchanged();
            let page = match self.first.take() {
                // It may be older than what was marked.
                Some((_, page)) => Page { more: true, ..page },
                None => match self.cursor.next(&self.node, MAX_LIST_ITEMS).await {
                    Ok(page) => page,
                    Err(problem) => return Some(self.end(problem)),
                },
            };
            let text = text(&page);
            if !text.is_empty() {
                return Some(text);
            }
            if page.more && Instant::now() < silent_until {
                continue;
            }
            let heard = async {
                tokio::select! {
                    changed = self.heights.changed() => changed.is_ok(),
                    _ = self.stopping.changed() => false,
                }
            };
            match timeout_at(silent_until, heard).await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(_) => return Some(comment("keep-alive", self.cursor.after)),
            }
        }
        None
    }

    /// The last thing that is said. The reader asks again, here or elsewhere, from the last id that it has.
    fn end(&mut self, problem: Problem) -> String {
        self.ended = true;
        sent(None, "problem", &problem.in_language(&self.speaks).json())
    }
}

/// No event, but how far it is: a reader that connects again goes on from there, though it was told of nothing yet.
fn comment(text: &str, at: Place) -> String {
    format!(": {text}\nid: {at}\n\n")
}

/// One event as it goes over the wire. JSON in one line needs no further care.
fn sent(id: Option<String>, name: &str, data: &Value) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    // Records are what is listened for: they go without a name.
    let name = if name.is_empty() { String::new() } else { format!("event: {name}\n") };
    format!("{id}{name}data: {data}\n\n")
}

fn text(page: &Page) -> String {
    let mut text = page.gap.map(|gap| sent(Some(gap.until.to_string()), "gap", &gap.json())).unwrap_or_default();
    for (place, event) in &page.events {
        // Writing to a String cannot fail.
        text.write_str(&sent(Some(place.to_string()), "", event)).unwrap_or(());
    }
    text
}

/// The answer that goes on until the reader leaves or the node stops.
pub fn respond(follower: Follower) -> Response {
    let parts = futures::stream::unfold(follower, |mut follower| async move {
        let text = follower.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), follower))
    });
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (head, Body::from_stream(parts)).into_response()
}
