//! What every verifier refuses, one case a line: the list of the protocol page.

use super::super::*;
use super::world::{World, id, known_keys, programme_leaf, record_leaf, set};
use crate::proof::{Handoff, SealedHeader, StateProof, Trail, TrailItem};
use crate::seal::{Note, seal_key_name};
use crate::state::key;

#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: Result<T, Problem>, code: u16) {
    match outcome {
        Ok(accepted) => panic!("accepted: {accepted:?}"),
        Err(problem) => assert_eq!(problem.code, Code(code), "{problem}"),
    }
}

#[track_caller]
fn receipt_refused(authorities: &Authorities, text: &str, key: Option<&KeyProof>, code: u16) {
    match receipt(authorities, text, key).report.verdict {
        Verdict::Verified => panic!("accepted"),
        Verdict::Failed { code: found, .. } | Verdict::Inconclusive { code: found, .. } => {
            assert_eq!(found, Code(code))
        }
    }
}

fn changed_receipt(world: &World, change: impl FnOnce(&mut Receipt)) -> String {
    let mut receipt = Receipt::parse(&world.receipt(world.trail[1], 5)).expect("receipt");
    change(&mut receipt);
    receipt.text()
}

#[test]
fn receipts() {
    let world = World::sample();
    let led = world.led();
    let refuse = |change: fn(&mut Receipt), code| receipt_refused(&led, &changed_receipt(&world, change), None, code);
    refuse(|receipt| receipt.entry[1] ^= 1, 4103);
    refuse(|receipt| *receipt.entry.last_mut().expect("bytes") ^= 1, 4103);
    refuse(|receipt| receipt.entry[0] = 7, 4102);
    refuse(|receipt| receipt.path[0][0] ^= 1, 4103);
    refuse(|receipt| receipt.path.truncate(2), 4103);
    refuse(|receipt| receipt.path.push([0; 32]), 4103);
    refuse(|receipt| receipt.index += 1, 4103);
    refuse(|receipt| receipt.index = receipt.note.checkpoint.size, 4103);
    refuse(|receipt| receipt.note.checkpoint.root[0] ^= 1, 4103);
    refuse(|receipt| receipt.note.checkpoint.size += 1, 4104);
    refuse(|receipt| receipt.note.lines[0].signature[7] ^= 1, 4104);
    refuse(|receipt| drop(receipt.note.lines.pop()), 4105);
    refuse(|receipt| receipt.note.lines[2] = receipt.note.lines[1].clone(), 4124);
    refuse(|receipt| receipt.note.checkpoint.origin.push('0'), 4001);
    let header = world.receipt(world.header(1).own_index(), 5);
    receipt_refused(&led, &header, None, 4102);
    let extended = world.receipt(world.trail[1], 5).replacen("\n\n\u{2014}", "\nextension\n\n\u{2014}", 1);
    receipt_refused(&led, &extended, None, 4126);
}

#[test]
fn an_entry_past_the_checkpoint() {
    let world = World::sample();
    let mut receipt = Receipt::parse(&world.receipt(world.trail[1], 2)).expect("receipt");
    receipt.index = *world.trail.last().expect("trail");
    receipt.entry = world.entries[receipt.index as usize].clone();
    receipt_refused(&world.led(), &receipt.text(), None, 4103);
}

#[test]
fn another_network() {
    let world = World::sample();
    let mut other = World::new();
    other.origin = "ledger.example.gov/main-0000000000000000".into();
    receipt_refused(&other.authorities(), &world.receipt(world.trail[0], 1), None, 4001);
    let refuse = |bundle: &crate::proof::EvidenceBundle, code| match super::super::bundle(&world.authorities(), bundle)
        .report
        .verdict
    {
        Verdict::Failed { code: found, .. } => assert_eq!(found, Code(code)),
        Verdict::Verified | Verdict::Inconclusive { .. } => panic!("not refused"),
    };
    let honest = world.bundle();
    refuse(&crate::proof::EvidenceBundle { origin: other.origin.clone(), ..honest.clone() }, 4001);
    refuse(&crate::proof::EvidenceBundle { genesis_hash: [1; 32], ..honest.clone() }, 4001);
    refuse(&crate::proof::EvidenceBundle { format: "mingzhang/evidence/v2".into(), ..honest.clone() }, 4101);
    let mut stated = honest.clone();
    stated.entry.as_mut().expect("entry").outcome.code = 3201;
    refuse(&stated, 4112);
    let mut stated = honest;
    stated.entry.as_mut().expect("entry").index += 1;
    refuse(&stated, 4102);
}

