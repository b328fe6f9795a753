//! Disclosures: what a programme's owner publishes about income and payments must be what the ledger counted, day by
//! day (3703), and a cumulative figure does not fall (3704). The counters are kept with the money.

use minicbor::{Decode, Encode};

use super::calendar::Day;
use super::document::correction_of;
use super::fund::day::{DayCount, between};
use super::object::{Kind, Object, Ref};
use super::role::Role;
use super::scene::{Scene, Verdict, reject};
use super::schema::{Area, Field, FieldKind, RecordType};
use crate::state::StateFault;
use crate::state::key::{self, Key};

/// Under this kind of code stands the latest disclosure of a programme that begins on a day: the cumulative series.
const SERIES: &str = "disclosure";

/// Coarsest precision in minor units: ten thousand yuan (万元). Beyond, hardly a figure would say anything.
const MAX_PRECISION: u64 = 1_000_000;

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Disclosure {
    #[n(0)]
    pub programme: Ref,
    #[n(1)]
    pub from_day: Day,
    #[n(2)]
    pub to_day: Day,
    /// Minor units, as stated.
    #[n(3)]
    pub income: u64,
    #[n(4)]
    pub paid: u64,
    #[n(5)]
    pub count: u64,
    /// Amounts are rounded to multiples of this many minor units.
    #[n(6)]
    pub precision: u64,
}

/// The record types of this mechanism.
pub const TYPES: &[RecordType] = &[RecordType {
    name: "disclosure",
    zh: "公开",
    area: Area::Everywhere,
    fields: &[
        Field::need("programme", FieldKind::Ref(&[Kind::Programme])),
        Field::need("from_day", FieldKind::Date),
        Field::need("to_day", FieldKind::Date),
        Field::need("income", FieldKind::Minor),
        Field::need("paid", FieldKind::Minor),
        Field::need("count", FieldKind::Count),
        Field::need("precision", FieldKind::Minor),
    ],
    submitters: &[Role::ProgrammeOwner, Role::Charity],
    entitled: owner,
    check: check_figures,
    take_effect: publish,
    ..RecordType::BASE
}];

fn stated(scene: &Scene<'_>) -> Result<Disclosure, StateFault> {
    let record = &scene.record;
    Ok(Disclosure {
        programme: record.need("programme")?,
        from_day: record.need("from_day")?,
        to_day: record.need("to_day")?,
        income: record.need("income")?,
        paid: record.need("paid")?,
        count: record.need("count")?,
        precision: record.need::<u64>("precision")?.max(1),
    })
}

/// 3003: the owner of the programme publishes.
fn owner(scene: &mut Scene<'_>) -> Verdict {
    let reference: Ref = scene.record.need("programme")?;
    match scene.object(&reference)? {
        Some(Object::Programme(programme)) if programme.owner == scene.signer.agency => Ok(()),
        _ => reject(3003, format!("{} does not own programme {reference}", scene.signer.agency)),
    }
}

/// To the nearest multiple of a precision, halves up. None: past the limit of 64 bits.
fn rounded(amount_minor: u64, precision: u64) -> Option<u64> {
    let multiples = amount_minor.checked_div(precision)?;
    let up = amount_minor.checked_rem(precision)? >= precision.saturating_sub(precision.div_euclid(2));
    multiples.checked_add(u64::from(up))?.checked_mul(precision)
}

/// 3703 and 3704.
fn check_figures(scene: &mut Scene<'_>) -> Verdict {
    let stated = stated(scene)?;
    let recorded = scene.record.recorded;
    if stated.to_day > recorded {
        let detail = format!("{} to {} is not over, today is {recorded}", stated.from_day, stated.to_day);
        scene.reject_or_flag(3703, detail)?;
    }
    match between(scene, &stated.programme, stated.from_day, stated.to_day)? {
        Some(counted) => equal_counters(scene, &stated, counted)?,
        None => {
            let detail = format!("{} to {} cannot be summed", stated.from_day, stated.to_day);
            scene.reject_or_flag(3703, detail)?;
        }
    }
    does_not_fall(scene, &stated)
}

