//! The view of what the fund mechanism keeps. Amounts are in the programme's currency, which the lens knows.

use serde_json::{Value as Json, json};

use super::{Lens, day, hash, money, person, reference, references, signed_money};
use crate::records::fund::account::Account;
use crate::records::fund::award_grant::AwardGrant;
use crate::records::fund::entitlement::Usage;
use crate::records::fund::goods::Goods;
use crate::records::fund::list::{List, ListState};
use crate::records::fund::movement::{Movement, MovementKind, MovementState, Payment};
use crate::records::fund::programme::Programme;
use crate::records::fund::recovery::RecoveryOrder;
use crate::records::fund::sums::Sums;
use crate::records::object::{Object, Ref};
use crate::records::role::Role;

pub(super) fn programme(programme: &Programme) -> Json {
    let currency = Some(programme.currency.as_str());
    let sources: Vec<_> = programme
        .sources
        .iter()
        .map(|source| json!({ "origin": source.origin, "account": reference(&source.account) }))
        .collect();
    json!({
        "currency": programme.currency,
        "purpose": programme.purpose,
        "years": programme.years,
        "owner": programme.owner,
        "finance": programme.finance,
        "bank": programme.bank,
        "supervisor": programme.supervisor,
        "scope": programme.scope,
        "standard": programme.standard_minor.map(|minor| money(minor, currency)),
        "exclusive_with": references(&programme.exclusive_with),
        "closed": programme.closed,
        "closed_years": programme.closed_years,
        "sources": sources,
        "held": sums(&programme.held, currency),
        "released_by": programme.released_by.map(Role::code),
    })
}

/// The programme that an object of the fund mechanism belongs to.
pub(super) fn programme_of(object: &Object) -> Option<&Ref> {
    if let Object::Account(account) = object {
        return Some(&account.programme);
    }
    if let Object::Movement(movement) = object {
        return Some(&movement.programme);
    }
    if let Object::AwardGrant(grant) = object {
        return Some(&grant.programme);
    }
    if let Object::List(list) = object { Some(&list.programme) } else { None }
}

pub(super) fn account(account: &Account, lens: &Lens) -> Json {
    let currency = lens.currency.as_deref();
    let reserved = account.sums.debits_posted.checked_add(account.sums.debits_pending);
    let available = reserved.map(|debits| signed_money(account.sums.credits_posted, debits, currency));
    json!({
        "account_kind": account.kind.code(),
        "programme": reference(&account.programme),
        "parent": account.parent.as_ref().map(reference),
        "agency": account.agency,
        "year": account.year,
        "earmark": account.earmark,
        "award": account.award.as_ref().map(reference),
        "available": available,
        "sums": sums(&account.sums, currency),
        "passed_down": money(account.passed_down, currency),
        "budget": money(account.budget, currency),
        "closed": account.closed,
        "assumed": account.assumed,
    })
}

fn sums(sums: &Sums, currency: Option<&str>) -> Json {
    json!({
        "debits_posted": money(sums.debits_posted, currency),
        "credits_posted": money(sums.credits_posted, currency),
        "debits_pending": money(sums.debits_pending, currency),
        "credits_pending": money(sums.credits_pending, currency),
    })
}

pub(super) fn movement(movement: &Movement, lens: &Lens) -> Json {
    let currency = lens.currency.as_deref();
    let postings: Vec<_> = movement
        .postings
        .iter()
        .map(|posting| {
            json!({
                "debit": reference(&posting.debit),
                "credit": reference(&posting.credit),
                "amount": money(posting.amount, currency),
            })
        })
        .collect();
    json!({
        "movement_kind": kind_name(movement.kind),
        "state": state_name(movement.state),
        "programme": reference(&movement.programme),
        "amount": movement.total().map(|minor| money(minor, currency)),
        "postings": postings,
        "at_bank": movement.at_bank,
        "entitlement": movement.entitlement.as_ref().map(reference),
        "payment": movement.payment.as_ref().map(|inner| payment(inner, currency)),
    })
}

