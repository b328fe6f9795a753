//! The order of checks of section 8, over one record: the frame's general rules and, between them, the mechanism's. And
//! the public function that says whose trails a record joins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::body::{self, Mentions, Record};
use super::import;
use super::object::RecordLeaf;
use super::object::{Kind, Mode, Object, Ref, Subject};
use super::registry::PAYEE_REGISTER;
use super::role::Role;
use super::scene::{Scene, Verdict, reject};
use super::schema::{Area, FieldKind, RecordType, Unique};
use super::waiting::Need;
use crate::outcome::Code;
use crate::state::StateFault;

/// All rules over the scene's record, in their order; then it takes effect, or waits for the needs that are returned.
pub(crate) fn run(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    check(scene)?;
    let needs = match scene.mode {
        Mode::Live => (scene.record.kind.approvers)(scene)?,
        Mode::Historical | Mode::Strict => Vec::new(),
    };
    if needs.is_empty() {
        take_effect(scene)?;
    } else {
        (scene.record.kind.propose)(scene)?;
    }
    Ok(needs)
}

/// The record takes effect: its codes are claimed, its mechanism acts.
pub(crate) fn take_effect(scene: &mut Scene<'_>) -> Verdict {
    for (kind, code) in unique_codes(&scene.record) {
        scene.claim_code(kind, &code)?;
    }
    (scene.record.kind.take_effect)(scene)?;
    import::count_entry(scene)
}

/// All rules over the scene's record.
pub(crate) fn check(scene: &mut Scene<'_>) -> Verdict {
    let kind = scene.record.kind;
    codes_are_free(scene)?;
    references_exist(scene)?;
    modes_agree(scene)?;
    if scene.mode == Mode::Live {
        auditor_stays_out(scene)?;
        (kind.belongs)(scene)?;
        role_covers(scene)?;
        (kind.entitled)(scene)?;
    }
    // Who signs is judged in imports too: neither a revoked key nor another's delegation opens history.
    key_is_valid(scene)?;
    delegation_holds(scene)?;
    (kind.check)(scene)?;
    import::check_entry(scene)?;
    dates_are_possible(scene)?;
    (kind.sequence)(scene)
}

/// The codes of a body that must be unique: (kind, name within it).
fn unique_codes(record: &Record<'_>) -> Vec<(&'static str, String)> {
    let fields = record.kind.fields.iter();
    fields
        .filter_map(|field| {
            let unique = field.unique?;
            let code = record.find::<String>(field.name)?;
            match unique {
                Unique::Network(kind) => Some((kind, code)),
                Unique::Agency(kind) => Some((kind, format!("{}.{code}", record.reference.agency))),
            }
        })
        .collect()
}

/// 3001.
fn codes_are_free(scene: &mut Scene<'_>) -> Verdict {
    for (kind, code) in unique_codes(&scene.record) {
        if let Some(holder) = scene.code(kind, &code)?
            && holder != scene.record.reference
        {
            return reject(3001, format!("{kind} {code} is held by {holder}"));
        }
    }
    Ok(())
}

/// 3002.
fn references_exist(scene: &mut Scene<'_>) -> Verdict {
    let mentions = Arc::clone(scene.record.mentions());
    for found in &mentions.references {
        let Some(leaf) = scene.leaf(&found.reference)? else {
            return reject(3002, format!("{}: {} does not exist", found.field, found.reference));
        };
        let FieldKind::Ref(kinds) = found.kind else { continue };
        let right_kind = kinds.is_empty() || leaf.object.as_ref().is_some_and(|object| kinds.contains(&object.kind()));
        if !right_kind {
            return reject(3002, format!("{}: {} {}", found.field, found.reference, unfit(leaf)));
        }
        if !kinds.is_empty() && !leaf.in_effect() {
            return reject(3002, format!("{}: {} {}", found.field, found.reference, unfit(leaf)));
        }
    }
    for agency in &mentions.agencies {
        if !scene.draft.exists(&crate::state::key::agency(agency))? {
            return reject(3002, format!("agency {agency} does not exist"));
        }
    }
    declared_subject_is_its_refs(scene, &mentions.references)
}

