//! A node that lies: what it says about records, money and time is no answer until the seals bear it out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mingzhang_tests::world::{Told, World, run};
use serde_json::{Value, json};

use super::liar::{failed, honest, liar, listener, proxy, stuck, through};

fn anchor<'a>(id: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let root = "7777777777777777777777777777777777777777777777777777777777777777";
    let filed = ["record", "document_anchor", "--root", root, "--kind", "minutes", "--id", id];
    [&filed[..], &["--key", "civil-window-1"], more].concat()
}

/// Whether the outbox holds a record, and how it stands there.
fn kept(world: &World, name: &str) -> Option<Value> {
    let listed = world.client(&["tx", "list"]);
    let items = listed.data()["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().find(|item| format!("civil/{}", item["record_id"].as_str().unwrap_or("")) == name)
}

#[test]
fn a_node_is_believed_nothing() {
    let world = World::start(1);
    a_refusal_is_one_nodes_word(&world);
    expired_takes_a_proof(&world);
    final_takes_a_proof(&world);
    another_record_is_noticed(&world);
    when_it_was_recorded_takes_a_proof(&world);
    a_node_that_never_waits_is_not_asked_without_end(&world);
    the_same_record_again_is_proven(&world);
    a_query_is_a_claim(&world);
    a_currency_takes_a_proof(&world);
    a_vote_is_for_what_is_proven(&world);
    a_paper_is_compared_with_proven_bytes(&world);
    another_trail_is_noticed(&world);
    that_there_is_none_takes_a_proof(&world);
    an_old_checkpoint_hides_nothing(&world);
    an_approval_is_of_what_was_sent(&world);
    an_import_takes_a_proof(&world);
}

/// A node that gives the complete trail of another subject is not believed that it is the one asked for.
fn another_trail_is_noticed(world: &World) {
    let other = [("civil/AID", "civil/ROAD"), ("/DOC-1", "/DOC-9"), ("civil.AID", "civil.ROAD")];
    let node = world.seats[0].url.clone();
    let rewriting = move |names: &'static [(&str, &str)]| {
        let node = node.clone();
        move |_: &str, path: &str| {
            let swapped = names.iter().fold(path.to_owned(), |path, (from, to)| path.replace(from, to));
            if swapped == path { None } else { honest(&format!("{node}{swapped}")) }
        }
    };
    open_programme(world, "ROAD");
    let other: &'static [_] = Box::leak(Box::new(other));
    let lying = proxy(world, rewriting(other));
    let file = world.path().join("another.json").display().to_string();
    let out = ["--out", file.as_str()];
    for asked in [
        &["audit", "programme", "civil/AID"][..],
        &["audit", "trail", "programme", "civil/AID"],
        &[&["audit", "bundle", "programme", "civil/AID"][..], &out].concat(),
    ] {
        let told = through(world, &lying, asked);
        failed(&told, 8, "MZ-4109");
        assert!(told.json["errors"][0]["detail"].to_string().contains("civil/ROAD"), "{}", told.json);
    }
    assert!(!std::path::Path::new(&file).exists(), "another's evidence was kept");
    // Nor are another programme's accounts or findings taken for this one's.
    for part in [
        &[("registry/accounts/civil.AID", "registry/programmes")][..],
        &[("findings/civil.AID", "registry/programmes")],
    ] {
        let lying = proxy(world, rewriting(Box::leak(part.to_vec().into_boxed_slice())));
        failed(&through(world, &lying, &["audit", "programme", "civil/AID"]), 8, "MZ-4109");
    }
}

/// One node's 404 is a claim; with its proof it is an answer, and without one it is none.
fn that_there_is_none_takes_a_proof(world: &World) {
    let none = json!({ "code": "MZ-2005", "detail": "there is no such trail" });
    let said = none.clone();
    let lying = liar(world, move |_, path| path.contains("/trails/").then(|| (404, said.clone())));
    let honest_node = world.seats[0].url.clone();
    for asked in [&["audit", "programme", "civil/AID"][..], &["audit", "trail", "programme", "civil/AID"]] {
        failed(&through(world, &lying, asked), 9, "MZ-4127");
        let told = world.client(&[&["--node", &lying, "--node", &honest_node][..], asked].concat());
        assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    }
    let told = world.client(&["audit", "programme", "civil/NEVER"]);
    failed(&told, 5, "MZ-2005");
    assert!(told.json["errors"][0]["detail"].to_string().contains("proven"), "{}", told.json);
    // A record that is no subject of its own has a leaf, and the leaf shows that it has no trail.
    failed(&world.client(&["audit", "trail", "case", "civil/DOC-1"]), 5, "MZ-2005");
    let leafless =
        liar(world, move |_, path| (path.contains("/trails/") || path.contains("/state")).then(|| (404, none.clone())));
    failed(&through(world, &leafless, &["audit", "programme", "civil/NEVER"]), 9, "MZ-4127");
}

