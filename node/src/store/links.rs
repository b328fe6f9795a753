//! Where every leaf of the state stands, in memory, while the state is small: whether a key exists, and which leaf
//! precedes it, without a search of the disk. A large state does without.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::state::tree::{Link, Neighbour, SENTINEL, TreeUpdate};

/// Leaves in a bucket on average, at most: few enough to lie in a few lines of the processor's cache.
const MEAN: usize = 8;

/// A key in words, in the order of its bytes: one comparison of words decides nearly always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Words([u64; 4]);

impl Words {
    fn of(key: &Key) -> Self {
        let (words, _) = key.as_chunks::<8>();
        let mut all = [0; 4];
        for (word, bytes) in all.iter_mut().zip(words) {
            *word = u64::from_be_bytes(*bytes);
        }
        Self(all)
    }

    fn key(&self) -> Key {
        let mut key = [0; 32];
        let (words, _) = key.as_chunks_mut::<8>();
        for (bytes, word) in words.iter_mut().zip(self.0) {
            *bytes = word.to_be_bytes();
        }
        key
    }
}

/// All leaves and their indices in the order of their keys, divided by the first bits of the key. Keys are digests and fill
/// the buckets evenly, so that each is one small piece of memory; one into which somebody has made many fall is a tree as
/// any other. What follows a leaf is the one behind it.
#[derive(Debug)]
struct Sorted {
    /// Bits that name the bucket.
    bits: u32,
    buckets: Vec<BTreeMap<Words, u64>>,
    len: usize,
}

impl Sorted {
    fn of(places: impl ExactSizeIterator<Item = (Words, u64)>) -> Self {
        let bits = (places.len() / MEAN).next_power_of_two().trailing_zeros();
        let mut sorted = Self { bits, buckets: vec![BTreeMap::new(); 1 << bits], len: 0 };
        places.for_each(|(words, index)| sorted.insert(words, index));
        sorted
    }

    fn number(&self, words: &Words) -> usize {
        // No bits name the only bucket.
        words.0[0].checked_shr(u64::BITS - self.bits).map_or(0, |number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    fn insert(&mut self, words: Words, index: u64) {
        if self.len >= self.buckets.len().saturating_mul(MEAN) {
            self.divide();
        }
        let number = self.number(&words);
        if let Some(bucket) = self.buckets.get_mut(number)
            && bucket.insert(words, index).is_none()
        {
            self.len += 1;
        }
    }

    /// Twice as many buckets.
    fn divide(&mut self) {
        self.bits += 1;
        let halves = std::mem::take(&mut self.buckets);
        for (number, mut low) in (0u64..).zip(halves) {
            let middle = (2 * number + 1) << (u64::BITS - self.bits);
            let high = low.split_off(&Words([middle, 0, 0, 0]));
            self.buckets.extend([low, high]);
        }
    }

    /// The key behind one that stands in this bucket.
    fn next_of(&self, number: usize, words: &Words) -> Key {
        let here = self.buckets.get(number).and_then(|bucket| bucket.range((Excluded(words), Unbounded)).next());
        let behind = || self.buckets.iter().skip(number + 1).find_map(BTreeMap::first_key_value);
        here.or_else(behind).map_or(SENTINEL, |(words, _)| words.key())
    }
}

/// All links of the state at one height; none if there are too many.
#[derive(Debug, Default)]
pub(super) struct Links {
    height: u64,
    small_leaves: u64,
    all: Option<Sorted>,
}

impl Links {
    /// `small_leaves` is the largest state of which they are kept.
    pub fn new(height: u64, small_leaves: u64, all: Option<Vec<(Key, Link)>>) -> Self {
        let all = all.map(|all| Sorted::of(all.iter().map(|(key, link)| (Words::of(key), link.index))));
        Self { height, small_leaves, all }
    }

    /// The links as they stand at a height, if they are known.
    pub fn at(&self, height: u64) -> Option<Known<'_>> {
        self.all.as_ref().filter(|_| height == self.height).map(Known)
    }

    /// A block of this height is being written.
    pub fn apply(&mut self, height: u64, update: &TreeUpdate) {
        self.height = height;
        if update.size > self.small_leaves {
            self.all = None;
        }
        if let Some(all) = &mut self.all {
            // A new leaf is what changes the links of others.
            let size = u64::try_from(all.len).unwrap_or(u64::MAX);
            for (key, link) in update.links.iter().filter(|(_, link)| link.index >= size) {
                all.insert(Words::of(key), link.index);
            }
        }
    }
}

/// Every link of one height.
pub(super) struct Known<'a>(&'a Sorted);

