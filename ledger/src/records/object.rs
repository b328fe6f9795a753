//! What stands in the state: the leaf of every record, the object that it made, and whose trails it joins. Each kind's
//! payload is defined by its mechanism.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use smol_str::SmolStr;

use super::calendar::Day;
use super::case::{Case, Licence, Matter};
use super::disclosure::Disclosure;
use super::document::Correction;
use super::finding::AuditFinding;
use super::fund::account::Account;
use super::fund::award_grant::AwardGrant;
use super::fund::goods::Goods;
use super::fund::list::{List, Objection};
use super::fund::movement::Movement;
use super::fund::programme::Programme;
use super::fund::recovery::RecoveryOrder;
use super::governance::Proposal;
use super::import::Import;
use super::registry::{Delegation, Party, RoleGrant};
use super::waiting::Waiting;
use crate::crypto::{Hash, KeyId};
use crate::state::key::{self, Key};
use crate::transaction::RecordId;

/// A record, named by its agency and its id; written `agency/id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Ref {
    #[cbor(n(0), with = "crate::codec::name")]
    pub agency: SmolStr,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub id: RecordId,
}

/// Room for the longest id of an agency, a dot and a record id in hex digits.
const KEY_PART_ROOM: usize = super::validate::MAX_AGENCY_BYTES + 33;

impl Ref {
    pub fn new(agency: &str, id: &RecordId) -> Self {
        Self { agency: agency.into(), id: *id }
    }

    /// The key of the record's leaf.
    pub fn key(&self) -> Key {
        key::record(&self.agency, &self.id)
    }

    /// `agency.id`: the form inside keys, where a slash would divide.
    pub fn key_part(&self) -> String {
        let mut part = String::with_capacity(KEY_PART_ROOM);
        self.write_key_part(&mut part);
        part
    }

    /// As [`Ref::key_part`], at the end of a longer text.
    pub fn write_key_part(&self, target: &mut String) {
        target.push_str(&self.agency);
        target.push('.');
        key::write_id(&self.id, target);
    }
}

impl std::fmt::Display for Ref {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.agency, key::id_text(&self.id))
    }
}

/// Something with a trail that a record joins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Subject {
    /// A programme, account, case, tender or data set: the leaf of the record that made it.
    #[n(0)]
    Record(#[n(0)] Ref),
    /// A registered recipient.
    #[n(1)]
    Recipient {
        #[n(0)]
        scope: String,
        #[cbor(n(1), with = "minicbor::bytes")]
        person: [u8; 16],
    },
    /// An officer key.
    #[n(2)]
    OfficerKey(#[cbor(n(0), with = "minicbor::bytes")] KeyId),
}

impl Subject {
    pub fn key(&self) -> Key {
        match self {
            Self::Record(reference) => reference.key(),
            Self::Recipient { scope, person } => key::recipient(scope, person),
            Self::OfficerKey(id) => key::officer_key(id),
        }
    }

    /// The record whose leaf the subject is, if it is one.
    pub fn record(&self) -> Option<&Ref> {
        match self {
            Self::Record(reference) => Some(reference),
            Self::Recipient { .. } | Self::OfficerKey(_) => None,
        }
    }
}

/// Under which regime a record stands (records page, section 10). Live and historical never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Mode {
    #[default]
    #[n(0)]
    Live,
    /// Imported history: R/F rules flag.
    #[n(1)]
    Historical,
    /// Imported history, judged as if it were live: R/F rules reject.
    #[n(2)]
    Strict,
}

impl Mode {
    /// `live` or `historical`: the namespace of totals; a strict import is history too, in a namespace of its own.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Historical => "historical",
            Self::Strict => "strict",
        }
    }
}

/// The value of `record/<agency>/<id>`: what became of the record, and the object that it made.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RecordLeaf {
    /// Index of the entry in the log.
    #[n(0)]
    pub index: u64,
    /// 0 applied; else the number of the rule that rejected the record.
    #[n(1)]
    pub outcome: u16,
    #[cbor(n(2), with = "crate::codec::name")]
    pub record_type: SmolStr,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub transaction_id: Hash,
    #[n(4)]
    pub mode: Mode,
    /// Key and persons (the delegator too) who submitted it.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub key_id: KeyId,
    #[n(6)]
    pub persons: Vec<Person>,
    /// Calendar day of its block.
    #[n(7)]
    pub recorded: Day,
    #[n(8)]
    pub effective: Day,
    /// Codes of the flags raised on it.
    #[n(9)]
    pub flags: Vec<u16>,
    /// Whose trails a record that refers to this one joins.
    #[cbor(n(10), with = "crate::codec::shared_list")]
    pub subjects: Arc<[Subject]>,
    #[n(11)]
    pub object: Option<Object>,
    /// Its approvals, if it needs or needed any.
    #[cbor(n(12), with = "crate::codec::shared_option", has_nil)]
    pub waiting: Option<Arc<Waiting>>,
}

impl RecordLeaf {
    /// A copy with another object.
    pub fn with_object(&self, object: Object) -> Self {
        Self {
            index: self.index,
            outcome: self.outcome,
            record_type: self.record_type.clone(),
            transaction_id: self.transaction_id,
            mode: self.mode,
            key_id: self.key_id,
            persons: self.persons.clone(),
            recorded: self.recorded,
            effective: self.effective,
            flags: self.flags.clone(),
            subjects: self.subjects.clone(),
            object: Some(object),
            waiting: self.waiting.clone(),
        }
    }

