//! Four real nodes on loopback under an open loop of pre-signed records. Finality is observed from outside, by following
//! the blocks of one node, so that measuring costs the nodes nothing per record.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mingzhang_genesis::Genesis;
use mingzhang_ledger::codec::put_counted;
use mingzhang_ledger::crypto::{Hash, sha256};
use mingzhang_ledger::entry::record_entry;
use serde::Deserialize;
use serde_json::Value;

use mingzhang_tests::work::{BENCH, Officers, Signed};

/// Up to this rate latency is measured and not throughput.
pub const LATENCY_RATE: f64 = 100.0;
/// How often the generator hands in what is due, per node.
const BEAT: Duration = Duration::from_millis(25);
/// Pauses between looking for new blocks: each look costs a node as much as a record or two, and the generator as much again.
const LOOK: Duration = Duration::from_millis(20);
/// The same where a wait is measured and not a throughput: looking adds half of it.
const LOOK_CLOSELY: Duration = Duration::from_millis(2);
/// Longest wait for the tail of a run.
const DRAIN: Duration = Duration::from_secs(30);
/// How long approvals follow requests, and confirmations approvals.
const STEP_DELAY: Duration = Duration::from_millis(1_500);

/// From here on records of all three steps become final at the rate that is offered: all three are under way from the second
/// delay on, and what was handed in before is final within the latency that is wanted. It ends with the offer.
const STEADY_FROM: Duration = STEP_DELAY.saturating_mul(2).saturating_add(Duration::from_secs(1));

/// A devnet of four agencies with its records prepared.
pub struct Network {
    binary: PathBuf,
    dir: PathBuf,
    pub nodes: Vec<String>,
    /// Where their metrics are.
    ops: Vec<String>,
    pids: Vec<u32>,
    pub officers: Arc<Officers>,
}

/// What one offered rate gave.
pub struct Run {
    pub offered: f64,
    pub submitted: usize,
    pub refused: usize,
    pub finals: usize,
    pub rejected: usize,
    pub final_per_second: f64,
    /// Submit to final, in milliseconds.
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    /// CPU of all nodes per final record, in milliseconds.
    pub cpu_ms_per_record: f64,
    /// The same by part.
    pub cpu_by_part: BTreeMap<&'static str, f64>,
    /// Signatures that the nodes verified, by the size up to which their batches went.
    pub signatures: BTreeMap<usize, f64>,
    pub generator_cpu_ms_per_record: f64,
    pub peak_memory_mib: f64,
    pub disk_bytes_per_record: f64,
}

