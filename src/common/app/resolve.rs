//! Names of hosts to addresses, by the system's own resolver.

#![forbid(unsafe_code)]

use crate::codec::text::escape;
use crate::error::{Error, ExitCode, Result};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// All addresses of `host`, with `port`; at least one. IPv6 and IPv4 alternate (RFC 8305, section
/// 4); otherwise the order is the system's. An IPv6 address may name its interface:
/// `fe80::1%eth0`, or `fe80::1%2` by number.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let unknown =
        |why: &str| Error::new(ExitCode::Network, format!("{}: {why}", escape(host.as_bytes())));
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| {
            if zone(host).is_some() {
                return unknown("this machine has no such interface");
            }
            // std adds its own words before those of the C library.
            let text = error.to_string();
            unknown(text.rsplit(": ").next().unwrap_or(&text))
        })?
        .collect();
    if found.is_empty() { Err(unknown("has no address")) } else { Ok(interleaved(found)) }
}

/// The address in `text`, with `port`; `None` if it is no address. An IPv6 address may name its
/// interface.
///
/// # Errors
/// This machine has no such interface.
pub fn literal(text: &str, port: u16) -> Result<Option<SocketAddr>> {
    if zone(text).is_some() {
        return Ok(resolve(text, port)?.first().copied());
    }
    Ok(text.parse().ok().map(|address: IpAddr| SocketAddr::new(address, port)))
}

/// The interface that an IPv6 address names (RFC 4007, section 11).
fn zone(host: &str) -> Option<&str> {
    let (address, zone) = host.split_once('%')?;
    address.parse::<Ipv6Addr>().is_ok().then_some(zone)
}

/// `host` without its interface, whose name is valid on this machine only (RFC 6874, section 4).
pub fn without_zone(host: &str) -> &str {
    zone(host).and_then(|zone| host.strip_suffix(zone)?.strip_suffix('%')).unwrap_or(host)
}

/// The addresses of both families in turn, each family in its order, the first one first.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_family = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first_family);
    let mut all = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let before = all.len();
        all.extend(first.next());
        all.extend(second.next());
        if all.len() == before {
            return all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_address_needs_no_resolver() {
        assert_eq!(resolve("127.0.0.1", 80).unwrap(), ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(resolve("::1", 80).unwrap(), ["[::1]:80".parse().unwrap()]);
    }

    #[test]
    fn an_invalid_name_is_refused_in_the_c_library_s_words() {
        let error = resolve("no such host", 80).unwrap_err();
        assert_eq!(error.to_string(), "no such host: Name or service not known");
    }

    #[test]
    fn an_address_may_name_its_interface() {
        for text in ["fe80::1%lo", "fe80::1%1"] {
            let expected = ["[fe80::1%1]:80".parse().unwrap()];
            assert_eq!(resolve(text, 80).unwrap(), expected, "{text}");
            assert_eq!(literal(text, 80).unwrap(), Some(expected[0]), "{text}");
        }
        assert_eq!(literal("localhost", 80).unwrap(), None);
        let error = literal("fe80::1%none", 80).unwrap_err().to_string();
        assert_eq!(error, "fe80::1%none: this machine has no such interface");
    }

    #[test]
    fn an_interface_is_not_sent_to_the_server() {
        assert_eq!(without_zone("fe80::1%eth0"), "fe80::1");
        for host in ["fe80::1", "box", "a%b", "127.0.0.1"] {
            assert_eq!(without_zone(host), host);
        }
    }

    #[test]
    fn the_families_alternate() {
        let addresses = |all: [&str; 5]| all.map(|text| SocketAddr::new(text.parse().unwrap(), 1));
        let given = addresses(["::1", "::2", "::3", "192.0.2.1", "192.0.2.2"]);
        let turns = addresses(["::1", "192.0.2.1", "::2", "192.0.2.2", "::3"]);
        assert_eq!(interleaved(given.to_vec()), turns);
        let given = addresses(["192.0.2.1", "::1", "::2", "::3", "::4"]);
        assert_eq!(interleaved(given.to_vec()), given);
    }
}
