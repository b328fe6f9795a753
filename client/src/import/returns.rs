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
    /// A return under the id of a payment takes that one back, every other the newest earlier payment of its key of which
    /// so much is open; what is not sent covers nothing. The places are those of the claims in the order of their days.
    pub fn of(claims: &[Claim], places: &[usize]) -> Self {
        let mut open: BTreeMap<OpenKey, Vec<usize>> = BTreeMap::new();
        let (mut left, mut ids): (BTreeMap<usize, i128>, BTreeMap<_, usize>) = (BTreeMap::new(), BTreeMap::new());
        let mut returns = Self::default();
        for place in places {
            let Some(claim) = claims.get(*place).filter(|claim| claim.unsent.is_none() && !claim.repeats) else {
                continue;
            };
            let Some(money) = &claim.money else { continue };
            let (key, id) = (open_key(claim), (&claim.batch, &claim.item, &money.currency));
            if money.minor > 0 {
                left.insert(*place, money.minor);
                ids.insert(id, *place);
                if let Some(key) = key {
                    open.entry(key).or_default().push(*place);
                }
                continue;
            }
            let covers = |payment: &&usize| left.get(payment).is_some_and(|left| *left + money.minor >= 0);
            let covering = if claim.names_payment {
                ids.get(&id).filter(covers)
            } else {
                key.as_ref().and_then(|key| open.get(key)?.iter().rfind(covers))
            };
            let Some(payment) = covering.copied() else { continue };
            returns.payments.insert(*place, payment);
            returns.named.insert(payment);
            let left = left.entry(payment).or_default();
            *left += money.minor;
            if let (0, Some(payments)) = (*left, key.and_then(|key| open.get_mut(&key))) {
                payments.retain(|place| *place != payment);
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