impl Network {
    /// A devnet with these parameters, `NAME=VALUE`, besides its usual ones.
    pub fn start(binary: &Path, dir: &Path, parameters: &[&str]) -> Result<Self, String> {
        let output = Command::new(binary)
            .args(["devnet", "up", "--json", "--dir"])
            .arg(dir)
            .args(parameters.iter().flat_map(|parameter| ["--set", parameter]))
            .output()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let answer: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("devnet up: {error}: {}", String::from_utf8_lossy(&output.stderr)))?;
        let agencies = answer["data"]["agencies"].as_array().cloned().unwrap_or_default();
        let address =
            |name: &str| agencies.iter().filter_map(|agency| agency[name].as_str().map(str::to_owned)).collect();
        let (nodes, ops): (Vec<String>, _) = (address("api"), address("ops"));
        let pids = agencies.iter().filter_map(|agency| u32::try_from(agency["pid"].as_u64()?).ok()).collect();
        let origin = answer["data"]["network"].as_str().unwrap_or_default();
        if nodes.is_empty() {
            return Err(format!("devnet up: {answer}"));
        }
        let officers = Arc::new(Officers::open(dir, origin, now_ms(), BENCH)?);
        Ok(Self { binary: binary.to_owned(), dir: dir.to_owned(), nodes, ops, pids, officers })
    }

    /// What the network was founded by.
    pub fn genesis(&self) -> Result<Genesis, String> {
        let bytes = std::fs::read(self.dir.join("genesis.json")).map_err(|error| error.to_string())?;
        Genesis::parse(&bytes).map_err(|error| error.to_string())
    }

    /// Hands in the preparation step by step, each final before the next.
    pub async fn prepare(&self, client: &reqwest::Client) -> Result<usize, String> {
        let mut count = 0;
        for step in self.officers.preparation() {
            for chunk in step.chunks(250) {
                let url = format!("{}/api/v1/batches", self.nodes[0]);
                let request = client.post(url).header("content-type", "application/cose").header("prefer", "wait=60");
                let answer: Value = request
                    .body(framed(chunk))
                    .send()
                    .await
                    .map_err(|error| error.to_string())?
                    .json()
                    .await
                    .map_err(|error| error.to_string())?;
                let items = answer["items"].as_array().cloned().unwrap_or_default();
                if let Some(bad) = items.iter().find(|item| item["outcome"] != "applied") {
                    return Err(format!("preparation: {bad}"));
                }
                count += chunk.len();
            }
        }
        Ok(count)
    }

    /// Offers records at a rate for a while and follows them to finality. Once in a network: payments are numbered, because
    /// the second of a day to one payee and of one amount would be a finding (3911).
    pub async fn run(&self, client: &reqwest::Client, rate: f64, span: Duration) -> Result<Run, String> {
        let payments = (rate * span.as_secs_f64() / 3.0).ceil() as u64;
        let signed: Vec<[Signed; 3]> = sign_all(&self.officers, payments);
        let due = schedule(signed, rate);
        let before = (self.cpu_s(), own_cpu_s(), self.disk_bytes(), self.cpu_by_part());
        let verified = self.signatures(client).await?;
        let watch = Arc::new(Watch::default());
        let look = if rate > LATENCY_RATE { LOOK } else { LOOK_CLOSELY };
        let follower = tokio::spawn(follow(client.clone(), self.nodes[0].clone(), Arc::clone(&watch), look));
        let total = due.len();
        let start = Instant::now();
        let submitted = self.offer(client, due, start, &watch).await;
        let drained = Instant::now();
        while drained.elapsed() < DRAIN
            && watch.finals.load(Ordering::Relaxed) + watch.refused.load(Ordering::Relaxed) < total
        {
            tokio::time::sleep(LOOK).await;
        }
        watch.stop.store(true, Ordering::Relaxed);
        follower.await.map_err(|error| error.to_string())??;
        let mut signatures = self.signatures(client).await?;
        for (size, count) in &mut signatures {
            *count -= verified.get(size).copied().unwrap_or(0.0);
        }
        let finals = watch.finals.load(Ordering::Relaxed);
        let seen = watch.seen.lock().map(|found| found.clone()).unwrap_or_default();
        let steady = STEADY_FROM..span;
        let in_steady = seen.iter().filter(|(at, _)| steady.contains(&at.duration_since(start))).count();
        let mut latencies: Vec<f64> = seen.iter().map(|(_, latency_ms)| *latency_ms).collect();
        latencies.sort_by(f64::total_cmp);
        let at = |share: f64| {
            latencies
                .get(((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1)))
                .copied()
                .unwrap_or(f64::NAN)
        };
        let per_record = |seconds: f64| seconds * 1_000.0 / finals.max(1) as f64;
        Ok(Run {
            offered: rate,
            submitted,
            refused: watch.refused.load(Ordering::Relaxed),
            finals,
            rejected: watch.rejected.load(Ordering::Relaxed),
            final_per_second: in_steady as f64 / (steady.end - steady.start).as_secs_f64(),
            p50_ms: at(0.50),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            cpu_ms_per_record: per_record(self.cpu_s() - before.0),
            cpu_by_part: self
                .cpu_by_part()
                .into_iter()
                .map(|(part, s)| (part, per_record(s - before.3.get(part).copied().unwrap_or(0.0))))
                .collect(),
            signatures,
            generator_cpu_ms_per_record: per_record(own_cpu_s() - before.1),
            peak_memory_mib: self.peak_memory_mib(),
            disk_bytes_per_record: (self.disk_bytes() - before.2) / (finals.max(1) * self.nodes.len()) as f64,
        })
    }

    /// The open loop: every beat hands in what is due, whatever became of the earlier ones.
    async fn offer(
        &self,
        client: &reqwest::Client,
        due: Vec<(Duration, Signed)>,
        start: Instant,
        watch: &Arc<Watch>,
    ) -> usize {
        let mut due = due.into_iter().peekable();
        let (mut node, mut submitted, mut calls) = (0, 0, Vec::new());
        while due.peek().is_some() {
            let now = start.elapsed();
            let mut chunk = Vec::new();
            while chunk.len() < 900 && due.peek().is_some_and(|(at, _)| *at <= now) {
                chunk.extend(due.next().map(|(_, signed)| signed));
            }
            if chunk.is_empty() {
                tokio::time::sleep(BEAT / 4).await;
                continue;
            }
            submitted += chunk.len();
            node = (node + 1) % self.nodes.len();
            let (client, url, watch) =
                (client.clone(), format!("{}/api/v1/batches", self.nodes[node]), Arc::clone(watch));
            calls.push(tokio::spawn(hand_in(client, url, chunk, watch)));
            tokio::time::sleep(BEAT / 4).await;
        }
        for call in calls {
            drop(call.await);
        }
        submitted
    }

    /// Signatures of transactions that all nodes verified since they started, by the size of the batch.
    async fn signatures(&self, client: &reqwest::Client) -> Result<BTreeMap<usize, f64>, String> {
        let mut signatures: BTreeMap<usize, f64> = BTreeMap::new();
        for ops in &self.ops {
            let answer = client.get(format!("{ops}/metrics")).send().await.map_err(|error| error.to_string())?;
            let text = answer.text().await.map_err(|error| error.to_string())?;
            for line in text.lines().filter_map(|line| line.strip_prefix(VERIFIED)) {
                let (size, count) = line.split_once("\"} ").ok_or_else(|| format!("{ops}/metrics: {line}"))?;
                let size = size.parse().map_err(|_| format!("{ops}/metrics: {line}"))?;
                *signatures.entry(size).or_default() += count.parse::<f64>().map_err(|error| error.to_string())?;
            }
        }
        Ok(signatures)
    }

    /// User and system time of all nodes.
    fn cpu_s(&self) -> f64 {
        self.pids.iter().map(|pid| cpu_s_of(&pid.to_string())).sum()
    }

    /// What all nodes used, by what their threads are for. What ended threads used is the API's and the network's.
    fn cpu_by_part(&self) -> BTreeMap<&'static str, f64> {
        let mut parts: BTreeMap<&'static str, f64> = BTreeMap::new();
        for pid in &self.pids {
            let mut rest = cpu_s_of(&pid.to_string());
            for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
                let Some(part) = part_of(name.trim()) else { continue };
                let used = cpu_s_of(&format!("{pid}/task/{}", task.file_name().to_string_lossy()));
                rest -= used;
                *parts.entry(part).or_default() += used;
            }
            *parts.entry(NETWORK_AND_API).or_default() += rest;
        }
        parts
    }

    fn peak_memory_mib(&self) -> f64 {
        let peak = |pid: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned();
            line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1_024.0
        };
        self.pids.iter().map(peak).fold(0.0, f64::max)
    }

    fn disk_bytes(&self) -> f64 {
        folder_bytes(&self.dir.join("nodes"))
    }
}

