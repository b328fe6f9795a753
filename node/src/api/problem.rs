//! Errors of the API as problem documents (RFC 9457), from the one catalogue, in the reader's language.

use std::any::Any;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mingzhang_ledger::outcome::{Code, Refusal, catalogue};
use mingzhang_ledger::state::StateFault;
use serde_json::json;

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

/// An answer that is no success.
#[derive(Debug)]
pub struct Problem {
    pub code: Code,
    pub detail: String,
    /// Overrides the catalogue's HTTP status.
    pub status: Option<StatusCode>,
    pub tx_id: Option<String>,
    language_is_chinese: bool,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), status: None, tx_id: None, language_is_chinese: false }
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
        json!({
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
        })
    }

    fn status_code(&self) -> StatusCode {
        let listed = catalogue().get(&self.code).and_then(|entry| StatusCode::from_u16(entry.http).ok());
        self.status.or(listed).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.detail)
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
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        response
    }
}

fn accepts_chinese(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|languages| languages.trim_start().to_ascii_lowercase().starts_with("zh"))
}

pub async fn no_such_path(uri: axum::http::Uri) -> Problem {
    Problem::not_found(format!("no such path: {}", uri.path()))
}

/// What the framework refuses before any handler sees it (a path, a query, a method, a body over the limit) becomes a
/// problem document like every other refusal.
pub fn of_rejection(response: Response) -> Response {
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
    let reason = status.canonical_reason().unwrap_or("not understood");
    Problem { status: Some(status), ..Problem::new(code, reason) }.into_response()
}

/// A handler that panicked answers as a fault; the node goes on.
pub fn after_panic(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::new(STORE_FAULT, "an unexpected failure inside the node").into_response()
}
