//! Registry: who may act. Officers and their keys, roles, delegations, parties and payees, and what genesis founds.
//! Agencies come and go by vote, which is in `governance`.

pub mod founding;
pub(super) mod holders;
mod object;
pub(super) mod officers;
mod parties;
pub(super) mod roles;
mod roster;
#[cfg(test)]
mod tests;

pub use founding::{Founding, FoundingAgency, FoundingOfficer, FoundingRole, found};
pub use object::{Agency, Delegation, Grant, Key16, Officer, OfficerKey, Party, Recipient, RoleGrant};
pub(super) use parties::PAYEE_REGISTER;
pub use roster::Roster;

use super::role::Role;
use super::scene::{Scene, Verdict};
use super::schema::RecordType;
use super::waiting::Need;

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[
    officers::OFFICER_REGISTER,
    officers::KEY_REVOKE,
    roles::ROLE_GRANT,
    roles::ROLE_REVOKE,
    roles::DELEGATION,
    parties::PARTY_REGISTER,
    parties::PAYEE_REGISTER,
];

/// A second admin of the same agency.
fn second_admin(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    Ok(vec![Need::of(&scene.record.reference.agency, Role::Admin)])
}
