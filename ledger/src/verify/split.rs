//! Two sealed checkpoints that cannot both be true, and whom they convict. For checkpoints of different sizes the larger
//! tree is needed too: `consistency` says whether it extends the smaller.

use std::collections::BTreeSet;

use super::{Authorities, Problem, StepName};
use crate::seal::Note;

/// Agencies that sealed both histories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Convicted {
    pub size: u64,
    pub agencies: BTreeSet<String>,
}

/// Judges two notes of one size, each with a quorum of seals. Ok(None): they agree.
pub fn split_view(authorities: &Authorities, one: &Note, other: &Note) -> Result<Option<Convicted>, Problem> {
    let (one, other) = (authorities.note(one)?, authorities.note(other)?);
    let size = one.checkpoint.size;
    if size != other.checkpoint.size {
        let detail = format!("sizes {size} and {}: compare them by a consistency proof", other.checkpoint.size);
        return Err(Problem::missing(4127, StepName::Inclusion, detail));
    }
    if one.checkpoint.root == other.checkpoint.root {
        return Ok(None);
    }
    let both = one.seals.into_keys().filter(|agency| other.seals.contains_key(agency));
    Ok(Some(Convicted { size, agencies: both.collect() }))
}
