//! The actions that a vote decides: their bodies, what must hold before each, and what each writes. An action is written
//! by the vote with which it passes, with the time from which it holds, so time alone changes nothing.

use super::seats::{self, SetChange};
use crate::authority::AuthoritySet;
use crate::codec::Value;
use crate::crypto::PublicKey;
use crate::outcome::Refusal;
use crate::records::body::{find, need};
use crate::records::calendar::Day;
use crate::records::object::Person;
use crate::records::registry::{Agency, Grant, Officer, Roster, holders, officers, roles};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Field, FieldKind};
use crate::records::validate;
use crate::records::working_day::{YearCalendar, calendar_key};
use crate::rules::{self, History, Setting};
use crate::state::{StateFault, key};

/// Fewest agencies that a change may leave.
const MIN_AGENCIES: usize = 4;
/// Admin keys of a new agency: registry acts need two.
const ADMIN_KEYS: usize = 2;

/// The actions that this version carries out, and the fields of their bodies.
pub const ACTIONS: &[(&str, &[Field])] = &[
    (
        "agency_register",
        &[
            Field::need("agency_id", FieldKind::Agency),
            Field::need("name", FieldKind::Text),
            Field::need("type", FieldKind::Code),
            Field::need("roles", FieldKind::List(&FieldKind::Role)),
            Field::need("admin_keys", FieldKind::List(&FieldKind::PublicKey)),
        ],
    ),
    ("authority_set", seats::FIELDS),
    ("agency_retire", &[Field::need("agency_id", FieldKind::Agency), Field::need("reason", FieldKind::Text)]),
    ("key_suspend", &[Field::need("key", FieldKind::PublicKey), Field::need("reason", FieldKind::Code)]),
    ("parameter_set", &[Field::need("name", FieldKind::Code), Field::need("value", FieldKind::Minor)]),
    (
        "calendar_set",
        &[
            Field::need("year", FieldKind::Count),
            Field::need("rest_days", FieldKind::List(&FieldKind::Date)),
            Field::need("work_days", FieldKind::List(&FieldKind::Date)),
        ],
    ),
];

/// A decoded action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    AgencyRegister {
        id: String,
        name: String,
        kind: String,
        roles: Vec<Role>,
        admin_keys: Vec<PublicKey>,
    },
    AgencyRetire {
        id: String,
    },
    /// With the bytes that were agreed.
    AuthoritySet {
        body: Vec<u8>,
        change: SetChange,
    },
    KeySuspend {
        key: PublicKey,
    },
    ParameterSet {
        name: String,
        value: u64,
    },
    CalendarSet {
        year: u64,
        rest_days: Vec<Day>,
        work_days: Vec<Day>,
    },
}

/// The form of an action's body: what the door can judge without state.
pub(super) fn check_form(action: &str, bytes: &[u8]) -> Result<(), Refusal> {
    let fields = ACTIONS.iter().find(|(name, _)| *name == action).map(|(_, fields)| *fields);
    let fields = fields.ok_or_else(|| {
        let known: Vec<_> = ACTIONS.iter().map(|(name, _)| *name).collect();
        let known = known.join(", ");
        Refusal::new(1003, format!("action {action} is not carried out by this version; it carries out {known}"))
    })?;
    let body = Value::decode(bytes).map_err(|fault| Refusal::new(1004, format!("action_body: {fault}")))?;
    validate::fields(fields, &body)?;
    if action == "authority_set" {
        return seats::check_form(&body);
    }
    if action == "agency_register" && find::<String>(&body, "name").is_some_and(|name| !validate::is_visible(&name)) {
        return Err(Refusal::new(1004, "name: without characters that are not seen or turn the order of reading"));
    }
    let admins = body.get("admin_keys").and_then(Value::as_array);
    if admins.is_some_and(|keys| keys.len() != ADMIN_KEYS || keys.first() == keys.last()) {
        return Err(Refusal::new(1004, format!("admin_keys: {ADMIN_KEYS} different keys")));
    }
    Ok(())
}

pub(super) fn decode(action: &str, bytes: &[u8]) -> Result<Action, StateFault> {
    let body = Value::decode(bytes).map_err(|fault| StateFault::Value(fault.to_string()))?;
    let keys = |name| -> Result<Vec<PublicKey>, StateFault> {
        Ok(need::<Vec<[u8; 32]>>(&body, name)?.into_iter().map(PublicKey).collect())
    };
    match action {
        "agency_register" => Ok(Action::AgencyRegister {
            id: need(&body, "agency_id")?,
            name: need(&body, "name")?,
            kind: need(&body, "type")?,
            roles: need(&body, "roles")?,
            admin_keys: keys("admin_keys")?,
        }),
        "agency_retire" => Ok(Action::AgencyRetire { id: need(&body, "agency_id")? }),
        "authority_set" => Ok(Action::AuthoritySet { body: bytes.to_vec(), change: SetChange::decode(&body)? }),
        "key_suspend" => Ok(Action::KeySuspend { key: PublicKey(need(&body, "key")?) }),
        "parameter_set" => Ok(Action::ParameterSet { name: need(&body, "name")?, value: need(&body, "value")? }),
        "calendar_set" => Ok(Action::CalendarSet {
            year: need(&body, "year")?,
            rest_days: find(&body, "rest_days").unwrap_or_default(),
            work_days: find(&body, "work_days").unwrap_or_default(),
        }),
        _ => Err(StateFault::Invariant("an unknown action passed the door")),
    }
}

