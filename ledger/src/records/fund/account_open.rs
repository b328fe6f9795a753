//! Opening an account: its place within the programme must be free, its year open.

use std::sync::Arc;

use super::account::{Account, AccountKind};
use super::book::{self, Place};
use super::entitlement;
use super::programme::{MAX_SOURCES, Source, TREASURY};
use super::rules::{self, Part};
use super::sums::Sums;
use crate::records::object::{Kind, Mode, Object, Ref};
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::records::waiting::Need;

/// Most accounts of one programme and year that its close must look at.
pub const MAX_YEAR_ACCOUNTS: usize = 4_096;

pub const TYPES: &[RecordType] = &[RecordType {
    name: "account_open",
    zh: "账户设立",
    area: Area::Fund,
    fields: &[
        Field::need("account_kind", FieldKind::OneOf(AccountKind::CODES)),
        Field::need("programme", FieldKind::Ref(&[Kind::Programme])),
        Field::may("parent", FieldKind::Ref(&[Kind::Account])),
        Field::need("agency", FieldKind::Agency),
        Field::need("year", FieldKind::Count),
        Field::may("earmark", FieldKind::Code),
        Field::may("award", FieldKind::Ref(entitlement::KINDS)),
    ],
    submitters: &[Role::Finance],
    entitled: opened_by_finance,
    approvers: opened_by_two,
    check: can_open,
    propose: rules::begin_trail,
    take_effect: open,
    ..RecordType::BASE
}];

/// What the body says.
fn stated(scene: &mut Scene<'_>) -> Verdict<Account> {
    let code: String = scene.record.need("account_kind")?;
    let Some(kind) = AccountKind::from_code(&code) else {
        return reject(3002, format!("account kind {code} does not exist"));
    };
    Ok(Account {
        kind,
        programme: scene.record.need("programme")?,
        parent: scene.record.find("parent"),
        agency: scene.record.need::<String>("agency")?.into(),
        year: scene.record.need("year")?,
        earmark: scene.record.find("earmark"),
        award: scene.record.find("award"),
        sums: Sums::default(),
        passed_down: 0,
        budget: 0,
        closed: false,
        assumed: false,
        last_moved: None,
    })
}

/// Only one account may stand at a place. A SOURCE stands for its origin alone; an award's COMMITMENT for no agency or
/// year, a sum carried or lapsed for no agency.
pub(super) fn place(account: &Account) -> Place<'_> {
    let (agency, year, earmark) = (account.agency.as_str(), account.year, account.earmark.as_deref());
    let place = Place { kind: account.kind, agency, year, earmark, above: None };
    match account.kind {
        AccountKind::Source => Place { agency: "", year: 0, ..place },
        AccountKind::Appropriation | AccountKind::Carried => Place { agency: "", ..place },
        AccountKind::Commitment => Place { agency: "", year: 0, above: account.award.as_ref(), ..place },
        AccountKind::Paid => Place { earmark: None, ..place },
        AccountKind::Lapsed => Place { agency: "", earmark: None, ..place },
        AccountKind::Allotment | AccountKind::Returned | AccountKind::Deposit => place,
    }
}

fn opened_by_finance(scene: &mut Scene<'_>) -> Verdict {
    let reference: Ref = scene.record.need("programme")?;
    let programme = book::programme(scene, &reference)?;
    rules::acts_as(scene, &programme, Part::Finance)
}

fn opened_by_two(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    let reference: Ref = scene.record.need("programme")?;
    Ok(rules::by_finance(&*book::programme(scene, &reference)?))
}

