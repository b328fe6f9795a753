//! `mingzhang verify`: receipts and checkpoints, from the genesis file alone. With --offline or without, no socket is
//! opened: everything needed is in the files.

use std::path::PathBuf;

use clap::Subcommand;
use mingzhang_genesis::Genesis;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::proof::Passage;
use mingzhang_ledger::verify::{Authorities, Verdict, document, document_digest, receipt};
use serde_json::json;

use super::Desk;
use crate::context::read_genesis;
use crate::handoffs;
use crate::output::{Answer, Failure, exit};
use crate::verify::{
    authorities_after, discontinuities_json, discontinuity_warnings, sentence, steps_json, steps_text, verdict_name,
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
        Action::Checkpoint { file, trust } => ("verify checkpoint".into(), checkpoint(desk, &file, &trust)),
    }
}

/// The genesis file of the flag, else the context's pinned one.
fn genesis(desk: &Desk) -> Result<Genesis, Failure> {
    match desk.genesis_file() {
        Some(file) => read_genesis(file),
        None => read_genesis(&desk.network()?.context.genesis_file),
    }
}

fn authorities(desk: &Desk, trust: &Trust) -> Result<(Authorities, Genesis), Failure> {
    let genesis = genesis(desk)?;
    let handoffs: Vec<Passage> = match &trust.handoffs {
        Some(file) => serde_json::from_str(&read(file)?)
            .map_err(|error| Failure::coded(Code(4101), format!("{}: {error}", file.display())))?,
        None => handoffs::kept(&genesis),
    };
    Ok((authorities_after(&genesis, &handoffs)?, genesis))
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

fn verify_receipt(
    desk: &Desk,
    file: &PathBuf,
    trust: &Trust,
    cited: Option<(PathBuf, String)>,
) -> Result<Answer, Failure> {
    let (authorities, genesis) = authorities(desk, trust)?;
    let report = receipt(&authorities, &read(file)?, None);
    let mut verdict = report.report.verdict.clone();
    let facts = report.facts.as_ref();
    let mut steps = steps_json(&report.report);
    let mut text_of_steps = steps_text(&report.report);
    if let (Some((path, salt)), Some(facts), Verdict::Verified) = (&cited, facts, &verdict) {
        let digest = document_digest(&read_salt(salt)?, &std::fs::read(path)?);
        match document(&facts.transaction, &digest) {
            Ok(()) => {
                push_step(&mut steps, "passed", &hex::encode(digest));
                text_of_steps.push_str(&format!("\n  ✓ {:<10} {}", "document", hex::encode(digest)));
            }
            Err(problem) => {
                push_step(&mut steps, "failed", &problem.detail);
                verdict = Verdict::Failed { code: problem.code, step: problem.step };
            }
        }
    }
    let missing = if let Verdict::Inconclusive { missing, .. } = &verdict { missing.clone() } else { Vec::new() };
    let sealed = facts.and_then(|facts| facts.sealed.as_ref());
    let outcome = facts.map(|facts| if facts.outcome == 0 { "applied" } else { "rejected" });
    let data = json!({
        "verdict": verdict_name(&verdict),
        "tx_id": facts.map(|facts| format!("sha256:{}", hex::encode(facts.transaction.id()))),
        "record_type": facts.map(|facts| facts.transaction.payload().record_type.clone()),
        "outcome": outcome,
        "code": facts.filter(|facts| facts.outcome != 0).map(|facts| Code(facts.outcome).to_string()),
        "index": facts.map(|facts| facts.index), "tree_size": facts.map(|facts| facts.tree_size),
        "epoch": sealed.map(|sealed| sealed.epoch), "seals": sealed.map(|sealed| sealed.seals.len()),
        "quorum": sealed.map(|sealed| sealed.quorum),
        "genesis_hash": format!("sha256:{}", hex::encode(genesis.hash)), "steps": steps, "missing": missing,
        "discontinuities": discontinuities_json(authorities.discontinuities()),
    });
    let words = facts.map_or(String::new(), |facts| {
        let payload = facts.transaction.payload();
        format!(
            "  {} {}/{}",
            payload.record_type,
            payload.agency,
            mingzhang_ledger::state::key::id_text(&payload.record_id)
        )
    });
    let text = format!(
        "{}{words}\n{text_of_steps}\n  {:<12} {}",
        sentence(&verdict, desk.language),
        "genesis",
        hex::encode(genesis.hash)
    );
    let warnings = discontinuity_warnings(authorities.discontinuities(), desk.language);
    Ok(finish(Answer { warnings, ..Answer::done(data, text) }, &verdict))
}

fn push_step(steps: &mut serde_json::Value, result: &str, detail: &str) {
    if let Some(list) = steps.as_array_mut() {
        list.push(json!({ "name": "document", "result": result, "detail": detail }));
    }
}

fn read_salt(salt: &str) -> Result<[u8; 32], Failure> {
    let text = if salt.len() == 64 { salt.to_owned() } else { read(&PathBuf::from(salt))? };
    hex::decode(text.trim())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Failure::usage(format!("{salt}: not a salt of 64 hex digits")))
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

fn checkpoint(desk: &Desk, file: &PathBuf, trust: &Trust) -> Result<Answer, Failure> {
    let (authorities, genesis) = authorities(desk, trust)?;
    let checked = authorities.checkpoint(&read(file)?);
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
        Ok(sealed) => format!("  size {}  seals {}/{}", sealed.checkpoint.size, sealed.seals.len(), sealed.quorum),
        Err(problem) => format!("  {}", problem.detail),
    };
    let warnings = discontinuity_warnings(authorities.discontinuities(), desk.language);
    let text = format!("{}{detail}", sentence(&verdict, desk.language));
    Ok(finish(Answer { warnings, ..Answer::done(data, text) }, &verdict))
}
