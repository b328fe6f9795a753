//! Permits: application and acceptance, decision and licence, withdrawal or change of a licence. Applicants become
//! pseudonyms here.

use std::collections::BTreeMap;

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::records::calendar::Day;

use super::broken::Broken;
use super::item::{Claim, Content, Ending, Note, Skip, Unsent};
use super::plan::{Draft, Entry, Planner, Under, When, key_in_batch};
use super::row::{self, Read, Reading};
use super::table::{Columns, Row, Table};
use super::words;

pub const COLUMNS: Columns = Columns {
    // `closed` is when a permit ended without a decision of its own date; `clock_days` what the matter promises.
    known: &["id", "matter", "applicant", "applied", "decided", "issued", "closed", "status", "clock_days", "batch"],
    required: &["id", "applied", "status"],
};
/// Working days of a matter whose source states none; 3707 says so.
const CLOCK_DAYS: u64 = 20;

pub fn read(bytes: &[u8], reading: &Reading<'_>) -> Result<Vec<Claim>, Broken> {
    let table = Table::read(bytes, reading.map, &COLUMNS)?;
    let dates = ["applied", "decided", "issued", "closed"].map(|column| (column, table.dates(reading.map, column)));
    let claim = |row: &Row| {
        let mut faults = Vec::new();
        let [applied, decided, issued, closed] =
            dates.each_ref().map(|(column, format)| row::day(row, (*column, format), &mut faults));
        let (item, known_by) = row::id_of(row, &Read::default().day("applied", (&dates[0].1, applied)));
        let matter = if row.get("matter").is_empty() { reading.name } else { row.get("matter") };
        let content = Content::Permit {
            matter: matter.to_owned(),
            clock_days: row.get("clock_days").parse().ok(),
            applicant: row.get("applicant").to_owned(),
            decided,
            issued,
            closed,
            ending: ending(row.get("status")),
        };
        let mut claim = Claim {
            key: item.clone(),
            item,
            known_by,
            line: row.line,
            batch: row.get("batch").to_owned(),
            date: applied,
            money: None,
            notes: if known_by.is_some() { vec![Note::IdSynthesised] } else { Vec::new() },
            faults,
            digest: row::digest(row.values()),
            unsent: row.is_empty().then_some(Unsent::Skipped(Skip::Empty)),
            repeats: false,
            names_payment: false,
            conflicts: if licensed_though_refused(&content) { vec!["status"] } else { Vec::new() },
            content: if row.is_empty() { Content::Nothing } else { content },
        };
        claim.judge(reading.strict);
        claim
    };
    Ok(table.rows.iter().map(claim).collect())
}

/// A refused permit has no date of issue: one of the two is wrong, and the status stands (3709).
fn licensed_though_refused(content: &Content) -> bool {
    matches!(content, Content::Permit { issued: Some(_), ending: Ending::Refused, .. })
}

/// How a status ends a permit; every other status leaves it where its dates put it.
fn ending(status: &str) -> Ending {
    let status = status.to_lowercase();
    let is = |phrases: &[&str]| phrases.iter().any(|phrase| says(&status, phrase));
    if is(&["refused", "rejected", "denied", "不予"]) {
        Ending::Refused
    } else if is(&["cancelled", "canceled", "withdrawn", "撤回", "注销"]) {
        Ending::Cancelled
    } else if is(&["expired", "过期", "失效"]) {
        Ending::Expired
    } else {
        Ending::Open
    }
}

/// Whether a status holds a phrase as a whole word, Latin or Chinese, that no word right before it denies.
fn says(status: &str, phrase: &str) -> bool {
    status.match_indices(phrase).any(|(at, _)| {
        let before = status.get(..at).unwrap_or_default();
        let after = status.get(at + phrase.len()..).unwrap_or_default();
        if !phrase.is_ascii() {
            return !before.chars().rev().take(2).any(|char| "未没无非不".contains(char));
        }
        let whole = !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric);
        let mut words = before.trim_end_matches(['-', ' ']).rsplit([' ', '-']).take(2);
        let separated = before.ends_with("- ");
        let denies = |word: &str| matches!(word, "not" | "non" | "never" | "no") || word.ends_with("n't");
        whole && (separated || !words.any(denies))
    })
}

/// The matters of a source that were planned so far.
#[derive(Default)]
pub struct Matters(BTreeMap<(String, u64), Entry>);

impl Matters {
    fn named(&mut self, planner: &mut Planner<'_>, under: &Under, (name, days): (&str, Option<u64>)) -> Entry {
        let clock_days = days.unwrap_or(CLOCK_DAYS);
        let define = || {
            let draft = Draft::new("matter_define", format!("{name}/{clock_days}"), 0)
                .shared()
                .with("legal_basis", words::text(name))
                .with("clock_days", Value::Uint(clock_days))
                .with("decider_role", Value::text("decider"))
                .filled_if(days.is_none(), "clock_days");
            planner.add(under, under.when(Some(under.period_end)), draft)
        };
        self.0.entry((name.to_owned(), clock_days)).or_insert_with(define).clone()
    }
}

