//! What a proposal may bring, and what a bad one costs.

use mingzhang_consensus::justification::{Just, Parent, SkipCert};
use mingzhang_consensus::{Opening, window};
use mingzhang_ledger::batch::Batch;
use mingzhang_ledger::certificate::Signers;
use mingzhang_ledger::crypto::Signature;
use mingzhang_ledger::entry;
use mingzhang_ledger::header::Header;
use tokio::sync::watch;

use super::*;
use crate::mempool::{self, Limits, Submissions};
use crate::network::AllowedPeer;
use crate::signer::Seat;
use crate::store::Offence;
use crate::testing::{AGENCIES, KeyOf, genesis, key};

/// A node of agency 0 without an engine.
struct Door {
    parts: Parts,
    epoch: Arc<Epoch>,
    _folder: tempfile::TempDir,
    _alive: (watch::Sender<Arc<Epoch>>, Submissions, network::Inbox),
}

const LANE_BYTES: usize = 2_000;

async fn door() -> Door {
    let (genesis, folder) = (genesis(), tempfile::tempdir().expect("a folder"));
    let opening = Opening::Genesis { block: entry::genesis_id(&genesis.hash) };
    let epoch = Arc::new(Epoch { chain: genesis.hash, set: Arc::new(genesis.set.clone()), opening });
    let store = Arc::new(crate::node::open_store(folder.path(), &genesis).expect("opens"));
    let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread"));
    let clock = Arc::new(Clock::default());
    let mempool_parts = mempool::Parts {
        network: genesis.founding.network.clone(),
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        pool: Arc::clone(&pool),
        limits: Limits { linger_ms: 0, mempool_bytes: 1 << 20, lane_bytes: LANE_BYTES },
    };
    let seat = Seat::find(&epoch, &key(0, KeyOf::Consensus));
    let (mempool, submissions) = Mempool::open(mempool_parts, &epoch, seat, &store.tip().lanes).expect("opens");
    mempool.reach(1);
    let peers = (0..4usize).map(|index| AllowedPeer {
        key: key(index, KeyOf::Peer).public(),
        seat: u16::try_from(index).ok(),
        name: AGENCIES[index].to_owned(),
        addresses: Vec::new(),
    });
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    let config = network::Config { key: key(0, KeyOf::Peer), chain: genesis.hash, listen, peers: peers.collect() };
    let (network, inbox) = network::start(config).await.expect("starts");
    let (sender, watched) = watch::channel(Arc::clone(&epoch));
    let parts = Parts { epoch: watched, clock, clocks: Arc::default(), pool, mempool, store, network };
    Door { parts, epoch, _folder: folder, _alive: (sender, submissions, inbox) }
}

/// A justification of a turn that nobody skipped anything for.
fn invalid(turn: u64) -> Just {
    let skip = |turn| Arc::new(SkipCert { epoch: 0, turn, signers: Signers::new(std::iter::empty()) });
    Just { epoch: 0, turn, parent: Parent::Start(None), skips: (1..turn).map(skip).collect() }
}

impl Door {
    fn batch(&self, author: usize, seq: u64, size: usize) -> Batch {
        let seat = Seat::find(&self.epoch, &key(author, KeyOf::Consensus)).expect("a seat");
        seat.sign_batch(7, seq, vec![0; size])
    }

    /// Signed by the proposer of its turn.
    fn proposal(&self, just: Just, named: &[Batch], brought: &[Batch]) -> Proposal {
        let proposer = self.epoch.proposer(just.turn);
        let header = Header {
            height: 1,
            epoch: 0,
            turn: just.turn,
            parent_turn: 0,
            proposer,
            time_ms: 1,
            first_index: 1,
            entry_count: 0,
            log_root: [1; 32],
            state_root: [2; 32],
            parent: self.epoch.opening_block(),
            batches: [3; 32],
            set_hash: self.epoch.set.hash(),
            next_set_hash: self.epoch.set.hash(),
            state_size: 1,
        };
        let references = named.iter().map(|batch| batch.reference(1_024)).collect();
        let signature = Signature([0; 64]);
        let mut proposal = Proposal { header, references, batches: brought.to_vec(), just, signature };
        let signed = proposal.statement(&self.epoch).signed_bytes(&self.epoch.chain);
        proposal.signature = key(usize::from(proposer), KeyOf::Consensus).sign(&signed);
        proposal
    }

    /// Hands in what `seat` sent, and says how many messages reach consensus.
    async fn receive(&self, seat: u16, messages: Vec<Message>) -> usize {
        let from = Remote { key: key(usize::from(seat), KeyOf::Peer).public(), seat: Some(seat) };
        let (frames, inbound) = mpsc::channel(64);
        for message in messages {
            frames
                .try_send(Inbound { from, channel: Channel::Consensus, body: message.encode(&self.epoch), room: None })
                .expect("room");
        }
        drop(frames);
        let (inputs, mut stepped) = mpsc::channel(64);
        let (seals, strays) = (mpsc::channel(1).0, mpsc::channel(1).0);
        verify_inbound(inbound, self.parts.clone(), Outlets { inputs, seals, strays }).await.expect("the store works");
        let mut count = 0;
        while let Some(input) = stepped.recv().await {
            count += usize::from(matches!(input, Input::Message { .. }));
        }
        count
    }

