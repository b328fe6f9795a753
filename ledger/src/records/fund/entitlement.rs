//! What entitles a payee: an award_grant or a confirmed list, and what is committed to and claimed under it. Contracts
//! join here with their mechanism.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::award_grant::AwardGrant;
use super::book;
use super::list::List;
use super::movement::{Movement, MovementKind};
use super::sums::Step;
use crate::records::object::{Kind, Object, Ref};
use crate::records::scene::{Scene, Verdict, reject};
use crate::state::StateFault;

/// The kinds of objects that money may be committed to.
pub const KINDS: &[Kind] = &[Kind::AwardGrant, Kind::List];

/// What an entitlement has been used for, reservations included, less what came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Usage {
    /// Committed and not released again.
    #[n(0)]
    pub committed: u64,
    /// Paid or being paid.
    #[n(1)]
    pub claimed: u64,
}

/// An entitlement of any kind.
#[derive(Debug, Clone)]
pub enum Entitlement {
    Grant(Arc<AwardGrant>),
    List(List),
}

impl Entitlement {
    pub fn programme(&self) -> &Ref {
        match self {
            Self::Grant(grant) => &grant.programme,
            Self::List(list) => &list.programme,
        }
    }

    pub fn usage(&self) -> Usage {
        match self {
            Self::Grant(grant) => grant.usage,
            Self::List(list) => list.usage,
        }
    }

    /// The value that commitments and payments must not pass (3207, 3208); a list's lines limit themselves (3217).
    pub fn value(&self) -> Option<u64> {
        match self {
            Self::Grant(grant) => Some(grant.value),
            Self::List(_) => None,
        }
    }

    fn with_usage(self, usage: Usage) -> Object {
        match self {
            Self::Grant(grant) => Object::AwardGrant(Arc::new(AwardGrant { usage, ..Arc::unwrap_or_clone(grant) })),
            Self::List(list) => Object::List(list.with_usage(usage)),
        }
    }
}

/// The entitlement under a reference that the schema has found to be one.
pub fn load(scene: &mut Scene<'_>, reference: &Ref) -> Verdict<Entitlement> {
    match scene.seen(reference)? {
        Some(Object::AwardGrant(grant)) => Ok(Entitlement::Grant(Arc::clone(grant))),
        Some(Object::List(list)) => Ok(Entitlement::List(list.clone())),
        _ => Err(StateFault::Invariant("a reference to an entitlement leads to none").into()),
    }
}

/// One step of a movement changes what is committed or claimed under its entitlement, and what a payment's reissues add
/// up to.
pub fn follow(scene: &mut Scene<'_>, movement: &Movement, step: Step) -> Verdict {
    let Some(reference) = &movement.entitlement else { return Ok(()) };
    let entitlement = load(scene, reference)?;
    let mut usage = entitlement.usage();
    let amount = movement.amount();
    let begins = matches!(step, Step::Reserve | Step::PostAtOnce);
    let completes = matches!(step, Step::Post | Step::PostAtOnce);
    match movement.kind {
        MovementKind::Commitment => usage.committed = moved(usage.committed, amount, (begins, step == Step::Void))?,
        MovementKind::Decommitment => usage.committed = moved(usage.committed, amount, (false, completes))?,
        MovementKind::Payment | MovementKind::Reissue => {
            usage.claimed = moved(usage.claimed, amount, (begins, step == Step::Void))?;
        }
        MovementKind::Return | MovementKind::Recovery => {
            usage.claimed = moved(usage.claimed, amount, (false, completes))?;
        }
        MovementKind::Appropriation
        | MovementKind::Income
        | MovementKind::Allotment
        | MovementKind::Recall
        | MovementKind::Refund
        | MovementKind::YearClose
        | MovementKind::Deposit
        | MovementKind::DepositSettlement => {}
    }
    scene.put(reference, entitlement.with_usage(usage))?;
    reissued(scene, movement, (begins, step == Step::Void))
}

/// A reissue counts on the payment that it makes again.
fn reissued(scene: &mut Scene<'_>, movement: &Movement, direction: (bool, bool)) -> Verdict {
    let Some(original) = movement.payment.as_ref().and_then(|payment| payment.original.as_ref()) else {
        return Ok(());
    };
    let mut earlier = Arc::unwrap_or_clone(book::movement(scene, original)?);
    if let Some(payment) = earlier.payment.as_mut() {
        payment.reissued = moved(payment.reissued, movement.amount(), direction)?;
    }
    Ok(scene.put(original, Object::Movement(Arc::new(earlier)))?)
}

fn moved(sum: u64, amount: u64, (up, down): (bool, bool)) -> Verdict<u64> {
    let after = match (up, down) {
        (true, _) => sum.checked_add(amount),
        // An imported return may exceed what the same import paid under this entitlement.
        (false, true) => Some(sum.saturating_sub(amount)),
        (false, false) => Some(sum),
    };
    match after {
        Some(after) => Ok(after),
        None => reject(3222, format!("what is claimed would pass the limit of 64 bits by {amount}")),
    }
}
