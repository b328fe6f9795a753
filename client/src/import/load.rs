//! The order of an import: each batch opened and approved in turn, then the records of all accepted batches stage by
//! stage, then each import closed with what was applied. Every step may be run again: the ledger gives its first answer.

use std::collections::{BTreeMap, BTreeSet};

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::{Hash, sha256};
use mingzhang_ledger::records::calendar::Day;
use mingzhang_ledger::records::object::{RecordLeaf, Ref};
use mingzhang_ledger::transaction::{RecordId, Transaction};

use super::fund::Terms;
use super::identity::{Identity, Secret};
use super::item::{Claim, Source};
use super::plan::{Item, Plan, STAGES};
use super::{Format, items, own, swapped, words};
use crate::output::Failure;

/// Most times that an import is opened anew after its approval ended without effect.
const MAX_ATTEMPTS: u32 = 4;
/// The rule that a batch repeats an earlier one.
const REPEATED_BATCH: u16 = 3706;

/// Who signs a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Officer {
    Importer,
    Supervisor,
}

/// A record to be signed and sent.
#[derive(Debug, Clone)]
pub struct Outgoing<'a> {
    pub officer: Officer,
    pub record_type: &'static str,
    pub id: RecordId,
    pub body: &'a Value,
}

/// The definite answer, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Applied,
    /// Recorded with its code.
    Rejected(u16),
    /// Refused at the door: nothing was recorded.
    Refused(u16),
    Unknown,
}

/// Whether a record that needs approval has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Waiting,
    Effective,
    Void,
}

/// Where a record stands.
#[derive(Debug, Clone)]
pub struct Standing {
    pub record: Ref,
    /// Of the transaction that is on the log: this run's own, or what is said of an earlier one.
    pub transaction_id: Hash,
    /// It is the transaction that this run signed.
    pub own: bool,
    /// Where the log is said to hold it.
    pub index: Option<u64>,
    pub verdict: Verdict,
    pub effect: Effect,
    pub flags: Vec<u16>,
    /// It was on the log before this run sent it.
    pub repeated: bool,
    /// Its leaf shows the same record of an earlier import of the source, or a programme of this memory.
    pub before: bool,
    /// The field in which the record that has its id is said to differ.
    pub differs: Option<String>,
    pub detail: String,
}

