//! Programmes: opening one, and closing it when nothing is left in it.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use smol_str::SmolStr;

use super::book;
use super::rules::{self, Part};
use super::shown::money_text;
use super::sums::Sums;
use crate::records::object::{Kind, Mode, Object, Ref};
use crate::records::registry::Agency;
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::records::waiting::Need;
use crate::state::key;

/// Most years of one programme.
pub const MAX_YEARS: usize = 32;
/// Most SOURCE accounts of one programme.
pub const MAX_SOURCES: usize = 16;
/// Most programmes that one programme excludes.
pub const MAX_EXCLUSIVE: usize = 64;
/// How many of them another agency may have added by opening its own programmes beside it.
pub const MAX_EXCLUSIVE_BY_ANOTHER: usize = 8;
/// The origin of a SOURCE whose money comes from the state: nothing crosses a bank when it goes back.
pub const TREASURY: &str = "treasury";
/// The origin that donations come from, where a programme has several.
pub const DONORS: &str = "donors";

/// A programme: one purpose, one currency, and the agencies that alone act on it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Programme {
    #[cbor(n(0), with = "crate::codec::name")]
    pub currency: SmolStr,
    #[cbor(n(1), with = "crate::codec::name")]
    pub purpose: SmolStr,
    /// Ascending.
    #[n(2)]
    pub years: Vec<u64>,
    #[cbor(n(3), with = "crate::codec::name")]
    pub owner: SmolStr,
    #[cbor(n(4), with = "crate::codec::name")]
    pub finance: SmolStr,
    #[cbor(n(5), with = "crate::codec::name")]
    pub bank: SmolStr,
    #[cbor(n(6), with = "crate::codec::name")]
    pub supervisor: SmolStr,
    /// Scope of the pseudonyms of its recipients.
    #[cbor(n(7), with = "crate::codec::name")]
    pub scope: SmolStr,
    #[n(8)]
    pub standard_minor: Option<u64>,
    #[n(9)]
    pub exclusive_with: Vec<Ref>,
    #[n(10)]
    pub closed: bool,
    #[n(11)]
    pub closed_years: Vec<u64>,
    /// Its SOURCE accounts in the order in which they were opened.
    #[n(12)]
    pub sources: Vec<Source>,
    /// Sums over all its accounts that hold money: settled exactly when every one of them is.
    #[n(13)]
    pub held: Sums,
    /// Opened by a charity: in this role its supervising agency releases what is paid. None: finance does. Fixed, so that no
    /// officer of an agency that is both chooses who releases.
    #[n(14)]
    pub released_by: Option<Role>,
}

/// A SOURCE account and the origin of its money.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Source {
    #[n(0)]
    pub origin: String,
    #[n(1)]
    pub account: Ref,
}

impl Programme {
    /// Where income comes from: the donors' SOURCE, else the one that was opened first.
    pub fn income_source(&self) -> Option<&Ref> {
        let donors = self.sources.iter().find(|source| source.origin == DONORS);
        donors.or(self.sources.first()).map(|source| &source.account)
    }
}

pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "programme_open",
        zh: "项目设立",
        area: Area::Fund,
        fields: &[
            Field::need("mode", FieldKind::OneOf(&["live", "historical"])),
            Field::need("currency", FieldKind::Currency),
            Field::need("purpose", FieldKind::Code),
            Field::need("years", FieldKind::List(&FieldKind::Count)),
            Field::need("legal_ref", FieldKind::Text),
            Field::need("owner", FieldKind::Agency),
            Field::need("finance", FieldKind::Agency),
            Field::need("bank", FieldKind::Agency),
            Field::need("supervisor", FieldKind::Agency),
            Field::need("scope", FieldKind::Code),
            Field::may("standard_minor", FieldKind::Minor),
            Field::may("exclusive_with", FieldKind::List(&FieldKind::Ref(&[Kind::Programme]))),
        ],
        submitters: &[Role::ProgrammeOwner, Role::Charity],
        entitled: opened_by_its_owner,
        approvers: opened_with_finance,
        check: can_open,
        propose: rules::begin_trail,
        take_effect: open,
        ..RecordType::BASE
    },
    RecordType {
        name: "programme_close",
        zh: "结项",
        area: Area::Fund,
        fields: &[Field::need("programme", FieldKind::Ref(&[Kind::Programme]))],
        submitters: &[Role::ProgrammeOwner, Role::Charity],
        entitled: closed_by_its_owner,
        approvers: closed_with_finance,
        check: can_close,
        sequence: still_open,
        take_effect: close,
        ..RecordType::BASE
    },
];

