//! The client's arguments as validated values.

#![forbid(unsafe_code)]

mod positionals;
mod push;
pub(crate) mod rsh;
mod tree;

pub(crate) use push::STANDARD_INPUT;
pub(crate) use tree::TreeConfig;

use crate::destination::{self, Destination};
use crate::progress::style::Style;
use positionals::Positionals;
use ropewalk::app::options::{Arguments, number};
use ropewalk::app::resolve::without_zone;
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::shell;
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use ropewalk::transfer::classic::blocks::MAX_STREAMS;
use ropewalk::transfer::queue::growth::FIRST_STREAMS;
use ropewalk::transfer::store::partial::StartOptions;
use rsh::Rsh;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// Default of `--connect-timeout`: seconds for one attempt to connect.
const DEFAULT_CONNECT_TIME: u64 = 10;

/// Default of `--retry-for`: seconds to wait for a full server, and seconds to reach a lost
/// server again.
const DEFAULT_RETRY_TIME: u64 = 60;

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The server.
    pub(crate) server: Address,
    /// What reaches the server, where that is not TCP. The server has no port then.
    pub(crate) rsh: Option<Rsh>,
    /// How many streams.
    pub(crate) streams: StreamCount,
    /// The file as the server names it: bytes, not empty, without NUL.
    pub(crate) file: Vec<u8>,
    /// What to do with it.
    pub(crate) task: Task,
    /// The file with the user and the password, if `--auth` names one.
    pub(crate) auth: Option<PathBuf>,
    /// Whether to answer a server that knows only MD5 for passwords.
    pub(crate) auth_md5: bool,
    /// Whether all streams go to the control port.
    pub(crate) single_port: bool,
    /// Time limit of one attempt to connect.
    pub(crate) connect_time: Duration,
    /// How long the server may be silent after a request; `None` without `--connect-timeout`.
    pub(crate) silence: Option<Duration>,
    /// How long to wait for a full server, and to try to reach a lost server again.
    pub(crate) retry_for: Duration,
    /// The rate limit, in bytes per second.
    pub(crate) rate: Option<u64>,
    /// How to check the blocks and the file.
    pub(crate) verify: Verify,
    /// Whether to continue an earlier run, to use older bytes, and to wait for the disk.
    pub(crate) start_options: StartOptions,
    /// What to do with a folder.
    pub(crate) tree: TreeConfig,
    /// The file for the picture of the transfer.
    pub(crate) trace: Option<PathBuf>,
    /// Whether to print errors only.
    pub(crate) quiet: bool,
    /// Whether the summary has the digits of the MD5.
    pub(crate) verbose: bool,
    /// How to show progress on standard error.
    pub(crate) progress: Style,
    /// The command that continues this fetch.
    pub(crate) command: String,
}

/// What the user wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// To fetch the server's file or folder to here.
    Fetch(Destination),
    /// To push this file or folder to the name on the server.
    Push(PathBuf),
}

/// How many streams a file is received over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamCount {
    /// Exactly this many, 1 to 255.
    Fixed(u8),
    /// As many as help; the receiver finds out how many.
    Auto,
}

impl StreamCount {
    /// How many streams to ask for at first, 1 to 255.
    pub(crate) fn at_first(self) -> u8 {
        match self {
            StreamCount::Fixed(streams) => streams,
            StreamCount::Auto => FIRST_STREAMS,
        }
    }

    /// From the argument `streams` or the option `--streams`. Both together are an error.
    fn choose(argument: Option<&OsStr>, option: Option<&OsStr>) -> Result<StreamCount> {
        match (argument, option) {
            (None, None) => Ok(StreamCount::Auto),
            (Some(argument), None) => StreamCount::parse("streams", argument),
            (None, Some(option)) => StreamCount::parse("--streams", option),
            (Some(_), Some(_)) => {
                let text = "--streams: cannot be combined with the argument streams";
                Err(Error::usage(text))
            }
        }
    }

    fn parse(what: &str, text: &OsStr) -> Result<StreamCount> {
        match text == "auto" {
            true => Ok(StreamCount::Auto),
            false => Ok(StreamCount::Fixed(number(what, text, 1..=MAX_STREAMS)? as u8)),
        }
    }
}

/// The value of `--verify`.
fn parse_verify(text: Option<&OsStr>) -> Result<Verify> {
    let Some(text) = text else { return Ok(Verify::Md5) };
    text.to_str().and_then(Verify::from_word).ok_or_else(|| {
        let shown = escape(text.as_bytes());
        Error::usage(format!("--verify: must be md5, crc32c or none, not '{shown}'"))
    })
}

/// A host and a port.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// `host:port` as typed.
    pub(crate) typed: String,
    /// A name or an address without brackets. A link-local address has its interface.
    pub(crate) host: String,
    /// 1 to 65535; 0 for a host that another program reaches.
    pub(crate) port: u16,
}

