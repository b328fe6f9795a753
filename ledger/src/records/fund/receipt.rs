//! What others say about money that moved: the recipient confirms, the bank's statement is reconciled. Neither moves any.

use super::book;
use super::movement::MovementState;
use super::rules::{self, Part};
use crate::records::object::{Kind, Mode, Ref};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::records::waiting::Need;

pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "receipt_confirm",
        zh: "受益确认",
        area: Area::Fund,
        fields: &[Field::need("payment", FieldKind::Ref(&[Kind::Movement])), Field::need("received", FieldKind::Bool)],
        submitters: &[Role::ProgrammeOwner, Role::Charity, Role::Window],
        entitled: by_owner_or_publisher,
        check: names_a_payment,
        sequence: has_come,
        ..RecordType::BASE
    },
    RecordType {
        name: "reconcile",
        zh: "对账",
        area: Area::Fund,
        fields: &[
            Field::need("account", FieldKind::Ref(&[Kind::Account])),
            Field::need("day", FieldKind::Date),
            Field::need("statement_total", FieldKind::Minor),
            Field::need("matched_root", FieldKind::Hash),
            Field::need("breaks_root", FieldKind::Hash),
        ],
        submitters: &[Role::AgentBank],
        entitled: by_bank,
        approvers: then_finance,
        ..RecordType::BASE
    },
];

/// 3002.
fn names_a_payment(scene: &mut Scene<'_>) -> Verdict {
    let reference: Ref = scene.record.need("payment")?;
    if book::movement(scene, &reference)?.payment.is_none() {
        return reject(3002, format!("{reference} is no payment"));
    }
    Ok(())
}

/// 3003: the owner, or who published the list that entitles the payee: a township for its recipients.
fn by_owner_or_publisher(scene: &mut Scene<'_>) -> Verdict {
    let (movement, programme) = rules::programme_of_movement(scene, "payment")?;
    if movement.entitlement.as_ref().is_some_and(|award| award.agency == scene.signer.agency) {
        return Ok(());
    }
    rules::acts_as(scene, &programme, Part::Owner)
}

/// 3011, in live programmes: what the bank has not paid cannot have come.
fn has_come(scene: &mut Scene<'_>) -> Verdict {
    let (movement, _) = rules::programme_of_movement(scene, "payment")?;
    if movement.state != MovementState::Posted && scene.mode == Mode::Live {
        let reference: Ref = scene.record.need("payment")?;
        return reject(3011, format!("{reference} is not confirmed by the bank"));
    }
    rules::follows(scene, "payment")
}

fn by_bank(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = rules::programme_of_account(scene, "account")?;
    rules::acts_as(scene, &programme, Part::Bank)
}

fn then_finance(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    Ok(rules::by_finance(&rules::programme_of_account(scene, "account")?.1))
}
