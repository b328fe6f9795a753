//! The work of the bench and of the nodes under fire: signed fund records of 300 to 500 bytes. Every payment is three records
//! of three organisations (request, approval, bank confirmation); one request in fifty asks for more than there is and is
//! rejected. How fast they go in is the load's matter.

use std::path::Path;

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::{Hash, SigningKey, key_file, sha256};
use mingzhang_ledger::state::key::parse_id;
use mingzhang_ledger::transaction::{Payload, RecordId, Transaction};

/// How much is prepared.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub programmes: u64,
    /// Of each programme, with a COMMITMENT account of its own beside the programme's four others.
    pub grants: u64,
}

/// 1,000 accounts.
pub const BENCH: Scale = Scale { programmes: 20, grants: 46 };

/// Value of one grant in minor units.
const GRANT_MINOR: u64 = 1_000_000_000_000;
/// One request in so many asks for more than the grant.
const REJECTED_ONE_IN: u64 = 50;
/// How long pre-signed records stay valid.
const LIFE_MS: u64 = 6 * 3_600_000;
const YEAR: u64 = 2026;

/// The officers of a devnet that the work needs.
pub struct Officers {
    scale: Scale,
    origin: String,
    owner: SigningKey,
    finance: [SigningKey; 2],
    bank: SigningKey,
    expires_at: u64,
}

/// One signed record.
#[derive(Clone)]
pub struct Signed {
    pub id: Hash,
    pub bytes: Vec<u8>,
}

impl Officers {
    pub fn open(dir: &Path, origin: &str, now_ms: u64, scale: Scale) -> Result<Self, String> {
        let key = |name: &str| {
            let path = dir.join("keys").join(format!("{name}.pem"));
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            key_file::read(&text, None).map_err(|error| format!("{}: {error}", path.display()))
        };
        Ok(Self {
            scale,
            origin: origin.to_owned(),
            owner: key("civil-programme-owner-1")?,
            finance: [key("finance-finance-1")?, key("finance-finance-2")?],
            bank: key("bank-agent-bank-1")?,
            expires_at: now_ms + LIFE_MS,
        })
    }

    fn sign(&self, (agency, key): (&str, &SigningKey), record_type: &str, id: &str, body: Value) -> Signed {
        let payload = Payload {
            origin: self.origin.as_str().into(),
            record_type: record_type.into(),
            record_id: record_id(id),
            agency: agency.into(),
            expires_at: self.expires_at,
            body,
        };
        let transaction = Transaction::sign(&payload, key).expect("the bench signs well-formed records");
        Signed { id: transaction.id(), bytes: transaction.bytes().to_vec() }
    }

    fn by_owner(&self, record_type: &str, id: &str, body: Value) -> Signed {
        self.sign(("civil", &self.owner), record_type, id, body)
    }

    fn by_finance(&self, record_type: &str, id: &str, body: Value) -> Signed {
        self.sign(("finance", &self.finance[0]), record_type, id, body)
    }

    /// The second officer of finance approves a record.
    fn approval(&self, agency: &str, id: &str, digest: &Hash) -> Signed {
        let body = Value::text_map([("waiting", reference(agency, id)), ("digest", Value::bytes(digest))]);
        self.sign(("finance", &self.finance[1]), "approve", &format!("A{}", short(&format!("{agency}/{id}"))), body)
    }

    /// What must be final before the load begins, in steps that follow each other.
    pub fn preparation(&self) -> Vec<Vec<Signed>> {
        let Scale { programmes, grants } = self.scale;
        let mut steps = vec![vec![self.by_owner(
            "party_register",
            "BENCH-PARTY",
            Value::text_map([
                ("party_id", Value::text("BENCH-PARTY")),
                ("kind", Value::text("supplier")),
                ("account_commitment", Value::bytes(&[7; 32])),
            ]),
        )]];
        let opened = (0..programmes)
            .map(|p| ("civil", format!("P{p}"), self.by_owner("programme_open", &format!("P{p}"), programme())));
        self.with_approvals(&mut steps, opened.collect());
        let kinds = ["SOURCE", "APPROPRIATION", "ALLOTMENT", "PAID"];
        let accounts = (0..programmes).flat_map(|p| {
            kinds.map(|kind| {
                (
                    "finance",
                    account_id(p, kind),
                    self.by_finance("account_open", &account_id(p, kind), account(p, kind, None)),
                )
            })
        });
        self.with_approvals(&mut steps, accounts.collect());
        let total = GRANT_MINOR * grants;
        let move_money = |record_type: &str, id: &str, p: u64, from: &str, to: &str| {
            let mut fields = vec![
                ("amount", Value::Uint(total)),
                ("from", reference("finance", &account_id(p, from))),
                ("to", reference("finance", &account_id(p, to))),
            ];
            if record_type == "appropriate" {
                fields.push(("legal_ref", Value::text("budget")));
            }
            self.by_finance(record_type, id, Value::text_map(fields))
        };
        let appropriations = (0..programmes).map(|p| {
            ("finance", format!("AP{p}"), move_money("appropriate", &format!("AP{p}"), p, "SOURCE", "APPROPRIATION"))
        });
        self.with_approvals(&mut steps, appropriations.collect());
        let allotments = (0..programmes).map(|p| {
            ("finance", format!("AL{p}"), move_money("allot", &format!("AL{p}"), p, "APPROPRIATION", "ALLOTMENT"))
        });
        self.with_approvals(&mut steps, allotments.collect());
        let pairs = || (0..programmes).flat_map(|p| (0..grants).map(move |g| (p, g)));
        self.with_approvals(
            &mut steps,
            pairs()
                .map(|(p, g)| ("civil", grant_id(p, g), self.by_owner("award_grant", &grant_id(p, g), grant(p))))
                .collect(),
        );
        let commitments = pairs().map(|(p, g)| {
            let id = commitment_id(p, g);
            let body = account(p, "COMMITMENT", Some(reference("civil", &grant_id(p, g))));
            ("finance", id.clone(), self.by_finance("account_open", &id, body))
        });
        self.with_approvals(&mut steps, commitments.collect());
        let commits = pairs().map(|(p, g)| {
            let id = format!("CM{p}-{g}");
            let body = Value::text_map([
                ("amount", Value::Uint(GRANT_MINOR)),
                ("from", reference("finance", &account_id(p, "ALLOTMENT"))),
                ("award", reference("civil", &grant_id(p, g))),
            ]);
            ("civil", id.clone(), self.by_owner("commit", &id, body))
        });
        self.with_approvals(&mut steps, commits.collect());
        steps
    }

