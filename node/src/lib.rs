//! An agency's process. Everything worldly is here: sockets, disk, clock, keys. All rules live in the pure crates.

pub mod api;
pub mod clock;
pub mod command;
pub mod config;
pub mod devnet;
pub mod engine;
pub mod executor;
pub mod guard;
pub mod keyring;
pub mod keys;
mod listener;
pub mod mempool;
mod mutants;
pub mod network;
pub mod node;
pub mod ops;
pub mod recovery;
pub mod sealer;
pub mod setup;
pub mod signer;
pub mod store;
pub mod sync;
#[cfg(test)]
mod testing;

/// Also the allocator of tests and the bench, which run nodes inside themselves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
