//! Why a turn may start: a certified parent, and a certificate of skipping for every turn between. Form, bytes, hash
//! and completeness; which one a node holds, and when it enters a turn by it, is `pacemaker`'s matter.

use std::sync::Arc;

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::certificate::{FinalCert, Signers, confirm_bytes};
use mingzhang_ledger::codec::{CodecFault, Reader};
use mingzhang_ledger::crypto::{Hash, sha256};
use mingzhang_ledger::outcome::{Code, peers};
use thiserror::Error;

use crate::epoch::{Epoch, Opening};
use crate::known::Known;
use crate::mutants;
use crate::statement::Statement;
use crate::verify::SignedItem;
use crate::{BlockId, Height, Turn};

/// A quorum of ENDORSE for one block under one justification at one turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorseCert {
    pub epoch: u64,
    pub turn: Turn,
    pub height: Height,
    pub block: BlockId,
    /// H(J) of the justification under which it was endorsed.
    pub just: Hash,
    pub signers: Signers,
}

/// A quorum of SKIP for one turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkipCert {
    pub epoch: u64,
    pub turn: Turn,
    pub signers: Signers,
}

/// The vertex that a turn builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    /// The block that opened the epoch: a boundary block with a certificate of the set before; without one the genesis
    /// entry, or the block that a recovery manifest names.
    Start(Option<FinalCert>),
    Endorsed(EndorseCert),
    Final(FinalCert),
}

/// A justification J.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Just {
    pub epoch: u64,
    /// The turn that it starts.
    pub turn: Turn,
    pub parent: Parent,
    /// One for every turn between the parent's and `turn`, ascending. After days without agreement there are thousands,
    /// the same in every justification that is kept: they are shared.
    pub skips: Vec<Arc<SkipCert>>,
}

/// Why a justification proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JustFault {
    #[error("names epoch {have}, this is {want}")]
    Epoch { have: u64, want: u64 },
    #[error("starts turn {turn} on a parent of turn {parent}")]
    Turn { turn: Turn, parent: Turn },
    #[error("skips turn {have} where {want} is due")]
    Gap { have: Turn, want: Turn },
    #[error("{have} certificates of skipping, {want} are due")]
    Incomplete { have: usize, want: u64 },
    #[error("opens on another block than the epoch did")]
    Opening,
    #[error("{have} signers, a quorum is {need}")]
    NoQuorum { have: usize, need: usize },
    #[error("signer {0} is not in the authority set")]
    UnknownSigner(u16),
}

impl JustFault {
    /// By which a node refuses it of a peer.
    pub fn peer_code(&self) -> Code {
        match self {
            Self::Epoch { .. } | Self::Turn { .. } | Self::Gap { .. } | Self::Incomplete { .. } | Self::Opening => {
                peers::OUT_OF_PLACE
            }
            Self::NoQuorum { .. } => peers::NOT_SIGNED,
            Self::UnknownSigner(_) => peers::STRANGER,
        }
    }
}

impl EndorseCert {
    pub fn statement(&self) -> Statement {
        Statement::Endorse {
            epoch: self.epoch,
            turn: self.turn,
            height: self.height,
            block: self.block,
            just: self.just,
        }
    }

    pub fn encode_into(&self, target: &mut Vec<u8>, members: usize) {
        for number in [self.epoch, self.turn, self.height] {
            target.extend_from_slice(&number.to_be_bytes());
        }
        target.extend_from_slice(&self.block);
        target.extend_from_slice(&self.just);
        self.signers.encode_into(target, members);
    }

    pub fn read(reader: &mut Reader<'_>, members: usize) -> Result<Self, CodecFault> {
        Ok(Self {
            epoch: reader.u64()?,
            turn: reader.u64()?,
            height: reader.u64()?,
            block: reader.array()?,
            just: reader.array()?,
            signers: Signers::decode(reader, members)?,
        })
    }

    /// Epoch and number of signers; adds the signatures that remain to be checked.
    pub fn check(&self, epoch: &Epoch, items: &mut Vec<SignedItem>) -> Result<(), JustFault> {
        same_epoch(self.epoch, epoch.number())?;
        collect(&self.signers, &epoch.set, &self.statement().signed_bytes(&epoch.chain), items)
    }
}

impl SkipCert {
    pub fn statement(&self) -> Statement {
        Statement::Skip { epoch: self.epoch, turn: self.turn }
    }

