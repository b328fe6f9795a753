//! The index of documents: with every block, after reopening, built for a store that has none and however often that is
//! interrupted, from the base on where a state was taken from a peer.

use super::*;
use rocksdb::WriteBatch;

use crate::store::schema::{VERSION, meta};

/// All that cite a document, as a scan of the log finds them.
fn scanned(store: &Store, digest: &Hash) -> Vec<u64> {
    let view = store.view().expect("view");
    let size = view.tip().tree_size();
    let entries = (0..size).filter_map(|index| Some((index, view.entry(index).expect("read")?)));
    let cites = |index: u64, entry: &[u8]| super::super::documents::cited_by(index, entry).expect("decodes");
    entries.filter(|(index, entry)| cites(*index, entry).contains(&(*digest, *index))).map(|(index, _)| index).collect()
}

fn indexed(store: &Store, digest: &Hash) -> Vec<u64> {
    store.view().expect("view").citing(digest, 0, usize::MAX).expect("read")
}

fn assert_indexed(store: &Store) {
    for number in 0..3 {
        let found = indexed(store, &key_of(number));
        assert!(!found.is_empty(), "document {number}");
        assert_eq!(found, scanned(store, &key_of(number)), "document {number}");
    }
    assert!(indexed(store, &key_of(3)).is_empty());
}

/// As a program of the layout before left it.
fn without_index(store: &Store) {
    let mut batch = WriteBatch::default();
    batch.put_cf(store.column(Column::Meta), meta::VERSION, 3u32.to_be_bytes());
    store.write_synced(batch).expect("written");
    store.close().expect("closes");
}

/// Drops the column from a closed store.
fn drop_column(path: &Path) {
    let options = schema::database_options(&Memory::default());
    let mut database = DB::open_cf_descriptors(&options, path, schema::columns(&Memory::default())).expect("opens");
    database.drop_cf(Column::Documents.name()).expect("dropped");
}

fn version(store: &Store) -> Option<Vec<u8>> {
    store.get(Column::Meta, meta::VERSION).expect("read")
}

#[test]
fn citations_are_there_with_their_block_and_after_reopening() {
    let (directory, store) = store();
    grow(&store, 1);
    assert_indexed(&store);
    grow(&store, 9);
    assert_indexed(&store);
    let digest = key_of(1);
    let (all, view) = (indexed(&store, &digest), store.view().expect("view"));
    assert!(all.len() > 20 && all.is_sorted_by(|one, next| one < next));
    for from in [0, all[3], all[3] + 1, all[all.len() - 1] + 1] {
        let wanted: Vec<u64> = all.iter().copied().filter(|index| *index >= from).take(4).collect();
        assert_eq!(view.citing(&digest, from, 4).expect("read"), wanted, "from {from}");
    }
    assert_eq!(view.documents_since(), Ok(0));
    drop(view);
    let checked = store.check().expect("nothing is wrong");
    assert_eq!(checked.citations, 70, "each record of the test cites one");
    drop(store);
    let store = open(directory.path());
    assert_eq!((indexed(&store, &digest), store.check()), (all, Ok(checked)));
}

#[test]
fn a_store_without_an_index_gets_one_when_it_is_opened() {
    let (directory, store) = store();
    grow(&store, 12);
    without_index(&store);
    drop(store);
    drop_column(directory.path());
    let store = open(directory.path());
    assert_indexed(&store);
    assert_eq!(version(&store).as_deref(), Some(&VERSION.to_be_bytes()[..]));
    assert_eq!(store.get(Column::Meta, meta::INDEXED), Ok(None));
    assert_eq!(store.recovery(), &Recovery::Clean);
    grow(&store, 2);
    assert_indexed(&store);
    assert_eq!(store.check().expect("whole").citations, 14 * 7);
}

#[test]
fn a_building_that_was_interrupted_goes_on_where_it_was() {
    let (directory, store) = store();
    grow(&store, 12);
    without_index(&store);
    drop(store);
    drop_column(directory.path());
    // Opened, and killed after one piece: nothing is closed, and the version is still the old one.
    for pieces in 1..=3u64 {
        let path = directory.path();
        let options = schema::database_options(&Memory::default());
        let findings = super::super::recovery::inspect(path, &Memory::default()).expect("readable");
        let lock = std::fs::File::open(path.join("PROCESS")).expect("there");
        let database = DB::open_cf_descriptors(&options, path, schema::columns(&Memory::default())).expect("opens");
        let store = Store::empty((database, lock), path, &foundation(), &findings);
        assert!(store.build_piece(10).expect("a piece"));
        let at = store.get(Column::Meta, meta::INDEXED).expect("read");
        assert_eq!(at.as_deref(), Some(&(10 * pieces).to_be_bytes()[..]), "it goes on, not again");
        assert_eq!(version(&store).as_deref(), Some(&3u32.to_be_bytes()[..]));
        store.sync().expect("synced");
    }
    let store = open(directory.path());
    assert_indexed(&store);
    assert_eq!(version(&store).as_deref(), Some(&VERSION.to_be_bytes()[..]));
    assert_eq!(store.check().expect("whole").citations, 12 * 7);
}

#[test]
fn other_layouts_are_refused() {
    for number in [2u32, 5] {
        let (directory, store) = store();
        let mut batch = WriteBatch::default();
        batch.put_cf(store.column(Column::Meta), meta::VERSION, number.to_be_bytes());
        store.write_synced(batch).expect("written");
        drop(store);
        let refused = Store::open(directory.path(), &foundation(), &Settings::default());
        let refused = refused.expect_err("another layout");
        assert_eq!(refused, StoreFault::Version { version: number, supported: VERSION });
    }
}

#[test]
fn check_names_what_the_index_lacks_and_what_no_record_cites() {
    let (_directory, store) = store();
    grow(&store, 3);
    let index = indexed(&store, &key_of(1))[0];
    let (there, other) = (schema::document(&key_of(1), index), schema::document(&key_of(1), index + 1));
    store.db.delete_cf(store.column(Column::Documents), there).expect("damage");
    let found = store.check().expect_err("one is missing").to_string();
    assert!(found.contains("the index of documents is corrupt: 20 of 21"), "{found}");
    store.db.put_cf(store.column(Column::Documents), other, []).expect("damage");
    let found = store.check().expect_err("one is too many").to_string();
    assert!(found.contains("no record cites it"), "{found}");
}
