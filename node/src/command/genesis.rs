//! `genesis …`: the founding of a network by several agencies. Each contributes its public keys, one assembles, each
//! checks and approves, one seals. The documents and their rules are in the genesis crate; here are files and keys.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use mingzhang_genesis::Genesis;
use mingzhang_genesis::ceremony::{self, CeremonyFault, Contribution};
use mingzhang_genesis::document::{Admin, Agency, Document, Key, KeyUse, Node, Numbers, Person, Recovery};
use mingzhang_genesis::minutes;
use mingzhang_genesis::possession::{self, MAX_PROOFS_BYTES, Proof, Proofs};
use mingzhang_ledger::crypto::{PublicKey, SigningKey};
use mingzhang_seeds::{Peer, Seeds};
use serde_json::json;

use super::answer::{Answer, Failure, Words};
use super::session::Session;
use crate::clock;
use crate::config::Config;
use crate::keys::{self, Passphrase, Purpose};
use crate::setup::{self, read_limited};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write this agency's public keys for the one who assembles 提交本单位公钥
    Contribute(Contribute),
    /// Put contributions together: genesis.json and seeds.toml 汇总成创世文件
    Assemble(Assemble),
    /// Is a genesis valid, and does it hold this node's keys? 检查创世文件
    Check {
        genesis: PathBuf,
        /// Compare with this node's keys 与本节点密钥比对
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Prove this agency's keys for exactly this genesis 批准创世文件
    Approve(Approve),
    /// Gather all approvals; nothing may be missing 封存
    Seal(Seal),
    /// Show hash, fingerprints and agencies 显示创世文件
    Show { genesis: PathBuf },
}

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
    /// Kind of the agency, for instance bureau or bank 单位类型
    #[arg(long, default_value = "bureau")]
    kind: String,
    /// A role that its officers may hold (repeat) 可担任的角色
    #[arg(long = "role")]
    roles: Vec<String>,
    /// Public key of an administrator in hexadecimal, or a key file that names it (twice) 管理员公钥
    #[arg(long = "admin-key", value_name = "KEY")]
    admin_keys: Vec<String>,
    /// Address of the public interface 公开接口网址
    #[arg(long, required_unless_present = "agency")]
    url: Option<String>,
    /// Where the other nodes reach this one, /dns/NAME/tcp/PORT (repeat) 节点通信地址
    #[arg(long = "address")]
    addresses: Vec<String>,
    /// A recovery key, likewise (repeat) 恢复公钥
    #[arg(long = "recovery-key", value_name = "KEY")]
    recovery_keys: Vec<String>,
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Assemble {
    /// Name of the network, host/path 网络名称
    #[arg(long)]
    network: String,
    /// Minutes east of UTC 时区偏移(分钟)
    #[arg(long, default_value_t = 480, allow_negative_numbers = true)]
    utc_offset_minutes: i64,
    /// ISO 4217 code (repeat) 货币
    #[arg(long = "currency", default_value = "CNY")]
    currencies: Vec<String>,
    /// Consensus or rule parameter, name=value (repeat) 参数
    #[arg(long = "set", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// How many recovery keys sign a recovery 恢复所需密钥数
    #[arg(long, default_value_t = 0)]
    recovery_threshold: u64,
    /// Permit fewer than four nodes 允许少于四个节点
    #[arg(long)]
    development: bool,
    #[arg(long, value_name = "FILE", default_value = "genesis.json")]
    out: PathBuf,
    #[arg(long, value_name = "FILE", default_value = "seeds.toml")]
    seeds_out: PathBuf,
    /// The contributions, in turn order 各单位提交的文件,按轮值次序
    #[arg(required = true)]
    contributions: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct Approve {
    genesis: PathBuf,
    /// Configuration of this agency's node 节点配置
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Key file of an administrator, officer, recovery or log key (repeat) 其他密钥文件
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Seal {
    genesis: PathBuf,
    /// The approvals of all agencies 各单位的批准文件
    #[arg(required = true)]
    approvals: Vec<PathBuf>,
    #[arg(long, value_name = "FILE", default_value = "genesis-proofs.json")]
    out: PathBuf,
}

impl Command {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Contribute(_) => "genesis contribute",
            Self::Assemble(_) => "genesis assemble",
            Self::Check { .. } => "genesis check",
            Self::Approve(_) => "genesis approve",
            Self::Seal(_) => "genesis seal",
            Self::Show { .. } => "genesis show",
        }
    }
}

