//! The one line about a fetch that succeeded.

#![forbid(unsafe_code)]

use ropewalk::app::report::{Mended, TreeTally};
use ropewalk::codec::amount;
use ropewalk::error::ExitCode;
use std::fmt;
use std::time::Duration;

/// In green (ECMA-48, SGR).
const GREEN_OK: &str = "\x1b[32mok\x1b[0m";

/// What the line tells.
#[derive(Debug)]
pub(crate) enum Summary {
    /// The file was fetched.
    Fetched(Fetched),
    /// A folder was fetched.
    Tree(FetchedTree),
    /// A file would be fetched, in a run that is no dry run.
    DryRun {
        /// The file's name, safe to print.
        shown: String,
        /// Its bytes, if the server says so.
        size: Option<u64>,
        /// Whether it would be pushed.
        is_push: bool,
    },
    /// The file was there already.
    UpToDate {
        /// The output's name, safe to print.
        shown: String,
        /// Bytes of the file.
        size: u64,
    },
    /// The file that is here stays, as the user wants it, whatever the server has.
    Kept {
        /// The output's name, safe to print.
        shown: String,
    },
}

/// A fetch that brought the file.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// From the start of the program until the file is in place.
    pub(crate) time: Duration,
    /// The most streams that were open at once.
    pub(crate) streams: u64,
    /// The MD5, if the client compared one.
    pub(crate) md5: Option<String>,
    /// Bytes of an earlier run.
    pub(crate) resumed: u64,
    /// Bytes that an older file had.
    pub(crate) same: u64,
    /// Faults that the receiver mended.
    pub(crate) mended: Mended,
    /// Whether the MD5 was the slowest step.
    pub(crate) md5_was_slowest: bool,
}

/// A fetch that brought a folder, as far as it could be had.
#[derive(Debug)]
pub(crate) struct FetchedTree {
    /// The figures of the folder.
    pub(crate) tree: TreeTally,
    /// Bytes of the files that were put in place.
    pub(crate) bytes: u64,
    /// Those of them that older files had.
    pub(crate) same_bytes: u64,
    /// From the start of the program until everything is in place.
    pub(crate) time: Duration,
    /// The most streams that were open at once.
    pub(crate) streams: u64,
    /// Whether each block was checked.
    pub(crate) is_checked: bool,
    /// Whether nothing was changed.
    pub(crate) is_dry: bool,
    /// Whether it was pushed.
    pub(crate) is_push: bool,
    /// Whether the server, started anew, has forgotten what it put in place before.
    pub(crate) is_forgotten: bool,
    /// Faults that the receiver mended.
    pub(crate) mended: Mended,
}

impl FetchedTree {
    fn exit_code(&self) -> ExitCode {
        match &self.tree {
            tree if tree.refused > 0 => ExitCode::Incomplete,
            tree if tree.is_delete_refused => ExitCode::DeleteRefused,
            _ => ExitCode::Success,
        }
    }
}

impl fmt::Display for FetchedTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tree = &self.tree;
        let files = counted(tree.files, "file");
        if self.is_dry {
            let done = fetched_or_pushed(self.is_push);
            write!(f, "{files} would be {done}; {} same, ", grouped(tree.same))?;
            return write!(
                f,
                "{} skipped, {} would be deleted",
                grouped(tree.skipped),
                grouped(tree.deleted)
            );
        }
        let rate = self.bytes.saturating_sub(self.same_bytes) as f64;
        let rate = amount::rate(rate / self.time.as_secs_f64().max(1e-9));
        let (size, time) = (amount::size(self.bytes), amount::time(self.time));
        let streams = counted(self.streams, "stream");
        write!(f, "{files}, {size} in {time} ({rate}) over {streams}")?;
        if self.mended.single_port {
            f.write_str(" through the control port")?;
        }
        if self.is_checked {
            f.write_str(", crc32c ok")?;
        }
        if tree.hashed > 0 {
            write!(f, ", md5 ok of {}", counted(tree.hashed, "file"))?;
        }
        if self.same_bytes > 0 {
            write!(f, ", {} found in older files", amount::size(self.same_bytes))?;
        }
        write!(f, "; {} same, ", grouped(tree.same))?;
        write!(f, "{} skipped, {} deleted", grouped(tree.skipped), grouped(tree.deleted))?;
        if tree.refused > 0 {
            write!(f, ", {} could not be had", grouped(tree.refused))?;
        }
        mended(f, &self.mended)?;
        if self.is_forgotten {
            f.write_str("; what came before the server was started again counts as the same")?;
        }
        Ok(())
    }
}