fn equal_counters(scene: &mut Scene<'_>, stated: &Disclosure, counted: DayCount) -> Verdict {
    let unit = stated.precision;
    if unit > MAX_PRECISION {
        return scene.reject_or_flag(3703, format!("precision {unit} minor units, at most {MAX_PRECISION}"));
    }
    let tolerance = scene.parameter("rounding_tolerance")?;
    let amounts = [("income", stated.income, counted.income), ("paid", stated.paid, counted.paid)];
    for (name, published, sum) in amounts {
        if rounded(sum, unit).is_none_or(|exact| exact.abs_diff(published) > tolerance) {
            return scene.reject_or_flag(3703, format!("{name} {published}, counted {sum}, to {unit} minor units"));
        }
    }
    if stated.count != counted.count {
        return scene.reject_or_flag(3703, format!("count {}, counted {}", stated.count, counted.count));
    }
    Ok(())
}

/// 3704: against the latest disclosure that begins on the same day and was not corrected since.
fn does_not_fall(scene: &mut Scene<'_>, stated: &Disclosure) -> Verdict {
    let Some((reference, earlier)) = earlier(scene, stated)? else { return Ok(()) };
    if earlier.to_day > stated.to_day || correction_of(scene, &reference)?.is_some() {
        return Ok(());
    }
    // The least that the earlier figure and the most that this one may stand for, each to its own precision.
    let least = |figure: u64| figure.saturating_sub(earlier.precision.div_euclid(2));
    let most = |figure: u64| figure.saturating_add(stated.precision.saturating_sub(1).div_euclid(2));
    let figures = [
        ("income", least(earlier.income), most(stated.income)),
        ("paid", least(earlier.paid), most(stated.paid)),
        ("count", earlier.count, stated.count),
    ];
    match figures.iter().find(|(_, before, now)| now < before) {
        Some((name, ..)) => scene.reject_or_flag(3704, format!("{name} is below that of {reference}")),
        None => Ok(()),
    }
}

fn series(stated: &Disclosure) -> Key {
    key::code(SERIES, &format!("{}.{}", stated.programme.key_part(), stated.from_day))
}

fn earlier(scene: &mut Scene<'_>, stated: &Disclosure) -> Verdict<Option<(Ref, Disclosure)>> {
    let Some(reference) = scene.draft.get::<Ref>(&series(stated))? else { return Ok(None) };
    match scene.object(&reference)? {
        Some(Object::Disclosure(disclosure)) => Ok(Some((reference, disclosure))),
        _ => Err(StateFault::Invariant("a series of disclosures ends in none").into()),
    }
}

