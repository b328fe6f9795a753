//! The scene of one record: everything that a rule may see, and the only way in which it may change the state. Which
//! rules run, and in which order, is in `judge`; what becomes of the changes is decided by `state::execute`.

mod looked;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::body::Record;
use super::calendar::Day;
use super::fund::conservation::Conservation;
use super::fund::sums::Step;
use super::object::{Mode, Object, RecordLeaf, Ref, Subject};
use super::signer::Signer;
use super::waiting::Waited;
use crate::outcome::Rejection;
use crate::state::execute::{BlockContext, Effect, Network};
use crate::state::key::{self, Key};
use crate::state::{Overlay, Snapshot, StateFault};
use looked::{Looked, LookedAt};

/// Why a step stopped: a rule rejected the record, or this machine could not read its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    Rejected(Rejection),
    Fault(StateFault),
}

impl From<StateFault> for Halt {
    fn from(fault: StateFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Rejection> for Halt {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// The answer of a rule.
pub type Verdict<T = ()> = Result<T, Halt>;

/// Rejects with a code and the values that disagree.
pub fn reject<T>(code: u16, detail: impl Into<String>) -> Verdict<T> {
    Err(Rejection::new(code, detail).into())
}

/// A rule's hit that did not reject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    pub code: u16,
    /// The figures that disagree; part of the state.
    pub detail: String,
}

/// Sums of one mode and currency: the value of `totals/<mode>/<currency>`. Debits equal credits at every height. Wider
/// than an account's sums, so that no programme can use up what all share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Totals {
    #[cbor(n(0), with = "crate::codec::wide")]
    pub debits_posted: u128,
    #[cbor(n(1), with = "crate::codec::wide")]
    pub credits_posted: u128,
    #[cbor(n(2), with = "crate::codec::wide")]
    pub debits_pending: u128,
    #[cbor(n(3), with = "crate::codec::wide")]
    pub credits_pending: u128,
}

impl Totals {
    /// Takes one step of a posting, both sides of which move together; false where sums cannot hold it. The accounts
    /// hold the amount, so they can: 2⁶⁴ records of 2⁶⁴ minor units each would fit.
    #[must_use]
    pub fn step(&mut self, step: Step, amount: u64) -> bool {
        let amount = u128::from(amount);
        let after = |posted: u128, pending: u128| match step {
            Step::Reserve => Some((posted, pending.checked_add(amount)?)),
            Step::Post => Some((posted.checked_add(amount)?, pending.checked_sub(amount)?)),
            Step::PostAtOnce => Some((posted.checked_add(amount)?, pending)),
            Step::Void => Some((posted, pending.checked_sub(amount)?)),
        };
        let debits = after(self.debits_posted, self.debits_pending);
        let credits = after(self.credits_posted, self.credits_pending);
        let (Some(debits), Some(credits)) = (debits, credits) else { return false };
        (self.debits_posted, self.debits_pending) = debits;
        (self.credits_posted, self.credits_pending) = credits;
        true
    }
}

/// State keys that most records change; only for how much room is made.
const CHANGES: usize = 14;

/// What the rules of one record see and do.
pub struct Scene<'a> {
    /// Changes to keys other than record leaves; for those use [`Scene::object`], [`Scene::put`] and [`Scene::create`].
    pub draft: Overlay<'a>,
    pub network: &'a Network,
    pub block: &'a BlockContext,
    /// Index of the log entry that is being executed.
    pub index: u64,
    /// The record whose rules run: at an approval, the record that waited.
    pub record: Record<'a>,
    /// Who submitted `record`, as registered now.
    pub signer: Signer,
    pub mode: Mode,
    /// Whose trails the record joins anyway: named in its body, or stored with what its references name.
    pub subjects: Arc<[Subject]>,
    flags: Vec<Flag>,
    touched: BTreeSet<Subject>,
    registries: BTreeSet<String>,
    totals: BTreeMap<String, Totals>,
    leaves: LookedAt,
    created: Option<Object>,
    waited: Option<(Ref, Waited)>,
    /// Whether earlier objects that the record changed are shown, as a dry run wants it.
    pub(crate) shows_effects: bool,
    /// The waiting record that ends if this record is rejected from here on.
    pub(crate) ends_on_failure: Option<Ref>,
}

