//! `mingzhang verify`: receipts, checkpoints and documents, from the genesis file alone. With --offline or without, no socket
//! is opened, as everything needed is in the files; only a document may ask a node for its record, which it then proves.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Subcommand};
use mingzhang_genesis::Genesis;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::proof::{EvidenceBundle, Passage};
use mingzhang_ledger::receipt::Receipt;
use mingzhang_ledger::recovery::Discontinuity;
use mingzhang_ledger::transaction::Transaction;
use mingzhang_ledger::verify::{
    Authorities, Problem, ReceiptReport, Report, Step, StepName, StepResult, Verdict, bundle, document,
    document_digest, receipt,
};
use serde_json::json;

use super::Desk;
use super::record::read_source;
use crate::handoffs;
use crate::kept::{Shown, judge_file};
use crate::output::{Answer, Failure, exit};
use crate::verify::{
    authorities_after, authorities_of, decided, discontinuities_json, discontinuity_warnings, outcome_name,
    read_evidence, sentence, steps_json, steps_text, verdict_name,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// A .tlog-proof receipt
    Receipt {
        file: PathBuf,
        #[command(flatten)]
        trust: Trust,
        /// A document that the record cites
        #[arg(long, requires = "salt")]
        document: Option<PathBuf>,
        /// The document's salt: file or 64 hex digits
        #[arg(long)]
        salt: Option<String>,
    },
    /// A file against the record that anchors or cites it: by its salted hash
    #[command(group(ArgGroup::new("source").args(["record", "receipt"]).required(true)))]
    Document {
        file: PathBuf,
        /// The file's salt: file or 64 hex digits; if not given, FILE.salt
        #[arg(long)]
        salt: Option<String>,
        /// The record, by transaction id or as agency/id: its receipt is fetched and verified first
        #[arg(long, value_name = "TX|AGENCY/ID", conflicts_with = "offline")]
        record: Option<String>,
        /// The record's receipt or bundle; no socket is opened
        #[arg(long, value_name = "RECEIPT|BUNDLE")]
        receipt: Option<PathBuf>,
        #[command(flatten)]
        trust: Trust,
    },
    /// A sealed checkpoint
    Checkpoint {
        file: PathBuf,
        #[command(flatten)]
        trust: Trust,
    },
}

#[derive(Debug, clap::Args)]
struct Trust {
    /// JSON list of hand-offs to later epochs; if not given, those that this user's commands have kept
    #[arg(long)]
    handoffs: Option<PathBuf>,
    /// Says what is always so: no socket is opened
    #[arg(long)]
    offline: bool,
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    match args.action {
        Action::Receipt { file, trust, document, salt } => {
            ("verify receipt".into(), verify_receipt(desk, &file, &trust, document.zip(salt)))
        }
        Action::Document { file, salt, record, receipt, trust } => {
            let source = match (&record, &receipt) {
                (_, Some(kept)) => Source::Kept(kept, &trust),
                (record, None) => Source::Asked(record.as_deref().unwrap_or_default()),
            };
            ("verify document".into(), verify_document(desk, (&file, salt.as_deref()), &source))
        }
        Action::Checkpoint { file, trust } => ("verify checkpoint".into(), checkpoint(desk, &file, &trust)),
    }
}

fn authorities(desk: &Desk, trust: &Trust) -> Result<(Authorities, Genesis), Failure> {
    let genesis = desk.genesis()?;
    let handoffs: Vec<Passage> = match &trust.handoffs {
        Some(file) => serde_json::from_str(&read_evidence(file)?)
            .map_err(|error| Failure::coded(Code(4101), format!("{}: {error}", file.display())))?,
        None => handoffs::kept(&genesis),
    };
    Ok((authorities_after(&genesis, &handoffs)?, genesis))
}

fn verify_receipt(
    desk: &Desk,
    file: &Path,
    trust: &Trust,
    cited: Option<(PathBuf, String)>,
) -> Result<Answer, Failure> {
    let (authorities, genesis) = authorities(desk, trust)?;
    let text = read_evidence(file)?;
    let mut checked = receipt(&authorities, &text, None);
    beside_kept(desk, &genesis, &text, &mut checked)?;
    let is_proven = checked.report.verdict == Verdict::Verified;
    if let (Some((path, salt)), Some(facts), true) = (&cited, &checked.facts, is_proven) {
        judge_document(&mut checked.report, &facts.transaction, (path, Some(salt)))?;
    }
    let discontinuities: Vec<_> = authorities.discontinuities().cloned().collect();
    Ok(tell(desk, (&checked, is_proven), &discontinuities, &genesis))
}

/// Where the record comes from that a document is compared with.
enum Source<'a> {
    /// A node, which is believed nothing.
    Asked(&'a str),
    /// A file.
    Kept(&'a Path, &'a Trust),
}

