//! Catching up: segments of final blocks, each proved by a certificate of the set that this node knows, executed and
//! compared by this node itself. Signs nothing and trusts no claimed height. One run at a time; peers that give
//! take turns.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mingzhang_consensus::message::Message;
use mingzhang_consensus::{Epoch, Found, Input, Peer};
use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::crypto::{Hash, PublicKey};
use mingzhang_ledger::header::Header;
use mingzhang_ledger::recovery::{EndedEpoch, RecoveryFault, SignedManifest};
use tokio::sync::{mpsc, oneshot, watch};

use super::fetch::checked_block;
use super::followed::Followed;
use super::join::{Ask, Begun, Joiner, Measure, PACE};
use super::snapshot::Manifest;
use super::turns::Turns;
use super::wire::{MAX_SEGMENT_BLOCKS, Proof, Question, Segment};
use super::{Lie, Parts, SyncFault, Trust};
use crate::clock::Started;
use crate::engine::inbound::OtherFrame;
use crate::engine::worker::Job;
use crate::mempool::Taken;
use crate::network::{Channel, Frame, Handle};
use crate::signer::Identity;
use crate::store::{Finality, Store, Tip};

/// Peers that are asked in vain before a run ends; consensus starts the next.
const MAX_VAIN_PEERS: usize = 2;
/// How long after a start a state that is half taken is not given up: whoever has the same may still connect.
const RESUME_MS: u64 = 30_000;
/// How often a node without a seat asks for more, beside what gossip tells it.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(10);

/// Starts runs of catching up.
#[derive(Clone)]
pub struct CatchUp {
    parts: Arc<Parts>,
    running: Arc<AtomicBool>,
    /// The highest height that anybody claimed; only a reason to ask, never believed.
    goal: Arc<AtomicU64>,
    turns: Arc<Mutex<Turns>>,
    /// When this node started, if it started with a state half taken.
    resumes: Option<Started>,
    followed: Arc<Followed>,
}

impl CatchUp {
    pub fn new(parts: Arc<Parts>) -> Self {
        let resumes = parts.store.is_joining().then(Started::now);
        Self {
            parts,
            running: Arc::default(),
            goal: Arc::default(),
            turns: Arc::default(),
            resumes,
            followed: Arc::default(),
        }
    }