/// Where records go: a network, or a ledger in memory.
pub trait Ledger {
    /// The agency of an officer.
    fn agency(&self, officer: Officer) -> &str;
    /// Answers in the order of the records, which do not depend on each other.
    fn send(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Standing>, Failure>;
    /// That the transaction of this id is the same record, signed by the same officer: whoever signs over an id has seen
    /// its bytes.
    fn check_earlier(&self, record: &Outgoing<'_>, id: &Hash) -> Result<(), Failure>;
    /// The transaction of this id.
    fn transaction(&self, id: &Hash) -> Result<Transaction, Failure>;
    /// The leaves of records as far as they are proven now; of such as are `said` to be there they are waited for.
    fn leaves(&mut self, records: &[Ref], said: bool) -> Result<Vec<Option<RecordLeaf>>, Failure>;
}

/// A source with what its records are made from.
pub struct Load<'a> {
    pub source: &'a Source,
    pub identity: Identity,
    pub secret: Secret,
}

/// One `import_open` and its rows.
pub struct Batch {
    /// Place of the source.
    pub source: usize,
    name: String,
    /// Places of its claims, by date, then in the order of the file.
    pub claims: Vec<usize>,
    pub period_end: Day,
    rows_root: Hash,
    total_minor: u64,
    pub opening: Opening,
    pub key: String,
}

impl Batch {
    /// Nothing of it is ever recorded.
    pub fn is_rejected(&self) -> bool {
        matches!(&self.opening, Opening::Shut { standing } if matches!(standing.verdict, Verdict::Rejected(_)))
    }
}

/// What became of an `import_open`.
#[derive(Debug, Clone)]
pub enum Opening {
    Open {
        transactions: Vec<Standing>,
    },
    /// Refused, rejected, or not known: none of its rows was sent.
    Shut {
        standing: Standing,
    },
}

/// Everything that a run found out.
pub struct Outcome {
    pub plan: Plan,
    pub batches: Vec<Batch>,
    /// By place in the plan; none: not sent.
    pub standings: Vec<Option<Standing>>,
    pub closings: Vec<Standing>,
    /// Places of the batches that they close.
    pub closed: Vec<usize>,
}

/// Imports sources into a ledger.
pub fn run(format: Format, strict: bool, loads: &[Load<'_>], ledger: &mut dyn Ledger) -> Result<Outcome, Failure> {
    // All that records rest on is remembered before the first is sent.
    let (mut batches, mut terms) = (Vec::new(), Vec::new());
    for load in loads {
        load.secret.memory.check_known_by((&load.source.name, &load.source.known_by))?;
    }
    for (at, load) in loads.iter().enumerate() {
        batches.extend(batches_of(at, load)?);
        terms.push(terms_of(load, &batches, at)?);
    }
    own::check(loads, &terms, ledger)?;
    let agency = ledger.agency(Officer::Importer).to_owned();
    for (at, load) in loads.iter().enumerate() {
        if !earlier_imports(load, (at, &agency), &batches)?.is_empty() {
            swapped::check(format, load, ledger)?;
        }
    }
    for batch in &mut batches {
        let Some(load) = loads.get(batch.source) else { continue };
        let (key, opening) = open(format, strict, (&*batch, load), ledger)?;
        (batch.key, batch.opening) = (key, opening);
    }
    let mut plan = Plan::default();
    for ((at, load), terms) in loads.iter().enumerate().zip(terms) {
        items::plan_source(format, &agency, (at, load, &batches), terms, &mut plan);
    }
    let standings = send_all(&plan, ledger)?;
    let (closed, closings) = close_all(loads, (&plan, &batches, &standings), ledger)?;
    Ok(Outcome { plan, batches, standings, closings, closed })
}

// ---- batches ----

/// The programmes of the ledger that take the records of a source.
fn terms_of(load: &Load<'_>, batches: &[Batch], source: usize) -> Result<Terms, Failure> {
    let needed = items::years(load, batches, source).into_iter();
    let terms = |(key, years): ((String, String), Vec<u64>)| {
        let terms = load.secret.memory.terms(&format!("{}/{}", key.0, key.1), &years)?;
        Ok((key, terms))
    };
    needed.map(terms).collect()
}

/// Imports of the source that an earlier run may have opened, of other rows than these.
pub fn earlier_imports(
    load: &Load<'_>,
    (source, agency): (usize, &str),
    batches: &[Batch],
) -> Result<Vec<Ref>, Failure> {
    let mut earlier = Vec::new();
    for (name, root) in load.secret.memory.batches()? {
        if !batches.iter().any(|batch| batch.source == source && batch.name == name && batch.rows_root == root) {
            let id = |attempt| load.identity.record_id("import_open", &opening_key(&name, &root, attempt));
            earlier.extend((0..MAX_ATTEMPTS).map(|attempt| Ref::new(agency, &id(attempt))));
        }
    }
    Ok(earlier)
}

fn opening_key(name: &str, rows_root: &Hash, attempt: u32) -> String {
    format!("{name}/{}/{attempt}", hex::encode(rows_root))
}

fn batches_of(source: usize, load: &Load<'_>) -> Result<Vec<Batch>, Failure> {
    let mut order: Vec<&str> = Vec::new();
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, claim) in load.source.claims.iter().enumerate() {
        let name = claim.batch.as_str();
        if !members.contains_key(name) {
            order.push(name);
        }
        members.entry(name).or_default().push(at);
    }
    order.into_iter().filter_map(|name| Some(batch(source, load, (name, members.remove(name)?)))).collect()
}

fn batch(source: usize, load: &Load<'_>, (name, mut claims): (&str, Vec<usize>)) -> Result<Batch, Failure> {
    let get = |at: &usize| load.source.claims.get(*at);
    let mut digests: Vec<Hash> = claims.iter().filter_map(get).map(|claim| load.secret.row(&claim.digest)).collect();
    digests.sort_unstable();
    let rows_root = sha256(&digests.iter().map(Hash::as_slice).collect::<Vec<_>>());
    let since = load.secret.memory.since(name, &rows_root)?;
    let past = claims.iter().filter_map(get).flat_map(Claim::days).filter(|day| *day < since);
    let period_end = past.max().unwrap_or_else(|| since.minus(1));
    let minor = |claim: &Claim| claim.money.as_ref().and_then(|money| u64::try_from(money.minor).ok()).unwrap_or(0);
    let total_minor = claims.iter().filter_map(get).fold(0u64, |sum, claim| sum.saturating_add(minor(claim)));
    claims.sort_by_key(|at| (get(at).and_then(|claim| claim.date).unwrap_or(period_end), *at));
    let opening = Opening::Open { transactions: Vec::new() };
    let name = name.to_owned();
    Ok(Batch { source, name, claims, period_end, rows_root, total_minor, opening, key: String::new() })
}

/// Opens an import and has it approved; anew if an earlier one ended without effect.
fn open(
    format: Format,
    strict: bool,
    (batch, load): (&Batch, &Load<'_>),
    ledger: &mut dyn Ledger,
) -> Result<(String, Opening), Failure> {
    let source =
        if batch.name.is_empty() { load.source.name.clone() } else { format!("{} {}", load.source.name, batch.name) };
    let count = u64::try_from(batch.claims.len()).unwrap_or(u64::MAX);
    let body = Value::text_map([
        ("source", words::text(&source)),
        ("rows_root", Value::bytes(&batch.rows_root)),
        ("count", Value::Uint(count)),
        ("total_minor", Value::Uint(batch.total_minor)),
        ("licence", Value::text("as published")),
        ("format", Value::text(format.name())),
        ("strict", Value::Bool(strict)),
        ("period_end", Value::text(&batch.period_end.to_string())),
    ]);
    let mut attempt = 0;
    loop {
        let key = opening_key(&batch.name, &batch.rows_root, attempt);
        let id = load.identity.record_id("import_open", &key);
        let opening = Outgoing { officer: Officer::Importer, record_type: "import_open", id, body: &body };
        let opened = one(ledger, opening.clone())?;
        match (opened.verdict, opened.effect) {
            (Verdict::Applied, Effect::Effective) => {
                return Ok((key, Opening::Open { transactions: vec![opened] }));
            }
            (Verdict::Applied, Effect::Waiting) => {
                if !opened.own {
                    ledger.check_earlier(&opening, &opened.transaction_id)?;
                }
                let approved = approve(load, (&key, &id, &opened), ledger)?;
                match approved.verdict {
                    Verdict::Applied => return Ok((key, Opening::Open { transactions: vec![opened, approved] })),
                    Verdict::Rejected(code) if code != REPEATED_BATCH && attempt + 1 < MAX_ATTEMPTS => attempt += 1,
                    Verdict::Rejected(_) | Verdict::Refused(_) | Verdict::Unknown => {
                        return Ok((key, Opening::Shut { standing: approved }));
                    }
                }
            }
            (Verdict::Applied, Effect::Void) if attempt + 1 < MAX_ATTEMPTS => attempt += 1,
            (Verdict::Applied | Verdict::Rejected(_) | Verdict::Refused(_) | Verdict::Unknown, _) => {
                return Ok((key, Opening::Shut { standing: opened }));
            }
        }
    }
}

fn approve(
    load: &Load<'_>,
    (key, id, opened): (&str, &RecordId, &Standing),
    ledger: &mut dyn Ledger,
) -> Result<Standing, Failure> {
    let body = Value::text_map([
        ("waiting", words::reference(ledger.agency(Officer::Importer), id)),
        ("digest", Value::bytes(&opened.transaction_id)),
    ]);
    let id = load.identity.record_id("approve", key);
    one(ledger, Outgoing { officer: Officer::Supervisor, record_type: "approve", id, body: &body })
}

fn one(ledger: &mut dyn Ledger, record: Outgoing<'_>) -> Result<Standing, Failure> {
    ledger.send(&[record])?.pop().ok_or_else(|| Failure::bug("a record was sent and nothing was answered"))
}

// ---- sending ----

impl Standing {
    /// The record stands from an earlier import of the source: what is shared serves again, a row is a repetition.
    pub fn stands_from_before(&self, shared: bool) -> bool {
        let of_earlier_import = self.differs.as_deref() == Some("import");
        self.verdict == Verdict::Refused(1015) && (shared || self.before || of_earlier_import)
    }

    /// A programme is of the source's memory only as its leaf shows.
    fn is_own_programme(&self) -> bool {
        self.verdict == Verdict::Applied || self.verdict == Verdict::Refused(1015) && self.before
    }

    pub fn holds(&self, shared: bool) -> bool {
        self.verdict == Verdict::Applied || self.stands_from_before(shared)
    }
}

/// The first record of an item, shared ones before its own, that does not hold.
pub fn obstacle<'s>(plan: &Plan, standings: &'s [Option<Standing>], item: &Item) -> Option<&'s Standing> {
    let shared = item.needs.iter().map(|at| (at, true));
    let own = item.records.iter().map(|at| (at, false));
    for (at, is_shared) in shared.chain(own) {
        let (Some(record), Some(Some(standing))) = (plan.records.get(*at), standings.get(*at)) else { continue };
        let holds = match record.record_type {
            own::PROGRAMME => standing.is_own_programme(),
            _ => standing.holds(is_shared && record.shared),
        };
        if !holds {
            return Some(standing);
        }
    }
    None
}

