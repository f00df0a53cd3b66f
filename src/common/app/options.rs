//! The command line of all four programs: one table a program, from which the
//! parser, `--help` and the usage line are made. Knows nothing of what an option means.

#![forbid(unsafe_code)]

use crate::codec::text::escape;
use crate::error::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// An argument that is told by its place.
pub struct Positional {
    /// Its name in the usage line.
    pub name: &'static str,
    /// One line about it.
    pub help: &'static str,
}

/// An argument that is told by its name.
pub struct Opt {
    /// `-q` in `-q, --quiet`.
    pub short: Option<char>,
    /// `quiet` in `-q, --quiet`.
    pub long: &'static str,
    /// The name of its value, for one that takes a value.
    pub value: Option<&'static str>,
    /// One line about it.
    pub help: &'static str,
}

/// A program's command line.
pub struct Program {
    /// The name that it has in the build folder.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// Arguments told by their place, all of them required.
    pub positionals: &'static [Positional],
    /// Arguments told by their name, besides `--help` and `--version`.
    pub options: &'static [Opt],
    /// The option (by its long name) that replaces all positional arguments.
    pub alone: Option<&'static str>,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Request {
    /// To do the program's job.
    Run(Arguments),
    /// To print this text and end.
    Print(String),
}

/// A command line taken apart, not yet understood.
#[derive(Debug, Default)]
pub struct Arguments {
    positionals: Vec<OsString>,
    options: Vec<(&'static str, OsString)>,
}

impl Arguments {
    /// Whether the option was given.
    pub fn has(&self, long: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == long)
    }

    /// The value of an option; of several the last.
    pub fn value(&self, long: &str) -> Option<&OsStr> {
        self.options.iter().rev().find(|(name, _)| *name == long).map(|(_, v)| v.as_os_str())
    }

    /// The positional argument at `index`; empty only where the program's table has none.
    pub fn positional(&self, index: usize) -> &OsStr {
        self.positionals.get(index).map_or(OsStr::new(""), OsString::as_os_str)
    }

    /// The number given for the option `long`, in `range`.
    pub fn number(&self, long: &str, range: std::ops::RangeInclusive<u64>) -> Result<Option<u64>> {
        self.value(long).map(|text| number(&format!("--{long}"), text, range)).transpose()
    }

    /// The bytes per second given for the option `long`.
    pub fn rate(&self, long: &str) -> Result<Option<u64>> {
        self.value(long).map(|text| rate(&format!("--{long}"), text)).transpose()
    }
}

/// The whole number that `text` is, or an error that names `what` and the range.
pub fn number(what: &str, text: &OsStr, range: std::ops::RangeInclusive<u64>) -> Result<u64> {
    let digits = text.to_str().filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).filter(|n| range.contains(n)).ok_or_else(|| {
        let (low, high) = range.into_inner();
        let given = escape(text.as_bytes());
        Error::usage(format!("{what}: must be a whole number from {low} to {high}, not '{given}'"))
    })
}

/// The least limit in bytes per second: with less, streams would seem to have stalled.
pub const MIN_RATE: u64 = 16 << 10;

/// Bytes per second: digits, and K, M or G for a power of 1024.
fn rate(what: &str, text: &OsStr) -> Result<u64> {
    let bytes = text.as_bytes();
    let (digits, unit) = match bytes.split_last() {
        Some((b'K' | b'k', digits)) => (digits, 1 << 10),
        Some((b'M' | b'm', digits)) => (digits, 1 << 20),
        Some((b'G' | b'g', digits)) => (digits, 1 << 30),
        _ => (bytes, 1u64),
    };
    let count = number(what, OsStr::from_bytes(digits), 1..=u64::MAX).ok();
    let rate = count.and_then(|count| count.checked_mul(unit)).filter(|rate| *rate >= MIN_RATE);
    rate.ok_or_else(|| {
        let given = escape(bytes);
        Error::usage(format!("{what}: must be bytes a second, at least 16K, not '{given}'"))
    })
}

const HELP: Opt =
    Opt { short: Some('h'), long: "help", value: None, help: "show this help message and exit" };
const VERSION: Opt =
    Opt { short: Some('V'), long: "version", value: None, help: "show the version and exit" };

impl Program {
    /// All options, those of every program first.
    pub(super) fn all_options(&self) -> impl Iterator<Item = &Opt> {
        [&HELP, &VERSION].into_iter().chain(self.options)
    }

