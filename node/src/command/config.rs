//! `config check` and `config explain`: is a configuration file good, and what may stand in it.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::answer::{Answer, Failure, Words};
use crate::config::{Config, SETTINGS};
use crate::setup;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Whether the file can be used 检查配置
    Check {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// All keys, with defaults and limits 列出全部配置项
    Explain,
}

impl Command {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Check { .. } => "config check",
            Self::Explain => "config explain",
        }
    }
}

pub fn run(command: Command) -> Result<Answer, Failure> {
    match command {
        Command::Check { config } => {
            let read = Config::read(&config)?;
            let absent = setup::check_public(&read)?;
            let data = json!({ "file": config, "settings": read.table(), "not_checked": absent });
            let name = config.display();
            let lines: String = absent.iter().map(|path| format!("\n  {}", path.display())).collect();
            let text = if absent.is_empty() {
                Words::new(
                    format!("{name} 可用,与创世文件、证明、地址表相符"),
                    format!("{name} is good, and fits genesis, proofs and seeds"),
                )
            } else {
                Words::new(
                    format!("{name} 可用;以下文件未检查{lines}"),
                    format!("{name} is good; not checked were{lines}"),
                )
            };
            Ok(Answer { data, text, ..Answer::default() })
        }
        Command::Explain => Ok(explain()),
    }
}

fn explain() -> Answer {
    let defaults = Config::default().table();
    let default = |name: &str| defaults.get(name).map(ToString::to_string).unwrap_or_default();
    let settings: Vec<Value> = SETTINGS
        .iter()
        .map(|setting| {
            let range = setting.range.map(|(least, most)| json!([least, most]));
            json!({
                "name": setting.name, "default": defaults.get(setting.name), "range": range,
                "zh-CN": setting.zh, "en": setting.en,
            })
        })
        .collect();
    let limits =
        |range: Option<(u64, u64)>| range.map(|(least, most)| format!(" [{least}..{most}]")).unwrap_or_default();
    let line = |setting: &crate::config::Setting, words: &str| {
        format!("{} = {}{}\n    {words}\n", setting.name, default(setting.name), limits(setting.range))
    };
    let text = Words {
        zh: SETTINGS.iter().map(|setting| line(setting, setting.zh)).collect(),
        en: SETTINGS.iter().map(|setting| line(setting, setting.en)).collect(),
    };
    Answer { data: json!({ "settings": settings }), text, ..Answer::default() }
}
