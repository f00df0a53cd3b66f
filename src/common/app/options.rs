//! Command lines: a table for each program, which drives the parser and `--help`. Knows the
//! meaning of no option.

#![forbid(unsafe_code)]

mod guess;
mod help;

use crate::codec::text::escape;
use crate::error::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A positional argument.
pub struct Positional {
    /// Its name in the usage line.
    pub name: &'static str,
    /// One line about it.
    pub help: &'static str,
    /// Whether it may be left out. Then every later one may be, too.
    pub optional: bool,
}

/// An option.
pub struct Opt {
    /// `-q` in `-q, --quiet`.
    pub short: Option<char>,
    /// `quiet` in `-q, --quiet`.
    pub long: &'static str,
    /// The name of its value, if it takes one.
    pub value: Option<&'static str>,
    /// One line about it.
    pub help: &'static str,
}

/// Options that belong together.
pub struct Group {
    /// Their heading in `--help` and in the man page.
    pub title: &'static str,
    /// The options.
    pub options: &'static [Opt],
}

/// An option of another program that people try here, and the advice for it.
pub struct Habit {
    /// Its spellings, with their dashes, with one space between two.
    pub spellings: &'static str,
    /// The advice: a clause after a semicolon.
    pub instead: &'static str,
}

/// A program's command line.
pub struct Program {
    /// The name that it has in the build folder.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// Each way to write its arguments, without the program's name and the options.
    pub forms: &'static [&'static str],
    /// Positional arguments, the optional ones last.
    pub positionals: &'static [Positional],
    /// Options, besides `--help` and `--version`.
    pub groups: &'static [Group],
    /// Examples: a title and a command line, with `{}` for the program's name. A person who types
    /// no argument sees the first one.
    pub examples: &'static [(&'static str, &'static str)],
    /// Options of other programs.
    pub habits: &'static [Habit],
    /// The option (by its long name) that replaces all positional arguments.
    pub alone: Option<&'static str>,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Request {
    /// To do the program's job.
    Run(Arguments),
    /// To show the help and end.
    Help,
    /// To show the version and end.
    Version,
}

/// A parsed command line, not yet interpreted.
#[derive(Debug, Default)]
pub struct Arguments {
    positionals: Vec<OsString>,
    options: Vec<(&'static str, OsString)>,
    /// All words as the user typed them.
    words: Vec<OsString>,
    /// The indices of the words that are options with two dashes.
    dashed: Vec<usize>,
}

impl Arguments {
    /// The words as the user typed them, without the option `long`, which takes no value.
    pub fn typed_without(&self, long: &str) -> Vec<&OsStr> {
        let option = format!("--{long}");
        let words = self.words.iter().enumerate();
        words
            .filter(|(at, word)| **word != *option || !self.dashed.contains(at))
            .map(|(_, word)| word.as_os_str())
            .collect()
    }

    /// Whether the option was given.
    pub fn has(&self, long: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == long)
    }

    /// The values of these options, in the order in which they were typed.
    pub fn typed_values<'a>(
        &'a self,
        longs: &'a [&str],
    ) -> impl Iterator<Item = (&'static str, &'a OsStr)> {
        let wanted = self.options.iter().filter(|(name, _)| longs.contains(name));
        wanted.map(|(name, value)| (*name, value.as_os_str()))
    }

    /// The value of an option; the last one if it comes several times.
    pub fn value(&self, long: &str) -> Option<&OsStr> {
        self.options.iter().rev().find(|(name, _)| *name == long).map(|(_, v)| v.as_os_str())
    }

    /// The positional argument at `index`; empty if it is optional and left out, or not in the
    /// table.
    pub fn positional(&self, index: usize) -> &OsStr {
        self.optional(index).unwrap_or_default()
    }

    /// All positional arguments.
    pub fn positionals(&self) -> &[OsString] {
        &self.positionals
    }

    /// The positional argument at `index`, if it was given.
    pub fn optional(&self, index: usize) -> Option<&OsStr> {
        self.positionals.get(index).map(OsString::as_os_str)
    }

    /// The number given for the option `long`, in `range`.
    pub fn number(&self, long: &str, range: std::ops::RangeInclusive<u64>) -> Result<Option<u64>> {
        self.value(long).map(|text| number(&format!("--{long}"), text, range)).transpose()
    }

    /// The bytes given for the option `long`.
    pub fn size(&self, long: &str) -> Result<Option<u64>> {
        self.value(long).map(|text| size(&format!("--{long}"), text)).transpose()
    }

    /// The bytes per second given for the option `long`.
    pub fn rate(&self, long: &str) -> Result<Option<u64>> {
        self.value(long).map(|text| rate(&format!("--{long}"), text)).transpose()
    }
}

