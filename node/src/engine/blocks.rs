//! What a node does with blocks, without queue, clock or network: building and executing them, committing final ones,
//! replaying those of peers. A failure here is never a verdict on a block. When it is done, the engine says.

use std::sync::Arc;

use mingzhang_consensus::{BlockId, Build, Input, Verdict};
use mingzhang_ledger::batch::Reference;
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::entry::Entry;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::outcome::Code;

use crate::executor::{CommittedBlock, Executor, ExecutorFault, LoggedBlock};
use crate::mempool::Mempool;
use crate::store::{ExecutedBlock, Finality, Store};

const DISCONTINUITY: &str = "this epoch was opened by a recovery manifest, not by its members";

/// What blocks are made of and end up in.
pub struct Blocks {
    pub store: Arc<Store>,
    pub executor: Arc<Executor>,
    pub mempool: Arc<Mempool>,
}

impl Blocks {
    /// The mempool chooses, execution gives the header.
    pub fn build(&self, build: &Build) -> Input {
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

    pub fn execute(&self, header: &Header, references: &[Reference]) -> Verdict {
        match self.executor.commits_to(header, references) {
            Ok(true) => {}
            Ok(false) => return Verdict::OtherReferences,
            Err(ExecutorFault::MissingParent(_)) => return Verdict::MissingParent,
            Err(fault) => return Verdict::Failed { reason: fault.to_string() },
        }
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

    /// Makes final what was executed here; the mempool lets go of it.
    pub fn commit(&self, blocks: &[BlockId], certificate: &FinalCert) -> Result<Vec<CommittedBlock>, ExecutorFault> {
        self.released(self.executor.commit(blocks, certificate)?)
    }

    fn released(&self, committed: Vec<CommittedBlock>) -> Result<Vec<CommittedBlock>, ExecutorFault> {
        for CommittedBlock { block, .. } in &committed {
            self.mempool.committed(&block.executed)?;
            if tracing::enabled!(tracing::Level::DEBUG) {
                log(&block.executed);
            }
        }
        Ok(committed)
    }

    /// Executes and commits the blocks of a peer. The inner error says why they are not what was certified, or why this
    /// node does not follow the manifest that names them.
    pub fn replay(
        &self,
        blocks: &[LoggedBlock],
        by: &Finality,
    ) -> Result<Result<Vec<CommittedBlock>, String>, ExecutorFault> {
        if let Finality::Recovery(recovered) = by
            && let Err(fault) = self.store.check_recovery(recovered)
        {
            tracing::error!(%fault, "a recovery manifest is not followed");
            return Ok(Err(fault.to_string()));
        }
        let mut committed = Vec::new();
        for block in blocks {
            if block.header.height <= self.store.tip().height {
                continue;
            }
            let id = match self.executor.replay(block)? {
                Ok(id) => id,
                Err(reason) => return Ok(Err(format!("height {}: {reason}", block.header.height))),
            };
            committed.extend(self.released(self.executor.commit_by(&[id], by)?)?);
        }
        if let Finality::Recovery(recovered) = by {
            self.store.open_recovered(recovered)?;
            tracing::warn!(epoch = recovered.epoch(), reason = recovered.manifest().reason, "{DISCONTINUITY}");
        }
        Ok(Ok(committed))
    }
}

/// For an operator whom a clerk asks: what became of each record, never what it says.
fn log(block: &ExecutedBlock) {
    let height = block.header.height;
    for (id, entry) in block.transactions.iter().zip(&block.entries) {
        let tx_id = format!("sha256:{}", hex::encode(id));
        match Entry::decode(entry) {
            Ok(Entry::Record { outcome: 0, .. }) => tracing::debug!(tx_id, height, "record is final: applied"),
            Ok(Entry::Record { outcome, .. }) => {
                tracing::debug!(tx_id, height, code = %Code(outcome), "record is final: rejected");
            }
            Ok(_) | Err(_) => {}
        }
    }
}
