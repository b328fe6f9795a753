//! Each rule of governance, by its violation; and what an agreed action does.

mod seats;

use crate::codec::Value;
use crate::records::registry::{Agency, OfficerKey, Roster};
use crate::records::testing::{DAY_MS, Stage, hash, signing_key, text, to};
use crate::rules;
use crate::state::{Overlay, key};

fn fields(action: &str, body: Vec<(&str, Value)>, from_time: u64) -> Vec<(&'static str, Value)> {
    vec![
        ("action", text(action)),
        ("action_body", Value::bytes(&Value::text_map(body).encode())),
        ("from_time", Value::Uint(from_time)),
    ]
}

fn parameter(name: &str, value: u64) -> Vec<(&'static str, Value)> {
    vec![("name", text(name)), ("value", Value::Uint(value))]
}

fn ballot(proposal: &str, yes: bool) -> Vec<(&'static str, Value)> {
    vec![("proposal", to(proposal)), ("yes", Value::Bool(yes))]
}

/// Proposes as finance and lets three of the four members agree.
fn agree(stage: &mut Stage, id: &str, action: &str, body: Vec<(&str, Value)>) -> u64 {
    let from_time = stage.time_ms + 2 * DAY_MS;
    stage.apply("finance/admin1", "proposal", id, fields(action, body, from_time));
    for agency in ["finance", "civil", "bank"] {
        let id = format!("V-{id}");
        stage.apply(&format!("{agency}/admin1"), "vote", &id, ballot(&format!("finance/{}", &id[2..]), true));
    }
    from_time
}

fn anchor() -> Vec<(&'static str, Value)> {
    vec![("root", hash(1)), ("kind", text("minutes"))]
}

#[test]
fn a_parameter_holds_from_its_time_on() {
    let mut stage = Stage::found();
    let from_time = agree(&mut stage, "P-1", "parameter_set", parameter("backdating_days", 90));
    let value = |time| rules::parameter(&Overlay::new(&stage.state), "backdating_days", time).expect("readable");
    assert_eq!(value(from_time - 1), 30);
    assert_eq!(value(from_time), 90);
    stage.expect(3011, "super/admin1", "vote", "V-late", ballot("finance/P-1", true));
}

#[test]
fn two_of_four_are_no_quorum() {
    let mut stage = Stage::found();
    let from_time = stage.time_ms + 2 * DAY_MS;
    let proposal = fields("parameter_set", parameter("min_bids", 5), from_time);
    stage.apply("finance/admin1", "proposal", "P-1", proposal);
    stage.apply("finance/admin1", "vote", "V-1", ballot("finance/P-1", true));
    stage.apply("civil/admin1", "vote", "V-1", ballot("finance/P-1", true));
    stage.apply("bank/admin1", "vote", "V-1", ballot("finance/P-1", false));
    assert!(stage.get::<rules::History>(&key::rule("min_bids")).is_none());
    stage.expect(3802, "bank/admin2", "vote", "V-2", ballot("finance/P-1", true));
    stage.apply("super/admin1", "vote", "V-1", ballot("finance/P-1", true));
    assert!(stage.get::<rules::History>(&key::rule("min_bids")).is_some());
}

#[test]
fn only_members_propose_and_vote() {
    let mut stage = Stage::found();
    let from_time = stage.time_ms + 2 * DAY_MS;
    let proposal = fields("parameter_set", parameter("min_bids", 5), from_time);
    stage.expect(3801, "town/admin1", "proposal", "P-1", proposal.clone());
    stage.expect(3003, "finance/1", "proposal", "P-1", proposal.clone());
    stage.apply("finance/admin1", "proposal", "P-2", proposal);
    stage.expect(3801, "town/admin1", "vote", "V-1", ballot("finance/P-2", true));
}

#[test]
fn values_out_of_range_and_times_too_near_are_rejected() {
    let mut stage = Stage::found();
    let far = stage.time_ms + 2 * DAY_MS;
    let wrong = fields("parameter_set", parameter("min_bids", 101), far);
    stage.expect(3803, "finance/admin1", "proposal", "P-1", wrong);
    stage.expect(3803, "finance/admin1", "proposal", "P-2", fields("parameter_set", parameter("luck", 1), far));
    // No rule would read it.
    let unread = fields("parameter_set", parameter("suppression_cell", 5), far);
    stage.expect(3803, "finance/admin1", "proposal", "P-20", unread);
    for (number, impossible) in [(6, 1_099), (7, 1_032), (8, 431), (9, 230), (10, 100)] {
        let wrong = fields("parameter_set", parameter("commit_cutoff", impossible), far);
        stage.expect(3803, "finance/admin1", "proposal", &format!("P-{number}"), wrong);
    }
    for (number, day) in [(11, 229), (12, 1_130)] {
        let right = fields("parameter_set", parameter("commit_cutoff", day), far);
        stage.apply("finance/admin1", "proposal", &format!("P-{number}"), right);
    }
    let days = |day: &str| {
        let rest = Value::Array(vec![text(day)]);
        vec![("year", Value::Uint(2027)), ("rest_days", rest), ("work_days", Value::Array(Vec::new()))]
    };
    stage.expect(3803, "finance/admin1", "proposal", "P-3", fields("calendar_set", days("2026-10-01"), far));
    let near = stage.time_ms + DAY_MS - 1;
    stage.expect(3804, "finance/admin1", "proposal", "P-4", fields("parameter_set", parameter("min_bids", 5), near));
    let far = stage.time_ms + DAY_MS + 5_000;
    stage.apply("finance/admin1", "proposal", "P-5", fields("parameter_set", parameter("min_bids", 5), far));
    stage.apply("finance/admin1", "vote", "V-1", ballot("finance/P-5", true));
    stage.apply("civil/admin1", "vote", "V-1", ballot("finance/P-5", true));
    stage.pass_days(1);
    stage.expect(3804, "bank/admin1", "vote", "V-1", ballot("finance/P-5", true));
}

