//! Key files of a node: PKCS#8 in PEM, encrypted with scrypt, readable by their owner only. A file in clear is accepted
//! only for a network whose genesis says `test_keys`. What the keys may sign is the signer's matter.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mingzhang_ledger::crypto::{PublicKey, SigningKey};
use mingzhang_ledger::outcome::Code;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::pem::LineEnding;
use pkcs8::der::{Decode, Encode, SecretDocument};
use pkcs8::pkcs5::pbes2;
use pkcs8::pkcs5::scrypt;
use pkcs8::{AlgorithmIdentifierRef, EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef};
use thiserror::Error;
use zeroize::Zeroizing;

/// Ed25519 (RFC 8410).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// DER header of the 32-byte octet string inside the private key field.
const SEED_HEADER: [u8; 2] = [0x04, 0x20];
/// scrypt with N = 2^15, r = 8, p = 1: 32 MiB, about a tenth of a second.
const SCRYPT_LOG_N: u8 = 15;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 1;
/// Largest key file that is read.
const MAX_KEY_FILE_BYTES: u64 = 8 * 1024;
/// First line of a key file in clear.
const TEST_MARK: &str = "Mingzhang TEST KEY, not encrypted: only for networks whose genesis says test_keys";
const CLEAR_LABEL: &str = "PRIVATE KEY";
const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";

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
    pub sealing: Option<SigningKey>,
    pub peer: SigningKey,
}

/// Why a key cannot be used.
#[derive(Debug, Error)]
pub enum KeyFault {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{path} can be read by others (mode {mode:04o}); it must be 0600")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{path} is not a PKCS#8 file with an Ed25519 key: {reason}")]
    Form { path: PathBuf, reason: String },
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
            Self::PassphraseMissing { .. } | Self::PassphraseWrong { .. } => Code(5006),
            Self::Io { .. } | Self::Form { .. } | Self::Clear { .. } | Self::Other { .. } => Code(5005),
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
    let form = |error: String| KeyFault::Form { path: path.to_owned(), reason: error };
    let parameters = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).map_err(|error| form(error.to_string()))?;
    let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(parameters, &*random::<16>()?, *random::<16>()?)
        .map_err(|error| form(error.to_string()))?;
    let clear = encode(key).map_err(|error| form(error.to_string()))?;
    let info = PrivateKeyInfoRef::from_der(clear.as_bytes()).map_err(|error| form(error.to_string()))?;
    let document =
        info.encrypt_with_params(parameters, passphrase.as_bytes()).map_err(|error| form(error.to_string()))?;
    let pem = document.to_pem(ENCRYPTED_LABEL, LineEnding::LF).map_err(|error| form(error.to_string()))?;
    create(path, pem.as_bytes())
}

/// Writes a new file in clear, marked as a test key; refuses to overwrite.
pub fn write_test(path: &Path, key: &SigningKey) -> Result<(), KeyFault> {
    let form = |error: String| KeyFault::Form { path: path.to_owned(), reason: error };
    let document = encode(key).map_err(|error| form(error.to_string()))?;
    let pem = document.to_pem(CLEAR_LABEL, LineEnding::LF).map_err(|error| form(error.to_string()))?;
    let text = Zeroizing::new(format!("{TEST_MARK}\n{}", *pem));
    create(path, text.as_bytes())
}

/// Whether a file is encrypted, so that a passphrase is asked for only where one is needed.
pub fn is_encrypted(path: &Path) -> Result<bool, KeyFault> {
    Ok(read_text(path)?.contains(ENCRYPTED_LABEL))
}

