//! Two of four agencies lose their machines for good, under load. The network stops and forks nothing; a manifest of the
//! recovery keys lets the two survivors go on with two others; whoever verifies keeps every record and is told of it.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::Receiver;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mingzhang_genesis::Genesis;
use mingzhang_ledger::crypto::{SigningKey, key_file};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::recovery::{RecoveryManifest, SignedManifest};
use mingzhang_tests::load::{BETWEEN_BLOWS, officer, one_place_everywhere, setting, under_load, wait_for};
use mingzhang_tests::world::{Running, Told, World, until};
use serde_json::Value;

use crate::epochs::{good, proven_epoch, status, verify};
use crate::returning::copy;

const SURVIVORS: [&str; 2] = ["approval", "finance"];
const LOST: [&str; 2] = ["civil", "data"];
const NEW: [&str; 2] = ["audit", "market"];
/// The status of the verifier where Python's module is missing.
const NO_CRYPTOGRAPHY: i32 = 77;
const REASON: &str = "fire in the machine rooms of civil and data, 2026-11-25";

fn at(world: &World, name: &str) -> String {
    world.path().join(name).display().to_string()
}

fn refused(told: &Told, code: &str, exit: i32) {
    assert_eq!((told.code(), told.exit), (code, Some(exit)), "{} {}", told.json, told.stderr);
}

/// A record of now, with its receipt in a file.
fn receipt(world: &World, name: &str) -> String {
    let file = at(world, &format!("{name}.tlog-proof"));
    let tx_id = world.document(name);
    world.sealed(world.seat("approval"), &tx_id);
    good(&world.client(&["receipt", "get", &tx_id, "--out", &file]));
    file
}

/// A block's header as a node gives it.
fn header(world: &World, height: u64) -> Header {
    let (_, proof) = world.get(world.seat("approval"), &format!("/blocks/{height}/proof")).expect("it answers");
    let bytes = STANDARD.decode(proof["header"].as_str().expect("a header")).expect("base64");
    Header::decode(&bytes).expect("a header")
}

/// Two of four cannot decide: the survivors answer nothing as final, and stand still. Returns what one of them admitted.
fn stands_still(world: &World) -> String {
    for agency in SURVIVORS {
        until(&format!("{agency} to be alone"), || (status(world, agency)?["state"] == "isolated").then_some(()));
        let told = world.node(&["status", "--config", &world.config_of(agency)]);
        assert_eq!((told.exit, told.code()), (Some(7), "MZ-5021"), "{}", told.stderr);
        assert_eq!(told.data()["missing_for_quorum"], 1, "{}", told.json);
    }
    let waiting = world.officer("approval-window-1").anchor(&world.origin, "WHILE-STOPPED", 7);
    // What was under way when the others went may still have become final before the first wait is over.
    let looks = [(); 2].map(|()| {
        let answer = world.post(world.seat("approval"), "/transactions", waiting.bytes(), 5).expect("it answers").1;
        assert_ne!(answer["status"], "final", "two of four answered: {answer}");
        SURVIVORS.map(|agency| world.height(world.seat(agency)))
    });
    assert_eq!(looks[0], looks[1]);
    hex::encode(waiting.id())
}

