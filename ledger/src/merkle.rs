//! The one shape of tree: RFC 6962 over SHA-256. Append through a frontier, roots, inclusion and consistency proofs
//! and their verification (RFC 9162 section 2.1.3 and 2.1.4). Where hashes are kept is the caller's matter.

use thiserror::Error;

use crate::crypto::{Hash, sha256};

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofFault {
    #[error("index {index} is not below size {size}")]
    Index { index: u64, size: u64 },
    #[error("the path has the wrong length")]
    Length,
    #[error("the path does not reach the root")]
    Root,
}

/// SHA-256(0x00 ‖ entry).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry])
}

/// SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// Root of the empty tree: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// The right edge of a tree: the roots of its perfect subtrees, largest first. Enough to append and to form the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// From stored parts; the number of peaks must be the number of one bits of `size`.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        let expected = usize::try_from(size.count_ones()).ok()?;
        (peaks.len() == expected).then_some(Self { size, peaks })
    }

    pub fn of(leaf_hashes: impl IntoIterator<Item = Hash>) -> Self {
        let mut frontier = Self::default();
        for leaf in leaf_hashes {
            frontier.append(leaf);
        }
        frontier
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    pub fn append(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size = self.size.saturating_add(1);
    }

    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// Reads the hash of the perfect subtree with 2^level leaves that starts at leaf `index << level`. Asked only for
/// subtrees that are complete.
pub trait Nodes {
    type Error;
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// Hashes of leaves in memory; upper nodes are computed.
impl Nodes for [Hash] {
    type Error = ProofFault;
    fn node(&self, level: u32, index: u64) -> Result<Hash, ProofFault> {
        let fault = ProofFault::Index { index, size: u64::try_from(self.len()).unwrap_or(u64::MAX) };
        let width = 1u64.checked_shl(level).ok_or(fault)?;
        let start = index.checked_mul(width).ok_or(fault)?;
        let end = start.checked_add(width).ok_or(fault)?;
        let range = usize::try_from(start).map_err(|_| fault)?..usize::try_from(end).map_err(|_| fault)?;
        let leaves = self.get(range).ok_or(fault)?;
        Ok(Frontier::of(leaves.iter().copied()).root())
    }
}

/// Root of the leaves [start, end), an RFC 6962 subtree of a larger tree (start is aligned to its perfect parts).
pub fn subtree_root<N: Nodes + ?Sized>(nodes: &N, start: u64, end: u64) -> Result<Hash, N::Error> {
    let mut parts = Vec::new();
    let mut from = start;
    while from < end {
        let alignment = if from == 0 { 63 } else { from.trailing_zeros() };
        let level = alignment.min(end.saturating_sub(from).ilog2());
        let index = from.checked_shr(level).unwrap_or(0);
        parts.push(nodes.node(level, index)?);
        from = from.saturating_add(1u64.checked_shl(level).unwrap_or(u64::MAX));
    }
    let mut parts = parts.into_iter().rev();
    Ok(match parts.next() {
        None => empty_root(),
        Some(last) => parts.fold(last, |right, left| node_hash(&left, &right)),
    })
}

/// Largest power of two below `size` (size ≥ 2).
fn split(size: u64) -> u64 {
    1u64.checked_shl(size.saturating_sub(1).ilog2()).unwrap_or(0)
}

/// The inclusion path of leaf `index` in the tree of the first `size` leaves, leaf's sibling first.
/// `index` must be below `size`; the path of an index beyond it is empty.
pub fn inclusion_path<N: Nodes + ?Sized>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while index < end && end.saturating_sub(start) > 1 {
        let middle = start.saturating_add(split(end.saturating_sub(start)));
        if index < middle {
            path.push(subtree_root(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(subtree_root(nodes, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Root that `path` leads to from `leaf` at `index` in a tree of `size` leaves.
pub fn root_from_path(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Result<Hash, ProofFault> {
    if index >= size {
        return Err(ProofFault::Index { index, size });
    }
    let (mut node, mut position, mut last) = (leaf, index, size.saturating_sub(1));
    for sibling in path {
        if last == 0 {
            return Err(ProofFault::Length);
        }
        if position & 1 == 1 || position == last {
            node = node_hash(sibling, &node);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            node = node_hash(&node, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    if last == 0 { Ok(node) } else { Err(ProofFault::Length) }
}

/// Checks that `leaf` stands at `index` in the tree (size, root).
pub fn verify_inclusion(leaf: Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> Result<(), ProofFault> {
    if root_from_path(leaf, index, size, path)? == *root { Ok(()) } else { Err(ProofFault::Root) }
}

/// The consistency proof from the tree of the first `old` leaves to that of the first `new` leaves (0 < old ≤ new).
pub fn consistency_proof<N: Nodes + ?Sized>(nodes: &N, old: u64, new: u64) -> Result<Vec<Hash>, N::Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut start, mut end, mut complete) = (0u64, new, true);
    while old != end {
        let middle = start.saturating_add(split(end.saturating_sub(start)));
        if old <= middle {
            proof.push(subtree_root(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(subtree_root(nodes, start, middle)?);
            start = middle;
            complete = false;
        }
    }
    if !complete {
        proof.push(subtree_root(nodes, start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks a consistency proof between (old, old_root) and (new, new_root).
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofFault> {
    if old > new {
        return Err(ProofFault::Index { index: old, size: new });
    }
    if old == new {
        return match (proof.is_empty(), old_root == new_root) {
            (false, _) => Err(ProofFault::Length),
            (true, false) => Err(ProofFault::Root),
            (true, true) => Ok(()),
        };
    }
    if old == 0 {
        let whole = proof.is_empty() && *old_root == empty_root();
        return if whole { Ok(()) } else { Err(ProofFault::Root) };
    }
    let mut rest = proof.iter();
    let first = if old.is_power_of_two() { *old_root } else { *rest.next().ok_or(ProofFault::Length)? };
    let shift = old.saturating_sub(1).trailing_ones();
    let mut position = old.saturating_sub(1).checked_shr(shift).unwrap_or(0);
    let mut last = new.saturating_sub(1).checked_shr(shift).unwrap_or(0);
    let (mut old_node, mut new_node) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofFault::Length);
        }
        if position & 1 == 1 || position == last {
            old_node = node_hash(sibling, &old_node);
            new_node = node_hash(sibling, &new_node);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            new_node = node_hash(&new_node, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofFault::Length);
    }
    if old_node == *old_root && new_node == *new_root { Ok(()) } else { Err(ProofFault::Root) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    /// RFC 6962 section 2.1, word for word.
    fn definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node_hash(&definition(left), &definition(right))
            }
        }
    }

    #[test]
    fn known_roots() {
        assert_eq!(hex::encode(empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex::encode(leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn every_proof_of_small_trees_holds_and_no_other() {
        for size in 1..70u64 {
            let all = leaves(size);
            let root = definition(&all);
            assert_eq!(Frontier::of(all.iter().copied()).root(), root);
            assert_eq!(subtree_root(all.as_slice(), 0, size), Ok(root));
            for index in 0..size {
                let leaf = all[index as usize];
                let path = inclusion_path(all.as_slice(), index, size).expect("path");
                assert_eq!(verify_inclusion(leaf, index, size, &path, &root), Ok(()));
                for wrong in (0..size).filter(|wrong| *wrong != index) {
                    assert!(verify_inclusion(leaf, wrong, size, &path, &root).is_err());
                }
                if !path.is_empty() {
                    assert!(verify_inclusion(leaf, index, size, &path[1..], &root).is_err());
                }
                let mut longer = path.clone();
                longer.push([0; 32]);
                assert!(verify_inclusion(leaf, index, size, &longer, &root).is_err());
            }
            for old in 1..=size {
                let old_root = definition(&all[..old as usize]);
                let proof = consistency_proof(all.as_slice(), old, size).expect("proof");
                assert_eq!(verify_consistency(old, size, &old_root, &root, &proof), Ok(()), "{old} {size}");
                assert!(verify_consistency(old, size, &[1; 32], &root, &proof).is_err());
                assert!(verify_consistency(old, size, &old_root, &[1; 32], &proof).is_err());
            }
        }
    }
}
