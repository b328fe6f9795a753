//! The one loop: an input in, its effects out.
//!
//! 1. Effects are performed in order.
//! 2. Nothing leaves before the record that precedes it is durable: `Durable<T>` is made only in `store` and is all
//!    that `network` accepts for a vote.
//! 3. Every input is verified before `step`.
//! 4. The engine never waits for the network, the API or a subscriber.
//! 5. A storage fault stops the process with one sentence that says what to do; an execution fault costs this node its
//!    vote, never a verdict on the block.
//!
//! Queues are bounded, point one way, and what overflows is something the protocol repeats. What is decided, consensus
//! decides; executing, fetching and verifying happen beside the engine and come back as inputs.

pub mod blocks;
pub mod inbound;
mod perform;
pub mod worker;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mingzhang_consensus::safety::SafetyRecord;
use mingzhang_consensus::{Alarm, Effect, Epoch, Input, Peer, Setup, Turns, Want};
use mingzhang_ledger::authority::Member;
use mingzhang_ledger::records::governance;
use mingzhang_ledger::state::Overlay;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::mempool::Mempool;
use crate::network::{self, AllowedPeer};
use crate::signer::{Identity, SignerFault, VoteSigner};
use crate::store::{Store, StoreFault};
use worker::Job;

/// Facts that may wait for the engine.
pub const INPUT_QUEUE_LENGTH: usize = 4_096;
/// Facts that are stepped before one sync.
const MAX_CYCLE_INPUTS: usize = 512;
/// Alarms that the status page shows.
const MAX_ALARMS: usize = 32;
/// Missed turns of one block that are counted.
const MAX_MISSED_SHOWN: usize = 1_024;
/// Longest sleep when nothing is due: a clock set forward is noticed by then.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Why the engine stopped.
#[derive(Debug, Error)]
pub enum EngineFault {
    #[error(transparent)]
    Store(#[from] StoreFault),
    #[error("{0}; nothing more is signed until the cause is found")]
    Signer(#[from] SignerFault),
    #[error("the executor's thread is gone")]
    ExecutorGone,
}

/// What peers, API and tasks see of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    pub epoch: u64,
    pub turn: u64,
    pub height: u64,
    /// This node's index in the set.
    pub seat: Option<u16>,
    /// Newest first.
    pub alarms: Vec<String>,
    /// An alarm stopped the signing.
    pub halted: bool,
    /// Votes are signed here: a member that waits for proof that it may does not take part yet.
    pub signing: bool,
    /// A certificate was seen for a block that is not held here.
    pub catching_up: bool,
    /// Turns that each member of the set missed since this node started.
    pub missed_turns: Vec<u64>,
}

/// A fetch that consensus wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    pub want: Want,
    pub from: Vec<Peer>,
}

/// The epoch that everything is decoded and verified against, for the tasks beside the engine.
pub type EpochWatch = watch::Receiver<Arc<Epoch>>;

/// Whom the network lets in during an epoch, with those who are about to join.
pub type PeersOf = Box<dyn Fn(&Epoch, &[Member]) -> Result<Vec<AllowedPeer>, StoreFault> + Send>;

/// What the engine works with.
pub struct Parts {
    pub store: Arc<Store>,
    pub mempool: Arc<Mempool>,
    pub network: network::Handle,
    pub clock: Arc<Clock>,
    pub identity: Arc<Identity>,
    /// Whom the network lets in during an epoch.
    pub peers: PeersOf,
    pub relay_delay_ms: u64,
    pub retransmit_ms: u64,
    /// When the consensus key was used for the last time, as the operator of a lost disk says.
    pub lost_at_ms: Option<u64>,
}

/// Where the engine's inputs come from, and where its work goes.
pub struct Queues {
    pub inputs: mpsc::Receiver<Input>,
    pub connected: watch::Receiver<BTreeSet<u16>>,
    /// The list of addresses has changed.
    pub listed: watch::Receiver<()>,
    pub jobs: mpsc::Sender<Job>,
    pub fetches: mpsc::Sender<Fetch>,
    pub epoch: watch::Sender<Arc<Epoch>>,
    pub status: watch::Sender<Status>,
}

