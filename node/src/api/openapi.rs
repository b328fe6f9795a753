//! The description of this API in OpenAPI, in the newest form and in the older one that more tools read. Made from one
//! table; a test holds the table against the routes that are served.

use axum::Json;
use serde_json::{Map, Value, json};

use super::MAX_WAIT_S;

/// One path and what it takes beside the parts of its path.
struct Route {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// Names of query parameters, `!` behind the required ones; `cose` for a signed body, `json` for one in JSON, `waits` where
    /// the outcome may be waited for; `text`, `signed`, `octets` or `stream` for an answer that is no JSON;
    /// `after_id` where `after` is an id and no number.
    takes: &'static str,
}

#[rustfmt::skip]
const ROUTES: &[Route] = &[
    Route { method: "get", path: "/status", summary: "Where the node stands: height, state, members, seals", takes: "" },
    Route { method: "get", path: "/genesis", summary: "The genesis file, byte for byte", takes: "" },
    Route { method: "get", path: "/version", summary: "Version of the node and of its API", takes: "" },
    Route { method: "get", path: "/limits", summary: "What the node takes at most", takes: "" },
    Route { method: "get", path: "/checkpoint", summary: "The newest sealed checkpoint, a signed note", takes: "text" },
    Route { method: "get", path: "/consistency", summary: "That the log of `to` entries extends that of `from`", takes: "from! to!" },
    Route { method: "get", path: "/handoffs/{epoch}", summary: "How trust passes to an epoch", takes: "" },
    Route { method: "get", path: "/authority-sets/{epoch}", summary: "The members of an epoch and their keys", takes: "" },
    Route { method: "get", path: "/evidence", summary: "Proof of rules that members broke, as this node holds it", takes: "cursor limit" },
    Route { method: "post", path: "/transactions", summary: "Submit one signed transaction", takes: "cose waits" },
    Route { method: "post", path: "/batches", summary: "Submit up to 1,000: (length u32, big-endian, then COSE_Sign1), repeated", takes: "cose waits" },
    Route { method: "post", path: "/simulate", summary: "What a transaction would do now; nothing is submitted", takes: "cose" },
    Route { method: "get", path: "/transactions/{id}", summary: "A final record in words, with its status", takes: "" },
    Route { method: "get", path: "/transactions/{id}/status", summary: "Where a transaction stands", takes: "wait" },
    Route { method: "get", path: "/transactions/{id}/admission", summary: "The node's signed promise", takes: "" },
    Route { method: "get", path: "/transactions/{id}/raw", summary: "The signed bytes", takes: "signed" },
    Route { method: "get", path: "/transactions/{id}/receipt", summary: "The receipt, a C2SP tlog-proof", takes: "wait text" },
    Route { method: "get", path: "/blocks", summary: "Headers, newest first", takes: "cursor limit" },
    Route { method: "get", path: "/blocks/{height}", summary: "One header", takes: "" },
    Route { method: "get", path: "/blocks/{height}/transactions", summary: "The records of a block", takes: "" },
    Route { method: "get", path: "/blocks/{height}/certificate", summary: "Who confirmed the block, or one above it", takes: "" },
    Route { method: "get", path: "/blocks/{height}/proof", summary: "The header with its path under a checkpoint", takes: "size" },
    Route { method: "get", path: "/blocks/{height}/raw", summary: "Header and entries, each behind its length in two bytes", takes: "octets" },
    Route { method: "get", path: "/headers", summary: "Headers of the blocks that hold these log entries, with their paths under one checkpoint", takes: "entries! size" },
    Route { method: "get", path: "/state/{key}", summary: "Presence or absence of a state key under the newest sealed header; waits until it covers an entry, or its time is past one", takes: "wait entry past" },
    Route { method: "get", path: "/state", summary: "Several state keys under one sealed header", takes: "keys! size" },
    Route { method: "get", path: "/records/{agency}/{id}", summary: "A record and where it stands", takes: "" },
    Route { method: "post", path: "/documents/lookup", summary: "Records that cite documents: {\"digests\": [up to 500]}", takes: "json" },
    Route { method: "get", path: "/documents/{digest}", summary: "Records that cite a document, by its salted digest, as this node's log has them from `since_index` on", takes: "cursor limit" },
    Route { method: "get", path: "/search", summary: "What is called exactly this: ids, hashes, heights, agencies, officers' keys, unique codes", takes: "q!" },
    Route { method: "get", path: "/trails/{kind}/{id}", summary: "A complete trail with its proof, in pages", takes: "after limit size" },
    Route { method: "get", path: "/events", summary: "Final records as server-sent events, behind an id (or `Last-Event-ID`), else from now on; what is gone is a `gap`", takes: "types subject after_id stream" },
    Route { method: "get", path: "/events/poll", summary: "Final records behind an id, at once or within `wait` seconds", takes: "types subject after_id wait limit" },
    Route { method: "get", path: "/{subjects}", summary: "Subjects of a kind: programmes, accounts, cases, agencies, proposals", takes: "cursor limit" },
    Route { method: "get", path: "/{subjects}/{agency}/{id}", summary: "One programme, account or case", takes: "" },
    Route { method: "get", path: "/{subjects}/{agency}/{id}/trail", summary: "The trail of a subject with its proof, in pages", takes: "after limit size" },
    Route { method: "get", path: "/errors", summary: "Every code with its explanation", takes: "" },
    Route { method: "get", path: "/errors/{code}", summary: "One code", takes: "" },
    Route { method: "get", path: "/openapi.json", summary: "This description, OpenAPI 3.1", takes: "" },
    Route { method: "get", path: "/openapi-3.0.json", summary: "This description, OpenAPI 3.0.3", takes: "" },
];

