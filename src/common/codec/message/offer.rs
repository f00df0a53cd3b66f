//! The offer: a server's reply to a POST, with status 200. The body is JSON; a file's
//! entity tag is in the `ETag` field. PROTOCOL.md specifies the forms.
//!
//! ```text
//! {"hash":"781e5e245d69b566979b86e28d23f2c7","port":45187}
//! {"protocol":2,"port":46687,"session":"59843ddebe0a...","size":10,"stored":4096,
//!  "mtime_s":1700000000,"mtime_ns":5}
//! {"protocol":2,"up_to_date":true}
//! {"protocol":2,"port":46687,"session":"59843ddebe0a...","folder":"303132333435...",
//!  "mode":493,"uid":0,"gid":0,"mtime_s":1700000000,"mtime_ns":5}
//! ```

#![forbid(unsafe_code)]

use super::version::Stamp;
use crate::codec::entry::{IDENTITY_SIZE, MODE_BITS};
use crate::codec::etag::{EntityTag, MAX_OPAQUE};
use crate::codec::http::Headers;
use crate::codec::json::{self, Value};
use crate::codec::text::escape_limited;
use crate::hash::{from_hex, hex};

/// The error for a body that is no offer.
const NOT_JSON: &str = "the reply is not the expected JSON";

/// Most bytes of a foreign protocol number that an error shows.
const SHOWN_NUMBER: usize = 20;

/// Most bytes of an invalid entity tag that an error shows.
const SHOWN_TAG: usize = 100;

/// What a server offers. It has no `Debug`, so that a token cannot slip into a log.
#[derive(Clone, PartialEq, Eq)]
pub enum Offer {
    /// A transfer in the classic protocol.
    Classic(ClassicOffer),
    /// A transfer in the ropewalk protocol.
    Ropewalk(RopewalkOffer),
    /// No transfer: the file that the client has is up to date.
    UpToDate(UpToDate),
    /// A transfer of a folder, in the ropewalk protocol.
    Tree(TreeOffer),
}

/// A transfer in the classic protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicOffer {
    /// The file's MD5, as 32 lower-case hexadecimal digits.
    pub hash: String,
    /// The data port, 1 to 65535.
    pub port: u16,
}

/// A transfer in the ropewalk protocol.
#[derive(Clone, PartialEq, Eq)]
pub struct RopewalkOffer {
    /// The data port, 1 to 65535; 0 if the session has none, and its streams join it.
    pub port: u16,
    /// The session's token, which each stream shows.
    pub token: [u8; 16],
    /// Bytes of the file, at most 2^63 - 1.
    pub size: u64,
    /// Bytes that the file takes on the server's disk.
    pub stored: u64,
    /// How many streams the server grants, if the request left the number to it.
    pub granted: Option<u8>,
    /// The file's mtime.
    pub mtime: Option<Stamp>,
    /// The file's strong entity tag, with its quotes.
    pub etag: String,
}

/// The server's file, of which the client has the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpToDate {
    /// Its strong entity tag, with its quotes.
    pub etag: String,
}

/// A transfer of a folder and everything below it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TreeOffer {
    /// The data port, 1 to 65535; 0 if the session has none, and its streams join it.
    pub port: u16,
    /// The session's token, which each stream shows.
    pub token: [u8; 16],
    /// How many streams the server grants, if the request left the number to it.
    pub granted: Option<u8>,
    /// The folder itself.
    pub folder: FolderState,
}

/// What a server says of the folder that a tree begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderState {
    /// Which folder it is. Each page of its entries says the same.
    pub identity: [u8; IDENTITY_SIZE],
    /// The bits of chmod(2).
    pub mode: u16,
    /// Its mtime.
    pub mtime: Stamp,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

