//! How many decimals the amounts of a record have: as the record or the command says, as all currencies of the network
//! agree, else as the programme has it that the record refers to. The last is a node's claim; `--currency` settles it
//! without asking.

use mingzhang_ledger::records::schema::{COMMON, Field, FieldKind, RecordType};
use serde_json::{Map, Value};

use crate::output::{Failure, exponent_of};

/// What is known before a node is asked.
pub struct Known<'a> {
    /// `--currency` of the command.
    pub stated: Option<&'a str>,
    /// The exponent that all currencies of the network have.
    pub common: Option<u32>,
    /// Own agency: what bare ids belong to.
    pub agency: &'a str,
}

/// Decimals of the amounts in a body; None where no amount needs them. `ask` gives what a node says about a record.
pub fn exponent(
    kind: &RecordType,
    members: &Map<String, Value>,
    known: &Known<'_>,
    ask: impl Fn(&str) -> Result<Value, Failure>,
) -> Result<Option<u32>, Failure> {
    if let Some(code) = known.stated {
        let exponent = exponent_of(code);
        return exponent.map(Some).ok_or_else(|| Failure::usage(format!("--currency {code} is not a currency")));
    }
    let has_decimals = members.iter().any(|(name, value)| find(kind, name).is_some_and(|kind| decimals(&kind, value)));
    if !has_decimals || members.contains_key("currency") || known.common.is_some() {
        return Ok(known.common);
    }
    let mut named = Vec::new();
    for (name, value) in members {
        if let Some(kind) = find(kind, name) {
            references(&kind, value, &mut named);
        }
    }
    for name in named {
        let path = if name.contains('/') { name } else { format!("{}/{name}", known.agency) };
        if let Some(exponent) = currency_in(&ask(&path)?).and_then(exponent_of) {
            return Ok(Some(exponent));
        }
    }
    Ok(None)
}

fn find(kind: &RecordType, name: &str) -> Option<FieldKind> {
    kind.fields.iter().chain(COMMON).find(|field| field.name == name).map(|field| field.kind)
}

/// The parts of a value that a schema describes one by one.
fn parts<'a>(kind: &FieldKind, value: &'a Value) -> Vec<(FieldKind, &'a Value)> {
    match kind {
        FieldKind::List(inner) => value.as_array().into_iter().flatten().map(|item| (**inner, item)).collect(),
        FieldKind::Map(fields) => {
            let member = |field: &Field| Some((field.kind, value.get(field.name)?));
            fields.iter().filter_map(member).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a value holds an amount that is not given in minor units.
fn decimals(kind: &FieldKind, value: &Value) -> bool {
    match kind {
        FieldKind::Minor | FieldKind::Amount => !value.is_object(),
        _ => parts(kind, value).iter().any(|(kind, value)| decimals(kind, value)),
    }
}

fn references(kind: &FieldKind, value: &Value, found: &mut Vec<String>) {
    match kind {
        FieldKind::Ref(_) | FieldKind::Waiting => found.extend(value.as_str().map(str::to_owned)),
        _ => parts(kind, value).iter().for_each(|(kind, value)| references(kind, value, found)),
    }
}

/// The first currency in a node's view of a record.
fn currency_in(view: &Value) -> Option<&str> {
    match view {
        Value::Object(members) => {
            let own = members.get("currency").and_then(Value::as_str);
            own.or_else(|| members.values().find_map(currency_in))
        }
        Value::Array(items) => items.iter().find_map(currency_in),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mingzhang_ledger::records::record_type;
    use serde_json::json;

    fn asked(name: &str, body: Value, known: &Known<'_>) -> (Option<u32>, Vec<String>) {
        let paths = std::cell::RefCell::new(Vec::new());
        let ask = |path: &str| {
            paths.borrow_mut().push(path.to_owned());
            Ok(json!({ "leaf": { "object": { "available": { "amount": "7", "currency": "PYG" } } } }))
        };
        let kind = record_type(name).expect("a record type");
        let exponent = exponent(kind, body.as_object().expect("an object"), known, ask).expect("an answer");
        (exponent, paths.into_inner())
    }

    const NOTHING: Known<'_> = Known { stated: None, common: None, agency: "finance" };

    #[test]
    fn a_node_is_asked_only_for_decimals_that_nothing_else_explains() {
        let allot = || json!({ "amount": "7", "from": "A", "to": "finance/B" });
        assert_eq!(asked("allot", allot(), &NOTHING), (Some(0), vec!["finance/A".to_owned()]));
        let stated = Known { stated: Some("CNY"), ..NOTHING };
        assert_eq!(asked("allot", allot(), &stated), (Some(2), vec![]));
        let common = Known { common: Some(2), ..NOTHING };
        assert_eq!(asked("allot", allot(), &common), (Some(2), vec![]));
        let minor = json!({ "amount": { "minor": "700" }, "from": "A", "to": "B" });
        assert_eq!(asked("allot", minor, &NOTHING), (None, vec![]));
        assert_eq!(asked("approve", json!({ "waiting": "A" }), &NOTHING), (None, vec![]));
    }

    #[test]
    fn amounts_and_references_are_found_inside_lists() {
        let parts = json!([{ "to": "finance/A", "amount": "7" }]);
        let (exponent, paths) = asked("income_record", json!({ "parts": parts }), &NOTHING);
        assert_eq!((exponent, paths), (Some(0), vec!["finance/A".to_owned()]));
    }
}
