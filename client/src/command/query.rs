//! `mingzhang query`: what a node says about blocks, transactions and records. Claims of one node, shown as such; for
//! proofs use `receipt` and `audit`. Only agencies and officers, which no address of a node tells, and citations of
//! documents are proven.

mod document;
mod events;
mod registered;
mod search;

use std::time::Instant;

use clap::Subcommand;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::proof::SubjectKind;
use mingzhang_ledger::records::view;
use mingzhang_ledger::state::key::{self, parse_id};
use mingzhang_ledger::transaction::RecordId;
use serde_json::Value;

use super::Desk;
use crate::audit::fetch::PART_MISSING;
use crate::node_api::NodeApi;
use crate::output::{Answer, Failure, Language, exit, wrap};
use crate::proven::{self, Asked, Wanted};
use crate::submit::Outbox;

const NOT_FOUND: Code = Code(2005);
/// What a line of a terminal holds.
const LINE_COLUMNS: usize = 80;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// How the network is, as this node sees it
    Status,
    /// A block's header, or the newest blocks
    Block { height: Option<u64> },
    /// A transaction in words
    Tx {
        /// Transaction id (64 hex digits), or the record as agency/id
        tx: String,
    },
    /// What a record made and where it stands: agency/id
    Record { id: String },
    /// A programme, or all of them
    Programme { id: Option<String> },
    /// An account
    Account { id: String },
    /// A case
    Case { id: String },
    /// A payment, by the request or the reissue that made it
    Payment { id: String },
    /// A licence, by the record that issued it
    Licence { id: String },
    /// A list of beneficiaries: its root, count and total, never its lines
    List { id: String },
    /// A grant
    Grant { id: String },
    /// The records that cite a document, each proven
    Document {
        /// The document's salted digest (64 hex digits), or the file: it is hashed here
        #[arg(value_name = "DIGEST|FILE")]
        document: String,
        /// The file's salt: file or 64 hex digits; if not given, FILE.salt
        #[arg(long)]
        salt: Option<String>,
        /// Log index from which on: the `next_cursor` of the page before
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// What is called exactly this: an id, a hash, a height, an agency, an officer's key, a licence or party number
    Search { text: String },
    /// Final records as they come, from every node of the context in turn
    Events(events::Args),
    /// An agency, or all of them, proven
    Agency { id: Option<String> },
    /// An officer's key and the roles of who holds it, proven
    Officer {
        /// The key's id of 32 hex digits (key show), or its name in this context
        key: String,
    },
}

/// What is asked for by the id of the record that made it.
struct Made {
    name: &'static str,
    /// Where a node tells of it.
    address: &'static str,
    by: &'static [&'static str],
}

impl Made {
    const PROGRAMME: Self = Self { name: "programme", address: "programmes", by: SubjectKind::Programme.made_by() };
    const ACCOUNT: Self = Self { name: "account", address: "accounts", by: SubjectKind::Account.made_by() };
    const CASE: Self = Self { name: "case", address: "cases", by: SubjectKind::Case.made_by() };
    const PAYMENT: Self = Self::by("payment", &["payment_request", "payment_reissue"]);
    const LICENCE: Self = Self::by("licence", &["licence_issue"]);
    const LIST: Self = Self::by("list", &["list_publish"]);
    const GRANT: Self = Self::by("grant", &["award_grant"]);

