//! A charity's programme: donations, and payments that its supervisor releases.

use super::*;
use crate::records::role::Role;
use crate::records::testing::person;

const CHARITY: [&str; 2] = ["redcross/1", "redcross/2"];
const WITH_FINANCE: [&str; 2] = ["redcross/1", "finance/1"];

fn opened_by_charity() -> Stage {
    let mut stage = Stage::found();
    let fields = with(programme_fields("CNY"), "owner", text("redcross"));
    stage.apply_with(WITH_FINANCE, "programme_open", "D", fields);
    for (kind, earmark) in [
        ("SOURCE", Some("donors")),
        ("APPROPRIATION", Some("school")),
        ("ALLOTMENT", Some("school")),
        ("PAID", None),
        ("RETURNED", Some("school")),
    ] {
        let mut fields = with(account_fields("D", kind), "programme", to("redcross/D"));
        fields.extend(earmark.map(|earmark| ("earmark", text(earmark))));
        stage.apply_with(FINANCE, "account_open", &format!("D-{}", &kind[..3]), fields);
    }
    register_as(&mut stage, "redcross/1", 1);
    stage
}

fn donation(minor: u64) -> Vec<(&'static str, Value)> {
    let part = Value::text_map([("to", to("finance/D-APP")), ("amount", uint(minor))]);
    vec![("parts", Value::Array(vec![part])), ("external_ref", text("E-1")), ("channel", text("transfer"))]
}

fn entitled(stage: &mut Stage, minor: u64) {
    let lower = vec![("amount", uint(minor)), ("from", to("finance/D-APP")), ("to", to("finance/D-ALL"))];
    stage.apply_with(FINANCE, "allot", "AL", lower);
    let fields = with(grant_fields(1, minor), "subject", to("redcross/D"));
    stage.apply_with(WITH_FINANCE, "award_grant", "G", fields);
    let mut fields = with(account_fields("D", "COMMITMENT"), "programme", to("redcross/D"));
    fields.extend([("award", to("redcross/G")), ("earmark", text("school"))]);
    stage.apply_with(FINANCE, "account_open", "D-COM", fields);
    let fields = vec![("amount", uint(minor)), ("from", to("finance/D-ALL")), ("award", to("redcross/G"))];
    stage.apply_with(WITH_FINANCE, "commit", "CM", fields);
}

/// A gift was received, and 500 of the 600 that it entitles somebody to are asked for.
fn asked_for_a_payment() -> Stage {
    let mut stage = opened_by_charity();
    stage.apply_with(CHARITY, "income_record", "IN", donation(1_000));
    stage.apply("bank/1", "income_confirm", "IC", confirmation("redcross/IN", "B-1"));
    entitled(&mut stage, 600);
    stage.apply("redcross/1", "payment_request", "PAY", charity_payment());
    stage
}

fn charity_payment() -> Vec<(&'static str, Value)> {
    vec![
        ("amount", uint(500)),
        ("from", to("finance/D-COM")),
        ("recipient", person_value(1)),
        ("payee_account", Value::bytes(&account_of(1))),
        ("entitlement", to("redcross/G")),
    ]
}

#[test]
fn a_gift_is_followed_to_its_use_and_back_to_the_donor() {
    let mut stage = asked_for_a_payment();
    assert_eq!(stage.approve("redcross/2", "redcross/PAY").outcome, 3004, "never the charity alone");
    assert_eq!(stage.approve("finance/1", "redcross/PAY").outcome, 3004);
    assert_eq!(stage.approve("super/1", "redcross/PAY").outcome, 0);
    stage.apply("bank/1", "payment_confirm", "PC", confirmation("redcross/PAY", "B-2"));
    let back = vec![("amount", uint(400)), ("from", to("finance/D-APP")), ("to", to("finance/D-SOU"))];
    stage.apply_with(FINANCE, "recall", "RC", back);
    assert_eq!(state_of(&stage, "finance/RC"), MovementState::Released, "a gift's refund crosses the bank");
    stage.apply("bank/1", "payment_confirm", "PC-2", confirmation("finance/RC", "B-3"));
    let figures = assert_folds(&stage, "redcross/D");
    assert_eq!((figures.income, figures.appropriated, figures.settled, figures.committed), (600, 0, 500, 100));
}

