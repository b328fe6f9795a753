//! `query document`: the records that cite a document. Nodes only name them; that a record cites it stands in its signed
//! bytes, which its receipt proves. That there is no other is the word of the nodes that were asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::citation::citing;
use mingzhang_ledger::state::key::id_text;
use mingzhang_ledger::verify::{Authorities, ReceiptFacts};
use serde_json::{Value, json};

use super::{NOT_FOUND, for_people, outline};
use crate::audit::blocks;
use crate::audit::nodes::of_each;
use crate::command::tx::time_text;
use crate::command::verify::salted;
use crate::command::{Desk, receipt};
use crate::node_api::NodeApi;
use crate::output::{Answer, Failure, Language, exit};
use crate::verify::{discontinuity_warnings, outcome_name};

/// Citations that one command proves.
const PROVEN_AT_ONCE: usize = 100;
/// The record's bytes do not hold the digest.
const MISMATCH: Code = Code(4114);
/// The salt that belongs to the file is not there.
const NOT_GIVEN: Code = Code(4123);
/// There is no receipt of a record that a node names.
const PART_MISSING: Code = Code(4127);

/// What one node says.
struct Told {
    node: String,
    /// Log index and transaction id of each record that it names.
    cited: Vec<(u64, String)>,
    /// Log index from which on its next page begins.
    next: Option<u64>,
    since_index: u64,
    as_of: Value,
}

/// A citation that is proven, as it is shown.
struct Proven {
    index: u64,
    view: Value,
}

pub fn document(desk: &Desk, what: &str, salt: Option<&str>, from: u64) -> Result<Answer, Failure> {
    let digest = digest_of(what, salt)?;
    let api = desk.api()?;
    let path = format!("/documents/{}?limit={PROVEN_AT_ONCE}&cursor={from}", hex::encode(digest));
    let mut told = Vec::new();
    let mut silent = Vec::new();
    for (node, said) in of_each(&api, api.nodes(), |node| node.get_json(&path)) {
        match said.and_then(|said| read(&node, &said, from)) {
            Ok(said) => told.push(said),
            Err(failure) if failure.exit == exit::USAGE => return Err(failure),
            Err(failure) => silent.push((node, failure)),
        }
    }
    if told.is_empty() {
        let reasons: Vec<String> = silent.into_iter().map(|(_, failure)| failure.detail).collect();
        return Err(Failure::unreachable(reasons.join("; ")));
    }
    // What one node has behind its page, another may name before: this far, all have spoken.
    let next = told.iter().filter_map(|told| told.next).min();
    let proven = prove_all(desk, &api, (&digest, &told), next)?;
    answer(desk, &digest, (told, silent), (proven, next))
}

/// A digest as it is written, else of a file with its salt.
fn digest_of(what: &str, salt: Option<&str>) -> Result<Hash, Failure> {
    let digits = hex::decode(what.strip_prefix("sha256:").unwrap_or(what)).ok();
    if let Some(digest) = digits.and_then(|bytes| bytes.try_into().ok()) {
        return match salt {
            None => Ok(digest),
            Some(_) => Err(Failure::usage("a salt belongs to a file, not to a digest")),
        };
    }
    salted((Path::new(what), salt))?.map_err(|missing| Failure::coded(NOT_GIVEN, missing))
}

/// A node's answer, if it is one.
fn read(node: &str, said: &Value, from: u64) -> Result<Told, Failure> {
    let malformed = || Failure::unreachable(format!("{node}: the node's answer is not a list of records"));
    let items = said["items"].as_array().ok_or_else(malformed)?;
    let cited = items.iter().take(PROVEN_AT_ONCE).map(|item| {
        let id = item["tx_id"].as_str()?.trim_start_matches("sha256:").to_ascii_lowercase();
        (id.len() == 64 && hex::decode(&id).is_ok()).then_some((item["index"].as_u64()?, id))
    });
    let cited = cited.collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
    let next = said["next_cursor"].as_u64();
    // A page that leads nowhere would be asked for without end.
    if next.is_some_and(|next| next <= from) {
        return Err(malformed());
    }
    let since_index = said["since_index"].as_u64().ok_or_else(malformed)?;
    Ok(Told { node: node.to_owned(), cited, next, since_index, as_of: said["as_of"].clone() })
}

