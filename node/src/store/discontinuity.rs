//! Recovery manifests on disk: what this node knows to be certified above its last final block, whether a manifest may
//! end its epoch, and the write that opens the next one. Who signed the manifest was checked before.

use std::collections::BTreeMap;
use std::sync::Arc;

use mingzhang_consensus::Opening;
use mingzhang_consensus::justification::{Just, Parent};
use mingzhang_consensus::safety::{Endorsed, Entered, SafetyRecord};
use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::batch::LanePosition;
use mingzhang_ledger::certificate::FinalCert;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::recovery::{Recovered, SignedManifest};
use rocksdb::WriteBatch;

use super::fault::StoreFault;
use super::schema::{self, Column, meta};
use super::tip::Tip;
use super::view::View;
use super::{Finality, Store};

/// A block above the last final one that a certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// Turn of the certificate.
    pub turn: u64,
    pub height: u64,
    pub block: Hash,
    /// Whether this node confirmed it.
    pub confirmed: bool,
    pub certificate: Parent,
}

/// Everything about them that this node holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AboveFinal {
    /// Highest turn first.
    pub certified: Vec<Certified>,
    /// Blocks that this node validated, by id.
    pub endorsed: BTreeMap<Hash, Endorsed>,
}

impl AboveFinal {
    /// The certified blocks, highest turn first, from which blocks that this node validated lead down to this one; with
    /// them, lowest first.
    pub fn chains(&self, tip: &Hash) -> impl Iterator<Item = (&Certified, Vec<&Endorsed>)> {
        self.certified.iter().filter_map(|certified| Some((certified, self.down_to(certified, tip)?)))
    }

    fn down_to(&self, certified: &Certified, tip: &Hash) -> Option<Vec<&Endorsed>> {
        let (mut blocks, mut at) = (Vec::new(), certified.block);
        while at != *tip {
            let block = self.endorsed.get(&at).filter(|_| blocks.len() <= self.endorsed.len())?;
            blocks.push(block);
            at = block.header.parent;
        }
        blocks.reverse();
        (!blocks.is_empty()).then_some(blocks)
    }
}

/// The id of the block that a base continues from, and the turn at which that was certified.
fn turn_of(tip: &Tip, base: &Header) -> u64 {
    if base.id() == tip.id { tip.turn } else { base.turn }
}

impl Store {
    /// What the vote records of the current epoch say about blocks above the last final one.
    pub fn above_final(&self) -> Result<AboveFinal, StoreFault> {
        let (epoch, tip) = (self.epoch()?, self.tip());
        let mut found = AboveFinal::default();
        let mut certified = BTreeMap::new();
        let mut justs: Vec<Just> = self.entered(&epoch)?.map(|Entered { just }| just).into_iter().collect();
        for record in self.records_above(&epoch, tip.turn)? {
            let endorsed = match record {
                SafetyRecord::Endorsed(endorsed) => Some(endorsed),
                SafetyRecord::Skipped { .. } => None,
                SafetyRecord::Confirmed { certificate, late } => {
                    let (turn, height, block) = (certificate.turn, certificate.height, certificate.block);
                    let certificate = Parent::Endorsed(certificate);
                    certified.insert(turn, Certified { turn, height, block, confirmed: true, certificate });
                    late
                }
            };
            if let Some(endorsed) = endorsed {
                justs.push(endorsed.just.clone());
                found.endorsed.insert(endorsed.block(), *endorsed);
            }
        }
        for just in justs {
            let (turn, height, block) = match &just.parent {
                Parent::Start(_) => continue,
                Parent::Endorsed(certificate) => (certificate.turn, certificate.height, certificate.block),
                Parent::Final(certificate) => (certificate.turn, certificate.height, certificate.block),
            };
            if turn > tip.turn {
                let known = Certified { turn, height, block, confirmed: false, certificate: just.parent };
                certified.entry(turn).or_insert(known);
            }
        }
        found.certified = certified.into_values().rev().collect();
        Ok(found)
    }

    /// Whether a verified manifest may end this node's epoch: it is the next one, nothing final is given up, and no
    /// certified block that this node holds stands above the base.
    pub fn check_recovery(&self, recovered: &Recovered) -> Result<(), StoreFault> {
        let (tip, base) = (self.tip(), recovered.base());
        if self.is_joining() || Some(recovered.epoch()) != tip.epoch.checked_add(1) {
            return Err(StoreFault::OtherEpoch { manifest: recovered.epoch(), store: tip.epoch });
        }
        let higher = |turn, height| StoreFault::AboveBase { base: base.height, turn, height };
        if tip.height > base.height || (tip.height == base.height && tip.id != base.id()) {
            return Err(higher(tip.turn, tip.height));
        }
        let above = self.above_final()?;
        let at = turn_of(&tip, base);
        let contradicts = |known: &&Certified| {
            let held = known.confirmed || above.endorsed.contains_key(&known.block);
            held && known.turn > at && known.block != base.id()
        };
        match above.certified.iter().find(contradicts) {
            Some(known) => Err(higher(known.turn, known.height)),
            None => Ok(()),
        }
    }

