//! Gathers an evidence bundle from a node: the whole trail of a subject, the registries beside it and the leaves that
//! folding and signatures need, all under one sealed checkpoint. Nothing is judged here.

use std::collections::BTreeSet;
use std::time::Duration;

use mingzhang_ledger::crypto::KeyId;
use mingzhang_ledger::entry::Entry;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::proof::{
    BUNDLE_FORMAT, BundledTrail, EvidenceBundle, HeaderProof, KeyProof, SealedHeader, SealedState, StateProof,
    SubjectKind, Trail, TrailProof, subject_key,
};
use mingzhang_ledger::records::fund::fold::Fold;
use mingzhang_ledger::records::object::Ref;
use mingzhang_ledger::records::waiting::registered_by;
use mingzhang_ledger::seal::{Checkpoint, Note};
use mingzhang_ledger::state::key::{self, Key};
use mingzhang_ledger::state::tree::SENTINEL;
use mingzhang_ledger::transaction::Transaction;
use mingzhang_ledger::verify::{Problem, absence, presence, registration, sealed_header};
use serde::Deserialize;

use super::standing;
use crate::context::Network;
use crate::handoffs;
use crate::kept::compare_any;
use crate::node_api::NodeApi;
use crate::output::{Failure, exit};
use crate::verify::authorities_after;

/// That a part which a verdict needs is not there.
pub const PART_MISSING: Code = Code(4127);
/// That a state is no longer held.
const NOT_KEPT: Code = Code(2006);
/// A proof that belongs to another subject.
const OTHER_SUBJECT: Code = Code(4109);
/// Before a node that proved too little is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// Keys asked for in one request.
const KEYS_PER_REQUEST: usize = 100;
/// A busy network seals on; a state that went out of reach meanwhile is asked for again so many times.
const ATTEMPTS: usize = 5;

/// What a node proves about a subject.
pub enum Found {
    Bundle(Box<EvidenceBundle>),
    /// That no trail stands under its key, as of this height.
    Nothing(u64),
    /// What stands there is of another kind, as of this height.
    OtherKind(u64),
}

/// The bundle of one subject under a checkpoint of `least` entries or more, which a quorum is known to have sealed.
pub fn bundle(network: &Network, api: &NodeApi, subject: (SubjectKind, &str), least: u64) -> Result<Found, Failure> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match attempt(network, api, subject, least) {
            Err(failure) if failure.code == Some(NOT_KEPT) => last = Some(failure),
            Err(failure) if failure.code == Some(PART_MISSING) => {
                last = Some(failure);
                std::thread::sleep(PAUSE);
            }
            told => return told,
        }
    }
    Err(last.unwrap_or_else(|| Failure::bug("no attempt was made")))
}

fn attempt(network: &Network, api: &NodeApi, (kind, id): (SubjectKind, &str), least: u64) -> Result<Found, Failure> {
    let first = match page(api, (kind, id), 0, None) {
        Err(failure) if says_nothing_is_there(&failure) => {
            return no_trail(network, api, (kind, id), least);
        }
        told => told?,
    };
    require_recent(size_of(&first.sealed.checkpoint)?, least)?;
    let sealed = first.sealed.clone();
    let size = size_of(&sealed.checkpoint)?;
    let trail = whole(api, first, size)?;
    let mut registries = Vec::new();
    let mut keys: BTreeSet<Key> = BTreeSet::new();
    if kind == SubjectKind::Programme {
        let (agency, record) =
            id.split_once('/').ok_or_else(|| Failure::usage(format!("{id}: agency/id is wanted")))?;
        let programme =
            Ref::new(agency, &key::parse_id(record).ok_or_else(|| Failure::usage(format!("{id}: not an id")))?);
        let accounts = format!("accounts/{}", programme.key_part());
        match optional(api, (SubjectKind::Registry, &accounts), size)? {
            Some(registry) => {
                keys.extend(transactions(&registry).map(|transaction| registered_by(transaction.payload()).key()));
                registries.push(registry);
            }
            // The leaf before it then proves that there is none.
            None => keys.extend(subject_key(SubjectKind::Registry, &accounts)),
        }
        match optional(api, (SubjectKind::Findings, &programme.key_part()), size)? {
            Some(findings) => {
                for transaction in transactions(&findings) {
                    let payload = transaction.payload();
                    keys.insert(key::record(&payload.agency, &payload.record_id));
                }
                registries.push(findings);
            }
            None => keys.extend(subject_key(SubjectKind::Findings, &programme.key_part())),
        }
        let mut fold = Fold::new(programme);
        let folded = outcomes(&trail).try_for_each(|(outcome, transaction)| fold.apply(outcome, transaction.payload()));
        // What cannot be folded is the judge's matter.
        if folded.is_ok() {
            keys.extend(standing::keys(&fold));
        }
    }
    for transaction in transactions(&trail).chain(registries.iter().flat_map(transactions)) {
        keys.insert(key::officer_key(&transaction.key_id()));
    }
    let leaves = leaves(api, &keys.into_iter().collect::<Vec<_>>(), size)?;
    let genesis = &network.genesis;
    let handoffs = handoffs::fetch(genesis, api)?;
    let policy = authorities_after(genesis, &handoffs)?.policy(size);
    Ok(Found::Bundle(Box::new(EvidenceBundle {
        format: BUNDLE_FORMAT.to_owned(),
        origin: genesis.origin.clone(),
        genesis_hash: genesis.hash,
        handoffs,
        receipt: None,
        policy,
        entry: None,
        key: None,
        trail: Some(BundledTrail { sealed, trail, registries, leaves }),
        consistency: None,
    })))
}

