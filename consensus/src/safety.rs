//! What this node may sign, and what must be durable first: the records behind its votes, and the book that refuses
//! whatever contradicts an earlier one. The core keeps a book, and the node's signer keeps another over the same
//! records. When a record is made is decided by the rules, how it is stored by the node.

use std::collections::BTreeMap;

use mingzhang_ledger::batch::{Batch, Reference};
use mingzhang_ledger::codec::{CodecFault, Reader};
use mingzhang_ledger::crypto::{Hash, Signature};
use mingzhang_ledger::header::{HEADER_BYTES, Header};
use thiserror::Error;

use crate::epoch::Epoch;
use crate::justification::{EndorseCert, Just};
use crate::message::{MAX_REFERENCES, Message, Proposal, encode_references, read_references};
use crate::mutants;
use crate::statement::{Statement, Vote};
use crate::{BlockId, Peer, Turn};

/// A block that this node validated and endorsed in one turn, with all that others may ask it for. The batches are
/// stored under their own keys, earlier in the write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsed {
    /// The turn of the endorsement: that of `just`, not of the header.
    pub turn: Turn,
    pub header: Header,
    pub references: Vec<Reference>,
    pub just: Just,
    /// H(J).
    pub just_hash: Hash,
}

impl Endorsed {
    pub fn block(&self) -> BlockId {
        self.header.id()
    }

    pub fn statement(&self) -> Statement {
        Statement::Endorse {
            epoch: self.just.epoch,
            turn: self.turn,
            height: self.header.height,
            block: self.block(),
            just: self.just_hash,
        }
    }
}

/// A record that is durable before the vote that follows from it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SafetyRecord {
    /// Behind ENDORSE; the proposer's is its proposal.
    Endorsed(Box<Endorsed>),
    /// Behind SKIP.
    Skipped { epoch: u64, turn: Turn },
    /// Behind CONFIRM. `late` is the endorsement of a block that was validated only after the turn was left: it is
    /// recorded with the confirmation, and no ENDORSE is ever signed for it.
    Confirmed { certificate: EndorseCert, late: Option<Box<Endorsed>> },
}

impl SafetyRecord {
    pub fn epoch(&self) -> u64 {
        match self {
            Self::Endorsed(endorsed) => endorsed.just.epoch,
            Self::Skipped { epoch, .. } => *epoch,
            Self::Confirmed { certificate, .. } => certificate.epoch,
        }
    }

    pub fn turn(&self) -> Turn {
        match self {
            Self::Endorsed(endorsed) => endorsed.turn,
            Self::Skipped { turn, .. } => *turn,
            Self::Confirmed { certificate, .. } => certificate.turn,
        }
    }

    /// What is to be signed once the record is durable; the bytes are [`Statement::signed_bytes`].
    pub fn statement(&self) -> Statement {
        match self {
            Self::Endorsed(endorsed) => endorsed.statement(),
            Self::Skipped { epoch, turn } => Statement::Skip { epoch: *epoch, turn: *turn },
            Self::Confirmed { certificate, .. } => Statement::Confirm {
                epoch: certificate.epoch,
                turn: certificate.turn,
                height: certificate.height,
                block: certificate.block,
            },
        }
    }

    /// The signed copy that returns to the core.
    pub fn vote(&self, signer: Peer, signature: Signature) -> Vote {
        Vote { statement: self.statement(), signer, signature }
    }

    /// Whether the vote travels as a proposal.
    pub fn is_proposal(&self, signer: Peer, epoch: &Epoch) -> bool {
        match self {
            Self::Endorsed(endorsed) => epoch.proposer(endorsed.turn) == signer,
            Self::Skipped { .. } | Self::Confirmed { .. } => false,
        }
    }

    /// What is sent to others: the proposal if `signer` was on turn (with `attached` batches), else the vote.
    pub fn outgoing(&self, signer: Peer, signature: Signature, attached: Vec<Batch>, epoch: &Epoch) -> Message {
        match self {
            Self::Endorsed(endorsed) if epoch.proposer(endorsed.turn) == signer => {
                Message::Proposal(Box::new(Proposal {
                    header: endorsed.header,
                    references: endorsed.references.clone(),
                    batches: attached,
                    just: endorsed.just.clone(),
                    signature,
                }))
            }
            Self::Endorsed(_) | Self::Skipped { .. } | Self::Confirmed { .. } => {
                Message::Vote(self.vote(signer, signature))
            }
        }
    }

