//! Audits in words, in lines of at most 80 columns; amounts, days and times as the network has them.

use std::collections::BTreeMap;

use mingzhang_genesis::Genesis;
use mingzhang_ledger::header::Header;
use mingzhang_ledger::outcome::{Code, catalogue};
use mingzhang_ledger::proof::{SubjectKind, Trail};
use mingzhang_ledger::records::body::Mentions;
use mingzhang_ledger::records::fund::shown::money_text;
use mingzhang_ledger::records::record_type;
use mingzhang_ledger::state::key::id_text;
use mingzhang_ledger::transaction::{Payload, Transaction};
use serde_json::Value;

use super::judge::{Judged, currency_of, mode};
use super::nodes::Agreement;
use crate::command::tx::local_time;
use crate::output::{Language, wrap};

/// Columns of a record's name and of its amount in a line of a trail; a long amount takes from the name.
const RECORD_COLUMNS: usize = 19;
const MONEY_COLUMNS: usize = 18;
const LEAST_RECORD_COLUMNS: usize = 9;
/// Hex digits of a key's id that a line shows.
const KEY_DIGITS: usize = 8;
/// Records that are named for each code of a finding; `--json` has all.
const NAMED_RECORDS: usize = 20;
/// Columns of a record's name among those of a finding.
const NAME_COLUMNS: usize = 24;

/// What an audit is about, and as of which sealed block.
pub fn head(kind: SubjectKind, id: &str, (genesis, at): (&Genesis, &Header), language: Language) -> String {
    let kind = language.pick(kind_zh(kind), kind.name());
    let time = local_time(genesis, at.time_ms);
    format!("{kind} {id}\n  {} {}  {time}\n", language.pick("截至高度", "as of height"), at.height)
}

fn kind_zh(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Programme => "资金项目",
        SubjectKind::Account => "账户",
        SubjectKind::Case => "审批事项",
        SubjectKind::Tender => "招标项目",
        SubjectKind::Dataset => "数据集",
        SubjectKind::Recipient => "领取人",
        SubjectKind::Officer => "经办人",
        SubjectKind::Registry => "登记",
        SubjectKind::Findings => "审计发现",
    }
}

/// That records were imported, wherever they are shown.
pub fn mode_line(mode: Option<&str>, language: Language) -> String {
    let words = match mode {
        Some("historical") => {
            language.pick("历史资料导入(historical),并非现行业务", "historical: imported records, not live business")
        }
        Some("strict") => language.pick(
            "历史资料严格导入(historical, strict),并非现行业务",
            "historical, strict: imported and judged by the live rules, not live business",
        ),
        _ => return String::new(),
    };
    format!("  {words}\n")
}

/// A programme's figures, whether they balance, and what was found.
pub fn programme(head: &str, judged: &Judged, findings: &[Value], agreement: &Agreement, language: Language) -> String {
    let (Some(money), Some(proven)) = (&judged.money, &judged.proven) else { return String::new() };
    let pick = |chinese, english| language.pick(chinese, english);
    let f = &money.figures;
    let mut text = format!("{head}{}", mode_line(mode(judged), language));
    let rows = [
        (pick("预算安排", "appropriated"), f.appropriated),
        (pick("收入", "income"), f.income),
        (pick("可用", "available"), f.available),
        (pick("已承诺", "committed"), f.committed),
        (pick("在途", "in flight"), f.in_flight),
        (pick("已支付", "settled"), f.settled),
        (pick("已退回", "returned"), f.returned),
        (pick("退回待处置", "returned held"), f.returned_held),
        (pick("结转", "carried"), f.carried),
        (pick("注销", "lapsed"), f.lapsed),
    ];
    for (name, minor) in rows {
        text.push_str(&format!("  {:>26}  {name}\n", money_text(minor, money.fold.currency())));
    }
    let sealed = &proven.header.sealed;
    text.push_str(&format!(
        "  {} ✔  {} {}  {} {}  {} {}\n{}  {}  {} {}/{}  {} {}/{}",
        pick("账账相符", "balanced"),
        pick("记录", "records"),
        money.fold.records(),
        pick("被驳回", "rejected attempts"),
        money.fold.rejected(),
        pick("标记", "findings"),
        findings.len(),
        found(findings, language),
        pick("轨迹完整,已核验", "complete trail, verified"),
        pick("封签", "seals"),
        sealed.seals.len(),
        sealed.quorum,
        pick("一致/询问的节点", "nodes agreeing/asked"),
        agreement.agreeing,
        agreement.asked(),
    ));
    text
}

/// Findings by code, with title and records.
fn found(findings: &[Value], language: Language) -> String {
    let mut by_code: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for finding in findings {
        by_code.entry(finding["rule"].as_str().unwrap_or("")).or_default().push(finding);
    }
    let mut text = String::new();
    for (code, findings) in by_code {
        let title = findings.first().and_then(|finding| finding["title"].as_str()).unwrap_or("");
        text.push_str(&wrap(&format!("{code} ×{} {title}", findings.len()), 4));
        let name = |finding: &&Value| fit(finding["record"].as_str().unwrap_or(""), NAME_COLUMNS);
        let mut names: Vec<String> = findings.iter().take(NAMED_RECORDS).map(name).collect();
        if let Some(more) = findings.len().checked_sub(NAMED_RECORDS).filter(|more| *more > 0) {
            names.push(match language {
                Language::Chinese => format!("…另有 {more} 条(--json 全部列出)"),
                Language::English => format!("… and {more} more (--json lists all)"),
            });
        }
        text.push_str(&format!("\n{}\n", wrap(&names.join(" "), 6)));
    }
    text
}

