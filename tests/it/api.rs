//! The public interface beyond single questions: how fast it may be asked, its own description, and what it says about a
//! rejection.

use std::fmt::Write as _;

use mingzhang_tests::world::{Told, World};
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
            let (status, answer) = world.get(&world.seats[0], &format!("{path}?{query}")).expect("the node answers");
            let no_such_path = answer["detail"].as_str().is_some_and(|detail| detail.starts_with("no such path"));
            assert!(status < 500 && status != 405 && !no_such_path, "{path}: {status} {answer}");
        }
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
