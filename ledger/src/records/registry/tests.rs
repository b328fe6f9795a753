//! Each rule of the registry and of approvals, by its violation.

use crate::certificate::{KeyRole, possess_bytes};
use crate::codec::Value;
use crate::crypto::SigningKey;
use crate::records::fund::tests::{programme_fields, with};
use crate::records::registry::{Grant, Officer, OfficerKey, Recipient};
use crate::records::role::Role;
use crate::records::testing::{Stage, hash, person, signing_key, text, to};
use crate::state::key;

fn key_fields(stage: &Stage, agency: &str, officer: &str, key: &SigningKey) -> Vec<(&'static str, Value)> {
    let possession = key.sign(&possess_bytes(&stage.network.chain, agency, KeyRole::Officer, &key.public()));
    vec![
        ("officer", Value::bytes(&person(officer))),
        ("key", Value::bytes(&key.public().0)),
        ("possession", Value::bytes(&possession.0)),
    ]
}

fn grant_fields(officer: &str, role: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("officer", Value::bytes(&person(officer))),
        ("role", text(role)),
        ("valid_from", text("2026-06-01")),
        ("valid_until", text("2026-12-31")),
    ]
}

fn anchor() -> Vec<(&'static str, Value)> {
    vec![("root", hash(1)), ("kind", text("minutes"))]
}

fn key_of(stage: &Stage, officer: &str) -> OfficerKey {
    stage.get(&key::officer_key(&signing_key(officer).public().key_id())).expect("a registered key")
}

fn grants_of(stage: &Stage, agency: &str, officer: &str) -> Vec<Grant> {
    stage.get::<Officer>(&key::officer(agency, &person(officer))).map(|officer| officer.grants).unwrap_or_default()
}

#[test]
fn two_admins_register_an_officer_who_may_then_sign() {
    let mut stage = Stage::found();
    let key = signing_key("civil/new");
    stage.add_key("civil/new", key.clone());
    assert_eq!(stage.offer("civil/new", "document_anchor", "D-0", anchor()).expect_err("unknown key").code.0, 1007);
    let fields = key_fields(&stage, "civil", "civil/new", &key);
    stage.apply("civil/admin1", "officer_register", "O-1", fields);
    assert_eq!(stage.offer("civil/new", "document_anchor", "D-1", anchor()).expect_err("still waits").code.0, 1007);
    let officers = key::registry("officers/civil");
    let before = stage.trail_length(&officers);
    assert_eq!(stage.approve("civil/admin2", "civil/O-1").outcome, 0);
    assert_eq!(stage.trail_length(&officers), before + 1);
    assert_eq!(stage.trail_length(&key::officer_key(&key.public().key_id())), 1);
    stage.apply("civil/new", "document_anchor", "D-2", anchor());
}

#[test]
fn a_key_is_registered_once_and_only_with_proof_of_possession() {
    let mut stage = Stage::found();
    let known = signing_key("civil/1");
    let fields = key_fields(&stage, "civil", "civil/2", &known);
    stage.expect(3001, "civil/admin1", "officer_register", "O-1", fields);
    let fields = key_fields(&stage, "finance", "civil/2", &signing_key("civil/new"));
    let refusal = stage.offer("civil/admin1", "officer_register", "O-2", fields).expect_err("for another agency");
    assert_eq!(refusal.code.0, 1006);
    let mut fields = key_fields(&stage, "civil", "civil/2", &signing_key("civil/new"));
    fields[1].1 = Value::bytes(&[0; 32]);
    let refusal = stage.offer("civil/admin1", "officer_register", "O-3", fields).expect_err("small order");
    assert_eq!(refusal.code.0, 1004);
}

#[test]
fn one_admin_twice_is_not_two_admins() {
    let mut stage = Stage::found();
    stage.apply("civil/admin1", "role_grant", "G-1", grant_fields("civil/plain", "buyer"));
    let fields = stage.digest_of("civil/G-1");
    stage.expect(3013, "civil/admin1", "approve", "A-1", fields);
    assert!(grants_of(&stage, "civil", "civil/plain").is_empty());
}

