//! The newest checkpoint that a user's commands verified is kept: no node leads that user back behind it, or on to another
//! history, unnoticed; and whoever sets an age is shown nothing that is older.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use mingzhang_client::submit::now_ms;
use mingzhang_genesis::Genesis;
use mingzhang_ledger::crypto::{SigningKey, key_file};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::merkle::{leaf_hash, node_hash};
use mingzhang_ledger::proof::SealedState;
use mingzhang_ledger::seal::{Checkpoint, Note, Seal};
use mingzhang_tests::world::{Told, World, run};
use serde_json::{Value, json};

use super::liar::{failed, honest, proxy, stuck, through};

type Said = Option<(u16, Vec<u8>)>;

#[test]
fn no_node_leads_back_or_to_another_history() {
    let world = World::start(1);
    let propose = ["gov", "propose", "authority_set", "--set", "confirm_wait=1500", "--from", "1h", "--id", "SET-1"];
    good(&world.client(&[&propose[..], &["--key", "approval-admin-1", "--wait", "60s"]].concat()));
    an_older_state_is_noticed(&world);
    another_history_is_noticed(&world);
    what_is_too_old_is_no_answer(&world);
    one_nodes_ignorance_is_no_answer(&world);
    several_at_once_keep_the_newest(&world);
}

const SHOW: [&str; 3] = ["gov", "show", "approval/SET-1"];

fn good(told: &Told) {
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
}

/// The note that this user has kept.
fn kept(world: &World) -> PathBuf {
    let files = std::fs::read_dir(world.home().join("checkpoints")).expect("checkpoints are kept");
    let mut files = files.map(|file| file.expect("a file").path()).filter(|path| path.extension().is_some());
    files.find(|path| path.extension().is_some_and(|extension| extension == "checkpoint")).expect("a checkpoint")
}

fn size(file: &Path) -> u64 {
    Note::parse(&std::fs::read_to_string(file).expect("readable")).expect("a note").checkpoint.size
}

fn an_older_state_is_noticed(world: &World) {
    let (past, is_stuck) = stuck(world);
    let trail = ["audit", "trail", "officer", "civil-window-1"];
    world.sealed(&world.seats[0], &world.document("OLD-1"));
    good(&through(world, &past, &SHOW));
    good(&through(world, &past, &trail));
    let status = ["tx", "status", "civil/OLD-1"];
    good(&through(world, &past, &status));
    is_stuck.store(true, Ordering::Relaxed);
    // Whoever saw no more than the node shows has nothing to hold against it.
    good(&through(world, &past, &SHOW));
    let before = size(&kept(world));
    world.sealed(&world.seats[0], &world.document("NEW-1"));
    good(&world.client(&SHOW));
    assert!(size(&kept(world)) > before, "the newer checkpoint takes the place of the older one");
    for asked in [&SHOW[..], &trail] {
        let told = through(world, &past, asked);
        failed(&told, 8, "MZ-4115");
        let detail = told.json["errors"][0]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(&format!("size {before}, kept is {}", size(&kept(world)))), "{detail}");
    }
    // Of a record the outcome is not known then: it may have been recorded since.
    let told = through(world, &past, &status);
    assert_eq!((told.exit, &told.data()["proven"]), (Some(6), &json!(false)), "{} {}", told.json, told.stderr);
    assert!(told.json["warnings"].to_string().contains("MZ-4115"), "{}", told.json);
    // Another node answers in its place, and somebody who kept nothing is told of the past.
    good(&world.client(&[&["--node", &past, "--node", &world.seats[0].url][..], &SHOW].concat()));
    let (context, other) = (world.path().join("context.toml").display().to_string(), world.path().join("other-home"));
    good(&run("mingzhang", &[&["--context", &context, "--json", "--node", &past][..], &SHOW].concat(), &other));
}

