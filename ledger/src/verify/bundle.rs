//! An evidence bundle, from genesis up: hand-offs, receipt, key, trail. The bundle carries no trust in itself.

use std::collections::BTreeMap;

use serde_json::json;

use super::state::{LeafValue, leaves, registered_keys};
use super::{
    Authorities, Course, Kept, Problem, ProvenHeader, ProvenTrail, ReceiptFacts, Report, StepName, StepResult,
    consistency, sealed_header, trail,
};
use crate::crypto::KeyId;
use crate::outcome::{Code, catalogue};
use crate::proof::{BUNDLE_FORMAT, BundledTrail, EntryView, EvidenceBundle, OutcomeView};
use crate::records::record_type;
use crate::records::view::{self, Lens};
use crate::recovery::Discontinuity;
use crate::state::key::{Key, id_text};

/// The verdict on a bundle and what it proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleReport {
    pub report: Report,
    pub receipt: Option<ReceiptFacts>,
    pub trail: Option<ProvenBundle>,
    /// Where the hand-offs pass a recovery manifest.
    pub discontinuities: Vec<Discontinuity>,
}

/// A proven trail with the leaves beside it, for the fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenBundle {
    pub header: ProvenHeader,
    pub trail: ProvenTrail,
    /// Further complete trails, by the key of their subject.
    pub registries: BTreeMap<Key, ProvenTrail>,
    pub leaves: BTreeMap<Key, LeafValue>,
}

/// Checks a bundle against the genesis that the verifier holds. `genesis` knows no hand-off yet.
pub fn bundle(genesis: &Authorities, bundle: &EvidenceBundle) -> BundleReport {
    let mut course = Course::default();
    let mut receipt = None;
    let mut proven = None;
    let mut discontinuities = Vec::new();
    if let Some(authorities) = course.take(open(genesis, bundle)) {
        let epoch = authorities.newest().epoch;
        discontinuities.extend(authorities.discontinuities().cloned());
        course.pass(StepName::Authority, StepResult::Passed, format!("hand-offs lead to epoch {epoch}"));
        if bundle.receipt.is_none() {
            course.tell_discontinuities(&authorities);
        }
        if let Some(text) = &bundle.receipt {
            let checked = super::receipt(&authorities, text, bundle.key.as_ref());
            course.adopt(checked.report);
            receipt = checked.facts;
        }
        course.take(check_entry(bundle.entry.as_ref(), receipt.as_ref()));
        course.take(check_registration(bundle, receipt.as_ref()));
        if bundle.receipt.is_none() && (bundle.entry.is_some() || bundle.key.is_some()) {
            course.note(Problem::missing(4127, StepName::Encoding, "the receipt of the entry that is described"));
        }
        if let Some(bundled) = &bundle.trail {
            proven = course.take(check_trail(&authorities, bundled));
            if let Some(proven) = &proven {
                let detail = format!("all {} entries of {}", proven.trail.entries.len(), bundled.trail.id);
                course.pass(StepName::Inclusion, StepResult::Passed, detail);
                let seals = &proven.header.sealed.seals;
                let detail = format!("{} seals, a quorum is {}", seals.len(), proven.header.sealed.quorum);
                course.pass(StepName::Seals, StepResult::Passed, detail);
                course.pass(StepName::Signature, StepResult::Passed, "every record by a registered key".to_owned());
            }
        }
        course.take(check_policy(&authorities, bundle, (receipt.as_ref(), proven.as_ref())));
        course.take(check_consistency(bundle, proven.as_ref(), receipt.as_ref()));
        if bundle.receipt.is_none() && bundle.trail.is_none() {
            course.note(Problem::missing(4127, StepName::Encoding, "a receipt or a trail"));
        }
    }
    BundleReport { report: course.report(), receipt, trail: proven, discontinuities }
}

impl Course {
    /// Takes over the steps of a part.
    fn adopt(&mut self, report: Report) {
        let problem = match &report.verdict {
            super::Verdict::Verified => None,
            super::Verdict::Failed { code, step } => {
                Some(Problem { missing: false, code: *code, step: *step, detail: String::new() })
            }
            super::Verdict::Inconclusive { code, missing } => {
                let detail = missing.join("; ");
                Some(Problem { missing: true, code: *code, step: StepName::Authority, detail })
            }
        };
        self.steps.extend(report.steps);
        self.problems.extend(problem);
    }
}

/// The bundle is of this network, and its hand-offs lead from genesis.
fn open(genesis: &Authorities, bundle: &EvidenceBundle) -> Result<Authorities, Problem> {
    if bundle.format != BUNDLE_FORMAT {
        return Err(Problem::failed(4101, StepName::Encoding, format!("format {}", bundle.format)));
    }
    genesis.check_origin(&bundle.origin)?;
    if bundle.genesis_hash != *genesis.chain() {
        return Err(Problem::failed(4001, StepName::Encoding, hex::encode(bundle.genesis_hash)));
    }
    let mut authorities = genesis.clone();
    bundle.handoffs.iter().try_for_each(|passage| authorities.follow(passage))?;
    Ok(authorities)
}

