//! The final records after a place, read from the store: of the whole log, or of what one subject's trail names.

use std::collections::BTreeSet;

use mingzhang_ledger::entry::Entry;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::object::{Ref, Subject};
use mingzhang_ledger::records::record_type;
use mingzhang_ledger::state::{Snapshot as _, key};
use mingzhang_ledger::transaction::Transaction;
use serde_json::{Value, json};

use super::super::answer::{hash_text, time_text};
use super::super::proofs::record_at;
use super::super::{Problem, status};
use super::place::Place;
use crate::store::{StoreFault, View};

/// Entries of the log that one read looks at; each is held until it is judged.
const SCANNED: u64 = 256;
const NOT_READY: Code = Code(1014);

/// Which records are wanted.
#[derive(Debug, Default)]
pub struct Filter {
    types: Option<BTreeSet<&'static str>>,
    subject: Option<Ref>,
}

impl Filter {
    /// From record types separated by commas and the name of one subject.
    pub fn parse(types: Option<&str>, subject: Option<&str>) -> Result<Self, Problem> {
        let known = |name: &str| {
            let kind = record_type(name).map(|kind| kind.name);
            kind.ok_or_else(|| Problem::malformed(format!("{name:?} is no record type")))
        };
        let types = types.map(|names| names.split(',').map(known).collect()).transpose()?;
        let named = |name: &str| {
            let (agency, id) = name.split_once('/').filter(|(agency, _)| !agency.is_empty())?;
            Some(Ref::new(agency, &key::parse_id(id)?))
        };
        let wanted = |name: &str| {
            named(name).ok_or_else(|| Problem::malformed(format!("{name:?} is no subject: agency/id is wanted")))
        };
        Ok(Self { types, subject: subject.map(wanted).transpose()? })
    }

    fn takes(&self, transaction: &Transaction) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(transaction.payload().record_type.as_str()))
    }
}

/// Records that this node cannot show any more: what stands after one place, up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub after: Place,
    pub until: Place,
}

impl Gap {
    pub fn json(&self) -> Value {
        json!({
            "event": "gap", "after": self.after.to_string(), "until": self.until.to_string(),
            "after_height": self.after.height, "until_height": self.until.height,
        })
    }
}

/// What one read found.
#[derive(Debug)]
pub struct Page {
    pub gap: Option<Gap>,
    pub events: Vec<(Place, Value)>,
    /// Nothing up to here is left to be told.
    pub upto: Place,
    /// More is final already.
    pub more: bool,
}

/// The place of the last entry.
pub fn newest(view: &View<'_>) -> Place {
    let tip = view.tip();
    Place { height: tip.height, index: tip.tree_size().saturating_sub(1) }
}

