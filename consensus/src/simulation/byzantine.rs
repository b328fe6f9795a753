//! What a faulty authority may do with its key and its links. Its core is a real one; its words are changed on the
//! way out.

use mingzhang_ledger::certificate::Signers;
use mingzhang_ledger::header::Header;

use super::door::Frame;
use super::{Place, World};
use crate::justification::{Just, Parent};
use crate::message::{Message, Proposal};
use crate::statement::{Kind, Statement};
use crate::{Epoch, Peer, Verdict};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Runs twice with one key; each instance is honest by itself.
    Twin,
    /// Shows one half of the network another block than the other half.
    TwinProposals,
    /// Shows one half of the network the same block under another justification.
    TwinJusts,
    /// Signs whatever contradicts its votes, for everybody.
    TwinVotes,
    /// Endorses, never confirms, and shows nobody that anything is final.
    NeverConfirms,
    /// Proposes headers that execution contradicts.
    WrongHeaders,
    /// Proposes on the last final block, and shows no certificate for the turns in between.
    HidesSkips,
    /// Proposes in the name of whoever is on turn.
    Usurper,
    /// Sends to one peer only.
    OneVictim(Peer),
    /// Claims to be far ahead, then far behind.
    Boasts,
    /// Changes a byte of what it sends.
    Mutates,
    /// Sets bits of the signers' bitmap that stand for nobody.
    Pads,
    /// Says again what it said in an earlier epoch.
    Replays,
    /// Follows, and says nothing.
    Mute,
}

impl World {
    pub fn send_as(&mut self, from: Place, to: Place, message: &Message, frame: &Frame) {
        let key = self.node(from).key;
        let Some(behaviour) = self.behaviours.get(&key).copied() else { return self.post(from, to, frame) };
        let epoch = self.node(from).epoch.clone();
        self.oracle.fault("byzantine message");
        match behaviour {
            Behaviour::Twin => self.post(from, to, frame),
            Behaviour::Mute => {}
            Behaviour::TwinProposals => match message {
                Message::Proposal(proposal) if to % 2 == 1 => {
                    let twin = self.twin(from, proposal);
                    self.send_message(from, to, &twin);
                }
                _ => self.post(from, to, frame),
            },
            Behaviour::TwinJusts => match message {
                Message::Proposal(proposal) if to % 2 == 1 => {
                    let twin = self.under_another_just(from, proposal);
                    self.send_message(from, to, &twin);
                }
                _ => self.post(from, to, frame),
            },
            Behaviour::TwinVotes => {
                if let Message::Vote(vote) = message {
                    for statement in twins(&vote.statement) {
                        self.say(from, to, statement, &epoch);
                    }
                }
                self.post(from, to, frame);
            }
            Behaviour::NeverConfirms => {
                if !shows_finality(message) {
                    self.post(from, to, frame);
                }
            }
            Behaviour::WrongHeaders => {
                let wrong = |header: Header| Header { state_root: [0xee; 32], ..header };
                self.send_changed(from, to, message, |_, proposal| {
                    Some(Proposal { header: wrong(proposal.header), ..proposal.clone() })
                });
            }
            Behaviour::HidesSkips => self.send_changed(from, to, message, |world, p| world.on_final(from, p)),
            Behaviour::Usurper => self.usurp(from, to, message, frame),
            Behaviour::OneVictim(victim) => {
                if to == victim {
                    self.post(from, to, frame);
                }
            }
            Behaviour::Boasts => {
                let boasting = self.boasted(message);
                self.send_message(from, to, &boasting);
            }
            Behaviour::Mutates => {
                let changed = self.with_a_byte_changed(frame);
                self.post(from, to, &changed);
            }
            Behaviour::Pads => {
                self.post(from, to, frame);
                let padded = padded(message, &epoch);
                self.post(from, to, &padded);
            }
            Behaviour::Replays => {
                self.post(from, to, frame);
                self.replay(from, to);
            }
        }
    }

    fn say(&mut self, from: Place, to: Place, statement: Statement, epoch: &Epoch) {
        let vote = self.signed_vote(self.node(from).key, statement, epoch);
        self.note_signed(&vote);
        self.send_message(from, to, &Message::Vote(vote));
    }

