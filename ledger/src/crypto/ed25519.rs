//! Ed25519: keys and signing by ed25519-dalek, verification under ZIP-215 by ed25519-zebra, so that single and
//! batch verdicts always agree. Says nothing about who may sign what.

use std::convert::Infallible;

use ed25519_dalek::Signer as _;
use thiserror::Error;

use super::{Hash, KeyId, sha256};

/// A 64-byte signature as it travels: R ‖ s.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; 64]);

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// 2^255 - 19, and the two y at which x is 0, little-endian.
const PRIME: [u8; 32] = edge(0xed);
const MINUS_ONE: [u8; 32] = edge(0xec);
const ONE: [u8; 32] = {
    let mut one = [0; 32];
    one[0] = 1;
    one
};

const fn edge(lowest: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    (bytes[0], bytes[31]) = (lowest, 0x7f);
    bytes
}

impl Signature {
    /// Whether R, if it is a point at all, is encoded canonically (RFC 8032, 5.1.3): y below the field's prime, and no
    /// negative zero as x. A signature without it is refused at the door; one whose R is no point fails verification.
    pub fn has_canonical_r(&self) -> bool {
        let Some(mut y) = self.0.first_chunk::<32>().copied() else { return false };
        let negative = y[31] & 0x80 != 0;
        y[31] &= 0x7f;
        // Little-endian, so the last byte weighs most.
        let below_prime = y.iter().rev().lt(PRIME.iter().rev());
        let x_is_zero = y == ONE || y == MINUS_ONE;
        below_prime && !(negative && x_is_zero)
    }
}

/// A 32-byte public key as it travels. Holding one says nothing about its validity: see [`PublicKey::check_registrable`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Why a public key cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyFault {
    #[error("public key is not the canonical encoding of a point")]
    NotCanonical,
    #[error("public key has a torsion component")]
    Torsion,
    #[error("proof of possession does not verify")]
    Possession,
}

impl PublicKey {
    /// First 16 bytes of SHA-256 of the key.
    pub fn key_id(&self) -> KeyId {
        let digest = sha256(&[&self.0]);
        let mut id = [0; 16];
        id.copy_from_slice(digest.split_at(16).0);
        id
    }

    /// Single ZIP-215 verification.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let Ok(key) = ed25519_zebra::VerificationKey::try_from(self.0) else { return false };
        key.verify(&ed25519_zebra::Signature::from_bytes(&signature.0), message).is_ok()
    }

    /// Strict verification (RFC 8032 without small-order points): proofs of possession only.
    pub fn verify_strict(&self, message: &[u8], signature: &Signature) -> bool {
        ed25519_dalek::VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok())
    }

    /// A key may be registered only if it is canonical, not of small order and torsion-free.
    pub fn check_registrable(&self) -> Result<(), KeyFault> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0).map_err(|_| KeyFault::NotCanonical)?;
        let point = key.to_edwards();
        if point.compress().to_bytes() != self.0 {
            return Err(KeyFault::NotCanonical);
        }
        if key.is_weak() || !point.is_torsion_free() {
            return Err(KeyFault::Torsion);
        }
        Ok(())
    }
}

/// A private key. Its bytes are wiped when it is dropped.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({:?})", self.public())
    }
}

