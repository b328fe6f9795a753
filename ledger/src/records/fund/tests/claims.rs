//! Claims held under lists: what a reissue may not pay again, and what excludes another programme.

use super::*;

fn fields_of(names: [&str; 2], minor: u64) -> Vec<(&'static str, Value)> {
    vec![("amount", uint(minor)), ("from", to(names[0])), ("to", to(names[1]))]
}

/// List L of P with these lines, and Q, which excludes P, with a list X of the same persons and period.
fn beside(lines: &Lines) -> Stage {
    let mut stage = funded();
    confirmed_list(&mut stage, "L", lines, "2026H1");
    let exclusive = with(programme_fields("CNY"), "exclusive_with", Value::Array(vec![to("civil/P")]));
    stage.apply_with(OWNER, "programme_open", "Q", exclusive);
    for kind in ["SOURCE", "APPROPRIATION", "ALLOTMENT", "PAID"] {
        open_account(&mut stage, "Q", kind, vec![]);
    }
    let mut budget = fields_of(["finance/Q-SOU", "finance/Q-APP"], 3_000);
    budget.push(("legal_ref", text("x")));
    stage.apply_with(FINANCE, "appropriate", "QA", budget);
    stage.apply_with(FINANCE, "allot", "QL", fields_of(["finance/Q-APP", "finance/Q-ALL"], 3_000));
    stage.apply("town/1", "list_publish", "X", with(lines.publish_fields("2026H1"), "subject", to("civil/Q")));
    stage.pass_days(7);
    stage.apply("civil/1", "list_confirm", "XC", vec![("list", to("town/X"))]);
    open_account_as(&mut stage, "C-X", "Q", "COMMITMENT", vec![("award", to("town/X"))]);
    let commit = vec![("amount", uint(3_000)), ("from", to("finance/Q-ALL")), ("award", to("town/X"))];
    stage.apply_with(OWNER, "commit", "XM", commit);
    stage
}

fn pay_line(stage: &mut Stage, id: &str, list: &str, proof: &ListProof) {
    stage.apply_with(OWNER, "payment_request", id, list_payment(list, proof));
    stage.apply("bank/1", "payment_confirm", &format!("C{id}"), confirmation(&format!("civil/{id}"), id));
}

fn come_back(stage: &mut Stage, payment: &str) {
    let id = format!("R{payment}");
    stage.apply("bank/1", "payment_return", &id, payment_return(&format!("civil/{payment}"), 1_000, &id));
}

fn again(payment: &str, person: u8, minor: u64) -> Vec<(&'static str, Value)> {
    let account = Value::bytes(&account_of(person));
    vec![("payment", to(&format!("civil/{payment}"))), ("amount", uint(minor)), ("payee_account", account)]
}

/// Money for two lines more than list L has, so that only the rules on claims stand in the way.
fn commit_more(stage: &mut Stage) {
    stage.apply_with(FINANCE, "allot", "AL-2", allotment(2_000));
    let more = vec![("amount", uint(2_000)), ("from", to("finance/P-ALL")), ("award", to("town/L"))];
    stage.apply_with(OWNER, "commit", "CM-2", more);
}

fn refund_to(stage: &mut Stage, commitment: &str) {
    let mut refund = fields_of(["finance/P-RET", commitment], 1_000);
    refund.push(("reason", text("again")));
    stage.apply_with(OWNER, "refund", "RF", refund);
}

#[test]
fn mz_3209_a_reissue_beside_a_second_payment() {
    let mut stage = funded();
    let lines = Lines::of(&[1, 2]);
    confirmed_list(&mut stage, "L", &lines, "2026H1");
    commit_more(&mut stage);
    pay_line(&mut stage, "PA", "L", &lines.proof(0));
    come_back(&mut stage, "PA");
    // Returned whole, the line is free to be claimed again, and whoever claims it keeps it.
    pay_line(&mut stage, "PB", "L", &lines.proof(0));
    stage.expect(3209, "civil/1", "payment_reissue", "RI-1", again("PA", 1, 1_000));
    come_back(&mut stage, "PB");
    stage.apply("civil/1", "payment_reissue", "RI-2", again("PA", 1, 1_000));
    stage.expect(3209, "civil/1", "payment_request", "PC", list_payment("L", &lines.proof(0)));
    stage.expect(3209, "civil/1", "payment_reissue", "RI-3", again("PB", 1, 1_000));
    assert_eq!(stage.approve("finance/1", "civil/RI-2").outcome, 0);
    stage.apply("bank/1", "payment_confirm", "CRI", confirmation("civil/RI-2", "CRI"));
    stage.expect(3209, "civil/1", "payment_reissue", "RI-4", again("PB", 1, 1_000));
    assert_balanced(&stage, "live");
}

