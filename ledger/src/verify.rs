//! What an outsider runs, with nothing but the genesis file: receipt → entry → checkpoint → seals → authority set →
//! genesis. Here are verdicts and the check of a receipt; the other proofs are in the files below. Folding money is
//! the fund mechanism's.

mod authorities;
mod bundle;
mod header;
mod omission;
mod split;
mod state;
mod trail;

pub use authorities::{Authorities, Kept, SealedNote};
pub use bundle::{BundleReport, ProvenBundle, bundle, entry_view, registration};
pub use header::{ProvenHeader, consistency, sealed_header};
pub use omission::omission;
pub use split::{Convicted, split_view};
pub use state::{LeafValue, RegisteredKey, absence, expired, leaves, presence, registered_keys};
pub use trail::{ProvenEntry, ProvenTrail, trail};

use serde::Serialize;

use crate::codec::Value;
use crate::crypto::{Hash, sha256};
use crate::entry::Entry;
use crate::merkle::{leaf_hash, verify_inclusion};
use crate::outcome::Code;
use crate::proof::KeyProof;
use crate::receipt::Receipt;
use crate::transaction::Transaction;

/// The steps of a verification, as they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// The text or JSON is complete and canonical, and of this network.
    Encoding,
    /// The officer's signature, and the registration of the key.
    Signature,
    /// Merkle paths to the sealed root.
    Inclusion,
    /// A quorum of seals.
    Seals,
    /// The authority set, reached from genesis over hand-offs.
    Authority,
    /// A file against the hash on record.
    Document,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    Passed,
    /// Not checked here: the quorum checked it before it sealed.
    Attested,
    Failed,
    Missing,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub name: StepName,
    pub result: StepResult,
    pub detail: String,
}

/// Why a proof does not hold, or what is missing to say so. The two are never confused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// False: it can be shown not to hold. True: it cannot be concluded.
    pub missing: bool,
    pub code: Code,
    pub step: StepName,
    pub detail: String,
}

impl Problem {
    pub(crate) fn failed(code: u16, step: StepName, detail: impl Into<String>) -> Self {
        Self { missing: false, code: Code(code), step, detail: detail.into() }
    }

    pub(crate) fn missing(code: u16, step: StepName, detail: impl Into<String>) -> Self {
        Self { missing: true, code: Code(code), step, detail: detail.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Verified,
    Failed { code: Code, step: StepName },
    Inconclusive { code: Code, missing: Vec<String> },
}

/// The answer and how it was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub verdict: Verdict,
    pub steps: Vec<Step>,
}

impl Report {
    /// The first failure decides; without one, anything missing; else it is verified.
    fn of(steps: Vec<Step>, problems: Vec<Problem>) -> Self {
        let verdict = match (problems.iter().find(|problem| !problem.missing), problems.first()) {
            (Some(failed), _) => Verdict::Failed { code: failed.code, step: failed.step },
            (None, Some(first)) => Verdict::Inconclusive {
                code: first.code,
                missing: problems.iter().map(|problem| problem.detail.clone()).collect(),
            },
            (None, None) => Verdict::Verified,
        };
        Self { verdict, steps }
    }
}

/// Gathers steps and problems on the way to a report.
#[derive(Default)]
struct Course {
    steps: Vec<Step>,
    problems: Vec<Problem>,
}

impl Course {
    fn pass(&mut self, name: StepName, result: StepResult, detail: impl Into<String>) {
        self.steps.push(Step { name, result, detail: detail.into() });
    }

    fn note(&mut self, problem: Problem) {
        let result = if problem.missing { StepResult::Missing } else { StepResult::Failed };
        self.steps.push(Step { name: problem.step, result, detail: problem.detail.clone() });
        self.problems.push(problem);
    }

    fn take<T>(&mut self, outcome: Result<T, Problem>) -> Option<T> {
        outcome.map_err(|problem| self.note(problem)).ok()
    }

    /// Where the members' own word does not lead on: said in every report that passes such a place.
    fn tell_discontinuities(&mut self, authorities: &Authorities) {
        for told in authorities.discontinuities() {
            self.pass(StepName::Authority, StepResult::Attested, told.to_string());
        }
    }

    fn report(self) -> Report {
        Report::of(self.steps, self.problems)
    }
}

/// What a receipt says, once its form is known to be right. To be relied on only if the verdict is `Verified`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFacts {
    pub transaction: Transaction,
    pub outcome: u16,
    pub index: u64,
    pub tree_size: u64,
    /// Epoch of the deciding set, distinct seals and the quorum needed; None if the seals do not decide.
    pub sealed: Option<SealedNote>,
}

/// A verdict on a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptReport {
    pub report: Report,
    pub facts: Option<ReceiptFacts>,
}

