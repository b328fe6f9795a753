//! Four real nodes: one order of records on all of them, answers that repeat, and what happens when nodes go away.

use mingzhang_tests::world::{Told, World};

/// Long enough for a busy machine; a command ends as soon as it knows.
const WAIT: &str = "60s";

fn root(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn record(world: &World, id: &str, root: &str, wait: &str) -> Told {
    world.client(&[
        "record",
        "document_anchor",
        "--root",
        root,
        "--kind",
        "minutes",
        "--id",
        id,
        "--key",
        "civil-window-1",
        "--wait",
        wait,
    ])
}

fn tx_id(told: &Told) -> String {
    told.data()["tx_id"].as_str().unwrap_or_else(|| panic!("no transaction: {}", told.json)).to_owned()
}

/// Files a record and checks that it is final and applied.
fn applied(world: &World, id: &str) -> String {
    let told = record(world, id, &root('a'), WAIT);
    assert_eq!(told.exit, Some(0), "{id}: {} {}", told.json, told.stderr);
    assert_eq!(told.data()["outcome"], "applied");
    tx_id(&told)
}

#[test]
fn a_record_has_one_place_on_all_nodes_and_a_repetition_changes_nothing() {
    let world = World::start(4);
    let first = record(&world, "DOC-1", &root('1'), WAIT);
    assert_eq!(first.exit, Some(0), "{} {}", first.json, first.stderr);
    let id = tx_id(&first);
    let place = (first.data()["height"].as_u64(), first.data()["index"].as_u64());
    for seat in &world.seats {
        let (height, index) = world.place(seat, &id);
        assert_eq!((Some(height), Some(index)), place, "{}", seat.agency);
    }
    let again = record(&world, "DOC-1", &root('1'), WAIT);
    assert_eq!((again.exit, again.data()["repeated"].as_bool()), (Some(0), Some(true)), "{}", again.json);
    assert_eq!((again.data()["height"].as_u64(), again.data()["index"].as_u64()), place);
    let other = record(&world, "DOC-1", &root('2'), WAIT);
    assert_eq!((other.exit, other.code()), (Some(2), "MZ-1015"), "{}", other.json);
    receipt_verifies_offline(&world, &id);
    idle_network_is_silent(&world);
}

fn receipt_verifies_offline(world: &World, tx_id: &str) {
    let file = world.path().join("receipt.tlog-proof").display().to_string();
    world.sealed(&world.seats[0], tx_id);
    let got = world.client(&["receipt", "get", tx_id, "--out", &file]);
    assert_eq!(got.exit, Some(0), "{} {}", got.json, got.stderr);
    let genesis = world.path().join("genesis.json").display().to_string();
    let verified = world.client(&["verify", "receipt", &file, "--genesis", &genesis, "--offline"]);
    assert_eq!((verified.exit, verified.data()["verdict"].as_str()), (Some(0), Some("verified")), "{}", verified.json);
}

/// A question for a transaction that nobody knows waits for blocks; none comes.
fn idle_network_is_silent(world: &World) {
    let heights = || world.seats.iter().map(|seat| world.height(seat)).collect::<Vec<_>>();
    let before = heights();
    let path = format!("/transactions/{}/status?wait=5", root('0'));
    let (status, answer) = world.get(&world.seats[0], &path).expect("the node answers");
    assert_eq!((status, answer["status"].as_str()), (200, Some("unknown")));
    assert_eq!(heights(), before, "an idle network makes no blocks");
}

#[test]
fn one_of_four_may_die_two_stop_the_network_without_harm() {
    let world = World::start(4);
    applied(&world, "DOC-1");
    world.kill("data");
    let second = applied(&world, "DOC-2");
    world.kill("civil");
    let stuck = record(&world, "DOC-3", &root('a'), "5s");
    assert_eq!(stuck.exit, Some(6), "with two of four nothing is final: {} {}", stuck.json, stuck.stderr);
    assert_eq!(stuck.data()["status"], "pending");
    world.resume("data");
    let third = applied(&world, "DOC-3");
    assert_eq!(third, tx_id(&stuck), "the same transaction, not a second one");
    world.resume("civil");
    let last = applied(&world, "DOC-4");
    let mut tip = 0;
    for id in [&second, &third, &last] {
        let places: Vec<_> = world.seats.iter().map(|seat| world.place(seat, id)).collect();
        assert!(places.iter().all(|place| *place == places[0]), "{id} is at {places:?}");
        tip = places[0].0;
    }
    world.assert_one_chain(tip);
}
