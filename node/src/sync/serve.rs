//! Answers to peers and observers, from the store, the executor and the mempool. Every answer is bounded, few are made
//! at a time, whoever asks takes turns with the others, and an empty answer says that this node does not have it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use mingzhang_ledger::batch::{Reference, batches_preimage};
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::outcome::peers;
use tokio::sync::{Semaphore, mpsc};

use super::snapshot::Part;
use super::wire::{
    ANSWER_BATCH_BYTES, MAX_SEGMENT_BLOCKS, Proof, Question, SEGMENT_BYTES, Segment, encode_batches, encode_block,
};
use super::{Parts, note};
use crate::executor::{Executor, LoggedBlock};
use crate::mempool::Mempool;
use crate::network::Request;
use crate::store::{Store, StoreFault, View};

/// Answers that are made at the same time.
const CONCURRENT_ANSWERS: usize = 4;
/// How far behind the tip a block is looked for by its id.
const RECENT_BLOCKS: u64 = 16;
/// More than the longest question has, which asks for batches.
const MAX_QUESTION_BYTES: usize = 4_096;

/// What waits, of each peer in the order in which it came; peers take turns.
struct Waiting<T> {
    of: BTreeMap<[u8; 32], VecDeque<T>>,
    turns: VecDeque<[u8; 32]>,
}

impl<T> Waiting<T> {
    fn new() -> Self {
        Self { of: BTreeMap::new(), turns: VecDeque::new() }
    }

    fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    fn push(&mut self, peer: [u8; 32], request: T) {
        let own = self.of.entry(peer).or_default();
        if own.is_empty() {
            self.turns.push_back(peer);
        }
        own.push_back(request);
    }

    fn next(&mut self) -> Option<T> {
        let peer = self.turns.pop_front()?;
        let mut own = self.of.remove(&peer)?;
        let request = own.pop_front();
        if !own.is_empty() {
            self.of.insert(peer, own);
            self.turns.push_back(peer);
        }
        request
    }
}

/// Serves requests until the network is gone. Few of each peer come in at a time, so that few wait here.
pub async fn serve(mut requests: mpsc::Receiver<Request>, parts: Arc<Parts>) {
    let slots = Arc::new(Semaphore::new(CONCURRENT_ANSWERS));
    let mut waiting = Waiting::new();
    loop {
        let slot = tokio::select! {
            request = requests.recv() => {
                let Some(request) = request else { return };
                if request.body.len() > MAX_QUESTION_BYTES {
                    refuse(&parts, &request, &"too many bytes");
                } else {
                    waiting.push(request.from.key.0, request);
                }
                continue;
            }
            slot = Arc::clone(&slots).acquire_owned(), if !waiting.is_empty() => slot,
        };
        let (Ok(slot), Some(request)) = (slot, waiting.next()) else { return };
        let parts = Arc::clone(&parts);
        tokio::task::spawn_blocking(move || {
            answer(&parts, request);
            drop(slot);
        });
    }
}

fn refuse(parts: &Parts, request: &Request, error: &dyn std::fmt::Display) {
    tracing::warn!(code = %peers::MALFORMED, %error, "peer is disconnected for a malformed question");
    parts.network.disconnect(&request.from.key);
}

fn answer(parts: &Parts, request: Request) {
    let question = match Question::decode(&request.body) {
        Ok(question) => question,
        Err(error) => return refuse(parts, &request, &error),
    };
    let body = match question {
        Question::Segment { after, epoch } => segment(&parts.store, after, epoch),
        Question::Block { id } => block(&parts.store, &parts.executor, &id),
        Question::Batches { epoch, references } => batches(&parts.store, &parts.mempool, epoch, &references),
        Question::Manifest => parts.giver.answer(&parts.store, Part::Manifest),
        Question::LeafHashes { height, part } => parts.giver.answer(&parts.store, Part::Hashes { height, part }),
        Question::Leaves { height, from } => parts.giver.answer(&parts.store, Part::Leaves { height, from }),
        Question::Note { above } => note::newest(&parts.store, above),
    };
    match body {
        Ok(body) => {
            if !request.answer(&body) {
                tracing::debug!("an answer was not sent: peer is gone or slow");
            }
        }
        // A damaged part of the store is named to the operator by whoever needs it; the peer asks elsewhere.
        Err(error) => tracing::error!(%error, "a question was not answered"),
    }
}

