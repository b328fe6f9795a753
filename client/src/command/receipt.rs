//! `mingzhang receipt`: fetch a receipt, verify it against the pinned genesis before it is kept, show it.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use mingzhang_ledger::entry::Entry;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::proof::{BUNDLE_FORMAT, EvidenceBundle};
use mingzhang_ledger::receipt::Receipt;
use mingzhang_ledger::state::key::id_text;
use mingzhang_ledger::transaction::RecordId;
use mingzhang_ledger::verify::{Authorities, ReceiptFacts, ReceiptReport, Report, Verdict, entry_view, receipt};
use serde_json::json;

use super::Desk;
use super::query::asked_for;
use crate::audit::fetch::{PART_MISSING, officer_key};
use crate::handoffs;
use crate::kept::{Order, compare};
use crate::keys::random;
use crate::node_api::{NodeApi, Reply};
use crate::output::{Answer, Failure, exit, wrap};
use crate::submit;
use crate::verify::{
    authorities_after, authorities_of, discontinuities_json, discontinuity_warnings, keep_evidence, open_steps,
    outcome_name, outcome_text, read_evidence, verdict_name,
};

/// That a state is no longer held.
const NOT_KEPT: Code = Code(2006);
/// A checkpoint that is older than the one kept.
const OLDER: Code = Code(4115);
/// That nobody can say what became of a transaction.
const UNKNOWN: Code = Code(2008);
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
        /// Transaction id (64 hex digits), or the record as agency/id
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
        Action::Get { tx, format, out } => {
            ("receipt get".into(), get(desk, (&tx, format, None), (out.as_ref(), keep_evidence)))
        }
        Action::Show { file } => ("receipt show".into(), show(desk, &file)),
        Action::Handoffs { out } => ("receipt handoffs".into(), export_handoffs(desk, &out)),
        Action::Refresh { file } => ("receipt refresh".into(), refresh(desk, &file)),
    }
}

/// How a file is written.
type Write = fn(&Path, &str) -> Result<(), Failure>;

fn get(
    desk: &Desk,
    (tx, format, above): (&str, Format, Option<u64>),
    (out, write): (Option<&PathBuf>, Write),
) -> Result<Answer, Failure> {
    let (id, named) = asked_for(desk, tx)?;
    let (text, checked, authorities) = match format {
        Format::TlogProof => fetch(desk, &id, above)?,
        Format::Bundle => bundle(desk, &id)?,
    };
    require_named(checked.facts.as_ref(), named.as_ref())?;
    // What is proven to be on the ledger waits for no answer any more.
    submit::leave_outbox(desk.network()?, &id);
    if let Some(out) = out {
        write(out, &text)?;
    }
    let facts = checked.facts.as_ref();
    let sealed = facts.and_then(|facts| facts.sealed.as_ref());
    let data = json!({
        "tx_id": facts.map(|facts| format!("sha256:{}", hex::encode(facts.transaction.id()))),
        "format": format.name(), "file": out,
        "record_type": facts.map(|facts| &facts.transaction.payload().record_type),
        "agency_id": facts.map(|facts| &facts.transaction.payload().agency),
        "record_id": facts.map(|facts| id_text(&facts.transaction.payload().record_id)),
        "outcome": facts.map(|facts| outcome_name(facts.outcome)),
        "code": facts.filter(|facts| facts.outcome != 0).map(|facts| Code(facts.outcome).to_string()),
        "index": facts.map(|facts| facts.index), "tree_size": facts.map(|facts| facts.tree_size),
        "seals": sealed.map(|sealed| sealed.seals.len()), "quorum": sealed.map(|sealed| sealed.quorum),
        "epoch": sealed.map(|sealed| sealed.epoch), "verdict": verdict_name(&checked.report.verdict),
        "discontinuities": discontinuities_json(authorities.discontinuities()),
    });
    let said = facts.map_or(String::new(), |facts| {
        let words = desk.pick("账本的结果", "the ledger's decision");
        let payload = facts.transaction.payload();
        let record = format!("{} {}/{}", payload.record_type, payload.agency, id_text(&payload.record_id));
        let decided = wrap(&format!("{words}: {}", outcome_text(facts.outcome, desk.language)), 2);
        format!("\n  {record}\n{decided}")
    });
    let shown = match out {
        Some(out) => format!("{}  {}{said}", out.display(), desk.pick("回执已核验", "receipt verified")),
        None => text,
    };
    let warnings = discontinuity_warnings(authorities.discontinuities(), desk.language);
    Ok(Answer { warnings, ..Answer::done(data, shown) })
}

/// A receipt's text or a bundle's, how it verified, and the authorities that it was verified with.
type Fetched = (String, ReceiptReport, Authorities);

