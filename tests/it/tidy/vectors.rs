//! Every type that crosses a wire has a vector: which types there are follows from the sources, which statements,
//! messages and questions from the protocol page. Whether the bytes are right is tested where the vectors are.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, none, root, sources};

/// What is read from bytes of others, and a vector that holds it. Of those in one file with a suffix the file's name.
const VECTORS: [(&str, &str); 44] = [
    ("AuthoritySet", "set"),
    ("Batch", "batch"),
    ("BundledTrail", "evidence.json"),
    ("Checkpoint", "checkpoint"),
    ("Consistency", "consistency"),
    ("EndorseCert", "store/record-confirmed"),
    ("Entered", "store/entered"),
    ("Entry", "entry.record"),
    ("EntryView", "evidence.json"),
    ("Evidence", "evidence/evidence-two-votes"),
    ("EvidenceBundle", "evidence.json"),
    ("FinalCert", "certificate.final"),
    ("Genesis", "genesis.json"),
    ("Handoff", "handoffs.json"),
    ("Header", "header"),
    ("HeaderProof", "evidence.json"),
    ("Just", "message/justify-endorsed"),
    ("KeyProof", "evidence.json"),
    ("LeafValue", "state.value"),
    ("Message", "message/proposal"),
    ("Note", "note"),
    ("OutcomeView", "evidence.json"),
    ("Passage", "handoffs.json"),
    ("Payload", "transaction.payload"),
    ("Question", "question.segment"),
    ("Receipt", "receipt.tlog-proof"),
    ("RecoveryManifest", "recovery.manifest"),
    ("RecoveryProof", "recovery.proof"),
    ("Reference", "batch.reference"),
    ("SafetyRecord", "store/record-endorsed"),
    ("Seal", "seal"),
    ("SealedHeader", "absence.json"),
    ("SealedState", "absence.json"),
    ("Segment", "answer.segment"),
    ("SignedManifest", "recovery"),
    ("Signers", "certificate.final"),
    ("SkipCert", "message/justify-endorsed"),
    ("StateProof", "absence.json"),
    ("SubjectKind", "trail.json"),
    ("Trail", "trail.json"),
    ("TrailItem", "trail.json"),
    ("TrailProof", "trail.json"),
    ("Transaction", "transaction"),
    ("Vote", "message/endorse"),
];
/// The same of functions that read what is no type of its own.
const READERS: [(&str, &str); 4] = [
    ("decode_batches", "answer.batches"),
    ("decode_batches_preimage", "batches.preimage"),
    ("decode_block", "answer.block"),
    ("read_block", "answer.segment"),
];
/// What is read and crosses no wire on its own: any canonical value, a day as a text, files of one machine, and the
/// papers of a founding, which become the genesis.
const NO_WIRE: [&str; 6] = ["Value", "Day", "Phrases", "Proofs", "Contribution", "Seeds"];

/// Vectors by name, in hexadecimal; of those that are a file of their own the name alone.
fn vectors() -> BTreeMap<String, String> {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect("vectors");
    let mut found = BTreeMap::new();
    for path in ["tests/vectors/wire.json", "tests/vectors/messages.json"] {
        found.extend(serde_json::from_str::<BTreeMap<String, String>>(&read(path)).expect("JSON"));
    }
    let lines = read("consensus/tests/vectors/bytes.txt");
    found.extend(lines.lines().filter_map(|line| line.split_once(' ')).map(|(name, hex)| (name.into(), hex.into())));
    for entry in std::fs::read_dir(root().join("tests/vectors/proofs")).expect("a folder") {
        found.insert(entry.expect("an entry").file_name().to_string_lossy().into_owned(), String::new());
    }
    found
}

/// What a source reads from bytes or text: types with a reader of their own or a form of JSON, and functions.
fn readers(source: &Source) -> BTreeSet<String> {
    let (mut found, mut of, mut json) = (BTreeSet::new(), String::new(), false);
    let name =
        |text: &str| text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect::<String>();
    for line in source.text.lines().take_while(|line| !line.starts_with("mod tests")) {
        if let Some(rest) = line.strip_prefix("impl ") {
            of = name(rest);
        } else if line.starts_with("#[derive(") {
            json = line.contains("Deserialize");
        } else if let Some(rest) = line.strip_prefix("pub struct ").or(line.strip_prefix("pub enum ")) {
            if json && source.path.starts_with("ledger/src/proof") {
                found.insert(name(rest));
            }
            json = false;
        } else if let Some(rest) = line.strip_prefix("pub fn ") {
            if rest.starts_with("decode_") || rest.starts_with("read_") {
                found.insert(name(rest));
            }
        } else if ["decode(", "read(", "parse("].iter().any(|form| line.trim().starts_with(&format!("pub fn {form}"))) {
            found.insert(of.clone());
        }
    }
    found
}

#[test]
fn every_wire_type_has_a_vector() {
    let rooms = ["ledger/src/", "consensus/src/", "genesis/src/", "seeds/src/", "node/src/sync/wire.rs"];
    let sources = sources();
    let read: BTreeSet<String> = sources
        .iter()
        .filter(|source| source.is_rust() && rooms.iter().any(|room| source.path.starts_with(room)))
        .flat_map(readers)
        .collect();
    none("no reader of that name", NO_WIRE.iter().filter(|name| !read.contains(**name)).map(|name| (*name).to_owned()));
    let read: BTreeSet<String> = read.into_iter().filter(|name| !NO_WIRE.contains(&name.as_str())).collect();
    let vectors = vectors();
    let told: BTreeMap<&str, &str> = VECTORS.iter().chain(&READERS).copied().collect();
    none("read from bytes, without a vector", read.iter().filter(|name| !told.contains_key(name.as_str())).cloned());
    none(
        "no vector of that name",
        told.iter().filter(|(_, vector)| !vectors.contains_key(**vector)).map(|told| format!("{told:?}")),
    );
    none(
        "vectors of what is not read",
        told.keys().filter(|name| !read.contains(**name)).map(|name| (*name).to_owned()),
    );
}

#[test]
fn every_statement_message_and_question_of_the_protocol_page_has_a_vector() {
    let page = std::fs::read_to_string(root().join("docs/PROTOCOL.md")).expect("the page");
    let vectors = vectors();
    let begins = |room: &str, bytes: &[u8]| {
        vectors.iter().any(|(name, vector)| name.starts_with(room) && vector.starts_with(&hex::encode(bytes)))
    };
    let (mut missing, mut count) = (Vec::new(), 0);
    let mut wanted = |line: &str, found: bool| {
        count += 1;
        if !found {
            missing.push(line.chars().take(60).collect::<String>());
        }
    };
    let section =
        |title: &str| page.split(title).nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    for line in section("\n## 2. ").lines().filter(|line| line.starts_with("| ")) {
        let domain = line.split("`\"").nth(1).and_then(|rest| rest.split("\\0\"").next());
        if let Some(domain) = domain.filter(|domain| domain.starts_with("mingzhang/")) {
            wanted(line, begins("", &[domain.as_bytes(), &[0]].concat()));
        }
    }
    let messages = section("\n## 11. ");
    let (bodies, questions) = messages.split_once("| question | answer |").expect("two tables");
    for (room, table) in [("message/", bodies), ("question.", questions)] {
        for line in table.lines() {
            let number = line.strip_prefix("| ").and_then(|rest| rest.get(..3)).and_then(|rest| rest.strip_suffix(' '));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                wanted(line, begins(room, &[number]));
            }
        }
    }
    none("on the protocol page, without a vector", missing);
    assert_eq!(count, 7 + 7 + 7, "the tables are read otherwise than they are written");
}
