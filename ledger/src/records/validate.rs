//! Bodies against the schema, as the door does: 1004, 1011, 1012, and 1010 by way of `scan`. Needs no state.

use super::body::find;
use super::calendar::Day;
use super::fund::period;
use super::role::Role;
use super::scan;
use super::schema::{COMMON, Field, FieldKind, MAX_CODE_BYTES, MAX_LIST_ITEMS, MAX_TEXT_BYTES, RecordType, spelled};
use super::working_day::MAX_CLOCK_DAYS;
use crate::codec::Value;
use crate::crypto::PublicKey;
use crate::outcome::Refusal;

/// Longest agency id in bytes.
pub const MAX_AGENCY_BYTES: usize = 32;

/// An agency id: 1 to 32 characters `[a-z0-9_-]`, so that it can stand in keys and, with a dot, before a record id.
pub fn agency_id(id: &str) -> Result<(), Refusal> {
    let plain =
        id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'));
    if id.is_empty() || id.len() > MAX_AGENCY_BYTES || !plain {
        return Err(wrong("agency", "1 to 32 characters of a-z, 0-9, - and _"));
    }
    Ok(())
}

/// A whole body: every field known, of its kind and in range, none missing.
pub fn body(kind: &RecordType, body: &Value) -> Result<(), Refusal> {
    map(body, &[kind.fields, COMMON])?;
    let historical = body.get("import").is_some();
    for name in ["defaults", "conflicts", "stated_date"] {
        if body.get(name).is_some() && !historical {
            return Err(wrong(name, "only records of an import have it"));
        }
    }
    in_range(kind, body)
}

/// Ranges that the kind of a field does not say.
fn in_range(kind: &RecordType, body: &Value) -> Result<(), Refusal> {
    match kind.name {
        "role_grant" if find::<Day>(body, "valid_until") < find::<Day>(body, "valid_from") => {
            Err(wrong("valid_until", "not before valid_from"))
        }
        // Recipients are kept under their programme's scope, in keys whose parts a slash divides.
        "programme_open" if find::<String>(body, "scope").is_some_and(|scope| scope.contains('/')) => {
            Err(wrong("scope", "without a slash"))
        }
        // An end of its own takes a licence away, which is two heads' to do.
        "licence_change"
            if body.get("import").is_none()
                && find::<Day>(body, "valid_until").is_some()
                && find::<String>(body, "status").as_deref() != Some("valid") =>
        {
            Err(wrong("valid_until", "only with status valid"))
        }
        // One spelling each, so that no period is paid twice. What a source calls its own is history.
        "list_publish"
            if body.get("import").is_none()
                && find::<String>(body, "period").is_some_and(|period| period::days(&period).is_none()) =>
        {
            Err(wrong("period", period::FORMS))
        }
        "matter_define" if find::<u64>(body, "clock_days").is_some_and(|days| days > MAX_CLOCK_DAYS) => {
            Err(wrong("clock_days", &format!("at most {MAX_CLOCK_DAYS} working days")))
        }
        _ => Ok(()),
    }
}

/// A map of exactly these fields, without the common ones.
pub fn fields(fields: &'static [Field], value: &Value) -> Result<(), Refusal> {
    map(value, &[fields])
}

