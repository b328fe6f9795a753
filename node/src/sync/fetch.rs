//! Fetching what consensus wants: a block by id, the batches that a block names, batches that a peer announced. Each
//! thing is fetched once at a time; a fetch that fails is asked for again by consensus, of other peers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use mingzhang_consensus::{Found, Input, Peer, Want};
use mingzhang_ledger::batch::{Reference, batches_digest, decode_batches_preimage};
use mingzhang_ledger::crypto::Hash;
use tokio::sync::mpsc;

use super::catch_up::CatchUp;
use super::wire::{MAX_ASKED_BATCHES, Question, decode_batches, decode_block};
use super::{Lie, Parts, SyncFault};
use crate::clock::Started;
use crate::engine::Fetch;
use crate::mempool::{Arrival, Taken};

/// Fetches of what consensus needs that may run at once.
const CONCURRENT_FETCHES: usize = 64;
/// Fetches that one peer's announcements may cause at once: they take no place of those that are needed.
const ANNOUNCED_FETCHES: usize = 2;
/// Peers that one fetch asks before it gives up.
const MAX_ASKED_PEERS: usize = 3;
/// How long one peer is asked again for what it left out: one that gives a batch at a time is left.
const PEER_MS: u64 = 10_000;

/// What is being fetched.
#[derive(Default)]
struct Running {
    needed: BTreeSet<Want>,
    /// By whom it was announced.
    announced: BTreeMap<Peer, BTreeSet<Want>>,
}

impl Running {
    /// Takes a place, if there is one and the same is not being fetched already.
    fn begin(&mut self, want: &Want, from: &[Peer]) -> bool {
        let (wants, places) = match (want, from) {
            (Want::Announced { .. }, [peer, ..]) => (self.announced.entry(*peer).or_default(), ANNOUNCED_FETCHES),
            _ => (&mut self.needed, CONCURRENT_FETCHES),
        };
        wants.len() < places && wants.insert(want.clone())
    }

    fn end(&mut self, want: &Want, from: &[Peer]) {
        match (want, from) {
            (Want::Announced { .. }, [peer, ..]) => {
                if let Some(wants) = self.announced.get_mut(peer) {
                    wants.remove(want);
                }
            }
            _ => {
                self.needed.remove(want);
            }
        }
    }
}