#[test]
fn a_second_key_of_the_same_person_is_not_a_second_person() {
    let mut stage = Stage::found();
    let key = signing_key("civil/admin1 second");
    let fields = key_fields(&stage, "civil", "civil/admin1", &key);
    stage.apply_with(["civil/admin1", "civil/admin2"], "officer_register", "O-1", fields);
    stage.add_key("civil/admin1b", key);
    stage.apply("civil/admin1", "role_grant", "G-1", grant_fields("civil/plain", "buyer"));
    let fields = stage.digest_of("civil/G-1");
    stage.expect(3013, "civil/admin1b", "approve", "A-1", fields);
}

#[test]
fn only_the_named_agency_and_role_approve() {
    let mut stage = with_scope(&["civil"]);
    stage.apply("civil/1", "payee_register", "R-1", payee());
    let fields = stage.digest_of("civil/R-1");
    stage.expect(3004, "civil/1", "approve", "A-1", fields.clone());
    stage.expect(3004, "civil/2", "approve", "A-2", fields.clone());
    stage.expect(3004, "finance/1", "approve", "A-3", fields.clone());
    stage.expect(3003, "bank/admin1", "approve", "A-6", fields.clone());
    stage.apply("bank/1", "approve", "A-4", fields.clone());
    let recipient: Recipient = stage.get(&key::recipient("POV-2026", &[9; 16])).expect("registered");
    assert_eq!(recipient.account_commitment, [3; 32]);
    assert_eq!(stage.trail_length(&key::recipient("POV-2026", &[9; 16])), 1);
    stage.expect(3205, "bank/2", "approve", "A-5", fields);
}

fn payee() -> Vec<(&'static str, Value)> {
    vec![("recipient", Value::bytes(&[9; 16])), ("scope", text("POV-2026")), ("account_commitment", hash(3))]
}

#[test]
fn mz_3004_a_payee_is_confirmed_by_the_bank_of_a_programme_of_its_owner() {
    let mut stage = with_scope(&["civil"]);
    stage.let_hold("centre", Role::AgentBank);
    let grant = grant_fields("centre/1", "agent_bank");
    stage.apply_with(["centre/admin1", "centre/admin2"], "role_grant", "G", grant);
    stage.apply("civil/1", "payee_register", "R-1", payee());
    let fields = stage.digest_of("civil/R-1");
    stage.expect(3004, "centre/1", "approve", "A-1", fields.clone());
    stage.apply("bank/1", "approve", "A-2", fields);
    let opening = with(with(programme_fields("CNY"), "scope", text("POV-2026")), "bank", text("centre"));
    stage.apply_with(["civil/1", "finance/1"], "programme_open", "LATER", opening);
    let named = |programme: &str| [payee(), vec![("programme", to(programme))]].concat();
    stage.apply("civil/1", "payee_register", "R-2", named("civil/LATER"));
    assert_eq!(stage.approve("bank/1", "civil/R-2").outcome, 3004);
    assert_eq!(stage.approve("centre/1", "civil/R-2").outcome, 0);
    stage.apply_with(["civil/1", "bank/1"], "payee_register", "R-3", payee());
}

#[test]
fn mz_3002_a_payee_is_of_a_programme_of_its_scope_and_owner() {
    let mut stage = with_scope(&["civil", "redcross"]);
    let other = with(programme_fields("CNY"), "scope", text("POV-2027"));
    stage.apply_with(["civil/1", "finance/1"], "programme_open", "OTHER", other);
    for (id, programme) in [("R-1", "redcross/P"), ("R-2", "civil/OTHER")] {
        let fields = [payee(), vec![("programme", to(programme))]].concat();
        stage.expect(3002, "civil/1", "payee_register", id, fields);
    }
}

