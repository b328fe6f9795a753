//! Real files through the real client into a real network: the counters are those that the files' own ground truth
//! states, the proven books add up to the files, a second import changes nothing, and an importer that is killed again and
//! again ends in the same state as one that is left alone.
//!
//! The files are not part of the repository; without them each test says that it was skipped. With MINGZHANG_DATA_FULL=1
//! the largest files are imported in both modes, which takes minutes more.

mod hubei;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mingzhang_tests::world::{Told, World, command, until};
use serde_json::{Value, json};

/// How often the importer is killed, and after how many new entries of the log each time.
const KILLS: u64 = 5;
const BETWEEN_KILLS: u64 = 120;
/// Fewer than all entries of the permits: somewhere below, their importer is killed.
const SOMEWHERE: u64 = 12_000;

/// A file of the data sets, with how it is imported.
struct Source {
    format: &'static str,
    file: PathBuf,
    map: Option<PathBuf>,
}

/// The real file, or none with a word that the test is skipped.
fn source(test: &str, format: &'static str, file: &str, map: Option<&str>) -> Option<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = std::env::var_os("MINGZHANG_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    let file = folder.join(file);
    if !file.exists() {
        println!("skipped: {test} ({} is not there)", file.display());
        return None;
    }
    Some(Source { format, file, map: map.map(|name| root.join("client/maps").join(name)) })
}

fn is_full() -> bool {
    std::env::var_os("MINGZHANG_DATA_FULL").is_some()
}