/// Serves consensus' fetches until it is gone.
pub async fn fetch_all(mut fetches: mpsc::Receiver<Fetch>, parts: Arc<Parts>, catch_up: CatchUp) {
    let running: Arc<Mutex<Running>> = Arc::default();
    while let Some(Fetch { want, from }) = fetches.recv().await {
        if let Want::Range { height, .. } = want {
            catch_up.start(height, &from);
            continue;
        }
        if !lock(&running).begin(&want, &from) {
            continue;
        }
        let (parts, running) = (Arc::clone(&parts), Arc::clone(&running));
        tokio::spawn(async move {
            if let Err(error) = fetch(&parts, &want, &from).await {
                tracing::debug!(%error, ?want, "fetch brought nothing");
            }
            lock(&running).end(&want, &from);
        });
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

async fn fetch(parts: &Arc<Parts>, want: &Want, from: &[Peer]) -> Result<(), SyncFault> {
    match want {
        Want::Block { id } => {
            let found = ask_each(parts, from, &Question::Block { id: *id }, |body| checked_block(id, body)).await?;
            report(parts, found).await
        }
        Want::Batches { block, references } => {
            fetch_batches(parts, from, references, true).await?;
            report(parts, Found::Batches { block: *block }).await
        }
        Want::Announced { references } => fetch_batches(parts, from, references, false).await,
        Want::Range { .. } => Ok(()),
    }
}

async fn report(parts: &Parts, found: Found) -> Result<(), SyncFault> {
    parts.inputs.send(Input::Fetched { found }).await.map_err(|_| SyncFault::Stopping)
}

/// Asks one peer after the other until an answer holds. A peer whose answer cannot be true is disconnected.
async fn ask_each<T>(
    parts: &Parts,
    from: &[Peer],
    question: &Question,
    check: impl Fn(&[u8]) -> Result<T, SyncFault>,
) -> Result<T, SyncFault> {
    let set = parts.epoch.borrow().set.clone();
    let body = question.encode();
    let mut last = SyncFault::NotThere;
    for member in from.iter().filter_map(|seat| set.member(*seat)).take(MAX_ASKED_PEERS) {
        let answer = match parts.network.ask(&member.peer_key, &body).await {
            Ok(answer) if answer.is_empty() => Err(SyncFault::NotThere),
            Ok(answer) => check(&answer),
            Err(error) => Err(error.into()),
        };
        match answer {
            Ok(found) => return Ok(found),
            Err(SyncFault::Lie(Lie { code, reason })) => {
                tracing::warn!(agency = %member.agency, %code, reason, "peer is disconnected for a false answer");
                parts.network.disconnect(&member.peer_key);
                last = SyncFault::Lie(Lie { code, reason });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn lie(error: impl Into<Lie>) -> SyncFault {
    SyncFault::Lie(error.into())
}

/// The block that was asked for, by its id.
pub fn checked_block(id: &Hash, body: &[u8]) -> Result<Found, SyncFault> {
    let (header, preimage) = decode_block(body).map_err(lie)?;
    let (positions, references) = decode_batches_preimage(preimage).map_err(lie)?;
    if header.id() != *id || batches_digest(&positions, &references) != header.batches {
        return Err(lie(Lie::other("another block than the one asked for")));
    }
    Ok(Found::Block { header, positions, references })
}

/// Gets those that are missing, from one peer after the other. `needed`: a block names them, and all must come; of what
/// was only announced, whoever announced it is asked once, and announces again what did not come.
async fn fetch_batches(
    parts: &Arc<Parts>,
    from: &[Peer],
    references: &[Reference],
    needed: bool,
) -> Result<(), SyncFault> {
    let epoch = parts.epoch.borrow().number();
    for (at, seat) in from.iter().enumerate().take(MAX_ASKED_PEERS) {
        let started = Started::now();
        loop {
            let lacking: Vec<Reference> =
                references.iter().filter(|r| parts.mempool.lacks(r)).take(MAX_ASKED_BATCHES).copied().collect();
            if lacking.is_empty() {
                return Ok(());
            }
            let question = Question::Batches { epoch, references: lacking.clone() };
            let seats = from.get(at..=at).unwrap_or_default();
            let Ok(found) = ask_each(parts, seats, &question, |body| checked_batches(&lacking, body)).await else {
                break;
            };
            let arrivals = found.into_iter().map(|batch| Arrival { batch, needed, author_verified: false }).collect();
            let taking = Arc::clone(parts);
            let taken = tokio::task::spawn_blocking(move || taking.mempool.take_in(arrivals));
            let taken = taken.await.map_err(|_| SyncFault::Stopping)??;
            super::catch_up::store_evidence(parts, &taken)?;
            if !taken.iter().any(|taken| matches!(taken, Taken::Held | Taken::Twice(_))) {
                tracing::debug!(seat, "peer's batches were of no use");
                break;
            }
            if !needed || started.elapsed_ms() >= PEER_MS {
                break;
            }
        }
    }
    let missing = references.iter().filter(|reference| parts.mempool.lacks(reference)).count();
    if missing == 0 { Ok(()) } else { Err(SyncFault::NotThere) }
}

/// Only batches that were asked for.
pub fn checked_batches(asked: &[Reference], body: &[u8]) -> Result<Vec<mingzhang_ledger::batch::Batch>, SyncFault> {
    let batches = decode_batches(body).map_err(lie)?;
    let wanted: BTreeSet<(u16, u64, u64, Hash)> =
        asked.iter().map(|reference| (reference.author, reference.run, reference.seq, reference.hash)).collect();
    for batch in &batches {
        if !wanted.contains(&(batch.author, batch.run, batch.seq, batch.hash())) {
            return Err(lie(Lie::other("a batch that was not asked for")));
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_take_no_place_of_what_is_needed_and_few_of_one_peer() {
        let announced = |seq: u64| {
            let reference = Reference { author: 3, run: 1, seq, records: 1, bytes: 9, hash: [3; 32] };
            Want::Announced { references: vec![reference] }
        };
        let mut running = Running::default();
        let begun = (0..1_000).filter(|seq| running.begin(&announced(*seq), &[3])).count();
        assert_eq!(begun, ANNOUNCED_FETCHES);
        assert!(running.begin(&announced(5_000), &[2]), "another peer has its own places");
        let block = |byte: usize| Want::Block { id: [u8::try_from(byte).expect("small"); 32] };
        assert_eq!(
            (0..=CONCURRENT_FETCHES).filter(|byte| running.begin(&block(*byte), &[3])).count(),
            CONCURRENT_FETCHES
        );
        running.end(&block(0), &[3]);
        assert!(!running.begin(&block(1), &[3]), "it is being fetched");
        assert!(running.begin(&block(0), &[3]));
        running.end(&announced(0), &[3]);
        assert!(running.begin(&announced(7_000), &[3]));
    }
}