pub fn run(session: &Session, command: Command) -> Result<Answer, Failure> {
    match command {
        Command::Contribute(arguments) => contribute(session, arguments),
        Command::Assemble(arguments) => assemble(&arguments),
        Command::Check { genesis, config } => check(&genesis, config.as_deref()),
        Command::Approve(arguments) => approve(session, &arguments),
        Command::Seal(arguments) => seal(&arguments),
        Command::Show { genesis } => show(&genesis),
    }
}

fn contribute(session: &Session, arguments: Contribute) -> Result<Answer, Failure> {
    let config = arguments.config.as_deref().map(Config::read).transpose()?;
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
    let bytes = contribution.to_bytes().map_err(|error| Failure::not_written(&arguments.out, error))?;
    write(&arguments.out, &bytes)?;
    let fingerprint = ceremony::fingerprint(&bytes);
    let data = json!({ "agency_id": contribution.agency.id, "file": arguments.out, "fingerprint": fingerprint });
    let text = Words::new(format!("电话核对: {fingerprint}"), format!("read out by phone: {fingerprint}"));
    Ok(Answer { data, text, ..Answer::default() })
}

/// 64 hexadecimal digits, or a file whose head names the key.
fn public_key(text: &str) -> Result<Key, Failure> {
    if let Some(bytes) = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()) {
        return Ok(Key(PublicKey(bytes)));
    }
    let named = keys::inspect(Path::new(text))?.public;
    named.map(Key).ok_or_else(|| Failure::usage(format!("{text} names no public key; give its 64 hexadecimal digits")))
}

fn assemble(arguments: &Assemble) -> Result<Answer, Failure> {
    let (mut contributions, mut fingerprints) = (Vec::new(), Vec::new());
    for path in &arguments.contributions {
        let bytes = read_limited(path, ceremony::MAX_CONTRIBUTION_BYTES)?;
        let named = |fault: CeremonyFault| Failure::new(5018, format!("{}: {fault}", path.display()));
        let contribution = Contribution::parse(&bytes).map_err(named)?;
        contribution.check(&arguments.network).map_err(named)?;
        fingerprints.push((contribution.agency.id.clone(), ceremony::fingerprint(&bytes)));
        contributions.push(contribution);
    }
    let document = ceremony::assemble(&template(arguments)?, &contributions)?;
    let bytes = document.to_bytes().map_err(|error| Failure::not_written(&arguments.out, error))?;
    let genesis = Genesis::parse(&bytes).map_err(|fault| Failure::genesis(&arguments.out, &fault))?;
    let seeds = seeds(&genesis, &contributions)?;
    write(&arguments.out, &bytes)?;
    write(&arguments.seeds_out, seeds.to_text().as_bytes())?;
    let lines: String =
        fingerprints.iter().map(|(agency, fingerprint)| format!("{agency:<12} {fingerprint}\n")).collect();
    let items: Vec<_> = fingerprints
        .iter()
        .map(|(agency, fingerprint)| json!({ "agency_id": agency, "fingerprint": fingerprint }))
        .collect();
    let hash = hash_text(&genesis);
    let data = json!({
        "network": genesis.origin, "genesis_hash": hash, "genesis_file": arguments.out,
        "seeds_file": arguments.seeds_out, "contributions": items,
    });
    let text = Words::new(
        format!("{lines}创世哈希 {hash}\n请各单位 genesis check 与 genesis approve"),
        format!("{lines}genesis hash {hash}\nnow each agency: genesis check, then genesis approve"),
    );
    Ok(Answer { data, text, ..Answer::default() })
}

