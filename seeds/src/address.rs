//! A peer's address, as a multiaddress of one of the forms that nodes listen on: `/ip4/…/tcp/…`, `/ip6/…/tcp/…`,
//! `/dns/…/tcp/…`, or `…/udp/…/quic-v1`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// Longest host name (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

/// Where a peer listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub host: Host,
    pub port: u16,
    /// QUIC over UDP instead of TCP.
    pub quic: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    Ip4(Ipv4Addr),
    Ip6(Ipv6Addr),
    Dns(String),
}

/// A text that is no address of these forms.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not an address like /ip4/192.0.2.1/tcp/8442 or /dns/node.example.gov/tcp/8442")]
pub struct AddressFault(pub String);

impl FromStr for Address {
    type Err = AddressFault;

    fn from_str(text: &str) -> Result<Self, AddressFault> {
        parse(text).ok_or_else(|| AddressFault(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Address> {
    let parts: Vec<&str> = text.strip_prefix('/')?.split('/').collect();
    let (kind, host, port, quic) = match parts.as_slice() {
        [kind, host, "tcp", port] => (*kind, *host, *port, false),
        [kind, host, "udp", port, "quic-v1"] => (*kind, *host, *port, true),
        _ => return None,
    };
    let host = match kind {
        "ip4" => Host::Ip4(host.parse().ok()?),
        "ip6" => Host::Ip6(host.parse().ok()?),
        "dns" => Host::Dns(dns_name(host)?),
        _ => return None,
    };
    let address = Address { host, port: port.parse().ok().filter(|port| *port != 0)?, quic };
    // One address has one spelling, so that a repeated one is seen.
    (address.to_string() == text).then_some(address)
}

fn dns_name(name: &str) -> Option<String> {
    let plain = name.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    });
    (plain && name.len() <= MAX_HOST_BYTES).then(|| name.to_owned())
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip4(ip) => write!(formatter, "/ip4/{ip}")?,
            Host::Ip6(ip) => write!(formatter, "/ip6/{ip}")?,
            Host::Dns(name) => write!(formatter, "/dns/{name}")?,
        }
        if self.quic {
            write!(formatter, "/udp/{}/quic-v1", self.port)
        } else {
            write!(formatter, "/tcp/{}", self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_spelling() {
        for text in [
            "/ip4/127.0.0.1/tcp/8442",
            "/ip6/2001:db8::1/tcp/8442",
            "/dns/node.example.gov/tcp/8442",
            "/ip4/192.0.2.7/udp/8442/quic-v1",
        ] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "127.0.0.1:8442",
            "/ip4/127.0.0.1",
            "/ip4/127.0.0.1/tcp/0",
            "/ip4/127.0.0.1/tcp/65536",
            "/ip4/127.0.0.1/tcp/08442",
            "/ip4/127.0.0.1/udp/8442",
            "/ip4/127.0.0.1/tcp/8442/quic-v1",
            "/ip4/127.0.0.1/tcp/8442/",
            "/ip4/300.0.0.1/tcp/8442",
            "/ip6/2001:0db8::1/tcp/8442",
            "/dns/Node.example.gov/tcp/8442",
            "/dns//tcp/8442",
            "/unix/x/tcp/1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
