//! Claims of accepted batches as records, in stages: every record of a stage depends only on earlier stages, so that
//! those of one stage may be sent together and in any order.

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::records::calendar::Day;
use mingzhang_ledger::transaction::RecordId;

use super::identity::{Identity, Secret};
use super::item::{Claim, Kind, Unsent};
use super::words;

/// Stages of records.
pub const STAGES: usize = 7;

/// A record to be sent.
#[derive(Debug, Clone)]
pub struct Planned {
    pub record_type: &'static str,
    pub id: RecordId,
    pub body: Value,
    /// Place of the batch under whose import it stands.
    pub batch: usize,
    pub stage: usize,
    /// What it posts when it is applied: currency and minor units.
    pub posted: Option<(String, u64)>,
    /// Serves several items. The same record from an earlier import of the source serves as well.
    pub shared: bool,
    /// Place of its programme in the plan.
    pub programme: Option<usize>,
}

/// An item with the records that it needs.
#[derive(Debug, Clone)]
pub struct Item {
    /// Places of source, batch and claim.
    pub source: usize,
    pub batch: usize,
    pub claim: usize,
    pub kind: Kind,
    pub money: Option<(String, u64)>,
    /// Its own records in order.
    pub records: Vec<usize>,
    /// Shared records without which they mean nothing.
    pub needs: Vec<usize>,
    /// Of a return: the batch of the payment that it takes back, if that one was not opened.
    pub rests_on: Option<usize>,
    pub unsent: Option<Unsent>,
}

/// A programme that the import opens.
#[derive(Debug, Clone)]
pub struct ProgrammeInfo {
    pub id: String,
    pub name: String,
    pub currency: String,
}

/// Everything to be sent under accepted imports.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub records: Vec<Planned>,
    pub items: Vec<Item>,
    pub programmes: Vec<ProgrammeInfo>,
}

/// The import under which records are written.
#[derive(Debug, Clone)]
pub struct Under {
    /// Place of the batch.
    pub batch: usize,
    /// Reference to its `import_open`.
    pub import: Value,
    pub period_end: Day,
}

/// A date as a record states it.
#[derive(Debug, Clone, Copy)]
pub struct When {
    pub day: Day,
    /// The importer filled it.
    pub filled: bool,
    /// The source's own date, where it lies after the period of the source.
    pub ahead: Option<Day>,
}

impl Under {
    /// A missing date is the end of the period; one beyond it is kept as evidence.
    pub fn when(&self, stated: Option<Day>) -> When {
        match stated {
            None => When { day: self.period_end, filled: true, ahead: None },
            Some(day) if day > self.period_end => When { day: self.period_end, filled: false, ahead: Some(day) },
            Some(day) => When { day, filled: false, ahead: None },
        }
    }
}

/// A record being put together.
#[derive(Debug, Clone)]
pub struct Draft {
    record_type: &'static str,
    key: String,
    stage: usize,
    fields: Vec<(&'static str, Value)>,
    defaults: Vec<&'static str>,
    posted: Option<(String, u64)>,
    shared: bool,
    programme: Option<usize>,
}

impl Draft {
    pub fn new(record_type: &'static str, key: impl Into<String>, stage: usize) -> Self {
        Self {
            record_type,
            key: key.into(),
            stage,
            fields: Vec::new(),
            defaults: Vec::new(),
            posted: None,
            shared: false,
            programme: None,
        }
    }

    pub fn with(mut self, field: &'static str, value: Value) -> Self {
        self.fields.push((field, value));
        self
    }

    pub fn maybe(self, field: &'static str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.with(field, value),
            None => self,
        }
    }

    /// The importer filled a field (3707).
    pub fn filled(mut self, field: &'static str) -> Self {
        if !self.defaults.contains(&field) {
            self.defaults.push(field);
        }
        self
    }

    pub fn filled_if(self, fills: bool, field: &'static str) -> Self {
        if fills { self.filled(field) } else { self }
    }

    pub fn posting(mut self, money: &(String, u64)) -> Self {
        self.posted = Some(money.clone());
        self.with("amount", Value::Uint(money.1))
    }

    /// As `posting`, where the amount stands elsewhere in the body.
    pub fn posts(mut self, money: &(String, u64)) -> Self {
        self.posted = Some(money.clone());
        self
    }

    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    pub fn of(mut self, programme: usize) -> Self {
        self.programme = Some(programme);
        self
    }
}

/// Writes the plan of one source.
pub struct Planner<'a> {
    pub identity: &'a Identity,
    pub secret: &'a Secret,
    pub agency: &'a str,
    pub plan: &'a mut Plan,
}

/// A planned record: where it stands in the plan, and how others name it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub at: usize,
    pub reference: Value,
}

impl Planner<'_> {
    pub fn add(&mut self, under: &Under, when: When, mut draft: Draft) -> Entry {
        if when.filled {
            draft = draft.filled("effective_date");
        }
        let mut fields = draft.fields;
        fields.push(("import", under.import.clone()));
        fields.push(("effective_date", Value::text(&when.day.to_string())));
        fields.extend(when.ahead.map(|day| ("stated_date", Value::text(&day.to_string()))));
        if !draft.defaults.is_empty() {
            fields.push(("defaults", words::list(&draft.defaults)));
        }
        let id = self.identity.record_id(draft.record_type, &draft.key);
        let at = self.plan.records.len();
        self.plan.records.push(Planned {
            record_type: draft.record_type,
            id,
            body: Value::text_map(fields),
            batch: under.batch,
            stage: draft.stage,
            posted: draft.posted,
            shared: draft.shared,
            programme: draft.programme,
        });
        Entry { at, reference: words::reference(self.agency, &id) }
    }

    /// The first record of an item: it carries the digest of the row as evidence, and what the source contradicts.
    pub fn first(&mut self, under: &Under, when: When, (claim, mut draft): (&Claim, Draft)) -> Entry {
        let digest = self.secret.evidence(&key_in_batch(claim), &claim.digest);
        let evidence = Value::text_map([("hash", Value::bytes(&digest)), ("kind", Value::text("row"))]);
        draft = draft.with("evidence", Value::Array(vec![evidence]));
        if !claim.conflicts.is_empty() {
            draft = draft.with("conflicts", words::list(&claim.conflicts));
        }
        self.add(under, when, draft)
    }
}

/// The source key of a claim: ids are unique within a batch, a batch may repeat another. Where a slash in the batch or the
/// id could let two claims share a key, the batch's length says where the id begins.
pub fn key_in_batch(claim: &Claim) -> String {
    let (batch, key) = (&claim.batch, &claim.key);
    match (batch.is_empty(), batch.contains('/') || key.contains('/')) {
        (true, false) => key.clone(),
        (false, false) => format!("{batch}/{key}"),
        (_, true) => format!("{}/{batch}/{key}", batch.len()),
    }
}
