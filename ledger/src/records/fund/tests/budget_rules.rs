//! Rules over programmes, accounts and money on its way down, each by its violation.

use super::*;

#[test]
fn mz_3001_one_account_a_place() {
    let mut stage = opened();
    stage.expect(3001, "finance/1", "account_open", "AGAIN", account_fields("P", "PAID"));
}

#[test]
fn mz_3002_references_are_of_the_right_kind() {
    let mut stage = funded();
    let nothing = with(allotment(1), "to", to("finance/NONE"));
    stage.expect(3002, "finance/1", "allot", "A-1", nothing);
    stage.expect(3002, "finance/1", "allot", "A-2", with(allotment(1), "to", to("finance/P-RET")));
    stage.expect(3002, "finance/1", "allot", "A-3", with(allotment(1), "to", to("civil/P")));
    stage.expect(3002, "finance/1", "appropriate", "A-4", with(appropriation(1), "from", to("finance/P-ALL")));
    stage.expect(3002, "finance/1", "account_open", "A-5", account_fields("P", "COMMITMENT"));
    open_programme(&mut stage, "Q", "CNY");
    stage.expect(3002, "civil/1", "commit", "A-6", with(commitment("G", 1), "subject", to("civil/Q")));
    let ungranted = with(commitment("G", 1), "to", to("finance/P-PAI"));
    stage.expect(3002, "civil/1", "commit", "A-7", ungranted);
}

#[test]
fn mz_3003_only_the_agencies_that_the_programme_names() {
    let mut stage = funded();
    stage.expect(3003, "town/finance", "allot", "A-1", allotment(1));
    stage.expect(3003, "civil/1", "allot", "A-2", allotment(1));
    stage.expect(3003, "town/1", "payment_request", "A-3", payment("G", 1, 1));
    stage.expect(3003, "town/1", "programme_open", "Q", programme_fields("CNY"));
}

#[test]
fn mz_3004_money_needs_three_organisations() {
    let mut stage = Stage::found();
    let fields = with(programme_fields("CNY"), "bank", text("finance"));
    stage.expect(3004, "civil/1", "programme_open", "P", fields);
}

#[test]
fn mz_3011_a_programme_closes_once() {
    let mut stage = opened();
    let close = || vec![("programme", to("civil/P"))];
    stage.apply_with(OWNER, "programme_close", "END", close());
    stage.expect(3011, "civil/1", "programme_close", "END2", close());
}

#[test]
fn mz_3012_a_live_record_opens_no_historical_programme() {
    let mut stage = Stage::found();
    stage.expect(3012, "civil/1", "programme_open", "P", with(programme_fields("CNY"), "mode", text("historical")));
}

