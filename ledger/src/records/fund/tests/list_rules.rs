//! Rules over lists and the claims made under them, each by its violation.

use super::*;

fn listed() -> (Stage, Lines) {
    let mut stage = funded();
    let lines = Lines::of(&[1, 2, 3]);
    confirmed_list(&mut stage, "L", &lines, "2026H1");
    (stage, lines)
}

#[test]
fn mz_3004_the_publisher_does_not_confirm() {
    let mut stage = funded();
    let lines = Lines::of(&[1]);
    stage.apply("civil/1", "list_publish", "L", lines.publish_fields("2026H1"));
    stage.pass_days(7);
    stage.expect(3004, "civil/1", "list_confirm", "LC-1", vec![("list", to("civil/L"))]);
    stage.apply("civil/2", "list_confirm", "LC-2", vec![("list", to("civil/L"))]);
}

#[test]
fn mz_3011_a_confirmed_list_stands() {
    let (mut stage, _) = listed();
    stage.expect(3011, "civil/1", "list_confirm", "LC-2", vec![("list", to("town/L"))]);
    let objection = vec![("list", to("town/L")), ("reason", hash(1))];
    stage.expect(3011, "audit/admin1", "list_objection", "LO-1", objection);
    let resolve = vec![("list", to("town/L")), ("upheld", Value::Bool(false))];
    stage.expect(3011, "super/1", "list_resolve", "LR-1", resolve);
}

#[test]
fn mz_3009_nothing_about_a_list_is_earlier_than_it() {
    let mut stage = funded();
    stage.pass_days(10);
    stage.apply("town/1", "list_publish", "L", Lines::of(&[1]).publish_fields("2026H1"));
    stage.pass_days(7);
    let early = |more: Vec<(&'static str, Value)>| {
        let fields = vec![("list", to("town/L")), ("effective_date", text("2026-06-10"))];
        fields.into_iter().chain(more).collect::<Vec<_>>()
    };
    stage.expect(3009, "civil/2", "list_confirm", "LC", early(vec![]));
    stage.expect(3009, "civil/plain", "list_objection", "LO-1", early(vec![("reason", hash(1))]));
    stage.apply("civil/plain", "list_objection", "LO-2", vec![("list", to("town/L")), ("reason", hash(1))]);
    stage.expect(3009, "super/1", "list_resolve", "LR", early(vec![("upheld", Value::Bool(false))]));
    let strike = vec![("leaf_index", uint(0)), ("reason", text("moved"))];
    stage.expect(3009, "civil/1", "list_strike", "LS", early(strike));
}

#[test]
fn mz_3209_one_payment_a_period_and_person() {
    let (mut stage, lines) = listed();
    stage.apply("civil/1", "payment_request", "LP-1", list_payment("L", &lines.proof(0)));
    stage.expect(3209, "civil/1", "payment_request", "LP-2", list_payment("L", &lines.proof(0)));
    // Another list of the same period is the same claim.
    stage.apply_with(FINANCE, "allot", "AL-2", allotment(2_000));
    stage.apply_with(
        OWNER,
        "decommit",
        "DC",
        vec![("amount", uint(3_000)), ("from", to("finance/C-G")), ("award", to("civil/G"))],
    );
    let others = Lines::of(&[1, 4]);
    confirmed_list(&mut stage, "M", &others, "2026H1");
    stage.expect(3209, "civil/1", "payment_request", "LP-3", list_payment("M", &others.proof(0)));
    // A period later it is another.
    let later = Lines::of(&[1]);
    confirmed_list(&mut stage, "N", &later, "2026H2");
    stage.apply("civil/1", "payment_request", "LP-4", list_payment("N", &later.proof(0)));
}

