//! Which authority set decides which checkpoint: from genesis over hand-offs, each sealed by the set before. A sealing
//! key lives one epoch, so the size of a checkpoint alone says whose seals count.

use std::collections::BTreeMap;

use super::header::{header_at_end, paired};
use super::{Problem, StepName};
use crate::authority::AuthoritySet;
use crate::crypto::{Hash, PublicKey};
use crate::entry;
use crate::outcome::Code;
use crate::proof::{Consistency, Handoff, Passage, RecoveryProof};
use crate::recovery::{Discontinuity, EndedEpoch, RecoveryKeys, SignedManifest};
use crate::seal::{Checkpoint, Note, SealFault, host, policy};

/// The authority sets that a verifier has been led to, beginning with that of genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    origin: String,
    chain: Hash,
    /// The set of genesis decides sizes above 0.
    first: AuthoritySet,
    later: Vec<Later>,
    recovery: RecoveryKeys,
    /// Those that the genesis lists: they stand in the policy and carry no trust.
    log_keys: Vec<PublicKey>,
}

/// A set of a later epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Later {
    /// Size of the log with the block that opened the epoch: the set decides sizes above it.
    above: u64,
    /// Id of that block.
    opened_by: Hash,
    set: AuthoritySet,
    /// What opened the epoch, if it was no boundary block.
    discontinuity: Option<Discontinuity>,
}

/// A checkpoint that a quorum of the right set has sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedNote {
    pub checkpoint: Checkpoint,
    pub epoch: u64,
    pub set_hash: Hash,
    /// Agencies and the times of their seals, seconds since 1970.
    pub seals: BTreeMap<String, u64>,
    pub quorum: usize,
}

/// The last checkpoint that this verifier verified and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub size: u64,
    pub root: Hash,
}

impl Authorities {
    /// From the genesis file: its origin, its hash, the set of epoch 0.
    pub fn new(origin: &str, chain: Hash, first: AuthoritySet) -> Self {
        let origin = origin.to_owned();
        Self { origin, chain, first, later: Vec::new(), recovery: RecoveryKeys::default(), log_keys: Vec::new() }
    }

    /// The same, with the recovery keys of the genesis: without them no manifest is believed.
    pub fn with_recovery(self, recovery: RecoveryKeys) -> Self {
        Self { recovery, ..self }
    }

