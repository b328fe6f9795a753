//! Negative rows of payments: which payment each one takes back, and what the report adds up.

use serde_json::Value as Json;

use super::super::report::Fate;
use super::bad_rows::{Told, told};
use super::*;

const PLAIN: &str = "id,date,payee,amount,currency\n";

fn both(text: &str, check: impl Fn(&Told)) {
    for strict in [false, true] {
        check(&told(Format::Payments, text, strict));
    }
}

/// Results of the rows from the second line of the file on.
fn results(told: &Told) -> Vec<&str> {
    told.rows.values().map(|row| row["result"].as_str().expect("a result")).collect()
}

fn paid(told: &Told) -> Option<i128> {
    told.totals.get(&(Kind::Payment, "CNY".to_owned())).copied()
}

#[test]
fn a_return_takes_the_newest_payment_that_is_open_for_it() {
    let rows = "1,2020-01-01,A,5.00,CNY\n2,2020-01-02,A,3.00,CNY\n3,2020-01-03,A,-3.00,CNY\n4,2020-01-04,A,-2.00,CNY\n\
                5,2020-01-05,A,-3.00,CNY\n6,2020-01-06,A,-1.00,CNY\n";
    both(&format!("{PLAIN}{rows}"), |told| {
        assert_eq!(results(told), ["applied", "applied", "applied", "applied", "applied", "skipped"]);
        assert_eq!(told.rows[&7]["reason"], "amount_invalid");
        assert_eq!(paid(told), Some(0));
    });
    let other = "1,2020-01-01,A,5.00,CNY\n2,2020-01-02,A,3.00,CNY\n3,2020-01-03,A,-4.00,CNY\n";
    both(&format!("{PLAIN}{other}"), |told| {
        assert_eq!(results(told), ["applied"; 3], "5.00 covers it, 3.00 does not");
    });
}

#[test]
fn a_negative_row_needs_an_earlier_payment_that_covers_it() {
    let rows =
        "1,2020-01-01,A,5.00,CNY\n2,2020-01-02,A,-3.00,CNY\n3,2020-01-03,A,-3.00,CNY\n4,2020-01-04,B,-1.00,CNY\n";
    both(&format!("{PLAIN}{rows}"), |told| {
        assert_eq!(results(told), ["applied", "applied", "skipped", "skipped"]);
    });
}

#[test]
fn returns_are_taken_off_the_applied_sum() {
    let rows = "1,2020-01-01,A,5.00,CNY\n2,2020-01-02,B,3.00,CNY\n3,2020-01-03,B,-3.00,CNY\n";
    both(&format!("{PLAIN}{rows}"), |told| {
        assert_eq!(paid(told), Some(500));
        assert!(told.screen.contains("payment  5.00 CNY"), "{}", told.screen);
        assert_eq!(told.rows[&4]["detail"], Json::Null, "a return is no fault");
    });
}

#[test]
fn an_undated_payment_stands_at_the_end_of_the_period() {
    both(&format!("{PLAIN}1,,A,5.00,CNY\n2,2020-01-02,A,-3.00,CNY\n"), |told| {
        assert_eq!(results(told), ["applied", "applied"]);
    });
    both(&format!("{PLAIN}1,2020-01-02,A,-3.00,CNY\n2,,A,5.00,CNY\n"), |told| {
        assert_eq!(results(told), ["skipped", "applied"]);
        let detail = told.rows[&2]["detail"].as_str().expect("a detail");
        assert!(detail.contains("no earlier payment covers it"), "{detail}");
    });
}

#[test]
fn a_return_may_stand_in_another_batch_than_its_payment() {
    let rows = "1,2020-01-03,A,-3.00,CNY,b1\n2,2020-01-04,C,1.00,CNY,b1\n3,2020-01-01,A,5.00,CNY,b2\n\
                4,2020-01-02,B,-1.00,CNY,b1\n5,2020-01-03,B,1.00,CNY,b2\n";
    both(&format!("id,date,payee,amount,currency,batch\n{rows}"), |told| {
        assert_eq!(results(told), ["applied", "applied", "applied", "skipped", "applied"]);
    });
}

#[test]
fn a_batch_that_repeats_another_covers_no_return() {
    let rows = "1,2020-01-01,A,5.00,CNY,b1\n1,2020-01-01,A,5.00,CNY,b2\n2,2020-01-02,A,-5.00,CNY,b3\n\
                3,2020-01-03,A,-5.00,CNY,b3\n";
    both(&format!("id,date,payee,amount,currency,batch\n{rows}"), |told| {
        assert_eq!(results(told), ["applied", "rejected", "applied", "skipped"]);
        assert_eq!(told.rows[&3]["code"], "MZ-3706");
    });
}

/// A ledger that does not open the import of one batch.
struct Closed<'a> {
    ledger: &'a mut MemoryLedger,
    batch: &'static str,
}