/// What a scene leaves behind for the frame.
pub(crate) struct Outcome<'a> {
    pub draft: Overlay<'a>,
    pub flags: Vec<Flag>,
    pub touched: BTreeSet<Subject>,
    pub registries: BTreeSet<String>,
    /// The object that the record made, to be kept in its leaf.
    pub created: Option<Object>,
    pub signer: Signer,
    pub mode: Mode,
    /// Earlier objects that the record changed, if they are shown.
    pub effects: Vec<Effect>,
    pub keys: LookedAt,
    pub shows_effects: bool,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(base: &'a dyn Snapshot, network: &'a Network, block: &'a BlockContext, cast: Cast<'a>) -> Self {
        Self {
            draft: Overlay::with_room(base, CHANGES),
            network,
            block,
            index: cast.index,
            record: cast.record,
            signer: cast.signer,
            mode: cast.mode,
            subjects: Arc::default(),
            flags: Vec::new(),
            touched: BTreeSet::new(),
            registries: BTreeSet::new(),
            totals: BTreeMap::new(),
            leaves: LookedAt::new(),
            created: None,
            waited: None,
            shows_effects: false,
            ends_on_failure: None,
        }
    }

    /// The calendar day of the block.
    pub fn today(&self) -> Day {
        Day::at(self.block.time_ms, self.network.utc_offset_minutes)
    }

    /// A rule parameter in force at the block's time.
    pub fn parameter(&self, name: &'static str) -> Result<u64, StateFault> {
        crate::rules::parameter(&self.draft, name, self.block.time_ms)
    }

    // ---- objects ----

    /// The leaf of an earlier record.
    pub fn leaf(&mut self, reference: &Ref) -> Result<Option<&RecordLeaf>, StateFault> {
        Ok(self.cached(reference)?.map(|leaf| &**leaf))
    }

    /// As [`Scene::leaf`], to be held while the scene changes: it stays as it is now.
    pub fn leaf_as_is(&mut self, reference: &Ref) -> Result<Option<Arc<RecordLeaf>>, StateFault> {
        Ok(self.cached(reference)?.cloned())
    }

    fn cached(&mut self, reference: &Ref) -> Result<Option<&Arc<RecordLeaf>>, StateFault> {
        Ok(self.slot(reference)?.leaf.as_ref())
    }

    fn slot(&mut self, reference: &Ref) -> Result<&mut Looked, StateFault> {
        let at = match self.leaves.find(reference) {
            Some(at) => at,
            None => {
                let key = reference.key();
                let leaf = self.draft.shared(&key)?;
                self.leaves.add(reference, key, leaf)
            }
        };
        self.leaves.get(at).ok_or(StateFault::Invariant("a record that was just looked at is missing"))
    }

    /// The body of a waiting record, decoded once for all who judge it.
    pub(crate) fn waited(&mut self, reference: &Ref, leaf: &RecordLeaf) -> Result<Waited, StateFault> {
        if let Some((known, waited)) = &self.waited
            && known == reference
        {
            return Ok(waited.clone());
        }
        let waited = Waited::of(leaf)?;
        self.waited = Some((reference.clone(), waited.clone()));
        Ok(waited)
    }

    /// The object that an earlier record made. Within the record that makes it, see [`Scene::created`].
    pub fn object(&mut self, reference: &Ref) -> Result<Option<Object>, StateFault> {
        self.seen(reference).map(Option::<&Object>::cloned)
    }

    /// As [`Scene::object`], without a copy.
    pub fn seen(&mut self, reference: &Ref) -> Result<Option<&Object>, StateFault> {
        if self.created.is_some() && *reference == self.record.reference {
            return Ok(self.created.as_ref());
        }
        Ok(self.slot(reference)?.leaf.as_ref().and_then(|leaf| leaf.object.as_ref()))
    }

    /// Replaces the object of an earlier record. Its subject's trails must be joined: its reference stands in the body,
    /// or [`Scene::touch`] names it; `execute` asserts this.
    pub fn put(&mut self, reference: &Ref, object: Object) -> Result<(), StateFault> {
        if *reference == self.record.reference && self.created.is_some() {
            self.created = Some(object);
            return Ok(());
        }
        let shows_effects = self.shows_effects;
        match self.slot(reference)? {
            Looked { leaf: Some(leaf), before, changed, .. } => {
                if shows_effects && before.is_none() {
                    *before = leaf.object.clone().map(Box::new);
                }
                match Arc::get_mut(leaf) {
                    Some(own) => own.object = Some(object),
                    // Its old object is not copied for the sake of the rest.
                    None => *leaf = Arc::new(leaf.with_object(object)),
                }
                *changed = true;
                Ok(())
            }
            Looked { leaf: None, .. } => Err(StateFault::Invariant("an object is put where there is no record")),
        }
    }

    /// Makes the record's own object, kept in its leaf.
    pub fn create(&mut self, object: Object) {
        self.created = Some(object);
    }

    pub fn created(&self) -> Option<&Object> {
        self.created.as_ref()
    }

    pub(crate) fn take_created(&mut self) -> Option<Object> {
        self.created.take()
    }

    /// Changes an earlier record's leaf beside its object.
    pub(crate) fn change_leaf(
        &mut self,
        reference: &Ref,
        change: impl FnOnce(&mut RecordLeaf),
    ) -> Result<(), StateFault> {
        match self.slot(reference)? {
            Looked { leaf: Some(leaf), changed, .. } => {
                change(Arc::make_mut(leaf));
                *changed = true;
                Ok(())
            }
            Looked { leaf: None, .. } => Err(StateFault::Invariant("a leaf is changed where there is no record")),
        }
    }

    // ---- trails and registries ----

    /// The record joins the trail of a subject that neither its body nor a reference names.
    pub fn touch(&mut self, subject: Subject) {
        self.touched.insert(subject);
    }

    pub(crate) fn touched(&self) -> &BTreeSet<Subject> {
        &self.touched
    }

    /// The record joins a registry trail, for instance `programmes` or `accounts/<agency>.<programme id>`.
    pub fn enter_registry(&mut self, name: String) {
        self.registries.insert(name);
    }

    // ---- codes, nullifiers, totals ----

    /// The record that holds a code in this mode, if any. Codes of imports are unique within their import.
    pub fn code(&self, kind: &str, code: &str) -> Result<Option<Ref>, StateFault> {
        self.draft.get(&self.code_key(kind, code))
    }

    /// The record of this scene takes a code.
    pub fn claim_code(&mut self, kind: &str, code: &str) -> Result<(), StateFault> {
        let key = self.code_key(kind, code);
        let holder = self.record.reference.clone();
        self.draft.put(key, &holder)
    }

    /// Live codes that differ by capitals alone are one; a source's are what it says. An import is a part of the key of
    /// its own, which no live code can be spelled to look like.
    fn code_key(&self, kind: &str, code: &str) -> Key {
        match (self.mode, self.record.find::<Ref>("import")) {
            (Mode::Historical | Mode::Strict, Some(import)) => {
                key::imported_code(kind, (self.mode.name(), &import.key_part()), code)
            }
            (Mode::Live | Mode::Historical | Mode::Strict, _) => key::code(kind, &code.to_ascii_uppercase()),
        }
    }

    /// Totals of this mode and a currency, to be changed in place; written and asserted to balance after the record.
    pub fn totals(&mut self, currency: &str) -> Result<&mut Totals, StateFault> {
        if !self.totals.contains_key(currency) {
            let totals = self.draft.get(&key::totals(self.mode.name(), currency))?.unwrap_or_default();
            self.totals.insert(currency.to_owned(), totals);
        }
        self.totals.get_mut(currency).ok_or(StateFault::Invariant("totals that were just read are missing"))
    }

    /// What the record has posted so far, by currency, in minor units.
    pub(crate) fn newly_posted(&self) -> Result<Vec<(String, u128)>, StateFault> {
        let mut posted = Vec::new();
        for (currency, totals) in &self.totals {
            let before: Totals = self.draft.get(&key::totals(self.mode.name(), currency))?.unwrap_or_default();
            let amount = totals.credits_posted.saturating_sub(before.credits_posted);
            if amount > 0 {
                posted.push((currency.clone(), amount));
            }
        }
        Ok(posted)
    }

    // ---- hits of rules ----

    /// The hit of an R/F rule: rejects in live and strict, flags in historical subjects.
    pub fn reject_or_flag(&mut self, code: u16, detail: impl Into<String>) -> Verdict {
        match self.mode {
            Mode::Live | Mode::Strict => reject(code, detail),
            Mode::Historical => {
                self.flag(code, detail);
                Ok(())
            }
        }
    }

    /// The hit of an F rule: recorded as a finding, and the record goes on.
    pub fn flag(&mut self, code: u16, detail: impl Into<String>) {
        self.flags.push(Flag { code, detail: detail.into() });
    }

    pub fn flags(&self) -> &[Flag] {
        &self.flags
    }

    /// Drops the flags from position `from` on whose codes are known: a record that waited was flagged when it was
    /// proposed, and is not flagged again for the same at its approval.
    pub(crate) fn forget_flags(&mut self, from: usize, known: &[u16]) {
        let new = self.flags.split_off(from.min(self.flags.len()));
        self.flags.extend(new.into_iter().filter(|flag| !known.contains(&flag.code)));
    }

    /// Writes what the scene cached and hands everything over.
    pub(crate) fn finish(mut self) -> Result<Outcome<'a>, StateFault> {
        let (mut effects, mut conservation) = (Vec::new(), Conservation::default());
        for looked in self.leaves.all().filter(|looked| looked.changed) {
            let Some(leaf) = looked.leaf.take() else { continue };
            if self.shows_effects && leaf.object.as_ref() != looked.before.as_deref() {
                let before = looked.before.take().map(|before| *before);
                let shown = |after| Effect { reference: looked.reference.clone(), before, after };
                effects.extend(leaf.object.clone().map(shown));
            }
            if let Some(Object::Account(after)) = &leaf.object {
                // Not written yet, so below the draft it stands as before the record.
                let before: Option<Arc<RecordLeaf>> = self.draft.shared(&looked.key)?;
                let before = match before.as_ref().and_then(|leaf| leaf.object.as_ref()) {
                    Some(Object::Account(before)) => Some(&**before),
                    _ => None,
                };
                conservation.count(before, after, self.mode)?;
            }
            self.draft.put_shared(looked.key, leaf)?;
        }
        if let Some(Object::Account(made)) = &self.created {
            conservation.count(None, made, self.mode)?;
        }
        effects.sort_by(|one: &Effect, other| one.reference.cmp(&other.reference));
        for (currency, totals) in &self.totals {
            let key = key::totals(self.mode.name(), currency);
            conservation.total(&self.draft.get(&key)?.unwrap_or_default(), totals);
            self.draft.put(key, totals)?;
        }
        conservation.check()?;
        Ok(Outcome {
            draft: self.draft,
            flags: self.flags,
            touched: self.touched,
            registries: self.registries,
            created: self.created,
            signer: self.signer,
            mode: self.mode,
            effects,
            keys: self.leaves,
            shows_effects: self.shows_effects,
        })
    }
}

/// Who and what enters a scene.
pub(crate) struct Cast<'a> {
    pub index: u64,
    pub record: Record<'a>,
    pub signer: Signer,
    pub mode: Mode,
}
