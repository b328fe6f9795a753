//! The leaves of the records that one scene looks at, each read once.

use std::collections::BTreeMap;
use std::sync::Arc;

use smol_str::SmolStr;

use super::super::body::Record;
use super::super::object::{Object, RecordLeaf, Ref, Subject};
use crate::state::key::Key;
use crate::transaction::RecordId;

/// So many are found by going along the list, and most scenes look at fewer. The close of a year looks at thousands: the
/// others are found in a tree, because who chooses ids could make them collide in a table of hashes.
const FEW: usize = 16;
/// Room for what most scenes look at.
const ROOM: usize = 8;

/// A record by what differs soonest.
type Place = (RecordId, SmolStr);

/// A record leaf read once, and whether it must be written.
pub(super) struct Looked {
    pub reference: Ref,
    pub key: Key,
    pub leaf: Option<Arc<RecordLeaf>>,
    /// The object as it was read, kept once it is replaced, if it is shown.
    pub before: Option<Box<Object>>,
    pub changed: bool,
}

/// The records that a scene looked at, in the order in which it did.
pub(crate) struct LookedAt {
    all: Vec<Looked>,
    /// Where those beyond the first few stand in `all`.
    many: BTreeMap<Place, usize>,
}

impl LookedAt {
    pub(super) fn new() -> Self {
        Self { all: Vec::with_capacity(ROOM), many: BTreeMap::new() }
    }

    /// Where a record stands, if it was looked at.
    pub(super) fn find(&self, reference: &Ref) -> Option<usize> {
        let is_it =
            |looked: &Looked| looked.reference.id == reference.id && looked.reference.agency == reference.agency;
        let among_few = self.all.iter().take(FEW).position(is_it);
        if among_few.is_some() || self.all.len() <= FEW {
            return among_few;
        }
        self.many.get(&(reference.id, reference.agency.clone())).copied()
    }

    pub(super) fn get(&mut self, at: usize) -> Option<&mut Looked> {
        self.all.get_mut(at)
    }

    /// Notes a record that was not looked at before, and says where.
    pub(super) fn add(&mut self, reference: &Ref, key: Key, leaf: Option<Arc<RecordLeaf>>) -> usize {
        let at = self.all.len();
        if at >= FEW {
            self.many.insert((reference.id, reference.agency.clone()), at);
        }
        self.all.push(Looked { reference: reference.clone(), key, leaf, before: None, changed: false });
        at
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Looked> {
        self.all.iter_mut()
    }

    /// The key of a subject of `record`, found or made.
    pub fn key_of(&self, subject: &Subject, record: &Record<'_>) -> Key {
        match subject {
            Subject::Record(reference) => self
                .find(reference)
                .and_then(|at| self.all.get(at))
                .map_or_else(|| reference.key(), |looked| looked.key),
            Subject::OfficerKey(id) if *id == record.key_id => record.signer_key(),
            Subject::OfficerKey(_) | Subject::Recipient { .. } => subject.key(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Value;
    use crate::crypto::KeyId;
    use crate::records::body::{Body, Known};
    use crate::records::calendar::Day;
    use crate::records::record_type;

    fn record(key_id: KeyId) -> Record<'static> {
        Record {
            kind: record_type("document_anchor").expect("a type"),
            reference: Ref::new("gov.mof", &[1; 16]),
            transaction_id: [0; 32],
            key_id,
            body: Body::Waited(Arc::new(Value::Null)),
            recorded: Day(0),
            effective: Day(0),
            known: Known::default(),
        }
    }

    #[test]
    fn few_and_many_are_found_and_no_other() {
        let reference = |number: usize, agency: &str| {
            let mut id = [0; 16];
            id[14..].copy_from_slice(&u16::try_from(number).expect("small").to_be_bytes());
            Ref::new(agency, &id)
        };
        let mut looked = LookedAt::new();
        for number in 0..100 {
            for (side, agency) in ["gov.mof", "gov.bureau"].into_iter().enumerate() {
                let reference = reference(number, agency);
                assert_eq!(looked.find(&reference), None);
                assert_eq!(looked.add(&reference, reference.key(), None), 2 * number + side);
            }
        }
        for number in 0..100 {
            let own = reference(number, "gov.bureau");
            assert_eq!(looked.find(&own), Some(2 * number + 1));
            assert_eq!(looked.key_of(&Subject::Record(own.clone()), &record([3; 16])), own.key());
            assert!(looked.get(2 * number + 1).is_some_and(|looked| looked.reference == own));
        }
        assert_eq!(looked.find(&reference(5, "gov.other")), None);
        assert_eq!(looked.find(&reference(101, "gov.mof")), None);
        for key_id in [[3; 16], [4; 16]] {
            let subject = Subject::OfficerKey([3; 16]);
            assert_eq!(looked.key_of(&subject, &record(key_id)), subject.key());
        }
    }
}
