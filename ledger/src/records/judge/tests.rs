//! The frame's rules over records that move money: references, scope and limit of roles, whose trails are joined.

use crate::codec::Value;
use crate::records::fund::tests::{
    FINANCE, OWNER, account_fields, allotment, appropriation, confirmation, funded, grant_fields, open_programme,
    opened, payment, programme_fields, uint,
};
use crate::records::testing::{Stage, hash, person, text, to};
use crate::state::key;

/// Takes the role from an officer and grants it anew, with a scope or limit.
fn narrow_role(stage: &mut Stage, officer: &str, role: &str, bound: (&'static str, Value)) {
    let named = || ("officer", Value::bytes(&person(officer)));
    let (agency, _) = officer.split_once('/').expect("agency/label");
    let (first, second) = (format!("{agency}/admin1"), format!("{agency}/admin2"));
    let id = officer.replace('/', "-");
    let taken = vec![named(), ("role", text(role))];
    stage.apply_with([&first, &second], "role_revoke", &format!("V-{id}"), taken);
    let days = [("valid_from", text("2026-06-01")), ("valid_until", text("2026-12-31"))];
    let mut fields = vec![named(), ("role", text(role)), bound];
    fields.extend(days);
    stage.apply_with([&first, &second], "role_grant", &format!("G-{id}"), fields);
}

fn narrow(stage: &mut Stage, officer: &str, bound: (&'static str, Value)) {
    narrow_role(stage, officer, "finance", bound);
}

#[test]
fn a_role_covers_amounts_up_to_its_limit() {
    let mut stage = opened();
    narrow(&mut stage, "finance/3", ("max_minor", Value::Uint(1_000)));
    stage.expect(3003, "finance/3", "appropriate", "AP-1", appropriation(1_001));
    stage.apply("finance/3", "appropriate", "AP-2", appropriation(1_000));
    stage.apply("finance/1", "appropriate", "AP-3", appropriation(1_001));
    let fields = stage.digest_of("finance/AP-3");
    stage.expect(3003, "finance/3", "approve", "A-1", fields);
    assert_eq!(stage.approve("finance/2", "finance/AP-3").outcome, 0);
}

#[test]
fn a_limit_binds_who_confirms_for_the_bank() {
    let mut stage = funded();
    narrow_role(&mut stage, "bank/1", "agent_bank", ("max_minor", Value::Uint(599)));
    narrow_role(&mut stage, "bank/2", "agent_bank", ("max_minor", Value::Uint(600)));
    stage.apply("civil/1", "payment_request", "PAY", payment("G", 1, 600));
    assert_eq!(stage.approve("finance/1", "civil/PAY").outcome, 0);
    stage.expect(3003, "bank/1", "payment_confirm", "PC-1", confirmation("civil/PAY", "B-1"));
    stage.apply("bank/2", "payment_confirm", "PC-2", confirmation("civil/PAY", "B-1"));
}

#[test]
fn a_limit_binds_who_closes_a_year_and_who_approves_it() {
    let mut stage = opened();
    stage.apply_with(FINANCE, "appropriate", "AP", appropriation(1_000));
    narrow(&mut stage, "finance/3", ("max_minor", Value::Uint(999)));
    let close = || vec![("programme", to("civil/P")), ("year", uint(2026)), ("carry_minor", uint(1))];
    stage.expect(3003, "finance/3", "year_close", "YC-1", close());
    stage.apply("finance/1", "year_close", "YC-2", close());
    let fields = stage.digest_of("finance/YC-2");
    stage.expect(3003, "finance/3", "approve", "A-1", fields);
    assert_eq!(stage.approve("finance/2", "finance/YC-2").outcome, 0);
}

#[test]
fn a_role_covers_only_its_scope() {
    let mut stage = opened();
    open_programme(&mut stage, "Q", "CNY");
    narrow(&mut stage, "finance/2", ("scope", to("civil/Q")));
    narrow(&mut stage, "finance/3", ("scope", to("civil/P")));
    stage.expect(3003, "finance/2", "appropriate", "AP-1", appropriation(10));
    stage.apply("finance/3", "appropriate", "AP-2", appropriation(10));
    let fields = stage.digest_of("finance/AP-2");
    stage.expect(3003, "finance/2", "approve", "A-1", fields);
}

#[test]
fn mz_3003_a_scope_does_not_reach_what_excludes_its_programme() {
    let mut stage = opened();
    let exclusive = Value::Array(vec![to("civil/P")]);
    narrow_role(&mut stage, "civil/2", "programme_owner", ("scope", to("civil/P")));
    narrow(&mut stage, "finance/3", ("scope", to("civil/P")));
    let mut fields = programme_fields("CNY");
    fields.push(("exclusive_with", exclusive));
    stage.expect(3003, "civil/2", "programme_open", "Q-0", fields.clone());
    stage.apply("civil/1", "programme_open", "Q", fields);
    let approval = stage.digest_of("civil/Q");
    stage.expect(3003, "finance/3", "approve", "A-1", approval);
    assert_eq!(stage.approve("finance/1", "civil/Q").outcome, 0);
    stage.apply("finance/1", "account_open", "Q-SOU", account_fields("Q", "SOURCE"));
    let approval = stage.digest_of("finance/Q-SOU");
    stage.expect(3003, "finance/3", "approve", "A-2", approval);
    let mut declared = account_fields("Q", "APPROPRIATION");
    declared.push(("subject", to("civil/P")));
    stage.expect(3003, "finance/3", "account_open", "Q-APP", declared);
    stage.apply("finance/3", "appropriate", "AP", appropriation(10));
}

#[test]
fn mz_3003_a_scope_of_one_programme_registers_no_payee_for_others() {
    let mut stage = opened();
    narrow_role(&mut stage, "civil/2", "programme_owner", ("scope", to("civil/P")));
    narrow_role(&mut stage, "bank/2", "agent_bank", ("scope", to("civil/P")));
    let payee = || {
        let account = ("account_commitment", hash(7));
        let (recipient, scope) = (("recipient", Value::bytes(&[1; 16])), ("scope", text("scope")));
        vec![recipient, scope, account, ("programme", to("civil/P"))]
    };
    stage.expect(3003, "civil/2", "payee_register", "R-1", payee());
    stage.apply("civil/1", "payee_register", "R-2", payee());
    let approval = stage.digest_of("civil/R-2");
    stage.expect(3003, "bank/2", "approve", "A-1", approval);
    assert_eq!(stage.approve("bank/1", "civil/R-2").outcome, 0);
}

fn lent(to_officer: &str, role: &str, scope: Option<&str>) -> Vec<(&'static str, Value)> {
    let days = [("valid_from", text("2026-06-01")), ("valid_until", text("2026-06-30"))];
    let mut fields = vec![("to_officer", Value::bytes(&person(to_officer))), ("role", text(role))];
    fields.extend(scope.map(|scope| ("scope", to(scope))));
    fields.into_iter().chain(days).collect()
}

fn on_behalf(delegation: &str, mut fields: Vec<(&'static str, Value)>) -> Vec<(&'static str, Value)> {
    fields.push(("on_behalf_of", to(delegation)));
    fields
}

#[test]
fn a_delegation_lends_no_more_than_its_giver_has() {
    let mut stage = opened();
    open_programme(&mut stage, "Q", "CNY");
    narrow(&mut stage, "finance/2", ("max_minor", Value::Uint(100)));
    let days = [("valid_from", text("2026-06-01")), ("valid_until", text("2026-12-31"))];
    let wide =
        vec![("officer", Value::bytes(&person("finance/2"))), ("role", text("finance")), ("scope", to("civil/Q"))];
    let admins = ["finance/admin1", "finance/admin2"];
    stage.apply_with(admins, "role_grant", "G-wide", wide.into_iter().chain(days).collect());
    stage.expect(3003, "finance/2", "appropriate", "AP-1", appropriation(101));
    stage.apply("finance/2", "delegation", "L-P", lent("finance/3", "finance", Some("civil/P")));
    stage.expect(3003, "finance/3", "appropriate", "AP-2", on_behalf("finance/L-P", appropriation(101)));
    stage.apply("finance/3", "appropriate", "AP-3", on_behalf("finance/L-P", appropriation(100)));
    stage.apply("finance/2", "delegation", "L-Q", lent("finance/3", "finance", Some("civil/Q")));
    stage.expect(3003, "finance/3", "appropriate", "AP-4", on_behalf("finance/L-Q", appropriation(1)));
}

#[test]
fn who_borrows_a_role_is_still_kept_out_by_its_own() {
    let mut stage = Stage::found();
    let role = |officer: &str| {
        let days = [("valid_from", text("2026-06-01")), ("valid_until", text("2026-12-31"))];
        let fields = vec![("officer", Value::bytes(&person(officer))), ("role", text("admin"))];
        fields.into_iter().chain(days).collect::<Vec<_>>()
    };
    stage.apply("audit/admin1", "delegation", "L", lent("audit/1", "admin", None));
    stage.expect(3702, "audit/1", "role_grant", "G", on_behalf("audit/L", role("audit/1")));
    stage.apply("archive/admin1", "delegation", "L", lent("archive/1", "admin", None));
    stage.expect(3012, "archive/1", "role_grant", "G", on_behalf("archive/L", role("archive/plain")));
}

#[test]
fn references_exist_are_of_the_right_kind_and_in_effect() {
    let mut stage = opened();
    let with = |from: &str| {
        let mut fields = allotment(10);
        fields[1].1 = to(from);
        fields
    };
    stage.expect(3002, "finance/1", "allot", "AL-1", with("finance/none"));
    stage.expect(3002, "finance/1", "allot", "AL-2", with("civil/P"));
    let mut later = account_fields("P", "ALLOTMENT");
    later.retain(|(name, _)| *name != "agency");
    later.push(("agency", text("town")));
    stage.apply("finance/1", "account_open", "LATER", later);
    stage.expect(3002, "finance/1", "allot", "AL-3", with("finance/LATER"));
    let waits = stage.submit("finance/1", "allot", "AL-7", with("finance/LATER"));
    let wanted = "from: finance/LATER waits for approval by finance (finance)".to_owned();
    assert_eq!((waits.outcome, waits.detail), (3002, wanted));
    let kind = stage.submit("finance/1", "allot", "AL-4", with("civil/P"));
    assert_eq!(kind.detail, "from: civil/P is of type programme_open, which does not fit here");
    let rejected = stage.submit("finance/1", "allot", "AL-5", with("finance/AL-1"));
    assert_eq!(rejected.detail, "from: finance/AL-1 was rejected (MZ-3002) and stands for nothing");
    let fields = stage.digest_of("finance/LATER").into_iter().chain([("reason", text("no"))]).collect();
    stage.apply("finance/2", "reject", "RJ", fields);
    let ended = stage.submit("finance/1", "allot", "AL-6", with("finance/LATER"));
    assert_eq!(ended.detail, "from: finance/LATER ended without taking effect");
    let mut nobody = programme_fields("CNY");
    nobody.retain(|(name, _)| *name != "bank");
    nobody.push(("bank", text("nobody")));
    stage.expect(3002, "civil/1", "programme_open", "R", nobody);
}

#[test]
fn a_declared_subject_is_what_the_record_refers_to() {
    let mut stage = opened();
    open_programme(&mut stage, "Q", "CNY");
    let mut fields = appropriation(10);
    fields.push(("subject", to("civil/Q")));
    stage.expect(3002, "finance/1", "appropriate", "AP-1", fields.clone());
    fields[4].1 = to("civil/P");
    stage.apply("finance/1", "appropriate", "AP-2", fields);
}

#[test]
fn an_attempt_joins_the_trails_of_programme_accounts_and_recipient() {
    let mut stage = opened();
    stage.apply_with(OWNER, "award_grant", "G", grant_fields(1, 5_000));
    let mut commitment = account_fields("P", "COMMITMENT");
    commitment.push(("award", to("civil/G")));
    stage.apply_with(["finance/1", "finance/2"], "account_open", "C-G", commitment);
    let trails = |stage: &Stage| {
        ["civil/P", "finance/C-G"]
            .map(|name| crate::records::testing::reference(name).key())
            .into_iter()
            .chain([key::recipient("scope", &[1; 16])])
            .map(|key| stage.trail_length(&key))
            .collect::<Vec<_>>()
    };
    let before = trails(&stage);
    stage.expect(3201, "civil/1", "payment_request", "PAY", payment("G", 1, 10));
    let longer: Vec<_> = before.iter().map(|length| length + 1).collect();
    assert_eq!(trails(&stage), longer);
}

#[test]
fn evidence_and_unknown_programmes_do_not_hide_an_attempt() {
    let mut stage = opened();
    let before = stage.trail_length(&crate::records::testing::reference("finance/P-APP").key());
    let mut fields = allotment(10);
    fields[2].1 = to("finance/none");
    let evidence = Value::text_map([("hash", hash(1)), ("kind", text("scan"))]);
    fields.push(("evidence", Value::Array(vec![evidence])));
    stage.expect(3002, "finance/1", "allot", "AL-1", fields);
    assert_eq!(stage.trail_length(&crate::records::testing::reference("finance/P-APP").key()), before + 1);
}
