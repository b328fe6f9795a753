//! Nodes that come back: with an empty disk, with an old image, twice, late, and for the first time.

use std::path::Path;
use std::time::SystemTime;

use mingzhang_tests::world::{World, alarms, until};
use serde_json::Value;

const WAIT: &str = "60s";

fn status(world: &World, agency: &str) -> Option<Value> {
    Some(world.get(world.seat(agency), "/status")?.1)
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let (from, to) = (entry.as_ref().expect("an entry").path(), to.join(entry.expect("an entry").file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("copied");
        }
    }
}

/// The node follows to a record, and says that it signs nothing.
fn follows_in_doubt(world: &World, agency: &str, tx_id: &str) {
    world.place(world.seat(agency), tx_id);
    let status = until("the doubt", || status(world, agency).filter(|status| status["state"] == "halted"));
    let alarms = status["alarms"].as_array().expect("alarms");
    let doubt =
        |alarm: &Value| alarm.as_str().is_some_and(|text| text.contains("MZ-5028") || text.contains("runs twice"));
    assert!(alarms.iter().any(doubt), "{status}");
}

#[test]
fn a_wiped_and_a_rolled_back_node_sign_nothing_until_they_are_recovered_by_rule() {
    let world = World::start(4);
    world.document("DOC-1");
    until_it_proposes(&world, "data");
    let (node, config) = (world.path().join("nodes/data"), world.config_of("data"));
    // An image from before, as a backup or a virtual machine keeps it.
    world.kill("data");
    copy(&node.join("data"), &node.join("image"));
    world.resume("data");
    world.document("DOC-2");
    world.kill("data");
    let used_until = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    std::fs::rename(node.join("data"), node.join("lost")).expect("moved");
    std::fs::rename(node.join("image"), node.join("data")).expect("moved");
    let rolled_back = world.spawn(&config, &[]);
    let third = world.document("DOC-3");
    follows_in_doubt(&world, "data", &third);
    drop(rolled_back);
    // An empty disk beside the same key.
    std::fs::remove_dir_all(node.join("data")).expect("wiped");
    let wiped = world.spawn(&config, &[]);
    let fourth = world.document("DOC-4");
    follows_in_doubt(&world, "data", &fourth);
    drop(wiped);
    // A time that its own blocks on the log contradict is not believed, on a disk that followed and on an empty one.
    for empty in [false, true] {
        if empty {
            std::fs::remove_dir_all(node.join("data")).expect("wiped");
        }
        let too_early = world.spawn(&config, &["--lost-at", &rfc3339(used_until - 3_600)]);
        until("the contradiction", || {
            let status = status(&world, "data").filter(|status| status["state"] == "halted")?;
            let told = |alarm: &Value| alarm.as_str().is_some_and(|text| text.contains("MZ-5028"));
            status["alarms"].as_array()?.iter().any(told).then_some(())
        });
        drop(too_early);
    }
    let refused = world.node(&["run", "--config", &config, "--lost-at", "2099-01-01T00:00:00Z"]);
    assert_eq!((refused.exit, refused.code()), (Some(2), "MZ-2012"), "{}", refused.stderr);
    // The operator knows since when the key is not used: it signs again once a later block is final.
    let returned = world.spawn(&config, &["--lost-at", &rfc3339(used_until)]);
    let mut number = 5;
    until("the node to sign again", || {
        world.document(&format!("DOC-{number}"));
        number += 1;
        let status = status(&world, "data")?;
        (status["state"] == "ready" && alarms(&status).is_empty()).then_some(())
    });
    world.kill("civil");
    let last = world.client(&[
        "record",
        "document_anchor",
        "--root",
        &"b".repeat(64),
        "--kind",
        "minutes",
        "--id",
        "LAST",
        "--key",
        "approval-window-1",
        "--wait",
        WAIT,
    ]);
    assert_eq!(last.exit, Some(0), "three of four, the returned one among them: {} {}", last.json, last.stderr);
    world.resume("civil");
    let tx_id = last.data()["tx_id"].as_str().expect("a transaction");
    for seat in &world.seats {
        world.place(seat, tx_id);
    }
    world.assert_one_chain(world.height(world.seat("data")));
    drop(returned);
}

/// Documents until a block of this agency is final.
fn until_it_proposes(world: &World, agency: &str) {
    let seat = world.seat(agency);
    let index = status(world, agency).expect("it answers")["seat"].as_u64().expect("a member");
    let (mut number, mut height) = (0, 0);
    until("a block of its own", || {
        number += 1;
        world.document(&format!("OWN-{number}"));
        let before = std::mem::replace(&mut height, world.height(seat));
        let proposed = |height| Some(world.get(seat, &format!("/blocks/{height}"))?.1["proposer"] == index);
        (before + 1..=height).any(|height| proposed(height) == Some(true)).then_some(())
    });
}

