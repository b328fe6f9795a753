//! Lists of beneficiaries: published, objected to, resolved, confirmed, and struck line by line. Lines stay off chain;
//! each proves itself when it is paid (`list_proof`).

use minicbor::{Decode, Encode};

use super::book;
use super::entitlement::Usage;
use super::rules::{self, Part};
use super::shown::money_text;
use crate::crypto::Hash;
use crate::records::calendar::Day;
use crate::records::object::{Kind, Mode, Object, Person, Ref, Subject};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::records::waiting::Need;
use crate::state::key;

/// Where a list stands. Used up is no state of its own: all of its total is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ListState {
    #[n(0)]
    Published,
    /// At least one objection is open.
    #[n(1)]
    Objected,
    #[n(2)]
    Confirmed,
}

/// A list of a programme for one period: the root over its lines, their number and sum.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct List {
    #[n(0)]
    pub programme: Ref,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub root: Hash,
    #[n(2)]
    pub count: u64,
    #[n(3)]
    pub total: u64,
    #[n(4)]
    pub standard_minor: u64,
    #[n(5)]
    pub period: String,
    /// First day on which it may be confirmed.
    #[n(6)]
    pub publicity_ends: Day,
    #[n(7)]
    pub state: ListState,
    #[n(8)]
    pub open_objections: u64,
    /// Lines struck.
    #[n(9)]
    pub struck: u64,
    #[n(10)]
    pub usage: Usage,
    /// Who published it, and so may not confirm it.
    #[n(11)]
    pub publishers: Vec<Person>,
    /// The entry that last settled all objections: those before it are closed, whatever they say themselves.
    #[n(12)]
    pub settled: Option<u64>,
}

impl List {
    pub(super) fn with_usage(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }
}

/// An objection to a list.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Objection {
    #[n(0)]
    pub list: Ref,
    /// Until it is resolved by name; one that was resolved with all others is older than its list's `settled`.
    #[n(1)]
    pub open: bool,
}

impl Objection {
    /// Whether it is neither resolved itself nor settled with all that were raised before the entry in its list's `settled`.
    pub fn is_open(&self, raised: u64, list: &List) -> bool {
        self.open && list.settled.is_none_or(|settled| raised >= settled)
    }
}

const LIST: FieldKind = FieldKind::Ref(&[Kind::List]);

pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "list_publish",
        zh: "清册公示",
        area: Area::Fund,
        fields: &[
            Field::need("root", FieldKind::Hash),
            Field::need("count", FieldKind::Count),
            Field::need("total", FieldKind::Minor),
            Field::need("standard_minor", FieldKind::Minor),
            Field::need("period", FieldKind::Code),
            Field::need("days", FieldKind::Count),
        ],
        submitters: &[Role::Window, Role::ProgrammeOwner, Role::Charity],
        entitled: by_owner_or_window,
        check: can_publish,
        take_effect: publish,
        ..RecordType::BASE
    },
    RecordType {
        name: "list_objection",
        zh: "清册异议",
        area: Area::Fund,
        fields: &[Field::need("list", LIST), Field::need("reason", FieldKind::Hash)],
        sequence: |scene| rules::follows(scene, "list").and_then(|()| not_confirmed(scene)),
        take_effect: object,
        ..RecordType::BASE
    },
    RecordType {
        name: "list_resolve",
        zh: "异议处理",
        area: Area::Fund,
        fields: &[
            Field::need("list", LIST),
            Field::need("upheld", FieldKind::Bool),
            // Names one of several open objections.
            Field::may("objection", FieldKind::Ref(&[Kind::Objection])),
        ],
        submitters: &[Role::Supervisor],
        entitled: by_supervisor,
        check: objection_is_of_list,
        sequence: |scene| rules::follows(scene, "list").and_then(|()| is_objected(scene)),
        take_effect: resolve,
        ..RecordType::BASE
    },
    RecordType {
        name: "list_confirm",
        zh: "清册确认",
        area: Area::Fund,
        fields: &[Field::need("list", LIST)],
        submitters: &[Role::ProgrammeOwner, Role::Charity],
        entitled: by_owner_not_publisher,
        check: publicity_over,
        sequence: |scene| rules::follows(scene, "list").and_then(|()| not_confirmed(scene)),
        take_effect: confirm,
        ..RecordType::BASE
    },
    RecordType {
        name: "list_strike",
        zh: "清册剔除",
        area: Area::Fund,
        fields: &[
            Field::need("list", LIST),
            Field::need("leaf_index", FieldKind::Count),
            Field::need("reason", FieldKind::Code),
        ],
        submitters: &[Role::ProgrammeOwner, Role::Charity],
        entitled: by_owner,
        approvers: with_supervisor,
        check: line_exists,
        sequence: |scene| rules::follows(scene, "list").and_then(|()| not_struck(scene)),
        take_effect: strike,
        ..RecordType::BASE
    },
];

