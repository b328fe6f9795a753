//! The three statements that an authority signs (ENDORSE, CONFIRM, SKIP), their signed bytes, and a vote: one signed
//! statement as it travels. Whether a statement may be signed is `safety`'s matter, whether it counts is `tally`'s.

use mingzhang_ledger::certificate::confirm_bytes;
use mingzhang_ledger::codec::{CodecFault, Reader};
use mingzhang_ledger::crypto::{Hash, Signature};

use crate::{BlockId, Height, Turn};

/// Kind of a statement; the discriminant order is the order in which one authority makes them within a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Endorse,
    Skip,
    Confirm,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Endorse => 1,
            Self::Skip => 2,
            Self::Confirm => 3,
        }
    }
}

/// What an authority says about one turn of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statement {
    /// The block is valid and `just` (the hash of a justification) says why its turn may start. The proposer's is its
    /// signature on the proposal.
    Endorse { epoch: u64, turn: Turn, height: Height, block: BlockId, just: Hash },
    /// A quorum endorsed the block, and the signer will never skip this turn.
    Confirm { epoch: u64, turn: Turn, height: Height, block: BlockId },
    /// The signer gave the turn up and will never confirm anything in it.
    Skip { epoch: u64, turn: Turn },
}

impl Statement {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Endorse { .. } => Kind::Endorse,
            Self::Confirm { .. } => Kind::Confirm,
            Self::Skip { .. } => Kind::Skip,
        }
    }

    pub fn epoch(&self) -> u64 {
        match self {
            Self::Endorse { epoch, .. } | Self::Confirm { epoch, .. } | Self::Skip { epoch, .. } => *epoch,
        }
    }

    pub fn turn(&self) -> Turn {
        match self {
            Self::Endorse { turn, .. } | Self::Confirm { turn, .. } | Self::Skip { turn, .. } => *turn,
        }
    }

    /// The block that is endorsed or confirmed.
    pub fn block(&self) -> Option<BlockId> {
        match self {
            Self::Endorse { block, .. } | Self::Confirm { block, .. } => Some(*block),
            Self::Skip { .. } => None,
        }
    }

    /// Exactly the bytes under the signature. No two kinds share a prefix, each prefix ends in NUL.
    pub fn signed_bytes(&self, chain: &Hash) -> Vec<u8> {
        match self {
            Self::Endorse { epoch, turn, height, block, just } => {
                let mut bytes = b"mingzhang/endorse/v1\0".to_vec();
                bytes.extend_from_slice(chain);
                for number in [epoch, turn, height] {
                    bytes.extend_from_slice(&number.to_be_bytes());
                }
                bytes.extend_from_slice(block);
                bytes.extend_from_slice(just);
                bytes
            }
            Self::Confirm { epoch, turn, height, block } => confirm_bytes(chain, *epoch, *turn, *height, block),
            Self::Skip { epoch, turn } => {
                let mut bytes = b"mingzhang/skip/v1\0".to_vec();
                bytes.extend_from_slice(chain);
                bytes.extend_from_slice(&epoch.to_be_bytes());
                bytes.extend_from_slice(&turn.to_be_bytes());
                bytes
            }
        }
    }
}

/// A signed statement. 155 bytes for ENDORSE, 123 for CONFIRM, 83 for SKIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    pub statement: Statement,
    /// Index in the authority set of the statement's epoch.
    pub signer: u16,
    pub signature: Signature,
}

impl Vote {
    pub fn encode_into(&self, target: &mut Vec<u8>) {
        target.push(self.statement.kind().code());
        match &self.statement {
            Statement::Endorse { epoch, turn, height, block, just } => {
                for number in [epoch, turn, height] {
                    target.extend_from_slice(&number.to_be_bytes());
                }
                target.extend_from_slice(block);
                target.extend_from_slice(just);
            }
            Statement::Confirm { epoch, turn, height, block } => {
                for number in [epoch, turn, height] {
                    target.extend_from_slice(&number.to_be_bytes());
                }
                target.extend_from_slice(block);
            }
            Statement::Skip { epoch, turn } => {
                target.extend_from_slice(&epoch.to_be_bytes());
                target.extend_from_slice(&turn.to_be_bytes());
            }
        }
        target.extend_from_slice(&self.signer.to_be_bytes());
        target.extend_from_slice(&self.signature.0);
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(155);
        self.encode_into(&mut bytes);
        bytes
    }

    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CodecFault> {
        let kind = reader.u8()?;
        let (epoch, turn) = (reader.u64()?, reader.u64()?);
        let statement = match kind {
            1 => {
                Statement::Endorse { epoch, turn, height: reader.u64()?, block: reader.array()?, just: reader.array()? }
            }
            2 => Statement::Skip { epoch, turn },
            3 => Statement::Confirm { epoch, turn, height: reader.u64()?, block: reader.array()? },
            _ => return Err(CodecFault::Invalid("kind of vote")),
        };
        Ok(Self { statement, signer: reader.u16()?, signature: Signature(reader.array()?) })
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let vote = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(vote)
    }
}
