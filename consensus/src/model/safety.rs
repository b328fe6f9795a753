//! Agreement. Votes of honest authorities are a growing set that anybody may have seen any part of; the votes of f
//! others are there whenever they help to make a certificate. Turn order is not even assumed.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use mingzhang_ledger::authority::{AuthoritySet, Parameters, quorum, tolerated_faults};
use mingzhang_ledger::certificate::{FinalCert, Signers};
use mingzhang_ledger::crypto::Signature;
use mingzhang_ledger::header::Header;
use stateright::{Model, Property};

use crate::justification::{EndorseCert, Just, Parent, SkipCert};
use crate::mutants;
use crate::safety::{Endorsed, SafetyRecord, VoteBook};
use crate::statement::Statement;
use crate::{Epoch, Opening};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An equivocating first proposer.
    Plain,
    /// Every block under two justifications, and a second block.
    TwoJusts,
    /// A boundary block that is proposed again, and others beside it.
    Boundary,
    /// As `Boundary`, and the epoch that it opens, of as many authorities.
    TwoEpochs,
}

/// The boundary block, in the worlds that have one.
const BOUNDARY: u64 = 0;

/// A block that may be endorsed in one turn under one justification.
#[derive(Debug, Clone)]
struct Vertex {
    /// Turns of the second epoch go on counting here.
    slot: usize,
    block: u64,
    /// None: the block that opened the epoch.
    parent: Option<usize>,
    endorsed: Endorsed,
    certificate: EndorseCert,
}

/// Most turns of a world, over its epochs.
const MAX_SLOTS: usize = 4;

/// What one honest authority recorded in one turn; vertices by their place in the model's list. Small, because millions
/// of states hold a dozen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Said {
    endorsed: Option<u8>,
    late: bool,
    skipped: bool,
    confirmed: Option<u8>,
}

/// By honest authority and slot. Authorities are alike, so their order is the smallest one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    said: Vec<[Said; MAX_SLOTS]>,
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

/// Who says what, in which slot.
pub type Step = (usize, usize, Word);

pub struct Safety {
    epochs: Vec<Epoch>,
    members: usize,
    /// Of each epoch.
    turns: usize,
    vertices: Vec<Vertex>,
    /// Answers of the book, by what was said in the slot and what is to be said.
    answers: RwLock<BTreeMap<(Said, usize, Word), Option<Said>>>,
}

fn set_of(number: u64, members: usize) -> Arc<AuthoritySet> {
    let member = |index: usize| mingzhang_ledger::authority::Member {
        agency: format!("agency-{index}"),
        consensus_key: mingzhang_ledger::crypto::PublicKey([index as u8; 32]),
        sealing_key: mingzhang_ledger::crypto::PublicKey([index as u8; 32]),
        peer_key: mingzhang_ledger::crypto::PublicKey([index as u8; 32]),
        url: String::new(),
    };
    let members = (0..members).map(member).collect();
    Arc::new(AuthoritySet { epoch: number, parameters: Parameters::default(), members })
}

pub(super) fn first_epoch(members: usize) -> Epoch {
    Epoch { chain: [7; 32], set: set_of(0, members), opening: Opening::Genesis { block: [9; 32] } }
}

fn signers(members: usize, first: usize) -> Signers {
    let indices = (0..members).map(|step| (first + step) % members).take(quorum(members));
    Signers::new(indices.map(|index| (index as u16, Signature([index as u8; 64]))))
}

impl Safety {
    /// `turns`: of each epoch.
    pub fn new(members: usize, turns: usize, kind: Kind) -> Self {
        let epochs = vec![first_epoch(members)];
        let mut safety = Self { epochs, members, turns, vertices: Vec::new(), answers: RwLock::default() };
        let mut next_block = BOUNDARY;
        for slot in 0..turns {
            safety.add_slot(slot, &mut next_block, kind);
        }
        if kind == Kind::TwoEpochs {
            safety.open_second_epoch();
            for slot in turns..2 * turns {
                safety.add_slot(slot, &mut next_block, Kind::Plain);
            }
        }
        safety
    }

    /// The boundary block opens it, in whichever turn it becomes final.
    fn open_second_epoch(&mut self) {
        let Statement::Endorse { turn, height, block, .. } = self.vertices[0].endorsed.statement() else { return };
        let certificate = FinalCert { epoch: 0, turn, height, block, signers: signers(self.members, 0) };
        let opening = Opening::Boundary { certificate, previous: Arc::clone(&self.epochs[0].set) };
        self.epochs.push(Epoch { chain: [7; 32], set: set_of(1, self.members), opening });
    }

