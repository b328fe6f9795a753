//! Two signatures, or one signature and what it stands under, that prove a fault. Self-contained: anybody with the set
//! of the epoch checks it. Noticing it is the rules' matter, publishing it the node's, removal a vote of the agencies.

use mingzhang_ledger::batch::{Batch, batch_bytes};
use mingzhang_ledger::codec::{CodecFault, Reader};
use mingzhang_ledger::crypto::{Hash, Signature};
use mingzhang_ledger::header::{HEADER_BYTES, Header};
use thiserror::Error;

use crate::epoch::Epoch;
use crate::justification::Just;
use crate::known::Known;
use crate::statement::{Kind, Statement, Vote};
use crate::verify::{SignedItem, verdicts, vote_item};

/// What a batch's author signed, without the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedBatch {
    pub epoch: u64,
    pub author: u16,
    pub run: u64,
    pub seq: u64,
    pub hash: Hash,
    pub signature: Signature,
}

/// One fault and its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// E1 to E4: two votes of one authority in one turn, of which an honest one casts at most one.
    TwoVotes { first: Vote, second: Vote },
    /// E5: ENDORSE under a justification that proves nothing.
    InvalidJust { vote: Vote, just: Just },
    /// E6: ENDORSE or CONFIRM of a header that replay contradicts, or of a child of a boundary block in its epoch.
    /// Signature and id are checked here, the contradiction by replaying the log.
    Contradicted { vote: Vote, header: Header },
    /// E7: two batches with one (author, run, seq).
    TwoBatches { first: SignedBatch, second: SignedBatch },
}

/// Why evidence proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EvidenceFault {
    #[error("the two statements do not exclude each other")]
    NoConflict,
    #[error("the justification is valid, or another than the one endorsed")]
    NoFault,
    #[error("a signature does not hold, or is of nobody in the authority set")]
    Signature,
}

impl From<&Batch> for SignedBatch {
    fn from(batch: &Batch) -> Self {
        Self {
            epoch: batch.epoch,
            author: batch.author,
            run: batch.run,
            seq: batch.seq,
            hash: batch.hash(),
            signature: batch.signature,
        }
    }
}

/// Number of the rule (1 to 4) that two statements of one authority break together, if they do.
pub fn conflict(first: &Statement, second: &Statement) -> Option<u8> {
    if first.epoch() != second.epoch() || first.turn() != second.turn() || first == second {
        return None;
    }
    match (first.kind(), second.kind()) {
        (Kind::Endorse, Kind::Endorse) => Some(1),
        (Kind::Confirm, Kind::Confirm) => Some(2),
        (Kind::Endorse, Kind::Confirm) | (Kind::Confirm, Kind::Endorse) => {
            if first.block() == second.block() {
                None
            } else {
                Some(3)
            }
        }
        (Kind::Confirm, Kind::Skip) | (Kind::Skip, Kind::Confirm) => Some(4),
        (Kind::Skip, Kind::Skip) | (Kind::Skip, Kind::Endorse) | (Kind::Endorse, Kind::Skip) => None,
    }
}

impl Evidence {
    /// The number in the catalogue of evidence: 1 to 7.
    pub fn code(&self) -> u8 {
        match self {
            Self::TwoVotes { first, second } => conflict(&first.statement, &second.statement).unwrap_or(0),
            Self::InvalidJust { .. } => 5,
            Self::Contradicted { .. } => 6,
            Self::TwoBatches { .. } => 7,
        }
    }

    /// Index of the accused authority.
    pub fn accused(&self) -> u16 {
        match self {
            Self::TwoVotes { first, .. } => first.signer,
            Self::InvalidJust { vote, .. } | Self::Contradicted { vote, .. } => vote.signer,
            Self::TwoBatches { first, .. } => first.author,
        }
    }

    /// The epoch whose set checks it.
    pub fn epoch(&self) -> u64 {
        match self {
            Self::TwoVotes { first, .. } => first.statement.epoch(),
            Self::InvalidJust { vote, .. } | Self::Contradicted { vote, .. } => vote.statement.epoch(),
            Self::TwoBatches { first, .. } => first.epoch,
        }
    }

