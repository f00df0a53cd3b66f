//! A push: the body of the POST with which a client offers a file or a folder to a server, and the
//! body of the reply.
//!
//! ```text
//! {"threads":4,"max_threads":255,"protocol":2,"push":"file","name":"696d67","size":10,"stored":4096,
//!  "mtime_s":1700000000,"mtime_ns":5,"tag":"...","verify":"md5","sync":1,"restart":0,"whole":0}
//! {"threads":4,"protocol":2,"push":"file","piped":1,"tag":"...","verify":"md5","sync":1,"restart":1,"whole":1}
//! {"threads":4,"protocol":2,"push":"folder","folder":"303132333435...","mode":493,"uid":0,
//!  "gid":0,"mtime_s":1700000000,"mtime_ns":5,"verify":"crc32c","sync":1,"tree":{...}}
//!
//! {"protocol":2,"port":46687,"session":"59843ddebe0a...","threads":4,"resumed":0}
//! {"protocol":2,"up_to_date":true}
//! ```

#![forbid(unsafe_code)]

use super::fields::{Fields, from_flag};
use super::offer::FolderState;
use super::tree_options::TreeOptions;
use super::verify::Verify;
use super::version::Stamp;
use crate::codec::etag::MAX_OPAQUE;
use crate::codec::json::{self, Value};
use crate::error::{Error, Result};
use crate::hash::{from_hex, hex};

/// Most bytes of a file's name.
const MAX_NAME: usize = 255;

/// What a client offers. It has no `Debug`, so that a token cannot slip into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct PushRequest {
    /// How many streams the client will open, 1 to 255.
    pub streams: u8,
    /// The most streams that the client can open, 1 to 255, if it leaves the number to the server.
    pub most_streams: Option<u8>,
    /// The session that this one takes the place of: its streams were lost.
    pub previous: Option<[u8; 16]>,
    /// Whether the server waits for its disk.
    pub sync: bool,
    /// The file or the folder.
    pub what: Pushed,
}

/// What is pushed.
#[derive(Clone, PartialEq, Eq)]
pub enum Pushed {
    /// A file.
    File(PushedFile),
    /// A folder and everything below it.
    Folder(Box<PushedFolder>),
}

/// A file that is pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedFile {
    /// Its name, for the case that the path of the request is that of a folder.
    pub name: Option<Vec<u8>>,
    /// What is known of it before its end; `None` of what the client reads from a pipe.
    pub known: Option<Known>,
    /// Which state of which file it is. A later push with the same tag goes on.
    pub tag: Vec<u8>,
    /// How it is checked.
    pub verify: Verify,
    /// Whether what is there counts for nothing.
    pub restart: bool,
    /// Whether bytes of an older file are not used.
    pub whole: bool,
}

/// What a client knows of a file that it pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its bytes, at most 2^63 - 1.
    pub size: u64,
    /// Bytes that it takes on the client's disk.
    pub stored: u64,
    /// Its mtime.
    pub mtime: Stamp,
}

/// A folder that is pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedFolder {
    /// The folder itself.
    pub top: FolderState,
    /// How its files are checked.
    pub verify: Verify,
    /// How to compare, and what to do.
    pub options: TreeOptions,
}

impl PushRequest {
    /// Whether a request's body is one of these. Any other body has no such key.
    pub fn is_in(body: &Value) -> bool {
        body.get("push").is_some()
    }

    /// The request as JSON.
    pub fn to_json(&self) -> Value {
        let mut members = vec![("threads", Value::from_u64(self.streams.into()))];
        members.extend(self.most_streams.map(|most| ("max_threads", Value::from_u64(most.into()))));
        members.push(("protocol", Value::from_u64(2)));
        match &self.what {
            Pushed::File(file) => {
                members.push(("push", Value::from("file")));
                members.extend(file.name.as_deref().map(|name| ("name", Value::from(hex(name)))));
                match file.known {
                    None => members.push(("piped", from_flag(true))),
                    Some(Known { size, stored, mtime }) => {
                        members.push(("size", Value::from_u64(size)));
                        members.push(("stored", Value::from_u64(stored)));
                        members.extend(mtime.members());
                    }
                }
                members.extend([
                    ("tag", Value::from(hex(&file.tag))),
                    ("verify", Value::from(file.verify.word())),
                    ("restart", from_flag(file.restart)),
                    ("whole", from_flag(file.whole)),
                ]);
            }
            Pushed::Folder(folder) => {
                members.push(("push", Value::from("folder")));
                members.extend(folder.top.members());
                members.extend(folder.top.mtime.members());
                members.extend([
                    ("verify", Value::from(folder.verify.word())),
                    ("tree", folder.options.to_json()),
                ]);
            }
        }
        members.push(("sync", from_flag(self.sync)));
        members.extend(self.previous.map(|token| ("previous", Value::from(hex(&token)))));
        Value::object(members)
    }

