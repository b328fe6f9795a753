//! From what a node says about a transaction to the definite answer: applied, rejected or never recorded is said only with
//! the proof of it, verified here. Without one the node's words are shown as such, and the answer is not yet known.

use std::time::{Duration, Instant};

use mingzhang_ledger::crypto::sha256;
use mingzhang_ledger::door;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::object::RecordLeaf;
use mingzhang_ledger::records::view::{Lens, WaitsFor, standing};
use mingzhang_ledger::state::key::{self, id_text, parse_id};
use mingzhang_ledger::transaction::{RecordId, Transaction};
use mingzhang_ledger::verify::{ProvenHeader, expired};
use serde_json::{Value, json};

use crate::audit::blocks;
use crate::command::tx::{local_time, time_text};
use crate::context::Network;
use crate::node_api::NodeApi;
use crate::output::{Answer, Failure, Language, exit};
use crate::proven::{Asked, Proof, Wanted, ask, coded};
use crate::submit::{self, describe, now_ms};
use crate::verify::outcome_name;

/// How long the proof of what a node calls definite is waited for, however short the wait for the answer was.
const LEAST_WAIT: Duration = Duration::from_secs(4);
/// Longest wait for a status that one request asks a node for, in seconds, and the pause before the next; it doubles.
const MAX_STATUS_WAIT_S: u64 = 20;
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const EXPIRED: Code = Code(1008);
/// The transaction is not the one that was asked for.
const ANOTHER: Code = Code(4102);

/// Where proofs come from, and until when.
pub struct Place<'a> {
    pub network: &'a Network,
    pub api: &'a NodeApi,
    pub language: Language,
    pub deadline: Instant,
}

impl<'a> Place<'a> {
    pub fn new(network: &'a Network, api: &'a NodeApi, language: Language, deadline: Instant) -> Self {
        Self { network, api, language, deadline }
    }

    /// Until when a proof is waited for.
    fn proof_by(&self) -> Instant {
        self.deadline.max(Instant::now() + LEAST_WAIT)
    }
}

/// Whose answer is wanted.
pub struct Question<'a> {
    /// The transaction's id in hexadecimal.
    pub tx_id: String,
    /// The record's name, where it was asked for by name.
    pub record: Option<(String, RecordId)>,
    /// The signed bytes, where this machine has them.
    pub own: Option<&'a Transaction>,
}

impl<'a> Question<'a> {
    pub fn of(own: &'a Transaction) -> Self {
        let payload = own.payload();
        let record = Some((payload.agency.to_string(), payload.record_id));
        Self { tx_id: hex::encode(own.id()), record, own: Some(own) }
    }

    /// The record that the proof is about: as asked for, else as the node names it, which the proof then must bear out.
    fn name(&self, status: &Value) -> Option<(String, RecordId)> {
        let told = || Some((status["agency_id"].as_str()?.to_owned(), parse_id(status["record_id"].as_str()?)?));
        self.record.clone().or_else(told)
    }

    /// The own bytes, if their time is over: they are on the log, or they never will be.
    fn overdue(&self) -> Option<&'a Transaction> {
        self.own.filter(|own| own.payload().expires_at <= now_ms())
    }
}

/// The answer to what a node said first, and to what it says until that is definite or the time is over.
pub fn follow(place: &Place<'_>, question: &Question<'_>, said: Value) -> Result<Answer, Failure> {
    let (mut answer, mut pause) = (settle(place, question, said)?, PAUSE);
    loop {
        let left = place.deadline.saturating_duration_since(Instant::now());
        if answer.exit != exit::NOT_YET_KNOWN || left.is_zero() {
            return Ok(answer);
        }
        // A node that waits is asked to; one that answers at once is not asked without end.
        std::thread::sleep(pause.min(left));
        pause = (2 * pause).min(LONGEST_PAUSE);
        let left = place.deadline.saturating_duration_since(Instant::now());
        // It answered before: if it says nothing from here on, the outcome is not known yet.
        match submit::status(place.api, &question.tx_id, left.as_secs().min(MAX_STATUS_WAIT_S)) {
            Ok(said) => answer = settle(place, question, said)?,
            Err(_) => return Ok(answer),
        }
    }
}

