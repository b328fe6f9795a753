//! Money on its way down: appropriated, allotted, recalled, committed to an entitlement, and released from it again.

use super::account::{Account, AccountKind};
use super::book::{self, Place};
use super::entitlement::{self, Entitlement};
use super::list::ListState;
use super::movement::{self, Movement, MovementKind, Posting};
use super::origin;
use super::programme::{Programme, TREASURY};
use super::rules::{self, Legs, Part};
use super::shown::money;
use crate::records::calendar::Day;
use crate::records::object::{Kind, Mode, Ref};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::records::waiting::Need;

const ACCOUNT: FieldKind = FieldKind::Ref(&[Kind::Account]);

const FROM_TO: &[Field] =
    &[Field::need("amount", FieldKind::Amount), Field::need("from", ACCOUNT), Field::need("to", ACCOUNT)];

const COMMITMENT_FIELDS: &[Field] = &[
    Field::need("amount", FieldKind::Amount),
    Field::need("from", ACCOUNT),
    Field::need("award", FieldKind::Ref(entitlement::KINDS)),
    // Names the COMMITMENT where the award has several for the earmark of the money.
    Field::may("to", ACCOUNT),
];

/// What finance does alone, by two of its officers.
const BY_FINANCE: RecordType = RecordType {
    area: Area::Fund,
    submitters: &[Role::Finance],
    entitled: by_finance,
    approvers: with_finance,
    void: movement::void,
    ..RecordType::BASE
};

/// What the owner does with finance.
const BY_OWNER: RecordType = RecordType {
    area: Area::Fund,
    fields: COMMITMENT_FIELDS,
    submitters: &[Role::ProgrammeOwner, Role::Charity],
    entitled: by_owner,
    approvers: with_finance,
    sequence: |scene| rules::follows(scene, "award"),
    void: movement::void,
    ..RecordType::BASE
};

pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "appropriate",
        zh: "预算安排",
        fields: &[
            Field::need("amount", FieldKind::Amount),
            Field::need("from", ACCOUNT),
            Field::need("to", ACCOUNT),
            Field::need("legal_ref", FieldKind::Text),
        ],
        check: can_appropriate,
        propose: |scene| plan_appropriate(scene).and_then(|plan| movement::propose(scene, plan)),
        take_effect: |scene| movement::take_effect(scene, plan_appropriate),
        ..BY_FINANCE
    },
    RecordType {
        name: "allot",
        zh: "指标下达",
        fields: FROM_TO,
        check: can_allot,
        propose: |scene| plan_allot(scene).and_then(|plan| movement::propose(scene, plan)),
        take_effect: |scene| movement::take_effect(scene, plan_allot),
        ..BY_FINANCE
    },
    RecordType {
        name: "recall",
        zh: "指标收回",
        fields: FROM_TO,
        check: can_recall,
        propose: |scene| plan_recall(scene).and_then(|plan| movement::propose(scene, plan)),
        take_effect: |scene| movement::take_effect(scene, plan_recall),
        ..BY_FINANCE
    },
    RecordType {
        name: "commit",
        zh: "承诺",
        check: can_commit,
        propose: |scene| plan_commit(scene).and_then(|plan| movement::propose(scene, plan)),
        take_effect: |scene| movement::take_effect(scene, plan_commit),
        ..BY_OWNER
    },
    RecordType {
        name: "decommit",
        zh: "撤销承诺",
        check: can_decommit,
        propose: |scene| plan_decommit(scene).and_then(|plan| movement::propose(scene, plan)),
        take_effect: |scene| movement::take_effect(scene, plan_decommit),
        ..BY_OWNER
    },
];

fn by_finance(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = rules::programme_of_account(scene, "from")?;
    rules::acts_as(scene, &programme, Part::Finance)
}

fn by_owner(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = rules::programme_of_account(scene, "from")?;
    rules::acts_as(scene, &programme, Part::Owner)
}

fn with_finance(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    Ok(rules::by_finance(&rules::programme_of_account(scene, "from")?.1))
}

