//! A programme's whole life, step by step; money is conserved at every one.

use super::*;
use crate::outcome::Code;
use crate::records::calendar::Day;
use crate::records::fund::standing;
use crate::records::testing::DAY_MS;

#[test]
fn from_appropriation_to_the_close_of_the_programme() {
    let mut stage = funded();
    assert_balanced(&stage, "live");
    assert_eq!(available(&stage, "finance/P-APP"), 2_000);
    assert_eq!(available(&stage, "finance/P-ALL"), 3_000);
    assert_eq!(available(&stage, "finance/C-G"), 5_000);

    stage.apply("civil/1", "payment_request", "PAY-1", payment("G", 1, 4_000));
    assert_eq!(state_of(&stage, "civil/PAY-1"), MovementState::Proposed);
    assert_eq!(available(&stage, "finance/C-G"), 1_000, "a reservation takes what is available");
    assert_balanced(&stage, "live");
    assert_eq!(stage.approve("finance/1", "civil/PAY-1").outcome, 0);
    assert_eq!(state_of(&stage, "civil/PAY-1"), MovementState::Released);
    assert_eq!(account(&stage, "finance/P-PAI").sums.credits_posted, 0, "only the bank posts");
    stage.apply("bank/1", "payment_confirm", "PC-1", confirmation("civil/PAY-1", "B-1"));
    assert_eq!(state_of(&stage, "civil/PAY-1"), MovementState::Posted);
    assert_eq!(account(&stage, "finance/P-PAI").sums.credits_posted, 4_000);
    assert_balanced(&stage, "live");

    stage.apply("bank/1", "payment_return", "PR-1", payment_return("civil/PAY-1", 1_500, "B-2"));
    assert_eq!(available(&stage, "finance/P-RET"), 1_500);
    let again =
        vec![("payment", to("civil/PAY-1")), ("amount", uint(1_000)), ("payee_account", Value::bytes(&account_of(1)))];
    stage.apply_with(OWNER, "payment_reissue", "RI-1", again);
    stage.apply("bank/1", "payment_confirm", "PC-2", confirmation("civil/RI-1", "B-3"));
    assert_eq!(available(&stage, "finance/P-RET"), 500);
    assert_balanced(&stage, "live");

    let refund = vec![
        ("amount", uint(500)),
        ("from", to("finance/P-RET")),
        ("to", to("finance/P-SOU")),
        ("reason", text("unused")),
    ];
    stage.apply_with(OWNER, "refund", "RF-1", refund);
    assert_eq!(state_of(&stage, "civil/RF-1"), MovementState::Released, "a refund to the source crosses the bank");
    stage.apply("bank/1", "payment_confirm", "PC-3", confirmation("civil/RF-1", "B-4"));
    assert_balanced(&stage, "live");

    let release = vec![("amount", uint(1_000)), ("from", to("finance/C-G")), ("award", to("civil/G"))];
    stage.apply_with(OWNER, "decommit", "DC-1", release);
    assert_eq!(available(&stage, "finance/P-ALL"), 4_000);
    let close = vec![("programme", to("civil/P")), ("year", uint(2026)), ("carry_minor", uint(4_500))];
    stage.apply_with(FINANCE, "year_close", "YC-1", close);
    assert_eq!(available(&stage, "finance/P-CAR"), 4_500);
    assert_eq!(available(&stage, "finance/P-LAP"), 1_500);
    assert!(account(&stage, "finance/P-ALL").closed);
    assert_balanced(&stage, "live");

    let next = open_next_year(&mut stage);
    stage.apply_with(FINANCE, "appropriate", "AP-2", next);
    let back = vec![("amount", uint(4_500)), ("from", to("finance/P-APP7")), ("to", to("finance/P-SOU"))];
    stage.apply_with(FINANCE, "recall", "RC-1", back);
    stage.apply_with(OWNER, "programme_close", "END", vec![("programme", to("civil/P"))]);
    assert!(programme(&stage).closed);
    assert_balanced(&stage, "live");
    let settled = account(&stage, "finance/P-PAI").sums;
    let source = account(&stage, "finance/P-SOU").sums;
    let lapsed = account(&stage, "finance/P-LAP").sums.credits_posted;
    assert_eq!(source.debits_posted - source.credits_posted, settled.credits_posted - settled.debits_posted + lapsed);
}