    /// Whether members had nothing after this node's tip.
    pub fn followed(&self) -> Arc<Followed> {
        Arc::clone(&self.followed)
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Asks these members of the current set first, then everybody who is connected.
    pub fn start(&self, goal: u64, first: &[Peer]) {
        let set = self.parts.epoch.borrow().set.clone();
        let keys = first.iter().filter_map(|seat| set.member(*seat)).map(|member| member.peer_key).collect();
        self.start_with(goal, keys);
    }

    fn start_with(&self, goal: u64, first: Vec<PublicKey>) {
        self.goal.fetch_max(goal, Ordering::AcqRel);
        if self.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(error) = this.run(first).await {
                tracing::debug!(%error, "catching up paused");
            }
            this.running.store(false, Ordering::Release);
        });
    }

    /// While this node has no seat, no votes come to it: it asks whether there is more, whenever a member connects and
    /// every few seconds. So does whoever lacks the lanes after its last block, and cannot vote.
    pub async fn follow(self, mut connected: watch::Receiver<BTreeSet<u16>>, identity: Arc<Identity>) {
        loop {
            let tip = self.parts.store.tip();
            let peers = self.parts.network.peers();
            let seatless = identity.seat(&self.parts.epoch.borrow()).is_none();
            if !peers.iter().any(|peer| peer.connected && peer.seat.is_some()) {
                self.followed.reset();
            }
            if peers.iter().any(|peer| peer.connected) {
                if seatless {
                    self.start_with(tip.height.saturating_add(1), Vec::new());
                } else if tip.lanes.is_empty() {
                    self.start_with(tip.height, Vec::new());
                }
            }
            tokio::select! {
                changed = connected.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
            }
        }
    }

    async fn run(&self, first: Vec<PublicKey>) -> Result<(), SyncFault> {
        let mut peers = first;
        let known: BTreeSet<PublicKey> = peers.iter().copied().collect();
        let connected = self.parts.network.peers().into_iter().filter(|peer| peer.connected).map(|peer| peer.key);
        peers.extend(connected.filter(|key| !known.contains(key)));
        if let Some(from_blocks) = self.parts.snapshot_from_blocks.filter(|_| self.parts.store.is_fresh()) {
            self.join(&peers, from_blocks).await?;
        }
        let (mut vain, mut more) = (0usize, false);
        // As many must say that there is no more as may not all be lying.
        let enough = if self.followed.is() { 0 } else { self.parts.epoch.borrow().set.tolerated_faults() };
        let max_vain = MAX_VAIN_PEERS.max(enough.saturating_add(1));
        self.turns().begin();
        // Who gave something may have more than anybody claimed: where the network stands still, nobody claims anything.
        while (more || self.parts.store.tip().height < self.goal.load(Ordering::Acquire)) && vain < max_vain {
            let next = self.turns().next(&peers);
            let Some(peer) = next else { return Err(SyncFault::NotThere) };
            let answer = self.segment(&peer).await;
            more = answer.is_ok();
            if more {
                self.turns().gave()
            } else {
                self.turns().failed(peer)
            }
            match answer {
                Ok(()) => vain = 0,
                Err(SyncFault::Lie(Lie { code, reason })) => {
                    tracing::warn!(%code, reason, "peer is disconnected for a false answer");
                    self.parts.network.disconnect(&peer);
                    vain += 1;
                }
                Err(SyncFault::Stopping) => return Err(SyncFault::Stopping),
                Err(error) => {
                    tracing::debug!(%error, "peer did not help to catch up");
                    vain += 1;
                }
            }
        }
        self.learn_lanes(&peers).await
    }

    /// A peer may leave out the preimage of a last block's `batches`, as it does where it has none itself: the block holds,
    /// but no child of it can be executed. Nobody sends that block in a segment again, so it is asked for by its id.
    async fn learn_lanes(&self, peers: &[PublicKey]) -> Result<(), SyncFault> {
        for peer in peers {
            let tip = self.parts.store.tip();
            if !tip.lanes.is_empty() || self.parts.store.is_joining() {
                break;
            }
            let answer = match self.parts.network.ask(peer, &Question::Block { id: tip.id }.encode()).await {
                Ok(answer) if !answer.is_empty() => checked_block(&tip.id, &answer),
                Ok(_) => Err(SyncFault::NotThere),
                Err(error) => Err(error.into()),
            };
            match answer {
                Ok(Found::Block { positions, references, .. }) => {
                    let (reply, done) = oneshot::channel();
                    let job = Job::Lanes { block: tip.id, preimage: (positions, references), reply };
                    self.parts.jobs.send(job).await.map_err(|_| SyncFault::Stopping)?;
                    if done.await.map_err(|_| SyncFault::Stopping)? {
                        tracing::info!(height = tip.height, "the lanes after the last block are known again");
                    }
                }
                Ok(_) => {}
                Err(SyncFault::Lie(Lie { code, reason })) => {
                    tracing::warn!(%code, reason, "peer is disconnected for a false answer");
                    self.parts.network.disconnect(peer);
                }
                Err(error) => tracing::debug!(%error, "peer gave no lanes"),
            }
        }
        Ok(())
    }

    /// Takes the state of the first peer that gives a true one. While one is half taken, nothing else is done.
    async fn join(&self, peers: &[PublicKey], from_blocks: u64) -> Result<(), SyncFault> {
        let parts = &self.parts;
        let joiner = Joiner {
            store: &parts.store,
            trust: &parts.trust,
            from_blocks,
            tolerated: parts.epoch.borrow().set.tolerated_faults(),
            asked: &parts.network,
            turns: &self.turns,
            pace: PACE,
        };
        let resumed = self.resumes.as_ref().is_none_or(|started| started.elapsed_ms() >= RESUME_MS);
        match joiner.join(peers, if resumed { Begun::GivenUp } else { Begun::Kept }).await? {
            Some((manifest, measure)) => self.install(manifest, measure).await,
            None => Ok(()),
        }
    }

    async fn install(&self, manifest: Manifest, measure: Measure) -> Result<(), SyncFault> {
        let (header, certificate) = (manifest.taken.header, manifest.taken.certificate.clone());
        let (reply, done) = oneshot::channel();
        let job = Job::Install { taken: Box::new(manifest.taken), reply };
        self.parts.jobs.send(job).await.map_err(|_| SyncFault::Stopping)?;
        done.await.map_err(|_| SyncFault::Stopping)?;
        tracing::info!(
            height = header.height,
            leaves = measure.leaves,
            bytes = measure.bytes,
            elapsed_ms = measure.elapsed_ms,
            mb_per_s = format!("{:.1}", measure.megabytes_per_second()),
            "joined from a peer's state"
        );
        let found = Found::Range { header, certificate };
        self.parts.inputs.send(Input::Fetched { found }).await.map_err(|_| SyncFault::Stopping)
    }

    /// An empty answer also comes from who has no log that far back. That there is no more says only a member that holds
    /// this node's last block, or before the first block has no state to give.
    async fn confirm(&self, peer: &PublicKey, tip: &Tip) -> Result<(), SyncFault> {
        if self.followed.is() {
            return Ok(());
        }
        let question = if tip.height == 0 { Question::Manifest } else { Question::Block { id: tip.id } };
        let answer = self.parts.network.ask(peer, &question.encode()).await?;
        let holds = if tip.height == 0 { answer.is_empty() } else { checked_block(&tip.id, &answer).is_ok() };
        let set = self.parts.epoch.borrow().set.clone();
        let peers = self.parts.network.peers();
        let seated: Vec<PublicKey> =
            peers.iter().filter(|peer| peer.connected && peer.seat.is_some()).map(|peer| peer.key).collect();
        if holds && seated.contains(peer) {
            self.followed.confirm(*peer, tip.height, &seated, set.tolerated_faults());
        }
        Ok(())
    }

    /// One segment: asked for, proved, executed, committed, and reported to consensus.
    async fn segment(&self, peer: &PublicKey) -> Result<(), SyncFault> {
        let tip = self.parts.store.tip();
        let epoch = self.parts.store.epoch()?;
        let set = &epoch.set;
        let question = Question::Segment { after: tip.height, epoch: epoch.number() };
        let answer = self.parts.network.ask(peer, &question.encode()).await?;
        if answer.is_empty() {
            self.confirm(peer, &tip).await?;
            return Err(SyncFault::NotThere);
        }
        let segment = Segment::decode(&answer, set.members.len()).map_err(|fault| SyncFault::Lie(fault.into()))?;
        let (certified, by) = prove(&segment, (tip.height, tip.id), &epoch, &self.parts.trust)?;
        self.report_own(&segment, set).await?;
        let (count, blocks) = (segment.blocks.len(), segment.blocks);
        if count >= MAX_SEGMENT_BLOCKS {
            self.followed.reset();
        }
        let (reply, done) = oneshot::channel();
        let job = Job::Replay { blocks, by: by.clone(), reply };
        self.parts.jobs.send(job).await.map_err(|_| SyncFault::Stopping)?;
        done.await.map_err(|_| SyncFault::Stopping)?.map_err(|reason| SyncFault::Lie(Lie::other(reason)))?;
        tracing::info!(blocks = count, height = self.parts.store.tip().height, "caught up");
        let found = match by {
            // Consensus moves on only when everything up to the certified block is applied.
            Finality::Certificate(_) if self.parts.store.tip().height != certified.height => return Ok(()),
            Finality::Certificate(certificate) => Found::Range { header: certified, certificate },
            Finality::Recovery(_) => Found::EpochEnded,
        };
        self.parts.inputs.send(Input::Fetched { found }).await.map_err(|_| SyncFault::Stopping)
    }
}

