//! The HTTP side of a node. Believes nothing: what comes back is either bytes that `verify` judges or a claim that the
//! caller marks as one. A node of another network is refused before anything is sent to it.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use mingzhang_ledger::outcome::Code;
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

use crate::context::Network;
use crate::output::{Failure, Printer, exit, plain};
use crate::tls;

/// The answer to requests that come too fast.
const TOO_MANY: u16 = 429;
/// Longest answer of a node that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a read that came too fast is repeated, and the longest pause before it.
const MAX_READ_TRIES: u32 = 20;
const MAX_PAUSE_S: u64 = 5;

/// The nodes of a network, tried in order.
pub struct NodeApi {
    client: Client,
    nodes: Vec<String>,
    genesis_hash: String,
    printer: Printer,
    /// Index of the node that answered last and proved to be of the pinned network.
    chosen: RefCell<Option<usize>>,
    /// Index of the node that is asked first, while none is chosen.
    first: Cell<usize>,
}

/// One answer: status and body.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    pub retry_after_s: Option<u64>,
}

impl Reply {
    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::unreachable(format!("the node's answer is not JSON: {error}")))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a success; a problem document becomes the failure that it names.
    pub fn success(self) -> Result<Self, Failure> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(self.problem()) }
    }

    /// The failure in a problem document, with the exit status that its HTTP status stands for.
    pub fn problem(&self) -> Failure {
        let document: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let code = document
            .get("code")
            .and_then(Value::as_str)
            .and_then(|code| code.strip_prefix("MZ-")?.parse().ok())
            .map(Code);
        let detail = document
            .get("detail")
            .and_then(Value::as_str)
            .map_or_else(|| format!("the node answered HTTP {}", self.status), str::to_owned);
        let by_status = match self.status {
            401 | 403 => exit::NOT_PERMITTED,
            404 | 410 => exit::NOT_FOUND,
            202 | 504 => exit::NOT_YET_KNOWN,
            429 | 503 => exit::UNREACHABLE,
            400..=499 => exit::USAGE,
            _ => exit::BUG,
        };
        let mut failure = match code {
            Some(code) => Failure::coded(code, detail),
            None => Failure { exit: by_status, code: None, detail, data: Value::Null },
        };
        failure.data = document;
        failure
    }
}

impl NodeApi {
    /// `timeout` bounds one request without its wait.
    pub fn new(network: &Network, timeout: Duration, printer: Printer) -> Result<Self, Failure> {
        if network.context.nodes.is_empty() {
            return Err(Failure::usage("the context names no node: give --node URL"));
        }
        for node in &network.context.nodes {
            require_address(node)?;
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls::settings(&network.context.nodes)?)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .build()
            .map_err(|error| Failure::bug(error.to_string()))?;
        Ok(Self {
            client,
            nodes: network.context.nodes.iter().map(|node| node.trim_end_matches('/').to_owned()).collect(),
            genesis_hash: network.context.genesis_hash.to_lowercase(),
            printer,
            chosen: RefCell::new(None),
            first: Cell::new(0),
        })
    }

    /// A handle that talks to one of the context's nodes only.
    pub fn only(&self, node: &str) -> Self {
        Self {
            client: self.client.clone(),
            nodes: vec![node.trim_end_matches('/').to_owned()],
            genesis_hash: self.genesis_hash.clone(),
            printer: self.printer,
            chosen: RefCell::new(None),
            first: Cell::new(0),
        }
    }

    /// How the command that asks prints.
    pub fn printer(&self) -> Printer {
        self.printer
    }

    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// The node that answered last cannot help: the next one is asked first from now on.
    pub fn pass_over(&self) {
        let last = self.chosen.take().unwrap_or(self.first.get());
        self.first.set(last.saturating_add(1) % self.nodes.len().max(1));
    }

    /// The node that answered last.
    pub fn answered(&self) -> &str {
        self.chosen.borrow().and_then(|index| self.nodes.get(index)).map_or("", String::as_str)
    }

    /// A read; one that comes too fast for a node is repeated when the node says.
    pub fn get(&self, path: &str) -> Result<Reply, Failure> {
        patiently(|| self.with_node(("GET", path), |base| self.client.get(format!("{base}/api/v1{path}")).send()))
    }

    pub fn get_json(&self, path: &str) -> Result<Value, Failure> {
        self.get(path)?.success()?.json()
    }

    /// Signed bytes; `wait_s` asks the node to answer once they are final.
    pub fn post_cose(&self, path: &str, body: &[u8], wait_s: u64) -> Result<Reply, Failure> {
        self.with_node(("POST", path), |base| {
            let mut request = self
                .client
                .post(format!("{base}/api/v1{path}"))
                .header("content-type", "application/cose")
                .body(body.to_vec());
            if wait_s > 0 {
                request = request
                    .header("prefer", format!("wait={wait_s}"))
                    .timeout(Duration::from_secs(wait_s.saturating_add(20)));
            }
            request.send()
        })
    }

