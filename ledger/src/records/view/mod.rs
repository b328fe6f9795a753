//! The JSON view of transactions, bodies, record leaves and objects: what the API answers and the client prints. For
//! people; never hashed, never signed. Money is `{"amount","minor","currency"}`, hashes `sha256:…`, references
//! `agency/id`, times RFC 3339.

mod fund;
mod leaf;
mod object;
mod registry;

pub use leaf::{Standing, WaitsFor, leaf, standing};
pub use object::object;
pub use registry::{agency, officer, officer_key, recipient};

use serde_json::{Map, Value as Json, json};

use super::calendar::{DAY_MS, Day};
use super::object::{Object, Person, RecordLeaf, Ref, Subject};
use super::schema::{COMMON, Field, FieldKind, RecordType};
use crate::codec::Value;
use crate::crypto::Hash;
use crate::state::execute::Effect;
use crate::state::{Overlay, Snapshot, StateFault};
use crate::transaction::Transaction;

/// What a view must know beside the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lens {
    pub utc_offset_minutes: i32,
    /// Currency of amounts whose record names none: its programme's.
    pub currency: Option<String>,
    /// The agent bank of that programme.
    pub bank: Option<String>,
}

impl Lens {
    pub fn new(utc_offset_minutes: i32) -> Self {
        Self { utc_offset_minutes, currency: None, bank: None }
    }

    /// The lens for a record: with currency and bank of the programme that it belongs to, if it belongs to one.
    pub fn of(state: &dyn Snapshot, utc_offset_minutes: i32, leaf: &RecordLeaf) -> Result<Self, StateFault> {
        let mut lens = Self::new(utc_offset_minutes);
        lens.look_at(leaf.object.as_ref());
        let state = Overlay::new(state);
        for subject in leaf.subjects.iter() {
            if let Subject::Record(named) = subject
                && lens.currency.is_none()
            {
                let leaf: Option<RecordLeaf> = state.get(&named.key())?;
                lens.look_at(leaf.and_then(|leaf| leaf.object).as_ref());
            }
        }
        Ok(lens)
    }

    fn look_at(&mut self, object: Option<&Object>) {
        if let Some(Object::Programme(programme)) = object {
            self.currency = Some(programme.currency.to_string());
            self.bank = Some(programme.bank.to_string());
        }
    }
}

/// An amount in minor units of a currency; without a known currency only its minor units are shown.
pub fn money(minor: u64, currency: Option<&str>) -> Json {
    let known = currency.and_then(|code| Some((code, iso_currency::Currency::from_code(code)?)));
    match known {
        None => json!({ "amount": null, "minor": minor.to_string(), "currency": currency }),
        Some((code, known)) => {
            let places = known.exponent().unwrap_or(0);
            json!({ "amount": decimal(&minor.to_string(), places), "minor": minor.to_string(), "currency": code })
        }
    }
}

/// As [`money`], for balances of historical subjects, which may fall below zero.
pub fn signed_money(credits: u64, debits: u64, currency: Option<&str>) -> Json {
    let mut view = money(credits.abs_diff(debits), currency);
    if credits < debits {
        for name in ["amount", "minor"] {
            if let Some(Json::String(number)) = view.get_mut(name) {
                number.insert(0, '-');
            }
        }
    }
    view
}

/// Digits with a decimal point before the last `places`.
fn decimal(digits: &str, places: u16) -> String {
    let places = usize::from(places);
    if places == 0 {
        return digits.to_owned();
    }
    let padded = format!("{digits:0>width$}", width = places.saturating_add(1));
    let (whole, fraction) = padded.split_at(padded.len().saturating_sub(places));
    format!("{whole}.{fraction}")
}

pub fn hash(hash: &Hash) -> Json {
    Json::String(format!("sha256:{}", hex::encode(hash)))
}

pub fn reference(reference: &Ref) -> Json {
    Json::String(reference.to_string())
}

