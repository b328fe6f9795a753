//! A manifest by every rule that it may break, and every byte of one.

use super::*;
use crate::authority::{Member, Parameters};

const CHAIN: Hash = [7; 32];
const OPENING: Hash = [9; 32];

fn secret(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn keys() -> RecoveryKeys {
    RecoveryKeys { threshold: 2, keys: (1..=3).map(|number| secret(number).public()).collect(), least_members: 4 }
}

fn set(epoch: u64, first: u8) -> AuthoritySet {
    let member = |number: u8| Member {
        agency: format!("agency-{number}"),
        consensus_key: PublicKey([first + number * 3; 32]),
        sealing_key: PublicKey([first + number * 3 + 1; 32]),
        peer_key: PublicKey([first + number * 3 + 2; 32]),
        url: "https://example.gov/".into(),
    };
    AuthoritySet { epoch, parameters: Parameters::default(), members: (0..4).map(member).collect() }
}

fn base(before: &AuthoritySet) -> Header {
    Header {
        height: 5,
        epoch: before.epoch,
        turn: 8,
        parent_turn: 7,
        proposer: 1,
        time_ms: 1_000,
        first_index: 10,
        entry_count: 2,
        log_root: [1; 32],
        state_root: [2; 32],
        parent: [3; 32],
        batches: [4; 32],
        set_hash: before.hash(),
        next_set_hash: before.hash(),
        state_size: 40,
    }
}

fn manifest() -> RecoveryManifest {
    RecoveryManifest { chain: CHAIN, base: base(&set(2, 10)), set: set(3, 60), reason: "flood, 两机房被毁".into() }
}

fn judged(signed: &SignedManifest, before: &AuthoritySet) -> Result<Recovered, RecoveryFault> {
    signed.verify(&keys(), &CHAIN, &EndedEpoch { set: before, opened_by: &OPENING })
}

fn signed_by(manifest: RecoveryManifest, signers: &[u8]) -> SignedManifest {
    let mut signed = SignedManifest::new(manifest);
    for number in signers {
        assert_eq!(signed.sign(&keys(), &secret(*number)), Some(u16::from(*number) - 1));
    }
    signed
}

#[test]
fn two_of_three_keys_open_the_next_epoch_and_say_why() {
    let signed = signed_by(manifest(), &[3, 1]);
    let bytes = signed.encode();
    let decoded = SignedManifest::decode(&bytes).expect("own bytes");
    assert_eq!(decoded, signed);
    let recovered = judged(&decoded, &set(2, 10)).expect("enough signatures");
    assert_eq!((recovered.epoch(), recovered.bytes()), (3, bytes.as_slice()));
    let told = recovered.discontinuity(&keys());
    assert_eq!((told.epoch, told.height, told.tree_size, told.threshold), (3, 5, 13, 2));
    assert_eq!((told.signers.as_slice(), told.reason.as_str()), (&[0, 2][..], "flood, 两机房被毁"));
    let mut first = signed_by(manifest(), &[1]);
    assert!(first.merge(&signed_by(manifest(), &[3])) && first == signed);
    assert!(!first.merge(&SignedManifest::new(RecoveryManifest { reason: "else".into(), ..manifest() })));
    assert_eq!(first.sign(&keys(), &secret(9)), None, "not a recovery key of this network");
}

#[test]
fn signatures_of_others_or_too_few_open_nothing() {
    let before = set(2, 10);
    let refused = |signed: &SignedManifest| judged(signed, &before).expect_err("refused");
    assert_eq!(refused(&signed_by(manifest(), &[])), RecoveryFault::TooFew { have: 0, need: 2 });
    assert_eq!(refused(&signed_by(manifest(), &[2])), RecoveryFault::TooFew { have: 1, need: 2 });
    let mut forged = signed_by(manifest(), &[1, 2]);
    forged.signatures.insert(1, secret(1).sign(b"something else"));
    assert_eq!(refused(&forged), RecoveryFault::Signature(1));
    forged.signatures.insert(3, secret(1).sign(&manifest().signed_bytes()));
    assert_eq!(refused(&forged), RecoveryFault::UnknownKey(3));
    let nobody = RecoveryKeys { least_members: 4, ..RecoveryKeys::default() };
    let ended = EndedEpoch { set: &before, opened_by: &OPENING };
    assert_eq!(signed_by(manifest(), &[1, 2]).verify(&nobody, &CHAIN, &ended), Err(RecoveryFault::NoKeys));
}

fn refused(change: impl FnOnce(&mut RecoveryManifest), fault: &RecoveryFault) {
    let mut manifest = manifest();
    change(&mut manifest);
    assert_eq!(judged(&signed_by(manifest, &[1, 2]), &set(2, 10)).as_ref(), Err(fault));
}

#[test]
fn a_manifest_continues_its_network_epoch_and_set() {
    refused(|manifest| manifest.chain = [8; 32], &RecoveryFault::OtherNetwork([8; 32]));
    refused(|manifest| manifest.set.epoch = 4, &RecoveryFault::Epoch { have: 4, want: 3 });
    refused(|manifest| manifest.set.epoch = 2, &RecoveryFault::Epoch { have: 2, want: 3 });
    refused(|manifest| manifest.base.epoch = 1, &RecoveryFault::Base { height: 5, epoch: 2 });
    refused(|manifest| manifest.base.set_hash = [0; 32], &RecoveryFault::Base { height: 5, epoch: 2 });
    refused(|manifest| manifest.reason.clear(), &RecoveryFault::Reason { bytes: 0 });
    refused(|manifest| manifest.reason = "a\nb".into(), &RecoveryFault::Reason { bytes: 3 });
    refused(|manifest| manifest.reason = "x".repeat(1_001), &RecoveryFault::Reason { bytes: 1_001 });
    refused(|manifest| drop(manifest.set.members.pop()), &RecoveryFault::Members { members: 3, least: 4 });
    refused(|manifest| manifest.set.members[1].agency = "agency-0".into(), &RecoveryFault::TwoSeats("agency-0".into()));
    let key = set(3, 60).members[0].peer_key;
    refused(|manifest| manifest.set.members[1].sealing_key = key, &RecoveryFault::KeyTwice(key));
    let sealed = set(2, 10).members[2].sealing_key;
    refused(|manifest| manifest.set.members[2].sealing_key = sealed, &RecoveryFault::KeyTwice(sealed));
    let fault = ParameterFault::Range { name: "max_unfinal", value: 0, least: 1, most: 1_024 };
    refused(|manifest| manifest.set.parameters.max_unfinal = 0, &RecoveryFault::Parameter(fault));
}

#[test]
fn an_epoch_without_a_block_ends_at_the_block_that_opened_it() {
    let mut again = manifest();
    (again.base.epoch, again.base.set_hash) = (1, [0; 32]);
    let opening = again.base.id();
    let ended = EndedEpoch { set: &set(2, 10), opened_by: &opening };
    assert!(signed_by(again, &[1, 2]).verify(&keys(), &CHAIN, &ended).is_ok());
}

#[test]
fn no_changed_byte_passes() {
    let before = set(2, 10);
    let bytes = signed_by(manifest(), &[1, 2]).encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let passed = SignedManifest::decode(&changed).is_ok_and(|signed| judged(&signed, &before).is_ok());
        assert!(!passed, "byte {at}");
    }
    for end in 0..bytes.len() {
        assert!(SignedManifest::decode(&bytes[..end]).is_err());
    }
    assert!(SignedManifest::decode(&vec![0; MAX_MANIFEST_BYTES + 1]).is_err());
}