/// A node that answers from an old sealed block, and is asked first, neither shortens the books nor counts as agreeing.
fn an_old_checkpoint_hides_nothing(world: &World) {
    let (stale, frozen) = stuck(world);
    let stale_node = world.seats[0].url.clone();
    let asked = ["audit", "trail", "officer", "civil-window-1"];
    let before = through(world, &stale, &asked);
    assert_eq!(before.exit, Some(0), "{} {}", before.json, before.stderr);
    frozen.store(true, Ordering::Relaxed);
    let tx_id = world.document("NEW-1");
    world.sealed(&world.seats[0], &tx_id);
    let told = world.client(&[&["--node", &stale, "--node", &stale_node][..], &asked].concat());
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    let count = |told: &Told| told.data()["count"].as_u64().expect("a count");
    assert_eq!(count(&told), count(&before) + 1, "{}", told.json);
    let proof = &told.data()["proof"];
    assert_eq!((&proof["nodes_agreeing"], &proof["nodes_asked"]), (&json!(1), &json!(2)), "{proof}");
    assert_eq!(proof["nodes_behind"][0]["node"], json!(stale), "{proof}");
    assert!(told.json["warnings"].to_string().contains("entries behind"), "{}", told.json);
    // Whoever has seen newer books is not led back by the stale node alone; whoever has not reads how old its books are.
    failed(&through(world, &stale, &asked), 8, "MZ-4115");
    let (context, other) = (world.path().join("context.toml").display().to_string(), world.path().join("newcomer"));
    let newcomer = ["--context", context.as_str(), "--json", "--lang", "en", "--node", stale.as_str()];
    let alone = run("mingzhang", &[&newcomer[..], &asked].concat(), &other);
    assert_eq!((alone.exit, &alone.data()["as_of"]), (Some(0), &before.data()["as_of"]), "{}", alone.json);
}

/// A node that tells of a harmless action hides neither the action nor what it does to the network.
fn a_vote_is_for_what_is_proven(world: &World) {
    let propose = ["gov", "propose", "authority_set", "--set", "confirm_wait=1500", "--from", "1h", "--id", "SET-1"];
    let told = world.client(&[&propose[..], &["--key", "approval-admin-1", "--wait", "60s"]].concat());
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    let harmless = liar(world, |_, path| {
        let object = json!({ "action": "calendar_set", "action_bytes": "a0", "votes_for": [], "votes_against": [] });
        path.contains("/records/").then(|| (200, json!({ "leaf": { "object": object } })))
    });
    let shown = through(world, &harmless, &["gov", "show", "approval/SET-1"]);
    let said = (shown.exit, &shown.data()["kind"], &shown.data()["proven"]);
    assert_eq!(said, (Some(0), &json!("authority_set"), &json!(true)), "{} {}", shown.json, shown.stderr);
    let vote = ["gov", "vote", "approval/SET-1", "yes", "--key", "approval-admin-1", "--wait", "60s", "--yes"];
    let told = through(world, &harmless, &vote);
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    for words in ["approval/SET-1  authority_set  (proven at height", "confirm_wait", "quorum"] {
        assert!(told.stderr.contains(words), "{words}: {}", told.stderr);
    }
    // The same vote again is no second one.
    let again = world.client(&vote);
    let (first, second) = (&told.data()["tx_id"], &again.data()["tx_id"]);
    assert_eq!((again.exit, second, &again.data()["repeated"]), (Some(0), first, &json!(true)), "{}", again.json);
    // Another of the same agency is, and says so.
    let twice = [&vote[..], &["--id", "VOTE-2"]].concat();
    failed(&world.client(&twice), 3, "MZ-3802");
    failed(&world.client(&["gov", "show", "approval/SET-2"]), 5, "MZ-2005");
}

