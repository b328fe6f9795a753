//! Funds in imports: everything at once, R/F rules flag, strict rejects, and live and historical never meet.

use super::*;
use crate::records::role::Role;

const EFFECTIVE: &str = "2020-02-01";

/// An import and a programme H of the archive's with one account of each kind for 2020.
fn imported(strict: bool) -> Stage {
    let mut stage = Stage::found();
    let fields = vec![
        ("source", text("open data")),
        ("rows_root", hash(1)),
        ("licence", text("OGL")),
        ("format", text("payments")),
        ("strict", Value::Bool(strict)),
        ("period_end", text("2020-12-31")),
    ];
    stage.apply_with(["archive/1", "super/1"], "import_open", "I", fields);
    let archive = || text("archive");
    let mut opening = programme_fields("CNY");
    for name in ["owner", "finance", "bank", "supervisor"] {
        opening = with(opening, name, archive());
    }
    opening = with(with(opening, "mode", text("historical")), "years", Value::Array(vec![uint(2020)]));
    load(&mut stage, "programme_open", "H", opening);
    for kind in ["SOURCE", "APPROPRIATION", "ALLOTMENT", "PAID", "RETURNED"] {
        account_of_kind(&mut stage, kind, vec![]);
    }
    stage
}

fn account_of_kind(stage: &mut Stage, kind: &str, more: Vec<(&'static str, Value)>) {
    let mut fields = vec![
        ("account_kind", text(kind)),
        ("programme", to("archive/H")),
        ("agency", text("archive")),
        ("year", uint(2020)),
    ];
    fields.extend(more);
    load(stage, "account_open", &kind[..3], fields);
}

fn history(mut fields: Vec<(&'static str, Value)>) -> Vec<(&'static str, Value)> {
    fields.push(("import", to("archive/I")));
    fields.push(("effective_date", text(EFFECTIVE)));
    fields
}

/// Applies a record of the import and returns its flags.
fn load(stage: &mut Stage, record_type: &str, id: &str, fields: Vec<(&'static str, Value)>) -> Vec<u16> {
    stage.apply("archive/1", record_type, id, history(fields)).flags
}

fn from_to(minor: u64, from: &str, to_account: &str) -> Vec<(&'static str, Value)> {
    vec![("amount", uint(minor)), ("from", to(from)), ("to", to(to_account))]
}

fn budget(stage: &mut Stage, minor: u64, defaults: bool) {
    let assumed = |mut fields: Vec<(&'static str, Value)>| {
        if defaults {
            fields.push(("defaults", Value::Array(vec![text("amount")])));
        }
        fields
    };
    let mut appropriate = from_to(minor, "archive/SOU", "archive/APP");
    appropriate.push(("legal_ref", text("source")));
    load(stage, "appropriate", "AP", assumed(appropriate));
    load(stage, "allot", "AL", assumed(from_to(minor, "archive/APP", "archive/ALL")));
}

fn award(stage: &mut Stage, value: u64) {
    let fields = vec![
        ("subject", to("archive/H")),
        ("party", text("SUP-1")),
        ("value", uint(value)),
        ("purpose", text("works")),
        ("until", text("2020-12-31")),
    ];
    load(stage, "award_grant", "G", fields);
    account_of_kind(stage, "COMMITMENT", vec![("award", to("archive/G"))]);
}

fn commit(minor: u64) -> Vec<(&'static str, Value)> {
    vec![("amount", uint(minor)), ("from", to("archive/ALL")), ("award", to("archive/G"))]
}

fn pay_party(minor: u64) -> Vec<(&'static str, Value)> {
    vec![
        ("amount", uint(minor)),
        ("from", to("archive/COM")),
        ("party", text("SUP-1")),
        ("payee_account", hash(0)),
        ("entitlement", to("archive/G")),
        ("bank_ref", text("row-1")),
    ]
}

fn assert_history(stage: &Stage, mode: &str) -> Figures {
    assert_balanced(stage, mode);
    assert_folds(stage, "archive/H")
}

#[test]
fn a_payment_is_posted_at_once() {
    let mut stage = imported(false);
    budget(&mut stage, 1_000, false);
    award(&mut stage, 900);
    assert_eq!(load(&mut stage, "commit", "CM", commit(900)), Vec::<u16>::new());
    assert_eq!(load(&mut stage, "payment_request", "PAY", pay_party(900)), Vec::<u16>::new());
    assert_eq!(state_of(&stage, "archive/PAY"), MovementState::Posted);
    let figures = assert_history(&stage, "historical");
    assert_eq!((figures.appropriated, figures.settled, figures.committed), (1_000, 900, 0));
    let counted: crate::records::fund::day::DayCount =
        stage.get(&key::day("archive.H", EFFECTIVE)).expect("a day's counters");
    assert_eq!((counted.paid, counted.count), (900, 1));
    let back = vec![("payment", to("archive/PAY")), ("amount", uint(100))];
    assert_eq!(load(&mut stage, "payment_return", "PR", back), Vec::<u16>::new());
    assert_history(&stage, "historical");
}

#[test]
fn what_live_rejects_history_flags_and_posts_below_zero() {
    let mut stage = imported(false);
    budget(&mut stage, 1_000, false);
    award(&mut stage, 1_200);
    assert_eq!(load(&mut stage, "commit", "CM", commit(1_200)), vec![3208], "3208 silences 3201");
    assert_eq!(account(&stage, "archive/ALL").sums.shortfall(), 200);
    assert_eq!(load(&mut stage, "payment_request", "PAY-1", pay_party(1_200)), Vec::<u16>::new());
    assert_eq!(load(&mut stage, "payment_request", "PAY-2", pay_party(1_200)), vec![3207, 3911]);
    let figures = assert_history(&stage, "historical");
    assert_eq!(figures.committed, -1_200);
    assert_eq!(figures.available, -200);
    let more = vec![("amount", uint(1)), ("from", to("archive/APP")), ("to", to("archive/ALL"))];
    assert_eq!(load(&mut stage, "allot", "AL-2", more), vec![3201]);
    assert_history(&stage, "historical");
}

#[test]
fn a_strict_import_rejects_the_same() {
    let mut stage = imported(true);
    budget(&mut stage, 1_000, false);
    award(&mut stage, 1_200);
    stage.expect(3208, "archive/1", "commit", "CM", history(commit(1_200)));
    stage.expect(3201, "archive/1", "payment_request", "PAY-1", history(pay_party(1_200)));
    stage.expect(3207, "archive/1", "payment_request", "PAY-2", history(pay_party(1_201)));
    assert_history(&stage, "strict");
}

#[test]
fn a_budget_that_the_source_does_not_state_limits_nothing() {
    for strict in [false, true] {
        let mut stage = imported(strict);
        budget(&mut stage, 1_000, true);
        award(&mut stage, 1_200);
        assert_eq!(load(&mut stage, "commit", "CM", commit(1_000)), Vec::<u16>::new(), "strict: {strict}");
        load(&mut stage, "payment_request", "PAY", pay_party(1_200));
        assert_eq!(account(&stage, "archive/COM").sums.shortfall(), 200);
    }
}

#[test]
fn a_donation_is_income_at_once_and_its_repeat_a_flag() {
    let mut stage = imported(false);
    let donation = |donor: u8, minor| {
        let part = Value::text_map([("to", to("archive/APP")), ("amount", uint(minor))]);
        vec![
            ("parts", Value::Array(vec![part])),
            ("external_ref", text("row")),
            ("channel", text("bank")),
            ("donor", person_value(donor)),
        ]
    };
    assert_eq!(load(&mut stage, "income_record", "IN-1", donation(1, 100)), Vec::<u16>::new());
    assert_eq!(load(&mut stage, "income_record", "IN-2", donation(2, 100)), Vec::<u16>::new());
    assert_eq!(load(&mut stage, "income_record", "IN-3", donation(1, 100)), vec![3911]);
    let figures = assert_history(&stage, "historical");
    assert_eq!((figures.income, figures.available), (300, 300));
}

#[test]
fn mz_3012_a_bank_confirms_no_history_and_live_money_draws_on_none() {
    let mut stage = imported(false);
    budget(&mut stage, 1_000, false);
    award(&mut stage, 900);
    load(&mut stage, "commit", "CM", commit(900));
    load(&mut stage, "payment_request", "PAY", pay_party(900));
    stage.expect(3012, "bank/1", "payment_confirm", "PC", confirmation("archive/PAY", "B-1"));
    stage.expect(3012, "civil/1", "payment_request", "LIVE", pay_party(1));
    open_programme(&mut stage, "P", "CNY");
    open_account(&mut stage, "P", "APPROPRIATION", vec![]);
    stage.expect(3012, "finance/1", "appropriate", "MIX", {
        let mut fields = from_to(1, "archive/SOU", "finance/P-APP");
        fields.push(("legal_ref", text("x")));
        fields
    });
}

#[test]
fn mz_3009_judges_stated_days_only() {
    let mut stage = imported(false);
    budget(&mut stage, 1_000, false);
    award(&mut stage, 900);
    load(&mut stage, "commit", "CM", commit(900));
    let dated = |mut fields: Vec<(&'static str, Value)>| {
        fields.push(("import", to("archive/I")));
        fields.push(("effective_date", text("2020-01-31")));
        fields
    };
    let early = stage.apply("archive/1", "payment_request", "PAY-1", dated(pay_party(100)));
    assert_eq!(early.flags, vec![3009]);
    let inherited = with(dated(pay_party(200)), "defaults", Value::Array(vec![text("effective_date")]));
    let filled = stage.apply("archive/1", "payment_request", "PAY-2", inherited);
    assert!(!filled.flags.contains(&3009), "{:?}", filled.flags);
}

#[test]
fn mz_3009_is_silent_only_about_a_named_record_whose_day_was_filled() {
    let early = |filled: &[&str]| {
        let mut stage = imported(false);
        budget(&mut stage, 1_000, false);
        let names = filled.iter().map(|name| text(name)).collect();
        let fields = vec![
            ("subject", to("archive/H")),
            ("party", text("SUP-1")),
            ("value", uint(900)),
            ("purpose", text("works")),
            ("until", text("2020-12-31")),
            ("defaults", Value::Array(names)),
        ];
        load(&mut stage, "award_grant", "G", fields);
        account_of_kind(&mut stage, "COMMITMENT", vec![("award", to("archive/G"))]);
        load(&mut stage, "commit", "CM", commit(900));
        let paid = with(history(pay_party(100)), "effective_date", text("2020-01-31"));
        stage.apply("archive/1", "payment_request", "PAY", paid).flags
    };
    assert_eq!(early(&["until"]), [3009]);
    assert!(early(&["until", "effective_date"]).is_empty());
}

/// Makes town an agency of importers too.
fn second_archive(stage: &mut Stage) {
    stage.let_hold("town", Role::Importer);
    let grant = vec![
        ("officer", Value::bytes(&crate::records::testing::person("town/1"))),
        ("role", text("importer")),
        ("valid_from", text("2026-06-01")),
        ("valid_until", text("2026-12-31")),
    ];
    stage.apply_with(["town/admin1", "town/admin2"], "role_grant", "RG", grant);
    let fields = vec![
        ("source", text("open data")),
        ("rows_root", hash(2)),
        ("licence", text("OGL")),
        ("format", text("payments")),
        ("strict", Value::Bool(false)),
        ("period_end", text("2020-12-31")),
    ];
    stage.apply_with(["town/1", "super/1"], "import_open", "I", fields);
}

#[test]
fn mz_3012_nobody_writes_into_the_history_of_another_agency() {
    let mut stage = imported(false);
    second_archive(&mut stage);
    let mut fields = from_to(10, "archive/SOU", "archive/APP");
    fields.extend([("legal_ref", text("source")), ("import", to("town/I")), ("effective_date", text(EFFECTIVE))]);
    stage.expect(3012, "town/1", "appropriate", "AP", fields);
    let anchor = vec![("root", hash(1)), ("kind", text("row")), ("import", to("town/I"))];
    stage.apply("town/1", "document_anchor", "OWN", with(anchor, "effective_date", text(EFFECTIVE)));
}

#[test]
fn mz_3012_an_importer_does_not_even_what_any_officer_may() {
    let mut stage = funded();
    stage.apply("town/1", "list_publish", "L", Lines::of(&[1]).publish_fields("2026H1"));
    stage.expect(3012, "archive/1", "list_objection", "LO", vec![("list", to("town/L")), ("reason", hash(1))]);
    let anchor = || vec![("root", hash(1)), ("kind", text("row"))];
    stage.expect(3012, "archive/1", "document_anchor", "D-1", anchor());
    let days = [("valid_from", text("2026-06-01")), ("valid_until", text("2026-12-31"))];
    let to_officer = ("to_officer", Value::bytes(&crate::records::testing::person("archive/plain")));
    let lent = [to_officer, ("role", text("importer"))].into_iter().chain(days).collect();
    stage.apply("archive/1", "delegation", "DEL", lent);
    stage.apply("archive/plain", "document_anchor", "D-2", anchor());
    stage.expect(3012, "archive/plain", "document_anchor", "D-3", with(anchor(), "on_behalf_of", to("archive/DEL")));
}

#[test]
fn mz_3012_the_codes_of_an_import_are_out_of_live_reach() {
    let mut stage = imported(false);
    let party = |id: &str| vec![("party_id", text(id)), ("kind", text("supplier")), ("account_commitment", hash(5))];
    load(&mut stage, "party_register", "SUP-1", party("SUP1"));
    for (id, other) in [("L-1", "historical:archive.I:SUP1"), ("L-2", "historical/archive.I/SUP1")] {
        stage.apply("civil/1", "party_register", id, party(other));
    }
    stage.apply("civil/1", "party_register", "L-3", party("historical:archive.I:SUP2"));
    load(&mut stage, "party_register", "SUP-2", party("SUP2"));
}

#[test]
fn states_of_lists_and_years_are_not_judged_in_history() {
    for strict in [false, true] {
        let mut stage = imported(strict);
        let mut list = Lines::of(&[1]).publish_fields("2020");
        list[0] = ("subject", to("archive/H"));
        load(&mut stage, "list_publish", "L", list);
        let named = || vec![("list", to("archive/L"))];
        load(&mut stage, "list_confirm", "LC-1", named());
        load(&mut stage, "list_objection", "LO", [named(), vec![("reason", hash(1))]].concat());
        let resolve = || [named(), vec![("upheld", Value::Bool(false))]].concat();
        load(&mut stage, "list_resolve", "LR-1", resolve());
        load(&mut stage, "list_resolve", "LR-2", resolve());
        load(&mut stage, "list_confirm", "LC-2", named());
        let strike = || [named(), vec![("leaf_index", uint(0)), ("reason", text("moved"))]].concat();
        load(&mut stage, "list_strike", "LS-1", strike());
        load(&mut stage, "list_strike", "LS-2", strike());
        let Some(Object::List(list)) = stage.object("archive/L") else { panic!("no list") };
        assert_eq!(list.struck, 1, "a line is struck once, however often the source says so");
        load(&mut stage, "programme_close", "PC", vec![("programme", to("archive/H"))]);
        let close = || vec![("programme", to("archive/H")), ("year", uint(2020)), ("carry_minor", uint(0))];
        load(&mut stage, "year_close", "YC-1", close());
        load(&mut stage, "year_close", "YC-2", close());
        let Some(Object::Programme(programme)) = stage.object("archive/H") else { panic!("no programme") };
        assert_eq!(programme.closed_years, [2020]);
        // What bounds the ledger holds there as well.
        let next = with(history(close()), "year", uint(2021));
        stage.expect(3216, "archive/1", "year_close", "YC-3", next);
        let beyond = with(history(strike()), "leaf_index", uint(1));
        stage.expect(3217, "archive/1", "list_strike", "LS-3", beyond);
    }
}

#[test]
fn mz_3201_more_carried_than_is_left_is_a_flag_in_history() {
    let close = || vec![("programme", to("archive/H")), ("year", uint(2020)), ("carry_minor", uint(1_500))];
    let open = |strict| {
        let mut stage = imported(strict);
        account_of_kind(&mut stage, "CARRIED", vec![]);
        budget(&mut stage, 1_000, false);
        stage
    };
    let mut stage = open(false);
    assert_eq!(load(&mut stage, "year_close", "YC", close()), [3201]);
    assert_eq!(assert_history(&stage, "historical").carried, 1_000);
    open(true).expect(3201, "archive/1", "year_close", "YC", history(close()));
}
