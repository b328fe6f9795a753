//! The authority set changes under load, while nodes are killed: a fifth agency joins, a founder leaves, and everybody who
//! trusts the genesis file alone can still verify what was recorded before, between and after.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use mingzhang_tests::load::{
    BETWEEN_BLOWS, Dice, EndOfLoad, Load, SUBMITTERS, one_place_everywhere, setting, wait_for,
};
use mingzhang_tests::world::{Told, World, run, until};
use serde_json::Value;

/// Until a change takes effect: enough for its votes and for everybody to be ready on a busy machine.
const FROM_S: u64 = 30;
const WAIT: &str = "60s";

fn good(told: &Told) {
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
}

fn admin(agency: &str) -> String {
    format!("{agency}-admin-1")
}

fn status(world: &World, agency: &str) -> Option<Value> {
    Some(world.get(world.seat(agency), "/status")?.1)
}

fn epoch(world: &World, agency: &str) -> Option<u64> {
    status(world, agency)?["epoch"].as_u64()
}

fn wait_for_epoch(world: &World, number: u64, agencies: &[&str]) {
    for agency in agencies {
        until(&format!("epoch {number} at {agency}"), || (epoch(world, agency)? >= number).then_some(()));
    }
}

/// Proposes a change as the first agency, and lets all these agencies vote for it.
fn agree(world: &World, change: &[&str], voters: &[&str]) -> (Told, Instant) {
    let (first, from, now) = (admin(voters[0]), format!("{FROM_S}s"), Instant::now());
    let propose =
        [&["gov", "propose", "authority_set", "--from", &from, "--key", &first, "--wait", WAIT], change].concat();
    let proposed = world.client(&propose);
    good(&proposed);
    let id = proposed.data()["record_id"].as_str().expect("the proposal's id").to_owned();
    for voter in voters {
        good(&world.client(&["gov", "vote", &id, "yes", "--key", &admin(voter), "--wait", WAIT]));
    }
    let shown = world.client(&["gov", "show", &id]);
    good(&shown);
    assert_eq!(shown.data()["status"], "passed", "{}", shown.json);
    (proposed, now)
}

/// The agency's node says that it is ready for the next epoch, and its administrator submits it.
fn say_ready(world: &World, agency: &str) {
    let file = world.path().join(format!("ready-{agency}.json")).display().to_string();
    good(&world.node(&["authority", "ready", "--config", &world.config_of(agency), "--out", &file]));
    good(&world.client(&["gov", "ready", &file, "--key", &admin(agency), "--wait", WAIT]));
}

/// A record of now, with its receipt in a file.
fn receipt(world: &World, name: &str) -> String {
    let file = world.path().join(format!("{name}.tlog-proof")).display().to_string();
    let tx_id = world.document(name);
    world.sealed(world.seat("civil"), &tx_id);
    good(&world.client(&["receipt", "get", &tx_id, "--out", &file]));
    file
}

/// Verifies a receipt on a machine that holds nothing but the given files.
fn verify(world: &World, receipt: &str, handoffs: Option<&str>) -> Told {
    let genesis = world.path().join("genesis.json").display().to_string();
    let nowhere = world.path().join("another-machine");
    let mut arguments = vec!["--json", "verify", "receipt", receipt, "--genesis", &genesis, "--offline"];
    arguments.extend(handoffs.map(|file| ["--handoffs", file]).into_iter().flatten());
    run("mingzhang", &arguments, &nowhere)
}

fn proven_epoch(told: &Told) -> Option<u64> {
    assert_eq!((told.exit, told.data()["verdict"].as_str()), (Some(0), Some("verified")), "{}", told.json);
    told.data()["epoch"].as_u64()
}

/// A fifth agency gets a seat; a node is killed when the boundary is near.
fn one_joins(world: &World, progress: &Receiver<()>) {
    let seat = world.path().join("seat-audit.json").display().to_string();
    let url = world.seat("audit").url.clone();
    good(&world.node(&["authority", "seat", "--config", &world.config_of("audit"), "--url", &url, "--out", &seat]));
    let (told, proposed) = agree(world, &["--seat", &seat], &["approval", "finance", "civil"]);
    let impact = &told.data()["impact"];
    assert_eq!((impact["before"]["quorum"].as_u64(), impact["quorum"].as_u64()), (Some(3), Some(4)), "{impact}");
    assert_eq!(impact["tolerates"], 1);
    until("the joining node to follow", || {
        let (own, tip) = (status(world, "audit")?["height"].as_u64()?, world.height(world.seat("civil")));
        (own > 0 && tip.saturating_sub(own) < 32).then_some(())
    });
    for agency in ["approval", "finance", "civil", "data", "audit"] {
        say_ready(world, agency);
    }
    wait_for(progress, BETWEEN_BLOWS);
    wait_until_near(world, proposed, 1);
    world.kill("data");
    wait_for_epoch(world, 1, &["approval", "finance", "civil", "audit"]);
    wait_for(progress, BETWEEN_BLOWS);
    world.resume("data");
    wait_for_epoch(world, 1, &["data"]);
    wait_for(progress, BETWEEN_BLOWS);
    let audit = status(world, "audit").expect("it answers");
    assert_eq!((audit["seat"].as_u64(), audit["members"].as_array().map(Vec::len)), (Some(4), Some(5)), "{audit}");
}

