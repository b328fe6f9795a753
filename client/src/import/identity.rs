//! Record ids and pseudonyms of imports. Ids follow from network, source and key alone, so that a second import meets
//! the first one's records; pseudonyms follow from a random key that stays with the importer.

use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use mingzhang_ledger::codec::{Value, put_counted};
use mingzhang_ledger::crypto::{Hash, sha256};
use mingzhang_ledger::records::calendar::Day;
use mingzhang_ledger::transaction::RecordId;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::memory::Memory;
use super::words;
use crate::output::Failure;

const RECORD_ID: &str = "mingzhang-import-1";
/// The file of the key for the digests of rows.
const ROWS: &str = "rows.toml";
const LOST: &str = "it is gone, though sources were imported from here; restore it from your backup";

/// A network, and a source within it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The genesis hash.
    pub network: Hash,
    /// Format and name of the source; `strict` is appended in strict imports, because a rejected record spends its id.
    pub source: String,
}

impl Identity {
    pub fn new(network: Hash, format: &str, name: &str, strict: bool) -> Self {
        Self { network, source: format!("{format}:{name}{}", if strict { "strict" } else { "" }) }
    }

    /// The first 16 bytes of SHA-256 over the length-prefixed parts.
    pub fn record_id(&self, record_type: &str, key: &str) -> RecordId {
        let mut preimage = Vec::new();
        for part in
            [RECORD_ID.as_bytes(), &self.network, self.source.as_bytes(), record_type.as_bytes(), key.as_bytes()]
        {
            put_counted(&mut preimage, part);
        }
        first_half(&sha256(&[&preimage]))
    }
}

/// Whether there is the key of any source.
fn holds_sources(folder: &Path) -> Result<bool, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(|error| Failure::unreadable(folder, error))?,
    };
    let mut paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.any(|path| path.extension().is_some_and(|end| end == "toml") && !path.ends_with(ROWS)))
}

fn first_half(hash: &Hash) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(hash.split_at(16).0);
    half
}

/// What stays with the importer, off the ledger: the key of pseudonyms and salts, that of rows, and what is remembered of the
/// source.
pub struct Secret {
    key: Zeroizing<[u8; 32]>,
    /// Of all sources of this importer in the network, for `rows_root` alone: the same file is known under another name.
    rows: Zeroizing<[u8; 32]>,
    pub memory: Memory,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFile {
    key: String,
    /// The day of the first import, for whoever looks into the file.
    since: String,
}

impl Secret {
    /// Of an importer that remembers nothing.
    pub fn new(key: [u8; 32], today: Day) -> Self {
        Self { key: Zeroizing::new(key), rows: Zeroizing::new(key), memory: Memory::none(today) }
    }

    /// The kept secret of a source; at its first import a fresh one, readable by its owner alone.
    pub fn keep(home: &Path, identity: &Identity, today: Day) -> Result<Self, Failure> {
        let name = hex::encode(first_half(&sha256(&[identity.source.as_bytes()])));
        let folder = home.join("imports").join(hex::encode(identity.network));
        let rows_path = folder.join(ROWS);
        // A key that is made anew while others are there would let in once more what is known under the lost one. Read
        // again, for another import may have made both since.
        if Self::read(&rows_path)?.is_none() && holds_sources(&folder)? && Self::read(&rows_path)?.is_none() {
            return Err(Failure::unreadable(&rows_path, LOST));
        }
        let rows = Self::kept_key(&rows_path, today)?;
        let path = folder.join(format!("{name}.toml"));
        if Self::read(&path)?.is_none() && folder.join(&name).exists() && Self::read(&path)?.is_none() {
            return Err(Failure::unreadable(&path, LOST));
        }
        let key = Self::kept_key(&path, today)?;
        Ok(Self { key, rows, memory: Memory::within(folder.join(&name), today) })
    }

    fn kept_key(path: &Path, today: Day) -> Result<Zeroizing<[u8; 32]>, Failure> {
        if let Some(kept) = Self::read(path)? {
            return Ok(kept);
        }
        let key = Zeroizing::new(crate::keys::random::<32>()?);
        let file = SecretFile { key: hex::encode(*key), since: today.to_string() };
        let text = Zeroizing::new(toml::to_string(&file).map_err(|error| Failure::bug(error.to_string()))?);
        match (crate::keys::write(path, &text), Self::read(path)) {
            (Ok(()), _) => Ok(key),
            // Another import was first.
            (Err(_), Ok(Some(kept))) => Ok(kept),
            (Err(failure), _) => Err(failure),
        }
    }

