//! The authority set changes under load, while nodes are killed: agencies join, founders leave, a key is replaced, and
//! everybody who trusts the genesis file alone can still verify what was recorded before, between and after. `make test`
//! goes over five members and back to four; `make epochs` over five, seven and six.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mingzhang_ledger::authority::quorum;
use mingzhang_tests::load::{BETWEEN_BLOWS, officer, one_place_everywhere, setting, under_load, wait_for};
use mingzhang_tests::world::{Told, World, run, until};
use serde_json::Value;

/// Until a change takes effect: enough for its votes and for everybody to be ready on a busy machine, with five members.
pub const FROM_S: u64 = 30;
/// So much longer for each further one.
const SECONDS_A_MEMBER: u64 = 15;
const WAIT: &str = "60s";

pub fn good(told: &Told) {
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
}

fn admin(agency: &str) -> String {
    format!("{agency}-admin-1")
}

pub fn status(world: &World, agency: &str) -> Option<Value> {
    Some(world.get(world.seat(agency), "/status")?.1)
}

fn epoch(world: &World, agency: &str) -> Option<u64> {
    status(world, agency)?["epoch"].as_u64()
}

pub fn wait_for_epoch(world: &World, number: u64, agencies: &[&str]) {
    for agency in agencies {
        until(&format!("epoch {number} at {agency}"), || (epoch(world, agency)? >= number).then_some(()));
    }
}

/// Proposes a change as the first agency, and lets all these agencies vote for it.
pub fn agree(world: &World, change: &[&str], voters: &[&str], from_s: u64) -> (Told, Instant) {
    let (first, from, now) = (admin(voters[0]), format!("{from_s}s"), Instant::now());
    let propose =
        [&["gov", "propose", "authority_set", "--from", &from, "--key", &first, "--wait", WAIT], change].concat();
    let proposed = world.client(&propose);
    good(&proposed);
    let id = proposed.data()["record_id"].as_str().expect("the proposal's id").to_owned();
    for voter in voters {
        good(&world.client(&["gov", "vote", &id, "yes", "--key", &admin(voter), "--wait", WAIT, "--yes"]));
    }
    let shown = world.client(&["gov", "show", &id]);
    good(&shown);
    assert_eq!(shown.data()["status"], "passed", "{}", shown.json);
    (proposed, now)
}

/// The agency's node says that it is ready for the next epoch, and its administrator submits it.
pub fn say_ready(world: &World, agency: &str) {
    let file = world.path().join(format!("ready-{agency}.json")).display().to_string();
    good(&world.node(&["authority", "ready", "--config", &world.config_of(agency), "--out", &file]));
    good(&world.client(&["gov", "ready", &file, "--key", &admin(agency), "--wait", WAIT]));
}

/// A record of now, with its receipt in a file.
fn receipt(world: &World, name: &str) -> String {
    let file = world.path().join(format!("{name}.tlog-proof")).display().to_string();
    let tx_id = world.document(name);
    world.sealed(world.seat("approval"), &tx_id);
    good(&world.client(&["receipt", "get", &tx_id, "--out", &file]));
    file
}

/// Verifies a receipt on a machine that holds nothing but the given files.
pub fn verify(world: &World, receipt: &str, handoffs: Option<&str>) -> Told {
    let genesis = world.path().join("genesis.json").display().to_string();
    let nowhere = world.path().join("another-machine");
    let mut arguments = vec!["--json", "verify", "receipt", receipt, "--genesis", &genesis, "--offline"];
    arguments.extend(handoffs.map(|file| ["--handoffs", file]).into_iter().flatten());
    run("mingzhang", &arguments, &nowhere)
}

pub fn proven_epoch(told: &Told) -> Option<u64> {
    assert_eq!((told.exit, told.data()["verdict"].as_str()), (Some(0), Some("verified")), "{}", told.json);
    told.data()["epoch"].as_u64()
}

/// A change of the set: who joins, who leaves, and whose node is killed when the boundary is near.
struct Change {
    joins: &'static [&'static str],
    leaves: &'static [&'static str],
    victim: &'static str,
}

/// Four, five, four.
const SHORT: [Change; 2] = [
    Change { joins: &["audit"], leaves: &[], victim: "data" },
    Change { joins: &[], leaves: &["data"], victim: "audit" },
];
/// Four, five, seven, six, four.
const LONG: [Change; 4] = [
    Change { joins: &["audit"], leaves: &[], victim: "data" },
    Change { joins: &["rural", "bank"], leaves: &[], victim: "civil" },
    Change { joins: &[], leaves: &["data"], victim: "bank" },
    Change { joins: &[], leaves: &["rural", "bank"], victim: "audit" },
];

