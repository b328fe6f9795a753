//! Claims under a list: one payment per programme, period, recipient and asset (3209), and none beside a programme that
//! excludes it (3212). A claim is free again when its payment failed, or came back whole and was not made again.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::entitlement::Entitlement;
use super::movement::MovementState;
use super::nullifier;
use super::programme::Programme;
use crate::records::object::{Object, Person, Ref};
use crate::records::scene::{Scene, Verdict, reject};
use crate::state::{StateFault, key};

/// The value of a nullifier: the entry and the record that claim.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Nullifier {
    #[n(0)]
    pub index: u64,
    #[n(1)]
    pub record: Ref,
}

/// Who claims what.
struct Claim {
    period: String,
    person: Person,
    asset: Option<String>,
}

/// The claim of a payment under a list; grants are limited by their value instead.
fn claim(scene: &Scene<'_>, entitlement: &Entitlement) -> Option<Claim> {
    let Entitlement::List(list) = entitlement else { return None };
    Some(Claim {
        period: list.period.clone(),
        person: scene.record.find("recipient")?,
        asset: scene.record.find("asset"),
    })
}

impl Claim {
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
pub fn is_first(
    scene: &mut Scene<'_>,
    (programme, details): &(Ref, Arc<Programme>),
    entitlement: &Entitlement,
) -> Verdict {
    let Some(claim) = claim(scene, entitlement) else { return Ok(()) };
    match standing(scene, claim.key(&details.scope, programme))? {
        Some(holder) => {
            let (period, person) = (&claim.period, hex::encode(claim.person.0));
            reject(3209, format!("{programme}, period {period}, recipient {person} is claimed by {holder}"))
        }
        None => Ok(()),
    }
}

/// 3212.
pub fn is_exclusive(scene: &mut Scene<'_>, programme: &Programme, entitlement: &Entitlement) -> Verdict {
    let Some(claim) = claim(scene, entitlement) else { return Ok(()) };
    for other in &programme.exclusive_with {
        if let Some(holder) = standing(scene, claim.any_key(&programme.scope, other))? {
            return reject(3212, format!("the recipient is paid by exclusive programme {other}: {holder}"));
        }
    }
    Ok(())
}

/// The scene's record claims.
pub fn take(scene: &mut Scene<'_>, (programme, details): &(Ref, Arc<Programme>), entitlement: &Entitlement) -> Verdict {
    let Some(claim) = claim(scene, entitlement) else { return Ok(()) };
    let scope = &details.scope;
    let own = Nullifier { index: scene.index, record: scene.record.reference.clone() };
    scene.draft.put(claim.key(scope, programme), &own)?;
    // Another asset's claim that still stands keeps the programme closed for the excluded ones.
    if standing(scene, claim.any_key(scope, programme))?.is_none() {
        scene.draft.put(claim.any_key(scope, programme), &own)?;
    }
    Ok(())
}

/// The record that holds a claim, unless it is the scene's own or its claim is free again.
fn standing(scene: &mut Scene<'_>, key: key::Key) -> Verdict<Option<Ref>> {
    let Some(holder) = scene.draft.get::<Nullifier>(&key)?.map(|nullifier| nullifier.record) else { return Ok(None) };
    if holder == scene.record.reference {
        return Ok(None);
    }
    let Some(Object::Movement(movement)) = scene.object(&holder)? else {
        return Err(StateFault::Invariant("a claim is held by a record that is no payment").into());
    };
    let free = match movement.state {
        MovementState::Failed | MovementState::Ended => true,
        MovementState::Proposed | MovementState::Released => false,
        MovementState::Posted => {
            movement.payment.as_ref().is_some_and(|payment| payment.is_wholly_returned(movement.amount()))
        }
    };
    Ok((!free).then_some(holder))
}
