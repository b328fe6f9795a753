//! The bench's result: a table for people, JSON for machines, a curve as SVG.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::network::Run;

/// p99 above this ends the curve.
pub const LATENCY_LIMIT_MS: f64 = 1_000.0;

pub fn run_json(run: &Run) -> Value {
    let tenth = |number: f64| (number * 10.0).round() / 10.0;
    let thousandth = |number: f64| (number * 1_000.0).round() / 1_000.0;
    json!({
        "offered_per_second": run.offered, "submitted": run.submitted, "final": run.finals, "rejected_by_rule": run.rejected,
        "refused_429": run.refused, "final_per_second": run.final_per_second.round(), "p50_ms": tenth(run.p50_ms),
        "p95_ms": tenth(run.p95_ms), "p99_ms": tenth(run.p99_ms),
        "nodes_cpu_ms_per_record": thousandth(run.cpu_ms_per_record),
        "nodes_cpu_ms_per_record_by_part":
            run.cpu_by_part.iter().map(|(part, ms)| (*part, thousandth(*ms))).collect::<BTreeMap<_, _>>(),
        "signatures_by_size_of_batch":
            run.signatures.iter().map(|(size, count)| (size.to_string(), *count)).collect::<BTreeMap<_, _>>(),
        "generator_cpu_ms_per_record": thousandth(run.generator_cpu_ms_per_record),
        "peak_memory_mib_per_node": run.peak_memory_mib.round(), "disk_bytes_per_record_and_node": run.disk_bytes_per_record.round(),
    })
}

/// The curve as a Markdown table.
pub fn table(runs: &[Run]) -> String {
    let mut text = String::from(
        "| offered/s | final/s | p50 ms | p95 ms | p99 ms | refused | rejected by rule | CPU ms/record, 4 nodes | generator CPU ms | memory MiB/node | disk B/record and node |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for run in runs {
        // Writing to a String cannot fail.
        let written = writeln!(
            text,
            "| {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {} | {:.3} | {:.3} | {:.0} | {:.0} |",
            run.offered,
            run.final_per_second,
            run.p50_ms,
            run.p95_ms,
            run.p99_ms,
            run.refused,
            run.rejected,
            run.cpu_ms_per_record,
            run.generator_cpu_ms_per_record,
            run.peak_memory_mib,
            run.disk_bytes_per_record
        );
        debug_assert!(written.is_ok());
    }
    text
}

/// CPU of all nodes by part, a column for each run, as a Markdown table.
pub fn cpu_table(runs: &[Run]) -> String {
    let cell = |text: String, table: String| table + &text + " | ";
    let rates = runs
        .iter()
        .fold("| CPU ms/record, 4 nodes | ".to_owned(), |row, run| cell(format!("{:.0}/s", run.offered), row));
    let line = "|---".repeat(runs.len() + 1);
    let parts: BTreeSet<&str> = runs.iter().flat_map(|run| run.cpu_by_part.keys().copied()).collect();
    let rows = parts.into_iter().map(|part| {
        let value = |run: &Run| format!("{:.3}", run.cpu_by_part.get(part).copied().unwrap_or(0.0));
        runs.iter().fold(format!("| {part} | "), |row, run| cell(value(run), row))
    });
    let rows: Vec<String> = rows.collect();
    format!("{}\n{line}|\n{}\n", rates.trim_end(), rows.join("\n"))
}

/// Final records per second (bars of dots) against what was offered, and p99 beside each point.
pub fn curve(runs: &[Run]) -> String {
    let widest = runs.iter().map(|run| run.offered.max(run.final_per_second)).fold(1.0, f64::max);
    let (width, height, margin) = (640.0, 360.0, 60.0);
    let x = |rate: f64| margin + rate / widest * (width - 2.0 * margin);
    let y = |rate: f64| height - margin - rate / widest * (height - 2.0 * margin);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<title>final records per second against offered</title>\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n<path d=\"M{margin} {margin} V{0} H{1}\" fill=\"none\" stroke=\"black\"/>\n<text x=\"{margin}\" y=\"40\">final records/s (p99 in ms beside each point)</text>\n<text x=\"{2}\" y=\"{3}\" text-anchor=\"end\">offered records/s, up to {widest:.0}</text>\n",
        height - margin,
        width - margin,
        width - margin,
        height - 20.0
    );
    let points: Vec<String> =
        runs.iter().map(|run| format!("{:.1},{:.1}", x(run.offered), y(run.final_per_second))).collect();
    svg.push_str(&format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1a5fb4\" stroke-width=\"2\"/>\n",
        points.join(" ")
    ));
    for run in runs {
        let colour = if run.p99_ms <= LATENCY_LIMIT_MS { "#1a5fb4" } else { "#c01c28" };
        let (cx, cy) = (x(run.offered), y(run.final_per_second));
        svg.push_str(&format!(
            "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"4\" fill=\"{colour}\"/><text x=\"{cx:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0} ({:.0})</text>\n",
            cy - 10.0,
            run.final_per_second,
            run.p99_ms
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

/// Where the kernel says for which memory it gives pages of 64 KB.
const LARGER_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled";

/// Processor and cores of this machine, how the kernel schedules this process and the nodes that inherit it, and whether it
/// gives them larger pages.
pub fn machine() -> Value {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches([' ', '\t', ':']);
    let flags = info.lines().find(|line| line.starts_with("flags")).unwrap_or("");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "processor": model, "cores": cores, "avx512_ifma": flags.contains("avx512ifma"), "signatures": arithmetic(flags),
        "load_before": load.split(' ').next(),
        "scheduling": scheduling(&std::fs::read_to_string("/proc/self/sched").unwrap_or_default()),
        "pages_of_64_kb": chosen(&std::fs::read_to_string(LARGER_PAGES).unwrap_or_default()),
    })
}

/// With which instructions signatures are verified: the most that the programs were built for and the processor has.
fn arithmetic(flags: &str) -> &'static str {
    let avx512 = cfg!(curve25519_dalek_backend = "avx512");
    if avx512 && flags.contains("avx512ifma") && flags.contains("avx512vl") {
        "AVX-512"
    } else if (avx512 || cfg!(curve25519_dalek_backend = "simd")) && flags.contains("avx2") {
        "AVX2"
    } else {
        "plain"
    }
}

/// Which of its settings the kernel has put in brackets.
fn chosen(told: &str) -> &str {
    told.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("not told", |(setting, _)| setting)
}

/// The policy, and how long a thread runs before another takes its turn, as far as the kernel tells.
fn scheduling(told: &str) -> Value {
    let number = |name: &str| -> Option<f64> {
        told.lines().find_map(|line| line.strip_prefix(name)?.rsplit(':').next()?.trim().parse().ok())
    };
    let policy = match number("policy") {
        Some(0.0) => "other",
        Some(3.0) => "batch",
        Some(_) => "another",
        None => "not told",
    };
    json!({ "policy": policy, "slice_ms": number("se.slice").map(|nanoseconds| nanoseconds / 1e6) })
}

pub fn write(folder: &Path, result: &Value, runs: &[Run]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("bench.json"), serde_json::to_string_pretty(result)?)?;
    std::fs::write(folder.join("curve.svg"), curve(runs))
}
