//! The two cores that decide: the rules of the ledger, on records that a registered officer really signed, and the consensus
//! of one authority, on messages whose signatures all hold. Whatever comes, it says nothing that contradicts itself.

use std::sync::Arc;

use mingzhang_consensus::justification::Just;
use mingzhang_consensus::known::Known;
use mingzhang_consensus::message::Message;
use mingzhang_consensus::safety::VoteBook;
use mingzhang_consensus::statement::{Statement, Vote};
use mingzhang_consensus::verify::{Check, Verified};
use mingzhang_consensus::{Draft, Effect, Found, Input, Restored, Setup, Turns, Verdict, Work};
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::Signature;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::records;
use mingzhang_ledger::state::execute::{BlockContext, Candidate, execute};
use mingzhang_ledger::transaction::{Payload, Transaction};

use super::decoders::good_messages;
use super::fixture;
use crate::chain::{START_MS, secret};

/// Agencies whose officers sign.
const SIGNERS: [&str; 5] = ["finance", "civil", "audit", "rural", "bank"];
/// Longest story of one authority.
const MAX_STEPS: usize = 200;
/// The authority whose core is fuzzed.
const ME: u16 = 2;

/// The first byte chooses who signs, the second which record, the rest is its body.
pub fn rules(bytes: &[u8]) {
    let [who, which, body @ ..] = bytes else { return };
    let Ok(body) = Value::decode(body) else { return };
    let fixture = fixture();
    let count = records::all().count();
    let kind = records::all().nth(usize::from(*which) % count).expect("below their number");
    let agency = SIGNERS[usize::from(*who) % SIGNERS.len()];
    let payload = Payload {
        origin: fixture.chain.origin().into(),
        record_type: kind.name.into(),
        record_id: mingzhang_ledger::state::key::parse_id("FUZZ").expect("a record id"),
        agency: agency.into(),
        expires_at: START_MS + 91_000_000,
        body,
    };
    let Ok(transaction) = Transaction::sign(&payload, &secret(&format!("{agency}/officer"))) else { return };
    let context = BlockContext {
        height: fixture.chain.headers.len() as u64 + 1,
        epoch: 1,
        time_ms: START_MS + 90_000_001,
        first_index: fixture.chain.log.len() as u64,
    };
    let candidate = Candidate { transaction: Arc::new(transaction), verified_with: None };
    let network = &fixture.chain.genesis.founding.network;
    let execution = execute(&fixture.chain.state, network, &context, &[candidate]).expect("the state can be read");
    assert_eq!(execution.records.len() + execution.left_out.len(), 1, "one record, one answer");
    if execution.records.is_empty() {
        assert!(execution.appends.is_empty(), "what is left out leaves no trace");
    }
}

/// Bodies of the records that stand on the chain, for every signer.
pub fn bodies() -> Vec<Vec<u8>> {
    let place = |name: &str| records::all().position(|kind| kind.name == name).expect("a record type");
    let entries = fixture().chain.entries.iter().filter(|entry| entry.first() == Some(&1));
    let transactions = entries.map(|entry| Transaction::decode(&entry[3..]).expect("it is on the log"));
    let body = |transaction: Transaction| {
        let payload = transaction.payload();
        let which = u8::try_from(place(&payload.record_type)).expect("fewer than 256 types");
        [&[1, which][..], &payload.body.encode()].concat()
    };
    transactions.map(body).collect()
}

/// One authority, and what it said so far.
struct Authority {
    core: Turns,
    book: VoteBook,
    now_ms: u64,
    /// What the core waits for.
    asked: Vec<Effect>,
}

