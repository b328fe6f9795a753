//! Connections that come in and whose handshake is not finished, by the address they come from: the allow-list acts only
//! after the handshake, and silence from one address must not take the places of everybody.

use std::collections::BTreeMap;
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

/// Handshakes of one address at a time: several members may stand behind one, and those refused dial again.
const MAX_PENDING_PER_ADDRESS: usize = 8;

/// Whoever gave out an IPv6 address gave out its whole /64.
const IPV6_NETWORK: u128 = !0 << 64;

/// Refuses what goes beyond the limit of one address. At most as many entries as the swarm has pending connections.
#[derive(Debug, Default)]
pub struct Behaviour {
    pending: BTreeMap<ConnectionId, IpAddr>,
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
        IpAddr::V6(address) => Some(IpAddr::V6((address.to_bits() & IPV6_NETWORK).into())),
        address @ IpAddr::V4(_) => Some(address),
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
        if self.pending.values().filter(|other| **other == source).count() >= MAX_PENDING_PER_ADDRESS {
            return Err(ConnectionDenied::new(format!("too many unfinished handshakes of {source}")));
        }
        self.pending.insert(connection, source);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&connection);
        Ok(dummy::ConnectionHandler)
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