    /// Every block that may be proposed in a slot, on whichever parent its epoch has.
    fn add_slot(&mut self, slot: usize, next_block: &mut u64, kind: Kind) {
        let below = (0..self.vertices.len()).filter(|at| self.epoch_of(self.vertices[*at].slot) == self.epoch_of(slot));
        let parents: Vec<Option<usize>> = std::iter::once(None).chain(below.map(Some)).collect();
        let has_boundary = matches!(kind, Kind::Boundary | Kind::TwoEpochs);
        for parent in parents {
            // Only itself may follow the boundary block.
            let again = parent.map(|at| self.vertices[at].block).filter(|block| has_boundary && *block == BOUNDARY);
            let variants: &[(u64, usize)] = match kind {
                _ if again.is_some() => &[(0, 0)],
                Kind::Boundary | Kind::TwoEpochs if parent.is_some() => &[],
                Kind::Boundary | Kind::TwoEpochs => &[(0, 0)],
                // Two blocks in the first turn, then one on every parent: conflicts come of the parents.
                Kind::Plain if self.turn_of(slot) == 1 => &[(0, 0), (1, 0)],
                Kind::Plain => &[(0, 0)],
                Kind::TwoJusts => &[(0, 0), (0, 1), (1, 0)],
            };
            for (block, just) in variants {
                let block = again.unwrap_or(*next_block + block);
                self.add(slot, parent, (block, *just));
            }
            *next_block += 2;
        }
    }

    fn epoch_of(&self, slot: usize) -> usize {
        slot / self.turns
    }

    fn turn_of(&self, slot: usize) -> u64 {
        (slot % self.turns + 1) as u64
    }

    /// Slots between a vertex's parent and itself.
    fn between(&self, parent: Option<usize>, slot: usize) -> std::ops::Range<usize> {
        parent.map_or(self.epoch_of(slot) * self.turns, |at| self.vertices[at].slot + 1)..slot
    }