    /// Applied and, if it needed approval, approved.
    pub fn in_effect(&self) -> bool {
        self.outcome == 0 && self.waiting.as_deref().is_none_or(Waiting::is_effective)
    }
}

/// A pseudonym of 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Person(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// The object that a record made. Numbers of variants are for ever: registry 0–9, fund 10–29, tender 30–49, case 50–59,
/// data 60–69, exchange 70–79, everywhere and import 80–89.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Object {
    #[n(0)]
    Party(#[n(0)] Party),
    #[n(1)]
    Delegation(#[n(0)] Delegation),
    #[n(2)]
    RoleGrant(#[n(0)] RoleGrant),
    #[n(3)]
    Proposal(#[n(0)] Proposal),
    #[n(10)]
    Programme(#[cbor(n(0), with = "crate::codec::shared")] Arc<Programme>),
    #[n(11)]
    Account(#[cbor(n(0), with = "crate::codec::shared")] Arc<Account>),
    #[n(12)]
    Movement(#[cbor(n(0), with = "crate::codec::shared")] Arc<Movement>),
    #[n(13)]
    AwardGrant(#[cbor(n(0), with = "crate::codec::shared")] Arc<AwardGrant>),
    #[n(14)]
    List(#[n(0)] List),
    #[n(15)]
    Objection(#[n(0)] Objection),
    #[n(16)]
    Goods(#[n(0)] Goods),
    #[n(17)]
    RecoveryOrder(#[n(0)] RecoveryOrder),
    #[n(50)]
    Matter(#[n(0)] Matter),
    #[n(51)]
    Case(#[n(0)] Case),
    #[n(52)]
    Licence(#[n(0)] Licence),
    #[n(80)]
    Import(#[n(0)] Import),
    #[n(81)]
    Correction(#[n(0)] Correction),
    #[n(82)]
    Finding(#[n(0)] AuditFinding),
    #[n(83)]
    Disclosure(#[n(0)] Disclosure),
}

/// The kind of an object, for references and queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Party,
    Delegation,
    RoleGrant,
    Proposal,
    Programme,
    Account,
    Movement,
    AwardGrant,
    List,
    Objection,
    Goods,
    RecoveryOrder,
    Matter,
    Case,
    Licence,
    Import,
    Correction,
    Finding,
    Disclosure,
}

impl Kind {
    /// Whether objects of this kind have a trail of their own.
    pub fn has_trail(self) -> bool {
        match self {
            Self::Programme | Self::Account | Self::Case => true,
            Self::Party
            | Self::Delegation
            | Self::RoleGrant
            | Self::Proposal
            | Self::Movement
            | Self::AwardGrant
            | Self::List
            | Self::Objection
            | Self::Goods
            | Self::RecoveryOrder
            | Self::Matter
            | Self::Licence
            | Self::Import
            | Self::Correction
            | Self::Finding
            | Self::Disclosure => false,
        }
    }

    /// Whether flags about an object's movements are filed under it.
    pub fn has_findings(self) -> bool {
        self.has_trail() && self != Self::Account
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Party => "party",
            Self::Delegation => "delegation",
            Self::RoleGrant => "role_grant",
            Self::Proposal => "proposal",
            Self::Programme => "programme",
            Self::Account => "account",
            Self::Movement => "movement",
            Self::AwardGrant => "award_grant",
            Self::List => "list",
            Self::Objection => "objection",
            Self::Goods => "goods",
            Self::RecoveryOrder => "recovery_order",
            Self::Matter => "matter",
            Self::Case => "case",
            Self::Licence => "licence",
            Self::Import => "import",
            Self::Correction => "correction",
            Self::Finding => "finding",
            Self::Disclosure => "disclosure",
        }
    }
}

impl Object {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Party(_) => Kind::Party,
            Self::Delegation(_) => Kind::Delegation,
            Self::RoleGrant(_) => Kind::RoleGrant,
            Self::Proposal(_) => Kind::Proposal,
            Self::Programme(_) => Kind::Programme,
            Self::Account(_) => Kind::Account,
            Self::Movement(_) => Kind::Movement,
            Self::AwardGrant(_) => Kind::AwardGrant,
            Self::List(_) => Kind::List,
            Self::Objection(_) => Kind::Objection,
            Self::Goods(_) => Kind::Goods,
            Self::RecoveryOrder(_) => Kind::RecoveryOrder,
            Self::Matter(_) => Kind::Matter,
            Self::Case(_) => Kind::Case,
            Self::Licence(_) => Kind::Licence,
            Self::Import(_) => Kind::Import,
            Self::Correction(_) => Kind::Correction,
            Self::Finding(_) => Kind::Finding,
            Self::Disclosure(_) => Kind::Disclosure,
        }
    }

    /// The scope of pseudonyms that a programme names: recipients in its records are looked up under it.
    pub fn recipient_scope(&self) -> Option<&str> {
        match self {
            Self::Programme(programme) => Some(&programme.scope),
            Self::Party(_)
            | Self::Delegation(_)
            | Self::RoleGrant(_)
            | Self::Proposal(_)
            | Self::Account(_)
            | Self::Movement(_)
            | Self::AwardGrant(_)
            | Self::List(_)
            | Self::Objection(_)
            | Self::Goods(_)
            | Self::RecoveryOrder(_)
            | Self::Matter(_)
            | Self::Case(_)
            | Self::Licence(_)
            | Self::Import(_)
            | Self::Correction(_)
            | Self::Finding(_)
            | Self::Disclosure(_) => None,
        }
    }
}
