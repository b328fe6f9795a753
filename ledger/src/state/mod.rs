//! The state: one trait to read a key, an overlay that gathers changes, what a leaf's value looks like. The tree over
//! the leaves is in `tree`, the running of records in `execute`.

mod current;
pub mod execute;
pub mod key;
pub mod memory;
pub mod tree;

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use minicbor::encode::write::{Cursor, EndOfArray};
use minicbor::{Decode, Encode, Encoder};
use thiserror::Error;

use crate::crypto::{Hash, sha256};
use crate::merkle::{Frontier, leaf_hash};
pub use current::Current;
use key::{Key, KeyHashing};

/// A map in memory of what one block touches. Its order reaches nothing: what leaves an overlay is sorted first
/// ([`Parts::sorted`]), and whoever looks at all changes before that asks of each the same.
#[expect(clippy::disallowed_types, reason = "its hashing is fixed and its order decides nothing")]
type ByKey<T> = std::collections::HashMap<Key, T, KeyHashing>;

/// A local failure to read the state: never a verdict on a record or block.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateFault {
    #[error("state store: {0}")]
    Store(String),
    #[error("value under a state key cannot be decoded: {0}")]
    Value(String),
    #[error("broken invariant: {0}")]
    Invariant(&'static str),
}

/// What is kept under one key: the current value and, for a subject, the frontier of its trail. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    pub current: Current,
    /// None for keys that have no trail.
    pub trail: Option<Arc<Frontier>>,
}

impl Stored {
    /// The value of the state leaf: {1: current value} or {1: current value, 2: trail count, 3: trail root}.
    pub fn leaf_value(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.current.len().saturating_add(48));
        match &self.trail {
            None => {
                bytes.extend_from_slice(&[0xa1, 0x01]);
                bytes.extend_from_slice(&self.current);
            }
            Some(trail) => {
                bytes.extend_from_slice(&[0xa3, 0x01]);
                bytes.extend_from_slice(&self.current);
                let (trail, length) = trail_value(trail);
                bytes.extend_from_slice(trail.get(..length).unwrap_or_default());
            }
        }
        bytes
    }

    /// The hash of the state leaf, of [`Self::leaf_value`] without a copy of it.
    pub fn leaf_hash(&self, key: &Key, next: &Key) -> Hash {
        match &self.trail {
            None => sha256(&[&[0], key, next, &[0xa1, 0x01], &self.current]),
            Some(trail) => {
                let (trail, length) = trail_value(trail);
                let trail = trail.get(..length).unwrap_or_default();
                sha256(&[&[0], key, next, &[0xa3, 0x01], &self.current, trail])
            }
        }
    }
}

/// The most that a trail takes in a leaf: two keys, its count, and its root behind a head of two bytes.
const TRAIL_BYTES: usize = 45;

/// 2: trail count, 3: trail root; and how many bytes that is. Without an allocation: most leaves that a block changes have
/// a trail.
fn trail_value(trail: &Frontier) -> ([u8; TRAIL_BYTES], usize) {
    let mut encoder = Encoder::new(Cursor::new([0; TRAIL_BYTES]));
    let written = (|| -> Result<(), minicbor::encode::Error<EndOfArray>> {
        encoder.u8(2)?.u64(trail.size())?.u8(3)?.bytes(&trail.root())?.ok()
    })();
    debug_assert!(written.is_ok());
    let target = encoder.into_writer();
    let length = target.position();
    (target.into_inner(), length)
}

/// An entry of a trail: entry index u64be ‖ entry hash.
pub fn trail_entry(index: u64, entry_hash: &Hash) -> [u8; 40] {
    let mut bytes = [0; 40];
    let (head, tail) = bytes.split_at_mut(8);
    head.copy_from_slice(&index.to_be_bytes());
    tail.copy_from_slice(entry_hash);
    bytes
}

/// A type of which values stand in the state.
pub trait Typed: Encode<()> + for<'b> Decode<'b, ()> + Any + Clone + Send + Sync {}

impl<T: Encode<()> + for<'b> Decode<'b, ()> + Any + Clone + Send + Sync> Typed for T {}

/// Reads a key of the state. The one trait between rules and stores.
pub trait Snapshot {
    fn read(&self, key: &Key) -> Result<Option<Stored>, StateFault>;

