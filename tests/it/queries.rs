//! What `query` answers: each subject by its own command, a record of another kind refused, the registry proven.

use std::sync::atomic::Ordering;

use mingzhang_tests::world::{Told, World, command};
use serde_json::{Value, json};

use super::liar::{failed, liar, stuck, through};

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn query(world: &World, kind: &str, id: &str) -> Told {
    world.client(&["query", kind, id])
}

#[test]
fn each_subject_is_asked_for_by_name() {
    let world = World::start(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let anchor = world.document("DOC-1");
    world.sealed(&world.seats[0], &anchor);
    what_a_file_made(&world, folder.path());
    a_list_that_was_rejected(&world);
    agencies(&world);
    officers(&world);
    old_seals_hide_no_newer_ones(&world);
    readers_of_chinese_are_answered(&world);
    what_is_not_here_is_said(&world);
}

/// The record of one type that the import of one row made, as agency/id.
fn imported(world: &World, (format, text): (&str, &str), folder: &std::path::Path, record_type: &str) -> String {
    let (file, report) = (folder.join(format!("{format}.csv")), folder.join(format!("{format}.jsonl")));
    std::fs::write(&file, text).expect("written");
    let (file, report) = (file.display().to_string(), report.display().to_string());
    let told = world.client(&["import", format, &file, "--mode", "historical", "--report", &report]);
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    let report = std::fs::read_to_string(report).expect("the import's report");
    let items = report.lines().map(|line| serde_json::from_str::<Value>(line).expect("an item"));
    let ids: Vec<Value> = items.flat_map(|item| item["tx_ids"].as_array().cloned().unwrap_or_default()).collect();
    let made = ids.iter().map(|id| query(world, "tx", id.as_str().expect("an id")).data().clone());
    let made = made.collect::<Vec<_>>();
    let found = made.iter().find(|record| record["record_type"] == record_type);
    let found = found.unwrap_or_else(|| panic!("no {record_type}: {made:?}"));
    format!("{}/{}", found["agency_id"].as_str().expect("an agency"), found["record_id"].as_str().expect("an id"))
}

fn what_a_file_made(world: &World, folder: &std::path::Path) {
    let payments = "id,date,payer,payee,amount,currency,programme,purpose,contract,bank_ref\n\
                    P-1,2020-01-02,office,builder,5.00,CNY,road,works,,ref-1\n";
    let payment = imported(world, ("payments", payments), folder, "payment_request");
    let told = query(world, "payment", &payment);
    assert_eq!((told.exit, &told.json["command"]), (Some(0), &json!("query payment")), "{}", told.json);
    let object = &told.data()["leaf"]["object"];
    assert_eq!(
        (&object["movement_kind"], &object["amount"]["amount"]),
        (&json!("payment"), &json!("5.00")),
        "{object}"
    );
    assert_eq!(told.data()["proven"], false, "one node's word, as `query record`");
    assert!(told.json["warnings"].to_string().contains("not proven"), "{}", told.json);

    let permits = "id,matter,applicant,applied,decided,issued,status\n\
                   L-1,food,shop,2020-01-02,2020-01-03,2020-01-06,issued\n";
    let licence = imported(world, ("permits", permits), folder, "licence_issue");
    let told = query(world, "licence", &licence);
    assert_eq!((told.exit, &told.data()["leaf"]["kind"]), (Some(0), &json!("licence")), "{}", told.json);
    assert_eq!(told.data()["leaf"]["object"]["state"], "issued", "{}", told.json);

    for (kind, id, record_type) in [
        ("payment", licence.as_str(), "licence_issue"),
        ("licence", &payment, "payment_request"),
        ("list", &payment, "payment_request"),
        ("grant", &payment, "payment_request"),
        ("programme", "civil/DOC-1", "document_anchor"),
        ("account", "civil/DOC-1", "document_anchor"),
        ("case", "civil/DOC-1", "document_anchor"),
    ] {
        let told = query(world, kind, id);
        assert_eq!((told.exit, told.code()), (Some(5), "MZ-2005"), "{kind} {id}: {}", told.json);
        let said = told.json["errors"].to_string();
        assert!(said.contains(&format!("{record_type}, which makes no {kind}")), "{said}");
        assert_eq!(query(world, kind, "civil/NONE").code(), "MZ-2005");
    }
    // A node that passes another record off is not followed.
    let other = liar(world, |_, path| {
        path.contains("/cases/").then(|| (200, json!({ "leaf": { "record_type": "document_anchor" } })))
    });
    failed(&through(world, &other, &["query", "case", "civil/C-1"]), 5, "MZ-2005");
    let silent = liar(world, |_, path| path.contains("/cases/").then(|| (200, json!({}))));
    failed(&through(world, &silent, &["query", "case", "civil/C-1"]), 7, "MZ-2007");
    let (status, _) = world.get(&world.seats[0], "/cases/civil/DOC-1").expect("the node answers");
    assert_eq!(status, 404);
}

/// What was rejected has its answer, too.
fn a_list_that_was_rejected(world: &World) {
    let publish = format!(
        "record list_publish --id LIST-1 --subject civil/DOC-1 --root {ZEROS} --count 1 --total 5.00 --period 2026 --days 0 --standard_minor 5.00 \
         --currency CNY --key civil-window-1 --wait 60s"
    );
    let told = world.client(&publish.split_whitespace().collect::<Vec<_>>());
    assert_eq!(told.exit, Some(3), "{} {}", told.json, told.stderr);
    let told = query(world, "list", "civil/LIST-1");
    assert_eq!((told.exit, &told.data()["outcome"]), (Some(0), &json!("rejected")), "{}", told.json);
}

fn agencies(world: &World) {
    let told = query(world, "agency", "civil");
    let data = told.data();
    assert_eq!((told.exit, &data["agency_id"], &data["proven"]), (Some(0), &json!("civil"), &json!(true)), "{data}");
    assert_eq!(data["status"], "active", "{data}");
    assert!(data["as_of"]["height"].as_u64().is_some() && told.json["warnings"] == json!([]), "{}", told.json);
    let all = world.client(&["query", "agency"]);
    let ids = |data: &Value| -> Vec<String> {
        let items = data["items"].as_array().cloned().unwrap_or_default();
        items.iter().filter_map(|item| item.get("agency_id").or(item.get("id"))?.as_str().map(str::to_owned)).collect()
    };
    assert!(all.data()["proven"] == true && ids(all.data()).contains(&"civil".to_owned()), "{}", all.json);
    let (status, listed) = world.get(&world.seats[0], "/agencies").expect("the node answers");
    assert_eq!((status, ids(&listed)), (200, ids(all.data())), "{listed}");
    assert_eq!(listed["items"][0]["object"], all.data()["items"][0]);
    let (_, page) = world.get(&world.seats[0], "/agencies?limit=1&cursor=1").expect("the node answers");
    assert_eq!((ids(&page), &page["next_cursor"]), (ids(&listed)[1..2].to_vec(), &json!(2)), "{page}");

    failed(&query(world, "agency", "nobody"), 5, "MZ-2005");
    failed(&query(world, "agency", "civil/DOC-1"), 2, "MZ-2012");
    // Neither that there is one nor that there is none is for a node to say.
    let other = liar(world, |_, path| path.contains("/state/").then(|| (404, json!({ "code": "MZ-2005" }))));
    failed(&through(world, &other, &["query", "agency", "civil"]), 9, "MZ-4127");
}

fn officers(world: &World) {
    let by_name = query(world, "officer", "civil-window-1");
    let data = by_name.data();
    assert_eq!((by_name.exit, &data["proven"], &data["agency_id"]), (Some(0), &json!(true), &json!("civil")), "{data}");
    assert_eq!((&data["status"], &data["roles"][0]["role"]), (&json!("active"), &json!("window")), "{data}");
    let key_id = data["key_id"].as_str().expect("a key's id");
    assert_eq!(query(world, "officer", key_id).data()["roles"], data["roles"]);
    failed(&query(world, "officer", &"0".repeat(32)), 5, "MZ-2005");
    failed(&query(world, "officer", "nobody"), 2, "MZ-2012");
}

/// A node that shows what was before a revocation, and is asked first, is not the one that answers.
fn old_seals_hide_no_newer_ones(world: &World) {
    let ((stale, frozen), fresh) = (stuck(world), world.seats[0].url.clone());
    let asked = ["query", "officer", "civil-window-1"];
    let before = through(world, &stale, &asked);
    assert_eq!(before.exit, Some(0), "{} {}", before.json, before.stderr);
    frozen.store(true, Ordering::Relaxed);
    let anchor = world.document("DOC-2");
    world.sealed(&world.seats[0], &anchor);
    let told = world.client(&[&["--node", &stale, "--node", &fresh][..], &asked].concat());
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    let size = |told: &Told| told.data()["as_of"]["tree_size"].as_u64().expect("a size");
    assert!(size(&told) > size(&before), "{} {}", before.json, told.json);
    failed(&through(world, &stale, &asked), 8, "MZ-4115");
}

fn readers_of_chinese_are_answered(world: &World) {
    let context = world.path().join("context.toml").display().to_string();
    for (asked, words) in [
        (["grant", "civil/DOC-1"], "属 document_anchor 类"),
        (["agency", "nobody"], "未登记"),
        (["agency", "a/b"], "应为单位编号"),
        (["agency", "civil"], "active"),
    ] {
        let mut client = command("mingzhang", &world.home());
        let output = client.args(["--context", &context, "--lang", "zh", "query"]).args(asked).output();
        let output = output.expect("the client can be run");
        let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
        assert!(told.contains(words), "{asked:?}: {told}");
    }
}

/// Parts of the contract that are not here are no commands, and the README names them.
fn what_is_not_here_is_said(world: &World) {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("the README");
    for name in ["recipient", "tender", "dataset", "contract", "access"] {
        assert_eq!(query(world, name, "civil/X").exit, Some(2), "{name}");
        assert!(readme.contains(&format!("`query {name}`")), "README's list of what is not here lacks query {name}");
    }
}