    /// Takes `arguments` (without the program's own name) apart.
    pub fn parse(&self, arguments: impl IntoIterator<Item = OsString>) -> Result<Request> {
        let mut parsed = Arguments::default();
        let mut rest = arguments.into_iter();
        let mut only_positionals = false;
        while let Some(argument) = rest.next() {
            let bytes = argument.as_bytes();
            if only_positionals || !bytes.starts_with(b"-") || bytes == b"-" {
                parsed.positionals.push(argument);
            } else if bytes == b"--" {
                only_positionals = true;
            } else if let Some(long) = bytes.strip_prefix(b"--") {
                self.take_long(long, &mut rest, &mut parsed)?;
            } else {
                self.take_short(&bytes[1..], &mut rest, &mut parsed)?;
            }
        }
        if parsed.has(HELP.long) {
            return Ok(Request::Print(self.help()));
        }
        if parsed.has(VERSION.long) {
            return Ok(Request::Print(format!("ropewalk {} {}\n", self.name, crate::VERSION)));
        }
        self.check_count(&parsed)?;
        Ok(Request::Run(parsed))
    }

    /// `--name`, `--name=value` or `--name value`.
    fn take_long(
        &self,
        text: &[u8],
        rest: &mut impl Iterator<Item = OsString>,
        parsed: &mut Arguments,
    ) -> Result<()> {
        let mut halves = text.splitn(2, |&b| b == b'=');
        let name = halves.next().unwrap_or_default();
        let attached = halves.next().map(|value| OsString::from_vec(value.to_vec()));
        let Some(option) = self.all_options().find(|o| o.long.as_bytes() == name) else {
            return Err(self.unknown(&[b"--", name].concat()));
        };
        let value = match (option.value, attached) {
            (None, None) => OsString::new(),
            (None, Some(_)) => {
                return Err(Error::usage(format!("--{}: takes no value", option.long)));
            }
            (Some(_), Some(value)) => value,
            (Some(_), None) => needed(option, rest.next())?,
        };
        parsed.options.push((option.long, value));
        Ok(())
    }

    /// `-q`, `-qv`, `-b value` or `-bvalue`: `letters` without the dash.
    fn take_short(
        &self,
        letters: &[u8],
        rest: &mut impl Iterator<Item = OsString>,
        parsed: &mut Arguments,
    ) -> Result<()> {
        for (index, &letter) in letters.iter().enumerate() {
            let option = self.all_options().find(|o| o.short == Some(char::from(letter)));
            let Some(option) = option else {
                return Err(self.unknown(&[b"-", &letters[index..]].concat()));
            };
            if option.value.is_none() {
                parsed.options.push((option.long, OsString::new()));
                continue;
            }
            let attached = &letters[index + 1..];
            let value = match attached.is_empty() {
                true => needed(option, rest.next())?,
                false => OsString::from_vec(attached.to_vec()),
            };
            parsed.options.push((option.long, value));
            break;
        }
        Ok(())
    }

    fn unknown(&self, given: &[u8]) -> Error {
        Error::usage(format!("{}: no such option (see --help)", escape(given)))
    }

    fn check_count(&self, parsed: &Arguments) -> Result<()> {
        let wanted = match self.alone {
            Some(alone) if parsed.has(alone) => &[],
            _ => self.positionals,
        };
        if let Some(missing) = wanted.get(parsed.positionals.len()) {
            return Err(Error::usage(format!("{}: is missing (see --help)", missing.name)));
        }
        if let Some(extra) = parsed.positionals.get(wanted.len()) {
            let extra = escape(extra.as_bytes());
            return Err(Error::usage(format!("'{extra}': one argument too many (see --help)")));
        }
        Ok(())
    }

    /// The usage line, without a newline.
    pub fn usage(&self) -> String {
        let mut line = format!("usage: {}", self.name);
        for option in self.all_options() {
            let name = match option.short {
                Some(short) => format!("-{short}"),
                None => format!("--{}", option.long),
            };
            match option.value {
                Some(value) => line.push_str(&format!(" [{name} {value}]")),
                None => line.push_str(&format!(" [{name}]")),
            }
        }
        for positional in self.positionals {
            line.push_str(&format!(" {}", positional.name));
        }
        line
    }

    /// The text of `--help`.
    pub fn help(&self) -> String {
        let mut rows: Vec<(String, &str)> = Vec::new();
        rows.extend(self.positionals.iter().map(|p| (p.name.to_string(), p.help)));
        let split = rows.len();
        rows.extend(self.all_options().map(|option| (option.label(), option.help)));
        let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
        let show = |rows: &[(String, &str)]| -> String {
            rows.iter().map(|(left, right)| format!("  {left:<width$}  {right}\n")).collect()
        };
        let (positionals, options) = rows.split_at(split);
        let mut text = format!("{}\n\n{}\n", self.usage(), self.summary);
        if !positionals.is_empty() {
            text.push_str(&format!("\npositional arguments:\n{}", show(positionals)));
        }
        text.push_str(&format!("\noptions:\n{}", show(options)));
        text
    }
}

