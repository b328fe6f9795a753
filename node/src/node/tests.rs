//! Four nodes in one process: real stores, real peers on loopback, real consensus.

mod events;
mod joining;

use std::collections::BTreeSet;
use std::time::Duration;

use mingzhang_consensus::justification::{Just, Parent, SkipCert};
use mingzhang_consensus::safety::Entered;
use mingzhang_consensus::statement::Statement;
use mingzhang_ledger::certificate::Signers;
use mingzhang_ledger::transaction::Transaction;
use tempfile::TempDir;

use super::*;
use crate::keyring::Keyring;
use crate::keys::NodeKeys;
use crate::mempool::Submitted;
use crate::testing::{AGENCIES, KeyOf, anchor, config, free_ports, genesis, key, keys, seeds};

/// Generous: the machine may be busy. Nothing waits this long unless the test fails.
const PATIENCE: Duration = Duration::from_secs(120);
const TEN_MINUTES_MS: u64 = 600_000;

struct World {
    genesis: Genesis,
    trust: sync::Trust,
    seeds: Seeds,
    ports: Vec<u16>,
    folders: Vec<TempDir>,
}

impl World {
    fn new() -> Self {
        let genesis = genesis();
        // One more than there are agencies, for an observer.
        let ports = free_ports(AGENCIES.len() + 1);
        let seeds = seeds(&genesis, &ports);
        let folders = ports.iter().map(|_| tempfile::tempdir().expect("a folder")).collect();
        Self { trust: sync::Trust::of(&genesis), genesis, seeds, ports, folders }
    }

    async fn start(&self, index: usize) -> Node {
        let config = config(AGENCIES[index], self.folders[index].path(), self.ports[index]);
        let (genesis, seeds) = (self.genesis.clone(), self.seeds.clone());
        start(Start { config, genesis, seeds, keys: keys(index), lost_at_ms: None, clock_offset_ms: 0 })
            .await
            .expect("starts")
    }

    async fn start_all(&self) -> Vec<Node> {
        let mut nodes = Vec::new();
        for index in 0..AGENCIES.len() {
            nodes.push(self.start(index).await);
        }
        nodes
    }

    fn record(&self, agency: usize, number: u32, node: &Node) -> Transaction {
        anchor(&self.genesis, agency, number, node.handle().now_ms() + TEN_MINUTES_MS)
    }
}

/// Waits until a node holds these transactions in final blocks.
async fn recorded(node: &Node, transactions: &[Transaction]) {
    let mut heights = node.handle().store.watch_height();
    let wait = async {
        loop {
            let located = |transaction: &Transaction| {
                node.handle().store.location(&transaction.id()).expect("the store reads").is_some()
            };
            if transactions.iter().all(located) {
                return;
            }
            heights.changed().await.expect("the node runs");
        }
    };
    let status = || format!("{:?} {:?}", node.handle().status(), node.handle().fill());
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("not recorded in time: {}", status());
    }
}

async fn sealed(node: &Node, size: u64) {
    let mut sizes = node.handle().store.watch_sealed();
    let sealed = tokio::time::timeout(PATIENCE, sizes.wait_for(|sealed| *sealed >= size)).await;
    sealed.expect("sealed in time").expect("the node runs");
}

/// Every node has the same block at every height that all of them reached.
fn agree(nodes: &[&Node]) {
    let common = nodes.iter().map(|node| node.handle().store.tip().height).min().expect("nodes");
    for height in 1..=common {
        let headers: BTreeSet<_> = nodes
            .iter()
            .map(|node| node.handle().store.header(height).expect("the store reads").expect("a header").id())
            .collect();
        assert_eq!(headers.len(), 1, "height {height}");
    }
}

