//! `init`: makes a node's folder where the keys will live. It never repairs: a folder that holds anything is refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mingzhang_ledger::crypto::PublicKey;
use serde_json::json;

use super::answer::{Answer, Failure, Words};
use super::session::Session;
use crate::config::Config;
use crate::keys::{self, Purpose};

/// Administrators of an agency.
const ADMINS: usize = 2;

/// Purpose, file and public half of a key that was made.
type Made = (String, PathBuf, PublicKey);

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// New or empty folder 新建或空的目录
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// Id of the agency 单位代码
    #[arg(long, required_unless_present = "observer", conflicts_with = "observer")]
    agency: Option<String>,
    /// A node that follows and signs nothing 观察节点
    #[arg(long)]
    observer: bool,
    /// Also make the keys of the two administrators, to be handed over 同时生成两名管理员的密钥
    #[arg(long)]
    with_admin_keys: bool,
    #[arg(long, value_name = "ADDRESS")]
    api_listen: Option<SocketAddr>,
    #[arg(long, value_name = "ADDRESS")]
    ops_listen: Option<SocketAddr>,
    #[arg(long, value_name = "ADDRESS")]
    peer_listen: Option<SocketAddr>,
}

pub fn run(session: &Session, arguments: Arguments) -> Result<Answer, Failure> {
    let folder = &arguments.dir;
    require_empty(folder)?;
    let mut config = Config { agency: arguments.agency.clone().unwrap_or_default(), ..Config::default() };
    config.observer = arguments.observer;
    config.api_listen = arguments.api_listen.unwrap_or(config.api_listen);
    config.ops_listen = arguments.ops_listen.unwrap_or(config.ops_listen);
    config.peer_listen = arguments.peer_listen.unwrap_or(config.peer_listen);
    let file = folder.join("node.toml");
    config.check(&file)?;
    let passphrase = session.new_passphrase(&folder.join("keys"))?;
    let private = |path: &Path| make_private_folder(path);
    private(&folder.join("keys"))?;
    std::fs::write(&file, config.to_text()).map_err(|error| Failure::not_written(&file, error))?;
    // Reading it back checks it as `run` will.
    Config::read(&file)?;
    let purposes = if arguments.observer { &[Purpose::Peer][..] } else { &Purpose::ALL[..] };
    let mut made = Vec::new();
    for purpose in purposes {
        let key = keys::generate()?;
        let path = purpose.file(&folder.join("keys"));
        keys::write(&path, &key, &passphrase)?;
        made.push((purpose.name().to_owned(), path, key.public()));
    }
    if arguments.with_admin_keys {
        private(&folder.join("admins"))?;
        for number in 1..=ADMINS {
            let key = keys::generate()?;
            let path = folder.join("admins").join(format!("admin-{number}.pem"));
            keys::write(&path, &key, &passphrase)?;
            made.push((format!("admin-{number}"), path, key.public()));
        }
    }
    let items: Vec<_> = made
        .iter()
        .map(|(purpose, path, key)| json!({ "purpose": purpose, "file": path, "public_key": hex::encode(key.0) }))
        .collect();
    let lines: String =
        made.iter().map(|(purpose, _, key)| format!("{purpose:<10} {}\n", hex::encode(key.0))).collect();
    let next = if arguments.observer { observers_next(&made) } else { founders_next(&file) };
    let text = Words::new(
        format!("{lines}配置文件 {}\n下一步: {}", file.display(), next.zh),
        format!("{lines}configuration {}\nnext: {}", file.display(), next.en),
    );
    Ok(Answer { data: json!({ "dir": folder, "config": file, "keys": items }), text, ..Answer::default() })
}

fn founders_next(file: &Path) -> Words {
    let file = file.display();
    Words::new(
        format!("mingzhang-node genesis contribute --config {file}\n加入已有网络的单位: 见 OPERATIONS「变更成员」"),
        format!(
            "mingzhang-node genesis contribute --config {file}\nto join a network that runs: OPERATIONS, 'Changing the members'"
        ),
    )
}

/// An observer contributes nothing: the members let it in by its key.
fn observers_next(made: &[Made]) -> Words {
    let key = made.first().map(|(_, _, key)| hex::encode(key.0)).unwrap_or_default();
    let entry = format!("[[peers]]\nagency = \"observer-1\"\npeer_key = \"{key}\"\naddresses = []\nobserver = true");
    let zh = [
        "请各成员单位在其 seeds.toml 中加入以下内容(名称自拟,表中未用过即可),",
        "然后重启其节点:",
        &entry,
        "把网络的 genesis.json、genesis-proofs.json、seeds.toml 放在 node.toml 旁边,",
        "再运行 mingzhang-node run",
    ];
    let en = [
        "every member adds this to its seeds.toml, under a name that",
        "is not yet taken there, and restarts its node:",
        &entry,
        "put the network's genesis.json, genesis-proofs.json and seeds.toml beside",
        "node.toml, then mingzhang-node run",
    ];
    Words::new(zh.join("\n"), en.join("\n"))
}

/// Refuses a folder with anything in it, so that no key and no data is ever overwritten.
pub fn require_empty(folder: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::new(5014, format!("{} is not empty", folder.display()))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::unreadable(folder, error)),
    }
}

/// A folder that only its owner may enter.
pub fn make_private_folder(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Failure::not_written(path, error))
}