/// What the bundle says about the entry is what the receipt holds.
fn check_entry(view: Option<&EntryView>, facts: Option<&ReceiptFacts>) -> Result<(), Problem> {
    let (Some(view), Some(facts)) = (view, facts) else { return Ok(()) };
    if view.outcome.code != facts.outcome {
        let detail = format!("stated {}, proven {}", view.outcome.code, facts.outcome);
        return Err(Problem::failed(4112, StepName::Encoding, detail));
    }
    if view.index != facts.index || view.transaction_id != facts.transaction.id() {
        return Err(Problem::failed(4102, StepName::Encoding, "index or transaction id is not the receipt's"));
    }
    let proven = entry_view(facts);
    if view.outcome.name != proven.outcome.name {
        let detail = format!("stated {}, proven {}", view.outcome.name, proven.outcome.name);
        return Err(Problem::failed(4112, StepName::Encoding, detail));
    }
    if view.decoded != proven.decoded {
        return Err(Problem::failed(4102, StepName::Encoding, "decoded is not what the receipt's entry says"));
    }
    Ok(())
}

/// What a receipt's entry says, for people: a bundle states exactly this.
pub fn entry_view(facts: &ReceiptFacts) -> EntryView {
    let payload = facts.transaction.payload();
    let kind = record_type(&payload.record_type);
    let name = catalogue().get(&Code(facts.outcome)).map_or("applied", |entry| entry.name.as_str());
    EntryView {
        index: facts.index,
        outcome: OutcomeView { code: facts.outcome, name: name.to_owned() },
        transaction_id: facts.transaction.id(),
        decoded: json!({
            "record_type": payload.record_type, "agency_id": payload.agency,
            "record_id": id_text(&payload.record_id), "signer": hex::encode(facts.transaction.key_id()),
            "body": kind.map(|kind| view::body(kind, &payload.body, &Lens::new(0))),
        }),
    }
}

/// What a bundle says in words about the key beside its receipt.
pub fn registration(key_id: &KeyId) -> serde_json::Value {
    json!({ "key_id": hex::encode(key_id) })
}

fn check_registration(bundle: &EvidenceBundle, facts: Option<&ReceiptFacts>) -> Result<(), Problem> {
    let (Some(key), Some(facts)) = (&bundle.key, facts) else { return Ok(()) };
    if key.registration == registration(&facts.transaction.key_id()) {
        return Ok(());
    }
    Err(Problem::failed(4111, StepName::Signature, "the registration stated is not that of the signer's key"))
}

/// The policy, which others' verifiers go by, is that of the set which decides the bundle's checkpoint.
fn check_policy(
    authorities: &Authorities,
    bundle: &EvidenceBundle,
    (receipt, trail): (Option<&ReceiptFacts>, Option<&ProvenBundle>),
) -> Result<(), Problem> {
    let of_trail = trail.map(|proven| proven.header.sealed.checkpoint.size);
    // Where the seals decide nothing, as for want of a hand-off, nobody knows whose policy it should be.
    let size = match receipt {
        Some(facts) => facts.sealed.as_ref().map(|sealed| sealed.checkpoint.size),
        None => of_trail,
    };
    let Some(size) = size else { return Ok(()) };
    if bundle.policy == authorities.policy(size) {
        return Ok(());
    }
    let detail = "the policy is not that of the authority set that decides the checkpoint";
    Err(Problem::failed(4101, StepName::Authority, detail))
}

/// The log as it once was is a part of the log that the bundle's checkpoint covers.
fn check_consistency(
    bundle: &EvidenceBundle,
    proven: Option<&ProvenBundle>,
    receipt: Option<&ReceiptFacts>,
) -> Result<(), Problem> {
    let Some(proof) = &bundle.consistency else { return Ok(()) };
    let trail = proven.map(|proven| &proven.header.sealed);
    let notes = trail.into_iter().chain(receipt.and_then(|facts| facts.sealed.as_ref()));
    let Some(sealed) = notes.into_iter().find(|sealed| sealed.checkpoint.size == proof.to) else {
        let detail = format!("no sealed checkpoint of size {} for the consistency proof", proof.to);
        return Err(Problem::missing(4127, StepName::Inclusion, detail));
    };
    consistency(proof, &Kept { size: proof.from, root: proof.from_root }, &sealed.checkpoint)
}

fn check_trail(authorities: &Authorities, bundled: &BundledTrail) -> Result<ProvenBundle, Problem> {
    let header = sealed_header(authorities, &bundled.sealed)?;
    let leaves = leaves(&header, &bundled.leaves)?;
    let keys = registered_keys(&leaves);
    let proven = trail(authorities, &header, &bundled.trail, &keys)?;
    let mut registries = BTreeMap::new();
    for registry in &bundled.registries {
        let checked = trail(authorities, &header, registry, &keys)?;
        if let Some(key) = registry.key() {
            registries.insert(key, checked);
        }
    }
    Ok(ProvenBundle { header, trail: proven, registries, leaves })
}
