//! Runs the pretended world by seeds, on all processors, and says what it met. A failing seed is printed with the
//! command that replays it.
//!
//! `simulate seeds COUNT [FIRST]` · `simulate seed SEED` · `simulate shrink SEED` · `simulate hunt COUNT` · `simulate traffic ROUNDS` ·
//! `simulate assurance`; `--json FILE` writes the numbers too.

// This program is no part of the pure crate: it reads and writes files.
#![allow(clippy::disallowed_methods)]

mod assurance;
mod fleet;

use std::process::ExitCode;

use mingzhang_consensus::simulation::plan::Plan;
use mingzhang_consensus::simulation::run::{Sums, run};
use mingzhang_consensus::simulation::stories;
use mingzhang_consensus::simulation::traffic::{PAPER, Traffic, measure};

const USAGE: &str = "simulate (seeds COUNT [FIRST] | seed SEED | shrink SEED | hunt COUNT [FAULT] | traffic ROUNDS |
\x20   assurance) [--json FILE]";

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let json = words.iter().position(|word| word == "--json").map(|at| words.drain(at..).nth(1).unwrap_or_default());
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    fleet::silence_panics();
    match (words.first().map(String::as_str), number(1)) {
        (Some("seeds"), Some(count)) => seeds(count, number(2).unwrap_or(0), json.as_deref()),
        (Some("seed"), Some(seed)) => replay(&Plan::of(seed)),
        (Some("shrink"), Some(seed)) => shrink(seed),
        (Some("traffic"), Some(rounds)) => traffic(rounds, json.as_deref()),
        (Some("assurance"), None) => assurance::write(),
        (Some("hunt"), Some(count)) => {
            #[cfg(feature = "mutants-by-name")]
            if let Some(name) = words.get(2) {
                assert!(mingzhang_consensus::mutants::choose(name), "nothing was chosen before");
            }
            hunt(count)
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::FAILURE
        }
    }
}

/// Many seeds; the first failure of each worker ends the run.
fn seeds(count: u64, first: u64, json: Option<&str>) -> ExitCode {
    let (sums, failures, seconds) = fleet::run_all(first..first + count, |seed| run(&Plan::of(seed)));
    print_sums(&sums, seconds);
    if let Some(path) = json {
        let text = as_json(&sums, first, seconds);
        std::fs::write(path, text).expect("the file for the numbers can be written");
    }
    for (seed, fault) in &failures {
        println!("seed {seed} FAILED: {fault}");
        println!("  replay:  scripts/simulate seed {seed}");
        println!("  shrink:  scripts/simulate shrink {seed}");
    }
    let zeros = if count >= 1_000 { sums.zeros() } else { Vec::new() };
    for zero in &zeros {
        println!("FAILED: no {zero} in {} runs, so nothing was shown about it", sums.runs);
    }
    if failures.is_empty() && zeros.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_sums(sums: &Sums, seconds: f64) {
    let hours = sums.virtual_ms as f64 / 3_600_000.0;
    println!("seeds {}, simulated hours {hours:.1}, in {seconds:.1} s", sums.runs);
    println!("blocks {}, records {}, changes of epoch {}", sums.blocks, sums.records, sums.epochs);
    println!("messages {}, bytes {}, pieces of evidence {}", sums.messages, sums.bytes, sums.evidence);
    println!("invariant checks {}, history {:016x}", sums.checks, sums.history);
    for (kind, count) in &sums.faults {
        println!("  fault {kind}: {count}");
    }
}

fn as_json(sums: &Sums, first: u64, seconds: f64) -> String {
    let value = serde_json::json!({
        "first_seed": first,
        "seeds": sums.runs,
        "seconds": seconds,
        "simulated_hours": sums.virtual_ms as f64 / 3_600_000.0,
        "blocks": sums.blocks,
        "records": sums.records,
        "epochs": sums.epochs,
        "messages": sums.messages,
        "bytes": sums.bytes,
        "evidence": sums.evidence,
        "checks": sums.checks,
        "faults": sums.faults,
        "history": format!("{:016x}", sums.history),
    });
    serde_json::to_string_pretty(&value).expect("numbers are JSON")
}

fn replay(plan: &Plan) -> ExitCode {
    println!("{plan:#?}");
    match fleet::attempt(|| run(plan)) {
        Ok(sums) => {
            print_sums(&sums, 0.0);
            ExitCode::SUCCESS
        }
        Err(fault) => {
            println!("FAILED: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn shrink(seed: u64) -> ExitCode {
    let fails = |plan: &Plan| fleet::attempt(|| run(plan)).is_err();
    let plan = Plan::of(seed);
    if !fails(&plan) {
        println!("seed {seed} does not fail");
        return ExitCode::SUCCESS;
    }
    replay(&plan.shrunk(fails, 2_000))
}

/// For a build with a deliberate fault: success means that it was caught, by a story or by one of so many seeds.
fn hunt(count: u64) -> ExitCode {
    for story in stories::all() {
        for seed in 0..story.seeds {
            if let Err(fault) = fleet::attempt(|| (story.tell)(seed)) {
                println!("story {} ({seed}): {}", story.name, first_words(&fault));
                return ExitCode::SUCCESS;
            }
        }
    }
    let (sums, failures, _) = fleet::run_all(0..count, |seed| run(&Plan::of(seed)));
    match failures.first() {
        Some((seed, fault)) => {
            println!("seed {seed}: {}", first_words(fault));
            ExitCode::SUCCESS
        }
        None => {
            println!("SURVIVED all stories and {} seeds", sums.runs);
            ExitCode::FAILURE
        }
    }
}

/// Messages and bytes per block against the paper; more than a fifth off is a failure.
fn traffic(rounds: u64, json: Option<&str>) -> ExitCode {
    let mut rows = Vec::new();
    let mut far = false;
    println!(
        "n, blocks, messages a block, bytes of votes, bytes of a proposal; in brackets the difference from the paper"
    );
    for (members, ..) in PAPER {
        let Traffic { blocks, messages, vote_bytes, proposal_bytes, .. } = measure(members, rounds);
        let traffic = Traffic { members, blocks, messages, vote_bytes, proposal_bytes };
        let [a, b, c] = traffic.differences().expect("a size that stands on paper");
        println!("{members}, {blocks}, {messages} ({a} %), {vote_bytes} ({b} %), {proposal_bytes} ({c} %)");
        far |= [a, b, c].iter().any(|percent| percent.abs() > 20);
        rows.push(serde_json::json!({
            "members": members, "blocks": blocks, "messages": messages, "vote_bytes": vote_bytes,
            "proposal_bytes": proposal_bytes, "difference_percent": [a, b, c],
        }));
    }
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&rows).expect("numbers are JSON");
        std::fs::write(path, text).expect("the file for the numbers can be written");
    }
    if far { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn first_words(fault: &str) -> String {
    fault.chars().take(100).collect()
}
