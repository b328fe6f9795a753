//! What genesis puts into the state, as height 0: agencies, their officers and roles, parameters, the authority set.

use std::collections::BTreeMap;

use super::holders;
use super::object::{Agency, Grant, Key16, Officer, OfficerKey};
use super::roster::Roster;
use crate::authority::AuthoritySet;
use crate::crypto::PublicKey;
use crate::entry::genesis_id;
use crate::records::object::{Person, Ref};
use crate::records::role::Role;
use crate::records::validate;
use crate::rules::{self, History, Setting};
use crate::state::execute::{Listing, Network};
use crate::state::key::{self, Key};
use crate::state::{Nothing, Overlay, StateFault, Stored, TrailAppend};

/// The founding of a network, as genesis states it.
#[derive(Debug, Clone)]
pub struct Founding {
    pub network: Network,
    pub agencies: Vec<FoundingAgency>,
    /// Rule parameters that differ from their defaults.
    pub parameters: BTreeMap<String, u64>,
    pub set: AuthoritySet,
}

/// An agency at genesis. Its admins are officers who hold the role `admin`.
#[derive(Debug, Clone)]
pub struct FoundingAgency {
    pub id: String,
    pub name: String,
    pub kind: String,
    /// Codes of all roles that its officers may hold.
    pub roles: Vec<String>,
    pub admin_keys: Vec<([u8; 16], PublicKey)>,
    pub officers: Vec<FoundingOfficer>,
}

#[derive(Debug, Clone)]
pub struct FoundingOfficer {
    pub person: [u8; 16],
    pub key: PublicKey,
    pub roles: Vec<FoundingRole>,
}

#[derive(Debug, Clone)]
pub struct FoundingRole {
    pub role: String,
    pub scope: Option<Ref>,
    pub max_minor: Option<u64>,
}

/// The state of height 0. Refused: an agency or key twice, an unknown role or parameter, a parameter out of range.
pub fn found(founding: &Founding) -> Result<(BTreeMap<Key, Stored>, Vec<TrailAppend>), StateFault> {
    let mut state = Overlay::new(&Nothing);
    let genesis = genesis_id(&founding.network.chain);
    let mut roster = Roster::default();
    for agency in &founding.agencies {
        validate::agency_id(&agency.id).map_err(|refusal| StateFault::Value(refusal.detail))?;
        if roster.agencies.contains(&agency.id) {
            return Err(StateFault::Value(format!("agency {} is founded twice", agency.id)));
        }
        roster.agencies.push(agency.id.clone());
        found_agency(&mut state, agency)?;
        let officers = key::registry(&format!("officers/{}", agency.id));
        state.put(officers, &Listing {})?;
        state.append_to_trail(officers, 0, &genesis)?;
        for (_, key) in officers_of(agency) {
            state.append_to_trail(key::officer_key(&key.key_id()), 0, &genesis)?;
        }
    }
    state.put(key::registry("agencies"), &roster)?;
    state.append_to_trail(key::registry("agencies"), 0, &genesis)?;
    for (name, value) in &founding.parameters {
        let known = rules::find(name).filter(|known| known.allows(*value));
        let known = known.ok_or_else(|| StateFault::Value(format!("parameter {name} = {value}")))?;
        state.put(key::rule(known.name), &History { settings: vec![Setting { from_time: 0, value: *value }] })?;
    }
    let (mut changes, appends) = state.into_parts().sorted()?;
    changes.insert(key::set_current(), Stored { current: founding.set.encode().into(), trail: None });
    Ok((changes, appends))
}

fn officers_of(agency: &FoundingAgency) -> impl Iterator<Item = ([u8; 16], PublicKey)> {
    let officers = agency.officers.iter().map(|officer| (officer.person, officer.key));
    agency.admin_keys.iter().copied().chain(officers)
}

fn role(code: &str) -> Result<Role, StateFault> {
    Role::from_code(code).ok_or_else(|| StateFault::Value(format!("role {code}")))
}

fn found_agency(state: &mut Overlay<'_>, agency: &FoundingAgency) -> Result<(), StateFault> {
    let roles = agency.roles.iter().map(|code| role(code)).collect::<Result<_, _>>()?;
    let registered =
        Agency { name: agency.name.clone(), kind: agency.kind.clone(), roles, active_from: 0, retired_from: None };
    state.put(key::agency(&agency.id), &registered)?;
    for (person, key) in officers_of(agency) {
        if state.exists(&key::officer_key(&key.key_id()))? {
            return Err(StateFault::Value(format!("key {key:?} is founded twice")));
        }
        let entry = OfficerKey {
            agency: agency.id.clone(),
            person: Person(person),
            key: key.0,
            active_from: 0,
            revoked_from: None,
        };
        state.put(key::officer_key(&key.key_id()), &entry)?;
        let place = key::officer(&agency.id, &person);
        let mut officer: Officer = state.get(&place)?.unwrap_or_default();
        officer.keys.push(Key16(key.key_id()));
        state.put(place, &officer)?;
    }
    let admins = agency.admin_keys.iter().map(|(person, _)| (*person, Grant::lasting(Role::Admin, None, None)));
    let mut grants: Vec<([u8; 16], Grant)> = admins.collect();
    for officer in &agency.officers {
        for given in &officer.roles {
            grants.push((officer.person, Grant::lasting(role(&given.role)?, given.scope.clone(), given.max_minor)));
        }
    }
    for (person, grant) in grants {
        holders::enter(state, (&agency.id, Person(person)), grant.role)?;
        let place = key::officer(&agency.id, &person);
        let mut officer: Officer = state.get(&place)?.unwrap_or_default();
        officer.grants.push(grant);
        state.put(place, &officer)?;
    }
    Ok(())
}
