//! History into a running network: every batch judged, the second import of a file a repetition, an importer killed in
//! the middle goes on where it stopped, and the books of the programme add up to the file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mingzhang_tests::world::{Told, World, command, run, until};
use serde_json::{Value, json};

/// Records that must be on the log before the importer is killed, of about 400 in all.
const BEFORE_KILL: u64 = 30;

fn write(folder: &Path, name: &str, rows: impl Iterator<Item = String>) -> PathBuf {
    let mut text = "batch,date,donor,amount,currency,channel,earmark\n".to_owned();
    rows.for_each(|row| writeln!(text, "{row}").expect("a string takes text"));
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file in a temporary folder");
    path
}

/// One row: donors give 1.01 more each, from a day in January 2020.
fn row(batch: &str, number: u64) -> String {
    let (day, yuan) = (number % 28 + 1, number + 1);
    format!("{batch},2020-01-{day:02},donor {number},{yuan}.{:02},CNY,bank,", yuan % 100)
}

fn minor(numbers: std::ops::Range<u64>) -> u64 {
    numbers.map(|number| (number + 1) * 100 + (number + 1) % 100).sum()
}

fn import(world: &World, file: &Path) -> Told {
    world.client(&["import", "donations", &file.display().to_string(), "--mode", "historical"])
}

/// Of the counters only those that a test states.
fn assert_counters(told: &Told, expected: &Value) {
    for (name, value) in expected.as_object().expect("an object of counters") {
        assert_eq!(told.data()[name], *value, "{name} of {}", told.json);
    }
}

/// The income of the file's one programme, proven by its trail.
fn audited_income(world: &World, told: &Told) -> (bool, String) {
    let programme = told.data()["programmes"][0]["programme_id"].as_str().expect("the programme's id").to_owned();
    // An audit speaks of the newest sealed checkpoint, which follows the last block by up to a second.
    let status = |name: &str| world.get(&world.seats[0], "/status")?.1[name].as_u64();
    let size = status("tree_size").expect("the node answers");
    until("seals on the last record", || status("sealed_size").filter(|sealed| *sealed >= size));
    let audit = until("a sealed trail of the programme", || {
        let audit = world.client(&["audit", "programme", &programme]);
        (audit.exit == Some(0)).then_some(audit)
    });
    let data = audit.data();
    (data["balanced"] == true, data["income"]["minor"].as_str().unwrap_or("").to_owned())
}

#[test]
fn batches_repetitions_and_an_importer_that_is_killed() {
    let world = World::start(4);
    let folder = tempfile::tempdir().expect("a temporary folder");

    // The third batch repeats the second under another name; one row has no money.
    let rows = (0..40).map(|number| row("one", number)).chain((40..60).map(|number| row("two", number)));
    let rows = rows.chain((40..60).map(|number| row("three", number))).chain(["one,2020-01-31,d,0,CNY,bank,".into()]);
    let file = write(folder.path(), "gifts.csv", rows);
    let first = import(&world, &file);
    assert_eq!(first.exit, Some(10), "{}", first.json);
    assert_counters(
        &first,
        &json!({
            "read": 81, "submitted": 80, "applied": 60, "rejected": 20, "duplicates": 0, "unknown": 0,
            "skipped": { "total": 1, "reasons": { "zero_amount": 1 } }, "by_code": { "MZ-3706": 20 },
            "proven": true,
        }),
    );
    let total = first.data()["totals"]["donation"]["CNY"].as_str().expect("a sum").replace('.', "");
    assert_eq!(total, minor(0..60).to_string());
    assert_eq!(audited_income(&world, &first), (true, total));
    trail_says_when_and_how_much(&world, &first);

    let second = import(&world, &file);
    assert_eq!(second.exit, Some(10), "what was rejected is so still: {}", second.json);
    assert_counters(
        &second,
        &json!({ "read": 81, "submitted": 20, "applied": 0, "rejected": 20, "duplicates": 60, "transactions": 0,
                 "by_code": { "MZ-3706": 20 }, "proven": true }),
    );

    killed_in_the_middle(&world, folder.path());
}

/// Every entry of the trail with its block, time and money, and only those of some blocks where that is asked for.
fn trail_says_when_and_how_much(world: &World, told: &Told) {
    let programme = told.data()["programmes"][0]["programme_id"].as_str().expect("the programme's id").to_owned();
    let whole = world.client(&["audit", "trail", "programme", &programme]);
    assert_eq!(whole.exit, Some(0), "{}", whole.json);
    let entries = whole.data()["entries"].as_array().expect("entries").clone();
    let heights: Vec<u64> = entries.iter().map(|entry| entry["height"].as_u64().expect("a height")).collect();
    assert!(heights.is_sorted() && heights[0] < heights[heights.len() - 1], "{heights:?}");
    for (entry, height) in entries.iter().zip(&heights) {
        let (_, block) = world.get(&world.seats[0], &format!("/blocks/{height}")).expect("the block");
        let indices = block["first_index"].as_u64()..block["tree_size"].as_u64().map(|size| size - 1);
        assert!((indices.start..indices.end).contains(&entry["index"].as_u64()), "{entry}");
        assert_eq!(entry["time"], block["time"], "{entry}");
    }
    let income =
        entries.iter().filter(|entry| entry["record_type"] == "income_record" && entry["outcome"] == "applied");
    let moved: u64 = income
        .map(|entry| {
            assert_eq!(entry["money"]["currency"], "CNY", "{entry}");
            entry["money"]["minor"].as_str().and_then(|minor| minor.parse::<u64>().ok()).expect("minor units")
        })
        .sum();
    assert_eq!(moved, minor(0..60));

    let last = heights[heights.len() - 1];
    let height = last.to_string();
    let part = world.client(&["audit", "trail", "programme", &programme, "--from", &height, "--to", &height]);
    let shown = part.data()["entries"].as_array().expect("entries").clone();
    let expected: Vec<_> = entries.iter().filter(|entry| entry["height"] == last).cloned().collect();
    assert!(!expected.is_empty() && shown == expected, "{}", part.json);
    assert_eq!((&part.data()["count"], &part.data()["root"]), (&whole.data()["count"], &whole.data()["root"]));
    let nothing = world.client(&["audit", "trail", "programme", &programme, "--from", "2", "--to", "1"]);
    assert_eq!(nothing.exit, Some(2), "{}", nothing.json);
}

