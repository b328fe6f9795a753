//! What a node is started with: configuration, genesis, seeds and keys, read from files and checked against each other.
//! Starting it is `node`'s matter.

use std::io::Read;
use std::path::{Path, PathBuf};

use mingzhang_genesis::possession::{MAX_PROOFS_BYTES, PossessionFault, Proofs};
use mingzhang_genesis::{Genesis, GenesisFault, MAX_GENESIS_BYTES};
use mingzhang_ledger::authority::Member;
use mingzhang_ledger::crypto::{Hash, PublicKey, SigningKey};
use mingzhang_ledger::outcome::Code;
use mingzhang_seeds::{Seeds, SeedsFault};
use thiserror::Error;

use crate::config::Config;
use crate::keyring::{self, Keyring};
use crate::keys::{self, KeyFault, NodeKeys, Passphrase, Purpose};
use crate::node::Start;
use crate::store::Store;

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
    passphrase: impl FnMut(&Path) -> Result<Passphrase, E>,
) -> Result<Start, E> {
    let genesis = read_genesis(&config.genesis_file)?;
    check_proofs(&config.genesis_proofs_file, &genesis)?;
    let seeds = read_seeds(&config, &genesis)?;
    let mut opener =
        Opener { directory: &config.keys_directory, passphrase, test_keys: genesis.test_keys(), last: None };
    let keys = if config.observer {
        NodeKeys { consensus: None, sealing: Keyring::default(), peer: opener.open(Purpose::Peer, None)? }
    } else {
        // Of whoever joined later, nothing in the genesis tells which keys are right: the set that decides does.
        let member = if config.joined_later { None } else { Some(seat(&config, &genesis)?) };
        let consensus = opener.open(Purpose::Consensus, member.map(|member| &member.consensus_key))?;
        let peer = opener.open(Purpose::Peer, member.map(|member| &member.peer_key))?;
        NodeKeys {
            consensus: Some(consensus),
            peer,
            sealing: opener.sealing(member.map(|member| &member.sealing_key))?,
        }
    };
    Ok(Start { config, genesis, seeds, keys, lost_at_ms: None, clock_offset_ms: 0 })
}

/// The public files that are there fit each other. Those that are not there yet come back: nothing was said of them.
pub fn check_public(config: &Config) -> Result<Vec<&Path>, SetupFault> {
    let files = [&config.genesis_file, &config.genesis_proofs_file, &config.seeds_file];
    let absent: Vec<&Path> = files.into_iter().map(PathBuf::as_path).filter(|path| !path.exists()).collect();
    if absent.contains(&config.genesis_file.as_path()) {
        return Ok(files.map(PathBuf::as_path).to_vec());
    }
    let genesis = read_genesis(&config.genesis_file)?;
    if !absent.contains(&config.genesis_proofs_file.as_path()) {
        check_proofs(&config.genesis_proofs_file, &genesis)?;
    }
    if !absent.contains(&config.seeds_file.as_path()) {
        read_seeds(config, &genesis)?;
    }
    if !config.observer && !config.joined_later {
        seat(config, &genesis)?;
    }
    Ok(absent)
}

/// Opens a node's key files and remembers the passphrase, for the sealing keys of later epochs.
struct Opener<'a, P> {
    directory: &'a Path,
    passphrase: P,
    test_keys: bool,
    last: Option<Passphrase>,
}

impl<P> Opener<'_, P> {
    fn open<E>(&mut self, purpose: Purpose, wanted: Option<&PublicKey>) -> Result<SigningKey, E>
    where
        P: FnMut(&Path) -> Result<Passphrase, E>,
        E: From<SetupFault>,
    {
        let path = purpose.file(self.directory);
        let file = keys::inspect(&path).map_err(SetupFault::Key)?;
        if file.encrypted {
            self.last = Some((self.passphrase)(&path)?);
        }
        let words = self.last.as_ref().filter(|_| file.encrypted);
        let key = match wanted {
            Some(wanted) => keys::read_for(&path, words, self.test_keys, wanted),
            None => keys::read(&path, words, self.test_keys),
        };
        Ok(key.map_err(SetupFault::Key)?)
    }

    /// The founding key is opened now, so that a wrong passphrase is said at once. Once it has been destroyed, or
    /// stands beside later ones, the epoch decides which is used.
    fn sealing<E>(&mut self, founding: Option<&PublicKey>) -> Result<Keyring, E>
    where
        P: FnMut(&Path) -> Result<Passphrase, E>,
        E: From<SetupFault>,
    {
        let first = Purpose::Sealing.file(self.directory);
        let files = keyring::files(self.directory);
        if files.is_empty() || files == [first] {
            self.open(Purpose::Sealing, founding)?;
        }
        Ok(Keyring::new(self.directory, self.last.clone(), self.test_keys))
    }
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

/// Reads a list of addresses that must be of this network.
pub fn read_list(path: &Path, genesis_hash: &Hash) -> Result<Seeds, SetupFault> {
    let text =
        std::fs::read_to_string(path).map_err(|error| SetupFault::Unreadable { path: path.to_owned(), error })?;
    let list = Seeds::parse(&text).and_then(|seeds| seeds.check_network(genesis_hash).map(|()| seeds));
    list.map_err(|fault| SetupFault::Seeds { path: path.to_owned(), fault })
}

/// A network of one node needs no seeds; otherwise each authority must be found. Only a founder that holds nothing yet
/// knows that the founders are the members: of others the list is held against the set that decides, while the node runs.
fn read_seeds(config: &Config, genesis: &Genesis) -> Result<Seeds, SetupFault> {
    let path = &config.seeds_file;
    let members = &genesis.set.members;
    if members.len() == 1 && !path.exists() {
        return Ok(Seeds { genesis_hash: genesis.hash, peers: Vec::new() });
    }
    let seeds = read_list(path, &genesis.hash)?;
    let holds_data = Store::lies_in(&config.data_directory);
    if config.joined_later || config.observer || holds_data {
        return Ok(seeds);
    }
    let checked = seeds.check(&genesis.hash, &genesis.set);
    checked.map_err(|fault| SetupFault::Seeds { path: path.to_owned(), fault })?;
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
        let config = Config { seeds_file: root.join("seeds/networks/sample.toml"), ..Config::default() };
        let seeds = read_seeds(&config, &genesis).expect("they fit");
        assert_eq!(seeds.peers.len(), genesis.set.members.len());
    }
}
