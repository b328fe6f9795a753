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

/// The asked-for base, or the first from the usual one on whose ports are all free.
pub fn choose(asked: Option<u16>, agencies: usize) -> Result<u16, DevnetFault> {
    if let Some(base) = asked {
        return Ok(base);
    }
    let width = u16::try_from(agencies).unwrap_or(u16::MAX).saturating_mul(STEP);
    let bases = (0..TRIES).map_while(|attempt| USUAL_BASE.checked_add(attempt.checked_mul(width)?));
    let free = |base: &u16| (0..agencies).all(|place| of(*base, place).is_ok_and(|ports| ports.iter().all(is_free)));
    bases.into_iter().find(free).ok_or(DevnetFault::NoPorts(agencies.saturating_mul(3)))
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
    fn a_busy_range_is_passed_over_unless_it_was_asked_for() {
        let chosen = choose(None, 2).expect("some range is free");
        let [_, ops, _] = of(chosen, 1).expect("in range");
        let taken = TcpListener::bind(ops).expect("it was free");
        assert_ne!(choose(None, 2).expect("another range is free"), chosen);
        assert_eq!(choose(Some(chosen), 2).expect("as asked"), chosen);
        let [api, ops, peer] = of(chosen, 1).expect("in range");
        let seat = Seat { agency_id: "finance".into(), name: String::new(), api, ops, peer };
        let fault = require_free(&seat).expect_err("taken");
        assert_eq!(fault.to_string(), format!("port {} is taken; finance needs it", ops.port()));
        drop(taken);
    }
}
