//! Every rule of verification by its violation, and every byte of every sample.

mod discontinuity;
mod refusals;
mod world;

use super::*;
use crate::proof::EvidenceBundle;
use crate::verify::state::expired;
use world::World;

#[test]
fn an_honest_receipt_of_every_record_verifies_with_and_without_its_key() {
    let world = World::sample();
    let led = world.led();
    for index in &world.trail {
        for height in (1..=5).filter(|height| world.header(*height).tree_size() > *index) {
            let text = world.receipt(*index, height);
            assert_eq!(Receipt::parse(&text).expect("own receipt").text(), text);
            let plain = receipt(&led, &text, None);
            assert_eq!(plain.report.verdict, Verdict::Verified, "{:?}", plain.report);
            let proven = receipt(&led, &text, Some(&world.key_proof("civil", height)));
            assert_eq!(proven.report.verdict, Verdict::Verified, "{:?}", proven.report);
            let facts = proven.facts.expect("facts");
            assert_eq!(facts.outcome, if *index == world.trail[2] { 3201 } else { 0 });
            assert_eq!(facts.sealed.map(|sealed| (sealed.epoch, sealed.quorum)), Some((u64::from(height > 3), 3)));
        }
    }
}

#[test]
fn a_bundle_proves_itself_from_genesis_and_survives_json() {
    let world = World::sample();
    let text = serde_json::to_string(&world.bundle()).expect("JSON");
    let parsed: EvidenceBundle = serde_json::from_str(&text).expect("own JSON");
    assert_eq!(parsed, world.bundle());
    let checked = bundle(&world.authorities(), &parsed);
    assert_eq!(checked.report.verdict, Verdict::Verified, "{:?}", checked.report);
    let trail = checked.trail.expect("trail").trail;
    assert_eq!(trail.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), world.trail);
    assert!(checked.receipt.is_some());
}

#[test]
fn a_record_that_never_came_is_expired_for_ever_under_a_later_header() {
    let world = World::sample();
    let led = world.led();
    let late = world.transaction("civil", "civil", "PAY-9", 6_000);
    let proven = sealed_header(&led, &world.sealed(5)).expect("header");
    let proof = world.state_proof(5, &crate::state::key::record("civil", &world::id("PAY-9")));
    assert_eq!(expired(&proven, &proof, &late), Ok(()));
}

#[test]
fn two_histories_convict_those_who_sealed_both() {
    let (one, mut other) = (World::sample(), World::sample());
    let last = other.log.len() - 1;
    other.log[last] = [9; 32];
    let size = one.log.len() as u64;
    let led = one.led();
    let split = split_view(&led, &one.note_by(size, 1, &[0, 1, 2]), &other.note_by(size, 1, &[1, 2, 3]));
    let convicted = split.expect("both have a quorum").expect("they differ");
    assert_eq!(convicted.agencies.into_iter().collect::<Vec<_>>(), ["audit", "civil"]);
    assert_eq!(split_view(&led, &one.note(5), &one.note_by(size, 1, &[1, 2, 3])), Ok(None));
    assert!(split_view(&led, &one.note(5), &one.note(4)).is_err_and(|problem| problem.missing));
}

#[test]
fn pages_of_a_trail_join_and_later_entries_stay_out() {
    let world = World::sample();
    let whole = world.programme_trail(4);
    let page = |height: usize, range: std::ops::Range<usize>, next_cursor| {
        let trail = world.programme_trail(height);
        let entries = trail.entries[range].to_vec();
        crate::proof::TrailProof {
            sealed: world.sealed(height),
            trail: crate::proof::Trail { entries, ..trail },
            next_cursor,
        }
    };
    let mut joined = page(4, 0..2, Some(2));
    joined.extend(page(4, 2..4, Some(4)));
    assert_eq!(joined.next_cursor, Some(4));
    // The network went on in between: the last page holds one entry more.
    joined.extend(page(5, 4..6, None));
    assert_eq!((joined.next_cursor, joined.trail), (None, whole));
}