fn send_all(plan: &Plan, ledger: &mut dyn Ledger) -> Result<Vec<Option<Standing>>, Failure> {
    let mut standings: Vec<Option<Standing>> = vec![None; plan.records.len()];
    for stage in 0..STAGES {
        let mut due: Vec<usize> = Vec::new();
        let of_stage = |at: &usize| plan.records.get(*at).is_some_and(|record| record.stage == stage);
        for (at, record) in plan.records.iter().enumerate() {
            if record.shared && record.stage == stage {
                due.push(at);
            }
        }
        for item in plan.items.iter().filter(|item| obstacle(plan, &standings, item).is_none()) {
            due.extend(item.records.iter().copied().filter(|at| of_stage(at)));
        }
        due.sort_unstable();
        due.dedup();
        let outgoing: Vec<Outgoing<'_>> = due
            .iter()
            .filter_map(|at| plan.records.get(*at))
            .map(|record| Outgoing {
                officer: Officer::Importer,
                record_type: record.record_type,
                id: record.id,
                body: &record.body,
            })
            .collect();
        if outgoing.is_empty() {
            continue;
        }
        let planned = due.iter().filter_map(|at| plan.records.get(*at));
        let mut told: Vec<_> = planned.zip(ledger.send(&outgoing)?).collect();
        own::recognise(&mut told, ledger)?;
        for (at, (_, standing)) in due.into_iter().zip(told) {
            if let Some(place) = standings.get_mut(at) {
                *place = Some(standing);
            }
        }
    }
    Ok(standings)
}

