//! What people and scripts read: one JSON envelope, texts in two languages, exit codes. stdout carries the result and
//! nothing else; prose goes to stderr.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;

pub use mingzhang_ledger::layout::wrap;
use mingzhang_ledger::outcome::{Code, catalogue};
use mingzhang_ledger::phrases::chinese;
use serde_json::{Value, json};

const NODE_UNREACHABLE: Code = Code(2007);
const INPUT_UNREADABLE: Code = Code(2011);
const USAGE_WRONG: Code = Code(2012);
const INTERNAL_FAILURE: Code = Code(5024);
const FILE_NOT_WRITTEN: Code = Code(5025);

/// Exit statuses of both binaries.
pub mod exit {
    pub const DONE: u8 = 0;
    pub const BUG: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const REJECTED: u8 = 3;
    pub const NOT_PERMITTED: u8 = 4;
    pub const NOT_FOUND: u8 = 5;
    pub const NOT_YET_KNOWN: u8 = 6;
    pub const UNREACHABLE: u8 = 7;
    pub const FAILED: u8 = 8;
    pub const INCONCLUSIVE: u8 = 9;
    pub const PARTLY: u8 = 10;
    pub const INTERRUPTED: u8 = 130;
}

/// Language of texts, never of fields or codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Chinese,
    English,
}

impl Language {
    /// `zh*` is Chinese, all else English.
    pub fn of(tag: &str) -> Self {
        if tag.to_ascii_lowercase().starts_with("zh") { Self::Chinese } else { Self::English }
    }

    pub fn pick<'a>(self, chinese: &'a str, english: &'a str) -> &'a str {
        match self {
            Self::Chinese => chinese,
            Self::English => english,
        }
    }

    /// What stands beside a code, which rules and nodes write in English, for a person.
    pub fn detail(self, detail: &str) -> String {
        match self {
            Self::Chinese => chinese(detail),
            Self::English => detail.to_owned(),
        }
    }
}

/// What a command found.
#[derive(Debug)]
pub struct Answer {
    pub data: Value,
    /// For people, in their language.
    pub text: String,
    pub exit: u8,
    pub warnings: Vec<String>,
    /// A coded reason that goes with a non-zero exit, such as a rejection.
    pub reason: Option<(Code, String)>,
    /// Something is on the ledger: that stands, whether its answer can be printed or not.
    pub recorded: bool,
}

impl Answer {
    pub fn done(data: Value, text: impl Into<String>) -> Self {
        Self { data, text: text.into(), exit: exit::DONE, warnings: Vec::new(), reason: None, recorded: false }
    }

    pub fn with_exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }
}

/// Why a command gave no result.
#[derive(Debug)]
pub struct Failure {
    pub exit: u8,
    pub code: Option<Code>,
    pub detail: String,
    pub data: Value,
}

impl Failure {
    pub fn usage(detail: impl Into<String>) -> Self {
        Self::coded(USAGE_WRONG, detail)
    }

    /// A file of the caller's that cannot be read or is not of its form.
    pub fn unreadable(file: &Path, reason: impl Display) -> Self {
        Self::coded(INPUT_UNREADABLE, format!("{}: {}", file.display(), plain(reason)))
    }

    /// A file that could not be written.
    pub fn not_written(file: &Path, reason: impl Display) -> Self {
        Self::coded(FILE_NOT_WRITTEN, format!("{}: {}", file.display(), plain(reason)))
    }

    pub fn bug(detail: impl Into<String>) -> Self {
        Self::coded(INTERNAL_FAILURE, detail)
    }

    pub fn unreachable(detail: impl Into<String>) -> Self {
        Self::coded(NODE_UNREACHABLE, detail)
    }

    /// Exit status and texts come from the catalogue.
    pub fn coded(code: Code, detail: impl Into<String>) -> Self {
        let exit = catalogue().get(&code).map_or(exit::BUG, |entry| entry.exit);
        Self { exit, code: Some(code), detail: detail.into(), data: Value::Null }
    }

    pub fn with_exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }
}

/// A reason without the number that the operating system gives it.
pub fn plain(reason: impl Display) -> String {
    let text = reason.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::coded(FILE_NOT_WRITTEN, plain(error))
    }
}

/// An error for people: its title, what happened, and one fix.
pub fn explain(code: Option<Code>, detail: &str, language: Language) -> String {
    let Some((code, entry)) = code.and_then(|code| Some((code, catalogue().get(&code)?))) else {
        return match code {
            Some(code) => format!("{code} {}", language.detail(detail)),
            None => format!("{}{}", language.pick("错误: ", "error: "), language.detail(detail)),
        };
    };
    let text = if language == Language::Chinese { &entry.zh } else { &entry.en };
    let family = family_name(&entry.family, language);
    // Without the values that disagree, the general explanation has to do.
    let happened = if detail.is_empty() { text.explain.clone() } else { language.detail(detail) };
    let fix = format!("{}: {}", language.pick("处理", "fix"), text.fix);
    // What a reader of TOML says is drawn in lines.
    let happened: Vec<String> = happened.lines().map(|line| wrap(line, 8)).collect();
    format!("{code} {family}: {}\n{}\n{}", text.title, happened.join("\n"), wrap(&fix, 8))
}