pub fn references(references: &[Ref]) -> Json {
    references.iter().map(reference).collect()
}

pub fn person(person: &Person) -> Json {
    Json::String(hex::encode(person.0))
}

pub fn day(day: Day) -> Json {
    Json::String(day.to_string())
}

/// RFC 3339 with the network's offset.
pub fn time(time_ms: u64, utc_offset_minutes: i32) -> Json {
    let offset_ms = i64::from(utc_offset_minutes).saturating_mul(60_000);
    let local_ms = i64::try_from(time_ms).unwrap_or(i64::MAX).saturating_add(offset_ms);
    let of_day_ms = local_ms.rem_euclid(i64::try_from(DAY_MS).unwrap_or(i64::MAX));
    let (seconds, milliseconds) = (of_day_ms.div_euclid(1_000), of_day_ms.rem_euclid(1_000));
    let (hour, minute, second) =
        (seconds.div_euclid(3_600), seconds.div_euclid(60).rem_euclid(60), seconds.rem_euclid(60));
    let sign = if utc_offset_minutes < 0 { '-' } else { '+' };
    let offset = utc_offset_minutes.unsigned_abs();
    Json::String(format!(
        "{}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}{sign}{:02}:{:02}",
        Day::at(time_ms, utc_offset_minutes),
        offset.div_euclid(60),
        offset.rem_euclid(60)
    ))
}

/// A decoded transaction.
pub fn transaction(transaction: &Transaction, lens: &Lens) -> Json {
    let payload = transaction.payload();
    let record = Ref::new(&payload.agency, &payload.record_id);
    let body = super::record_type(&payload.record_type).map(|kind| body(kind, &payload.body, lens));
    json!({
        "tx_id": hash(&transaction.id()),
        "origin": payload.origin,
        "record_type": payload.record_type,
        "record_id": crate::state::key::id_text(&record.id),
        "agency_id": payload.agency,
        "signer": hex::encode(transaction.key_id()),
        "expires_at": time(payload.expires_at, lens.utc_offset_minutes),
        "body": body,
    })
}

/// A body, field by field in the order of the schema.
pub fn body(kind: &RecordType, body: &Value, lens: &Lens) -> Json {
    let currency = body.get("currency").and_then(Value::as_text).map(str::to_owned);
    let lens = Lens { currency: currency.or_else(|| lens.currency.clone()), ..lens.clone() };
    fields(&[kind.fields, COMMON], body, &lens)
}

