//! The client's arguments as validated values.

#![forbid(unsafe_code)]

mod wanted;

use crate::destination::{self, Destination};
use crate::progress::style::Style;
use ropewalk::app::options::{Arguments, number};
use ropewalk::app::resolve::without_zone;
use ropewalk::codec::shell;
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use ropewalk::transfer::blocks::MAX_STREAMS;
use ropewalk::transfer::growth::FIRST_STREAMS;
use ropewalk::transfer::partial::Wishes;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;
use wanted::Wanted;

/// Seconds for one attempt to connect, unless the user says otherwise.
const DEFAULT_CONNECT_TIME: u64 = 10;

/// Seconds for which a full server is waited for, and for which a transfer that has begun
/// is tried to go on with, unless the user says otherwise.
const DEFAULT_RETRY_TIME: u64 = 60;

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The server.
    pub(crate) server: Address,
    /// How many streams.
    pub(crate) threads: Threads,
    /// The file as the server names it: bytes, not empty, without NUL.
    pub(crate) file: Vec<u8>,
    /// Where it goes.
    pub(crate) destination: Destination,
    /// The file with the name and the password, if there is one.
    pub(crate) auth: Option<PathBuf>,
    /// Whether a server may ask for the password by MD5 only.
    pub(crate) auth_md5: bool,
    /// Whether streams go to the server's own port from the start.
    pub(crate) single_port: bool,
    /// How long one attempt to connect may take.
    pub(crate) connect_time: Duration,
    /// How long the server may be silent after a request, where the user has said how long
    /// an attempt to connect may take.
    pub(crate) silence: Option<Duration>,
    /// How long to wait for a full server, and to go on with a transfer that has begun.
    pub(crate) retry_for: Duration,
    /// Bytes per second at most.
    pub(crate) rate: Option<u64>,
    /// How to check what comes.
    pub(crate) verify: Verify,
    /// What to do with what an earlier run left, and with the disk.
    pub(crate) wishes: Wishes,
    /// Where a picture of the transfer goes.
    pub(crate) trace: Option<PathBuf>,
    /// Whether to print errors only.
    pub(crate) quiet: bool,
    /// Whether the summary has the digits of the MD5.
    pub(crate) verbose: bool,
    /// How to say on standard error how it goes.
    pub(crate) progress: Style,
    /// The command that goes on with what this one leaves behind.
    pub(crate) command: String,
}

/// How many streams a file is received over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// So many, 1 to 255.
    Fixed(u8),
    /// As many as help, which is found out during the transfer.
    Auto,
}

impl Threads {
    /// How many there are where the number cannot change.
    pub(crate) fn at_first(self) -> u8 {
        match self {
            Threads::Fixed(threads) => threads,
            Threads::Auto => FIRST_STREAMS,
        }
    }

    /// From the argument `threads` or the option `--streams`, of which one at most may be.
    fn choose(threads: Option<&OsStr>, streams: Option<&OsStr>) -> Result<Threads> {
        match (threads, streams) {
            (None, None) => Ok(Threads::Auto),
            (Some(threads), None) => Threads::parse("threads", threads),
            (None, Some(streams)) => Threads::parse("--streams", streams),
            (Some(_), Some(_)) => {
                let text = "--streams: must be left out where the argument threads is given";
                Err(Error::usage(text))
            }
        }
    }

    fn parse(what: &str, text: &OsStr) -> Result<Threads> {
        match text == "auto" {
            true => Ok(Threads::Auto),
            false => Ok(Threads::Fixed(number(what, text, 1..=MAX_STREAMS)? as u8)),
        }
    }
}

/// How the bytes that come are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    /// The MD5 of the whole file, and the CRC32C of each block.
    Md5,
    /// The CRC32C of each block.
    Crc32c,
    /// Not at all.
    None,
}

