//! Private keys as PEM text: PKCS#8, encrypted with scrypt and AES-256-CBC, or plain for test networks. Where the
//! text lies, and where passphrases come from, is the caller's matter.

use pkcs8::der::Decode;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{
    AlgorithmIdentifierRef, EncryptedPrivateKeyInfoRef, LineEnding, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument,
};
use thiserror::Error;

use super::SigningKey;

/// Ed25519 (RFC 8410).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const PLAIN_LABEL: &str = "PRIVATE KEY";
const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// scrypt: 2^15 blocks of 1 KiB, 32 MiB of memory.
const SCRYPT_LOG_N: u8 = 15;
/// An Ed25519 seed inside PKCS#8 is an octet string of 32 bytes.
const SEED_PREFIX: [u8; 2] = [0x04, 0x20];

/// Why a key file gives no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyFileFault {
    #[error("not a PEM file with an Ed25519 private key")]
    Malformed,
    #[error("the key file is encrypted and no passphrase was given")]
    PassphraseMissing,
    #[error("the passphrase does not open the key file")]
    WrongPassphrase,
}

/// Randomness of one encryption, drawn by the caller from the operating system.
pub struct Salt {
    pub salt: [u8; 16],
    pub vector: [u8; 16],
}

/// Without protection: test networks only.
pub fn plain(key: &SigningKey) -> Result<String, KeyFileFault> {
    with_info(key, |info| {
        let document = SecretDocument::encode_msg(info).map_err(|_| KeyFileFault::Malformed)?;
        pem(&document, PLAIN_LABEL)
    })
}

/// Encrypted with a passphrase.
pub fn encrypted(key: &SigningKey, passphrase: &[u8], salt: &Salt) -> Result<String, KeyFileFault> {
    let malformed = |_| KeyFileFault::Malformed;
    with_info(key, |info| {
        let cost = scrypt::Params::new(SCRYPT_LOG_N, 8, 1).map_err(|_| KeyFileFault::Malformed)?;
        let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt.salt, salt.vector)
            .map_err(|_| KeyFileFault::Malformed)?;
        let document = info.encrypt_with_params(parameters, passphrase).map_err(malformed)?;
        pem(&document, ENCRYPTED_LABEL)
    })
}

/// Whether reading the text needs a passphrase.
pub fn is_encrypted(text: &str) -> bool {
    text.contains(ENCRYPTED_LABEL)
}

/// Reads either form.
pub fn read(text: &str, passphrase: Option<&[u8]>) -> Result<SigningKey, KeyFileFault> {
    // Lines before the block, such as the mark of a test key, are for people.
    let start = text.find("-----BEGIN").ok_or(KeyFileFault::Malformed)?;
    let (_, block) = text.split_at(start);
    let (label, document) = SecretDocument::from_pem(block.trim()).map_err(|_| KeyFileFault::Malformed)?;
    match label {
        PLAIN_LABEL => seed_of(document.as_bytes()),
        ENCRYPTED_LABEL => {
            let passphrase = passphrase.ok_or(KeyFileFault::PassphraseMissing)?;
            let sealed =
                EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|_| KeyFileFault::Malformed)?;
            let opened = sealed.decrypt(passphrase).map_err(|_| KeyFileFault::WrongPassphrase)?;
            seed_of(opened.as_bytes()).map_err(|_| KeyFileFault::WrongPassphrase)
        }
        _ => Err(KeyFileFault::Malformed),
    }
}

fn with_info<T>(
    key: &SigningKey,
    then: impl FnOnce(&PrivateKeyInfoRef<'_>) -> Result<T, KeyFileFault>,
) -> Result<T, KeyFileFault> {
    let mut content = SEED_PREFIX.to_vec();
    content.extend_from_slice(&key.seed());
    let algorithm = AlgorithmIdentifierRef { oid: ED25519, parameters: None };
    let private_key = OctetStringRef::new(&content).map_err(|_| KeyFileFault::Malformed)?;
    let result = then(&PrivateKeyInfoRef::new(algorithm, private_key));
    content.fill(0);
    result
}

fn pem(document: &SecretDocument, label: &'static str) -> Result<String, KeyFileFault> {
    document.to_pem(label, LineEnding::LF).map(|text| text.to_string()).map_err(|_| KeyFileFault::Malformed)
}

fn seed_of(der: &[u8]) -> Result<SigningKey, KeyFileFault> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| KeyFileFault::Malformed)?;
    if info.algorithm.oid != ED25519 {
        return Err(KeyFileFault::Malformed);
    }
    match info.private_key.as_bytes().strip_prefix(SEED_PREFIX.as_slice()) {
        Some(seed) => seed.try_into().map(|seed| SigningKey::from_seed(&seed)).map_err(|_| KeyFileFault::Malformed),
        None => Err(KeyFileFault::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_encrypted_files_give_the_key_back() {
        let key = SigningKey::from_seed(&[5; 32]);
        let text = plain(&key).expect("plain");
        assert_eq!(read(&text, None).expect("reads").public(), key.public());
        let text = encrypted(&key, b"correct horse", &Salt { salt: [1; 16], vector: [2; 16] }).expect("encrypts");
        assert!(is_encrypted(&text));
        assert_eq!(read(&text, Some(b"correct horse")).expect("reads").public(), key.public());
        assert_eq!(read(&text, Some(b"wrong")).map(|_| ()), Err(KeyFileFault::WrongPassphrase));
        assert_eq!(read(&text, None).map(|_| ()), Err(KeyFileFault::PassphraseMissing));
        assert_eq!(read("nonsense", None).map(|_| ()), Err(KeyFileFault::Malformed));
    }
}
