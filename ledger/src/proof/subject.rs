//! Which state key holds the trail of a subject, and whether the object under it is of that kind.

use serde::{Deserialize, Serialize};

use crate::records::object::{Kind, RecordLeaf};
use crate::state::key::{self, Key};

/// What a trail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    Programme,
    Account,
    Case,
    Tender,
    Dataset,
    /// `scope/pseudonym`, the pseudonym in hexadecimal.
    Recipient,
    /// An officer key, by its id in hexadecimal.
    Officer,
    /// All objects of a kind: `programmes`, `agencies`, `accounts/<agency>.<programme id>` …
    Registry,
    /// Findings about a subject.
    Findings,
}

impl SubjectKind {
    /// As it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Programme => "programme",
            Self::Account => "account",
            Self::Case => "case",
            Self::Tender => "tender",
            Self::Dataset => "dataset",
            Self::Recipient => "recipient",
            Self::Officer => "officer",
            Self::Registry => "registry",
            Self::Findings => "findings",
        }
    }

    /// The types of the records that make subjects of this kind, whether they were applied or not; none for subjects that
    /// stand under no record's id.
    pub const fn made_by(self) -> &'static [&'static str] {
        match self {
            Self::Programme => &["programme_open"],
            Self::Account => &["account_open"],
            Self::Case => &["case_submit"],
            // No record makes the first two yet.
            Self::Tender | Self::Dataset | Self::Recipient | Self::Officer | Self::Registry | Self::Findings => &[],
        }
    }

    /// Whether the value under a subject's key is of this kind. Programmes, accounts, cases, tenders and data sets all stand
    /// under the ids of their records: the object that the record made says which it is.
    pub fn is_kind_of(self, value: &[u8]) -> bool {
        let wanted = match self {
            Self::Programme => Kind::Programme,
            Self::Account => Kind::Account,
            Self::Case => Kind::Case,
            // No record makes these yet.
            Self::Tender | Self::Dataset => return false,
            Self::Recipient | Self::Officer | Self::Registry | Self::Findings => return true,
        };
        let leaf: Option<RecordLeaf> = minicbor::decode(value).ok();
        leaf.and_then(|leaf| leaf.object).is_some_and(|object| object.kind() == wanted)
    }
}

/// The state key of a subject; None if the id is not one of that kind.
pub fn subject_key(kind: SubjectKind, id: &str) -> Option<Key> {
    match kind {
        SubjectKind::Programme
        | SubjectKind::Account
        | SubjectKind::Case
        | SubjectKind::Tender
        | SubjectKind::Dataset => {
            let (agency, record) = id.split_once('/')?;
            Some(key::record(agency, &key::parse_id(record)?))
        }
        SubjectKind::Recipient => {
            let (scope, person) = id.split_once('/')?;
            Some(key::recipient(scope, &hex::decode(person).ok()?.try_into().ok()?))
        }
        SubjectKind::Officer => Some(key::officer_key(&hex::decode(id).ok()?.try_into().ok()?)),
        SubjectKind::Registry => Some(key::registry(id)),
        SubjectKind::Findings => Some(key::findings(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_to_the_documented_keys() {
        let programme = key::parse_id("P-1").expect("name");
        assert_eq!(subject_key(SubjectKind::Programme, "civil/P-1"), Some(key::record("civil", &programme)));
        assert_eq!(subject_key(SubjectKind::Programme, "P-1"), None);
        assert_eq!(subject_key(SubjectKind::Officer, &"ab".repeat(16)), Some(key::officer_key(&[0xab; 16])));
        assert_eq!(subject_key(SubjectKind::Officer, "ab"), None);
        let recipient = format!("rural/{}", "01".repeat(16));
        assert_eq!(subject_key(SubjectKind::Recipient, &recipient), Some(key::recipient("rural", &[1; 16])));
        assert_eq!(subject_key(SubjectKind::Registry, "programmes"), Some(key::registry("programmes")));
    }
}