/// Every survivor's dump, every member's seat, and the draft made from them.
fn draft(world: &World) -> String {
    let mut arguments = vec!["recovery".to_owned(), "draft".into(), "--config".into(), world.config_of("approval")];
    for agency in SURVIVORS {
        let (dump, config) = (at(world, &format!("dump-{agency}.json")), world.config_of(agency));
        good(&world.node(&["recovery", "dump", "--config", &config, "--out", &dump]));
        arguments.extend(["--dump".into(), dump]);
    }
    for agency in SURVIVORS.into_iter().chain(NEW) {
        let (seat, config) = (at(world, &format!("seat-{agency}.json")), world.config_of(agency));
        let mut seated = vec!["recovery", "seat", "--config", &config, "--out", &seat];
        if NEW.contains(&agency) {
            seated.extend(["--epoch", "1", "--url", &world.seat(agency).url]);
        }
        good(&world.node(&seated));
        arguments.extend(["--seat".into(), seat]);
    }
    let manifest = at(world, "recovery.cbor");
    arguments.extend(["--reason".into(), REASON.into(), "--out".into(), manifest.clone()]);
    let told = world.node(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    good(&told);
    assert_eq!((told.data()["epoch"].as_u64(), told.data()["threshold"].as_u64()), (Some(1), Some(2)), "{}", told.json);
    println!("base at height {} held by {}", told.data()["base_height"], told.data()["base_held_by"]);
    manifest
}

/// Two holders sign two copies; one signature alone, or an officer's, opens nothing.
fn sign(world: &World, manifest: &str) {
    let (genesis, config) = (at(world, "genesis.json"), world.config_of("approval"));
    let check = || world.node(&["recovery", "check", manifest, "--config", &config]);
    refused(&check(), "MZ-5029", 2);
    let copy = at(world, "copy.cbor");
    std::fs::copy(manifest, &copy).expect("copied");
    let key = |name: &str| at(world, name);
    let officer = key("keys/finance-admin-1.pem");
    refused(&world.node(&["recovery", "sign", &copy, "--genesis", &genesis, "--key", &officer]), "MZ-5005", 4);
    good(&world.node(&["recovery", "sign", &copy, "--genesis", &genesis, "--key", &key("recovery/recovery-3.pem")]));
    good(&world.node(&["recovery", "sign", manifest, "--genesis", &genesis, "--key", &key("recovery/recovery-1.pem")]));
    refused(&check(), "MZ-5029", 2);
    let merged = world.node(&["recovery", "sign", manifest, "--genesis", &genesis, "--with", &copy]);
    good(&merged);
    assert_eq!(merged.data()["signed_by"], serde_json::json!([0, 2]), "{}", merged.json);
    good(&check());
}

/// A manifest on a lower base, signed by the same keys, is refused by whoever holds more.
fn no_final_block_is_given_up(world: &World, manifest: &str, lower: Header) {
    let bytes = std::fs::read(manifest).expect("readable");
    let honest = SignedManifest::decode(&bytes).expect("a manifest").manifest().clone();
    let mut signed = SignedManifest::new(RecoveryManifest { base: lower, ..honest });
    let genesis = Genesis::parse(&std::fs::read(at(world, "genesis.json")).expect("readable")).expect("a genesis");
    for number in 1..=2 {
        let text = std::fs::read_to_string(at(world, &format!("recovery/recovery-{number}.pem"))).expect("a key");
        let key: SigningKey = key_file::read(&text, None).expect("a test key in clear");
        assert!(signed.sign(&genesis.recovery_keys(), &key).is_some());
    }
    let file = at(world, "lower.cbor");
    std::fs::write(&file, signed.encode()).expect("written");
    for command in ["check", "apply"] {
        refused(&world.node(&["recovery", command, &file, "--config", &world.config_of("finance")]), "MZ-5030", 2);
    }
}

fn apply(world: &World, manifest: &str) {
    let dumps = SURVIVORS.map(|agency| at(world, &format!("dump-{agency}.json")));
    for agency in SURVIVORS {
        let config = world.config_of(agency);
        let arguments = ["recovery", "apply", manifest, "--config", &config, "--dump", &dumps[0], "--dump", &dumps[1]];
        good(&world.node(&arguments));
        // Twice is once.
        good(&world.node(&arguments));
    }
}

fn start(world: &World) -> Vec<Running> {
    let members = SURVIVORS.into_iter().chain(NEW);
    let running = members.clone().map(|agency| world.spawn(&world.config_of(agency), &[])).collect();
    for agency in members {
        until(&format!("{agency} to take part in epoch 1"), || {
            let status = status(world, agency)?;
            (status["epoch"] == 1 && status["state"] == "ready" && status["seat"].is_u64()).then_some(())
        });
    }
    running
}

/// Everything from the loss to a network that goes on.
fn lose_and_recover(world: &World, progress: &Receiver<()>, older: &Path) -> Vec<Running> {
    let lower = header(world, world.height(world.seat("approval")) / 2);
    for agency in LOST {
        world.kill(agency);
        std::fs::remove_dir_all(world.node_folder(agency)).expect("wiped");
    }
    let waiting = stands_still(world);
    for agency in SURVIVORS {
        world.kill(agency);
    }
    let manifest = draft(world);
    sign(world, &manifest);
    no_final_block_is_given_up(world, &manifest, lower);
    let config = older.join("node.toml").display().to_string();
    refused(&world.node(&["recovery", "apply", &manifest, "--config", &config]), "MZ-5031", 7);
    apply(world, &manifest);
    let running = start(world);
    wait_for(progress, 2 * BETWEEN_BLOWS);
    // What was admitted while nothing could be decided is recorded after all.
    world.place(world.seat("approval"), &waiting);
    running
}

#[test]
fn two_of_four_are_lost_for_good_and_the_network_goes_on_by_manifest() {
    let seed = setting("MINGZHANG_SEED").unwrap_or_else(|| getrandom::u64().expect("randomness"));
    println!("MINGZHANG_SEED={seed}");
    let mut world = World::start(4);
    NEW.into_iter().for_each(|agency| world.make(agency));
    world.kill("approval");
    let older = world.path().join("nodes/older");
    copy(&world.node_folder("approval"), &older);
    world.resume("approval");
    let (mut receipts, mut running) = (Vec::new(), Vec::new());
    let answered = under_load(&world, seed, |progress| {
        wait_for(progress, 2 * BETWEEN_BLOWS);
        receipts.push(receipt(&world, "BEFORE"));
        running.extend(lose_and_recover(&world, progress, &older));
        receipts.push(receipt(&world, "AFTER"));
    });
    let officer = officer(&world).key_id();
    println!("{} records answered before and after the loss", answered.len());
    world.seats.retain(|seat| !LOST.contains(&seat.agency.as_str()));
    one_place_everywhere(&world, &answered);
    auditors_are_told(&world, &receipts, &officer);
    drop(running);
    good(&world.node(&["store", "check", "--config", &world.config_of("finance")]));
}

/// One discontinuity, in the data and as a warning.
fn is_told(told: &Told, discontinuities: &Value) {
    assert_eq!(discontinuities.as_array().map(Vec::len), Some(1), "{}", told.json);
    assert_eq!((discontinuities[0]["epoch"].as_u64(), discontinuities[0]["reason"].as_str()), (Some(1), Some(REASON)));
    let warned = told.json["warnings"].as_array().expect("warnings");
    let warned = warned.iter().filter_map(Value::as_str).any(|text| text.contains("MZ-4131") && text.contains(REASON));
    assert!(warned, "{}", told.json);
}

/// The verifier that was written from the protocol page alone agrees, where it can run.
fn another_verifier(world: &World, evidence: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("verifiers/verify.py");
    let output = Command::new("python3").arg(script).arg(at(world, "genesis.json")).args(evidence).output();
    let Ok(output) = output else {
        eprintln!("skipped: python3 is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(NO_CRYPTOGRAPHY) => eprintln!("{said}"),
        status => assert!(status == Some(0) && said.contains("DISCONTINUITY"), "{status:?} {said}"),
    }
}

fn auditors_are_told(world: &World, receipts: &[String], officer: &str) {
    let handoffs = at(world, "handoffs.json");
    let exported = world.client(&["receipt", "handoffs", "--out", &handoffs]);
    good(&exported);
    is_told(&exported, &exported.data()["discontinuities"]);
    for (epoch, receipt) in (0u64..).zip(receipts) {
        let told = verify(world, receipt, Some(&handoffs));
        assert_eq!(proven_epoch(&told), Some(epoch));
        is_told(&told, &told.data()["discontinuities"]);
        another_verifier(world, &["receipt", receipt, &handoffs]);
    }
    let bundle = at(world, "officer.json");
    good(&world.client(&["audit", "bundle", "officer", officer, "--out", &bundle]));
    another_verifier(world, &["bundle", &bundle]);
    refused(&verify(world, &receipts[1], None), "MZ-4107", 9);
    // A manifest with one changed byte leads nowhere.
    let mut forged: Value = serde_json::from_slice(&std::fs::read(&handoffs).expect("readable")).expect("JSON");
    let mut bytes = STANDARD.decode(forged[0]["recovery"].as_str().expect("a manifest")).expect("base64");
    *bytes.last_mut().expect("bytes") ^= 1;
    forged[0]["recovery"] = Value::String(STANDARD.encode(&bytes));
    std::fs::write(&handoffs, forged.to_string()).expect("written");
    refused(&verify(world, &receipts[1], Some(&handoffs)), "MZ-4130", 8);
    let told = world.client(&["audit", "trail", "officer", officer]);
    good(&told);
    assert_eq!(told.data()["proof"]["verdict"], "verified", "{}", told.json);
    is_told(&told, &told.data()["proof"]["discontinuities"]);
    let told = world.node(&["status", "--config", &world.config_of("audit")]);
    good(&told);
    assert_eq!(told.data()["discontinuities"][0]["reason"], REASON, "{}", told.json);
}
