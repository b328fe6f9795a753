//! From what a node says about a transaction to the definite answer: applied, rejected or never recorded is said only with
//! the proof of it, verified here. Without one the node's words are shown as such, and the answer is not yet known.

use std::time::{Duration, Instant};

use mingzhang_ledger::crypto::sha256;
use mingzhang_ledger::door;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::object::RecordLeaf;
use mingzhang_ledger::records::view::{Lens, standing};
use mingzhang_ledger::state::key::{self, id_text, parse_id};
use mingzhang_ledger::transaction::{RecordId, Transaction};
use mingzhang_ledger::verify::expired;
use serde_json::{Value, json};

use crate::command::tx::{local_time, time_text};
use crate::context::Network;
use crate::node_api::NodeApi;
use crate::output::{Answer, Failure, Language, exit};
use crate::proven::{Asked, Proof, Wanted, ask};
use crate::submit::{describe, now_ms};
use crate::verify::outcome_name;

/// How long the proof of what a node calls definite is waited for, however short the wait for the answer was.
const LEAST_WAIT: Duration = Duration::from_secs(4);
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
        Self { network, api, language, deadline: deadline.max(Instant::now() + LEAST_WAIT) }
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
    let proof = match ask((place.network, place.api), &key, wanted, place.deadline, place.language)? {
        Asked::Shown(proof) => proof,
        Asked::NotYet(_, why) => return Ok(unproven(status, place.language, &why)),
    };
    let Some(leaf) = &proof.leaf else {
        let (height, record) = (proof.header.header.height, format!("{}/{}", name.0, id_text(&name.1)));
        let detail =
            format!("the node calls {record} final; at height {height} the sealed ledger holds no such record");
        return Err(Failure::coded(ANOTHER, detail));
    };
    let repeated = is_repeat(place, question, leaf)?;
    Ok(adopt(place, (&proof, leaf), (name, repeated), status))
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

/// The proven answer: what the leaf holds replaces what the node said.
fn adopt(
    place: &Place<'_>,
    (proof, leaf): (&Proof, &RecordLeaf),
    (name, repeated): ((String, RecordId), bool),
    mut status: Value,
) -> Answer {
    let outcome = outcome_name(leaf.outcome);
    let code = if leaf.outcome == 0 { Value::Null } else { json!(Code(leaf.outcome).to_string()) };
    let lied = status["status"] == "final" && (status["outcome"] != outcome || status["code"] != code);
    // Height and time are the node's: they stand only beside the entry that is proven.
    if lied || status["index"] != leaf.index {
        for claim in ["height", "block_time", "detail"] {
            status[claim] = Value::Null;
        }
    }
    let standing = standing(leaf, &Lens::new(0));
    let claimed = status["waits_for"].as_array().cloned().unwrap_or_default();
    let waits_for: Vec<Value> = standing
        .waits_for
        .iter()
        .map(|waits| {
            let view = waits.view();
            // The leaf does not name the programme's bank.
            let told =
                claimed.iter().find(|told| told["record_type"] == view["record_type"] && view["agency_id"].is_null());
            told.cloned().unwrap_or(view)
        })
        .collect();
    let flags: Vec<String> = leaf.flags.iter().map(|code| Code(*code).to_string()).collect();
    let proven = json!({
        "tx_id": format!("sha256:{}", hex::encode(leaf.transaction_id)), "record_type": leaf.record_type,
        "agency_id": name.0, "record_id": id_text(&name.1), "status": "final", "outcome": outcome, "code": code,
        "effect": standing.effect, "waits_for": waits_for, "valid_until": standing.valid_until.map(time_text),
        "flags": flags, "index": leaf.index, "proven": true, "proven_height": proof.header.header.height,
    });
    merge(&mut status, proven);
    if repeated {
        status["repeated"] = json!(true);
    }
    let mut answer = describe(status, place.language);
    answer.warnings.clone_from(&proof.warnings);
    if lied {
        let words = place.language.pick(
            "节点所述的结果与账本不同;以上为经封签证明的结果",
            "the node told another outcome; the one above is proven by the seals",
        );
        answer.warnings.push(words.to_owned());
    }
    answer
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
    let proof = match ask((place.network, place.api), &key, wanted, place.deadline, place.language)? {
        Asked::Shown(proof) => proof,
        Asked::NotYet(_, why) => return Ok(unproven(status, place.language, &why)),
    };
    let header = &proof.header.header;
    let mut reason =
        (EXPIRED, format!("{}, height {}", local_time(&place.network.genesis, payload.expires_at), header.height));
    if let Some(leaf) = &proof.leaf {
        let name = (payload.agency.to_string(), payload.record_id);
        match is_repeat(place, question, leaf) {
            Ok(repeated) => return Ok(adopt(place, (&proof, leaf), (name, repeated), status)),
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
