//! The server's options as validated values.

#![forbid(unsafe_code)]

use crate::ports;
use crate::uploads::rules::Rules;
use ropewalk::app::options::{Arguments, number};
use ropewalk::app::resolve;
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::transfer::classic::blocks::MAX_STREAMS;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// Control connections open at once, unless the user says otherwise.
const DEFAULT_CONNECTIONS: u64 = 256;

/// Transfers under way at once, unless the user says otherwise.
const DEFAULT_TRANSFERS: u64 = 256;

/// Transfers of one address, unless the user says otherwise.
const DEFAULT_PER_ADDRESS: u64 = 64;

/// Seconds that a client may take to send a request.
const DEFAULT_REQUEST: u64 = 10;

/// Seconds after which a transfer ends that no stream has come to, and a connection that
/// no further request has come on.
const DEFAULT_IDLE: u64 = 30;

/// Seconds after which a transfer ends of which a stream takes no data.
const DEFAULT_STALL: u64 = 60;

/// The longest time that an option takes, in seconds.
const MAX_SECONDS: u64 = 86_400;

/// Options that mean nothing without a port.
const WITHOUT_STDIO: [&str; 8] =
    ["auth", "auth-md5", "bind", "data-ports", "metrics", "any-address", "trust-proxy", "user"];

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Volume {
    /// Errors only.
    Quiet,
    /// Also a line for each transfer.
    Normal,
    /// Also the rights that each worker has given up.
    Verbose,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenAt {
    /// This port of all addresses; any free port for 0.
    Everywhere(u16),
    /// This address and port; any free port for 0.
    Address(SocketAddr),
    /// The sockets that the program was started with.
    Handed,
    /// Nowhere: the one connection is standard input and output.
    Nowhere,
}

/// The options of the user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Where to listen.
    pub(crate) listen_at: ListenAt,
    /// The folder beneath which files are served; without it, all that can be read.
    pub(crate) root: Option<PathBuf>,
    /// Whether a GET of a folder shows what is in it.
    pub(crate) index: bool,
    /// What clients may upload, if anything.
    pub(crate) uploads: Option<Rules>,
    /// The ports that senders listen on; without it, any free port.
    pub(crate) data_ports: Option<RangeInclusive<u16>>,
    /// The user to become after listening.
    pub(crate) user: Option<OsString>,
    /// The file with the passwords; without it every client is served.
    pub(crate) auth: Option<PathBuf>,
    /// Whether clients may prove a password with MD5 too: wget 1.21 has no other hash.
    pub(crate) auth_md5: bool,
    /// Whether a session's streams may come from another address than its request.
    pub(crate) any_address: bool,
    /// Control connections open at once.
    pub(crate) max_connections: usize,
    /// Transfers under way at once.
    pub(crate) max_transfers: usize,
    /// Transfers under way at once for clients at one address.
    pub(crate) max_per_address: usize,
    /// Streams of one transfer.
    pub(crate) max_streams: u8,
    /// How long a client may take to send a request.
    pub(crate) request: Duration,
    /// The address that serves the metrics, if any.
    pub(crate) metrics: Option<SocketAddr>,
    /// Bytes per second of all transfers and downloads together.
    pub(crate) rate: Option<u64>,
    /// How long a transfer waits for a stream, and a connection for its next request.
    pub(crate) idle: Duration,
    /// How long a stream may take no data.
    pub(crate) stall: Duration,
    /// How much to log.
    pub(crate) volume: Volume,
    /// The file to log to; standard error without one.
    pub(crate) log: Option<PathBuf>,
    /// The reverse proxy that is trusted to name its clients.
    pub(crate) proxy: Option<IpAddr>,
}

