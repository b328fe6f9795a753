//! Each rule of a change of the authority set, by its violation; and the block in which an agreed change happens.

use super::{agree, ballot, fields};
use crate::authority::AuthoritySet;
use crate::certificate::{KeyRole, possess_bytes};
use crate::codec::Value;
use crate::records::governance::{NextSet, preview};
use crate::records::testing::{DAY_MS, Stage, signing_key, text};
use crate::seal::prove_possession;
use crate::state::key;

const ACTION: &str = "authority_set";

/// The keys of a seat, proven by its agency.
fn seat(stage: &Stage, agency: &str, label: &str) -> Vec<(&'static str, Value)> {
    let mut seat = vec![("agency_id", text(agency)), ("url", text(&format!("https://{agency}.example/")))];
    for (role, key_field, proof_field) in
        [(KeyRole::Consensus, "consensus_key", "consensus_proof"), (KeyRole::Peer, "peer_key", "peer_proof")]
    {
        let key = signing_key(&format!("{agency} {key_field} {label}"));
        let proof = key.sign(&possess_bytes(&stage.network.chain, agency, role, &key.public()));
        seat.push((key_field, Value::bytes(&key.public().0)));
        seat.push((proof_field, Value::bytes(&proof.0)));
    }
    seat
}

/// As `agree`, in a set of five: the fourth voice decides.
fn agree_of_five(stage: &mut Stage, id: &str, body: Vec<(&str, Value)>) {
    let from_time = agree(stage, id, ACTION, body);
    assert!(!waits(stage), "three of five are no quorum");
    stage.apply("super/admin1", "vote", &format!("V-{id}"), ballot(&format!("finance/{id}"), true));
    stage.time_ms = from_time;
}

fn change(seats: Vec<Vec<(&str, Value)>>, remove: &[&str]) -> Vec<(&'static str, Value)> {
    let seats = seats.into_iter().map(Value::text_map).collect();
    let remove = remove.iter().map(|agency| text(agency)).collect();
    vec![("seats", Value::Array(seats)), ("remove", Value::Array(remove))]
}

fn parameters(name: &str, value: u64) -> Vec<(&'static str, Value)> {
    let one = Value::text_map([("name", text(name)), ("value", Value::Uint(value))]);
    vec![("parameters", Value::Array(vec![one]))]
}

/// The body of `node_ready` for an epoch, with the key of that label.
fn ready_with(stage: &Stage, label: &str, epoch: u64) -> Vec<(&'static str, Value)> {
    let key = signing_key(&format!("{label} sealing {epoch}"));
    vec![
        ("epoch", Value::Uint(epoch)),
        ("height", Value::Uint(stage.height - 1)),
        ("sealing_key", Value::bytes(&key.public().0)),
        ("sealing_proof", Value::bytes(&prove_possession(&stage.network.origin, 5, &key))),
    ]
}

fn say_ready(stage: &mut Stage, agency: &str, epoch: u64) {
    let body = ready_with(stage, agency, epoch);
    stage.apply(&format!("{agency}/admin1"), "node_ready", &format!("READY-{epoch}"), body);
}

fn set(stage: &Stage) -> AuthoritySet {
    AuthoritySet::decode(&stage.state.0[&key::set_current()].current).expect("a set document")
}

fn agencies(stage: &Stage) -> Vec<String> {
    set(stage).members.into_iter().map(|member| member.agency).collect()
}

fn waits(stage: &Stage) -> bool {
    stage.get::<NextSet>(&key::set_next()).is_some_and(|next| next.change.is_some())
}

fn expect(stage: &mut Stage, code: u16, id: &str, body: Vec<(&str, Value)>) {
    let far = stage.time_ms + 2 * DAY_MS;
    stage.expect(code, "finance/admin1", "proposal", id, fields(ACTION, body, far));
}

#[test]
fn a_member_joins_at_its_time_when_it_and_a_quorum_are_ready() {
    let mut stage = Stage::found();
    let body = change(vec![seat(&stage, "town", "a")], &[]);
    let from_time = agree(&mut stage, "P-1", ACTION, body);
    for agency in ["town", "finance", "civil", "bank"] {
        say_ready(&mut stage, agency, 1);
    }
    stage.time_ms = from_time - 1;
    stage.block(Vec::new());
    assert_eq!((set(&stage).epoch, waits(&stage)), (0, true), "not before its time");
    stage.time_ms = from_time;
    stage.block(Vec::new());
    assert_eq!(agencies(&stage), ["finance", "civil", "bank", "super", "town"], "an empty block is enough");
    let next = set(&stage);
    assert_eq!((next.epoch, waits(&stage)), (1, false));
    assert_eq!(next.members[4].consensus_key, signing_key("town consensus_key a").public());
    assert_eq!(next.members[0].sealing_key, signing_key("finance sealing 1").public());
    assert_eq!(next.members[3].sealing_key, signing_key("super sealing").public(), "one member was not ready");
}

