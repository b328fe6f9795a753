//! A node's state as it gives it to one that joins: a manifest that leads from genesis to a certified header, leaf hashes
//! in parts under that header's state root, and leaves in the order of their keys. Every part proves itself, so whoever
//! takes one knows at once who sent a false one. Here: the bytes, what is checked, and giving; taking is in `join`.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::batch::{batches_digest, batches_preimage, decode_batches_preimage};
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::codec::{CodecFault, Reader, put_counted};
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::entry::genesis_id;
use mingzhang_ledger::header::{HEADER_BYTES, Header};
use mingzhang_ledger::merkle::{Frontier, node_hash};
use mingzhang_ledger::recovery::{EndedEpoch, SignedManifest};
use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::state::tree::SENTINEL;
use rayon::prelude::*;

use super::{Lie, Trust};
use crate::network::frame::MAX_BULK_FRAME_BYTES;
use crate::store::{
    ExpectedLeaves, Finality, Leaf, PastEpoch, Store, StoreFault, Taken, View, edge_frontier, received, sent,
};

/// Leaf hashes in one part: 1 MiB, as answers of leaves have.
pub const PART_HASHES: u64 = 32_768;
/// log2 of [`PART_HASHES`].
const PART_LEVEL: u32 = 15;
/// Leaves in one answer end at about this many bytes.
const LEAVES_BYTES: usize = 1024 * 1024;
/// Leaves that one processor checks at a time.
const LEAVES_AT_ONCE: usize = 512;
/// A state that nobody asks for any more is given up: it keeps old data from being compacted away.
const IDLE: Duration = Duration::from_secs(600);
/// A moment is given up after so long however often it is asked for: one asker must not hold old data for ever, nor have
/// every newcomer begin months ago.
pub const HELD: Duration = Duration::from_secs(24 * 3_600);
/// Most epochs that a manifest leads over.
const MAX_EPOCHS: usize = 65_536;

/// A manifest whose every word was checked against the genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub taken: Taken,
    /// Roots of the parts of leaf hashes.
    parts: Vec<Hash>,
}

impl Manifest {
    pub fn height(&self) -> u64 {
        self.taken.header.height
    }

    /// How many parts the leaf hashes have.
    pub fn part_count(&self) -> u64 {
        u64::try_from(self.parts.len()).unwrap_or(u64::MAX)
    }

    /// Reads a manifest and checks that it leads from the founding set to a header that a quorum confirmed, and that the
    /// log's edge and the parts are that header's.
    pub fn check(bytes: &[u8], trust: &Trust) -> Result<Self, Lie> {
        let text = |fault: CodecFault| Lie::from(fault);
        let mut reader = Reader::new(bytes);
        let (set, past) = past_epochs(&mut reader, trust)?;
        let (header, certificate) = certified(&mut reader, &trust.chain, &set)?;
        let preimage = reader.counted(MAX_BULK_FRAME_BYTES).map_err(text)?;
        let preimage = if preimage.is_empty() { None } else { Some(decode_batches_preimage(preimage).map_err(text)?) };
        let tiles =
            (0..reader.u8().map_err(text)?).map(|_| read_hashes(&mut reader, 255)).collect::<Result<Vec<_>, _>>();
        let tiles = tiles.map_err(text)?;
        let parts = read_hashes(&mut reader, MAX_BULK_FRAME_BYTES / 32).map_err(text)?;
        reader.finish().map_err(text)?;
        let digest = preimage.as_ref().map(|(positions, references)| batches_digest(positions, references));
        if digest.is_some_and(|digest| digest != header.batches) {
            return Err(Lie::other("the preimage of batches does not hash to the header's"));
        }
        if edge_frontier(header.own_index(), &tiles).map(|edge| edge.root()) != Some(header.log_root) {
            return Err(Lie::other("the edge of the log does not lead to the header's log root"));
        }
        if parts_root(&parts) != Some(header.state_root) {
            return Err(Lie::other("the parts do not lead to the header's state root"));
        }
        if header.state_size.div_ceil(PART_HASHES) != u64::try_from(parts.len()).unwrap_or(u64::MAX) {
            return Err(Lie::other("another number of parts than the state's size"));
        }
        Ok(Self { taken: Taken { header, certificate, set, past, preimage, tiles }, parts })
    }

