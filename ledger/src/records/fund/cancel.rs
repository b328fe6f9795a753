//! Ending a movement before it is released: cancelled by who asked for it, with who would release it; or expired, by anybody.

use std::sync::Arc;

use super::book;
use super::movement::{Movement, MovementState};
use super::payment;
use super::rules;
use crate::records::object::{Mode, Object, Ref};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::records::waiting::{self, Need};

pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "movement_cancel",
        zh: "撤销",
        area: Area::Fund,
        fields: &[Field::need("movement", FieldKind::Waiting), Field::need("reason", FieldKind::Code)],
        submitters: &[Role::ProgrammeOwner, Role::Charity, Role::Finance],
        entitled: by_requester,
        approvers: with_releasers,
        check: is_open,
        sequence: |scene| rules::follows(scene, "movement"),
        take_effect: end,
        ..RecordType::BASE
    },
    RecordType {
        name: "movement_expire",
        zh: "过期",
        area: Area::Fund,
        fields: &[Field::need("movement", FieldKind::Waiting)],
        check: is_overdue,
        sequence: |scene| rules::follows(scene, "movement"),
        take_effect: end,
        ..RecordType::BASE
    },
];

fn named(scene: &mut Scene<'_>) -> Verdict<(Ref, Arc<Movement>)> {
    let reference: Ref = scene.record.need("movement")?;
    match scene.object(&reference)? {
        Some(Object::Movement(movement)) => Ok((reference, movement)),
        _ => reject(3002, format!("{reference} is no movement")),
    }
}

/// 3003: the agency that proposed it.
fn by_requester(scene: &mut Scene<'_>) -> Verdict {
    let (reference, _) = named(scene)?;
    if scene.signer.agency == reference.agency {
        return Ok(());
    }
    reject(3003, format!("{reference} was proposed by {}, not {}", reference.agency, scene.signer.agency))
}

/// As a payment of its amount is released: by finance, by amount two of its officers; a charity's by its supervisor or
/// trustee. Finance's own acts have a second officer of finance, as when they were proposed.
fn with_releasers(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    let (_, movement) = named(scene)?;
    let programme = book::programme(scene, &movement.programme)?;
    if scene.signer.agency == programme.finance {
        return Ok(rules::by_finance(&programme));
    }
    payment::release_needs(scene, &programme, movement.amount())
}

/// 3205: still proposed; once released, only the bank ends it.
fn is_open(scene: &mut Scene<'_>) -> Verdict {
    let (reference, movement) = named(scene)?;
    match movement.state {
        MovementState::Proposed => Ok(()),
        MovementState::Released => reject(3205, format!("{reference} is released: only the bank ends it")),
        MovementState::Posted | MovementState::Failed | MovementState::Ended => {
            reject(3205, format!("{reference} has ended"))
        }
    }
}

/// 3205, and time is past `valid_until`.
fn is_overdue(scene: &mut Scene<'_>) -> Verdict {
    is_open(scene)?;
    let (reference, _) = named(scene)?;
    let now_ms = scene.block.time_ms;
    let valid_until = scene.leaf(&reference)?.and_then(|leaf| leaf.waiting.as_ref()).map(|waiting| waiting.valid_until);
    match valid_until {
        Some(until) if now_ms <= until && scene.mode == Mode::Live => {
            reject(3205, format!("{reference} is valid until {until} ms, it is {now_ms} ms"))
        }
        Some(_) | None => Ok(()),
    }
}

fn end(scene: &mut Scene<'_>) -> Verdict {
    let (reference, _) = named(scene)?;
    waiting::end(scene, &reference)
}