#[test]
fn mz_3201_available_and_one_more() {
    let mut stage = funded();
    grant(&mut stage, "H", 2, 4_000);
    stage.apply_with(OWNER, "commit", "CM-2", commitment("H", 2_999));
    stage.expect(3201, "civil/1", "commit", "CM-3", commitment("H", 2));
    stage.apply("civil/1", "commit", "CM-4", commitment("H", 1));
    assert_eq!(available(&stage, "finance/P-ALL"), 0);
    let refund = |minor| {
        vec![("amount", uint(minor)), ("from", to("finance/P-RET")), ("to", to("finance/P-ALL")), ("reason", text("x"))]
    };
    pay(&mut stage, "PAY", 1_000);
    stage.apply("bank/1", "payment_return", "PR", payment_return("civil/PAY", 700, "B-2"));
    stage.expect(3201, "civil/1", "refund", "RF-1", refund(701));
    stage.apply_with(OWNER, "refund", "RF-2", refund(700));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3201_is_judged_again_at_the_approval_without_the_records_own_reservation() {
    let mut stage = funded();
    stage.apply("civil/1", "payment_request", "PAY", payment("G", 1, 5_000));
    assert_eq!(stage.approve("finance/1", "civil/PAY").outcome, 0);
}

#[test]
fn mz_3202_children_within_their_parent_and_no_recall_of_committed_money() {
    let mut stage = funded();
    stage.expect(3202, "finance/1", "allot", "A-1", allotment(2_001));
    stage.apply_with(FINANCE, "allot", "A-2", allotment(2_000));
    let recall = |minor| vec![("amount", uint(minor)), ("from", to("finance/P-ALL")), ("to", to("finance/P-APP"))];
    stage.expect(3202, "finance/1", "recall", "R-1", recall(5_001));
    stage.apply_with(FINANCE, "recall", "R-2", recall(5_000));
    assert_eq!(available(&stage, "finance/P-APP"), 5_000);
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3203_one_programme_and_currency() {
    let mut stage = funded();
    open_programme(&mut stage, "Q", "USD");
    open_account(&mut stage, "Q", "APPROPRIATION", vec![]);
    stage.expect(3203, "finance/1", "appropriate", "A-1", with(appropriation(1), "to", to("finance/Q-APP")));
    let stray = with(account_fields("Q", "ALLOTMENT"), "parent", to("finance/P-APP"));
    stage.expect(3203, "finance/1", "account_open", "Q-ALL", stray);
}

#[test]
fn mz_3208_a_grant_within_its_budget() {
    let mut stage = funded();
    grant(&mut stage, "H", 2, 8_001);
    stage.expect(3208, "civil/1", "commit", "CM-2", commitment("H", 1));
    grant(&mut stage, "I", 2, 8_000);
    stage.expect(3208, "civil/1", "commit", "CM-3", commitment("I", 8_001));
    stage.apply("civil/1", "commit", "CM-4", commitment("I", 3_000));
}

#[test]
fn mz_3213_earmarks_are_kept() {
    let mut stage = funded();
    let school = || vec![("earmark", text("school"))];
    open_account_as(&mut stage, "APP-S", "P", "APPROPRIATION", school());
    open_account_as(&mut stage, "ALL-S", "P", "ALLOTMENT", school());
    stage.apply_with(FINANCE, "appropriate", "A-1", with(appropriation(100), "to", to("finance/APP-S")));
    let plain = with(allotment(1), "from", to("finance/APP-S"));
    stage.expect(3213, "finance/1", "allot", "A-2", plain);
    open_account_as(&mut stage, "ALL-R", "P", "ALLOTMENT", vec![("earmark", text("road"))]);
    let other = with(with(allotment(1), "from", to("finance/APP-S")), "to", to("finance/ALL-R"));
    stage.expect(3213, "finance/1", "allot", "A-3", other);
    stage.apply_with(FINANCE, "allot", "A-4", with(allotment(1), "to", to("finance/ALL-S")));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3216_nothing_after_the_close() {
    let mut stage = funded();
    let close = || vec![("programme", to("civil/P")), ("year", uint(2026)), ("carry_minor", uint(0))];
    stage.apply("civil/1", "payment_request", "LATE", payment("G", 1, 10));
    stage.expect(3221, "finance/1", "year_close", "YC-0", close());
    assert_eq!(stage.approve("finance/1", "civil/LATE").outcome, 0);
    stage.apply("bank/1", "payment_confirm", "PC", confirmation("civil/LATE", "B-1"));
    stage.apply_with(FINANCE, "year_close", "YC-1", close());
    stage.expect(3216, "finance/1", "year_close", "YC-2", close());
    stage.expect(3216, "finance/1", "appropriate", "A-1", appropriation(1));
    stage.expect(
        3216,
        "finance/1",
        "account_open",
        "A-2",
        with(account_fields("P", "ALLOTMENT"), "earmark", text("e")),
    );
    stage.expect(3216, "finance/1", "account_open", "A-3", with(account_fields("P", "PAID"), "year", uint(1999)));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3216_no_commitment_after_the_cutoff() {
    let mut stage = funded();
    stage.pass_days(213);
    stage.apply("civil/1", "commit", "CM-2", commitment("G", 1));
    stage.apply("civil/1", "commit", "CM-3", commitment("G", 1));
    assert_eq!(stage.approve("finance/1", "civil/CM-3").outcome, 0, "on the last day");
    stage.pass_days(1);
    stage.expect(3216, "civil/1", "commit", "CM-4", commitment("G", 1));
    assert_eq!(stage.approve("finance/1", "civil/CM-2").outcome, 3216, "it would take effect after the cutoff");
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3216_a_closed_programme_takes_no_record() {
    let mut stage = opened();
    stage.apply_with(OWNER, "programme_close", "END", vec![("programme", to("civil/P"))]);
    stage.expect(3216, "finance/1", "appropriate", "A-1", appropriation(1));
    stage.expect(3216, "civil/1", "award_grant", "A-2", grant_fields(1, 1));
}

#[test]
fn mz_3221_nothing_closes_over_money_or_reservations() {
    let mut stage = opened();
    stage.apply("finance/1", "appropriate", "AP", appropriation(1));
    stage.expect(3221, "civil/1", "programme_close", "END", vec![("programme", to("civil/P"))]);
    assert_eq!(stage.approve("finance/2", "finance/AP").outcome, 0);
    stage.expect(3221, "civil/1", "programme_close", "END2", vec![("programme", to("civil/P"))]);
}

#[test]
fn mz_3222_sums_end_at_64_bits() {
    let mut stage = opened();
    stage.apply_with(FINANCE, "appropriate", "AP-1", appropriation(u64::MAX));
    stage.expect(3222, "finance/1", "appropriate", "AP-2", appropriation(1));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3222_is_the_programmes_own_matter() {
    let mut stage = opened();
    open_programme(&mut stage, "Q", "CNY");
    for kind in ["SOURCE", "APPROPRIATION"] {
        open_account(&mut stage, "Q", kind, vec![]);
    }
    stage.apply("finance/1", "appropriate", "AP-1", appropriation(u64::MAX));
    let other = |minor| with(with(appropriation(minor), "from", to("finance/Q-SOU")), "to", to("finance/Q-APP"));
    stage.apply_with(FINANCE, "appropriate", "AQ-1", other(u64::MAX));
    assert_balanced(&stage, "live");
    let filled: Totals = stage.get(&key::totals("live", "CNY")).expect("totals");
    assert_eq!((filled.debits_posted, filled.debits_pending), (u128::from(u64::MAX), u128::from(u64::MAX)));
    stage.expect(3222, "finance/1", "appropriate", "AQ-2", other(1));
    assert_eq!(stage.approve("finance/2", "finance/AP-1").outcome, 0);
    assert_balanced(&stage, "live");
    assert_folds(&stage, "civil/Q");
}

#[test]
fn a_second_finance_officer_releases_large_amounts() {
    let mut stage = opened();
    stage.apply_with(FINANCE, "appropriate", "AP", appropriation(300_000_000));
    stage.apply_with(FINANCE, "allot", "AL", allotment(300_000_000));
    grant(&mut stage, "G", 1, 300_000_000);
    stage.apply_with(OWNER, "commit", "CM", commitment("G", 300_000_000));
    stage.apply_with(OWNER, "payment_request", "PAY-1", payment("G", 1, 100_000_000));
    assert_eq!(state_of(&stage, "civil/PAY-1"), MovementState::Released);
    stage.apply_with(OWNER, "payment_request", "PAY-2", payment("G", 1, 100_000_001));
    assert_eq!(state_of(&stage, "civil/PAY-2"), MovementState::Proposed);
    assert_eq!(stage.approve("finance/1", "civil/PAY-2").outcome, 3004);
    assert_eq!(stage.approve("finance/2", "civil/PAY-2").outcome, 0);
    assert_eq!(state_of(&stage, "civil/PAY-2"), MovementState::Released);
    assert_balanced(&stage, "live");
}

#[test]
fn reasons_show_money_as_people_write_it() {
    let mut stage = funded();
    let told = |stage: &mut Stage, officer: &str, kind: &str, id: &str, fields: Vec<(&str, Value)>| {
        stage.submit(officer, kind, id, fields).detail
    };
    let detail = told(&mut stage, "finance/1", "allot", "A-1", allotment(200_100));
    assert_eq!(detail, "children of finance/P-APP would hold 2,081.00 CNY, it has 100.00 CNY");
    grant(&mut stage, "H", 2, 4_000);
    let detail = told(&mut stage, "civil/1", "commit", "CM-2", commitment("H", 3_001));
    assert_eq!(detail, "account finance/P-ALL: available 30.00 CNY, asked 30.01 CNY");
    let detail = told(&mut stage, "civil/1", "payment_request", "PAY", payment("G", 1, 123_456));
    assert_eq!(detail, "civil/G: value 50.00 CNY, paid and reserved 0.00 CNY, asked 1,234.56 CNY");
}

#[test]
fn mz_3002_an_allotment_is_fed_by_its_parent_alone() {
    let mut stage = funded();
    let parent = |name: &str| vec![("parent", to(name)), ("agency", text("town"))];
    open_account_as(&mut stage, "ALL-T", "P", "ALLOTMENT", parent("finance/P-ALL"));
    open_account_as(&mut stage, "ALL-R", "P", "ALLOTMENT", vec![("agency", text("redcross"))]);
    let move_to = |from: &str, to_account: &str| vec![("amount", uint(1)), ("from", to(from)), ("to", to(to_account))];
    stage.apply_with(FINANCE, "allot", "A-1", move_to("finance/P-ALL", "finance/ALL-T"));
    // Without a parent named, an ALLOTMENT hangs from APPROPRIATION.
    for (number, from) in [(2, "finance/P-ALL"), (3, "finance/ALL-T")] {
        stage.expect(3002, "finance/1", "allot", &format!("A-{number}"), move_to(from, "finance/ALL-R"));
    }
    stage.expect(3002, "finance/1", "allot", "A-4", move_to("finance/ALL-T", "finance/P-ALL"));
    stage.expect(3002, "finance/1", "allot", "A-5", move_to("finance/P-APP", "finance/ALL-T"));
    stage.expect(3002, "finance/1", "recall", "R-1", move_to("finance/ALL-T", "finance/P-APP"));
    stage.expect(3002, "finance/1", "recall", "R-2", move_to("finance/P-ALL", "finance/ALL-R"));
    stage.apply_with(FINANCE, "allot", "A-6", move_to("finance/P-APP", "finance/ALL-R"));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3001_one_allotment_of_an_agency_whatever_its_parent() {
    let mut stage = funded();
    let hung = with(account_fields("P", "ALLOTMENT"), "parent", to("finance/P-ALL"));
    stage.expect(3001, "finance/1", "account_open", "A-2", hung);
    stage.expect(3001, "finance/1", "account_open", "A-3", account_fields("P", "ALLOTMENT"));
}
