//! What an operator is told while the node runs: of the list of addresses, and of the records that came in.

use std::path::Path;

use mingzhang_ledger::codec::Value as Cbor;
use mingzhang_ledger::state::key;
use mingzhang_tests::world::{World, until};

use crate::epochs::{FROM_S, agree, good, say_ready, status, wait_for_epoch};
use crate::observer::Observer;

fn metrics(world: &World, agency: &str) -> Option<String> {
    Some(world.ops(world.seat(agency), "/metrics")?.1)
}

pub fn change(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).expect("readable");
    assert!(text.contains(from), "{from}: {text}");
    std::fs::write(file, text.replace(from, to)).expect("written");
}

/// A mistake in the list is an alarm and a metric of a running node until it is mended.
fn a_mistake_is_told(world: &World, list: &Path) {
    let good = std::fs::read_to_string(list).expect("readable");
    std::fs::write(list, format!("{good}\n[[peers]]\nagency = \"press\"\n")).expect("written");
    until("the alarm", || {
        let told = |alarm: &String| alarm.starts_with("MZ-5016: ") && alarm.contains("stays in use");
        world.alarms("approval")?.iter().any(told).then_some(())
    });
    assert!(metrics(world, "approval").is_some_and(|text| text.contains("mingzhang_addresses_faulty 1\n")));
    std::fs::write(list, good).expect("written");
    until("the end of the alarm", || world.alarms("approval")?.is_empty().then_some(()));
    let text = metrics(world, "approval").expect("it answers");
    assert!(text.contains("mingzhang_addresses_faulty 0\n") && text.contains("mingzhang_disk_free_bytes "), "{text}");
}

#[test]
fn a_replaced_peer_key_is_written_into_the_lists_of_the_others() {
    let world = World::start(4);
    let list = world.path().join("seeds.toml");
    a_mistake_is_told(&world, &list);
    // The new key is made beside the node, which goes on with the old one.
    let (keys, config) = (world.node_folder("data").join("keys"), world.config_of("data"));
    let made = world.path().join("made");
    std::fs::create_dir_all(made.join("keys")).expect("made");
    let key = mingzhang_node::keys::generate().expect("a key");
    mingzhang_node::keys::write_test(&made.join("keys/peer.pem"), &key).expect("written");
    std::fs::write(
        made.join("node.toml"),
        "agency = \"data\"\ngenesis_file = \"../genesis.json\"\ngenesis_proofs_file = \"../genesis-proofs.json\"\n",
    )
    .expect("written");
    let seat = made.join("seat.json").display().to_string();
    let new_config = made.join("node.toml").display().to_string();
    good(&world.node(&["authority", "seat", "--config", &new_config, "--only", "peer", "--out", &seat]));
    agree(&world, &["--seat", &seat], &["approval", "finance", "civil"], FROM_S);
    for agency in ["approval", "finance", "civil", "data"] {
        say_ready(&world, agency);
    }
    wait_for_epoch(&world, 1, &["approval", "finance", "civil"]);
    let is_told = |agency: &str| {
        let told = |alarm: &String| alarm.starts_with("MZ-5016: ") && alarm.contains("peer_key of data");
        until("the old key in the list to be told", || world.alarms(agency)?.iter().any(told).then_some(()));
    };
    is_told("approval");
    // Though the list still has it, whoever holds the old key is let in no more.
    until("the old key to be kept out", || (status(&world, "civil")?["peers_connected"] == 2).then_some(()));
    world.kill("civil");
    world.resume("civil");
    is_told("civil");
    // The page's steps: the new key into the node, and into everybody's list; the others need no restart for it, and can
    // be restarted.
    world.kill("data");
    std::fs::copy(made.join("keys/peer.pem"), keys.join("peer.pem")).expect("copied");
    change(Path::new(&config), "joined_later = false", "joined_later = true");
    let (_, set) = world.get(world.seat("civil"), "/authority-sets/0").expect("it answers");
    let old = set["members"][3]["peer_key"].as_str().expect("a key").to_owned();
    change(&list, &old, &hex::encode(key.public().0));
    until("the end of the alarm", || world.alarms("approval")?.is_empty().then_some(()));
    let observer = Observer::make(&world);
    world.kill("civil");
    world.resume("data");
    world.resume("civil");
    until("everybody to be connected", || {
        (status(&world, "civil")?["members_connected"] == 4 && world.alarms("civil")?.is_empty()).then_some(())
    });
    good(&world.node(&["config", "check", "--config", &world.config_of("civil")]));
    let id = world.document("AFTER");
    world.sealed(world.seat("civil"), &id);
    a_note_that_came_before_its_epoch_is_kept(&world, &observer);
}

/// Nothing happens any more: the note that the observer gets when it comes is of a set that it has yet to learn of.
fn a_note_that_came_before_its_epoch_is_kept(world: &World, observer: &Observer) {
    let running = world.spawn(&observer.config(), &[]);
    until("the observer to be ready", || (world.ops(&observer.seat, "/readyz")?.0 == 200).then_some(()));
    let (_, status) = world.get(&observer.seat, "/status").expect("it answers");
    assert!(status["epoch"] == 1 && status["sealed_size"] == status["tree_size"], "{status}");
    drop(running);
}

#[test]
fn the_log_of_a_verbose_node_answers_a_clerk_by_id_and_tells_no_contents() {
    let world = World::start(4);
    world.kill("civil");
    let running = world.spawn(&world.config_of("civil"), &["-v"]);
    let seat = world.seat("civil");
    let officer = world.officer("civil-window-1");
    let good = officer.anchor(&world.origin, "DOC-LOGGED", 7);
    let nothing = Cbor::Array(vec![Cbor::text("civil"), Cbor::bytes(&key::parse_id("NOTHING").expect("an id"))]);
    let fields =
        vec![("record", nothing), ("fields", Cbor::bytes(&[9; 32])), ("reason", Cbor::text("what nobody may read"))];
    let bad = officer.sign(&world.origin, "correct", "COR-LOGGED", fields);
    for (record, outcome) in [(&good, "applied"), (&bad, "rejected")] {
        let answer = until("an outcome", || {
            let (_, answer) = world.post(seat, "/transactions", record.bytes(), 20)?;
            (answer["status"] == "final").then_some(answer)
        });
        assert_eq!(answer["outcome"], outcome, "{answer}");
    }
    let forged = officer.anchor("elsewhere.example.gov/main-0000000000000000", "DOC-FOREIGN", 7);
    assert!(world.post(seat, "/transactions", forged.bytes(), 0).is_some_and(|(status, _)| status == 422));
    let log = std::fs::read_to_string(world.node_folder("civil").join("node.log")).expect("readable");
    let line = |words: [&str; 2]| log.lines().find(|line| words.iter().all(|word| line.contains(word)));
    let id = |record: &mingzhang_ledger::transaction::Transaction| format!("sha256:{}", hex::encode(record.id()));
    for record in [&good, &bad] {
        assert!(line([&id(record), "record is admitted"]).is_some(), "{log}");
    }
    assert!(line([&id(&good), "record is admitted"]).is_some_and(|line| line.contains("civil/DOC-LOGGED")), "{log}");
    assert!(line([&id(&good), "record is final: applied"]).is_some(), "{log}");
    assert!(line([&id(&bad), "record is final: rejected"]).is_some_and(|line| line.contains("MZ-3")), "{log}");
    assert!(line([&id(&forged), "record is refused"]).is_some_and(|line| line.contains("MZ-1")), "{log}");
    assert!(!log.contains("what nobody may read"), "{log}");
    drop(running);
}