fn payment(payment: &Payment, currency: Option<&str>) -> Json {
    json!({
        "recipient": payment.recipient.as_ref().map(person),
        "party": payment.party,
        "payee_account": hash(&payment.payee_account),
        "earmark": payment.earmark,
        "original": payment.original.as_ref().map(reference),
        "returned": money(payment.returned, currency),
        "recovered": money(payment.recovered, currency),
        "reissued": money(payment.reissued, currency),
        "held_in": payment.held_in.as_ref().map(reference),
        "line": payment.line,
        "asset": payment.asset,
        "first": payment.first.as_ref().map(reference),
    })
}

/// The record with which the bank ends a movement that has not yet posted; None if no bank is to act.
pub(super) fn awaited(movement: &Movement) -> Option<&'static str> {
    match movement.state {
        MovementState::Proposed | MovementState::Released if movement.at_bank => Some(match movement.kind {
            MovementKind::Income => "income_confirm",
            MovementKind::Appropriation
            | MovementKind::Allotment
            | MovementKind::Recall
            | MovementKind::Commitment
            | MovementKind::Decommitment
            | MovementKind::Payment
            | MovementKind::Reissue
            | MovementKind::Return
            | MovementKind::Recovery
            | MovementKind::Refund
            | MovementKind::YearClose
            | MovementKind::Deposit
            | MovementKind::DepositSettlement => "payment_confirm",
        }),
        MovementState::Proposed
        | MovementState::Released
        | MovementState::Posted
        | MovementState::Failed
        | MovementState::Ended => None,
    }
}

/// Whether a movement ended without posting.
pub(super) fn is_void(movement: &Movement) -> bool {
    match movement.state {
        MovementState::Failed | MovementState::Ended => true,
        MovementState::Proposed | MovementState::Released | MovementState::Posted => false,
    }
}

fn kind_name(kind: MovementKind) -> &'static str {
    match kind {
        MovementKind::Appropriation => "appropriation",
        MovementKind::Income => "income",
        MovementKind::Allotment => "allotment",
        MovementKind::Recall => "recall",
        MovementKind::Commitment => "commitment",
        MovementKind::Decommitment => "decommitment",
        MovementKind::Payment => "payment",
        MovementKind::Reissue => "reissue",
        MovementKind::Return => "return",
        MovementKind::Recovery => "recovery",
        MovementKind::Refund => "refund",
        MovementKind::YearClose => "year_close",
        MovementKind::Deposit => "deposit",
        MovementKind::DepositSettlement => "deposit_settlement",
    }
}

fn state_name(state: MovementState) -> &'static str {
    match state {
        MovementState::Proposed => "proposed",
        MovementState::Released => "released",
        MovementState::Posted => "posted",
        MovementState::Failed => "failed",
        MovementState::Ended => "ended",
    }
}

pub(super) fn award_grant(grant: &AwardGrant, lens: &Lens) -> Json {
    json!({
        "programme": reference(&grant.programme),
        "recipient": grant.recipient.as_ref().map(person),
        "party": grant.party,
        "value": money(grant.value, lens.currency.as_deref()),
        "purpose": grant.purpose,
        "until": day(grant.until),
        "usage": usage(&grant.usage, lens),
    })
}

fn usage(usage: &Usage, lens: &Lens) -> Json {
    let currency = lens.currency.as_deref();
    json!({ "committed": money(usage.committed, currency), "claimed": money(usage.claimed, currency) })
}

pub(super) fn list(list: &List, lens: &Lens) -> Json {
    let currency = lens.currency.as_deref();
    let state = match list.state {
        ListState::Published => "published",
        ListState::Objected => "objected",
        ListState::Confirmed => "confirmed",
    };
    json!({
        "programme": reference(&list.programme),
        "root": hash(&list.root),
        "count": list.count,
        "total": money(list.total, currency),
        "standard": money(list.standard_minor, currency),
        "period": list.period,
        "publicity_ends": day(list.publicity_ends),
        "state": state,
        "open_objections": list.open_objections,
        "struck": list.struck,
        "usage": usage(&list.usage, lens),
    })
}

pub(super) fn goods(goods: &Goods) -> Json {
    json!({
        "programme": reference(&goods.programme),
        "item": goods.item,
        "unit": goods.unit,
        "quantity": goods.quantity,
        "issued": goods.issued,
    })
}

pub(super) fn recovery_order(order: &RecoveryOrder, lens: &Lens) -> Json {
    let currency = lens.currency.as_deref();
    json!({
        "payment": reference(&order.payment),
        "amount": money(order.amount, currency),
        "received": money(order.received, currency),
    })
}
