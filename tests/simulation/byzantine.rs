//! Faulty agencies: what they send instead of what the rules have them say. Their nodes are otherwise the real ones. More
//! kinds, against the protocol alone, are in the simulation of the consensus crate.

use mingzhang_consensus::Epoch;
use mingzhang_consensus::message::{Message, Proposal};
use mingzhang_consensus::statement::{Kind, Statement, Vote};

use crate::founding::consensus_key;
use crate::world::{Frame, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes part in nothing, and answers.
    Mute,
    /// Votes to skip whatever it votes for, to every second node.
    TwoFaced,
    /// Proposes a state root, a log root or a number of entries that execution contradicts.
    WrongHeaders,
    /// Gossip and proposals without batches: the others have to ask for them.
    Withholds,
    /// Endorses, and never confirms.
    NeverConfirms,
    /// Flips a bit of every third message.
    Mutates,
}

pub const ALL: [Behaviour; 6] = [
    Behaviour::Mute,
    Behaviour::TwoFaced,
    Behaviour::WrongHeaders,
    Behaviour::Withholds,
    Behaviour::NeverConfirms,
    Behaviour::Mutates,
];

impl World {
    /// A message on its way, through whatever its sender does to it.
    pub fn send_as(
        &mut self,
        from: usize,
        to: usize,
        (message, epoch): (&Message, &Epoch),
        (frame, after_ms): (&Frame, u64),
    ) {
        let Some(behaviour) = self.behaviours.get(&from).copied() else { return self.post(from, to, frame, after_ms) };
        self.oracle.fault("byzantine message");
        let told = match behaviour {
            Behaviour::Mute => match message {
                Message::Vote(_) | Message::Proposal(_) => None,
                _ => Some(message.clone()),
            },
            Behaviour::TwoFaced => {
                if let Message::Vote(vote) = message
                    && to.is_multiple_of(2)
                {
                    let second = self.other_vote(from, vote, epoch);
                    self.post(from, to, &Frame { bytes: second.encode(epoch).into() }, after_ms);
                }
                Some(message.clone())
            }
            Behaviour::WrongHeaders => match message {
                Message::Proposal(proposal) => Some(self.wrong(from, proposal, epoch)),
                _ => Some(message.clone()),
            },
            Behaviour::Withholds => match message {
                Message::Proposal(proposal) => {
                    Some(Message::Proposal(Box::new(Proposal { batches: Vec::new(), ..(**proposal).clone() })))
                }
                _ => Some(message.clone()),
            },
            Behaviour::NeverConfirms => match message {
                Message::Vote(vote) if vote.statement.kind() == Kind::Confirm => None,
                _ => Some(message.clone()),
            },
            Behaviour::Mutates => {
                let mut bytes = frame.bytes.as_ref().clone();
                if self.random.percent(33) {
                    let at = self.random.pick(bytes.len());
                    bytes[at] ^= 1 << self.random.between(0, 7);
                }
                return self.post(from, to, &Frame { bytes: bytes.into() }, after_ms);
            }
        };
        if let Some(told) = told {
            self.post(from, to, &Frame { bytes: told.encode(epoch).into() }, after_ms);
        }
    }

    fn sign_as(&self, place: usize, statement: &Statement, epoch: &Epoch) -> mingzhang_ledger::crypto::Signature {
        let here = &self.places[place];
        consensus_key(here.name(), here.generation).sign(&statement.signed_bytes(&epoch.chain))
    }

    fn other_vote(&self, from: usize, vote: &Vote, epoch: &Epoch) -> Message {
        let (epoch_number, turn) = (vote.statement.epoch(), vote.statement.turn());
        let statement = match vote.statement {
            Statement::Endorse { .. } | Statement::Confirm { .. } => Statement::Skip { epoch: epoch_number, turn },
            Statement::Skip { .. } => {
                Statement::Confirm { epoch: epoch_number, turn, height: epoch.opening_height() + 1, block: [3; 32] }
            }
        };
        Message::Vote(Vote { statement, signer: vote.signer, signature: self.sign_as(from, &statement, epoch) })
    }

    fn wrong(&mut self, from: usize, proposal: &Proposal, epoch: &Epoch) -> Message {
        let mut lie = proposal.clone();
        match self.random.between(0, 2) {
            0 => lie.header.state_root[0] ^= 1,
            1 => lie.header.log_root[0] ^= 1,
            _ => lie.header.entry_count += 1,
        }
        lie.signature = self.sign_as(from, &lie.statement(epoch), epoch);
        Message::Proposal(Box::new(lie))
    }
}
