//! Agreement. Votes of honest authorities are a growing set that anybody may have seen any part of; the votes of f
//! others are there whenever they help to make a certificate. Turn order is not even assumed.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use mingzhang_ledger::authority::{AuthoritySet, Parameters, quorum, tolerated_faults};
use mingzhang_ledger::certificate::Signers;
use mingzhang_ledger::crypto::Signature;
use mingzhang_ledger::header::Header;
use stateright::{Model, Property};

use crate::justification::{EndorseCert, Just, Parent, SkipCert};
use crate::mutants;
use crate::safety::{Endorsed, SafetyRecord, VoteBook};
use crate::{Epoch, Opening};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An equivocating first proposer.
    Plain,
    /// Every block under two justifications, and a second block.
    TwoJusts,
    /// A boundary block that is proposed again, and others beside it.
    Boundary,
}

/// A block that may be endorsed in one turn under one justification.
#[derive(Debug, Clone)]
struct Vertex {
    turn: u64,
    block: u64,
    parent: Option<usize>,
    endorsed: Endorsed,
    certificate: EndorseCert,
}

/// Most turns of a world.
const MAX_TURNS: usize = 3;

/// What one honest authority recorded in one turn; vertices by their place in the model's list. Small, because millions
/// of states hold a dozen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Said {
    endorsed: Option<u8>,
    late: bool,
    skipped: bool,
    confirmed: Option<u8>,
}

/// By honest authority and turn. Authorities are alike, so their order is the smallest one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    said: Vec<[Said; MAX_TURNS]>,
    /// An endorsement was replaced by another.
    overwritten: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    Endorse(u8),
    Skip,
    Confirm {
        vertex: u8,
        late: bool,
    },
    /// A restart that finds no records: only a deliberate fault does that.
    Forget,
}

pub type Step = (usize, u64, Word);

pub struct Safety {
    epoch: Epoch,
    members: usize,
    turns: u64,
    vertices: Vec<Vertex>,
    /// Answers of the book, by what was said in the turn and what is to be said.
    answers: RwLock<BTreeMap<(Said, u64, Word), Option<Said>>>,
}

fn epoch_of(members: usize) -> Epoch {
    let member = |index: usize| mingzhang_ledger::authority::Member {
        agency: format!("agency-{index}"),
        consensus_key: mingzhang_ledger::crypto::PublicKey([index as u8; 32]),
        sealing_key: mingzhang_ledger::crypto::PublicKey([index as u8; 32]),
        peer_key: mingzhang_ledger::crypto::PublicKey([index as u8; 32]),
        url: String::new(),
    };
    let set = AuthoritySet { epoch: 0, parameters: Parameters::default(), members: (0..members).map(member).collect() };
    Epoch { chain: [7; 32], set: Arc::new(set), opening: Opening::Genesis { block: [9; 32] } }
}

fn signers(members: usize, first: usize) -> Signers {
    let indices = (0..members).map(|step| (first + step) % members).take(quorum(members));
    Signers::new(indices.map(|index| (index as u16, Signature([index as u8; 64]))))
}

impl Safety {
    pub fn new(members: usize, turns: u64, kind: Kind) -> Self {
        let mut safety =
            Self { epoch: epoch_of(members), members, turns, vertices: Vec::new(), answers: RwLock::default() };
        let mut next_block = 0;
        for turn in 1..=turns {
            let below = safety.vertices.len();
            let parents: Vec<Option<usize>> = std::iter::once(None).chain((0..below).map(Some)).collect();
            for parent in parents {
                let again = parent.map(|at| safety.vertices[at].block).filter(|block| {
                    // Block 0 is the boundary block: only itself may follow it.
                    kind == Kind::Boundary && *block == 0
                });
                let variants: &[(u64, usize)] = match (kind, again) {
                    (_, Some(_)) => &[(0, 0)],
                    (Kind::Boundary, None) if parent.is_some() => &[],
                    (Kind::Boundary, None) => &[(0, 0)],
                    // Two blocks in the first turn, then one on every parent: conflicts come of the parents.
                    (Kind::Plain, None) if turn == 1 => &[(0, 0), (1, 0)],
                    (Kind::Plain, None) => &[(0, 0)],
                    (Kind::TwoJusts, None) => &[(0, 0), (0, 1), (1, 0)],
                };
                for (block, just) in variants {
                    let block = again.unwrap_or(next_block + block);
                    safety.add(turn, parent, (block, *just));
                }
                next_block += 2;
            }
        }
        safety
    }