#[test]
fn a_sealed_trail_that_passes_by_a_record_is_proof_of_omission() {
    let mut world = World::small();
    let hidden = world.transaction("civil", "civil", "PAY-2", 5_000);
    world.omits = true;
    world.block(3_000, &[(hidden, 0)]);
    let index = world.header(3).first_index;
    let proof = |height| crate::proof::TrailProof {
        sealed: world.sealed(height),
        trail: world.programme_trail(height),
        next_cursor: None,
    };
    let authorities = world.authorities();
    let hidden = world.receipt(index, 3);
    assert_eq!(omission(&authorities, &hidden, &proof(3)), Ok(true));
    // Sealed before the record came, or of a record that stands in the trail: nothing was left out.
    assert_eq!(omission(&authorities, &hidden, &proof(2)), Ok(false));
    assert_eq!(omission(&authorities, &world.receipt(world.trail[1], 3), &proof(3)), Ok(false));
    let mut cut = proof(3);
    cut.trail.entries.pop();
    assert_eq!(omission(&authorities, &hidden, &cut).map_err(|problem| problem.code), Err(Code(4110)));
    let forged = hidden.replacen("index ", "index 1", 1);
    assert_eq!(omission(&authorities, &forged, &proof(3)).map_err(|problem| problem.code), Err(Code(4103)));
}

#[test]
fn a_bundle_whose_log_was_rewritten_is_refused() {
    let world = World::sample();
    let mut evidence = world.bundle();
    let sizes = (world.header(2).tree_size(), world.header(5).tree_size());
    evidence.consistency = crate::prove::consistency(world.log.as_slice(), sizes.0, sizes.1).ok();
    assert_eq!(bundle(&world.authorities(), &evidence).report.verdict, Verdict::Verified);
    let consistency = evidence.consistency.as_mut().expect("a proof");
    consistency.from_root[0] ^= 1;
    let failed = |report: &Report, wanted| matches!(&report.verdict, Verdict::Failed { code, .. } if code.0 == wanted);
    assert!(failed(&bundle(&world.authorities(), &evidence).report, 4121));
    evidence.consistency.as_mut().expect("a proof").to += 1;
    let open = bundle(&world.authorities(), &evidence).report.verdict;
    assert!(matches!(open, Verdict::Inconclusive { code: Code(4127), .. }), "{open:?}");
}

#[test]
fn a_document_is_on_record_or_not() {
    let world = World::sample();
    let transaction = world.transaction("civil", "civil", "DOC", 1);
    assert_eq!(document(&transaction, &sha256(&[b"DOC"])), Ok(()));
    assert_eq!(document(&transaction, &[0; 32]).map_err(|problem| problem.code), Err(Code(4114)));
    assert_eq!(document_digest(&[1; 32], b"file"), sha256(&[&[1; 32], b"file"]));
}

#[test]
fn no_single_bit_of_a_receipt_may_change() {
    let world = World::sample();
    let led = world.led();
    let text = world.receipt(world.trail[1], 5).into_bytes();
    for at in 0..text.len() {
        for bit in [0x01, 0x02, 0x20] {
            let mut bytes = text.clone();
            bytes[at] ^= bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let report = receipt(&led, &changed, None).report;
            assert_ne!(report.verdict, Verdict::Verified, "byte {at} bit {bit}");
        }
    }
}

/// Every text of a type that differs from an honest one in a single byte, as far as it can be read.
fn corrupted<T: serde::de::DeserializeOwned + serde::Serialize>(honest: &T) -> impl Iterator<Item = (usize, T)> {
    let text = serde_json::to_vec(honest).expect("JSON");
    (0..text.len()).filter_map(move |at| {
        let mut bytes = text.clone();
        bytes[at] ^= 0x01;
        Some((at, serde_json::from_slice(&bytes).ok()?))
    })
}

#[test]
fn no_single_byte_of_a_bundle_may_change() {
    let world = World::small();
    let genesis = world.authorities();
    for (at, changed) in corrupted(&world.bundle()) {
        assert_ne!(bundle(&genesis, &changed).report.verdict, Verdict::Verified, "byte {at}");
    }
}

#[test]
fn no_single_byte_of_a_hand_off_may_change() {
    let world = World::sample();
    for (at, changed) in corrupted(&world.handoffs().remove(0)) {
        assert!(world.authorities().pass(&changed).is_err(), "byte {at}");
    }
}
