//! A pretended ledger: transactions are numbers, a batch is a list of them, and a header follows from its inputs by
//! hashing. Lanes, left-out repeats, sizes and boundary blocks are as in the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::batch::{LanePosition, Reference, batches_digest};
use mingzhang_ledger::crypto::{Hash, sha256};
use mingzhang_ledger::header::Header;

use crate::{BlockId, Build, Epoch, Height, Turn, Verdict, Work, lanes};

/// A transaction with this bit changes the authority set.
pub const CHANGES_SET: u64 = 1 << 62;

const HEARTBEAT_MS: u64 = 3_600_000;

/// The set of an epoch: the same members, a parameter that differs.
pub fn set_of(genesis: &Epoch, epoch: u64) -> AuthoritySet {
    let mut set = AuthoritySet::clone(&genesis.set);
    set.epoch = epoch;
    set.parameters.heartbeat_ms = HEARTBEAT_MS + epoch;
    set
}

/// A block with all that its children need.
#[derive(Debug, Clone)]
pub struct Executed {
    pub height: Height,
    pub id: BlockId,
    pub time_ms: u64,
    pub header: Option<Header>,
    pub references: Vec<Reference>,
    pub positions: Vec<LanePosition>,
    pub spent: Rc<BTreeSet<u64>>,
    state_root: Hash,
    tree_size: u64,
}

/// Contents of every batch ever made, by hash.
pub type Contents = BTreeMap<Hash, Vec<u64>>;

impl Executed {
    pub fn genesis(epoch: &Epoch, time_ms: u64) -> Self {
        Self {
            height: 0,
            id: epoch.opening_block(),
            time_ms,
            header: None,
            references: Vec::new(),
            positions: vec![LanePosition::default(); epoch.members()],
            spent: Rc::default(),
            state_root: [0; 32],
            tree_size: 1,
        }
    }

    pub fn is_boundary(&self) -> bool {
        self.header.is_some_and(|header| header.is_boundary())
    }

    /// Lane positions for a child in this epoch: all anew where the epoch is.
    pub fn positions_in(&self, epoch: u64) -> Vec<LanePosition> {
        if self.header.is_some_and(|header| header.epoch != epoch) {
            vec![LanePosition::default(); self.positions.len()]
        } else {
            self.positions.clone()
        }
    }

    /// The one block that follows from these words, or the reason why none does.
    pub fn child(
        &self,
        epoch: &Epoch,
        words: (u64, u64, u16, u64),
        references: &[Reference],
        contents: &Contents,
    ) -> Result<Self, String> {
        let (turn, parent_turn, proposer, time_ms) = words;
        let height = self.height + 1;
        let before = self.positions_in(epoch.number());
        let positions = lanes::check_references(&before, references, height, &epoch.set.parameters)
            .map_err(|fault| fault.to_string())?;
        let mut spent = Rc::clone(&self.spent);
        let mut entries = Vec::new();
        let mut next_set_hash = epoch.set.hash();
        for reference in references {
            let content = &contents[&reference.hash];
            if content.len() != reference.records as usize {
                return Err("records".into());
            }
            for number in content {
                if Rc::make_mut(&mut spent).insert(*number) {
                    entries.push(number.to_be_bytes());
                    if number & CHANGES_SET != 0 {
                        next_set_hash = set_of(epoch, epoch.number() + 1).hash();
                    }
                }
            }
        }
        let folded = sha256(&[&self.state_root, &entries.concat(), &time_ms.to_be_bytes()]);
        let header = Header {
            height,
            epoch: epoch.number(),
            turn,
            parent_turn,
            proposer,
            time_ms,
            first_index: self.tree_size,
            entry_count: entries.len() as u32,
            log_root: folded,
            state_root: folded,
            parent: self.id,
            batches: batches_digest(&positions, references),
            set_hash: epoch.set.hash(),
            next_set_hash,
            state_size: spent.len() as u64,
        };
        Ok(Self {
            height,
            id: header.id(),
            time_ms,
            header: Some(header),
            references: references.to_vec(),
            positions,
            spent,
            state_root: folded,
            tree_size: header.tree_size(),
        })
    }
}

#[cfg(test)]
impl Executed {
    /// The same block under other words.
    pub fn with_header(self, header: Header) -> Self {
        Self { id: header.id(), time_ms: header.time_ms, header: Some(header), ..self }
    }
}

pub type BatchKey = (u16, u64, u64, Hash);

pub fn batch_key(reference: &Reference) -> BatchKey {
    (reference.author, reference.run, reference.seq, reference.hash)
}