/// The receipt's text, verified against the pinned genesis and for the transaction that was asked for. If it is to take
/// another's place, nothing may be older than that one or than what this user has seen.
fn fetch(desk: &Desk, id: &str, above: Option<u64>) -> Result<Fetched, Failure> {
    let text = given(&desk.api()?, id)?;
    let genesis = &desk.network()?.genesis;
    let authorities = authorities_after(genesis, &handoffs::fetch(genesis, &desk.api()?)?)?;
    let checked = receipt(&authorities, &text, None);
    require_verified(&checked.report)?;
    let found = checked.facts.as_ref().map(|facts| hex::encode(facts.transaction.id())).unwrap_or_default();
    if found != id {
        return Err(Failure::coded(Code(4102), format!("the node gave a receipt of {found}")));
    }
    if let Some(sealed) = checked.facts.as_ref().and_then(|facts| facts.sealed.as_ref())
        && let Ok(receipt) = Receipt::parse(&text)
    {
        let order = compare((desk.network()?, &desk.api()?), &receipt.note.text(), sealed)?;
        if let (Some(earlier), size) = (above, sealed.checkpoint.size) {
            if let Order::Older(failure) = order {
                return Err(failure);
            }
            if size < earlier {
                return Err(Failure::coded(OLDER, format!("size {size}, kept is {earlier}")));
            }
        }
    }
    Ok((text, checked, authorities))
}

/// A receipt as some node gives it: that one has none does not say that there is none.
fn given(api: &NodeApi, id: &str) -> Result<String, Failure> {
    let path = format!("/transactions/{id}/receipt");
    let failure = match api.get(&format!("{path}?wait=20"))?.success() {
        Ok(reply) => return Ok(reply.text()),
        Err(failure) if failure.exit == exit::NOT_FOUND => failure,
        Err(failure) => return Err(failure),
    };
    let asked = api.answered();
    let mut silent = None;
    for node in api.nodes().iter().filter(|node| *node != asked) {
        match api.only(node).get(&path).and_then(Reply::success) {
            Ok(reply) => return Ok(reply.text()),
            Err(failure) if failure.exit == exit::NOT_FOUND => {}
            Err(other) => silent = Some(other),
        }
    }
    match silent {
        // Every node's word, and no proof: as `tx status`, and not as what is proven to be absent.
        None => {
            let nodes = api.nodes().len();
            let unknown = format!("not known to any node asked ({nodes}): not final yet, or never submitted");
            let data = json!({ "tx_id": format!("sha256:{id}"), "status": "unknown" });
            Err(Failure { data, ..Failure::coded(UNKNOWN, format!("{}; {unknown}", failure.detail)) })
        }
        Some(other) => Err(Failure::coded(PART_MISSING, format!("{}; {}", failure.detail, other.detail))),
    }
}

/// The verified receipt of a transaction or record, as a command line names it, and the authorities that it was verified with.
pub fn of(desk: &Desk, tx: &str) -> Result<(ReceiptReport, Authorities), Failure> {
    let (id, named) = asked_for(desk, tx)?;
    let (_, checked, authorities) = fetch(desk, &id, None)?;
    require_named(checked.facts.as_ref(), named.as_ref())?;
    Ok((checked, authorities))
}

/// A record that was asked for by name is the one that the receipt holds.
fn require_named(facts: Option<&ReceiptFacts>, named: Option<&(String, RecordId)>) -> Result<(), Failure> {
    let (Some(facts), Some((agency, id))) = (facts, named) else { return Ok(()) };
    let payload = facts.transaction.payload();
    if *agency == payload.agency && *id == payload.record_id {
        return Ok(());
    }
    let (found, wanted) = (id_text(&payload.record_id), id_text(id));
    let detail = format!("the node gave a receipt of {}/{found}, asked for was {agency}/{wanted}", payload.agency);
    Err(Failure::coded(Code(4102), detail))
}

fn require_verified(report: &Report) -> Result<(), Failure> {
    let (exit, code) = match &report.verdict {
        Verdict::Verified => return Ok(()),
        Verdict::Failed { code, .. } => (exit::FAILED, *code),
        Verdict::Inconclusive { code, .. } => (exit::INCONCLUSIVE, *code),
    };
    Err(Failure::coded(code, open_steps(report)).with_exit(exit))
}

/// The receipt with all that proves who signed it; verified as whoever gets the file will verify it.
fn bundle(desk: &Desk, tx: &str) -> Result<Fetched, Failure> {
    let network = desk.network()?;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let (text, checked, led) = fetch(desk, tx, None)?;
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
            policy: led.policy(facts.tree_size),
            entry: Some(entry_view(facts)),
            key: Some(key),
            trail: None,
            consistency: None,
        };
        let judged = mingzhang_ledger::verify::bundle(&authorities_of(&network.genesis), &evidence);
        require_verified(&judged.report)?;
        let json = serde_json::to_string(&evidence).map_err(|error| Failure::bug(error.to_string()))?;
        return Ok((json, checked, led));
    }
    Err(last.unwrap_or_else(|| Failure::bug("no attempt was made")))
}

