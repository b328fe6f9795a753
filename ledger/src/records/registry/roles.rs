//! Roles: granted and taken back by two admins, lent by delegation. What a role may do is in the mechanisms' tables.

use super::holders;
use super::object::{Delegation, Grant, Officer, RoleGrant};
use crate::records::object::{Kind, Object, Person, Ref, Subject};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::state::key;

pub(super) const ROLE_GRANT: RecordType = RecordType {
    name: "role_grant",
    zh: "授权",
    area: Area::Registry,
    fields: &[
        Field::need("officer", FieldKind::Person),
        Field::need("role", FieldKind::Role),
        Field::may("scope", FieldKind::Ref(&[])),
        Field::may("max_minor", FieldKind::Minor),
        Field::need("valid_from", FieldKind::Date),
        Field::need("valid_until", FieldKind::Date),
    ],
    submitters: &[Role::Admin],
    approvers: super::second_admin,
    entitled: agency_holds_role,
    check: officer_exists,
    take_effect: grant,
    ..RecordType::BASE
};

pub(super) const ROLE_REVOKE: RecordType = RecordType {
    name: "role_revoke",
    zh: "撤权",
    area: Area::Registry,
    // Either the grant, or officer and role: a role held since genesis has no record that could be named.
    fields: &[
        Field::may("role_grant", FieldKind::Ref(&[Kind::RoleGrant])),
        Field::may("officer", FieldKind::Person),
        Field::may("role", FieldKind::Role),
    ],
    submitters: &[Role::Admin],
    approvers: super::second_admin,
    check: grant_exists,
    take_effect: take_back,
    ..RecordType::BASE
};

pub(super) const DELEGATION: RecordType = RecordType {
    name: "delegation",
    zh: "委托",
    area: Area::Registry,
    fields: &[
        Field::need("to_officer", FieldKind::Person),
        Field::need("role", FieldKind::Role),
        Field::may("scope", FieldKind::Ref(&[])),
        Field::need("valid_from", FieldKind::Date),
        Field::need("valid_until", FieldKind::Date),
    ],
    entitled: holds_the_role,
    check: not_wider_and_not_passed_on,
    take_effect: delegate,
    ..RecordType::BASE
};

/// 3003: an officer can hold no role that the agency may not.
fn agency_holds_role(scene: &mut Scene<'_>) -> Verdict {
    let role: Role = scene.record.need("role")?;
    if role != Role::Admin && !scene.signer.agency_roles.contains(&role) {
        return reject(3003, format!("{} may not hold {}", scene.record.reference.agency, role.code()));
    }
    Ok(())
}

fn officer(scene: &Scene<'_>, person: Person) -> Verdict<Officer> {
    match scene.draft.get(&key::officer(&scene.record.reference.agency, &person.0))? {
        Some(officer) => Ok(officer),
        None => reject(3002, format!("officer {} is not registered", hex::encode(person.0))),
    }
}

/// 3002.
fn officer_exists(scene: &mut Scene<'_>) -> Verdict {
    let person: Person = scene.record.need("officer")?;
    officer(scene, person).map(drop)
}

/// Stores an officer whose grants changed; the record joins the trails of all its keys.
pub(in crate::records) fn store(scene: &mut Scene<'_>, agency: &str, person: Person, officer: &Officer) -> Verdict {
    scene.draft.put(key::officer(agency, &person.0), officer)?;
    for key in &officer.keys {
        scene.touch(Subject::OfficerKey(key.0));
    }
    Ok(())
}

fn grant(scene: &mut Scene<'_>) -> Verdict {
    let (person, role) = (scene.record.need::<Person>("officer")?, scene.record.need::<Role>("role")?);
    let mut holder = officer(scene, person)?;
    holder.grants.push(Grant {
        role,
        scope: scene.record.find("scope"),
        max_minor: scene.record.find("max_minor"),
        valid_from: scene.record.need("valid_from")?,
        valid_until: Some(scene.record.need("valid_until")?),
        by: Some(scene.record.reference.clone()),
        revoked_from: None,
    });
    let agency = scene.record.reference.agency.clone();
    holders::enter(&mut scene.draft, (&agency, person), role)?;
    store(scene, &agency, person, &holder)?;
    scene.create(Object::RoleGrant(RoleGrant { officer: person, role }));
    Ok(())
}

