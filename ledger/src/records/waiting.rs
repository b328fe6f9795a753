//! Two persons, two records: a record that waits for approval, and the pair `approve`, `reject` that ends the waiting.
//! What then takes effect is the mechanism's matter.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use smol_str::SmolStr;

use super::body::{self, Body, Record};
use super::judge;
use super::object::{Person, RecordLeaf, Ref, Subject};
use super::role::Role;
use super::scene::{Halt, Scene, Verdict, reject};
use super::schema::{Area, Field, FieldKind, RecordType};
use super::signer::Signer;
use crate::codec::Value;
use crate::crypto::{Hash, KeyId};
use crate::state::StateFault;
use crate::transaction::Payload;

/// One approval that a record needs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Need {
    /// The agency that must approve; None: any other than the proposer's.
    #[n(0)]
    pub agency: Option<String>,
    /// The role that the approver must hold.
    #[n(1)]
    pub role: Role,
}

impl Need {
    pub fn of(agency: &str, role: Role) -> Self {
        Self { agency: Some(agency.to_owned()), role }
    }

    /// From any agency but the proposer's.
    pub fn of_another_agency(role: Role) -> Self {
        Self { agency: None, role }
    }

    /// For a sentence: by whom.
    pub fn by(&self) -> String {
        format!("{} ({})", self.agency.as_deref().unwrap_or("another agency"), self.role.code())
    }

    fn fits_agency(&self, agency: &str, proposer: &str) -> bool {
        self.agency.as_deref().map_or(agency != proposer, |wanted| wanted == agency)
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.role.code(), self.agency.as_deref().unwrap_or("another agency"))
    }
}

/// One approval given.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Approval {
    /// Position in `needs`.
    #[n(0)]
    pub need: u32,
    #[cbor(n(1), with = "crate::codec::name")]
    pub agency: SmolStr,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub key_id: KeyId,
    #[n(3)]
    pub persons: Vec<Person>,
}

/// Where a record that needs approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Stage {
    #[n(0)]
    Waiting,
    /// The last approval came: it took effect.
    #[n(1)]
    Effective,
    /// Rejected, failed at its approval, cancelled or expired.
    #[n(2)]
    Void,
}

/// The waiting of a record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Waiting {
    #[n(0)]
    pub stage: Stage,
    /// Block time in ms after which no approval counts (3205).
    #[n(1)]
    pub valid_until: u64,
    #[n(2)]
    pub needs: Vec<Need>,
    #[n(3)]
    pub approvals: Vec<Approval>,
    /// The body, kept while the record waits because all rules run again at its approval; then empty.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub body: Vec<u8>,
}

impl Waiting {
    pub fn is_effective(&self) -> bool {
        self.stage == Stage::Effective
    }

    pub fn is_open(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// The approvals still to come.
    pub fn outstanding(&self) -> impl Iterator<Item = (u32, &Need)> {
        (0u32..).zip(&self.needs).filter(|(number, _)| self.approvals.iter().all(|given| given.need != *number))
    }
}

pub(super) const APPROVE: &str = "approve";

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[
    RecordType {
        name: APPROVE,
        zh: "批准",
        area: Area::Everywhere,
        fields: &[Field::need("waiting", FieldKind::Waiting), Field::need("digest", FieldKind::Hash)],
        belongs: two_admins,
        entitled: second_person,
        check: exact_and_in_time,
        sequence: not_before_its_request,
        take_effect: approve,
        crosses_modes: true,
        ..RecordType::BASE
    },
    RecordType {
        name: "reject",
        zh: "退回",
        area: Area::Everywhere,
        fields: &[
            Field::need("waiting", FieldKind::Waiting),
            Field::need("digest", FieldKind::Hash),
            Field::need("reason", FieldKind::Text),
        ],
        belongs: two_admins,
        entitled: second_person,
        check: exact_and_in_time,
        sequence: not_before_its_request,
        take_effect: send_back,
        crosses_modes: true,
        ..RecordType::BASE
    },
];

/// The record that an entry of a registry trail registers: the one that it approves, else itself. What needed approval
/// joined the registry with its last approval.
pub fn registered_by(payload: &Payload) -> Ref {
    let approved = if payload.record_type == APPROVE { body::find::<Ref>(&payload.body, "waiting") } else { None };
    approved.unwrap_or_else(|| Ref::new(&payload.agency, &payload.record_id))
}

/// A record that an `approve` or `reject` names, as it was when it was looked up.
struct Named {
    reference: Ref,
    leaf: Arc<RecordLeaf>,
}

impl Named {
    /// 3002 if it never waited.
    fn of(scene: &mut Scene<'_>) -> Verdict<Self> {
        let reference: Ref = scene.record.need("waiting")?;
        let Some(leaf) = scene.leaf_as_is(&reference)? else {
            return reject(3002, format!("{reference} does not exist"));
        };
        if leaf.waiting.is_none() || leaf.outcome != 0 {
            return reject(3002, format!("{reference} does not wait for approval"));
        }
        Ok(Self { reference, leaf })
    }

