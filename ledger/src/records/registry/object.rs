//! What the registry keeps in the state.

use minicbor::{Decode, Encode};

use crate::crypto::{Hash, KeyId};
use crate::records::calendar::Day;
use crate::records::object::{Person, Ref};
use crate::records::role::Role;

/// The value of `agency/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Agency {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub kind: String,
    /// All roles that its officers may hold.
    #[n(2)]
    pub roles: Vec<Role>,
    /// Block time in ms from which it exists.
    #[n(3)]
    pub active_from: u64,
    /// Block time in ms from which it exists no more.
    #[n(4)]
    pub retired_from: Option<u64>,
}

/// The value of `key/<key id>`: an officer's key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OfficerKey {
    #[n(0)]
    pub agency: String,
    #[n(1)]
    pub person: Person,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub key: [u8; 32],
    /// Block time in ms from which it may sign.
    #[n(3)]
    pub active_from: u64,
    /// Block time in ms from which it may sign no more: revoked or suspended.
    #[n(4)]
    pub revoked_from: Option<u64>,
}

impl OfficerKey {
    /// Whether it may sign at a time.
    pub fn is_valid(&self, time_ms: u64) -> bool {
        self.active_from <= time_ms && self.revoked_from.is_none_or(|from| from > time_ms)
    }
}

/// The value of `officer/<agency>/<person>`: a person's keys and roles within an agency.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Officer {
    #[n(0)]
    pub keys: Vec<Key16>,
    #[n(1)]
    pub grants: Vec<Grant>,
}

/// A key id inside a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Key16(#[cbor(n(0), with = "minicbor::bytes")] pub KeyId);

/// One role of an officer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Grant {
    #[n(0)]
    pub role: Role,
    /// The record whose subject alone the role covers; None: everything of the agency.
    #[n(1)]
    pub scope: Option<Ref>,
    /// Largest amount in minor units of one act; None: no limit.
    #[n(2)]
    pub max_minor: Option<u64>,
    #[n(3)]
    pub valid_from: Day,
    #[n(4)]
    pub valid_until: Option<Day>,
    /// The role_grant record; None: granted at genesis or with the agency.
    #[n(5)]
    pub by: Option<Ref>,
    /// Block time in ms of its revocation.
    #[n(6)]
    pub revoked_from: Option<u64>,
}

impl Grant {
    /// A role held from the beginning, for ever.
    pub fn lasting(role: Role, scope: Option<Ref>, max_minor: Option<u64>) -> Self {
        Self { role, scope, max_minor, valid_from: Day(0), valid_until: None, by: None, revoked_from: None }
    }

    pub fn covers_day(&self, day: Day) -> bool {
        self.valid_from <= day && self.valid_until.is_none_or(|until| day <= until)
    }

    /// Whether it covers a whole scope, so that it may be lent within that.
    pub fn reaches(&self, scope: Option<&Ref>) -> bool {
        self.scope.is_none() || self.scope.as_ref() == scope
    }
}

/// What a role_grant record granted, so that role_revoke can name it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RoleGrant {
    #[n(0)]
    pub officer: Person,
    #[n(1)]
    pub role: Role,
}

/// An officer lends a role to another.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Delegation {
    #[n(0)]
    pub from_person: Person,
    #[n(1)]
    pub to_officer: Person,
    #[n(2)]
    pub role: Role,
    #[n(3)]
    pub scope: Option<Ref>,
    #[n(4)]
    pub valid_from: Day,
    #[n(5)]
    pub valid_until: Day,
}

/// A supplier or charity that records may name.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Party {
    #[n(0)]
    pub party_id: String,
    #[n(1)]
    pub kind: String,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub account_commitment: Hash,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub key: Option<[u8; 32]>,
}

/// The value of `recipient/<scope>/<person>`: the account to which a person may be paid.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Recipient {
    #[n(0)]
    pub registered_by: Ref,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub account_commitment: Hash,
    /// The banks that confirmed this account: no other pays to it.
    #[n(2)]
    pub banks: Vec<String>,
}
