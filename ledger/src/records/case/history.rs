//! Imported permits: loaded with their own dates, judged by 3009, 3305 and 3307 alone, flagged in history and rejected
//! in strict imports.

use super::{CaseState, LicenceState};
use crate::codec::Value;
use crate::records::object::Object;
use crate::records::testing::{Stage, hash, text, to};

type Fields = Vec<(&'static str, Value)>;

fn imported(date: &str, more: Fields) -> Fields {
    let common = vec![("import", to("archive/IN")), ("effective_date", text(date))];
    common.into_iter().chain(more).collect()
}

fn defaulted(mut fields: Fields) -> Fields {
    fields.push(("defaults", Value::Array(vec![text("effective_date")])));
    fields
}

/// An open import with a matter of 20 working days.
fn opened(strict: bool) -> Stage {
    let mut stage = Stage::found();
    let batch = vec![
        ("source", text("city open data")),
        ("rows_root", hash(1)),
        ("licence", text("OGL")),
        ("format", text("permits")),
        ("strict", Value::Bool(strict)),
        ("period_end", text("2025-12-31")),
    ];
    stage.apply_with(["archive/1", "super/1"], "import_open", "IN", batch);
    let matter = vec![
        ("legal_basis", text("building permits")),
        ("clock_days", Value::Uint(20)),
        ("decider_role", text("decider")),
    ];
    stage.apply("archive/1", "matter_define", "M", imported("2025-01-01", matter));
    stage
}

/// Files and accepts a permit on its date of application.
fn apply_for(stage: &mut Stage, permit: &str, date: &str) {
    let filed = vec![("matter", to("archive/M")), ("applicant", Value::bytes(&[1; 16])), ("form", hash(1))];
    stage.apply("archive/1", "case_submit", permit, imported(date, filed));
    let accepted = vec![("subject", to(&format!("archive/{permit}")))];
    stage.apply("archive/1", "case_accept", &format!("{permit}-acc"), imported(date, accepted));
}

fn decision(permit: &str, date: &str, granted: bool) -> Fields {
    let subject = ("subject", to(&format!("archive/{permit}")));
    imported(date, vec![subject, ("granted", Value::Bool(granted)), ("decision", hash(2))])
}

fn licence(permit: &str, date: &str, number: &str) -> Fields {
    let subject = ("subject", to(&format!("archive/{permit}")));
    imported(date, vec![subject, ("licence_no", text(number)), ("licence", hash(3))])
}

fn flags(stage: &mut Stage, record_type: &str, id: &str, fields: Fields) -> Vec<u16> {
    stage.apply("archive/1", record_type, id, fields).flags
}

#[test]
fn lateness_is_counted_between_the_sources_dates_3307() {
    for strict in [false, true] {
        let mut stage = opened(strict);
        apply_for(&mut stage, "P-1", "2025-03-03");
        assert!(flags(&mut stage, "case_decide", "P-1-dec", decision("P-1", "2025-03-31", true)).is_empty());
        apply_for(&mut stage, "P-2", "2025-03-03");
        assert_eq!(flags(&mut stage, "case_decide", "P-2-dec", decision("P-2", "2025-04-01", true)), [3307]);
        assert!(flags(&mut stage, "licence_issue", "P-2-lic", licence("P-2", "2025-04-01", "BP-2")).is_empty());
    }
}

#[test]
fn a_date_that_the_importer_filled_proves_no_lateness() {
    let mut stage = opened(false);
    apply_for(&mut stage, "P-1", "2025-03-03");
    let refused = defaulted(decision("P-1", "2025-12-31", false));
    assert_eq!(flags(&mut stage, "case_decide", "P-1-dec", refused), [3707]);
    match stage.object("archive/P-1") {
        Some(Object::Case(case)) => assert_eq!(case.state, CaseState::Refused),
        other => panic!("no case but {other:?}"),
    }
}

#[test]
fn a_number_reused_or_no_decision_is_flagged_in_history_and_rejected_in_strict_3305() {
    let story = |stage: &mut Stage| {
        for permit in ["P-1", "P-2"] {
            apply_for(stage, permit, "2025-03-03");
            stage.apply("archive/1", "case_decide", &format!("{permit}-dec"), decision(permit, "2025-03-04", true));
        }
        apply_for(stage, "P-3", "2025-03-03");
        stage.apply("archive/1", "licence_issue", "P-1-lic", licence("P-1", "2025-03-04", "BP-1"));
    };
    let mut history = opened(false);
    story(&mut history);
    assert_eq!(flags(&mut history, "licence_issue", "P-2-lic", licence("P-2", "2025-03-04", "BP-1")), [3305]);
    assert_eq!(flags(&mut history, "licence_issue", "P-3-lic", licence("P-3", "2025-03-04", "BP-3")), [3305]);
    let mut strict = opened(true);
    story(&mut strict);
    strict.expect(3305, "archive/1", "licence_issue", "P-2-lic", licence("P-2", "2025-03-04", "BP-1"));
    strict.expect(3305, "archive/1", "licence_issue", "P-3-lic", licence("P-3", "2025-03-04", "BP-3"));
}

#[test]
fn a_decision_before_its_application_3009() {
    let mut history = opened(false);
    apply_for(&mut history, "P-1", "2025-03-03");
    assert_eq!(flags(&mut history, "case_decide", "P-1-dec", decision("P-1", "2025-03-02", true)), [3009]);
    let mut strict = opened(true);
    apply_for(&mut strict, "P-1", "2025-03-03");
    strict.expect(3009, "archive/1", "case_decide", "P-1-dec", decision("P-1", "2025-03-02", true));
    let filled = defaulted(decision("P-1", "2025-03-02", true));
    assert_eq!(flags(&mut strict, "case_decide", "P-1-dec2", filled), [3707]);
}

#[test]
fn cancelled_permits_are_withdrawn_or_their_licence_is_changed() {
    let mut stage = opened(false);
    let subject = |permit: &str| ("subject", to(&format!("archive/{permit}")));
    apply_for(&mut stage, "P-1", "2025-03-03");
    let withdrawn = vec![subject("P-1"), ("reason", text("cancelled"))];
    stage.apply("archive/1", "case_withdraw", "P-1-end", imported("2025-03-10", withdrawn));
    let change = |permit| vec![subject(permit), ("status", text("cancelled")), ("reason", text("cancelled"))];
    stage.expect(3002, "archive/1", "licence_change", "P-1-chg", imported("2025-03-10", change("P-1")));
    apply_for(&mut stage, "P-2", "2025-03-03");
    stage.apply("archive/1", "case_decide", "P-2-dec", decision("P-2", "2025-03-04", true));
    stage.apply("archive/1", "licence_issue", "P-2-lic", licence("P-2", "2025-03-04", "BP-2"));
    stage.apply("archive/1", "licence_change", "P-2-chg", imported("2025-03-10", change("P-2")));
    match stage.object("archive/P-2-lic") {
        Some(Object::Licence(licence)) => assert_eq!(licence.state, LicenceState::Cancelled),
        other => panic!("no licence but {other:?}"),
    }
}

#[test]
fn an_imported_licence_entitles_to_nothing_live_3012() {
    let mut stage = opened(false);
    apply_for(&mut stage, "P-1", "2025-03-03");
    stage.apply("archive/1", "case_decide", "P-1-dec", decision("P-1", "2025-03-04", true));
    stage.apply("archive/1", "licence_issue", "P-1-lic", licence("P-1", "2025-03-04", "BP-1"));
    let matter =
        vec![("legal_basis", text("规划条例")), ("clock_days", Value::Uint(20)), ("decider_role", text("decider"))];
    stage.apply("civil/head", "matter_define", "M", matter);
    let cited = vec![
        ("matter", to("civil/M")),
        ("applicant", Value::bytes(&[1; 16])),
        ("licences", Value::Array(vec![to("archive/P-1-lic")])),
        ("form", hash(1)),
    ];
    stage.expect(3012, "town/1", "case_submit", "C", cited);
}
