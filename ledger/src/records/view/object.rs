//! The view of every kind of object. A new kind of object gets one arm here.

use serde_json::{Map, Value as Json, json};

use super::{Lens, day, fund, hash, money, person, reference, references, time};
use crate::codec::Value;
use crate::records::case::{Case, Licence, Matter};
use crate::records::disclosure::Disclosure;
use crate::records::document::Correction;
use crate::records::finding::AuditFinding;
use crate::records::governance::Proposal;
use crate::records::import::Import;
use crate::records::object::Object;
use crate::records::registry::{Delegation, Party};

/// An object with all its fields.
pub fn object(object: &Object, lens: &Lens) -> Json {
    match object {
        Object::Party(party) => party_view(party),
        Object::Delegation(delegation) => delegation_view(delegation),
        Object::RoleGrant(grant) => json!({ "officer": person(&grant.officer), "role": grant.role.code() }),
        Object::Proposal(proposal) => proposal_view(proposal, lens),
        Object::Programme(programme) => fund::programme(programme),
        Object::Account(account) => fund::account(account, lens),
        Object::Movement(movement) => fund::movement(movement, lens),
        Object::AwardGrant(grant) => fund::award_grant(grant, lens),
        Object::List(list) => fund::list(list, lens),
        Object::Objection(objection) => json!({ "list": reference(&objection.list), "open": objection.open }),
        Object::Goods(goods) => fund::goods(goods),
        Object::RecoveryOrder(order) => fund::recovery_order(order, lens),
        Object::Matter(matter) => matter_view(matter),
        Object::Case(case) => case_view(case),
        Object::Licence(licence) => licence_view(licence),
        Object::Import(import) => import_view(import),
        Object::Correction(correction) => correction_view(correction),
        Object::Finding(finding) => finding_view(finding),
        Object::Disclosure(disclosure) => disclosure_view(disclosure, lens),
    }
}

fn party_view(party: &Party) -> Json {
    json!({
        "party_id": party.party_id,
        "kind": party.kind,
        "account_commitment": hash(&party.account_commitment),
        "key": party.key.map(hex::encode),
    })
}

fn delegation_view(delegation: &Delegation) -> Json {
    json!({
        "from_officer": person(&delegation.from_person),
        "to_officer": person(&delegation.to_officer),
        "role": delegation.role.code(),
        "scope": delegation.scope.as_ref().map(reference),
        "valid_from": day(delegation.valid_from),
        "valid_until": day(delegation.valid_until),
    })
}

fn proposal_view(proposal: &Proposal, lens: &Lens) -> Json {
    let body = Value::decode(&proposal.action_body).ok();
    json!({
        "action": proposal.action,
        "action_body": body.as_ref().map_or(Json::Null, plain),
        "action_bytes": hex::encode(&proposal.action_body),
        "from_time": time(proposal.from_time, lens.utc_offset_minutes),
        "votes_for": proposal.votes_for,
        "votes_against": proposal.votes_against,
        "passed": proposal.passed,
    })
}

/// Canonical CBOR without a schema: bytes as hex.
fn plain(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => json!(flag),
        Value::Uint(number) => json!(number),
        Value::Int(number) => json!(number),
        Value::Bytes(bytes) => json!(hex::encode(bytes)),
        Value::Text(text) => json!(text),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Map(pairs) => {
            let named = pairs.iter().filter_map(|(key, value)| Some((key.as_text()?.to_owned(), plain(value))));
            Json::Object(named.collect::<Map<_, _>>())
        }
    }
}

fn matter_view(matter: &Matter) -> Json {
    json!({
        "clock_days": matter.clock_days,
        "decider_role": matter.decider_role.code(),
        "documents": matter.documents,
        "prerequisites": references(&matter.prerequisites),
    })
}

fn case_view(case: &Case) -> Json {
    let decision = case.decision.as_ref().map(|decision| {
        json!({
            "record": reference(&decision.record),
            "granted": decision.granted,
            "date": day(decision.day),
            "late": decision.late,
        })
    });
    json!({
        "matter": reference(&case.matter),
        "applicant": person(&case.applicant),
        "licences": references(&case.licences),
        "state": case.state.name(),
        "submitted": day(case.submitted),
        "notice": case.notice.map(day),
        "accepted": case.accepted.map(day),
        "deadline": case.deadline.map(day),
        "paused": case.paused.map(day),
        "extended": case.extended,
        "reviewers": case.reviewers.iter().map(person).collect::<Vec<_>>(),
        "decision": decision,
        "licence": case.licence.as_ref().map(reference),
    })
}

fn licence_view(licence: &Licence) -> Json {
    json!({
        "case": reference(&licence.case),
        "matter": reference(&licence.matter),
        "holder": person(&licence.holder),
        "licence_no": licence.licence_no,
        "state": licence.state.name(),
        "valid_until": licence.valid_until.map(day),
    })
}

fn import_view(import: &Import) -> Json {
    let posted: Map<String, Json> =
        import.posted.iter().map(|(code, minor)| (code.clone(), money(*minor, Some(code)))).collect();
    json!({
        "strict": import.strict,
        "period_end": day(import.period_end),
        "closed": import.closed,
        "records": import.records,
        "posted": posted,
    })
}

fn correction_view(correction: &Correction) -> Json {
    json!({ "record": reference(&correction.record) })
}

fn finding_view(finding: &AuditFinding) -> Json {
    json!({
        "subject": reference(&finding.subject),
        "code": finding.code,
        "answer": finding.answer.as_ref().map(reference),
    })
}

fn disclosure_view(disclosure: &Disclosure, lens: &Lens) -> Json {
    let currency = lens.currency.as_deref();
    json!({
        "programme": reference(&disclosure.programme),
        "from_day": day(disclosure.from_day),
        "to_day": day(disclosure.to_day),
        "income": money(disclosure.income, currency),
        "paid": money(disclosure.paid, currency),
        "count": disclosure.count,
        "precision": disclosure.precision,
    })
}
