//! Verification across a recovery manifest: it leads on, and it is told.

use super::super::*;
use super::world::{World, sealing, set};
use crate::authority::AuthoritySet;
use crate::crypto::SigningKey;
use crate::proof::{Passage, RecoveryProof};
use crate::recovery::{RecoveryKeys, RecoveryManifest, SignedManifest};

fn holder(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn keys() -> RecoveryKeys {
    RecoveryKeys { threshold: 2, keys: (90..93).map(|number| holder(number).public()).collect(), least_members: 4 }
}

/// The set of an epoch with keys of its own for every member.
fn named_set(epoch: u64) -> AuthoritySet {
    let mut named = set(epoch);
    for (index, member) in (0u16..).zip(&mut named.members) {
        member.consensus_key = sealing(index + 100, 0).public();
        member.peer_key = sealing(index + 200, 0).public();
    }
    named
}

/// Two epochs by the members' word, a third by that of the recovery keys, with one more record.
fn world() -> (World, Passage, u64) {
    let mut world = World::sample();
    let (base, next) = (world.header(5), named_set(2));
    let manifest = RecoveryManifest { chain: world.chain, base, set: next.clone(), reason: "two sites lost".into() };
    let mut signed = SignedManifest::new(manifest);
    assert!(signed.sign(&keys(), &holder(90)).is_some() && signed.sign(&keys(), &holder(92)).is_some());
    world.sets.push(next);
    let record = world.transaction("civil", "civil", "PAY-6", 9_000);
    let header = world.block(8_000, &[(record, 0)]);
    (world, Passage::Recovery(RecoveryProof { recovery: signed.encode() }), header.first_index)
}

fn led(world: &World, recovery: &Passage) -> Authorities {
    let mut authorities = world.authorities().with_recovery(keys());
    authorities.follow(&world.handoffs().remove(0).into()).expect("a hand-off");
    authorities.follow(recovery).expect("a manifest");
    authorities
}

#[test]
fn receipts_from_before_and_after_verify_and_say_so() {
    let (world, recovery, index) = world();
    let authorities = led(&world, &recovery);
    for (index, height, epoch) in [(world.trail[0], 1, 0), (world.trail[4], 5, 1), (index, 6, 2)] {
        let checked = receipt(&authorities, &world.receipt(index, height), None);
        assert_eq!(checked.report.verdict, Verdict::Verified, "{:?}", checked.report);
        assert_eq!(checked.facts.and_then(|facts| facts.sealed).map(|sealed| sealed.epoch), Some(epoch));
        let told: Vec<&Step> =
            checked.report.steps.iter().filter(|step| step.detail.contains("two sites lost")).collect();
        assert_eq!(told.len(), 1, "{:?}", checked.report.steps);
        assert_eq!((told[0].name, told[0].result), (StepName::Authority, StepResult::Attested));
    }
    let mut bundle = world.bundle();
    bundle.handoffs.push(recovery);
    bundle.policy = authorities.policy(world.header(world.headers.len()).tree_size());
    let text = serde_json::to_string(&bundle).expect("JSON");
    assert_eq!(serde_json::from_str::<crate::proof::EvidenceBundle>(&text).expect("own JSON"), bundle);
    let checked = super::super::bundle(&world.authorities().with_recovery(keys()), &bundle);
    assert_eq!(checked.report.verdict, Verdict::Verified, "{:?}", checked.report);
    let told: Vec<(u64, u64)> = checked.discontinuities.iter().map(|told| (told.epoch, told.height)).collect();
    assert_eq!(told, [(2, 5)]);
    assert_eq!(checked.report.steps.iter().filter(|step| step.detail.contains("two sites lost")).count(), 1);
}

#[test]
fn the_lost_set_decides_nothing_above_the_base() {
    let (world, recovery, _) = world();
    let authorities = led(&world, &recovery);
    let size = world.header(6).tree_size();
    assert_eq!(authorities.deciding(world.header(5).tree_size()).epoch, 1);
    assert_eq!(authorities.deciding(size).epoch, 2);
    let refused = authorities.note(&world.note_by(size, 1, &[0, 1, 3])).expect_err("sealed by the lost set");
    assert_eq!(refused.code, Code(4106));
}

#[test]
fn a_manifest_that_does_not_hold_leads_nowhere() {
    let (world, recovery, _) = world();
    let handoff: Passage = world.handoffs().remove(0).into();
    let refused = |mut authorities: Authorities, passages: &[&Passage]| {
        passages
            .iter()
            .find_map(|passage| authorities.follow(passage).err())
            .map(|problem| (problem.code, problem.missing))
    };
    let trusting = || world.authorities().with_recovery(keys());
    assert_eq!(refused(trusting(), &[&handoff, &recovery]), None);
    assert_eq!(
        refused(world.authorities(), &[&handoff, &recovery]),
        Some((Code(4130), false)),
        "no keys in the genesis"
    );
    assert_eq!(refused(trusting(), &[&recovery]), Some((Code(4107), true)), "the hand-off before it is missing");
    assert_eq!(refused(trusting(), &[&handoff, &recovery, &recovery]), Some((Code(4130), false)), "twice");
    let Passage::Recovery(proof) = &recovery else { panic!("a manifest") };
    let mut spoilt = proof.clone();
    *spoilt.recovery.last_mut().expect("bytes") ^= 1;
    assert_eq!(refused(trusting(), &[&handoff, &Passage::Recovery(spoilt)]), Some((Code(4130), false)));
    let mut below = SignedManifest::new(RecoveryManifest {
        base: world.header(2),
        ..SignedManifest::decode(&proof.recovery).expect("a manifest").manifest().clone()
    });
    assert!(below.sign(&keys(), &holder(90)).is_some() && below.sign(&keys(), &holder(91)).is_some());
    let below = Passage::Recovery(RecoveryProof { recovery: below.encode() });
    assert_eq!(refused(trusting(), &[&handoff, &below]), Some((Code(4130), false)), "a base of an earlier epoch");
}