/// Whether an answer ends a transaction's stay in the outbox.
pub fn is_definite(answer: &Answer) -> bool {
    answer.exit != exit::NOT_YET_KNOWN && answer.data["proven"] == true
}

/// The answer to a node's status document.
pub fn settle(place: &Place<'_>, question: &Question<'_>, mut status: Value) -> Result<Answer, Failure> {
    let said = status["status"].as_str().unwrap_or("").to_owned();
    match (said.as_str(), question.overdue()) {
        ("final", _) => recorded(place, question, status),
        (_, Some(own)) => never(place, question, (own, status)),
        _ => {
            let told = told_id(&status);
            if said == "pending" && told != question.tx_id && status["repeated"] != true {
                return Err(another(&format!("sha256:{told}"), &question.tx_id));
            }
            status["proven"] = json!(false);
            Ok(match said.as_str() {
                "expired" => unproven(status, place.language, "no bytes to prove it with"),
                _ => describe(status, place.language),
            })
        }
    }
}

fn told_id(status: &Value) -> String {
    status["tx_id"].as_str().unwrap_or("").trim_start_matches("sha256:").to_ascii_lowercase()
}

fn another(found: &str, wanted: &str) -> Failure {
    Failure::coded(ANOTHER, format!("the node speaks of {found}, asked for was sha256:{wanted}"))
}

/// The node says that it is final: the leaf of its record must say so under seals that cover its entry.
fn recorded(place: &Place<'_>, question: &Question<'_>, status: Value) -> Result<Answer, Failure> {
    let Some(name) = question.name(&status) else { return Ok(unproven(status, place.language, "no record named")) };
    let wanted = Wanted::Entry(status["index"].as_u64().unwrap_or(0));
    let key = key::record(&name.0, &name.1);
    let proof = match ask((place.network, place.api), &key, wanted, place.proof_by(), place.language)? {
        Asked::Shown(proof) => proof,
        Asked::NotYet(_, why) => return Ok(unproven(status, place.language, &why.detail)),
        Asked::Withheld(failure) => return Ok(unproven(status, place.language, &coded(&failure))),
    };
    let Some(leaf) = &proof.leaf else {
        let (height, record) = (proof.header.header.height, format!("{}/{}", name.0, id_text(&name.1)));
        let detail =
            format!("the node calls {record} final; at height {height} the sealed ledger holds no such record");
        return Err(Failure::coded(ANOTHER, detail));
    };
    let repeated = is_repeat(place, question, leaf)?;
    Ok(adopt((place, question), (&proof, leaf), (&name, repeated), &status))
}

/// Whether the proven record came by an earlier transaction of the same content. Any other transaction is a failure.
fn is_repeat(place: &Place<'_>, question: &Question<'_>, leaf: &RecordLeaf) -> Result<bool, Failure> {
    let found = hex::encode(leaf.transaction_id);
    if found == question.tx_id {
        return Ok(false);
    }
    let Some(own) = question.own else { return Err(another(&format!("sha256:{found}"), &question.tx_id)) };
    let earlier = bytes_of(place, leaf)?;
    match door::repeat(&earlier, own) {
        None => Ok(true),
        Some(refusal) => Err(Failure::coded(refusal.code, refusal.detail)),
    }
}

/// The transaction whose id a proven leaf holds.
fn bytes_of(place: &Place<'_>, leaf: &RecordLeaf) -> Result<Transaction, Failure> {
    let id = hex::encode(leaf.transaction_id);
    let bytes = place.api.get(&format!("/transactions/{id}/raw"))?.success()?.body;
    if sha256(&[&bytes]) != leaf.transaction_id {
        return Err(another("other bytes", &id));
    }
    Transaction::decode(&bytes).map_err(|error| Failure::coded(ANOTHER, error.to_string()))
}

