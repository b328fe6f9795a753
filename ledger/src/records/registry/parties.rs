//! Parties (suppliers, charities) and the accounts to which recipients may be paid. Whom a payment may reach is decided
//! by the fund mechanism.

use super::object::{Party, Recipient};
use crate::crypto::Hash;
use crate::records::fund::book;
use crate::records::fund::programme::first_of_scope;
use crate::records::object::{Kind, Object, Person, Ref, Subject};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType, Unique};
use crate::records::waiting::Need;
use crate::state::{StateFault, key};

pub(super) const PARTY_REGISTER: RecordType = RecordType {
    name: "party_register",
    zh: "主体登记",
    area: Area::Registry,
    fields: &[
        Field::need("party_id", FieldKind::Declared).unique(Unique::Network("party")),
        Field::need("kind", FieldKind::OneOf(&["supplier", "charity"])),
        Field::need("account_commitment", FieldKind::Hash),
        Field::may("key", FieldKind::PublicKey),
    ],
    submitters: &[Role::ProgrammeOwner, Role::Buyer, Role::TradingCentre, Role::Charity],
    take_effect: register_party,
    ..RecordType::BASE
};

pub(in crate::records) const PAYEE_REGISTER: RecordType = RecordType {
    name: "payee_register",
    zh: "收款账户登记",
    area: Area::Registry,
    fields: &[
        Field::need("recipient", FieldKind::Recipient),
        Field::need("scope", FieldKind::Code),
        Field::need("account_commitment", FieldKind::Hash),
        // Whose bank confirms; else that of the agency's first programme of the scope.
        Field::may("programme", FieldKind::Ref(&[Kind::Programme])),
    ],
    submitters: &[Role::ProgrammeOwner, Role::Charity, Role::Window],
    approvers: agent_bank,
    entitled: by_an_owner,
    check: scope_fits,
    take_effect: register_payee,
    ..RecordType::BASE
};

fn register_party(scene: &mut Scene<'_>) -> Verdict {
    let party = Party {
        party_id: scene.record.need("party_id")?,
        kind: scene.record.need("kind")?,
        account_commitment: scene.record.need("account_commitment")?,
        key: scene.record.find("key"),
    };
    scene.create(Object::Party(party));
    Ok(())
}

/// The bank that pays, not any that would say yes.
fn agent_bank(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    Ok(vec![Need::of(&bank(scene)?, Role::AgentBank)])
}

fn bank(scene: &mut Scene<'_>) -> Verdict<String> {
    let (scope, _) = place(scene)?;
    let own = scene.record.reference.agency.clone();
    let programme = match scene.record.find::<Ref>("programme") {
        Some(named) => Some(named),
        None => first_of_scope(scene, &own, &scope)?,
    };
    let Some(programme) = programme else {
        return Err(StateFault::Invariant("a payee passed 3003 without a programme of its scope").into());
    };
    Ok(book::programme(scene, &programme)?.bank.to_string())
}

fn place(scene: &Scene<'_>) -> Verdict<(String, Person)> {
    Ok((scene.record.need("scope")?, scene.record.need("recipient")?))
}

/// 3003: by an agency that owns a programme of this scope. An account once registered is replaced only by the agency that
/// registered it, with the bank again; another owner of the scope may have the same account confirmed by its own bank.
fn by_an_owner(scene: &mut Scene<'_>) -> Verdict {
    let (scope, person) = place(scene)?;
    let account: Hash = scene.record.need("account_commitment")?;
    let agency = scene.record.reference.agency.clone();
    if first_of_scope(scene, &agency, &scope)?.is_none() {
        return reject(3003, format!("{agency} owns no programme of scope {scope}"));
    }
    match scene.draft.get::<Recipient>(&key::recipient(&scope, &person.0))? {
        Some(earlier) if earlier.registered_by.agency != agency && earlier.account_commitment != account => {
            reject(3003, format!("registered by {}", earlier.registered_by.agency))
        }
        _ => Ok(()),
    }
}

/// 3002: a scope that no programme could name, or that the named one has not.
fn scope_fits(scene: &mut Scene<'_>) -> Verdict {
    let (scope, _) = place(scene)?;
    if scope.contains('/') {
        return reject(3002, format!("scope {scope} holds a slash"));
    }
    let Some(reference) = scene.record.find::<Ref>("programme") else { return Ok(()) };
    let programme = book::programme(scene, &reference)?;
    let agency = &scene.record.reference.agency;
    if programme.scope != scope || programme.owner != *agency {
        let (owner, other) = (&programme.owner, &programme.scope);
        return reject(3002, format!("{reference} is of {owner} and scope {other}, not of {agency} and scope {scope}"));
    }
    Ok(())
}

fn register_payee(scene: &mut Scene<'_>) -> Verdict {
    let (scope, person) = place(scene)?;
    let (own, bank) = (scene.record.reference.clone(), bank(scene)?);
    let account_commitment: Hash = scene.record.need("account_commitment")?;
    let place = key::recipient(&scope, &person.0);
    let earlier =
        scene.draft.get::<Recipient>(&place)?.filter(|earlier| earlier.account_commitment == account_commitment);
    let recipient = match earlier {
        Some(mut same) => {
            if same.registered_by.agency == own.agency {
                same.registered_by = own;
            }
            if !same.banks.contains(&bank) {
                same.banks.push(bank);
            }
            same
        }
        None => Recipient { registered_by: own, account_commitment, banks: vec![bank] },
    };
    scene.draft.put(place, &recipient)?;
    scene.touch(Subject::Recipient { scope, person: person.0 });
    Ok(())
}
