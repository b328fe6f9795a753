//! From acceptance to decision: opinions, pauses, the extension, the decision.

use super::object::Decision;
use super::transition::Step;
use super::{MAX_REVIEWERS, case, clock, date_is_stated, licence, matter, matters_agency, step_taken};
use crate::records::object::{Mode, Object};
use crate::records::scene::{Scene, Verdict, reject};

pub fn opine(scene: &mut Scene<'_>) -> Verdict {
    let (reference, mut case) = case(scene)?;
    for person in scene.signer.persons() {
        if case.reviewers.contains(&person) {
            continue;
        }
        if case.reviewers.len() >= MAX_REVIEWERS {
            return reject(3011, format!("case {reference} already has {MAX_REVIEWERS} reviewers"));
        }
        case.reviewers.push(person);
    }
    step_taken(scene, &mut case, Step::Review);
    Ok(scene.put(&reference, Object::Case(case))?)
}

pub fn pause(scene: &mut Scene<'_>) -> Verdict {
    let (reference, mut case) = case(scene)?;
    case.paused = Some(clock::counted_day(scene));
    step_taken(scene, &mut case, Step::Pause);
    Ok(scene.put(&reference, Object::Case(case))?)
}

pub fn resume(scene: &mut Scene<'_>) -> Verdict {
    let (reference, mut case) = case(scene)?;
    clock::resume(scene, &mut case)?;
    step_taken(scene, &mut case, Step::Resume);
    Ok(scene.put(&reference, Object::Case(case))?)
}

/// 3302: once, before the deadline, and by no more days than the matter has. That a head does it was 3003.
pub fn check_extend(scene: &mut Scene<'_>) -> Verdict {
    if scene.mode != Mode::Live {
        return Ok(());
    }
    let (reference, case) = case(scene)?;
    if case.extended {
        return reject(3302, format!("case {reference} was extended before"));
    }
    let day = clock::counted_day(scene);
    if let Some(deadline) = case.deadline
        && day > deadline
    {
        return reject(3302, format!("case {reference} was due on {deadline}, today is {day}"));
    }
    let (days, most): (u64, u64) = (scene.record.need("days")?, matter(scene, &case.matter)?.clock_days);
    if days == 0 || days > most {
        return reject(3302, format!("{days} days, 1 to {most} are possible"));
    }
    Ok(())
}

pub fn extend(scene: &mut Scene<'_>) -> Verdict {
    let (reference, mut case) = case(scene)?;
    clock::extend(scene, &mut case, scene.record.need("days")?)?;
    case.extended = true;
    step_taken(scene, &mut case, Step::Extend);
    Ok(scene.put(&reference, Object::Case(case))?)
}

/// 3003: the agency of the matter, in the role that the matter names.
pub fn decider(scene: &mut Scene<'_>) -> Verdict {
    matters_agency(scene)?;
    let (reference, case) = case(scene)?;
    let role = matter(scene, &case.matter)?.decider_role;
    let named = [&reference, &case.matter];
    if !scene.signer.covers(role, scene.today(), 0, &named) {
        return reject(3003, format!("a decision on this matter takes the role {}", role.code()));
    }
    Ok(())
}

/// 3303, 3304, 3306, 3307.
pub fn check_decide(scene: &mut Scene<'_>) -> Verdict {
    let (reference, case) = case(scene)?;
    if scene.mode == Mode::Live {
        if scene.signer.persons().iter().any(|person| case.reviewers.contains(person)) {
            return reject(3303, format!("the decider gave an opinion on case {reference}"));
        }
        let granted: bool = scene.record.need("granted")?;
        let reason: Option<String> = scene.record.find("reason");
        if !granted && reason.is_none_or(|reason| reason.trim().is_empty()) {
            return reject(3304, format!("the refusal of case {reference} gives no reason"));
        }
        if granted {
            licence::meet_prerequisites(scene, &case.matter, &case.licences, case.applicant)?;
        }
    }
    let day = clock::counted_day(scene);
    if let Some(deadline) = case.deadline.filter(|_| case.clock_stated && date_is_stated(scene))
        && day > deadline
    {
        scene.flag(3307, format!("case {reference} was due on {deadline}, decided on {day}"));
    }
    Ok(())
}

/// The step that the decision is.
pub fn outcome_step(scene: &Scene<'_>) -> Verdict<Step> {
    let granted: bool = scene.record.need("granted")?;
    Ok(if granted { Step::Grant } else { Step::Refuse })
}

pub fn decide(scene: &mut Scene<'_>) -> Verdict {
    let (reference, mut case) = case(scene)?;
    let step = outcome_step(scene)?;
    case.decision = Some(Decision {
        record: scene.record.reference.clone(),
        granted: step == Step::Grant,
        day: scene.record.effective,
        late: scene.flags().iter().any(|flag| flag.code == 3307),
    });
    step_taken(scene, &mut case, step);
    Ok(scene.put(&reference, Object::Case(case))?)
}
