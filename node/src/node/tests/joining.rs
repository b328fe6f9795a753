//! A new store takes the state of running nodes: every part is checked, a false one is refused with its sender, and what
//! was taken survives a restart.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mingzhang_ledger::crypto::PublicKey;
use mingzhang_ledger::merkle::subtree_root;

use super::*;
use crate::network::RequestFault;
use crate::store::Progress;
use crate::sync::SyncFault;
use crate::sync::join::{Ask, Joined, Joiner};
use crate::sync::snapshot::{Giver, HELD, Limits, Manifest, Part};
use crate::sync::wire::Question;

/// So small that even a small state comes in several answers.
const LEAVES_BYTES: usize = 2_048;
const RECORDS: u32 = 40;

/// What a peer does to its answers.
type Spoil = fn(&Question, &mut Vec<u8>);

/// Peers that give the state of one store, some of them falsely, and how many questions they still answer.
struct Table {
    store: Arc<Store>,
    peers: Vec<(PublicKey, Spoil, Giver)>,
    patience: AtomicUsize,
    asked: Mutex<Vec<Question>>,
}

impl Table {
    fn of(store: &Arc<Store>, spoils: &[Spoil]) -> Self {
        let peer = |(number, spoil): (usize, &Spoil)| {
            (key(number, KeyOf::Peer).public(), *spoil, Giver::with(Limits { leaves_bytes: LEAVES_BYTES, held: HELD }))
        };
        Self {
            store: Arc::clone(store),
            peers: spoils.iter().enumerate().map(peer).collect(),
            patience: AtomicUsize::new(usize::MAX),
            asked: Mutex::default(),
        }
    }

    fn key(&self, place: usize) -> PublicKey {
        self.peers[place].0
    }

    fn asked(&self) -> usize {
        self.asked.lock().expect("no panic").len()
    }
}

impl Ask for Table {
    async fn ask(&self, peer: &PublicKey, question: &Question) -> Result<Vec<u8>, SyncFault> {
        let left = self.patience.load(Ordering::SeqCst);
        if left == 0 {
            return Err(SyncFault::Request(RequestFault::Unreachable));
        }
        self.patience.store(left - 1, Ordering::SeqCst);
        self.asked.lock().expect("no panic").push(question.clone());
        let (_, spoil, giver) = self.peers.iter().find(|(key, ..)| key == peer).expect("a peer of the table");
        let part = match question {
            Question::Manifest => Part::Manifest,
            Question::LeafHashes { height, part } => Part::Hashes { height: *height, part: *part },
            Question::Leaves { height, from } => Part::Leaves { height: *height, from: *from },
            _ => return Err(SyncFault::NotThere),
        };
        let mut answer = giver.answer(&self.store, part)?;
        spoil(question, &mut answer);
        Ok(answer)
    }
}

fn honest(_: &Question, _: &mut Vec<u8>) {}

fn flip(answer: &mut Vec<u8>, at: usize) {
    let mut spoilt = std::mem::take(answer);
    spoilt[at] ^= 1;
    *answer = spoilt;
}

fn flip_manifest(question: &Question, answer: &mut Vec<u8>) {
    if *question == Question::Manifest {
        flip(answer, 100);
    }
}

fn flip_hash(question: &Question, answer: &mut Vec<u8>) {
    if matches!(question, Question::LeafHashes { .. }) {
        flip(answer, 40);
    }
}

fn cut_hashes(question: &Question, answer: &mut Vec<u8>) {
    if matches!(question, Question::LeafHashes { .. }) {
        answer.truncate(answer.len() - 32);
    }
}

fn flip_leaf(question: &Question, answer: &mut Vec<u8>) {
    if matches!(question, Question::Leaves { .. }) {
        flip(answer, answer.len() - 1);
    }
}

/// True leaves, but not those that follow.
fn skip_leaf(question: &Question, answer: &mut Vec<u8>) {
    if matches!(question, Question::Leaves { .. }) {
        let length = u32::from_be_bytes(answer[32..36].try_into().expect("four bytes"));
        answer.drain(..36 + usize::try_from(length).expect("small"));
    }
}

fn joiner<'a>(store: &'a Arc<Store>, world: &'a World, table: &'a Table) -> Joiner<'a, Table> {
    Joiner { store, trust: &world.trust, from_blocks: 1, asked: table }
}

async fn filled() -> (World, Vec<Node>) {
    let world = World::new();
    let nodes = world.start_all().await;
    let records: Vec<Transaction> = (0..RECORDS).map(|number| world.record(1, number, &nodes[1])).collect();
    for record in &records {
        nodes[1].handle().submit(record.clone()).await.expect("admitted");
    }
    for node in &nodes {
        recorded(node, &records).await;
    }
    (world, nodes)
}