/// The posting of a body with `amount`, `from` and `to`.
fn stated(scene: &Scene<'_>) -> Verdict<Posting> {
    Ok(Posting {
        debit: scene.record.need("from")?,
        credit: scene.record.need("to")?,
        amount: scene.record.need("amount")?,
    })
}

fn simple(scene: &mut Scene<'_>, kind: MovementKind) -> Verdict<Movement> {
    let posting = stated(scene)?;
    let programme = book::account(scene, &posting.debit)?.programme.clone();
    Ok(Movement::new(kind, programme, vec![posting]))
}

// ---- appropriate ----

fn can_appropriate(scene: &mut Scene<'_>) -> Verdict {
    let posting = stated(scene)?;
    let target = AccountKind::Appropriation;
    rules::kinds(scene, &posting, &[(AccountKind::Source, target), (AccountKind::Carried, target)])?;
    rules::movable(scene, &posting).map(drop)
}

fn plan_appropriate(scene: &mut Scene<'_>) -> Verdict<Movement> {
    simple(scene, MovementKind::Appropriation)
}

// ---- allot, recall ----

fn can_allot(scene: &mut Scene<'_>) -> Verdict {
    let posting = stated(scene)?;
    let target = AccountKind::Allotment;
    rules::kinds(scene, &posting, &[(AccountKind::Appropriation, target), (target, target)])?;
    let legs = rules::legs(scene, &posting)?;
    is_child(&posting.debit, &legs.debit, (&posting.credit, &legs.credit))?;
    children_fit(scene, &legs)?;
    rules::movable(scene, &posting).map(drop)
}

/// 3002: money comes down from the account that was named as the parent, and goes back there. An ALLOTMENT that names
/// none hangs from APPROPRIATION. So they form a tree, and no budget grows by money that goes round in it.
fn is_child(parent: &Ref, above: &Account, (child, below): (&Ref, &Account)) -> Verdict {
    let hangs = match &below.parent {
        Some(named) => named == parent,
        None => above.kind == AccountKind::Appropriation,
    };
    // Two programmes are 3203's matter.
    if hangs || above.programme != below.programme {
        return Ok(());
    }
    reject(3002, format!("{child} is not a child of {parent}"))
}

/// 3202 on `allot`: what is passed down stays within the parent's present budget: an ALLOTMENT's own, all that an
/// APPROPRIATION has left and passed down.
fn children_fit(scene: &mut Scene<'_>, legs: &Legs) -> Verdict {
    let others = legs.debit.passed_down.saturating_sub(legs.own);
    let passed = others.saturating_add(legs.posting.amount);
    let received = match legs.debit.kind {
        AccountKind::Allotment => legs.debit.budget,
        _ => others.saturating_add(legs.debit.sums.available()).saturating_add(legs.own),
    };
    if scene.mode != Mode::Live || passed <= received {
        return Ok(());
    }
    let programme = &legs.debit.programme;
    let (passed, received) = (money(scene, programme, passed)?, money(scene, programme, received)?);
    reject(3202, format!("children of {} would hold {passed}, it has {received}", legs.posting.debit))
}

fn plan_allot(scene: &mut Scene<'_>) -> Verdict<Movement> {
    simple(scene, MovementKind::Allotment)
}

fn can_recall(scene: &mut Scene<'_>) -> Verdict {
    let posting = stated(scene)?;
    let pairs = [
        (AccountKind::Allotment, AccountKind::Allotment),
        (AccountKind::Allotment, AccountKind::Appropriation),
        (AccountKind::Appropriation, AccountKind::Source),
    ];
    rules::kinds(scene, &posting, &pairs)?;
    let legs = rules::legs(scene, &posting)?;
    if legs.debit.kind == AccountKind::Allotment {
        is_child(&posting.credit, &legs.credit, (&posting.debit, &legs.debit))?;
        uncommitted(scene, &legs)?;
    }
    rules::movable(scene, &posting)?;
    origin::goes_back(scene, &legs)
}