/// Lets the members agree on a change and makes it happen; returns who decides from then on.
fn carry_out(world: &World, change: &Change, members: &[&'static str], progress: &Receiver<()>) -> Vec<&'static str> {
    let number = epoch(world, "civil").expect("it answers") + 1;
    let mut next: Vec<&'static str> = members.to_vec();
    next.retain(|agency| !change.leaves.contains(agency));
    next.extend(change.joins);
    let mut words: Vec<String> =
        change.leaves.iter().flat_map(|agency| ["--remove", agency]).map(str::to_owned).collect();
    for agency in change.joins {
        world.resume(agency);
        let seat = world.path().join(format!("seat-{agency}.json")).display().to_string();
        let (config, url) = (world.config_of(agency), &world.seat(agency).url);
        good(&world.node(&["authority", "seat", "--config", &config, "--url", url, "--out", &seat]));
        words.extend(["--seat".to_owned(), seat]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let from_s = FROM_S + SECONDS_A_MEMBER * next.len().max(members.len()).saturating_sub(5) as u64;
    let voters = &members[..quorum(members.len())];
    let (told, proposed) = agree(world, &words, voters, from_s);
    let impact = &told.data()["impact"];
    let quorums = [members.len(), next.len()].map(|members| Some(quorum(members) as u64));
    assert_eq!([impact["before"]["quorum"].as_u64(), impact["quorum"].as_u64()], quorums, "{impact}");
    for agency in change.joins {
        until("the joining node to follow", || {
            let (own, tip) = (status(world, agency)?["height"].as_u64()?, world.height(world.seat("approval")));
            (own > 0 && tip.saturating_sub(own) < 32).then_some(())
        });
    }
    next.iter().for_each(|agency| say_ready(world, agency));
    wait_for(progress, BETWEEN_BLOWS);
    wait_until_near(world, (proposed, from_s), number);
    world.kill(change.victim);
    let others: Vec<&str> = next.iter().copied().filter(|agency| *agency != change.victim).collect();
    wait_for_epoch(world, number, &others);
    wait_for(progress, BETWEEN_BLOWS);
    world.resume(change.victim);
    wait_for_epoch(world, number, &[&[change.victim][..], change.leaves].concat());
    wait_for(progress, BETWEEN_BLOWS);
    for agency in &next {
        until(&format!("{agency} to have a seat among all members"), || {
            let status = status(world, agency)?;
            let seats = (status["seat"].as_u64().is_some(), status["members"].as_array().map(Vec::len));
            (seats == (true, Some(next.len()))).then_some(())
        });
    }
    for agency in change.leaves {
        until(&format!("{agency} to follow without a vote"), || status(world, agency)?["seat"].is_null().then_some(()));
    }
    println!("epoch {number}: {} members", next.len());
    next
}

/// Waits until a change that was proposed at that moment is due within two seconds.
fn wait_until_near(world: &World, (proposed, from_s): (Instant, u64), number: u64) {
    let near = || proposed.elapsed() + Duration::from_secs(2) >= Duration::from_secs(from_s);
    until("the time of the boundary", || (near() || epoch(world, "approval")? >= number).then_some(()));
}

#[test]
fn the_set_grows_and_shrinks_under_load() {
    let seed = setting("MINGZHANG_SEED").unwrap_or_else(|| getrandom::u64().expect("randomness"));
    let long = setting("MINGZHANG_EPOCHS_LONG").is_some_and(|number| number > 0);
    println!("MINGZHANG_SEED={seed} MINGZHANG_EPOCHS_LONG={}", u8::from(long));
    let changes: &[Change] = if long { &LONG } else { &SHORT };
    let mut world = World::start(4);
    changes.iter().flat_map(|change| change.joins).for_each(|agency| world.make(agency));
    let mut receipts = Vec::new();
    let mut members = vec!["approval", "finance", "civil", "data"];
    let answered = under_load(&world, seed, |progress| {
        wait_for(progress, BETWEEN_BLOWS);
        receipts.push(receipt(&world, "EPOCH-0"));
        for (number, change) in (1..).zip(changes) {
            members = carry_out(&world, change, &members, progress);
            receipts.push(receipt(&world, &format!("EPOCH-{number}")));
        }
    });
    println!("{} records answered over {} epochs", answered.len(), receipts.len());
    one_place_everywhere(&world, &answered);
    let handoffs = world.path().join("handoffs.json").display().to_string();
    good(&world.client(&["receipt", "handoffs", "--out", &handoffs]));
    for (number, receipt) in (0u64..).zip(&receipts) {
        assert_eq!(proven_epoch(&verify(&world, receipt, Some(&handoffs))), Some(number));
        let without = verify(&world, receipt, None);
        let expected = if number == 0 { (Some(0), "") } else { (Some(9), "MZ-4107") };
        assert_eq!((without.exit, without.code()), expected, "{}", without.json);
    }
    let told = world.client(&["audit", "trail", "officer", &officer(&world).key_id()]);
    assert_eq!((told.exit, told.data()["proof"]["verdict"].as_str()), (Some(0), Some("verified")), "{}", told.json);
    sealing_keys_are_gone(&world, &members, changes.len());
}

/// Every member has destroyed the sealing keys of the epochs before.
fn sealing_keys_are_gone(world: &World, members: &[&str], newest: usize) {
    for agency in members {
        until(&format!("{agency} to destroy its old sealing keys"), || {
            let folder = std::fs::read_dir(world.node_folder(agency).join("keys")).ok()?;
            let names = folder.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            let sealing: Vec<String> = names.filter(|name| name.starts_with("sealing")).collect();
            // Of a node that joined, the key of its own making was never registered and is kept.
            let founded = ["approval", "finance", "civil", "data"].contains(agency);
            let kept = |name: &String| *name == format!("sealing-{newest}.pem") || (!founded && name == "sealing.pem");
            sealing.iter().all(kept).then_some(())
        });
    }
}

/// The others have long handed on when a member comes back that was away at the boundary: it gets their seals all the
/// same, can hand on itself, and destroys its old key.
#[test]
fn who_was_away_at_a_boundary_gets_its_seals_from_the_others() {
    let mut world = World::start(4);
    world.make("audit");
    world.resume("audit");
    let seat = world.path().join("seat-audit.json").display().to_string();
    let (config, url) = (world.config_of("audit"), world.seat("audit").url.clone());
    good(&world.node(&["authority", "seat", "--config", &config, "--url", &url, "--out", &seat]));
    let others = ["approval", "finance", "civil", "audit"];
    agree(&world, &["--seat", &seat], &others[..3], FROM_S);
    until("the joining node to follow", || (status(&world, "audit")?["height"].as_u64()? > 0).then_some(()));
    others.iter().chain(&["data"]).for_each(|agency| say_ready(&world, agency));
    assert_eq!(epoch(&world, "civil"), Some(0), "the boundary is still to come");
    world.kill("data");
    wait_for_epoch(&world, 1, &others);
    world.document("AFTER");
    sealing_keys_are_gone(&world, &others, 1);
    world.resume("data");
    wait_for_epoch(&world, 1, &["data"]);
    sealing_keys_are_gone(&world, &["data"], 1);
    until("its hand-off", || world.get(world.seat("data"), "/handoffs/1").filter(|(code, _)| *code == 200));
}

/// An agency whose consensus key is gone for good makes another one, the others vote for it, and its node takes part again.
/// The policy beside a receipt of epoch 1 is that of epoch 1: with the founding keys its note would satisfy nobody.
fn a_bundle_names_the_seals_of_its_epoch(world: &World) {
    let file = world.path().join("bundle.json");
    let id = world.document("DOC-3");
    world.sealed(world.seat("approval"), &id);
    good(&world.client(&["receipt", "get", &id, "--format", "bundle", "--out", &file.display().to_string()]));
    let bundle: Value = serde_json::from_slice(&std::fs::read(&file).expect("a bundle")).expect("JSON");
    let policy = bundle["policy"].as_str().expect("a policy");
    assert!(policy.contains("/e1+") && !policy.contains("/e0+"), "{policy}");
}

#[test]
fn a_destroyed_consensus_key_is_replaced_by_vote() {
    let world = World::start(4);
    world.document("DOC-1");
    world.kill("data");
    let (path, config) = (world.node_folder("data").join("keys/consensus.pem"), world.config_of("data"));
    std::fs::remove_file(&path).expect("destroyed");
    let key = mingzhang_node::keys::generate().expect("a key");
    mingzhang_node::keys::write_test(&path, &key).expect("written");
    // The genesis knows another key: from now on the set that decides says which is right.
    let text = std::fs::read_to_string(&config).expect("readable");
    std::fs::write(&config, text.replace("joined_later = false", "joined_later = true")).expect("written");
    let running = world.spawn(&config, &[]);
    let second = world.document("DOC-2");
    world.place(world.seat("data"), &second);
    assert!(status(&world, "data").expect("it answers")["seat"].is_null(), "it follows without a vote");
    let seat = world.path().join("seat-data.json").display().to_string();
    good(&world.node(&["authority", "seat", "--config", &config, "--only", "consensus", "--out", &seat]));
    agree(&world, &["--seat", &seat], &["approval", "finance", "civil"], FROM_S);
    for agency in ["approval", "finance", "civil", "data"] {
        say_ready(&world, agency);
    }
    wait_for_epoch(&world, 1, &["approval", "finance", "civil", "data"]);
    until("the node to have its seat again", || {
        let status = status(&world, "data")?;
        (status["seat"] == 3 && status["state"] == "ready").then_some(())
    });
    let (_, set) = world.get(world.seat("approval"), "/authority-sets/1").expect("it answers");
    assert_eq!(set["members"][3]["consensus_key"], hex::encode(key.public().0), "{set}");
    a_bundle_names_the_seals_of_its_epoch(&world);
    // Three of four are a quorum only with the one whose key is new.
    world.kill("civil");
    let last = world.officer("approval-window-1").anchor(&world.origin, "LAST", 9);
    until("a record by three of four", || {
        let (_, answer) = world.post(world.seat("data"), "/transactions", last.bytes(), 10)?;
        (answer["status"] == "final" && answer["outcome"] == "applied").then_some(())
    });
    drop(running);
}
