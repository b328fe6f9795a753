//! One leaf of the state as it lies on disk and as a peer is sent it, and a bounded cache of leaves. The tree over them is
//! the ledger's. On disk a leaf does not say which key is next: it is the one behind it, so a new leaf changes no record of
//! another.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash as Hashed, Hasher};
use std::sync::Arc;

use mingzhang_ledger::codec::{CodecFault, Reader};
use mingzhang_ledger::merkle::Frontier;
use mingzhang_ledger::state::Stored;
use mingzhang_ledger::state::key::{Key, KeyHashing};
use mingzhang_ledger::state::tree::{self, Neighbour, SENTINEL};

/// Marks a leaf without a trail in the byte that otherwise counts a frontier's peaks.
const NO_TRAIL: u8 = 0xff;
/// Leaves, and bytes of values, that the cache holds in each of its two halves: a few large values are no reason to
/// hold fewer small ones, and many are no way to fill a node's memory.
const CACHE_HALF: usize = 131_072;
const CACHE_HALF_BYTES: usize = 48 << 20;
/// Bytes that come into the processor's cache together.
const CACHE_LINE: usize = 64;
/// Of a value, so many are fetched ahead: most have no more, and large ones are no reason to read megabytes for nothing.
const FETCHED_LINES: usize = 8;
/// Bytes of the index, with which a leaf begins.
const INDEX_BYTES: usize = 8;
/// Bytes of the next key, behind the index of a leaf that is sent.
const NEXT_BYTES: usize = 32;

/// What stands under one state key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub key: Key,
    pub index: u64,
    /// The next greater key, or the sentinel.
    pub next: Key,
    pub stored: Stored,
}

impl Leaf {
    pub fn neighbour(&self) -> Neighbour {
        Neighbour { key: self.key, index: self.index, next: self.next }
    }

    /// The leaf's hash in the state tree.
    pub fn hash(&self) -> mingzhang_ledger::crypto::Hash {
        if self.key == SENTINEL {
            tree::leaf_hash(&self.key, &self.next, &[])
        } else {
            self.stored.leaf_hash(&self.key, &self.next)
        }
    }

    /// index u64 ‖ trail ‖ current value, as it lies on disk.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.index.to_be_bytes());
        match &self.stored.trail {
            None => bytes.push(NO_TRAIL),
            Some(trail) => put_frontier(bytes, trail),
        }
        bytes.extend_from_slice(&self.stored.current);
    }

    /// A leaf as it lies on disk, and the key behind it.
    pub fn decode(key: &Key, next: &Key, bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let index = reader.u64()?;
        let trail = match reader.u8()? {
            NO_TRAIL => None,
            peaks => Some(read_frontier(&mut reader, peaks)?),
        };
        let current = reader.take(reader.remaining())?.to_vec();
        let stored = Stored { current: current.into(), trail: trail.map(Arc::new) };
        Ok(Self { key: *key, index, next: *next, stored })
    }
}

/// A leaf as a peer is sent it, index u64 ‖ next ‖ the rest as on disk, in the pieces that follow each other.
pub fn sent<'a>(bytes: &'a [u8], next: &'a Key) -> [&'a [u8]; 3] {
    let (index, rest) = bytes.split_at(INDEX_BYTES.min(bytes.len()));
    [index, next, rest]
}

/// Of a leaf that a peer sent, how it lies on disk, and the next key.
pub fn received(bytes: &[u8]) -> Result<(Vec<u8>, Key), CodecFault> {
    let mut reader = Reader::new(bytes);
    let (index, next) = (reader.take(INDEX_BYTES)?, reader.array::<NEXT_BYTES>()?);
    let rest = reader.take(reader.remaining())?;
    Ok(([index, rest].concat(), next))
}

/// Number of peaks u8 ‖ size u64 ‖ peaks.
pub(super) fn put_frontier(target: &mut Vec<u8>, frontier: &Frontier) {
    let peaks = u8::try_from(frontier.peaks().len()).expect("a size of 64 bits has at most 64 peaks");
    target.push(peaks);
    target.extend_from_slice(&frontier.size().to_be_bytes());
    for peak in frontier.peaks() {
        target.extend_from_slice(peak);
    }
}

/// Reads what follows the number of peaks.
pub(super) fn read_frontier(reader: &mut Reader<'_>, peaks: u8) -> Result<Frontier, CodecFault> {
    let size = reader.u64()?;
    let peaks = (0..peaks).map(|_| reader.array()).collect::<Result<Vec<_>, _>>()?;
    Frontier::from_parts(size, peaks).ok_or(CodecFault::Invalid("frontier"))
}

/// A leaf in the cache, found by its key.
#[derive(Debug)]
struct Known {
    /// Height from which on it is known to stand so.
    since: u64,
    leaf: Arc<Leaf>,
}

impl Borrow<Key> for Known {
    fn borrow(&self) -> &Key {
        &self.leaf.key
    }
}

impl Hashed for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.leaf.key.hash(state);
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.leaf.key == other.leaf.key
    }
}

impl Eq for Known {}

/// Leaves read or written lately, for views of the newest height. An entry says since when it holds, so that a view
/// which is one block behind does not see the future. Two halves: a full one becomes the old one, which is dropped next.
#[derive(Debug, Default)]
pub(super) struct LeafCache {
    height: u64,
    young: HashSet<Known, KeyHashing>,
    young_bytes: usize,
    old: HashSet<Known, KeyHashing>,
}

