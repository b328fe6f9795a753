//! The schema of records: one row per record type, from which the door checks bodies, the client makes its commands
//! and the frame knows who may submit, who approves and which rules run. What the rules say is in the mechanisms.

use super::object::Kind;
use super::role::Role;
use super::scene::{Scene, Verdict};
use super::waiting::Need;

/// Longest `code` in bytes.
pub const MAX_CODE_BYTES: usize = 64;
/// Longest `text` in bytes.
pub const MAX_TEXT_BYTES: usize = 200;
/// Most items of any list in a body.
pub const MAX_LIST_ITEMS: usize = 256;

/// What a field holds, and so how it is encoded in CBOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// 16 bytes: an id within the own agency.
    Id,
    /// `[agency, id]`: an earlier record in effect whose object is of one of these kinds; none named: any record.
    Ref(&'static [Kind]),
    /// `[agency, id]`: a record that waits for approval or has waited; it need not be in effect.
    Waiting,
    /// 32 bytes.
    Hash,
    /// `YYYY-MM-DD`.
    Date,
    /// Milliseconds since 1970, UTC.
    Time,
    /// Minor units of money, zero allowed.
    Minor,
    /// Minor units of money that move: zero is refused with 1011.
    Amount,
    /// A number that is no money.
    Count,
    /// ISO 4217 code; an unknown one is refused with 1011.
    Currency,
    /// Up to 64 bytes of printable ASCII, scanned for personal data.
    Code,
    /// As a code, but a declared identifier (bank reference, record number): not scanned.
    Declared,
    /// One of these codes.
    OneOf(&'static [&'static str]),
    /// Up to 200 bytes of UTF-8, scanned for personal data.
    Text,
    /// 16 bytes: a pseudonym.
    Person,
    /// 16 bytes: a pseudonym under the programme's scope, whose trail the record joins if it is registered.
    Recipient,
    /// A role's code.
    Role,
    /// The id of a registered agency.
    Agency,
    /// 32 bytes: an Ed25519 public key, canonical and torsion-free.
    PublicKey,
    /// 64 bytes: the signature by which the holder of the field `key` proves possession (protocol page, POSSESS).
    Possession,
    /// Up to this many bytes.
    Bytes(usize),
    Bool,
    List(&'static FieldKind),
    /// A map with text keys.
    Map(&'static [Field]),
}

/// Where a code must be unique (3001).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unique {
    /// In the whole network, as `code/<kind>/<code>`.
    Network(&'static str),
    /// Within the submitting agency, as `code/<kind>/<agency>.<code>`.
    Agency(&'static str),
}

/// One field of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub kind: FieldKind,
    pub required: bool,
    pub unique: Option<Unique>,
}

impl Field {
    pub const fn need(name: &'static str, kind: FieldKind) -> Self {
        Self { name, kind, required: true, unique: None }
    }

    pub const fn may(name: &'static str, kind: FieldKind) -> Self {
        Self { name, kind, required: false, unique: None }
    }

    /// The same field, whose code must be free: the frame checks it (3001) and claims it when the record takes effect.
    pub const fn unique(self, unique: Unique) -> Self {
        Self { name: self.name, kind: self.kind, required: self.required, unique: Some(unique) }
    }
}

const EVIDENCE: &[Field] = &[Field::need("hash", FieldKind::Hash), Field::need("kind", FieldKind::Code)];

/// What any body may hold besides its own fields. `subject` names the programme, case, tender or data set; `import`
/// the `import_open` under which a historical record is written; `defaults` the fields that the importer filled, `conflicts` those of which the source states two values. `stated_date` is a
/// source's own date where it lies after the source's release, which is then the effective date (3007).
pub const COMMON: &[Field] = &[
    Field::may("subject", FieldKind::Ref(&[])),
    Field::may("effective_date", FieldKind::Date),
    Field::may("stated_date", FieldKind::Date),
    Field::may("on_behalf_of", FieldKind::Ref(&[Kind::Delegation])),
    Field::may("evidence", FieldKind::List(&FieldKind::Map(EVIDENCE))),
    Field::may("import", FieldKind::Ref(&[Kind::Import])),
    Field::may("defaults", FieldKind::List(&FieldKind::Code)),
    Field::may("conflicts", FieldKind::List(&FieldKind::Code)),
];

/// The common field whose items hold digests of documents, and the name of the digest in each.
pub const CITED: (&str, &str) = ("evidence", "hash");

/// The own fields of a record type that hold the digest of a document, SHA-256(salt ‖ file): by these, and by
/// [`CITED`], a record is found by who has the file. No other hash is such a field: those of accounts and of lines with
/// persons in them, which nobody may look for, nor salts, paths, roots over many rows and ids of transactions.
pub fn document_fields(record_type: &str) -> &'static [&'static str] {
    match record_type {
        "document_anchor" | "shred" => &["root"],
        "correct" => &["fields"],
        "case_submit" | "case_supply" => &["form"],
        "case_return" => &["items"],
        "case_opinion" | "finding" => &["report"],
        "case_decide" | "recovery_order" => &["decision"],
        "licence_issue" => &["licence"],
        "list_objection" => &["reason"],
        "payment_confirm" | "income_confirm" => &["statement"],
        "finding_answer" => &["answer"],
        _ => &[],
    }
}

