//! Writes docs/ASSURANCE.md from what the runs left in target/assurance. A section whose run is absent says so: nothing
//! is written here by hand.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

const FOLDER: &str = "target/assurance";
const PAGE: &str = "docs/ASSURANCE.md";

/// Runs by others, each shown as its JSON says, where it exists: file, title, command.
const OTHERS: [(&str, &str, &str); 4] = [
    ("chaos.json", "Processes under fire", "make chaos"),
    ("fuzz.json", "Fuzzing", "make fuzz"),
    ("bad_inputs.json", "Bad inputs", "make test"),
    ("verifiers.json", "Verifiers written by others", "make test"),
];

pub fn write() -> ExitCode {
    let mut page = String::from("# Assurance\n\nWritten by `make assurance` from the output of the runs.\n");
    simulation(&mut page, "Simulation of the consensus", "simulation.json");
    simulation(&mut page, "Simulation of whole nodes over the real ledger", "nodes.json");
    model(&mut page);
    mutants(&mut page);
    traffic(&mut page);
    for (file, title, command) in OTHERS {
        section(&mut page, title);
        match read(file) {
            Some(value) => {
                flat(&mut page, &value);
                parts(&mut page, &value);
            }
            None => absent(&mut page, command),
        }
    }
    std::fs::write(PAGE, page).expect("the page can be written");
    println!("{PAGE}");
    ExitCode::SUCCESS
}

fn read(file: &str) -> Option<Value> {
    let text = std::fs::read_to_string(format!("{FOLDER}/{file}")).ok()?;
    Some(serde_json::from_str(&text).expect("a run writes JSON"))
}

fn line(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("writing to a string cannot fail");
}

fn section(page: &mut String, title: &str) {
    line(page, &format!("\n## {title}\n"));
}

fn absent(page: &mut String, command: &str) {
    line(page, &format!("Not run here: `{command}`."));
}

/// A number with few digits, or the text of anything else.
fn shown(value: &Value) -> String {
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(number) => format!("{number:.1}"),
        None => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

fn flat(page: &mut String, value: &Value) {
    line(page, "| | |");
    line(page, "|---|---|");
    for (name, value) in value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_object()) {
        line(page, &format!("| {} | {} |", name.replace('_', " "), shown(value)));
    }
}

/// Each part of a run's numbers that has names of its own, as a table of its own.
fn parts(page: &mut String, value: &Value) {
    for (name, part) in value.as_object().into_iter().flatten() {
        let Some(rows) = part.as_object().filter(|rows| !rows.is_empty()) else { continue };
        let name = name.replace('_', " ");
        line(page, &format!("\n| {name} | |"));
        line(page, "|---|---|");
        for (row, value) in rows {
            line(page, &format!("| {} | {} |", row.replace('_', " "), shown(value).replace('|', "/")));
        }
    }
}

fn simulation(page: &mut String, title: &str, file: &str) {
    section(page, title);
    let Some(value) = read(file) else { return absent(page, "make simulate") };
    flat(page, &value);
    parts(page, &value);
}

fn model(page: &mut String) {
    section(page, "Model, explored completely");
    let Some(value) = read("model.json") else { return absent(page, "make model") };
    line(page, "| world | states |");
    line(page, "|---|---|");
    for (name, states) in value.as_object().into_iter().flatten() {
        line(page, &format!("| {name} | {} |", shown(states)));
    }
}

fn mutants(page: &mut String) {
    section(page, "Deliberate faults");
    let Some(Value::Array(rows)) = read("mutants.json") else { return absent(page, "make mutants") };
    let caught = rows.iter().filter(|row| row.get("caught") == Some(&Value::Bool(true))).count();
    line(page, &format!("{caught} of {} caught by a simulation.\n", rows.len()));
    line(page, "| fault | caught by |");
    line(page, "|---|---|");
    for row in &rows {
        let text = |name: &str| row.get(name).map(shown).unwrap_or_default().replace('|', "/");
        line(page, &format!("| {} | {} |", text("mutant"), text("by")));
    }
}

fn traffic(page: &mut String) {
    section(page, "Messages and bytes per block");
    let Some(Value::Array(rows)) = read("traffic.json") else { return absent(page, "make simulate") };
    line(page, "| n | messages | bytes of votes | bytes of a proposal | difference from the paper, % |");
    line(page, "|---|---|---|---|---|");
    for row in &rows {
        let text = |name: &str| row.get(name).map(shown).unwrap_or_default();
        let (n, messages, votes) = (text("members"), text("messages"), text("vote_bytes"));
        line(
            page,
            &format!("| {n} | {messages} | {votes} | {} | {} |", text("proposal_bytes"), text("difference_percent")),
        );
    }
}
