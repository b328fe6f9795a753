//! The blocks above the final and applied tip: what is known of each, and walking back from one of them. How a block
//! gets here and is executed is `catch_up`'s matter.

use std::collections::BTreeMap;

use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::header::Header;

use crate::justification::{Just, Parent};
use crate::mutants;
use crate::{BlockId, Height, Millis, Turn, Turns};

/// How far this node is with a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    Known,
    Executing,
    Missing(Vec<Reference>),
    Valid { acted: bool },
    Invalid { reason: String },
}

#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) header: Header,
    pub(crate) references: Vec<Reference>,
    /// The references and the lane positions after them were checked against the header when it was fetched.
    pub(crate) vouched: bool,
    pub(crate) status: Status,
    /// The last try to execute it failed here.
    pub(crate) failed: bool,
    /// Not executed again before this moment of the steady clock.
    pub(crate) retry_at: Millis,
}

/// Blocks above the tip, by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blocks(BTreeMap<BlockId, Block>);

impl Blocks {
    pub(crate) fn get(&self, id: &BlockId) -> Option<&Block> {
        self.0.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &BlockId) -> Option<&mut Block> {
        self.0.get_mut(id)
    }

    /// A block that is known already keeps its status.
    pub(crate) fn insert(&mut self, header: Header, references: Vec<Reference>) {
        let (vouched, status, failed) = (false, Status::Known, false);
        self.0.entry(header.id()).or_insert(Block { header, references, vouched, status, failed, retry_at: 0 });
    }

    pub(crate) fn remove(&mut self, id: &BlockId) {
        self.0.remove(id);
    }

    pub(crate) fn is_valid(&self, id: &BlockId) -> bool {
        self.0.get(id).is_some_and(|block| matches!(block.status, Status::Valid { .. }))
    }

    /// Drops what is applied, and every fork beside it.
    pub(crate) fn prune(&mut self, applied: Height) {
        self.0.retain(|_, block| block.header.height > applied);
    }

    /// Drops the blocks that nothing speaks of any more.
    pub(crate) fn retain(&mut self, keep: impl Fn(&BlockId) -> bool) {
        self.0.retain(|id, _| keep(id));
    }

    /// Blocks that are being executed, and those of this turn and later.
    pub(crate) fn in_work(&self, turn: Turn) -> impl Iterator<Item = BlockId> {
        let in_work = move |block: &Block| matches!(block.status, Status::Executing) || block.header.turn >= turn;
        self.0.iter().filter(move |(_, block)| in_work(block)).map(|(id, _)| *id)
    }

    /// The executor drops what it has of these valid blocks.
    pub(crate) fn unexecute(&mut self, dropped: impl Fn(&BlockId) -> bool) {
        for (id, block) in &mut self.0 {
            if matches!(block.status, Status::Valid { .. }) && dropped(id) {
                block.status = Status::Known;
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// When the first block whose execution failed here is tried again, by the steady clock.
    pub(crate) fn next_retry_ms(&self) -> Option<Millis> {
        let waiting = self.0.values().filter(|block| block.status == Status::Known && block.retry_at > 0);
        waiting.map(|block| block.retry_at).min()
    }
}

/// A walk from a block back to the tip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Known blocks, from the one asked for downwards.
    pub(crate) known: Vec<BlockId>,
    pub(crate) end: WalkEnd,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WalkEnd {
    /// The last of them is a child of the tip, or the block is the tip.
    Tip,
    /// This block is not known here.
    Unknown(BlockId),
    /// The walk went past the tip's height without meeting it.
    Fork,
}

/// What a rule needs to know of a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) time_ms: Millis,
    /// Only this block, unchanged, may follow in this epoch.
    pub(crate) boundary: bool,
}

impl Turns {
    pub(crate) fn walk(&self, from: &BlockId) -> Walk {
        let mut known = Vec::new();
        let mut at = *from;
        // Heights fall by one with every step, so the walk ends; the bound says so to the reader.
        for _ in 0..=self.blocks.len() {
            if at == self.tip.block {
                return Walk { known, end: WalkEnd::Tip };
            }
            let Some(block) = self.blocks.get(&at) else { return Walk { known, end: WalkEnd::Unknown(at) } };
            if block.header.height <= self.tip.height {
                return Walk { known, end: WalkEnd::Fork };
            }
            known.push(at);
            if block.header.height == self.tip.height.saturating_add(1) && block.header.parent != self.tip.block {
                return Walk { known, end: WalkEnd::Fork };
            }
            at = block.header.parent;
        }
        Walk { known, end: WalkEnd::Fork }
    }

    /// Time and kind of the block that a justification builds on, if it is known here.
    pub(crate) fn base(&self, parent: &Parent) -> Option<Base> {
        let id = parent.block(&self.setup.epoch);
        let opening = matches!(parent, Parent::Start(_));
        if let Some(block) = self.blocks.get(&id) {
            return Some(Base { time_ms: block.header.time_ms, boundary: block.header.is_boundary() && !opening });
        }
        (id == self.tip.block).then(|| Base { time_ms: self.tip.time_ms, boundary: self.closed() && !opening })
    }

    /// Whether this node holds the state that a child of the block is executed on.
    pub(crate) fn is_ready(&self, id: &BlockId) -> bool {
        *id == self.tip.block || self.blocks.is_valid(id)
    }

    /// Whether a header may be what `just` starts, as far as its own words go. None while the parent is unknown.
    pub(crate) fn check_header(&self, header: &Header, just: &Just) -> Option<Result<(), &'static str>> {
        let base = self.base(&just.parent)?;
        Some(self.check_words(header, just, base))
    }

    fn check_words(&self, header: &Header, just: &Just, base: Base) -> Result<(), &'static str> {
        let epoch = &self.setup.epoch;
        let parent = just.parent.block(epoch);
        if base.boundary && !(mutants::CHILD_OF_BOUNDARY.on() && header.id() != parent) {
            return if header.id() == parent { Ok(()) } else { Err("not the boundary block unchanged") };
        }
        let rules = [
            (header.epoch == epoch.number(), "another epoch"),
            (header.turn == just.turn, "another turn than its justification's"),
            (header.parent_turn == just.parent.turn(), "another parent turn than its justification's"),
            (header.parent == parent, "another parent than its justification's"),
            (header.height == just.parent.height(epoch).saturating_add(1), "height does not follow the parent's"),
            (header.proposer == epoch.proposer(just.turn), "another proposer than the one on turn"),
            (header.set_hash == self.set_hash, "another authority set"),
            (header.time_ms > base.time_ms, "time not after the parent's"),
            (
                header.entry_count > 0
                    || header.time_ms.saturating_sub(base.time_ms) >= self.parameters().min_empty_interval_ms,
                "empty, too soon after the parent",
            ),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(rule))
    }
}
