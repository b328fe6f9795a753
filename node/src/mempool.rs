//! Admitted transactions: bounded, fair by agency, packed into signed batches.