/// What a bundle says in words is no less a part of it: whoever reads a verified bundle goes by these words.
#[test]
fn words_of_a_bundle_that_are_not_those_of_its_proofs() {
    let world = World::sample();
    let refuse = |change: &dyn Fn(&mut crate::proof::EvidenceBundle), code| {
        let mut changed = world.bundle();
        change(&mut changed);
        match super::super::bundle(&world.authorities(), &changed).report.verdict {
            Verdict::Failed { code: found, .. } | Verdict::Inconclusive { code: found, .. } => {
                assert_eq!(found, Code(code));
            }
            Verdict::Verified => panic!("accepted"),
        }
    };
    refuse(&|bundle| bundle.policy = bundle.policy.replace("group authorities 3", "group authorities 1"), 4101);
    refuse(&|bundle| bundle.policy = "quorum none\n".into(), 4101);
    refuse(&|bundle| bundle.entry.as_mut().expect("entry").outcome.name = "overspend".into(), 4112);
    let decoded = |value: serde_json::Value| {
        move |bundle: &mut crate::proof::EvidenceBundle| bundle.entry.as_mut().expect("entry").decoded = value.clone()
    };
    refuse(&decoded(serde_json::json!({ "record_type": "payment_confirm" })), 4102);
    refuse(&decoded(serde_json::Value::Null), 4102);
    let registration = serde_json::json!({ "agency": "finance" });
    refuse(&|bundle| bundle.key.as_mut().expect("key").registration = registration.clone(), 4111);
    // Whose policy it should be is unknown without the hand-offs: nothing is said to be false.
    refuse(&|bundle| bundle.handoffs.clear(), 4107);
    // Without its receipt the description rests on nothing.
    refuse(&|bundle| bundle.receipt = None, 4127);
}

/// Programmes, accounts and cases stand under the same keys: a trail given another kind would be judged by other rules.
#[test]
fn trails_of_another_kind() {
    use crate::proof::SubjectKind;
    for kind in [SubjectKind::Account, SubjectKind::Case, SubjectKind::Tender, SubjectKind::Dataset] {
        trail_refused(|trail| trail.kind = kind, 4109);
    }
}

#[test]
fn keys_of_another_epoch_and_missing_hand_offs() {
    let world = World::sample();
    let size = world.header(5).tree_size();
    receipt_refused(&world.authorities(), &world.receipt(world.trail[0], 5), None, 4107);
    refused(world.led().note(&world.note_by(size, 0, &[0, 1, 3])), 4106);
    let mut renamed = world.note_by(size, 0, &[0, 1, 3]);
    for (line, agency) in renamed.lines.iter_mut().zip(["finance", "civil", "rural"]) {
        line.name = seal_key_name(&world.origin, agency, 1);
    }
    refused(world.led().note(&renamed), 4106);
    let honest = world.note(5);
    for (line, known) in renamed.lines.iter_mut().zip(&honest.lines) {
        line.key_id = known.key_id;
    }
    refused(world.led().note(&renamed), 4104);
    // The new set decides nothing at or below the boundary, the old one nothing above.
    refused(world.led().note(&world.note_by(world.header(3).tree_size(), 1, &[0, 1, 3])), 4106);
}

fn handoff_refused(world: &World, change: impl FnOnce(&mut Handoff), code: u16) {
    let mut handoff = world.handoffs().remove(0);
    change(&mut handoff);
    refused(world.authorities().pass(&handoff), code);
}

