//! A new store takes the state of running nodes: every part is checked, a false one is refused with its sender, and what
//! was taken survives a restart.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mingzhang_ledger::crypto::PublicKey;
use mingzhang_ledger::merkle::subtree_root;

use super::*;
use crate::network::RequestFault;
use crate::store::Progress;
use crate::sync::join::{Ask, Begun, Joined, Joiner, PACE, Pace};
use crate::sync::snapshot::{Giver, HELD, Limits, Manifest, Part, next_of};
use crate::sync::turns::Turns;
use crate::sync::wire::Question;
use crate::sync::{Lie, SyncFault};

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
    /// One question in so many is not answered.
    loses: usize,
    asked: Mutex<Vec<Question>>,
    turns: Mutex<Turns>,
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
            loses: usize::MAX,
            asked: Mutex::default(),
            turns: Mutex::default(),
        }
    }

    fn keys(&self) -> Vec<PublicKey> {
        self.peers.iter().map(|(key, ..)| *key).collect()
    }

    /// From now on the peer gives the state of this moment.
    fn hold(&self, place: usize) -> u64 {
        let (_, _, giver) = &self.peers[place];
        assert!(!giver.answer(&self.store, Part::Manifest).expect("readable").is_empty());
        self.store.tip().height
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
        let asked = {
            let mut asked = self.asked.lock().expect("no panic");
            asked.push(question.clone());
            asked.len()
        };
        if asked.is_multiple_of(self.loses) {
            return Err(SyncFault::Request(RequestFault::TimedOut));
        }
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

    fn refuse(&self, peer: &PublicKey, lie: &Lie) {
        panic!("{} is honest: {lie}", hex::encode(peer.0));
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

/// Leads to a state and gives nothing of it.
fn withhold_all(question: &Question, answer: &mut Vec<u8>) {
    if *question != Question::Manifest {
        answer.clear();
    }
}

fn withhold_leaves(question: &Question, answer: &mut Vec<u8>) {
    if matches!(question, Question::Leaves { .. }) {
        answer.clear();
    }
}

fn withhold_end(question: &Question, answer: &mut Vec<u8>) {
    if matches!(question, Question::Leaves { .. }) && next_of(answer).is_none() {
        answer.clear();
    }
}

/// One leaf at a time, each as late as it is still taken.
fn drip(question: &Question, answer: &mut Vec<u8>) {
    if matches!(question, Question::Leaves { .. }) {
        let length = u32::from_be_bytes(answer[32..36].try_into().expect("four bytes"));
        answer.truncate(36 + usize::try_from(length).expect("small"));
        std::thread::sleep(DRIP);
    }
}

/// A tenth of the pace, so that a drip is noticed after ten leaves.
const DRIP: Duration = Duration::from_millis(400);
const TEST_PACE: Pace = Pace { span_ms: 4_000, ..PACE };

fn joiner<'a>(store: &'a Arc<Store>, world: &'a World, table: &'a Table) -> Joiner<'a, Table> {
    let (trust, turns) = (&world.trust, &table.turns);
    Joiner { store, trust, from_blocks: 1, tolerated: 1, asked: table, turns, pace: TEST_PACE }
}

