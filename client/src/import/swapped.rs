//! Rows without ids that are equal in what they are known by, and in nothing else, are told apart by their order. One that
//! is put before another takes its id, and the other would be recorded once more: this is seen before anything is sent.

use std::collections::BTreeMap;

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::object::Ref;
use mingzhang_ledger::transaction::Transaction;

use super::Format;
use super::item::Claim;
use super::load::{Ledger, Load, Officer};
use super::plan::key_in_batch;
use crate::output::Failure;

/// The id is taken.
const TAKEN: Code = Code(1015);

/// Refuses a source of which an earlier file was imported, if one of its rows stands where another one stood.
pub fn check(format: Format, load: &Load<'_>, ledger: &mut dyn Ledger) -> Result<(), Failure> {
    let agency = ledger.agency(Officer::Importer).to_owned();
    let alike = alike(&load.source.claims);
    let named = |claim: &Claim| {
        let id = load.identity.record_id(first_record(format, claim), &key_in_batch(claim));
        Ref::new(&agency, &id)
    };
    let records: Vec<Ref> = alike.iter().flatten().map(|claim| named(claim)).collect();
    if records.is_empty() {
        return Ok(());
    }
    let mut leaves = ledger.leaves(&records, false)?.into_iter();
    for group in &alike {
        for claim in group {
            let Some(leaf) = leaves.next().flatten() else { continue };
            let Some(recorded) = evidence(&ledger.transaction(&leaf.transaction_id)?) else { continue };
            let under_its_key = |row: &Claim| load.secret.evidence(&key_in_batch(claim), &row.digest);
            if recorded == under_its_key(claim) {
                continue;
            }
            if let Some(other) = group.iter().find(|other| recorded == under_its_key(other)) {
                let (file, line, other) = (&load.source.file, claim.line, other.line);
                return Err(Failure::coded(
                    TAKEN,
                    format!(
                        "{file}: line {line} stands where line {other} stood when it was imported; nothing was sent"
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// Rows without ids that are known by the same and are not the same.
fn alike(claims: &[Claim]) -> Vec<Vec<&Claim>> {
    let mut groups: BTreeMap<(&str, Hash), Vec<&Claim>> = BTreeMap::new();
    for claim in claims {
        if let Some(known_by) = claim.known_by {
            groups.entry((&claim.batch, known_by)).or_default().push(claim);
        }
    }
    let differ = |group: &Vec<&Claim>| group.windows(2).any(|pair| matches!(pair, [a, b] if a.digest != b.digest));
    groups.into_values().filter(differ).collect()
}

/// The record of a claim that carries the digest of its row.
fn first_record(format: Format, claim: &Claim) -> &'static str {
    match format {
        Format::Payments if claim.is_return() => "payment_return",
        Format::Grants | Format::Payments => "award_grant",
        Format::Donations => "income_record",
        Format::Permits => "case_submit",
    }
}

fn evidence(transaction: &Transaction) -> Option<Hash> {
    let list = transaction.payload().body.get("evidence")?.as_array()?;
    list.first().and_then(|first| first.get("hash")).and_then(Value::as_bytes)?.try_into().ok()
}
