//! The job of a receiver. Its descriptors, in this order:
//!
//! - classic: the files of streams 0, 1 and so on. Each stream is written from offset 0 of its
//!   file; the client then appends the others to the first;
//! - ropewalk: the part file and its journal, both ready for use; with `basis`, an older file
//!   that is open for reading;
//! - tree: the folder, if there is one to change or to compare with;
//! - piped, in either protocol: the one descriptor that takes the bytes in order.
//!
//! Before these comes the listener of streams that are accepted. streams.rs has the later messages.

#![forbid(unsafe_code)]

use super::fields::{Fields, from_flag};
use super::offer::FolderState;
use super::streams::Streams;
use super::tree_options::TreeOptions;
use super::verify::Verify;
use crate::codec::json::Value;
use crate::error::Result;
use std::net::SocketAddr;

/// The job. It has no `Debug`, so that a token cannot slip into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiverJob {
    /// The output's name for messages, escaped.
    pub shown: String,
    /// Whether to report what each stream does.
    pub trace: bool,
    /// Bytes per second at most.
    pub rate: Option<u64>,
    /// The protocol, and what it needs.
    pub protocol: ReceiverProtocol,
}

/// What a receiver needs in one of the two protocols.
#[derive(Clone, PartialEq, Eq)]
pub enum ReceiverProtocol {
    /// The classic protocol.
    Classic {
        /// The data port, where the sender listens.
        address: SocketAddr,
        /// How many streams, 1 to 255.
        streams: u8,
        /// Whether the receiver writes the bytes in order to the one descriptor.
        piped: bool,
    },
    /// The ropewalk protocol.
    Ropewalk {
        /// Where the streams come from.
        streams: Streams,
        /// Where the bytes go.
        sink: Sink,
        /// Bytes of the file.
        size: u64,
        /// Whether the source knows its size only at the end. Then `size` is the most that is taken.
        is_open_ended: bool,
        /// Whether the receiver finds the best number of streams. The session then has the
        /// greatest number.
        grows: bool,
        /// How to check the bytes.
        verify: Verify,
    },
    /// A tree, over the ropewalk protocol.
    Tree(Box<TreeJob>),
}

/// What a receiver needs for a tree.
#[derive(Clone, PartialEq, Eq)]
pub struct TreeJob {
    /// Where the streams come from.
    pub streams: Streams,
    /// What the source says of the folder.
    pub top: FolderState,
    /// Whether there is a folder to compare with and to fill.
    pub has_folder: bool,
    /// Whether to sync files to the disk.
    pub sync: bool,
    /// As for a file.
    pub grows: bool,
    /// How to check the bytes.
    pub verify: Verify,
    /// How to compare, and what to do.
    pub options: TreeOptions,
    /// What a source that is not trusted may have done here; `None` for any.
    pub limits: Option<TreeLimits>,
}

/// What a source may have done in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLimits {
    /// The most bytes of a file.
    pub max_size: u64,
    /// The most entries.
    pub max_entries: u64,
    /// The bits of a mode that no entry gets.
    pub umask: u16,
    /// Whether symbolic links are made that lead out of the tree.
    pub any_link: bool,
}

/// Where the bytes of a file go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Into a part file with a journal.
    Kept {
        /// Whether to sync the part file to the disk.
        sync: bool,
        /// Whether there is an older file that may have bytes of the new one.
        basis: bool,
    },
    /// In order to the one descriptor.
    Piped,
}

impl ReceiverJob {
    /// The job as JSON, without the keys of the transport.
    pub fn to_json(&self) -> Value {
        let mut members = Vec::new();
        let shown = ("shown", Value::from(self.shown.as_str()));
        let trace = ("trace", from_flag(self.trace));
        let rate = self.rate.map(|rate| ("rate", Value::from_u64(rate)));
        let piped = ("piped", from_flag(true));
        match &self.protocol {
            ReceiverProtocol::Classic { address, streams, piped: is_piped } => {
                members.extend([
                    ("protocol", Value::from_u64(1)),
                    ("address", Value::from(address.to_string())),
                    ("threads", Value::from_u64((*streams).into())),
                    trace,
                    shown,
                ]);
                members.extend(rate);
                members.extend(is_piped.then_some(piped));
            }
            ReceiverProtocol::Ropewalk { streams, sink, size, is_open_ended, grows, verify } => {
                members.extend(streams.members());
                members.extend([
                    match sink {
                        Sink::Kept { sync, .. } => ("sync", from_flag(*sync)),
                        Sink::Piped => piped,
                    },
                    shown,
                    ("protocol", Value::from_u64(2)),
                    ("size", Value::from_u64(*size)),
                    ("grows", from_flag(*grows)),
                    trace,
                    ("verify", Value::from(verify.word())),
                ]);
                members.extend(rate);
                let has_basis = matches!(sink, Sink::Kept { basis: true, .. });
                members.extend(has_basis.then(|| ("basis", from_flag(true))));
                members.extend(is_open_ended.then(|| ("open_ended", from_flag(true))));
            }
            ReceiverProtocol::Tree(tree) => {
                members.extend(tree.streams.members());
                members.extend(tree.top.members());
                members.extend(tree.top.mtime.members());
                members.extend([
                    ("has_folder", from_flag(tree.has_folder)),
                    ("sync", from_flag(tree.sync)),
                    shown,
                    ("protocol", Value::from_u64(2)),
                    ("grows", from_flag(tree.grows)),
                    trace,
                    ("verify", Value::from(tree.verify.word())),
                    ("tree", tree.options.to_json()),
                ]);
                members.extend(tree.limits.iter().flat_map(TreeLimits::members));
                members.extend(rate);
            }
        }
        Value::object(members)
    }

