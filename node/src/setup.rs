//! What a node is started with: configuration, genesis, seeds and keys, read from files and checked against each other.
//! Starting it is `node`'s matter.

use std::io::Read;
use std::path::{Path, PathBuf};

use mingzhang_genesis::possession::{MAX_PROOFS_BYTES, PossessionFault, Proofs};
use mingzhang_genesis::{Genesis, GenesisFault, MAX_GENESIS_BYTES};
use mingzhang_ledger::authority::Member;
use mingzhang_ledger::crypto::PublicKey;
use mingzhang_ledger::outcome::Code;
use mingzhang_seeds::{Seeds, SeedsFault};
use thiserror::Error;

use crate::config::Config;
use crate::keys::{self, KeyFault, NodeKeys, Passphrase, Purpose};
use crate::node::Start;

/// Why a node cannot start with these files.
#[derive(Debug, Error)]
pub enum SetupFault {
    #[error("{path}: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path}: {fault}")]
    Genesis { path: PathBuf, fault: GenesisFault },
    #[error("{path}: {fault}")]
    Proofs { path: PathBuf, fault: PossessionFault },
    #[error("{path}: {fault}")]
    Seeds { path: PathBuf, fault: SeedsFault },
    #[error("{path} names no address of {agency}: with it, this node cannot be reached or reach a quorum")]
    SeedMissing { path: PathBuf, agency: String },
    #[error("agency {agency} has no node in {origin}")]
    NoSeat { agency: String, origin: String },
    #[error(transparent)]
    Key(#[from] KeyFault),
}

impl SetupFault {
    /// The catalogue's code of this fault.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code(2011),
            Self::Genesis { .. } => Code(5018),
            Self::Proofs { .. } => Code(5026),
            Self::Seeds { .. } | Self::SeedMissing { .. } => Code(5016),
            Self::NoSeat { .. } => Code(5009),
            Self::Key(fault) => fault.code(),
        }
    }
}

/// Reads all files that the configuration names. `passphrase` is asked only for encrypted keys.
pub fn read<E: From<SetupFault>>(
    config: Config,
    mut passphrase: impl FnMut(&Path) -> Result<Passphrase, E>,
) -> Result<Start, E> {
    let genesis = read_genesis(&config.genesis_file)?;
    check_proofs(&config.genesis_proofs_file, &genesis)?;
    let seeds = read_seeds(&config.seeds_file, &genesis)?;
    let test_keys = genesis.test_keys();
    let mut open = |purpose: Purpose, wanted: Option<&PublicKey>| -> Result<_, E> {
        let path = purpose.file(&config.keys_directory);
        let file = keys::inspect(&path).map_err(SetupFault::Key)?;
        let words = if file.encrypted { Some(passphrase(&path)?) } else { None };
        let key = match wanted {
            Some(wanted) => keys::read_for(&path, words.as_ref(), test_keys, wanted),
            None => keys::read(&path, words.as_ref(), test_keys),
        };
        Ok(key.map_err(SetupFault::Key)?)
    };
    let keys = if config.observer {
        NodeKeys { consensus: None, sealing: None, peer: open(Purpose::Peer, None)? }
    } else {
        let member = seat(&config, &genesis)?;
        NodeKeys {
            consensus: Some(open(Purpose::Consensus, Some(&member.consensus_key))?),
            sealing: Some(open(Purpose::Sealing, Some(&member.sealing_key))?),
            peer: open(Purpose::Peer, Some(&member.peer_key))?,
        }
    };
    Ok(Start { config, genesis, seeds, keys })
}

fn seat<'a>(config: &Config, genesis: &'a Genesis) -> Result<&'a Member, SetupFault> {
    let found = genesis.set.members.iter().find(|member| member.agency == config.agency);
    found.ok_or_else(|| SetupFault::NoSeat { agency: config.agency.clone(), origin: genesis.origin.clone() })
}

/// Reads and checks a genesis file.
pub fn read_genesis(path: &Path) -> Result<Genesis, SetupFault> {
    let bytes = read_limited(path, MAX_GENESIS_BYTES)?;
    Genesis::parse(&bytes).map_err(|fault| SetupFault::Genesis { path: path.to_owned(), fault })
}

/// Every key of the genesis is proven by its holder.
fn check_proofs(path: &Path, genesis: &Genesis) -> Result<(), SetupFault> {
    let bytes = read_limited(path, MAX_PROOFS_BYTES)?;
    Proofs::parse(&bytes)
        .and_then(|proofs| proofs.check_complete(genesis))
        .map_err(|fault| SetupFault::Proofs { path: path.to_owned(), fault })
}

/// A network of one node needs no seeds; otherwise each authority must be found.
fn read_seeds(path: &Path, genesis: &Genesis) -> Result<Seeds, SetupFault> {
    let members = &genesis.set.members;
    if members.len() == 1 && !path.exists() {
        return Ok(Seeds { genesis_hash: genesis.hash, peers: Vec::new() });
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| SetupFault::Unreadable { path: path.to_owned(), error })?;
    let seeds = Seeds::parse(&text)
        .and_then(|seeds| seeds.check(&genesis.hash, &genesis.set).map(|()| seeds))
        .map_err(|fault| SetupFault::Seeds { path: path.to_owned(), fault })?;
    match members.iter().find(|member| seeds.peers.iter().all(|peer| peer.agency != member.agency)) {
        Some(member) => Err(SetupFault::SeedMissing { path: path.to_owned(), agency: member.agency.clone() }),
        None => Ok(seeds),
    }
}

/// Reads at most one byte more than the limit, so that the parser sees and says that it is too large.
pub fn read_limited(path: &Path, limit: usize) -> Result<Vec<u8>, SetupFault> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| SetupFault::Unreadable { path: path.to_owned(), error })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_network_and_its_seeds_fit() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        let genesis = read_genesis(&root.join("genesis/networks/sample.json")).expect("valid");
        let seeds = read_seeds(&root.join("seeds/networks/sample.toml"), &genesis).expect("they fit");
        assert_eq!(seeds.peers.len(), genesis.set.members.len());
    }
}