fn can_open(scene: &mut Scene<'_>) -> Verdict {
    let account = stated(scene)?;
    if let Some(holder) = book::find(scene, &account.programme, &place(&account))? {
        return reject(3001, format!("account {holder} is this {} already", account.kind.code()));
    }
    fits_above(scene, &account)?;
    let programme = book::programme(scene, &account.programme)?;
    if scene.mode == Mode::Live {
        rules::programme_open(&account.programme, &programme)?;
        // What is left of a closed year may still come, from a COMMITMENT.
        let takes_the_rest = matches!(account.kind, AccountKind::Carried | AccountKind::Lapsed);
        if programme.closed_years.contains(&account.year) && !takes_the_rest {
            return reject(3216, format!("year {} is closed", account.year));
        }
    }
    if !programme.years.contains(&account.year) {
        return reject(3216, format!("year {} is not one of the programme's", account.year));
    }
    if account.kind == AccountKind::Source && programme.sources.len() >= MAX_SOURCES {
        return reject(3216, format!("the programme has {MAX_SOURCES} SOURCE accounts already"));
    }
    let counted: Vec<Ref> = scene.draft.get(&book::year_key(&account.programme, account.year))?.unwrap_or_default();
    if is_listed(account.kind) && counted.len() >= MAX_YEAR_ACCOUNTS {
        return reject(3216, format!("year {} has {MAX_YEAR_ACCOUNTS} accounts already", account.year));
    }
    Ok(())
}

/// 3002 and 3203: what the account hangs from is of the right kind and of the same programme.
fn fits_above(scene: &mut Scene<'_>, account: &Account) -> Verdict {
    if let Some(reference) = &account.parent {
        let parent = book::account(scene, reference)?;
        let fits = match account.kind {
            AccountKind::Allotment => matches!(parent.kind, AccountKind::Appropriation | AccountKind::Allotment),
            AccountKind::Commitment => parent.kind == AccountKind::Allotment,
            AccountKind::Appropriation => matches!(parent.kind, AccountKind::Source | AccountKind::Carried),
            AccountKind::Source
            | AccountKind::Paid
            | AccountKind::Returned
            | AccountKind::Deposit
            | AccountKind::Carried
            | AccountKind::Lapsed => false,
        };
        if !fits {
            return reject(3002, format!("{reference}, a {}, cannot be the parent", parent.kind.code()));
        }
        if parent.programme != account.programme {
            return reject(3203, format!("parent {reference} belongs to programme {}", parent.programme));
        }
    }
    match (&account.award, account.kind) {
        (Some(reference), AccountKind::Commitment) => {
            let entitlement = entitlement::load(scene, reference)?;
            if *entitlement.programme() == account.programme {
                return Ok(());
            }
            reject(3203, format!("award {reference} belongs to programme {}", entitlement.programme()))
        }
        (None, AccountKind::Commitment) => reject(3002, "a COMMITMENT names the contract, list or grant it is for"),
        (Some(reference), _) => reject(3002, format!("a {} is for no award, not {reference}", account.kind.code())),
        (None, _) => Ok(()),
    }
}

/// Whether the close of a year looks at accounts of this kind: those it empties, and those whose reservations it awaits.
fn is_listed(kind: AccountKind) -> bool {
    kind.closes_with_year() || kind == AccountKind::Paid
}

fn open(scene: &mut Scene<'_>) -> Verdict {
    let account = stated(scene)?;
    let own = scene.record.reference.clone();
    book::occupy(scene, &account.programme, &place(&account))?;
    if account.kind == AccountKind::Source {
        let mut programme = Arc::unwrap_or_clone(book::programme(scene, &account.programme)?);
        let origin = account.earmark.clone().unwrap_or_else(|| TREASURY.to_owned());
        programme.sources.push(Source { origin, account: own.clone() });
        scene.put(&account.programme, Object::Programme(Arc::new(programme)))?;
    }
    if is_listed(account.kind) {
        let key = book::year_key(&account.programme, account.year);
        let mut listed: Vec<Ref> = scene.draft.get(&key)?.unwrap_or_default();
        listed.push(own);
        scene.draft.put(key, &listed)?;
    }
    scene.enter_registry(format!("accounts/{}", account.programme.key_part()));
    scene.create(Object::Account(Arc::new(account)));
    Ok(())
}