impl Opt {
    /// `-b ADDR, --bind ADDR`, as `--help` shows it.
    fn label(&self) -> String {
        let long = match self.value {
            Some(value) => format!("--{} {value}", self.long),
            None => format!("--{}", self.long),
        };
        match self.short {
            Some(short) => format!("-{short}, {long}"),
            None => long,
        }
    }
}

fn needed(option: &Opt, value: Option<OsString>) -> Result<OsString> {
    value.ok_or_else(|| Error::usage(format!("--{}: needs a value", option.long)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ExitCode;

    const TEST: Program = Program {
        name: "test",
        summary: "A program",
        positionals: &[
            Positional { name: "from", help: "where from" },
            Positional { name: "to", help: "where to" },
        ],
        options: &[
            Opt { short: Some('q'), long: "quiet", value: None, help: "say nothing" },
            Opt { short: Some('b'), long: "bind", value: Some("ADDR"), help: "where" },
            Opt { short: None, long: "job", value: None, help: "job on standard input" },
        ],
        alone: Some("job"),
    };

    fn parse(line: &str) -> Result<Arguments> {
        let words = line.split(' ').filter(|w| !w.is_empty()).map(OsString::from);
        match TEST.parse(words)? {
            Request::Run(arguments) => Ok(arguments),
            Request::Print(text) => panic!("printed {text}"),
        }
    }

    fn refused(line: &str) -> String {
        let error = parse(line).unwrap_err();
        assert_eq!(error.code(), ExitCode::Usage);
        error.to_string()
    }

    #[test]
    fn options_may_stand_anywhere() {
        let parsed = parse("a -q b").unwrap();
        assert!(parsed.has("quiet"));
        assert_eq!((parsed.positional(0), parsed.positional(1)), ("a".as_ref(), "b".as_ref()));
    }

    #[test]
    fn a_value_may_be_attached_or_follow() {
        for line in ["-b x a b", "-bx a b", "-qbx a b", "--bind x a b", "--bind=x a b"] {
            assert_eq!(parse(line).unwrap().value("bind"), Some("x".as_ref()), "{line}");
        }
    }

    #[test]
    fn the_last_value_counts() {
        assert_eq!(parse("-b x -b y a b").unwrap().value("bind"), Some("y".as_ref()));
    }

    #[test]
    fn after_two_dashes_nothing_is_an_option() {
        assert_eq!(parse("-- -q --").unwrap().positional(0), "-q");
    }

    #[test]
    fn a_single_dash_is_a_file() {
        assert_eq!(parse("a -").unwrap().positional(1), "-");
    }

    #[test]
    fn an_option_that_stands_alone_needs_no_arguments() {
        assert!(parse("--job").unwrap().has("job"));
        assert!(refused("--job a").contains("too many"));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(refused("a").contains("to: is missing"));
        assert!(refused("a b c").contains("'c': one argument too many"));
        assert!(refused("-x a b").contains("-x: no such option"));
        assert!(refused("--wrong a b").contains("--wrong: no such option"));
        assert!(refused("--quiet=1 a b").contains("takes no value"));
        assert!(refused("a b --bind").contains("needs a value"));
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for good in ["1", "255", "007"] {
            assert!(number("threads", good.as_ref(), 1..=255).is_ok(), "{good}");
        }
        for bad in ["", "0", "256", "-1", "+1", "1.0", "0x1", "4 ", "99999999999999999999999"] {
            assert!(number("threads", bad.as_ref(), 1..=255).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_have_units_and_a_least() {
        for (text, bytes) in [("16384", 16384), ("16K", 16384), ("3m", 3 << 20), ("2G", 2 << 30)] {
            assert_eq!(rate("r", text.as_ref()).unwrap(), bytes, "{text}");
        }
        for text in ["", "K", "15K", "16383", "1T", "1.5M", "-1M", "99999999999999G", "1 M"] {
            assert!(rate("r", text.as_ref()).is_err(), "{text}");
        }
    }

    #[test]
    fn help_lists_everything_once() {
        let help = TEST.help();
        for word in ["usage: test", "  from  ", "  -q, --quiet", "-b ADDR] [--job] from to"] {
            assert!(help.contains(word), "{word} in {help}");
        }
        assert!(help.contains("-b, --bind ADDR  where\n"));
        assert!(help.contains("A program\n\npositional arguments:\n"));
    }

    #[test]
    fn help_wins_over_missing_arguments() {
        assert!(matches!(TEST.parse(["-h".into()]), Ok(Request::Print(_))));
    }
}
