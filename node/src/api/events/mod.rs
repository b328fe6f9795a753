//! Events: final records as they come, for other systems. One holds a stream open, or asks again and again with `poll`. The
//! node keeps where each reader stands and nothing else: what is told is read from the store.

mod page;
mod place;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use mingzhang_ledger::outcome::Code;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, as_of, read};
use super::{MAX_LIST_ITEMS, MAX_WAIT_S, Node, Problem};
use crate::node::EVENT_STREAMS;
use page::{Filter, Page, newest, page};
use place::Place;

/// What a browser sends when it connects again.
const LAST_EVENT_ID: &str = "last-event-id";
const TOO_MANY_READS: Code = Code(2013);
/// How long a poll looks through what is not wanted, however short it may wait.
const SEARCH_TIME: Duration = Duration::from_secs(1);

/// What every reader may ask for.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    /// Record types, separated by commas; all if not given.
    types: Option<String>,
    /// Only what joins the trail of this `agency/id`, and that record itself.
    subject: Option<String>,
    /// Id of the last event that the reader has; what comes from now on if not given.
    after: Option<String>,
}

impl Wanted {
    fn filter(&self) -> Result<Arc<Filter>, Problem> {
        Filter::parse(self.types.as_deref(), self.subject.as_deref()).map(Arc::new)
    }
}

/// Where a reader stands.
#[derive(Debug, Clone)]
struct Cursor {
    after: Place,
    filter: Arc<Filter>,
}

impl Cursor {
    async fn open(node: &Node, after: Option<&str>, filter: Arc<Filter>) -> Result<Self, Problem> {
        let after = match after {
            Some(id) => Place::parse(id)?,
            None => read(node, |_, view| Ok(newest(view))).await?,
        };
        Ok(Self { after, filter })
    }

    /// Reads what comes next, and goes there.
    async fn next(&mut self, node: &Node, limit: usize) -> Result<Page, Problem> {
        let Self { after, filter } = self.clone();
        // It is never closed.
        let _turn = node.event_reads.acquire().await.ok();
        let page = read(node, move |node, view| page((view, node.store.base()), after, &filter, limit)).await?;
        self.after = page.upto;
        Ok(page)
    }
}

/// GET /events
pub async fn stream(
    State(node): State<Node>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let filter = wanted.filter()?;
    let last = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or("\u{fffd}"));
    let Ok(place) = Arc::clone(&node.event_streams).try_acquire_owned() else {
        let told = format!("all {EVENT_STREAMS} event streams of this node are taken");
        return Err(Problem::new(TOO_MANY_READS, told));
    };
    // The newer of both: a browser repeats the address that it was given at first.
    let mut cursor = Cursor::open(&node, last.or(wanted.after.as_deref()), filter).await?;
    // Before the answer begins, so that what is wrong is a problem with its status.
    let from = cursor.after;
    let first = (from, cursor.next(&node, MAX_LIST_ITEMS).await?);
    Ok(stream::respond(stream::Follower::new((node, place), cursor, first, &headers)))
}

#[derive(Debug, Deserialize)]
pub struct Patience {
    wait: Option<u64>,
    limit: Option<usize>,
}

/// GET /events/poll: what stands after an id; waits for it if there is nothing yet.
pub async fn poll(State(node): State<Node>, Query(wanted): Query<Wanted>, Query(patience): Query<Patience>) -> Answer {
    let (wait_s, limit) = (patience.wait.unwrap_or(0), patience.limit.unwrap_or(MAX_LIST_ITEMS));
    if wait_s > MAX_WAIT_S {
        return Err(Problem::over_limit(format!("wait {wait_s}, at most {MAX_WAIT_S} seconds")));
    }
    if limit == 0 || limit > MAX_LIST_ITEMS {
        return Err(Problem::over_limit(format!("limit {limit}, wanted are 1 to {MAX_LIST_ITEMS}")));
    }
    let (began, wait) = (Instant::now(), Duration::from_secs(wait_s));
    let (deadline, search_until) = (began + wait, began + wait.max(SEARCH_TIME));
    let mut heights = node.store.watch_height();
    let mut cursor = Cursor::open(&node, wanted.after.as_deref(), wanted.filter()?).await?;
    loop {
        heights.mark_unchanged();
        let page = cursor.next(&node, limit).await?;
        let is_empty = page.events.is_empty() && page.gap.is_none();
        let goes_on = match page.more {
            true => Instant::now() < search_until,
            false => is_empty && matches!(timeout_at(deadline, heights.changed()).await, Ok(Ok(()))),
        };
        if !is_empty || !goes_on {
            return told(&node, page).await;
        }
    }
}

async fn told(node: &Node, page: Page) -> Answer {
    let as_of = read(node, |_, view| Ok(as_of(view))).await?;
    let items: Vec<_> = page.events.into_iter().map(|(_, event)| event).collect();
    Ok(Json(json!({
        "items": items,
        "gap": page.gap.map(|gap| gap.json()),
        "next_cursor": page.upto.to_string(),
        "more": page.more,
        "as_of": as_of,
    })))
}