/// Bytes as numbers; zero when there are no more.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn number(&mut self) -> u64 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u64::from(*first)
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// A story of steps, each chosen by a byte and told by those that follow.
pub fn engine(bytes: &[u8]) {
    let fixture = fixture();
    let setup = Setup { epoch: fixture.epoch.clone(), me: Some(ME), relay_delay_ms: 100, retransmit_ms: 1_000 };
    let restored = Restored::fresh(&fixture.epoch, START_MS);
    let (core, effects) = Turns::restore(START_MS, setup, restored);
    let book = VoteBook::new(&fixture.epoch, 0);
    let mut authority = Authority { core, book, now_ms: START_MS, asked: Vec::new() };
    authority.perform(effects);
    let mut script = Script(bytes);
    for _ in 0..MAX_STEPS {
        if script.0.is_empty() {
            break;
        }
        authority.live(&mut script);
    }
}

impl Authority {
    fn live(&mut self, script: &mut Script<'_>) {
        let peer = |script: &mut Script<'_>| u16::try_from(script.number() % 4).expect("below four");
        let input = match script.number() % 9 {
            0 => {
                self.now_ms = self.now_ms.saturating_add(script.number().saturating_mul(50));
                Input::Tick
            }
            1 => Input::Connected { peer: peer(script) },
            2 => Input::Disconnected { peer: peer(script) },
            3 => Input::Health { ok: script.number().is_multiple_of(2) },
            4 => Input::Work(Work {
                waiting: Vec::new(),
                full: script.number().is_multiple_of(2),
                action_due: script.number().is_multiple_of(2),
                expiry_waits: script.number().is_multiple_of(2),
            }),
            5 => match self.answer(script) {
                Some(input) => input,
                None => return,
            },
            6 => {
                let length = usize::try_from(script.number() * 4).expect("a small number");
                let Ok(message) = Message::decode(script.take(length), self.core.epoch()) else { return };
                return self.hear(message, peer(script));
            }
            7 => {
                let messages = good_messages();
                let which = usize::try_from(script.number()).expect("a small number") % messages.len();
                return self.hear(messages[which].clone(), peer(script));
            }
            _ => {
                let message = Message::Vote(any_vote(script));
                return self.hear(message, peer(script));
            }
        };
        self.step(input);
    }

    /// A message whose signatures are taken to hold.
    fn hear(&mut self, message: Message, from: u16) {
        // Nobody else has this authority's key: what it did not say is not heard in its name.
        let forged = matches!(&message, Message::Vote(vote) if vote.signer == ME)
            || matches!(&message, Message::Proposal(proposal) if self.core.epoch().proposer(proposal.turn()) == ME);
        if forged || from == ME {
            return;
        }
        let Ok(check) = Check::new(message, self.core.epoch(), &Known::default()) else { return };
        let verdicts = vec![true; check.items().len()];
        if let Ok(message) = check.conclude(&verdicts, self.core.epoch()) {
            self.step(Input::Message { from, message });
        }
    }

    fn step(&mut self, input: Input) {
        let effects = self.core.step(self.now_ms, input);
        self.perform(effects);
    }

