//! Names of hosts to addresses, by the system's own resolver.

#![forbid(unsafe_code)]

use crate::codec::text::escape;
use crate::error::{Error, ExitCode, Result};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// All addresses of `host`, with `port`; at least one.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let unknown =
        |why: &str| Error::new(ExitCode::Network, format!("{}: {why}", escape(host.as_bytes())));
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| {
            // std puts its own words before the C library's.
            let text = error.to_string();
            unknown(text.rsplit(": ").next().unwrap_or(&text))
        })?
        .collect();
    if found.is_empty() { Err(unknown("has no address")) } else { Ok(found) }
}

/// Connects to the first of `addresses` that answers, trying each for `limit`. The
/// error is that of the last one.
pub fn connect_any(
    addresses: &[SocketAddr],
    limit: Duration,
) -> std::io::Result<(TcpStream, SocketAddr)> {
    let mut failure = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(address, limit) {
            Ok(stream) => return Ok((stream, *address)),
            // std's own words for running out of time are not the C library's.
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                failure = std::io::Error::from_raw_os_error(libc::ETIMEDOUT);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_numeric_address_needs_no_resolver() {
        assert_eq!(resolve("127.0.0.1", 80).unwrap(), ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(resolve("::1", 80).unwrap(), ["[::1]:80".parse().unwrap()]);
    }

    #[test]
    fn a_name_that_cannot_be_is_refused_in_the_c_library_s_words() {
        let error = resolve("no such host", 80).unwrap_err();
        assert_eq!(error.to_string(), "no such host: Name or service not known");
    }

    #[test]
    fn the_first_address_that_answers_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let refused = {
            let gone = TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        let limit = Duration::from_secs(60);
        assert_eq!(connect_any(&[refused, good], limit).unwrap().1, good);
        let error = connect_any(&[refused], limit).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