/// The whole number in `text`, or an error that names `what` and the range.
pub fn number(what: &str, text: &OsStr, range: std::ops::RangeInclusive<u64>) -> Result<u64> {
    let digits = text.to_str().filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).filter(|n| range.contains(n)).ok_or_else(|| {
        let (low, high) = range.into_inner();
        let given = escape(text.as_bytes());
        Error::usage(format!("{what}: must be a whole number from {low} to {high}, not '{given}'"))
    })
}

/// The lowest limit, in bytes per second. Below it, streams would seem to stall.
pub const MIN_RATE: u64 = 16 << 10;

/// Bytes: digits, and K, M or G for KiB, MiB or GiB.
fn bytes_of(text: &OsStr) -> Option<u64> {
    let bytes = text.as_bytes();
    let (digits, unit) = match bytes.split_last()? {
        (b'K' | b'k', digits) => (digits, 1 << 10),
        (b'M' | b'm', digits) => (digits, 1 << 20),
        (b'G' | b'g', digits) => (digits, 1 << 30),
        _ => (bytes, 1u64),
    };
    number("", OsStr::from_bytes(digits), 1..=u64::MAX).ok()?.checked_mul(unit)
}

fn size(what: &str, text: &OsStr) -> Result<u64> {
    bytes_of(text).ok_or_else(|| {
        let given = escape(text.as_bytes());
        Error::usage(format!("{what}: must be bytes, such as 500M or 10G, not '{given}'"))
    })
}

fn rate(what: &str, text: &OsStr) -> Result<u64> {
    bytes_of(text).filter(|rate| *rate >= MIN_RATE).ok_or_else(|| {
        let given = escape(text.as_bytes());
        Error::usage(format!(
            "{what}: must be at least 16K bytes per second, such as 500K or 10M, not '{given}'"
        ))
    })
}

const HELP: Opt = Opt { short: Some('h'), long: "help", value: None, help: "show this help" };
const VERSION: Opt =
    Opt { short: Some('V'), long: "version", value: None, help: "show the version" };

/// The options of every program.
const GENERAL: Group = Group { title: "help", options: &[HELP, VERSION] };

impl Program {
    /// All groups of options, the common one last.
    pub fn all_groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().chain([&GENERAL])
    }

    /// All options, in the order of their groups.
    pub fn all_options(&self) -> impl Iterator<Item = &Opt> {
        self.all_groups().flat_map(|group| group.options)
    }

    /// Parses `arguments`, without the program's own name.
    pub fn parse(&self, arguments: impl IntoIterator<Item = OsString>) -> Result<Request> {
        let mut parsed = Arguments::default();
        let words: Vec<OsString> = arguments.into_iter().collect();
        let mut rest = words.iter().cloned();
        let mut only_positionals = false;
        while let Some(argument) = rest.next() {
            let bytes = argument.as_bytes();
            if only_positionals || !bytes.starts_with(b"-") || bytes == b"-" {
                parsed.positionals.push(argument);
            } else if bytes == b"--" {
                only_positionals = true;
            } else if let Some(long) = bytes.strip_prefix(b"--") {
                parsed.dashed.push(words.len() - rest.len() - 1);
                self.take_long(long, &mut rest, &mut parsed)?;
            } else {
                self.take_short(&bytes[1..], &mut rest, &mut parsed)?;
            }
        }
        if parsed.has(HELP.long) {
            return Ok(Request::Help);
        }
        if parsed.has(VERSION.long) {
            return Ok(Request::Version);
        }
        self.check_count(&parsed)?;
        parsed.words = words;
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
            return Err(guess::unknown(self, &[b"--", name].concat()));
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
                return Err(guess::unknown(
                    self,
                    &[b"-", first_letter(&letters[index..])].concat(),
                ));
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

    fn check_count(&self, parsed: &Arguments) -> Result<()> {
        let wanted = match self.alone {
            Some(alone) if parsed.has(alone) => &[],
            _ => self.positionals,
        };
        let missing = wanted.get(parsed.positionals.len()).filter(|next| !next.optional);
        if let Some(missing) = missing {
            return Err(Error::usage(format!("{}: is missing (see --help)", missing.name)));
        }
        if let Some(extra) = parsed.positionals.get(wanted.len()) {
            let extra = escape(extra.as_bytes());
            return Err(Error::usage(format!("'{extra}': is one argument too many (see --help)")));
        }
        Ok(())
    }
}

/// Shows the first letter only: a secret may follow an unknown option.
fn first_letter(letters: &[u8]) -> &[u8] {
    let length = letters.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    &letters[..length.map_or(1, char::len_utf8)]
}

fn needed(option: &Opt, value: Option<OsString>) -> Result<OsString> {
    value.ok_or_else(|| Error::usage(format!("--{}: needs a value", option.long)))
}

#[cfg(test)]
mod tests;