/// 3202 on `recall`: committed and passed-down money is not there to be recalled.
fn uncommitted(scene: &mut Scene<'_>, legs: &Legs) -> Verdict {
    let free = legs.debit.sums.available().saturating_add(legs.own);
    if scene.mode != Mode::Live || legs.posting.amount <= free {
        return Ok(());
    }
    let programme = &legs.debit.programme;
    let (free, recalled) = (money(scene, programme, free)?, money(scene, programme, legs.posting.amount)?);
    reject(3202, format!("{}: uncommitted {free}, recalled {recalled}", legs.posting.debit))
}

fn plan_recall(scene: &mut Scene<'_>) -> Verdict<Movement> {
    let movement = simple(scene, MovementKind::Recall)?;
    let posting = stated(scene)?;
    let programme = book::programme(scene, &movement.programme)?;
    let at_bank = is_gift(&programme, &posting.credit) && scene.mode == Mode::Live;
    Ok(movement.at_bank(at_bank))
}

/// Whether money that goes back to this SOURCE crosses a bank: everything but the treasury's does.
fn is_gift(programme: &Programme, account: &Ref) -> bool {
    programme.sources.iter().any(|source| source.account == *account && source.origin != TREASURY)
}

// ---- commit, decommit ----

fn can_commit(scene: &mut Scene<'_>) -> Verdict {
    let posting = commitment(scene)?;
    rules::kinds(scene, &posting, &[(AccountKind::Allotment, AccountKind::Commitment)])?;
    let legs = rules::legs(scene, &posting)?;
    let award: Ref = scene.record.need("award")?;
    if legs.credit.award.as_ref() != Some(&award) {
        return reject(3002, format!("{} is not a COMMITMENT for {award}", posting.credit));
    }
    within_budget(scene, &legs, &award)?;
    rules::covered(scene, &legs)?;
    rules::one_programme(&legs)?;
    is_confirmed(scene, &award)?;
    rules::earmarked(&legs)?;
    rules::open(scene, &legs)?;
    before_cutoff(scene, &legs)
}

/// 3210 on `commit`: money is set aside for a list once it is confirmed.
fn is_confirmed(scene: &mut Scene<'_>, award: &Ref) -> Verdict {
    match entitlement::load(scene, award)? {
        Entitlement::List(list) if scene.mode == Mode::Live && list.state != ListState::Confirmed => {
            reject(3210, format!("list {award} is not confirmed"))
        }
        Entitlement::List(_) | Entitlement::Grant(_) => Ok(()),
    }
}

/// The posting of a `commit`: the COMMITMENT is the award's for the earmark of the money, else the one named.
fn commitment(scene: &mut Scene<'_>) -> Verdict<Posting> {
    let debit: Ref = scene.record.need("from")?;
    let amount = scene.record.need("amount")?;
    if let Some(credit) = scene.record.find::<Ref>("to") {
        return Ok(Posting { debit, credit, amount });
    }
    let from = book::account(scene, &debit)?;
    let award: Ref = scene.record.need("award")?;
    let programme = entitlement::load(scene, &award)?.programme().clone();
    let earmark = from.earmark.as_deref();
    let place = Place { kind: AccountKind::Commitment, agency: "", year: 0, earmark, above: Some(&award) };
    match book::find(scene, &programme, &place)? {
        Some(credit) => Ok(Posting { debit, credit, amount }),
        None => reject(3002, format!("no COMMITMENT of earmark {} is open for {award}", earmark.unwrap_or("none"))),
    }
}

/// 3208: the grant, and what is committed to it, stay within what its ALLOTMENT was given.
fn within_budget(scene: &mut Scene<'_>, legs: &Legs, award: &Ref) -> Verdict {
    let entitlement = entitlement::load(scene, award)?;
    let Some(value) = entitlement.value() else { return Ok(()) };
    let committed = entitlement.usage().committed.saturating_sub(rules::own_amount(scene)?);
    let wanted = committed.saturating_add(legs.posting.amount).max(value);
    let budget = legs.debit.budget;
    if legs.debit.assumed || wanted <= budget {
        return Ok(());
    }
    let programme = &legs.debit.programme;
    let (wanted, budget) = (money(scene, programme, wanted)?, money(scene, programme, budget)?);
    scene.reject_or_flag(3208, format!("{award} needs {wanted}, its budget {} is {budget}", legs.posting.debit))
}