    /// Every vote passes a book of its own, comes back signed, and what was asked for is remembered.
    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Vote { record, .. } => {
                    if record.turn() <= self.book.final_turn() {
                        continue;
                    }
                    let fault = self.book.admit(&record).err();
                    assert_eq!(fault, None, "the core contradicts itself: {record:?}");
                    let own = Verified::own(record.vote(ME, Signature([0; 64])));
                    let effects = self.core.step(self.now_ms, Input::Message { from: ME, message: own });
                    self.perform(effects);
                }
                Effect::Commit { ref certificate, .. } => {
                    self.book.finalise(certificate.turn);
                    self.asked.push(effect);
                }
                Effect::Build(_) | Effect::Execute { .. } | Effect::Fetch { .. } => self.asked.push(effect),
                Effect::Note { .. }
                | Effect::Send { .. }
                | Effect::Keep { .. }
                | Effect::Report { .. }
                | Effect::Alarm(_) => {}
            }
        }
        // An answer that never comes is as good a story as any.
        self.asked.truncate(MAX_STEPS);
    }

    /// One of the answers that the core waits for.
    fn answer(&mut self, script: &mut Script<'_>) -> Option<Input> {
        let which = usize::try_from(script.number()).ok()?.checked_rem(self.asked.len())?;
        let verdict = script.number();
        match self.asked.swap_remove(which) {
            Effect::Build(build) if verdict.is_multiple_of(4) => Some(Input::BuildFailed { turn: build.turn }),
            Effect::Build(build) => {
                let header = Header {
                    height: build.height,
                    epoch: 0,
                    turn: build.turn,
                    parent_turn: build.parent_turn,
                    proposer: build.proposer,
                    time_ms: build.time_ms,
                    parent: build.parent,
                    ..fixture().chain.header(1)
                };
                Some(Input::Built { turn: build.turn, draft: Draft { header, references: Vec::new(), acted: true } })
            }
            Effect::Execute { block, .. } => {
                let verdict = match verdict % 7 {
                    0 => Verdict::Invalid { reason: "it is so told".to_owned() },
                    1 => Verdict::MissingBatches { references: Vec::new() },
                    2 => Verdict::MissingParent,
                    3 => Verdict::Failed { reason: "it is so told".to_owned() },
                    4 => Verdict::OtherReferences,
                    _ => Verdict::Valid { acted: verdict > 100 },
                };
                Some(Input::Executed { block, verdict })
            }
            Effect::Commit { certificate: FinalCert { height, .. }, .. } => Some(Input::Committed { height }),
            Effect::Fetch { .. } => {
                let found = Found::OwnBlock { epoch: 0, turn: verdict, time_ms: verdict };
                Some(Input::Fetched { found })
            }
            _ => None,
        }
    }
}

/// A vote of any kind of another authority about a turn and a block nearby.
fn any_vote(script: &mut Script<'_>) -> Vote {
    let fixture = fixture();
    let (kind, turn, signer) = (script.number(), script.number() % 8, script.number());
    let block = match script.number() % 3 {
        0 => fixture.chain.header(1).id(),
        1 => fixture.chain.header(2).id(),
        _ => [7; 32],
    };
    let just = Just::opening(&fixture.epoch).hash(&fixture.epoch);
    let statement = match kind % 3 {
        0 => Statement::Endorse { epoch: 0, turn, height: 1, block, just },
        1 => Statement::Confirm { epoch: 0, turn, height: 1, block },
        _ => Statement::Skip { epoch: 0, turn },
    };
    let signer = u16::try_from(signer % 4).expect("below four");
    Vote { statement, signer, signature: Signature([1; 64]) }
}

/// Turns that go well, are skipped, are passed, and a core that is told everything at once.
pub fn stories() -> Vec<Vec<u8>> {
    let connect = [1, 0, 1, 1, 1, 3];
    let proposal = [7, 0, 1];
    let well =
        [&connect[..], &[4, 1, 0, 1], &proposal, &[5, 0, 5, 8, 0, 1, 0, 0, 0, 8, 0, 1, 1, 0, 1, 8, 0, 1, 3, 0, 3]]
            .concat();
    let skipped =
        [&connect[..], &[4, 1, 0, 1, 0, 255, 8, 2, 1, 0, 0, 0, 8, 2, 1, 1, 0, 1, 8, 2, 1, 3, 0, 3, 0, 255]].concat();
    let told: Vec<u8> = (0..10).flat_map(|which| [7, which, 1, 5, 0, 5, 0, 10]).collect();
    let passed =
        [&connect[..], &[3, 1, 4, 1, 0, 1, 8, 2, 1, 0, 0, 0, 8, 2, 1, 1, 0, 1, 8, 2, 2, 3, 0, 3, 0, 255]].concat();
    let message = good_messages()[4].encode(&fixture().epoch);
    let padded = [&message[..], &vec![0; (4 - message.len() % 4) % 4]].concat();
    let length = u8::try_from(padded.len() / 4).unwrap_or(u8::MAX);
    vec![well, skipped, told, passed, [&[6, length][..], &padded, &[1]].concat()]
}
