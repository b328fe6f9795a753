//! The list of addresses while the node runs: read again when the members change, and looked at in between, so that a
//! mistake in it is said while its author remembers it. What could be read last stays in use.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use mingzhang_ledger::authority::Member;
use mingzhang_seeds::Seeds;

use crate::setup::{self, SetupFault};

/// The file and what was read of it.
pub struct Addresses {
    path: PathBuf,
    /// A network of one node may have no list.
    may_be_absent: bool,
    held: Mutex<Held>,
}

struct Held {
    list: Seeds,
    /// Whom the list should name: the members, and those who are about to join or to change their keys.
    members: Vec<Member>,
    alarm: Option<String>,
}

impl Addresses {
    /// `list` was read from there when the node started.
    pub fn new(path: PathBuf, list: Seeds) -> Self {
        let may_be_absent = list.peers.is_empty();
        Self { path, may_be_absent, held: Mutex::new(Held { list, members: Vec::new(), alarm: None }) }
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
        let alarm = match read {
            Ok(list) => {
                held.list = list;
                let outdated = held.list.outdated(&held.members);
                let (path, say) = (self.path.display(), "put the newer key there, unless this node is still behind");
                outdated.map(|fault| format!("MZ-5016: {path}: {fault}; {say}"))
            }
            Err(SetupFault::Unreadable { error, .. })
                if self.may_be_absent && error.kind() == std::io::ErrorKind::NotFound =>
            {
                None
            }
            Err(fault) => Some(format!("{}: {fault}; what was read before stays in use", fault.code())),
        };
        // A parser draws its reason over several lines.
        let alarm = alarm.map(|alarm| alarm.split_whitespace().collect::<Vec<_>>().join(" "));
        if alarm == held.alarm {
            return;
        }
        match &alarm {
            Some(alarm) => tracing::warn!("{alarm}"),
            None => tracing::info!("the list of addresses is good again"),
        }
        held.alarm = alarm;
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
        let addresses = Addresses::new(path.clone(), list.clone());
        addresses.expect(genesis.set.members.clone());
        assert_eq!((addresses.read(), addresses.alarm()), (list.clone(), None));
        write("peers = 3");
        assert_eq!(addresses.read(), list);
        let alarm = addresses.alarm().expect("an alarm");
        assert!(alarm.starts_with("MZ-5016: ") && alarm.contains("stays in use"), "{alarm}");
        std::fs::remove_file(&path).expect("removed");
        addresses.look();
        assert!(addresses.alarm().is_some_and(|alarm| alarm.starts_with("MZ-2011: ")), "a file that is gone");
        let mut shorter = list.clone();
        shorter.peers.truncate(3);
        write(&shorter.to_text());
        assert_eq!((addresses.read(), addresses.alarm()), (shorter.clone(), None));
        let mut members = genesis.set.members.clone();
        members[0].peer_key = members[1].consensus_key;
        addresses.expect(members);
        addresses.look();
        let alarm = addresses.alarm().expect("an alarm");
        assert!(alarm.starts_with("MZ-5016: ") && alarm.contains("peer_key of finance"), "{alarm}");
        assert_eq!(addresses.read(), shorter, "of use for the others");
    }
}
