//! `authority …`: what a node says so that the agencies can vote it a seat, and that it is ready for the next epoch. Both
//! write a file for `mingzhang gov`; nothing is sent from here.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use mingzhang_genesis::Genesis;
use mingzhang_ledger::certificate::{KeyRole, possess_bytes};
use mingzhang_ledger::crypto::SigningKey;
use mingzhang_ledger::seal::prove_possession;
use serde_json::{Value, json};

use super::answer::{Answer, Failure, Words};
use super::genesis::Openers;
use super::probe;
use super::session::Session;
use crate::clock::Clock;
use crate::config::Config;
use crate::keyring;
use crate::keys::{self, Purpose};
use crate::setup;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// This node's keys with their proofs, for a proposal that gives it a seat 席位申请文件
    Seat {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Address of the public interface; needed by an agency that joins 公开接口网址
        #[arg(long)]
        url: Option<String>,
        /// Of a member: only this key is replaced, consensus or peer 只更换该密钥
        #[arg(long, value_parser = ["consensus", "peer"])]
        only: Option<String>,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// That the running node follows the tip, with a new sealing key for the next epoch 就绪声明文件
    Ready {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

impl Command {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Seat { .. } => "authority seat",
            Self::Ready { .. } => "authority ready",
        }
    }
}

pub fn run(session: &Session, command: Command) -> Result<Answer, Failure> {
    match command {
        Command::Seat { config, url, only, out } => seat(session, &config, (url, only), &out),
        Command::Ready { config, out } => ready(session, &config, &out),
    }
}

fn seat(
    session: &Session,
    config: &Path,
    (url, only): (Option<String>, Option<String>),
    out: &Path,
) -> Result<Answer, Failure> {
    let config = Config::read(config)?;
    let genesis = setup::read_genesis(&config.genesis_file)?;
    let mut openers = Openers::new(session);
    let mut seat = json!({ "agency_id": config.agency });
    for (purpose, role) in [(Purpose::Consensus, KeyRole::Consensus), (Purpose::Peer, KeyRole::Peer)] {
        if only.as_deref().is_some_and(|only| only != purpose.name()) {
            continue;
        }
        let key = openers.open(&purpose.file(&config.keys_directory), genesis.test_keys())?;
        let proof = key.sign(&possess_bytes(&genesis.hash, &config.agency, role, &key.public()));
        seat[format!("{}_key", purpose.name())] = json!(hex::encode(key.public().0));
        seat[format!("{}_proof", purpose.name())] = json!(hex::encode(proof.0));
    }
    if let Some(url) = url {
        seat["url"] = json!(url);
    }
    write(out, &seat)?;
    let text = Words::new(
        format!("{} 已写入;由任一成员提案: mingzhang gov propose authority_set --seat {0}", out.display()),
        format!("{} written; a member proposes it: mingzhang gov propose authority_set --seat {0}", out.display()),
    );
    Ok(Answer { data: json!({ "file": out, "seat": seat }), text, ..Answer::default() })
}

fn ready(session: &Session, config: &Path, out: &Path) -> Result<Answer, Failure> {
    let config = Config::read(config)?;
    let genesis = setup::read_genesis(&config.genesis_file)?;
    let status = probe::get_json(config.api_listen, "/api/v1/status")
        .map_err(|error| Failure::new(5027, format!("the node at {} does not answer: {error}", config.api_listen)))?;
    let number = |name: &str| status.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (epoch, height) = (number("epoch").saturating_add(1), number("height"));
    let key = next_key(session, &config, &genesis, epoch)?;
    let time_s = Clock::default().now_ms() / 1_000;
    let statement = json!({
        "epoch": epoch, "height": height, "sealing_key": hex::encode(key.public().0),
        "sealing_proof": hex::encode(prove_possession(&genesis.origin, time_s, &key)),
    });
    write(out, &statement)?;
    let text = Words::new(
        format!("{} 已写入(第 {epoch} 届);请提交: mingzhang gov ready {0}", out.display()),
        format!("{} written for epoch {epoch}; submit it: mingzhang gov ready {0}", out.display()),
    );
    Ok(Answer { data: json!({ "file": out, "statement": statement }), text, ..Answer::default() })
}

/// The sealing key of an epoch, made if it is not there. It is protected as the node's other keys are, by the same
/// passphrase, because the running node opens it when the epoch begins.
pub(super) fn next_key(
    session: &Session,
    config: &Config,
    genesis: &Genesis,
    epoch: u64,
) -> Result<SigningKey, Failure> {
    let mut openers = Openers::new(session);
    let path = keyring::file_of(&config.keys_directory, epoch);
    if path.exists() {
        return openers.open(&path, genesis.test_keys());
    }
    let consensus = Purpose::Consensus.file(&config.keys_directory);
    openers.open(&consensus, genesis.test_keys())?;
    let key = keys::generate()?;
    match openers.passphrase() {
        Some(passphrase) => keys::write(&path, &key, passphrase)?,
        None => keys::write_test(&path, &key)?,
    }
    Ok(key)
}

/// Replaces an earlier statement: the files hold nothing secret.
fn write(path: &Path, value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::not_written(path, error))?;
    std::fs::write(path, text).map_err(|error| Failure::not_written(path, error))
}
