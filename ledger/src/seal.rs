//! Checkpoints and their seals: the three lines of a checkpoint, the C2SP signed note around them, cosignature/v1 seals
//! (type 0x04), the log key's line (type 0x01), the proof of possession of a sealing key, and which blocks are sealed.
//! Which authority set decides a checkpoint is `verify`'s matter; who may seal what, and once only, is the node's.

mod policy;

pub use policy::{OutsideGroup, log_key_text, policy, seal_key_text};

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::authority::{AuthoritySet, MAX_MEMBERS};
use crate::codec::{CodecFault, Reader};
use crate::crypto::{Hash, PublicKey, Signature, SigningKey, sha256, verify_batch};
use crate::header::Header;
use crate::merkle::empty_root;
use crate::outcome::{Code, peers};

/// Signature lines that a note may carry: every member, the log's keys, and witnesses.
pub const MAX_NOTE_LINES: usize = MAX_MEMBERS + 32;
/// Length of an encoded [`Seal`] in bytes.
pub const SEAL_BYTES: usize = 122;
/// Length of a proof of possession of a sealing key: time u64be ‖ signature.
pub const POSSESSION_BYTES: usize = 72;
/// C2SP signature type of an Ed25519 note signature.
const TYPE_NOTE: u8 = 0x01;
/// C2SP signature type of an Ed25519 timestamped cosignature.
const TYPE_COSIGNATURE: u8 = 0x04;
const DASH: &str = "\u{2014} ";

/// Why text is no sealed checkpoint, or its seals do not decide.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealFault {
    #[error("{0}")]
    Format(&'static str),
    #[error("the checkpoint holds an extension line")]
    Extension,
    #[error("checkpoint of {found}, wanted {wanted}")]
    Origin { found: String, wanted: String },
    #[error("seal of epoch {found}, the deciding set is of epoch {wanted}")]
    Epoch { found: u64, wanted: u64 },
    #[error("signer {signer} is not among the {members} members")]
    Signer { signer: u16, members: usize },
    #[error("{0} seals twice")]
    Repeated(String),
    #[error("the seal of {0} does not hold")]
    Signature(String),
    #[error("{have} seals, a quorum is {need}")]
    NoQuorum { have: usize, need: usize },
}

impl SealFault {
    /// By which a node refuses it of a peer.
    pub fn peer_code(&self) -> Code {
        match self {
            Self::Format(_) | Self::Extension => peers::MALFORMED,
            Self::Origin { .. } => peers::OTHER_NETWORK,
            Self::Epoch { .. } | Self::Repeated(_) => peers::OUT_OF_PLACE,
            Self::Signer { .. } => peers::STRANGER,
            Self::Signature(_) | Self::NoQuorum { .. } => peers::NOT_SIGNED,
        }
    }
}

/// What is sealed: the log's origin, size and root. No extension lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

impl Checkpoint {
    /// The note text: three lines, each ended by a newline.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    pub fn parse(text: &str) -> Result<Self, SealFault> {
        let lines = text.strip_suffix('\n').ok_or(SealFault::Format("checkpoint without final newline"))?;
        let lines: Vec<&str> = lines.split('\n').collect();
        let [origin, size, root, extensions @ ..] = lines.as_slice() else {
            return Err(SealFault::Format("a checkpoint has three lines"));
        };
        if !extensions.is_empty() {
            return Err(SealFault::Extension);
        }
        if !is_key_name(origin) {
            return Err(SealFault::Format("origin is empty or holds a space, a plus or a control character"));
        }
        Ok(Self {
            origin: (*origin).to_owned(),
            size: parse_decimal(size).ok_or(SealFault::Format("size is not a canonical decimal number"))?,
            root: parse_hash(root).ok_or(SealFault::Format("root is not the base64 of 32 bytes"))?,
        })
    }
}

/// A canonical decimal number: digits without leading zeros.
pub fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

