//! Matters: what an agency approves.

use super::object::Matter;
use crate::records::object::{Object, Ref};
use crate::records::scene::{Scene, Verdict};

/// A matter is defined for good; a changed one is a new matter.
pub fn define(scene: &mut Scene<'_>) -> Verdict {
    let record = &scene.record;
    let matter = Matter {
        clock_days: record.need("clock_days")?,
        decider_role: record.need("decider_role")?,
        documents: record.find("documents").unwrap_or_default(),
        prerequisites: record.find::<Vec<Ref>>("prerequisites").unwrap_or_default(),
    };
    scene.create(Object::Matter(matter));
    Ok(())
}