fn verify_document(desk: &Desk, (file, salt): (&Path, Option<&str>), source: &Source<'_>) -> Result<Answer, Failure> {
    let (mut checked, discontinuities, genesis) = match source {
        Source::Asked(record) => {
            let (checked, authorities) = super::receipt::of(desk, record)?;
            (checked, authorities.discontinuities().cloned().collect::<Vec<_>>(), desk.network()?.genesis.clone())
        }
        Source::Kept(kept, trust) => {
            let text = read_evidence(kept)?;
            match serde_json::from_str::<EvidenceBundle>(&text) {
                Ok(evidence) => {
                    let genesis = desk.genesis()?;
                    let told = bundle(&authorities_of(&genesis), &evidence);
                    let mut checked = ReceiptReport { report: told.report, facts: told.receipt };
                    beside_kept(desk, &genesis, evidence.receipt.as_deref().unwrap_or_default(), &mut checked)?;
                    (checked, told.discontinuities, genesis)
                }
                Err(_) => {
                    let (authorities, genesis) = authorities(desk, trust)?;
                    let mut checked = receipt(&authorities, &text, None);
                    beside_kept(desk, &genesis, &text, &mut checked)?;
                    (checked, authorities.discontinuities().cloned().collect(), genesis)
                }
            }
        }
    };
    let is_proven = checked.report.verdict == Verdict::Verified;
    match (&checked.facts, is_proven) {
        (Some(facts), true) => judge_document(&mut checked.report, &facts.transaction, (file, salt))?,
        (None, true) => {
            return Err(Failure::usage("this bundle holds no record's receipt"));
        }
        (_, false) => {}
    }
    Ok(tell(desk, (&checked, is_proven), &discontinuities, &genesis))
}

/// The verdict on a record, and on a document if one was given, for people and programs.
fn tell(
    desk: &Desk,
    (checked, is_proven): (&ReceiptReport, bool),
    discontinuities: &[Discontinuity],
    genesis: &Genesis,
) -> Answer {
    let (verdict, facts) = (&checked.report.verdict, checked.facts.as_ref());
    let missing = if let Verdict::Inconclusive { missing, .. } = verdict { missing.clone() } else { Vec::new() };
    let sealed = facts.and_then(|facts| facts.sealed.as_ref());
    let data = json!({
        "verdict": verdict_name(verdict),
        "tx_id": facts.map(|facts| format!("sha256:{}", hex::encode(facts.transaction.id()))),
        "record_type": facts.map(|facts| facts.transaction.payload().record_type.clone()),
        "outcome": facts.map(|facts| outcome_name(facts.outcome)),
        "code": facts.filter(|facts| facts.outcome != 0).map(|facts| Code(facts.outcome).to_string()),
        "index": facts.map(|facts| facts.index), "tree_size": facts.map(|facts| facts.tree_size),
        "epoch": sealed.map(|sealed| sealed.epoch), "seals": sealed.map(|sealed| sealed.seals.len()),
        "quorum": sealed.map(|sealed| sealed.quorum),
        "genesis_hash": format!("sha256:{}", hex::encode(genesis.hash)), "steps": steps_json(&checked.report), "missing": missing,
        "discontinuities": discontinuities_json(discontinuities),
    });
    let words = facts.map_or(String::new(), |facts| decided(facts, is_proven, desk.language));
    let text = format!(
        "{}{words}\n{}\n  {} {}",
        sentence(verdict, desk.language),
        steps_text(&checked.report, desk.language),
        desk.pick("创世        ", "genesis     "),
        hex::encode(genesis.hash)
    );
    let warnings = discontinuity_warnings(discontinuities, desk.language);
    finish(Answer { warnings, ..Answer::done(data, text) }, verdict)
}

/// A receipt that verified may yet be of another history than the one that this user has seen, or too old.
fn beside_kept(desk: &Desk, genesis: &Genesis, text: &str, checked: &mut ReceiptReport) -> Result<(), Failure> {
    let sealed = checked.facts.as_ref().and_then(|facts| facts.sealed.as_ref());
    if let (Verdict::Verified, Some(sealed), Ok(parsed)) = (&checked.report.verdict, sealed, Receipt::parse(text)) {
        let shown = Shown { text: &parsed.note.text(), sealed, proof: None };
        if let Some(problem) = judge_file((genesis, desk.max_age()), &shown)? {
            apply(&mut checked.report, problem);
        }
    }
    Ok(())
}

/// What this machine knows beyond the file decides at the step concerned.
fn apply(report: &mut Report, problem: Problem) {
    let result = if problem.missing { StepResult::Missing } else { StepResult::Failed };
    report.verdict = match problem.missing {
        true => Verdict::Inconclusive { code: problem.code, missing: vec![problem.detail.clone()] },
        false => Verdict::Failed { code: problem.code, step: problem.step },
    };
    report.steps.retain(|step| step.name != problem.step);
    report.steps.push(Step { name: problem.step, result, detail: problem.detail });
}