    pub fn encode_into(&self, target: &mut Vec<u8>, members: usize) {
        target.extend_from_slice(&self.epoch.to_be_bytes());
        target.extend_from_slice(&self.turn.to_be_bytes());
        self.signers.encode_into(target, members);
    }

    pub fn read(reader: &mut Reader<'_>, members: usize) -> Result<Self, CodecFault> {
        Ok(Self { epoch: reader.u64()?, turn: reader.u64()?, signers: Signers::decode(reader, members)? })
    }

    /// Epoch and number of signers; adds the signatures that remain to be checked.
    pub fn check(&self, epoch: &Epoch, items: &mut Vec<SignedItem>) -> Result<(), JustFault> {
        same_epoch(self.epoch, epoch.number())?;
        collect(&self.signers, &epoch.set, &self.statement().signed_bytes(&epoch.chain), items)
    }
}

/// As the two above, for a final certificate of this epoch.
pub fn check_final(certificate: &FinalCert, epoch: &Epoch, items: &mut Vec<SignedItem>) -> Result<(), JustFault> {
    same_epoch(certificate.epoch, epoch.number())?;
    collect(&certificate.signers, &epoch.set, &final_bytes(certificate, epoch), items)
}

fn final_bytes(certificate: &FinalCert, epoch: &Epoch) -> Vec<u8> {
    confirm_bytes(&epoch.chain, certificate.epoch, certificate.turn, certificate.height, &certificate.block)
}

impl Parent {
    /// Turn of the vertex; 0 for the block that opened the epoch.
    pub fn turn(&self) -> Turn {
        match self {
            Self::Start(_) => 0,
            Self::Endorsed(certificate) => certificate.turn,
            Self::Final(certificate) => certificate.turn,
        }
    }

    pub fn height(&self, epoch: &Epoch) -> Height {
        match self {
            Self::Start(_) => epoch.opening_height(),
            Self::Endorsed(certificate) => certificate.height,
            Self::Final(certificate) => certificate.height,
        }
    }

    pub fn block(&self, epoch: &Epoch) -> BlockId {
        match self {
            Self::Start(_) => epoch.opening_block(),
            Self::Endorsed(certificate) => certificate.block,
            Self::Final(certificate) => certificate.block,
        }
    }

    pub(crate) fn encode_into(&self, target: &mut Vec<u8>, epoch: &Epoch) {
        match self {
            Self::Start(None) => target.push(0),
            Self::Start(Some(certificate)) => {
                target.push(1);
                target.extend_from_slice(&certificate.encode(epoch.previous_members()));
            }
            Self::Endorsed(certificate) => {
                target.push(2);
                certificate.encode_into(target, epoch.members());
            }
            Self::Final(certificate) => {
                target.push(3);
                target.extend_from_slice(&certificate.encode(epoch.members()));
            }
        }
    }

    fn read(reader: &mut Reader<'_>, epoch: &Epoch) -> Result<Self, CodecFault> {
        match reader.u8()? {
            0 => Ok(Self::Start(None)),
            1 => Ok(Self::Start(Some(FinalCert::read(reader, epoch.previous_members())?))),
            2 => Ok(Self::Endorsed(EndorseCert::read(reader, epoch.members())?)),
            3 => Ok(Self::Final(FinalCert::read(reader, epoch.members())?)),
            _ => Err(CodecFault::Invalid("kind of parent")),
        }
    }

    fn check(&self, epoch: &Epoch, items: &mut Vec<SignedItem>) -> Result<(), JustFault> {
        match (self, &epoch.opening) {
            (Self::Start(None), Opening::Genesis { .. } | Opening::Recovered { .. }) => Ok(()),
            (Self::Start(Some(certificate)), Opening::Boundary { certificate: known, previous }) => {
                if (certificate.epoch, certificate.height, certificate.block)
                    != (known.epoch, known.height, known.block)
                {
                    return Err(JustFault::Opening);
                }
                collect(&certificate.signers, previous, &final_bytes(certificate, epoch), items)
            }
            (Self::Start(None), Opening::Boundary { .. })
            | (Self::Start(Some(_)), Opening::Genesis { .. } | Opening::Recovered { .. }) => Err(JustFault::Opening),
            (Self::Endorsed(certificate), _) => certificate.check(epoch, items),
            (Self::Final(certificate), _) => check_final(certificate, epoch, items),
        }
    }
}

impl Just {
    /// The first of an epoch.
    pub fn opening(epoch: &Epoch) -> Self {
        let certificate = match &epoch.opening {
            Opening::Genesis { .. } | Opening::Recovered { .. } => None,
            Opening::Boundary { certificate, .. } => Some(certificate.clone()),
        };
        Self { epoch: epoch.number(), turn: 1, parent: Parent::Start(certificate), skips: Vec::new() }
    }