    /// The hashes of a part, if they are those that the state root commits to.
    pub fn check_part(&self, part: u64, bytes: &[u8]) -> Result<Vec<Hash>, Lie> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        let wanted = usize::try_from(part).ok().and_then(|part| self.parts.get(part));
        if !rest.is_empty() || Some(&Frontier::of(hashes.iter().copied()).root()) != wanted {
            return Err(Lie::other(format!("part {part} of the leaf hashes is not the one under the state root")));
        }
        let before = part.saturating_mul(PART_HASHES);
        let expected = self.taken.header.state_size.saturating_sub(before).min(PART_HASHES);
        if u64::try_from(hashes.len()) != Ok(expected) {
            return Err(Lie::other(format!("part {part} of the leaf hashes has {} of {expected}", hashes.len())));
        }
        Ok(hashes.to_vec())
    }
}

/// The sets from genesis on, each handed on by a boundary that a quorum confirmed, or named by a recovery manifest.
fn past_epochs(reader: &mut Reader<'_>, trust: &Trust) -> Result<(Arc<AuthoritySet>, Vec<PastEpoch>), Lie> {
    let text = |fault: CodecFault| Lie::from(fault);
    let count = read_count(reader, MAX_EPOCHS).map_err(text)?;
    let (mut set, mut past) = (Arc::clone(&trust.founding), Vec::new());
    let mut opened_by = genesis_id(&trust.chain);
    for _ in 0..count {
        let header = Header::decode(reader.take(HEADER_BYTES).map_err(text)?).map_err(text)?;
        let certificate = reader.counted(MAX_BULK_FRAME_BYTES).map_err(text)?;
        let last = reader.counted(MAX_BULK_FRAME_BYTES).map_err(text)?;
        let (by, next) = match certificate {
            [] => {
                let signed = SignedManifest::decode(last).map_err(text)?;
                let ended = EndedEpoch { set: &set, opened_by: &opened_by };
                let recovered = signed.verify(&trust.recovery, &trust.chain, &ended).map_err(Lie::from)?;
                if *recovered.base() != header {
                    return Err(Lie::other("another base than the recovery manifest's"));
                }
                let next = recovered.set().clone();
                (Finality::Recovery(Arc::new(recovered)), next)
            }
            certificate => {
                let certificate = checked(&header, certificate, &trust.chain, &set)?;
                (Finality::Certificate(certificate), handed_over(&header, last, &set)?)
            }
        };
        let members = set.members.len();
        (set, opened_by) = (Arc::new(next), header.id());
        past.push(PastEpoch { height: header.height, by, members, set: Arc::clone(&set) });
    }
    Ok((set, past))
}

/// The set that a boundary block names.
fn handed_over(header: &Header, document: &[u8], set: &AuthoritySet) -> Result<AuthoritySet, Lie> {
    let next = AuthoritySet::decode(document).map_err(Lie::from)?;
    let follows =
        header.is_boundary() && header.next_set_hash == next.hash() && Some(next.epoch) == set.epoch.checked_add(1);
    if follows { Ok(next) } else { Err(Lie::other(format!("no boundary from epoch {}", set.epoch))) }
}

/// Leaves of an answer as they lie on disk, and the key that must come after them.
type Leaves = (Vec<(Key, Vec<u8>)>, Option<Key>);

/// The leaves of an answer from `from` on, each under the next, each the one whose hash is known; and the key that must
/// come after them, none after the last.
pub fn check_leaves(known: &ExpectedLeaves, from: &Key, bytes: &[u8]) -> Result<Result<Leaves, Lie>, StoreFault> {
    let leaves = match raw_leaves(bytes) {
        Ok(leaves) if leaves.is_empty() => return Ok(Err(Lie::other("no leaves"))),
        Ok(leaves) => leaves,
        Err(fault) => return Ok(Err(fault.into())),
    };
    let parts: Vec<Result<Vec<Checked>, Lie>> =
        leaves.par_chunks(LEAVES_AT_ONCE).map(|part| check_part_of(known, part)).collect::<Result<_, _>>()?;
    let (mut expected, mut kept) = (Some(*from), Vec::with_capacity(leaves.len()));
    for part in parts {
        let part = match part {
            Ok(part) => part,
            Err(lie) => return Ok(Err(lie)),
        };
        for Checked { key, stored, next } in part {
            if expected != Some(key) {
                return Ok(Err(Lie::other(format!("leaf {} where another one follows", hex::encode(key)))));
            }
            expected = Some(next).filter(|next| *next != SENTINEL);
            kept.push((key, stored));
        }
    }
    Ok(Ok((kept, expected)))
}