impl Config {
    /// Validates the command line. `handed`: the program was started with sockets.
    ///
    /// # Errors
    /// A wrong or missing value, or options that exclude each other.
    pub(crate) fn from_arguments(arguments: &Arguments, handed: bool) -> Result<Config> {
        let metrics = arguments.value("metrics").map(address_and_port);
        let limit = |name, default| -> Result<usize> {
            let limit = arguments.number(name, 1..=1_000_000)?.unwrap_or(default);
            Ok(usize::try_from(limit).unwrap_or(usize::MAX))
        };
        let time = |name, default| -> Result<Duration> {
            let seconds = arguments.number(name, 1..=MAX_SECONDS)?.unwrap_or(default);
            Ok(Duration::from_secs(seconds))
        };
        if arguments.has("auth-md5") && !arguments.has("auth") {
            return Err(Error::usage("--auth-md5: needs --auth"));
        }
        let stdio = arguments.has("stdio");
        let volume = match (arguments.has("quiet"), arguments.has("verbose")) {
            // The client shows what comes on standard error.
            (false, false) if stdio && arguments.value("log").is_none() => Volume::Quiet,
            (false, false) => Volume::Normal,
            (true, false) => Volume::Quiet,
            (false, true) => Volume::Verbose,
            (true, true) => return Err(Error::usage("--quiet and --verbose: exclude each other")),
        };
        Ok(Config {
            listen_at: listen_at(arguments, handed)?,
            data_ports: arguments
                .value("data-ports")
                .map(|text| ports::parse(&text.to_string_lossy()))
                .transpose()?,
            root: arguments.value("root").map(PathBuf::from),
            index: arguments.has("index"),
            uploads: Rules::from_arguments(arguments)?,
            user: arguments.value("user").map(OsString::from),
            auth: arguments.value("auth").map(PathBuf::from),
            auth_md5: arguments.has("auth-md5"),
            any_address: arguments.has("any-address") || stdio,
            max_connections: limit("max-connections", DEFAULT_CONNECTIONS)?,
            max_transfers: limit("max-transfers", DEFAULT_TRANSFERS)?,
            max_per_address: limit("max-per-address", DEFAULT_PER_ADDRESS)?,
            max_streams: arguments.number("max-streams", 1..=MAX_STREAMS)?.unwrap_or(MAX_STREAMS)
                as u8,
            request: time("request-timeout", DEFAULT_REQUEST)?,
            metrics: metrics.transpose()?,
            rate: arguments.rate("limit-rate")?,
            idle: time("idle-timeout", DEFAULT_IDLE)?,
            stall: time("stall-timeout", DEFAULT_STALL)?,
            volume,
            log: arguments.value("log").map(PathBuf::from),
            proxy: arguments.value("trust-proxy").map(proxy).transpose()?,
        })
    }
}

/// Where to listen. Sockets that were handed over exclude a port and an address.
fn listen_at(arguments: &Arguments, handed: bool) -> Result<ListenAt> {
    let (port, bind) = (arguments.optional(0), arguments.value("bind"));
    if arguments.has("stdio") {
        let foreign = WITHOUT_STDIO.into_iter().find(|option| arguments.has(option));
        return match (port, handed, foreign) {
            (None, false, None) => Ok(ListenAt::Nowhere),
            (_, _, Some(option)) => {
                Err(Error::usage(format!("--{option}: cannot be combined with --stdio")))
            }
            _ => Err(Error::usage("port: must be left out with --stdio")),
        };
    }
    match (port, handed) {
        (None, true) if bind.is_none() => Ok(ListenAt::Handed),
        (_, true) => {
            let text = "port and --bind: must be left out when sockets are handed over";
            Err(Error::usage(text))
        }
        (None, false) => Err(Error::usage("port: is missing (see --help)")),
        (Some(port), false) => {
            let port = number("port", port, 0..=65535)? as u16;
            let bind = bind.map(|text| address("--bind", text, port)).transpose()?;
            Ok(bind.map_or(ListenAt::Everywhere(port), ListenAt::Address))
        }
    }
}

/// The address that is the value of `option`, with `port`. An IPv6 address may stand in
/// brackets, and name its interface.
fn address(option: &str, text: &OsStr, port: u16) -> Result<SocketAddr> {
    let bad = || {
        let given = escape(text.as_bytes());
        Error::usage(format!("{option}: must be an IP address, not '{given}'"))
    };
    let text = text.to_str().ok_or_else(bad)?.trim_matches(['[', ']']);
    literal(option, text, port)?.ok_or_else(bad)
}

/// The address of a reverse proxy.
fn proxy(text: &OsStr) -> Result<IpAddr> {
    address("--trust-proxy", text, 0).map(|address| address.ip().to_canonical())
}

/// The address and the port that `--metrics` names.
fn address_and_port(text: &OsStr) -> Result<SocketAddr> {
    let bad = || {
        let given = escape(text.as_bytes());
        Error::usage(format!("--metrics: must be IPv4:port or [IPv6]:port, not '{given}'"))
    };
    let text = text.to_str().ok_or_else(bad)?;
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().map_err(|_| bad())?;
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = literal("--metrics", inner.unwrap_or(host), port)?.ok_or_else(bad)?;
    if address.is_ipv6() == inner.is_some() { Ok(address) } else { Err(bad()) }
}

