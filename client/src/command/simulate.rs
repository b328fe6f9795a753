//! `--dry-run`: what a signed record is, or with `=server` what a node says it would do at a stated height. Nothing is
//! submitted; the node's word is a claim.

use mingzhang_ledger::outcome::{Code, catalogue};
use mingzhang_ledger::state::key::id_text;
use mingzhang_ledger::transaction::Transaction;
use serde_json::{Value, json};

use super::Desk;
use super::query::{as_claim, outline, with_units};
use super::tx::time_text;
use crate::output::{Answer, Failure, Language, exit, wrap};
use crate::submit::{Awaited, awaited, still_needed};

/// Checks here, or asks a node.
pub fn dry_run(desk: &Desk, transaction: &Transaction, place: &str) -> Result<Answer, Failure> {
    match place {
        "here" => Ok(here(desk, transaction)),
        "server" => on_server(desk, transaction),
        other => Err(Failure::usage(format!("--dry-run={other}: only =server is known"))),
    }
}

fn here(desk: &Desk, transaction: &Transaction) -> Answer {
    let payload = transaction.payload();
    let tx_id = format!("sha256:{}", hex::encode(transaction.id()));
    let text = format!("{tx_id} {}", desk.pick("(未发送)", "(not sent)"));
    let data = json!({
        "tx_id": tx_id, "record_type": payload.record_type, "record_id": id_text(&payload.record_id),
        "agency_id": payload.agency, "expires_at": time_text(payload.expires_at), "file": null,
    });
    Answer::done(data, text)
}

fn on_server(desk: &Desk, transaction: &Transaction) -> Result<Answer, Failure> {
    let api = desk.api()?;
    let reply = api.post_cose("/simulate", transaction.bytes(), 0)?.success()?.json()?;
    let text = describe(&reply, desk.language);
    // A script that asks first must not go on as if the record would be applied.
    let code = reply["code"].as_str().and_then(|code| code.strip_prefix("MZ-")?.parse().ok()).map(Code);
    let reason = code.map(|code| (code, reply["detail"].as_str().unwrap_or("").to_owned()));
    let exit = if reason.is_none() { exit::DONE } else { exit::REJECTED };
    Ok(as_claim(desk, &api, Answer { reason, ..Answer::done(reply, text).with_exit(exit) }))
}

/// A dry run in words: the height, the outcome, and of every object what would change.
fn describe(reply: &Value, language: Language) -> String {
    let reply = &with_units(reply, language);
    let pick = |chinese: &str, english: &str| language.pick(chinese, english).to_owned();
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let code = text(&reply["code"]);
    let title_line = match code.is_empty() {
        true => pick("将要提交(未发送)", "would be submitted (not sent)"),
        false => pick("将被驳回(未发送)", "would be rejected (not sent)"),
    };
    let mut lines = vec![format!("{title_line}  {} {}", pick("依据高度", "at height"), reply["as_of"]["height"])];
    let outcome = match (code.is_empty(), text(&reply["effect"]).as_str(), awaited(reply)) {
        (false, ..) => pick("将被驳回", "would be rejected"),
        (true, "waiting", Awaited::Approval) => pick("将记录,待批准", "would be recorded, waits for approval"),
        (true, "waiting", Awaited::Bank) => pick("将记录,待银行回单", "would be recorded, waits for the bank"),
        (true, "waiting", Awaited::Votes) => pick("将记录,待表决", "would be recorded, open for votes"),
        (true, ..) => pick("将生效", "would be applied"),
    };
    let record = format!("{} {}/{}", text(&reply["record_type"]), text(&reply["agency_id"]), text(&reply["record_id"]));
    match code.is_empty() {
        true => {
            lines.push(format!("  {record}  {outcome}"));
            lines.extend(still_needed(reply, language).map(|needed| wrap(&needed, 4)));
        }
        false => lines.extend([format!("  {record}"), format!("  {outcome} {}", title(&code, pick))]),
    }
    if !text(&reply["detail"]).is_empty() {
        lines.push(wrap(&language.detail(&text(&reply["detail"])), 4));
    }
    for flag in reply["flags"].as_array().into_iter().flatten() {
        lines.push(format!("  {} {}", pick("标记", "flag"), title(&text(flag), pick)));
    }
    for effect in reply["effects"].as_array().into_iter().flatten() {
        lines.push(format!("  {} {}", text(&effect["kind"]), text(&effect["record"])));
        for (name, after) in effect["after"].as_object().into_iter().flatten() {
            let before = &effect["before"][name.as_str()];
            if before == after || (before.is_null() && after.as_array().is_some_and(Vec::is_empty)) {
                continue;
            }
            lines.push(match before.is_null() || is_made_of_parts(after) {
                true => member(name, after),
                false => wrap(&format!("{name}  {} → {}", value(before), value(after)), 4),
            });
        }
    }
    lines.join("\n")
}

