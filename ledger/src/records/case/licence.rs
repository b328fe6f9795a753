//! Licences: issued once after a granting decision, changed by a head, cited as prerequisites.

use super::object::{Licence, LicenceState};
use super::transition::Step;
use super::{case, clock, dated, matter, not_before_latest, step_taken};
use crate::records::calendar::Day;
use crate::records::object::{Mode, Object, Person, Ref};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::waiting::Need;
use crate::state::StateFault;

/// Under this kind of code stands the licence that holds a number, as `<agency>.<number>`.
const NUMBER: &str = "licence";

/// 3306: every prerequisite has a cited licence of the applicant, and every cited licence is in force on the day that counts:
/// no earlier effective date revives one that has ended.
pub fn meet_prerequisites(scene: &mut Scene<'_>, matter_ref: &Ref, cited: &[Ref], applicant: Person) -> Verdict {
    let day = clock::counted_day(scene);
    let mut held: Vec<Ref> = Vec::new();
    for reference in cited {
        let licence = licence(scene, reference)?;
        if let Some(fault) = licence.fault(day) {
            return reject(3306, fault);
        }
        if licence.holder == applicant {
            held.push(licence.matter);
        }
    }
    let prerequisites = matter(scene, matter_ref)?.prerequisites;
    match prerequisites.iter().find(|prerequisite| !held.contains(prerequisite)) {
        Some(missing) => reject(3306, format!("no licence of the applicant under matter {missing} is cited")),
        None => Ok(()),
    }
}

fn licence(scene: &mut Scene<'_>, reference: &Ref) -> Verdict<Licence> {
    match scene.object(reference)? {
        Some(Object::Licence(licence)) => Ok(licence),
        _ => Err(StateFault::Invariant("a reference that 3002 accepted as a licence is none").into()),
    }
}

fn number(scene: &Scene<'_>) -> Verdict<String> {
    Ok(format!("{}.{}", scene.record.reference.agency, scene.record.need::<String>("licence_no")?))
}

/// 3305.
pub fn check_issue(scene: &mut Scene<'_>) -> Verdict {
    let (reference, case) = case(scene)?;
    if !case.decision.is_some_and(|decision| decision.granted) {
        scene.reject_or_flag(3305, format!("no decision grants case {reference}"))?;
    }
    let number = number(scene)?;
    if let Some(holder) = scene.code(NUMBER, &number)? {
        scene.reject_or_flag(3305, format!("licence number {number} was issued as {holder}"))?;
    }
    Ok(())
}

pub fn issue(scene: &mut Scene<'_>) -> Verdict {
    let (reference, mut case) = case(scene)?;
    let number = number(scene)?;
    if scene.code(NUMBER, &number)?.is_none() {
        scene.claim_code(NUMBER, &number)?;
    }
    let licence = Licence {
        case: reference.clone(),
        matter: case.matter.clone(),
        holder: case.applicant,
        licence_no: scene.record.need("licence_no")?,
        state: LicenceState::Issued,
        valid_until: scene.record.find::<Day>("valid_until"),
    };
    scene.create(Object::Licence(licence));
    case.licence = Some(scene.record.reference.clone());
    step_taken(scene, &mut case, Step::Issue);
    Ok(scene.put(&reference, Object::Case(case))?)
}

/// 3009, then 3011 and the rest: a live licence is not issued for a time that is over.
pub fn issue_in_sequence(scene: &mut Scene<'_>) -> Verdict {
    ends_later(scene)?;
    super::in_sequence(scene, Step::Issue)
}

/// 3009: what is issued or prolonged now ends no earlier than it begins.
fn ends_later(scene: &mut Scene<'_>) -> Verdict {
    let Some(until) = scene.record.find::<Day>("valid_until") else { return Ok(()) };
    let effective = scene.record.effective;
    if scene.mode == Mode::Live && until < effective {
        return reject(3009, format!("valid until {until}, effective {effective}"));
    }
    Ok(())
}

/// 撤销 and 吊销 take a second head of the same agency.
pub fn second_head(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    match new_state(scene)? {
        LicenceState::Revoked => {
            Ok(vec![Need { agency: Some(scene.record.reference.agency.to_string()), role: Role::Head }])
        }
        LicenceState::Issued
        | LicenceState::Valid
        | LicenceState::Suspended
        | LicenceState::Cancelled
        | LicenceState::Expired => Ok(Vec::new()),
    }
}

fn new_state(scene: &Scene<'_>) -> Verdict<LicenceState> {
    let status: String = scene.record.need("status")?;
    LicenceState::from_status(&status)
        .ok_or_else(|| StateFault::Value(format!("status {status}, which the schema does not list")).into())
}

/// 3002 in imports, where 3011 is not judged: a case without a licence has nothing to change.
pub fn check_change(scene: &mut Scene<'_>) -> Verdict {
    let (reference, case) = case(scene)?;
    if case.licence.is_none() && scene.mode != Mode::Live {
        return reject(3002, format!("case {reference} has no licence"));
    }
    Ok(())
}

/// 3009 and 3011: only an issued licence that has not ended is changed.
pub fn change_in_sequence(scene: &mut Scene<'_>) -> Verdict {
    let (reference, case) = case(scene)?;
    not_before_latest(scene, &case)?;
    let Some(licence_ref) = case.licence else {
        return reject(3011, format!("case {reference} is {} and has no licence", case.state.name()));
    };
    let licence = licence(scene, &licence_ref)?;
    if new_state(scene)? == LicenceState::Valid {
        ends_later(scene)?;
    }
    if scene.mode == Mode::Live && !licence.state.is_open() {
        return reject(3011, format!("licence {} is {}", licence.licence_no, licence.state.name()));
    }
    Ok(())
}

pub fn change(scene: &mut Scene<'_>) -> Verdict {
    let (reference, mut case) = case(scene)?;
    let Some(licence_ref) = case.licence.clone() else {
        return Err(StateFault::Invariant("a licence that the rules accepted is missing").into());
    };
    let mut licence = licence(scene, &licence_ref)?;
    licence.state = new_state(scene)?;
    if let Some(until) = scene.record.find::<Day>("valid_until") {
        licence.valid_until = Some(until);
    }
    scene.put(&licence_ref, Object::Licence(licence))?;
    dated(scene, &mut case);
    Ok(scene.put(&reference, Object::Case(case))?)
}
