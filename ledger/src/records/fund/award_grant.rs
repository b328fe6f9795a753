//! Grants: a decision of the programme's owner to support a person or a party up to a value.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::book;
use super::entitlement::Usage;
use super::rules::{self, Part};
use crate::records::calendar::Day;
use crate::records::object::{Mode, Object, Person, Ref, Subject};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::records::waiting::Need;

/// A decision to support somebody up to a value.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AwardGrant {
    #[n(0)]
    pub programme: Ref,
    #[n(1)]
    pub recipient: Option<Person>,
    #[n(2)]
    pub party: Option<String>,
    #[n(3)]
    pub value: u64,
    #[n(4)]
    pub purpose: String,
    /// Last day on which it may be paid.
    #[n(5)]
    pub until: Day,
    #[n(6)]
    pub usage: Usage,
}

pub const TYPES: &[RecordType] = &[RecordType {
    name: "award_grant",
    zh: "资助决定",
    area: Area::Fund,
    fields: &[
        Field::may("party", FieldKind::Declared),
        Field::may("recipient", FieldKind::Recipient),
        Field::need("value", FieldKind::Amount),
        Field::need("purpose", FieldKind::Code),
        Field::need("until", FieldKind::Date),
    ],
    submitters: &[Role::ProgrammeOwner, Role::Charity],
    entitled: by_owner,
    approvers: with_finance,
    check: can_grant,
    take_effect: grant,
    ..RecordType::BASE
}];

fn by_owner(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = book::subject(scene)?;
    rules::acts_as(scene, &programme, Part::Owner)
}

fn with_finance(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    Ok(rules::by_finance(&book::subject(scene)?.1))
}

fn can_grant(scene: &mut Scene<'_>) -> Verdict {
    let (reference, programme) = book::subject(scene)?;
    if scene.mode != Mode::Live {
        return Ok(());
    }
    let recipient = scene.record.find::<Person>("recipient");
    let party = scene.record.find::<String>("party");
    if recipient.is_some() == party.is_some() {
        return reject(3210, "a grant names either a recipient or a party");
    }
    rules::programme_open(&reference, &programme)
}

fn grant(scene: &mut Scene<'_>) -> Verdict {
    let (reference, _) = book::subject(scene)?;
    let grant = AwardGrant {
        programme: reference.clone(),
        recipient: scene.record.find("recipient"),
        party: scene.record.find("party"),
        value: scene.record.need("value")?,
        purpose: scene.record.need("purpose")?,
        until: scene.record.need("until")?,
        usage: Usage::default(),
    };
    scene.touch(Subject::Record(reference));
    scene.create(Object::AwardGrant(Arc::new(grant)));
    Ok(())
}
