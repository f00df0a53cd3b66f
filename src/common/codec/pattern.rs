//! The patterns of `--exclude`, `--include` and `--exclude-from`: which entries of a tree a
//! transfer leaves out.
//!
//! ```text
//! *      any bytes of a name, none included        **   any folders, none included; alone
//! ?      one byte of a name                             between two slashes
//! [a-c]  one byte of a set, [!a-c] or [^a-c]       \x   the byte x itself
//!        one byte outside it
//! /x     x at the top of the tree only             x/   folders only
//! ```
//!
//! A pattern matches whole names. Without a leading slash it matches at every depth: `a/b` matches
//! `a/b` and `x/a/b`. At the end, `**` stands for one name or more: `a/**` matches all that is
//! below `a`, but not `a`. The first rule that matches decides. The caller asks for a folder
//! before its entries, and does not list a folder that is left out.
//!
//! A pattern that can never match is an error, since a user who wrote it meant something else.
//! A match takes time in the order of the length of the path times the length of the pattern.

#![forbid(unsafe_code)]

use std::fmt;

/// The longest pattern, in bytes: no path is longer.
pub const MAX_PATTERN: usize = 4095;

/// The first bytes of a text in UTF-8 that some editors write.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A reason why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It names nothing: it is empty, or a slash.
    Empty,
    /// It is longer than [`MAX_PATTERN`].
    TooLong,
    /// A `[` has no `]`.
    UnclosedBracket,
    /// A range of a set ends before it begins: `[z-a]`.
    ReversedRange,
    /// A set holds a class: `[[:digit:]]`.
    Class,
    /// A backslash is the last byte.
    LoneBackslash,
    /// `**` has neighbours other than slashes: `a**`.
    AttachedStars,
    /// Two slashes have nothing between them.
    EmptyName,
    /// A name is `.` or `..`, which no entry is called.
    DotName,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::Empty => f.write_str("the pattern is empty"),
            PatternError::TooLong => {
                write!(f, "the pattern is longer than {MAX_PATTERN} bytes")
            }
            PatternError::UnclosedBracket => f.write_str("a '[' has no ']'"),
            PatternError::ReversedRange => f.write_str("a range in '[]' ends before it begins"),
            PatternError::Class => f.write_str("'[:' classes are not supported"),
            PatternError::LoneBackslash => f.write_str("nothing follows the last backslash"),
            PatternError::AttachedStars => {
                f.write_str("'**' must stand alone between slashes, as in 'a/**/*.o'")
            }
            PatternError::EmptyName => f.write_str("two slashes follow each other"),
            PatternError::DotName => f.write_str("'.' and '..' match no entry"),
        }
    }
}

impl std::error::Error for PatternError {}

/// An error of one line of a file of patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineError {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub error: PatternError,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.error)
    }
}

impl std::error::Error for LineError {}

/// What a rule does with the entries that its pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They belong to the transfer.
    Include,
    /// They are left out.
    Exclude,
}

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Whether it matches folders only.
    folders_only: bool,
    /// From the top of the tree. A pattern that matches at every depth begins with
    /// [`Step::Folders`].
    steps: Vec<Step>,
}

/// What a pattern says between two slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// `**`: any number of names; at least one at the end of a pattern.
    Folders,
    /// One name.
    Name(Vec<Piece>),
}

