//! A node that lies: a proxy between the client and a real node that answers some requests itself.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mingzhang_tests::world::{Told, World};
use serde_json::Value;

/// What the proxy answers instead of the node: None hands the request on.
type Lie = dyn Fn(&str, &str) -> Option<(u16, Vec<u8>)> + Send + Sync;

/// Stands between the client and a node; lies about some requests.
pub fn liar(world: &World, lie: impl Fn(&str, &str) -> Option<(u16, Value)> + Send + Sync + 'static) -> String {
    proxy(world, move |method, path| {
        lie(method, path).map(|(status, answer)| (status, answer.to_string().into_bytes()))
    })
}

pub fn proxy(world: &World, lie: impl Fn(&str, &str) -> Option<(u16, Vec<u8>)> + Send + Sync + 'static) -> String {
    attentive(world, lie, Heard::default())
}

/// What clients sent, by path.
pub type Heard = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Hands on everything, and keeps what it hears.
pub fn listener(world: &World) -> (String, Heard) {
    let heard = Heard::default();
    (attentive(world, |_, _| None, Arc::clone(&heard)), heard)
}

fn attentive(
    world: &World,
    lie: impl Fn(&str, &str) -> Option<(u16, Vec<u8>)> + Send + Sync + 'static,
    heard: Heard,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let (node, lie): (String, Arc<Lie>) = (world.seats[0].url.clone(), Arc::new(lie));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (node, lie, heard) = (node.clone(), Arc::clone(&lie), Arc::clone(&heard));
            std::thread::spawn(move || relay(stream, &node, (&*lie, &heard)));
        }
    });
    url
}

/// One request, one answer. A client that goes away ends it.
fn relay(mut stream: TcpStream, node: &str, (lie, heard): (&Lie, &Heard)) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut prefer) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "prefer" => prefer = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    heard.lock().ok()?.push((path.clone(), body.clone()));
    let (status, answer) = match lie(&method, &path) {
        Some(told) => told,
        None => handed_on(&method, &format!("{node}{path}"), (body, prefer))?,
    };
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&answer).ok()
}

fn handed_on(method: &str, url: &str, (body, prefer): (Vec<u8>, String)) -> Option<(u16, Vec<u8>)> {
    let tls = mingzhang_client::tls::settings(&[]).ok()?;
    let builder = reqwest::blocking::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    let client = builder.timeout(Duration::from_secs(90)).build().ok()?;
    let request = match method {
        "POST" => client.post(url).header("content-type", "application/cose").header("prefer", prefer).body(body),
        _ => client.get(url),
    };
    let reply = request.send().ok()?;
    Some((reply.status().as_u16(), reply.bytes().ok()?.to_vec()))
}

/// A node that answered honestly up to now and then stays in the past.
pub fn stuck(world: &World) -> (String, Arc<AtomicBool>) {
    let (node, told) = (world.seats[0].url.clone(), Mutex::new(HashMap::<String, _>::new()));
    let stuck = Arc::new(AtomicBool::new(false));
    let is_stuck = Arc::clone(&stuck);
    let past = proxy(world, move |_, path| {
        let mut told = told.lock().ok()?;
        if is_stuck.load(Ordering::Relaxed) {
            return Some(told.get(path).cloned().unwrap_or((404, b"{}".to_vec())));
        }
        let said = honest(&format!("{node}{path}"))?;
        told.insert(path.to_owned(), said.clone());
        Some(said)
    });
    (past, stuck)
}

/// What the node itself says.
pub fn honest(url: &str) -> Option<(u16, Vec<u8>)> {
    handed_on("GET", url, (Vec::new(), String::new()))
}

pub fn through(world: &World, node: &str, arguments: &[&str]) -> Told {
    world.client(&[&["--node", node][..], arguments].concat())
}

pub fn failed(told: &Told, exit: i32, code: &str) {
    assert_eq!((told.exit, told.code()), (Some(exit), code), "{} {}", told.json, told.stderr);
}
