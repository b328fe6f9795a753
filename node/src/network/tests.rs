//! Four real nodes on loopback, and one that is not registered.

use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use mingzhang_ledger::authority::{MAX_MEMBERS, ParameterFault, Parameters};
use mingzhang_ledger::batch::{Batch, LanePosition, Reference};
use mingzhang_ledger::certificate::{FinalCert, Signers};
use mingzhang_ledger::crypto::{PublicKey, Signature, SigningKey};
use mingzhang_ledger::header::Header;

use super::*;
use crate::executor::LoggedBlock;
use crate::sync::wire::{MAX_SEGMENT_BLOCKS, Proof, SEGMENT_BYTES, Segment};

const CHAIN: Hash = [7; 32];
/// Generous: the machine may be busy. Nothing waits this long unless the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn key(index: u16) -> SigningKey {
    let [high, low] = index.to_be_bytes();
    let mut seed = [9; 32];
    (seed[0], seed[1]) = (high, low);
    SigningKey::from_seed(&seed)
}

fn peer(index: u16, addresses: &[Multiaddr]) -> AllowedPeer {
    AllowedPeer {
        key: key(index).public(),
        seat: Some(index),
        name: format!("agency-{index}"),
        addresses: addresses.to_vec(),
    }
}

async fn node(index: u16, peers: Vec<AllowedPeer>) -> (Handle, Inbox) {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    start(Config { key: key(index), chain: CHAIN, listen, peers }).await.expect("starts")
}

/// A full mesh: every node knows all, and dials those that started before it.
async fn mesh(size: u16) -> Vec<(Handle, Inbox)> {
    let mut nodes: Vec<(Handle, Inbox)> = Vec::new();
    for index in 0..size {
        let known =
            |other: u16| nodes.get(usize::from(other)).map_or_else(Vec::new, |(handle, _)| handle.addresses().to_vec());
        let peers = (0..size).map(|other| peer(other, &known(other))).collect();
        nodes.push(node(index, peers).await);
    }
    for (_, inbox) in &mut nodes {
        within(inbox.connected.wait_for(|seats| seats.len() + 1 == usize::from(size))).await.expect("all connect");
    }
    nodes
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

#[tokio::test]
async fn frames_reach_every_seat_in_order_with_their_sender() {
    let mut nodes = mesh(4).await;
    for number in 0..100u8 {
        let frame = Frame::new(Channel::Consensus, &[&[number]]).expect("small");
        nodes[2].0.send_to_seats(&frame);
    }
    for (index, (_, inbox)) in nodes.iter_mut().enumerate() {
        if index == 2 {
            continue;
        }
        for number in 0..100u8 {
            let inbound = within(inbox.inbound.recv()).await.expect("a frame");
            assert_eq!((inbound.from.seat, inbound.channel), (Some(2), Channel::Consensus));
            assert_eq!(inbound.body, [number]);
        }
    }
}

#[tokio::test]
async fn a_taken_port_is_refused_in_the_words_of_the_system() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = holder.local_addr().expect("bound").port();
    let listen: Vec<Multiaddr> = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address")];
    let fault = start(Config { key: key(0), chain: CHAIN, listen, peers: Vec::new() }).await.expect_err("taken");
    assert!(fault.to_string().contains("in use"), "{fault}");
}

#[tokio::test]
async fn gossip_is_passed_on_only_after_it_was_judged_valid() {
    // A line: 0 and 2 do not know each other, so a message gets through only if 1 passes it on.
    let (left, mut left_inbox) = node(0, vec![peer(1, &[])]).await;
    let (right, mut right_inbox) = node(2, vec![peer(1, &[])]).await;
    let middle_peers = vec![peer(0, left.addresses()), peer(2, right.addresses())];
    let (middle, mut middle_inbox) = node(1, middle_peers).await;
    within(middle_inbox.connected.wait_for(|seats| seats.len() == 2)).await.expect("connects");
    within(left_inbox.connected.wait_for(|seats| seats.len() == 1)).await.expect("connects");
    let lie = vec![1; 2_000];
    let truth = vec![2; 2_000];
    let received = publish_until_received(&left, &mut middle_inbox, &lie).await;
    middle.judge(received, Worth::False);
    let received = publish_until_received(&left, &mut middle_inbox, &truth).await;
    middle.judge(received, Worth::Spread);
    let gossip = within(right_inbox.gossip.recv()).await.expect("a message");
    assert_eq!((gossip.topic, gossip.body.as_slice()), (Topic::Batches, truth.as_slice()));
    assert_eq!(gossip.from.seat, Some(1));
}

