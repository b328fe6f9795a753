//! Key files of a node, encrypted and readable by their owner only; their form is the ledger's `crypto::key_file`. A file in clear is accepted
//! only for a network whose genesis says `test_keys`. What the keys may sign is the signer's matter.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mingzhang_ledger::crypto::key_file::{self, KeyFileFault, Salt};
use mingzhang_ledger::crypto::{PublicKey, SigningKey};
use mingzhang_ledger::outcome::Code;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::keyring::Keyring;

/// Largest key file that is read.
const MAX_KEY_FILE_BYTES: u64 = 8 * 1024;
/// First line of a key file in clear.
const TEST_MARK: &str = "Mingzhang TEST KEY, not encrypted: only for networks whose genesis says test_keys";
/// First line of an encrypted key file.
const ENCRYPTED_MARK: &str = "Mingzhang key, encrypted";
/// Begins the second line, which names the public key, so that it can be shown without the passphrase.
const PUBLIC_MARK: &str = "public key ";

/// A passphrase; wiped when dropped.
pub type Passphrase = Zeroizing<String>;

/// What a node's key is for. Each has its own file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Consensus,
    Sealing,
    Peer,
}

impl Purpose {
    pub const ALL: [Purpose; 3] = [Self::Consensus, Self::Sealing, Self::Peer];

    pub fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Sealing => "sealing",
            Self::Peer => "peer",
        }
    }

    pub fn file(self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.pem", self.name()))
    }
}

/// The keys that a running node holds. An observer has only its peer key.
#[derive(Debug)]
pub struct NodeKeys {
    pub consensus: Option<SigningKey>,
    pub sealing: Keyring,
    pub peer: SigningKey,
}

/// Why a key cannot be used.
#[derive(Debug, Error)]
pub enum KeyFault {
    #[error("{path}: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path}: {error}")]
    NotWritten { path: PathBuf, error: std::io::Error },
    #[error("{path} can be read by others (mode {mode:04o}); it must be 0600")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{path} is not a PKCS#8 file in PEM with an Ed25519 key")]
    Form { path: PathBuf },
    #[error("{path} names another public key in its head than it holds")]
    Claim { path: PathBuf },
    #[error("{path} is encrypted and no passphrase was given; give one with --passphrase-fd, or start from a terminal")]
    PassphraseMissing { path: PathBuf },
    #[error("{path} does not open with this passphrase")]
    PassphraseWrong { path: PathBuf },
    #[error("{path} is a test key in clear, and the genesis of this network does not say test_keys")]
    Clear { path: PathBuf },
    #[error("{path} holds {found:?}, registered for this agency is {wanted:?}")]
    Other { path: PathBuf, found: PublicKey, wanted: PublicKey },
    #[error("the operating system gives no randomness: {0}")]
    Randomness(getrandom::Error),
}

impl KeyFault {
    /// The catalogue's code of this fault.
    pub fn code(&self) -> Code {
        match self {
            Self::Exposed { .. } => Code(5019),
            Self::PassphraseMissing { .. } => Code(5036),
            Self::PassphraseWrong { .. } => Code(5006),
            Self::Unreadable { .. } => Code(2011),
            Self::NotWritten { .. } => Code(5025),
            Self::Form { .. } | Self::Claim { .. } | Self::Clear { .. } | Self::Other { .. } => Code(5005),
            Self::Randomness(_) => Code(5024),
        }
    }
}

/// A new key from the operating system's randomness.
pub fn generate() -> Result<SigningKey, KeyFault> {
    Ok(SigningKey::from_seed(&*random::<32>()?))
}

/// Random bytes of the operating system, wiped when dropped.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyFault> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(KeyFault::Randomness)?;
    Ok(bytes)
}

/// Writes a new file, encrypted; refuses to overwrite.
pub fn write(path: &Path, key: &SigningKey, passphrase: &Passphrase) -> Result<(), KeyFault> {
    let salt = Salt { salt: *random::<16>()?, vector: *random::<16>()? };
    let pem = key_file::encrypted(key, passphrase.as_bytes(), &salt).map_err(form(path))?;
    create(path, &with_head(ENCRYPTED_MARK, key, &pem))
}

/// Writes a new file in clear, marked as a test key; refuses to overwrite.
pub fn write_test(path: &Path, key: &SigningKey) -> Result<(), KeyFault> {
    let pem = Zeroizing::new(key_file::plain(key).map_err(form(path))?);
    create(path, &with_head(TEST_MARK, key, &pem))
}

fn with_head(mark: &str, key: &SigningKey, pem: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(format!("{mark}\n{PUBLIC_MARK}{}\n{pem}", hex::encode(key.public().0)).into_bytes())
}

/// What a key file says without being opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFile {
    pub encrypted: bool,
    /// As the file claims; opening it checks the claim. Files made elsewhere may claim nothing.
    pub public: Option<PublicKey>,
}

/// Looks at a file without opening it, so that a passphrase is asked for only where one is needed.
pub fn inspect(path: &Path) -> Result<KeyFile, KeyFault> {
    let text = read_text(path)?;
    let claimed = text.lines().take(2).find_map(|line| line.strip_prefix(PUBLIC_MARK));
    let public = claimed.and_then(|digits| hex::decode(digits).ok()?.try_into().ok()).map(PublicKey);
    Ok(KeyFile { encrypted: key_file::is_encrypted(&text), public })
}

