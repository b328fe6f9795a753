//! The clerks: signed fund records over two programmes with small grants, so that some requests ask for more than there
//! is. A payment is three records of three organisations. Who hands them in where and when is the plan's matter.

use std::sync::Arc;

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::{Hash, sha256};
use mingzhang_ledger::records::body::ref_value;
use mingzhang_ledger::records::calendar::Day;
use mingzhang_ledger::records::object::Ref;
use mingzhang_ledger::state::key::parse_id;
use mingzhang_ledger::transaction::{Payload, RecordId, Transaction};

use crate::founding::{AGENCIES, START_MS, secret};
use crate::random::Random;

pub const PROGRAMMES: u64 = 2;
/// Grants of a programme, each with a COMMITMENT account of its own.
const GRANTS: u64 = 2;
/// Value of one grant in minor units: a dozen payments use it up.
const GRANT_MINOR: u64 = 5_000;
/// Largest payment that is asked for.
const MAX_PAYMENT_MINOR: u64 = 1_000;
const YEAR: u64 = 2026;
/// How long most records stay valid.
const LIFE_MS: u64 = 6 * 3_600_000;
const UTC_OFFSET_MINUTES: i32 = 480;

pub type Record = Arc<Transaction>;

/// Signs records; every one has an id of its own.
pub struct Clerk {
    origin: String,
    next: u64,
}

pub fn programme(number: u64) -> Ref {
    reference("civil", &format!("P{number}"))
}

/// Every account of a programme.
pub fn accounts(number: u64) -> Vec<Ref> {
    let kinds = ["SOURCE", "APPROPRIATION", "ALLOTMENT", "PAID"].map(|kind| account_id(number, kind));
    let commitments = (0..GRANTS).map(|grant| format!("C{number}-{grant}"));
    kinds.into_iter().chain(commitments).map(|id| reference("finance", &id)).collect()
}

fn account_id(programme: u64, kind: &str) -> String {
    format!("{}-{programme}", kind.chars().take(3).collect::<String>())
}

fn record_id(text: &str) -> RecordId {
    parse_id(text).expect("ids of the simulation are short names")
}

fn reference(agency: &str, id: &str) -> Ref {
    Ref::new(agency, &record_id(id))
}

fn to(agency: &str, id: &str) -> Value {
    ref_value(&reference(agency, id))
}