fn named(scene: &mut Scene<'_>) -> Verdict<(Ref, List)> {
    let reference: Ref = scene.record.need("list")?;
    match scene.object(&reference)? {
        Some(Object::List(list)) => Ok((reference, list)),
        _ => reject(3002, format!("{reference} is no list")),
    }
}

// ---- list_publish ----

/// 3003: a window (a township's) for any owner, else the owner itself.
fn by_owner_or_window(scene: &mut Scene<'_>) -> Verdict {
    let (reference, programme) = book::subject(scene)?;
    if scene.signer.covers(Role::Window, scene.today(), 0, &[&reference]) {
        return Ok(());
    }
    rules::acts_as(scene, &programme, Part::Owner)
}

/// Under this kind of code stands the list of a root, as `<programme>.<root>`.
const ROOT: &str = "list";

fn root_of(scene: &Scene<'_>, programme: &Ref) -> Verdict<String> {
    Ok(format!("{}.{}", programme.key_part(), hex::encode(scene.record.need::<Hash>("root")?)))
}

/// 3001, 3216 and 3217. Lines are salted, so that the same root is the same lines, and each is paid once.
fn can_publish(scene: &mut Scene<'_>) -> Verdict {
    let (reference, programme) = book::subject(scene)?;
    if scene.mode != Mode::Live {
        return Ok(());
    }
    if let Some(holder) = scene.code(ROOT, &root_of(scene, &reference)?)? {
        return reject(3001, format!("the lines of this root were published as {holder}"));
    }
    rules::programme_open(&reference, &programme)?;
    let (count, total): (u64, u64) = (scene.record.need("count")?, scene.record.need("total")?);
    let standard: u64 = scene.record.need("standard_minor")?;
    if programme.standard_minor.is_some_and(|agreed| agreed != standard) {
        let agreed = money_text(programme.standard_minor.unwrap_or(standard), &programme.currency);
        let standard = money_text(standard, &programme.currency);
        return reject(3217, format!("standard {standard}, the programme's is {agreed}"));
    }
    if count == 0 || standard == 0 || total.checked_rem(standard) != Some(0) {
        let (standard, total) = (money_text(standard, &programme.currency), money_text(total, &programme.currency));
        return reject(3217, format!("{count} lines of {standard} each cannot add up to {total}"));
    }
    Ok(())
}

fn publish(scene: &mut Scene<'_>) -> Verdict {
    let (programme, _) = book::subject(scene)?;
    if scene.mode == Mode::Live {
        let root = root_of(scene, &programme)?;
        scene.claim_code(ROOT, &root)?;
    }
    let shortest = scene.parameter("publicity_days")?;
    let days: u64 = scene.record.need("days")?;
    let list = List {
        programme: programme.clone(),
        root: scene.record.need("root")?,
        count: scene.record.need("count")?,
        total: scene.record.need("total")?,
        standard_minor: scene.record.need("standard_minor")?,
        period: scene.record.need("period")?,
        publicity_ends: scene.record.recorded.plus(days.max(shortest)),
        state: ListState::Published,
        open_objections: 0,
        struck: 0,
        usage: Usage::default(),
        publishers: scene.signer.persons(),
        settled: None,
    };
    scene.touch(Subject::Record(programme));
    scene.create(Object::List(list));
    Ok(())
}

// ---- list_objection, list_resolve ----

/// 3011: a confirmed list is neither objected to nor confirmed again. States are not judged in imports.
fn not_confirmed(scene: &mut Scene<'_>) -> Verdict {
    let (reference, list) = named(scene)?;
    if scene.mode != Mode::Live {
        return Ok(());
    }
    match list.state {
        ListState::Published | ListState::Objected => Ok(()),
        ListState::Confirmed => reject(3011, format!("list {reference} is confirmed already")),
    }
}

fn object(scene: &mut Scene<'_>) -> Verdict {
    let (reference, list) = named(scene)?;
    let open_objections = list.open_objections.saturating_add(1);
    let list = List { state: ListState::Objected, open_objections, ..list };
    scene.put(&reference, Object::List(list))?;
    scene.create(Object::Objection(Objection { list: reference, open: true }));
    Ok(())
}

fn by_supervisor(scene: &mut Scene<'_>) -> Verdict {
    let (_, list) = named(scene)?;
    let programme = book::programme(scene, &list.programme)?;
    rules::acts_as(scene, &programme, Part::Supervisor)
}

fn objection(scene: &mut Scene<'_>) -> Verdict<Option<(Ref, Objection)>> {
    let Some(reference) = scene.record.find::<Ref>("objection") else { return Ok(None) };
    match scene.object(&reference)? {
        Some(Object::Objection(objection)) => Ok(Some((reference, objection))),
        _ => reject(3002, format!("{reference} is no objection")),
    }
}

