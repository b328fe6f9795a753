//! `mingzhang import`: history from files of others, each item judged by the ledger, the report says which were not
//! applied and why.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::calendar::Day;
use mingzhang_ledger::records::import::Import;
use mingzhang_ledger::records::object::Ref;
use serde_json::json;

use super::Desk;
use crate::context::home;
use crate::import::identity::{Identity, Secret};
use crate::import::load::{self, Ledger as _, Load, Officer};
use crate::import::map::Map;
use crate::import::node::{NodeLedger, Signer};
use crate::import::prove::{Finding, prove};
use crate::import::report::{self, Report};
use crate::import::{Format, read};
use crate::interrupt;
use crate::output::{Answer, Failure, Language, exit, explain, plain};
use crate::submit::now_ms;

const NOT_WRITTEN: Code = Code(5025);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    format: Formats,
}

#[derive(Debug, Subcommand)]
enum Formats {
    /// Grants and disbursements in the 360Giving standard (JSON)
    #[command(name = "360giving")]
    Grants(Options),
    /// Payments as CSV: id,date,payer,payee,amount,currency,programme,purpose,contract,bank_ref
    Payments(Options),
    /// Donations as CSV: id,date,donor,amount,currency,channel,programme,earmark
    Donations(Options),
    /// Permits as CSV: id,matter,applicant,applied,decided,issued,status
    Permits(Options),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Would the ledger have allowed it?
    Strict,
    /// It happened: recorded, and flagged with the same codes
    Historical,
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Files; each is a source of its own, known by its name
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[arg(long, value_enum, default_value = "strict")]
    mode: Mode,
    /// One JSON line per item
    #[arg(long, value_name = "R.jsonl")]
    report: Option<PathBuf>,
    /// Columns, constants and formats of other CSV files (TOML)
    #[arg(long, value_name = "MAP.toml")]
    map: Option<PathBuf>,
    /// The importer's key, else the context's
    #[arg(long, value_name = "NAME|FILE")]
    key: Option<String>,
    /// The key that approves each batch, else the context's
    #[arg(long, value_name = "NAME|FILE")]
    supervisor_key: Option<String>,
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    let (format, options) = match args.format {
        Formats::Grants(options) => (Format::Grants, options),
        Formats::Payments(options) => (Format::Payments, options),
        Formats::Donations(options) => (Format::Donations, options),
        Formats::Permits(options) => (Format::Permits, options),
    };
    (format!("import {}", format.name()), import(desk, format, &options))
}

