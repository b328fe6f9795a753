//! Historical import: `import_open`, `import_close`, and the rules of every record between them: 3705, 3707, 3709, and
//! the sums that 3710 compares. That live and historical never meet (3012), and which other rules an import silences,
//! is in `judge` and in the mechanisms.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::body::need;
use super::calendar::Day;
use super::object::{Kind, Mode, Object, Ref};
use super::role::Role;
use super::scene::{Scene, Verdict, reject};
use super::schema::{Area, Field, FieldKind, RecordType};
use super::waiting::Need;
use crate::codec::Value;
use crate::crypto::{Hash, sha256};
use crate::state::StateFault;

/// Most currencies of one import.
const MAX_CURRENCIES: usize = 64;
/// Under this kind of code stands the import that loaded a batch.
const BATCH: &str = "batch";

/// One batch of a source, loaded under one pair of signatures.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Import {
    /// R/F rules reject, as in live subjects.
    #[n(0)]
    pub strict: bool,
    /// Last day that the source covers (3705).
    #[n(1)]
    pub period_end: Day,
    #[n(2)]
    pub closed: bool,
    /// Applied records of the import.
    #[n(3)]
    pub records: u64,
    /// Minor units posted by them, by currency.
    #[n(4)]
    pub posted: BTreeMap<String, u64>,
}

const TOTAL: &[Field] = &[Field::need("currency", FieldKind::Currency), Field::need("amount", FieldKind::Minor)];

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[
    RecordType {
        name: "import_open",
        zh: "历史导入",
        area: Area::Import,
        fields: &[
            Field::need("source", FieldKind::Text),
            Field::need("rows_root", FieldKind::Hash),
            Field::may("count", FieldKind::Count),
            Field::may("total_minor", FieldKind::Count),
            Field::need("licence", FieldKind::Text),
            Field::need("format", FieldKind::Code),
            Field::need("strict", FieldKind::Bool),
            Field::need("period_end", FieldKind::Date),
        ],
        submitters: &[Role::Importer],
        approvers: supervisor,
        check: check_open,
        take_effect: open,
        ..RecordType::BASE
    },
    RecordType {
        name: "import_close",
        zh: "导入完成",
        area: Area::Import,
        fields: &[
            Field::need("import_open", FieldKind::Ref(&[Kind::Import])),
            Field::need("counts", FieldKind::Count),
            Field::may("totals", FieldKind::List(&FieldKind::Map(TOTAL))),
        ],
        submitters: &[Role::Importer],
        entitled: own_import,
        check: check_close,
        sequence: still_open,
        take_effect: close,
        ..RecordType::BASE
    },
];

fn supervisor(_: &mut Scene<'_>) -> Verdict<Vec<Need>> {
    Ok(vec![Need::of_another_agency(Role::Supervisor)])
}

fn import(scene: &mut Scene<'_>, reference: &Ref) -> Verdict<Import> {
    match scene.object(reference)? {
        Some(Object::Import(import)) => Ok(import),
        _ => Err(StateFault::Invariant("a reference that 3002 accepted as an import is none").into()),
    }
}

/// The code of a batch: the same rows, count and total in the same mode.
fn batch_code(scene: &Scene<'_>) -> Result<String, StateFault> {
    let record = &scene.record;
    let (root, strict): (Hash, bool) = (record.need("rows_root")?, record.need("strict")?);
    let number = |field| Value::Uint(record.find(field).unwrap_or(0)).encode();
    let digest = sha256(&[&root, &number("count"), &number("total_minor")]);
    Ok(format!("{}.{}", if strict { "strict" } else { "historical" }, hex::encode(digest)))
}

/// 3705 and 3706.
fn check_open(scene: &mut Scene<'_>) -> Verdict {
    let period_end: Day = scene.record.need("period_end")?;
    let recorded = scene.record.recorded;
    if period_end >= recorded {
        return reject(3705, format!("period_end {period_end} has not passed on {recorded}"));
    }
    let code = batch_code(scene)?;
    if let Some(holder) = scene.code(BATCH, &code)? {
        return reject(3706, format!("import {holder} loaded these rows"));
    }
    Ok(())
}

fn open(scene: &mut Scene<'_>) -> Verdict {
    let code = batch_code(scene)?;
    scene.claim_code(BATCH, &code)?;
    let import = Import {
        strict: scene.record.need("strict")?,
        period_end: scene.record.need("period_end")?,
        closed: false,
        records: 0,
        posted: BTreeMap::new(),
    };
    scene.create(Object::Import(import));
    Ok(())
}