/// Which part of the design a record type belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    Registry,
    Governance,
    Case,
    Fund,
    Tender,
    Data,
    Exchange,
    Everywhere,
    Import,
}

/// A rule or an effect: reads and changes the scene, or rejects.
pub type Step = fn(&mut Scene<'_>) -> Verdict;

/// One record type: a row of a mechanism's table. Write rows as `RecordType { name: …, ..RecordType::BASE }`.
#[derive(Debug, Clone, Copy)]
pub struct RecordType {
    pub name: &'static str,
    pub zh: &'static str,
    pub area: Area,
    pub fields: &'static [Field],
    /// Roles of which the submitter must hold one (3003); none named: any registered officer.
    pub submitters: &'static [Role],
    /// May be written by an officer who holds the auditor's role (else 3702).
    pub by_auditor: bool,
    /// May stand beside an import on historical subjects (3012): findings, their answers, corrections.
    pub crosses_modes: bool,
    /// Needs of approval, in order; an empty list means that the record takes effect at once. Never asked in imports.
    pub approvers: fn(&mut Scene<'_>) -> Verdict<Vec<Need>>,
    /// What the record moves in minor units, for the limit of a role, where its own amounts do not say it.
    pub amount: fn(&mut Scene<'_>) -> Verdict<u64>,
    /// Rules that come before roles: 3503 and 3602.
    pub belongs: Step,
    /// The mechanism's half of 3003: which agencies the programme (matter, tender …) names.
    pub entitled: Step,
    /// The mechanism's own rules, in code order.
    pub check: Step,
    /// 3009 and 3011, which come last.
    pub sequence: Step,
    /// When the record waits: reserve, and create an object that is not yet in effect where the trail wants it.
    pub propose: Step,
    /// When the record takes effect, at once or with its last approval.
    pub take_effect: Step,
    /// When a waiting record ends without effect: give back what `propose` reserved.
    pub void: Step,
}

impl RecordType {
    /// A row without fields, rules or effects, to be filled in.
    pub const BASE: RecordType = RecordType {
        name: "",
        zh: "",
        area: Area::Everywhere,
        fields: &[],
        submitters: &[],
        by_auditor: false,
        crosses_modes: false,
        approvers: no_approvers,
        amount: own_amounts,
        belongs: nothing,
        entitled: nothing,
        check: nothing,
        sequence: nothing,
        propose: nothing,
        take_effect: nothing,
        void: nothing,
    };

    /// The type's own field or common field of that name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().chain(COMMON).find(|field| field.name == name)
    }
}

fn nothing(_: &mut Scene<'_>) -> Verdict {
    Ok(())
}

fn own_amounts(scene: &mut Scene<'_>) -> Verdict<u64> {
    Ok(scene.record.mentions().amount_minor)
}

fn no_approvers(_: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    Ok(Vec::new())
}

/// Codes for people: of those that differ in case alone, the first.
pub fn spelled(codes: &[&'static str]) -> Vec<&'static str> {
    let mut spelled: Vec<&'static str> = Vec::new();
    for code in codes {
        if !spelled.iter().any(|known| known.eq_ignore_ascii_case(code)) {
            spelled.push(code);
        }
    }
    spelled
}
