//! `mingzhang receipt`: fetch a receipt, verify it against the pinned genesis before it is kept, show it.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use mingzhang_ledger::outcome::{Code, catalogue};
use mingzhang_ledger::proof::{BUNDLE_FORMAT, EntryView, EvidenceBundle, OutcomeView};
use mingzhang_ledger::receipt::Receipt;
use mingzhang_ledger::records::record_type;
use mingzhang_ledger::records::view::{self, Lens};
use mingzhang_ledger::seal::policy;
use mingzhang_ledger::state::key::id_text;
use mingzhang_ledger::verify::{Authorities, ReceiptFacts, ReceiptReport, Report, Verdict, receipt};
use serde_json::json;

use super::Desk;
use crate::audit::fetch::officer_key;
use crate::handoffs;
use crate::output::{Answer, Failure, exit};
use crate::verify::{
    authorities, authorities_after, discontinuities_json, discontinuity_warnings, steps_text, verdict_name,
};

/// That a state is no longer held.
const NOT_KEPT: Code = Code(2006);
/// How often a bundle is begun anew on a network that seals on.
const ATTEMPTS: usize = 5;

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
        /// The receipt alone, or with the signer's key and its proofs as one JSON file
        #[arg(long, value_enum, default_value = "tlog-proof")]
        format: Format,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    TlogProof,
    Bundle,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::TlogProof => "tlog-proof",
            Self::Bundle => "bundle",
        }
    }
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    match args.action {
        Action::Get { tx, format, out } => ("receipt get".into(), get(desk, &tx, format, out.as_ref())),
        Action::Show { file } => ("receipt show".into(), show(&file)),
        Action::Handoffs { out } => ("receipt handoffs".into(), export_handoffs(desk, &out)),
        Action::Refresh { file } => ("receipt refresh".into(), refresh(desk, &file)),
    }
}

fn get(desk: &Desk, tx: &str, format: Format, out: Option<&PathBuf>) -> Result<Answer, Failure> {
    let (text, checked, authorities) = match format {
        Format::TlogProof => fetch(desk, tx)?,
        Format::Bundle => bundle(desk, tx)?,
    };
    if let Some(out) = out {
        std::fs::write(out, &text)?;
    }
    let facts = checked.facts.as_ref();
    let sealed = facts.and_then(|facts| facts.sealed.as_ref());
    let data = json!({
        "tx_id": facts.map(|facts| format!("sha256:{}", hex::encode(facts.transaction.id()))),
        "format": format.name(), "file": out,
        "index": facts.map(|facts| facts.index), "tree_size": facts.map(|facts| facts.tree_size),
        "seals": sealed.map(|sealed| sealed.seals.len()), "quorum": sealed.map(|sealed| sealed.quorum),
        "epoch": sealed.map(|sealed| sealed.epoch), "verdict": verdict_name(&checked.report.verdict),
        "discontinuities": discontinuities_json(authorities.discontinuities()),
    });
    let shown = match out {
        Some(out) => format!("{}  {}", out.display(), desk.pick("回执已核验", "receipt verified")),
        None => text,
    };
    let warnings = discontinuity_warnings(authorities.discontinuities(), desk.language);
    Ok(Answer { warnings, ..Answer::done(data, shown) })
}

/// A receipt's text or a bundle's, how it verified, and the authorities that it was verified with.
type Fetched = (String, ReceiptReport, Authorities);

/// The receipt's text, verified against the pinned genesis and for the transaction that was asked for.
fn fetch(desk: &Desk, tx: &str) -> Result<Fetched, Failure> {
    let id = tx.strip_prefix("sha256:").unwrap_or(tx);
    let text = desk.api()?.get(&format!("/transactions/{id}/receipt?wait=20"))?.success()?.text();
    let genesis = &desk.network()?.genesis;
    let authorities = authorities_after(genesis, &handoffs::fetch(genesis, &desk.api()?)?)?;
    let checked = receipt(&authorities, &text, None);
    require_verified(&checked.report)?;
    let found = checked.facts.as_ref().map(|facts| hex::encode(facts.transaction.id())).unwrap_or_default();
    if found != id.to_lowercase() {
        return Err(Failure::coded(Code(4102), format!("the node gave a receipt of {found}")));
    }
    Ok((text, checked, authorities))
}

