//! `query agency` and `query officer`: what the registry keeps under keys of its own, from leaves under a sealed header. A
//! node only carries them.

use mingzhang_ledger::crypto::KeyId;
use mingzhang_ledger::records::registry::{Agency, Officer, OfficerKey, Roster};
use mingzhang_ledger::records::view;
use mingzhang_ledger::state::key::{self, Key};
use serde_json::{Value, json};

use super::{NOT_FOUND, for_people, is_agency, outline};
use crate::audit::nodes::{self, old_books};
use crate::command::Desk;
use crate::command::audit::{as_of_header, officer_key};
use crate::node_api::NodeApi;
use crate::output::{Answer, Failure, exit};
use crate::proven::{Leaf, Proof, several, standing};

/// Leaves asked for at once.
const KEYS_PER_REQUEST: usize = 100;

/// All agencies in order of registration, retired ones included.
pub fn agencies(desk: &Desk) -> Result<Answer, Failure> {
    let (proof, node) = proven::<Roster>(desk, &key::registry("agencies"))?;
    let ids = proof.leaf.as_ref().map(|roster| roster.agencies.as_slice()).unwrap_or_default();
    let mut items = Vec::new();
    for ids in ids.chunks(KEYS_PER_REQUEST) {
        let keys: Vec<Key> = ids.iter().map(|id| key::agency(id)).collect();
        let leaves = several::<Agency>(&node, &proof.header, &keys)?;
        // The roster names only agencies that are there.
        let views = ids.iter().zip(leaves).filter_map(|(id, leaf)| Some(shown(desk, &proof, (id, &leaf?))));
        items.extend(views.collect::<Result<Vec<_>, _>>()?);
    }
    answered(desk, &proof, json!({ "items": items, "next_cursor": null }))
}

pub fn agency(desk: &Desk, id: &str) -> Result<Answer, Failure> {
    if !is_agency(id) {
        let wanted =
            desk.pick("应为单位编号,例如 civil,不带「/」", "an agency's id is wanted, such as civil, without a slash");
        return Err(Failure::usage(format!("agency {id}: {wanted}")));
    }
    let (proof, _) = proven::<Agency>(desk, &key::agency(id))?;
    let leaf = proof.leaf.as_ref().ok_or_else(|| unknown(desk, id, &proof))?;
    let data = shown(desk, &proof, (id, leaf))?;
    answered(desk, &proof, data)
}

/// An officer's key, and what its holder may do.
pub fn officer(desk: &Desk, id: &str) -> Result<Answer, Failure> {
    let id = officer_key(desk, id)?;
    let digits = hex::decode(&id).ok().and_then(|bytes| KeyId::try_from(bytes).ok());
    let key_id = digits.ok_or_else(|| Failure::bug("an id of another form was let through"))?;
    let (proof, node) = proven::<OfficerKey>(desk, &key::officer_key(&key_id))?;
    let leaf = proof.leaf.as_ref().ok_or_else(|| unknown(desk, &id, &proof))?;
    let holder = several::<Officer>(&node, &proof.header, &[key::officer(&leaf.agency, &leaf.person.0)])?;
    let offset = offset(desk)?;
    let mut data = view::officer_key(leaf, proof.header.header.time_ms, offset);
    let held = view::officer(&holder.into_iter().next().flatten().unwrap_or_default(), offset);
    if let (Some(members), Value::Object(held)) = (data.as_object_mut(), held) {
        members.extend(held);
    }
    answered(desk, &proof, data)
}

/// The newest that the nodes are known to have sealed, from the first of them that proves it, with that node: one alone
/// could show what was before a revocation.
fn proven<T: Leaf>(desk: &Desk, key: &Key) -> Result<(Box<Proof<T>>, NodeApi), Failure> {
    let (network, api) = (desk.network()?, desk.api()?);
    let newest = nodes::newest(network, &api)?;
    let mut reason = Failure::unreachable("");
    for (name, _) in &newest.proven {
        let node = api.only(name);
        match standing((network, &node), (key, newest.size()), desk.language) {
            Ok(proof) => return Ok((proof, node)),
            Err(failure) if failure.exit == exit::FAILED => return Err(failure),
            Err(failure) => reason = failure,
        }
    }
    Err(reason)
}

fn unknown<T>(desk: &Desk, id: &str, proof: &Proof<T>) -> Failure {
    let words = desk.pick("未登记,已证明,高度", "is not registered, proven at height");
    Failure::coded(NOT_FOUND, format!("{id} {words} {}", proof.header.header.height))
}

fn shown<T>(desk: &Desk, proof: &Proof<T>, (id, leaf): (&str, &Agency)) -> Result<Value, Failure> {
    Ok(view::agency(id, leaf, proof.header.header.time_ms, offset(desk)?))
}

fn offset(desk: &Desk) -> Result<i32, Failure> {
    Ok(desk.network()?.genesis.founding.network.utc_offset_minutes)
}

fn answered<T>(desk: &Desk, proof: &Proof<T>, mut data: Value) -> Result<Answer, Failure> {
    let header = &proof.header.header;
    if let Some(members) = data.as_object_mut() {
        members.insert("proven".into(), Value::Bool(true));
        members.insert("as_of".into(), as_of_header(header));
    }
    let text = outline(&for_people(&data, offset(desk)?, desk.language), 0);
    let mut answer = Answer::done(data, text);
    answer.warnings.clone_from(&proof.warnings);
    let reader = (&desk.network()?.genesis, desk.language);
    answer.warnings.extend(old_books(reader, header.time_ms, proof.set.parameters.heartbeat_ms));
    Ok(answer)
}