impl CatchUp {
    /// Blocks that this node proposed itself, before they are applied: consensus knows whether it remembers them.
    async fn report_own(&self, segment: &Segment, set: &AuthoritySet) -> Result<(), SyncFault> {
        let Some(key) = self.parts.consensus_key else { return Ok(()) };
        let own = set.members.iter().position(|member| member.consensus_key == key);
        for header in segment.blocks.iter().map(|block| &block.header).chain(&segment.above) {
            if Some(usize::from(header.proposer)) == own {
                let found = Found::OwnBlock { epoch: header.epoch, turn: header.turn, time_ms: header.time_ms };
                self.parts.inputs.send(Input::Fetched { found }).await.map_err(|_| SyncFault::Stopping)?;
            }
        }
        Ok(())
    }
}

impl Ask for Handle {
    async fn ask(&self, peer: &PublicKey, question: &Question) -> Result<Vec<u8>, SyncFault> {
        Ok(Handle::ask(self, peer, &question.encode()).await?)
    }

    fn refuse(&self, peer: &PublicKey, Lie { code, reason }: &Lie) {
        tracing::warn!(peer = self.name_of(peer), %code, reason, "peer is disconnected for a false part of the state");
        self.disconnect(peer);
    }
}

/// The headers continue the chain from this node's tip, all under the set that decides now, up to one that a quorum of
/// that set confirmed, or that a recovery manifest names. Returns that one, and what makes it final.
pub fn prove(
    segment: &Segment,
    (height, id): (u64, Hash),
    epoch: &Epoch,
    trust: &Trust,
) -> Result<(Header, Finality), SyncFault> {
    let set = &epoch.set;
    let set_hash = set.hash();
    let (mut height, mut parent) = (height, id);
    let mut last: Option<Header> = None;
    for header in segment.blocks.iter().map(|block| &block.header).chain(&segment.above) {
        let continues = header.parent == parent
            && Some(header.height) == height.checked_add(1)
            && header.epoch == set.epoch
            && header.set_hash == set_hash
            && last.is_none_or(|last| !last.is_boundary());
        if !continues {
            let reason = format!("a header of height {} that does not continue", header.height);
            return Err(SyncFault::Lie(Lie::other(reason)));
        }
        (height, parent, last) = (header.height, header.id(), Some(*header));
    }
    match &segment.proof {
        Proof::Certificate(certificate) => {
            let last = last.filter(|_| !segment.blocks.is_empty()).ok_or(SyncFault::NotThere)?;
            certificate.verify(&trust.chain, &last, set).map_err(|fault| SyncFault::Lie(fault.into()))?;
            Ok((last, Finality::Certificate(certificate.clone())))
        }
        Proof::Recovery(bytes) => {
            let lie = |fault: RecoveryFault| SyncFault::Lie(fault.into());
            let signed = SignedManifest::decode(bytes).map_err(|fault| SyncFault::Lie(fault.into()))?;
            let ended = EndedEpoch { set, opened_by: &epoch.opening_block() };
            let recovered = signed.verify(&trust.recovery, &trust.chain, &ended).map_err(lie)?;
            let base = *recovered.base();
            if base.id() != parent {
                let reason = format!("a recovery manifest with another base of height {}", base.height);
                return Err(SyncFault::Lie(Lie::other(reason)));
            }
            Ok((base, Finality::Recovery(Arc::new(recovered))))
        }
    }
}