#[test]
fn hand_offs() {
    let world = World::sample();
    handoff_refused(&world, |handoff| handoff.set = set(2).encode(), 4117);
    handoff_refused(&world, |handoff| handoff.set = set(0).encode(), 4117);
    handoff_refused(&world, |handoff| handoff.set.push(0), 4117);
    handoff_refused(&world, |handoff| handoff.header[8] ^= 1, 4117);
    handoff_refused(&world, |handoff| handoff.path[0][0] ^= 1, 4117);
    let size = world.header(3).tree_size();
    handoff_refused(&world, |handoff| handoff.checkpoint = world.note_by(size, 0, &[0, 1]).text(), 4117);
    handoff_refused(&world, |handoff| handoff.checkpoint = world.note_by(size, 1, &[0, 1, 3]).text(), 4117);
    let ordinary = world.sealed(2);
    handoff_refused(
        &world,
        |handoff| {
            *handoff = Handoff {
                header: ordinary.header,
                path: ordinary.header_path,
                checkpoint: ordinary.checkpoint,
                set: set(1).encode(),
            }
        },
        4117,
    );
    let mut led = world.led();
    refused(led.pass(&world.handoffs()[0]), 4117);
}

#[test]
fn hand_offs_whose_sealed_header_lies() {
    let lie = |twist: fn(&mut crate::header::Header), code| {
        let mut world = World::new();
        let opening = world.transaction("civil", "civil", "P-1", 5_000);
        world.lying_block(1_000, &[(opening, 0)], Some(set(1)), twist);
        let note = world.note_by(world.log.len() as u64, 0, &[0, 1, 3]);
        let header = world.header(1);
        let path =
            crate::merkle::inclusion_path(world.log.as_slice(), world.log.len() as u64 - 1, world.log.len() as u64);
        let handoff = Handoff {
            header: header.encode().to_vec(),
            path: path.expect("path"),
            checkpoint: note.text(),
            set: set(1).encode(),
        };
        refused(world.authorities().pass(&handoff), code);
    };
    lie(|header| header.set_hash = [1; 32], 4117);
    lie(|header| header.next_set_hash = [1; 32], 4117);
    lie(|header| header.next_set_hash = header.set_hash, 4117);
    lie(|header| header.first_index += 1, 4117);
    lie(|header| header.entry_count += 1, 4117);
    lie(|header| header.epoch = 1, 4107);
}

#[test]
fn a_boundary_to_an_epoch_that_is_not_the_next() {
    let mut world = World::new();
    let opening = world.transaction("civil", "civil", "P-1", 5_000);
    world.lying_block(1_000, &[(opening, 0)], Some(set(2)), |_| ());
    refused(world.authorities().pass(&world.handoffs()[0]), 4117);
}

#[test]
fn headers() {
    let world = World::sample();
    let led = world.led();
    let honest = world.sealed(4);
    let refuse = |sealed: SealedHeader, code| refused(sealed_header(&led, &sealed), code);
    refuse(SealedHeader { header: world.sealed(3).header, ..honest.clone() }, 4125);
    refuse(SealedHeader { header_path: world.sealed(5).header_path, ..honest.clone() }, 4108);
    refuse(SealedHeader { checkpoint: world.sealed(5).checkpoint, ..honest.clone() }, 4125);
    refuse(SealedHeader { header: honest.header[1..].to_vec(), ..honest.clone() }, 4101);
    // An entry of the log that is no last leaf, offered with its own true path.
    let inner = world.header(2);
    let path = crate::merkle::inclusion_path(world.log.as_slice(), inner.own_index(), world.header(4).tree_size());
    let mut moved = honest.clone();
    moved.header = inner.encode().to_vec();
    moved.header_path = path.expect("path");
    refuse(moved, 4125);
    let mut other_state = world.header(4);
    other_state.state_root[0] ^= 1;
    refuse(SealedHeader { header: other_state.encode().to_vec(), ..honest }, 4108);
}

