//! Judges an evidence bundle from the genesis file alone: seals, completeness, signatures, then the money folded from
//! the records and compared with the proven accounts.

use std::collections::BTreeMap;
use std::time::Duration;

use mingzhang_genesis::Genesis;
use mingzhang_ledger::entry::Entry;
use mingzhang_ledger::outcome::{Code, catalogue};
use mingzhang_ledger::proof::{BundledTrail, EvidenceBundle, SubjectKind, subject_key};
use mingzhang_ledger::receipt::Receipt;
use mingzhang_ledger::records::body;
use mingzhang_ledger::records::fund::fold::{Figures, Fold};
use mingzhang_ledger::records::fund::sums::Sums;
use mingzhang_ledger::records::object::{Object, RecordLeaf, Ref};
use mingzhang_ledger::records::record_type;
use mingzhang_ledger::records::waiting::registered_by;
use mingzhang_ledger::recovery::Discontinuity;
use mingzhang_ledger::state::key;
use mingzhang_ledger::transaction::{Payload, Transaction};
use mingzhang_ledger::verify::{
    BundleReport, ProvenBundle, ProvenTrail, ReceiptFacts, Report, Verdict, absence, bundle,
};
use serde_json::{Value, json};

use super::nodes::Agreement;
use super::standing::{self, Standing};
use crate::kept::{Shown, judge_file};
use crate::output::{Failure, Language, exit, exponent_of, money_json};
use crate::verify::{authorities_of, discontinuities_json, steps_json};

/// What is known after judging.
pub struct Judged {
    pub report: Report,
    /// What the bundle's receipt says, where it has one.
    pub receipt: Option<ReceiptFacts>,
    pub proven: Option<ProvenBundle>,
    /// The money of a programme, folded.
    pub money: Option<Money>,
    /// The flags about a programme, each proven by the leaf of its record.
    pub flagged: Vec<Flagged>,
    /// What time has broken as of the proven header.
    pub standing: Vec<Standing>,
    pub exit: u8,
    /// Where the hand-offs pass a recovery manifest.
    pub discontinuities: Vec<Discontinuity>,
    /// Why it failed or cannot be concluded.
    pub reason: Option<(Code, String)>,
}

impl Judged {
    /// The verdict on everything, in the word for programs: a part that is missing beside sound proofs counts as well.
    pub fn verdict(&self) -> &'static str {
        match self.exit {
            exit::DONE => "verified",
            exit::INCONCLUSIVE => "inconclusive",
            _ => "failed",
        }
    }

    /// The same as the sentence for people.
    pub fn sentence(&self, language: Language) -> &'static str {
        match self.exit {
            exit::DONE => language.pick("已核验 VERIFIED", "VERIFIED"),
            exit::INCONCLUSIVE => language.pick("无法得出结论 CANNOT CONCLUDE", "CANNOT CONCLUDE"),
            _ => language.pick("核验失败 FAILED", "FAILED"),
        }
    }

    /// What would have to be there for a conclusion.
    pub fn missing(&self) -> Vec<String> {
        match (&self.report.verdict, &self.reason) {
            (Verdict::Inconclusive { missing, .. }, _) => missing.clone(),
            (_, Some((_, detail))) if self.exit == exit::INCONCLUSIVE => vec![detail.clone()],
            _ => Vec::new(),
        }
    }
}

/// A record on a programme's findings trail, with the flags that its proven leaf holds.
pub struct Flagged {
    index: u64,
    tx_id: String,
    record: String,
    /// What it says it moves.
    money: Value,
    flags: Vec<u16>,
}

/// A programme's figures and whether they are those of the proven accounts.
pub struct Money {
    pub fold: Fold,
    pub figures: Figures,
    pub balanced: bool,
    pub differing: Vec<Ref>,
}

