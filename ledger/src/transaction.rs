//! The COSE_Sign1 envelope of a record: build, sign, strict decode, id. Whether the signer may act is decided by
//! `records`; whether the bytes are in time is decided by `door`.

use std::sync::{LazyLock, OnceLock};

use minicbor::data::Tag;
use minicbor::{Decoder, Encoder};
use smol_str::SmolStr;
use thiserror::Error;

use crate::codec::{CodecFault, Value, head_length};
use crate::crypto::{Hash, KeyId, PublicKey, Signature, SigningKey, sha256};
use crate::outcome::Refusal;

/// Largest transaction in bytes that any rule set may allow.
pub const MAX_TRANSACTION_BYTES: usize = 16 * 1024;
/// COSE content type of a record.
pub const CONTENT_TYPE: &str = "application/vnd.mingzhang.record+cbor";
const COSE_SIGN1_TAG: u64 = 18;
const ALGORITHM_EDDSA: i64 = -8;
const MAX_NAME_BYTES: usize = 128;

/// 16 bytes chosen by the submitter, unique within its agency for ever.
pub type RecordId = [u8; 16];

/// What an officer signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Name of the network and the first 16 hex digits of its genesis hash.
    pub origin: SmolStr,
    pub record_type: SmolStr,
    pub record_id: RecordId,
    pub agency: SmolStr,
    /// Milliseconds since 1970 of block time after which the transaction can no longer be recorded.
    pub expires_at: u64,
    /// A map with text keys, described by the record schema.
    pub body: Value,
}

/// A well-formed transaction with the exact bytes that were submitted. Its signature is not yet checked.
#[derive(Debug, Clone)]
pub struct Transaction {
    bytes: Vec<u8>,
    id: Hash,
    key_id: KeyId,
    payload: Payload,
    signature: Signature,
    signed: Vec<u8>,
    /// What the door found of the content, which is the same at every place where it is asked.
    form: OnceLock<Result<(), Refusal>>,
    /// Where the record and its signer's key stand in the state, once somebody has asked.
    places: OnceLock<[Hash; 2]>,
}

impl PartialEq for Transaction {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Transaction {}

/// Why bytes are not a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransactionFault {
    #[error(transparent)]
    Codec(#[from] CodecFault),
    #[error("{size} bytes, at most {limit} are allowed")]
    TooLarge { size: usize, limit: usize },
    #[error("{0} is missing, of the wrong type or out of range")]
    Field(&'static str),
}

impl Payload {
    pub fn encode(&self) -> Vec<u8> {
        Value::map(vec![
            (Value::Uint(1), Value::text(&self.origin)),
            (Value::Uint(2), Value::text(&self.record_type)),
            (Value::Uint(3), Value::bytes(&self.record_id)),
            (Value::Uint(4), Value::text(&self.agency)),
            (Value::Uint(5), Value::Uint(self.expires_at)),
            (Value::Uint(6), self.body.clone()),
        ])
        .encode()
    }

    /// Reads exactly one canonical payload.
    pub fn decode(bytes: &[u8]) -> Result<Self, TransactionFault> {
        let Value::Map(pairs) = Value::decode(bytes)? else { return Err(TransactionFault::Field("payload")) };
        if !pairs.iter().map(|(key, _)| key.as_uint()).eq((1..=6).map(Some)) {
            return Err(TransactionFault::Field("payload keys"));
        }
        let mut values = pairs.into_iter().map(|(_, value)| value);
        let mut next = |field| values.next().ok_or(TransactionFault::Field(field));
        let name = |value: Value, field| match value {
            Value::Text(text) if !text.is_empty() && text.len() <= MAX_NAME_BYTES => Ok(text),
            _ => Err(TransactionFault::Field(field)),
        };
        let payload = Self {
            origin: name(next("origin")?, "origin")?,
            record_type: name(next("record type")?, "record type")?,
            record_id: next("record id")?
                .as_bytes()
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or(TransactionFault::Field("record id"))?,
            agency: name(next("agency")?, "agency")?,
            expires_at: next("expires_at")?.as_uint().ok_or(TransactionFault::Field("expires_at"))?,
            body: next("body")?,
        };
        if matches!(&payload.body, Value::Map(pairs) if pairs.iter().all(|(key, _)| key.as_text().is_some())) {
            Ok(payload)
        } else {
            Err(TransactionFault::Field("body"))
        }
    }
}

/// The protected header: algorithm, content type, key id.
fn protected_header(key_id: &KeyId) -> Vec<u8> {
    Value::map(vec![
        (Value::Uint(1), Value::Int(ALGORITHM_EDDSA)),
        (Value::Uint(3), Value::text(CONTENT_TYPE)),
        (Value::Uint(4), Value::bytes(key_id)),
    ])
    .encode()
}

/// RFC 9052 section 4.4: what the signature covers.
fn signature_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len().saturating_add(protected.len()).saturating_add(24));
    let written = (|| -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        Encoder::new(&mut bytes).array(4)?.str("Signature1")?.bytes(protected)?.bytes(&[])?.bytes(payload)?;
        Ok(())
    })();
    debug_assert!(written.is_ok());
    bytes
}