#[test]
fn headers_of_another_set_or_epoch() {
    for twist in
        [(|header: &mut crate::header::Header| header.set_hash = [1; 32]) as fn(&mut crate::header::Header), |header| {
            header.epoch = 5
        }]
    {
        let mut world = World::new();
        let opening = world.transaction("civil", "civil", "P-1", 5_000);
        world.lying_block(1_000, &[(opening, 0)], None, twist);
        let note = world.note_by(world.log.len() as u64, 0, &[0, 1, 3]);
        let sealed = crate::prove::sealed_header(world.log.as_slice(), &note, &world.header(1)).expect("path");
        refused(sealed_header(&world.authorities(), &sealed), 4125);
    }
}

#[test]
fn states() {
    let world = World::sample();
    let proven = sealed_header(&world.led(), &world.sealed(5)).expect("header");
    let here = key::record("civil", &id("PAY-1"));
    let gone = key::record("civil", &id("PAY-9"));
    let present = world.state_proof(5, &here);
    let absent = world.state_proof(5, &gone);
    assert!(presence(&proven, &present, &here).is_ok());
    assert_eq!(absence(&proven, &absent, &gone), Ok(()));
    refused(absence(&proven, &present, &here), 4119);
    refused(absence(&proven, &absent, &here), 4119);
    refused(presence(&proven, &absent, &gone), 4109);
    refused(presence(&proven, &world.state_proof(2, &here), &here), 4109);
    refused(presence(&proven, &StateProof { index: present.index + 1, ..present.clone() }, &here), 4109);
    refused(presence(&proven, &StateProof { leaf: present.leaf[..40].to_vec(), ..present.clone() }, &here), 4109);
    for at in 0..present.leaf.len() {
        let mut leaf = present.leaf.clone();
        leaf[at] ^= 1;
        refused(presence(&proven, &StateProof { leaf, ..present.clone() }, &here), 4109);
    }
    let sentinel = world.state_proof(5, &crate::state::tree::SENTINEL);
    refused(presence(&proven, &sentinel, &crate::state::tree::SENTINEL), 4109);
}

#[test]
fn expiries() {
    let world = World::sample();
    let led = world.led();
    let proof = |height, agency: &str, name: &str| world.state_proof(height, &key::record(agency, &id(name)));
    let newest = sealed_header(&led, &world.sealed(5)).expect("header");
    let late = world.transaction("civil", "civil", "PAY-9", 6_001);
    refused(expired(&newest, &proof(5, "civil", "PAY-9"), &late), 4120);
    let early = world.transaction("civil", "civil", "PAY-9", 5_000);
    let before = sealed_header(&led, &world.sealed(4)).expect("header");
    refused(expired(&before, &proof(4, "civil", "PAY-9"), &early), 4120);
    refused(expired(&newest, &proof(5, "rural", "PAY-1"), &world.transaction("civil", "civil", "PAY-1", 5_000)), 4119);
    refused(expired(&newest, &proof(5, "civil", "PAY-1"), &world.transaction("civil", "civil", "PAY-1", 5_000)), 4119);
    let mut other = World::new();
    other.origin = "other-0000000000000000".into();
    let foreign = other.transaction("civil", "civil", "PAY-9", 5_000);
    refused(expired(&newest, &proof(5, "civil", "PAY-9"), &foreign), 4001);
}

#[track_caller]
fn trail_refused(change: impl FnOnce(&mut Trail), code: u16) {
    let world = World::sample();
    let led = world.led();
    let proven = sealed_header(&led, &world.sealed(5)).expect("header");
    let mut changed = world.programme_trail(5);
    assert!(trail(&led, &proven, &changed, &known_keys()).is_ok());
    change(&mut changed);
    refused(trail(&led, &proven, &changed, &known_keys()), code);
}