/// Adds the step that compares a file with the record that cites it.
fn judge_document(
    report: &mut Report,
    transaction: &Transaction,
    (path, salt): (&Path, Option<&str>),
) -> Result<(), Failure> {
    let digest = match salted((path, salt))? {
        Ok(digest) => digest,
        Err(beside) => {
            report.verdict = Verdict::Inconclusive { code: Code(4123), missing: vec![beside.clone()] };
            report.steps.push(Step { name: StepName::Document, result: StepResult::Missing, detail: beside });
            return Ok(());
        }
    };
    let (result, detail) = match document(transaction, &digest) {
        Ok(()) => (StepResult::Passed, hex::encode(digest)),
        Err(problem) => {
            report.verdict = Verdict::Failed { code: problem.code, step: problem.step };
            (StepResult::Failed, problem.detail)
        }
    };
    report.steps.push(Step { name: StepName::Document, result, detail });
    Ok(())
}

/// The digest of a file with its salt, which lies beside it if none is given; else the name of what is missing.
pub(super) fn salted((path, salt): (&Path, Option<&str>)) -> Result<Result<Hash, String>, Failure> {
    let content = std::fs::read(path).map_err(|error| Failure::unreadable(path, error))?;
    let beside = format!("{}.salt", path.display());
    let salt = match salt {
        Some(named) => read_salt(named)?,
        None if !Path::new(&beside).exists() => return Ok(Err(beside)),
        None => salt_of(&beside, &read_source(&beside)?)?,
    };
    Ok(Ok(document_digest(&salt, &content)))
}

fn read_salt(salt: &str) -> Result<[u8; 32], Failure> {
    let is_salt = salt.len() == 64 && salt.bytes().all(|byte| byte.is_ascii_hexdigit());
    salt_of(salt, &if is_salt { salt.to_owned() } else { read_source(salt)? })
}

fn salt_of(named: &str, text: &str) -> Result<[u8; 32], Failure> {
    hex::decode(text.trim())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Failure::usage(format!("{named}: not a salt of 64 hex digits")))
}

/// Exit status and coded reason of a verdict.
fn finish(mut answer: Answer, verdict: &Verdict) -> Answer {
    match verdict {
        Verdict::Verified => {}
        Verdict::Failed { code, .. } => {
            answer.exit = exit::FAILED;
            answer.reason = Some((*code, String::new()));
        }
        Verdict::Inconclusive { code, missing } => {
            answer.exit = exit::INCONCLUSIVE;
            answer.reason = Some((*code, missing.join("; ")));
        }
    }
    answer
}

fn checkpoint(desk: &Desk, file: &Path, trust: &Trust) -> Result<Answer, Failure> {
    let (authorities, genesis) = authorities(desk, trust)?;
    let text = read_evidence(file)?;
    let mut checked = authorities.checkpoint(&text);
    if let Ok(sealed) = &checked {
        let shown = Shown { text: &text, sealed, proof: None };
        if let Some(problem) = judge_file((&genesis, desk.max_age()), &shown)? {
            checked = Err(problem);
        }
    }
    let verdict = match &checked {
        Ok(_) => Verdict::Verified,
        Err(problem) if problem.missing => {
            Verdict::Inconclusive { code: problem.code, missing: vec![problem.detail.clone()] }
        }
        Err(problem) => Verdict::Failed { code: problem.code, step: problem.step },
    };
    let sealed = checked.as_ref().ok();
    let data = json!({
        "verdict": verdict_name(&verdict), "tree_size": sealed.map(|sealed| sealed.checkpoint.size),
        "root": sealed.map(|sealed| format!("sha256:{}", hex::encode(sealed.checkpoint.root))),
        "epoch": sealed.map(|sealed| sealed.epoch), "seals": sealed.map(|sealed| &sealed.seals),
        "quorum": sealed.map(|sealed| sealed.quorum),
        "genesis_hash": format!("sha256:{}", hex::encode(genesis.hash)),
        "discontinuities": discontinuities_json(authorities.discontinuities()),
        "missing": checked.as_ref().err().filter(|problem| problem.missing).map(|problem| vec![problem.detail.clone()]),
    });
    let detail = match &checked {
        Ok(sealed) => {
            let (size, seals) = (desk.pick("规模", "size"), desk.pick("封签", "seals"));
            format!("  {size} {}  {seals} {}/{}", sealed.checkpoint.size, sealed.seals.len(), sealed.quorum)
        }
        Err(problem) => format!("  {}", desk.language.detail(&problem.detail)),
    };
    let warnings = discontinuity_warnings(authorities.discontinuities(), desk.language);
    let text = format!("{}{detail}", sentence(&verdict, desk.language));
    Ok(finish(Answer { warnings, ..Answer::done(data, text) }, &verdict))
}
