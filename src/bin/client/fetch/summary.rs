//! The one line that is said of a fetch that succeeded.

#![forbid(unsafe_code)]

use ropewalk::app::report::Mended;
use std::fmt;
use std::time::Duration;

/// What is said.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// From the start of the program to the file in its place.
    pub(crate) time: Duration,
    /// The most streams that were open at once.
    pub(crate) streams: u64,
    /// The MD5, where one was compared.
    pub(crate) md5: Option<String>,
    /// Bytes that were there before.
    pub(crate) resumed: u64,
    /// What went wrong and was mended.
    pub(crate) mended: Mended,
    /// Whether the MD5 held the transfer up.
    pub(crate) md5_was_slowest: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_secs_f64();
        let rate = (self.bytes - self.resumed) as f64 / 1e6 / seconds.max(1e-9);
        write!(
            f,
            "{} bytes in {seconds:.3} s ({rate:.1} MB/s) over {} streams",
            self.bytes, self.streams
        )?;
        if self.mended.single_port {
            f.write_str(" through the control port")?;
        }
        if let Some(md5) = &self.md5 {
            write!(f, ", md5 {md5}")?;
        }
        if self.resumed > 0 {
            write!(f, ", resumed at {}%", percent(self.resumed, self.bytes))?;
        }
        // A few late blocks at the end are everyday.
        let late = self.mended.asked_again;
        let late = if late > self.bytes / 100 { late } else { 0 };
        for (count, what) in [
            (self.mended.bad_blocks, "damaged blocks asked for again"),
            (self.mended.reconnects, "reconnects"),
            (late, "late bytes asked for again"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if self.md5_was_slowest {
            f.write_str("; the MD5 was the slowest step: --verify crc32c does without it")?;
        }
        Ok(())
    }
}

/// How many hundredths of `whole` are in `part`, rounded down.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    (u128::from(part) * 100 / u128::from(whole.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            bytes: 200_000_000,
            time: Duration::from_secs(2),
            streams: 4,
            md5: Some("d41d8cd98f00b204e9800998ecf8427e".into()),
            resumed: 0,
            mended: Mended::default(),
            md5_was_slowest: false,
        }
    }

    #[test]
    fn an_ordinary_fetch_is_one_short_line() {
        assert_eq!(
            summary().to_string(),
            "200000000 bytes in 2.000 s (100.0 MB/s) over 4 streams, \
             md5 d41d8cd98f00b204e9800998ecf8427e"
        );
    }

    #[test]
    fn what_was_there_before_does_not_count_as_moved() {
        let text = Summary { resumed: 100_000_000, md5: None, ..summary() }.to_string();
        assert!(text.ends_with("(50.0 MB/s) over 4 streams, resumed at 50%"), "{text}");
    }

    #[test]
    fn what_was_mended_is_counted() {
        let mended =
            Mended { bad_blocks: 3, reconnects: 2, asked_again: 9_000_000, ..Mended::default() };
        let text = Summary { mended, ..summary() }.to_string();
        assert!(
            text.contains(", 3 damaged blocks asked for again, 2 reconnects, 9000000 late bytes")
        );
    }

    #[test]
    fn the_way_of_the_streams_is_told_where_it_is_not_the_usual_one() {
        let mended = Mended { single_port: true, ..Mended::default() };
        let text = Summary { mended, ..summary() }.to_string();
        assert!(text.contains(" over 4 streams through the control port, md5 "), "{text}");
    }

    #[test]
    fn a_slow_md5_names_the_flag() {
        let text = Summary { md5_was_slowest: true, ..summary() }.to_string();
        assert!(text.ends_with("--verify crc32c does without it"));
    }
}
