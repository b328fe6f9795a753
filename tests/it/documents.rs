//! What cites a document and what an id or a hash is: the index of every node, citations that the client proves, a node
//! that names others, and what is looked for nowhere.

use mingzhang_ledger::crypto::sha256;
use mingzhang_tests::world::{Told, World, command};
use serde_json::{Value, json};

use super::liar::{failed, honest, liar, proxy, through};

/// The digest of the account of a party, which is no document.
const ACCOUNT: &str = "9999999999999999999999999999999999999999999999999999999999999999";
const APPLICANT: &str = "abababababababababababababababab";

/// A document that two records cite, one of them rejected.
struct Cited {
    file: String,
    digest: String,
    /// Transaction ids of the anchor and of the application.
    ids: [String; 2],
}

#[test]
fn a_document_leads_to_the_records_that_cite_it() {
    let world = World::start(4);
    world.kill("data");
    let cited = cite(&world);
    // What was recorded while it was away is in its index, too.
    world.resume("data");
    every_node_names_them(&world, &cited);
    many_at_once(&world, &cited);
    the_client_proves_each(&world, &cited);
    absence_is_the_nodes_word(&world);
    a_citation_that_the_bytes_do_not_hold_is_refused(&world, &cited);
    a_node_that_hides_one_does_not_hide_it(&world, &cited);
    exactly_what_is_called_so_is_found(&world, &cited);
    accounts_and_persons_are_not_looked_for(&world);
    readers_of_chinese_are_answered(&world);
}

fn submitted(world: &World, exit: i32, words: &[&str]) -> String {
    let told = world.client(&[&["record"], words, &["--wait", "60s"]].concat());
    assert_eq!(told.exit, Some(exit), "{} {}", told.json, told.stderr);
    told.data()["tx_id"].as_str().expect("an id").to_owned()
}

fn cite(world: &World) -> Cited {
    let file = world.path().join("minutes.txt");
    std::fs::write(&file, "what was said").expect("written");
    let file = file.display().to_string();
    let root = format!("@{file}");
    let anchor = ["document_anchor", "--id", "MINUTES", "--root", &root, "--kind", "minutes"];
    let anchor = submitted(world, 0, &[&anchor[..], &["--key", "civil-window-1"]].concat());
    let matter = ["case_submit", "--id", "CASE-1", "--matter", "approval/NONE", "--applicant", APPLICANT];
    let form = ["--form", &root, "--evidence", &file, "--key", "approval-window-1"];
    let rejected = submitted(world, 3, &[&matter[..], &form].concat());
    let party = ["party_register", "--id", "P-1", "--party_id", "SUP-0093", "--kind", "supplier"];
    let account = ["--account_commitment", ACCOUNT, "--key", "civil-programme-owner-1"];
    let party = submitted(world, 0, &[&party[..], &account].concat());
    world.sealed(&world.seats[0], &party);
    let salt = hex::decode(std::fs::read_to_string(format!("{file}.salt")).expect("a salt").trim()).expect("digits");
    let digest = hex::encode(sha256(&[&salt, b"what was said"]));
    Cited { file, digest, ids: [anchor, rejected] }
}

fn ids(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("a list");
    items.iter().map(|item| item["tx_id"].as_str().expect("an id")).collect()
}

fn every_node_names_them(world: &World, cited: &Cited) {
    let path = format!("/documents/{}", cited.digest);
    for seat in &world.seats {
        world.place(seat, &cited.ids[1]);
        let (status, told) = world.get(seat, &path).expect("the node answers");
        assert_eq!((status, ids(&told)), (200, cited.ids.iter().map(String::as_str).collect()), "{}", seat.agency);
        assert_eq!((&told["since_index"], &told["next_cursor"]), (&json!(0), &Value::Null), "{told}");
        let [anchor, form] = [&told["items"][0], &told["items"][1]];
        assert_eq!((&anchor["outcome"], &anchor["record_id"]), (&json!("applied"), &json!("MINUTES")), "{anchor}");
        assert_eq!(anchor["cited_as"], json!([{ "field": "root", "kind": null }]));
        assert_eq!((&form["outcome"], &form["record_type"]), (&json!("rejected"), &json!("case_submit")), "{form}");
        let fields: Vec<_> = form["cited_as"].as_array().expect("a list").iter().map(|one| &one["field"]).collect();
        assert_eq!(fields, ["form", "evidence"]);
        assert!(form["code"].as_str().is_some_and(|code| code.starts_with("MZ-3")), "{form}");
        assert!(form["applicant"].is_null() && form["body"].is_null(), "no more than lists show: {form}");
    }
    let seat = &world.seats[0];
    let (_, first) = world.get(seat, &format!("{path}?limit=1")).expect("the node answers");
    assert_eq!(ids(&first), [cited.ids[0].as_str()]);
    let next = first["next_cursor"].as_u64().expect("another page");
    let (_, second) = world.get(seat, &format!("{path}?limit=1&cursor={next}")).expect("the node answers");
    assert_eq!((ids(&second), &second["next_cursor"]), (vec![cited.ids[1].as_str()], &Value::Null));
    let (status, wrong) = world.get(seat, "/documents/abc").expect("the node answers");
    assert_eq!((status, &wrong["code"]), (400, &json!("MZ-2003")), "{wrong}");
}