#[test]
fn who_changes_a_payees_account_or_tries_to_stands_on_its_trail() {
    let mut stage = with_scope(&["civil", "town"]);
    stage.apply_with(["civil/1", "bank/1"], "payee_register", "R-1", payee());
    let trail = |stage: &Stage| stage.trail_length(&key::recipient("POV-2026", &[9; 16]));
    let before = trail(&stage);
    stage.expect(3003, "town/1", "payee_register", "R-2", with(payee(), "account_commitment", hash(4)));
    assert_eq!(trail(&stage), before + 1, "an attempt");
    stage.apply("civil/1", "payee_register", "R-3", with(payee(), "account_commitment", hash(4)));
    assert_eq!(trail(&stage), before + 2, "what waits");
    assert_eq!(stage.approve("bank/1", "civil/R-3").outcome, 0);
    assert_eq!(trail(&stage), before + 3);
}

#[test]
fn a_payee_is_replaced_only_by_the_agency_that_registered_it() {
    let mut stage = with_scope(&["civil", "town"]);
    stage.apply_with(["civil/1", "bank/1"], "payee_register", "R-1", payee());
    stage.expect(3003, "town/1", "payee_register", "R-2", with(payee(), "account_commitment", hash(4)));
    // Nothing is replaced where its own bank confirms the same account.
    stage.apply_with(["town/1", "bank/2"], "payee_register", "R-3", payee());
    let recipient: Recipient = stage.get(&key::recipient("POV-2026", &[9; 16])).expect("registered");
    assert_eq!((recipient.registered_by.to_string(), recipient.banks), ("civil/R-1".into(), vec!["bank".to_owned()]));
    stage.apply_with(["civil/1", "bank/1"], "payee_register", "R-4", with(payee(), "account_commitment", hash(4)));
}

#[test]
fn mz_3003_a_payee_is_registered_by_an_owner_of_the_scope() {
    let mut stage = with_scope(&["redcross"]);
    stage.expect(3003, "civil/1", "payee_register", "R-1", payee());
    stage.expect(3003, "civil/window", "payee_register", "R-2", payee());
    let elsewhere = with(payee(), "scope", text("POV-2027"));
    stage.expect(3003, "redcross/1", "payee_register", "R-3", elsewhere);
    stage.apply_with(["redcross/1", "bank/1"], "payee_register", "R-4", payee());
    let mut stage = with_scope(&["redcross", "civil"]);
    stage.apply_with(["civil/window", "bank/1"], "payee_register", "R-5", payee());
}

/// Programmes of these owners, under the scope of `payee`.
fn with_scope(owners: &[&str]) -> Stage {
    let mut stage = Stage::found();
    for owner in owners {
        let fields = with(with(programme_fields("CNY"), "owner", text(owner)), "scope", text("POV-2026"));
        stage.apply_with([&format!("{owner}/1"), "finance/1"], "programme_open", "P", fields);
    }
    stage
}

#[test]
fn an_approval_names_exactly_the_record_and_comes_in_time() {
    let mut stage = Stage::found();
    stage.apply("civil/admin1", "role_grant", "G-1", grant_fields("civil/plain", "buyer"));
    let mut fields = stage.digest_of("civil/G-1");
    fields[1].1 = hash(8);
    stage.expect(3204, "civil/admin2", "approve", "A-1", fields);
    stage.expect(3002, "civil/admin2", "approve", "A-2", vec![("waiting", to("civil/A-1")), ("digest", hash(0))]);
    stage.pass_days(31);
    let fields = stage.digest_of("civil/G-1");
    stage.expect(3205, "civil/admin2", "approve", "A-3", fields);
}

#[test]
fn a_record_that_was_sent_back_waits_no_more() {
    let mut stage = Stage::found();
    stage.apply("civil/admin1", "role_grant", "G-1", grant_fields("civil/plain", "buyer"));
    let mut fields = stage.digest_of("civil/G-1");
    fields.push(("reason", text("wrong officer")));
    stage.apply("civil/admin2", "reject", "B-1", fields);
    assert!(!stage.leaf("civil/G-1").expect("leaf").in_effect());
    let fields = stage.digest_of("civil/G-1");
    stage.expect(3205, "civil/admin2", "approve", "A-1", fields);
    assert!(grants_of(&stage, "civil", "civil/plain").is_empty());
}

