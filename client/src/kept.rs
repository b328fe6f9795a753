//! The newest sealed checkpoint that this user's commands verified, of each network: a node that shows an older one is asked
//! again, another history is an alarm with its evidence, and a newer one takes its place only with some node's proof that it
//! leads on from it. Also how old seals may be.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mingzhang_genesis::Genesis;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::proof::Consistency;
use mingzhang_ledger::seal::Note;
use mingzhang_ledger::verify::{Kept, Problem, SealedNote};
use serde_json::Value;

use crate::context::{Network, standing_home};
use crate::handoffs;
use crate::keys;
use crate::node_api::NodeApi;
use crate::output::{Failure, exit};
use crate::submit::now_ms;
use crate::verify::authorities_after;

/// A consistency proof that nobody gives.
const PART_MISSING: Code = Code(4127);
/// How often a checkpoint is proven anew because another process has kept one meanwhile.
const ATTEMPTS: usize = 4;

/// How a sealed checkpoint stands to the one that was kept before.
pub enum Order {
    /// It is the one that is kept now, or as new.
    Newest,
    /// Older, in words with a code. That it is of the same history nobody has shown.
    Older(Failure),
}

/// Holds a checkpoint, whose seals were verified, against the one that is kept, and keeps it if it is newer. Another history
/// is a failure, and so is a newer checkpoint that no node proves to lead on, or one that is too old.
pub fn compare((network, api): (&Network, &NodeApi), text: &str, sealed: &SealedNote) -> Result<Order, Failure> {
    require_age(sealed, network.max_age).map_err(failure)?;
    let Some(memory) = Memory::of(&network.genesis) else { return Ok(Order::Newest) };
    let size = sealed.checkpoint.size;
    for _ in 0..ATTEMPTS {
        let before = memory.read()?;
        if let Some(before) = &before {
            if size < before.mark.size {
                let Err(problem) = sealed.check_kept(&before.mark, None) else { return Ok(Order::Newest) };
                return Ok(Order::Older(failure(problem)));
            }
            if size > before.mark.size {
                leads_on((&memory, api), before, text, sealed)?;
            } else if let Err(problem) = sealed.check_kept(&before.mark, None) {
                let shown = Shown { text, sealed, proof: None };
                return Err(memory.alarm(before, &shown, problem));
            } else {
                return Ok(Order::Newest);
            }
        }
        match memory.replace(before.as_ref(), text) {
            Ok(true) => break,
            Ok(false) => {}
            // The answer is proven all the same.
            Err(error) => {
                let words = api.printer().language.pick("检查点未能留存", "the checkpoint could not be kept");
                api.printer().note(&format!("{words}: {}", api.printer().language.detail(&error.detail)));
                break;
            }
        }
    }
    Ok(Order::Newest)
}

/// The same where an older checkpoint does as well, as for what was asked for at its size.
pub fn compare_any(place: (&Network, &NodeApi), text: &str, sealed: &SealedNote) -> Result<(), Failure> {
    compare(place, text, sealed).map(|_| ())
}

/// What this machine knows beyond a file that verified: how old its seals may be, and the checkpoint that is kept. An
/// older or newer one passes, unless a consistency proof beside it shows otherwise.
pub fn judge_file(
    (genesis, max_age): (&Genesis, Option<Duration>),
    shown: &Shown<'_>,
) -> Result<Option<Problem>, Failure> {
    let Some(memory) = Memory::of(genesis) else { return Ok(require_age(shown.sealed, max_age).err()) };
    let sealed = shown.sealed;
    if let Some(before) = memory.read()? {
        let leads_on = shown.proof.is_some_and(|proof| proof.from == before.mark.size);
        if (sealed.checkpoint.size == before.mark.size || leads_on)
            && let Err(problem) = sealed.check_kept(&before.mark, shown.proof)
        {
            let told = memory.alarm(&before, shown, problem.clone());
            return Ok(Some(Problem { detail: told.detail, ..problem }));
        }
    }
    Ok(require_age(sealed, max_age).err())
}

/// A sealed checkpoint with its text, and a proof that it leads on from an earlier one.
pub struct Shown<'a> {
    pub text: &'a str,
    pub sealed: &'a SealedNote,
    pub proof: Option<&'a Consistency>,
}

fn failure(problem: Problem) -> Failure {
    Failure::coded(problem.code, problem.detail)
}

fn require_age(sealed: &SealedNote, max_age: Option<Duration>) -> Result<(), Problem> {
    max_age.map_or(Ok(()), |age| sealed.check_age(now_ms() / 1_000, age.as_secs()))
}