impl Known<'_> {
    /// Brings what answers for these keys into the processor's cache: looking at all of it first lets the processor wait
    /// for several pieces of memory at once.
    pub fn fetch(&self, keys: &[&Key]) {
        let buckets = keys.iter().filter_map(|key| self.0.buckets.get(self.0.number(&Words::of(key))));
        let indices = buckets.filter_map(|bucket| bucket.first_key_value().map(|(_, index)| *index));
        std::hint::black_box(indices.fold(0u64, |sum, index| sum ^ index));
    }

    /// Whether there is a leaf with this key.
    pub fn holds(&self, key: &Key) -> bool {
        let words = Words::of(key);
        self.0.buckets.get(self.0.number(&words)).is_some_and(|bucket| bucket.contains_key(&words))
    }

    /// The leaf with this key; none if there is none.
    pub fn position(&self, key: &Key) -> Option<Neighbour> {
        let words = Words::of(key);
        let number = self.0.number(&words);
        let index = self.0.buckets.get(number)?.get(&words)?;
        Some(Neighbour { key: *key, index: *index, next: self.0.next_of(number, &words) })
    }

    /// The greatest leaf strictly below; none only for the sentinel.
    pub fn below(&self, key: &Key) -> Option<Neighbour> {
        let words = Words::of(key);
        let mut number = self.0.number(&words);
        let mut found = self.0.buckets.get(number)?.range(..words).next_back();
        while found.is_none() {
            number = number.checked_sub(1)?;
            found = self.0.buckets.get(number)?.last_key_value();
        }
        let (words, index) = found?;
        Some(Neighbour { key: words.key(), index: *index, next: self.0.next_of(number, words) })
    }
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::crypto::sha256;
    use mingzhang_ledger::state::Stored;
    use mingzhang_ledger::state::memory::MemoryState;
    use mingzhang_ledger::state::tree::TreeView;

    use super::*;

    /// Blocks of many sizes: digests, as keys are, and keys made to fall into one bucket.
    #[test]
    fn links_are_those_of_the_tree() {
        let mut state = MemoryState::default();
        let first = state.apply(&BTreeMap::new()).expect("genesis");
        let links = first.links.iter().map(|(key, link)| (*key, *link)).collect();
        let mut ours = Links::new(0, 5_000, Some(links));
        let mut keys: Vec<Key> = Vec::new();
        for height in 1..60u64 {
            let new = (0..height).map(|number| {
                let mut key = sha256(&[&height.to_be_bytes(), &number.to_be_bytes()]);
                if height % 5 == 0 {
                    key[..16].fill(0x5a);
                }
                key
            });
            keys.extend(new);
            let from = keys.len().saturating_sub(usize::try_from(height * 2).expect("small"));
            let changes = keys[from..].iter().map(|key| (*key, Stored::default())).collect();
            let update = state.apply(&changes).expect("applies");
            ours.apply(height, &update);
            assert!(ours.at(height - 1).is_none());
            let known = ours.at(height).expect("small");
            for key in keys.iter().step_by(7) {
                assert_eq!(known.position(key), state.position(key).expect("memory"));
                assert!(known.holds(key));
                assert_eq!(known.below(key), state.predecessor(key).ok());
                let absent = sha256(&[key]);
                assert!(!known.holds(&absent));
                assert_eq!((known.position(&absent), known.below(&absent)), (None, state.predecessor(&absent).ok()));
            }
        }
        assert_eq!(ours.at(59).and_then(|known| known.below(&SENTINEL)), None);
        assert!(ours.all.is_some_and(|all| all.bits > 5), "it was divided");
    }

    #[test]
    fn a_state_that_is_not_small_has_none() {
        let mut ours = Links::new(0, 3, Some(vec![(SENTINEL, Link { index: 0, next: SENTINEL })]));
        ours.apply(1, &TreeUpdate { size: 3, ..TreeUpdate::default() });
        assert!(ours.at(1).is_some());
        ours.apply(2, &TreeUpdate { size: 4, ..TreeUpdate::default() });
        assert!(ours.at(2).is_none());
    }
}
