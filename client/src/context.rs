//! Named networks with a pinned genesis hash.