/// A node that hands out another record's receipt, or one that it made up, makes no anchor of it.
fn a_paper_is_compared_with_proven_bytes(world: &World) {
    let paper = world.path().join("paper.txt");
    std::fs::write(&paper, "A paper that nobody anchored\n").expect("written");
    let (name, id) = (paper.display().to_string(), world.document("DOC-30"));
    let root = format!("@{name}");
    let anchored = ["record", "document_anchor", "--root", &root, "--kind", "minutes", "--id", "DOC-31"];
    let told = world.client(&[&anchored[..], &["--key", "civil-window-1", "--wait", "60s"]].concat());
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    let other = told.data()["tx_id"].as_str().expect("an id").to_owned();
    world.sealed(&world.seats[0], &id);
    world.sealed(&world.seats[0], &other);
    let verify = ["verify", "document", &name, "--record", "civil/DOC-30"];
    // The record that is named does not hold the paper, whichever record the node takes it for.
    failed(&world.client(&verify), 8, "MZ-4114");
    let taken = other.clone();
    let lying = liar(world, move |_, path| path.contains("/records/").then(|| (200, json!({ "tx_id": taken }))));
    failed(&through(world, &lying, &verify), 8, "MZ-4102");
    let receipt = format!("{}/api/v1/transactions/{other}/receipt", world.seats[0].url);
    let lying = proxy(world, move |_, path| path.contains("/receipt").then(|| honest(&receipt)).flatten());
    failed(&through(world, &lying, &verify), 8, "MZ-4102");
    let receipt = format!("{}/api/v1/transactions/{id}/receipt", world.seats[0].url);
    let lying = proxy(world, move |_, path| {
        let (status, text) = path.contains("/receipt").then(|| honest(&receipt)).flatten()?;
        let text = String::from_utf8(text).ok()?;
        Some((status, text.replacen("index ", "index 1", 1).into_bytes()))
    });
    let told = through(world, &lying, &verify);
    assert_eq!(told.exit, Some(8), "{} {}", told.json, told.stderr);
}

fn final_takes_a_proof(world: &World) {
    let made_up = |index: u64| {
        move |method: &str, _: &str| {
            let said = json!({
                "tx_id": format!("sha256:{}", "1".repeat(64)), "record_type": "document_anchor", "agency_id": "civil",
                "record_id": "LIE-1", "status": "final", "outcome": "applied", "code": null, "effect": "effective",
                "waits_for": [], "flags": [], "height": 1, "index": index, "repeated": false,
            });
            (method == "POST").then_some((200, said))
        }
    };
    let told = through(world, &liar(world, made_up(1)), &anchor("LIE-1", &["--wait", "1s"]));
    failed(&told, 8, "MZ-4102");
    let told = through(world, &liar(world, made_up(1_000_000)), &anchor("LIE-2", &["--wait", "1s"]));
    assert_eq!((told.exit, &told.data()["proven"]), (Some(6), &json!(false)), "{} {}", told.json, told.stderr);
    for name in ["civil/LIE-1", "civil/LIE-2"] {
        assert_eq!(kept(world, name).map(|item| item["status"].clone()), Some(json!("unknown")), "{name}");
    }
    // The same command at an honest node sends the same bytes.
    let told = world.client(&anchor("LIE-1", &["--wait", "60s"]));
    assert_eq!((told.exit, &told.data()["proven"]), (Some(0), &json!(true)), "{} {}", told.json, told.stderr);
    assert_eq!(kept(world, "civil/LIE-1"), None);
}

fn a_refusal_is_one_nodes_word(world: &World) {
    let refused =
        liar(world, |method, _| (method == "POST").then(|| (422, json!({ "code": "MZ-1004", "detail": "no" }))));
    let told = through(world, &refused, &anchor("REFUSED-1", &["--expires-in", "3s"]));
    failed(&told, 2, "MZ-1004");
    assert_eq!(told.data()["kept_in_outbox"], false, "a rerun signs anew");
    assert!(kept(world, "civil/REFUSED-1").is_some(), "its bytes were thrown away");
}

