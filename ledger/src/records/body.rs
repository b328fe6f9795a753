//! The body of a record: typed reading of what the door has validated, and the validation itself. What the values mean
//! is the mechanisms' matter.

use std::cell::OnceCell;
use std::sync::Arc;

use smol_str::SmolStr;

use super::calendar::Day;
use super::object::{Person, Ref};
use super::role::Role;
use super::schema::{COMMON, Field, FieldKind, RecordType};
use crate::codec::Value;
use crate::crypto::{Hash, KeyId};
use crate::state::StateFault;
use crate::state::key::{self, Key};

/// A record as the rules see it: its envelope's content, with the dates that execution gives it.
#[derive(Debug, Clone)]
pub struct Record<'t> {
    pub kind: &'static RecordType,
    pub reference: Ref,
    pub transaction_id: Hash,
    pub key_id: KeyId,
    pub body: Body<'t>,
    /// Calendar day of the block that recorded it.
    pub recorded: Day,
    /// Its stated date, else `recorded`.
    pub effective: Day,
    pub(crate) known: Known,
}

/// What was found out about a record, each once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// What [`Record::mentions`] found.
    pub mentions: OnceCell<Arc<Mentions>>,
    /// Where the record and its signer's key stand in the state.
    pub key: OnceCell<Key>,
    pub signer: OnceCell<Key>,
}

/// A body as its transaction has it, or as it was kept while the record waited.
#[derive(Debug, Clone)]
pub enum Body<'t> {
    Submitted(&'t Value),
    Waited(Arc<Value>),
}

impl std::ops::Deref for Body<'_> {
    type Target = Value;

    fn deref(&self) -> &Value {
        match self {
            Self::Submitted(body) => body,
            Self::Waited(body) => body,
        }
    }
}

impl Record<'_> {
    /// A required field. Its absence is a fault of ours: the door lets no such body pass.
    pub fn need<T: FromValue>(&self, name: &str) -> Result<T, StateFault> {
        need(&self.body, name)
    }

    /// An optional field.
    pub fn find<T: FromValue>(&self, name: &str) -> Option<T> {
        find(&self.body, name)
    }

    /// What the body names, looked for once: several rules go through it.
    pub fn mentions(&self) -> &Arc<Mentions> {
        self.known.mentions.get_or_init(|| Arc::new(Mentions::of(self.kind, &self.body)))
    }

    /// Where its leaf stands in the state.
    pub(crate) fn key(&self) -> Key {
        *self.known.key.get_or_init(|| self.reference.key())
    }

    /// Where the key of its signer stands in the state.
    pub(crate) fn signer_key(&self) -> Key {
        *self.known.signer.get_or_init(|| key::officer_key(&self.key_id))
    }
}

/// A required field of a map: of a body, or of a map inside one.
pub fn need<T: FromValue>(map: &Value, name: &str) -> Result<T, StateFault> {
    find(map, name).ok_or_else(|| StateFault::Value(format!("body field {name}, which the schema requires")))
}

/// An optional field of a map.
pub fn find<T: FromValue>(map: &Value, name: &str) -> Option<T> {
    T::from_value(map.get(name)?)
}

/// What a body's value can be read as.
pub trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_uint()
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_text().map(str::to_owned)
    }
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl FromValue for SmolStr {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.clone()) } else { None }
    }
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_bytes()?.try_into().ok()
    }
}

/// Bytes of any length. (A list of `u64` is `Vec<u64>`; `Vec<u8>` is not a list.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl FromValue for Blob {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_bytes().map(|bytes| Self(bytes.to_vec()))
    }
}

impl FromValue for Person {
    fn from_value(value: &Value) -> Option<Self> {
        FromValue::from_value(value).map(Self)
    }
}

impl FromValue for Day {
    fn from_value(value: &Value) -> Option<Self> {
        Self::parse(value.as_text()?)
    }
}

impl FromValue for Role {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_code(value.as_text()?)
    }
}

impl FromValue for Ref {
    fn from_value(value: &Value) -> Option<Self> {
        match value.as_array()? {
            [Value::Text(agency), Value::Bytes(id)] => {
                Some(Self { agency: agency.clone(), id: id.as_slice().try_into().ok()? })
            }
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::from_value).collect()
    }
}

