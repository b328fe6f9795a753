//! Documents: the anchor of a file's salted hash. It changes no other state.

use super::schema::{Area, Field, FieldKind, RecordType};

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[RecordType {
    name: "document_anchor",
    zh: "存证",
    area: Area::Everywhere,
    fields: &[Field::need("root", FieldKind::Hash), Field::need("kind", FieldKind::Code)],
    by_auditor: true,
    ..RecordType::BASE
}];

#[cfg(test)]
mod tests {
    use crate::records::testing::{Stage, hash, signing_key, text};
    use crate::state::key;

    #[test]
    fn an_anchor_is_recorded_and_joins_its_key() {
        let mut stage = Stage::found();
        let key = key::officer_key(&signing_key("civil/plain").public().key_id());
        let before = stage.trail_length(&key);
        stage.apply("civil/plain", "document_anchor", "DOC-1", vec![("root", hash(1)), ("kind", text("minutes"))]);
        let leaf = stage.leaf("civil/DOC-1").expect("the leaf");
        assert_eq!((leaf.outcome, leaf.index), (0, 1));
        assert_eq!(stage.trail_length(&key), before + 1);
    }
}
