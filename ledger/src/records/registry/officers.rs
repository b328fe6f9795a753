//! Officers' keys: registered by two admins of the agency, revoked by an admin, or by a supervisor with a second agency.

use super::holders;
use super::object::{Key16, Officer, OfficerKey};
use crate::crypto::PublicKey;
use crate::records::object::{Person, Subject};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::records::waiting::Need;
use crate::state::{StateFault, key};

pub(super) const OFFICER_REGISTER: RecordType = RecordType {
    name: "officer_register",
    zh: "经办人登记",
    area: Area::Registry,
    fields: &[
        Field::need("officer", FieldKind::Person),
        Field::need("key", FieldKind::PublicKey),
        Field::need("possession", FieldKind::Possession),
    ],
    submitters: &[Role::Admin],
    approvers: super::second_admin,
    check: key_is_new,
    take_effect: register,
    ..RecordType::BASE
};

pub(super) const KEY_REVOKE: RecordType = RecordType {
    name: "key_revoke",
    zh: "密钥吊销",
    area: Area::Registry,
    fields: &[Field::need("key", FieldKind::PublicKey), Field::need("reason", FieldKind::Code)],
    submitters: &[Role::Admin, Role::Supervisor],
    entitled: own_admin_or_supervisor,
    approvers: second_agency_for_supervisors,
    check: key_is_dispensable,
    sequence: not_yet_revoked,
    take_effect: revoke,
    ..RecordType::BASE
};

fn public_key(scene: &Scene<'_>) -> Result<PublicKey, StateFault> {
    scene.record.need("key").map(PublicKey)
}

/// 3001: a key belongs to one officer for ever.
fn key_is_new(scene: &mut Scene<'_>) -> Verdict {
    let key_id = public_key(scene)?.key_id();
    if scene.draft.exists(&key::officer_key(&key_id))? {
        return reject(3001, format!("key {} is registered already", hex::encode(key_id)));
    }
    Ok(())
}

fn register(scene: &mut Scene<'_>) -> Verdict {
    let (person, key, agency) =
        (scene.record.need::<Person>("officer")?, public_key(scene)?, scene.record.reference.agency.clone());
    let active_from = scene.block.time_ms;
    enter_key(scene, (&agency, person, key), active_from)
}

/// Registers a key of an officer from a time on; the officer is made with its first key.
pub(in crate::records) fn enter_key(
    scene: &mut Scene<'_>,
    (agency, person, key): (&str, Person, PublicKey),
    active_from: u64,
) -> Verdict {
    let entry = OfficerKey { agency: agency.to_owned(), person, key: key.0, active_from, revoked_from: None };
    scene.draft.put(key::officer_key(&key.key_id()), &entry)?;
    let place = key::officer(agency, &person.0);
    let mut officer: Officer = scene.draft.get(&place)?.unwrap_or_default();
    officer.keys.push(Key16(key.key_id()));
    scene.draft.put(place, &officer)?;
    scene.touch(Subject::OfficerKey(key.key_id()));
    scene.enter_registry(format!("officers/{agency}"));
    Ok(())
}

fn entry(scene: &Scene<'_>) -> Verdict<OfficerKey> {
    let key_id = public_key(scene)?.key_id();
    match scene.draft.get(&key::officer_key(&key_id))? {
        Some(entry) => Ok(entry),
        None => reject(3002, format!("key {} is not registered", hex::encode(key_id))),
    }
}

fn is_own_admin(scene: &Scene<'_>) -> Verdict<bool> {
    let own = entry(scene)?.agency == scene.record.reference.agency;
    Ok(own && scene.signer.holds(Role::Admin, scene.today()))
}

/// 3003: an admin revokes keys of the own agency only.
fn own_admin_or_supervisor(scene: &mut Scene<'_>) -> Verdict {
    if is_own_admin(scene)? || scene.signer.holds(Role::Supervisor, scene.today()) {
        return Ok(());
    }
    reject(3003, "an admin revokes keys of the own agency only")
}

fn second_agency_for_supervisors(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    let alone = is_own_admin(scene)?;
    Ok(if alone { Vec::new() } else { vec![Need::of_another_agency(Role::Admin)] })
}

/// 3805: an admin alone leaves the agency two admins, so that nobody can be locked out; a supervisor and a second agency,
/// who stop a stolen key, leave it one. The last key of all is stopped by a vote (`key_suspend`), which asks for none.
fn key_is_dispensable(scene: &mut Scene<'_>) -> Verdict {
    let entry = entry(scene)?;
    let admins = if is_own_admin(scene)? { holders::ADMINS } else { 1 };
    let key_id = public_key(scene)?.key_id();
    holders::remain_without_key(scene, (&entry.agency, entry.person), &key_id, admins)
}

/// 3011.
fn not_yet_revoked(scene: &mut Scene<'_>) -> Verdict {
    match entry(scene)?.revoked_from {
        Some(from) if from <= scene.block.time_ms => reject(3011, format!("the key is revoked since {from}")),
        _ => Ok(()),
    }
}

fn revoke(scene: &mut Scene<'_>) -> Verdict {
    let key_id = public_key(scene)?.key_id();
    let from_time = scene.block.time_ms;
    revoke_key(scene, &key_id, from_time)
}

/// The key signs no more from a time on; an earlier end stands.
pub(in crate::records) fn revoke_key(scene: &mut Scene<'_>, key_id: &[u8; 16], from_time: u64) -> Verdict {
    let place = key::officer_key(key_id);
    let Some(mut entry) = scene.draft.get::<OfficerKey>(&place)? else {
        return reject(3002, format!("key {} is not registered", hex::encode(key_id)));
    };
    entry.revoked_from = Some(entry.revoked_from.map_or(from_time, |earlier| earlier.min(from_time)));
    scene.draft.put(place, &entry)?;
    scene.touch(Subject::OfficerKey(*key_id));
    Ok(())
}
