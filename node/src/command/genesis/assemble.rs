//! `genesis assemble`: contributions become genesis.json and seeds.toml. What is wrong is said with the name of the
//! contribution that it is wrong in.

use std::path::PathBuf;

use mingzhang_genesis::Genesis;
use mingzhang_genesis::ceremony::{self, CeremonyFault, Contribution};
use mingzhang_genesis::document::{self, Document, Recovery};
use mingzhang_seeds::{Peer, Seeds};
use serde_json::json;

use super::{EXISTS, hash_text, take_back, write};
use crate::command::answer::{Answer, Failure, Words};
use crate::command::parameters;
use crate::setup::read_limited;

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
    #[arg(long = "set", value_name = "NAME=VALUE", help = parameters::help())]
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

pub fn assemble(arguments: &Assemble) -> Result<Answer, Failure> {
    let (mut contributions, mut fingerprints) = (Vec::new(), Vec::new());
    for path in &arguments.contributions {
        let bytes = read_limited(path, ceremony::MAX_CONTRIBUTION_BYTES)?;
        let named = |fault: CeremonyFault| refused(format!("{}: {fault}", path.display()));
        let contribution = Contribution::parse(&bytes).map_err(named)?;
        contribution.check(&arguments.network).map_err(named)?;
        super::addresses(&contribution)
            .map_err(|failure| refused(format!("{}: {}", path.display(), failure.detail)))?;
        fingerprints.push((contribution.agency.id.clone(), ceremony::fingerprint(&bytes)));
        contributions.push(contribution);
    }
    let document = ceremony::assemble(&template(arguments)?, &contributions)?;
    let bytes = document.to_bytes().map_err(|error| Failure::not_written(&arguments.out, error))?;
    let genesis = Genesis::parse(&bytes).map_err(|fault| refused(format!("put together: {fault}")))?;
    let seeds = seeds(&genesis, &contributions)?;
    // Both or none: a genesis without its seeds would stand in the way of the next attempt.
    if let Some(there) = [&arguments.out, &arguments.seeds_out].into_iter().find(|path| path.exists()) {
        return Err(Failure::not_written(there, EXISTS));
    }
    write(&arguments.out, &bytes)?;
    if let Err(failure) = write(&arguments.seeds_out, seeds.to_text().as_bytes()) {
        return Err(take_back(&arguments.out, failure));
    }
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
    let (consensus, rules) = parameters::parse(&arguments.parameters)?;
    Ok(Document {
        format: document::FORMAT.to_owned(),
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
        peers.push(Peer {
            agency: contribution.agency.id.clone(),
            peer_key: node.peer_key.0,
            addresses: super::addresses(contribution)?,
            observer: false,
        });
    }
    let text = Seeds { genesis_hash: genesis.hash, peers }.to_text();
    Seeds::parse(&text).map_err(|fault| refused(format!("put together: {fault}")))
}

/// The contributions, alone or together, found no network.
fn refused(detail: String) -> Failure {
    Failure::new(5032, detail)
}