/// One record more than there were.
async fn grow(world: &World, nodes: &[Node], number: u32) {
    let record = world.record(1, number, &nodes[1]);
    nodes[1].handle().submit(record.clone()).await.expect("admitted");
    recorded(&nodes[0], &[record]).await;
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
        let refused = joiner(&store, &world, &table).take(&table.key(place), Begun::GivenUp).await;
        assert!(matches!(refused, Err(SyncFault::Lie(_))), "peer {place}: {refused:?}");
    }
    assert!(store.is_joining(), "what the others gave truly is kept");
    let begun = table.asked();
    let whole = joiner(&store, &world, &table)
        .take(&table.key(spoils.len() - 1), Begun::GivenUp)
        .await
        .expect("an honest peer");
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
    // Soon tired of a peer that is gone.
    let pace = Pace { span_ms: 500, least_bytes: 1 };
    // Killed after each few answers, until it is whole.
    let manifest = loop {
        let store = Arc::new(open_store(folder.path(), &world.genesis).expect("opens"));
        table.patience.store(4, Ordering::SeqCst);
        let joiner = Joiner { pace, ..joiner(&store, &world, &table) };
        let taken = joiner.take(&table.key(0), Begun::GivenUp).await;
        questions += 1;
        match taken {
            Ok(Joined::Whole(manifest, _)) => {
                store.finish_joining(&manifest.taken).expect("whole");
                break manifest;
            }
            Err(SyncFault::Request(_) | SyncFault::Slow) => assert!(store.is_joining()),
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

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_withhold_or_drip_do_not_keep_a_joiner_from_an_honest_one() {
    let (world, nodes) = filled().await;
    let giving = &nodes[0].handle().store;
    let table = Table::of(giving, &[withhold_all, withhold_leaves, drip, withhold_end, honest]);
    // The honest peer holds an older state than the others: nobody else can go on with it, nor it with theirs.
    let honest_height = table.hold(4);
    for number in 0..8 {
        grow(&world, &nodes, RECORDS + number).await;
    }
    assert!(table.hold(3) > honest_height);
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(open_store(folder.path(), &world.genesis).expect("founded"));
    let none = joiner(&store, &world, &table).join(&[table.key(0)], Begun::GivenUp).await;
    assert!(matches!(none, Ok(None)) && !store.is_joining(), "nothing is begun for who gives nothing");
    let kept = joiner(&store, &world, &table).join(&[table.key(1), table.key(4)], Begun::Kept).await;
    assert!(matches!(kept, Err(SyncFault::NotThere)) && store.is_joining(), "what is begun is kept where it is to be");
    let joined = joiner(&store, &world, &table).join(&table.keys(), Begun::GivenUp).await.expect("an honest peer");
    let (manifest, _) = joined.expect("worth it");
    assert_eq!(manifest.height(), honest_height);
    store.finish_joining(&manifest.taken).expect("the state is whole");
    assert_same_state(&store, giving);
    store.check().expect("every leaf is under the root, and no other is there");
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_state_that_is_half_taken_goes_on_with_it() {
    let (world, nodes) = filled().await;
    let giving = &nodes[0].handle().store;
    let table = Table::of(giving, &[honest, honest, honest]);
    let height = table.hold(0);
    assert_eq!(table.hold(2), height, "the same state");
    grow(&world, &nodes, RECORDS).await;
    assert!(table.hold(1) > height, "another one");
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(open_store(folder.path(), &world.genesis).expect("founded"));
    table.patience.store(4, Ordering::SeqCst);
    let pace = Pace { span_ms: 500, least_bytes: 1 };
    let broken = Joiner { pace, ..joiner(&store, &world, &table) }.join(&[table.key(0)], Begun::GivenUp).await;
    assert!(matches!(broken, Err(SyncFault::NotThere)), "{broken:?}");
    table.patience.store(usize::MAX, Ordering::SeqCst);
    let before = table.asked();
    let joined = joiner(&store, &world, &table).join(&[table.key(1), table.key(2)], Begun::GivenUp).await;
    let (manifest, _) = joined.expect("an honest peer").expect("worth it");
    assert_eq!(manifest.height(), height);
    let asked = table.asked.lock().expect("no panic").split_off(before);
    assert!(asked.iter().all(|question| !matches!(question, Question::LeafHashes { .. })), "it goes on: {asked:?}");
    store.finish_joining(&manifest.taken).expect("the state is whole");
    assert_same_state(&store, giving);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_costs_time_and_nothing_that_was_taken() {
    let (world, nodes) = filled().await;
    let giving = &nodes[0].handle().store;
    let table = Table { loses: 5, ..Table::of(giving, &[honest, honest]) };
    let height = table.hold(0);
    grow(&world, &nodes, RECORDS).await;
    assert!(table.hold(1) > height);
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(open_store(folder.path(), &world.genesis).expect("founded"));
    let joined = joiner(&store, &world, &table).join(&table.keys(), Begun::GivenUp).await;
    assert_eq!(
        joined.expect("an honest peer").map(|(manifest, _)| manifest.height()),
        Some(height),
        "the first peer's"
    );
    let asked = table.asked.lock().expect("no panic").clone();
    assert!(asked.len() >= 10, "two were lost of {asked:?}");
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_cannot_say_that_there_is_nothing_to_take() {
    let (world, nodes) = filled().await;
    let giving = &nodes[0].handle().store;
    let table = Table::of(giving, &[honest, honest]);
    let low = table.hold(0);
    grow(&world, &nodes, RECORDS).await;
    assert!(table.hold(1) > low);
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(open_store(folder.path(), &world.genesis).expect("founded"));
    let from_blocks = low + 1;
    let joiner = |tolerated| Joiner { from_blocks, tolerated, ..joiner(&store, &world, &table) };
    assert!(matches!(joiner(0).join(&table.keys(), Begun::GivenUp).await, Ok(None)), "nobody is suspected");
    let joined = joiner(1).join(&table.keys(), Begun::GivenUp).await.expect("an honest peer");
    assert_eq!(joined.map(|(manifest, _)| manifest.height() > low), Some(true));
    stop_all(nodes).await;
}
