//! The messages between authorities that the core speaks, byte for byte. A frame is one type byte and a body; blocks,
//! batches, snapshots and seals travel in frames of the node's own. Signatures are checked in `verify`.

use mingzhang_ledger::batch::{Batch, REFERENCE_BYTES, Reference};
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::codec::{CodecFault, Reader, put_counted};
use mingzhang_ledger::crypto::{Hash, Signature};
use mingzhang_ledger::header::{HEADER_BYTES, Header};

use crate::epoch::Epoch;
use crate::justification::Just;
use crate::statement::{Statement, Vote};
use crate::{BlockId, Height, Turn};

/// Longest frame that is read.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Most references in one block.
pub const MAX_REFERENCES: usize = 4_096;
/// Most bytes of batches, encoded, that ride on a proposal.
pub const MAX_ATTACHED_BYTES: usize = 64 * 1024;
/// Most references in one `Waiting`.
pub const MAX_WAITING: usize = 64;

/// What travels on the direct stream between two authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Proposal(Box<Proposal>),
    Vote(Vote),
    /// Why a turn may start, to one who is behind.
    Justify(Just),
    Final {
        header: Header,
        certificate: FinalCert,
    },
    Status(Status),
    /// A question for a justification; answered by `Justify`.
    Ask(Ask),
    /// Batches that wait at the sender's place.
    Waiting(Waiting),
}

/// The agency on turn proposes a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub header: Header,
    pub references: Vec<Reference>,
    /// Some of the referenced batches, at most [`MAX_ATTACHED_BYTES`] in all. The engine stores them before it steps
    /// the message.
    pub batches: Vec<Batch>,
    /// Why this turn may start. It names the turn, which differs from the header's only in a re-proposal.
    pub just: Just,
    /// Over the proposer's ENDORSE.
    pub signature: Signature,
}

impl Proposal {
    pub fn turn(&self) -> Turn {
        self.just.turn
    }

    /// What the proposer signed.
    pub fn statement(&self, epoch: &Epoch) -> Statement {
        Statement::Endorse {
            epoch: self.just.epoch,
            turn: self.just.turn,
            height: self.header.height,
            block: self.header.id(),
            just: self.just.hash(epoch),
        }
    }

    /// The proposer's signature as a vote: it is its endorsement.
    pub fn vote(&self, epoch: &Epoch) -> Vote {
        Vote { statement: self.statement(epoch), signer: epoch.proposer(self.just.turn), signature: self.signature }
    }
}

/// Where the sender stands. Sent on connection, and every 5 s while there is demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub epoch: u64,
    pub final_height: Height,
    pub final_block: BlockId,
    pub turn: Turn,
    /// Somebody here needs an empty block.
    pub waits: bool,
    /// Please answer with yours.
    pub asks: bool,
    /// The last vote of the receiver that the sender holds, above the sender's final turn.
    pub last_vote: Option<Vote>,
}

/// A question for the justification of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub epoch: u64,
    pub turn: Turn,
    /// The one with this hash; any, where none is known.
    pub just: Option<Hash>,
}

/// Batches that wait at the sender's place for a block, its own first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub epoch: u64,
    pub references: Vec<Reference>,
}

const PROPOSAL: u8 = 1;
const VOTE: u8 = 2;
const JUSTIFY: u8 = 3;
const FINAL: u8 = 4;
const STATUS: u8 = 5;
const ASK: u8 = 6;
const WAITING: u8 = 7;

const FLAG_WAITS: u8 = 1;
const FLAG_ASKS: u8 = 2;
const FLAG_VOTE: u8 = 4;

impl Message {
    /// The epoch that the message speaks of.
    pub fn epoch(&self) -> u64 {
        match self {
            Self::Proposal(proposal) => proposal.just.epoch,
            Self::Vote(vote) => vote.statement.epoch(),
            Self::Justify(just) => just.epoch,
            Self::Final { certificate, .. } => certificate.epoch,
            Self::Status(status) => status.epoch,
            Self::Ask(ask) => ask.epoch,
            Self::Waiting(waiting) => waiting.epoch,
        }
    }

