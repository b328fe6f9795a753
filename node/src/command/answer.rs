//! How a command answers: the result on stdout, prose on stderr, one JSON envelope with `--json`, and an exit status that
//! means the same everywhere. Every failure has a code of the catalogue, which holds its explanation and its fix.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use mingzhang_genesis::GenesisFault;
use mingzhang_genesis::ceremony::CeremonyFault;
use mingzhang_genesis::possession::PossessionFault;
use mingzhang_ledger::layout::wrap;
use mingzhang_ledger::outcome::{Code, catalogue};
use mingzhang_ledger::phrases::{chinese, of_parser};
use serde_json::{Value, json};

use super::session::{Language, Session};
use crate::config::ConfigFault;
use crate::keys::KeyFault;

const SCHEMA_VERSION: u64 = 1;

/// A text in both languages.
#[derive(Debug, Clone, Default)]
pub struct Words {
    pub zh: String,
    pub en: String,
}

impl Words {
    pub fn new(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self { zh: zh.into(), en: en.into() }
    }

    /// What needs no translation.
    pub fn same(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { zh: text.clone(), en: text }
    }

    pub fn of(&self, language: Language) -> &str {
        match language {
            Language::Chinese => &self.zh,
            Language::English => &self.en,
        }
    }
}

/// What a command has to say. A failure beside a result decides the exit status, for instance a network that is not ready.
#[derive(Debug, Default)]
pub struct Answer {
    pub data: Value,
    pub text: Words,
    pub warnings: Vec<Words>,
    pub failure: Option<Failure>,
}

/// Why a command did not do what was asked: a code of the catalogue and the values that disagree.
#[derive(Debug, Clone)]
pub struct Failure {
    pub code: Code,
    pub detail: String,
}

impl Failure {
    pub fn new(code: u16, detail: impl Into<String>) -> Self {
        Self { code: Code(code), detail: detail.into() }
    }

    pub fn usage(detail: impl Into<String>) -> Self {
        Self::new(2012, detail)
    }

    /// A file of the user that cannot be read.
    pub fn unreadable(path: &Path, error: impl Display) -> Self {
        Self::new(2011, format!("{}: {error}", path.display()))
    }

    pub fn not_written(path: &Path, error: impl Display) -> Self {
        Self::new(5025, format!("{}: {error}", path.display()))
    }

    pub fn genesis(path: &Path, error: &GenesisFault) -> Self {
        Self::new(5018, format!("{}: {error}", path.display()))
    }

    fn exit(&self) -> u8 {
        catalogue().get(&self.code).map_or(1, |entry| entry.exit)
    }

    fn json(&self, language: Language) -> Value {
        let Some(entry) = catalogue().get(&self.code) else {
            return json!({ "code": self.code.to_string(), "detail": self.detail });
        };
        let text = if language == Language::Chinese { &entry.zh } else { &entry.en };
        json!({
            "code": self.code.to_string(),
            "name": entry.name,
            "family": entry.family,
            "title": text.title,
            "detail": self.detail,
            "explain": text.explain,
            "fix": text.fix,
            "retryable": entry.retryable,
            "definite": entry.definite,
        })
    }

    /// Title and code on a line, then what happened, what it means and one fix, within the columns of a terminal.
    fn text(&self, language: Language) -> String {
        let Some(entry) = catalogue().get(&self.code) else { return format!("{} {}", self.code, self.detail) };
        let (text, fix) = match language {
            Language::Chinese => (&entry.zh, "处理"),
            Language::English => (&entry.en, "fix"),
        };
        let detail = match language {
            Language::Chinese => chinese(&self.detail),
            Language::English => self.detail.clone(),
        };
        let lines = [detail.as_str(), text.explain.as_str(), &format!("{fix}: {}", text.fix)].map(|line| wrap(line, 8));
        format!("{} {}\n{}", self.code, text.title, lines.join("\n"))
    }
}

impl From<ConfigFault> for Failure {
    fn from(fault: ConfigFault) -> Self {
        Self { code: fault.code(), detail: fault.to_string() }
    }
}

impl From<KeyFault> for Failure {
    fn from(fault: KeyFault) -> Self {
        Self { code: fault.code(), detail: fault.to_string() }
    }
}

impl From<CeremonyFault> for Failure {
    fn from(fault: CeremonyFault) -> Self {
        Self::new(5032, fault.to_string())
    }
}

impl From<PossessionFault> for Failure {
    fn from(fault: PossessionFault) -> Self {
        Self::new(5026, fault.to_string())
    }
}

/// Prints a result and gives the exit status.
pub fn print(session: &Session, command: &str, result: Result<Answer, Failure>) -> ExitCode {
    let answer = result.unwrap_or_else(|failure| Answer { failure: Some(failure), ..Answer::default() });
    let language = session.language;
    let printed = if session.json {
        let warnings: Vec<&str> = answer.warnings.iter().map(|warning| warning.of(language)).collect();
        let errors: Vec<Value> = answer.failure.iter().map(|failure| failure.json(language)).collect();
        let envelope = json!({
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "success": answer.failure.is_none(),
            "data": answer.data,
            "errors": errors,
            "warnings": warnings,
        });
        write_line(&envelope.to_string())
    } else {
        let text = answer.text.of(language);
        let printed = if text.is_empty() { Ok(()) } else { write_line(text.trim_end_matches('\n')) };
        for warning in &answer.warnings {
            session.say(warning);
        }
        if let Some(failure) = &answer.failure {
            prose(&failure.text(language));
        }
        printed
    };
    told(printed, answer.failure.map_or(0, |failure| failure.exit()), language)
}

/// The exit status of a command whose result was printed or not. A status that says something stands; a reader that went
/// away, as `head` does, takes none away; a result that could not be written is no success.
fn told(printed: io::Result<()>, status: u8, language: Language) -> ExitCode {
    match printed {
        Err(error) if status == 0 && error.kind() != io::ErrorKind::BrokenPipe => {
            let failure = Failure::not_written(Path::new("stdout"), error);
            prose(&failure.text(language));
            ExitCode::from(failure.exit())
        }
        Ok(()) | Err(_) => ExitCode::from(status),
    }
}

/// A line on stderr. Where nobody can read it, the exit status still says what happened.
pub fn prose(text: &str) {
    let _unread = writeln!(io::stderr().lock(), "{text}");
}

/// A wrong command line; help and version are results.
pub fn usage(error: &clap::Error) -> ExitCode {
    let asked = !error.use_stderr();
    let language = Language::asked();
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && !asked {
        // The first paragraph says what is wrong, the others how the command is used.
        let text = error.to_string();
        let paragraph: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let failure = Failure::usage(paragraph.join(" ").trim_start_matches("error: "));
        let errors = [failure.json(language)];
        let envelope = json!({
            "schema_version": SCHEMA_VERSION, "command": "", "success": false, "data": null,
            "errors": errors, "warnings": [],
        });
        return told(write_line(&envelope.to_string()), 2, language);
    }
    let printed = match (language, asked) {
        (Language::English, _) => error.print(),
        (Language::Chinese, true) => write_line(&of_parser(&error.render().to_string())),
        (Language::Chinese, false) => {
            prose(&of_parser(&error.render().to_string()));
            Ok(())
        }
    };
    told(printed, if asked { 0 } else { 2 }, language)
}

fn write_line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush())
}
