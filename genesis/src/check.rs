//! What a genesis document must fulfil beyond its form. Each fault names the place and the value; nothing is repaired.

use std::collections::{BTreeMap, BTreeSet};

use mingzhang_ledger::authority::{MAX_MEMBERS, Parameters};
use mingzhang_ledger::crypto::PublicKey;
use mingzhang_ledger::records::role::Role;
use mingzhang_ledger::records::validate;
use mingzhang_ledger::rules;

use crate::document::{Agency, Document, FORMAT, Node, Person, PlacedKey};
use crate::genesis::GenesisFault;

/// Money needs these, each at an organisation of its own; the auditor and the importer act beside them.
const MONEY_ROLES: [&str; 4] = ["programme_owner", "finance", "agent_bank", "supervisor"];

/// Fewest authorities of a network for use: with fewer none may be faulty.
pub(crate) const MIN_AUTHORITIES: usize = 4;
/// Most organisations that a genesis may register.
const MAX_AGENCIES: usize = 4_096;
/// Most officers of one agency in a genesis.
const MAX_OFFICERS: usize = 1_024;
/// Administrators of an agency: registry acts need two.
const ADMINS: usize = 2;
const MAX_NAME_BYTES: usize = 200;
const MAX_ID_BYTES: usize = 32;
const MAX_URL_BYTES: usize = 200;
/// Most keys of one kind (recovery, log).
const MAX_HELD_KEYS: usize = 64;
/// Offsets in use lie within UTC−12:00 and UTC+14:00.
const UTC_OFFSET_MINUTES: std::ops::RangeInclusive<i64> = -720..=840;

type Check = Result<(), GenesisFault>;

/// Checks everything and forms the consensus parameters.
pub(crate) fn check(document: &Document) -> Result<Parameters, GenesisFault> {
    if document.format != FORMAT {
        return Err(GenesisFault::Format(document.format.clone()));
    }
    if document.suite != 1 {
        return Err(GenesisFault::Suite(document.suite));
    }
    if document.test_keys && !document.development {
        return Err(GenesisFault::TestKeys);
    }
    check_name(&document.name)?;
    if !UTC_OFFSET_MINUTES.contains(&document.utc_offset_minutes) {
        return Err(GenesisFault::UtcOffset(document.utc_offset_minutes));
    }
    check_currencies(&document.currencies)?;
    let parameters = consensus_parameters(document)?;
    check_rules(document)?;
    check_agencies(document)?;
    check_keys(document.keys())?;
    check_recovery(document)?;
    if !document.development {
        check_money(&document.agencies)?;
    }
    Ok(parameters)
}

/// `host/path`, in lowercase: it becomes part of the origin and of the names of sealing keys.
pub(crate) fn check_name(name: &str) -> Check {
    let fault = || GenesisFault::Name(name.to_owned());
    let (host, path) = name.split_once('/').ok_or_else(fault)?;
    let plain = |text: &str| {
        !text.is_empty()
            && text.split(['.', '/']).all(|label| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            })
    };
    if plain(host) && plain(path) && name.len() <= MAX_NAME_BYTES { Ok(()) } else { Err(fault()) }
}

fn check_currencies(currencies: &[String]) -> Check {
    if currencies.is_empty() {
        return Err(GenesisFault::NoCurrency);
    }
    let mut seen = BTreeSet::new();
    for currency in currencies {
        if iso_currency::Currency::from_code(currency).is_none() {
            return Err(GenesisFault::Currency(currency.clone()));
        }
        if !seen.insert(currency) {
            return Err(GenesisFault::Twice { what: "currency", value: currency.clone() });
        }
    }
    Ok(())
}

fn consensus_parameters(document: &Document) -> Result<Parameters, GenesisFault> {
    let mut parameters = Parameters::default();
    for (name, value) in &document.consensus.0 {
        if !parameters.set(name, *value) {
            return Err(GenesisFault::UnknownParameter(name.clone()));
        }
    }
    parameters.check()?;
    Ok(parameters)
}

fn check_rules(document: &Document) -> Check {
    for (name, value) in &document.rules.0 {
        let rule = rules::find(name).ok_or_else(|| GenesisFault::UnknownParameter(name.clone()))?;
        if !rule.allows(*value) {
            let (name, value, least, most) = (rule.name, *value, rule.min, rule.max);
            return Err(GenesisFault::Rule { name, value, least, most });
        }
    }
    Ok(())
}

fn check_agencies(document: &Document) -> Check {
    let agencies = &document.agencies;
    if agencies.len() > MAX_AGENCIES {
        return Err(GenesisFault::TooMany { what: "agencies", count: agencies.len(), most: MAX_AGENCIES });
    }
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    for agency in agencies {
        if !ids.insert(&agency.id) {
            return Err(GenesisFault::Twice { what: "agency id", value: agency.id.clone() });
        }
        if !names.insert(&agency.name) {
            return Err(GenesisFault::Twice { what: "agency name", value: agency.name.clone() });
        }
        check_agency(agency)?;
    }
    let authorities = agencies.iter().filter(|agency| agency.node.is_some()).count();
    let least = if document.development { 1 } else { MIN_AUTHORITIES };
    if authorities < least {
        return Err(GenesisFault::TooFewAuthorities { have: authorities, need: least });
    }
    if authorities > MAX_MEMBERS {
        return Err(GenesisFault::TooMany { what: "authorities", count: authorities, most: MAX_MEMBERS });
    }
    Ok(())
}

/// The id of a founder. The ledger's own rule, for those who are registered later, is a little wider.
pub fn check_agency_id(id: &str) -> Check {
    let plain = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if id.is_empty() || id.len() > MAX_ID_BYTES || !plain || id.starts_with('-') || id.ends_with('-') {
        return Err(GenesisFault::AgencyId(id.to_owned()));
    }
    Ok(())
}

