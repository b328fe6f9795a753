//! The book: reads accounts, programmes and movements, and applies a movement's postings to all the sums that it
//! changes: two accounts, the programme, the currency's totals, and what is claimed under an entitlement. Which
//! movements are allowed is decided before, by `rules` and the record types.

use std::sync::Arc;

use super::account::{Account, AccountKind};
use super::entitlement;
use super::movement::{Movement, MovementKind, Posting};
use super::origin;
use super::programme::Programme;
use super::sums::{Side, Step, Sums};
use crate::records::object::{Mode, Object, Ref, Subject};
use crate::records::scene::{Scene, Verdict, reject};
use crate::state::{StateFault, key};

/// The account under a reference that the schema or an index has found to be one.
pub fn account(scene: &mut Scene<'_>, reference: &Ref) -> Verdict<Arc<Account>> {
    match scene.seen(reference)? {
        Some(Object::Account(account)) => Ok(Arc::clone(account)),
        _ => Err(StateFault::Invariant("a reference to an account leads to none").into()),
    }
}

/// The programme under a reference that an account or movement stores.
pub fn programme(scene: &mut Scene<'_>, reference: &Ref) -> Verdict<Arc<Programme>> {
    match scene.seen(reference)? {
        Some(Object::Programme(programme)) => Ok(Arc::clone(programme)),
        _ => Err(StateFault::Invariant("a reference to a programme leads to none").into()),
    }
}

/// The movement under a reference that the schema has found to be one.
pub fn movement(scene: &mut Scene<'_>, reference: &Ref) -> Verdict<Arc<Movement>> {
    match scene.seen(reference)? {
        Some(Object::Movement(movement)) => Ok(Arc::clone(movement)),
        _ => Err(StateFault::Invariant("a reference to a movement leads to none").into()),
    }
}

/// The programme that the record's common field `subject` names; records that need it are rejected without (3002).
pub fn subject(scene: &mut Scene<'_>) -> Verdict<(Ref, Arc<Programme>)> {
    let Some(reference) = scene.record.find::<Ref>("subject") else {
        return reject(3002, "the record names no programme as its subject");
    };
    match scene.seen(&reference)? {
        Some(Object::Programme(programme)) => Ok((reference, Arc::clone(programme))),
        _ => reject(3002, format!("subject {reference} is not a programme")),
    }
}

/// What makes an account the only one of its kind within a programme.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub kind: AccountKind,
    pub agency: &'a str,
    pub year: u64,
    pub earmark: Option<&'a str>,
    /// The award of a COMMITMENT.
    pub above: Option<&'a Ref>,
}

/// Room for the name of most places.
const NAME_ROOM: usize = 160;

impl Place<'_> {
    /// `year:programme:kind:agency:above:earmark`, written in one piece: every payment asks for one.
    fn key(&self, programme: &Ref) -> key::Key {
        let mut name = String::with_capacity(NAME_ROOM);
        name.push_str(&self.year.to_string());
        name.push(':');
        programme.write_key_part(&mut name);
        for part in [self.kind.code(), self.agency] {
            name.push(':');
            name.push_str(part);
        }
        name.push(':');
        if let Some(above) = self.above {
            above.write_key_part(&mut name);
        }
        name.push(':');
        name.push_str(self.earmark.unwrap_or_default());
        key::code("account", &name)
    }
}

/// The account at a place, if one was opened.
pub fn find(scene: &Scene<'_>, programme: &Ref, place: &Place<'_>) -> Result<Option<Ref>, StateFault> {
    scene.draft.get(&place.key(programme))
}

/// The scene's own record becomes the account at a place.
pub fn occupy(scene: &mut Scene<'_>, programme: &Ref, place: &Place<'_>) -> Result<(), StateFault> {
    let holder = scene.record.reference.clone();
    scene.draft.put(place.key(programme), &holder)
}

/// Key of the list of a programme's accounts that the close of a year looks at.
pub fn year_key(programme: &Ref, year: u64) -> key::Key {
    key::code("accounts", &format!("{year}:{}", programme.key_part()))
}

/// The record joins the trails of a movement's programme and accounts.
pub fn touch(scene: &mut Scene<'_>, movement: &Movement) {
    scene.touch(Subject::Record(movement.programme.clone()));
    for posting in &movement.postings {
        scene.touch(Subject::Record(posting.debit.clone()));
        scene.touch(Subject::Record(posting.credit.clone()));
    }
}