/// The person and the grants that a role_revoke means: those of a role_grant, or all of a role.
fn meant(scene: &mut Scene<'_>) -> Verdict<(Person, Role, Option<Ref>)> {
    let by = scene.record.find::<Ref>("role_grant");
    if let Some(reference) = by {
        return match scene.object(&reference)? {
            Some(Object::RoleGrant(granted)) if reference.agency == scene.record.reference.agency => {
                Ok((granted.officer, granted.role, Some(reference)))
            }
            _ => reject(3002, format!("{reference} is no role grant of this agency")),
        };
    }
    match (scene.record.find::<Person>("officer"), scene.record.find::<Role>("role")) {
        (Some(person), Some(role)) => Ok((person, role, None)),
        _ => reject(3002, "names neither a role grant nor an officer and a role"),
    }
}

fn is_meant(grant: &Grant, role: Role, by: Option<&Ref>) -> bool {
    grant.revoked_from.is_none() && grant.role == role && by.is_none_or(|by| grant.by.as_ref() == Some(by))
}

/// 3002: there is such a grant, not yet taken back. 3805: the role keeps a holder.
fn grant_exists(scene: &mut Scene<'_>) -> Verdict {
    let (person, role, by) = meant(scene)?;
    if !officer(scene, person)?.grants.iter().any(|grant| is_meant(grant, role, by.as_ref())) {
        return reject(3002, format!("the officer holds no such {}", role.code()));
    }
    let agency = &scene.record.reference.agency;
    holders::remain_without_grants(scene, (agency, person), role, by.as_ref())
}

fn take_back(scene: &mut Scene<'_>) -> Verdict {
    let (person, role, by) = meant(scene)?;
    let mut holder = officer(scene, person)?;
    for grant in holder.grants.iter_mut().filter(|grant| is_meant(grant, role, by.as_ref())) {
        grant.revoked_from = Some(scene.block.time_ms);
    }
    let agency = scene.record.reference.agency.clone();
    store(scene, &agency, person, &holder)
}

/// 3003.
fn holds_the_role(scene: &mut Scene<'_>) -> Verdict {
    let role: Role = scene.record.need("role")?;
    if scene.signer.holds(role, scene.today()) {
        return Ok(());
    }
    reject(3003, format!("the signer does not hold {}", role.code()))
}

/// 3006: lent only by its holder, for no more than was granted.
fn not_wider_and_not_passed_on(scene: &mut Scene<'_>) -> Verdict {
    if scene.record.find::<Ref>("on_behalf_of").is_some() {
        return reject(3006, "a delegated role is not passed on");
    }
    let to: Person = scene.record.need("to_officer")?;
    officer(scene, to)?;
    if to == scene.signer.person {
        return reject(3006, "delegated to oneself");
    }
    let (role, scope) = (scene.record.need::<Role>("role")?, scene.record.find::<Ref>("scope"));
    let (from, until) = (scene.record.need("valid_from")?, scene.record.need("valid_until")?);
    let within = scene.signer.grants_of(role, scene.today()).any(|grant| {
        grant.valid_from <= from
            && from <= until
            && grant.valid_until.is_none_or(|end| until <= end)
            && grant.reaches(scope.as_ref())
    });
    if within { Ok(()) } else { reject(3006, format!("{from} to {until} is wider than the role granted")) }
}

fn delegate(scene: &mut Scene<'_>) -> Verdict {
    let delegation = Delegation {
        from_person: scene.signer.person,
        to_officer: scene.record.need("to_officer")?,
        role: scene.record.need("role")?,
        scope: scene.record.find("scope"),
        valid_from: scene.record.need("valid_from")?,
        valid_until: scene.record.need("valid_until")?,
    };
    scene.create(Object::Delegation(delegation));
    Ok(())
}
