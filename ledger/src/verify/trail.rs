//! «These are all records about X»: the complete trail of a subject under a proven header.

use std::collections::BTreeMap;

use super::state::{LeafValue, RegisteredKey, presence};
use super::{Authorities, Problem, ProvenHeader, StepName};
use crate::crypto::{KeyId, verify_batch};
use crate::entry::Entry;
use crate::merkle::{Frontier, leaf_hash};
use crate::proof::{Trail, TrailItem};
use crate::state::trail_entry;

/// A log entry at its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenEntry {
    pub index: u64,
    pub entry: Entry,
}

/// All entries about a subject, in order, and the subject's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenTrail {
    pub value: LeafValue,
    pub entries: Vec<ProvenEntry>,
}

/// Checks number, order and root of a trail against the proven state, and every entry's form, network and signature.
/// `keys` are the officer keys proven beside it.
pub fn trail(
    authorities: &Authorities,
    proven: &ProvenHeader,
    trail: &Trail,
    keys: &BTreeMap<KeyId, RegisteredKey>,
) -> Result<ProvenTrail, Problem> {
    let key = trail.key().ok_or_else(|| Problem::failed(4101, StepName::Encoding, "the id is not one of its kind"))?;
    let value = presence(proven, &trail.state, &key)?;
    let incomplete = |detail: String| Problem::failed(4110, StepName::Inclusion, detail);
    let (count, root) = value.trail.ok_or_else(|| incomplete("the subject has no trail".into()))?;
    if !trail.kind.is_kind_of(&value.current) {
        let detail = format!("{} is no {}", trail.id, trail.kind.name());
        return Err(Problem::failed(4109, StepName::Inclusion, detail));
    }
    if trail.count != count || u64::try_from(trail.entries.len()).ok() != Some(count) {
        return Err(incomplete(format!("{} entries are given, the trail has {count}", trail.entries.len())));
    }
    let ascending = trail.entries.windows(2).all(|pair| match pair {
        [before, after] => before.index < after.index,
        _ => true,
    });
    let below = trail.entries.last().is_none_or(|last| last.index < proven.header.own_index());
    if !ascending || !below {
        return Err(incomplete("the indices do not ascend below the header".into()));
    }
    let hashes = trail.entries.iter().map(|item| leaf_hash(&trail_entry(item.index, &leaf_hash(&item.entry))));
    if Frontier::of(hashes).root() != root || trail.root != root {
        return Err(incomplete("the root computed from the entries is another".into()));
    }
    let entries = trail.entries.iter().map(|item| read(authorities, item)).collect::<Result<Vec<_>, _>>()?;
    check_signatures(&entries, keys)?;
    Ok(ProvenTrail { value, entries })
}

fn read(authorities: &Authorities, item: &TrailItem) -> Result<ProvenEntry, Problem> {
    let entry =
        Entry::decode(&item.entry).map_err(|fault| Problem::failed(4102, StepName::Encoding, fault.to_string()))?;
    match &entry {
        Entry::Genesis { genesis_hash } if item.index == 0 && genesis_hash == authorities.chain() => (),
        Entry::Genesis { .. } => {
            return Err(Problem::failed(4001, StepName::Encoding, "the genesis entry of another network"));
        }
        Entry::Record { transaction, .. } => authorities.check_origin(&transaction.payload().origin)?,
        Entry::Header(_) => return Err(Problem::failed(4102, StepName::Encoding, "a header stands in no trail")),
    }
    Ok(ProvenEntry { index: item.index, entry })
}

/// All signatures at once; if one does not hold, the record is named. A key that nobody proved leaves it open.
fn check_signatures(entries: &[ProvenEntry], keys: &BTreeMap<KeyId, RegisteredKey>) -> Result<(), Problem> {
    let mut items = Vec::with_capacity(entries.len());
    let mut unproven = None;
    for proven in entries {
        let Entry::Record { transaction, .. } = &proven.entry else { continue };
        let Some(registered) = keys.get(&transaction.key_id()) else {
            unproven.get_or_insert(transaction.key_id());
            continue;
        };
        if registered.agency != transaction.payload().agency || !transaction.signature().has_canonical_r() {
            let detail = format!("entry {}: a key of {}", proven.index, registered.agency);
            return Err(Problem::failed(4111, StepName::Signature, detail));
        }
        items.push((proven.index, (registered.key, transaction.signed_bytes(), transaction.signature())));
    }
    let batch: Vec<_> = items.iter().map(|(_, item)| *item).collect();
    if let Some(((index, _), _)) = items.iter().zip(verify_batch(&batch)).find(|(_, holds)| !holds) {
        return Err(Problem::failed(4111, StepName::Signature, format!("entry {index}")));
    }
    match unproven {
        Some(id) => Err(Problem::missing(4118, StepName::Signature, format!("key {}", hex::encode(id)))),
        None => Ok(()),
    }
}
