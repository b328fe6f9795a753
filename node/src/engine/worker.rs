//! Work beside the engine, one job at a time and in order. Answers return as inputs. What is done with blocks is said in
//! `blocks`.

use std::collections::BTreeSet;
use std::sync::Arc;

use mingzhang_consensus::message::Message;
use mingzhang_consensus::{BlockId, Build, Input};
use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::header::Header;
use tokio::sync::{mpsc, oneshot};

use super::EpochWatch;
use super::blocks::Blocks;
use crate::executor::{CommittedBlock, ExecutorFault, LoggedBlock};
use crate::network::{self, Topic};
use crate::signer::Identity;
use crate::store::{Finality, Preimage, Taken};

/// Jobs that may wait. Consensus has far fewer out at a time.
pub const JOB_QUEUE_LENGTH: usize = 4_096;

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
    /// Of the executed blocks, only these and those of this turn or later are needed any more.
    Keep {
        blocks: BTreeSet<BlockId>,
        from: u64,
    },
    /// Final blocks of a peer, whose headers and certificate or manifest were checked. The answer says why they cannot
    /// be what those confirm, or why this node does not follow the manifest.
    Replay {
        blocks: Vec<LoggedBlock>,
        by: Finality,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// The preimage of the last block's `batches`, which was caught up without it.
    Lanes {
        block: BlockId,
        preimage: Preimage,
        reply: oneshot::Sender<bool>,
    },
    /// A state that was taken from a peer becomes this node's own.
    Install {
        taken: Box<Taken>,
        reply: oneshot::Sender<()>,
    },
}

/// What the worker works with.
pub struct Parts {
    pub blocks: Blocks,
    pub network: network::Handle,
    pub epoch: EpochWatch,
    pub identity: Arc<Identity>,
    pub inputs: mpsc::Sender<Input>,
}

/// Runs until the queue or the engine is gone. Blocks; runs on a thread of its own.
pub async fn work(mut jobs: mpsc::Receiver<Job>, parts: &Parts) -> Result<(), ExecutorFault> {
    while let Some(job) = jobs.recv().await {
        let answer = match job {
            Job::Build(build) => Some(parts.blocks.build(&build)),
            Job::Execute { block, header, references } => {
                Some(Input::Executed { block, verdict: parts.blocks.execute(&header, &references) })
            }
            Job::Commit { blocks, certificate } => Some(parts.commit(&blocks, &certificate)?),
            Job::Keep { blocks, from } => {
                parts.blocks.executor.keep_only(&blocks, from);
                None
            }
            Job::Replay { blocks, by, reply } => {
                if reply.send(parts.replay(&blocks, &by)?).is_err() {
                    tracing::debug!("nobody waits for the replay any more");
                }
                None
            }
            Job::Lanes { block, preimage, reply } => {
                let learned = parts.blocks.store.learn_lanes(&block, &preimage)?;
                if learned {
                    parts.blocks.mempool.jump(&parts.blocks.store.tip());
                }
                if reply.send(learned).is_err() {
                    tracing::debug!("nobody waits for the lanes any more");
                }
                None
            }
            Job::Install { taken, reply } => {
                parts.blocks.store.finish_joining(&taken)?;
                parts.blocks.mempool.jump(&parts.blocks.store.tip());
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
    fn commit(&self, blocks: &[BlockId], certificate: &FinalCert) -> Result<Input, ExecutorFault> {
        let committed = self.blocks.commit(blocks, certificate)?;
        self.tell_observers(&committed, certificate);
        Ok(Input::Committed { height: certificate.height })
    }

    fn replay(&self, blocks: &[LoggedBlock], by: &Finality) -> Result<Result<(), String>, ExecutorFault> {
        let replayed = self.blocks.replay(blocks, by)?;
        Ok(replayed.map(|committed| match by {
            Finality::Certificate(certificate) => self.tell_observers(&committed, certificate),
            Finality::Recovery(_) => {}
        }))
    }

    /// Observers hear of the last of the blocks that became final here.
    fn tell_observers(&self, committed: &[CommittedBlock], certificate: &FinalCert) {
        let Some(CommittedBlock { block, .. }) = committed.last() else { return };
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
    }
}