fn raw_leaves(bytes: &[u8]) -> Result<Vec<(Key, &[u8])>, CodecFault> {
    let (mut reader, mut leaves) = (Reader::new(bytes), Vec::new());
    while reader.remaining() > 0 {
        leaves.push((reader.array()?, reader.counted(MAX_BULK_FRAME_BYTES)?));
    }
    Ok(leaves)
}

/// A leaf that has the hash which is known of it.
struct Checked {
    key: Key,
    stored: Vec<u8>,
    next: Key,
}

/// The leaves of a part, if all have the hashes that are known of them.
fn check_part_of(known: &ExpectedLeaves, leaves: &[(Key, &[u8])]) -> Result<Result<Vec<Checked>, Lie>, StoreFault> {
    let decoded: Result<Vec<(Leaf, Vec<u8>)>, CodecFault> = leaves
        .iter()
        .map(|(key, bytes)| {
            let (stored, next) = received(bytes)?;
            Ok((Leaf::decode(key, &next, &stored)?, stored))
        })
        .collect();
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(fault) => return Ok(Err(fault.into())),
    };
    let indices: Vec<u64> = decoded.iter().map(|(leaf, _)| leaf.index).collect();
    let mut checked = Vec::with_capacity(leaves.len());
    for ((leaf, stored), hash) in decoded.into_iter().zip(known.of(&indices)?) {
        if hash != Some(leaf.hash()) {
            return Ok(Err(Lie::other(format!("leaf {} is not the one under the state root", hex::encode(leaf.key)))));
        }
        checked.push(Checked { key: leaf.key, stored, next: leaf.next });
    }
    Ok(Ok(checked))
}

/// The key that comes after the leaves of an answer, as the last of them claims; none if it is the last of all, or where the
/// bytes have not the form. What to ask for next, before anything is checked.
pub fn next_of(bytes: &[u8]) -> Option<Key> {
    let (mut reader, mut last) = (Reader::new(bytes), None);
    while reader.remaining() > 0 {
        reader.take(32).ok()?;
        last = Some(reader.counted(MAX_BULK_FRAME_BYTES).ok()?);
    }
    received(last?).ok().map(|(_, next)| next).filter(|next| *next != SENTINEL)
}

fn certified(reader: &mut Reader<'_>, chain: &Hash, set: &AuthoritySet) -> Result<(Header, FinalCert), Lie> {
    let text = |fault: CodecFault| Lie::from(fault);
    let header = Header::decode(reader.take(HEADER_BYTES).map_err(text)?).map_err(text)?;
    let certificate = reader.counted(MAX_BULK_FRAME_BYTES).map_err(text)?;
    let certificate = checked(&header, certificate, chain, set)?;
    Ok((header, certificate))
}

fn checked(header: &Header, certificate: &[u8], chain: &Hash, set: &AuthoritySet) -> Result<FinalCert, Lie> {
    let certificate = FinalCert::decode(certificate, set.members.len()).map_err(Lie::from)?;
    if header.epoch != set.epoch {
        return Err(Lie::other(format!("a header of epoch {} under the set of epoch {}", header.epoch, set.epoch)));
    }
    certificate.verify(chain, header, set).map_err(Lie::from)?;
    Ok(certificate)
}

/// The root over complete parts and a last one, which may be smaller. All are on one level but the last, which hangs
/// under what is over.
fn parts_root(parts: &[Hash]) -> Option<Hash> {
    let (last, complete) = parts.split_last()?;
    let frontier = Frontier::of(complete.iter().copied());
    Some(frontier.peaks().iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn read_count(reader: &mut Reader<'_>, limit: usize) -> Result<usize, CodecFault> {
    let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if count <= limit { Ok(count) } else { Err(CodecFault::Invalid("length of a list")) }
}

fn read_hashes(reader: &mut Reader<'_>, limit: usize) -> Result<Vec<Hash>, CodecFault> {
    let count = read_count(reader, limit)?;
    (0..count).map(|_| reader.array()).collect()
}

/// What is asked of a state that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Manifest,
    Hashes { height: u64, part: u64 },
    Leaves { height: u64, from: Key },
}

type Question = (Part, mpsc::Sender<Result<Vec<u8>, StoreFault>>);

/// The thread that holds one moment's state. It lets go of the store before this value is gone: the last to close the
/// database must not do it while the process ends.
#[derive(Debug)]
struct Giving {
    /// None only while it ends.
    questions: Option<mpsc::Sender<Question>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Giving {
    fn drop(&mut self) {
        // Without anybody who may ask the thread ends.
        self.questions = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that gave the state to a joining node panicked");
        }
    }
}

/// Gives the state of one moment to all who ask, for as long as somebody does. One at a time is held.
#[derive(Debug)]
pub struct Giver {
    giving: Mutex<Option<Giving>>,
    limits: Limits,
}

/// Where an answer with leaves ends, and how long one moment is given.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub leaves_bytes: usize,
    pub held: Duration,
}

