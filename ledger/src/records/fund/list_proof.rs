//! One person's line of a published list, and its proof: the leaf, its strict decoding from a record's body, and the
//! path to the list's root. Whether the list is confirmed and the line unpaid is decided by the payment's rules.

use crate::codec::Value;
use crate::crypto::Hash;
use crate::merkle::{ProofFault, leaf_hash, verify_inclusion};

/// Longest path: a list has fewer than 2^32 lines.
pub const MAX_PATH: usize = 32;

/// {leaf index, salt, recipient, payee_account, units, amount, path}, plus the asset, which the request states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListProof {
    pub leaf_index: u64,
    pub salt: [u8; 32],
    pub recipient: [u8; 16],
    pub payee_account: Hash,
    pub units: u64,
    pub amount: u64,
    pub path: Vec<Hash>,
}

impl ListProof {
    /// Reads the body's map; None when a field is missing, unknown, or of the wrong type or length.
    pub fn from_value(value: &Value) -> Option<Self> {
        let Value::Map(pairs) = value else { return None };
        if pairs.len() != 7 {
            return None;
        }
        let fixed = |name: &str| value.get(name).and_then(Value::as_bytes);
        let hash = |item: &Value| item.as_bytes().and_then(|bytes| bytes.try_into().ok());
        let path: Vec<Hash> = value.get("path")?.as_array()?.iter().map(hash).collect::<Option<_>>()?;
        (path.len() <= MAX_PATH).then_some(())?;
        Some(Self {
            leaf_index: value.get("leaf_index")?.as_uint()?,
            salt: fixed("salt")?.try_into().ok()?,
            recipient: fixed("recipient")?.try_into().ok()?,
            payee_account: fixed("payee_account")?.try_into().ok()?,
            units: value.get("units")?.as_uint()?,
            amount: value.get("amount")?.as_uint()?,
            path,
        })
    }

    /// What [`ListProof::from_value`] reads.
    pub fn to_value(&self) -> Value {
        Value::text_map([
            ("leaf_index", Value::Uint(self.leaf_index)),
            ("salt", Value::bytes(&self.salt)),
            ("recipient", Value::bytes(&self.recipient)),
            ("payee_account", Value::bytes(&self.payee_account)),
            ("units", Value::Uint(self.units)),
            ("amount", Value::Uint(self.amount)),
            ("path", Value::Array(self.path.iter().map(|hash| Value::bytes(hash)).collect())),
        ])
    }

    /// SHA-256(0x00 ‖ CBOR [salt, recipient, payee_account, units, amount, asset or null]).
    pub fn leaf(&self, asset: Option<&str>) -> Hash {
        let line = Value::Array(vec![
            Value::bytes(&self.salt),
            Value::bytes(&self.recipient),
            Value::bytes(&self.payee_account),
            Value::Uint(self.units),
            Value::Uint(self.amount),
            asset.map_or(Value::Null, Value::text),
        ]);
        leaf_hash(&line.encode())
    }

    /// Whether this line stands in the list of `count` lines with `root`.
    pub fn verify(&self, asset: Option<&str>, count: u64, root: &Hash) -> Result<(), ProofFault> {
        verify_inclusion(self.leaf(asset), self.leaf_index, count, &self.path, root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{Frontier, inclusion_path};

    fn line(number: u8) -> ListProof {
        ListProof {
            leaf_index: u64::from(number),
            salt: [number; 32],
            recipient: [number; 16],
            payee_account: [number; 32],
            units: 2,
            amount: 1000,
            path: Vec::new(),
        }
    }

    #[test]
    fn a_line_is_proven_and_no_changed_line_is() {
        let leaves: Vec<Hash> = (0..5).map(|number| line(number).leaf(None)).collect();
        let root = Frontier::of(leaves.iter().copied()).root();
        let mut proof = line(3);
        proof.path = inclusion_path(leaves.as_slice(), 3, 5).expect("path");
        assert_eq!(proof.verify(None, 5, &root), Ok(()));
        assert!(proof.verify(Some("plot-7"), 5, &root).is_err());
        assert!(proof.verify(None, 4, &root).is_err());
        for change in [
            ListProof { leaf_index: 2, ..proof.clone() },
            ListProof { salt: [9; 32], ..proof.clone() },
            ListProof { recipient: [9; 16], ..proof.clone() },
            ListProof { payee_account: [9; 32], ..proof.clone() },
            ListProof { units: 3, ..proof.clone() },
            ListProof { amount: 1001, ..proof.clone() },
            ListProof { path: proof.path[1..].to_vec(), ..proof.clone() },
        ] {
            assert!(change.verify(None, 5, &root).is_err(), "{change:?}");
        }
    }

    #[test]
    fn reads_what_it_writes_and_nothing_longer() {
        let mut proof = line(1);
        proof.path = vec![[4; 32]; MAX_PATH];
        assert_eq!(ListProof::from_value(&proof.to_value()), Some(proof.clone()));
        proof.path.push([4; 32]);
        assert_eq!(ListProof::from_value(&proof.to_value()), None);
        assert_eq!(ListProof::from_value(&Value::text_map([("leaf_index", Value::Uint(1))])), None);
    }
}
