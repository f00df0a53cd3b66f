//! What a worker tells its parent: one JSON object a line on standard output, at
//! most ten of a kind a second. The parent always reads them, so a worker never waits for it.

#![forbid(unsafe_code)]

mod slice;

use super::terminal;
use crate::codec::json::{self, Value};
use crate::error::{Error, ExitCode};
use crate::transfer::meter::Reading;
use crate::transfer::trace::Slice;
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

/// The least time between two progress reports.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// Longest line that a parent reads, in bytes.
pub const MAX_LINE: usize = 64 << 10;

/// One report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Which rights the worker has given up; the first report.
    Confined {
        /// For the log of somebody who wants to know.
        text: String,
    },
    /// So far: may come any number of times, before one of the other two.
    Progress(Tally),
    /// What happened since the last one of these; only where the job asks for it.
    Trace(Slice),
    /// No stream of the session can be opened any more: a new session is needed.
    Lost {
        /// What the last attempt came to, for a person.
        text: String,
    },
    /// The job is done; the last report.
    Done {
        /// What was moved in all.
        tally: Tally,
        /// The MD5 of the whole file as 32 hexadecimal digits, where one was made.
        md5: Option<String>,
        /// What went wrong and was mended.
        mended: Mended,
    },
    /// The job failed; the last report.
    Failed {
        /// The exit code that the parent may hand on.
        code: ExitCode,
        /// One line for a person, without a program's name.
        text: String,
    },
}

/// What went wrong on the way and was mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Blocks that came damaged and were asked for again.
    pub bad_blocks: u64,
    /// Streams that were opened again.
    pub reconnects: u64,
    /// Bytes that were asked for a second time because they were late.
    pub asked_again: u64,
    /// Milliseconds between the last byte's arrival and the end of the MD5.
    pub md5_lag_ms: u64,
    /// Whether streams went to the server's control port in place of a data port.
    pub single_port: bool,
}

/// How much was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes of the file.
    pub bytes: u64,
    /// Streams that are open; in [`Report::Done`] the most that ever were.
    pub streams: u64,
    /// Of a sender, one past the highest byte that was sent.
    pub offset: u64,
    /// Of a pulled receiver, blocks asked for a second time: damaged ones, late ones, and
    /// those that a broken stream still owed.
    pub again: u64,
    /// Of a pulled receiver, the part of `bytes` that an earlier run left and that is still
    /// to be checked.
    pub held: u64,
    /// Of a pulled receiver that makes an MD5, how many bytes are in it.
    pub hashed: Option<u64>,
}

impl From<Reading> for Tally {
    fn from(reading: Reading) -> Tally {
        let Reading { bytes, open: streams, offset, .. } = reading;
        Tally { bytes, streams, offset, ..Tally::default() }
    }
}

impl Report {
    /// The report of a job that ended with `error`.
    pub fn failed(error: &Error) -> Report {
        Report::Failed { code: error.code(), text: error.to_string() }
    }

    /// The report as JSON.
    fn to_json(&self) -> Value {
        let tally = |state: &str, tally: &Tally| {
            let mut object = vec![
                ("state".to_string(), Value::from(state)),
                ("bytes".to_string(), Value::from_u64(tally.bytes)),
                ("streams".to_string(), Value::from_u64(tally.streams)),
                ("offset".to_string(), Value::from_u64(tally.offset)),
                ("again".to_string(), Value::from_u64(tally.again)),
            ];
            let held = Some(tally.held).filter(|held| *held > 0);
            for (key, number) in [("held", held), ("hashed", tally.hashed)] {
                object.extend(number.map(|number| (key.to_string(), Value::from_u64(number))));
            }
            object
        };
        match self {
            Report::Confined { text } => Value::object([
                ("state", Value::from("confined")),
                ("text", Value::from(text.as_str())),
            ]),
            Report::Progress(so_far) => Value::Object(tally("progress", so_far)),
            Report::Trace(slice) => {
                let mut object = vec![("state".to_string(), Value::from("trace"))];
                object.extend(slice::members(slice));
                Value::Object(object)
            }
            Report::Lost { text } => Value::object([
                ("state", Value::from("lost")),
                ("text", Value::from(text.as_str())),
            ]),
            Report::Done { tally: all, md5, mended } => {
                let mut object = tally("done", all);
                for (key, number) in [
                    ("bad_blocks", mended.bad_blocks),
                    ("reconnects", mended.reconnects),
                    ("asked_again", mended.asked_again),
                    ("md5_lag_ms", mended.md5_lag_ms),
                    ("single_port", mended.single_port.into()),
                ] {
                    object.push((key.to_string(), Value::from_u64(number)));
                }
                object.extend(md5.as_deref().map(|md5| ("md5".to_string(), Value::from(md5))));
                Value::Object(object)
            }
            Report::Failed { code, text } => Value::object([
                ("state", Value::from("failed")),
                ("code", Value::from_u64(code.number().into())),
                ("text", Value::from(text.as_str())),
            ]),
        }
    }

