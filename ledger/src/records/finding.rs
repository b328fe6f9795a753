//! What auditors find, and the answers. Neither changes any business state. Flags of rules are filed by the frame.

use minicbor::{Decode, Encode};

use super::object::{Kind, Object, Ref};
use super::role::Role;
use super::scene::{Scene, Verdict, reject};
use super::schema::{Area, Field, FieldKind, RecordType};
use crate::state::StateFault;

/// An auditor's finding, open until it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AuditFinding {
    #[n(0)]
    pub subject: Ref,
    #[n(1)]
    pub code: String,
    #[n(2)]
    pub answer: Option<Ref>,
}

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "finding",
        zh: "审计发现",
        area: Area::Everywhere,
        fields: &[
            Field::need("subject", FieldKind::Ref(&[])),
            Field::need("code", FieldKind::Code),
            Field::may("refs", FieldKind::List(&FieldKind::Ref(&[]))),
            Field::need("report", FieldKind::Hash),
        ],
        submitters: &[Role::Auditor],
        by_auditor: true,
        crosses_modes: true,
        take_effect: find,
        ..RecordType::BASE
    },
    RecordType {
        name: "finding_answer",
        zh: "整改回复",
        area: Area::Everywhere,
        fields: &[Field::need("finding", FieldKind::Ref(&[Kind::Finding])), Field::need("answer", FieldKind::Hash)],
        crosses_modes: true,
        entitled: responsible,
        sequence: unanswered,
        take_effect: answer,
        ..RecordType::BASE
    },
];

fn find(scene: &mut Scene<'_>) -> Verdict {
    let (subject, code) = (scene.record.need("subject")?, scene.record.need("code")?);
    scene.create(Object::Finding(AuditFinding { subject, code, answer: None }));
    Ok(())
}

fn finding(scene: &mut Scene<'_>) -> Verdict<(Ref, AuditFinding)> {
    let reference: Ref = scene.record.need("finding")?;
    match scene.object(&reference)? {
        Some(Object::Finding(finding)) => Ok((reference, finding)),
        _ => Err(StateFault::Invariant("a reference that 3002 accepted as a finding is none").into()),
    }
}

/// 3003: the agency that the finding concerns answers it: whose record the subject is, or whose matter the case.
fn responsible(scene: &mut Scene<'_>) -> Verdict {
    let (reference, finding) = finding(scene)?;
    let matters_agency = match scene.object(&finding.subject)? {
        Some(Object::Case(case)) => Some(case.matter.agency),
        _ => None,
    };
    let agency = &scene.signer.agency;
    if *agency != finding.subject.agency && Some(agency.as_str()) != matters_agency.as_deref() {
        return reject(3003, format!("finding {reference} does not concern {agency}"));
    }
    Ok(())
}

/// 3011: one answer.
fn unanswered(scene: &mut Scene<'_>) -> Verdict {
    let (reference, finding) = finding(scene)?;
    match finding.answer {
        Some(answer) => reject(3011, format!("finding {reference} was answered by {answer}")),
        None => Ok(()),
    }
}

fn answer(scene: &mut Scene<'_>) -> Verdict {
    let (reference, mut finding) = finding(scene)?;
    finding.answer = Some(scene.record.reference.clone());
    Ok(scene.put(&reference, Object::Finding(finding))?)
}

#[cfg(test)]
mod tests {
    use crate::codec::Value;
    use crate::records::testing::{Stage, hash, reference, text, to};

    fn anchored() -> Stage {
        let mut stage = Stage::found();
        stage.apply("civil/plain", "document_anchor", "DOC-1", vec![("root", hash(1)), ("kind", text("minutes"))]);
        stage
    }

    fn finding(subject: &str) -> Vec<(&'static str, Value)> {
        vec![("subject", to(subject)), ("code", text("late-filing")), ("report", hash(2))]
    }

    #[test]
    fn a_finding_is_answered_once_by_whom_it_concerns() {
        let mut stage = anchored();
        stage.apply("audit/1", "finding", "F", finding("civil/DOC-1"));
        let answer = || vec![("finding", to("audit/F")), ("answer", hash(3))];
        stage.expect(3003, "town/1", "finding_answer", "A", answer());
        stage.apply("civil/plain", "finding_answer", "A", answer());
        stage.expect(3011, "civil/plain", "finding_answer", "B", answer());
    }

    #[test]
    fn only_an_auditor_finds_3003_and_an_auditor_does_nothing_else_3702() {
        let mut stage = anchored();
        stage.expect(3003, "civil/head", "finding", "F", finding("civil/DOC-1"));
        let correction = vec![("record", to("civil/DOC-1")), ("fields", hash(2)), ("reason", text("日期有误"))];
        stage.apply("civil/plain", "correct", "FIX", correction);
        let before = stage.state.clone();
        assert_eq!(stage.approve("audit/1", "civil/FIX").outcome, 3702);
        stage.assert_only_trails_changed(&before, &reference("audit/approve-1"));
    }

    #[test]
    fn auditors_look_into_history_too() {
        let mut stage = anchored();
        let batch = vec![
            ("source", text("old books")),
            ("rows_root", hash(1)),
            ("licence", text("OGL")),
            ("format", text("permits")),
            ("strict", Value::Bool(false)),
            ("period_end", text("2025-12-31")),
        ];
        stage.apply_with(["archive/1", "super/1"], "import_open", "IN", batch);
        let row = vec![
            ("root", hash(1)),
            ("kind", text("row")),
            ("import", to("archive/IN")),
            ("effective_date", text("2025-01-01")),
        ];
        stage.apply("archive/1", "document_anchor", "ROW", row);
        stage.apply("audit/1", "finding", "F", finding("archive/ROW"));
    }
}
