//! The sentences beside a code, and what the parser of a command line prints, in Chinese. Rules, commands and nodes write
//! them once, in English, with the values that disagree; the ledger's own are stored for readers of either language. A
//! sentence is known by its form, in phrases.toml.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::layout::hang;

/// Longest text whose sentences are looked for.
const LONGEST_TEXT_BYTES: usize = 2_000;
/// Pieces of forms that are tried on one text: a text made for it almost fits in more ways than anybody could wait for.
const MOST_TRIES: u32 = 200_000;

/// What stands after a sentence, and how Chinese has it.
const ENDS: [(&str, &str); 3] = [("\n", "\n"), ("; ", "; "), (": ", ": ")];

/// A form of sentences: the texts between its gaps.
#[derive(Debug)]
struct Form {
    pieces: Vec<Piece>,
    chinese: String,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Gap(Gap),
}

/// What stands in a gap. Whatever is no sentence of ours stays as it is, though it be a word of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// A value, which goes no further than its sentence.
    Value,
    /// A value without spaces.
    Word,
    /// A value between quotation marks of this kind.
    Quoted(char),
    /// Sentences of ours, which have their own forms.
    Sentence,
}

impl Gap {
    fn holds(self, value: &str) -> bool {
        match self {
            Self::Value => !ENDS.iter().any(|(end, _)| value.contains(end)),
            Self::Word => !value.contains(char::is_whitespace),
            Self::Quoted(mark) => !value.contains(mark),
            Self::Sentence => true,
        }
    }
}

/// Sentences in both languages.
#[derive(Debug)]
pub struct Phrases {
    /// The most definite first.
    forms: Vec<Form>,
    exact: BTreeMap<String, String>,
}

impl Phrases {
    /// From a table of English and Chinese: `{}` stands for a value, `{w}` for one without spaces, `{s}` for other sentences;
    /// in the Chinese, `{0}` is the first of them.
    pub fn read(table: &str) -> Self {
        let all: BTreeMap<String, String> = toml::from_str(table).unwrap_or_default();
        let (with_gaps, exact): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.into_iter().partition(|(english, _)| english.contains('{'));
        let mut forms: Vec<Form> =
            with_gaps.into_iter().map(|(english, chinese)| Form { pieces: pieces(&english), chinese }).collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.weight()));
        Self { forms, exact }
    }

    /// A text in Chinese, as far as its sentences are known; what is not known stays as it is. So does what is longer than
    /// any sentence of ours, or takes more tries: it may come from a node, and forms are tried at every place.
    pub fn chinese(&self, text: &str) -> String {
        let tries = Cell::new(MOST_TRIES);
        let chinese = if text.len() > LONGEST_TEXT_BYTES { None } else { Some(self.of(text, &tries)) };
        chinese.filter(|_| tries.get() > 0).unwrap_or_else(|| text.to_owned())
    }

    fn of(&self, text: &str, tries: &Cell<u32>) -> String {
        if let Some(whole) = self.whole(text, tries) {
            return whole;
        }
        // A code, a file or a field goes before sentences that belong together.
        let is_name = |name: &str| !name.contains(|letter: char| letter.is_whitespace() || letter == '"');
        if let Some((name, rest)) = text.split_once(": ").filter(|(name, _)| is_name(name)) {
            return format!("{}: {}", self.of(name, tries), self.of(rest, tries));
        }
        for (separator, joint) in ENDS.into_iter().chain([(", ", ", ")]) {
            if let Some((head, rest)) = split_outside_quotes(text, separator) {
                return format!("{}{joint}{}", self.of(head, tries), self.of(rest, tries));
            }
        }
        text.to_owned()
    }

    /// The Chinese of exactly this text.
    pub fn exact(&self, text: &str) -> Option<&str> {
        self.exact.get(text).map(String::as_str)
    }

    fn whole(&self, text: &str, tries: &Cell<u32>) -> Option<String> {
        if let Some(chinese) = self.exact(text) {
            return Some(chinese.to_owned());
        }
        self.forms.iter().find_map(|form| {
            let values = fit(&form.pieces, text, tries)?;
            let values = values.into_iter().map(|(gap, value)| match gap {
                Gap::Sentence => self.of(value, tries),
                Gap::Value | Gap::Word | Gap::Quoted(_) => value.to_owned(),
            });
            Some(filled(&form.chinese, &values.collect::<Vec<_>>()))
        })
    }
}

