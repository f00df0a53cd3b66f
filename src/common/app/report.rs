//! The transport of reports from a worker to its parent: one JSON object a line on standard
//! output, at most ten of a kind a second. The parent reads them all the time, so a worker never
//! waits for it.

#![forbid(unsafe_code)]

pub use crate::codec::message::report::{Act, Mended, Report, Tally, TreeTally};

use super::terminal;
use crate::codec::json;
use crate::error::Error;
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

/// The shortest time between two progress reports.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// Longest line that a parent reads, in bytes.
pub const MAX_LINE: usize = 64 << 10;

impl Report {
    /// Writes the report to standard output. Ignores errors: the lifeline tells the worker that
    /// the parent is gone.
    pub fn send(&self) {
        let _ = terminal::print(format!("{}\n", self.to_json()).as_bytes());
    }
}

/// The reports of one worker, as its parent reads them.
pub struct Reports<R> {
    lines: BufReader<R>,
}

impl<R: Read> Reports<R> {
    /// Reads from the worker's standard output.
    pub fn new(output: R) -> Reports<R> {
        Reports { lines: BufReader::new(output) }
    }

    /// Waits for the next report. `None` when the worker has closed its output.
    ///
    /// # Errors
    /// `InvalidData` for a line that is too long or no report; an error of the pipe.
    pub fn next_report(&mut self) -> io::Result<Option<Report>> {
        let mut line = Vec::new();
        let taken = self.lines.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        match (taken, line.last()) {
            (0, _) => Ok(None),
            (_, Some(b'\n')) if taken <= MAX_LINE => {
                let object = json::parse(&line).map_err(|_| io::ErrorKind::InvalidData)?;
                let report = Report::from_json(&object);
                let invalid =
                    |error: Error| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
                report.map(Some).map_err(invalid)
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ExitCode;
    use crate::transfer::trace::{Cell, Mark, Position, Slice};

    fn read(text: &str) -> io::Result<Option<Report>> {
        Reports::new(text.as_bytes()).next_report()
    }

    /// The longest possible slice.
    fn slice() -> Slice {
        let cell = Cell { bytes: i64::MAX as u64, open: true, marks: [u16::MAX; Mark::ALL.len()] };
        let position = Position {
            prefix: i64::MAX as u64,
            hashed: Some(i64::MAX as u64),
            files: Some(i64::MAX as u64),
        };
        Slice { at: i64::MAX as u64, position, cells: (0..=254).map(|n| (n, cell)).collect() }
    }

    #[test]
    fn every_report_survives_the_pipe() {
        let tally = Tally { bytes: 6 << 30, streams: 4, offset: 7 << 30, ..Tally::default() };
        let resumed = Tally { again: 5, held: 1 << 30, hashed: Some(0), ..tally };
        let mended = Mended {
            bad_blocks: 1,
            reconnects: 2,
            asked_again: 3,
            md5_lag_ms: 4,
            single_port: true,
        };
        for report in [
            Report::Confined { text: "no core dumps: applied".into() },
            Report::Progress(tally),
            Report::Progress(resumed),
            Report::Trace(Slice::default()),
            Report::Trace(slice()),
            Report::Lost { text: "Connection refused".into() },
            Report::Stream,
            Report::Done { tally, md5: None, mended: Mended::default() },
            Report::Done { tally, md5: Some("0".repeat(32)), mended },
            Report::Failed { code: ExitCode::Network, text: "a\nb \u{1b}[1m".into() },
        ] {
            let line = format!("{}\n", report.to_json());
            assert_eq!(line.matches('\n').count(), 1, "one line each: {line}");
            assert!(line.len() < MAX_LINE / 2, "{} bytes", line.len());
            assert_eq!(read(&line).unwrap(), Some(report));
        }
    }

    #[test]
    fn the_end_of_the_pipe_is_no_report() {
        assert_eq!(read("").unwrap(), None);
    }

    #[test]
    fn an_invalid_slice_is_an_error() {
        let slice = |rows: &str| {
            read(&format!("{{\"state\":\"trace\",\"at\":1,\"prefix\":0,\"rows\":{rows}}}\n"))
        };
        assert!(slice("[[254,1,1,0,0,0,0,9]]").is_ok());
        for rows in ["0", "[1]", "[[1,2]]", "[[256,2,1]]", "[[1,-2,1]]", "[[1,2,1,65536]]"] {
            assert!(slice(rows).is_err(), "{rows}");
        }
    }

    #[test]
    fn a_line_that_is_no_report_is_an_error() {
        for line in ["hello\n", "{}\n", "{\"state\": \"done\"", "{\"state\": \"odd\"}\n"] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_limit_of_a_line_is_exact() {
        let report = "{\"state\":\"failed\",\"text\":\"\"}";
        let padding = MAX_LINE - report.len() - 1;
        assert!(read(&format!("{report}{}\n", " ".repeat(padding))).is_ok());
        assert!(read(&format!("{report}{}\n", " ".repeat(padding + 1))).is_err());
    }
}
