//! `genesis …`: the founding of a network by several agencies. Each contributes its public keys, one assembles, each
//! checks and approves, one seals. The documents and their rules are in the genesis crate; here are files and keys.

mod assemble;
mod contribute;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use mingzhang_genesis::Genesis;
use mingzhang_genesis::ceremony::{self, Contribution};
use mingzhang_genesis::document::Agency;
use mingzhang_genesis::minutes;
use mingzhang_genesis::possession::{self, MAX_PROOFS_BYTES, Proof, Proofs};
use mingzhang_ledger::crypto::{Hash, PublicKey, SigningKey};
use mingzhang_seeds::{Address, AddressFault, MAX_ADDRESSES};
use serde_json::json;

use super::answer::{Answer, Failure, Words};
use super::session::Session;
use crate::clock;
use crate::config::Config;
use crate::keys::{self, Passphrase, Purpose};
use crate::setup::{self, read_limited};

/// Why a file is not written.
const EXISTS: &str = "it exists already";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write this agency's public keys for the one who assembles 提交本单位公钥
    Contribute(contribute::Contribute),
    /// Put contributions together: genesis.json and seeds.toml 汇总成创世文件
    Assemble(assemble::Assemble),
    /// Is a genesis valid, and does it hold this node's keys? 检查创世文件
    Check {
        genesis: PathBuf,
        /// Compare with this node's keys 与本节点密钥比对
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Compare with what this agency contributed 与本单位提交的文件比对
        #[arg(long, value_name = "FILE")]
        contribution: Option<PathBuf>,
        /// Compare with the hash that was told, sha256:… 与告知的创世哈希比对
        #[arg(long, value_parser = parse_hash)]
        hash: Option<Hash>,
    },
    /// Prove this agency's keys for exactly this genesis 批准创世文件
    Approve(Approve),
    /// Gather all approvals; nothing may be missing 汇总全部同意,缺一不可
    Seal(Seal),
    /// Show hash, fingerprints and agencies 显示创世文件
    Show { genesis: PathBuf },
}

#[derive(Debug, clap::Args)]
pub struct Approve {
    genesis: PathBuf,
    /// Configuration of this agency's node 节点配置
    #[arg(long, value_name = "FILE", requires = "contribution")]
    config: Option<PathBuf>,
    /// What this agency contributed: nothing else may stand in its name 本单位提交的文件
    #[arg(long, value_name = "FILE")]
    contribution: Option<PathBuf>,
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
        Command::Contribute(arguments) => contribute::contribute(session, arguments),
        Command::Assemble(arguments) => assemble::assemble(&arguments),
        Command::Check { genesis, config, contribution, hash } => {
            check(&genesis, config.as_deref(), contribution.as_deref(), hash.as_ref())
        }
        Command::Approve(arguments) => approve(session, &arguments),
        Command::Seal(arguments) => seal(&arguments),
        Command::Show { genesis } => show(&genesis),
    }
}

/// With `sha256:` in front or without it.
fn parse_hash(text: &str) -> Result<Hash, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let bytes = hex::decode(digits).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "a hash is sha256: and 64 hexadecimal digits".to_owned())
}

/// The genesis holds what the file says that its agency contributed. Gives the agency.
fn check_contribution(genesis: &Genesis, path: &Path) -> Result<String, Failure> {
    let named = |fault: ceremony::CeremonyFault| Failure::new(5032, format!("{}: {fault}", path.display()));
    let contribution = Contribution::parse(&read_limited(path, ceremony::MAX_CONTRIBUTION_BYTES)?).map_err(named)?;
    contribution.check_stands_in(&genesis.document).map_err(named)?;
    Ok(contribution.agency.id)
}

fn check(
    path: &Path,
    config: Option<&Path>,
    contribution: Option<&Path>,
    wanted: Option<&Hash>,
) -> Result<Answer, Failure> {
    let genesis = setup::read_genesis(path)?;
    contribution.map(|file| check_contribution(&genesis, file)).transpose()?;
    if let Some(wanted) = wanted.filter(|wanted| **wanted != genesis.hash) {
        let (name, found, wanted) = (path.display(), hash_text(&genesis), hex::encode(wanted));
        return Err(Failure::new(5018, format!("{name} has the hash {found}, the one told is sha256:{wanted}")));
    }
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
    let config = arguments.config.as_deref().map(Config::read).transpose()?;
    let contributed = arguments.contribution.as_deref().map(|file| check_contribution(&genesis, file)).transpose()?;
    if let (Some(config), Some(id)) = (&config, &contributed)
        && config.agency != *id
    {
        return Err(Failure::new(5032, format!("the contribution is of agency {id}, the node of {}", config.agency)));
    }
    if let Some(config) = &config {
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
        let name = file.display();
        let place = known
            .iter()
            .find(|place| place.key == key.public())
            .ok_or_else(|| Failure::new(5005, format!("{name} holds no key of this genesis: {:?}", key.public())))?;
        if let Some(config) = config.as_ref().filter(|config| config.agency != place.agency) {
            let (theirs, own) = (&place.agency, &config.agency);
            return Err(Failure::new(5005, format!("{name} is a key of agency {theirs}, not of {own}")));
        }
        if proofs.iter().any(|proof| proof.key.0 == key.public()) {
            return Err(Failure::usage(format!("the key in {name} is given twice")));
        }
        proofs.push(possession::prove(genesis.scope(), &place.agency, place.use_of_key, &key, time_s));
    }
    let count = proofs.len();
    let approval = Proofs::new(&genesis, proofs);
    approval.check(&genesis)?;
    write_proofs(&arguments.out, &approval)?;
    let hash = hash_text(&genesis);
    let data = json!({ "genesis_hash": hash, "file": arguments.out, "proofs": count });
    // Without a configuration nothing says whose keys they should be: so each is named.
    let line = |proof: &Proof| format!("{:<12} {}\n", proof.agency, proof.role.name());
    let lines: String = approval.proofs.iter().map(line).collect();
    let file = arguments.out.display();
    let text = Words::new(
        format!("{lines}已证明 {count} 把密钥,写入 {file}\n{hash}"),
        format!("{lines}proved {count} keys, written to {file}, for\n{hash}"),
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
            "fingerprint": minutes::agency_fingerprint(&genesis.document, agency),
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

/// Where a contributed node is reached, as the seeds will say it.
fn addresses(contribution: &Contribution) -> Result<Vec<Address>, Failure> {
    let id = &contribution.agency.id;
    let refused = |reason: String| Failure::new(5032, format!("agency {id}: {reason}"));
    let count = contribution.addresses.len();
    if contribution.agency.node.is_some() && !(1..=MAX_ADDRESSES).contains(&count) {
        return Err(refused(format!("it gives {count} addresses of its node, 1 to {MAX_ADDRESSES} are allowed")));
    }
    contribution
        .addresses
        .iter()
        .map(|text| text.parse().map_err(|fault: AddressFault| refused(fault.to_string())))
        .collect()
}

/// Writes a new file whole or not at all; an existing one is never overwritten, because somebody may already have read
/// out its digest.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    let created = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = created.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::not_written(path, EXISTS),
        _ => Failure::not_written(path, error),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| take_back(path, Failure::not_written(path, error)))
}

/// Removes what this command has just made; it failed afterwards.
fn take_back(path: &Path, failure: Failure) -> Failure {
    match std::fs::remove_file(path) {
        Ok(()) => failure,
        Err(error) => {
            let detail = format!("{}; {} was made and cannot be removed: {error}", failure.detail, path.display());
            Failure { detail, ..failure }
        }
    }
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