fn family_name(family: &str, language: Language) -> &str {
    match family {
        "refusal" => language.pick("拒收", "refused"),
        "rejection" => language.pick("驳回", "rejected"),
        "verdict" => language.pick("核验结论", "verdict"),
        "fault" => language.pick("故障", "fault"),
        other => other,
    }
}

fn error_json(code: Option<Code>, detail: &str, language: Language) -> Value {
    let entry = code.and_then(|code| catalogue().get(&code));
    let text = entry.map(|entry| if language == Language::Chinese { &entry.zh } else { &entry.en });
    json!({
        "code": code.map(|code| code.to_string()),
        "family": entry.map(|entry| entry.family.clone()),
        "title": text.map(|text| text.title.clone()),
        "detail": detail,
        "fix": text.map(|text| text.fix.clone()),
        "retryable": entry.is_some_and(|entry| entry.retryable),
        "definite": entry.is_some_and(|entry| entry.definite),
    })
}

/// How a result is printed.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
    pub language: Language,
}

impl Printer {
    /// Prints and gives the exit status.
    pub fn finish(self, command: &str, result: Result<Answer, Failure>) -> u8 {
        match result {
            Ok(answer) => self.answer(command, answer),
            Err(failure) => self.failure(command, &failure),
        }
    }

    fn answer(self, command: &str, answer: Answer) -> u8 {
        let errors = match &answer.reason {
            Some((code, detail)) => vec![error_json(Some(*code), detail, self.language)],
            None => Vec::new(),
        };
        // Kept for stderr, should stdout take nothing.
        let known = if answer.recorded { answer.text.clone() } else { String::new() };
        let printed = if self.json {
            self.envelope(command, answer.exit == exit::DONE, answer.data, (errors, answer.warnings))
        } else {
            let printed = write_line(&plain_text(&answer.text));
            if let Some((code, detail)) = &answer.reason {
                self.note(&explain(Some(*code), detail, self.language));
            }
            for warning in &answer.warnings {
                self.note(&laid_out(warning));
            }
            printed
        };
        if answer.recorded && answer.exit == exit::DONE && is_lost(&printed) {
            let words = self.language.pick(
                "已入账,但结果未能写到标准输出;再次运行即可取得,不会重复记账",
                "it is on the ledger, but stdout took no answer: run it again for that, it is safe",
            );
            prose(&format!("{known}\n{words}"));
            let _no_failure_of_the_record = self.told(printed, exit::DONE);
            return exit::NOT_YET_KNOWN;
        }
        self.told(printed, answer.exit)
    }

    fn failure(self, command: &str, failure: &Failure) -> u8 {
        if self.json {
            let errors = vec![error_json(failure.code, &failure.detail, self.language)];
            let printed = self.envelope(command, false, failure.data.clone(), (errors, Vec::new()));
            return self.told(printed, failure.exit);
        }
        // An error is shown even when quiet: -q silences progress, not answers.
        prose(&explain(failure.code, &failure.detail, self.language));
        failure.exit
    }

    /// The exit status of a command whose result was printed or not. A status that says something stands; a reader that
    /// went away, as `head` does, takes none away; a result that could not be written is no success.
    pub fn told(self, printed: io::Result<()>, status: u8) -> u8 {
        match printed {
            Err(error) if status == exit::DONE && error.kind() != io::ErrorKind::BrokenPipe => {
                let failure = Failure::not_written(Path::new("stdout"), error);
                prose(&explain(failure.code, &failure.detail, self.language));
                failure.exit
            }
            Ok(()) | Err(_) => status,
        }
    }

    fn envelope(
        self,
        command: &str,
        success: bool,
        data: Value,
        (errors, warnings): (Vec<Value>, Vec<String>),
    ) -> io::Result<()> {
        let envelope = json!({
            "schema_version": 1,
            "command": command,
            "success": success,
            "data": data,
            "errors": errors,
            "warnings": warnings,
        });
        write_line(&envelope.to_string())
    }

    /// What happens on the way, on stderr, for whoever asked for it.
    pub fn trace(self, text: impl FnOnce() -> String) {
        if self.verbose {
            prose(&text());
        }
    }

    /// A page for people: a result, or prose.
    pub fn page(self, text: &str, is_prose: bool) -> io::Result<()> {
        if is_prose {
            prose(text);
            return Ok(());
        }
        write_line(&plain_text(text))
    }