/// Subscriptions spread after the connection; until then a published message finds nobody.
async fn publish_until_received(from: &Handle, inbox: &mut Inbox, body: &[u8]) -> GossipTicket {
    let mut again = tokio::time::interval(Duration::from_millis(50));
    let gossip = within(async {
        loop {
            tokio::select! {
                _ = again.tick() => assert!(from.publish(Topic::Batches, body.to_vec())),
                gossip = inbox.gossip.recv() => return gossip.expect("a message"),
            }
        }
    });
    let (remote, _, received, ticket) = gossip.await.into_parts();
    assert_eq!((remote.seat, received.as_slice()), (Some(0), body));
    ticket
}

#[tokio::test]
async fn a_peer_that_floods_waits_for_its_own_frames_and_nobody_else_does() {
    let mut nodes = mesh(3).await;
    let (_handle, mut inbox) = nodes.remove(0);
    let large = Frame::new(Channel::Consensus, &[&vec![1; frame::MAX_VOTE_FRAME_BYTES - 1]]).expect("at the limit");
    let most = directory::PEER_INBOUND_BYTES / frame::MAX_VOTE_FRAME_BYTES;
    for _ in 0..most + 2 {
        assert!(nodes[0].0.send_to_seat(0, &large));
    }
    let mut waiting = Vec::new();
    for _ in 0..most {
        waiting.push(within(inbox.inbound.recv()).await.expect("a frame"));
    }
    assert!(nodes[1].0.send_to_seat(0, &Frame::new(Channel::Consensus, &[b"vote"]).expect("small")));
    let vote = within(inbox.inbound.recv()).await.expect("a frame");
    assert_eq!((vote.from.seat, vote.body.as_slice()), (Some(2), b"vote".as_slice()));
    waiting.pop();
    assert_eq!(within(inbox.inbound.recv()).await.expect("a frame").from.seat, Some(1));
}

/// A registered peer that speaks to others as it likes.
async fn stranger(index: u16, to: &Handle) -> libp2p_stream::Control {
    let mut swarm = swarm::build(keypair(&key(index)).expect("a key"), &CHAIN).expect("builds");
    swarm.behaviour_mut().allowed.allow_peer(directory::peer_id(&key(0).public()).expect("a key"));
    swarm.dial(to.addresses()[0].clone()).expect("dials");
    let control = swarm.behaviour().streams.new_control();
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    control
}

#[tokio::test]
async fn of_the_streams_of_one_peer_a_few_are_read_and_of_its_frames_no_more_than_one_may_hold() {
    let (handle, mut inbox) = node(0, vec![peer(0, &[]), peer(1, &[])]).await;
    let mut control = stranger(1, &handle).await;
    within(inbox.connected.wait_for(|seats| !seats.is_empty())).await.expect("connects");
    let server = directory::peer_id(&key(0).public()).expect("a key");
    let protocol = link::protocol(&CHAIN, Class::Bulk);
    // Frames whose last byte does not come.
    let frame = Frame::new(Channel::Answer, &[&vec![1; frame::MAX_BULK_FRAME_BYTES - 1]]).expect("at the limit");
    let unfinished = &frame.bytes()[..frame.bytes().len() - 1];
    let mut first = within(control.open_stream(server, protocol.clone())).await.expect("opens");
    within(first.write_all(unfinished)).await.expect("the first is read");
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut other = within(control.open_stream(server, protocol.clone())).await.expect("opens");
        let all = tokio::time::timeout(Duration::from_millis(500), other.write_all(unfinished)).await;
        assert!(all.is_err(), "another one is not read beside it");
        others.push(other);
    }
    let mut fifth = within(control.open_stream(server, protocol)).await.expect("opens");
    within(fifth.write_all(&frame.bytes()[..5])).await.expect("small");
    let mut end = [0];
    assert!(matches!(within(first.read(&mut end)).await, Ok(0) | Err(_)), "of five the oldest ends");
}

