//! What becomes of returned money: paid again to the same payee, or handed back to the programme or its source.

use std::sync::Arc;

use super::account::AccountKind;
use super::book::{self, Place};
use super::claim::{self, Claim};
use super::entitlement;
use super::movement::{self, Movement, MovementKind, MovementState, Payment, Posting};
use super::origin;
use super::pattern::{self, Pattern};
use super::payment;
use super::programme::Programme;
use super::rules::{self, Legs, Part};
use super::shown::money;
use crate::records::object::{Kind, Mode, Ref};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::records::waiting::Need;

const ACCOUNT: FieldKind = FieldKind::Ref(&[Kind::Account]);

pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "payment_reissue",
        zh: "重新支付",
        area: Area::Fund,
        fields: &[
            Field::need("payment", FieldKind::Ref(&[Kind::Movement])),
            Field::need("amount", FieldKind::Amount),
            Field::need("payee_account", FieldKind::Hash),
        ],
        submitters: &[Role::ProgrammeOwner, Role::Charity],
        entitled: reissued_by_owner,
        approvers: released_by,
        check: can_reissue,
        sequence: |scene| rules::follows(scene, "payment"),
        propose: |scene| plan_reissue(scene).and_then(|plan| movement::propose(scene, plan)),
        take_effect: |scene| movement::take_effect(scene, plan_reissue),
        void: movement::void,
        ..RecordType::BASE
    },
    RecordType {
        name: "refund",
        zh: "退回款处置",
        area: Area::Fund,
        fields: &[
            Field::need("amount", FieldKind::Amount),
            Field::need("from", ACCOUNT),
            Field::need("to", ACCOUNT),
            Field::need("reason", FieldKind::Code),
        ],
        submitters: &[Role::ProgrammeOwner, Role::Charity],
        entitled: refunded_by_owner,
        approvers: with_finance,
        check: can_refund,
        propose: |scene| plan_refund(scene).and_then(|plan| movement::propose(scene, plan)),
        take_effect: |scene| movement::take_effect(scene, plan_refund),
        void: movement::void,
        ..RecordType::BASE
    },
];

// ---- payment_reissue ----

/// A returned payment, and the posting that pays it again.
struct Again {
    original: Ref,
    earlier: Arc<Movement>,
    details: Payment,
    posting: Posting,
}

impl Again {
    fn first(&self) -> Ref {
        self.details.first.as_ref().unwrap_or(&self.original).clone()
    }
}

fn reissued_by_owner(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = rules::programme_of_movement(scene, "payment")?;
    rules::acts_as(scene, &programme, Part::Owner)
}

fn released_by(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    let (_, programme) = rules::programme_of_movement(scene, "payment")?;
    let amount = scene.record.need("amount")?;
    payment::release_needs(scene, &programme, amount)
}

fn again(scene: &mut Scene<'_>) -> Verdict<Again> {
    let original: Ref = scene.record.need("payment")?;
    let earlier = book::movement(scene, &original)?;
    let (Some(paid), Some(details)) = (earlier.postings.first(), earlier.payment.clone()) else {
        return reject(3002, format!("{original} is no payment"));
    };
    let Some(debit) = details.held_in.clone() else {
        return reject(3223, format!("nothing of {original} was returned"));
    };
    let account = book::account(scene, &paid.credit)?;
    let programme = book::programme(scene, &earlier.programme)?;
    let place =
        Place { kind: AccountKind::Paid, agency: &account.agency, year: account.year, earmark: None, above: None };
    let credit = rules::account_in_open_year(scene, (&earlier.programme, &programme), place)?;
    let posting = Posting { debit, credit, amount: scene.record.need("amount")? };
    Ok(Again { original, earlier, details, posting })
}

fn can_reissue(scene: &mut Scene<'_>) -> Verdict {
    let again = again(scene)?;
    let amount = again.posting.amount;
    if let Some(award) = &again.earlier.entitlement {
        payment::within_value(scene, award, amount)?;
    }
    let legs = rules::legs(scene, &again.posting)?;
    rules::covered(scene, &legs)?;
    rules::one_programme(&legs)?;
    if scene.mode == Mode::Live {
        is_due_again(scene, &again)?;
    }
    rules::earmarked(&legs)?;
    rules::open(scene, &legs)?;
    if let (Some(award), Mode::Live) = (&again.earlier.entitlement, scene.mode) {
        let entitlement = entitlement::load(scene, award)?;
        payment::within_total(scene, (award, &entitlement), amount)?;
    }
    within_returns(scene, &again)?;
    pattern::repeated_beside(scene, &pattern_of(&again), &[&again.original, &again.first()])?;
    pattern::near_threshold(scene, amount)
}

/// What 3911 compares: as in a payment, nobody under a list, where a person's second payment is 3209's matter.
fn pattern_of(again: &Again) -> Pattern {
    let person = again.details.recipient.map(|person| hex::encode(person.0));
    let who = person.or(again.details.party.clone()).filter(|_| again.details.line.is_none());
    Pattern { programme: again.earlier.programme.clone(), who, amount: again.posting.amount }
}