    /// Ends the epoch at the last final block, if the manifest names that one. One synced write; the same manifest again
    /// changes nothing.
    pub fn open_recovered(&self, recovered: &Recovered) -> Result<(), StoreFault> {
        if self.recovery_of(recovered.epoch())?.as_deref() == Some(recovered.bytes()) {
            return Ok(());
        }
        self.check_recovery(recovered)?;
        let _one_at_a_time = self.committing.lock().expect("no holder of this lock panics");
        let tip = self.tip();
        let base = recovered.base();
        if tip.id != base.id() {
            return Err(StoreFault::BelowBase { base: base.height, tip: tip.height });
        }
        let next = Tip {
            epoch: recovered.epoch(),
            turn: 0,
            lanes: vec![LanePosition::default(); recovered.set().members.len()],
            ..tip.as_ref().clone()
        };
        let mut batch = WriteBatch::default();
        self.write_epoch(base.height, recovered.set(), &mut batch);
        self.write_recovered(recovered, &mut batch);
        self.prune_epochs_to(tip.epoch, &mut batch);
        batch.put_cf(self.column(Column::Meta), meta::TIP, next.encode());
        self.write_synced(batch)?;
        self.settle_votes(0);
        *self.set.write().expect("no holder of this lock panics") = Arc::new(recovered.set().clone());
        *self.tip.write().expect("no holder of this lock panics") = Arc::new(next);
        Ok(())
    }

    pub(super) fn write_recovered(&self, recovered: &Recovered, batch: &mut WriteBatch) {
        batch.put_cf(self.column(Column::Meta), schema::recovery(recovered.epoch()), recovered.bytes());
    }

    pub(super) fn write_epoch(&self, height: u64, set: &AuthoritySet, batch: &mut WriteBatch) {
        let epoch = [&height.to_be_bytes()[..], &set.encode()].concat();
        batch.put_cf(self.column(Column::Epochs), set.epoch.to_be_bytes(), epoch);
    }

    /// Drops the votes and batches of epochs up to this one.
    pub(super) fn prune_epochs_to(&self, epoch: u64, batch: &mut WriteBatch) {
        let next = epoch.saturating_add(1);
        batch.delete_range_cf(self.column(Column::Votes), schema::vote(0, 0, 0), schema::vote(next, 0, 0));
        batch.delete_range_cf(self.column(Column::Batches), 0u64.to_be_bytes(), next.to_be_bytes());
    }

    /// The signed manifest that opened an epoch, if one did.
    pub fn recovery_of(&self, epoch: u64) -> Result<Option<Vec<u8>>, StoreFault> {
        self.get(Column::Meta, &schema::recovery(epoch))
    }

    /// How an epoch that a manifest opened begins.
    pub(super) fn recovered_opening(&self, epoch: u64) -> Result<Option<Opening>, StoreFault> {
        let Some(bytes) = self.recovery_of(epoch)? else { return Ok(None) };
        let signed = decode(epoch, &bytes)?;
        let base = &signed.manifest().base;
        Ok(Some(Opening::Recovered { height: base.height, block: base.id() }))
    }

    /// The set that the child of a block of this height puts into the state: that of a manifest with this base.
    pub fn recovered_set(&self, epoch: u64, height: u64) -> Result<Option<AuthoritySet>, StoreFault> {
        let Some(bytes) = self.recovery_of(epoch)? else { return Ok(None) };
        let manifest = decode(epoch, &bytes)?.manifest().clone();
        Ok((manifest.base.height == height).then_some(manifest.set))
    }
}

impl View<'_> {
    /// As [`Store::recovery_of`].
    pub fn recovery_of(&self, epoch: u64) -> Result<Option<Vec<u8>>, StoreFault> {
        self.get(Column::Meta, &schema::recovery(epoch))
    }

    /// The manifests of every epoch up to the current one, as they were signed.
    pub fn recoveries(&self) -> Result<Vec<SignedManifest>, StoreFault> {
        let mut found = Vec::new();
        for epoch in 1..=self.tip().epoch {
            if let Some(bytes) = self.recovery_of(epoch)? {
                found.push(decode(epoch, &bytes)?);
            }
        }
        Ok(found)
    }
}

fn decode(epoch: u64, bytes: &[u8]) -> Result<SignedManifest, StoreFault> {
    SignedManifest::decode(bytes)
        .map_err(|error| StoreFault::corrupt(format!("recovery manifest of epoch {epoch}"), error))
}

impl Finality {
    /// The certificate of just this block.
    pub(super) fn own_certificate(&self, block: &Hash) -> Option<&FinalCert> {
        match self {
            Self::Certificate(certificate) => Some(certificate).filter(|certificate| certificate.block == *block),
            Self::Recovery(_) => None,
        }
    }

    /// The manifest that opens the next epoch on this block.
    pub(super) fn opens_on(&self, block: &Hash) -> Option<&Arc<Recovered>> {
        match self {
            Self::Certificate(_) => None,
            Self::Recovery(recovered) => Some(recovered).filter(|recovered| recovered.base().id() == *block),
        }
    }
}
