//! Documents: the anchor of a file's salted hash, the notice that a body was destroyed, and corrections. None changes
//! what another record says; the findings of auditors are in `finding`.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::object::{Kind, Object, Ref, Subject};
use super::role::Role;
use super::scene::{Scene, Verdict, reject};
use super::schema::{Area, Field, FieldKind, RecordType};
use super::waiting::{APPROVE, Need};
use crate::state::key;

/// Under this kind of code stands the latest correction of a record.
const CORRECTION: &str = "correction";

/// A correction beside the record that it corrects.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Correction {
    #[n(0)]
    pub record: Ref,
}

/// By which the bank ends a movement that another record proposed.
const BY_BANK: [&str; 3] = ["payment_confirm", "income_confirm", "payment_fail"];

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "document_anchor",
        zh: "存证",
        area: Area::Everywhere,
        fields: &[Field::need("root", FieldKind::Hash), Field::need("kind", FieldKind::Code)],
        by_auditor: true,
        ..RecordType::BASE
    },
    RecordType {
        name: "correct",
        zh: "更正",
        area: Area::Everywhere,
        fields: &[
            Field::need("record", FieldKind::Ref(&[])),
            Field::need("fields", FieldKind::Hash),
            Field::need("reason", FieldKind::Text),
        ],
        crosses_modes: true,
        approvers: supervisor,
        check: check_correction,
        take_effect: correct,
        ..RecordType::BASE
    },
    RecordType {
        name: "shred",
        zh: "销毁告知",
        area: Area::Everywhere,
        fields: &[Field::need("root", FieldKind::Hash), Field::need("ground", FieldKind::Code)],
        by_auditor: true,
        ..RecordType::BASE
    },
];

fn supervisor(_: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    Ok(vec![Need::of_another_agency(Role::Supervisor)])
}

/// 3701: by the agency that filed the record, about a record in effect, and never about money. That the approver is
/// another person is judged with the approval.
fn check_correction(scene: &mut Scene<'_>) -> Verdict {
    let reference: Ref = scene.record.need("record")?;
    let agency = scene.record.reference.agency.clone();
    let Some(leaf) = scene.leaf(&reference)? else { return Ok(()) };
    if reference.agency != agency {
        return reject(3701, format!("{reference} was filed by {}", reference.agency));
    }
    if !leaf.in_effect() {
        return reject(3701, format!("{reference} is not in effect"));
    }
    let movement = leaf.object.as_ref().is_some_and(|object| object.kind() == Kind::Movement);
    let (ended, approval) = (BY_BANK.contains(&leaf.record_type.as_str()), leaf.record_type == APPROVE);
    let subjects = Arc::clone(&leaf.subjects);
    if movement || ended || approval && concerns_an_account(scene, &subjects)? {
        return reject(3701, format!("{reference} moves money: return, recover or refund it"));
    }
    Ok(())
}