impl Ledger for Closed<'_> {
    fn agency(&self, officer: Officer) -> &str {
        self.ledger.agency(officer)
    }

    fn send(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Standing>, Failure> {
        let names_it = |record: &Outgoing<'_>| {
            let source = record.body.get("source").and_then(|source| source.as_text());
            record.record_type == "import_open" && source.is_some_and(|source| source.ends_with(self.batch))
        };
        match records.first().filter(|record| names_it(record)) {
            Some(record) => {
                let transaction = self.ledger.sign(record);
                Ok(vec![self.ledger.standing(&transaction, Verdict::Refused(1004), false)])
            }
            None => self.ledger.send(records),
        }
    }

    fn check_earlier(&self, record: &Outgoing<'_>, id: &Hash) -> Result<(), Failure> {
        self.ledger.check_earlier(record, id)
    }

    fn transaction(&self, id: &Hash) -> Result<Transaction, Failure> {
        self.ledger.transaction(id)
    }

    fn leaves(&mut self, records: &[Ref], said: bool) -> Result<Vec<Option<RecordLeaf>>, Failure> {
        self.ledger.leaves(records, said)
    }
}

#[test]
fn a_return_waits_for_the_batch_of_its_payment() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rows.csv");
    let rows = "1,2020-01-01,A,5.00,CNY,b1\n2,2020-01-02,A,4.00,CNY,b2\n3,2020-01-03,A,-3.00,CNY,b3\n4,2020-01-03,B,1.00,CNY,b3\n";
    std::fs::write(&path, format!("id,date,payee,amount,currency,batch\n{rows}")).expect("a file");
    let source = read(Format::Payments, &path, (&Map::default(), false)).expect("the file is read");
    let mut ledger = MemoryLedger::found();
    let identity = Identity::new(ledger.network.chain, "payments", &source.name, false);
    let loads = [Load { source: &source, identity, secret: Secret::new([9; 32], TODAY) }];
    let closed = &mut Closed { ledger: &mut ledger, batch: "b2" };
    let first = run(Format::Payments, false, &loads, closed).expect("the import runs");
    let second = run(Format::Payments, false, &loads, &mut ledger).expect("the import runs");
    let sources = [source.clone()];
    let fates = |outcome| make(outcome, &sources).lines.iter().map(|line| (line.fate, line.code)).collect::<Vec<_>>();
    let refused = (Fate::Rejected, Some(1004));
    assert_eq!(fates(&first), [(Fate::Applied, None), refused, refused, (Fate::Applied, None)]);
    let again = (Fate::Duplicate, None);
    assert_eq!(fates(&second), [again, (Fate::Applied, None), (Fate::Applied, None), again]);
    assert_eq!((first.closings.len(), second.closings.len()), (1, 3));
}

#[test]
fn returns_are_the_same_records_in_a_second_import() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rows.csv");
    let rows = "1,2020-01-03,A,-3.00,CNY,b1\n2,,A,5.00,CNY,b2\n3,2020-01-02,A,2.00,CNY,b2\n4,2020-01-05,A,-2.00,CNY,b2\n\
                5,2020-01-06,D,-2.00,CNY,b2\n";
    std::fs::write(&path, format!("id,date,payee,amount,currency,batch\n{rows}")).expect("a file");
    let source = read(Format::Payments, &path, (&Map::default(), false)).expect("the file is read");
    let mut ledger = MemoryLedger::found();
    import(&mut ledger, Format::Payments, false, &source).expect("the import runs");
    let again = import(&mut ledger, Format::Payments, false, &source).expect("the import runs");
    let sources = [source];
    let report = make(&again, &sources);
    assert_eq!((report.transactions, report.counters.unknown), (0, 0));
    assert_eq!((report.counters.duplicates, report.counters.skipped_total()), (3, 2));
}

#[test]
fn an_amount_that_no_record_holds_is_no_amount() {
    let text = format!("{PLAIN}1,2020-01-01,A,200000000000000000.00,CNY\n2,2020-01-01,B,1.00,CNY\n");
    let historical = told(Format::Payments, &text, false);
    let row = &historical.rows[&2];
    assert_eq!((&row["result"], &row["reason"]), (&"skipped".into(), &"amount_invalid".into()), "{row}");
    let strict = told(Format::Payments, &text, true);
    let row = &strict.rows[&2];
    assert_eq!((&row["result"], &row["code"]), (&"rejected".into(), &"MZ-1011".into()), "{row}");
    for told in [historical, strict] {
        let detail = told.rows[&2]["detail"].as_str().expect("a detail");
        assert!(detail.contains("200000000000000000.00") && detail.contains("more than"), "{detail}");
        assert_eq!((paid(&told), told.programmes), (Some(100), 1));
    }
}

#[test]
fn a_return_under_the_number_of_its_payment_is_no_repetition() {
    let rows = "R1,2020-01-01,A,100.00,CNY\nR2,2020-01-02,A,100.00,CNY\nR1,2020-01-03,A,-60.00,CNY\n\
                R1,2020-01-04,A,-40.00,CNY\nR1,2020-01-04,A,-40.00,CNY\nR1,2020-01-05,A,-1.00,CNY\n";
    both(&format!("{PLAIN}{rows}"), |told| {
        assert_eq!(results(told), ["applied", "applied", "applied", "applied", "duplicate", "skipped"]);
        assert_eq!(paid(told), Some(10_000));
        assert_eq!(told.rows[&2]["flags"].as_array().map(|flags| flags.contains(&Json::from("MZ-3709"))), Some(false));
    });
    let rows = "R1,2020-01-03,,-5.00,CNY\nR1,2020-01-01,,5.00,CNY\n";
    both(&format!("{PLAIN}{rows}"), |told| assert_eq!((results(told), paid(told)), (vec!["applied"; 2], Some(0))));
}