/// GET /openapi.json
pub async fn newest() -> Json<Value> {
    Json(document("3.1.0"))
}

/// GET /openapi-3.0.json
pub async fn older() -> Json<Value> {
    Json(document("3.0.3"))
}

fn document(version: &str) -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method] = operation(route);
    }
    let text = json!({ "type": "string" });
    let number = json!({ "type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991u64 });
    let flag = json!({ "type": "boolean" });
    json!({
        "openapi": version,
        "info": {
            "title": "Mingzhang", "version": env!("CARGO_PKG_VERSION"), "license": { "name": "Apache-2.0" },
            "description": "Only final state is served. A signature authorises a submission; reads are public.",
        },
        "servers": [{ "url": "/api/v1" }],
        "paths": paths,
        "components": { "schemas": {
            "Object": { "type": "object" },
            "Problem": { "type": "object", "required": ["type", "status", "code", "detail"], "properties": {
                "type": text, "title": text, "status": number, "detail": text, "code": text, "family": text,
                "retryable": flag, "definite": flag, "fix": text,
                "differs": text,
            } },
        } },
    })
}

fn operation(route: &Route) -> Value {
    let words = || route.takes.split_whitespace();
    let signed = words().any(|word| word == "cose");
    let mut parameters: Vec<Value> = parts(route.path).map(|name| parameter(name, "path", true)).collect();
    let query =
        words().filter(|word| !matches!(*word, "cose" | "json" | "waits" | "text" | "signed" | "octets" | "stream"));
    parameters.extend(query.map(|word| parameter(word.trim_end_matches('!'), "query", word.ends_with('!'))));
    if words().any(|word| word == "waits") {
        let about = format!("`wait=SECONDS`, at most {MAX_WAIT_S}: answer once the outcome is final");
        parameters.push(json!({ "name": "Prefer", "in": "header", "required": false, "description": about,
                                "schema": { "type": "string" } }));
    }
    let content = match () {
        () if words().any(|word| word == "text") => json!({ "text/plain": { "schema": { "type": "string" } } }),
        () if words().any(|word| word == "signed") => json!({ "application/cose": {} }),
        () if words().any(|word| word == "stream") => {
            json!({ "text/event-stream": { "schema": { "type": "string" } } })
        }
        () if words().any(|word| word == "octets") => json!({ "application/octet-stream": {} }),
        () => json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Object" } } }),
    };
    let problem = json!({ "description": "refused; `code` says why, `fix` what to do", "content": {
        "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } } });
    let mut operation = json!({
        "operationId": operation_id(route), "summary": route.summary, "parameters": parameters,
        "responses": { "200": { "description": route.summary, "content": content }, "default": problem },
    });
    if signed {
        operation["requestBody"] = json!({ "required": true, "content": { "application/cose": {} } });
    }
    if words().any(|word| word == "json") {
        let schema = json!({ "$ref": "#/components/schemas/Object" });
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    if route.path == "/transactions" {
        operation["responses"]["202"] = operation["responses"]["200"].clone();
    }
    operation
}

/// The names between braces.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn parameter(name: &str, place: &str, required: bool) -> Value {
    let counts =
        matches!(name, "height" | "epoch" | "size" | "from" | "to" | "after" | "limit" | "wait" | "entry" | "past")
            || (name == "cursor" && place == "query");
    let name = if name == "after_id" { "after" } else { name };
    let schema = if counts { json!({ "type": "integer", "minimum": 0 }) } else { json!({ "type": "string" }) };
    json!({ "name": name, "in": place, "required": required, "schema": schema })
}

fn operation_id(route: &Route) -> String {
    let words = route.path.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(route.method.to_owned(), |id, word| format!("{id}_{word}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_what_is_served() {
        let source = include_str!("mod.rs");
        let served: BTreeSet<String> = source
            .split(".route(\"")
            .skip(1)
            .filter_map(|rest| rest.split_once('"'))
            .map(|(path, rest)| {
                (path, if rest.trim_start_matches([',', ' ']).starts_with("post") { "post" } else { "get" })
            })
            .map(|(path, method)| format!("{method} {}", path.replace("{*id}", "{id}")))
            .collect();
        let described: BTreeSet<String> =
            ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        assert_eq!(served, described);
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let names: BTreeSet<String> = ROUTES.iter().map(operation_id).collect();
        assert_eq!(names.len(), ROUTES.len());
        let document = document("3.1.0");
        let consistency = &document["paths"]["/consistency"]["get"]["parameters"];
        assert_eq!(
            consistency[0],
            json!({ "name": "from", "in": "query", "required": true,
                                           "schema": { "type": "integer", "minimum": 0 } })
        );
        assert!(document["paths"]["/transactions"]["post"]["requestBody"]["content"]["application/cose"].is_object());
    }
}
