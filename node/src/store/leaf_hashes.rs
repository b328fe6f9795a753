//! Leaf hashes of a large state tree on disk, [`GROUP`] to a record. A block changes single hashes all over the tree, so
//! it writes only those, as merge operands; RocksDB folds them into their groups when it reads and compacts. That is a
//! tenth of the bytes that whole groups would take. Those of a small state are in memory only: they follow from its
//! leaves, which are read at start anyway.

use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::state::tree::TreeUpdate;
use rocksdb::{ColumnFamily, MergeOperands, Options, WriteBatch};

use super::fault::StoreFault;
use super::schema::GROUP;

/// slot u8 ‖ hash.
const ITEM: usize = 33;
const SLOTS: usize = 16;
/// Operands on one group in memory before RocksDB folds them at once: groups of busy leaves stay cheap to read.
const MAX_OPERANDS: usize = 8;

type Slots = [Option<Hash>; SLOTS];

/// Teaches a column to fold operands into groups.
pub(super) fn configure(options: &mut Options) {
    options.set_merge_operator_associative("leaf hashes", fold);
    options.set_max_successive_merges(MAX_OPERANDS);
}

/// Later items replace earlier ones of the same slot. None, hence corruption, if a byte is out of place.
fn fold(_: &[u8], existing: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let mut slots: Slots = [None; SLOTS];
    for items in existing.into_iter().chain(operands) {
        read_into(items, &mut slots)?;
    }
    let mut folded = Vec::with_capacity(ITEM * SLOTS);
    for (slot, hash) in (0u8..).zip(slots) {
        if let Some(hash) = hash {
            put_item(&mut folded, slot, &hash);
        }
    }
    Some(folded)
}

fn read_into(items: &[u8], slots: &mut Slots) -> Option<()> {
    let (items, rest) = items.as_chunks::<ITEM>();
    if !rest.is_empty() {
        return None;
    }
    for [slot, hash @ ..] in items {
        *slots.get_mut(usize::from(*slot))? = Some(*hash);
    }
    Some(())
}

fn put_item(target: &mut Vec<u8>, slot: u8, hash: &Hash) {
    target.push(slot);
    target.extend_from_slice(hash);
}

/// A whole group, or the last of a tree.
pub(super) fn encode(hashes: &[Hash]) -> Vec<u8> {
    let mut items = Vec::with_capacity(ITEM * hashes.len());
    for (slot, hash) in (0u8..).zip(hashes) {
        put_item(&mut items, slot, hash);
    }
    items
}

/// The hashes of a group in order; only the last group of a tree has fewer than [`GROUP`].
pub(super) fn decode(group: u64, bytes: &[u8]) -> Result<Vec<Hash>, StoreFault> {
    let corrupt = |reason: &str| StoreFault::corrupt(format!("leaf hash group {group}"), reason);
    let mut slots: Slots = [None; SLOTS];
    read_into(bytes, &mut slots).ok_or_else(|| corrupt("it is malformed"))?;
    let hashes: Vec<Hash> = slots.iter().map_while(|hash| *hash).collect();
    if hashes.is_empty() || hashes.len() * ITEM != bytes.len() {
        return Err(corrupt("it has a gap"));
    }
    Ok(hashes)
}

/// The hash in one slot of a group.
pub(super) fn find(items: &[u8], slot: u8) -> Option<Hash> {
    let (items, _) = items.as_chunks::<ITEM>();
    items.iter().find(|[here, ..]| *here == slot).map(|[_, hash @ ..]| *hash)
}

/// Writes the leaf hashes that a block changed in a tree that had `size` leaves before.
pub(super) fn write(tree: &TreeUpdate, size: u64, column: &ColumnFamily, batch: &mut WriteBatch) {
    let mut changed = tree.leaf_hashes().peekable();
    while let Some((first, _)) = changed.peek() {
        let group = first / GROUP;
        let mut items = Vec::with_capacity(ITEM);
        while let Some((index, hash)) = changed.next_if(|(index, _)| index / GROUP == group) {
            put_item(&mut items, u8::try_from(index % GROUP).expect("below GROUP"), &hash);
        }
        let is_new = group * GROUP >= size;
        if is_new || items.len() == ITEM * SLOTS {
            batch.put_cf(column, group.to_be_bytes(), items);
        } else {
            batch.merge_cf(column, group.to_be_bytes(), items);
        }
    }
}

/// Writes all leaf hashes of a tree: of a state that ceases to be small.
pub(super) fn write_all(hashes: &[Hash], column: &ColumnFamily, batch: &mut WriteBatch) {
    for (group, hashes) in (0u64..).zip(hashes.chunks(SLOTS)) {
        batch.put_cf(column, group.to_be_bytes(), encode(hashes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_its_items_without_a_gap() {
        let item = |slot: u8, byte: u8| [&[slot][..], &[byte; 32]].concat();
        let group = [item(0, 5), item(1, 6)].concat();
        assert_eq!(decode(0, &group), Ok(vec![[5; 32], [6; 32]]));
        for wrong in [Vec::new(), item(1, 5), [item(0, 5), item(2, 6)].concat(), item(16, 5), group[..40].to_vec()] {
            assert!(decode(0, &wrong).is_err(), "{wrong:?}");
        }
    }
}