/// Every record that some node names, each proven once, in the order of the log; and what was passed on the way.
fn prove_all(
    desk: &Desk,
    api: &NodeApi,
    (digest, told): (&Hash, &[Told]),
    next: Option<u64>,
) -> Result<(Vec<Proven>, Vec<String>), Failure> {
    let mut named: BTreeMap<&str, &str> = BTreeMap::new();
    for told in told {
        for (index, id) in &told.cited {
            if next.is_none_or(|next| *index < next) {
                named.entry(id).or_insert(&told.node);
            }
        }
    }
    let (mut proven, mut warnings) = (Vec::new(), Vec::new());
    for (id, node) in named {
        let (facts, authorities) = proof_of(desk, id, node)?;
        proven.push(prove(api, digest, (id, node), &facts)?);
        warnings = discontinuity_warnings(authorities.discontinuities(), desk.language);
    }
    proven.sort_by_key(|proven| proven.index);
    Ok((proven, warnings))
}

/// What the receipt of a record proves that a node names.
fn proof_of(desk: &Desk, id: &str, node: &str) -> Result<(ReceiptFacts, Authorities), Failure> {
    let missing = |why: &str| {
        let detail = format!("{node} names transaction sha256:{id}, of which there is no receipt: {why}");
        Failure::coded(PART_MISSING, detail)
    };
    match receipt::of(desk, id) {
        Ok((checked, authorities)) => Ok((checked.facts.ok_or_else(|| missing(""))?, authorities)),
        Err(failure) if matches!(failure.exit, exit::NOT_YET_KNOWN | exit::NOT_FOUND) => Err(missing(&failure.detail)),
        Err(failure) => Err(failure),
    }
}

/// The citation, if the signed bytes hold it. MZ-4114 if not.
fn prove(api: &NodeApi, digest: &Hash, (id, node): (&str, &str), facts: &ReceiptFacts) -> Result<Proven, Failure> {
    let payload = facts.transaction.payload();
    let cited = citing(payload, digest);
    if cited.is_empty() {
        let digest = hex::encode(digest);
        let detail = format!("{node} says that transaction sha256:{id} cites sha256:{digest}, which its bytes do not");
        return Err(Failure::coded(MISMATCH, detail));
    }
    let sealed = facts.sealed.as_ref().ok_or_else(|| Failure::bug("a verified receipt has seals"))?;
    // A node may keep no older headers; one that shows another log is refused.
    let header = match blocks::holding(api, &sealed.checkpoint, &[facts.index]) {
        Ok(headers) => headers.first().copied(),
        Err(failure) if failure.exit == exit::FAILED => return Err(failure),
        Err(_) => None,
    };
    let cited = cited.iter().map(|citation| json!({ "field": citation.field, "kind": citation.kind }));
    let view = json!({
        "index": facts.index, "height": header.map(|header| header.height),
        "block_time": header.map(|header| time_text(header.time_ms)), "tx_id": format!("sha256:{id}"),
        "record_type": payload.record_type, "agency_id": payload.agency, "record_id": id_text(&payload.record_id),
        "outcome": outcome_name(facts.outcome),
        "code": (facts.outcome != 0).then(|| Code(facts.outcome).to_string()), "cited_as": cited.collect::<Vec<_>>(),
    });
    Ok(Proven { index: facts.index, view })
}

fn answer(
    desk: &Desk,
    digest: &Hash,
    (told, silent): (Vec<Told>, Vec<(String, Failure)>),
    ((proven, mut warnings), next): ((Vec<Proven>, Vec<String>), Option<u64>),
) -> Result<Answer, Failure> {
    let nodes: Vec<Value> = told.iter().map(|told| said(told, &proven, next)).collect();
    let digest = format!("sha256:{}", hex::encode(digest));
    let newest = told.iter().max_by_key(|told| told.as_of["height"].as_u64()).map(|told| told.as_of.clone());
    let since = told.iter().map(|told| told.since_index).min();
    let data = json!({
        "digest": digest, "items": proven.iter().map(|proven| &proven.view).collect::<Vec<_>>(), "next_cursor": next,
        "proven": true, "complete_proven": false, "since_index": since, "as_of": newest, "nodes": nodes,
        "silent": silent.iter().map(|(node, _)| node).collect::<Vec<_>>(),
        "claimed": ["as_of", "next_cursor", "nodes", "since_index"],
    });
    if proven.is_empty() && next.is_none() {
        let (count, since) = (told.len(), since.unwrap_or(0));
        let detail = format!(
            "none of the {count} nodes that answered names a record that cites {digest}, in the log from entry {since} \
             on: their word, no proof"
        );
        let mut failure = Failure::coded(NOT_FOUND, detail);
        failure.data = data;
        failure.data["proven"] = json!(false);
        return Err(failure);
    }
    warnings.extend(word_of_nodes(desk, (&told, &nodes), &silent, since.unwrap_or(0)));
    let offset = desk.network()?.genesis.founding.network.utc_offset_minutes;
    let mut shown = data.clone();
    for name in ["nodes", "claimed", "silent", "complete_proven"] {
        shown.as_object_mut().map(|members| members.remove(name));
    }
    let text = outline(&for_people(&shown, offset, desk.language), 0);
    Ok(Answer { warnings, ..Answer::done(data, text) })
}