/// 3002.
fn objection_is_of_list(scene: &mut Scene<'_>) -> Verdict {
    let list: Ref = scene.record.need("list")?;
    match objection(scene)? {
        Some((reference, objection)) if objection.list != list => {
            reject(3002, format!("{reference} objects to {}, not to {list}", objection.list))
        }
        Some(_) | None => Ok(()),
    }
}

/// 3011.
fn is_objected(scene: &mut Scene<'_>) -> Verdict {
    let (reference, list) = named(scene)?;
    let open = match objection(scene)? {
        Some((named, objection)) => {
            let raised = scene.leaf(&named)?.map(|leaf| leaf.index);
            raised.is_some_and(|raised| objection.is_open(raised, &list))
        }
        None => true,
    };
    if list.state == ListState::Objected && open || scene.mode != Mode::Live {
        return Ok(());
    }
    reject(3011, format!("no such objection to {reference} is open"))
}

/// Resolves the objection that is named, else all that are open.
fn resolve(scene: &mut Scene<'_>) -> Verdict {
    let (reference, list) = named(scene)?;
    let (open_objections, settled) = match objection(scene)? {
        Some((named, objection)) => {
            scene.put(&named, Object::Objection(Objection { open: false, ..objection }))?;
            (list.open_objections.saturating_sub(1), list.settled)
        }
        None => (0, Some(scene.index)),
    };
    let state = if open_objections == 0 { ListState::Published } else { ListState::Objected };
    Ok(scene.put(&reference, Object::List(List { state, open_objections, settled, ..list }))?)
}

// ---- list_confirm ----

fn by_owner(scene: &mut Scene<'_>) -> Verdict {
    let (_, list) = named(scene)?;
    let programme = book::programme(scene, &list.programme)?;
    rules::acts_as(scene, &programme, Part::Owner)
}

/// 3003 and 3004.
fn by_owner_not_publisher(scene: &mut Scene<'_>) -> Verdict {
    by_owner(scene)?;
    let (reference, list) = named(scene)?;
    if scene.signer.persons().iter().any(|person| list.publishers.contains(person)) {
        return reject(3004, format!("list {reference} was published by the same person"));
    }
    Ok(())
}

/// 3218.
fn publicity_over(scene: &mut Scene<'_>) -> Verdict {
    let (reference, list) = named(scene)?;
    if scene.mode != Mode::Live {
        return Ok(());
    }
    if list.open_objections > 0 {
        return reject(3218, format!("list {reference}: {} objections are open", list.open_objections));
    }
    if scene.today() < list.publicity_ends {
        let (today, ends) = (scene.today(), list.publicity_ends);
        return reject(3218, format!("list {reference} is public until {ends}, today is {today}"));
    }
    Ok(())
}

fn confirm(scene: &mut Scene<'_>) -> Verdict {
    let (reference, list) = named(scene)?;
    Ok(scene.put(&reference, Object::List(List { state: ListState::Confirmed, ..list }))?)
}

// ---- list_strike ----

fn with_supervisor(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    let (_, list) = named(scene)?;
    let programme = book::programme(scene, &list.programme)?;
    Ok(vec![Need::of(&programme.supervisor, Role::Supervisor)])
}

/// 3217: the list has a line of that index.
fn line_exists(scene: &mut Scene<'_>) -> Verdict {
    let (reference, list) = named(scene)?;
    let index: u64 = scene.record.need("leaf_index")?;
    if index < list.count {
        return Ok(());
    }
    reject(3217, format!("line {index}, list {reference} has {} lines", list.count))
}

/// 3011.
fn not_struck(scene: &mut Scene<'_>) -> Verdict {
    let list: Ref = scene.record.need("list")?;
    let index: u64 = scene.record.need("leaf_index")?;
    if scene.mode == Mode::Live && is_struck(scene, &list, index)? {
        return reject(3011, format!("line {index} of {list} is struck already"));
    }
    Ok(())
}

fn strike(scene: &mut Scene<'_>) -> Verdict {
    let (reference, list) = named(scene)?;
    let index: u64 = scene.record.need("leaf_index")?;
    if is_struck(scene, &reference, index)? {
        return Ok(());
    }
    let holder = scene.record.reference.clone();
    scene.draft.put(struck_key(&reference, index), &holder)?;
    let struck = list.struck.saturating_add(1);
    Ok(scene.put(&reference, Object::List(List { struck, ..list }))?)
}

/// Whether a line was struck.
pub fn is_struck(scene: &Scene<'_>, list: &Ref, index: u64) -> Verdict<bool> {
    Ok(scene.draft.exists(&struck_key(list, index))?)
}

fn struck_key(list: &Ref, index: u64) -> key::Key {
    key::code("struck", &format!("{index}:{}", list.key_part()))
}
