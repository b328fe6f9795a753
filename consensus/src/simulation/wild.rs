//! A core that is told anything at all, certificates that cannot exist among f faulty included: it never panics,
//! never spins, and never signs two statements that exclude each other.

use super::ledger::Executed;
use super::puppet::{Puppet, name_of, skip, skip_cert, statements};
use super::random::Random;
use crate::evidence::conflict;
use crate::justification::{EndorseCert, Just, Parent};
use crate::message::{Ask, Message, Status, Waiting};
use crate::statement::{Statement, Vote};
use crate::{Draft, Effect, Found, Input, Peer, Verdict, Work};

struct Wild {
    random: Random,
    blocks: Vec<Executed>,
    certificates: Vec<EndorseCert>,
    signed: Vec<Statement>,
}

impl Wild {
    fn peer(&mut self) -> Peer {
        self.random.between(0, 2) as Peer
    }

    fn turn(&mut self, puppet: &Puppet) -> u64 {
        let around = puppet.core.turn().saturating_sub(2).max(1);
        self.random.between(around, around + 4)
    }

    fn block(&mut self, puppet: &mut Puppet) -> Executed {
        if !self.blocks.is_empty() && self.random.percent(70) {
            let index = self.random.between(0, self.blocks.len() as u64 - 1) as usize;
            return self.blocks[index].clone();
        }
        let parent = self.blocks.last().unwrap_or(&puppet.genesis).clone();
        let turn = self.turn(puppet);
        let seq = parent.positions[1].next_seq;
        let reference = puppet.batch(1, seq);
        let parent_turn = turn - 1;
        let mut block = puppet.block(&parent, parent_turn, turn, &[reference]);
        if self.random.percent(5) {
            let mut header = block.header.expect("not genesis");
            header.next_set_hash = [0xbb; 32];
            block = block.with_header(header);
        }
        self.blocks.push(block.clone());
        block
    }

    /// Complete, but perhaps contradicting everything that was said before.
    fn just(&mut self, puppet: &Puppet) -> Just {
        let turn = self.turn(puppet);
        let index = self.random.between(0, self.certificates.len() as u64) as usize;
        let parent = match self.certificates.get(index) {
            Some(certificate) if certificate.turn < turn => Parent::Endorsed(certificate.clone()),
            Some(_) | None => Parent::Start(None),
        };
        let skips = (parent.turn() + 1..turn).map(|skipped| skip_cert(skipped, &[0, 1, 2])).collect();
        Just { epoch: 0, turn, parent, skips }
    }

    fn statement(&mut self, puppet: &mut Puppet) -> Statement {
        let (turn, block) = (self.turn(puppet), self.block(puppet));
        let just = self.just(puppet);
        match self.random.between(0, 2) {
            0 => skip(turn),
            1 => Statement::Confirm { epoch: 0, turn, height: block.height, block: block.id },
            _ => puppet.endorse(&block, &Just { turn, ..just }),
        }
    }

    fn message(&mut self, puppet: &mut Puppet) -> Message {
        let (block, just) = (self.block(puppet), self.just(puppet));
        let header = block.header.expect("not genesis");
        match self.random.between(0, 6) {
            0 => puppet.proposal(header, &block.references, &just),
            1 => Message::Justify(just),
            2 => {
                let certificate = puppet.final_cert(&block, header.turn, &[0, 1, 2]);
                Message::Final { header, certificate }
            }
            3 => Message::Ask(Ask { epoch: 0, turn: just.turn, just: None }),
            4 => Message::Waiting(Waiting { epoch: 0, references: block.references }),
            5 => {
                let certificate = puppet.endorse_cert(&block, &just, &[0, 1, 2]);
                self.certificates.push(certificate.clone());
                Message::Justify(Just::after_endorsed(certificate))
            }
            _ => Message::Status(Status {
                epoch: 0,
                final_height: self.random.between(0, 9),
                final_block: block.id,
                turn: just.turn,
                waits: self.random.percent(50),
                asks: self.random.percent(50),
                last_vote: None,
            }),
        }
    }

    fn input(&mut self, puppet: &mut Puppet) -> Input {
        let block = self.block(puppet);
        let header = block.header.expect("not genesis");
        let from = self.peer();
        match self.random.between(0, 16) {
            0 => Input::Connected { peer: from },
            1 => Input::Disconnected { peer: from },
            2 => Input::Built {
                turn: puppet.core.turn(),
                draft: Draft { header, references: block.references, acted: false },
            },
            3 => Input::BuildFailed { turn: puppet.core.turn() },
            4..=6 => Input::Executed { block: block.id, verdict: Verdict::Valid { acted: true } },
            7 => Input::Executed { block: block.id, verdict: Verdict::MissingBatches { references: block.references } },
            8 => Input::Executed { block: block.id, verdict: Verdict::MissingParent },
            9 => Input::Fetched {
                found: Found::Block { header, positions: block.positions, references: block.references },
            },
            10 => Input::Committed { height: block.height },
            11 => Input::Work(Work {
                waiting: block.references,
                full: self.random.percent(50),
                action_due: self.random.percent(20),
                expiry_waits: self.random.percent(20),
            }),
            12 => Input::Health { ok: self.random.percent(80) },
            13 => Input::Fetched { found: Found::Batches { block: block.id } },
            14 => Input::Executed { block: block.id, verdict: Verdict::Failed { reason: "wild".into() } },
            15 => Input::Executed { block: block.id, verdict: Verdict::OtherReferences },
            _ => Input::Tick,
        }
    }

    fn check(&mut self, puppet: &mut Puppet, effects: &[Effect]) {
        for statement in statements(effects) {
            for earlier in &self.signed {
                assert_eq!(conflict(earlier, &statement), None, "{earlier:?}, then {statement:?}");
            }
            self.signed.push(statement);
        }
        if self.random.percent(80) {
            let again = puppet.loop_back(effects);
            if !statements(&again).is_empty() {
                self.check(puppet, &again);
            }
        }
        assert!(puppet.core.deadline().is_none_or(|deadline| deadline > puppet.now));
    }
}

#[test]
fn anything_may_be_said_in_any_order() {
    let mut signed = 0;
    for seed in 0..600 {
        // Not one of the three in whose name certificates are made.
        let mut puppet = Puppet::new(4, 3);
        let mut wild =
            Wild { random: Random::new(seed), blocks: Vec::new(), certificates: Vec::new(), signed: Vec::new() };
        for _ in 0..120 {
            puppet.now += [0, 5, 400, 2_000][wild.random.between(0, 3) as usize];
            let effects = match wild.random.between(0, 2) {
                0 => {
                    let (signer, statement) = (wild.peer(), wild.statement(&mut puppet));
                    puppet.hear(signer, Message::Vote(Vote { statement, signer, signature: name_of(signer) }))
                }
                1 => {
                    let (from, message) = (wild.peer(), wild.message(&mut puppet));
                    puppet.hear(from, message)
                }
                _ => {
                    let input = wild.input(&mut puppet);
                    puppet.step(input)
                }
            };
            wild.check(&mut puppet, &effects);
            if !puppet.core.is_signing() {
                break;
            }
        }
        signed += wild.signed.len();
    }
    assert!(signed > 1_000, "only {signed} votes were made");
}
