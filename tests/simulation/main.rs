//! Real nodes in a pretended world: consensus, admission, execution, catch-up and store of the node itself, many in one
//! thread under virtual time, over the real rules. `simulation seeds COUNT [FIRST]`, `seed SEED`, `shrink SEED`,
//! `hunt COUNT [FAULT]`; `--json FILE` writes the numbers too. As a test it runs some seeds, and one of them twice.

#![allow(clippy::as_conversions)]

mod audit;
mod byzantine;
mod clerk;
mod council;
mod engine;
mod fleet;
mod founding;
mod oracle;
mod place;
mod plan;
mod random;
mod run;
mod sums;
mod sync;
mod world;

use std::process::ExitCode;

use fleet::{Fleet, attempt, silence_panics};
use plan::Plan;
use sums::Sums;

/// Seeds of an ordinary test run.
const TEST_SEEDS: u64 = 100;
/// From so many seeds on, whatever never happened is a failure.
const ENOUGH_SEEDS: u64 = 100;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let json = words.iter().position(|word| word == "--json").map(|at| words.drain(at..).nth(1).unwrap_or_default());
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    match (words.first().map(String::as_str), number(1)) {
        (Some("seeds"), Some(count)) => seeds(count, number(2).unwrap_or(0), json.as_deref()),
        (Some("seed"), Some(seed)) => replay(&Plan::of(seed)),
        (Some("shrink"), Some(seed)) => shrink(seed),
        (Some("hunt"), Some(count)) => {
            #[cfg(feature = "mutants-by-name")]
            if let Some(name) = words.get(2) {
                assert!(mingzhang_ledger::mutants::choose(name), "nothing was chosen before");
            }
            hunt(count)
        }
        _ => as_test(&words),
    }
}

/// Run by `cargo test`, which may name the tests that it wants, or ask for their list.
fn as_test(words: &[String]) -> ExitCode {
    let named: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let listed = words.iter().any(|word| word == "--list");
    if listed || !(named.is_empty() || named.iter().any(|name| "simulation".contains(name.as_str()))) {
        return ExitCode::SUCCESS;
    }
    let fleet = Fleet::new();
    let twice = [0, 0].map(|seed| attempt(|| fleet.run_here(&Plan::of(seed))));
    if twice[0] != twice[1] {
        println!("FAILED: two runs of one seed differ: {twice:?}");
        return ExitCode::FAILURE;
    }
    seeds(TEST_SEEDS, 0, None)
}

/// Many seeds; the first failure of each worker ends the run.
fn seeds(count: u64, first: u64, json: Option<&str>) -> ExitCode {
    silence_panics();
    let (sums, failures, seconds) = Fleet::new().run_all(first..first + count);
    sums.print(seconds);
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&sums.json(first, seconds)).expect("numbers are JSON");
        std::fs::write(path, text).expect("the file for the numbers can be written");
    }
    for (seed, fault) in &failures {
        println!("seed {seed} FAILED: {fault}");
        println!("  replay:  scripts/simulate nodes seed {seed}");
        println!("  shrink:  scripts/simulate nodes shrink {seed}");
    }
    let zeros = if count >= ENOUGH_SEEDS { sums.zeros() } else { Vec::new() };
    for zero in &zeros {
        println!("FAILED: no {zero} in {} runs, so nothing was shown about it", sums.runs);
    }
    if failures.is_empty() && zeros.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(plan: &Plan) -> ExitCode {
    println!("{plan:#?}");
    match attempt(|| Fleet::new().run_here(plan)) {
        Ok(sums) => {
            Sums::print(&sums, 0.0);
            ExitCode::SUCCESS
        }
        Err(fault) => {
            println!("FAILED: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn shrink(seed: u64) -> ExitCode {
    silence_panics();
    let fleet = Fleet::new();
    let fails = |plan: &Plan| attempt(|| fleet.run_here(plan)).is_err();
    let plan = Plan::of(seed);
    if !fails(&plan) {
        println!("seed {seed} does not fail");
        return ExitCode::SUCCESS;
    }
    replay(&plan.shrunk(fails, 300))
}

/// For a build with a deliberate fault: success means that it was caught by one of so many seeds.
fn hunt(count: u64) -> ExitCode {
    silence_panics();
    let (sums, failures, _) = Fleet::new().run_all(0..count);
    match failures.first() {
        Some((seed, fault)) => {
            println!("nodes, seed {seed}: {}", fault.chars().take(100).collect::<String>());
            ExitCode::SUCCESS
        }
        None => {
            println!("SURVIVED {} seeds", sums.runs);
            ExitCode::FAILURE
        }
    }
}
