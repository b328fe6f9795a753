//! Watches what this machine needs to take part: room on the disk. Warns early, refuses new transactions before it is
//! scarce, and stops the node in good order while there is still room to flush.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mingzhang_consensus::Input;
use tokio::sync::mpsc;

use crate::mempool::Mempool;
use crate::store::StoreFault;
use crate::store::disk::{DiskState, Limits, Space};

/// How often the disk is looked at. A busy node writes far less than the reserve in this time.
const INTERVAL: Duration = Duration::from_secs(5);

/// What the watch works with.
pub struct Parts {
    pub data_directory: PathBuf,
    pub mempool: Arc<Mempool>,
    pub inputs: mpsc::Sender<Input>,
    pub limits: Limits,
}

/// Runs until the engine is gone or the disk is full.
pub async fn watch(parts: Parts) -> Result<(), StoreFault> {
    let mut last = DiskState::Enough;
    loop {
        let space = Space::of(&parts.data_directory)?;
        let state = space.state(&parts.limits);
        if state == DiskState::Full {
            let free_per_mille = space.free_per_mille();
            return Err(StoreFault::DiskFull { path: parts.data_directory, free_per_mille });
        }
        if state != last {
            tell(state, &space);
            parts.mempool.accept(state < DiskState::Scarce);
            if parts.inputs.send(Input::Health { ok: true }).await.is_err() {
                return Ok(());
            }
            last = state;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn tell(state: DiskState, space: &Space) {
    let free_mib = space.free_bytes >> 20;
    match state {
        DiskState::Enough => tracing::info!(free_mib, "there is enough room on the disk again"),
        DiskState::Low => tracing::warn!(free_mib, "the disk fills up: less than 15 % are free"),
        DiskState::Scarce => tracing::error!(free_mib, "less than 5 % of the disk are free: transactions are refused"),
        DiskState::Full => {}
    }
}
