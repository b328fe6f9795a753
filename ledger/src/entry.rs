//! Log entries: genesis, record with outcome, header. Bytes only; what an outcome means is in `outcome`.

use crate::codec::CodecFault;
use crate::crypto::Hash;
use crate::header::Header;
use crate::merkle;
use crate::transaction::Transaction;

const GENESIS_TYPE: u8 = 0x00;
const RECORD_TYPE: u8 = 0x01;

/// Longest entry that static log tiles can carry.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// One leaf of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Genesis { genesis_hash: Hash },
    Record { outcome: u16, transaction: Transaction },
    Header(Header),
}

/// The bytes of a record entry: type, outcome, COSE bytes exactly as submitted.
pub fn record_entry(outcome: u16, transaction: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(transaction.len().saturating_add(3));
    bytes.push(RECORD_TYPE);
    bytes.extend_from_slice(&outcome.to_be_bytes());
    bytes.extend_from_slice(transaction);
    bytes
}

/// The bytes of leaf 0.
pub fn genesis_entry(genesis_hash: &Hash) -> Vec<u8> {
    let mut bytes = vec![GENESIS_TYPE];
    bytes.extend_from_slice(genesis_hash);
    bytes
}

/// Leaf hash of the genesis entry: what block 1 names as its parent.
pub fn genesis_id(genesis_hash: &Hash) -> Hash {
    merkle::leaf_hash(&genesis_entry(genesis_hash))
}

impl Entry {
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(CodecFault::Invalid("entry over 65535 bytes"));
        }
        match bytes {
            [GENESIS_TYPE, hash @ ..] => {
                let genesis_hash = hash.try_into().map_err(|_| CodecFault::Invalid("genesis entry length"))?;
                Ok(Self::Genesis { genesis_hash })
            }
            [RECORD_TYPE, high, low, transaction @ ..] => {
                let transaction =
                    Transaction::decode(transaction).map_err(|_| CodecFault::Invalid("transaction in entry"))?;
                Ok(Self::Record { outcome: u16::from_be_bytes([*high, *low]), transaction })
            }
            [crate::header::HEADER_TYPE, ..] => Header::decode(bytes).map(Self::Header),
            _ => Err(CodecFault::Invalid("entry type")),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Genesis { genesis_hash } => genesis_entry(genesis_hash),
            Self::Record { outcome, transaction } => record_entry(*outcome, transaction.bytes()),
            Self::Header(header) => header.encode().to_vec(),
        }
    }
}