    /// The report that `line` holds; `None` where it is none.
    fn from_json(line: &[u8]) -> Option<Report> {
        let value = json::parse(line).ok()?;
        let number = |key| value.get(key).and_then(Value::as_u64);
        let text = |key| value.get(key).and_then(Value::as_str).map(str::to_string);
        let tally = || {
            let (bytes, streams) = (number("bytes")?, number("streams")?);
            let (offset, again) = (number("offset").unwrap_or(0), number("again").unwrap_or(0));
            let (held, hashed) = (number("held").unwrap_or(0), number("hashed"));
            Some(Tally { bytes, streams, offset, again, held, hashed })
        };
        match text("state")?.as_str() {
            "confined" => Some(Report::Confined { text: text("text")? }),
            "progress" => Some(Report::Progress(tally()?)),
            "trace" => slice::parse(&value).map(Report::Trace),
            "lost" => Some(Report::Lost { text: text("text")? }),
            "done" => {
                let count = |key| number(key).unwrap_or(0);
                let mended = Mended {
                    bad_blocks: count("bad_blocks"),
                    reconnects: count("reconnects"),
                    asked_again: count("asked_again"),
                    md5_lag_ms: count("md5_lag_ms"),
                    single_port: count("single_port") != 0,
                };
                Some(Report::Done { tally: tally()?, md5: text("md5"), mended })
            }
            "failed" => Some(Report::Failed {
                code: number("code").and_then(ExitCode::from_number).unwrap_or(ExitCode::System),
                text: text("text")?,
            }),
            _ => None,
        }
    }

    /// Writes the report to standard output. A parent that is gone does not read it:
    /// the lifeline tells the worker so, not this.
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
    /// `InvalidData` for a line that is too long or no report; what the pipe gives.
    pub fn next_report(&mut self) -> io::Result<Option<Report>> {
        let mut line = Vec::new();
        let taken = self.lines.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        match (taken, line.last()) {
            (0, _) => Ok(None),
            (_, Some(b'\n')) if taken <= MAX_LINE => {
                Report::from_json(&line).map(Some).ok_or(io::ErrorKind::InvalidData.into())
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::trace::{Cell, Mark, Standing};

    fn read(text: &str) -> io::Result<Option<Report>> {
        Reports::new(text.as_bytes()).next_report()
    }

    /// The longest that there can be.
    fn slice() -> Slice {
        let cell = Cell { bytes: i64::MAX as u64, open: true, marks: [u16::MAX; Mark::ALL.len()] };
        let standing = Standing { prefix: i64::MAX as u64, hashed: Some(i64::MAX as u64) };
        Slice { at: i64::MAX as u64, standing, cells: (0..=254).map(|n| (n, cell)).collect() }
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
    fn a_slice_that_is_none_is_an_error() {
        let slice = |lanes: &str| {
            read(&format!("{{\"state\":\"trace\",\"at\":1,\"prefix\":0,\"lanes\":{lanes}}}\n"))
        };
        assert!(slice("[[254,1,1,0,0,0,0,9]]").is_ok());
        for lanes in ["0", "[1]", "[[1,2]]", "[[256,2,1]]", "[[1,-2,1]]", "[[1,2,1,65536]]"] {
            assert!(slice(lanes).is_err(), "{lanes}");
        }
    }

    #[test]
    fn a_line_that_is_no_report_is_an_error() {
        for line in ["hello\n", "{}\n", "{\"state\": \"done\"", "{\"state\": \"odd\"}\n"] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_line_of_the_greatest_length_is_read_and_one_past_it_is_not() {
        let report = "{\"state\":\"failed\",\"text\":\"\"}";
        let padding = MAX_LINE - report.len() - 1;
        assert!(read(&format!("{report}{}\n", " ".repeat(padding))).is_ok());
        assert!(read(&format!("{report}{}\n", " ".repeat(padding + 1))).is_err());
    }
}
