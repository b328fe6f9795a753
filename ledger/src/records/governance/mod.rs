//! Governance: proposals and votes of the member agencies. What each action does is in `action`, a change of the authority
//! set in `seats`, what its members say before it happens in `readiness`. A change of rule sets is not carried out by this
//! version: the door refuses to take such a proposal.

mod action;
mod readiness;
mod seats;
mod set;
#[cfg(test)]
mod tests;

use minicbor::{Decode, Encode};

use super::body::Blob;
use super::object::{Kind, Object, Ref};
use super::role::Role;
use super::scene::{Scene, Verdict, reject};
use super::schema::{Area, Field, FieldKind, RecordType};
use crate::authority::AuthoritySet;
use crate::codec::Value;
use crate::outcome::Refusal;
use crate::state::StateFault;

pub use action::ACTIONS;
pub(crate) use seats::close_block;
pub(crate) use seats::recover;
pub use seats::{is_due, joining, preview};
pub use set::{AgreedChange, NextSet, NodeKey, Readiness};

/// Most bytes of an action's body.
const MAX_ACTION_BYTES: usize = 12 * 1024;

/// A proposed action and its votes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Proposal {
    #[n(0)]
    pub action: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub action_body: Vec<u8>,
    /// Block time in ms from which the action holds, once agreed.
    #[n(2)]
    pub from_time: u64,
    /// Agencies.
    #[n(3)]
    pub votes_for: Vec<String>,
    #[n(4)]
    pub votes_against: Vec<String>,
    #[n(5)]
    pub passed: bool,
}

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "proposal",
        zh: "提案",
        area: Area::Governance,
        fields: &[
            Field::need("action", FieldKind::Code),
            Field::need("action_body", FieldKind::Bytes(MAX_ACTION_BYTES)),
            Field::need("from_time", FieldKind::Time),
        ],
        submitters: &[Role::Admin],
        check: may_be_proposed,
        take_effect: propose,
        ..RecordType::BASE
    },
    RecordType {
        name: "vote",
        zh: "表决",
        area: Area::Governance,
        fields: &[Field::need("proposal", FieldKind::Ref(&[Kind::Proposal])), Field::need("yes", FieldKind::Bool)],
        submitters: &[Role::Admin],
        check: may_be_voted,
        sequence: not_yet_passed,
        take_effect: vote,
        ..RecordType::BASE
    },
    readiness::NODE_READY,
];

/// The door's part: the action is one that this version carries out, and its body has that action's form.
pub(crate) fn check_form(kind: &RecordType, body: &Value) -> Result<(), Refusal> {
    if kind.name != "proposal" {
        return Ok(());
    }
    let action = body.get("action").and_then(Value::as_text).unwrap_or_default();
    let bytes = body.get("action_body").and_then(Value::as_bytes).unwrap_or_default();
    action::check_form(action, bytes)
}

/// 3801: the agency is a member.
fn is_member(scene: &Scene<'_>) -> Verdict<AuthoritySet> {
    let set = set::current(&scene.draft)?;
    let agency = &scene.record.reference.agency;
    match set.index_of(agency) {
        Some(_) => Ok(set),
        None => reject(3801, format!("{agency} is no member of the authority set")),
    }
}

/// 3804: an action holds no earlier than the notice after the block in which it is proposed, and agreed.
fn is_far_enough(scene: &Scene<'_>, from_time: u64) -> Verdict {
    let earliest = scene.block.time_ms.saturating_add(scene.parameter("parameter_notice")?);
    if from_time < earliest { reject(3804, format!("from {from_time}, earliest {earliest}")) } else { Ok(()) }
}

fn may_be_proposed(scene: &mut Scene<'_>) -> Verdict {
    let set = is_member(scene)?;
    let (name, bytes): (String, Blob) = (scene.record.need("action")?, scene.record.need("action_body")?);
    let action = action::decode(&name, &bytes.0)?;
    action::check_range(&action)?;
    is_far_enough(scene, scene.record.need("from_time")?)?;
    action::check(scene, &action, &set)
}

fn propose(scene: &mut Scene<'_>) -> Verdict {
    let action_body: Blob = scene.record.need("action_body")?;
    let proposal = Proposal {
        action: scene.record.need("action")?,
        action_body: action_body.0,
        from_time: scene.record.need("from_time")?,
        votes_for: Vec::new(),
        votes_against: Vec::new(),
        passed: false,
    };
    scene.enter_registry("proposals".to_owned());
    scene.create(Object::Proposal(proposal));
    Ok(())
}

fn proposal(scene: &mut Scene<'_>) -> Verdict<(Ref, Proposal)> {
    let reference: Ref = scene.record.need("proposal")?;
    match scene.object(&reference)? {
        Some(Object::Proposal(proposal)) => Ok((reference, proposal)),
        _ => reject(3002, format!("{reference} is no proposal")),
    }
}

/// Whether this vote is the one with which the proposal passes.
fn passes(scene: &Scene<'_>, proposal: &Proposal, set: &AuthoritySet) -> Result<bool, StateFault> {
    let yes: bool = scene.record.need("yes")?;
    // Only votes of agencies that are still members count.
    let earlier = proposal.votes_for.iter().filter(|agency| set.index_of(agency).is_some()).count();
    Ok(yes && earlier.saturating_add(1) >= set.quorum())
}

fn may_be_voted(scene: &mut Scene<'_>) -> Verdict {
    let set = is_member(scene)?;
    let (reference, proposal) = proposal(scene)?;
    let agency = &scene.record.reference.agency;
    if proposal.votes_for.iter().chain(&proposal.votes_against).any(|voted| voted == agency) {
        return reject(3802, format!("{agency} has voted on {reference}"));
    }
    if passes(scene, &proposal, &set)? && !proposal.passed {
        let action = action::decode(&proposal.action, &proposal.action_body)?;
        action::check_range(&action)?;
        is_far_enough(scene, proposal.from_time)?;
        action::check(scene, &action, &set)?;
    }
    Ok(())
}

/// 3011.
fn not_yet_passed(scene: &mut Scene<'_>) -> Verdict {
    let (reference, proposal) = proposal(scene)?;
    if proposal.passed { reject(3011, format!("{reference} has passed")) } else { Ok(()) }
}

fn vote(scene: &mut Scene<'_>) -> Verdict {
    let set = is_member(scene)?;
    let (reference, mut proposal) = proposal(scene)?;
    proposal.passed = passes(scene, &proposal, &set)?;
    let agency = scene.record.reference.agency.to_string();
    let yes: bool = scene.record.need("yes")?;
    if yes {
        proposal.votes_for.push(agency);
    } else {
        proposal.votes_against.push(agency);
    }
    if proposal.passed {
        let action = action::decode(&proposal.action, &proposal.action_body)?;
        action::carry_out(scene, &action, proposal.from_time)?;
    }
    scene.put(&reference, Object::Proposal(proposal))?;
    Ok(())
}
