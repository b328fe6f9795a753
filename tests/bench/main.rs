//! The bench: what this machine can do at best, then a real network of four nodes on it, in one run. Prints a table and
//! writes JSON and a curve. `--short` takes about a minute, the whole about five.

#![allow(clippy::as_conversions, clippy::cast_precision_loss)]

mod join;
mod limits;
mod network;
mod parts;
mod report;
mod tree;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use mingzhang_genesis::Genesis;
use mingzhang_ledger::verify::{Authorities, Verdict, receipt};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::network::{LATENCY_RATE, Network, Run};
use crate::parts::Parts;
use crate::report::LATENCY_LIMIT_MS;

/// Offered rates of the curve, as shares of the signature bound.
const SHARES: [f64; 7] = [0.02, 0.05, 0.08, 0.10, 0.12, 0.16, 0.20];
/// A network that wants short waits votes for more blocks: what such a one would have, in milliseconds between two.
const BRISK_INTERVAL: &str = "min_block_interval=50";

/// Measures this machine's limits and a real network of four nodes on it.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Eight seconds a point instead of twenty.
    #[arg(long)]
    short: bool,
    /// Only the parts of one node, without a network; so many times, while its state grows.
    #[arg(long, value_name = "TIMES", num_args = 0..=1, default_missing_value = "1", value_parser = parts::times())]
    parts: Option<u64>,
    /// Only the state tree with its store.
    #[arg(long)]
    tree: bool,
    /// Only the joining of a new node from a state of so many accounts.
    #[arg(long, value_name = "ACCOUNTS", num_args = 0..=1, default_missing_value = "1000000")]
    join: Option<u64>,
    /// Offer these records per second instead of shares of the signature bound.
    #[arg(long, value_delimiter = ',')]
    rates: Vec<f64>,
}

