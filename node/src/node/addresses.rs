//! The list of addresses while the node runs: read again when the members change, and looked at in between, so that what
//! is changed in it holds without a restart, and a mistake is said while its author remembers it. What could be read last
//! stays in use.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use mingzhang_ledger::authority::{AuthoritySet, Member};
use mingzhang_seeds::{Seeds, SeedsFault};
use tokio::sync::watch;

use crate::setup::{self, SetupFault};

/// The file and what was read of it.
pub struct Addresses {
    path: PathBuf,
    /// A network of one node may have no list.
    may_be_absent: bool,
    held: Mutex<Held>,
    changed: watch::Sender<()>,
}

struct Held {
    list: Seeds,
    /// Whom the list should name: the members, and those who are about to join or to change their keys.
    members: Vec<Member>,
    alarm: Option<String>,
    /// What the log said of it: with what stands in the file, which is the operator's alone.
    told: Option<String>,
}

impl Addresses {
    /// `list` was read from there when the node started, and should name the members of this set.
    pub fn new(path: PathBuf, list: Seeds, set: &AuthoritySet) -> Self {
        let may_be_absent = list.peers.is_empty();
        let held = Held { list, members: set.members.clone(), alarm: None, told: None };
        Self { path, may_be_absent, held: Mutex::new(held), changed: watch::Sender::new(()) }
    }

    /// Tells whenever what was read differs from what was read before.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whom the list should name from now on.
    pub fn expect(&self, members: Vec<Member>) {
        self.lock().members = members;
    }

    /// What the file says now, or said when it could be read last.
    pub fn read(&self) -> Seeds {
        self.look();
        self.lock().list.clone()
    }

    /// Looks at the file; the log says when something becomes wrong with it, and when it is mended.
    pub fn look(&self) {
        let chain = self.lock().list.genesis_hash;
        let read = setup::read_list(&self.path, &chain);
        let mut held = self.lock();
        let (alarm, told) = match read {
            Ok(list) => {
                if list != held.list {
                    tracing::info!(peers = list.peers.len(), "the list of addresses has changed");
                    held.list = list;
                    self.changed.send_replace(());
                }
                let say = "correct the list, unless this node is still behind";
                let fault =
                    held.list.outdated(&held.members).map(|fault| SetupFault::Seeds { path: self.path.clone(), fault });
                (fault.as_ref().map(|fault| self.public(fault, say)), fault.map(|fault| fault.to_string()))
            }
            // One member needs nobody's address.
            Err(SetupFault::Unreadable { error, .. })
                if self.may_be_absent && held.members.len() <= 1 && error.kind() == std::io::ErrorKind::NotFound =>
            {
                (None, None)
            }
            Err(fault) => (Some(self.public(&fault, "what was read before stays in use")), Some(fault.to_string())),
        };
        if (&alarm, &told) == (&held.alarm, &held.told) {
            return;
        }
        match (&alarm, &told) {
            (Some(alarm), Some(told)) => tracing::warn!(told, "{alarm}"),
            _ => tracing::info!("the list of addresses is good again"),
        }
        (held.alarm, held.told) = (alarm, told);
    }

    /// What everybody may read of it in `status`: the file's name, the place, and what is public of the members anyway.
    fn public(&self, fault: &SetupFault, say: &str) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let what = match fault {
            SetupFault::Seeds { fault: SeedsFault::Toml { line, column, .. }, .. } => {
                format!("line {line}, column {column} cannot be read")
            }
            SetupFault::Seeds {
                fault:
                    fault @ (SeedsFault::OtherNetwork { .. }
                    | SeedsFault::OtherKey { .. }
                    | SeedsFault::NoAddress(_)
                    | SeedsFault::TooLarge(_)),
                ..
            } => fault.to_string(),
            SetupFault::Unreadable { error, .. } => error.kind().to_string(),
            _ => "a value in it does not hold, which one is in the log".to_owned(),
        };
        format!("{}: {name}: {what}; {say}", fault.code())
    }

    /// What is wrong with the list, while it is.
    pub fn alarm(&self) -> Option<String> {
        self.lock().alarm.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{free_ports, genesis, seeds};

    #[test]
    fn a_mistake_is_told_until_it_is_mended_and_what_was_read_stays_in_use() {
        let (genesis, folder) = (genesis(), tempfile::tempdir().expect("a folder"));
        let path = folder.path().join("seeds.toml");
        let list = seeds(&genesis, &free_ports(4));
        let write = |text: &str| std::fs::write(&path, text).expect("written");
        write(&list.to_text());
        let addresses = Addresses::new(path.clone(), list.clone(), &genesis.set);
        assert_eq!((addresses.read(), addresses.alarm()), (list.clone(), None));
        write("peers = 3 # of the office, 2nd floor");
        assert_eq!(addresses.read(), list);
        let alarm = addresses.alarm().expect("an alarm");
        assert!(alarm.starts_with("MZ-5016: seeds.toml: line 1, column ") && alarm.contains("stays in use"), "{alarm}");
        assert!(!alarm.contains("floor") && !alarm.contains('/'), "everybody reads it: {alarm}");
        std::fs::remove_file(&path).expect("removed");
        addresses.look();
        assert!(addresses.alarm().is_some_and(|alarm| alarm.starts_with("MZ-2011: ")), "a file that is gone");
        let mut shorter = list.clone();
        shorter.peers.truncate(3);
        let changes = addresses.changes();
        write(&list.to_text());
        addresses.look();
        assert!(!changes.has_changed().expect("it lives"), "the same as before");
        write(&shorter.to_text());
        assert_eq!(addresses.read(), shorter);
        assert!(changes.has_changed().expect("it lives"));
        assert!(addresses.alarm().is_some_and(|alarm| alarm.contains("no address of")), "a member is not named");
        write("genesis_hash = \"sha256:0\"");
        addresses.look();
        assert!(addresses.alarm().is_some_and(|alarm| alarm.contains("in the log")), "a value that does not hold");
        write(&shorter.to_text());
        let mut members = genesis.set.members.clone();
        members[0].peer_key = members[1].consensus_key;
        addresses.expect(members);
        addresses.look();
        let alarm = addresses.alarm().expect("an alarm");
        assert!(alarm.starts_with("MZ-5016: ") && alarm.contains("peer_key of finance"), "{alarm}");
        assert_eq!(addresses.read(), shorter, "of use for the others");
    }
}
