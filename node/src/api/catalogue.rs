//! The error catalogue over HTTP.

use axum::Json;
use axum::extract::Path;
use mingzhang_ledger::outcome::{CatalogueEntry, Code, catalogue};
use serde_json::{Value, json};

use super::Problem;
use super::answer::Answer;

pub async fn list() -> Answer {
    let items: Vec<Value> = catalogue().iter().map(|(code, entry)| entry_json(*code, entry)).collect();
    Ok(Json(json!({ "items": items, "next_cursor": null })))
}

pub async fn one(Path(code): Path<String>) -> Answer {
    let number = code.to_ascii_uppercase().trim_start_matches("MZ-").parse().ok().map(Code);
    let entry = number.and_then(|code| Some((code, catalogue().get(&code)?)));
    let (code, entry) = entry.ok_or_else(|| Problem::not_found(format!("{code} is not in the catalogue")))?;
    Ok(Json(entry_json(code, entry)))
}

fn entry_json(code: Code, entry: &CatalogueEntry) -> Value {
    let text = |text: &mingzhang_ledger::outcome::Text| json!({ "title": text.title, "explain": text.explain, "fix": text.fix });
    json!({
        "code": code.to_string(), "name": entry.name, "family": entry.family, "http": entry.http,
        "exit": entry.exit, "retryable": entry.retryable, "definite": entry.definite, "since": entry.since,
        "fields": entry.fields, "zh-CN": text(&entry.zh), "en": text(&entry.en),
    })
}
