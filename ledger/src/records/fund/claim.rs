//! Claims under a list: one payment per programme, period, recipient and asset (3209), and none beside a programme that
//! excludes it (3212). A claim is free again when its payment failed, or came back whole and was not made again. A
//! payment and its reissues are one holder: a reissue claims for the payment that its chain began with.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::entitlement::Entitlement;
use super::movement::{MovementState, Payment};
use super::nullifier;
use super::programme::Programme;
use crate::records::object::{Object, Person, Ref};
use crate::records::scene::{Scene, Verdict, reject};
use crate::state::{StateFault, key};

/// The value of a nullifier: the entry that claimed last, and the payment that holds the claim.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Nullifier {
    #[n(0)]
    pub index: u64,
    #[n(1)]
    pub record: Ref,
    /// In the claim of anything at all in a programme: other payments that stood when this one claimed.
    #[n(2)]
    pub others: Option<Vec<Ref>>,
}

impl Nullifier {
    fn holders(self) -> impl Iterator<Item = Ref> {
        std::iter::once(self.record).chain(self.others.unwrap_or_default())
    }
}

/// Who claims what, and the payment that then holds it.
pub struct Claim {
    period: String,
    person: Person,
    asset: Option<String>,
    holder: Ref,
}

impl Claim {
    /// The claim of a payment under a list; grants are limited by their value instead.
    pub fn of(entitlement: &Entitlement, payment: &Payment, holder: Ref) -> Option<Self> {
        let Entitlement::List(list) = entitlement else { return None };
        Some(Self { period: list.period.clone(), person: payment.recipient?, asset: payment.asset.clone(), holder })
    }

    /// The key under which this person claims this asset, or no asset, in a programme.
    fn key(&self, scope: &str, programme: &Ref) -> key::Key {
        let rule = format!("claim/{programme}");
        key::nullifier(scope, &nullifier::digest(&rule, &self.period, &self.person.0, self.asset.as_deref()))
    }

    /// The key under which this person claims anything at all in a programme.
    fn any_key(&self, scope: &str, programme: &Ref) -> key::Key {
        let rule = format!("exclusive/{programme}");
        key::nullifier(scope, &nullifier::digest(&rule, &self.period, &self.person.0, None))
    }
}

/// 3209.
pub fn is_first(scene: &mut Scene<'_>, (programme, details): &(Ref, Arc<Programme>), claim: &Claim) -> Verdict {
    match standing(scene, &claim.key(&details.scope, programme), claim)?.pop() {
        Some(holder) => {
            let (period, person) = (&claim.period, hex::encode(claim.person.0));
            reject(3209, format!("{programme}, period {period}, recipient {person} is claimed by {holder}"))
        }
        None => Ok(()),
    }
}

/// 3212.
pub fn is_exclusive(scene: &mut Scene<'_>, programme: &Programme, claim: &Claim) -> Verdict {
    for other in &programme.exclusive_with {
        if let Some(holder) = standing(scene, &claim.any_key(&programme.scope, other), claim)?.pop() {
            return reject(3212, format!("the recipient is paid by exclusive programme {other}: {holder}"));
        }
    }
    Ok(())
}

/// The claim is held from now on. Claims of other assets that still stand keep the programme closed for excluded ones.
pub fn take(scene: &mut Scene<'_>, (programme, details): &(Ref, Arc<Programme>), claim: &Claim) -> Verdict {
    let (one, any) = (claim.key(&details.scope, programme), claim.any_key(&details.scope, programme));
    let others = standing(scene, &any, claim)?;
    let held = |others| Nullifier { index: scene.index, record: claim.holder.clone(), others };
    let (alone, beside) = (held(None), held((!others.is_empty()).then_some(others)));
    scene.draft.put(one, &alone)?;
    Ok(scene.draft.put(any, &beside)?)
}

/// The payments that hold what is claimed under a key, but this claim's own and those whose claim is free again.
fn standing(scene: &mut Scene<'_>, key: &key::Key, claim: &Claim) -> Verdict<Vec<Ref>> {
    let mut found = Vec::new();
    let Some(nullifier) = scene.draft.get::<Nullifier>(key)? else { return Ok(found) };
    for holder in nullifier.holders() {
        if holder != claim.holder && stands(scene, &holder)? {
            found.push(holder);
        }
    }
    Ok(found)
}

fn stands(scene: &mut Scene<'_>, holder: &Ref) -> Verdict<bool> {
    let Some(Object::Movement(movement)) = scene.object(holder)? else {
        return Err(StateFault::Invariant("a claim is held by a record that is no payment").into());
    };
    Ok(match movement.state {
        MovementState::Failed | MovementState::Ended => false,
        MovementState::Proposed | MovementState::Released => true,
        MovementState::Posted => {
            !movement.payment.as_ref().is_some_and(|payment| payment.is_wholly_returned(movement.amount()))
        }
    })
}
