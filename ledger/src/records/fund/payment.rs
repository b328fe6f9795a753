//! Payments: a request against a COMMITMENT, for a payee whom a grant or a confirmed list entitles. Approval releases it
//! to the bank, which ends it (`bank`); an imported payment is posted at once.

use std::sync::Arc;

use super::account::AccountKind;
use super::award_grant::AwardGrant;
use super::book::{self, Place};
use super::claim::{self, Claim};
use super::entitlement::{self, Entitlement};
use super::list::{self, List, ListState};
use super::list_proof::ListProof;
use super::movement::{self, Movement, MovementKind, Payment, Posting};
use super::pattern::{self, Pattern};
use super::programme::Programme;
use super::rules::{self, Part};
use super::shown::{money, money_text};
use crate::codec::Value;
use crate::crypto::Hash;
use crate::records::object::{Kind, Mode, Object, Person, Ref};
use crate::records::registry::Recipient;
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::records::waiting::Need;
use crate::state::key;

const LIST_PROOF: &[Field] = &[
    Field::need("leaf_index", FieldKind::Count),
    Field::need("salt", FieldKind::Hash),
    Field::need("recipient", FieldKind::Recipient),
    Field::need("payee_account", FieldKind::Hash),
    Field::need("units", FieldKind::Count),
    Field::need("amount", FieldKind::Minor),
    Field::need("path", FieldKind::List(&FieldKind::Hash)),
];

pub const TYPES: &[RecordType] = &[RecordType {
    name: "payment_request",
    zh: "用款申请",
    area: Area::Fund,
    fields: &[
        Field::need("amount", FieldKind::Amount),
        Field::need("from", FieldKind::Ref(&[Kind::Account])),
        Field::may("recipient", FieldKind::Recipient),
        Field::may("party", FieldKind::Declared),
        Field::need("payee_account", FieldKind::Hash),
        Field::need("entitlement", FieldKind::Ref(entitlement::KINDS)),
        Field::may("list_proof", FieldKind::Map(LIST_PROOF)),
        Field::may("instalment", FieldKind::Count),
        Field::may("asset", FieldKind::Code),
        // The source's own reference, in imports.
        Field::may("bank_ref", FieldKind::Declared),
    ],
    submitters: &[Role::ProgrammeOwner, Role::Charity],
    entitled: by_owner,
    approvers: released_by,
    check: can_pay,
    sequence: |scene| rules::follows(scene, "entitlement"),
    propose,
    take_effect: |scene| movement::take_effect(scene, plan),
    void: movement::void,
    ..RecordType::BASE
}];

/// What the body asks for, with what its references lead to.
struct Request {
    posting: Posting,
    programme: (Ref, Arc<Programme>),
    award: Ref,
    entitlement: Entitlement,
    recipient: Option<Person>,
    party: Option<String>,
    payee_account: Hash,
    earmark: Option<String>,
    line: Option<ListProof>,
    asset: Option<String>,
}

impl Request {
    fn claim(&self, scene: &Scene<'_>) -> Option<Claim> {
        Claim::of((&self.award, &self.entitlement), &self.details(), scene.record.reference.clone())
    }

    /// The payment that is asked for.
    fn details(&self) -> Payment {
        Payment {
            recipient: self.recipient,
            party: self.party.clone(),
            payee_account: self.payee_account,
            earmark: self.earmark.clone(),
            original: None,
            returned: 0,
            recovered: 0,
            reissued: 0,
            held_in: None,
            line: self.line.as_ref().map(|line| line.leaf_index),
            asset: self.asset.clone(),
            first: None,
        }
    }
}

fn by_owner(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = rules::programme_of_account(scene, "from")?;
    rules::acts_as(scene, &programme, Part::Owner)
}

/// Finance, by amount two of its officers; for a charity its supervisor or trustee.
fn released_by(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    let (_, programme) = rules::programme_of_account(scene, "from")?;
    let amount = scene.record.need("amount")?;
    release_needs(scene, &programme, amount)
}

/// Who releases a payment of this amount to the bank.
pub fn release_needs(scene: &mut Scene<'_>, programme: &Programme, amount: u64) -> Verdict<Vec<Need>> {
    if let Some(role) = programme.released_by {
        return Ok(vec![Need::of(&programme.supervisor, role)]);
    }
    let mut needs = rules::by_finance(programme);
    if amount > scene.parameter("second_approval_minor")? {
        needs.extend(rules::by_finance(programme));
    }
    Ok(needs)
}

