//! A source that grows: of later years, of later days, after a run that was killed. What stands is a repetition, what is new
//! enters.

use std::path::Path;

use super::super::load::earlier_imports;
use super::super::prove::{Leaves, judge, open_among, told};
use super::super::report::Fate;
use super::*;

const APPLIED: (Fate, Option<u16>) = (Fate::Applied, None);
const KNOWN: (Fate, Option<u16>) = (Fate::Duplicate, None);

/// An importer whose memory lies in a folder.
struct Importer {
    folder: tempfile::TempDir,
    ledger: MemoryLedger,
    format: Format,
    strict: bool,
    /// Another column.
    more: &'static str,
}

impl Importer {
    fn new(format: Format, strict: bool) -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), ledger: MemoryLedger::found(), format, strict, more: "" }
    }

    fn source(&self, rows: &str) -> Source {
        let header = match self.format {
            Format::Payments => "id,date,payee,amount,currency",
            Format::Permits => "id,applied,decided,issued,applicant,status",
            _ => "id,date,donor,amount,currency",
        };
        let path = self.folder.path().join("rows.csv");
        std::fs::write(&path, format!("{header}{}\n{rows}", self.more)).expect("a file");
        let mut source = read(self.format, Path::new(&path), (&Map::default(), self.strict)).expect("the file is read");
        source.name_rows(&self.secret(&self.identity(&source), TODAY));
        source
    }

    fn identity(&self, source: &Source) -> Identity {
        Identity::new(self.ledger.network.chain, self.format.name(), &source.name, self.strict)
    }

    fn secret(&self, identity: &Identity, today: Day) -> Secret {
        Secret::keep(self.folder.path(), identity, today).expect("a secret")
    }

    fn load<'a>(&self, source: &'a Source, today: Day) -> Load<'a> {
        let identity = self.identity(source);
        let secret = self.secret(&identity, today);
        Load { source, identity, secret }
    }

    fn leaves(&self, keys: impl Iterator<Item = Key>) -> Leaves {
        keys.map(|key| (key, Overlay::new(&self.ledger.state).get(&key).expect("the state is readable"))).collect()
    }

    fn fates(&mut self, rows: &str, today: Day) -> Vec<(Fate, Option<u16>)> {
        let source = self.source(rows);
        let loads = [self.load(&source, today)];
        let mut outcome = run(self.format, self.strict, &loads, &mut self.ledger).expect("the import runs");
        let leaves = self.leaves(told(&outcome).map(|standing| standing.record.key()));
        judge(&mut outcome, &leaves).expect("all is borne out");
        assert!(outcome.closings.iter().all(|closing| closing.verdict == Verdict::Applied));
        let sources = [source];
        make(&outcome, &sources).lines.iter().map(|line| (line.fate, line.code)).collect()
    }
}

#[test]
fn later_and_earlier_years_enter() {
    for (format, strict) in
        [Format::Donations, Format::Payments].into_iter().flat_map(|format| [(format, false), (format, true)])
    {
        let mut importer = Importer::new(format, strict);
        let first = "1,2014-05-01,A,5.00,CNY\n";
        let grown = format!("{first}2,2015-05-01,B,6.00,CNY\n3,2016-05-01,A,7.00,CNY\n");
        let whole = format!("0,2013-01-01,C,1.00,CNY\n{grown}4,2017-01-01,A,2.00,CNY\n");
        assert_eq!(importer.fates(first, TODAY), [APPLIED]);
        assert_eq!(importer.fates(&grown, TODAY), [KNOWN, APPLIED, APPLIED]);
        assert_eq!(importer.fates(&whole, TODAY), [APPLIED, KNOWN, KNOWN, KNOWN, APPLIED]);
        for (rows, count) in [(first, 1), (&grown, 3), (&whole, 5)] {
            let before = importer.ledger.log.len();
            assert_eq!(importer.fates(rows, TODAY), vec![KNOWN; count], "the same file again");
            assert_eq!(importer.ledger.log.len(), before);
        }
    }
}

