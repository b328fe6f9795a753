//! Payments: each row one payment, with a grant and a commitment of its own. Payees become pseudonyms here; a negative
//! row returns the newest earlier payment of its contract or payee.

use std::collections::BTreeMap;

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::Hash;

use super::entitled::{self, Entitled, Paid, Payee};
use super::fund::{Account, Book};
use super::item::{Claim, Content, Note};
use super::plan::{Draft, Entry, Planner, Under, key_in_batch};
use super::row::{self, Reading};
use super::table::{Columns, Row, Table};
use super::words;

pub const COLUMNS: Columns = Columns {
    known: &[
        "id",
        "date",
        "payer",
        "payee",
        "amount",
        "currency",
        "programme",
        "purpose",
        "contract",
        "bank_ref",
        "batch",
    ],
    required: &["amount", "currency"],
};

pub fn read(bytes: &[u8], file: &Hash, reading: &Reading<'_>) -> Result<Vec<Claim>, String> {
    let table = Table::read(bytes, reading.map, &COLUMNS)?;
    let (dates, currencies) = (table.dates(reading.map, "date"), row::currencies(&table));
    let claim = |row: &Row| {
        let (item, made) = row::id_of(row, file);
        let pair = (row.get("amount"), row.get("currency"));
        let mut stated = currencies.money(pair, &reading.map.notation);
        if made {
            stated.notes.push(Note::IdSynthesised);
        }
        let bank_ref = row.get("bank_ref");
        let content = Content::Payment {
            programme: row::programme_of(row, reading.name),
            payee: row.get("payee").to_owned(),
            contract: row.get("contract").to_owned(),
            purpose: row.get("purpose").to_owned(),
            bank_ref: if bank_ref.is_empty() { item.clone() } else { bank_ref.to_owned() },
        };
        row::claim(row, (&dates, reading.strict), item, stated, content)
    };
    let mut claims: Vec<Claim> = table.rows.iter().map(claim).collect();
    let amounts: Vec<&str> = table.rows.iter().map(|row| row.get("amount")).collect();
    returns(&mut claims, &amounts);
    Ok(claims)
}

/// What a return is matched by: programme, currency, and the contract, else the payee.
fn open_key(claim: &Claim) -> Option<(String, String, String)> {
    let Content::Payment { programme, payee, contract, .. } = &claim.content else { return None };
    let whose = if contract.is_empty() { payee } else { contract };
    let currency = claim.money.as_ref()?.currency.clone();
    (!whose.is_empty()).then(|| (programme.clone(), currency, whose.clone()))
}

/// A negative row without an earlier payment that covers it is no amount. What is not sent covers nothing.
fn returns(claims: &mut [Claim], amounts: &[&str]) {
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by_key(|at| (claims.get(*at).and_then(|claim| claim.date), *at));
    let mut open: BTreeMap<(String, String, String), Vec<i128>> = BTreeMap::new();
    for at in order {
        let Some(claim) = claims.get_mut(at).filter(|claim| claim.unsent.is_none()) else { continue };
        let Some(minor) = claim.money.as_ref().map(|money| money.minor) else { continue };
        let key = open_key(claim);
        if minor > 0 {
            key.into_iter().for_each(|key| open.entry(key).or_default().push(minor));
        } else if minor < 0 {
            let last = key.and_then(|key| open.get_mut(&key)?.last_mut());
            match last {
                Some(left) if *left >= -minor => *left += minor,
                _ => claim.refuse_negative("amount", amounts.get(at).copied().unwrap_or_default()),
            }
        }
    }
}

/// The newest payment that a return may name, by programme, currency and contract or payee.
#[derive(Default)]
pub struct Newest(BTreeMap<OpenKey, Open>);

/// Programme, currency, and contract or payee.
type OpenKey = (String, String, String);

/// The payment's entry, the records that it needs, and its year.
type Open = (Entry, Vec<usize>, u64);

/// The records of a payment and the shared ones that it needs.
pub fn plan(
    planner: &mut Planner<'_>,
    (book, newest): (&mut Book, &mut Newest),
    under: &Under,
    (claim, money): (&Claim, &(String, u64)),
) -> (Vec<usize>, Vec<usize>) {
    let Content::Payment { programme, payee, purpose, bank_ref, .. } = &claim.content else {
        return (Vec::new(), Vec::new());
    };
    let mut desk = book.programme(planner, under, (programme, &money.0));
    let when = under.when(claim.date);
    if claim.money.as_ref().is_some_and(|money| money.minor < 0) {
        let Some((paid, needs, year)) = open_key(claim).and_then(|key| newest.0.get(&key)) else {
            return (Vec::new(), Vec::new());
        };
        desk.account(planner, under, Account::Returned { year: *year });
        let draft = Draft::new("payment_return", key_in_batch(claim), 6)
            .of(desk.place())
            .posting(money)
            .with("payment", paid.reference.clone())
            .with("bank_ref", words::declared(bank_ref));
        let entry = planner.first(under, when, (claim, draft));
        return (vec![entry.at], desk.needs.into_iter().chain(needs.iter().copied()).collect());
    }
    let payee = if payee.is_empty() { Payee::Unknown } else { Payee::Person(payee.clone()) };
    let purpose: Value = words::code(purpose, "payment");
    let entitled = Entitled { claim, payee: payee.clone(), money: money.clone(), purpose, until: claim.date };
    let committed = entitled::commit(planner, &mut desk, under, &entitled);
    let made = claim.notes.contains(&Note::IdSynthesised);
    let filled = if made { vec!["bank_ref"] } else { Vec::new() };
    let paid = Paid { payee: &payee, money: money.clone(), reference: bank_ref, when, filled };
    let entry = entitled::pay(planner, &mut desk, under, (claim, &committed, paid));
    let mut records = committed.records;
    records.push(entry.at);
    if let Some(key) = open_key(claim) {
        newest.0.insert(key, (entry, records.clone(), committed.year));
    }
    (records, desk.needs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::map::Map;

    fn claims(text: &str) -> Vec<Claim> {
        let map = Map::default();
        let reading = Reading { name: "file", map: &map, strict: false };
        read(text.as_bytes(), &[0; 32], &reading).expect("claims")
    }

    #[test]
    fn a_negative_row_needs_an_earlier_payment_that_covers_it() {
        let claims = claims(
            "id,date,payee,amount,currency\n1,2020-01-01,A,5.00,CNY\n2,2020-01-02,A,-3.00,CNY\n3,2020-01-03,A,-3.00,CNY\n4,2020-01-04,B,-1.00,CNY\n",
        );
        let skipped: Vec<bool> = claims.iter().map(|claim| claim.unsent.is_some()).collect();
        assert_eq!(skipped, [false, false, true, true]);
    }

    #[test]
    fn two_rows_without_ids_are_two_payments() {
        let claims = claims("date,payee,amount,currency\n2020-01-01,A,5.00,CNY\n2020-01-01,A,5.00,CNY\n");
        assert_ne!(claims[0].key, claims[1].key);
        assert_eq!(claims[0].digest, claims[1].digest);
    }
}
