//! The node's keys and the refusal to sign twice.