fn map(value: &Value, tables: &[&'static [Field]]) -> Result<(), Refusal> {
    let Value::Map(pairs) = value else { return Err(wrong("body", "a map")) };
    let known = |name: &str| tables.iter().copied().flatten().find(|field| field.name == name);
    for (key, value) in pairs {
        let name = key.as_text().unwrap_or_default();
        let field = known(name).ok_or_else(|| wrong(name, "no such field"))?;
        check(field, field.kind, value)?;
    }
    for field in tables.iter().copied().flatten().filter(|field| field.required) {
        if value.get(field.name).is_none() {
            return Err(wrong(field.name, "it is required"));
        }
    }
    Ok(())
}

fn wrong(field: &str, wanted: &str) -> Refusal {
    Refusal::new(1004, format!("{field}: {wanted}"))
}

fn none_of(field: &str, value: &str, wanted: &[&str]) -> Refusal {
    Refusal::new(1004, format!("{field}: \"{}\" is none of {}", shown(value), wanted.join(", ")))
}

fn check(field: &Field, kind: FieldKind, value: &Value) -> Result<(), Refusal> {
    let name = field.name;
    let must = |holds: bool, wanted: &str| if holds { Ok(()) } else { Err(wrong(name, wanted)) };
    let text = || value.as_text().ok_or_else(|| wrong(name, "text"));
    match kind {
        FieldKind::Id | FieldKind::Person | FieldKind::Recipient => must(is_bytes(value, 16), "16 bytes"),
        FieldKind::Hash => must(is_bytes(value, 32), "32 bytes"),
        FieldKind::Possession => must(is_bytes(value, 64), "64 bytes"),
        FieldKind::PublicKey => public_key(name, value),
        FieldKind::Bytes(limit) => {
            must(value.as_bytes().is_some_and(|bytes| bytes.len() <= limit), &format!("at most {limit} bytes"))
        }
        FieldKind::Ref(_) | FieldKind::Waiting => reference(name, value),
        FieldKind::Date => match Day::parse(text()?) {
            Some(_) => Ok(()),
            None => Err(Refusal::new(1012, format!("{name}: {} is no calendar date YYYY-MM-DD", shown(text()?)))),
        },
        FieldKind::Time | FieldKind::Minor | FieldKind::Count => must(value.as_uint().is_some(), "an unsigned number"),
        FieldKind::Amount => match value.as_uint() {
            None => Err(wrong(name, "an unsigned number of minor units")),
            Some(0) => Err(Refusal::new(1011, format!("{name}: an amount that moves cannot be zero"))),
            Some(_) => Ok(()),
        },
        FieldKind::Currency => match iso_currency::Currency::from_code(text()?) {
            Some(_) => Ok(()),
            None => Err(Refusal::new(1011, format!("{name}: {} is no ISO 4217 currency", shown(text()?)))),
        },
        FieldKind::Code => code(name, text()?).and_then(|()| scan::check(name, text()?)),
        FieldKind::Declared => code(name, text()?),
        FieldKind::OneOf(codes) if codes.contains(&text()?) => Ok(()),
        FieldKind::OneOf(codes) => Err(none_of(name, text()?, &spelled(codes))),
        FieldKind::Role if Role::from_code(text()?).is_some() => Ok(()),
        FieldKind::Role => Err(none_of(name, text()?, &Role::ALL.map(Role::code))),
        FieldKind::Text => {
            let limit = format!("1 to {MAX_TEXT_BYTES} bytes without control characters");
            let plain = !text()?.is_empty() && text()?.len() <= MAX_TEXT_BYTES && !text()?.contains(char::is_control);
            must(plain, &limit)?;
            scan::check(name, text()?)
        }
        FieldKind::Agency => agency_id(text()?).map_err(|_| wrong(name, "an agency id")),
        FieldKind::Bool => must(value.as_bool().is_some(), "true or false"),
        FieldKind::List(item) => {
            let items = value.as_array().ok_or_else(|| wrong(name, "a list"))?;
            must(items.len() <= MAX_LIST_ITEMS, &format!("at most {MAX_LIST_ITEMS} items"))?;
            items.iter().try_for_each(|value| check(field, *item, value))
        }
        FieldKind::Map(fields) => map(value, &[fields]),
    }
}

fn is_bytes(value: &Value, length: usize) -> bool {
    value.as_bytes().is_some_and(|bytes| bytes.len() == length)
}

fn reference(name: &str, value: &Value) -> Result<(), Refusal> {
    match value.as_array() {
        Some([agency, id]) if is_bytes(id, 16) => {
            agency_id(agency.as_text().unwrap_or_default()).map_err(|_| wrong(name, "[agency, id]"))
        }
        _ => Err(wrong(name, "[agency, id of 16 bytes]")),
    }
}

fn public_key(name: &str, value: &Value) -> Result<(), Refusal> {
    let bytes = value.as_bytes().and_then(|bytes| bytes.try_into().ok());
    let key = bytes.map(PublicKey).ok_or_else(|| wrong(name, "a public key of 32 bytes"))?;
    key.check_registrable().map_err(|fault| wrong(name, &fault.to_string()))
}

fn code(name: &str, code: &str) -> Result<(), Refusal> {
    if is_code(code) {
        return Ok(());
    }
    Err(wrong(name, "1 to 64 characters of printable ASCII, single spaces only between them"))
}

/// Whether a name shows all that it holds: no control characters, nothing that takes no place, and nothing that turns
/// the order in which it is read. Two names could look the same otherwise.
pub fn is_visible(name: &str) -> bool {
    let hidden = |char: char| {
        char.is_control()
            || matches!(char,
                '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}')
    };
    !name.contains(hidden)
}

/// Whether a text has the form of a code: no two of them look the same and differ by their spaces.
pub fn is_code(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let tight = text.split(' ').all(|word| !word.is_empty());
    text.len() <= MAX_CODE_BYTES && plain && tight
}

/// At most 40 characters of a value, for a message on somebody's terminal.
fn shown(text: &str) -> String {
    text.chars().take(40).map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::fund::tests::programme_fields;
    use crate::records::record_type;
    use crate::records::testing::{Stage, person, text};

    #[test]
    fn mz_1004_refuses_what_could_never_be_used() {
        let mut stage = Stage::found();
        let mut refused = |officer: &str, kind: &str, fields: Vec<(&'static str, Value)>| {
            let refusal = stage.offer(officer, kind, "X", fields).expect_err(kind);
            assert_eq!(refusal.code.0, 1004);
            refusal.detail
        };
        let role = |until: &str| {
            let officer = ("officer", Value::bytes(&person("civil/plain")));
            vec![officer, ("role", text("buyer")), ("valid_from", text("2026-06-02")), ("valid_until", text(until))]
        };
        let detail = refused("civil/admin1", "role_grant", role("2026-06-01"));
        assert_eq!(detail, "valid_until: not before valid_from");
        let mut slashed = programme_fields("CNY");
        slashed.retain(|(name, _)| *name != "scope");
        slashed.push(("scope", text("a/b")));
        assert_eq!(refused("civil/1", "programme_open", slashed), "scope: without a slash");
        let matter = |days: u64| {
            vec![("legal_basis", text("law")), ("clock_days", Value::Uint(days)), ("decider_role", text("decider"))]
        };
        let detail = refused("civil/head", "matter_define", matter(3_661));
        assert_eq!(detail, "clock_days: at most 3660 working days");
        stage.apply("civil/admin1", "role_grant", "G", role("2026-06-02"));
        stage.apply("civil/head", "matter_define", "M", matter(3_660));
    }

    #[test]
    fn a_name_that_hides_something_is_seen() {
        for name in ["财政局", "Finanzamt Köln", "وزارة المالية", "འབྲུག", "㐂村"] {
            assert!(is_visible(name), "{name}");
        }
        for hidden in
            ['\u{200b}', '\u{200d}', '\u{200e}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{ad}', '\u{3164}', '\n']
        {
            assert!(!is_visible(&format!("财政{hidden}局")), "{}", hidden.escape_unicode());
        }
    }

    #[test]
    fn mz_1004_names_the_value_and_each_code_that_would_do_once() {
        let told = |kind: &str, field: &str, value: &str| {
            let kind = record_type(kind).expect("a record type");
            let refusal = body(kind, &Value::text_map([(field, Value::text(value))])).expect_err("refused");
            assert_eq!(refusal.code.0, 1004);
            refusal.detail
        };
        let detail = told("matter_define", "decider_role", "boss");
        assert!(detail.starts_with("decider_role: \"boss\" is none of "), "{detail}");
        assert!(detail.contains("decider, ") && detail.contains("finance, "), "{detail}");
        assert!(
            told("matter_define", "decider_role", "\u{1b}[2J").contains("\"\u{fffd}[2J\""),
            "nothing for a terminal"
        );
        let detail = told("account_open", "account_kind", "POT");
        assert!(detail.starts_with("account_kind: \"POT\" is none of SOURCE, "), "{detail}");
        assert!(detail.ends_with("LAPSED"), "{detail}");
    }
}