#[test]
fn all_rules_run_again_at_approval_and_a_failure_ends_the_waiting() {
    let mut stage = Stage::found();
    stage.apply("civil/admin1", "role_grant", "G-1", grant_fields("civil/plain", "buyer"));
    let proposer = signing_key("civil/admin1").public();
    let revoke = vec![("key", Value::bytes(&proposer.0)), ("reason", text("lost"))];
    stage.apply_with(["super/1", "finance/admin1"], "key_revoke", "K-1", revoke);
    let outcome = stage.approve("civil/admin2", "civil/G-1");
    assert_eq!(outcome.outcome, 3005, "{}", outcome.detail);
    assert!(grants_of(&stage, "civil", "civil/plain").is_empty());
    let waiting = stage.leaf("civil/G-1").and_then(|leaf| leaf.waiting).expect("waiting");
    assert!(!waiting.is_open() && !waiting.is_effective() && waiting.body.is_empty());
}

#[test]
fn a_revoked_key_is_recorded_and_rejected() {
    let mut stage = Stage::found();
    let key = Value::bytes(&signing_key("civil/1").public().0);
    stage.apply("civil/admin1", "key_revoke", "K-1", vec![("key", key.clone()), ("reason", text("lost"))]);
    assert!(key_of(&stage, "civil/1").revoked_from.is_some());
    stage.expect(3005, "civil/1", "document_anchor", "D-1", anchor());
    stage.expect(3011, "civil/admin1", "key_revoke", "K-2", vec![("key", key), ("reason", text("lost"))]);
}

#[test]
fn a_supervisor_revokes_with_a_second_agency_and_an_admin_only_at_home() {
    let mut stage = Stage::found();
    let fields = vec![("key", Value::bytes(&signing_key("civil/1").public().0)), ("reason", text("misuse"))];
    stage.expect(3003, "finance/admin1", "key_revoke", "K-1", fields.clone());
    stage.apply("super/1", "key_revoke", "K-2", fields);
    assert_eq!(key_of(&stage, "civil/1").revoked_from, None);
    assert_eq!(stage.approve("super/admin1", "super/K-2").outcome, 3004);
    assert_eq!(stage.approve("finance/admin1", "super/K-2").outcome, 0);
    assert!(key_of(&stage, "civil/1").revoked_from.is_some());
}

fn revocation(officer: &str) -> Vec<(&'static str, Value)> {
    vec![("key", Value::bytes(&signing_key(officer).public().0)), ("reason", text("lost"))]
}

#[test]
fn mz_3805_an_agency_keeps_two_admins_unless_two_agencies_stop_a_key() {
    let mut stage = Stage::found();
    stage.expect(3805, "civil/admin1", "key_revoke", "K-1", revocation("civil/admin2"));
    let role = vec![("officer", Value::bytes(&person("civil/admin2"))), ("role", text("admin"))];
    stage.expect(3805, "civil/admin1", "role_revoke", "V-1", role.clone());
    // A second key of the same person first: then the stolen one goes at once.
    let key = signing_key("civil/admin2 second");
    let fields = key_fields(&stage, "civil", "civil/admin2", &key);
    stage.apply_with(["civil/admin1", "civil/admin2"], "officer_register", "O-1", fields);
    stage.apply("civil/admin1", "key_revoke", "K-2", revocation("civil/admin2"));
    // With a third admin one may go, and no more.
    stage.add_key("civil/admin2b", key);
    stage.apply_with(["civil/admin1", "civil/admin2b"], "role_grant", "G-1", grant_fields("civil/plain", "admin"));
    stage.apply_with(["civil/admin1", "civil/plain"], "role_revoke", "V-2", role);
    stage.expect(3805, "civil/admin1", "key_revoke", "K-3", revocation("civil/plain"));
    // A supervisor and a second agency stop a stolen key all the same, but never the last admin's.
    stage.apply_with(["super/1", "finance/admin1"], "key_revoke", "K-4", revocation("civil/plain"));
    stage.expect(3805, "super/1", "key_revoke", "K-5", revocation("civil/admin1"));
}

