//! The close of a year: what is left in its accounts is carried to the next or lapses, and they are closed.

use std::sync::Arc;

use super::account::{Account, AccountKind};
use super::book::{self, Place};
use super::movement::{self, Movement, MovementKind, Posting};
use super::programme::Programme;
use super::rules::{self, Part};
use super::shown::money;
use crate::records::object::{Kind, Mode, Object, Ref};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::records::waiting::Need;

pub const TYPES: &[RecordType] = &[RecordType {
    name: "year_close",
    zh: "年度结转",
    area: Area::Fund,
    fields: &[
        Field::need("programme", FieldKind::Ref(&[Kind::Programme])),
        Field::need("year", FieldKind::Count),
        Field::need("carry_minor", FieldKind::Minor),
    ],
    submitters: &[Role::Finance],
    amount: left,
    entitled: by_finance,
    approvers: by_two,
    check: can_close,
    take_effect: close,
    ..RecordType::BASE
}];

fn named(scene: &mut Scene<'_>) -> Verdict<(Ref, Arc<Programme>)> {
    let reference: Ref = scene.record.need("programme")?;
    let programme = book::programme(scene, &reference)?;
    Ok((reference, programme))
}

fn by_finance(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = named(scene)?;
    rules::acts_as(scene, &programme, Part::Finance)
}

fn by_two(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    Ok(rules::by_finance(&named(scene)?.1))
}

/// The year's accounts that its close looks at, in order of account id.
fn accounts(scene: &mut Scene<'_>, programme: &Ref) -> Verdict<Vec<(Ref, Arc<Account>)>> {
    let year: u64 = scene.record.need("year")?;
    let mut listed: Vec<Ref> = scene.draft.get(&book::year_key(programme, year))?.unwrap_or_default();
    listed.sort_by(|a, b| (a.id, &a.agency).cmp(&(b.id, &b.agency)));
    let mut accounts = Vec::new();
    for reference in listed {
        let account = book::account(scene, &reference)?;
        accounts.push((reference, account));
    }
    Ok(accounts)
}

/// What is carried or lapses: all that its accounts still hold.
fn left(scene: &mut Scene<'_>) -> Verdict<u64> {
    let programme: Ref = scene.record.need("programme")?;
    let accounts = accounts(scene, &programme)?;
    let closing = accounts.iter().filter(|(_, account)| account.kind.closes_with_year());
    Ok(closing.fold(0, |sum, (_, account)| sum.saturating_add(account.sums.available())))
}

/// 3201, 3216, 3221.
fn can_close(scene: &mut Scene<'_>) -> Verdict {
    let (reference, programme) = named(scene)?;
    let year: u64 = scene.record.need("year")?;
    let accounts = accounts(scene, &reference)?;
    let left = left(scene)?;
    let carry: u64 = scene.record.need("carry_minor")?;
    if carry > left {
        let (left, carry) = (money(scene, &reference, left)?, money(scene, &reference, carry)?);
        scene.reject_or_flag(3201, format!("{left} is left in {year}, carried {carry}"))?;
    }
    // States are not judged in imports.
    let live = scene.mode == Mode::Live;
    if live {
        rules::programme_open(&reference, &programme)?;
    }
    if live && programme.closed_years.contains(&year) || !programme.years.contains(&year) {
        return reject(3216, format!("year {year} is closed, or not one of the programme's"));
    }
    if let Some((held, _)) = accounts.iter().find(|(_, account)| account.sums.has_reservation()) {
        return reject(3221, format!("account {held} has a reservation"));
    }
    postings(scene, &reference).map(drop)
}

/// The first `carry_minor` to CARRIED under each account's earmark, the rest to LAPSED.
fn postings(scene: &mut Scene<'_>, programme: &Ref) -> Verdict<Vec<Posting>> {
    let year: u64 = scene.record.need("year")?;
    let mut carry: u64 = scene.record.need("carry_minor")?;
    let mut postings = Vec::new();
    for (debit, account) in accounts(scene, programme)? {
        if !account.kind.closes_with_year() {
            continue;
        }
        let available = account.sums.available();
        let carried = carry.min(available);
        carry = carry.saturating_sub(carried);
        let lapsed = available.saturating_sub(carried);
        for (kind, amount) in [(AccountKind::Carried, carried), (AccountKind::Lapsed, lapsed)] {
            if amount > 0 {
                let earmark = account.earmark.as_deref().filter(|_| kind.is_earmarked());
                let place = Place { kind, agency: "", year, earmark, above: None };
                let Some(credit) = book::find(scene, programme, &place)? else {
                    let name = earmark.unwrap_or("none");
                    return reject(3002, format!("no {} account of {year}, earmark {name}, is open", kind.code()));
                };
                postings.push(Posting { debit: debit.clone(), credit, amount });
            }
        }
    }
    Ok(postings)
}

fn plan(scene: &mut Scene<'_>) -> Verdict<Movement> {
    let reference: Ref = scene.record.need("programme")?;
    let postings = postings(scene, &reference)?;
    Ok(Movement::new(MovementKind::YearClose, reference, postings))
}

fn close(scene: &mut Scene<'_>) -> Verdict {
    movement::take_effect(scene, plan)?;
    let (reference, programme) = named(scene)?;
    let mut programme = Arc::unwrap_or_clone(programme);
    let year: u64 = scene.record.need("year")?;
    if !programme.closed_years.contains(&year) {
        programme.closed_years.push(year);
    }
    scene.put(&reference, Object::Programme(Arc::new(programme)))?;
    for (name, account) in accounts(scene, &reference)? {
        if account.kind.closes_with_year() {
            scene.touch(crate::records::object::Subject::Record(name.clone()));
            scene.put(&name, Object::Account(Arc::new(Account { closed: true, ..Arc::unwrap_or_clone(account) })))?;
        }
    }
    Ok(())
}