/// However the work on a network ends, its nodes do.
impl Drop for Network {
    fn drop(&mut self) {
        let ended = Command::new(&self.binary).args(["devnet", "down", "--delete", "--dir"]).arg(&self.dir).output();
        if let Err(error) = ended {
            eprintln!("bench: {}: {error}", self.binary.display());
        }
    }
}

/// How a line of the metrics begins that counts verified signatures.
const VERIFIED: &str = "mingzhang_signatures_verified{batch_up_to=\"";

const NETWORK_AND_API: &str = "network and API";

/// What a node's thread is for, by its name.
fn part_of(thread: &str) -> Option<&'static str> {
    match thread {
        "worker" => Some("execute, hash and store"),
        "gossip" => Some("take in batches: decode, verify, store"),
        "admission" | "packing" => Some("admit: door, verify, promise, store"),
        "engine" | "inbound" | "work" => Some("consensus"),
        "sealer" => Some("seals"),
        _ if thread.starts_with("verify") => Some("take in batches: decode, verify, store"),
        _ if thread.starts_with("rocksdb") => Some("store in the background"),
        _ => None,
    }
}

fn folder_bytes(folder: &Path) -> f64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0.0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len() as f64,
        Err(_) => 0.0,
    });
    sizes.sum()
}

fn cpu_s_of(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    // Linux counts in hundredths of a second for every process.
    (ticks(11) + ticks(12)) / 100.0
}

fn own_cpu_s() -> f64 {
    cpu_s_of("self")
}

pub fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(0))
}

fn framed(records: &[Signed]) -> Vec<u8> {
    let mut body = Vec::new();
    for record in records {
        put_counted(&mut body, &record.bytes);
    }
    body
}

fn sign_all(officers: &Officers, payments: u64) -> Vec<[Signed; 3]> {
    use rayon::prelude::*;
    (0..payments).into_par_iter().map(|number| officers.payment("R", number)).collect()
}

/// Requests at an even pace, approvals and confirmations following, so that the sum of all is the rate.
fn schedule(signed: Vec<[Signed; 3]>, rate: f64) -> Vec<(Duration, Signed)> {
    let mut due = Vec::with_capacity(signed.len() * 3);
    for (number, steps) in signed.into_iter().enumerate() {
        let at = Duration::from_secs_f64(number as f64 * 3.0 / rate);
        for (step, record) in steps.into_iter().enumerate() {
            due.push((at + STEP_DELAY * u32::try_from(step).unwrap_or(0), record));
        }
    }
    due.sort_by_key(|(at, _)| *at);
    due
}

