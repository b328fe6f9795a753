//! Checkpoints, seals and policies: what verifies, what is refused, and the bytes that others read.

use super::*;
use crate::authority::{Member, Parameters};

const ORIGIN: &str = "ledger.example.gov/main-2077b1fc4e5bd311";
const AGENCIES: [&str; 4] = ["finance", "civil", "audit", "rural"];

fn key(agency: usize, epoch: u64) -> SigningKey {
    SigningKey::from_seed(&sha256(&[&[u8::try_from(agency).expect("small")], &epoch.to_be_bytes()]))
}

fn set(epoch: u64) -> AuthoritySet {
    let member = |(index, agency): (usize, &&str)| Member {
        agency: (*agency).to_owned(),
        consensus_key: key(index + 10, 0).public(),
        sealing_key: key(index, epoch).public(),
        peer_key: key(index + 20, 0).public(),
        url: format!("https://{agency}.ledger.example.gov/"),
    };
    AuthoritySet {
        epoch,
        parameters: Parameters::default(),
        members: AGENCIES.iter().enumerate().map(member).collect(),
    }
}

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size: 182, root: [7; 32] }
}

fn seals(epoch: u64, signers: &[u16]) -> Vec<Seal> {
    let sign =
        |signer: &u16| Seal::sign(&checkpoint(), epoch, *signer, 1_764_000_000, &key(usize::from(*signer), epoch));
    signers.iter().map(sign).collect()
}

fn note(signers: &[u16]) -> Note {
    let log = SigningKey::from_seed(&[9; 32]);
    Note::of(checkpoint(), &set(3), &[log_line(&checkpoint(), &log)], &seals(3, signers))
}

#[test]
fn a_quorum_of_seals_decides_and_one_fewer_does_not() {
    let text = note(&[0, 1, 3]).text();
    let parsed = Note::parse(&text).expect("own note");
    assert_eq!(parsed.text(), text);
    assert_eq!(parsed.check_quorum(ORIGIN, &set(3)).map(|seals| seals.into_keys().collect()), Ok(vec![0, 1, 3]));
    assert_eq!(note(&[0, 1]).check_quorum(ORIGIN, &set(3)), Err(SealFault::NoQuorum { have: 2, need: 3 }));
}

#[test]
fn a_note_of_four_agencies_is_as_small_as_promised() {
    assert!(note(&[0, 1, 3]).text().len() <= 700, "{}", note(&[0, 1, 3]).text().len());
}

#[test]
fn one_member_twice_is_no_quorum() {
    let mut twice = note(&[0, 1]);
    twice.lines.push(twice.lines[2].clone());
    assert_eq!(twice.check_quorum(ORIGIN, &set(3)), Err(SealFault::Repeated("civil".into())));
}

#[test]
fn keys_of_another_epoch_do_not_count_even_under_this_epochs_name() {
    let other = Note::of(checkpoint(), &set(2), &[], &seals(2, &[0, 1, 2, 3]));
    assert_eq!(other.check_quorum(ORIGIN, &set(3)), Err(SealFault::NoQuorum { have: 0, need: 3 }));
    let mut renamed = note(&[0, 1]);
    let mut line = other.lines[2].clone();
    line.name = seal_key_name(ORIGIN, "audit", 3);
    renamed.lines.push(line.clone());
    assert_eq!(renamed.check_quorum(ORIGIN, &set(3)), Err(SealFault::NoQuorum { have: 2, need: 3 }));
    line.key_id = note_key_id(&line.name, TYPE_COSIGNATURE, &set(3).members[2].sealing_key);
    renamed.lines.pop();
    renamed.lines.push(line);
    assert_eq!(renamed.check_quorum(ORIGIN, &set(3)), Err(SealFault::Signature("audit".into())));
}

#[test]
fn another_origin_is_refused() {
    let other = "ledger.example.gov/main-0077b1fc4e5bd311";
    let fault = note(&[0, 1, 2]).check_quorum(other, &set(3));
    assert_eq!(fault, Err(SealFault::Origin { found: ORIGIN.into(), wanted: other.into() }));
}

#[test]
fn extension_lines_and_malformed_text_are_refused() {
    let text = note(&[0, 1, 2]).text();
    let root = STANDARD.encode([7; 32]);
    for (from, to) in [
        (format!("{root}\n"), format!("{root}\nextension\n")),
        ("\n182\n".into(), "\n0182\n".into()),
        ("\n182\n".into(), "\n+182\n".into()),
        ("\n182\n".into(), "\n\n".into()),
        (root.clone(), root.replace('=', "")),
        ("\n\n\u{2014}".into(), "\n\n\n\u{2014}".into()),
        ("\n\n".into(), "\n".into()),
        ("finance.".into(), "fin ance.".into()),
        ("finance.".into(), "fin\tance.".into()),
        ("/e3 ".into(), "/e+3 ".into()),
    ] {
        let changed = text.replacen(&from, &to, 1);
        assert_ne!(changed, text);
        assert!(Note::parse(&changed).is_err(), "{from:?} to {to:?}");
    }
    assert!(Note::parse(text.trim_end()).is_err());
    assert!(Note::parse(&format!("{text}\n")).is_err());
}

