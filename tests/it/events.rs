//! Events as the system of a clerk reads them: followed through the death of nodes, filtered, interrupted, and what is said to
//! nonsense.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mingzhang_tests::load::{one_place_everywhere, under_load, wait_for};
use mingzhang_tests::world::{Seat, Told, World, command, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::liar::liar;

const SEED: u64 = 16;
/// Records between two blows.
const RECORDS: usize = 15;
const PAGE: usize = 200;
const COLUMNS: usize = 80;

/// `query events` at these nodes, on its way.
struct Follower {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    reader: std::thread::JoinHandle<()>,
}

impl Follower {
    fn start(world: &World, nodes: &[&Seat], arguments: &[&str]) -> Self {
        let mut client = command("mingzhang", &world.home());
        client.arg("--context").arg(world.path().join("context.toml")).args(["--json", "--lang", "en"]);
        for node in nodes {
            client.args(["--node", &node.url]);
        }
        client.args(["query", "events"]).args(arguments);
        let mut child = client.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("the client can be run");
        let (lines, stdout) = (Arc::default(), child.stdout.take().expect("piped"));
        let kept: Arc<Mutex<Vec<Value>>> = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("an object in each line");
                kept.lock().expect("no panic").push(line);
            }
        });
        Self { child, lines, reader }
    }

    fn has_told(&self, tx_id: &str) -> bool {
        let named = format!("sha256:{tx_id}");
        self.lines.lock().expect("no panic").iter().any(|event| event["tx_id"] == named)
    }

    /// Ctrl-C: the events, the envelope at the end, the exit status.
    fn interrupt(mut self) -> (Vec<Value>, Value, Option<i32>) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process");
        kill_process(pid, Signal::INT).expect("it runs");
        let exit = self.child.wait().expect("it ends").code();
        self.reader.join().expect("no panic");
        let mut lines = std::mem::take(&mut *self.lines.lock().expect("no panic"));
        let envelope = lines.pop().expect("an envelope");
        (lines, envelope, exit)
    }
}

fn text<'a>(event: &'a Value, name: &str) -> &'a str {
    event[name].as_str().unwrap_or_else(|| panic!("{name}: {event}"))
}

fn names(events: &[Value]) -> Vec<(String, String)> {
    events.iter().map(|event| (text(event, "id").to_owned(), text(event, "tx_id").to_owned())).collect()
}

/// Ids and transactions of the records up to a height, from a node's blocks.
fn logged(world: &World, seat: &Seat, tip: u64) -> Vec<(String, String)> {
    let block = |height: u64| {
        let (_, block) = world.get(seat, &format!("/blocks/{height}/transactions")).expect("the node answers");
        let items = block["items"].as_array().expect("a list").clone();
        let named = move |item: Value| {
            (format!("{height:016}-{:016}", item["index"].as_u64().expect("an index")), text(&item, "tx_id").to_owned())
        };
        items.into_iter().map(named)
    };
    (1..=tip).flat_map(block).collect()
}

/// The same from its events.
fn polled(world: &World, seat: &Seat) -> Vec<(String, String)> {
    let (mut found, mut after) = (Vec::new(), "0-0".to_owned());
    loop {
        let (_, page) = world.get(seat, &format!("/events/poll?after={after}")).expect("the node answers");
        let items = page["items"].as_array().expect("a list");
        assert!(items.len() <= PAGE);
        found.extend(names(items));
        after = text(&page, "next_cursor").to_owned();
        if page["more"] == false {
            return found;
        }
    }
}

#[test]
fn every_record_is_told_once_though_the_nodes_that_tell_are_killed() {
    let world = World::start(4);
    let [first, second, ..] = world.seats.as_slice() else { panic!("four nodes") };
    // One may go to another node; one has to wait until its node is back.
    let any = Follower::start(&world, &world.seats.iter().collect::<Vec<_>>(), &["--after", "0-0"]);
    let same = Follower::start(&world, &[first], &["--after", "0-0"]);
    let answered = under_load(&world, SEED, |progress| {
        for seat in [first, second, first] {
            wait_for(progress, RECORDS);
            world.kill(&seat.agency);
            wait_for(progress, RECORDS);
            world.resume(&seat.agency);
        }
        wait_for(progress, RECORDS);
    });
    one_place_everywhere(&world, &answered);
    let newest = answered.iter().max_by_key(|record| record.place).expect("records");
    for follower in [&any, &same] {
        until("the newest record", || follower.has_told(&newest.tx_id).then_some(()));
    }
    let tip = world.height(first);
    let whole = logged(&world, first, tip);
    for seat in &world.seats {
        until("the last block", || (world.height(seat) >= tip).then_some(()));
        assert_eq!(
            (logged(&world, seat, tip), polled(&world, seat)),
            (whole.clone(), whole.clone()),
            "{}",
            seat.agency
        );
    }
    for follower in [any, same] {
        let (events, envelope, exit) = follower.interrupt();
        let (events, (last, _)) = (names(&events), whole.last().expect("records"));
        assert_eq!(events, whole);
        assert_eq!(
            (exit, &envelope["success"], &envelope["command"]),
            (Some(130), &json!(false), &json!("query events"))
        );
        let (height, index) = last.split_once('-').expect("an id");
        let short = format!("{}-{}", height.trim_start_matches('0'), index.trim_start_matches('0'));
        assert_eq!((&envelope["data"]["last_id"], &envelope["data"]["events"]), (&json!(short), &json!(whole.len())));
    }
}

