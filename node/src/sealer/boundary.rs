//! The seals of boundary blocks. Without a quorum of them nobody outside can pass from one epoch's members to the next, so
//! the own one is repeated until they are there, also by who was away when the block became final. Then, once the new
//! epoch too has a sealed checkpoint, the old key has nothing left to do and is destroyed.

use std::collections::BTreeMap;
use std::sync::Arc;

use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::seal::{self, Checkpoint};

use super::{LONGEST_REPEAT_MS, Own, Sealer};
use crate::store::{SealPosition, StoreFault, StoredEpoch};

/// Boundaries of the past that are looked at; older ones have been handed on long ago, or never will be.
const MAX_PAST: u64 = 16;

/// Own seals of boundaries that lack a quorum, by the epoch that they open.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    open: BTreeMap<u64, Option<Own>>,
    /// Epochs up to this one were looked at.
    known: u64,
}

impl Boundaries {
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.open.values().flatten().map(|own| own.repeat_at_ms).min()
    }
}

impl Sealer {
    /// Looks for boundaries whose hand-off does not stand yet, and says the own seal again where it is time.
    pub(super) fn on_boundaries(&mut self) -> Result<(), StoreFault> {
        let current = self.parts.store.tip().epoch;
        let first = self.boundaries.known.max(current.saturating_sub(MAX_PAST));
        for epoch in first.saturating_add(1)..=current {
            self.boundaries.open.insert(epoch, None);
        }
        self.boundaries.known = current;
        for epoch in self.boundaries.open.keys().copied().collect::<Vec<_>>() {
            self.look_after(epoch)?;
        }
        Ok(())
    }

    fn look_after(&mut self, epoch: u64) -> Result<(), StoreFault> {
        let (Some(before), Some(opened)) = (self.set_before(epoch)?, self.parts.store.stored_epoch(epoch)?) else {
            return Ok(());
        };
        let Some(size) = self.boundary_size(&opened)? else { return Ok(()) };
        // Where a recovery manifest stands for the hand-off, nobody waits for the seals of a set that is lost.
        let recovered = self.parts.store.recovery_of(epoch)?.is_some();
        if recovered || self.parts.store.seals(size)?.len() >= before.quorum() {
            if self.parts.store.sealed_size() > size {
                self.destroy_key_of(&before, &opened.set)?;
                self.boundaries.open.remove(&epoch);
            } else {
                self.boundaries.open.insert(epoch, None);
            }
            return Ok(());
        }
        let now_ms = self.parts.clock.now_ms();
        let own = match self.boundaries.open.get(&epoch).cloned().flatten() {
            Some(own) => Some(own),
            None => self.seal_boundary(&before, size)?,
        };
        let Some(mut own) = own else { return Ok(()) };
        if own.repeat_at_ms <= now_ms {
            own.pause_ms = own.pause_ms.saturating_mul(2).min(LONGEST_REPEAT_MS);
            own.repeat_at_ms = now_ms.saturating_add(own.pause_ms);
            self.send(&own.seal);
        }
        self.boundaries.open.insert(epoch, Some(own));
        Ok(())
    }

    fn set_before(&self, epoch: u64) -> Result<Option<Arc<AuthoritySet>>, StoreFault> {
        match epoch.checked_sub(1) {
            Some(before) => self.set_of(before),
            None => Ok(None),
        }
    }

    /// Size of the log with the block that opened an epoch.
    fn boundary_size(&self, opened: &StoredEpoch) -> Result<Option<u64>, StoreFault> {
        let header = self.parts.store.header(opened.opening_height)?;
        Ok(header.map(|header| header.own_index().saturating_add(1)))
    }

    /// The own seal with the key of the epoch before, due at once. None if this node had no seat then, or the key has
    /// sealed beyond.
    fn seal_boundary(&mut self, set: &AuthoritySet, size: u64) -> Result<Option<Own>, StoreFault> {
        let Some((signer, key)) = self.key_in(set) else { return Ok(None) };
        let root = self.root_at(size)?;
        if self.parts.store.seal_position(&key.public())?.is_some_and(|last| last.size > size) {
            return Ok(None);
        }
        self.parts.store.advance_seal(&key.public(), SealPosition { size, root })?;
        let now_ms = self.parts.clock.now_ms();
        self.last_time_s = self.last_time_s.max(now_ms.div_euclid(1_000));
        let checkpoint = Checkpoint { origin: self.parts.origin.clone(), size, root };
        let seal = seal::Seal::sign(&checkpoint, set.epoch, signer, self.last_time_s, &key);
        self.keep(&seal, set)?;
        let pause_ms = set.parameters.seal_interval_ms;
        Ok(Some(Own { seal, repeat_at_ms: now_ms, pause_ms }))
    }

    /// A key that seals in the next set too, because its agency was not ready in time, is kept.
    fn destroy_key_of(&self, before: &AuthoritySet, next: &AuthoritySet) -> Result<(), StoreFault> {
        let Some((_, key)) = self.key_in(before) else { return Ok(()) };
        let public = key.public();
        if next.members.iter().any(|member| member.sealing_key == public) {
            return Ok(());
        }
        if let Err(fault) = self.parts.keys.destroy(&public) {
            tracing::error!(%fault, "the sealing key of an earlier epoch could not be destroyed");
        }
        Ok(())
    }
}
