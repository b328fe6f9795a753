//! What the core asks of the engine. The engine performs effects in order; it may step several inputs before it
//! syncs once, as long as no vote leaves before the sync that covers its record.

use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::header::Header;

use crate::evidence::Evidence;
use crate::message::Message;
use crate::safety::{Entered, SafetyRecord};
use crate::{BlockId, Height, Millis, Peer, Turn};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Persist the record with a synced write, sign [`SafetyRecord::statement`] under the signer's own check, send
    /// [`SafetyRecord::outgoing`] to the audience, and step `Input::Message { from: me, Verified::own(vote) }`. The
    /// core counts the vote only then. A record that the store already holds is not written again, only signed and
    /// sent again: this is how own votes are retransmitted and re-sent after a restart. A record that the signer's
    /// book refuses as final by now is dropped; any other refusal stops the process.
    Vote { record: SafetyRecord, to: Audience },
    /// Store under one key, overwriting, unsynced. It never needs a sync of its own.
    Note { entered: Entered },
    /// Send what others signed, requests and status. Never an own vote.
    Send { message: Message, to: Audience },
    /// Build a block on `parent` from the mempool, execute it, answer `Built` or `BuildFailed` with this turn.
    Build(Build),
    /// Execute and compare (see [`crate::Verdict`]); answer `Executed` with this id. Asked once per block at a time;
    /// it may be asked again after `MissingBatches`, `MissingParent` or `Failed`. The parent was validated before.
    Execute { block: BlockId, parent: BlockId, header: Header, references: Vec<Reference> },
    /// Get this from one of these peers, in this order of preference. Asked again every second with other peers in
    /// front as long as it is wanted; a running fetch of the same thing goes on, duplicates are dropped.
    Fetch { want: Want, from: Vec<Peer> },
    /// These executed blocks, in height order, and all before them are final. Apply them in one atomic write per
    /// block with the certificate of the last; answer `Committed`. Prune the vote records of turns up to
    /// `certificate.turn` in the same write. Idempotent by height.
    Commit { blocks: Vec<BlockId>, certificate: FinalCert },
    /// Of the executed blocks above the tip, these and those of turn `from` and later may still be built on or become
    /// final. Drop the others, after what was asked for before this: one that is needed after all is executed again.
    Keep { blocks: Vec<BlockId>, from: Turn },
    /// Somebody broke a rule and this proves it: store, publish, alarm.
    Report { evidence: Evidence },
    /// Tell the operator.
    Alarm(Alarm),
}

/// Whom a message is for. Never this node itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Every other authority of the set.
    Everybody,
    /// These authorities; who is not connected misses it.
    Peers(Vec<Peer>),
}

/// What the next block must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    pub turn: Turn,
    /// The parent's lane positions and state are the executor's matter, found by this id.
    pub parent: BlockId,
    pub height: Height,
    pub parent_turn: Turn,
    pub proposer: Peer,
    pub time_ms: Millis,
    /// Most records and bytes; both 0 for a block without records.
    pub max_records: u64,
    pub max_bytes: u64,
}

/// Something that is missing here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Header, lane positions and references of a block that is certified but not known here; answer `Found::Block`.
    Block { id: BlockId },
    /// Batches that a block references; store those whose hash and author's signature hold, answer
    /// `Found::Batches` when none is missing any more, at once if gossip was quicker.
    Batches { block: BlockId, references: Vec<Reference> },
    /// A peer says that these wait at its place. Get those that are missing here and continue their lane; no answer.
    Announced { references: Vec<Reference> },
    /// Everything after height `after` up to the block that this certificate, the highest that verifies, makes final.
    /// Headers backwards by parent from `block`, entries from several peers, executed and compared, committed by the
    /// engine; answer `Found::Range`. The answer may also be for a lower or a higher certified block.
    Range { after: Height, height: Height, turn: Turn, block: BlockId },
}

/// What an operator must know. After each but the last nothing is signed any more until the node is restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// An own rule would have been broken; the core refused.
    Invariant { rule: String },
    /// A vote signed by this node's key is not in its store: the same key runs twice, or the disk lost it.
    SecondInstance { turn: Turn },
    /// A block of this time was proposed with the key, long after what the operator says was its last use.
    UsedAfterLoss { used_ms: Millis },
    /// A quorum endorsed what this node finds invalid.
    QuorumAgainstMe { turn: Turn, block: BlockId, reason: String },
    /// Two certificates contradict each other: more than f authorities are faulty.
    Divergence { turn: Turn },
    /// This node could not execute a block for a reason of its own.
    ExecutionFailed { block: BlockId, reason: String },
}