/// Who says that there is no other, who left one out, and who said nothing.
fn word_of_nodes(
    desk: &Desk,
    (told, nodes): (&[Told], &[Value]),
    silent: &[(String, Failure)],
    since: u64,
) -> Vec<String> {
    let count = told.len();
    let mut warnings = vec![match desk.language {
        Language::Chinese => {
            format!("以上各条均已证明;此外再无引用,只是所问 {count} 个节点的说法(自日志第 {since} 条起),并无证明")
        }
        Language::English => format!(
            "each of these is proven; that there is no other is the word of {count} nodes, from log entry {since} on"
        ),
    }];
    for (told, view) in told.iter().zip(nodes).filter(|(_, view)| view["lacks"] != json!(0)) {
        warnings.push(match desk.language {
            Language::Chinese => format!("节点 {} 未列出其中 {} 条", told.node, view["lacks"]),
            Language::English => format!("{} does not name {} of these", told.node, view["lacks"]),
        });
    }
    warnings.extend(silent.iter().map(|(node, failure)| match desk.language {
        Language::Chinese => format!("节点 {node} 未作答:{}", desk.language.detail(&failure.detail)),
        Language::English => format!("{node} gave no answer: {}", failure.detail),
    }));
    warnings
}

/// What a node said beside what is proven: of the log that it holds and has reached, how many it did not name.
fn said(told: &Told, proven: &[Proven], next: Option<u64>) -> Value {
    let size = told.as_of["tree_size"].as_u64().unwrap_or(0);
    let named: BTreeSet<u64> = told.cited.iter().map(|(index, _)| *index).collect();
    let holds = told.since_index..told.next.or(next).unwrap_or(size).min(size);
    let lacks = proven.iter().filter(|proven| holds.contains(&proven.index) && !named.contains(&proven.index)).count();
    json!({ "node": told.node, "named": named.len(), "lacks": lacks, "since_index": told.since_index,
            "as_of": told.as_of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_none_is_not_taken() {
        let id = "ab".repeat(32);
        let item = json!({ "index": 7, "tx_id": format!("sha256:{id}") });
        let good = json!({ "items": [item], "next_cursor": null, "since_index": 0, "as_of": { "height": 1 } });
        let told = read("n", &good, 0).expect("an answer");
        assert_eq!((told.cited, told.next), (vec![(7, id)], None));
        for (name, value) in [
            ("items", json!({})),
            ("items", json!([{ "index": 7, "tx_id": "sha256:../x" }])),
            ("items", json!([{ "tx_id": "ab".repeat(32) }])),
            ("next_cursor", json!(5)),
            ("since_index", json!("0")),
        ] {
            let mut wrong = good.clone();
            wrong[name] = value;
            assert!(read("n", &wrong, 5).is_err(), "{wrong}");
        }
        let many: Vec<Value> = (0..500).map(|index| json!({ "index": index, "tx_id": "ab".repeat(32) })).collect();
        let told = read("n", &json!({ "items": many, "since_index": 0 }), 0).expect("an answer");
        assert_eq!(told.cited.len(), PROVEN_AT_ONCE, "no more than was asked for");
    }

    #[test]
    fn a_node_is_held_to_what_it_holds() {
        let told = |since_index, next, size| Told {
            node: "n".into(),
            cited: vec![(5, String::new())],
            next,
            since_index,
            as_of: json!({ "tree_size": size }),
        };
        let proven: Vec<Proven> = [2, 5, 9].map(|index| Proven { index, view: Value::Null }).into();
        let lacks = |told: &Told| said(told, &proven, None)["lacks"].clone();
        assert_eq!(lacks(&told(0, None, 10)), 2);
        assert_eq!(lacks(&told(3, None, 10)), 1, "its log begins later");
        assert_eq!(lacks(&told(3, None, 9)), 0, "it is behind");
        assert_eq!(lacks(&told(0, Some(6), 10)), 1, "it has more to say");
    }
}
