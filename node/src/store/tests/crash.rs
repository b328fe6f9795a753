//! What a crash, a damaged page or an old copy leaves, and what the node may do with it.

use super::*;

/// The directory as a crash would leave it, with the write-ahead log cut or damaged.
fn crashed(store: &Store, damage: impl FnOnce(&mut Vec<u8>)) -> TempDir {
    let copy = tempfile::tempdir().expect("temp dir");
    let mut newest: Option<std::path::PathBuf> = None;
    store.db.disable_file_deletions().expect("files stay");
    for file in std::fs::read_dir(store.path()).expect("directory") {
        let file = file.expect("entry");
        let target = copy.path().join(file.file_name());
        match std::fs::copy(file.path(), &target) {
            // What was being deleted is not part of the database any more.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            copied => copied.map(drop).expect("copy"),
        }
        if target.extension().is_some_and(|extension| extension == "log") {
            newest = newest.max(Some(target));
        }
    }
    store.db.enable_file_deletions().expect("files may go");
    let log = newest.expect("a write-ahead log");
    let mut bytes = std::fs::read(&log).expect("read");
    damage(&mut bytes);
    std::fs::write(&log, bytes).expect("write");
    copy
}

fn log_length(store: &Store) -> usize {
    let copy = crashed(store, |_| {});
    let files = std::fs::read_dir(copy.path()).expect("directory").map(|file| file.expect("entry"));
    let logs = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "log"));
    let length = logs.max_by_key(|file| file.path()).expect("a log").metadata().expect("metadata").len();
    usize::try_from(length).expect("small")
}

#[test]
fn a_lost_unsynced_tail_is_committed_again() {
    let (_directory, store) = store();
    let epoch = store.epoch().expect("epoch");
    grow(&store, 3);
    store.put_batches(&[(reference(4), batch(4))]).expect("stored");
    store.persist(&epoch, vec![confirmed(4, [5; 32])]).expect("persists");
    let synced = log_length(&store);
    let block = finalised(executed(&store, 4));
    store.commit(&block).expect("commits");
    assert_eq!(store.batch(0, &reference(4)), Ok(None), "a final block's batches are dropped");
    let copy = crashed(&store, |log| log.truncate(synced + 10));
    let again = open(copy.path());
    assert_eq!((again.tip().height, again.recovery()), (3, &Recovery::Unclean));
    assert_eq!(again.batch(0, &reference(4)), Ok(Some(batch(4))));
    assert_eq!(again.restored(&epoch).expect("restores").records, [confirmed(4, [5; 32])]);
    again.commit(&block).expect("commits again");
    assert_eq!(again.tip(), store.tip());
    assert!(again.check().is_ok());
}

#[test]
fn a_zeroed_page_that_was_synced_forbids_signing_and_keeps_later_votes() {
    let (_directory, store) = store();
    let epoch = store.epoch().expect("epoch");
    store.sync().expect("syncs");
    let before = log_length(&store);
    store.put_batches(&(1..=8).map(|height| (reference(height), batch(height))).collect::<Vec<_>>()).expect("stored");
    store.persist(&epoch, vec![skipped(1)]).expect("persists");
    store.persist(&epoch, vec![skipped(2)]).expect("persists");
    let page = before.next_multiple_of(4_096);
    let copy = crashed(&store, |log| log[page..page + 4_096].fill(0));
    let damaged = open(copy.path());
    assert_eq!(damaged.recovery(), &Recovery::Doubted);
    let restored = damaged.restored(&epoch).expect("restores");
    assert!(!restored.may_sign);
    assert_eq!(restored.records, [skipped(1), skipped(2)], "votes behind the gap are written again");
    damaged.close().expect("closes");
    drop(damaged);
    let again = open(copy.path());
    assert_eq!(again.recovery(), &Recovery::Doubted, "a clean stop does not end the doubt");
    again.end_doubt().expect("the operator recovered");
    again.close().expect("closes");
    drop(again);
    assert_eq!(open(copy.path()).recovery(), &Recovery::Clean);
}

