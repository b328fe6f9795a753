//! The bench: what this machine can do at best, then real networks of four nodes on it, in one run. Prints a table and
//! writes JSON and a curve. `--short` takes about three minutes, the whole about six.

#![allow(clippy::as_conversions, clippy::cast_precision_loss)]

mod join;
mod limits;
mod network;
mod offer;
mod parts;
mod report;
mod tree;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use mingzhang_ledger::verify::{Authorities, Verdict, receipt};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::network::{LATENCY_RATE, Network, Run};
use crate::offer::Ground;
use crate::parts::Parts;

/// A network that wants short waits votes for more blocks: what such a one would have, in milliseconds between two.
const BRISK_INTERVAL: &str = "min_block_interval=50";

/// Measures this machine's limits and a real network of four nodes on it.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Eight seconds a point instead of twenty.
    #[arg(long)]
    short: bool,
    /// So many seconds a point.
    #[arg(long, conflicts_with = "short", value_parser = clap::value_parser!(u64).range(8..=3_600))]
    seconds: Option<u64>,
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
    #[arg(long, value_delimiter = ',', value_parser = rate)]
    rates: Vec<f64>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (1.0..=1e6).contains(rate));
    rate.ok_or_else(|| "a rate is a number from 1 to 1000000".to_owned())
}

impl Args {
    /// How long a point of the curve lasts.
    fn span(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.short { 8 } else { 20 }))
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
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    eprintln!("machine: {}", report::machine());
    let join = join::measure(&node()?, &scratch.path().join("devnet"), accounts)?;
    println!("{}", join.json());
    Ok(())
}

fn only_tree() -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let leaf_updates = tree::updates_per_second(&scratch.path().join("tree"))?;
    println!("state tree, store included: {leaf_updates:.0} leaf updates/s on one core");
    Ok(())
}

fn only_parts(times: u64) -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let ground = Ground::new(node()?, scratch.path().to_owned(), Duration::ZERO);
    run(ground.parts(times))?.iter().for_each(|parts| println!("{}", parts.json()));
    Ok(())
}

/// The node that lies beside this program.
fn node() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(own.with_file_name("mingzhang-node"))
}

/// Runs to the end, or until it is interrupted: what is dropped then ends its network, and nobody waits for the rest.
fn run<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            // Asked first, so that the signals are waited for before the work begins.
            biased;
            ended = interrupted() => ended,
            outcome = work => outcome,
        }
    });
    runtime.shutdown_background();
    outcome
}

async fn interrupted<T>() -> Result<T, String> {
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    Err("interrupted; its network has been ended".into())
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
    let ground = Ground::new(node()?, scratch.path().to_owned(), args.span());
    let outcome = run(on_networks(&ground, bound, &args.rates))?;
    let sustained = outcome.curve.iter().filter(|run| offer::holds(run));
    let sustained = sustained.max_by(|one, other| one.final_per_second.total_cmp(&other.final_per_second));
    let best = sustained.map_or(0.0, |run| run.final_per_second);
    // What a signature costs depends on how many are verified together: the bound is that of the batches the nodes had.
    let as_used = sustained.and_then(|run| limits.verifications(&run.signatures)).map(|rate| cores * rate / 4.0);
    let share = |bound: f64| (best / bound * 1_000.0).round() / 1_000.0;
    println!("{}", report::table(&outcome.curve));
    println!("{}", report::cpu_table(&outcome.curve));
    println!("one node without a network, microseconds of one core a record: {}", outcome.parts.json());
    if sustained.is_none() {
        println!("sustained with p99 < 1 s: none of the rates that were offered; below, the lowest stands for it");
    } else {
        println!("sustained with p99 < 1 s: {best:.0} records/s");
        println!("= {:.3} of the signature bound of {bound:.0}/s in batches of 256", share(bound));
    }
    if let Some(as_used) = as_used {
        println!("= {:.3} of the signature bound of {as_used:.0}/s, in batches as the nodes had them", share(as_used));
    }
    println!("at 100 records/s: p50 {:.0} ms, p99 {:.0} ms", outcome.calm.p50_ms, outcome.calm.p99_ms);
    println!("the same with {BRISK_INTERVAL}: p50 {:.0} ms, p99 {:.0} ms", outcome.brisk.p50_ms, outcome.brisk.p99_ms);
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
        "calm": report::run_json(&outcome.calm), "calm_with_brisk_interval": report::run_json(&outcome.brisk), "twice": report::run_json(&outcome.twice),
        "parts_us_per_record": outcome.parts.json(),
        "receipt_check_ms": (outcome.receipt_ms * 1_000.0).round() / 1_000.0,
    });
    report::write(&folder, &result, &outcome.curve).map_err(|error| error.to_string())?;
    println!("written to {}", folder.display());
    Ok(())
}

/// What the networks showed.
struct Outcome {
    parts: Parts,
    calm: Run,
    brisk: Run,
    curve: Vec<Run>,
    twice: Run,
    receipt_ms: f64,
}

async fn on_networks(ground: &Ground, bound: f64, given: &[f64]) -> Result<Outcome, String> {
    let parts = ground.parts(1).await?.first().copied().ok_or("nothing was measured")?;
    let calm = ground.at(LATENCY_RATE, &[]).await?;
    let curve = ground.curve(bound, given).await?;
    let (twice, receipt_ms) = ground.twice(&curve, receipt_check_ms).await?;
    // One that makes more blocks.
    let brisk = ground.at(LATENCY_RATE, &[BRISK_INTERVAL]).await?;
    Ok(Outcome { parts, calm, brisk, curve, twice, receipt_ms })
}

/// Time of one offline check of a receipt, from its text and the genesis.
async fn receipt_check_ms(network: &Network, client: &reqwest::Client) -> Result<f64, String> {
    let text = network::any_receipt(client, &network.nodes[0]).await?;
    let genesis = network.genesis()?;
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