/// The proven answer: what the leaf holds, with the header of the block that holds its entry. What is only the node's word
/// beside it is named as such.
fn adopt(
    (place, question): (&Place<'_>, &Question<'_>),
    (proof, leaf): (&Proof, &RecordLeaf),
    (name, repeated): (&(String, RecordId), bool),
    said: &Value,
) -> Answer {
    let outcome = outcome_name(leaf.outcome);
    let code = if leaf.outcome == 0 { Value::Null } else { json!(Code(leaf.outcome).to_string()) };
    let lied = said["status"] == "final" && (said["outcome"] != outcome || said["code"] != code);
    let standing = standing(leaf, &Lens::new(0));
    let (waits_for, bank_told) = waits_for(&standing.waits_for, &said["waits_for"]);
    let flags: Vec<String> = leaf.flags.iter().map(|code| Code(*code).to_string()).collect();
    let header = block_of(place.api, &proof.header, leaf.index);
    // Words about another entry are none about this one.
    let detail = if lied || said["index"] != leaf.index { &Value::Null } else { &said["detail"] };
    let own = question.own.filter(|own| own.id() == leaf.transaction_id);
    let expires_at = own.map_or(said["expires_at"].clone(), |own| json!(time_text(own.payload().expires_at)));
    let claims = [
        ("detail", !detail.is_null()),
        ("waits_for", bank_told),
        ("expires_at", own.is_none() && !expires_at.is_null()),
        ("repeated", !repeated && said["repeated"] == true),
    ];
    let claimed: Vec<&str> = claims.iter().filter(|(_, claimed)| *claimed).map(|(name, _)| *name).collect();
    let status = json!({
        "tx_id": format!("sha256:{}", hex::encode(leaf.transaction_id)), "record_type": leaf.record_type,
        "agency_id": name.0, "record_id": id_text(&name.1), "status": "final", "outcome": outcome, "code": code,
        "effect": standing.effect, "waits_for": waits_for, "valid_until": standing.valid_until.map(time_text),
        "flags": flags, "index": leaf.index, "height": header.map(|header| header.height),
        "block_time": header.map(|header| time_text(header.time_ms)), "detail": detail, "expires_at": expires_at,
        "repeated": repeated || said["repeated"] == true, "proven": true, "claimed": claimed,
        "proven_height": proof.header.header.height,
    });
    let mut answer = describe(status, place.language);
    answer.recorded = true;
    answer.warnings.clone_from(&proof.warnings);
    let mut warn = |chinese, english| answer.warnings.push(place.language.pick(chinese, english).to_owned());
    if lied {
        warn(
            "节点所述的结果与账本不同;以上为经封签证明的结果",
            "the node told another outcome; the one above is proven by the seals",
        );
    }
    if leaf.outcome != 0 && claimed.contains(&"detail") {
        warn(
            "驳回及其代码已经封签证明;具体数值为节点所述",
            "rejection and code are proven by the seals; the figures are the node's word",
        );
    }
    answer
}

/// What is still needed by the proven leaf. The leaf does not name the programme's bank: that is the node's word, if it
/// says so, and marked.
fn waits_for(proven: &[WaitsFor], said: &Value) -> (Vec<Value>, bool) {
    let said = said.as_array().map_or(&[][..], Vec::as_slice);
    let mut bank_told = false;
    let views = proven.iter().map(|waits| {
        let mut view = waits.view();
        let same = |told: &&Value| told["record_type"] == view["record_type"] && told["agency_id"].is_string();
        if let Some(told) = said.iter().find(same).filter(|_| view["agency_id"].is_null()) {
            view["agency_id"] = told["agency_id"].clone();
            view["claimed"] = json!(true);
            bank_told = true;
        }
        view
    });
    (views.collect(), bank_told)
}

