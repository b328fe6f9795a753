//! What the seals prove of an import, whatever the node said: under one checkpoint each batch's `import_open` holds as many
//! records and as much money as the client counted, so that nothing else is in it, and every record stands with its flags,
//! or is absent, as it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::calendar::Day;
use mingzhang_ledger::records::import::Import;
use mingzhang_ledger::records::object::{Object, RecordLeaf, Ref};
use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::verify::ProvenHeader;

use super::load::{Opening, Outcome, Standing, Sums, Verdict};
use super::node::NodeLedger;
use crate::context::Network;
use crate::node_api::NodeApi;
use crate::output::{Failure, Language, exit};
use crate::proven::{Asked, Wanted, ask, coded, several};

/// How long the seals on the last record are waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most leaves of one request.
const LEAVES_PER_REQUEST: usize = 100;
/// Most leaves under one header: a node holds the states of its last blocks only, which go by in seconds where it is busy.
/// What a record became does not change, so a later header shows it as well.
const LEAVES_PER_HEADER: usize = 10_000;
/// The id is taken.
const TAKEN: u16 = 1015;
/// What the node said is not what the ledger holds.
const ANOTHER: Code = Code(4102);

/// How far the answer is proven.
pub enum Finding {
    /// Under the header of this height, if anything was answered; with earlier imports that are still open.
    Proven(Option<u64>, Vec<(Ref, Import)>),
    /// Not yet, and why.
    Unproven(String),
    /// The ledger holds something else.
    Contradicted(Code, String),
}

/// Leaves of records by their keys; None: absent.
pub type Leaves = BTreeMap<Key, Option<RecordLeaf>>;

/// Proves the answer; what the leaves say of earlier records is taken over into it. Of the earlier imports it is found out
/// which are open.
pub fn prove(
    network: &Network,
    ledger: &mut NodeLedger<'_>,
    (outcome, earlier): (&mut Outcome, &[Ref]),
    language: Language,
) -> Finding {
    let told_of = claims(outcome).iter().map(|claim| claim.record.key()).collect::<BTreeSet<Key>>();
    let keys: Vec<Key> = told_of.into_iter().chain(earlier.iter().map(Ref::key)).collect();
    let Some(first) = keys.first() else { return Finding::Proven(None, Vec::new()) };
    let last = told(outcome).filter_map(|standing| standing.index).max().unwrap_or(0);
    let found = shown(network, ledger, (&keys, first, last), language);
    match found {
        Ok((leaves, height)) => match judge(outcome, &leaves) {
            Ok(()) => Finding::Proven(Some(height), open_among(earlier, &leaves)),
            Err(detail) => Finding::Contradicted(ANOTHER, format!("{detail} (height {height})")),
        },
        Err(Failure { exit: exit::FAILED, code: Some(code), detail, .. }) => Finding::Contradicted(code, detail),
        Err(failure) => Finding::Unproven(failure.detail),
    }
}

/// The leaves of all keys, and the height of the newest header that showed some of them.
fn shown(
    network: &Network,
    ledger: &mut NodeLedger<'_>,
    (keys, first, last): (&[Key], &Key, u64),
    language: Language,
) -> Result<(Leaves, u64), Failure> {
    let (mut leaves, mut height) = (Leaves::new(), 0);
    for part in keys.chunks(LEAVES_PER_HEADER) {
        let asked = match ledger.apis() {
            [api, ..] => ask((network, api), first, Wanted::Entry(last), Instant::now() + PATIENCE, language)?,
            [] => return Err(Failure::bug("no request can be in flight")),
        };
        let proof = match asked {
            Asked::Shown(proof) => proof,
            Asked::NotYet(_, why) => return Err(Failure::unreachable(why.detail)),
            Asked::Withheld(failure) => return Err(Failure::unreachable(coded(&failure))),
        };
        leaves.extend(fetch(ledger.apis(), &proof.header, part)?);
        height = proof.header.header.height;
    }
    Ok((leaves, height))
}

