//! Accounts: their kinds, what each kind allows, and the object that the ledger keeps. Moving money between them is in
//! `book`; opening one is in `account_open`.

use minicbor::{Decode, Encode};
use smol_str::SmolStr;

use super::sums::Sums;
use crate::records::calendar::Day;
use crate::records::object::Ref;

/// What an account is for. Only SOURCE may go below zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum AccountKind {
    /// Where money enters: treasury, donors, refunds from abroad; its earmark names the origin.
    #[n(0)]
    Source,
    #[n(1)]
    Appropriation,
    #[n(2)]
    Allotment,
    #[n(3)]
    Commitment,
    #[n(4)]
    Paid,
    #[n(5)]
    Returned,
    #[n(6)]
    Deposit,
    #[n(7)]
    Carried,
    #[n(8)]
    Lapsed,
}

impl AccountKind {
    pub const ALL: [AccountKind; 9] = [
        Self::Source,
        Self::Appropriation,
        Self::Allotment,
        Self::Commitment,
        Self::Paid,
        Self::Returned,
        Self::Deposit,
        Self::Carried,
        Self::Lapsed,
    ];
    /// The codes that a body may use, in either case.
    pub const CODES: &'static [&'static str] = &[
        "SOURCE",
        "APPROPRIATION",
        "ALLOTMENT",
        "COMMITMENT",
        "PAID",
        "RETURNED",
        "DEPOSIT",
        "CARRIED",
        "LAPSED",
        "source",
        "appropriation",
        "allotment",
        "commitment",
        "paid",
        "returned",
        "deposit",
        "carried",
        "lapsed",
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::Source => "SOURCE",
            Self::Appropriation => "APPROPRIATION",
            Self::Allotment => "ALLOTMENT",
            Self::Commitment => "COMMITMENT",
            Self::Paid => "PAID",
            Self::Returned => "RETURNED",
            Self::Deposit => "DEPOSIT",
            Self::Carried => "CARRIED",
            Self::Lapsed => "LAPSED",
        }
    }

    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code().eq_ignore_ascii_case(code))
    }

    /// Whether debits must be covered (3201).
    pub fn is_limited(self) -> bool {
        self != Self::Source
    }

    /// Whether money here is still the programme's to use: what must be zero when the programme closes.
    pub fn holds_money(self) -> bool {
        match self {
            Self::Appropriation
            | Self::Allotment
            | Self::Commitment
            | Self::Returned
            | Self::Deposit
            | Self::Carried => true,
            Self::Source | Self::Paid | Self::Lapsed => false,
        }
    }

    /// Whether accounts of this kind carry an earmark that a posting must keep (3213).
    pub fn is_earmarked(self) -> bool {
        match self {
            Self::Appropriation
            | Self::Allotment
            | Self::Commitment
            | Self::Returned
            | Self::Deposit
            | Self::Carried => true,
            Self::Source | Self::Paid | Self::Lapsed => false,
        }
    }

    /// Whether a year's close empties and closes accounts of this kind.
    pub fn closes_with_year(self) -> bool {
        match self {
            Self::Appropriation | Self::Allotment | Self::Returned => true,
            Self::Source | Self::Commitment | Self::Paid | Self::Deposit | Self::Carried | Self::Lapsed => false,
        }
    }
}

/// An account of one programme, in its one currency.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Account {
    #[n(0)]
    pub kind: AccountKind,
    #[n(1)]
    pub programme: Ref,
    /// The account that money comes down from.
    #[n(2)]
    pub parent: Option<Ref>,
    #[cbor(n(3), with = "crate::codec::name")]
    pub agency: SmolStr,
    #[n(4)]
    pub year: u64,
    #[n(5)]
    pub earmark: Option<String>,
    /// The contract, list or grant that a COMMITMENT is for.
    #[n(6)]
    pub award: Option<Ref>,
    #[n(7)]
    pub sums: Sums,
    /// Passed down to child ALLOTMENTs and not recalled, reservations included.
    #[n(8)]
    pub passed_down: u64,
    /// What an ALLOTMENT was given by its parent and still has not handed back: the budget of what is committed from it.
    #[n(9)]
    pub budget: u64,
    /// Closed by the close of its year or programme.
    #[n(10)]
    pub closed: bool,
    /// Its budget was not stated by the imported source but filled in, so exceeding it proves nothing.
    #[n(11)]
    pub assumed: bool,
    /// Latest effective day of a record that moved or reserved money here.
    #[n(12)]
    pub last_moved: Option<Day>,
}

/// Whether money with the debit side's earmark may enter the credit side (3213).
pub fn earmarks_agree(debit: &Account, credit: &Account) -> bool {
    let free = !debit.kind.is_earmarked() || !credit.kind.is_earmarked() || debit.earmark.is_none();
    free || debit.earmark == credit.earmark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_code_in_either_case() {
        for kind in AccountKind::ALL {
            assert_eq!(AccountKind::from_code(kind.code()), Some(kind));
            assert_eq!(AccountKind::from_code(&kind.code().to_lowercase()), Some(kind));
            assert!(AccountKind::CODES.contains(&kind.code()));
            assert!(AccountKind::CODES.contains(&kind.code().to_lowercase().as_str()));
        }
        assert_eq!(AccountKind::from_code("CASH"), None);
    }
}
