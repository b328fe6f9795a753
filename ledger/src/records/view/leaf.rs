//! The view of a record's leaf, and where a record stands: in effect, waiting (for whom), or void.

use serde_json::{Value as Json, json};

use super::{Lens, day, hash, object, person, reference, time};
use crate::outcome::Code;
use crate::records::object::{RecordLeaf, Ref, Subject};
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
    /// None: any agency but the proposer's.
    pub agency_id: Option<String>,
    pub role: &'static str,
}

/// Where a record stands, as far as its own leaf knows.
pub fn standing(leaf: &RecordLeaf) -> Standing {
    if leaf.outcome != 0 {
        return Standing { effect: None, waits_for: Vec::new(), valid_until: None };
    }
    let at_bank = || -> Vec<WaitsFor> {
        let awaited = leaf.object.as_ref().and_then(object::awaited_bank);
        let confirmation = awaited.map(|(record_type, agency)| WaitsFor {
            record_type,
            agency_id: Some(agency),
            role: crate::records::role::Role::AgentBank.code(),
        });
        confirmation.into_iter().collect()
    };
    let Some(waiting) = &leaf.waiting else {
        let waits_for = at_bank();
        let effect = if waits_for.is_empty() { "effective" } else { "waiting" };
        return Standing { effect: Some(effect), waits_for, valid_until: None };
    };
    match waiting.stage {
        Stage::Void => Standing { effect: Some("void"), waits_for: Vec::new(), valid_until: None },
        Stage::Effective => {
            let ended = leaf.object.as_ref().is_some_and(object::is_void);
            let waits_for = at_bank();
            let effect = match (ended, waits_for.is_empty()) {
                (true, _) => "void",
                (false, true) => "effective",
                (false, false) => "waiting",
            };
            Standing { effect: Some(effect), waits_for, valid_until: None }
        }
        Stage::Waiting => {
            let needs = waiting.outstanding().map(|(_, need)| WaitsFor {
                record_type: "approve",
                agency_id: need.agency.clone(),
                role: need.role.code(),
            });
            Standing { effect: Some("waiting"), waits_for: needs.collect(), valid_until: Some(waiting.valid_until) }
        }
    }
}

impl WaitsFor {
    pub fn view(&self) -> Json {
        json!({ "record_type": self.record_type, "agency_id": self.agency_id, "role": self.role })
    }
}

/// A record's leaf with its object.
pub fn leaf(named: &Ref, leaf: &RecordLeaf, lens: &Lens) -> Json {
    let standing = standing(leaf);
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
        "object": leaf.object.as_ref().map(|inner| object::object(inner, lens)),
    })
}

fn subject(subject: &Subject) -> Json {
    match subject {
        Subject::Record(named) => json!({ "record": reference(named) }),
        Subject::Recipient { scope, person } => json!({ "scope": scope, "recipient": hex::encode(person) }),
        Subject::OfficerKey(id) => json!({ "officer_key": hex::encode(id) }),
    }
}
