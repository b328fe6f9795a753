//! The public interface beyond single questions: how fast it may be asked, its own description, and what it says about a
//! rejection.

use std::fmt::Write as _;

use mingzhang_ledger::crypto::SigningKey;
use mingzhang_ledger::transaction::{Payload, Transaction};
use mingzhang_tests::world::{Officer, Told, World, anchor_body};
use serde_json::json;

/// Reads of one address in a second that the test's node allows.
const READS_PER_S: u64 = 5;

#[test]
fn reads_are_limited_and_submissions_are_not() {
    let world = World::start(1);
    let seat = &world.seats[0];
    let officer = world.officer("civil-window-1");
    let file = world.node_folder(&seat.agency).join("node.toml");
    let mut config: toml::Table = std::fs::read_to_string(&file).expect("a file").parse().expect("TOML");
    config.insert("api_reads_per_s".into(), i64::try_from(READS_PER_S).expect("small").into());
    world.kill(&seat.agency);
    std::fs::write(&file, config.to_string()).expect("written");
    world.resume(&seat.agency);
    assert_eq!(world.get(seat, "/limits").expect("the node answers").1["reads_per_second"], READS_PER_S);

    // A machine that asks slower than the limit would have to be slow indeed: thirty reads in six seconds.
    let answers: Vec<_> = (0..30).map(|_| world.get(seat, "/version").expect("the node answers")).collect();
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status == 429).collect();
    assert!(!refused.is_empty(), "{answers:?}");
    assert!(refused.iter().all(|(_, answer)| answer["code"] == "MZ-2013" && answer["retryable"] == true));
    assert!((0..30).any(|_| world.head(seat, "/errors") == Some(429)), "a HEAD is a read");
    let dry = officer.anchor(&world.origin, "DRY", 1);
    let dry_run = || world.post(seat, "/simulate", dry.bytes(), 0).expect("the node answers").0;
    assert!((0..30).any(|_| dry_run() == 429), "a simulation is a read");
    for number in 0..20 {
        let transaction = officer.anchor(&world.origin, &format!("FAST-{number}"), number);
        let (status, answer) = world.post(seat, "/transactions", transaction.bytes(), 0).expect("the node answers");
        assert_eq!(status, 202, "{answer}");
    }
    // The client waits as long as it is told to.
    for _ in 0..10 {
        let told = world.client(&["query", "block", "1"]);
        assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    }
}

#[test]
fn the_interface_describes_itself() {
    let world = World::start(1);
    for (path, version) in [("/openapi.json", "3.1.0"), ("/openapi-3.0.json", "3.0.3")] {
        let (status, document) = world.get(&world.seats[0], path).expect("the node answers");
        assert_eq!((status, document["openapi"].as_str()), (200, Some(version)));
        let paths = document["paths"].as_object().expect("paths");
        // What needs no ids is really there.
        for (path, methods) in paths.iter().filter(|(path, _)| !path.contains('{')) {
            let Some(operation) = methods.get("get") else { continue };
            let mut query = String::new();
            for parameter in operation["parameters"].as_array().expect("a list") {
                if parameter["required"] == true {
                    write!(query, "&{}=1", parameter["name"].as_str().expect("a name")).expect("a string takes text");
                }
            }
            if operation["responses"]["200"]["content"].get("text/event-stream").is_some() {
                // It goes on for ever: that it begins is enough.
                assert_eq!(world.head(&world.seats[0], path), Some(200), "{path}");
                continue;
            }
            let (status, answer) = world.get(&world.seats[0], &format!("{path}?{query}")).expect("the node answers");
            let no_such_path = answer["detail"].as_str().is_some_and(|detail| detail.starts_with("no such path"));
            assert!(status < 500 && status != 405 && !no_such_path, "{path}: {status} {answer}");
        }
    }
}

