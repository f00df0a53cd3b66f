//! The origin of a client: the addresses that count as one for limits per address. Of IPv4 it
//! is one address. Of IPv6 it is a network, since one customer has all addresses in it.

#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv6Addr};

/// The bits of an IPv6 address that count. No customer gets a smaller network.
pub(crate) const IPV6_BITS: u32 = 64;

/// The origin of `address`: an address that stands for all that count as one with it.
pub(crate) fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> IPV6_BITS)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        origin(one.parse().unwrap()) == origin(other.parse().unwrap())
    }

    #[test]
    fn of_ipv6_the_first_64_bits_count() {
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
    }

    #[test]
    fn of_ipv4_all_counts_however_it_is_written() {
        assert!(same("192.0.2.7", "::ffff:192.0.2.7"));
        assert!(!same("192.0.2.7", "192.0.2.8"));
        assert!(!same("::ffff:192.0.2.7", "::ffff:192.0.2.8"));
    }
}