/// At the first separator that is no part of a value in quotation marks, which end with the line.
fn split_outside_quotes<'t>(text: &'t str, separator: &str) -> Option<(&'t str, &'t str)> {
    if separator == "\n" {
        return text.split_once(separator);
    }
    let (at, _) = text.match_indices(separator).find(|(at, _)| {
        let marks = text.get(..*at).unwrap_or_default().bytes().filter(|byte| *byte == b'"').count();
        marks.is_multiple_of(2)
    })?;
    Some((text.get(..at)?, text.get(at.saturating_add(separator.len())..)?))
}

/// The Chinese with its values, in one pass: what a value says is never filled again.
fn filled(chinese: &str, values: &[String]) -> String {
    let mut parts = chinese.split('{');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let gap =
            part.split_once('}').and_then(|(number, after)| Some((values.get(number.parse::<usize>().ok()?)?, after)));
        match gap {
            Some((value, after)) => text.extend([value.as_str(), after]),
            None => text.extend(["{", part]),
        }
    }
    text
}

impl Form {
    /// Letters that are given, then single words: a form that says more is tried before one that says less.
    fn weight(&self) -> (usize, usize) {
        let letters = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Gap(_) => 0,
        });
        let words = self.pieces.iter().filter(|piece| matches!(piece, Piece::Gap(Gap::Word))).count();
        (letters.sum(), words)
    }
}

fn pieces(english: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = english;
    while let Some((text, tail)) = rest.split_once('{') {
        let (name, after) = tail.split_once('}').unwrap_or((tail, ""));
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let marks = ['"', '\''].into_iter().find(|mark| text.ends_with(*mark) && after.starts_with(*mark));
        pieces.push(Piece::Gap(match (name, marks) {
            ("w", _) => Gap::Word,
            ("s", _) => Gap::Sentence,
            (_, Some(mark)) => Gap::Quoted(mark),
            (_, None) => Gap::Value,
        }));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    pieces
}

/// What stands in the gaps, if the text has this form.
fn fit<'t>(pieces: &[Piece], text: &'t str, tries: &Cell<u32>) -> Option<Vec<(Gap, &'t str)>> {
    tries.set(tries.get().saturating_sub(1));
    if tries.get() == 0 {
        return None;
    }
    let Some((first, others)) = pieces.split_first() else { return text.is_empty().then(Vec::new) };
    match first {
        Piece::Text(wanted) => fit(others, text.strip_prefix(wanted.as_str())?, tries),
        Piece::Gap(gap) => {
            let ends: Vec<usize> = match others.first() {
                None => vec![text.len()],
                Some(Piece::Text(next)) => text.match_indices(next.as_str()).map(|(at, _)| at).collect(),
                Some(Piece::Gap(_)) => text.char_indices().map(|(at, _)| at).collect(),
            };
            ends.into_iter().find_map(|end| {
                let (value, rest) = text.split_at_checked(end)?;
                if !gap.holds(value) {
                    return None;
                }
                let mut values = fit(others, rest, tries)?;
                values.insert(0, (*gap, value));
                Some(values)
            })
        }
    }
}

/// The Chinese of a detail as this product writes it.
pub fn chinese(detail: &str) -> String {
    static PHRASES: OnceLock<Phrases> = OnceLock::new();
    PHRASES.get_or_init(|| Phrases::read(include_str!("../phrases.toml"))).chinese(detail)
}

/// The half of a text for its reader, where the English stands first and the Chinese after it.
pub fn half(text: &str, is_chinese: bool) -> &str {
    let is_han = |letter: char| ('\u{4e00}'..='\u{9fff}').contains(&letter);
    match text.find(is_han).and_then(|at| text.split_at_checked(at)) {
        Some((english, _)) if !is_chinese && !english.trim().is_empty() => english.trim_end(),
        Some((_, chinese)) if is_chinese => chinese,
        _ => text,
    }
}

/// Words of the parser amid its lines.
const PARSERS_WORDS: [(&str, &str); 11] = [
    ("[OPTIONS]", "[选项]"),
    ("[COMMAND]", "[命令]"),
    ("<COMMAND>", "<命令>"),
    ("[default: ", "[默认: "),
    ("[possible values: ", "[可选: "),
    ("[subcommands: ", "[命令: "),
    ("Print this message or the help of the given subcommand(s)", "显示本帮助或某个命令的帮助"),
    ("Print help (see more with '--help')", "显示帮助(--help 更详细)"),
    ("Print help (see a summary with '-h')", "显示帮助(-h 为摘要)"),
    ("Print help", "显示帮助"),
    ("Print version", "显示版本"),
];

