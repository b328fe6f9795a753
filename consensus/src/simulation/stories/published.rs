//! Bugs that other systems published, each as the story in which it would show here. The name says whose it was.

use super::{Story, complete_within};
use crate::simulation::byzantine::Behaviour;
use crate::simulation::{Place, Weather, World};
use crate::{Alarm, Peer, Turns};

pub const STORIES: &[Story] = &[
    Story { name: "quorum_305_endorsed_here_then_there", seeds: 12, tell: quorum_305_endorsed_here_then_there },
    Story { name: "besu_7642_celo_706_quorum_1664_drift", seeds: 1, tell: besu_7642_celo_706_quorum_1664_drift },
    Story { name: "besu_8307_iroha_2977_wiped_disks", seeds: 4, tell: besu_8307_iroha_2977_wiped_disks },
    Story {
        name: "besu_11031_10917_idle_and_a_dead_proposer",
        seeds: 8,
        tell: besu_11031_10917_idle_and_a_dead_proposer,
    },
    Story { name: "cometbft_247_8739_crash_at_every_effect", seeds: 40, tell: cometbft_247_8739_crash_at_every_effect },
    Story { name: "cometbft_5804_6031_copied_disk", seeds: 20, tell: cometbft_5804_6031_copied_disk },
    Story { name: "csa_2026_001_asa_2025_false_claims", seeds: 6, tell: csa_2026_001_asa_2025_false_claims },
    Story { name: "malachite_850_certificate_at_one_node", seeds: 20, tell: malachite_850_certificate_at_one_node },
    Story { name: "malachite_997_confirmed_and_restarted", seeds: 20, tell: malachite_997_confirmed_and_restarted },
    Story { name: "malachite_997_on_a_vote_that_is_gone", seeds: 16, tell: malachite_997_on_a_vote_that_is_gone },
    Story { name: "simplex_280_certificate_after_own_skip", seeds: 12, tell: simplex_280_certificate_after_own_skip },
    Story { name: "simplex_541_boundary_not_final_for_long", seeds: 24, tell: simplex_541_boundary_not_final_for_long },
    Story { name: "commonware_4275_all_skip_all_crash", seeds: 12, tell: commonware_4275_all_skip_all_crash },
    Story { name: "commonware_2192_certificates_split", seeds: 20, tell: commonware_2192_certificates_split },
    Story { name: "commonware_4436_slow_execution", seeds: 6, tell: commonware_4436_slow_execution },
    Story { name: "agave_13638_isolated_while_turns_are_skipped", seeds: 4, tell: agave_13638_isolated },
    Story { name: "alpenglow_132_votes_for_one_victim", seeds: 8, tell: alpenglow_132_votes_for_one_victim },
    Story { name: "smartbft_622_finality_and_timeout_meet", seeds: 20, tell: smartbft_622_finality_and_timeout_meet },
    Story { name: "iroha_5230_1170_signed_and_offline", seeds: 20, tell: iroha_5230_1170_signed_and_offline },
    Story { name: "iroha_4164_5317_last_block_before_idle", seeds: 12, tell: iroha_4164_5317_last_block_before_idle },
    Story { name: "aura_clique_twin_proposer_even_split", seeds: 10, tell: aura_clique_twin_proposer_even_split },
    Story { name: "final_certificate_without_its_block", seeds: 40, tell: final_certificate_without_its_block },
];

/// From then on a block is proposed as soon as there is work.
const FIRST_BLOCK_MS: u64 = 1_000;

fn everybody_submits(world: &mut World) {
    for node in 0..world.members() {
        if world.is_up(node) {
            world.submit(node, 1);
        }
    }
}

fn others(world: &World, node: Place) -> Vec<Place> {
    world.places().filter(|other| *other != node).collect()
}

/// A block is endorsed by a quorum that only one honest node sees, then another one elsewhere, and so on, while f
/// equivocate. IBFT 1.0 locked itself up or decided twice.
fn quorum_305_endorsed_here_then_there(seed: u64) {
    let members = [5, 6, 8, 9][(seed % 4) as usize];
    let mut world = World::new(members, seed, Weather::FAIR);
    world.run_for(FIRST_BLOCK_MS);
    let faults = world.genesis.set.tolerated_faults() as u16;
    for key in 0..faults {
        let behaviour = if key % 2 == 0 { Behaviour::TwinProposals } else { Behaviour::TwinVotes };
        world.behaviours.insert(key, behaviour);
    }
    for round in 0..8 {
        // This one hears everybody and is heard by nobody.
        let witness = faults + (round % (members - faults));
        let rest = others(&world, witness);
        everybody_submits(&mut world);
        let moment = world.random.between(10, 60);
        world.run_for(moment);
        world.cut_one_way(&[witness], &rest);
        world.run_for(2_500);
        world.heal();
    }
    world.settle(&[]);
}