    /// Sends a proposal changed and signed again, and everything else as it is.
    fn send_changed(
        &mut self,
        from: Place,
        to: Place,
        message: &Message,
        change: impl Fn(&mut Self, &Proposal) -> Option<Proposal>,
    ) {
        let Message::Proposal(proposal) = message else { return self.send_message(from, to, message) };
        let changed = change(self, proposal).unwrap_or_else(|| proposal.as_ref().clone());
        let signed = self.proposed(from, changed);
        self.send_message(from, to, &signed);
    }

    fn proposed(&mut self, from: Place, proposal: Proposal) -> Message {
        let epoch = self.node(from).epoch.clone();
        let vote = self.signed_vote(self.node(from).key, proposal.statement(&epoch), &epoch);
        self.note_signed(&vote);
        Message::Proposal(Box::new(Proposal { signature: vote.signature, ..proposal }))
    }

    /// A second block, as valid as the first: a millisecond later.
    fn twin(&mut self, from: Place, proposal: &Proposal) -> Message {
        let header = proposal.header;
        let words = (header.turn, header.parent_turn, header.proposer, header.time_ms + 1);
        let epoch = self.node(from).epoch.clone();
        let parent = self.node(from).executor.executed.get(&header.parent);
        let child = parent.and_then(|p| p.child(&epoch, words, &proposal.references, &self.contents).ok());
        let Some(twin) = child.and_then(|child| child.header).filter(|_| header.turn == proposal.just.turn) else {
            return Message::Proposal(Box::new(proposal.clone()));
        };
        // The twin can be fetched from its maker.
        let place = &mut self.nodes[usize::from(from)];
        let verdict = place.executor.execute(&twin, &proposal.references, &epoch, &self.contents);
        assert_eq!(verdict, Verdict::Valid { acted: false });
        self.proposed(from, Proposal { header: twin, ..proposal.clone() })
    }

    /// The same block, its parent certified by other signers or by its finality.
    fn under_another_just(&mut self, from: Place, proposal: &Proposal) -> Message {
        let unchanged = || Message::Proposal(Box::new(proposal.clone()));
        let Parent::Endorsed(certificate) = &proposal.just.parent else { return unchanged() };
        let epoch = self.node(from).epoch.clone();
        let statement = certificate.statement();
        let mut signers: Vec<Peer> = epoch.peers().filter(|peer| self.has_signed(*peer, &statement)).collect();
        signers.reverse();
        signers.truncate(epoch.set.quorum());
        let signers = Signers::new(signers.iter().map(|peer| (*peer, self.sign(*peer, &statement, &epoch))));
        if signers == certificate.signers || signers.len() < epoch.set.quorum() {
            return unchanged();
        }
        let parent = Parent::Endorsed(crate::justification::EndorseCert { signers, ..certificate.clone() });
        let just = Just { parent, ..proposal.just.clone() };
        self.oracle.fault("same block under two justifications");
        self.proposed(from, Proposal { just, ..proposal.clone() })
    }

    /// A block on the last final one, as if nothing had happened since.
    fn on_final(&mut self, from: Place, proposal: &Proposal) -> Option<Proposal> {
        let epoch = self.node(from).epoch.clone();
        let place = &mut self.nodes[usize::from(from)];
        let tip = place.executor.tip().clone();
        let parent = match place.disk.certificate_in(epoch.number()) {
            Some(certificate) if certificate.block == tip.id => Parent::Final(certificate.clone()),
            Some(_) => return None,
            None => Just::opening(&epoch).parent,
        };
        let just = Just { epoch: epoch.number(), turn: proposal.just.turn, parent, skips: Vec::new() };
        let header = proposal.header;
        let time_ms = header.time_ms.max(tip.time_ms + 1_000);
        let words = (just.turn, just.parent.turn(), header.proposer, time_ms);
        let child = tip.child(&epoch, words, &[], &self.contents).ok()?;
        place.executor.executed.insert(child.id, child.clone());
        Some(Proposal { header: child.header?, references: Vec::new(), just, ..proposal.clone() })
    }

