//! What is recorded, under which rules, and how anybody proves it. Pure: no I/O, no clock, no randomness; the same
//! bytes in, the same bytes out, on every machine. In reading order:
//!
//! `codec` canonical bytes · `crypto` hashes, keys, signatures · `transaction` the envelope that an officer signs ·
//! `entry`, `header` leaves of the log · `merkle` the one shape of tree · `batch` how transactions reach a block ·
//! `authority`, `certificate` who decides · `recovery` who does after a loss · `records` what may be recorded, under which rules, and its views · `rules`
//! their parameters · `state` what the records add up to, and the running of them · `door` what is refused before the
//! log · `block` the header of what was run · `outcome` codes · `layout` texts for a terminal · `seal`, `receipt`, `proof`, `prove` what an outsider
//! holds · `verify` how he checks it · `mutants` deliberate faults.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects, clippy::float_arithmetic)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects))]

pub mod authority;
pub mod batch;
pub mod block;
pub mod certificate;
pub mod codec;
pub mod crypto;
pub mod door;
pub mod entry;
pub mod header;
pub mod layout;
pub mod merkle;
pub mod mutants;
pub mod outcome;
pub mod phrases;
pub mod proof;
pub mod prove;
pub mod receipt;
pub mod records;
pub mod recovery;
pub mod rules;
pub mod seal;
pub mod state;
pub mod transaction;
pub mod verify;
