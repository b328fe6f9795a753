//! A signed manifest against a stopped node's data: may it be applied here, and applying it.

use std::sync::Arc;

use mingzhang_ledger::recovery::{EndedEpoch, Recovered, RecoveryKeys, SignedManifest};

use super::{Dump, Fault};
use crate::executor::{Executor, LoggedBlock};
use crate::store::{Finality, Store};

/// Checks a manifest against the epoch in which this node stands, and against what the node holds.
pub fn verify(signed: &SignedManifest, keys: &RecoveryKeys, store: &Store) -> Result<Recovered, Fault> {
    let epoch = store.epoch()?;
    let ended = EndedEpoch { set: &epoch.set, opened_by: &epoch.opening_block() };
    let recovered = signed.verify(keys, &epoch.chain, &ended)?;
    store.check_recovery(&recovered)?;
    Ok(recovered)
}

/// Ends the node's epoch with a manifest that was verified. Blocks between the last final one and the base come from the
/// dumps and are executed and compared like those of a peer.
pub fn apply(recovered: Recovered, dumps: &[Dump], store: &Store, executor: &Executor) -> Result<(), Fault> {
    let base = *recovered.base();
    let blocks = blocks_to(&base.id(), dumps, store)?;
    let tip = store.tip();
    let Some(blocks) = blocks else { return Err(Fault::BlocksMissing { tip: tip.height, base: base.height }) };
    let by = Finality::Recovery(Arc::new(recovered));
    for block in &blocks {
        let id = executor
            .replay(block)?
            .map_err(|reason| Fault::Unfit(format!("block of height {} in a dump: {reason}", block.header.height)))?;
        executor.commit_by(&[id], &by)?;
    }
    if let Finality::Recovery(recovered) = &by {
        store.open_recovered(recovered)?;
    }
    store.sync()?;
    Ok(())
}

/// The blocks that lead from the last final one to the base, lowest first; None where no dump holds them all.
fn blocks_to(base: &[u8; 32], dumps: &[Dump], store: &Store) -> Result<Option<Vec<LoggedBlock>>, Fault> {
    let tip = store.tip();
    let mut known = std::collections::BTreeMap::new();
    for dump in dumps {
        known.extend(dump.blocks()?.into_iter().map(|block| (block.header.id(), block)));
    }
    let (mut blocks, mut at) = (Vec::new(), *base);
    while at != tip.id {
        let Some(block) = known.remove(&at) else { return Ok(None) };
        at = block.header.parent;
        blocks.push(block);
    }
    blocks.reverse();
    Ok(Some(blocks))
}
