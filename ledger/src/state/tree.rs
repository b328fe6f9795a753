//! The indexed Merkle tree over the state's leaves.
