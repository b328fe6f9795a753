//! Connections that come in and whose handshake is not finished, by the address they come from: the allow-list acts only
//! after the handshake, and silence from some addresses must not take the places of everybody. Some places are kept for
//! addresses of registered peers.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

/// Unfinished handshakes in all; the swarm has no more.
pub const MAX_PENDING: usize = 256;
/// Those of addresses that no registered peer is known by: the other places stay free for members.
const MAX_PENDING_UNKNOWN: usize = 192;
/// Those of one provider's customer: an IPv4 /24 or an IPv6 /48.
const MAX_PENDING_PER_NETWORK: usize = 32;
/// Handshakes of one address at a time: several members may stand behind one, and those refused dial again.
const MAX_PENDING_PER_ADDRESS: usize = 8;
/// Addresses that one registered peer is known by, those that its names led to among them.
const MAX_KNOWN_PER_PEER: usize = 16;

/// Whoever gave out an IPv6 address gave out its whole /64.
const IPV6_SUBSCRIBER: u128 = !0 << 64;
const IPV6_NETWORK: u128 = !0 << 80;
const IPV4_NETWORK: u32 = !0 << 8;

#[derive(Debug)]
struct Pending {
    source: IpAddr,
    /// A registered peer is known by it.
    known: bool,
}

/// Refuses what goes beyond a limit. At most as many entries as the swarm has pending connections.
#[derive(Debug, Default)]
pub struct Behaviour {
    pending: BTreeMap<ConnectionId, Pending>,
    /// Where registered peers were dialled, or connected from.
    known: BTreeMap<PeerId, BTreeSet<IpAddr>>,
}

impl Behaviour {
    /// A peer that is not registered any more.
    pub fn forget(&mut self, peer: &PeerId) {
        self.known.remove(peer);
    }

    fn know(&mut self, peer: PeerId, address: &Multiaddr) {
        let Some(source) = source(address) else { return };
        let known = self.known.entry(peer).or_default();
        if known.len() >= MAX_KNOWN_PER_PEER && !known.contains(&source) {
            known.clear();
        }
        known.insert(source);
    }

    fn is_known(&self, source: &IpAddr) -> bool {
        self.known.values().any(|known| known.contains(source))
    }

    /// Why another handshake from there has to wait.
    fn refusal(&self, source: &IpAddr, known: bool) -> Option<String> {
        let counted = |of: &dyn Fn(&Pending) -> bool| self.pending.values().filter(|other| of(other)).count();
        if counted(&|other| other.source == *source) >= MAX_PENDING_PER_ADDRESS {
            return Some(format!("too many unfinished handshakes of {source}"));
        }
        if known {
            return None;
        }
        let own = network(source);
        if counted(&|other| network(&other.source) == own) >= MAX_PENDING_PER_NETWORK {
            return Some(format!("too many unfinished handshakes of the network of {source}"));
        }
        (counted(&|other| !other.known) >= MAX_PENDING_UNKNOWN)
            .then(|| "too many unfinished handshakes of unknown addresses".to_owned())
    }
}

/// The address that counts; none for this machine's own, where a whole network may run for trials.
fn source(remote: &Multiaddr) -> Option<IpAddr> {
    let address: IpAddr = match remote.iter().next()? {
        Protocol::Ip4(address) => address.into(),
        Protocol::Ip6(address) => address.into(),
        _ => return None,
    };
    match address.to_canonical() {
        own if own.is_loopback() => None,
        IpAddr::V6(address) => Some(IpAddr::V6((address.to_bits() & IPV6_SUBSCRIBER).into())),
        address @ IpAddr::V4(_) => Some(address),
    }
}

