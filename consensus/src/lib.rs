//! Turns: how the agencies agree on the next page. Agencies propose in a fixed order; two thirds endorse and the next
//! turn starts; two thirds confirm and the page is final; two thirds skip a silent agency. Nobody may both confirm a
//! page and skip that turn. Pure: no clock, disk, network, key, thread or chance; what is due comes in as an
//! [`Input`], what is to be done goes out as [`Effect`]s. In reading order:
//!
//! `statement` what is signed · `justification` why a turn may start · `message` what travels · `verify` signatures ·
//! `safety` what may be signed, and what is durable first · `input`, `effect` the engine's side · `epoch` the context ·
//! `lanes` which batches a block may name · `evidence` two signatures that prove a fault · and the rules: `propose`,
//! `vote`, `skip`, `finalise`, `pacemaker`, `catch_up`.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects, clippy::float_arithmetic)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects, clippy::float_arithmetic)
)]

mod effect;
mod epoch;
pub mod evidence;
mod input;
pub mod justification;
pub mod lanes;
pub mod message;
pub mod safety;
pub mod statement;
pub mod verify;

pub use effect::{Alarm, Audience, Build, Effect, Want};
pub use epoch::{Epoch, Opening};
pub use input::{Draft, Found, Input, Verdict, Work};

use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::header::Header;
use safety::{Entered, SafetyRecord};

/// Milliseconds since 1970 by this node's clock.
pub type Millis = u64;
/// Position of a block in the chain; 0 is the genesis entry.
pub type Height = u64;
/// One try at a block, numbered from 1 in each epoch.
pub type Turn = u64;
/// The header's id.
pub type BlockId = Hash;
/// An authority, by its index in the set of the current epoch.
pub type Peer = u16;

/// What no other node needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    pub epoch: Epoch,
    /// This node's index in the set; an observer has none, and never signs.
    pub me: Option<Peer>,
    /// R: after this long in a turn, who was not seen in it is sent its justification.
    pub relay_delay_ms: Millis,
    /// How long without progress before own votes are sent again.
    pub retransmit_ms: Millis,
}

/// The last final block, applied here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    pub height: Height,
    pub block: BlockId,
    /// Turn at which it became final in this epoch; 0 for the block that opened it.
    pub turn: Turn,
    pub time_ms: Millis,
}

/// What a node finds in its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub tip: Tip,
    /// Header and certificate of the tip; none at the genesis entry and at the block that opened the epoch.
    pub certificate: Option<(Header, FinalCert)>,
    /// Every stored record of this epoch with a turn above the tip's, in any order. Others are ignored.
    pub records: Vec<SafetyRecord>,
    pub entered: Option<Entered>,
    /// The last stop was unclean: nothing is signed before a quorum's status has shown no own vote that is missing.
    pub unclean: bool,
    /// The disk is not in doubt. Otherwise nothing is signed.
    pub may_sign: bool,
}

impl Restored {
    /// A node that starts on the block that opened the epoch, with an empty store.
    pub fn fresh(epoch: &Epoch, time_ms: Millis) -> Self {
        let tip = Tip { height: epoch.opening_height(), block: epoch.opening_block(), turn: 0, time_ms };
        Self { tip, certificate: None, records: Vec::new(), entered: None, unclean: false, may_sign: true }
    }
}

/// The consensus core of one node in one epoch.
#[derive(Debug)]
pub struct Turns {
    setup: Setup,
    tip: Tip,
}

impl Turns {
    /// Starts from what the store holds. The effects are performed like those of a step: they send own stored votes
    /// again, execute stored blocks that are not final yet, and ask the peers where they stand.
    pub fn restore(_now: Millis, setup: Setup, restored: Restored) -> (Self, Vec<Effect>) {
        (Self { setup, tip: restored.tip }, Vec::new())
    }

    /// Takes in one fact. Everything that is due by `now` is done as well.
    pub fn step(&mut self, _now: Millis, _input: Input) -> Vec<Effect> {
        Vec::new()
    }

    /// When the next [`Input::Tick`] is due; none while the network is idle and nothing waits.
    pub fn deadline(&self) -> Option<Millis> {
        None
    }

    /// The last block known final and applied here.
    pub fn tip(&self) -> Tip {
        self.tip
    }

    /// The epoch that everything is decoded and verified against.
    pub fn epoch(&self) -> &Epoch {
        &self.setup.epoch
    }
}