    fn waiting(&self) -> Result<&Waiting, StateFault> {
        self.leaf.waiting.as_deref().ok_or(StateFault::Invariant("a waiting record does not wait"))
    }
}

/// The content of a record that waits.
#[derive(Debug, Clone)]
pub(crate) struct Waited {
    kind: &'static RecordType,
    body: Arc<Value>,
    mentions: Arc<body::Mentions>,
}

impl Waited {
    pub fn of(leaf: &RecordLeaf) -> Result<Self, StateFault> {
        let waiting = leaf.waiting.as_ref().ok_or(StateFault::Invariant("a waiting record does not wait"))?;
        let kind = kind_of(leaf)?;
        let body = Value::decode(&waiting.body).map_err(|fault| StateFault::Value(fault.to_string()))?;
        let mentions = Arc::new(body::Mentions::of(kind, &body));
        Ok(Self { kind, body: Arc::new(body), mentions })
    }

    fn record(self, reference: &Ref, leaf: &RecordLeaf) -> Record<'static> {
        Record {
            kind: self.kind,
            reference: reference.clone(),
            transaction_id: leaf.transaction_id,
            key_id: leaf.key_id,
            body: Body::Waited(self.body),
            recorded: leaf.recorded,
            effective: leaf.effective,
            known: body::Known { mentions: OnceCell::from(self.mentions), ..body::Known::default() },
        }
    }
}

/// Whether the signer, or who lent it the role, has already acted on the record.
fn has_acted(signer: &Signer, leaf: &RecordLeaf, waiting: &Waiting) -> bool {
    let persons = signer.persons();
    let acted =
        |key: &KeyId, others: &[Person]| *key == signer.key_id || others.iter().any(|person| persons.contains(person));
    acted(&leaf.key_id, &leaf.persons) || waiting.approvals.iter().any(|given| acted(&given.key_id, &given.persons))
}

/// 3013: a registry act needs two admins, not one twice.
fn two_admins(scene: &mut Scene<'_>) -> Verdict {
    let named = Named::of(scene)?;
    let waiting = named.waiting()?;
    let admins = waiting.outstanding().any(|(_, need)| need.role == Role::Admin);
    if waiting.is_open() && admins && has_acted(&scene.signer, &named.leaf, waiting) {
        return reject(3013, format!("{} has this person's signature already", named.reference));
    }
    Ok(())
}

/// 3003 and 3004: another key and person than all before, of the agency and in the role that is still needed.
fn second_person(scene: &mut Scene<'_>) -> Verdict {
    let named = Named::of(scene)?;
    let (reference, leaf, waiting) = (&named.reference, &named.leaf, named.waiting()?);
    if !waiting.is_open() {
        return Ok(());
    }
    if has_acted(&scene.signer, leaf, waiting) {
        let code = if kind_of(leaf)?.name == "correct" { 3701 } else { 3004 };
        return reject(code, format!("{reference} has this person's signature already"));
    }
    let agency = &scene.signer.agency;
    let mut fitting = waiting.outstanding().filter(|(_, need)| need.fits_agency(agency, &reference.agency)).peekable();
    if fitting.peek().is_none() {
        let wanted: Vec<_> = waiting.outstanding().map(|(_, need)| need.to_string()).collect();
        return reject(3004, format!("{agency} approves nothing here; wanted: {}", wanted.join(", ")));
    }
    let wanted: Vec<&Need> = fitting.map(|(_, need)| need).collect();
    if matching_need(scene, &named)?.is_none() {
        let wanted: Vec<_> = wanted.iter().map(|need| need.to_string()).collect();
        return reject(3003, format!("wants {}", wanted.join(" or ")));
    }
    Ok(())
}

/// The first outstanding need that the signer can meet: agency, role in force, its limit and scope.
fn matching_need(scene: &mut Scene<'_>, named: &Named) -> Verdict<Option<u32>> {
    let (reference, leaf, waiting) = (&named.reference, &named.leaf, named.waiting()?);
    let waited = scene.waited(reference, leaf)?;
    let body = Arc::clone(&waited.mentions);
    let amount = amount_of(scene, waited.record(reference, leaf))?;
    let subjects = judge::concerned(scene, kind_of(leaf)?, &body, &leaf.subjects)?;
    let (signer, today) = (&scene.signer, scene.today());
    Ok(waiting
        .outstanding()
        .find(|(_, need)| {
            need.fits_agency(&signer.agency, &reference.agency) && signer.covers(need.role, today, amount, &subjects)
        })
        .map(|(number, _)| number))
}

/// What a waiting record moves.
fn amount_of(scene: &mut Scene<'_>, record: Record<'static>) -> Verdict<u64> {
    let kind = record.kind;
    let outer = std::mem::replace(&mut scene.record, record);
    let amount = (kind.amount)(scene);
    scene.record = outer;
    amount
}

fn kind_of(leaf: &RecordLeaf) -> Result<&'static RecordType, StateFault> {
    super::record_type(&leaf.record_type).ok_or(StateFault::Invariant("a stored record has an unknown type"))
}

