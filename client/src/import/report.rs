//! What became of each item, and the counters of a whole import. Counts and never decides.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

use mingzhang_ledger::outcome::{Code, catalogue};
use mingzhang_ledger::records::fund::shown::money_text;
use serde_json::{Value, json};

use super::Format;
use super::item::{Claim, Fault, Kind, Note, Skip, Source, Unsent, Wrong};
use super::load::{Opening, Outcome, Standing, Verdict, obstacle};
use super::plan::Item;
use super::reason::{self, Reason};
use crate::output::{Failure, Language, decimal_text, explain, exponent_of};

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Applied,
    Rejected,
    /// Applied before this run, or the same as an earlier row of its file.
    Duplicate,
    Unknown,
    Skipped,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Rejected => "rejected",
            Self::Duplicate => "duplicate",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    item: &'a Item,
    claim: &'a Claim,
    file: &'a str,
    pub fate: Fate,
    pub code: Option<u16>,
    pub flags: Vec<u16>,
    transaction_ids: Vec<String>,
    /// What the importer filled and what the source contradicts.
    fields: Vec<String>,
    detail: String,
}

/// Counters of all items or of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    pub read: u64,
    pub applied: u64,
    pub rejected: u64,
    pub flagged: u64,
    pub duplicates: u64,
    pub unknown: u64,
    pub skipped: BTreeMap<&'static str, u64>,
    pub notes: BTreeMap<&'static str, u64>,
    pub by_code: BTreeMap<u16, u64>,
}

/// The whole report.
pub struct Report<'a> {
    pub lines: Vec<Line<'a>>,
    pub counters: Counters,
    pub by_kind: BTreeMap<Kind, Counters>,
    /// Applied minor units per kind and currency; what was returned is taken off.
    pub totals: BTreeMap<(Kind, String), i128>,
    pub transactions: u64,
    /// What kept imports from being closed: the code, if there is one, and its detail.
    pub unclosed: Vec<(Option<u16>, String)>,
    /// The seals bear out every line.
    pub proven: bool,
    /// The lines are written to a file as well.
    pub written: bool,
}

/// Judges every item.
pub fn make<'a>(outcome: &'a Outcome, sources: &'a [Source]) -> Report<'a> {
    let mut report = Report {
        lines: Vec::new(),
        counters: Counters::default(),
        by_kind: BTreeMap::new(),
        totals: BTreeMap::new(),
        transactions: transactions(outcome),
        unclosed: unclosed(outcome),
        proven: false,
        written: false,
    };
    for item in &outcome.plan.items {
        let Some(source) = sources.get(item.source) else { continue };
        let Some(claim) = source.claims.get(item.claim) else { continue };
        let line = judge(outcome, item, (claim, &source.file));
        report.counters.count(&line);
        report.by_kind.entry(item.kind).or_default().count(&line);
        if let (Fate::Applied, Some((currency, minor))) = (line.fate, &item.money) {
            let sign = if claim.is_return() { -1 } else { 1 };
            *report.totals.entry((item.kind, currency.clone())).or_default() += sign * i128::from(*minor);
        }
        report.lines.push(line);
    }
    report
}

/// Transactions that this run brought to the log.
fn transactions(outcome: &Outcome) -> u64 {
    let openings = outcome.batches.iter().flat_map(|batch| match &batch.opening {
        Opening::Open { transactions } => transactions.as_slice(),
        Opening::Shut { standing } => std::slice::from_ref(standing),
    });
    let all = openings.chain(outcome.standings.iter().flatten()).chain(&outcome.closings);
    let recorded = |standing: &&Standing| match standing.verdict {
        Verdict::Applied | Verdict::Rejected(_) => !standing.repeated,
        Verdict::Refused(_) | Verdict::Unknown => false,
    };
    u64::try_from(all.filter(recorded).count()).unwrap_or(u64::MAX)
}

fn unclosed(outcome: &Outcome) -> Vec<(Option<u16>, String)> {
    let failed = |standing: &Standing| {
        let code = match standing.verdict {
            Verdict::Applied => return None,
            Verdict::Rejected(code) | Verdict::Refused(code) => Some(code),
            Verdict::Unknown => None,
        };
        Some((code, format!("import_close {}: {}", standing.record, standing.detail)))
    };
    outcome.closings.iter().filter_map(failed).collect()
}

