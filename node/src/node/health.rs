//! Watches what this machine needs to take part: room on the disk, and a list of addresses that can be read. Warns early,
//! refuses new transactions before room is scarce, and stops the node in good order while there is still room to flush.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::addresses::Addresses;
use crate::mempool::Mempool;
use crate::store::StoreFault;
use crate::store::disk::{DiskState, Limits, Space};

/// How often the disk is looked at. A busy node writes far less than the reserve in this time.
const INTERVAL: Duration = Duration::from_secs(5);

/// What the watch works with.
pub struct Parts {
    pub data_directory: PathBuf,
    pub mempool: Arc<Mempool>,
    pub addresses: Arc<Addresses>,
    pub limits: Limits,
}

/// Refuses a full disk before the store is opened: what a node writes at its start needs room too.
pub fn require_room(data_directory: &Path, limits: &Limits) -> Result<(), StoreFault> {
    // The folder itself may still have to be made.
    let Some(existing) = data_directory.ancestors().find(|path| path.exists()) else { return Ok(()) };
    let space = Space::of(existing)?;
    if space.state(limits) == DiskState::Full { Err(full(data_directory, &space)) } else { Ok(()) }
}

fn full(data_directory: &Path, space: &Space) -> StoreFault {
    StoreFault::DiskFull { path: data_directory.to_owned(), free_per_mille: space.free_per_mille() }
}

/// Runs until the disk is full.
pub async fn watch(parts: Parts) -> Result<(), StoreFault> {
    let mut last = DiskState::Enough;
    loop {
        let space = Space::of(&parts.data_directory)?;
        let state = space.state(&parts.limits);
        if state == DiskState::Full {
            return Err(full(&parts.data_directory, &space));
        }
        if state != last {
            tell(state, &space);
            parts.mempool.accept(state < DiskState::Scarce);
            last = state;
        }
        // What has changed in it, the engine registers.
        parts.addresses.look();
        tokio::time::sleep(INTERVAL).await;
    }
}

fn tell(state: DiskState, space: &Space) {
    let free_mib = space.free_bytes >> 20;
    match state {
        DiskState::Enough => tracing::info!(free_mib, "there is enough room on the disk again"),
        DiskState::Low => tracing::warn!(free_mib, "the disk fills up: less than 15 % are free"),
        DiskState::Scarce => {
            tracing::error!(free_mib, "MZ-5003: less than 5 % of the disk are free: transactions are refused");
        }
        DiskState::Full => {}
    }
}