impl Verify {
    /// The word for it, on the command line and in a job.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Verify::Md5 => "md5",
            Verify::Crc32c => "crc32c",
            Verify::None => "none",
        }
    }

    fn parse(text: Option<&OsStr>) -> Result<Verify> {
        let Some(text) = text else { return Ok(Verify::Md5) };
        let known = [Verify::Md5, Verify::Crc32c, Verify::None];
        known.into_iter().find(|verify| text == verify.word()).ok_or_else(|| {
            let shown = escape(text.as_bytes());
            Error::usage(format!("--verify: must be md5, crc32c or none, not '{shown}'"))
        })
    }
}

/// A host and a port, as typed and apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// `host:port` as typed.
    pub(crate) typed: String,
    /// A name or an address, without brackets; an IPv6 address perhaps with its interface.
    pub(crate) host: String,
    /// 1 to 65535.
    pub(crate) port: u16,
}

impl Config {
    /// Understands the command line.
    pub(crate) fn from_arguments(arguments: &Arguments) -> Result<Config> {
        let Wanted { server, threads, file, ofile } = wanted::understand(arguments.positionals())?;
        if file.is_empty() {
            return Err(Error::usage("file: must not be empty"));
        }
        let destination = destination::choose(ofile, &file)?;
        let seconds = arguments.number("connect-timeout", 1..=3600)?;
        Ok(Config {
            server,
            threads: Threads::choose(threads, arguments.value("streams"))?,
            file,
            destination,
            auth: arguments.value("auth").map(PathBuf::from),
            auth_md5: arguments.has("auth-md5"),
            single_port: arguments.has("single-port"),
            connect_time: Duration::from_secs(seconds.unwrap_or(DEFAULT_CONNECT_TIME)),
            silence: seconds.map(Duration::from_secs),
            retry_for: Duration::from_secs(
                arguments.number("retry-for", 0..=1_000_000)?.unwrap_or(DEFAULT_RETRY_TIME),
            ),
            rate: arguments.rate("limit-rate")?,
            verify: Verify::parse(arguments.value("verify"))?,
            wishes: Wishes { restart: arguments.has("restart"), sync: !arguments.has("no-sync") },
            trace: arguments.value("trace").map(PathBuf::from),
            quiet: arguments.has("quiet"),
            verbose: arguments.has("verbose"),
            progress: Style::parse(arguments.value("progress"), arguments.has("quiet"))?,
            command: resuming(arguments),
        })
    }
}

/// The command as it was typed, without what would throw away what is there.
fn resuming(arguments: &Arguments) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "client".into());
    let words = std::iter::once(program.as_os_str()).chain(arguments.typed_without("restart"));
    shell::command(words.map(OsStr::as_bytes))
}

