//! The Hubei donations as the ledger holds them, once imported: rows and sums of each day, kinds of donor, donors,
//! remarks, and what the Red Cross itself published day by day (3703, 3704). Whether the import ends as it should is
//! asserted by who calls.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mingzhang_ledger::entry::Entry;
use mingzhang_ledger::proof::EvidenceBundle;
use mingzhang_tests::world::{Told, World};
use serde_json::{Value, json};

/// Day, rows and sum in yuan. No file is of 30 January.
const DAYS: [(&str, u64, &str); 17] = [
    ("2020-01-22", 1, "100.00"),
    ("2020-01-23", 15, "3123122.56"),
    ("2020-01-24", 44, "2798605.66"),
    ("2020-01-25", 64, "2043036.00"),
    ("2020-01-26", 2_145, "85584886.11"),
    ("2020-01-27", 1_419, "102322120.16"),
    ("2020-01-28", 4_164, "53672528.38"),
    ("2020-01-29", 6_661, "80516593.00"),
    ("2020-01-30", 0, "0.00"),
    ("2020-01-31", 5_161, "119612525.90"),
    ("2020-02-01", 2_860, "29763117.98"),
    ("2020-02-02", 2_101, "36933014.91"),
    ("2020-02-03", 2_025, "48885948.04"),
    ("2020-02-04", 1_845, "9360600.02"),
    ("2020-02-05", 2_328, "35010977.50"),
    ("2020-02-06", 2_190, "63413926.32"),
    ("2020-02-07", 2_223, "28360161.37"),
];
/// Kind of donor, rows and sum in yuan.
const KINDS: [(&str, u64, &str); 3] =
    [("org", 727, "578949948.78"), ("org_via_person", 108, "15011454.83"), ("person", 34_411, "107439860.30")];
const DONORS: usize = 30_643;
/// Donations with a remark, which are earmarked.
const EARMARKED: (u64, &str) = (275, "275066369.61");
/// 万元 to two decimals, in fen.
const COARSE: u64 = 1_000_000 / 100;

/// Who gave, by the programme's proven trail; which row is of which kind says the file.
pub fn donors(world: &World, programme: &str, (file, report): (&Path, &Path)) {
    let out = report.with_file_name("hubei.evidence.json");
    let told = world.client(&["audit", "bundle", "programme", programme, "--out", &out.display().to_string()]);
    assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
    let bundle: EvidenceBundle = serde_json::from_slice(&std::fs::read(out).expect("a bundle")).expect("its form");
    let kind_of = kinds(file, report);
    let (mut kinds, mut donors) = (BTreeMap::<&str, (u64, u64)>::new(), BTreeSet::new());
    let mut accounts = BTreeMap::<Vec<u8>, (u64, u64)>::new();
    for item in &bundle.trail.expect("a trail").trail.entries {
        let Ok(Entry::Record { outcome: 0, transaction }) = Entry::decode(&item.entry) else { continue };
        let payload = transaction.payload();
        if payload.record_type != "income_record" {
            continue;
        }
        let body = |name: &str| payload.body.get(name).unwrap_or_else(|| panic!("no {name} in {payload:?}"));
        let part = &body("parts").as_array().expect("a list")[0];
        let amount = part.get("amount").and_then(|amount| amount.as_uint()).expect("an amount");
        donors.insert(body("donor").as_bytes().expect("a pseudonym").to_vec());
        let kind = &kind_of[&format!("sha256:{}", hex::encode(transaction.id()))];
        for place in [kinds.entry(kind).or_default(), accounts.entry(part.get("to").expect("to").encode()).or_default()]
        {
            *place = (place.0 + 1, place.1 + amount);
        }
    }
    assert_eq!(kinds, KINDS.map(|(kind, rows, sum)| (kind, (rows, minor(sum)))).into());
    assert_eq!(donors.len(), DONORS);
    let earmarked = (EARMARKED.0, minor(EARMARKED.1));
    assert!(accounts.len() == 2 && accounts.values().any(|sums| *sums == earmarked), "{accounts:?}");
}

/// The kind of donor of each transaction.
fn kinds(file: &Path, report: &Path) -> BTreeMap<String, String> {
    let rows = std::fs::read_to_string(file).expect("the file");
    let rows: Vec<&str> = rows.lines().collect();
    let lines = std::fs::read_to_string(report).expect("the report");
    let mut found = BTreeMap::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let row = rows[usize::try_from(line["line"].as_u64().expect("a line")).expect("small") - 1];
        // What stands before the kind is never quoted.
        let kind = row.split(',').nth(4).expect("a kind").to_owned();
        for id in line["tx_ids"].as_array().expect("ids") {
            found.insert(id.as_str().expect("an id").to_owned(), kind.clone());
        }
    }
    found
}