fn fields(tables: &[&'static [Field]], map: &Value, lens: &Lens) -> Json {
    let mut view = Map::new();
    for field in tables.iter().copied().flatten() {
        if let Some(value) = map.get(field.name) {
            view.insert(field.name.to_owned(), value_view(field.kind, value, lens));
        }
    }
    Json::Object(view)
}

fn value_view(kind: FieldKind, value: &Value, lens: &Lens) -> Json {
    let bytes = || Json::String(hex::encode(value.as_bytes().unwrap_or_default()));
    match kind {
        FieldKind::Id => {
            let id = value.as_bytes().and_then(|bytes| bytes.try_into().ok());
            id.map_or(Json::Null, |id| Json::String(crate::state::key::id_text(id)))
        }
        FieldKind::Ref(_) | FieldKind::Waiting => {
            <Ref as super::body::FromValue>::from_value(value).map_or(Json::Null, |named| reference(&named))
        }
        FieldKind::Hash => Json::String(format!("sha256:{}", hex::encode(value.as_bytes().unwrap_or_default()))),
        FieldKind::Time => time(value.as_uint().unwrap_or_default(), lens.utc_offset_minutes),
        FieldKind::Minor | FieldKind::Amount => money(value.as_uint().unwrap_or_default(), lens.currency.as_deref()),
        FieldKind::Count => json!(value.as_uint()),
        FieldKind::Date
        | FieldKind::Currency
        | FieldKind::Code
        | FieldKind::Declared
        | FieldKind::OneOf(_)
        | FieldKind::Text
        | FieldKind::Role
        | FieldKind::Agency => json!(value.as_text()),
        FieldKind::Person
        | FieldKind::Recipient
        | FieldKind::PublicKey
        | FieldKind::Possession
        | FieldKind::Bytes(_) => bytes(),
        FieldKind::Bool => json!(value.as_bool()),
        FieldKind::List(item) => {
            value.as_array().unwrap_or_default().iter().map(|value| value_view(*item, value, lens)).collect()
        }
        FieldKind::Map(inner) => fields(&[inner], value, lens),
    }
}

/// What a dry run would change: each object before and after. `state` is the one that the dry run ran on.
pub fn effects(state: &dyn Snapshot, utc_offset_minutes: i32, effects: &[Effect]) -> Result<Json, StateFault> {
    let state = Overlay::new(state);
    let mut lens = Lens::new(utc_offset_minutes);
    for effect in effects {
        lens.look_at(Some(&effect.after));
        if let (None, Some(programme)) = (&lens.currency, fund::programme_of(&effect.after)) {
            let leaf: Option<RecordLeaf> = state.get(&programme.key())?;
            lens.look_at(leaf.and_then(|leaf| leaf.object).as_ref());
        }
    }
    let view = effects.iter().map(|effect| {
        json!({
            "record": reference(&effect.reference),
            "kind": effect.after.kind().name(),
            "before": effect.before.as_ref().map(|before| object(before, &lens)),
            "after": object(&effect.after, &lens),
        })
    });
    Ok(view.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::testing::{START_MS, Stage, text};

    #[test]
    fn money_is_shown_with_its_currency_s_places() {
        assert_eq!(money(2_110_000_000, Some("CNY"))["amount"], "21100000.00");
        assert_eq!(money(5, Some("CNY"))["amount"], "0.05");
        assert_eq!(money(7, Some("PYG"))["amount"], "7");
        assert_eq!(money(u64::MAX, None)["minor"], "18446744073709551615");
        assert_eq!(signed_money(1, 151, Some("CNY"))["amount"], "-1.50");
        assert_eq!(signed_money(1, 151, Some("CNY"))["minor"], "-150");
        assert_eq!(signed_money(151, 1, Some("CNY"))["minor"], "150");
    }

    #[test]
    fn times_carry_the_offset_of_the_network() {
        assert_eq!(time(START_MS, 480), "2026-06-01T08:00:00.000+08:00");
        assert_eq!(time(0, -90), "1969-12-31T22:30:00.000-01:30");
    }

    #[test]
    fn a_waiting_record_says_whom_it_waits_for() {
        let mut stage = Stage::found();
        let officer = crate::records::testing::person("civil/plain");
        let fields = vec![
            ("officer", Value::bytes(&officer)),
            ("role", text("buyer")),
            ("valid_from", text("2026-06-01")),
            ("valid_until", text("2026-12-31")),
        ];
        let lens = Lens::new(480);
        let signed = stage.sign("civil/admin1", "role_grant", "G-1", fields.clone());
        assert_eq!(transaction(&signed, &lens)["body"]["role"], "buyer");
        stage.apply("civil/admin1", "role_grant", "G-1", fields);
        let named = crate::records::testing::reference("civil/G-1");
        let waiting = leaf(&named, &stage.leaf("civil/G-1").expect("leaf"), &lens);
        assert_eq!(waiting["effect"], "waiting");
        assert_eq!(waiting["waits_for"][0], json!({"record_type":"approve","agency_id":"civil","role":"admin"}));
        stage.approve("civil/admin2", "civil/G-1");
        let effective = leaf(&named, &stage.leaf("civil/G-1").expect("leaf"), &lens);
        assert_eq!((&effective["effect"], &effective["object"]["role"]), (&json!("effective"), &json!("buyer")));
    }
}
