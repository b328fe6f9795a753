//! A whole network of agencies on one machine, without Docker: real nodes with real stores, on loopback, with test keys.
//! Here: what a devnet's folder holds and how its nodes are started, watched and stopped. Who takes part is in `roster`,
//! how the folder is made in `found`, processes in `process`.

mod add;
mod found;
mod ports;
mod process;
mod roster;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mingzhang_genesis::Genesis;
use mingzhang_genesis::document::Numbers;
use mingzhang_ledger::outcome::Code;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

pub use add::add;
use ports::Claims;

use crate::clock::Started;
use crate::command::probe;
use crate::keys::KeyFault;
use crate::setup::{self, SetupFault};

/// The file that marks a folder as a devnet's.
const RECORD_FILE: &str = "devnet.json";
/// The record until it is whole.
const RECORD_PART: &str = "devnet.json.part";
/// Marks a folder in which a devnet was begun and is not complete.
const BEGUN_FILE: &str = "devnet.begun";
/// Where the recovery keys lie.
const RECOVERY_FOLDER: &str = "recovery";
const FORMAT: &str = "mingzhang/devnet/v1";
/// How long `up` waits until all nodes are ready. A quiet machine needs less than five seconds.
const READY_LIMIT_MS: u64 = 60_000;
/// How often a starting or stopping node is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a node may take to stop in good order.
const STOP_LIMIT_MS: u64 = 10_000;
/// Most authorities of a devnet.
pub const MAX_AGENCIES: usize = 100;

/// A devnet's folder.
#[derive(Debug)]
pub struct Devnet {
    pub dir: PathBuf,
    pub record: Record,
    pub genesis: Genesis,
    /// Held until its nodes listen.
    claims: Claims,
}

/// What `up` wrote down about the devnet that it made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format: String,
    pub seats: Vec<Seat>,
    pub keys: Vec<OfficerKey>,
}

/// An agency with a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seat {
    pub agency_id: String,
    pub name: String,
    pub api: SocketAddr,
    pub ops: SocketAddr,
    pub peer: SocketAddr,
}

/// An officer's key file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfficerKey {
    pub name: String,
    pub agency_id: String,
    pub role: String,
    pub file: PathBuf,
}

/// How a node is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatStatus {
    pub agency_id: String,
    pub pid: Option<u32>,
    /// stopped, starting, or what the node says of itself: ready, catching_up, following, isolated, halted.
    pub state: String,
    pub height: Option<u64>,
}

/// What is asked of `up`.
#[derive(Debug, Clone, Default)]
pub struct Plan<'a> {
    /// None makes the usual number, and takes what is there.
    pub agencies: Option<usize>,
    /// None takes the first free range from the usual one on.
    pub base_port: Option<u16>,
    /// Start only this agency's node.
    pub only: Option<&'a str>,
    /// Parameters of its genesis that shall differ from a devnet's usual ones.
    pub consensus: Numbers,
    pub rules: Numbers,
}

