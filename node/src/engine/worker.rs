//! Work beside the engine, one job at a time and in order: building, executing and comparing blocks, committing final
//! ones, replaying those of peers. Answers return as inputs. A failure here is never a verdict on a block.

use std::sync::Arc;

use mingzhang_consensus::message::Message;
use mingzhang_consensus::{BlockId, Build, Input, Verdict};
use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::header::Header;
use tokio::sync::{mpsc, oneshot};

use super::EpochWatch;
use crate::executor::{CommittedBlock, Executor, ExecutorFault, LoggedBlock};
use crate::mempool::Mempool;
use crate::network::{self, Topic};
use crate::signer::Identity;
use crate::store::{Finality, Store, Taken};

/// Jobs that may wait. Consensus has far fewer out at a time.
pub const JOB_QUEUE_LENGTH: usize = 4_096;

const DISCONTINUITY: &str = "this epoch was opened by a recovery manifest, not by its members";

/// Something to do.
#[derive(Debug)]
pub enum Job {
    Build(Build),
    Execute {
        block: BlockId,
        header: Box<Header>,
        references: Vec<Reference>,
    },
    Commit {
        blocks: Vec<BlockId>,
        certificate: FinalCert,
    },
    /// Final blocks of a peer, whose headers and certificate or manifest were checked. The answer says why they cannot
    /// be what those confirm, or why this node does not follow the manifest.
    Replay {
        blocks: Vec<LoggedBlock>,
        by: Finality,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// A state that was taken from a peer becomes this node's own.
    Install {
        taken: Box<Taken>,
        reply: oneshot::Sender<()>,
    },
}

/// What the worker works with.
pub struct Parts {
    pub store: Arc<Store>,
    pub executor: Arc<Executor>,
    pub mempool: Arc<Mempool>,
    pub network: network::Handle,
    pub epoch: EpochWatch,
    pub identity: Arc<Identity>,
    pub inputs: mpsc::Sender<Input>,
}

/// Runs until the queue or the engine is gone. Blocks; runs on a thread of its own.
pub async fn work(mut jobs: mpsc::Receiver<Job>, parts: &Parts) -> Result<(), ExecutorFault> {
    while let Some(job) = jobs.recv().await {
        let answer = match job {
            Job::Build(build) => Some(parts.build(&build)),
            Job::Execute { block, header, references } => {
                Some(Input::Executed { block, verdict: parts.execute(&header, &references) })
            }
            Job::Commit { blocks, certificate } => parts.commit(&blocks, &certificate)?,
            Job::Replay { blocks, by, reply } => {
                if reply.send(parts.replay(&blocks, &by)?).is_err() {
                    tracing::debug!("nobody waits for the replay any more");
                }
                None
            }
            Job::Install { taken, reply } => {
                parts.store.finish_joining(&taken)?;
                parts.mempool.jump(&parts.store.tip());
                if reply.send(()).is_err() {
                    tracing::debug!("nobody waits for the taken state any more");
                }
                None
            }
        };
        if let Some(input) = answer
            && parts.inputs.send(input).await.is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

impl Parts {
    /// The mempool chooses, execution gives the header.
    fn build(&self, build: &Build) -> Input {
        let turn = build.turn;
        let Some(positions) = self.executor.positions(&build.parent) else {
            tracing::warn!(turn, "a block cannot be built: its parent is not held here");
            return Input::BuildFailed { turn };
        };
        let references = self.mempool.select(&positions, build.height, build.max_records, build.max_bytes);
        // A block that became final in between may have taken some away; the turn is then passed.
        let built = match self.mempool.held(&references) {
            Ok(batches) => self.executor.build(build, &batches).map_err(|fault| fault.to_string()),
            Err(missing) => Err(format!("{} batches are gone", missing.len())),
        };
        match built {
            Ok(draft) => {
                self.note_executed(&draft.header);
                Input::Built { turn, draft }
            }
            Err(reason) => {
                tracing::error!(turn, reason, "a block could not be built here");
                Input::BuildFailed { turn }
            }
        }
    }

    fn execute(&self, header: &Header, references: &[Reference]) -> Verdict {
        let batches = match self.mempool.held(references) {
            Ok(batches) => batches,
            Err(missing) => return Verdict::MissingBatches { references: missing },
        };
        let verdict = self.executor.validate(header, references, &batches);
        if matches!(verdict, Verdict::Valid { .. }) {
            self.note_executed(header);
        }
        verdict
    }

    fn note_executed(&self, header: &Header) {
        if let Some(positions) = self.executor.positions(&header.id()) {
            self.mempool.executed(header, positions);
        }
    }

    fn commit(&self, blocks: &[BlockId], certificate: &FinalCert) -> Result<Option<Input>, ExecutorFault> {
        let committed = self.executor.commit(blocks, certificate)?;
        self.after_commit(&committed, certificate)?;
        Ok(Some(Input::Committed { height: certificate.height }))
    }

    /// What follows once blocks are final here: the mempool lets go of them, and observers hear of the last.
    fn after_commit(&self, committed: &[CommittedBlock], certificate: &FinalCert) -> Result<(), ExecutorFault> {
        self.release(committed)?;
        let Some(CommittedBlock { block, .. }) = committed.last() else { return Ok(()) };
        let (header, epoch) = (block.executed.header, self.epoch.borrow().clone());
        // Certificates differ in their signers, and each would travel: only the proposer's and the next agency's do.
        let seat = self.identity.seat(&epoch).map(|seat| seat.index);
        let speakers = [certificate.turn, certificate.turn.saturating_add(1)].map(|turn| Some(epoch.proposer(turn)));
        if header.epoch == epoch.number() && header.id() == certificate.block && speakers.contains(&seat) {
            let message = Message::Final { header, certificate: certificate.clone() };
            if !self.network.publish(Topic::Finals, message.encode(&epoch)) {
                tracing::debug!("a final header was not gossiped");
            }
        }
        Ok(())
    }

    /// The mempool lets go of what blocks recorded.
    fn release(&self, committed: &[CommittedBlock]) -> Result<(), ExecutorFault> {
        committed.iter().try_for_each(|committed| Ok(self.mempool.committed(&committed.block.executed)?))
    }

    /// Executes and commits the blocks of a peer. The inner error says why they are not what was certified.
    fn replay(&self, blocks: &[LoggedBlock], by: &Finality) -> Result<Result<(), String>, ExecutorFault> {
        if let Finality::Recovery(recovered) = by
            && let Err(fault) = self.store.check_recovery(recovered)
        {
            tracing::error!(%fault, "a recovery manifest is not followed");
            return Ok(Err(fault.to_string()));
        }
        for block in blocks {
            if block.header.height <= self.store.tip().height {
                continue;
            }
            let id = match self.executor.replay(block)? {
                Ok(id) => id,
                Err(reason) => return Ok(Err(format!("height {}: {reason}", block.header.height))),
            };
            let committed = self.executor.commit_by(&[id], by)?;
            match by {
                Finality::Certificate(certificate) => self.after_commit(&committed, certificate)?,
                Finality::Recovery(_) => self.release(&committed)?,
            }
        }
        if let Finality::Recovery(recovered) = by {
            self.store.open_recovered(recovered)?;
            tracing::warn!(epoch = recovered.epoch(), reason = recovered.manifest().reason, "{DISCONTINUITY}");
        }
        Ok(Ok(()))
    }
}
