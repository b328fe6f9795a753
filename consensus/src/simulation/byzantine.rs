//! What a faulty authority may do with its key and its links. Its core is a real one; its words are changed on the
//! way out.

use mingzhang_ledger::header::Header;

use super::{World, name_of};
use crate::message::{Message, Proposal};
use crate::statement::{Statement, Vote};
use crate::{Peer, Verdict};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Shows one half of the network another block than the other half.
    TwinProposals,
    /// Signs whatever contradicts its votes, for everybody.
    TwinVotes,
    /// Endorses, and never confirms.
    NeverConfirms,
    /// Proposes headers that execution contradicts.
    WrongHeaders,
    /// Sends to one peer only.
    OneVictim(Peer),
}

impl World {
    pub fn send_as(&mut self, from: Peer, to: Peer, message: Message) {
        let Some(behaviour) = self.behaviours.get(&from).copied() else { return self.post(from, to, message) };
        match behaviour {
            Behaviour::TwinProposals => {
                let message = match message {
                    Message::Proposal(proposal) if to % 2 == 1 => self.twin(from, *proposal),
                    other => other,
                };
                self.post(from, to, message);
            }
            Behaviour::TwinVotes => {
                if let Message::Vote(vote) = &message {
                    for statement in twins(&vote.statement) {
                        let twin = Vote { statement, signer: from, signature: name_of(from) };
                        self.post(from, to, Message::Vote(twin));
                    }
                }
                self.post(from, to, message);
            }
            Behaviour::NeverConfirms => {
                let confirms = matches!(&message, Message::Vote(Vote { statement: Statement::Confirm { .. }, .. }));
                if !confirms {
                    self.post(from, to, message);
                }
            }
            Behaviour::WrongHeaders => {
                let message = match message {
                    Message::Proposal(mut proposal) => {
                        proposal.header.state_root = [0xee; 32];
                        Message::Proposal(proposal)
                    }
                    other => other,
                };
                self.post(from, to, message);
            }
            Behaviour::OneVictim(victim) => {
                if to == victim {
                    self.post(from, to, message);
                }
            }
        }
    }

    /// A second block, as valid as the first: a millisecond later.
    fn twin(&mut self, from: Peer, proposal: Proposal) -> Message {
        let epoch = self.epoch.clone();
        let header = proposal.header;
        let place = &self.nodes[usize::from(from)];
        let words = (header.turn, header.parent_turn, header.proposer, header.time_ms + 1);
        let parent = place.executor.executed.get(&header.parent);
        let child = parent.and_then(|p| p.child(&epoch, words, &proposal.references, &self.contents).ok());
        let Some(twin) = child.and_then(|child| child.header) else { return Message::Proposal(Box::new(proposal)) };
        self.make_known(from, &twin, &proposal);
        Message::Proposal(Box::new(Proposal { header: twin, ..proposal }))
    }

    /// The twin can be fetched from its maker.
    fn make_known(&mut self, from: Peer, twin: &Header, proposal: &Proposal) {
        let epoch = self.epoch.clone();
        let place = &mut self.nodes[usize::from(from)];
        let verdict = place.executor.execute(twin, &proposal.references, &epoch, &self.contents);
        assert_eq!(verdict, Verdict::Valid { acted: false });
    }
}

fn twins(statement: &Statement) -> Vec<Statement> {
    match *statement {
        Statement::Endorse { epoch, turn, height, block, just } => vec![
            Statement::Skip { epoch, turn },
            Statement::Endorse { epoch, turn, height, block: just, just },
            Statement::Confirm { epoch, turn, height, block },
        ],
        Statement::Confirm { epoch, turn, .. } => vec![Statement::Skip { epoch, turn }],
        Statement::Skip { epoch, turn } => vec![Statement::Confirm { epoch, turn, height: 1, block: [3; 32] }],
    }
}
