//! Runs the records of a block and says what changed: the door applied again inside the block, then every record in
//! order, each whole or not at all. Which rules a record meets is in `records`; the tree over the result in `tree`.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minicbor::{Decode, Encode};
use smol_str::SmolStr;

use super::key::{self, Key};
use super::{Overlay, Parts, Remembered, Snapshot, StateFault, Stored, TrailAppend};
use crate::authority::AuthoritySet;
use crate::crypto::{Hash, PublicKey};
use crate::door;
use crate::entry::record_entry;
use crate::merkle::leaf_hash;
use crate::mutants;
use crate::outcome::Refusal;
use crate::records::body::{Body, Known, Mentions, Record};
use crate::records::calendar::Day;
use crate::records::judge;
use crate::records::object::{Mode, Object, RecordLeaf, Ref, Subject};
use crate::records::scene::{Cast, Flag, Halt, Outcome, Scene};
use crate::records::signer::Signer;
use crate::records::waiting::{self, Need};
use crate::transaction::{RecordId, Transaction};

/// State keys that a record changes beside those that the whole block does; only for how much room is made.
const CHANGES_PER_RECORD: usize = 3;

/// What execution must know about the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Name of the network and the first 16 hex digits of its genesis hash.
    pub origin: String,
    /// The genesis hash.
    pub chain: Hash,
    pub utc_offset_minutes: i32,
    /// Test keys and relaxed numbers of agencies.
    pub development: bool,
}

/// The block in which records run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockContext {
    pub height: u64,
    pub epoch: u64,
    pub time_ms: u64,
    /// Log index of the block's first record.
    pub first_index: u64,
}

/// A transaction offered to a block.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub transaction: Arc<Transaction>,
    /// The key under which the signature's equation was already verified, so that it need not be verified again.
    pub verified_with: Option<PublicKey>,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordOutcome {
    pub index: u64,
    pub transaction_id: Hash,
    pub agency: SmolStr,
    pub record_id: RecordId,
    pub record_type: SmolStr,
    /// 0 applied; else the number of the rule that rejected it.
    pub outcome: u16,
    pub flags: Vec<u16>,
    /// The values that disagree, for people; not hashed.
    pub detail: String,
}

/// What a block's records add up to.
#[derive(Debug, Clone, Default)]
pub struct Execution {
    /// The log entries of the records, in order.
    pub entries: Vec<Vec<u8>>,
    /// Their hashes as leaves of the log.
    pub entry_hashes: Vec<Hash>,
    pub records: Vec<RecordOutcome>,
    /// Positions of the candidates that the door inside the block refused, and why.
    pub left_out: Vec<(usize, Refusal)>,
    pub changes: BTreeMap<Key, Stored>,
    pub appends: Vec<TrailAppend>,
}

/// The value of `finding/<subject>/<index>/<code>`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Finding {
    #[n(0)]
    pub index: u64,
    #[n(1)]
    pub code: u16,
    /// The figures that disagree.
    #[n(2)]
    pub detail: String,
}

/// The value of keys that exist for their trail alone: registries, findings about a subject.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Listing {}

/// The door inside the block over all candidates, then every record in order.
pub fn execute(
    state: &dyn Snapshot,
    network: &Network,
    block: &BlockContext,
    candidates: &[Candidate],
) -> Result<Execution, StateFault> {
    execute_after(state, network, block, candidates, None)
}

