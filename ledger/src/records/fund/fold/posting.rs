//! Which posting each record type makes, found again from the accounts that the trail opened.

use super::{Fold, FoldFault, Folded, Moved, Seen};
use crate::codec::Value;
use crate::records::body::find;
use crate::records::fund::account::AccountKind;
use crate::records::fund::movement::{MovementKind, MovementState, Posting};
use crate::records::fund::programme::{DONORS, TREASURY};
use crate::records::object::Ref;

impl Fold {
    /// The movement that a record proposes or makes; None for records that move no money.
    pub(super) fn planned(&self, seen: &Seen<'_>) -> Result<Option<Moved>, FoldFault> {
        let live = seen.find::<Ref>("import").is_none();
        Ok(Some(match seen.record_type {
            "appropriate" => moved(MovementKind::Appropriation, vec![stated(seen)?]),
            "allot" => moved(MovementKind::Allotment, vec![stated(seen)?]),
            "recall" => {
                let posting = stated(seen)?;
                let gift = |(origin, account): &(String, Ref)| *account == posting.credit && origin != TREASURY;
                let at_bank = live && self.sources.iter().any(gift);
                Moved { at_bank, ..moved(MovementKind::Recall, vec![posting]) }
            }
            "commit" => moved(MovementKind::Commitment, vec![self.commitment(seen)?]),
            "decommit" => moved(MovementKind::Decommitment, vec![self.decommitment(seen)?]),
            "refund" => {
                let posting = stated(seen)?;
                let at_bank = live && self.account(seen, &posting.credit)?.kind == AccountKind::Source;
                Moved { at_bank, ..moved(MovementKind::Refund, vec![posting]) }
            }
            "income_record" => Moved { at_bank: live, ..moved(MovementKind::Income, self.parts(seen)?) },
            "payment_request" => Moved { at_bank: live, ..self.payment(seen)? },
            "payment_reissue" => Moved { at_bank: live, ..self.reissue(seen)? },
            _ => return Ok(None),
        }))
    }

    fn account(&self, seen: &Seen<'_>, name: &Ref) -> Result<&Folded, FoldFault> {
        let fault = || FoldFault::Account { record: seen.reference.clone(), account: name.clone() };
        self.accounts.get(name).ok_or_else(fault)
    }

    /// The account that fits, or the fault that there is none.
    fn place(&self, seen: &Seen<'_>, fits: impl Fn(&Folded) -> bool) -> Result<Ref, FoldFault> {
        let mut found = self.accounts.iter().filter(|(_, account)| fits(account)).map(|(name, _)| name);
        found.next().cloned().ok_or_else(|| FoldFault::Place { record: seen.reference.clone() })
    }

    /// The account of a kind and agency in a year, or in the next open year that has one.
    fn in_open_year(&self, seen: &Seen<'_>, year: u64, fits: impl Fn(&Folded) -> bool) -> Result<Ref, FoldFault> {
        let later = self.years.iter().copied().filter(|other| *other > year);
        for year in std::iter::once(year).chain(later).filter(|year| !self.closed_years.contains(year)) {
            if let Ok(found) = self.place(seen, |account| account.year == year && fits(account)) {
                return Ok(found);
            }
        }
        Err(FoldFault::Place { record: seen.reference.clone() })
    }

    fn commitment(&self, seen: &Seen<'_>) -> Result<Posting, FoldFault> {
        let (debit, award): (Ref, Ref) = (seen.need("from")?, seen.need("award")?);
        let earmark = self.account(seen, &debit)?.earmark.clone();
        let fits = |account: &Folded| {
            account.kind == AccountKind::Commitment
                && account.award.as_ref() == Some(&award)
                && account.earmark == earmark
        };
        let credit = match seen.find("to") {
            Some(named) => named,
            None => self.place(seen, fits)?,
        };
        Ok(Posting { debit, credit, amount: seen.need("amount")? })
    }

    fn decommitment(&self, seen: &Seen<'_>) -> Result<Posting, FoldFault> {
        let debit: Ref = seen.need("from")?;
        let parent = self.account(seen, &debit)?.parent.clone();
        let place = || FoldFault::Place { record: seen.reference.clone() };
        let credit = seen.find("to").or(parent).ok_or_else(place)?;
        Ok(Posting { debit, credit, amount: seen.need("amount")? })
    }

    fn parts(&self, seen: &Seen<'_>) -> Result<Vec<Posting>, FoldFault> {
        let donors = self.sources.iter().find(|(origin, _)| origin == DONORS);
        let source = donors.or(self.sources.first()).map(|(_, account)| account.clone());
        let place = || FoldFault::Place { record: seen.reference.clone() };
        let debit = seen.find("from").or(source).ok_or_else(place)?;
        let part = |value: &Value| {
            Some(Posting { debit: debit.clone(), credit: find(value, "to")?, amount: find(value, "amount")? })
        };
        let stated: Vec<Value> = seen.need("parts")?;
        let postings: Option<Vec<Posting>> = stated.iter().map(part).collect();
        postings.ok_or_else(|| FoldFault::Field { record: seen.reference.clone(), field: "parts" })
    }

