//! Runs ledger execution above pending blocks; a local failure is never a verdict.