/// That a node denies a trail, which is a claim until the state proves it.
fn says_nothing_is_there(failure: &Failure) -> bool {
    failure.exit == exit::NOT_FOUND && failure.code != Some(NOT_KEPT)
}

/// Books older than what a quorum is known to have sealed prove too little.
fn require_recent(size: u64, least: u64) -> Result<(), Failure> {
    if size >= least {
        return Ok(());
    }
    let detail = format!("the node answers as of {size} entries, {least} are sealed");
    Err(Failure::coded(PART_MISSING, detail))
}

/// What a sealed state shows where a node has no trail: that none stands under the key, or one of another kind.
fn no_trail(network: &Network, api: &NodeApi, (kind, id): (SubjectKind, &str), least: u64) -> Result<Found, Failure> {
    let unproven = |why: String| Failure::coded(PART_MISSING, format!("{id}: no trail, says the node; {why}"));
    let key = subject_key(kind, id).ok_or_else(|| Failure::usage(format!("{id} is not an id of that kind")))?;
    let answer = api.get_json(&format!("/state/{}", hex::encode(key))).map_err(|failure| unproven(failure.detail))?;
    let SealedState { sealed, state } =
        serde_json::from_value(answer).map_err(|error| unproven(format!("its state proof: {error}")))?;
    require_recent(size_of(&sealed.checkpoint)?, least)?;
    let authorities = authorities_after(&network.genesis, &handoffs::fetch(&network.genesis, api)?)?;
    let judged = |problem: Problem| Failure::coded(problem.code, problem.detail);
    let header = sealed_header(&authorities, &sealed).map_err(judged)?;
    compare_any((network, api), &sealed.checkpoint, &header.sealed)?;
    match presence(&header, &state, &key) {
        Ok(value) if value.trail.is_none() => {}
        Ok(value) if !kind.is_kind_of(&value.current) => return Ok(Found::OtherKind(header.header.height)),
        Ok(_) => return Err(unproven("its state shows one".to_owned())),
        Err(_) => absence(&header, &state, &key).map_err(judged)?,
    }
    Ok(Found::Nothing(header.header.height))
}

fn transactions(trail: &Trail) -> impl Iterator<Item = Transaction> + '_ {
    outcomes(trail).map(|(_, transaction)| transaction)
}

fn outcomes(trail: &Trail) -> impl Iterator<Item = (u16, Transaction)> + '_ {
    trail.entries.iter().filter_map(|item| match Entry::decode(&item.entry) {
        Ok(Entry::Record { outcome, transaction }) => Some((outcome, transaction)),
        _ => None,
    })
}

/// The size that a checkpoint states.
pub fn size_of(note: &str) -> Result<u64, Failure> {
    let checkpoint: Checkpoint =
        Note::parse(note).map_err(|fault| Failure::unreachable(format!("the node's checkpoint: {fault}")))?.checkpoint;
    Ok(checkpoint.size)
}

/// A page of a trail, at the newest sealed checkpoint or at that of a size. A page about another subject is refused: its
/// proofs may all hold, for what nobody asked.
pub fn page(
    api: &NodeApi,
    (kind, id): (SubjectKind, &str),
    after: u64,
    size: Option<u64>,
) -> Result<TrailProof, Failure> {
    let size = size.map_or(String::new(), |size| format!("&size={size}"));
    let value = api.get_json(&format!("/trails/{}/{id}?after={after}{size}", kind_name(kind)))?;
    let page: TrailProof =
        serde_json::from_value(value).map_err(|error| Failure::unreachable(format!("the node's trail: {error}")))?;
    require_subject(&page.trail, (kind, id))?;
    Ok(page)
}

/// A trail is the one that was asked for.
pub fn require_subject(trail: &Trail, (kind, id): (SubjectKind, &str)) -> Result<(), Failure> {
    if trail.kind == kind && trail.id == id {
        return Ok(());
    }
    let found = format!("{} {}", kind_name(trail.kind), trail.id);
    let detail = format!("the node gave the trail of {found}, asked for was {} {id}", kind_name(kind));
    Err(Failure::coded(OTHER_SUBJECT, detail))
}