fn fetched_or_pushed(is_push: bool) -> &'static str {
    if is_push { "pushed" } else { "fetched" }
}

/// `1 file`, `2,000 files`.
fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(count))
}

/// A number with a comma between each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The faults that were mended.
fn mended(f: &mut fmt::Formatter<'_>, mended: &Mended) -> fmt::Result {
    for (count, what, again) in [
        (mended.bad_blocks, "damaged block", " asked for again"),
        (mended.reconnects, "reconnect", ""),
    ] {
        if count > 0 {
            write!(f, ", {}{again}", counted(count, what))?;
        }
    }
    Ok(())
}

impl Summary {
    /// The code to exit with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Summary::Tree(fetched) => fetched.exit_code(),
            Summary::Fetched(_)
            | Summary::DryRun { .. }
            | Summary::UpToDate { .. }
            | Summary::Kept { .. } => ExitCode::Success,
        }
    }

    /// The line; the digits of the MD5 if `verbose`, color if `colored`.
    pub(crate) fn line(&self, verbose: bool, colored: bool) -> String {
        match self {
            Summary::Fetched(fetched) => fetched.line(verbose, colored),
            Summary::Tree(_)
            | Summary::DryRun { .. }
            | Summary::UpToDate { .. }
            | Summary::Kept { .. } => self.to_string(),
        }
    }

    /// The MD5, if the client compared one.
    pub(crate) fn md5(&self) -> Option<&str> {
        match self {
            Summary::Fetched(fetched) => fetched.md5.as_deref(),
            Summary::Tree(_)
            | Summary::DryRun { .. }
            | Summary::UpToDate { .. }
            | Summary::Kept { .. } => None,
        }
    }

    /// Bytes of an earlier run.
    pub(crate) fn resumed(&self) -> u64 {
        match self {
            Summary::Fetched(fetched) => fetched.resumed,
            Summary::Tree(_) | Summary::DryRun { .. } | Summary::Kept { .. } => 0,
            Summary::UpToDate { size, .. } => *size,
        }
    }

    /// Whether the file was there already.
    pub(crate) fn is_up_to_date(&self) -> bool {
        matches!(self, Summary::UpToDate { .. })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Summary::Fetched(fetched) => fetched.fmt(f),
            Summary::Tree(fetched) => fetched.fmt(f),
            Summary::DryRun { shown, size, is_push } => {
                write!(f, "{shown} would be {}", fetched_or_pushed(*is_push))?;
                size.map_or(Ok(()), |size| write!(f, ", {}", amount::size(size)))
            }
            Summary::UpToDate { shown, .. } => write!(f, "{shown} is up to date"),
            Summary::Kept { shown } => write!(f, "{shown} stays as it is"),
        }
    }
}