fn import(desk: &Desk, format: Format, options: &Options) -> Result<Answer, Failure> {
    let strict = options.mode == Mode::Strict;
    interrupt::watch_import(desk.printer, format.name());
    if let Some(report) = &options.report {
        spares(report, options)?;
    }
    let map = match &options.map {
        Some(path) => Map::read(path, format.columns())?,
        None => Map::default(),
    };
    let mut sources = Vec::new();
    for path in &options.files {
        sources.push(read(format, path, (&map, strict))?);
    }
    let names: BTreeSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    if names.len() != sources.len() {
        return Err(Failure::usage("two files of one name: a source is known by its file's name"));
    }
    let network = desk.network()?;
    let (importer, supervisor) = signers(desk, options)?;
    let today = Day::at(now_ms(), network.genesis.founding.network.utc_offset_minutes);
    let mut kept = Vec::new();
    for source in &mut sources {
        let identity = Identity::new(network.genesis.hash, format.name(), &source.name, strict);
        let secret = Secret::keep(&home()?, &identity, today)?;
        source.name_rows(&secret);
        kept.push((identity, secret));
    }
    let load = |(source, (identity, secret))| Load { source, identity, secret };
    let loads: Vec<Load<'_>> = sources.iter().zip(kept).map(load).collect();
    let target = options.report.as_deref().map(Target::open).transpose()?;
    let mut ledger = NodeLedger::new(network, desk.timeout, (importer, supervisor), desk.printer)?;
    let mut outcome = load::run(format, strict, &loads, &mut ledger)?;
    let mut earlier = Vec::new();
    for (at, load) in loads.iter().enumerate() {
        let agency = ledger.agency(Officer::Importer);
        earlier.extend(load::earlier_imports(load, (at, agency), &outcome.batches)?);
    }
    let finding = prove(network, &mut ledger, (&mut outcome, &earlier), desk.language);
    let mut report = report::make(&outcome, &sources);
    (report.proven, report.written) = (matches!(finding, Finding::Proven(..)), target.is_some());
    let written = target.map_or(Ok(()), |target| target.write(&report, desk.language));
    let mode = if strict { "strict" } else { "historical" };
    let data = report.json(&outcome, (format, mode, ledger.as_of()));
    let mut answer = Answer::done(data, report.text(desk.language));
    answer.recorded = true;
    answer.warnings = report.warnings(desk.language);
    let partly = report.counters.rejected > 0 || report.counters.unknown > 0 || !report.unclosed.is_empty();
    if partly {
        answer.exit = exit::PARTLY;
    }
    // What was sent was sent, and the exit status says how that ended: a report that could not be written changes neither.
    if let Err(failure) = written {
        answer.warnings.push(explain(failure.code, &failure.detail, desk.language));
    }
    let key = options.key.as_ref().or(network.context.importer_key.as_ref()).map_or("", String::as_str);
    Ok(with_finding(answer, finding, key, desk.language))
}

/// What is not proven is not known yet, and what is refuted is no answer. `key` is the importer's.
fn with_finding(mut answer: Answer, finding: Finding, key: &str, language: Language) -> Answer {
    let words = language.pick("以上为节点所述,未经证明", "all this is the node's word, not proven");
    match finding {
        Finding::Proven(height, open) => {
            answer.data["proven_height"] = json!(height);
            answer.data["open_imports"] = open.iter().map(|(record, _)| json!(record.to_string())).collect();
            answer.warnings.extend(open.iter().map(|(record, import)| still_open(record, import, key, language)));
        }
        Finding::Unproven(why) => {
            let safe = language.pick("可再次运行,不会重复记账", "run it again, it is safe");
            answer.exit = exit::NOT_YET_KNOWN;
            answer.warnings.push(format!("{words}: {}; {safe}", language.detail(&why)));
        }
        Finding::Contradicted(code, detail) => {
            answer.exit = exit::FAILED;
            answer.reason = Some((code, detail));
            answer.warnings.push(words.to_owned());
        }
    }
    answer
}

/// An earlier run did not come to its end, and the file has changed since: how to close what it left.
fn still_open(record: &Ref, import: &Import, key: &str, language: Language) -> String {
    let words = language.pick(
        "此前导入本来源的一批尚未完成,其后文件已变;已登记的仍然有效。关闭它",
        "an earlier import of this source was never closed, and the file has changed since; what it recorded stands. \
         To close it",
    );
    let total = |(currency, minor): (&String, &u64)| {
        format!(" \\\n      --totals '{}'", json!({ "currency": currency, "amount": { "minor": minor.to_string() } }))
    };
    let totals: String = import.posted.iter().map(total).collect();
    // As a shell takes it, line by line.
    let key = key.replace('\'', "'\\''");
    let head = format!("mingzhang record import_close --key '{key}' --counts {}", import.records);
    format!("{words}:\n    {head} \\\n      --import_open {record}{totals}")
}

/// A report takes the place of nothing that the import reads.
fn spares(report: &Path, options: &Options) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt as _;
    let place = |path: &Path| std::fs::metadata(path).ok().map(|facts| (facts.dev(), facts.ino()));
    let taken = [place(report), place(&part_of(report))];
    for read in options.files.iter().chain(&options.map) {
        if place(read).is_some_and(|read| taken.contains(&Some(read))) {
            let (report, read) = (report.display(), read.display());
            return Err(Failure::usage(format!("--report {report} would replace {read}, which is imported")));
        }
    }
    Ok(())
}

