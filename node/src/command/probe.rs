//! Asks a node on this machine one question over plain HTTP/1.1. A client for operators' commands only: small answers,
//! no redirects, no encryption.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

/// How long a node on this machine may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer that is read.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ProbeFault {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the answer is not HTTP")]
    NotHttp,
    #[error("the answer is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("the answer has status {0}")]
    Status(u16),
}

/// Status and body of a GET.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>), ProbeFault> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // HTTP/1.0 asks for a body without chunks that ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    parse(&answer).ok_or(ProbeFault::NotHttp)
}

/// The JSON document under a path that answers 200.
pub fn get_json(address: SocketAddr, path: &str) -> Result<Value, ProbeFault> {
    match get(address, path)? {
        (200, body) => Ok(serde_json::from_slice(&body)?),
        (status, _) => Err(ProbeFault::Status(status)),
    }
}

fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, rest) = answer.split_at(end);
    let head = std::str::from_utf8(head).ok()?;
    let status = head.lines().next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, rest.get(4..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_told_apart() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}"), Some((200, b"{}".to_vec())));
        assert_eq!(parse(b"HTTP/1.0 503 Busy\r\n\r\n"), Some((503, Vec::new())));
        for broken in [&b""[..], b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 abc\r\n\r\n"] {
            assert_eq!(parse(broken), None);
        }
    }
}
