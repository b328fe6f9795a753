//! Which documents a record cites, by their digests: what an index of documents is made of, and what a citation is
//! proven by. Which fields count is in `schema`.

use super::schema::{CITED, document_fields};
use crate::codec::Value;
use crate::crypto::Hash;
use crate::transaction::Payload;

/// A document that a record cites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Citation<'p> {
    /// The own field that holds the digest, or `evidence`.
    pub field: &'static str,
    /// What the citing list calls the document.
    pub kind: Option<&'p str>,
    pub digest: Hash,
}

/// The documents that a record cites, in the order of its fields. Of a body that the schema would not take, those that
/// are there.
pub fn citations(payload: &Payload) -> impl Iterator<Item = Citation<'_>> {
    let body = &payload.body;
    let own = document_fields(&payload.record_type)
        .iter()
        .filter_map(|field| Some(Citation { field, kind: None, digest: digest(body.get(field)?)? }));
    let (list, name) = CITED;
    let items = body.get(list).and_then(Value::as_array).unwrap_or_default();
    own.chain(items.iter().filter_map(move |item| {
        let kind = item.get("kind").and_then(Value::as_text);
        Some(Citation { field: list, kind, digest: digest(item.get(name)?)? })
    }))
}

/// The citations of one document.
pub fn citing<'p>(payload: &'p Payload, digest: &Hash) -> Vec<Citation<'p>> {
    citations(payload).filter(|citation| citation.digest == *digest).collect()
}

fn digest(value: &Value) -> Option<Hash> {
    value.as_bytes()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::records::all;
    use crate::records::schema::{COMMON, Field, FieldKind};
    use crate::records::testing::{hash, text};

    /// Every hash of every record type, with what it is a hash of. A new one is decided here and in `document_fields`.
    const NO_DOCUMENTS: &[(&str, &str)] = &[
        // Of accounts: nobody may look for an account.
        ("party_register", "account_commitment"),
        ("payee_register", "account_commitment"),
        ("payment_request", "payee_account"),
        ("payment_reissue", "payee_account"),
        // Of lines with persons in them, and what leads to one.
        ("list_publish", "root"),
        ("payment_request", "salt"),
        ("payment_request", "path"),
        // Over many rows.
        ("reconcile", "matched_root"),
        ("reconcile", "breaks_root"),
        ("import_open", "rows_root"),
        // Of another record.
        ("approve", "digest"),
        ("reject", "digest"),
    ];

    /// Names of the fields of 32 bytes in a map, with those of the field that holds the map.
    fn hashes(fields: &[Field]) -> Vec<String> {
        let mut found = Vec::new();
        for field in fields {
            let mut kind = field.kind;
            while let FieldKind::List(item) = kind {
                kind = *item;
            }
            match kind {
                FieldKind::Hash => found.push(field.name.to_owned()),
                FieldKind::Map(inner) => {
                    found.extend(hashes(inner).into_iter().map(|name| format!("{}.{name}", field.name)));
                }
                _ => {}
            }
        }
        found
    }

    #[test]
    fn every_hash_is_a_documents_or_said_to_be_none() {
        let (mut unknown, mut none) = (Vec::new(), BTreeSet::new());
        for kind in all() {
            let cited = document_fields(kind.name);
            let held = hashes(kind.fields);
            assert!(cited.iter().all(|field| held.iter().any(|name| name == field)), "{}", kind.name);
            for name in held.iter().filter(|name| !cited.contains(&name.as_str())) {
                // Maps within maps included: `payment_request` keeps its path in one.
                let last = name.rsplit('.').next().unwrap_or_default();
                match NO_DOCUMENTS.iter().find(|known| **known == (kind.name, last)) {
                    Some(known) => drop(none.insert(*known)),
                    None => unknown.push(format!("{}.{name}", kind.name)),
                }
            }
        }
        assert_eq!(unknown, Vec::<String>::new(), "neither counted nor left out");
        assert_eq!(none.len(), NO_DOCUMENTS.len(), "a name that no type has: {none:?}");
        assert_eq!(hashes(COMMON), [format!("{}.{}", CITED.0, CITED.1)]);
    }

    fn payload(record_type: &str, body: Vec<(&str, Value)>) -> Payload {
        Payload {
            origin: "test-00".into(),
            record_type: record_type.into(),
            record_id: [1; 16],
            agency: "civil".into(),
            expires_at: 1,
            body: Value::map(body.into_iter().map(|(name, value)| (Value::text(name), value)).collect()),
        }
    }

    fn evidence(number: u8, kind: &str) -> Value {
        Value::map(vec![(Value::text("hash"), hash(number)), (Value::text("kind"), text(kind))])
    }

    fn found(payload: &Payload) -> Vec<(&'static str, Option<&str>, u8)> {
        citations(payload).map(|citation| (citation.field, citation.kind, citation.digest[0])).collect()
    }

    #[test]
    fn a_record_cites_its_own_documents_and_its_evidence() {
        let first = |number| hash(number).as_bytes().expect("bytes")[0];
        let list = Value::Array(vec![evidence(2, "minutes"), evidence(1, "copy"), text("no map")]);
        let anchor = payload("document_anchor", vec![("root", hash(1)), ("evidence", list)]);
        let wanted =
            [("root", None, first(1)), ("evidence", Some("minutes"), first(2)), ("evidence", Some("copy"), first(1))];
        assert_eq!(found(&anchor), wanted);
        let digest: Hash = hash(1).as_bytes().expect("bytes").try_into().expect("32");
        let fields: Vec<&str> = citing(&anchor, &digest).iter().map(|citation| citation.field).collect();
        assert_eq!(fields, ["root", "evidence"]);
        assert_eq!(citing(&anchor, &[0; 32]), []);
    }

    #[test]
    fn an_account_is_no_document_wherever_it_stands() {
        let payment = payload("payment_request", vec![("payee_account", hash(1)), ("root", hash(2))]);
        assert_eq!(found(&payment), []);
        assert_eq!(found(&payload("no_such_type", vec![("root", hash(1))])), []);
        let broken = payload("document_anchor", vec![("root", text("32")), ("evidence", hash(1))]);
        assert_eq!(found(&broken), []);
    }
}