/// Why a record that exists cannot be referred to.
fn unfit(leaf: &RecordLeaf) -> String {
    match leaf.waiting.as_deref() {
        _ if leaf.outcome != 0 => format!("was rejected ({}) and stands for nothing", Code(leaf.outcome)),
        Some(waiting) if waiting.is_open() => {
            let wanted: Vec<String> = waiting.outstanding().map(|(_, need)| need.by()).collect();
            format!("waits for approval by {}", wanted.join(" and "))
        }
        Some(waiting) if !waiting.is_effective() => "ended without taking effect".to_owned(),
        Some(_) | None => format!("is of type {}, which does not fit here", leaf.record_type),
    }
}

fn declared_subject_is_its_refs(scene: &mut Scene<'_>, references: &[body::Reference]) -> Verdict {
    let Some(subject) = scene.record.find::<Ref>("subject") else { return Ok(()) };
    let others = references.iter().filter(|found| !matches!(found.field, "subject" | "import" | "on_behalf_of"));
    let mut named = BTreeSet::new();
    for found in others {
        if let Some(leaf) = scene.leaf(&found.reference)? {
            add_subjects_of(&mut named, &found.reference, leaf);
        }
    }
    if named.is_empty() || named.contains(&Subject::Record(subject.clone())) {
        return Ok(());
    }
    reject(3002, format!("subject {subject} is not what the record refers to"))
}

/// 3012: live and historical never meet, and only an importer writes history, that of its own agency's imports.
fn modes_agree(scene: &mut Scene<'_>) -> Verdict {
    let mode = scene.mode;
    if !scene.record.kind.crosses_modes {
        let mentions = Arc::clone(scene.record.mentions());
        let agency = scene.record.reference.agency.clone();
        for found in &mentions.references {
            if matches!(found.field, "import" | "on_behalf_of") {
                continue;
            }
            if let Some(leaf) = scene.leaf(&found.reference)?
                && !may_cross(leaf)
            {
                if leaf.mode == mode && (mode == Mode::Live || found.reference.agency == agency) {
                    continue;
                }
                if leaf.mode == mode {
                    return reject(3012, format!("{} belongs to another agency's import", found.reference));
                }
                let detail = format!("{} is {}, the record {}", found.reference, leaf.mode.name(), mode.name());
                return reject(3012, detail);
            }
        }
    }
    if mode == Mode::Live {
        return importer_stays_out(scene);
    }
    if !may_be_history(scene.record.kind) {
        return reject(3012, format!("no {} is written into history", scene.record.kind.name));
    }
    let import = scene.record.need::<Ref>("import")?;
    if import.agency != scene.record.reference.agency {
        return reject(3012, format!("import {import} belongs to another agency"));
    }
    if !scene.signer.holds(Role::Importer, scene.today()) {
        return reject(3012, "only an importer writes historical subjects");
    }
    Ok(())
}

/// What bank and approvers do, and who ends a reservation, is never imported: nothing waits there.
const LIVE_ONLY: [&str; 6] =
    ["payment_confirm", "income_confirm", "payment_fail", "movement_cancel", "movement_expire", "reconcile"];

/// Whether records of a type may be written under an import. There neither roles nor approvals are judged, so nothing
/// that changes who may act, how the network is governed, or what a live record waits for is let in.
fn may_be_history(kind: &RecordType) -> bool {
    match kind.area {
        Area::Fund | Area::Case | Area::Tender => !LIVE_ONLY.contains(&kind.name),
        Area::Registry => kind.name == "party_register",
        Area::Data => kind.name == "dataset_register",
        Area::Everywhere => matches!(kind.name, "document_anchor" | "disclosure"),
        Area::Exchange | Area::Governance | Area::Import => false,
    }
}

/// An importer's role entitles to no live act, not even to one that is any officer's, but imports themselves, what may
/// be about history, and lending the role. Whoever was also granted a role that does is no importer in it.
fn importer_stays_out(scene: &Scene<'_>) -> Verdict {
    let (signer, kind, today) = (&scene.signer, scene.record.kind, scene.today());
    let everybodys = kind.submitters.is_empty();
    let importer = signer.holds_itself(Role::Importer, today) || everybodys && signer.holds(Role::Importer, today);
    if !importer || kind.area == Area::Import || everybodys && (kind.crosses_modes || kind.area == Area::Registry) {
        return Ok(());
    }
    let entitled = if everybodys {
        let others = || Role::ALL.iter().filter(|role| **role != Role::Importer);
        others().any(|role| signer.holds_itself(*role, today)) && others().any(|role| signer.holds(*role, today))
    } else {
        kind.submitters.iter().any(|role| signer.holds_itself(*role, today))
    };
    if entitled { Ok(()) } else { reject(3012, format!("an importer writes no live {}", kind.name)) }
}

