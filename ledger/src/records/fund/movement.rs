//! Movements: what a record that moves money leaves behind, and its life from proposal to its end. Which movement a
//! record makes is decided by the record types; the arithmetic is in `book`.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::sums::Step;
use super::{book, day};
use crate::crypto::Hash;
use crate::records::object::{Object, Person, Ref};
use crate::records::scene::{Scene, Verdict};

/// One balanced posting.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Posting {
    #[n(0)]
    pub debit: Ref,
    #[n(1)]
    pub credit: Ref,
    #[n(2)]
    pub amount: u64,
}

/// What a movement is, for the bank and the auditor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum MovementKind {
    #[n(0)]
    Appropriation,
    #[n(1)]
    Income,
    #[n(2)]
    Allotment,
    #[n(3)]
    Recall,
    #[n(4)]
    Commitment,
    #[n(5)]
    Decommitment,
    #[n(6)]
    Payment,
    /// A payment made again after its return.
    #[n(7)]
    Reissue,
    #[n(8)]
    Return,
    #[n(9)]
    Recovery,
    #[n(10)]
    Refund,
    #[n(11)]
    YearClose,
    #[n(12)]
    Deposit,
    #[n(13)]
    DepositSettlement,
}

/// Where a movement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum MovementState {
    /// Reserved, waiting for approval.
    #[n(0)]
    Proposed,
    /// Approved; the instruction is at the bank, and only the bank ends it.
    #[n(1)]
    Released,
    #[n(2)]
    Posted,
    /// The bank could not carry it out.
    #[n(3)]
    Failed,
    /// Rejected, cancelled or expired before it was released.
    #[n(4)]
    Ended,
}

/// What makes a movement a payment: whom it pays, for what, and what came back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Payment {
    #[n(0)]
    pub recipient: Option<Person>,
    #[n(1)]
    pub party: Option<String>,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub payee_account: Hash,
    /// The earmark of the money: PAID has none, but what comes back carries it again.
    #[n(3)]
    pub earmark: Option<String>,
    /// The payment that this one makes again.
    #[n(4)]
    pub original: Option<Ref>,
    /// Sum of its `payment_return`s.
    #[n(5)]
    pub returned: u64,
    /// Sum of its `recovery_receipt`s.
    #[n(6)]
    pub recovered: u64,
    /// Sum of its reissues, posted and pending.
    #[n(7)]
    pub reissued: u64,
    /// The RETURNED account that holds what came back last.
    #[n(8)]
    pub held_in: Option<Ref>,
    /// Under a list: the line that it pays.
    #[n(9)]
    pub line: Option<u64>,
    /// Under a list: what the line is for, where a person has several.
    #[n(10)]
    pub asset: Option<String>,
    /// The payment that a chain of reissues began with; its claim is theirs.
    #[n(11)]
    pub first: Option<Ref>,
}

impl Payment {
    /// Whether the payee is free to claim again: nothing is left paid, and nothing was or is being paid again.
    pub fn is_wholly_returned(&self, amount: u64) -> bool {
        self.returned == amount && self.reissued == 0
    }
}

/// The object of a record that moves money.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Movement {
    #[n(0)]
    pub kind: MovementKind,
    #[n(1)]
    pub state: MovementState,
    #[n(2)]
    pub programme: Ref,
    #[n(3)]
    pub postings: Vec<Posting>,
    /// Whether money crosses a bank, so that its confirmation posts and approval only releases.
    #[n(4)]
    pub at_bank: bool,
    #[n(5)]
    pub payment: Option<Payment>,
    /// The contract, list or grant that money is committed to, paid under, or comes back to.
    #[n(6)]
    pub entitlement: Option<Ref>,
}

impl Movement {
    pub fn new(kind: MovementKind, programme: Ref, postings: Vec<Posting>) -> Self {
        Self {
            kind,
            state: MovementState::Proposed,
            programme,
            postings,
            at_bank: false,
            payment: None,
            entitlement: None,
        }
    }

    pub fn at_bank(self, at_bank: bool) -> Self {
        Self { at_bank, ..self }
    }

    /// Sum of its postings; None where it passes the limit of 64 bits.
    pub fn total(&self) -> Option<u64> {
        self.postings.iter().try_fold(0u64, |sum, posting| sum.checked_add(posting.amount))
    }

    /// The amount of a movement of one posting.
    pub fn amount(&self) -> u64 {
        self.total().unwrap_or(u64::MAX)
    }
}

/// The movement that the scene's own record has already proposed: present at its approval.
pub fn own(scene: &mut Scene<'_>) -> Verdict<Option<Arc<Movement>>> {
    let reference = scene.record.reference.clone();
    match scene.seen(&reference)? {
        Some(Object::Movement(movement)) => Ok(Some(Arc::clone(movement))),
        _ => Ok(None),
    }
}

/// Reserves the postings of the scene's own record, which now waits.
pub fn propose(scene: &mut Scene<'_>, movement: Movement) -> Verdict {
    book::apply(scene, &movement, Step::Reserve)?;
    scene.create(Object::Movement(Arc::new(movement)));
    Ok(())
}

/// The scene's own record takes effect: what it reserved is posted, or released to the bank; what was never reserved
/// is posted at once. `plan` makes the movement of a record that takes effect without waiting.
pub fn take_effect(scene: &mut Scene<'_>, plan: fn(&mut Scene<'_>) -> Verdict<Movement>) -> Verdict {
    let reference = scene.record.reference.clone();
    match own(scene)? {
        Some(movement) if movement.at_bank => {
            let released = Movement { state: MovementState::Released, ..Arc::unwrap_or_clone(movement) };
            book::touch(scene, &released);
            Ok(scene.put(&reference, Object::Movement(Arc::new(released)))?)
        }
        Some(movement) => end(scene, &reference, movement, Step::Post),
        None => {
            let mut movement = plan(scene)?;
            book::apply(scene, &movement, Step::PostAtOnce)?;
            movement.state = MovementState::Posted;
            day::count(scene, &movement)?;
            scene.create(Object::Movement(Arc::new(movement)));
            Ok(())
        }
    }
}

/// Ends a reserved movement: `Post` turns it into money, `Void` undoes it.
pub fn end(scene: &mut Scene<'_>, reference: &Ref, movement: Arc<Movement>, step: Step) -> Verdict {
    book::apply(scene, &movement, step)?;
    let state = match (step, movement.state) {
        (Step::Post | Step::PostAtOnce, _) => MovementState::Posted,
        (Step::Void | Step::Reserve, MovementState::Released) => MovementState::Failed,
        (Step::Void | Step::Reserve, _) => MovementState::Ended,
    };
    let movement = Movement { state, ..Arc::unwrap_or_clone(movement) };
    if state == MovementState::Posted {
        day::count(scene, &movement)?;
    }
    Ok(scene.put(reference, Object::Movement(Arc::new(movement)))?)
}

/// The scene's own waiting record ends without effect.
pub fn void(scene: &mut Scene<'_>) -> Verdict {
    let reference = scene.record.reference.clone();
    match own(scene)? {
        Some(movement) if movement.state == MovementState::Proposed => end(scene, &reference, movement, Step::Void),
        Some(_) | None => Ok(()),
    }
}
