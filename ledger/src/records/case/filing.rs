//! From application to acceptance: submit, the one correction notice, supply, accept or not.

use super::object::{Case, CaseState};
use super::transition::Step;
use super::{case, clock, date_is_stated, in_sequence, licence, matter, step_taken};
use crate::records::object::{Mode, Object, Ref};
use crate::records::scene::{Scene, Verdict, reject};

/// 3306.
pub fn check_submit(scene: &mut Scene<'_>) -> Verdict {
    if scene.mode != Mode::Live {
        return Ok(());
    }
    let matter_ref: Ref = scene.record.need("matter")?;
    let cited: Vec<Ref> = scene.record.find("licences").unwrap_or_default();
    let applicant = scene.record.need("applicant")?;
    licence::meet_prerequisites(scene, &matter_ref, &cited, applicant)
}

pub fn submit(scene: &mut Scene<'_>) -> Verdict {
    let record = &scene.record;
    let case = Case {
        matter: record.need("matter")?,
        applicant: record.need("applicant")?,
        licences: record.find("licences").unwrap_or_default(),
        state: CaseState::Submitted,
        submitted: record.effective,
        notice: None,
        accepted: None,
        deadline: None,
        paused: None,
        extended: false,
        reviewers: Vec::new(),
        decision: None,
        licence: None,
        latest: record.effective,
        clock_stated: false,
        latest_stated: date_is_stated(scene),
    };
    scene.create(Object::Case(case));
    Ok(())
}

/// 3301.
pub fn check_return(scene: &mut Scene<'_>) -> Verdict {
    let (reference, case) = case(scene)?;
    match (scene.mode, case.notice) {
        (Mode::Live, Some(day)) => reject(3301, format!("case {reference} had its notice on {day}")),
        (Mode::Live | Mode::Historical | Mode::Strict, _) => Ok(()),
    }
}

pub fn give_notice(scene: &mut Scene<'_>) -> Verdict {
    let (reference, mut case) = case(scene)?;
    case.notice = Some(clock::counted_day(scene));
    step_taken(scene, &mut case, Step::Return);
    Ok(scene.put(&reference, Object::Case(case))?)
}

pub fn accept(scene: &mut Scene<'_>) -> Verdict {
    let (reference, mut case) = case(scene)?;
    let matter = matter(scene, &case.matter)?;
    case.accepted = Some(scene.record.effective);
    clock::start(scene, &mut case, &matter, date_is_stated(scene))?;
    step_taken(scene, &mut case, Step::Accept);
    Ok(scene.put(&reference, Object::Case(case))?)
}

/// 3009 and 3011; a case that waits for corrections is closed only once the time for them is over.
pub fn decline_in_sequence(scene: &mut Scene<'_>) -> Verdict {
    in_sequence(scene, Step::Decline)?;
    let (reference, case) = case(scene)?;
    let Some(notice) = case.notice.filter(|_| case.state == CaseState::Correcting) else { return Ok(()) };
    let allowed = scene.parameter("correction_days")?;
    if scene.mode == Mode::Live && !clock::is_over(scene, notice, allowed)? {
        let detail = format!("case {reference} has {allowed} working days from {notice} to answer its notice");
        return reject(3011, detail);
    }
    Ok(())
}