    pub fn encode(&self, epoch: &Epoch) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Proposal(proposal) => {
                bytes.push(PROPOSAL);
                encode_proposal(proposal, epoch, &mut bytes);
            }
            Self::Vote(vote) => {
                bytes.push(VOTE);
                vote.encode_into(&mut bytes);
            }
            Self::Justify(just) => {
                bytes.push(JUSTIFY);
                just.encode_into(&mut bytes, epoch);
            }
            Self::Final { header, certificate } => {
                bytes.push(FINAL);
                bytes.extend_from_slice(&header.encode());
                bytes.extend_from_slice(&certificate.encode(epoch.members()));
            }
            Self::Status(status) => {
                bytes.push(STATUS);
                encode_status(status, &mut bytes);
            }
            Self::Ask(ask) => {
                bytes.push(ASK);
                bytes.extend_from_slice(&ask.epoch.to_be_bytes());
                bytes.extend_from_slice(&ask.turn.to_be_bytes());
                bytes.push(u8::from(ask.just.is_some()));
                bytes.extend_from_slice(ask.just.as_ref().map_or(&[][..], |hash| &hash[..]));
            }
            Self::Waiting(waiting) => {
                bytes.push(WAITING);
                bytes.extend_from_slice(&waiting.epoch.to_be_bytes());
                encode_references(&waiting.references, &mut bytes);
            }
        }
        bytes
    }

    /// Strict: what decodes, encodes to the same bytes.
    pub fn decode(bytes: &[u8], epoch: &Epoch) -> Result<Self, CodecFault> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(CodecFault::Invalid("message over its limit"));
        }
        let mut reader = Reader::new(bytes);
        let message = match reader.u8()? {
            PROPOSAL => Self::Proposal(Box::new(read_proposal(&mut reader, epoch)?)),
            VOTE => Self::Vote(Vote::read(&mut reader)?),
            JUSTIFY => Self::Justify(Just::read(&mut reader, epoch)?),
            FINAL => Self::Final {
                header: Header::decode(reader.take(HEADER_BYTES)?)?,
                certificate: FinalCert::read(&mut reader, epoch.members())?,
            },
            STATUS => Self::Status(read_status(&mut reader)?),
            ASK => Self::Ask(read_ask(&mut reader)?),
            WAITING => {
                Self::Waiting(Waiting { epoch: reader.u64()?, references: read_references(&mut reader, MAX_WAITING)? })
            }
            _ => return Err(CodecFault::Invalid("type of message")),
        };
        reader.finish()?;
        Ok(message)
    }
}

/// Count (u32) and references.
pub(crate) fn encode_references(references: &[Reference], target: &mut Vec<u8>) {
    target.extend_from_slice(&u32::try_from(references.len()).unwrap_or(u32::MAX).to_be_bytes());
    for reference in references {
        reference.encode_into(target);
    }
}

pub(crate) fn read_references(reader: &mut Reader<'_>, limit: usize) -> Result<Vec<Reference>, CodecFault> {
    let count = usize::try_from(reader.u32()?).map_err(|_| CodecFault::Invalid("number of references"))?;
    if count > limit || count.saturating_mul(REFERENCE_BYTES) > reader.remaining() {
        return Err(CodecFault::Invalid("number of references"));
    }
    (0..count).map(|_| Reference::read(reader)).collect()
}

fn encode_proposal(proposal: &Proposal, epoch: &Epoch, target: &mut Vec<u8>) {
    target.extend_from_slice(&proposal.header.encode());
    encode_references(&proposal.references, target);
    target.extend_from_slice(&u32::try_from(proposal.batches.len()).unwrap_or(u32::MAX).to_be_bytes());
    for batch in &proposal.batches {
        put_counted(target, &batch.encode());
    }
    proposal.just.encode_into(target, epoch);
    target.extend_from_slice(&proposal.signature.0);
}

fn read_proposal(reader: &mut Reader<'_>, epoch: &Epoch) -> Result<Proposal, CodecFault> {
    let header = Header::decode(reader.take(HEADER_BYTES)?)?;
    let references = read_references(reader, MAX_REFERENCES)?;
    let count = reader.u32()?;
    let mut batches = Vec::new();
    let mut room = MAX_ATTACHED_BYTES;
    for _ in 0..count {
        let bytes = reader.counted(room)?;
        room = room.saturating_sub(bytes.len());
        batches.push(Batch::decode(bytes, MAX_ATTACHED_BYTES)?);
    }
    let just = Just::read(reader, epoch)?;
    Ok(Proposal { header, references, batches, just, signature: Signature(reader.array()?) })
}

fn encode_status(status: &Status, target: &mut Vec<u8>) {
    target.extend_from_slice(&status.epoch.to_be_bytes());
    target.extend_from_slice(&status.final_height.to_be_bytes());
    target.extend_from_slice(&status.final_block);
    target.extend_from_slice(&status.turn.to_be_bytes());
    let mut flags = 0;
    for (set, flag) in [(status.waits, FLAG_WAITS), (status.asks, FLAG_ASKS), (status.last_vote.is_some(), FLAG_VOTE)] {
        if set {
            flags |= flag;
        }
    }
    target.push(flags);
    if let Some(vote) = &status.last_vote {
        vote.encode_into(target);
    }
}

fn read_status(reader: &mut Reader<'_>) -> Result<Status, CodecFault> {
    let (epoch, final_height) = (reader.u64()?, reader.u64()?);
    let (final_block, turn, flags) = (reader.array()?, reader.u64()?, reader.u8()?);
    if flags & !(FLAG_WAITS | FLAG_ASKS | FLAG_VOTE) != 0 {
        return Err(CodecFault::Invalid("status flags"));
    }
    let last_vote = if flags & FLAG_VOTE == 0 { None } else { Some(Vote::read(reader)?) };
    Ok(Status {
        epoch,
        final_height,
        final_block,
        turn,
        waits: flags & FLAG_WAITS != 0,
        asks: flags & FLAG_ASKS != 0,
        last_vote,
    })
}

fn read_ask(reader: &mut Reader<'_>) -> Result<Ask, CodecFault> {
    let (epoch, turn) = (reader.u64()?, reader.u64()?);
    let just = match reader.u8()? {
        0 => None,
        1 => Some(reader.array()?),
        _ => return Err(CodecFault::Invalid("question")),
    };
    Ok(Ask { epoch, turn, just })
}
