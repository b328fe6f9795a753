//! The current value under a key: its bytes, and the typed value once somebody has decoded or made it. Shared by all who
//! read it and never changed, so that the programme, accounts and officers that every record of a block names are
//! decoded once and copied never.

use std::any::Any;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use super::{StateFault, Typed};

thread_local! {
    /// Values are encoded here first, so that what is kept is allocated once and is as long as it needs to be.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Deterministic CBOR of a value.
#[derive(Clone, Default)]
pub struct Current(Arc<Inner>);

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    value: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Current {
    /// Encodes a value that was made here.
    pub fn of<T: Typed>(value: Arc<T>) -> Result<Self, StateFault> {
        let encoded = SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            minicbor::encode(&*value, &mut *scratch).map(|()| scratch.as_slice().to_vec())
        });
        let bytes = encoded.map_err(|error| StateFault::Value(error.to_string()))?;
        let value: Arc<dyn Any + Send + Sync> = value;
        Ok(Self(Arc::new(Inner { bytes, value: OnceLock::from(value) })))
    }

    /// The typed value.
    pub fn value<T: Typed>(&self) -> Result<Arc<T>, StateFault> {
        if let Some(value) = self.0.value.get().and_then(|known| Arc::clone(known).downcast::<T>().ok()) {
            return Ok(value);
        }
        let value: T = minicbor::decode(&self.0.bytes).map_err(|error| StateFault::Value(error.to_string()))?;
        let value = Arc::new(value);
        // A key is read as one type only; if two threads decode it at once, either result serves.
        self.0.value.get_or_init(|| value.clone());
        Ok(value)
    }
}

impl From<Vec<u8>> for Current {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Inner { bytes, value: OnceLock::new() }))
    }
}

impl std::ops::Deref for Current {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl PartialEq for Current {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.bytes == other.0.bytes
    }
}

impl Eq for Current {}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0.bytes))
    }
}
