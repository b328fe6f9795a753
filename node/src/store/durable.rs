//! The proof, in the type, that a value was synced to disk before it is used. Made only in the store; what is derived
//! from a durable value is durable too.

use std::ops::Deref;

/// A value that survives a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    /// Only for the code that has just synced the write behind `value`.
    pub(super) fn after_sync(value: T) -> Self {
        Self(value)
    }

    /// What follows from the value alone, for instance the signature over a record.
    pub fn map<U>(self, derive: impl FnOnce(T) -> U) -> Durable<U> {
        Durable(derive(self.0))
    }

    /// As [`Self::map`], for a derivation that can be refused.
    pub fn try_map<U, E>(self, derive: impl FnOnce(T) -> Result<U, E>) -> Result<Durable<U>, E> {
        derive(self.0).map(Durable)
    }

    pub fn as_ref(&self) -> Durable<&T> {
        Durable(&self.0)
    }

    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Durable<Vec<T>> {
    /// Each element is as durable as the whole.
    pub fn each(self) -> impl Iterator<Item = Durable<T>> {
        self.0.into_iter().map(Durable)
    }
}

impl<T> Deref for Durable<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
