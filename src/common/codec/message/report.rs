//! A report of a worker to its parent: one line of JSON. app/report.rs carries it. A worker
//! that ends without `done` or `failed` was killed, or never got its job.

#![forbid(unsafe_code)]

use super::fields::{Fields, from_flag};
use super::slice::Slice;
use crate::codec::json::Value;
use crate::error::{Error, ExitCode, Result};

/// One report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The rights that the worker has given up; the first report.
    Confined {
        /// One line for a verbose log.
        text: String,
    },
    /// The figures so far; about ten times a second, before [`Report::Done`] or
    /// [`Report::Failed`].
    Progress(Tally),
    /// What the streams did since the last trace; only if the job asks for it.
    Trace(Slice),
    /// The session is lost: a receiver can open no stream of it, and needs another session.
    Lost {
        /// The result of the last attempt, for a person.
        text: String,
    },
    /// The worker needs one more stream, and its parent is to open it. The answer is a message
    /// (new_stream.rs).
    Stream,
    /// The job is done; the last report.
    Done {
        /// The figures of the whole job.
        tally: Tally,
        /// The MD5 of the whole file as 32 hexadecimal digits, if the receiver made one.
        md5: Option<String>,
        /// The faults that the worker recovered from.
        mended: Mended,
    },
    /// The job failed; the last report.
    Failed {
        /// The exit code of the worker.
        code: ExitCode,
        /// One line for a person, without a program's name.
        text: String,
    },
}

/// Faults of a transfer that a receiver recovered from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Damaged blocks that were requested again.
    pub bad_blocks: u64,
    /// Streams that were opened again.
    pub reconnects: u64,
    /// Bytes that were requested a second time because they were late.
    pub asked_again: u64,
    /// Milliseconds between the last byte's arrival and the end of the MD5.
    pub md5_lag_ms: u64,
    /// Whether streams went to the server's control port instead of a data port.
    pub single_port: bool,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes of the file that were moved. A ropewalk sender counts repeated bytes too, and no
    /// holes. A ropewalk receiver counts the bytes in the part file or on their way out in order.
    pub bytes: u64,
    /// Open streams; in [`Report::Done`], the most that were open at once.
    pub streams: u64,
    /// Of a ropewalk sender, one past the highest byte that it sent. The server's hash stays
    /// close to it.
    pub offset: u64,
    /// Of a ropewalk receiver, blocks requested a second time: damaged, late, or lost with their
    /// stream.
    pub again: u64,
    /// Of a ropewalk receiver, the part of `bytes` that an earlier run left and that is not
    /// checked yet.
    pub held: u64,
    /// Of a ropewalk receiver that makes an MD5, how many bytes are in it.
    pub hashed: Option<u64>,
}

impl Tally {
    fn members(&self, state: &str) -> Vec<(&'static str, Value)> {
        let mut members = vec![
            ("state", Value::from(state)),
            ("bytes", Value::from_u64(self.bytes)),
            ("streams", Value::from_u64(self.streams)),
            ("offset", Value::from_u64(self.offset)),
            ("again", Value::from_u64(self.again)),
        ];
        let held = Some(self.held).filter(|held| *held > 0);
        for (key, number) in [("held", held), ("hashed", self.hashed)] {
            members.extend(number.map(|number| (key, Value::from_u64(number))));
        }
        members
    }

    fn from_fields(fields: &Fields<'_>) -> Result<Tally> {
        Ok(Tally {
            bytes: fields.number("bytes")?,
            streams: fields.number("streams")?,
            offset: fields.number_if_any("offset")?.unwrap_or(0),
            again: fields.number_if_any("again")?.unwrap_or(0),
            held: fields.number_if_any("held")?.unwrap_or(0),
            hashed: fields.number_if_any("hashed")?,
        })
    }
}

impl Mended {
    fn members(&self) -> [(&'static str, Value); 5] {
        [
            ("bad_blocks", Value::from_u64(self.bad_blocks)),
            ("reconnects", Value::from_u64(self.reconnects)),
            ("asked_again", Value::from_u64(self.asked_again)),
            ("md5_lag_ms", Value::from_u64(self.md5_lag_ms)),
            ("single_port", from_flag(self.single_port)),
        ]
    }

    fn from_fields(fields: &Fields<'_>) -> Result<Mended> {
        Ok(Mended {
            bad_blocks: fields.number_if_any("bad_blocks")?.unwrap_or(0),
            reconnects: fields.number_if_any("reconnects")?.unwrap_or(0),
            asked_again: fields.number_if_any("asked_again")?.unwrap_or(0),
            md5_lag_ms: fields.number_if_any("md5_lag_ms")?.unwrap_or(0),
            single_port: fields.flag_if_any("single_port")?,
        })
    }
}

impl Report {
    /// The report of a job that ended with `error`.
    pub fn failed(error: &Error) -> Report {
        Report::Failed { code: error.code(), text: error.to_string() }
    }

