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
    /// The figures of a tree; after each [`Report::Progress`], and before [`Report::Done`].
    Tree(TreeTally),
    /// The file of a tree that is moving now, or one of them.
    Moving {
        /// Its path from the top of the tree, escaped.
        path: String,
    },
    /// What became of an entry of a tree.
    Entry {
        /// What was done.
        act: Act,
        /// Its path from the top of the tree, escaped.
        path: String,
        /// Why it could not be had, for a person.
        reason: Option<String>,
    },
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

/// How far a tree is. A file that is there already counts as the same, and not as a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeTally {
    /// Files and links that were put in place.
    pub files: u64,
    /// The bytes of these.
    pub bytes: u64,
    /// Files and links to be put in place, as far as they are known.
    pub files_known: u64,
    /// The bytes of these.
    pub bytes_known: u64,
    /// Whether every folder is listed: no more becomes known.
    pub is_listed: bool,
    /// Files and links that were there already.
    pub same: u64,
    /// Entries of types that are not transferred.
    pub skipped: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// Entries that could not be had.
    pub refused: u64,
    /// Files whose MD5 is that of the source's.
    pub hashed: u64,
    /// Whether a limit has kept entries from being deleted.
    pub is_delete_refused: bool,
}

/// What was done about an entry of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A file was put in place.
    File,
    /// A link was made.
    Link,
    /// A folder was made.
    Folder,
    /// It was deleted.
    Deleted,
    /// It is of a type that is not transferred.
    Skipped,
    /// It could not be had.
    Refused,
    /// No entry: the file system, or the user's limit, keeps something from being done.
    Warning,
}

impl Act {
    /// Every act.
    pub const ALL: [Act; 7] =
        [Act::File, Act::Link, Act::Folder, Act::Deleted, Act::Skipped, Act::Refused, Act::Warning];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Act::File => "file",
            Act::Link => "link",
            Act::Folder => "folder",
            Act::Deleted => "deleted",
            Act::Skipped => "skipped",
            Act::Refused => "refused",
            Act::Warning => "warning",
        }
    }
}

impl TreeTally {
    fn members(&self) -> Vec<(&'static str, Value)> {
        let numbers = [
            ("files", self.files),
            ("bytes", self.bytes),
            ("files_known", self.files_known),
            ("bytes_known", self.bytes_known),
            ("same", self.same),
            ("skipped", self.skipped),
            ("deleted", self.deleted),
            ("refused", self.refused),
        ];
        let mut members = vec![("state", Value::from("tree"))];
        members.extend(numbers.map(|(key, number)| (key, Value::from_u64(number))));
        members.extend(some_if_any(self.hashed).map(|files| ("hashed", Value::from_u64(files))));
        members.push(("listed", from_flag(self.is_listed)));
        members.push(("delete_refused", from_flag(self.is_delete_refused)));
        members
    }

    fn from_fields(fields: &Fields<'_>) -> Result<TreeTally> {
        Ok(TreeTally {
            files: fields.number("files")?,
            bytes: fields.number("bytes")?,
            files_known: fields.number("files_known")?,
            bytes_known: fields.number("bytes_known")?,
            is_listed: fields.flag("listed")?,
            same: fields.number("same")?,
            skipped: fields.number("skipped")?,
            deleted: fields.number("deleted")?,
            refused: fields.number("refused")?,
            hashed: fields.number_if_any("hashed")?.unwrap_or(0),
            is_delete_refused: fields.flag("delete_refused")?,
        })
    }
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
    /// Open streams; once the transfer is over, the most that were open at once.
    pub streams: u64,
    /// Of a ropewalk sender of a file, one past the highest byte that it sent. The server's hash
    /// stays close to it. Of one of a tree, the bytes of all answers: also of holes, of what is
    /// the same, and of entries.
    pub offset: u64,
    /// Of a ropewalk receiver, blocks requested a second time: damaged, late, or lost with their
    /// stream.
    pub again: u64,
    /// Of a ropewalk receiver, the part of `bytes` that an earlier run left and that is not
    /// checked yet.
    pub held: u64,
    /// Of a ropewalk receiver, the part of `bytes` that an older file had, so that the server did
    /// not send it.
    pub same: u64,
    /// Of a ropewalk receiver that makes an MD5, how many bytes are in it.
    pub hashed: Option<u64>,
    /// Of a ropewalk sender of a file, how many bytes its answers covered: moved, in holes, or the
    /// same. Each counts once.
    pub covered: u64,
    /// Of a tree, files that are done. A sender counts each answer that reaches the end of a
    /// file; a file without bytes needs none.
    pub files: u64,
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
        let (held, same) = (some_if_any(self.held), some_if_any(self.same));
        let (covered, files) = (some_if_any(self.covered), some_if_any(self.files));
        for (key, number) in [
            ("held", held),
            ("same", same),
            ("hashed", self.hashed),
            ("covered", covered),
            ("files", files),
        ] {
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
            same: fields.number_if_any("same")?.unwrap_or(0),
            hashed: fields.number_if_any("hashed")?,
            covered: fields.number_if_any("covered")?.unwrap_or(0),
            files: fields.number_if_any("files")?.unwrap_or(0),
        })
    }
}

