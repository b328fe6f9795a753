//! The command line of `mingzhang`: global flags and dispatch; one file per top-level command.

mod audit;
mod context;
mod explain;
mod gov;
mod help;
mod import;
mod key;
mod list;
mod man;
mod query;
mod receipt;
mod record;
mod simulate;
pub mod tx;
mod verify;
mod waiting;

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use mingzhang_genesis::Genesis;
use mingzhang_ledger::codec::Value;
use serde_json::json;

use crate::consent::{Answers, Danger};
use crate::context::{Network, Overrides, read_genesis, variable};
use crate::keys::{OfficerKey, PassphraseSource};
use crate::node_api::NodeApi;
use crate::output::{Answer, Failure, Language, Printer, exit};

/// Longest `--timeout`: a day.
const MAX_TIMEOUT_S: u64 = 86_400;

/// Mingzhang: submit records, follow public money, verify every answer without trusting a node.
#[derive(Debug, Parser)]
#[command(name = "mingzhang", version, max_term_width = 80, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// Context by name, or a context file
    #[arg(long, global = true, value_name = "NAME|FILE")]
    context: Option<String>,
    /// Node URL instead of the context's (repeatable)
    #[arg(long, global = true, value_name = "URL")]
    node: Vec<String>,
    /// Genesis file instead of the context's; its hash must be the pinned one
    #[arg(long, global = true, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Own agency instead of the context's
    #[arg(long, global = true, value_name = "ID")]
    own_agency: Option<String>,
    /// One JSON envelope on stdout
    #[arg(long, global = true)]
    json: bool,
    /// Language of texts; if not given, MINGZHANG_LANG or the locale decides
    #[arg(long, global = true, value_name = "zh-CN|en", value_parser = language_tag)]
    lang: Option<String>,
    /// Longest wait for one answer of a node, in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT_S))]
    timeout: u64,
    /// Refuse what was sealed longer ago than this, as it says nothing about now
    #[arg(long, global = true, value_name = "10m", value_parser = age)]
    max_age: Option<Duration>,
    /// Answer yes to every question
    #[arg(long, short = 'y', global = true)]
    yes: bool,
    /// Never ask; fail where a question would be asked
    #[arg(long, global = true)]
    no_input: bool,
    /// Read passphrases from this file descriptor
    #[arg(long, global = true, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// No progress and prose on stderr
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Every request and its time, on stderr
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// No colour (also NO_COLOR)
    #[arg(long, global = true)]
    no_color: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Networks with a pinned genesis hash
    Context(context::Args),
    /// Officer keys, encrypted at rest
    Key(key::Args),
    /// Any record of the ledger, by its exact name
    Record(record::Args),
    /// Lists of beneficiaries, salted and ready to publish
    List(list::Args),
    /// Transactions: build, sign, inspect, submit, wait, status, list
    Tx(tx::Args),
    /// Blocks, records, subjects
    Query(query::Args),
    /// Receipts that anybody can verify offline
    Receipt(receipt::Args),
    /// Verify receipts, checkpoints and documents
    Verify(verify::Args),
    /// Proposals and votes of the member agencies, and what they do to the network
    Gov(gov::Args),
    /// Follow a trail, fold the money, judge completeness
    Audit(audit::Args),
    /// History from files: 360Giving grants, payments, donations, permits
    Import(import::Args),
    /// What a code means and what to do
    Explain(explain::Args),
    /// Shell completion
    Completion {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Manual pages
    Man(man::Args),
    /// Version, as `--version` but also in JSON
    Version,
}

/// What every command may use: settings, and the network once it is asked for.
pub struct Desk {
    pub printer: Printer,
    pub language: Language,
    pub timeout: Duration,
    pub yes: bool,
    pub passphrase: PassphraseSource,
    overrides: Overrides,
    network: OnceCell<Network>,
}

impl Desk {
    pub fn network(&self) -> Result<&Network, Failure> {
        if let Some(network) = self.network.get() {
            return Ok(network);
        }
        let network = Network::open(&self.overrides)?;
        Ok(self.network.get_or_init(|| network))
    }

    pub fn api(&self) -> Result<NodeApi, Failure> {
        NodeApi::new(self.network()?, self.timeout, self.printer)
    }

    /// The named key, else the context's.
    pub fn key(&self, name: Option<&str>) -> Result<OfficerKey, Failure> {
        // With a genesis file of the command line no context is needed to sign.
        let context = match self.network() {
            Ok(network) => Some(&network.context),
            Err(_) if self.genesis_file().is_some() => None,
            Err(failure) => return Err(failure),
        };
        let name = name
            .or(context.and_then(|context| context.key.as_deref()))
            .ok_or_else(|| Failure::usage("which key? give --key NAME|FILE").with_exit(exit::NOT_PERMITTED))?;
        crate::keys::open(name, context, self.passphrase)
    }

    /// What a verification trusts: the genesis file of the flag and nothing else, or else the context's pinned one.
    pub fn genesis(&self) -> Result<Genesis, Failure> {
        match self.genesis_file() {
            Some(file) => read_genesis(file),
            None => Ok(self.network()?.genesis.clone()),
        }
    }

    /// The genesis file given on the command line, for commands that need no context.
    pub fn genesis_file(&self) -> Option<&PathBuf> {
        self.overrides.genesis.as_ref()
    }

    /// How old the seals of what is verified may be.
    pub fn max_age(&self) -> Option<Duration> {
        self.overrides.max_age
    }

    /// Asks whoever is there before a key signs what nothing takes back; `about` tells more than the body does.
    pub fn confirm(
        &self,
        (record_type, body): (&str, &Value),
        key: &OfficerKey,
        agency: &str,
        about: Option<String>,
    ) -> Result<(), Failure> {
        let Some(danger) = Danger::of(record_type, body) else { return Ok(()) };
        let answers = Answers::of(self.yes, self.passphrase.no_input);
        let who = format!("{} ({agency})", key.name);
        danger.about(about).confirm(answers, (record_type, &who), self.language)
    }

