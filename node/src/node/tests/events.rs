//! Events as another system reads them: replayed and followed, filtered, with what is gone, and with no more readers than
//! there are places.

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use futures::StreamExt as _;
use serde_json::Value;
use tower_service::Service as _;

use super::*;
use crate::api::router;

const ALL: &str = "0-0";

type Served = Arc<NodeHandle>;

async fn ask(node: &Served, path: &str) -> Response {
    asked(node, Request::get(format!("/api/v1/events{path}"))).await
}

async fn asked(node: &Served, request: axum::http::request::Builder) -> Response {
    let request = request.body(Body::empty()).expect("a request");
    router(Arc::clone(node)).call(request).await.expect("infallible")
}

async fn json(response: Response) -> Value {
    let body = axum::body::to_bytes(response.into_body(), 1 << 24).await.expect("a body");
    serde_json::from_slice(&body).expect("JSON")
}

async fn poll(node: &Served, query: &str) -> Value {
    let response = ask(node, &format!("/poll?{query}")).await;
    let status = response.status();
    let told = json(response).await;
    assert_eq!(status, StatusCode::OK, "{query}: {told}");
    told
}

/// Status and code of a refusal.
async fn refusal(node: &Served, path: &str) -> (u16, String) {
    let response = ask(node, path).await;
    let status = response.status().as_u16();
    (status, json(response).await["code"].as_str().unwrap_or_default().to_owned())
}

fn ids(told: &Value) -> Vec<String> {
    let items = told["items"].as_array().expect("a list");
    items.iter().map(|event| event["id"].as_str().expect("an id").to_owned()).collect()
}

/// A reader of a stream.
struct Reader {
    body: BodyDataStream,
    text: String,
}

impl Reader {
    async fn open(node: &Served, query: &str) -> Self {
        Self::of(ask(node, &format!("?{query}")).await)
    }

    fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
        assert_eq!(header("content-type").as_deref(), Some("text/event-stream"));
        assert_eq!(header("x-accel-buffering").as_deref(), Some("no"));
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event or comment.
    async fn next(&mut self) -> String {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                return event;
            }
            let part = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("in time");
            let part = part.expect("the stream goes on").expect("it is whole");
            self.text.push_str(std::str::from_utf8(&part).expect("text"));
        }
    }

    /// The ids of the next records, whose data says the same.
    async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let event = self.next().await;
            let Some((id, data)) = event.split_once("\ndata: ") else {
                assert!(event.starts_with(':'), "{event}");
                continue;
            };
            let id = id.strip_prefix("id: ").expect("an id");
            let data: Value = serde_json::from_str(data).expect("JSON");
            assert_eq!((data["id"].as_str(), data["event"].as_str()), (Some(id), Some("record")));
            ids.push(id.to_owned());
        }
        ids
    }
}