/// Half of the network is away for a day; QBFT's rounds drifted apart for longer than the day.
fn besu_7642_celo_706_quorum_1664_drift(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.submit(0, 1);
    world.run_for(1_000);
    world.crash(2);
    world.crash(3);
    world.submit(0, 5);
    world.run_for(24 * 3_600_000);
    let before = world.oracle.agreed.len();
    world.start(2, true);
    world.start(3, true);
    world.run_for(10_000);
    assert!(world.oracle.agreed.len() > before, "oracle progress: final within ten seconds");
    complete_within(&mut world, 10_000);
}

/// A quorum less one is intact, one disk is wiped: nothing becomes final by the wiped one's word.
fn besu_8307_iroha_2977_wiped_disks(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    everybody_submits(&mut world);
    world.run_for(3_000);
    world.crash(0);
    let wiped = (1 + seed % 3) as Place;
    world.crash(wiped);
    let node = world.node_mut(wiped);
    node.disk = crate::simulation::disk::Disk::default();
    node.doubted = true;
    world.start(wiped, true);
    let before = world.oracle.agreed.len();
    let intact = (1..4).find(|node| *node != wiped).expect("two are intact");
    world.submit(intact, 1);
    world.run_for(60_000);
    assert_eq!(world.oracle.agreed.len(), before, "oracle doubt: two of four and a wiped disk decide nothing");
    world.start(0, true);
    complete_within(&mut world, 120_000);
}

/// Idle; the agency on turn dies; work arrives at another.
fn besu_11031_10917_idle_and_a_dead_proposer(seed: u64) {
    let dead = (seed % 4) as Place;
    let mut world = World::new(4, seed, Weather::FAIR);
    world.submit(1, 1);
    world.run_for(10_000);
    world.crash(dead);
    world.run_for(10_000);
    let alive = (dead + 1) % 4;
    world.submit(alive, 1);
    world.run_for(3_000);
    let spent = world.node(alive).executor.tip().spent.len();
    assert_eq!(spent, 2, "oracle progress: skipped after at most one timeout");
}

/// Between persisting and sending, between sending and applying: the process may die before any effect.
fn cometbft_247_8739_crash_at_every_effect(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    for round in 0..4u16 {
        everybody_submits(&mut world);
        let node = (round + seed as u16) % 4;
        world.node_mut(node).effects_left = Some(seed % 20);
        world.run_for(1_500);
        if !world.is_up(node) {
            world.start(node, true);
        }
        world.run_for(1_500);
    }
    world.settle(&[]);
}

/// One disk in two machines: the peers show a vote that the disk lacks.
fn cometbft_5804_6031_copied_disk(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.submit(0, 1);
    world.run_for(3_000);
    let copy = world.node(3).disk.clone();
    // Two are away, so that nothing more becomes final and the votes stay open.
    world.crash(1);
    world.crash(2);
    world.submit(3, 1);
    world.run_for(5_000);
    world.crash(3);
    let node = world.node_mut(3);
    node.disk = copy;
    node.disk.sync(node.disk.end());
    world.start(2, false);
    world.start(3, true);
    world.run_for(10_000);
    let alarms = &world.oracle.alarms;
    let alarmed = alarms.iter().any(|(node, alarm)| *node == 3 && matches!(alarm, Alarm::SecondInstance { .. }));
    assert!(alarmed, "oracle second instance: the old disk signs");
    assert!(!world.node(3).core.as_ref().is_some_and(Turns::is_signing));
}

/// Heights of a thousand million claimed and taken back, padded bitmaps, bytes changed at will.
fn csa_2026_001_asa_2025_false_claims(seed: u64) {
    let mut world = World::new(7, seed, Weather::FOUL);
    world.behaviours.insert(0, Behaviour::Boasts);
    world.behaviours.insert(1, if seed.is_multiple_of(2) { Behaviour::Pads } else { Behaviour::Mutates });
    for _ in 0..6 {
        everybody_submits(&mut world);
        world.run_for(2_000);
    }
    world.settle(&[]);
}