/// An import itself is written live and named by history; a record that waits for its approval is reached by `approve`.
fn may_cross(leaf: &RecordLeaf) -> bool {
    matches!(leaf.object, Some(Object::Import(_)))
}

/// 3702.
fn auditor_stays_out(scene: &mut Scene<'_>) -> Verdict {
    let (signer, today) = (&scene.signer, scene.today());
    let auditor = signer.holds(Role::Auditor, today) || signer.holds_itself(Role::Auditor, today);
    if auditor && !scene.record.kind.by_auditor {
        return reject(3702, format!("an auditor writes no {}", scene.record.kind.name));
    }
    Ok(())
}

/// 3003: one of the roles that the table names, in force, within its scope and limit.
fn role_covers(scene: &mut Scene<'_>) -> Verdict {
    if scene.record.kind.submitters.is_empty() {
        return Ok(());
    }
    let (mentions, subjects) = (Arc::clone(scene.record.mentions()), Arc::clone(&scene.subjects));
    let concerned = concerned(scene, scene.record.kind, &mentions, &subjects)?;
    let amount = (scene.record.kind.amount)(scene)?;
    let today = scene.today();
    let (record, signer) = (&scene.record, &scene.signer);
    if record.kind.submitters.iter().any(|role| signer.covers(*role, today, amount, &concerned)) {
        return Ok(());
    }
    let wanted: Vec<_> = record.kind.submitters.iter().map(|role| role.code()).collect();
    let held: Vec<_> = signer.grants.iter().map(|grant| grant.role.code()).collect();
    reject(3003, format!("wants {}; in force: {}", wanted.join(" or "), held.join(", ")))
}

/// What a record concerns, for the scope of a role: its own programme or case. The delegation that it cites and what that
/// is bound to do not count, else whoever borrows a role for one programme would have it for all; nor does what its
/// programme excludes, or another case whose licence it cites. A payee's account is that of its whole scope, whichever
/// programme the registration names.
pub(super) fn concerned<'m>(
    scene: &mut Scene<'_>,
    kind: &RecordType,
    mentions: &'m Mentions,
    subjects: &'m [Subject],
) -> Result<Vec<&'m Ref>, StateFault> {
    if kind.name == PAYEE_REGISTER.name {
        return Ok(Vec::new());
    }
    let (mut own, mut others) = (BTreeSet::new(), BTreeSet::new());
    if scene.signer.grants.iter().any(|grant| grant.scope.is_some()) && mentions.references.iter().any(names_anothers) {
        for found in &mentions.references {
            let target = if names_anothers(found) { &mut others } else { &mut own };
            if let Some(leaf) = scene.leaf(&found.reference)? {
                add_subjects_of(target, &found.reference, leaf);
            }
        }
    }
    let subjects = subjects.iter().filter(|subject| own.contains(subject) || !others.contains(subject));
    let references = mentions.references.iter().filter(|found| !names_anothers(found)).map(|found| &found.reference);
    let all: Vec<&Ref> = subjects.filter_map(Subject::record).chain(references).collect();
    if scene.signer.grants.iter().all(|grant| grant.scope.is_none()) {
        return Ok(all);
    }
    let anothers = named_by_programmes_and_cases(scene, &all)?;
    Ok(all.into_iter().filter(|reference| !anothers.contains(*reference)).collect())
}

/// What programmes and cases among these name of their own kind: the programmes that one excludes, the cases of the
/// licences that one cites. Records of the one are on the trail of the other, and are none of its own.
fn named_by_programmes_and_cases(scene: &mut Scene<'_>, references: &[&Ref]) -> Result<BTreeSet<Ref>, StateFault> {
    let mut kinds = BTreeMap::new();
    let mut named = Vec::new();
    for reference in references {
        let Some(leaf) = scene.leaf(reference)? else { continue };
        let Some(kind) = leaf.object.as_ref().map(Object::kind) else { continue };
        if matches!(kind, Kind::Programme | Kind::Case) && kinds.insert((*reference).clone(), kind).is_none() {
            let others = leaf.subjects.iter().filter_map(Subject::record).filter(|other| other != reference);
            named.extend(others.map(|other| (kind, other.clone())));
        }
    }
    Ok(named.into_iter().filter(|(kind, other)| kinds.get(other) == Some(kind)).map(|(_, other)| other).collect())
}