/// Standard base64 with padding, of exactly 32 bytes.
pub fn parse_hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// A signature line of a note, of a known key or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteLine {
    pub name: String,
    pub key_id: [u8; 4],
    /// What follows the key id: a signature, for seals with the time before it.
    pub signature: Vec<u8>,
}

impl NoteLine {
    fn text(&self) -> String {
        let mut bytes = self.key_id.to_vec();
        bytes.extend_from_slice(&self.signature);
        format!("{DASH}{} {}\n", self.name, STANDARD.encode(bytes))
    }

    fn parse(line: &str) -> Result<Self, SealFault> {
        let rest = line.strip_prefix(DASH).ok_or(SealFault::Format("signature line without em dash"))?;
        let (name, signature) = rest.split_once(' ').ok_or(SealFault::Format("signature line without signature"))?;
        if !is_key_name(name) {
            return Err(SealFault::Format("key name is empty or holds a space, a plus or a control character"));
        }
        let bytes = STANDARD.decode(signature).map_err(|_| SealFault::Format("signature is not base64"))?;
        let (key_id, signature) = bytes.split_first_chunk::<4>().ok_or(SealFault::Format("signature too short"))?;
        Ok(Self { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
    }
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|character| character.is_whitespace() || character < ' ' || character == '+')
}

/// A signed note whose text is a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub checkpoint: Checkpoint,
    pub lines: Vec<NoteLine>,
}

impl Note {
    pub fn text(&self) -> String {
        let mut text = self.checkpoint.text();
        text.push('\n');
        self.lines.iter().for_each(|line| text.push_str(&line.text()));
        text
    }

    /// Strict: three lines of checkpoint, a blank line, 1 to [`MAX_NOTE_LINES`] signature lines, nothing else.
    pub fn parse(text: &str) -> Result<Self, SealFault> {
        if text.chars().any(|character| character < ' ' && character != '\n') {
            return Err(SealFault::Format("control character in note"));
        }
        let (body, signatures) = text.rsplit_once("\n\n").ok_or(SealFault::Format("note without blank line"))?;
        let signatures = signatures.strip_suffix('\n').ok_or(SealFault::Format("note without final newline"))?;
        if signatures.split('\n').count() > MAX_NOTE_LINES {
            return Err(SealFault::Format("too many signature lines"));
        }
        let checkpoint = Checkpoint::parse(&format!("{body}\n"))?;
        let lines = signatures.split('\n').map(NoteLine::parse).collect::<Result<_, _>>()?;
        Ok(Self { checkpoint, lines })
    }

    /// A note published from the log's keys and seals.
    pub fn of(checkpoint: Checkpoint, set: &AuthoritySet, log_lines: &[NoteLine], seals: &[Seal]) -> Self {
        let mut lines = log_lines.to_vec();
        for seal in seals {
            if let Some(member) = set.member(seal.signer) {
                lines.push(seal.line(&checkpoint.origin, &member.agency, &member.sealing_key));
            }
        }
        Self { checkpoint, lines }
    }