    /// [`Self::read`] of many keys: a store answers many questions together sooner than one by one.
    fn read_all(&self, keys: &[&Key]) -> Result<Vec<Option<Stored>>, StateFault> {
        keys.iter().map(|key| self.read(key)).collect()
    }
}

/// The empty state, before genesis.
pub struct Nothing;

impl Snapshot for Nothing {
    fn read(&self, _: &Key) -> Result<Option<Stored>, StateFault> {
        Ok(None)
    }
}

/// A snapshot whose answers are remembered, so that the records of a block that name the same programme, accounts and
/// officers read the store once. It lives as long as one execution and is as small as what a block touches.
pub struct Remembered<'a> {
    below: &'a dyn Snapshot,
    answers: RefCell<ByKey<Option<Stored>>>,
}

impl<'a> Remembered<'a> {
    /// With room for so many answers.
    pub fn with_room(below: &'a dyn Snapshot, answers: usize) -> Self {
        Self { below, answers: RefCell::new(ByKey::with_capacity_and_hasher(answers, KeyHashing)) }
    }

    /// Reads what will be asked for, in one go. A key that comes twice is read once.
    pub fn foresee(&self, keys: impl Iterator<Item = Key>) -> Result<(), StateFault> {
        let mut answers = self.answers.borrow_mut();
        let mut is_new = |key: &Key| match answers.entry(*key) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => entry.insert(None).is_none(),
        };
        let unknown: Vec<Key> = keys.filter(|key| is_new(key)).collect();
        let found = self.below.read_all(&unknown.iter().collect::<Vec<_>>())?;
        answers.extend(unknown.into_iter().zip(found));
        Ok(())
    }
}

impl Snapshot for Remembered<'_> {
    fn read(&self, key: &Key) -> Result<Option<Stored>, StateFault> {
        if let Some(answer) = self.answers.borrow().get(key) {
            return Ok(answer.clone());
        }
        let answer = self.below.read(key)?;
        self.answers.borrow_mut().insert(*key, answer.clone());
        Ok(answer)
    }
}

/// One appended trail entry, for the store that serves trails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrailAppend {
    pub trail: Key,
    pub position: u64,
    pub entry: [u8; 40],
}

/// Changes gathered above a snapshot. Overlays stack: a record's above its block's, a block's above its parent's.
pub struct Overlay<'a> {
    base: &'a dyn Snapshot,
    changes: ByKey<Stored>,
    appends: Vec<TrailAppend>,
    joins: Vec<Join>,
}

/// A log entry that a trail gets when the changes are taken over: the trails of a block are copied once, not for every
/// record that joins them.
#[derive(Debug)]
struct Join {
    trail: Key,
    index: u64,
    entry_hash: Hash,
}

impl Snapshot for Overlay<'_> {
    fn read(&self, key: &Key) -> Result<Option<Stored>, StateFault> {
        match self.changes.get(key) {
            Some(stored) => Ok(Some(stored.clone())),
            None => self.base.read(key),
        }
    }
}

impl<'a> Overlay<'a> {
    pub fn new(base: &'a dyn Snapshot) -> Self {
        Self { base, changes: ByKey::default(), appends: Vec::new(), joins: Vec::new() }
    }

    /// With room for so many changes.
    pub fn with_room(base: &'a dyn Snapshot, changes: usize) -> Self {
        let changes = ByKey::with_capacity_and_hasher(changes, KeyHashing);
        Self { base, changes, appends: Vec::new(), joins: Vec::new() }
    }

    /// The typed current value under a key.
    pub fn get<T: Typed>(&self, key: &Key) -> Result<Option<T>, StateFault> {
        Ok(self.shared::<T>(key)?.map(|value| T::clone(&value)))
    }

    /// As [`Self::get`], without a copy: a value is decoded once for all who read it.
    pub fn shared<T: Typed>(&self, key: &Key) -> Result<Option<Arc<T>>, StateFault> {
        match self.changes.get(key) {
            Some(stored) => stored.current.value().map(Some),
            None => self.base.read(key)?.map(|stored| stored.current.value()).transpose(),
        }
    }

    pub fn exists(&self, key: &Key) -> Result<bool, StateFault> {
        Ok(self.changes.contains_key(key) || self.base.read(key)?.is_some())
    }

