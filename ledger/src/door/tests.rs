//! Each refusal of the door by its violation, one step off.

use super::*;
use crate::codec::Value;
use crate::crypto::SigningKey;
use crate::records::testing::{START_MS, Stage, hash, signing_key, text, to};
use crate::transaction::Payload;

fn payload(stage: &Stage) -> Payload {
    Payload {
        origin: stage.network.origin.as_str().into(),
        record_type: "document_anchor".into(),
        record_id: *b"DOC-1\0\0\0\0\0\0\0\0\0\0\0",
        agency: "civil".into(),
        expires_at: START_MS + 600_000,
        body: Value::text_map([("root", hash(1)), ("kind", text("minutes"))]),
    }
}

fn sign(payload: &Payload, officer: &str) -> Transaction {
    Transaction::sign(payload, &signing_key(officer)).expect("a transaction")
}

/// The code with which a node's door answers; 0 lets pass.
fn answer(stage: &Stage, change: impl FnOnce(&mut Payload)) -> u16 {
    let mut payload = payload(stage);
    change(&mut payload);
    let transaction = sign(&payload, "civil/1");
    match check(&stage.state, &stage.network, START_MS, &transaction).expect("readable") {
        Ok(key) => {
            assert_eq!(key, signing_key("civil/1").public());
            0
        }
        Err(refusal) => refusal.code.0,
    }
}

/// The code with which the door inside a block answers; 0 lets pass.
fn answer_inside(stage: &Stage, transaction: Transaction) -> u16 {
    let candidate = Candidate { transaction: transaction.into(), verified_with: None };
    match inside_block(&Overlay::new(&stage.state), &stage.network, START_MS, &candidate).expect("readable") {
        Ok(()) => 0,
        Err(refusal) => refusal.code.0,
    }
}

fn with_field(stage: &Stage, record_type: &str, fields: Vec<(&str, Value)>) -> u16 {
    answer(stage, |payload| {
        payload.record_type = record_type.into();
        payload.body = Value::text_map(fields);
    })
}

#[test]
fn type_network_and_body() {
    let stage = Stage::found();
    assert_eq!(answer(&stage, |_| ()), 0);
    assert_eq!(answer(&stage, |payload| payload.record_type = "document_anchors".into()), 1003);
    assert_eq!(answer(&stage, |payload| payload.origin = format!("{}0", payload.origin).into()), 1005);
    assert_eq!(answer(&stage, |payload| payload.agency = "Civil".into()), 1004);
    let anchor = |root: Value, kind: Value| with_field(&stage, "document_anchor", vec![("root", root), ("kind", kind)]);
    assert_eq!(anchor(Value::bytes(&[1; 31]), text("minutes")), 1004);
    assert_eq!(anchor(hash(1), text("")), 1004);
    assert_eq!(anchor(hash(1), text(&"x".repeat(64))), 0);
    assert_eq!(anchor(hash(1), text(&"x".repeat(65))), 1004);
    assert_eq!(anchor(hash(1), text("会议")), 1004);
    assert_eq!(anchor(hash(1), text("13800138000")), 1010);
    assert_eq!(with_field(&stage, "document_anchor", vec![("root", hash(1))]), 1004);
    let extra = vec![("root", hash(1)), ("kind", text("a")), ("note", text("a"))];
    assert_eq!(with_field(&stage, "document_anchor", extra), 1004);
    let default = vec![("root", hash(1)), ("kind", text("a")), ("defaults", Value::Array(Vec::new()))];
    assert_eq!(with_field(&stage, "document_anchor", default), 1004);
}

#[test]
fn dates_money_lists_and_references() {
    let stage = Stage::found();
    let dated = |date: &str| {
        let fields = vec![("root", hash(1)), ("kind", text("a")), ("effective_date", text(date))];
        with_field(&stage, "document_anchor", fields)
    };
    assert_eq!(dated("2026-01-31"), 0);
    assert_eq!(dated("2023-01-32"), 1012);
    let total = |currency: &str| {
        let total = Value::text_map([("currency", text(currency)), ("amount", Value::Uint(0))]);
        let counts = ("counts", Value::Uint(1));
        with_field(
            &stage,
            "import_close",
            vec![("import_open", to("a/b")), counts, ("totals", Value::Array(vec![total]))],
        )
    };
    assert_eq!(total("MXN"), 0);
    assert_eq!(total("MNX"), 1011);
    let appropriate = |amount: u64| {
        let money = ("amount", Value::Uint(amount));
        with_field(
            &stage,
            "appropriate",
            vec![money, ("from", to("a/b")), ("to", to("a/c")), ("legal_ref", text("法"))],
        )
    };
    assert_eq!(appropriate(1), 0);
    assert_eq!(appropriate(0), 1011);
    let waiting = |value: Value| with_field(&stage, "approve", vec![("waiting", value), ("digest", hash(1))]);
    assert_eq!(waiting(to("a/b")), 0);
    assert_eq!(waiting(text("a/b")), 1004);
    assert_eq!(waiting(Value::Array(vec![text("a"), Value::bytes(&[1; 15])])), 1004);
    let evidence = |count: usize| {
        let piece = Value::text_map([("hash", hash(1)), ("kind", text("scan"))]);
        let evidence = ("evidence", Value::Array(vec![piece; count]));
        with_field(&stage, "document_anchor", vec![("root", hash(1)), ("kind", text("a")), evidence])
    };
    assert_eq!(evidence(256), 0);
    assert_eq!(evidence(257), 1004);
}