fn assert_same_state(ours: &Store, theirs: &Store) {
    let (ours, theirs_tip) = (ours.view().expect("a view"), theirs.tip());
    assert!(ours.height() <= theirs_tip.height);
    let header = theirs.header(ours.height()).expect("readable").expect("a block");
    let root = subtree_root(&ours, 0, ours.tip().state_size).expect("computed");
    assert_eq!((ours.tip().id, root), (header.id(), header.state_root));
    assert_eq!(ours.tip().log.size(), header.tree_size());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_giver_that_is_gone_holds_no_store() {
    let (world, nodes) = filled().await;
    let folder = tempfile::tempdir().expect("a folder");
    // A copy of a filled store, which nobody else holds.
    let copy = folder.path().join("copy");
    nodes[0].handle().store.back_up(&copy).expect("copied");
    let store = Arc::new(open_store(&copy, &world.genesis).expect("opens"));
    for _ in 0..20 {
        let giver = Giver::default();
        assert!(!giver.answer(&store, Part::Manifest).expect("readable").is_empty());
        drop(giver);
        assert_eq!(Arc::strong_count(&store), 1, "its thread may close the database while the process ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_is_not_given_for_ever_however_often_it_is_asked_for() {
    let (world, nodes) = filled().await;
    let giving = &nodes[0].handle().store;
    let given = |giver: &Giver| {
        let manifest = giver.answer(giving, Part::Manifest).expect("readable");
        Manifest::check(&manifest, &world.trust).expect("a true manifest").height()
    };
    let day = Giver::default();
    let moment = Giver::with(Limits { leaves_bytes: LEAVES_BYTES, held: Duration::ZERO });
    let before = given(&day);
    assert!(given(&moment) >= before);
    let record = world.record(1, RECORDS, &nodes[1]);
    nodes[1].handle().submit(record.clone()).await.expect("admitted");
    recorded(&nodes[0], &[record]).await;
    assert_eq!(given(&day), before, "a joiner needs one and the same state for as long as it takes");
    assert!(given(&moment) > before, "an asker that does not stop holds an old state");
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_part_names_its_sender_and_another_peer_goes_on() {
    let (world, nodes) = filled().await;
    let giving = &nodes[0].handle().store;
    let spoils: [Spoil; 6] = [flip_manifest, flip_hash, cut_hashes, flip_leaf, skip_leaf, honest];
    let table = Table::of(giving, &spoils);
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(open_store(folder.path(), &world.genesis).expect("founded"));
    assert!(store.is_fresh());
    for place in 0..spoils.len() - 1 {
        let refused = joiner(&store, &world, &table).take(&table.key(place)).await;
        assert!(matches!(refused, Err(SyncFault::Lie(_))), "peer {place}: {refused:?}");
    }
    assert!(store.is_joining(), "what the others gave truly is kept");
    let begun = table.asked();
    let whole = joiner(&store, &world, &table).take(&table.key(spoils.len() - 1)).await.expect("an honest peer");
    let Joined::Whole(manifest, measure) = whole else { panic!("worth it") };
    println!("took {} leaves, {} bytes at {:.1} MB/s", measure.leaves, measure.bytes, measure.megabytes_per_second());
    assert!(table.asked() > begun + 3, "several answers");
    store.finish_joining(&manifest.taken).expect("the state is whole");
    assert!(!store.is_joining() && !store.is_fresh());
    assert_eq!(store.base(), manifest.height());
    assert_same_state(&store, giving);
    store.check().expect("every leaf is under the root");
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_a_state_goes_on_after_a_restart() {
    let (world, nodes) = filled().await;
    let giving = &nodes[0].handle().store;
    let table = Table::of(giving, &[honest]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut questions = 0;
    // Killed after each few answers, until it is whole.
    let manifest = loop {
        let store = Arc::new(open_store(folder.path(), &world.genesis).expect("opens"));
        table.patience.store(4, Ordering::SeqCst);
        let taken = joiner(&store, &world, &table).take(&table.key(0)).await;
        questions += 1;
        match taken {
            Ok(Joined::Whole(manifest, _)) => {
                store.finish_joining(&manifest.taken).expect("whole");
                break manifest;
            }
            Err(SyncFault::Request(_)) => assert!(store.is_joining()),
            other => panic!("{other:?}"),
        }
    };
    assert!(questions > 2, "it was interrupted");
    let leaves = table.asked.lock().expect("no panic").clone();
    let from: Vec<_> = leaves.iter().filter(|question| matches!(question, Question::Leaves { .. })).collect();
    let distinct = from.iter().enumerate().all(|(place, question)| !from[..place].contains(question));
    assert!(distinct, "nothing was asked for twice");
    let store = open_store(folder.path(), &world.genesis).expect("opens");
    assert_eq!((store.tip().height, store.base()), (manifest.height(), manifest.height()));
    assert_eq!(store.joining(), Ok(None::<(Vec<u8>, Progress)>));
    assert_same_state(&store, giving);
    stop_all(nodes).await;
}
