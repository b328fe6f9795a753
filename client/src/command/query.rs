//! `mingzhang query`: what a node says about blocks, transactions and records. Claims of one node, shown as such; for
//! proofs use `receipt` and `audit`.

use clap::Subcommand;
use serde_json::Value;

use super::Desk;
use crate::output::{Answer, Failure};

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
    Tx { tx: String },
    /// What a record made and where it stands: agency/id
    Record { id: String },
    /// A programme, or all of them
    Programme { id: Option<String> },
    /// An account
    Account { id: String },
    /// A case
    Case { id: String },
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    let (name, path) = match args.action {
        Action::Status => ("query status", Ok("/status".to_owned())),
        Action::Block { height: Some(height) } => ("query block", Ok(format!("/blocks/{height}"))),
        Action::Block { height: None } => ("query block", Ok("/blocks".to_owned())),
        Action::Tx { tx } => ("query tx", Ok(format!("/transactions/{}", tx.trim_start_matches("sha256:")))),
        Action::Record { id } => ("query record", qualified(desk, &id).map(|id| format!("/records/{id}"))),
        Action::Programme { id: None } => ("query programme", Ok("/programmes".to_owned())),
        Action::Programme { id: Some(id) } => {
            ("query programme", qualified(desk, &id).map(|id| format!("/programmes/{id}")))
        }
        Action::Account { id } => ("query account", qualified(desk, &id).map(|id| format!("/accounts/{id}"))),
        Action::Case { id } => ("query case", qualified(desk, &id).map(|id| format!("/cases/{id}"))),
    };
    (name.to_owned(), path.and_then(|path| show(desk, &path)))
}

/// `agency/id`; a bare id is of the own agency.
pub fn qualified(desk: &Desk, id: &str) -> Result<String, Failure> {
    if id.contains('/') { Ok(id.to_owned()) } else { Ok(format!("{}/{id}", desk.network()?.agency()?)) }
}

fn show(desk: &Desk, path: &str) -> Result<Answer, Failure> {
    let data = desk.api()?.get_json(path)?;
    let text = outline(&data, 0);
    Ok(Answer::done(data, text))
}

/// JSON as indented lines: names to the left, values to the right, nothing empty.
fn outline(value: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(members) if members.contains_key("minor") => {
            let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or("");
            format!("{} {}", text("amount"), text("currency"))
        }
        Value::Object(members) => {
            let lines = members.iter().filter(|(_, value)| !is_empty(value)).map(|(name, value)| match value {
                Value::Object(inner) if !inner.contains_key("minor") => {
                    format!("{pad}{name}\n{}", outline(value, depth + 1))
                }
                Value::Array(items) if items.iter().any(Value::is_object) => {
                    format!("{pad}{name}\n{}", outline(value, depth + 1))
                }
                _ => format!("{pad}{name:<16} {}", outline(value, 0)),
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