impl Args {
    /// How long a point of the curve lasts.
    fn span(&self) -> Duration {
        Duration::from_secs(if self.short { 8 } else { 20 })
    }
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let done = match (args.join, args.parts) {
        (Some(accounts), _) => only_join(accounts),
        (None, Some(times)) => only_parts(times),
        (None, None) if args.tree => only_tree(),
        (None, None) => bench(&args),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// A node that joins, without any load.
fn only_join(accounts: u64) -> Result<(), String> {
    let home = std::env::current_exe().map_err(|error| error.to_string())?;
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    eprintln!("machine: {}", report::machine());
    let join = join::measure(&home.with_file_name("mingzhang-node"), &scratch.path().join("devnet"), accounts)?;
    println!("{}", join.json());
    Ok(())
}

fn only_tree() -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let leaf_updates = tree::updates_per_second(&scratch.path().join("tree"))?;
    println!("state tree, store included: {leaf_updates:.0} leaf updates/s on one core");
    Ok(())
}

/// The parts of one node; the devnet is made for its genesis and officers only.
fn only_parts(times: u64) -> Result<(), String> {
    let home = std::env::current_exe().map_err(|error| error.to_string())?;
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let network = Network::start(&home.with_file_name("mingzhang-node"), &scratch.path().join("devnet"), &[])?;
    let parts = network.parts(&scratch.path().join("parts"), times);
    network.stop()?;
    parts?.iter().for_each(|parts| println!("{}", parts.json()));
    Ok(())
}

fn bench(args: &Args) -> Result<(), String> {
    let home = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = home.parent().and_then(Path::parent).map_or_else(|| PathBuf::from("."), |target| target.join("bench"));
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let machine = report::machine();
    eprintln!("machine: {machine}");
    let limits = limits::measure(scratch.path())?;
    let leaf_updates = tree::updates_per_second(&scratch.path().join("tree"))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let bound = cores * limits.batched_verifications / 4.0;
    eprintln!("limits of one core: {}", limits.json());
    eprintln!("state tree: {leaf_updates:.0} leaf updates/s, store included");
    eprintln!("signature bound of four nodes here, in batches of 256: {bound:.0} records/s");
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let outcome = runtime.block_on(on_network(&home, &scratch.path().join("devnet"), bound, args))?;
    let brisk = runtime.block_on(brisk(&home, &scratch.path().join("brisk"), args))?;
    let within = outcome.curve.iter().filter(|run| run.p99_ms <= LATENCY_LIMIT_MS && run.refused == 0);
    let sustained = within.max_by(|one, other| one.final_per_second.total_cmp(&other.final_per_second));
    let best = sustained.map_or(0.0, |run| run.final_per_second);
    // What a signature costs depends on how many are verified together: the bound is that of the batches the nodes had.
    let as_used = sustained.and_then(|run| limits.verifications(&run.signatures)).map(|rate| cores * rate / 4.0);
    let share = |bound: f64| (best / bound * 1_000.0).round() / 1_000.0;
    println!("{}", report::table(&outcome.curve));
    println!("{}", report::cpu_table(&outcome.curve));
    println!("one node without a network, microseconds of one core a record: {}", outcome.parts.json());
    println!("sustained with p99 < 1 s: {best:.0} records/s");
    if let Some(as_used) = as_used {
        println!("= {:.3} of the signature bound of {as_used:.0}/s, in batches as the nodes had them", share(as_used));
    }
    println!("= {:.3} of the signature bound of {bound:.0}/s in batches of 256", share(bound));
    println!("at 100 records/s: p50 {:.0} ms, p99 {:.0} ms", outcome.calm.p50_ms, outcome.calm.p99_ms);
    println!("the same with {BRISK_INTERVAL}: p50 {:.0} ms, p99 {:.0} ms", brisk.p50_ms, brisk.p99_ms);
    println!("five durable writes here and 50 ms: {:.1} ms", 5_000.0 / limits.durable_writes + 50.0);
    println!(
        "at twice the sustained rate ({:.0}/s): {:.0} final/s, {} of {} refused with 429, memory {:.0} MiB a node",
        outcome.twice.offered,
        outcome.twice.final_per_second,
        outcome.twice.refused,
        outcome.twice.submitted,
        outcome.twice.peak_memory_mib
    );
    println!("offline receipt check: {:.3} ms", outcome.receipt_ms);
    println!("state tree, store included: {leaf_updates:.0} leaf updates/s on one core");
    let result = json!({
        "machine": machine, "limits": limits.json(), "signature_bound_per_second": bound.round(),
        "state_leaf_updates_per_second": leaf_updates.round(),
        "curve": outcome.curve.iter().map(report::run_json).collect::<Vec<_>>(),
        "sustained_per_second": best.round(), "share_of_signature_bound": share(bound),
        "signature_bound_in_batches_as_used_per_second": as_used.map(f64::round),
        "share_of_signature_bound_in_batches_as_used": as_used.map(share),
        "calm": report::run_json(&outcome.calm), "calm_with_brisk_interval": report::run_json(&brisk), "twice": report::run_json(&outcome.twice),
        "parts_us_per_record": outcome.parts.json(),
        "receipt_check_ms": (outcome.receipt_ms * 1_000.0).round() / 1_000.0,
    });
    report::write(&folder, &result, &outcome.curve).map_err(|error| error.to_string())?;
    println!("written to {}", folder.display());
    Ok(())
}

struct Outcome {
    curve: Vec<Run>,
    calm: Run,
    twice: Run,
    receipt_ms: f64,
    parts: Parts,
}

async fn on_network(home: &Path, dir: &Path, bound: f64, args: &Args) -> Result<Outcome, String> {
    let binary = home.with_file_name("mingzhang-node");
    let network = Network::start(&binary, dir, &[])?;
    let parts = network.parts(&dir.with_file_name("parts"), 1);
    let outcome = match parts.and_then(|parts| parts.first().copied().ok_or_else(|| "nothing was measured".into())) {
        Ok(parts) => tokio::select! {
            outcome = measured(&network, bound, args, parts) => outcome,
            ended = interrupted() => ended,
        },
        Err(error) => Err(error),
    };
    network.stop()?;
    outcome
}

/// Whoever ends the bench does not leave its four nodes running.
async fn interrupted<T>() -> Result<T, String> {
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    Err("interrupted; its network has been ended".into())
}

/// Latency at a low rate in a network of its own that makes more blocks.
async fn brisk(home: &Path, dir: &Path, args: &Args) -> Result<Run, String> {
    let network = Network::start(&home.with_file_name("mingzhang-node"), dir, &[BRISK_INTERVAL])?;
    let measured = async {
        let client = client()?;
        network.prepare(&client).await?;
        network.run(&client, "Q", LATENCY_RATE, args.span()).await
    };
    let run = tokio::select! {
        run = measured => run,
        ended = interrupted() => ended,
    };
    network.stop()?;
    run
}

fn client() -> Result<reqwest::Client, String> {
    let tls = mingzhang_client::tls::settings(&[]).map_err(|failure| failure.detail)?;
    reqwest::Client::builder().tls_backend_preconfigured(tls).build().map_err(|error| error.to_string())
}

async fn measured(network: &Network, bound: f64, args: &Args, parts: Parts) -> Result<Outcome, String> {
    let (client, span) = (client()?, args.span());
    let prepared = network.prepare(&client).await?;
    eprintln!("prepared {prepared} records");
    let calm = network.run(&client, "Q", LATENCY_RATE, span).await?;
    let mut curve: Vec<Run> = Vec::new();
    let shares = SHARES.iter().map(|share| (bound * share).round()).collect();
    let rates: Vec<f64> = if args.rates.is_empty() { shares } else { args.rates.clone() };
    for (number, rate) in rates.into_iter().enumerate() {
        let run = network.run(&client, &format!("R{number}x"), rate, span).await?;
        eprintln!("{}", report::run_json(&run));
        let ends = run.p99_ms > LATENCY_LIMIT_MS;
        curve.push(run);
        if ends {
            break;
        }
    }
    let best = curve.iter().filter(|run| run.p99_ms <= LATENCY_LIMIT_MS).map(|run| run.offered).fold(0.0, f64::max);
    let twice = network.run(&client, "T", (best * 2.0).max(LATENCY_RATE), span).await?;
    let receipt_ms = receipt_check_ms(network, &client).await?;
    Ok(Outcome { curve, calm, twice, receipt_ms, parts })
}

/// Time of one offline check of a receipt, from its text and the genesis.
async fn receipt_check_ms(network: &Network, client: &reqwest::Client) -> Result<f64, String> {
    let text = network::any_receipt(client, &network.nodes[0]).await?;
    let bytes = std::fs::read(network.dir.join("genesis.json")).map_err(|error| error.to_string())?;
    let genesis = Genesis::parse(&bytes).map_err(|error| error.to_string())?;
    let authorities = Authorities::new(&genesis.origin, genesis.hash, genesis.set.clone());
    let rounds = 200;
    let start = Instant::now();
    for _ in 0..rounds {
        if receipt(&authorities, &text, None).report.verdict != Verdict::Verified {
            return Err("the receipt does not verify".into());
        }
    }
    Ok(start.elapsed().as_secs_f64() * 1_000.0 / f64::from(rounds))
}
