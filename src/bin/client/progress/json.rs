//! The state of a fetch as JSON objects, one per line, for another program.
//! ropewalk-client(1) explains the keys.

#![forbid(unsafe_code)]

use super::Snapshot;
use crate::config::{Config, Task};
use crate::destination::{Destination, Names};
use crate::summary::Summary;
use ropewalk::app::report::TreeTally;
use ropewalk::codec::amount;
use ropewalk::codec::json::Value;
use ropewalk::codec::text::escape;
use ropewalk::error::Error;
use std::os::unix::ffi::OsStrExt;

type Members = Vec<(String, Value)>;

/// The first object.
pub(super) fn start(config: &Config) -> Value {
    let (file, output) = match &config.task {
        Task::Fetch(Destination::Named(Names { file, folder })) => {
            let output = file.as_ref().unwrap_or(folder).as_os_str().as_bytes();
            (escape(&config.file), escape(output))
        }
        Task::Fetch(Destination::Descriptor(1)) => (escape(&config.file), "-".to_string()),
        Task::Fetch(Destination::Descriptor(number)) => {
            (escape(&config.file), format!("/dev/fd/{number}"))
        }
        Task::Push(source) => (escape(source.as_os_str().as_bytes()), escape(&config.file)),
    };
    Value::object([
        ("event", Value::from("start")),
        ("version", Value::from(ropewalk::VERSION)),
        ("server", Value::from(escape(config.server.typed.as_bytes()))),
        ("file", Value::from(file)),
        ("output", Value::from(output)),
    ])
}

/// An object between the first and the last.
pub(super) fn progress(now: &Snapshot) -> Value {
    Value::Object(state("progress", now))
}

/// The last object.
pub(super) fn end(now: &Snapshot, outcome: &Result<Summary, Error>) -> Value {
    let mut members = state("end", now);
    let mut add = |name: &str, value| members.push((name.to_string(), value));
    match outcome {
        Ok(summary) => {
            add("code", Value::from_u64(summary.exit_code().number().into()));
            add("text", Value::from(summary.to_string()));
            add("md5", summary.md5().map_or(Value::Null, Value::from));
            add("resumed", Value::from_u64(summary.resumed()));
            add("up_to_date", Value::Bool(summary.is_up_to_date()));
        }
        Err(error) => {
            add("code", Value::from_u64(error.code().number().into()));
            add("text", Value::from(error.to_string()));
        }
    }
    Value::Object(members)
}

fn state(event: &str, now: &Snapshot) -> Members {
    let known = |number: Option<u64>| number.map_or(Value::Null, Value::from_u64);
    let percent = now.size.map(|size| amount::percent(now.bytes, size));
    // In milliseconds: nothing here is more exact.
    let seconds = (now.time.as_secs_f64() * 1e3).round() / 1e3;
    [
        ("event", Value::from(event)),
        ("seconds", Value::Float(seconds)),
        ("phase", Value::from(now.phase.word())),
        ("bytes", Value::from_u64(now.bytes)),
        ("size", known(now.size)),
        ("percent", known(percent)),
        ("rate", Value::from_u64(now.rate as u64)),
        ("left", known(now.seconds_left)),
        ("streams", Value::from_u64(now.streams)),
        ("resent", Value::from_u64(now.resent)),
        ("kept", Value::from_u64(now.resumed)),
        ("checked", Value::from_u64(now.checked)),
        ("same", Value::from_u64(now.same)),
        ("hashed", known(now.hashed)),
    ]
    .into_iter()
    .chain(now.tree.iter().flat_map(tree))
    .map(|(name, value)| (name.to_string(), value))
    .collect()
}

/// What only a folder has.
fn tree(tree: &TreeTally) -> [(&'static str, Value); 7] {
    [
        ("files", Value::from_u64(tree.files)),
        ("files_known", Value::from_u64(tree.files_known)),
        ("listing_complete", Value::Bool(tree.is_listed)),
        ("files_same", Value::from_u64(tree.same)),
        ("skipped", Value::from_u64(tree.skipped)),
        ("deleted", Value::from_u64(tree.deleted)),
        ("refused", Value::from_u64(tree.refused)),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::Phase;
    use super::*;
    use ropewalk::error::ExitCode;
    use std::time::Duration;

    fn snapshot() -> Snapshot {
        Snapshot {
            time: Duration::from_micros(1_234_567),
            phase: Phase::Moving,
            bytes: 50,
            size: Some(200),
            rate: 12.7,
            seconds_left: Some(13),
            streams: 4,
            resent: 1,
            resumed: 30,
            checked: 20,
            same: 5,
            hashed: Some(10),
            tree: None,
        }
    }

    #[test]
    fn the_state_has_every_key() {
        assert_eq!(
            progress(&snapshot()).to_string(),
            "{\"event\":\"progress\",\"seconds\":1.235,\"phase\":\"moving\",\"bytes\":50,\
             \"size\":200,\"percent\":25,\"rate\":12,\"left\":13,\"streams\":4,\"resent\":1,\
             \"kept\":30,\"checked\":20,\"same\":5,\"hashed\":10}"
        );
    }

    #[test]
    fn an_unknown_value_is_null() {
        let now = Snapshot { size: None, seconds_left: None, ..snapshot() };
        let text = progress(&now).to_string();
        assert!(text.contains("\"size\":null,\"percent\":null,"), "{text}");
        assert!(text.contains("\"left\":null,"), "{text}");
    }

    #[test]
    fn a_file_that_is_up_to_date_has_moved_no_byte() {
        let outcome = Ok(Summary::UpToDate { shown: "out".into(), size: 200 });
        let text = end(&snapshot(), &outcome).to_string();
        let words = ",\"code\":0,\"text\":\"out is up to date\",\"md5\":null,\
                     \"resumed\":200,\"up_to_date\":true}";
        assert!(text.ends_with(words), "{text}");
    }

    #[test]
    fn a_failure_has_its_code_and_its_text() {
        let outcome = Err(Error::new(ExitCode::Refused, "no\u{1b}"));
        let text = end(&snapshot(), &outcome).to_string();
        assert!(text.starts_with("{\"event\":\"end\",\"seconds\":1.235,"), "{text}");
        assert!(text.ends_with(",\"code\":4,\"text\":\"no\\u001b\"}"), "{text}");
    }
}