    /// For the store.
    pub fn encode(&self, epoch: &Epoch) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Endorsed(endorsed) => {
                bytes.push(1);
                encode_endorsed(endorsed, epoch, &mut bytes);
            }
            Self::Skipped { epoch, turn } => {
                bytes.push(2);
                bytes.extend_from_slice(&epoch.to_be_bytes());
                bytes.extend_from_slice(&turn.to_be_bytes());
            }
            Self::Confirmed { certificate, late } => {
                bytes.push(3);
                certificate.encode_into(&mut bytes, epoch.members());
                bytes.push(u8::from(late.is_some()));
                if let Some(endorsed) = late {
                    encode_endorsed(endorsed, epoch, &mut bytes);
                }
            }
        }
        bytes
    }

    pub fn decode(bytes: &[u8], epoch: &Epoch) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let record = match reader.u8()? {
            1 => Self::Endorsed(Box::new(read_endorsed(&mut reader, epoch)?)),
            2 => Self::Skipped { epoch: reader.u64()?, turn: reader.u64()? },
            3 => {
                let certificate = EndorseCert::read(&mut reader, epoch.members())?;
                let late = match reader.u8()? {
                    0 => None,
                    1 => Some(Box::new(read_endorsed(&mut reader, epoch)?)),
                    _ => return Err(CodecFault::Invalid("late endorsement")),
                };
                Self::Confirmed { certificate, late }
            }
            _ => return Err(CodecFault::Invalid("kind of safety record")),
        };
        reader.finish()?;
        Ok(record)
    }
}

fn encode_endorsed(endorsed: &Endorsed, epoch: &Epoch, target: &mut Vec<u8>) {
    target.extend_from_slice(&endorsed.header.encode());
    encode_references(&endorsed.references, target);
    endorsed.just.encode_into(target, epoch);
}

fn read_endorsed(reader: &mut Reader<'_>, epoch: &Epoch) -> Result<Endorsed, CodecFault> {
    let header = Header::decode(reader.take(HEADER_BYTES)?)?;
    let references = read_references(reader, MAX_REFERENCES)?;
    let just = Just::read(reader, epoch)?;
    Ok(Endorsed { turn: just.turn, header, references, just_hash: just.hash(epoch), just })
}

/// The highest turn that this node entered, and why it could: stored under one key, unsynced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    pub just: Just,
}

impl Entered {
    pub fn encode(&self, epoch: &Epoch) -> Vec<u8> {
        self.just.encode(epoch)
    }

    pub fn decode(bytes: &[u8], epoch: &Epoch) -> Result<Self, CodecFault> {
        Ok(Self { just: Just::decode(bytes, epoch)? })
    }
}

/// Why a record is refused. Each names the invariant that it would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SafetyFault {
    #[error("record of epoch {have}, this book is of epoch {want}")]
    Epoch { have: u64, want: u64 },
    #[error("turn {turn} is not above the final turn {final_turn}")]
    Final { turn: Turn, final_turn: Turn },
    #[error("another block or justification was endorsed in turn {turn}")]
    SecondEndorsement { turn: Turn },
    #[error("another block was confirmed in turn {turn}")]
    SecondConfirmation { turn: Turn },
    #[error("turn {turn} was skipped")]
    Skipped { turn: Turn },
    #[error("turn {turn} was confirmed")]
    Confirmed { turn: Turn },
    #[error("turn {turn} is to be confirmed without its endorsement of that block")]
    NotEndorsed { turn: Turn },
    #[error("the certificate of turn {turn} has {have} signers, a quorum is {need}")]
    NoQuorum { turn: Turn, have: usize, need: usize },
}

/// What was recorded in one turn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) endorsed: Option<Endorsed>,
    /// The endorsement came with the confirmation, so that ENDORSE was never signed.
    pub(crate) late: bool,
    pub(crate) skipped: bool,
    pub(crate) confirmed: Option<EndorseCert>,
}

/// All records above the final turn, and the refusal to contradict one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteBook {
    epoch: u64,
    quorum: usize,
    final_turn: Turn,
    turns: BTreeMap<Turn, Entry>,
}

impl VoteBook {
    pub fn new(epoch: &Epoch, final_turn: Turn) -> Self {
        Self { epoch: epoch.number(), quorum: epoch.set.quorum(), final_turn, turns: BTreeMap::new() }
    }

    /// Whether the record contradicts nothing. One that is already in the book passes: its vote may be signed again.
    pub fn check(&self, record: &SafetyRecord) -> Result<(), SafetyFault> {
        let turn = record.turn();
        if record.epoch() != self.epoch {
            return Err(SafetyFault::Epoch { have: record.epoch(), want: self.epoch });
        }
        if turn <= self.final_turn {
            return Err(SafetyFault::Final { turn, final_turn: self.final_turn });
        }
        let none = Entry::default();
        let entry = self.turns.get(&turn).unwrap_or(&none);
        match record {
            SafetyRecord::Endorsed(endorsed) => check_endorsed(entry, endorsed),
            SafetyRecord::Skipped { .. } => {
                if entry.confirmed.is_some() && !mutants::SKIP_AFTER_CONFIRM.on() {
                    return Err(SafetyFault::Confirmed { turn });
                }
                Ok(())
            }
            SafetyRecord::Confirmed { certificate, late } => {
                check_confirmed(entry, certificate, late.as_deref())?;
                let have = certificate.signers.len();
                if have < self.quorum {
                    return Err(SafetyFault::NoQuorum { turn, have, need: self.quorum });
                }
                Ok(())
            }
        }
    }

