//! Which ports a devnet's nodes listen on: agency i has P + 10·i for the public interface, the next for operators, the
//! next for the other nodes.

use std::net::{SocketAddr, TcpListener};

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

/// The first base from the usual one on whose ports are all free.
pub fn choose(agencies: usize) -> Result<u16, DevnetFault> {
    choose_from(USUAL_BASE, agencies)
}

fn choose_from(first: u16, agencies: usize) -> Result<u16, DevnetFault> {
    let width = u16::try_from(agencies).unwrap_or(u16::MAX).saturating_mul(STEP);
    let mut bases = (0..TRIES).map_while(|attempt| first.checked_add(attempt.checked_mul(width)?));
    let free = |base: &u16| (0..agencies).all(|place| of(*base, place).is_ok_and(|ports| ports.iter().all(is_free)));
    bases.find(free).ok_or(DevnetFault::NoPorts(agencies.saturating_mul(3)))
}

/// The ports of the first place from that one on that are all free.
pub fn next(base: u16, place: usize) -> Result<[SocketAddr; 3], DevnetFault> {
    let mut places = (place..).take(usize::from(TRIES)).map_while(|place| of(base, place).ok());
    places.find(|ports| ports.iter().all(is_free)).ok_or(DevnetFault::NoPorts(3))
}

/// All three ports of a seat can be listened on.
pub fn require_free(seat: &Seat) -> Result<(), DevnetFault> {
    match [seat.api, seat.ops, seat.peer].iter().find(|address| !is_free(address)) {
        Some(address) => Err(DevnetFault::PortTaken { agency: seat.agency_id.clone(), port: address.port() }),
        None => Ok(()),
    }
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
        assert_ne!(choose_from(base, 2).expect("another range is free"), base);
        assert_ne!(next(base, 1).expect("another place is free")[1].port(), taken);
        let [_, ops, _] = of(base, 1).expect("in range");
        let seat = Seat { agency_id: "finance".into(), name: String::new(), api: ops, ops, peer: ops };
        let fault = require_free(&seat).expect_err("taken");
        assert_eq!(fault.to_string(), format!("port {taken} is taken; finance needs it"));
    }
}
