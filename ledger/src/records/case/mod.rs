//! Administrative approval: matters, cases, licences, with rules 3301 to 3307. The state machine is in `transition`,
//! what is kept in `object`, the days in `clock`; filing, review and licences have a file each. In imports only 3305,
//! 3307 and 3009 are judged: history is loaded, not re-enacted.

mod clock;
mod filing;
#[cfg(test)]
mod history;
mod licence;
mod matter;
mod object;
mod review;
#[cfg(test)]
mod tests;
mod transition;

pub use object::{Case, CaseState, Decision, Licence, LicenceState, Matter};
pub use transition::Step;

use super::body::find;
use super::object::{Kind, Mode, Object, Ref};
use super::role::Role;
use super::scene::{Scene, Verdict, reject};
use super::schema::{Area, Field, FieldKind, RecordType};
use crate::state::StateFault;

/// The agency's officers who handle its matters.
const APPROVING: &[Role] = &[Role::Reviewer, Role::Decider, Role::Head];
/// The case that a record is about.
const SUBJECT: Field = Field::need("subject", FieldKind::Ref(&[Kind::Case]));
const REASON: Field = Field::need("reason", FieldKind::Text);
/// Most officers who review one case.
const MAX_REVIEWERS: usize = 64;

const CASE: RecordType = RecordType { area: Area::Case, submitters: APPROVING, ..RecordType::BASE };

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "matter_define",
        zh: "事项定义",
        fields: &[
            Field::need("legal_basis", FieldKind::Text),
            Field::need("clock_days", FieldKind::Count),
            Field::may("documents", FieldKind::List(&FieldKind::Code)),
            Field::need("decider_role", FieldKind::Role),
            Field::may("prerequisites", FieldKind::List(&FieldKind::Ref(&[Kind::Matter]))),
        ],
        take_effect: matter::define,
        ..CASE
    },
    RecordType {
        name: "case_submit",
        zh: "申请",
        fields: &[
            Field::need("matter", FieldKind::Ref(&[Kind::Matter])),
            Field::need("applicant", FieldKind::Person),
            Field::may("licences", FieldKind::List(&FieldKind::Ref(&[Kind::Licence]))),
            Field::need("form", FieldKind::Hash),
        ],
        submitters: &[Role::Window],
        check: filing::check_submit,
        take_effect: filing::submit,
        ..CASE
    },
    RecordType {
        name: "case_return",
        zh: "一次性告知补正",
        fields: &[SUBJECT, Field::need("items", FieldKind::Hash)],
        entitled: matters_agency,
        check: filing::check_return,
        sequence: |scene| in_sequence(scene, Step::Return),
        take_effect: filing::give_notice,
        ..CASE
    },
    RecordType {
        name: "case_supply",
        zh: "补正",
        fields: &[SUBJECT, Field::need("form", FieldKind::Hash)],
        submitters: &[Role::Window],
        entitled: filers_agency,
        sequence: |scene| in_sequence(scene, Step::Supply),
        take_effect: |scene| advance(scene, Step::Supply),
        ..CASE
    },
    RecordType {
        name: "case_accept",
        zh: "受理",
        fields: &[SUBJECT],
        entitled: matters_agency,
        sequence: |scene| in_sequence(scene, Step::Accept),
        take_effect: filing::accept,
        ..CASE
    },
    RecordType {
        name: "case_not_accept",
        zh: "不予受理",
        fields: &[SUBJECT, REASON],
        entitled: matters_agency,
        sequence: filing::decline_in_sequence,
        take_effect: |scene| advance(scene, Step::Decline),
        ..CASE
    },
    RecordType {
        name: "case_opinion",
        zh: "审查意见",
        fields: &[SUBJECT, Field::need("opinion", FieldKind::Code), Field::need("report", FieldKind::Hash)],
        submitters: &[Role::Reviewer],
        entitled: matters_agency,
        sequence: |scene| in_sequence(scene, Step::Review),
        take_effect: review::opine,
        ..CASE
    },
    RecordType {
        name: "case_pause",
        zh: "特别程序开始",
        fields: &[SUBJECT, Field::need("ground", FieldKind::Code)],
        submitters: &[Role::Reviewer],
        entitled: matters_agency,
        sequence: |scene| in_sequence(scene, Step::Pause),
        take_effect: review::pause,
        ..CASE
    },
    RecordType {
        name: "case_resume",
        zh: "特别程序结束",
        fields: &[SUBJECT, Field::need("ground", FieldKind::Code)],
        submitters: &[Role::Reviewer],
        entitled: matters_agency,
        sequence: |scene| in_sequence(scene, Step::Resume),
        take_effect: review::resume,
        ..CASE
    },
    RecordType {
        name: "case_extend",
        zh: "延期",
        fields: &[SUBJECT, Field::need("days", FieldKind::Count), REASON],
        submitters: &[Role::Head],
        entitled: matters_agency,
        check: review::check_extend,
        sequence: |scene| in_sequence(scene, Step::Extend),
        take_effect: review::extend,
        ..CASE
    },
    RecordType {
        name: "case_decide",
        zh: "决定",
        fields: &[
            SUBJECT,
            Field::need("granted", FieldKind::Bool),
            Field::may("reason", FieldKind::Text),
            Field::need("decision", FieldKind::Hash),
        ],
        submitters: &[],
        entitled: review::decider,
        check: review::check_decide,
        sequence: |scene| {
            let step = review::outcome_step(scene)?;
            in_sequence(scene, step)
        },
        take_effect: review::decide,
        ..CASE
    },
    RecordType {
        name: "licence_issue",
        zh: "颁证",
        fields: &[
            SUBJECT,
            Field::need("licence_no", FieldKind::Declared),
            Field::may("valid_until", FieldKind::Date),
            Field::need("licence", FieldKind::Hash),
        ],
        entitled: matters_agency,
        check: licence::check_issue,
        sequence: licence::issue_in_sequence,
        take_effect: licence::issue,
        ..CASE
    },
    RecordType {
        name: "licence_change",
        zh: "变更/延续/暂停/撤销/吊销/注销",
        fields: &[
            SUBJECT,
            Field::need("status", FieldKind::OneOf(object::STATUSES)),
            Field::may("valid_until", FieldKind::Date),
            REASON,
        ],
        submitters: &[Role::Head],
        approvers: licence::second_head,
        entitled: matters_agency,
        check: licence::check_change,
        sequence: licence::change_in_sequence,
        take_effect: licence::change,
        ..CASE
    },
    RecordType {
        name: "case_withdraw",
        zh: "撤回",
        fields: &[SUBJECT, REASON],
        submitters: &[Role::Window],
        entitled: filers_agency,
        sequence: |scene| in_sequence(scene, Step::Withdraw),
        take_effect: |scene| advance(scene, Step::Withdraw),
        ..CASE
    },
];