/// 3204 and 3205: exactly that record, still waiting.
fn exact_and_in_time(scene: &mut Scene<'_>) -> Verdict {
    let named = Named::of(scene)?;
    let (reference, leaf, waiting) = (&named.reference, &named.leaf, named.waiting()?);
    let digest: Hash = scene.record.need("digest")?;
    if digest != leaf.transaction_id {
        let (named, recorded) = (hex::encode(digest), hex::encode(leaf.transaction_id));
        return reject(3204, format!("digest {named}, {reference} is {recorded}"));
    }
    if !waiting.is_open() {
        return reject(3205, format!("{reference} waits no more"));
    }
    if scene.block.time_ms > waiting.valid_until {
        return reject(3205, format!("time {}, valid until {}", scene.block.time_ms, waiting.valid_until));
    }
    Ok(())
}

/// 3009.
fn not_before_its_request(scene: &mut Scene<'_>) -> Verdict {
    super::fund::rules::follows(scene, "waiting")
}

/// All rules run again over the waiting record; with the last approval it takes effect. A failure ends it: the frame
/// voids it when this record is rejected.
fn approve(scene: &mut Scene<'_>) -> Verdict {
    let named = Named::of(scene)?;
    let need =
        matching_need(scene, &named)?.ok_or(StateFault::Invariant("an approval without a need passed its checks"))?;
    let mut waiting = named.waiting()?.clone();
    waiting.approvals.push(Approval {
        need,
        agency: scene.signer.agency.clone(),
        key_id: scene.signer.key_id,
        persons: scene.signer.persons(),
    });
    let complete = waiting.outstanding().next().is_none();
    scene.ends_on_failure = Some(named.reference.clone());
    inside(scene, &named.reference, |scene| {
        judge::check(scene)?;
        if complete { judge::take_effect(scene) } else { Ok(()) }
    })?;
    scene.ends_on_failure = None;
    if complete {
        waiting.stage = Stage::Effective;
        waiting.body = Vec::new();
    }
    scene.change_leaf(&named.reference, |leaf| leaf.waiting = Some(Arc::new(waiting)))?;
    Ok(())
}

fn send_back(scene: &mut Scene<'_>) -> Verdict {
    let named = Named::of(scene)?;
    end(scene, &named.reference)
}

/// Ends a waiting record without effect: rejected, failed, cancelled or expired. 3205 if it waits no more.
pub fn end(scene: &mut Scene<'_>, reference: &Ref) -> Verdict {
    let waits = scene.leaf(reference)?.and_then(|leaf| leaf.waiting.as_ref()).is_some_and(|waiting| waiting.is_open());
    if !waits {
        return reject(3205, format!("{reference} waits no more"));
    }
    inside(scene, reference, |scene| (scene.record.kind.void)(scene))?;
    scene.change_leaf(reference, |leaf| {
        if let Some(waiting) = leaf.waiting.as_mut().map(Arc::make_mut) {
            waiting.stage = Stage::Void;
            waiting.body = Vec::new();
        }
    })?;
    Ok(())
}

/// Ends a waiting record whose approval failed. Giving back what was reserved cannot be rejected.
pub(crate) fn void(scene: &mut Scene<'_>, reference: &Ref) -> Result<(), StateFault> {
    match end(scene, reference) {
        Ok(()) => Ok(()),
        Err(Halt::Fault(fault)) => Err(fault),
        Err(Halt::Rejected(_)) => Err(StateFault::Invariant("a waiting record cannot be voided")),
    }
}

/// Runs a step with the waiting record on the scene instead of the one that ends its waiting.
fn inside(scene: &mut Scene<'_>, reference: &Ref, step: impl FnOnce(&mut Scene<'_>) -> Verdict) -> Verdict {
    let leaf = scene.leaf_as_is(reference)?.ok_or(StateFault::Invariant("a waiting record has no leaf"))?;
    let record = scene.waited(reference, &leaf)?.record(reference, &leaf);
    let signer = Signer::of(&scene.draft, &record, scene.block.time_ms)?
        .ok_or(StateFault::Invariant("the key of a waiting record is not registered"))?;
    let outer = (
        std::mem::replace(&mut scene.record, record),
        std::mem::replace(&mut scene.signer, signer),
        std::mem::replace(&mut scene.mode, leaf.mode),
        std::mem::replace(&mut scene.subjects, Arc::clone(&leaf.subjects)),
    );
    let known = &leaf.flags;
    let earlier = scene.flags().len();
    step(scene)?;
    scene.forget_flags(earlier, known);
    if let Some(object) = scene.take_created() {
        if object.kind().has_trail() {
            scene.touch(Subject::Record(reference.clone()));
        }
        scene.put(reference, object)?;
    }
    // Whoever refers to the record joins the trails that its effect touched.
    let own = Subject::Record(reference.clone());
    let touched = scene.touched().iter().filter(|subject| **subject != own && !leaf.subjects.contains(subject));
    let new: Vec<Subject> = touched.cloned().collect();
    if !new.is_empty() {
        let all: BTreeSet<Subject> = leaf.subjects.iter().cloned().chain(new).collect();
        scene.change_leaf(reference, |leaf| leaf.subjects = all.into_iter().collect())?;
    }
    (scene.record, scene.signer, scene.mode, scene.subjects) = outer;
    Ok(())
}
