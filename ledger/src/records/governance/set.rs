//! What the state holds of authority sets: the one that decides, the change that waits, what agencies said about their
//! nodes, and every key that a node ever had. When it changes is said in `seats` and `readiness`.

use minicbor::{Decode, Encode};

use crate::authority::AuthoritySet;
use crate::crypto::PublicKey;
use crate::records::object::Ref;
use crate::state::{Overlay, Snapshot as _, StateFault, key};

/// The value of `set/next`: the change that was agreed and has not happened yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct NextSet {
    #[n(0)]
    pub change: Option<AgreedChange>,
}

/// An agreed change of the authority set.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AgreedChange {
    #[n(0)]
    pub proposal: Ref,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub action_body: Vec<u8>,
    /// Block time in ms from which it may happen.
    #[n(2)]
    pub from_time: u64,
    /// Block time in ms after which it lapses if the next set is not ready.
    #[n(3)]
    pub valid_until: u64,
    /// Height of the block in which it was agreed.
    #[n(4)]
    pub agreed_height: u64,
}

/// A node that is at most this many blocks behind follows the tip.
pub(super) const MAX_BEHIND: u64 = 64;

/// The value of `sealing/<agency>`: what an agency said last about the next epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Readiness {
    /// The epoch in which the key seals.
    #[n(0)]
    pub epoch: u64,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sealing_key: [u8; 32],
    /// Up to where the node had followed.
    #[n(2)]
    pub height: u64,
}

impl Readiness {
    /// Whether the node followed when a change was agreed.
    pub(super) fn is_after(&self, height: u64) -> bool {
        self.height.saturating_add(MAX_BEHIND) >= height
    }
}

/// The value of `node-key/<key>`: a consensus, sealing or peer key that has been registered and is never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct NodeKey {
    /// The epoch that it was for, or in which it ended.
    #[n(0)]
    pub epoch: u64,
}

/// The set that decides now.
pub(super) fn current(draft: &Overlay<'_>) -> Result<AuthoritySet, StateFault> {
    let stored = draft.read(&key::set_current())?.ok_or(StateFault::Invariant("there is no authority set"))?;
    AuthoritySet::decode(&stored.current).map_err(|fault| StateFault::Value(fault.to_string()))
}

/// The change that waits, if any.
pub(super) fn agreed(draft: &Overlay<'_>) -> Result<Option<AgreedChange>, StateFault> {
    Ok(draft.get::<NextSet>(&key::set_next())?.and_then(|next| next.change))
}

/// Whether a key stands anywhere already: in the set, with an officer, or with a node earlier.
pub(super) fn is_known(draft: &Overlay<'_>, key: &PublicKey, current: &AuthoritySet) -> Result<bool, StateFault> {
    let in_set = |key: &PublicKey| {
        let mut members = current.members.iter();
        members.any(|member| [member.consensus_key, member.sealing_key, member.peer_key].contains(key))
    };
    Ok(in_set(key) || draft.exists(&key::node_key(key))? || draft.exists(&key::officer_key(&key.key_id()))?)
}