fn judge<'a>(outcome: &'a Outcome, item: &'a Item, (claim, file): (&'a Claim, &'a str)) -> Line<'a> {
    let mut line = Line {
        item,
        claim,
        file,
        fate: Fate::Skipped,
        code: None,
        flags: Vec::new(),
        transaction_ids: Vec::new(),
        fields: fields(outcome, item),
        detail: String::new(),
    };
    match item.unsent {
        Some(Unsent::Skipped(_)) => return line,
        Some(Unsent::Refused(code)) => {
            (line.fate, line.code) = (Fate::Rejected, Some(code));
            return line;
        }
        None => {}
    }
    if claim.repeats {
        line.fate = Fate::Duplicate;
        return line;
    }
    let standings = &outcome.standings;
    let own: Vec<&Standing> = item.records.iter().filter_map(|at| standings.get(*at)?.as_ref()).collect();
    let shut = std::iter::once(item.batch).chain(item.rests_on).find_map(|batch| shut(outcome, batch));
    let before = |standing: &&Standing| standing.repeated || standing.stands_from_before(false);
    let all_before = own.iter().all(before);
    line.transaction_ids =
        own.iter().map(|standing| format!("sha256:{}", hex::encode(standing.transaction_id))).collect();
    let flags: BTreeSet<u16> = own.iter().flat_map(|standing| standing.flags.iter().copied()).collect();
    line.flags = flags.into_iter().collect();
    let obstacle = shut.or_else(|| obstacle(&outcome.plan, standings, item));
    match obstacle.map(|standing| standing.verdict) {
        Some(Verdict::Unknown) => line.fate = Fate::Unknown,
        Some(Verdict::Rejected(code) | Verdict::Refused(code)) => {
            (line.fate, line.code) = (Fate::Rejected, Some(code));
        }
        Some(Verdict::Applied) | None if own.is_empty() => line.fate = Fate::Unknown,
        Some(Verdict::Applied) | None => line.fate = if all_before { Fate::Duplicate } else { Fate::Applied },
    }
    line.detail = obstacle.map(|standing| standing.detail.clone()).unwrap_or_default();
    line
}

/// The answer that kept a batch from being opened.
fn shut(outcome: &Outcome, batch: usize) -> Option<&Standing> {
    match &outcome.batches.get(batch)?.opening {
        Opening::Shut { standing } => Some(standing),
        Opening::Open { .. } => None,
    }
}

