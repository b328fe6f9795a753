//! `signed_note`: the note of a checkpoint under the log key alone, and under all sealing keys with a small verifier for
//! cosignatures, as their keys stand in the policy file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mingzhang_ledger::crypto::{PublicKey, Signature};
use mingzhang_tests::assured;
use mingzhang_tests::chain::Chain;
use signed_note::{Note, NoteError, StandardVerifier, Verifier, VerifierList, key_id};

/// A cosignature/v1 verifier as somebody else would write it.
struct Cosigner {
    name: String,
    id: u32,
    key: PublicKey,
}

impl Verifier for Cosigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let Some((time, signature)) = signature.split_first_chunk::<8>() else { return false };
        let Ok(signature) = <[u8; 64]>::try_from(signature) else { return false };
        let time = u64::from_be_bytes(*time);
        let message = [format!("cosignature/v1\ntime {time}\n").as_bytes(), text].concat();
        self.key.verify(&message, &Signature(signature))
    }
}

/// Verifiers of the policy's witnesses: name+key id+base64(0x04 ‖ key).
fn witnesses(policy: &str) -> Vec<Box<dyn Verifier>> {
    policy
        .lines()
        .filter_map(|line| line.strip_prefix("witness "))
        .map(|line| {
            let vkey = line.split(' ').nth(1).expect("a verifier key");
            let [name, id, key]: [&str; 3] = vkey.splitn(3, '+').collect::<Vec<_>>().try_into().expect("three parts");
            let bytes = STANDARD.decode(key).expect("base64");
            let id = u32::from_str_radix(id, 16).expect("eight digits");
            assert_eq!(id, key_id(name, &bytes), "the key id is the recommended one");
            assert_eq!(bytes[0], 0x04);
            let key = PublicKey(bytes[1..].try_into().expect("32 bytes"));
            Box::new(Cosigner { name: name.to_owned(), id, key }) as Box<dyn Verifier>
        })
        .collect()
}

fn log_verifier(policy: &str) -> Box<dyn Verifier> {
    let line = policy.lines().find_map(|line| line.strip_prefix("log ")).expect("a log line");
    let vkey = line.split(' ').next().expect("a verifier key");
    Box::new(StandardVerifier::new(vkey).expect("signed_note reads our verifier key"))
}

#[test]
fn the_log_key_alone() {
    let chain = Chain::sample();
    let text = chain.note(chain.height()).text();
    let note = Note::from_bytes(text.as_bytes()).expect("signed_note reads our note");
    let known = VerifierList::new(vec![log_verifier(&chain.policy(1))]);
    let (verified, unverified) = note.verify(&known).expect("the log's line holds");
    assert_eq!((verified.len(), unverified.len()), (1, 3));
    assert_eq!(note.to_bytes(), text.into_bytes());
}

#[test]
fn all_seals_with_the_keys_of_the_policy() {
    let chain = Chain::sample();
    let note = Note::from_bytes(chain.note(chain.height()).text().as_bytes()).expect("a note");
    let mut verifiers = witnesses(&chain.policy(1));
    verifiers.push(log_verifier(&chain.policy(1)));
    let (verified, unverified) = note.verify(&VerifierList::new(verifiers)).expect("all lines hold");
    assert_eq!((verified.len(), unverified.len()), (4, 0));
    assured::count("verifiers", "signed_note, signatures of a checkpoint", verified.len());
    let old = VerifierList::new(witnesses(&chain.policy(0)));
    assert!(matches!(note.verify(&old), Err(NoteError::UnverifiedNote)), "keys of another epoch are unknown");
}

#[test]
fn a_changed_size_is_seen() {
    let chain = Chain::sample();
    let text = chain.note(chain.height()).text();
    let size = chain.log.len();
    let changed = text.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size + 1), 1);
    let note = Note::from_bytes(changed.as_bytes()).expect("still a note");
    let known = VerifierList::new(witnesses(&chain.policy(1)));
    assert!(matches!(note.verify(&known), Err(NoteError::InvalidSignature { .. })));
}