impl Fetched {
    fn line(&self, verbose: bool, colored: bool) -> String {
        let digits = self.md5.as_deref().filter(|_| verbose);
        let mut ok = digits.map(|digits| format!("{digits} ")).unwrap_or_default();
        ok.push_str(if colored { GREEN_OK } else { "ok" });
        self.to_string().replacen(", md5 ok", &format!(", md5 {ok}"), 1)
    }
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = self.resumed + self.same;
        let moved = self.bytes.saturating_sub(here);
        let rate = moved as f64 / self.time.as_secs_f64().max(1e-9);
        let (size, time) = (amount::size(self.bytes), amount::time(self.time));
        let plural = if self.streams == 1 { "" } else { "s" };
        let rate = amount::rate(rate);
        let rate = match here {
            0 => rate,
            _ => format!("{rate} now"),
        };
        write!(f, "{size} in {time} ({rate}) over {} stream{plural}", self.streams)?;
        if self.mended.single_port {
            f.write_str(" through the control port")?;
        }
        if self.md5.is_some() {
            f.write_str(", md5 ok")?;
        }
        if self.resumed > 0 {
            write!(f, ", resumed at {}%", amount::percent(self.resumed, self.bytes))?;
        }
        if self.same > 0 {
            write!(f, ", {} the same", amount::size(self.same))?;
        }
        mended(f, &self.mended)?;
        // A few late blocks at the end are usual.
        let late = self.mended.asked_again;
        if late > self.bytes / 100 {
            write!(f, ", {} late, asked for again", amount::size(late))?;
        }
        if self.md5_was_slowest {
            f.write_str("; the MD5 was the slowest step: --verify crc32c leaves it out")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched() -> Fetched {
        Fetched {
            bytes: 1 << 30,
            time: Duration::from_millis(2310),
            streams: 4,
            md5: Some("d41d8cd98f00b204e9800998ecf8427e".into()),
            resumed: 0,
            same: 0,
            mended: Mended::default(),
            md5_was_slowest: false,
        }
    }

    #[test]
    fn an_ordinary_fetch_is_one_short_line() {
        assert_eq!(fetched().to_string(), "1.00 GiB in 2.31 s (443 MiB/s) over 4 streams, md5 ok");
    }

    #[test]
    fn the_digits_of_the_md5_and_color_are_optional() {
        let ends = |verbose, colored| fetched().line(verbose, colored).split_off(47);
        assert_eq!(ends(false, false), "md5 ok");
        assert_eq!(ends(true, false), "md5 d41d8cd98f00b204e9800998ecf8427e ok");
        assert_eq!(ends(false, true), "md5 \x1b[32mok\x1b[0m");
        let unchecked = Fetched { md5: None, ..fetched() };
        assert_eq!(unchecked.line(true, true), unchecked.to_string());
    }

    #[test]
    fn a_file_that_was_there_is_said_to_be_up_to_date() {
        let summary = Summary::UpToDate { shown: "image.iso".into(), size: 10 };
        assert_eq!(summary.line(true, true), "image.iso is up to date");
        assert!(summary.is_up_to_date() && summary.md5().is_none());
        assert_eq!(summary.resumed(), 10);
        assert!(!Summary::Fetched(fetched()).is_up_to_date());
    }

    #[test]
    fn a_usual_line_fits_80_columns() {
        let mended = Mended { single_port: true, ..Mended::default() };
        for usual in [
            Fetched { bytes: 999 << 20, streams: 255, mended, ..fetched() },
            Fetched { resumed: 50 << 30, bytes: 100 << 30, streams: 255, ..fetched() },
            Fetched { same: 1013 << 20, ..fetched() },
            Fetched { resumed: 1 << 29, time: Duration::from_secs(3590), ..fetched() },
        ] {
            assert!(usual.to_string().len() <= 80, "{usual}");
        }
    }

    #[test]
    fn bytes_of_an_earlier_run_do_not_count_for_the_rate() {
        let text = Fetched { resumed: 1 << 29, md5: None, streams: 1, ..fetched() }.to_string();
        assert!(text.ends_with(" (222 MiB/s now) over 1 stream, resumed at 50%"), "{text}");
    }

    #[test]
    fn bytes_that_were_the_same_are_named_and_do_not_count_for_the_rate() {
        let text = Fetched { same: 1013 << 20, ..fetched() }.to_string();
        let words =
            "1.00 GiB in 2.31 s (4.76 MiB/s now) over 4 streams, md5 ok, 0.989 GiB the same";
        assert_eq!(text, words);
        let both = Fetched { resumed: 1 << 29, same: 1 << 29, ..fetched() }.to_string();
        assert!(both.contains("(0 bytes/s now)"), "{both}");
        assert!(both.ends_with(", resumed at 50%, 512 MiB the same"), "{both}");
    }

    #[test]
    fn mended_faults_are_counted() {
        let mended =
            Mended { bad_blocks: 3, reconnects: 2, asked_again: 90_000_000, ..Mended::default() };
        let text = Fetched { mended, ..fetched() }.to_string();
        let words =
            ", 3 damaged blocks asked for again, 2 reconnects, 85.8 MiB late, asked for again";
        assert!(text.contains(words), "{text}");
    }

    #[test]
    fn a_count_of_one_is_singular() {
        let mended = Mended { bad_blocks: 1, reconnects: 1, ..Mended::default() };
        let text = Fetched { mended, ..fetched() }.to_string();
        assert!(text.ends_with(", 1 damaged block asked for again, 1 reconnect"), "{text}");
    }

    #[test]
    fn streams_through_the_control_port_are_mentioned() {
        let mended = Mended { single_port: true, ..Mended::default() };
        let text = Fetched { mended, ..fetched() }.to_string();
        assert!(text.contains(" over 4 streams through the control port, md5 ok"), "{text}");
    }

    #[test]
    fn a_slow_md5_names_the_option() {
        let text = Fetched { md5_was_slowest: true, ..fetched() }.to_string();
        assert!(text.ends_with("--verify crc32c leaves it out"));
    }
}
