//! Claims of a person: one payment under lists per programme, period, recipient and asset (3209), and none of any kind
//! beside a programme that excludes it (3212). A claim is free again when its payment failed, or came back whole and was
//! not made again. A payment and its reissues are one holder: a reissue claims for the payment that its chain began with.
//! A grant has no period: it is itself the holder while anything of it is paid or being paid, and meets every period.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::entitlement::Entitlement;
use super::movement::{MovementState, Payment};
use super::nullifier;
use super::period;
use super::programme::Programme;
use crate::records::object::{Object, Person, Ref};
use crate::records::scene::{Scene, Verdict, reject};
use crate::state::{StateFault, key};

/// The value of a nullifier: the entry that claimed last, and the payment or grant that holds the claim.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Nullifier {
    #[n(0)]
    pub index: u64,
    #[n(1)]
    pub record: Ref,
    /// In the claim of anything at all in a programme: others that stood when this one claimed.
    #[n(2)]
    pub others: Option<Vec<Ref>>,
}

impl Nullifier {
    fn holders(self) -> impl Iterator<Item = Ref> {
        std::iter::once(self.record).chain(self.others.unwrap_or_default())
    }
}

/// In place of the period in the key of what is claimed under grants; no list has it.
const EVERY_PERIOD: &str = "";

/// Who claims what, and the payment or grant that then holds it.
pub struct Claim {
    /// None under a grant.
    period: Option<String>,
    person: Person,
    asset: Option<String>,
    holder: Ref,
}

impl Claim {
    /// The claim of a payment to a person, held by that payment under a list, and by the grant itself under a grant.
    pub fn of((award, entitlement): (&Ref, &Entitlement), payment: &Payment, holder: Ref) -> Option<Self> {
        let person = payment.recipient?;
        Some(match entitlement {
            Entitlement::List(list) => {
                Self { period: Some(list.period.clone()), person, asset: payment.asset.clone(), holder }
            }
            Entitlement::Grant(_) => Self { period: None, person, asset: None, holder: award.clone() },
        })
    }

    /// The key under which this person claims this asset, or no asset, for a period of a programme.
    fn key(&self, scope: &str, programme: &Ref, period: &str) -> key::Key {
        let rule = format!("claim/{programme}");
        key::nullifier(scope, &nullifier::digest(&rule, period, &self.person.0, self.asset.as_deref()))
    }

    /// The key under which this person claims anything at all for a period of a programme.
    fn any_key(&self, scope: &str, programme: &Ref, period: &str) -> key::Key {
        let rule = format!("exclusive/{programme}");
        key::nullifier(scope, &nullifier::digest(&rule, period, &self.person.0, None))
    }

    /// The key of all periods for which this person ever claimed under lists of a programme.
    fn periods_key(&self, scope: &str, programme: &Ref) -> key::Key {
        let rule = format!("periods/{programme}");
        key::nullifier(scope, &nullifier::digest(&rule, EVERY_PERIOD, &self.person.0, None))
    }

    fn periods(&self, scene: &Scene<'_>, scope: &str, programme: &Ref) -> Result<Vec<String>, StateFault> {
        Ok(scene.draft.get(&self.periods_key(scope, programme))?.unwrap_or_default())
    }

    /// Those of them that share a day with this claim's.
    fn periods_met(&self, scene: &Scene<'_>, scope: &str, programme: &Ref) -> Result<Vec<String>, StateFault> {
        let mut periods = self.periods(scene, scope, programme)?;
        if let Some(own) = &self.period {
            periods.retain(|other| period::overlap(own, other));
        }
        Ok(periods)
    }
}

/// 3209. Grants are limited by their value instead.
pub fn is_first(scene: &mut Scene<'_>, (programme, details): &(Ref, Arc<Programme>), claim: &Claim) -> Verdict {
    if claim.period.is_none() {
        return Ok(());
    }
    for period in claim.periods_met(scene, &details.scope, programme)? {
        if let Some(holder) = standing(scene, &claim.key(&details.scope, programme, &period), claim)?.pop() {
            let person = hex::encode(claim.person.0);
            return reject(3209, format!("{programme}, period {period}, recipient {person} is claimed by {holder}"));
        }
    }
    Ok(())
}

/// 3212.
pub fn is_exclusive(scene: &mut Scene<'_>, programme: &Programme, claim: &Claim) -> Verdict {
    for other in &programme.exclusive_with {
        let mut periods = claim.periods_met(scene, &programme.scope, other)?;
        periods.push(EVERY_PERIOD.to_owned());
        for period in periods {
            if let Some(holder) = standing(scene, &claim.any_key(&programme.scope, other, &period), claim)?.pop() {
                return reject(3212, format!("the recipient is paid by exclusive programme {other}: {holder}"));
            }
        }
    }
    Ok(())
}

/// The claim is held from now on. Other claims that still stand keep the programme closed for excluded ones.
pub fn take(scene: &mut Scene<'_>, (programme, details): &(Ref, Arc<Programme>), claim: &Claim) -> Verdict {
    let scope = &details.scope;
    if let Some(period) = &claim.period {
        let held = Nullifier { index: scene.index, record: claim.holder.clone(), others: None };
        scene.draft.put(claim.key(scope, programme, period), &held)?;
        let mut periods = claim.periods(scene, scope, programme)?;
        if !periods.contains(period) {
            periods.push(period.clone());
            scene.draft.put(claim.periods_key(scope, programme), &periods)?;
        }
    }
    let any = claim.any_key(scope, programme, claim.period.as_deref().unwrap_or(EVERY_PERIOD));
    let known: Option<Nullifier> = scene.draft.get(&any)?;
    if claim.period.is_none() && known.is_some_and(|known| known.record == claim.holder) {
        // The grant holds it already; an instalment more changes nothing.
        return Ok(());
    }
    let others = standing(scene, &any, claim)?;
    let others = (!others.is_empty()).then_some(others);
    let beside = Nullifier { index: scene.index, record: claim.holder.clone(), others };
    Ok(scene.draft.put(any, &beside)?)
}

/// Who holds what is claimed under a key, but this claim's own and those whose claim is free again.
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
    let movement = match scene.seen(holder)? {
        Some(Object::Movement(movement)) => movement,
        Some(Object::AwardGrant(grant)) => return Ok(grant.usage.claimed > 0),
        _ => return Err(StateFault::Invariant("a claim is held by a record that is neither payment nor grant").into()),
    };
    Ok(match movement.state {
        MovementState::Failed | MovementState::Ended => false,
        MovementState::Proposed | MovementState::Released => true,
        MovementState::Posted => {
            !movement.payment.as_ref().is_some_and(|payment| payment.is_wholly_returned(movement.amount()))
        }
    })
}