#[test]
fn what_this_version_cannot_carry_out_is_refused_at_the_door() {
    let mut stage = Stage::found();
    let far = stage.time_ms + 2 * DAY_MS;
    for action in ["rules_upgrade", "print_money"] {
        let refusal = stage.offer("finance/admin1", "proposal", "P-1", fields(action, Vec::new(), far));
        assert_eq!(refusal.expect_err("unknown").code.0, 1003);
    }
    let half = fields("parameter_set", vec![("name", text("min_bids"))], far);
    assert_eq!(stage.offer("finance/admin1", "proposal", "P-1", half).expect_err("half").code.0, 1004);
}

#[test]
fn an_agency_is_registered_with_its_admins_and_later_retired() {
    let mut stage = Stage::found();
    let admins = ["water/admin1", "water/admin2"].map(|name| Value::bytes(&signing_key(name).public().0));
    let body = vec![
        ("agency_id", text("water")),
        ("name", text("水利局")),
        ("type", text("government")),
        ("roles", Value::Array(vec![text("programme_owner")])),
        ("admin_keys", Value::Array(admins.to_vec())),
    ];
    for hidden in ["水利\u{200b}局", "\u{202e}局利水"] {
        let mut other = body.clone();
        other[1].1 = text(hidden);
        let far = stage.time_ms + 2 * DAY_MS;
        let refusal = stage.offer("finance/admin1", "proposal", "P-0", fields("agency_register", other, far));
        let refusal = refusal.expect_err("a name that looks like another");
        assert!(refusal.code.0 == 1004 && refusal.detail.starts_with("name: "), "{}", refusal.detail);
    }
    let from_time = agree(&mut stage, "P-1", "agency_register", body.clone());
    stage.add_key("water/admin1", signing_key("water/admin1"));
    assert_eq!(stage.offer("water/admin1", "document_anchor", "D-1", anchor()).expect_err("too early").code.0, 1007);
    stage.time_ms = from_time;
    stage.apply("water/admin1", "document_anchor", "D-1", anchor());
    let far = stage.time_ms + 2 * DAY_MS;
    stage.expect(3001, "finance/admin1", "proposal", "P-2", fields("agency_register", body, far));
    let from_time =
        agree(&mut stage, "P-3", "agency_retire", vec![("agency_id", text("water")), ("reason", text("合并"))]);
    let agency: Agency = stage.get(&key::agency("water")).expect("the agency");
    assert_eq!(agency.retired_from, Some(from_time));
    let roster: Roster = stage.get(&key::registry("agencies")).expect("the roster");
    assert_eq!(roster.agencies.last().map(String::as_str), Some("water"));
    assert_eq!(stage.trail_length(&key::registry("agencies")), 3);
}

#[test]
fn no_change_leaves_a_role_without_holder_or_too_few_agencies() {
    let mut stage = Stage::found();
    let retire = |id: &str| vec![("agency_id", text(id)), ("reason", text("撤并"))];
    let far = stage.time_ms + 2 * DAY_MS;
    stage.expect(3805, "finance/admin1", "proposal", "P-1", fields("agency_retire", retire("audit"), far));
    stage.expect(3805, "finance/admin1", "proposal", "P-2", fields("agency_retire", retire("finance"), far));
    stage.expect(3002, "finance/admin1", "proposal", "P-3", fields("agency_retire", retire("nobody"), far));
}

#[test]
fn a_suspended_key_signs_until_its_time() {
    let mut stage = Stage::found();
    let key_id = signing_key("civil/1").public().key_id();
    let body = vec![("key", Value::bytes(&signing_key("civil/1").public().0)), ("reason", text("stolen"))];
    let before = stage.trail_length(&key::officer_key(&key_id));
    let from_time = agree(&mut stage, "P-1", "key_suspend", body);
    assert_eq!(stage.trail_length(&key::officer_key(&key_id)), before + 1);
    let entry: OfficerKey = stage.get(&key::officer_key(&key_id)).expect("the key");
    assert_eq!(entry.revoked_from, Some(from_time));
    stage.apply("civil/1", "document_anchor", "D-1", anchor());
    stage.time_ms = from_time;
    stage.expect(3005, "civil/1", "document_anchor", "D-2", anchor());
}
