//! What only the agent bank says: an instruction was carried out, could not be, or money came back.

use std::sync::Arc;

use super::account::AccountKind;
use super::book::{self, Place};
use super::movement::{self, Movement, MovementKind, MovementState, Payment, Posting};
use super::rules::{self, Part};
use super::shown::money;
use super::sums::Step;
use crate::records::calendar::Day;
use crate::records::object::{Kind, Mode, Object, Ref};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};

const MOVEMENT: FieldKind = FieldKind::Ref(&[Kind::Movement]);

const CONFIRMATION: &[Field] = &[
    Field::need("movement", MOVEMENT),
    Field::need("bank_ref", FieldKind::Declared),
    Field::need("booked", FieldKind::Date),
    Field::need("statement", FieldKind::Hash),
];

pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "payment_confirm",
        zh: "支付回单",
        area: Area::Fund,
        fields: CONFIRMATION,
        submitters: &[Role::AgentBank],
        amount: confirmed,
        entitled: by_bank,
        check: can_confirm,
        sequence: booked_in_its_years,
        take_effect: confirm,
        ..RecordType::BASE
    },
    RecordType {
        name: "income_confirm",
        zh: "到账回单",
        area: Area::Fund,
        fields: CONFIRMATION,
        submitters: &[Role::AgentBank],
        amount: confirmed,
        entitled: by_bank,
        check: can_confirm_income,
        sequence: booked_by_now,
        take_effect: confirm,
        ..RecordType::BASE
    },
    RecordType {
        name: "payment_fail",
        zh: "支付失败",
        area: Area::Fund,
        fields: &[Field::need("movement", MOVEMENT), Field::need("reason", FieldKind::Code)],
        submitters: &[Role::AgentBank],
        entitled: by_bank,
        check: is_released,
        sequence: |scene| rules::follows(scene, "movement"),
        take_effect: fail,
        ..RecordType::BASE
    },
    RecordType {
        name: "payment_return",
        zh: "退票",
        area: Area::Fund,
        fields: &[
            Field::need("payment", MOVEMENT),
            Field::need("amount", FieldKind::Amount),
            Field::may("bank_ref", FieldKind::Declared),
        ],
        submitters: &[Role::AgentBank],
        entitled: by_paying_bank,
        check: can_return,
        sequence: |scene| rules::follows(scene, "payment"),
        take_effect: take_back,
        ..RecordType::BASE
    },
];

// ---- who (3003, 3004) ----

/// The whole movement.
fn confirmed(scene: &mut Scene<'_>) -> Verdict<u64> {
    let reference: Ref = scene.record.need("movement")?;
    Ok(book::movement(scene, &reference)?.amount())
}

fn by_bank(scene: &mut Scene<'_>) -> Verdict {
    let reference: Ref = scene.record.need("movement")?;
    let (_, programme) = rules::programme_of_movement(scene, "movement")?;
    rules::acts_as(scene, &programme, Part::Bank)?;
    apart_from_proposers(scene, &reference)
}

/// 3004: whoever proposed or approved the movement does not confirm it.
fn apart_from_proposers(scene: &mut Scene<'_>, movement: &Ref) -> Verdict {
    let (key_id, agency, persons) = (scene.signer.key_id, scene.signer.agency.clone(), scene.signer.persons());
    let Some(leaf) = scene.leaf(movement)? else { return Ok(()) };
    let same_person = |others: &[crate::records::object::Person]| persons.iter().any(|one| others.contains(one));
    let mut approvals = leaf.waiting.iter().flat_map(|waiting| &waiting.approvals);
    let approved =
        approvals.any(|given| given.key_id == key_id || given.agency == agency || same_person(&given.persons));
    let proposed = leaf.key_id == key_id || movement.agency == agency || same_person(&leaf.persons);
    if approved || proposed {
        return reject(3004, format!("{movement} was proposed or approved by the one who confirms it"));
    }
    Ok(())
}