/// Whether a field names what the record is not about.
fn names_anothers(found: &body::Reference) -> bool {
    matches!(found.field, "on_behalf_of" | "exclusive_with" | "licences" | "prerequisites" | "receiver")
}

/// 3005.
fn key_is_valid(scene: &mut Scene<'_>) -> Verdict {
    if scene.signer.revoked {
        return reject(3005, format!("key {} is revoked", hex::encode(scene.signer.key_id)));
    }
    Ok(())
}

/// 3006: an act on another's behalf cites a delegation in force; whether its role covers the act was 3003.
fn delegation_holds(scene: &mut Scene<'_>) -> Verdict {
    let Some(reference) = scene.record.find::<Ref>("on_behalf_of") else { return Ok(()) };
    let Some(Object::Delegation(delegation)) = scene.object(&reference)? else {
        return reject(3006, format!("{reference} is no delegation"));
    };
    let today = scene.today();
    if delegation.to_officer != scene.signer.person || reference.agency != scene.signer.agency {
        return reject(3006, format!("{reference} is another's delegation"));
    }
    if today < delegation.valid_from || delegation.valid_until < today {
        let detail = format!("{today} is outside {} to {}", delegation.valid_from, delegation.valid_until);
        return reject(3006, detail);
    }
    Ok(())
}

/// 3007 and 3008.
fn dates_are_possible(scene: &mut Scene<'_>) -> Verdict {
    let (effective, recorded) = (scene.record.effective, scene.record.recorded);
    let stated = scene.record.find("stated_date").unwrap_or(effective);
    if effective > recorded {
        scene.reject_or_flag(3007, format!("effective {effective}, recorded {recorded}"))?;
    } else if stated > effective {
        scene.reject_or_flag(3007, format!("stated {stated}, released {effective}"))?;
    }
    if scene.mode == Mode::Live && effective < recorded {
        let window_days = scene.parameter("backdating_days")?;
        if effective < recorded.minus(window_days) {
            return reject(3008, format!("effective {effective}, recorded {recorded}, window {window_days} days"));
        }
    }
    Ok(())
}

/// Whose trails the scene's record joins, judged on the state before it: the subjects in its content, and those stored
/// with what its references name. Only subjects that exist.
pub fn subjects(scene: &mut Scene<'_>) -> Result<Arc<[Subject]>, StateFault> {
    let mentions = Arc::clone(scene.record.mentions());
    let mut subjects = BTreeSet::new();
    for found in &mentions.references {
        if let Some(leaf) = scene.leaf(&found.reference)? {
            add_subjects_of(&mut subjects, &found.reference, leaf);
        }
    }
    let mut scopes = BTreeSet::new();
    if !mentions.recipients.is_empty() {
        // A registration names its scope itself.
        scopes.extend(scene.record.find::<String>("scope"));
        for subject in &subjects {
            if let Subject::Record(reference) = subject
                && let Some(leaf) = scene.leaf(reference)?
                && let Some(scope) = leaf.object.as_ref().and_then(Object::recipient_scope)
            {
                scopes.insert(scope.to_owned());
            }
        }
    }
    for person in &mentions.recipients {
        for scope in &scopes {
            let recipient = Subject::Recipient { scope: scope.clone(), person: person.0 };
            if scene.draft.exists(&recipient.key())? {
                subjects.insert(recipient);
            }
        }
    }
    Ok(subjects.into_iter().collect())
}

/// Adds the subjects that a reference to this leaf names.
fn add_subjects_of(subjects: &mut BTreeSet<Subject>, reference: &Ref, leaf: &RecordLeaf) {
    for subject in leaf.subjects.iter() {
        // Most references of a record lead to the same subjects.
        if !subjects.contains(subject) {
            subjects.insert(subject.clone());
        }
    }
    if leaf.object.as_ref().is_some_and(|object| object.kind().has_trail()) {
        subjects.insert(Subject::Record(reference.clone()));
    }
}

#[cfg(test)]
mod tests;
