//! Rows whose date, currency or amount cannot be read: none is invented, each is named with its line and reason.

use serde_json::Value as Json;

use super::*;

pub(super) struct Told {
    /// The report's lines by line of the file.
    pub(super) rows: BTreeMap<u64, Json>,
    /// The whole report for a reader of Chinese.
    chinese: String,
    pub(super) screen: String,
    pub(super) totals: BTreeMap<(Kind, String), i128>,
    pub(super) programmes: usize,
    /// Types of the records that were planned.
    pub(super) types: Vec<&'static str>,
    /// Effective dates of what was applied.
    dates: Vec<String>,
}

pub(super) fn told(format: Format, text: &str, strict: bool) -> Told {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, text).expect("a file");
    let source = read(format, &path, (&Map::default(), strict)).expect("the file is read");
    let mut ledger = MemoryLedger::found();
    let outcome = import(&mut ledger, format, strict, &source).expect("the import runs");
    let sources = [source];
    let report = make(&outcome, &sources);
    let written = folder.path().join("report.jsonl");
    report.write(&written, Language::English).expect("a report");
    let lines = std::fs::read_to_string(&written).expect("the report");
    let lines = lines.lines().map(|line| serde_json::from_str::<Json>(line).expect("JSON"));
    let for_chinese = folder.path().join("zh.jsonl");
    report.write(&for_chinese, Language::Chinese).expect("a report");
    let date = |record: &super::super::plan::Planned| {
        (record.record_type == "income_record").then(|| record.body.get("effective_date")?.as_text().map(str::to_owned))
    };
    Told {
        rows: lines.map(|line| (line["line"].as_u64().expect("a line"), line)).collect(),
        chinese: std::fs::read_to_string(&for_chinese).expect("the report"),
        screen: report.text(Language::English),
        totals: report.totals.clone(),
        programmes: outcome.plan.programmes.len(),
        types: outcome.plan.records.iter().map(|record| record.record_type).collect(),
        dates: outcome.plan.records.iter().filter_map(|record| date(record)?).collect(),
    }
}

fn holds(text: &Json, part: &str) {
    assert!(text.as_str().is_some_and(|text| text.contains(part)), "{part} in {text}");
}

const DATES: &str = "id,date,donor,amount,currency\n\
                     1,2025-01-01,A,5.00,CNY\n2,10/01/2025,B,6.00,CNY\n3,2025-13-11,C,7.00,CNY\n4,,D,8.00,CNY\n";

#[test]
fn an_unreadable_date_is_refused_in_strict_imports() {
    let told = told(Format::Donations, DATES, true);
    for (line, text) in [(3, "10/01/2025"), (4, "2025-13-11")] {
        let row = &told.rows[&line];
        assert_eq!((&row["result"], &row["code"]), (&Json::from("rejected"), &Json::from("MZ-1012")), "{row}");
        holds(&row["detail"], text);
        holds(&row["fix"], "[formats]");
    }
    assert_eq!(told.rows[&5]["result"], "applied", "a missing date is no unreadable one");
    assert_eq!(told.dates, ["2025-01-01", "2025-01-01"]);
    assert!(told.screen.contains("rejected 2: MZ-1012; line 3, 4"), "{}", told.screen);
}

#[test]
fn an_unreadable_date_is_noted_with_its_text_in_historical_imports() {
    let told = told(Format::Donations, DATES, false);
    for (line, text) in [(3, "10/01/2025"), (4, "2025-13-11")] {
        let row = &told.rows[&line];
        assert_eq!(row["result"], "applied", "{row}");
        assert_eq!(row["notes"], serde_json::json!(["date_unreadable", "date_inherited"]), "{row}");
        holds(&row["detail"], text);
    }
    assert_eq!(told.rows[&5]["notes"], serde_json::json!(["date_inherited"]));
    assert!(told.screen.contains("noted 2: date_unreadable"), "{}", told.screen);
}

#[test]
fn an_unknown_currency_never_becomes_another() {
    let text =
        "id,date,payee,amount,currency\n1,2025-01-01,A,5.00,CNY\n2,2025-01-02,B,6.00,XYZ\n3,2025-01-03,C,7.00,\n";
    for strict in [false, true] {
        let told = told(Format::Payments, text, strict);
        let row = &told.rows[&3];
        assert_eq!((&row["result"], &row["code"]), (&Json::from("rejected"), &Json::from("MZ-1011")), "{row}");
        holds(&row["detail"], "XYZ");
        assert_eq!(told.rows[&4]["notes"], serde_json::json!(["currency_inherited"]));
        assert_eq!(told.totals, BTreeMap::from([((Kind::Payment, "CNY".to_owned()), 1_200)]));
    }
}