fn export_handoffs(desk: &Desk, out: &PathBuf) -> Result<Answer, Failure> {
    let handoffs = handoffs::fetch(&desk.network()?.genesis, &desk.api()?)?;
    keep_evidence(out, &handoffs::text_of(&handoffs)?)?;
    let words = desk.pick("份换届凭证,已核验", "hand-offs, verified");
    let text = format!("{}  {} {words}", out.display(), handoffs.len());
    let led = authorities_after(&desk.network()?.genesis, &handoffs)?;
    let discontinuities = discontinuities_json(led.discontinuities());
    let data = json!({ "file": out, "handoffs": handoffs.len(), "discontinuities": discontinuities });
    let warnings = discontinuity_warnings(led.discontinuities(), desk.language);
    Ok(Answer { warnings, ..Answer::done(data, text) })
}

fn read(file: &Path) -> Result<Receipt, Failure> {
    let text = read_evidence(file)?;
    Receipt::parse(&text).map_err(|fault| Failure::coded(Code(4101), format!("{}: {fault}", file.display())))
}

/// What the file says, without any verification: its record and the decision about it are shown as claims.
fn show(desk: &Desk, file: &Path) -> Result<Answer, Failure> {
    let receipt = read(file)?;
    let record = match Entry::decode(&receipt.entry) {
        Ok(Entry::Record { outcome, transaction }) => Some((outcome, transaction)),
        _ => None,
    };
    let checkpoint = &receipt.note.checkpoint;
    let tx_id = receipt.entry.get(3..).map(|bytes| hex::encode(mingzhang_ledger::crypto::sha256(&[bytes])));
    let data = json!({
        "tx_id": tx_id.map(|id| format!("sha256:{id}")), "origin": checkpoint.origin, "index": receipt.index,
        "tree_size": checkpoint.size, "path": receipt.path.len(), "seals": receipt.note.lines.len(),
        "entry_bytes": receipt.entry.len(),
        "record_type": record.as_ref().map(|(_, transaction)| &transaction.payload().record_type),
        "record_id": record.as_ref().map(|(_, transaction)| id_text(&transaction.payload().record_id)),
        "agency_id": record.as_ref().map(|(_, transaction)| &transaction.payload().agency),
        "outcome": record.as_ref().map(|(outcome, _)| outcome_name(*outcome)),
        "code": record.as_ref().filter(|(outcome, _)| *outcome != 0).map(|(outcome, _)| Code(*outcome).to_string()),
    });
    let said = record.as_ref().map_or(String::new(), |(outcome, transaction)| {
        let payload = transaction.payload();
        let record = format!("{} {}/{}", payload.record_type, payload.agency, id_text(&payload.record_id));
        let words = desk.pick("账本的结果", "the ledger's decision");
        let claim = desk.pick("(未核验)", " (not verified here)");
        let decided = wrap(&format!("{words}: {}{claim}", outcome_text(*outcome, desk.language)), 2);
        format!("{record}\n{decided}\n  ")
    });
    let text = format!(
        "{said}{}  {} {}  {} {}  {} {}",
        checkpoint.origin,
        desk.pick("序号", "index"),
        receipt.index,
        desk.pick("日志", "tree"),
        checkpoint.size,
        desk.pick("签名行", "lines"),
        receipt.note.lines.len()
    );
    Ok(Answer::done(data, text))
}

fn refresh(desk: &Desk, file: &PathBuf) -> Result<Answer, Failure> {
    let receipt = read(file)?;
    let id = receipt.entry.get(3..).map(|bytes| hex::encode(mingzhang_ledger::crypto::sha256(&[bytes])));
    let id = id.ok_or_else(|| Failure::usage(format!("{}: the entry is no record", file.display())))?;
    let above = Some(receipt.note.checkpoint.size);
    get(desk, (&id, Format::TlogProof, above), (Some(file), replace))
}

/// The newer receipt of the same record takes the older one's place, whole: that is what was asked for. One of the same size
/// says nothing new.
fn replace(file: &Path, text: &str) -> Result<(), Failure> {
    let size = |receipt: &Receipt| receipt.note.checkpoint.size;
    let newer = Receipt::parse(text).map_err(|fault| Failure::coded(Code(4101), fault.to_string()))?;
    if size(&newer) <= size(&read(file)?) {
        return Ok(());
    }
    let part = PathBuf::from(format!("{}.{}.part", file.display(), hex::encode(random::<8>()?)));
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, file));
    if written.is_err() {
        let _stays = std::fs::remove_file(&part);
    }
    written.map_err(|error| Failure::not_written(file, error))
}
