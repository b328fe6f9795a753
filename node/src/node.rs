//! Builds the parts of a node, starts and stops them.