fn many_at_once(world: &World, cited: &Cited) {
    let ask = |body: &Value| {
        world.post(&world.seats[0], "/documents/lookup", body.to_string().as_bytes(), 0).expect("the node answers")
    };
    let (status, told) = ask(&json!({ "digests": ["0".repeat(64), format!("sha256:{}", cited.digest)] }));
    assert_eq!((status, &told["since_index"]), (200, &json!(0)), "{told}");
    assert_eq!((ids(&told["items"][0]).len(), ids(&told["items"][1]).len()), (0, 2), "{told}");
    let (status, told) = ask(&json!({ "digests": vec!["0".repeat(64); 500] }));
    assert_eq!((status, told["items"].as_array().map(Vec::len)), (200, Some(500)));
    for (body, code) in [
        (json!({ "digests": vec!["0".repeat(64); 501] }), "MZ-2004"),
        (json!({ "digests": ["abc"] }), "MZ-2003"),
        (json!({ "digests": 7 }), "MZ-2003"),
        (json!([]), "MZ-2003"),
    ] {
        let (status, told) = ask(&body);
        assert!((400..500).contains(&status) && told["code"] == code, "{code}: {status} {told}");
    }
}

fn query(world: &World, words: &[&str]) -> Told {
    world.client(&[&["query"], words].concat())
}

fn the_client_proves_each(world: &World, cited: &Cited) {
    let salt = format!("{}.salt", cited.file);
    let prefixed = format!("sha256:{}", cited.digest);
    for words in [&[cited.file.as_str()][..], &[&cited.file, "--salt", &salt], &[&cited.digest], &[&prefixed]] {
        let told = query(world, &[&["document"], words].concat());
        assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
        let data = told.data();
        assert_eq!(ids(data), cited.ids.iter().map(String::as_str).collect::<Vec<_>>(), "{data}");
        assert_eq!((&data["proven"], &data["complete_proven"]), (&json!(true), &json!(false)), "{data}");
        assert_eq!((&data["items"][1]["outcome"], &data["items"][1]["code"]), (&json!("rejected"), &json!("MZ-3002")));
        assert!(data["items"][0]["height"].as_u64() > Some(0) && data["items"][0]["block_time"].is_string(), "{data}");
        assert_eq!(data["nodes"].as_array().map(Vec::len), Some(4), "{data}");
        assert!(told.json["warnings"].to_string().contains("no other is the word of 4 nodes"), "{}", told.json);
    }
    let next = query(world, &["document", &cited.digest, "--from", "1000000"]);
    failed(&next, 5, "MZ-2005");
    failed(&query(world, &["document", &cited.digest, "--salt", &salt]), 2, "MZ-2012");
    let bare = world.path().join("bare.txt").display().to_string();
    failed(&query(world, &["document", &bare]), 2, "MZ-2011");
    std::fs::write(&bare, "no salt").expect("written");
    failed(&query(world, &["document", &bare]), 9, "MZ-4123");
}

fn absence_is_the_nodes_word(world: &World) {
    let told = query(world, &["document", &"0".repeat(64)]);
    failed(&told, 5, "MZ-2005");
    assert!(told.json["errors"].to_string().contains("their word, no proof"), "{}", told.json);
    assert_eq!((&told.data()["proven"], &told.data()["items"]), (&json!(false), &json!([])), "{}", told.json);
    let silent = through(world, "http://127.0.0.1:9", &["query", "document", &"0".repeat(64)]);
    failed(&silent, 7, "MZ-2007");
}

fn a_citation_that_the_bytes_do_not_hold_is_refused(world: &World, cited: &Cited) {
    let (anchor, other) = (cited.ids[0].clone(), "5".repeat(64));
    let named = |id: String, index: u64| {
        let item = json!({ "index": index, "tx_id": id, "record_type": "document_anchor", "outcome": "applied" });
        json!({ "items": [item], "next_cursor": null, "since_index": 0, "as_of": { "height": 9, "tree_size": 99 } })
    };
    let lie = |said: Value| liar(world, move |_, path| path.contains("/documents/").then(|| (200, said.clone())));
    let asked = ["query", "document", &other];
    let told = through(world, &lie(named(anchor.clone(), 1)), &asked);
    failed(&told, 8, "MZ-4114");
    assert!(told.json["errors"].to_string().contains("which its bytes do not"), "{}", told.json);
    // One true node beside it does not make the lie true.
    let (lying, true_one) = (lie(named(anchor, 1)), world.seats[1].url.clone());
    let told = world.client(&[&["--node", &lying, "--node", &true_one][..], &asked].concat());
    failed(&told, 8, "MZ-4114");
    // The hash of an account stands in the bytes, and is no document.
    let (_, party) = world.get(&world.seats[0], "/records/civil/P-1").expect("the node answers");
    let party = named(party["tx_id"].as_str().expect("an id").to_owned(), 3);
    failed(&through(world, &lie(party), &["query", "document", ACCOUNT]), 8, "MZ-4114");
    // A record that nobody has is not proven, and no page leads back.
    failed(&through(world, &lie(named("7".repeat(64), 1)), &asked), 9, "MZ-4127");
    let mut again = named("7".repeat(64), 1);
    again["next_cursor"] = json!(0);
    failed(&through(world, &lie(again), &asked), 7, "MZ-2007");
}

