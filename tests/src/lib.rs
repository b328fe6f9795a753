//! What the tests of the whole share.

pub mod chain;
pub mod world;
