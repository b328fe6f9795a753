//! A change of the authority set: which seats join, change or leave, which consensus parameters hold, what must be true
//! of it, and the block in which it happens. An agreed change waits in `set/next` for its time and for the members of the
//! next set to be ready (`readiness`); one at a time. How nodes go from one set to the next is the consensus crate's matter.

use super::set::{AgreedChange, NextSet, NodeKey, Readiness, agreed, current, is_known};
use crate::authority::{AuthoritySet, MAX_MEMBERS, Member};
use crate::certificate::{KeyRole, possess_bytes};
use crate::codec::Value;
use crate::crypto::{PublicKey, Signature};
use crate::outcome::Refusal;
use crate::records::body::{find, need};
use crate::records::object::Ref;
use crate::records::registry::Agency;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Field, FieldKind};
use crate::state::execute::BlockContext;
use crate::state::{Overlay, StateFault, Stored, key};

/// Fewest members of a set outside development networks: fewer tolerate no faulty one.
const MIN_MEMBERS: usize = 4;

const SEAT: &[Field] = &[
    Field::need("agency_id", FieldKind::Agency),
    Field::may("consensus_key", FieldKind::PublicKey),
    Field::may("consensus_proof", FieldKind::Possession),
    Field::may("peer_key", FieldKind::PublicKey),
    Field::may("peer_proof", FieldKind::Possession),
    Field::may("url", FieldKind::Declared),
];

const PARAMETER: &[Field] = &[Field::need("name", FieldKind::Code), Field::need("value", FieldKind::Count)];

/// The fields of the action `authority_set`.
pub(super) const FIELDS: &[Field] = &[
    Field::may("seats", FieldKind::List(&FieldKind::Map(SEAT))),
    Field::may("remove", FieldKind::List(&FieldKind::Agency)),
    Field::may("parameters", FieldKind::List(&FieldKind::Map(PARAMETER))),
];

/// A key and the proof that its holder has it.
type Proven = (PublicKey, Signature);

/// An agency that joins, or what changes of its seat.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seat {
    agency: String,
    consensus: Option<Proven>,
    peer: Option<Proven>,
    url: Option<String>,
}

/// A decoded change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetChange {
    seats: Vec<Seat>,
    remove: Vec<String>,
    parameters: Vec<(String, u64)>,
}

/// The form that the schema cannot say: keys come with their proofs, addresses are addresses, and something changes.
pub(super) fn check_form(body: &Value) -> Result<(), Refusal> {
    let wrong = |what: &str| Err(Refusal::new(1004, format!("authority_set: {what}")));
    let list = |name| body.get(name).and_then(Value::as_array).unwrap_or_default();
    if ["seats", "remove", "parameters"].into_iter().all(|name| list(name).is_empty()) {
        return wrong("it changes nothing");
    }
    for seat in list("seats") {
        for (key, proof) in [("consensus_key", "consensus_proof"), ("peer_key", "peer_proof")] {
            if seat.get(key).is_some() != seat.get(proof).is_some() {
                return wrong(&format!("{key} and {proof} come together"));
            }
        }
        let url = seat.get("url").and_then(Value::as_text);
        if url.is_some_and(|url| !is_url(url)) {
            return wrong("url is http:// or https:// with a host");
        }
    }
    Ok(())
}

fn is_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    !host.is_empty() && !url.contains([' ', '"', '\\'])
}

impl SetChange {
    pub(super) fn decode(body: &Value) -> Result<Self, StateFault> {
        let list = |name| find::<Vec<Value>>(body, name).unwrap_or_default();
        let proven = |seat: &Value, key: &str, proof: &str| -> Option<Proven> {
            Some((PublicKey(find(seat, key)?), Signature(find(seat, proof)?)))
        };
        let seats = list("seats").into_iter().map(|seat| {
            let seat = &seat;
            Ok(Seat {
                agency: need(seat, "agency_id")?,
                consensus: proven(seat, "consensus_key", "consensus_proof"),
                peer: proven(seat, "peer_key", "peer_proof"),
                url: find(seat, "url"),
            })
        });
        let parameter = |one: Value| Ok((need(&one, "name")?, need(&one, "value")?));
        let parameters = list("parameters").into_iter().map(parameter);
        Ok(Self {
            seats: seats.collect::<Result<_, StateFault>>()?,
            remove: find(body, "remove").unwrap_or_default(),
            parameters: parameters.collect::<Result<_, StateFault>>()?,
        })
    }

    fn of(agreed: &AgreedChange) -> Result<Self, StateFault> {
        Self::decode(&Value::decode(&agreed.action_body).map_err(|fault| StateFault::Value(fault.to_string()))?)
    }

    pub(super) fn names(&self, agency: &str) -> bool {
        self.seats.iter().any(|seat| seat.agency == agency)
    }

    /// Whether a seat comes to a node that did not hold it before: its agency joins, or its consensus key changes.
    fn joins(&self, agency: &str) -> bool {
        self.seats.iter().any(|seat| seat.agency == agency && seat.consensus.is_some())
    }

