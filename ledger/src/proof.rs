//! Proofs as they travel: state, header and trail proofs with their JSON form.
