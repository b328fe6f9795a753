//! Hashes, keys and signatures of suite 1 (Ed25519, SHA-256). This folder is the only place that names a
//! cryptography library. Where randomness comes from is the caller's matter: seeds are handed in.

mod ed25519;
pub mod key_file;

pub use ed25519::{KeyFault, PublicKey, Signature, SigningKey, verify_batch};

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// First 16 bytes of SHA-256 of a public key: how transactions and the ledger name an officer's key.
pub type KeyId = [u8; 16];

/// SHA-256 over the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
