//! The job of a sender. Its descriptors are the listening socket, where it accepts streams, and the
//! file or folder, in this order. streams.rs has the later messages.

#![forbid(unsafe_code)]

use super::fields::{Fields, from_flag, from_milliseconds};
use super::streams::Streams;
use super::version::Version;
use crate::codec::json::Value;
use crate::error::Result;
use std::net::IpAddr;
use std::time::Duration;

/// The job. It has no `Debug`, so that a token cannot slip into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct SenderJob {
    /// Bytes per second at most; the server may change it later.
    pub rate: Option<u64>,
    /// Whether to report what each stream does.
    pub trace: bool,
    /// The protocol, and what it needs.
    pub protocol: SenderProtocol,
}

/// What a sender needs in one of the two protocols.
#[derive(Clone, PartialEq, Eq)]
pub enum SenderProtocol {
    /// The classic protocol.
    Classic {
        /// Bytes of the file.
        size: u64,
        /// Bytes of a block.
        block_size: u64,
        /// How many streams, 1 to 255.
        streams: u8,
        /// The only address that streams may come from.
        peer: IpAddr,
        /// How long to wait for a stream while none is open. Whole milliseconds.
        idle: Duration,
        /// How long to wait for a stream to accept more data. Whole milliseconds.
        stall: Duration,
    },
    /// The ropewalk protocol.
    Ropewalk {
        /// Where the streams come from.
        streams: Streams,
        /// Bytes that the file takes on the disk.
        stored: u64,
        /// The state that the file must stay in.
        version: Version,
        /// Whether the sink finds the best number of streams, where the sender opens them. The
        /// session then has the greatest number.
        grows: bool,
    },
    /// The ropewalk protocol, for what is read in order from the descriptor.
    Piped {
        /// Where the streams come from.
        streams: Streams,
        /// Whether the sender makes an MD5.
        md5: bool,
        /// As for a file.
        grows: bool,
    },
    /// The ropewalk protocol, for a folder and everything below it.
    Tree {
        /// Where the streams come from.
        streams: Streams,
        /// Without what is mounted from another file system.
        one_file_system: bool,
        /// As for a file.
        grows: bool,
    },
}

impl SenderJob {
    /// The job as JSON, without the keys of the transport.
    pub fn to_json(&self) -> Value {
        let mut members = Vec::new();
        match &self.protocol {
            SenderProtocol::Classic { size, block_size, streams, peer, idle, stall } => {
                members.extend([
                    ("protocol", Value::from_u64(1)),
                    ("size", Value::from_u64(*size)),
                    ("block_size", Value::from_u64(*block_size)),
                    ("threads", Value::from_u64((*streams).into())),
                    ("idle_ms", from_milliseconds(*idle)),
                    ("stall_ms", from_milliseconds(*stall)),
                    ("peer", Value::from(peer.to_string())),
                ]);
            }
            SenderProtocol::Ropewalk { streams, stored, version, grows } => {
                members.extend([
                    ("protocol", Value::from_u64(2)),
                    ("stored", Value::from_u64(*stored)),
                ]);
                members.extend(version.members());
                members.extend(streams.members());
                members.extend(grows.then(|| ("grows", from_flag(true))));
            }
            SenderProtocol::Piped { streams, md5, grows } => {
                members.extend([
                    ("protocol", Value::from_u64(2)),
                    ("piped", from_flag(true)),
                    ("md5", from_flag(*md5)),
                ]);
                members.extend(streams.members());
                members.extend(grows.then(|| ("grows", from_flag(true))));
            }
            SenderProtocol::Tree { streams, one_file_system, grows } => {
                members.extend([
                    ("protocol", Value::from_u64(2)),
                    ("tree", from_flag(true)),
                    ("one_file_system", from_flag(*one_file_system)),
                ]);
                members.extend(streams.members());
                members.extend(grows.then(|| ("grows", from_flag(true))));
            }
        }
        members.extend(self.rate.map(|rate| ("rate", Value::from_u64(rate))));
        members.extend(self.trace.then(|| ("trace", from_flag(true))));
        Value::object(members)
    }