    /// The job in `object`.
    ///
    /// # Errors
    /// A key is missing or wrong.
    pub fn from_json(object: &Value) -> Result<ReceiverJob> {
        let fields = Fields::of("job", object);
        let piped = fields.flag_if_any("piped")?;
        let protocol = match fields.number("protocol")? {
            1u64 => ReceiverProtocol::Classic {
                address: fields.spelled("address")?,
                streams: fields.streams("threads")?,
                piped,
            },
            2 if fields.has("tree") => {
                ReceiverProtocol::Tree(Box::new(TreeJob::from_fields(&fields, object)?))
            }
            2 => ReceiverProtocol::Ropewalk {
                streams: Streams::from_fields(&fields)?,
                sink: match piped {
                    true => Sink::Piped,
                    false => Sink::Kept {
                        sync: fields.flag("sync")?,
                        basis: fields.flag_if_any("basis")?,
                    },
                },
                size: fields.number("size")?,
                is_open_ended: fields.flag_if_any("open_ended")?,
                grows: fields.flag_if_any("grows")?,
                verify: Verify::from_fields(&fields)?,
            },
            _ => return Err(fields.invalid("protocol")),
        };
        Ok(ReceiverJob {
            shown: fields.text("shown")?.to_string(),
            trace: fields.flag_if_any("trace")?,
            rate: fields.number_if_any("rate")?,
            protocol,
        })
    }
}

impl TreeJob {
    fn from_fields(fields: &Fields<'_>, object: &Value) -> Result<TreeJob> {
        let options = object.get("tree").ok_or_else(|| fields.invalid("tree"))?;
        Ok(TreeJob {
            streams: Streams::from_fields(fields)?,
            top: FolderState::from_members(object).ok_or_else(|| fields.invalid("folder"))?,
            has_folder: fields.flag("has_folder")?,
            sync: fields.flag("sync")?,
            grows: fields.flag("grows")?,
            verify: Verify::from_fields(fields)?,
            options: TreeOptions::from_json(options)?,
            limits: fields
                .has("max_entries")
                .then(|| TreeLimits::from_fields(fields))
                .transpose()?,
        })
    }
}

