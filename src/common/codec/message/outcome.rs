//! What came of a push: the request for it, in the body of a POST, and the reply.
//!
//! ```text
//! {"outcome":"59843ddebe0a...","wait_s":30,"md5":"781e5e24..."}
//!
//! {"state":"moving"}
//! {"state":"landing"}
//! {"state":"ended","code":0,"text":"complete","durable":1,"files":1,"bytes":10,"found":0,
//!  "same":0,"skipped":0,"deleted":0,"refused":0,"streams":4,"bad_blocks":0,"asked_again":0,
//!  "delete_refused":0,"entries":[]}
//! ```
//!
//! The client's MD5 of its file is needed where the push is checked by it: the server gives the
//! file its name only when its own MD5 is the same.

#![forbid(unsafe_code)]

use super::fields::{Fields, from_flag};
use super::report::{Act, TreeTally};
use crate::codec::json::{self, Value};
use crate::error::{Error, ExitCode, Result};
use crate::hash::hex;
use std::time::Duration;

/// Most entries of an outcome.
pub const MAX_ENTRIES: usize = 1000;

/// Most bytes of all their paths and reasons. A reply has to stay below 64 KiB.
pub const MAX_ENTRY_BYTES: usize = 16 << 10;

/// The longest wait for an outcome.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// The request for an outcome. It has no `Debug`, so that a token cannot slip into a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OutcomeRequest {
    /// The session's token.
    pub token: [u8; 16],
    /// How long the server may wait for the end of the push. Whole seconds.
    pub wait: Duration,
    /// The client's MD5 of the file.
    pub md5: Option<[u8; 16]>,
}

impl OutcomeRequest {
    /// Whether a request's body is one of these. Any other body has no such key.
    pub fn is_in(body: &Value) -> bool {
        body.get("outcome").is_some()
    }

    /// The request as JSON.
    pub fn to_json(self) -> Value {
        let mut members = vec![
            ("outcome", Value::from(hex(&self.token))),
            ("wait_s", Value::from_u64(self.wait.as_secs())),
        ];
        members.extend(self.md5.map(|md5| ("md5", Value::from(hex(&md5)))));
        Value::object(members)
    }

    /// The request in `body`.
    ///
    /// # Errors
    /// A key is missing or wrong.
    pub fn from_json(body: &Value) -> Result<OutcomeRequest> {
        let fields = Fields::of("request", body);
        let wait = Duration::from_secs(fields.number("wait_s")?);
        Ok(OutcomeRequest {
            token: fields.bytes("outcome")?,
            wait: wait.min(MAX_WAIT),
            md5: fields.has("md5").then(|| fields.bytes("md5")).transpose()?,
        })
    }
}

/// How far a push is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushState {
    /// Bytes are missing.
    Moving,
    /// All bytes are there. They are checked, and put in place.
    Landing,
    /// It has ended.
    Ended(Outcome),
}

/// What came of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The code that the client exits with, unless it knows more.
    pub code: ExitCode,
    /// One line for a person, without a program's name.
    pub text: String,
    /// Whether everything is on the disk.
    pub durable: bool,
    /// Bytes of the file, or of all files that were put in place.
    pub bytes: u64,
    /// Of a file that has not got its name, the bytes that a later push finds.
    pub kept: u64,
    /// Those of them that older files had.
    pub found: u64,
    /// The figures of a folder. A file is one file.
    pub tree: TreeTally,
    /// The most streams that were open at once.
    pub streams: u64,
    /// Damaged blocks that were requested again.
    pub bad_blocks: u64,
    /// Bytes that were requested a second time because they were late.
    pub asked_again: u64,
    /// What became of entries of a folder, as far as it is to be told: those that could not be
    /// had first.
    pub entries: Vec<OutcomeEntry>,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeEntry {
    /// What was done.
    pub act: Act,
    /// Its path from the top of the tree, escaped.
    pub path: String,
    /// Why it could not be had.
    pub reason: Option<String>,
}

impl Outcome {
    /// Of a push that failed.
    pub fn failed(code: ExitCode, text: impl Into<String>) -> Outcome {
        Outcome {
            code,
            text: text.into(),
            durable: false,
            bytes: 0,
            kept: 0,
            found: 0,
            tree: TreeTally::default(),
            streams: 0,
            bad_blocks: 0,
            asked_again: 0,
            entries: Vec::new(),
        }
    }