impl FolderState {
    pub(super) fn members(&self) -> impl Iterator<Item = (&'static str, Value)> {
        [
            ("folder", Value::from(hex(&self.identity))),
            ("mode", Value::from_u64(self.mode.into())),
            ("uid", Value::from_u64(self.uid.into())),
            ("gid", Value::from_u64(self.gid.into())),
        ]
        .into_iter()
    }

    pub(super) fn from_members(body: &Value) -> Option<FolderState> {
        Some(FolderState {
            identity: from_hex(body.get("folder")?.as_str()?)?.try_into().ok()?,
            mode: number(body, "mode").filter(|mode| *mode <= MODE_BITS)?,
            mtime: Stamp::from_members(body)?,
            uid: number(body, "uid")?,
            gid: number(body, "gid")?,
        })
    }
}

impl Offer {
    /// The body of the reply. The tag is not in it: see [`Offer::etag`].
    pub fn to_json(&self) -> Value {
        match self {
            Offer::Classic(offer) => Value::object([
                ("hash", Value::from(offer.hash.as_str())),
                ("port", Value::from_u64(offer.port.into())),
            ]),
            Offer::Ropewalk(offer) => {
                let mut members = vec![
                    ("protocol", Value::from_u64(2)),
                    ("port", Value::from_u64(offer.port.into())),
                    ("session", Value::from(hex(&offer.token))),
                    ("size", Value::from_u64(offer.size)),
                    ("stored", Value::from_u64(offer.stored)),
                ];
                let granted = offer.granted.map(|streams| Value::from_u64(streams.into()));
                members.extend(granted.map(|streams| ("max_threads", streams)));
                members.extend(offer.mtime.into_iter().flat_map(Stamp::members));
                Value::object(members)
            }
            Offer::Tree(offer) => {
                let mut members = vec![
                    ("protocol", Value::from_u64(2)),
                    ("port", Value::from_u64(offer.port.into())),
                    ("session", Value::from(hex(&offer.token))),
                ];
                members.extend(offer.folder.members());
                let granted = offer.granted.map(|streams| Value::from_u64(streams.into()));
                members.extend(granted.map(|streams| ("max_threads", streams)));
                members.extend(offer.folder.mtime.members());
                Value::object(members)
            }
            Offer::UpToDate(_) => {
                Value::object([("protocol", Value::from_u64(2)), ("up_to_date", Value::Bool(true))])
            }
        }
    }

    /// The reply's `ETag` field. A classic offer and a folder have none.
    pub fn etag(&self) -> Option<&str> {
        match self {
            Offer::Classic(_) | Offer::Tree(_) => None,
            Offer::Ropewalk(offer) => Some(&offer.etag),
            Offer::UpToDate(file) => Some(&file.etag),
        }
    }

    /// The offer in a reply with these fields and this body. Unknown keys and fields are
    /// ignored.
    ///
    /// # Errors
    /// What is wrong with the reply, in a few words.
    pub fn from_reply(headers: &Headers, body: &[u8]) -> Result<Offer, String> {
        let body = json::parse(body).map_err(|_| NOT_JSON)?;
        match body.get("protocol") {
            Some(Value::Integer(2)) if body.get("folder").is_some() => {
                Ok(tree(&body).map(Offer::Tree).ok_or(NOT_JSON)?)
            }
            Some(Value::Integer(2)) => {
                let etag = etag(headers)?;
                if body.get("up_to_date") == Some(&Value::Bool(true)) {
                    return Ok(Offer::UpToDate(UpToDate { etag }));
                }
                Ok(ropewalk(&body, etag).map(Offer::Ropewalk).ok_or(NOT_JSON)?)
            }
            // The client asked for 2 at most.
            Some(protocol @ (Value::Integer(3..) | Value::Float(_))) => {
                let shown = escape_limited(protocol.to_string().as_bytes(), SHOWN_NUMBER);
                Err(format!("the reply is of protocol {shown}, which this client does not know"))
            }
            _ => Ok(classic(&body).map(Offer::Classic).ok_or(NOT_JSON)?),
        }
    }
}