#[test]
fn a_reissue_is_returned_and_made_again_in_parts_under_the_claim_of_its_original() {
    let mut stage = funded();
    let lines = Lines::of(&[1]);
    confirmed_list(&mut stage, "L", &lines, "2026H1");
    commit_more(&mut stage);
    pay_line(&mut stage, "PA", "L", &lines.proof(0));
    come_back(&mut stage, "PA");
    stage.apply_with(OWNER, "payment_reissue", "RB", again("PA", 1, 1_000));
    stage.apply("bank/1", "payment_confirm", "CRB", confirmation("civil/RB", "CRB"));
    come_back(&mut stage, "RB");
    for (id, minor) in [("RC", 400), ("RD", 600)] {
        stage.apply_with(OWNER, "payment_reissue", id, again("RB", 1, minor));
        stage.apply("bank/1", "payment_confirm", &format!("C{id}"), confirmation(&format!("civil/{id}"), id));
    }
    stage.expect(3209, "civil/1", "payment_request", "PB", list_payment("L", &lines.proof(0)));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3209_a_claim_of_another_asset_is_another_when_it_is_made_again() {
    let mut stage = funded();
    let lines = Lines::of_assets(&[(1, "a1"), (1, "a2")]);
    confirmed_list(&mut stage, "L", &lines, "2026H1");
    commit_more(&mut stage);
    stage.apply_with(OWNER, "payment_request", "PA", lines.payment("L", 0));
    stage.apply("bank/1", "payment_confirm", "CPA", confirmation("civil/PA", "CPA"));
    come_back(&mut stage, "PA");
    stage.apply_with(OWNER, "payment_request", "PB", lines.payment("L", 1));
    stage.apply_with(OWNER, "payment_reissue", "RI", again("PA", 1, 1_000));
    stage.expect(3209, "civil/1", "payment_request", "PC", lines.payment("L", 0));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3210_no_reissue_for_a_struck_line_or_an_ended_grant() {
    let mut stage = funded();
    let lines = Lines::of(&[1]);
    confirmed_list(&mut stage, "L", &lines, "2026H1");
    pay_line(&mut stage, "PA", "L", &lines.proof(0));
    come_back(&mut stage, "PA");
    stage.apply("civil/1", "payment_reissue", "RI-1", again("PA", 1, 1_000));
    let strike = vec![("list", to("town/L")), ("leaf_index", uint(0)), ("reason", text("moved"))];
    stage.apply_with(["civil/1", "super/1"], "list_strike", "LS", strike);
    assert_eq!(stage.approve("finance/1", "civil/RI-1").outcome, 3210);
    stage.expect(3210, "civil/1", "payment_reissue", "RI-2", again("PA", 1, 1_000));
    pay(&mut stage, "PAY", 1_000);
    come_back(&mut stage, "PAY");
    stage.apply_with(OWNER, "payment_reissue", "RI-3", again("PAY", 1, 1));
    stage.pass_days(300);
    stage.expect(3210, "civil/1", "payment_reissue", "RI-4", again("PAY", 1, 1));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3212_a_reissue_beside_an_exclusive_programme() {
    let lines = Lines::of(&[1, 2, 3]);
    let mut stage = beside(&lines);
    pay_line(&mut stage, "PA", "L", &lines.proof(0));
    come_back(&mut stage, "PA");
    pay_line(&mut stage, "XP", "X", &lines.proof(0));
    stage.expect(3212, "civil/1", "payment_reissue", "RI", again("PA", 1, 1_000));
}

#[test]
fn mz_3212_another_claim_keeps_the_programme_closed_when_the_first_ends() {
    let lines = Lines::of_assets(&[(1, "a1"), (1, "a2"), (2, "a3")]);
    let mut stage = beside(&lines);
    for (id, index) in [("X1", 0), ("X2", 1)] {
        stage.apply_with(OWNER, "payment_request", id, lines.payment("X", index));
    }
    stage.apply("bank/1", "payment_confirm", "CX2", confirmation("civil/X2", "CX2"));
    stage.expect(3212, "civil/1", "payment_request", "Y1", lines.payment("L", 0));
    let fail = vec![("movement", to("civil/X1")), ("reason", text("closed"))];
    stage.apply("bank/1", "payment_fail", "FX1", fail);
    stage.expect(3212, "civil/1", "payment_request", "Y2", lines.payment("L", 0));
    stage.apply("civil/1", "payment_request", "X3", lines.payment("X", 0));
    let mut fields = stage.digest_of("civil/X3");
    fields.push(("reason", text("no")));
    stage.apply("finance/1", "reject", "RX3", fields);
    stage.expect(3212, "civil/1", "payment_request", "Y3", lines.payment("L", 0));
    stage.apply("civil/1", "payment_request", "Y4", lines.payment("L", 2));
}

/// A grant to this person in Q, with money.
fn granted_in_q(stage: &mut Stage, person: u8) {
    stage.apply_with(OWNER, "award_grant", "GQ", with(grant_fields(person, 1_000), "subject", to("civil/Q")));
    stage.apply_with(FINANCE, "appropriate", "QA-2", {
        let mut budget = fields_of(["finance/Q-SOU", "finance/Q-APP"], 1_000);
        budget.push(("legal_ref", text("x")));
        budget
    });
    stage.apply_with(FINANCE, "allot", "QL-2", fields_of(["finance/Q-APP", "finance/Q-ALL"], 1_000));
    open_account_as(stage, "C-GQ", "Q", "COMMITMENT", vec![("award", to("civil/GQ"))]);
    let commit = vec![("amount", uint(1_000)), ("from", to("finance/Q-ALL")), ("award", to("civil/GQ"))];
    stage.apply_with(OWNER, "commit", "GQM", commit);
}

#[test]
fn mz_3212_a_grant_excludes_every_period_of_an_exclusive_programme() {
    let lines = Lines::of(&[1, 2, 3]);
    let mut stage = beside(&lines);
    // Grant G of P is person 1's: while anything of it is paid, no list of Q reaches that person.
    stage.apply_with(OWNER, "payment_request", "GP-1", payment("G", 1, 400));
    stage.expect(3212, "civil/1", "payment_request", "XP-1", list_payment("X", &lines.proof(0)));
    stage.apply_with(OWNER, "payment_request", "GP-2", payment("G", 1, 200));
    stage.apply("bank/1", "payment_fail", "GF-1", vec![("movement", to("civil/GP-1")), ("reason", text("closed"))]);
    stage.expect(3212, "civil/1", "payment_request", "XP-2", list_payment("X", &lines.proof(0)));
    stage.apply("bank/1", "payment_fail", "GF-2", vec![("movement", to("civil/GP-2")), ("reason", text("closed"))]);
    stage.apply("civil/1", "payment_request", "XP-3", list_payment("X", &lines.proof(0)));
    stage.expect(3212, "civil/1", "payment_request", "GP-3", payment("G", 1, 400));
}

#[test]
fn mz_3212_two_grants_of_exclusive_programmes() {
    let mut stage = beside(&Lines::of(&[2, 3, 4]));
    granted_in_q(&mut stage, 1);
    pay(&mut stage, "PAY", 600);
    stage.expect(3212, "civil/1", "payment_request", "QP-1", payment("GQ", 1, 600));
    stage.apply("bank/1", "payment_return", "R", payment_return("civil/PAY", 600, "R"));
    stage.apply("civil/1", "payment_request", "QP-2", payment("GQ", 1, 600));
    // What came back is not paid again beside it.
    stage.expect(3212, "civil/1", "payment_reissue", "RI", again("PAY", 1, 600));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3212_an_exclusive_programme_for_a_period_that_shares_a_day() {
    let lines = Lines::of(&[1, 2, 3]);
    let mut stage = beside(&lines);
    pay_line(&mut stage, "PA", "L", &lines.proof(0));
    let quarter = Lines::of(&[1]);
    stage.apply("town/1", "list_publish", "Y", with(quarter.publish_fields("2026Q1"), "subject", to("civil/Q")));
    stage.pass_days(7);
    stage.apply("civil/1", "list_confirm", "YC", vec![("list", to("town/Y"))]);
    stage.apply_with(OWNER, "decommit", "XD", {
        vec![("amount", uint(1_000)), ("from", to("finance/C-X")), ("award", to("town/X"))]
    });
    open_account_as(&mut stage, "C-Y", "Q", "COMMITMENT", vec![("award", to("town/Y"))]);
    let commit = vec![("amount", uint(1_000)), ("from", to("finance/Q-ALL")), ("award", to("town/Y"))];
    stage.apply_with(OWNER, "commit", "YM", commit);
    stage.expect(3212, "civil/1", "payment_request", "YP", list_payment("Y", &quarter.proof(0)));
}

#[test]
fn mz_3212_another_agency_does_not_fill_what_a_programme_excludes() {
    let mut stage = funded();
    let beside = |owner: &str| {
        let exclusive = with(programme_fields("CNY"), "exclusive_with", Value::Array(vec![to("civil/P")]));
        with(exclusive, "owner", text(owner))
    };
    for number in 0..8 {
        stage.apply_with(["town/1", "finance/1"], "programme_open", &format!("T-{number}"), beside("town"));
    }
    stage.expect(3212, "town/1", "programme_open", "T-8", beside("town"));
    stage.apply_with(OWNER, "programme_open", "Q", beside("civil"));
    stage.apply_with(["redcross/1", "finance/1"], "programme_open", "R", beside("redcross"));
}

#[test]
fn mz_3217_a_reissue_within_the_total_of_its_list() {
    let mut stage = funded();
    let lines = Lines::of(&[1, 2]);
    stage.apply("town/1", "list_publish", "L", with(lines.publish_fields("2026H1"), "total", uint(1_000)));
    stage.pass_days(7);
    stage.apply("civil/1", "list_confirm", "LC", vec![("list", to("town/L"))]);
    open_account_as(&mut stage, "C-L", "P", "COMMITMENT", vec![("award", to("town/L"))]);
    let commit = vec![("amount", uint(1_000)), ("from", to("finance/P-ALL")), ("award", to("town/L"))];
    stage.apply_with(OWNER, "commit", "CM", commit);
    for (payment, index) in [("PA", 0), ("PB", 1)] {
        pay_line(&mut stage, payment, "L", &lines.proof(index));
        come_back(&mut stage, payment);
        if index == 0 {
            refund_to(&mut stage, "finance/C-L");
        }
    }
    stage.apply_with(OWNER, "payment_reissue", "RI-1", again("PB", 2, 1_000));
    // Other returned money is at hand, so only the rule stands in the way.
    pay(&mut stage, "PAY", 1_000);
    come_back(&mut stage, "PAY");
    stage.expect(3217, "civil/1", "payment_reissue", "RI-2", again("PA", 1, 1_000));
    assert_balanced(&stage, "live");
}

/// What excludes P joins its trail too, payments, returns and the close of a year included: P's reckoning is of P's money
/// alone.
#[test]
fn the_trail_of_an_excluded_programme_folds() {
    let lines = Lines::of(&[1, 2]);
    let mut stage = beside(&lines);
    pay_line(&mut stage, "LP-1", "L", &lines.proof(0));
    let before = assert_folds(&stage, "civil/P");
    for kind in ["RETURNED", "CARRIED", "LAPSED"] {
        open_account(&mut stage, "Q", kind, vec![]);
    }
    pay_line(&mut stage, "XP-2", "X", &lines.proof(1));
    come_back(&mut stage, "XP-2");
    stage.apply_with(OWNER, "payment_reissue", "XR-2", again("XP-2", 2, 1_000));
    stage.apply("bank/1", "payment_fail", "XF-2", vec![("movement", to("civil/XR-2")), ("reason", text("closed"))]);
    let close = vec![("programme", to("civil/Q")), ("year", uint(2026)), ("carry_minor", uint(0))];
    stage.apply_with(FINANCE, "year_close", "XY", close);
    assert_eq!(assert_folds(&stage, "civil/P"), before);
    assert_folds(&stage, "civil/Q");
}

#[test]
fn mz_3212_nobody_excludes_anothers_programme_without_its_finance() {
    let mut stage = opened();
    let mut fields = with(programme_fields("CNY"), "owner", text("redcross"));
    fields = with(with(fields, "finance", text("town")), "exclusive_with", Value::Array(vec![to("civil/P")]));
    stage.apply("redcross/1", "programme_open", "Q", fields);
    assert_eq!(stage.approve("town/finance", "redcross/Q").outcome, 0);
    assert!(stage.object("redcross/Q").is_none(), "it waits for finance of civil/P");
    assert_eq!(stage.approve("town/finance2", "redcross/Q").outcome, 3004);
    assert!(programme(&stage).exclusive_with.is_empty());
    assert_eq!(stage.approve("finance/1", "redcross/Q").outcome, 0);
    assert_eq!(programme(&stage).exclusive_with, [reference("redcross/Q")]);
    // Where one agency is finance of both, its one approval is for both.
    let own = with(programme_fields("CNY"), "exclusive_with", Value::Array(vec![to("civil/P")]));
    stage.apply_with(OWNER, "programme_open", "R", own);
}

#[test]
fn mz_3212_nobody_excludes_a_charitys_programme_without_whoever_releases_it() {
    let mut stage = Stage::found();
    let charitys = with(programme_fields("CNY"), "owner", text("redcross"));
    stage.apply_with(["redcross/1", "finance/1"], "programme_open", "D", charitys);
    let fields = with(programme_fields("CNY"), "exclusive_with", Value::Array(vec![to("redcross/D")]));
    stage.apply("civil/1", "programme_open", "Q", fields);
    assert_eq!(stage.approve("finance/1", "civil/Q").outcome, 0);
    assert!(stage.object("civil/Q").is_none(), "it waits for the supervisor of redcross/D");
    assert_eq!(stage.approve("super/1", "civil/Q").outcome, 0);
    assert!(stage.object("civil/Q").is_some());
}