impl TreeLimits {
    fn members(&self) -> [(&'static str, Value); 4] {
        [
            ("max_size", Value::from_u64(self.max_size)),
            ("max_entries", Value::from_u64(self.max_entries)),
            ("umask", Value::from_u64(self.umask.into())),
            ("any_link", from_flag(self.any_link)),
        ]
    }

    fn from_fields(fields: &Fields<'_>) -> Result<TreeLimits> {
        Ok(TreeLimits {
            max_size: fields.number("max_size")?,
            max_entries: fields.number("max_entries")?,
            umask: fields.number("umask")?,
            any_link: fields.flag("any_link")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    const CLASSIC: &str = concat!(
        r#"{"protocol":1,"address":"192.0.2.1:45187","threads":8,"trace":0,"#,
        r#""shown":"out","rate":7,"piped":1}"#
    );

    const ROPEWALK: &str = concat!(
        r#"{"address":"192.0.2.1:46687","control":"192.0.2.1:8080","#,
        r#""session":"59843ddebe0a9675580d96b8bfb4b196","threads":4,"single_port":0,"sync":1,"#,
        r#""shown":"out","protocol":2,"size":10,"grows":0,"trace":1,"verify":"md5"}"#
    );

    const TREE: &str = concat!(
        r#"{"address":"192.0.2.1:46687","control":"192.0.2.1:8080","#,
        r#""session":"59843ddebe0a9675580d96b8bfb4b196","threads":4,"single_port":0,"#,
        r#""folder":"000102030405060708090a0b0c0d0e0f","mode":493,"uid":0,"gid":7,"#,
        r#""mtime_s":-5,"mtime_ns":9,"has_folder":1,"sync":1,"shown":"out","protocol":2,"#,
        r#""grows":0,"trace":0,"verify":"crc32c","#,
        r#""tree":{"rules":["-2a"],"delete":"none","dry_run":0,"checksum":0,"whole":0,"#,
        r#""ignore_existing":0,"update":0,"hard_links":0,"owner":0,"verbose":1}}"#
    );

    #[test]
    fn a_job_of_a_tree_survives_the_socket() {
        let job = read(TREE).unwrap();
        let ReceiverProtocol::Tree(tree) = &job.protocol else { panic!() };
        assert_eq!((tree.top.mode, tree.top.gid, tree.top.mtime.seconds), (0o755, 7, -5));
        assert!(tree.has_folder && tree.options.verbose && survives(TREE));
        assert_eq!(tree.limits, None);
        let limits = r#""verbose":1},"max_size":7,"max_entries":8,"umask":18,"any_link":0}"#;
        let limited = TREE.replace(r#""verbose":1}}"#, limits);
        let ReceiverProtocol::Tree(tree) = read(&limited).unwrap().protocol else { panic!() };
        let limits = TreeLimits { max_size: 7, max_entries: 8, umask: 0o22, any_link: false };
        assert_eq!(tree.limits, Some(limits));
        assert!(survives(&limited));
        for key in ["folder", "has_folder", "sync", "verify", "mtime_s"] {
            assert!(read(&TREE.replace(&format!("\"{key}\""), "\"other\"")).is_err(), "{key}");
        }
    }

    fn read(text: &str) -> Result<ReceiverJob> {
        ReceiverJob::from_json(&json::parse(text.as_bytes()).unwrap())
    }

    /// Whether the job in `text` is written as it was read.
    fn survives(text: &str) -> bool {
        read(text).is_ok_and(|job| job.to_json().to_string() == text)
    }

    #[test]
    fn a_classic_job_survives_the_socket() {
        let job = read(CLASSIC).unwrap();
        let address = "192.0.2.1:45187".parse().unwrap();
        assert!(job.protocol == ReceiverProtocol::Classic { address, streams: 8, piped: true });
        assert_eq!((job.shown.as_str(), job.trace, job.rate), ("out", false, Some(7)));
        assert!(survives(CLASSIC));
        assert!(survives(&CLASSIC.replace(r#","piped":1"#, "")));
    }

    #[test]
    fn a_ropewalk_job_survives_the_socket() {
        let job = read(ROPEWALK).unwrap();
        assert!(job.trace && job.rate.is_none());
        let ReceiverProtocol::Ropewalk { streams, sink, size, grows, verify, .. } = job.protocol
        else {
            panic!("another protocol");
        };
        assert_eq!(streams.count(), 4);
        let kept = Sink::Kept { sync: true, basis: false };
        assert_eq!((sink, size, verify), (kept, 10, Verify::Md5));
        assert!(!grows);
        assert!(survives(ROPEWALK));
        assert!(survives(&ROPEWALK.replace("single_port\":0", "single_port\":0,\"handed\":1")));
        let accepted = r#""idle_ms":30000,"stall_ms":60000,"peer":"192.0.2.7""#;
        let begin = ROPEWALK.find("\"session").unwrap();
        let text = ROPEWALK[begin..].replace("\"single_port\":0", accepted);
        assert!(survives(&format!("{{{text}")));
    }

    #[test]
    fn a_piped_ropewalk_job_survives_the_socket() {
        let text = ROPEWALK.replace("\"sync\":1", "\"piped\":1").replace("\"}", "\",\"rate\":9}");
        let job = read(&text).unwrap();
        assert!(matches!(job.protocol, ReceiverProtocol::Ropewalk { sink: Sink::Piped, .. }));
        assert!(survives(&text));
    }

    #[test]
    fn a_ropewalk_job_with_an_older_file_survives_the_socket() {
        let text = ROPEWALK.replace("\"}", "\",\"basis\":1}");
        let ReceiverProtocol::Ropewalk { sink, .. } = read(&text).unwrap().protocol else {
            panic!("another protocol");
        };
        assert_eq!(sink, Sink::Kept { sync: true, basis: true });
        assert!(survives(&text));
        assert!(survives(&text.replace("\"basis\":1}", "\"open_ended\":1}")));
    }

    #[test]
    fn optional_flags_are_off_without_their_keys() {
        let job = read(&ROPEWALK.replace("grows", "other").replace("trace", "more")).unwrap();
        assert!(!job.trace);
        assert!(matches!(job.protocol, ReceiverProtocol::Ropewalk { grows: false, .. }));
    }

    #[test]
    fn each_other_key_is_needed_and_named() {
        let classic = ["protocol", "address", "threads", "shown"].map(|key| (CLASSIC, key));
        let session = ["address", "control", "session", "threads"];
        let others = ["sync", "shown", "protocol", "size", "verify", "single_port"];
        let ropewalk = session.into_iter().chain(others).map(|key| (ROPEWALK, key));
        for (text, key) in classic.into_iter().chain(ropewalk) {
            let lacking = text.replace(&format!("\"{key}\""), "\"other\"");
            let error = read(&lacking).err().unwrap().to_string();
            assert_eq!(error, format!("the job lacks '{key}'"));
        }
    }

    #[test]
    fn a_wrong_value_is_an_error_that_names_its_key() {
        for (key, right, wrong) in [
            ("verify", "\"md5\"", "\"sha\""),
            ("protocol", "\"protocol\":2", "\"protocol\":3"),
            ("sync", "\"sync\":1", "\"sync\":2"),
            ("threads", "\"threads\":4", "\"threads\":0"),
        ] {
            let error = read(&ROPEWALK.replace(right, wrong)).err().unwrap().to_string();
            assert_eq!(error, format!("the job has an invalid '{key}'"));
        }
    }
}