/// A node is cut off at a moment when it may be the only one that saw a quorum; it crashes and returns.
fn malachite_850_certificate_at_one_node(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.run_for(FIRST_BLOCK_MS);
    everybody_submits(&mut world);
    let moment = world.random.between(5, 60);
    world.run_for(moment);
    let rest = others(&world, 0);
    world.cut(&[0], &rest);
    world.run_for(40);
    world.crash(0);
    world.run_for(20_000);
    world.heal();
    world.start(0, false);
    complete_within(&mut world, 30_000);
}

/// The same where every vote counts: one is away for good, so that whoever confirmed must show why.
fn malachite_997_confirmed_and_restarted(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.run_for(FIRST_BLOCK_MS);
    let (witness, away) = ((seed % 4) as Place, ((seed + 2) % 4) as Place);
    everybody_submits(&mut world);
    let moment = world.random.between(5, 45);
    world.run_for(moment);
    // It still hears, and is heard by nobody.
    let rest = others(&world, witness);
    world.cut_one_way(&[witness], &rest);
    world.run_for(200);
    world.crash(away);
    world.crash(witness);
    world.run_for(10);
    world.start(witness, seed.is_multiple_of(2));
    world.settle(&[away]);
}

/// One of the votes that made the certificate was a faulty authority's, shown to nobody else and never again.
fn malachite_997_on_a_vote_that_is_gone(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.run_for(FIRST_BLOCK_MS);
    world.behaviours.insert(3, Behaviour::OneVictim(0));
    world.node_mut(2).slow_ms = 3_000;
    world.submit(0, 1);
    world.run_for(25 + 3 * seed);
    let rest = others(&world, 0);
    world.cut_one_way(&[0], &rest);
    world.run_for(60);
    world.crash(0);
    world.behaviours.insert(3, Behaviour::Mute);
    world.run_for(10_000);
    world.heal();
    world.start(0, false);
    world.settle(&[]);
}

/// The certificate of endorsement comes when the own skip is said already.
fn simplex_280_certificate_after_own_skip(seed: u64) {
    let weather = Weather { delay_min_ms: 200, delay_max_ms: 1_900, ..Weather::FAIR };
    let mut world = World::new(4, seed, weather);
    for _ in 0..6 {
        everybody_submits(&mut world);
        world.run_for(3_000);
    }
    world.settle(&[]);
}

/// A boundary block is endorsed, and not final for many turns: votes of different turns must not add up, and nothing
/// else may follow it.
fn simplex_541_boundary_not_final_for_long(seed: u64) {
    let weather = Weather { loss_percent: 35, delay_max_ms: 700, ..Weather::FOUL };
    let mut world = World::new(4, seed, weather);
    if seed.is_multiple_of(3) {
        world.behaviours.insert(3, Behaviour::NeverConfirms);
    }
    world.submit_change((seed % 3) as Place);
    for _ in 0..10 {
        let node = world.random.between(0, 2) as Place;
        if world.is_up(node) && world.random.percent(40) {
            world.crash(node);
            world.start(node, true);
        }
        world.submit((seed % 3) as Place, 1);
        world.run_for(1_700);
    }
    world.settle(&[]);
    assert!(world.oracle.epochs >= 1, "the boundary block became final in the end");
}

/// Exactly a quorum is alive, all persist a SKIP, and all crash before it is sent or counted.
fn commonware_4275_all_skip_all_crash(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.crash(1);
    for node in [0, 2, 3] {
        world.submit(node, 1);
    }
    // Turn 1 belongs to agency 0, turn 2 to the dead one: it is given up about now.
    world.run_for(8 + 4 * seed);
    for node in [0, 2, 3] {
        world.crash(node);
    }
    world.run_for(1_000);
    for node in [0, 2, 3] {
        world.start(node, true);
    }
    world.run_for(60_000);
    world.check_complete();
    world.start(1, false);
    complete_within(&mut world, 60_000);
}

