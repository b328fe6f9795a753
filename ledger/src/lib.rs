//! What is recorded, under which rules, and how anybody proves it. Pure: no I/O, no clock, no randomness; the same
//! bytes in, the same bytes out, on every machine. In reading order:
//!
//! `codec` canonical bytes · `crypto` hashes, keys, signatures · `transaction` the envelope that an officer signs ·
//! `entry`, `header` leaves of the log · `merkle` the one shape of tree · `batch` how transactions reach a block ·
//! `authority`, `certificate` who decides · `state` what the records add up to · `outcome` codes.

pub mod authority;
pub mod batch;
pub mod certificate;
pub mod codec;
pub mod crypto;
pub mod entry;
pub mod header;
pub mod merkle;
pub mod outcome;
pub mod state;
pub mod transaction;