/// 3803: a parameter that exists, in its range; days of the calendar's year.
pub(super) fn check_range(action: &Action) -> Verdict {
    match action {
        Action::ParameterSet { name, value } => match rules::find(name) {
            None => reject(3803, format!("there is no parameter {name}")),
            Some(known) if !known.allows(*value) => {
                let (min, max, unit) = (known.min, known.max, known.unit);
                reject(3803, format!("{name} = {value}, range {min} to {max} {unit}"))
            }
            Some(_) => Ok(()),
        },
        Action::CalendarSet { year, rest_days, work_days } => {
            let within = |day: &&Day| u64::try_from(day.year()) != Ok(*year);
            match rest_days.iter().chain(work_days).find(within) {
                Some(day) => reject(3803, format!("{day} is no day of {year}")),
                None => Ok(()),
            }
        }
        Action::AgencyRegister { .. }
        | Action::AgencyRetire { .. }
        | Action::AuthoritySet { .. }
        | Action::KeySuspend { .. } => Ok(()),
    }
}

/// What must hold in the state: ids and keys are new (3001) or exist (3002), enough agencies and roles remain (3805).
pub(super) fn check(scene: &Scene<'_>, action: &Action, set: &AuthoritySet) -> Verdict {
    match action {
        Action::AgencyRegister { id, admin_keys, .. } => {
            if scene.draft.exists(&key::agency(id))? {
                return reject(3001, format!("agency {id} is registered already"));
            }
            for key in admin_keys {
                if scene.draft.exists(&key::officer_key(&key.key_id()))? {
                    return reject(3001, format!("key {key:?} is registered already"));
                }
            }
            Ok(())
        }
        Action::AgencyRetire { id } => may_retire(scene, id, set),
        Action::AuthoritySet { change, .. } => seats::check(scene, change, set),
        Action::KeySuspend { key } => {
            if scene.draft.exists(&key::officer_key(&key.key_id()))? {
                return Ok(());
            }
            reject(3002, format!("key {key:?} is not registered"))
        }
        Action::ParameterSet { .. } | Action::CalendarSet { .. } => Ok(()),
    }
}

/// 3805.
fn may_retire(scene: &Scene<'_>, id: &str, set: &AuthoritySet) -> Verdict {
    let remaining = Roster::load(&scene.draft)?.remaining(&scene.draft)?;
    let Some((_, retiring)) = remaining.iter().find(|(agency, _)| agency == id) else {
        return reject(3002, format!("agency {id} does not exist"));
    };
    let others = || remaining.iter().filter(|(agency, _)| agency != id);
    let left = others().count();
    if left < MIN_AGENCIES {
        return reject(3805, format!("{left} agencies would be left, at least {MIN_AGENCIES} must"));
    }
    if set.index_of(id).is_some() {
        return reject(3805, format!("{id} is a member of the authority set; that set is changed first"));
    }
    seats::may_retire(scene, id)?;
    let lost = retiring.roles.iter().find(|role| others().all(|(_, agency)| !agency.roles.contains(role)));
    match lost {
        Some(role) => reject(3805, format!("nobody else could hold {}", role.code())),
        None => Ok(()),
    }
}

/// Writes what was agreed, to hold from a time on.
pub(super) fn carry_out(scene: &mut Scene<'_>, action: &Action, from_time: u64) -> Verdict {
    match action {
        Action::AgencyRegister { id, name, kind, roles, admin_keys } => {
            let agency = Agency {
                name: name.clone(),
                kind: kind.clone(),
                roles: roles.clone(),
                active_from: from_time,
                retired_from: None,
            };
            register(scene, id, &agency, admin_keys)
        }
        Action::AgencyRetire { id } => {
            let place = key::agency(id);
            if let Some(mut agency) = scene.draft.get::<Agency>(&place)? {
                agency.retired_from = Some(from_time);
                scene.draft.put(place, &agency)?;
            }
            scene.enter_registry("agencies".to_owned());
            Ok(())
        }
        Action::AuthoritySet { body, change } => seats::await_change(scene, (body, change), from_time),
        Action::KeySuspend { key } => officers::revoke_key(scene, &key.key_id(), from_time),
        Action::ParameterSet { name, value } => {
            let place = key::rule(name);
            let mut history: History = scene.draft.get(&place)?.unwrap_or_default();
            history.settings.push(Setting { from_time, value: *value });
            scene.draft.put(place, &history)?;
            Ok(())
        }
        Action::CalendarSet { year, rest_days, work_days } => {
            let place = calendar_key(i32::try_from(*year).unwrap_or(i32::MAX));
            let mut calendars: Vec<YearCalendar> = scene.draft.get(&place)?.unwrap_or_default();
            calendars.push(YearCalendar { from_time, rest_days: rest_days.clone(), work_days: work_days.clone() });
            scene.draft.put(place, &calendars)?;
            Ok(())
        }
    }
}

/// A new agency with its admins. An admin's pseudonym is the id of the first key.
fn register(scene: &mut Scene<'_>, id: &str, agency: &Agency, admin_keys: &[PublicKey]) -> Verdict {
    scene.draft.put(key::agency(id), agency)?;
    let mut roster = Roster::load(&scene.draft)?;
    roster.agencies.push(id.to_owned());
    scene.draft.put(key::registry("agencies"), &roster)?;
    scene.enter_registry("agencies".to_owned());
    for key in admin_keys {
        let person = Person(key.key_id());
        officers::enter_key(scene, (id, person, *key), agency.active_from)?;
        let place = key::officer(id, &person.0);
        let mut officer: Officer = scene.draft.get(&place)?.unwrap_or_default();
        officer.grants.push(Grant::lasting(Role::Admin, None, None));
        holders::enter(&mut scene.draft, (id, person), Role::Admin)?;
        roles::store(scene, id, person, &officer)?;
    }
    Ok(())
}