/// Applies one step of all of a movement's postings (3222).
pub fn apply(scene: &mut Scene<'_>, movement: &Movement, step: Step) -> Verdict {
    let mut programme = Arc::unwrap_or_clone(programme(scene, &movement.programme)?);
    for posting in &movement.postings {
        let (debit, credit) = (account(scene, &posting.debit)?, account(scene, &posting.credit)?);
        origin::follow(scene, posting, (&debit, &credit), step)?;
        // Held no longer, for their leaves are changed in place.
        drop((debit, credit));
        post(scene, &mut programme, (movement.kind, posting), step)?;
    }
    scene.put(&movement.programme, Object::Programme(Arc::new(programme)))?;
    touch(scene, movement);
    if movement.entitlement.is_some() {
        entitlement::follow(scene, movement, step)?;
    }
    Ok(())
}

fn post(
    scene: &mut Scene<'_>,
    programme: &mut Programme,
    (kind, posting): (MovementKind, &Posting),
    step: Step,
) -> Verdict {
    let mut debit = Arc::unwrap_or_clone(account(scene, &posting.debit)?);
    debit.sums = stepped(&posting.debit, debit.sums, step, (Side::Debit, posting.amount))?;
    if debit.kind.holds_money() {
        programme.held = stepped(&debit.programme, programme.held, step, (Side::Debit, posting.amount))?;
    }
    let (assumed, debit_kind) = (debit.assumed || assumes_budget(scene, kind), debit.kind);
    let limits = (kind, step, posting.amount);
    narrow(&mut debit, limits);
    moved(&mut debit, scene, step);
    scene.put(&posting.debit, Object::Account(Arc::new(debit)))?;
    let mut credit = Arc::unwrap_or_clone(account(scene, &posting.credit)?);
    credit.sums = stepped(&posting.credit, credit.sums, step, (Side::Credit, posting.amount))?;
    if credit.kind.holds_money() {
        programme.held = stepped(&credit.programme, programme.held, step, (Side::Credit, posting.amount))?;
    }
    if kind == MovementKind::Commitment && credit.parent.is_none() {
        credit.parent = Some(posting.debit.clone());
    }
    let passes_on = matches!(kind, MovementKind::Appropriation | MovementKind::Allotment | MovementKind::Commitment);
    credit.assumed |= assumed && passes_on;
    widen(&mut credit, debit_kind, limits);
    moved(&mut credit, scene, step);
    scene.put(&posting.credit, Object::Account(Arc::new(credit)))?;
    total(scene, &programme.currency, step, posting.amount)
}

/// Only what is posted moves money: a proposal, or its end, makes nothing that lies idle look busy.
fn moved(account: &mut Account, scene: &Scene<'_>, step: Step) {
    if matches!(step, Step::Post | Step::PostAtOnce) {
        account.last_moved = account.last_moved.max(Some(scene.record.effective));
    }
}

fn stepped(place: &Ref, sums: Sums, step: Step, (side, amount): (Side, u64)) -> Verdict<Sums> {
    match sums.after(step, side, amount) {
        Some(sums) => Ok(sums),
        None => reject(3222, format!("{place}: a sum would pass the limit of 64 bits by {amount}")),
    }
}

/// Whether an import filled in the amount of a budget that its source does not state.
fn assumes_budget(scene: &Scene<'_>, kind: MovementKind) -> bool {
    let budget = matches!(kind, MovementKind::Appropriation | MovementKind::Allotment);
    budget
        && scene.mode != Mode::Live
        && scene.record.find::<Vec<String>>("defaults").is_some_and(|names| names.iter().any(|name| name == "amount"))
}

/// What leaves an account beside its sums: money passed down, a budget handed back.
fn narrow(debit: &mut Account, (kind, step, amount): (MovementKind, Step, u64)) {
    match (kind, step) {
        (MovementKind::Allotment, Step::Reserve | Step::PostAtOnce) => {
            debit.passed_down = debit.passed_down.saturating_add(amount);
        }
        (MovementKind::Allotment, Step::Void) => debit.passed_down = debit.passed_down.saturating_sub(amount),
        (MovementKind::Recall, Step::Post | Step::PostAtOnce) => debit.budget = debit.budget.saturating_sub(amount),
        _ => {}
    }
}

/// What enters an account beside its sums: a budget, or money that a child hands back.
fn widen(credit: &mut Account, from: AccountKind, (kind, step, amount): (MovementKind, Step, u64)) {
    if !matches!(step, Step::Post | Step::PostAtOnce) {
        return;
    }
    if kind == MovementKind::Allotment {
        credit.budget = credit.budget.saturating_add(amount);
    }
    if kind == MovementKind::Recall && from == AccountKind::Allotment {
        credit.passed_down = credit.passed_down.saturating_sub(amount);
    }
}

/// The currency's totals over the whole network.
fn total(scene: &mut Scene<'_>, currency: &str, step: Step, amount: u64) -> Verdict {
    if scene.totals(currency)?.step(step, amount) {
        return Ok(());
    }
    Err(StateFault::Invariant("a currency's totals cannot hold what its accounts hold").into())
}
