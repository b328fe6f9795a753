//! What an operator does after more members were lost for good than the network tolerates, with the node stopped: dump what
//! it holds (`dump`), choose the block that stands and draft the manifest (`draft`), apply the signed one (`apply`). Form
//! and check of a manifest are the ledger's, its place on disk is the store's.

mod apply;
mod draft;
mod dump;

pub use apply::{apply, verify};
pub use draft::{Chosen, SeatFile, choose_base, member_of, require_new_seats};
pub use dump::{Dump, MAX_DUMP_BYTES};

use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::recovery::RecoveryFault;
use mingzhang_ledger::state::StateFault;
use thiserror::Error;

use crate::executor::ExecutorFault;
use crate::store::StoreFault;

/// Why a step of the recovery is not done.
#[derive(Debug, Error)]
pub enum Fault {
    #[error(transparent)]
    Store(#[from] StoreFault),
    #[error(transparent)]
    Executor(#[from] ExecutorFault),
    #[error(transparent)]
    State(#[from] StateFault),
    #[error(transparent)]
    Manifest(#[from] RecoveryFault),
    #[error("{0}")]
    Unfit(String),
    #[error("this node stands at height {tip}, the base is of height {base}, and no dump holds the blocks between")]
    BlocksMissing { tip: u64, base: u64 },
}

impl Fault {
    /// Its code in the catalogue.
    pub fn code(&self) -> Code {
        match self {
            Self::Store(fault) | Self::Executor(ExecutorFault::Store(fault)) => fault.code(),
            Self::Executor(_) | Self::State(_) => Code(5024),
            Self::Manifest(_) | Self::Unfit(_) => Code(5029),
            Self::BlocksMissing { .. } => Code(5031),
        }
    }
}
