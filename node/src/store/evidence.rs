//! Proof of rules that others broke: the first for each epoch, member and rule, so that nobody fills the disk with them.
//! What proves a fault is the consensus crate's matter, what follows from it the agencies'.

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use mingzhang_consensus::Epoch;
use mingzhang_consensus::evidence::Evidence;
use mingzhang_ledger::authority::Member;
use mingzhang_ledger::crypto::PublicKey;
use rocksdb::{IteratorMode, WriteBatch};

use super::Store;
use super::fault::StoreFault;
use super::schema::{self, Column};

/// Which rule which member of which epoch broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offence {
    pub epoch: u64,
    pub accused: u16,
    /// 1 to 7: E1 to E7.
    pub rule: u8,
}

/// Who an accused member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accused {
    pub agency: String,
    pub consensus_key: PublicKey,
}

impl From<&Member> for Accused {
    fn from(member: &Member) -> Self {
        Self { agency: member.agency.clone(), consensus_key: member.consensus_key }
    }
}

/// What is proven, kept in memory beside the proofs on disk.
pub(super) type Offences = BTreeMap<Offence, Accused>;

impl Store {
    fn offences_lock(&self) -> MutexGuard<'_, Offences> {
        self.offences.lock().expect("no holder of this lock panics")
    }

    /// Keeps evidence of a fault in this epoch, and says so in the log. False if such a fault of this member is proven
    /// already, or the evidence is of another epoch.
    pub fn put_evidence(&self, evidence: &Evidence, epoch: &Epoch) -> Result<bool, StoreFault> {
        let offence = Offence { epoch: epoch.number(), accused: evidence.accused(), rule: evidence.code() };
        let Some(accused) = epoch.set.member(offence.accused).map(Accused::from) else { return Ok(false) };
        if evidence.epoch() != offence.epoch {
            return Ok(false);
        }
        let mut offences = self.offences_lock();
        if offences.contains_key(&offence) {
            return Ok(false);
        }
        let mut write = WriteBatch::default();
        write.put_cf(self.column(Column::Evidence), schema::evidence(&offence), evidence.encode(epoch));
        self.write(write)?;
        tracing::error!(alarm = %told(&offence, &accused), "alarm");
        offences.insert(offence, accused);
        Ok(true)
    }

    /// What is proven, by epoch, member and rule.
    pub fn offences(&self) -> Vec<(Offence, Accused)> {
        self.offences_lock().iter().map(|(offence, accused)| (*offence, accused.clone())).collect()
    }

    /// The proof, as consensus encodes it with the set of its epoch.
    pub fn evidence(&self, offence: &Offence) -> Result<Option<Vec<u8>>, StoreFault> {
        self.get(Column::Evidence, &schema::evidence(offence))
    }

    /// A sentence for each proven fault of a key that has a seat now, newest epoch first. It goes with the key.
    pub fn offence_alarms(&self) -> Vec<String> {
        let set = self.set();
        let sits = |accused: &Accused| set.members.iter().any(|member| member.consensus_key == accused.consensus_key);
        let offences = self.offences_lock();
        offences
            .iter()
            .rev()
            .filter(|(_, accused)| sits(accused))
            .map(|(offence, accused)| told(offence, accused))
            .collect()
    }

    pub(super) fn load_offences(&self) -> Result<(), StoreFault> {
        let mut offences = Offences::new();
        for item in self.db.iterator_cf(self.column(Column::Evidence), IteratorMode::Start) {
            let (key, _) = item?;
            let Some(offence) = schema::offence(&key) else { continue };
            let set = self.stored_epoch(offence.epoch)?.map(|stored| stored.set);
            if let Some(member) = set.as_ref().and_then(|set| set.member(offence.accused)) {
                offences.insert(offence, Accused::from(member));
            }
        }
        *self.offences_lock() = offences;
        Ok(())
    }
}

fn told(offence: &Offence, accused: &Accused) -> String {
    let Offence { epoch, accused: seat, rule } = offence;
    format!("{} (seat {seat}) broke rule E{rule} in epoch {epoch}; the proof is at /api/v1/evidence", accused.agency)
}
