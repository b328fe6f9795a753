//! The keys of this node, and the refusal to sign twice. Nothing else holds a consensus or sealing key. When a record
//! is made is decided by consensus, whether it is durable by the store's type.

use std::sync::Arc;

use mingzhang_consensus::Epoch;
use mingzhang_consensus::message::Message;
use mingzhang_consensus::safety::{SafetyFault, SafetyRecord, VoteBook};
use mingzhang_consensus::statement::Vote;
use mingzhang_ledger::batch::{Batch, batch_bytes};
use mingzhang_ledger::certificate::admit_bytes;
use mingzhang_ledger::crypto::{Hash, PublicKey, Signature, SigningKey, sha256};
use thiserror::Error;

use crate::keyring::Keyring;
use crate::keys::NodeKeys;
use crate::store::Durable;

/// Why nothing was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignerFault {
    #[error("refused to sign: {0}")]
    Contradiction(#[from] SafetyFault),
    #[error("this node has no seat in the authority set of epoch {epoch}")]
    NoSeat { epoch: u64 },
}

/// A seat in an authority set with the key that signs for it. Cheap to clone; wiped when the last copy is dropped.
#[derive(Debug, Clone)]
pub struct Seat {
    pub chain: Hash,
    pub epoch: u64,
    pub index: u16,
    key: SigningKey,
}

impl Seat {
    /// None if the key is not the consensus key of a member of the set: then this node only watches.
    pub fn find(epoch: &Epoch, key: &SigningKey) -> Option<Self> {
        let public: PublicKey = key.public();
        let index = epoch.set.members.iter().position(|member| member.consensus_key == public)?;
        let index = u16::try_from(index).ok()?;
        Some(Self { chain: epoch.chain, epoch: epoch.number(), index, key: key.clone() })
    }

    /// The author never signs two batches under one run and sequence number: a run is durably new at every start.
    pub fn sign_batch(&self, run: u64, seq: u64, payload: Vec<u8>) -> Batch {
        let hash = sha256(&[&payload]);
        let bytes = batch_bytes(&self.chain, self.epoch, self.index, (run, seq), &hash);
        let signature = self.key.sign(&bytes);
        Batch { epoch: self.epoch, author: self.index, run, seq, payload, signature }
    }

    /// The promise to record a transaction within the merge delay.
    pub fn sign_admission(&self, transaction_id: &Hash, time_ms: u64) -> Signature {
        self.key.sign(&admit_bytes(&self.chain, self.epoch, self.index, transaction_id, time_ms))
    }
}

/// The keys of this node: peer identity, consensus and sealing. None where a node only watches.
#[derive(Debug, Clone)]
pub struct Identity {
    pub peer: SigningKey,
    consensus: Option<SigningKey>,
    sealing: Arc<Keyring>,
}

impl Identity {
    pub fn new(keys: NodeKeys) -> Self {
        Self { peer: keys.peer, consensus: keys.consensus, sealing: Arc::new(keys.sealing) }
    }

    /// The seat that the consensus key has in an epoch, if any.
    pub fn seat(&self, epoch: &Epoch) -> Option<Seat> {
        Seat::find(epoch, self.consensus.as_ref()?)
    }

    /// The public half of the consensus key.
    pub fn consensus(&self) -> Option<PublicKey> {
        self.consensus.as_ref().map(SigningKey::public)
    }

    pub fn sealing(&self) -> &Arc<Keyring> {
        &self.sealing
    }
}

/// A vote and the record behind it, which holds what travels with a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedVote {
    pub record: SafetyRecord,
    pub vote: Vote,
}

impl SignedVote {
    /// What is sent: the proposal if the signer was on turn, else the vote.
    pub fn message(&self, attached: Vec<Batch>, epoch: &Epoch) -> Message {
        self.record.outgoing(self.vote.signer, self.vote.signature, attached, epoch)
    }
}

/// Signs votes, and keeps its own book of what it signed above the final turn.
#[derive(Debug)]
pub struct VoteSigner {
    seat: Option<Seat>,
    epoch: u64,
    book: VoteBook,
    contradiction: Option<SafetyFault>,
}

impl VoteSigner {
    /// `stored` are all records of the epoch above the final turn that the store holds. Where they contradict each other,
    /// as after damage to the disk, nothing is signed up to the turn in which they do.
    pub fn new(epoch: &Epoch, seat: Option<Seat>, final_turn: u64, stored: &[SafetyRecord]) -> Self {
        let mut book = VoteBook::new(epoch, final_turn);
        let mut records: Vec<&SafetyRecord> =
            stored.iter().filter(|record| record.epoch() == epoch.number() && record.turn() > final_turn).collect();
        // An endorsement stands before the confirmation that needs it.
        records.sort_by_key(|record| (record.turn(), record.statement().kind()));
        let (mut contradiction, mut not_up_to) = (None, final_turn);
        for record in records {
            if let Err(fault) = book.admit(record) {
                (contradiction, not_up_to) = (Some(fault), record.turn());
            }
        }
        book.finalise(not_up_to);
        Self { seat, epoch: epoch.number(), book, contradiction }
    }