    fn new_keys(&self) -> impl Iterator<Item = PublicKey> {
        self.seats.iter().flat_map(|seat| [seat.consensus, seat.peer]).flatten().map(|(key, _)| key)
    }

    /// The set after the change. Sealing keys stay what they are; a member that joins has none yet. The error says why
    /// the change does not fit the set.
    fn apply(&self, current: &AuthoritySet) -> Result<AuthoritySet, String> {
        let mut next = current.clone();
        next.epoch = current.epoch.saturating_add(1);
        for agency in &self.remove {
            let before = next.members.len();
            next.members.retain(|member| member.agency != *agency);
            if next.members.len() == before || self.names(agency) {
                return Err(format!("{agency} is removed and is no member, or is named twice"));
            }
        }
        for seat in &self.seats {
            if self.seats.iter().filter(|other| other.agency == seat.agency).count() > 1 {
                return Err(format!("{} is named twice", seat.agency));
            }
            match next.members.iter_mut().find(|member| member.agency == seat.agency) {
                Some(member) => {
                    member.consensus_key = seat.consensus.map_or(member.consensus_key, |(key, _)| key);
                    member.peer_key = seat.peer.map_or(member.peer_key, |(key, _)| key);
                    member.url = seat.url.clone().unwrap_or_else(|| member.url.clone());
                }
                None => {
                    let (Some((consensus_key, _)), Some((peer_key, _)), Some(url)) =
                        (seat.consensus, seat.peer, &seat.url)
                    else {
                        return Err(format!("{} joins without both keys and a url", seat.agency));
                    };
                    let (agency, url) = (seat.agency.clone(), url.clone());
                    next.members.push(Member { agency, consensus_key, sealing_key: PublicKey([0; 32]), peer_key, url });
                }
            }
        }
        for (name, value) in &self.parameters {
            if !next.parameters.set(name, *value) {
                return Err(format!("there is no consensus parameter {name}"));
            }
        }
        if next.members == current.members && next.parameters == current.parameters {
            return Err("it changes nothing".to_owned());
        }
        Ok(next)
    }
}

/// The members and parameters that an `authority_set` body would lead to, for whoever weighs a vote. Sealing keys are not
/// filled in. None if the body has not the form, or does not fit the set.
pub fn preview(action_body: &[u8], current: &AuthoritySet) -> Option<AuthoritySet> {
    let body = Value::decode(action_body).ok()?;
    crate::records::validate::fields(FIELDS, &body).ok()?;
    check_form(&body).ok()?;
    SetChange::decode(&body).ok()?.apply(current).ok()
}

/// What must hold in the state: one change at a time (3808); it fits the set (3809) and leaves a set that can decide
/// (3803, 3805); its agencies exist (3002); its keys are proven (3806) and new (3807).
pub(super) fn check(scene: &Scene<'_>, change: &SetChange, current: &AuthoritySet) -> Verdict {
    if let Some(agreed) = agreed(&scene.draft)? {
        return reject(3808, format!("the change of {} is agreed and has not happened yet", agreed.proposal));
    }
    for seat in &change.seats {
        let agency: Option<Agency> = scene.draft.get(&key::agency(&seat.agency))?;
        if agency.is_none_or(|agency| agency.retired_from.is_some()) {
            return reject(3002, format!("agency {} does not exist", seat.agency));
        }
    }
    let next = match change.apply(current) {
        Ok(next) => next,
        Err(reason) => return reject(3809, reason),
    };
    if let Err(fault) = next.parameters.check() {
        return reject(3803, fault.to_string());
    }
    let (least, members) = (if scene.network.development { 1 } else { MIN_MEMBERS }, next.members.len());
    if !(least..=MAX_MEMBERS).contains(&members) {
        return reject(3805, format!("{members} members would decide, allowed are {least} to {MAX_MEMBERS}"));
    }
    proofs_hold(scene, change)?;
    keys_are_new(scene, change, current)
}

fn proofs_hold(scene: &Scene<'_>, change: &SetChange) -> Verdict {
    for seat in &change.seats {
        for (role, proven) in [(KeyRole::Consensus, seat.consensus), (KeyRole::Peer, seat.peer)] {
            let Some((key, proof)) = proven else { continue };
            if !key.verify_strict(&possess_bytes(&scene.network.chain, &seat.agency, role, &key), &proof) {
                return reject(3806, format!("{} does not prove that it holds {key:?}", seat.agency));
            }
        }
    }
    Ok(())
}

fn keys_are_new(scene: &Scene<'_>, change: &SetChange, set: &AuthoritySet) -> Verdict {
    let mut seen = Vec::new();
    for key in change.new_keys() {
        if seen.contains(&key) || is_known(&scene.draft, &key, set)? {
            return reject(3807, format!("key {key:?} was registered before"));
        }
        seen.push(key);
    }
    Ok(())
}

