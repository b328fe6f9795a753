//! Builds every proof: receipts, headers, state, trails, hand-offs, consistency. Reads a log's nodes and a state tree
//! through two small traits; its twin `verify` checks what is made here.

use thiserror::Error;

use crate::authority::AuthoritySet;
use crate::crypto::Hash;
use crate::header::Header;
use crate::merkle::{Nodes, consistency_proof, inclusion_path, subtree_root};
use crate::proof::{Consistency, Handoff, SealedHeader, StateProof, SubjectKind, Trail, TrailItem, subject_key};
use crate::receipt::Receipt;
use crate::seal::Note;
use crate::state::StateFault;
use crate::state::key::Key;
use crate::state::tree::{SENTINEL, TreeView, leaf_bytes};

/// Why a trail cannot be proved.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TrailFault {
    #[error(transparent)]
    State(#[from] StateFault),
    #[error("{0} is not an id of that kind")]
    Id(String),
    #[error("{0} does not exist or has no trail")]
    NoTrail(String),
    #[error("{0} is no {1}")]
    Kind(String, &'static str),
}

/// The receipt of the entry at `index` under a sealed checkpoint that covers it.
pub fn receipt<N: Nodes + ?Sized>(log: &N, note: &Note, index: u64, entry: &[u8]) -> Result<Receipt, N::Error> {
    let path = inclusion_path(log, index, note.checkpoint.size)?;
    Ok(Receipt { entry: entry.to_vec(), index, path, note: note.clone() })
}

/// A header with its path to the checkpoint that it ends.
pub fn sealed_header<N: Nodes + ?Sized>(log: &N, note: &Note, header: &Header) -> Result<SealedHeader, N::Error> {
    let header_path = inclusion_path(log, header.own_index(), note.checkpoint.size)?;
    Ok(SealedHeader { checkpoint: note.text(), header: header.encode().to_vec(), header_path })
}

/// How trust passes over a boundary block, whose checkpoint the old set has sealed.
pub fn handoff<N: Nodes + ?Sized>(
    log: &N,
    note: &Note,
    header: &Header,
    next: &AuthoritySet,
) -> Result<Handoff, N::Error> {
    let sealed = sealed_header(log, note, header)?;
    Ok(Handoff { header: sealed.header, path: sealed.header_path, checkpoint: sealed.checkpoint, set: next.encode() })
}

/// That the log of `to` leaves extends the log of `from` leaves.
pub fn consistency<N: Nodes + ?Sized>(log: &N, from: u64, to: u64) -> Result<Consistency, N::Error> {
    Ok(Consistency { from, from_root: subtree_root(log, 0, from)?, to, path: consistency_proof(log, from, to)? })
}

/// The nodes of a state tree, for inclusion paths.
struct StateNodes<'a>(&'a dyn TreeView);

impl Nodes for StateNodes<'_> {
    type Error = StateFault;
    fn node(&self, level: u32, index: u64) -> Result<Hash, StateFault> {
        self.0.node(level, index)
    }
}

/// The leaf of `key` in a tree of `size` leaves; if there is none, the leaf that shows its absence.
pub fn state(view: &dyn TreeView, size: u64, key: &Key) -> Result<StateProof, StateFault> {
    let place = match view.position(key)? {
        Some(place) => place,
        None => view.predecessor(key)?,
    };
    let value = match view.read(&place.key)? {
        Some(stored) => stored.leaf_value(),
        None if place.key == SENTINEL => Vec::new(),
        None => return Err(StateFault::Invariant("a leaf has no value")),
    };
    let path = inclusion_path(&StateNodes(view), place.index, size)?;
    Ok(StateProof { leaf: leaf_bytes(&place.key, &place.next, &value), index: place.index, path })
}

/// The trail of a subject with the entries given: all of them, or a page.
pub fn trail(
    view: &dyn TreeView,
    size: u64,
    kind: SubjectKind,
    id: &str,
    entries: Vec<TrailItem>,
) -> Result<Trail, TrailFault> {
    let key = subject_key(kind, id).ok_or_else(|| TrailFault::Id(id.to_owned()))?;
    let stored = view.read(&key)?.ok_or_else(|| TrailFault::NoTrail(id.to_owned()))?;
    let frontier = stored.trail.ok_or_else(|| TrailFault::NoTrail(id.to_owned()))?;
    if !kind.is_kind_of(&stored.current) {
        return Err(TrailFault::Kind(id.to_owned(), kind.name()));
    }
    let state = state(view, size, &key)?;
    Ok(Trail { kind, id: id.to_owned(), count: frontier.size(), root: frontier.root(), state, entries })
}