/// The records of a permit and the shared one that they need.
pub fn plan(
    planner: &mut Planner<'_>,
    matters: &mut Matters,
    under: &Under,
    claim: &Claim,
) -> (Vec<usize>, Vec<usize>) {
    let Content::Permit { matter, clock_days, applicant, issued, closed, ending, .. } = &claim.content else {
        return (Vec::new(), Vec::new());
    };
    let matter = matters.named(planner, under, (matter, *clock_days));
    let key = key_in_batch(claim);
    let applied = under.when(claim.date);
    let who = if applicant.is_empty() { format!("unknown/{key}") } else { applicant.clone() };
    let form = planner.secret.evidence(&key, &claim.digest);
    let submit = Draft::new("case_submit", key.clone(), 1)
        .with("matter", matter.reference.clone())
        .with("applicant", Value::bytes(&planner.secret.pseudonym(&who)))
        .with("form", Value::bytes(&form))
        .filled_if(applicant.is_empty(), "applicant");
    let submit = planner.first(under, applied, (claim, submit));
    let about =
        |record_type, stage| Draft::new(record_type, key.clone(), stage).with("subject", submit.reference.clone());
    let accept = planner.add(under, applied, about("case_accept", 2));
    let mut records = vec![submit.at, accept.at];
    // The source's paper itself stays with it; what stands here commits to the row.
    let paper = |purpose: &str| Value::bytes(&planner.secret.evidence(&format!("{key}/{purpose}"), &claim.digest));
    let (decision, licence) = (paper("decision"), paper("licence"));
    let decide =
        |granted| about("case_decide", 3).with("granted", Value::Bool(granted)).with("decision", decision.clone());
    match (issued, ending) {
        (_, Ending::Refused) => {
            records.push(planner.add(under, decided_on(under, claim, *closed), decide(false)).at);
        }
        (Some(day), _) => {
            records.push(planner.add(under, granted_on(under, claim, *day), decide(true)).at);
            let day = under.when(Some(*day));
            let issue = about("licence_issue", 4)
                .with("licence_no", planner.secret.reference(&claim.item))
                .with("licence", licence);
            records.push(planner.add(under, day, issue).at);
            let ended = match ending {
                Ending::Cancelled => Some("cancelled"),
                Ending::Expired => Some("expired"),
                Ending::Refused | Ending::Open => None,
            };
            if let Some(status) = ended {
                let change =
                    about("licence_change", 5).with("status", Value::text(status)).with("reason", Value::text(status));
                records.push(planner.add(under, under.when(*closed), change).at);
            }
        }
        (None, Ending::Cancelled | Ending::Expired) => {
            let reason = if *ending == Ending::Expired { "expired" } else { "cancelled" };
            let withdraw = about("case_withdraw", 3).with("reason", Value::text(reason));
            records.push(planner.add(under, under.when(*closed), withdraw).at);
        }
        (None, Ending::Open) => {}
    }
    (records, vec![matter.at])
}

/// A decision's own date; another stands in for it, but proves no lateness.
fn decided_on(under: &Under, claim: &Claim, otherwise: Option<Day>) -> When {
    match &claim.content {
        Content::Permit { decided: Some(day), .. } => under.when(Some(*day)),
        _ => When { filled: true, ..under.when(otherwise) },
    }
}

/// Where a source states no date of decision, the permit was granted on the day it was issued; not so where the date
/// cannot be read.
fn granted_on(under: &Under, claim: &Claim, issued: Day) -> When {
    let states = |day: &Option<Day>| day.is_some() || claim.faults.iter().any(|fault| fault.column == "decided");
    match &claim.content {
        Content::Permit { decided, .. } if states(decided) => decided_on(under, claim, Some(issued)),
        _ => under.when(Some(issued)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_end_a_permit_or_leave_it_open() {
        for (status, expected) in [
            ("Refused", Ending::Refused),
            ("不予许可", Ending::Refused),
            ("Cancelled - Fee Owing", Ending::Cancelled),
            ("Expired", Ending::Expired),
            ("Pre Backfill Phase", Ending::Open),
            ("Completed", Ending::Open),
            ("", Ending::Open),
            ("未过期", Ending::Open),
            ("尚未失效", Ending::Open),
            ("没有过期", Ending::Open),
            ("已过期", Ending::Expired),
            ("Unexpired", Ending::Open),
            ("Not yet expired", Ending::Open),
            ("Non-expired", Ending::Open),
            ("Fee not paid - cancelled", Ending::Cancelled),
            ("Cancelled - fee not paid", Ending::Cancelled),
        ] {
            assert_eq!(ending(status), expected, "{status}");
        }
    }
}
