//! The door: what is refused before the log (MZ-1xxx), at submission and again inside a block. Everything here is pure;
//! rate limits and readiness are the node's matter.

use std::sync::Arc;

use crate::certificate::{KeyRole, possess_bytes};
use crate::crypto::{PublicKey, Signature};
use crate::mutants;
use crate::outcome::Refusal;
use crate::records::object::{RecordLeaf, Ref};
use crate::records::registry::{Agency, OfficerKey};
use crate::records::{self, body, governance, validate};
use crate::state::execute::{Candidate, Network};
use crate::state::{Overlay, Snapshot, StateFault, key};
use crate::transaction::{Payload, Transaction};

/// How far ahead of block time a transaction may expire.
pub const MAX_LIFETIME_MS: u64 = 24 * 3_600_000;
/// A node admits a little less than that, because block time may lag behind its clock.
const ADMISSION_MARGIN_MS: u64 = 60_000;

/// Everything at submission but the signature and the repeat: form, network, times, key. The key is returned under
/// which the caller verifies the signature (1006); a revoked key is refused here, so that its holder learns it at once.
pub fn check(
    state: &dyn Snapshot,
    network: &Network,
    now_ms: u64,
    transaction: &Transaction,
) -> Result<Result<PublicKey, Refusal>, StateFault> {
    let latest_ms = now_ms.saturating_add(MAX_LIFETIME_MS).saturating_sub(ADMISSION_MARGIN_MS);
    if let Err(refusal) = form(network, transaction).and_then(|()| in_time(transaction, now_ms, latest_ms)) {
        return Ok(Err(refusal));
    }
    signer(state, now_ms, transaction)
}

