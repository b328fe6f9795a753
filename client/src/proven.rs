//! What the seals prove about one record, whatever a node says of it: its leaf under a sealed header, or that there is
//! none. A node is believed nothing; it is only asked again until it gives the proof or the time is over.

use std::time::{Duration, Instant};

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::proof::{SealedState, StateProof};
use mingzhang_ledger::records::object::RecordLeaf;
use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::verify::{Authorities, Problem, ProvenHeader, absence, presence, sealed_header};
use serde::Deserialize;

use crate::context::Network;
use crate::handoffs;
use crate::kept::{Order, compare};
use crate::node_api::NodeApi;
use crate::output::{Failure, Language, exit};
use crate::verify::{authorities_after, discontinuity_warnings};

/// How long one request may wait at a node for the seals, which follow finality by about half a second.
const WAIT_S: u64 = 4;
/// How long a record is waited for that may not be sealed yet.
const PATIENCE: Duration = Duration::from_secs(4);
const NOT_FOUND: Code = Code(2005);
/// That a node gives no proof.
const PART_MISSING: Code = Code(4127);
/// Pause before a node that gave no proof is asked again; it doubles.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a proof has to show.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// A state that covers the entry at this log index.
    Entry(u64),
    /// The record, or a header of this time (milliseconds since 1970) or later without it.
    Past(u64),
    /// The record.
    Present,
}

impl Wanted {
    fn query(self) -> String {
        match self {
            Self::Entry(index) => format!("?wait={WAIT_S}&entry={index}"),
            Self::Past(time_ms) => format!("?wait={WAIT_S}&past={time_ms}"),
            Self::Present => String::new(),
        }
    }

    fn is_shown<T>(self, proof: &Proof<T>) -> bool {
        match self {
            Self::Entry(index) => proof.header.header.tree_size() > index,
            Self::Past(time_ms) => proof.leaf.is_some() || proof.header.header.time_ms >= time_ms,
            Self::Present => proof.leaf.is_some(),
        }
    }
}

/// A leaf, a record's or another of the state, or its absence, under a header that a quorum sealed.
#[derive(Debug)]
pub struct Proof<T = RecordLeaf> {
    pub header: ProvenHeader,
    pub state: StateProof,
    pub leaf: Option<T>,
    /// The set that sealed the header.
    pub set: AuthoritySet,
    /// Recovery manifests on the way from genesis to those seals.
    pub warnings: Vec<String>,
}

/// What stands in a leaf of the state.
pub trait Leaf: for<'b> minicbor::Decode<'b, ()> {}

impl<T: for<'b> minicbor::Decode<'b, ()>> Leaf for T {}

/// How asking ended.
pub enum Asked<T = RecordLeaf> {
    Shown(Box<Proof<T>>),
    /// The time was over: the newest proof, if any, and why there is no better one.
    NotYet(Option<Box<Proof<T>>>, Failure),
    /// The time was over, and what was shown is older than what this user has seen, or than was asked for, or not proven to
    /// lead on from there.
    Withheld(Failure),
}

/// The proof of a record that is on the ledger; it may take the seals a moment. Not found if the time is over without one.
pub fn present(
    place: (&Network, &NodeApi),
    (key, name): (&Key, &str),
    language: Language,
) -> Result<Box<Proof>, Failure> {
    let unproven = |why: &str| Failure::coded(NOT_FOUND, format!("{name}: {why}"));
    match ask(place, key, Wanted::Present, Instant::now() + PATIENCE, language)? {
        Asked::Shown(proof) => Ok(proof),
        Asked::NotYet(Some(proof), _) => {
            Err(unproven(&format!("not on the sealed ledger at height {}", proof.header.header.height)))
        }
        Asked::Withheld(failure) => Err(failure),
        Asked::NotYet(None, why) if why.exit == exit::UNREACHABLE => Err(why),
        // Whether there is none, nobody has shown.
        Asked::NotYet(None, why) => {
            Err(Failure::coded(PART_MISSING, format!("{name}: no proof of it ({})", why.detail)))
        }
    }
}

/// What stands under a key, or that nothing does, in a state of a log of so many entries or more.
pub fn standing<T: Leaf>(
    place: (&Network, &NodeApi),
    (key, size): (&Key, u64),
    language: Language,
) -> Result<Box<Proof<T>>, Failure> {
    let wanted = Wanted::Entry(size.saturating_sub(1));
    match ask_for(place, key, wanted, Instant::now() + PATIENCE, language)? {
        Asked::Shown(proof) => Ok(proof),
        Asked::Withheld(failure) => Err(failure.with_exit(exit::INCONCLUSIVE)),
        Asked::NotYet(_, why) if why.exit == exit::UNREACHABLE => Err(why),
        // Nor is it for a node to say that there is nothing.
        Asked::NotYet(_, why) => {
            let words = language.pick("没有证明", "no proof of it");
            Err(Failure::coded(PART_MISSING, format!("{words} ({})", why.detail)))
        }
    }
}

/// A failure in one line, with its code.
pub fn coded(failure: &Failure) -> String {
    failure.code.map_or(failure.detail.clone(), |code| format!("{code} {}", failure.detail))
}

/// Asks for the leaf of a record until it shows what is wanted. A proof that does not hold is a failure at once.
pub fn ask(
    place: (&Network, &NodeApi),
    key: &Key,
    wanted: Wanted,
    deadline: Instant,
    language: Language,
) -> Result<Asked, Failure> {
    ask_for(place, key, wanted, deadline, language)
}