/// A part of a name in a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// This byte.
    Byte(u8),
    /// `?`: any one byte.
    Any,
    /// `*`: any number of bytes.
    Run,
    /// `[...]`: one byte of these ranges, both ends included; or one outside all of them.
    Set { negated: bool, ranges: Vec<(u8, u8)> },
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The text is no pattern, or one that can never match.
    pub fn parse(text: &[u8]) -> Result<Pattern, PatternError> {
        if text.len() > MAX_PATTERN {
            return Err(PatternError::TooLong);
        }
        let (is_anchored, rest) = match text.strip_prefix(b"/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if rest.is_empty() {
            return Err(PatternError::Empty);
        }
        let mut parser = Parser { rest };
        let mut steps = if is_anchored { Vec::new() } else { vec![Step::Folders] };
        let mut folders_only = false;
        while !parser.rest.is_empty() {
            let step = parser.step()?;
            // `**/**` is `**`: a second one would only cost time.
            if step != Step::Folders || steps.last() != Some(&Step::Folders) {
                steps.push(step);
            }
            if let Some(rest) = parser.rest.strip_prefix(b"/") {
                parser.rest = rest;
                folders_only = rest.is_empty();
            }
        }
        Ok(Pattern { folders_only, steps })
    }

    /// Whether the pattern matches an entry. `path` is its names from the top of the tree with a
    /// slash between two of them; it is neither empty nor does it begin or end with a slash.
    pub fn matches(&self, path: &[u8], is_folder: bool) -> bool {
        if self.folders_only && !is_folder {
            return false;
        }
        // Most patterns are one name at any depth: only the last name of the path counts.
        if let [Step::Folders, Step::Name(pieces)] = &self.steps[..] {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
            return matches_name(pieces, name);
        }
        matches_path(&self.steps, path)
    }
}

/// Reads the steps of a pattern.
struct Parser<'a> {
    rest: &'a [u8],
}

impl Parser<'_> {
    /// Reads up to the next slash or the end, which is not at once.
    fn step(&mut self) -> Result<Step, PatternError> {
        let mut pieces = Vec::new();
        let mut stars = 0; // at the end of `pieces`
        let mut has_double = false;
        while let Some(&byte) = self.rest.first().filter(|byte| **byte != b'/') {
            self.rest = &self.rest[1..];
            stars = if byte == b'*' { stars + 1 } else { 0 };
            has_double |= stars == 2;
            pieces.push(match byte {
                b'*' => Piece::Run,
                b'?' => Piece::Any,
                b'[' => self.set()?,
                b'\\' => Piece::Byte(self.escaped()?),
                byte => Piece::Byte(byte),
            });
        }
        match &pieces[..] {
            [] => Err(PatternError::EmptyName),
            [Piece::Run, Piece::Run] => Ok(Step::Folders),
            _ if has_double => Err(PatternError::AttachedStars),
            [Piece::Byte(b'.')] | [Piece::Byte(b'.'), Piece::Byte(b'.')] => {
                Err(PatternError::DotName)
            }
            _ => Ok(Step::Name(pieces)),
        }
    }

    /// The byte behind a backslash.
    fn escaped(&mut self) -> Result<u8, PatternError> {
        let (&byte, rest) = self.rest.split_first().ok_or(PatternError::LoneBackslash)?;
        self.rest = rest;
        // An escaped slash would be part of a name, which has none.
        if byte == b'/' { Err(PatternError::LoneBackslash) } else { Ok(byte) }
    }

    /// A set, whose `[` has been read. A `]` at its start is a member of it.
    fn set(&mut self) -> Result<Piece, PatternError> {
        let negated = matches!(self.rest.first(), Some(b'!' | b'^'));
        if negated {
            self.rest = &self.rest[1..];
        }
        let mut ranges = Vec::new();
        loop {
            match self.rest {
                [] => return Err(PatternError::UnclosedBracket),
                [b']', rest @ ..] if !ranges.is_empty() => {
                    self.rest = rest;
                    return Ok(Piece::Set { negated, ranges });
                }
                [b'[', b':', ..] => return Err(PatternError::Class),
                _ => {}
            }
            let low = self.member()?;
            let high = match self.rest {
                // A dash before the end is a member itself.
                [b'-', next, ..] if *next != b']' => {
                    self.rest = &self.rest[1..];
                    self.member()?
                }
                _ => low,
            };
            if high < low {
                return Err(PatternError::ReversedRange);
            }
            ranges.push((low, high));
        }
    }

    /// One byte of a set.
    fn member(&mut self) -> Result<u8, PatternError> {
        let (&byte, rest) = self.rest.split_first().ok_or(PatternError::UnclosedBracket)?;
        self.rest = rest;
        match byte {
            b'\\' => self.escaped().map_err(|_| PatternError::UnclosedBracket),
            // No name has a slash.
            b'/' => Err(PatternError::UnclosedBracket),
            byte => Ok(byte),
        }
    }
}