/// Some see the certificate of endorsement, others that of skipping, of one and the same turn.
fn commonware_2192_certificates_split(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.run_for(FIRST_BLOCK_MS);
    for round in 0..6u16 {
        everybody_submits(&mut world);
        let moment = world.random.between(1, 40);
        world.run_for(moment);
        let deaf = (round + seed as u16) % 4;
        let rest = others(&world, deaf);
        world.cut_one_way(&rest, &[deaf]);
        world.run_for(1_800);
        world.heal();
        let moment = world.random.between(1, 200);
        world.run_for(moment);
    }
    world.settle(&[]);
}

/// Execution ends a turn later than it was asked for.
fn commonware_4436_slow_execution(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    for node in 0..4 {
        world.node_mut(node).slow_ms = 400 * ((u64::from(node) + seed) % 4);
    }
    for _ in 0..10 {
        everybody_submits(&mut world);
        world.run_for(400);
    }
    world.settle(&[]);
}

fn agave_13638_isolated(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.submit(1, 1);
    world.run_for(2_000);
    world.cut(&[3], &[0, 1, 2]);
    world.crash(0);
    world.submit(1, 1);
    world.submit(3, 1);
    world.run_for(120_000);
    world.heal();
    world.run_for(60_000);
    world.check_complete();
    world.start(0, true);
    complete_within(&mut world, 60_000);
}

/// One faulty authority speaks to one node only, and to nobody else.
fn alpenglow_132_votes_for_one_victim(seed: u64) {
    let mut world = World::new(4, seed, Weather::FOUL);
    let faulty = (seed % 4) as Peer;
    world.behaviours.insert(faulty, Behaviour::OneVictim((faulty + 1 + (seed / 4) as Peer) % 4));
    for _ in 0..8 {
        everybody_submits(&mut world);
        world.run_for(1_500);
    }
    world.settle(&[]);
}

/// Delays so near the timeout that finality and timeout fall into one moment again and again.
fn smartbft_622_finality_and_timeout_meet(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    for node in 0..4 {
        world.node_mut(node).slow_ms = 1_640 + 4 * seed;
    }
    for _ in 0..4 {
        everybody_submits(&mut world);
        world.run_for(2_000);
    }
    world.settle(&[]);
}

/// The block is confirmed by all and final at one node, which goes away before anybody hears of it.
fn iroha_5230_1170_signed_and_offline(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.run_for(FIRST_BLOCK_MS);
    let (node, rest) = ((seed % 4) as Place, others(&world, (seed % 4) as Place));
    everybody_submits(&mut world);
    let moment = world.random.between(25, 70);
    world.run_for(moment);
    world.cut_one_way(&[node], &rest);
    world.run_for(300);
    world.crash(node);
    world.run_for(30_000);
    assert!(!world.oracle.agreed.is_empty(), "oracle progress: three go on without it");
    world.heal();
    world.start(node, false);
    complete_within(&mut world, 30_000);
}

/// No trailing block is needed for the finality of the last one, at any node.
fn iroha_4164_5317_last_block_before_idle(seed: u64) {
    let mut world = World::new(4, seed, Weather { loss_percent: 25, ..Weather::FAIR });
    world.submit((seed % 4) as Place, 1);
    complete_within(&mut world, 60_000);
}

/// Twin proposers and an even split: clones of Aura and Clique decided on both sides.
fn aura_clique_twin_proposer_even_split(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.behaviours.insert(0, Behaviour::TwinProposals);
    world.cut(&[0, 1], &[2, 3]);
    everybody_submits(&mut world);
    world.run_for(60_000);
    assert!(world.oracle.agreed.is_empty(), "oracle quorum: two of four decide nothing");
    world.settle(&[]);
}

/// Found by this simulation: confirmations met at one node only, which lacked the block, and one who confirmed died.
fn final_certificate_without_its_block(seed: u64) {
    let mut world = World::new(4, seed, Weather::FAIR);
    world.submit(0, 1);
    world.run_for(2_000);
    let (witness, away) = ((seed % 4) as Place, ((seed + 1) % 4) as Place);
    // It executes nothing for a while, and hears all votes.
    world.node_mut(witness).slow_ms = 60_000;
    world.submit(away, 1);
    let moment = world.random.between(20, 60);
    world.run_for(moment);
    for node in others(&world, witness) {
        let apart: Vec<Place> = others(&world, node).into_iter().filter(|other| *other != witness).collect();
        world.cut(&[node], &apart);
    }
    world.run_for(200);
    world.crash(witness);
    world.start(witness, true);
    world.settle(&[away]);
}