/// What the parser of a command line prints, help or refusal, in Chinese and in lines of at most 80 columns.
pub fn of_parser(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = PARSERS_WORDS.iter().fold(line.to_owned(), |line, (english, own)| line.replace(english, own));
        let words = line.trim_start();
        let indent = line.len().saturating_sub(words.len());
        // A column of names, and what they are.
        let told = match words.rfind("  ").and_then(|gap| words.split_at_checked(gap)) {
            Some((names, text)) => format!("{names}  {}", chinese(text.trim_start())),
            None => chinese(words),
        };
        hang(&format!("{:indent$}{told}", ""))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_known_by_its_form() {
        let phrases = Phrases::read(
            r#"
            "account {}: available {}, asked {}" = "账户 {0}:可用 {1},申请 {2}"
            "{s} is closed" = "{0} 已关闭"
            "{w} of {w}" = "{1} 的 {0}"
            "no \"{}\" here: {s}" = "无「{0}」:{1}"
            "programme {w}" = "资金项目 {0}"
            "nothing was sent" = "未发送任何内容"
            "#,
        );
        for (english, chinese) in [
            ("account finance/A: available 1.00, asked 2.00", "账户 finance/A:可用 1.00,申请 2.00"),
            ("programme civil/AID is closed", "资金项目 civil/AID 已关闭"),
            ("file.csv: nothing was sent", "file.csv: 未发送任何内容"),
            ("programme a is closed; nothing was sent", "资金项目 a 已关闭; 未发送任何内容"),
            ("admin of civil", "civil 的 admin"),
            ("account {2}: available {0}, asked x", "账户 {2}:可用 {0},申请 x"),
            // Whatever a value says, it stays; a sentence within another does not, nor does one beside it.
            ("account nothing was sent: available b, asked c", "账户 nothing was sent:可用 b,申请 c"),
            (
                "no \"nothing was sent; a is closed\" here: nothing was sent",
                "无「nothing was sent; a is closed」:未发送任何内容",
            ),
            ("\"x: nothing was sent\" is what: nothing was sent", "\"x: nothing was sent\" is what: 未发送任何内容"),
            ("nothing is lost; b is closed", "nothing is lost; b 已关闭"),
            ("one word of another kind", "one word of another kind"),
            ("", ""),
        ] {
            assert_eq!(phrases.chinese(english), chinese);
        }
    }

    #[test]
    fn frequent_faults_are_read_as_they_are_meant() {
        for (english, told) in [
            ("\"root\" is missing", "缺少字段 root"),
            ("\"kin\" is not a field of this record", "本记录没有字段 kin"),
            (
                "\"amount\" \"1,000\" is not an amount (digits, at most 2 decimals)",
                "字段 amount:\"1,000\" 不是金额(数字,最多 2 位小数)",
            ),
            ("\"mode\" {\"text\":1} is not text", "字段 mode:{\"text\":1} 不是文字"),
            ("\"years\" 7 is not a list", "字段 years:7 不是列表"),
            ("\"ture\" is not true or false", "「ture」不是 true 或 false"),
            ("mode: \"text\" is none of live, historical", "mode:「text」不在可选值之内:live, historical"),
            ("mode: \"{2}\" is none of live, historical", "mode:「{2}」不在可选值之内:live, historical"),
            ("title: text", "title:应为文字"),
            ("text: No such file or directory", "text: 没有这个文件或目录"),
            ("size 12, kept is 14", "规模 12,留存的为 14"),
            ("size is 12, wanted 14", "size 为 12,应为 14"),
            ("transaction ab is not final here; this node follows", "交易 ab 在本节点尚未最终确认; this node follows"),
            ("civil/A: civil/A is no programme", "civil/A: civil/A 不是 programme"),
            ("wants reviewer or approver; in force: ", "须具有角色 reviewer 或 approver;现行有效的角色:无"),
            ("wants owner; in force: admin, window", "须具有角色 owner;现行有效的角色为 admin, window"),
            ("wants finance of finance or bank of bank", "须由 finance 的 finance 或 bank 的 bank 批准"),
            (
                "civil approves nothing here; wanted: finance of market",
                "civil 无权批准本记录;应由 market 批准(角色 finance)",
            ),
            (
                "civil approves nothing here; wanted: supervisor of another agency",
                "civil 无权批准本记录;应由另一单位批准(角色 supervisor)",
            ),
            ("from: finance/A waits for approval by finance (finance)", "from: finance/A 尚待 finance (finance) 批准"),
            ("civil/A waits for approval by another agency (admin)", "civil/A 尚待 另一单位(admin) 批准"),
            ("civil/A waits for approval by a (finance) and b (finance)", "civil/A 尚待 a(finance)和 b(finance) 批准"),
            ("civil/A is taken by another record: signing key differs", "编号 civil/A 已属于另一条记录:签名密钥 不同"),
            ("civil/A is taken by another record: text differs", "编号 civil/A 已属于另一条记录:text 不同"),
            (
                "context text: x.toml: not JSON: expected value at line 1 column 2",
                "环境 text: x.toml: 不是 JSON: 第 1 行第 2 列: 此处应有值",
            ),
            (
                "case a/b is filed; case_decided does not follow from there",
                "事项 a/b 的状态为 filed; 不能从该状态办理 case_decided",
            ),
            (
                "m.toml: invalid type: integer `5`, expected a string; nothing was sent",
                "m.toml: 类型不对,为整数 `5`,应为 文字;未发送任何内容",
            ),
            ("invalid type: map, expected a string at line 1 column 3", "第 1 行第 3 列: 类型不对,为对象,应为 文字"),
            (
                "x: failed to lookup address information: Name or service not known",
                "x: 无法查到主机的地址: 没有此主机名",
            ),
            (
                "m.toml: TOML parse error at line 1, column 7\n1 | a = \"b\ninvalid basic string, expected `\"`",
                "m.toml: TOML 第 1 行第 7 列写法不对\n1 | a = \"b\n文字写法不对,缺少引号",
            ),
            (
                "MZ-5013: this node's clock is behind: the last proposals of a, b lay 9 ms and more in its future; its own \
                 turns are passed until its time source is set right",
                "MZ-5013: 本节点时钟偏慢:a, b 最近的提议比本机快 9 毫秒以上;校准时间源之前,本节点不提议",
            ),
            (
                "MZ-1014: 4.9 % (49 MiB) of the disk are free: new records are refused here; below 2.0 % the node stops: make room now",
                "MZ-1014: 磁盘剩余 4.9 % (49 MiB): 本节点拒收新记录; 低于 2.0 % 节点停止: 请立即腾出空间",
            ),
            ("civil is halted", "civil 的状态为 halted"),
            ("part 3 of 4", "part 3 of 4"),
        ] {
            assert_eq!(chinese(english), told, "{english}");
        }
    }

    #[test]
    fn a_text_that_almost_fits_everywhere_comes_to_an_end() {
        for piece in [", ", ": ", "a, a ", "x: value x, paid and reserved ", "account : available , asked ", "is "] {
            let text = piece.repeat(LONGEST_TEXT_BYTES / piece.len());
            assert!(chinese(&text).len() > 1_000, "{piece:?}");
        }
        let mixed = format!("x{}{}{}", ": ".repeat(300), " is ".repeat(150), ", allowed are ".repeat(50));
        assert_eq!(chinese(&mixed), mixed, "whatever takes more tries stays as it is");
        let long = "programme a is closed".repeat(100);
        assert_eq!(chinese(&long), long);
    }

    #[test]
    fn the_parser_speaks_chinese() {
        let told = of_parser(
            "error: unexpected argument '--foo' found\n\n  tip: a similar argument exists: '--for'\n\nUsage: mingzhang tx [OPTIONS]\n",
        );
        assert_eq!(told, "错误: 不认识的参数「--foo」\n\n  提示: 有相近的参数「--for」\n\n用法: mingzhang tx [选项]");
        assert_eq!(half("Run the node 运行节点", true), "运行节点");
        assert_eq!(half("Run the node 运行节点", false), "Run the node");
        assert_eq!(half("Run the node", true), "Run the node");
    }

    #[test]
    fn every_phrase_keeps_its_values_and_its_language() {
        let table: BTreeMap<String, String> =
            toml::from_str(include_str!("../phrases.toml")).expect("phrases.toml is a table");
        let han = |text: &str| text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
        let mut forms = std::collections::BTreeSet::new();
        for (english, chinese) in &table {
            assert!(!han(english) && han(chinese), "{english} = {chinese}");
            // The same words twice, with gaps of two kinds: one of them would never be met.
            assert!(forms.insert(english.replace("{s}", "{}").replace("{w}", "{}")), "{english}");
            let gaps = english.matches('{').count();
            let missing: Vec<usize> = (0..gaps).filter(|gap| !chinese.contains(&format!("{{{gap}}}"))).collect();
            assert!(missing.is_empty() && chinese.matches('{').count() == gaps, "{english} = {chinese}");
        }
    }
}
