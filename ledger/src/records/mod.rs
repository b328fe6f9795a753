//! What is written down, and under which rules. The frame is in `schema` (tables), `body`, `scene`, `judge` (the order
//! of checks), `waiting` (two persons, two records) and `object` (what stands in the state); the mechanisms are one file
//! or folder each: `registry`, `governance`, `fund`, `case`, `import`, `document`, `finding`, `disclosure`; `view` shows all.
//!
//! # How a mechanism plugs in
//!
//! 1. **A table.** The file exports `pub const TYPES: &[RecordType]`, one row per record type, and this file adds it to
//!    [`TABLES`]. A row is data (fields, roles) and plain functions over a [`scene::Scene`]; what a row leaves out comes
//!    from `RecordType::BASE` and does nothing.
//! 2. **Objects.** The file defines the payload (`#[derive(Encode, Decode)] #[cbor(map)]`, numbers ascending, 16- and
//!    32-byte arrays `with = "minicbor::bytes"`); `object.rs` gets one variant in `Object` and one in `Kind`,
//!    `view/object.rs` one arm.
//! 3. **Steps.** For one record the frame runs, in this order, and the first rejection wins:
//!    3001 (fields marked `unique`), 3002 (every `Ref` exists, is in effect and of the named kinds; `subject` is its
//!    refs'), 3012, 3702, `belongs` (3503, 3602), 3013, 3003 (`submitters`, limits and scope of the role), `entitled`
//!    (the mechanism's 3003), 3004 to 3006, `check` (the mechanism's rules in code order), 3007, 3008, `sequence` (3009,
//!    3011). Then `approvers` decides: no needs, `take_effect`; needs, `propose`, and the record waits. With the last
//!    `approve` all of these run again over the waiting record, then `take_effect`. A reject or a failure runs `void`.
//!    In imports only 3001, 3002, 3005, 3006, 3012, `check`, 3007 and `sequence` run and nothing waits; `check` and `sequence`
//!    leave out what section 10 of the records page does not list.
//! 4. **Reading and changing.** `scene.record.need::<Ref>("award")?`, `scene.record.find::<String>("reason")`;
//!    `scene.object(&reference)?`, `scene.put(&reference, object)?` for earlier objects, `scene.create(object)` for the
//!    record's own; `scene.draft.get/put(key, …)` for keys that are no records. `reject(code, detail)`,
//!    `scene.reject_or_flag(code, detail)?` for R/F rules, `scene.flag(code, detail)` for F rules.
//! 5. **Trails.** The record joins the trails of the subjects in its body and of those stored with what its refs name.
//!    `scene.touch(subject)` adds others (year_close touches accounts that it does not name); `execute` asserts that no
//!    subject changes without it. `scene.enter_registry("programmes".into())` joins a registry trail.

pub mod body;
pub mod calendar;
pub mod case;
pub mod disclosure;
pub mod document;
#[cfg(test)]
mod documented;
pub mod finding;
pub mod fund;
pub mod governance;
pub mod import;
pub mod judge;
pub mod object;
pub mod registry;
pub mod role;
pub mod scan;
pub mod scene;
pub mod schema;
pub mod signer;
#[cfg(test)]
pub mod testing;
pub mod validate;
pub mod view;
pub mod waiting;
pub mod working_day;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use schema::RecordType;

/// The tables of all mechanisms.
const TABLES: &[&[RecordType]] = &[
    registry::TYPES,
    governance::TYPES,
    waiting::TYPES,
    document::TYPES,
    case::TYPES,
    finding::TYPES,
    import::TYPES,
    disclosure::TYPES,
];

/// Every record type, in the order of the tables.
pub fn all() -> impl Iterator<Item = &'static RecordType> {
    TABLES.iter().chain(fund::TABLES).copied().flatten()
}

/// The record type of that name.
pub fn record_type(name: &str) -> Option<&'static RecordType> {
    static BY_NAME: OnceLock<BTreeMap<&'static str, &'static RecordType>> = OnceLock::new();
    BY_NAME.get_or_init(|| all().map(|kind| (kind.name, kind)).collect()).get(name).copied()
}