    const fn by(name: &'static str, by: &'static [&'static str]) -> Self {
        Self { name, address: "records", by }
    }
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    let (name, answer) = match args.action {
        Action::Status => ("status", show(desk, "/status")),
        Action::Block { height: Some(height) } => ("block", show(desk, &format!("/blocks/{height}"))),
        Action::Block { height: None } => ("block", show(desk, "/blocks")),
        Action::Tx { tx } => {
            ("tx", transaction_id(desk, &tx).and_then(|id| show(desk, &format!("/transactions/{id}"))))
        }
        Action::Record { id } => ("record", qualified(desk, &id).and_then(|id| show(desk, &format!("/records/{id}")))),
        Action::Programme { id: None } => ("programme", show(desk, "/programmes")),
        Action::Programme { id: Some(id) } => made(desk, &id, Made::PROGRAMME),
        Action::Account { id } => made(desk, &id, Made::ACCOUNT),
        Action::Case { id } => made(desk, &id, Made::CASE),
        Action::Payment { id } => made(desk, &id, Made::PAYMENT),
        Action::Licence { id } => made(desk, &id, Made::LICENCE),
        Action::List { id } => made(desk, &id, Made::LIST),
        Action::Grant { id } => made(desk, &id, Made::GRANT),
        Action::Document { document, salt, from } => {
            ("document", document::document(desk, &document, salt.as_deref(), from))
        }
        Action::Search { text } => ("search", search::search(desk, &text)),
        Action::Events(args) => ("events", events::run(desk, &args)),
        Action::Agency { id: None } => ("agency", registered::agencies(desk)),
        Action::Agency { id: Some(id) } => ("agency", registered::agency(desk, &id)),
        Action::Officer { key } => ("officer", registered::officer(desk, &key)),
    };
    (format!("query {name}"), answer)
}

/// What a node says of a record that makes what is asked for; of another record, only that it is none.
fn made(desk: &Desk, id: &str, wanted: Made) -> (&'static str, Result<Answer, Failure>) {
    let answer = qualified(desk, id).and_then(|id| {
        let answer = show(desk, &format!("/{}/{id}", wanted.address))?;
        match answer.data.pointer("/leaf/record_type").and_then(Value::as_str) {
            Some(told) if wanted.by.contains(&told) => Ok(answer),
            Some(told) => {
                let detail = format!("{id} is of type {told}, which makes no {}", wanted.name);
                Err(Failure::coded(NOT_FOUND, detail))
            }
            None => Err(Failure::unreachable(format!("the node does not say of what type {id} is"))),
        }
    });
    (wanted.name, answer)
}

/// `agency/id`; a bare id is of the own agency. Whatever else stands there would be read as another address of the node.
pub fn qualified(desk: &Desk, id: &str) -> Result<String, Failure> {
    let name = match id.contains('/') {
        true => id.to_owned(),
        false => format!("{}/{id}", desk.network()?.agency()?),
    };
    match parts(&name) {
        // Two ids that an address would take for steps between folders.
        Some((agency, record)) if name.ends_with("/.") || name.ends_with("/..") => {
            return Ok(format!("{agency}/{}", hex::encode(record)));
        }
        Some(_) => return Ok(name),
        None => {}
    }
    let wanted = "agency/id is wanted, the id 1-16 of A-Za-z0-9._- or 32 hex digits";
    Err(Failure::usage(format!("{id}: {wanted}")))
}

fn parts(name: &str) -> Option<(&str, RecordId)> {
    let (agency, id) = name.split_once('/').filter(|(agency, _)| is_agency(agency))?;
    Some((agency, parse_id(id)?))
}

/// The transaction that is meant: its id in hexadecimal, or the record's as `agency/id`, which a node or this machine's
/// outbox knows.
pub fn transaction_id(desk: &Desk, text: &str) -> Result<String, Failure> {
    Ok(asked_for(desk, text)?.0)
}

/// The same with the record's name, if it was asked for by name: the node that gave the id may have given another's.
pub fn asked_for(desk: &Desk, text: &str) -> Result<(String, Option<(String, RecordId)>), Failure> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok((digits, None));
    }
    let name = if text.contains('/') { text.to_owned() } else { format!("{}/{text}", desk.network()?.agency()?) };
    let Some((agency, record)) = parts(&name) else {
        let wanted = "neither a transaction id (64 hex digits) nor agency/id";
        return Err(Failure::usage(format!("{text}: {wanted}")));
    };
    let api = desk.api()?;
    let failure = match recorded(&api, &format!("/records/{}", qualified(desk, &name)?)) {
        Ok(found) => {
            let id = found.get("tx_id").and_then(Value::as_str).unwrap_or("");
            return Ok((id.trim_start_matches("sha256:").to_owned(), Some((agency.to_owned(), record))));
        }
        Err(failure) => failure,
    };
    let waiting = Outbox::open(desk.network()?).and_then(|outbox| outbox.list());
    let mut waiting = waiting.unwrap_or_default().into_iter();
    let mine = waiting.find(|mine| mine.payload().agency == agency && mine.payload().record_id == record);
    match (mine, failure.exit) {
        (Some(mine), exit::NOT_FOUND) => Ok((hex::encode(mine.id()), Some((agency.to_owned(), record)))),
        (None, exit::NOT_FOUND) => {
            // That nodes know none is their word; the sealed state says.
            let (place, key) = ((desk.network()?, &api), key::record(agency, &record));
            let id = match proven::ask(place, &key, Wanted::Present, Instant::now(), desk.language)? {
                Asked::Shown(proof) => proof.leaf.map(|leaf| hex::encode(leaf.transaction_id)),
                Asked::NotYet(Some(_), _) => None,
                Asked::NotYet(None, why) => {
                    let detail = format!("{}; {}", failure.detail, why.detail);
                    return Err(Failure::coded(PART_MISSING, detail));
                }
                Asked::Withheld(failure) => return Err(failure.with_exit(exit::INCONCLUSIVE)),
            };
            id.map(|id| (id, Some((agency.to_owned(), record)))).ok_or(failure)
        }
        _ => Err(failure),
    }
}