#[test]
fn a_dry_run_is_refused_for_what_a_submission_is_refused_for() {
    let world = World::start(1);
    let seat = &world.seats[0];
    let officer = world.officer("civil-window-1");
    let stranger = Officer { agency: officer.agency.clone(), key: SigningKey::from_seed(&[91; 32]) };
    let mut forged = officer.anchor(&world.origin, "FORGED", 1).bytes().to_vec();
    *forged.last_mut().expect("a signature") ^= 1;
    let late =
        Payload { expires_at: 1_000, ..officer.payload(&world.origin, "document_anchor", "LATE", anchor_body(1)) };
    let late = Transaction::sign(&late, &officer.key).expect("signs");
    let taken = officer.anchor(&world.origin, "TAKEN", 1);
    assert_eq!(world.post(seat, "/transactions", taken.bytes(), 60).expect("the node answers").0, 200);
    let other = officer.anchor(&world.origin, "TAKEN", 2);
    let cases = [
        (forged.as_slice(), "MZ-1006"),
        (officer.anchor("elsewhere.example/net", "FOREIGN", 1).bytes(), "MZ-1005"),
        (stranger.anchor(&world.origin, "STRANGE", 1).bytes(), "MZ-1007"),
        (other.bytes(), "MZ-1015"),
    ]
    .map(|(bytes, code)| (bytes.to_vec(), code));
    for (bytes, code) in cases {
        for path in ["/simulate", "/transactions"] {
            let (status, answer) = world.post(seat, path, &bytes, 0).expect("the node answers");
            assert!((400..500).contains(&status) && answer["code"] == code, "{path} {code}: {status} {answer}");
        }
    }
    // What is over can be simulated and nothing else: a client signs nothing else for it.
    let (status, answer) = world.post(seat, "/simulate", late.bytes(), 0).expect("the node answers");
    assert_eq!((status, answer["outcome"].as_str()), (200, Some("applied")), "{answer}");
    let (status, answer) = world.post(seat, "/transactions", late.bytes(), 0).expect("the node answers");
    assert_eq!((status, answer["code"].as_str()), (410, Some("MZ-1008")), "{answer}");
    let (status, answer) = world.post(seat, "/simulate", taken.bytes(), 0).expect("the node answers");
    assert_eq!((status, answer["code"].as_str()), (422, Some("MZ-1015")), "the same record again");
    let fresh = officer.anchor(&world.origin, "FRESH", 1);
    let (status, answer) = world.post(seat, "/simulate", fresh.bytes(), 0).expect("the node answers");
    assert_eq!((status, answer["outcome"].as_str()), (200, Some("applied")), "{answer}");
}

#[test]
fn a_refusal_says_what_is_wrong_in_the_readers_language() {
    let world = World::start(1);
    let seat = &world.seats[0];
    for path in ["/records/civil/NOPE", "/transactions/abc", "/nowhere", "/blocks?limit=-1"] {
        let (status, english) = world.get(seat, path).expect("the node answers");
        let (same, chinese) = world.get_in_chinese(seat, path).expect("the node answers");
        assert_eq!((status, &english["code"]), (same, &chinese["code"]));
        let [english, chinese] = [&english, &chinese].map(|problem| problem["title"].as_str().expect("a title"));
        assert!(english.is_ascii() && !chinese.is_ascii(), "{path}: {english} {chinese}");
    }
    let (_, problem) = world.get(seat, "/blocks?limit=-1").expect("the node answers");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("limit"), "{detail}");
    // Whoever still sends when the node has refused reads why all the same.
    for _ in 0..20 {
        let (status, problem) = world.post(seat, "/transactions", &vec![0; 5 << 20], 0).expect("the node answers");
        assert_eq!((status, problem["detail"].as_str()), (413, Some("a body holds at most 4194304 bytes")));
    }
}

/// A permit for a matter that nobody published.
fn rejected(world: &World) -> Told {
    let digest = "5".repeat(64);
    let head = ["record", "case_submit", "--id", "CASE-1", "--key", "approval-window-1", "--wait", "60s"];
    let applicant = "ab".repeat(16);
    let body = ["--matter", "approval/NO-MATTER", "--applicant", &applicant, "--form", &digest];
    world.client(&[&head[..], &body].concat())
}

#[test]
fn a_rejection_keeps_its_figures_on_every_node() {
    let world = World::start(4);
    let told = rejected(&world);
    assert_eq!(told.exit, Some(3), "{} {}", told.json, told.stderr);
    let detail = told.data()["detail"].as_str().expect("figures").to_owned();
    assert!(detail.contains("NO-MATTER"), "{detail}");
    assert_eq!(told.json["errors"][0]["detail"], json!(detail));
    let tx_id = told.data()["tx_id"].as_str().expect("an id").to_owned();
    world.kill("data");
    world.resume("data");
    for seat in &world.seats {
        world.place(seat, &tx_id);
        let (_, status) = world.get(seat, &format!("/transactions/{tx_id}/status")).expect("the node answers");
        assert_eq!((&status["detail"], &status["outcome"]), (&json!(detail), &json!("rejected")), "{}", seat.agency);
    }
}