/// Reads a key. `test_keys` says whether a file in clear is tolerated.
pub fn read(path: &Path, passphrase: Option<&Passphrase>, test_keys: bool) -> Result<SigningKey, KeyFault> {
    let text = read_text(path)?;
    let form = |reason: String| KeyFault::Form { path: path.to_owned(), reason };
    let start = text.find("-----BEGIN").ok_or_else(|| form("there is no PEM block".to_owned()))?;
    let (_, block) = text.split_at(start);
    let (label, document) = SecretDocument::from_pem(block).map_err(|error| form(error.to_string()))?;
    let clear = match label {
        CLEAR_LABEL if test_keys => document,
        CLEAR_LABEL => return Err(KeyFault::Clear { path: path.to_owned() }),
        ENCRYPTED_LABEL => {
            let passphrase = passphrase.ok_or_else(|| KeyFault::PassphraseMissing { path: path.to_owned() })?;
            let info =
                EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|error| form(error.to_string()))?;
            info.decrypt(passphrase.as_bytes()).map_err(|_| KeyFault::PassphraseWrong { path: path.to_owned() })?
        }
        other => return Err(form(format!("the PEM block is \"{other}\""))),
    };
    decode(&clear).map_err(form)
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

fn encode(key: &SigningKey) -> pkcs8::der::Result<SecretDocument> {
    let seed = Zeroizing::new(key.seed());
    let mut wrapped = Zeroizing::new([0u8; 34]);
    wrapped[..2].copy_from_slice(&SEED_HEADER);
    wrapped[2..].copy_from_slice(&*seed);
    let algorithm = AlgorithmIdentifierRef { oid: ED25519, parameters: None };
    let info = PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(&*wrapped)?);
    SecretDocument::try_from(Zeroizing::new(info.to_der()?).to_vec())
}

fn decode(document: &SecretDocument) -> Result<SigningKey, String> {
    let info = PrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|error| error.to_string())?;
    if info.algorithm.oid != ED25519 {
        return Err(format!("the algorithm is {}", info.algorithm.oid));
    }
    let seed: Option<&[u8; 32]> =
        info.private_key.as_bytes().strip_prefix(&SEED_HEADER).and_then(|seed| seed.try_into().ok());
    seed.map(SigningKey::from_seed).ok_or_else(|| "the private key has not 32 bytes".to_owned())
}

fn create(path: &Path, bytes: &[u8]) -> Result<(), KeyFault> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| KeyFault::Io { path: path.to_owned(), error })
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, KeyFault> {
    let io = |error| KeyFault::Io { path: path.to_owned(), error };
    let metadata = std::fs::metadata(path).map_err(io)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFault::Exposed { path: path.to_owned(), mode });
    }
    if metadata.len() > MAX_KEY_FILE_BYTES {
        return Err(KeyFault::Form { path: path.to_owned(), reason: format!("it has {} bytes", metadata.len()) });
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
        assert!(is_encrypted(&path).expect("readable"));
        let opened = read(&path, Some(&passphrase("correct horse")), false).expect("opens");
        assert_eq!(opened.public(), key.public());
        let wrong = read(&path, Some(&passphrase("wrong horse")), false).expect_err("refused");
        assert_eq!(wrong.to_string(), format!("{} does not open with this passphrase", path.display()));
        assert!(matches!(read(&path, None, false), Err(KeyFault::PassphraseMissing { .. })));
        assert!(matches!(write(&path, &key, &passphrase("x")), Err(KeyFault::Io { .. })), "never overwritten");
    }

    #[test]
    fn clear_key_needs_a_test_network() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("peer.pem");
        let key = generate().expect("randomness");
        write_test(&path, &key).expect("written");
        assert_eq!(read(&path, None, true).expect("opens").public(), key.public());
        assert!(matches!(read(&path, None, false), Err(KeyFault::Clear { .. })));
        assert!(!is_encrypted(&path).expect("readable"));
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
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("changed");
        assert!(matches!(read(&path, None, true), Err(KeyFault::Exposed { mode: 0o640, .. })));
        for text in ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            let broken = folder.path().join("broken.pem");
            std::fs::write(&broken, text).expect("written");
            std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o600)).expect("changed");
            assert!(matches!(read(&broken, None, true), Err(KeyFault::Form { .. })), "{text}");
        }
    }
}