    /// Checks everything that needs no replay.
    pub fn check(&self, epoch: &Epoch) -> Result<(), EvidenceFault> {
        let mut items = Vec::new();
        let item = |vote: &Vote| vote_item(vote, epoch).map_err(|_| EvidenceFault::Signature);
        match self {
            Self::TwoVotes { first, second } => {
                if first.signer != second.signer || conflict(&first.statement, &second.statement).is_none() {
                    return Err(EvidenceFault::NoConflict);
                }
                items.push(item(first)?);
                items.push(item(second)?);
            }
            Self::InvalidJust { vote, just } => {
                let Statement::Endorse { just: hash, .. } = &vote.statement else {
                    return Err(EvidenceFault::NoFault);
                };
                if *hash != just.hash(epoch) || just_holds(just, vote.statement.turn(), epoch) {
                    return Err(EvidenceFault::NoFault);
                }
                items.push(item(vote)?);
            }
            Self::Contradicted { vote, header } => {
                if vote.statement.block() != Some(header.id()) {
                    return Err(EvidenceFault::NoConflict);
                }
                items.push(item(vote)?);
            }
            Self::TwoBatches { first, second } => {
                let key = |batch: &SignedBatch| (batch.epoch, batch.author, batch.run, batch.seq);
                if key(first) != key(second) || first.hash == second.hash || first.epoch != epoch.number() {
                    return Err(EvidenceFault::NoConflict);
                }
                for batch in [first, second] {
                    items.push(batch_item(batch, epoch)?);
                }
            }
        }
        if verdicts(&items).into_iter().all(|holds| holds) { Ok(()) } else { Err(EvidenceFault::Signature) }
    }

    pub fn encode(&self, epoch: &Epoch) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::TwoVotes { first, second } => {
                bytes.push(1);
                first.encode_into(&mut bytes);
                second.encode_into(&mut bytes);
            }
            Self::InvalidJust { vote, just } => {
                bytes.push(5);
                vote.encode_into(&mut bytes);
                just.encode_into(&mut bytes, epoch);
            }
            Self::Contradicted { vote, header } => {
                bytes.push(6);
                vote.encode_into(&mut bytes);
                bytes.extend_from_slice(&header.encode());
            }
            Self::TwoBatches { first, second } => {
                bytes.push(7);
                first.encode_into(&mut bytes);
                second.encode_into(&mut bytes);
            }
        }
        bytes
    }

    pub fn decode(bytes: &[u8], epoch: &Epoch) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let evidence = match reader.u8()? {
            1 => Self::TwoVotes { first: Vote::read(&mut reader)?, second: Vote::read(&mut reader)? },
            5 => Self::InvalidJust { vote: Vote::read(&mut reader)?, just: Just::read(&mut reader, epoch)? },
            6 => Self::Contradicted {
                vote: Vote::read(&mut reader)?,
                header: Header::decode(reader.take(HEADER_BYTES)?)?,
            },
            7 => Self::TwoBatches { first: SignedBatch::read(&mut reader)?, second: SignedBatch::read(&mut reader)? },
            _ => return Err(CodecFault::Invalid("kind of evidence")),
        };
        reader.finish()?;
        Ok(evidence)
    }
}

impl Evidence {
    /// The turn that encoded evidence speaks of: read without the set of its epoch. None for two batches.
    pub fn turn_of(bytes: &[u8]) -> Option<u64> {
        let (kind, vote) = bytes.split_first()?;
        // Behind the vote's kind and epoch.
        let turn = vote.get(9..)?.first_chunk()?;
        matches!(kind, 1 | 5 | 6).then(|| u64::from_be_bytes(*turn))
    }
}

fn just_holds(just: &Just, turn: u64, epoch: &Epoch) -> bool {
    let mut items = Vec::new();
    just.turn == turn
        && just.check(epoch, &Known::default(), &mut items).is_ok()
        && verdicts(&items).into_iter().all(|holds| holds)
}

fn batch_item(batch: &SignedBatch, epoch: &Epoch) -> Result<SignedItem, EvidenceFault> {
    let member = epoch.set.member(batch.author).ok_or(EvidenceFault::Signature)?;
    Ok(SignedItem {
        key: member.consensus_key,
        message: batch_bytes(&epoch.chain, batch.epoch, batch.author, (batch.run, batch.seq), &batch.hash),
        signature: batch.signature,
    })
}

impl SignedBatch {
    fn encode_into(&self, target: &mut Vec<u8>) {
        target.extend_from_slice(&self.epoch.to_be_bytes());
        target.extend_from_slice(&self.author.to_be_bytes());
        target.extend_from_slice(&self.run.to_be_bytes());
        target.extend_from_slice(&self.seq.to_be_bytes());
        target.extend_from_slice(&self.hash);
        target.extend_from_slice(&self.signature.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecFault> {
        Ok(Self {
            epoch: reader.u64()?,
            author: reader.u16()?,
            run: reader.u64()?,
            seq: reader.u64()?,
            hash: reader.array()?,
            signature: Signature(reader.array()?),
        })
    }
}
