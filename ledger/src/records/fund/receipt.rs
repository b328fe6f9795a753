//! What others say about money that moved: the recipient confirms, the bank's statement is reconciled. Neither moves any.

use super::book;
use super::rules::{self, Part};
use crate::records::object::{Kind, Ref};
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
        check: names_a_payment,
        sequence: |scene| rules::follows(scene, "payment"),
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

fn by_bank(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = rules::programme_of_account(scene, "account")?;
    rules::acts_as(scene, &programme, Part::Bank)
}

fn then_finance(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    Ok(rules::by_finance(&rules::programme_of_account(scene, "account")?.1))
}
