//! Bad input to a real node's public interface: each row is refused with its code, nothing of it is recorded, and the
//! node goes on. Messages between nodes and proofs are in `bad_bytes`.

use std::fmt::Write as _;

use mingzhang_client::submit::now_ms;
use mingzhang_ledger::codec::{Value, put_counted};
use mingzhang_ledger::crypto::SigningKey;
use mingzhang_ledger::transaction::{CONTENT_TYPE, MAX_TRANSACTION_BYTES, Payload, Transaction};
use mingzhang_node::api::{MAX_BATCH_BYTES, MAX_BATCH_TRANSACTIONS, MAX_LIST_ITEMS};
use mingzhang_tests::assured;
use mingzhang_tests::world::{Officer, World, anchor_body};
use serde_json::Value as Json;

/// One bad input: what it is, the code that names it, where it goes, its bytes.
type Row = (&'static str, u16, &'static str, Vec<u8>);

const SUBMIT: &str = "/transactions";
const BATCH: &str = "/batches";
const DAY_MS: u64 = 86_400_000;

struct Forge {
    origin: String,
    officer: Officer,
    stranger: Officer,
}

impl Forge {
    fn good(&self) -> Vec<u8> {
        self.officer.anchor(&self.origin, "BAD-1", 1).bytes().to_vec()
    }

    fn signed(&self, record_type: &str, body: Vec<(&str, Value)>) -> Vec<u8> {
        self.officer.sign(&self.origin, record_type, "BAD-1", body).bytes().to_vec()
    }

    /// An anchor with one more field, which replaces one of the same name.
    fn anchor_with(&self, field: &'static str, value: Value) -> Vec<u8> {
        let mut body = anchor_body(1);
        body.retain(|(name, _)| *name != field);
        body.push((field, value));
        self.signed("document_anchor", body)
    }

    fn anchor_without(&self, field: &str) -> Vec<u8> {
        let mut body = anchor_body(1);
        body.retain(|(name, _)| *name != field);
        self.signed("document_anchor", body)
    }

    /// A good record whose payload was changed before it was signed.
    fn changed(&self, change: impl FnOnce(&mut Payload)) -> Vec<u8> {
        let mut payload = self.officer.payload(&self.origin, "document_anchor", "BAD-1", anchor_body(1));
        change(&mut payload);
        Transaction::sign(&payload, &self.officer.key).expect("still a payload").bytes().to_vec()
    }

    /// A well-signed envelope around any content.
    fn envelope(&self, content: &[u8]) -> Vec<u8> {
        let key = &self.officer.key;
        let protected = Value::map(vec![
            (Value::Uint(1), Value::Int(-8)),
            (Value::Uint(3), Value::text(CONTENT_TYPE)),
            (Value::Uint(4), Value::bytes(&key.public().key_id())),
        ])
        .encode();
        let signed = Value::Array(vec![
            Value::text("Signature1"),
            Value::bytes(&protected),
            Value::Bytes(Vec::new()),
            Value::bytes(content),
        ])
        .encode();
        let mut bytes = vec![0xd2, 0x84];
        bytes.extend(Value::bytes(&protected).encode());
        bytes.push(0xa0);
        bytes.extend(Value::bytes(content).encode());
        bytes.extend(Value::bytes(&key.sign(&signed).0).encode());
        bytes
    }

    fn nested(&self, depth: usize) -> Vec<u8> {
        let deep = (0..depth).fold(Value::Uint(1), |inner, _| Value::Array(vec![inner]));
        let mut payload = self.officer.payload(&self.origin, "document_anchor", "BAD-1", anchor_body(1));
        payload.body = Value::text_map([("root", deep)]);
        self.envelope(&payload.encode())
    }
}