#[test]
fn skipped_rows_say_why_and_where() {
    let text = "id,date,donor,amount,currency\n1,2025-01-01,A,5.00,CNY\n2,2025-01-02,B,\"1,234.50\",CNY\n\
                3,2025-01-03,C,-50.00,CNY\n4,2025-01-03,D,0,CNY\n5,2025-01-03,E,,CNY\n";
    let told = told(Format::Donations, text, true);
    for (line, part) in
        [(3, "\"1,234.50\" is not an amount"), (4, "\"-50.00\" is negative"), (5, "zero"), (6, "missing")]
    {
        let row = &told.rows[&line];
        assert_eq!(row["result"], "skipped", "{row}");
        holds(&row["detail"], part);
    }
    holds(&told.rows[&3]["fix"], "thousands");
    for part in [
        "skipped 2: amount_invalid, the amount cannot be read; line 3, 6",
        "skipped 1: amount_invalid, negative",
        "skipped 1: zero_amount",
        "--report",
    ] {
        assert!(told.screen.contains(part), "{part} in {}", told.screen);
    }
    assert!(told.screen.lines().all(|line| line.chars().count() <= 80), "{}", told.screen);
}

#[test]
fn what_the_ledger_says_of_a_row_is_told_in_the_readers_language() {
    let told = told(Format::Donations, "id,date,donor,amount,currency\n1,2099-01-01,A,5.00,CNY\n", true);
    holds(&told.rows[&2]["detail"], "stated 2099-01-01, released ");
    assert!(told.chinese.contains("所述日期 2099-01-01,发布日期 "), "{}", told.chinese);
}

#[test]
fn a_refused_payment_cannot_be_returned() {
    let text =
        "id,date,payee,amount,currency\n1,2025-01-32,A,5.00,CNY\n2,2025-01-02,A,-5.00,CNY\n3,2025-01-01,B,1.00,CNY\n";
    let told = told(Format::Payments, text, true);
    assert_eq!(told.rows[&2]["code"], "MZ-1012");
    assert_eq!((&told.rows[&3]["result"], &told.rows[&3]["reason"]), (&"skipped".into(), &"amount_invalid".into()));
}

#[test]
fn what_was_disbursed_is_not_dropped_in_silence() {
    let text = r#"{"grants":[{"id":"G","title":"t","currency":"GBP","amountAwarded":5,"awardDate":"2015-01-01",
        "amountDisbursed":"1,200"}]}"#;
    let told = told(Format::Grants, text, true);
    let row = &told.rows[&1];
    assert_eq!(
        (&row["result"], &row["notes"]),
        (&Json::from("applied"), &serde_json::json!(["disbursement_unreadable"]))
    );
    holds(&row["detail"], "1,200");
    assert!(told.screen.contains("disbursement_unreadable"), "{}", told.screen);
}

#[test]
fn what_was_disbursed_without_a_recorded_grant_has_a_line_of_its_own() {
    let grant = |id, currency, awarded, disbursed| {
        format!(
            r#"{{"id":"{id}","title":"t","currency":"{currency}","amountAwarded":{awarded},"awardDate":"2015-01-01",
            "amountDisbursed":{disbursed}}}"#
        )
        .replace('\n', "")
    };
    let grants = [
        grant("A", "GBP", "0", "5"),
        grant("B", "XYZ", "7", "5"),
        grant("C", "GBP", "\"n/a\"", "5"),
        grant("D", "GBP", "-7", "5"),
        grant("E", "GBP", "0", "0"),
        grant("F", "GBP", "7", "5"),
    ];
    let told = told(Format::Grants, &format!("{{\"grants\":[{}]}}", grants.join(",")), false);
    for line in [1, 3, 4] {
        let row = &told.rows[&line];
        assert_eq!((&row["kind"], &row["reason"]), (&"disbursement".into(), &"without_grant".into()), "{row}");
    }
    assert_eq!((&told.rows[&2]["kind"], &told.rows[&2]["code"]), (&"disbursement".into(), &"MZ-1011".into()));
    assert_eq!(told.rows[&5]["kind"], "grant", "nothing was disbursed");
    assert!(told.screen.contains("read 11  applied 2  rejected 2"), "{}", told.screen);
    for part in ["skipped 3: without_grant", "skipped 2: zero_amount", "skipped 1: amount_invalid, negative"] {
        assert!(told.screen.contains(part), "{part} in {}", told.screen);
    }
    assert_eq!(told.totals[&(Kind::Disbursement, "GBP".to_owned())], 500);
}

#[test]
fn a_whole_number_is_an_id() {
    let text = r#"{"grants":[
        {"id":17,"title":"t","currency":"GBP","amountAwarded":5,"awardDate":"2015-01-01"},
        {"id":1.5,"title":"t","currency":"GBP","amountAwarded":5,"awardDate":"2015-01-01"}]}"#;
    let told = told(Format::Grants, text, true);
    assert_eq!((&told.rows[&1]["item"], &told.rows[&1]["notes"]), (&"17".into(), &serde_json::json!([])));
    assert_eq!(told.rows[&2]["notes"], serde_json::json!(["id_synthesised"]));
}
