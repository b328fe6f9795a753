//! Whose a source is: the programme that an earlier import opened for it shows the scope of that importer's memory. Under
//! another memory no row would be known again, so nothing is recorded then. The ledger's leaves say so, whoever signed; what
//! a refusal names first says nothing of it.

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::object::{Object, RecordLeaf, Ref};

use super::fund::Terms;
use super::load::{Ledger, Load, Officer, Standing, Verdict};
use super::plan::Planned;
use crate::output::Failure;

/// The record that stands for a whole source.
pub const PROGRAMME: &str = "programme_open";
/// The id is taken.
const TAKEN: u16 = 1015;

/// Refuses a run, before anything of it is sent, if one of its programmes is another memory's.
pub fn check(loads: &[Load<'_>], terms: &[Terms], ledger: &mut dyn Ledger) -> Result<(), Failure> {
    let agency = ledger.agency(Officer::Importer).to_owned();
    let (mut records, mut own) = (Vec::new(), Vec::new());
    for (load, terms) in loads.iter().zip(terms) {
        for term in terms.values().flatten() {
            records.push(Ref::new(&agency, &load.identity.record_id(PROGRAMME, &term.key)));
            own.push((load, term));
        }
    }
    for ((record, (load, term)), leaf) in records.iter().zip(own).zip(ledger.leaves(&records, false)?) {
        if let Some(field) = leaf.and_then(|leaf| difference(&leaf, &load.secret.scope(), &term.years)) {
            let name = &load.source.name;
            let detail =
                format!("{record}, the programme of {name}: {field} differs; another memory began this source");
            return Err(Failure::coded(Code(TAKEN), detail));
        }
    }
    Ok(())
}

/// Programmes that were refused as taken, and are this source's own by their leaves, serve again.
pub fn recognise(told: &mut [(&Planned, Standing)], ledger: &mut dyn Ledger) -> Result<(), Failure> {
    let is_taken = |(record, standing): &&mut (&Planned, Standing)| {
        record.record_type == PROGRAMME && standing.verdict == Verdict::Refused(TAKEN)
    };
    let mut taken: Vec<_> = told.iter_mut().filter(is_taken).collect();
    let records: Vec<Ref> = taken.iter().map(|(_, standing)| standing.record.clone()).collect();
    if records.is_empty() {
        return Ok(());
    }
    for ((record, standing), leaf) in taken.iter_mut().zip(ledger.leaves(&records, true)?) {
        let scope = record.body.get("scope").and_then(Value::as_text).unwrap_or_default();
        let years = record.body.get("years").and_then(Value::as_array).unwrap_or_default();
        let years: Vec<u64> = years.iter().filter_map(Value::as_uint).collect();
        let stands = leaf.filter(|leaf| matches!(leaf.object, Some(Object::Programme(_))));
        standing.before = stands.is_some_and(|leaf| difference(&leaf, scope, &years).is_none());
    }
    Ok(())
}

/// What the programme on the ledger has otherwise. One that was rejected has nothing.
fn difference(leaf: &RecordLeaf, scope: &str, years: &[u64]) -> Option<&'static str> {
    let Some(Object::Programme(programme)) = &leaf.object else { return None };
    if programme.scope != scope {
        return Some("scope");
    }
    (programme.years != years).then_some("years")
}