/// Some node proves that a checkpoint leads on from the one that is kept. One that gives a false proof says nothing of those
/// who sealed, so the next is asked; where none has one that holds, nothing is known.
fn leads_on(
    (memory, api): (&Memory<'_>, &NodeApi),
    before: &Before,
    text: &str,
    sealed: &SealedNote,
) -> Result<(), Failure> {
    let attempt = |node: &NodeApi| {
        let proof = consistency(node, before.mark.size, sealed.checkpoint.size)?;
        sealed.check_kept(&before.mark, Some(&proof)).map_err(|problem| {
            let shown = Shown { text, sealed, proof: Some(&proof) };
            memory.alarm(before, &shown, problem).with_exit(exit::INCONCLUSIVE)
        })
    };
    let Err(mut told) = attempt(api) else { return Ok(()) };
    let answered = api.answered();
    for node in api.nodes().iter().filter(|node| *node != answered) {
        match attempt(&api.only(node)) {
            Ok(()) => return Ok(()),
            Err(failure) if told.code == Some(PART_MISSING) => told = failure,
            Err(_) => {}
        }
    }
    Err(told)
}

/// That the log of one size leads on to that of another, as the node says; nothing is verified here.
fn consistency(api: &NodeApi, from: u64, to: u64) -> Result<Consistency, Failure> {
    let missing =
        |why: String| Failure::coded(PART_MISSING, format!("no proof that {to} entries lead on from {from}: {why}"));
    let mut answer =
        api.get_json(&format!("/consistency?from={from}&to={to}")).map_err(|failure| missing(failure.detail))?;
    // The root stands beside the proof, and in the checkpoint.
    if let Value::Object(members) = &mut answer {
        members.remove("to_root");
    }
    serde_json::from_value(answer).map_err(|error| missing(error.to_string()))
}

/// The checkpoint that was kept before.
struct Before {
    note: Note,
    mark: Kept,
}

/// Where the checkpoint of a network is kept, and the evidence against others.
struct Memory<'a> {
    genesis: &'a Genesis,
    file: PathBuf,
    evidence: PathBuf,
}

impl<'a> Memory<'a> {
    /// None where this user has no home.
    fn of(genesis: &'a Genesis) -> Option<Self> {
        let (home, hash) = (standing_home()?, hex::encode(genesis.hash));
        let file = home.join("checkpoints").join(format!("{hash}.checkpoint"));
        Some(Self { genesis, file, evidence: home.join("evidence").join(hash) })
    }

    /// What is kept. Where nothing can be read there is none; what is there and no note is told, as nobody else can know
    /// what it has been.
    fn read(&self) -> Result<Option<Before>, Failure> {
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(self.damaged(&error)),
            Err(_) => return Ok(None),
        };
        let note = Note::parse(&text).map_err(|fault| self.damaged(&fault))?;
        let mark = Kept { size: note.checkpoint.size, root: note.checkpoint.root };
        Ok(Some(Before { note, mark }))
    }

    fn damaged(&self, reason: &dyn std::fmt::Display) -> Failure {
        Failure::unreadable(&self.file, format!("{reason}; without this file nothing earlier is held against a node"))
    }

    /// Puts a checkpoint in the place of the one that it was compared with. False: another process was there first.
    fn replace(&self, before: Option<&Before>, text: &str) -> Result<bool, Failure> {
        let broken = |error| Failure::not_written(&self.file, error);
        let folder = self.file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(broken)?;
        let lock = private(&folder.join("lock"), |options| options.create(true).truncate(false)).map_err(broken)?;
        lock.lock().map_err(broken)?;
        if self.read()?.map(|now| now.mark) != before.map(|before| before.mark) {
            return Ok(false);
        }
        let part = self.file.with_extension(format!("{}.part", hex::encode(keys::random::<8>()?)));
        let written = private(&part, |options| options.create_new(true))
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&part, &self.file));
        if written.is_err() {
            let _stays = std::fs::remove_file(&part);
        }
        written.map(|()| true).map_err(broken)
    }

    /// Writes down both checkpoints and says where. Who sealed both is named only for two roots of one size: nothing else
    /// shows that they cannot both be of one log.
    fn alarm(&self, before: &Before, shown: &Shown<'_>, problem: Problem) -> Failure {
        let checkpoint = &shown.sealed.checkpoint;
        let root: String = hex::encode(checkpoint.root).chars().take(16).collect();
        let folder = self.evidence.join(format!("{}-{root}", checkpoint.size));
        let proof = shown.proof.and_then(|proof| serde_json::to_string_pretty(proof).ok());
        let parts = [
            ("kept.checkpoint", Some(before.note.text())),
            ("shown.checkpoint", Some(shown.text.to_owned())),
            ("consistency.json", proof),
        ];
        let written = parts
            .into_iter()
            .filter_map(|(name, text)| Some((folder.join(name), text?)))
            .try_for_each(|(file, text)| if file.exists() { Ok(()) } else { keys::write(&file, &text) });
        let place = match written {
            Ok(()) => format!("evidence: {}", folder.display()),
            Err(failure) => format!("no evidence written: {}", failure.detail),
        };
        let is_fork = checkpoint.size == before.mark.size;
        let signers = if is_fork { self.signers_of_both(&before.note, shown.sealed) } else { Vec::new() };
        let both = if signers.is_empty() { String::new() } else { format!("; sealed by both: {}", signers.join(", ")) };
        Failure::coded(problem.code, format!("{}{both}; {place}", problem.detail))
    }

    /// The agencies whose seals hold under both checkpoints.
    fn signers_of_both(&self, kept: &Note, shown: &SealedNote) -> Vec<String> {
        let authorities = authorities_after(self.genesis, &handoffs::kept(self.genesis)).ok();
        let kept = authorities.and_then(|authorities| authorities.checkpoint(&kept.text()).ok());
        let Some(kept) = kept else { return Vec::new() };
        shown.seals.keys().filter(|agency| kept.seals.contains_key(*agency)).cloned().collect()
    }
}

/// A file that only its owner reads.
fn private(file: &Path, how: impl Fn(&mut OpenOptions) -> &mut OpenOptions) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    how(OpenOptions::new().write(true)).mode(0o600).open(file)
}
