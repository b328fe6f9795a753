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