/// Beside its place.
fn part_of(place: &Path) -> PathBuf {
    PathBuf::from(format!("{}.part", place.display()))
}

/// Where the report goes. It is begun beside its place before anything is sent, and takes the place when it is whole.
struct Target {
    place: PathBuf,
    part: Option<PathBuf>,
}

impl Target {
    fn open(place: &Path) -> Result<Self, Failure> {
        let broken = |error| Failure::not_written(place, error);
        let is_special = std::fs::metadata(place).is_ok_and(|facts| !facts.is_file());
        // A device or a pipe is written to as it is; a folder is none and says so.
        let part = if is_special { None } else { Some(part_of(place)) };
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        options.open(part.as_deref().unwrap_or(place)).map_err(broken)?;
        Ok(Self { place: place.to_owned(), part })
    }

    fn write(self, report: &Report, language: Language) -> Result<(), Failure> {
        let broken = |failure: Failure| Failure::coded(NOT_WRITTEN, plain(failure.detail));
        report.write(self.part.as_ref().unwrap_or(&self.place), language).map_err(broken)?;
        let Some(part) = self.part else { return Ok(()) };
        std::fs::rename(&part, &self.place).map_err(|error| Failure::not_written(&self.place, error))
    }
}

/// The two signatures that stand for all records of an import.
fn signers(desk: &Desk, options: &Options) -> Result<(Signer, Signer), Failure> {
    let context = &desk.network()?.context;
    let named = |given: &Option<String>, kept: &Option<String>, flag: &str| {
        let name = given.as_ref().or(kept.as_ref()).cloned();
        name.ok_or_else(|| Failure::usage(format!("which key? give {flag} NAME|FILE")).with_exit(exit::NOT_PERMITTED))
    };
    let signer = |name: String| {
        let key = desk.key(Some(&name))?;
        let agency = key.facts.agency.or_else(|| context.agency.clone());
        let agency = agency.ok_or_else(|| Failure::usage(format!("key {name}: no agency; name it in {name}.toml")))?;
        Ok::<_, Failure>(Signer { agency, key: key.key })
    };
    let importer = signer(named(&options.key, &context.importer_key, "--key")?)?;
    let supervisor = signer(named(&options.supervisor_key, &context.supervisor_key, "--supervisor-key")?)?;
    Ok((importer, supervisor))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::output::laid_out;

    #[test]
    fn the_closing_command_is_one_that_a_shell_and_the_client_take() {
        let posted = [("CNY".to_owned(), 3_600), ("USD".to_owned(), 50)].into();
        let import = Import { strict: false, period_end: Day(0), closed: false, records: 9, posted };
        let record = Ref::new("archive", &[0xab; 16]);
        let key = "/zhang's/keys of a folder whose name is so long that no line of a terminal holds it/importer.pem";
        for language in [Language::English, Language::Chinese] {
            let told = laid_out(&still_open(&record, &import, key, language));
            let command = told.find("mingzhang record").and_then(|at| told.get(at..)).expect("a command");
            let shell = std::process::Command::new("sh").args(["-ec", &format!("printf '%s\\n' {command}")]).output();
            let shell = String::from_utf8(shell.expect("a shell").stdout).expect("text");
            let words: Vec<&str> = shell.lines().collect();
            let record = record.to_string();
            let close =
                ["mingzhang", "record", "import_close", "--key", key, "--counts", "9", "--import_open", &record];
            let total = |code, minor| json!({ "currency": code, "amount": { "minor": minor } }).to_string();
            let totals = [total("CNY", "3600"), total("USD", "50")];
            assert_eq!(words, [&close[..], &["--totals", &totals[0], "--totals", &totals[1]]].concat(), "{told}");
            assert!(super::super::Cli::command().try_get_matches_from(&words).is_ok(), "{told}");
        }
    }
}