impl Transaction {
    /// Signs a payload.
    pub fn sign(payload: &Payload, key: &SigningKey) -> Result<Self, TransactionFault> {
        let key_id = key.public().key_id();
        let protected = protected_header(&key_id);
        let content = payload.encode();
        let signature = key.sign(&signature_structure(&protected, &content));
        let mut bytes = Vec::with_capacity(content.len().saturating_add(160));
        let written = (|| -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
            Encoder::new(&mut bytes)
                .tag(Tag::new(COSE_SIGN1_TAG))?
                .array(4)?
                .bytes(&protected)?
                .map(0)?
                .bytes(&content)?
                .bytes(&signature.0)?;
            Ok(())
        })();
        debug_assert!(written.is_ok());
        Self::decode(&bytes)
    }

    /// Reads exactly one canonical transaction of at most [`MAX_TRANSACTION_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, TransactionFault> {
        if bytes.len() > MAX_TRANSACTION_BYTES {
            return Err(TransactionFault::TooLarge { size: bytes.len(), limit: MAX_TRANSACTION_BYTES });
        }
        let mut decoder = Decoder::new(bytes);
        let malformed = |_| TransactionFault::Field("COSE_Sign1 envelope");
        let tag = decoder.tag().map_err(malformed)?;
        let count = decoder.array().map_err(malformed)?;
        if tag.as_u64() != COSE_SIGN1_TAG || count != Some(4) {
            return Err(TransactionFault::Field("COSE_Sign1 envelope"));
        }
        let protected = decoder.bytes().map_err(malformed)?;
        if decoder.map().map_err(malformed)? != Some(0) {
            return Err(TransactionFault::Field("unprotected header"));
        }
        let content = decoder.bytes().map_err(malformed)?;
        let signature = decoder.bytes().map_err(malformed)?;
        let signature = Signature(signature.try_into().map_err(|_| TransactionFault::Field("signature"))?);
        let used = decoder.position();
        if used != bytes.len() {
            return Err(CodecFault::Trailing(bytes.len().saturating_sub(used)).into());
        }
        let key_id = key_id_of(protected)?;
        let payload = Payload::decode(content)?;
        if envelope_length(protected.len(), content.len()) != bytes.len() {
            return Err(CodecFault::NotCanonical.into());
        }
        Ok(Self {
            id: sha256(&[bytes]),
            signed: signature_structure(protected, content),
            bytes: bytes.to_vec(),
            key_id,
            payload,
            signature,
            form: OnceLock::new(),
            places: OnceLock::new(),
        })
    }

    /// The exact bytes that were submitted.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the exact bytes.
    pub fn id(&self) -> Hash {
        self.id
    }

    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    pub fn signature(&self) -> Signature {
        self.signature
    }

    /// Remembers what `judge` says of the content alone: it is asked at submission, on arrival and in blocks.
    pub(crate) fn form(&self, judge: impl FnOnce(&Payload) -> Result<(), Refusal>) -> Result<(), Refusal> {
        self.form.get_or_init(|| judge(&self.payload)).clone()
    }

    /// Remembers the keys of the state that `find` gives for the record and its signer's key.
    pub(crate) fn places(&self, find: impl FnOnce(&Self) -> [Hash; 2]) -> &[Hash; 2] {
        self.places.get_or_init(|| find(self))
    }

    /// What the signature covers, for batch verification.
    pub fn signed_bytes(&self) -> &[u8] {
        &self.signed
    }

    /// What the door asks of a signature beside the equation (ZIP-215): `key` is the named key, and R is canonical.
    pub fn names_as_signer(&self, key: &PublicKey) -> bool {
        key.key_id() == self.key_id && self.signature.has_canonical_r()
    }

    /// Whether `key` is the named key, R is canonical and the signature holds (ZIP-215).
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.names_as_signer(key) && key.verify(&self.signed, &self.signature)
    }
}

