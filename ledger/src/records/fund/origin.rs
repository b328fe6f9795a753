//! Where money came from: what a SOURCE gave under an earmark, and an ALLOTMENT to a COMMITMENT, and has not got back. What
//! goes back goes no other way than it came, so that neither a gift becomes the treasury's nor one agency's budget another's.
//! Live programmes alone are judged, and counted.

use super::account::{Account, AccountKind};
use super::book;
use super::movement::Posting;
use super::rules::Legs;
use super::shown::money;
use super::sums::Step;
use crate::records::object::Mode;
use crate::records::scene::{Scene, Verdict, reject};
use crate::state::key::{self, Key};

/// Which way a posting goes between a giver and what it gives to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    Back,
}

/// The counter that a posting changes.
fn counter(posting: &Posting, debit: &Account, credit: &Account) -> Option<(Key, Way)> {
    use AccountKind::{Allotment, Appropriation, Commitment, Returned, Source};
    let earmark = |account: &Account| account.earmark.clone().unwrap_or_default();
    let (from, to) = (posting.debit.key_part(), posting.credit.key_part());
    match (debit.kind, credit.kind) {
        (Source, Appropriation) => Some((key::given(&from, &earmark(credit)), Way::Out)),
        (Appropriation | Returned, Source) => Some((key::given(&to, &earmark(debit)), Way::Back)),
        (Allotment, Commitment) => Some((key::given(&from, &to), Way::Out)),
        (Commitment, Allotment) => Some((key::given(&to, &from), Way::Back)),
        _ => None,
    }
}

/// Counts one step of a posting: given once it is posted, taken back from its reservation on.
pub fn follow(scene: &mut Scene<'_>, posting: &Posting, (debit, credit): (&Account, &Account), step: Step) -> Verdict {
    let Some((key, way)) = counter(posting, debit, credit).filter(|_| scene.mode == Mode::Live) else { return Ok(()) };
    let left: u64 = scene.draft.get(&key)?.unwrap_or_default();
    let after = match (way, step) {
        (Way::Out, Step::Post | Step::PostAtOnce) | (Way::Back, Step::Void) => left.checked_add(posting.amount),
        (Way::Back, Step::Reserve | Step::PostAtOnce) => Some(left.saturating_sub(posting.amount)),
        (Way::Out, Step::Reserve | Step::Void) | (Way::Back, Step::Post) => return Ok(()),
    };
    match after {
        Some(after) => Ok(scene.draft.put(key, &after)?),
        None => reject(3222, format!("what {} gave would pass the limit of 64 bits", posting.debit)),
    }
}

/// 3202: an ALLOTMENT takes back what it committed. 3213: a SOURCE takes back what it gave under the earmark; the money of a
/// programme with one SOURCE is all that one's.
pub fn goes_back(scene: &mut Scene<'_>, legs: &Legs) -> Verdict {
    let (posting, to) = (&legs.posting, legs.credit.kind);
    let Some((key, Way::Back)) = counter(posting, &legs.debit, &legs.credit) else { return Ok(()) };
    let programme = book::programme(scene, &legs.debit.programme)?;
    if scene.mode != Mode::Live || to == AccountKind::Source && programme.sources.len() == 1 {
        return Ok(());
    }
    let left = scene.draft.get::<u64>(&key)?.unwrap_or_default().saturating_add(legs.own);
    if posting.amount <= left {
        return Ok(());
    }
    let (left, amount) =
        (money(scene, &legs.debit.programme, left)?, money(scene, &legs.debit.programme, posting.amount)?);
    if to == AccountKind::Source {
        let earmark = legs.debit.earmark.as_deref().unwrap_or("none");
        return reject(3213, format!("{} gave {left} of earmark {earmark}, would take back {amount}", posting.credit));
    }
    reject(3202, format!("{} committed {left} to {}, would take back {amount}", posting.credit, posting.debit))
}
