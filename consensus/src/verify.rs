//! From a decoded message to a verified one. A node collects the signatures of many messages, checks them in one batch
//! beside its engine, and concludes each; the plain function does it singly. What a message means is not judged here.

use mingzhang_ledger::crypto::{PublicKey, Signature, verify_batch};
use mingzhang_ledger::outcome::{Code, peers};
use thiserror::Error;

use crate::epoch::Epoch;
use crate::evidence::Evidence;
use crate::justification::{JustFault, check_final};
use crate::known::Known;
use crate::message::Message;
use crate::mutants;
use crate::statement::Vote;

/// A value whose signatures were all checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub fn get(&self) -> &T {
        &self.0
    }

    pub fn into_inner(self) -> T {
        self.0
    }
}

impl Verified<Message> {
    /// The copy of an own vote, which the signer made a moment ago and which nobody needs to check again.
    pub fn own(vote: Vote) -> Self {
        Self(Message::Vote(vote))
    }

    /// The signatures of pretended worlds are names, not proofs.
    #[cfg(any(test, feature = "model"))]
    pub(crate) fn unchecked(message: Message) -> Self {
        Self(message)
    }
}

/// One signature that is to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedItem {
    pub key: PublicKey,
    pub message: Vec<u8>,
    pub signature: Signature,
}

/// Why a message is refused. Its sender loses standing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("message of epoch {have}, this is {want}")]
    OtherEpoch { have: u64, want: u64 },
    #[error("signer {0} is not in the authority set")]
    UnknownSigner(u16),
    #[error("certificate is for another block or height than its header")]
    OtherBlock,
    #[error("justification: {0}")]
    Just(#[from] JustFault),
    #[error("a signature does not hold")]
    Signature,
    #[error("{have} verdicts for {want} signatures")]
    Verdicts { have: usize, want: usize },
    /// The proposer signed a justification that proves nothing: this alone convicts it.
    #[error("proposal under an invalid justification")]
    Convicted(Box<Evidence>),
}

impl Refusal {
    /// By which a node refuses it of a peer.
    pub fn peer_code(&self) -> Code {
        match self {
            Self::OtherEpoch { .. } | Self::OtherBlock => peers::OUT_OF_PLACE,
            Self::UnknownSigner(_) => peers::STRANGER,
            Self::Just(fault) => fault.peer_code(),
            Self::Signature | Self::Verdicts { .. } | Self::Convicted(_) => peers::NOT_SIGNED,
        }
    }
}

/// A message whose form is right and whose signatures wait to be checked.
#[derive(Debug, Clone)]
pub struct Check {
    message: Message,
    items: Vec<SignedItem>,
    /// For a proposal, what is wrong with the form of its justification: the proposer's signature, the first item,
    /// decides whether that convicts it.
    just_fault: Option<JustFault>,
}

impl Check {
    /// Checks all that needs no signature. Certificates that were found to hold before need none.
    pub fn new(message: Message, epoch: &Epoch, known: &Known) -> Result<Self, Refusal> {
        if message.epoch() != epoch.number() && !mutants::OLD_EPOCH_VOTES.on() {
            return Err(Refusal::OtherEpoch { have: message.epoch(), want: epoch.number() });
        }
        let mut items = Vec::new();
        let mut just_fault = None;
        match &message {
            Message::Proposal(proposal) => {
                let vote = proposal.vote(epoch);
                if !mutants::NO_PROPOSER_CHECK.on() {
                    items.push(vote_item(&vote, epoch)?);
                }
                for batch in &proposal.batches {
                    let key = epoch.set.member(batch.author).ok_or(Refusal::UnknownSigner(batch.author))?.consensus_key;
                    let message = batch.signed_bytes(&epoch.chain);
                    items.push(SignedItem { key, message, signature: batch.signature });
                }
                just_fault = proposal.just.check(epoch, known, &mut items).err();
            }
            Message::Vote(vote) => items.push(vote_item(vote, epoch)?),
            Message::Justify(just) => just.check(epoch, known, &mut items)?,
            Message::Final { header, certificate } => {
                let fits = certificate.turn == header.turn || (header.is_boundary() && certificate.turn > header.turn);
                if certificate.block != header.id()
                    || certificate.height != header.height
                    || header.epoch != certificate.epoch
                    || !fits
                {
                    return Err(Refusal::OtherBlock);
                }
                check_final(certificate, epoch, &mut items)?;
            }
            Message::Status(status) => {
                if let Some(vote) = &status.last_vote {
                    if vote.statement.epoch() != epoch.number() {
                        return Err(Refusal::OtherEpoch { have: vote.statement.epoch(), want: epoch.number() });
                    }
                    items.push(vote_item(vote, epoch)?);
                }
            }
            Message::Ask(_) | Message::Waiting(_) => {}
        }
        Ok(Self { message, items, just_fault })
    }

    /// What to hand to the batch verifier, in order.
    pub fn items(&self) -> &[SignedItem] {
        &self.items
    }

    /// `verdicts` are those of [`Check::items`], in the same order.
    pub fn conclude(self, verdicts: &[bool], epoch: &Epoch) -> Result<Verified<Message>, Refusal> {
        if verdicts.len() != self.items.len() {
            return Err(Refusal::Verdicts { have: verdicts.len(), want: self.items.len() });
        }
        let all_hold = verdicts.iter().all(|holds| *holds);
        if all_hold && self.just_fault.is_none() {
            return Ok(Verified(self.message));
        }
        let Message::Proposal(proposal) = self.message else { return Err(Refusal::Signature) };
        if verdicts.first() != Some(&true) {
            return Err(Refusal::Signature);
        }
        // A bad signature of an attached batch is not the fault of the justification.
        let batches_end = proposal.batches.len().saturating_add(1);
        let batches_hold = verdicts.iter().take(batches_end).all(|holds| *holds);
        if self.just_fault.is_none() && !batches_hold {
            return Err(Refusal::Signature);
        }
        let vote = proposal.vote(epoch);
        Err(Refusal::Convicted(Box::new(Evidence::InvalidJust { vote, just: proposal.just })))
    }
}

/// Checks one message by itself.
pub fn verify(message: Message, epoch: &Epoch) -> Result<Verified<Message>, Refusal> {
    let check = Check::new(message, epoch, &Known::default())?;
    let verdicts = verdicts(check.items());
    check.conclude(&verdicts, epoch)
}

/// One verdict per item.
pub fn verdicts(items: &[SignedItem]) -> Vec<bool> {
    let borrowed: Vec<_> = items.iter().map(|item| (item.key, item.message.as_slice(), item.signature)).collect();
    verify_batch(&borrowed)
}

/// The signature of one vote.
pub(crate) fn vote_item(vote: &Vote, epoch: &Epoch) -> Result<SignedItem, Refusal> {
    let member = epoch.set.member(vote.signer).ok_or(Refusal::UnknownSigner(vote.signer))?;
    Ok(SignedItem {
        key: member.consensus_key,
        message: vote.statement.signed_bytes(&epoch.chain),
        signature: vote.signature,
    })
}