    /// None where there is no file. One that cannot be read is never replaced: its pseudonyms are on the ledger.
    fn read(path: &Path) -> Result<Option<Zeroizing<[u8; 32]>>, Failure> {
        let broken = |what: &str| Failure::unreadable(path, what);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::unreadable(path, error)),
        };
        let file: SecretFile = toml::from_str(&text).map_err(|error| broken(error.message()))?;
        let key = hex::decode(&file.key).ok().and_then(|bytes| bytes.try_into().ok());
        let key = key.ok_or_else(|| broken("key is not 64 hex digits"))?;
        Day::parse(&file.since).ok_or_else(|| broken("since is no date"))?;
        Ok(Some(Zeroizing::new(key)))
    }

    fn mac(&self, purpose: &str, content: &str) -> Hash {
        keyed_hash(&self.key, (purpose, content.as_bytes()))
    }

    /// What stands for the digest of a row in `rows_root`: of a few rows a plain one could be tried for every name.
    pub fn row(&self, digest: &Hash) -> Hash {
        keyed_hash(&self.rows, ("row", digest))
    }

    /// The id of a row that has none of its own, under the key whose scope the source's programme shows.
    pub fn row_id(&self, known_by: &Hash, ordinal: u64) -> String {
        let row = keyed_hash(&self.key, ("row id", known_by));
        format!("row:{}:{ordinal}", hex::encode(first_half(&row)))
    }

    /// The scope of pseudonyms, as a code of letters: no run of digits that a scan could take for a number. Under another key
    /// it is another one, so that nobody goes on with a source whose pseudonyms and ids it cannot make again.
    pub fn scope(&self) -> String {
        let letter = |nibble: u8| char::from(b'a' + nibble);
        let digest = self.mac("scope", "");
        let letters: String = digest.iter().take(8).flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]).collect();
        format!("import-{letters}")
    }

    /// One spelling, one pseudonym; spaces around and doubled within do not count.
    pub fn pseudonym(&self, who: &str) -> [u8; 16] {
        let spelling = who.split_whitespace().collect::<Vec<_>>().join(" ");
        first_half(&self.mac("person", &spelling))
    }

    /// SHA-256(salt ‖ row digest), with a salt that only this importer can make again.
    pub fn evidence(&self, key: &str, row: &Hash) -> Hash {
        sha256(&[&self.mac("salt", key), row])
    }

    /// Who somebody is in the source, by an id; one that does not fit, or may name a person, under a keyed hash: a plain
    /// one could be tried for every name and number.
    pub fn party(&self, id: &str) -> Value {
        if words::is_plain(id) { Value::text(id) } else { self.keyed(id) }
    }

    /// The source's reference of a payment, a gift or a licence, or a keyed hash likewise.
    pub fn reference(&self, id: &str) -> Value {
        if words::is_plain_reference(id) { Value::text(id) } else { self.keyed(id) }
    }

    fn keyed(&self, id: &str) -> Value {
        Value::text(&format!("hmac:{}", hex::encode(first_half(&self.mac("declared", id)))))
    }

    /// A commitment to whatever account a payee has in the source.
    pub fn payee_account(&self, payee: &str) -> Hash {
        self.mac("account", payee)
    }
}