/// Reads a key. `test_keys` says whether a file in clear is tolerated.
pub fn read(path: &Path, passphrase: Option<&Passphrase>, test_keys: bool) -> Result<SigningKey, KeyFault> {
    let text = read_text(path)?;
    let key = key_file::read(&text, passphrase.map(|passphrase| passphrase.as_bytes())).map_err(form(path))?;
    if !key_file::is_encrypted(&text) && !test_keys {
        return Err(KeyFault::Clear { path: path.to_owned() });
    }
    if inspect(path)?.public.is_some_and(|claimed| claimed != key.public()) {
        return Err(KeyFault::Claim { path: path.to_owned() });
    }
    Ok(key)
}

/// The keys of an agency's node, checked against what is registered for it.
pub fn read_for(
    path: &Path,
    passphrase: Option<&Passphrase>,
    test_keys: bool,
    wanted: &PublicKey,
) -> Result<SigningKey, KeyFault> {
    let key = read(path, passphrase, test_keys)?;
    if key.public() == *wanted {
        Ok(key)
    } else {
        Err(KeyFault::Other { path: path.to_owned(), found: key.public(), wanted: *wanted })
    }
}

fn form(path: &Path) -> impl FnOnce(KeyFileFault) -> KeyFault {
    let path = path.to_owned();
    move |fault| match fault {
        KeyFileFault::PassphraseMissing => KeyFault::PassphraseMissing { path },
        KeyFileFault::WrongPassphrase => KeyFault::PassphraseWrong { path },
        KeyFileFault::Malformed => KeyFault::Form { path },
    }
}

fn create(path: &Path, bytes: &[u8]) -> Result<(), KeyFault> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| KeyFault::NotWritten { path: path.to_owned(), error })
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, KeyFault> {
    let io = |error| KeyFault::Unreadable { path: path.to_owned(), error };
    let metadata = std::fs::metadata(path).map_err(io)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFault::Exposed { path: path.to_owned(), mode });
    }
    if metadata.len() > MAX_KEY_FILE_BYTES {
        return Err(KeyFault::Form { path: path.to_owned() });
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Zeroizing::new(text.to_owned())
    }

    #[test]
    fn encrypted_key_opens_with_its_passphrase_only() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("consensus.pem");
        let key = generate().expect("randomness");
        write(&path, &key, &passphrase("correct horse")).expect("written");
        let text = std::fs::read_to_string(&path).expect("readable");
        assert!(!text.contains(&hex::encode(key.seed())));
        assert_eq!(inspect(&path).expect("readable"), KeyFile { encrypted: true, public: Some(key.public()) });
        let opened = read(&path, Some(&passphrase("correct horse")), false).expect("opens");
        assert_eq!(opened.public(), key.public());
        let wrong = read(&path, Some(&passphrase("wrong horse")), false).expect_err("refused");
        assert_eq!(wrong.to_string(), format!("{} does not open with this passphrase", path.display()));
        assert!(matches!(read(&path, None, false), Err(KeyFault::PassphraseMissing { .. })));
        assert!(matches!(write(&path, &key, &passphrase("x")), Err(KeyFault::NotWritten { .. })), "never overwritten");
    }

    #[test]
    fn clear_key_needs_a_test_network() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("peer.pem");
        let key = generate().expect("randomness");
        write_test(&path, &key).expect("written");
        assert_eq!(read(&path, None, true).expect("opens").public(), key.public());
        assert!(matches!(read(&path, None, false), Err(KeyFault::Clear { .. })));
        assert!(!inspect(&path).expect("readable").encrypted);
        let other = generate().expect("randomness").public();
        assert!(matches!(read_for(&path, None, true, &other), Err(KeyFault::Other { .. })));
    }

    #[test]
    fn key_files_are_private_and_well_formed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("sealing.pem");
        write_test(&path, &generate().expect("randomness")).expect("written");
        let mode = |path: &Path| std::fs::metadata(path).expect("exists").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        let other = generate().expect("randomness");
        let text = std::fs::read_to_string(&path).expect("readable");
        let (_, pem) = text.split_at(text.find("-----").expect("a PEM block"));
        let swapped = String::from_utf8(with_head(TEST_MARK, &other, pem).to_vec()).expect("text");
        let claim = folder.path().join("claim.pem");
        std::fs::write(&claim, swapped).expect("written");
        std::fs::set_permissions(&claim, std::fs::Permissions::from_mode(0o600)).expect("changed");
        assert!(matches!(read(&claim, None, true), Err(KeyFault::Claim { .. })));
        for text in ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            let broken = folder.path().join("broken.pem");
            std::fs::write(&broken, text).expect("written");
            std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o600)).expect("changed");
            assert!(matches!(read(&broken, None, true), Err(KeyFault::Form { .. })), "{text}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("changed");
        assert!(matches!(read(&path, None, true), Err(KeyFault::Exposed { mode: 0o640, .. })));
    }
}