/// How a reference is encoded in a body.
pub fn ref_value(reference: &Ref) -> Value {
    Value::Array(vec![Value::text(&reference.agency), Value::bytes(&reference.id)])
}

/// A reference found in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub field: &'static str,
    pub kind: FieldKind,
    pub reference: Ref,
}

/// What a body names, in the order of the schema, inside lists and maps too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mentions {
    pub references: Vec<Reference>,
    /// Agencies that it names as such.
    pub agencies: Vec<SmolStr>,
    /// Their trails are joined.
    pub recipients: Vec<Person>,
    /// The sum of the moving amounts in minor units, for the limit of a role.
    pub amount_minor: u64,
}

impl Mentions {
    pub fn of(kind: &RecordType, body: &Value) -> Self {
        let mut mentions = Self::default();
        visit_body(kind, body, &mut |field, kind, value| mentions.take(field, kind, value));
        mentions
    }

    fn take(&mut self, field: &'static str, kind: FieldKind, value: &Value) {
        match kind {
            FieldKind::Ref(_) | FieldKind::Waiting => {
                let reference = Ref::from_value(value);
                self.references.extend(reference.map(|reference| Reference { field, kind, reference }));
            }
            FieldKind::Agency => self.agencies.extend(value.as_text().map(SmolStr::from)),
            FieldKind::Recipient => self.recipients.extend(Person::from_value(value)),
            FieldKind::Amount => {
                self.amount_minor = self.amount_minor.saturating_add(value.as_uint().unwrap_or(0));
            }
            _ => {}
        }
    }
}

/// Calls `visit` with every scalar of a body that the schema describes and that may name something.
fn visit_body<'v>(kind: &RecordType, body: &'v Value, visit: &mut dyn FnMut(&'static str, FieldKind, &'v Value)) {
    for field in kind.fields.iter().chain(COMMON) {
        if names_something(field.kind)
            && let Some(value) = body.get(field.name)
        {
            visit_value(field, field.kind, value, visit);
        }
    }
}

/// Whether [`Mentions`] may find anything in a field of this kind; most fields need not be looked for.
fn names_something(kind: FieldKind) -> bool {
    match kind {
        FieldKind::Ref(_) | FieldKind::Waiting | FieldKind::Agency | FieldKind::Recipient | FieldKind::Amount => true,
        FieldKind::List(item) => names_something(*item),
        FieldKind::Map(fields) => fields.iter().any(|field| names_something(field.kind)),
        FieldKind::Id
        | FieldKind::Hash
        | FieldKind::Date
        | FieldKind::Time
        | FieldKind::Minor
        | FieldKind::Count
        | FieldKind::Currency
        | FieldKind::Code
        | FieldKind::Declared
        | FieldKind::OneOf(_)
        | FieldKind::Text
        | FieldKind::Person
        | FieldKind::Role
        | FieldKind::PublicKey
        | FieldKind::Possession
        | FieldKind::Bytes(_)
        | FieldKind::Bool => false,
    }
}

fn visit_value<'v>(
    field: &'static Field,
    kind: FieldKind,
    value: &'v Value,
    visit: &mut dyn FnMut(&'static str, FieldKind, &'v Value),
) {
    match kind {
        FieldKind::List(item) => {
            for value in value.as_array().unwrap_or_default() {
                visit_value(field, *item, value, visit);
            }
        }
        FieldKind::Map(fields) => {
            for inner in fields {
                if let Some(value) = value.get(inner.name) {
                    visit_value(inner, inner.kind, value, visit);
                }
            }
        }
        FieldKind::Id
        | FieldKind::Ref(_)
        | FieldKind::Waiting
        | FieldKind::Hash
        | FieldKind::Date
        | FieldKind::Time
        | FieldKind::Minor
        | FieldKind::Amount
        | FieldKind::Count
        | FieldKind::Currency
        | FieldKind::Code
        | FieldKind::Declared
        | FieldKind::OneOf(_)
        | FieldKind::Text
        | FieldKind::Person
        | FieldKind::Recipient
        | FieldKind::Role
        | FieldKind::Agency
        | FieldKind::PublicKey
        | FieldKind::Possession
        | FieldKind::Bytes(_)
        | FieldKind::Bool => visit(field.name, kind, value),
    }
}