#[test]
fn mz_3004_what_a_charity_asked_for_is_cancelled_by_who_would_release_it() {
    let mut stage = asked_for_a_payment();
    let cancel = vec![("movement", to("redcross/PAY")), ("reason", text("mistake"))];
    stage.apply("redcross/1", "movement_cancel", "MC", cancel);
    assert_eq!(stage.approve("finance/1", "redcross/MC").outcome, 3004);
    assert_eq!(stage.approve("super/1", "redcross/MC").outcome, 0);
    assert_eq!(state_of(&stage, "redcross/PAY"), MovementState::Ended);
    assert_folds(&stage, "redcross/D");
}

#[test]
fn mz_3206_one_bank_entry_is_no_second_gift() {
    let mut stage = opened_by_charity();
    for id in ["IN-1", "IN-2"] {
        stage.apply_with(CHARITY, "income_record", id, donation(1_000));
    }
    stage.apply("bank/1", "income_confirm", "IC-1", confirmation("redcross/IN-1", "B-1"));
    stage.expect(3206, "bank/1", "income_confirm", "IC-2", confirmation("redcross/IN-2", "B-1"));
    stage.expect(3002, "bank/1", "payment_confirm", "IC-3", confirmation("redcross/IN-2", "B-2"));
    assert_folds(&stage, "redcross/D");
}

#[test]
fn mz_3004_a_second_officer_of_the_charity_approves_its_income() {
    let mut stage = opened_by_charity();
    stage.apply("redcross/1", "income_record", "IN", donation(1_000));
    assert_eq!(stage.approve("redcross/1", "redcross/IN").outcome, 3004);
    stage.expect(3002, "bank/1", "income_confirm", "IC", confirmation("redcross/IN", "B-1"));
    assert_eq!(stage.approve("redcross/2", "redcross/IN").outcome, 0);
    assert_folds(&stage, "redcross/D");
}

#[test]
fn mz_3004_a_supervisor_is_neither_owner_nor_bank() {
    let mut stage = Stage::found();
    let opening = |supervisor| with(programme_fields("CNY"), "supervisor", text(supervisor));
    stage.expect(3004, "civil/1", "programme_open", "P-1", opening("civil"));
    stage.expect(3004, "civil/1", "programme_open", "P-2", opening("bank"));
    let charity = with(opening("redcross"), "owner", text("redcross"));
    stage.expect(3004, "redcross/1", "programme_open", "P-3", charity);
    stage.apply_with(OWNER, "programme_open", "P-4", opening("finance"));
}

#[test]
fn mz_3004_who_releases_is_the_programmes_matter_not_the_signers() {
    let grant = |stage: &mut Stage, officer: &str, role: Role| {
        let (agency, _) = officer.split_once('/').expect("agency/label");
        stage.let_hold(agency, role);
        let fields = vec![
            ("officer", Value::bytes(&person(officer))),
            ("role", text(role.code())),
            ("valid_from", text("2026-06-01")),
            ("valid_until", text("2026-12-31")),
        ];
        let admins = [format!("{agency}/admin1"), format!("{agency}/admin2")];
        stage.apply_with(admins.each_ref().map(String::as_str), "role_grant", "RG", fields);
    };
    // What an owner of programmes opened is released by finance, also where a charity's officer asks.
    let mut stage = funded();
    grant(&mut stage, "civil/plain", Role::Charity);
    stage.apply("civil/plain", "payment_request", "PAY", payment("G", 1, 100));
    assert_eq!(stage.approve("super/1", "civil/PAY").outcome, 3004);
    assert_eq!(stage.approve("finance/1", "civil/PAY").outcome, 0);
    // What a charity opened is released by its supervisor, also where an owner of programmes asks.
    let mut stage = asked_for_a_payment();
    grant(&mut stage, "redcross/trustee", Role::ProgrammeOwner);
    stage.apply("redcross/trustee", "payment_request", "PAY-2", with(charity_payment(), "amount", uint(50)));
    assert_eq!(stage.approve("finance/1", "redcross/PAY-2").outcome, 3004);
    assert_eq!(stage.approve("super/1", "redcross/PAY-2").outcome, 0);
}
