//! Turns: how the agencies agree on the next page. Agencies propose in a fixed order; two thirds endorse and the next
//! turn starts; two thirds confirm and the page is final; two thirds skip a silent agency. Nobody may both confirm a
//! page and skip that turn. Pure: no clock, disk, network, key, thread or chance; what is due comes in as an
//! [`Input`], what is to be done goes out as [`Effect`]s. In reading order:
//!
//! `statement` what is signed · `justification` why a turn may start · `message` what travels · `verify` signatures ·
//! `known` certificates that were checked before · `safety` what may be signed, and what is durable first · `input`,
//! `effect` the engine's side · `epoch` the context · `lanes` which batches a block may name · `evidence` two signatures
//! that prove a fault · then what is known, `tally` of a turn, `chain` of blocks, `peers` of the others · and the rules:
//! `vote`, `propose`, `skip`, `finalise`, `pacemaker`, `catch_up`, `restart`.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects, clippy::float_arithmetic)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::as_conversions, clippy::arithmetic_side_effects, clippy::float_arithmetic)
)]

mod catch_up;
mod chain;
mod effect;
mod epoch;
pub mod evidence;
mod finalise;
mod flow;
mod input;
pub mod justification;
pub mod known;
pub mod lanes;
pub mod message;
#[cfg(any(test, feature = "model"))]
pub mod model;
#[cfg(not(feature = "mutants-by-name"))]
mod mutants;
#[cfg(feature = "mutants-by-name")]
pub mod mutants;
mod pacemaker;
mod peers;
mod propose;
mod restart;
pub mod safety;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod skip;
pub mod statement;
mod tally;
pub mod verify;
mod vote;

pub use effect::{Alarm, Audience, Build, Effect, Want};
pub use epoch::{Epoch, Opening, window};
pub use input::{Draft, Found, Input, Verdict, Work};

use std::collections::{BTreeMap, BTreeSet};

use catch_up::Fetches;
use chain::Blocks;
use finalise::LastFinal;
use justification::Just;
use message::Message;
use mingzhang_ledger::authority::Parameters;
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::header::Header;
use peers::Peers;
use propose::Building;
use safety::{Entered, SafetyRecord, VoteBook};
use tally::TurnState;

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
    /// The disk is in doubt, and the key was used for the last time before this wall time.
    pub lost_at_ms: Option<Millis>,
    /// The disk is in doubt, and the newest block known to be proposed with the key is of this time.
    pub used_ms: Option<Millis>,
}

impl Restored {
    /// A node that starts on the block that opened the epoch, with an empty store.
    pub fn fresh(epoch: &Epoch, time_ms: Millis) -> Self {
        let tip = Tip { height: epoch.opening_height(), block: epoch.opening_block(), turn: 0, time_ms };
        Self {
            tip,
            certificate: None,
            records: Vec::new(),
            entered: None,
            unclean: false,
            may_sign: true,
            lost_at_ms: None,
            used_ms: None,
        }
    }
}

/// What clocks may be wrong by, and more: an honest endorser accepted a block's time within 10 s of its clock.
const LOST_MARGIN_MS: Millis = 30_000;

/// Whether this node may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Signing {
    Allowed,
    /// After an unclean stop, until a quorum's status was heard; whose was, so far.
    Unproven {
        heard: BTreeSet<Peer>,
    },
    /// The disk was lost: nothing is signed before a block of a later time than this is final. No vote above such a
    /// block can have been signed with the key before it was lost.
    Lost {
        until_ms: Millis,
    },
    Halted,
}

/// The consensus core of one node in one epoch. Times ending in `_ms` are of a steady clock that never goes back,
/// unless they are called wall times.
#[derive(Debug, Clone)]
pub struct Turns {
    setup: Setup,
    set_hash: Hash,
    wall_ms: Millis,
    steady_ms: Millis,
    signing: Signing,
    book: VoteBook,
    /// The last block applied here, and the last that is known final.
    tip: Tip,
    committing: Option<Tip>,
    last_final: LastFinal,
    /// Turns above the tip in which this node proposed a block.
    proposed: BTreeSet<Turn>,
    /// The current turn, why it started, and what was done in it.
    cur: Turn,
    just: Just,
    entered_ms: Millis,
    entered_wall_ms: Millis,
    armed_ms: Option<Millis>,
    relayed: u8,
    building: Option<Building>,
    /// The turn in which executed blocks were last given up.
    kept: Turn,
    /// By the wall clock.
    propose_not_before_ms: Millis,
    /// Turns above the final one, blocks above the tip, and what is being fetched.
    turns: BTreeMap<Turn, TurnState>,
    blocks: Blocks,
    fetches: Fetches,
    peers: Peers,
    work: Work,
    flow: flow::Flow,
    healthy: bool,
    progress_ms: Millis,
    retransmitted_ms: Millis,
    status_ms: Option<Millis>,
    asked_ms: Millis,
    effects: Vec<Effect>,
}

