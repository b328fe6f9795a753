//! Where the peers of a network are found: a TOML list, checked against the genesis hash and the authority set.
//! Addresses carry no trust: a peer proves its key when it connects, and this list must name the key of the set.
//! Reading files and connecting are the node's matter.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects, clippy::float_arithmetic)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects))]

mod address;
mod list;

pub use address::{Address, AddressFault, Host};
pub use list::{MAX_ADDRESSES, Peer, Seeds, SeedsFault};
