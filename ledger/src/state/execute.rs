//! Runs the records of a block and says what changed.