/// Verifies a bundle about the subject that its trail names.
pub fn judge(genesis: &Genesis, evidence: &EvidenceBundle) -> Result<Judged, Failure> {
    let BundleReport { report, receipt, trail: proven, discontinuities } = bundle(&authorities_of(genesis), evidence);
    let (exit, reason) = match &report.verdict {
        Verdict::Verified => (exit::DONE, None),
        Verdict::Failed { code, .. } => (exit::FAILED, Some((*code, last_detail(&report)))),
        Verdict::Inconclusive { code, missing } => (exit::INCONCLUSIVE, Some((*code, missing.join("; ")))),
    };
    let mut judged = Judged {
        report,
        receipt,
        proven,
        money: None,
        flagged: vec![],
        standing: vec![],
        exit,
        discontinuities,
        reason,
    };
    let Some(bundled) = &evidence.trail else { return Ok(judged) };
    if judged.exit != exit::DONE || bundled.trail.kind != SubjectKind::Programme {
        return Ok(judged);
    }
    let Some(proven) = &judged.proven else { return Ok(judged) };
    if let Some(missing) = withheld(bundled, proven) {
        judged.exit = exit::INCONCLUSIVE;
        judged.reason = Some((Code(4127), missing));
        return Ok(judged);
    }
    let offset = genesis.founding.network.utc_offset_minutes;
    let reckoned = fold(&bundled.trail.id, proven).and_then(|money| {
        let flagged = flagged(&bundled.trail.id, proven, money.fold.currency())?;
        // Books that differ are said to, whatever else is missing.
        let reckon = || standing::of((bundled, proven, &money.fold), offset);
        let standing = if money.balanced { reckon()? } else { Vec::new() };
        Ok((flagged, standing, money))
    });
    match reckoned {
        Ok((found, standing, money)) => {
            (judged.flagged, judged.standing) = (found, standing);
            if !money.balanced {
                let differing: Vec<String> = money.differing.iter().map(ToString::to_string).collect();
                judged.exit = exit::FAILED;
                judged.reason =
                    Some((Code(4113), format!("accounts differ from the records: {}", differing.join(" "))));
            }
            judged.money = Some(money);
        }
        Err(detail) => {
            judged.exit = exit::INCONCLUSIVE;
            judged.reason = Some((Code(4127), detail));
        }
    }
    Ok(judged)
}

/// A trail beside the programme's own that is neither here nor proven not to exist.
fn withheld(bundled: &BundledTrail, proven: &ProvenBundle) -> Option<String> {
    let part = bundled.trail.id.replacen('/', ".", 1);
    let beside = [(SubjectKind::Registry, format!("accounts/{part}")), (SubjectKind::Findings, part)];
    beside.into_iter().find_map(|(kind, id)| {
        let key = subject_key(kind, &id)?;
        let is_absent = || bundled.leaves.iter().any(|leaf| absence(&proven.header, leaf, &key).is_ok());
        let known = proven.registries.contains_key(&key) || is_absent();
        (!known).then(|| format!("the trail {id}, or the proof that there is none"))
    })
}

/// A bundle that proves itself may yet be of another history than the one that this user has seen, or too old.
pub fn beside_kept(
    place: (&Genesis, Option<Duration>),
    evidence: &EvidenceBundle,
    judged: &mut Judged,
) -> Result<(), Failure> {
    let trail = evidence.trail.as_ref().zip(judged.proven.as_ref());
    let trail = trail.map(|(bundled, proven)| (bundled.sealed.checkpoint.clone(), &proven.header.sealed));
    let receipt = evidence.receipt.as_deref().and_then(|text| Some(Receipt::parse(text).ok()?.note.text()));
    let receipt = receipt.zip(judged.receipt.as_ref().and_then(|facts| facts.sealed.as_ref()));
    for (text, sealed) in trail.into_iter().chain(receipt) {
        let proof = evidence.consistency.as_ref().filter(|proof| proof.to == sealed.checkpoint.size);
        if judged.exit != exit::DONE {
            break;
        }
        if let Some(problem) = judge_file(place, &Shown { text: &text, sealed, proof })? {
            judged.exit = if problem.missing { exit::INCONCLUSIVE } else { exit::FAILED };
            judged.reason = Some((problem.code, problem.detail));
        }
    }
    Ok(())
}

fn last_detail(report: &Report) -> String {
    report.steps.last().map(|step| step.detail.clone()).unwrap_or_default()
}

/// The records of a proven trail, oldest first, with their log indices and outcomes.
pub fn records(trail: &ProvenTrail) -> impl Iterator<Item = (u64, u16, &Transaction)> {
    trail.entries.iter().filter_map(|proven| match &proven.entry {
        Entry::Record { outcome, transaction } => Some((proven.index, *outcome, transaction)),
        Entry::Genesis { .. } | Entry::Header(_) => None,
    })
}

/// The records of a programme folded up to a size of the log.
fn folded(id: &str, proven: &ProvenBundle, size: u64) -> Result<Fold, String> {
    let (agency, record) = id.split_once('/').ok_or("the id is not agency/id")?;
    let programme = Ref::new(agency, &key::parse_id(record).ok_or("the id is not agency/id")?);
    let mut fold = Fold::new(programme);
    for (_, outcome, transaction) in records(&proven.trail).take_while(|(index, ..)| *index < size) {
        fold.apply(outcome, transaction.payload()).map_err(|fault| fault.to_string())?;
    }
    Ok(fold)
}

