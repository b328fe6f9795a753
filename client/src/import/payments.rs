//! Payments: each row one payment, with a grant and a commitment of its own. Payees become pseudonyms here; a negative
//! row returns an earlier payment of its contract or payee.

use super::broken::Broken;
use super::entitled::{self, Entitled, Payee};
use super::fund::{Account, Book};
use super::item::{Claim, Content, Fault, Note, Wrong};
use super::plan::{Draft, Planner, Under, key_in_batch};
use super::returns::{Paid, Returns};
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

pub fn read(bytes: &[u8], reading: &Reading<'_>) -> Result<Vec<Claim>, Broken> {
    let table = Table::read(bytes, reading.map, &COLUMNS)?;
    let (dates, currencies) = (table.dates(reading.map, "date"), row::currencies(&table));
    let notation = table.notation(reading.map, "amount");
    let claim = |row: &Row| {
        let pair = (row.get("amount"), row.get("currency"));
        let mut stated = currencies.money(pair, &notation);
        if row.get("id").is_empty() {
            stated.notes.push(Note::IdSynthesised);
        }
        let content = Content::Payment {
            programme: row::programme_of(row, reading.name),
            payee: row.get("payee").to_owned(),
            contract: row.get("contract").to_owned(),
            purpose: row::word(row, reading.map, "purpose"),
            bank_ref: row.get("bank_ref").to_owned(),
        };
        let mut claim = row::claim(row, (&dates, reading.strict), stated, content);
        if claim.is_return() {
            // Holds if nothing earlier is found that it takes back.
            claim.faults.push(Fault::new("amount", row.get("amount"), Wrong::Negative));
        }
        claim
    };
    Ok(table.rows.iter().map(claim).collect())
}

/// The records of a payment and the shared ones that it needs.
pub fn plan(
    planner: &mut Planner<'_>,
    (book, returns): (&mut Book, &mut Returns),
    under: &Under,
    (place, claim, money): (usize, &Claim, &(String, u64)),
) -> (Vec<usize>, Vec<usize>) {
    let Content::Payment { programme, payee, purpose, bank_ref, .. } = &claim.content else {
        return (Vec::new(), Vec::new());
    };
    let mut desk = book.programme(planner, under, (programme, &money.0));
    let when = under.when(claim.date);
    let payee = if payee.is_empty() { Payee::Unknown } else { Payee::Person(payee.clone()) };
    let filled = if purpose.is_empty() { vec!["purpose"] } else { Vec::new() };
    let purpose = words::code(purpose, "payment");
    let entitled = Entitled { claim, payee: payee.clone(), money: money.clone(), purpose, filled, until: claim.date };
    let committed = entitled::commit(planner, &mut desk, under, &entitled);
    let made = claim.notes.contains(&Note::IdSynthesised);
    let filled = if made { vec!["bank_ref"] } else { Vec::new() };
    let paid =
        entitled::Paid { payee: &payee, money: money.clone(), reference: reference(claim, bank_ref), when, filled };
    let entry = entitled::pay(planner, &mut desk, under, (claim, &committed, paid));
    let mut records = committed.records;
    records.push(entry.at);
    let needs = desk.needs.iter().chain(&records).copied().collect();
    returns.planned(place, Paid { entry, needs, year: committed.year });
    (records, desk.needs)
}

/// The record of a return and those that it needs.
pub fn plan_return(
    planner: &mut Planner<'_>,
    book: &mut Book,
    under: &Under,
    (claim, money, paid): (&Claim, &(String, u64), &Paid),
) -> (Vec<usize>, Vec<usize>) {
    let Content::Payment { programme, bank_ref, .. } = &claim.content else {
        return (Vec::new(), Vec::new());
    };
    let mut desk = book.programme(planner, under, (programme, &money.0));
    desk.account(planner, under, Account::Returned { year: paid.year });
    let draft = Draft::new("payment_return", key_in_batch(claim), 6)
        .of(desk.place())
        .posting(money)
        .with("payment", paid.entry.reference.clone())
        .with("bank_ref", planner.secret.reference(reference(claim, bank_ref)));
    let entry = planner.first(under, under.when(claim.date), (claim, draft));
    (vec![entry.at], desk.needs.iter().chain(&paid.needs).copied().collect())
}

/// What the source knows a payment by.
fn reference<'c>(claim: &'c Claim, bank_ref: &'c str) -> &'c str {
    if bank_ref.is_empty() { &claim.item } else { bank_ref }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::identity::Secret;
    use crate::import::item::Source;
    use crate::import::map::Map;
    use mingzhang_ledger::records::calendar::Day;

    fn claims(text: &str) -> Vec<Claim> {
        let map = Map::default();
        let reading = Reading { name: "file", map: &map, strict: false };
        read(text.as_bytes(), &reading).expect("claims")
    }

    #[test]
    fn two_rows_without_ids_are_two_payments() {
        let claims = claims("date,payee,amount,currency\n2020-01-01,A,5.00,CNY\n2020-01-01,A,5.00,CNY\n");
        assert_ne!(claims[0].key, claims[1].key);
        assert_eq!(claims[0].digest, claims[1].digest);
    }

    #[test]
    fn what_else_a_map_takes_makes_no_other_payment_of_a_row() {
        let named = |text: &str| {
            let mut source =
                Source { file: String::new(), name: "file".to_owned(), claims: claims(text), known_by: Vec::new() };
            source.name_rows(&Secret::new([9; 32], Day(20_000)));
            source.claims.remove(0)
        };
        let one = named("date,payee,amount,currency\n2020-01-01,A,5.00,CNY\n");
        let more = named("date,payee,amount,currency,purpose\n2020-01-01,A,5.00,CNY,works\n");
        let other = named("date,payee,amount,currency\n2020-01-01,B,5.00,CNY\n");
        assert_eq!(one.key, more.key);
        assert_ne!(one.digest, more.digest);
        assert_ne!(one.key, other.key);
    }
}