/// 3003: only the agency that opened an import closes it.
fn own_import(scene: &mut Scene<'_>) -> Verdict {
    let reference: Ref = scene.record.need("import_open")?;
    if reference.agency != scene.signer.agency {
        return reject(3003, format!("{} opened this import", reference.agency));
    }
    Ok(())
}

/// 3710.
fn check_close(scene: &mut Scene<'_>) -> Verdict {
    let reference: Ref = scene.record.need("import_open")?;
    let import = import(scene, &reference)?;
    let counts: u64 = scene.record.need("counts")?;
    if counts != import.records {
        return reject(3710, format!("counts {counts}, recorded {}", import.records));
    }
    let mut stated: BTreeMap<String, u64> = BTreeMap::new();
    for total in scene.record.find::<Vec<Value>>("totals").unwrap_or_default() {
        let (currency, amount): (String, u64) = (need(&total, "currency")?, need(&total, "amount")?);
        if stated.insert(currency.clone(), amount).is_some() {
            return reject(3710, format!("{currency} is stated twice"));
        }
    }
    stated.retain(|_, amount| *amount > 0);
    if stated != import.posted {
        return reject(3710, format!("totals {stated:?}, recorded {:?}", import.posted));
    }
    Ok(())
}

/// 3011.
fn still_open(scene: &mut Scene<'_>) -> Verdict {
    let reference: Ref = scene.record.need("import_open")?;
    if import(scene, &reference)?.closed {
        return reject(3011, format!("import {reference} is closed"));
    }
    Ok(())
}

fn close(scene: &mut Scene<'_>) -> Verdict {
    let reference: Ref = scene.record.need("import_open")?;
    let mut import = import(scene, &reference)?;
    import.closed = true;
    Ok(scene.put(&reference, Object::Import(import))?)
}

/// 3705, 3707 and 3709 over a record of an import; in live mode nothing.
pub(crate) fn check_entry(scene: &mut Scene<'_>) -> Verdict {
    if scene.mode == Mode::Live {
        return Ok(());
    }
    let reference: Ref = scene.record.need("import")?;
    let import = import(scene, &reference)?;
    if import.closed {
        return reject(3705, format!("import {reference} is closed"));
    }
    let effective = scene.record.effective;
    if effective > import.period_end {
        return reject(3705, format!("effective {effective}, the source ends on {}", import.period_end));
    }
    for (code, field) in [(3707, "defaults"), (3709, "conflicts")] {
        let named: Vec<String> = scene.record.find(field).unwrap_or_default();
        if !named.is_empty() {
            scene.flag(code, named.join(", "));
        }
    }
    Ok(())
}