/// The money as it was when the log had `size` entries: the beginning of the proven trail, by the same fold.
pub fn money_at(id: &str, judged: &Judged, size: u64) -> Result<Option<Money>, Failure> {
    let (Some(proven), Some(now)) = (&judged.proven, &judged.money) else { return Ok(None) };
    let fold = folded(id, proven, size).map_err(|detail| Failure::coded(Code(4127), detail))?;
    let figures = fold.figures();
    let balanced = now.balanced && figures.balanced;
    Ok(Some(Money { fold, figures, balanced, differing: now.differing.clone() }))
}

fn fold(id: &str, proven: &ProvenBundle) -> Result<Money, String> {
    let mut fold = folded(id, proven, u64::MAX)?;
    let sums = proven_accounts(&fold.programme().clone(), proven)?;
    let differing = fold.differences(&sums).map_err(|fault| fault.to_string())?;
    let figures = fold.figures();
    let balanced = figures.balanced && differing.is_empty();
    Ok(Money { fold, figures, balanced, differing })
}

/// The proven sums of every account that the registry trail lists.
fn proven_accounts(programme: &Ref, proven: &ProvenBundle) -> Result<BTreeMap<Ref, Sums>, String> {
    let mut sums = BTreeMap::new();
    let registry = subject_key(SubjectKind::Registry, &format!("accounts/{}", programme.key_part()))
        .and_then(|key| proven.registries.get(&key));
    let Some(registry) = registry else { return Ok(sums) };
    for (_, _, transaction) in records(registry) {
        let account = registered_by(transaction.payload());
        let leaf =
            proven.leaves.get(&account.key()).ok_or_else(|| format!("the leaf of account {account} is missing"))?;
        let leaf: Option<RecordLeaf> = minicbor::decode(&leaf.current).ok();
        // A registered account whose leaf shows none would leave the fold without anything to be compared with.
        let Some(Object::Account(object)) = leaf.and_then(|leaf| leaf.object) else {
            return Err(format!("the leaf of account {account} shows no account"));
        };
        sums.insert(account, object.sums);
    }
    Ok(sums)
}

/// What the proven findings trail lists. An entry whose leaf is not at hand is missing: its flags would pass in silence.
fn flagged(id: &str, proven: &ProvenBundle, currency: &str) -> Result<Vec<Flagged>, String> {
    let part = id.replacen('/', ".", 1);
    let trail = subject_key(SubjectKind::Findings, &part).and_then(|key| proven.registries.get(&key));
    let Some(trail) = trail else { return Ok(Vec::new()) };
    let found = records(trail).map(|(index, _, transaction)| {
        let payload = transaction.payload();
        let record = format!("{}/{}", payload.agency, key::id_text(&payload.record_id));
        let leaf = proven.leaves.get(&key::record(&payload.agency, &payload.record_id));
        let leaf: Option<RecordLeaf> = leaf.and_then(|leaf| minicbor::decode(&leaf.current).ok());
        let leaf = leaf.ok_or_else(|| format!("the leaf of {record}, which holds its flags"))?;
        let tx_id = format!("sha256:{}", hex::encode(transaction.id()));
        let money = money_of(payload, Some(currency).filter(|currency| !currency.is_empty()));
        Ok(Flagged { index, tx_id, record, money, flags: leaf.flags })
    });
    found.collect()
}

/// Indices of the flagged records in the first `size` entries of the log, ascending.
pub fn flagged_indices(judged: &Judged, size: u64) -> Vec<u64> {
    judged.flagged.iter().map(|found| found.index).take_while(|index| *index < size).collect()
}

/// What the subject of a trail belongs to: `live`, `historical` or `strict`; none where its leaf does not say.
pub fn mode(judged: &Judged) -> Option<&'static str> {
    let trail = &judged.proven.as_ref()?.trail;
    let leaf: RecordLeaf = minicbor::decode(&trail.value.current).ok()?;
    Some(leaf.mode.name())
}

/// Whether the record that a trail is about has taken effect.
pub fn made_something(judged: &Judged) -> bool {
    let leaf = judged.proven.as_ref().and_then(|proven| minicbor::decode(&proven.trail.value.current).ok());
    leaf.is_some_and(|leaf: RecordLeaf| leaf.object.is_some())
}

/// Whether what time has broken belongs to the answer: it is known as of the proven header alone.
pub fn is_newest(judged: &Judged, size: u64) -> bool {
    judged.proven.as_ref().is_some_and(|proven| size >= proven.header.header.tree_size())
}

