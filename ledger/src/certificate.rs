//! Final certificates and the other statements that an outsider checks: signer bitmaps, CONFIRM, possession,
//! admission. Endorsements, skips and justifications are the consensus crate's.

use thiserror::Error;

use crate::authority::{AuthoritySet, MAX_MEMBERS};
use crate::codec::{CodecFault, Reader};
use crate::crypto::{Hash, PublicKey, Signature, verify_batch};
use crate::header::Header;
use crate::mutants;
use crate::outcome::{Code, peers};

/// Role byte in a proof of possession.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyRole {
    Consensus = 1,
    Peer = 2,
    Officer = 3,
    Recovery = 4,
    Log = 5,
}

impl KeyRole {
    pub fn code(self) -> u8 {
        match self {
            Self::Consensus => 1,
            Self::Peer => 2,
            Self::Officer => 3,
            Self::Recovery => 4,
            Self::Log => 5,
        }
    }
}

/// What CONFIRM signs. It binds the turn: votes of different turns for one block must not add up.
pub fn confirm_bytes(chain: &Hash, epoch: u64, turn: u64, height: u64, block: &Hash) -> Vec<u8> {
    let mut bytes = b"mingzhang/confirm/v1\0".to_vec();
    bytes.extend_from_slice(chain);
    for number in [epoch, turn, height] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(block);
    bytes
}

/// What the holder of a key signs to prove possession, for every role but sealing.
pub fn possess_bytes(chain: &Hash, agency: &str, role: KeyRole, key: &PublicKey) -> Vec<u8> {
    let mut bytes = b"mingzhang/possess/v1\0".to_vec();
    bytes.extend_from_slice(chain);
    bytes.extend_from_slice(agency.as_bytes());
    bytes.push(role.code());
    bytes.extend_from_slice(&key.0);
    bytes
}

/// What a node signs when it admits a transaction: a promise within the merge delay, not a receipt.
pub fn admit_bytes(chain: &Hash, epoch: u64, author: u16, transaction_id: &Hash, time_ms: u64) -> Vec<u8> {
    let mut bytes = b"mingzhang/admit/v1\0".to_vec();
    bytes.extend_from_slice(chain);
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.extend_from_slice(&author.to_be_bytes());
    bytes.extend_from_slice(transaction_id);
    bytes.extend_from_slice(&time_ms.to_be_bytes());
    bytes
}

/// Why a certificate does not prove what it claims.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateFault {
    #[error("certificate is for another block, height or epoch than the header")]
    OtherBlock,
    #[error("authority set does not hash to the header's set_hash")]
    OtherSet,
    #[error("{have} signers, a quorum is {need}")]
    NoQuorum { have: usize, need: usize },
    #[error("signer {0} is not in the authority set")]
    UnknownSigner(u16),
    #[error("signature of member {0} does not hold")]
    Signature(u16),
    #[error("turn {turn} does not fit header turn {header_turn}")]
    Turn { turn: u64, header_turn: u64 },
}

impl CertificateFault {
    /// By which a node refuses it of a peer.
    pub fn peer_code(&self) -> Code {
        match self {
            Self::OtherBlock | Self::OtherSet | Self::Turn { .. } => peers::OUT_OF_PLACE,
            Self::NoQuorum { .. } | Self::Signature(_) => peers::NOT_SIGNED,
            Self::UnknownSigner(_) => peers::STRANGER,
        }
    }
}

/// Distinct signers of one statement, in ascending order of their index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signers(Vec<(u16, Signature)>);