pub struct Engine {
    parts: Parts,
    queues: Queues,
    turns: Turns,
    signer: VoteSigner,
    me: Option<Peer>,
    connected: BTreeSet<u16>,
    /// Effects that the start of an epoch asked for.
    first: Vec<Effect>,
    shown_height: u64,
    /// Members of an agreed next set that are not of this one.
    joining: Vec<Member>,
}

impl Engine {
    /// Starts from what the store holds.
    pub fn open(parts: Parts, queues: Queues) -> Result<Self, EngineFault> {
        let epoch = Arc::new(parts.store.epoch()?);
        let (turns, signer, me, first) = start(&parts, &epoch)?;
        queues.epoch.send_replace(epoch);
        let shown_height = parts.store.tip().height;
        let (connected, joining) = (BTreeSet::new(), Vec::new());
        let mut engine = Self { parts, queues, turns, signer, me, connected, first, shown_height, joining };
        engine.let_in_who_joins()?;
        engine.show()?;
        engine.show_signing();
        engine.show_doubt();
        Ok(engine)
    }

    /// Runs until every sender of inputs is gone.
    pub async fn run(mut self) -> Result<(), EngineFault> {
        let first = std::mem::take(&mut self.first);
        self.perform(first)?;
        let mut inputs = Vec::with_capacity(MAX_CYCLE_INPUTS);
        loop {
            let sleep = self.until_deadline();
            tokio::select! {
                biased;
                count = self.queues.inputs.recv_many(&mut inputs, MAX_CYCLE_INPUTS) => {
                    if count == 0 {
                        return Ok(());
                    }
                }
                changed = self.queues.connected.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                Ok(()) = self.queues.listed.changed() => self.register()?,
                () = tokio::time::sleep(sleep) => {}
            }
            self.cycle(&mut inputs)?;
        }
    }

    /// Steps everything that came, then performs what follows.
    fn cycle(&mut self, inputs: &mut Vec<Input>) -> Result<(), EngineFault> {
        self.note_connections(inputs);
        let mut committed = false;
        let mut effects = Vec::new();
        for input in inputs.drain(..) {
            committed |= matches!(input, Input::Committed { .. } | Input::Fetched { .. });
            effects.extend(self.turns.step(self.parts.clock.now_ms(), input));
        }
        let now_ms = self.parts.clock.now_ms();
        if self.turns.deadline().is_some_and(|deadline_ms| deadline_ms <= now_ms) {
            effects.extend(self.turns.step(now_ms, Input::Tick));
        }
        self.perform(effects)?;
        self.show_signing();
        if committed {
            self.queues.status.send_modify(|status| status.catching_up = false);
            self.open_next_epoch()?;
            self.let_in_who_joins()?;
            self.show()?;
            self.end_doubt()?;
        }
        Ok(())
    }

    fn show_signing(&self) {
        let signing = self.turns.is_signing();
        self.queues.status.send_if_modified(|status| std::mem::replace(&mut status.signing, signing) != signing);
    }

    /// A node whose disk was lost signs again: a restart must not doubt it any more.
    fn end_doubt(&mut self) -> Result<(), EngineFault> {
        if self.parts.lost_at_ms.is_some() && self.parts.store.is_doubted() && self.turns.is_signing() {
            self.parts.store.end_doubt()?;
            self.queues.status.send_modify(|status| status.alarms.retain(|alarm| alarm != DOUBT_LOST));
            tracing::info!("a block of a later time than the loss is final: this node signs again");
        }
        Ok(())
    }

    /// Says why a member signs nothing.
    fn show_doubt(&mut self) {
        if !self.parts.store.is_doubted() || self.me.is_none() {
            return;
        }
        match self.parts.lost_at_ms {
            Some(_) => self.show_text(DOUBT_LOST.to_owned()),
            None => {
                self.queues.status.send_modify(|status| status.halted = true);
                self.show_text(DOUBT.to_owned());
            }
        }
    }

