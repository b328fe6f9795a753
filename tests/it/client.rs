//! What the client promises beyond single commands: evidence as one file, audits of the past, and what the other nodes say.

use std::fmt::Write as _;
use std::path::Path;

use mingzhang_ledger::records::calendar::Day;
use mingzhang_tests::world::{Told, World, command, run, until};
use serde_json::{Value, json};

/// Donations of 1.00 each, in a file of their own.
fn donations(folder: &Path, name: &str, count: usize) -> String {
    let mut text = "date,donor,amount,currency,channel,programme\n".to_owned();
    for number in 0..count {
        writeln!(text, "2020-01-{:02},{name} {number},1.00,CNY,bank,relief", number % 28 + 1).expect("a string");
    }
    let path = folder.join(format!("{name}.csv"));
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

/// Payments of a programme that never had money: each is flagged.
fn payments(folder: &Path) -> String {
    let mut text = "id,date,payer,payee,amount,currency,programme,purpose,contract,bank_ref\n".to_owned();
    for number in 1..4 {
        writeln!(text, "P-{number},2020-01-0{number},office,builder,5.00,CNY,road,works,,same").expect("a string");
    }
    let path = folder.join("payments.csv");
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

fn imported(world: &World, format: &str, file: &str) -> String {
    let told = world.client(&["import", format, file, "--mode", "historical"]);
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    told.data()["programmes"][0]["programme_id"].as_str().expect("a programme").to_owned()
}

/// Waits until every node has seals on all that is final.
fn sealed(world: &World) {
    let status = |seat, name: &str| world.get(seat, "/status")?.1[name].as_u64();
    let size = world.seats.iter().filter_map(|seat| status(seat, "tree_size")).max().expect("a node answers");
    for seat in &world.seats {
        until("seals on the last record", || status(seat, "sealed_size").filter(|sealed| *sealed >= size));
    }
}

fn audit(world: &World, id: &str, more: &[&str]) -> Told {
    world.client(&[&["audit", "programme", id][..], more].concat())
}

fn in_words(world: &World, arguments: &[&str]) -> String {
    let context = world.path().join("context.toml").display().to_string();
    let told =
        command("mingzhang", &world.home()).args(["--context", &context, "--lang", "en"]).args(arguments).output();
    String::from_utf8_lossy(&told.expect("the client can be run").stdout).into_owned()
}

#[test]
fn audits_of_the_past_and_of_all_nodes() {
    let world = World::start(4);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let programme = imported(&world, "donations", &donations(folder.path(), "first", 20));
    sealed(&world);
    let first = audit(&world, &programme, &[]);
    assert_eq!(first.exit, Some(0), "{} {}", first.json, first.stderr);
    assert_eq!(first.data()["proof"]["nodes_agreeing"], 4, "{}", first.json);
    let height = first.data()["as_of"]["height"].as_u64().expect("a height");

    a_withheld_trail_is_missed(&world, &programme, folder.path());
    a_withheld_flag_is_missed(&world, folder.path());
    an_officer_says_more(&world);
    sealed(&world);

    // The past is the beginning of the trail that is proven complete today.
    let then = audit(&world, &programme, &["--height", &height.to_string()]);
    assert_eq!(then.exit, Some(0), "{} {}", then.json, then.stderr);
    for name in ["as_of", "income", "available", "records", "movements", "accounts", "balanced"] {
        assert_eq!(then.data()[name], first.data()[name], "{name}");
    }
    let before = audit(&world, &programme, &["--height", "1"]);
    assert_eq!((before.exit, before.code()), (Some(5), "MZ-2005"), "{}", before.json);
    let later = audit(&world, &programme, &["--height", "1000000"]);
    assert_eq!((later.exit, later.code()), (Some(5), "MZ-2005"), "{}", later.json);
    assert!(later.json["errors"].to_string().contains("1000000 is not reached yet"), "{}", later.json);

    world.kill("data");
    let three = audit(&world, &programme, &[]);
    assert_eq!((three.exit, &three.data()["proof"]["nodes_agreeing"]), (Some(0), &json!(3)), "{}", three.json);
    assert_eq!(three.data()["proof"]["nodes_asked"], 4);
    assert!(three.json["warnings"].to_string().contains("gave no answer"), "{}", three.json);
}

/// A bundle that leaves out the findings must prove that there are none.
fn a_withheld_trail_is_missed(world: &World, programme: &str, folder: &Path) {
    let file = folder.join("bundle.json");
    let path = file.display().to_string();
    let told = world.client(&["audit", "bundle", "programme", programme, "--out", &path]);
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    let verify = || world.client(&["audit", "verify", &path, "--offline"]);
    assert_eq!(verify().exit, Some(0));
    let whole: Value = serde_json::from_slice(&std::fs::read(&file).expect("a bundle")).expect("JSON");
    let leaves = whole["trail"]["leaves"].as_array().expect("leaves").len();
    let missed = (0..leaves).filter(|at| {
        let mut bundle = whole.clone();
        bundle["trail"]["leaves"].as_array_mut().expect("leaves").remove(*at);
        std::fs::write(&file, bundle.to_string()).expect("written");
        let told = verify();
        assert_ne!(told.exit, Some(0), "a bundle without its leaf {at} verified");
        told.exit == Some(9) && told.json["errors"].to_string().contains("the proof that there is none")
    });
    assert!(missed.count() >= 1, "one of the leaves proves that there are no findings");
}

/// A bundle that keeps the findings trail and leaves out the leaves with the flags leads to no conclusion.
fn a_withheld_flag_is_missed(world: &World, folder: &Path) {
    let programme = imported(world, "payments", &payments(folder));
    sealed(world);
    let told = audit(world, &programme, &[]);
    let found = told.data()["findings"].as_array().map_or(0, Vec::len);
    assert!(told.exit == Some(0) && found > 0, "{} {}", told.json, told.stderr);
    let first = &told.data()["findings"][0];
    assert!(first["heights"][0].is_u64() && first["money"]["amount"] == "5.00", "{first}");
    assert_eq!(told.data()["mode"], "historical", "{}", told.json);
    let trail = world.client(&["audit", "trail", "programme", &programme]);
    assert_eq!(trail.data()["mode"], "historical", "{}", trail.json);
    for command in [&["audit", "programme", &programme][..], &["audit", "trail", "programme", &programme]] {
        let words = in_words(world, command);
        assert!(words.contains("historical: imported records"), "{words}");
        assert!(words.contains("5.00 CNY") && words.lines().all(|line| line.chars().count() <= 80), "{words}");
    }
    let words = in_words(world, &["audit", "programme", &programme]);
    let rule = first["rule"].as_str().expect("a code");
    assert!(words.contains(&format!("{rule} ×")), "{words}");
    let file = folder.join("flagged.json");
    let path = file.display().to_string();
    let told = world.client(&["audit", "bundle", "programme", &programme, "--out", &path]);
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    let whole: Value = serde_json::from_slice(&std::fs::read(&file).expect("a bundle")).expect("JSON");
    let leaves = whole["trail"]["leaves"].as_array().expect("leaves").len();
    let mut missed = 0;
    for at in 0..leaves {
        let mut bundle = whole.clone();
        bundle["trail"]["leaves"].as_array_mut().expect("leaves").remove(at);
        std::fs::write(&file, bundle.to_string()).expect("written");
        let told = world.client(&["audit", "verify", &path, "--offline"]);
        assert_ne!(told.exit, Some(0), "a bundle without its leaf {at} verified: {}", told.json);
        if told.json["errors"].to_string().contains("which holds its flags") {
            let verdict = (told.exit, told.code(), &told.data()["verdict"]);
            assert_eq!(verdict, (Some(9), "MZ-4127", &json!("inconclusive")), "{}", told.json);
            missed += 1;
        }
    }
    assert!(missed > 0, "some leaves hold flags");
}

/// A receipt with the proof of who signed it, in one file.
fn an_officer_says_more(world: &World) {
    let root = "7".repeat(64);
    let filed = ["record", "document_anchor", "--root", &root, "--kind", "minutes", "--id", "DOC-1"];
    let told = world.client(&[&filed[..], &["--key", "civil-window-1", "--wait", "60s"]].concat());
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    let tx_id = told.data()["tx_id"].as_str().expect("an id").to_owned();
    world.sealed(&world.seats[0], &tx_id);
    let file = world.path().join("receipt.json");
    let path = file.display().to_string();
    let got = world.client(&["receipt", "get", &tx_id, "--format", "bundle", "--out", &path]);
    assert_eq!(got.exit, Some(0), "{} {}", got.json, got.stderr);
    assert_eq!((&got.data()["format"], &got.data()["tx_id"]), (&json!("bundle"), &json!(tx_id)));
    let verified = world.client(&["audit", "verify", &path, "--offline"]);
    assert_eq!((verified.exit, verified.data()["verdict"].as_str()), (Some(0), Some("verified")), "{}", verified.json);
    let mut bundle: Value = serde_json::from_slice(&std::fs::read(&file).expect("a bundle")).expect("JSON");
    assert_eq!(bundle["entry"]["decoded"]["record_id"], "DOC-1");
    bundle["entry"]["index"] = json!(bundle["entry"]["index"].as_u64().expect("an index") + 1);
    std::fs::write(&file, bundle.to_string()).expect("written");
    assert_eq!(world.client(&["audit", "verify", &path, "--offline"]).exit, Some(8));
}

#[test]
fn verbose_tells_requests_and_changes_no_result() {
    let world = World::start(1);
    let plain = world.client(&["query", "block", "1"]);
    let told = world.client(&["-v", "query", "block", "1"]);
    assert_eq!((told.exit, &told.json), (plain.exit, &plain.json));
    assert!(told.stderr.contains("GET http://127.0.0.1:"), "{}", told.stderr);
    assert!(!plain.stderr.contains("GET"), "{}", plain.stderr);
}

#[test]
fn manual_pages_come_from_the_program() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let page = run("mingzhang", &["--json", "man", "tx", "submit"], folder.path());
    let text = page.json["data"]["page"].as_str().unwrap_or("");
    assert!(text.contains(".TH") && text.contains("wait"), "{} {}", page.json, page.stderr);
    let pages = folder.path().join("man1");
    let all = run("mingzhang", &["--json", "man", "--out", &pages.display().to_string()], folder.path());
    assert_eq!(all.exit, Some(0), "{} {}", all.json, all.stderr);
    assert!(pages.join("mingzhang.1").exists() && pages.join("mingzhang-audit-programme.1").exists());
    let none = run("mingzhang", &["--json", "man", "nothing"], folder.path());
    assert_eq!(none.exit, Some(2), "{}", none.json);
}

/// Records or votes, in words; the digest of what was recorded.
fn done(world: &World, arguments: &str) -> String {
    let told = world.client(&[&arguments.split_whitespace().collect::<Vec<_>>()[..], &["--wait", "60s"]].concat());
    assert_eq!(told.exit, Some(0), "{arguments}: {} {}", told.json, told.stderr);
    told.data()["tx_id"].as_str().expect("an id").trim_start_matches("sha256:").to_owned()
}

/// Recorded by the first officer, approved by finance.
fn approved(world: &World, id: &str, arguments: &str) {
    let digest = done(world, arguments);
    done(world, &format!("record approve --yes --waiting {id} --digest {digest} --key finance-finance-2"));
}

/// Money idle since ten days, where the agencies have agreed on one.
fn idle(world: &World, folder: &Path) {
    let body = folder.join("idle.json");
    std::fs::write(&body, json!({ "name": "idle_days", "value": { "minor": "1" } }).to_string()).expect("written");
    let body = body.display();
    done(world, &format!("gov propose parameter_set --body {body} --from 10s --id IDLE --key approval-admin-1"));
    for agency in ["approval", "finance", "civil"] {
        done(world, &format!("gov vote approval/IDLE yes --yes --key {agency}-admin-1"));
    }
    let open = "record programme_open --years 2026 --id IDLE --mode live --currency CNY --purpose aid --legal_ref item-1 \
                --owner civil --finance finance --bank bank --supervisor market --scope aid --key civil-programme-owner-1";
    approved(world, "civil/IDLE", open);
    for (id, kind) in [("SOURCE", "SOURCE"), ("BUDGET", "APPROPRIATION")] {
        let open = "record account_open --programme civil/IDLE --agency civil --key finance-finance-1";
        approved(world, &format!("finance/{id}"), &format!("{open} --id {id} --account_kind {kind} --year 2026"));
    }
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_millis();
    let day = Day::at(u64::try_from(now_ms).expect("a time"), 480).minus(10);
    let fields = "--amount 100.00 --from finance/SOURCE --to finance/BUDGET --legal_ref item-1";
    let appropriate = format!("record appropriate --id AP {fields} --effective-date {day} --key finance-finance-1");
    approved(world, "finance/AP", &appropriate);
    // What was agreed holds from its time on; then a block says so.
    std::thread::sleep(std::time::Duration::from_secs(10));
    let open = "record account_open --programme civil/IDLE --agency civil --id PAID --account_kind PAID --year 2026";
    approved(world, "finance/PAID", &format!("{open} --key finance-finance-1"));
}

#[test]
fn what_time_alone_has_broken_is_among_the_findings() {
    let world = World::start(4);
    let folder = tempfile::tempdir().expect("a temporary folder");
    idle(&world, folder.path());
    sealed(&world);
    let told = until("idle money", || {
        let told = audit(&world, "civil/IDLE", &[]);
        assert_eq!(told.exit, Some(0), "findings change no exit status: {} {}", told.json, told.stderr);
        (told.data()["findings"].as_array().is_some_and(|found| !found.is_empty())).then_some(told)
    });
    let found = told.data()["findings"].as_array().expect("findings");
    let first = &found[0];
    assert_eq!((found.len(), &first["rule"], &first["record"]), (1, &json!("MZ-3902"), &json!("finance/BUDGET")));
    assert_eq!(
        (&first["money"]["amount"], &first["parameters"]["idle_days"]),
        (&json!("100.00"), &json!(1)),
        "{first}"
    );
    assert_eq!(told.data()["standing_judged"], true);
    let words = in_words(&world, &["audit", "programme", "civil/IDLE"]);
    assert!(words.contains("findings 1") && words.contains("MZ-3902 ×1"), "{words}");
    let height = told.data()["as_of"]["height"].as_u64().expect("a height") - 1;
    let then = audit(&world, "civil/IDLE", &["--height", &height.to_string()]);
    assert_eq!(
        (then.exit, &then.data()["findings"], &then.data()["standing_judged"]),
        (Some(0), &json!([]), &json!(false))
    );

    // Offline it is the same, and no leaf that says so can be left out.
    let file = folder.path().join("idle-bundle.json");
    let path = file.display().to_string();
    assert_eq!(world.client(&["audit", "bundle", "programme", "civil/IDLE", "--out", &path]).exit, Some(0));
    let verify = || world.client(&["audit", "verify", &path, "--offline"]);
    let whole = verify();
    assert_eq!((whole.exit, &whole.data()["findings"][0]["rule"]), (Some(0), &json!("MZ-3902")), "{}", whole.json);
    let bundle: Value = serde_json::from_slice(&std::fs::read(&file).expect("a bundle")).expect("JSON");
    for at in 0..bundle["trail"]["leaves"].as_array().expect("leaves").len() {
        let mut less = bundle.clone();
        less["trail"]["leaves"].as_array_mut().expect("leaves").remove(at);
        std::fs::write(&file, less.to_string()).expect("written");
        assert_ne!(verify().exit, Some(0), "a bundle without its leaf {at} verified");
    }
}
