//! `genesis contribute`: one agency's public keys, with the checks that the founding document will make of it, so that a
//! mistake is heard where it is made.

use std::path::{Path, PathBuf};

use mingzhang_genesis::ceremony::{self, Contribution};
use mingzhang_genesis::document::{Admin, Agency, Key, KeyUse, Node, Person};
use mingzhang_genesis::minutes;
use mingzhang_ledger::crypto::PublicKey;
use serde_json::json;

use super::{Openers, write};
use crate::command::answer::{Answer, Failure, Words};
use crate::command::session::Session;
use crate::config::Config;
use crate::keys::{self, Purpose};
use crate::node::QUIC;

#[derive(Debug, clap::Args)]
pub struct Contribute {
    /// Configuration that init made; absent for an agency without a node 节点配置
    #[arg(long, value_name = "FILE", required_unless_present = "agency", conflicts_with = "agency")]
    config: Option<PathBuf>,
    /// Id of an agency without a node 无节点单位的代码
    #[arg(long)]
    agency: Option<String>,
    /// Name of the network, host/path 网络名称
    #[arg(long)]
    network: String,
    /// Name of the agency 单位名称
    #[arg(long)]
    name: String,
    /// What kind of organisation it is, in words of your own, for instance bureau or bank 单位类型(自拟)
    #[arg(long, default_value = "bureau")]
    kind: String,
    #[arg(long = "role", help = roles_help())]
    roles: Vec<String>,
    /// Public key of an administrator in hexadecimal, or a key file that names it (two of them) 管理员公钥(两把)
    #[arg(long = "admin-key", value_name = "KEY")]
    admin_keys: Vec<String>,
    /// Address of the public interface, http:// or https:// 公开接口网址
    #[arg(long, required_unless_present = "agency")]
    url: Option<String>,
    /// Where the other nodes reach this one, /dns/NAME/tcp/PORT or /ip4/IP/tcp/PORT (repeat) 节点通信地址
    #[arg(long = "address")]
    addresses: Vec<String>,
    /// A recovery key, likewise (repeat) 恢复公钥
    #[arg(long = "recovery-key", value_name = "KEY")]
    recovery_keys: Vec<String>,
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn contribute(session: &Session, arguments: Contribute) -> Result<Answer, Failure> {
    let config = arguments.config.as_deref().map(Config::read).transpose()?;
    if config.as_ref().is_some_and(|config| config.observer) {
        return Err(Failure::usage("an observer founds nothing: it contributes no keys"));
    }
    let id = config.as_ref().map(|config| config.agency.clone()).or(arguments.agency).unwrap_or_default();
    let admin = |key: &String| Ok(Admin { person: Person(*keys::random::<16>()?), key: public_key(key)? });
    let admin_keys = arguments.admin_keys.iter().map(admin).collect::<Result<_, Failure>>()?;
    let recovery_keys = arguments.recovery_keys.iter().map(|key| public_key(key)).collect::<Result<_, Failure>>()?;
    let mut proofs = Vec::new();
    let node = match config {
        Some(config) => {
            let mut openers = Openers::new(session);
            let mut open = |purpose: Purpose, role: KeyUse| {
                let key = openers.open(&purpose.file(&config.keys_directory), false)?;
                proofs.push(ceremony::prove(&arguments.network, &id, role, &key));
                Ok::<_, Failure>(Key(key.public()))
            };
            Some(Node {
                consensus_key: open(Purpose::Consensus, KeyUse::Consensus)?,
                sealing_key: open(Purpose::Sealing, KeyUse::Sealing)?,
                peer_key: open(Purpose::Peer, KeyUse::Peer)?,
                url: arguments.url.unwrap_or_default(),
            })
        }
        None => None,
    };
    let agency = Agency {
        id,
        name: arguments.name,
        kind: arguments.kind,
        roles: arguments.roles,
        admin_keys,
        officers: Vec::new(),
        node,
    };
    let contribution = Contribution {
        format: ceremony::FORMAT.to_owned(),
        network: arguments.network,
        agency,
        addresses: arguments.addresses,
        recovery_keys,
        log_keys: Vec::new(),
        proofs,
    };
    contribution.check_form()?;
    if let Some(quic) = super::addresses(&contribution)?.into_iter().find(|address| address.quic && !QUIC) {
        return Err(Failure::new(
            5032,
            format!("{quic} is an address of QUIC, and this build of mingzhang-node has none"),
        ));
    }
    let bytes = contribution.to_bytes().map_err(|error| Failure::not_written(&arguments.out, error))?;
    write(&arguments.out, &bytes)?;
    let fingerprint = ceremony::fingerprint(&bytes);
    let keys = minutes::fingerprint_of(&contribution.keys());
    let data = json!({
        "agency_id": contribution.agency.id, "file": arguments.out, "fingerprint": fingerprint, "keys_fingerprint": keys,
    });
    let text = Words::new(
        format!("电话核对: {fingerprint}\n创立记录中的密钥指纹应为: {keys}"),
        format!("read out by phone: {fingerprint}\nkeys, as the minutes must show them: {keys}"),
    );
    Ok(Answer { data, text, ..Answer::default() })
}

fn roles_help() -> String {
    let roles: Vec<&str> = mingzhang_genesis::agency_roles().collect();
    let roles = roles.join(", ");
    format!("A role that its officers may hold (repeat): {roles} 可担任的角色(可重复): {roles}")
}

/// 64 hexadecimal digits, or a file whose head names the key.
fn public_key(text: &str) -> Result<Key, Failure> {
    if let Some(bytes) = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()) {
        return Ok(Key(PublicKey(bytes)));
    }
    let named = keys::inspect(Path::new(text))?.public;
    named.map(Key).ok_or_else(|| Failure::usage(format!("{text} names no public key; give its 64 hexadecimal digits")))
}