/// As [`execute`]; the first block of an epoch that a recovery manifest opened puts that manifest's set into the state,
/// before its first record.
pub fn execute_after(
    state: &dyn Snapshot,
    network: &Network,
    block: &BlockContext,
    candidates: &[Candidate],
    recovered: Option<&AuthoritySet>,
) -> Result<Execution, StateFault> {
    let room = candidates.len().saturating_mul(CHANGES_PER_RECORD);
    let remembered = Remembered::with_room(state, room.saturating_mul(2));
    let mut draft = Overlay::with_room(&remembered, room);
    if let Some(set) = recovered {
        crate::records::governance::recover(&mut draft, set)?;
    }
    let mut execution = Execution {
        entries: Vec::with_capacity(candidates.len()),
        entry_hashes: Vec::with_capacity(candidates.len()),
        records: Vec::with_capacity(candidates.len()),
        ..Execution::default()
    };
    let mentions: Vec<Option<Arc<Mentions>>> = candidates.iter().map(mentions).collect();
    let foreseen = candidates.iter().zip(&mentions).filter_map(|(candidate, found)| Some((candidate, found.as_ref()?)));
    remembered.foresee(foreseen.flat_map(|(candidate, mentions)| {
        let named = mentions.references.iter().map(|found| found.reference.key());
        key::places(&candidate.transaction).iter().copied().chain(named)
    }))?;
    let mut index = block.first_index;
    for (position, (candidate, mentions)) in candidates.iter().zip(mentions).enumerate() {
        let transaction = &*candidate.transaction;
        if let Err(refusal) = door::inside_block(&draft, network, block.time_ms, candidate)? {
            execution.left_out.push((position, refusal));
            continue;
        }
        let run = run(&draft, network, block, Asked { transaction, mentions, index, shows_effects: false })?;
        execution.entries.push(run.entry);
        execution.entry_hashes.push(run.entry_hash);
        execution.records.push(run.record);
        draft.absorb(run.parts)?;
        index = index.saturating_add(1);
    }
    crate::records::governance::close_block(&mut draft, block)?;
    (execution.changes, execution.appends) = draft.into_parts().sorted()?;
    Ok(execution)
}

/// What a candidate's body names; none if no record type is known for it. Nor before its signature holds: what nobody signed
/// may name thousands of things, which whoever wrote it answers for in nothing.
fn mentions(candidate: &Candidate) -> Option<Arc<Mentions>> {
    candidate.verified_with?;
    let payload = candidate.transaction.payload();
    let kind = crate::records::record_type(&payload.record_type)?;
    Some(Arc::new(Mentions::of(kind, &payload.body)))
}

/// A record to run.
struct Asked<'t> {
    transaction: &'t Transaction,
    /// If it was looked for already.
    mentions: Option<Arc<Mentions>>,
    /// In the log.
    index: u64,
    /// Whether it is a dry run, which shows objects as they were and would be.
    shows_effects: bool,
}

/// One record, run over a state.
struct Run {
    record: RecordOutcome,
    entry: Vec<u8>,
    entry_hash: Hash,
    parts: Parts,
    effects: Vec<Effect>,
}

/// One object that a record made or changed, for the view of a dry run.
#[derive(Debug, Clone)]
pub struct Effect {
    pub reference: Ref,
    pub before: Option<Object>,
    pub after: Object,
}

/// What a record would do.
#[derive(Debug)]
pub struct Simulated {
    pub record: RecordOutcome,
    /// Its leaf as it would stand: with what it would wait for.
    pub leaf: Option<RecordLeaf>,
    pub effects: Vec<Effect>,
}

/// Runs one record without a block around it: the same code, nothing kept. The door is the caller's matter.
pub fn simulate(
    state: &dyn Snapshot,
    network: &Network,
    block: &BlockContext,
    transaction: &Transaction,
) -> Result<Simulated, StateFault> {
    let mut draft = Overlay::new(state);
    let asked = Asked { transaction, mentions: None, index: block.first_index, shows_effects: true };
    let run = run(&draft, network, block, asked)?;
    draft.absorb(run.parts)?;
    let leaf = draft.get(&Ref::new(&run.record.agency, &run.record.record_id).key())?;
    Ok(Simulated { record: run.record, leaf, effects: run.effects })
}

