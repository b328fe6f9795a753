//! Who founds a network, and under which rules: the genesis document, its checks, and the ceremony by which the
//! founders agree on it. Pure: where files, keys and clocks come from is the caller's matter. In reading order:
//!
//! `document` the file as written · `check` what a document must fulfil · `genesis` the checked document, its hash and
//! origin · `possession` the founders' proofs · `ceremony` contributions and the assembled document · `minutes` the
//! sheet that is signed on paper.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects, clippy::float_arithmetic)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects))]

pub mod ceremony;
mod check;
pub mod document;
mod genesis;
pub mod minutes;
pub mod possession;
#[cfg(test)]
mod sample;

pub use check::{agency_roles, check_agency_id};
pub use genesis::{Genesis, GenesisFault, MAX_GENESIS_BYTES, origin};
