//! One epoch: the chain, the authority set that decides in it, and the block that opened it. Everything that is
//! decoded or verified, is so against one of these. The engine opens the next one once a boundary block is final and applied.

use std::sync::Arc;

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::crypto::Hash;

use crate::{BlockId, Height, Peer, Turn};

/// The block on which an epoch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// Leaf 0 of the log plays height 0.
    Genesis { block: BlockId },
    /// A final boundary block of the epoch before, with the set that decided it.
    Boundary { certificate: FinalCert, previous: Arc<AuthoritySet> },
    /// The block that stands, as a recovery manifest says: after the loss of too many members no certificate leads on.
    Recovered { height: Height, block: BlockId },
}

/// W: turns ahead of the current one of which anything is kept.
pub fn window(members: usize) -> Turn {
    u64::try_from(members).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(16)
}

/// The context of decoding and verification. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Genesis hash.
    pub chain: Hash,
    /// The set; its `epoch` is the number of this epoch.
    pub set: Arc<AuthoritySet>,
    pub opening: Opening,
}

impl Epoch {
    pub fn number(&self) -> u64 {
        self.set.epoch
    }

    /// n, the size of the set.
    pub fn members(&self) -> usize {
        self.set.members.len()
    }

    /// Size of the set before, whose bitmaps an opening certificate has; 0 where there is none.
    pub fn previous_members(&self) -> usize {
        match &self.opening {
            Opening::Genesis { .. } | Opening::Recovered { .. } => 0,
            Opening::Boundary { previous, .. } => previous.members.len(),
        }
    }

    /// Height of the block that opened the epoch.
    pub fn opening_height(&self) -> Height {
        match &self.opening {
            Opening::Genesis { .. } => 0,
            Opening::Boundary { certificate, .. } => certificate.height,
            Opening::Recovered { height, .. } => *height,
        }
    }

    /// Id of the block that opened the epoch.
    pub fn opening_block(&self) -> BlockId {
        match &self.opening {
            Opening::Genesis { block } | Opening::Recovered { block, .. } => *block,
            Opening::Boundary { certificate, .. } => certificate.block,
        }
    }

    /// The agency on turn, a function of the turn alone.
    pub fn proposer(&self, turn: Turn) -> Peer {
        self.set.proposer(turn, self.opening_height())
    }

    /// Every index of the set, ascending.
    pub fn peers(&self) -> impl Iterator<Item = Peer> + use<> {
        let members = u16::try_from(self.members()).unwrap_or(u16::MAX);
        0..members
    }
}