/// What the first node that knows a record says of it: one that knows none is no reason not to ask the next.
fn recorded(api: &NodeApi, path: &str) -> Result<Value, Failure> {
    let unknown = match api.get_json(path) {
        Err(failure) if failure.exit == exit::NOT_FOUND => failure,
        told => return told,
    };
    let asked = api.answered();
    let mut others = api.nodes().iter().filter(|node| *node != asked);
    others.find_map(|node| api.only(node).get_json(path).ok()).ok_or(unknown)
}

fn is_agency(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte != b'.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn show(desk: &Desk, path: &str) -> Result<Answer, Failure> {
    let api = desk.api()?;
    let data = api.get_json(path)?;
    let text =
        outline(&for_people(&data, desk.network()?.genesis.founding.network.utc_offset_minutes, desk.language), 0);
    Ok(as_claim(desk, &api, Answer::done(data, text)))
}

/// Marks an answer as the word of one node.
pub fn as_claim(desk: &Desk, api: &NodeApi, mut answer: Answer) -> Answer {
    if let Some(members) = answer.data.as_object_mut() {
        members.insert("proven".into(), Value::Bool(false));
    }
    let node = api.answered();
    answer.warnings.push(match desk.language {
        Language::Chinese => format!("以上为节点 {node} 所述,未经核验;请用 receipt 或 audit 核验"),
        Language::English => format!("said by {node}, not proven; `receipt` and `audit` prove"),
    });
    answer
}

/// For people: times that a node gives in UTC stand in the network's own time, as everywhere, and its sentences in the
/// reader's language.
pub fn for_people(value: &Value, utc_offset_minutes: i32, language: Language) -> Value {
    let same = |value: &Value| for_people(value, utc_offset_minutes, language);
    let sentence = |value: &Value| value.as_str().map_or_else(|| same(value), |text| language.detail(text).into());
    let member = |name: &str, value: &Value| match (name, value) {
        ("detail", _) => sentence(value),
        ("alarms", Value::Array(alarms)) => alarms.iter().map(sentence).collect(),
        _ => same(value),
    };
    let time = |text: &str| {
        let instant: jiff::Timestamp = text.strip_suffix('Z').and(text.parse().ok())?;
        Some(view::time(u64::try_from(instant.as_millisecond()).ok()?, utc_offset_minutes))
    };
    match value {
        Value::String(text) => time(text).unwrap_or_else(|| value.clone()),
        Value::Array(items) => items.iter().map(same).collect(),
        Value::Object(members) if only_minor(members).is_some() => with_units(value, language),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), member(name, value))).collect(),
        other => other.clone(),
    }
}