fn ask_for<T: Leaf>(
    (network, api): (&Network, &NodeApi),
    key: &Key,
    wanted: Wanted,
    deadline: Instant,
    language: Language,
) -> Result<Asked<T>, Failure> {
    let (mut newest, mut withheld, mut pause) = (None, None, PAUSE);
    let path = format!("/state/{}{}", hex::encode(key), wanted.query());
    loop {
        let why = match attempt((network, api), key, &path, language) {
            Ok(proof) if wanted.is_shown(&proof) => return Ok(Asked::Shown(Box::new(proof))),
            Ok(proof) => {
                newest = Some(Box::new(proof));
                Failure::coded(PART_MISSING, "not sealed yet")
            }
            Err(Obstacle::Later(why)) => why,
            Err(Obstacle::Withheld(failure)) => {
                let why = Failure::coded(PART_MISSING, failure.detail.clone());
                withheld = Some(failure);
                api.pass_over();
                why
            }
            Err(Obstacle::False(failure)) => return Err(failure),
        };
        if Instant::now() + pause >= deadline {
            return Ok(match (newest, withheld) {
                (None, Some(failure)) => Asked::Withheld(failure),
                (newest, _) => Asked::NotYet(newest, why),
            });
        }
        std::thread::sleep(pause);
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Why there is no proof.
enum Obstacle {
    /// The node gives none now, or a hand-off is not sealed yet.
    Later(Failure),
    /// What it gave holds, and is not enough beside what this user has seen or asked for.
    Withheld(Failure),
    /// What it gave does not hold.
    False(Failure),
}

impl From<Problem> for Obstacle {
    fn from(problem: Problem) -> Self {
        match problem.missing {
            true => Self::Later(Failure::coded(problem.code, problem.to_string())),
            false => Self::False(Failure::coded(problem.code, problem.detail)),
        }
    }
}

fn attempt<T: Leaf>(
    (network, api): (&Network, &NodeApi),
    key: &Key,
    path: &str,
    language: Language,
) -> Result<Proof<T>, Obstacle> {
    let answer = api.get_json(path).map_err(Obstacle::Later)?;
    let answer: SealedState = serde_json::from_value(answer)
        .map_err(|error| Obstacle::Later(Failure::coded(PART_MISSING, error.to_string())))?;
    let handoffs = handoffs::fetch(&network.genesis, api).map_err(|failure| match failure.exit {
        exit::FAILED => Obstacle::False(failure),
        _ => Obstacle::Later(failure),
    })?;
    let authorities = authorities_after(&network.genesis, &handoffs).map_err(Obstacle::False)?;
    let note = answer.sealed.checkpoint.clone();
    let mut proof = checked(&authorities, answer, key)?;
    match compare((network, api), &note, &proof.header.sealed) {
        Ok(Order::Newest) => {}
        Ok(Order::Older(failure)) => return Err(Obstacle::Withheld(failure)),
        Err(failure) if failure.exit == exit::INCONCLUSIVE => return Err(Obstacle::Withheld(failure)),
        Err(failure) => return Err(Obstacle::False(failure)),
    }
    proof.warnings = discontinuity_warnings(authorities.discontinuities(), language);
    Ok(proof)
}

/// Verifies a node's answer about a key.
fn checked<T: Leaf>(authorities: &Authorities, answer: SealedState, key: &Key) -> Result<Proof<T>, Obstacle> {
    let header = sealed_header(authorities, &answer.sealed)?;
    let leaf = leaf_of(&header, &answer.state, key)?;
    let set = authorities.deciding(header.sealed.checkpoint.size).clone();
    Ok(Proof { header, state: answer.state, leaf, set, warnings: Vec::new() })
}

/// The leaf of a key, or None where the proof shows that there is none.
fn leaf_of<T: Leaf>(header: &ProvenHeader, state: &StateProof, key: &Key) -> Result<Option<T>, Obstacle> {
    match presence(header, state, key) {
        Ok(value) => {
            let leaf = minicbor::decode(&value.current);
            let unknown = |error: minicbor::decode::Error| Failure::coded(Code(4109), error.to_string());
            Ok(Some(leaf.map_err(|error| Obstacle::False(unknown(error)))?))
        }
        Err(_) => Ok(absence(header, state, key).map(|()| None)?),
    }
}

#[derive(Deserialize)]
struct Leaves {
    leaves: Vec<StateProof>,
}

/// Several leaves of one kind under a header that is proven already. A proof that does not hold fails with a verdict's
/// exit status; a node that gives none, with another.
pub fn several<T: Leaf>(api: &NodeApi, header: &ProvenHeader, keys: &[Key]) -> Result<Vec<Option<T>>, Failure> {
    let (size, list): (_, Vec<String>) = (header.header.tree_size(), keys.iter().map(hex::encode).collect());
    let answer: Leaves = serde_json::from_value(api.get_json(&format!("/state?size={size}&keys={}", list.join(",")))?)
        .map_err(|error| Failure::unreachable(format!("the node's leaves: {error}")))?;
    if answer.leaves.len() != keys.len() {
        return Err(Failure::unreachable("the node did not give all leaves"));
    }
    let leaf = |(state, key): (&StateProof, &Key)| match leaf_of(header, state, key) {
        Err(Obstacle::Later(why)) => Err(Failure::unreachable(why.detail)),
        Err(Obstacle::False(failure) | Obstacle::Withheld(failure)) => Err(failure),
        Ok(leaf) => Ok(leaf),
    };
    answer.leaves.iter().zip(keys).map(leaf).collect()
}
