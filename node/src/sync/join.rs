//! Taking a peer's state instead of replaying the log: the manifest, the leaf hashes, the leaves, one part at a time and
//! each stored once it has proved itself. A peer that sends a false part is named and left, one that stops giving or gives
//! a little at a time is left too; another goes on where it holds the same state. Where none does, what was taken is given
//! up for the state of a peer that gives its first part. What is stored survives a restart.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mingzhang_ledger::crypto::{Hash, PublicKey};
use mingzhang_ledger::state::tree::SENTINEL;

use super::snapshot::{Manifest, check_leaves, next_of};
use super::turns::Turns;
use super::wire::Question;
use super::{Lie, SyncFault, Trust};
use crate::clock::Started;
use crate::store::{ExpectedLeaves, Progress, Store};

/// Before a question is asked again that was not answered.
const PAUSE: Duration = Duration::from_millis(500);

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

    /// Leaves a peer that answered what cannot be true.
    fn refuse(&self, peer: &PublicKey, lie: &Lie);
}

/// The least that a peer must bring in so much time of waiting for it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub span_ms: u64,
    pub least_bytes: u64,
}

/// Whoever gives whole answers, each within the time that one is waited for, brings three of 1 MiB and more.
pub const PACE: Pace = Pace { span_ms: 30_000, least_bytes: 2 * 1024 * 1024 };

/// What a joining node knows before it asks anybody.
pub struct Joiner<'a, A> {
    pub store: &'a Arc<Store>,
    pub trust: &'a Trust,
    /// Fewer blocks than this are replayed from the log.
    pub from_blocks: u64,
    /// So many members may say falsely that there are no more.
    pub tolerated: usize,
    pub asked: &'a A,
    pub turns: &'a Mutex<Turns>,
    pub pace: Pace,
}

/// What came of asking one peer.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined {
    /// The whole state is there, to be made the node's own.
    Whole(Box<Manifest>, Measure),
    /// The peer is not so far ahead that it is worth it.
    NotWorth,
    /// The peer gives another state than the one that is half taken.
    Another,
}

/// What becomes of a state that is half taken where a peer gives another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    Kept,
    GivenUp,
}

/// What one peer gave, and how long it was waited for.
struct Taking<'a> {
    peer: &'a PublicKey,
    measure: Measure,
    /// A part of its state came from it: one answer that is lost, or a connection that breaks, costs it time only.
    gave: bool,
    waited_ms: u64,
    /// Bytes that had come when the span began.
    before: u64,
}

impl Taking<'_> {
    fn count(&mut self, bytes: usize, waited_ms: u64, pace: Pace) -> Result<(), SyncFault> {
        self.measure.bytes = self.measure.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.waited_ms = self.waited_ms.saturating_add(waited_ms);
        if self.waited_ms < pace.span_ms {
            return Ok(());
        }
        let brought = self.measure.bytes.saturating_sub(self.before);
        (self.waited_ms, self.before) = (0, self.measure.bytes);
        if brought < pace.least_bytes { Err(SyncFault::Slow) } else { Ok(()) }
    }
}