    /// What came of a push over several sessions, of which `earlier` has the figures of all but
    /// this last one. The last one has found what they put in place.
    #[must_use]
    pub fn after(self, earlier: &Outcome) -> Outcome {
        let (last, before) = (self.tree, &earlier.tree);
        Outcome {
            bytes: self.bytes.saturating_add(earlier.bytes),
            found: self.found.saturating_add(earlier.found),
            tree: TreeTally {
                files: last.files.saturating_add(before.files),
                bytes: last.bytes.saturating_add(before.bytes),
                same: last.same.saturating_sub(before.files),
                deleted: last.deleted.saturating_add(before.deleted),
                hashed: last.hashed.saturating_add(before.hashed),
                ..last
            },
            streams: self.streams.max(earlier.streams),
            bad_blocks: self.bad_blocks.saturating_add(earlier.bad_blocks),
            asked_again: self.asked_again.saturating_add(earlier.asked_again),
            ..self
        }
    }

    fn members(&self) -> Vec<(&'static str, Value)> {
        let tree = &self.tree;
        let mut members = vec![
            ("code", Value::from_u64(self.code.number().into())),
            ("text", Value::from(self.text.as_str())),
            ("durable", from_flag(self.durable)),
        ];
        members.extend(
            [
                ("files", tree.files),
                ("bytes", self.bytes),
                ("found", self.found),
                ("same", tree.same),
                ("skipped", tree.skipped),
                ("deleted", tree.deleted),
                ("refused", tree.refused),
                ("streams", self.streams),
                ("bad_blocks", self.bad_blocks),
                ("asked_again", self.asked_again),
            ]
            .map(|(key, number)| (key, Value::from_u64(number))),
        );
        for (key, number) in [("hashed", tree.hashed), ("kept", self.kept)] {
            let number = Some(number).filter(|number| *number > 0);
            members.extend(number.map(|number| (key, Value::from_u64(number))));
        }
        members.push(("delete_refused", from_flag(tree.is_delete_refused)));
        let entries = self.entries.iter().map(OutcomeEntry::to_json).collect();
        members.push(("entries", Value::Array(entries)));
        members
    }

    fn from_fields(fields: &Fields<'_>) -> Result<Outcome> {
        let entries = fields.array("entries")?;
        let entries = match entries.len() {
            0..=MAX_ENTRIES => entries.iter().map(OutcomeEntry::from_json).collect::<Option<_>>(),
            _ => None,
        };
        let code = ExitCode::from_number(fields.number("code")?);
        let files = fields.number("files")?;
        Ok(Outcome {
            code: code.ok_or_else(|| fields.invalid("code"))?,
            text: fields.text("text")?.to_string(),
            durable: fields.flag("durable")?,
            bytes: fields.number("bytes")?,
            kept: fields.number_if_any("kept")?.unwrap_or(0),
            found: fields.number("found")?,
            tree: TreeTally {
                files,
                bytes: fields.number("bytes")?,
                files_known: files,
                bytes_known: fields.number("bytes")?,
                is_listed: true,
                same: fields.number("same")?,
                skipped: fields.number("skipped")?,
                deleted: fields.number("deleted")?,
                refused: fields.number("refused")?,
                hashed: fields.number_if_any("hashed")?.unwrap_or(0),
                is_delete_refused: fields.flag("delete_refused")?,
            },
            streams: fields.number("streams")?,
            bad_blocks: fields.number("bad_blocks")?,
            asked_again: fields.number("asked_again")?,
            entries: entries.ok_or_else(|| fields.invalid("entries"))?,
        })
    }
}

impl OutcomeEntry {
    fn to_json(&self) -> Value {
        let words = [Some(self.act.word()), Some(self.path.as_str()), self.reason.as_deref()];
        Value::Array(words.into_iter().flatten().map(Value::from).collect())
    }

    fn from_json(entry: &Value) -> Option<OutcomeEntry> {
        let (act, path, reason) = match entry.as_array()? {
            [act, path] => (act, path, None),
            [act, path, reason] => (act, path, Some(reason.as_str()?.to_string())),
            _ => return None,
        };
        let word = act.as_str()?;
        let act = Act::ALL.into_iter().find(|act| act.word() == word)?;
        Some(OutcomeEntry { act, path: path.as_str()?.to_string(), reason })
    }
}