/// What one agency must fulfil by itself, whoever the others are.
pub(crate) fn check_agency(agency: &Agency) -> Check {
    let id = &agency.id;
    check_agency_id(id)?;
    for (what, text) in [("name", &agency.name), ("kind", &agency.kind)] {
        let trimmed = text.trim() == text && validate::is_visible(text);
        if text.is_empty() || text.len() > MAX_NAME_BYTES || !trimmed {
            return Err(GenesisFault::AgencyText { agency: id.clone(), what, text: text.clone() });
        }
    }
    let mut roles = BTreeSet::new();
    for role in &agency.roles {
        if agency_roles().all(|known| known != role) {
            return Err(GenesisFault::UnknownRole { agency: id.clone(), role: role.clone() });
        }
        if !roles.insert(role.as_str()) {
            return Err(GenesisFault::Twice { what: "role of an agency", value: format!("{id}: {role}") });
        }
    }
    if agency.admin_keys.len() != ADMINS {
        return Err(GenesisFault::Admins { agency: id.clone(), have: agency.admin_keys.len() });
    }
    if agency.officers.len() > MAX_OFFICERS {
        return Err(GenesisFault::TooMany { what: "officers", count: agency.officers.len(), most: MAX_OFFICERS });
    }
    for role in agency.officers.iter().flat_map(|officer| &officer.roles) {
        if !roles.contains(role.role.as_str()) {
            return Err(GenesisFault::RoleNotHeld { agency: id.clone(), role: role.role.clone() });
        }
    }
    check_persons(agency)?;
    agency.node.as_ref().map_or(Ok(()), |node| check_url(id, node))
}

/// One person, one key in an agency: otherwise two signatures might be one person's.
fn check_persons(agency: &Agency) -> Check {
    let mut persons: BTreeSet<Person> = BTreeSet::new();
    let admins = agency.admin_keys.iter().map(|admin| admin.person);
    for person in admins.chain(agency.officers.iter().map(|officer| officer.person)) {
        if !persons.insert(person) {
            return Err(GenesisFault::Twice { what: "person of an agency", value: hex::encode(person.0) });
        }
    }
    Ok(())
}

fn check_url(agency: &str, node: &Node) -> Check {
    let url = &node.url;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let plain = rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\'));
    let has_host = !rest.is_empty() && !rest.starts_with('/');
    if has_host && plain && url.len() <= MAX_URL_BYTES {
        Ok(())
    } else {
        Err(GenesisFault::Url { agency: agency.to_owned(), url: url.clone() })
    }
}

/// The roles that an agency may hold. Every agency has administrators; that role is not given to it.
pub fn agency_roles() -> impl Iterator<Item = &'static str> {
    Role::ALL.into_iter().filter(|role| *role != Role::Admin).map(Role::code)
}

/// Every key can be registered, and stands in one place only.
pub(crate) fn check_keys(keys: Vec<PlacedKey>) -> Check {
    let mut places: BTreeMap<PublicKey, String> = BTreeMap::new();
    for place in keys {
        let text = format!("{}, {} key", place.agency, place.use_of_key.name());
        place.key.check_registrable().map_err(|fault| GenesisFault::Key { place: text.clone(), fault })?;
        if let Some(first) = places.insert(place.key, text.clone()) {
            return Err(GenesisFault::KeyTwice { first, second: text });
        }
    }
    Ok(())
}

/// Recovery or log keys are not too many.
pub(crate) fn check_held(what: &'static str, count: usize) -> Check {
    if count > MAX_HELD_KEYS { Err(GenesisFault::TooMany { what, count, most: MAX_HELD_KEYS }) } else { Ok(()) }
}

fn check_recovery(document: &Document) -> Check {
    let recovery = &document.recovery;
    for (what, held) in [("recovery keys", &recovery.keys), ("log keys", &document.log_keys)] {
        check_held(what, held.len())?;
        for key in held {
            if !document.agencies.iter().any(|agency| agency.id == key.agency) {
                return Err(GenesisFault::UnknownHolder(key.agency.clone()));
            }
        }
    }
    let count = recovery.keys.len();
    let threshold = usize::try_from(recovery.threshold).unwrap_or(usize::MAX);
    // A minority of the holders must not be able to found an epoch.
    let fits = if count == 0 { threshold == 0 } else { threshold <= count && threshold.saturating_mul(2) > count };
    if fits { Ok(()) } else { Err(GenesisFault::RecoveryThreshold { threshold: recovery.threshold, keys: count }) }
}

/// Owner, finance, bank and supervisor must be able to be four different organisations. Roles are few, so every
/// choice is tried.
fn check_money(agencies: &[Agency]) -> Check {
    for role in MONEY_ROLES {
        if !agencies.iter().any(|agency| agency.roles.iter().any(|held| held == role)) {
            return Err(GenesisFault::MissingRole(role));
        }
    }
    if distinct_holders(agencies, &MONEY_ROLES, &mut Vec::new()) { Ok(()) } else { Err(GenesisFault::RolesNotApart) }
}

fn distinct_holders<'a>(agencies: &'a [Agency], roles: &[&str], taken: &mut Vec<&'a str>) -> bool {
    let Some((role, rest)) = roles.split_first() else { return true };
    // More candidates than roles are never needed: one of them is always free.
    let holders = agencies.iter().filter(|agency| agency.roles.iter().any(|held| held == role));
    for agency in holders.take(MONEY_ROLES.len()) {
        if taken.contains(&agency.id.as_str()) {
            continue;
        }
        taken.push(&agency.id);
        if distinct_holders(agencies, rest, taken) {
            return true;
        }
        taken.pop();
    }
    false
}
