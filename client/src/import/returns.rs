//! Which payment a negative row takes back. Decided once for a whole source, over all its batches, by the days from which
//! the records have effect; then each return is planned after the payment that it names.

use std::collections::{BTreeMap, BTreeSet};

use super::item::{Claim, Content};
use super::plan::Entry;

/// What a return is matched by: programme, currency, and the contract, else the payee.
type OpenKey = (String, String, String);

fn open_key(claim: &Claim) -> Option<OpenKey> {
    let Content::Payment { programme, payee, contract, .. } = &claim.content else { return None };
    let whose = if contract.is_empty() { payee } else { contract };
    let currency = claim.money.as_ref()?.currency.clone();
    (!whose.is_empty()).then(|| (programme.clone(), currency, whose.clone()))
}

/// A planned payment that a return names: its record, all records without which it is none, and its year.
pub struct Paid {
    pub entry: Entry,
    pub needs: Vec<usize>,
    pub year: u64,
}

/// The returns of a source, with the payments that they take back. Claims are known by their places.
#[derive(Default)]
pub struct Returns {
    payments: BTreeMap<usize, usize>,
    named: BTreeSet<usize>,
    planned: BTreeMap<usize, Paid>,
}

impl Returns {
    /// Each return takes back the newest earlier payment of its key of which so much is open; what is not sent covers
    /// nothing. The places are those of the claims in the order of their days.
    pub fn of(claims: &[Claim], places: &[usize]) -> Self {
        let mut open: BTreeMap<OpenKey, Vec<(usize, i128)>> = BTreeMap::new();
        let mut returns = Self::default();
        for place in places {
            let Some(claim) = claims.get(*place).filter(|claim| claim.unsent.is_none() && !claim.repeats) else {
                continue;
            };
            let (Some(money), Some(key)) = (&claim.money, open_key(claim)) else { continue };
            let payments = open.entry(key).or_default();
            if money.minor > 0 {
                payments.push((*place, money.minor));
                continue;
            }
            let covering = payments.iter().rposition(|(_, left)| *left + money.minor >= 0);
            let Some((at, (payment, left))) = covering.and_then(|at| Some((at, payments.get_mut(at)?))) else {
                continue;
            };
            *left += money.minor;
            returns.payments.insert(*place, *payment);
            returns.named.insert(*payment);
            if *left == 0 {
                payments.remove(at);
            }
        }
        returns
    }

    /// The place of the payment that a return takes back.
    pub fn payment_of(&self, place: usize) -> Option<usize> {
        self.payments.get(&place).copied()
    }

    /// Remembers a planned payment if a return names it.
    pub fn planned(&mut self, place: usize, paid: Paid) {
        if self.named.contains(&place) {
            self.planned.insert(place, paid);
        }
    }

    /// None: its batch is shut, so that it was not planned.
    pub fn paid(&self, payment: usize) -> Option<&Paid> {
        self.planned.get(&payment)
    }
}
