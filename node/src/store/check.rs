//! `store check`: computes log root, state root and every trail again from what is stored, and names the first thing
//! that differs. Reads only. Whether the entries are right is `replay`'s question, not this one.

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::entry::{self, Entry};
use mingzhang_ledger::merkle::{Frontier, leaf_hash};
use mingzhang_ledger::state::key::Key;
use mingzhang_ledger::state::trail_entry;
use mingzhang_ledger::state::tree::SENTINEL;

use super::Store;
use super::documents::cited;
use super::fault::StoreFault;
use super::schema::Column;
use super::view::{View, decode, in_order};

/// Leaf hashes that are held in memory at a time.
const HASHES_AT_ONCE: u64 = 65_536;

/// What a check that found nothing wrong went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    pub height: u64,
    pub entries: u64,
    pub leaves: u64,
    pub trails: u64,
    pub trail_entries: u64,
    /// Citations in the index of documents.
    pub citations: u64,
}

impl Store {
    /// Recomputes everything that the tip commits to. `Corrupt` names what differs.
    pub fn check(&self) -> Result<Checked, StoreFault> {
        let view = self.view()?;
        let mut checked = Checked { height: view.tip().height, ..Checked::default() };
        // A node that took over a state holds the log from there on only; that edge was checked when it was opened.
        if self.base() == 0 {
            check_log(&view, &mut checked)?;
        }
        let indexed = view.check_documents()?;
        if self.base() == 0 && indexed != checked.citations {
            let reason = format!("{indexed} of {} citations are there", checked.citations);
            return Err(StoreFault::corrupt("the index of documents", reason));
        }
        check_state(&view, &mut checked)?;
        Ok(checked)
    }
}

/// Every entry against its stored hash, every header against the log before it and the header before it.
fn check_log(view: &View<'_>, checked: &mut Checked) -> Result<(), StoreFault> {
    let mut log = Frontier::default();
    let mut parent = entry::genesis_id(&view.store().genesis_hash());
    let mut next_height = 1;
    for item in view.scan(Column::Entries, &0u64.to_be_bytes()) {
        let (key, bytes) = item?;
        let index = log.size();
        if key[..] != index.to_be_bytes() {
            return Err(StoreFault::corrupt(format!("log entry {index}"), "it is missing"));
        }
        let hash = leaf_hash(&bytes);
        if view.log().hashes(0, index, 1)? != [hash] {
            return Err(StoreFault::corrupt(format!("log entry {index}"), "its hash is not the stored one"));
        }
        let decoded =
            Entry::decode(&bytes).map_err(|error| StoreFault::corrupt(format!("log entry {index}"), error))?;
        match decoded {
            Entry::Genesis { .. } => {}
            Entry::Record { transaction, .. } => {
                check_location(view, index, next_height, &transaction.id())?;
                checked.citations += u64::try_from(cited(&transaction, index).len()).unwrap_or(0);
            }
            Entry::Header(header) => {
                let agrees = header.height == next_height
                    && header.log_root == log.root()
                    && header.own_index() == index
                    && header.parent == parent
                    && view.header(next_height)? == Some(header);
                if !agrees {
                    return Err(StoreFault::corrupt(format!("header {next_height}"), "it does not fit the log"));
                }
                (parent, next_height) = (hash, next_height + 1);
            }
        }
        log.append(hash);
        checked.entries += 1;
    }
    if log.root() != view.tip().tree_root() || next_height != view.tip().height + 1 {
        return Err(StoreFault::corrupt("the log", "its root is not the tip's"));
    }
    Ok(())
}

fn check_location(view: &View<'_>, index: u64, height: u64, id: &Hash) -> Result<(), StoreFault> {
    match view.location(id)? {
        Some(location) if (location.index, location.height) == (index, height) => Ok(()),
        Some(_) | None => Err(StoreFault::corrupt(format!("index of transaction {}", hex::encode(id)), "it is wrong")),
    }
}

/// Every leaf, with the key behind it, against its hash in the tree, every trail against its leaf, all hashes against the
/// root.
fn check_state(view: &View<'_>, checked: &mut Checked) -> Result<(), StoreFault> {
    for item in in_order(view.scan(Column::Leaves, &SENTINEL)) {
        let (key, next, bytes) = item?;
        let leaf = decode(&key, &next, &bytes)?;
        if view.state_node(0, leaf.index)? != leaf.hash() {
            let reason = "its hash is not the one in the tree: its value or the key behind it is another";
            return Err(StoreFault::corrupt(format!("state leaf {}", hex::encode(key)), reason));
        }
        if let Some(trail) = leaf.stored.trail.as_ref().filter(|_| view.store().base() == 0) {
            check_trail(view, &key, trail, checked)?;
        }
        checked.leaves += 1;
    }
    // Leaf by leaf they are those of the tree: what remains are the hashes above them.
    let mut tree = Frontier::default();
    while tree.size() < checked.leaves {
        let hashes = view.leaf_hashes(tree.size(), HASHES_AT_ONCE)?;
        if hashes.is_empty() {
            break;
        }
        hashes.into_iter().for_each(|hash| tree.append(hash));
    }
    let tip = view.tip();
    if checked.leaves != tip.state_size || tree.root() != tip.state_root {
        return Err(StoreFault::corrupt("the state tree", "its size or root is not the tip's"));
    }
    Ok(())
}

fn check_trail(view: &View<'_>, key: &Key, trail: &Frontier, checked: &mut Checked) -> Result<(), StoreFault> {
    let mut found = Frontier::default();
    loop {
        let indices = view.trail_indices(key, found.size(), usize::MAX)?;
        if indices.is_empty() {
            break;
        }
        for index in indices {
            let hash = view.log().hashes(0, index, 1)?[0];
            found.append(leaf_hash(&trail_entry(index, &hash)));
        }
    }
    if found != *trail {
        return Err(StoreFault::corrupt(format!("trail of {}", hex::encode(key)), "it does not lead to its root"));
    }
    checked.trails += 1;
    checked.trail_entries += found.size();
    Ok(())
}
