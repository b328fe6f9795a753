//! `query search`: what a node says is called exactly so, each with the command that shows it.

use mingzhang_ledger::outcome::Code;
use serde_json::{Value, json};

use super::{Made, as_claim, is_agency, parts};
use crate::command::Desk;
use crate::output::{Answer, Failure};

/// What is looked for where there is a name; the rest is asked for as a record.
const MADE: [Made; 7] =
    [Made::PROGRAMME, Made::ACCOUNT, Made::CASE, Made::PAYMENT, Made::LICENCE, Made::LIST, Made::GRANT];
/// The node's answer is no list.
const UNREADABLE: Code = Code(2007);

pub fn search(desk: &Desk, text: &str) -> Result<Answer, Failure> {
    let api = desk.api()?;
    let mut data = api.get_json(&format!("/search?q={}", escaped(text)))?;
    let Some(items) = data["items"].as_array_mut() else {
        return Err(Failure::coded(UNREADABLE, "the node's answer is not a list"));
    };
    let mut lines = Vec::new();
    for item in items {
        let command = command(item);
        let words: Vec<&str> = ["id", "name", "record_type", "outcome", "code_of", "agency_id", "status"]
            .iter()
            .filter_map(|name| item[*name].as_str())
            .collect();
        let kind = item["kind"].as_str().unwrap_or("").to_owned();
        lines.push(format!("{kind:<12} {}", words.join("  ")));
        if let Some(command) = command {
            lines.push(format!("    {command}"));
            item["command"] = json!(command);
        }
    }
    Ok(as_claim(desk, &api, Answer::done(data, lines.join("\n"))))
}

/// The command that shows what was found. Of an id that no command takes there is none: a node's words are not put where
/// they would be run.
fn command(item: &Value) -> Option<String> {
    let (kind, id) = (item["kind"].as_str()?, item["id"].as_str()?);
    let digits = |length| id.len() == length && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hash = || id.strip_prefix("sha256:").filter(|text| text.len() == 64 && hex::decode(text).is_ok());
    let asked = match kind {
        "transaction" => format!("tx {}", hash()?),
        "document" => format!("document {}", hash()?),
        "block" => format!("block {}", id.parse::<u64>().ok()?),
        "agency" => format!("agency {}", Some(id).filter(|id| is_agency(id))?),
        "officer" => format!("officer {}", Some(id).filter(|_| digits(32))?),
        "record" | "code" => {
            parts(id)?;
            let told = item["record_type"].as_str().unwrap_or("");
            let made = MADE.iter().find(|made| made.by.contains(&told)).map_or("record", |made| made.name);
            format!("{made} {id}")
        }
        _ => return None,
    };
    Some(format!("mingzhang query {asked}"))
}

/// As a part of an address.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_has_its_command_and_what_is_no_id_has_none() {
        let hash = "ab".repeat(32);
        let found = |kind: &str, id: &str, record_type: &str| {
            command(&json!({ "kind": kind, "id": id, "record_type": record_type }))
        };
        for (kind, id, record_type, wanted) in [
            ("transaction", format!("sha256:{hash}"), "", format!("tx {hash}")),
            ("document", format!("sha256:{hash}"), "", format!("document {hash}")),
            ("block", "7".into(), "", "block 7".into()),
            ("agency", "civil".into(), "", "agency civil".into()),
            ("officer", "0f".repeat(16), "", format!("officer {}", "0f".repeat(16))),
            ("record", "civil/P".into(), "programme_open", "programme civil/P".into()),
            ("code", "civil/L".into(), "licence_issue", "licence civil/L".into()),
            ("record", "civil/D".into(), "document_anchor", "record civil/D".into()),
        ] {
            assert_eq!(found(kind, &id, record_type), Some(format!("mingzhang query {wanted}")), "{kind}");
        }
        for (kind, id) in [
            ("transaction", "sha256:ab"),
            ("block", "1; ls"),
            ("agency", "civil; ls"),
            ("record", "civil/$(ls)"),
            ("officer", "name"),
            ("other", "x"),
        ] {
            assert_eq!(found(kind, id, ""), None, "{kind} {id}");
        }
    }

    #[test]
    fn any_text_is_one_part_of_an_address() {
        assert_eq!(escaped("civil/DOC-1"), "civil%2FDOC-1");
        assert_eq!(escaped("a&b=c 名?#%"), "a%26b%3Dc%20%E5%90%8D%3F%23%25");
    }
}
