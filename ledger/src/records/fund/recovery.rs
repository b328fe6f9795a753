//! Recoveries: the supervisor orders money back from a payee, the agent bank records what arrives.

use minicbor::{Decode, Encode};

use super::bank;
use super::book;
use super::movement::{MovementKind, MovementState};
use super::rules::{self, Part};
use super::shown::money;
use crate::records::object::{Kind, Mode, Object, Ref, Subject};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};

/// A claim against the payee of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RecoveryOrder {
    #[n(0)]
    pub payment: Ref,
    #[n(1)]
    pub amount: u64,
    #[n(2)]
    pub received: u64,
}

pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "recovery_order",
        zh: "追缴决定",
        area: Area::Fund,
        fields: &[
            Field::need("payment", FieldKind::Ref(&[Kind::Movement])),
            Field::need("amount", FieldKind::Amount),
            Field::need("decision", FieldKind::Hash),
        ],
        submitters: &[Role::Supervisor],
        entitled: by_supervisor,
        check: can_order,
        sequence: |scene| rules::follows(scene, "payment"),
        take_effect: order,
        ..RecordType::BASE
    },
    RecordType {
        name: "recovery_receipt",
        zh: "追回入账",
        area: Area::Fund,
        fields: &[
            Field::need("order", FieldKind::Ref(&[Kind::RecoveryOrder])),
            Field::need("amount", FieldKind::Amount),
            Field::may("bank_ref", FieldKind::Declared),
        ],
        submitters: &[Role::AgentBank],
        entitled: by_bank,
        check: can_receive,
        sequence: |scene| rules::follows(scene, "order"),
        take_effect: receive,
        ..RecordType::BASE
    },
];

// ---- recovery_order ----

fn by_supervisor(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = rules::programme_of_movement(scene, "payment")?;
    rules::acts_as(scene, &programme, Part::Supervisor)
}

/// 3215: no more is claimed than is still paid.
fn can_order(scene: &mut Scene<'_>) -> Verdict {
    let (payment, _) = rules::programme_of_movement(scene, "payment")?;
    let reference: Ref = scene.record.need("payment")?;
    if payment.payment.is_none() || (scene.mode == Mode::Live && payment.state != MovementState::Posted) {
        return reject(3002, format!("{reference} is no posted payment"));
    }
    let amount = scene.record.need("amount")?;
    bank::within_paid(scene, &payment, amount)
}

fn order(scene: &mut Scene<'_>) -> Verdict {
    let payment: Ref = scene.record.need("payment")?;
    let programme = book::movement(scene, &payment)?.programme.clone();
    let order = RecoveryOrder { payment, amount: scene.record.need("amount")?, received: 0 };
    scene.touch(Subject::Record(programme));
    scene.create(Object::RecoveryOrder(order));
    Ok(())
}

// ---- recovery_receipt ----

fn named(scene: &mut Scene<'_>) -> Verdict<(Ref, RecoveryOrder)> {
    let reference: Ref = scene.record.need("order")?;
    match scene.object(&reference)? {
        Some(Object::RecoveryOrder(order)) => Ok((reference, order)),
        _ => reject(3002, format!("{reference} is no recovery order")),
    }
}

fn by_bank(scene: &mut Scene<'_>) -> Verdict {
    let (_, order) = named(scene)?;
    let payment = book::movement(scene, &order.payment)?;
    let programme = book::programme(scene, &payment.programme)?;
    rules::acts_as(scene, &programme, Part::Bank)
}

fn can_receive(scene: &mut Scene<'_>) -> Verdict {
    let (reference, order) = named(scene)?;
    let amount: u64 = scene.record.need("amount")?;
    let back = bank::back(scene, order.payment, amount)?;
    let legs = rules::legs(scene, &back.posting)?;
    rules::covered(scene, &legs)?;
    rules::one_programme(&legs)?;
    rules::bank_reference_is_new(scene)?;
    rules::earmarked(&legs)?;
    bank::within_paid(scene, &back.original, amount)?;
    if scene.mode == Mode::Live && order.received.saturating_add(amount) > order.amount {
        let programme = &back.original.programme;
        let (claimed, received) = (money(scene, programme, order.amount)?, money(scene, programme, order.received)?);
        let amount = money(scene, programme, amount)?;
        return reject(3215, format!("{reference} claims {claimed}, received {received}, now {amount}"));
    }
    bank::returnable(scene, &legs)
}

fn receive(scene: &mut Scene<'_>) -> Verdict {
    rules::claim_bank_reference(scene)?;
    let (reference, order) = named(scene)?;
    let amount: u64 = scene.record.need("amount")?;
    let back = bank::back(scene, order.payment.clone(), amount)?;
    let received = order.received.saturating_add(amount);
    scene.put(&reference, Object::RecoveryOrder(RecoveryOrder { received, ..order }))?;
    bank::post_back(scene, back, MovementKind::Recovery)
}
