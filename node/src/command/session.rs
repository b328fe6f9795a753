//! What holds for every command: language, form of the answer, and how a passphrase is obtained.

use std::cell::OnceCell;
use std::io::{IsTerminal, Read};
use std::path::Path;

use clap::Args;
use zeroize::Zeroizing;

use super::answer::{Failure, Words, prose};
use crate::keys::{KeyFault, Passphrase};

/// Longest passphrase that is read.
const MAX_PASSPHRASE_BYTES: u64 = 1024;
/// Shortest passphrase for a new key.
const MIN_PASSPHRASE_CHARACTERS: usize = 8;

pub const GLOBAL_HEADING: &str = "Options of every command 所有命令的选项";

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = GLOBAL_HEADING)]
pub struct Global {
    /// One JSON object on stdout 结果以 JSON 输出
    #[arg(long, global = true)]
    json: bool,
    /// Language of texts 语言
    #[arg(long, global = true, value_name = "zh-CN|en", value_parser = Language::of_tag)]
    lang: Option<Language>,
    /// No prose on stderr 不输出说明
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Logs of every step 输出每一步的日志
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Answer yes to every question 一律回答「是」
    #[arg(short, long, global = true)]
    yes: bool,
    /// No colour; there is none to begin with 不使用颜色(本程序本无颜色输出)
    #[arg(long, global = true)]
    no_color: bool,
    /// Never ask, fail instead 不提问
    #[arg(long, global = true)]
    no_input: bool,
    /// Read the passphrase from this file descriptor; a new one has 8 characters or more 从该文件描述符读取口令(新口令至少8个字符)
    #[arg(long, global = true, value_name = "N")]
    passphrase_fd: Option<u32>,
}

/// Language of texts, never of fields or codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Chinese,
    English,
}

impl Language {
    /// Of a tag such as zh, zh-CN or en-GB; whoever asks for a language by name is told that there is none.
    pub fn of_tag(tag: &str) -> Result<Self, String> {
        match tag.split(['-', '_', '.']).next().unwrap_or(tag).to_ascii_lowercase().as_str() {
            "zh" => Ok(Self::Chinese),
            "en" => Ok(Self::English),
            _ => Err("there are zh-CN and en".to_owned()),
        }
    }

    /// The language of a command line that is not parsed yet.
    pub fn asked() -> Language {
        let arguments: Vec<_> = std::env::args_os().filter_map(|argument| argument.into_string().ok()).collect();
        let after = arguments.iter().skip_while(|argument| *argument != "--lang").nth(1).map(String::as_str);
        let tag = arguments.iter().find_map(|argument| argument.strip_prefix("--lang=")).or(after);
        Self::of_environment(tag.and_then(|tag| Self::of_tag(tag).ok()))
    }

    /// Flag, then MINGZHANG_LANG, then the locale: `zh…` is Chinese, all else English.
    pub fn of_environment(flag: Option<Language>) -> Language {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let named = || ["MINGZHANG_LANG", "LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(variable);
        flag.unwrap_or_else(|| {
            if named().is_some_and(|name| name.starts_with("zh")) { Self::Chinese } else { Self::English }
        })
    }
}

/// The settings of this call.
#[derive(Debug)]
pub struct Session {
    pub json: bool,
    pub language: Language,
    pub verbose: bool,
    quiet: bool,
    no_input: bool,
    passphrase_fd: Option<u32>,
    /// A descriptor may be a pipe, which gives its line only once.
    descriptor_line: OnceCell<Passphrase>,
}

impl Session {
    pub fn new(global: Global) -> Self {
        // No command of this program asks anything but passphrases, and none prints colour: both flags hold already.
        let Global { json, lang, quiet, verbose, yes: _, no_color: _, no_input, passphrase_fd } = global;
        let language = Language::of_environment(lang);
        let session =
            Self { json, language, verbose, quiet, no_input, passphrase_fd, descriptor_line: OnceCell::new() };
        // A service starts all the same; its operator is told.
        let named = std::env::var("MINGZHANG_LANG").unwrap_or_default();
        if lang.is_none() && !["", "zh", "en"].contains(&named.split(['-', '_', '.']).next().unwrap_or_default()) {
            session.say(&Words::same(format!("MINGZHANG_LANG={named}: there are zh-CN and en; English is used")));
        }
        session
    }

    /// Prose for people, on stderr.
    pub fn say(&self, words: &Words) {
        if !self.quiet {
            prose(words.of(self.language));
        }
    }

    /// The passphrase that opens `file`.
    pub fn passphrase(&self, file: &Path) -> Result<Passphrase, Failure> {
        let name = file.display();
        self.obtain(file, &Words::new(format!("{name} 的口令: "), format!("passphrase of {name}: ")))
    }

    fn obtain(&self, file: &Path, question: &Words) -> Result<Passphrase, Failure> {
        if let Some(descriptor) = self.passphrase_fd {
            if let Some(line) = self.descriptor_line.get() {
                return Ok(line.clone());
            }
            let line = read_descriptor(descriptor)?;
            return Ok(self.descriptor_line.get_or_init(|| line).clone());
        }
        if self.no_input || !std::io::stdin().is_terminal() {
            return Err(KeyFault::PassphraseMissing { path: file.to_owned() }.into());
        }
        self.prompt(question)
    }

    /// A new passphrase, typed twice.
    pub fn new_passphrase(&self, file: &Path) -> Result<Passphrase, Failure> {
        let (name, least) = (file.display(), MIN_PASSPHRASE_CHARACTERS);
        let question = Words::new(
            format!("{name} 的新口令(至少 {least} 个字符): "),
            format!("new passphrase of {name}, {least} characters or more: "),
        );
        let passphrase = self.obtain(file, &question)?;
        if passphrase.chars().count() < MIN_PASSPHRASE_CHARACTERS {
            return Err(Failure::usage(format!(
                "the passphrase is too short: it must have {MIN_PASSPHRASE_CHARACTERS} characters or more"
            )));
        }
        if self.passphrase_fd.is_none() && *self.prompt(&Words::new("再输一次: ", "once more: "))? != *passphrase {
            return Err(Failure::usage("the two passphrases differ"));
        }
        Ok(passphrase)
    }

    fn prompt(&self, words: &Words) -> Result<Passphrase, Failure> {
        rpassword::prompt_password(words.of(self.language))
            .map(Zeroizing::new)
            .map_err(|error| Failure::usage(format!("the passphrase cannot be read: {error}")))
    }
}

/// The first line of an inherited descriptor, opened by its name so that no descriptor is taken over unsafely.
fn read_descriptor(descriptor: u32) -> Result<Passphrase, Failure> {
    let path = format!("/dev/fd/{descriptor}");
    let mut text = Zeroizing::new(String::new());
    let read = std::fs::File::open(&path).and_then(|file| file.take(MAX_PASSPHRASE_BYTES).read_to_string(&mut text));
    read.map_err(|error| Failure::usage(format!("--passphrase-fd {descriptor}: {error}")))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(Failure::usage(format!("--passphrase-fd {descriptor} is empty")));
    }
    Ok(Zeroizing::new(line.to_owned()))
}
