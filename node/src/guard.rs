//! Whether the data of this node is what its consensus key last signed with. A note beside the key names the store and
//! how often it was opened: an empty or restored data folder beside a used key is found out before anything is signed.
//! What is done then is decided by whoever starts the node. A key that was copied without its note is found out later, by
//! the first own vote that the store lacks.

use std::io::Write;
use std::path::Path;

use mingzhang_ledger::crypto::PublicKey;
use thiserror::Error;

use crate::keys::{self, KeyFault};
use crate::store::{Store, StoreFault};

/// Largest note that is read.
const MAX_NOTE_BYTES: u64 = 256;

/// The note could not be read or written.
#[derive(Debug, Error)]
pub enum GuardFault {
    #[error(transparent)]
    Store(#[from] StoreFault),
    #[error(transparent)]
    Key(#[from] KeyFault),
}

/// What the note beside the key says about the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The data that the key signed with last, or a key that never signed.
    Same,
    /// The key signed with another data folder: this one is new, or another's.
    OtherStore,
    /// The data folder is older than what the key signed with last: a restored image.
    RolledBack,
}

/// Compares note and data, and writes both anew for this start. Where keys lie in no folder there is no note.
pub fn check(store: &Store, directory: &Path, key: &PublicKey) -> Result<Finding, GuardFault> {
    if !directory.is_dir() {
        return Ok(Finding::Same);
    }
    let path = directory.join("consensus.used");
    let identity = match store.identity()? {
        Some(identity) => identity,
        None => *keys::random::<16>()?,
    };
    let starts = store.starts()?;
    let key = hex::encode(key.0);
    let finding = match read(&path) {
        Some((noted_key, ..)) if noted_key != key => Finding::Same,
        Some((_, noted, _)) if noted != hex::encode(identity) => Finding::OtherStore,
        Some((.., noted)) if noted > starts => Finding::RolledBack,
        Some(_) | None => Finding::Same,
    };
    let starts = starts.saturating_add(1);
    // The store first: a note that is ahead would accuse the store after a crash in between.
    store.note_start(&identity, starts)?;
    write(&path, &format!("{key} {} {starts}\n", hex::encode(identity)))
        .map_err(|error| KeyFault::NotWritten { path: path.clone(), error })?;
    Ok(finding)
}

/// Key, store and number of starts.
fn read(path: &Path) -> Option<(String, String, u64)> {
    if std::fs::metadata(path).ok()?.len() > MAX_NOTE_BYTES {
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    let mut words = text.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.to_owned(), words.next()?.parse().ok()?))
}

/// Replaced as a whole, and on disk before anything is signed.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file = std::fs::File::create(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{KeyOf, genesis, key};

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).expect("made");
        for entry in std::fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }

    #[test]
    fn new_and_restored_data_beside_a_used_key_are_found_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, keys) = (folder.path().join("data"), folder.path().join("keys"));
        std::fs::create_dir(&keys).expect("made");
        let public = key(0, KeyOf::Consensus).public();
        let open = |path: &Path| crate::node::open_store(path, &genesis()).expect("opens");
        let start = |path: &Path, key: &PublicKey| {
            let store = open(path);
            let finding = check(&store, &keys, key).expect("readable");
            store.close().expect("closed in good order");
            finding
        };
        assert_eq!(start(&data, &public), Finding::Same, "a key that never signed");
        let image = folder.path().join("image");
        copy(&data, &image);
        assert_eq!(start(&data, &public), Finding::Same);
        assert_eq!(start(&image, &public), Finding::RolledBack);
        assert_eq!(start(&folder.path().join("empty"), &public), Finding::OtherStore);
        let other = key(1, KeyOf::Consensus).public();
        assert_eq!(start(&folder.path().join("empty"), &other), Finding::Same, "a new key signs with any data");
    }
}