#[test]
fn trails() {
    trail_refused(|trail| drop(trail.entries.remove(2)), 4110);
    trail_refused(|trail| drop(trail.entries.pop()), 4110);
    trail_refused(|trail| trail.entries.push(trail.entries[5].clone()), 4110);
    trail_refused(|trail| trail.entries[2] = trail.entries[1].clone(), 4110);
    trail_refused(|trail| trail.entries.swap(1, 2), 4110);
    trail_refused(|trail| trail.count -= 1, 4110);
    trail_refused(
        |trail| {
            trail.count -= 1;
            trail.entries.pop();
        },
        4110,
    );
    trail_refused(|trail| trail.root[0] ^= 1, 4110);
    trail_refused(|trail| trail.entries[2].entry[2] ^= 1, 4110);
    trail_refused(|trail| trail.entries[2].index += 1, 4110);
    trail_refused(|trail| trail.entries[5].index += 100, 4110);
    trail_refused(|trail| trail.entries.clear(), 4110);
    trail_refused(|trail| trail.id = "civil/PAY-1".into(), 4109);
    trail_refused(|trail| trail.id = "rural/P-1".into(), 4109);
    trail_refused(|trail| trail.id = "P-1".into(), 4101);
    trail_refused(|trail| trail.state.path[0][0] ^= 1, 4109);
}

#[test]
fn a_trail_of_another_height() {
    let world = World::sample();
    let led = world.led();
    let proven = sealed_header(&led, &world.sealed(5)).expect("header");
    refused(trail(&led, &proven, &world.programme_trail(4), &known_keys()), 4109);
    let older = Trail { state: world.programme_trail(5).state, ..world.programme_trail(4) };
    refused(trail(&led, &proven, &older, &known_keys()), 4110);
}

#[test]
fn a_subject_without_a_trail_and_a_signer_without_a_proven_key() {
    let world = World::sample();
    let led = world.led();
    let proven = sealed_header(&led, &world.sealed(5)).expect("header");
    let mut no_trail = world.programme_trail(5);
    no_trail.id = "civil/PAY-1".into();
    no_trail.state = world.state_proof(5, &key::record("civil", &id("PAY-1")));
    refused(trail(&led, &proven, &no_trail, &known_keys()), 4110);
    let unproven = trail(&led, &proven, &world.programme_trail(5), &std::collections::BTreeMap::new());
    refused(unproven.map_err(|problem| Problem { missing: !problem.missing, ..problem }), 4118);
}

/// A trail that the quorum sealed although a record in it is signed by a key of another agency, or by nobody.
#[test]
fn records_of_another_key_or_agency() {
    for (signer, agency) in [("rural", "civil"), ("civil", "rural")] {
        let mut world = World::new();
        let opening = world.transaction("civil", "civil", "P-1", 5_000);
        let wrong = world.transaction(signer, agency, "PAY-1", 5_000);
        world.block(1_000, &[(opening, 0), (wrong, 0)]);
        let authorities = world.authorities();
        let proven = sealed_header(&authorities, &world.sealed(1)).expect("header");
        refused(trail(&authorities, &proven, &world.programme_trail(1), &known_keys()), 4111);
        let index = world.trail[1];
        let proof = world.key_proof(signer, 1);
        receipt_refused(&authorities, &world.receipt(index, 1), Some(&proof), 4111);
        let other = world.key_proof(if signer == "civil" { "rural" } else { "civil" }, 1);
        receipt_refused(&authorities, &world.receipt(index, 1), Some(&other), 4111);
    }
}

#[test]
fn a_record_whose_signature_does_not_hold() {
    let mut world = World::new();
    let opening = world.transaction("civil", "civil", "P-1", 5_000);
    let mut bytes = world.transaction("civil", "civil", "PAY-1", 5_000).bytes().to_vec();
    *bytes.last_mut().expect("signature") ^= 1;
    let forged = Transaction::decode(&bytes).expect("well-formed");
    world.block(1_000, &[(opening, 0), (forged, 0)]);
    let authorities = world.authorities();
    let proven = sealed_header(&authorities, &world.sealed(1)).expect("header");
    refused(trail(&authorities, &proven, &world.programme_trail(1), &known_keys()), 4111);
    receipt_refused(&authorities, &world.receipt(world.trail[1], 1), Some(&world.key_proof("civil", 1)), 4111);
    receipt_refused(&authorities, &world.receipt(world.trail[0], 1), Some(&world.key_proof("rural", 1)), 4111);
}

