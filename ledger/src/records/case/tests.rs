//! Cases by story and by violation: each rule of the 3300s, and what a rejection leaves unchanged.

use super::{Case, CaseState, Licence, LicenceState};
use crate::codec::Value;
use crate::records::object::Object;
use crate::records::testing::{Stage, hash, text, to};
use crate::state::key;

const APPLICANT: [u8; 16] = [0xaa; 16];

type Fields = Vec<(&'static str, Value)>;

fn matter_fields(clock_days: u64) -> Fields {
    vec![
        ("legal_basis", text("行政许可法第三十八条")),
        ("clock_days", Value::Uint(clock_days)),
        ("documents", Value::Array(vec![text("site-plan")])),
        ("decider_role", text("decider")),
    ]
}

fn submit_fields(matter: &str) -> Fields {
    vec![("matter", to(matter)), ("applicant", Value::bytes(&APPLICANT)), ("form", hash(1))]
}

fn about(case: &str) -> Fields {
    vec![("subject", to(case))]
}

fn with(case: &str, more: Fields) -> Fields {
    about(case).into_iter().chain(more).collect()
}

fn opinion(case: &str) -> Fields {
    with(case, vec![("opinion", text("approve")), ("report", hash(2))])
}

fn decision(case: &str, granted: bool) -> Fields {
    with(case, vec![("granted", Value::Bool(granted)), ("decision", hash(3))])
}

fn licence(case: &str, number: &str) -> Fields {
    with(case, vec![("licence_no", text(number)), ("licence", hash(4))])
}

/// A network with a matter `civil/M` of so many days and a case `town/C` that was submitted.
fn submitted(clock_days: u64) -> Stage {
    let mut stage = Stage::found();
    stage.apply("civil/head", "matter_define", "M", matter_fields(clock_days));
    stage.apply("town/1", "case_submit", "C", submit_fields("civil/M"));
    stage
}

fn accepted(clock_days: u64) -> Stage {
    let mut stage = submitted(clock_days);
    stage.apply("civil/reviewer", "case_accept", "accept", about("town/C"));
    stage
}

fn reviewed(clock_days: u64) -> Stage {
    let mut stage = accepted(clock_days);
    stage.apply("civil/reviewer", "case_opinion", "opinion", opinion("town/C"));
    stage
}

fn issued() -> Stage {
    let mut stage = reviewed(20);
    stage.apply("civil/decider", "case_decide", "decide", decision("town/C", true));
    stage.apply("civil/decider", "licence_issue", "L", licence("town/C", "LIC-1"));
    stage
}

fn case(stage: &Stage) -> Case {
    match stage.object("town/C") {
        Some(Object::Case(case)) => case,
        other => panic!("no case but {other:?}"),
    }
}

fn licence_of(stage: &Stage, name: &str) -> Licence {
    match stage.object(name) {
        Some(Object::Licence(licence)) => licence,
        other => panic!("no licence but {other:?}"),
    }
}

#[test]
fn a_permit_from_filing_to_the_end_of_its_licence() {
    let mut stage = submitted(20);
    assert_eq!(case(&stage).state, CaseState::Submitted);
    stage.apply("civil/reviewer", "case_return", "return", with("town/C", vec![("items", hash(5))]));
    stage.apply("town/1", "case_supply", "supply", with("town/C", vec![("form", hash(6))]));
    stage.apply("civil/reviewer", "case_accept", "accept", about("town/C"));
    assert_eq!(case(&stage).deadline.map(|day| day.to_string()).as_deref(), Some("2026-06-29"));
    stage.apply("civil/reviewer", "case_opinion", "opinion", opinion("town/C"));
    stage.apply("civil/reviewer", "case_pause", "pause", with("town/C", vec![("ground", text("expert-review"))]));
    stage.pass_days(7);
    stage.apply("civil/reviewer", "case_resume", "resume", with("town/C", vec![("ground", text("expert-review"))]));
    assert_eq!(case(&stage).deadline.map(|day| day.to_string()).as_deref(), Some("2026-07-06"));
    let extension = with("town/C", vec![("days", Value::Uint(10)), ("reason", text("大型项目"))]);
    stage.apply("civil/head", "case_extend", "extend", extension);
    assert_eq!(case(&stage).deadline.map(|day| day.to_string()).as_deref(), Some("2026-07-20"));
    let decided = stage.apply("civil/decider", "case_decide", "decide", decision("town/C", true));
    assert!(decided.flags.is_empty());
    stage.apply("civil/decider", "licence_issue", "L", licence("town/C", "LIC-1"));
    assert_eq!(case(&stage).state, CaseState::Issued);
    assert_eq!(licence_of(&stage, "civil/L").state, LicenceState::Issued);
    for (id, status) in [("change-1", "valid"), ("change-2", "suspended"), ("change-3", "cancelled")] {
        let fields = with("town/C", vec![("status", text(status)), ("reason", text("申请人要求"))]);
        stage.apply("civil/head", "licence_change", id, fields);
        assert_eq!(licence_of(&stage, "civil/L").state.name(), status);
    }
    assert_eq!(stage.trail_length(&key::record("town", &key::parse_id("C").expect("an id"))), 13);
}

#[test]
fn a_case_is_refused_with_a_reason_or_declined_or_withdrawn() {
    let mut stage = accepted(20);
    let mut refusal = decision("town/C", false);
    refusal.push(("reason", text("不符合规划")));
    stage.apply("civil/decider", "case_decide", "decide", refusal);
    assert_eq!(case(&stage).state, CaseState::Refused);

    let mut stage = submitted(20);
    stage.apply("civil/head", "case_not_accept", "no", with("town/C", vec![("reason", text("不属于本机关职权"))]));
    assert_eq!(case(&stage).state, CaseState::Closed);

    let mut stage = reviewed(20);
    stage.apply("town/1", "case_withdraw", "back", with("town/C", vec![("reason", text("不再建设"))]));
    assert_eq!(case(&stage).state, CaseState::Withdrawn);
}

#[test]
fn no_earlier_date_of_a_pause_cures_lateness_or_of_a_notice_shortens_the_time_to_answer() {
    let mut stage = reviewed(1);
    stage.pass_days(21);
    let dated = |more| with("town/C", vec![("effective_date", text("2026-06-01")), more]);
    stage.apply("civil/reviewer", "case_pause", "pause", dated(("ground", text("expert-review"))));
    stage.apply("civil/reviewer", "case_resume", "resume", with("town/C", vec![("ground", text("expert-review"))]));
    let decided = stage.apply("civil/decider", "case_decide", "decide", decision("town/C", true));
    assert_eq!(decided.flags, [3307]);

    let mut stage = submitted(20);
    stage.pass_days(21);
    stage.apply("civil/reviewer", "case_return", "return", dated(("items", hash(5))));
    let fields = with("town/C", vec![("reason", text("逾期未补正"))]);
    stage.pass_days(21);
    stage.expect(3011, "civil/reviewer", "case_not_accept", "early", fields);
}

#[test]
fn a_notice_not_answered_in_time_closes_the_case() {
    let mut stage = submitted(20);
    stage.apply("civil/reviewer", "case_return", "return", with("town/C", vec![("items", hash(5))]));
    let fields = || with("town/C", vec![("reason", text("逾期未补正"))]);
    stage.expect(3011, "civil/reviewer", "case_not_accept", "early", fields());
    stage.pass_days(43);
    stage.apply("civil/reviewer", "case_not_accept", "late", fields());
    assert_eq!(case(&stage).state, CaseState::Closed);
}

#[test]
fn only_the_matters_agency_handles_and_only_the_filer_supplies_3003() {
    let mut stage = submitted(20);
    stage.expect(3003, "town/1", "case_accept", "accept", about("town/C"));
    stage.expect(3003, "civil/window", "case_withdraw", "back", with("town/C", vec![("reason", text("误操作"))]));
    stage.apply("civil/reviewer", "case_accept", "accept-2", about("town/C"));
    stage.expect(3003, "civil/reviewer", "case_decide", "decide", decision("town/C", true));
    stage.expect(3003, "civil/decider", "case_opinion", "opinion", opinion("town/C"));
}

#[test]
fn references_of_the_wrong_kind_3002() {
    let mut stage = submitted(20);
    stage.expect(3002, "town/1", "case_submit", "C-2", submit_fields("town/C"));
    stage.expect(3002, "civil/reviewer", "case_accept", "accept", about("civil/M"));
    stage.expect(3002, "civil/reviewer", "case_accept", "accept-2", about("town/nothing"));
}

#[test]
fn a_second_correction_notice_3301() {
    let mut stage = submitted(20);
    stage.apply("civil/reviewer", "case_return", "return", with("town/C", vec![("items", hash(5))]));
    stage.apply("town/1", "case_supply", "supply", with("town/C", vec![("form", hash(6))]));
    stage.expect(3301, "civil/reviewer", "case_return", "again", with("town/C", vec![("items", hash(7))]));
}

#[test]
fn an_extension_once_before_the_deadline_and_within_the_matters_days_3302() {
    let extension = |days| with("town/C", vec![("days", Value::Uint(days)), ("reason", text("大型项目"))]);
    let mut stage = accepted(5);
    stage.expect(3302, "civil/head", "case_extend", "none", extension(0));
    stage.expect(3302, "civil/head", "case_extend", "long", extension(6));
    stage.expect(3003, "civil/decider", "case_extend", "other", extension(5));
    stage.apply("civil/head", "case_extend", "first", extension(5));
    stage.expect(3302, "civil/head", "case_extend", "second", extension(1));

    let mut stage = accepted(5);
    stage.pass_days(7);
    let mut stage_after = accepted(5);
    stage_after.pass_days(8);
    assert_eq!(case(&stage).deadline.map(|day| day.to_string()).as_deref(), Some("2026-06-08"));
    stage.apply("civil/head", "case_extend", "on-the-day", extension(5));
    stage_after.expect(3302, "civil/head", "case_extend", "day-after", extension(5));
    let mut backdated = extension(5);
    backdated.push(("effective_date", text("2026-06-08")));
    stage_after.expect(3302, "civil/head", "case_extend", "backdated", backdated);
}

#[test]
fn a_reviewer_decides_3303() {
    let mut stage = submitted(20);
    let mut fields = matter_fields(20);
    fields.retain(|(name, _)| *name != "decider_role");
    fields.push(("decider_role", text("reviewer")));
    stage.apply("civil/head", "matter_define", "M-2", fields);
    stage.apply("town/1", "case_submit", "C-2", submit_fields("civil/M-2"));
    stage.apply("civil/reviewer", "case_accept", "accept", about("town/C-2"));
    stage.apply("civil/reviewer", "case_opinion", "opinion", opinion("town/C-2"));
    stage.expect(3303, "civil/reviewer", "case_decide", "decide", decision("town/C-2", true));
}

#[test]
fn a_refusal_without_reason_3304() {
    let mut stage = reviewed(20);
    stage.expect(3304, "civil/decider", "case_decide", "none", decision("town/C", false));
    let mut blank = decision("town/C", false);
    blank.push(("reason", text("  ")));
    stage.expect(3304, "civil/decider", "case_decide", "blank", blank);
}

#[test]
fn a_licence_without_decision_or_with_a_number_reused_3305() {
    let mut stage = reviewed(20);
    stage.expect(3305, "civil/decider", "licence_issue", "L", licence("town/C", "LIC-1"));
    let mut stage = issued();
    stage.expect(3011, "civil/decider", "licence_issue", "L-2", licence("town/C", "LIC-2"));
    stage.apply("town/1", "case_submit", "C-2", submit_fields("civil/M"));
    stage.apply("civil/reviewer", "case_accept", "accept-2", about("town/C-2"));
    stage.apply("civil/decider", "case_decide", "decide-2", decision("town/C-2", true));
    stage.expect(3305, "civil/decider", "licence_issue", "L-3", licence("town/C-2", "LIC-1"));
    stage.apply("civil/decider", "licence_issue", "L-4", licence("town/C-2", "LIC-2"));
}

fn change(status: &str) -> Fields {
    with("town/C", vec![("status", text(status)), ("reason", text("检查不合格"))])
}

#[test]
fn prerequisites_must_be_cited_valid_and_the_applicants_own_3306() {
    let mut stage = issued();
    let mut fields = matter_fields(20);
    fields.push(("prerequisites", Value::Array(vec![to("civil/M")])));
    stage.apply("civil/head", "matter_define", "M-2", fields);
    let cite = |applicant: [u8; 16]| {
        vec![
            ("matter", to("civil/M-2")),
            ("applicant", Value::bytes(&applicant)),
            ("licences", Value::Array(vec![to("civil/L")])),
            ("form", hash(1)),
        ]
    };
    stage.expect(3306, "town/1", "case_submit", "none", submit_fields("civil/M-2"));
    stage.expect(3306, "town/1", "case_submit", "others", cite([0xbb; 16]));
    stage.apply("town/1", "case_submit", "C-2", cite(APPLICANT));
    stage.apply("civil/reviewer", "case_accept", "accept-2", about("town/C-2"));
    stage.apply("civil/head", "licence_change", "suspend", change("suspended"));
    stage.expect(3306, "town/1", "case_submit", "C-3", cite(APPLICANT));
    stage.expect(3306, "civil/decider", "case_decide", "decide-2", decision("town/C-2", true));
    stage.apply("civil/head", "licence_change", "restore", change("valid"));
    stage.apply("civil/decider", "case_decide", "decide-3", decision("town/C-2", true));
}

#[test]
fn a_decision_a_day_late_is_flagged_3307() {
    let mut stage = reviewed(5);
    stage.pass_days(7);
    let mut late = reviewed(5);
    late.pass_days(8);
    assert!(stage.apply("civil/decider", "case_decide", "decide", decision("town/C", true)).flags.is_empty());
    let decided = late.apply("civil/decider", "case_decide", "decide", decision("town/C", true));
    assert_eq!(decided.flags, [3307]);
    assert!(case(&late).decision.is_some_and(|decision| decision.late));
    assert!(late.get::<crate::state::execute::Finding>(&key::finding("town.C", decided.index, 3307)).is_some());
}

#[test]
fn a_case_is_overdue_from_the_day_after_its_deadline_3901() {
    let day = |text| crate::records::calendar::Day::parse(text).expect("a day");
    let mut stage = reviewed(5);
    assert!(!case(&stage).is_overdue(day("2026-06-08")));
    assert!(case(&stage).is_overdue(day("2026-06-09")));
    stage.apply("civil/reviewer", "case_pause", "pause", with("town/C", vec![("ground", text("hearing"))]));
    assert!(!case(&stage).is_overdue(day("2026-06-09")), "a pause stops the clock");
}

#[test]
fn an_earlier_date_does_not_cure_lateness() {
    let mut stage = reviewed(5);
    stage.pass_days(8);
    let mut fields = decision("town/C", true);
    fields.push(("effective_date", text("2026-06-08")));
    assert_eq!(stage.apply("civil/decider", "case_decide", "decide", fields).flags, [3307]);
}

#[test]
fn steps_out_of_order_3011_and_3009() {
    let mut stage = submitted(20);
    stage.expect(3011, "civil/decider", "case_decide", "unaccepted", decision("town/C", true));
    stage.expect(3011, "town/1", "case_supply", "unasked", with("town/C", vec![("form", hash(6))]));
    let mut stage = reviewed(20);
    stage.apply("civil/reviewer", "case_pause", "pause", with("town/C", vec![("ground", text("hearing"))]));
    stage.expect(3011, "civil/decider", "case_decide", "paused", decision("town/C", true));
    let mut early = with("town/C", vec![("ground", text("hearing"))]);
    early.push(("effective_date", text("2026-05-31")));
    stage.expect(3009, "civil/reviewer", "case_resume", "early", early);
}

#[test]
fn revoking_takes_two_heads_and_ends_the_licence() {
    let mut stage = issued();
    stage.apply("civil/head", "licence_change", "revoke", change("revoked"));
    assert_eq!(licence_of(&stage, "civil/L").state, LicenceState::Issued);
    assert_eq!(stage.approve("civil/head", "civil/revoke").outcome, 3004);
    stage.apply("civil/head", "licence_change", "revoke-2", change("revoked"));
    assert_eq!(stage.approve("civil/head2", "civil/revoke-2").outcome, 0);
    assert_eq!(licence_of(&stage, "civil/L").state, LicenceState::Revoked);
    stage.expect(3011, "civil/head", "licence_change", "restore", change("valid"));
}

#[test]
fn mz_3009_a_licence_is_not_issued_or_prolonged_into_the_past() {
    let mut stage = reviewed(20);
    stage.apply("civil/decider", "case_decide", "decide", decision("town/C", true));
    let until = |day: &str| ("valid_until", text(day));
    let with_end = |day: &str| licence("town/C", "LIC-1").into_iter().chain([until(day)]).collect::<Fields>();
    stage.expect(3009, "civil/decider", "licence_issue", "L-1", with_end("2020-01-01"));
    stage.expect(3009, "civil/decider", "licence_issue", "L-2", with_end("2026-05-31"));
    stage.apply("civil/decider", "licence_issue", "L", with_end("2026-06-01"));
    let change =
        |status: &str| with("town/C", vec![("status", text(status)), ("reason", text("x")), until("2020-01-01")]);
    stage.expect(3009, "civil/head", "licence_change", "change-1", change("valid"));
    // An end of its own is a prolongation's: another status with an earlier one would end the licence by one head.
    for status in ["suspended", "cancelled", "expired"] {
        let refusal = stage.offer("civil/head", "licence_change", "change-2", change(status)).expect_err(status);
        assert_eq!(refusal.code.0, 1004);
        assert_eq!(refusal.detail, "valid_until: only with status valid");
    }
}

#[test]
fn mz_3306_an_earlier_date_revives_no_expired_licence() {
    let mut stage = reviewed(20);
    stage.apply("civil/decider", "case_decide", "decide", decision("town/C", true));
    let ending = licence("town/C", "LIC-1").into_iter().chain([("valid_until", text("2026-06-10"))]);
    stage.apply("civil/decider", "licence_issue", "L", ending.collect());
    let mut fields = matter_fields(20);
    fields.push(("prerequisites", Value::Array(vec![to("civil/M")])));
    stage.apply("civil/head", "matter_define", "M-2", fields);
    let mut cite = submit_fields("civil/M-2");
    cite.push(("licences", Value::Array(vec![to("civil/L")])));
    stage.pass_days(10);
    stage.expect(3306, "town/1", "case_submit", "C-2", cite.clone());
    cite.push(("effective_date", text("2026-06-09")));
    stage.expect(3306, "town/1", "case_submit", "C-3", cite);
}

#[test]
fn mz_3011_says_where_the_case_stands() {
    let mut stage = issued();
    let again = stage.submit("civil/decider", "case_decide", "again", decision("town/C", true));
    assert_eq!(again.outcome, 3011);
    assert_eq!(again.detail, "case town/C is issued; case_decide does not follow from there");
}