fn by_paying_bank(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = rules::programme_of_movement(scene, "payment")?;
    rules::acts_as(scene, &programme, Part::Bank)
}

// ---- payment_confirm, income_confirm, payment_fail ----

/// 3205: only a released movement, and only once.
fn is_released(scene: &mut Scene<'_>) -> Verdict {
    let (movement, _) = rules::programme_of_movement(scene, "movement")?;
    let reference: Ref = scene.record.need("movement")?;
    match movement.state {
        MovementState::Released => Ok(()),
        MovementState::Proposed => reject(3205, format!("{reference} is not released to the bank")),
        MovementState::Posted => reject(3205, format!("{reference} is posted already")),
        MovementState::Failed | MovementState::Ended => reject(3205, format!("{reference} has ended")),
    }
}

/// 3002 for the kind of movement; then 3205, 3206.
fn can_confirm(scene: &mut Scene<'_>) -> Verdict {
    of_kind(scene, |kind| kind != MovementKind::Income)?;
    is_released(scene)?;
    rules::bank_reference_is_new(scene)
}

fn can_confirm_income(scene: &mut Scene<'_>) -> Verdict {
    of_kind(scene, |kind| kind == MovementKind::Income)?;
    is_released(scene)?;
    rules::bank_reference_is_new(scene)
}

/// 3007 for the bank's own day: what is booked has happened. Then 3009 as for every record.
fn booked_by_now(scene: &mut Scene<'_>) -> Verdict {
    let (booked, recorded): (Day, Day) = (scene.record.need("booked")?, scene.record.recorded);
    if booked > recorded {
        return reject(3007, format!("booked {booked}, recorded {recorded}"));
    }
    rules::follows(scene, "movement")
}

/// 3009 too: nothing of a programme is paid before its first year. A day before the request is let in, for should a bank
/// have paid too early, that must be told; and an income may reach the bank before there is a programme.
fn booked_in_its_years(scene: &mut Scene<'_>) -> Verdict {
    booked_by_now(scene)?;
    let booked: Day = scene.record.need("booked")?;
    let (_, programme) = rules::programme_of_movement(scene, "movement")?;
    let first = programme.years.iter().min().copied().unwrap_or(0);
    if i64::from(booked.year()) < i64::try_from(first).unwrap_or(i64::MAX) {
        return reject(3009, format!("booked {booked}, the programme's first year is {first}"));
    }
    Ok(())
}

fn of_kind(scene: &mut Scene<'_>, fits: fn(MovementKind) -> bool) -> Verdict {
    let reference: Ref = scene.record.need("movement")?;
    let movement = book::movement(scene, &reference)?;
    if fits(movement.kind) {
        return Ok(());
    }
    reject(3002, format!("{reference} is confirmed by another record type than {}", scene.record.kind.name))
}

fn confirm(scene: &mut Scene<'_>) -> Verdict {
    let reference: Ref = scene.record.need("movement")?;
    rules::claim_bank_reference(scene)?;
    let movement = book::movement(scene, &reference)?;
    movement::end(scene, &reference, movement, Step::Post)
}

fn fail(scene: &mut Scene<'_>) -> Verdict {
    let reference: Ref = scene.record.need("movement")?;
    let movement = book::movement(scene, &reference)?;
    movement::end(scene, &reference, movement, Step::Void)
}

// ---- payment_return ----

/// A posted payment and the posting that takes money back from its PAID account.
pub struct TakeBack {
    pub payment: Ref,
    pub original: Arc<Movement>,
    pub posting: Posting,
}