// ---- programme_open ----

fn opened_by_its_owner(scene: &mut Scene<'_>) -> Verdict {
    let (owner, finance): (String, String) = (scene.record.need("owner")?, scene.record.need("finance")?);
    let bank: String = scene.record.need("bank")?;
    if owner != scene.signer.agency {
        return reject(3003, format!("owner is {owner}, the record comes from {}", scene.signer.agency));
    }
    if owner == finance || finance == bank || owner == bank {
        return reject(3004, format!("owner {owner}, finance {finance} and bank {bank} must be three agencies"));
    }
    // A charity's payments are released by the supervisor: neither who asks for them nor who carries them out.
    let supervisor: String = scene.record.need("supervisor")?;
    if supervisor == owner || supervisor == bank {
        return reject(3004, format!("supervisor {supervisor} must be neither owner {owner} nor bank {bank}"));
    }
    Ok(())
}

/// Its finance, and for every programme that it excludes finance, or whoever releases a charity's payments too: nobody's
/// payments are shut off without whoever releases them.
fn opened_with_finance(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    let mut needs = vec![Need::of(&scene.record.need::<String>("finance")?, Role::Finance)];
    for other in scene.record.find::<Vec<Ref>>("exclusive_with").unwrap_or_default() {
        let excluded = book::programme(scene, &other)?;
        let releasing = excluded.released_by.map(|role| Need::of(&excluded.supervisor, role));
        for need in std::iter::once(Need::of(&excluded.finance, Role::Finance)).chain(releasing) {
            if !needs.contains(&need) {
                needs.push(need);
            }
        }
    }
    Ok(needs)
}

/// A charity's programme is overseen by the agency that it names as supervisor, in the role that this one has.
fn release(scene: &Scene<'_>) -> Verdict<Option<Role>> {
    let (signer, today) = (&scene.signer, scene.today());
    let charity = signer.holds(Role::Charity, today) && !signer.holds(Role::ProgrammeOwner, today);
    if scene.mode != Mode::Live || !charity {
        return Ok(None);
    }
    let supervisor: String = scene.record.need("supervisor")?;
    let overseer: Option<Agency> = scene.draft.get(&key::agency(&supervisor))?;
    let supervises = overseer.is_some_and(|agency| agency.roles.contains(&Role::Supervisor));
    Ok(Some(if supervises { Role::Supervisor } else { Role::Trustee }))
}

fn can_open(scene: &mut Scene<'_>) -> Verdict {
    let mode: String = scene.record.need("mode")?;
    let wanted = if scene.mode == Mode::Live { "live" } else { "historical" };
    if mode != wanted {
        return reject(3012, format!("mode {mode}, but the record is {wanted}"));
    }
    let scope: String = scene.record.need("scope")?;
    for other in scene.record.find::<Vec<Ref>>("exclusive_with").unwrap_or_default() {
        let excluded = book::programme(scene, &other)?;
        if excluded.scope != scope {
            return reject(3212, format!("scope {scope}, but {other} has scope {}", excluded.scope));
        }
        if excluded.exclusive_with.len() >= MAX_EXCLUSIVE {
            return reject(3212, format!("{other} excludes {MAX_EXCLUSIVE} programmes already"));
        }
        let own = &scene.record.reference.agency;
        let beside = excluded.exclusive_with.iter().filter(|programme| programme.agency == *own).count();
        if *own != other.agency && beside >= MAX_EXCLUSIVE_BY_ANOTHER {
            return reject(3212, format!("{other} excludes {beside} programmes of {own} already"));
        }
    }
    let years: Vec<u64> = scene.record.need("years")?;
    let named = scene.record.find::<Vec<Ref>>("exclusive_with").unwrap_or_default().len();
    if named > MAX_EXCLUSIVE {
        return reject(3212, format!("{named} exclusive programmes, at most {MAX_EXCLUSIVE} are allowed"));
    }
    if years.is_empty() || years.len() > MAX_YEARS || years.iter().any(|year| !(1..=9999).contains(year)) {
        return reject(3216, format!("1 to {MAX_YEARS} years are wanted, {} are given", years.len()));
    }
    Ok(())
}