fn run(base: &Overlay<'_>, network: &Network, block: &BlockContext, asked: Asked<'_>) -> Result<Run, StateFault> {
    let Asked { transaction, mentions, index, shows_effects } = asked;
    let payload = transaction.payload();
    let kind = crate::records::record_type(&payload.record_type)
        .ok_or(StateFault::Invariant("a record of unknown type passed the door"))?;
    let recorded = Day::at(block.time_ms, network.utc_offset_minutes);
    let [own, signer] = *key::places(transaction);
    let mut record = Record {
        kind,
        reference: Ref::new(&payload.agency, &payload.record_id),
        transaction_id: transaction.id(),
        key_id: transaction.key_id(),
        body: Body::Submitted(&payload.body),
        recorded,
        effective: recorded,
        known: Known {
            mentions: mentions.map(OnceCell::from).unwrap_or_default(),
            key: OnceCell::from(own),
            signer: OnceCell::from(signer),
        },
    };
    record.effective = record.find("effective_date").unwrap_or(recorded);
    let mode = mode_of(base, &record)?;
    let cast = || -> Result<Cast<'_>, StateFault> {
        let signer = Signer::of(base, &record, block.time_ms)?
            .ok_or(StateFault::Invariant("a record of an unregistered key passed the door"))?;
        Ok(Cast { index, record: record.clone(), signer, mode })
    };
    let mut scene = Scene::new(base, network, block, cast()?);
    scene.shows_effects = shows_effects;
    let subjects = judge::subjects(&mut scene)?;
    scene.subjects = Arc::clone(&subjects);
    let verdict = judge::run(&mut scene);
    let (rejection, needs) = match verdict {
        Ok(needs) => (None, needs),
        Err(Halt::Fault(fault)) => return Err(fault),
        Err(Halt::Rejected(rejection)) => {
            let ends = scene.ends_on_failure.take();
            scene = Scene::new(base, network, block, cast()?);
            scene.shows_effects = shows_effects;
            if let Some(reference) = ends {
                waiting::void(&mut scene, &reference)?;
            }
            (Some(rejection), Vec::new())
        }
    };
    let (code, detail) = rejection.map_or((0, String::new()), |rejection| (rejection.code.0, rejection.detail));
    let entry = record_entry(code, transaction.bytes());
    let entry_hash = leaf_hash(&entry);
    let ending = Ending { record: &record, entry_hash: &entry_hash, index, code, needs, subjects };
    let hold_expiry_ms = if ending.needs.is_empty() { 0 } else { scene.parameter("hold_expiry")? };
    let valid_until = block.time_ms.saturating_add(hold_expiry_ms);
    close(base, scene.finish()?, ending, valid_until).map(|(flags, parts, effects)| Run {
        record: RecordOutcome {
            index,
            transaction_id: transaction.id(),
            agency: record.reference.agency.clone(),
            record_id: payload.record_id,
            record_type: SmolStr::new_static(kind.name),
            outcome: code,
            flags,
            detail,
        },
        entry,
        entry_hash,
        parts,
        effects,
    })
}

/// Live, or the mode of the import that the record names.
fn mode_of(state: &Overlay<'_>, record: &Record<'_>) -> Result<Mode, StateFault> {
    let Some(import) = record.find::<Ref>("import") else { return Ok(Mode::Live) };
    let leaf: Option<RecordLeaf> = state.get(&import.key())?;
    Ok(match leaf.and_then(|leaf| leaf.object) {
        Some(Object::Import(import)) if import.strict => Mode::Strict,
        _ => Mode::Historical,
    })
}

/// What is known of a record once its rules have run.
struct Ending<'r> {
    record: &'r Record<'r>,
    entry_hash: &'r Hash,
    index: u64,
    code: u16,
    needs: Vec<Need>,
    subjects: Arc<[Subject]>,
}

type Closed = (Vec<u16>, Parts, Vec<Effect>);