/// Flags about the programme in the first `size` entries of the log, with their heights where headers tell them; then what
/// time has broken.
pub fn findings(
    (id, judged): (&str, &Judged),
    size: u64,
    heights: Option<&BTreeMap<u64, u64>>,
    language: Language,
) -> Vec<Value> {
    let mut findings = Vec::new();
    let title = |code: Code| {
        let entry = catalogue().get(&code);
        entry.map(|entry| if language == Language::Chinese { &entry.zh.title } else { &entry.en.title })
    };
    for found in judged.flagged.iter().take_while(|found| found.index < size) {
        for code in &found.flags {
            let title = title(Code(*code));
            findings.push(json!({
                "rule": Code(*code).to_string(), "version": 1, "severity": "warning", "title": title,
                "subject": id, "tx_ids": [found.tx_id], "indices": [found.index],
                "heights": heights.map(|heights| Vec::from_iter(heights.get(&found.index))), "money": found.money,
                "record": found.record, "parameters": {},
            }));
        }
    }
    let currency = judged.money.as_ref().map_or("", |money| money.fold.currency());
    for found in judged.standing.iter().filter(|_| is_newest(judged, size)) {
        findings.push(json!({
            "rule": found.code.to_string(), "version": 1, "severity": "warning", "title": title(found.code),
            "subject": id, "tx_ids": [], "indices": [], "heights": heights.map(|_| Vec::<u64>::new()),
            "money": money_json(i128::from(found.amount_minor), exponent_of(currency).unwrap_or(2), currency),
            "record": found.record.to_string(), "parameters": found.parameters,
        }));
    }
    findings
}

/// The currency of a record's amount: its programme's, else the one that it states.
pub fn currency_of(payload: &Payload, currency: Option<&str>) -> Option<String> {
    currency.map(str::to_owned).or_else(|| body::find::<String>(&payload.body, "currency"))
}

/// What a record's body says it moves, in minor units; with the currency where it is known.
pub fn money_of(payload: &Payload, currency: Option<&str>) -> Value {
    let Some(kind) = record_type(&payload.record_type) else { return Value::Null };
    let currency = currency_of(payload, currency);
    match (body::Mentions::of(kind, &payload.body).amount_minor, currency.as_deref()) {
        (0, _) => Value::Null,
        (minor, Some(currency)) => money_json(i128::from(minor), exponent_of(currency).unwrap_or(2), currency),
        (minor, None) => json!({ "amount": null, "minor": minor.to_string(), "currency": null }),
    }
}

/// The founding document among the entries of a trail: the fields of a record, those it has not as null.
pub fn founding_json() -> Value {
    json!({
        "index": 0, "height": 0, "time": null, "tx_id": null, "record_type": "genesis", "agency_id": null,
        "record_id": null, "officer": null, "outcome": "applied", "code": null, "money": null,
    })
}

/// The stated figures of a programme, as `audit programme` prints them.
pub fn figures_json(figures: &Figures, currency: &str) -> Value {
    let exponent = exponent_of(currency).unwrap_or(2);
    let money = |minor: i128| money_json(minor, exponent, currency);
    json!({
        "appropriated": money(figures.appropriated), "income": money(figures.income),
        "allotted": money(figures.allotted), "committed": money(figures.committed),
        "in_flight": money(figures.in_flight), "settled": money(figures.settled),
        "returned": money(figures.returned), "returned_held": money(figures.returned_held),
        "lapsed": money(figures.lapsed), "carried": money(figures.carried),
        "available": money(figures.available), "deposits_open": money(figures.deposits_open),
    })
}

/// The proof members that every audit answer carries.
pub fn proof_json(judged: &Judged, agreement: &Agreement) -> Value {
    let sealed = judged.proven.as_ref().map(|proven| &proven.header.sealed);
    let trail = judged.proven.as_ref().and_then(|proven| proven.trail.value.trail);
    json!({
        "verified": judged.exit == exit::DONE, "verdict": judged.verdict(),
        "tree_size": sealed.map(|sealed| sealed.checkpoint.size), "seals": sealed.map(|sealed| sealed.seals.len()),
        "quorum": sealed.map(|sealed| sealed.quorum), "epoch": sealed.map(|sealed| sealed.epoch),
        "trail_count": trail.map(|(count, _)| count), "trail_root": trail.map(|(_, root)| hex::encode(root)),
        "nodes_agreeing": agreement.agreeing, "nodes_asked": agreement.asked(),
        "nodes_behind": agreement.behind_json(), "covers_rejected": true, "steps": steps_json(&judged.report),
        "discontinuities": discontinuities_json(&judged.discontinuities),
    })
}