#[test]
fn sixteen_lines_are_accepted_and_too_many_are_not() {
    let mut many = note(&[0, 1, 2]);
    let stranger = many.lines[0].clone();
    many.lines.resize(MAX_NOTE_LINES, stranger.clone());
    assert!(Note::parse(&many.text()).expect("at the limit").check_quorum(ORIGIN, &set(3)).is_ok());
    many.lines.push(stranger);
    assert_eq!(Note::parse(&many.text()), Err(SealFault::Format("too many signature lines")));
}

/// Changing any byte of the log line's signature leaves the seals as they are; every other change is refused.
#[test]
fn no_single_byte_change_passes_outside_the_log_line() {
    let text = note(&[0, 1, 3]).text().into_bytes();
    let log_line = text.len() - note(&[0, 1, 3]).lines.iter().map(|line| line.text().len()).sum::<usize>();
    let log_line = log_line..log_line + note(&[0]).lines[0].text().len();
    for at in (0..text.len()).filter(|at| !log_line.contains(at)) {
        for bit in 0..8 {
            let mut bytes = text.clone();
            bytes[at] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let accepted = Note::parse(&changed).is_ok_and(|note| note.check_quorum(ORIGIN, &set(3)).is_ok());
            assert!(!accepted, "byte {at} bit {bit}");
        }
    }
}

#[test]
fn possession_is_no_seal_and_a_seal_is_no_possession() {
    let key = key(0, 3);
    let proof = prove_possession(ORIGIN, 5, &key);
    assert!(possession_holds(ORIGIN, &key.public(), &proof));
    assert!(!possession_holds("other-0011223344556677", &key.public(), &proof));
    assert!(!possession_holds(ORIGIN, &set(3).members[1].sealing_key, &proof));
    let zero = size_zero(ORIGIN);
    let seals: Vec<Seal> = (0..4u16).map(|i| Seal::sign(&zero, 3, i, 5, &super::tests::key(i.into(), 3))).collect();
    assert!(seals.iter().all(|seal| seal.verify(ORIGIN, &set(3)).is_err()));
    assert!(Note::of(zero, &set(3), &[], &seals).check_quorum(ORIGIN, &set(3)).is_err());
}

#[test]
fn a_travelling_seal_round_trips_and_verifies() {
    let seal = seals(3, &[2])[0];
    assert_eq!(seal.encode().len(), SEAL_BYTES);
    assert_eq!(Seal::decode(&seal.encode()), Ok(seal));
    assert_eq!(seal.verify(ORIGIN, &set(3)), Ok(()));
    assert_eq!(seal.verify(ORIGIN, &set(4)), Err(SealFault::Epoch { found: 3, wanted: 4 }));
    assert_eq!(Seal { signer: 4, ..seal }.verify(ORIGIN, &set(3)), Err(SealFault::Signer { signer: 4, members: 4 }));
    assert!(Seal { size: 183, ..seal }.verify(ORIGIN, &set(3)).is_err());
}

#[test]
fn the_policy_is_the_documented_one() {
    let log = SigningKey::from_seed(&[9; 32]).public();
    let outside = OutsideGroup {
        threshold: 1,
        witnesses: vec![("press".into(), "press.example+00+AA".into(), "https://p/".into())],
    };
    let text = policy(ORIGIN, &[log], &set(3), Some(&outside));
    assert!(text.starts_with(&format!("log {ORIGIN}+")));
    assert!(text.contains("\nwitness finance finance.ledger.example.gov/e3+"));
    assert!(text.ends_with("\ngroup outside 1 press\ngroup both all authorities outside\nquorum both\n"));
    assert!(
        policy(ORIGIN, &[log], &set(3), None)
            .ends_with("group authorities 3 finance civil audit rural\nquorum authorities\n")
    );
}

#[test]
fn boundaries_and_the_first_block_of_an_interval_are_sealed() {
    let mut header = Header::decode(&{
        let mut bytes = [0; crate::header::HEADER_BYTES];
        bytes[..2].copy_from_slice(&[2, 1]);
        bytes
    })
    .expect("zero header");
    header.time_ms = 1_499;
    assert!(!is_sealed_by_rule(1_000, &header, 500));
    header.time_ms = 1_500;
    assert!(is_sealed_by_rule(1_000, &header, 500));
    header.next_set_hash = [1; 32];
    header.time_ms = 1_001;
    assert!(is_sealed_by_rule(1_000, &header, 500));
}

#[test]
fn hosts_are_what_stands_before_the_path() {
    assert_eq!(host(ORIGIN), "ledger.example.gov");
    assert_eq!(host("demo-0011223344556677"), "demo");
}