    /// The members of `set` whose seals stand on the note, with their times in seconds since 1970. Lines of unknown
    /// keys are passed over; one bad signature of a known key spoils the note, and so does a member that seals twice.
    pub fn seals(&self, set: &AuthoritySet) -> Result<BTreeMap<u16, u64>, SealFault> {
        let origin = &self.checkpoint.origin;
        let known: BTreeMap<(String, [u8; 4]), u16> = (0u16..)
            .zip(&set.members)
            .map(|(index, member)| {
                let name = seal_key_name(origin, &member.agency, set.epoch);
                let id = note_key_id(&name, TYPE_COSIGNATURE, &member.sealing_key);
                ((name, id), index)
            })
            .collect();
        let mut found = BTreeMap::new();
        let mut checks = Vec::new();
        for line in &self.lines {
            let Some(index) = known.get(&(line.name.clone(), line.key_id)) else { continue };
            let member = set.member(*index).ok_or(SealFault::Format("member index"))?;
            let (time, signature) = split_cosignature(&line.signature)?;
            if found.insert(*index, time).is_some() {
                return Err(SealFault::Repeated(member.agency.clone()));
            }
            checks.push((member, cosigned_bytes(&self.checkpoint, time), signature));
        }
        if self.checkpoint.size == 0 && !found.is_empty() {
            return Err(SealFault::Format("a checkpoint of size 0 proves possession, it seals nothing"));
        }
        let items: Vec<_> = checks
            .iter()
            .map(|(member, message, signature)| (member.sealing_key, message.as_slice(), *signature))
            .collect();
        let verdicts = verify_batch(&items);
        match checks.iter().zip(verdicts).find(|(_, holds)| !holds) {
            Some(((member, _, _), _)) => Err(SealFault::Signature(member.agency.clone())),
            None => Ok(found),
        }
    }

    /// The seals, if they are a quorum of `set` for this origin.
    pub fn check_quorum(&self, origin: &str, set: &AuthoritySet) -> Result<BTreeMap<u16, u64>, SealFault> {
        if self.checkpoint.origin != origin {
            return Err(SealFault::Origin { found: self.checkpoint.origin.clone(), wanted: origin.to_owned() });
        }
        let seals = self.seals(set)?;
        if seals.len() < set.quorum() {
            return Err(SealFault::NoQuorum { have: seals.len(), need: set.quorum() });
        }
        Ok(seals)
    }
}

/// The part of an origin before its first `/`, without the digits of the genesis hash.
pub fn host(origin: &str) -> &str {
    let name = origin.rsplit_once('-').map_or(origin, |(name, _)| name);
    name.split_once('/').map_or(name, |(host, _)| host)
}

/// `<agency>.<name's host>/e<epoch>`.
pub fn seal_key_name(origin: &str, agency: &str, epoch: u64) -> String {
    format!("{agency}.{}/e{epoch}", host(origin))
}

/// SHA-256(key name ‖ 0x0A ‖ type ‖ public key)[0..4].
fn note_key_id(name: &str, signature_type: u8, key: &PublicKey) -> [u8; 4] {
    let digest = sha256(&[name.as_bytes(), b"\n", &[signature_type], &key.0]);
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

/// What a cosignature/v1 covers.
fn cosigned_bytes(checkpoint: &Checkpoint, time_s: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time_s}\n{}", checkpoint.text()).into_bytes()
}

fn split_cosignature(bytes: &[u8]) -> Result<(u64, Signature), SealFault> {
    let fault = SealFault::Format("a cosignature is a time and a 64-byte signature");
    let (time, signature) = bytes.split_first_chunk::<8>().ok_or(fault.clone())?;
    let signature = Signature(signature.try_into().map_err(|_| fault.clone())?);
    let time = u64::from_be_bytes(*time);
    if i64::try_from(time).is_err() { Err(fault) } else { Ok((time, signature)) }
}

/// The log key's line. It carries no trust in our verifier; witnesses and policies ask for one.
pub fn log_line(checkpoint: &Checkpoint, key: &SigningKey) -> NoteLine {
    let key_id = note_key_id(&checkpoint.origin, TYPE_NOTE, &key.public());
    let signature = key.sign(checkpoint.text().as_bytes());
    NoteLine { name: checkpoint.origin.clone(), key_id, signature: signature.0.to_vec() }
}

/// One agency's seal as it travels between nodes and is kept: epoch u64 ‖ signer u16 ‖ size u64 ‖ root ‖ time u64 ‖
/// signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    pub epoch: u64,
    pub signer: u16,
    pub size: u64,
    pub root: Hash,
    /// Seconds since 1970 by the signer's clock.
    pub time_s: u64,
    pub signature: Signature,
}