/// A number that a report leaves out where it is 0.
fn some_if_any(number: u64) -> Option<u64> {
    Some(number).filter(|number| *number > 0)
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
            Report::Tree(tally) => tally.members(),
            Report::Entry { act, path, reason } => {
                let mut members = vec![
                    ("state", Value::from("entry")),
                    ("act", Value::from(act.word())),
                    ("path", Value::from(path.as_str())),
                ];
                members.extend(reason.as_deref().map(|reason| ("reason", Value::from(reason))));
                members
            }
            Report::Moving { path } => {
                vec![("state", Value::from("moving")), ("path", Value::from(path.as_str()))]
            }
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
            "tree" => TreeTally::from_fields(&fields).map(Report::Tree),
            "entry" => {
                let word = fields.text("act")?;
                let act = Act::ALL.into_iter().find(|act| act.word() == word);
                let act = act.ok_or_else(|| fields.invalid("act"))?;
                let path = fields.text("path")?.to_string();
                let reason = fields.has("reason").then(|| fields.text("reason")).transpose()?;
                Ok(Report::Entry { act, path, reason: reason.map(str::to_string) })
            }
            "moving" => Ok(Report::Moving { path: fields.text("path")?.to_string() }),
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

    const OTHERS: [&str; 17] = [
        r#"{"state":"tree","files":3,"bytes":60,"files_known":9,"bytes_known":70,"same":2,"skipped":1,"deleted":4,"refused":5,"listed":1,"delete_refused":0}"#,
        r#"{"state":"tree","files":3,"bytes":60,"files_known":9,"bytes_known":70,"same":2,"skipped":1,"deleted":4,"refused":5,"hashed":2,"listed":1,"delete_refused":0}"#,
        r#"{"state":"entry","act":"file","path":"a/b"}"#,
        r#"{"state":"entry","act":"refused","path":"a/c","reason":"No space left on device"}"#,
        r#"{"state":"confined","text":"no core dumps: applied"}"#,
        r#"{"state":"progress","bytes":4,"streams":8,"offset":6,"again":0}"#,
        r#"{"state":"progress","bytes":8,"streams":8,"offset":8,"again":0,"held":2,"hashed":1}"#,
        r#"{"state":"progress","bytes":8,"streams":8,"offset":9,"again":0,"files":3}"#,
        r#"{"state":"progress","bytes":8,"streams":8,"offset":9,"again":0,"covered":9}"#,
        r#"{"state":"progress","bytes":8,"streams":8,"offset":1,"again":0,"same":7}"#,
        r#"{"state":"trace","at":1200,"prefix":4096,"hashed":1024,"rows":[[0,131072,1],[1,65536,1,0,0,0,1]]}"#,
        r#"{"state":"trace","at":0,"prefix":0,"rows":[]}"#,
        r#"{"state":"trace","at":9,"prefix":0,"files":7,"rows":[]}"#,
        r#"{"state":"moving","path":"a/b"}"#,
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