/// The address that an option's `text` is, with `port`; `None` if it is not an address.
fn literal(option: &str, text: &str, port: u16) -> Result<Option<SocketAddr>> {
    resolve::literal(text, port)
        .map_err(|error| Error::new(ExitCode::System, format!("{option}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::app::options::Request;
    use ropewalk::app::programs::SERVER;

    fn config_with(line: &str, handed: bool) -> Result<Config> {
        match SERVER.parse(line.split_whitespace().map(Into::into))? {
            Request::Run(arguments) => Config::from_arguments(&arguments, handed),
            other => panic!("{other:?}"),
        }
    }

    fn config(line: &str) -> Result<Config> {
        config_with(line, false)
    }

    #[test]
    fn defaults_are_those_of_the_readme() {
        let config = config("8080").unwrap();
        let at = ListenAt::Everywhere(8080);
        assert_eq!((config.listen_at, config.volume), (at, Volume::Normal));
        assert_eq!((config.max_connections, config.max_transfers), (256, 256));
        assert_eq!((config.max_per_address, config.max_streams, config.rate), (64, 255, None));
        assert_eq!(
            (config.request.as_secs(), config.idle.as_secs(), config.stall.as_secs()),
            (10, 30, 60)
        );
    }

    #[test]
    fn an_ipv6_address_may_stand_in_brackets() {
        for line in ["--bind ::1 0", "--bind [::1] 0"] {
            let at = ListenAt::Address("[::1]:0".parse().unwrap());
            assert_eq!(config(line).unwrap().listen_at, at, "{line}");
        }
    }

    #[test]
    fn an_ipv6_address_may_name_its_interface() {
        let at = ListenAt::Address("[fe80::1%1]:80".parse().unwrap());
        for line in ["--bind fe80::1%lo 80", "--bind fe80::1%1 80", "--bind [fe80::1%lo] 80"] {
            assert_eq!(config(line).unwrap().listen_at, at, "{line}");
        }
        let metrics = config("--metrics [fe80::1%lo]:9100 80").unwrap().metrics;
        assert_eq!(metrics, Some("[fe80::1%1]:9100".parse().unwrap()));
        let error = config("--bind fe80::1%none 80").unwrap_err().to_string();
        assert_eq!(error, "--bind: fe80::1%none: this machine has no such interface");
    }

    #[test]
    fn handed_sockets_replace_port_and_address() {
        assert_eq!(config_with("-q", true).unwrap().listen_at, ListenAt::Handed);
        for line in ["8080", "--bind ::1", "--bind ::1 0"] {
            assert!(config_with(line, true).is_err(), "{line}");
        }
    }

    #[test]
    fn metrics_need_an_address_and_a_port() {
        let given = |text: &str| config(&format!("--metrics {text} 0"));
        for text in ["127.0.0.1:9100", "[::1]:0"] {
            assert_eq!(given(text).unwrap().metrics, Some(text.parse().unwrap()));
        }
        for text in ["9100", ":9100", "localhost:9100", "127.0.0.1", "::1:9100"] {
            assert!(given(text).is_err(), "{text}");
        }
    }

    #[test]
    fn standard_input_and_output_exclude_ports_and_passwords() {
        let config = config("--stdio --root /srv").unwrap();
        assert_eq!((config.listen_at, config.volume), (ListenAt::Nowhere, Volume::Quiet));
        for line in ["8080", "--auth f", "--bind ::1", "--data-ports 1-2", "--user nobody"] {
            let error = self::config(&format!("--stdio {line}")).unwrap_err();
            assert_eq!(error.code(), ExitCode::Usage, "{line}: {error}");
        }
        assert!(config_with("--stdio", true).is_err());
    }

    #[test]
    fn invalid_command_lines_are_refused() {
        for line in [
            "",
            "65536",
            "-- -1",
            "http",
            "--bind localhost 0",
            "--max-connections 0 1",
            "-qv 1",
            "--auth-md5 1",
            "--data-ports 5000 1",
            "--data-ports 5001-5000 1",
        ] {
            assert!(config(line).is_err(), "{line}");
        }
    }
}
