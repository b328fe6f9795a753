//! The command line's own texts in the reader's language: help as help.toml has it, and what the parser prints.

use std::sync::OnceLock;

use clap::Command;
use mingzhang_ledger::phrases::{Phrases, half, of_parser};

use crate::output::{Language, Printer};

/// The command with its help in one language.
pub fn in_language(mut command: Command, language: Language) -> Command {
    let own = |text: Option<&clap::builder::StyledStr>| text.map(|text| translated(&text.to_string(), language));
    if let Some(about) = own(command.get_about()) {
        command = command.about(about);
    }
    if let Some(about) = own(command.get_long_about()) {
        command = command.long_about(about);
    }
    if let Some(after) = own(command.get_after_help()) {
        command = command.after_help(after);
    }
    command = command.mut_args(|mut arg| {
        if let Some(help) = own(arg.get_help()) {
            arg = arg.help(help);
        }
        if let Some(help) = own(arg.get_long_help()) {
            arg = arg.long_help(help);
        }
        match (language, arg.get_help_heading()) {
            (Language::Chinese, Some(_)) => arg.help_heading("所有命令的选项"),
            _ => arg,
        }
    });
    if language == Language::Chinese {
        // The parser breaks lines at spaces only: they are broken when they are printed.
        command = command.term_width(0);
    }
    command.mut_subcommands(|inner| in_language(inner, language))
}

fn translated(text: &str, language: Language) -> String {
    static HELP: OnceLock<Phrases> = OnceLock::new();
    let help = HELP.get_or_init(|| Phrases::read(include_str!("../../help.toml")));
    match language {
        Language::English => half(text, false).to_owned(),
        Language::Chinese => help.exact(text).unwrap_or_else(|| half(text, true)).to_owned(),
    }
}

/// Prints help, or why the parser refused.
pub fn print(printer: Printer, error: &clap::Error) -> std::io::Result<()> {
    match printer.language {
        Language::English => error.print(),
        Language::Chinese => printer.page(&of_parser(&error.render().to_string()), error.use_stderr()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::command::Cli;

    /// All helps of a command and of those below it.
    fn helps(command: &Command) -> Vec<String> {
        let about = command.get_about().into_iter().chain(command.get_long_about()).chain(command.get_after_help());
        let args = command.get_arguments().flat_map(|arg| arg.get_help().into_iter().chain(arg.get_long_help()));
        let mut all: Vec<String> = about.chain(args).map(ToString::to_string).collect();
        all.extend(command.get_subcommands().flat_map(helps));
        all
    }

    #[test]
    fn every_help_stands_in_both_languages() {
        let han = |text: &str| text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
        let of = |language| helps(&in_language(Cli::command(), language));
        let mut missing: Vec<_> = of(Language::Chinese).into_iter().filter(|text| !han(text)).collect();
        missing.dedup();
        assert!(missing.is_empty(), "not in client/help.toml:\n{}", missing.join("\n"));
        let mixed: Vec<_> = of(Language::English).into_iter().filter(|text| han(text)).collect();
        assert!(mixed.is_empty(), "{mixed:?}");
    }
}