fn keyed_hash(key: &[u8; 32], (purpose, content): (&str, &[u8])) -> Hash {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(purpose.as_bytes());
    mac.update(&[0]);
    mac.update(content);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_by_every_part_and_by_nothing_else() {
        let identity = |strict| Identity::new([1; 32], "donations", "file", strict);
        let id = identity(false).record_id("income_record", "row-1");
        assert_eq!(id, identity(false).record_id("income_record", "row-1"));
        let others = [
            identity(true).record_id("income_record", "row-1"),
            identity(false).record_id("income_record", "row-2"),
            identity(false).record_id("account_open", "row-1"),
            Identity::new([2; 32], "donations", "file", false).record_id("income_record", "row-1"),
            Identity::new([1; 32], "donations", "file2", false).record_id("income_record", "row-1"),
        ];
        assert!(others.iter().all(|other| *other != id));
    }

    #[test]
    fn a_secret_is_made_once_and_kept_for_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().expect("a folder");
        let identity = Identity::new([1; 32], "donations", "file", false);
        let first = Secret::keep(home.path(), &identity, Day(20_000)).expect("a secret");
        let again = Secret::keep(home.path(), &identity, Day(20_001)).expect("the secret");
        assert_eq!(first.pseudonym("张 三"), again.pseudonym(" 张  三 "));
        for (secret, root) in [(&first, [1; 32]), (&again, [1; 32])] {
            assert_eq!(secret.memory.since("", &root).expect("a day"), Day(20_000));
        }
        let other = Identity::new([1; 32], "donations", "other", false);
        let other = Secret::keep(home.path(), &other, Day(20_000)).expect("a secret");
        assert_ne!(first.pseudonym("张三"), other.pseudonym("张三"));
        assert_ne!(first.scope(), other.scope());
        assert_eq!(first.row(&[1; 32]), other.row(&[1; 32]), "rows are known again in other files");
        let folder = home.path().join("imports").join(hex::encode([1; 32]));
        assert_eq!(std::fs::read_dir(&folder).expect("the folder").count(), 4, "no part is left beside");
        for entry in std::fs::read_dir(folder).expect("the folder") {
            let facts = entry.expect("an entry").metadata().expect("its facts");
            assert!(facts.is_dir() || facts.permissions().mode() & 0o077 == 0);
        }
    }
    #[test]
    fn an_id_that_may_name_somebody_is_keyed() {
        let (one, other) = (Secret::new([1; 32], Day(20_000)), Secret::new([2; 32], Day(20_000)));
        assert_eq!(one.party("GB-CHC-1"), Value::text("GB-CHC-1"));
        assert_eq!(one.reference("4111111111111111"), Value::text("4111111111111111"));
        for name in ["张三", "13800138000", ""] {
            let text = one.party(name);
            assert!(text.as_text().is_some_and(|text| text.starts_with("hmac:") && text.len() == 37), "{text:?}");
            assert!(text == one.reference(name) && text != other.party(name));
        }
    }

    #[test]
    fn rows_are_known_by_the_sources_own_key_and_a_lost_key_is_not_made_anew() {
        let home = tempfile::tempdir().expect("a folder");
        let of = |name| Identity::new([1; 32], "donations", name, false);
        let keep = |name| Secret::keep(home.path(), &of(name), Day(20_000));
        let id = |secret: &Secret| secret.row_id(&[7; 32], 1);
        let first = keep("file").expect("a secret");
        first.memory.since("", &[1; 32]).expect("a day");
        assert_ne!(id(&first), id(&keep("other").expect("a secret")));
        let folder = home.path().join("imports").join(hex::encode([1; 32]));
        // Another home's folder, copied over this one.
        let another = SecretFile { key: hex::encode([5; 32]), since: "2026-01-01".to_owned() };
        std::fs::write(folder.join(ROWS), toml::to_string(&another).expect("a text")).expect("written");
        assert_eq!(id(&keep("file").expect("a secret")), id(&first));
        std::fs::remove_file(folder.join(ROWS)).expect("removed");
        for name in ["file", "new"] {
            let failure = keep(name).err().expect("refused");
            assert!(failure.detail.contains(ROWS) && failure.detail.contains("restore"), "{}", failure.detail);
        }
        assert!(!folder.join(ROWS).exists());
        std::fs::write(folder.join(ROWS), toml::to_string(&another).expect("a text")).expect("written");
        let name = hex::encode(first_half(&sha256(&[of("file").source.as_bytes()])));
        std::fs::remove_file(folder.join(format!("{name}.toml"))).expect("removed");
        assert_eq!(keep("file").err().and_then(|failure| failure.code).map(|code| code.0), Some(2011));
        keep("new").expect("a secret");
    }

    #[test]
    fn a_damaged_secret_is_named_and_never_replaced() {
        let home = tempfile::tempdir().expect("a folder");
        let identity = Identity::new([1; 32], "donations", "file", false);
        Secret::keep(home.path(), &identity, Day(20_000)).expect("a secret");
        let folder = home.path().join("imports").join(hex::encode([1; 32]));
        let kept = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
        let file = kept.into_iter().find(|path| !path.ends_with("rows.toml")).expect("a file");
        std::fs::write(&file, "key = \"12").expect("written");
        let failure = Secret::keep(home.path(), &identity, Day(20_000)).err().expect("refused");
        assert!(failure.detail.contains(&file.display().to_string()), "{}", failure.detail);
        assert_eq!(failure.code.map(|code| code.0), Some(2011));
        assert_eq!(std::fs::read_to_string(&file).expect("still there"), "key = \"12");
    }
}
