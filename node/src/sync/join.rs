//! Taking a peer's state instead of replaying the log: the manifest, the leaf hashes, the leaves, one part at a time and
//! each stored once it has proved itself. A peer that sends a false part is named and left; another goes on where it
//! holds the same state, else its own is taken from the start. What is stored survives a restart.

use std::sync::Arc;

use mingzhang_ledger::crypto::{Hash, PublicKey};
use mingzhang_ledger::state::tree::SENTINEL;

use super::snapshot::{Manifest, check_leaves, next_of};
use super::wire::Question;
use super::{SyncFault, Trust};
use crate::clock::Started;
use crate::store::{ExpectedLeaves, Progress, Store};

/// What came over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measure {
    pub bytes: u64,
    pub leaves: u64,
    pub elapsed_ms: u64,
}

impl Measure {
    pub fn megabytes_per_second(&self) -> f64 {
        let (bytes, elapsed_ms) = (self.bytes as f64, self.elapsed_ms.max(1) as f64);
        bytes / 1_000.0 / elapsed_ms
    }
}

/// Asks a peer one question.
pub trait Ask {
    fn ask(&self, peer: &PublicKey, question: &Question) -> impl Future<Output = Result<Vec<u8>, SyncFault>> + Send;
}

/// What a joining node knows before it asks anybody.
pub struct Joiner<'a, A> {
    pub store: &'a Arc<Store>,
    pub trust: &'a Trust,
    /// Fewer blocks than this are replayed from the log.
    pub from_blocks: u64,
    pub asked: &'a A,
}

/// What came of asking one peer.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined {
    /// The whole state is there, to be made the node's own.
    Whole(Box<Manifest>, Measure),
    /// The peer is not so far ahead that it is worth it.
    NotWorth,
}

impl<A: Ask> Joiner<'_, A> {
    /// Takes the state of one peer, going on where an earlier attempt under the same manifest stopped.
    pub async fn take(&self, peer: &PublicKey) -> Result<Joined, SyncFault> {
        let (started, mut measure) = (Started::now(), Measure::default());
        let offered = self.ask(peer, &Question::Manifest, &mut measure).await?;
        let begun = self.store.joining()?;
        let same = begun.as_ref().is_some_and(|(manifest, _)| *manifest == offered);
        let manifest = Manifest::check(&offered, self.trust).map_err(SyncFault::Lie)?;
        if begun.is_none() && manifest.height() < self.from_blocks {
            return Ok(Joined::NotWorth);
        }
        let mut progress = match begun {
            Some((_, progress)) if same => progress,
            Some((earlier, _)) if !self.is_later(&earlier, &manifest) => return Err(SyncFault::NotThere),
            Some(_) | None => {
                self.store.begin_joining(&offered)?;
                Progress::Hashes(0)
            }
        };
        tracing::info!(
            height = manifest.height(),
            leaves = manifest.taken.header.state_size,
            ?progress,
            "taking a state"
        );
        self.store.rest_compactions(true)?;
        while let Progress::Hashes(part) = progress {
            progress = match part >= manifest.part_count() {
                true => Progress::Leaves(SENTINEL),
                false => self.hashes(peer, &manifest, part, &mut measure).await?,
            };
        }
        if let Progress::Leaves(from) = progress {
            self.leaves(peer, &manifest, from, &mut measure).await?;
        }
        measure.elapsed_ms = started.elapsed_ms();
        Ok(Joined::Whole(Box::new(manifest), measure))
    }

    /// What was stored under an earlier manifest is overwritten by a later state, never by an older one: its keys may be
    /// fewer.
    fn is_later(&self, earlier: &[u8], manifest: &Manifest) -> bool {
        let earlier = Manifest::check(earlier, self.trust);
        earlier.is_ok_and(|earlier| manifest.height() >= earlier.height())
    }

    async fn ask(&self, peer: &PublicKey, question: &Question, measure: &mut Measure) -> Result<Vec<u8>, SyncFault> {
        let answer = self.asked.ask(peer, question).await?;
        if answer.is_empty() {
            return Err(SyncFault::NotThere);
        }
        measure.bytes += answer.len() as u64;
        Ok(answer)
    }

    async fn hashes(
        &self,
        peer: &PublicKey,
        manifest: &Manifest,
        part: u64,
        measure: &mut Measure,
    ) -> Result<Progress, SyncFault> {
        let question = Question::LeafHashes { height: manifest.height(), part };
        let answer = self.ask(peer, &question, measure).await?;
        let hashes = manifest.check_part(part, &answer).map_err(SyncFault::Lie)?;
        let then = Progress::Hashes(part + 1);
        self.store.put_leaf_hashes(part * super::snapshot::PART_HASHES, &hashes, then)?;
        Ok(then)
    }

    /// From this leaf to the last. While an answer is checked and stored, the next one is on its way.
    async fn leaves(
        &self,
        peer: &PublicKey,
        manifest: &Manifest,
        from: Hash,
        measure: &mut Measure,
    ) -> Result<(), SyncFault> {
        let question = |from| Question::Leaves { height: manifest.height(), from };
        let known = Arc::new(self.store.expected_leaves(manifest.taken.header.state_size)?);
        let mut from = from;
        let mut answer = self.ask(peer, &question(from), measure).await?;
        loop {
            let next = next_of(&answer);
            let (store, known) = (Arc::clone(self.store), Arc::clone(&known));
            let keeping = tokio::task::spawn_blocking(move || keep(&store, &known, &from, &answer));
            let (kept, following) = match next {
                Some(next) => {
                    let further = question(next);
                    let (kept, following) = tokio::join!(keeping, self.ask(peer, &further, measure));
                    (kept, Some((next, following)))
                }
                None => (keeping.await, None),
            };
            measure.leaves += kept.map_err(|_| SyncFault::Stopping)??;
            match following {
                Some((next, following)) => (from, answer) = (next, following?),
                None => return Ok(()),
            }
        }
    }
}

/// Checks the leaves of an answer and keeps them; how many there were.
fn keep(store: &Store, known: &ExpectedLeaves, from: &Hash, answer: &[u8]) -> Result<u64, SyncFault> {
    let (leaves, next) = check_leaves(known, from, answer)?.map_err(SyncFault::Lie)?;
    // After the last one the first is asked for again: it is cheap, and the place is never left unsaid.
    store.put_leaves(&leaves, Progress::Leaves(next.unwrap_or(*from)))?;
    Ok(leaves.len() as u64)
}
