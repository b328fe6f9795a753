//! What the engine tells the core. Inputs are facts: nothing here asks for anything.

use mingzhang_ledger::batch::{LanePosition, Reference};
use mingzhang_ledger::header::Header;

use crate::message::Message;
use crate::verify::Verified;
use crate::{BlockId, Height, Millis, Peer, Turn};

/// One fact. The engine steps inputs one at a time, from one thread, in the order in which they happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The moment of [`crate::Turns::deadline`] has come. A tick too many or too early is harmless.
    Tick,
    /// A verified message. `from` is the authority whose authenticated connection carried it; for the copy of an own
    /// vote that the signer made, and for a `Final` that came by gossip or from an observer, `from` is this node's
    /// own index. Other messages of peers outside the set are the engine's to answer and never come here.
    Message {
        from: Peer,
        message: Verified<Message>,
    },
    /// A connection to an authority stands. The core answers with its status.
    Connected {
        peer: Peer,
    },
    Disconnected {
        peer: Peer,
    },
    /// Answer to [`crate::Effect::Build`]: a block that this node executed itself, hence valid, and whose batches it
    /// stores. The answer to a turn that is over is ignored.
    Built {
        turn: Turn,
        draft: Draft,
    },
    /// Answer to `Build` when the mempool, executor or disk failed: the turn is passed.
    BuildFailed {
        turn: Turn,
    },
    /// Answer to [`crate::Effect::Execute`].
    Executed {
        block: BlockId,
        verdict: Verdict,
    },
    /// Answer to [`crate::Effect::Fetch`]. A fetch that fails needs no answer: the core asks again, of other peers.
    Fetched {
        found: Found,
    },
    /// Answer to [`crate::Effect::Commit`]: everything up to this height is applied.
    Committed {
        height: Height,
    },
    /// What waits for a block changed. Sent whenever it changes, and after each commit.
    Work(Work),
    /// Whether clock, disk and executor are fit. While they are not, own turns are passed.
    Health {
        ok: bool,
    },
}

/// A block that this node built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// All 256 bytes: height, parent, turn, parent_turn, proposer, time_ms and set_hash as `Build` said, the rest
    /// from execution.
    pub header: Header,
    pub references: Vec<Reference>,
    /// The block executes a voted action, so that it must become final even when it holds no record.
    pub acted: bool,
}

/// What execution says about a block. A voter's executor runs the referenced batches on the parent's state, and
/// recomputes the header from (parent, turn, proposer, time, references).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All 256 bytes equal, lane and size rules hold ([`crate::lanes`]), and every referenced batch is stored: in
    /// the write-ahead log before any vote record that follows. `acted` as in [`Draft`].
    Valid { acted: bool },
    /// Any of that differs. Deterministic: every honest node says the same.
    Invalid { reason: String },
    /// The references that came with the block are not those that its header commits to: whoever passed them on spoilt
    /// them. No verdict on the block. The core forgets it, takes its proposal anew, or fetches it once it is certified.
    OtherReferences,
    /// These batches are not held here. The core fetches them and executes again.
    MissingBatches { references: Vec<Reference> },
    /// The parent's state is not held here (the executor dropped it, or never had it). The core executes the
    /// ancestors first.
    MissingParent,
    /// This node's own failure: disk, panic, resources. No verdict on the block, no vote, an alarm.
    Failed { reason: String },
}

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A block asked for by id, with the preimage of its `batches`. The core checks id and digest itself.
    Block { header: Header, positions: Vec<LanePosition>, references: Vec<Reference> },
    /// The batches that this block missed are stored now (each with its author's valid signature).
    Batches { block: BlockId },
    /// The log holds a block of this time that this node proposed in this turn of this epoch. Told before the range that
    /// holds it.
    OwnBlock { epoch: u64, turn: Turn, time_ms: Millis },
    /// Every block up to and including this one, which a certificate handed out in [`crate::Want::Range`] (or a
    /// higher one that the engine verified) proves final, is executed, compared and committed.
    Range { header: Header, certificate: mingzhang_ledger::certificate::FinalCert },
    /// A recovery manifest ended this epoch: the engine opens the next one. Nothing for the core to do.
    EpochEnded,
}

/// What waits for a block at this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Work {
    /// Batches held here that continue their lane from the tip's position and hold a transaction that passes the
    /// door; own ones first, at most [`crate::message::MAX_WAITING`]. Those that blocks above the tip name already may
    /// be left out; the core does not count them anyway. Another one = demand.
    pub waiting: Vec<Reference>,
    /// They fill a whole block: do not wait for `min_block_interval`.
    pub full: bool,
    /// A voted action is due at the time of the next block.
    pub action_due: bool,
    /// A client here waits for proof that its transaction expired.
    pub expiry_waits: bool,
}
