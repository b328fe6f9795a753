//! Rules that several kinds of movement share: who acts on a programme, cover, one programme and currency, earmarks, open
//! years, bank references. Each is named by its code; what only one record type needs stands with it.

use std::sync::Arc;

use super::account::{Account, AccountKind, earmarks_agree};
use super::book::{self, Place};
use super::movement::{self, Movement, MovementState, Posting};
use super::programme::Programme;
use super::shown::money;
use crate::records::object::{Mode, Ref, Subject};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::waiting::Need;
use crate::state::execute::Finding;
use crate::state::key;

/// A posting with the two accounts as they stand.
#[derive(Debug, Clone)]
pub struct Legs {
    pub posting: Posting,
    pub debit: Arc<Account>,
    pub credit: Arc<Account>,
    /// What the record itself has already reserved on the debit account, at its approval.
    pub own: u64,
}

/// Reads both accounts of a posting.
pub fn legs(scene: &mut Scene<'_>, posting: &Posting) -> Verdict<Legs> {
    let own = own_reservation(scene, &posting.debit)?;
    let debit = book::account(scene, &posting.debit)?;
    let credit = book::account(scene, &posting.credit)?;
    Ok(Legs { posting: posting.clone(), debit, credit, own })
}

fn own_reservation(scene: &mut Scene<'_>, debit: &Ref) -> Verdict<u64> {
    Ok(match movement::own(scene)? {
        Some(movement) if movement.state == MovementState::Proposed => movement
            .postings
            .iter()
            .filter(|posting| posting.debit == *debit)
            .fold(0u64, |sum, posting| sum.saturating_add(posting.amount)),
        Some(_) | None => 0,
    })
}

/// What the record itself already counts under an entitlement, at its approval.
pub fn own_amount(scene: &mut Scene<'_>) -> Verdict<u64> {
    Ok(movement::own(scene)?
        .filter(|movement| movement.state == MovementState::Proposed)
        .map_or(0, |movement| movement.amount()))
}

/// 3201, 3203, 3213, 3216: what every movement of one posting must satisfy.
pub fn movable(scene: &mut Scene<'_>, posting: &Posting) -> Verdict<Legs> {
    let legs = legs(scene, posting)?;
    covered(scene, &legs)?;
    one_programme(&legs)?;
    earmarked(&legs)?;
    open(scene, &legs)?;
    Ok(legs)
}

/// 3201. A hit of 3202, 3207 or 3208 says it already.
pub fn covered(scene: &mut Scene<'_>, legs: &Legs) -> Verdict {
    let said = scene.flags().iter().any(|flag| matches!(flag.code, 3202 | 3207 | 3208));
    let unstated = scene.mode == Mode::Strict && legs.debit.assumed;
    let available = legs.debit.sums.available().saturating_add(legs.own);
    let amount = legs.posting.amount;
    if !legs.debit.kind.is_limited() || said || unstated || amount <= available {
        return Ok(());
    }
    let programme = &legs.debit.programme;
    let (available, amount) = (money(scene, programme, available)?, money(scene, programme, amount)?);
    scene.reject_or_flag(3201, format!("account {}: available {available}, asked {amount}", legs.posting.debit))
}

/// 3203.
pub fn one_programme(legs: &Legs) -> Verdict {
    if legs.debit.programme == legs.credit.programme {
        return Ok(());
    }
    reject(3203, format!("from programme {}, to programme {}", legs.debit.programme, legs.credit.programme))
}

/// 3213.
pub fn earmarked(legs: &Legs) -> Verdict {
    if earmarks_agree(&legs.debit, &legs.credit) {
        return Ok(());
    }
    let name = |account: &Account| account.earmark.clone().unwrap_or_else(|| "none".to_owned());
    reject(3213, format!("from earmark {}, to earmark {}", name(&legs.debit), name(&legs.credit)))
}

/// 3216, in live programmes: the programme, both accounts and the year of what is paid are open.
pub fn open(scene: &mut Scene<'_>, legs: &Legs) -> Verdict {
    if scene.mode != Mode::Live {
        return Ok(());
    }
    let programme = book::programme(scene, &legs.debit.programme)?;
    programme_open(&legs.debit.programme, &programme)?;
    if legs.debit.closed {
        return reject(3216, format!("account {} is closed", legs.posting.debit));
    }
    if legs.credit.closed {
        return reject(3216, format!("account {} is closed", legs.posting.credit));
    }
    let year = legs.credit.year;
    if legs.credit.kind == AccountKind::Paid && programme.closed_years.contains(&year) {
        return reject(3216, format!("year {year} is closed"));
    }
    Ok(())
}

/// A proposal that opens something with a trail stands on that trail itself: whoever folds the trail needs its fields.
pub fn begin_trail(scene: &mut Scene<'_>) -> Verdict {
    scene.touch(Subject::Record(scene.record.reference.clone()));
    Ok(())
}

/// 3216 for a programme alone.
pub fn programme_open(reference: &Ref, programme: &Programme) -> Verdict {
    if programme.closed { reject(3216, format!("programme {reference} is closed")) } else { Ok(()) }
}

/// 3002 for the kinds of accounts that a movement joins: `pairs` lists (debit, credit).
pub fn kinds(scene: &mut Scene<'_>, posting: &Posting, pairs: &[(AccountKind, AccountKind)]) -> Verdict {
    let debit = book::account(scene, &posting.debit)?.kind;
    let credit = book::account(scene, &posting.credit)?.kind;
    if pairs.contains(&(debit, credit)) {
        return Ok(());
    }
    reject(3002, format!("{} is a {}, {} a {}", posting.debit, debit.code(), posting.credit, credit.code()))
}

