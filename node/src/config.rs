//! The node's local configuration file: only what cannot change a verdict.