// ---- closing ----

/// What the records of one batch add up to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Applied records.
    pub counts: u64,
    /// Minor units that they posted, by currency.
    pub totals: BTreeMap<String, u64>,
    /// Records without a definite answer.
    pub unknown: u64,
}

impl Sums {
    pub fn of(place: usize, plan: &Plan, standings: &[Option<Standing>]) -> Self {
        let mut sums = Self::default();
        for (record, standing) in plan.records.iter().zip(standings).filter(|(record, _)| record.batch == place) {
            match standing.as_ref().map(|standing| standing.verdict) {
                Some(Verdict::Applied) => {
                    sums.counts += 1;
                    if let Some((currency, minor)) = &record.posted {
                        let total = sums.totals.entry(currency.clone()).or_default();
                        *total = total.saturating_add(*minor);
                    }
                }
                Some(Verdict::Unknown) => sums.unknown += 1,
                Some(Verdict::Rejected(_) | Verdict::Refused(_)) | None => {}
            }
        }
        sums
    }
}

fn close_all(
    loads: &[Load<'_>],
    (plan, batches, standings): (&Plan, &[Batch], &[Option<Standing>]),
    ledger: &mut dyn Ledger,
) -> Result<(Vec<usize>, Vec<Standing>), Failure> {
    let agency = ledger.agency(Officer::Importer).to_owned();
    // A return that waits for another batch can still enter while its own is open.
    let waits = plan.items.iter().filter(|item| item.rests_on.is_some());
    let waiting: BTreeSet<usize> = waits.map(|item| item.batch).collect();
    let (mut places, mut closings) = (Vec::new(), Vec::<(RecordId, Value)>::new());
    for (place, batch) in batches.iter().enumerate() {
        let Some(load) = loads.get(batch.source) else { continue };
        if waiting.contains(&place) || matches!(batch.opening, Opening::Shut { .. }) {
            continue;
        }
        let sums = Sums::of(place, plan, standings);
        if sums.unknown > 0 {
            continue;
        }
        let import = load.identity.record_id("import_open", &batch.key);
        let total = |(currency, minor): (&String, &u64)| {
            Value::text_map([("currency", Value::text(currency)), ("amount", Value::Uint(*minor))])
        };
        let body = Value::text_map([
            ("import_open", words::reference(&agency, &import)),
            ("counts", Value::Uint(sums.counts)),
            ("totals", Value::Array(sums.totals.iter().map(total).collect())),
        ]);
        // The key names the content: a closing that was rejected may be followed by another.
        let key = format!("{}/{}", batch.key, hex::encode(sha256(&[&body.encode()])));
        closings.push((load.identity.record_id("import_close", &key), body));
        places.push(place);
    }
    let outgoing: Vec<Outgoing<'_>> = closings
        .iter()
        .map(|(id, body)| Outgoing { officer: Officer::Importer, record_type: "import_close", id: *id, body })
        .collect();
    let answers = if outgoing.is_empty() { Vec::new() } else { ledger.send(&outgoing)? };
    Ok((places, answers))
}