#[test]
fn entries_that_stand_in_no_trail() {
    let world = World::sample();
    let led = world.led();
    let proven = sealed_header(&led, &world.sealed(5)).expect("header");
    let genesis = TrailItem { index: 1, entry: world.entries[0].clone() };
    let with_genesis = |items: Vec<TrailItem>| {
        let mut state = crate::state::memory::MemoryState::default();
        let mut overlay = crate::state::Overlay::new(&crate::state::Nothing);
        let subject = key::record("civil", &id("P-1"));
        let opening = world.transaction("civil", "civil", "P-1", 5_000);
        overlay.put(subject, &programme_leaf(record_leaf(1, 0, &opening))).expect("value");
        for item in &items {
            overlay.append_to_trail(subject, item.index, &leaf_hash(&item.entry)).expect("trail");
        }
        let update = state.apply(&overlay.into_parts().sorted().expect("encodes").0).expect("state");
        let mut header = proven.clone();
        header.header.state_root = update.root;
        header.header.state_size = update.size;
        let kind = crate::proof::SubjectKind::Programme;
        let built = crate::prove::trail(&state, update.size, kind, super::world::PROGRAMME, items).expect("trail");
        trail(&led, &header, &built, &known_keys())
    };
    refused(with_genesis(vec![genesis]), 4001);
    refused(with_genesis(vec![TrailItem { index: 3, entry: world.header(1).encode().to_vec() }]), 4102);
    assert!(with_genesis(vec![TrailItem { index: 0, entry: world.entries[0].clone() }]).is_ok());
}

#[test]
fn checkpoints_against_the_one_kept() {
    let world = World::sample();
    let led = world.led();
    let note = |height| led.note(&world.note(height)).expect("sealed");
    let kept = |height| Kept { size: note(height).checkpoint.size, root: note(height).checkpoint.root };
    let proof = |from: usize, to: usize| {
        let sizes = (world.header(from).tree_size(), world.header(to).tree_size());
        crate::prove::consistency(world.log.as_slice(), sizes.0, sizes.1).expect("proof")
    };
    assert_eq!(note(5).check_kept(&kept(2), Some(&proof(2, 5))), Ok(()));
    assert_eq!(note(5).check_kept(&kept(5), None), Ok(()));
    refused(note(2).check_kept(&kept(5), None), 4115);
    refused(note(5).check_kept(&kept(2), None), 4127);
    refused(note(5).check_kept(&Kept { root: [1; 32], ..kept(5) }, None), 4116);
    refused(note(5).check_kept(&Kept { root: [1; 32], ..kept(2) }, Some(&proof(2, 5))), 4121);
    refused(note(5).check_kept(&kept(2), Some(&proof(1, 5))), 4121);
    refused(note(5).check_kept(&kept(2), Some(&proof(2, 4))), 4121);
    let mut broken = proof(2, 5);
    broken.path[0][0] ^= 1;
    refused(note(5).check_kept(&kept(2), Some(&broken)), 4121);
    assert_eq!(note(5).check_age(1_764_000_060, 60), Ok(()));
    refused(note(5).check_age(1_764_000_061, 60), 4122);
}

#[test]
fn text_that_is_no_receipt() {
    let world = World::sample();
    let led = world.led();
    let text = world.receipt(world.trail[1], 5);
    for (from, to) in [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("extra ", "extra  "),
        ("extra ", "Extra "),
        ("index 3\n", "index 03\n"),
        ("index 3\n", "index 3 \n"),
        ("index 3\n", ""),
        ("\u{2014} ", "- "),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from:?}");
        receipt_refused(&led, &changed, None, 4101);
    }
    for end in 0..text.len() {
        if let Some(cut) = text.get(..end) {
            assert_ne!(receipt(&led, cut, None).report.verdict, Verdict::Verified, "cut at {end}");
        }
    }
    receipt_refused(&led, &text.replacen("index 3\n", "index 3\n\n", 1), None, 4126);
    receipt_refused(&led, &format!("{text}\n"), None, 4101);
    receipt_refused(&led, &text.replace('\n', "\r\n"), None, 4101);
    assert!(Note::parse("").is_err());
}