/// The same answer under a header that differs by a millisecond, sealed by all agencies.
fn forged(world: &World, honest: &[u8]) -> (u64, Vec<u8>) {
    let mut answer: SealedState = serde_json::from_slice(honest).expect("a proof");
    let genesis =
        Genesis::parse(&std::fs::read(world.path().join("genesis.json")).expect("a file")).expect("a genesis");
    let mut header = Header::decode(&answer.sealed.header).expect("a header");
    header.time_ms += 1;
    answer.sealed.header = header.encode().to_vec();
    // The header is the last leaf: all its neighbours stand to its left.
    let path = &answer.sealed.header_path;
    let root = path.iter().fold(leaf_hash(&answer.sealed.header), |right, left| node_hash(left, &right));
    let checkpoint = Checkpoint { origin: genesis.origin.clone(), size: header.tree_size(), root };
    let seal = |(seat, member): (usize, &mingzhang_ledger::authority::Member)| {
        let file = world.config_of(&member.agency);
        let file = Path::new(&file).parent().expect("a folder").join("keys").join("sealing.pem");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let key: SigningKey = key_file::read(&text, None).expect("a test key in clear");
        Seal::sign(&checkpoint, 0, u16::try_from(seat).expect("small"), now_ms() / 1_000, &key)
    };
    let seals: Vec<Seal> = genesis.set.members.iter().enumerate().map(seal).collect();
    answer.sealed.checkpoint = Note::of(checkpoint.clone(), &genesis.set, &[], &seals).text();
    (checkpoint.size, serde_json::to_vec(&answer).expect("JSON"))
}

fn another_history_is_noticed(world: &World) {
    let (node, fork) = (world.seats[0].url.clone(), Arc::new(Mutex::new(None::<Vec<u8>>)));
    let (seen, shown) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&fork));
    let recorded = Arc::clone(&seen);
    let lying = proxy(world, move |_, path| -> Said {
        if !path.contains("/state/") {
            return None;
        }
        if let Some(forged) = shown.lock().ok()?.clone() {
            return Some((200, forged));
        }
        let said = honest(&format!("{node}{path}"))?;
        *recorded.lock().ok()? = said.1.clone();
        Some(said)
    });
    good(&through(world, &lying, &SHOW));
    let (forged_size, answer) = forged(world, &seen.lock().expect("recorded"));
    assert_eq!(forged_size, size(&kept(world)));
    *fork.lock().expect("free") = Some(answer);
    let before = std::fs::read(kept(world)).expect("readable");
    let told = through(world, &lying, &SHOW);
    failed(&told, 8, "MZ-4116");
    assert_eq!(std::fs::read(kept(world)).expect("readable"), before, "the fork took the place of what was kept");
    let detail = told.json["errors"][0]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("approval"), "who sealed both is named: {detail}");
    let evidence = evidence(world);
    assert!(detail.contains(&evidence.display().to_string()), "{detail}");
    let genesis = world.path().join("genesis.json").display().to_string();
    let verified = |name: &str, home: &Path| {
        let file = evidence.join(name).display().to_string();
        run("mingzhang", &["--json", "verify", "checkpoint", &file, "--genesis", &genesis, "--offline"], home)
    };
    // Both notes hold by themselves; next to the one that is kept, one of them is a fork.
    let stranger = world.path().join("stranger");
    let (own, other) = (verified("kept.checkpoint", &stranger), verified("shown.checkpoint", &stranger));
    good(&own);
    good(&other);
    assert_ne!(own.data()["root"], other.data()["root"]);
    good(&verified("kept.checkpoint", &world.home()));
    failed(&verified("shown.checkpoint", &world.home()), 8, "MZ-4116");
    // A larger one has to lead on from it.
    world.sealed(&world.seats[0], &world.document("NEW-2"));
    std::fs::write(kept(world), &before).expect("as if another user had filed it");
    let broken = proxy(world, {
        let node = world.seats[0].url.clone();
        move |_, path| {
            let (status, body) = path.contains("/consistency").then(|| honest(&format!("{node}{path}")))??;
            let mut proof: Value = serde_json::from_slice(&body).ok()?;
            proof["path"] = json!([]);
            Some((status, proof.to_string().into_bytes()))
        }
    });
    // One node's false proof accuses nobody who sealed.
    let told = through(world, &broken, &SHOW);
    failed(&told, 9, "MZ-4121");
    let detail = told.json["errors"][0]["detail"].as_str().unwrap_or_default();
    assert!(!detail.contains("sealed by both"), "{detail}");
    let silent = proxy(world, |_, path| path.contains("/consistency").then(|| (404, b"{}".to_vec())));
    failed(&through(world, &silent, &SHOW), 9, "MZ-4127");
    assert_eq!(std::fs::read(kept(world)).expect("readable"), before);
    // Another node's proof will do, beside a silent one and a false one.
    for (node, asked) in
        [(&silent, &SHOW[..]), (&broken, &["audit", "trail", "officer", "civil-window-1"]), (&broken, &SHOW)]
    {
        std::fs::write(kept(world), &before).expect("as if another user had filed it");
        good(&world.client(&[&["--node", node, "--node", &world.seats[0].url][..], asked].concat()));
        assert_ne!(std::fs::read(kept(world)).expect("readable"), before, "the newer one is kept");
    }
}