/// An approval keeps only whose trails it joined. One that posts or releases a movement joins those of its accounts.
fn concerns_an_account(scene: &mut Scene<'_>, subjects: &[Subject]) -> Verdict<bool> {
    for reference in subjects.iter().filter_map(Subject::record) {
        if matches!(scene.object(reference)?, Some(Object::Account(_))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The original stays; the correction is found under its name.
fn correct(scene: &mut Scene<'_>) -> Verdict {
    let record: Ref = scene.record.need("record")?;
    let own = scene.record.reference.clone();
    scene.draft.put(key::code(CORRECTION, &record.key_part()), &own)?;
    scene.create(Object::Correction(Correction { record }));
    Ok(())
}

/// The latest correction of a record.
pub fn correction_of(scene: &Scene<'_>, record: &Ref) -> Verdict<Option<Ref>> {
    Ok(scene.draft.get(&key::code(CORRECTION, &record.key_part()))?)
}

#[cfg(test)]
mod tests {
    use crate::codec::Value;
    use crate::records::fund::tests::{commitment, funded, grant_fields, pay, payment};
    use crate::records::testing::{Stage, hash, signing_key, text, to};
    use crate::state::key;

    fn anchored() -> Stage {
        let mut stage = Stage::found();
        stage.apply("civil/plain", "document_anchor", "DOC-1", vec![("root", hash(1)), ("kind", text("minutes"))]);
        stage
    }

    fn correction(record: &str) -> Vec<(&'static str, Value)> {
        vec![("record", to(record)), ("fields", hash(2)), ("reason", text("日期录入有误"))]
    }

    #[test]
    fn an_anchor_is_recorded_and_joins_its_key() {
        let mut stage = Stage::found();
        let key = key::officer_key(&signing_key("civil/plain").public().key_id());
        let before = stage.trail_length(&key);
        stage.apply("civil/plain", "document_anchor", "DOC-1", vec![("root", hash(1)), ("kind", text("minutes"))]);
        let leaf = stage.leaf("civil/DOC-1").expect("the leaf");
        assert_eq!((leaf.outcome, leaf.index), (0, 1));
        assert_eq!(stage.trail_length(&key), before + 1);
        stage.apply("civil/plain", "shred", "S-1", vec![("root", hash(1)), ("ground", text("retention-over"))]);
    }

    #[test]
    fn a_correction_stands_beside_the_original() {
        let mut stage = anchored();
        let original = stage.leaf("civil/DOC-1");
        stage.apply("civil/plain", "correct", "FIX", correction("civil/DOC-1"));
        assert!(stage.object("civil/FIX").is_none(), "not before its approval");
        assert_eq!(stage.approve("super/1", "civil/FIX").outcome, 0);
        assert!(stage.object("civil/FIX").is_some());
        assert_eq!(stage.leaf("civil/DOC-1"), original);
    }

    #[test]
    fn a_correction_by_others_or_by_one_person_3701() {
        let mut stage = anchored();
        stage.expect(3701, "town/1", "correct", "FIX", correction("civil/DOC-1"));
        stage.apply("super/1", "document_anchor", "DOC-2", vec![("root", hash(1)), ("kind", text("order"))]);
        stage.apply("super/1", "correct", "FIX", correction("super/DOC-2"));
        assert_eq!(stage.approve("super/1", "super/FIX").outcome, 3701);
        assert!(stage.object("super/FIX").is_none());
    }

    #[test]
    fn what_moves_money_or_says_that_it_moved_is_never_corrected_3701() {
        let mut stage = funded();
        pay(&mut stage, "PAY", 600);
        stage.expect(3701, "civil/1", "correct", "FIX", correction("civil/PAY"));
        stage.expect(3701, "bank/1", "correct", "FIX", correction("bank/PC-PAY"));
        let mut approval = |kind: &str, fields: Vec<(&str, Value)>, waiting: &str| {
            stage.apply("civil/1", kind, waiting, fields);
            let fields = stage.digest_of(&format!("civil/{waiting}"));
            stage.apply("finance/1", "approve", &format!("A-{waiting}"), fields);
        };
        approval("payment_request", payment("G", 1, 500), "FAILS");
        approval("commit", commitment("G", 1), "CM-2");
        approval("award_grant", grant_fields(2, 1), "H");
        for posted in ["finance/A-FAILS", "finance/A-CM-2"] {
            stage.expect(3701, "finance/1", "correct", &format!("FIX-{}", &posted[10..]), correction(posted));
        }
        stage.apply("finance/1", "correct", "FIX-H", correction("finance/A-H"));
        let fail = vec![("movement", to("civil/FAILS")), ("reason", text("closed"))];
        stage.apply("bank/1", "payment_fail", "PF", fail);
        stage.expect(3701, "bank/1", "correct", "FIX-2", correction("bank/PF"));
    }

    #[test]
    fn a_correction_of_nothing_3002() {
        anchored().expect(3002, "civil/plain", "correct", "FIX", correction("civil/nothing"));
    }
}