/// Opens an import of figures of the same agency, with its two signatures.
fn open(world: &World) -> &'static str {
    let root = "b".repeat(64);
    let what = ["--source", "hubei-donation.csv", "--rows_root", &root, "--licence", "public", "--format", "figures"];
    let how = ["--strict", "false", "--period_end", "2020-02-08", "--key", "data-importer-1", "--wait", "60s"];
    let opened = world.client(&[&["record", "import_open", "--id", "DAILY"][..], &what, &how].concat());
    assert_eq!(opened.exit, Some(0), "{} {}", opened.json, opened.stderr);
    let digest = opened.data()["tx_id"].as_str().expect("an id");
    let approve = ["record", "approve", "--waiting", "data/DAILY", "--digest", digest, "--yes"];
    let approved = world.client(&[&approve[..], &["--key", "market-supervisor-1", "--wait", "60s"]].concat());
    assert_eq!(approved.exit, Some(0), "{} {}", approved.json, approved.stderr);
    "data/DAILY"
}

/// An amount with both decimals, in fen.
fn minor(amount: &str) -> u64 {
    amount.replace('.', "").parse().expect("an amount")
}

fn amount(minor: u64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

/// What the ledger makes of published figures.
struct Published<'a> {
    world: &'a World,
    programme: &'a str,
    import: &'a str,
}

impl Published<'_> {
    /// Income of these days in fen, to a precision; the number of donations is as counted.
    fn holds(&self, (from, to): (&str, &str), (income, precision): (u64, u64), flags: &[&str]) {
        let within = DAYS.iter().filter(|(day, ..)| (from..=to).contains(day));
        let count = within.map(|(_, rows, _)| rows).sum::<u64>().to_string();
        let (income, precision) = (amount(income), amount(precision));
        let of = ["--programme", self.programme, "--import", self.import, "--effective-date", "2020-02-08"];
        let days = ["--from_day", from, "--to_day", to, "--income", &income, "--paid", "0", "--count", &count];
        let how = ["--precision", &precision, "--key", "data-importer-1", "--wait", "60s"];
        let told: Told = self.world.client(&[&["record", "disclosure"][..], &of, &days, &how].concat());
        assert_eq!(told.exit, Some(0), "{} {}", told.json, told.stderr);
        assert_eq!(told.data()["flags"], json!(flags), "{from} to {to}: {income} {}", told.json);
    }
}

/// The counters of each day, and what was published beside them.
pub fn published(world: &World, programme: &str, figures: &Path) {
    let published = Published { world, programme, import: open(world) };
    for (day, _, sum) in DAYS {
        published.holds((day, day), (minor(sum), 1), &[]);
    }
    let table = table(figures);
    assert_eq!(table.len(), 15, "rows with data");
    let of_day: Vec<&Figures> = table.iter().filter(|figures| figures.of_day.is_some()).collect();
    assert_eq!((of_day[0].day.as_str(), of_day.len()), ("2020-01-31", 8));
    for figures in of_day {
        let day = figures.day.as_str();
        // One is printed to two decimals only, and not equal beyond them.
        let coarse = day == "2020-02-06";
        let income = figures.of_day.expect("filtered");
        published.holds((day, day), (income, if coarse { COARSE } else { 1 }), &[]);
        if coarse {
            published.holds((day, day), (income, 1), &["MZ-3703"]);
        }
    }
    let so_far = |day: &str| table.iter().find(|figures| figures.day == day).expect("a row").so_far;
    for (before, day) in [("2020-01-27", "2020-01-28"), ("2020-01-28", "2020-01-29")] {
        published.holds((day, day), (so_far(day) - so_far(before), COARSE), &["MZ-3703"]);
    }
    // What was given before the files begin is in these figures: no sum of rows is equal. That the second is below the
    // first is another matter.
    published.holds(("2020-01-22", "2020-01-26"), (so_far("2020-01-26"), COARSE), &["MZ-3703"]);
    published.holds(("2020-01-22", "2020-01-27"), (so_far("2020-01-27"), COARSE), &["MZ-3703", "MZ-3704"]);
}

/// One row of the published table, in fen.
struct Figures {
    day: String,
    of_day: Option<u64>,
    so_far: u64,
}

fn table(path: &Path) -> Vec<Figures> {
    let text = std::fs::read_to_string(path).expect("the table");
    let row = |line: &str| {
        // Quotes stand around amounts with a comma between thousands.
        let quoted = line.split('"').enumerate();
        let plain: String =
            quoted.map(|(at, part)| if at % 2 == 1 { part.replace(',', "") } else { part.into() }).collect();
        let cells: Vec<&str> = plain.split(',').collect();
        let (day, month) = cells[1].split_once('-')?;
        let month = if month == "Jan" { 1 } else { 2 };
        let day: u32 = day.parse().expect("a day");
        Some(Figures { day: format!("2020-{month:02}-{day:02}"), of_day: fen(cells[3]), so_far: fen(cells[4])? })
    };
    text.lines().skip(1).filter_map(row).collect()
}

/// 万元 as printed, exactly.
fn fen(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.')?;
    assert!(part.len() <= 6, "{text} is finer than a fen");
    format!("{whole}{part:0<6}").parse().ok()
}