/// Those of the imports that took effect and were never closed.
pub fn open_among(earlier: &[Ref], leaves: &Leaves) -> Vec<(Ref, Import)> {
    let open = |record: &Ref| match leaves.get(&record.key())?.as_ref()?.object.as_ref()? {
        Object::Import(import) if !import.closed => Some((record.clone(), import.clone())),
        _ => None,
    };
    earlier.iter().filter_map(open).collect()
}

/// All leaves under a proven header; one thread for each connection.
pub fn fetch(apis: &mut [NodeApi], header: &ProvenHeader, keys: &[Key]) -> Result<Leaves, Failure> {
    let threads = apis.len().max(1);
    let work = |(at, api): (usize, &NodeApi)| -> Result<Vec<(Key, Option<RecordLeaf>)>, Failure> {
        let mut found = Vec::new();
        for chunk in keys.chunks(LEAVES_PER_REQUEST).skip(at).step_by(threads) {
            found.extend(chunk.iter().copied().zip(several(api, header, chunk)?));
        }
        Ok(found)
    };
    let work = &work;
    let parts: Vec<_> = std::thread::scope(|scope| {
        let begun: Vec<_> = apis.iter_mut().enumerate().map(|(at, api)| scope.spawn(move || work((at, api)))).collect();
        begun.into_iter().map(|thread| thread.join().expect("a worker does not panic")).collect()
    });
    let mut leaves = Leaves::new();
    for part in parts {
        leaves.extend(part?);
    }
    Ok(leaves)
}

/// What a leaf has to show.
enum Shows {
    Outcome(u16),
    Absent,
    /// Another record under this id; the place of a record in the plan.
    Taken(Option<usize>),
    /// What the records of a batch add up to, if that is known, and whether it is closed.
    Sums(Option<Sums>, bool),
}

struct Claim<'a> {
    record: &'a Ref,
    shows: Shows,
    flags: &'a [u16],
}

fn claim(standing: &Standing, place: Option<usize>) -> Option<Claim<'_>> {
    let shows = match standing.verdict {
        Verdict::Applied => Shows::Outcome(0),
        Verdict::Rejected(code) => Shows::Outcome(code),
        Verdict::Refused(TAKEN) => Shows::Taken(place),
        Verdict::Refused(_) => Shows::Absent,
        Verdict::Unknown => return None,
    };
    Some(Claim { record: &standing.record, shows, flags: &standing.flags })
}

fn of_opening(opening: &Opening) -> &[Standing] {
    match opening {
        Opening::Open { transactions } => transactions,
        Opening::Shut { standing } => std::slice::from_ref(standing),
    }
}

/// Every standing that has an answer.
pub fn told(outcome: &Outcome) -> impl Iterator<Item = &Standing> {
    let openings = outcome.batches.iter().flat_map(|batch| of_opening(&batch.opening));
    openings.chain(outcome.standings.iter().flatten()).chain(&outcome.closings)
}

fn claims(outcome: &Outcome) -> Vec<Claim<'_>> {
    let mut claims: Vec<Claim<'_>> = Vec::new();
    let closings: BTreeMap<usize, Verdict> =
        outcome.closed.iter().copied().zip(outcome.closings.iter().map(|standing| standing.verdict)).collect();
    for (place, batch) in outcome.batches.iter().enumerate() {
        claims.extend(of_opening(&batch.opening).iter().filter_map(|standing| claim(standing, None)));
        let Opening::Open { transactions } = &batch.opening else { continue };
        let Some(opened) = transactions.first() else { continue };
        let closing = closings.get(&place);
        let sums = Sums::of(place, &outcome.plan, &outcome.standings);
        // Sums that the client does not know, or that the ledger itself said to differ, show nothing.
        let shown = sums.unknown == 0 && closing.is_none_or(|verdict| !matches!(verdict, Verdict::Rejected(_)));
        let shows = Shows::Sums(shown.then_some(sums), closing == Some(&Verdict::Applied));
        claims.push(Claim { record: &opened.record, shows, flags: &[] });
    }
    for (place, standing) in outcome.standings.iter().enumerate() {
        claims.extend(standing.as_ref().and_then(|standing| claim(standing, Some(place))));
    }
    claims.extend(outcome.closings.iter().filter_map(|standing| claim(standing, None)));
    claims
}