#[test]
fn a_return_takes_back_what_was_paid_in_a_year_of_another_term() {
    let mut importer = Importer::new(Format::Payments, true);
    let first = "1,2014-05-01,A,5.00,CNY\n";
    assert_eq!(importer.fates(first, TODAY), [APPLIED]);
    let grown = format!("{first}2,2015-05-01,A,-5.00,CNY\n3,2015-06-01,A,4.00,CNY\n4,2016-06-01,A,-4.00,CNY\n");
    assert_eq!(importer.fates(&grown, TODAY), [KNOWN, APPLIED, APPLIED, APPLIED]);
}

#[test]
fn more_years_than_a_programme_has_are_of_several() {
    let rows: String = (1970..2020).map(|year| format!("{year},{year}-05-01,A,{year}.00,CNY\n")).collect();
    assert_eq!(Importer::new(Format::Donations, true).fates(&rows, TODAY), vec![APPLIED; 50]);
}

#[test]
fn a_later_day_than_the_first_import_is_no_day_ahead() {
    let mut importer = Importer::new(Format::Donations, true);
    let (early, first) = (Day(TODAY.0 - 50), "1,2026-05-01,A,5.00,CNY\n2,,B,6.00,CNY\n");
    assert_eq!(importer.fates(first, early), [APPLIED, APPLIED]);
    let later = Day(TODAY.0 - 20);
    let grown = format!("{first}3,{later},C,7.00,CNY\n");
    // The row without a date stands at the end of the first batch's period.
    let mut fates = importer.fates(&grown, TODAY);
    fates.sort_by_key(|(fate, _)| *fate == Fate::Applied);
    assert_eq!(fates, [KNOWN, KNOWN, APPLIED]);
    assert_eq!(importer.fates(first, TODAY), [KNOWN, KNOWN], "the first batch keeps its period");
}

#[test]
fn an_import_that_was_left_open_is_named() {
    let mut importer = Importer::new(Format::Donations, false);
    let first: String = (1..9).map(|day| format!("{day},2020-05-0{day},A,{day}.00,CNY\n")).collect();
    let source = importer.source(&first);
    let loads = [importer.load(&source, TODAY)];
    // All but its close.
    let whole = {
        let mut ledger = MemoryLedger::found();
        run(Format::Donations, false, &loads, &mut ledger).expect("the import runs");
        ledger.log.len()
    };
    importer.ledger.left = whole - 1;
    run(Format::Donations, false, &loads, &mut importer.ledger).err().expect("killed");
    importer.ledger.left = usize::MAX;
    let open = |importer: &mut Importer, rows: &str| {
        let source = importer.source(rows);
        let load = importer.load(&source, TODAY);
        let loads = [load];
        let outcome = run(Format::Donations, false, &loads, &mut importer.ledger).expect("the import runs");
        let earlier = earlier_imports(&loads[0], (0, "archive"), &outcome.batches).expect("the memory");
        open_among(&earlier, &importer.leaves(earlier.iter().map(Ref::key)))
    };
    let grown = format!("{first}9,2020-05-09,A,9.00,CNY\n");
    let left = open(&mut importer, &grown);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].1.posted.get("CNY"), Some(&3_600));
    assert_eq!(open(&mut importer, &first).len(), 0, "the first file again closes it");
    assert_eq!(open(&mut importer, &grown).len(), 0);
}

#[test]
fn rows_without_ids_are_known_again_wherever_they_stand() {
    for (format, strict) in
        [Format::Donations, Format::Payments].into_iter().flat_map(|format| [(format, false), (format, true)])
    {
        let mut importer = Importer::new(format, strict);
        let first = ",2014-05-01,A,5.00,CNY\n,2014-05-01,B,5.00,CNY\n,2014-05-01,B,5.00,CNY\n";
        assert_eq!(importer.fates(first, TODAY).len(), 3);
        let before = importer.ledger.log.len();
        // One before the others that differs in the payee alone, one more that equals two.
        let grown = format!(",2014-05-01,C,5.00,CNY\n{first},2014-05-01,B,5.00,CNY\n");
        let fates: Vec<Fate> = importer.fates(&grown, TODAY).into_iter().map(|(fate, _)| fate).collect();
        let applied = fates.iter().filter(|fate| **fate == Fate::Applied).count();
        assert_eq!((applied, fates.iter().filter(|fate| **fate == Fate::Duplicate).count()), (2, 3), "{fates:?}");
        assert!(importer.ledger.log.len() > before);
        let before = importer.ledger.log.len();
        assert_eq!(importer.fates(&grown, TODAY), vec![KNOWN; 5], "the same file again");
        assert_eq!(importer.ledger.log.len(), before);
    }
}