impl SigningKey {
    /// From a 32-byte seed that the caller drew from the operating system.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, for writing an encrypted key file.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

/// Verifies many signatures at once and says for each whether it holds. The verdicts are those of
/// [`PublicKey::verify`]; a failed batch is bisected.
pub fn verify_batch(items: &[(PublicKey, &[u8], Signature)]) -> Vec<bool> {
    let prepared: Vec<ed25519_zebra::batch::Item> = items
        .iter()
        .map(|(key, message, signature)| {
            let key = ed25519_zebra::VerificationKeyBytes::from(key.0);
            let signature = ed25519_zebra::Signature::from_bytes(&signature.0);
            ed25519_zebra::batch::Item::from((key, signature, *message))
        })
        .collect();
    let mut seed = [0u8; 32];
    for (key, message, signature) in items {
        seed = sha256(&[&seed, &key.0, &signature.0, message]);
    }
    let mut verdicts = vec![false; items.len()];
    bisect(&prepared, seed, &mut verdicts);
    verdicts
}

fn bisect(items: &[ed25519_zebra::batch::Item], seed: Hash, verdicts: &mut [bool]) {
    if let [item] = items {
        verdicts.fill(item.clone().verify_single().is_ok());
        return;
    }
    let mut verifier = ed25519_zebra::batch::Verifier::new();
    for item in items {
        verifier.queue(item.clone());
    }
    if verifier.verify(Coins { seed, counter: 0, left: Vec::new() }).is_ok() {
        verdicts.fill(true);
        return;
    }
    let middle = items.len() / 2;
    let (left, right) = items.split_at(middle);
    let (left_verdicts, right_verdicts) = verdicts.split_at_mut(middle);
    bisect(left, sha256(&[&seed, b"left"]), left_verdicts);
    bisect(right, sha256(&[&seed, b"right"]), right_verdicts);
}

/// The batch equation's random factors, drawn from everything in the batch: nobody can choose a signature after
/// seeing them, and a pure crate needs no outside randomness.
struct Coins {
    seed: Hash,
    counter: u64,
    left: Vec<u8>,
}

impl rand_core::TryRng for Coins {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        for byte in target {
            if self.left.is_empty() {
                self.left = sha256(&[b"mingzhang/batch-verify/v1\0", &self.seed, &self.counter.to_be_bytes()]).to_vec();
                self.counter = self.counter.wrapping_add(1);
            }
            *byte = self.left.pop().unwrap_or(0);
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Coins {}

#[cfg(test)]
mod tests {
    use curve25519_dalek::edwards::CompressedEdwardsY;

    use super::*;

    #[test]
    fn single_and_batch_agree_and_bisection_finds_the_bad_one() {
        let keys: Vec<SigningKey> = (0u8..9).map(|i| SigningKey::from_seed(&[i; 32])).collect();
        let messages: Vec<Vec<u8>> = (0u8..9).map(|i| vec![i; 40]).collect();
        for bad in 0..9 {
            let items: Vec<_> = keys
                .iter()
                .zip(&messages)
                .enumerate()
                .map(|(i, (key, message))| {
                    let mut signature = key.sign(message);
                    if i == bad {
                        signature.0[40] ^= 1;
                    }
                    (key.public(), message.as_slice(), signature)
                })
                .collect();
            let verdicts = verify_batch(&items);
            for (i, (key, message, signature)) in items.iter().enumerate() {
                assert_eq!(verdicts[i], i != bad);
                assert_eq!(verdicts[i], key.verify(message, signature));
            }
        }
    }

    #[test]
    fn small_order_keys_are_not_registrable_but_zip215_accepts_their_signatures() {
        let identity = {
            let mut bytes = [0; 32];
            bytes[0] = 1;
            PublicKey(bytes)
        };
        assert_eq!(identity.check_registrable(), Err(KeyFault::Torsion));
        let mut trivial = Signature([0; 64]);
        trivial.0[0] = 1;
        assert!(identity.verify(b"anything", &trivial));
        assert_eq!(verify_batch(&[(identity, b"anything", trivial)]), vec![true]);
        assert!(!identity.verify_strict(b"anything", &trivial));
        assert!(SigningKey::from_seed(&[7; 32]).public().check_registrable().is_ok());
    }

    #[test]
    fn non_canonical_r_is_seen() {
        let mut signature = SigningKey::from_seed(&[1; 32]).sign(b"x");
        assert!(signature.has_canonical_r());
        // y = p + 1 encodes the identity non-canonically.
        let mut y = [0xff; 32];
        y[0] = 0xee;
        y[31] = 0x7f;
        signature.0[..32].copy_from_slice(&y);
        assert!(!signature.has_canonical_r());
    }

    #[test]
    fn canonical_means_that_the_point_is_encoded_so() {
        let mut seen = (0, 0);
        for lowest in 0..=255u8 {
            for (fill, highest) in [(0, 0), (0, 0x80), (0xff, 0x7f), (0xff, 0xff), (0x55, 0x2a), (0x55, 0xaa)] {
                let mut r = [fill; 32];
                (r[0], r[31]) = (lowest, highest);
                let Some(point) = CompressedEdwardsY(r).decompress() else { continue };
                let mut signature = Signature([0; 64]);
                signature.0[..32].copy_from_slice(&r);
                let canonical = point.compress().to_bytes() == r;
                assert_eq!(signature.has_canonical_r(), canonical, "{}", hex::encode(r));
                if canonical { seen.0 += 1 } else { seen.1 += 1 }
            }
        }
        assert!(seen.0 > 100 && seen.1 > 10, "{seen:?}");
    }
}
