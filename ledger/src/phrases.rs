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

/// A form of sentences: the texts between its gaps.
#[derive(Debug)]
struct Form {
    pieces: Vec<Piece>,
    chinese: String,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    /// Anything, or a single word.
    Gap {
        is_word: bool,
    },
}

/// Sentences in both languages.
#[derive(Debug)]
pub struct Phrases {
    /// The most definite first.
    forms: Vec<Form>,
    exact: BTreeMap<String, String>,
}

impl Phrases {
    /// From a table of English and Chinese: `{}` stands for any text, `{w}` for one without spaces; in the Chinese, `{0}`
    /// is the first of them.
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
        for (separator, joint) in [("\n", "\n"), ("; ", "; "), (": ", ": "), (", ", ", ")] {
            if let Some((head, rest)) = text.split_once(separator) {
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
            let values: Vec<String> = values.into_iter().map(|value| self.of(value, tries)).collect();
            Some(filled(&form.chinese, &values))
        })
    }
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
            Piece::Gap { .. } => 0,
        });
        let words = self.pieces.iter().filter(|piece| matches!(piece, Piece::Gap { is_word: true })).count();
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
        pieces.push(Piece::Gap { is_word: name == "w" });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    pieces
}

/// What stands in the gaps, if the text has this form.
fn fit<'t>(pieces: &[Piece], text: &'t str, tries: &Cell<u32>) -> Option<Vec<&'t str>> {
    tries.set(tries.get().saturating_sub(1));
    if tries.get() == 0 {
        return None;
    }
    let Some((first, others)) = pieces.split_first() else { return text.is_empty().then(Vec::new) };
    match first {
        Piece::Text(wanted) => fit(others, text.strip_prefix(wanted.as_str())?, tries),
        Piece::Gap { is_word } => {
            let ends: Vec<usize> = match others.first() {
                None => vec![text.len()],
                Some(Piece::Text(next)) => text.match_indices(next.as_str()).map(|(at, _)| at).collect(),
                Some(Piece::Gap { .. }) => text.char_indices().map(|(at, _)| at).collect(),
            };
            ends.into_iter().find_map(|end| {
                let (value, rest) = text.split_at_checked(end)?;
                if *is_word && value.contains(char::is_whitespace) {
                    return None;
                }
                let mut values = fit(others, rest, tries)?;
                values.insert(0, value);
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
            "{} is closed" = "{0} 已关闭"
            "{w} of {w}" = "{1} 的 {0}"
            "programme {}" = "资金项目 {0}"
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
            ("one word of another kind", "one word of another kind"),
            ("", ""),
        ] {
            assert_eq!(phrases.chinese(english), chinese);
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
        for (english, chinese) in &table {
            assert!(!han(english) && han(chinese), "{english} = {chinese}");
            let gaps = english.matches('{').count();
            let missing: Vec<usize> = (0..gaps).filter(|gap| !chinese.contains(&format!("{{{gap}}}"))).collect();
            assert!(missing.is_empty() && chinese.matches('{').count() == gaps, "{english} = {chinese}");
        }
    }
}