/// The same for a dry run, which does not judge times: what is simulated has expired, so that nobody can submit it.
pub fn check_dry_run(
    state: &dyn Snapshot,
    network: &Network,
    now_ms: u64,
    transaction: &Transaction,
) -> Result<Result<PublicKey, Refusal>, StateFault> {
    match form(network, transaction) {
        Ok(()) => signer(state, now_ms, transaction),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// The key that signs for an agency now.
fn signer(
    state: &dyn Snapshot,
    now_ms: u64,
    transaction: &Transaction,
) -> Result<Result<PublicKey, Refusal>, StateFault> {
    let state = Overlay::new(state);
    let Some(registered) = registered_key(&state, transaction, now_ms)? else {
        return Ok(Err(not_registered(transaction)));
    };
    let office: Option<Arc<Agency>> = state.shared(&key::agency(&registered.agency))?;
    let ended = |from: Option<u64>| from.is_some_and(|from| from <= now_ms);
    if ended(registered.revoked_from) || office.is_none_or(|office| ended(office.retired_from)) {
        let key_id = hex::encode(transaction.key_id());
        return Ok(Err(Refusal::new(1007, format!("key {key_id} of {} is revoked", registered.agency))));
    }
    Ok(Ok(PublicKey(registered.key)))
}

/// The door inside a block, on the state just before the record: rules 1 to 5 of the protocol. A key that was revoked
/// after it signed passes: the record is then rejected by 3005, on the log.
pub(crate) fn inside_block(
    state: &Overlay<'_>,
    network: &Network,
    time_ms: u64,
    candidate: &Candidate,
) -> Result<Result<(), Refusal>, StateFault> {
    let transaction = &*candidate.transaction;
    let latest_ms = time_ms.saturating_add(MAX_LIFETIME_MS);
    if let Err(refusal) = form(network, transaction).and_then(|()| in_time(transaction, time_ms, latest_ms)) {
        return Ok(Err(refusal));
    }
    let Some(registered) = registered_key(state, transaction, time_ms)? else {
        return Ok(Err(not_registered(transaction)));
    };
    let key = PublicKey(registered.key);
    // Verified before was the equation alone, by whoever offers it: what else makes a signature is asked here of all.
    let is_signed = match candidate.verified_with == Some(key) {
        true => transaction.names_as_signer(&key),
        false => transaction.is_signed_by(&key),
    };
    if !is_signed {
        return Ok(Err(Refusal::new(1006, "the signature does not hold")));
    }
    if !mutants::DUPLICATE_RECORD.on() && is_spent(state, transaction)? {
        let payload = transaction.payload();
        let taken = Ref::new(&payload.agency, &payload.record_id);
        return Ok(Err(Refusal::new(1015, format!("{taken} is on the log already"))));
    }
    Ok(Ok(()))
}

/// Every record that was executed, whatever its type, spent its id.
fn is_spent(state: &Overlay<'_>, transaction: &Transaction) -> Result<bool, StateFault> {
    let [leaf, _] = *key::places(transaction);
    if mutants::ID_PER_KIND.on() {
        let recorded: Option<RecordLeaf> = state.get(&leaf)?;
        return Ok(recorded.is_some_and(|recorded| recorded.record_type == transaction.payload().record_type));
    }
    state.exists(&leaf)
}

/// Two transactions under one (agency, record id): None if they are the same record, whose first answer then stands;
/// else the refusal that names the first field that differs. A later `expires_at` makes no other record.
pub fn repeat(earlier: &Transaction, later: &Transaction) -> Option<Refusal> {
    let (first, second) = (earlier.payload(), later.payload());
    let field = if first.record_type != second.record_type {
        "record_type"
    } else if earlier.key_id() != later.key_id() {
        "signing key"
    } else if first.body != second.body {
        let kind = records::record_type(&first.record_type)?;
        let fields = kind.fields.iter().chain(records::schema::COMMON).map(|field| field.name);
        fields.into_iter().find(|name| first.body.get(name) != second.body.get(name)).unwrap_or("body")
    } else {
        return None;
    };
    let taken = Ref::new(&first.agency, &first.record_id);
    let refusal = Refusal::new(1015, format!("{taken} is taken by another record: {field} differs"));
    Some(Refusal { differs: Some(field), ..refusal })
}

/// What needs no state: network, type, body.
fn form(network: &Network, transaction: &Transaction) -> Result<(), Refusal> {
    let payload = transaction.payload();
    if payload.origin != network.origin {
        return Err(Refusal::new(1005, format!("origin {}, this network is {}", payload.origin, network.origin)));
    }
    transaction.form(content)?;
    possession(network, transaction)
}

/// What is the same in every network.
fn content(payload: &Payload) -> Result<(), Refusal> {
    let kind = records::record_type(&payload.record_type)
        .ok_or_else(|| Refusal::new(1003, format!("record type {}", payload.record_type)))?;
    validate::agency_id(&payload.agency)?;
    validate::body(kind, &payload.body)?;
    governance::check_form(kind, &payload.body)
}

/// A body that registers a key proves that its holder has the private half, strictly verified.
fn possession(network: &Network, transaction: &Transaction) -> Result<(), Refusal> {
    let payload = transaction.payload();
    let (Some(key), Some(signature)) = (body::find(&payload.body, "key"), body::find(&payload.body, "possession"))
    else {
        return Ok(());
    };
    let key = PublicKey(key);
    let signed = possess_bytes(&network.chain, &payload.agency, KeyRole::Officer, &key);
    if key.verify_strict(&signed, &Signature(signature)) {
        return Ok(());
    }
    Err(Refusal::new(1006, "possession: the proof of possession does not hold for this key and agency"))
}

fn in_time(transaction: &Transaction, now_ms: u64, latest_ms: u64) -> Result<(), Refusal> {
    let expires_at = transaction.payload().expires_at;
    if expires_at <= now_ms {
        return Err(Refusal::new(1008, format!("expired at {expires_at}, time is {now_ms}")));
    }
    if expires_at > latest_ms {
        return Err(Refusal::new(1009, format!("expires at {expires_at}, latest is {latest_ms}")));
    }
    Ok(())
}

/// The key that signed, if it is registered for the transaction's agency, revoked or not.
fn registered_key(
    state: &Overlay<'_>,
    transaction: &Transaction,
    time_ms: u64,
) -> Result<Option<Arc<OfficerKey>>, StateFault> {
    let [_, signer] = key::places(transaction);
    let registered: Option<Arc<OfficerKey>> = state.shared(signer)?;
    Ok(registered.filter(|key| key.agency == transaction.payload().agency && key.active_from <= time_ms))
}

fn not_registered(transaction: &Transaction) -> Refusal {
    let key_id = hex::encode(transaction.key_id());
    Refusal::new(1007, format!("key {key_id} is not registered for {}", transaction.payload().agency))
}

#[cfg(test)]
mod tests;
