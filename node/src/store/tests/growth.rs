//! A state that is small, becomes large, or was it when it is opened.

use std::time::Duration;

use super::*;

/// A state that outgrows the limit of a small one, or was it when it is opened, leads to the same roots as one that
/// never was small or always is, and proves the same.
#[test]
fn a_state_that_outgrows_its_limit_is_the_same_state() {
    let of = |small_state_leaves| {
        let memory = Memory { small_state_leaves, ..Memory::default() };
        let directory = tempfile::tempdir().expect("temp dir");
        let store = Store::open(directory.path(), &foundation(), &Settings { memory }).expect("opens");
        (directory, store, Settings { memory })
    };
    let mut roots = Vec::new();
    for limit in [0, 40, 41, 1 << 20] {
        let (directory, store, settings) = of(limit);
        grow(&store, 30);
        let behind = store.view_at(20).expect("still kept");
        let size = behind.state_size().expect("known");
        let past = merkle::subtree_root(&behind, 0, size).expect("every hash is there");
        assert_eq!(Some(past), store.header(20).expect("read").map(|header| header.state_root), "limit {limit}");
        drop(behind);
        store.close().expect("closes");
        drop(store);
        let others = [0, 1 << 20].map(|small_state_leaves| Memory { small_state_leaves, ..settings.memory });
        for memory in [settings.memory, others[0], others[1], settings.memory] {
            let store = Store::open(directory.path(), &foundation(), &Settings { memory }).expect("opens again");
            grow(&store, 5);
            assert!(store.check().is_ok(), "limit {limit}, then {}", memory.small_state_leaves);
            let stored = store.get(Column::LeafHashes, &[0; 8]).expect("read").is_some();
            assert_eq!(stored, store.tip().state_size > memory.small_state_leaves, "limit {limit}");
        }
        let store = Store::open(directory.path(), &foundation(), &settings).expect("opens again");
        assert!(store.tip().state_size > 100, "the limits are passed");
        roots.push(store.tip().state_root);
    }
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]));
}

/// Merges wait for each other while the state is small, and not in a large one, whose leaves are searched in every table.
#[test]
fn flushed_leaves_gather_only_while_the_state_is_small() {
    let tables = |store: &Store| {
        let count = store.db.property_int_value_cf(store.column(Column::Leaves), "rocksdb.num-files-at-level0");
        count.expect("known").expect("known")
    };
    let merged = |store: &Store| {
        let merging = (0..600).take_while(|_| tables(store) > 4).map(|_| std::thread::sleep(Duration::from_millis(50)));
        merging.count() < 600
    };
    let gathered = |store: &Store| {
        for _ in 0..8 {
            grow(store, 1);
            store.flush().expect("flushed");
        }
        store.tip().state_size
    };
    let (directory, first) = store();
    let size = gathered(&first);
    assert!(tables(&first) >= 8, "{}", tables(&first));
    drop(first);
    let of = |directory: &TempDir, small_state_leaves| {
        let settings = Settings { memory: Memory { small_state_leaves, ..Memory::default() } };
        Store::open(directory.path(), &foundation(), &settings).expect("opens")
    };
    assert!(merged(&of(&directory, 0)), "opened as a large state");

    let directory = tempfile::tempdir().expect("temp dir");
    let growing = of(&directory, size);
    assert_eq!(gathered(&growing), size);
    assert!(tables(&growing) >= 8, "{}", tables(&growing));
    grow(&growing, 1);
    assert!(growing.tip().state_size > size);
    assert!(merged(&growing), "it has become large");
}
