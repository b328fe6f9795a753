//! A disk that is really full, under one node of a running network: first it takes no new records, then it stops with one
//! sentence; the others go on, nothing promised is lost, and making room is all that it takes to come back.

use mingzhang_tests::small_disk::move_to_small_disk;
use mingzhang_tests::world::{Officer, World, until};

/// Between the shares below which a node refuses (50) and stops (20).
const SCARCE_PER_MILLE: u64 = 35;
/// How long a submission waits for its outcome.
const WAIT_S: u64 = 60;
/// The agency whose disk is small.
const AGENCY: &str = "data";

/// What was submitted and answered as admitted or final, by transaction id.
struct Filing<'a> {
    world: &'a World,
    officer: Officer,
    filed: Vec<String>,
}

impl Filing<'_> {
    /// Files one record at a node; the HTTP status and the code of its refusal, if it is one.
    fn file(&mut self, agency: &str, wait_s: u64) -> Option<(u16, String)> {
        let id = format!("FULL-{}", self.filed.len());
        let root = u8::try_from(self.filed.len() % 251).expect("below 251");
        let transaction = self.officer.anchor(&self.world.origin, &id, root);
        let (status, answer) =
            self.world.post(self.world.seat(agency), "/transactions", transaction.bytes(), wait_s)?;
        if status < 300 {
            self.filed.push(hex::encode(transaction.id()));
        }
        Some((status, answer["code"].as_str().unwrap_or("").to_owned()))
    }

    fn applied(&mut self, agency: &str) {
        let filed = self.file(agency, WAIT_S);
        assert_eq!(filed, Some((200, String::new())), "a record at {agency}");
    }
}

fn state(world: &World) -> Option<String> {
    let told = world.node(&["devnet", "status", "--dir", &world.path().display().to_string()]);
    let agencies = told.data()["agencies"].as_array()?;
    let seat = agencies.iter().find(|seat| seat["agency_id"] == AGENCY)?;
    Some(seat["state"].as_str()?.to_owned())
}

fn log(world: &World) -> String {
    std::fs::read_to_string(world.node_folder(AGENCY).join("node.log")).expect("the node's log")
}

/// The node has stopped by itself, with the sentence that says what to do, and without a panic.
fn stops_cleanly(world: &World, before: usize) {
    until("the node on the full disk to stop", || (state(world)? == "stopped").then_some(()));
    let log = log(world);
    let since = &log[before..];
    assert!(since.contains("MZ-5002"), "{since}");
    assert!(!since.contains("panicked"), "{since}");
}

#[test]
fn a_full_disk_stops_one_node_and_loses_nothing() {
    let world = World::start(4);
    world.kill(AGENCY);
    let folder = world.node_folder(AGENCY);
    let Some(disk) = move_to_small_disk(&folder.join("data"), &folder.join("kept")) else {
        println!("skipped: a_full_disk_stops_one_node_and_loses_nothing (this user may not mount a file system)");
        return;
    };
    world.resume(AGENCY);
    let mut filing = Filing { world: &world, officer: world.officer("civil-window-1"), filed: Vec::new() };
    filing.applied(AGENCY);

    // Scarce: the node still takes part, but no new record enters here.
    disk.fill(SCARCE_PER_MILLE);
    let refused = until("a refusal at the node whose disk is nearly full", || {
        filing.file(AGENCY, WAIT_S).filter(|(status, _)| *status >= 300)
    });
    assert_eq!(refused, (503, "MZ-1014".to_owned()));
    let (_, status) = world.get(world.seat(AGENCY), "/status").expect("it answers");
    let alarms = status["alarms"].as_array().expect("alarms");
    let told = |alarm: &serde_json::Value| alarm.as_str().is_some_and(|text| text.starts_with("MZ-1014: 3."));
    assert!(alarms.iter().any(told), "{status}");
    assert!(log(&world).contains("MZ-5003"), "its operator is told");
    filing.applied("civil");
    let newest = filing.filed.last().expect("filed").clone();
    world.place(world.seat(AGENCY), &newest);
    disk.make_room();
    until("the node to take records again", || filing.file(AGENCY, WAIT_S).filter(|(status, _)| *status == 200));

    // Full in the middle of work: what it admitted before is not lost.
    let before = log(&world).len();
    assert_eq!(filing.file(AGENCY, 0), Some((202, String::new())));
    disk.fill_up();
    stops_cleanly(&world, before);
    filing.applied("civil");
    filing.applied("finance");

    // It does not start on a full disk, and says why. Stopping gave back what the database had allocated ahead.
    disk.fill_up();
    let dir = world.path().display().to_string();
    let again = world.node(&["devnet", "up", "--only", AGENCY, "--dir", &dir]);
    assert_eq!((again.exit, again.code()), (Some(7), "MZ-5027"), "{} {}", again.json, again.stderr);
    assert!(
        again.json["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains("MZ-5002")),
        "{}",
        again.json
    );
    filing.applied("civil");

    disk.make_room();
    world.resume(AGENCY);
    filing.applied(AGENCY);
    let tip = filing.filed.iter().map(|id| everywhere(&world, id)).max().expect("records were filed");
    world.assert_one_chain(tip);
}

/// A record is at one place on all nodes; its height.
fn everywhere(world: &World, id: &str) -> u64 {
    let places: Vec<_> = world.seats.iter().map(|seat| world.place(seat, id)).collect();
    assert!(places.iter().all(|place| *place == places[0]), "{id} is at {places:?}");
    places[0].0
}