impl PushState {
    /// The body of the reply.
    pub fn to_json(&self) -> Value {
        let state = |word: &str| ("state", Value::from(word));
        match self {
            PushState::Moving => Value::object([state("moving")]),
            PushState::Landing => Value::object([state("landing")]),
            PushState::Ended(outcome) => {
                Value::object([state("ended")].into_iter().chain(outcome.members()))
            }
        }
    }

    /// The state in the body of a reply.
    ///
    /// # Errors
    /// The body is none.
    pub fn from_body(body: &[u8]) -> Result<PushState> {
        let body =
            json::parse(body).map_err(|_| Error::protocol("the reply is not the expected JSON"))?;
        let fields = Fields::of("reply", &body);
        match fields.text("state")? {
            "moving" => Ok(PushState::Moving),
            "landing" => Ok(PushState::Landing),
            "ended" => Outcome::from_fields(&fields).map(PushState::Ended),
            _ => Err(fields.invalid("state")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: &str = concat!(
        r#"{"state":"ended","code":8,"text":"complete","durable":1,"files":3,"bytes":10,"found":4,"#,
        r#""same":2,"skipped":1,"deleted":5,"refused":2,"streams":4,"bad_blocks":6,"asked_again":7,"delete_refused":0,"#,
        r#""entries":[["refused","a/b","Permission denied"],["file","a/c"]]}"#
    );

    #[test]
    fn each_state_survives_the_connection() {
        let kept = ENDED.replace("\"delete_refused\"", "\"kept\":9,\"delete_refused\"");
        for text in [r#"{"state":"moving"}"#, r#"{"state":"landing"}"#, ENDED, &kept] {
            let state = PushState::from_body(text.as_bytes()).unwrap();
            assert_eq!(state.to_json().to_string(), text);
        }
        let Ok(PushState::Ended(outcome)) = PushState::from_body(ENDED.as_bytes()) else {
            panic!()
        };
        assert_eq!((outcome.code, outcome.tree.files), (ExitCode::Incomplete, 3));
        assert_eq!(outcome.entries[0].act, Act::Refused);
    }

    #[test]
    fn the_figures_of_several_sessions_are_those_of_one() {
        let of = |files, same, deleted, bytes| {
            let tree = TreeTally { files, same, deleted, bytes, ..TreeTally::default() };
            let found = bytes / 2;
            Outcome { bytes, found, tree, ..Outcome::failed(ExitCode::Success, "complete") }
        };
        let first = Outcome { streams: 8, ..of(90, 10, 1, 900) };
        // It lists everything again: what the first one did is the same now.
        let last = Outcome { streams: 4, ..of(310, 105, 2, 3100) }.after(&first);
        let TreeTally { files, same, deleted, bytes, .. } = last.tree;
        assert_eq!((files, same, deleted, bytes), (400, 15, 3, 4000));
        assert_eq!((last.bytes, last.found, last.streams), (4000, 2000, 8));
        // One that ended before it had found everything.
        assert_eq!(of(0, 5, 0, 0).after(&first).tree.same, 0);
    }

    #[test]
    fn a_state_that_is_none_is_an_error() {
        for (right, wrong) in [
            ("ended", "over"),
            (":8,", ":77,"),
            ("\"entries\"", "\"other\""),
            ("[\"file\",\"a/c\"]", "[\"file\"]"),
            ("[\"file\",\"a/c\"]", "[\"odd\",\"a/c\"]"),
        ] {
            assert!(
                PushState::from_body(ENDED.replace(right, wrong).as_bytes()).is_err(),
                "{wrong}"
            );
        }
        let many = format!("[{}[\"file\",\"x\"]]", "[\"file\",\"x\"],".repeat(MAX_ENTRIES));
        let begin = ENDED.find("[[").unwrap();
        let text = format!("{}{many}}}", &ENDED[..begin]);
        assert!(PushState::from_body(text.as_bytes()).is_err());
    }

    #[test]
    fn a_request_survives_the_connection_and_no_wait_is_long() {
        let text = concat!(
            r#"{"outcome":"59843ddebe0a9675580d96b8bfb4b196","wait_s":30,"#,
            r#""md5":"781e5e245d69b566979b86e28d23f2c7"}"#
        );
        let read = |text: &str| OutcomeRequest::from_json(&json::parse(text.as_bytes()).unwrap());
        assert_eq!(read(text).ok().unwrap().to_json().to_string(), text);
        let long = read(&text.replace(":30", ":3000000")).ok().unwrap();
        assert_eq!(long.wait, MAX_WAIT);
        assert!(read(&text.replace("b196", "")).is_err());
    }
}