    /// Sets the current value, leaving the trail as it is.
    pub fn put<T: Typed>(&mut self, key: Key, value: &T) -> Result<(), StateFault> {
        self.put_shared(key, Arc::new(value.clone()))
    }

    /// As [`Self::put`], without a copy.
    pub fn put_shared<T: Typed>(&mut self, key: Key, value: Arc<T>) -> Result<(), StateFault> {
        self.put_current(key, Current::of(value))
    }

    fn put_current(&mut self, key: Key, current: Current) -> Result<(), StateFault> {
        match self.changes.get_mut(&key) {
            Some(stored) => stored.current = current,
            None => {
                let trail = self.base.read(&key)?.and_then(|stored| stored.trail);
                self.changes.insert(key, Stored { current, trail });
            }
        }
        Ok(())
    }

    /// As [`Self::put`], of a value that is hardly read again: only its bytes are kept.
    pub fn put_bytes<T: Typed>(&mut self, key: Key, value: &T) -> Result<(), StateFault> {
        let current = Current::encoded_only(value)?;
        self.put_current(key, current)
    }

    /// Sets what stands under a key, as it is.
    pub fn set(&mut self, key: Key, stored: Stored) {
        self.changes.insert(key, stored);
    }

    /// Appends a log entry to the trail under `key`, which must hold a value; a value without a trail gets one.
    pub fn append_to_trail(&mut self, key: Key, index: u64, entry_hash: &Hash) -> Result<(), StateFault> {
        if let Entry::Vacant(entry) = self.changes.entry(key) {
            let stored = self.base.read(&key)?;
            entry.insert(stored.ok_or(StateFault::Invariant("trail of a key that does not exist"))?);
        }
        self.joins.push(Join { trail: key, index, entry_hash: *entry_hash });
        Ok(())
    }

    /// What was changed, in no particular order.
    pub fn changes(&self) -> impl Iterator<Item = (&Key, &Stored)> {
        self.changes.iter()
    }

    /// Ends the overlay and hands over what it gathered.
    pub fn into_parts(self) -> Parts {
        Parts { changes: self.changes, appends: self.appends, joins: self.joins }
    }

    /// Takes over what an overlay above this one gathered. What was not changed before is encoded now, while it is at hand:
    /// few values change twice in a block, and at its end most have left the processor's cache.
    pub fn absorb(&mut self, parts: Parts) -> Result<(), StateFault> {
        for (key, stored) in parts.changes {
            match self.changes.entry(key) {
                Entry::Occupied(mut entry) => drop(entry.insert(stored)),
                Entry::Vacant(entry) => drop(entry.insert(stored).current.encoded()?),
            }
        }
        self.appends.extend(parts.appends);
        join(&mut self.changes, &mut self.appends, parts.joins)
    }
}

/// What an overlay gathered.
#[derive(Debug, Default)]
pub struct Parts {
    changes: ByKey<Stored>,
    appends: Vec<TrailAppend>,
    joins: Vec<Join>,
}

impl Parts {
    /// Changes in the order of their keys, all encoded, and appends in the order in which they were made.
    pub fn sorted(mut self) -> Result<(BTreeMap<Key, Stored>, Vec<TrailAppend>), StateFault> {
        join(&mut self.changes, &mut self.appends, self.joins)?;
        for stored in self.changes.values() {
            stored.current.encoded()?;
        }
        let mut changes: Vec<(Key, Stored)> = self.changes.into_iter().collect();
        // Keys are hashes: nearly all differ in what one comparison of numbers sees.
        changes.sort_unstable_by(|(one, _), (other, _)| {
            key::head(one).cmp(&key::head(other)).then_with(|| one.cmp(other))
        });
        Ok((changes.into_iter().collect(), self.appends))
    }
}

fn join(changes: &mut ByKey<Stored>, appends: &mut Vec<TrailAppend>, joins: Vec<Join>) -> Result<(), StateFault> {
    for Join { trail, index, entry_hash } in joins {
        let stored = changes.get_mut(&trail).ok_or(StateFault::Invariant("a trail is joined that is not changed"))?;
        let frontier = Arc::make_mut(stored.trail.get_or_insert_default());
        let entry = trail_entry(index, &entry_hash);
        appends.push(TrailAppend { trail, position: frontier.size(), entry });
        frontier.append(leaf_hash(&entry));
    }
    Ok(())
}