/// Most rounds of rules in one step; each round that changes something enters a turn or makes an effect.
const MAX_ROUNDS: usize = 64;

impl Turns {
    /// Takes in one fact. Everything that is due by `now` is done as well.
    pub fn step(&mut self, now: Millis, input: Input) -> Vec<Effect> {
        self.advance_clock(now);
        match input {
            Input::Tick => {}
            Input::Message { from, message } => {
                // What was verified before the epoch opened speaks of other members under the same indices.
                if message.get().epoch() == self.setup.epoch.number() {
                    self.on_message(from, message.into_inner());
                }
            }
            Input::Connected { peer } => self.on_connected(peer, true),
            Input::Disconnected { peer } => self.on_connected(peer, false),
            Input::Built { turn, draft } => {
                if draft.header.epoch == self.setup.epoch.number() {
                    self.on_built(turn, draft);
                }
            }
            Input::BuildFailed { turn } => self.on_build_failed(turn),
            Input::Executed { block, verdict } => self.on_executed(block, verdict),
            Input::Fetched { found } => self.on_found(found),
            Input::Committed { height } => self.on_committed(height),
            Input::Work(work) => self.on_work(work),
            Input::Health { ok } => self.healthy = ok,
        }
        self.settle();
        std::mem::take(&mut self.effects)
    }

    /// When the next [`Input::Tick`] is due, by the clock that `step` is given. While the network is idle this is
    /// the next heartbeat; none for an observer that misses nothing.
    pub fn deadline(&self) -> Option<Millis> {
        self.next_due_ms()
    }

    /// The last block known final and applied here.
    pub fn tip(&self) -> Tip {
        self.tip
    }

    /// Height and turn of the last block known final, applied or not.
    pub fn final_point(&self) -> (Height, Turn) {
        (self.last_final.height, self.last_final.turn)
    }

    /// The current turn.
    pub fn turn(&self) -> Turn {
        self.cur
    }

    /// Whether a node that lost its disk has seen what allows it to sign again.
    fn find_again(&mut self) {
        if let Signing::Lost { until_ms } = self.signing
            && self.last_final.height == self.tip.height
            && self.tip.time_ms > until_ms
        {
            self.signing = Signing::Allowed;
        }
    }

    /// Whether this node may sign now.
    pub fn is_signing(&self) -> bool {
        self.signing == Signing::Allowed && self.setup.me.is_some()
    }

    /// The epoch that everything is decoded and verified against.
    pub fn epoch(&self) -> &Epoch {
        &self.setup.epoch
    }

    fn on_message(&mut self, from: Peer, message: Message) {
        match message {
            Message::Proposal(proposal) => self.on_proposal(from, *proposal),
            Message::Vote(vote) => self.on_vote(from, vote),
            Message::Justify(just) => self.on_justify(from, just),
            Message::Final { header, certificate } => self.on_final(from, header, certificate),
            Message::Status(status) => self.on_status(from, status),
            Message::Ask(ask) => self.on_ask(from, ask),
            Message::Waiting(waiting) => {
                if self.may_answer(from) {
                    let want = Want::Announced { references: waiting.references };
                    self.effects.push(Effect::Fetch { want, from: vec![from] });
                }
            }
        }
    }

    fn on_work(&mut self, work: Work) {
        if work.waiting != self.work.waiting {
            self.propose_not_before_ms = 0;
        }
        self.work = work;
    }

    /// Applies the rules until nothing changes.
    fn settle(&mut self) {
        self.find_again();
        for _ in 0..MAX_ROUNDS {
            let before = (self.cur, self.last_final.turn, self.tip.height, self.effects.len());
            self.review();
            self.pursue();
            self.commit_final();
            self.pace();
            if before == (self.cur, self.last_final.turn, self.tip.height, self.effects.len()) {
                break;
            }
        }
        self.retransmit_if_due();
    }

    /// The wall clock may be set back; what was waited for so far stays waited for.
    fn advance_clock(&mut self, now: Millis) {
        self.steady_ms = self.steady_ms.saturating_add(now.saturating_sub(self.wall_ms));
        self.wall_ms = now;
    }

    fn parameters(&self) -> &Parameters {
        &self.setup.epoch.set.parameters
    }
}
