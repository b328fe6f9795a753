//! What the leaves of the ledger bear out of an answer, and what a second run says of what was rejected.

use super::super::prove::{Leaves, judge, told};
use super::super::report::Fate;
use super::*;

const ROWS: &str = "id,date,donor,amount,currency\n1,2020-01-01,A,5.00,CNY\n2,2020-01-02,B,6.00,CNY\n";
/// A day that lies ahead, which strict imports reject.
const AHEAD: &str = "3,2026-12-24,C,7.00,CNY\n";

fn rows(text: &str, strict: bool) -> Source {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, text).expect("a file");
    read(Format::Donations, &path, (&Map::default(), strict)).expect("the file is read")
}

fn leaves(ledger: &MemoryLedger, outcome: &Outcome) -> Leaves {
    let leaf = |key: Key| (key, Overlay::new(&ledger.state).get(&key).expect("the state is readable"));
    told(outcome).map(|standing| leaf(standing.record.key())).collect()
}

fn fates(outcome: &Outcome, source: &Source) -> Vec<(Fate, Option<u16>)> {
    let sources = [source.clone()];
    make(outcome, &sources).lines.iter().map(|line| (line.fate, line.code)).collect()
}

#[test]
fn a_repeated_rejection_is_one_still() {
    let source = rows(&format!("{ROWS}{AHEAD}"), true);
    let mut ledger = MemoryLedger::found();
    let first = import(&mut ledger, Format::Donations, true, &source).expect("the import runs");
    let rejected = (Fate::Rejected, Some(3007));
    assert_eq!(fates(&first, &source), [(Fate::Applied, None), (Fate::Applied, None), rejected]);
    let again = import(&mut ledger, Format::Donations, true, &source).expect("the import runs");
    assert_eq!(fates(&again, &source), [(Fate::Duplicate, None), (Fate::Duplicate, None), rejected]);
    // In a file that has grown, the leaf tells that the row was rejected before.
    let grown = rows(&format!("{ROWS}{AHEAD}4,2020-01-03,D,8.00,CNY\n"), true);
    let mut third = import(&mut ledger, Format::Donations, true, &grown).expect("the import runs");
    let found = leaves(&ledger, &third);
    judge(&mut third, &found).expect("all is borne out");
    let known = (Fate::Duplicate, None);
    assert_eq!(fates(&third, &grown), [known, known, (Fate::Applied, None), rejected], "by day");
}

#[test]
fn no_lie_about_an_import_is_borne_out() {
    let source = rows(&format!("{ROWS}{AHEAD}"), true);
    let mut ledger = MemoryLedger::found();
    let honest = || {
        let mut ledger = MemoryLedger::found();
        import(&mut ledger, Format::Donations, true, &source).expect("the import runs")
    };
    import(&mut ledger, Format::Donations, true, &source).expect("the import runs");
    let place = |outcome: &Outcome, verdict: Verdict| {
        let found = outcome.plan.records.iter().zip(&outcome.standings).position(|(record, standing)| {
            record.record_type == "income_record" && standing.as_ref().is_some_and(|one| one.verdict == verdict)
        });
        found.expect("such a record")
    };
    let tell = |lie: &dyn Fn(&mut Outcome)| {
        let mut outcome = honest();
        lie(&mut outcome);
        let found = leaves(&ledger, &outcome);
        judge(&mut outcome, &found)
    };
    let set = |outcome: &mut Outcome, from: Verdict, to: Verdict| {
        let at = place(outcome, from);
        outcome.standings[at].as_mut().expect("a standing").verdict = to;
    };
    let (applied, rejected) = (Verdict::Applied, Verdict::Rejected(3007));
    tell(&|_| ()).expect("the truth");
    for (from, to) in [
        (rejected, applied),
        (applied, rejected),
        (applied, Verdict::Refused(1004)),
        (applied, Verdict::Refused(1015)),
        (rejected, Verdict::Rejected(3706)),
    ] {
        tell(&|outcome| set(outcome, from, to)).expect_err("a lie");
    }
    // Two lies that leave the sums as they are.
    tell(&|outcome| {
        let (one, other) = (place(outcome, applied), place(outcome, rejected));
        outcome.standings[one].as_mut().expect("a standing").verdict = rejected;
        outcome.standings[other].as_mut().expect("a standing").verdict = applied;
    })
    .expect_err("a lie");
    // A flag that is not there, and one that is, kept back.
    let flagged = |flags: &[u16]| {
        tell(&|outcome| {
            let at = place(outcome, applied);
            outcome.standings[at].as_mut().expect("a standing").flags = flags.to_vec();
        })
    };
    flagged(&[3707]).expect("the truth: no row names a channel");
    flagged(&[3707, 3911]).expect_err("a lie");
    flagged(&[]).expect_err("a lie");
    // An answer that is not known is no claim.
    tell(&|outcome| {
        set(outcome, applied, Verdict::Unknown);
        (outcome.closed, outcome.closings) = (Vec::new(), Vec::new());
    })
    .expect("nothing is told of it");
}

#[test]
fn an_import_that_is_not_closed_says_so_in_the_catalogues_words() {
    let source = rows(ROWS, false);
    let mut ledger = MemoryLedger::found();
    let mut outcome = import(&mut ledger, Format::Donations, false, &source).expect("the import runs");
    let closing = outcome.closings.first_mut().expect("one import");
    (closing.verdict, closing.detail) = (Verdict::Rejected(3710), "counts 5, recorded 17".to_owned());
    let sources = [source];
    let report = make(&outcome, &sources);
    let english = (Language::English, "Import totals differ", "counts 5, recorded 17");
    let chinese = (Language::Chinese, "合计", "所述笔数 5,已记录 17");
    for (language, title, detail) in [english, chinese] {
        let words = report.warnings(language).concat().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("MZ-3710") && words.contains(title) && words.contains(detail), "{words}");
        assert!(!words.contains("Rejected("), "{words}");
    }
}

#[test]
fn a_slash_in_a_batch_or_an_id_makes_no_two_rows_one() {
    let rows = "a,b/c\na/b,c\n,a/b/c\na,b\n,a/b\n1,a/b\n,1/a/b\n";
    let line = |(at, names): (usize, &str)| {
        let (batch, id) = names.split_once(',').expect("two names");
        format!("{id},2020-01-0{},D{at},{}.00,CNY,{batch}\n", at + 1, at + 1)
    };
    let text: String = rows.lines().enumerate().map(line).collect();
    let source = self::rows(&format!("id,date,donor,amount,currency,batch\n{text}"), false);
    let keys: std::collections::BTreeSet<String> = source.claims.iter().map(super::super::plan::key_in_batch).collect();
    assert_eq!(keys.len(), 7);
    assert!(keys.contains("a/b"), "what was unambiguous stays: {keys:?}");
    let mut ledger = MemoryLedger::found();
    let outcome = import(&mut ledger, Format::Donations, false, &source).expect("the import runs");
    assert!(fates(&outcome, &source).iter().all(|fate| *fate == (Fate::Applied, None)));
}
