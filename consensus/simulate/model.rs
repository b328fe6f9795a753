//! Explores the model of consensus completely and prints how many states that took, and how long. `model small` or
//! `model all`; `--json FILE` writes the numbers too. Fails where a property does not hold.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::process::ExitCode;
// This program is no part of the pure crate: it measures its own speed.
#[allow(clippy::disallowed_types)]
use std::time::Instant;

use mingzhang_consensus::model::{self, Explored};

#[allow(clippy::disallowed_types)]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    #[cfg(feature = "mutants-by-name")]
    if let Some(name) = words.iter().find(|word| word.starts_with("mutant-")) {
        assert!(mingzhang_consensus::mutants::choose(name), "nothing was chosen before");
    }
    let (started, mut before) = (Instant::now(), 0.0);
    let (mut worlds, mut holds) = (BTreeMap::new(), true);
    let mut tell = |explored: Explored| {
        let seconds = started.elapsed().as_secs_f64() - before;
        before += seconds;
        println!("{}: {} states in {seconds:.1} s", explored.name, explored.states);
        for (property, steps) in &explored.violated {
            println!("  VIOLATED in {steps} steps: {property}");
            holds = false;
        }
        worlds.insert(explored.name, explored.states);
    };
    if words.iter().any(|word| word == "all") {
        model::all(&mut tell)
    } else {
        model::small(&mut tell)
    }
    println!("all of them in {:.1} s", started.elapsed().as_secs_f64());
    if let Some(at) = words.iter().position(|word| word == "--json") {
        let text = serde_json::to_string_pretty(&worlds).expect("numbers are JSON");
        let path = words.get(at + 1).map_or("model.json", String::as_str);
        std::fs::write(path, text).expect("the file for the numbers can be written");
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