fn open_next_year(stage: &mut Stage) -> Vec<(&'static str, Value)> {
    open_account_as(stage, "P-APP7", "P", "APPROPRIATION", vec![("year", uint(2027))]);
    vec![
        ("amount", uint(4_500)),
        ("from", to("finance/P-CAR")),
        ("to", to("finance/P-APP7")),
        ("legal_ref", text("carried")),
    ]
}

#[test]
fn an_income_is_announced_approved_and_confirmed() {
    let mut stage = opened();
    open_account_as(&mut stage, "P-DON", "P", "SOURCE", vec![("earmark", text("donors"))]);
    open_account_as(&mut stage, "P-SCH", "P", "APPROPRIATION", vec![("earmark", text("school"))]);
    let part = |account: &str, minor| Value::text_map([("to", to(account)), ("amount", uint(minor))]);
    let fields = vec![
        ("parts", Value::Array(vec![part("finance/P-APP", 300), part("finance/P-SCH", 200)])),
        ("external_ref", text("E-1")),
        ("channel", text("transfer")),
        ("donor", person_value(7)),
    ];
    stage.apply_with(FINANCE, "income_record", "IN-1", fields);
    assert_eq!(available(&stage, "finance/P-APP"), 0, "pending credits cannot be spent");
    stage.apply("bank/1", "income_confirm", "IC-1", confirmation("finance/IN-1", "B-1"));
    assert_eq!(available(&stage, "finance/P-APP"), 300);
    assert_eq!(available(&stage, "finance/P-SCH"), 200);
    assert_eq!(account(&stage, "finance/P-DON").sums.debits_posted, 500);
    assert_balanced(&stage, "live");
    let counted = day_count(&stage);
    assert_eq!((counted.income, counted.paid, counted.count), (500, 0, 1));
}

fn day_count(stage: &Stage) -> crate::records::fund::day::DayCount {
    stage.get(&key::day("civil.P", "2026-06-01")).expect("a day's counters")
}

#[test]
fn a_list_is_published_confirmed_and_paid_line_by_line() {
    let mut stage = funded();
    let lines = Lines::of(&[1, 2, 3]);
    confirmed_list(&mut stage, "L", &lines, "2026H1");
    let before = stage.trail_length(&key::recipient("scope", &[2; 16]));
    for (index, id) in [(0, "LP-0"), (1, "LP-1"), (2, "LP-2")] {
        stage.apply_with(OWNER, "payment_request", id, list_payment("L", &lines.proof(index)));
        stage.apply("bank/1", "payment_confirm", &format!("C{id}"), confirmation(&format!("civil/{id}"), id));
    }
    assert_eq!(available(&stage, "finance/C-L"), 0);
    assert_balanced(&stage, "live");
    let trail = stage.trail_length(&key::recipient("scope", &[2; 16]));
    assert_eq!(trail, before + 3, "request, approval and confirmation join the recipient's trail");
}

