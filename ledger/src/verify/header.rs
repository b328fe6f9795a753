//! A header under a sealed checkpoint: the last leaf, and of the set that decided it. All state proofs start here.

use super::authorities::{Authorities, Kept, SealedNote, form_problem};
use super::{Problem, StepName};
use crate::crypto::Hash;
use crate::header::Header;
use crate::merkle::{leaf_hash, verify_consistency, verify_inclusion};
use crate::proof::{Consistency, SealedHeader};
use crate::seal::{Checkpoint, Note};

/// A header that a quorum has sealed, with the seals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenHeader {
    pub header: Header,
    pub sealed: SealedNote,
}

/// Checks a header with its checkpoint.
pub fn sealed_header(authorities: &Authorities, proof: &SealedHeader) -> Result<ProvenHeader, Problem> {
    let note = Note::parse(&proof.checkpoint).map_err(|fault| form_problem(&fault))?;
    under_note(authorities, &note, &proof.header, &proof.header_path)
}

/// Checks a header under a checkpoint that is given apart.
pub(super) fn under_note(
    authorities: &Authorities,
    note: &Note,
    header: &[u8],
    path: &[Hash],
) -> Result<ProvenHeader, Problem> {
    let sealed = authorities.note(note)?;
    let header = header_at_end(&note.checkpoint, header, path)?;
    if header.set_hash != sealed.set_hash || header.epoch != sealed.epoch {
        let detail = format!("header of epoch {} under seals of epoch {}", header.epoch, sealed.epoch);
        return Err(Problem::failed(4125, StepName::Authority, detail));
    }
    Ok(ProvenHeader { header, sealed })
}

/// A header whose size fits the checkpoint and whose path shows it to be the last leaf.
pub(super) fn header_at_end(checkpoint: &Checkpoint, bytes: &[u8], path: &[Hash]) -> Result<Header, Problem> {
    let header = Header::decode(bytes).map_err(|fault| Problem::failed(4101, StepName::Encoding, fault.to_string()))?;
    let end = header.first_index.checked_add(u64::from(header.entry_count)).and_then(|index| index.checked_add(1));
    paired("first_index + entry_count + 1", end, Some(checkpoint.size))
        .map_err(|detail| Problem::failed(4125, StepName::Inclusion, detail))?;
    verify_inclusion(leaf_hash(bytes), header.own_index(), checkpoint.size, path, &checkpoint.root)
        .map_err(|fault| Problem::failed(4108, StepName::Inclusion, fault.to_string()))?;
    Ok(header)
}

/// Checks that a checkpoint extends the one kept.
pub fn consistency(proof: &Consistency, kept: &Kept, checkpoint: &Checkpoint) -> Result<(), Problem> {
    let rewritten = |detail: String| Problem::failed(4121, StepName::Inclusion, detail);
    paired("size", proof.from, kept.size).map_err(rewritten)?;
    paired("size", proof.to, checkpoint.size).map_err(rewritten)?;
    if proof.from_root != kept.root {
        return Err(rewritten("the proof starts from another root than the one kept".into()));
    }
    verify_consistency(kept.size, checkpoint.size, &kept.root, &checkpoint.root, &proof.path)
        .map_err(|fault| rewritten(fault.to_string()))
}

/// Two values that must agree.
pub(super) fn paired<T: PartialEq + std::fmt::Debug>(name: &str, found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{name} is {found:?}, wanted {wanted:?}")) }
}