    fn add(&mut self, slot: usize, parent: Option<usize>, (block, variant): (u64, usize)) {
        let (turn, number) = (self.turn_of(slot), self.epoch_of(slot) as u64);
        let epoch = self.epochs[number as usize].clone();
        let below = parent.map_or(epoch.opening_height(), |at| self.vertices[at].endorsed.header.height);
        let header = Header {
            height: 1 + below,
            epoch: number,
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
        let skips = self
            .between(parent, slot)
            .map(|skipped| {
                let signers = signers(self.members, variant);
                Arc::new(SkipCert { epoch: number, turn: self.turn_of(skipped), signers })
            })
            .collect();
        let parent_of = match (parent, &epoch.opening) {
            (None, Opening::Boundary { certificate, .. }) => Parent::Start(Some(certificate.clone())),
            (None, _) => Parent::Start(None),
            (Some(at), _) => {
                let certificate = self.vertices[at].certificate.clone();
                Parent::Endorsed(EndorseCert { signers: signers(self.members, variant), ..certificate })
            }
        };
        // The opening of an epoch has one justification only; a second one is told apart by its hash.
        let just = Just { epoch: number, turn, parent: parent_of, skips };
        let mut just_hash = just.hash(&epoch);
        just_hash[0] ^= variant as u8;
        let endorsed = Endorsed { turn, header, references: Vec::new(), just, just_hash };
        let (height, id) = (endorsed.header.height, endorsed.block());
        let signers = signers(self.members, 0);
        let certificate = EndorseCert { epoch: number, turn, height, block: id, just: just_hash, signers };
        self.vertices.push(Vertex { slot, block, parent, endorsed, certificate });
    }

    fn faulty(&self) -> usize {
        tolerated_faults(self.members)
    }

    fn is_quorum(&self, honest: usize) -> bool {
        honest + self.faulty() >= quorum(self.members)
    }

    fn count(&self, state: &State, slot: usize, says: impl Fn(&Said) -> bool) -> usize {
        // Votes of the same turn of the epoch before.
        let older = slot.checked_sub(self.turns).filter(|_| mutants::OLD_EPOCH_VOTES.on());
        let in_time = |said: &&[Said; MAX_SLOTS]| says(&said[slot]) || older.is_some_and(|slot| says(&said[slot]));
        state.said.iter().filter(in_time).count()
    }

    fn certified(&self, state: &State, vertex: usize) -> bool {
        let says = |said: &Said| said.endorsed == Some(vertex as u8) && !said.late;
        self.is_quorum(self.count(state, self.vertices[vertex].slot, says))
    }

    fn skipped(&self, state: &State, slot: usize) -> bool {
        self.is_quorum(self.count(state, slot, |said| said.skipped))
    }

    /// Whether the justification of a vertex can be shown: by its certificates, or because it passes without them.
    fn starts(&self, state: &State, vertex: usize) -> bool {
        let Vertex { slot, parent, endorsed, .. } = &self.vertices[vertex];
        let opened = self.epoch_of(*slot) == 0 || self.is_open(state);
        let shown = |slot: usize| self.skipped(state, slot);
        let complete = self.between(*parent, *slot).all(shown) || {
            let first = self.epoch_of(*slot) * self.turns;
            let skips = endorsed.just.skips.iter().filter(|skip| shown(first + skip.turn as usize - 1));
            Just { skips: skips.cloned().collect(), ..endorsed.just.clone() }.check_complete().is_ok()
        };
        opened && complete && parent.is_none_or(|parent| self.certified(state, parent))
    }

    /// The boundary block is final, so that the second epoch may begin.
    fn is_open(&self, state: &State) -> bool {
        let mut first = (0..self.vertices.len()).filter(|at| self.vertices[*at].slot < self.turns);
        first.any(|at| self.vertices[at].block == BOUNDARY && self.is_final(state, at))
    }

    /// A quorum of confirmations for the block of a vertex in its turn.
    fn is_final(&self, state: &State, vertex: usize) -> bool {
        let Vertex { slot, block, .. } = self.vertices[vertex];
        let confirms = |said: &Said| said.confirmed.is_some_and(|at| self.vertices[usize::from(at)].block == block);
        let honest = if mutants::CONFIRM_WITHOUT_TURN.on() {
            state.said.iter().filter(|said| said.iter().any(confirms)).count()
        } else {
            self.count(state, slot, confirms)
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
        // Below the second epoch lies the block that opened it.
        self.epoch_of(self.vertices[vertex].slot) == 1 && block == BOUNDARY
    }

    /// Final blocks and certified ones at the same turn or later are on one chain.
    fn agrees(&self, state: &State) -> bool {
        (0..self.vertices.len()).filter(|at| self.is_final(state, *at)).all(|at| {
            let Vertex { slot, block, .. } = self.vertices[at];
            let later = (0..self.vertices.len()).filter(|w| self.vertices[*w].slot >= slot);
            later.filter(|w| self.certified(state, *w)).all(|w| self.is_ancestor(block, w))
        })
    }

    fn skip_in(&self, slot: usize) -> SafetyRecord {
        SafetyRecord::Skipped { epoch: self.epoch_of(slot) as u64, turn: self.turn_of(slot) }
    }

    fn records(&self, said: &Said, slot: usize) -> Vec<SafetyRecord> {
        let endorsed = |at: u8| Box::new(self.vertices[usize::from(at)].endorsed.clone());
        let mut records = Vec::new();
        if let (Some(at), false) = (said.endorsed, said.late) {
            records.push(SafetyRecord::Endorsed(endorsed(at)));
        }
        let confirmed = said.confirmed.map(|at| SafetyRecord::Confirmed {
            certificate: self.vertices[usize::from(at)].certificate.clone(),
            late: said.endorsed.filter(|_| said.late).map(endorsed),
        });
        let skipped = said.skipped.then(|| self.skip_in(slot));
        records.extend(confirmed);
        records.extend(skipped);
        records
    }

    /// What a slot's entry becomes if the crate's own book admits the record.
    fn ask_book(&self, said: Said, slot: usize, word: Word) -> Option<Said> {
        let mut book = VoteBook::new(&self.epochs[self.epoch_of(slot)], 0);
        for record in self.records(&said, slot) {
            book.admit(&record).ok()?;
        }
        let mut next = said;
        let record = match word {
            Word::Forget => return Some(Said::default()),
            Word::Skip => {
                next.skipped = true;
                self.skip_in(slot)
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
        let turn = self.turn_of(slot);
        let kept = book.entry(turn).and_then(|entry| entry.endorsed.as_ref()).map(Endorsed::statement);
        let same = (0..self.vertices.len()).find(|at| Some(self.vertices[*at].endorsed.statement()) == kept);
        next.endorsed = same.map(|at| at as u8);
        next.late = book.entry(turn).is_some_and(|entry| entry.late);
        Some(next)
    }

    fn answer(&self, said: Said, slot: usize, word: Word) -> Option<Said> {
        let question = (said, slot, word);
        if let Some(answer) = self.answers.read().expect("nobody panics while holding the answers").get(&question) {
            return *answer;
        }
        let answer = self.ask_book(said, slot, word);
        self.answers.write().expect("nobody panics while holding the answers").insert(question, answer);
        answer
    }
}

impl Model for Safety {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let honest = self.members - self.faulty();
        vec![State { said: vec![[Said::default(); MAX_SLOTS]; honest], overwritten: false }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        let ready: Vec<bool> = (0..self.vertices.len()).map(|at| self.starts(state, at)).collect();
        let certified: Vec<bool> = (0..self.vertices.len()).map(|at| self.certified(state, at)).collect();
        let slots = self.epochs.len() * self.turns;
        let open = self.epochs.len() == 1 || self.is_open(state);
        for (node, said) in state.said.iter().enumerate() {
            // Who has seen the boundary block final signs nothing of the first epoch any more; not all have seen it.
            for (slot, entry) in said.iter().copied().enumerate().take(if open { slots } else { self.turns }) {
                let mut words = vec![Word::Skip];
                for at in (0..self.vertices.len()).filter(|at| self.vertices[*at].slot == slot) {
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
                let changes = |word: &Word| self.answer(entry, slot, *word).is_some_and(|next| next != entry);
                actions.extend(words.into_iter().filter(changes).map(|word| (node, slot, word)));
            }
        }
    }

    fn next_state(&self, state: &State, (node, slot, word): Step) -> Option<State> {
        let mut next = state.clone();
        let entry = &mut next.said[node][slot];
        let before = *entry;
        *entry = self.answer(before, slot, word)?;
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
                finals.into_iter().all(|at| !model.skipped(state, model.vertices[at].slot))
            }),
        ]
    }
}