/// The case that the record is about.
fn case(scene: &mut Scene<'_>) -> Verdict<(Ref, Case)> {
    let reference: Ref = scene.record.need("subject")?;
    match scene.object(&reference)? {
        Some(Object::Case(case)) => Ok((reference, case)),
        _ => Err(StateFault::Invariant("a subject that 3002 accepted as a case is none").into()),
    }
}

fn matter(scene: &mut Scene<'_>, reference: &Ref) -> Verdict<Matter> {
    match scene.object(reference)? {
        Some(Object::Matter(matter)) => Ok(matter),
        _ => Err(StateFault::Invariant("a reference that 3002 accepted as a matter is none").into()),
    }
}

/// 3003: only the agency whose matter it is handles a case.
fn matters_agency(scene: &mut Scene<'_>) -> Verdict {
    let (_, case) = case(scene)?;
    if scene.signer.agency != case.matter.agency {
        return reject(3003, format!("{} handles this matter, not {}", case.matter.agency, scene.signer.agency));
    }
    Ok(())
}

/// 3003: only the agency that submitted a case supplies to it or withdraws it.
fn filers_agency(scene: &mut Scene<'_>) -> Verdict {
    let (reference, _) = case(scene)?;
    if scene.signer.agency != reference.agency {
        return reject(3003, format!("{} submitted this case, not {}", reference.agency, scene.signer.agency));
    }
    Ok(())
}

/// 3009 and 3011.
fn in_sequence(scene: &mut Scene<'_>, step: Step) -> Verdict {
    let (reference, case) = case(scene)?;
    not_before_latest(scene, &case)?;
    if scene.mode == Mode::Live && !transition::is_possible(case.state, step) {
        return reject(
            3011,
            format!("case {reference} is {}; {} does not follow from there", case.state.name(), scene.record.kind.name),
        );
    }
    Ok(())
}

/// 3009.
fn not_before_latest(scene: &mut Scene<'_>, case: &Case) -> Verdict {
    let effective = scene.record.effective;
    if effective < case.latest && case.latest_stated && date_is_stated(scene) {
        scene.reject_or_flag(3009, format!("effective {effective}, the step before it {}", case.latest))?;
    }
    Ok(())
}

/// The step's effect that all steps share: the new state and its day.
fn step_taken(scene: &Scene<'_>, case: &mut Case, step: Step) {
    case.state = transition::after(case.state, step);
    dated(scene, case);
}

/// The step's day becomes the latest, unless an earlier step lies later.
fn dated(scene: &Scene<'_>, case: &mut Case) {
    if scene.record.effective >= case.latest {
        case.latest = scene.record.effective;
        case.latest_stated = date_is_stated(scene);
    }
}

/// A step that changes nothing but the state.
fn advance(scene: &mut Scene<'_>, step: Step) -> Verdict {
    let (reference, mut case) = case(scene)?;
    step_taken(scene, &mut case, step);
    Ok(scene.put(&reference, Object::Case(case))?)
}

/// False where an importer supplied the effective date: no lateness and no order is concluded from it.
fn date_is_stated(scene: &Scene<'_>) -> bool {
    let defaults: Vec<String> = find(&scene.record.body, "defaults").unwrap_or_default();
    !defaults.iter().any(|field| field == "effective_date")
}
