//! The current value under a key: its bytes, and the typed value once somebody has decoded or made it. Shared by all who
//! read it and never changed, so that the programme, accounts and officers that every record of a block names are
//! decoded once and copied never. A value that was made is encoded when its bytes are asked for: of what every record of
//! a block changes, only the last is.

use std::any::Any;
use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use minicbor::encode::Write;

use super::{StateFault, Typed};

thread_local! {
    /// Values are encoded here first, so that what is kept is allocated once and is as long as it needs to be.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The end of a buffer. Values are written a byte or a few at a time: each write is put in place where it is asked for.
struct End<'a>(&'a mut Vec<u8>);

impl Write for End<'_> {
    type Error = Infallible;

    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        match bytes {
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }
}

type Untyped = Arc<dyn Any + Send + Sync>;
type Encoded = Result<Vec<u8>, StateFault>;

/// Deterministic CBOR of a value.
#[derive(Clone)]
pub struct Current(Arc<Inner>);

struct Inner {
    bytes: OnceLock<Encoded>,
    value: OnceLock<Untyped>,
    /// Encodes `value`, of which it knows the type.
    encode: fn(&Untyped) -> Encoded,
}

impl Current {
    /// A value that was made here.
    pub fn of<T: Typed>(value: Arc<T>) -> Self {
        let value: Untyped = value;
        Self(Arc::new(Inner { bytes: OnceLock::new(), value: OnceLock::from(value), encode: encode::<T> }))
    }

    /// A value that was made here, of which only the bytes are kept.
    pub fn encoded_only<T: Typed>(value: &T) -> Result<Self, StateFault> {
        bytes_of(value).map(Self::from)
    }

    /// The bytes, or why the value has none.
    pub fn encoded(&self) -> Result<&[u8], StateFault> {
        let encode = || self.0.value.get().map_or_else(|| Ok(Vec::new()), self.0.encode);
        self.0.bytes.get_or_init(encode).as_deref().map_err(StateFault::clone)
    }

    /// The typed value.
    pub fn value<T: Typed>(&self) -> Result<Arc<T>, StateFault> {
        if let Some(value) = self.0.value.get().and_then(|known| Arc::clone(known).downcast::<T>().ok()) {
            return Ok(value);
        }
        let value: T = minicbor::decode(self.encoded()?).map_err(|error| StateFault::Value(error.to_string()))?;
        let value = Arc::new(value);
        // A key is read as one type only; if two threads decode it at once, either result serves.
        self.0.value.get_or_init(|| value.clone());
        Ok(value)
    }
}

fn encode<T: Typed>(value: &Untyped) -> Encoded {
    bytes_of(value.downcast_ref::<T>().ok_or(StateFault::Invariant("a value is of another type than it was"))?)
}

fn bytes_of<T: Typed>(value: &T) -> Encoded {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        match minicbor::encode(value, End(scratch)) {
            Ok(()) => Ok(scratch.as_slice().to_vec()),
            Err(error) => Err(StateFault::Value(error.to_string())),
        }
    })
}

impl Default for Current {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl From<Vec<u8>> for Current {
    fn from(bytes: Vec<u8>) -> Self {
        let nothing = |_: &Untyped| Ok(Vec::new());
        Self(Arc::new(Inner { bytes: OnceLock::from(Ok(bytes)), value: OnceLock::new(), encode: nothing }))
    }
}

impl std::ops::Deref for Current {
    type Target = [u8];

    /// Whoever hashes or stores a change has it from [`super::Parts::sorted`], which refuses a value without bytes.
    fn deref(&self) -> &[u8] {
        self.encoded().unwrap_or_default()
    }
}

impl PartialEq for Current {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.encoded() == other.encoded()
    }
}

impl Eq for Current {}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&**self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_which_only_the_bytes_are_kept_is_the_same_value() {
        let (kept, made) = (Current::encoded_only(&7u64), Current::of(Arc::new(7u64)));
        assert_eq!(kept.as_ref(), Ok(&made));
        assert_eq!(kept.and_then(|kept| kept.value::<u64>()), Ok(Arc::new(7)));
    }
}
