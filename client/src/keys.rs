//! Officer keys: PKCS#8 files, encrypted at rest, each with a sidecar of public facts. A key is named by a file or by
//! its name in the context's key folder; passphrases come by prompt or file descriptor, never by flag or variable.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use mingzhang_ledger::crypto::key_file::{self, KeyFileFault};
use mingzhang_ledger::crypto::{PublicKey, SigningKey};
use mingzhang_ledger::outcome::Code;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::context::{ContextFile, home};
use crate::output::{Failure, plain};

const WRONG_PASSPHRASE: Code = Code(5006);
const EXPOSED: Code = Code(5019);
const NO_PASSPHRASE: Code = Code(5036);

/// Public facts about a key, in `NAME.toml` beside `NAME.pem`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    #[serde(default)]
    pub agency: Option<String>,
    /// 32 hex digits.
    #[serde(default)]
    pub person: Option<String>,
    #[serde(default)]
    pub roles: Vec<String>,
    /// 64 hex digits: whoever reads what the key signed needs no passphrase.
    #[serde(default)]
    pub public_key: Option<String>,
}

/// An opened key.
pub struct OfficerKey {
    pub name: String,
    pub key: SigningKey,
    pub facts: Facts,
}

/// Where a command may ask for a passphrase.
#[derive(Debug, Clone, Copy, Default)]
pub struct PassphraseSource {
    pub descriptor: Option<u32>,
    pub no_input: bool,
}

impl PassphraseSource {
    /// The next line from the descriptor, or a prompt on a terminal; never hangs where nobody can answer.
    pub fn ask(self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        if let Some(descriptor) = self.descriptor {
            return next_line(descriptor)?
                .ok_or_else(|| Failure::coded(NO_PASSPHRASE, prompt.trim_end_matches([':', ' '])));
        }
        if self.no_input || !std::io::stdin().is_terminal() {
            return Err(Failure::coded(NO_PASSPHRASE, prompt.trim_end_matches([':', ' '])));
        }
        rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(Failure::from)
    }
}

/// What is read from the descriptor: one reader for the whole run, as it reads ahead.
static LINES: Mutex<Option<BufReader<File>>> = Mutex::new(None);

/// The next passphrase, one line for each key; None at the end.
fn next_line(descriptor: u32) -> Result<Option<Zeroizing<String>>, Failure> {
    let mut lines = LINES.lock().map_err(|error| Failure::bug(error.to_string()))?;
    if lines.is_none() {
        let file = File::open(format!("/dev/fd/{descriptor}"))
            .map_err(|error| Failure::usage(format!("passphrase descriptor {descriptor}: {error}")))?;
        *lines = Some(BufReader::new(file));
    }
    let mut line = Zeroizing::new(String::new());
    let read = lines.as_mut().map_or(Ok(0), |lines| lines.read_line(&mut line))?;
    Ok((read > 0).then(|| Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned())))
}

/// The key folder of a context, or the user's own.
pub fn folder(context: Option<&ContextFile>) -> Result<PathBuf, Failure> {
    match context.and_then(|context| context.keys_dir.clone()) {
        Some(folder) => Ok(folder),
        None => Ok(home()?.join("keys")),
    }
}

fn path_of(name_or_file: &str, context: Option<&ContextFile>) -> Result<PathBuf, Failure> {
    if name_or_file.contains('/') || name_or_file.ends_with(".pem") {
        return Ok(PathBuf::from(name_or_file));
    }
    Ok(folder(context)?.join(format!("{name_or_file}.pem")))
}

/// Whether the context has a key of that name.
pub fn exists(name: &str, context: &ContextFile) -> Result<bool, Failure> {
    Ok(path_of(name, Some(context))?.exists())
}

/// Public facts beside a key file; a key without a sidecar has none.
pub fn facts(path: &Path) -> Result<Facts, Failure> {
    let sidecar = path.with_extension("toml");
    match std::fs::read_to_string(&sidecar) {
        Ok(text) => toml::from_str(&text).map_err(|error| Failure::unreadable(&sidecar, error.message())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Facts::default()),
        Err(error) => Err(Failure::unreadable(&sidecar, error)),
    }
}

/// A key file that cannot be used.
fn wrong_key(path: &Path, reason: &dyn std::fmt::Display) -> Failure {
    Failure::coded(Code(5005), format!("key {}: {}", path.display(), plain(reason)))
}

/// A key that others can read is theirs, too; as the node does with its own.
fn require_private(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let facts = std::fs::metadata(path).map_err(|error| wrong_key(path, &error))?;
    let mode = facts.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(Failure::coded(EXPOSED, format!("{}: {mode:04o}", path.display()))) }
}

/// Opens a key by name or file.
pub fn open(
    name_or_file: &str,
    context: Option<&ContextFile>,
    passphrase: PassphraseSource,
) -> Result<OfficerKey, Failure> {
    let path = path_of(name_or_file, context)?;
    require_private(&path)?;
    let text = Zeroizing::new(std::fs::read_to_string(&path).map_err(|error| wrong_key(&path, &error))?);
    let secret = match key_file::is_encrypted(&text) {
        true => Some(passphrase.ask(&format!("{}: ", path.display()))?),
        false => None,
    };
    let key = key_file::read(&text, secret.as_ref().map(|secret| secret.as_bytes())).map_err(|fault| match fault {
        KeyFileFault::WrongPassphrase => Failure::coded(WRONG_PASSPHRASE, path.display().to_string()),
        fault => wrong_key(&path, &fault),
    })?;
    let facts = facts(&path)?;
    if facts.public_key.as_ref().is_some_and(|stated| *stated != hex::encode(key.public().0)) {
        return Err(wrong_key(&path.with_extension("toml"), &"it states another public key"));
    }
    Ok(OfficerKey { name: name_or_file.to_owned(), key, facts })
}

/// The public key, as it stands beside the key file; of one that was made without it, from the key itself.
pub fn public_key(
    name_or_file: &str,
    context: Option<&ContextFile>,
    passphrase: PassphraseSource,
) -> Result<PublicKey, Failure> {
    let stated = facts(&path_of(name_or_file, context)?)?.public_key;
    let bytes = stated.and_then(|stated| hex::decode(stated).ok()?.try_into().ok());
    match bytes {
        Some(bytes) => Ok(PublicKey(bytes)),
        None => Ok(open(name_or_file, context, passphrase)?.key.public()),
    }
}

/// Writes a new file with owner-only permissions, whole or not at all; refuses to overwrite.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let broken = |error| Failure::not_written(path, error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(broken)?;
    let part = folder.join(format!(".{}.part", hex::encode(random::<8>()?)));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        // A link takes no name that is taken, as a rename would.
        .and_then(|()| std::fs::hard_link(&part, path))
        .and_then(|()| std::fs::File::open(folder)?.sync_all());
    let removed = std::fs::remove_file(&part);
    written.and(removed).map_err(broken)
}

/// Random bytes of the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Failure::bug(format!("no randomness: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn each_key_has_its_line() {
        let file =
            std::env::temp_dir().join(format!("mingzhang-lines-{}", hex::encode(random::<8>().expect("random"))));
        std::fs::write(&file, "first\r\nsecond").expect("written");
        let open = File::open(&file).expect("a file");
        let descriptor = u32::try_from(open.as_raw_fd()).expect("small");
        let next = || next_line(descriptor).expect("readable").map(|line| line.to_string());
        assert_eq!((next().as_deref(), next().as_deref(), next()), (Some("first"), Some("second"), None));
        std::fs::remove_file(&file).expect("removed");
    }
}
