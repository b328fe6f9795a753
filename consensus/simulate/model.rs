//! Explores the model of consensus completely and prints how many states that took. `model small` or `model all`;
//! `--json FILE` writes the numbers too. Fails where a property does not hold.

use std::process::ExitCode;

use mingzhang_consensus::model;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    #[cfg(feature = "mutants-by-name")]
    if let Some(name) = words.iter().find(|word| word.starts_with("mutant-")) {
        assert!(mingzhang_consensus::mutants::choose(name), "nothing was chosen before");
    }
    let explored = if words.iter().any(|word| word == "all") { model::all() } else { model::small() };
    for world in &explored {
        println!("{}: {} states", world.name, world.states);
        for (property, steps) in &world.violated {
            println!("  VIOLATED in {steps} steps: {property}");
        }
    }
    if let Some(at) = words.iter().position(|word| word == "--json") {
        let worlds =
            explored.iter().map(|world| (world.name, world.states)).collect::<std::collections::BTreeMap<_, _>>();
        let text = serde_json::to_string_pretty(&worlds).expect("numbers are JSON");
        let path = words.get(at + 1).map_or("model.json", String::as_str);
        std::fs::write(path, text).expect("the file for the numbers can be written");
    }
    if explored.iter().all(|world| world.violated.is_empty()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