fn template(arguments: &Assemble) -> Result<Document, Failure> {
    let (mut consensus, mut rules) = (Numbers::default(), Numbers::default());
    for text in &arguments.parameters {
        let wrong = || Failure::usage(format!("--set {text} is not NAME=VALUE with a whole number"));
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let value: u64 = value.parse().map_err(|_| wrong())?;
        let known = mingzhang_ledger::authority::Parameters::default().set(name, value);
        let numbers = if known { &mut consensus } else { &mut rules };
        if numbers.0.insert(name.to_owned(), value).is_some() {
            return Err(Failure::usage(format!("--set {name} is given twice")));
        }
    }
    Ok(Document {
        format: mingzhang_genesis::document::FORMAT.to_owned(),
        name: arguments.network.clone(),
        suite: 1,
        development: arguments.development,
        test_keys: false,
        utc_offset_minutes: arguments.utc_offset_minutes,
        currencies: arguments.currencies.clone(),
        consensus,
        rules,
        agencies: Vec::new(),
        recovery: Recovery { threshold: arguments.recovery_threshold, keys: Vec::new() },
        log_keys: Vec::new(),
    })
}

fn seeds(genesis: &Genesis, contributions: &[Contribution]) -> Result<Seeds, Failure> {
    let mut peers = Vec::new();
    for contribution in contributions {
        let Some(node) = &contribution.agency.node else { continue };
        let address = |text: &String| {
            text.parse().map_err(|fault| Failure::new(5016, format!("{}: {fault}", contribution.agency.id)))
        };
        peers.push(Peer {
            agency: contribution.agency.id.clone(),
            peer_key: node.peer_key.0,
            addresses: contribution.addresses.iter().map(address).collect::<Result<_, _>>()?,
            observer: false,
        });
    }
    let text = Seeds { genesis_hash: genesis.hash, peers }.to_text();
    Seeds::parse(&text).map_err(|fault| Failure::new(5016, fault.to_string()))
}

fn check(path: &Path, config: Option<&Path>) -> Result<Answer, Failure> {
    let genesis = setup::read_genesis(path)?;
    if let Some(config) = config {
        let config = Config::read(config)?;
        for (purpose, registered) in node_keys(&genesis, &config.agency)? {
            let file = purpose.file(&config.keys_directory);
            match keys::inspect(&file)?.public {
                Some(found) if found == registered => {}
                Some(found) => return Err(keys::KeyFault::Other { path: file, found, wanted: registered }.into()),
                None => return Err(keys::KeyFault::Claim { path: file }.into()),
            }
        }
    }
    let (zh, en) =
        if config.is_some() { (",且含有本节点的密钥", " and holds this node's keys") } else { ("", "") };
    let (name, hash) = (path.display(), hash_text(&genesis));
    let text = Words::new(format!("{name} 合格{zh}\n{hash}"), format!("{name} is valid{en}\n{hash}"));
    Ok(Answer { data: summary(&genesis), text, ..Answer::default() })
}

fn node_keys(genesis: &Genesis, agency: &str) -> Result<[(Purpose, PublicKey); 3], Failure> {
    let found = genesis.set.members.iter().find(|member| member.agency == agency);
    let member =
        found.ok_or_else(|| Failure::new(5009, format!("agency {agency} has no node in {}", genesis.origin)))?;
    Ok([
        (Purpose::Consensus, member.consensus_key),
        (Purpose::Sealing, member.sealing_key),
        (Purpose::Peer, member.peer_key),
    ])
}

fn approve(session: &Session, arguments: &Approve) -> Result<Answer, Failure> {
    let genesis = setup::read_genesis(&arguments.genesis)?;
    let mut files = arguments.keys.clone();
    if let Some(config) = &arguments.config {
        let config = Config::read(config)?;
        node_keys(&genesis, &config.agency)?;
        files.extend(Purpose::ALL.map(|purpose| purpose.file(&config.keys_directory)));
    }
    if files.is_empty() {
        return Err(Failure::usage("nothing to prove: give --config, --key or both"));
    }
    let known = genesis.document.keys();
    let time_s = clock::Clock::default().now_ms() / 1_000;
    let mut openers = Openers::new(session);
    let mut proofs: Vec<Proof> = Vec::new();
    for file in &files {
        let key = openers.open(file, genesis.test_keys())?;
        let place = known.iter().find(|place| place.key == key.public()).ok_or_else(|| {
            Failure::new(5005, format!("{} holds no key of this genesis: {:?}", file.display(), key.public()))
        })?;
        proofs.push(possession::prove(genesis.scope(), &place.agency, place.use_of_key, &key, time_s));
    }
    let count = proofs.len();
    let approval = Proofs::new(&genesis, proofs);
    approval.check(&genesis)?;
    write_proofs(&arguments.out, &approval)?;
    let hash = hash_text(&genesis);
    let data = json!({ "genesis_hash": hash, "file": arguments.out, "proofs": count });
    let text = Words::new(
        format!("已为 {hash} 证明 {count} 把密钥,写入 {}", arguments.out.display()),
        format!("proved {count} keys for {hash}, written to {}", arguments.out.display()),
    );
    Ok(Answer { data, text, ..Answer::default() })
}