    /// What was wrong with the stored records, if anything.
    pub fn contradiction(&self) -> Option<&SafetyFault> {
        self.contradiction.as_ref()
    }

    /// Signs what is durable and contradicts nothing.
    pub fn sign(&mut self, record: Durable<SafetyRecord>) -> Result<Durable<SignedVote>, SignerFault> {
        record.try_map(|record| {
            let seat = self.seat.as_ref().ok_or(SignerFault::NoSeat { epoch: self.epoch })?;
            self.book.admit(&record)?;
            let signature = seat.key.sign(&record.statement().signed_bytes(&seat.chain));
            let vote = record.vote(seat.index, signature);
            Ok(SignedVote { record, vote })
        })
    }

    /// A turn became final: nothing at or below it is signed any more.
    pub fn finalise(&mut self, turn: u64) {
        self.book.finalise(turn);
    }
}

#[cfg(test)]
mod tests {
    use mingzhang_consensus::Opening;
    use mingzhang_consensus::justification::EndorseCert;
    use mingzhang_ledger::certificate::Signers;
    use mingzhang_ledger::entry;

    use super::*;
    use crate::testing::{KeyOf, genesis, key};

    fn epoch() -> Epoch {
        let genesis = genesis();
        let opening = Opening::Genesis { block: entry::genesis_id(&genesis.hash) };
        Epoch { chain: genesis.hash, set: Arc::new(genesis.set), opening }
    }

    fn certificate(turn: u64) -> EndorseCert {
        let signers = Signers::new((0..3).map(|seat| (seat, Signature([1; 64]))));
        EndorseCert { epoch: 0, turn, height: 1, block: [5; 32], just: [6; 32], signers }
    }

    #[test]
    fn a_seat_is_found_by_its_key_and_signs_what_the_set_can_check() {
        let epoch = epoch();
        let seat = Seat::find(&epoch, &key(2, KeyOf::Consensus)).expect("a member");
        assert_eq!(seat.index, 2);
        assert!(Seat::find(&epoch, &key(2, KeyOf::Sealing)).is_none());
        let public = epoch.set.member(2).expect("a member").consensus_key;
        let batch = seat.sign_batch(7, 0, vec![1, 2, 3]);
        assert!(public.verify(&batch.signed_bytes(&epoch.chain), &batch.signature));
        let admission = seat.sign_admission(&[9; 32], 5);
        assert!(public.verify(&admit_bytes(&epoch.chain, 0, 2, &[9; 32], 5), &admission));
        let other = admit_bytes(&[0; 32], 0, 2, &[9; 32], 5);
        assert!(!public.verify(&other, &admission), "the chain is signed too");
    }

    #[test]
    fn nothing_is_signed_twice_below_the_final_turn_or_without_a_seat() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = crate::node::open_store(folder.path(), &genesis()).expect("opens");
        let epoch = epoch();
        let seat = Seat::find(&epoch, &key(1, KeyOf::Consensus));
        let skip = |turn| SafetyRecord::Skipped { epoch: 0, turn };
        let durable = |turn| {
            let stored = store.persist(&epoch, vec![skip(turn)]).expect("the store writes");
            stored.each().next().expect("one record")
        };
        let mut signer = VoteSigner::new(&epoch, seat.clone(), 0, &[]);
        let first = signer.sign(durable(3)).expect("signs");
        let public = epoch.set.member(1).expect("a member").consensus_key;
        assert!(public.verify(&first.vote.statement.signed_bytes(&epoch.chain), &first.vote.signature));
        assert_eq!(signer.sign(durable(3)).expect("the same again"), first);
        signer.finalise(3);
        let refused = signer.sign(durable(3)).expect_err("final");
        assert_eq!(refused, SignerFault::Contradiction(SafetyFault::Final { turn: 3, final_turn: 3 }));
        let mut watcher = VoteSigner::new(&epoch, None, 0, &[]);
        assert_eq!(watcher.sign(durable(4)).expect_err("no seat"), SignerFault::NoSeat { epoch: 0 });
        // After a restart the book is what the store holds.
        let restarted = VoteSigner::new(&epoch, seat.clone(), 0, &[skip(3), skip(4)]);
        assert_eq!(restarted.contradiction(), None);
        // Its endorsement is gone: the node starts, and signs nothing there.
        let confirmed = SafetyRecord::Confirmed { certificate: certificate(5), late: None };
        let mut damaged = VoteSigner::new(&epoch, seat, 0, &[skip(4), confirmed]);
        assert_eq!(damaged.contradiction(), Some(&SafetyFault::NotEndorsed { turn: 5 }));
        assert!(damaged.sign(durable(5)).is_err());
        assert!(damaged.sign(durable(6)).is_ok());
    }
}