impl Config {
    /// Validates the command line.
    pub(crate) fn from_arguments(arguments: &Arguments) -> Result<Config> {
        let is_push = push::is_meant(arguments);
        let Positionals { server, streams, file, ofile, is_remote } = match is_push {
            true => push::positionals(arguments)?,
            false => positionals::parse(arguments.positionals(), arguments.has("rsh"))?,
        };
        if file.is_empty() {
            return Err(Error::usage("file: must not be empty"));
        }
        let (file, task) = match is_push {
            true => push::choose(ofile.as_deref(), file)?,
            false => {
                let destination = destination::choose(ofile.as_deref(), &file)?;
                (file, Task::Fetch(destination))
            }
        };
        let seconds = arguments.number("connect-timeout", 1..=3600)?;
        let rsh = match is_remote {
            true => Some(Rsh::from_arguments(arguments, &server.host, is_push)?),
            false => rsh::refuse_without(arguments)?,
        };
        Ok(Config {
            server,
            rsh,
            streams: StreamCount::choose(streams, arguments.value("streams"))?,
            file,
            task,
            auth: arguments.value("auth").map(PathBuf::from),
            auth_md5: arguments.has("auth-md5"),
            single_port: arguments.has("single-port"),
            connect_time: Duration::from_secs(seconds.unwrap_or(DEFAULT_CONNECT_TIME)),
            silence: seconds.map(Duration::from_secs),
            retry_for: Duration::from_secs(
                arguments.number("retry-for", 0..=1_000_000)?.unwrap_or(DEFAULT_RETRY_TIME),
            ),
            rate: arguments.rate("limit-rate")?,
            verify: parse_verify(arguments.value("verify"))?,
            tree: TreeConfig::from_arguments(arguments)?,
            start_options: StartOptions {
                restart: arguments.has("restart"),
                sync: !arguments.has("no-sync"),
                whole: arguments.has("whole"),
            },
            trace: arguments.value("trace").map(PathBuf::from),
            quiet: arguments.has("quiet"),
            verbose: arguments.has("verbose"),
            progress: Style::parse(arguments.value("progress"), arguments.has("quiet"))?,
            command: resuming(arguments),
        })
    }
}

/// The command as the user typed it, without `--restart`, which would discard what has
/// arrived.
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

    /// The Host field of a request: the address as typed, without an interface of this machine.
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
    use crate::destination::Names;
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
    fn invalid_addresses_are_refused() {
        for text in ["box", "box:", "box:0", "box:65536", ":80", "::1:80", "[::1:80", "[]:80", ""] {
            assert!(config([text, "4", "f", "o"]).is_err(), "{text}");
        }
    }

    #[test]
    fn invalid_numbers_of_streams_are_refused() {
        for text in ["0", "256", "-4", "four", ""] {
            assert!(config(["box:80", text, "f", "o"]).is_err(), "{text}");
        }
    }

    #[test]
    fn the_client_may_choose_the_number_of_streams() {
        let streams = |text| config(["box:80", text, "f", "o"]).unwrap().streams;
        assert_eq!(streams("255"), StreamCount::Fixed(255));
        assert_eq!(streams("auto"), StreamCount::Auto);
        assert!(config(["box:80", "Auto", "f", "o"]).is_err());
    }

    #[test]
    fn the_streams_of_a_url_are_those_of_the_option() {
        let streams = |words: &[&str]| {
            let Request::Run(arguments) = CLIENT.parse(words.iter().map(Into::into))? else {
                panic!("help was asked for");
            };
            Config::from_arguments(&arguments).map(|config| config.streams)
        };
        assert_eq!(streams(&["http://box/f"]).unwrap(), StreamCount::Auto);
        assert_eq!(streams(&["http://box/f", "--streams=7"]).unwrap(), StreamCount::Fixed(7));
        assert_eq!(streams(&["box:80/f", "o", "--streams=auto"]).unwrap(), StreamCount::Auto);
        assert!(streams(&["box:80", "4", "f", "--streams=4"]).is_err());
        assert!(streams(&["http://box/f", "--streams=0"]).is_err());
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
        let names = Names { file: Some("f".into()), folder: "f".into() };
        assert_eq!(config.task, Task::Fetch(Destination::Named(names)));
    }

    #[test]
    fn the_command_that_continues_does_not_restart() {
        let words = ["-q", "--restart", "box:80", "4", "a file", "--limit-rate=1M", "o"];
        let Request::Run(arguments) = CLIENT.parse(words.map(Into::into)).unwrap() else {
            panic!("help was asked for");
        };
        let command = Config::from_arguments(&arguments).unwrap().command;
        assert!(command.ends_with(" -q box:80 4 'a file' --limit-rate=1M o"), "{command}");
    }

    #[test]
    fn ways_to_verify_are_known_by_their_words() {
        assert_eq!(parse_verify(None).unwrap(), Verify::Md5);
        for verify in Verify::ALL {
            assert_eq!(parse_verify(Some(verify.word().as_ref())).unwrap(), verify);
        }
        assert!(parse_verify(Some("MD5".as_ref())).is_err());
    }
}
