//! The view of a record's leaf, and where a record stands: in effect, waiting (for whom), or void.

use serde_json::{Value as Json, json};

use super::{Lens, day, fund, hash, object, person, reference, time};
use crate::outcome::Code;
use crate::records::object::{Object, RecordLeaf, Ref, Subject};
use crate::records::role::Role;
use crate::records::waiting::Stage;
use crate::state::key::id_text;

/// Where a recorded transaction stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// `waiting`, `effective` or `void`; None for a rejected record.
    pub effect: Option<&'static str>,
    /// The records that are still to come.
    pub waits_for: Vec<WaitsFor>,
    /// Block time in ms after which it can no longer be approved.
    pub valid_until: Option<u64>,
}

/// One record that another waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitsFor {
    pub record_type: &'static str,
    /// None: any agency but the proposer's; of a vote, each member of the authority set.
    pub agency_id: Option<String>,
    pub role: &'static str,
}

/// Where a record stands, as far as its own leaf knows; the lens names the bank of its programme.
pub fn standing(leaf: &RecordLeaf, lens: &Lens) -> Standing {
    if leaf.outcome != 0 {
        return Standing { effect: None, waits_for: Vec::new(), valid_until: None };
    }
    let mut waits_for = Vec::new();
    let mut valid_until = None;
    let mut void = false;
    if let Some(waiting) = &leaf.waiting {
        void = waiting.stage == Stage::Void;
        if waiting.is_open() {
            valid_until = Some(waiting.valid_until);
            waits_for.extend(waiting.outstanding().map(|(_, need)| WaitsFor {
                record_type: "approve",
                agency_id: need.agency.clone(),
                role: need.role.code(),
            }));
        }
    }
    if let Some(Object::Movement(movement)) = &leaf.object {
        void = void || fund::is_void(movement);
        waits_for.extend(fund::awaited(movement).map(|record_type| WaitsFor {
            record_type,
            agency_id: lens.bank.clone(),
            role: Role::AgentBank.code(),
        }));
    }
    // A proposal stands open until a quorum says yes.
    if let Some(Object::Proposal(proposal)) = &leaf.object
        && !proposal.passed
    {
        waits_for.push(WaitsFor { record_type: "vote", agency_id: None, role: Role::Admin.code() });
    }
    let effect = match (void, waits_for.is_empty()) {
        (true, _) => "void",
        (false, true) => "effective",
        (false, false) => "waiting",
    };
    if void {
        waits_for.clear();
    }
    Standing { effect: Some(effect), waits_for, valid_until }
}

impl WaitsFor {
    pub fn view(&self) -> Json {
        json!({ "record_type": self.record_type, "agency_id": self.agency_id, "role": self.role })
    }
}

/// A record's leaf with its object.
pub fn leaf(named: &Ref, leaf: &RecordLeaf, lens: &Lens) -> Json {
    let standing = standing(leaf, lens);
    let code = (leaf.outcome != 0).then(|| Code(leaf.outcome).to_string());
    json!({
        "agency_id": named.agency,
        "record_id": id_text(&named.id),
        "record_type": leaf.record_type,
        "tx_id": hash(&leaf.transaction_id),
        "index": leaf.index,
        "outcome": if leaf.outcome == 0 { "applied" } else { "rejected" },
        "code": code,
        "mode": leaf.mode.name(),
        "signer": hex::encode(leaf.key_id),
        "persons": leaf.persons.iter().map(person).collect::<Vec<_>>(),
        "recorded": day(leaf.recorded),
        "effective_date": day(leaf.effective),
        "flags": leaf.flags.iter().map(|code| Code(*code).to_string()).collect::<Vec<_>>(),
        "subjects": leaf.subjects.iter().map(subject).collect::<Vec<_>>(),
        "effect": standing.effect,
        "waits_for": standing.waits_for.iter().map(WaitsFor::view).collect::<Vec<_>>(),
        "valid_until": standing.valid_until.map(|until| time(until, lens.utc_offset_minutes)),
        "kind": leaf.object.as_ref().map(|object| object.kind().name()),
        "object": leaf.object.as_ref().map(|inner| object(inner, lens)),
    })
}

fn subject(subject: &Subject) -> Json {
    match subject {
        Subject::Record(named) => json!({ "record": reference(named) }),
        Subject::Recipient { scope, person } => json!({ "scope": scope, "recipient": hex::encode(person) }),
        Subject::OfficerKey(id) => json!({ "officer_key": hex::encode(id) }),
    }
}