    pub fn pick<'a>(&self, chinese: &'a str, english: &'a str) -> &'a str {
        self.language.pick(chinese, english)
    }
}

/// Parses the command line, runs the command, prints its answer, gives the exit status.
pub fn run() -> u8 {
    let cli = match parsed() {
        Ok(cli) => cli,
        // A script that asked for JSON gets the parser's own refusals in it, too.
        Err(error) if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") => {
            let printer = Printer { json: true, quiet: false, verbose: false, language: asked_language() };
            let text = error.to_string();
            let sentence = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            return printer.finish("", Err(Failure::usage(sentence)));
        }
        Err(error) => {
            let status = if error.use_stderr() { exit::USAGE } else { exit::DONE };
            let printer = Printer { json: false, quiet: false, verbose: false, language: asked_language() };
            return printer.told(help::print(printer, &error), status);
        }
    };
    let desk = match desk(&cli.global) {
        Ok(desk) => desk,
        Err(failure) => {
            let Global { json, quiet, verbose, .. } = cli.global;
            return Printer { json, quiet, verbose, language: asked_language() }.finish("", Err(failure));
        }
    };
    let (name, result) = dispatch(&desk, cli.command);
    desk.printer.finish(&name, result)
}

fn parsed() -> Result<Cli, clap::Error> {
    let command = || help::in_language(Cli::command(), asked_language());
    let matches = command().try_get_matches()?;
    let mut names = Vec::new();
    let mut inner = &matches;
    while let Some((name, next)) = inner.subcommand() {
        names.push(name.to_owned());
        inner = next;
    }
    crate::interrupt::name(names.join(" "));
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
}

/// The language of a command line that the parser refused.
fn asked_language() -> Language {
    let arguments: Vec<_> = std::env::args_os().filter_map(|argument| argument.into_string().ok()).collect();
    let after = arguments.iter().skip_while(|argument| *argument != "--lang").nth(1).map(String::as_str);
    let tag = arguments.iter().find_map(|argument| argument.strip_prefix("--lang=")).or(after);
    language(tag.filter(|tag| language_tag(tag).is_ok()), || None).unwrap_or_else(|_| of_locale())
}

/// The flag's language, else that of the variable, of the context, of the locale.
fn language(tag: Option<&str>, of_context: impl FnOnce() -> Option<String>) -> Result<Language, Failure> {
    let flag = || Some(("--lang", tag?.to_owned()));
    let named = flag().or_else(|| Some(("MINGZHANG_LANG", variable("MINGZHANG_LANG")?)));
    let Some((source, tag)) = named.or_else(|| Some(("lang", of_context()?))) else { return Ok(of_locale()) };
    let known = language_tag(&tag).map_err(|there_are| Failure::usage(format!("{source} = {tag:?}: {there_are}")))?;
    Ok(Language::of(&known))
}

fn of_locale() -> Language {
    Language::of(&["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(variable).unwrap_or_default())
}

/// A locale of any language reads English; whoever asks for a language by name is told that there is none.
fn language_tag(tag: &str) -> Result<String, String> {
    let language = tag.split(['-', '_', '.']).next().unwrap_or(tag).to_ascii_lowercase();
    if ["zh", "en"].contains(&language.as_str()) {
        Ok(tag.to_owned())
    } else {
        Err("there are zh-CN and en".to_owned())
    }
}

fn age(text: &str) -> Result<Duration, String> {
    record::duration(text).map_err(|failure| failure.detail)
}

fn desk(global: &Global) -> Result<Desk, Failure> {
    let overrides = Overrides {
        context: global.context.clone(),
        nodes: global.node.clone(),
        genesis: global.genesis.clone(),
        agency: global.own_agency.clone(),
        max_age: global.max_age,
    };
    let language = language(global.lang.as_deref(), || overrides.language())?;
    Ok(Desk {
        printer: Printer { json: global.json, quiet: global.quiet, verbose: global.verbose, language },
        language,
        timeout: Duration::from_secs(global.timeout),
        yes: global.yes,
        passphrase: PassphraseSource { descriptor: global.passphrase_fd, no_input: global.no_input },
        overrides,
        network: OnceCell::new(),
    })
}

fn dispatch(desk: &Desk, command: Command) -> (String, Result<Answer, Failure>) {
    match command {
        Command::Context(args) => context::run(desk, args),
        Command::Key(args) => key::run(desk, args),
        Command::Record(args) => record::run(desk, args),
        Command::List(args) => list::run(desk, args),
        Command::Tx(args) => tx::run(desk, args),
        Command::Query(args) => query::run(desk, args),
        Command::Receipt(args) => receipt::run(desk, args),
        Command::Verify(args) => verify::run(desk, args),
        Command::Gov(args) => gov::run(desk, args),
        Command::Audit(args) => audit::run(desk, args),
        Command::Import(args) => import::run(desk, args),
        Command::Explain(args) => ("explain".into(), explain::run(desk, &args)),
        Command::Completion { shell } => ("completion".into(), completion(shell)),
        Command::Man(args) => ("man".into(), man::run(&args, Cli::command(), desk.language)),
        Command::Version => ("version".into(), Ok(version())),
    }
}

fn completion(shell: clap_complete::Shell) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mingzhang", &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::bug(error.to_string()))?;
    Ok(Answer::done(json!({ "shell": shell.to_string(), "script": script }), script))
}

fn version() -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    Answer::done(json!({ "version": version, "api": "v1" }), format!("mingzhang {version}"))
}
