//! `mingzhang receipt`: fetch a receipt, verify it against the pinned genesis before it is kept, show it.

use std::path::PathBuf;

use clap::Subcommand;
use mingzhang_ledger::receipt::Receipt;
use mingzhang_ledger::verify::{Verdict, receipt};
use serde_json::json;

use super::Desk;
use crate::handoffs;
use crate::output::{Answer, Failure, exit};
use crate::verify::{authorities_after, steps_text, verdict_name};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The receipt of a final transaction, applied or rejected
    Get {
        tx: String,
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// What a receipt file says
    Show { file: PathBuf },
    /// The same receipt under the newest checkpoint
    Refresh { file: PathBuf },
    /// The hand-offs from the founding members to those of today, for `verify --handoffs` on another machine
    Handoffs {
        #[arg(long)]
        out: PathBuf,
    },
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    match args.action {
        Action::Get { tx, out } => ("receipt get".into(), get(desk, &tx, out.as_ref())),
        Action::Show { file } => ("receipt show".into(), show(&file)),
        Action::Handoffs { out } => ("receipt handoffs".into(), export_handoffs(desk, &out)),
        Action::Refresh { file } => ("receipt refresh".into(), refresh(desk, &file)),
    }
}

fn get(desk: &Desk, tx: &str, out: Option<&PathBuf>) -> Result<Answer, Failure> {
    let id = tx.strip_prefix("sha256:").unwrap_or(tx);
    let text = desk.api()?.get(&format!("/transactions/{id}/receipt?wait=20"))?.success()?.text();
    let genesis = &desk.network()?.genesis;
    let authorities = authorities_after(genesis, &handoffs::fetch(genesis, &desk.api()?)?)?;
    let checked = receipt(&authorities, &text, None);
    let facts = checked.facts.as_ref();
    let code = match &checked.report.verdict {
        Verdict::Verified => None,
        Verdict::Failed { code, .. } => Some((exit::FAILED, *code)),
        Verdict::Inconclusive { code, .. } => Some((exit::INCONCLUSIVE, *code)),
    };
    if let Some((exit, code)) = code {
        return Err(Failure::coded(code, steps_text(&checked.report)).with_exit(exit));
    }
    let found = facts.map(|facts| hex::encode(facts.transaction.id())).unwrap_or_default();
    if found != id.to_lowercase() {
        return Err(Failure::coded(
            mingzhang_ledger::outcome::Code(4102),
            format!("the node gave a receipt of {found}"),
        ));
    }
    if let Some(out) = out {
        std::fs::write(out, &text)?;
    }
    let sealed = facts.and_then(|facts| facts.sealed.as_ref());
    let data = json!({
        "tx_id": format!("sha256:{found}"), "format": "tlog-proof", "file": out,
        "index": facts.map(|facts| facts.index), "tree_size": facts.map(|facts| facts.tree_size),
        "seals": sealed.map(|sealed| sealed.seals.len()), "quorum": sealed.map(|sealed| sealed.quorum),
        "epoch": sealed.map(|sealed| sealed.epoch), "verdict": verdict_name(&checked.report.verdict),
    });
    let shown = match out {
        Some(out) => format!("{}  {}", out.display(), desk.pick("回执已核验", "receipt verified")),
        None => text,
    };
    Ok(Answer::done(data, shown))
}

fn export_handoffs(desk: &Desk, out: &PathBuf) -> Result<Answer, Failure> {
    let handoffs = handoffs::fetch(&desk.network()?.genesis, &desk.api()?)?;
    std::fs::write(out, handoffs::text_of(&handoffs)?)?;
    let words = desk.pick("份交接证明,已核验", "hand-offs, verified");
    let text = format!("{}  {} {words}", out.display(), handoffs.len());
    Ok(Answer::done(json!({ "file": out, "handoffs": handoffs.len() }), text))
}

fn read(file: &PathBuf) -> Result<Receipt, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    Receipt::parse(&text)
        .map_err(|fault| Failure::coded(mingzhang_ledger::outcome::Code(4101), format!("{}: {fault}", file.display())))
}

fn show(file: &PathBuf) -> Result<Answer, Failure> {
    let receipt = read(file)?;
    let checkpoint = &receipt.note.checkpoint;
    let tx_id = receipt.entry.get(3..).map(|bytes| hex::encode(mingzhang_ledger::crypto::sha256(&[bytes])));
    let data = json!({
        "tx_id": tx_id.map(|id| format!("sha256:{id}")), "origin": checkpoint.origin, "index": receipt.index,
        "tree_size": checkpoint.size, "path": receipt.path.len(), "seals": receipt.note.lines.len(),
        "entry_bytes": receipt.entry.len(),
    });
    let text = format!(
        "{}  index {}  tree {}  lines {}",
        checkpoint.origin,
        receipt.index,
        checkpoint.size,
        receipt.note.lines.len()
    );
    Ok(Answer::done(data, text))
}

fn refresh(desk: &Desk, file: &PathBuf) -> Result<Answer, Failure> {
    let receipt = read(file)?;
    let id = receipt.entry.get(3..).map(|bytes| hex::encode(mingzhang_ledger::crypto::sha256(&[bytes])));
    let id = id.ok_or_else(|| Failure::usage(format!("{}: the entry is no record", file.display())))?;
    get(desk, &id, Some(file))
}