impl LeafCache {
    /// The leaf as it stands at `height`, if that is known here.
    pub fn get(&mut self, key: &Key, height: u64) -> Option<Arc<Leaf>> {
        if let Some(Known { since, leaf }) = self.young.get(key) {
            return (*since <= height).then(|| leaf.clone());
        }
        let Known { since, leaf } = self.old.take(key)?;
        let known = (since <= height).then(|| leaf.clone());
        self.insert(since, leaf);
        known
    }

    /// Brings leaves that will be asked for into the processor's cache. Taking one counts its readers, for which the
    /// processor finishes everything before; looking at all of them first lets it wait for several at once.
    pub fn fetch<'k>(&self, keys: impl Iterator<Item = &'k Key>) {
        let known = keys.filter_map(|key| self.young.get(key).or_else(|| self.old.get(key)));
        let leaves: Vec<&Leaf> = known.map(|known| &*known.leaf).collect();
        let values: Vec<&[u8]> = leaves.iter().map(|leaf| &*leaf.stored.current).collect();
        let lines = values.iter().flat_map(|value| value.iter().step_by(CACHE_LINE).take(FETCHED_LINES));
        std::hint::black_box(lines.fold(0u8, |sum, byte| sum ^ byte));
    }

    /// A view at `height` read this from disk.
    pub fn fill(&mut self, height: u64, leaf: &Arc<Leaf>) {
        if height == self.height {
            self.insert(height, leaf.clone());
        }
    }

    /// The state stands at this height: what views of lower heights read is not filled in any more.
    pub fn advance(&mut self, height: u64) {
        self.height = height;
    }

    /// A block of this height that is being written leaves these leaves so.
    pub fn put(&mut self, height: u64, leaves: Vec<Arc<Leaf>>) {
        self.advance(height);
        leaves.into_iter().for_each(|leaf| self.insert(height, leaf));
    }

    fn insert(&mut self, since: u64, leaf: Arc<Leaf>) {
        if self.young.len() >= CACHE_HALF || self.young_bytes >= CACHE_HALF_BYTES {
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
            self.young_bytes = 0;
        }
        self.young_bytes += leaf.stored.current.len();
        self.young.replace(Known { since, leaf });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(key: u8, index: u64, trail: usize) -> Leaf {
        let trail = (trail > 0).then(|| Arc::new(Frontier::of(vec![[7; 32]; trail])));
        let stored = Stored { current: vec![1, 2, 3].into(), trail };
        Leaf { key: [key; 32], index, next: [3; 32], stored }
    }

    #[test]
    fn leaves_round_trip_and_every_truncation_shows() {
        for trail in [0, 1, 2, 7, 1_000] {
            let (leaf, mut bytes) = (leaf(1, 9, trail), Vec::new());
            leaf.encode_into(&mut bytes);
            let sent = sent(&bytes, &leaf.next).concat();
            assert_eq!((&sent[..8], &sent[8..40], &sent[40..]), (&bytes[..8], &leaf.next[..], &bytes[8..]));
            assert_eq!(received(&sent), Ok((bytes.clone(), leaf.next)));
            assert!(received(&sent[..39]).is_err());
            assert!(Leaf::decode(&leaf.key, &leaf.next, &bytes[..8]).is_err());
            assert_eq!(Leaf::decode(&leaf.key, &leaf.next, &bytes), Ok(leaf));
        }
        assert!(Leaf::decode(&[1; 32], &[3; 32], &leaf_bytes(2)[..30]).is_err(), "a frontier is cut");
    }

    fn leaf_bytes(trail: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        leaf(1, 9, trail).encode_into(&mut bytes);
        bytes
    }

    #[test]
    fn large_values_do_not_fill_the_memory() {
        let mut cache = LeafCache::default();
        let size = 1 << 20;
        for number in 0..200u8 {
            let stored = Stored { current: vec![0; size].into(), trail: None };
            cache.put(1, vec![Arc::new(Leaf { stored, ..leaf(number, 1, 0) })]);
        }
        assert!((cache.young.len() + cache.old.len()) * size <= 2 * CACHE_HALF_BYTES + size);
        assert!(cache.get(&[199; 32], 1).is_some() && cache.get(&[0; 32], 1).is_none());
    }

    #[test]
    fn the_cache_never_shows_the_future() {
        let mut cache = LeafCache::default();
        cache.put(5, vec![Arc::new(leaf(1, 1, 0))]);
        assert!(cache.get(&[1; 32], 5).is_some());
        assert!(cache.get(&[1; 32], 4).is_none());
        cache.fill(4, &Arc::new(leaf(2, 2, 0)));
        assert!(cache.get(&[2; 32], 5).is_none(), "a view behind the tip fills nothing");
        cache.fill(5, &Arc::new(leaf(2, 2, 0)));
        cache.put(6, vec![Arc::new(leaf(1, 1, 3))]);
        assert_eq!(
            cache.get(&[1; 32], 6).and_then(|leaf| leaf.stored.trail.clone()).map(|trail| trail.size()),
            Some(3)
        );
        assert_eq!(cache.get(&[2; 32], 6).map(|leaf| leaf.index), Some(2));
        assert!(cache.get(&[1; 32], 5).is_none());
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = LeafCache::default();
        for number in 0..(3 * CACHE_HALF as u64) {
            let mut key = [0; 32];
            // Hashed by their last bytes, of which the low ones come first.
            key[24..].copy_from_slice(&number.to_le_bytes());
            cache.fill(0, &Arc::new(Leaf { key, ..leaf(0, number, 0) }));
        }
        assert!(cache.young.len() + cache.old.len() <= 2 * CACHE_HALF);
    }
}
