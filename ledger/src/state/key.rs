//! Key strings of the state tree and their hashes. One function per kind of key; parts hold no `/`.

use crate::crypto::{Hash, KeyId, PublicKey, sha256};
use crate::transaction::{RecordId, Transaction};

/// SHA-256 of a key string.
pub type Key = Hash;

/// Hashes keys for maps in memory: they are hashes already. Who grinds record ids for collisions slows one map of one
/// block by little.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyHashing;

impl std::hash::BuildHasher for KeyHashing {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher(0)
    }
}

/// Takes the last eight bytes of what it is given.
#[derive(Debug, Clone, Copy)]
pub struct KeyHasher(u64);

impl std::hash::Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk::<8>() {
            self.0 = u64::from_le_bytes(*last);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The first eight bytes, which order keys as the keys do wherever they differ.
pub(crate) fn head(key: &Key) -> u64 {
    key.first_chunk().map_or(0, |head| u64::from_be_bytes(*head))
}

/// SHA-256 of a key string, given in pieces: none is put together for it.
fn key(pieces: &[&[u8]]) -> Key {
    sha256(pieces)
}

/// Hex digits without an allocation.
fn hex_of<const N: usize, const DIGITS: usize>(bytes: &[u8; N]) -> [u8; DIGITS] {
    let mut digits = [0; DIGITS];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 0x0f)];
    }
    digits
}

fn digit(nibble: u8) -> u8 {
    nibble.wrapping_add(if nibble < 10 { b'0' } else { b'a'.wrapping_sub(10) })
}

/// A record id as it is written, without an allocation.
struct IdText {
    bytes: [u8; 32],
    length: usize,
}

