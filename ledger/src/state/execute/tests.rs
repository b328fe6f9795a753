//! Blocks of records: order, repeats, what is left out, whole or not at all, trails and findings, and the asserts.

mod random;

use super::*;
use crate::codec::Value;
use crate::merkle::Frontier;
use crate::records::testing::{Memory, Stage, hash, person, reference, signing_key, text, to};
use crate::state::trail_entry;

fn anchor(byte: u8) -> Vec<(&'static str, Value)> {
    vec![("root", hash(byte)), ("kind", text("minutes"))]
}

fn officer_key(officer: &str) -> Key {
    key::officer_key(&signing_key(officer).public().key_id())
}

#[test]
fn a_block_runs_in_order_and_leaves_repeats_out() {
    let mut stage = Stage::found();
    let first = stage.sign("civil/1", "document_anchor", "D-1", anchor(1));
    let other = stage.sign("civil/1", "document_anchor", "D-1", anchor(2));
    let second = stage.sign("civil/1", "document_anchor", "D-2", anchor(3));
    let execution = stage.block(vec![first.clone(), other, first.clone(), second.clone()]);
    assert_eq!(
        execution.left_out.iter().map(|(at, refusal)| (*at, refusal.code.0)).collect::<Vec<_>>(),
        [(1, 1015), (2, 1015)]
    );
    assert_eq!(execution.records.iter().map(|record| record.index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(execution.entries, [record_entry(0, first.bytes()), record_entry(0, second.bytes())]);
    let same_id_elsewhere = stage.sign("finance/1", "document_anchor", "D-1", anchor(1));
    assert_eq!(stage.block(vec![same_id_elsewhere]).records.len(), 1, "no agency occupies another's ids");
}

#[test]
fn the_same_block_over_the_same_state_gives_the_same_changes() {
    let stage = Stage::found();
    let run = || {
        let mut stage = Stage::found();
        let fields = vec![
            ("officer", Value::bytes(&person("civil/plain"))),
            ("role", text("buyer")),
            ("valid_from", text("2026-06-01")),
            ("valid_until", text("2026-12-31")),
        ];
        let transactions = vec![
            stage.sign("civil/admin1", "role_grant", "G-1", fields),
            stage.sign("civil/1", "document_anchor", "D-1", anchor(1)),
        ];
        stage.block(transactions)
    };
    let (first, second) = (run(), run());
    assert_eq!((&first.changes, &first.appends), (&second.changes, &second.appends));
    assert!(first.changes.keys().all(|key| stage.state.0.get(key) != first.changes.get(key)), "no change that is none");
}

#[test]
fn the_trail_of_a_key_holds_every_act_of_its_officer_rejected_ones_too() {
    let mut stage = Stage::found();
    let applied = stage.submit("civil/1", "document_anchor", "D-1", anchor(1));
    let rejected =
        stage.submit("civil/1", "vote", "V-1", vec![("proposal", to("civil/none")), ("yes", Value::Bool(true))]);
    assert_eq!((applied.outcome, rejected.outcome), (0, 3002));
    let trail: Vec<_> = stage.appends.iter().filter(|append| append.trail == officer_key("civil/1")).collect();
    assert_eq!(trail.iter().map(|append| append.position).collect::<Vec<_>>(), [0, 1, 2], "genesis, then two acts");
    let folded = Frontier::of(trail.iter().map(|append| leaf_hash(&append.entry)));
    let stored = stage.state.0.get(&officer_key("civil/1")).and_then(|stored| stored.trail.clone());
    assert_eq!(stored.as_deref(), Some(&folded));
    let signed = stage.leaf("civil/V-1").expect("the spent id");
    assert_eq!((signed.outcome, signed.index), (3002, rejected.index));
    assert!(signed.object.is_none() && signed.waiting.is_none());
    assert_eq!(trail[2].entry[..8], trail_entry(rejected.index, &[0; 32])[..8]);
}

#[test]
fn history_lets_in_nothing_that_changes_who_may_act() {
    let mut stage = Stage::found();
    let open = vec![
        ("source", text("open data")),
        ("rows_root", hash(1)),
        ("licence", text("OGL")),
        ("format", text("permits")),
        ("strict", Value::Bool(false)),
        ("period_end", text("2025-12-31")),
    ];
    stage.apply_with(["archive/1", "super/1"], "import_open", "IN", open.clone());
    let mut second = open;
    second[1].1 = hash(2);
    stage.apply("archive/1", "import_open", "IN-2", second);
    let import = || vec![("import", to("archive/IN")), ("effective_date", text("2025-01-01"))];
    let mut approve = stage.digest_of("archive/IN-2");
    approve.extend(import());
    stage.expect(3012, "archive/1", "approve", "A-1", approve);
    let key = ("key", Value::bytes(&signing_key("finance/1").public().0));
    let mut revoke = vec![key, ("reason", text("none"))];
    revoke.extend(import());
    stage.expect(3012, "archive/1", "key_revoke", "K-1", revoke);
    let lent = |until: &str| {
        let to_officer = ("to_officer", Value::bytes(&person("archive/admin1")));
        vec![to_officer, ("role", text("importer")), ("valid_from", text("2026-06-01")), ("valid_until", text(until))]
    };
    stage.apply("archive/1", "delegation", "L-1", lent("2026-06-30"));
    let mut borrowed = anchor(2);
    borrowed.extend(import());
    borrowed.push(("on_behalf_of", to("archive/L-1")));
    stage.expect(3006, "archive/plain", "document_anchor", "D-0", borrowed);
    let mut flagged = anchor(1);
    flagged.extend(import());
    flagged.push(("defaults", Value::Array(vec![text("kind")])));
    let outcome = stage.apply("archive/1", "document_anchor", "D-1", flagged);
    assert_eq!(outcome.flags, [3707]);
    let finding: Finding = stage.get(&key::finding("archive", outcome.index, 3707)).expect("the finding");
    assert_eq!(finding.detail, "kind");
    assert_eq!(stage.trail_length(&key::findings("archive")), 1);
    assert_eq!(stage.leaf("archive/D-1").expect("leaf").flags, [3707]);
}

#[test]
fn a_subject_cannot_change_outside_its_trail() {
    let stage = Stage::found();
    let base = Overlay::new(&stage.state);
    let mut draft = Overlay::new(&base);
    let place = officer_key("civil/1");
    let mut entry: crate::records::registry::OfficerKey = draft.get(&place).expect("readable").expect("a key");
    entry.revoked_from = Some(1);
    draft.put(place, &entry).expect("encodes");
    let (joined, none) = ([place], []);
    assert!(assert_only_joined_subjects_change(&base, &draft, [&joined, &none]).is_ok());
    let broken = assert_only_joined_subjects_change(&base, &draft, [&none, &none]);
    assert!(matches!(broken, Err(StateFault::Invariant(_))));
}

#[test]
fn a_dry_run_tells_the_outcome_and_the_effects_and_keeps_nothing() {
    let mut stage = Stage::found();
    let party = |id: &str| vec![("party_id", text(id)), ("kind", text("supplier")), ("account_commitment", hash(1))];
    let transaction = stage.sign("civil/1", "party_register", "P-1", party("SUP-1"));
    let block = BlockContext { height: 1, epoch: 0, time_ms: stage.time_ms, first_index: 1 };
    let told = simulate(&stage.state, &stage.network, &block, &transaction).expect("readable");
    assert_eq!((told.record.outcome, told.effects.len()), (0, 1));
    assert_eq!(told.effects[0].reference, reference("civil/P-1"));
    assert!(told.effects[0].before.is_none());
    assert!(stage.leaf("civil/P-1").is_none());
    let rejected = stage.sign("civil/plain", "party_register", "P-2", party("SUP-1"));
    let told = simulate(&stage.state, &stage.network, &block, &rejected).expect("readable");
    assert_eq!((told.record.outcome, told.effects.len()), (3003, 0));
    // Two admins must agree to a role: the first one's record would wait.
    let granted = vec![
        ("officer", Value::bytes(&person("civil/plain"))),
        ("role", text("buyer")),
        ("valid_from", text("2026-06-01")),
        ("valid_until", text("2026-12-31")),
    ];
    let grant = stage.sign("civil/admin1", "role_grant", "G-1", granted);
    let told = simulate(&stage.state, &stage.network, &block, &grant).expect("readable");
    let leaf = told.leaf.expect("its leaf");
    let standing = crate::records::view::standing(&leaf, &crate::records::view::Lens::new(480));
    assert_eq!((told.record.outcome, standing.effect, standing.waits_for.len()), (0, Some("waiting"), 1));
    assert!(stage.leaf("civil/G-1").is_none());
    stage.apply("civil/1", "party_register", "P-1", party("SUP-1"));
}

#[test]
fn a_state_that_cannot_be_read_is_a_fault_and_no_verdict() {
    struct Broken(Memory);
    impl Snapshot for Broken {
        fn read(&self, key: &Key) -> Result<Option<Stored>, StateFault> {
            if *key == officer_key("civil/1") { Err(StateFault::Store("disk".into())) } else { self.0.read(key) }
        }
    }
    let stage = Stage::found();
    let transaction = Arc::new(stage.sign("civil/1", "document_anchor", "D-1", anchor(1)));
    let block = BlockContext { height: 1, epoch: 0, time_ms: stage.time_ms, first_index: 1 };
    let candidates = [Candidate { transaction, verified_with: None }];
    let broken = Broken(stage.state.clone());
    assert_eq!(
        execute(&broken, &stage.network, &block, &candidates).map(|execution| execution.entries.len()),
        Err(StateFault::Store("disk".into()))
    );
}