/// A number that is not negative and fits `T`.
fn number<T: TryFrom<u64>>(body: &Value, key: &str) -> Option<T> {
    T::try_from(body.get(key)?.as_u64()?).ok()
}

/// The data port of a transfer that cannot be without one.
fn port(body: &Value) -> Option<u16> {
    number(body, "port").filter(|port| *port > 0)
}

fn token(body: &Value) -> Option<[u8; 16]> {
    from_hex(body.get("session")?.as_str()?)?.try_into().ok()
}

fn classic(body: &Value) -> Option<ClassicOffer> {
    let hash = body.get("hash").and_then(Value::as_str)?.to_ascii_lowercase();
    from_hex(&hash).filter(|bytes| bytes.len() == 16)?;
    Some(ClassicOffer { hash, port: port(body)? })
}

fn ropewalk(body: &Value, etag: String) -> Option<RopewalkOffer> {
    // Half of an mtime is an error.
    let has_mtime = body.get("mtime_s").or_else(|| body.get("mtime_ns")).is_some();
    let mtime = has_mtime.then(|| Stamp::from_members(body));
    if mtime == Some(None) {
        return None;
    }
    Some(RopewalkOffer {
        port: number(body, "port")?,
        token: token(body)?,
        size: number(body, "size")?,
        stored: number(body, "stored")?,
        granted: number(body, "max_threads"),
        mtime: mtime.flatten(),
        etag,
    })
}

fn tree(body: &Value) -> Option<TreeOffer> {
    Some(TreeOffer {
        port: number(body, "port")?,
        token: token(body)?,
        granted: number(body, "max_threads"),
        folder: FolderState::from_members(body)?,
    })
}