    /// Runs a request at the first node that answers and belongs to the pinned network.
    fn with_node(
        &self,
        (method, path): (&str, &str),
        send: impl Fn(&str) -> reqwest::Result<Response>,
    ) -> Result<Reply, Failure> {
        let first = self.chosen.borrow().unwrap_or(self.first.get());
        let mut reasons = Vec::new();
        let mut may_have_arrived = false;
        for step in 0..self.nodes.len() {
            let index = (first + step) % self.nodes.len();
            let Some(base) = self.nodes.get(index) else { continue };
            if *self.chosen.borrow() != Some(index) {
                match self.check_network(base) {
                    Ok(()) => {}
                    Err(failure) if failure.exit == exit::UNREACHABLE => {
                        reasons.push(failure.detail);
                        continue;
                    }
                    Err(failure) => return Err(failure),
                }
            }
            let began = Instant::now();
            match send(base).map_err(|error| self.cause(&error)).and_then(read) {
                Ok(reply) => {
                    let (ms, bytes) = (began.elapsed().as_millis(), reply.body.len());
                    self.printer
                        .trace(|| format!("{method} {base}/api/v1{path}  {}  {bytes} B  {ms} ms", reply.status));
                    *self.chosen.borrow_mut() = Some(index);
                    return Ok(reply);
                }
                Err(Silence { reason, refused }) => {
                    *self.chosen.borrow_mut() = None;
                    let told = || self.printer.language.detail(&reason);
                    self.printer.trace(|| format!("{method} {base}/api/v1{path}  {}", told()));
                    reasons.push(format!("{base}: {reason}"));
                    may_have_arrived |= !refused;
                }
            }
        }
        let mut failure = Failure::unreachable(reasons.join("; "));
        failure.data = json!({ "may_have_arrived": may_have_arrived });
        Err(failure)
    }

    /// Why a request has no answer, in a few words.
    fn cause(&self, error: &reqwest::Error) -> Silence {
        let mut root: &dyn std::error::Error = error;
        while let Some(inner) = root.source() {
            root = inner;
        }
        let kind = root.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let reason = match kind {
            Some(std::io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
            _ if tls::distrusts(root) => "its certificate is not one that this machine trusts".to_owned(),
            _ if error.is_timeout() => "no answer in time".to_owned(),
            _ => plain(root),
        };
        Silence { reason, refused: error.is_connect() || error.is_builder() }
    }

    fn check_network(&self, base: &str) -> Result<(), Failure> {
        let ask = || self.client.get(format!("{base}/api/v1/status")).send().map_err(|error| self.cause(&error));
        let reply = patiently(|| ask().and_then(read));
        let reply = reply.map_err(|silence| Failure::unreachable(format!("{base}: {}", silence.reason)))?;
        if reply.status != 200 {
            return Err(Failure::unreachable(format!("{base}: HTTP {}", reply.status)));
        }
        let status = reply.json().map_err(|failure| Failure::unreachable(format!("{base}: {}", failure.detail)))?;
        let found = status.get("genesis_hash").and_then(Value::as_str).unwrap_or("").trim_start_matches("sha256:");
        if found == self.genesis_hash {
            return Ok(());
        }
        Err(Failure::coded(
            Code(2009),
            format!("{base} is a node of network {found}, the context pins {}; nothing was sent", self.genesis_hash),
        ))
    }
}

/// What can be asked at all: a node's address with its scheme.
fn require_address(node: &str) -> Result<(), Failure> {
    let address = reqwest::Url::parse(node).ok().filter(|address| matches!(address.scheme(), "http" | "https"));
    match address.filter(reqwest::Url::has_host) {
        Some(_) => Ok(()),
        None => Err(Failure::usage(format!("{node}: a node's address is http://host:port or https://host"))),
    }
}

/// Repeats a read that came too fast, when the node says.
fn patiently<E>(mut ask: impl FnMut() -> Result<Reply, E>) -> Result<Reply, E> {
    for _ in 1..MAX_READ_TRIES {
        let reply = ask()?;
        if reply.status != TOO_MANY {
            return Ok(reply);
        }
        std::thread::sleep(Duration::from_secs(reply.retry_after_s.unwrap_or(1).clamp(1, MAX_PAUSE_S)));
    }
    ask()
}

/// Why there is no answer, and whether the node certainly got nothing.
struct Silence {
    reason: String,
    refused: bool,
}

impl Silence {
    /// The node was asked, and its answer is lost.
    fn after_asking(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), refused: false }
    }
}

fn read(response: Response) -> Result<Reply, Silence> {
    use std::io::Read as _;
    let status = response.status().as_u16();
    let retry_after_s =
        response.headers().get("retry-after").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let mut body = Vec::new();
    let limit = u64::try_from(MAX_ANSWER_BYTES).map_or(u64::MAX, |limit| limit + 1);
    response.take(limit).read_to_end(&mut body).map_err(Silence::after_asking)?;
    if body.len() > MAX_ANSWER_BYTES {
        return Err(Silence::after_asking(format!("answer over {MAX_ANSWER_BYTES} bytes")));
    }
    Ok(Reply { status, body, retry_after_s })
}