    /// The job in `object`.
    ///
    /// # Errors
    /// A key is missing or wrong.
    pub fn from_json(object: &Value) -> Result<SenderJob> {
        let fields = Fields::of("job", object);
        let protocol = match fields.number("protocol")? {
            1u64 => SenderProtocol::Classic {
                size: fields.number("size")?,
                block_size: fields.number("block_size")?,
                streams: fields.streams("threads")?,
                peer: fields.spelled("peer")?,
                idle: fields.milliseconds("idle_ms")?,
                stall: fields.milliseconds("stall_ms")?,
            },
            2 if fields.flag_if_any("tree")? => SenderProtocol::Tree {
                streams: Streams::from_fields(&fields)?,
                one_file_system: fields.flag("one_file_system")?,
                grows: fields.flag_if_any("grows")?,
            },
            2 if fields.flag_if_any("piped")? => SenderProtocol::Piped {
                streams: Streams::from_fields(&fields)?,
                md5: fields.flag("md5")?,
                grows: fields.flag_if_any("grows")?,
            },
            2 => SenderProtocol::Ropewalk {
                streams: Streams::from_fields(&fields)?,
                stored: fields.number("stored")?,
                version: Version::from_fields(&fields)?,
                grows: fields.flag_if_any("grows")?,
            },
            _ => return Err(fields.invalid("protocol")),
        };
        let (rate, trace) = (fields.number_if_any("rate")?, fields.flag_if_any("trace")?);
        Ok(SenderJob { rate, trace, protocol })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;
    use crate::codec::message::version::Stamp;

    const CLASSIC: &str = concat!(
        r#"{"protocol":1,"size":10,"block_size":2,"threads":8,"idle_ms":30000,"#,
        r#""stall_ms":60000,"peer":"192.0.2.7"}"#
    );

    const ROPEWALK: &str = concat!(
        r#"{"protocol":2,"stored":4096,"size":10,"#,
        r#""mtime_s":-5,"mtime_ns":999999999,"ctime_s":1704067200,"ctime_ns":0,"#,
        r#""session":"59843ddebe0a9675580d96b8bfb4b196","threads":4,"idle_ms":30000,"stall_ms":60000,"peer":"2001:db8::7","rate":1048576}"#
    );

    const TREE: &str = concat!(
        r#"{"protocol":2,"tree":1,"one_file_system":0,"#,
        r#""session":"59843ddebe0a9675580d96b8bfb4b196","threads":4,"idle_ms":30000,"stall_ms":60000,"#,
        r#""peer":"2001:db8::7"}"#
    );

    fn read(text: &str) -> Result<SenderJob> {
        SenderJob::from_json(&json::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_classic_job_survives_the_socket() {
        let job = read(CLASSIC).unwrap();
        let peer = "192.0.2.7".parse().unwrap();
        let (idle, stall) = (Duration::from_secs(30), Duration::from_secs(60));
        let (size, block_size, streams) = (10, 2, 8);
        assert!(
            job.protocol
                == SenderProtocol::Classic { size, block_size, streams, peer, idle, stall }
        );
        assert_eq!(job.rate, None);
        assert_eq!(job.to_json().to_string(), CLASSIC);
    }

    #[test]
    fn a_ropewalk_job_survives_the_socket_even_with_a_stamp_before_1970() {
        let job = read(ROPEWALK).unwrap();
        assert_eq!(job.rate, Some(1 << 20));
        let SenderProtocol::Ropewalk { stored, version, .. } = &job.protocol else { panic!() };
        assert_eq!((*stored, version.size), (4096, 10));
        assert_eq!(version.mtime, Stamp { seconds: -5, nanoseconds: 999_999_999 });
        assert_eq!(job.to_json().to_string(), ROPEWALK);
    }

    #[test]
    fn the_job_of_a_tree_survives_the_socket() {
        for (number, flag) in [("0", false), ("1", true)] {
            let text = TREE.replace("system\":0", &format!("system\":{number}"));
            let job = read(&text).unwrap();
            let SenderProtocol::Tree { streams, one_file_system, .. } = &job.protocol else {
                panic!()
            };
            assert_eq!((streams.count(), *one_file_system), (4, flag));
            assert_eq!(job.to_json().to_string(), text);
        }
    }

    #[test]
    fn a_job_that_reads_in_order_survives_the_socket() {
        let text = TREE.replace(r#""tree":1,"one_file_system":0"#, r#""piped":1,"md5":1"#);
        let more = text.replace("}", ",\"grows\":1,\"rate\":9,\"trace\":1}");
        for text in [text.clone(), more] {
            assert_eq!(read(&text).ok().unwrap().to_json().to_string(), text);
        }
        assert!(read(&text.replace("md5", "other")).is_err());
    }

    #[test]
    fn only_a_classic_job_needs_a_peer() {
        let error = read(&CLASSIC.replace("peer", "other")).err().unwrap();
        assert_eq!(error.to_string(), "the job lacks 'peer'");
        let anywhere = ROPEWALK.replace(r#","peer":"2001:db8::7""#, "");
        assert_eq!(read(&anywhere).ok().unwrap().to_json().to_string(), anywhere);
        assert!(read(&ROPEWALK.replace("2001:db8::7", "x")).is_err());
    }

    #[test]
    fn each_other_key_is_needed_and_named() {
        let common = ["protocol", "size", "threads", "stall_ms"];
        let stamps = ["mtime_s", "mtime_ns", "ctime_s", "ctime_ns"];
        let classic = common.iter().chain(&["block_size", "idle_ms"]).map(|key| (CLASSIC, *key));
        let ropewalk = common.iter().chain(&stamps).chain(&["session", "stored"]);
        let tree = ["session", "one_file_system", "threads"].map(|key| (TREE, key));
        let ropewalk = ropewalk.map(|key| (ROPEWALK, *key));
        for (text, key) in classic.chain(ropewalk).chain(tree) {
            let lacking = text.replace(&format!("\"{key}\""), "\"other\"");
            let error = read(&lacking).err().unwrap().to_string();
            assert_eq!(error, format!("the job lacks '{key}'"));
        }
    }

    #[test]
    fn a_job_with_streams_that_are_dialled_survives_the_socket() {
        let dialled = concat!(
            r#""address":"192.0.2.1:46687","control":"192.0.2.1:8080","#,
            r#""session":"59843ddebe0a9675580d96b8bfb4b196","threads":4,"single_port":0,"#
        );
        let begin = ROPEWALK.find("\"session").unwrap();
        let text = format!("{}{dialled}\"rate\":9}}", &ROPEWALK[..begin]);
        assert_eq!(read(&text).unwrap().to_json().to_string(), text);
    }

    #[test]
    fn an_unknown_protocol_is_an_error() {
        let error = read(&CLASSIC.replace("\"protocol\":1", "\"protocol\":3")).err().unwrap();
        assert_eq!(error.to_string(), "the job has an invalid 'protocol'");
    }
}
