//! SHA-256 over parts (FIPS 180-4). Almost all that a ledger hashes is short and comes in pieces: they are put together
//! where the blocks are made and compressed several at a time, where a hasher that may be left in the middle copies each
//! piece through a buffer of one block. The compression itself is the library's.

use sha2::block_api::compress256;

use super::Hash;

const BLOCK: usize = 64;
/// Blocks that are put together before they are compressed: a state leaf's key, link and trail, or two nodes, fit.
const BLOCKS: usize = 4;
/// Behind the message: one bit, then zeros, then its length.
const FIRST_BIT: u8 = 0x80;
const LENGTH_BYTES: usize = 8;

/// Section 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// SHA-256 over the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut state = INITIAL;
    let mut blocks = [[0; BLOCK]; BLOCKS];
    let (mut used, mut length) = (0, 0u64);
    for part in parts {
        length = length.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        let mut rest: &[u8] = part;
        loop {
            let (_, free) = blocks.as_flattened_mut().split_at_mut(used);
            if let Some((target, _)) = free.split_at_mut_checked(rest.len()).filter(|(_, free)| !free.is_empty()) {
                target.copy_from_slice(rest);
                used = used.saturating_add(rest.len());
                break;
            }
            let (now, later) = rest.split_at(free.len());
            free.copy_from_slice(now);
            compress256(&mut state, &blocks);
            // What is whole from here on is compressed where it lies.
            let (whole, tail) = later.as_chunks::<BLOCK>();
            compress256(&mut state, whole);
            (used, rest) = (0, tail);
        }
    }
    end(&mut blocks, (used, length), &mut state);
    let mut hash = [0; 32];
    for (target, word) in hash.as_chunks_mut().0.iter_mut().zip(state) {
        *target = word.to_be_bytes();
    }
    hash
}

/// Compresses what is left, of which there is less than [`BLOCKS`], and the end.
fn end(blocks: &mut [[u8; BLOCK]; BLOCKS], (used, length): (usize, u64), state: &mut [u32; 8]) {
    let bytes = blocks.as_flattened_mut();
    let (_, free) = bytes.split_at_mut(used);
    free.fill(0);
    if let Some(first) = free.first_mut() {
        *first = FIRST_BIT;
    }
    let least = used.saturating_add(1).saturating_add(LENGTH_BYTES);
    let last = |count: usize| count.saturating_mul(BLOCK).saturating_sub(LENGTH_BYTES);
    let mut count = least.div_ceil(BLOCK);
    if count > BLOCKS {
        // The length finds no room: it comes in a block of its own.
        compress256(state, blocks);
        *blocks = [[0; BLOCK]; BLOCKS];
        count = 1;
    }
    if let Some(place) = blocks.as_flattened_mut().get_mut(last(count)..).and_then(|rest| rest.first_chunk_mut()) {
        *place = length.saturating_mul(8).to_be_bytes();
    }
    let (whole, _) = blocks.split_at(count);
    compress256(state, whole);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    fn expected(bytes: &[u8]) -> super::Hash {
        Sha256::digest(bytes).into()
    }

    #[test]
    fn every_length_around_the_blocks_is_hashed_as_by_the_library() {
        let bytes: Vec<u8> = (0..1_100u32).map(|number| (number * 31 % 251) as u8).collect();
        for length in 0..bytes.len() {
            let bytes = &bytes[..length];
            assert_eq!(super::sha256(&[bytes]), expected(bytes), "{length}");
            // In pieces that end at, before and behind the ends of blocks.
            let (head, tail) = bytes.split_at(length * 2 / 3);
            assert_eq!(super::sha256(&[head, &[], tail]), expected(bytes), "{length} in two");
        }
        assert_eq!(super::sha256(&[]), expected(&[]));
    }

    proptest! {
        #[test]
        fn any_parts_are_hashed_as_their_concatenation(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12)
        ) {
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(super::sha256(&slices), expected(&parts.concat()));
        }
    }
}