fn network(source: &IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() & IPV4_NETWORK).into()),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & IPV6_NETWORK).into()),
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(source) = source(remote) else { return Ok(()) };
        let known = self.is_known(&source);
        if let Some(reason) = self.refusal(&source, known) {
            return Err(ConnectionDenied::new(reason));
        }
        self.pending.insert(connection, Pending { source, known });
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&connection);
        self.know(peer, remote);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        _role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer {
            addresses.iter().for_each(|address| self.know(peer, address));
        }
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _connection: ConnectionId,
        _peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ListenFailure(failure) = event {
            self.pending.remove(&failure.connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::ListenError;
    use libp2p::swarm::behaviour::ListenFailure;

    use super::*;

    fn comes(behaviour: &mut Behaviour, number: usize, from: &str) -> bool {
        let local = "/ip4/10.0.0.1/tcp/1".parse().expect("an address");
        let remote = format!("{from}/tcp/{}", 1_024 + number).parse().expect("an address");
        behaviour.handle_pending_inbound_connection(ConnectionId::new_unchecked(number), &local, &remote).is_ok()
    }

    #[test]
    fn a_silent_address_leaves_room_for_the_others() {
        let mut behaviour = Behaviour::default();
        let taken = (0..80).filter(|number| comes(&mut behaviour, *number, "/ip4/192.0.2.1")).count();
        assert_eq!((taken, behaviour.pending.len()), (MAX_PENDING_PER_ADDRESS, MAX_PENDING_PER_ADDRESS));
        assert!(!comes(&mut behaviour, 80, "/ip6/::ffff:192.0.2.1"), "the same address in another form");
        assert!(comes(&mut behaviour, 81, "/ip4/192.0.2.2"), "a member elsewhere");
        let taken = (100..180).filter(|number| comes(&mut behaviour, *number, &format!("/ip6/2001:db8::{number}")));
        assert_eq!(taken.count(), MAX_PENDING_PER_ADDRESS, "addresses of one network count as one");
        assert!(comes(&mut behaviour, 180, "/ip6/2001:db8:0:1::1"));
    }

    #[test]
    fn silence_from_many_addresses_leaves_room_for_members() {
        let mut behaviour = Behaviour::default();
        let member: Multiaddr = "/ip4/203.0.113.7/tcp/8442".parse().expect("an address");
        let dialled = PeerId::random();
        behaviour
            .handle_pending_outbound_connection(
                ConnectionId::new_unchecked(9_000),
                Some(dialled),
                &[member],
                Endpoint::Dialer,
            )
            .expect("is dialled");
        let taken = (0..32).filter(|host| {
            let from = format!("/ip4/198.51.100.{host}");
            (0..8).all(|number| comes(&mut behaviour, host * 8 + number, &from))
        });
        assert_eq!(taken.count() * MAX_PENDING_PER_ADDRESS, MAX_PENDING_PER_NETWORK);
        assert!(comes(&mut behaviour, 300, "/ip4/192.0.2.1"), "another network has room");
        let taken = (1_000..4_000)
            .filter(|number| comes(&mut behaviour, *number, &format!("/ip4/10.{}.{}.1", number / 256, number % 256)));
        assert_eq!(taken.count(), MAX_PENDING_UNKNOWN - MAX_PENDING_PER_NETWORK - 1);
        let taken =
            (4_000..4_100).filter(|number| comes(&mut behaviour, *number, &format!("/ip6/2001:db8:{number}::1")));
        assert_eq!(taken.count(), 0);
        assert!(comes(&mut behaviour, 5_000, "/ip4/203.0.113.7"), "a member finds a place");
        assert!(behaviour.pending.len() < MAX_PENDING);
        behaviour.forget(&dialled);
        assert!(!comes(&mut behaviour, 5_001, "/ip4/203.0.113.7"), "who is registered no more has none kept");
    }

    #[test]
    fn an_address_that_a_peer_connected_from_is_known() {
        let mut behaviour = Behaviour::default();
        let (local, peer) = ("/ip4/10.0.0.1/tcp/1".parse().expect("an address"), PeerId::random());
        for last in 0..200 {
            let remote = format!("/ip4/192.0.2.{last}/tcp/7").parse().expect("an address");
            behaviour
                .handle_established_inbound_connection(ConnectionId::new_unchecked(last), peer, &local, &remote)
                .expect("is let in");
            assert!(behaviour.is_known(&IpAddr::from([192, 0, 2, u8::try_from(last).expect("small")])));
        }
        assert!(behaviour.known.values().map(BTreeSet::len).sum::<usize>() <= MAX_KNOWN_PER_PEER);
    }

    #[test]
    fn a_handshake_that_ends_makes_room() {
        let mut behaviour = Behaviour::default();
        let from = "/ip4/192.0.2.1";
        assert!((0..MAX_PENDING_PER_ADDRESS).all(|number| comes(&mut behaviour, number, from)));
        assert!(!comes(&mut behaviour, 90, from));
        let address: Multiaddr = from.parse().expect("an address");
        let first = ConnectionId::new_unchecked(0);
        behaviour
            .handle_established_inbound_connection(first, PeerId::random(), &address, &address)
            .expect("is let in");
        assert!(comes(&mut behaviour, 91, from));
        assert!(!comes(&mut behaviour, 92, from));
        behaviour.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
            local_addr: &address,
            send_back_addr: &address,
            error: &ListenError::Aborted,
            connection_id: ConnectionId::new_unchecked(1),
            peer_id: None,
        }));
        assert!(comes(&mut behaviour, 93, from));
    }

    #[test]
    fn this_machine_is_not_limited() {
        let mut behaviour = Behaviour::default();
        assert!((0..80).all(|number| comes(&mut behaviour, number, "/ip4/127.0.0.1")));
        assert!((80..160).all(|number| comes(&mut behaviour, number, "/ip6/::1")));
    }
}