/// Whether the steps match all names of the path.
///
/// The last `**` that was met takes one name more when what follows it does not match. An
/// earlier one need not: the later one can take those names as well. So each step meets each name
/// at most once behind each `**`.
fn matches_path(steps: &[Step], path: &[u8]) -> bool {
    let (mut step, mut rest) = (0, Some(path));
    // The step behind the last `**`, and what of the path that `**` has not taken.
    let mut retry: Option<(usize, &[u8])> = None;
    loop {
        match (steps.get(step), rest) {
            // `**` at the end wants one name at least.
            (Some(Step::Folders), Some(_)) if step + 1 == steps.len() => return true,
            (Some(Step::Folders), Some(names)) => {
                step += 1;
                retry = Some((step, names));
                continue;
            }
            (Some(Step::Name(pieces)), Some(names)) => {
                let (name, behind) = split(names);
                if matches_name(pieces, name) {
                    (step, rest) = (step + 1, behind);
                    continue;
                }
            }
            (None, None) => return true,
            // A name is wanted, and none is left: with fewer left none would match either.
            (Some(_), None) => return false,
            (None, Some(_)) => {}
        }
        let Some((after, names)) = retry else { return false };
        let Some(names) = split(names).1 else { return false };
        retry = Some((after, names));
        (step, rest) = (after, Some(names));
    }
}

/// The first name of a path and, behind a slash, the others.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|byte| *byte == b'/') {
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    }
}

/// Whether the pieces match the whole name. As in [`matches_path`], only the last `*` is tried
/// again.
fn matches_name(pieces: &[Piece], name: &[u8]) -> bool {
    let (mut piece, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pieces.get(piece), name.get(at)) {
            (Some(Piece::Run), _) => {
                piece += 1;
                retry = Some((piece, at));
                continue;
            }
            (Some(wanted), Some(byte)) if wanted.is_matched_by(*byte) => {
                (piece, at) = (piece + 1, at + 1);
                continue;
            }
            (None, None) => return true,
            // A `*` that takes more leaves even less for the other pieces.
            (Some(_), None) => return false,
            _ => {}
        }
        let Some((after, start)) = retry else { return false };
        retry = Some((after, start + 1));
        (piece, at) = (after, start + 1);
    }
}

impl Piece {
    /// Whether one byte matches.
    fn is_matched_by(&self, byte: u8) -> bool {
        match self {
            Piece::Byte(wanted) => *wanted == byte,
            Piece::Any | Piece::Run => true,
            Piece::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) != *negated
            }
        }
    }
}

/// The patterns of a file: one in each line, which ends with LF or CRLF. Empty lines and lines
/// that begin with `#` say nothing (`\#` begins a pattern with `#`). Blanks belong to a pattern.
///
/// # Errors
/// The first line that is no pattern.
pub fn patterns_in(text: &[u8]) -> Result<Vec<&[u8]>, LineError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.map(|(index, line)| (index, line.strip_suffix(b"\r").unwrap_or(line)));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
        .map(|(index, line)| match Pattern::parse(line) {
            Ok(_) => Ok(line),
            Err(error) => Err(LineError { line: index + 1, error }),
        })
        .collect()
}

/// All rules of a transfer, in the order of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<(Action, Pattern)>,
}

impl Rules {
    /// Adds a rule behind those that are there.
    pub fn add(&mut self, action: Action, pattern: Pattern) {
        self.rules.push((action, pattern));
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether an entry is left out: the first rule whose pattern matches excludes. `path` is that
    /// of [`Pattern::matches`]. Rules see one entry, and not the folders above it.
    pub fn exclude(&self, path: &[u8], is_folder: bool) -> bool {
        self.rules
            .iter()
            .find(|(_, pattern)| pattern.matches(path, is_folder))
            .is_some_and(|(action, _)| *action == Action::Exclude)
    }
}

#[cfg(test)]
mod tests;
