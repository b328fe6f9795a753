//! One leaf of the state as it lies on disk, and a bounded cache of leaves. The tree over them is the ledger's.

use std::collections::HashMap;
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
const CACHE_HALF: usize = 65_536;
const CACHE_HALF_BYTES: usize = 32 << 20;

/// What stands under one state key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub index: u64,
    /// The next greater key, or the sentinel.
    pub next: Key,
    pub stored: Stored,
}

impl Leaf {
    pub fn neighbour(&self, key: &Key) -> Neighbour {
        Neighbour { key: *key, index: self.index, next: self.next }
    }

    /// The leaf's hash in the state tree.
    pub fn hash(&self, key: &Key) -> mingzhang_ledger::crypto::Hash {
        if *key == SENTINEL { tree::leaf_hash(key, &self.next, &[]) } else { self.stored.leaf_hash(key, &self.next) }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.stored.current.len() + 96);
        self.encode_into(&mut bytes);
        bytes
    }

    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.index.to_be_bytes());
        bytes.extend_from_slice(&self.next);
        match &self.stored.trail {
            None => bytes.push(NO_TRAIL),
            Some(trail) => put_frontier(bytes, trail),
        }
        bytes.extend_from_slice(&self.stored.current);
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let (index, next) = (reader.u64()?, reader.array()?);
        let trail = match reader.u8()? {
            NO_TRAIL => None,
            peaks => Some(read_frontier(&mut reader, peaks)?),
        };
        let current = reader.take(reader.remaining())?.to_vec();
        Ok(Self { index, next, stored: Stored { current: current.into(), trail: trail.map(Arc::new) } })
    }
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

/// Leaves read or written lately, for views of the newest height. An entry says since when it holds, so that a view
/// which is one block behind does not see the future. Two halves: a full one becomes the old one, which is dropped next.
#[derive(Debug, Default)]
pub(super) struct LeafCache {
    height: u64,
    young: HashMap<Key, (u64, Arc<Leaf>), KeyHashing>,
    young_bytes: usize,
    old: HashMap<Key, (u64, Arc<Leaf>), KeyHashing>,
}

impl LeafCache {
    /// The leaf as it stands at `height`, if that is known here.
    pub fn get(&mut self, key: &Key, height: u64) -> Option<Arc<Leaf>> {
        if let Some((since, leaf)) = self.young.get(key) {
            return (*since <= height).then(|| leaf.clone());
        }
        let (since, leaf) = self.old.remove(key)?;
        let known = (since <= height).then(|| leaf.clone());
        self.insert(*key, since, leaf);
        known
    }

    /// A view at `height` read this from disk.
    pub fn fill(&mut self, key: &Key, height: u64, leaf: &Arc<Leaf>) {
        if height == self.height {
            self.insert(*key, height, leaf.clone());
        }
    }

    /// A block of this height is being written: what views of lower heights read is not filled in any more.
    pub fn advance(&mut self, height: u64) {
        self.height = height;
    }

    /// The block of this height leaves a leaf so.
    pub fn put(&mut self, key: &Key, height: u64, leaf: &Arc<Leaf>) {
        self.insert(*key, height, Arc::clone(leaf));
    }

    fn insert(&mut self, key: Key, since: u64, leaf: Arc<Leaf>) {
        if self.young.len() >= CACHE_HALF || self.young_bytes >= CACHE_HALF_BYTES {
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
            self.young_bytes = 0;
        }
        self.young_bytes += leaf.stored.current.len();
        self.young.insert(key, (since, leaf));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(index: u64, trail: usize) -> Leaf {
        let trail = (trail > 0).then(|| Arc::new(Frontier::of(vec![[7; 32]; trail])));
        Leaf { index, next: [3; 32], stored: Stored { current: vec![1, 2, 3].into(), trail } }
    }

    #[test]
    fn leaves_round_trip_and_every_truncation_shows() {
        for trail in [0, 1, 2, 7, 1_000] {
            let leaf = leaf(9, trail);
            let bytes = leaf.encode();
            assert_eq!(Leaf::decode(&bytes), Ok(leaf));
            assert!(Leaf::decode(&bytes[..40]).is_err());
        }
    }

    /// A block of a height makes this leaf.
    fn put(cache: &mut LeafCache, key: u8, height: u64, leaf: &Arc<Leaf>) {
        cache.advance(height);
        cache.put(&[key; 32], height, leaf);
    }

    #[test]
    fn large_values_do_not_fill_the_memory() {
        let mut cache = LeafCache::default();
        let size = 1 << 20;
        let large = Leaf { stored: Stored { current: vec![0; size].into(), trail: None }, ..leaf(1, 0) };
        let large = Arc::new(large);
        for number in 0..200u8 {
            put(&mut cache, number, 1, &large);
        }
        assert!((cache.young.len() + cache.old.len()) * size <= 2 * CACHE_HALF_BYTES + size);
        assert!(cache.get(&[199; 32], 1).is_some() && cache.get(&[0; 32], 1).is_none());
    }

    #[test]
    fn the_cache_never_shows_the_future() {
        let mut cache = LeafCache::default();
        put(&mut cache, 1, 5, &Arc::new(leaf(1, 0)));
        assert!(cache.get(&[1; 32], 5).is_some());
        assert!(cache.get(&[1; 32], 4).is_none());
        cache.fill(&[2; 32], 4, &Arc::new(leaf(2, 0)));
        assert!(cache.get(&[2; 32], 5).is_none(), "a view behind the tip fills nothing");
        cache.fill(&[2; 32], 5, &Arc::new(leaf(2, 0)));
        put(&mut cache, 1, 6, &Arc::new(leaf(1, 3)));
        assert_eq!(cache.get(&[2; 32], 6).map(|leaf| leaf.index), Some(2));
        assert!(cache.get(&[1; 32], 5).is_none());
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = LeafCache::default();
        let shared = Arc::new(leaf(1, 0));
        for number in 0..(3 * CACHE_HALF as u64) {
            let mut key = [0; 32];
            // Hashed by their last bytes.
            key[24..].copy_from_slice(&number.to_be_bytes());
            cache.fill(&key, 0, &shared);
        }
        assert!(cache.young.len() + cache.old.len() <= 2 * CACHE_HALF);
    }
}
