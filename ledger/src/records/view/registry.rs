//! The view of what the registry keeps under keys of its own: agencies, officer keys, officers, recipients.

use serde_json::{Value as Json, json};

use super::{day, hash, person, reference, time};
use crate::crypto::PublicKey;
use crate::records::registry::{Agency, Grant, Officer, OfficerKey, Recipient};
use crate::records::role::Role;

/// The value of `agency/<id>`, with its status at a block time.
pub fn agency(id: &str, agency: &Agency, now_ms: u64, utc_offset_minutes: i32) -> Json {
    let retired = agency.retired_from.is_some_and(|from| from <= now_ms);
    let status = match (agency.active_from <= now_ms, retired) {
        (_, true) => "retired",
        (false, false) => "coming",
        (true, false) => "active",
    };
    json!({
        "agency_id": id,
        "name": agency.name,
        "type": agency.kind,
        "roles": agency.roles.iter().map(|role| role.code()).collect::<Vec<_>>(),
        "status": status,
        "active_from": time(agency.active_from, utc_offset_minutes),
        "retired_from": agency.retired_from.map(|from| time(from, utc_offset_minutes)),
    })
}

/// The value of `key/<key id>`, with its status at a block time.
pub fn officer_key(key: &OfficerKey, now_ms: u64, utc_offset_minutes: i32) -> Json {
    let revoked = key.revoked_from.is_some_and(|from| from <= now_ms);
    json!({
        "key_id": hex::encode(PublicKey(key.key).key_id()),
        "key": hex::encode(key.key),
        "agency_id": key.agency,
        "officer": person(&key.person),
        "status": if revoked { "revoked" } else { "active" },
        "active_from": time(key.active_from, utc_offset_minutes),
        "revoked_from": key.revoked_from.map(|from| time(from, utc_offset_minutes)),
    })
}

/// The value of `officer/<agency>/<person>`.
pub fn officer(officer: &Officer, utc_offset_minutes: i32) -> Json {
    json!({
        "keys": officer.keys.iter().map(|key| hex::encode(key.0)).collect::<Vec<_>>(),
        "roles": officer.grants.iter().map(|held| grant(held, utc_offset_minutes)).collect::<Vec<_>>(),
    })
}

fn grant(grant: &Grant, utc_offset_minutes: i32) -> Json {
    let role: Role = grant.role;
    json!({
        "role": role.code(),
        "scope": grant.scope.as_ref().map(reference),
        "max_minor": grant.max_minor.map(|minor| minor.to_string()),
        "valid_from": day(grant.valid_from),
        "valid_until": grant.valid_until.map(day),
        "granted_by": grant.by.as_ref().map(reference),
        "revoked_from": grant.revoked_from.map(|from| time(from, utc_offset_minutes)),
    })
}

/// The value of `recipient/<scope>/<person>`.
pub fn recipient(scope: &str, named: &[u8; 16], recipient: &Recipient) -> Json {
    json!({
        "scope": scope,
        "recipient": hex::encode(named),
        "account_commitment": hash(&recipient.account_commitment),
        "registered_by": reference(&recipient.registered_by),
        "confirmed_by": recipient.banks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::testing::{START_MS, Stage, person, signing_key};
    use crate::state::key;

    #[test]
    fn statuses_follow_block_time() {
        let stage = Stage::found();
        let mut civil: Agency = stage.get(&key::agency("civil")).expect("an agency");
        assert_eq!(agency("civil", &civil, START_MS, 480)["status"], "active");
        civil.retired_from = Some(START_MS);
        assert_eq!(agency("civil", &civil, START_MS - 1, 480)["status"], "active");
        assert_eq!(agency("civil", &civil, START_MS, 480)["status"], "retired");
        let key_id = signing_key("civil/1").public().key_id();
        let mut entry: OfficerKey = stage.get(&key::officer_key(&key_id)).expect("a key");
        entry.revoked_from = Some(START_MS + 1);
        assert_eq!(officer_key(&entry, START_MS, 480)["status"], "active");
        assert_eq!(officer_key(&entry, START_MS + 1, 480)["key_id"], hex::encode(key_id));
        let holder: Officer = stage.get(&key::officer("civil", &person("civil/1"))).expect("an officer");
        assert_eq!(officer(&holder, 480)["roles"][0]["role"], "programme_owner");
    }
}