fn another_record_is_noticed(world: &World) {
    for id in ["DOC-1", "DOC-9"] {
        world.document(id);
    }
    let (_, first) = world.get(&world.seats[0], "/records/civil/DOC-1").expect("the node answers");
    let lying = liar(world, move |_, path| path.ends_with("/records/civil/DOC-9").then(|| (200, first.clone())));
    let file = world.path().join("another.tlog-proof").display().to_string();
    failed(&through(world, &lying, &["receipt", "get", "civil/DOC-9", "--out", &file]), 8, "MZ-4102");
    failed(&through(world, &lying, &["tx", "status", "civil/DOC-9"]), 8, "MZ-4102");
    let told = world.client(&["receipt", "get", "civil/DOC-9", "--out", &file]);
    assert_eq!((told.exit, &told.data()["record_id"]), (Some(0), &json!("DOC-9")), "{}", told.json);
    let told = world.client(&["tx", "status", "civil/DOC-9"]);
    assert_eq!((told.exit, &told.data()["proven"]), (Some(0), &json!(true)), "{}", told.json);
}

/// Height and time stand in a proven header; words that nothing proves are named as the node's.
fn when_it_was_recorded_takes_a_proof(world: &World) {
    let asked = ["tx", "status", "civil/DOC-1"];
    let told = world.client(&asked);
    let (height, time) = (told.data()["height"].clone(), told.data()["block_time"].clone());
    assert!(height.is_u64() && time.is_string(), "{}", told.json);
    assert_eq!(told.data()["claimed"], json!(["expires_at"]), "{}", told.json);
    let node = world.seats[0].url.clone();
    let lying = proxy(world, move |_, path| {
        let (status, body) = (path.contains("/transactions/")).then(|| honest(&format!("{node}{path}")))??;
        let mut said: Value = serde_json::from_slice(&body).ok()?;
        (said["height"], said["block_time"]) = (json!(1), json!("1999-01-01T00:00:00Z"));
        (said["detail"], said["effect"], said["more"]) = (json!("made up"), json!("void"), json!("made up"));
        Some((status, said.to_string().into_bytes()))
    });
    let told = through(world, &lying, &asked);
    assert_eq!(
        (told.exit, &told.data()["height"], &told.data()["block_time"]),
        (Some(0), &height, &time),
        "{}",
        told.json
    );
    assert_eq!(told.data()["claimed"], json!(["detail", "expires_at"]), "{}", told.json);
    assert!(told.data()["effect"] == "effective" && told.data()["more"].is_null(), "{}", told.json);
    let headless = liar(world, |_, path| path.contains("/headers").then(|| (404, json!({}))));
    let told = through(world, &headless, &asked);
    assert_eq!((told.exit, &told.data()["height"]), (Some(0), &Value::Null), "{}", told.json);
}

fn a_node_that_never_waits_is_not_asked_without_end(world: &World) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let hasty = liar(world, move |_, path| {
        let is_status = path.contains("/transactions/");
        is_status.then(|| counted.fetch_add(1, Ordering::Relaxed)).map(|_| (200, json!({ "status": "unknown" })))
    });
    let told = through(world, &hasty, &["tx", "wait", &"9".repeat(64), "--wait", "3s"]);
    assert_eq!(told.exit, Some(6), "{} {}", told.json, told.stderr);
    let asked = asked.load(Ordering::Relaxed);
    assert!((1..=12).contains(&asked), "asked {asked} times in 3 s");
}

fn expired_takes_a_proof(world: &World) {
    let expired = liar(world, |method, _| {
        (method == "POST").then(|| (200, json!({ "tx_id": "sha256:00", "status": "expired", "outcome": null })))
    });
    let told = through(world, &expired, &anchor("LATE-1", &["--expires-in", "2m"]));
    assert_eq!((told.exit, &told.data()["proven"]), (Some(6), &json!(false)), "{} {}", told.json, told.stderr);
    assert!(kept(world, "civil/LATE-1").is_some());
    // One that never left in time, on a network that stands idle: waiting for the proof has it make a block.
    let told = through(world, "http://127.0.0.1:9", &anchor("LATE-2", &["--expires-in", "3s"]));
    assert_eq!(told.exit, Some(7), "{}", told.json);
    std::thread::sleep(Duration::from_secs(3));
    let told = world.client(&["tx", "wait", "civil/LATE-2", "--wait", "90s"]);
    failed(&told, 5, "MZ-1008");
    assert_eq!((&told.data()["status"], &told.data()["proven"]), (&json!("expired"), &json!(true)), "{}", told.json);
    assert!(told.data()["height"].as_u64().is_some_and(|height| height > 0), "{}", told.json);
    // The same block shows it of what a node refused; both then leave the outbox.
    let told = kept(world, "civil/REFUSED-1").expect("listed once more");
    assert_eq!((&told["status"], &told["proven"]), (&json!("expired"), &json!(true)), "{told}");
    assert_eq!((kept(world, "civil/LATE-2"), kept(world, "civil/REFUSED-1")), (None, None));
}

