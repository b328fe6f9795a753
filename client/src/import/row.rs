//! What all tables share: the money, the currency, the digest and the place of a row.

use std::collections::BTreeSet;

use mingzhang_ledger::codec::put_counted;
use mingzhang_ledger::crypto::{Hash, sha256};

use super::amount::{self, Notation};
use super::dates::DateFormat;
use super::item::{Claim, Content, Money, Note, Skip, Unsent};
use super::map::Map;
use super::table::{Row, Table};
use crate::output::exponent_of;

/// How a file is read besides its bytes.
pub struct Reading<'a> {
    /// File name without folder and extension.
    pub name: &'a str,
    pub map: &'a Map,
    pub strict: bool,
}

/// The money of a row, what was noted about it, and why it makes no record.
pub type Stated = (Option<Money>, Vec<Note>, Option<Unsent>);

/// The currencies that a file states, in capitals.
#[derive(Debug, Clone, Default)]
pub struct Currencies(BTreeSet<String>);

impl Currencies {
    pub fn of<'a>(stated: impl Iterator<Item = &'a str>) -> Self {
        let known = stated.map(|text| text.trim().to_ascii_uppercase()).filter(|text| exponent_of(text).is_some());
        Self(known.collect())
    }

    /// The currency of one amount, and whether it is inherited. A missing one is the file's only other; a misspelt one
    /// too, but only in historical imports; else the amount is refused with 1011.
    fn resolve(&self, stated: &str, strict: bool) -> Result<(String, bool), Unsent> {
        let stated = stated.trim().to_ascii_uppercase();
        if exponent_of(&stated).is_some() {
            return Ok((stated, false));
        }
        let mut others = self.0.iter();
        match (others.next(), others.next()) {
            (Some(only), None) if stated.is_empty() || !strict => Ok((only.clone(), true)),
            _ => Err(Unsent::Refused(1011)),
        }
    }

    /// The money of a row, or why it makes no record.
    pub fn money(&self, (amount, currency): (&str, &str), notation: &Notation, strict: bool) -> Stated {
        let (currency, inherited) = match self.resolve(currency, strict) {
            Ok(found) => found,
            Err(unsent) => return (None, Vec::new(), Some(unsent)),
        };
        let notes = if inherited { vec![Note::CurrencyInherited] } else { Vec::new() };
        let exponent = exponent_of(&currency).unwrap_or(0);
        match amount::minor(amount, notation, exponent) {
            None => (None, notes, Some(Unsent::Skipped(Skip::AmountInvalid))),
            Some(0) => (Some(Money { currency, minor: 0 }), notes, Some(Unsent::Skipped(Skip::ZeroAmount))),
            Some(minor) => (Some(Money { currency, minor }), notes, None),
        }
    }
}

/// The currencies of a table.
pub fn currencies(table: &Table) -> Currencies {
    Currencies::of(table.rows.iter().map(|row| row.get("currency")))
}

/// Digest of values alone, so that the same rows under another file name or number are the same.
pub fn digest<'a>(values: impl Iterator<Item = (&'a str, &'a str)>) -> Hash {
    let mut preimage = Vec::new();
    for (column, value) in values.filter(|(column, _)| *column != "batch") {
        put_counted(&mut preimage, column.as_bytes());
        put_counted(&mut preimage, value.as_bytes());
    }
    sha256(&[&preimage])
}

/// The id of a row, and the one made for it from file and row number where it has none.
pub fn id_of(row: &Row, file: &Hash) -> (String, bool) {
    match row.get("id") {
        "" => {
            let short: String = hex::encode(file).chars().take(16).collect();
            (format!("{short}:{}", row.line), true)
        }
        id => (id.to_owned(), false),
    }
}

/// The programme of a row: its own, else the file's name.
pub fn programme_of(row: &Row, name: &str) -> String {
    let stated = row.get("programme");
    if stated.is_empty() { name.to_owned() } else { stated.to_owned() }
}

/// A row as a claim, as donations and payments read it; an empty row claims nothing.
pub fn claim(row: &Row, dates: &DateFormat, item: String, money: Stated, content: Content) -> Claim {
    let (money, notes, unsent) = money;
    Claim {
        key: item.clone(),
        item,
        line: row.line,
        batch: row.get("batch").to_owned(),
        date: dates.read(row.get("date")),
        money,
        notes,
        digest: digest(row.values()),
        unsent: if row.is_empty() { Some(Unsent::Skipped(Skip::Empty)) } else { unsent },
        repeats: false,
        conflicts: Vec::new(),
        content: if row.is_empty() { Content::Nothing } else { content },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_inherited_or_refused_never_repaired() {
        let one = Currencies::of(["MXN", "mxn", "", "MNX"].into_iter());
        let two = Currencies::of(["MXN", "USD"].into_iter());
        assert_eq!(one.resolve("mxn", true), Ok(("MXN".to_owned(), false)));
        assert_eq!(one.resolve("", true), Ok(("MXN".to_owned(), true)));
        assert_eq!(one.resolve("MNX", false), Ok(("MXN".to_owned(), true)));
        assert_eq!(one.resolve("MNX", true), Err(Unsent::Refused(1011)));
        assert_eq!(two.resolve("", false), Err(Unsent::Refused(1011)));
    }

    #[test]
    fn rows_without_money_are_skipped() {
        let currencies = Currencies::of(["CNY"].into_iter());
        let skip = |text| currencies.money((text, "CNY"), &Notation::default(), false).2;
        assert_eq!(skip("0.00"), Some(Unsent::Skipped(Skip::ZeroAmount)));
        assert_eq!(skip("n/a"), Some(Unsent::Skipped(Skip::AmountInvalid)));
        assert_eq!(skip("0.01"), None);
    }
}