impl Default for Giver {
    fn default() -> Self {
        Self::with(Limits { leaves_bytes: LEAVES_BYTES, held: HELD })
    }
}

impl Giver {
    pub fn with(limits: Limits) -> Self {
        Self { giving: Mutex::default(), limits }
    }

    /// The answer, empty if this node does not have it. Blocks.
    pub fn answer(&self, store: &Arc<Store>, part: Part) -> Result<Vec<u8>, StoreFault> {
        if store.is_joining() {
            return Ok(Vec::new());
        }
        if let Some(answer) = self.ask(part) {
            return answer;
        }
        if part != Part::Manifest {
            return Ok(Vec::new());
        }
        self.open(store);
        self.ask(part).unwrap_or_else(|| Ok(Vec::new()))
    }

    fn ask(&self, part: Part) -> Option<Result<Vec<u8>, StoreFault>> {
        let (reply, answer) = mpsc::channel();
        let giving = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        let questions = giving.as_ref()?.questions.clone()?;
        drop(giving);
        questions.send((part, reply)).ok()?;
        answer.recv().ok()
    }

    fn open(&self, store: &Arc<Store>) {
        let (sender, questions) = mpsc::channel::<Question>();
        let store = Arc::clone(store);
        let limits = self.limits;
        let give = move || {
            if let Err(error) = give(&store, &questions, limits) {
                tracing::error!(%error, "the state cannot be given to a node that joins");
            }
        };
        match std::thread::Builder::new().name("giver".into()).spawn(give) {
            Ok(thread) => {
                let giving = Giving { questions: Some(sender), thread: Some(thread) };
                // The one before ends outside of the lock.
                drop(self.giving.lock().unwrap_or_else(PoisonError::into_inner).replace(giving));
            }
            Err(error) => tracing::error!(%error, "no thread for a node that joins"),
        }
    }
}

/// Serves one moment's state until nobody asks any more, or it was given for long enough.
fn give(store: &Store, questions: &mpsc::Receiver<Question>, limits: Limits) -> Result<(), StoreFault> {
    let (view, begun) = (store.view()?, Instant::now());
    let Some(manifest) = manifest(&view)? else { return Ok(()) };
    tracing::info!(height = view.height(), "the state of this moment is given to a node that joins");
    while let Ok((part, reply)) = questions.recv_timeout(IDLE) {
        let answer = match part {
            Part::Manifest => Ok(manifest.clone()),
            Part::Hashes { height, part } if height == view.height() => {
                view.leaf_hashes(part.saturating_mul(PART_HASHES), PART_HASHES).map(|hashes| hashes.concat())
            }
            Part::Leaves { height, from } if height == view.height() => leaves(&view, &from, limits.leaves_bytes),
            Part::Hashes { .. } | Part::Leaves { .. } => Ok(Vec::new()),
        };
        if reply.send(answer).is_err() {
            tracing::debug!("nobody waits for a part of the state any more");
        }
        if begun.elapsed() >= limits.held {
            tracing::info!(height = view.height(), "this moment was given for long enough");
            break;
        }
    }
    Ok(())
}

fn leaves(view: &View<'_>, from: &Key, max_bytes: usize) -> Result<Vec<u8>, StoreFault> {
    let mut bytes = Vec::with_capacity(max_bytes.saturating_add(max_bytes / 16));
    view.leaves_from(from, |key, leaf, next| {
        bytes.extend_from_slice(key);
        let sent = sent(leaf, next);
        put_count(&mut bytes, sent.iter().map(|piece| piece.len()).sum());
        sent.iter().for_each(|piece| bytes.extend_from_slice(piece));
        bytes.len() < max_bytes
    })?;
    Ok(bytes)
}

