//! Up to f authorities do what they like, in foul weather, with crashes.

use super::{Story, complete_within, trouble};
use crate::Peer;
use crate::simulation::byzantine::Behaviour;
use crate::simulation::{Place, Weather, World};

pub const STORIES: &[Story] = &[
    Story { name: "twin_instances_and_an_even_split", seeds: 6, tell: twin_instances_and_an_even_split },
    Story { name: "twin_proposals", seeds: 24, tell: twin_proposals },
    Story { name: "twin_votes", seeds: 18, tell: twin_votes },
    Story { name: "one_block_under_two_justifications", seeds: 40, tell: one_block_under_two_justifications },
    Story { name: "never_confirms_and_a_slow_node", seeds: 6, tell: never_confirms_and_a_slow_node },
    Story { name: "never_confirms", seeds: 15, tell: never_confirms },
    Story { name: "wrong_headers", seeds: 12, tell: wrong_headers },
    Story { name: "hidden_skips", seeds: 12, tell: hidden_skips },
    Story { name: "usurped_turns", seeds: 6, tell: usurped_turns },
    Story { name: "padded_bitmaps", seeds: 6, tell: padded_bitmaps },
    Story { name: "changed_bytes", seeds: 12, tell: changed_bytes },
    Story { name: "replays_of_the_epoch_before", seeds: 12, tell: replays_of_the_epoch_before },
    Story { name: "one_victim", seeds: 15, tell: one_victim },
    Story { name: "a_mixture_at_seven", seeds: 15, tell: a_mixture_at_seven },
];

/// Up to f faulty authorities of that behaviour.
fn with_faulty(seed: u64, members: &[u16], behaviour: impl Fn(Peer) -> Behaviour) -> World {
    let members = members[(seed as usize) % members.len()];
    let mut world = World::new(members, seed, Weather::FOUL);
    let faults = world.genesis.set.tolerated_faults() as u16;
    for faulty in 0..faults {
        let index = (seed as u16 + faulty) % members;
        world.behaviours.insert(index, behaviour(index));
    }
    trouble(&mut world, 8);
    world.settle(&[]);
    world
}

/// The classic: f instances run twice, and each half of the honest sees its own. With too small a quorum, or with one
/// faulty authority too many, both halves decide.
fn twin_instances_and_an_even_split(seed: u64) {
    let members = [4, 5, 6][(seed % 3) as usize];
    let faults = mingzhang_ledger::authority::tolerated_faults(usize::from(members)) as u16;
    let twins: Vec<Peer> = (0..faults).collect();
    let mut world = World::with_twins(members, &twins, seed, Weather::FAIR);
    let honest: Vec<Place> = (faults..members).collect();
    let (left, right) = honest.split_at(honest.len().div_ceil(2));
    let left: Vec<Place> = left.iter().copied().chain(0..faults).collect();
    let right: Vec<Place> = right.iter().copied().chain(members..members + faults).collect();
    world.cut(&left, &right);
    for node in left.iter().chain(&right) {
        world.submit(*node, 1);
    }
    world.run_for(20_000);
    world.settle(&[]);
}

fn twin_proposals(seed: u64) {
    with_faulty(seed, &[4, 5, 6, 7, 8, 9], |_| Behaviour::TwinProposals);
}

fn twin_votes(seed: u64) {
    let world = with_faulty(100 + seed, &[4, 5, 7], |_| Behaviour::TwinVotes);
    assert!(!world.oracle.evidence.is_empty(), "oracle evidence: contradictions went unnoticed");
}

fn one_block_under_two_justifications(seed: u64) {
    let weather = Weather { execute_max_ms: 120, ..Weather::FAIR };
    let mut world = World::new(4, seed, weather);
    world.behaviours.insert((seed % 4) as Peer, Behaviour::TwinJusts);
    for round in 0..12 {
        world.submit((round % 4) as Peer, 1);
        let span = world.random.between(50, 300);
        world.run_for(span);
        if round % 4 == 3 {
            let node = world.random.between(0, 3) as Peer;
            if world.is_honest(node) {
                world.crash(node);
                world.start(node, true);
            }
        }
    }
    world.settle(&[]);
}

/// f endorse at once and never confirm; an honest node is always a little late.
fn never_confirms_and_a_slow_node(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.behaviours.insert((seed % 4) as Peer, Behaviour::NeverConfirms);
    // The quickest quorum of every turn holds the faulty one, and leaves another honest one behind.
    world.node_mut(((seed + 2) % 4) as Peer).slow_ms = 300;
    world.node_mut(((seed + 3) % 4) as Peer).slow_ms = 600;
    for round in 0..10 {
        world.submit((round % 4) as Peer, 1);
        world.run_for(300);
    }
    complete_within(&mut world, 60_000);
}

fn never_confirms(seed: u64) {
    let world = with_faulty(200 + seed, &[4, 7, 8], |_| Behaviour::NeverConfirms);
    assert!(world.oracle.evidence.is_empty(), "oracle evidence: silence is no contradiction");
}

fn wrong_headers(seed: u64) {
    with_faulty(300 + seed, &[4, 5, 7], |_| Behaviour::WrongHeaders);
}

fn hidden_skips(seed: u64) {
    with_faulty(600 + seed, &[4, 5, 7], |_| Behaviour::HidesSkips);
}

fn usurped_turns(seed: u64) {
    with_faulty(700 + seed, &[4], |_| Behaviour::Usurper);
}

fn padded_bitmaps(seed: u64) {
    with_faulty(800 + seed, &[4, 5, 7], |_| Behaviour::Pads);
}

fn changed_bytes(seed: u64) {
    with_faulty(900 + seed, &[4, 7], |_| Behaviour::Mutates);
}

fn replays_of_the_epoch_before(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.behaviours.insert(3, Behaviour::Replays);
    for round in 0..6 {
        world.submit(round % 3, 1);
        world.run_for(300);
    }
    world.submit_change((seed % 3) as Peer);
    world.run_for(3_000);
    // The first turns of the new epoch, of which the old one has certificates and votes.
    for round in 0..6 {
        world.submit(round % 4, 1);
        world.run_for(400);
    }
    world.settle(&[]);
    assert!(world.oracle.epochs >= 1, "the new epoch was opened");
}

fn one_victim(seed: u64) {
    with_faulty(400 + seed, &[4], |me| Behaviour::OneVictim((me + 1) % 4));
}

fn a_mixture_at_seven(seed: u64) {
    let behaviours = [Behaviour::TwinProposals, Behaviour::TwinVotes, Behaviour::NeverConfirms];
    with_faulty(500 + seed, &[7], |me| behaviours[usize::from(me) % 3]);
}