/// The only protected header there is, up to the key id that ends it.
static PROTECTED_START: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let none = KeyId::default();
    let mut header = protected_header(&none);
    header.truncate(header.len().saturating_sub(none.len()));
    header
});

fn key_id_of(protected: &[u8]) -> Result<KeyId, TransactionFault> {
    let key_id = protected.strip_prefix(PROTECTED_START.as_slice()).and_then(|rest| rest.try_into().ok());
    key_id.ok_or(TransactionFault::Field("protected header"))
}

/// Length of the only canonical envelope around these parts: shortest lengths everywhere.
fn envelope_length(protected: usize, content: usize) -> usize {
    let head = |length: usize| head_length(u64::try_from(length).unwrap_or(u64::MAX));
    [2, head(protected), protected, 1, head(content), content, head(64), 64]
        .iter()
        .fold(0, |sum: usize, part| sum.saturating_add(*part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (SigningKey, Transaction) {
        let key = SigningKey::from_seed(&[3; 32]);
        let payload = Payload {
            origin: "demo-0011223344556677".into(),
            record_type: "document_anchor".into(),
            record_id: *b"DOC-1\0\0\0\0\0\0\0\0\0\0\0",
            agency: "civil".into(),
            expires_at: 1_700_000_000_000,
            body: Value::text_map([("kind", Value::text("minutes")), ("root", Value::bytes(&[1; 32]))]),
        };
        let transaction = Transaction::sign(&payload, &key).expect("sample signs");
        (key, transaction)
    }

    #[test]
    fn starts_as_documented_and_verifies() {
        let (key, transaction) = sample();
        assert_eq!(transaction.bytes()[..2], [0xd2, 0x84]);
        assert!(transaction.is_signed_by(&key.public()));
        assert!(!transaction.is_signed_by(&SigningKey::from_seed(&[4; 32]).public()));
    }

    #[test]
    fn no_single_byte_change_passes_both_decoder_and_signature() {
        let (key, transaction) = sample();
        for at in 0..transaction.bytes().len() {
            for bit in 0..8 {
                let mut bytes = transaction.bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let accepted = Transaction::decode(&bytes).is_ok_and(|changed| changed.is_signed_by(&key.public()));
                assert!(!accepted, "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn truncation_and_trailing_bytes_are_refused() {
        let (_, transaction) = sample();
        for end in 0..transaction.bytes().len() {
            assert!(Transaction::decode(&transaction.bytes()[..end]).is_err());
        }
        let mut longer = transaction.bytes().to_vec();
        longer.push(0);
        assert!(Transaction::decode(&longer).is_err());
        assert!(matches!(
            Transaction::decode(&vec![0; MAX_TRANSACTION_BYTES + 1]),
            Err(TransactionFault::TooLarge { .. })
        ));
    }
}