/// Seconds since 1970 as RFC 3339, of this century.
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date of a day number, after Howard Hinnant.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[test]
fn a_key_on_two_machines_is_found_out() {
    let world = World::start(4);
    world.document("DOC-1");
    world.kill("data");
    let (node, twin) = (world.path().join("nodes/data"), world.path().join("nodes/twin"));
    copy(&node, &twin);
    world.resume("data");
    // Until the original has proposed a block that its copy does not know of.
    let (first, mut number) = (world.height(world.seat("civil")), 2);
    until("a block of the original", || {
        world.document(&format!("DOC-{number}"));
        number += 1;
        let newest = world.height(world.seat("civil"));
        let own = |height: u64| {
            world
                .get(world.seat("civil"), &format!("/blocks/{height}"))
                .is_some_and(|(_, block)| block["proposer"] == 3)
        };
        (first + 1..=newest).any(own).then_some(())
    });
    // The original goes, its copy with the same key, note and older data comes.
    world.kill("data");
    let running = world.spawn(&twin.join("node.toml").display().to_string(), &[]);
    let last = world.document("LAST");
    until("the copy to find the other's signatures", || {
        let status = status(&world, "data")?;
        (status["state"] == "halted").then_some(())
    });
    follows_in_doubt(&world, "data", &last);
    drop(running);
}

/// A process that stands still while the others go on loses nothing.
#[test]
fn a_frozen_node_catches_up() {
    let world = World::start(4);
    world.signal("finance", "-STOP");
    let ids: Vec<String> = (20..32).map(|number| world.document(&format!("DOC-{number}"))).collect();
    world.signal("finance", "-CONT");
    let last = ids.last().expect("records");
    let places: Vec<_> = world.seats.iter().map(|seat| world.place(seat, last)).collect();
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
    world.assert_one_chain(places[0].0);
    let missed = status(&world, "civil").expect("it answers")["members"].as_array().expect("members")[1].clone();
    assert_eq!(missed["agency_id"], "finance");
    assert!(missed["missed_turns"].as_u64() > Some(0), "its turns were missed: {missed}");
}

#[test]
fn a_new_node_joins_from_a_state_and_follows() {
    let mut world = World::start(4);
    for number in 1..6 {
        world.document(&format!("DOC-{number}"));
    }
    world.make("audit");
    let config = world.config_of("audit");
    let text = std::fs::read_to_string(&config).expect("readable");
    std::fs::write(&config, text.replace("snapshot_from_blocks = 10000", "snapshot_from_blocks = 1")).expect("written");
    // Members read of the newcomer in their seeds when they start.
    for agency in ["approval", "finance", "civil", "data"] {
        world.kill(agency);
        world.resume(agency);
    }
    world.resume("audit");
    let joined = until("the joined node's line", || {
        let told = world.node(&[
            "devnet",
            "logs",
            "--agency",
            "audit",
            "--lines",
            "200",
            "--dir",
            &world.path().display().to_string(),
        ]);
        let lines = told.data()["logs"][0]["lines"].as_array()?.clone();
        lines
            .iter()
            .filter_map(Value::as_str)
            .find(|line| line.contains("joined from a peer's state"))
            .map(str::to_owned)
    });
    println!("{joined}");
    let last = world.document("DOC-6");
    let (height, _) = world.place(world.seat("audit"), &last);
    let id =
        |agency: &str| world.get(world.seat(agency), &format!("/blocks/{height}")).expect("answers").1["id"].clone();
    assert_eq!(id("audit"), id("civil"));
    let cited = |names: &[&str]| {
        let (_, told) = world.get(world.seat("audit"), &format!("/documents/{}", "a".repeat(64))).expect("answers");
        let items = told["items"].as_array().expect("a list");
        let found: Vec<&str> = items.iter().filter_map(|item| item["record_id"].as_str()).collect();
        assert_eq!(found, names, "{told}");
        let since = told["since_index"].as_u64().expect("an index");
        assert!(since > 0 && items.iter().all(|item| item["index"].as_u64() > Some(since)), "{told}");
    };
    cited(&["DOC-6"]);
    // The state knows what the log here does not hold.
    assert_eq!(world.get(world.seat("audit"), "/blocks/1").expect("answers").0, 404);
    let (code, _) = world
        .get(world.seat("audit"), "/state/0000000000000000000000000000000000000000000000000000000000000001")
        .expect("answers");
    assert_eq!(code, 200);
    world.kill("audit");
    world.resume("audit");
    let again = world.document("DOC-7");
    world.place(world.seat("audit"), &again);
    cited(&["DOC-6", "DOC-7"]);
}
