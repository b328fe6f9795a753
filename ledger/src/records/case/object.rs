//! What administrative approval keeps in the state: matters, cases, licences.

use minicbor::{Decode, Encode};

use crate::records::calendar::Day;
use crate::records::object::{Person, Ref};
use crate::records::role::Role;

/// What an agency approves, in how many days, and who decides.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Matter {
    /// Working days from acceptance to decision.
    #[n(0)]
    pub clock_days: u64,
    #[n(1)]
    pub decider_role: Role,
    /// Papers that an applicant brings.
    #[n(2)]
    pub documents: Vec<String>,
    /// Matters of which an applicant must hold a valid licence.
    #[n(3)]
    pub prerequisites: Vec<Ref>,
}

/// Where a case stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum CaseState {
    #[n(0)]
    Submitted,
    /// The one correction notice was given and not yet answered.
    #[n(1)]
    Correcting,
    #[n(2)]
    Accepted,
    #[n(3)]
    Reviewing,
    #[n(4)]
    Paused,
    #[n(5)]
    Granted,
    #[n(6)]
    Refused,
    /// A licence was issued; its own state is with the licence.
    #[n(7)]
    Issued,
    #[n(8)]
    Closed,
    #[n(9)]
    Withdrawn,
}

impl CaseState {
    /// The name that queries show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Correcting => "correcting",
            Self::Accepted => "accepted",
            Self::Reviewing => "reviewing",
            Self::Paused => "paused",
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Issued => "issued",
            Self::Closed => "closed",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// One application. Its matter's agency handles it; the agency of its own record submitted it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Case {
    #[n(0)]
    pub matter: Ref,
    #[n(1)]
    pub applicant: Person,
    /// Licences cited for the matter's prerequisites.
    #[n(2)]
    pub licences: Vec<Ref>,
    #[n(3)]
    pub state: CaseState,
    #[n(4)]
    pub submitted: Day,
    /// Day of the one correction notice.
    #[n(5)]
    pub notice: Option<Day>,
    #[n(6)]
    pub accepted: Option<Day>,
    /// Last day in time for the decision, pauses and extension counted in. While paused it stands as before the pause.
    #[n(7)]
    pub deadline: Option<Day>,
    #[n(8)]
    pub paused: Option<Day>,
    #[n(9)]
    pub extended: bool,
    /// Everybody who gave an opinion.
    #[n(10)]
    pub reviewers: Vec<Person>,
    #[n(11)]
    pub decision: Option<Decision>,
    #[n(12)]
    pub licence: Option<Ref>,
    /// Effective day of the latest step.
    #[n(13)]
    pub latest: Day,
    /// False if an importer supplied the day from which the clock runs, or that of the latest step.
    #[n(14)]
    pub clock_stated: bool,
    #[n(15)]
    pub latest_stated: bool,
}

impl Case {
    /// 3901, never written: accepted, not yet decided and past its deadline on a day. A pause stops the clock.
    pub fn is_overdue(&self, day: Day) -> bool {
        match self.state {
            CaseState::Accepted | CaseState::Reviewing => self.deadline.is_some_and(|deadline| day > deadline),
            CaseState::Submitted
            | CaseState::Correcting
            | CaseState::Paused
            | CaseState::Granted
            | CaseState::Refused
            | CaseState::Issued
            | CaseState::Closed
            | CaseState::Withdrawn => false,
        }
    }
}

/// How a case was decided.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Decision {
    #[n(0)]
    pub record: Ref,
    #[n(1)]
    pub granted: bool,
    #[n(2)]
    pub day: Day,
    /// Whether the deadline had passed (3307).
    #[n(3)]
    pub late: bool,
}

/// Where a licence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum LicenceState {
    #[n(0)]
    Issued,
    #[n(1)]
    Valid,
    #[n(2)]
    Suspended,
    /// 撤销 or 吊销: by two heads.
    #[n(3)]
    Revoked,
    /// 注销.
    #[n(4)]
    Cancelled,
    #[n(5)]
    Expired,
}

/// The states to which `licence_change` leads, as its field `status` names them.
pub const STATUSES: &[&str] = &["valid", "suspended", "revoked", "cancelled", "expired"];

impl LicenceState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Valid => "valid",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The state that a `status` names.
    pub fn from_status(status: &str) -> Option<Self> {
        let all = [Self::Valid, Self::Suspended, Self::Revoked, Self::Cancelled, Self::Expired];
        all.into_iter().find(|state| state.name() == status)
    }

    /// Whether it can still change.
    pub fn is_open(self) -> bool {
        match self {
            Self::Issued | Self::Valid | Self::Suspended => true,
            Self::Revoked | Self::Cancelled | Self::Expired => false,
        }
    }

    /// Whether its holder may rely on it.
    pub fn is_in_force(self) -> bool {
        match self {
            Self::Issued | Self::Valid => true,
            Self::Suspended | Self::Revoked | Self::Cancelled | Self::Expired => false,
        }
    }
}

/// A licence, in the leaf of its `licence_issue`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Licence {
    #[n(0)]
    pub case: Ref,
    #[n(1)]
    pub matter: Ref,
    #[n(2)]
    pub holder: Person,
    #[n(3)]
    pub licence_no: String,
    #[n(4)]
    pub state: LicenceState,
    /// Last day of validity; None: without end.
    #[n(5)]
    pub valid_until: Option<Day>,
}

impl Licence {
    /// Why nobody may rely on it on a day; None: one may.
    pub fn fault(&self, day: Day) -> Option<String> {
        if !self.state.is_in_force() {
            return Some(format!("licence {} is {}", self.licence_no, self.state.name()));
        }
        let until = self.valid_until?;
        (until < day).then(|| format!("licence {} was valid until {until}", self.licence_no))
    }
}
