//! The HTTP API: submit, query, proofs, errors as problem+json.