/// The one strong entity tag of a reply, as it came: the client sends it back.
fn etag(headers: &Headers) -> Result<String, String> {
    if headers.get("ETag").is_none() {
        return Err("the reply has no ETag".into());
    }
    let field = headers.get_only("ETag").ok_or("the reply has several ETags")?;
    let wrong = || {
        let shown = escape_limited(field, SHOWN_TAG);
        format!("the reply's ETag is not a strong entity tag: {shown}")
    };
    // A journal has room for a tag of this length.
    if field.len() > MAX_OPAQUE + "W/\"\"".len() {
        return Err(format!("the reply's ETag is longer than {MAX_OPAQUE} bytes"));
    }
    EntityTag::parse(field).filter(|tag| !tag.is_weak()).ok_or_else(wrong)?;
    String::from_utf8(field.to_vec()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSIC: &str = r#"{"hash":"781e5e245d69b566979b86e28d23f2c7","port":45187}"#;

    const ROPEWALK: &str = concat!(
        r#"{"protocol":2,"port":46687,"session":"59843ddebe0a9675580d96b8bfb4b196","#,
        r#""size":5368709120,"stored":4096,"mtime_s":1700000000,"mtime_ns":5}"#
    );

    const TREE: &str = concat!(
        r#"{"protocol":2,"port":46687,"session":"59843ddebe0a9675580d96b8bfb4b196","#,
        r#""folder":"30313233343536373839616263646566","mode":1533,"uid":1000,"gid":100,"#,
        r#""mtime_s":-5,"mtime_ns":999999999}"#
    );

    const UP_TO_DATE: &str = r#"{"protocol":2,"up_to_date":true}"#;

    fn read(etags: &[&str], body: &str) -> Result<Offer, String> {
        let mut headers = Headers::new();
        etags.iter().for_each(|etag| headers.push("ETag", *etag));
        Offer::from_reply(&headers, body.as_bytes())
    }

    /// The error for `body` in a reply with one valid tag.
    fn error(body: &str) -> String {
        read(&["\"tag\""], body).err().unwrap()
    }

    #[test]
    fn a_classic_offer_survives_the_connection() {
        let offer = read(&[], CLASSIC).ok().unwrap();
        let hash = "781e5e245d69b566979b86e28d23f2c7".to_string();
        assert!(offer == Offer::Classic(ClassicOffer { hash, port: 45187 }));
        assert_eq!((offer.to_json().to_string().as_str(), offer.etag()), (CLASSIC, None));
    }

    #[test]
    fn a_ropewalk_offer_survives_the_connection() {
        let offer = read(&["\"tag\""], ROPEWALK).ok().unwrap();
        assert_eq!(offer.to_json().to_string(), ROPEWALK);
        assert_eq!(offer.etag(), Some("\"tag\""));
        let Offer::Ropewalk(offer) = offer else { panic!("a classic offer") };
        assert_eq!((offer.port, offer.size, offer.stored), (46687, 5 << 30, 4096));
        assert_eq!((offer.token[..2].to_vec(), offer.granted), (vec![0x59, 0x84], None));
        assert_eq!(offer.mtime, Some(Stamp { seconds: 1_700_000_000, nanoseconds: 5 }));
    }

    #[test]
    fn the_offer_of_a_folder_survives_the_connection_and_needs_no_tag() {
        let offer = read(&[], TREE).ok().unwrap();
        assert_eq!((offer.to_json().to_string().as_str(), offer.etag()), (TREE, None));
        let Offer::Tree(TreeOffer { port, token, granted, folder }) = offer else {
            panic!("another offer")
        };
        assert_eq!((port, token[..2].to_vec(), granted), (46687, vec![0x59, 0x84], None));
        let mtime = Stamp { seconds: -5, nanoseconds: 999_999_999 };
        let identity = *b"0123456789abcdef";
        let expected = FolderState { identity, mode: 0o2775, mtime, uid: 1000, gid: 100 };
        assert_eq!(folder, expected);
        let granted = TREE.replace(",\"mtime_s", ",\"max_threads\":64,\"mtime_s");
        let offer = read(&["\"tag\""], &granted).ok().unwrap();
        assert_eq!(offer.to_json().to_string(), granted);
        assert!(matches!(offer, Offer::Tree(offer) if offer.granted == Some(64)));
        let joined = read(&[], &TREE.replace("46687", "0")).ok().unwrap();
        assert!(matches!(joined, Offer::Tree(offer) if offer.port == 0));
    }

    #[test]
    fn an_incomplete_offer_of_a_folder_is_an_error() {
        for key in ["port", "session", "mode", "uid", "gid", "mtime_s", "mtime_ns"] {
            let quoted = format!("\"{key}\"");
            assert_eq!(error(&TREE.replace(&quoted, "\"other\"")), NOT_JSON, "{key}");
        }
        for (right, wrong) in [
            ("6566\"", "65\""),
            ("6566\"", "656667\""),
            ("\"30313233343536373839616263646566\"", "null"),
            ("1533", "4096"),
            ("1000", "4294967296"),
            ("1000", "-1"),
            ("999999999", "1000000000"),
        ] {
            assert_eq!(error(&TREE.replace(right, wrong)), NOT_JSON, "{wrong}");
        }
    }

    #[test]
    fn a_file_that_is_up_to_date_survives_the_connection() {
        let offer = read(&["\"tag\""], UP_TO_DATE).ok().unwrap();
        assert!(offer == Offer::UpToDate(UpToDate { etag: "\"tag\"".into() }));
        assert_eq!(
            (offer.to_json().to_string().as_str(), offer.etag()),
            (UP_TO_DATE, Some("\"tag\""))
        );
        assert_eq!(read(&[], UP_TO_DATE).err().unwrap(), "the reply has no ETag");
        for other in ["false", "1", "null"] {
            assert_eq!(error(&UP_TO_DATE.replace("true", other)), NOT_JSON, "{other}");
        }
    }

    #[test]
    fn an_offer_may_lack_the_mtime_but_not_a_half_of_it() {
        let (seconds, nanoseconds) = (r#","mtime_s":1700000000"#, r#","mtime_ns":5"#);
        let text = ROPEWALK.replace(seconds, "").replace(nanoseconds, "");
        let offer = read(&["\"tag\""], &text).ok().unwrap();
        assert!(matches!(&offer, Offer::Ropewalk(offer) if offer.mtime.is_none()));
        assert_eq!(offer.to_json().to_string(), text);
        for half in [seconds, nanoseconds] {
            assert_eq!(error(&ROPEWALK.replace(half, "")), NOT_JSON, "{half}");
        }
        for (right, wrong) in [("1700000000", "1.5"), (":5}", ":1000000000}"), (":5}", ":-1}")] {
            assert_eq!(error(&ROPEWALK.replace(right, wrong)), NOT_JSON, "{wrong}");
        }
    }

    #[test]
    fn a_number_of_streams_that_is_granted_survives_the_connection() {
        let text = ROPEWALK.replace(",\"mtime_s", ",\"max_threads\":64,\"mtime_s");
        let offer = read(&["\"tag\""], &text).ok().unwrap();
        assert!(matches!(&offer, Offer::Ropewalk(offer) if offer.granted == Some(64)));
        assert_eq!(offer.to_json().to_string(), text);
    }

    #[test]
    fn a_classic_offer_may_have_any_order_any_case_and_unknown_keys() {
        let other = concat!(
            r#"{ "port" : 45187, "more" : [1, {}], "#,
            r#""hash" : "781E5E245D69B566979B86E28D23F2C7" }"#
        );
        assert!(read(&[""], other) == read(&[], CLASSIC));
    }

    #[test]
    fn an_incomplete_classic_offer_is_an_error() {
        for (right, wrong) in [
            (CLASSIC, ""),
            (CLASSIC, "[]"),
            ("hash", "other"),
            ("port", "other"),
            ("45187", "0"),
            ("45187", "65536"),
            ("45187", "\"80\""),
            ("f2c7", "f2c"),
            ("f2c7", "f2c700"),
        ] {
            assert_eq!(error(&CLASSIC.replace(right, wrong)), NOT_JSON, "{wrong}");
        }
    }

    #[test]
    fn an_incomplete_ropewalk_offer_is_an_error() {
        for key in ["port", "session", "size", "stored"] {
            let quoted = format!("\"{key}\"");
            assert_eq!(error(&ROPEWALK.replace(&quoted, "\"other\"")), NOT_JSON, "{key}");
        }
        assert_eq!(error(&ROPEWALK.replace("b196", "")), NOT_JSON, "a short token");
        assert_eq!(error(&ROPEWALK.replace("5368709120", "-1")), NOT_JSON, "a negative size");
    }

    #[test]
    fn a_ropewalk_offer_needs_one_strong_entity_tag() {
        let error = |etags: &[&str]| read(etags, ROPEWALK).err().unwrap();
        assert_eq!(error(&[]), "the reply has no ETag");
        assert_eq!(error(&["\"a\"", "\"b\""]), "the reply has several ETags");
        let invalid = "the reply's ETag is not a strong entity tag: ";
        for tag in ["", "tag", "W/\"tag\""] {
            assert_eq!(error(&[tag]), format!("{invalid}{tag}"));
        }
        let long = format!("\"{}\"", "x".repeat(MAX_OPAQUE + 3));
        assert_eq!(error(&[&long]), "the reply's ETag is longer than 1024 bytes");
    }

    #[test]
    fn an_unknown_protocol_is_an_error_that_shows_its_number() {
        for (protocol, shown) in [("3", "3"), ("2.5", "2.5"), ("18446744073709551616", "1.8446")] {
            let text = ROPEWALK.replace("\"protocol\":2", &format!("\"protocol\":{protocol}"));
            let error = error(&text);
            assert!(error.starts_with(&format!("the reply is of protocol {shown}")), "{error}");
        }
    }
}