async fn submit(world: &World, nodes: &[Node], numbers: std::ops::Range<u32>) -> Vec<Transaction> {
    let records: Vec<Transaction> = numbers.map(|number| world.record(1, number, &nodes[1])).collect();
    for record in &records {
        nodes[1].handle().submit(record.clone()).await.expect("admitted");
    }
    for node in nodes {
        recorded(node, &records).await;
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_told_once_in_order_and_under_the_same_id_by_every_node() {
    let world = World::new();
    let nodes = world.start_all().await;
    let mut live = Reader::open(nodes[2].handle(), "").await;
    // A comment at once, with the place to go on from if it is cut off before anything happens.
    let greeting = live.next().await;
    let begun = greeting.strip_prefix(": events\nid: ").expect("a comment and a place").to_owned();
    let records = submit(&world, &nodes, 0..30).await;
    let told = live.ids(30).await;
    assert_eq!(ids(&poll(nodes[0].handle(), &format!("after={begun}")).await), told);
    assert!(told.is_sorted() && told.iter().collect::<BTreeSet<_>>().len() == 30, "{told:?}");
    let mut submitted: Vec<String> =
        records.iter().map(|record| format!("sha256:{}", hex::encode(record.id()))).collect();
    submitted.sort();
    for node in nodes.iter().map(Node::handle) {
        let whole = poll(node, &format!("after={ALL}")).await;
        assert_eq!((ids(&whole), &whole["more"], &whole["gap"]), (told.clone(), &false.into(), &Value::Null));
        let events = whole["items"].as_array().expect("a list");
        let mut tx_ids: Vec<&str> = events.iter().filter_map(|event| event["tx_id"].as_str()).collect();
        tx_ids.sort_unstable();
        assert_eq!(tx_ids, submitted);
        assert_eq!(Reader::open(node, &format!("after={ALL}")).await.ids(30).await, told);
        // In pages, from any id on.
        let page = poll(node, &format!("after={}&limit=7", told[9])).await;
        assert_eq!((ids(&page), &page["more"]), (told[10..17].to_vec(), &true.into()));
        assert_eq!(page["next_cursor"], told[16].as_str());
    }
    // The reader's own last id counts more than the address that it repeats.
    let again = Request::get(format!("/api/v1/events?after={ALL}")).header("last-event-id", &told[28]);
    assert_eq!(Reader::of(asked(nodes[0].handle(), again).await).ids(1).await, told[29..]);
    // To whoever has all, what comes is told and nothing before it.
    let end = poll(nodes[0].handle(), &format!("after={}", told[29])).await;
    let end = end["next_cursor"].as_str().expect("a cursor").to_owned();
    let mut waiting = Reader::open(nodes[3].handle(), &format!("after={end}")).await;
    let handle = Arc::clone(nodes[3].handle());
    let patient = tokio::spawn(async move { poll(&handle, &format!("after={end}&wait=60&limit=1")).await });
    submit(&world, &nodes, 30..31).await;
    let newest = waiting.ids(1).await;
    assert_eq!(ids(&patient.await.expect("no panic")), newest);
    assert!(newest[0] > told[29]);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_wanted_is_told_and_nonsense_is_refused() {
    let world = World::new();
    let nodes = world.start_all().await;
    submit(&world, &nodes, 0..12).await;
    let node = nodes[0].handle();
    let all = poll(node, &format!("after={ALL}&types=approve,document_anchor")).await;
    assert_eq!(ids(&all).len(), 12);
    let none = poll(node, &format!("after={ALL}&types=approve")).await;
    assert_eq!((ids(&none).len(), &none["more"]), (0, &false.into()));
    assert!(
        none["next_cursor"].as_str().expect("a cursor") > ids(&all)[11].as_str(),
        "what was looked through is done"
    );
    let third = &all["items"][3];
    let named = third["record"].as_str().expect("a name");
    let one = poll(node, &format!("after={ALL}&subject={named}")).await;
    assert_eq!(one["items"].as_array().expect("a list"), std::slice::from_ref(third));
    assert_eq!(Reader::open(node, &format!("after={ALL}&subject={named}")).await.ids(1).await, ids(&one));
    let after = &ids(&one)[0];
    for query in [format!("after={after}&subject={named}"), format!("after={ALL}&subject=civil/NONE")] {
        assert_eq!(ids(&poll(node, &query).await).len(), 0, "{query}");
    }
    let first = numbers(&ids(&all)[0]);
    let wrong = format!("after={}-{}", first.0 + 1, first.1);
    for query in [
        "after=nonsense",
        "after=5-1",
        "after=",
        &wrong,
        "types=no_such_type",
        "types=approve,",
        "subject=civil",
        "subject=/DOC",
        "subject=civil/xxxxxxxxxxxxxxxxx",
    ] {
        for path in ["/poll?", "?"] {
            let told = refusal(node, &format!("{path}{query}")).await;
            assert_eq!(told, (400, "MZ-2003".to_owned()), "{path}{query}");
        }
    }
    for (query, status, code) in [
        ("wait=61", 413, "MZ-2004"),
        ("limit=0", 413, "MZ-2004"),
        ("limit=201", 413, "MZ-2004"),
        ("wait=-1", 400, "MZ-2003"),
        ("wait=x", 400, "MZ-2003"),
    ] {
        assert_eq!(refusal(node, &format!("/poll?{query}")).await, (status, code.to_owned()), "{query}");
    }
    // Another node may have told of more than this one has: it is waited for, not refused.
    assert_eq!(ids(&poll(node, "after=900000-900000").await).len(), 0);
    stop_all(nodes).await;
}

fn numbers(id: &str) -> (u64, u64) {
    let (height, index) = id.split_once('-').expect("an id");
    (height.parse().expect("a number"), index.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_so_many_streams_and_a_place_is_free_again_when_a_reader_goes() {
    let world = World::new();
    // Alone it makes no blocks, and serves what it has.
    let node = world.start(0).await;
    let handle = node.handle();
    let mut readers = Vec::new();
    for _ in 0..EVENT_STREAMS {
        readers.push(Reader::open(handle, "").await);
    }
    assert!(crate::ops::text(handle).contains("\nmingzhang_event_streams 200\n"));
    let refused = ask(handle, "").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(json(refused).await["code"], "MZ-2013");
    assert_eq!(poll(handle, "").await["items"], Value::Array(Vec::new()), "to ask again and again takes no place");
    drop(readers.pop());
    let mut reader = Reader::open(handle, "").await;
    assert!(reader.next().await.starts_with(": events\nid: "));
    assert_eq!(reader.next().await, format!(": keep-alive\nid: {0:016}-{0:016}", 0), "while nothing happens");
    node.stop().await.expect("stops while streams are open");
    let ended = tokio::time::timeout(PATIENCE, reader.body.next()).await.expect("in time");
    assert!(ended.is_none(), "it ends in good order: {ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_told_as_a_gap() {
    let mut world = World::new();
    let mut start = add_observer(&mut world);
    start.config.snapshot_from_blocks = 1;
    let mut nodes = world.start_all().await;
    submit(&world, &nodes, 0..20).await;
    let told = ids(&poll(nodes[0].handle(), &format!("after={ALL}")).await);
    let tip = nodes[0].handle().store.tip();
    sealed(&nodes[0], tip.tree_size()).await;
    nodes.push(super::start(start).await.expect("starts"));
    let observer = Arc::clone(nodes[4].handle());
    let mut heights = observer.store.watch_height();
    // The state that it takes may be a block older than what is told of.
    let joined = tokio::time::timeout(PATIENCE, heights.wait_for(|height| *height >= tip.height)).await;
    joined.expect("in time").expect("it runs");
    assert!(observer.store.base() > 0, "it took over a state");
    let page = poll(&observer, &format!("after={ALL}")).await;
    let until = page["gap"]["until"].as_str().expect("a gap").to_owned();
    assert_eq!(page["gap"]["after"], "0000000000000000-0000000000000000");
    let left = || told.iter().filter(|id| **id > until).cloned().collect::<Vec<_>>();
    assert_eq!(ids(&page), left(), "{page} {told:?}");
    let mut reader = Reader::open(&observer, &format!("after={ALL}")).await;
    assert!(reader.next().await.starts_with(": events\nid: "));
    let gap = reader.next().await;
    assert!(gap.starts_with(&format!("id: {until}\nevent: gap\ndata: {{")), "{gap}");
    // From there on nothing lacks, and what comes is told.
    assert_eq!(poll(&observer, &format!("after={until}")).await["gap"], Value::Null);
    assert_eq!(refusal(&observer, "/poll?after=9000-9000").await.0, 200, "not there yet");
    assert_eq!(refusal(&observer, "/poll?after=1-0").await, (400, "MZ-2003".to_owned()));
    submit(&world, &nodes, 20..21).await;
    assert_eq!(reader.ids(1 + left().len()).await.len(), 1 + left().len());
    stop_all(nodes).await;
}