    /// One of many results that come one after the other, each on a line of its own.
    pub fn line(self, json: &Value, text: &str) -> io::Result<()> {
        if self.json { write_line(&json.to_string()) } else { write_line(&plain_text(text)) }
    }

    /// Prose for people, on stderr.
    pub fn note(self, text: &str) {
        if !self.quiet {
            prose(text);
        }
    }
}

/// A warning in lines that fit. A command in it stands indented on lines of its own, as a shell takes it.
pub fn laid_out(warning: &str) -> String {
    let line = |line: &str| if line.starts_with("    ") { line.to_owned() } else { wrap(line, 0) };
    warning.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Whether a result could not be written. A reader that went away has what it wanted.
fn is_lost(printed: &io::Result<()>) -> bool {
    printed.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe)
}

fn write_line(text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end_matches('\n'))?;
    out.flush()
}

/// What a terminal is shown: texts come from nodes and files too, and may neither steer it nor turn what is read around.
pub fn plain_text(text: &str) -> String {
    let steers = |character: char| {
        let is_layout = matches!(character, '\n' | '\t');
        let turns = matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        (character.is_control() && !is_layout) || turns
    };
    text.chars().map(|character| if steers(character) { char::REPLACEMENT_CHARACTER } else { character }).collect()
}

/// A line on stderr. Where nobody can read it, the exit status still says what happened.
fn prose(text: &str) {
    let _unread = writeln!(io::stderr().lock(), "{}", plain_text(text));
}

/// Money in JSON: decimal string, minor units as a string, currency.
pub fn money_json(minor: i128, exponent: u32, currency: &str) -> Value {
    json!({ "amount": decimal_text(minor, exponent), "minor": minor.to_string(), "currency": currency })
}

/// A plain decimal without grouping.
pub fn decimal_text(minor: i128, exponent: u32) -> String {
    let scale = 10i128.pow(exponent);
    let sign = if minor < 0 { "-" } else { "" };
    let (whole, part) = ((minor / scale).abs(), (minor % scale).abs());
    match exponent {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{part:0width$}", width = exponent as usize),
    }
}

/// Reads a decimal without separators, exactly: more decimals than the currency has, unless zeros, are an error.
pub fn parse_decimal(text: &str, exponent: u32) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return None;
    }
    let exponent = exponent as usize;
    let kept = part.get(..exponent.min(part.len()))?;
    if part.get(kept.len()..)?.bytes().any(|byte| byte != b'0') {
        return None;
    }
    format!("{whole}{kept:0<exponent$}").parse().ok()
}

/// Digits after the point of an ISO 4217 currency.
pub fn exponent_of(currency: &str) -> Option<u32> {
    iso_currency::Currency::from_code(currency).map(|currency| u32::from(currency.exponent().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        for (text, exponent, expected) in [
            ("1200000.00", 2, Some(120_000_000)),
            ("12", 2, Some(1_200)),
            ("12.3", 2, Some(1_230)),
            ("12.340", 2, Some(1_234)),
            ("12.341", 2, None),
            ("1,200", 2, None),
            ("-1", 2, None),
            (".5", 2, None),
            ("", 2, None),
            ("7", 0, Some(7)),
            ("7.0", 0, Some(7)),
            ("99999999999999999999", 2, None),
        ] {
            assert_eq!(parse_decimal(text, exponent), expected, "{text}");
        }
    }

    #[test]
    fn an_error_has_its_code_title_values_and_fix() {
        let text = explain(Some(Code(3201)), "account finance/A: available 1, asked 2", Language::English);
        assert!(text.starts_with("MZ-3201 rejected: "), "{text}");
        assert!(text.contains("\n        account finance/A: available 1, asked 2\n        fix: "), "{text}");
        assert!(explain(Some(Code(3201)), "", Language::Chinese).contains("驳回已记入账本"));
    }

    #[test]
    fn what_should_not_occur_has_a_code_too() {
        let failure = Failure::bug("no randomness");
        assert_eq!((failure.exit, failure.code), (exit::BUG, Some(INTERNAL_FAILURE)));
        assert!(explain(failure.code, &failure.detail, Language::English).contains("no randomness\n        fix: "));
    }

    #[test]
    fn no_text_steers_a_terminal() {
        let text = plain_text("a\u{1b}[31mred\r\u{9b}2J\u{202e}txt\u{2066}\u{7f}\tb\n高度 7 ✓");
        assert_eq!(text, "a\u{fffd}[31mred\u{fffd}\u{fffd}2J\u{fffd}txt\u{fffd}\u{fffd}\tb\n高度 7 ✓");
    }

    #[test]
    fn plain_decimals_have_no_groups() {
        assert_eq!(decimal_text(-1_205, 2), "-12.05");
    }
}