#[test]
fn a_zeroed_page_that_was_never_synced_only_puts_the_ledger_back() {
    let (_directory, store) = store();
    let epoch = store.epoch().expect("epoch");
    store.persist(&epoch, vec![skipped(1)]).expect("persists");
    let before = log_length(&store);
    store.put_batches(&(1..=8).map(|height| (reference(height), batch(height))).collect::<Vec<_>>()).expect("stored");
    grow(&store, 2);
    let page = before.next_multiple_of(4_096);
    let copy = crashed(&store, |log| log[page..page + 4_096].fill(0));
    let damaged = open(copy.path());
    assert_eq!((damaged.recovery(), damaged.tip().height), (&Recovery::LedgerBehind, 0));
    assert!(damaged.restored(&epoch).expect("restores").may_sign);
    grow(&damaged, 2);
    assert_eq!(damaged.tip(), store.tip());
    assert!(damaged.check().is_ok());
    drop(damaged);
    assert_eq!(open(copy.path()).recovery(), &Recovery::Unclean, "the gap is behind it");
}

#[test]
fn a_backup_is_whole_and_never_signs() {
    let (_directory, store) = store();
    grow(&store, 5);
    let copy = tempfile::tempdir().expect("temp dir");
    let target = copy.path().join("backup");
    store.back_up(&target).expect("copies while running");
    grow(&store, 1);
    let restored = open(&target);
    assert_eq!((restored.tip().height, restored.recovery()), (5, &Recovery::Doubted));
    assert!(restored.check().is_ok());
    assert!(store.back_up(&target).is_err(), "an existing directory is not overwritten");
}

/// Where a second process of this test fills a store until the system refuses to write on.
const REFUSED_FOLDER: &str = "MINGZHANG_TEST_REFUSED_FOLDER";
const REFUSED_TEST: &str = "store::tests::crash::a_commit_whose_write_fails_in_its_middle_leaves_the_last_whole_block";

#[test]
fn a_commit_whose_write_fails_in_its_middle_leaves_the_last_whole_block() {
    if let Some(folder) = std::env::var_os(REFUSED_FOLDER) {
        fill_until_refused(Path::new(&folder));
        return;
    }
    let folder = tempfile::tempdir().expect("temp dir");
    // No file grows beyond a limit: of the write that would pass it a part is written, and then it fails.
    let filled = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", REFUSED_TEST, "--nocapture"])
        .env(REFUSED_FOLDER, folder.path())
        .output()
        .expect("a shell");
    let told = String::from_utf8_lossy(&filled.stdout);
    assert!(filled.status.success(), "{told} {}", String::from_utf8_lossy(&filled.stderr));
    let whole = told.split_once("last whole block: ").expect("it says so").1;
    let whole: u64 = whole.split_whitespace().next().and_then(|height| height.parse().ok()).expect("a height");
    let files = std::fs::read_dir(folder.path()).expect("directory").map(|file| file.expect("entry"));
    let log = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "log"));
    let length = log.map(|file| file.metadata().expect("metadata").len()).max();
    assert_eq!(length.map(|length| length % (512 * 1024)), Some(0), "a part of block {} was written", whole + 1);

    let (_directory, spared) = store();
    grow(&spared, whole);
    let again = open(folder.path());
    assert_eq!((again.tip(), again.recovery()), (spared.tip(), &Recovery::Unclean));
    let epoch = again.epoch().expect("epoch");
    assert!(again.restored(&epoch).expect("restores").may_sign, "what failed was never promised");
    assert!(again.check().is_ok());
    for store in [&again, &spared] {
        grow(store, 3);
    }
    assert_eq!(again.tip(), spared.tip());
    assert!(again.check().is_ok());
}

fn fill_until_refused(folder: &Path) {
    // Never closed, as by a process that is killed after it: closing would cut off what the failed write left.
    let store = Box::leak(Box::new(open(folder)));
    let epoch = store.epoch().expect("epoch");
    let refused = loop {
        let height = store.tip().height + 1;
        if let Err(fault) = store.commit(&finalised(executed(store, height))) {
            break fault;
        }
    };
    assert!(matches!(refused, StoreFault::Database { .. }), "{refused}");
    let height = store.tip().height;
    println!("last whole block: {height} ");
    assert!(store.is_stopped());
    let next = finalised(executed(store, height + 1));
    assert_eq!(store.commit(&next), Err(StoreFault::Stopped), "no later block stands on half of one");
    assert_eq!(store.persist(&epoch, vec![skipped(1)]).map(drop), Err(StoreFault::Stopped), "nor does a vote leave");
}
