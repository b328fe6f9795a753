//! What is known of one turn: its proposal, the votes in it, the certificates that they add up to. Bounded: one
//! proposal, one vote per signer and kind, one accusation per signer. What follows from it is decided by the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mingzhang_ledger::certificate::Signers;
use mingzhang_ledger::crypto::Hash;

use crate::evidence::conflict;
use crate::justification::{EndorseCert, Just, SkipCert};
use crate::statement::{Kind, Statement, Vote};
use crate::{BlockId, Peer};

/// The first proposal of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) block: BlockId,
    pub(crate) just_hash: Hash,
    /// Whether the header's time fitted this node's clock when the proposal came.
    pub(crate) timely: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct TurnState {
    pub(crate) proposal: Option<Seen>,
    pub(crate) endorse_cert: Option<EndorseCert>,
    pub(crate) skip_cert: Option<Arc<SkipCert>>,
    /// The proposal's justification, and the one that the certificate names.
    pub(crate) justs: BTreeMap<Hash, Just>,
    votes: BTreeMap<(Kind, Peer), Vote>,
    accused: BTreeSet<Peer>,
    /// The block of the certificate came with references that are not its own: it is had by its id, and from no proposal.
    pub(crate) spoilt: bool,
    #[cfg(any(feature = "mutant-13-duplicate-signer", feature = "mutants-by-name"))]
    heard: Vec<Statement>,
}

/// What became of a vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tallied {
    /// It is the first of its signer and kind.
    pub(crate) counted: bool,
    /// It contradicts this earlier vote of its signer, who was not accused in this turn before.
    pub(crate) contradicts: Option<Vote>,
}

impl TurnState {
    pub(crate) fn record(&mut self, vote: &Vote) -> Tallied {
        let earlier = [Kind::Endorse, Kind::Skip, Kind::Confirm]
            .into_iter()
            .filter_map(|kind| self.votes.get(&(kind, vote.signer)))
            .find(|earlier| conflict(&earlier.statement, &vote.statement).is_some())
            .copied();
        let contradicts = earlier.filter(|_| self.accused.insert(vote.signer));
        #[cfg(any(feature = "mutant-13-duplicate-signer", feature = "mutants-by-name"))]
        self.heard.push(vote.statement);
        let key = (vote.statement.kind(), vote.signer);
        let counted = !self.votes.contains_key(&key);
        if counted {
            self.votes.insert(key, *vote);
        }
        Tallied { counted, contradicts }
    }

    /// Who made exactly this statement.
    pub(crate) fn signers(&self, statement: &Statement) -> Signers {
        Signers::new(
            self.of_kind(statement.kind())
                .filter(|vote| vote.statement == *statement)
                .map(|vote| (vote.signer, vote.signature)),
        )
    }

    /// How much a statement weighs: its signers, each once.
    #[cfg(not(any(feature = "mutant-13-duplicate-signer", feature = "mutants-by-name")))]
    #[allow(clippy::unused_self)]
    pub(crate) fn weight(&self, _: &Statement, signers: &Signers) -> usize {
        signers.len()
    }

    #[cfg(any(feature = "mutant-13-duplicate-signer", feature = "mutants-by-name"))]
    pub(crate) fn weight(&self, statement: &Statement, signers: &Signers) -> usize {
        if !crate::mutants::DUPLICATE_SIGNER.on() {
            return signers.len();
        }
        self.heard.iter().filter(|heard| *heard == statement).count()
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.of_kind(kind).count()
    }

    pub(crate) fn vote_of(&self, kind: Kind, signer: Peer) -> Option<&Vote> {
        self.votes.get(&(kind, signer))
    }

    /// The last vote of an authority in this turn.
    pub(crate) fn last_vote_of(&self, signer: Peer) -> Option<Vote> {
        [Kind::Confirm, Kind::Skip, Kind::Endorse].into_iter().find_map(|kind| self.votes.get(&(kind, signer))).copied()
    }

    /// Certificates say all that is still needed of a turn long past. A justification that one of them comes to name is asked
    /// for: each is as long as all failed turns before it.
    pub(crate) fn keep_certificates(&mut self) {
        self.votes.clear();
        self.accused.clear();
        self.proposal = None;
        let named = self.endorse_cert.as_ref().map(|certificate| certificate.just);
        self.justs.retain(|hash, _| Some(*hash) == named);
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Vote> {
        self.votes.range((kind, Peer::MIN)..=(kind, Peer::MAX)).map(|(_, vote)| vote)
    }
}