/// Waits until a change that was proposed at that moment is due within two seconds.
fn wait_until_near(world: &World, proposed: Instant, number: u64) {
    let near = || proposed.elapsed() + Duration::from_secs(2) >= Duration::from_secs(FROM_S);
    until("the time of the boundary", || (near() || epoch(world, "civil")? >= number).then_some(()));
}

/// A founder leaves; the newest member is killed when the boundary is near.
fn one_leaves(world: &World, progress: &Receiver<()>) {
    let (_, proposed) = agree(world, &["--remove", "data"], &["approval", "finance", "civil", "audit"]);
    for agency in ["approval", "finance", "civil", "audit"] {
        say_ready(world, agency);
    }
    wait_until_near(world, proposed, 2);
    world.kill("audit");
    wait_for_epoch(world, 2, &["approval", "finance", "civil"]);
    wait_for(progress, BETWEEN_BLOWS);
    world.resume("audit");
    wait_for_epoch(world, 2, &["audit", "data"]);
    wait_for(progress, BETWEEN_BLOWS);
    let data = status(world, "data").expect("it answers");
    assert!(data["seat"].is_null(), "whoever was removed follows without a vote: {data}");
}

#[test]
fn four_become_five_become_four_under_load() {
    let seed = setting("MINGZHANG_SEED").unwrap_or_else(|| getrandom::u64().expect("randomness"));
    println!("MINGZHANG_SEED={seed}");
    let mut world = World::start(4);
    world.add("audit");
    let load = Load {
        world: &world,
        officer: world.officer("civil-window-1"),
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        answered: Mutex::new(Vec::new()),
    };
    let mut receipts = Vec::new();
    std::thread::scope(|scope| {
        let end = EndOfLoad(&load.stop);
        let (sender, progress) = channel();
        for submitter in 0..SUBMITTERS {
            let dice = Dice { seed: seed.wrapping_add(submitter as u64), throws: 0 };
            let (load, sender) = (&load, sender.clone());
            scope.spawn(move || load.submit(dice, &sender));
        }
        drop(sender);
        wait_for(&progress, BETWEEN_BLOWS);
        receipts.push(receipt(&world, "EPOCH-0"));
        one_joins(&world, &progress);
        receipts.push(receipt(&world, "EPOCH-1"));
        one_leaves(&world, &progress);
        receipts.push(receipt(&world, "EPOCH-2"));
        drop(end);
    });
    let answered = load.answered.lock().expect("no submitter panicked").clone();
    println!("{} records answered over three epochs", answered.len());
    one_place_everywhere(&world, &answered);
    let handoffs = world.path().join("handoffs.json").display().to_string();
    good(&world.client(&["receipt", "handoffs", "--out", &handoffs]));
    for (number, receipt) in (0u64..).zip(&receipts) {
        assert_eq!(proven_epoch(&verify(&world, receipt, Some(&handoffs))), Some(number));
        let without = verify(&world, receipt, None);
        let expected = if number == 0 { (Some(0), "") } else { (Some(9), "MZ-4107") };
        assert_eq!((without.exit, without.code()), expected, "{}", without.json);
    }
    let told = world.client(&["audit", "trail", "officer", &load.officer.key_id()]);
    assert_eq!((told.exit, told.data()["proof"]["verdict"].as_str()), (Some(0), Some("verified")), "{}", told.json);
    sealing_keys_are_gone(&world);
}

/// Every member has destroyed the sealing keys of the epochs before.
fn sealing_keys_are_gone(world: &World) {
    for agency in ["approval", "finance", "civil", "audit"] {
        until(&format!("{agency} to destroy its old sealing keys"), || {
            let folder = std::fs::read_dir(world.path().join("nodes").join(agency).join("keys")).ok()?;
            let names = folder.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            let sealing: Vec<String> = names.filter(|name| name.starts_with("sealing")).collect();
            // Of a node that joined, the key of its own making was never registered and is kept.
            sealing.iter().all(|name| name == "sealing-2.pem" || agency == "audit").then_some(())
        });
    }
}