    /// The same, with the log keys of the genesis: the policy of a bundle names them.
    pub fn with_log_keys(self, log_keys: Vec<PublicKey>) -> Self {
        Self { log_keys, ..self }
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The genesis hash.
    pub fn chain(&self) -> &Hash {
        &self.chain
    }

    /// The newest set that hand-offs have led to.
    pub fn newest(&self) -> &AuthoritySet {
        self.later.last().map_or(&self.first, |later| &later.set)
    }

    /// The set whose seals count on a checkpoint of this size.
    pub fn deciding(&self, size: u64) -> &AuthoritySet {
        self.later.iter().rev().find(|later| later.above < size).map_or(&self.first, |later| &later.set)
    }

    /// The policy file that the note of a checkpoint of this size is to satisfy, for verifiers that others wrote.
    pub fn policy(&self, size: u64) -> String {
        policy(&self.origin, &self.log_keys, self.deciding(size), None)
    }

    /// Every place at which recovery keys, and not the members, said who decides next. Nothing to be passed over in silence.
    pub fn discontinuities(&self) -> impl Iterator<Item = &Discontinuity> {
        self.later.iter().filter_map(|later| later.discontinuity.as_ref())
    }

    /// Passes trust over a hand-off or a recovery manifest, which must be the next.
    pub fn follow(&mut self, passage: &Passage) -> Result<(), Problem> {
        match passage {
            Passage::Handoff(handoff) => self.pass(handoff),
            Passage::Recovery(proof) => self.recover(proof),
        }
    }

    fn recover(&mut self, proof: &RecoveryProof) -> Result<(), Problem> {
        let invalid = |detail: String| Problem::failed(4130, StepName::Authority, detail);
        let signed = SignedManifest::decode(&proof.recovery).map_err(|fault| invalid(fault.to_string()))?;
        let current = self.newest();
        if signed.manifest().set.epoch > current.epoch.saturating_add(1) {
            let detail = format!("manifest to epoch {}, to which nothing leads", signed.manifest().set.epoch);
            return Err(Problem::missing(4107, StepName::Authority, detail));
        }
        let founding = entry::genesis_id(&self.chain);
        let opened_by = self.later.last().map_or(&founding, |later| &later.opened_by);
        let recovered = signed
            .verify(&self.recovery, &self.chain, &EndedEpoch { set: current, opened_by })
            .map_err(|fault| invalid(fault.to_string()))?;
        let above = recovered.base().tree_size();
        if self.later.last().is_some_and(|later| above < later.above) {
            return Err(invalid("the base lies before the block that opened its epoch".into()));
        }
        self.later.push(Later {
            above,
            opened_by: recovered.base().id(),
            set: recovered.set().clone(),
            discontinuity: Some(recovered.discontinuity(&self.recovery)),
        });
        Ok(())
    }

    /// Passes trust over one hand-off, which must be the next.
    pub fn pass(&mut self, handoff: &Handoff) -> Result<(), Problem> {
        let invalid = |detail: String| Problem::failed(4117, StepName::Authority, detail);
        let current = self.newest();
        let note = Note::parse(&handoff.checkpoint).map_err(|fault| invalid(fault.to_string()))?;
        let header = header_at_end(&note.checkpoint, &handoff.header, &handoff.path)
            .map_err(|problem| invalid(problem.detail))?;
        if header.epoch > current.epoch {
            let detail = format!("hand-off from epoch {}, to which no hand-off leads", current.epoch);
            return Err(Problem::missing(4107, StepName::Authority, detail));
        }
        let next = AuthoritySet::decode(&handoff.set).map_err(|fault| invalid(fault.to_string()))?;
        paired("epoch", header.epoch, current.epoch).map_err(invalid)?;
        paired("next epoch", Some(next.epoch), current.epoch.checked_add(1)).map_err(invalid)?;
        if header.set_hash != current.hash() {
            return Err(invalid("the boundary was decided by another set".into()));
        }
        if header.next_set_hash != next.hash() {
            return Err(invalid("the boundary names another next set".into()));
        }
        if header.next_set_hash == header.set_hash {
            return Err(invalid("the block is no boundary".into()));
        }
        if self.later.last().is_some_and(|later| note.checkpoint.size <= later.above) {
            return Err(invalid("the boundary lies before the one that opened its epoch".into()));
        }
        note.check_quorum(&self.origin, current).map_err(|fault| invalid(fault.to_string()))?;
        self.later.push(Later { above: note.checkpoint.size, opened_by: header.id(), set: next, discontinuity: None });
        Ok(())
    }

    /// Checks a checkpoint: this network, and a quorum of the set that decides its size.
    pub fn note(&self, note: &Note) -> Result<SealedNote, Problem> {
        let set = self.deciding(note.checkpoint.size);
        let seals = note.check_quorum(&self.origin, set).map_err(|fault| self.seal_problem(note, set, &fault))?;
        let named = seals.into_iter().filter_map(|(index, time)| Some((set.member(index)?.agency.clone(), time)));
        Ok(SealedNote {
            checkpoint: note.checkpoint.clone(),
            epoch: set.epoch,
            set_hash: set.hash(),
            seals: named.collect(),
            quorum: set.quorum(),
        })
    }

    /// Checks the text of a checkpoint.
    pub fn checkpoint(&self, text: &str) -> Result<SealedNote, Problem> {
        self.note(&Note::parse(text).map_err(|fault| form_problem(&fault))?)
    }

    pub(super) fn check_origin(&self, origin: &str) -> Result<(), Problem> {
        paired("origin", origin, self.origin.as_str())
            .map_err(|detail| Problem::failed(4001, StepName::Encoding, detail))
    }

    fn seal_problem(&self, note: &Note, set: &AuthoritySet, fault: &SealFault) -> Problem {
        let code = match fault {
            SealFault::NoQuorum { .. } => return self.quorum_problem(note, set, fault),
            SealFault::Origin { .. } => return Problem::failed(4001, StepName::Encoding, fault.to_string()),
            SealFault::Repeated(_) => 4124,
            SealFault::Signature(_) => 4104,
            SealFault::Format(_) | SealFault::Extension | SealFault::Epoch { .. } | SealFault::Signer { .. } => 4101,
        };
        Problem::failed(code, StepName::Seals, fault.to_string())
    }

    /// Too few known seals: perhaps those of a later epoch, to which no hand-off was given, or of unknown keys.
    fn quorum_problem(&self, note: &Note, set: &AuthoritySet, fault: &SealFault) -> Problem {
        let marker = format!(".{}/e", host(&self.origin));
        let epochs = note.lines.iter().filter_map(|line| line.name.rsplit_once(&marker)?.1.parse::<u64>().ok());
        let newest = self.newest().epoch;
        match epochs.clone().max() {
            Some(epoch) if epoch > newest => Problem::missing(
                4107,
                StepName::Authority,
                format!("sealed by epoch {epoch}, hand-offs lead to epoch {newest}"),
            ),
            Some(_) if epochs.count() >= set.quorum() => {
                let detail = format!("sealed with keys that are not those of epoch {}", set.epoch);
                Problem::failed(4106, StepName::Authority, detail)
            }
            Some(_) | None => Problem::failed(4105, StepName::Seals, fault.to_string()),
        }
    }
}

impl SealedNote {
    /// Whether it extends, or is, the checkpoint kept before.
    pub fn check_kept(&self, kept: &Kept, proof: Option<&Consistency>) -> Result<(), Problem> {
        let Checkpoint { size, root, .. } = &self.checkpoint;
        if *size < kept.size {
            let detail = format!("size {size}, kept is {}", kept.size);
            return Err(Problem::failed(4115, StepName::Authority, detail));
        }
        if *size == kept.size {
            let detail = format!("another root at size {size}");
            let same = *root == kept.root;
            return if same { Ok(()) } else { Err(Problem::failed(4116, StepName::Authority, detail)) };
        }
        let Some(proof) = proof else {
            let detail = format!("consistency proof from {} to {size}", kept.size);
            return Err(Problem::missing(4127, StepName::Inclusion, detail));
        };
        super::header::consistency(proof, kept, &self.checkpoint)
    }

    /// Whether a quorum of its seals is at most `max_age_s` old at `now_s`, both in seconds.
    pub fn check_age(&self, now_s: u64, max_age_s: u64) -> Result<(), Problem> {
        let mut times: Vec<u64> = self.seals.values().copied().collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        let oldest = times.get(self.quorum.saturating_sub(1)).copied().unwrap_or(0);
        let age = now_s.saturating_sub(oldest);
        if age <= max_age_s {
            return Ok(());
        }
        let detail = format!("sealed {age} s ago, at most {max_age_s} s are wanted");
        Err(Problem { missing: true, code: Code(4122), step: StepName::Seals, detail })
    }
}

/// A note whose form is wrong.
pub(super) fn form_problem(fault: &SealFault) -> Problem {
    let code = if *fault == SealFault::Extension { 4126 } else { 4101 };
    Problem::failed(code, StepName::Encoding, fault.to_string())
}