fn client(world: &World, arguments: &[&str]) -> Output {
    let mut client = command("mingzhang", &world.home());
    client.arg("--context").arg(world.path().join("context.toml")).args(arguments);
    client.output().expect("the client can be run")
}

/// The events that are there, and the envelope.
fn events(world: &World, arguments: &[&str]) -> (Vec<Value>, Value) {
    let output =
        client(world, &[&["--json", "--lang", "en", "query", "events", "--no-follow"][..], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    let mut lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let envelope = lines.pop().expect("an envelope");
    assert!(lines.iter().all(|event| event["proven"] == false), "{lines:?}");
    (lines, envelope)
}

#[test]
fn events_are_asked_for_as_they_are_wanted() {
    let world = World::start(1);
    for id in ["DOC-1", "DOC-2", "DOC-3"] {
        world.document(id);
    }
    what_is_there_is_told_to_its_end(&world);
    what_joins_a_programme_is_told(&world);
    people_read_a_line_for_each(&world);
    nonsense_has_its_code(&world);
    a_node_that_tells_in_disorder_is_not_followed(&world);
    a_stream_ends_with_its_node(&world);
}

fn what_is_there_is_told_to_its_end(world: &World) {
    let (all, envelope) = events(world, &[]);
    let anchors: Vec<&Value> = all.iter().filter(|event| event["record_type"] == "document_anchor").collect();
    let named: Vec<&str> = anchors.iter().map(|event| text(event, "record")).collect();
    assert_eq!(named, ["civil/DOC-1", "civil/DOC-2", "civil/DOC-3"]);
    let first = anchors[0];
    assert_eq!((&first["outcome"], &first["code"], &first["flags"]), (&json!("applied"), &Value::Null, &json!([])));
    assert!(!first.to_string().contains("persons"), "{first}");
    assert_eq!((&envelope["success"], &envelope["data"]["events"]), (&json!(true), &json!(all.len())));
    assert!(envelope["warnings"].to_string().contains("receipt get"), "{envelope}");
    let (two, envelope) = events(world, &["--limit", "2"]);
    assert_eq!(two, all[..2]);
    let last = text(&envelope["data"], "last_id").to_owned();
    assert_eq!(events(world, &["--after", &last]).0, all[2..], "from where it ended");
    assert_eq!(events(world, &["--types", "approve,document_anchor"]).0.len(), 3);
    assert_eq!(events(world, &["--types", "approve"]).0.len(), 0);
}

fn what_joins_a_programme_is_told(world: &World) {
    let file = world.path().join("payments.csv");
    let rows = "id,date,payer,payee,amount,currency,programme,purpose,contract,bank_ref\n\
                P-1,2020-01-02,office,builder,5.00,CNY,road,works,,ref-1\n\
                P-2,2020-01-03,office,builder,6.00,CNY,road,works,,ref-2\n";
    std::fs::write(&file, rows).expect("written");
    let told = world.client(&["import", "payments", file.to_str().expect("plain"), "--mode", "historical"]);
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    let (_, listed) = world.get(&world.seats[0], "/programmes").expect("the node answers");
    let programme = text(&listed["items"][0], "id");
    let trail = world.client(&["audit", "trail", "programme", programme]);
    assert_eq!(trail.exit, Some(0), "{} {}", trail.json, trail.stderr);
    let joined = |entry: &Value| text(entry, "tx_id").trim_start_matches("sha256:").to_owned();
    let entries: Vec<String> = trail.data()["entries"].as_array().expect("a trail").iter().map(joined).collect();
    let told = events(world, &["--subject", programme]).0;
    let mut told: Vec<String> = told.iter().map(joined).collect();
    assert!(entries.len() > 2 && entries.iter().all(|tx_id| told.contains(tx_id)), "{entries:?} {told:?}");
    told.retain(|tx_id| !entries.contains(tx_id));
    assert!(told.len() <= 1, "beside the trail only the record that made it: {told:?}");
    let (all, _) = events(world, &["--subject", programme]);
    let (rest, _) = events(world, &["--subject", programme, "--after", text(&all[1], "id")]);
    assert_eq!(rest, all[2..], "the trail is entered in its middle");
    let payments = events(world, &["--subject", programme, "--types", "payment_request"]).0;
    assert!(payments.len() >= 2 && payments.iter().all(|event| event["subjects"].to_string().contains(programme)));
    let no_person = events(world, &[]).0;
    assert!(no_person.iter().all(|event| event.get("recipient").is_none() && !event.to_string().contains("scope")));
}

fn people_read_a_line_for_each(world: &World) {
    let count = events(world, &[]).0.len();
    for (language, wanted, warned) in [("en", "applied", "not proven"), ("zh-CN", "已记录", "未经核验")] {
        let told = client(world, &["--lang", language, "query", "events", "--no-follow"]);
        let [stdout, stderr] = [told.stdout, told.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
        assert_eq!(told.status.code(), Some(0), "{stderr}");
        let width =
            |line: &str| line.chars().map(|one| if one.is_ascii() || one == '…' { 1 } else { 2 }).sum::<usize>();
        assert!(stdout.lines().all(|line| line.contains(wanted) && width(line) <= COLUMNS), "{stdout}");
        assert_eq!(stdout.lines().count(), count);
        assert_eq!(stderr.matches(warned).count(), 1, "{stderr}");
        assert!(stderr.lines().all(|line| width(line) <= COLUMNS) && stderr.contains("--after"), "{stderr}");
    }
}

fn nonsense_has_its_code(world: &World) {
    let seat = &world.seats[0];
    for (query, status, code) in [
        ("after=9-1", 400, "MZ-2003"),
        ("after=%00", 400, "MZ-2003"),
        ("after=1-18446744073709551616", 400, "MZ-2003"),
        ("types=nothing", 400, "MZ-2003"),
        ("subject=civil", 400, "MZ-2003"),
        ("wait=x", 400, "MZ-2003"),
        ("wait=18446744073709551615", 413, "MZ-2004"),
        ("limit=100000", 413, "MZ-2004"),
    ] {
        let (told, problem) = world.get(seat, &format!("/events/poll?{query}")).expect("the node answers");
        assert_eq!((told, &problem["code"]), (status, &json!(code)), "{query}: {problem}");
        let (_, chinese) = world.get_in_chinese(seat, &format!("/events/poll?{query}")).expect("the node answers");
        assert!(!text(&chinese, "title").is_ascii());
    }
    for arguments in [["--types", "nothing"], ["--after", "5"], ["--subject", "a/b/c"], ["--limit", "0"]] {
        let told: Told =
            client(world, &[&["--json", "query", "events", "--no-follow"][..], &arguments].concat()).into();
        assert_eq!((told.exit, told.code()), (Some(2), "MZ-2012"), "{arguments:?}: {}", told.json);
    }
}

fn a_node_that_tells_in_disorder_is_not_followed(world: &World) {
    let event = |index: u64| json!({ "event": "record", "id": format!("5-{index}"), "record": "civil/X" });
    for items in [vec![event(9), event(8)], vec![event(9), event(9)], vec![json!({})]] {
        let answer = json!({ "items": items, "next_cursor": "5-20", "more": false });
        let node = liar(world, move |_, path| path.contains("/events/").then(|| (200, answer.clone())));
        let told: Told = client(world, &["--json", "--node", &node, "query", "events", "--no-follow"]).into();
        assert_eq!((told.exit, told.code()), (Some(7), "MZ-2007"), "{}", told.json);
    }
    // One that promises more for ever holds nobody up.
    let promise = json!({ "items": [], "next_cursor": "5-20", "more": true });
    let node = liar(world, move |_, path| path.contains("/events/").then(|| (200, promise.clone())));
    let told = client(world, &["--json", "--node", &node, "query", "events", "--no-follow"]);
    assert_eq!(told.status.code(), Some(0), "{}", String::from_utf8_lossy(&told.stderr));
}

/// One that reads a stream of a node that is told to stop sees its end, and the node stops at once.
fn a_stream_ends_with_its_node(world: &World) {
    let seat = &world.seats[0];
    let mut stream = TcpStream::connect(seat.url.trim_start_matches("http://")).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    stream.write_all(b"GET /api/v1/events?after=0-0&types=document_anchor HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
    let mut reader = BufReader::new(stream);
    let mut told = String::new();
    while !told.contains("civil/DOC-3") {
        assert!(reader.read_line(&mut told).expect("it goes on") > 0, "{told}");
    }
    assert!(told.contains("text/event-stream") && told.contains("\n: events\n") && told.contains("\nid: 0"), "{told}");
    let (_, metrics) = world.ops(seat, "/metrics").expect("the node answers");
    assert!(metrics.contains("\nmingzhang_event_streams 1\n"), "{metrics}");
    let began = Instant::now();
    world.signal(&seat.agency, "-TERM");
    let mut rest = Vec::new();
    // Closed in whatever way, but closed.
    let ended = reader.read_to_end(&mut rest);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let status = || world.node(&["devnet", "status", "--dir", &world.path().display().to_string()]);
    until("the node to be gone", || (status().data()["agencies"][0]["state"] == "stopped").then_some(()));
}