/// What stands after a place, at most `limit` events. `base` is the height from which on this node has the log; 0 is all.
pub fn page((view, base): (&View<'_>, u64), after: Place, filter: &Filter, limit: usize) -> Result<Page, Problem> {
    let gap = gap((view, base), after)?;
    let after = gap.map_or(after, |gap| gap.until);
    let tip = newest(view);
    let mut page = Page { gap, events: Vec::new(), upto: after, more: false };
    // Another node has told of more than this one has yet.
    if after.index < tip.index {
        match &filter.subject {
            None => scan(view, filter, (tip, limit), &mut page)?,
            Some(subject) => follow(view, (subject, filter), (tip, limit), &mut page)?,
        }
        page.more = page.upto.index < tip.index;
    }
    Ok(page)
}

/// What is gone here after a place. A place that is none of this log is refused.
fn gap((view, base): (&View<'_>, u64), after: Place) -> Result<Option<Gap>, Problem> {
    let none = || Problem::malformed(format!("nothing stands at {after} in this log"));
    if base > 0 {
        let header = view.header(base)?;
        let header = header.ok_or_else(|| Problem::new(NOT_READY, "this node is taking over a peer's state"))?;
        let until = Place { height: base, index: header.own_index() };
        if after.index < until.index {
            let gone = after.index.saturating_add(1) < until.index;
            return if after.height > base { Err(none()) } else { Ok(gone.then_some(Gap { after, until })) };
        }
    }
    if after.index <= newest(view).index && view.height_of(after.index)? != Some(after.height) {
        return Err(none());
    }
    Ok(None)
}

/// Heights and times of the blocks that events stand in, one after the other.
#[derive(Default)]
struct Blocks {
    last: Option<(u64, Value)>,
}

impl Blocks {
    fn time(&mut self, view: &View<'_>, height: u64) -> Result<Value, Problem> {
        if let Some((_, time)) = self.last.as_ref().filter(|(known, _)| *known == height) {
            return Ok(time.clone());
        }
        let time = view.header(height)?.map_or(Value::Null, |header| time_text(header.time_ms));
        self.last = Some((height, time.clone()));
        Ok(time)
    }
}

/// Entry after entry.
fn scan(view: &View<'_>, filter: &Filter, (tip, limit): (Place, usize), page: &mut Page) -> Result<(), Problem> {
    let first = page.upto.index.saturating_add(1);
    let end = tip.index.saturating_add(1).min(first.saturating_add(SCANNED));
    let mut height = view.height_of(first)?.unwrap_or(tip.height);
    let mut blocks = Blocks::default();
    for (bytes, index) in view.entries(first, end)?.iter().zip(first..) {
        if page.events.len() >= limit {
            break;
        }
        let place = Place { height, index };
        let entry = Entry::decode(bytes).map_err(|fault| StoreFault::corrupt(format!("log entry {index}"), fault))?;
        match entry {
            Entry::Record { outcome, transaction } if filter.takes(&transaction) => {
                let time = blocks.time(view, height)?;
                page.events.push((place, event(view, (place, time), outcome, &transaction)?));
            }
            Entry::Record { .. } | Entry::Genesis { .. } => {}
            Entry::Header(header) => height = header.height.saturating_add(1),
        }
        page.upto = place;
    }
    Ok(())
}

/// What joined a subject's trail, and the record of that name itself.
fn follow(
    view: &View<'_>,
    (subject, filter): (&Ref, &Filter),
    (tip, limit): (Place, usize),
    page: &mut Page,
) -> Result<(), Problem> {
    let (indices, is_all) = joined(view, subject, page.upto.index, limit)?;
    let mut blocks = Blocks::default();
    for index in indices {
        let (outcome, transaction) = record_at(view, index)?;
        let place = Place { height: view.height_of(index)?.unwrap_or(tip.height), index };
        if filter.takes(&transaction) {
            let time = blocks.time(view, place.height)?;
            page.events.push((place, event(view, (place, time), outcome, &transaction)?));
        }
        page.upto = place;
    }
    if is_all {
        page.upto = tip;
    }
    Ok(())
}

/// Indices after one, at most so many, and whether there are no more.
fn joined(view: &View<'_>, subject: &Ref, after: u64, limit: usize) -> Result<(Vec<u64>, bool), Problem> {
    let key = subject.key();
    let Some(stored) = view.read(&key)? else { return Ok((Vec::new(), true)) };
    let count = stored.trail.as_ref().map_or(0, |trail| trail.size());
    // Positions before this one name nothing that is wanted.
    let (mut from, mut to) = (0, count);
    while from < to {
        let middle = from.midpoint(to);
        let is_later = match view.trail_indices(&key, middle, 1) {
            Ok(found) => found.first().is_some_and(|index| *index > after),
            // From before the state that this node took over.
            Err(StoreFault::NotKept { .. }) => false,
            Err(fault) => return Err(fault.into()),
        };
        if is_later {
            to = middle;
        } else {
            from = middle.saturating_add(1);
        }
    }
    let mut indices = if from < count { view.trail_indices(&key, from, limit)? } else { Vec::new() };
    let end = from.saturating_add(u64::try_from(indices.len()).unwrap_or(u64::MAX));
    let own = status::read_leaf(&stored.current).map(|leaf| leaf.index).filter(|own| *own > after);
    indices.extend(own);
    indices.sort_unstable();
    indices.dedup();
    let is_all = end >= count && indices.len() <= limit;
    indices.truncate(limit);
    Ok((indices, is_all))
}

/// What is told of a record: what became of it and whose trails it joins, no person and no recipient.
fn event(
    view: &View<'_>,
    (place, time): (Place, Value),
    outcome: u16,
    transaction: &Transaction,
) -> Result<Value, Problem> {
    let payload = transaction.payload();
    let leaf = status::leaf_of(view, transaction)?.filter(|leaf| leaf.index == place.index);
    let (flags, subjects) = leaf.map(|leaf| (leaf.flags, leaf.subjects)).unwrap_or_default();
    Ok(json!({
        "event": "record",
        "id": place.to_string(),
        "height": place.height,
        "index": place.index,
        "time": time,
        "tx_id": hash_text(&transaction.id()),
        "record": Ref::new(&payload.agency, &payload.record_id).to_string(),
        "record_type": payload.record_type,
        "outcome": if outcome == 0 { "applied" } else { "rejected" },
        "code": (outcome != 0).then(|| Code(outcome).to_string()),
        "flags": flags.iter().map(|code| Code(*code).to_string()).collect::<Vec<_>>(),
        "subjects": subjects.iter().filter_map(Subject::record).map(Ref::to_string).collect::<Vec<_>>(),
    }))
}