    fn add(&mut self, turn: u64, parent: Option<usize>, (block, variant): (u64, usize)) {
        let header = Header {
            height: 1 + parent.map_or(0, |at| self.vertices[at].endorsed.header.height),
            epoch: 0,
            turn,
            parent_turn: 0,
            proposer: 0,
            time_ms: 0,
            first_index: 1,
            entry_count: 0,
            log_root: [0; 32],
            state_root: [0; 32],
            parent: [0; 32],
            batches: [0; 32],
            set_hash: [0; 32],
            next_set_hash: [0; 32],
            state_size: block,
        };
        let header = self.vertices.iter().find(|v| v.block == block).map_or(header, |same| same.endorsed.header);
        let from = parent.map_or(0, |at| self.vertices[at].turn);
        let skips = (from + 1..turn)
            .map(|skipped| SkipCert { epoch: 0, turn: skipped, signers: signers(self.members, variant) })
            .collect();
        let parent_of = match parent {
            None => Parent::Start(None),
            Some(at) => {
                let certificate = self.vertices[at].certificate.clone();
                Parent::Endorsed(EndorseCert { signers: signers(self.members, variant), ..certificate })
            }
        };
        // The opening of an epoch has one justification only; a second one is told apart by its hash.
        let just = Just { epoch: 0, turn, parent: parent_of, skips };
        let mut just_hash = just.hash(&self.epoch);
        just_hash[0] ^= variant as u8;
        let endorsed = Endorsed { turn, header, references: Vec::new(), just, just_hash };
        let (height, id) = (endorsed.header.height, endorsed.block());
        let signers = signers(self.members, 0);
        let certificate = EndorseCert { epoch: 0, turn, height, block: id, just: just_hash, signers };
        self.vertices.push(Vertex { turn, block, parent, endorsed, certificate });
    }

    fn faulty(&self) -> usize {
        tolerated_faults(self.members)
    }

    fn is_quorum(&self, honest: usize) -> bool {
        honest + self.faulty() >= quorum(self.members)
    }

    fn count(state: &State, turn: u64, says: impl Fn(&Said) -> bool) -> usize {
        state.said.iter().filter(|said| says(&said[turn as usize - 1])).count()
    }

    fn certified(&self, state: &State, vertex: usize) -> bool {
        let says = |said: &Said| said.endorsed == Some(vertex as u8) && !said.late;
        self.is_quorum(Self::count(state, self.vertices[vertex].turn, says))
    }

    fn skipped(&self, state: &State, turn: u64) -> bool {
        self.is_quorum(Self::count(state, turn, |said| said.skipped))
    }

    /// Whether the justification of a vertex can be shown: by its certificates, or because it passes without them.
    fn starts(&self, state: &State, vertex: usize) -> bool {
        let Vertex { turn, parent, endorsed, .. } = &self.vertices[vertex];
        let from = parent.map_or(0, |at| self.vertices[at].turn);
        let shown = |turn: u64| self.skipped(state, turn);
        let complete = (from + 1..*turn).all(shown) || {
            let skips = endorsed.just.skips.iter().filter(|skip| shown(skip.turn)).cloned().collect();
            Just { skips, ..endorsed.just.clone() }.check_complete().is_ok()
        };
        complete && parent.is_none_or(|parent| self.certified(state, parent))
    }

    /// A quorum of confirmations for the block of a vertex in its turn.
    fn is_final(&self, state: &State, vertex: usize) -> bool {
        let Vertex { turn, block, .. } = self.vertices[vertex];
        let confirms = |said: &Said| said.confirmed.is_some_and(|at| self.vertices[usize::from(at)].block == block);
        let honest = if mutants::CONFIRM_WITHOUT_TURN.on() {
            state.said.iter().filter(|said| said.iter().any(confirms)).count()
        } else {
            Self::count(state, turn, confirms)
        };
        self.is_quorum(honest)
    }

    fn is_ancestor(&self, block: u64, vertex: usize) -> bool {
        let mut at = Some(vertex);
        while let Some(here) = at {
            if self.vertices[here].block == block {
                return true;
            }
            at = self.vertices[here].parent;
        }
        false
    }

    /// Final blocks and certified ones at the same turn or later are on one chain.
    fn agrees(&self, state: &State) -> bool {
        (0..self.vertices.len()).filter(|at| self.is_final(state, *at)).all(|at| {
            let Vertex { turn, block, .. } = self.vertices[at];
            let later = (0..self.vertices.len()).filter(|w| self.vertices[*w].turn >= turn);
            later.filter(|w| self.certified(state, *w)).all(|w| self.is_ancestor(block, w))
        })
    }

