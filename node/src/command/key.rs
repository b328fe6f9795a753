//! `key status`: which key files a node has and whether they may be used. It opens none of them.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use mingzhang_ledger::authority::Member;
use mingzhang_ledger::crypto::PublicKey;
use serde_json::{Value, json};

use super::answer::{Answer, Failure, Words};
use crate::config::Config;
use crate::keys::{self, KeyFile, Purpose};
use crate::{keyring, setup};

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
    let member = registered(&config);
    let mut answer = Answer::default();
    let mut items = Vec::new();
    for (purpose, path) in files(&config) {
        let wanted = member.as_ref().and_then(|member| founding_key(member, purpose, &path));
        match keys::inspect(&path) {
            Ok(file) => {
                let matches = wanted.and_then(|wanted| Some(wanted == file.public?));
                items.push(item(purpose, &path, &file, matches));
                say(&mut answer.text, purpose, &file, matches);
                if matches == Some(false) {
                    let failure = Failure::new(5005, format!("{} is not the registered key", path.display()));
                    answer.failure.get_or_insert(failure);
                }
            }
            Err(fault) => {
                let name = purpose.name();
                items.push(json!({ "purpose": name, "file": path, "error": fault.to_string() }));
                let line =
                    Words::new(format!("{name:<10} 不能使用: {fault}\n"), format!("{name:<10} NOT usable: {fault}\n"));
                answer.text.zh += &line.zh;
                answer.text.en += &line.en;
                answer.failure.get_or_insert(fault.into());
            }
        }
    }
    answer.data = json!({ "agency": config.agency, "keys": items });
    Ok(answer)
}

/// The seat in the genesis file, unless it tells nothing about this node.
fn registered(config: &Config) -> Option<Member> {
    if config.joined_later {
        return None;
    }
    let genesis = setup::read_genesis(&config.genesis_file).ok()?;
    genesis.set.members.iter().find(|member| member.agency == config.agency).cloned()
}

/// The key that the genesis names for a file; later sealing keys stand in no genesis.
fn founding_key(member: &Member, purpose: Purpose, path: &Path) -> Option<PublicKey> {
    match purpose {
        Purpose::Consensus => Some(member.consensus_key),
        Purpose::Peer => Some(member.peer_key),
        Purpose::Sealing => path.ends_with("sealing.pem").then_some(member.sealing_key),
    }
}

/// One file for each purpose, of sealing keys those of all epochs: the founding one is destroyed in time.
fn files(config: &Config) -> Vec<(Purpose, PathBuf)> {
    let own = |purpose: Purpose| (purpose, purpose.file(&config.keys_directory));
    if config.observer {
        return vec![own(Purpose::Peer)];
    }
    let mut sealing = keyring::files(&config.keys_directory);
    sealing.sort();
    let mut files = vec![own(Purpose::Consensus)];
    files.extend(sealing.into_iter().map(|path| (Purpose::Sealing, path)));
    if files.len() == 1 {
        files.push(own(Purpose::Sealing));
    }
    files.push(own(Purpose::Peer));
    files
}

fn item(purpose: Purpose, path: &Path, file: &KeyFile, matches: Option<bool>) -> Value {
    json!({
        "purpose": purpose.name(), "file": path, "encrypted": file.encrypted,
        "public_key": file.public.map(|key| hex::encode(key.0)), "registered": matches,
    })
}

fn say(text: &mut Words, purpose: Purpose, file: &KeyFile, matches: Option<bool>) {
    let (name, key) = (purpose.name(), file.public.map(|key| hex::encode(key.0)).unwrap_or_default());
    let (zh, en) = if file.encrypted { ("已加密", "encrypted") } else { ("未加密", "NOT encrypted") };
    let (registered_zh, registered_en) = match matches {
        Some(true) => ("已登记", "registered"),
        Some(false) => ("与创世文件不符", "NOT the registered one"),
        None => ("未与创世文件比对", "not compared with a genesis"),
    };
    text.zh += &format!("{name:<10} {zh},{registered_zh}\n           {key}\n");
    text.en += &format!("{name:<10} {en}, {registered_en}\n           {key}\n");
}
