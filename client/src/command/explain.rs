//! `mingzhang explain`: what a code means and what to do.

use serde_json::json;

use super::Desk;
use crate::explain::{find, parse_code};
use crate::output::{Answer, Failure, Language, wrap};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A code such as MZ-3201; all of them if none is given
    code: Option<String>,
}

pub fn run(desk: &Desk, args: &Args) -> Result<Answer, Failure> {
    match &args.code {
        Some(code) => one(desk, code),
        None => Ok(all(desk)),
    }
}

fn one(desk: &Desk, text: &str) -> Result<Answer, Failure> {
    let code = parse_code(text)
        .ok_or_else(|| Failure::usage(format!("{text}: not a code such as MZ-3201; `mingzhang explain` lists all")))?;
    let entry = find(code)
        .ok_or_else(|| Failure::usage(format!("{code} is not in the catalogue; `mingzhang explain` lists all")))?;
    let words = if desk.language == Language::Chinese { &entry.zh } else { &entry.en };
    let data = json!({
        "code": code.to_string(), "name": entry.name, "family": entry.family, "http": entry.http, "exit": entry.exit,
        "retryable": entry.retryable, "definite": entry.definite, "since": entry.since, "fields": entry.fields,
        "zh-CN": { "title": entry.zh.title, "explain": entry.zh.explain, "fix": entry.zh.fix },
        "en": { "title": entry.en.title, "explain": entry.en.explain, "fix": entry.en.fix },
    });
    let fix = format!("{}: {}", desk.pick("处理", "fix"), words.fix);
    Ok(Answer::done(data, format!("{code} {}\n{}\n{}", words.title, wrap(&words.explain, 2), wrap(&fix, 2))))
}

fn all(desk: &Desk) -> Answer {
    let catalogue = mingzhang_ledger::outcome::catalogue();
    let title = |entry: &'static mingzhang_ledger::outcome::CatalogueEntry| {
        if desk.language == Language::Chinese { &entry.zh.title } else { &entry.en.title }
    };
    let items: Vec<_> =
        catalogue.iter().map(|(code, entry)| json!({ "code": code.to_string(), "title": title(entry) })).collect();
    let lines: Vec<_> = catalogue.iter().map(|(code, entry)| format!("{code}  {}", title(entry))).collect();
    Answer::done(json!({ "items": items }), lines.join("\n"))
}