/// The allowed values of a consensus parameter end here.
fn most(name: &str) -> u64 {
    let mut parameters = Parameters::default();
    assert!(parameters.set(name, u64::MAX));
    match parameters.check() {
        Err(ParameterFault::Range { most, .. }) => most,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_largest_batch_that_may_be_agreed_is_gossiped() {
    let mut nodes = mesh(2).await;
    let (_second, mut second_inbox) = nodes.pop().expect("two");
    let (first, _first_inbox) = nodes.pop().expect("two");
    let payload = vec![5; usize::try_from(most("max_batch_bytes")).expect("small")];
    let batch = Batch { epoch: 0, author: 0, run: 1, seq: 0, payload, signature: Signature([0; 64]) };
    let body = batch.encode();
    assert!(body.len() <= MAX_GOSSIP_BYTES);
    publish_until_received(&first, &mut second_inbox, &body).await;
}

#[test]
fn the_largest_block_that_may_be_agreed_fits_an_answer_behind_others() {
    let header = Header::decode(&header_bytes()).expect("a header");
    let block = |entries| LoggedBlock { header, entries, preimage: None };
    // Others fill the answer to one byte below the size at which no more are added.
    let mut blocks = vec![block(Vec::new()); MAX_SEGMENT_BLOCKS - 1];
    let mut room = SEGMENT_BYTES - 1 - blocks.len() * 256;
    let entry = 100;
    blocks[0].entries = vec![vec![0; entry]; room / entry];
    room %= entry;
    blocks[1].entries = vec![vec![0; room]];
    let (records, bytes) = (most("max_block_records"), most("max_block_bytes"));
    // In a payload each stands behind its length in four bytes, on the log behind version and outcome in three.
    let size = usize::try_from(bytes / records).expect("small") - 4 + 3;
    let mut largest = block(vec![vec![0; size]; usize::try_from(records).expect("small")]);
    let reference = Reference { author: 0, run: 0, seq: 0, records: 0, bytes: 0, hash: [0; 32] };
    largest.preimage = Some((
        vec![LanePosition::default(); MAX_MEMBERS],
        vec![reference; mingzhang_consensus::message::MAX_REFERENCES],
    ));
    blocks.push(largest);
    let members = u16::try_from(MAX_MEMBERS).expect("small");
    let signers = Signers::new((0..members).map(|member| (member, Signature([0; 64]))));
    let certificate = FinalCert { epoch: 0, turn: 1, height: 1, block: [0; 32], signers };
    let proof = Proof::Certificate(certificate);
    let segment = Segment { blocks, above: vec![header; MAX_SEGMENT_BLOCKS], proof }.encode(MAX_MEMBERS);
    assert!(Frame::new(Channel::Answer, &[&[0; 8], &segment]).is_some(), "{} bytes", segment.len());
}

fn header_bytes() -> [u8; 256] {
    let mut bytes = [0; 256];
    (bytes[0], bytes[1]) = (2, 1);
    bytes
}

#[tokio::test]
async fn requests_are_answered_and_those_of_a_gone_peer_fail_at_once() {
    let mut nodes = mesh(2).await;
    let (second, mut second_inbox) = nodes.pop().expect("two");
    let (first, _first_inbox) = nodes.pop().expect("two");
    let serve = async {
        let request = second_inbox.requests.recv().await.expect("a request");
        assert_eq!((request.from.seat, request.body.as_slice()), (Some(0), b"ping".as_slice()));
        assert!(request.answer(&vec![5; 3 * 1024 * 1024]));
    };
    let to = key(1).public();
    let (answer, ()) = within(async { tokio::join!(first.ask(&to, b"ping"), serve) }).await;
    assert_eq!(answer.expect("answered").len(), 3 * 1024 * 1024);
    assert_eq!(within(first.ask(&key(5).public(), b"x")).await, Err(RequestFault::Unreachable));
    let gone = async {
        // The second node stops when its handle is dropped, with the question unanswered.
        let request = second_inbox.requests.recv().await.expect("a request");
        drop((second, request, second_inbox));
    };
    let (answer, ()) = within(async { tokio::join!(first.ask(&to, b"ping"), gone) }).await;
    assert_eq!(answer, Err(RequestFault::Unreachable));
}

#[tokio::test]
async fn a_peer_that_floods_with_questions_waits_for_its_own_answers_and_nobody_else_does() {
    let mut nodes = mesh(3).await;
    let (_handle, mut inbox) = nodes.remove(0);
    let to = key(0).public();
    let flooding = nodes[0].0.clone();
    let flood = tokio::spawn(async move {
        let asks = (0..u64::try_from(2 * REQUEST_QUEUE_LENGTH).expect("small")).map(|_| flooding.ask(&to, b"flood"));
        futures::future::join_all(asks).await
    });
    // Read, but not answered: they hold their places.
    let mut waiting = vec![within(inbox.requests.recv()).await.expect("a question")];
    tokio::time::sleep(Duration::from_millis(500)).await;
    let patient = nodes[1].0.clone();
    let asked = tokio::spawn(async move { patient.ask(&to, b"one").await });
    while waiting.last().is_none_or(|request| request.from.seat == Some(1)) {
        waiting.push(within(inbox.requests.recv()).await.expect("a question"));
    }
    assert!(waiting.len() <= directory::PEER_QUESTIONS + 1, "{} questions stood before it", waiting.len() - 1);
    assert!(waiting.pop().expect("the last").answer(b"answer"));
    assert_eq!(within(asked).await.expect("no panic"), Ok(b"answer".to_vec()));
    flood.abort();
}

#[tokio::test]
async fn unregistered_peer_is_refused_until_it_is_registered() {
    let (host, mut host_inbox) = node(0, vec![peer(1, &[])]).await;
    let host_peer = peer(0, host.addresses());
    let (_stranger, mut stranger_inbox) = node(3, vec![host_peer.clone()]).await;
    let (_friend, _friend_inbox) = node(1, vec![host_peer]).await;
    within(host_inbox.connected.wait_for(|seats| seats.contains(&1))).await.expect("the friend connects");
    assert!(host.peers().iter().all(|peer| peer.seat != Some(3)));
    host.register(vec![peer(1, &[]), peer(3, &[])]);
    within(host_inbox.connected.wait_for(|seats| seats.contains(&3))).await.expect("registered now");
    within(stranger_inbox.connected.wait_for(|seats| seats.contains(&0))).await.expect("connected");
    host.register(vec![peer(1, &[])]);
    within(host_inbox.connected.wait_for(|seats| !seats.contains(&3))).await.expect("removed");
    let frame = Frame::new(Channel::Consensus, &[b"x"]).expect("small");
    assert!(!host.send(&key(3).public(), &frame));
}

#[tokio::test]
async fn nodes_of_another_network_exchange_nothing_and_are_disconnected() {
    let (host, mut host_inbox) = node(0, vec![peer(1, &[])]).await;
    let mut swarm = swarm::build(keypair(&key(1)).expect("a key"), &[8; 32]).expect("builds");
    let mut control = swarm.behaviour().streams.new_control();
    let _votes = control.accept(link::protocol(&[8; 32], Class::Votes)).expect("the first");
    swarm.behaviour_mut().allowed.allow_peer(directory::peer_id(&key(0).public()).expect("a key"));
    swarm.dial(host.addresses()[0].clone()).expect("dials");
    let is_closed = |event: &SwarmEvent<_>| matches!(event, SwarmEvent::ConnectionClosed { .. });
    within(async { while !is_closed(&swarm.select_next_some().await) {} }).await;
    drop(swarm);
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    let peers = vec![peer(0, host.addresses())];
    let other = Config { key: key(1), chain: [8; 32], listen, peers };
    let (other, _other_inbox) = start(other).await.expect("starts");
    let to: PublicKey = key(0).public();
    let (answer, request) = within(async {
        tokio::join!(other.ask(&to, b"hello"), tokio::time::timeout(PATIENCE / 3, host_inbox.requests.recv()))
    })
    .await;
    assert!(answer.is_err());
    assert!(request.is_err());
}

#[tokio::test]
async fn two_processes_with_one_identity_are_noticed_by_the_peer_and_a_restart_is_none() {
    let (host, mut host_inbox) = node(0, vec![peer(1, &[])]).await;
    let host_peer = peer(0, host.addresses());
    let twins = |handle: &Handle| handle.peers().iter().any(|peer| peer.seat == Some(1) && peer.twins);
    let (first, first_inbox) = node(1, vec![host_peer.clone()]).await;
    within(host_inbox.connected.wait_for(|seats| seats.contains(&1))).await.expect("connects");
    drop((first, first_inbox));
    within(host_inbox.connected.wait_for(|seats| !seats.contains(&1))).await.expect("gone");
    let (_second, _second_inbox) = node(1, vec![host_peer.clone()]).await;
    within(host_inbox.connected.wait_for(|seats| seats.contains(&1))).await.expect("connects again");
    assert!(!twins(&host), "a restart is no twin");
    let (third, third_inbox) = node(1, vec![host_peer]).await;
    let noticed = async {
        while !twins(&host) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within(noticed).await;
    drop((third, third_inbox));
    let over = async {
        while twins(&host) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within(over).await;
}

#[cfg(feature = "quic")]
#[tokio::test]
async fn nodes_that_know_an_address_of_quic_only_connect_by_it() {
    let listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"].map(|text| text.parse().expect("an address"));
    let host = Config { key: key(0), chain: CHAIN, listen: listen.to_vec(), peers: vec![peer(1, &[])] };
    let (host, mut host_inbox) = start(host).await.expect("starts");
    let (_other, mut other_inbox) = node(1, vec![peer(0, &host.addresses()[1..])]).await;
    within(other_inbox.connected.wait_for(|seats| seats.contains(&0))).await.expect("connects");
    within(host_inbox.connected.wait_for(|seats| seats.contains(&1))).await.expect("connects");
}