    /// The report as JSON.
    pub fn to_json(&self) -> Value {
        Value::object(match self {
            Report::Confined { text } => {
                vec![("state", Value::from("confined")), ("text", Value::from(text.as_str()))]
            }
            Report::Progress(so_far) => so_far.members("progress"),
            Report::Trace(slice) => {
                let mut members = vec![("state", Value::from("trace"))];
                members.extend(slice.members());
                members
            }
            Report::Lost { text } => {
                vec![("state", Value::from("lost")), ("text", Value::from(text.as_str()))]
            }
            Report::Stream => vec![("state", Value::from("stream"))],
            Report::Done { tally, md5, mended } => {
                let mut members = tally.members("done");
                members.extend(mended.members());
                members.extend(md5.as_deref().map(|md5| ("md5", Value::from(md5))));
                members
            }
            Report::Failed { code, text } => vec![
                ("state", Value::from("failed")),
                ("code", Value::from_u64(code.number().into())),
                ("text", Value::from(text.as_str())),
            ],
        })
    }

    /// The report in `object`.
    ///
    /// # Errors
    /// A key is missing or wrong.
    pub fn from_json(object: &Value) -> Result<Report> {
        let fields = Fields::of("report", object);
        let text = || fields.text("text").map(str::to_string);
        match fields.text("state")? {
            "confined" => Ok(Report::Confined { text: text()? }),
            "progress" => Tally::from_fields(&fields).map(Report::Progress),
            "trace" => Slice::from_fields(&fields).map(Report::Trace),
            "lost" => Ok(Report::Lost { text: text()? }),
            "stream" => Ok(Report::Stream),
            "done" => {
                let tally = Tally::from_fields(&fields)?;
                let md5 = fields.has("md5").then(|| fields.text("md5")).transpose()?;
                let mended = Mended::from_fields(&fields)?;
                Ok(Report::Done { tally, md5: md5.map(str::to_string), mended })
            }
            "failed" => {
                let code = fields.number_if_any("code")?.and_then(ExitCode::from_number);
                Ok(Report::Failed { code: code.unwrap_or(ExitCode::System), text: text()? })
            }
            _ => Err(fields.invalid("state")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    const DONE: &str = concat!(
        r#"{"state":"done","bytes":10,"streams":8,"offset":10,"again":0,"bad_blocks":0,"#,
        r#""reconnects":0,"asked_again":0,"md5_lag_ms":3,"single_port":0,"#,
        r#""md5":"781e5e245d69b566979b86e28d23f2c7"}"#
    );

    const OTHERS: [&str; 8] = [
        r#"{"state":"confined","text":"no core dumps: applied"}"#,
        r#"{"state":"progress","bytes":4,"streams":8,"offset":6,"again":0}"#,
        r#"{"state":"progress","bytes":8,"streams":8,"offset":8,"again":0,"held":2,"hashed":1}"#,
        r#"{"state":"trace","at":1200,"prefix":4096,"hashed":1024,"rows":[[0,131072,1],[1,65536,1,0,0,0,1]]}"#,
        r#"{"state":"trace","at":0,"prefix":0,"rows":[]}"#,
        r#"{"state":"lost","text":"Connection refused"}"#,
        r#"{"state":"stream"}"#,
        r#"{"state":"failed","code":3,"text":"stream 3: Connection reset by peer"}"#,
    ];

    fn read(text: &str) -> Result<Report> {
        Report::from_json(&json::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn each_report_is_written_as_it_was_read() {
        for text in OTHERS.into_iter().chain([DONE]) {
            assert_eq!(read(text).unwrap().to_json().to_string(), text);
        }
    }

    #[test]
    fn a_key_that_is_missing_or_wrong_is_named() {
        for (text, error) in [
            ("{}", "the report lacks 'state'"),
            (r#"{"state":"odd"}"#, "the report has an invalid 'state'"),
            (r#"{"state":"lost"}"#, "the report lacks 'text'"),
            (r#"{"state":"progress","bytes":1}"#, "the report lacks 'streams'"),
            (r#"{"state":"trace","at":1,"prefix":0,"rows":0}"#, "the report has an invalid 'rows'"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn an_unknown_code_counts_as_a_system_error() {
        let report = read(r#"{"state":"failed","code":255,"text":"x"}"#).unwrap();
        assert_eq!(report, Report::Failed { code: ExitCode::System, text: "x".into() });
    }
}