impl<A: Ask> Joiner<'_, A> {
    /// Takes the state of one of these peers, first those that have not failed. Whoever has the state that is half taken
    /// goes on with it; where nobody does, and it may be given up, another one is taken from the start. None where the
    /// log is to be replayed.
    pub async fn join(&self, peers: &[PublicKey], begun: Begun) -> Result<Option<(Manifest, Measure)>, SyncFault> {
        let mut not_worth = 0;
        for pass in [Begun::Kept, Begun::GivenUp] {
            if pass == Begun::GivenUp && (begun == Begun::Kept || !self.store.is_joining()) {
                break;
            }
            let order = match pass {
                Begun::Kept => self.turns().vain_last(peers),
                Begun::GivenUp => self.turns().not_in_vain(peers),
            };
            for peer in &order {
                match self.take(peer, pass).await {
                    Ok(Joined::Whole(manifest, measure)) => return Ok(Some((*manifest, measure))),
                    Ok(Joined::NotWorth) if not_worth >= self.tolerated => return Ok(None),
                    Ok(Joined::NotWorth) => not_worth += 1,
                    Ok(Joined::Another) => {}
                    Err(error @ (SyncFault::Store(_) | SyncFault::Stopping)) => return Err(error),
                    Err(error) => {
                        self.turns().failed(*peer);
                        match error {
                            SyncFault::Lie(lie) => self.asked.refuse(peer, &lie),
                            error => tracing::debug!(%error, "peer gave no state"),
                        }
                    }
                }
            }
        }
        if self.store.is_joining() { Err(SyncFault::NotThere) } else { Ok(None) }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes the state of one peer, going on where an earlier attempt at the same state stopped.
    pub async fn take(&self, peer: &PublicKey, begun: Begun) -> Result<Joined, SyncFault> {
        let started = Started::now();
        let mut taking = Taking { peer, measure: Measure::default(), gave: false, waited_ms: 0, before: 0 };
        let offered = self.ask(&mut taking, &Question::Manifest).await?;
        let manifest = Manifest::check(&offered, self.trust).map_err(SyncFault::Lie)?;
        let mut progress = match self.store.joining()? {
            Some((earlier, progress)) if self.is_same(&earlier, &manifest) => progress,
            Some(_) if begun == Begun::Kept => return Ok(Joined::Another),
            None if manifest.height() < self.from_blocks => return Ok(Joined::NotWorth),
            Some(_) | None => self.begin(&mut taking, &offered, &manifest).await?,
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
                false => {
                    let hashes = self.hashes(&mut taking, &manifest, part).await?;
                    self.keep_hashes(part, &hashes)?
                }
            };
        }
        if let Progress::Leaves(from) = progress {
            self.leaves(&mut taking, &manifest, from).await?;
        }
        taking.measure.elapsed_ms = started.elapsed_ms();
        Ok(Joined::Whole(Box::new(manifest), taking.measure))
    }

    /// Whether a manifest leads to the same header, hence state: every node has certificates of its own.
    fn is_same(&self, earlier: &[u8], manifest: &Manifest) -> bool {
        let earlier = Manifest::check(earlier, self.trust);
        earlier.is_ok_and(|earlier| manifest.taken.header == earlier.taken.header)
    }

    /// Nothing is begun, and nothing given up, for a peer that does not even give the first part.
    async fn begin(&self, taking: &mut Taking<'_>, offered: &[u8], manifest: &Manifest) -> Result<Progress, SyncFault> {
        let hashes = self.hashes(taking, manifest, 0).await?;
        self.store.begin_joining(offered)?;
        self.keep_hashes(0, &hashes)
    }

    async fn ask(&self, taking: &mut Taking<'_>, question: &Question) -> Result<Vec<u8>, SyncFault> {
        let answer = loop {
            let asked = Started::now();
            match self.asked.ask(taking.peer, question).await {
                Ok(answer) => {
                    taking.count(answer.len(), asked.elapsed_ms(), self.pace)?;
                    break answer;
                }
                Err(SyncFault::Request(_)) if taking.gave => {
                    tokio::time::sleep(PAUSE).await;
                    taking.count(0, asked.elapsed_ms(), self.pace)?;
                }
                Err(error) => return Err(error),
            }
        };
        taking.gave = *question != Question::Manifest;
        if answer.is_empty() { Err(SyncFault::NotThere) } else { Ok(answer) }
    }

    async fn hashes(&self, taking: &mut Taking<'_>, manifest: &Manifest, part: u64) -> Result<Vec<Hash>, SyncFault> {
        let answer = self.ask(taking, &Question::LeafHashes { height: manifest.height(), part }).await?;
        manifest.check_part(part, &answer).map_err(SyncFault::Lie)
    }

    fn keep_hashes(&self, part: u64, hashes: &[Hash]) -> Result<Progress, SyncFault> {
        let then = Progress::Hashes(part + 1);
        self.store.put_leaf_hashes(part * super::snapshot::PART_HASHES, hashes, then)?;
        Ok(then)
    }

    /// From this leaf to the last. While an answer is checked and stored, the next one is on its way.
    async fn leaves(&self, taking: &mut Taking<'_>, manifest: &Manifest, from: Hash) -> Result<(), SyncFault> {
        let question = |from| Question::Leaves { height: manifest.height(), from };
        let known = Arc::new(self.store.expected_leaves(manifest.taken.header.state_size)?);
        let mut from = from;
        let mut answer = self.ask(taking, &question(from)).await?;
        loop {
            let next = next_of(&answer);
            let (store, known) = (Arc::clone(self.store), Arc::clone(&known));
            let keeping = tokio::task::spawn_blocking(move || keep(&store, &known, &from, &answer));
            let (kept, following) = match next {
                Some(next) => {
                    let further = question(next);
                    let (kept, following) = tokio::join!(keeping, self.ask(taking, &further));
                    (kept, Some((next, following)))
                }
                None => (keeping.await, None),
            };
            taking.measure.leaves += kept.map_err(|_| SyncFault::Stopping)??;
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