/// 3216 on `commit`: not after the day of the year that the parameter names.
fn before_cutoff(scene: &mut Scene<'_>, legs: &Legs) -> Verdict {
    if scene.mode != Mode::Live {
        return Ok(());
    }
    let (year, month_day) = (legs.debit.year, scene.parameter("commit_cutoff")?);
    // Of the block that judges: a commitment takes effect with its approval.
    let today = scene.today();
    match Day::of_year(year, month_day) {
        Some(cutoff) if today <= cutoff => Ok(()),
        Some(cutoff) => reject(3216, format!("commitments of {year} end on {cutoff}, today is {today}")),
        None => reject(3216, format!("{month_day}, on which commitments of {year} end, is no day")),
    }
}

fn plan_commit(scene: &mut Scene<'_>) -> Verdict<Movement> {
    let posting = commitment(scene)?;
    entitled_movement(scene, MovementKind::Commitment, posting)
}

fn can_decommit(scene: &mut Scene<'_>) -> Verdict {
    let posting = decommitment(scene)?;
    let from = AccountKind::Commitment;
    let pairs = [(from, AccountKind::Allotment), (from, AccountKind::Carried), (from, AccountKind::Lapsed)];
    rules::kinds(scene, &posting, &pairs)?;
    let legs = rules::legs(scene, &posting)?;
    origin::goes_back(scene, &legs)?;
    rules::movable(scene, &posting)?;
    after_its_year(scene, &legs)
}

/// 3216 on `decommit` to CARRIED or LAPSED: they take what is left of a closed year, here that of the ALLOTMENT from which
/// the COMMITMENT hangs.
fn after_its_year(scene: &mut Scene<'_>, legs: &Legs) -> Verdict {
    if scene.mode != Mode::Live || legs.credit.kind == AccountKind::Allotment {
        return Ok(());
    }
    let Some(above) = &legs.debit.parent else {
        return reject(3002, format!("nothing was ever committed to {}", legs.posting.debit));
    };
    let year = book::account(scene, above)?.year;
    let closed = book::programme(scene, &legs.debit.programme)?.closed_years.contains(&year);
    if !closed {
        return reject(3216, format!("year {year} is open: its money goes back to {above}"));
    }
    if legs.credit.year == year {
        return Ok(());
    }
    reject(3216, format!("{} is not of {year}, the year that was closed", legs.posting.credit))
}

/// The posting of a `decommit`: back to the ALLOTMENT that the COMMITMENT hangs from, else the account named.
fn decommitment(scene: &mut Scene<'_>) -> Verdict<Posting> {
    let debit: Ref = scene.record.need("from")?;
    let amount = scene.record.need("amount")?;
    let award: Ref = scene.record.need("award")?;
    let from = book::account(scene, &debit)?;
    if from.award.as_ref() != Some(&award) {
        return reject(3002, format!("{debit} is not a COMMITMENT for {award}"));
    }
    match scene.record.find::<Ref>("to").or_else(|| from.parent.clone()) {
        Some(credit) => Ok(Posting { debit, credit, amount }),
        None => reject(3002, format!("nothing was ever committed to {debit}")),
    }
}

fn plan_decommit(scene: &mut Scene<'_>) -> Verdict<Movement> {
    let posting = decommitment(scene)?;
    entitled_movement(scene, MovementKind::Decommitment, posting)
}

fn entitled_movement(scene: &mut Scene<'_>, kind: MovementKind, posting: Posting) -> Verdict<Movement> {
    let programme = book::account(scene, &posting.debit)?.programme.clone();
    let entitlement = Some(scene.record.need("award")?);
    Ok(Movement { entitlement, ..Movement::new(kind, programme, vec![posting]) })
}