fn cut(bytes: &[u8], end: usize) -> Vec<u8> {
    bytes[..end].to_vec()
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

fn framed(transactions: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    transactions.iter().for_each(|transaction| put_counted(&mut bytes, transaction));
    bytes
}

/// Bytes that are no transaction, or one whose signature does not hold.
fn forms(forge: &Forge) -> Vec<Row> {
    let good = forge.good();
    let size = good.len();
    let root_at = good.windows(32).position(|window| window == [1; 32]).expect("the root is in the record");
    let mut trailing = good.clone();
    trailing.push(0);
    let mut long_head = good.clone();
    // The array's count in two bytes where one is enough.
    long_head.splice(1..2, [0x98, 0x04]);
    vec![
        ("nothing", 1001, SUBMIT, Vec::new()),
        ("text", 1001, SUBMIT, b"{\"record_type\":\"document_anchor\"}".to_vec()),
        ("zeros", 1001, SUBMIT, vec![0; 300]),
        ("the first byte alone", 1001, SUBMIT, cut(&good, 1)),
        ("half a transaction", 1001, SUBMIT, cut(&good, size / 2)),
        ("all but the last byte", 1001, SUBMIT, cut(&good, size - 1)),
        ("a byte too many", 1001, SUBMIT, trailing),
        ("a length not in its shortest form", 1001, SUBMIT, long_head),
        ("another tag", 1001, SUBMIT, flipped(&good, 0)),
        ("nested nine deep", 1001, SUBMIT, forge.nested(9)),
        ("nested a thousand deep", 1001, SUBMIT, forge.nested(1_000)),
        ("a payload that is no map", 1004, SUBMIT, forge.envelope(&Value::Uint(1).encode())),
        ("a payload cut short", 1001, SUBMIT, forge.envelope(&[0xa6, 0x01])),
        ("one byte over the limit", 1002, SUBMIT, vec![0; MAX_TRANSACTION_BYTES + 1]),
        ("a bit of the signature flipped", 1006, SUBMIT, flipped(&good, size - 1)),
        ("a bit of the signature's point flipped", 1006, SUBMIT, flipped(&good, size - 40)),
        ("a bit of the body flipped", 1006, SUBMIT, flipped(&good, root_at)),
    ]
}

/// Well-formed transactions that may not stand on this network's log.
fn doors(forge: &Forge) -> Vec<Row> {
    let mobile = "call 13800138000";
    let text = |text: &str| Value::text(text);
    let by_stranger = forge.stranger.anchor(&forge.origin, "BAD-1", 1).bytes().to_vec();
    let programme = |currency: &str| forge.signed("programme_open", vec![("currency", text(currency))]);
    vec![
        ("an unknown record type", 1003, SUBMIT, forge.signed("document_ancor", anchor_body(1))),
        ("an empty body", 1004, SUBMIT, forge.signed("document_anchor", Vec::new())),
        ("a missing field", 1004, SUBMIT, forge.anchor_without("kind")),
        ("an unknown field", 1004, SUBMIT, forge.anchor_with("colour", text("red"))),
        ("a number for a hash", 1004, SUBMIT, forge.anchor_with("root", Value::Uint(7))),
        ("a hash of 31 bytes", 1004, SUBMIT, forge.anchor_with("root", Value::bytes(&[1; 31]))),
        ("a code of 65 characters", 1004, SUBMIT, forge.anchor_with("kind", text(&"x".repeat(65)))),
        ("a code that is empty", 1004, SUBMIT, forge.anchor_with("kind", text(""))),
        ("control characters", 1004, SUBMIT, forge.anchor_with("kind", text("a\u{0}b"))),
        ("an agency that is no id", 1004, SUBMIT, forge.changed(|payload| payload.agency = "Civil Affairs".into())),
        ("another network", 1005, SUBMIT, forge.changed(|payload| payload.origin = "other.example/main-00".into())),
        ("a key that nobody registered", 1007, SUBMIT, by_stranger),
        ("a key of another agency", 1007, SUBMIT, forge.changed(|payload| payload.agency = "finance".into())),
        ("an expired record", 1008, SUBMIT, forge.changed(|payload| payload.expires_at = now_ms() - 1)),
        ("expired in 1970", 1008, SUBMIT, forge.changed(|payload| payload.expires_at = 0)),
        ("expires too late", 1009, SUBMIT, forge.changed(|payload| payload.expires_at = now_ms() + 2 * DAY_MS)),
        ("expires never", 1009, SUBMIT, forge.changed(|payload| payload.expires_at = u64::MAX)),
        ("a mobile number in clear", 1010, SUBMIT, forge.anchor_with("kind", text(mobile))),
        ("an e-mail address in clear", 1010, SUBMIT, forge.anchor_with("kind", text("li.lei@example.com"))),
        ("nothing is paid", 1011, SUBMIT, forge.signed("payment_request", vec![("amount", Value::Uint(0))])),
        ("an amount below zero", 1004, SUBMIT, forge.signed("payment_request", vec![("amount", Value::Int(-5))])),
        ("an amount as text", 1004, SUBMIT, forge.signed("payment_request", vec![("amount", text("1.00"))])),
        ("a currency that does not exist", 1011, SUBMIT, programme("QQQ")),
        ("a currency in small letters", 1011, SUBMIT, programme("cny")),
        ("30 February", 1012, SUBMIT, forge.anchor_with("effective_date", text("2026-02-30"))),
        ("a month of its own", 1012, SUBMIT, forge.anchor_with("effective_date", text("2026-13-01"))),
        ("a date as number", 1004, SUBMIT, forge.anchor_with("effective_date", Value::Uint(20_260_101))),
    ]
}

/// Batches that are framed wrongly or hold too much.
fn batches(forge: &Forge) -> Vec<Row> {
    let good = forge.good();
    let mut beyond = framed(&[&good]);
    beyond.extend_from_slice(&[0, 0, 0, 9, 1]);
    let many = vec![&[][..]; MAX_BATCH_TRANSACTIONS + 1];
    vec![
        ("three bytes of a length", 2003, BATCH, vec![0, 0, 0]),
        ("a length past the end", 2003, BATCH, beyond),
        ("a length of four gigabytes", 2003, BATCH, vec![0xff; 8]),
        ("a transaction without frame", 2003, BATCH, good),
        ("more transactions than allowed", 2004, BATCH, framed(&many)),
        ("more bytes than allowed", 1002, BATCH, vec![0; MAX_BATCH_BYTES + 1]),
        ("more bytes than allowed at once", 1002, SUBMIT, vec![0; MAX_BATCH_BYTES + 1]),
    ]
}

/// Questions that make no sense.
const QUESTIONS: [(&str, u16); 19] = [
    ("/blocks/abc", 2003),
    ("/blocks/-1", 2003),
    ("/blocks/99999999999999999999", 2003),
    ("/blocks/123456789", 2005),
    ("/blocks?limit=many", 2003),
    ("/transactions/xyz", 2003),
    ("/transactions/00", 2003),
    ("/transactions/0000000000000000000000000000000000000000000000000000000000000000", 2005),
    ("/state/zz", 2003),
    ("/consistency?from=2", 2003),
    ("/consistency?from=9&to=3", 2003),
    ("/headers", 2003),
    ("/headers?entries=", 2003),
    ("/headers?entries=1,-1", 2003),
    ("/headers?entries=123456789", 2005),
    ("/headers?entries=1&size=1", 2005),
    ("/records/civil/NOTHING", 2005),
    ("/errors/MZ-0000", 2005),
    ("/no/such/path/at/all", 2005),
];

#[test]
fn every_bad_input_is_refused_by_its_code_and_the_node_goes_on() {
    let world = World::start(1);
    let forge = Forge {
        origin: world.origin.clone(),
        officer: world.officer("civil-window-1"),
        stranger: Officer { agency: "civil".into(), key: SigningKey::from_seed(&[77; 32]) },
    };
    let seat = &world.seats[0];
    let rows: Vec<Row> = [forms(&forge), doors(&forge), batches(&forge)].concat();
    let mut wrong = String::new();
    let mut judge = |what: &str, code: u16, answer: Option<(u16, Json)>| {
        let right = answer.as_ref().is_some_and(|(status, answer)| {
            (400..500).contains(status) && answer["code"] == format!("MZ-{code}") && answer["detail"] != ""
        });
        if !right {
            writeln!(wrong, "{what}: wanted MZ-{code}, got {answer:?}").expect("writing to a string cannot fail");
        }
    };
    for (what, code, path, bytes) in &rows {
        judge(what, *code, world.post(seat, path, bytes, 0));
    }
    for (path, code) in QUESTIONS {
        judge(path, code, world.get(seat, path));
    }
    let one_beyond = |item: &str| vec![item; MAX_LIST_ITEMS + 1].join(",");
    let lists =
        [format!("/headers?entries={}", one_beyond("1")), format!("/state?keys={}", one_beyond(&"0".repeat(64)))];
    for path in &lists {
        judge("one more item than allowed", 2004, world.get(seat, path));
    }
    assert!(wrong.is_empty(), "{wrong}");
    let tried = rows.len() + QUESTIONS.len() + lists.len();
    println!("{tried} bad inputs to the API, all refused");
    assured::count("bad_inputs", "to the API of a real node, each refused with its code", tried);
    the_node_goes_on(&world, &forge);
}

/// Nothing was recorded under the id that all bad ones had, a good record still is, and a replay changes nothing.
fn the_node_goes_on(world: &World, forge: &Forge) {
    let seat = &world.seats[0];
    let (_, absent) = world.get(seat, "/records/civil/BAD-1").expect("the node answers");
    assert_eq!(absent["code"], "MZ-2005", "{absent}");
    let good = forge.good();
    let submit = |path: &str, bytes: &[u8]| world.post(seat, path, bytes, 60).expect("the node answers");
    let (status, first) = submit(SUBMIT, &good);
    assert_eq!((status, first["outcome"].as_str()), (200, Some("applied")), "{first}");
    let (status, replayed) = submit(SUBMIT, &good);
    assert_eq!((status, replayed["repeated"].as_bool()), (200, Some(true)), "{replayed}");
    assert_eq!(replayed["index"], first["index"]);
    let other = forge.anchor_with("kind", Value::text("order"));
    assert_eq!(submit(SUBMIT, &other).1["code"], "MZ-1015");
    // The first answer is for who signed the same again, for this network, and for nobody else.
    let signed_again = submit(SUBMIT, &forge.changed(|payload| payload.expires_at += 1));
    assert_eq!((signed_again.0, signed_again.1["repeated"].as_bool()), (200, Some(true)), "{}", signed_again.1);
    for (bad, code) in [
        (flipped(&good, good.len() - 1), "MZ-1006"),
        (forge.changed(|payload| payload.origin = "elsewhere-0000000000000000".into()), "MZ-1005"),
        (forge.changed(|payload| payload.expires_at = 1), "MZ-1008"),
    ] {
        let (_, answer) = submit(SUBMIT, &bad);
        assert_eq!(answer["code"], code, "{answer}");
    }
    // One bad transaction in a batch does not touch its neighbours.
    let neighbour = forge.officer.anchor(&forge.origin, "GOOD-2", 2);
    let (_, answer) = submit(BATCH, &framed(&[b"bad", neighbour.bytes()]));
    assert_eq!(answer["items"][0]["code"], "MZ-1001", "{answer}");
    assert_eq!(answer["items"][1]["outcome"], "applied", "{answer}");
}