fn request(scene: &mut Scene<'_>) -> Verdict<Request> {
    let debit: Ref = scene.record.need("from")?;
    let from = book::account(scene, &debit)?;
    let award: Ref = scene.record.need("entitlement")?;
    if from.kind != AccountKind::Commitment || from.award.as_ref() != Some(&award) {
        return reject(3002, format!("{debit}, a {}, is not committed to {award}", from.kind.code()));
    }
    let programme = book::programme(scene, &from.programme)?;
    let place = Place { kind: AccountKind::Paid, agency: &from.agency, year: from.year, earmark: None, above: None };
    let credit = rules::account_in_open_year(scene, (&from.programme, &programme), place)?;
    Ok(Request {
        posting: Posting { debit, credit, amount: scene.record.need("amount")? },
        entitlement: entitlement::load(scene, &award)?,
        programme: (from.programme.clone(), programme),
        award,
        recipient: scene.record.find("recipient"),
        party: scene.record.find("party"),
        payee_account: scene.record.need("payee_account")?,
        earmark: from.earmark.clone(),
        line: scene.record.find::<Value>("list_proof").as_ref().and_then(ListProof::from_value),
        asset: scene.record.find("asset"),
    })
}

fn can_pay(scene: &mut Scene<'_>) -> Verdict {
    let request = request(scene)?;
    within_value(scene, &request.award, request.posting.amount)?;
    let legs = rules::legs(scene, &request.posting)?;
    rules::covered(scene, &legs)?;
    rules::one_programme(&legs)?;
    if scene.mode == Mode::Live {
        let claim = request.claim(scene);
        if let Some(claim) = &claim {
            claim::is_first(scene, &request.programme, claim)?;
        }
        is_entitled(scene, &request)?;
        account_is_registered(scene, &request.programme.1, (request.recipient, request.party.as_deref()))?;
        if let Some(claim) = &claim {
            claim::is_exclusive(scene, &request.programme.1, claim)?;
        }
    }
    rules::earmarked(&legs)?;
    rules::open(scene, &legs)?;
    within_list(scene, &request)?;
    pattern::repeated(scene, &pattern_of(&request))?;
    pattern::near_threshold(scene, request.posting.amount)
}

/// 3207: payments and reservations stay within the grant's value.
pub fn within_value(scene: &mut Scene<'_>, award: &Ref, amount: u64) -> Verdict {
    let entitlement = entitlement::load(scene, award)?;
    let Some(value) = entitlement.value() else { return Ok(()) };
    let before = entitlement.usage().claimed.saturating_sub(rules::own_amount(scene)?);
    let claimed = before.saturating_add(amount);
    if claimed <= value {
        return Ok(());
    }
    let programme = entitlement.programme().clone();
    let [value, before, amount] = [value, before, amount].map(|minor| money(scene, &programme, minor));
    let (value, before, amount) = (value?, before?, amount?);
    scene.reject_or_flag(3207, format!("{award}: value {value}, paid and reserved {before}, asked {amount}"))
}

// ---- 3210: who is entitled ----

fn is_entitled(scene: &mut Scene<'_>, request: &Request) -> Verdict {
    match &request.entitlement {
        Entitlement::Grant(grant) => grant_names(scene, request, grant),
        Entitlement::List(list) => list_names(scene, request, list),
    }
}

fn grant_names(scene: &Scene<'_>, request: &Request, grant: &AwardGrant) -> Verdict {
    if request.recipient != grant.recipient || request.party != grant.party {
        return reject(3210, format!("grant {} is another's", request.award));
    }
    is_in_force(scene, &request.award, grant)
}

fn is_in_force(scene: &Scene<'_>, award: &Ref, grant: &AwardGrant) -> Verdict {
    if scene.today() > grant.until {
        return reject(3210, format!("grant {award} ended on {}", grant.until));
    }
    Ok(())
}

fn list_names(scene: &Scene<'_>, request: &Request, list: &List) -> Verdict {
    if list.state != ListState::Confirmed {
        return reject(3210, format!("list {} is not confirmed", request.award));
    }
    let Some(proof) = &request.line else {
        return reject(3210, format!("no line of list {} is proven", request.award));
    };
    if request.recipient != Some(Person(proof.recipient)) || request.payee_account != proof.payee_account {
        return reject(3210, format!("line {} of {} is another's", proof.leaf_index, request.award));
    }
    if let Err(fault) = proof.verify(request.asset.as_deref(), list.count, &list.root) {
        return reject(3210, format!("line {} is not of {}: {fault}", proof.leaf_index, request.award));
    }
    is_on(scene, &request.award, proof.leaf_index)
}

fn is_on(scene: &Scene<'_>, list: &Ref, line: u64) -> Verdict {
    if list::is_struck(scene, list, line)? {
        return reject(3210, format!("line {line} of {list} is struck"));
    }
    Ok(())
}