fn title(code: &str, pick: impl Fn(&str, &str) -> String) -> String {
    let number = code.strip_prefix("MZ-").and_then(|digits| digits.parse().ok()).map(Code);
    let entry = number.and_then(|code| catalogue().get(&code));
    entry.map_or(code.to_owned(), |entry| format!("{code} {}", pick(&entry.zh.title, &entry.en.title)))
}

fn is_made_of_parts(value: &Value) -> bool {
    value.is_object() && value["minor"].is_null()
}

/// A member of an object in a line, or what it is made of below its name.
pub fn member(name: &str, content: &Value) -> String {
    match is_made_of_parts(content) {
        true => format!("    {name}\n{}", outline(content, 3)),
        false => wrap(&format!("{name}  {}", value(content)), 4),
    }
}

/// Money as amount and currency, texts without quotes, the rest as JSON.
pub fn value(value: &Value) -> String {
    match (value["amount"].as_str(), value.as_str()) {
        (Some(amount), _) => format!("{amount} {}", value["currency"].as_str().unwrap_or("")).trim_end().to_owned(),
        (None, Some(text)) => text.to_owned(),
        (None, None) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_listed_and_nothing_else() {
        let money = |amount: &str| json!({ "amount": amount, "minor": "1", "currency": "CNY" });
        let reply = json!({
            "record_type": "payment_request", "agency_id": "civil", "record_id": "PAY-1", "code": null, "detail": "",
            "flags": ["MZ-3707"], "as_of": { "height": 7 },
            "effects": [{ "record": "finance/F-1", "kind": "account",
                "before": { "available": money("5.00"), "year": 2026 }, "after": { "available": money("3.00"), "year": 2026 } },
                { "record": "civil/PAY-1", "kind": "movement", "before": null, "after": { "state": "requested" } }],
        });
        let text = describe(&reply, Language::English);
        assert!(
            text.starts_with(
                "would be submitted (not sent)  at height 7\n  payment_request civil/PAY-1  would be applied\n"
            ),
            "{text}"
        );
        assert!(text.contains("  account finance/F-1\n    available  5.00 CNY → 3.00 CNY\n  movement civil/PAY-1\n    state  requested"), "{text}");
        assert!(text.contains("flag MZ-3707 ") && !text.contains("year"), "{text}");
        // What others must still act on is not called applied.
        let mut waits = reply.clone();
        waits["effect"] = json!("waiting");
        waits["waits_for"] = json!([{ "record_type": "approve", "agency_id": "finance", "role": "finance" }]);
        let text = describe(&waits, Language::English);
        let wanted = "PAY-1  would be recorded, waits for approval\n    still needed: finance approve (finance)\n";
        assert!(text.contains(wanted) && !text.contains("would be applied"), "{text}");
        let text = describe(&waits, Language::Chinese);
        assert!(text.contains("将记录,待批准\n    还需: finance approve (finance)\n"), "{text}");
        let rejected = json!({ "record_type": "commit", "agency_id": "a", "record_id": "b", "code": "MZ-3201",
                               "detail": "available 1.00, asked for 2.00", "as_of": { "height": 7 } });
        let text = describe(&rejected, Language::English);
        assert!(
            text.starts_with("would be rejected (not sent)  at height 7")
                && text.contains("would be rejected MZ-3201 ")
                && text.ends_with("available 1.00, asked for 2.00"),
            "{text}"
        );
    }
}