/// Compares what was told with the leaves; the first difference.
pub fn judge(outcome: &mut Outcome, leaves: &Leaves) -> Result<(), String> {
    let mut earlier: Vec<(usize, &RecordLeaf)> = Vec::new();
    for claim in claims(outcome) {
        let leaf = leaves.get(&claim.record.key()).and_then(Option::as_ref);
        let differs = |what: String| Err(format!("{} {what}", claim.record));
        match (claim.shows, leaf) {
            (Shows::Absent, None) => {}
            (Shows::Absent, Some(_)) => return differs("is called refused; the sealed ledger holds it".to_owned()),
            (Shows::Outcome(_) | Shows::Taken(_) | Shows::Sums(..), None) => {
                return differs("is called final; the sealed ledger holds no such record".to_owned());
            }
            (Shows::Outcome(outcome), Some(leaf)) if leaf.outcome != outcome => {
                let name = |outcome: u16| if outcome == 0 { "applied".to_owned() } else { Code(outcome).to_string() };
                return differs(format!("is called {}; the sealed ledger says {}", name(outcome), name(leaf.outcome)));
            }
            (Shows::Outcome(_), Some(leaf)) => {
                let (told, shown) = (flag_names(claim.flags), flag_names(&leaf.flags));
                if told != shown {
                    return differs(format!("is called flagged with {told}; the sealed ledger says {shown}"));
                }
            }
            (Shows::Taken(place), Some(leaf)) => earlier.extend(place.map(|place| (place, leaf))),
            (Shows::Sums(sums, closed), Some(leaf)) => match &leaf.object {
                Some(Object::Import(import)) => {
                    if let Some(what) = difference(import, sums.as_ref(), closed) {
                        return differs(what);
                    }
                }
                _ => return differs("is called open; the sealed ledger holds no import there".to_owned()),
            },
        }
    }
    for (place, leaf) in earlier {
        take_over(outcome, place, leaf);
    }
    Ok(())
}

/// Flags in order, for people.
fn flag_names(flags: &[u16]) -> String {
    let names: BTreeSet<String> = flags.iter().map(|flag| Code(*flag).to_string()).collect();
    if names.is_empty() { "nothing".to_owned() } else { Vec::from_iter(names).join(", ") }
}

fn difference(import: &Import, sums: Option<&Sums>, closed: bool) -> Option<String> {
    if closed && !import.closed {
        return Some("is called closed; on the sealed ledger it is open".to_owned());
    }
    let sums = sums?;
    let mut totals = sums.totals.clone();
    totals.retain(|_, minor| *minor > 0);
    if sums.counts == import.records && totals == import.posted {
        return None;
    }
    let told = format!("{} records {totals:?} are called applied", sums.counts);
    Some(format!("{told}; the sealed ledger holds {} {:?}", import.records, import.posted))
}

/// What an earlier import of the source recorded under the same id: its flags and a rejection stay, and the same row is the same
/// where only the day differs that follows from the period of its batch.
fn take_over(outcome: &mut Outcome, place: usize, leaf: &RecordLeaf) {
    let Some(Some(standing)) = outcome.standings.get_mut(place) else { return };
    standing.flags.clone_from(&leaf.flags);
    if leaf.outcome != 0 {
        standing.verdict = Verdict::Rejected(leaf.outcome);
        return;
    }
    let Some(record) = outcome.plan.records.get(place) else { return };
    let filled = |list: &mingzhang_ledger::codec::Value| {
        list.as_array().is_some_and(|names| names.iter().any(|name| name.as_text() == Some("effective_date")))
    };
    let day = record.body.get("effective_date").and_then(|day| Day::parse(day.as_text()?));
    let of_batch = record.body.get("defaults").is_some_and(filled) || day.is_some_and(|day| day >= leaf.recorded);
    standing.before |= of_batch && standing.differs.as_deref() == Some("effective_date");
}