    fn until_deadline(&self) -> Duration {
        let Some(deadline_ms) = self.turns.deadline() else { return LONGEST_SLEEP };
        let wait_ms = deadline_ms.saturating_sub(self.parts.clock.now_ms());
        Duration::from_millis(wait_ms).min(LONGEST_SLEEP)
    }

    /// What changed in the connections since the last cycle, before what came through them.
    fn note_connections(&mut self, inputs: &mut Vec<Input>) {
        let now = self.queues.connected.borrow_and_update().clone();
        if now == self.connected {
            return;
        }
        let lost = self.connected.difference(&now).map(|peer| Input::Disconnected { peer: *peer });
        let new = now.difference(&self.connected).map(|peer| Input::Connected { peer: *peer });
        inputs.splice(0..0, lost.chain(new));
        self.log_connections(&now);
        self.connected = now;
    }

    /// Members by name, and whether anything can become final with those who are here.
    fn log_connections(&self, now: &BTreeSet<u16>) {
        let set = &self.turns.epoch().set;
        let name = |seat: &u16| set.members.get(usize::from(*seat)).map_or("", |member| member.agency.as_str());
        for seat in now.difference(&self.connected) {
            tracing::info!(agency = name(seat), "member is connected");
        }
        for seat in self.connected.difference(now) {
            tracing::info!(agency = name(seat), "member is not connected any more");
        }
        // Whom an observer reaches says nothing of the network.
        if self.me.is_none() {
            if now.is_empty() {
                tracing::warn!("no member is connected: nothing new is heard of");
            }
            return;
        }
        let (before, after, quorum) = (self.connected.len() + 1, now.len() + 1, set.quorum());
        if after < quorum && before >= quorum {
            tracing::warn!(connected = after, quorum, "too few members are connected: nothing becomes final");
        } else if after >= quorum && before < quorum {
            tracing::info!(connected = after, quorum, "a quorum of members is connected");
        }
    }

    /// After a boundary block became final, everything starts anew on the set that it named.
    fn open_next_epoch(&mut self) -> Result<(), EngineFault> {
        if self.parts.store.tip().epoch == self.turns.epoch().number() {
            return Ok(());
        }
        let epoch = Arc::new(self.parts.store.epoch()?);
        tracing::info!(epoch = epoch.number(), members = epoch.members(), "a new authority set decides");
        let seat = self.parts.identity.seat(&epoch);
        self.parts.mempool.open_epoch(&epoch, seat)?;
        let (turns, signer, me, first) = start(&self.parts, &epoch)?;
        (self.turns, self.signer, self.me) = (turns, signer, me);
        self.joining.clear();
        self.register()?;
        self.queues.epoch.send_replace(epoch);
        // Seats may mean other agencies now: consensus is told anew who is connected.
        self.connected = BTreeSet::new();
        self.queues.connected.mark_changed();
        self.perform(first)
    }

    /// Whoever has a seat in an agreed next set may follow from now on: it must be near the tip before it joins.
    fn let_in_who_joins(&mut self) -> Result<(), EngineFault> {
        let view = self.parts.store.view()?;
        let joining = governance::joining(&Overlay::new(&view)).map_err(StoreFault::from)?;
        if joining != self.joining {
            self.joining = joining;
            self.register()?;
        }
        Ok(())
    }

    /// Lets in whom the epoch, what is agreed and the list of addresses name.
    fn register(&self) -> Result<(), StoreFault> {
        self.parts.network.register((self.parts.peers)(self.turns.epoch(), &self.joining)?);
        Ok(())
    }