/// What comes back of a payment goes to RETURNED of the open year, under the payment's earmark.
pub fn back(scene: &mut Scene<'_>, payment: Ref, amount: u64) -> Verdict<TakeBack> {
    let original = book::movement(scene, &payment)?;
    let (Some(paid), Some(details)) = (original.postings.first(), &original.payment) else {
        return reject(3002, format!("{payment} is no payment"));
    };
    let debit = paid.credit.clone();
    let account = book::account(scene, &debit)?;
    let programme = book::programme(scene, &original.programme)?;
    let place = Place {
        kind: AccountKind::Returned,
        agency: &account.agency,
        year: account.year,
        earmark: details.earmark.as_deref(),
        above: None,
    };
    let credit = rules::account_in_open_year(scene, (&original.programme, &programme), place)?;
    Ok(TakeBack { payment, original, posting: Posting { debit, credit, amount } })
}

/// 3215: returns and recoveries stay within what was paid.
pub fn within_paid(scene: &mut Scene<'_>, original: &Movement, amount: u64) -> Verdict {
    let Some(payment) = &original.payment else { return Ok(()) };
    let back = payment.returned.saturating_add(payment.recovered);
    let paid = if original.state == MovementState::Posted { original.amount() } else { 0 };
    if scene.mode != Mode::Live || back.saturating_add(amount) <= paid {
        return Ok(());
    }
    let programme = &original.programme;
    let (paid, back) = (money(scene, programme, paid)?, money(scene, programme, back)?);
    let amount = money(scene, programme, amount)?;
    reject(3215, format!("paid {paid}, came back {back}, now {amount}"))
}

fn stated(scene: &mut Scene<'_>) -> Verdict<TakeBack> {
    let (payment, amount) = (scene.record.need("payment")?, scene.record.need("amount")?);
    back(scene, payment, amount)
}

fn can_return(scene: &mut Scene<'_>) -> Verdict {
    let back = stated(scene)?;
    let legs = rules::legs(scene, &back.posting)?;
    rules::covered(scene, &legs)?;
    rules::one_programme(&legs)?;
    rules::bank_reference_is_new(scene)?;
    rules::earmarked(&legs)?;
    within_paid(scene, &back.original, back.posting.amount)?;
    returnable(scene, &legs)
}

/// 3216 without the year of the PAID account, which may be closed.
pub fn returnable(scene: &mut Scene<'_>, legs: &rules::Legs) -> Verdict {
    if scene.mode != Mode::Live {
        return Ok(());
    }
    let programme = book::programme(scene, &legs.credit.programme)?;
    rules::programme_open(&legs.credit.programme, &programme)?;
    if legs.credit.closed { reject(3216, format!("account {} is closed", legs.posting.credit)) } else { Ok(()) }
}

fn take_back(scene: &mut Scene<'_>) -> Verdict {
    rules::claim_bank_reference(scene)?;
    let back = stated(scene)?;
    post_back(scene, back, MovementKind::Return)
}

/// Posts what came back at once and counts it on its payment.
pub fn post_back(scene: &mut Scene<'_>, back: TakeBack, kind: MovementKind) -> Verdict {
    let amount = back.posting.amount;
    let held_in = Some(back.posting.credit.clone());
    let entitlement = back.original.entitlement.clone();
    let movement = Movement {
        state: MovementState::Posted,
        entitlement,
        ..Movement::new(kind, back.original.programme.clone(), vec![back.posting])
    };
    book::apply(scene, &movement, Step::PostAtOnce)?;
    let mut original = Arc::unwrap_or_clone(back.original);
    if let Some(payment) = original.payment.as_mut() {
        *payment = counted(payment.clone(), kind, amount);
        payment.held_in = held_in;
    }
    scene.put(&back.payment, Object::Movement(Arc::new(original)))?;
    scene.create(Object::Movement(Arc::new(movement)));
    Ok(())
}

fn counted(payment: Payment, kind: MovementKind, amount: u64) -> Payment {
    match kind {
        MovementKind::Recovery => Payment { recovered: payment.recovered.saturating_add(amount), ..payment },
        _ => Payment { returned: payment.returned.saturating_add(amount), ..payment },
    }
}