/// What one node executed and holds; lost in a crash, except what its disk gives back.
#[derive(Debug, Clone)]
pub struct Executor {
    pub executed: BTreeMap<BlockId, Executed>,
    pub tip: BlockId,
    pub epoch: u64,
    /// Batches held: by author, run, number and hash, for a faulty author signs two under one number.
    pub held: BTreeMap<BatchKey, Reference>,
}

impl Executor {
    pub fn new(base: Executed, epoch: u64) -> Self {
        Self { tip: base.id, executed: BTreeMap::from([(base.id, base)]), epoch, held: BTreeMap::new() }
    }

    pub fn holds(&self, reference: &Reference) -> bool {
        self.held.get(&batch_key(reference)) == Some(reference)
    }

    pub fn tip(&self) -> &Executed {
        &self.executed[&self.tip]
    }

    /// Held batches that continue their lane from a position, in lane order.
    fn continuing(&self, author: u16, mut position: LanePosition) -> Vec<Reference> {
        let mut found = Vec::new();
        let lane = self.held.range((author, 0, 0, [0; 32])..=(author, u64::MAX, u64::MAX, [0xff; 32]));
        for reference in lane.map(|(_, reference)| reference) {
            if lanes::continues(position, reference) {
                position = lanes::after(reference);
                found.push(*reference);
            }
        }
        found
    }

    pub fn work(&self, me: u16, contents: &Contents) -> Work {
        let tip = self.tip();
        let positions = tip.positions_in(self.epoch);
        let members = positions.len() as u16;
        let mut waiting = Vec::new();
        for author in (0..members).map(|step| (me + step) % members) {
            let lane = self.continuing(author, positions[usize::from(author)]);
            let fresh = |r: &Reference| contents[&r.hash].iter().any(|number| !tip.spent.contains(number));
            if let Some(last) = lane.iter().rposition(fresh) {
                waiting.extend_from_slice(&lane[..=last]);
            }
        }
        waiting.truncate(64);
        Work { waiting, ..Work::default() }
    }

    pub fn build(&mut self, build: &Build, epoch: &Epoch, contents: &Contents) -> Option<Executed> {
        let parent = self.executed.get(&build.parent)?.clone();
        let positions = parent.positions_in(epoch.number());
        let members = positions.len() as u16;
        let mut references = Vec::new();
        let mut authors: Vec<u16> = (0..members).collect();
        authors.sort_by_key(|author| lanes::order(*author, build.height, usize::from(members)));
        let mut room = build.max_records;
        for author in authors {
            for reference in self.continuing(author, positions[usize::from(author)]) {
                if u64::from(reference.records) > room {
                    break;
                }
                room -= u64::from(reference.records);
                references.push(reference);
            }
        }
        let words = (build.turn, build.parent_turn, build.proposer, build.time_ms);
        let child = parent.child(epoch, words, &references, contents).expect("own references follow the rules");
        self.executed.insert(child.id, child.clone());
        Some(child)
    }

    pub fn execute(&mut self, header: &Header, refs: &[Reference], epoch: &Epoch, contents: &Contents) -> Verdict {
        let Some(parent) = self.executed.get(&header.parent) else { return Verdict::MissingParent };
        let before = parent.positions_in(epoch.number());
        let after = lanes::check_references(&before, refs, header.height, &epoch.set.parameters);
        if !after.is_ok_and(|positions| batches_digest(&positions, refs) == header.batches) {
            return Verdict::OtherReferences;
        }
        let missing: Vec<Reference> = refs.iter().filter(|reference| !self.holds(reference)).copied().collect();
        if !missing.is_empty() {
            return Verdict::MissingBatches { references: missing };
        }
        let words = (header.turn, header.parent_turn, header.proposer, header.time_ms);
        match parent.child(epoch, words, refs, contents) {
            Ok(child) if child.header == Some(*header) => {
                self.executed.insert(child.id, child);
                Verdict::Valid { acted: false }
            }
            Ok(_) => Verdict::Invalid { reason: "header differs".into() },
            Err(reason) => Verdict::Invalid { reason },
        }
    }

    /// Blocks above the tip that are neither among these nor of this turn or later are forgotten.
    pub fn keep(&mut self, blocks: &[BlockId], from: Turn) {
        let tip = self.tip;
        let of_late = |block: &Executed| block.header.is_some_and(|header| header.turn >= from);
        self.executed.retain(|id, block| *id == tip || blocks.contains(id) || of_late(block));
    }

    /// Batches of final blocks are forgotten, as those who applied them do.
    pub fn apply(&mut self, id: BlockId) {
        self.tip = id;
        let tip = &self.executed[&id];
        let (height, positions) = (tip.height, tip.positions.clone());
        self.executed.retain(|_, block| block.height >= height);
        self.held.retain(|(author, run, seq, _), _| {
            let position = positions[usize::from(*author)];
            (*run, *seq) >= (position.run, position.next_seq)
        });
    }
}