    /// Shows where this node stands, and who missed a turn since it last did.
    fn show(&mut self) -> Result<(), StoreFault> {
        let (epoch, tip, seat, turn) = (self.turns.epoch().clone(), self.parts.store.tip(), self.me, self.turns.turn());
        let mut missed = Vec::new();
        for height in self.shown_height.max(self.parts.store.base()).saturating_add(1)..=tip.height {
            let Some(header) = self.parts.store.header(height)?.filter(|header| header.epoch == epoch.number()) else {
                continue;
            };
            let turns = header.parent_turn.saturating_add(1)..header.turn;
            missed.extend(turns.take(MAX_MISSED_SHOWN).map(|turn| epoch.proposer(turn)));
        }
        self.shown_height = tip.height;
        self.queues.status.send_modify(|status| {
            if status.epoch != epoch.number() || status.missed_turns.len() != epoch.members() {
                status.missed_turns = vec![0; epoch.members()];
            }
            // Turns are counted anew: those of the epoch before would look like turns that failed.
            if status.epoch != epoch.number() {
                status.turn = turn;
            }
            (status.epoch, status.height, status.seat) = (epoch.number(), tip.height, seat);
            for proposer in missed {
                if let Some(count) = status.missed_turns.get_mut(usize::from(proposer)) {
                    *count = count.saturating_add(1);
                }
            }
        });
        Ok(())
    }

    fn show_alarm(&mut self, alarm: &Alarm) {
        let text = match alarm {
            Alarm::Invariant { rule } => format!("an own rule would have been broken ({rule}); signing has stopped"),
            Alarm::SecondInstance { .. } => {
                "MZ-5028: a vote signed by this node's key is not in its store: the key runs twice, or the disk lost \
                 it; signing has stopped"
                    .to_owned()
            }
            Alarm::UsedAfterLoss { used_ms } => {
                let used = i64::try_from(*used_ms).ok().and_then(|used| jiff::Timestamp::from_millisecond(used).ok());
                let used = used.map_or_else(|| "a later time".to_owned(), |used| used.to_string());
                format!("MZ-5028: this node's key proposed a block of {used}, long after --lost-at; it signs nothing")
            }
            Alarm::QuorumAgainstMe { turn, reason, .. } => {
                format!("a quorum endorsed in turn {turn} what this node finds invalid ({reason}); signing has stopped")
            }
            Alarm::Divergence { turn } => {
                format!("two certificates of turn {turn} contradict each other; signing has stopped")
            }
            Alarm::ExecutionFailed { reason, .. } => format!("a block could not be executed here: {reason}"),
        };
        let halts = !matches!(alarm, Alarm::ExecutionFailed { .. });
        self.queues.status.send_modify(|status| {
            status.halted |= halts;
            status.alarms.retain(|alarm| !halts || alarm != DOUBT_LOST);
        });
        self.show_text(text);
        if matches!(alarm, Alarm::SecondInstance { .. })
            && let Some(key) = self.parts.identity.consensus()
            && let Err(fault) = self.parts.store.doubt(&key)
        {
            tracing::error!(%fault, "the doubt about the key could not be stored");
        }
    }

    fn show_text(&mut self, text: String) {
        tracing::error!(alarm = %text, "alarm");
        self.queues.status.send_modify(|status| {
            status.alarms.insert(0, text);
            status.alarms.truncate(MAX_ALARMS);
        });
    }
}

const DOUBT: &str =
    "MZ-5028: what the consensus key signed before is not known here; this node follows and signs nothing";
const DOUBT_LOST: &str = "the disk was lost: nothing is signed before a block of a later time than the loss is final";

type Start = (Turns, VoteSigner, Option<Peer>, Vec<Effect>);

fn start(parts: &Parts, epoch: &Epoch) -> Result<Start, EngineFault> {
    let mut restored = parts.store.restored(epoch)?;
    restored.lost_at_ms = parts.lost_at_ms;
    let seat = parts.identity.seat(epoch);
    let me = seat.as_ref().map(|seat| seat.index);
    if let (Some(_), Some(me)) = (parts.lost_at_ms, me) {
        restored.used_ms = parts.store.last_proposed_ms(epoch.number(), me)?;
    }
    let records: &[SafetyRecord] = &restored.records;
    let signer = VoteSigner::new(epoch, seat, restored.tip.turn, records);
    if let Some(fault) = signer.contradiction() {
        tracing::error!(%fault, "the votes on disk contradict each other: nothing is signed up to their turn");
    }
    let setup =
        Setup { epoch: epoch.clone(), me, relay_delay_ms: parts.relay_delay_ms, retransmit_ms: parts.retransmit_ms };
    let (turns, first) = Turns::restore(parts.clock.now_ms(), setup, restored);
    Ok((turns, signer, me, first))
}