    fn payment(&self, seen: &Seen<'_>) -> Result<Moved, FoldFault> {
        let debit: Ref = seen.need("from")?;
        let from = self.account(seen, &debit)?;
        let fits = |account: &Folded| account.kind == AccountKind::Paid && account.agency == from.agency;
        let credit = self.in_open_year(seen, from.year, fits)?;
        let posting = Posting { debit, credit, amount: seen.need("amount")? };
        Ok(Moved { earmark: from.earmark.clone(), ..moved(MovementKind::Payment, vec![posting]) })
    }

    fn reissue(&self, seen: &Seen<'_>) -> Result<Moved, FoldFault> {
        let original: Ref = seen.need("payment")?;
        let earlier = self.known(seen, &original)?;
        let place = || FoldFault::Place { record: seen.reference.clone() };
        let debit = earlier.held_in.clone().ok_or_else(place)?;
        let paid = self.account(seen, &earlier.postings.first().ok_or_else(place)?.credit)?;
        let fits = |account: &Folded| account.kind == AccountKind::Paid && account.agency == paid.agency;
        let credit = self.in_open_year(seen, paid.year, fits)?;
        let posting = Posting { debit, credit, amount: seen.need("amount")? };
        Ok(Moved { earmark: earlier.earmark.clone(), ..moved(MovementKind::Reissue, vec![posting]) })
    }

    /// Money that comes back of a payment goes to RETURNED of the open year, under the payment's earmark.
    pub(super) fn take_back(&mut self, seen: &Seen<'_>, payment: &Ref, kind: MovementKind) -> Result<(), FoldFault> {
        let earlier = self.known(seen, payment)?;
        let place = || FoldFault::Place { record: seen.reference.clone() };
        let debit = earlier.postings.first().ok_or_else(place)?.credit.clone();
        let paid = self.account(seen, &debit)?;
        let fits = |account: &Folded| {
            account.kind == AccountKind::Returned && account.agency == paid.agency && account.earmark == earlier.earmark
        };
        let credit = self.in_open_year(seen, paid.year, fits)?;
        let posting = Posting { debit, credit: credit.clone(), amount: seen.need("amount")? };
        if let Some(earlier) = self.movements.get_mut(payment) {
            earlier.held_in = Some(credit);
        }
        self.post_at_once(&seen.reference, moved(kind, vec![posting]))
    }

    /// The year's accounts, in order of account id: the first `carry_minor` to CARRIED, the rest to LAPSED.
    pub(super) fn close_year(&mut self, seen: &Seen<'_>) -> Result<(), FoldFault> {
        let year: u64 = seen.need("year")?;
        let mut carry: u64 = seen.need("carry_minor")?;
        let mut closing: Vec<(Ref, Folded)> = self
            .accounts
            .iter()
            .filter(|(_, account)| account.year == year && account.kind.closes_with_year())
            .map(|(name, account)| (name.clone(), account.clone()))
            .collect();
        closing.sort_by(|(a, _), (b, _)| (a.id, &a.agency).cmp(&(b.id, &b.agency)));
        let mut postings = Vec::new();
        for (debit, account) in &closing {
            let available = account.sums.available();
            let carried = carry.min(available);
            carry = carry.saturating_sub(carried);
            let lapsed = available.saturating_sub(carried);
            for (kind, amount) in [(AccountKind::Carried, carried), (AccountKind::Lapsed, lapsed)] {
                if amount > 0 {
                    let credit = self.place(seen, |other| {
                        let marked = kind == AccountKind::Lapsed || other.earmark == account.earmark;
                        other.kind == kind && other.year == year && marked
                    })?;
                    postings.push(Posting { debit: debit.clone(), credit, amount });
                }
            }
        }
        self.closed_years.insert(year);
        for (name, _) in &closing {
            if let Some(account) = self.accounts.get_mut(name) {
                account.closed = true;
            }
        }
        self.post_at_once(&seen.reference, moved(MovementKind::YearClose, postings))
    }
}

fn moved(kind: MovementKind, postings: Vec<Posting>) -> Moved {
    Moved { kind, state: MovementState::Proposed, postings, at_bank: false, earmark: None, held_in: None }
}

fn stated(seen: &Seen<'_>) -> Result<Posting, FoldFault> {
    Ok(Posting { debit: seen.need("from")?, credit: seen.need("to")?, amount: seen.need("amount")? })
}