fn open(scene: &mut Scene<'_>) -> Verdict {
    let mut years: Vec<u64> = scene.record.need("years")?;
    years.sort_unstable();
    years.dedup();
    let exclusive_with = scene.record.find::<Vec<Ref>>("exclusive_with").unwrap_or_default();
    let own = scene.record.reference.clone();
    for other in &exclusive_with {
        let mut excluded = Arc::unwrap_or_clone(book::programme(scene, other)?);
        if !excluded.exclusive_with.contains(&own) {
            excluded.exclusive_with.push(own.clone());
        }
        scene.put(other, Object::Programme(Arc::new(excluded)))?;
    }
    let programme = Programme {
        currency: scene.record.need("currency")?,
        purpose: scene.record.need("purpose")?,
        years,
        owner: scene.record.need("owner")?,
        finance: scene.record.need("finance")?,
        bank: scene.record.need("bank")?,
        supervisor: scene.record.need("supervisor")?,
        scope: scene.record.need("scope")?,
        standard_minor: scene.record.find("standard_minor"),
        exclusive_with,
        closed: false,
        closed_years: Vec::new(),
        sources: Vec::new(),
        held: Sums::default(),
        released_by: release(scene)?,
    };
    if scene.mode == Mode::Live {
        enter_scope(scene, &programme.scope)?;
    }
    scene.create(Object::Programme(Arc::new(programme)));
    scene.enter_registry("programmes".to_owned());
    Ok(())
}

/// The owner of the scene's programme is known from now on as one who has payees under this scope.
fn enter_scope(scene: &mut Scene<'_>, scope: &str) -> Verdict {
    let own = scene.record.reference.clone();
    let key = key::code("scope", scope);
    let mut owned: Vec<Ref> = scene.draft.get(&key)?.unwrap_or_default();
    if owned.iter().all(|other| other.agency != own.agency) {
        owned.push(own);
        scene.draft.put(key, &owned)?;
    }
    Ok(())
}

/// The first live programme of an agency whose recipients are known under this scope.
pub fn first_of_scope(scene: &Scene<'_>, agency: &str, scope: &str) -> Verdict<Option<Ref>> {
    let owned: Option<Vec<Ref>> = scene.draft.get(&key::code("scope", scope))?;
    Ok(owned.into_iter().flatten().find(|programme| programme.agency == agency))
}

// ---- programme_close ----

fn named(scene: &mut Scene<'_>) -> Verdict<(Ref, Arc<Programme>)> {
    let reference: Ref = scene.record.need("programme")?;
    let programme = book::programme(scene, &reference)?;
    Ok((reference, programme))
}

fn closed_by_its_owner(scene: &mut Scene<'_>) -> Verdict {
    let (_, programme) = named(scene)?;
    rules::acts_as(scene, &programme, Part::Owner)
}

fn closed_with_finance(scene: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    Ok(rules::by_finance(&named(scene)?.1))
}

/// 3221.
fn can_close(scene: &mut Scene<'_>) -> Verdict {
    let (reference, programme) = named(scene)?;
    if scene.mode != Mode::Live || programme.held.is_settled() {
        return Ok(());
    }
    let (held, reserved) = (programme.held.credits_posted, programme.held.debits_pending);
    let left = held.saturating_sub(programme.held.debits_posted);
    let (left, reserved) = (money_text(left, &programme.currency), money_text(reserved, &programme.currency));
    reject(3221, format!("programme {reference}: {left} left in its accounts, {reserved} reserved"))
}

/// 3011.
fn still_open(scene: &mut Scene<'_>) -> Verdict {
    let (reference, programme) = named(scene)?;
    if programme.closed && scene.mode == Mode::Live {
        return reject(3011, format!("programme {reference} is closed already"));
    }
    Ok(())
}

fn close(scene: &mut Scene<'_>) -> Verdict {
    let (reference, programme) = named(scene)?;
    let closed = Programme { closed: true, ..Arc::unwrap_or_clone(programme) };
    Ok(scene.put(&reference, Object::Programme(Arc::new(closed)))?)
}