#[test]
fn a_payment_that_fails_expires_or_is_cancelled_gives_its_reservation_back() {
    let mut stage = funded();
    stage.apply_with(OWNER, "payment_request", "F", payment("G", 1, 5_000));
    stage.apply("bank/1", "payment_fail", "PF", vec![("movement", to("civil/F")), ("reason", text("closed"))]);
    assert_eq!(state_of(&stage, "civil/F"), MovementState::Failed);
    assert_eq!(available(&stage, "finance/C-G"), 5_000);

    stage.apply("civil/1", "payment_request", "K", payment("G", 1, 5_000));
    let cancel = vec![("movement", to("civil/K")), ("reason", text("mistake"))];
    stage.apply_with(OWNER, "movement_cancel", "MC", cancel);
    assert_eq!(state_of(&stage, "civil/K"), MovementState::Ended);
    assert_eq!(available(&stage, "finance/C-G"), 5_000);

    stage.apply("civil/1", "payment_request", "X", payment("G", 1, 5_000));
    stage.time_ms += 31 * DAY_MS;
    assert_eq!(stage.approve("finance/1", "civil/X").outcome, 3205);
    stage.apply("audit/admin1", "movement_expire", "ME", vec![("movement", to("civil/X"))]);
    assert_eq!(available(&stage, "finance/C-G"), 5_000);
    assert_balanced(&stage, "live");

    stage.apply("civil/1", "payment_request", "R", payment("G", 1, 5_000));
    let mut fields = stage.digest_of("civil/R");
    fields.push(("reason", text("unclear")));
    stage.apply("finance/1", "reject", "RJ", fields);
    assert_eq!(available(&stage, "finance/C-G"), 5_000);
    assert_balanced(&stage, "live");
}

#[test]
fn what_only_time_creates_3902_3903_3908() {
    let mut stage = funded();
    pay(&mut stage, "PAY", 100);
    stage.apply("bank/1", "payment_return", "PR", payment_return("civil/PAY", 50, "B-2"));
    let day = |text: &str| Day::parse(text).expect("a day");
    let found = |stage: &Stage, name: &str, on: &str| standing::idle(&account(stage, name), day(on), 10);
    assert_eq!(found(&stage, "finance/P-ALL", "2026-06-11"), None);
    assert_eq!(found(&stage, "finance/P-ALL", "2026-06-12"), Some(Code(3902)));
    assert_eq!(found(&stage, "finance/P-RET", "2026-06-12"), Some(Code(3903)));
    assert_eq!(found(&stage, "finance/P-CAR", "2026-06-12"), None);
    stage.apply("civil/1", "payment_request", "HOLD", payment("G", 1, 1));
    let leaf = stage.leaf("civil/HOLD").expect("the request");
    let until = leaf.waiting.as_ref().expect("it waits").valid_until;
    assert_eq!(standing::held_too_long(&leaf, until), None);
    assert_eq!(standing::held_too_long(&leaf, until + 1), Some(Code(3908)));
}

#[test]
fn only_what_is_posted_moves_money_mz_3902_mz_3903() {
    let mut stage = funded();
    pay(&mut stage, "PAY", 100);
    stage.apply("bank/1", "payment_return", "PR", payment_return("civil/PAY", 50, "B-2"));
    let moved = |stage: &Stage| {
        ["finance/P-APP", "finance/P-ALL", "finance/C-G", "finance/P-RET"].map(|name| account(stage, name).last_moved)
    };
    let before = moved(&stage);
    stage.pass_days(3);
    stage.apply("finance/1", "allot", "AL-2", allotment(1));
    stage.apply("civil/1", "payment_request", "ASKED", payment("G", 1, 1));
    let again =
        vec![("payment", to("civil/PAY")), ("amount", uint(1)), ("payee_account", Value::bytes(&account_of(1)))];
    stage.apply("civil/1", "payment_reissue", "AGAIN", again);
    assert_eq!(moved(&stage), before, "proposed");
    for (id, name) in [("RJ-1", "finance/AL-2"), ("RJ-2", "civil/ASKED"), ("RJ-3", "civil/AGAIN")] {
        let mut fields = stage.digest_of(name);
        fields.push(("reason", text("unclear")));
        let finance = if name == "finance/AL-2" { "finance/2" } else { "finance/1" };
        stage.apply(finance, "reject", id, fields);
    }
    assert_eq!(moved(&stage), before, "rejected");
    stage.apply_with(FINANCE, "allot", "AL-3", allotment(1));
    let after = moved(&stage);
    assert!(after[0] > before[0] && after[1] > before[1], "posted");
    assert_eq!(after[2..], before[2..]);
}