/// Final blocks after a height, as a [`Segment`].
pub fn segment(store: &Store, after: u64, epoch: u64) -> Result<Vec<u8>, StoreFault> {
    // Below its base a node that took over a state has headers here and there, but no entries.
    if store.is_joining() || after < store.base() {
        return Ok(Vec::new());
    }
    let view = store.view()?;
    let ended = ended_by_manifest(&view, epoch)?;
    if let Some((base, manifest)) = ended.as_ref().filter(|(base, _)| after >= *base) {
        tracing::debug!(base, epoch, "a peer is told that its epoch was ended by a recovery manifest");
        let proof = Proof::Recovery(manifest.clone());
        return Ok(Segment { blocks: Vec::new(), above: Vec::new(), proof }.encode(0));
    }
    let (mut blocks, mut size) = (Vec::new(), 0);
    let mut height = after.saturating_add(1);
    let mut last: Option<Header> = None;
    while height <= view.height() && blocks.len() < MAX_SEGMENT_BLOCKS && size < SEGMENT_BYTES {
        let Some(header) = view.header(height)? else { break };
        let entries = entries(&view, &header)?;
        size += entries.iter().map(|entry| entry.len()).sum::<usize>() + header.encode().len();
        blocks.push(LoggedBlock { header, entries, preimage: None });
        last = Some(header);
        if header.is_boundary() || ended.as_ref().is_some_and(|(base, _)| *base == height) {
            break;
        }
        height += 1;
    }
    let Some(last) = last else { return Ok(Vec::new()) };
    let certificate = view.certificate_from(last.height)?.filter(|certificate| certificate.epoch == last.epoch);
    let (proven, proof) = match (certificate, ended) {
        (_, Some((base, manifest))) if base == last.height => (base, Proof::Recovery(manifest)),
        (Some(certificate), _) => (certificate.height, Proof::Certificate(certificate)),
        (None, Some((base, manifest))) => (base, Proof::Recovery(manifest)),
        (None, None) => return Ok(Vec::new()),
    };
    let mut above = Vec::new();
    for height in last.height.saturating_add(1)..=proven {
        match view.header(height)? {
            Some(header) if above.len() < MAX_SEGMENT_BLOCKS => above.push(header),
            _ => return Ok(Vec::new()),
        }
    }
    // A joiner needs the lane positions of the block that becomes its tip.
    if let Some(block) = blocks.last_mut() {
        block.preimage = view.preimage(last.height)?;
    }
    let members = view.stored_epoch(last.epoch)?.map_or(0, |epoch| epoch.set.members.len());
    Ok(Segment { blocks, above, proof }.encode(members))
}

/// The manifest that ended an epoch, with the height of its base.
fn ended_by_manifest(view: &View<'_>, epoch: u64) -> Result<Option<(u64, Vec<u8>)>, StoreFault> {
    let Some(next) = epoch.checked_add(1) else { return Ok(None) };
    let (Some(manifest), Some(opened)) = (view.recovery_of(next)?, view.stored_epoch(next)?) else { return Ok(None) };
    Ok(Some((opened.opening_height, manifest)))
}

/// The record entries of a block, without its header.
fn entries(view: &View<'_>, header: &Header) -> Result<Vec<Vec<u8>>, StoreFault> {
    let end = header.first_index.saturating_add(u64::from(header.entry_count));
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut next = header.first_index;
    while next < end {
        let part = view.entries(next, end)?;
        if part.is_empty() {
            break;
        }
        next = next.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        entries.extend(part);
    }
    Ok(entries)
}

/// Header of a block that waits here or is final since not long, with the preimage of its `batches`.
pub fn block(store: &Store, executor: &Executor, id: &Hash) -> Result<Vec<u8>, StoreFault> {
    // What is being caught up waits here for a moment without its preimage.
    if let Some((header, positions, references)) = executor.block(id).filter(|block| !block.1.is_empty()) {
        return Ok(encode_block(&header, &batches_preimage(&positions, &references)));
    }
    let view = store.view()?;
    for height in (view.height().saturating_sub(RECENT_BLOCKS)..=view.height()).rev() {
        let Some(header) = view.header(height)?.filter(|header| header.id() == *id) else { continue };
        let Some((positions, references)) = view.preimage(height)? else { break };
        return Ok(encode_block(&header, &batches_preimage(&positions, &references)));
    }
    Ok(Vec::new())
}

/// Those of these batches that are held here.
pub fn batches(store: &Store, mempool: &Mempool, epoch: u64, references: &[Reference]) -> Result<Vec<u8>, StoreFault> {
    let (mut found, mut size) = (Vec::new(), 0usize);
    for reference in references {
        let batch = match mempool.batch(reference) {
            Some(batch) => Some(batch),
            None => store.batch(epoch, reference)?.map(Arc::new),
        };
        let Some(batch) = batch else { continue };
        size = size.saturating_add(batch.payload.len());
        if size > ANSWER_BATCH_BYTES && !found.is_empty() {
            break;
        }
        found.push(batch);
    }
    Ok(encode_batches(found.iter().map(Arc::as_ref)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_stands_behind_one_of_each_other_peer() {
        let mut waiting = Waiting::new();
        for number in 0..16 {
            (1..=3).for_each(|peer| waiting.push([peer; 32], (peer, number)));
        }
        assert_eq!(waiting.next(), Some((1, 0)));
        waiting.push([9; 32], (9, 0));
        waiting.push([9; 32], (9, 1));
        let order: Vec<_> = std::iter::from_fn(|| waiting.next()).collect();
        assert_eq!(order[..8], [(2, 0), (3, 0), (1, 1), (9, 0), (2, 1), (3, 1), (1, 2), (9, 1)]);
        assert_eq!((order.len(), order.last()), (49, Some(&(3, 15))));
        assert!(waiting.is_empty() && waiting.of.is_empty());
    }

    #[test]
    fn the_longest_question_is_no_longer_than_one_may_be() {
        let reference = Reference { author: 1, run: 2, seq: 3, records: 4, bytes: 5, hash: [6; 32] };
        let most = Question::Batches { epoch: 1, references: vec![reference; super::super::wire::MAX_ASKED_BATCHES] };
        assert!(most.encode().len() <= MAX_QUESTION_BYTES);
    }
}