/// Why a devnet does not do what was asked.
#[derive(Debug, Error)]
pub enum DevnetFault {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{0} holds something that no devnet made")]
    NotEmpty(PathBuf),
    #[error("{0} holds no devnet")]
    NoDevnet(PathBuf),
    #[error("another devnet up is making a devnet in {0}: wait until it has ended")]
    BeingMade(PathBuf),
    #[error("{path} is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error("port {port} is taken; {agency} needs it")]
    PortTaken { agency: String, port: u16 },
    #[error("no range of {0} ports is free")]
    NoPorts(usize),
    #[error("{have} agencies, 1 to {MAX_AGENCIES} can be started")]
    Agencies { have: usize },
    #[error("the ports from {base} on pass 65535")]
    PortRange { base: u16 },
    #[error("{dir} holds a devnet with {have}; --{flag} {wanted} was asked for. Nothing was started")]
    Differs { dir: PathBuf, have: String, flag: &'static str, wanted: String },
    #[error("no agency {0} runs a node here")]
    NoSeat(String),
    #[error("agency {0} runs a node here already")]
    SeatTaken(String),
    #[error("{agency}: {reason}")]
    NotReady { agency: String, reason: String },
    #[error("the devnet's genesis is not valid: {0}")]
    Genesis(String),
    /// What was asked for makes no genesis.
    #[error("--set: {0}. Nothing was made")]
    Parameters(String),
    #[error(transparent)]
    Key(#[from] KeyFault),
    #[error(transparent)]
    Setup(#[from] SetupFault),
}

impl DevnetFault {
    /// The catalogue's code of this fault.
    pub fn code(&self) -> Code {
        match self {
            Self::Io { .. } => Code(5025),
            Self::NotEmpty(_) => Code(5014),
            Self::NoDevnet(_) | Self::Damaged { .. } => Code(2011),
            Self::PortTaken { .. } | Self::NoPorts(_) => Code(5007),
            Self::BeingMade(_) => Code(5014),
            Self::Differs { .. }
            | Self::Agencies { .. }
            | Self::PortRange { .. }
            | Self::NoSeat(_)
            | Self::Parameters(_)
            | Self::SeatTaken(_) => Code(2012),
            Self::NotReady { .. } => Code(5027),
            Self::Genesis(_) => Code(5024),
            Self::Key(fault) => fault.code(),
            Self::Setup(fault) => fault.code(),
        }
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> DevnetFault {
    let path = path.to_owned();
    move |error| DevnetFault::Io { path, error }
}

/// Makes a devnet, or resumes the one that lies in the folder, and waits until its nodes are ready. The number is how
/// long that took in milliseconds.
pub fn up(dir: &Path, plan: &Plan<'_>) -> Result<(Devnet, u64), DevnetFault> {
    let started = Started::now();
    let dir = std::path::absolute(dir).map_err(io(dir))?;
    let mut devnet = open_or_found(&dir, plan)?;
    if let Some(only) = plan.only
        && devnet.record.seats.iter().all(|seat| seat.agency_id != only)
    {
        return Err(DevnetFault::NoSeat(only.to_owned()));
    }
    let seats = devnet.record.seats.iter().cloned();
    let wanted: Vec<Seat> = seats.filter(|seat| plan.only.is_none_or(|only| only == seat.agency_id)).collect();
    let stopped: Vec<&Seat> = wanted.iter().filter(|seat| process::running(&devnet.node_dir(seat)).is_none()).collect();
    for seat in &stopped {
        devnet.claims.add(seat)?;
    }
    for seat in &stopped {
        let folder = devnet.node_dir(seat);
        process::start(&folder).map_err(io(&folder))?;
    }
    devnet.wait_ready(&wanted, &started)?;
    Ok((devnet, started.elapsed_ms()))
}

/// What lies in the folder, or a new one in its place. Who founds is alone with the folder until it is whole.
fn open_or_found(dir: &Path, plan: &Plan<'_>) -> Result<Devnet, DevnetFault> {
    let record = dir.join(RECORD_FILE);
    let _alone = if record.exists() { None } else { ports::claim_folder(dir)? };
    if record.exists() {
        let devnet = Devnet::open(dir)?;
        devnet.require(plan)?;
        return Ok(devnet);
    }
    if plan.only.is_some() {
        return Err(DevnetFault::NoDevnet(dir.to_owned()));
    }
    if dir.join(BEGUN_FILE).exists() {
        delete(dir)?;
    }
    found::found(dir, plan)
}

/// Stops the nodes that `up` started, and deletes what it made if asked to; how many nodes that were. Needs the record
/// alone, so that an interrupted deletion can be repeated; one that was begun and never completed has no nodes.
pub fn down(dir: &Path, and_delete: bool) -> Result<usize, DevnetFault> {
    let dir = std::path::absolute(dir).map_err(io(dir))?;
    let begun_only = dir.join(BEGUN_FILE).exists() && !dir.join(RECORD_FILE).exists();
    let stopped = if begun_only { 0 } else { stop(&dir, &Record::read(&dir)?)? };
    if and_delete {
        delete(&dir)?;
    }
    Ok(stopped)
}

impl Record {
    fn read(dir: &Path) -> Result<Self, DevnetFault> {
        let path = dir.join(RECORD_FILE);
        let text = std::fs::read_to_string(&path).map_err(|_| DevnetFault::NoDevnet(dir.to_owned()))?;
        let damaged = |reason: String| DevnetFault::Damaged { path: path.clone(), reason };
        let record: Self = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if record.format != FORMAT {
            return Err(damaged(format!("format is \"{}\"", record.format)));
        }
        Ok(record)
    }

    /// Whole or not at all.
    fn write(&self, dir: &Path) -> Result<(), DevnetFault> {
        let path = dir.join(RECORD_FILE);
        let text = serde_json::to_vec_pretty(self).map_err(|error| DevnetFault::Genesis(error.to_string()))?;
        let part = dir.join(RECORD_PART);
        std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, &path)).map_err(io(&path))
    }
}

impl Devnet {
    /// The devnet that lies in a folder.
    pub fn open(dir: &Path) -> Result<Self, DevnetFault> {
        let dir = std::path::absolute(dir).map_err(io(dir))?;
        let record = Record::read(&dir)?;
        let genesis = setup::read_genesis(&dir.join("genesis.json"))?;
        Ok(Self { dir, record, genesis, claims: Claims::default() })
    }

    /// What lies here is what is asked for.
    fn require(&self, plan: &Plan<'_>) -> Result<(), DevnetFault> {
        let differs = |have, flag, wanted| DevnetFault::Differs { dir: self.dir.clone(), have, flag, wanted };
        let founders = self.genesis.set.members.len();
        let base = self.record.seats.first().map_or(0, |seat| seat.api.port());
        match (plan.agencies, plan.base_port) {
            (Some(wanted), _) if wanted != founders => {
                return Err(differs(format!("{founders} agencies"), "agencies", wanted.to_string()));
            }
            (_, Some(wanted)) if wanted != base => {
                return Err(differs(format!("base port {base}"), "base-port", wanted.to_string()));
            }
            _ => {}
        }
        let document = &self.genesis.document;
        for (wanted, have) in [(&plan.consensus, &document.consensus), (&plan.rules, &document.rules)] {
            if let Some((name, value)) = wanted.0.iter().find(|(name, value)| have.0.get(*name) != Some(value)) {
                return Err(differs(format!("another {name}"), "set", format!("{name}={value}")));
            }
        }
        Ok(())
    }

    pub fn genesis_file(&self) -> PathBuf {
        self.dir.join("genesis.json")
    }

    /// For the client: network, nodes, keys.
    pub fn context_file(&self) -> PathBuf {
        self.dir.join("context.toml")
    }

    fn node_dir(&self, seat: &Seat) -> PathBuf {
        node_dir(&self.dir, seat)
    }

    pub fn config_file(&self, seat: &Seat) -> PathBuf {
        self.node_dir(seat).join("node.toml")
    }

    pub fn log_file(&self, seat: &Seat) -> PathBuf {
        process::log_file(&self.node_dir(seat))
    }

    /// How each node is doing.
    pub fn status(&self) -> Vec<SeatStatus> {
        self.record.seats.iter().map(|seat| self.seat_status(seat)).collect()
    }

    fn seat_status(&self, seat: &Seat) -> SeatStatus {
        let pid = process::running(&self.node_dir(seat));
        let state = if pid.is_some() { self.state(seat) } else { "stopped".to_owned() };
        let height = || probe::get_json(seat.api, "/api/v1/status").ok()?.get("height").and_then(Value::as_u64);
        let height = pid.and_then(|_| height());
        SeatStatus { agency_id: seat.agency_id.clone(), pid, state, height }
    }

    /// Waits until all of these are ready at the same time: one that was, while others were not, may not be any more.
    fn wait_ready(&self, wanted: &[Seat], started: &Started) -> Result<(), DevnetFault> {
        let not_ready = |seat: &Seat, what: &str| DevnetFault::NotReady {
            agency: seat.agency_id.clone(),
            reason: format!(
                "{what}; its log {} ends: {}",
                self.log_file(seat).display(),
                process::last_words(&self.node_dir(seat))
            ),
        };
        let mut first = 0;
        loop {
            if let Some(seat) = wanted.iter().find(|seat| process::running(&self.node_dir(seat)).is_none()) {
                return Err(not_ready(seat, "the node ended"));
            }
            // Whoever was not ready is asked first, so that the others are left in peace until it is.
            let round = wanted.iter().enumerate().cycle().skip(first).take(wanted.len());
            let mut waiting = round.filter_map(|(place, seat)| Some((place, seat, self.waits_for(seat)?)));
            let Some((place, seat, state)) = waiting.next() else { return Ok(()) };
            if started.elapsed_ms() > READY_LIMIT_MS {
                let others: Vec<&str> = waiting.map(|(_, seat, _)| seat.agency_id.as_str()).collect();
                let others =
                    if others.is_empty() { String::new() } else { format!(" (nor are {} ready)", others.join(", ")) };
                return Err(not_ready(seat, &format!("the node is {state} after a minute{others}")));
            }
            first = place;
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// What a running node says of itself; until it answers it is starting. Somebody else's process may answer at a port
    /// that this node was to have.
    fn state(&self, seat: &Seat) -> String {
        let state = match probe::get(seat.ops, "/readyz") {
            Ok((_, body)) => String::from_utf8_lossy(&body).split_whitespace().next().map(str::to_owned),
            Err(_) => None,
        };
        match state {
            Some(state) if state != "ready" || self.own_status(seat).is_some() => state,
            Some(_) | None => "starting".to_owned(),
        }
    }

    /// What this very node answers.
    fn own_status(&self, seat: &Seat) -> Option<Value> {
        let status = probe::get_json(seat.api, "/api/v1/status").ok()?;
        let says = |name: &str, value: &str| status.get(name).and_then(Value::as_str) == Some(value);
        (says("origin", &self.genesis.origin) && says("agency_id", &seat.agency_id)).then_some(status)
    }

    /// The state of a node for which `up` has to wait. Whoever was added and has no seat yet only has to run: the others may
    /// not have read of it yet.
    fn waits_for(&self, seat: &Seat) -> Option<String> {
        let state = self.state(seat);
        let is_added = self.genesis.set.index_of(&seat.agency_id).is_none();
        let has_no_seat = || self.own_status(seat).is_some_and(|status| status.get("seat").is_some_and(Value::is_null));
        (state != "ready" && !(is_added && has_no_seat())).then_some(state)
    }
}

fn node_dir(dir: &Path, seat: &Seat) -> PathBuf {
    dir.join("nodes").join(&seat.agency_id)
}

/// Stops the nodes of a devnet; how many ran.
fn stop(dir: &Path, record: &Record) -> Result<usize, DevnetFault> {
    let folders: Vec<PathBuf> = record.seats.iter().map(|seat| node_dir(dir, seat)).collect();
    let running: Vec<(&PathBuf, u32)> =
        folders.iter().filter_map(|folder| Some((folder, process::running(folder)?))).collect();
    for (folder, pid) in &running {
        process::ask_to_stop(*pid).map_err(io(folder))?;
    }
    let started = Started::now();
    for (folder, pid) in &running {
        while process::running(folder).is_some() {
            if started.elapsed_ms() > STOP_LIMIT_MS {
                process::kill(*pid).map_err(io(folder))?;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
    for folder in &folders {
        process::forget(folder).map_err(io(folder))?;
    }
    Ok(running.len())
}

/// Removes what `up` made, as much of it as is there; the folder itself only if nothing else lies in it.
fn delete(dir: &Path) -> Result<(), DevnetFault> {
    let gone = |path: &Path, removed: std::io::Result<()>| match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    };
    for folder in ["nodes", "keys", RECOVERY_FOLDER] {
        let path = dir.join(folder);
        gone(&path, std::fs::remove_dir_all(&path))?;
    }
    // What marks the folder goes last, so that an interrupted deletion can be repeated.
    let files = ["genesis-proofs.json", "seeds.toml", "context.toml", "genesis.json", RECORD_PART];
    for file in files.into_iter().chain([RECORD_FILE, BEGUN_FILE]) {
        let path = dir.join(file);
        gone(&path, std::fs::remove_file(&path))?;
    }
    match std::fs::remove_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => gone(dir, removed),
    }
}