    fn held(&self, batches: &[Batch]) -> usize {
        batches.iter().filter(|batch| self.parts.mempool.holds(batch)).count()
    }
}

fn boxed(proposal: Proposal) -> Message {
    Message::Proposal(Box::new(proposal))
}

#[tokio::test]
async fn batches_ride_past_the_quota_on_the_first_proposal_of_a_turn_only() {
    let door = door().await;
    let proposer = door.epoch.proposer(1);
    let batches: Vec<Batch> = (0..4).map(|seq| door.batch(usize::from(proposer), seq, 900)).collect();
    let opening = || Just::opening(&door.epoch);
    let first = door.proposal(opening(), &batches[..3], &batches[..3]);
    let second = door.proposal(opening(), &batches, &batches);
    assert_eq!(door.receive(proposer, vec![boxed(first.clone()), boxed(second), boxed(first)]).await, 3);
    assert_eq!(door.held(&batches), 3, "the second proposal's are held within the quota only");
    assert_eq!(door.parts.store.batches(0).expect("the store reads"), batches[..3]);
}

#[tokio::test]
async fn a_proposal_that_another_hands_on_brings_nothing_past_the_quota() {
    let door = door().await;
    let proposer = door.epoch.proposer(1);
    let batches: Vec<Batch> = (0..4).map(|seq| door.batch(usize::from(proposer), seq, 900)).collect();
    let proposal = door.proposal(Just::opening(&door.epoch), &batches, &batches);
    assert_eq!(door.receive((proposer + 1) % 4, vec![boxed(proposal)]).await, 1);
    assert_eq!(door.held(&batches), 1);
    let [before, beyond] = [0, 2 + window(4)];
    assert!(![before, beyond].into_iter().any(|turn| door.parts.mempool.expects(0, turn)));
}

#[tokio::test]
async fn batches_that_a_proposal_does_not_name_are_refused_with_it() {
    let door = door().await;
    let proposer = door.epoch.proposer(1);
    let batches = [door.batch(2, 0, 50), door.batch(2, 1, 50)];
    let proposal = door.proposal(Just::opening(&door.epoch), &batches[..1], &batches);
    assert_eq!(door.receive(proposer, vec![boxed(proposal)]).await, 0);
    assert_eq!(door.held(&batches), 0);
}

#[tokio::test]
async fn of_the_faults_of_one_kind_the_first_proof_is_kept_and_shown() {
    let door = door().await;
    // Turns of one and the same proposer, each under a justification that proves nothing.
    let turns = [2, 6, 10];
    let accused = door.epoch.proposer(2);
    let proposals = turns.map(|turn| boxed(door.proposal(invalid(turn), &[], &[])));
    assert_eq!(door.receive(accused, proposals.to_vec()).await, 0);
    let offence = Offence { epoch: 0, accused, rule: 5 };
    let offences = door.parts.store.offences();
    assert_eq!(offences.iter().map(|(offence, _)| *offence).collect::<Vec<_>>(), [offence]);
    let bytes = door.parts.store.evidence(&offence).expect("the store reads").expect("it is kept");
    let evidence = mingzhang_consensus::evidence::Evidence::decode(&bytes, &door.epoch).expect("well formed");
    assert_eq!((evidence.check(&door.epoch), evidence.code(), evidence.accused()), (Ok(()), 5, accused));
    assert_eq!(mingzhang_consensus::evidence::Evidence::turn_of(&bytes), Some(2));
    let alarms = door.parts.store.offence_alarms();
    assert_eq!(alarms.len(), 1);
    assert!(alarms[0].contains("broke rule E5 in epoch 0"), "{alarms:?}");
    let Door { parts, _folder: folder, .. } = door;
    drop(parts);
    let store = crate::node::open_store(folder.path(), &genesis()).expect("opens again");
    assert_eq!(store.offence_alarms(), alarms);
}

#[tokio::test]
async fn what_waits_of_a_peer_that_was_dropped_is_not_checked() {
    let door = door().await;
    let batch = [door.batch(2, 0, 50)];
    let good = || boxed(door.proposal(Just::opening(&door.epoch), &[], &[]));
    assert_eq!(door.receive(1, vec![good()]).await, 1);
    let bad = door.proposal(Just::opening(&door.epoch), &[], &batch);
    assert_eq!(door.receive(1, vec![boxed(bad)]).await, 0);
    assert_eq!(door.receive(1, vec![good()]).await, 0);
    assert_eq!(door.receive(2, vec![good()]).await, 1, "others are heard");
}

#[tokio::test]
async fn a_justification_of_a_final_turn_is_a_question_and_one_told_again_is_known() {
    let door = door().await;
    let old = Message::Justify(invalid(5));
    assert_eq!(unless_stale(old.clone(), 4), old);
    assert_eq!(unless_stale(old, 5), Message::Ask(Ask { epoch: 0, turn: 5, just: None }));
    let opening = Message::Justify(Just::opening(&door.epoch));
    assert_eq!(door.receive(1, vec![opening.clone(), opening.clone(), opening]).await, 3);
}
