//! Digests of files that stay here: salted, so that nobody guesses a file from its digest on the ledger.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mingzhang_ledger::crypto::sha256;

use crate::keys::random;
use crate::output::Failure;

/// SHA-256(salt ‖ file); the salt is kept beside the file and made once, so the same file gives the same digest again.
pub fn salted_digest(file: &Path) -> Result<[u8; 32], Failure> {
    let content = std::fs::read(file).map_err(|error| Failure::unreadable(file, error))?;
    let salt_file = PathBuf::from(format!("{}.salt", file.display()));
    let salt: [u8; 32] = match std::fs::read_to_string(&salt_file) {
        Ok(text) => hex::decode(text.trim())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| Failure::unreadable(&salt_file, "not a salt of 64 hex digits"))?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let salt = random()?;
            new_salt(&salt_file, &hex::encode(salt)).map_err(|error| Failure::not_written(&salt_file, error))?;
            salt
        }
        // Whatever lies there, without it earlier digests could not be shown any more.
        Err(error) => return Err(Failure::unreadable(&salt_file, error)),
    };
    Ok(sha256(&[&salt, &content]))
}

fn new_salt(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all())
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::outcome::Code;

    use super::*;

    #[test]
    fn a_salt_is_made_once_and_never_replaced() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder =
            std::env::temp_dir().join(format!("mingzhang-salt-{}", hex::encode(random::<8>().expect("random"))));
        std::fs::create_dir(&folder).expect("a folder");
        let (file, salt) = (folder.join("minutes"), folder.join("minutes.salt"));
        std::fs::write(&file, "words").expect("written");
        let digest = salted_digest(&file).expect("a digest");
        assert_eq!(salted_digest(&file).expect("the same salt"), digest);
        assert_eq!(std::fs::metadata(&salt).expect("a salt").permissions().mode() & 0o777, 0o600);
        std::fs::write(&salt, [0xff; 64]).expect("written");
        assert_eq!(salted_digest(&file).expect_err("no text").code, Some(Code(2011)));
        assert_eq!(std::fs::read(&salt).expect("there"), [0xff; 64]);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