async fn stop_all(nodes: Vec<Node>) {
    for node in nodes {
        node.stop().await.expect("stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_nodes_make_blocks_of_what_is_submitted_and_seal_them() {
    let world = World::new();
    let nodes = world.start_all().await;
    let mut transactions = Vec::new();
    for number in 0..40u32 {
        let agency = usize::try_from(number % 4).expect("small");
        let transaction = world.record(agency, number, &nodes[agency]);
        let answer = nodes[agency].handle().submit(transaction.clone()).await.expect("admitted");
        assert!(matches!(answer, Submitted::Admitted(admitted) if !admitted.repeated));
        transactions.push(transaction);
    }
    for node in &nodes {
        recorded(node, &transactions).await;
    }
    agree(&nodes.iter().collect::<Vec<_>>());
    let size = nodes[0].handle().store.tip().tree_size();
    for node in &nodes {
        sealed(node, size).await;
    }
    stop_all(nodes).await;
}

/// Id of the transaction that an answer stands for.
fn first_id(answer: &Submitted) -> mingzhang_ledger::crypto::Hash {
    match answer {
        Submitted::Admitted(admitted) => admitted.transaction_id,
        Submitted::Recorded { transaction_id, .. } => *transaction_id,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_record_is_recorded_once_wherever_and_however_often_it_is_submitted() {
    let world = World::new();
    let nodes = world.start_all().await;
    let first = world.record(1, 7, &nodes[0]);
    let later = anchor(&world.genesis, 1, 7, nodes[0].handle().now_ms() + TEN_MINUTES_MS + 5_000);
    let other = {
        let mut payload = first.payload().clone();
        payload.body = mingzhang_ledger::codec::Value::text_map([
            ("kind", mingzhang_ledger::codec::Value::text("order")),
            ("root", mingzhang_ledger::codec::Value::bytes(&[9; 32])),
        ]);
        Transaction::sign(&payload, &key(1, KeyOf::Officer)).expect("a small record")
    };
    for node in nodes.iter().skip(2) {
        node.handle().submit(first.clone()).await.expect("admitted");
    }
    let again = nodes[2].handle().submit(later.clone()).await.expect("the same record");
    assert_eq!(first_id(&again), first.id());
    for node in &nodes {
        recorded(node, std::slice::from_ref(&first)).await;
    }
    // A node that was not asked before answers from the log.
    let known = nodes[1].handle().submit(later).await.expect("the same record");
    assert_eq!(first_id(&known), first.id());
    assert_eq!(nodes[0].handle().submit(other).await.expect_err("taken").code.0, 1015);
    let entries = nodes[0].handle().store.entries(1, 10_000).expect("the store reads");
    assert_eq!(entries.iter().filter(|entry| entry.first() == Some(&1)).count(), 1);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_at_two_nodes_fills_batches_and_is_recorded_whole() {
    let world = World::new();
    let nodes = world.start_all().await;
    let mut transactions = Vec::new();
    let mut answers = Vec::new();
    for number in 0..800u32 {
        let agency = usize::try_from(number % 2).expect("small");
        let transaction = world.record(agency, number, &nodes[agency]);
        transactions.push(transaction.clone());
        answers.push(nodes[agency].handle().submit(transaction));
    }
    for answer in futures::future::join_all(answers).await {
        answer.expect("admitted: the queue holds more than this");
    }
    for node in &nodes {
        recorded(node, &transactions).await;
    }
    agree(&nodes.iter().collect::<Vec<_>>());
    let tip = nodes[0].handle().store.tip();
    let records = tip.tree_size() - 1 - tip.height;
    assert_eq!(records, 800, "each once");
    let pending: Vec<usize> = nodes.iter().map(|node| node.handle().fill().own_transactions).collect();
    assert_eq!(pending, [0; 4]);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_goes_on_without_one_node_which_catches_up_when_it_returns() {
    let world = World::new();
    let mut nodes = world.start_all().await;
    let before = world.record(0, 1, &nodes[0]);
    nodes[0].handle().submit(before.clone()).await.expect("admitted");
    for node in &nodes {
        recorded(node, std::slice::from_ref(&before)).await;
    }
    nodes.pop().expect("four nodes").stop().await.expect("stops");
    let mut without = Vec::new();
    for number in 10..30u32 {
        let transaction = world.record(0, number, &nodes[0]);
        nodes[0].handle().submit(transaction.clone()).await.expect("admitted");
        recorded(&nodes[0], std::slice::from_ref(&transaction)).await;
        without.push(transaction);
    }
    let returned = world.start(3).await;
    recorded(&returned, &without).await;
    // It takes part again: what is submitted to it is recorded everywhere.
    let after = world.record(3, 99, &returned);
    returned.handle().submit(after.clone()).await.expect("admitted");
    nodes.push(returned);
    for node in &nodes {
        recorded(node, std::slice::from_ref(&after)).await;
    }
    agree(&nodes.iter().collect::<Vec<_>>());
    stop_all(nodes).await;
}

/// A peer from which a node caught up left out what is needed to go on. The network needs that node's vote.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lacks_the_lanes_after_its_last_block_asks_for_them() {
    let world = World::new();
    let mut nodes = world.start_all().await;
    let first = world.record(0, 0, &nodes[0]);
    nodes[0].handle().submit(first.clone()).await.expect("admitted");
    for node in &nodes {
        recorded(node, std::slice::from_ref(&first)).await;
    }
    nodes.remove(3).stop().await.expect("stops");
    nodes[2].handle().store.forget_lanes().expect("the store writes");
    let second = world.record(0, 1, &nodes[0]);
    nodes[0].handle().submit(second.clone()).await.expect("admitted");
    for node in &nodes {
        recorded(node, std::slice::from_ref(&second)).await;
    }
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_stop_and_start_again_and_nothing_is_lost() {
    let world = World::new();
    let nodes = world.start_all().await;
    let first = world.record(2, 1, &nodes[2]);
    nodes[2].handle().submit(first.clone()).await.expect("admitted");
    for node in &nodes {
        recorded(node, std::slice::from_ref(&first)).await;
    }
    stop_all(nodes).await;
    // One node alone admits a record that nobody else can see, and stops.
    let alone = world.start(0).await;
    let promised = world.record(0, 2, &alone);
    alone.handle().submit(promised.clone()).await.expect("admitted");
    alone.stop().await.expect("stops");
    let nodes = world.start_all().await;
    for node in &nodes {
        recorded(node, std::slice::from_ref(&promised)).await;
    }
    agree(&nodes.iter().collect::<Vec<_>>());
    stop_all(nodes).await;
}

/// Days of turns that a quorum passed without a block: what says so no longer fits into a frame of votes.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_goes_on_after_thousands_of_failed_turns() {
    let world = World::new();
    for (index, folder) in world.folders.iter().enumerate().take(AGENCIES.len()) {
        let config = config(AGENCIES[index], folder.path(), world.ports[index]);
        let store = open_store(&config.data_directory, &world.genesis).expect("opens");
        let epoch = store.epoch().expect("the store reads");
        // Every node has heard other voters first.
        let just = failed_turns(&epoch, 6_000, index);
        assert!(just.encode(&epoch).len() > 1024 * 1024);
        store.note(&epoch, &Entered { just }).expect("the store writes");
        store.close().expect("closes");
    }
    let nodes = world.start_all().await;
    let first = world.record(2, 1, &nodes[2]);
    nodes[2].handle().submit(first.clone()).await.expect("admitted");
    for node in &nodes {
        recorded(node, std::slice::from_ref(&first)).await;
    }
    agree(&nodes.iter().collect::<Vec<_>>());
    stop_all(nodes).await;
}

/// A quorum gave up every turn from the first one on; `absent` was not among it.
fn failed_turns(epoch: &Epoch, turns: u64, absent: usize) -> Just {
    let voters = (0..AGENCIES.len()).filter(|voter| *voter != absent);
    let signers: Vec<_> =
        voters.map(|voter| (u16::try_from(voter).expect("few"), key(voter, KeyOf::Consensus))).collect();
    let skip = |turn| {
        let bytes = Statement::Skip { epoch: epoch.number(), turn }.signed_bytes(&epoch.chain);
        let signatures = signers.iter().map(|(voter, key)| (*voter, key.sign(&bytes)));
        Arc::new(SkipCert { epoch: epoch.number(), turn, signers: Signers::new(signatures) })
    };
    Just { epoch: epoch.number(), turn: turns + 1, parent: Parent::Start(None), skips: (1..=turns).map(skip).collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_are_killed_and_go_on_once_a_quorum_has_compared_its_votes() {
    let world = World::new();
    let nodes = world.start_all().await;
    let first = world.record(2, 1, &nodes[2]);
    nodes[2].handle().submit(first.clone()).await.expect("admitted");
    recorded(&nodes[0], std::slice::from_ref(&first)).await;
    for node in nodes {
        node.abandon().await;
    }
    let nodes = world.start_all().await;
    assert!(nodes.iter().all(|node| node.handle().store.recovery().is_unclean()));
    let second = world.record(1, 2, &nodes[1]);
    nodes[1].handle().submit(second.clone()).await.expect("admitted");
    for node in &nodes {
        recorded(node, &[first.clone(), second.clone()]).await;
    }
    agree(&nodes.iter().collect::<Vec<_>>());
    stop_all(nodes).await;
}

/// A registered identity in the hands of somebody who sends rubbish.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_disconnected_for_what_is_verifiably_bad_and_the_others_go_on() {
    let world = World::new();
    let mut nodes = Vec::new();
    for index in 0..3 {
        nodes.push(world.start(index).await);
    }
    let epoch = nodes[0].handle().store.epoch().expect("the store reads");
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    let peers = allowed_peers(&epoch, &[], &world.seeds, &BTreeSet::new());
    let liar = network::Config { key: key(3, KeyOf::Peer), chain: world.genesis.hash, listen, peers };
    let (liar, mut inbox) = network::start(liar).await.expect("starts");
    let connected = inbox.connected.wait_for(|seats| seats.len() == 3);
    tokio::time::timeout(PATIENCE, connected).await.expect("in time").expect("connects");
    let statement = mingzhang_consensus::statement::Statement::Skip { epoch: 0, turn: 1 };
    let signature = mingzhang_ledger::crypto::Signature([7; 64]);
    let forged = mingzhang_consensus::statement::Vote { statement, signer: 0, signature };
    let forged = mingzhang_consensus::message::Message::Vote(forged).encode(&epoch);
    let frame = |channel, body: &[u8]| network::Frame::new(channel, &[body]).expect("small");
    let frames = [
        frame(network::Channel::Consensus, &forged),
        frame(network::Channel::Consensus, b"\x02rubbish"),
        frame(network::Channel::Seal, b"no seal"),
    ];
    // Said again: a frame is lost with the connection that it was to go by, and the next one hears none of it.
    let dropped = async {
        let mut again = tokio::time::interval(Duration::from_millis(500));
        while !inbox.connected.borrow_and_update().is_empty() {
            tokio::select! {
                _ = again.tick() => for (seat, frame) in (0..).zip(&frames) {
                    liar.send_to_seat(seat, frame);
                },
                changed = inbox.connected.changed() => changed.expect("the network runs"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, dropped).await.expect("disconnected by all, in time");
    let transaction = world.record(0, 1, &nodes[0]);
    nodes[0].handle().submit(transaction.clone()).await.expect("admitted");
    for node in &nodes {
        recorded(node, std::slice::from_ref(&transaction)).await;
    }
    stop_all(nodes).await;
}

/// What does not decode as a final header is passed on by nobody, and costs its sender the connection.
#[tokio::test(flavor = "multi_thread")]
async fn rubbish_among_the_final_headers_is_refused_of_its_sender() {
    let world = World::new();
    let node = world.start(0).await;
    let epoch = node.handle().store.epoch().expect("the store reads");
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    let peers = allowed_peers(&epoch, &[], &world.seeds, &BTreeSet::new());
    let liar = network::Config { key: key(3, KeyOf::Peer), chain: world.genesis.hash, listen, peers };
    let (liar, mut inbox) = network::start(liar).await.expect("starts");
    let connected = inbox.connected.wait_for(|seats| seats.contains(&0));
    tokio::time::timeout(PATIENCE, connected).await.expect("in time").expect("connects");
    // Each other bytes: what was gossiped once is not gossiped again.
    let dropped = async {
        let (mut again, mut number) = (tokio::time::interval(Duration::from_millis(200)), 0u64);
        while inbox.connected.borrow_and_update().contains(&0) {
            tokio::select! {
                _ = again.tick() => {
                    number += 1;
                    liar.publish(Topic::Finals, [&[4][..], &[0; 40], &number.to_be_bytes()].concat());
                }
                changed = inbox.connected.changed() => changed.expect("the network runs"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, dropped).await.expect("disconnected, in time");
    stop_all(vec![node]).await;
}

/// Registers one observer more in the world's seeds, and says how it starts.
fn add_observer(world: &mut World) -> Start {
    let observer_key = mingzhang_ledger::crypto::SigningKey::from_seed(&[77; 32]);
    let place = AGENCIES.len();
    let address =
        mingzhang_seeds::Address { host: Host::Ip4([127, 0, 0, 1].into()), port: world.ports[place], quic: false };
    let peer = mingzhang_seeds::Peer {
        agency: "press".to_owned(),
        peer_key: observer_key.public(),
        addresses: vec![address],
        observer: true,
    };
    world.seeds.peers.push(peer);
    let config = Config { observer: true, ..config("", world.folders[place].path(), world.ports[place]) };
    Start {
        config,
        genesis: world.genesis.clone(),
        seeds: world.seeds.clone(),
        keys: NodeKeys { consensus: None, sealing: Keyring::default(), peer: observer_key },
        lost_at_ms: None,
        clock_offset_ms: 0,
    }
}

/// With `--features quic` also on the same port of UDP; the addresses of others are read by every build.
#[test]
fn a_node_listens_and_dials_by_what_its_build_speaks() {
    let folder = tempfile::tempdir().expect("a folder");
    let listened: Vec<String> =
        listen_addresses(&config("", folder.path(), 8442)).iter().map(ToString::to_string).collect();
    let both = ["/ip4/127.0.0.1/tcp/8442", "/ip4/127.0.0.1/udp/8442/quic-v1"];
    assert_eq!(listened, both[..1 + usize::from(QUIC)]);
    let [tcp, quic] = both.map(|text| text.parse().expect("an address"));
    assert!(can_dial(&tcp));
    assert_eq!(can_dial(&quic), QUIC);
}

/// Fewer than a quorum know the observer, and nothing happens any more when it comes.
#[tokio::test(flavor = "multi_thread")]
async fn an_observer_whom_one_member_knows_gets_the_seals_of_a_quorum() {
    let mut world = World::new();
    let without = world.seeds.clone();
    let observer = add_observer(&mut world);
    let mut nodes = vec![world.start(0).await];
    world.seeds = without;
    for index in 1..AGENCIES.len() {
        nodes.push(world.start(index).await);
    }
    let first = world.record(1, 5, &nodes[1]);
    nodes[1].handle().submit(first.clone()).await.expect("admitted");
    recorded(&nodes[0], std::slice::from_ref(&first)).await;
    let size = nodes[0].handle().store.tip().tree_size();
    sealed(&nodes[0], size).await;
    let observer = start(observer).await.expect("starts");
    sealed(&observer, size).await;
    let second = world.record(1, 6, &nodes[1]);
    nodes[1].handle().submit(second.clone()).await.expect("admitted");
    recorded(&observer, std::slice::from_ref(&second)).await;
    sealed(&observer, observer.handle().store.tip().tree_size()).await;
    observer.stop().await.expect("stops");
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_follows_without_a_seat_and_refuses_submissions() {
    let mut world = World::new();
    let observer = add_observer(&mut world);
    let observer = start(observer).await.expect("starts");
    assert_eq!(observer.handle().status().state, NodeState::Isolated, "nobody to follow");
    let nodes = world.start_all().await;
    let transaction = world.record(1, 5, &nodes[1]);
    nodes[1].handle().submit(transaction.clone()).await.expect("admitted");
    recorded(&observer, std::slice::from_ref(&transaction)).await;
    let refused = observer.handle().submit(world.record(1, 6, &observer)).await.expect_err("no seat");
    assert_eq!(refused.code.0, mempool::NOT_READY);
    let status = observer.handle().status();
    assert_eq!(status.seat, None);
    assert_ne!(status.state, NodeState::Isolated);
    let all: Vec<&Node> = nodes.iter().chain([&observer]).collect();
    agree(&all);
    observer.stop().await.expect("stops");
    stop_all(nodes).await;
}
