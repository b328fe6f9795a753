//! `mingzhang man`: manual pages, made from the same description as the command line itself.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::help::in_language;
use crate::output::{Answer, Failure, Language};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The page of one command, such as `tx submit`; of the whole program if not given
    command: Vec<String>,
    /// Write the pages of all commands into this folder instead
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args, mut cli: clap::Command, language: Language) -> Result<Answer, Failure> {
    // What the parser adds of its own is there once it is built.
    cli.build();
    let cli = in_language(cli, language);
    match &args.out {
        Some(folder) => all(cli, folder),
        None => one(cli, &args.command),
    }
}

fn one(cli: clap::Command, words: &[String]) -> Result<Answer, Failure> {
    let mut command = &cli;
    for word in words {
        let found = command.find_subcommand(word);
        command = found.ok_or_else(|| Failure::usage(format!("{} has no command {word}", command.get_name())))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    let page = String::from_utf8(page).map_err(|error| Failure::bug(error.to_string()))?;
    Ok(Answer::done(json!({ "page": page }), page))
}

fn all(cli: clap::Command, folder: &Path) -> Result<Answer, Failure> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(cli, folder)?;
    let pages = std::fs::read_dir(folder)?.count();
    Ok(Answer::done(json!({ "folder": folder, "pages": pages }), folder.display().to_string()))
}