/// Whether an agency has a seat in the change that waits.
pub(super) fn is_awaited(draft: &Overlay<'_>, agency: &str) -> Result<bool, StateFault> {
    Ok(match agreed(draft)? {
        Some(agreed) => SetChange::of(&agreed)?.names(agency),
        None => false,
    })
}

/// An agreed change waits from now on, and its keys are taken.
pub(super) fn await_change(scene: &mut Scene<'_>, (body, change): (&[u8], &SetChange), from_time: u64) -> Verdict {
    let valid_until = from_time.saturating_add(scene.parameter("hold_expiry")?);
    let proposal: Ref = scene.record.need("proposal")?;
    let (action_body, agreed_height) = (body.to_vec(), scene.block.height);
    let change_value = AgreedChange { proposal, action_body, from_time, valid_until, agreed_height };
    scene.draft.put(key::set_next(), &NextSet { change: Some(change_value) })?;
    for key in change.new_keys() {
        scene.draft.put(key::node_key(&key), &NodeKey { epoch: current(&scene.draft)?.epoch.saturating_add(1) })?;
    }
    Ok(())
}

/// After the last record of a block: the agreed change happens if its time has come and the next set is ready, which
/// makes this a boundary block; or it lapses.
pub(crate) fn close_block(draft: &mut Overlay<'_>, block: &BlockContext) -> Result<(), StateFault> {
    let Some(agreed) = agreed(draft)? else { return Ok(()) };
    match ready_set(draft, &agreed, block.time_ms)? {
        Some(next) => replace_set(draft, &current(draft)?, &next),
        None if block.time_ms > agreed.valid_until => draft.put(key::set_next(), &NextSet::default()),
        None => Ok(()),
    }
}

fn replace_set(draft: &mut Overlay<'_>, before: &AuthoritySet, next: &AuthoritySet) -> Result<(), StateFault> {
    for key in before.members.iter().flat_map(|member| [member.consensus_key, member.sealing_key, member.peer_key]) {
        draft.put(key::node_key(&key), &NodeKey { epoch: before.epoch })?;
    }
    draft.put(key::set_next(), &NextSet::default())?;
    draft.set(key::set_current(), Stored { current: next.encode().into(), trail: None });
    Ok(())
}

/// Before the first record of the first block after a recovery manifest: its set decides, an agreed change is void.
pub(crate) fn recover(draft: &mut Overlay<'_>, set: &AuthoritySet) -> Result<(), StateFault> {
    replace_set(draft, &current(draft)?, set)
}

/// Whether a block of this time would be a boundary block even without a record: then it is wanted.
pub fn is_due(draft: &Overlay<'_>, time_ms: u64) -> Result<bool, StateFault> {
    Ok(match agreed(draft)? {
        Some(agreed) => time_ms > agreed.valid_until || ready_set(draft, &agreed, time_ms)?.is_some(),
        None => false,
    })
}

/// Consensus and peer keys of the members that wait to join: whom nodes let in before they have a seat.
pub fn joining(draft: &Overlay<'_>) -> Result<Vec<Member>, StateFault> {
    let Some(agreed) = agreed(draft)? else { return Ok(Vec::new()) };
    let (change, current) = (SetChange::of(&agreed)?, current(draft)?);
    let next = change.apply(&current).map_err(|_| StateFault::Invariant("an agreed change does not fit"))?;
    Ok(next.members.into_iter().filter(|member| !current.members.contains(member)).collect())
}

/// The next set, once its time has come and enough of it is ready: whoever joins, a quorum of the next set, and so many
/// of the old members that those who keep a sealing key could never form an old quorum again.
fn ready_set(draft: &Overlay<'_>, agreed: &AgreedChange, time_ms: u64) -> Result<Option<AuthoritySet>, StateFault> {
    if time_ms < agreed.from_time {
        return Ok(None);
    }
    let (change, current) = (SetChange::of(agreed)?, current(draft)?);
    let mut next = change.apply(&current).map_err(|_| StateFault::Invariant("an agreed change does not fit"))?;
    let (epoch, mut kept) = (next.epoch, 0usize);
    for member in &mut next.members {
        let known: Option<Readiness> = draft.get(&key::sealing(&member.agency))?;
        let joins = change.joins(&member.agency);
        match known.filter(|known| known.epoch == epoch && (!joins || known.is_after(agreed.agreed_height))) {
            Some(ready) => member.sealing_key = PublicKey(ready.sealing_key),
            None if joins => return Ok(None),
            None => kept = kept.saturating_add(1),
        }
    }
    let ready = next.members.len().saturating_sub(kept);
    Ok((ready >= next.quorum() && kept <= current.tolerated_faults()).then_some(next))
}

/// An agency that is to become a member is not retired meanwhile.
pub(super) fn may_retire(scene: &Scene<'_>, agency: &str) -> Verdict {
    if is_awaited(&scene.draft, agency)? {
        return reject(3805, format!("{agency} is to become a member of the authority set"));
    }
    Ok(())
}