/// The fields that the item's records name in `defaults` and `conflicts`.
fn fields(outcome: &Outcome, item: &Item) -> Vec<String> {
    let bodies = item.records.iter().filter_map(|at| outcome.plan.records.get(*at)).map(|record| &record.body);
    let named = bodies.flat_map(|body| ["defaults", "conflicts"].into_iter().filter_map(|list| body.get(list)));
    let names = named.filter_map(|list| list.as_array()).flatten().filter_map(|name| name.as_text());
    names.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

impl Counters {
    fn count(&mut self, line: &Line<'_>) {
        self.read += 1;
        match line.fate {
            Fate::Applied => self.applied += 1,
            Fate::Rejected => self.rejected += 1,
            Fate::Duplicate => self.duplicates += 1,
            Fate::Unknown => self.unknown += 1,
            Fate::Skipped => {
                if let Some(Unsent::Skipped(reason)) = line.item.unsent {
                    *self.skipped.entry(reason.name()).or_default() += 1;
                }
            }
        }
        if matches!(line.fate, Fate::Applied | Fate::Rejected) {
            self.flagged += u64::from(line.fate == Fate::Applied && !line.flags.is_empty());
            let codes: BTreeSet<u16> = line.flags.iter().copied().chain(line.code).collect();
            codes.into_iter().for_each(|code| *self.by_code.entry(code).or_default() += 1);
        }
        if line.fate != Fate::Skipped {
            line.claim.notes.iter().for_each(|note| *self.notes.entry(Note::name(*note)).or_default() += 1);
        }
    }

    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().sum()
    }

    pub fn submitted(&self) -> u64 {
        self.applied + self.rejected + self.unknown
    }

    fn json(&self) -> Value {
        let by_code = self.by_code.iter().map(|(code, count)| (Code(*code).to_string(), json!(count)));
        json!({
            "read": self.read,
            "submitted": self.submitted(),
            "applied": self.applied,
            "rejected": self.rejected,
            "flagged": self.flagged,
            "duplicates": self.duplicates,
            "unknown": self.unknown,
            "skipped": { "total": self.skipped_total(), "reasons": self.skipped },
            "notes": self.notes,
            "by_code": by_code.collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl Report<'_> {
    /// The envelope's `data`.
    pub fn json(&self, outcome: &Outcome, (format, mode, as_of): (Format, &str, Value)) -> Value {
        let files: BTreeSet<&str> = self.lines.iter().map(|line| line.file).collect();
        let mut data = json!({ "format": format.name(), "mode": mode, "files": files });
        let mut totals = serde_json::Map::new();
        for ((kind, currency), minor) in &self.totals {
            let exponent = exponent_of(currency).unwrap_or(0);
            let sum = decimal_text(*minor, exponent);
            let of_kind = totals.entry(kind.name()).or_insert_with(|| json!({}));
            of_kind[currency.as_str()] = json!(sum);
        }
        let by_kind: serde_json::Map<_, _> =
            self.by_kind.iter().map(|(kind, counters)| (kind.name().to_owned(), counters.json())).collect();
        if let (Value::Object(data), Value::Object(counters)) = (&mut data, self.counters.json()) {
            data.extend(counters);
        }
        data["by_kind"] = Value::Object(by_kind);
        data["totals"] = Value::Object(totals);
        data["programmes"] = programmes(outcome);
        data["transactions"] = json!(self.transactions);
        data["as_of"] = as_of;
        data["proven"] = json!(self.proven);
        data["flags_proven"] = json!(self.proven);
        data
    }

    /// Writes one JSON object per line.
    pub fn write(&self, path: &Path, language: Language) -> Result<(), Failure> {
        let broken = |error: std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
        let mut file = std::io::BufWriter::new(std::fs::File::create(path).map_err(broken)?);
        for line in &self.lines {
            let mut line = line.json(language);
            line["proven"] = json!(self.proven);
            line["flags_proven"] = json!(self.proven);
            writeln!(file, "{line}").map_err(broken)?;
        }
        file.flush().map_err(broken)
    }

    /// Why imports were not closed, for people.
    pub fn warnings(&self, language: Language) -> Vec<String> {
        let words = |(code, detail): &(Option<u16>, String)| explain(code.map(Code), detail, language);
        self.unclosed.iter().map(words).collect()
    }

    /// A few lines for people.
    pub fn text(&self, language: Language) -> String {
        let counters = &self.counters;
        let mut lines = vec![format!(
            "{} {}  {} {}  {} {}  {} {}  {} {}  {} {}",
            language.pick("读取", "read"),
            counters.read,
            language.pick("入账", "applied"),
            counters.applied,
            language.pick("拒收或驳回", "rejected"),
            counters.rejected,
            language.pick("重复", "duplicates"),
            counters.duplicates,
            language.pick("跳过", "skipped"),
            counters.skipped_total(),
            language.pick("未知", "unknown"),
            counters.unknown,
        )];
        for ((kind, currency), minor) in &self.totals {
            let money = money_text(*minor, currency);
            lines.push(format!("  {}  {money}", kind.name()));
        }
        for (code, count) in &counters.by_code {
            let entry = catalogue().get(&Code(*code));
            let title = entry.map_or("", |entry| language.pick(&entry.zh.title, &entry.en.title));
            lines.push(format!("  {}  {count}  {title}", Code(*code)));
        }
        if counters.flagged > 0 {
            let words = match self.proven {
                true => language.pick("项带标记,均已证明", "flagged, as the seals prove"),
                false => {
                    language.pick("项带标记;标记为节点所述,未经证明", "flagged; flags are the node's word, not proven")
                }
            };
            lines.push(format!("  {}  {words}", counters.flagged));
        }
        lines.extend(self.left_out(language));
        lines.join("\n")
    }

    /// Which rows were not recorded as they stand, and why: reason, count and the first lines of each.
    fn left_out(&self, language: Language) -> Vec<String> {
        let mut rows: BTreeMap<Reason, Vec<String>> = BTreeMap::new();
        let one_file = self.lines.iter().map(|line| line.file).collect::<BTreeSet<_>>().len() < 2;
        for line in &self.lines {
            let place =
                if one_file { line.claim.line.to_string() } else { format!("{}:{}", line.file, line.claim.line) };
            for reason in line.reasons() {
                rows.entry(reason).or_default().push(place.clone());
            }
        }
        if rows.is_empty() {
            return Vec::new();
        }
        let mut lines: Vec<String> = rows.iter().flat_map(|(reason, places)| reason.lines(places, language)).collect();
        if !self.written {
            let words =
                language.pick("逐行原因与处理: --report R.jsonl", "each row with its reason and fix: --report R.jsonl");
            lines.push(format!("  {words}"));
        }
        lines
    }
}

fn programmes(outcome: &Outcome) -> Value {
    let mut counts = vec![0u64; outcome.plan.programmes.len()];
    for (record, standing) in outcome.plan.records.iter().zip(&outcome.standings) {
        let applied = standing.as_ref().is_some_and(|standing| standing.verdict == Verdict::Applied);
        if let Some(count) = record.programme.filter(|_| applied).and_then(|place| counts.get_mut(place)) {
            *count += 1;
        }
    }
    let one = |(info, records): (&super::plan::ProgrammeInfo, u64)| json!({ "programme_id": info.id, "source": info.name, "currency": info.currency, "records": records });
    Value::Array(outcome.plan.programmes.iter().zip(counts).map(one).collect())
}

impl Line<'_> {
    /// Why it was skipped or rejected, and what was noted as unreadable though it was recorded.
    fn reasons(&self) -> Vec<Reason> {
        match (self.fate, self.item.unsent, self.code) {
            (Fate::Skipped, Some(Unsent::Skipped(skip)), _) => {
                vec![Reason::Skipped(skip, skip == Skip::AmountInvalid && self.claim.is_negative())]
            }
            (Fate::Rejected, _, Some(code)) => vec![Reason::Rejected(code)],
            (Fate::Applied, ..) => self.claim.notes.iter().filter_map(|note| Reason::of_note(*note)).collect(),
            _ => Vec::new(),
        }
    }

    /// What is wrong in the source. A negative amount is, if it is skipped: else it took back a payment.
    fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.claim.faults.iter().filter(|fault| fault.wrong != Wrong::Negative || self.fate == Fate::Skipped)
    }

    /// The source's own words for what was not taken, then what the ledger said.
    fn detail(&self, language: Language) -> Option<String> {
        let faults = self.faults().map(|fault| reason::fault_text(fault, language));
        let parts: Vec<String> =
            faults.chain(Some(language.detail(&self.detail))).filter(|part| !part.is_empty()).collect();
        let whole = parts.join("; ");
        match self.item.unsent {
            Some(Unsent::Skipped(skip)) if whole.is_empty() => Some(reason::skip_title(skip, language).to_owned()),
            _ if whole.is_empty() => None,
            _ => Some(whole),
        }
    }

    fn json(&self, language: Language) -> Value {
        let skip = match self.item.unsent {
            Some(Unsent::Skipped(reason)) => Some(reason.name()),
            Some(Unsent::Refused(_)) | None => None,
        };
        let main = self.code.or_else(|| self.flags.first().copied());
        let entry = main.and_then(|code| catalogue().get(&Code(code)));
        let own = self.faults().next().map(|fault| reason::fix(fault.wrong, language));
        // What is wrong in the source is mended there; the catalogue speaks of records.
        let fix = own.or_else(|| entry.map(|entry| language.pick(&entry.zh.fix, &entry.en.fix)));
        json!({
            "item": self.claim.item,
            "kind": self.item.kind.name(),
            "source": self.file,
            "line": self.claim.line,
            "tx_ids": self.transaction_ids,
            "result": self.fate.name(),
            "code": self.code.map(|code| Code(code).to_string()),
            "reason": skip,
            "detail": self.detail(language),
            "fields": self.fields,
            "flags": self.flags.iter().map(|code| Code(*code).to_string()).collect::<Vec<_>>(),
            "notes": self.claim.notes.iter().map(|note| note.name()).collect::<Vec<_>>(),
            "fix": fix,
        })
    }
}