/// Writes the record's own leaf, its trails, registries and findings, and asserts what must hold.
fn close(base: &Overlay<'_>, outcome: Outcome<'_>, ending: Ending<'_>, valid_until: u64) -> Result<Closed, StateFault> {
    let Outcome {
        mut draft,
        flags,
        touched,
        registries,
        created,
        signer,
        mode,
        mut effects,
        keys: known,
        shows_effects,
    } = outcome;
    let Ending { record, entry_hash, index, code, needs, subjects } = ending;
    let mut joined = sorted(subjects.iter().cloned().chain(touched));
    if mutants::TRAIL_WITHOUT_REFERENCES.on() {
        let named: BTreeSet<Ref> = record.mentions().references.iter().map(|found| found.reference.clone()).collect();
        joined.retain(|subject| matches!(subject, Subject::Record(reference) if named.contains(reference)));
    }
    let codes: Vec<u16> = flags.iter().map(|flag| flag.code).collect();
    let waiting = (!needs.is_empty()).then(|| {
        Arc::new(waiting::Waiting {
            stage: waiting::Stage::Waiting,
            valid_until,
            needs,
            approvals: Vec::new(),
            body: record.body.encode(),
        })
    });
    let leaf = RecordLeaf {
        index,
        outcome: code,
        record_type: SmolStr::new_static(record.kind.name),
        transaction_id: record.transaction_id,
        mode,
        key_id: record.key_id,
        persons: signer.persons(),
        recorded: record.recorded,
        effective: record.effective,
        flags: codes.clone(),
        subjects: joined.as_slice().into(),
        object: created,
        waiting,
    };
    let leaf = Arc::new(leaf);
    put_leaf(&mut draft, record.key(), &leaf)?;
    if let Some(object) = &leaf.object {
        if object.kind().has_trail() {
            joined.push(Subject::Record(record.reference.clone()));
        }
        if shows_effects {
            effects.push(Effect { reference: record.reference.clone(), before: None, after: object.clone() });
        }
    }
    joined.push(Subject::OfficerKey(record.key_id));
    let keys = sorted(joined.iter().map(|subject| known.key_of(subject, record)));
    let registries = sorted(registries.iter().map(|name| key::registry(name)));
    assert_only_joined_subjects_change(base, &draft, [&keys, &registries])?;
    for key in &keys {
        draft.append_to_trail(*key, index, entry_hash)?;
    }
    for key in &registries {
        append_to_listing(&mut draft, *key, index, entry_hash)?;
    }
    if !flags.is_empty() {
        let joined = sorted(joined.into_iter());
        file_findings(&mut draft, &flags, &finding_subjects(base, &joined, record)?, (index, entry_hash))?;
    }
    Ok((codes, draft.into_parts(), effects))
}

/// Later records look at a leaf that made an object or waits, at others hardly ever: of those only the bytes are kept.
fn put_leaf(draft: &mut Overlay<'_>, key: Key, leaf: &Arc<RecordLeaf>) -> Result<(), StateFault> {
    match leaf.object.is_some() || leaf.waiting.is_some() {
        true => draft.put_shared(key, Arc::clone(leaf)),
        false => draft.put_bytes(key, &**leaf),
    }
}

/// In their order, each once.
fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.dedup();
    items
}

/// No subject's value changes unless the record is appended to its trail.
fn assert_only_joined_subjects_change(
    base: &Overlay<'_>,
    draft: &Overlay<'_>,
    joined: [&[Key]; 2],
) -> Result<(), StateFault> {
    for (key, stored) in draft.changes() {
        if mutants::TRAIL_WITHOUT_REFERENCES.on() {
            break;
        }
        if stored.trail.is_some() && !joined.iter().any(|keys| keys.binary_search(key).is_ok()) {
            let before = base.read(key)?;
            if before.is_none_or(|before| before.current != stored.current) {
                return Err(StateFault::Invariant("a subject changes whose trail the record does not join"));
            }
        }
    }
    Ok(())
}

fn append_to_listing(draft: &mut Overlay<'_>, key: Key, index: u64, entry_hash: &Hash) -> Result<(), StateFault> {
    if !draft.exists(&key)? {
        draft.put(key, &Listing {})?;
    }
    draft.append_to_trail(key, index, entry_hash)
}

/// Under which names findings are filed: the programmes, cases, tenders and data sets concerned, else the agency.
fn finding_subjects(state: &Overlay<'_>, joined: &[Subject], record: &Record<'_>) -> Result<Vec<String>, StateFault> {
    let mut names = Vec::new();
    for subject in joined {
        let Subject::Record(reference) = subject else { continue };
        let leaf: Option<RecordLeaf> = state.get(&reference.key())?;
        let own = *reference == record.reference;
        if own || leaf.and_then(|leaf| leaf.object).is_some_and(|object| object.kind().has_findings()) {
            names.push(reference.key_part());
        }
    }
    if names.is_empty() {
        names.push(record.reference.agency.to_string());
    }
    Ok(names)
}

fn file_findings(
    draft: &mut Overlay<'_>,
    flags: &[Flag],
    subjects: &[String],
    (index, entry_hash): (u64, &Hash),
) -> Result<(), StateFault> {
    for subject in subjects {
        for flag in flags {
            let finding = Finding { index, code: flag.code, detail: flag.detail.clone() };
            draft.put(key::finding(subject, index, flag.code), &finding)?;
        }
        append_to_listing(draft, key::findings(subject), index, entry_hash)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
