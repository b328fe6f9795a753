//! The command line of mingzhang-node: what may be asked, and who answers. One file per top-level command; how answers
//! are printed is in `answer`.

mod answer;
mod authority;
mod config;
mod devnet;
mod genesis;
mod init;
mod key;
mod parameters;
pub mod probe;
mod recovery;
mod run;
mod session;
mod status;
mod store;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use mingzhang_ledger::phrases::half;

pub use answer::{Answer, Failure, Words};
use session::{GLOBAL_HEADING, Language};
pub use session::{Global, Session};

/// An agency's node of a Mingzhang network 明账节点程序
#[derive(Debug, Parser)]
#[command(name = "mingzhang-node", version, propagate_version = true, max_term_width = 80)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a node's folder: keys and configuration 建立节点目录
    Init(init::Arguments),
    /// Found a network together 共同创立网络
    #[command(subcommand)]
    Genesis(genesis::Command),
    /// A seat in the authority set, and being ready for the next epoch 席位与就绪
    #[command(subcommand)]
    Authority(authority::Command),
    /// Run the node 运行节点
    Run(run::Arguments),
    /// What the running node says about itself 节点状态
    Status(status::Arguments),
    /// Keys of this node 本节点的密钥
    #[command(subcommand)]
    Key(key::Command),
    /// The configuration file 配置文件
    #[command(subcommand)]
    Config(config::Command),
    /// The data of a stopped node 已停止节点的数据
    #[command(subcommand)]
    Store(store::Command),
    /// Going on after more than a third of the members were lost for good 多数成员永久丧失后的恢复
    #[command(subcommand)]
    Recovery(recovery::Command),
    /// A whole network on this machine, for trials 本机测试网
    #[command(subcommand)]
    Devnet(devnet::Command),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Genesis(command) => command.name(),
            Self::Authority(command) => command.name(),
            Self::Run(_) => "run",
            Self::Status(_) => "status",
            Self::Key(key::Command::Status { .. }) => "key status",
            Self::Config(command) => command.name(),
            Self::Store(store::Command::Check { .. }) => "store check",
            Self::Recovery(command) => command.name(),
            Self::Devnet(command) => command.name(),
        }
    }

    fn run(self, session: &Session) -> Result<Answer, Failure> {
        match self {
            Self::Init(arguments) => init::run(session, arguments),
            Self::Genesis(command) => genesis::run(session, command),
            Self::Authority(command) => authority::run(session, command),
            Self::Run(arguments) => run::run(session, &arguments),
            Self::Status(arguments) => status::run(&arguments),
            Self::Key(key::Command::Status { config }) => key::status(&config),
            Self::Config(command) => config::run(command),
            Self::Store(store::Command::Check { config }) => store::check(&config),
            Self::Recovery(command) => recovery::run(session, command),
            Self::Devnet(command) => devnet::run(session, command),
        }
    }
}

/// The command with its help in one language: where it is written, the English stands first and the Chinese after it.
fn in_language(mut command: clap::Command, language: Language) -> clap::Command {
    let own = |text: String| half(&text, language == Language::Chinese).to_owned();
    if let Some(about) = command.get_about().map(|about| own(about.to_string())) {
        command = command.about(about);
    }
    command = command.mut_args(|mut arg| {
        if let Some(help) = arg.get_help().map(|help| own(help.to_string())) {
            arg = arg.help(help);
        }
        match arg.get_help_heading() {
            Some(_) => arg.help_heading(half(GLOBAL_HEADING, language == Language::Chinese)),
            None => arg,
        }
    });
    if language == Language::Chinese {
        // The parser breaks lines at spaces only: they are broken when they are printed.
        command = command.term_width(0);
    }
    command.mut_subcommands(|inner| in_language(inner, language))
}

/// Reads the command line, does what it says, prints the answer.
pub fn main() -> ExitCode {
    let command = in_language(Arguments::command(), Language::asked());
    let parsed = command.try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return answer::usage(&error),
    };
    let session = Session::new(arguments.global);
    let name = arguments.command.name();
    answer::print(&session, name, arguments.command.run(&session))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    /// Helps of a command and of those below it.
    fn helps(command: &clap::Command) -> Vec<String> {
        let args = command.get_arguments().filter_map(|arg| arg.get_help());
        let mut all: Vec<String> = command.get_about().into_iter().chain(args).map(ToString::to_string).collect();
        all.extend(command.get_subcommands().flat_map(helps));
        all
    }

    #[test]
    fn every_help_stands_in_both_languages() {
        let han = |text: &str| text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
        let of = |language| helps(&in_language(Arguments::command(), language));
        let missing: Vec<_> = of(Language::Chinese).into_iter().filter(|text| !han(text)).collect();
        assert!(missing.is_empty(), "no Chinese:\n{}", missing.join("\n"));
        let mixed: Vec<_> = of(Language::English).into_iter().filter(|text| han(text) || text.is_empty()).collect();
        assert!(mixed.is_empty(), "{mixed:?}");
    }
}
