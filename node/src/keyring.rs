//! The sealing keys of this node. Each lives one epoch, so there are several files: the one that seals, and the next one,
//! made before a boundary. They are found by their public key, and destroyed once they have sealed all they may seal.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mingzhang_ledger::crypto::{PublicKey, SigningKey};

use crate::keys::{self, KeyFault, Passphrase, Purpose};

/// Most sealing keys of a folder that are looked at.
const MAX_FILES: usize = 1_024;

/// The file of the sealing key that is made for an epoch; the founding one is `sealing.pem`.
pub fn file_of(directory: &Path, epoch: u64) -> PathBuf {
    match epoch {
        0 => Purpose::Sealing.file(directory),
        _ => directory.join(format!("sealing-{epoch}.pem")),
    }
}

/// The sealing keys in a folder, opened when they are needed.
#[derive(Debug, Default)]
pub struct Keyring {
    /// None for keys that live in memory only.
    directory: Option<PathBuf>,
    /// Opens every sealing key of the folder.
    passphrase: Option<Passphrase>,
    test_keys: bool,
    open: Mutex<Vec<SigningKey>>,
}

impl Keyring {
    pub fn new(directory: &Path, passphrase: Option<Passphrase>, test_keys: bool) -> Self {
        Self { directory: Some(directory.to_owned()), passphrase, test_keys, open: Mutex::default() }
    }

    /// A key that lies in no file.
    pub fn of(key: SigningKey) -> Self {
        Self { open: Mutex::new(vec![key]), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SigningKey>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key with this public half, if this node has it.
    pub fn find(&self, public: &PublicKey) -> Option<SigningKey> {
        let known = self.lock().iter().find(|key| key.public() == *public).cloned();
        if known.is_some() {
            return known;
        }
        let path = self.file_with(public)?;
        match keys::read_for(&path, self.passphrase.as_ref(), self.test_keys, public) {
            Ok(key) => {
                self.lock().push(key.clone());
                Some(key)
            }
            Err(fault) => {
                tracing::error!(%fault, "the sealing key of this epoch cannot be opened");
                None
            }
        }
    }

    /// Wipes a key that seals nothing any more, so that nobody can ever seal another history with it.
    pub fn destroy(&self, public: &PublicKey) -> Result<(), KeyFault> {
        self.lock().retain(|key| key.public() != *public);
        let Some(path) = self.file_with(public) else { return Ok(()) };
        let wipe = || {
            let length = std::fs::metadata(&path)?.len();
            let mut file = std::fs::OpenOptions::new().write(true).open(&path)?;
            file.write_all(&vec![0; usize::try_from(length).unwrap_or(0)])?;
            file.sync_all()?;
            std::fs::remove_file(&path)
        };
        wipe().map_err(|error| KeyFault::NotWritten { path: path.clone(), error })?;
        tracing::info!(file = %path.display(), "a sealing key of an earlier epoch was destroyed");
        Ok(())
    }

    fn file_with(&self, public: &PublicKey) -> Option<PathBuf> {
        let claims = |path: &PathBuf| keys::inspect(path).is_ok_and(|file| file.public == Some(*public));
        files(self.directory.as_deref()?).into_iter().find(claims)
    }
}

/// The files of sealing keys in a folder.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let is_sealing = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("sealing") && name.ends_with(".pem")
    };
    entries.flatten().map(|entry| entry.path()).filter(is_sealing).take(MAX_FILES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_their_public_half_and_destroyed_for_good() {
        let folder = tempfile::tempdir().expect("a folder");
        let ring = Keyring::new(folder.path(), None, true);
        let (first, second) = (keys::generate().expect("a key"), keys::generate().expect("a key"));
        keys::write_test(&file_of(folder.path(), 0), &first).expect("written");
        assert!(ring.find(&second.public()).is_none());
        keys::write_test(&file_of(folder.path(), 1), &second).expect("written while the node runs");
        assert_eq!(ring.find(&second.public()).map(|key| key.public()), Some(second.public()));
        assert_eq!(ring.find(&first.public()).map(|key| key.public()), Some(first.public()));
        ring.destroy(&first.public()).expect("destroyed");
        assert!(ring.find(&first.public()).is_none());
        assert_eq!(files(folder.path()), [file_of(folder.path(), 1)]);
        ring.destroy(&first.public()).expect("twice is once");
    }

    #[test]
    fn a_key_in_memory_needs_no_file() {
        let key = keys::generate().expect("a key");
        let ring = Keyring::of(key.clone());
        assert!(ring.find(&key.public()).is_some());
        ring.destroy(&key.public()).expect("forgotten");
        assert!(ring.find(&key.public()).is_none());
    }
}