fn kind_name(kind: SubjectKind) -> String {
    serde_json::to_value(kind).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// All pages of a trail whose first page is at hand.
fn whole(api: &NodeApi, first: TrailProof, size: u64) -> Result<Trail, Failure> {
    let TrailProof { mut trail, mut next_cursor, .. } = first;
    while let Some(after) = next_cursor {
        let next = page(api, (trail.kind, &trail.id), after, Some(size))?;
        if next.trail.entries.is_empty() {
            break;
        }
        trail.entries.extend(next.trail.entries);
        next_cursor = next.next_cursor;
    }
    Ok(trail)
}

/// A trail that may not exist; the leaf before its key then has to prove it.
fn optional(api: &NodeApi, subject: (SubjectKind, &str), size: u64) -> Result<Option<Trail>, Failure> {
    match page(api, subject, 0, Some(size)) {
        Ok(first) => whole(api, first, size).map(Some),
        Err(failure) if says_nothing_is_there(&failure) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A block's header with its path to the checkpoint of a size. Nothing is verified here.
pub fn header(api: &NodeApi, height: u64, size: u64) -> Result<HeaderProof, Failure> {
    let value = api.get_json(&format!("/blocks/{height}/proof?size={size}"))?;
    serde_json::from_value(value).map_err(|error| Failure::unreachable(format!("the node's header: {error}")))
}

/// Headers of the blocks that hold these entries, with their paths to the checkpoint of a size. Nothing is verified here.
pub fn headers(api: &NodeApi, indices: &[u64], size: u64) -> Result<Vec<HeaderProof>, Failure> {
    let list: Vec<String> = indices.iter().map(u64::to_string).collect();
    let value = api.get_json(&format!("/headers?size={size}&entries={}", list.join(",")))?;
    let answer: Headers =
        serde_json::from_value(value).map_err(|error| Failure::unreachable(format!("the node's headers: {error}")))?;
    Ok(answer.headers)
}

#[derive(Deserialize)]
struct Headers {
    headers: Vec<HeaderProof>,
}

/// The signer's registered key under the checkpoint of a size.
pub fn officer_key(api: &NodeApi, key_id: &KeyId, size: u64) -> Result<KeyProof, Failure> {
    let key = hex::encode(key::officer_key(key_id));
    let value = api.get_json(&format!("/state?size={size}&keys={key}"))?;
    let answer: Leaves =
        serde_json::from_value(value).map_err(|error| Failure::unreachable(format!("the node's leaf: {error}")))?;
    let state_proof = answer.leaves.into_iter().next().ok_or_else(|| Failure::unreachable("the node gave no leaf"))?;
    let SealedHeader { header, header_path, .. } = answer.sealed;
    Ok(KeyProof { registration: registration(key_id), state_proof, header, header_path })
}

#[derive(Deserialize)]
struct Leaves {
    sealed: SealedHeader,
    leaves: Vec<StateProof>,
}

fn leaves(api: &NodeApi, keys: &[Key], size: u64) -> Result<Vec<StateProof>, Failure> {
    let mut found = Vec::new();
    for chunk in keys.chunks(KEYS_PER_REQUEST) {
        let list: Vec<String> = chunk.iter().map(hex::encode).collect();
        let value = api.get_json(&format!("/state?size={size}&keys={}", list.join(",")))?;
        let answer: Leaves = serde_json::from_value(value)
            .map_err(|error| Failure::unreachable(format!("the node's leaves: {error}")))?;
        if let Some(key) = unanswered(chunk, &answer.leaves) {
            return Err(Failure::coded(
                PART_MISSING,
                format!("the node gave no leaf for the key {}", hex::encode(key)),
            ));
        }
        found.extend(answer.leaves);
    }
    Ok(found)
}

/// A key that was asked for and to which no leaf answers: neither its own, nor the one that shows that there is none.
fn unanswered<'a>(keys: &'a [Key], leaves: &[StateProof]) -> Option<&'a Key> {
    let answers = |key: &Key| leaves.iter().any(|proof| speaks_of(&proof.leaf, key));
    keys.iter().find(|key| !answers(key))
}

/// A leaf begins with its key and the next key in order; no key follows the last.
fn speaks_of(leaf: &[u8], wanted: &Key) -> bool {
    let Some((key, rest)) = leaf.split_first_chunk::<32>() else { return false };
    let Some((next, _)) = rest.split_first_chunk::<32>() else { return false };
    key == wanted || (key < wanted && (wanted < next || *next == SENTINEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_its_leaf_is_noticed() {
        let leaf =
            |key: u8, next: u8| StateProof { leaf: [[key; 32], [next; 32]].concat(), index: 0, path: Vec::new() };
        let keys = [[3; 32], [5; 32], [9; 32]];
        assert_eq!(unanswered(&keys, &[leaf(3, 5), leaf(5, 7), leaf(7, 0)]), None, "9 is shown to be absent");
        assert_eq!(unanswered(&keys, &[leaf(3, 5), leaf(7, 0)]), Some(&[5; 32]));
        assert_eq!(unanswered(&keys, &[leaf(3, 5), leaf(5, 7)]), Some(&[9; 32]));
    }
}