impl Address {
    /// `host:port`, `IPv4:port` or `[IPv6]:port`.
    fn parse(text: &OsStr) -> Result<Address> {
        let bad = |why: &str| {
            let shown = escape(text.as_bytes());
            Error::usage(format!("address: '{shown}' {why}; it must be host:port"))
        };
        let typed = text.to_str().ok_or_else(|| bad("is not text"))?;
        let (host, port) = typed.rsplit_once(':').ok_or_else(|| bad("has no port"))?;
        let port = match port {
            "" => Err(bad("has no port")),
            port => number("port", port.as_ref(), 1..=65535)
                .map_err(|_| bad("has a port that is not a number from 1 to 65535")),
        }?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(|| bad("lacks a bracket"))?,
            None if host.contains(':') => {
                return Err(bad("has an IPv6 address that is not in brackets"));
            }
            None => host,
        };
        if host.is_empty() || host.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(bad("has no host"));
        }
        Ok(Address { typed: typed.to_string(), host: host.to_string(), port: port as u16 })
    }

    /// What a request's Host field says: as typed, but for an interface of this machine.
    pub(crate) fn host_field(&self) -> String {
        match without_zone(&self.host) {
            host if host == self.host => escape(self.typed.as_bytes()),
            host => format!("[{host}]:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::app::options::Request;
    use ropewalk::app::programs::CLIENT;

    fn config(arguments: [&str; 4]) -> Result<Config> {
        match CLIENT.parse(arguments.map(Into::into))? {
            Request::Run(arguments) => Config::from_arguments(&arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_of_every_form_are_taken_apart() {
        for (text, host) in [
            ("box:8080", "box"),
            ("192.0.2.1:8080", "192.0.2.1"),
            ("[::1]:8080", "::1"),
            ("[fe80::1%eth0]:8080", "fe80::1%eth0"),
        ] {
            let server = config([text, "4", "f", "o"]).unwrap().server;
            assert_eq!((server.host.as_str(), server.port), (host, 8080), "{text}");
            assert_eq!(server.host_field(), text.replace("%eth0", ""));
        }
    }

    #[test]
    fn addresses_that_cannot_be_are_refused() {
        for text in ["box", "box:", "box:0", "box:65536", ":80", "::1:80", "[::1:80", "[]:80", ""] {
            assert!(config([text, "4", "f", "o"]).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_threads_that_cannot_be_are_refused() {
        for text in ["0", "256", "-4", "four", ""] {
            assert!(config(["box:80", text, "f", "o"]).is_err(), "{text}");
        }
    }

    #[test]
    fn the_number_of_threads_may_be_left_to_the_client() {
        let threads = |text| config(["box:80", text, "f", "o"]).unwrap().threads;
        assert_eq!(threads("255"), Threads::Fixed(255));
        assert_eq!(threads("auto"), Threads::Auto);
        assert!(config(["box:80", "Auto", "f", "o"]).is_err());
    }

    #[test]
    fn the_streams_of_a_url_are_those_of_the_option() {
        let threads = |words: &[&str]| {
            let Request::Run(arguments) = CLIENT.parse(words.iter().map(Into::into))? else {
                panic!("help was asked for");
            };
            Config::from_arguments(&arguments).map(|config| config.threads)
        };
        assert_eq!(threads(&["http://box/f"]).unwrap(), Threads::Auto);
        assert_eq!(threads(&["http://box/f", "--streams=7"]).unwrap(), Threads::Fixed(7));
        assert_eq!(threads(&["box:80/f", "o", "--streams=auto"]).unwrap(), Threads::Auto);
        assert!(threads(&["box:80", "4", "f", "--streams=4"]).is_err());
        assert!(threads(&["http://box/f", "--streams=0"]).is_err());
    }

    #[test]
    fn empty_names_are_refused() {
        assert!(config(["box:80", "4", "", "o"]).is_err());
        assert!(config(["box:80", "4", "f", ""]).is_err());
    }

    #[test]
    fn the_output_s_name_may_be_left_out() {
        let request = CLIENT.parse(["box:80", "4", "data/f"].map(Into::into));
        let Ok(Request::Run(arguments)) = request else { panic!("{request:?}") };
        let config = Config::from_arguments(&arguments).unwrap();
        assert_eq!(config.destination, Destination::File("f".into()));
    }

    #[test]
    fn the_command_that_goes_on_does_not_restart() {
        let words = ["-q", "--restart", "box:80", "4", "a file", "--limit-rate=1M", "o"];
        let Request::Run(arguments) = CLIENT.parse(words.map(Into::into)).unwrap() else {
            panic!("help was asked for");
        };
        let command = Config::from_arguments(&arguments).unwrap().command;
        assert!(command.ends_with(" -q box:80 4 'a file' --limit-rate=1M o"), "{command}");
    }

    #[test]
    fn ways_to_verify_are_known_by_their_words() {
        assert_eq!(Verify::parse(None).unwrap(), Verify::Md5);
        for verify in [Verify::Md5, Verify::Crc32c, Verify::None] {
            assert_eq!(Verify::parse(Some(verify.word().as_ref())).unwrap(), verify);
        }
        assert!(Verify::parse(Some("MD5".as_ref())).is_err());
    }
}
