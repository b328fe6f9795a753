//! What nodes ask each other for, beside the votes: blocks by range, a block by id, batches. `serve` answers, `fetch`
//! gets what consensus wants, `catch_up` brings a node that fell behind, or an observer, to the tip. Nothing that a
//! peer says is believed: every answer proves itself or is dropped with its sender.

pub mod catch_up;
pub mod fetch;
pub mod followed;
pub mod join;
pub mod note;
pub mod serve;
pub mod snapshot;
pub mod turns;
pub mod wire;

use std::sync::Arc;

use mingzhang_consensus::Input;
use mingzhang_genesis::Genesis;
use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::certificate::CertificateFault;
use mingzhang_ledger::codec::CodecFault;
use mingzhang_ledger::crypto::{Hash, PublicKey};
use mingzhang_ledger::outcome::{Code, peers};
use mingzhang_ledger::recovery::{RecoveryFault, RecoveryKeys};
use thiserror::Error;
use tokio::sync::mpsc;

pub use catch_up::{CatchUp, strays};
pub use fetch::fetch_all;
pub use serve::serve;

use crate::engine::EpochWatch;
use crate::engine::worker::Job;
use crate::executor::Executor;
use crate::mempool::Mempool;
use crate::network::{self, RequestFault};
use crate::store::{Store, StoreFault};

/// What serving and fetching work with.
pub struct Parts {
    pub store: Arc<Store>,
    pub executor: Arc<Executor>,
    pub mempool: Arc<Mempool>,
    pub network: network::Handle,
    pub epoch: EpochWatch,
    pub inputs: mpsc::Sender<Input>,
    pub jobs: mpsc::Sender<Job>,
    pub giver: snapshot::Giver,
    /// The public half of the own consensus key, if there is one.
    pub consensus_key: Option<PublicKey>,
    pub trust: Arc<Trust>,
    /// A new node that is so many blocks behind takes a peer's state; none replays the log in any case.
    pub snapshot_from_blocks: Option<u64>,
}

/// What everything else is led from: the genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Genesis hash.
    pub chain: Hash,
    /// The set of epoch 0.
    pub founding: Arc<AuthoritySet>,
    pub recovery: RecoveryKeys,
}

impl Trust {
    pub fn of(genesis: &Genesis) -> Self {
        Self { chain: genesis.hash, founding: Arc::new(genesis.set.clone()), recovery: genesis.recovery_keys() }
    }
}

/// What cannot be true in an answer, and the code of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lie {
    pub code: Code,
    pub reason: String,
}

impl Lie {
    pub fn new(code: Code, reason: impl ToString) -> Self {
        Self { code, reason: reason.to_string() }
    }

    /// Well formed, and not what was asked for.
    pub fn other(reason: impl ToString) -> Self {
        Self::new(peers::OUT_OF_PLACE, reason)
    }
}

impl std::fmt::Display for Lie {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.reason, self.code)
    }
}

impl From<CodecFault> for Lie {
    fn from(fault: CodecFault) -> Self {
        Self::new(peers::MALFORMED, fault)
    }
}

impl From<RecoveryFault> for Lie {
    fn from(fault: RecoveryFault) -> Self {
        Self::new(fault.peer_code(), fault)
    }
}

impl From<CertificateFault> for Lie {
    fn from(fault: CertificateFault) -> Self {
        Self::new(fault.peer_code(), fault)
    }
}

/// Why a fetch brought nothing.
#[derive(Debug, Error)]
pub enum SyncFault {
    #[error(transparent)]
    Request(#[from] RequestFault),
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The peer sent what cannot be true: it loses the task and its connection.
    #[error("peer answered with {0}")]
    Lie(Lie),
    #[error("peer does not have it")]
    NotThere,
    #[error("peer gives too little at a time")]
    Slow,
    #[error("node is stopping")]
    Stopping,
}
