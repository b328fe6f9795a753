//! The standard tlog-policy file of an authority set, for verifiers that others wrote. Derived, never trusted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{TYPE_COSIGNATURE, TYPE_NOTE, note_key_id, seal_key_name};
use crate::authority::AuthoritySet;
use crate::crypto::PublicKey;

/// Witnesses outside the authorities, of whom `threshold` must have cosigned too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideGroup {
    pub threshold: usize,
    /// Name, verifier key text, and URL of each.
    pub witnesses: Vec<(String, String, String)>,
}

fn key_text(name: &str, signature_type: u8, key: &PublicKey) -> String {
    let mut bytes = vec![signature_type];
    bytes.extend_from_slice(&key.0);
    format!("{name}+{}+{}", hex::encode(note_key_id(name, signature_type, key)), STANDARD.encode(bytes))
}

/// A log key in C2SP's verifier key format.
pub fn log_key_text(origin: &str, key: &PublicKey) -> String {
    key_text(origin, TYPE_NOTE, key)
}

/// A sealing key in C2SP's verifier key format.
pub fn seal_key_text(origin: &str, agency: &str, epoch: u64, key: &PublicKey) -> String {
    key_text(&seal_key_name(origin, agency, epoch), TYPE_COSIGNATURE, key)
}

/// The policy: any of the log keys, a quorum of the set's seals and, if named, a group of outside witnesses.
pub fn policy(origin: &str, log_keys: &[PublicKey], set: &AuthoritySet, outside: Option<&OutsideGroup>) -> String {
    let mut lines = Vec::new();
    for key in log_keys {
        lines.push(format!("log {} https://{}/", log_key_text(origin, key), super::host(origin)));
    }
    let mut names = Vec::new();
    for member in &set.members {
        let key = seal_key_text(origin, &member.agency, set.epoch, &member.sealing_key);
        lines.push(format!("witness {} {key} {}", member.agency, member.url));
        names.push(member.agency.as_str());
    }
    lines.push(format!("group authorities {} {}", set.quorum(), names.join(" ")));
    match outside {
        None => lines.push("quorum authorities".to_owned()),
        Some(group) => {
            for (name, key, url) in &group.witnesses {
                lines.push(format!("witness {name} {key} {url}"));
            }
            let names: Vec<&str> = group.witnesses.iter().map(|(name, _, _)| name.as_str()).collect();
            lines.push(format!("group outside {} {}", group.threshold, names.join(" ")));
            lines.push("group both all authorities outside".to_owned());
            lines.push("quorum both".to_owned());
        }
    }
    lines.push(String::new());
    lines.join("\n")
}