#[test]
fn a_change_waits_for_who_joins_and_for_fresh_sealing_keys() {
    let mut stage = Stage::found();
    let body = change(vec![seat(&stage, "town", "a")], &[]);
    stage.time_ms = agree(&mut stage, "P-1", ACTION, body);
    for agency in ["finance", "civil", "bank", "super"] {
        say_ready(&mut stage, agency, 1);
        assert_eq!(set(&stage).epoch, 0, "town is not ready");
    }
    say_ready(&mut stage, "town", 1);
    assert_eq!(set(&stage).epoch, 1, "the last statement makes the boundary block");
    let body = parameters("turn_timeout", 2_000);
    agree_of_five(&mut stage, "P-2", body);
    for agency in ["finance", "civil", "bank"] {
        say_ready(&mut stage, agency, 2);
    }
    assert_eq!(set(&stage).epoch, 1, "two of five would keep their sealing keys, and one may be faulty");
    say_ready(&mut stage, "town", 2);
    assert_eq!((set(&stage).epoch, set(&stage).parameters.turn_timeout_ms), (2, 2_000));
}

#[test]
fn a_lost_key_is_replaced_and_an_agency_removed() {
    let mut stage = Stage::found();
    let joins = change(vec![seat(&stage, "town", "a")], &[]);
    stage.time_ms = agree(&mut stage, "P-1", ACTION, joins);
    for agency in ["finance", "civil", "bank", "super", "town"] {
        say_ready(&mut stage, agency, 1);
    }
    let mut moved = seat(&stage, "civil", "new");
    moved.retain(|(name, _)| *name != "url");
    let body = change(vec![moved], &["bank"]);
    agree_of_five(&mut stage, "P-2", body);
    for agency in ["finance", "super", "town"] {
        say_ready(&mut stage, agency, 2);
    }
    assert_eq!(set(&stage).epoch, 1, "the node with the new key says that it is ready");
    say_ready(&mut stage, "civil", 2);
    assert_eq!(agencies(&stage), ["finance", "civil", "super", "town"]);
    assert_eq!(set(&stage).members[1].consensus_key, signing_key("civil consensus_key new").public());
    assert_eq!(set(&stage).members[1].url, "https://civil.example/");
    let body = change(vec![seat(&stage, "civil", "a")], &[]);
    let from_time = stage.time_ms + 2 * DAY_MS;
    stage.expect(3801, "bank/admin1", "proposal", "P-3", fields(ACTION, body, from_time));
    // The keys of an earlier epoch never return.
    let mut old = seat(&stage, "bank", "old");
    let key = signing_key("bank consensus");
    let proof = key.sign(&possess_bytes(&stage.network.chain, "bank", KeyRole::Consensus, &key.public()));
    for (name, value) in &mut old {
        match *name {
            "consensus_key" => *value = Value::bytes(&key.public().0),
            "consensus_proof" => *value = Value::bytes(&proof.0),
            _ => {}
        }
    }
    expect(&mut stage, 3807, "P-4", change(vec![old], &[]));
}

#[test]
fn a_change_that_is_not_ready_in_time_lapses() {
    let mut stage = Stage::found();
    let body = change(vec![seat(&stage, "town", "a")], &[]);
    let from_time = agree(&mut stage, "P-1", ACTION, body);
    stage.time_ms = from_time + 30 * DAY_MS;
    stage.block(Vec::new());
    assert!(waits(&stage), "it holds to the end of its last moment");
    stage.block(Vec::new());
    assert_eq!((waits(&stage), set(&stage).epoch), (false, 0));
    let same = change(vec![seat(&stage, "town", "a")], &[]);
    expect(&mut stage, 3807, "P-2", same);
    let again = change(vec![seat(&stage, "town", "b")], &[]);
    agree(&mut stage, "P-3", ACTION, again);
}

