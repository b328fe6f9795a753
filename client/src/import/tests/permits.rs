//! Permits whose dates and status say more than one thing.

use super::bad_rows::told;
use super::*;

const HEADER: &str = "id,applied,decided,issued,closed,status,clock_days\n";

fn has(list: &serde_json::Value, word: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|entry| *entry == word))
}

#[test]
fn a_permit_is_decided_when_the_source_says_so() {
    let rows = "1,2025-01-06,2025-01-08,2025-06-02,,Issued,5\n2,2025-01-06,2025-03-03,2025-06-02,,Issued,5\n\
                3,2025-01-06,,2025-06-02,,Issued,5\n4,2025-01-06,08/01/2025,2025-06-02,,Issued,5\n";
    let told = told(Format::Permits, &format!("{HEADER}{rows}"), false);
    let late: Vec<bool> = told.rows.values().map(|row| has(&row["flags"], "MZ-3307")).collect();
    assert_eq!(late, [false, true, true, false], "only dates that can be read prove lateness");
    assert!(has(&told.rows[&5]["fields"], "effective_date"), "{}", told.rows[&5]);
    assert_eq!(told.types.iter().filter(|kind| **kind == "licence_issue").count(), 4);
}

#[test]
fn a_refused_permit_with_a_date_of_issue_is_refused_and_flagged() {
    for strict in [false, true] {
        let rows = "1,2025-01-06,2025-01-08,2025-01-08,,Refused,5\n2,2025-01-06,2025-01-08,,,Refused,5\n";
        let told = told(Format::Permits, &format!("{HEADER}{rows}"), strict);
        let contradicts =
            |line| has(&told.rows[&line]["flags"], "MZ-3709") && has(&told.rows[&line]["fields"], "status");
        assert!(contradicts(2) && !contradicts(3), "{:?}", told.rows);
        assert!(told.screen.contains("  2  flagged; flags are the node's word, not proven"), "{}", told.screen);
        assert_eq!(told.rows[&2]["flags_proven"], false);
        assert!(told.types.contains(&"case_decide") && !told.types.contains(&"licence_issue"), "{:?}", told.types);
    }
}
