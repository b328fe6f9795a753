//! The door: what is refused before the log, at submission and again inside a block.