/// What a verified bundle is about.
pub fn verified(
    genesis: &Genesis,
    judged: &Judged,
    trail: Option<&Trail>,
    findings: &[Value],
    language: Language,
) -> String {
    let pick = |chinese, english| language.pick(chinese, english);
    let mut text = String::new();
    if let (Some(trail), Some(proven)) = (trail, &judged.proven) {
        text.push_str(&format!("  {}", head(trail.kind, &trail.id, (genesis, &proven.header.header), language)));
        text.push_str(&mode_line(mode(judged), language));
        text.push_str(&format!("  {} {}", pick("记录", "records"), trail.entries.len()));
        if let Some(money) = &judged.money {
            let sound = if money.balanced { "✔" } else { "✗" };
            let (conserved, flags) = (pick("账账相符", "money conserved"), pick("标记", "findings"));
            text.push_str(&format!("  {conserved} {sound}  {flags} {}", findings.len()));
        }
        text.push('\n');
    }
    text.push_str(&format!("  {} {}\n", pick("创世", "genesis"), hex::encode(genesis.hash)));
    text
}

/// The lines of a trail, under the day of their blocks.
pub struct Lines<'a> {
    genesis: &'a Genesis,
    language: Language,
    day: String,
    lines: Vec<String>,
}

impl<'a> Lines<'a> {
    pub fn new(genesis: &'a Genesis, language: Language) -> Self {
        Self { genesis, language, day: String::new(), lines: Vec::new() }
    }

    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The founding document, which is no record and has no time.
    pub fn founding(&mut self) {
        self.lines.push(format!("{:>7} ✓ {:<5} {:<16} {}", 0, "-", "genesis", fit(&self.genesis.origin, 47)));
    }

    /// Index, time, type, record, amount, key; why it was rejected below.
    pub fn record(
        &mut self,
        (index, time_ms): (u64, u64),
        (outcome, signed): (u16, &Transaction),
        currency: Option<&str>,
    ) {
        let time = local_time(self.genesis, time_ms);
        let (day, clock) = time.split_once('T').unwrap_or((&time, ""));
        let offset = clock.rfind(['+', '-']).and_then(|at| clock.get(at..)).unwrap_or("");
        let day = format!("{day} {offset}");
        if day != self.day {
            self.lines.push(day.clone());
            self.day = day;
        }
        let mark = if outcome == 0 { "✓" } else { "✗" };
        let key: String = hex::encode(signed.key_id()).chars().take(KEY_DIGITS).collect();
        let rest = columns(signed.payload(), currency);
        let minute = clock.get(..5).unwrap_or(clock);
        self.lines.push(format!("{index:>7} {mark} {minute} {rest} {key}"));
        if outcome != 0 {
            let title = catalogue().get(&Code(outcome)).map_or("", |entry| match self.language {
                Language::Chinese => &entry.zh.title,
                Language::English => &entry.en.title,
            });
            self.lines.push(wrap(format!("{} {title}", Code(outcome)).trim_end(), 16));
        }
    }
}

/// Type, record and amount in 54 columns or, for enormous amounts only, more.
fn columns(payload: &Payload, currency: Option<&str>) -> String {
    let money = amount(payload, currency).unwrap_or_default();
    let wide = money.chars().count().saturating_sub(MONEY_COLUMNS);
    let room = RECORD_COLUMNS.saturating_sub(wide).max(LEAST_RECORD_COLUMNS);
    let record = fit(&format!("{}/{}", payload.agency, id_text(&payload.record_id)), room);
    format!("{:<16} {record:<room$} {money:>MONEY_COLUMNS$}", payload.record_type)
}

/// What a record says it moves; minor units where no currency is known.
fn amount(payload: &Payload, currency: Option<&str>) -> Option<String> {
    let minor = Mentions::of(record_type(&payload.record_type)?, &payload.body).amount_minor;
    let text = |currency: String| money_text(minor, &currency);
    (minor != 0).then(|| currency_of(payload, currency).map_or_else(|| minor.to_string(), text))
}

/// A name in at most so many columns, its middle left out.
fn fit(text: &str, columns: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= columns {
        return text.to_owned();
    }
    let tail = columns.saturating_sub(1) / 3;
    let head = columns.saturating_sub(1).saturating_sub(tail);
    let end = chars.iter().skip(chars.len().saturating_sub(tail));
    chars.iter().take(head).chain(&['…']).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::codec::Value as Cbor;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_of_a_trail_shows_the_amount_in_80_columns() {
        let payload = |id: [u8; 16], minor: u64| Payload {
            origin: "demo".into(),
            record_type: "appropriate".into(),
            record_id: id,
            agency: "finance".into(),
            expires_at: 1,
            body: Cbor::text_map([("amount", Cbor::Uint(minor))]),
        };
        let beside = "    181 ✓ 12:51 ".chars().count() + " 0123abcd".len();
        for minor in [1, 2_110_000_000, 1_234_567_890_123_456] {
            let text = columns(&payload([7; 16], minor), Some("CNY"));
            assert!(text.contains(&money_text(minor, "CNY")), "{text}");
            assert!(beside + text.chars().count() <= 80, "{text}");
        }
    }

    #[test]
    fn findings_are_listed_by_code_with_their_records() {
        let finding = |code: &str, record: String| json!({ "rule": code, "title": "Why", "record": record });
        let mut all: Vec<Value> = (0..30).map(|at| finding("MZ-3201", format!("civil/{:032x}", at))).collect();
        all.push(finding("MZ-3911", "civil/P-1".into()));
        let text = found(&all, Language::English);
        for words in ["MZ-3201 ×30 Why\n", "and 10 more", "MZ-3911 ×1 Why\n      civil/P-1\n"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn a_name_keeps_both_its_ends() {
        assert_eq!(fit("civil/P-1", 9), "civil/P-1");
        assert_eq!(fit("civil/0123456789", 10), "civil/…789");
    }
}