/// 3209 to 3212, as for every payment: the claim is not another's by now, and who was entitled is so still.
fn is_due_again(scene: &mut Scene<'_>, again: &Again) -> Verdict {
    let programme = programme_of(scene, again)?;
    let claim = claim_of(scene, again)?;
    if let Some(claim) = &claim {
        claim::is_first(scene, &programme, claim)?;
    }
    if let Some(award) = &again.earlier.entitlement {
        let entitlement = entitlement::load(scene, award)?;
        payment::is_still_entitled(scene, (award, &entitlement), &again.details)?;
    }
    let payee = (again.details.recipient, again.details.party.as_deref());
    payment::account_is_registered(scene, &programme.1, payee)?;
    claim.map_or(Ok(()), |claim| claim::is_exclusive(scene, &programme.1, &claim))
}

fn programme_of(scene: &mut Scene<'_>, again: &Again) -> Verdict<(Ref, Arc<Programme>)> {
    let reference = again.earlier.programme.clone();
    let programme = book::programme(scene, &reference)?;
    Ok((reference, programme))
}

/// The claim of the payment that the chain of reissues began with.
fn claim_of(scene: &mut Scene<'_>, again: &Again) -> Verdict<Option<Claim>> {
    let Some(award) = &again.earlier.entitlement else { return Ok(None) };
    let entitlement = entitlement::load(scene, award)?;
    Ok(Claim::of((award, &entitlement), &again.details, again.first()))
}

/// 3223: what is paid again stays within what the bank returned, recoveries apart.
fn within_returns(scene: &mut Scene<'_>, again: &Again) -> Verdict {
    let own = rules::own_amount(scene)?;
    let before = again.details.reissued.saturating_sub(own);
    let (returned, amount) = (again.details.returned, again.posting.amount);
    if scene.mode != Mode::Live || before.saturating_add(amount) <= returned {
        return Ok(());
    }
    let programme = &again.earlier.programme;
    let (returned, before) = (money(scene, programme, returned)?, money(scene, programme, before)?);
    let amount = money(scene, programme, amount)?;
    reject(3223, format!("{}: returned {returned}, reissued {before}, now {amount}", again.original))
}

fn plan_reissue(scene: &mut Scene<'_>) -> Verdict<Movement> {
    let again = again(scene)?;
    if scene.mode == Mode::Live
        && let Some(claim) = claim_of(scene, &again)?
    {
        let programme = programme_of(scene, &again)?;
        claim::take(scene, &programme, &claim)?;
    }
    pattern::remember(scene, &pattern_of(&again))?;
    let payment = Payment {
        first: Some(again.first()),
        payee_account: scene.record.need("payee_account")?,
        original: Some(again.original),
        returned: 0,
        recovered: 0,
        reissued: 0,
        held_in: None,
        ..again.details
    };
    let at_bank = scene.mode == Mode::Live;
    let movement = Movement::new(MovementKind::Reissue, again.earlier.programme.clone(), vec![again.posting]);
    Ok(Movement {
        payment: Some(payment),
        entitlement: again.earlier.entitlement.clone(),
        state: MovementState::Proposed,
        ..movement.at_bank(at_bank)
    })
}

// ---- refund ----

fn refunded_by_owner(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = rules::programme_of_account(scene, "from")?;
    rules::acts_as(scene, &programme, Part::Owner)
}

fn with_finance(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    Ok(rules::by_finance(&rules::programme_of_account(scene, "from")?.1))
}

fn stated(scene: &Scene<'_>) -> Verdict<Posting> {
    Ok(Posting {
        debit: scene.record.need("from")?,
        credit: scene.record.need("to")?,
        amount: scene.record.need("amount")?,
    })
}

fn can_refund(scene: &mut Scene<'_>) -> Verdict {
    let posting = stated(scene)?;
    let from = AccountKind::Returned;
    let pairs = [(from, AccountKind::Allotment), (from, AccountKind::Commitment), (from, AccountKind::Source)];
    rules::kinds(scene, &posting, &pairs)?;
    let legs = rules::legs(scene, &posting)?;
    came_from(scene, &legs)?;
    rules::movable(scene, &posting)?;
    origin::goes_back(scene, &legs)
}

/// 3002, in live programmes: within the programme, what came back goes to the ALLOTMENT of its agency, year and earmark, or
/// to a COMMITMENT of its agency.
fn came_from(scene: &Scene<'_>, legs: &Legs) -> Verdict {
    let (from, to) = (&legs.debit, &legs.credit);
    let place = (from.year, &from.earmark) == (to.year, &to.earmark);
    let fits = match to.kind {
        AccountKind::Allotment => from.agency == to.agency && place,
        AccountKind::Commitment => from.agency == to.agency,
        _ => true,
    };
    // Two programmes are 3203's matter.
    if fits || scene.mode != Mode::Live || from.programme != to.programme {
        return Ok(());
    }
    reject(3002, format!("what {} holds did not come from {}", legs.posting.debit, legs.posting.credit))
}

/// A refund to the source crosses the bank; back into the programme it does not.
fn plan_refund(scene: &mut Scene<'_>) -> Verdict<Movement> {
    let posting = stated(scene)?;
    let programme = book::account(scene, &posting.debit)?.programme.clone();
    let to_source = book::account(scene, &posting.credit)?.kind == AccountKind::Source;
    let at_bank = to_source && scene.mode == Mode::Live;
    Ok(Movement::new(MovementKind::Refund, programme, vec![posting]).at_bank(at_bank))
}