/// The only folder of evidence.
fn evidence(world: &World) -> PathBuf {
    let only = |folder: PathBuf| {
        let mut found = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        found.next().expect("something").expect("a folder").path()
    };
    only(only(world.home().join("evidence")))
}

fn what_is_too_old_is_no_answer(world: &World) {
    let file = world.path().join("aged.tlog-proof").display().to_string();
    let bundle = world.path().join("aged.json").display().to_string();
    let (past, is_stuck) = stuck(world);
    let trail = ["audit", "trail", "officer", "civil-window-1"];
    good(&through(world, &past, &["receipt", "get", "civil/NEW-2", "--out", &file, "--max-age", "10m"]));
    good(&through(
        world,
        &past,
        &["audit", "bundle", "officer", "civil-window-1", "--out", &bundle, "--max-age", "10m"],
    ));
    good(&through(world, &past, &SHOW));
    good(&through(world, &past, &trail));
    is_stuck.store(true, Ordering::Relaxed);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let kept = kept(world).display().to_string();
    let offline: [&[&str]; 3] =
        [&["verify", "receipt", &file], &["verify", "checkpoint", &kept], &["audit", "verify", &bundle]];
    for asked in offline.into_iter().chain([&SHOW[..], &trail]) {
        failed(&through(world, &past, &[asked, &["--max-age", "1s"]].concat()), 9, "MZ-4122");
        good(&through(world, &past, &[asked, &["--max-age", "1h"]].concat()));
    }
    failed(&world.client(&["gov", "show", "approval/SET-1", "--max-age", "soon"]), 2, "MZ-2012");
    // A receipt that was refreshed is not replaced by the one before it.
    world.sealed(&world.seats[0], &world.document("NEW-4"));
    good(&world.client(&["receipt", "refresh", &file]));
    let newest = std::fs::read(&file).expect("readable");
    failed(&through(world, &past, &["receipt", "refresh", &file]), 8, "MZ-4115");
    assert_eq!(std::fs::read(&file).expect("readable"), newest);
}

/// That one node knows nothing is not that there is nothing, and whoever does not answer says nothing at all.
fn one_nodes_ignorance_is_no_answer(world: &World) {
    let ignorant = proxy(world, |_, path| {
        (path.contains("/records/") || path.contains("/receipt")).then(|| (404, b"{}".to_vec()))
    });
    good(&through(world, &ignorant, &["tx", "status", "civil/NEW-2"]));
    let out = world.path().join("asked-after.tlog-proof").display().to_string();
    let two = ["--node", &ignorant, "--node", &world.seats[0].url];
    good(&world.client(&[&two[..], &["receipt", "get", "civil/NEW-2", "--out", &out]].concat()));
    let told = through(world, &ignorant, &["tx", "status", "civil/NO-SUCH"]);
    assert_eq!(told.exit, Some(5), "{} {}", told.json, told.stderr);
    let blind =
        proxy(world, |_, path| (path.contains("/records/") || path.contains("/state/")).then(|| (404, b"{}".to_vec())));
    failed(&through(world, &blind, &["tx", "status", "civil/NEW-2"]), 9, "MZ-4127");
    failed(&through(world, "http://127.0.0.1:9", &SHOW), 7, "MZ-2007");
}

/// Commands that run at the same time leave a whole note, and the newest of theirs.
fn several_at_once_keep_the_newest(world: &World) {
    let path = kept(world);
    std::fs::write(&path, "no note").expect("written");
    failed(&world.client(&SHOW), 2, "MZ-2011");
    std::fs::remove_file(&path).expect("removed");
    world.sealed(&world.seats[0], &world.document("NEW-3"));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| good(&world.client(&SHOW)));
        }
    });
    let (_, newest) = honest(&format!("{}/api/v1/checkpoint", world.seats[0].url)).expect("the node answers");
    let newest = Note::parse(&String::from_utf8(newest).expect("a text")).expect("a note").checkpoint.size;
    assert_eq!(size(&path), newest);
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).expect("a file")) & 0o777, 0o600);
    let left = std::fs::read_dir(path.parent().expect("a folder")).expect("readable").count();
    assert_eq!(left, 2, "the note and its lock");
}