    /// Checks the record and writes it down. Written twice, it stays as it was.
    pub fn admit(&mut self, record: &SafetyRecord) -> Result<(), SafetyFault> {
        self.check(record)?;
        let entry = self.turns.entry(record.turn()).or_default();
        match record {
            SafetyRecord::Endorsed(endorsed) => {
                if entry.endorsed.is_none() {
                    entry.endorsed = Some(endorsed.as_ref().clone());
                }
            }
            SafetyRecord::Skipped { .. } => entry.skipped = true,
            SafetyRecord::Confirmed { certificate, late } => {
                if (entry.endorsed.is_none() || mutants::ENDORSED_OVERWRITTEN.on())
                    && let Some(endorsed) = late
                {
                    entry.endorsed = Some(endorsed.as_ref().clone());
                    entry.late = true;
                }
                if entry.confirmed.is_none() {
                    entry.confirmed = Some(certificate.clone());
                }
            }
        }
        Ok(())
    }

    /// Whether the book holds the record behind this statement.
    pub fn holds(&self, statement: &Statement) -> bool {
        let Some(entry) = self.turns.get(&statement.turn()) else { return false };
        match statement {
            Statement::Endorse { .. } => {
                !entry.late && entry.endorsed.as_ref().is_some_and(|endorsed| endorsed.statement() == *statement)
            }
            Statement::Skip { epoch, .. } => entry.skipped && *epoch == self.epoch,
            Statement::Confirm { epoch, height, block, .. } => {
                entry.confirmed.as_ref().is_some_and(|c| (c.epoch, c.height, c.block) == (*epoch, *height, *block))
            }
        }
    }

    /// A turn became final: nothing is signed at or below it any more, and its records are dropped.
    pub fn finalise(&mut self, turn: Turn) {
        if turn > self.final_turn {
            self.final_turn = turn;
            self.turns = self.turns.split_off(&turn.saturating_add(1));
        }
    }

    pub fn final_turn(&self) -> Turn {
        self.final_turn
    }

    pub(crate) fn entry(&self, turn: Turn) -> Option<&Entry> {
        self.turns.get(&turn)
    }

    /// Every record of one turn, in the order in which they were made.
    pub fn records(&self, turn: Turn) -> Vec<SafetyRecord> {
        let Some(entry) = self.turns.get(&turn) else { return Vec::new() };
        let mut records = Vec::new();
        if let Some(endorsed) = &entry.endorsed
            && !entry.late
        {
            records.push(SafetyRecord::Endorsed(Box::new(endorsed.clone())));
        }
        if entry.skipped {
            records.push(SafetyRecord::Skipped { epoch: self.epoch, turn });
        }
        if let Some(certificate) = &entry.confirmed {
            let late = if entry.late { entry.endorsed.clone().map(Box::new) } else { None };
            records.push(SafetyRecord::Confirmed { certificate: certificate.clone(), late });
        }
        records
    }

    /// The turns that have a record, ascending.
    pub fn turns(&self) -> impl DoubleEndedIterator<Item = Turn> {
        self.turns.keys().copied()
    }
}

fn check_endorsed(entry: &Entry, endorsed: &Endorsed) -> Result<(), SafetyFault> {
    let turn = endorsed.turn;
    match &entry.endorsed {
        Some(earlier) if !entry.late && earlier.statement() == endorsed.statement() => Ok(()),
        Some(_) => Err(SafetyFault::SecondEndorsement { turn }),
        None if entry.skipped => Err(SafetyFault::Skipped { turn }),
        None => Ok(()),
    }
}

fn check_confirmed(entry: &Entry, certificate: &EndorseCert, late: Option<&Endorsed>) -> Result<(), SafetyFault> {
    let turn = certificate.turn;
    if entry.skipped && !mutants::CONFIRM_AFTER_SKIP.on() {
        return Err(SafetyFault::Skipped { turn });
    }
    if entry.confirmed.as_ref().is_some_and(|earlier| earlier.block != certificate.block) {
        return Err(SafetyFault::SecondConfirmation { turn });
    }
    let own = match (&entry.endorsed, late) {
        (None, Some(endorsed)) if endorsed.statement() == certificate.statement() => Some(endorsed),
        (Some(endorsed), None) => Some(endorsed),
        (Some(_), Some(endorsed)) if mutants::ENDORSED_OVERWRITTEN.on() => Some(endorsed),
        (Some(earlier), Some(endorsed)) if entry.late && earlier.statement() == endorsed.statement() => Some(earlier),
        (None | Some(_), None | Some(_)) => None,
    };
    match own {
        Some(endorsed) if endorsed.turn == turn && endorsed.block() == certificate.block => Ok(()),
        Some(_) | None => Err(SafetyFault::NotEndorsed { turn }),
    }
}
