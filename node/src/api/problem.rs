//! Errors of the API as problem documents (RFC 9457), from the one catalogue, in the reader's language.

use std::any::Any;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mingzhang_ledger::outcome::{Code, Refusal, catalogue};
use mingzhang_ledger::state::StateFault;
use serde_json::json;

use super::MAX_BATCH_BYTES;
use crate::listener::REQUEST_TIME;
use crate::mempool::RETRY_AFTER_SECONDS;
use crate::store::StoreFault;

/// What a query asked for is not there.
const NOT_FOUND: Code = Code(2005);
/// The height is pruned or not kept for proofs.
const NOT_KEPT: Code = Code(2006);
/// A request that is not understood.
const MALFORMED: Code = Code(2003);
/// A request over a stated limit.
const OVER_LIMIT: Code = Code(2004);
/// A body over the limit of the listener.
const TOO_LARGE: Code = Code(1002);
/// A fault of this node's store.
const STORE_FAULT: Code = Code(5010);
/// A failure inside this node that concerns one request.
pub const INTERNAL: Code = Code(5024);
/// Of what the framework says about a request, so much is passed on.
const MAX_REASON_BYTES: usize = 1_024;

/// An answer that is no success.
#[derive(Debug, Clone)]
pub struct Problem {
    pub code: Code,
    pub detail: String,
    /// Overrides the catalogue's HTTP status.
    pub status: Option<StatusCode>,
    pub tx_id: Option<String>,
    /// The field in which the record differs from an earlier one under its id.
    differs: Option<&'static str>,
    language_is_chinese: bool,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), status: None, tx_id: None, differs: None, language_is_chinese: false }
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(NOT_FOUND, detail)
    }

    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(MALFORMED, detail)
    }

    pub fn over_limit(detail: impl Into<String>) -> Self {
        Self::new(OVER_LIMIT, detail)
    }

    pub fn about(mut self, tx_id: String) -> Self {
        self.tx_id = Some(tx_id);
        self
    }

    /// In the language that the reader accepts.
    pub fn in_language(mut self, headers: &HeaderMap) -> Self {
        self.language_is_chinese = accepts_chinese(headers);
        self
    }

    pub fn json(&self) -> serde_json::Value {
        let entry = catalogue().get(&self.code);
        let text = entry.map(|entry| if self.language_is_chinese { &entry.zh } else { &entry.en });
        let mut told = json!({
            "type": format!("/api/v1/errors/{}", self.code),
            "title": text.map(|text| text.title.as_str()),
            "status": self.status_code().as_u16(),
            "detail": self.detail,
            "code": self.code.to_string(),
            "family": entry.map(|entry| entry.family.as_str()),
            "retryable": entry.is_some_and(|entry| entry.retryable),
            "definite": entry.is_some_and(|entry| entry.definite),
            "fields": entry.map(|entry| &entry.fields),
            "fix": text.map(|text| text.fix.as_str()),
            "tx_id": self.tx_id,
        });
        if let Some(field) = self.differs {
            told["differs"] = json!(field);
        }
        told
    }

    fn status_code(&self) -> StatusCode {
        let listed = catalogue().get(&self.code).and_then(|entry| StatusCode::from_u16(entry.http).ok());
        self.status.or(listed).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { differs: refusal.differs, ..Self::new(refusal.code, refusal.detail) }
    }
}

impl From<StoreFault> for Problem {
    fn from(fault: StoreFault) -> Self {
        match fault {
            StoreFault::NotKept { .. } => Self::new(NOT_KEPT, fault.to_string()),
            other => Self::new(STORE_FAULT, other.to_string()),
        }
    }
}

