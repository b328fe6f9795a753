//! A sealed trail that leaves out an entry about its subject: proof that a quorum executed falsely.

use super::{Authorities, Problem, StepName, Verdict, presence, receipt, sealed_header};
use crate::merkle::{Frontier, leaf_hash};
use crate::proof::{SubjectKind, TrailItem, TrailProof};
use crate::records;
use crate::records::body::Mentions;
use crate::records::object::{RecordLeaf, Ref};
use crate::state::trail_entry;
use crate::transaction::Payload;

/// Whether the complete trail of a programme, account, case, tender or data set passes by the entry of a receipt whose
/// record names that subject in its body. Ok(false): the entry stands in the trail, or came before the subject existed,
/// or after the trail was sealed. Subjects that an entry has only through another record's object are not judged here.
pub fn omission(authorities: &Authorities, receipt_text: &str, proof: &TrailProof) -> Result<bool, Problem> {
    let report = receipt(authorities, receipt_text, None);
    let (Verdict::Verified, Some(facts)) = (&report.report.verdict, report.facts) else {
        return Err(Problem::failed(4103, StepName::Inclusion, "the receipt of the entry does not verify"));
    };
    let proven = sealed_header(authorities, &proof.sealed)?;
    let trail = &proof.trail;
    let wrong = |detail: &str| Problem::failed(4110, StepName::Inclusion, detail);
    let key = trail.key().ok_or_else(|| wrong("the id is not one of its kind"))?;
    let value = presence(&proven, &trail.state, &key)?;
    let (count, root) = value.trail.ok_or_else(|| wrong("the subject has no trail"))?;
    let hash = |item: &TrailItem| leaf_hash(&trail_entry(item.index, &leaf_hash(&item.entry)));
    let whole = u64::try_from(trail.entries.len()).ok() == Some(count);
    if !whole || Frontier::of(trail.entries.iter().map(hash)).root() != root {
        return Err(wrong("the trail is not whole"));
    }
    let subject = subject_of(trail.kind, &trail.id).ok_or_else(|| wrong("subjects of that kind are not judged"))?;
    let made: RecordLeaf = minicbor::decode(&value.current).map_err(|_| wrong("the subject's value is no record's"))?;
    let concerns = names(facts.transaction.payload(), &subject);
    let between = made.index < facts.index && facts.index < proven.header.own_index();
    let listed = trail.entries.iter().any(|item| item.index == facts.index);
    Ok(concerns && between && !listed)
}

fn subject_of(kind: SubjectKind, id: &str) -> Option<Ref> {
    match kind {
        SubjectKind::Programme
        | SubjectKind::Account
        | SubjectKind::Case
        | SubjectKind::Tender
        | SubjectKind::Dataset => {
            let (agency, record) = id.split_once('/')?;
            Some(Ref::new(agency, &crate::state::key::parse_id(record)?))
        }
        SubjectKind::Recipient | SubjectKind::Officer | SubjectKind::Registry | SubjectKind::Findings => None,
    }
}

/// Whether a record refers to the subject in a field that the schema calls a reference.
fn names(payload: &Payload, subject: &Ref) -> bool {
    let kind = records::record_type(&payload.record_type);
    kind.is_some_and(|kind| {
        Mentions::of(kind, &payload.body).references.iter().any(|found| found.reference == *subject)
    })
}