impl Seal {
    pub fn sign(checkpoint: &Checkpoint, epoch: u64, signer: u16, time_s: u64, key: &SigningKey) -> Self {
        let signature = key.sign(&cosigned_bytes(checkpoint, time_s));
        Self { epoch, signer, size: checkpoint.size, root: checkpoint.root, time_s, signature }
    }

    pub fn checkpoint(&self, origin: &str) -> Checkpoint {
        Checkpoint { origin: origin.to_owned(), size: self.size, root: self.root }
    }

    /// Whether it is a seal by a member of `set` on a checkpoint of `origin`.
    pub fn verify(&self, origin: &str, set: &AuthoritySet) -> Result<(), SealFault> {
        if self.epoch != set.epoch {
            return Err(SealFault::Epoch { found: self.epoch, wanted: set.epoch });
        }
        let member =
            set.member(self.signer).ok_or(SealFault::Signer { signer: self.signer, members: set.members.len() })?;
        let fits = self.size > 0 && i64::try_from(self.time_s).is_ok();
        let message = cosigned_bytes(&self.checkpoint(origin), self.time_s);
        if fits && member.sealing_key.verify(&message, &self.signature) {
            Ok(())
        } else {
            Err(SealFault::Signature(member.agency.clone()))
        }
    }

    fn line(&self, origin: &str, agency: &str, key: &PublicKey) -> NoteLine {
        let name = seal_key_name(origin, agency, self.epoch);
        let key_id = note_key_id(&name, TYPE_COSIGNATURE, key);
        let mut signature = self.time_s.to_be_bytes().to_vec();
        signature.extend_from_slice(&self.signature.0);
        NoteLine { name, key_id, signature }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEAL_BYTES);
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.signer.to_be_bytes());
        bytes.extend_from_slice(&self.size.to_be_bytes());
        bytes.extend_from_slice(&self.root);
        bytes.extend_from_slice(&self.time_s.to_be_bytes());
        bytes.extend_from_slice(&self.signature.0);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, CodecFault> {
        let mut reader = Reader::new(bytes);
        let seal = Self {
            epoch: reader.u64()?,
            signer: reader.u16()?,
            size: reader.u64()?,
            root: reader.array()?,
            time_s: reader.u64()?,
            signature: Signature(reader.array()?),
        };
        reader.finish()?;
        Ok(seal)
    }
}

fn size_zero(origin: &str) -> Checkpoint {
    Checkpoint { origin: origin.to_owned(), size: 0, root: empty_root() }
}

/// Proof of possession of a sealing key: a cosignature over this origin's size-0 checkpoint, which nobody takes for a
/// seal.
pub fn prove_possession(origin: &str, time_s: u64, key: &SigningKey) -> [u8; POSSESSION_BYTES] {
    let signature = key.sign(&cosigned_bytes(&size_zero(origin), time_s));
    let mut bytes = [0; POSSESSION_BYTES];
    let (head, tail) = bytes.split_at_mut(8);
    head.copy_from_slice(&time_s.to_be_bytes());
    tail.copy_from_slice(&signature.0);
    bytes
}

/// Strict verification of [`prove_possession`].
pub fn possession_holds(origin: &str, key: &PublicKey, proof: &[u8]) -> bool {
    let Ok((time_s, signature)) = split_cosignature(proof) else { return false };
    key.verify_strict(&cosigned_bytes(&size_zero(origin), time_s), &signature)
}

/// Whether every agency seals the checkpoint of this block: a boundary, or the first block whose time falls in a new
/// multiple of the interval. `parent_time_ms` is 0 for block 1.
pub fn is_sealed_by_rule(parent_time_ms: u64, header: &Header, interval_ms: u64) -> bool {
    let multiple = |time_ms: u64| time_ms.checked_div(interval_ms);
    header.is_boundary() || multiple(header.time_ms) != multiple(parent_time_ms)
}

#[cfg(test)]
mod tests;