fn killed_in_the_middle(world: &World, folder: &Path) {
    let file = write(folder, "many.csv", (0..400).map(|number| row("all", number)));
    let seat = &world.seats[0];
    let size = || world.get(seat, "/status")?.1["tree_size"].as_u64();
    let before = size().expect("the node answers");
    let mut importer = command("mingzhang", &world.home())
        .args(["--context", &world.path().join("context.toml").display().to_string(), "import", "donations"])
        .args([&file.display().to_string(), "--mode", "historical"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the client can be run");
    until("part of the import", || size().filter(|size| *size >= before + BEFORE_KILL));
    importer.kill().expect("the importer can be killed");
    importer.wait().expect("the importer ended");

    let rest = import(world, &file);
    assert_eq!(rest.exit, Some(0), "{}", rest.json);
    assert_counters(&rest, &json!({ "read": 400, "rejected": 0, "unknown": 0 }));
    let counted = |name: &str| rest.data()[name].as_u64().expect("a counter");
    assert_eq!(counted("applied") + counted("duplicates"), 400);
    assert_eq!(audited_income(world, &rest), (true, minor(0..400).to_string()), "each row once");
}

/// Another home with the same keys: it remembers nothing of what was imported.
fn another_home(world: &World) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a temporary folder");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(world.home().join("."))
        .arg(home.path())
        .status()
        .expect("cp can be run");
    assert!(copied.success());
    std::fs::remove_dir_all(home.path().join("imports")).expect("what was remembered is gone");
    home
}

#[test]
fn another_home_records_nothing_of_a_source_once_more() {
    let world = World::start(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(folder.path(), "gifts.csv", (0..3).map(|number| row("one", number)));
    assert_eq!(import(&world, &file).exit, Some(0));
    audited_income(&world, &import(&world, &file));
    let size = || world.get(&world.seats[0], "/status").expect("the node answers").1["tree_size"].clone();
    let (home, before) = (another_home(&world), size());
    let context = world.path().join("context.toml").display().to_string();
    let arguments = ["--json", "--lang", "en", "--context", &context, "import", "donations"];
    let file = file.display().to_string();
    let told = run("mingzhang", &[&arguments[..], &[&file, "--mode", "historical"]].concat(), home.path());
    assert_eq!((told.exit, told.code()), (Some(2), "MZ-1015"), "{} {}", told.json, told.stderr);
    assert!(told.json["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains("scope differs")));
    assert_eq!(size(), before, "nothing was sent");

    // At home a row without an id that is put before its like would take its id.
    let like = row("one", 0).replace(",bank,", ",cash,");
    let grown = write(folder.path(), "gifts.csv", std::iter::once(like).chain((0..3).map(|number| row("one", number))));
    let told = import(&world, &grown);
    assert_eq!((told.exit, told.code()), (Some(2), "MZ-1015"), "{} {}", told.json, told.stderr);
    let detail = told.json["errors"][0]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("line 2 stands where line 3 stood") && size() == before, "{}", told.json);
}

#[test]
fn a_file_that_cannot_be_read_names_its_line_and_sends_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("broken.csv");
    std::fs::write(&file, "id,amount,currency\n1,5.00,CNY\n2,6.00\n3,7.00,CNY,\n").expect("a file");
    let arguments = ["--json", "--lang", "en", "import", "donations", &file.display().to_string()];
    let told = mingzhang_tests::world::run("mingzhang", &arguments, folder.path());
    assert_eq!(told.exit, Some(2), "{}", told.json);
    let detail = told.json["errors"][0]["detail"].as_str().expect("what is wrong");
    assert!(detail.contains("line 3") && detail.contains("nothing was sent"), "{detail}");
    assert!(detail.contains("line 4") && detail.matches("line 3").count() == 1, "{detail}");
    assert_eq!(told.json["errors"][0]["code"], "MZ-2011", "{}", told.json);
}

#[test]
fn a_report_replaces_nothing_that_is_imported() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (input, report) in [("self.csv", "self.csv"), ("a.csv.part", "a.csv")] {
        let text = "id,amount,currency\n1,5.00,CNY\n";
        std::fs::write(folder.path().join(input), text).expect("a file");
        let arguments = ["--json", "--lang", "en", "import", "donations", &path(input), "--report", &path(report)];
        let told = mingzhang_tests::world::run("mingzhang", &arguments, folder.path());
        assert_eq!((told.exit, told.code()), (Some(2), "MZ-2012"), "{}", told.json);
        assert_eq!(std::fs::read_to_string(folder.path().join(input)).expect("still there"), text);
    }
}