impl Signers {
    /// Sorted by index; a second signature of one signer is dropped.
    pub fn new(signatures: impl IntoIterator<Item = (u16, Signature)>) -> Self {
        let sorted: std::collections::BTreeMap<u16, Signature> = signatures.into_iter().collect();
        Self(sorted.into_iter().collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = (u16, Signature)> + '_ {
        self.0.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, signer: u16) -> bool {
        self.0.binary_search_by_key(&signer, |(index, _)| *index).is_ok()
    }

    /// Bitmap of ceil(n/8) bytes, then one signature per set bit, ascending.
    pub fn encode_into(&self, target: &mut Vec<u8>, members: usize) {
        let mut bitmap = vec![0u8; members.div_ceil(8)];
        for (index, _) in &self.0 {
            if let Some(byte) = bitmap.get_mut(usize::from(*index >> 3)) {
                *byte |= 1u8 << (index & 7);
            }
        }
        target.extend_from_slice(&bitmap);
        for (_, signature) in &self.0 {
            target.extend_from_slice(&signature.0);
        }
    }

    /// Strict: a bit at or beyond `members` is refused.
    pub fn decode(reader: &mut Reader<'_>, members: usize) -> Result<Self, CodecFault> {
        if members > MAX_MEMBERS {
            return Err(CodecFault::Invalid("number of members"));
        }
        let bitmap = reader.take(members.div_ceil(8))?;
        let mut signers = Vec::new();
        for (position, byte) in bitmap.iter().enumerate() {
            for bit in 0..8 {
                if (byte >> bit) & 1 == 1 {
                    let index = position.saturating_mul(8).saturating_add(bit);
                    if index >= members {
                        if mutants::PADDED_BITMAP.on() {
                            continue;
                        }
                        return Err(CodecFault::Invalid("signer bitmap padding"));
                    }
                    signers.push(u16::try_from(index).map_err(|_| CodecFault::Invalid("signer index"))?);
                }
            }
        }
        let signatures =
            signers.into_iter().map(|index| Ok((index, Signature(reader.array()?)))).collect::<Result<_, _>>()?;
        Ok(Self(signatures))
    }

    /// 3·signers ≥ 2n, every signer a member, every signature over `message` by its consensus key.
    pub fn verify(&self, set: &AuthoritySet, message: &[u8]) -> Result<(), CertificateFault> {
        if self.len() < set.quorum() {
            return Err(CertificateFault::NoQuorum { have: self.len(), need: set.quorum() });
        }
        let items = self
            .iter()
            .map(|(index, signature)| {
                let member = set.member(index).ok_or(CertificateFault::UnknownSigner(index))?;
                Ok((member.consensus_key, message, signature))
            })
            .collect::<Result<Vec<_>, CertificateFault>>()?;
        let verdicts = verify_batch(&items);
        match self.iter().zip(verdicts).find(|(_, holds)| !holds) {
            Some(((index, _), _)) => Err(CertificateFault::Signature(index)),
            None => Ok(()),
        }
    }
}

/// A quorum of CONFIRM for one block at one turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalCert {
    pub epoch: u64,
    pub turn: u64,
    pub height: u64,
    pub block: Hash,
    pub signers: Signers,
}

impl FinalCert {
    pub fn encode(&self, members: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [self.epoch, self.turn, self.height] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.block);
        self.signers.encode_into(&mut bytes, members);
        bytes
    }

    pub fn read(reader: &mut Reader<'_>, members: usize) -> Result<Self, CodecFault> {
        Ok(Self {
            epoch: reader.u64()?,
            turn: reader.u64()?,
            height: reader.u64()?,
            block: reader.array()?,
            signers: Signers::decode(reader, members)?,
        })
    }

    pub fn decode(bytes: &[u8], members: usize) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let certificate = Self::read(&mut reader, members)?;
        reader.finish()?;
        Ok(certificate)
    }

    /// The signatures alone, under the set that the caller has already tied to the epoch.
    pub fn verify_signers(&self, chain: &Hash, set: &AuthoritySet) -> Result<(), CertificateFault> {
        if self.epoch != set.epoch {
            return Err(CertificateFault::OtherSet);
        }
        self.signers.verify(set, &confirm_bytes(chain, self.epoch, self.turn, self.height, &self.block))
    }

    /// The whole certificate check of the protocol: id, height, set, turn, quorum, signatures.
    pub fn verify(&self, chain: &Hash, header: &Header, set: &AuthoritySet) -> Result<(), CertificateFault> {
        if self.block != header.id() || self.height != header.height || self.epoch != header.epoch {
            return Err(CertificateFault::OtherBlock);
        }
        if set.hash() != header.set_hash {
            return Err(CertificateFault::OtherSet);
        }
        let fits = self.turn == header.turn || (header.is_boundary() && self.turn > header.turn);
        if !fits {
            return Err(CertificateFault::Turn { turn: self.turn, header_turn: header.turn });
        }
        self.verify_signers(chain, set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_bitmap_is_refused() {
        let signers = Signers::new([(0, Signature([1; 64])), (3, Signature([2; 64]))]);
        let mut bytes = Vec::new();
        signers.encode_into(&mut bytes, 4);
        assert_eq!(bytes.len(), 1 + 128);
        assert_eq!(Signers::decode(&mut Reader::new(&bytes), 4), Ok(signers));
        bytes[0] |= 0x10;
        assert_eq!(Signers::decode(&mut Reader::new(&bytes), 4), Err(CodecFault::Invalid("signer bitmap padding")));
    }
}
