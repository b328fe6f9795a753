//! The nodes' processes: started apart from this one, found again by process id and start time, so that nothing else
//! is ever stopped.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// How much of the end of a log is shown when a node did not start.
const LAST_WORDS_CHARACTERS: usize = 400;

/// Which process a node is. A process id is used again; with its start time it is not.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    pid: u32,
    /// Clock ticks after the machine's start.
    start_ticks: u64,
}

pub fn log_file(folder: &Path) -> PathBuf {
    folder.join("node.log")
}

fn identity_file(folder: &Path) -> PathBuf {
    folder.join("process.json")
}

/// Starts the node whose folder this is. It outlives this process, in a process group of its own.
pub fn start(folder: &Path) -> io::Result<()> {
    let log = File::options().create(true).append(true).open(log_file(folder))?;
    let child = Command::new(std::env::current_exe()?)
        .args(["--no-input", "--lang", "en", "run", "--config"])
        .arg(folder.join("node.toml"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let pid = child.id();
    // A node that ended at once is seen as not running.
    let start_ticks = start_ticks(pid).unwrap_or_default();
    let text = serde_json::to_string(&Identity { pid, start_ticks })?;
    std::fs::write(identity_file(folder), text)
}

/// The process id, if that very process still runs.
pub fn running(folder: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(identity_file(folder)).ok()?;
    let identity: Identity = serde_json::from_str(&text).ok()?;
    (start_ticks(identity.pid)? == identity.start_ticks).then_some(identity.pid)
}

/// Start time of a process that is alive.
fn start_ticks(pid: u32) -> Option<u64> {
    parse_start_ticks(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 3 is the state, field 20 how many threads there are, field 22 the start time; field 2, the name, may hold spaces
/// and parentheses. A killed process whose first thread has ended while others have not still holds ports and locks.
fn parse_start_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let threads: u64 = fields.get(17)?.parse().ok()?;
    let ended = matches!(*fields.first()?, "Z" | "X") && threads <= 1;
    let ticks = fields.get(19)?.parse().ok()?;
    (!ended).then_some(ticks)
}

pub fn ask_to_stop(pid: u32) -> io::Result<()> {
    signal(pid, Signal::TERM)
}

pub fn kill(pid: u32) -> io::Result<()> {
    signal(pid, Signal::KILL)
}

fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    match kill_process(pid, signal) {
        // It ended by itself in between.
        Err(rustix::io::Errno::SRCH) => Ok(()),
        result => Ok(result?),
    }
}

/// Forgets a process that has ended.
pub fn forget(folder: &Path) -> io::Result<()> {
    match std::fs::remove_file(identity_file(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The end of a node's log, on one line.
pub fn last_words(folder: &Path) -> String {
    let log = std::fs::read(log_file(folder)).unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let skip = line.chars().count().saturating_sub(LAST_WORDS_CHARACTERS);
    line.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(running(folder.path()), None);
        let pid = std::process::id();
        let start_ticks = start_ticks(pid).expect("this process runs");
        let write = |identity: &Identity| {
            let text = serde_json::to_string(identity).expect("numbers have a JSON form");
            std::fs::write(identity_file(folder.path()), text).expect("written");
        };
        write(&Identity { pid, start_ticks });
        assert_eq!(running(folder.path()), Some(pid));
        write(&Identity { pid, start_ticks: start_ticks + 1 });
        assert_eq!(running(folder.path()), None);
        forget(folder.path()).expect("forgotten");
        forget(folder.path()).expect("forgotten twice");
    }

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let stat = |state, threads| format!("7 (a) b (c) {state} 1 {} {threads} 0 4242 0", ["0"; 15].join(" "));
        assert_eq!(parse_start_ticks(&stat("S", 12)), Some(4242));
        assert_eq!(parse_start_ticks(&stat("Z", 1)), None);
        assert_eq!(parse_start_ticks(&stat("Z", 2)), Some(4242), "a thread still holds the ports");
        assert_eq!(parse_start_ticks("7 (a"), None);
    }
}
