//! One real core on strings: everything around it is said by the test, one fact at a time.

use std::sync::Arc;

use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::certificate::{FinalCert, Signers};
use mingzhang_ledger::crypto::{Signature, sha256};
use mingzhang_ledger::header::Header;

use super::ledger::{Contents, Executed};
use super::{START_MS, test_epoch};
use crate::justification::{EndorseCert, Just, SkipCert};
use crate::message::{Message, Proposal};
use crate::safety::SafetyRecord;
use crate::statement::{Statement, Vote};
use crate::verify::Verified;
use crate::{Effect, Epoch, Input, Peer, Restored, Setup, Turn, Turns, Verdict, Work};

/// The pretended signature of an authority.
pub fn name_of(signer: Peer) -> Signature {
    Signature([signer as u8; 64])
}

pub struct Puppet {
    pub core: Turns,
    pub now: u64,
    pub me: Peer,
    pub epoch: Epoch,
    pub contents: Contents,
    pub genesis: Executed,
}

impl Puppet {
    pub fn new(members: u16, me: Peer) -> Self {
        let epoch = test_epoch(members);
        let restored = Restored::fresh(&epoch, START_MS);
        Self::restored(members, me, restored).0
    }

    pub fn restored(members: u16, me: Peer, restored: Restored) -> (Self, Vec<Effect>) {
        let epoch = test_epoch(members);
        let setup = Setup { epoch: epoch.clone(), me: Some(me), relay_delay_ms: 100, retransmit_ms: 1_000 };
        let now = START_MS + 1_000;
        let (core, effects) = Turns::restore(now, setup, restored);
        let genesis = Executed::genesis(&epoch, START_MS);
        let mut puppet = Self { core, now, me, epoch, contents: Contents::new(), genesis };
        for peer in (0..members).filter(|peer| *peer != me) {
            puppet.step(Input::Connected { peer });
        }
        (puppet, effects)
    }

    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        self.core.step(self.now, input)
    }

    pub fn wait(&mut self, span_ms: u64) -> Vec<Effect> {
        self.now += span_ms;
        self.step(Input::Tick)
    }

    pub fn hear(&mut self, from: Peer, message: Message) -> Vec<Effect> {
        self.step(Input::Message { from, message: Verified::unchecked(message) })
    }

    pub fn vote(&mut self, signer: Peer, statement: Statement) -> Vec<Effect> {
        self.hear(signer, Message::Vote(Vote { statement, signer, signature: name_of(signer) }))
    }

    /// The same statement by several.
    pub fn votes(&mut self, signers: &[Peer], statement: Statement) -> Vec<Effect> {
        signers.iter().flat_map(|signer| self.vote(*signer, statement)).collect()
    }

    /// The signed copies of the core's own votes return to it.
    pub fn loop_back(&mut self, effects: &[Effect]) -> Vec<Effect> {
        let statements = statements(effects);
        statements.into_iter().flat_map(|statement| self.vote(self.me, statement)).collect()
    }

    pub fn batch(&mut self, author: u16, seq: u64) -> Reference {
        let number = u64::from(author) * 1_000 + seq;
        let hash = sha256(&[&number.to_be_bytes()]);
        self.contents.insert(hash, vec![number]);
        Reference { author, run: 1, seq, records: 1, bytes: 8, hash }
    }

    pub fn have_work(&mut self, references: Vec<Reference>) -> Vec<Effect> {
        self.step(Input::Work(Work { waiting: references, ..Work::default() }))
    }

    /// The block that an honest proposer makes at a turn, now.
    pub fn block(&self, parent: &Executed, parent_turn: Turn, turn: Turn, references: &[Reference]) -> Executed {
        let words = (turn, parent_turn, self.epoch.proposer(turn), self.now);
        parent.child(&self.epoch, words, references, &self.contents).expect("the test's references are right")
    }

    pub fn proposal(&self, header: Header, references: &[Reference], just: &Just) -> Message {
        Message::Proposal(Box::new(Proposal {
            header,
            references: references.to_vec(),
            batches: Vec::new(),
            just: just.clone(),
            signature: name_of(self.epoch.proposer(just.turn)),
        }))
    }

    pub fn propose(&mut self, block: &Executed, just: &Just) -> Vec<Effect> {
        let message = self.proposal(block.header.expect("not genesis"), &block.references, just);
        self.hear(self.epoch.proposer(just.turn), message)
    }

    pub fn executed(&mut self, block: &Executed, verdict: Verdict) -> Vec<Effect> {
        self.step(Input::Executed { block: block.id, verdict })
    }

    pub fn valid(&mut self, block: &Executed) -> Vec<Effect> {
        self.executed(block, Verdict::Valid { acted: false })
    }

    pub fn endorse(&self, block: &Executed, just: &Just) -> Statement {
        Statement::Endorse {
            epoch: 0,
            turn: just.turn,
            height: block.height,
            block: block.id,
            just: just.hash(&self.epoch),
        }
    }

    pub fn endorse_cert(&self, block: &Executed, just: &Just, signers: &[Peer]) -> EndorseCert {
        EndorseCert {
            epoch: 0,
            turn: just.turn,
            height: block.height,
            block: block.id,
            just: just.hash(&self.epoch),
            signers: by(signers),
        }
    }

    pub fn final_cert(&self, block: &Executed, turn: Turn, signers: &[Peer]) -> FinalCert {
        FinalCert { epoch: 0, turn, height: block.height, block: block.id, signers: by(signers) }
    }
}

pub fn by(signers: &[Peer]) -> Signers {
    Signers::new(signers.iter().map(|signer| (*signer, name_of(*signer))))
}

pub fn skip(turn: Turn) -> Statement {
    Statement::Skip { epoch: 0, turn }
}

pub fn skip_cert(turn: Turn, signers: &[Peer]) -> Arc<SkipCert> {
    Arc::new(SkipCert { epoch: 0, turn, signers: by(signers) })
}

/// What the core asked to be signed.
pub fn statements(effects: &[Effect]) -> Vec<Statement> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Vote { record, .. } = effect { Some(record.statement()) } else { None })
        .collect()
}

pub fn records(effects: &[Effect]) -> Vec<SafetyRecord> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Vote { record, .. } = effect { Some(record.clone()) } else { None })
        .collect()
}