fn require_verified(report: &Report) -> Result<(), Failure> {
    let (exit, code) = match &report.verdict {
        Verdict::Verified => return Ok(()),
        Verdict::Failed { code, .. } => (exit::FAILED, *code),
        Verdict::Inconclusive { code, .. } => (exit::INCONCLUSIVE, *code),
    };
    Err(Failure::coded(code, steps_text(report)).with_exit(exit))
}

/// The receipt with all that proves who signed it; verified as whoever gets the file will verify it.
fn bundle(desk: &Desk, tx: &str) -> Result<Fetched, Failure> {
    let network = desk.network()?;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let (text, checked, led) = fetch(desk, tx)?;
        let Some(facts) = &checked.facts else { return Err(Failure::bug("a verified receipt without facts")) };
        let key = match officer_key(&desk.api()?, &facts.transaction.key_id(), facts.tree_size) {
            Ok(key) => key,
            // The network sealed on and the state of that size went out of reach: a newer receipt is asked for.
            Err(failure) if failure.code == Some(NOT_KEPT) => {
                last = Some(failure);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let evidence = EvidenceBundle {
            format: BUNDLE_FORMAT.to_owned(),
            origin: network.genesis.origin.clone(),
            genesis_hash: network.genesis.hash,
            handoffs: handoffs::fetch(&network.genesis, &desk.api()?)?,
            receipt: Some(text),
            policy: policy(&network.genesis.origin, &[], &network.genesis.set, None),
            entry: Some(entry_view(facts)),
            key: Some(key),
            trail: None,
            consistency: None,
        };
        require_verified(&mingzhang_ledger::verify::bundle(&authorities(network), &evidence).report)?;
        let json = serde_json::to_string(&evidence).map_err(|error| Failure::bug(error.to_string()))?;
        return Ok((json, checked, led));
    }
    Err(last.unwrap_or_else(|| Failure::bug("no attempt was made")))
}

fn entry_view(facts: &ReceiptFacts) -> EntryView {
    let payload = facts.transaction.payload();
    let kind = record_type(&payload.record_type);
    let name = catalogue().get(&Code(facts.outcome)).map_or("applied", |entry| entry.name.as_str());
    EntryView {
        index: facts.index,
        outcome: OutcomeView { code: facts.outcome, name: name.to_owned() },
        transaction_id: facts.transaction.id(),
        decoded: json!({
            "record_type": payload.record_type, "agency_id": payload.agency,
            "record_id": id_text(&payload.record_id), "signer": hex::encode(facts.transaction.key_id()),
            "body": kind.map(|kind| view::body(kind, &payload.body, &Lens::new(0))),
        }),
    }
}

fn export_handoffs(desk: &Desk, out: &PathBuf) -> Result<Answer, Failure> {
    let handoffs = handoffs::fetch(&desk.network()?.genesis, &desk.api()?)?;
    std::fs::write(out, handoffs::text_of(&handoffs)?)?;
    let words = desk.pick("份交接证明,已核验", "hand-offs, verified");
    let text = format!("{}  {} {words}", out.display(), handoffs.len());
    let led = authorities_after(&desk.network()?.genesis, &handoffs)?;
    let discontinuities = discontinuities_json(led.discontinuities());
    let data = json!({ "file": out, "handoffs": handoffs.len(), "discontinuities": discontinuities });
    let warnings = discontinuity_warnings(led.discontinuities(), desk.language);
    Ok(Answer { warnings, ..Answer::done(data, text) })
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
    get(desk, &id, Format::TlogProof, Some(file))
}