#[test]
fn mz_3209_is_free_again_once_the_payment_came_back_whole() {
    let (mut stage, lines) = listed();
    let pay = |stage: &mut Stage, id: &str| {
        stage.apply_with(OWNER, "payment_request", id, list_payment("L", &lines.proof(0)));
        stage.apply("bank/1", "payment_confirm", &format!("C{id}"), confirmation(&format!("civil/{id}"), id));
    };
    stage.apply_with(OWNER, "payment_request", "LP-0", list_payment("L", &lines.proof(0)));
    let fail = vec![("movement", to("civil/LP-0")), ("reason", text("closed"))];
    stage.apply("bank/1", "payment_fail", "PF", fail);
    pay(&mut stage, "LP-1");
    stage.apply("bank/1", "payment_return", "R-1", payment_return("civil/LP-1", 400, "B-1"));
    stage.expect(3209, "civil/1", "payment_request", "LP-2", list_payment("L", &lines.proof(0)));
    stage.apply("bank/1", "payment_return", "R-2", payment_return("civil/LP-1", 600, "B-2"));
    let again =
        vec![("payment", to("civil/LP-1")), ("amount", uint(1)), ("payee_account", Value::bytes(&account_of(1)))];
    stage.apply("civil/1", "payment_reissue", "RI", again);
    stage.expect(3209, "civil/1", "payment_request", "LP-3", list_payment("L", &lines.proof(0)));
    let mut fields = stage.digest_of("civil/RI");
    fields.push(("reason", text("not again")));
    stage.apply("finance/1", "reject", "RJ", fields);
    stage.apply_with(
        OWNER,
        "refund",
        "RF",
        vec![
            ("amount", uint(1_000)),
            ("from", to("finance/P-RET")),
            ("to", to("finance/C-L")),
            ("reason", text("again")),
        ],
    );
    pay(&mut stage, "LP-4");
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3210_only_a_proven_line_that_is_not_struck() {
    let mut stage = funded();
    let lines = Lines::of(&[1, 2, 3]);
    let proof = lines.proof(1);
    stage.apply("town/1", "list_publish", "L", lines.publish_fields("2026H1"));
    open_account_as(&mut stage, "C-L", "P", "COMMITMENT", vec![("award", to("town/L"))]);
    let commit = vec![("amount", uint(3_000)), ("from", to("finance/P-ALL")), ("award", to("town/L"))];
    stage.expect(3210, "civil/1", "commit", "CM-0", commit.clone());
    stage.pass_days(7);
    stage.apply("civil/1", "list_confirm", "LC", vec![("list", to("town/L"))]);
    stage.apply_with(OWNER, "commit", "CM", commit);
    let mut bare = list_payment("L", &proof);
    bare.retain(|(name, _)| *name != "list_proof");
    stage.expect(3210, "civil/1", "payment_request", "LP-1", bare);
    let another = with(list_payment("L", &proof), "recipient", person_value(3));
    stage.expect(3210, "civil/1", "payment_request", "LP-2", another);
    let wrong = ListProof { path: lines.proof(0).path, ..proof.clone() };
    stage.expect(3210, "civil/1", "payment_request", "LP-3", list_payment("L", &wrong));
    let strike = vec![("list", to("town/L")), ("leaf_index", uint(1)), ("reason", text("moved"))];
    stage.apply_with(["civil/1", "super/1"], "list_strike", "LS", strike.clone());
    stage.expect(3210, "civil/1", "payment_request", "LP-4", list_payment("L", &proof));
    stage.expect(3011, "civil/1", "list_strike", "LS-2", strike);
    let beyond = vec![("list", to("town/L")), ("leaf_index", uint(3)), ("reason", text("moved"))];
    stage.expect(3217, "civil/1", "list_strike", "LS-3", beyond);
    stage.apply("civil/1", "payment_request", "LP-5", list_payment("L", &lines.proof(0)));
}

#[test]
fn mz_3212_exclusive_programmes_both_ways() {
    let (mut stage, lines) = listed();
    let exclusive = Value::Array(vec![to("civil/P")]);
    stage.apply_with(OWNER, "programme_open", "Q", with(programme_fields("CNY"), "exclusive_with", exclusive.clone()));
    let elsewhere = with(with(programme_fields("CNY"), "exclusive_with", exclusive), "scope", text("other"));
    stage.expect(3212, "civil/1", "programme_open", "S", elsewhere);
    for kind in ["SOURCE", "APPROPRIATION", "ALLOTMENT", "PAID"] {
        open_account(&mut stage, "Q", kind, vec![]);
    }
    let fields = |names: [&str; 2], minor| vec![("amount", uint(minor)), ("from", to(names[0])), ("to", to(names[1]))];
    let mut budget = fields(["finance/Q-SOU", "finance/Q-APP"], 2_000);
    budget.push(("legal_ref", text("x")));
    stage.apply_with(FINANCE, "appropriate", "QA", budget);
    stage.apply_with(FINANCE, "allot", "QL", fields(["finance/Q-APP", "finance/Q-ALL"], 2_000));
    let both = Lines::of(&[1, 2]);
    let published = with(both.publish_fields("2026H1"), "subject", to("civil/Q"));
    stage.apply("town/1", "list_publish", "X", published);
    stage.pass_days(7);
    stage.apply("civil/1", "list_confirm", "XC", vec![("list", to("town/X"))]);
    open_account_as(&mut stage, "C-X", "Q", "COMMITMENT", vec![("award", to("town/X"))]);
    let commit = vec![("amount", uint(2_000)), ("from", to("finance/Q-ALL")), ("award", to("town/X"))];
    stage.apply_with(OWNER, "commit", "XM", commit);
    stage.apply("civil/1", "payment_request", "LP-1", list_payment("L", &lines.proof(0)));
    stage.expect(3212, "civil/1", "payment_request", "XP-1", list_payment("X", &both.proof(0)));
    stage.apply("civil/1", "payment_request", "XP-2", list_payment("X", &both.proof(1)));
    stage.expect(3212, "civil/1", "payment_request", "LP-2", list_payment("L", &lines.proof(1)));
    assert_folds(&stage, "civil/Q");
}

#[test]
fn mz_3217_amounts_by_the_standard_and_within_the_list() {
    let (mut stage, lines) = listed();
    let (proof, lines) = (lines.proof(0), Lines::of(&[1, 2, 4]));
    stage.expect(3217, "civil/1", "payment_request", "LP-1", with(list_payment("L", &proof), "amount", uint(999)));
    let odd = with(lines.publish_fields("2026H2"), "total", uint(3_001));
    stage.expect(3217, "town/1", "list_publish", "M", odd);
    stage.expect(3217, "town/1", "list_publish", "N", with(lines.publish_fields("2026H2"), "count", uint(0)));
}

#[test]
fn mz_3217_the_total_of_a_list_is_fixed() {
    let mut stage = funded();
    let lines = Lines::of(&[1, 2]);
    stage.apply("town/1", "list_publish", "L", with(lines.publish_fields("2026H1"), "total", uint(1_000)));
    stage.pass_days(7);
    stage.apply("civil/1", "list_confirm", "LC", vec![("list", to("town/L"))]);
    open_account_as(&mut stage, "C-L", "P", "COMMITMENT", vec![("award", to("town/L"))]);
    stage.apply_with(
        OWNER,
        "commit",
        "CM",
        vec![("amount", uint(2_000)), ("from", to("finance/P-ALL")), ("award", to("town/L"))],
    );
    stage.apply("civil/1", "payment_request", "LP-1", list_payment("L", &lines.proof(0)));
    stage.expect(3217, "civil/1", "payment_request", "LP-2", list_payment("L", &lines.proof(1)));
}

#[test]
fn mz_3218_publicity_and_objections() {
    let mut stage = funded();
    let lines = Lines::of(&[1]);
    let confirm = || vec![("list", to("town/L"))];
    stage.apply("town/1", "list_publish", "L", with(lines.publish_fields("2026H1"), "days", uint(9)));
    stage.pass_days(8);
    stage.expect(3218, "civil/1", "list_confirm", "LC-1", confirm());
    stage.pass_days(1);
    for id in ["LO-1", "LO-2"] {
        stage.apply("audit/admin1", "list_objection", id, vec![("list", to("town/L")), ("reason", hash(1))]);
    }
    let resolve = vec![("list", to("town/L")), ("upheld", Value::Bool(false)), ("objection", to("audit/LO-1"))];
    stage.apply("super/1", "list_resolve", "LR-1", resolve.clone());
    stage.expect(3011, "super/1", "list_resolve", "LR-2", resolve);
    stage.expect(3218, "civil/1", "list_confirm", "LC-2", confirm());
    stage.apply("super/1", "list_resolve", "LR-3", vec![("list", to("town/L")), ("upheld", Value::Bool(true))]);
    stage.apply("civil/1", "list_confirm", "LC-3", confirm());
}

#[test]
fn a_failed_approval_ends_the_payment_and_a_strangers_attempt_does_not() {
    let (mut stage, lines) = listed();
    let before = available(&stage, "finance/C-L");
    stage.apply("civil/1", "payment_request", "LP-1", list_payment("L", &lines.proof(0)));
    stage.apply("civil/1", "payment_request", "LP-2", list_payment("L", &lines.proof(1)));
    assert_eq!(stage.approve("finance/admin1", "civil/LP-1").outcome, 3003);
    assert_eq!(state_of(&stage, "civil/LP-1"), MovementState::Proposed);
    assert_balanced(&stage, "live");
    let strike = vec![("list", to("town/L")), ("leaf_index", uint(1)), ("reason", text("moved"))];
    stage.apply_with(["civil/1", "super/1"], "list_strike", "LS", strike);
    assert_eq!(stage.approve("finance/1", "civil/LP-2").outcome, 3210);
    assert_eq!(state_of(&stage, "civil/LP-2"), MovementState::Ended);
    assert_eq!(available(&stage, "finance/C-L"), before - 1_000);
    assert_balanced(&stage, "live");
    assert_eq!(stage.approve("finance/1", "civil/LP-2").outcome, 3205);
    assert_eq!(stage.approve("finance/1", "civil/LP-1").outcome, 0);
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3003_a_list_is_published_by_its_owner_or_a_window() {
    let mut stage = funded();
    let lines = Lines::of(&[1]);
    stage.expect(3003, "redcross/1", "list_publish", "L-1", lines.publish_fields("2026H1"));
    stage.apply("civil/1", "list_publish", "L-2", lines.publish_fields("2026H1"));
    stage.apply("civil/window", "list_publish", "L-3", Lines::of(&[2]).publish_fields("2026H2"));
    stage.apply("town/1", "list_publish", "L-4", Lines::of(&[3]).publish_fields("2027H1"));
}

#[test]
fn mz_3011_an_objection_that_all_settled_closes_no_later_one() {
    let mut stage = funded();
    let object = || vec![("list", to("town/L")), ("reason", hash(1))];
    let resolve = || vec![("list", to("town/L")), ("upheld", Value::Bool(false))];
    let resolve_one = |objection| with(resolve(), "objection", to(objection));
    stage.apply("town/1", "list_publish", "L", Lines::of(&[1]).publish_fields("2026H1"));
    stage.apply("audit/admin1", "list_objection", "OB-1", object());
    stage.apply("super/1", "list_resolve", "LR-1", resolve());
    stage.apply("audit/admin1", "list_objection", "OB-2", object());
    stage.expect(3011, "super/1", "list_resolve", "LR-2", resolve_one("audit/OB-1"));
    stage.pass_days(7);
    stage.expect(3218, "civil/1", "list_confirm", "LC-1", vec![("list", to("town/L"))]);
    stage.apply("super/1", "list_resolve", "LR-3", resolve_one("audit/OB-2"));
    stage.apply("civil/1", "list_confirm", "LC-2", vec![("list", to("town/L"))]);
}

#[test]
fn mz_1004_a_period_has_one_spelling() {
    let mut stage = funded();
    let lines = Lines::of(&[1]);
    for other in ["2026h2", "2026-H2", "2026H2 ", "2026  H2", "H2 2026", "2026-13", "second half"] {
        let refusal = stage.offer("town/1", "list_publish", "L", lines.publish_fields(other)).expect_err(other);
        assert_eq!(refusal.code.0, 1004, "{other}");
    }
    stage.apply("town/1", "list_publish", "L", lines.publish_fields("2026H2"));
}

#[test]
fn mz_3001_the_lines_of_a_root_are_published_once_in_a_programme() {
    let mut stage = funded();
    let lines = Lines::of(&[1, 2]);
    stage.apply("town/1", "list_publish", "L", lines.publish_fields("2026H1"));
    stage.expect(3001, "town/1", "list_publish", "M", lines.publish_fields("2026H2"));
    open_programme(&mut stage, "Q", "CNY");
    stage.apply("town/1", "list_publish", "N", with(lines.publish_fields("2026H2"), "subject", to("civil/Q")));
}

#[test]
fn mz_3209_periods_that_share_a_day_are_one_claim() {
    let (mut stage, lines) = listed();
    stage.apply("civil/1", "payment_request", "LP-1", list_payment("L", &lines.proof(0)));
    stage.apply_with(FINANCE, "appropriate", "AP-2", appropriation(5_000));
    stage.apply_with(FINANCE, "allot", "AL-2", allotment(5_000));
    for (list, period, persons) in [("Q", "2026Q2", &[1, 4][..]), ("Y", "2026", &[1, 3]), ("N", "2026-07", &[1])] {
        let others = Lines::of(persons);
        let proof = others.proof(0);
        confirmed_list(&mut stage, list, &others, period);
        let request = list_payment(list, &proof);
        if list == "N" {
            stage.apply("civil/1", "payment_request", "LP-2", request);
        } else {
            stage.expect(3209, "civil/1", "payment_request", &format!("LP-{list}"), request);
        }
    }
}

#[test]
fn an_objection_that_was_settled_with_all_others_is_open_no_more() {
    let mut stage = funded();
    stage.apply("town/1", "list_publish", "L", Lines::of(&[1]).publish_fields("2026H1"));
    let objection = || vec![("list", to("town/L")), ("reason", hash(1))];
    let open = |stage: &Stage, id: &str| {
        let leaf = stage.leaf(&format!("civil/{id}")).expect("an objection");
        match (leaf.object, stage.object("town/L")) {
            (Some(Object::Objection(objection)), Some(Object::List(list))) => objection.is_open(leaf.index, &list),
            other => panic!("{other:?}"),
        }
    };
    stage.apply("civil/plain", "list_objection", "LO-1", objection());
    stage.apply("civil/plain", "list_objection", "LO-2", objection());
    assert!(open(&stage, "LO-1") && open(&stage, "LO-2"));
    let resolve = vec![("list", to("town/L")), ("upheld", Value::Bool(false))];
    stage.apply("super/1", "list_resolve", "LR-1", with(resolve.clone(), "objection", to("civil/LO-1")));
    assert!(!open(&stage, "LO-1") && open(&stage, "LO-2"));
    stage.apply("super/1", "list_resolve", "LR-2", resolve);
    assert!(!open(&stage, "LO-2"));
    stage.apply("civil/plain", "list_objection", "LO-3", objection());
    assert!(open(&stage, "LO-3"), "one raised after it");
}