/// What is known of the records of a run.
#[derive(Default)]
struct Watch {
    sent: Mutex<HashMap<Hash, Instant>>,
    /// When each became final, and how many milliseconds after it was handed in.
    seen: Mutex<Vec<(Instant, f64)>>,
    finals: AtomicUsize,
    rejected: AtomicUsize,
    refused: AtomicUsize,
    stop: AtomicBool,
}

impl Watch {
    fn saw(&self, leaf: &Hash, outcome: u16) {
        let sent = self.sent.lock().ok().and_then(|mut sent| sent.remove(leaf));
        let Some(sent) = sent else { return };
        if let Ok(mut seen) = self.seen.lock() {
            seen.push((Instant::now(), sent.elapsed().as_secs_f64() * 1_000.0));
        }
        self.finals.fetch_add(1, Ordering::Relaxed);
        if outcome != 0 {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the generator reads of the answer to a batch; parsing the rest would be its own load.
#[derive(Deserialize)]
struct Answers {
    items: Vec<Standing>,
}

/// Refusals carry their HTTP status here, as a number.
#[derive(Deserialize)]
struct Standing {
    #[serde(default, deserialize_with = "text_only")]
    status: Option<String>,
}

fn text_only<'d, D: serde::Deserializer<'d>>(field: D) -> Result<Option<String>, D::Error> {
    Ok(Value::deserialize(field)?.as_str().map(str::to_owned))
}

async fn hand_in(client: reqwest::Client, url: String, chunk: Vec<Signed>, watch: Arc<Watch>) {
    let now = Instant::now();
    if let Ok(mut sent) = watch.sent.lock() {
        sent.extend(chunk.iter().map(|record| (record.id, now)));
    }
    let request = client.post(url).header("content-type", "application/cose").body(framed(&chunk));
    let answer = match request.send().await {
        Ok(response) => response.json::<Answers>().await.ok(),
        Err(_) => None,
    };
    let items = answer.map(|answer| answer.items).unwrap_or_default();
    for (position, record) in chunk.iter().enumerate() {
        let status = items.get(position).and_then(|item| item.status.as_deref());
        let accepted = matches!(status, Some("pending" | "final"));
        if !accepted && watch.sent.lock().ok().and_then(|mut sent| sent.remove(&record.id)).is_some() {
            watch.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads each new block of a node once and marks what it holds.
async fn follow(client: reqwest::Client, node: String, watch: Arc<Watch>, look: Duration) -> Result<(), String> {
    let mut next = height_of(&client, &node).await? + 1;
    while !watch.stop.load(Ordering::Relaxed) {
        let response = client.get(format!("{node}/api/v1/blocks/{next}/raw")).send().await;
        let response = response.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            tokio::time::sleep(look).await;
            continue;
        }
        let bytes = response.bytes().await.map_err(|error| error.to_string())?;
        let mut rest: &[u8] = &bytes;
        while let Some((length, tail)) = rest.split_first_chunk::<2>() {
            let (entry, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)).min(tail.len()));
            rest = tail;
            if let [1, high, low, transaction @ ..] = entry {
                debug_assert_eq!(record_entry(u16::from_be_bytes([*high, *low]), transaction), entry);
                watch.saw(&sha256(&[transaction]), u16::from_be_bytes([*high, *low]));
            }
        }
        next += 1;
    }
    Ok(())
}

async fn height_of(client: &reqwest::Client, node: &str) -> Result<u64, String> {
    let response = client.get(format!("{node}/api/v1/status")).send().await.map_err(|error| error.to_string())?;
    let status: Value = response.json().await.map_err(|error| error.to_string())?;
    status["height"].as_u64().ok_or_else(|| "the node says no height".to_owned())
}

/// A receipt of any record of the newest blocks, as text.
pub async fn any_receipt(client: &reqwest::Client, node: &str) -> Result<String, String> {
    let height = height_of(client, node).await?;
    for height in (1..=height).rev() {
        let url = format!("{node}/api/v1/blocks/{height}/transactions");
        let list: Value =
            client.get(url).send().await.map_err(|e| e.to_string())?.json().await.map_err(|e| e.to_string())?;
        if let Some(id) = list["items"][0]["tx_id"].as_str() {
            let url = format!("{node}/api/v1/transactions/{id}/receipt?wait=20");
            let response = client.get(url).send().await.map_err(|error| error.to_string())?;
            return response.text().await.map_err(|error| error.to_string());
        }
    }
    Err("no record is final".into())
}
