//! Key files of a node, encrypted at rest.