impl IdText {
    fn of(id: &RecordId) -> Self {
        // Zeros behind a name are none of it; a zero within is no letter.
        let zeros = usize::try_from(u128::from_be_bytes(*id).trailing_zeros().div_euclid(8)).unwrap_or(0);
        let length = id.len().saturating_sub(zeros);
        let (name, _) = id.split_at(length);
        let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || !name.iter().all(letter) {
            return Self { bytes: hex_of(id), length: 32 };
        }
        let mut bytes = [0; 32];
        let (name, _) = bytes.split_at_mut(id.len());
        name.copy_from_slice(id);
        Self { bytes, length }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// How a record id is written: 1 to 16 characters `[A-Za-z0-9._-]` zero-padded, else 32 hex digits.
pub fn id_text(id: &RecordId) -> String {
    String::from_utf8_lossy(IdText::of(id).as_bytes()).into_owned()
}

/// Reads what [`id_text`] writes. 32 hex digits are bytes, everything shorter is a name.
pub fn parse_id(text: &str) -> Option<RecordId> {
    if text.len() == 32 {
        return hex::decode(text).ok()?.try_into().ok();
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if text.is_empty() || text.len() > 16 || !plain {
        return None;
    }
    let mut id = [0; 16];
    for (target, byte) in id.iter_mut().zip(text.bytes()) {
        *target = byte;
    }
    Some(id)
}

/// Writes a record id as [`id_text`] does.
pub fn write_id(id: &RecordId, target: &mut String) {
    target.push_str(&String::from_utf8_lossy(IdText::of(id).as_bytes()));
}

/// The one leaf of a record, and of the object that it made.
pub fn record(agency: &str, id: &RecordId) -> Key {
    key(&[b"record/", agency.as_bytes(), b"/", IdText::of(id).as_bytes()])
}

/// Where a transaction's record and its signer's key stand: the door and the rules look there several times.
pub(crate) fn places(transaction: &Transaction) -> &[Key; 2] {
    transaction.places(|transaction| {
        let payload = transaction.payload();
        [record(&payload.agency, &payload.record_id), officer_key(&transaction.key_id())]
    })
}

pub fn agency(id: &str) -> Key {
    key(&[b"agency/", id.as_bytes()])
}

pub fn officer_key(id: &KeyId) -> Key {
    key(&[b"key/", &hex_of::<16, 32>(id)])
}

/// A person's keys and roles within an agency.
pub fn officer(agency: &str, person: &[u8; 16]) -> Key {
    key(&[b"officer/", agency.as_bytes(), b"/", &hex_of::<16, 32>(person)])
}

/// Who was ever granted a role of an agency that must keep a holder.
pub fn holders(agency: &str, role: &str) -> Key {
    key(&[b"holders/", agency.as_bytes(), b"/", role.as_bytes()])
}

pub fn recipient(scope: &str, person: &[u8; 16]) -> Key {
    key(&[b"recipient/", scope.as_bytes(), b"/", &hex_of::<16, 32>(person)])
}

pub fn code(kind: &str, code: &str) -> Key {
    if code.contains('/') {
        return key(&[b"code/", kind.as_bytes(), b"/", code.replace('/', "%2F").as_bytes()]);
    }
    key(&[b"code/", kind.as_bytes(), b"/", code.as_bytes()])
}

/// A code of an import: apart from all live ones, in which no `/` stands.
pub fn imported_code(kind: &str, (mode, import): (&str, &str), code: &str) -> Key {
    let code = code.replace('/', "%2F");
    key(&[b"code/", kind.as_bytes(), b"/", mode.as_bytes(), b"/", import.as_bytes(), b"/", code.as_bytes()])
}

pub fn nullifier(scope: &str, digest: &Hash) -> Key {
    key(&[b"nullifier/", scope.as_bytes(), b"/", &hex_of::<32, 64>(digest)])
}

/// `mode` is live or historical.
pub fn totals(mode: &str, currency: &str) -> Key {
    key(&[b"totals/", mode.as_bytes(), b"/", currency.as_bytes()])
}

/// What a programme, written `agency.id`, took in and paid on one day.
pub fn day(programme: &str, day: &str) -> Key {
    key(&[b"day/", programme.as_bytes(), b"/", day.as_bytes()])
}

/// What an account, written `agency.id`, gave to another one or under an earmark, and has not got back.
pub fn given(from: &str, target: &str) -> Key {
    key(&[b"given/", from.as_bytes(), b"/", target.replace('/', "%2F").as_bytes()])
}

pub fn rule(name: &str) -> Key {
    key(&[b"rule/", name.as_bytes()])
}

pub fn set_current() -> Key {
    key(&[b"set/current"])
}

/// The change of the authority set that was agreed and has not happened yet.
pub fn set_next() -> Key {
    key(&[b"set/next"])
}

/// What an agency said about its node and the next epoch.
pub fn sealing(agency: &str) -> Key {
    key(&[b"sealing/", agency.as_bytes()])
}

/// A consensus, sealing or peer key that was registered once.
pub fn node_key(public: &PublicKey) -> Key {
    key(&[b"node-key/", &hex_of::<32, 64>(&public.0)])
}

/// Trail of all objects of a kind, for instance `programmes`, `agencies`, or `accounts/<agency>.<programme id>`.
pub fn registry(name: &str) -> Key {
    key(&[b"registry/", name.as_bytes()])
}

pub fn finding(subject: &str, index: u64, code: u16) -> Key {
    key(&[b"finding/", format!("{subject}/{index}/{code}").as_bytes()])
}

/// Trail of the findings about a subject.
pub fn findings(subject: &str) -> Key {
    key(&[b"findings/", subject.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_and_read_back() {
        for text in ["PAY-2026-0381", "a", "0123456789abcdef"] {
            let id = parse_id(text).expect("valid name");
            assert_eq!(id_text(&id), text);
        }
        let random = [0xfe; 16];
        assert_eq!(parse_id(&id_text(&random)), Some(random));
        for wrong in ["", "seventeen-letters", "a/b", "名"] {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_ends_with_its_last_letter_and_anything_else_is_hex() {
        let padded = |name: &[u8]| {
            let mut id = [0; 16];
            id[..name.len()].copy_from_slice(name);
            id
        };
        for byte in 0..=u8::MAX {
            let letter = byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            for id in [padded(&[byte]), padded(&[b'A', byte, b'9']), padded(&[byte; 16])] {
                let end = id.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                let name = String::from_utf8_lossy(&id[..end]);
                let named = letter && end > 0;
                assert_eq!(id_text(&id), if named { name.into_owned() } else { hex::encode(id) });
            }
        }
        assert_eq!(hex_of::<16, 32>(&[0xa5; 16]), *b"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
    }
}
