//! Rules over payments, the bank, returns, recoveries and goods, each by its violation.

use super::*;
use crate::records::role::Role;
use crate::records::testing::person;

#[test]
fn mz_3004_who_proposed_or_approved_does_not_approve() {
    let mut stage = funded();
    stage.apply("civil/1", "payment_request", "PAY", payment("G", 1, 10));
    assert_eq!(stage.approve("civil/1", "civil/PAY").outcome, 3004);
    assert_eq!(stage.approve("civil/2", "civil/PAY").outcome, 3004);
    assert_eq!(stage.approve("super/1", "civil/PAY").outcome, 3004);
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3204_an_approval_names_exactly_the_record() {
    let mut stage = funded();
    stage.apply("civil/1", "payment_request", "PAY", payment("G", 1, 10));
    let fields = with(stage.digest_of("civil/PAY"), "digest", hash(7));
    stage.expect(3204, "finance/1", "approve", "A-1", fields);
}

#[test]
fn mz_3205_a_movement_ends_once() {
    let mut stage = funded();
    let confirm = |bank_ref| confirmation("civil/PAY", bank_ref);
    stage.apply("civil/1", "payment_request", "PAY", payment("G", 1, 10));
    stage.expect(3205, "audit/admin1", "movement_expire", "E-0", vec![("movement", to("civil/PAY"))]);
    assert_eq!(stage.approve("finance/1", "civil/PAY").outcome, 0);
    let cancel = vec![("movement", to("civil/PAY")), ("reason", text("x"))];
    stage.expect(3205, "civil/1", "movement_cancel", "E-1", cancel);
    stage.expect(3205, "audit/admin1", "movement_expire", "E-2", vec![("movement", to("civil/PAY"))]);
    stage.apply("bank/1", "payment_confirm", "C-1", confirm("B-1"));
    stage.expect(3205, "bank/1", "payment_confirm", "C-2", confirm("B-2"));
    let fail = vec![("movement", to("civil/PAY")), ("reason", text("x"))];
    stage.expect(3205, "bank/1", "payment_fail", "C-3", fail);
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3206_a_bank_reference_serves_once_over_all_record_types() {
    let mut stage = funded();
    pay(&mut stage, "PAY-1", 10);
    stage.apply_with(OWNER, "payment_request", "PAY-2", payment("G", 1, 20));
    stage.expect(3206, "bank/1", "payment_confirm", "C-2", confirmation("civil/PAY-2", "B-PAY-1"));
    stage.expect(3206, "bank/1", "payment_return", "R-1", payment_return("civil/PAY-1", 1, "B-PAY-1"));
    let bare = vec![("payment", to("civil/PAY-1")), ("amount", uint(1))];
    stage.expect(3206, "bank/1", "payment_return", "R-2", bare);
    let unproven = with(confirmation("civil/PAY-2", "B-2"), "statement", hash(0));
    stage.expect(3206, "bank/1", "payment_confirm", "C-3", unproven);
    stage.apply("bank/1", "payment_confirm", "C-4", confirmation("civil/PAY-2", "B-2"));
}

#[test]
fn mz_3207_payments_within_the_grant() {
    let mut stage = funded();
    stage.apply_with(FINANCE, "allot", "AL-2", allotment(2_000));
    stage.apply_with(OWNER, "commit", "CM-2", commitment("G", 1_000));
    pay(&mut stage, "PAY-1", 4_000);
    stage.expect(3207, "civil/1", "payment_request", "PAY-2", payment("G", 1, 1_001));
    stage.apply("civil/1", "payment_request", "PAY-3", payment("G", 1, 1_000));
    stage.expect(3207, "civil/1", "payment_request", "PAY-4", payment("G", 1, 1));
}

#[test]
fn mz_3210_only_whom_the_grant_names_and_while_it_lasts() {
    let mut stage = funded();
    stage.expect(3210, "civil/1", "payment_request", "PAY-1", payment("G", 2, 1));
    stage.expect(3210, "civil/1", "award_grant", "H", with(grant_fields(1, 1), "party", text("SUP-1")));
    stage.pass_days(300);
    stage.expect(3210, "civil/1", "payment_request", "PAY-2", payment("G", 1, 1));
}

#[test]
fn mz_3211_only_the_registered_account() {
    let mut stage = funded();
    stage.expect(3211, "civil/1", "payment_request", "PAY-1", with(payment("G", 1, 1), "payee_account", hash(2)));
    pay(&mut stage, "PAY-2", 100);
    stage.apply("bank/1", "payment_return", "R-1", payment_return("civil/PAY-2", 100, "B-2"));
    let again = vec![("payment", to("civil/PAY-2")), ("amount", uint(1)), ("payee_account", hash(2))];
    stage.expect(3211, "civil/1", "payment_reissue", "RI", again);
}

#[test]
fn mz_3215_no_more_comes_back_than_was_paid() {
    let mut stage = funded();
    pay(&mut stage, "PAY", 100);
    stage.apply("bank/1", "payment_return", "R-1", payment_return("civil/PAY", 60, "B-2"));
    let order = |minor| vec![("payment", to("civil/PAY")), ("amount", uint(minor)), ("decision", hash(3))];
    stage.expect(3215, "super/1", "recovery_order", "O-1", order(41));
    stage.apply("super/1", "recovery_order", "O-2", order(30));
    let receipt =
        |minor, bank_ref| vec![("order", to("super/O-2")), ("amount", uint(minor)), ("bank_ref", text(bank_ref))];
    stage.expect(3215, "bank/1", "recovery_receipt", "RR-1", receipt(31, "B-3"));
    stage.apply("bank/1", "recovery_receipt", "RR-2", receipt(30, "B-3"));
    // The PAID account holds another payment too, so only the rule stands in the way.
    pay(&mut stage, "PAY-2", 500);
    stage.expect(3215, "bank/1", "payment_return", "R-2", payment_return("civil/PAY", 11, "B-4"));
    stage.apply("bank/1", "payment_return", "R-3", payment_return("civil/PAY", 10, "B-4"));
    assert_eq!(available(&stage, "finance/P-RET"), 100);
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3223_reissues_within_returns_never_recoveries() {
    let mut stage = funded();
    pay(&mut stage, "PAY", 100);
    let again = |minor| {
        vec![("payment", to("civil/PAY")), ("amount", uint(minor)), ("payee_account", Value::bytes(&account_of(1)))]
    };
    stage.expect(3223, "civil/1", "payment_reissue", "RI-0", again(1));
    let order = vec![("payment", to("civil/PAY")), ("amount", uint(40)), ("decision", hash(3))];
    stage.apply("super/1", "recovery_order", "O", order);
    let receipt = vec![("order", to("super/O")), ("amount", uint(40)), ("bank_ref", text("B-3"))];
    stage.apply("bank/1", "recovery_receipt", "RR", receipt);
    stage.apply("bank/1", "payment_return", "R", payment_return("civil/PAY", 60, "B-4"));
    stage.expect(3223, "civil/1", "payment_reissue", "RI-1", again(61));
    stage.apply("civil/1", "payment_reissue", "RI-2", again(60));
    stage.expect(3223, "civil/1", "payment_reissue", "RI-3", again(1));
    assert_eq!(stage.approve("finance/1", "civil/RI-2").outcome, 0);
    assert_balanced(&stage, "live");
    let fail = vec![("movement", to("civil/RI-2")), ("reason", text("x"))];
    stage.apply("bank/1", "payment_fail", "PF", fail);
    stage.apply_with(OWNER, "payment_reissue", "RI-4", again(60));
    stage.apply("bank/1", "payment_confirm", "PC", confirmation("civil/RI-4", "B-5"));
    stage.apply("bank/1", "payment_return", "R-2", payment_return("civil/RI-4", 60, "B-6"));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3224_goods_issued_within_goods_recorded() {
    let mut stage = opened();
    let lot = vec![("subject", to("civil/P")), ("item", text("rice")), ("unit", text("kg")), ("quantity", uint(10))];
    let before = stage.trail_length(&reference("civil/P").key());
    stage.apply("civil/1", "goods_record", "GR", lot);
    let issue =
        |quantity| vec![("goods", to("civil/GR")), ("quantity", uint(quantity)), ("recipient", person_value(1))];
    stage.apply("civil/1", "goods_issue", "GI-1", issue(9));
    stage.expect(3224, "civil/1", "goods_issue", "GI-2", issue(2));
    stage.apply("civil/1", "goods_issue", "GI-3", issue(1));
    assert_eq!(stage.trail_length(&reference("civil/P").key()), before + 4, "the rejected issue too");
}

#[test]
fn mz_3911_the_same_payee_amount_and_day_twice() {
    let mut stage = funded();
    let first = stage.apply("civil/1", "payment_request", "PAY-1", payment("G", 1, 100));
    assert_eq!(first.flags, Vec::<u16>::new());
    let second = stage.apply("civil/1", "payment_request", "PAY-2", payment("G", 1, 100));
    assert_eq!(second.flags, vec![3911]);
    let other = stage.apply("civil/1", "payment_request", "PAY-3", payment("G", 1, 101));
    assert_eq!(other.flags, Vec::<u16>::new());
    assert_eq!(stage.approve("finance/1", "civil/PAY-2").flags, Vec::<u16>::new());
    assert_eq!(stage.trail_length(&key::findings("civil.P")), 1);
    assert!(stage.state.0.contains_key(&key::finding("civil.P", second.index, 3911)));
}

#[test]
fn a_receipt_names_a_payment_and_a_statement_is_reconciled_by_bank_and_finance() {
    let mut stage = funded();
    pay(&mut stage, "PAY", 100);
    let received = |payment| vec![("payment", to(payment)), ("received", Value::Bool(true))];
    stage.apply("civil/1", "receipt_confirm", "RC", received("civil/PAY"));
    stage.expect(3002, "civil/1", "receipt_confirm", "RC-2", received("finance/AL-1"));
    let statement = vec![
        ("account", to("finance/P-PAI")),
        ("day", text("2026-06-01")),
        ("statement_total", uint(100)),
        ("matched_root", hash(1)),
        ("breaks_root", hash(2)),
    ];
    stage.apply_with(["bank/1", "finance/1"], "reconcile", "RE", statement);
}

#[test]
fn mz_3009_nothing_before_what_it_depends_on() {
    let mut stage = funded();
    let early = |fields| with(fields, "effective_date", text("2026-05-31"));
    stage.expect(3009, "civil/1", "payment_request", "PAY-1", early(payment("G", 1, 1)));
    stage.expect(3009, "civil/1", "commit", "CM-2", early(commitment("G", 1)));
    stage.apply_with(OWNER, "payment_request", "PAY-2", payment("G", 1, 1));
    stage.expect(3009, "bank/1", "payment_confirm", "PC", early(confirmation("civil/PAY-2", "B-1")));
}

#[test]
fn mz_3913_just_below_a_second_approval() {
    let mut stage = opened();
    stage.apply_with(FINANCE, "appropriate", "AP", appropriation(300_000_000));
    stage.apply_with(FINANCE, "allot", "AL", allotment(300_000_000));
    grant(&mut stage, "G", 1, 300_000_000);
    stage.apply_with(OWNER, "commit", "CM", commitment("G", 300_000_000));
    let flags = |stage: &mut Stage, id: &str, minor| {
        stage.apply("civil/1", "payment_request", id, payment("G", 1, minor)).flags
    };
    assert_eq!(flags(&mut stage, "PAY-1", 94_999_999), Vec::<u16>::new());
    assert_eq!(flags(&mut stage, "PAY-2", 95_000_000), vec![3913]);
    assert_eq!(flags(&mut stage, "PAY-3", 100_000_001), Vec::<u16>::new());
}

#[test]
fn mz_3911_and_3913_of_what_is_paid_again() {
    let mut stage = opened();
    stage.apply_with(FINANCE, "appropriate", "AP", appropriation(300_000_000));
    stage.apply_with(FINANCE, "allot", "AL", allotment(300_000_000));
    grant(&mut stage, "G", 1, 300_000_000);
    stage.apply_with(OWNER, "commit", "CM", commitment("G", 300_000_000));
    for (id, second, minor) in [("PAY-1", "finance/2", 190_000_000), ("PAY-2", "finance/2", 100_000_001)] {
        stage.apply_with(OWNER, "payment_request", id, payment("G", 1, minor));
        assert_eq!(stage.approve(second, &format!("civil/{id}")).outcome, 0);
        stage.apply("bank/1", "payment_confirm", &format!("PC-{id}"), confirmation(&format!("civil/{id}"), id));
        let back = payment_return(&format!("civil/{id}"), minor, &format!("R-{id}"));
        stage.apply("bank/1", "payment_return", &format!("PR-{id}"), back);
    }
    let mut flags = |id: &str, original: &str, minor| {
        let account = Value::bytes(&account_of(1));
        let fields = vec![("payment", to(original)), ("amount", uint(minor)), ("payee_account", account)];
        stage.apply("civil/1", "payment_reissue", id, fields).flags
    };
    assert_eq!(flags("RI-1", "civil/PAY-1", 95_000_000), [3913]);
    assert_eq!(flags("RI-2", "civil/PAY-1", 95_000_000), [3911, 3913], "the same again");
    assert_eq!(flags("RI-3", "civil/PAY-2", 100_000_001), [0u16; 0], "what it repeats is its own original");
}

#[test]
fn mz_3004_a_large_payment_is_cancelled_by_as_many_as_release_it() {
    let mut stage = opened();
    stage.apply_with(FINANCE, "appropriate", "AP", appropriation(300_000_000));
    stage.apply_with(FINANCE, "allot", "AL", allotment(300_000_000));
    grant(&mut stage, "G", 1, 300_000_000);
    stage.apply_with(OWNER, "commit", "CM", commitment("G", 300_000_000));
    stage.apply("civil/1", "payment_request", "PAY", payment("G", 1, 100_000_001));
    let cancel = |movement: &str| vec![("movement", to(movement)), ("reason", text("mistake"))];
    stage.apply_with(OWNER, "movement_cancel", "MC", cancel("civil/PAY"));
    assert_eq!(state_of(&stage, "civil/PAY"), MovementState::Proposed);
    assert_eq!(stage.approve("finance/1", "civil/MC").outcome, 3004);
    assert_eq!(stage.approve("finance/2", "civil/MC").outcome, 0);
    assert_eq!(state_of(&stage, "civil/PAY"), MovementState::Ended);
    stage.apply("finance/1", "appropriate", "AP-2", appropriation(100_000_001));
    stage.apply_with(FINANCE, "movement_cancel", "MC-2", cancel("finance/AP-2"));
    assert_eq!(state_of(&stage, "finance/AP-2"), MovementState::Ended, "finance's own act has one second officer");
    assert_balanced(&stage, "live");
}

#[test]
fn a_party_is_paid_to_the_account_that_it_registered() {
    let mut stage = funded();
    let party = vec![("party_id", text("SUP-1")), ("kind", text("supplier")), ("account_commitment", hash(8))];
    stage.apply("civil/1", "party_register", "SUP", party);
    let mut award = grant_fields(1, 1_000);
    award.retain(|(name, _)| *name != "recipient");
    award.push(("party", text("SUP-1")));
    stage.apply_with(OWNER, "award_grant", "H", award);
    open_account_as(&mut stage, "C-H", "P", "COMMITMENT", vec![("award", to("civil/H"))]);
    stage.apply_with(OWNER, "commit", "CM-2", commitment("H", 1_000));
    let request = |account| {
        let mut fields = with(payment("H", 1, 1_000), "payee_account", account);
        fields.retain(|(name, _)| *name != "recipient");
        fields.push(("party", text("SUP-1")));
        fields
    };
    stage.expect(3211, "civil/1", "payment_request", "PAY-1", request(hash(9)));
    stage.apply_with(OWNER, "payment_request", "PAY-2", request(hash(8)));
}

#[test]
fn mz_3007_and_3009_a_bank_books_neither_ahead_nor_before_the_programme() {
    let mut stage = funded();
    stage.apply_with(OWNER, "payment_request", "PAY", payment("G", 1, 10));
    let booked = |day: &str| with(confirmation("civil/PAY", "B-1"), "booked", text(day));
    for (number, (code, day)) in [(3007, "2026-06-02"), (3007, "2027-06-01"), (3009, "1900-01-01")].iter().enumerate() {
        stage.expect(*code, "bank/1", "payment_confirm", &format!("PC-{number}"), booked(day));
    }
    stage.apply("bank/1", "payment_confirm", "PC", booked("2026-05-31"));
}

#[test]
fn mz_3003_and_3011_a_receipt_is_of_money_that_came_by_who_may_know() {
    let mut stage = funded();
    let lines = Lines::of(&[1]);
    confirmed_list(&mut stage, "L", &lines, "2026H1");
    let received = |payment: &str| vec![("payment", to(payment)), ("received", Value::Bool(true))];
    stage.apply_with(OWNER, "payment_request", "LP", list_payment("L", &lines.proof(0)));
    stage.expect(3011, "civil/1", "receipt_confirm", "RC-1", received("civil/LP"));
    stage.apply("bank/1", "payment_confirm", "PC", confirmation("civil/LP", "B-1"));
    stage.expect(3003, "redcross/1", "receipt_confirm", "RC-2", received("civil/LP"));
    stage.apply("civil/1", "receipt_confirm", "RC-3", received("civil/LP"));
    // The township that published the list stands nearest to its recipients.
    stage.apply("town/1", "receipt_confirm", "RC-4", received("civil/LP"));
    stage.apply_with(OWNER, "payment_request", "F", payment("G", 1, 10));
    stage.apply("bank/1", "payment_fail", "PF", vec![("movement", to("civil/F")), ("reason", text("closed"))]);
    stage.expect(3011, "civil/1", "receipt_confirm", "RC-5", received("civil/F"));
    pay(&mut stage, "PAY", 10);
    stage.expect(3003, "town/1", "receipt_confirm", "RC-6", received("civil/PAY"));
}

#[test]
fn mz_3009_neither_approval_nor_cancelling_is_earlier_than_the_request() {
    let mut stage = funded();
    stage.pass_days(10);
    stage.apply("civil/1", "payment_request", "PAY", payment("G", 1, 600));
    let early = |mut fields: Vec<(&'static str, Value)>| {
        fields.push(("effective_date", text("2026-06-10")));
        fields
    };
    let approval = early(stage.digest_of("civil/PAY"));
    stage.expect(3009, "finance/1", "approve", "A-1", approval.clone());
    stage.expect(3009, "finance/1", "reject", "A-2", with(approval, "reason", text("wrong")));
    let cancel = || vec![("movement", to("civil/PAY")), ("reason", text("twice"))];
    stage.expect(3009, "civil/1", "movement_cancel", "X-1", early(cancel()));
    assert_eq!(stage.approve("finance/1", "civil/PAY").outcome, 0, "the request still waited");
    assert_folds(&stage, "civil/P");
}

#[test]
fn mz_3211_only_the_bank_that_pays_says_whose_account_it_is() {
    let mut stage = funded();
    stage.let_hold("centre", Role::AgentBank);
    let grant = vec![
        ("officer", Value::bytes(&person("centre/1"))),
        ("role", text("agent_bank")),
        ("valid_from", text("2026-06-01")),
        ("valid_until", text("2026-12-31")),
    ];
    stage.apply_with(["centre/admin1", "centre/admin2"], "role_grant", "RG", grant);
    pay(&mut stage, "PAY-1", 100);
    stage.apply("bank/1", "payment_return", "R-1", payment_return("civil/PAY-1", 100, "B-2"));
    let elsewhere = with(programme_fields("CNY"), "bank", text("centre"));
    stage.apply_with(OWNER, "programme_open", "Q", elsewhere);
    let registration = |programme: &str| {
        vec![
            ("recipient", person_value(1)),
            ("scope", text("scope")),
            ("account_commitment", Value::bytes(&account_of(1))),
            ("programme", to(programme)),
        ]
    };
    let other = with(registration("civil/Q"), "account_commitment", hash(8));
    stage.apply_with(["civil/1", "centre/1"], "payee_register", "Q-0", other);
    stage.apply_with(["civil/1", "centre/1"], "payee_register", "Q-1", registration("civil/Q"));
    stage.expect(3211, "civil/1", "payment_request", "PAY-2", payment("G", 1, 1));
    let account = Value::bytes(&account_of(1));
    let again = || vec![("payment", to("civil/PAY-1")), ("amount", uint(1)), ("payee_account", account.clone())];
    stage.expect(3211, "civil/1", "payment_reissue", "RI-1", again());
    stage.apply_with(["civil/1", "bank/1"], "payee_register", "P-1", registration("civil/P"));
    stage.apply("civil/1", "payment_request", "PAY-3", payment("G", 1, 1));
    stage.apply("civil/1", "payment_reissue", "RI-2", again());
}
