//! Money goes back the way that it came: to the SOURCE, the ALLOTMENT and the year that gave it.

use super::*;

fn moved(from: &str, to_account: &str, minor: u64) -> Vec<(&'static str, Value)> {
    vec![("amount", uint(minor)), ("from", to(from)), ("to", to(to_account))]
}

fn income(account: &str, minor: u64, more: Vec<(&'static str, Value)>) -> Vec<(&'static str, Value)> {
    let part = Value::text_map([("to", to(account)), ("amount", uint(minor))]);
    let fields =
        vec![("parts", Value::Array(vec![part])), ("external_ref", text("E-1")), ("channel", text("transfer"))];
    fields.into_iter().chain(more).collect()
}

/// 600 given for the school, beside the treasury's 1,000 for anything and 50 for the school.
fn given() -> Stage {
    let mut stage = opened();
    open_account_as(&mut stage, "P-DON", "P", "SOURCE", vec![("earmark", text("donors"))]);
    open_account_as(&mut stage, "P-SCH", "P", "APPROPRIATION", vec![("earmark", text("school"))]);
    stage.apply_with(FINANCE, "income_record", "IN", income("finance/P-SCH", 600, vec![]));
    stage.apply("bank/1", "income_confirm", "IC", confirmation("finance/IN", "B-1"));
    stage.apply_with(FINANCE, "appropriate", "AP-1", appropriation(1_000));
    let school = with(appropriation(50), "to", to("finance/P-SCH"));
    stage.apply_with(FINANCE, "appropriate", "AP-2", school);
    stage
}

#[test]
fn mz_3213_a_gift_does_not_become_the_treasurys() {
    let mut stage = given();
    stage.expect(3213, "finance/1", "recall", "RC-1", moved("finance/P-SCH", "finance/P-SOU", 51));
    stage.apply_with(FINANCE, "recall", "RC-2", moved("finance/P-SCH", "finance/P-SOU", 30));
    stage.apply("finance/1", "recall", "RC-3", moved("finance/P-SCH", "finance/P-SOU", 20));
    stage.expect(3213, "finance/1", "recall", "RC-4", moved("finance/P-SCH", "finance/P-SOU", 1));
    let mut fields = stage.digest_of("finance/RC-3");
    fields.push(("reason", text("no")));
    stage.apply("finance/2", "reject", "RJ", fields);
    stage.apply_with(FINANCE, "recall", "RC-5", moved("finance/P-SCH", "finance/P-SOU", 20));
    stage.expect(3213, "finance/1", "recall", "RC-6", moved("finance/P-APP", "finance/P-DON", 1));
    stage.apply_with(FINANCE, "recall", "RC-7", moved("finance/P-SCH", "finance/P-DON", 600));
    assert_eq!(state_of(&stage, "finance/RC-7"), MovementState::Released, "a gift goes back at the bank");
    stage.apply("bank/1", "payment_confirm", "PC", confirmation("finance/RC-7", "B-2"));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3213_nor_by_way_of_the_next_year() {
    let mut stage = given();
    let marked = |year| vec![("earmark", text("school")), ("year", uint(year))];
    open_account_as(&mut stage, "P-CAR-S", "P", "CARRIED", marked(2026));
    open_account_as(&mut stage, "P-SCH7", "P", "APPROPRIATION", marked(2027));
    let close = vec![("programme", to("civil/P")), ("year", uint(2026)), ("carry_minor", uint(1_650))];
    stage.apply_with(FINANCE, "year_close", "YC", close);
    let mut fields = moved("finance/P-CAR-S", "finance/P-SCH7", 650);
    fields.push(("legal_ref", text("carried")));
    stage.apply_with(FINANCE, "appropriate", "AP-7", fields);
    stage.expect(3213, "finance/1", "recall", "RC-1", moved("finance/P-SCH7", "finance/P-SOU", 51));
    stage.apply_with(FINANCE, "recall", "RC-2", moved("finance/P-SCH7", "finance/P-DON", 600));
    stage.apply_with(FINANCE, "recall", "RC-3", moved("finance/P-SCH7", "finance/P-SOU", 50));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3002_no_gift_comes_from_the_treasury() {
    let mut stage = opened();
    stage.expect(3002, "finance/1", "income_record", "IN-1", income("finance/P-APP", 1, vec![]));
    open_account_as(&mut stage, "P-DON", "P", "SOURCE", vec![("earmark", text("donors"))]);
    let named = income("finance/P-APP", 1, vec![("from", to("finance/P-SOU"))]);
    stage.expect(3002, "finance/1", "income_record", "IN-2", named);
    stage.apply("finance/1", "income_record", "IN-3", income("finance/P-APP", 1, vec![]));
}

/// 5,000 of the 8,000 of `P-ALL` passed down to town's `T-ALL`, and committed there to grant G.
fn committed_below() -> Stage {
    let mut stage = opened();
    stage.apply_with(FINANCE, "appropriate", "AP-1", appropriation(10_000));
    stage.apply_with(FINANCE, "allot", "AL-1", allotment(8_000));
    let town = || text("town");
    open_account_as(&mut stage, "T-ALL", "P", "ALLOTMENT", vec![("agency", town()), ("parent", to("finance/P-ALL"))]);
    for kind in ["PAID", "RETURNED"] {
        open_account_as(&mut stage, &format!("T-{}", &kind[..3]), "P", kind, vec![("agency", town())]);
    }
    stage.apply_with(FINANCE, "allot", "AL-2", moved("finance/P-ALL", "finance/T-ALL", 5_000));
    stage.apply_with(OWNER, "award_grant", "G", grant_fields(1, 5_000));
    let commitment_of_town = vec![("award", to("civil/G")), ("agency", town())];
    open_account_as(&mut stage, "C-G", "P", "COMMITMENT", commitment_of_town);
    stage.apply_with(OWNER, "commit", "CM-1", with(commitment("G", 5_000), "from", to("finance/T-ALL")));
    stage
}

fn released(minor: u64, account: &str) -> Vec<(&'static str, Value)> {
    let mut fields = moved("finance/C-G", account, minor);
    fields.push(("award", to("civil/G")));
    fields
}

#[test]
fn mz_3202_a_commitment_is_released_to_whom_it_came_from() {
    let mut stage = committed_below();
    stage.expect(3202, "civil/1", "decommit", "DC-1", released(5_000, "finance/P-ALL"));
    // A second ALLOTMENT commits to it too: it takes its own back, and no more.
    stage.apply_with(OWNER, "commit", "CM-2", commitment("G", 3_000));
    stage.expect(3202, "civil/1", "decommit", "DC-2", released(3_001, "finance/P-ALL"));
    stage.apply("civil/1", "decommit", "DC-3", released(3_000, "finance/P-ALL"));
    stage.expect(3202, "civil/1", "decommit", "DC-4", released(1, "finance/P-ALL"));
    assert_eq!(stage.approve("finance/1", "civil/DC-3").outcome, 0);
    stage.apply_with(OWNER, "decommit", "DC-5", released(5_000, "finance/T-ALL"));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3002_what_came_back_goes_to_its_own_agency() {
    let mut stage = committed_below();
    pay(&mut stage, "PAY", 900);
    stage.apply("bank/1", "payment_return", "PR", payment_return("civil/PAY", 900, "B-2"));
    let refund = |account: &str| {
        let mut fields = moved("finance/T-RET", account, 300);
        fields.push(("reason", text("unused")));
        fields
    };
    stage.expect(3002, "civil/1", "refund", "RF-1", refund("finance/P-ALL"));
    grant(&mut stage, "H", 2, 100);
    stage.expect(3002, "civil/1", "refund", "RF-2", refund("finance/C-H"));
    open_account_as(&mut stage, "T-ROAD", "P", "ALLOTMENT", vec![("agency", text("town")), ("earmark", text("road"))]);
    stage.expect(3002, "civil/1", "refund", "RF-3", refund("finance/T-ROAD"));
    for (number, account) in [(4, "finance/T-ALL"), (5, "finance/C-G"), (6, "finance/P-SOU")] {
        stage.apply_with(OWNER, "refund", &format!("RF-{number}"), refund(account));
    }
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3202_children_fit_the_present_budget() {
    let mut stage = committed_below();
    pay(&mut stage, "PAY", 900);
    stage.apply("bank/1", "payment_return", "PR", payment_return("civil/PAY", 900, "B-2"));
    // Recalled money has left the budget, whatever came in before.
    stage.apply_with(FINANCE, "recall", "RC", moved("finance/P-ALL", "finance/P-APP", 3_000));
    stage.apply_with(FINANCE, "allot", "AL-3", allotment(1_000));
    stage.expect(3202, "finance/1", "allot", "AL-4", moved("finance/P-ALL", "finance/T-ALL", 1_001));
    stage.apply_with(FINANCE, "allot", "AL-5", moved("finance/P-ALL", "finance/T-ALL", 1_000));
    let parent = account(&stage, "finance/P-ALL");
    assert_eq!((parent.passed_down, parent.budget), (6_000, 6_000));
    assert_balanced(&stage, "live");
}

#[test]
fn mz_3216_what_outlives_its_year_is_carried_or_lapses() {
    let mut stage = funded();
    let next = |kind: &str| (format!("{}7", &kind[..3]), vec![("year", uint(2027))]);
    let (id, fields) = next("ALLOTMENT");
    open_account_as(&mut stage, &id, "P", "ALLOTMENT", fields);
    stage.expect(3202, "civil/1", "decommit", "DC-1", released(1_000, "finance/ALL7"));
    stage.expect(3216, "civil/1", "decommit", "DC-2", released(1_000, "finance/P-LAP"));
    stage.apply("civil/1", "decommit", "DC-3", released(1_000, "finance/P-ALL"));
    assert_eq!(stage.approve("finance/1", "civil/DC-3").outcome, 0);
    let close = vec![("programme", to("civil/P")), ("year", uint(2026)), ("carry_minor", uint(0))];
    stage.apply_with(FINANCE, "year_close", "YC", close);
    stage.expect(3216, "civil/1", "decommit", "DC-4", released(1_000, "finance/P-ALL"));
    stage.expect(3202, "civil/1", "decommit", "DC-5", released(1_000, "finance/ALL7"));
    let (id, fields) = next("LAPSED");
    open_account_as(&mut stage, &id, "P", "LAPSED", fields);
    stage.expect(3216, "civil/1", "decommit", "DC-6", released(1_000, "finance/LAP7"));
    stage.apply_with(OWNER, "decommit", "DC-7", released(1_000, "finance/P-LAP"));
    stage.apply_with(OWNER, "decommit", "DC-8", released(3_000, "finance/P-CAR"));
    assert_balanced(&stage, "live");
    assert_eq!(available(&stage, "finance/P-CAR"), 3_000);
}

#[test]
fn an_account_for_the_rest_is_opened_after_the_close_too() {
    let mut stage = Stage::found();
    open_programme(&mut stage, "P", "CNY");
    let close = vec![("programme", to("civil/P")), ("year", uint(2026)), ("carry_minor", uint(0))];
    stage.apply_with(FINANCE, "year_close", "YC", close);
    for kind in ["CARRIED", "LAPSED"] {
        open_account(&mut stage, "P", kind, vec![]);
    }
    stage.expect(3216, "finance/1", "account_open", "ALL", account_fields("P", "ALLOTMENT"));
}
