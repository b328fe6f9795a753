//! What all tables share: the money, the currency, the digest and the place of a row.

use std::collections::{BTreeMap, BTreeSet};

use mingzhang_ledger::codec::put_counted;
use mingzhang_ledger::crypto::{Hash, sha256};
use mingzhang_ledger::records::calendar::Day;

use super::amount::{self, Notation};
use super::dates::DateFormat;
use super::item::{Claim, Content, Fault, Money, Note, Skip, Unsent, Wrong};
use super::map::Map;
use super::table::{Row, Table};
use super::words;
use crate::output::exponent_of;

/// How a file is read besides its bytes.
pub struct Reading<'a> {
    /// File name without folder and extension.
    pub name: &'a str,
    pub map: &'a Map,
    pub strict: bool,
}

/// The money of a row, what was noted about it, and why it makes no record.
#[derive(Debug, Clone, Default)]
pub struct Stated {
    pub money: Option<Money>,
    pub notes: Vec<Note>,
    pub faults: Vec<Fault>,
    pub unsent: Option<Unsent>,
}

/// The currencies that a file states, in capitals.
#[derive(Debug, Clone, Default)]
pub struct Currencies(BTreeSet<String>);

impl Currencies {
    pub fn of<'a>(stated: impl Iterator<Item = &'a str>) -> Self {
        let known = stated.map(|text| text.trim().to_ascii_uppercase()).filter(|text| exponent_of(text).is_some());
        Self(known.collect())
    }

    /// The currency of one amount, and whether it is inherited. A missing one is the file's only other. A row stands by
    /// itself, so that the others say nothing about one that is unknown: it is refused with 1011, as is a missing one
    /// where the file has several.
    fn resolve(&self, stated: &str) -> Result<(String, bool), Unsent> {
        let stated = stated.trim().to_ascii_uppercase();
        if exponent_of(&stated).is_some() {
            return Ok((stated, false));
        }
        let mut others = self.0.iter();
        match (others.next(), others.next()) {
            (Some(only), None) if stated.is_empty() => Ok((only.clone(), true)),
            _ => Err(Unsent::Refused(1011)),
        }
    }

    /// The money of a row, or why it makes no record.
    pub fn money(&self, (amount, currency): (&str, &str), notation: &Notation) -> Stated {
        let (currency, inherited) = match self.resolve(currency) {
            Ok(found) => found,
            Err(unsent) => {
                let faults = vec![Fault::new("currency", currency, Wrong::Currency)];
                return Stated { faults, unsent: Some(unsent), ..Stated::default() };
            }
        };
        let notes = if inherited { vec![Note::CurrencyInherited] } else { Vec::new() };
        let exponent = exponent_of(&currency).unwrap_or(0);
        match amount::minor(amount, notation, exponent) {
            None => {
                let faults = vec![Fault::new("amount", amount, Wrong::Amount)];
                Stated { money: None, notes, faults, unsent: Some(Unsent::Skipped(Skip::AmountInvalid)) }
            }
            Some(minor) if u64::try_from(minor.unsigned_abs()).is_err() => {
                let faults = vec![Fault::new("amount", amount, Wrong::TooLarge)];
                Stated { money: None, notes, faults, unsent: Some(Unsent::Skipped(Skip::AmountInvalid)) }
            }
            Some(minor) => {
                let unsent = (minor == 0).then_some(Unsent::Skipped(Skip::ZeroAmount));
                Stated { money: Some(Money { currency, minor }), notes, faults: Vec::new(), unsent }
            }
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

/// Columns that a row without an id is known by.
pub const KNOWN_BY: [&str; 9] =
    ["date", "amount", "currency", "programme", "payee", "donor", "matter", "applicant", "applied"];

/// What was read of a row: `100.0` is `100.00`. What cannot be read stands as it is written.
#[derive(Default)]
pub struct Read(Vec<(&'static str, String)>);

impl Read {
    pub fn money(mut self, money: Option<&Money>) -> Self {
        if let Some(money) = money {
            self.0.extend([("amount", money.minor.to_string()), ("currency", money.currency.clone())]);
        }
        self
    }

    /// Not where other rows of the column decide how a day is read: one more of them would make another row of this.
    pub fn day(mut self, column: &'static str, (format, day): (&DateFormat, Option<Day>)) -> Self {
        if *format != DateFormat::DayMonthYear {
            self.0.extend(day.map(|day| (column, day.to_string())));
        }
        self
    }
}

/// The id of a row. Where it has none, its line stands for it until one is made (`Source::name_rows`) of what it is known by.
pub fn id_of(row: &Row, read: &Read) -> (String, Option<Hash>) {
    match row.get("id") {
        "" => {
            let mut values: BTreeMap<&str, &str> =
                row.values().filter(|(column, _)| KNOWN_BY.contains(column)).collect();
            values.extend(read.0.iter().map(|(column, value)| (*column, value.as_str())));
            let known_by = digest(values.into_iter());
            (format!("line {}", row.line), Some(known_by))
        }
        id => (id.to_owned(), None),
    }
}

/// The programme of a row: its own, else the file's name.
pub fn programme_of(row: &Row, name: &str) -> String {
    let stated = row.get("programme");
    if stated.is_empty() { name.to_owned() } else { stated.to_owned() }
}

/// A word of the source for the ledger; empty where it states none that may be written. Several words are free text, in
/// which people are named, unless the map fixes them.
pub fn word(row: &Row, map: &Map, column: &str) -> String {
    let text = row.get(column);
    let fixed = map.constants.get(column).is_some_and(|constant| constant == text);
    if words::is_plain(text) && (fixed || !text.contains(' ')) { text.to_owned() } else { String::new() }
}

/// The day in a column; a text that is none is kept among the faults.
pub fn day(row: &Row, (column, format): (&'static str, &DateFormat), faults: &mut Vec<Fault>) -> Option<Day> {
    let text = row.get(column);
    let day = format.read(text);
    if day.is_none() && !text.is_empty() {
        faults.push(Fault::new(column, text, Wrong::Date));
    }
    day
}

/// A row as a claim, as donations and payments read it; an empty row claims nothing.
pub fn claim(row: &Row, (dates, strict): (&DateFormat, bool), stated: Stated, content: Content) -> Claim {
    let Stated { money, notes, mut faults, unsent } = stated;
    let date = day(row, ("date", dates), &mut faults);
    let (item, known_by) = id_of(row, &Read::default().money(money.as_ref()).day("date", (dates, date)));
    let mut claim = Claim {
        key: item.clone(),
        item,
        known_by,
        line: row.line,
        batch: row.get("batch").to_owned(),
        date,
        money,
        notes,
        faults,
        digest: digest(row.values()),
        unsent: if row.is_empty() { Some(Unsent::Skipped(Skip::Empty)) } else { unsent },
        repeats: false,
        names_payment: false,
        conflicts: Vec::new(),
        content: if row.is_empty() { Content::Nothing } else { content },
    };
    if row.is_empty() {
        claim.faults.clear();
    }
    claim.judge(strict);
    claim
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_inherited_or_refused_never_repaired() {
        let one = Currencies::of(["MXN", "mxn", "", "MNX"].into_iter());
        let two = Currencies::of(["MXN", "USD"].into_iter());
        assert_eq!(one.resolve("mxn"), Ok(("MXN".to_owned(), false)));
        assert_eq!(one.resolve(""), Ok(("MXN".to_owned(), true)));
        assert_eq!(one.resolve("MNX"), Err(Unsent::Refused(1011)));
        assert_eq!(two.resolve(""), Err(Unsent::Refused(1011)));
        let refused = one.money(("5.00", "XYZ"), &Notation::default());
        assert_eq!((refused.money, refused.unsent), (None, Some(Unsent::Refused(1011))));
        assert_eq!(refused.faults, [Fault::new("currency", "XYZ", Wrong::Currency)]);
    }

    #[test]
    fn several_words_are_written_only_if_the_map_fixes_them() {
        const COLUMNS: super::super::table::Columns =
            super::super::table::Columns { known: &["id", "channel"], required: &[] };
        let channel = |constant: &str| {
            let text = format!("[columns]\nid=\"id\"\nchannel=\"c\"\n[constants]\nchannel=\"{constant}\"");
            let map = Map::parse(&text, COLUMNS.known).expect("a map");
            let table = Table::read("id,c\n1,\n2,bank\n3,by Li Si\n4,李四\n".as_bytes(), &map, &COLUMNS);
            table.expect("a table").rows.iter().map(|row| word(row, &map, "channel")).collect::<Vec<_>>()
        };
        assert_eq!(channel("published list"), ["published list", "bank", "", ""]);
        assert_eq!(channel("13800138000"), ["", "bank", "", ""]);
    }

    #[test]
    fn rows_without_money_are_skipped() {
        let currencies = Currencies::of(["CNY"].into_iter());
        let skip = |text| currencies.money((text, "CNY"), &Notation::default()).unsent;
        assert_eq!(skip("0.00"), Some(Unsent::Skipped(Skip::ZeroAmount)));
        assert_eq!(skip("n/a"), Some(Unsent::Skipped(Skip::AmountInvalid)));
        assert_eq!(skip("0.01"), None);
    }
}
