//! Registry: who may act. Officers and their keys, roles, delegations, parties and payees. Agencies come and go by
//! vote, which is in `governance`.

pub mod founding;
mod object;
mod roster;

pub use object::{Agency, Delegation, Grant, Key16, Officer, OfficerKey, Party, Recipient, RoleGrant};

pub use founding::{Founding, FoundingAgency, FoundingOfficer, FoundingRole, found};
pub use roster::Roster;

use super::schema::RecordType;

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[];