fn seal(arguments: &Seal) -> Result<Answer, Failure> {
    let genesis = setup::read_genesis(&arguments.genesis)?;
    let mut approvals = Vec::new();
    for path in &arguments.approvals {
        let named = |fault: possession::PossessionFault| Failure::new(5026, format!("{}: {fault}", path.display()));
        let approval = Proofs::parse(&read_limited(path, MAX_PROOFS_BYTES)?).map_err(named)?;
        approval.check(&genesis).map_err(named)?;
        approvals.push(approval);
    }
    let proofs = Proofs::merge(&genesis, &approvals)?;
    proofs.check_complete(&genesis)?;
    write_proofs(&arguments.out, &proofs)?;
    let mut data = summary(&genesis);
    data["proofs_file"] = json!(arguments.out);
    Ok(Answer { data, text: Words::same(minutes::sheet(&genesis)), ..Answer::default() })
}

fn show(path: &Path) -> Result<Answer, Failure> {
    let genesis = setup::read_genesis(path)?;
    Ok(Answer { data: summary(&genesis), text: Words::same(minutes::sheet(&genesis)), ..Answer::default() })
}

fn summary(genesis: &Genesis) -> serde_json::Value {
    let agency = |agency: &Agency| {
        json!({
            "agency_id": agency.id, "name": agency.name, "roles": agency.roles, "node": agency.node.is_some(),
            "fingerprint": minutes::agency_fingerprint(agency),
        })
    };
    json!({
        "network": genesis.origin,
        "genesis_hash": hash_text(genesis),
        "fingerprint": ceremony::grouped(&genesis.hash),
        "development": genesis.development(),
        "test_keys": genesis.test_keys(),
        "quorum": genesis.set.quorum(),
        "tolerates": genesis.set.tolerated_faults(),
        "agencies": genesis.document.agencies.iter().map(agency).collect::<Vec<_>>(),
    })
}

pub fn hash_text(genesis: &Genesis) -> String {
    format!("sha256:{}", hex::encode(genesis.hash))
}

fn write_proofs(path: &Path, proofs: &Proofs) -> Result<(), Failure> {
    write(path, &proofs.to_bytes().map_err(|error| Failure::not_written(path, error))?)
}

/// Writes a new file; an existing one is never overwritten, because somebody may already have read out its digest.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    let create = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    create().map_err(|error| Failure::not_written(path, error))
}

/// Opens key files; one passphrase is asked for and tried on all, another only where it does not fit.
pub(super) struct Openers<'a> {
    session: &'a Session,
    passphrase: Option<Passphrase>,
}

impl<'a> Openers<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Self { session, passphrase: None }
    }

    /// The passphrase that opened an encrypted file.
    pub(super) fn passphrase(&self) -> Option<&Passphrase> {
        self.passphrase.as_ref()
    }

    pub(super) fn open(&mut self, path: &Path, test_keys: bool) -> Result<SigningKey, Failure> {
        if !keys::inspect(path)?.encrypted {
            return Ok(keys::read(path, None, test_keys)?);
        }
        if let Some(passphrase) = &self.passphrase
            && let Ok(key) = keys::read(path, Some(passphrase), test_keys)
        {
            return Ok(key);
        }
        let passphrase = self.session.passphrase(path)?;
        let key = keys::read(path, Some(&passphrase), test_keys)?;
        self.passphrase = Some(passphrase);
        Ok(key)
    }
}