fn a_node_that_hides_one_does_not_hide_it(world: &World, cited: &Cited) {
    let node = world.seats[0].url.clone();
    let hiding = proxy(world, move |_, path| {
        let (status, body) = path.contains("/documents/").then(|| honest(&format!("{node}{path}")))??;
        let mut said: Value = serde_json::from_slice(&body).ok()?;
        said["items"].as_array_mut()?.pop();
        Some((status, said.to_string().into_bytes()))
    });
    let true_one = world.seats[1].url.clone();
    let told = world.client(&["--node", &hiding, "--node", &true_one, "query", "document", &cited.digest]);
    assert_eq!((told.exit, ids(told.data()).len()), (Some(0), 2), "{} {}", told.json, told.stderr);
    let gone = "http://127.0.0.1:9";
    let fewer = world.client(&["--node", gone, "--node", &world.seats[1].url, "query", "document", &cited.digest]);
    assert_eq!((fewer.exit, &fewer.data()["silent"]), (Some(0), &json!([gone])), "{} {}", fewer.json, fewer.stderr);
    assert!(fewer.json["warnings"].to_string().contains("gave no answer"), "{}", fewer.json);
    let warnings = told.json["warnings"].to_string();
    assert!(warnings.contains(&format!("{hiding} does not name 1 of these")), "{warnings}");
}

/// The kinds under which something is found, after the command of each was run.
fn found(world: &World, text: &str) -> Vec<String> {
    let told = query(world, &["search", text]);
    assert_eq!((told.exit, &told.data()["proven"]), (Some(0), &json!(false)), "{text}: {} {}", told.json, told.stderr);
    let items = told.data()["items"].as_array().expect("a list");
    let one = |item: &Value| {
        let command = item["command"].as_str().unwrap_or_else(|| panic!("{item} has no command"));
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let shown = world.client(&words);
        assert_eq!(shown.exit, Some(0), "{command}: {} {}", shown.json, shown.stderr);
        format!("{} {}", item["kind"].as_str().unwrap_or(""), words[1])
    };
    items.iter().map(one).collect()
}

fn exactly_what_is_called_so_is_found(world: &World, cited: &Cited) {
    let key = query(world, &["officer", "civil-window-1"]).data()["key_id"].as_str().expect("an id").to_owned();
    for (text, wanted) in [
        (cited.ids[0].as_str(), "transaction tx"),
        (&cited.digest, "document document"),
        ("1", "block block"),
        ("civil/MINUTES", "record record"),
        ("MINUTES", "record record"),
        ("CASE-1", "record case"),
        ("civil", "agency agency"),
        (&key, "officer officer"),
        ("SUP-0093", "code record"),
        ("sup-0093", "code record"),
    ] {
        assert_eq!(found(world, text), [wanted], "{text}");
    }
    for nothing in ["MINUTE", "minutes", "civil/NONE", "999999999", "a b", "名称"] {
        let told = query(world, &["search", nothing]);
        failed(&told, 5, "MZ-2005");
        let said = told.json["errors"].to_string();
        for through in ["transaction", "document", "block", "record", "agency", "officer", "code"] {
            assert!(said.contains(through), "{said}");
        }
    }
    failed(&query(world, &["search", ""]), 2, "MZ-2003");
    failed(&query(world, &["search", &"x".repeat(129)]), 2, "MZ-2004");
    let (status, _) = world.get(&world.seats[0], "/search").expect("the node answers");
    assert_eq!(status, 400);
}

fn accounts_and_persons_are_not_looked_for(world: &World) {
    for secret in [ACCOUNT, APPLICANT] {
        failed(&query(world, &["search", secret]), 5, "MZ-2005");
    }
    let (_, told) = world.get(&world.seats[0], &format!("/documents/{ACCOUNT}")).expect("the node answers");
    assert_eq!(told["items"], json!([]));
}

fn readers_of_chinese_are_answered(world: &World) {
    let context = world.path().join("context.toml").display().to_string();
    for (asked, words) in [
        (["search", "NONE"], "没有任何"),
        (["document", &"0".repeat(64)], "并无证明"),
        (["search", "MINUTES"], "未经核验"),
    ] {
        let mut client = command("mingzhang", &world.home());
        let output = client.args(["--context", &context, "--lang", "zh", "query"]).args(asked).output();
        let output = output.expect("the client can be run");
        let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
        assert!(told.contains(words), "{asked:?}: {told}");
    }
}
