//! What can go wrong in the store, one sentence each, with the code of the catalogue. A store fault is the operator's:
//! it is never a verdict on a record or block.

use std::path::PathBuf;

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::state::StateFault;
use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreFault {
    #[error("{}: data directory {path} cannot be opened: {reason}", self.code())]
    NotOpened { path: PathBuf, reason: String },
    #[error("{}: data directory {path} is in use by another process ({pid}); stop that one first", self.code())]
    InUse { path: PathBuf, pid: String },
    #[error(
        "{}: data directory was founded from genesis {}, the configuration names genesis {}; use a new empty directory",
        self.code(),
        hex::encode(store),
        hex::encode(genesis)
    )]
    OtherGenesis { store: Hash, genesis: Hash },
    #[error("{}: data directory has layout version {version}, this program reads {supported}", self.code())]
    Version { version: u32, supported: u32 },
    #[error("{}: the genesis state cannot be made: {reason}", self.code())]
    Genesis { reason: String },
    #[error("{}: {what} is corrupt: {reason}", self.code())]
    Corrupt { what: String, reason: String },
    #[error("{}: disk of {path} is full, {free_per_mille} of 1000 parts are free; make space and start again", self.code())]
    DiskFull { path: PathBuf, free_per_mille: u64 },
    #[error("{}: database: {reason}", self.code())]
    Database { reason: String },
    #[error("{}: the store stopped after a failed write or sync; restart the node", self.code())]
    Stopped,
    #[error("block of height {height} follows height {tip}")]
    Height { height: u64, tip: u64 },
    #[error("block of height {height} differs in {what} from what this node executed or stored")]
    OtherBlock { height: u64, what: &'static str },
    #[error("height {height} is not kept any more or not yet, the store holds {oldest} to {newest}")]
    NotKept { height: u64, oldest: u64, newest: u64 },
    #[error("a record of epoch {epoch}, turn {turn} is already stored and says something else")]
    Contradiction { epoch: u64, turn: u64 },
    #[error(
        "{}: this node holds a certified block of height {height}, turn {turn}, above the base of height {base}; nothing \
         was changed",
        self.code()
    )]
    AboveBase { base: u64, turn: u64, height: u64 },
    #[error("{}: this node stands at height {tip}, the base is of height {base}; nothing was changed", self.code())]
    BelowBase { base: u64, tip: u64 },
    #[error("{}: the recovery manifest opens epoch {manifest}, this node is in epoch {store}", self.code())]
    OtherEpoch { manifest: u64, store: u64 },
    #[error("size {size} is to be sealed after size {last}, or with another root")]
    SealBehind { size: u64, last: u64 },
}

impl StoreFault {
    /// Its code in the catalogue.
    pub fn code(&self) -> Code {
        Code(match self {
            Self::NotOpened { .. } | Self::Database { .. } | Self::Stopped => 5001,
            Self::DiskFull { .. } => 5002,
            Self::OtherGenesis { .. } => 5004,
            Self::Corrupt { .. } => 5011,
            Self::InUse { .. } => 5015,
            Self::Genesis { .. } => 5018,
            Self::OtherBlock { .. } => 5020,
            Self::Contradiction { .. } | Self::SealBehind { .. } => 5022,
            Self::Version { .. } => 5023,
            Self::OtherEpoch { .. } => 5029,
            Self::AboveBase { .. } => 5030,
            Self::BelowBase { .. } => 5031,
            Self::Height { .. } | Self::NotKept { .. } => 5024,
        })
    }

    pub(crate) fn corrupt(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Corrupt { what: what.into(), reason: reason.to_string() }
    }
}

impl From<rocksdb::Error> for StoreFault {
    fn from(error: rocksdb::Error) -> Self {
        let text = error.to_string();
        match error.kind() {
            rocksdb::ErrorKind::Corruption => Self::Corrupt { what: "a database file".into(), reason: text },
            _ if text.contains("No space left") => Self::DiskFull { path: PathBuf::new(), free_per_mille: 0 },
            _ => Self::Database { reason: text },
        }
    }
}

impl From<StoreFault> for StateFault {
    fn from(fault: StoreFault) -> Self {
        Self::Store(fault.to_string())
    }
}

impl From<StateFault> for StoreFault {
    fn from(fault: StateFault) -> Self {
        Self::Corrupt { what: "state".into(), reason: fault.to_string() }
    }
}