/// Counts a record of an import that took effect, with what it posted; in live mode nothing.
pub(crate) fn count_entry(scene: &mut Scene<'_>) -> Verdict {
    if scene.mode == Mode::Live {
        return Ok(());
    }
    let reference: Ref = scene.record.need("import")?;
    let mut import = import(scene, &reference)?;
    import.records = import.records.saturating_add(1);
    for (currency, amount) in scene.newly_posted()? {
        let before = import.posted.get(&currency).copied().unwrap_or(0);
        let Some(after) = u64::try_from(amount).ok().and_then(|amount| before.checked_add(amount)) else {
            return reject(3222, format!("the import's {currency} would pass the limit of 64 bits"));
        };
        import.posted.insert(currency, after);
    }
    if import.posted.len() > MAX_CURRENCIES {
        return reject(3222, format!("more than {MAX_CURRENCIES} currencies in one import"));
    }
    Ok(scene.put(&reference, Object::Import(import))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::testing::{Stage, hash, text, to};

    type Fields = Vec<(&'static str, Value)>;

    fn batch(root: u8, strict: bool) -> Fields {
        vec![
            ("source", text("city open data")),
            ("rows_root", hash(root)),
            ("count", Value::Uint(2)),
            ("total_minor", Value::Uint(0)),
            ("licence", text("OGL")),
            ("format", text("permits")),
            ("strict", Value::Bool(strict)),
            ("period_end", text("2025-12-31")),
        ]
    }

    fn opened() -> Stage {
        let mut stage = Stage::found();
        stage.apply_with(["archive/1", "super/1"], "import_open", "IN", batch(1, false));
        stage
    }

    fn anchor(date: &str) -> Fields {
        vec![("root", hash(2)), ("kind", text("row")), ("import", to("archive/IN")), ("effective_date", text(date))]
    }

    fn closing(counts: u64) -> Fields {
        vec![("import_open", to("archive/IN")), ("counts", Value::Uint(counts))]
    }

    #[test]
    fn an_import_waits_for_its_supervisor() {
        let mut stage = Stage::found();
        stage.apply("archive/1", "import_open", "IN", batch(1, false));
        stage.expect(3002, "archive/1", "document_anchor", "D", anchor("2025-01-01"));
        assert_eq!(stage.approve("super/1", "archive/IN").outcome, 0);
        stage.apply("archive/1", "document_anchor", "D-2", anchor("2025-01-01"));
        stage.expect(3003, "civil/head", "import_open", "IN-2", batch(3, false));
    }

    #[test]
    fn only_an_importer_writes_history_and_writes_nothing_live_3012() {
        let mut stage = opened();
        stage.expect(3012, "archive/plain", "document_anchor", "D", anchor("2025-01-01"));
        let mut foreign = anchor("2025-01-01");
        foreign[0] = ("root", hash(3));
        stage.expect(3012, "civil/head", "document_anchor", "D", foreign);
        let matter =
            vec![("legal_basis", text("law")), ("clock_days", Value::Uint(20)), ("decider_role", text("decider"))];
        stage.expect(3012, "archive/1", "matter_define", "M", matter.clone());
        stage.apply("civil/head", "matter_define", "M", matter);
        let submit = vec![
            ("matter", to("civil/M")),
            ("applicant", Value::bytes(&[1; 16])),
            ("form", hash(1)),
            ("import", to("archive/IN")),
        ];
        stage.expect(3012, "archive/1", "case_submit", "C", submit);
    }

    #[test]
    fn history_enters_an_open_import_until_its_period_ends_3705() {
        let mut stage = opened();
        stage.apply("archive/1", "document_anchor", "D", anchor("2025-12-31"));
        stage.expect(3705, "archive/1", "document_anchor", "D-2", anchor("2026-01-01"));
        stage.apply("archive/1", "import_close", "END", closing(1));
        stage.expect(3705, "archive/1", "document_anchor", "D-3", anchor("2025-12-31"));
        stage.expect(3011, "archive/1", "import_close", "END-2", closing(1));
        let mut ahead = batch(9, false);
        ahead.retain(|(name, _)| *name != "period_end");
        ahead.push(("period_end", text("2026-06-01")));
        stage.expect(3705, "archive/1", "import_open", "IN-2", ahead);
    }

    #[test]
    fn a_batch_twice_in_one_mode_3706() {
        let mut stage = opened();
        stage.expect(3706, "archive/1", "import_open", "IN-2", batch(1, false));
        stage.apply_with(["archive/1", "super/1"], "import_open", "STRICT", batch(1, true));
        stage.apply("archive/1", "import_open", "A", batch(2, false));
        stage.apply_with(["archive/1", "super/2"], "import_open", "B", batch(2, false));
        assert_eq!(stage.approve("super/1", "archive/A").outcome, 3706);
        assert!(stage.object("archive/A").is_none());
    }

    #[test]
    fn stated_defaults_and_contradictions_are_flagged_3707_3709() {
        let mut stage = opened();
        let mut fields = anchor("2025-06-01");
        fields.push(("defaults", Value::Array(vec![text("effective_date")])));
        assert_eq!(stage.apply("archive/1", "document_anchor", "D", fields).flags, [3707]);
        let mut fields = anchor("2025-06-01");
        fields.push(("conflicts", Value::Array(vec![text("kind")])));
        assert_eq!(stage.apply("archive/1", "document_anchor", "D-2", fields).flags, [3709]);
        let live = vec![("root", hash(2)), ("kind", text("row")), ("conflicts", Value::Array(vec![text("kind")]))];
        let refusal = stage.offer("civil/head", "document_anchor", "D", live).expect_err("only imports have conflicts");
        assert_eq!(refusal.code.0, 1004);
    }

    #[test]
    fn totals_at_closing_are_the_sums_of_the_entries_3710() {
        let mut stage = opened();
        stage.apply("archive/1", "document_anchor", "D", anchor("2025-06-01"));
        stage.expect(3710, "archive/1", "import_close", "END", closing(2));
        let mut money = closing(1);
        let total = Value::text_map([("currency", text("CNY")), ("amount", Value::Uint(1))]);
        money.push(("totals", Value::Array(vec![total])));
        stage.expect(3710, "archive/1", "import_close", "END-2", money);
        stage.apply("archive/1", "import_close", "END-3", closing(1));
    }
}