fn publish(scene: &mut Scene<'_>) -> Verdict {
    let stated = stated(scene)?;
    if earlier(scene, &stated)?.is_none_or(|(_, earlier)| earlier.to_day <= stated.to_day) {
        let own = scene.record.reference.clone();
        scene.draft.put(series(&stated), &own)?;
    }
    scene.create(Object::Disclosure(stated));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::rounded;
    use crate::codec::Value;
    use crate::records::fund::tests::{confirmation, funded, payment, uint};
    use crate::records::testing::{Stage, hash, text, to};

    type Fields = Vec<(&'static str, Value)>;

    /// 4,000 paid on 2026-06-01 and 500 on the next day.
    fn paid() -> Stage {
        let mut stage = funded();
        pay(&mut stage, "1", 4_000);
        stage.pass_days(1);
        pay(&mut stage, "2", 500);
        stage
    }

    fn pay(stage: &mut Stage, number: &str, minor: u64) {
        let id = format!("PAY-{number}");
        stage.apply("civil/1", "payment_request", &id, payment("G", 1, minor));
        assert_eq!(stage.approve("finance/1", &format!("civil/{id}")).outcome, 0);
        let (id, bank_ref) = (format!("PC-{number}"), format!("B-{number}"));
        stage.apply("bank/1", "payment_confirm", &id, confirmation(&format!("civil/PAY-{number}"), &bank_ref));
    }

    fn published(days: [&str; 2], paid: u64, count: u64, precision: u64) -> Fields {
        let [from, to_day] = days;
        vec![
            ("programme", to("civil/P")),
            ("from_day", text(from)),
            ("to_day", text(to_day)),
            ("income", uint(0)),
            ("paid", uint(paid)),
            ("count", uint(count)),
            ("precision", uint(precision)),
        ]
    }

    const FIRST: [&str; 2] = ["2026-06-01", "2026-06-01"];
    const BOTH: [&str; 2] = ["2026-06-01", "2026-06-02"];

    #[test]
    fn what_is_published_equals_the_counters_to_its_precision_3703() {
        let mut stage = paid();
        stage.apply("civil/1", "disclosure", "D-1", published(FIRST, 4_000, 1, 1));
        stage.apply("civil/1", "disclosure", "D-2", published(BOTH, 4_500, 2, 1));
        stage.expect(3703, "civil/1", "disclosure", "D-3", published(BOTH, 4_499, 2, 1));
        stage.expect(3703, "civil/1", "disclosure", "D-4", published(BOTH, 4_500, 1, 1));
        stage.apply("civil/1", "disclosure", "D-5", published(BOTH, 5_000, 2, 1_000));
        stage.expect(3703, "civil/1", "disclosure", "D-6", published(BOTH, 4_000, 2, 1_000));
        stage.expect(3703, "civil/1", "disclosure", "D-7", published(["2026-06-02", "2026-06-01"], 0, 0, 1));
        stage.expect(3703, "civil/1", "disclosure", "D-8", published(["1900-01-01", "2026-06-02"], 4_500, 2, 1));
        stage.expect(3003, "redcross/1", "disclosure", "D-9", published(FIRST, 4_000, 1, 1));
    }

    #[test]
    fn nothing_is_published_of_days_to_come_3703() {
        let mut stage = paid();
        let ahead = published(["2026-06-01", "2026-06-03"], 4_500, 2, 1);
        stage.expect(3703, "civil/1", "disclosure", "D-1", ahead.clone());
        stage.pass_days(1);
        stage.apply("civil/1", "disclosure", "D-2", ahead);
    }

    #[test]
    fn halves_are_rounded_up() {
        assert_eq!(rounded(6_341_392_632, 10_000), Some(6_341_390_000));
        assert_eq!(rounded(15, 10), Some(20));
        assert_eq!(rounded(14, 10), Some(10));
        assert_eq!(rounded(7, 1), Some(7));
        assert_eq!(rounded(u64::MAX - 1, 2), Some(u64::MAX - 1));
        assert_eq!(rounded(u64::MAX, 2), None);
    }

    #[test]
    fn a_figure_is_the_rounded_counter_itself_and_no_precision_hides_it_3703() {
        let mut stage = paid();
        stage.expect(3703, "civil/1", "disclosure", "D-1", published(BOTH, 4_999, 2, 1_000));
        stage.expect(3703, "civil/1", "disclosure", "D-2", published(BOTH, 4_500, 2, 1_000));
        stage.expect(3703, "civil/1", "disclosure", "D-3", published(BOTH, 0, 2, 1_000_001));
        stage.apply("civil/1", "disclosure", "D-4", published(BOTH, 0, 2, 1_000_000));
    }

    #[test]
    fn a_figure_may_be_off_by_the_agreed_tolerance_3703() {
        let mut stage = paid();
        stage.expect(3703, "civil/1", "disclosure", "D-1", published(BOTH, 4_502, 2, 1));
        stage.agree_on("rounding_tolerance", 2);
        stage.apply("civil/1", "disclosure", "D-2", published(BOTH, 4_498, 2, 1));
        stage.apply("civil/1", "disclosure", "D-3", published(BOTH, 4_502, 2, 1));
        stage.expect(3703, "civil/1", "disclosure", "D-4", published(BOTH, 4_503, 2, 1));
        stage.expect(3703, "civil/1", "disclosure", "D-5", published(BOTH, 4_497, 2, 1));
        stage.expect(3703, "civil/1", "disclosure", "D-6", published(BOTH, 4_500, 1, 1));
    }

    #[test]
    fn figures_of_another_precision_fall_only_where_they_must_have_3704() {
        let mut stage = paid();
        stage.apply("civil/1", "disclosure", "D-1", published(BOTH, 5_000, 2, 1_000));
        stage.apply("civil/1", "disclosure", "D-2", published(BOTH, 4_500, 2, 10));
    }

    /// An open historical import with a programme `archive/P` and 10,000 appropriated on 2025-06-01.
    fn imported() -> Stage {
        let mut stage = Stage::found();
        let batch = vec![
            ("source", text("old books")),
            ("rows_root", hash(1)),
            ("licence", text("OGL")),
            ("format", text("payments")),
            ("strict", Value::Bool(false)),
            ("period_end", text("2025-12-31")),
        ];
        stage.apply_with(["archive/1", "super/1"], "import_open", "IN", batch);
        let mut programme = crate::records::fund::tests::programme_fields("CNY");
        programme[0] = ("mode", text("historical"));
        programme[3] = ("years", Value::Array(vec![uint(2025)]));
        stage.apply("archive/1", "programme_open", "P", historical(programme));
        for (id, kind) in [("SOU", "SOURCE"), ("APP", "APPROPRIATION")] {
            let account = vec![
                ("account_kind", text(kind)),
                ("programme", to("archive/P")),
                ("agency", text("civil")),
                ("year", uint(2025)),
            ];
            stage.apply("archive/1", "account_open", id, historical(account));
        }
        let appropriation = vec![
            ("amount", uint(10_000)),
            ("from", to("archive/SOU")),
            ("to", to("archive/APP")),
            ("legal_ref", text("budget 2025")),
        ];
        stage.apply("archive/1", "appropriate", "AP", historical(appropriation));
        stage
    }

    fn historical(fields: Fields) -> Fields {
        let common = vec![("import", to("archive/IN")), ("effective_date", text("2025-06-01"))];
        fields.into_iter().chain(common).collect()
    }

    fn published_in_history(to_day: &str, paid: u64) -> Fields {
        let mut fields = published(["2025-06-01", to_day], paid, 0, 1);
        fields[0] = ("programme", to("archive/P"));
        historical(fields)
    }

    #[test]
    fn a_cumulative_figure_does_not_fall_unless_corrected_3704() {
        let mut stage = imported();
        let flags = |stage: &mut Stage, id, fields| stage.apply("archive/1", "disclosure", id, fields).flags;
        assert_eq!(flags(&mut stage, "D-1", published_in_history("2025-06-02", 100)), [3703]);
        assert_eq!(flags(&mut stage, "D-2", published_in_history("2025-06-03", 90)), [3703, 3704]);
        assert_eq!(flags(&mut stage, "D-3", published_in_history("2025-06-01", 80)), [3703], "an earlier day");
        let fix = vec![("record", to("archive/D-2")), ("fields", hash(1)), ("reason", text("misprint"))];
        stage.apply_with(["archive/1", "super/1"], "correct", "FIX", fix);
        assert_eq!(flags(&mut stage, "D-4", published_in_history("2025-06-04", 0)), [0u16; 0]);
    }

    #[test]
    fn an_import_closes_with_the_money_that_it_posted_3710() {
        let mut stage = imported();
        let closing = |minor: u64| {
            let total = Value::text_map([("currency", text("CNY")), ("amount", uint(minor))]);
            vec![("import_open", to("archive/IN")), ("counts", uint(4)), ("totals", Value::Array(vec![total]))]
        };
        stage.expect(3710, "archive/1", "import_close", "END", closing(10_001));
        stage.apply("archive/1", "import_close", "END-2", closing(10_000));
    }
}