    /// The request in `body`.
    ///
    /// # Errors
    /// A key is missing or wrong.
    pub fn from_json(body: &Value) -> Result<PushRequest> {
        let fields = Fields::of("request", body);
        let what = match fields.text("push")? {
            "file" => Pushed::File(PushedFile::from_fields(&fields, body)?),
            "folder" => Pushed::Folder(Box::new(PushedFolder::from_fields(&fields, body)?)),
            _ => return Err(fields.invalid("push")),
        };
        Ok(PushRequest {
            streams: fields.streams("threads")?,
            most_streams: fields
                .has("max_threads")
                .then(|| fields.streams("max_threads"))
                .transpose()?,
            previous: fields.has("previous").then(|| fields.bytes("previous")).transpose()?,
            sync: fields.flag("sync")?,
            what,
        })
    }
}

impl PushedFile {
    fn from_fields(fields: &Fields<'_>, body: &Value) -> Result<PushedFile> {
        let bytes = |key: &str, most: usize| {
            let bytes = from_hex(fields.text(key)?);
            bytes.filter(|bytes| (1..=most).contains(&bytes.len())).ok_or(fields.invalid(key))
        };
        let known = match fields.flag_if_any("piped")? {
            true => None,
            false => Some(Known::from_fields(fields, body)?),
        };
        Ok(PushedFile {
            name: fields.has("name").then(|| bytes("name", MAX_NAME)).transpose()?,
            known,
            tag: bytes("tag", MAX_OPAQUE)?,
            verify: Verify::from_fields(fields)?,
            restart: fields.flag("restart")?,
            whole: fields.flag("whole")?,
        })
    }
}

impl Known {
    fn from_fields(fields: &Fields<'_>, body: &Value) -> Result<Known> {
        let size: u64 = fields.number("size")?;
        if i64::try_from(size).is_err() {
            return Err(fields.invalid("size"));
        }
        let stored = fields.number("stored")?;
        let mtime = Stamp::from_members(body).ok_or_else(|| fields.invalid("mtime_s"))?;
        Ok(Known { size, stored, mtime })
    }
}

impl PushedFolder {
    fn from_fields(fields: &Fields<'_>, body: &Value) -> Result<PushedFolder> {
        let options = body.get("tree").ok_or_else(|| fields.invalid("tree"))?;
        Ok(PushedFolder {
            top: FolderState::from_members(body).ok_or_else(|| fields.invalid("folder"))?,
            verify: Verify::from_fields(fields)?,
            options: TreeOptions::from_json(options)?,
        })
    }
}

/// What the server answers. It has no `Debug`, so that a token cannot slip into a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushOffer {
    /// A session.
    Session(PushSession),
    /// No transfer: the server has the file already.
    UpToDate,
}

/// A session of a push.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PushSession {
    /// The data port, 1 to 65535; 0 if the session has none, and its streams join it.
    pub port: u16,
    /// The session's token, which each stream shows.
    pub token: [u8; 16],
    /// How many streams the session has, 1 to 255.
    pub streams: u8,
    /// Bytes of the file that an earlier push has left there.
    pub resumed: u64,
    /// Files of a folder that the sessions before this one put in place, where it goes on with
    /// their push and the server knows.
    pub files: Option<u64>,
}

impl PushOffer {
    /// The body of the reply.
    pub fn to_json(&self) -> Value {
        match self {
            PushOffer::UpToDate => {
                Value::object([("protocol", Value::from_u64(2)), ("up_to_date", Value::Bool(true))])
            }
            PushOffer::Session(PushSession { port, token, streams, resumed, files }) => {
                let members = [
                    ("protocol", Value::from_u64(2)),
                    ("port", Value::from_u64((*port).into())),
                    ("session", Value::from(hex(token))),
                    ("threads", Value::from_u64((*streams).into())),
                    ("resumed", Value::from_u64(*resumed)),
                ];
                let files = files.map(|files| ("files", Value::from_u64(files)));
                Value::object(members.into_iter().chain(files))
            }
        }
    }

