//! A file system of its own, small enough to fill in a moment. Which node lies on it is the tests' matter.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use mingzhang_node::store::disk::Space;

/// Room for the database and what it allocates ahead.
const DISK_SIZE: &str = "256m";
const BLOCK_BYTES: usize = 64 * 1024;

/// A file system of its own in a folder, and the file that fills it.
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// None where this user may not mount.
    pub fn mount(at: &Path) -> Option<Self> {
        let size = format!("size={DISK_SIZE}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", size.as_str(), "mingzhang-full-disk"]).arg(at);
        let mounted = command.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self { at: at.to_owned() })
    }

    fn space(&self) -> Space {
        Space::of(&self.at).expect("the disk is mounted")
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// Writes until less than a share is free, or until nothing more can be written.
    pub fn fill(&self, below_per_mille: u64) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).expect("a file");
        while self.space().free_per_mille() >= below_per_mille && file.write_all(&[1; BLOCK_BYTES]).is_ok() {}
    }

    pub fn fill_up(&self) {
        self.fill(0);
        assert_eq!(self.space().free_bytes, 0, "nothing is free");
    }

    pub fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast is removed");
    }
}

/// Moves what a stopped node keeps in a folder onto a disk of its own; the folder's earlier files lie in `kept`. None where
/// this user may not mount: then nothing has moved.
pub fn move_to_small_disk(data: &Path, kept: &Path) -> Option<SmallDisk> {
    std::fs::rename(data, kept).expect("the data is put aside");
    std::fs::create_dir(data).expect("an empty folder");
    let Some(disk) = SmallDisk::mount(data) else {
        std::fs::remove_dir(data).expect("it is empty");
        std::fs::rename(kept, data).expect("the data is put back");
        return None;
    };
    copy_files(kept, data);
    Some(disk)
}

/// Copies the files of a folder that has no folders in it.
pub fn copy_files(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).expect("a folder") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because after a failure the node may still run on it.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.at).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.at.display());
        }
    }
}
