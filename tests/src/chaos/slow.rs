//! Two ways to make a process slow: to stop it nine tenths of the time, and to let it write only now and then. Both end when
//! dropped.

use std::os::linux::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A tenth of each period the process runs.
const RUNS: Duration = Duration::from_millis(10);
const STANDS: Duration = Duration::from_millis(90);
const WRITES_PER_SECOND: u32 = 20;
/// Where the first version of control groups limits writes; there, the writes of a sync are the process's own.
const CONTROLLER: &str = "/sys/fs/cgroup/blkio";

/// A process that runs a tenth of the time.
pub struct Slowed {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Slowed {
    pub fn begin(process: u32) -> Self {
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process id");
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let send = |signal| kill_process(pid, signal).expect("the slowed process is there");
            while !told.load(Ordering::Relaxed) {
                send(Signal::STOP);
                std::thread::sleep(STANDS);
                send(Signal::CONT);
                std::thread::sleep(RUNS);
            }
        });
        Self { ends, thread: Some(thread) }
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the slowed process ended while it was slow");
        }
    }
}

/// A process whose writes to the disk of a folder are limited.
pub struct SlowDisk {
    group: PathBuf,
    process: u32,
}

impl SlowDisk {
    /// None where the system does not let this user limit writes.
    pub fn begin(process: u32, folder: &Path) -> Option<Self> {
        let device = folder.metadata().ok()?.st_dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let group = Path::new(CONTROLLER).join(format!("mingzhang-chaos-{process}"));
        std::fs::create_dir(&group).ok()?;
        let slow = Self { group, process };
        let limit = format!("{major}:{minor} {WRITES_PER_SECOND}");
        std::fs::write(slow.group.join("blkio.throttle.write_iops_device"), limit).ok()?;
        std::fs::write(slow.group.join("cgroup.procs"), process.to_string()).ok()?;
        Some(slow)
    }

    /// How many writes were made under the limit.
    pub fn writes(&self) -> u64 {
        let text = std::fs::read_to_string(self.group.join("blkio.throttle.io_serviced")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(" Write "));
        lines.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        let back = std::fs::write(Path::new(CONTROLLER).join("cgroup.procs"), self.process.to_string());
        if back.and_then(|()| std::fs::remove_dir(&self.group)).is_err() {
            eprintln!("{} is still there", self.group.display());
        }
    }
}