    /// The offer in the body of a reply. Unknown keys are ignored.
    ///
    /// # Errors
    /// The body is no such offer.
    pub fn from_body(body: &[u8]) -> Result<PushOffer> {
        let body =
            json::parse(body).map_err(|_| Error::protocol("the reply is not the expected JSON"))?;
        let fields = Fields::of("reply", &body);
        if fields.number::<u64>("protocol")? != 2 {
            return Err(fields.invalid("protocol"));
        }
        if body.get("up_to_date") == Some(&Value::Bool(true)) {
            return Ok(PushOffer::UpToDate);
        }
        Ok(PushOffer::Session(PushSession {
            port: fields.number("port")?,
            token: fields.bytes("session")?,
            streams: fields.streams("threads")?,
            resumed: fields.number("resumed")?,
            files: fields.number_if_any("files")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(
        r#"{"threads":4,"protocol":2,"push":"file","name":"696d67","size":10,"stored":4096,"#,
        r#""mtime_s":-5,"mtime_ns":9,"tag":"3132","verify":"md5","restart":0,"whole":1,"sync":1}"#
    );

    const PIPED: &str = concat!(
        r#"{"threads":4,"protocol":2,"push":"file","piped":1,"#,
        r#""tag":"3132","verify":"md5","restart":1,"whole":1,"sync":1}"#
    );

    const FOLDER: &str = concat!(
        r#"{"threads":4,"protocol":2,"push":"folder","folder":"000102030405060708090a0b0c0d0e0f","#,
        r#""mode":493,"uid":0,"gid":7,"mtime_s":-5,"mtime_ns":9,"verify":"md5","#,
        r#""tree":{"rules":["-2a"],"delete":"none","dry_run":0,"checksum":0,"whole":0,"#,
        r#""ignore_existing":0,"update":0,"hard_links":0,"owner":0,"verbose":1},"sync":0,"#,
        r#""previous":"59843ddebe0a9675580d96b8bfb4b196"}"#
    );

    const SESSION: &str = concat!(
        r#"{"protocol":2,"port":46687,"session":"59843ddebe0a9675580d96b8bfb4b196","#,
        r#""threads":4,"resumed":17}"#
    );

    fn read(text: &str) -> Result<PushRequest> {
        PushRequest::from_json(&json::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn requests_for_files_and_folders_survive_the_connection() {
        let nameless = FILE.replace(r#""name":"696d67","#, "");
        let auto = FILE.replace(r#""threads":4,"#, r#""threads":4,"max_threads":255,"#);
        for text in [FILE, PIPED, &nameless, &auto, FOLDER] {
            assert_eq!(read(text).ok().unwrap().to_json().to_string(), text);
        }
        let Pushed::File(file) = read(FILE).ok().unwrap().what else { panic!() };
        assert_eq!((file.name.as_deref(), file.tag.as_slice()), (Some(&b"img"[..]), &b"12"[..]));
        let folder = read(FOLDER).ok().unwrap();
        assert_eq!((folder.sync, folder.previous.map(|token| token[0])), (false, Some(0x59)));
    }

    #[test]
    fn offers_survive_the_connection() {
        let renewed = SESSION.replace("}", ",\"files\":0}");
        for text in [SESSION, &renewed, r#"{"protocol":2,"up_to_date":true}"#] {
            let offer = PushOffer::from_body(text.as_bytes()).ok().unwrap();
            assert_eq!(offer.to_json().to_string(), text);
        }
        for wrong in ["", "[]", "{}", &SESSION.replace("b196", ""), &SESSION.replace(":2", ":3")] {
            assert!(PushOffer::from_body(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_that_is_missing_or_wrong_is_named() {
        let file = ["threads", "size", "stored", "tag", "verify", "restart", "whole", "sync"];
        let file = file.map(|key| (FILE, key));
        let folder = ["verify", "sync"].map(|key| (FOLDER, key));
        for (text, key) in file.into_iter().chain(folder) {
            let at = text.rfind(&format!("\"{key}\"")).unwrap();
            let lacking = format!("{}\"other\"{}", &text[..at], &text[at + key.len() + 2..]);
            let error = read(&lacking).err().unwrap().to_string();
            assert_eq!(error, format!("the request lacks '{key}'"));
        }
        for (right, wrong) in [
            ("\"file\"", "\"disk\""),
            ("\"3132\"", "\"\""),
            ("\"696d67\"", "\"\""),
            ("\"size\":10", "\"size\":9223372036854775808"),
            (":9,", ":1000000000,"),
            ("\"threads\":4,", "\"threads\":4,\"max_threads\":256,"),
        ] {
            assert!(read(&FILE.replace(right, wrong)).is_err(), "{wrong}");
        }
        let long = format!("\"name\":\"{}\"", "61".repeat(256));
        assert!(read(&FILE.replace("\"name\":\"696d67\"", &long)).is_err());
    }
}