impl Clerk {
    pub fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), next: 0 }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A record by the officer or administrator of that name, such as `finance/officer2`.
    pub fn sign(
        &self,
        signer: &str,
        (record_type, id): (&str, &str),
        body: Vec<(&str, Value)>,
        expires_at: u64,
    ) -> Record {
        let (agency, _) = signer.split_once('/').expect("AGENCY/KEY");
        let payload = Payload {
            origin: self.origin.as_str().into(),
            record_type: record_type.into(),
            record_id: record_id(id),
            agency: agency.into(),
            expires_at,
            body: Value::text_map(body),
        };
        Arc::new(Transaction::sign(&payload, &secret(signer)).expect("a small record signs"))
    }

    /// The second officer of finance approves a record.
    fn approval(&self, agency: &str, id: &str, digest: &Hash, expires_at: u64) -> Record {
        let name = hex::encode(sha256(&[agency.as_bytes(), b"/", id.as_bytes()]));
        let body = vec![("waiting", to(agency, id)), ("digest", Value::bytes(digest))];
        self.sign("finance/officer2", ("approve", &format!("A{}", &name[..14])), body, expires_at)
    }

    /// What must be final before payments can be asked for, in order.
    pub fn preparation(&self) -> Vec<Record> {
        let end = START_MS + LIFE_MS;
        let party = vec![
            ("party_id", Value::text("PARTY")),
            ("kind", Value::text("supplier")),
            ("account_commitment", Value::bytes(&[7; 32])),
        ];
        let mut records = vec![self.sign("civil/officer1", ("party_register", "PARTY"), party, end)];
        let mut approved = |signer: &str, record_type: &str, id: String, body: Vec<(&str, Value)>| {
            let record = self.sign(signer, (record_type, &id), body, end);
            let (agency, _) = signer.split_once('/').expect("AGENCY/KEY");
            let approval = self.approval(agency, &id, &record.id(), end);
            records.extend([record, approval]);
        };
        for p in 0..PROGRAMMES {
            approved("civil/officer1", "programme_open", format!("P{p}"), programme_body());
            for kind in ["SOURCE", "APPROPRIATION", "ALLOTMENT", "PAID"] {
                approved("finance/officer1", "account_open", account_id(p, kind), account_body(p, kind, None));
            }
            let total = GRANT_MINOR * GRANTS;
            for (name, from, into) in
                [("appropriate", "SOURCE", "APPROPRIATION"), ("allot", "APPROPRIATION", "ALLOTMENT")]
            {
                let mut body = vec![
                    ("amount", Value::Uint(total)),
                    ("from", to("finance", &account_id(p, from))),
                    ("to", to("finance", &account_id(p, into))),
                ];
                if name == "appropriate" {
                    body.push(("legal_ref", Value::text("budget")));
                }
                approved("finance/officer1", name, format!("{name}-{p}"), body);
            }
            for g in 0..GRANTS {
                let award = to("civil", &format!("G{p}-{g}"));
                approved("civil/officer1", "award_grant", format!("G{p}-{g}"), grant_body(p));
                let account = account_body(p, "COMMITMENT", Some(award.clone()));
                approved("finance/officer1", "account_open", format!("C{p}-{g}"), account);
                let body = vec![
                    ("amount", Value::Uint(GRANT_MINOR)),
                    ("from", to("finance", &account_id(p, "ALLOTMENT"))),
                    ("award", award),
                ];
                approved("civil/officer1", "commit", format!("M{p}-{g}"), body);
            }
        }
        records
    }

    /// Request, approval and bank confirmation of a payment.
    pub fn payment(&mut self, random: &mut Random, now_ms: u64) -> [Record; 3] {
        let (n, p, g) = (self.number(), random.between(0, PROGRAMMES - 1), random.between(0, GRANTS - 1));
        let end = expiry(random, now_ms);
        let id = format!("PAY-{n}");
        let body = vec![
            ("amount", Value::Uint(random.between(1, MAX_PAYMENT_MINOR))),
            ("from", to("finance", &format!("C{p}-{g}"))),
            ("party", Value::text("PARTY")),
            ("payee_account", Value::bytes(&[7; 32])),
            ("entitlement", to("civil", &format!("G{p}-{g}"))),
        ];
        let request = self.sign("civil/officer1", ("payment_request", &id), body, end);
        let approval = self.approval("civil", &id, &request.id(), end);
        let body = vec![
            ("movement", to("civil", &id)),
            ("bank_ref", Value::text(&hex::encode(sha256(&[id.as_bytes()])))),
            ("booked", Value::text(&Day::at(now_ms, UTC_OFFSET_MINUTES).to_string())),
            ("statement", Value::bytes(&[9; 32])),
        ];
        let confirmation = self.sign("bank/officer1", ("payment_confirm", &id), body, end);
        [request, approval, confirmation]
    }

    /// A record that any officer may file.
    pub fn anchor(&mut self, random: &mut Random, now_ms: u64) -> Record {
        let id = format!("DOC-{}", self.number());
        let agency = AGENCIES[random.pick(AGENCIES.len())];
        self.sign(&format!("{agency}/officer1"), ("document_anchor", &id), anchor_body(1), expiry(random, now_ms))
    }

    /// As [`Self::anchor`], one that lives long.
    pub fn lasting(&mut self, now_ms: u64) -> Record {
        let id = format!("DOC-{}", self.number());
        self.sign("town/officer1", ("document_anchor", &id), anchor_body(1), now_ms + LIFE_MS)
    }

    /// Two records of different kinds under one id, of which at most one may ever be recorded.
    pub fn rivals(&mut self, random: &mut Random, now_ms: u64) -> [Record; 2] {
        let (id, end) = (format!("TWO-{}", self.number()), now_ms + LIFE_MS);
        let party = vec![
            ("party_id", Value::text(&id)),
            ("kind", Value::text("supplier")),
            ("account_commitment", Value::bytes(&[8; 32])),
        ];
        let anchor = self.sign("civil/officer1", ("document_anchor", &id), anchor_body(2), end);
        let party = self.sign("civil/officer1", ("party_register", &id), party, end);
        if random.percent(50) { [anchor, party] } else { [party, anchor] }
    }
}

/// Some live too short to be recorded in bad weather.
fn expiry(random: &mut Random, now_ms: u64) -> u64 {
    now_ms + if random.percent(25) { random.between(300, 6_000) } else { LIFE_MS }
}

fn anchor_body(root: u8) -> Vec<(&'static str, Value)> {
    vec![("root", Value::bytes(&[root; 32])), ("kind", Value::text("minutes"))]
}

fn programme_body() -> Vec<(&'static str, Value)> {
    let name = Value::text;
    vec![
        ("mode", name("live")),
        ("currency", name("CNY")),
        ("purpose", name("subsidy")),
        ("years", Value::Array(vec![Value::Uint(YEAR)])),
        ("legal_ref", name("budget")),
        ("owner", name("civil")),
        ("finance", name("finance")),
        ("bank", name("bank")),
        ("supervisor", name("super")),
        ("scope", name("town")),
    ]
}

fn account_body(programme: u64, kind: &str, award: Option<Value>) -> Vec<(&'static str, Value)> {
    let mut body = vec![
        ("account_kind", Value::text(kind)),
        ("programme", to("civil", &format!("P{programme}"))),
        ("agency", Value::text("civil")),
        ("year", Value::Uint(YEAR)),
    ];
    body.extend(award.map(|award| ("award", award)));
    body
}

fn grant_body(programme: u64) -> Vec<(&'static str, Value)> {
    vec![
        ("subject", to("civil", &format!("P{programme}"))),
        ("party", Value::text("PARTY")),
        ("value", Value::Uint(GRANT_MINOR)),
        ("purpose", Value::text("subsidy")),
        ("until", Value::text("2099-12-31")),
    ]
}