impl Source {
    fn arguments(&self, mode: &str) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut arguments = vec!["import".into(), self.format.into(), text(&self.file), "--mode".into(), mode.into()];
        arguments.extend(self.map.iter().flat_map(|map| ["--map".to_owned(), text(map)]));
        arguments
    }

    fn import(&self, world: &World, mode: &str) -> Told {
        let arguments = self.arguments(mode);
        world.client(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn import_with_report(&self, world: &World, mode: &str, report: &Path) -> Told {
        let report = report.display().to_string();
        let arguments = [self.arguments(mode), vec!["--report".into(), report]].concat();
        world.client(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// An importer that may be killed.
    fn begin(&self, world: &World, mode: &str) -> Child {
        let mut importer: Command = command("mingzhang", &world.home());
        importer.arg("--context").arg(world.path().join("context.toml")).args(self.arguments(mode));
        importer.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the client can be run")
    }
}

/// Everything that the test states is so; what it does not state may be anything.
fn assert_holds(told: &Told, expected: &Value) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(told.data()[name], *value, "{name} of {} {}", told.json, told.stderr);
    }
}

/// The file once more: every item is known, what was rejected is so still, nothing reaches the log.
fn again_changes_nothing(world: &World, source: &Source, mode: &str, (known, rejected): (u64, u64)) {
    let again = source.import(world, mode);
    assert_eq!(again.exit, Some(if rejected > 0 { 10 } else { 0 }), "{} {}", again.json, again.stderr);
    assert_holds(
        &again,
        &json!({ "submitted": rejected, "applied": 0, "rejected": rejected, "duplicates": known, "transactions": 0 }),
    );
}

/// Waits for seals on all that is final.
fn sealed(world: &World) {
    let status = |name: &str| world.get(&world.seats[0], "/status")?.1[name].as_u64();
    let size = status("tree_size").expect("the node answers");
    until("seals on the last record", || status("sealed_size").filter(|sealed| *sealed >= size));
}

/// Audits of all programmes of an import, by the name that the source gives them.
fn audits(world: &World, told: &Told) -> BTreeMap<String, Value> {
    sealed(world);
    let programmes = told.data()["programmes"].as_array().expect("a list of programmes");
    let audit = |programme: &Value| {
        let id = programme["programme_id"].as_str().expect("an id");
        let told = world.client(&["audit", "programme", id]);
        assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
        assert_eq!((&told.data()["balanced"], &told.data()["proof"]["verified"]), (&json!(true), &json!(true)));
        (format!("{} {}", programme["source"], programme["currency"]), told.data().clone())
    };
    programmes.iter().map(audit).collect()
}

/// One figure over all programmes, in minor units.
fn sum(audits: &BTreeMap<String, Value>, figure: &str) -> u128 {
    let minor = |audit: &Value| audit[figure]["minor"].as_str().expect("an amount").parse::<u128>().expect("digits");
    audits.values().map(minor).sum()
}

const ALBANIA: &str = "treasury/albania_treasury_2014.csv";
const WOLFSON: &str = "grants_360giving/wolfson_foundation_2014.json";
const LLOYDS: &str = "grants_360giving/lloyds_bank_foundation_2010_2015.json";
const CALGARY: &str = "permits/calgary_building_permits.csv";
const HUBEI: &str = "charity_cny/hubei_redcross_donations_2020.csv";

#[test]
fn albania_treasury_in_both_modes() {
    for mode in ["historical", "strict"] {
        let Some(file) = source("albania_treasury_in_both_modes", "payments", ALBANIA, Some("albania-payments.toml"))
        else {
            return;
        };
        let world = World::start(4);
        let told = file.import(&world, mode);
        assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
        assert_holds(
            &told,
            &json!({ "read": 40, "submitted": 40, "applied": 40, "rejected": 0, "unknown": 0,
                     "totals": { "payment": { "ALL": "33299653.00" } } }),
        );
        let books = audits(&world, &told);
        assert_eq!((books.len(), sum(&books, "settled")), (1, 3_329_965_300));
        again_changes_nothing(&world, &file, mode, (40, 0));
        // The same rows under another name are the same payments: the batch is refused as already imported.
        let folder = tempfile::tempdir().expect("a temporary folder");
        let copy = Source { file: folder.path().join("renamed.csv"), map: file.map.clone(), ..file };
        std::fs::copy(&file.file, &copy.file).expect("copied");
        let other = copy.import(&world, mode);
        assert_eq!(other.exit, Some(10), "{} {}", other.json, other.stderr);
        assert_holds(&other, &json!({ "applied": 0, "rejected": 40, "by_code": { "MZ-3706": 40 } }));
    }
}

fn wolfson_holds(told: &Told) {
    assert_holds(
        told,
        &json!({ "rejected": 0, "unknown": 0, "skipped": { "total": 114, "reasons": { "zero_amount": 114 } } }),
    );
    let kinds = &told.data()["by_kind"];
    let counted = |kind: &str, name: &str| kinds[kind][name].as_u64().expect("a counter");
    let done = |kind: &str| counted(kind, "applied") + counted(kind, "duplicates");
    assert_eq!((counted("grant", "read"), done("grant"), done("disbursement")), (379, 265, 144));
}

#[test]
fn wolfson_grants_with_an_importer_that_is_killed_again_and_again() {
    let Some(file) =
        source("wolfson_grants_with_an_importer_that_is_killed_again_and_again", "360giving", WOLFSON, None)
    else {
        return;
    };
    for mode in ["historical", "strict"] {
        let whole = {
            let world = World::start(4);
            let told = file.import(&world, mode);
            assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
            wolfson_holds(&told);
            assert_holds(
                &told,
                &json!({ "totals": { "grant": { "GBP": "31178456.00" }, "disbursement": { "GBP": "8933771.00" } } }),
            );
            again_changes_nothing(&world, &file, mode, (265 + 144, 0));
            audits(&world, &told)
        };
        assert_eq!((whole.len(), sum(&whole, "settled")), (4, 893_377_100));

        let world = World::start(4);
        let size = || world.get(&world.seats[0], "/status")?.1["tree_size"].as_u64();
        for _ in 0..KILLS {
            let before = size().expect("the node answers");
            let mut importer = file.begin(&world, mode);
            until("part of the import", || size().filter(|size| *size >= before + BETWEEN_KILLS));
            importer.kill().expect("the importer can be killed");
            importer.wait().expect("the importer ended");
        }
        let rest = file.import(&world, mode);
        assert_eq!(rest.exit, Some(0), "{} {}", rest.json, rest.stderr);
        wolfson_holds(&rest);
        let books = audits(&world, &rest);
        assert!(books.keys().eq(whole.keys()));
        for (name, book) in &books {
            for figure in ["appropriated", "income", "available", "committed", "settled", "records", "movements"] {
                assert_eq!(book[figure], whole[name][figure], "{figure} of {name}, {mode}");
            }
        }
    }
}

#[test]
fn lloyds_grants_to_the_penny() {
    let Some(file) = source("lloyds_grants_to_the_penny", "360giving", LLOYDS, None) else { return };
    for mode in if is_full() { &["historical", "strict"][..] } else { &["historical"] } {
        let world = World::start(4);
        let told = file.import(&world, mode);
        assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
        assert_holds(
            &told,
            &json!({ "read": 4_116, "submitted": 4_115, "applied": 4_115, "rejected": 0, "unknown": 0,
                     "skipped": { "total": 1, "reasons": { "zero_amount": 1 } },
                     "by_code": { "MZ-3707": 4_115 }, "totals": { "grant": { "GBP": "115795635.69" } } }),
        );
        let books = audits(&world, &told);
        assert_eq!((books.len(), sum(&books, "committed")), (46, 11_579_563_569));
        again_changes_nothing(&world, &file, mode, (4_115, 0));
    }
}

#[test]
fn calgary_permits_and_their_lateness() {
    let Some(file) = source("calgary_permits_and_their_lateness", "permits", CALGARY, Some("calgary-permits.toml"))
    else {
        return;
    };
    let world = World::start(4);
    let told = file.import(&world, "historical");
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    assert_holds(&told, &json!({ "read": 5_000, "applied": 5_000, "rejected": 0, "unknown": 0 }));
    let codes = &told.data()["by_code"];
    assert_eq!((&codes["MZ-3307"], &codes["MZ-3009"]), (&json!(1_859), &Value::Null));
    assert_eq!(told.data()["flags_proven"], true, "{}", told.json);
    assert_eq!(trail_of_importer(&world), (5_000, 4_784));
    again_changes_nothing(&world, &file, "historical", (5_000, 0));
    drop(world);

    // The same with an importer that is killed somewhere: what was recorded before is known, the rest is added.
    let world = World::start(4);
    let at = u64::from(getrandom::u32().expect("randomness")) % SOMEWHERE;
    println!("killed after {at} entries");
    let size = || world.get(&world.seats[0], "/status")?.1["tree_size"].as_u64();
    let mut importer = file.begin(&world, "historical");
    until("part of the import", || size().filter(|size| *size >= at));
    importer.kill().expect("the importer can be killed");
    importer.wait().expect("the importer ended");
    let rest = file.import(&world, "historical");
    assert_eq!(rest.exit, Some(0), "{} {}", rest.json, rest.stderr);
    let counter = |name: &str| rest.data()[name].as_u64().expect("a counter");
    assert_eq!((counter("applied") + counter("duplicates"), counter("rejected")), (5_000, 0), "{}", rest.json);
    assert_eq!(trail_of_importer(&world), (5_000, 4_784), "once each");
}

/// Cases and licences that the importer filed, by its own trail, which is proven complete: what is not in it was not
/// recorded.
fn trail_of_importer(world: &World) -> (u64, u64) {
    sealed(world);
    let trail = world.client(&["audit", "trail", "officer", &world.officer("data-importer-1").key_id()]);
    assert_eq!(trail.exit, Some(0), "{} {}", trail.json["errors"], trail.stderr);
    let mut applied = BTreeMap::<&str, u64>::new();
    for entry in trail.data()["entries"].as_array().expect("a list") {
        assert_eq!(entry["outcome"], "applied", "{entry}");
        *applied.entry(entry["record_type"].as_str().expect("a type")).or_default() += 1;
    }
    (applied["case_submit"], applied["licence_issue"])
}

#[test]
fn hubei_donations_to_the_fen() {
    let Some(file) = source("hubei_donations_to_the_fen", "donations", HUBEI, Some("hubei-donations.toml")) else {
        return;
    };
    for mode in if is_full() { &["historical", "strict"][..] } else { &["historical"] } {
        let world = World::start(4);
        let report = world.home().join("hubei.jsonl");
        let told = file.import_with_report(&world, mode, &report);
        assert_eq!(told.exit, Some(10), "one published file repeats another: {} {}", told.json, told.stderr);
        assert_holds(
            &told,
            &json!({ "read": 37_241, "submitted": 37_241, "applied": 35_246, "rejected": 1_995, "unknown": 0,
                     "flagged": 577, "by_code": { "MZ-3706": 1_995, "MZ-3911": 577 },
                     "totals": { "donation": { "CNY": "701401263.91" } } }),
        );
        let books = audits(&world, &told);
        assert_eq!((books.len(), sum(&books, "income")), (1, 70_140_126_391));
        if *mode == "historical" {
            let programme = told.data()["programmes"][0]["programme_id"].as_str().expect("an id");
            hubei::donors(&world, programme, (&file.file, &report));
            hubei::published(&world, programme, &file.file.with_file_name("hubei-donation.csv"));
        }
        if is_full() {
            again_changes_nothing(&world, &file, mode, (35_246, 1_995));
        }
    }
}