/// None where the tip is not certified by itself, opens an epoch, or was taken without the log before it.
fn manifest(view: &View<'_>) -> Result<Option<Vec<u8>>, StoreFault> {
    let tip = view.tip();
    let (Some(header), Some(certificate)) = (view.header(tip.height)?, view.certificate(tip.height)?) else {
        return Ok(None);
    };
    if header.is_boundary() || header.epoch != tip.epoch {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    put_count(&mut bytes, usize::try_from(tip.epoch).unwrap_or(usize::MAX));
    let mut members = view.stored_epoch(0)?.map_or(0, |epoch| epoch.set.members.len());
    for epoch in 1..=tip.epoch {
        let Some(opened) = view.stored_epoch(epoch)? else { return Ok(None) };
        let height = opened.opening_height;
        if let Some(recovery) = view.recovery_of(epoch)? {
            let Ok(signed) = SignedManifest::decode(&recovery) else { return Ok(None) };
            bytes.extend_from_slice(&signed.manifest().base.encode());
            put_counted(&mut bytes, &[]);
            put_counted(&mut bytes, &recovery);
            members = opened.set.members.len();
            continue;
        }
        let (Some(boundary), Some(certificate)) = (view.header(height)?, view.certificate(height)?) else {
            return Ok(None);
        };
        bytes.extend_from_slice(&boundary.encode());
        put_counted(&mut bytes, &certificate.encode(members));
        put_counted(&mut bytes, &opened.set.encode());
        members = opened.set.members.len();
    }
    bytes.extend_from_slice(&header.encode());
    put_counted(&mut bytes, &certificate.encode(members));
    let preimage = view.preimage(tip.height)?.map(|(positions, references)| batches_preimage(&positions, &references));
    put_counted(&mut bytes, &preimage.unwrap_or_default());
    let tiles = view.log_edge(header.own_index())?;
    bytes.push(u8::try_from(tiles.len()).unwrap_or(u8::MAX));
    for hashes in &tiles {
        put_count(&mut bytes, hashes.len());
        bytes.extend_from_slice(&hashes.concat());
    }
    let count = header.state_size.div_ceil(PART_HASHES);
    put_count(&mut bytes, usize::try_from(count).unwrap_or(usize::MAX));
    for part in 0..count {
        let hashes = view.leaf_hashes(part << PART_LEVEL, PART_HASHES)?;
        bytes.extend_from_slice(&Frontier::of(hashes).root());
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_is_larger_than_the_pace_reckons() {
        assert_eq!(PART_HASHES, 1 << PART_LEVEL);
        assert_eq!(usize::try_from(PART_HASHES).map(|count| count * size_of::<Hash>()), Ok(LEAVES_BYTES));
    }

    #[test]
    fn the_root_over_parts_is_that_of_the_tree() {
        let leaf = |number: u64| mingzhang_ledger::crypto::sha256(&[&number.to_be_bytes()]);
        // Parts of four leaves stand for those of 32,768.
        for size in 1..40u64 {
            let parts: Vec<Hash> = (0..size.div_ceil(4))
                .map(|part| Frontier::of((part * 4..size.min(part * 4 + 4)).map(leaf)).root())
                .collect();
            assert_eq!(parts_root(&parts), Some(Frontier::of((0..size).map(leaf)).root()), "{size}");
        }
        assert_eq!(parts_root(&[]), None);
    }

    #[test]
    fn the_edge_of_a_log_leads_to_its_root() {
        let leaf = |number: u64| mingzhang_ledger::crypto::sha256(&[&number.to_be_bytes()]);
        for size in [0u64, 1, 255, 256, 257, 511, 70_000] {
            let level = |level: u32| -> Vec<Hash> {
                (0..size >> level)
                    .map(|index| Frontier::of((index << level..(index + 1) << level).map(leaf)).root())
                    .collect()
            };
            let tile = |at: u32| {
                let nodes = level(at);
                nodes[nodes.len() / 256 * 256..].to_vec()
            };
            let tiles: Vec<Vec<Hash>> = (0u32..64).step_by(8).take_while(|at| size >> at > 0).map(tile).collect();
            let root = edge_frontier(size, &tiles).map(|edge| edge.root());
            assert_eq!(root, Some(Frontier::of((0..size).map(leaf)).root()), "{size}");
            assert_eq!(edge_frontier(size + 1, &tiles), None);
        }
    }
}
