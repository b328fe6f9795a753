//! The items of a source with their records, over all its batches.

use super::Format;
use super::fund::{Book, Terms, Years, year_of};
use super::item::{Claim, Content, Kind, Skip, Unsent};
use super::load::{Batch, Load, Opening};
use super::permits::Matters;
use super::plan::{Item, Plan, Planner, Under};
use super::returns::Returns;
use super::{donations, grants, payments, permits, words};

/// Plans the items of a source: each in the order of its batch, returns after the payments that they name.
pub fn plan_source(
    format: Format,
    agency: &str,
    (at, load, batches): (usize, &Load<'_>, &[Batch]),
    terms: Terms,
    plan: &mut Plan,
) {
    let returns = Returns::of(&load.source.claims, &by_day(load, batches, at));
    let mut books = Books { funds: Book::new(terms), returns, ..Books::default() };
    // A return may stand in an earlier batch than its payment.
    let mut returning = Vec::new();
    for (place, batch) in batches.iter().enumerate().filter(|(_, batch)| batch.source == at) {
        let import = load.identity.record_id("import_open", &batch.key);
        let under = Under { batch: place, import: words::reference(agency, &import), period_end: batch.period_end };
        let open = matches!(batch.opening, Opening::Open { .. });
        for claim_at in &batch.claims {
            let Some(claim) = load.source.claims.get(*claim_at) else { continue };
            let mut item = item((at, place, *claim_at), format, claim);
            let mut second = disbursement(claim, &item);
            if open && claim.is_return() && !claim.repeats {
                returning.push((plan.items.len(), under.clone()));
            } else if open && claim.unsent.is_none() && !claim.repeats {
                let planner = &mut Planner { identity: &load.identity, secret: &load.secret, agency, plan };
                plan_item(planner, (format, &mut books), &under, (claim, &mut item, second.as_mut()));
            }
            plan.items.push(item);
            plan.items.extend(second);
        }
    }
    for (place, under) in returning {
        let Some(mut item) = plan.items.get(place).cloned() else { continue };
        let Some(claim) = load.source.claims.get(item.claim) else { continue };
        let planner = &mut Planner { identity: &load.identity, secret: &load.secret, agency, plan };
        plan_return(planner, &mut books, &under, (claim, &mut item, batches));
        if let Some(planned) = plan.items.get_mut(place) {
            *planned = item;
        }
    }
}

fn item((source, batch, at): (usize, usize, usize), format: Format, claim: &Claim) -> Item {
    let (kind, money, unsent) = (claim.kind(format), sendable(claim), claim.unsent);
    Item { source, batch, claim: at, kind, money, records: Vec::new(), needs: Vec::new(), rests_on: None, unsent }
}

/// Claims of a source by the day from which their records have effect, then by the source's own, then as the file has
/// them. Batches that are rejected for good do not count.
fn by_day(load: &Load<'_>, batches: &[Batch], source: usize) -> Vec<usize> {
    let mut keys = Vec::new();
    for batch in batches.iter().filter(|batch| batch.source == source && !batch.is_rejected()) {
        for at in &batch.claims {
            let stated = load.source.claims.get(*at).and_then(|claim| claim.date).unwrap_or(batch.period_end);
            keys.push((stated.min(batch.period_end), stated, *at));
        }
    }
    keys.sort_unstable();
    keys.into_iter().map(|(_, _, at)| at).collect()
}

/// What the claims of a source share.
#[derive(Default)]
struct Books {
    funds: Book,
    returns: Returns,
    matters: Matters,
}

/// A return that takes nothing back is skipped; one of a payment whose batch is shut waits for that.
fn plan_return(
    planner: &mut Planner<'_>,
    books: &mut Books,
    under: &Under,
    (claim, item, batches): (&Claim, &mut Item, &[Batch]),
) {
    let Some(payment) = books.returns.payment_of(item.claim) else {
        item.unsent = Some(Unsent::Skipped(Skip::AmountInvalid));
        return;
    };
    match (books.returns.paid(payment), &item.money) {
        (Some(paid), Some(money)) => {
            books.funds.turn_to(paid.year);
            (item.records, item.needs) = payments::plan_return(planner, &mut books.funds, under, (claim, money, paid));
        }
        _ => {
            let holds = |batch: &Batch| batch.source == item.source && batch.claims.contains(&payment);
            item.rests_on = batches.iter().position(holds);
        }
    }
}

fn plan_item(
    planner: &mut Planner<'_>,
    (format, books): (Format, &mut Books),
    under: &Under,
    (claim, item, second): (&Claim, &mut Item, Option<&mut Item>),
) {
    let none = (String::new(), 0);
    let stated = (claim, &item.money.clone().unwrap_or(none));
    books.funds.turn_to(year_of(under.when(claim.date).day));
    (item.records, item.needs) = match format {
        Format::Grants => {
            let records = grants::plan(planner, &mut books.funds, under, stated);
            if let Some(second) = second {
                (second.records, second.needs) = (records.disbursement, records.needs.clone());
            }
            (records.grant, records.needs)
        }
        Format::Payments => {
            let stated = (item.claim, claim, stated.1);
            payments::plan(planner, (&mut books.funds, &mut books.returns), under, stated)
        }
        Format::Donations => donations::plan(planner, &mut books.funds, under, stated),
        Format::Permits => permits::plan(planner, &mut books.matters, under, claim),
    };
}

/// The sum that a claim moves, without its sign.
fn sendable(claim: &Claim) -> Option<(String, u64)> {
    let money = claim.money.as_ref()?;
    Some((money.currency.clone(), u64::try_from(money.minor.unsigned_abs()).ok()?))
}

/// What was disbursed under a grant is an item of its own, also where the grant makes no record.
fn disbursement(claim: &Claim, grant: &Item) -> Option<Item> {
    let Content::Grant { disbursed: Some(minor), .. } = &claim.content else { return None };
    let minor = u64::try_from(*minor).ok()?;
    let money = grant.money.as_ref().map(|(currency, _)| (currency.clone(), minor));
    let unsent = match claim.unsent {
        Some(Unsent::Skipped(_)) => Some(Unsent::Skipped(Skip::WithoutGrant)),
        sent_or_refused => sent_or_refused,
    };
    Some(Item { kind: Kind::Disbursement, money, unsent, ..grant.clone() })
}

/// The years of each programme over all batches, accepted or not, so that they do not depend on answers.
pub fn years(load: &Load<'_>, batches: &[Batch], source: usize) -> Years {
    let mut years = Years::new();
    for batch in batches.iter().filter(|batch| batch.source == source) {
        let claims = batch.claims.iter().filter_map(|at| load.source.claims.get(*at));
        for claim in claims.filter(|claim| claim.unsent.is_none()) {
            let (Some(programme), Some(money)) = (claim.programme(), &claim.money) else { continue };
            let day = claim.date.map_or(batch.period_end, |day| day.min(batch.period_end));
            let listed = years.entry((programme.to_owned(), money.currency.clone())).or_default();
            let year = year_of(day);
            if let Err(place) = listed.binary_search(&year) {
                listed.insert(place, year);
            }
        }
    }
    years
}
