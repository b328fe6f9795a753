//! `mingzhang audit`: a programme's money and any trail, proven complete under one sealed checkpoint, judged here.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use mingzhang_ledger::entry::Entry;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::proof::{EvidenceBundle, SubjectKind, subject_key};
use mingzhang_ledger::state::key::id_text;
use serde_json::{Value, json};

use super::Desk;
use super::query::qualified;
use super::tx::time_text;
use crate::audit::fetch::Found;
use crate::audit::judge::{
    Judged, beside_kept, figures_json, findings, flagged_indices, founding_json, is_newest, judge, made_something,
    mode, money_at, money_of, proof_json, records,
};
use crate::audit::nodes::{self, Agreement, Newest};
use crate::audit::text::{self, Lines};
use crate::audit::{blocks, fetch};
use crate::kept::compare_any;
use crate::keys;
use crate::node_api::NodeApi;
use crate::output::{Answer, Failure, Language, exit};
use crate::verify::{
    authorities_after, decided, discontinuities_json, discontinuity_warnings, keep_evidence, outcome_name,
    read_evidence, steps_json, steps_text,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All money of a programme, folded from its complete trail
    Programme {
        id: String,
        /// As it was after this block
        #[arg(long, value_name = "H")]
        height: Option<u64>,
    },
    /// Every record that touched a subject, with its completeness proof
    Trail {
        subject: Subject,
        /// agency/id of a programme, account or case; a key's id or name; scope/pseudonym; a registry's name
        id: String,
        /// Show records of this block and later ones only; the whole trail is proven all the same
        #[arg(long, value_name = "H", default_value_t = 0)]
        from: u64,
        /// Show records of this block and earlier ones only
        #[arg(long, value_name = "H", default_value_t = u64::MAX, hide_default_value = true)]
        to: u64,
    },
    /// The same as one file that proves itself offline
    Bundle {
        subject: Subject,
        /// As for `audit trail`
        id: String,
        #[arg(long)]
        out: PathBuf,
    },
    /// Judge a bundle from the genesis file alone
    Verify {
        bundle: PathBuf,
        /// Says what is always so: no socket is opened; only the given files and the checkpoint kept here are read
        #[arg(long)]
        offline: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Public money, as agency/id: civil/AID-2026
    Programme,
    /// A programme's account, as agency/id: finance/F-2026-014
    Account,
    /// A case, as agency/id: approval/C-2026-17
    Case,
    /// All that a key signed: its id of 32 hex digits (key show), or its name in this context: civil-window-1
    Officer,
    /// Who is paid, as scope/pseudonym with 32 hex digits: relief/0123456789abcdef0123456789abcdef
    Recipient,
    /// All of a kind: programmes, agencies, proposals, officers/AGENCY, accounts/AGENCY.PROGRAMME
    Registry,
}

impl Subject {
    fn kind(self) -> SubjectKind {
        match self {
            Self::Programme => SubjectKind::Programme,
            Self::Account => SubjectKind::Account,
            Self::Case => SubjectKind::Case,
            Self::Officer => SubjectKind::Officer,
            Self::Recipient => SubjectKind::Recipient,
            Self::Registry => SubjectKind::Registry,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Programme => "programme",
            Self::Account => "account",
            Self::Case => "case",
            Self::Officer => "officer",
            Self::Recipient => "recipient",
            Self::Registry => "registry",
        }
    }
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    match args.action {
        Action::Programme { id, height } => ("audit programme".into(), programme(desk, &id, height)),
        Action::Trail { subject, id, from, to } => ("audit trail".into(), trail(desk, subject, &id, from..=to)),
        Action::Bundle { subject, id, out } => ("audit bundle".into(), bundle(desk, subject, &id, &out)),
        Action::Verify { bundle, .. } => ("audit verify".into(), verify(desk, &bundle)),
    }
}

/// A subject's evidence, judged; with what the other nodes say of the same trail.
struct Gathered {
    evidence: EvidenceBundle,
    judged: Judged,
    id: String,
    agreement: Agreement,
    /// The node that gave it.
    api: NodeApi,
}

fn gather(desk: &Desk, subject: Subject, id: &str) -> Result<Gathered, Failure> {
    let id = subject_id(desk, subject, id)?;
    let (network, api) = (desk.network()?, desk.api()?);
    let newest = nodes::newest(network, &api)?;
    let asked = (subject.kind(), id.as_str());
    let (evidence, judged, node) = proven(desk, &api, &newest, asked)?;
    if let Some(bundled) = &evidence.trail {
        fetch::require_subject(&bundled.trail, asked)?;
    }
    let complete = judged.proven.as_ref().filter(|_| judged.exit == exit::DONE);
    if let (Some(proven), Some(bundled)) = (complete, &evidence.trail) {
        compare_any((network, &api), &bundled.sealed.checkpoint, &proven.header.sealed)?;
    }
    let agreement = complete.map(|proven| nodes::ask(&api, &newest, proven, asked)).unwrap_or_default();
    Ok(Gathered { evidence, judged, id, agreement, api: node })
}

/// The evidence of the first node whose proofs lead to a conclusion, of those that are known to be sealed the furthest.
/// That there is no such trail is an answer with its proof only.
fn proven(
    desk: &Desk,
    api: &NodeApi,
    newest: &Newest,
    (kind, id): (SubjectKind, &str),
) -> Result<(EvidenceBundle, Judged, NodeApi), Failure> {
    let network = desk.network()?;
    let (mut open, mut reasons) = (None, Vec::new());
    for (name, _) in &newest.proven {
        let node = api.only(name);
        match fetch::bundle(network, &node, (kind, id), newest.size()) {
            Ok(Found::Bundle(evidence)) => {
                let judged = judge(&network.genesis, &evidence)?;
                if judged.exit != exit::INCONCLUSIVE {
                    return Ok((*evidence, judged, node));
                }
                open.get_or_insert((*evidence, judged, node));
            }
            Ok(Found::Nothing(height)) => {
                return Err(Failure::coded(Code(2005), format!("{id} has no trail, proven at height {height}")));
            }
            Ok(Found::OtherKind(height)) => {
                let detail = format!("{id} is no {}, proven at height {height}", kind.name());
                return Err(Failure::coded(Code(2005), detail));
            }
            Err(failure) if failure.exit == exit::FAILED => return Err(failure),
            Err(failure) => reasons.push(failure),
        }
    }
    if let Some(open) = open {
        return Ok(open);
    }
    let details: Vec<&str> = reasons.iter().map(|failure| failure.detail.as_str()).collect();
    let is_silence = reasons.iter().all(|failure| failure.exit == exit::UNREACHABLE);
    let code = if is_silence { Code(2007) } else { fetch::PART_MISSING };
    Err(Failure::coded(code, details.join("; ")))
}

/// The id of an officer's key, which may be named as a key of this context.
pub(super) fn officer_key(desk: &Desk, id: &str) -> Result<String, Failure> {
    subject_id(desk, Subject::Officer, id)
}

/// The id as the ledger has it; one that cannot be of that kind is told what one looks like.
fn subject_id(desk: &Desk, subject: Subject, id: &str) -> Result<String, Failure> {
    let full = match subject {
        Subject::Programme | Subject::Account | Subject::Case => qualified(desk, id)?,
        Subject::Officer if subject_key(SubjectKind::Officer, id).is_none() && !id.contains('/') => {
            let context = &desk.network()?.context;
            match keys::exists(id, context)? {
                true => hex::encode(keys::public_key(id, Some(context), desk.passphrase)?.key_id()),
                false => id.to_owned(),
            }
        }
        Subject::Officer | Subject::Recipient | Subject::Registry => id.to_owned(),
    };
    let is_registry = subject != Subject::Registry || is_registry(&full);
    // What an address could be changed with belongs to no id.
    let is_plain = full.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    if is_plain && is_registry && subject_key(subject.kind(), &full).is_some() {
        return Ok(full);
    }
    let wanted = match subject {
        Subject::Programme | Subject::Account | Subject::Case => "agency/id is wanted, such as civil/AID-2026",
        Subject::Officer => {
            "a key's id of 32 hex digits (mingzhang key show) or the name of a key of this context is wanted, such as \
             civil-window-1"
        }
        Subject::Recipient => "scope/pseudonym is wanted: the programme's scope of pseudonyms and 32 hex digits",
        Subject::Registry => "programmes, agencies, proposals, officers/AGENCY or accounts/AGENCY.PROGRAMME is wanted",
    };
    Err(Failure::usage(format!("{} {id}: {wanted}", subject.name())))
}

fn is_registry(name: &str) -> bool {
    let well_formed = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    name.split('/').count() <= 2 && name.split('/').all(well_formed)
}

/// Names every node that tells another story than the one that is proven.
fn with_warnings(mut answer: Answer, desk: &Desk, agreement: &Agreement) -> Answer {
    let words = desk.pick("节点所述与已核验的不同: ", "this node says otherwise than what is proven: ");
    answer.warnings.extend(agreement.differing.iter().map(|node| format!("{words}{node}")));
    let behind = |(node, entries): &(String, u64)| match desk.language {
        Language::Chinese => format!("节点 {node} 的封签落后 {entries} 个条目"),
        Language::English => format!("node {node} is sealed {entries} entries behind"),
    };
    answer.warnings.extend(agreement.behind.iter().map(behind));
    let silent = desk.pick("节点未应答,其说法未知: ", "this node gave no answer to compare: ");
    answer.warnings.extend(agreement.silent.iter().map(|node| format!("{silent}{node}")));
    answer
}

/// Whoever audits across a recovery manifest is told, and who reads old books, how old they are.
fn with_cautions(
    mut answer: Answer,
    desk: &Desk,
    evidence: &EvidenceBundle,
    judged: &Judged,
) -> Result<Answer, Failure> {
    answer.warnings.extend(discontinuity_warnings(&judged.discontinuities, desk.language));
    if let Some(proven) = &judged.proven {
        let genesis = &desk.network()?.genesis;
        let led = authorities_after(genesis, &evidence.handoffs)?;
        let time_ms = proven.header.header.time_ms;
        let heartbeat_ms = led.deciding(proven.header.sealed.checkpoint.size).parameters.heartbeat_ms;
        answer.warnings.extend(nodes::old_books((genesis, desk.language), time_ms, heartbeat_ms));
    }
    Ok(answer)
}

fn as_of(judged: &Judged) -> Value {
    judged.proven.as_ref().map_or(Value::Null, |proven| as_of_header(&proven.header.header))
}

pub(super) fn as_of_header(header: &Header) -> Value {
    json!({ "height": header.height, "time": time_text(header.time_ms), "tree_size": header.tree_size() })
}

/// The header of a height, shown to be in the proven log.
fn header_at(api: &NodeApi, judged: &Judged, height: u64) -> Result<Option<Header>, Failure> {
    let Some(proven) = &judged.proven else { return Ok(None) };
    let newest = &proven.header.header;
    if height >= newest.height {
        let told = format!("height {height} is not reached yet: the newest sealed block is at {}", newest.height);
        return if height == newest.height { Ok(Some(*newest)) } else { Err(Failure::coded(Code(2005), told)) };
    }
    let checkpoint = &proven.header.sealed.checkpoint;
    let header = blocks::proven(checkpoint, &fetch::header(api, height, checkpoint.size)?)?;
    if header.height != height {
        return Err(Failure::coded(Code(4108), format!("the header is of height {}, wanted {height}", header.height)));
    }
    Ok(Some(header))
}

/// When it does not verify, no figure is shown as fact.
fn failed(judged: &Judged, data: Value, desk: &Desk) -> Answer {
    let text = format!("{}\n{}", judged.sentence(desk.language), steps_text(&judged.report, desk.language));
    let mut answer = Answer::done(data, text).with_exit(judged.exit);
    answer.reason.clone_from(&judged.reason);
    answer
}

fn programme(desk: &Desk, id: &str, height: Option<u64>) -> Result<Answer, Failure> {
    let Gathered { evidence, mut judged, id, agreement, api } = gather(desk, Subject::Programme, id)?;
    // A programme states its currency when it is opened; any other record has a trail as well, and no money. One that still
    // waits for an approval has made nothing.
    if judged.money.as_ref().is_some_and(|money| money.fold.currency().is_empty() || !made_something(&judged)) {
        return Err(Failure::coded(Code(2005), format!("{id} is no programme that was opened")));
    }
    let mut at = judged.proven.as_ref().map(|proven| proven.header.header);
    if let Some(height) = height {
        at = header_at(&api, &judged, height)?;
        let size = at.as_ref().map_or(0, Header::tree_size);
        judged.money = money_at(&id, &judged, size)?;
        if judged.money.as_ref().is_some_and(|money| !money.balanced) && judged.exit == exit::DONE {
            judged.exit = exit::FAILED;
            judged.reason = Some((Code(4113), "the books do not balance at this height".to_owned()));
        }
        if judged.money.as_ref().is_some_and(|money| money.fold.records() == 0) {
            return Err(Failure::coded(Code(2005), format!("{id} has no record at height {height}")));
        }
    }
    let answer = programme_answer(desk, (&judged, &api), (&id, at.as_ref()), &agreement)?;
    Ok(with_warnings(with_cautions(answer, desk, &evidence, &judged)?, desk, &agreement))
}

fn programme_answer(
    desk: &Desk,
    (judged, api): (&Judged, &NodeApi),
    (id, at): (&str, Option<&Header>),
    agreement: &Agreement,
) -> Result<Answer, Failure> {
    let proof = proof_json(judged, agreement);
    let (Some(money), Some(at), Some(proven)) = (&judged.money, at, &judged.proven) else {
        return Ok(failed(judged, json!({ "programme_id": id, "proof": proof }), desk));
    };
    let currency = money.fold.currency().to_owned();
    let indices = flagged_indices(judged, at.tree_size());
    let heights: BTreeMap<u64, u64> = match judged.exit {
        exit::DONE => {
            let headers = blocks::holding(api, &proven.header.sealed.checkpoint, &indices)?;
            indices.into_iter().zip(headers.iter().map(|header| header.height)).collect()
        }
        _ => BTreeMap::new(),
    };
    let found = findings((id, judged), at.tree_size(), Some(&heights), desk.language);
    let accounts: Vec<Value> = money
        .fold
        .accounts()
        .iter()
        .map(|(name, account)| {
            json!({ "account_id": name.to_string(), "kind": account.kind.code(), "agency_id": account.agency,
                    "year": account.year, "closed": account.closed, "debits_posted": account.sums.debits_posted.to_string(),
                    "credits_posted": account.sums.credits_posted.to_string(),
                    "debits_pending": account.sums.debits_pending.to_string(),
                    "credits_pending": account.sums.credits_pending.to_string() })
        })
        .collect();
    let mut data = json!({ "programme_id": id, "currency": currency, "historical": money.fold.is_historical(),
                           "mode": mode(judged), "as_of": as_of_header(at) });
    let rest = json!({
        "balanced": money.balanced, "accounts": accounts, "movements": money.fold.movements().len(),
        "records": money.fold.records(), "rejected_attempts": money.fold.rejected(), "findings": found, "proof": proof,
        "standing_judged": is_newest(judged, at.tree_size()),
    });
    if let Some(members) = data.as_object_mut() {
        for part in [figures_json(&money.figures, &currency), rest] {
            members.extend(part.as_object().cloned().unwrap_or_default());
        }
    }
    if judged.exit != exit::DONE {
        return Ok(failed(judged, json!({ "programme_id": id, "proof": data["proof"] }), desk));
    }
    let head = text::head(SubjectKind::Programme, id, (&desk.network()?.genesis, at), desk.language);
    let text = text::programme(&head, judged, &found, agreement, desk.language);
    Ok(Answer::done(data, text))
}

fn trail(desk: &Desk, subject: Subject, id: &str, heights: RangeInclusive<u64>) -> Result<Answer, Failure> {
    if heights.is_empty() {
        return Err(Failure::usage(format!("--from {} is above --to {}", heights.start(), heights.end())));
    }
    let Gathered { evidence, judged, id, agreement, api } = gather(desk, subject, id)?;
    let proof = proof_json(&judged, &agreement);
    let told = json!({ "subject": subject.name(), "subject_id": id, "proof": proof });
    let Some(proven) = judged.proven.as_ref().filter(|_| judged.exit == exit::DONE) else {
        return Ok(failed(&judged, told, desk));
    };
    let indices: Vec<u64> = records(&proven.trail).map(|(index, ..)| index).collect();
    let headers = blocks::holding(&api, &proven.header.sealed.checkpoint, &indices)?;
    let currency = judged.money.as_ref().map(|money| money.fold.currency());
    let genesis = &desk.network()?.genesis;
    let mut lines = Lines::new(genesis, desk.language);
    let mut entries = Vec::new();
    // The founding document stands on the trails of what it founds; it is no record, and a part of the count.
    let founded = proven.trail.entries.iter().any(|proven| matches!(proven.entry, Entry::Genesis { .. }));
    if founded && heights.contains(&0) {
        lines.founding();
        entries.push(founding_json());
    }
    let shown = records(&proven.trail).zip(&headers).filter(|(_, header)| heights.contains(&header.height));
    for ((index, outcome, transaction), header) in shown {
        let payload = transaction.payload();
        let code = (outcome != 0).then(|| Code(outcome).to_string());
        let time = time_text(header.time_ms);
        lines.record((index, header.time_ms), (outcome, transaction), currency);
        entries.push(json!({
            "index": index, "height": header.height, "time": time,
            "tx_id": format!("sha256:{}", hex::encode(transaction.id())),
            "record_type": payload.record_type, "agency_id": payload.agency, "record_id": id_text(&payload.record_id),
            "officer": hex::encode(transaction.key_id()), "outcome": if outcome == 0 { "applied" } else { "rejected" },
            "code": code, "money": money_of(payload, currency),
        }));
    }
    let (count, root) = proven.trail.value.trail.unwrap_or_default();
    let mut end = String::new();
    if entries.len() < proven.trail.entries.len() {
        end = format!("{} {}\n", desk.pick("所示", "shown"), entries.len());
    }
    let whole = desk.pick("轨迹完整,已核验", "complete trail, verified");
    end.push_str(&format!("{} {count}  {whole}", desk.pick("共", "all of")));
    let head = text::head(subject.kind(), &id, (genesis, &proven.header.header), desk.language);
    let text = format!("{head}{}{}\n{end}", text::mode_line(mode(&judged), desk.language), lines.text());
    let data = json!({
        "subject": subject.name(), "subject_id": id, "count": count, "root": hex::encode(root),
        "as_of": as_of(&judged), "entries": entries, "next_cursor": null, "proof": told["proof"],
        "mode": mode(&judged),
    });
    let answer = with_cautions(Answer::done(data, text), desk, &evidence, &judged)?;
    Ok(with_warnings(answer, desk, &agreement))
}

fn bundle(desk: &Desk, subject: Subject, id: &str, out: &PathBuf) -> Result<Answer, Failure> {
    let Gathered { evidence, judged, id, agreement, .. } = gather(desk, subject, id)?;
    if judged.exit != exit::DONE {
        let data = json!({ "subject": subject.name(), "subject_id": id, "proof": proof_json(&judged, &agreement) });
        return Ok(failed(&judged, data, desk));
    }
    let text = serde_json::to_string(&evidence).map_err(|error| Failure::bug(error.to_string()))?;
    keep_evidence(out, &text)?;
    let entries = evidence.trail.as_ref().map_or(0, |trail| trail.trail.entries.len());
    let data = json!({ "file": out, "entries": entries, "bytes": text.len() });
    let mut text = format!("{}  {entries} {}", out.display(), desk.pick("条记录", "records"));
    if let Some(proven) = &judged.proven {
        let at = (&desk.network()?.genesis, &proven.header.header);
        text = format!("{text}\n{}", text::head(subject.kind(), &id, at, desk.language));
        text.push_str(&text::mode_line(mode(&judged), desk.language));
    }
    let answer = with_cautions(Answer::done(data, text.trim_end()), desk, &evidence, &judged)?;
    Ok(with_warnings(answer, desk, &agreement))
}

fn verify(desk: &Desk, file: &Path) -> Result<Answer, Failure> {
    let text = read_evidence(file)?;
    let evidence: EvidenceBundle = serde_json::from_str(&text)
        .map_err(|error| Failure::coded(Code(4101), format!("{}: {error}", file.display())).with_exit(exit::FAILED))?;
    let genesis = desk.genesis()?;
    let mut judged = judge(&genesis, &evidence)?;
    beside_kept((&genesis, desk.max_age()), &evidence, &mut judged)?;
    let trail = evidence.trail.as_ref().map(|trail| &trail.trail);
    let id = trail.map(|trail| trail.id.clone()).unwrap_or_default();
    let found = findings((&id, &judged), u64::MAX, None, desk.language);
    let data = json!({
        "verdict": judged.verdict(), "subject": trail.map(|trail| trail.kind), "subject_id": id, "as_of": as_of(&judged),
        "entries": trail.map_or(0, |trail| trail.entries.len()), "missing": judged.missing(),
        "money_conserved": judged.money.as_ref().map(|money| money.balanced), "findings": found,
        "steps": steps_json(&judged.report),
        "outcome": judged.receipt.as_ref().map(|facts| outcome_name(facts.outcome)),
        "code": judged.receipt.as_ref().filter(|facts| facts.outcome != 0).map(|facts| Code(facts.outcome).to_string()),
        "discontinuities": discontinuities_json(&judged.discontinuities), "mode": mode(&judged),
        "genesis_hash": format!("sha256:{}", hex::encode(genesis.hash)),
    });
    if judged.exit != exit::DONE {
        return Ok(failed(&judged, data, desk));
    }
    let said = judged.receipt.as_ref().map_or(String::new(), |facts| decided(facts, true, desk.language));
    let steps = steps_text(&judged.report, desk.language);
    let about = text::verified(&genesis, &judged, trail, &found, desk.language);
    let text = format!("{}{said}\n{about}{steps}", judged.sentence(desk.language));
    let mut answer = Answer::done(data, text);
    answer.warnings.extend(discontinuity_warnings(&judged.discontinuities, desk.language));
    Ok(answer)
}
