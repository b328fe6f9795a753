//! Donated goods: lots that are received and given out. Quantities, no money.

use minicbor::{Decode, Encode};

use super::book;
use super::rules::{self, Part};
use crate::records::object::{Kind, Mode, Object, Person, Ref, Subject};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};

/// A lot of donated goods.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Goods {
    #[n(0)]
    pub programme: Ref,
    #[n(1)]
    pub item: String,
    #[n(2)]
    pub unit: String,
    #[n(3)]
    pub quantity: u64,
    #[n(4)]
    pub issued: u64,
}

pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "goods_record",
        zh: "捐赠物资",
        area: Area::Fund,
        fields: &[
            Field::need("item", FieldKind::Code),
            Field::need("unit", FieldKind::Code),
            Field::need("quantity", FieldKind::Count),
            Field::may("receiver", FieldKind::Ref(&[])),
        ],
        submitters: &[Role::Charity, Role::ProgrammeOwner],
        entitled: received_by_owner,
        check: can_receive,
        take_effect: receive,
        ..RecordType::BASE
    },
    RecordType {
        name: "goods_issue",
        zh: "物资发放",
        area: Area::Fund,
        fields: &[
            Field::need("goods", FieldKind::Ref(&[Kind::Goods])),
            Field::need("quantity", FieldKind::Count),
            Field::may("recipient", FieldKind::Recipient),
            Field::may("party", FieldKind::Declared),
        ],
        submitters: &[Role::Charity, Role::ProgrammeOwner],
        entitled: issued_by_owner,
        check: can_issue,
        sequence: |scene| rules::follows(scene, "goods"),
        take_effect: issue,
        ..RecordType::BASE
    },
];

fn received_by_owner(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = book::subject(scene)?;
    rules::acts_as(scene, &programme, Part::Owner)
}

fn can_receive(scene: &mut Scene<'_>) -> Verdict {
    let (reference, programme) = book::subject(scene)?;
    if scene.mode == Mode::Live { rules::programme_open(&reference, &programme) } else { Ok(()) }
}

fn receive(scene: &mut Scene<'_>) -> Verdict {
    let (programme, _) = book::subject(scene)?;
    let goods = Goods {
        programme: programme.clone(),
        item: scene.record.need("item")?,
        unit: scene.record.need("unit")?,
        quantity: scene.record.need("quantity")?,
        issued: 0,
    };
    scene.touch(Subject::Record(programme));
    scene.create(Object::Goods(goods));
    Ok(())
}

fn named(scene: &mut Scene<'_>) -> Verdict<(Ref, Goods)> {
    let reference: Ref = scene.record.need("goods")?;
    match scene.object(&reference)? {
        Some(Object::Goods(goods)) => Ok((reference, goods)),
        _ => reject(3002, format!("{reference} is no lot of goods")),
    }
}

fn issued_by_owner(scene: &mut Scene<'_>) -> Verdict {
    let (_, goods) = named(scene)?;
    let programme = book::programme(scene, &goods.programme)?;
    rules::acts_as(scene, &programme, Part::Owner)
}

/// 3002: somebody receives them; 3224: no more is issued than was recorded.
fn can_issue(scene: &mut Scene<'_>) -> Verdict {
    let (reference, goods) = named(scene)?;
    if scene.mode != Mode::Live {
        return Ok(());
    }
    let recipient = scene.record.find::<Person>("recipient");
    let party = scene.record.find::<String>("party");
    if recipient.is_some() == party.is_some() {
        return reject(3002, "goods go either to a recipient or to a party");
    }
    let quantity: u64 = scene.record.need("quantity")?;
    if goods.issued.saturating_add(quantity) > goods.quantity {
        let (held, issued) = (goods.quantity, goods.issued);
        return reject(3224, format!("{reference}: recorded {held}, issued {issued}, now {quantity}"));
    }
    Ok(())
}

fn issue(scene: &mut Scene<'_>) -> Verdict {
    let (reference, goods) = named(scene)?;
    let issued = goods.issued.saturating_add(scene.record.need("quantity")?);
    Ok(scene.put(&reference, Object::Goods(Goods { issued, ..goods }))?)
}