    fn with_approvals(&self, steps: &mut Vec<Vec<Signed>>, proposals: Vec<(&str, String, Signed)>) {
        let approvals = proposals.iter().map(|(agency, id, signed)| self.approval(agency, id, &signed.id)).collect();
        steps.push(proposals.into_iter().map(|(_, _, signed)| signed).collect());
        steps.push(approvals);
    }

    /// The three records of payment number `n` of a run.
    pub fn payment(&self, run: &str, n: u64) -> [Signed; 3] {
        let (p, g) = (n % self.scale.programmes, (n / self.scale.programmes) % self.scale.grants);
        let amount = if asks_too_much(n) { GRANT_MINOR + n } else { amount_minor(n) };
        let id = format!("{run}{n}");
        let request = self.by_owner(
            "payment_request",
            &id,
            Value::text_map([
                ("amount", Value::Uint(amount)),
                ("from", reference("finance", &commitment_id(p, g))),
                ("party", Value::text("BENCH-PARTY")),
                ("payee_account", Value::bytes(&[7; 32])),
                ("entitlement", reference("civil", &grant_id(p, g))),
            ]),
        );
        let approval = self.approval("civil", &id, &request.id);
        let confirmation = self.sign(
            ("bank", &self.bank),
            "payment_confirm",
            &id,
            Value::text_map([
                ("movement", reference("civil", &id)),
                ("bank_ref", Value::text(&hex::encode(sha256(&[id.as_bytes()])))),
                ("booked", Value::text(&today())),
                ("statement", Value::bytes(&[9; 32])),
            ]),
        );
        [request, approval, confirmation]
    }
}

/// Whether payment number `n` asks for more than there is.
pub fn asks_too_much(n: u64) -> bool {
    n % REJECTED_ONE_IN == REJECTED_ONE_IN - 1
}

/// What payment number `n` pays, if it does not ask for too much.
pub fn amount_minor(n: u64) -> u64 {
    100 + n
}

fn today() -> String {
    use mingzhang_ledger::records::calendar::Day;
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    Day::at(now_s * 1_000, 0).to_string()
}

fn record_id(text: &str) -> RecordId {
    parse_id(text).expect("ids of the bench are short names")
}

fn reference(agency: &str, id: &str) -> Value {
    Value::Array(vec![Value::text(agency), Value::bytes(&record_id(id))])
}

/// A name of 15 characters for any text.
fn short(text: &str) -> String {
    hex::encode(sha256(&[text.as_bytes()])).chars().take(15).collect()
}

fn account_id(programme: u64, kind: &str) -> String {
    format!("{}-{programme}", kind.chars().take(3).collect::<String>())
}

fn grant_id(programme: u64, grant: u64) -> String {
    format!("G{programme}-{grant}")
}

fn commitment_id(programme: u64, grant: u64) -> String {
    format!("C{programme}-{grant}")
}

fn programme() -> Value {
    let name = Value::text;
    Value::text_map([
        ("mode", name("live")),
        ("currency", name("CNY")),
        ("purpose", name("bench")),
        ("years", Value::Array(vec![Value::Uint(YEAR)])),
        ("legal_ref", name("budget")),
        ("owner", name("civil")),
        ("finance", name("finance")),
        ("bank", name("bank")),
        ("supervisor", name("market")),
        ("scope", name("bench")),
    ])
}

fn account(programme: u64, kind: &str, award: Option<Value>) -> Value {
    let mut fields = vec![
        ("account_kind", Value::text(kind)),
        ("programme", reference("civil", &format!("P{programme}"))),
        ("agency", Value::text("civil")),
        ("year", Value::Uint(YEAR)),
    ];
    fields.extend(award.map(|award| ("award", award)));
    Value::text_map(fields)
}

fn grant(programme: u64) -> Value {
    Value::text_map([
        ("subject", reference("civil", &format!("P{programme}"))),
        ("party", Value::text("BENCH-PARTY")),
        ("value", Value::Uint(GRANT_MINOR)),
        ("purpose", Value::text("bench")),
        ("until", Value::text("2099-12-31")),
    ])
}