#[test]
fn grants_without_ids_are_known_again_wherever_they_stand() {
    let claims = |text: &str| {
        let reading = super::super::row::Reading { name: "grants", map: &Map::default(), strict: true };
        let claims = super::super::grants::read(text.as_bytes(), &reading).expect("grants");
        let mut source = Source { file: String::new(), name: "grants".to_owned(), claims, known_by: Vec::new() };
        source.name_rows(&Secret::new([9; 32], TODAY));
        source.claims.into_iter().map(|claim| claim.key).collect::<Vec<_>>()
    };
    let grant = |who: &str| {
        format!(
            r#"{{"currency":"GBP","amountAwarded":5,"awardDate":"2015-01-01","recipientOrganization":[{{{who}}}]}}"#
        )
    };
    let (one, other) = (grant(r#""id":"GB-1""#), grant(r#""name":"Zhang San""#));
    let first = claims(&format!("[{one}]"));
    let grown = claims(&format!("[{other},{one},{one}]"));
    assert_eq!(grown[1], first[0]);
    assert_eq!(std::collections::BTreeSet::from_iter(&grown).len(), 3);
    assert!(grown.iter().all(|key| !key.contains("Zhang")));
}

/// A node that shows no leaf before something was sent.
struct Blind<'a>(&'a mut MemoryLedger);

impl Ledger for Blind<'_> {
    fn agency(&self, officer: Officer) -> &str {
        self.0.agency(officer)
    }

    fn send(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Standing>, Failure> {
        self.0.send(records)
    }

    fn check_earlier(&self, record: &Outgoing<'_>, id: &Hash) -> Result<(), Failure> {
        self.0.check_earlier(record, id)
    }

    fn transaction(&self, id: &Hash) -> Result<Transaction, Failure> {
        self.0.transaction(id)
    }

    fn leaves(&mut self, records: &[Ref], said: bool) -> Result<Vec<Option<RecordLeaf>>, Failure> {
        if said { self.0.leaves(records, said) } else { Ok(vec![None; records.len()]) }
    }
}

#[test]
fn a_row_that_takes_the_place_of_its_like_is_seen_before_anything_is_sent() {
    for (format, more) in
        [(Format::Donations, ",channel"), (Format::Payments, ",purpose"), (Format::Permits, ",clock_days")]
    {
        let row = |what: &str| match format {
            Format::Permits => format!(",2014-05-01,2014-05-{what},,A,Refused,20\n"),
            _ => format!(",2014-05-01,A,5.00,CNY,{what}\n"),
        };
        let mut importer = Importer { more, ..Importer::new(format, false) };
        let (one, two, three) = (row("11"), row("12"), row("13"));
        assert_eq!(importer.fates(&one, TODAY), [APPLIED]);
        assert_eq!(importer.fates(&format!("{one}{two}"), TODAY), [KNOWN, APPLIED], "behind it");
        let before = importer.ledger.log.len();
        for (rows, line, stood) in [(format!("{three}{one}{two}"), 2, 3), (format!("{one}{three}{two}"), 3, 4)] {
            let source = importer.source(&rows);
            let loads = [importer.load(&source, TODAY)];
            let failure = run(format, false, &loads, &mut importer.ledger).err().expect("refused");
            assert_eq!(failure.code.map(|code| code.0), Some(1015), "{}", failure.detail);
            let told = format!("line {line} stands where line {stood} stood");
            assert!(failure.detail.contains(&told), "{}", failure.detail);
            assert_eq!(importer.ledger.log.len(), before, "not even a batch was opened");
        }
        assert_eq!(importer.fates(&format!("{one}{two}{three}"), TODAY), [KNOWN, KNOWN, APPLIED]);
    }
}

/// Permits have no programme whose scope would tell: those with ids meet under them and are refused, those without never do.
#[test]
fn permits_of_two_memories_never_share_an_id() {
    for (row, second) in [("1", (Fate::Rejected, Some(1015))), ("", APPLIED)] {
        let rows = format!("{row},2014-05-01,2014-05-02,2014-05-03,A,Issued\n");
        let mut importer = Importer::new(Format::Permits, false);
        assert_eq!(importer.fates(&rows, TODAY), [APPLIED]);
        let mut other = Importer { folder: tempfile::tempdir().expect("a folder"), ..importer };
        assert_eq!(other.fates(&rows, TODAY), [second], "{row:?}");
    }
}

#[test]
fn an_importer_without_the_memory_of_a_source_adds_nothing_to_it() {
    // A refusal names another officer's key before it names the scope.
    for (format, seed) in
        [Format::Donations, Format::Payments].into_iter().flat_map(|format| [(format, 1), (format, SECOND)])
    {
        let mut importer = Importer::new(format, true);
        let first = ",2014-05-01,A,5.00,CNY\n";
        assert_eq!(importer.fates(first, TODAY), [APPLIED]);
        importer.ledger.importer = seed;
        let mut other = Importer { folder: tempfile::tempdir().expect("a folder"), ..importer };
        let before = other.ledger.log.len();
        for rows in [first.to_owned(), format!("{first},2015-05-01,B,6.00,CNY\n")] {
            let source = other.source(&rows);
            let loads = [other.load(&source, TODAY)];
            let failure = run(format, true, &loads, &mut other.ledger).err().expect("another memory's");
            assert_eq!(failure.code.map(|code| code.0), Some(1015));
            assert!(failure.detail.contains("scope differs"), "{}", failure.detail);
            assert_eq!(other.ledger.log.len(), before, "not even a batch was opened");
        }
        let source = other.source(first);
        let loads = [other.load(&source, TODAY)];
        let outcome = run(format, true, &loads, &mut Blind(&mut other.ledger)).expect("the import runs");
        let sources = [source];
        let fates: Vec<_> = make(&outcome, &sources).lines.iter().map(|line| (line.fate, line.code)).collect();
        assert_eq!(fates, [(Fate::Rejected, Some(1015))], "what is told afterwards decides");
    }
}

#[test]
fn another_officer_with_the_memory_goes_on_with_a_source() {
    let mut importer = Importer::new(Format::Donations, true);
    let first = "1,2014-05-01,A,5.00,CNY\n";
    assert_eq!(importer.fates(first, TODAY), [APPLIED]);
    importer.ledger.importer = SECOND;
    let grown = format!("{first}2,2014-05-02,B,6.00,CNY\n");
    assert_eq!(importer.fates(&grown, TODAY), [(Fate::Rejected, Some(1015)), APPLIED]);
}

#[test]
fn another_spelling_makes_no_other_row() {
    let mut importer = Importer::new(Format::Donations, true);
    let first = ",2014-05-01,A,5.00,CNY\n,2014-05-02,A,6.00,CNY\n";
    assert_eq!(importer.fates(first, TODAY), [APPLIED, APPLIED]);
    let income = |importer: &Importer| {
        let kind = |transaction: &Transaction| transaction.payload().record_type == "income_record";
        importer.ledger.log.values().filter(|(transaction, _)| kind(transaction)).count()
    };
    let spelt = ",2014-05-01 00:00,A,5.0,cny\n,2014-05-02,A,6.00,CNY\n";
    let fates = importer.fates(spelt, TODAY);
    assert!(fates.iter().all(|(fate, _)| *fate != Fate::Applied), "{fates:?}");
    assert_eq!(income(&importer), 2);
}

#[test]
fn rows_without_ids_stay_known_by_the_same_columns() {
    let mut importer = Importer::new(Format::Donations, true);
    assert_eq!(importer.fates(",2014-05-01,A,5.00,CNY\n", TODAY), [APPLIED]);
    let before = importer.ledger.log.len();
    let path = importer.folder.path().join("rows.csv");
    std::fs::write(&path, "date,amount,currency\n2014-05-01,5.00,CNY\n").expect("a file");
    let source = read(Format::Donations, &path, (&Map::default(), true)).expect("the file is read");
    let loads = [importer.load(&source, TODAY)];
    let failure = run(Format::Donations, true, &loads, &mut importer.ledger).err().expect("other columns");
    assert!(failure.detail.contains("date, amount, currency, donor"), "{}", failure.detail);
    assert_eq!((failure.exit, importer.ledger.log.len()), (2, before));
}
