//! The block header: 256 fixed bytes, the last leaf of its block, and its id. Whether a header is true is decided by
//! execution and certificates, not here.

use crate::codec::{CodecFault, Reader};
use crate::crypto::Hash;
use crate::merkle;

/// Length of an encoded header in bytes.
pub const HEADER_BYTES: usize = 256;
/// First byte of a header, which is also the first byte of its log entry.
pub const HEADER_TYPE: u8 = 0x02;
const VERSION: u8 = 0x01;

/// A block header. Field order is byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub height: u64,
    pub epoch: u64,
    /// The turn at which the block was first proposed.
    pub turn: u64,
    /// The parent's turn; 0 at the start of an epoch.
    pub parent_turn: u64,
    /// Index of the proposer in the authority set.
    pub proposer: u16,
    /// Milliseconds since 1970, proposed by the agency on turn.
    pub time_ms: u64,
    /// Log index of the block's first record.
    pub first_index: u64,
    /// Records in the block; its header is one leaf more.
    pub entry_count: u32,
    /// Root over the leaves [0, first_index + entry_count).
    pub log_root: Hash,
    pub state_root: Hash,
    /// Header id of height − 1; of the genesis leaf for block 1.
    pub parent: Hash,
    /// Digest of the lane positions and batch references.
    pub batches: Hash,
    /// The authority set that decides this block.
    pub set_hash: Hash,
    /// The authority set that decides the next block.
    pub next_set_hash: Hash,
    /// Leaves of the state tree after the block.
    pub state_size: u64,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&[HEADER_TYPE, VERSION]);
        for number in [self.height, self.epoch, self.turn, self.parent_turn] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.proposer.to_be_bytes());
        bytes.extend_from_slice(&self.time_ms.to_be_bytes());
        bytes.extend_from_slice(&self.first_index.to_be_bytes());
        bytes.extend_from_slice(&self.entry_count.to_be_bytes());
        for hash in [self.log_root, self.state_root, self.parent, self.batches, self.set_hash, self.next_set_hash] {
            bytes.extend_from_slice(&hash);
        }
        bytes.extend_from_slice(&self.state_size.to_be_bytes());
        let mut fixed = [0; HEADER_BYTES];
        fixed.copy_from_slice(&bytes);
        fixed
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != HEADER_TYPE {
            return Err(CodecFault::Invalid("header type"));
        }
        if reader.u8()? != VERSION {
            return Err(CodecFault::Invalid("header version"));
        }
        let header = Self {
            height: reader.u64()?,
            epoch: reader.u64()?,
            turn: reader.u64()?,
            parent_turn: reader.u64()?,
            proposer: reader.u16()?,
            time_ms: reader.u64()?,
            first_index: reader.u64()?,
            entry_count: reader.u32()?,
            log_root: reader.array()?,
            state_root: reader.array()?,
            parent: reader.array()?,
            batches: reader.array()?,
            set_hash: reader.array()?,
            next_set_hash: reader.array()?,
            state_size: reader.u64()?,
        };
        reader.finish()?;
        Ok(header)
    }

    /// The RFC 6962 leaf hash of the header: the block's identity.
    pub fn id(&self) -> Hash {
        merkle::leaf_hash(&self.encode())
    }

    /// Log index of the header's own leaf.
    pub fn own_index(&self) -> u64 {
        self.first_index.saturating_add(u64::from(self.entry_count))
    }

    /// Log size once the header is appended: the size of the block's checkpoint.
    pub fn tree_size(&self) -> u64 {
        self.own_index().saturating_add(1)
    }

    /// Whether the authority set changes after this block.
    pub fn is_boundary(&self) -> bool {
        self.set_hash != self.next_set_hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            height: 1,
            epoch: 2,
            turn: 3,
            parent_turn: 4,
            proposer: 5,
            time_ms: 6,
            first_index: 7,
            entry_count: 8,
            log_root: [9; 32],
            state_root: [10; 32],
            parent: [11; 32],
            batches: [12; 32],
            set_hash: [13; 32],
            next_set_hash: [14; 32],
            state_size: 15,
        }
    }

    #[test]
    fn layout_is_the_documented_one() {
        let bytes = sample().encode();
        assert_eq!(bytes[..2], [2, 1]);
        assert_eq!(bytes[34..36], [0, 5]);
        assert_eq!(bytes[44..52], 7u64.to_be_bytes());
        assert_eq!(bytes[52..56], 8u32.to_be_bytes());
        assert_eq!(bytes[56..88], [9; 32]);
        assert_eq!(bytes[216..248], [14; 32]);
        assert_eq!(bytes[248..], 15u64.to_be_bytes());
        assert_eq!(Header::decode(&bytes), Ok(sample()));
    }

    #[test]
    fn strict_in_length_type_and_version() {
        let bytes = sample().encode();
        assert_eq!(Header::decode(&bytes[..255]), Err(CodecFault::Truncated(1)));
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(Header::decode(&longer), Err(CodecFault::Trailing(1)));
        let mut other = bytes;
        other[1] = 2;
        assert_eq!(Header::decode(&other), Err(CodecFault::Invalid("header version")));
    }
}