    fn records(&self, said: &Said, turn: u64) -> Vec<SafetyRecord> {
        let endorsed = |at: u8| Box::new(self.vertices[usize::from(at)].endorsed.clone());
        let mut records = Vec::new();
        if let (Some(at), false) = (said.endorsed, said.late) {
            records.push(SafetyRecord::Endorsed(endorsed(at)));
        }
        let confirmed = said.confirmed.map(|at| SafetyRecord::Confirmed {
            certificate: self.vertices[usize::from(at)].certificate.clone(),
            late: said.endorsed.filter(|_| said.late).map(endorsed),
        });
        let skipped = said.skipped.then_some(SafetyRecord::Skipped { epoch: 0, turn });
        records.extend(confirmed);
        records.extend(skipped);
        records
    }

    /// What a turn's entry becomes if the crate's own book admits the record.
    fn ask_book(&self, said: Said, turn: u64, word: Word) -> Option<Said> {
        let mut book = VoteBook::new(&self.epoch, 0);
        for record in self.records(&said, turn) {
            book.admit(&record).ok()?;
        }
        let mut next = said;
        let record = match word {
            Word::Forget => return Some(Said::default()),
            Word::Skip => {
                next.skipped = true;
                SafetyRecord::Skipped { epoch: 0, turn }
            }
            Word::Endorse(at) => {
                next.endorsed = Some(at);
                SafetyRecord::Endorsed(Box::new(self.vertices[usize::from(at)].endorsed.clone()))
            }
            Word::Confirm { vertex, late } => {
                next.confirmed = Some(vertex);
                let Vertex { endorsed, certificate, .. } = self.vertices[usize::from(vertex)].clone();
                SafetyRecord::Confirmed { certificate, late: late.then(|| Box::new(endorsed)) }
            }
        };
        book.admit(&record).ok()?;
        let kept = book.entry(turn).and_then(|entry| entry.endorsed.as_ref()).map(Endorsed::statement);
        let same = (0..self.vertices.len()).find(|at| Some(self.vertices[*at].endorsed.statement()) == kept);
        next.endorsed = same.map(|at| at as u8);
        next.late = book.entry(turn).is_some_and(|entry| entry.late);
        Some(next)
    }

    fn answer(&self, said: Said, turn: u64, word: Word) -> Option<Said> {
        let question = (said, turn, word);
        if let Some(answer) = self.answers.read().expect("nobody panics while holding the answers").get(&question) {
            return *answer;
        }
        let answer = self.ask_book(said, turn, word);
        self.answers.write().expect("nobody panics while holding the answers").insert(question, answer);
        answer
    }
}

impl Model for Safety {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let honest = self.members - self.faulty();
        vec![State { said: vec![[Said::default(); MAX_TURNS]; honest], overwritten: false }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        let ready: Vec<bool> = (0..self.vertices.len()).map(|at| self.starts(state, at)).collect();
        let certified: Vec<bool> = (0..self.vertices.len()).map(|at| self.certified(state, at)).collect();
        for (node, said) in state.said.iter().enumerate() {
            for turn in 1..=self.turns {
                let entry = said[turn as usize - 1];
                let mut words = vec![Word::Skip];
                for at in (0..self.vertices.len()).filter(|at| self.vertices[*at].turn == turn) {
                    if ready[at] {
                        words.push(Word::Endorse(at as u8));
                    }
                    if certified[at] && entry.confirmed.is_none() {
                        words.extend([false, true].map(|late| Word::Confirm { vertex: at as u8, late }));
                    }
                }
                if mutants::RESTART_WITHOUT_RECORDS.on() {
                    words.push(Word::Forget);
                }
                let changes = |word: &Word| self.answer(entry, turn, *word).is_some_and(|next| next != entry);
                actions.extend(words.into_iter().filter(changes).map(|word| (node, turn, word)));
            }
        }
    }

    fn next_state(&self, state: &State, (node, turn, word): Step) -> Option<State> {
        let mut next = state.clone();
        let entry = &mut next.said[node][turn as usize - 1];
        let before = *entry;
        *entry = self.answer(before, turn, word)?;
        let replaced = before.endorsed.is_some() && before.endorsed != entry.endorsed;
        next.overwritten |= replaced && word != Word::Forget;
        next.said.sort();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("agreement", |model: &Self, state| model.agrees(state)),
            Property::always("endorsed once", |_: &Self, state: &State| !state.overwritten),
            Property::always("final and skipped exclude each other", |model: &Self, state| {
                let finals = (0..model.vertices.len()).filter(|at| model.is_final(state, *at));
                finals.into_iter().all(|at| !model.skipped(state, model.vertices[at].turn))
            }),
        ]
    }
}
