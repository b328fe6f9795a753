//! Bodies of records from flags and JSON: text to canonical values, by the record schema alone. What the rules say of
//! them is the ledger's matter.

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::schema::{Field, FieldKind, RecordType};
use mingzhang_ledger::state::key::parse_id;

use crate::output::{Failure, parse_decimal};

/// What reading a body needs to know besides the schema.
pub struct Reading<'a> {
    /// Own agency: what bare ids belong to.
    pub agency: &'a str,
    /// Decimals of amounts where the body names no currency; None where the network's currencies differ.
    pub exponent: Option<u32>,
}

/// A body from JSON members; unknown and missing fields are refused here already, with their names.
pub fn from_json(
    kind: &RecordType,
    members: &serde_json::Map<String, serde_json::Value>,
    reading: &Reading<'_>,
) -> Result<Value, Failure> {
    let currency = members.get("currency").and_then(serde_json::Value::as_str);
    let exponent = currency.and_then(crate::output::exponent_of).or(reading.exponent);
    let reading = Reading { agency: reading.agency, exponent };
    for name in members.keys() {
        if kind.field(name).is_none() {
            return Err(field_fault(name, "is not a field of this record"));
        }
    }
    for field in kind.fields.iter().filter(|field| field.required) {
        if !members.contains_key(field.name) {
            return Err(field_fault(field.name, "is missing"));
        }
    }
    let pairs = members
        .iter()
        .filter_map(|(name, value)| Some((kind.field(name)?, value)))
        .map(|(field, value)| Ok((field.name, read(field.name, &field.kind, value, &reading)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(Value::text_map(pairs))
}

/// The bytes of an action's body, for a proposal.
pub fn action_from_json(fields: &[Field], json: &serde_json::Value, reading: &Reading<'_>) -> Result<Value, Failure> {
    read_map("action_body", fields, json, reading)
}

/// A flag's text as JSON: numbers, booleans and lists as such, everything else as a string.
pub fn flag_to_json(kind: &FieldKind, texts: &[String]) -> Result<serde_json::Value, Failure> {
    let one = |kind: &FieldKind, text: &String| match kind {
        FieldKind::Map(_) => {
            serde_json::from_str(text).map_err(|error| Failure::usage(format!("{text}: not JSON: {error}")))
        }
        // What is neither is no answer: a vote that was misspelt would else count against.
        FieldKind::Bool => match text.as_str() {
            "true" | "yes" | "是" => Ok(serde_json::Value::Bool(true)),
            "false" | "no" | "否" => Ok(serde_json::Value::Bool(false)),
            _ => Err(Failure::coded(Code(1004), format!("\"{text}\" is not true or false"))),
        },
        _ => Ok(serde_json::Value::String(text.clone())),
    };
    match (kind, texts) {
        (FieldKind::List(inner), texts) => {
            texts.iter().map(|text| one(inner, text)).collect::<Result<_, _>>().map(serde_json::Value::Array)
        }
        (kind, [text]) => one(kind, text),
        _ => Err(Failure::usage("given more than once")),
    }
}

fn field_fault(name: &str, detail: &str) -> Failure {
    Failure::coded(Code(1004), format!("\"{name}\" {detail}"))
}

fn read(name: &str, kind: &FieldKind, json: &serde_json::Value, reading: &Reading<'_>) -> Result<Value, Failure> {
    let fault = |wanted: &str| field_fault(name, &format!("{json} is not {wanted}"));
    let text = || json.as_str();
    let number = || json.as_u64().or_else(|| json.as_str()?.parse().ok());
    match kind {
        FieldKind::Id => {
            let id = text().and_then(parse_id).ok_or_else(|| fault("an id (1-16 of A-Za-z0-9._- or 32 hex digits)"))?;
            Ok(Value::bytes(&id))
        }
        FieldKind::Ref(_) | FieldKind::Waiting => {
            reference(text().unwrap_or(""), reading.agency).ok_or_else(|| fault("a reference agency/id"))
        }
        FieldKind::Hash => hash(text().unwrap_or("")).ok_or_else(|| fault("a hash (sha256:<64 hex digits>)")),
        FieldKind::Person | FieldKind::Recipient => {
            let person = text().and_then(|text| hex::decode(text).ok()).filter(|bytes| bytes.len() == 16);
            person.map(Value::Bytes).ok_or_else(|| fault("a pseudonym (32 hex digits)"))
        }
        FieldKind::Bytes(_) | FieldKind::PublicKey | FieldKind::Possession => {
            let bytes = text().and_then(|text| hex::decode(text).ok());
            bytes.map(Value::Bytes).ok_or_else(|| fault("bytes in hexadecimal"))
        }
        FieldKind::Minor | FieldKind::Amount => amount(json, reading).ok_or_else(|| match reading.exponent {
            Some(exponent) => fault(&format!("an amount (digits, at most {exponent} decimals)")),
            None => fault("an amount whose currency is known: give --currency"),
        }),
        FieldKind::Count => number().map(Value::Uint).ok_or_else(|| fault("a number")),
        FieldKind::Time => time(json).map(Value::Uint).ok_or_else(|| fault("a time (RFC 3339 or ms since 1970)")),
        FieldKind::Bool => json.as_bool().map(Value::Bool).ok_or_else(|| fault("true or false")),
        FieldKind::Date
        | FieldKind::Currency
        | FieldKind::Code
        | FieldKind::Declared
        | FieldKind::OneOf(_)
        | FieldKind::Text
        | FieldKind::Role
        | FieldKind::Agency => text().map(Value::text).ok_or_else(|| fault("text")),
        FieldKind::List(inner) => {
            let items = json.as_array().ok_or_else(|| fault("a list"))?;
            items.iter().map(|item| read(name, inner, item, reading)).collect::<Result<_, _>>().map(Value::Array)
        }
        FieldKind::Map(fields) => read_map(name, fields, json, reading),
    }
}

fn read_map(name: &str, fields: &[Field], json: &serde_json::Value, reading: &Reading<'_>) -> Result<Value, Failure> {
    let members = json.as_object().ok_or_else(|| field_fault(name, "is not an object"))?;
    let pairs = members
        .iter()
        .map(|(member, value)| {
            let field = fields
                .iter()
                .find(|field| field.name == member)
                .ok_or_else(|| field_fault(&format!("{name}.{member}"), "is not a field of this record"))?;
            Ok((field.name, read(&format!("{name}.{member}"), &field.kind, value, reading)?))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(Value::text_map(pairs))
}

/// Decimal text, or the money object of JSON answers.
fn amount(json: &serde_json::Value, reading: &Reading<'_>) -> Option<Value> {
    if let Some(minor) = json.get("minor") {
        return minor.as_str()?.parse().ok().map(Value::Uint);
    }
    let text = match json {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => return None,
    };
    parse_decimal(&text, reading.exponent?).map(Value::Uint)
}

/// `agency/id`, or a bare id of the own agency.
pub fn reference(text: &str, agency: &str) -> Option<Value> {
    let (agency, id) = text.split_once('/').unwrap_or((agency, text));
    Some(Value::Array(vec![Value::text(agency), Value::bytes(&parse_id(id)?)]))
}

fn hash(text: &str) -> Option<Value> {
    let bytes = hex::decode(text.strip_prefix("sha256:").unwrap_or(text)).ok()?;
    (bytes.len() == 32).then_some(Value::Bytes(bytes))
}

fn time(json: &serde_json::Value) -> Option<u64> {
    if let Some(number) = json.as_u64() {
        return Some(number);
    }
    let text = json.as_str()?;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let instant: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(instant.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::phrases::chinese;
    use mingzhang_ledger::records::record_type;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_yes_and_no_are_answers() {
        let told = |text: &str| flag_to_json(&FieldKind::Bool, &[text.to_owned()]);
        for (text, expected) in
            [("true", true), ("yes", true), ("是", true), ("false", false), ("no", false), ("否", false)]
        {
            assert_eq!(told(text).expect("an answer"), serde_json::Value::Bool(expected), "{text}");
        }
        for text in ["YES", "y", "1", "", "ture"] {
            assert_eq!(told(text).expect_err("no answer").code, Some(Code(1004)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_field_is_said_in_chinese() {
        let kind = record_type("document_anchor").expect("a record type");
        let told = |body: serde_json::Value, exponent| {
            let reading = Reading { agency: "civil", exponent };
            let fault = from_json(kind, body.as_object().expect("members"), &reading).expect_err("a fault");
            chinese(&fault.detail)
        };
        let root = "5".repeat(64);
        for (body, expected) in [
            (json!({ "kind": "minutes" }), "缺少字段 root"),
            (json!({ "root": root, "kin": "minutes" }), "本记录没有字段 kin"),
            (json!({ "root": "abc", "kind": "minutes" }), "字段 root:\"abc\" 不是哈希(sha256: 加 64 位十六进制)"),
            (json!({ "root": root, "kind": 7 }), "字段 kind:7 不是文字"),
        ] {
            assert_eq!(told(body, None), expected);
        }
        let read = |kind: &FieldKind, exponent| {
            let fault =
                read("text", kind, &json!("text"), &Reading { agency: "civil", exponent }).expect_err("a fault");
            chinese(&fault.detail)
        };
        for (kind, expected) in [
            (FieldKind::Person, "代称(32 位十六进制)"),
            (FieldKind::PublicKey, "十六进制字节"),
            (FieldKind::Amount, "金额(数字,最多 2 位小数)"),
            (FieldKind::Count, "数字"),
            (FieldKind::Time, "时间(RFC 3339 或 1970 年以来的毫秒数)"),
            (FieldKind::Bool, " true 或 false"),
            (FieldKind::List(&FieldKind::Text), "列表"),
        ] {
            assert_eq!(read(&kind, Some(2)), format!("字段 text:\"text\" 不是{expected}"));
        }
        assert_eq!(read(&FieldKind::Amount, None), "字段 text:\"text\" 不是币种已知的金额:请加 --currency");
        assert_eq!(read(&FieldKind::Map(&[]), None), "字段 text 不是对象");
    }
}