/// Checks a receipt's text, and the registration of its signer's key if a proof of it is given. Without one the
/// quorum's word stands for the signature: nothing is recorded whose signature it has not checked.
pub fn receipt(authorities: &Authorities, text: &str, key: Option<&KeyProof>) -> ReceiptReport {
    let mut course = Course::default();
    let Some((receipt, outcome, transaction)) = course.take(read_receipt(authorities, text)) else {
        return ReceiptReport { report: course.report(), facts: None };
    };
    course.pass(StepName::Encoding, StepResult::Passed, format!("entry {}", receipt.index));
    match key {
        None => course.pass(StepName::Signature, StepResult::Attested, "no proof of the key is given"),
        Some(proof) => {
            let checked = signer(authorities, &receipt, &transaction, proof);
            if let Some(agency) = course.take(checked) {
                course.pass(StepName::Signature, StepResult::Passed, format!("a registered key of {agency}"));
            }
        }
    }
    let checkpoint = &receipt.note.checkpoint;
    let leaf = leaf_hash(&receipt.entry);
    match verify_inclusion(leaf, receipt.index, checkpoint.size, &receipt.path, &checkpoint.root) {
        Ok(()) => course.pass(
            StepName::Inclusion,
            StepResult::Passed,
            format!("entry {} of a log of {} entries", receipt.index, checkpoint.size),
        ),
        Err(fault) => course.note(Problem::failed(4103, StepName::Inclusion, fault.to_string())),
    }
    let sealed = course.take(authorities.note(&receipt.note));
    if let Some(sealed) = &sealed {
        let seals = format!("{} seals, a quorum is {}", sealed.seals.len(), sealed.quorum);
        course.pass(StepName::Seals, StepResult::Passed, seals);
        course.pass(StepName::Authority, StepResult::Passed, format!("authority set of epoch {}", sealed.epoch));
    }
    course.tell_discontinuities(authorities);
    let facts = ReceiptFacts { transaction, outcome, index: receipt.index, tree_size: checkpoint.size, sealed };
    ReceiptReport { report: course.report(), facts: Some(facts) }
}

fn read_receipt(authorities: &Authorities, text: &str) -> Result<(Receipt, u16, Transaction), Problem> {
    let receipt = Receipt::parse(text).map_err(|fault| match fault {
        crate::receipt::ReceiptFault::Note(fault) => authorities::form_problem(&fault),
        fault @ crate::receipt::ReceiptFault::Format(_) => Problem::failed(4101, StepName::Encoding, fault.to_string()),
    })?;
    let entry =
        Entry::decode(&receipt.entry).map_err(|fault| Problem::failed(4102, StepName::Encoding, fault.to_string()))?;
    let Entry::Record { outcome, transaction } = entry else {
        return Err(Problem::failed(4102, StepName::Encoding, "the entry is not a record"));
    };
    authorities.check_origin(&transaction.payload().origin)?;
    Ok((receipt, outcome, transaction))
}

/// Checks the key's registration under the receipt's own checkpoint, and the signature. Returns the agency.
fn signer(
    authorities: &Authorities,
    receipt: &Receipt,
    transaction: &Transaction,
    proof: &KeyProof,
) -> Result<String, Problem> {
    let proven = header::under_note(authorities, &receipt.note, &proof.header, &proof.header_path)?;
    let found = leaves(&proven, std::slice::from_ref(&proof.state_proof))?;
    let keys = registered_keys(&found);
    let key = keys.get(&transaction.key_id()).ok_or_else(|| {
        Problem::failed(4111, StepName::Signature, "the leaf given is not that of the key that the record names")
    })?;
    key.check(transaction)?;
    Ok(key.agency.clone())
}

/// The hash of a document as records carry it: SHA-256(salt ‖ file).
pub fn document_digest(salt: &Hash, file: &[u8]) -> Hash {
    sha256(&[salt, file])
}

/// Whether a transaction records this digest, as evidence or anywhere in its body.
pub fn document(transaction: &Transaction, digest: &Hash) -> Result<(), Problem> {
    if holds(&transaction.payload().body, digest) {
        return Ok(());
    }
    let detail = format!("{} is not on record in this transaction", hex::encode(digest));
    Err(Problem::failed(4114, StepName::Document, detail))
}

fn holds(value: &Value, digest: &Hash) -> bool {
    match value {
        Value::Bytes(bytes) => bytes.as_slice() == digest,
        Value::Array(items) => items.iter().any(|item| holds(item, digest)),
        Value::Map(pairs) => pairs.iter().any(|(_, value)| holds(value, digest)),
        Value::Null | Value::Bool(_) | Value::Uint(_) | Value::Int(_) | Value::Text(_) => false,
    }
}

#[cfg(test)]
mod tests;
