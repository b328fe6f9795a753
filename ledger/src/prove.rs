//! Builds every proof from a view of log and state.