    /// The turn after an endorsed vertex.
    pub fn after_endorsed(certificate: EndorseCert) -> Self {
        Self {
            epoch: certificate.epoch,
            turn: certificate.turn.saturating_add(1),
            parent: Parent::Endorsed(certificate),
            skips: Vec::new(),
        }
    }

    /// The turn after a final vertex.
    pub fn after_final(certificate: FinalCert) -> Self {
        Self {
            epoch: certificate.epoch,
            turn: certificate.turn.saturating_add(1),
            parent: Parent::Final(certificate),
            skips: Vec::new(),
        }
    }

    pub fn encode_into(&self, target: &mut Vec<u8>, epoch: &Epoch) {
        target.extend_from_slice(&self.epoch.to_be_bytes());
        target.extend_from_slice(&self.turn.to_be_bytes());
        self.parent.encode_into(target, epoch);
        target.extend_from_slice(&u32::try_from(self.skips.len()).unwrap_or(u32::MAX).to_be_bytes());
        for skip in &self.skips {
            skip.encode_into(target, epoch.members());
        }
    }

    pub fn encode(&self, epoch: &Epoch) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_into(&mut bytes, epoch);
        bytes
    }

    pub fn read(reader: &mut Reader<'_>, epoch: &Epoch) -> Result<Self, CodecFault> {
        let (number, turn) = (reader.u64()?, reader.u64()?);
        let parent = Parent::read(reader, epoch)?;
        // Allocates with what is there, not with what is announced.
        let mut skips = Vec::new();
        for _ in 0..reader.u32()? {
            skips.push(Arc::new(SkipCert::read(reader, epoch.members())?));
        }
        Ok(Self { epoch: number, turn, parent, skips })
    }

    pub fn decode(bytes: &[u8], epoch: &Epoch) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let just = Self::read(&mut reader, epoch)?;
        reader.finish()?;
        Ok(just)
    }

    /// H(J).
    pub fn hash(&self, epoch: &Epoch) -> Hash {
        sha256(&[b"mingzhang/just/v1\0", &self.encode(epoch)])
    }

    /// Whether every turn between the parent's and this one is skipped, no more and no less.
    pub fn check_complete(&self) -> Result<(), JustFault> {
        let parent = self.parent.turn();
        if self.turn <= parent {
            return Err(JustFault::Turn { turn: self.turn, parent });
        }
        if mutants::SKIP_WITHOUT_CERTIFICATE.on() {
            return Ok(());
        }
        let want = self.turn.saturating_sub(parent).saturating_sub(1);
        if u64::try_from(self.skips.len()) != Ok(want) {
            return Err(JustFault::Incomplete { have: self.skips.len(), want });
        }
        let mut due = parent;
        for skip in &self.skips {
            due = due.saturating_add(1);
            if skip.turn != due {
                return Err(JustFault::Gap { have: skip.turn, want: due });
            }
        }
        Ok(())
    }

    /// Completeness, epochs and numbers of signers; adds the signatures that remain to be checked, those of known
    /// certificates left out.
    pub fn check(&self, epoch: &Epoch, known: &Known, items: &mut Vec<SignedItem>) -> Result<(), JustFault> {
        same_epoch(self.epoch, epoch.number())?;
        self.check_complete()?;
        if !known.has_parent(&self.parent, epoch) {
            self.parent.check(epoch, items)?;
        }
        let unknown = self.skips.iter().filter(|skip| !known.has_skip(skip, epoch));
        unknown.into_iter().try_for_each(|skip| skip.check(epoch, items))
    }
}

fn same_epoch(have: u64, want: u64) -> Result<(), JustFault> {
    if have == want || mutants::OLD_EPOCH_VOTES.on() { Ok(()) } else { Err(JustFault::Epoch { have, want }) }
}

fn collect(
    signers: &Signers,
    set: &AuthoritySet,
    message: &[u8],
    items: &mut Vec<SignedItem>,
) -> Result<(), JustFault> {
    if signers.len() < set.quorum() {
        return Err(JustFault::NoQuorum { have: signers.len(), need: set.quorum() });
    }
    for (index, signature) in signers.iter() {
        let member = set.member(index).ok_or(JustFault::UnknownSigner(index))?;
        items.push(SignedItem { key: member.consensus_key, message: message.to_vec(), signature });
    }
    Ok(())
}