fn the_same_record_again_is_proven(world: &World) {
    let again = world.client(&anchor("LIE-1", &["--wait", "60s"]));
    assert_eq!((again.exit, &again.data()["repeated"]), (Some(0), &json!(true)), "{} {}", again.json, again.stderr);
    assert_eq!(again.data()["proven"], true);
}

fn a_query_is_a_claim(world: &World) {
    let told = world.client(&["query", "record", "civil/DOC-1"]);
    assert_eq!((told.exit, &told.data()["proven"]), (Some(0), &json!(false)), "{}", told.json);
    assert!(told.json["warnings"].to_string().contains("not proven"), "{}", told.json);
}

/// A programme that waits for the finance office; the digest of its record.
fn proposed_programme(world: &World, id: &str) -> String {
    let open = format!(
        "record programme_open --id {id} --mode live --currency CNY --purpose aid --years 2026 --legal_ref item-1 \
         --owner civil --finance finance --bank bank --supervisor market --scope aid \
         --key civil-programme-owner-1 --wait 60s"
    );
    let told = world.client(&open.split_whitespace().collect::<Vec<_>>());
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    told.data()["tx_id"].as_str().expect("an id").trim_start_matches("sha256:").to_owned()
}

fn open_programme(world: &World, id: &str) {
    let (name, digest) = (format!("civil/{id}"), proposed_programme(world, id));
    let approve = ["record", "approve", "--waiting", &name, "--digest", &digest, "--key", "finance-finance-1", "--yes"];
    let told = world.client(&[&approve[..], &["--wait", "60s"]].concat());
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    world.sealed(&world.seats[0], told.data()["tx_id"].as_str().expect("an id"));
}