#[test]
fn mz_3805_the_last_holder_of_a_role_that_others_wait_for() {
    let mut stage = Stage::found();
    stage.apply("super/admin1", "key_revoke", "K-1", revocation("super/1"));
    stage.expect(3805, "super/admin1", "key_revoke", "K-2", revocation("super/2"));
    let role = vec![("officer", Value::bytes(&person("super/2"))), ("role", text("supervisor"))];
    stage.expect(3805, "super/admin1", "role_revoke", "V-1", role.clone());
    let admins = ["super/admin1", "super/admin2"];
    stage.apply_with(admins, "role_grant", "G-1", grant_fields("super/admin2", "supervisor"));
    stage.apply_with(admins, "role_revoke", "V-2", role);
    // What only its own agency misses it grants anew.
    stage.apply("archive/admin1", "key_revoke", "K-3", revocation("archive/1"));
}

#[test]
fn mz_3003_who_has_no_valid_key_lends_nothing() {
    let (mut stage, party) = acted_by_delegation();
    stage.apply("civil/admin1", "key_revoke", "K-1", revocation("civil/1"));
    stage.expect(3003, "civil/plain", "party_register", "P-2", party("SUP-2"));
    assert_eq!(stage.leaf("civil/P-1").map(|leaf| leaf.outcome), Some(0), "what was signed before stays");
    let key = signing_key("civil/1 second");
    let fields = key_fields(&stage, "civil", "civil/1", &key);
    stage.apply_with(["civil/admin1", "civil/admin2"], "officer_register", "O-1", fields);
    stage.apply("civil/plain", "party_register", "P-3", party("SUP-2"));
}

#[test]
fn mz_3001_codes_that_look_the_same_are_the_same() {
    let mut stage = Stage::found();
    let party = |id: &str| vec![("party_id", text(id)), ("kind", text("supplier")), ("account_commitment", hash(5))];
    stage.apply("civil/1", "party_register", "P-1", party("Acme Ltd"));
    stage.expect(3001, "civil/1", "party_register", "P-2", party("ACME LTD"));
    for other in ["Acme Ltd ", " Acme Ltd", "Acme  Ltd"] {
        let refusal = stage.offer("civil/1", "party_register", "P-3", party(other)).expect_err(other);
        assert_eq!(refusal.code.0, 1004);
    }
}

#[test]
fn a_role_works_from_its_grant_to_its_revocation() {
    let mut stage = Stage::found();
    let party = |id: &str| vec![("party_id", text(id)), ("kind", text("supplier")), ("account_commitment", hash(5))];
    stage.expect(3003, "civil/plain", "party_register", "P-1", party("SUP-1"));
    stage.expect(3003, "civil/admin1", "role_grant", "G-0", grant_fields("civil/plain", "finance"));
    stage.apply_with(["civil/admin1", "civil/admin2"], "role_grant", "G-1", grant_fields("civil/plain", "buyer"));
    stage.apply("civil/plain", "party_register", "P-2", party("SUP-1"));
    stage.expect(3001, "civil/plain", "party_register", "P-3", party("SUP-1"));
    let fields = vec![("role_grant", to("civil/G-1"))];
    stage.apply_with(["civil/admin1", "civil/admin2"], "role_revoke", "V-1", fields.clone());
    stage.expect(3003, "civil/plain", "party_register", "P-4", party("SUP-2"));
    stage.expect(3002, "civil/admin1", "role_revoke", "V-2", fields);
}

#[test]
fn a_role_of_genesis_is_taken_back_by_officer_and_role() {
    let mut stage = Stage::found();
    let fields = vec![("officer", Value::bytes(&person("finance/1"))), ("role", text("finance"))];
    stage.apply_with(["finance/admin1", "finance/admin2"], "role_revoke", "V-1", fields);
    assert!(grants_of(&stage, "finance", "finance/1").iter().all(|grant| grant.revoked_from.is_some()));
    stage.expect(3002, "finance/admin1", "role_revoke", "V-2", Vec::new());
}

#[test]
fn a_role_ends_with_its_last_day() {
    let mut stage = Stage::found();
    let fields = grant_fields("civil/plain", "buyer");
    stage.apply_with(["civil/admin1", "civil/admin2"], "role_grant", "G-1", fields);
    stage.pass_days(214);
    let party = vec![("party_id", text("S")), ("kind", text("supplier")), ("account_commitment", hash(5))];
    stage.expect(3003, "civil/plain", "party_register", "P-1", party);
}