/// Proof that an author signed two batches under one number is kept.
pub(super) fn store_evidence(parts: &Parts, taken: &[Taken]) -> Result<(), SyncFault> {
    let epoch = parts.epoch.borrow().clone();
    for taken in taken {
        if let Taken::Twice(evidence) = taken {
            parts.store.put_evidence(evidence, &epoch)?;
        }
    }
    Ok(())
}

/// Frames of other epochs and of peers without a seat: who is behind gets the certificate that closed its epoch, who is
/// ahead starts catching up.
pub async fn strays(mut frames: mpsc::Receiver<OtherFrame>, parts: Arc<Parts>, catch_up: CatchUp) {
    while let Some(frame) = frames.recv().await {
        let epoch = parts.epoch.borrow().clone();
        let Some(claimed) = crate::engine::inbound::claimed_epoch(&frame.body) else { continue };
        if claimed > epoch.number() {
            let goal = parts.store.tip().height.saturating_add(1);
            catch_up.start_with(goal, vec![frame.from.key]);
        } else if let Some(closing) = closing(&parts.store, claimed) {
            // By key: whoever is behind need not have a seat any more.
            let (message, old) = closing;
            if let Some(told) = Frame::new(Channel::Consensus, &[&message.encode(&old)]) {
                parts.network.send(&frame.from.key, &told);
            }
        }
    }
}

/// The final boundary block that closed an epoch, in the form that a node of that epoch reads.
pub fn closing(store: &Store, epoch: u64) -> Option<(Message, mingzhang_consensus::Epoch)> {
    let view = store.view().ok()?;
    let next = view.stored_epoch(epoch.checked_add(1)?).ok()??;
    let header = view.header(next.opening_height).ok()??;
    let certificate = view.certificate(next.opening_height).ok()??;
    let set = view.stored_epoch(epoch).ok()??.set;
    // Only the size of the set matters for these bytes.
    let opening = mingzhang_consensus::Opening::Genesis { block: header.parent };
    let old = mingzhang_consensus::Epoch { chain: store.genesis_hash(), set: Arc::new(set), opening };
    Some((Message::Final { header, certificate }, old))
}
