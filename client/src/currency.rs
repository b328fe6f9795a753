//! How many decimals the amounts of a record have: as the record or the command says, as all currencies of the network
//! agree, else as the programme has it that the record refers to. The last is what the seals prove, never a node's word:
//! who could name another currency could have another amount signed. `--currency` settles it without asking.

use mingzhang_ledger::records::object::{Object, RecordLeaf, Subject};
use mingzhang_ledger::records::schema::{COMMON, Field, FieldKind, RecordType};
use mingzhang_ledger::state::key::{self, Key, parse_id};
use serde_json::{Map, Value};

use crate::context::Network;
use crate::node_api::NodeApi;
use crate::output::{Failure, Language, exponent_of};
use crate::proven::present;

/// What is known before a node is asked.
pub struct Known<'a> {
    /// `--currency` of the command.
    pub stated: Option<&'a str>,
    /// The currencies of the network.
    pub currencies: &'a [String],
    /// The exponent that all currencies of the network have.
    pub common: Option<u32>,
    /// Own agency: what bare ids belong to.
    pub agency: &'a str,
}

/// How the amounts of a body are read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decimals {
    /// None where no amount needs them.
    pub exponent: Option<u32>,
    /// The currency that they are of, where it is not in the body itself.
    pub currency: Option<String>,
}

/// Decimals of the amounts in a body. `prove` gives the proven currency of the programme that a record belongs to.
pub fn decimals_of(
    kind: &RecordType,
    members: &Map<String, Value>,
    known: &Known<'_>,
    prove: impl Fn(&str) -> Result<Option<String>, Failure>,
) -> Result<Decimals, Failure> {
    if let Some(code) = known.stated {
        return of_network(code, known).ok_or_else(|| {
            Failure::usage(format!("--currency {code}: the network has {}", known.currencies.join(", ")))
        });
    }
    let common = Decimals { exponent: known.common, currency: None };
    let has_decimals = members.iter().any(|(name, value)| find(kind, name).is_some_and(|kind| decimals(&kind, value)));
    if !has_decimals || members.contains_key("currency") || known.common.is_some() {
        return Ok(common);
    }
    let mut named = Vec::new();
    for (name, value) in members {
        if let Some(kind) = find(kind, name) {
            references(&kind, value, &mut named);
        }
    }
    for name in named {
        let path = if name.contains('/') { name } else { format!("{}/{name}", known.agency) };
        if let Some(decimals) = prove(&path)?.and_then(|code| of_network(&code, known)) {
            return Ok(decimals);
        }
    }
    Ok(common)
}

/// A currency of the network with its decimals.
fn of_network(code: &str, known: &Known<'_>) -> Option<Decimals> {
    let is_known = known.currencies.iter().any(|currency| currency == code);
    let exponent = exponent_of(code).filter(|_| is_known)?;
    Some(Decimals { exponent: Some(exponent), currency: Some(code.to_owned()) })
}

/// The currency of the programme that a record is or belongs to, from leaves under a sealed header.
pub fn proven(place: (&Network, &NodeApi), name: &str, language: Language) -> Result<Option<String>, Failure> {
    let wrong = || Failure::usage(format!("{name}: agency/id is wanted"));
    let (agency, id) = name.split_once('/').ok_or_else(wrong)?;
    let leaf = leaf(place, (&key::record(agency, &parse_id(id).ok_or_else(wrong)?), name), language)?;
    if let Some(currency) = of_programme(&leaf) {
        return Ok(Some(currency));
    }
    for subject in leaf.subjects.iter() {
        let Subject::Record(named) = subject else { continue };
        if named.key() != key::record(agency, &parse_id(id).ok_or_else(wrong)?)
            && let Some(currency) = of_programme(&self::leaf(place, (&named.key(), &named.to_string()), language)?)
        {
            return Ok(Some(currency));
        }
    }
    Ok(None)
}

fn of_programme(leaf: &RecordLeaf) -> Option<String> {
    match &leaf.object {
        Some(Object::Programme(programme)) => Some(programme.currency.to_string()),
        _ => None,
    }
}

fn leaf(place: (&Network, &NodeApi), (key, name): (&Key, &str), language: Language) -> Result<RecordLeaf, Failure> {
    let wanted = "its currency is not proven, give --currency";
    let unproven = |failure: Failure| Failure { detail: format!("{}; {wanted}", failure.detail), ..failure };
    let proof = present(place, (key, name), language).map_err(unproven)?;
    proof.leaf.ok_or_else(|| Failure::bug("a present record without its leaf"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use mingzhang_ledger::records::record_type;
    use serde_json::json;

    fn asked(name: &str, body: Value, known: &Known<'_>) -> (Option<u32>, Vec<String>) {
        let paths = std::cell::RefCell::new(Vec::new());
        let prove = |path: &str| {
            paths.borrow_mut().push(path.to_owned());
            Ok(Some("PYG".to_owned()))
        };
        let kind = record_type(name).expect("a record type");
        let decimals = decimals_of(kind, body.as_object().expect("an object"), known, prove).expect("an answer");
        (decimals.exponent, paths.into_inner())
    }

    fn known(currencies: &[String]) -> Known<'_> {
        Known { stated: None, currencies, common: None, agency: "finance" }
    }

    fn codes(codes: &[&str]) -> Vec<String> {
        codes.iter().map(|code| (*code).to_owned()).collect()
    }

    #[test]
    fn the_programme_is_looked_at_only_for_decimals_that_nothing_else_explains() {
        let currencies = codes(&["CNY", "PYG"]);
        let nothing = || known(&currencies);
        let allot = || json!({ "amount": "7", "from": "A", "to": "finance/B" });
        assert_eq!(asked("allot", allot(), &nothing()), (Some(0), vec!["finance/A".to_owned()]));
        let stated = Known { stated: Some("CNY"), ..nothing() };
        assert_eq!(asked("allot", allot(), &stated), (Some(2), vec![]));
        let common = Known { common: Some(2), ..nothing() };
        assert_eq!(asked("allot", allot(), &common), (Some(2), vec![]));
        let minor = json!({ "amount": { "minor": "700" }, "from": "A", "to": "B" });
        assert_eq!(asked("allot", minor, &nothing()), (None, vec![]));
        assert_eq!(asked("approve", json!({ "waiting": "A" }), &nothing()), (None, vec![]));
    }

    #[test]
    fn a_currency_that_the_network_has_not_gives_no_decimals() {
        let currencies = codes(&["CNY", "JPY"]);
        let allot = json!({ "amount": "7", "from": "A", "to": "finance/B" });
        assert_eq!(asked("allot", allot.clone(), &known(&currencies)).0, None, "PYG");
        let stated = Known { stated: Some("PYG"), ..known(&currencies) };
        let kind = record_type("allot").expect("a record type");
        let body = allot.as_object().expect("an object");
        let refused = decimals_of(kind, body, &stated, |_| Ok(None)).expect_err("no currency of the network");
        assert!(refused.detail.contains("CNY, JPY"), "{}", refused.detail);
    }

    #[test]
    fn amounts_and_references_are_found_inside_lists() {
        let currencies = codes(&["CNY", "PYG"]);
        let parts = json!([{ "to": "finance/A", "amount": "7" }]);
        let (exponent, paths) = asked("income_record", json!({ "parts": parts }), &known(&currencies));
        assert_eq!((exponent, paths), (Some(0), vec!["finance/A".to_owned()]));
    }
}