fn a_currency_takes_a_proof(world: &World) {
    let digest = proposed_programme(world, "AID");
    let approve =
        ["record", "approve", "--waiting", "civil/AID", "--digest", &digest, "--key", "finance-finance-1", "--yes"];
    // An approver reads the bytes that the digest names, and no others.
    let other = liar(world, |_, path| path.ends_with("/raw").then(|| (200, json!("another record"))));
    failed(&through(world, &other, &approve), 8, "MZ-4102");
    a_dry_run_hands_over_nothing_to_submit(world, &approve[..approve.len() - 1]);
    let told = world.client(&[&approve[..], &["--wait", "60s"]].concat());
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    assert!(told.stderr.contains("programme_open civil/AID\n    mode  live"), "{}", told.stderr);
    let move_it = |more: &str| {
        let text = format!(
            "record appropriate --id A --amount 7.00 --from civil/AID --to civil/AID --legal_ref item-1 \
             --key finance-finance-1 --dry-run {more}"
        );
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let run = |node: &str, more: &str| {
        let words = move_it(more);
        through(world, node, &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    // What a node says of the programme is asked for no more.
    let lying = liar(world, |_, path| {
        path.contains("/records/").then(|| (200, json!({ "leaf": { "object": { "currency": "UYW" } } })))
    });
    let told = run(&lying, "");
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    assert!(told.stderr.contains("amount: 7.00 CNY"), "{}", told.stderr);
    // Nor may a leaf be another's or be changed.
    let path = |key: &[u8; 32]| format!("/state/{}", hex::encode(key));
    let key =
        mingzhang_ledger::state::key::record("civil", &mingzhang_ledger::state::key::parse_id("DOC-1").expect("an id"));
    let (_, other) = world.get(&world.seats[0], &path(&key)).expect("the node answers");
    let lying = liar(world, move |_, path| path.contains("/state/").then(|| (200, other.clone())));
    let told = run(&lying, "");
    assert_eq!((told.exit, told.code()), (Some(8), "MZ-4119"), "{} {}", told.json, told.stderr);
    let told = run(&world.seats[0].url, "--currency UYW");
    failed(&told, 2, "MZ-2012");
}

/// Nobody was asked: what the node gets for it, it can put on no log.
fn a_dry_run_hands_over_nothing_to_submit(world: &World, approve: &[&str]) {
    let (node, heard) = listener(world);
    let told = through(world, &node, &[approve, &["--dry-run=server"]].concat());
    assert_eq!((told.exit, &told.data()["outcome"]), (Some(0), &json!("applied")), "{} {}", told.json, told.stderr);
    let heard = heard.lock().expect("heard").clone();
    let sent: Vec<_> = heard.iter().filter(|(path, _)| path.ends_with("/simulate")).collect();
    assert_eq!(sent.len(), 1, "one copy is handed over");
    for (_, bytes) in sent {
        let (status, answer) = world.post(&world.seats[0], "/transactions", bytes, 0).expect("the node answers");
        assert_eq!((status, answer["code"].as_str()), (410, Some("MZ-1008")), "{answer}");
    }
}

fn import<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["import", "payments", file, "--mode", "historical"][..], more].concat()
}

fn payments(world: &World, name: &str) -> String {
    let file = world.path().join(name);
    let rows = "id,date,payee,amount,currency\n1,2020-01-01,A,5.00,CNY\n2,2020-01-02,B,123456789.00,CNY\n";
    std::fs::write(&file, rows).expect("a file");
    file.display().to_string()
}

/// What a node makes up about each record of a POST, however many they are.
fn made_up(tx_id: Option<&str>, effect: &str, index: u64) -> Value {
    let said = json!({
        "tx_id": tx_id, "status": "final", "outcome": "applied", "code": null, "effect": effect, "flags": [],
        "index": index, "repeated": tx_id.is_some(),
    });
    json!({ "items": vec![said; 1_000] })
}

/// Whatever a node names as the digest of an import: none is signed whose bytes are not those of the import.
fn an_approval_is_of_what_was_sent(world: &World) {
    let file = payments(world, "approved.csv");
    let document = world.document("DOC-20").trim_start_matches("sha256:").to_owned();
    for named in ["fe".repeat(32), document] {
        let posts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&posts);
        let lying = liar(world, move |method, path| {
            let posted = method == "POST" && path.ends_with("/batches");
            let first = posted && counted.fetch_add(1, Ordering::Relaxed) == 0;
            first.then(|| (200, made_up(Some(&format!("sha256:{named}")), "waiting", 1)))
        });
        failed(&through(world, &lying, &import(&file, &[])), 8, "MZ-4102");
        assert_eq!(posts.load(Ordering::Relaxed), 1, "the supervisor's key signed");
    }
}

fn an_import_takes_a_proof(world: &World) {
    let file = payments(world, "paid.csv");
    let lying = |index: u64| {
        liar(world, move |method, path| {
            (method == "POST" && path.ends_with("/batches")).then(|| (200, made_up(None, "effective", index)))
        })
    };
    let report = world.path().join("paid.jsonl").display().to_string();
    let told = through(world, &lying(1), &import(&file, &["--report", &report]));
    failed(&told, 8, "MZ-4102");
    assert_eq!(told.data()["proven"], false, "{}", told.json);
    let line = std::fs::read_to_string(&report).expect("the report");
    assert!(line.lines().count() == 2 && line.lines().all(|line| line.contains("\"proven\":false")), "{line}");
    assert!(line.lines().all(|line| line.contains("\"flags_proven\":false")), "{line}");
    let told = through(world, &lying(1_000_000), &import(&file, &[]));
    assert_eq!((told.exit, &told.data()["proven"]), (Some(6), &json!(false)), "{} {}", told.json, told.stderr);
    // The same command at an honest node.
    let told = world.client(&import(&file, &[]));
    let said = (told.exit, &told.data()["proven"], &told.data()["applied"]);
    assert_eq!(said, (Some(0), &json!(true), &json!(2)), "{} {}", told.json, told.stderr);
    assert!(told.data()["proven_height"].as_u64().is_some_and(|height| height > 0), "{}", told.json);
    assert_eq!(told.data()["flags_proven"], true, "each leaf bears the flags that were told: {}", told.json);
    // An approval that stands already is no reason to sign another: each run tells the same.
    let told = world.client(&import(&file, &[]));
    let said = (told.exit, &told.data()["proven"], &told.data()["duplicates"]);
    assert_eq!(said, (Some(0), &json!(true), &json!(2)), "{} {}", told.json, told.stderr);
}