/// The account of a kind in a year, or, once that year is closed, in the next open one (3002 where none was opened).
pub fn account_in_open_year(scene: &Scene<'_>, programme: (&Ref, &Programme), place: Place<'_>) -> Verdict<Ref> {
    let (reference, programme) = programme;
    let later = programme.years.iter().copied().filter(|year| *year > place.year);
    for year in std::iter::once(place.year).chain(later) {
        if programme.closed_years.contains(&year) {
            continue;
        }
        if let Some(found) = book::find(scene, reference, &Place { year, ..place })? {
            return Ok(found);
        }
    }
    let (kind, agency, year) = (place.kind.code(), place.agency, place.year);
    reject(3002, format!("no {kind} account of {agency} is open in {year} or later"))
}

// ---- who acts (3003) ----

/// The part of a programme that an agency plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Owner,
    Finance,
    Bank,
    Supervisor,
}

/// The signer's agency is the one that the programme names for this part.
pub fn acts_as(scene: &Scene<'_>, programme: &Programme, part: Part) -> Verdict {
    let (name, agency) = match part {
        Part::Owner => ("owner", &programme.owner),
        Part::Finance => ("finance", &programme.finance),
        Part::Bank => ("bank", &programme.bank),
        Part::Supervisor => ("supervisor", &programme.supervisor),
    };
    if scene.signer.agency == *agency {
        return Ok(());
    }
    reject(3003, format!("{name} of the programme is {agency}, not {}", scene.signer.agency))
}

/// The programme of the account that the body's field `from` or another names.
pub fn programme_of_account(scene: &mut Scene<'_>, field: &str) -> Verdict<(Ref, Arc<Programme>)> {
    let reference: Ref = scene.record.need(field)?;
    let account = book::account(scene, &reference)?;
    let programme = book::programme(scene, &account.programme)?;
    Ok((account.programme.clone(), programme))
}

/// The programme of the movement that a field names, and the movement.
pub fn programme_of_movement(scene: &mut Scene<'_>, field: &str) -> Verdict<(Arc<Movement>, Arc<Programme>)> {
    let reference: Ref = scene.record.need(field)?;
    let movement = book::movement(scene, &reference)?;
    let programme = book::programme(scene, &movement.programme)?;
    Ok((movement, programme))
}

/// One approval by finance of the programme.
pub fn by_finance(programme: &Programme) -> Vec<Need> {
    vec![Need::of(&programme.finance, Role::Finance)]
}

// ---- dates (3009) ----

const DATE: &str = "effective_date";

/// 3009: not effective before the record that a field names. A day that an import filled in decides nothing.
pub fn follows(scene: &mut Scene<'_>, field: &str) -> Verdict {
    let Some(reference) = scene.record.find::<Ref>(field) else { return Ok(()) };
    let effective = scene.record.effective;
    let filled = |names: &[String]| names.iter().any(|name| name == DATE);
    let assumed = scene.record.find::<Vec<String>>("defaults").is_some_and(|names| filled(&names));
    let Some(leaf) = scene.leaf(&reference)? else { return Ok(()) };
    let (earlier, index) = (leaf.effective, leaf.index);
    if assumed || effective >= earlier {
        return Ok(());
    }
    if leaf.flags.contains(&3707) {
        let subjects = Arc::clone(&leaf.subjects);
        if date_was_filled(scene, index, &subjects)? {
            return Ok(());
        }
    }
    scene.reject_or_flag(3009, format!("effective {effective}, {reference} is effective {earlier}"))
}

/// Whether 3707 of an earlier record, as its finding says, was about its day.
fn date_was_filled(scene: &Scene<'_>, index: u64, subjects: &[Subject]) -> Verdict<bool> {
    for subject in subjects.iter().filter_map(Subject::record) {
        let finding: Option<Finding> = scene.draft.get(&key::finding(&subject.key_part(), index, 3707))?;
        if let Some(finding) = finding {
            return Ok(finding.detail.split(", ").any(|name| name == DATE));
        }
    }
    Ok(false)
}

// ---- bank evidence (3206) ----

/// 3206, in live programmes: the reference is given and this bank has not used it for any record.
pub fn bank_reference_is_new(scene: &mut Scene<'_>) -> Verdict {
    if scene.mode != Mode::Live {
        return Ok(());
    }
    let Some(code) = scene.record.find::<String>("bank_ref").filter(|code| !code.is_empty()) else {
        return reject(3206, "no bank reference is given");
    };
    if scene.record.find::<[u8; 32]>("statement") == Some([0; 32]) {
        return reject(3206, "no statement is given as evidence");
    }
    let name = format!("{}.{code}", scene.signer.agency);
    match scene.code("bank", &name)? {
        Some(holder) => reject(3206, format!("bank reference {code} stands in {holder}")),
        None => Ok(()),
    }
}

/// The scene's record takes its bank reference.
pub fn claim_bank_reference(scene: &mut Scene<'_>) -> Verdict {
    match scene.record.find::<String>("bank_ref") {
        Some(code) if scene.mode == Mode::Live => {
            let name = format!("{}.{code}", scene.signer.agency);
            Ok(scene.claim_code("bank", &name)?)
        }
        Some(_) | None => Ok(()),
    }
}
