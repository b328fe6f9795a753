//! Who signed a record: key, person, agency and roles as the registry knows them at a block's time.

use smol_str::SmolStr;

use super::body::Record;
use super::calendar::Day;
use super::object::{Object, Person, RecordLeaf, Ref};
use super::registry::{Agency, Grant, Officer, OfficerKey};
use super::role::Role;
use crate::crypto::KeyId;
use crate::state::key::{self, Key};
use crate::state::{Overlay, StateFault};

/// The submitter of a record. Roles are judged with [`Signer::holds`].
#[derive(Debug, Clone)]
pub struct Signer {
    pub key_id: KeyId,
    pub agency: SmolStr,
    pub person: Person,
    /// The officer on whose behalf the signer acts, with the delegation's own bounds in `grants`.
    pub behalf_of: Option<Person>,
    /// Whether the key was revoked or suspended before the block's time.
    pub revoked: bool,
    /// Whether the agency has left: nobody there holds or lends a role.
    retired: bool,
    /// Roles that the agency may hold.
    pub agency_roles: Vec<Role>,
    /// Grants not revoked; none once the agency is retired. On another's behalf, what that officer lends.
    pub grants: Vec<Grant>,
    /// What the signer itself was granted, on whose behalf it acts: who is kept out of an act by a role does not come in
    /// by borrowing another.
    own_grants: Option<Vec<Grant>>,
}

impl Signer {
    /// The submitter of a record. On another's behalf: with those grants of the delegated role that reach as far as the
    /// delegation's scope, within it; nothing once that officer has no valid key. Whether the delegation holds is 3006.
    pub fn of(state: &Overlay<'_>, record: &Record<'_>, time_ms: u64) -> Result<Option<Self>, StateFault> {
        let agency = &record.reference.agency;
        let known = (record.key_id, &record.signer_key());
        let Some(mut signer) = Self::under(state, known, agency, time_ms)? else { return Ok(None) };
        let Some(reference) = record.find::<Ref>("on_behalf_of") else { return Ok(Some(signer)) };
        let leaf: Option<RecordLeaf> = state.get(&reference.key())?;
        if let Some(Object::Delegation(delegation)) = leaf.and_then(|leaf| leaf.object) {
            let mut lent = Vec::new();
            if !signer.retired && has_valid_key(state, agency, &delegation.from_person, time_ms)? {
                lent = grants_in_force(state, agency, &delegation.from_person, time_ms)?;
            }
            lent.retain(|grant| grant.role == delegation.role && grant.reaches(delegation.scope.as_ref()));
            lent.iter_mut().for_each(|grant| grant.scope.clone_from(&delegation.scope));
            signer.own_grants = Some(std::mem::replace(&mut signer.grants, lent));
            signer.behalf_of = Some(delegation.from_person);
        }
        Ok(Some(signer))
    }

    /// Reads who a registered key belongs to. None: no such key for that agency.
    pub fn load(state: &Overlay<'_>, key_id: KeyId, agency: &str, time_ms: u64) -> Result<Option<Self>, StateFault> {
        Self::under(state, (key_id, &key::officer_key(&key_id)), agency, time_ms)
    }

    fn under(
        state: &Overlay<'_>,
        (key_id, place): (KeyId, &Key),
        agency: &str,
        time_ms: u64,
    ) -> Result<Option<Self>, StateFault> {
        let Some(registered) = state.shared::<OfficerKey>(place)? else { return Ok(None) };
        let Some(office) = state.shared::<Agency>(&key::agency(agency))? else { return Ok(None) };
        if registered.agency != agency || registered.active_from > time_ms || office.active_from > time_ms {
            return Ok(None);
        }
        let retired = office.retired_from.is_some_and(|from| from <= time_ms);
        let grants = if retired { Vec::new() } else { grants_in_force(state, agency, &registered.person, time_ms)? };
        Ok(Some(Self {
            key_id,
            agency: agency.into(),
            person: registered.person,
            behalf_of: None,
            retired,
            own_grants: None,
            revoked: registered.revoked_from.is_some_and(|from| from <= time_ms),
            agency_roles: office.roles.clone(),
            grants,
        }))
    }

    /// The signer's grants of a role that are in force on a day and that the agency may hold.
    pub fn grants_of(&self, role: Role, day: Day) -> impl Iterator<Item = &Grant> {
        self.in_force(&self.grants, role, day)
    }

    fn in_force<'g>(&self, grants: &'g [Grant], role: Role, day: Day) -> impl Iterator<Item = &'g Grant> + use<'g> {
        let allowed = role == Role::Admin || self.agency_roles.contains(&role);
        grants.iter().filter(move |grant| allowed && grant.role == role && grant.covers_day(day))
    }

    /// Whether the signer holds a role on a day, whatever its scope and limit.
    pub fn holds(&self, role: Role, day: Day) -> bool {
        self.grants_of(role, day).next().is_some()
    }

    /// Whether the signer was itself granted a role that is in force on a day, on whosever behalf it acts.
    pub fn holds_itself(&self, role: Role, day: Day) -> bool {
        self.in_force(self.own_grants.as_ref().unwrap_or(&self.grants), role, day).next().is_some()
    }

    /// Whether a role in force covers an act of this amount on these subjects.
    pub fn covers(&self, role: Role, day: Day, amount_minor: u64, subjects: &[&Ref]) -> bool {
        self.grants_of(role, day).any(|grant| {
            grant.max_minor.is_none_or(|limit| amount_minor <= limit)
                && grant.scope.as_ref().is_none_or(|scope| subjects.contains(&scope))
        })
    }

    /// The signer, and the person on whose behalf it acts.
    pub fn persons(&self) -> Vec<Person> {
        std::iter::once(self.person).chain(self.behalf_of).collect()
    }
}

/// Whether a person has a key that is neither revoked nor suspended: who could not act lends nothing.
fn has_valid_key(state: &Overlay<'_>, agency: &str, person: &Person, time_ms: u64) -> Result<bool, StateFault> {
    let Some(officer) = state.shared::<Officer>(&key::officer(agency, &person.0))? else { return Ok(false) };
    for id in &officer.keys {
        let registered = state.shared::<OfficerKey>(&key::officer_key(&id.0))?;
        if registered.is_some_and(|key| key.is_valid(time_ms)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn grants_in_force(state: &Overlay<'_>, agency: &str, person: &Person, time_ms: u64) -> Result<Vec<Grant>, StateFault> {
    let Some(officer) = state.shared::<Officer>(&key::officer(agency, &person.0))? else { return Ok(Vec::new()) };
    let in_force = |grant: &&Grant| grant.revoked_from.is_none_or(|from| from > time_ms);
    Ok(officer.grants.iter().filter(in_force).cloned().collect())
}