impl From<StateFault> for Problem {
    fn from(fault: StateFault) -> Self {
        Self::new(STORE_FAULT, fault.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status_code();
        let body = self.json().to_string();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        // For whoever knows the reader's language.
        response.extensions_mut().insert(self);
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        response
    }
}

/// Whether Chinese is liked at least as much as English; who names neither reads English (RFC 9110, 12.5.4).
pub fn accepts_chinese(headers: &HeaderMap) -> bool {
    let told = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut liked = [0u16; 2];
    for part in told.split(',') {
        let (tag, weight) = part.split_once(';').unwrap_or((part, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(1_000, thousandths);
        let tag = tag.trim().to_ascii_lowercase();
        for (place, language) in liked.iter_mut().zip(["zh", "en"]) {
            if tag.split('-').next() == Some(language) {
                *place = weight.max(*place);
            }
        }
    }
    let [chinese, english] = liked;
    chinese > 0 && chinese >= english
}

/// A weight of 0 to 1 with at most three decimals.
fn thousandths(weight: &str) -> u16 {
    let (whole, decimals) = weight.trim().split_once('.').unwrap_or((weight.trim(), ""));
    let decimals = format!("{decimals:0<3}").parse::<u16>().ok().filter(|decimals| *decimals < 1_000);
    match (whole, decimals) {
        ("1", Some(_)) => 1_000,
        ("0", Some(decimals)) => decimals,
        (_, _) => 0,
    }
}

/// The same problem in the language that the reader accepts.
pub fn translate(response: Response, chinese: bool) -> Response {
    let Some(problem) = response.extensions().get::<Problem>().filter(|problem| problem.language_is_chinese != chinese)
    else {
        return response;
    };
    let translated = Problem { language_is_chinese: chinese, ..problem.clone() }.into_response();
    let (mut head, _) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    let (told, body) = translated.into_parts();
    head.extensions.extend(told.extensions);
    Response::from_parts(head, body)
}

/// A request that does not arrive in time, or is not answered in time, is told so: the connection's own end comes later.
pub async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let told = format!("not complete within {} seconds", REQUEST_TIME.as_secs());
            Problem { status: Some(StatusCode::REQUEST_TIMEOUT), ..Problem::new(MALFORMED, told) }.into_response()
        }
    }
}

pub async fn no_such_path(uri: axum::http::Uri) -> Problem {
    Problem::not_found(format!("no such path: {}", uri.path()))
}

/// What the framework refuses before any handler sees it (a path, a query, a method, a body over the limit) becomes a
/// problem document like every other refusal.
pub async fn of_rejection(response: Response) -> Response {
    let status = response.status();
    let ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    if !status.is_client_error() || ours {
        return response;
    }
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => TOO_LARGE,
        StatusCode::NOT_FOUND => NOT_FOUND,
        _ => MALFORMED,
    };
    let (head, body) = response.into_parts();
    let told = axum::body::to_bytes(body, MAX_REASON_BYTES).await.unwrap_or_default();
    let told = String::from_utf8_lossy(&told);
    let mut reason = match told.trim() {
        "" => status.canonical_reason().unwrap_or("not understood"),
        told => told,
    }
    .to_owned();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        reason = format!("a body holds at most {MAX_BATCH_BYTES} bytes");
    }
    let mut problem = Problem { status: Some(status), ..Problem::new(code, reason) }.into_response();
    if let Some(allowed) = head.headers.get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    problem
}

/// A handler that panicked answers as a fault; the node goes on.
pub fn after_panic(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::new(INTERNAL, "an unexpected failure inside the node").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_that_is_liked_more() {
        let chinese = |told: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, told.parse().expect("a header"));
            accepts_chinese(&headers)
        };
        for told in
            ["zh", "zh-CN", "zh-Hans-CN,zh;q=0.9,en;q=0.8", "en;q=0.1, zh-CN;q=0.9", "fr, ZH;q=0.2", "zh;q=1.000"]
        {
            assert!(chinese(told), "{told}");
        }
        for told in ["", "en", "fr", "zh;q=0", "en, zh;q=0.5", "zh;q=0.2,en;q=0.35", "zh;q=2", "zhx", "zh;q=x"] {
            assert!(!chinese(told), "{told}");
        }
        assert!(!accepts_chinese(&HeaderMap::new()));
    }

    #[test]
    fn a_problem_is_told_anew_in_the_readers_language() {
        let problem = || Problem::not_found("record civil/NOPE").into_response();
        let title = |response: &Response| {
            let problem = response.extensions().get::<Problem>().expect("a problem").json();
            problem["title"].as_str().expect("a title").to_owned()
        };
        let (same, other) = (translate(problem(), false), translate(problem(), true));
        assert!(title(&same).is_ascii() && !title(&other).is_ascii());
        assert_eq!(other.status(), StatusCode::NOT_FOUND);
        assert_eq!(other.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
