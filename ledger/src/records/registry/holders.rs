//! Who holds the roles without which an agency or the network stands still (3805): its admins, and those whom the acts and
//! the money of others wait for. Officers cannot be counted by their keys in the state, so these are listed.

use minicbor::{Decode, Encode};

use super::object::{Agency, Grant, Officer, OfficerKey};
use super::roster::Roster;
use crate::crypto::KeyId;
use crate::records::object::{Person, Ref};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::state::{Overlay, StateFault, key};

/// The roles that keep a holder. Any other can be granted anew by the agency's admins before it is missed.
const KEPT: [Role; 4] = [Role::Admin, Role::Finance, Role::AgentBank, Role::Supervisor];
/// Registry acts take two of them.
pub(super) const ADMINS: usize = 2;

/// The value of `holders/<agency>/<role>`: all who were ever granted the role there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Holders {
    #[n(0)]
    pub persons: Vec<Person>,
}

/// A person of an agency.
pub(super) type Member<'a> = (&'a str, Person);

/// Lists whoever is granted a role that is kept.
pub(in crate::records) fn enter(
    state: &mut Overlay<'_>,
    (agency, person): Member<'_>,
    role: Role,
) -> Result<(), StateFault> {
    if !KEPT.contains(&role) {
        return Ok(());
    }
    let place = key::holders(agency, role.code());
    let mut holders: Holders = state.get(&place)?.unwrap_or_default();
    if !holders.persons.contains(&person) {
        holders.persons.push(person);
        state.put(place, &holders)?;
    }
    Ok(())
}

/// 3805 for the end of a key: what its owner holds by no other key has holders enough without it.
pub(super) fn remain_without_key(scene: &Scene<'_>, owner: Member<'_>, key: &KeyId, admins: usize) -> Verdict {
    let Some(officer) = officer(scene, owner)? else { return Ok(()) };
    let now = scene.block.time_ms;
    if !has_key(scene, &officer, |id, entry| id == key && entry.is_valid(now))?
        || has_key(scene, &officer, |id, entry| id != key && entry.is_valid(now))?
    {
        return Ok(());
    }
    for role in KEPT {
        if officer.grants.iter().any(|grant| grant.role == role && is_in_force(scene, grant)) {
            remain_without(scene, owner, role, admins)?;
        }
    }
    Ok(())
}

/// 3805 for the end of grants: a role that is kept has holders enough without them.
pub(super) fn remain_without_grants(scene: &Scene<'_>, owner: Member<'_>, role: Role, by: Option<&Ref>) -> Verdict {
    let Some(officer) = officer(scene, owner)? else { return Ok(()) };
    let now = scene.block.time_ms;
    let of_role = |grant: &&Grant| grant.role == role && is_in_force(scene, grant);
    let stays = by.is_some_and(|by| officer.grants.iter().filter(of_role).any(|grant| grant.by.as_ref() != Some(by)));
    let held = officer.grants.iter().any(|grant| of_role(&grant));
    if !KEPT.contains(&role) || stays || !held || !has_key(scene, &officer, |_, entry| entry.is_valid(now))? {
        return Ok(());
    }
    remain_without(scene, owner, role, ADMINS)
}

fn remain_without(scene: &Scene<'_>, owner: Member<'_>, role: Role, admins: usize) -> Verdict {
    if role == Role::Admin {
        let left = others(scene, owner.0, role, owner)?;
        if left < admins {
            let code = role.code();
            return reject(3805, format!("{left} would hold {code} in {}, at least {admins} must", owner.0));
        }
        return Ok(());
    }
    for (id, agency) in Roster::load(&scene.draft)?.remaining(&scene.draft)? {
        if may_hold(&agency, role, scene.block.time_ms) && others(scene, &id, role, owner)? > 0 {
            return Ok(());
        }
    }
    reject(3805, format!("nobody would hold {}", role.code()))
}

fn may_hold(agency: &Agency, role: Role, now: u64) -> bool {
    agency.active_from <= now && agency.roles.contains(&role)
}

/// How many others hold a role in an agency with a key that signs.
fn others(scene: &Scene<'_>, agency: &str, role: Role, owner: Member<'_>) -> Verdict<usize> {
    let holders: Holders = scene.draft.get(&key::holders(agency, role.code()))?.unwrap_or_default();
    let now = scene.block.time_ms;
    let mut found = 0usize;
    for person in holders.persons.into_iter().filter(|person| (agency, *person) != owner) {
        if let Some(officer) = officer(scene, (agency, person))?
            && officer.grants.iter().any(|grant| grant.role == role && is_in_force(scene, grant))
            && has_key(scene, &officer, |_, entry| entry.is_valid(now))?
        {
            found = found.saturating_add(1);
        }
    }
    Ok(found)
}

fn officer(scene: &Scene<'_>, (agency, person): Member<'_>) -> Result<Option<Officer>, StateFault> {
    scene.draft.get(&key::officer(agency, &person.0))
}

fn is_in_force(scene: &Scene<'_>, grant: &Grant) -> bool {
    grant.revoked_from.is_none_or(|from| from > scene.block.time_ms) && grant.covers_day(scene.today())
}

fn has_key(
    scene: &Scene<'_>,
    officer: &Officer,
    fits: impl Fn(&KeyId, &OfficerKey) -> bool,
) -> Result<bool, StateFault> {
    for id in &officer.keys {
        if scene.draft.get::<OfficerKey>(&key::officer_key(&id.0))?.is_some_and(|entry| fits(&id.0, &entry)) {
            return Ok(true);
        }
    }
    Ok(false)
}
