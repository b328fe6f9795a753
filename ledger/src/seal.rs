//! Checkpoints and the agencies' seals on them.
