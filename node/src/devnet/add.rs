//! Adds a node to a devnet that runs already, for an agency that is registered and has none: keys, configuration, and its
//! address in everybody's seeds. A seat it gets by vote, as in a network in use.

use std::path::Path;

use mingzhang_ledger::crypto::SigningKey;
use mingzhang_seeds::{Peer, Seeds};

use super::found::{SeatKeys, address_of, write_node};
use super::{Devnet, DevnetFault, Seat, io, ports};
use crate::config::Config;
use crate::keys;

/// Makes the folder of a new node and starts nothing.
pub fn add(dir: &Path, agency: &str) -> Result<Devnet, DevnetFault> {
    let mut devnet = Devnet::open(dir)?;
    if devnet.record.seats.iter().any(|seat| seat.agency_id == agency) {
        return Err(DevnetFault::SeatTaken(agency.to_owned()));
    }
    let known = devnet.genesis.document.agencies.iter().find(|known| known.id == agency);
    let name = known.ok_or_else(|| DevnetFault::NoSeat(agency.to_owned()))?.name.clone();
    let first = devnet.record.seats.first().ok_or_else(|| DevnetFault::NoDevnet(dir.to_owned()))?;
    let [api, ops, peer] = ports::next(first.api.port(), devnet.record.seats.len())?;
    let seat = Seat { agency_id: agency.to_owned(), name, api, ops, peer };
    let drawn = || -> Result<SigningKey, DevnetFault> { Ok(keys::generate()?) };
    let node_keys = SeatKeys { consensus: drawn()?, sealing: drawn()?, peer: drawn()? };
    write_node(&devnet.dir, &seat, &node_keys, Config { joined_later: true, ..Config::default() })?;
    let path = devnet.dir.join("seeds.toml");
    let text = std::fs::read_to_string(&path).map_err(io(&path))?;
    let damaged = |reason: String| DevnetFault::Damaged { path: path.clone(), reason };
    let mut seeds = Seeds::parse(&text).map_err(|fault| damaged(fault.to_string()))?;
    seeds.peers.push(Peer {
        agency: agency.to_owned(),
        peer_key: node_keys.peer.public(),
        addresses: vec![address_of(&seat)],
        observer: true,
    });
    // The nodes read it while they run: whole or not at all.
    let part = path.with_extension("part");
    std::fs::write(&part, seeds.to_text()).and_then(|()| std::fs::rename(&part, &path)).map_err(io(&path))?;
    devnet.record.seats.push(seat);
    devnet.record.write(&devnet.dir)?;
    Ok(devnet)
}

#[cfg(test)]
mod tests {
    use super::super::{Plan, found};
    use super::*;
    use crate::keys::Passphrase;
    use crate::setup::{self, SetupFault};

    #[test]
    fn an_added_node_can_be_started_and_the_others_still_can() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("net");
        found::found(&dir, &Plan { agencies: Some(4), ..Plan::default() }).expect("founded");
        let devnet = add(&dir, "audit").expect("added");
        assert_eq!(devnet.record.seats.len(), 5);
        for seat in &devnet.record.seats {
            let config = Config::read(&devnet.node_dir(seat).join("node.toml")).expect("valid configuration");
            assert_eq!(config.joined_later, seat.agency_id == "audit");
            let never = |path: &Path| -> Result<Passphrase, SetupFault> { panic!("{} is encrypted", path.display()) };
            setup::read(config, never).expect("everything that a node needs");
        }
        assert!(matches!(add(&dir, "audit"), Err(DevnetFault::SeatTaken(_))));
        assert!(matches!(add(&dir, "nobody"), Err(DevnetFault::NoSeat(_))));
    }
}
