//! `key status`: which key files a node has and whether they may be used. It opens none of them.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::answer::{Answer, Failure, Words};
use crate::config::Config;
use crate::keys::{self, Purpose};
use crate::setup;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Key files, their protection and their public keys 密钥文件状态
    Status {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

pub fn status(config: &Path) -> Result<Answer, Failure> {
    let config = Config::read(config)?;
    let genesis = setup::read_genesis(&config.genesis_file).ok();
    let member = genesis
        .as_ref()
        .and_then(|genesis| genesis.set.members.iter().find(|member| member.agency == config.agency).cloned());
    let purposes = if config.observer { &Purpose::ALL[2..] } else { &Purpose::ALL[..] };
    let (mut items, mut lines, mut failure) = (Vec::new(), Words::default(), None);
    for purpose in purposes {
        let path = purpose.file(&config.keys_directory);
        let registered = member.as_ref().map(|member| match purpose {
            Purpose::Consensus => member.consensus_key,
            Purpose::Sealing => member.sealing_key,
            Purpose::Peer => member.peer_key,
        });
        match keys::inspect(&path) {
            Ok(file) => {
                let text = file.public.map(|key| hex::encode(key.0));
                let matches = registered.and_then(|registered| Some(registered == file.public?));
                items.push(json!({
                    "purpose": purpose.name(), "file": path, "encrypted": file.encrypted,
                    "public_key": text, "registered": matches,
                }));
                let (name, key) = (purpose.name(), text.unwrap_or_default());
                let mark = |good, bad, unknown| matches.map_or(unknown, |fits: bool| if fits { good } else { bad });
                lines.zh += &format!("{name:<10} {key} {}\n", mark("已登记", "与创世文件不符", "未登记"));
                lines.en +=
                    &format!("{name:<10} {key} {}\n", mark("registered", "NOT the registered one", "not registered"));
                if matches == Some(false) {
                    failure = Some(Failure::new(5005, format!("{} is not the registered key", path.display())));
                }
            }
            Err(fault) => {
                items.push(json!({ "purpose": purpose.name(), "file": path, "error": fault.to_string() }));
                failure = Some(fault.into());
            }
        }
    }
    Ok(Answer { data: json!({ "agency": config.agency, "keys": items }), text: lines, failure, ..Answer::default() })
}
