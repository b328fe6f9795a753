//! Which ports a devnet's nodes listen on: agency i has P + 10·i for the public interface, the next for operators, the
//! next for the other nodes. What two that start at once would both take is claimed by names of the system.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr as LocalAddr, UnixListener};
use std::path::Path;

use mingzhang_ledger::crypto::sha256;

use super::{DevnetFault, Seat};

/// Where the first devnet on a machine begins.
const USUAL_BASE: u16 = 8440;
/// Ports from one agency to the next.
const STEP: u16 = 10;
/// How many ranges are tried.
const TRIES: u16 = 200;

/// The three ports of the agency at that place.
pub fn of(base: u16, place: usize) -> Result<[SocketAddr; 3], DevnetFault> {
    let offset = u16::try_from(place).ok().and_then(|place| place.checked_mul(STEP));
    let first = offset.and_then(|offset| base.checked_add(offset)).filter(|first| *first <= u16::MAX - 2);
    let first = first.ok_or(DevnetFault::PortRange { base })?;
    Ok([0, 1, 2].map(|next| SocketAddr::from(([127, 0, 0, 1], first + next))))
}

/// Ports that no other devnet takes while this is held: between the choice of free ports and the moment when the nodes
/// listen on them, they look free to everybody. A name of the system for each, which goes with this process.
#[derive(Debug, Default)]
pub struct Claims(BTreeMap<u16, UnixListener>);

impl Claims {
    /// Claims the three ports of a seat, which must be free.
    pub fn add(&mut self, seat: &Seat) -> Result<(), DevnetFault> {
        let taken = |port| DevnetFault::PortTaken { agency: seat.agency_id.clone(), port };
        self.take(&[seat.api, seat.ops, seat.peer]).map_err(taken)
    }

    /// All of these, or none and the first that is taken.
    fn take(&mut self, addresses: &[SocketAddr]) -> Result<(), u16> {
        let mut new = BTreeMap::new();
        for address in addresses {
            let port = address.port();
            if !self.0.contains_key(&port) {
                match claim(port) {
                    Ok(name) => drop(new.insert(port, name)),
                    Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return Err(port),
                    // A system without such names: two devnets must not be started at the same moment there.
                    Err(_) => {}
                }
            }
            if !is_free(address) {
                return Err(port);
            }
        }
        self.0.extend(new);
        Ok(())
    }
}

fn claim(what: impl Display) -> std::io::Result<UnixListener> {
    UnixListener::bind_addr(&LocalAddr::from_abstract_name(format!("mingzhang-devnet-{what}"))?)
}

/// Claims a folder, which need not be there yet, for whoever founds a devnet in it. None where the system has no such names.
pub fn claim_folder(dir: &Path) -> Result<Option<UnixListener>, DevnetFault> {
    let whole = |known: &Path| Some(known.canonicalize().ok()?.join(dir.strip_prefix(known).ok()?));
    let place = dir.ancestors().find_map(whole).unwrap_or_else(|| dir.to_owned());
    match claim(hex::encode(sha256(&[place.as_os_str().as_bytes()]))) {
        Ok(name) => Ok(Some(name)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(DevnetFault::BeingMade(dir.to_owned())),
        Err(_) => Ok(None),
    }
}

/// The first base from the usual one on whose ports are all free; they are claimed.
pub fn choose(agencies: usize) -> Result<(u16, Claims), DevnetFault> {
    choose_from(USUAL_BASE, agencies)
}

fn choose_from(first: u16, agencies: usize) -> Result<(u16, Claims), DevnetFault> {
    let width = u16::try_from(agencies).unwrap_or(u16::MAX).saturating_mul(STEP);
    let mut bases = (0..TRIES).map_while(|attempt| first.checked_add(attempt.checked_mul(width)?));
    let free = |base: u16| {
        let places: Vec<_> = (0..agencies).map(|place| of(base, place)).collect::<Result<_, _>>().ok()?;
        let mut claims = Claims::default();
        claims.take(&places.concat()).ok()?;
        Some((base, claims))
    };
    bases.find_map(free).ok_or(DevnetFault::NoPorts(agencies.saturating_mul(3)))
}

/// The ports of the first place from that one on that are all free.
pub fn next(base: u16, place: usize) -> Result<[SocketAddr; 3], DevnetFault> {
    let mut places = (place..).take(usize::from(TRIES)).map_while(|place| of(base, place).ok());
    places.find(|ports| ports.iter().all(is_free)).ok_or(DevnetFault::NoPorts(3))
}

fn is_free(address: &SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agencies_are_ten_ports_apart() {
        assert_eq!(of(8440, 0).expect("in range").map(|address| address.port()), [8440, 8441, 8442]);
        assert_eq!(of(8440, 3).expect("in range").map(|address| address.port()), [8470, 8471, 8472]);
        assert!(of(65_533, 0).is_ok());
        assert!(of(65_534, 0).is_err());
        assert!(of(60_000, 600).is_err());
    }

    #[test]
    fn a_busy_range_is_passed_over() {
        // Away from the usual base, where other tests look for free ports at the same time.
        let held = TcpListener::bind("127.0.0.1:0").expect("some port is free");
        let taken = held.local_addr().expect("bound").port();
        let base = taken - 11;
        assert_ne!(choose_from(base, 2).expect("another range is free").0, base);
        assert_ne!(next(base, 1).expect("another place is free")[1].port(), taken);
        let [_, ops, _] = of(base, 1).expect("in range");
        let seat = Seat { agency_id: "finance".into(), name: String::new(), api: ops, ops, peer: ops };
        let fault = Claims::default().add(&seat).expect_err("taken");
        assert_eq!(fault.to_string(), format!("port {taken} is taken; finance needs it"));
    }

    #[test]
    fn what_another_devnet_has_chosen_is_passed_over_until_it_ends() {
        let base = 39_000;
        let (first, claims) = choose_from(base, 2).expect("free");
        let (second, _) = choose_from(base, 2).expect("free");
        assert!(second >= first + 2 * STEP, "{first} {second}");
        drop(claims);
        assert_eq!(choose_from(base, 2).expect("free").0, first);
    }
}