#[test]
fn a_transaction_lives_at_most_a_day() {
    let stage = Stage::found();
    let expiring = |expires_at: u64| answer(&stage, |payload| payload.expires_at = expires_at);
    assert_eq!(expiring(START_MS), 1008);
    assert_eq!(expiring(START_MS + 1), 0);
    assert_eq!(expiring(START_MS + MAX_LIFETIME_MS - 60_000), 0);
    assert_eq!(expiring(START_MS + MAX_LIFETIME_MS - 60_000 + 1), 1009);
    let inside = |expires_at: u64| {
        let mut payload = payload(&stage);
        payload.expires_at = expires_at;
        answer_inside(&stage, sign(&payload, "civil/1"))
    };
    assert_eq!(inside(START_MS), 1008);
    assert_eq!(inside(START_MS + MAX_LIFETIME_MS), 0);
    assert_eq!(inside(START_MS + MAX_LIFETIME_MS + 1), 1009);
}

#[test]
fn keys_and_signatures() {
    let mut stage = Stage::found();
    let signed = |officer: &str| sign(&payload(&Stage::found()), officer);
    let known =
        |stage: &Stage, officer| check(&stage.state, &stage.network, START_MS, &signed(officer)).expect("readable");
    assert_eq!(known(&stage, "civil/stranger").expect_err("unknown").code.0, 1007);
    assert_eq!(known(&stage, "finance/1").expect_err("another agency's").code.0, 1007);
    let key = Value::bytes(&signing_key("civil/1").public().0);
    stage.apply("civil/admin1", "key_revoke", "K-1", vec![("key", key), ("reason", text("lost"))]);
    stage.time_ms = START_MS;
    let later = check(&stage.state, &stage.network, START_MS + 5_000, &signed("civil/1")).expect("readable");
    assert_eq!(later.expect_err("revoked").code.0, 1007);
    assert_eq!(answer_inside(&stage, signed("civil/1")), 0, "inside a block a revoked key is 3005's matter");
    let mut bytes = signed("civil/2").bytes().to_vec();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    assert_eq!(answer_inside(&stage, Transaction::decode(&bytes).expect("well-formed")), 1006);
}

#[test]
fn an_id_is_taken_for_ever_and_the_same_record_is_no_refusal() {
    let mut stage = Stage::found();
    let first = sign(&payload(&stage), "civil/1");
    stage.block(vec![first.clone()]);
    assert_eq!(answer_inside(&stage, first.clone()), 1015);
    let again = |change: fn(&mut Payload), officer: &str| {
        let mut payload = payload(&Stage::found());
        change(&mut payload);
        repeat(&first, &sign(&payload, officer)).map(|refusal| (refusal.code.0, refusal.detail))
    };
    assert_eq!(again(|payload| payload.expires_at += 1, "civil/1"), None);
    let differs = |field: &str| Some((1015, format!("civil/DOC-1 is taken by another record: {field} differs")));
    let body = |payload: &mut Payload| payload.body = Value::text_map([("root", hash(2)), ("kind", text("minutes"))]);
    assert_eq!(again(body, "civil/1"), differs("root"));
    assert_eq!(again(|payload| payload.record_type = "shred".into(), "civil/1"), differs("record_type"));
    assert_eq!(again(|_| (), "civil/2"), differs("signing key"));
}

#[test]
fn what_was_verified_under_the_registered_key_is_not_verified_again() {
    let stage = Stage::found();
    let mut bytes = sign(&payload(&stage), "civil/1").bytes().to_vec();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    let transaction = std::sync::Arc::new(Transaction::decode(&bytes).expect("well-formed"));
    let answer = |key: Option<&SigningKey>| {
        let verified_with = key.map(SigningKey::public);
        let candidate = Candidate { transaction: transaction.clone(), verified_with };
        inside_block(&Overlay::new(&stage.state), &stage.network, START_MS, &candidate).expect("readable").is_ok()
    };
    assert!(answer(Some(&signing_key("civil/1"))));
    assert!(!answer(Some(&signing_key("civil/2"))));
    assert!(!answer(None));
}

#[test]
fn a_signature_with_another_encoding_of_r_is_refused_whoever_verified_it() {
    let stage = Stage::found();
    let mut bytes = sign(&payload(&stage), "civil/1").bytes().to_vec();
    let start = bytes.len() - 64;
    // y = p + 1, another encoding of the neutral element.
    bytes[start..start + 32].copy_from_slice(&[&[0xee], [0xff; 30].as_slice(), &[0x7f]].concat());
    let transaction = std::sync::Arc::new(Transaction::decode(&bytes).expect("well-formed"));
    for verified_with in [None, Some(signing_key("civil/1").public())] {
        let candidate = Candidate { transaction: transaction.clone(), verified_with };
        let answer = inside_block(&Overlay::new(&stage.state), &stage.network, START_MS, &candidate);
        assert_eq!(answer.expect("readable").expect_err("refused").code.0, 1006);
    }
}