/// 3210 for what was paid once: the grant is in force still, the line is not struck.
pub fn is_still_entitled(scene: &Scene<'_>, (award, entitlement): (&Ref, &Entitlement), details: &Payment) -> Verdict {
    match (entitlement, details.line) {
        (Entitlement::Grant(grant), _) => is_in_force(scene, award, grant),
        (Entitlement::List(_), Some(line)) => is_on(scene, award, line),
        (Entitlement::List(_), None) => Ok(()),
    }
}

/// 3211: the account to be paid is the one that was registered for the payee, and a person's was confirmed by the bank that
/// pays it.
pub fn account_is_registered(
    scene: &mut Scene<'_>,
    programme: &Programme,
    (recipient, party): (Option<Person>, Option<&str>),
) -> Verdict {
    let asked: Hash = scene.record.need("payee_account")?;
    let registered = match (recipient, party) {
        (Some(person), _) => {
            let found: Option<Recipient> = scene.draft.get(&key::recipient(&programme.scope, &person.0))?;
            if let Some(payee) = &found
                && payee.account_commitment == asked
                && !payee.banks.iter().any(|bank| *bank == programme.bank)
            {
                return reject(3211, format!("the payee account is not confirmed by {}", programme.bank));
            }
            found.map(|recipient| recipient.account_commitment)
        }
        (None, Some(code)) => match scene.code("party", code)? {
            Some(holder) => match scene.object(&holder)? {
                Some(Object::Party(party)) => Some(party.account_commitment),
                _ => None,
            },
            None => None,
        },
        (None, None) => None,
    };
    match registered {
        Some(account) if account == asked => Ok(()),
        Some(_) => reject(3211, "the payee account is not the registered one"),
        None => reject(3211, "no account is registered for the payee"),
    }
}

/// 3217: the line's amount is its units at the list's standard, and the list's total holds it.
fn within_list(scene: &mut Scene<'_>, request: &Request) -> Verdict {
    let (Entitlement::List(list), Mode::Live) = (&request.entitlement, scene.mode) else { return Ok(()) };
    let Some(proof) = &request.line else { return Ok(()) };
    let amount = request.posting.amount;
    let due = proof.units.checked_mul(list.standard_minor);
    if due != Some(amount) || proof.amount != amount {
        let shown = |minor| money_text(minor, &request.programme.1.currency);
        let (units, standard) = (proof.units, shown(list.standard_minor));
        let (stated, asked) = (shown(proof.amount), shown(amount));
        return reject(3217, format!("{units} units of {standard} are due, the line says {stated}, asked {asked}"));
    }
    within_total(scene, (&request.award, &request.entitlement), amount)
}

/// 3217: the total of a list holds all that is claimed under it.
pub fn within_total(scene: &mut Scene<'_>, (award, entitlement): (&Ref, &Entitlement), amount: u64) -> Verdict {
    let Entitlement::List(list) = entitlement else { return Ok(()) };
    let before = list.usage.claimed.saturating_sub(rules::own_amount(scene)?);
    if before.saturating_add(amount) <= list.total {
        return Ok(());
    }
    let [total, before, amount] = [list.total, before, amount].map(|minor| money(scene, &list.programme, minor));
    let (total, before, amount) = (total?, before?, amount?);
    reject(3217, format!("list {award}: total {total}, claimed {before}, asked {amount}"))
}

// ---- effects ----

fn movement_of(scene: &Scene<'_>, request: Request) -> Movement {
    let payment = request.details();
    let movement = Movement::new(MovementKind::Payment, request.programme.0, vec![request.posting]);
    let at_bank = scene.mode == Mode::Live;
    Movement { payment: Some(payment), entitlement: Some(request.award), ..movement.at_bank(at_bank) }
}

fn pattern_of(request: &Request) -> Pattern {
    let who = match (&request.entitlement, request.recipient, &request.party) {
        // A second line for one person is 3209's matter.
        (Entitlement::List(_), _, _) | (_, None, None) => None,
        (_, Some(person), _) => Some(hex::encode(person.0)),
        (_, None, Some(party)) => Some(party.clone()),
    };
    Pattern { programme: request.programme.0.clone(), who, amount: request.posting.amount }
}

/// Claims the payee's right, remembers what 3911 compares, and says which movement the request makes.
fn plan(scene: &mut Scene<'_>) -> Verdict<Movement> {
    let request = request(scene)?;
    if scene.mode == Mode::Live
        && let Some(claim) = request.claim(scene)
    {
        claim::take(scene, &request.programme, &claim)?;
    }
    pattern::remember(scene, &pattern_of(&request))?;
    Ok(movement_of(scene, request))
}

fn propose(scene: &mut Scene<'_>) -> Verdict {
    let movement = plan(scene)?;
    movement::propose(scene, movement)
}
