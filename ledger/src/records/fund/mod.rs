//! Funds: public money in accounts, moved by balanced postings that are proposed, approved, confirmed by the bank, and
//! never edited. One file per noun; the arithmetic is in `sums` and `book`, shared rules in `rules`, the auditor's own
//! reckoning in `fold`. Contracts and deposits belong to the tender mechanism.

pub mod account;
pub mod account_open;
pub mod award_grant;
pub mod bank;
pub mod book;
pub mod budget;
pub mod cancel;
pub mod claim;
pub mod conservation;
pub mod day;
pub mod entitlement;
pub mod fold;
pub mod goods;
pub mod income;
pub mod list;
pub mod list_proof;
pub mod movement;
pub mod nullifier;
pub mod origin;
pub mod pattern;
pub mod payment;
pub mod period;
pub mod programme;
pub mod receipt;
pub mod recovery;
pub mod returned;
pub mod rules;
pub mod shown;
pub mod standing;
pub mod sums;
pub mod year;

#[cfg(test)]
pub(crate) mod tests;

use super::schema::RecordType;

/// The tables of this mechanism.
pub const TABLES: &[&[RecordType]] = &[
    programme::TYPES,
    account_open::TYPES,
    budget::TYPES,
    income::TYPES,
    goods::TYPES,
    award_grant::TYPES,
    list::TYPES,
    payment::TYPES,
    bank::TYPES,
    returned::TYPES,
    recovery::TYPES,
    cancel::TYPES,
    receipt::TYPES,
    year::TYPES,
];
