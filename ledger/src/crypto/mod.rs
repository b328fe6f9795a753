//! Hashes, keys and signatures of suite 1 (Ed25519, SHA-256). This folder is the only place that names a
//! cryptography library. Where randomness comes from is the caller's matter: seeds are handed in.

mod ed25519;
pub mod key_file;

pub use ed25519::{KeyFault, PublicKey, Signature, SigningKey, verify_batch};

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// First 16 bytes of SHA-256 of a public key: how transactions and the ledger name an officer's key.
pub type KeyId = [u8; 16];

const BLOCK_BYTES: usize = 64;
/// Blocks of a node of a tree, of a key's name, of a trail's entry.
const FEW_BLOCKS: usize = 2;
/// Blocks of most leaves and entries.
const SOME_BLOCKS: usize = 8;
/// Blocks of nearly all of them.
const MANY_BLOCKS: usize = 16;
/// Bytes of a message's length in bits, at the end of its last block.
const LENGTH_BYTES: usize = 8;
/// What SHA-256 begins with (FIPS 180-4, section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// SHA-256 over the concatenation of `parts`.
#[inline]
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let some = || sha256_within::<SOME_BLOCKS>(parts).or_else(|| sha256_within::<MANY_BLOCKS>(parts));
    sha256_within::<FEW_BLOCKS>(parts).or_else(some).unwrap_or_else(|| {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().into()
    })
}

/// A message that is put together in one piece before it is compressed: the library's buffer costs as much as the two
/// blocks of a node. None if it does not fit into so many blocks with its padding.
#[inline]
fn sha256_within<const BLOCKS: usize>(parts: &[&[u8]]) -> Option<Hash> {
    let length = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
    let blocks = length.saturating_add(1 + LENGTH_BYTES).div_ceil(BLOCK_BYTES);
    let mut message = [[0; BLOCK_BYTES]; BLOCKS];
    let message = message.get_mut(..blocks)?;
    let mut rest = message.as_flattened_mut();
    for part in parts {
        let (place, behind) = rest.split_at_mut_checked(part.len())?;
        place.copy_from_slice(part);
        rest = behind;
    }
    // Padding: a one bit, zeros, the length (section 5.1.1).
    *rest.first_mut()? = 0x80;
    *rest.last_chunk_mut::<LENGTH_BYTES>()? = u64::try_from(length).ok()?.saturating_mul(8).to_be_bytes();
    let mut state = INITIAL;
    compress256(&mut state, message);
    let mut digest = [0; 32];
    let (words, _) = digest.as_chunks_mut::<4>();
    for (bytes, word) in words.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length around the blocks' ends, and how it is cut.
    #[test]
    fn short_messages_are_hashed_as_the_library_does() {
        let bytes: Vec<u8> = (0..1_100u16).map(|number| number.to_le_bytes()[0] ^ 0x5a).collect();
        for length in 0..bytes.len() {
            let message = &bytes[..length];
            let expected: Hash = Sha256::digest(message).into();
            for cut in [0, 1, 32, 33, 64, 65, length] {
                let (head, tail) = message.split_at(cut.min(length));
                assert_eq!(sha256(&[head, tail]), expected, "{length} bytes, cut at {cut}");
            }
            assert_eq!(sha256_within::<FEW_BLOCKS>(&[message]), (length < 120).then_some(expected));
            assert_eq!(sha256_within::<SOME_BLOCKS>(&[message]), (length < 504).then_some(expected));
            assert_eq!(sha256_within::<MANY_BLOCKS>(&[message]), (length < 1_016).then_some(expected));
        }
        assert_eq!(sha256(&[]), <Hash>::from(Sha256::digest([])));
    }
}