/// The header of the block that holds an entry of the proven log; None where the node does not prove one.
fn block_of(api: &NodeApi, proven: &ProvenHeader, index: u64) -> Option<Header> {
    let newest = &proven.header;
    if (newest.first_index..newest.own_index()).contains(&index) {
        return Some(*newest);
    }
    blocks::holding(api, &proven.sealed.checkpoint, &[index]).ok()?.into_iter().next()
}

fn merge(status: &mut Value, proven: Value) {
    if let (Value::Object(members), Value::Object(proven)) = (&mut *status, proven) {
        members.extend(proven);
    }
}

/// The time of the own bytes is over: they are recorded, or a sealed header past their expiry shows that they never can be.
fn never(
    place: &Place<'_>,
    question: &Question<'_>,
    (own, mut status): (&Transaction, Value),
) -> Result<Answer, Failure> {
    let payload = own.payload();
    let key = key::record(&payload.agency, &payload.record_id);
    let wanted = Wanted::Past(payload.expires_at);
    let proof = match ask((place.network, place.api), &key, wanted, place.proof_by(), place.language)? {
        Asked::Shown(proof) => proof,
        Asked::NotYet(_, why) => return Ok(unproven(status, place.language, &why.detail)),
        Asked::Withheld(failure) => return Ok(unproven(status, place.language, &coded(&failure))),
    };
    let header = &proof.header.header;
    let mut reason =
        (EXPIRED, format!("{}, height {}", local_time(&place.network.genesis, payload.expires_at), header.height));
    if let Some(leaf) = &proof.leaf {
        let name = (payload.agency.to_string(), payload.record_id);
        match is_repeat(place, question, leaf) {
            Ok(repeated) => return Ok(adopt((place, question), (&proof, leaf), (&name, repeated), &status)),
            // The id belongs to another record for ever: this transaction can never enter.
            Err(failure) if failure.code == Some(Code(1015)) => reason = (Code(1015), failure.detail),
            Err(failure) => return Err(failure),
        }
    } else {
        expired(&proof.header, &proof.state, own).map_err(|problem| Failure::coded(problem.code, problem.detail))?;
    }
    let proven = json!({
        "tx_id": format!("sha256:{}", question.tx_id), "record_type": payload.record_type, "agency_id": payload.agency,
        "record_id": id_text(&payload.record_id), "status": "expired", "outcome": null, "code": reason.0.to_string(),
        "effect": null, "waits_for": [], "valid_until": null, "flags": [], "height": header.height, "index": null,
        "block_time": time_text(header.time_ms), "expires_at": time_text(payload.expires_at), "repeated": false,
        "proven": true, "proven_height": header.height,
    });
    merge(&mut status, proven);
    let mut answer = describe(status, place.language);
    answer.reason = Some(reason);
    answer.warnings.clone_from(&proof.warnings);
    Ok(answer)
}

/// What a node calls definite and nothing proves yet.
fn unproven(mut status: Value, language: Language, why: &str) -> Answer {
    status["proven"] = json!(false);
    let tx_id = status["tx_id"].as_str().unwrap_or("").to_owned();
    let words = match (status["status"].as_str(), status["outcome"].as_str()) {
        (Some("final"), Some("applied")) => {
            language.pick("节点称已最终确认,尚未核实", "final, says the node; not proven yet")
        }
        (Some("final"), _) => {
            language.pick("节点称已最终确认(驳回),尚未核实", "final (rejected), says the node; not proven yet")
        }
        (Some("expired"), _) => language.pick("节点称已过期,尚未证实", "expired, says the node; not proven yet"),
        _ => language
            .pick("有效时间已过,尚未证实从未入账", "its time is over; that it was never recorded is not proven yet"),
    };
    let mut answer = Answer::done(status, format!("{tx_id}\n  {words}")).with_exit(exit::NOT_YET_KNOWN);
    let safe = language.pick("可再次运行,不会重复记账", "run it again, it is safe");
    answer.warnings.push(format!("{}; {safe}", language.detail(why)));
    answer
}
