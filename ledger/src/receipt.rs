//! Receipts in the tlog-proof format: form and check.
