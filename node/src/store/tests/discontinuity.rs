//! A recovery manifest on disk: it ends the epoch once, gives up nothing that is final or certified, and survives a restart.

use mingzhang_consensus::Opening;
use mingzhang_ledger::recovery::{EndedEpoch, Recovered, RecoveryKeys, RecoveryManifest, SignedManifest};

use super::*;

fn recovered(base: Header, reason: &str) -> Recovered {
    let holder = SigningKey::from_seed(&[77; 32]);
    let keys = RecoveryKeys { threshold: 1, keys: vec![holder.public()], least_members: 1 };
    let member = |byte: u8| Member {
        agency: format!("agency{byte}"),
        consensus_key: PublicKey([byte; 32]),
        sealing_key: PublicKey([byte + 1; 32]),
        peer_key: PublicKey([byte + 2; 32]),
        url: "https://node.example/".into(),
    };
    let members = (0..5).map(|number| member(100 + 3 * number)).collect();
    let next = AuthoritySet { epoch: 1, parameters: Parameters::default(), members };
    let chain = foundation().genesis_hash;
    let mut signed = SignedManifest::new(RecoveryManifest { chain, base, set: next, reason: reason.into() });
    assert_eq!(signed.sign(&keys, &holder), Some(0));
    let ended = EndedEpoch { set: &set(), opened_by: &[0; 32] };
    signed.verify(&keys, &chain, &ended).expect("a manifest that holds")
}

fn opens_at(store: &Store, base: &Header) {
    let tip = store.tip();
    assert_eq!((tip.height, tip.id, tip.epoch, tip.turn, tip.lanes.len()), (base.height, base.id(), 1, 0, 5));
    let epoch = store.epoch().expect("an epoch");
    assert_eq!(epoch.opening, Opening::Recovered { height: base.height, block: base.id() });
    assert_eq!(epoch.members(), 5);
    let restored = store.restored(&epoch).expect("restores");
    assert_eq!((restored.certificate, restored.records, restored.entered), (None, Vec::new(), None));
    assert_eq!(store.recovered_set(1, base.height).expect("read").map(|set| set.epoch), Some(1));
    assert_eq!(store.recovered_set(1, base.height + 1), Ok(None));
    let view = store.view().expect("a view");
    assert_eq!(view.recoveries().expect("read").len(), 1);
    assert!(store.check().is_ok());
}

fn confirmed(turn: u64, block: Hash) -> SafetyRecord {
    let signers = Signers::new((0..3).map(|signer| (signer, Signature([1; 64]))));
    let certificate = EndorseCert { epoch: 0, turn, height: turn, block, just: [4; 32], signers };
    SafetyRecord::Confirmed { certificate, late: None }
}

#[test]
fn the_epoch_ends_at_the_last_final_block_once() {
    let (directory, store) = store();
    grow(&store, 3);
    let base = store.header(3).expect("read").expect("a header");
    let manifest = recovered(base, "flood");
    assert_eq!(store.check_recovery(&manifest), Ok(()));
    store.open_recovered(&manifest).expect("opens");
    opens_at(&store, &base);
    store.open_recovered(&manifest).expect("twice is once");
    let other = store.open_recovered(&recovered(base, "another reason"));
    assert_eq!(other, Err(StoreFault::OtherEpoch { manifest: 1, store: 1 }));
    drop(store);
    let store = open(directory.path());
    opens_at(&store, &base);
    assert_eq!(store.recovery_of(1).expect("read").as_deref(), Some(manifest.bytes()));
}

#[test]
fn blocks_that_no_certificate_makes_final_stand_by_the_manifest() {
    let (directory, store) = store();
    grow(&store, 2);
    let (below, log) = (executed(&store, 3), store.tip());
    let by_another = recovered(store.header(2).expect("read").expect("a header"), "x");
    let base = {
        // The base is made on the block below it, which is committed by the same manifest.
        let (_scratch, other) = super::store();
        grow(&other, 2);
        other.commit(&finalised(below.clone())).expect("commits");
        executed(&other, 4)
    };
    let manifest = Arc::new(recovered(base.header, "flood"));
    let by = Finality::Recovery(Arc::clone(&manifest));
    assert_eq!(store.open_recovered(&manifest), Err(StoreFault::BelowBase { base: 4, tip: 2 }));
    let commit =
        |block: &ExecutedBlock| store.commit(&FinalBlock { executed: Arc::new(block.clone()), by: by.clone() });
    assert!(matches!(commit(&below), Ok(Committed::Now(_))));
    assert_eq!((store.tip().epoch, log.epoch, store.certificate(3)), (0, 0, Ok(None)));
    assert!(matches!(store.check_recovery(&by_another), Err(StoreFault::AboveBase { base: 2, height: 3, .. })));
    assert!(matches!(commit(&base), Ok(Committed::Now(_))));
    opens_at(&store, &base.header);
    store.sync().expect("synced");
    drop(store);
    opens_at(&open(directory.path()), &base.header);
}

#[test]
fn nothing_final_or_confirmed_is_given_up() {
    let (_directory, store) = store();
    grow(&store, 3);
    let header = |height| store.header(height).expect("read").expect("a header");
    let refused = store.check_recovery(&recovered(header(2), "flood"));
    assert_eq!(refused, Err(StoreFault::AboveBase { base: 2, turn: 3, height: 3 }));
    let mut fork = header(3);
    fork.time_ms += 1;
    assert!(matches!(store.open_recovered(&recovered(fork, "flood")), Err(StoreFault::AboveBase { base: 3, .. })));
    let epoch = store.epoch().expect("an epoch");
    store.persist(&epoch, vec![confirmed(5, [5; 32])]).expect("persists");
    let refused = store.open_recovered(&recovered(header(3), "flood"));
    assert_eq!(refused, Err(StoreFault::AboveBase { base: 3, turn: 5, height: 5 }));
    assert_eq!((store.tip().epoch, store.records_above(&epoch, 0).map(|records| records.len())), (0, Ok(1)));
    let above = store.above_final().expect("read");
    assert_eq!(above.certified.iter().map(|known| (known.turn, known.confirmed)).collect::<Vec<_>>(), [(5, true)]);
}