#[test]
fn one_change_at_a_time_and_only_one_that_fits() {
    let mut stage = Stage::found();
    let (town, nobody) = (seat(&stage, "town", "a"), seat(&stage, "nobody", "a"));
    expect(&mut stage, 3002, "P-1", change(vec![nobody], &[]));
    expect(&mut stage, 3809, "P-2", change(Vec::new(), &["town"]));
    expect(&mut stage, 3809, "P-3", change(vec![town.clone(), town.clone()], &[]));
    expect(&mut stage, 3809, "P-4", change(vec![town[..4].to_vec()], &[]));
    expect(&mut stage, 3809, "P-5", change(vec![vec![("agency_id", text("civil"))]], &[]));
    expect(&mut stage, 3809, "P-6", parameters("speed", 1));
    expect(&mut stage, 3803, "P-7", parameters("heartbeat", 1));
    let mut twice = town.clone();
    twice[4] = ("peer_key", twice[2].1.clone());
    let key = signing_key("town consensus_key a");
    let proof = key.sign(&possess_bytes(&stage.network.chain, "town", KeyRole::Peer, &key.public()));
    twice[5] = ("peer_proof", Value::bytes(&proof.0));
    expect(&mut stage, 3807, "P-8", change(vec![twice], &[]));
    let mut unproven = town.clone();
    unproven[3] = ("consensus_proof", Value::bytes(&proof.0));
    expect(&mut stage, 3806, "P-9", change(vec![unproven], &[]));
    agree(&mut stage, "P-10", ACTION, change(vec![town], &[]));
    expect(&mut stage, 3808, "P-11", change(Vec::new(), &["bank"]));
    let retire = vec![("agency_id", text("town")), ("reason", text("撤并"))];
    let far = stage.time_ms + 2 * DAY_MS;
    stage.expect(3805, "finance/admin1", "proposal", "P-12", fields("agency_retire", retire, far));
}

#[test]
fn a_network_in_use_keeps_four_members() {
    let mut stage = Stage::found();
    stage.network.development = false;
    expect(&mut stage, 3805, "P-1", change(Vec::new(), &["bank"]));
}

#[test]
fn readiness_is_for_the_next_epoch_and_proven_by_a_node_that_follows() {
    let mut stage = Stage::found();
    let body = ready_with(&stage, "town", 1);
    stage.expect(3801, "town/admin1", "node_ready", "R-1", body);
    let body = ready_with(&stage, "civil", 2);
    stage.expect(3810, "civil/admin1", "node_ready", "R-2", body);
    stage.height = 100;
    let mut body = ready_with(&stage, "civil", 1);
    body[1] = ("height", Value::Uint(35));
    stage.expect(3810, "civil/admin1", "node_ready", "R-3", body.clone());
    body[1] = ("height", Value::Uint(1_000));
    stage.expect(3810, "civil/admin1", "node_ready", "R-4", body.clone());
    body = ready_with(&stage, "civil", 1);
    body[3] = ("sealing_proof", Value::bytes(&[0; 72]));
    stage.expect(3806, "civil/admin1", "node_ready", "R-5", body);
    say_ready(&mut stage, "civil", 1);
    let body = ready_with(&stage, "civil", 1);
    stage.expect(3807, "bank/admin1", "node_ready", "R-6", body.clone());
    stage.apply("civil/admin1", "node_ready", "R-7", body);
    let another = ready_with(&stage, "civil again", 1);
    stage.apply("civil/admin1", "node_ready", "R-8", another);
}

#[test]
fn the_door_refuses_a_change_without_its_form() {
    let mut stage = Stage::found();
    let far = stage.time_ms + 2 * DAY_MS;
    let key = signing_key("town consensus_key a").public();
    let lone_key = vec![("agency_id", text("town")), ("consensus_key", Value::bytes(&key.0))];
    let no_url = vec![("agency_id", text("civil")), ("url", text("civil.example"))];
    for (id, body) in
        [("P-1", change(Vec::new(), &[])), ("P-2", change(vec![lone_key], &[])), ("P-3", change(vec![no_url], &[]))]
    {
        let refused = stage.offer("finance/admin1", "proposal", id, fields(ACTION, body, far));
        assert_eq!(refused.expect_err("refused").code.0, 1004, "{id}");
    }
}

#[test]
fn whoever_weighs_a_vote_sees_the_set_that_it_leads_to() {
    let stage = Stage::found();
    let body = change(vec![seat(&stage, "town", "a")], &["civil"]);
    let next = preview(&Value::text_map(body).encode(), &set(&stage)).expect("it fits");
    let names: Vec<&str> = next.members.iter().map(|member| member.agency.as_str()).collect();
    assert_eq!((names, next.epoch), (vec!["finance", "bank", "super", "town"], 1));
    assert!(preview(&Value::text_map(change(Vec::new(), &["town"])).encode(), &set(&stage)).is_none());
    assert!(preview(b"\xff", &set(&stage)).is_none());
}