/// For people: an amount whose currency is not known has its unit named beside it.
pub fn with_units(value: &Value, language: Language) -> Value {
    let same = |value: &Value| with_units(value, language);
    match value {
        Value::Array(items) => items.iter().map(same).collect(),
        Value::Object(members) => match only_minor(members) {
            Some(minor) => format!("{minor} {}", language.pick("最小单位", "minor units")).into(),
            None => members.iter().map(|(name, value)| (name.clone(), same(value))).collect(),
        },
        other => other.clone(),
    }
}

/// The minor units of an amount of which nothing else is known.
fn only_minor(members: &serde_json::Map<String, Value>) -> Option<&str> {
    let minor = members.get("minor")?.as_str()?;
    (members.get("amount")?.is_null() && members.get("currency")?.is_null()).then_some(minor)
}

/// Whether some amount is shown in minor units only.
pub fn lacks_currency(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(lacks_currency),
        Value::Object(members) => only_minor(members).is_some() || members.values().any(lacks_currency),
        _ => false,
    }
}

/// JSON as indented lines: names to the left, values to the right, nothing empty.
pub fn outline(value: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(members) if members.contains_key("minor") => {
            let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or("");
            // Of a currency that is not known here only the minor units are.
            match text("amount") {
                "" => format!("minor {} {}", text("minor"), text("currency")).trim_end().to_owned(),
                amount => format!("{amount} {}", text("currency")),
            }
        }
        Value::Object(members) => {
            let lines = members.iter().filter(|(_, value)| !is_empty(value)).map(|(name, value)| match value {
                Value::Object(inner) if !inner.contains_key("minor") => {
                    format!("{pad}{name}\n{}", outline(value, depth + 1))
                }
                Value::Array(items) if items.iter().any(Value::is_object) => {
                    format!("{pad}{name}\n{}", outline(value, depth + 1))
                }
                _ => {
                    let text = outline(value, 0);
                    let beside = format!("{pad}{name:<16} ");
                    match beside.len() + text.chars().count() <= LINE_COLUMNS {
                        true => format!("{beside}{text}"),
                        false => format!("{pad}{name}\n{}", wrap(&text, pad.len() + 2)),
                    }
                }
            });
            lines.collect::<Vec<_>>().join("\n")
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().map(|item| format!("{pad}-\n{}", outline(item, depth + 1))).collect::<Vec<_>>().join("\n")
        }
        Value::Array(items) => items.iter().map(|item| outline(item, 0)).collect::<Vec<_>>().join(" "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_amount_is_always_shown() {
        let shown = |amount: Value| outline(&json!({ "amount": amount }), 0);
        let known = json!({ "amount": "12.00", "minor": "1200", "currency": "CNY" });
        assert!(shown(known.clone()).ends_with(" 12.00 CNY"));
        let unknown = json!({ "amount": null, "minor": "120000000", "currency": null });
        for (language, units) in
            [(Language::English, " 120000000 minor units"), (Language::Chinese, " 120000000 最小单位")]
        {
            assert!(shown(with_units(&unknown, language)).ends_with(units));
            assert!(shown(for_people(&unknown, 480, language)).ends_with(units));
        }
        assert!(lacks_currency(&json!([{ "amount": unknown }])) && !lacks_currency(&json!([{ "amount": known }])));
    }

    #[test]
    fn times_are_the_networks_for_people() {
        let told = json!({ "tip": { "time": "2026-06-01T00:00:00.5Z", "from": "2026-06-01T08:00:00.000+08:00" }, "name": "Z" });
        let text = outline(&for_people(&told, 480, Language::English), 0);
        assert!(text.contains("time             2026-06-01T08:00:00.500+08:00"), "{text}");
        assert!(
            text.contains("from             2026-06-01T08:00:00.000+08:00") && text.contains("name             Z"),
            "{text}"
        );
    }
}
