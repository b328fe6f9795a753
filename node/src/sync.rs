//! Serves and fetches blocks.
