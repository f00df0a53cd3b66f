//! `X-Forwarded-For`: the client that a proxy names. No RFC specifies this field. A proxy appends
//! the address of its peer, so the last address is the one that this proxy saw.

#![forbid(unsafe_code)]

use super::Headers;
use super::headers::trim_ows;
use std::net::{IpAddr, SocketAddr};

/// The field's name.
const FIELD: &str = "X-Forwarded-For";

/// The last address of the field: `IPv4`, `IPv6`, `IPv4:port` or `[IPv6]:port`. The port is 0 if
/// it is missing. `None` without the field, or if its last element is no address.
pub fn client(headers: &Headers) -> Option<SocketAddr> {
    let last = headers.get_all(FIELD).last()?.rsplit(|&byte| byte == b',').next()?;
    let text = std::str::from_utf8(trim_ows(last)).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, 0));
    let address = address.or_else(|_| text.parse::<SocketAddr>()).ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<String> {
        let mut headers = Headers::new();
        values.iter().for_each(|value| headers.push(FIELD, *value));
        client(&headers).map(|client| client.to_string())
    }

    #[test]
    fn the_last_address_of_the_last_field_counts() {
        assert_eq!(of(&["198.51.100.1, 192.0.2.7"]).unwrap(), "192.0.2.7:0");
        assert_eq!(of(&["198.51.100.1", "192.0.2.8,192.0.2.9 "]).unwrap(), "192.0.2.9:0");
    }

    #[test]
    fn an_address_may_have_brackets_and_a_port() {
        assert_eq!(of(&["192.0.2.7:4000"]).unwrap(), "192.0.2.7:4000");
        assert_eq!(of(&["2001:db8::1"]).unwrap(), "[2001:db8::1]:0");
        assert_eq!(of(&["[2001:db8::1]"]).unwrap(), "[2001:db8::1]:0");
        assert_eq!(of(&["[2001:db8::1]:4000"]).unwrap(), "[2001:db8::1]:4000");
        assert_eq!(of(&["::ffff:192.0.2.7"]).unwrap(), "192.0.2.7:0");
    }

    #[test]
    fn an_invalid_address_names_no_client() {
        for value in ["", "unknown", "192.0.2.7,", "_hidden", "192.0.2.256", "a, b"] {
            assert_eq!(of(&[value]), None, "{value}");
        }
        assert_eq!(of(&[]), None);
    }
}
