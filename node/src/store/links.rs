//! Where every leaf of the state stands, in memory, while the state is small: whether a key exists, and which leaf
//! precedes it, without a search of the disk. A large state does without.

use std::collections::BTreeMap;

use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::state::tree::{Link, Neighbour, TreeUpdate};

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

/// All links of the state at one height; none if there are too many.
#[derive(Debug, Default)]
pub(super) struct Links {
    height: u64,
    small_leaves: u64,
    all: Option<BTreeMap<Words, Link>>,
}

impl Links {
    /// `small_leaves` is the largest state of which they are kept.
    pub fn new(height: u64, small_leaves: u64, all: Option<Vec<(Key, Link)>>) -> Self {
        let all = all.map(|all| all.iter().map(|(key, link)| (Words::of(key), *link)).collect());
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
            all.extend(update.links.iter().map(|(key, link)| (Words::of(key), *link)));
        }
    }
}

/// Every link of one height.
pub(super) struct Known<'a>(&'a BTreeMap<Words, Link>);

impl Known<'_> {
    /// The leaf with this key; none if there is none.
    pub fn position(&self, key: &Key) -> Option<Neighbour> {
        self.0.get(&Words::of(key)).map(|link| Neighbour { key: *key, index: link.index, next: link.next })
    }

    /// The greatest leaf strictly below; none only for the sentinel.
    pub fn below(&self, key: &Key) -> Option<Neighbour> {
        let (words, link) = self.0.range(..Words::of(key)).next_back()?;
        Some(Neighbour { key: words.key(), index: link.index, next: link.next })
    }
}