fn delegation(to_officer: &str, until: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("to_officer", Value::bytes(&person(to_officer))),
        ("role", text("buyer")),
        ("valid_from", text("2026-06-01")),
        ("valid_until", text(until)),
    ]
}

/// Civil's officer lent a colleague until the end of June what he may do, who registered SUP-1 for him; and how more are.
fn acted_by_delegation() -> (Stage, impl Fn(&str) -> Vec<(&'static str, Value)>) {
    let mut stage = Stage::found();
    stage.apply("civil/1", "delegation", "L-1", delegation("civil/plain", "2026-06-30"));
    let party = |id: &str| {
        let kind = ("kind", text("supplier"));
        vec![("party_id", text(id)), kind, ("account_commitment", hash(5)), ("on_behalf_of", to("civil/L-1"))]
    };
    stage.apply("civil/plain", "party_register", "P-1", party("SUP-1"));
    (stage, party)
}

#[test]
fn a_delegate_acts_for_the_holder_within_the_delegation() {
    let (mut stage, party) = acted_by_delegation();
    let leaf = stage.leaf("civil/P-1").expect("leaf");
    assert_eq!(
        leaf.persons.iter().map(|person| person.0).collect::<Vec<_>>(),
        [person("civil/plain"), person("civil/1")]
    );
    stage.expect(3006, "civil/2", "party_register", "P-2", party("SUP-2"));
    stage.pass_days(30);
    stage.expect(3006, "civil/plain", "party_register", "P-3", party("SUP-3"));
}

#[test]
fn a_delegation_is_neither_wider_nor_passed_on() {
    let mut stage = Stage::found();
    stage.expect(3003, "civil/plain", "delegation", "L-0", delegation("civil/2", "2026-06-30"));
    stage.apply("civil/1", "delegation", "L-1", delegation("civil/plain", "2026-06-30"));
    let mut passed_on = delegation("civil/2", "2026-06-30");
    passed_on.push(("on_behalf_of", to("civil/L-1")));
    stage.expect(3006, "civil/plain", "delegation", "L-2", passed_on);
    stage.apply_with(["civil/admin1", "civil/admin2"], "role_grant", "G-1", grant_fields("civil/plain", "buyer"));
    stage.expect(3006, "civil/plain", "delegation", "L-3", delegation("civil/2", "2027-01-01"));
    stage.apply("civil/plain", "delegation", "L-4", delegation("civil/2", "2026-12-31"));
}

#[test]
fn dates_lie_neither_ahead_nor_too_far_back() {
    let mut stage = Stage::found();
    let dated = |date: &str| {
        let mut fields = anchor();
        fields.push(("effective_date", text(date)));
        fields
    };
    stage.expect(3007, "civil/1", "document_anchor", "D-1", dated("2105-01-01"));
    stage.expect(3008, "civil/1", "document_anchor", "D-2", dated("2026-05-01"));
    stage.apply("civil/1", "document_anchor", "D-3", dated("2026-05-02"));
}

#[test]
fn an_auditor_changes_no_business_state() {
    let mut stage = Stage::found();
    stage.apply("civil/admin1", "role_grant", "G-1", grant_fields("civil/plain", "buyer"));
    let fields = stage.digest_of("civil/G-1");
    stage.expect(3702, "audit/1", "approve", "A-1", fields);
    stage.apply("audit/1", "document_anchor", "D-1", anchor());
}

#[test]
fn a_rejected_record_joins_the_trails_of_what_it_names() {
    let mut stage = Stage::found();
    let fields = grant_fields("civil/plain", "buyer");
    stage.apply_with(["civil/admin1", "civil/admin2"], "role_grant", "G-1", fields);
    let officer = key::officer_key(&signing_key("civil/plain").public().key_id());
    let before = stage.trail_length(&officer);
    stage.expect(3003, "civil/1", "role_revoke", "V-1", vec![("role_grant", to("civil/G-1"))]);
    assert_eq!(stage.trail_length(&officer), before + 1);
}
