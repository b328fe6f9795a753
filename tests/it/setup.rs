//! The set-up of a machine that lacks something: it names the packages in one sentence and stops with status 2, or installs
//! them where it may. The system's own commands are hidden by a search path that holds only what the test puts there.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the script itself needs of any system.
const ALWAYS_THERE: [&str; 2] = ["bash", "dirname"];

/// A folder that stands for everything a machine has installed.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    /// With rustup, and with these commands; `id` answers with the user's number.
    fn with(commands: &[&str], user: u32) -> Self {
        let machine = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        for name in ALWAYS_THERE {
            symlink(found(name), machine.path(name)).expect("a link");
        }
        machine.script("id", &format!("echo {user}"));
        machine.script("cargo", "exit 0");
        commands.iter().for_each(|name| machine.script(name, "exit 0"));
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), format!("#!/bin/sh\n{text}\n")).expect("written");
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755)).expect("own file");
    }

    /// Certificates and libclang count as installed.
    fn set_up(&self) -> (Option<i32>, String) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let output = Command::new(self.path("bash"))
            .arg(root.join("scripts/setup"))
            .env_clear()
            .env("PATH", self.folder.path())
            .env("HOME", self.folder.path())
            .env("SSL_CERT_FILE", "certificates")
            .env("LIBCLANG_PATH", "libclang")
            .output();
        let Output { status, stderr, .. } = output.expect("bash can be run");
        (status.code(), String::from_utf8_lossy(&stderr).trim().to_owned())
    }
}

/// Where this machine has a command.
fn found(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("a search path");
    let mut candidates = std::env::split_paths(&path).map(|folder| folder.join(name));
    candidates.find(|file| file.is_file()).unwrap_or_else(|| panic!("{name} is on no search path"))
}

#[test]
fn without_root_the_packages_are_named() {
    let sentence = "setup: these packages are missing; run: sudo apt-get install gcc g++";
    let told = Machine::with(&["make", "apt-get"], 1000).set_up();
    assert_eq!(told, (Some(2), sentence.to_owned()));
    // Root of a system without apt-get is told the same.
    assert_eq!(Machine::with(&["make"], 0).set_up(), (Some(2), sentence.to_owned()));
}

#[test]
fn without_rustup_nothing_else_is_asked_for() {
    let machine = Machine::with(&[], 1000);
    std::fs::remove_file(machine.path("cargo")).expect("removed");
    let (exit, told) = machine.set_up();
    assert_eq!((exit, told.as_str()), (Some(2), "setup: cargo is missing: install rustup first (https://rustup.rs)"));
}

#[test]
fn root_installs_what_is_missing_and_hears_why_it_cannot() {
    let machine = Machine::with(&["gcc", "make"], 0);
    machine.script("apt-get", "echo 'E: no network' >&2; exit 100");
    let (exit, told) = machine.set_up();
    let lines: Vec<&str> = told.lines().collect();
    let expected =
        ["setup: installing g++", "E: no network", "setup: apt-get could not install g++; its answer is above"];
    assert_eq!((exit, lines), (Some(2), expected.to_vec()));
}