    /// An own proposal in every turn of others, under the own signature.
    fn usurp(&mut self, from: Place, to: Place, message: &Message, frame: &Frame) {
        self.post(from, to, frame);
        let Message::Vote(vote) = message else { return };
        let Statement::Endorse { turn, block, .. } = vote.statement else { return };
        let epoch = self.node(from).epoch.clone();
        let place = self.node(from);
        let entry = place.core.as_ref().and_then(|core| core.book.entry(turn)).and_then(|e| e.endorsed.clone());
        let Some(endorsed) = entry.filter(|endorsed| endorsed.block() == block) else { return };
        let header = Header { time_ms: endorsed.header.time_ms + 1, ..endorsed.header };
        let (references, just) = (endorsed.references, endorsed.just);
        let mut forged = Proposal { header, references, batches: Vec::new(), just, signature: vote.signature };
        forged.signature = self.sign(place.key, &forged.statement(&epoch), &epoch);
        self.send_message(from, to, &Message::Proposal(Box::new(forged)));
    }

    fn boasted(&mut self, message: &Message) -> Message {
        let Message::Status(status) = message else { return message.clone() };
        let (final_height, turn) = if self.random.percent(50) { (1_000_000_000, u64::MAX) } else { (0, 0) };
        Message::Status(crate::message::Status { final_height, turn, ..status.clone() })
    }

    fn with_a_byte_changed(&mut self, frame: &Frame) -> Frame {
        let mut bytes = frame.bytes.as_ref().clone();
        let at = self.random.between(0, bytes.len() as u64 - 1) as usize;
        bytes[at] ^= 1 << self.random.between(0, 7);
        Frame { epoch: frame.epoch, bytes: std::rc::Rc::new(bytes) }
    }

    /// Everything that the key signed in turns around the current one of the epoch before.
    fn replay(&mut self, from: Place, to: Place) {
        let place = self.node(from);
        let Some(before) = place.epoch.number().checked_sub(1) else { return };
        let old = super::ledger::set_of(&self.genesis, before);
        let turn = place.core.as_ref().map_or(1, crate::Turns::turn);
        let mut epoch = place.epoch.clone();
        epoch.set = std::sync::Arc::new(old);
        let statements: Vec<(Peer, Statement)> = self.signed_in(before, turn);
        for (signer, statement) in statements {
            let vote = self.signed_vote(signer, statement, &epoch);
            self.send_message_of(from, to, &Message::Vote(vote), &epoch);
        }
    }

    fn send_message_of(&mut self, from: Place, to: Place, message: &Message, epoch: &Epoch) {
        let frame = Frame::new(message, epoch);
        self.post(from, to, &frame);
    }
}

/// The message with a bit of its first bitmap set that stands for nobody, if it has one.
fn padded(message: &Message, epoch: &Epoch) -> Frame {
    let mut bytes = message.encode(epoch);
    let bitmap_at = match message {
        // Type, epoch, turn, kind of parent; then three numbers and two hashes, or one.
        Message::Justify(Just { parent: Parent::Endorsed(_), .. }) => Some(1 + 16 + 1 + 24 + 64),
        Message::Justify(Just { parent: Parent::Final(_), .. }) => Some(1 + 16 + 1 + 24 + 32),
        Message::Final { .. } => Some(1 + 256 + 24 + 32),
        Message::Justify(_)
        | Message::Proposal(_)
        | Message::Vote(_)
        | Message::Status(_)
        | Message::Ask(_)
        | Message::Waiting(_) => None,
    };
    let unused = epoch.members() % 8;
    if let Some(at) = bitmap_at.filter(|_| unused != 0) {
        bytes[at + epoch.members() / 8] |= 0x80;
    }
    Frame { epoch: epoch.number(), bytes: std::rc::Rc::new(bytes) }
}

fn shows_finality(message: &Message) -> bool {
    match message {
        Message::Vote(vote) => vote.statement.kind() == Kind::Confirm,
        Message::Final { .. } => true,
        Message::Justify(just) => matches!(just.parent, Parent::Final(_)),
        Message::Proposal(proposal) => matches!(proposal.just.parent, Parent::Final(_)),
        Message::Status(_) | Message::Ask(_) | Message::Waiting(_) => false,
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
