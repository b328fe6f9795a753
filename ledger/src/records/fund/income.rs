//! Income and donations: announced in parts by account, approved by a second officer, posted when the bank confirms it.

use std::sync::Arc;

use super::account::AccountKind;
use super::book;
use super::movement::{self, Movement, MovementKind, Posting};
use super::pattern::{self, Pattern};
use super::programme::{Programme, TREASURY};
use super::rules;
use crate::codec::Value;
use crate::records::body;
use crate::records::object::{Kind, Mode, Person, Ref};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::records::waiting::Need;

/// Most parts of one income.
pub const MAX_PARTS: usize = 32;

const PART: &[Field] = &[Field::need("to", FieldKind::Ref(&[Kind::Account])), Field::need("amount", FieldKind::Amount)];

pub const TYPES: &[RecordType] = &[RecordType {
    name: "income_record",
    zh: "收入/捐赠入账",
    area: Area::Fund,
    fields: &[
        Field::need("parts", FieldKind::List(&FieldKind::Map(PART))),
        Field::need("external_ref", FieldKind::Declared),
        Field::need("channel", FieldKind::Code),
        Field::may("donor", FieldKind::Recipient),
        // Names the SOURCE where it is not the donors', or the only one.
        Field::may("from", FieldKind::Ref(&[Kind::Account])),
    ],
    submitters: &[Role::Charity, Role::Finance],
    entitled: by_recipient,
    approvers: by_a_second,
    check: can_record,
    propose,
    take_effect: |scene| movement::take_effect(scene, announce),
    void: movement::void,
    ..RecordType::BASE
}];

/// The accounts and amounts of the body, and their programme.
struct Parts {
    reference: Ref,
    programme: Arc<Programme>,
    amounts: Vec<(Ref, u64)>,
}

fn parts(scene: &mut Scene<'_>) -> Verdict<Parts> {
    let stated: Vec<Value> = scene.record.need("parts")?;
    let mut amounts = Vec::new();
    for part in &stated {
        amounts.push((body::need::<Ref>(part, "to")?, body::need::<u64>(part, "amount")?));
    }
    let Some((first, _)) = amounts.first() else {
        return reject(3002, "an income without parts names no account");
    };
    if amounts.len() > MAX_PARTS {
        return reject(3222, format!("{} parts, at most {MAX_PARTS} are allowed", amounts.len()));
    }
    let reference = book::account(scene, first)?.programme.clone();
    let programme = book::programme(scene, &reference)?;
    Ok(Parts { reference, programme, amounts })
}

fn by_recipient(scene: &mut Scene<'_>) -> Verdict {
    let programme = parts(scene)?.programme;
    let agency = &scene.signer.agency;
    if *agency == programme.owner || *agency == programme.finance {
        return Ok(());
    }
    reject(3003, format!("income is recorded by {} or {}, not {agency}", programme.owner, programme.finance))
}

fn by_a_second(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    let charity = scene.signer.holds(Role::Charity, scene.today());
    let role = if charity { Role::Charity } else { Role::Finance };
    Ok(vec![Need { agency: Some(scene.signer.agency.to_string()), role }])
}

/// One posting a part.
fn plan(scene: &mut Scene<'_>) -> Verdict<Movement> {
    let Parts { reference, programme, amounts } = parts(scene)?;
    let source = scene.record.find::<Ref>("from").or(programme.income_source().cloned());
    let Some(source) = source else {
        return reject(3002, format!("programme {reference} has no SOURCE account"));
    };
    let treasury = programme.sources.iter().any(|held| held.account == source && held.origin == TREASURY);
    if treasury && scene.mode == Mode::Live {
        return reject(
            3002,
            format!("SOURCE {source} is the treasury's, which appropriates; income has another origin"),
        );
    }
    let posting = |(credit, amount): (Ref, u64)| Posting { debit: source.clone(), credit, amount };
    let movement = Movement::new(MovementKind::Income, reference, amounts.into_iter().map(posting).collect());
    Ok(movement.at_bank(scene.mode == Mode::Live))
}

fn can_record(scene: &mut Scene<'_>) -> Verdict {
    let plan = plan(scene)?;
    for posting in &plan.postings {
        rules::kinds(scene, posting, &[(AccountKind::Source, AccountKind::Appropriation)])?;
        rules::movable(scene, posting)?;
    }
    let Some(amount) = plan.total() else {
        return reject(3222, "the parts add up to more than 64 bits hold");
    };
    pattern::repeated(scene, &pattern_of(scene, plan.programme, amount))
}

fn pattern_of(scene: &Scene<'_>, programme: Ref, amount: u64) -> Pattern {
    let who = scene.record.find::<Person>("donor").map(|donor| hex::encode(donor.0));
    Pattern { programme, who, amount }
}

/// Remembers what 3911 compares, and says which movement the income makes.
fn announce(scene: &mut Scene<'_>) -> Verdict<Movement> {
    let plan = plan(scene)?;
    pattern::remember(scene, &pattern_of(scene, plan.programme.clone(), plan.amount()))?;
    Ok(plan)
}

fn propose(scene: &mut Scene<'_>) -> Verdict {
    let movement = announce(scene)?;
    movement::propose(scene, movement)
}
